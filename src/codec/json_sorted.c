/* Canonical JSON: members sorted by key, no key twice. What free-form objects are stored as, so
 * that equal meaning is equal text and a compare of bytes says whether a write changes anything.
 * Members mostly come sorted, or few: a list that is in order costs one compare a member. */
#include "base/mem.h"
#include "codec/json.h"
#include "codec/out.h"

#define FEW 32

static int by_key(const void *a, const void *b)
{
    const struct json *x = *(const struct json *const *)a, *y = *(const struct json *const *)b;
    return str_cmp(x->key, y->key);
}

/* Stable: of equal keys the last one counts. */
static void sort(const struct json **v, size_t n)
{
    if (n > FEW) {
        qsort(v, n, sizeof(*v), by_key); /* glibc merges, which is stable */
        return;
    }
    for (size_t i = 1; i < n; i++) {
        const struct json *x = v[i];
        size_t k = i;
        for (; k > 0 && str_cmp(v[k - 1]->key, x->key) > 0; k--)
            v[k] = v[k - 1];
        v[k] = x;
    }
}

static void object_print(const struct json *v, struct buf *b)
{
    const struct json *few[FEW], **all = few;
    size_t n = 0;
    if (v->n > FEW)
        all = xmalloc(v->n * sizeof(*all));
    json_for_each(c, v) all[n++] = c;
    sort(all, n);
    OUT_LIT(b, "{");
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n && str_eq(all[i]->key, all[i + 1]->key))
            continue;
        if (!first)
            OUT_LIT(b, ",");
        first = false;
        json_print_str(all[i]->key, b);
        OUT_LIT(b, ":");
        json_print_sorted(all[i], b);
    }
    OUT_LIT(b, "}");
    if (all != few)
        free(all);
}

void json_print_sorted(const struct json *v, struct buf *b)
{
    if (v->type == JSON_OBJ) {
        object_print(v, b);
    } else if (v->type == JSON_ARR) {
        OUT_LIT(b, "[");
        json_for_each(c, v)
        {
            if (c != v->first)
                OUT_LIT(b, ",");
            json_print_sorted(c, b);
        }
        OUT_LIT(b, "]");
    } else {
        json_print(v, b);
    }
}
