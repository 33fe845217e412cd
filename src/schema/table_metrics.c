/* Columns of metrics.k8s.io: a pod uses what its containers use. */
#include "schema/table_int.h"

static void sum(const struct schema_kind *kind, const void *msg, const char *what, struct buf *text)
{
    struct quantity all = quantity_from(0, QUANTITY_DECIMAL_SI);
    const struct quantity *q;
    if (!kind->namespaced) {
        const struct api_metrics_node_metrics *n = msg;
        q = kv_quantity_get(n->usage, n->n_usage, str_z(what));
        all = q ? *q : all;
    } else {
        const struct api_metrics_pod_metrics *p = msg;
        for (uint32_t i = 0; i < p->n_containers; i++) {
            q = kv_quantity_get(p->containers[i].usage, p->containers[i].n_usage, str_z(what));
            if (q)
                all = i ? quantity_add(&all, q) : *q;
        }
    }
    quantity_print(&all, text);
}

TABLE_HOOK(metrics_cpu)
{
    sum(kind, msg, "cpu", text);
}

TABLE_HOOK(metrics_memory)
{
    sum(kind, msg, "memory", text);
}
