/* Tools and people read these lines (what must a Helm chart's installer be given?), so they have
 * Kubernetes' form: {APIGroups:["apps"], Resources:["deployments"], Verbs:["get" "list"]}. */
#include "apiserver/auth/rbac_missing.h"

#include <stdlib.h>
#include <string.h>

static bool add(struct rbac_missing *m, struct str head, struct str verb)
{
    size_t i = 0;
    while (i < m->n && !str_eq(m->rows[i].head, head))
        i++;
    if (i == RBAC_MISSING_ROWS || m->left == 0) {
        m->left = 0;
        return false;
    }
    m->left--;
    if (i == m->n)
        m->rows[m->n++] = (struct rbac_missing_row){.head = head};
    struct buf *verbs = &m->rows[i].verbs;
    struct buf text = {0};
    buf_printf(&text, "\"%.*s\"", STR_ARG(verb));
    if (str_search(buf_str(verbs), buf_str(&text)) < 0) {
        if (verbs->n)
            buf_add_char(verbs, ' ');
        buf_add_str(verbs, buf_str(&text));
    }
    buf_fini(&text);
    return true;
}

void rbac_missing_init(struct rbac_missing *m, struct arena *a)
{
    *m = (struct rbac_missing){.a = a, .left = RBAC_MISSING_ALL};
}

bool rbac_missing_resource(struct rbac_missing *m, struct str group, struct str resource,
                           struct str name, struct str verb)
{
    struct str names =
        name.n ? arena_printf(m->a, ", ResourceNames:[\"%.*s\"]", STR_ARG(name)) : STR("");
    return add(m,
               arena_printf(m->a, "APIGroups:[\"%.*s\"], Resources:[\"%.*s\"]%.*s", STR_ARG(group),
                            STR_ARG(resource), STR_ARG(names)),
               verb);
}

bool rbac_missing_path(struct rbac_missing *m, struct str path, struct str verb)
{
    return add(m, arena_printf(m->a, "NonResourceURLs:[\"%.*s\"]", STR_ARG(path)), verb);
}

static int by_head(const void *a, const void *b)
{
    return str_cmp(((const struct rbac_missing_row *)a)->head,
                   ((const struct rbac_missing_row *)b)->head);
}

struct str rbac_missing_take(struct rbac_missing *m)
{
    struct buf b = {0};
    qsort(m->rows, m->n, sizeof(*m->rows), by_head);
    for (size_t i = 0; i < m->n; i++) {
        buf_printf(&b, "%s{%.*s, Verbs:[%.*s]}", i ? "\n" : "", STR_ARG(m->rows[i].head),
                   STR_ARG(buf_str(&m->rows[i].verbs)));
        buf_fini(&m->rows[i].verbs);
    }
    m->n = 0;
    struct str out = arena_str(m->a, buf_str(&b));
    buf_fini(&b);
    return out;
}
