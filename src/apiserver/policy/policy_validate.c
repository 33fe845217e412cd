/* Validating policies at work: every policy that is about the request, by every binding and
 * parameter. All are evaluated, whatever one says, since warnings and notes for the audit log are
 * wanted of all; the request is refused in the words of the first that said no.
 * Kubernetes: policy/validating/dispatcher.go, validator.go. */
#include "apiserver/policy/policy_int.h"

#include "apiserver/custom/call_view.h"

#define FAILURE_KEY "validation.policy.admission.k8s.io/validation_failure"

/* What one policy noted, over all its bindings and parameters. */
struct notes {
    struct str *values; /* of each annotation, joined; absent: none */
};

struct verdict {
    struct admit_request *r;
    struct notes notes; /* of the policy that is asked */
    struct str message; /* of the first denial; absent: none */
    enum error_reason reason;
};

/* ---- what was found ---- */

static void deny(struct verdict *v, const struct admit_policy *p, const struct policy_binding *b,
                 enum error_reason reason, struct str why)
{
    struct arena *a = &v->r->call->arena;
    if (v->message.p)
        return;
    v->reason = reason;
    v->message =
        b ? arena_printf(a,
                         "ValidatingAdmissionPolicy '%.*s' with binding '%.*s' denied request: "
                         "%.*s",
                         STR_ARG(p->name), STR_ARG(b->name), STR_ARG(why))
          : arena_printf(a, "ValidatingAdmissionPolicy '%.*s' denied request: %.*s",
                         STR_ARG(p->name), STR_ARG(why));
}

static void tell_audit(struct api_call *c, const struct admit_policy *p,
                       const struct policy_binding *b, uint32_t i, struct str why)
{
    struct arena *a = &c->arena;
    struct json *list = json_new_arr(a), *v = json_new_obj(a);
    struct buf text = {0};
    for (uint32_t k = 0; k < c->n_annotations; k++)
        if (str_is(c->annotations[k].key, FAILURE_KEY))
            return; /* the first is told, as in Kubernetes */
    if (!c->audit)
        return;
    json_set(v, STR("message"), json_new_str(a, why));
    json_set(v, STR("policy"), json_new_str(a, p->name));
    json_set(v, STR("binding"), json_new_str(a, b->name));
    json_set(v, STR("expressionIndex"), json_new_int(a, i));
    json_set(v, STR("validationActions"), json_clone(b->actions_told, a));
    json_push(list, v);
    json_print(list, &text);
    api_call_annotate(c, FAILURE_KEY, "%.*s", STR_ARG(buf_str(&text)));
    buf_fini(&text);
}

/* A validation that said no, or failed where failing counts. */
static void breach(struct verdict *v, const struct admit_policy *p, const struct policy_binding *b,
                   uint32_t i, enum error_reason reason, struct str why)
{
    struct api_call *c = v->r->call;
    if (b->actions & POLICY_DENY)
        deny(v, p, b, reason, why);
    if (b->actions & POLICY_AUDIT)
        tell_audit(c, p, b, i, why);
    if (b->actions & POLICY_WARN)
        api_call_warn(c,
                      "Validation failed for ValidatingAdmissionPolicy '%.*s' with binding "
                      "'%.*s': %.*s",
                      STR_ARG(p->name), STR_ARG(b->name), STR_ARG(why));
}

/* A policy or binding that cannot be asked at all. */
static void misfit(void *arg, const struct admit_policy *p, const struct policy_binding *b,
                   struct str why)
{
    struct verdict *v = arg;
    if (!p->ignore)
        deny(v, p, b, REASON_INVALID,
             arena_printf(&v->r->call->arena, "failed to configure %s: %.*s",
                          b ? "binding" : "policy", STR_ARG(why)));
}

/* ---- one policy, binding and parameter ---- */

static struct str words_of(struct policy_run *run, const struct policy_validation *x)
{
    struct admit_result res;
    if (x->says.text.p && policy_run(run, &x->says, &res) && !res.error.p &&
        res.value.type == CEL_STRING) {
        struct str s = str_trim(res.value.s);
        if (s.n && s.n <= CEL_MESSAGE_BYTES_MAX && str_find(s, '\n') < 0)
            return s;
    }
    if (str_trim(x->message).n)
        return str_trim(x->message);
    return arena_printf(&run->r->call->arena, "failed expression: %.*s",
                        STR_ARG(str_trim(x->test.text)));
}

static void validate(struct verdict *v, struct policy_run *run, const struct policy_binding *b)
{
    const struct admit_policy *p = run->policy;
    for (uint32_t i = 0; i < p->n_validations; i++) {
        const struct policy_validation *x = &p->validations[i];
        struct admit_result res;
        bool more = policy_run(run, &x->test, &res);
        if (res.error.p) {
            if (!p->ignore)
                breach(v, p, b, more ? i : 0, REASON_INVALID, res.error);
        } else if (!(res.value.type == CEL_BOOL && res.value.b)) {
            breach(v, p, b, i, x->reason, words_of(run, x));
        }
        if (!more)
            break;
    }
}

/* Several values of one annotation are told together, each once. */
static void note(struct notes *notes, uint32_t i, struct str value, struct arena *a)
{
    struct str *have = &notes->values[i], rest = *have, one;
    value = str_sub(value, 0, POLICY_AUDIT_VALUE_MAX);
    if (!have->p) {
        *have = arena_str(a, value);
        return;
    }
    while (rest.n) {
        ssize_t at = str_search(rest, STR(", "));
        one = at < 0 ? rest : str_sub(rest, 0, (size_t)at);
        rest = at < 0 ? STR_NONE : str_sub(rest, (size_t)at + 2, rest.n);
        if (str_eq(one, value))
            return;
    }
    *have = arena_printf(a, "%.*s, %.*s", STR_ARG(*have), STR_ARG(value));
}

static void annotate(struct verdict *v, struct policy_run *run, const struct policy_binding *b)
{
    const struct admit_policy *p = run->policy;
    struct arena *a = &run->r->call->arena;
    run->left = CEL_COST_OBJECT_MAX; /* a budget of their own */
    for (uint32_t i = 0; i < p->n_annotations; i++) {
        struct admit_result res;
        bool more = policy_run(run, &p->annotations[i].value, &res);
        if (res.error.p) {
            if (!p->ignore)
                deny(v, p, b, REASON_INVALID, res.error);
        } else if (res.value.type == CEL_STRING && str_trim(res.value.s).n) {
            note(&v->notes, i, str_trim(res.value.s), a);
        }
        if (!more)
            break;
    }
}

static void evaluate(void *arg, const struct admit_policy *p, const struct policy_binding *b,
                     const struct schema_kind *as, struct object *param)
{
    struct verdict *v = arg;
    struct policy_run run;
    struct str why = STR_NONE;
    policy_run_init(&run, v->r, as, p, param);
    const struct cel_value *params = p->has_params ? &run.vars[ADMIT_VAR_PARAMS] : NULL;
    int r = conditions_check(p->conditions, v->r, as, params, NULL, &why);
    if (r < 0 && !p->ignore)
        breach(v, p, b, 0, REASON_INVALID, why);
    if (r <= 0)
        return;
    validate(v, &run, b);
    annotate(v, &run, b);
}

/* ---- all of them ---- */

static void begin(void *arg, const struct admit_policy *p)
{
    struct verdict *v = arg;
    v->notes.values = ARENA_NEW_N(&v->r->call->arena, struct str, p->n_annotations + 1);
}

static void end(void *arg, const struct admit_policy *p)
{
    struct verdict *v = arg;
    struct api_call *c = v->r->call;
    for (uint32_t i = 0; i < p->n_annotations; i++)
        if (v->notes.values[i].p)
            api_call_annotate(c, arena_cstr(&c->arena, p->annotations[i].key), "%.*s",
                              STR_ARG(v->notes.values[i]));
}

static int refuse(struct verdict *v)
{
    struct error *err = &v->r->call->reply.err;
    struct str name = v->r->name.n ? v->r->name : STR("Unknown!");
    (void)call_forbidden(v->r->call, name, "%.*s", STR_ARG(v->message));
    struct str text = err->message;
    (void)error_cause(err, "", STR_NONE, "%.*s", STR_ARG(v->message));
    err->message = text;
    err->reason = v->reason;
    return error_reason_errno(v->reason);
}

int policies_validate(struct admit_request *r)
{
    struct verdict v = {.r = r};
    struct policy_visitor visitor = {
        .invoke = evaluate, .misfit = misfit, .begin = begin, .end = end, .arg = &v};
    policies_visit(r, false, &visitor);
    if (call_views_wanted(r->call))
        return 1;
    return v.message.p ? refuse(&v) : 0;
}

static int run(struct api_call *c, enum admit_op op, const void *msg, const struct object *old)
{
    struct admit_request r;
    if (!policies_any(c->server->policies, false))
        return 0;
    admit_request_init(&r, c, op, msg, old);
    return policies_validate(&r);
}

int admit_policies_validate(struct api_call *c, const void *msg, const struct object *old)
{
    return run(c, old ? ADMIT_UPDATE : ADMIT_CREATE, msg, old);
}

int admit_policies_remove(struct api_call *c, const struct object *old)
{
    if (str_is(c->subresource, "eviction")) /* they were asked about the Eviction */
        return 0;
    return run(c, ADMIT_DELETE, NULL, old);
}
