/* RBAC: who may do what, by Roles, ClusterRoles and their bindings.
 *
 * The bindings are kept as an index from subject to what it is bound to, changed by the store's
 * watch; a decision looks up the user and its groups and walks the rules of the roles found, which
 * are read from the store. So a decision costs what the subject's own rules cost, however many
 * bindings there are. Aggregated ClusterRoles (admin, edit, view) are written anew when a role they
 * gather changes. */
#include "apiserver/internal.h"
#include "apiserver/auth/rbac_missing.h"
#include "base/set.h"
#include "schema/select.h"

#define COVER_STEPS_MAX 5000000 /* names compared to see whether a user may grant a role */

struct rbac {
    struct apiserver *server;
    struct map subjects; /* "U:name", "G:name" -> struct subject */
    struct map bindings; /* "ns/name" ("/name" of the cluster) -> struct binding */
    struct store_watch watches[3];
    struct rt_task aggregate_task;
};

struct subject {
    char *key;
    struct list entries;
};
struct binding {
    char *key;
    struct list entries;
};
struct entry {
    struct list in_subject, in_binding;
    struct subject *subject;
    const struct binding *binding;
    struct str ns, role_kind, role_name, binding_name, text; /* one block behind the entry */
};

static struct entry *entry_new(struct str ns, const struct api_role_ref *ref, struct str binding)
{
    size_t n = ns.n + ref->kind.n + ref->name.n + binding.n;
    struct entry *e = xcalloc(1, sizeof(*e) + n + 1);
    char *p = (char *)(e + 1);
    struct str *out[] = {&e->ns, &e->role_kind, &e->role_name, &e->binding_name};
    struct str in[] = {ns, ref->kind, ref->name, binding};
    for (size_t i = 0; i < ARRAY_LEN(in); i++) {
        if (in[i].n)
            memcpy(p, in[i].p, in[i].n);
        *out[i] = (struct str){p, in[i].n};
        p += in[i].n;
    }
    return e;
}

static struct subject *subject_get(struct rbac *r, const char *key)
{
    struct subject *s = map_get(&r->subjects, str_z(key));
    if (!s) {
        s = NEW(struct subject);
        s->key = xstrdup(key);
        list_init(&s->entries);
        map_set(&r->subjects, str_z(s->key), s);
    }
    return s;
}

static void binding_drop(struct rbac *r, struct str key)
{
    struct binding *b = map_remove(&r->bindings, key);
    if (!b)
        return;
    while (!list_empty(&b->entries)) {
        struct entry *e = LIST_FIRST(&b->entries, struct entry, in_binding);
        struct subject *s = e->subject;
        list_remove(&e->in_binding);
        list_remove(&e->in_subject);
        if (list_empty(&s->entries)) {
            map_remove(&r->subjects, str_z(s->key));
            free(s->key);
            free(s);
        }
        free(e);
    }
    free(b->key);
    free(b);
}

static void binding_add(struct rbac *r, const struct api_object_meta *m,
                        const struct api_subject *subjects, uint32_t n,
                        const struct api_role_ref *ref)
{
    struct binding *b = NEW(struct binding);
    b->key = xasprintf("%.*s/%.*s", STR_ARG(m->namespace), STR_ARG(m->name));
    list_init(&b->entries);
    binding_drop(r, str_z(b->key));
    map_set(&r->bindings, str_z(b->key), b);
    for (uint32_t i = 0; i < n; i++) {
        CLEANUP(freep) char *key = NULL;
        if (str_is(subjects[i].kind, "User"))
            key = xasprintf("U:%.*s", STR_ARG(subjects[i].name));
        else if (str_is(subjects[i].kind, "Group"))
            key = xasprintf("G:%.*s", STR_ARG(subjects[i].name));
        else if (str_is(subjects[i].kind, "ServiceAccount"))
            key = xasprintf("U:system:serviceaccount:%.*s:%.*s",
                            STR_ARG(subjects[i].namespace.n ? subjects[i].namespace : m->namespace),
                            STR_ARG(subjects[i].name));
        else
            continue;
        struct subject *s = subject_get(r, key);
        if (!list_empty(&s->entries) &&
            CONTAINER_OF(s->entries.prev, struct entry, in_subject)->binding == b)
            continue; /* named twice: it counts once */
        struct entry *e = entry_new(m->namespace, ref, m->name);
        e->subject = s;
        e->binding = b;
        list_push_back(&e->subject->entries, &e->in_subject);
        list_push_back(&b->entries, &e->in_binding);
    }
}

static void binding_object(struct rbac *r, struct object *o)
{
    if (o->kind == KIND(ROLE_BINDING)) {
        const struct api_role_binding *b = o->msg;
        binding_add(r, &b->metadata, b->subjects, b->n_subjects, &b->role_ref);
    } else {
        const struct api_cluster_role_binding *b = o->msg;
        binding_add(r, &b->metadata, b->subjects, b->n_subjects, &b->role_ref);
    }
}

static void on_bindings(void *arg, const struct store_event *events, size_t n)
{
    struct rbac *r = arg;
    for (size_t i = 0; i < n; i++) {
        struct object *o = events[i].object;
        if (events[i].type == STORE_EVENT_DELETED) {
            CLEANUP(freep)
            char *key = xasprintf("%.*s/%.*s", STR_ARG(object_ns(o)), STR_ARG(object_name(o)));
            binding_drop(r, str_z(key));
        } else {
            binding_object(r, o);
        }
    }
}

/* ---- aggregation ---- */

static bool role_selected(struct arena *a, const struct api_cluster_role *into,
                          const struct api_cluster_role *from)
{
    const struct api_aggregation_rule *g = into->aggregation_rule;
    for (uint32_t i = 0; i < g->n_cluster_role_selectors; i++) {
        struct label_selector sel;
        if (label_selector_compile(a, &g->cluster_role_selectors[i], &sel, NULL) >= 0 &&
            label_selector_match(&sel, from->metadata.labels, from->metadata.n_labels))
            return true;
    }
    return false;
}

/* True when the role's rules are not what it gathers; then *ret holds a changed copy. */
static bool gather(struct rbac *r, const struct api_cluster_role *into, struct arena *a,
                   struct api_cluster_role **ret)
{
    struct store_iter it;
    struct api_policy_rule *rules = NULL;
    size_t n = 0, cap = 0;
    struct set seen = {0};
    struct buf text = {0};
    if (store_iter_init(&it, r->server->store, KIND(CLUSTER_ROLE), STR_NONE, 0, STR_NONE,
                        STR_NONE) < 0)
        return false;
    for (struct object *o; (o = store_iter_next(&it));) {
        const struct api_cluster_role *from = o->msg;
        if (str_eq(from->metadata.name, into->metadata.name) || !role_selected(a, into, from))
            continue;
        for (uint32_t i = 0; i < from->n_rules; i++) {
            buf_clear(&text);
            schema_encode_json(&api_policy_rule_desc, &from->rules[i], 0, &text);
            if (!set_add_copy(&seen, buf_str(&text)))
                continue;
            ARRAY_RESERVE(rules, n, cap);
            rules[n++] = from->rules[i];
        }
    }
    store_iter_fini(&it);
    set_fini(&seen);
    buf_fini(&text);
    bool same = n == into->n_rules;
    for (size_t k = 0; k < n && same; k++)
        same = schema_equal(&api_policy_rule_desc, &rules[k], &into->rules[k]);
    if (!same) {
        struct api_cluster_role copy = *into;
        copy.rules = rules;
        copy.n_rules = (uint32_t)n;
        *ret = schema_clone(&api_cluster_role_desc, &copy, a);
    }
    free(rules);
    return !same;
}

static void on_aggregate(void *arg)
{
    struct rbac *r = arg;
    struct arena a = {0};
    struct store_iter it;
    struct api_cluster_role
        *writes[64]; /* more aggregated roles than that wait for the next change */
    size_t n = 0;
    if (store_iter_init(&it, r->server->store, KIND(CLUSTER_ROLE), STR_NONE, 0, STR_NONE,
                        STR_NONE) < 0)
        return;
    for (struct object *o; (o = store_iter_next(&it)) && n < ARRAY_LEN(writes);) {
        const struct api_cluster_role *role = o->msg;
        if (role->aggregation_rule && !role->metadata.deletion_timestamp.set &&
            gather(r, role, &a, &writes[n]))
            n++;
    }
    store_iter_fini(&it);
    for (size_t i = 0; i < n; i++) {
        rev_t rev = 0;
        (void)!str_to_u64(writes[i]->metadata.resource_version, &rev);
        writes[i]->metadata.resource_version = STR_NONE;
        /* a conflict means another change: its event brings us back here */
        (void)!store_put(r->server->store, KIND(CLUSTER_ROLE), writes[i], rev, NULL, NULL, NULL);
    }
    arena_fini(&a);
}

static void on_roles(void *arg, const struct store_event *events, size_t n)
{
    struct rbac *r = arg;
    (void)events;
    (void)n;
    rt_task_schedule(&r->aggregate_task);
}

/* ---- decisions ---- */

static bool listed(const struct str *v, uint32_t n, struct str want)
{
    for (uint32_t i = 0; i < n; i++)
        if (str_is(v[i], "*") || str_eq(v[i], want))
            return true;
    return false;
}

static bool resource_listed(const struct api_policy_rule *p, struct str resource, struct str sub)
{
    for (uint32_t i = 0; i < p->n_resources; i++) {
        struct str want = p->resources[i], head;
        if (str_is(want, "*"))
            return true;
        bool has_sub = str_cut(&want, '/', &head);
        if (!has_sub) {
            if (!sub.n && str_eq(head, resource))
                return true;
        } else if (sub.n && str_eq(want, sub) && (str_is(head, "*") || str_eq(head, resource))) {
            return true;
        }
    }
    return false;
}

static bool path_listed(const struct api_policy_rule *p, struct str path)
{
    for (uint32_t i = 0; i < p->n_non_resource_urls; i++) {
        struct str u = p->non_resource_urls[i];
        if (str_is(u, "*") || str_eq(u, path))
            return true;
        if (u.n && u.p[u.n - 1] == '*' && str_starts(path, str_sub(u, 0, u.n - 1)))
            return true;
    }
    return false;
}

static bool rule_allows(const struct api_policy_rule *p, const struct authz_attrs *at)
{
    if (!listed(p->verbs, p->n_verbs, at->verb))
        return false;
    if (at->path.p)
        return path_listed(p, at->path);
    if (!listed(p->api_groups, p->n_api_groups, at->group) ||
        !resource_listed(p, at->resource, at->subresource))
        return false;
    if (p->n_resource_names == 0)
        return true;
    for (uint32_t i = 0; i < p->n_resource_names; i++)
        if (at->name.n && str_eq(p->resource_names[i], at->name))
            return true;
    return false;
}

struct rules {
    const struct api_policy_rule *v;
    uint32_t n;
};

static struct rules role_rules(struct rbac *r, struct str kind, struct str ns, struct str name)
{
    struct object *o = NULL;
    if (str_is(kind, "ClusterRole")) {
        o = store_get(r->server->store, KIND(CLUSTER_ROLE), STR_NONE, name);
        if (o)
            return (struct rules){OBJECT_MSG(o, api_cluster_role)->rules,
                                  OBJECT_MSG(o, api_cluster_role)->n_rules};
    } else if (str_is(kind, "Role")) {
        o = store_get(r->server->store, KIND(ROLE), ns, name);
        if (o)
            return (struct rules){OBJECT_MSG(o, api_role)->rules, OBJECT_MSG(o, api_role)->n_rules};
    }
    return (struct rules){0};
}

/* Calls fn for each entry of the user that counts in ns; stops at true. */
static struct entry *entries_walk(struct rbac *r, const struct api_user *u, struct str ns,
                                  bool (*fn)(void *arg, struct entry *e), void *arg)
{
    char key[512];
    for (uint32_t i = 0; i <= u->n_groups; i++) {
        struct str name = i ? u->groups[i - 1] : u->name;
        int n = snprintf(key, sizeof(key), "%c:%.*s", i ? 'G' : 'U', STR_ARG(name));
        if (n < 0 || (size_t)n >= sizeof(key))
            continue;
        struct subject *s = map_get(&r->subjects, (struct str){key, (size_t)n});
        struct entry *e;
        if (!s)
            continue;
        LIST_FOR_EACH (e, &s->entries, in_subject)
            if ((e->ns.n == 0 || (ns.n && str_eq(e->ns, ns))) && fn(arg, e))
                return e;
    }
    return NULL;
}

struct decision {
    struct rbac *rbac;
    const struct authz_attrs *at;
};

static bool entry_allows(void *arg, struct entry *e)
{
    struct decision *d = arg;
    if (d->at->path.p && e->ns.n)
        return false;
    struct rules rules = role_rules(d->rbac, e->role_kind, e->ns, e->role_name);
    for (uint32_t i = 0; i < rules.n; i++)
        if (rule_allows(&rules.v[i], d->at))
            return true;
    return false;
}

bool rbac_allowed(struct rbac *r, const struct authz_attrs *at, struct arena *a,
                  struct str *ret_reason)
{
    struct decision d = {r, at};
    struct entry *e = entries_walk(r, at->user, at->ns, entry_allows, &d);
    if (!e)
        return false;
    if (a)
        *ret_reason =
            e->ns.n
                ? arena_printf(
                      a, "RBAC: allowed by RoleBinding \"%.*s/%.*s\" of %.*s \"%.*s\" to \"%.*s\"",
                      STR_ARG(e->binding_name), STR_ARG(e->ns), STR_ARG(e->role_kind),
                      STR_ARG(e->role_name), STR_ARG(at->user->name))
                : arena_printf(
                      a,
                      "RBAC: allowed by ClusterRoleBinding \"%.*s\" of %.*s \"%.*s\" to \"%.*s\"",
                      STR_ARG(e->binding_name), STR_ARG(e->role_kind), STR_ARG(e->role_name),
                      STR_ARG(at->user->name));
    return true;
}

struct rules_walk {
    struct rbac *rbac;
    rbac_rule_fn fn;
    void *arg;
};

static bool entry_rules(void *arg, struct entry *e)
{
    struct rules_walk *w = arg;
    struct rules rules = role_rules(w->rbac, e->role_kind, e->ns, e->role_name);
    for (uint32_t i = 0; i < rules.n; i++)
        w->fn(w->arg, &rules.v[i]);
    return false;
}

void rbac_rules(struct rbac *r, const struct api_user *user, struct str ns, rbac_rule_fn fn,
                void *arg)
{
    struct rules_walk w = {r, fn, arg};
    (void)entries_walk(r, user, ns, entry_rules, &w);
}

/* ---- escalation ---- */

struct covers {
    const struct api_policy_rule *want;
    struct str verb, group, resource, name, path;
    bool yes;
    uint64_t steps; /* names compared so far; beyond COVER_STEPS_MAX the answer is no */
};

static uint64_t rule_weight(const struct api_policy_rule *p)
{
    return 1 + (uint64_t)p->n_verbs + p->n_api_groups + p->n_resources + p->n_resource_names +
           p->n_non_resource_urls;
}

enum listed {
    LISTED_NAMES, /* "*" is a name as any other: of objects */
    LISTED,       /* "*" stands for all */
    LISTED_SUB,   /* also "*" + "/x" for any resource's x */
};

/* All of want are in have. */
static bool all_listed(const struct str *have, uint32_t n_have, const struct str *want,
                       uint32_t n_want, enum listed how)
{
    struct set all = {0};
    bool yes = true;
    for (uint32_t i = 0; i < n_have; i++)
        (void)set_add(&all, have[i]);
    bool any = how != LISTED_NAMES && set_has(&all, STR("*"));
    for (uint32_t i = 0; i < n_want && yes && !any; i++) {
        ssize_t slash = how == LISTED_SUB ? str_find(want[i], '/') : -1;
        yes = set_has(&all, want[i]);
        if (!yes && slash >= 0) {
            struct buf text = {0};
            buf_add_char(&text, '*');
            buf_add_str(&text, str_sub(want[i], (size_t)slash, want[i].n));
            yes = set_has(&all, buf_str(&text));
            buf_fini(&text);
        }
    }
    set_fini(&all);
    return yes;
}

/* One rule covers the whole of another: the common case, and no need to take it apart. */
static void rule_covers_whole(void *arg, const struct api_policy_rule *p)
{
    struct covers *c = arg;
    const struct api_policy_rule *w = c->want;
    if (c->yes || c->steps > COVER_STEPS_MAX || w->n_non_resource_urls)
        return;
    c->steps += rule_weight(p);
    if (!p->n_verbs || !p->n_resources || !p->n_api_groups ||
        (p->n_resource_names && !w->n_resource_names))
        return;
    c->steps += rule_weight(w);
    c->yes =
        all_listed(p->verbs, p->n_verbs, w->verbs, w->n_verbs, LISTED) &&
        all_listed(p->api_groups, p->n_api_groups, w->api_groups, w->n_api_groups, LISTED) &&
        all_listed(p->resources, p->n_resources, w->resources, w->n_resources, LISTED_SUB) &&
        (!p->n_resource_names || all_listed(p->resource_names, p->n_resource_names,
                                            w->resource_names, w->n_resource_names, LISTED_NAMES));
}

static void rule_covers(void *arg, const struct api_policy_rule *p)
{
    struct covers *c = arg;
    struct authz_attrs at = {.verb = c->verb, .group = c->group, .name = c->name, .path = c->path};
    if (c->yes || c->steps > COVER_STEPS_MAX)
        return;
    c->steps += rule_weight(p);
    struct str rest = c->resource;
    str_cut(&rest, '/', &at.resource);
    at.subresource = rest;
    /* "*" is only covered by "*": rule_allows compares it as a name no rule spells out otherwise */
    c->yes = rule_allows(p, &at);
}

static bool user_has(struct api_call *c, struct str ns, struct covers k, uint64_t *steps)
{
    k.steps = *steps;
    rbac_rules(c->server->rbac, &c->user, ns, rule_covers, &k);
    *steps = k.steps;
    return k.yes;
}

/* steps go on from rule to rule of one role. missing: told of all that is not covered; NULL: the
 * first such thing is the answer. */
static bool user_covers(struct api_call *c, struct str ns, const struct api_policy_rule *want,
                        uint64_t *steps, struct rbac_missing *missing)
{
    static const struct str any = {"", 0};
    uint32_t n_names = want->n_resource_names ? want->n_resource_names : 1;
    uint64_t n = (uint64_t)want->n_resources * n_names * want->n_verbs;
    bool all = true;
    struct covers whole = {.want = want, .steps = *steps};
    rbac_rules(c->server->rbac, &c->user, ns, rule_covers_whole, &whole);
    *steps = whole.steps;
    if (whole.yes)
        return true;
    for (uint32_t u = 0; u < want->n_non_resource_urls; u++)
        for (uint32_t v = 0; v < want->n_verbs; v++) {
            struct covers k = {.verb = want->verbs[v], .path = want->non_resource_urls[u]};
            if (user_has(c, ns, k, steps))
                continue;
            all = false;
            if (!missing || !rbac_missing_path(missing, k.path, k.verb))
                return false;
        }
    for (uint32_t g = 0; g < want->n_api_groups; g++)
        for (uint64_t i = 0; i < n; i++) { /* resource by resource, name by name, verb by verb */
            uint64_t name = i / want->n_verbs % n_names;
            struct covers k = {.verb = want->verbs[i % want->n_verbs],
                               .group = want->api_groups[g],
                               .resource = want->resources[i / want->n_verbs / n_names],
                               .name = want->n_resource_names ? want->resource_names[name] : any};
            if (user_has(c, ns, k, steps))
                continue;
            all = false;
            if (!missing || !rbac_missing_resource(missing, k.group, k.resource, k.name, k.verb))
                return false;
        }
    return all;
}

/* "a" "b" */
static struct str quoted(struct arena *a, const struct str *v, uint32_t n)
{
    struct buf b = {0};
    for (uint32_t i = 0; i < n; i++)
        buf_printf(&b, "%s\"%.*s\"", i ? " " : "", STR_ARG(v[i]));
    struct str out = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return out;
}

/* The role's rules against what the caller has. */
static int check_rules(struct api_call *c, const struct api_object_meta *m, struct rules rules)
{
    struct rbac_missing *missing = NULL;
    uint64_t steps = 0;
    for (uint32_t i = 0; i < rules.n; i++) {
        if (!missing && user_covers(c, m->namespace, &rules.v[i], &steps, NULL))
            continue;
        if (steps <= COVER_STEPS_MAX && !missing) {
            missing = ARENA_NEW(&c->arena, struct rbac_missing);
            rbac_missing_init(missing, &c->arena);
        }
        if (missing)
            (void)user_covers(c, m->namespace, &rules.v[i], &steps, missing);
        if (steps > COVER_STEPS_MAX || (missing && missing->left == 0))
            break;
    }
    struct str lines = missing ? rbac_missing_take(missing) : STR_NONE;
    if (steps > COVER_STEPS_MAX)
        return call_forbidden(c, m->name,
                              "the rules are too many to be compared with those of user "
                              "\"%.*s\"; grant them in smaller roles",
                              STR_ARG(c->user.name));
    if (!missing)
        return 0;
    struct str groups = quoted(&c->arena, c->user.groups, c->user.n_groups);
    return call_forbidden(c, m->name,
                          "user \"%.*s\" (groups=[%.*s]) is attempting to grant RBAC permissions "
                          "not currently held:\n%.*s",
                          STR_ARG(c->user.name), STR_ARG(groups), STR_ARG(lines));
}

static bool may(struct api_call *c, const char *verb, const char *resource, struct str name)
{
    struct authz_attrs at = {.user = &c->user,
                             .verb = str_z(verb),
                             .group = STR("rbac.authorization.k8s.io"),
                             .version = STR("v1"),
                             .resource = str_z(resource),
                             .ns = c->ns,
                             .name = name};
    struct str reason;
    return authz_allowed(c->server, &at, NULL, &reason);
}

/* A role that gathers others may come to hold anything. */
static bool gathers(const struct api_cluster_role *r)
{
    return r->aggregation_rule && r->aggregation_rule->n_cluster_role_selectors;
}

static bool may_do_everything(struct api_call *c)
{
    static struct str all[] = {{"*", 1}};
    const struct api_policy_rule rules[] = {
        {.verbs = all,
         .n_verbs = 1,
         .api_groups = all,
         .n_api_groups = 1,
         .resources = all,
         .n_resources = 1},
        {.verbs = all, .n_verbs = 1, .non_resource_urls = all, .n_non_resource_urls = 1}};
    uint64_t steps = 0;
    return user_covers(c, STR_NONE, &rules[0], &steps, NULL) &&
           user_covers(c, STR_NONE, &rules[1], &steps, NULL);
}

int rbac_check_escalation(struct api_call *c, const void *msg, const struct object *old)
{
    const struct api_object_meta *m = msg;
    struct rules rules = {0};
    bool binding = false;
    if (c->user.trusted || user_in_group(&c->user, STR("system:masters")))
        return 0;
    if (c->kind == KIND(ROLE)) {
        rules = (struct rules){((const struct api_role *)msg)->rules,
                               ((const struct api_role *)msg)->n_rules};
    } else if (c->kind == KIND(CLUSTER_ROLE)) {
        rules = (struct rules){((const struct api_cluster_role *)msg)->rules,
                               ((const struct api_cluster_role *)msg)->n_rules};
    } else {
        const struct api_role_ref *ref =
            c->kind == KIND(ROLE_BINDING)
                ? &((const struct api_role_binding *)msg)->role_ref
                : &((const struct api_cluster_role_binding *)msg)->role_ref;
        binding = true;
        if (may(c, "bind", str_is(ref->kind, "ClusterRole") ? "clusterroles" : "roles", ref->name))
            return 0;
        rules = role_rules(c->server->rbac, ref->kind, m->namespace, ref->name);
        if (!rules.v && rules.n == 0 &&
            !(str_is(ref->kind, "ClusterRole")
                  ? store_get(c->server->store, KIND(CLUSTER_ROLE), STR_NONE, ref->name)
                  : store_get(c->server->store, KIND(ROLE), m->namespace, ref->name)))
            return call_not_found(
                c, str_is(ref->kind, "ClusterRole") ? KIND(CLUSTER_ROLE) : KIND(ROLE), ref->name);
    }
    if (!binding && may(c, "escalate", c->kind->plural, m->name))
        return 0;
    if (c->kind == KIND(CLUSTER_ROLE) &&
        (gathers(msg) || (old && gathers(OBJECT_MSG(old, api_cluster_role)))) &&
        !may_do_everything(c))
        return call_forbidden(c, m->name,
                              "must have cluster-admin privileges to use the aggregationRule");
    return check_rules(c, m, rules);
}

/* ---- life ---- */

static int watch_kind(struct rbac *r, int i, const struct schema_kind *k, store_watch_fn fn)
{
    struct store *st = r->server->store;
    struct store_iter it;
    int rc = store_iter_init(&it, st, k, STR_NONE, 0, STR_NONE, STR_NONE);
    if (rc < 0)
        return rc;
    for (struct object *o; (o = store_iter_next(&it));)
        if (fn == on_bindings)
            binding_object(r, o);
    store_iter_fini(&it);
    return store_watch_start(&r->watches[i], st, k, STR_NONE, store_rev(st), fn, r);
}

struct rbac *rbac_new(struct apiserver *s)
{
    struct rbac *r = NEW(struct rbac);
    r->server = s;
    rt_task_init(&r->aggregate_task, s->rt, on_aggregate, r);
    int e1 = watch_kind(r, 0, KIND(ROLE_BINDING), on_bindings);
    int e2 = watch_kind(r, 1, KIND(CLUSTER_ROLE_BINDING), on_bindings);
    int e3 = watch_kind(r, 2, KIND(CLUSTER_ROLE), on_roles);
    ASSERT(e1 >= 0 && e2 >= 0 && e3 >= 0); /* now is always in the window */
    rt_task_schedule(&r->aggregate_task);
    return r;
}

struct rbac *rbac_free(struct rbac *r)
{
    if (!r)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(r->watches); i++)
        store_watch_stop(&r->watches[i]);
    rt_task_cancel(&r->aggregate_task);
    for (;;) {
        struct map_slot *slot = map_next(&r->bindings, NULL);
        if (!slot)
            break;
        binding_drop(r, slot->key);
    }
    map_fini(&r->bindings);
    map_fini(&r->subjects);
    free(r);
    return NULL;
}
