/* The node proposes, because only it knows which addresses its host uses already; the server
 * refuses what another node has, and the node proposes the next. With n nodes and 16,384 ranges the
 * first proposal is nearly always good. Killed in the middle, the next start finds the claim in the
 * Node. */
#include "net/claim.h"

#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "client/client.h"
#include "net/net_internal.h"
#include "schema/schema.h"

#define RETRY_FIRST   (200 * NSEC_PER_MSEC)
#define RETRY_LAST    (5 * NSEC_PER_SEC)
#define PROPOSALS_MAX 4096 /* more refusals than this: the cluster's range is as good as full */

struct net_claim {
    struct rt *rt;
    struct client *client;
    char *data_dir, *node_name, *cluster_cidr, *wish; /* owned; wish may be NULL */
    char range[IP_PREFIX_TEXT_MAX];                   /* proposed now */
    unsigned proposals;
    nsec_t wait;
    struct rt_timer timer;
    unsigned calls;
    bool cancelled;
    net_claim_fn done;
    void *arg;
};

int net_has_range(const char *data_dir)
{
    CLEANUP(freep) char *path = xasprintf("%s/net/config", data_dir);
    if (access(path, F_OK) == 0)
        return 1;
    return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
}

static void claim_free(struct net_claim *c)
{
    rt_timer_stop(&c->timer);
    free(c->data_dir);
    free(c->node_name);
    free(c->cluster_cidr);
    free(c->wish);
    free(c);
}

static void finish(struct net_claim *c, int r, const struct error *err)
{
    c->done(c->arg, r, r == 0 ? c->range : NULL, err);
    claim_free(c);
}

static void fail(struct net_claim *c, int r, struct error *err)
{
    finish(c, r, err);
    error_fini(err);
}

static void again(struct net_claim *c, const struct error *why)
{
    if (c->wait == RETRY_FIRST)
        log_warn("claiming addresses for pods: %.*s; trying again",
                 STR_ARG(why ? why->message : STR("no answer")));
    rt_timer_start(&c->timer, rt_jitter(c->rt, c->wait, 0.2));
    c->wait = MIN(c->wait * 2, RETRY_LAST);
}

/* The answer came after nobody waits any more, or it is a failure that time may heal: true. */
static bool not_now(struct net_claim *c, const struct client_reply *reply)
{
    static const enum error_reason lasting[] = {REASON_FORBIDDEN, REASON_UNAUTHORIZED,
                                                REASON_BAD_REQUEST};
    c->calls--;
    if (c->cancelled) {
        claim_free(c);
        return true;
    }
    if (reply->r == 0 || reply->r == -ENOENT || reply->r == -EEXIST || reply->r == -EBADMSG ||
        reply->r == -ESTALE)
        return false;
    for (size_t i = 0; reply->err && i < ARRAY_LEN(lasting); i++)
        if (reply->err->reason == lasting[i]) {
            finish(c, reply->r, reply->err);
            return true;
        }
    again(c, reply->err);
    return true;
}

/* The client was freed before it answered. */
static void dropped(void *arg)
{
    struct net_claim *c = arg;
    if (--c->calls == 0 && c->cancelled)
        claim_free(c);
}

static void call(struct net_claim *c, struct client_request req, client_done_fn done)
{
    req.kind = schema_kinds[KIND_NODE];
    req.dropped = dropped;
    c->calls++;
    client_call(c->client, &req, done, c);
}

static void look(void *arg);

static bool is_taken(const struct error *err)
{
    for (const struct error_cause *x = err ? err->causes : NULL; x; x = x->next)
        if (str_is(x->field, "spec.podCIDR") && str_is(x->reason, CAUSE_DUPLICATE))
            return true;
    return false;
}

static void on_proposed(void *arg, const struct client_reply *reply)
{
    struct net_claim *c = arg;
    struct error err = {0};
    if (not_now(c, reply))
        return;
    if (reply->r == 0) {
        finish(c, 0, NULL);
    } else if (!is_taken(reply->err)) {
        if (reply->r == -EBADMSG)
            finish(c, reply->r, reply->err);
        else
            look(c); /* somebody else made or changed the Node meanwhile */
    } else if (c->wish || ++c->proposals >= PROPOSALS_MAX) {
        int r = error_set(&err, REASON_CONFLICT,
                          c->wish ? "the range %s is another node's; choose another --pod-cidr"
                                  : "other nodes have all ranges of %s; the cluster is full",
                          c->wish ? c->wish : c->cluster_cidr);
        fail(c, r, &err);
    } else {
        look(c);
    }
}

static int propose(struct net_claim *c, struct error *err)
{
    if (!c->wish)
        return net_pick_range(c->data_dir, c->cluster_cidr, c->proposals, c->range, err);
    snprintf(c->range, sizeof(c->range), "%s", c->wish);
    return 0;
}

/* The Node has a range already: ours from before, or given by an administrator. */
static void adopt(struct net_claim *c, struct str range)
{
    struct error err = {0};
    struct ip_prefix p;
    snprintf(c->range, sizeof(c->range), "%.*s", STR_ARG(range));
    if (c->wish && strcmp(c->wish, c->range) != 0) {
        int r = error_set(&err, REASON_CONFLICT,
                          "node %s has the range %s, which cannot change to --pod-cidr %s; remove "
                          "the node first",
                          c->node_name, c->range, c->wish);
        fail(c, r, &err);
    } else if (ip_prefix_parse(range, &p) == 0 && net_range_in_use(&p, "") == 1) {
        int r = error_set(&err, REASON_CONFLICT,
                          "the addresses %s of node %s overlap an address of this host", c->range,
                          c->node_name);
        fail(c, r, &err);
    } else {
        finish(c, 0, NULL);
    }
}

static void on_looked(void *arg, const struct client_reply *reply)
{
    struct net_claim *c = arg;
    struct error err = {0};
    if (not_now(c, reply))
        return;
    const struct api_node *have = reply->r == 0 ? OBJECT_MSG(reply->object, api_node) : NULL;
    if (have && have->spec.pod_cidr.n) {
        adopt(c, have->spec.pod_cidr);
        return;
    }
    int r = propose(c, &err);
    if (r < 0) {
        fail(c, r, &err);
        return;
    }
    struct str range = str_z(c->range);
    if (have) {
        char *patch =
            xasprintf("{\"metadata\":{\"uid\":\"%.*s\"},\"spec\":{\"podCIDR\":\"%s\",\"podCIDRs\":"
                      "[\"%s\"]}}",
                      STR_ARG(have->metadata.uid), c->range, c->range);
        call(c,
             (struct client_request){.verb = CLIENT_PATCH,
                                     .name = str_z(c->node_name),
                                     .patch_type = CLIENT_PATCH_MERGE,
                                     .patch = str_z(patch)},
             on_proposed);
        free(patch);
    } else {
        const struct api_node fresh = {
            .metadata = {.name = str_z(c->node_name)},
            .spec = {.pod_cidr = range, .pod_cidrs = &range, .n_pod_cidrs = 1}};
        call(c, (struct client_request){.verb = CLIENT_CREATE, .body = &fresh}, on_proposed);
    }
}

static void look(void *arg)
{
    struct net_claim *c = arg;
    call(c, (struct client_request){.verb = CLIENT_GET, .name = str_z(c->node_name)}, on_looked);
}

struct net_claim *net_claim_start(const struct net_claim_opts *o, net_claim_fn done, void *arg)
{
    struct net_claim *c = NEW(struct net_claim);
    *c = (struct net_claim){
        .rt = o->rt,
        .client = o->client,
        .data_dir = xstrdup(o->data_dir),
        .node_name = xstrdup(o->node_name),
        .cluster_cidr = xstrdup(o->cluster_cidr),
        .wish = o->pod_cidr ? xstrdup(o->pod_cidr) : NULL,
        .wait = RETRY_FIRST,
        .done = done,
        .arg = arg,
    };
    rt_timer_init(&c->timer, c->rt, look, c);
    look(c);
    return c;
}

struct net_claim *net_claim_cancel(struct net_claim *c)
{
    if (!c)
        return NULL;
    rt_timer_stop(&c->timer);
    c->cancelled = true;
    if (c->calls == 0)
        claim_free(c);
    return NULL;
}
