/* `davit node ls|cordon|uncordon|drain|rm`: the few things an operator does to nodes, through the
 * API with the data directory's own kubeconfig. */
#include "cli/api.h"
#include "cli/cli.h"
#include "cli/opts.h"

#include "base/map.h"
#include "base/mem.h"
#include "codec/values.h"

#include <stdio.h>

#define RETRY    NSEC_PER_SEC
#define FOR_EVER (INT64_MAX / 2)

struct node_cmd {
    const char *data_dir, *kubeconfig;
    bool force, delete_emptydir;
    nsec_t timeout;
    int64_t grace_s; /* -1: the pod's own */
    struct cli_api api;
};

static bool never(void *arg)
{
    return false;
}

static void pause_for(struct node_cmd *c, nsec_t span)
{
    (void)rt_run_until(c->api.rt, never, NULL, span);
}

/* ---- ls ---- */

static const char *ready_of(const struct api_node *n)
{
    for (uint32_t i = 0; i < n->status.n_conditions; i++)
        if (str_is(n->status.conditions[i].type, "Ready"))
            return str_is(n->status.conditions[i].status, "True")    ? "Ready"
                   : str_is(n->status.conditions[i].status, "False") ? "NotReady"
                                                                     : "Lost";
    return "Joining";
}

static size_t pods_on(const struct cli_answer *pods, struct str node)
{
    size_t n = 0;

    for (size_t i = 0; i < pods->n_items; i++) {
        const struct api_pod *p = OBJECT_MSG(pods->items[i], api_pod);
        n += str_eq(p->spec.node_name, node) && !str_is(p->status.phase, "Succeeded") &&
             !str_is(p->status.phase, "Failed");
    }
    return n;
}

static void print_node(struct node_cmd *c, const struct api_node *n, size_t pods)
{
    char age[DURATION_TEXT_MAX], status[64];
    struct str ip = STR("-");

    for (uint32_t i = 0; i < n->status.n_addresses; i++)
        if (str_is(n->status.addresses[i].type, "InternalIP"))
            ip = n->status.addresses[i].address;
    duration_human((rt_wall(c->api.rt) - n->metadata.creation_timestamp.usec) * NSEC_PER_USEC, age);
    snprintf(status, sizeof(status), "%s%s", ready_of(n), n->spec.unschedulable ? ",Cordoned" : "");
    printf("%-24.*s %-18s %-16.*s %5zu  %s\n", STR_ARG(n->metadata.name), status, STR_ARG(ip), pods,
           age);
}

static int node_ls(struct node_cmd *c, const char *name, struct error *err)
{
    const struct client_request nodes = {.verb = CLIENT_LIST, .kind = schema_kinds[KIND_NODE]},
                                pods = {.verb = CLIENT_LIST, .kind = schema_kinds[KIND_POD]};
    struct cli_answer n = {0}, p = {0};
    int r = cli_api_call(&c->api, &nodes, &n, err);

    if (r == 0)
        r = cli_api_call(&c->api, &pods, &p, err);
    if (r == 0)
        printf("%-24s %-18s %-16s %5s  %s\n", "NAME", "STATUS", "ADDRESS", "PODS", "AGE");
    for (size_t i = 0; r == 0 && i < n.n_items; i++)
        print_node(c, OBJECT_MSG(n.items[i], api_node), pods_on(&p, object_name(n.items[i])));
    cli_answer_fini(&n);
    cli_answer_fini(&p);
    return r;
}

/* ---- cordon ---- */

static int set_cordon(struct node_cmd *c, const char *name, bool on, struct error *err)
{
    const struct client_request q = {.verb = CLIENT_PATCH,
                                     .kind = schema_kinds[KIND_NODE],
                                     .name = str_z(name),
                                     .patch_type = CLIENT_PATCH_MERGE,
                                     .patch = on ? STR("{\"spec\":{\"unschedulable\":true}}")
                                                 : STR("{\"spec\":{\"unschedulable\":null}}")};
    struct cli_answer a = {0};
    int r = cli_api_call(&c->api, &q, &a, err);

    cli_answer_fini(&a);
    if (r == 0)
        printf("%s %s\n", name, on ? "cordoned" : "uncordoned");
    return r;
}

static int node_cordon(struct node_cmd *c, const char *name, struct error *err)
{
    return set_cordon(c, name, true, err);
}

static int node_uncordon(struct node_cmd *c, const char *name, struct error *err)
{
    return set_cordon(c, name, false, err);
}

/* ---- drain ---- */

static const struct api_owner_reference *controller_of(const struct api_pod *p)
{
    for (uint32_t i = 0; i < p->metadata.n_owner_references; i++)
        if (p->metadata.owner_references[i].has_controller &&
            p->metadata.owner_references[i].controller)
            return &p->metadata.owner_references[i];
    return NULL;
}

static bool is_over(const struct api_pod *p)
{
    return str_is(p->status.phase, "Succeeded") || str_is(p->status.phase, "Failed");
}

/* A DaemonSet would only make it anew. */
static bool stays(const struct api_pod *p)
{
    const struct api_owner_reference *o = controller_of(p);

    return o && str_is(o->kind, "DaemonSet");
}

/* What would be lost that nobody has agreed to lose. */
static int check_losses(const struct node_cmd *c, const struct cli_answer *pods, struct error *err)
{
    for (size_t i = 0; i < pods->n_items; i++) {
        const struct api_pod *p = OBJECT_MSG(pods->items[i], api_pod);
        bool empty_dir = false;
        if (stays(p) || is_over(p) || p->metadata.deletion_timestamp.set)
            continue;
        for (uint32_t k = 0; k < p->spec.n_volumes; k++)
            empty_dir |= p->spec.volumes[k].volume_source.empty_dir != NULL;
        if (!controller_of(p) && !c->force)
            return error_set(err, REASON_CONFLICT,
                             "pod %.*s/%.*s has no controller that would make it anew; drain with "
                             "--force to lose it",
                             STR_ARG(p->metadata.namespace), STR_ARG(p->metadata.name));
        if (empty_dir && !c->delete_emptydir)
            return error_set(err, REASON_CONFLICT,
                             "pod %.*s/%.*s has data in an emptyDir; drain with "
                             "--delete-emptydir-data to lose it",
                             STR_ARG(p->metadata.namespace), STR_ARG(p->metadata.name));
    }
    return 0;
}

static int list_pods(struct node_cmd *c, const char *node, struct cli_answer *ret,
                     struct error *err)
{
    char selector[300];

    snprintf(selector, sizeof(selector), "spec.nodeName=%s", node);
    const struct client_request q = {
        .verb = CLIENT_LIST, .kind = schema_kinds[KIND_POD], .field_selector = str_z(selector)};
    return cli_api_call(&c->api, &q, ret, err);
}

/* 1: it is on its way; 0: not yet, for the reason in *err. */
static int evict(struct node_cmd *c, const struct api_pod *p, struct error *err)
{
    struct api_preconditions same = {.uid = p->metadata.uid};
    struct api_delete_options how = {.preconditions = &same,
                                     .has_grace_period_seconds = c->grace_s >= 0,
                                     .grace_period_seconds = MAX(c->grace_s, (int64_t)0)};
    const struct api_eviction e = {
        .metadata = {.name = p->metadata.name, .namespace = p->metadata.namespace},
        .delete_options = &how};
    const struct client_request q = {.verb = CLIENT_CREATE,
                                     .kind = schema_kinds[KIND_POD],
                                     .ns = p->metadata.namespace,
                                     .name = p->metadata.name,
                                     .subresource = STR("eviction"),
                                     .body_desc = &api_eviction_desc,
                                     .body = &e,
                                     .reply_desc = &api_status_desc};
    struct cli_answer a = {0};
    int r = cli_api_call(&c->api, &q, &a, err);

    cli_answer_fini(&a);
    if (r == 0 || r == -ENOENT || r == -ESTALE)
        return 1; /* gone, or another one by now: the next list tells */
    return err->reason == REASON_TOO_MANY_REQUESTS ? 0 : r;
}

/* One round over the pods that are left. Number of pods to wait for. */
static int drain_round(struct node_cmd *c, const struct cli_answer *pods, struct map *told,
                       struct error *err)
{
    int left = 0;

    for (size_t i = 0; i < pods->n_items; i++) {
        const struct api_pod *p = OBJECT_MSG(pods->items[i], api_pod);
        struct error why = {0};
        if (stays(p))
            continue;
        left++;
        if (p->metadata.deletion_timestamp.set)
            continue;
        int r = evict(c, p, &why);
        if (r > 0)
            printf("evicted %.*s/%.*s\n", STR_ARG(p->metadata.namespace),
                   STR_ARG(p->metadata.name));
        else if (r == 0 && !map_get(told, p->metadata.uid)) {
            printf("waiting for %.*s/%.*s: %.*s\n", STR_ARG(p->metadata.namespace),
                   STR_ARG(p->metadata.name),
                   STR_ARG(why.causes ? why.causes->message : why.message));
            (void)map_set(told, arena_str(&c->api.arena, p->metadata.uid), c);
        }
        fflush(stdout);
        if (r < 0) {
            error_copy(err, &why);
            error_fini(&why);
            return r;
        }
        error_fini(&why);
    }
    return left;
}

static int node_drain(struct node_cmd *c, const char *name, struct error *err)
{
    nsec_t end = c->timeout ? rt_now(c->api.rt) + c->timeout : FOR_EVER;
    struct map told = {0};
    bool first = true;
    int r = set_cordon(c, name, true, err);

    while (r == 0) {
        struct cli_answer pods = {0};
        r = list_pods(c, name, &pods, err);
        if (r == 0 && first)
            r = check_losses(c, &pods, err);
        if (r == 0)
            r = drain_round(c, &pods, &told, err);
        cli_answer_fini(&pods);
        first = false;
        if (r <= 0)
            break;
        if (rt_now(c->api.rt) >= end) {
            r = error_set(err, REASON_TIMEOUT, "%d pods are still there; the node stays cordoned",
                          r);
            break;
        }
        pause_for(c, RETRY);
        r = 0;
    }
    map_fini(&told);
    if (r == 0)
        printf("%s drained\n", name);
    return r;
}

/* ---- rm ---- */

static int node_rm(struct node_cmd *c, const char *name, struct error *err)
{
    struct client_request q = {
        .verb = CLIENT_GET, .kind = schema_kinds[KIND_NODE], .name = str_z(name)};
    struct cli_answer a = {0};
    int r = cli_api_call(&c->api, &q, &a, err);

    if (r == 0 && !c->force && strcmp(ready_of(OBJECT_MSG(a.object, api_node)), "Ready") == 0)
        r = error_set(err, REASON_CONFLICT,
                      "%s is Ready and would come back: drain it and stop its agent first, or use "
                      "--force",
                      name);
    cli_answer_fini(&a);
    if (r < 0)
        return r;
    q.verb = CLIENT_DELETE;
    r = cli_api_call(&c->api, &q, &a, err);
    cli_answer_fini(&a);
    if (r == 0)
        printf("%s removed\n", name);
    return r;
}

/* ---- the verb ---- */

static const struct {
    const char *name;
    bool takes_names;
    int (*run)(struct node_cmd *c, const char *name, struct error *err);
} node_verbs[] = {
    {"ls", false, node_ls},      {"cordon", true, node_cordon}, {"uncordon", true, node_uncordon},
    {"drain", true, node_drain}, {"rm", true, node_rm},
};

static int node_run(struct node_cmd *c, int n, char **operands, struct error *err)
{
    size_t v;
    int r;

    for (v = 0; v < ARRAY_LEN(node_verbs); v++)
        if (n > 0 && strcmp(operands[0], node_verbs[v].name) == 0)
            break;
    if (v == ARRAY_LEN(node_verbs))
        return error_set(err, REASON_BAD_REQUEST,
                         "say what to do: ls, or cordon, uncordon, drain or rm NODE...");
    if (node_verbs[v].takes_names ? n < 2 : n > 1)
        return error_set(err, REASON_BAD_REQUEST, "%s takes %s", operands[0],
                         node_verbs[v].takes_names ? "names of nodes" : "no operand");
    r = cli_api_open(&c->api, c->data_dir, c->kubeconfig, err);
    for (int i = 1; r == 0 && i < MAX(n, 2); i++)
        r = node_verbs[v].run(c, operands[i], err);
    cli_api_close(&c->api);
    return r;
}

int cli_node(int argc, char **argv)
{
    struct node_cmd c = {.data_dir = DATA_DIR_DEFAULT, .grace_s = -1};
    const struct cli_opt opts[] = {
        {"data-dir", "DIR", "of the server (" DATA_DIR_DEFAULT ")", CLI_STRING, &c.data_dir},
        {"kubeconfig", "FILE", "instead of DIR/admin.kubeconfig", CLI_STRING, &c.kubeconfig},
        {"force", NULL, "drain: also pods nobody makes anew; rm: also a Ready node", CLI_FLAG,
         &c.force},
        {"delete-emptydir-data", NULL, "drain: also pods with data in an emptyDir", CLI_FLAG,
         &c.delete_emptydir},
        {"timeout", "TIME", "drain: give up after so long (0s: never)", CLI_DURATION, &c.timeout},
        {"grace-period", "SECONDS", "drain: instead of the pods' own", CLI_INT, &c.grace_s, -1,
         1 << 30},
    };
    struct error err = {0};
    int operands, r;

    r = cli_opts_parse("node ls | cordon NODE... | uncordon NODE... | drain NODE... | rm NODE...",
                       "The machines of the cluster. drain evicts what runs there, as disruption "
                       "budgets allow; rm forgets a machine that is gone.",
                       opts, ARRAY_LEN(opts), argc, argv, &operands, &err);
    if (r != 0)
        return r > 0 ? EXIT_OK : cli_fail("node", &err, EXIT_USAGE);
    r = node_run(&c, operands, argv + 1, &err);
    if (r >= 0) {
        error_fini(&err);
        return EXIT_OK;
    }
    return cli_fail("node", &err, err.reason == REASON_BAD_REQUEST ? EXIT_USAGE : EXIT_FAILED);
}
