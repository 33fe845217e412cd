/* Nodes that are drained, die, are cut off and come back. */
#include "scenarios.h"

#include <stdio.h>

#include "base/mem.h"
#include "codec/values.h"

#define S NSEC_PER_SEC

static void deploy(struct world *w, unsigned replicas, const char *tolerations)
{
    char *json = xasprintf(
        "{'metadata':{'name':'web','namespace':'default'},'spec':{'replicas':%u,"
        "'selector':{'matchLabels':{'app':'web'}},'template':{'metadata':{'labels':{'app':'web'}},"
        "'spec':{'tolerations':[%s],'containers':[{'name':'c','image':'web:1'}]}}}}",
        replicas, tolerations);
    world_apply(w, KIND_DEPLOYMENT, json);
    free(json);
}

#define LEAVES_AT_ONCE                                                                             \
    "{'key':'node.kubernetes.io/unreachable','operator':'Exists','effect':'NoExecute',"            \
    "'tolerationSeconds':0},{'key':'node.kubernetes.io/not-ready','operator':'Exists',"            \
    "'effect':'NoExecute','tolerationSeconds':0}"

static bool eight_ready(struct world *w)
{
    return checker_pods_ready(w->checker, "web") == 8 && checker_pods_alive(w->checker, "web") == 8;
}

static bool nodes_are_ready(struct world *w)
{
    for (unsigned i = 0; i < w->opts.nodes; i++) {
        char name[16];
        bool ready = false;
        snprintf(name, sizeof(name), "n%u-0", i);
        struct object *o = world_get(w, KIND_NODE, "", name);
        const struct api_node *n = o ? OBJECT_MSG(o, api_node) : NULL;
        for (uint32_t k = 0; n && k < n->status.n_conditions; k++)
            ready |= str_is(n->status.conditions[k].type, "Ready") &&
                     str_is(n->status.conditions[k].status, "True");
        if (!ready || n->spec.n_taints > 0)
            return false;
    }
    return true;
}

/* The name of some pod on that node that is not going; false: there is none. */
static bool pod_on(struct world *w, unsigned node, char name[static 256])
{
    struct store_iter it;
    bool found = false;
    char want[16];
    snprintf(want, sizeof(want), "n%u-0", node);
    if (!w->store || store_iter_init(&it, w->store, schema_kinds[KIND_POD], STR("default"), 0,
                                     STR_NONE, STR_NONE) < 0)
        return true; /* not known */
    for (struct object *o; !found && (o = store_iter_next(&it));) {
        const struct api_pod *p = OBJECT_MSG(o, api_pod);
        found = str_eqz(p->spec.node_name, want) && !p->metadata.deletion_timestamp.set;
        if (found)
            snprintf(name, 256, "%.*s", STR_ARG(p->metadata.name));
    }
    store_iter_fini(&it);
    return found;
}

static void cordon(struct world *w, unsigned node, bool on)
{
    char name[16];
    snprintf(name, sizeof(name), "n%u-0", node);
    world_merge(w, KIND_NODE, "", name,
                on ? "{'spec':{'unschedulable':true}}" : "{'spec':{'unschedulable':null}}");
}

/* ---- drain: nodes emptied one after the other, two at a time, while the server crashes ---- */

static bool drain_step(struct world *w, unsigned node)
{
    char name[256] = "";
    if (!w->store) {
        world_run(w, S);
        world_boot(w);
    }
    if (!pod_on(w, node, name))
        return true;
    if (name[0] && world_evict(w, "default", name) < 0)
        world_run(w, 500 * NSEC_PER_MSEC); /* 429, or no answer: later */
    return false;
}

void run_drain(struct world *w, unsigned steps)
{
    deploy(w, 8, "");
    world_until(w, eight_ready, 60 * S, "8 replicas");
    world_apply(w, KIND_POD_DISRUPTION_BUDGET,
                "{'metadata':{'name':'web','namespace':'default'},'spec':{'minAvailable':'80%',"
                "'selector':{'matchLabels':{'app':'web'}}}}");
    checker_bounds(w->checker, "web", 7, 100);
    for (unsigned i = 0; i < w->opts.nodes; i += 2) {
        unsigned a = i, b = (i + 1) % w->opts.nodes, tries = 0;
        cordon(w, a, true);
        cordon(w, b, true);
        for (bool done = false; !done; tries++) {
            WORLD_CHECK(w, tries < 2000, "the drain does not end");
            if (world_below(w, 20) < MIN(steps, 10u) / 5)
                world_crash(w);
            done = drain_step(w, a);
            done &= drain_step(w, b);
        }
        cordon(w, a, false);
        cordon(w, b, false);
    }
    world_until(w, eight_ready, 60 * S, "8 replicas in the end");
    world_run(w, 5 * S);
    checker_quiet(w->checker);
}

/* ---- a zone goes ---- */

static uint64_t uids_outside(struct world *w, unsigned zone)
{
    struct store_iter it;
    uint64_t sum = 0;
    if (store_iter_init(&it, w->store, schema_kinds[KIND_POD], STR("default"), 0, STR_NONE,
                        STR_NONE) < 0)
        return 0;
    for (struct object *o; (o = store_iter_next(&it));) {
        const struct api_pod *p = OBJECT_MSG(o, api_pod);
        unsigned node = p->spec.node_name.n > 1 ? (unsigned)(p->spec.node_name.p[1] - '0') : 0;
        if (w->opts.zones && node % w->opts.zones == zone)
            continue;
        for (size_t i = 0; i < p->metadata.uid.n; i++)
            sum = sum * 31 + (unsigned char)p->metadata.uid.p[i];
    }
    store_iter_fini(&it);
    return sum;
}

void run_zone_outage(struct world *w, unsigned steps)
{
    unsigned zone = (unsigned)world_below(w, w->opts.zones);
    world_until(w, nodes_are_ready, 60 * S, "all nodes ready");
    deploy(w, 8, LEAVES_AT_ONCE);
    world_until(w, eight_ready, 60 * S, "8 replicas");
    for (unsigned i = 0; i < w->opts.nodes; i++)
        if (i % w->opts.zones == zone)
            link_set_cut(w->node_links[i], true);
    world_run(w, 20 * S);
    WORLD_CHECK(w, checker_pods_alive(w->checker, "web") == 8, "evicted within the grace");
    /* Three nodes at one in ten seconds. */
    world_run(w, 80 * S);
    WORLD_CHECK(w, eight_ready(w), "only %u pods are ready without the zone",
                checker_pods_ready(w->checker, "web"));
    uint64_t before = uids_outside(w, zone);
    for (unsigned i = 0; i < w->opts.nodes; i++)
        link_set_cut(w->node_links[i], false);
    world_until(w, nodes_are_ready, 120 * S, "the zone back");
    world_run(w, 20 * S);
    WORLD_CHECK(w, uids_outside(w, zone) == before, "pods outside the zone were touched");
    checker_quiet(w->checker);
}

/* ---- the server is cut off, or asleep ---- */

void run_cut_off(struct world *w, unsigned steps)
{
    world_until(w, nodes_are_ready, 60 * S, "all nodes ready");
    deploy(w, 8, LEAVES_AT_ONCE);
    world_until(w, eight_ready, 60 * S, "8 replicas");
    uint64_t before = uids_outside(w, 0);
    for (unsigned round = 0; round < MIN(steps, 3u); round++) {
        for (unsigned i = 0; i < w->opts.nodes; i++) { /* not in one moment */
            link_set_cut(w->node_links[i], true);
            world_run(w, (nsec_t)world_below(w, 1500) * NSEC_PER_MSEC);
        }
        world_run(w, (60 + (nsec_t)world_below(w, 600)) * S);
        if (world_below(w, 2)) {
            world_crash(w);
            world_run(w, (nsec_t)world_below(w, 5000) * NSEC_PER_MSEC);
            world_boot(w);
        }
        for (unsigned i = 0; i < w->opts.nodes; i++) {
            link_set_cut(w->node_links[i], false);
            world_run(w, (nsec_t)world_below(w, 5000) * NSEC_PER_MSEC);
        }
        world_until(w, nodes_are_ready, 120 * S, "all nodes back");
        world_until(w, eight_ready, 60 * S, "8 replicas ready again");
    }
    WORLD_CHECK(w, uids_outside(w, 0) == before, "pods were evicted by a server that was cut off");
    checker_quiet(w->checker);
}

/* ---- fenced takeover ---- */

#define IDENTITIES 6

/* What a controller of stable names does: makes those again that are not there. */
static void make_missing(struct world *w)
{
    for (unsigned i = 0; i < IDENTITIES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "id-%u", i);
        if (!w->store || world_get(w, KIND_POD, "default", name))
            continue;
        char *json = xasprintf(
            "{'metadata':{'name':'%s','namespace':'default','labels':{'app':'id'}},'spec':{"
            "'tolerations':[" LEAVES_AT_ONCE "],'containers':[{'name':'c','image':'x'}]}}",
            name);
        world_apply(w, KIND_POD, json);
        free(json);
        checker_forget(w->checker, KIND_POD, "default", name);
    }
}

static bool identities_run(struct world *w)
{
    if (!w->store)
        return false;
    make_missing(w);
    return checker_pods_ready(w->checker, "id") == IDENTITIES &&
           checker_running(w->checker) == IDENTITIES;
}

void run_fence(struct world *w, unsigned steps)
{
    world_until(w, nodes_are_ready, 60 * S, "all nodes ready");
    world_until(w, identities_run, 60 * S, "all identities");
    for (unsigned i = 0; i < MIN(steps, 4u); i++) {
        unsigned node = (unsigned)world_below(w, w->opts.nodes);
        nsec_t cut_at = rt_now(w->rt);
        if (world_below(w, 2)) {
            w->node_dead[node] = true; /* the agent dies, its containers run on */
            hollow_set_dead(w->nodes[node], 0, true);
        }
        link_set_cut(w->node_links[node], true);
        world_until(w, identities_run, 60 * S, "all identities without that node");
        WORLD_CHECK(w, rt_now(w->rt) - cut_at < 20 * S, "moving took %lld s",
                    (long long)((rt_now(w->rt) - cut_at) / S));
        world_run(w, (nsec_t)world_below(w, 20000) * NSEC_PER_MSEC);
        link_set_cut(w->node_links[node], false);
        if (w->node_dead[node])
            hollow_set_dead(w->nodes[node], 0, w->node_dead[node] = false);
        world_until(w, nodes_are_ready, 60 * S, "the node back");
        world_until(w, identities_run, 60 * S, "all identities");
    }
}

static void fence_mishap(struct world *w)
{
    unsigned node = (unsigned)world_below(w, w->opts.nodes);
    switch (world_below(w, 9)) {
    case 0:
        world_crash(w);
        break;
    case 1:
    case 2:
        link_set_cut(w->node_links[node], true);
        break;
    case 3:
        link_set_cut(w->node_links[node], false);
        break;
    case 4:
    case 5:
        w->node_dead[node] = !w->node_dead[node];
        hollow_set_dead(w->nodes[node], 0, w->node_dead[node]);
        break;
    case 6:
        w->faults.loss = (double)world_below(w, 40) / 100;
        break;
    case 7: /* messages that are late by seconds */
        w->faults.delay_max = (nsec_t)world_below(w, 4000) * NSEC_PER_MSEC + w->faults.delay_min;
        break;
    default: /* another grace from the next start on */
        w->opts.grace = (3 + (nsec_t)world_below(w, 40)) * S;
        world_crash(w);
        world_boot(w);
    }
}

void run_fence_chaos(struct world *w, unsigned steps)
{
    world_until(w, identities_run, 60 * S, "all identities");
    for (unsigned i = 0; i < steps * 6; i++) {
        fence_mishap(w);
        for (nsec_t end = rt_now(w->rt) + (nsec_t)world_below(w, 40000) * NSEC_PER_MSEC;
             rt_now(w->rt) < end;) {
            world_run(w, 200 * NSEC_PER_MSEC);
            make_missing(w); /* at once: who moves too early is met by who still runs */
        }
        if (!w->store && world_below(w, 2))
            world_boot(w);
    }
    if (!w->store)
        world_boot(w);
    w->faults.loss = 0;
    w->faults.delay_max = 2 * NSEC_PER_MSEC;
    for (unsigned i = 0; i < w->opts.nodes; i++) {
        link_set_cut(w->node_links[i], false);
        if (w->node_dead[i])
            hollow_set_dead(w->nodes[i], 0, w->node_dead[i] = false);
    }
    world_until(w, nodes_are_ready, 300 * S, "all nodes back");
    world_until(w, identities_run, 300 * S, "all identities in the end");
    world_run(w, 5 * S);
    checker_quiet(w->checker);
}
