/* Certificate requests: approves those of nodes, signs what is approved for the cluster's own
 * signers, and removes old ones.
 *
 * A machine with a join token may become any node that is not there, and none that is: the token
 * lets machines in, it must not let one pose as another. Two machines that join under one name at
 * the same time are told apart by their keys. */
#include "controllers/registry.h"

#include "controllers/csr_plan.h"

#define JOIN_WINDOW_S 300 /* an approved join that made no Node yet keeps its name for so long */

struct run { /* of one request, in the run's arena */
    struct api_certificate_signing_request *c;
    const struct cert_facts *facts;
    struct csr *csr;
};

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

/* Another machine was let in under this name a moment ago, or asked before this one and is about to
 * be: permission takes a moment, and two that ask at once must not both find the name free. */
static bool name_promised(struct reconcile *rc, const struct run *run)
{
    struct client_cache_iter it;
    rev_t mine = 0, first = 0;
    client_cache_iter_init(&it, controller_cache(rc->controller, KIND_CERTIFICATE_SIGNING_REQUEST),
                           STR_NONE);
    for (struct object *o; (o = client_cache_iter_next(&it));) {
        const struct api_certificate_signing_request *c = o->msg;
        const struct api_certificate_signing_request_condition *k = csr_condition(c, "Approved");
        usec_t since = k ? k->last_update_time.usec : c->metadata.creation_timestamp.usec;
        struct csr *other;
        if (str_eq(c->metadata.uid, run->c->metadata.uid))
            mine = o->rev;
        if ((!k && has_condition(c)) || !str_is(c->spec.signer_name, CSR_SIGNER_KUBELET) ||
            rc->now - since > (usec_t)JOIN_WINDOW_S * 1000000 ||
            csr_from_pem(c->spec.request, NULL, &other) < 0)
            continue;
        const struct cert_facts *f = csr_facts(other);
        bool same = str_eq(f->cn, run->facts->cn) &&
                    memcmp(f->spki_sha256, run->facts->spki_sha256, SHA256_BYTES) != 0;
        csr_free(other);
        if (same && k)
            return true;
        if (same && (!first || o->rev < first))
            first = o->rev;
    }
    return first && first < mine;
}

static bool on_reviewed(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    struct run *run = arg;
    const struct api_subject_access_review *r = reply->r == 0 ? reply->message : NULL;
    if (reply->r < 0)
        return false;
    if (r && r->status.allowed)
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
        decide(
            rc, run, false, "NodeNameTaken",
            arena_printf(rc->arena,
                         "another machine is joining as %.*s just now; choose another --node-name",
                         STR_ARG(name))
                .p);
    } else if (what != CSR_FOR_NODE_SERVER ||
               csr_names_ok(run->c, run->facts, name, node ? OBJECT_MSG(node, api_node) : NULL,
                            of_another_node, &asker)) {
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
    bool to_sign = csr_condition(c, "Approved") && !csr_condition(c, "Failed") &&
                   !c->status.certificate.n && csr_signer_is_ours(c->spec.signer_name);
    struct csr *csr;
    if (!opts->sign || (!undecided && !to_sign) || csr_from_pem(c->spec.request, NULL, &csr) < 0)
        return;
    struct run *run = ARENA_NEW(rc->arena, struct run);
    /* facts live in csr, which lives as long as this turn; what is asked later needs none of them
     */
    *run = (struct run){.c = schema_clone(&api_certificate_signing_request_desc, c, rc->arena),
                        .facts = csr_facts(csr),
                        .csr = csr};
    if (undecided)
        approve(rc, run);
    else
        sign(rc, run);
    run->facts = NULL;
    run->csr = csr_free(csr);
}

const struct controller_row csr_row = {
    .name = "certificates",
    .watches = {{KIND_CERTIFICATE_SIGNING_REQUEST, controller_map_self}, {KIND_NODE, NULL}},
    .n_watches = 2,
    .reconcile = reconcile,
};
