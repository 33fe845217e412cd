/* Mutating policies at work. Which of them are about the request is settled first, on the object as
 * it came; then each changes what the one before left. The object is told to expressions, and
 * changed, as the version the policy speaks of.
 *
 * Whoever changed the object last may have undone what an earlier policy saw to: policies that ask
 * for it (reinvocationPolicy IfNeeded) run once more in the second pass of mutating admission, when
 * something changed the object after them. Kubernetes: policy/mutating/dispatcher.go. */
#include "apiserver/policy/policy_int.h"

#include "apiserver/custom/call_view.h"

#include "apiserver/admit/admit.h"
#include "schema/custom.h"

struct invocation {
    const struct admit_policy *policy;
    const struct policy_binding *binding;
    const struct schema_kind *as;
    struct object *param;
};

/* What was invoked in the first pass; in the call's arena. */
struct policies_again {
    struct again_key {
        struct again_key *next;
        struct str key;
        bool again; /* something changed the object since */
    } * keys;
    const void *last; /* the object as policies left it; NULL: they were not asked */
};

struct mutation {
    struct admit_request *r;
    struct invocation *v;
    size_t n, cap;
    struct policies_again *again;
    struct str message; /* of the first failure; absent: none */
    enum error_reason reason;
};

/* ---- failures ---- */

static void fail(struct mutation *m, const struct admit_policy *p, const struct policy_binding *b,
                 enum error_reason reason, struct str why)
{
    struct arena *a = &m->r->call->arena;
    if (p->ignore || m->message.p)
        return;
    m->reason = reason;
    m->message =
        b ? arena_printf(a, "policy '%.*s' with binding '%.*s' denied request: %.*s",
                         STR_ARG(p->name), STR_ARG(b->name), STR_ARG(why))
          : arena_printf(a, "policy \"%.*s\" denied request: %.*s", STR_ARG(p->name), STR_ARG(why));
}

static void misfit(void *arg, const struct admit_policy *p, const struct policy_binding *b,
                   struct str why)
{
    struct mutation *m = arg;
    fail(m, p, b, REASON_FORBIDDEN,
         arena_printf(&m->r->call->arena, "failed to configure %s: %.*s", b ? "binding" : "policy",
                      STR_ARG(why)));
}

/* ---- which are to be invoked ---- */

static void add(void *arg, const struct admit_policy *p, const struct policy_binding *b,
                const struct schema_kind *as, struct object *param)
{
    struct mutation *m = arg;
    ARRAY_RESERVE(m->v, m->n, m->cap);
    m->v[m->n++] = (struct invocation){p, b, as, param};
}

static void gather(struct mutation *m)
{
    struct policy_visitor v = {.invoke = add, .misfit = misfit, .arg = m};
    policies_visit(m->r, true, &v);
}

/* ---- the second pass ---- */

static struct again_key *key_of(struct mutation *m, const struct invocation *x, bool make)
{
    struct arena *a = &m->r->call->arena;
    struct str ns = x->param ? object_ns(x->param) : STR(""),
               name = x->param ? object_name(x->param) : STR("");
    struct str key = arena_printf(a, "%.*s/%.*s/%.*s/%.*s", STR_ARG(x->policy->name),
                                  STR_ARG(x->binding->name), STR_ARG(ns), STR_ARG(name));
    struct again_key *k = m->again->keys;
    while (k && !str_eq(k->key, key))
        k = k->next;
    if (!k && make) {
        k = ARENA_NEW(a, struct again_key);
        k->key = key;
        k->next = m->again->keys;
        m->again->keys = k;
    }
    return k;
}

/* All who were invoked so far and care are to be invoked again. */
static void require_again(struct mutation *m)
{
    for (struct again_key *k = m->again->keys; k; k = k->next)
        k->again = true;
}

static bool is_second(const struct mutation *m)
{
    return m->r->call->again && m->r->call->again->second;
}

static void begin(struct mutation *m)
{
    struct admit_again *pass = m->r->call->again;
    m->again = pass ? pass->policies : NULL;
    if (!m->again)
        m->again = ARENA_NEW(&m->r->call->arena, struct policies_again);
    if (pass)
        pass->policies = m->again;
    if (is_second(m) && m->again->last && !schema_equal(m->r->desc, m->again->last, m->r->object))
        require_again(m);
}

/* ---- one invocation ---- */

/* The tree as a message of r->kind, in place of the object. */
static int take_tree(struct admit_request *r, const struct schema_kind *as, struct json *doc,
                     struct error *err)
{
    struct arena *a = &r->call->arena;
    const struct schema_desc *desc = admit_request_desc(r, as);
    struct schema_decode opts = {.unknown = SCHEMA_UNKNOWN_STRICT};
    void *msg = schema_new(desc, a);
    int rc = 0;
    if (desc == as->desc) {
        if (as->custom)
            opts.unknown = SCHEMA_UNKNOWN_IGNORE;
        rc = custom_take(as, doc, a, &opts, err);
    }
    if (rc >= 0)
        rc = schema_decode_json(desc, doc, a, &opts, msg, err);
    if (rc < 0)
        return rc;
    if (desc->flags & SCHEMA_DESC_OBJECT) { /* as they are kept, not as they are told */
        const struct api_object_meta *was = admit_request_msg(r, as, false);
        ((struct api_object_meta *)msg)->managed_fields = was->managed_fields;
        ((struct api_object_meta *)msg)->n_managed_fields = was->n_managed_fields;
    }
    const void *back;
    rc = admit_request_back(r, as, msg, &back, err);
    if (rc < 0)
        return rc;
    admit_request_changed(r, back);
    return 0;
}

static bool change(struct mutation *m, const struct invocation *x,
                   const struct policy_mutation *step)
{
    struct admit_request *r = m->r;
    struct arena *a = &r->call->arena;
    struct policy_run run;
    struct admit_result res;
    struct error err = {0};
    policy_run_init(&run, r, x->as, x->policy, x->param);
    if (!policy_run(&run, &step->change, &res) || res.error.p) {
        fail(m, x->policy, x->binding, REASON_INVALID, res.error);
        return false;
    }
    struct json *doc = json_clone(admit_request_tree(r, x->as, false), a);
    int rc = policy_patch(step, x->as, admit_request_desc(r, x->as), &doc, &res.value, a, &err);
    if (rc > 0) {
        int taken = take_tree(r, x->as, doc, &err);
        rc = taken < 0 ? taken : 1;
    }
    if (rc < 0 && !call_views_wanted(r->call))
        fail(m, x->policy, x->binding, REASON_INVALID, arena_str(a, err.message));
    error_fini(&err);
    return rc > 0;
}

/* The object as it is by now, in the version of the policy. */
static bool in_hand(struct mutation *m, const struct invocation *x)
{
    struct error err = {0};
    int rc = match_convertible(m->r, x->as, &err);
    if (rc == -EPROTO)
        fail(m, x->policy, x->binding, REASON_INVALID,
             arena_printf(&m->r->call->arena, "failed to convert object version: %.*s",
                          STR_ARG(err.message)));
    error_fini(&err);
    return rc > 0;
}

static void invoke(struct mutation *m, const struct invocation *x)
{
    struct admit_request *r = m->r;
    struct policy_run run;
    struct str why = STR_NONE;
    const void *before = r->object;
    if (!in_hand(m, x))
        return;
    policy_run_init(&run, r, x->as, x->policy, x->param);
    const struct cel_value *params = x->policy->has_params ? &run.vars[ADMIT_VAR_PARAMS] : NULL;
    int fits = conditions_check(x->policy->conditions, r, x->as, params, NULL, &why);
    if (fits < 0)
        fail(m, x->policy, x->binding, REASON_INVALID, why);
    if (fits <= 0)
        return;
    struct again_key *known = key_of(m, x, false);
    if (is_second(m) && !(known && known->again))
        return;
    for (uint32_t i = 0; i < x->policy->n_mutations && in_hand(m, x); i++)
        (void)change(m, x, &x->policy->mutations[i]);
    if (r->object != before && !schema_equal(r->desc, before, r->object)) {
        require_again(m);
        if (r->call->again)
            r->call->again->wanted = true;
    }
    if (x->policy->again)
        key_of(m, x, true)->again = false;
}

static int refuse(struct mutation *m)
{
    struct error *err = &m->r->call->reply.err;
    m->r->call->reply.details_name = m->r->name;
    (void)error_cause(err, "", STR_NONE, "%.*s", STR_ARG(m->message));
    err->reason = REASON_NONE;
    return error_set(err, m->reason, "%.*s", STR_ARG(m->message));
}

int policies_mutate(struct admit_request *r)
{
    struct mutation m = {.r = r};
    if (!r->object)
        return 0;
    gather(&m);
    if (m.n)
        begin(&m);
    for (size_t i = 0; i < m.n && !call_views_wanted(r->call); i++)
        invoke(&m, &m.v[i]);
    if (call_views_wanted(r->call)) {
        free(m.v);
        return 1;
    }
    if (m.n && r->call->again)
        m.again->last = schema_clone(r->desc, r->object, &r->call->arena);
    free(m.v);
    return m.message.p ? refuse(&m) : 0;
}

int admit_policies_mutate(struct api_call *c, void *msg, const struct object *old)
{
    struct admit_request r;
    if (!policies_any(c->server->policies, true))
        return 0;
    admit_request_init(&r, c, old ? ADMIT_UPDATE : ADMIT_CREATE, msg, old);
    int rc = policies_mutate(&r);
    if (rc || r.object == msg)
        return rc;
    void *before = arena_alloc(&c->arena, c->kind->desc->size);
    memcpy(before, msg, c->kind->desc->size);
    memcpy(msg, r.object, c->kind->desc->size);
    return strategy_mutated(c, msg, before, old);
}
