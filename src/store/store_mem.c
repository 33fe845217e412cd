/* Tests and the simulator need a disk whose latency and failures they choose. It keeps frozen
 * objects by reference, in a map by key, and applies a batch at the end of its latency: a crash
 * before that leaves nothing of it, or (crash_keeps) all of it, as a real log would. */
#include "store/store_mem.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/buf.h"

struct disk_entry {
    struct object *object; /* owned */
    uint32_t key_len;
    char key[];
};

struct store_disk {
    struct map entries; /* key -> struct disk_entry */
    struct store_meta meta;
    struct store_disk_faults faults;
    uint64_t commits;
    bool in_use;
};

struct store_mem {
    struct store_backend base;
    struct rt *rt;
    struct store_disk *disk;
    bool own_disk;
    const struct store_batch *batch; /* under way */
    store_commit_fn done;
    void *done_arg;
    struct rt_timer timer;
    struct rt_task task;
};

struct store_disk *store_disk_new(void)
{
    return NEW(struct store_disk);
}

static void entry_free(struct disk_entry *e)
{
    if (!e)
        return;
    (void)object_unref(e->object);
    free(e);
}

struct store_disk *store_disk_free(struct store_disk *d)
{
    if (!d)
        return NULL;
    ASSERT(!d->in_use);
    for (struct map_slot *slot = NULL; (slot = map_next(&d->entries, slot));)
        entry_free(slot->value);
    map_fini(&d->entries);
    free(d);
    return NULL;
}

struct store_disk_faults *store_disk_faults(struct store_disk *d)
{
    return &d->faults;
}

uint64_t store_disk_commits(const struct store_disk *d)
{
    return d->commits;
}

rev_t store_disk_rev(const struct store_disk *d)
{
    return d->meta.rev;
}

static void disk_apply(struct store_disk *d, const struct store_batch *batch)
{
    struct buf key = {0};

    for (size_t i = 0; i < batch->n; i++) {
        const struct store_op *op = &batch->ops[i];
        struct disk_entry *e;
        buf_clear(&key);
        buf_printf(&key, "%s/%s%c", op->kind->group, op->kind->plural, '\0');
        buf_add_str(&key, op->ns);
        buf_add_char(&key, '\0');
        buf_add_str(&key, op->name);
        if (!op->object) {
            entry_free(map_remove(&d->entries, buf_str(&key)));
            continue;
        }
        e = xmalloc(sizeof(*e) + key.n);
        e->object = object_ref(op->object);
        e->key_len = (uint32_t)key.n;
        memcpy(e->key, key.data, key.n);
        entry_free(map_set(&d->entries, (struct str){e->key, e->key_len}, e));
    }
    buf_fini(&key);
    d->meta.rev = batch->rev;
    d->commits++;
}

static void mem_finish(void *arg)
{
    struct store_mem *m = arg;
    struct store_disk_faults *f = &m->disk->faults;
    const struct store_batch *batch = m->batch;
    struct error err = {0};
    bool unknown = false, fails = false;
    int r = 0;

    m->batch = NULL;
    if (f->fail_nth && --f->fail_nth == 0) {
        fails = true;
        unknown = f->fail_unknown;
        r = error_errno(&err, f->fail_error ? f->fail_error : EIO, "commit");
    } else if (f->full) {
        fails = true;
        r = error_set(&err, REASON_STORAGE_FULL, "the disk of the store is full");
    }
    if (!fails || (unknown && f->fail_kept))
        disk_apply(m->disk, batch);
    m->done(m->done_arg, r, unknown, fails ? &err : NULL);
    error_fini(&err);
}

static int mem_open(struct store_backend *b, struct rt *rt, const char *new_id,
                    struct store_meta *ret_meta, store_load_fn fn, void *arg, struct error *err)
{
    struct store_mem *m = CONTAINER_OF(b, struct store_mem, base);
    struct store_disk *d = m->disk;

    m->rt = rt;
    rt_timer_init(&m->timer, rt, mem_finish, m);
    rt_task_init(&m->task, rt, mem_finish, m);
    if (!d->meta.cluster_id[0])
        memcpy(d->meta.cluster_id, new_id, sizeof(d->meta.cluster_id));
    for (struct map_slot *slot = NULL; (slot = map_next(&d->entries, slot));) {
        struct disk_entry *e = slot->value;
        struct store_record rec = {.object = e->object,
                                   .ns = object_ns(e->object),
                                   .name = object_name(e->object),
                                   .rev = e->object->rev};
        int r = fn(arg, &rec, err);
        if (r < 0)
            return r;
    }
    *ret_meta = d->meta;
    return 0;
}

static void mem_commit(struct store_backend *b, const struct store_batch *batch,
                       store_commit_fn done, void *arg)
{
    struct store_mem *m = CONTAINER_OF(b, struct store_mem, base);
    const struct store_disk_faults *f = &m->disk->faults;
    nsec_t span = f->latency_max - f->latency_min, latency = f->latency_min;

    ASSERT(!m->batch);
    m->batch = batch;
    m->done = done;
    m->done_arg = arg;
    if (span > 0)
        latency += (nsec_t)rt_random_below(m->rt, (uint64_t)span + 1);
    if (latency > 0)
        rt_timer_start(&m->timer, latency);
    else
        rt_task_schedule(&m->task);
}

static void mem_free(struct store_mem *m)
{
    m->disk->in_use = false;
    if (m->own_disk)
        (void)store_disk_free(m->disk);
    free(m);
}

static void mem_close(struct store_backend *b, void (*done)(void *arg), void *arg)
{
    struct store_mem *m = CONTAINER_OF(b, struct store_mem, base);

    ASSERT(!m->batch);
    mem_free(m);
    done(arg);
}

static void mem_abandon(struct store_backend *b)
{
    struct store_mem *m = CONTAINER_OF(b, struct store_mem, base);

    if (m->batch && m->disk->faults.crash_keeps)
        disk_apply(m->disk, m->batch);
    if (m->rt) {
        rt_timer_stop(&m->timer);
        rt_task_cancel(&m->task);
    }
    mem_free(m);
}

static const struct store_backend_ops mem_ops = {
    .name = "memory",
    .open = mem_open,
    .commit = mem_commit,
    .close = mem_close,
    .abandon = mem_abandon,
};

struct store_backend *store_mem_new(struct store_disk *disk)
{
    struct store_mem *m = NEW(struct store_mem);

    m->base.ops = &mem_ops;
    m->own_disk = !disk;
    m->disk = disk ? disk : store_disk_new();
    ASSERT(!m->disk->in_use);
    m->disk->in_use = true;
    return &m->base;
}
