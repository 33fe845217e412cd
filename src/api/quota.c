/* LimitRange and ResourceQuota: what their numbers may say. Kubernetes:
 * pkg/apis/core/validation (ValidateLimitRange, ValidateResourceQuota). */
#include "api/quota.h"

#include "api/check.h"
#include "base/set.h"

static bool in_list(struct str s, const char *const *list)
{
    for (; *list; list++)
        if (str_eqz(s, *list))
            return true;
    return false;
}

/* ---- LimitRange ---- */

static const char *const container_resources[] = {"cpu", "memory", "ephemeral-storage", NULL};

static void check_limit_name(struct error *err, struct str path, struct str type, struct str name)
{
    check_format(err, path, SCHEMA_FORMAT_QUALIFIED_NAME, name);
    if (str_find(name, '/') >= 0 || in_list(name, container_resources) ||
        str_starts(name, STR("hugepages-")))
        return;
    if (str_is(type, "PersistentVolumeClaim") ? !str_is(name, "storage") : true)
        check_invalid(err, path, name,
                      str_is(type, "PersistentVolumeClaim")
                          ? "must be a standard resource type or fully qualified"
                          : "must be a standard resource for containers");
}

struct limit_maps {
    const char *name;
    const struct kv_quantity *v;
    uint32_t n;
};

static const struct quantity *get(const struct limit_maps *m, struct str key)
{
    return kv_quantity_get(m->v, m->n, key);
}

/* `low` of the item is above `high`: a cause at `at` of the two, which shows its own amount. */
static void check_order(struct error *err, struct str path, struct str key,
                        const struct limit_maps *low, const char *low_word,
                        const struct limit_maps *high, const char *high_word,
                        const struct limit_maps *at)
{
    const struct quantity *a = get(low, key), *b = get(high, key);
    char ta[QUANTITY_TEXT_MAX], tb[QUANTITY_TEXT_MAX], why[2 * QUANTITY_TEXT_MAX + 96];
    if (!a || !b || quantity_cmp(a, b) <= 0)
        return;
    quantity_format(a, ta);
    quantity_format(b, tb);
    snprintf(why, sizeof(why), "%s value %s is greater than %s value %s", low_word, ta, high_word,
             tb);
    PATH(p, "%s.%s[%.*s]", path.p, at->name, STR_ARG(key));
    check_invalid(err, p, str_z(at == low ? ta : tb), why);
}

static void check_ratio(struct error *err, struct str path, const struct kv_quantity *r,
                        const struct quantity *min, const struct quantity *max)
{
    char text[QUANTITY_TEXT_MAX], why[QUANTITY_TEXT_MAX + 96];
    struct str value = {text, quantity_format(&r->value, text)};
    int64_t ratio = quantity_milli(&r->value);
    PATH(p, "%s.maxLimitRequestRatio[%.*s]", path.p, STR_ARG(r->key));
    if (ratio < 1000) {
        snprintf(why, sizeof(why), "ratio %s is less than 1", text);
        check_invalid(err, p, value, why);
    }
    if (!min || !max || quantity_milli(min) <= 0)
        return;
    double most = (double)quantity_milli(max) / (double)quantity_milli(min);
    if ((double)ratio / 1000 <= most)
        return;
    snprintf(why, sizeof(why), "ratio %s is greater than max/min = %f", text, most);
    check_invalid(err, p, value, why);
}

static void validate_limit(const struct api_limit_range_item *l, struct str path, struct error *err)
{
    const struct limit_maps min = {"min", l->min, l->n_min}, max = {"max", l->max, l->n_max},
                            def = {"default", l->default_, l->n_default_},
                            req = {"defaultRequest", l->default_request, l->n_default_request},
                            ratio = {"maxLimitRequestRatio", l->max_limit_request_ratio,
                                     l->n_max_limit_request_ratio};
    const struct limit_maps *const all[] = {&max, &min, &def, &req, &ratio};
    for (size_t m = 0; m < ARRAY_LEN(all); m++)
        for (uint32_t i = 0; i < all[m]->n; i++) {
            struct str key = all[m]->v[i].key;
            PATH(p, "%s.%s[%.*s]", path.p, all[m]->name, STR_ARG(key));
            check_limit_name(err, p, l->type, key);
            check_quantity(err, p, &all[m]->v[i].value);
            if (all[m] == &min) {
                check_order(err, path, key, &min, "min", &max, "max", &min);
                check_order(err, path, key, &min, "min", &req, "default request", &req);
                check_order(err, path, key, &min, "min", &def, "default", &def);
            } else if (all[m] == &req) {
                check_order(err, path, key, &req, "default request", &max, "max", &req);
                check_order(err, path, key, &req, "default request", &def, "default limit", &req);
            } else if (all[m] == &def) {
                check_order(err, path, key, &def, "default", &max, "max", &def);
            } else if (all[m] == &ratio) {
                check_ratio(err, path, &ratio.v[i], get(&min, key), get(&max, key));
            }
        }
}

static void limit_range_validate(const void *msg, struct error *err)
{
    const struct api_limit_range_spec *s = &((const struct api_limit_range *)msg)->spec;
    struct set types = {0};
    for (uint32_t i = 0; i < s->n_limits; i++) {
        const struct api_limit_range_item *l = &s->limits[i];
        PATH(at, "spec.limits[%u]", i);
        PATH(type, "%s.type", at.p);
        PATH(def, "%s.default", at.p);
        PATH(req, "%s.defaultRequest", at.p);
        PATH(limits, "%s.limits", at.p);
        bool pod = str_is(l->type, "Pod"), claim = str_is(l->type, "PersistentVolumeClaim");
        check_format(err, type, SCHEMA_FORMAT_QUALIFIED_NAME, l->type);
        if (!pod && !claim && !str_is(l->type, "Container") && str_find(l->type, '/') < 0)
            check_invalid(err, type, l->type, "must be a standard limit type or fully qualified");
        if (!set_add(&types, l->type))
            check_duplicate(err, type, l->type);
        if (pod && l->n_default_)
            check_forbidden(err, def, "may not be specified when `type` is 'Pod'");
        if (pod && l->n_default_request)
            check_forbidden(err, req, "may not be specified when `type` is 'Pod'");
        if (claim && !kv_quantity_get(l->min, l->n_min, STR("storage")) &&
            !kv_quantity_get(l->max, l->n_max, STR("storage")))
            check_required(err, limits,
                           "either minimum or maximum storage value is required, but neither was "
                           "provided");
        validate_limit(l, at, err);
    }
    set_fini(&types);
}

/* A limit of containers is also their default, and their default request; the least is the request
 * where nothing else is said. */
static void default_from(struct arena *a, struct kv_quantity **v, uint32_t *n,
                         const struct kv_quantity *from, uint32_t n_from)
{
    struct kv_quantity *w = ARENA_NEW_N(a, struct kv_quantity, (size_t)*n + n_from);
    uint32_t i = 0, k = 0, out = 0;
    while (i < *n || k < n_from) {
        int c = i == *n ? 1 : k == n_from ? -1 : str_cmp((*v)[i].key, from[k].key);
        w[out++] = c <= 0 ? (*v)[i] : from[k];
        i += c <= 0;
        k += c >= 0;
    }
    *v = w;
    *n = out;
}

static void limit_range_fill(void *msg, struct arena *a)
{
    struct api_limit_range_spec *s = &((struct api_limit_range *)msg)->spec;
    for (uint32_t i = 0; i < s->n_limits; i++) {
        struct api_limit_range_item *l = &s->limits[i];
        if (!str_is(l->type, "Container"))
            continue;
        default_from(a, &l->default_, &l->n_default_, l->max, l->n_max);
        default_from(a, &l->default_request, &l->n_default_request, l->default_, l->n_default_);
        default_from(a, &l->default_request, &l->n_default_request, l->min, l->n_min);
    }
}

const struct api_hooks limit_range_hooks = {
    .kind = KIND_LIMIT_RANGE, .fill = limit_range_fill, .validate = limit_range_validate};

/* ---- ResourceQuota ---- */

/* Of these there is a whole number. */
#define COUNTED                                                                                    \
    "pods", "resourcequotas", "services", "replicationcontrollers", "secrets",                     \
        "persistentvolumeclaims", "configmaps", "services.nodeports", "services.loadbalancers"
static const char *const quota_resources[] = {"cpu",
                                              "memory",
                                              "ephemeral-storage",
                                              "requests.cpu",
                                              "requests.memory",
                                              "requests.storage",
                                              "requests.ephemeral-storage",
                                              "limits.cpu",
                                              "limits.memory",
                                              "limits.ephemeral-storage",
                                              COUNTED,
                                              NULL};
static const char *const counted[] = {COUNTED, NULL};

static void validate_amounts(const struct kv_quantity *v, uint32_t n, const char *name,
                             struct error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        PATH(p, "%s[%.*s]", name, STR_ARG(v[i].key));
        char text[QUANTITY_TEXT_MAX];
        bool prefixed = str_starts(v[i].key, STR("hugepages-")) ||
                        str_starts(v[i].key, STR("requests.hugepages-"));
        check_format(err, p, SCHEMA_FORMAT_QUALIFIED_NAME, v[i].key);
        if (str_find(v[i].key, '/') < 0 && !prefixed && !in_list(v[i].key, quota_resources))
            check_invalid(err, p, v[i].key, "must be a standard resource for quota");
        check_quantity(err, p, &v[i].value);
        bool whole = in_list(v[i].key, counted) || str_starts(v[i].key, STR("count/"));
        if (whole && quantity_milli(&v[i].value) % 1000 != 0)
            check_invalid(err, p, (struct str){text, quantity_format(&v[i].value, text)},
                          "must be an integer");
    }
}

/* Scopes of pods count what pods use; the other ones what claims use. */
static bool scope_counts(struct str scope, struct str resource)
{
    static const char *const of_pods[] = {"pods",
                                          "cpu",
                                          "memory",
                                          "ephemeral-storage",
                                          "requests.cpu",
                                          "requests.memory",
                                          "requests.ephemeral-storage",
                                          "limits.cpu",
                                          "limits.memory",
                                          "limits.ephemeral-storage",
                                          NULL};
    if (str_is(scope, "BestEffort"))
        return str_is(resource, "pods");
    if (str_is(scope, "VolumeAttributesClass"))
        return str_is(resource, "persistentvolumeclaims") || str_is(resource, "requests.storage");
    if (str_is(scope, "Terminating") || str_is(scope, "NotTerminating") ||
        str_is(scope, "NotBestEffort") || str_is(scope, "PriorityClass") ||
        str_is(scope, "CrossNamespacePodAffinity"))
        return in_list(resource, of_pods) || str_find(resource, '/') >= 0 ||
               str_starts(resource, STR("requests.hugepages-")) ||
               str_starts(resource, STR("hugepages-"));
    return true;
}

/* Rules of the scopes gathered from either field, whose path is `at`. */
static void validate_scopes(const struct api_resource_quota_spec *s, const struct str *scopes,
                            uint32_t n, struct str at, struct error *err)
{
    bool best = false, not_best = false, ends = false, not_ends = false;
    for (uint32_t i = 0; i < n; i++) {
        best |= str_is(scopes[i], "BestEffort");
        not_best |= str_is(scopes[i], "NotBestEffort");
        ends |= str_is(scopes[i], "Terminating");
        not_ends |= str_is(scopes[i], "NotTerminating");
        for (uint32_t k = 0; k < s->n_hard; k++)
            if (!scope_counts(scopes[i], s->hard[k].key)) {
                check_invalid(err, at, scopes[i], "unsupported scope applied to resource");
                break;
            }
    }
    if ((best && not_best) || (ends && not_ends))
        check_invalid(err, at, best && not_best ? STR("BestEffort") : STR("Terminating"),
                      "conflicting scopes");
}

static void validate_scope_selector(const struct api_resource_quota_spec *s, struct error *err)
{
    struct arena a = {0};
    uint32_t n = s->scope_selector ? s->scope_selector->n_match_expressions : 0;
    struct str *scopes = ARENA_NEW_N(&a, struct str, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        const struct api_scoped_resource_selector_requirement *r =
            &s->scope_selector->match_expressions[i];
        PATH(op, "spec.scopeSelector.matchExpressions[%u].operator", i);
        PATH(values, "spec.scopeSelector.matchExpressions[%u].values", i);
        bool list = str_is(r->operator, "In") || str_is(r->operator, "NotIn");
        scopes[i] = r->scope_name;
        if (list && !r->n_values)
            check_required(
                err, values,
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
        else if (!list && r->n_values)
            check_invalid(err, values, r->values[0],
                          "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope "
                          "selector");
        if (!str_is(r->operator, "Exists") && !str_is(r->scope_name, "PriorityClass") &&
            !str_is(r->scope_name, "VolumeAttributesClass"))
            check_invalid(err, op, r->operator,
                          "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, "
                          "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
                          "ResourceQuotaScopeNotBestEffort or "
                          "ResourceQuotaScopeCrossNamespacePodAffinity");
    }
    validate_scopes(s, scopes, n, STR("spec.scopeSelector.matchExpressions"), err);
    arena_fini(&a);
}

static void resource_quota_validate(const void *msg, struct error *err)
{
    const struct api_resource_quota *q = msg;
    validate_amounts(q->spec.hard, q->spec.n_hard, "spec.hard", err);
    validate_scopes(&q->spec, q->spec.scopes, q->spec.n_scopes, STR("spec.scopes"), err);
    validate_scope_selector(&q->spec, err);
}

static void resource_quota_validate_status(const void *msg, const void *old, struct error *err)
{
    const struct api_resource_quota_status *s = &((const struct api_resource_quota *)msg)->status;
    (void)old;
    validate_amounts(s->hard, s->n_hard, "status.hard", err);
    validate_amounts(s->used, s->n_used, "status.used", err);
}

const struct api_hooks resource_quota_hooks = {.kind = KIND_RESOURCE_QUOTA,
                                               .validate = resource_quota_validate,
                                               .validate_status = resource_quota_validate_status};
