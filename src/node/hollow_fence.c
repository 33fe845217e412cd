/* The agent's side of fencing (docs/FENCING.md) as hollow nodes play it, so that the simulator can
 * try the protocol against everything that goes wrong. The timer is the keeper: it runs while the
 * node is dead. Durations run at the rate of the node's own clock. */
#include "node/hollow_int.h"

#include "base/mem.h"

static nsec_t local(const struct hollow_node *n, nsec_t span)
{
    return (nsec_t)((double)span / (1 + n->h->opts.clock_rate));
}

static bool is_fenced(const struct hollow_pod *p)
{
    return p->h->opts.fence && fence_applies(OBJECT_MSG(p->object, api_pod));
}

static void each_fenced(struct hollow_node *n, void (*fn)(struct hollow_pod *p))
{
    for (struct map_slot *s = NULL; (s = map_next(&n->h->pods_by_key, s));) {
        struct hollow_pod *p = s->value;
        if (p->node == n && is_fenced(p))
            fn(p);
    }
}

static void kill_one(struct hollow_pod *p)
{
    hollow_container(p, false);
    p->started = p->over;
}

static void on_fence(void *arg)
{
    struct hollow_node *n = arg;
    struct hollow_fence *f = &n->fence;

    if (f->killing) {
        f->killing = false;
        each_fenced(n, kill_one);
        return;
    }
    f->fallen = f->killing = true;
    f->fallen_at = rt_now(n->h->client->rt);
    f->epoch++;
    rt_timer_start(&f->timer, local(n, rt_jitter(n->h->client->rt, f->promised.kill / 2, 0.9)));
}

static void set_deadline(struct hollow_node *n, nsec_t at)
{
    n->fence.deadline = at;
    rt_timer_start_at(&n->fence.timer, at);
}

void hollow_fence_init(struct hollow_node *n)
{
    n->fence =
        (struct hollow_fence){.fallen = true, .epoch = 1, .promised = fence_promise_for(n->grace)};
    rt_timer_init(&n->fence.timer, n->h->client->rt, on_fence, n);
}

void hollow_fence_sent(struct hollow_node *n)
{
    struct hollow_fence *f = &n->fence;

    f->sent = rt_now(n->h->client->rt);
    f->promised = fence_promise_for(n->grace);
    /* A shorter promise than the last holds from when the server may know of it. */
    if (!f->fallen)
        set_deadline(n, MIN(f->deadline, f->sent + local(n, f->promised.deadline)));
}

void hollow_fence_acked(struct hollow_node *n)
{
    struct hollow_fence *f = &n->fence;

    if (!n->h->opts.fence || n->dead || f->killing || f->sent < f->fallen_at)
        return;
    set_deadline(n, f->sent + local(n, f->promised.deadline));
    if (!f->fallen)
        return;
    f->fallen = false;
    each_fenced(n, hollow_pod_arm);
}

/* ---- asking before a start ---- */

struct verify {
    struct hollow *h;
    char *key; /* owned */
    uint64_t epoch;
};

static void verify_dropped(void *arg)
{
    struct verify *v = arg;

    free(v->key);
    free(v);
}

static void verified(void *arg, const struct client_reply *reply)
{
    struct verify *v = arg;
    struct hollow_pod *p = map_get(&v->h->pods_by_key, str_z(v->key));

    if (p) {
        const struct api_object_meta *m = reply->r == 0 ? object_meta(reply->object) : NULL;
        p->verifying = false;
        if (m && str_eq(m->uid, object_meta(p->object)->uid) && !m->deletion_timestamp.set &&
            !p->node->dead && !p->node->fence.fallen && v->epoch == p->node->fence.epoch)
            p->allowed = v->epoch;
        if (p->allowed == p->node->fence.epoch)
            hollow_pod_arm(p);
        else if (!rt_timer_active(&p->timer) && reply->r != -ENOENT)
            rt_timer_start(&p->timer, NSEC_PER_SEC);
    }
    verify_dropped(v);
}

bool hollow_fence_allows(struct hollow_pod *p)
{
    struct hollow_fence *f = &p->node->fence;
    const struct api_object_meta *m = object_meta(p->object);

    if (!is_fenced(p))
        return true;
    if (f->fallen)
        return false; /* the next acknowledged renewal arms it */
    if (p->allowed == f->epoch)
        return true;
    if (p->verifying)
        return false;
    p->verifying = true;
    struct verify *v = NEW(struct verify);
    *v = (struct verify){p->h, xstrdup(p->key), f->epoch};
    const struct client_request req = {.verb = CLIENT_GET,
                                       .kind = schema_kinds[KIND_POD],
                                       .ns = m->namespace,
                                       .name = m->name,
                                       .dropped = verify_dropped};
    client_call(p->h->client, &req, verified, v);
    return false;
}
