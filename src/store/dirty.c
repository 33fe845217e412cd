/* Between two checkpoints a status may change a hundred times; the database needs the last one
 * only. Objects are frozen, so a reference is enough; mostly it is the one the index holds too. */
#include "store/dirty.h"
#include "base/mem.h"
#include "store/record.h"

static void entry_free(struct dirty *d, struct dirty_entry *e)
{
    if (!e)
        return;
    if (e->object)
        d->bytes -= e->object->msg_bytes;
    (void)object_unref(e->object);
    free(e);
}

void dirty_clear(struct dirty *d)
{
    for (struct map_slot *s = NULL; (s = map_next(&d->entries, s));)
        entry_free(d, s->value);
    map_fini(&d->entries);
    ASSERT(d->bytes == 0);
}

static void entry_add(struct dirty *d, struct dirty_entry *e)
{
    if (e->object)
        d->bytes += e->object->msg_bytes;
    entry_free(d, map_set(&d->entries, (struct str){e->key, e->key_len}, e));
}

void dirty_put(struct dirty *d, const struct store_op *op, struct buf *scratch)
{
    struct dirty_entry *e;

    buf_clear(scratch);
    record_key(scratch, op->kind, op->ns, op->name);
    e = xmalloc(sizeof(*e) + scratch->n);
    *e = (struct dirty_entry){.kind = op->kind,
                              .object = op->object ? object_ref(op->object) : NULL,
                              .rev = op->rev,
                              .key_len = (uint32_t)scratch->n};
    memcpy(e->key, scratch->data, scratch->n);
    entry_add(d, e);
}

void dirty_put_raw(struct dirty *d, struct str key, struct str value)
{
    struct dirty_entry *e = xmalloc(sizeof(*e) + key.n + value.n);

    *e = (struct dirty_entry){.key_len = (uint32_t)key.n};
    memcpy(e->key, key.p, key.n);
    if (value.p) {
        memcpy(e->key + key.n, value.p, value.n);
        e->raw = (struct str){e->key + key.n, value.n};
    }
    entry_add(d, e);
}

void dirty_merge(struct dirty *d, struct dirty *older)
{
    for (struct map_slot *s = NULL; (s = map_next(&older->entries, s));) {
        struct dirty_entry *e = s->value;
        if (e->object)
            older->bytes -= e->object->msg_bytes;
        if (map_get(&d->entries, s->key)) {
            (void)object_unref(e->object);
            free(e);
        } else {
            entry_add(d, e);
        }
    }
    map_fini(&older->entries);
    ASSERT(older->bytes == 0);
}

static int entry_cmp(const void *a, const void *b)
{
    const struct dirty_entry *x = *(struct dirty_entry *const *)a,
                             *y = *(struct dirty_entry *const *)b;

    return str_cmp((struct str){x->key, x->key_len}, (struct str){y->key, y->key_len});
}

struct dirty_entry **dirty_sorted(const struct dirty *d, size_t *ret_n)
{
    struct dirty_entry **v = xcalloc(d->entries.n + 1, sizeof(*v));
    size_t n = 0;

    for (struct map_slot *s = NULL; (s = map_next(&d->entries, s));)
        v[n++] = s->value;
    qsort(v, n, sizeof(*v), entry_cmp);
    *ret_n = n;
    return v;
}
