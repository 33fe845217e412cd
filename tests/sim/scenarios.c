/* What is played in the simulated cluster. Each scenario says what the user does, which faults
 * happen and what must come true in the end; the checkers hold at every step. */
#include "scenarios.h"

#include <stdio.h>

#include "base/mem.h"
#include "codec/values.h"

#define S NSEC_PER_SEC

/* A Deployment `web` of pods app=web. */
static void deploy(struct world *w, unsigned replicas, const char *more)
{
    char *json = xasprintf("{'metadata':{'name':'web','namespace':'default','annotations':{'davit."
                           "dev/rollback-on-failure':'true'}},"
                           "'spec':{'replicas':%u,'selector':{'matchLabels':{'app':'web'}},%s"
                           "'template':{'metadata':{'labels':{'app':'web'}},'spec':{'containers':[{"
                           "'name':'c','image':'web:1',"
                           "'resources':{'requests':{'cpu':'100m','memory':'64Mi'}}}]}}}}",
                           replicas, more);
    world_apply(w, KIND_DEPLOYMENT, json);
    free(json);
}

static void set_image(struct world *w, unsigned version)
{
    char *json = xasprintf(
        "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'web:%u'}]}}}}", version);
    world_merge(w, KIND_DEPLOYMENT, "default", "web", json);
    free(json);
}

static void scale(struct world *w, unsigned replicas)
{
    char *json = xasprintf("{'spec':{'replicas':%u}}", replicas);
    world_merge(w, KIND_DEPLOYMENT, "default", "web", json);
    free(json);
}

static const struct api_deployment *web(struct world *w)
{
    struct object *o = world_get(w, KIND_DEPLOYMENT, "default", "web");
    return o ? OBJECT_MSG(o, api_deployment) : NULL;
}

/* The rollout is over and all replicas are ready, as `kubectl rollout status` sees it. */
static bool web_is_done(struct world *w)
{
    const struct api_deployment *d = web(w);
    return d && d->status.observed_generation >= d->metadata.generation &&
           d->status.updated_replicas == d->spec.replicas &&
           d->status.replicas == d->spec.replicas &&
           d->status.available_replicas == d->spec.replicas &&
           checker_pods_ready(w->checker, "web") == (unsigned)d->spec.replicas &&
           checker_pods_alive(w->checker, "web") == (unsigned)d->spec.replicas;
}

static bool web_is_gone(struct world *w)
{
    return w->store && !web(w) && store_count(w->store, schema_kinds[KIND_REPLICA_SET]) == 0 &&
           store_count(w->store, schema_kinds[KIND_POD]) == 0;
}

static unsigned ready_endpoints(struct world *w)
{
    unsigned n = 0;
    struct store_iter it;
    if (!w->store || store_iter_init(&it, w->store, schema_kinds[KIND_ENDPOINT_SLICE],
                                     STR("default"), 0, STR_NONE, STR_NONE) < 0)
        return 0;
    for (struct object *o; (o = store_iter_next(&it));) {
        const struct api_endpoint_slice *s = OBJECT_MSG(o, api_endpoint_slice);
        for (uint32_t i = 0; i < s->n_endpoints; i++)
            n += s->endpoints[i].conditions.ready;
    }
    store_iter_fini(&it);
    return n;
}

static bool endpoints_follow(struct world *w)
{
    return web_is_done(w) && ready_endpoints(w) == (unsigned)web(w)->spec.replicas;
}

static void quiet(struct world *w)
{
    world_run(w, 5 * S);
    checker_quiet(w->checker);
}

/* ---- basic: up, up, down, gone ---- */

static void run_basic(struct world *w, unsigned steps)
{
    deploy(w, 6, "");
    world_apply(w, KIND_SERVICE,
                "{'metadata':{'name':'web','namespace':'default'},'spec':{'selector':{'app':'web'},"
                "'ports':[{'port':80,'targetPort':8080}]}}");
    world_until(w, endpoints_follow, 60 * S, "6 replicas and endpoints");
    scale(w, 10);
    world_until(w, endpoints_follow, 60 * S, "10 replicas and endpoints");
    scale(w, 2);
    world_until(w, endpoints_follow, 60 * S, "2 replicas and endpoints");
    quiet(w);
    world_delete(w, KIND_DEPLOYMENT, "default", "web", "Foreground");
    world_until(w, web_is_gone, 120 * S, "all of it gone");
    quiet(w);
}

/* ---- rollout: bounds hold at every step, though the server dies in the middle ---- */

static void run_rollout(struct world *w, unsigned steps)
{
    deploy(w, 8, "'strategy':{'rollingUpdate':{'maxSurge':2,'maxUnavailable':1}},");
    world_until(w, web_is_done, 60 * S, "8 replicas");
    checker_bounds(w->checker, "web", 7, 10);
    for (unsigned v = 2; v < 2 + steps; v++) {
        set_image(w, v);
        if (v % 2) {
            world_run(w, (nsec_t)world_below(w, 3000) * NSEC_PER_MSEC);
            world_crash(w);
            world_run(w, (nsec_t)world_below(w, 2000) * NSEC_PER_MSEC);
            world_boot(w);
        }
        world_until(w, web_is_done, 300 * S, "the rollout");
    }
    quiet(w);
}

/* ---- rollback: a bad template goes back by itself, once ---- */

static bool web_is_rolled_back(struct world *w)
{
    const struct api_deployment *d = web(w);
    if (!d || !web_is_done(w))
        return false;
    for (uint32_t i = 0; i < d->status.n_conditions; i++)
        if (str_is(d->status.conditions[i].type, "davit.dev/RolledBack"))
            return str_is(d->status.conditions[i].status, "True");
    return false;
}

static void run_rollback(struct world *w, unsigned steps)
{
    deploy(w, 4, "'progressDeadlineSeconds':20,");
    world_until(w, web_is_done, 60 * S, "4 replicas");
    set_image(w, 2);
    world_until(w, web_is_done, 60 * S, "a good rollout");
    checker_bounds(w->checker, "web", 3, 5);
    unsigned before = checker_template_changes(w->checker);
    world_merge(
        w, KIND_DEPLOYMENT, "default", "web",
        "{'spec':{'template':{'metadata':{'annotations':{'davit.dev/hollow':'never-ready'}},"
        "'spec':{'containers':[{'name':'c','image':'web:bad'}]}}}}");
    if (steps % 2) { /* the server dies just about when the deadline is over */
        world_run(w, 20 * S + (nsec_t)world_below(w, 2000) * NSEC_PER_MSEC);
        world_crash(w);
        world_run(w, (nsec_t)world_below(w, 3000) * NSEC_PER_MSEC);
        world_boot(w);
    }
    world_until(w, web_is_rolled_back, 200 * S, "the rollback");
    WORLD_CHECK(w, str_is(web(w)->spec.template.spec.containers[0].image, "web:2"),
                "rolled back to %.*s", STR_ARG(web(w)->spec.template.spec.containers[0].image));
    world_run(w, 600 * S);
    WORLD_CHECK(w, checker_template_changes(w->checker) == before + 2,
                "%u changes of the template instead of 2",
                checker_template_changes(w->checker) - before);
    set_image(w, 3);
    world_until(w, web_is_done, 100 * S, "the fixed rollout");
    WORLD_CHECK(w, !web_is_rolled_back(w), "the condition RolledBack outlives the next rollout");
    quiet(w);
}

/* ---- node death: pods move, and the node may come back ---- */

static void kill_node(struct world *w, unsigned i, bool dead)
{
    w->node_dead[i] = dead;
    hollow_set_dead(w->nodes[i], 0, dead);
}

static void run_node_death(struct world *w, unsigned steps)
{
    deploy(w, 8, "");
    world_until(w, web_is_done, 60 * S, "8 replicas");
    unsigned dead = (unsigned)world_below(w, w->opts.nodes);
    kill_node(w, dead, true);
    world_run(w, 60 * S);
    WORLD_CHECK(w, checker_pods_ready(w->checker, "web") < 8, "pods of a dead node count as ready");
    world_run(w, 300 * S); /* the tolerations that admission gives */
    WORLD_CHECK(w, checker_pods_ready(w->checker, "web") == 8,
                "only %u pods are ready after a node has died",
                checker_pods_ready(w->checker, "web"));
    kill_node(w, dead, false);
    world_until(w, web_is_done, 120 * S, "calm after the node has come back");
    quiet(w);
}

/* ---- balancer: one port of the nodes, two Services that want it, and a server that dies ---- */

static const struct api_service *service(struct world *w, const char *name)
{
    struct object *o = world_get(w, KIND_SERVICE, "default", name);
    return o ? OBJECT_MSG(o, api_service) : NULL;
}

static bool has_address(struct world *w, const char *name)
{
    const struct api_service *svc = service(w, name);
    return svc && svc->status.load_balancer.n_ingress > 0;
}

static bool one_has_it(struct world *w)
{
    bool first = has_address(w, "first"), second = has_address(w, "second");
    WORLD_CHECK(w, !first || !second, "two Services have one port of the nodes");
    return first != second;
}

static bool loser_is_told(struct world *w)
{
    if (!one_has_it(w))
        return false;
    const struct api_service *svc = service(w, has_address(w, "first") ? "second" : "first");
    return svc && svc->status.n_conditions == 1;
}

static bool second_has_it_alone(struct world *w)
{
    return one_has_it(w) && has_address(w, "second") && !service(w, "first") &&
           service(w, "second")->status.n_conditions == 0;
}

static bool second_let_go(struct world *w)
{
    const struct api_service *svc = service(w, "second");
    return svc && svc->status.load_balancer.n_ingress == 0 && svc->metadata.n_finalizers == 0;
}

static void run_balancer(struct world *w, unsigned steps)
{
    /* Hollow nodes have no addresses. This one never renews its lease, but is not waited for. */
    world_apply(w, KIND_NODE,
                "{'metadata':{'name':'edge'},'status':{'addresses':[{'type':'InternalIP',"
                "'address':'192.0.2.1'}],'conditions':[{'type':'Ready','status':'True'}]}}");
    for (int i = 0; i < 2; i++) {
        char *json = xasprintf("{'metadata':{'name':'%s','namespace':'default'},'spec':{'type':"
                               "'LoadBalancer','ports':[{'port':8080}]}}",
                               i ? "second" : "first");
        world_apply(w, KIND_SERVICE, json);
        free(json);
        if (i == 0 && world_below(w, 2)) {
            world_crash(w);
            world_run(w, 2 * S);
            world_boot(w);
        }
    }
    world_until(w, loser_is_told, 60 * S, "one has the port, the other knows");
    world_crash(w);
    world_run(w, (nsec_t)(1 + world_below(w, 5)) * S);
    world_boot(w);
    world_until(w, loser_is_told, 60 * S, "the same after a crash");
    world_delete(w, KIND_SERVICE, "default", "first", NULL);
    world_until(w, second_has_it_alone, 60 * S, "the second has the port, the first is gone");
    world_merge(w, KIND_SERVICE, "default", "second", "{'spec':{'type':'ClusterIP'}}");
    world_until(w, second_let_go, 60 * S, "no load balancer any more");
    quiet(w);
}

/* ---- jobs: every pod counted once, whatever dies ---- */

static const struct api_job *job(struct world *w, const char *name)
{
    struct object *o = world_get(w, KIND_JOB, "default", name);
    return o ? OBJECT_MSG(o, api_job) : NULL;
}

static bool job_has(struct world *w, const char *name, const char *condition)
{
    const struct api_job *j = job(w, name);
    for (uint32_t i = 0; j && i < j->status.n_conditions; i++)
        if (str_eqz(j->status.conditions[i].type, condition) &&
            str_is(j->status.conditions[i].status, "True"))
            return true;
    return false;
}

static bool jobs_are_over(struct world *w)
{
    return job_has(w, "good", "Complete") && job_has(w, "indexed", "Complete") &&
           job_has(w, "bad", "Failed");
}

static void make_job(struct world *w, const char *name, const char *spec, const char *how)
{
    char *json = xasprintf(
        "{'metadata':{'name':'%s','namespace':'default'},'spec':{%s,'template':{'metadata':"
        "{'annotations':{'davit.dev/hollow':'%s'}},'spec':{'restartPolicy':'Never',"
        "'containers':[{'name':'c','image':'job'}]}}}}",
        name, spec, how);
    world_apply(w, KIND_JOB, json);
    free(json);
}

static void run_jobs(struct world *w, unsigned steps)
{
    make_job(w, "good", "'completions':7,'parallelism':3", "succeed");
    make_job(w, "indexed", "'completions':5,'parallelism':2,'completionMode':'Indexed'", "succeed");
    make_job(w, "bad", "'backoffLimit':2", "fail");
    for (unsigned i = 0; i < steps; i++) {
        world_run(w, (nsec_t)world_below(w, 4000) * NSEC_PER_MSEC);
        world_crash(w);
        world_run(w, (nsec_t)world_below(w, 1000) * NSEC_PER_MSEC);
        world_boot(w);
    }
    world_until(w, jobs_are_over, 600 * S, "the jobs");
    quiet(w);
    WORLD_CHECK(w, job(w, "good")->status.succeeded == 7, "good: %d pods counted instead of 7",
                job(w, "good")->status.succeeded);
    WORLD_CHECK(w,
                job(w, "indexed")->status.succeeded == 5 &&
                    str_is(job(w, "indexed")->status.completed_indexes, "0-4"),
                "indexed: %d, \"%.*s\"", job(w, "indexed")->status.succeeded,
                STR_ARG(job(w, "indexed")->status.completed_indexes));
    WORLD_CHECK(w, job(w, "bad")->status.failed == 3, "bad: %d failures counted instead of 3",
                job(w, "bad")->status.failed);
}

/* ---- namespaces and garbage ---- */

static bool team_is_gone(struct world *w)
{
    return w->store && !world_get(w, KIND_NAMESPACE, "", "team");
}

static bool team_is_set_up(struct world *w)
{
    return world_get(w, KIND_SERVICE_ACCOUNT, "team", "default") &&
           world_get(w, KIND_CONFIG_MAP, "team", "kube-root-ca.crt") &&
           checker_pods_ready(w->checker, "team") == 3;
}

static bool only_orphans_left(struct world *w)
{
    return w->store && !web(w) && checker_pods_ready(w->checker, "web") == 3 &&
           store_count(w->store, schema_kinds[KIND_REPLICA_SET]) == 1;
}

static bool child_is_gone(struct world *w)
{
    return w->store && !world_get(w, KIND_CONFIG_MAP, "default", "child");
}

static bool nothing_runs(struct world *w)
{
    return w->store && store_count(w->store, schema_kinds[KIND_POD]) == 0;
}

static void run_garbage(struct world *w, unsigned steps)
{
    world_apply(w, KIND_NAMESPACE, "{'metadata':{'name':'team'}}");
    world_apply(w, KIND_REPLICA_SET,
                "{'metadata':{'name':'r','namespace':'team'},'spec':{'replicas':3,'selector':{'"
                "matchLabels':"
                "{'app':'team'}},'template':{'metadata':{'labels':{'app':'team'}},'spec':{'"
                "containers':[{'name':"
                "'c','image':'x'}]}}}}");
    world_until(w, team_is_set_up, 60 * S, "the namespace's own objects and pods");
    world_delete(w, KIND_NAMESPACE, "", "team", NULL);
    checker_forget(w->checker, KIND_REPLICA_SET, "team", "r");
    world_crash(w);
    world_boot(w);
    world_until(w, team_is_gone, 120 * S, "the namespace gone");
    world_apply(
        w, KIND_CONFIG_MAP,
        "{'metadata':{'name':'child','namespace':'default','ownerReferences':[{'apiVersion':'v1',"
        "'kind':'ConfigMap','name':'nobody','uid':'0-0'}]}}");
    world_until(w, child_is_gone, 30 * S, "a child of nobody gone");
    checker_forget(w->checker, KIND_CONFIG_MAP, "default", "child");
    deploy(w, 3, "");
    world_until(w, web_is_done, 60 * S, "3 replicas");
    world_delete(w, KIND_DEPLOYMENT, "default", "web", "Orphan");
    world_until(w, only_orphans_left, 60 * S, "pods that live on without their Deployment");
    world_run(w, 10 * S);
    WORLD_CHECK(w, only_orphans_left(w), "orphans do not last");
    deploy(w, 3, "");
    world_until(w, web_is_done, 60 * S, "the orphans adopted");
    world_delete(w, KIND_DEPLOYMENT, "default", "web", "Background");
    world_until(w, nothing_runs, 120 * S, "everything collected");
    quiet(w);
}

/* ---- chaos ---- */

static void heal(struct world *w)
{
    if (!w->store)
        world_boot(w);
    w->faults.loss = 0;
    *store_disk_faults(w->disk) = (struct store_disk_faults){.latency_min = 200 * NSEC_PER_USEC,
                                                             .latency_max = 3 * NSEC_PER_MSEC};
    for (unsigned i = 0; i < w->opts.nodes; i++) {
        link_set_cut(w->node_links[i], false);
        if (w->node_dead[i])
            kill_node(w, i, false);
    }
    if (store_failed(w->store)) { /* a commit of unknown outcome: only opening again tells */
        world_crash(w);
        world_boot(w);
    }
}

static void delete_some_pod(struct world *w)
{
    struct store_iter it;
    char ns[256], name[256];
    unsigned n = (unsigned)world_below(w, 8);
    if (!w->store || store_iter_init(&it, w->store, schema_kinds[KIND_POD], STR("default"), 0,
                                     STR_NONE, STR_NONE) < 0)
        return;
    struct object *o = NULL, *next;
    while ((next = store_iter_next(&it)) && n-- > 0)
        o = next;
    if (o) {
        snprintf(ns, sizeof(ns), "%.*s", STR_ARG(object_ns(o)));
        snprintf(name, sizeof(name), "%.*s", STR_ARG(object_name(o)));
    }
    store_iter_fini(&it);
    if (o)
        world_delete(w, KIND_POD, ns, name, NULL);
}

static void mishap(struct world *w)
{
    unsigned node = (unsigned)world_below(w, w->opts.nodes);
    struct store_disk_faults *disk = store_disk_faults(w->disk);
    switch (world_below(w, 11)) {
    case 0:
        world_crash(w);
        break;
    case 1:
        disk->crash_keeps = world_below(w, 2);
        world_crash(w);
        world_boot(w);
        break;
    case 2:
        link_set_cut(w->node_links[node], true);
        break;
    case 3:
        link_set_cut(w->node_links[node], false);
        break;
    case 4:
        kill_node(w, node, !w->node_dead[node]);
        break;
    case 5:
        w->faults.loss = (double)world_below(w, 20) / 100;
        break;
    case 6:
        disk->fail_nth = 1 + world_below(w, 5);
        disk->fail_unknown = false;
        break;
    case 7:
        disk->latency_max = (nsec_t)world_below(w, 200) * NSEC_PER_MSEC + disk->latency_min;
        break;
    case 8:
        set_image(w, 10 + (unsigned)world_below(w, 5));
        break;
    case 9:
        scale(w, 1 + (unsigned)world_below(w, 12));
        break;
    default:
        delete_some_pod(w);
    }
}

static void run_chaos(struct world *w, unsigned steps)
{
    deploy(w, 6, "");
    world_apply(w, KIND_SERVICE,
                "{'metadata':{'name':'web','namespace':'default'},'spec':{'selector':{'app':'web'},"
                "'ports':[{'port':80}]}}");
    for (unsigned i = 0; i < steps; i++) {
        mishap(w);
        world_run(w, (nsec_t)world_below(w, 8000) * NSEC_PER_MSEC);
        if (!w->store && world_below(w, 2))
            world_boot(w);
    }
    heal(w);
    world_until(w, endpoints_follow, 900 * S, "everything as declared, once the faults are over");
    quiet(w);
}

const struct scenario SCENARIOS[] = {
    {"basic", "a Deployment and its Service grow, shrink and go", 3, 1 * S, run_basic},
    {"rollout", "maxSurge and maxUnavailable hold at every step while the server crashes", 4, 1 * S,
     run_rollout},
    {"rollback", "a rollout that misses its deadline goes back by itself, once", 3, 1 * S,
     run_rollback},
    {"node-death", "pods of a dead node leave it; the node may come back", 4, 1 * S,
     run_node_death},
    {"balancer", "two Services want one port of the nodes; the server crashes", 3, 1 * S,
     run_balancer},
    {"jobs", "every pod is counted once", 3, 1 * S, run_jobs},
    {"garbage", "namespaces, owners, orphans", 3, 1 * S, run_garbage},
    {"drain", "budgets hold while nodes are drained and the server crashes", 4, 1 * S, run_drain},
    {"zone-outage", "the pods of a zone that is gone move, those of others stay", 9, 1 * S,
     run_zone_outage, .zones = 3},
    {"cut-off", "a server that hears of no node evicts nothing", 4, 1 * S, run_cut_off},
    {"fence", "pods that are one of a kind move from a node that is cut off", 4, 1 * S, run_fence,
     .skewed = true, .grace = 3 * S},
    {"fence-chaos", "no identity ever runs twice", 5, 200 * NSEC_PER_MSEC, run_fence_chaos,
     .skewed = true},
    {"quota", "a quota is never overshot, whatever dies", 3, 1 * S, run_quota},
    {"tokens", "no Secret holds a token of an account it does not name", 1, 1 * S, run_tokens},
    {"chaos", "everything at once", 5, 1 * S, run_chaos},
    {"cluster", "machines join, die, leave and are cut off under everything else", 0,
     200 * NSEC_PER_MSEC, run_cluster, .skewed = true, .grace = 10 * S, .joins = true},
    {0},
};
