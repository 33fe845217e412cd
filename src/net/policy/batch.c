/* Changes of elements, by name. To be told of a pod's change the engine takes all its elements away
 * and puts the new ones in; here the pairs cancel out, so that the kernel hears of the difference
 * only, and nobody has to work out what stayed. */
#include <stdarg.h>

#include "base/mem.h"
#include "net/policy/policy_int.h"

void batch_elem(struct policy_batch *b, int change, const char *set, const char *fmt, ...)
{
    char key[256];
    int set_n = snprintf(key, sizeof(key), "%s ", set);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(key + set_n, sizeof(key) - (size_t)set_n, fmt, ap);
    va_end(ap);
    ASSERT(n > 0 && set_n + n < (int)sizeof(key));
    struct policy_elem *e = map_get(&b->elems, str_z(key));
    if (!e) {
        e = NEW(struct policy_elem);
        e->key = xstrdup(key);
        e->set_n = (size_t)set_n - 1;
        map_set(&b->elems, str_z(e->key), e);
    }
    e->change = (int8_t)(e->change + change);
    ASSERT(e->change >= -1 && e->change <= 1);
}

bool policy_batch_empty(const struct policy_batch *b)
{
    if (b->defs.n || b->drop_chains.n || b->drop_sets.n)
        return false;
    for (struct map_slot *s = NULL; (s = map_next(&b->elems, s));)
        if (((const struct policy_elem *)s->value)->change)
            return false;
    return true;
}

void policy_batch_fini(struct policy_batch *b)
{
    for (struct map_slot *s = NULL; (s = map_next(&b->elems, s));) {
        struct policy_elem *e = s->value;
        free(e->key);
        free(e);
    }
    map_fini(&b->elems);
    buf_fini(&b->defs);
    buf_fini(&b->drop_chains);
    buf_fini(&b->drop_sets);
    *b = (struct policy_batch){0};
}

static int elem_cmp(const void *a, const void *b)
{
    const struct policy_elem *x = *(void *const *)a, *y = *(void *const *)b;
    if (x->change != y->change)
        return x->change < y->change ? -1 : 1; /* removals first */
    return strcmp(x->key, y->key);
}

/* Sets of links are the bridge's. */
static const char *family(const struct policy_elem *e)
{
    struct str set = {e->key, e->set_n};
    return str_is(set, "links") || str_is(set, "sources") ? "bridge" : "ip";
}

static void print_elems(const struct policy_elem *const *v, size_t n, const char *table,
                        struct buf *out)
{
    const struct policy_elem *last = NULL;
    for (size_t i = 0; i < n; i++) {
        const struct policy_elem *e = v[i];
        bool same = last && last->change == e->change && last->set_n == e->set_n &&
                    memcmp(last->key, e->key, e->set_n) == 0;
        if (!same)
            buf_printf(out, "%s%s element %s %s %.*s { ", last ? " }\n" : "",
                       e->change < 0 ? "delete" : "add", family(e), table, (int)e->set_n, e->key);
        buf_printf(out, "%s%s", same ? ", " : "", e->key + e->set_n + 1);
        last = e;
    }
    if (last)
        buf_add_lit(out, " }\n");
}

void policy_batch_print(const struct policy_batch *b, const char *table, struct buf *out)
{
    const struct policy_elem **v = xcalloc(b->elems.n + 1, sizeof(*v));
    size_t n = 0;
    for (struct map_slot *s = NULL; (s = map_next(&b->elems, s));) {
        const struct policy_elem *e = s->value;
        if (e->change)
            v[n++] = e;
    }
    qsort(v, n, sizeof(*v), elem_cmp);
    buf_add_str(out, buf_str(&b->defs));
    print_elems(v, n, table, out);
    buf_add_str(out, buf_str(&b->drop_chains));
    buf_add_str(out, buf_str(&b->drop_sets));
    free(v);
}
