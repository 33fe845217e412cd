/* Doubts about a validating policy: its expressions, compiled once more with the types of the
 * objects it speaks of, where its rules name them. Nothing follows from a doubt; it is told in the
 * policy's status, in the write that brings the expression. Kubernetes:
 * policy/validating/typechecking.go. */
#include "apiserver/policy/policy_int.h"

#include "apiserver/custom/kinds.h"
#include "schema/custom.h"

#define TYPES_MAX 10                  /* K8S */
#define TEXT_MAX  ((size_t)512 << 10) /* of all expressions by types: some tenths of a second */

typedef struct api_validating_admission_policy policy_t;

struct doubts {
    const policy_t *policy;
    struct arena *a;
    const struct schema_kind *types[TYPES_MAX];
    size_t n_types;
    const struct schema_kind *now; /* the type it is compiled with */
    struct str *tests, *says;      /* of each validation; absent: none */
};

/* ---- which types ---- */

static bool has_star(const struct str *v, uint32_t n, char also)
{
    for (uint32_t i = 0; i < n; i++)
        if (str_find(v[i], '*') >= 0 || (also && str_find(v[i], also) >= 0))
            return true;
    return false;
}

static void add_type(struct doubts *d, const struct schema_kind *k)
{
    for (size_t i = 0; i < d->n_types; i++)
        if (d->types[i] == k)
            return;
    if (k && d->n_types < TYPES_MAX)
        d->types[d->n_types++] = k;
}

static void add_rule(struct doubts *d, struct apiserver *s, const struct api_admission_rule *r)
{
    if (has_star(r->api_groups, r->n_api_groups, '\0') ||
        has_star(r->api_versions, r->n_api_versions, '\0'))
        return;
    for (uint32_t g = 0; g < r->n_api_groups; g++)
        for (uint32_t v = 0; v < r->n_api_versions; v++)
            for (uint32_t i = 0; i < r->n_resources; i++) {
                struct str name = r->resources[i];
                if (has_star(&name, 1, '/'))
                    continue;
                const struct schema_kind *k =
                    schema_kind_by_plural(r->api_groups[g], r->api_versions[v], name);
                if (!k) {
                    k = kinds_by_plural(s->kinds, r->api_groups[g], r->api_versions[v], name);
                    custom_unref(k); /* it stays for this turn */
                }
                add_type(d, k);
            }
}

static int by_kind(const void *a, const void *b)
{
    const struct schema_kind *x = *(const struct schema_kind *const *)a,
                             *y = *(const struct schema_kind *const *)b;
    int r = strcmp(x->group, y->group);
    r = r ? r : strcmp(x->version, y->version);
    return r ? r : strcmp(x->kind, y->kind);
}

static void find_types(struct doubts *d, struct apiserver *s)
{
    const struct api_match_resources *m = d->policy->spec.match_constraints;
    for (uint32_t i = 0; m && i < m->n_resource_rules; i++)
        add_rule(d, s, &m->resource_rules[i].rule_with_operations.rule);
    qsort(d->types, d->n_types, sizeof(d->types[0]), by_kind);
}

/* ---- looking ---- */

static void found(void *arg, struct str path, struct str text, struct str why)
{
    struct doubts *d = arg;
    struct str rest = path, index;
    uint64_t i;
    if (!str_starts(path, STR("spec.validations[")))
        return;
    (void)str_cut(&rest, '[', &index);
    (void)str_cut(&rest, ']', &index);
    if (str_to_u64(index, &i) < 0 || i >= d->policy->spec.n_validations)
        return;
    struct str *at = str_is(rest, ".expression") ? &d->tests[i] : &d->says[i];
    struct str prefix = STR("compilation failed: ");
    if (str_starts(why, prefix))
        why = str_sub(why, prefix.n, why.n);
    *at = arena_printf(d->a, "%.*s%s%s/%s, Kind=%s: %.*s\n", STR_ARG(*at), at->p ? "\n" : "",
                       d->now->group, d->now->version, d->now->kind, STR_ARG(why));
}

/* The schema of a version as a type: the whole object has kind and name, whatever it says. */
static const struct json *schema_of(const struct schema_kind *k, struct arena *a)
{
    if (!k || !k->custom || !k->custom->schema)
        return NULL;
    struct json *root = json_clone(k->custom->schema->tree, a);
    json_set(root, STR("x-kubernetes-embedded-resource"), json_new_bool(a, true));
    return root;
}

static const struct schema_kind *params_of(struct apiserver *s, const policy_t *p)
{
    const struct api_param_kind *k = p->spec.param_kind;
    struct str group, version;
    if (!k || !schema_split_api_version(k->api_version, &group, &version))
        return NULL;
    const struct schema_kind *x = schema_kind_find(group, version, k->kind);
    return x ? x : kinds_by_kind(s->kinds, group, version, k->kind);
}

static void look(struct doubts *d, struct apiserver *s)
{
    const struct schema_kind *params = params_of(s, d->policy);
    for (size_t i = 0; i < d->n_types; i++) {
        const struct schema_kind *k = d->now = d->types[i];
        struct policy_compile how = {.object = k->custom ? NULL : k->desc,
                                     .object_schema = schema_of(k, d->a),
                                     .params = params && !params->custom ? params->desc : NULL,
                                     .params_schema = schema_of(params, d->a),
                                     .any_result = true,
                                     .found = found,
                                     .arg = d};
        admit_policy_free(policy_compile(KIND(VALIDATING_ADMISSION_POLICY), d->policy, &how));
    }
}

static size_t text_of(const policy_t *p)
{
    size_t n = 0;
    for (uint32_t i = 0; i < p->spec.n_validations; i++)
        n += p->spec.validations[i].expression.n + p->spec.validations[i].message_expression.n;
    for (uint32_t i = 0; i < p->spec.n_variables; i++)
        n += p->spec.variables[i].expression.n;
    return n;
}

static void tell(struct doubts *d, struct api_type_checking *t)
{
    uint32_t n = d->policy->spec.n_validations;
    t->expression_warnings = ARENA_NEW_N(d->a, struct api_expression_warning, 2 * n + 1);
    for (uint32_t i = 0; i < n; i++) {
        if (d->tests[i].p)
            t->expression_warnings[t->n_expression_warnings++] = (struct api_expression_warning){
                arena_printf(d->a, "spec.validations[%u].expression", i), d->tests[i]};
        if (d->says[i].p)
            t->expression_warnings[t->n_expression_warnings++] = (struct api_expression_warning){
                arena_printf(d->a, "spec.validations[%u].messageExpression", i), d->says[i]};
    }
}

int admit_policy_status(struct api_call *c, void *msg, const struct object *old)
{
    policy_t *p = msg;
    if (c->kind != KIND(VALIDATING_ADMISSION_POLICY) || c->subresource.n ||
        p->status.observed_generation == p->metadata.generation)
        return 0;
    struct doubts d = {.policy = p, .a = &c->arena};
    d.tests = ARENA_NEW_N(&c->arena, struct str, p->spec.n_validations + 1);
    d.says = ARENA_NEW_N(&c->arena, struct str, p->spec.n_validations + 1);
    find_types(&d, c->server);
    if (text_of(p) * d.n_types <= TEXT_MAX)
        look(&d, c->server);
    p->status.type_checking = ARENA_NEW(&c->arena, struct api_type_checking);
    tell(&d, p->status.type_checking);
    p->status.observed_generation = p->metadata.generation;
    return 0;
}
