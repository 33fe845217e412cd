/* Certificate requests: approves those of nodes, signs what is approved for the cluster's own
 * signers, and removes old ones.
 *
 * A machine with a join token may become any node that is not there, and none that is: the token
 * lets machines in, it must not let one pose as another. Two machines that join under one name at
 * the same time are told apart by their keys: the name is promised to the first that is approved,
 * until it has made its Node, which is noted on the request, or the request is removed. No clock
 * ends that, since the first may come late and the clock may jump. */
#include "controllers/registry.h"

#include "controllers/csr_plan.h"

#define CACHE_LAG (60 * NSEC_PER_SEC) /* after it our own approval is in the cache, or failed */

struct run { /* of one request, in the run's arena */
    struct api_certificate_signing_request *c;
    const struct cert_facts *facts;
    struct csr *csr;
    struct str cn; /* of the request, once facts are gone */
    uint8_t spki[SHA256_BYTES];
    bool joins;
};

/* The caches learn of an approval after a while, and requests are looked at side by side: what was
 * approved here is remembered until the caches must know. A name belongs to the first key. */
struct promise {
    char *cn; /* owned */
    uint8_t spki[SHA256_BYTES];
    nsec_t until;
};
struct state {
    struct map promises; /* cn -> struct promise */
};

static void promise_free(struct state *st, struct promise *p)
{
    (void)map_remove(&st->promises, str_z(p->cn));
    free(p->cn);
    free(p);
}

static void init(struct controller *c)
{
    controller_set_state(c, NEW_STATE(struct state));
}

static void fini(struct controller *c)
{
    struct state *st = controller_state(c);
    for (struct map_slot *s; (s = map_next(&st->promises, NULL));)
        promise_free(st, s->value);
    map_fini(&st->promises);
    controller_free_state(c);
}

/* The name is this key's now; false: it is another's. */
static bool promise(struct reconcile *rc, const struct run *run)
{
    struct state *st = controller_state(rc->controller);
    nsec_t now = rt_now(controller_rt(rc->controller));
    struct promise *p;
    for (struct map_slot *s = NULL; (s = map_next(&st->promises, s));) {
        p = s->value;
        if (p->until <= now) {
            promise_free(st, p);
            s = NULL;
        }
    }
    p = map_get(&st->promises, run->cn);
    if (p)
        return memcmp(p->spki, run->spki, SHA256_BYTES) == 0;
    p = NEW(struct promise);
    p->cn = str_dup(run->cn);
    memcpy(p->spki, run->spki, SHA256_BYTES);
    p->until = now + CACHE_LAG;
    (void)map_set(&st->promises, str_z(p->cn), p);
    return true;
}

static void add_condition(struct reconcile *rc, struct run *run, const char *type,
                          const char *reason, const char *message)
{
    struct api_certificate_signing_request_status *s = &run->c->status;
    struct api_certificate_signing_request_condition *v = ARENA_NEW_N(
        rc->arena, struct api_certificate_signing_request_condition, s->n_conditions + 1);
    if (s->n_conditions)
        memcpy(v, s->conditions, s->n_conditions * sizeof(*v));
    v[s->n_conditions++] = (struct api_certificate_signing_request_condition){
        .type = str_z(type),
        .status = STR("True"),
        .reason = str_z(reason),
        .message = arena_strz(rc->arena, message),
        .last_update_time = timestamp_seconds(rc->now),
        .last_transition_time = timestamp_seconds(rc->now),
    };
    s->conditions = v;
}

static void decide(struct reconcile *rc, struct run *run, bool approve, const char *reason,
                   const char *message)
{
    add_condition(rc, run, approve ? "Approved" : "Denied", reason, message);
    controller_update_sub(rc, KIND_CERTIFICATE_SIGNING_REQUEST, "approval", run->c, NULL, NULL);
}

/* ---- approval ---- */

static bool has_condition(const struct api_certificate_signing_request *c)
{
    return csr_condition(c, "Approved") || csr_condition(c, "Denied") || csr_condition(c, "Failed");
}

/* Another machine was let in under this name, and may come any moment. */
static bool name_promised(struct reconcile *rc, const struct run *run)
{
    struct client_cache_iter it;
    client_cache_iter_init(&it, controller_cache(rc->controller, KIND_CERTIFICATE_SIGNING_REQUEST),
                           STR_NONE);
    for (struct object *o; (o = client_cache_iter_next(&it));) {
        const struct api_certificate_signing_request *c = o->msg;
        struct csr *other;
        if (!csr_is_promise(c) || csr_from_pem(c->spec.request, NULL, &other) < 0)
            continue;
        const struct cert_facts *f = csr_facts(other);
        bool same = str_eq(f->cn, run->facts->cn) &&
                    memcmp(f->spki_sha256, run->facts->spki_sha256, SHA256_BYTES) != 0;
        csr_free(other);
        if (same)
            return true;
    }
    return false;
}

static void refuse_name(struct reconcile *rc, struct run *run)
{
    decide(rc, run, false, "NodeNameTaken",
           arena_printf(rc->arena,
                        "another machine was let in as %.*s and has not come yet; choose another "
                        "--node-name, or, if there is no such machine any more, delete its "
                        "certificate request (kubectl get csr)",
                        STR_ARG(str_sub(run->cn, strlen("system:node:"), run->cn.n)))
               .p);
}

static bool on_reviewed(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    struct run *run = arg;
    const struct api_subject_access_review *r = reply->r == 0 ? reply->message : NULL;
    if (reply->r < 0)
        return false;
    if (r && r->status.allowed && run->joins && !promise(rc, run))
        refuse_name(rc, run);
    else if (r && r->status.allowed)
        decide(rc, run, true, "AutoApproved",
               "a node asked for its certificate and its requester may have it");
    return true; /* not allowed: people may decide */
}

static void ask_permission(struct reconcile *rc, struct run *run, const char *subresource)
{
    struct api_subject_access_review *review =
        ARENA_NEW(rc->arena, struct api_subject_access_review);
    struct api_resource_attributes *at = ARENA_NEW(rc->arena, struct api_resource_attributes);
    *at = (struct api_resource_attributes){
        .verb = STR("create"),
        .group = STR("certificates.k8s.io"),
        .version = STR("*"),
        .resource = STR("certificatesigningrequests"),
        .subresource = str_z(subresource),
    };
    review->spec = (struct api_subject_access_review_spec){
        .user = run->c->spec.username,
        .uid = run->c->spec.uid,
        .groups = run->c->spec.groups,
        .n_groups = run->c->spec.n_groups,
        .resource_attributes = at,
    };
    const struct client_request req = {.verb = CLIENT_CREATE,
                                       .kind = schema_kinds[KIND_SUBJECT_ACCESS_REVIEW],
                                       .body = review,
                                       .reply_desc = &api_subject_access_review_desc};
    controller_call(rc, &req, on_reviewed, run);
}

struct asker {
    struct reconcile *rc;
    struct str node;
};

static bool of_another_node(void *arg, struct str ip)
{
    const struct asker *a = arg;
    struct client_cache_iter it;
    client_cache_iter_init(&it, controller_cache(a->rc->controller, KIND_NODE), STR_NONE);
    for (struct object *o; (o = client_cache_iter_next(&it));)
        if (!str_eq(object_name(o), a->node) && csr_node_has(OBJECT_MSG(o, api_node), ip))
            return true;
    return false;
}

static void approve(struct reconcile *rc, struct run *run)
{
    struct str name;
    enum csr_for what = csr_recognize(run->c, run->facts, &name);
    if (what == CSR_FOR_OTHERS)
        return;
    struct object *node = reconcile_get(rc, KIND_NODE, STR_NONE, name);
    struct asker asker = {rc, name};
    if (what == CSR_FOR_NODE && node) {
        decide(
            rc, run, false, "NodeNameTaken",
            arena_printf(rc->arena,
                         "there is a node %.*s already; join under another --node-name, or, if it "
                         "is this machine with a new data directory, remove the old node first: "
                         "davit node rm %.*s",
                         STR_ARG(name), STR_ARG(name))
                .p);
    } else if (what == CSR_FOR_NODE && name_promised(rc, run)) {
        refuse_name(rc, run);
    } else if (what != CSR_FOR_NODE_SERVER ||
               csr_names_ok(run->c, run->facts, name, node ? OBJECT_MSG(node, api_node) : NULL,
                            of_another_node, &asker)) {
        run->joins = what == CSR_FOR_NODE;
        ask_permission(rc, run, csr_permission(what));
    }
}

/* ---- signing ---- */

static void sign(struct reconcile *rc, struct run *run)
{
    const struct controllers_opts *o = controller_opts(rc->controller);
    struct cert_spec spec;
    struct error err = {0};
    char *pem = NULL;
    int r = csr_cert_spec(run->c, run->facts, rc->now / 1000000, &spec, &err);
    if (r == 0) {
        struct pkey *key = csr_public_key(run->csr);
        r = o->sign(o->sign_arg, key, &spec, &pem, &err);
        pkey_free(key);
        if (r < 0) {
            reconcile_fail(rc, "signing %.*s: %.*s", STR_ARG(rc->name), STR_ARG(err.message));
            error_fini(&err);
            return;
        }
        run->c->status.certificate = arena_strz(rc->arena, pem);
        free(pem);
    } else {
        add_condition(rc, run, "Failed", "SignerValidationFailure",
                      arena_cstr(rc->arena, err.message));
    }
    error_fini(&err);
    controller_update_sub(rc, KIND_CERTIFICATE_SIGNING_REQUEST, "status", run->c, NULL, NULL);
}

/* ---- the promise of a name ---- */

static void note_joined(struct reconcile *rc, const struct run *run)
{
    struct str name;
    if (csr_recognize(run->c, run->facts, &name) == CSR_FOR_NODE &&
        reconcile_get(rc, KIND_NODE, STR_NONE, name))
        controller_patch(
            rc, KIND_CERTIFICATE_SIGNING_REQUEST, &run->c->metadata, NULL, CLIENT_PATCH_MERGE,
            STR("{\"metadata\":{\"annotations\":{\"" CSR_JOINED_ANNOTATION "\":\"true\"}}}"), NULL,
            NULL);
}

static void map_node(struct controller *c, struct object *old, struct object *new)
{
    struct client_cache_iter it;
    if (old || !new)
        return;
    client_cache_iter_init(&it, controller_cache(c, KIND_CERTIFICATE_SIGNING_REQUEST), STR_NONE);
    for (struct object *o; (o = client_cache_iter_next(&it));)
        if (csr_is_promise(OBJECT_MSG(o, api_certificate_signing_request)))
            controller_add_object(c, o);
}

/* ---- a run ---- */

static void reconcile(struct reconcile *rc)
{
    struct object *o = reconcile_get(rc, KIND_CERTIFICATE_SIGNING_REQUEST, STR_NONE, rc->name);
    const struct controllers_opts *opts = controller_opts(rc->controller);
    if (!o || object_meta(o)->deletion_timestamp.set)
        return;
    const struct api_certificate_signing_request *c =
        OBJECT_MSG(o, api_certificate_signing_request);
    int64_t keep_s = csr_keep_s(c, rc->now / 1000000);
    if (keep_s == 0) {
        controller_delete(rc, KIND_CERTIFICATE_SIGNING_REQUEST, &c->metadata, NULL, NULL, NULL);
        return;
    }
    reconcile_again(rc, keep_s * NSEC_PER_SEC + NSEC_PER_MSEC);
    bool undecided = !has_condition(c);
    bool promised = csr_is_promise(c) && c->status.certificate.n;
    bool to_sign = csr_condition(c, "Approved") && !csr_condition(c, "Failed") &&
                   !c->status.certificate.n && csr_signer_is_ours(c->spec.signer_name);
    struct csr *csr;
    if (!opts->sign || (!undecided && !to_sign && !promised) ||
        csr_from_pem(c->spec.request, NULL, &csr) < 0)
        return;
    struct run *run = ARENA_NEW(rc->arena, struct run);
    /* facts live in csr, which lives as long as this turn; what is asked later needs none of them
     */
    *run = (struct run){.c = schema_clone(&api_certificate_signing_request_desc, c, rc->arena),
                        .facts = csr_facts(csr),
                        .csr = csr,
                        .cn = arena_str(rc->arena, csr_facts(csr)->cn)};
    memcpy(run->spki, run->facts->spki_sha256, SHA256_BYTES);
    if (undecided)
        approve(rc, run);
    else if (to_sign)
        sign(rc, run);
    else
        note_joined(rc, run);
    run->facts = NULL;
    run->csr = csr_free(csr);
}

const struct controller_row csr_row = {
    .name = "certificates",
    .watches = {{KIND_CERTIFICATE_SIGNING_REQUEST, controller_map_self}, {KIND_NODE, map_node}},
    .n_watches = 2,
    .init = init,
    .fini = fini,
    .reconcile = reconcile,
};
