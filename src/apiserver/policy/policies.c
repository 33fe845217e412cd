/* The index of policies. What the store says of policies and bindings is compiled at once and put
 * together (which bindings belong to which policy) when a request next asks. Which policies are
 * about a resource, operation and subresource is found out once and remembered, until a policy, a
 * binding or a custom kind changes: the rules of most policies depend on nothing else. */
#include "apiserver/policy/policy_int.h"

#include "apiserver/custom/convert.h"
#include "apiserver/custom/kinds.h"

#define KEY_BYTES_MAX 400

/* ---- policies of one sort ---- */

struct shortlist {
    char key[KEY_BYTES_MAX];
    size_t n;
    struct policy_candidate v[];
};

struct policy_set {
    struct policies *all;
    struct map policies, bindings; /* by name; owned */
    struct admit_policy **active;  /* owned array; those with bindings, by name */
    size_t n_active;
    struct map shortlists; /* owned */
    bool stale;            /* active is not true any more */
    uint64_t generation;   /* of the custom kinds, that the short lists speak of */
    struct store_watch policy_watch, binding_watch;
};

struct policies {
    struct apiserver *server;
    struct policy_set sets[2]; /* validating, mutating */
    size_t n_params;           /* policies that take parameters */
};

static void forget(struct policy_set *s)
{
    for (struct map_slot *x = NULL; (x = map_next(&s->shortlists, x));)
        free(x->value);
    map_clear(&s->shortlists);
}

/* ---- from the store ---- */

static const struct schema_kind *kind_of(bool mutating, bool binding)
{
    if (mutating)
        return binding ? KIND(MUTATING_ADMISSION_POLICY_BINDING) : KIND(MUTATING_ADMISSION_POLICY);
    return binding ? KIND(VALIDATING_ADMISSION_POLICY_BINDING) : KIND(VALIDATING_ADMISSION_POLICY);
}

static void set_policy(struct policy_set *s, struct str name, const struct object *o)
{
    struct admit_policy *p = o ? admit_policy_new(o) : NULL, *old = map_remove(&s->policies, name);
    s->all->n_params -= old && old->has_params;
    admit_policy_free(old);
    if (p)
        (void)map_set(&s->policies, p->name, p);
    s->all->n_params += p && p->has_params;
    s->stale = true;
}

static void set_binding(struct policy_set *s, struct str name, const struct object *o)
{
    struct policy_binding *b = o ? admit_binding_new(o) : NULL;
    admit_binding_free(map_remove(&s->bindings, name));
    if (b)
        (void)map_set(&s->bindings, b->name, b);
    s->stale = true;
}

/* metadata.generation counts changes of the spec; a status that is written changes nothing here. */
static bool same_spec(const struct store_event *e)
{
    return e->type == STORE_EVENT_MODIFIED && e->prev &&
           object_meta(e->prev)->generation == object_meta(e->object)->generation &&
           str_eq(object_meta(e->prev)->uid, object_meta(e->object)->uid);
}

static void on_policies(void *arg, const struct store_event *events, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct store_event *e = &events[i];
        if (!same_spec(e))
            set_policy(arg, object_name(e->object),
                       e->type == STORE_EVENT_DELETED ? NULL : e->object);
    }
}

static void on_bindings(void *arg, const struct store_event *events, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct store_event *e = &events[i];
        if (!same_spec(e))
            set_binding(arg, object_name(e->object),
                        e->type == STORE_EVENT_DELETED ? NULL : e->object);
    }
}

static void load(struct policy_set *s, bool mutating, bool binding)
{
    struct store *store = s->all->server->store;
    const struct schema_kind *k = kind_of(mutating, binding);
    struct store_iter it;
    if (store_iter_init(&it, store, k, STR_NONE, 0, STR_NONE, STR_NONE) >= 0) {
        for (struct object *o; (o = store_iter_next(&it));)
            (binding ? set_binding : set_policy)(s, object_name(o), o);
        store_iter_fini(&it);
    }
    if (store_watch_start(binding ? &s->binding_watch : &s->policy_watch, store, k, STR_NONE,
                          store_rev(store), binding ? on_bindings : on_policies, s) < 0)
        ASSERT(!"the newest revision is in the window");
}

struct policies *policies_new(struct apiserver *server)
{
    struct policies *p = NEW(struct policies);
    p->server = server;
    for (unsigned i = 0; i < ARRAY_LEN(p->sets); i++) {
        p->sets[i].all = p;
        load(&p->sets[i], i, false);
        load(&p->sets[i], i, true);
    }
    return p;
}

struct policies *policies_free(struct policies *p)
{
    for (unsigned i = 0; p && i < ARRAY_LEN(p->sets); i++) {
        struct policy_set *s = &p->sets[i];
        store_watch_stop(&s->policy_watch);
        store_watch_stop(&s->binding_watch);
        for (struct map_slot *x = NULL; (x = map_next(&s->policies, x));)
            admit_policy_free(x->value);
        for (struct map_slot *x = NULL; (x = map_next(&s->bindings, x));)
            admit_binding_free(x->value);
        forget(s);
        map_fini(&s->policies);
        map_fini(&s->bindings);
        map_fini(&s->shortlists);
        free(s->active);
    }
    free(p);
    return NULL;
}

/* ---- which are about a request ---- */

static int by_policy(const void *a, const void *b)
{
    const struct admit_policy *x = *(struct admit_policy *const *)a,
                              *y = *(struct admit_policy *const *)b;
    return str_cmp(x->name, y->name);
}

static int by_binding(const void *a, const void *b)
{
    const struct policy_binding *x = *(struct policy_binding *const *)a,
                                *y = *(struct policy_binding *const *)b;
    return str_cmp(x->name, y->name);
}

static void put_together(struct policy_set *s)
{
    for (struct map_slot *x = NULL; (x = map_next(&s->policies, x));)
        ((struct admit_policy *)x->value)->n_bindings = 0;
    for (struct map_slot *x = NULL; (x = map_next(&s->bindings, x));) {
        struct policy_binding *b = x->value;
        struct admit_policy *p = map_get(&s->policies, b->policy);
        if (!p)
            continue;
        ARRAY_RESERVE(p->bindings, p->n_bindings, p->cap_bindings);
        p->bindings[p->n_bindings++] = b;
    }
    free(s->active);
    s->active = xcalloc(s->policies.n + 1, sizeof(struct admit_policy *));
    s->n_active = 0;
    for (struct map_slot *x = NULL; (x = map_next(&s->policies, x));) {
        struct admit_policy *p = x->value;
        if (p->n_bindings) {
            qsort(p->bindings, p->n_bindings, sizeof(struct policy_binding *), by_binding);
            s->active[s->n_active++] = p;
        }
    }
    qsort(s->active, s->n_active, sizeof(struct admit_policy *), by_policy);
    forget(s);
    s->stale = false;
}

static struct shortlist *find_out(struct policy_set *s, struct admit_request *r, struct str key)
{
    struct shortlist *l =
        xcalloc(1, sizeof(*l) + sizeof(struct policy_candidate) * (s->n_active + 1));
    memcpy(l->key, key.p, key.n);
    for (size_t i = 0; i < s->n_active; i++) {
        const struct match *m = &s->active[i]->match;
        bool ask = match_names(m);
        const struct schema_kind *as = ask ? NULL : match_by_rules(m, r);
        if (ask || as)
            l->v[l->n++] = (struct policy_candidate){s->active[i], as};
    }
    (void)map_set(&s->shortlists, (struct str){l->key, key.n}, l);
    return l;
}

const struct policy_candidate *policies_find(struct admit_request *r, bool mutating, size_t *ret_n)
{
    struct policies *all = r->call->server->policies;
    struct policy_set *s = &all->sets[mutating];
    char text[KEY_BYTES_MAX];
    *ret_n = 0;
    if (s->stale)
        put_together(s);
    if (!s->n_active || admit_request_is_exempt(r))
        return NULL;
    if (s->generation != kinds_generation(all->server->kinds)) {
        forget(s);
        s->generation = kinds_generation(all->server->kinds);
    }
    int n = snprintf(text, sizeof(text), "%p %d %d %.*s", (const void *)r->kind, r->op, r->ns.n > 0,
                     STR_ARG(r->subresource));
    struct str key = {text, MIN((size_t)n, sizeof(text) - 1)};
    const struct shortlist *l = map_get(&s->shortlists, key);
    if (!l)
        l = find_out(s, r, key);
    *ret_n = l->n;
    return l->v;
}

int policy_matches(const struct policy_candidate *x, struct admit_request *r,
                   const struct schema_kind **ret_as, struct error *err)
{
    *ret_as = x->as;
    int fits = x->as ? match_selectors(&x->policy->match, r, err)
                     : match_request(&x->policy->match, r, ret_as, err);
    if (fits > 0)
        fits = match_convertible(r, *ret_as, err);
    if (fits == -EPROTO)
        error_prefix(err, "failed to convert object version");
    return fits;
}

int policy_binding_matches(const struct policy_binding *b, struct admit_request *r,
                           struct error *err)
{
    return match_by_rules(&b->match, r) ? match_selectors(&b->match, r, err) : 0;
}

bool policies_any(const struct policies *p, bool mutating)
{
    const struct policy_set *s = p ? &p->sets[mutating] : NULL;
    return s && s->policies.n && s->bindings.n;
}

bool policies_convert(const struct policies *p)
{
    return p && p->n_params && converts_any(p->server->converts);
}
