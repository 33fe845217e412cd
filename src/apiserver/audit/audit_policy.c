/* See audit_policy.h. The rules point into the parsed document, which is kept. */
#include "apiserver/audit/audit_policy.h"

#include "base/mem.h"
#include "codec/yaml.h"

#include <stdarg.h>
#include <stdio.h>

#define RULES_MAX 1000

static const char *const level_texts[] = {"None", "Metadata", "Request", "RequestResponse"};
static const char *const stage_texts[] = {"RequestReceived", "ResponseStarted", "ResponseComplete",
                                          "Panic"};

struct rule {
    enum audit_level level;
    struct audit_omit omit; /* the policy's, and its own */
    /* Lists; NULL or empty: whatever it is. */
    const struct json *users, *groups, *verbs, *resources, *namespaces, *paths;
};

struct audit_policy {
    struct arena arena;
    struct rule *rules;
    size_t n;
};

const char *audit_level_text(enum audit_level l)
{
    ASSERT((size_t)l < ARRAY_LEN(level_texts));
    return level_texts[l];
}

const char *audit_stage_text(enum audit_stage s)
{
    for (size_t i = 0; i < ARRAY_LEN(stage_texts); i++)
        if (s == 1u << i)
            return stage_texts[i];
    return "";
}

/* ---- reading ---- */

static int bad(struct error *err, const char *fmt, ...) PRINTF(2, 3);
static int bad(struct error *err, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return error_set(err, REASON_BAD_REQUEST, "audit policy: %s", text);
}

/* A list of strings, or nothing. */
static int strings(const struct json *v, const char *name, const struct json **ret,
                   struct error *err)
{
    const struct json *l = json_get(v, str_z(name));
    *ret = NULL;
    if (!l || l->type == JSON_NULL)
        return 0;
    if (l->type != JSON_ARR)
        return bad(err, "%s is no list", name);
    for (const struct json *e = l->first; e; e = e->next)
        if (e->type != JSON_STR)
            return bad(err, "%s holds something other than texts", name);
    *ret = l->n ? l : NULL;
    return 0;
}

static int stages(const struct json *v, unsigned *ret, struct error *err)
{
    const struct json *l;
    int r = strings(v, "omitStages", &l, err);
    for (const struct json *e = r >= 0 && l ? l->first : NULL; e; e = e->next) {
        size_t i = 0;
        while (i < ARRAY_LEN(stage_texts) && !str_eqz(e->s, stage_texts[i]))
            i++;
        if (i == ARRAY_LEN(stage_texts))
            return bad(err, "there is no stage \"%.*s\"", STR_ARG(e->s));
        *ret |= 1u << i;
    }
    return r;
}

/* A rule's word counts more than the policy's, which is in *ret. */
static int managed_fields(const struct json *v, bool *ret, struct error *err)
{
    const struct json *b = json_getz(v, "omitManagedFields");
    if (!b || b->type == JSON_NULL)
        return 0;
    if (b->type != JSON_BOOL)
        return bad(err, "omitManagedFields is neither true nor false");
    *ret = b->b;
    return 0;
}

static int check_resources(const struct json *l, struct error *err)
{
    const struct json *unused;
    if (l->type != JSON_ARR)
        return bad(err, "resources is no list");
    for (const struct json *e = l->first; e; e = e->next) {
        if (e->type != JSON_OBJ)
            return bad(err, "resources holds something other than groups");
        int r = strings(e, "resources", &unused, err);
        if (r >= 0)
            r = strings(e, "resourceNames", &unused, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_rule(const struct json *v, struct rule *ret, struct error *err)
{
    struct str level = json_get_str(v, STR("level"));
    size_t i = 0;
    if (v->type != JSON_OBJ)
        return bad(err, "a rule is no map");
    while (i < ARRAY_LEN(level_texts) && !str_eqz(level, level_texts[i]))
        i++;
    if (i == ARRAY_LEN(level_texts))
        return bad(err, "a rule has the level \"%.*s\"", STR_ARG(level));
    ret->level = (enum audit_level)i;
    const struct json *resources = json_getz(v, "resources");
    int r = stages(v, &ret->omit.stages, err);
    if (r >= 0)
        r = managed_fields(v, &ret->omit.managed_fields, err);
    if (r >= 0)
        r = strings(v, "users", &ret->users, err);
    if (r >= 0)
        r = strings(v, "userGroups", &ret->groups, err);
    if (r >= 0)
        r = strings(v, "verbs", &ret->verbs, err);
    if (r >= 0)
        r = strings(v, "namespaces", &ret->namespaces, err);
    if (r >= 0)
        r = strings(v, "nonResourceURLs", &ret->paths, err);
    if (r >= 0 && resources && resources->type != JSON_NULL) {
        r = check_resources(resources, err);
        ret->resources = resources->n ? resources : NULL;
    }
    if (r >= 0 && ret->paths && (ret->resources || ret->namespaces))
        return bad(err, "a rule speaks of resources and of other paths");
    return r;
}

int audit_policy_parse(struct str text, struct audit_policy **ret, struct error *err)
{
    struct audit_policy *p = NEW(struct audit_policy);
    struct json *doc;
    struct audit_omit omit = {0};
    int r = yaml_parse(arena_str(&p->arena, text), &p->arena, &doc, err);
    if (r < 0)
        error_prefix(err, "audit policy");
    if (r >= 0 && (doc->type != JSON_OBJ || !str_is(json_get_str(doc, STR("kind")), "Policy") ||
                   !str_is(json_get_str(doc, STR("apiVersion")), "audit.k8s.io/v1")))
        r = bad(err, "it is no Policy of audit.k8s.io/v1");
    const struct json *rules = r >= 0 ? json_getz(doc, "rules") : NULL;
    if (r >= 0 && (!rules || rules->type != JSON_ARR || !rules->n || rules->n > RULES_MAX))
        r = bad(err, "it needs rules, %d at most", RULES_MAX);
    if (r >= 0)
        r = stages(doc, &omit.stages, err);
    if (r >= 0)
        r = managed_fields(doc, &omit.managed_fields, err);
    if (r >= 0)
        p->rules = ARENA_NEW_N(&p->arena, struct rule, rules->n);
    for (const struct json *e = r >= 0 ? rules->first : NULL; e && r >= 0; e = e->next) {
        p->rules[p->n].omit = omit;
        r = read_rule(e, &p->rules[p->n++], err);
    }
    if (r < 0) {
        audit_policy_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

struct audit_policy *audit_policy_free(struct audit_policy *p)
{
    if (p)
        arena_fini(&p->arena);
    free(p);
    return NULL;
}

/* ---- asking ---- */

static bool has(const struct json *list, struct str s)
{
    for (const struct json *e = list->first; e; e = e->next)
        if (str_eq(e->s, s))
            return true;
    return false;
}

static bool has_any(const struct json *list, const struct str *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (has(list, v[i]))
            return true;
    return false;
}

/* "pods", "pods/log", "pods/ *", "* /status", "*" (without the blanks). */
static bool names_resource(struct str pattern, const struct audit_request *q)
{
    struct str sub = pattern, head;
    if (str_is(pattern, "*"))
        return true;
    if (!str_cut(&sub, '/', &head))
        return !q->subresource.n && str_eq(head, q->resource);
    return q->subresource.n && (str_is(head, "*") || str_eq(head, q->resource)) &&
           (str_is(sub, "*") || str_eq(sub, q->subresource));
}

static bool group_fits(const struct json *g, const struct audit_request *q)
{
    const struct json *resources = json_getz(g, "resources"),
                      *names = json_getz(g, "resourceNames");
    if (!str_eq(json_get_str(g, STR("group")), q->group))
        return false;
    if (!resources || !resources->n)
        return true;
    if (names && names->n && !has(names, q->name))
        return false;
    for (const struct json *e = resources->first; e; e = e->next)
        if (names_resource(e->s, q))
            return true;
    return false;
}

static bool path_fits(const struct json *paths, struct str path)
{
    for (const struct json *e = paths->first; e; e = e->next) {
        if (str_eq(e->s, path) || str_is(e->s, "*"))
            return true;
        if (str_ends(e->s, STR("*")) && str_starts(path, str_sub(e->s, 0, e->s.n - 1)))
            return true;
    }
    return false;
}

static bool fits(const struct rule *r, const struct audit_request *q)
{
    if ((r->users && !has(r->users, q->user)) ||
        (r->groups && !has_any(r->groups, q->groups, q->n_groups)) ||
        (r->verbs && !has(r->verbs, q->verb)))
        return false;
    if (!r->resources && !r->namespaces && !r->paths)
        return true;
    if (!q->is_resource)
        return r->paths && path_fits(r->paths, q->path);
    if (r->paths || (r->namespaces && !has(r->namespaces, q->ns)))
        return false;
    if (!r->resources)
        return true;
    for (const struct json *g = r->resources->first; g; g = g->next)
        if (group_fits(g, q))
            return true;
    return false;
}

enum audit_level audit_policy_match(const struct audit_policy *p, const struct audit_request *q,
                                    struct audit_omit *ret_omit)
{
    for (size_t i = 0; i < p->n; i++)
        if (fits(&p->rules[i], q)) {
            *ret_omit = p->rules[i].omit;
            return p->rules[i].level;
        }
    *ret_omit = (struct audit_omit){0};
    return AUDIT_NONE;
}
