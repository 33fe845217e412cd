/* /stats/summary and /metrics/resource: processor time and memory of the node, its pods and
 * containers, read from the cgroups when asked. */
#include "node/api.h"

#include "node/fsutil.h"
#include "node/jw.h"

static void write_usage(struct jw *w, const struct cgroup_usage *u, const char *time)
{
    jw_key_open(w, "cpu", '{');
    jw_key_z(w, "time", time);
    jw_key_i64(w, "usageCoreNanoSeconds", (int64_t)u->cpu_nsec);
    jw_close(w, '}');
    jw_key_open(w, "memory", '{');
    jw_key_z(w, "time", time);
    jw_key_i64(w, "usageBytes", (int64_t)u->memory_bytes);
    jw_key_i64(w, "workingSetBytes", (int64_t)u->working_set_bytes);
    jw_key_i64(w, "rssBytes", (int64_t)u->rss_bytes);
    jw_close(w, '}');
}

static void write_pod(struct pod *p, const char *time, struct jw *w)
{
    struct node *n = p->node;
    struct cgroup_usage u;
    char started[TIMESTAMP_TEXT_MAX];
    if (cgroup_read_usage(&n->cgroups, p->cgroup, &u) < 0)
        return;
    jw_open(w, '{');
    jw_key_open(w, "podRef", '{');
    jw_key_z(w, "name", p->name);
    jw_key_z(w, "namespace", p->ns);
    jw_key_z(w, "uid", p->uid);
    jw_close(w, '}');
    timestamp_format(timestamp_seconds(p->start_time), false, started);
    jw_key_z(w, "startTime", started);
    write_usage(w, &u, time);
    jw_key_open(w, "containers", '[');
    for (unsigned i = 0; i < p->n_ctrs; i++) {
        struct ctr *c = p->ctrs[i];
        if (ctr_state(c) != CTR_RUNNING ||
            cgroup_read_usage(&n->cgroups, fs_path("%s/%s", p->cgroup, c->id).s, &u) < 0)
            continue;
        jw_open(w, '{');
        jw_key_z(w, "name", c->name);
        timestamp_format(timestamp_seconds(c->rec.started), false, started);
        jw_key_z(w, "startTime", started);
        write_usage(w, &u, time);
        jw_close(w, '}');
    }
    jw_close(w, ']');
    jw_close(w, '}');
}

void api_stats(struct api_call *c)
{
    struct node *n = c->node;
    struct buf b = {0};
    struct jw w = {&b, false};
    struct cgroup_usage u = {0};
    char time[TIMESTAMP_TEXT_MAX];
    timestamp_format(timestamp_seconds(rt_wall(n->rt)), false, time);
    jw_open(&w, '{');
    jw_key_open(&w, "node", '{');
    jw_key_z(&w, "nodeName", n->name);
    (void)!cgroup_read_usage(&n->cgroups, "", &u);
    write_usage(&w, &u, time);
    jw_close(&w, '}');
    jw_key_open(&w, "pods", '[');
    for (struct map_slot *s = NULL; (s = map_next(&n->pods, s));)
        write_pod(s->value, time, &w);
    jw_close(&w, ']');
    jw_close(&w, '}');
    size_t len;
    char *p = buf_take(&b, &len);
    struct http_header h = {STR("content-type"), STR("application/json")};
    http_respond(c->req, 200, &h, 1, http_bytes_take(p, len));
}

static void sample(struct buf *b, const char *name, const char *labels, double v)
{
    buf_printf(b, "%s{%s} %.9g\n", name, labels, v);
}

void api_metrics_resource(struct api_call *c)
{
    struct node *n = c->node;
    struct buf b = {0};
    struct cgroup_usage u;
    uint64_t entries, entries_max;
    if (!str_is(c->parts[0], "resource")) {
        api_fail(c->req, 404, "404 page not found");
        return;
    }
    buf_add_lit(
        &b,
        "# TYPE node_cpu_usage_seconds_total counter\n# TYPE node_memory_working_set_bytes gauge\n"
        "# TYPE container_cpu_usage_seconds_total counter\n# TYPE "
        "container_memory_working_set_bytes gauge\n"
        "# TYPE pod_cpu_usage_seconds_total counter\n# TYPE pod_memory_working_set_bytes gauge\n");
    if (cgroup_read_usage(&n->cgroups, "", &u) == 0) {
        buf_printf(&b, "node_cpu_usage_seconds_total %.9g\n", (double)u.cpu_nsec / 1e9);
        buf_printf(&b, "node_memory_working_set_bytes %llu\n",
                   (unsigned long long)u.working_set_bytes);
    }
    if (conntrack_usage(&entries, &entries_max) == 0)
        buf_printf(&b,
                   "# TYPE node_conntrack_entries gauge\nnode_conntrack_entries %llu\n"
                   "# TYPE node_conntrack_entries_limit gauge\nnode_conntrack_entries_limit %llu\n",
                   (unsigned long long)entries, (unsigned long long)entries_max);
    for (struct map_slot *s = NULL; (s = map_next(&n->pods, s));) {
        struct pod *p = s->value;
        char labels[700];
        if (cgroup_read_usage(&n->cgroups, p->cgroup, &u) < 0)
            continue;
        snprintf(labels, sizeof(labels), "namespace=\"%s\",pod=\"%s\"", p->ns, p->name);
        sample(&b, "pod_cpu_usage_seconds_total", labels, (double)u.cpu_nsec / 1e9);
        sample(&b, "pod_memory_working_set_bytes", labels, (double)u.working_set_bytes);
        for (unsigned i = 0; i < p->n_ctrs; i++) {
            struct ctr *k = p->ctrs[i];
            if (ctr_state(k) != CTR_RUNNING ||
                cgroup_read_usage(&n->cgroups, fs_path("%s/%s", p->cgroup, k->id).s, &u) < 0)
                continue;
            snprintf(labels, sizeof(labels), "container=\"%s\",namespace=\"%s\",pod=\"%s\"",
                     k->name, p->ns, p->name);
            sample(&b, "container_cpu_usage_seconds_total", labels, (double)u.cpu_nsec / 1e9);
            sample(&b, "container_memory_working_set_bytes", labels, (double)u.working_set_bytes);
        }
    }
    http_respond_str(c->req, 200, "text/plain; version=0.0.4", buf_str(&b));
    buf_fini(&b);
}
