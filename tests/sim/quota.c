/* A quota under a Deployment that wants more than it allows, while pods go, commits fail and the
 * server dies: there are never more pods than the quota says, and its status says in the end how
 * many there are. */
#include "base/mem.h"
#include "codec/values.h"
#include "scenarios.h"

#define S      NSEC_PER_SEC
#define WANTED 9

static int64_t used(struct world *w)
{
    struct object *o = world_get(w, KIND_RESOURCE_QUOTA, "default", "few");
    const struct api_resource_quota *q = o ? o->msg : NULL;
    const struct quantity *u =
        q ? kv_quantity_get(q->status.used, q->status.n_used, STR("pods")) : NULL;
    return u ? quantity_value(u) : -1;
}

static bool is_full(struct world *w)
{
    return w->store && checker_pods_ready(w->checker, "web") == 4 && used(w) == 4;
}

static bool has_all(struct world *w)
{
    return w->store && checker_pods_ready(w->checker, "web") == WANTED && used(w) == WANTED;
}

static void delete_first_pod(struct world *w)
{
    struct store_iter it;
    char name[256] = "";
    if (!w->store || store_iter_init(&it, w->store, schema_kinds[KIND_POD], STR("default"), 0,
                                     STR_NONE, STR_NONE) < 0)
        return;
    struct object *o = store_iter_next(&it);
    if (o)
        snprintf(name, sizeof(name), "%.*s", STR_ARG(object_name(o)));
    store_iter_fini(&it);
    if (name[0])
        world_delete(w, KIND_POD, "default", name, NULL);
}

static void mishap(struct world *w)
{
    struct store_disk_faults *disk = store_disk_faults(w->disk);
    switch (world_below(w, 4)) {
    case 0:
        disk->crash_keeps = world_below(w, 2);
        world_crash(w);
        break;
    case 1:
        disk->fail_nth = 1 + world_below(w, 3);
        disk->fail_unknown = world_below(w, 2);
        disk->fail_kept = world_below(w, 2);
        break;
    case 2:
        disk->latency_max = disk->latency_min + (nsec_t)world_below(w, 300) * NSEC_PER_MSEC;
        break;
    default:
        delete_first_pod(w);
        break;
    }
    world_run(w, (nsec_t)world_below(w, 3000) * NSEC_PER_MSEC);
    world_reopen(w);
}

void run_quota(struct world *w, unsigned steps)
{
    world_apply(w, KIND_RESOURCE_QUOTA,
                "{'metadata':{'name':'few','namespace':'default'},'spec':{'hard':{'pods':'4'}}}");
    checker_bounds(w->checker, "web", 0, 4);
    char *json =
        xasprintf("{'metadata':{'name':'web','namespace':'default'},'spec':{'replicas':%d,"
                  "'selector':{'matchLabels':{'app':'web'}},'template':{'metadata':{'labels':{'app'"
                  ":'web'}},'spec':{'containers':[{'name':'c','image':'web:1'}]}}}}",
                  WANTED);
    world_apply(w, KIND_DEPLOYMENT, json);
    free(json);
    for (unsigned i = 0; i < steps * 3; i++)
        mishap(w);
    *store_disk_faults(w->disk) = (struct store_disk_faults){.latency_min = 200 * NSEC_PER_USEC,
                                                             .latency_max = 3 * NSEC_PER_MSEC};
    world_reopen(w);
    world_until(w, is_full, 1200 * S, "as many pods as the quota allows");
    checker_bounds(w->checker, "web", 0, WANTED);
    world_merge(w, KIND_RESOURCE_QUOTA, "default", "few", "{'spec':{'hard':{'pods':'20'}}}");
    world_until(w, has_all, 1200 * S, "all pods, when the quota allows them");
    world_run(w, 5 * S);
    checker_quiet(w->checker);
}
