/* Webhook configurations, compiled when they are written, and what is counted about them.
 *
 * The lists follow the store's events: they hold what is durable, which is what whoever wrote a
 * configuration was told. A call looks into a table of one byte a kind first; that is all most
 * calls ever see of this. */
#include "apiserver/hooks/hooks_int.h"

#include "base/log.h"

#define ABOUT_UNKNOWN 0x80
#define FIGURES_MAX   2000 /* series; of webhooks beyond nothing is counted */
#define BUCKETS       9

static const double bounds[BUCKETS - 1] = {0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 25};

struct hook_figures {
    char *labels; /* owned: the key */
    bool rejected;
    uint64_t n, buckets[BUCKETS], took_us;
    uint64_t failed_open, errors, denied;
};

/* ---- one configuration ---- */

static void config_unref(struct hook_config *c)
{
    if (--c->refs)
        return;
    for (uint32_t i = 0; i < c->n; i++)
        conditions_free(c->hooks[i].conditions);
    object_unref(c->object);
    arena_fini(&c->arena);
    free(c);
}

struct hook_list *hook_list_unref(struct hook_list *l)
{
    if (!l || --l->refs)
        return NULL;
    for (size_t i = 0; i < l->n_configs; i++)
        config_unref(l->configs[i]);
    free(l->configs);
    free(l->v);
    free(l);
    return NULL;
}

static void set_target(struct hook *h, const struct api_admission_client_config *c)
{
    h->target.url = c->url;
    h->target.ca_bundle = c->ca_bundle;
    if (c->url.p || !c->service)
        return;
    h->target.ns = c->service->namespace;
    h->target.name = c->service->name;
    h->target.path = c->service->path;
    h->target.port = c->service->has_port ? (uint16_t)c->service->port : 443;
}

static bool speaks_v1(const struct str *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (str_is(v[i], "v1") || str_is(v[i], "v1beta1"))
            return str_is(v[i], "v1");
    return true;
}

/* The two kinds of webhooks have the same members but one. */
#define HOOK_FILL(h, w, a)                                                                         \
    do {                                                                                           \
        (h)->name = (w)->name;                                                                     \
        (h)->ignore_failure = str_is((w)->failure_policy, "Ignore");                               \
        (h)->no_side_effects =                                                                     \
            str_is((w)->side_effects, "None") || str_is((w)->side_effects, "NoneOnDryRun");        \
        (h)->timeout_ms = 1000 * (int64_t)((w)->has_timeout_seconds ? (w)->timeout_seconds : 10);  \
        (h)->v1 = speaks_v1((w)->admission_review_versions, (w)->n_admission_review_versions);     \
        set_target((h), &(w)->client_config);                                                      \
        match_compile_webhook(&(h)->match, (a), (w)->rules, (w)->n_rules, (w)->match_policy,       \
                              (w)->namespace_selector, (w)->object_selector);                      \
        (h)->conditions =                                                                          \
            conditions_new((w)->match_conditions, (w)->n_match_conditions, ADMIT_ENV_AUTHORIZER);  \
    } while (0)

static struct hook_config *config_new(enum hook_phase phase, struct object *o)
{
    struct hook_config *c = NEW(struct hook_config);
    c->refs = 1;
    c->object = object_ref(o);
    if (phase == HOOK_MUTATING) {
        const struct api_mutating_webhook_configuration *m = o->msg;
        c->hooks = ARENA_NEW_N(&c->arena, struct hook, m->n_webhooks);
        for (; c->n < m->n_webhooks; c->n++) {
            HOOK_FILL(&c->hooks[c->n], &m->webhooks[c->n], &c->arena);
            c->hooks[c->n].again_if_needed =
                str_is(m->webhooks[c->n].reinvocation_policy, "IfNeeded");
        }
    } else {
        const struct api_validating_webhook_configuration *m = o->msg;
        c->hooks = ARENA_NEW_N(&c->arena, struct hook, m->n_webhooks);
        for (; c->n < m->n_webhooks; c->n++)
            HOOK_FILL(&c->hooks[c->n], &m->webhooks[c->n], &c->arena);
    }
    for (uint32_t i = 0; i < c->n; i++) {
        c->hooks[i].config = c;
        c->hooks[i].phase = phase;
    }
    return c;
}

/* ---- all of them ---- */

static int by_name(const void *a, const void *b)
{
    const struct hook_config *const *x = a, *const *y = b;
    return str_cmp(object_name((*x)->object), object_name((*y)->object));
}

/* Of a phase that is switched off the list is empty; what a call has learnt before still holds. */
static bool is_on(const struct hooks *x, enum hook_phase phase)
{
    return admit_plugin_is_on(x->server, phase == HOOK_MUTATING ? "MutatingAdmissionWebhook"
                                                                : "ValidatingAdmissionWebhook");
}

static void make_list(struct hooks *x, enum hook_phase phase)
{
    struct hook_list *l = NEW(struct hook_list);
    bool on = is_on(x, phase);
    size_t n = 0;
    l->refs = 1;
    l->configs = xcalloc(x->configs[phase].n + 1, sizeof(struct hook_config *));
    for (struct map_slot *s = NULL; on && (s = map_next(&x->configs[phase], s));) {
        struct hook_config *c = s->value;
        c->refs++;
        n += c->n;
        l->configs[l->n_configs++] = c;
    }
    qsort(l->configs, l->n_configs, sizeof(struct hook_config *), by_name);
    l->v = xcalloc(n + 1, sizeof(struct hook *));
    for (size_t i = 0; i < l->n_configs; i++)
        for (uint32_t k = 0; k < l->configs[i]->n; k++)
            l->v[l->n++] = &l->configs[i]->hooks[k];
    hook_list_unref(x->lists[phase]);
    x->lists[phase] = l;
    if (x->n_about)
        memset(x->about, ABOUT_UNKNOWN, x->n_about);
}

static void set_config(struct hooks *x, enum hook_phase phase, struct str name, struct object *o)
{
    struct hook_config *c = o ? config_new(phase, o) : NULL;
    struct hook_config *was =
        c ? map_set(&x->configs[phase], object_name(o), c) : map_remove(&x->configs[phase], name);
    if (was)
        config_unref(was);
}

static void on_events(struct hooks *x, enum hook_phase phase, const struct store_event *events,
                      size_t n)
{
    for (size_t i = 0; i < n; i++)
        set_config(x, phase, object_name(events[i].object),
                   events[i].type == STORE_EVENT_DELETED ? NULL : events[i].object);
    make_list(x, phase);
}

static void on_mutating(void *arg, const struct store_event *events, size_t n)
{
    on_events(arg, HOOK_MUTATING, events, n);
}

static void on_validating(void *arg, const struct store_event *events, size_t n)
{
    on_events(arg, HOOK_VALIDATING, events, n);
}

static void start(struct hooks *x, enum hook_phase phase, const struct schema_kind *kind,
                  store_watch_fn fn)
{
    struct store *store = x->server->store;
    struct store_iter it;
    if (store_iter_init(&it, store, kind, STR_NONE, 0, STR_NONE, STR_NONE) >= 0) {
        for (struct object *o; (o = store_iter_next(&it));)
            set_config(x, phase, STR_NONE, o);
        store_iter_fini(&it);
    }
    make_list(x, phase);
    if (store_watch_start(&x->watches[phase], store, kind, STR_NONE, store_rev(store), fn, x) < 0)
        ASSERT(!"a watch from now on always starts");
}

struct hooks *hooks_new(struct apiserver *s)
{
    struct hooks *x = NEW(struct hooks);
    x->server = s;
    list_init(&x->waiting);
    start(x, HOOK_MUTATING, KIND(MUTATING_WEBHOOK_CONFIGURATION), on_mutating);
    start(x, HOOK_VALIDATING, KIND(VALIDATING_WEBHOOK_CONFIGURATION), on_validating);
    return x;
}

struct hooks *hooks_free(struct hooks *x)
{
    if (!x)
        return NULL;
    for (size_t p = 0; p < _HOOK_PHASE_MAX; p++) {
        store_watch_stop(&x->watches[p]);
        hook_list_unref(x->lists[p]);
        for (struct map_slot *s = NULL; (s = map_next(&x->configs[p], s));)
            config_unref(s->value);
        map_fini(&x->configs[p]);
    }
    for (struct map_slot *s = NULL; (s = map_next(&x->figures, s));) {
        struct hook_figures *f = s->value;
        free(f->labels);
        free(f);
    }
    map_fini(&x->figures);
    free(x->about);
    free(x);
    return NULL;
}

/* ---- which calls at all ---- */

static uint8_t op_bits(const struct api_admission_rule_with_operations *r)
{
    uint8_t bits = 0;
    for (uint32_t i = 0; i < r->n_operations; i++) {
        struct str op = r->operations[i];
        bits |= str_is(op, "CREATE")    ? ADMIT_CREATE
                : str_is(op, "UPDATE")  ? ADMIT_UPDATE
                : str_is(op, "DELETE")  ? ADMIT_DELETE
                : str_is(op, "CONNECT") ? ADMIT_CONNECT
                : str_is(op, "*")       ? ADMIT_ALL
                                        : 0;
    }
    return bits;
}

/* In whatever version and subresource. */
static bool names(const struct api_admission_rule *r, const struct schema_kind *k)
{
    bool group = false, resource = false;
    for (uint32_t i = 0; i < r->n_api_groups; i++)
        group |= str_is(r->api_groups[i], "*") || str_eqz(r->api_groups[i], k->group);
    for (uint32_t i = 0; i < r->n_resources && group; i++) {
        struct str rest = r->resources[i], plain;
        (void)str_cut(&rest, '/', &plain);
        resource |= str_is(plain, "*") || str_eqz(plain, k->plural);
    }
    return group && resource;
}

static uint8_t rules_about(const struct api_admission_rule_with_operations *v, uint32_t n,
                           const struct schema_kind *k)
{
    uint8_t bits = 0;
    for (uint32_t i = 0; i < n; i++)
        if (names(&v[i].rule, k))
            bits |= op_bits(&v[i]);
    return bits;
}

static uint8_t kind_about(const struct hooks *x, const struct schema_kind *k)
{
    uint8_t bits = 0;
    for (size_t i = 0; i < x->lists[HOOK_MUTATING]->n_configs; i++) {
        const struct api_mutating_webhook_configuration *m =
            x->lists[HOOK_MUTATING]->configs[i]->object->msg;
        for (uint32_t w = 0; w < m->n_webhooks; w++)
            bits |= rules_about(m->webhooks[w].rules, m->webhooks[w].n_rules, k);
    }
    for (size_t i = 0; i < x->lists[HOOK_VALIDATING]->n_configs; i++) {
        const struct api_validating_webhook_configuration *m =
            x->lists[HOOK_VALIDATING]->configs[i]->object->msg;
        for (uint32_t w = 0; w < m->n_webhooks; w++)
            bits |= rules_about(m->webhooks[w].rules, m->webhooks[w].n_rules, k);
    }
    return bits;
}

/* Nobody is asked about the rules of admission, lest nobody could mend them, nor about questions.
 */
static bool is_exempt(const struct schema_kind *k)
{
    struct admit_request r = {.kind = k};
    return admit_request_is_exempt(&r) || review_is(k);
}

static uint8_t find_about(struct hooks *x, const struct schema_kind *k)
{
    uint8_t bits = kind_about(x, k);
    for (size_t i = 0; i < _KIND_MAX && !k->custom; i++) /* other groups it is served in */
        if (schema_kinds[i]->storage == k->storage)
            bits |= kind_about(x, schema_kinds[i]);
    return is_exempt(k) ? 0 : bits;
}

bool hooks_about(const struct hooks *x, const struct api_call *c)
{
    static const uint8_t verbs[_API_VERB_MAX] = {
        [API_CREATE] = ADMIT_CREATE,
        [API_UPDATE] = ADMIT_CREATE | ADMIT_UPDATE,
        [API_PATCH] = ADMIT_CREATE | ADMIT_UPDATE,
        [API_DELETE] = ADMIT_DELETE,
        [API_DELETE_COLLECTION] = ADMIT_DELETE,
        [API_CONNECT] = ADMIT_CONNECT,
        [API_PROXY] = ADMIT_CONNECT,
    };
    struct hooks *w = (struct hooks *)(uintptr_t)x; /* the table is a cache */
    if (!(x->lists[HOOK_MUTATING]->n | x->lists[HOOK_VALIDATING]->n) || !verbs[c->verb] || !c->kind)
        return false;
    size_t id = schema_stored(c->kind)->id;
    if (id >= w->n_about) {
        w->about = xrealloc(w->about, id + 64);
        memset(w->about + w->n_about, ABOUT_UNKNOWN, id + 64 - w->n_about);
        w->n_about = id + 64;
    }
    if (w->about[id] == ABOUT_UNKNOWN)
        w->about[id] = find_about(w, c->kind);
    return w->about[id] & verbs[c->verb];
}

/* ---- figures ---- */

static struct hook_figures *figures_of(struct hooks *x, const struct hook_ask *k, bool rejected)
{
    char labels[600];
    snprintf(labels, sizeof(labels), "name=\"%.*s\",type=\"%s\",operation=\"%s\",rejected=\"%s\"",
             STR_ARG(k->hook->name), k->hook->phase == HOOK_MUTATING ? "admit" : "validating",
             admit_op_text(k->state->op), rejected ? "true" : "false");
    struct hook_figures *f = map_get(&x->figures, str_z(labels));
    if (f || x->figures.n >= FIGURES_MAX)
        return f;
    f = NEW(struct hook_figures);
    f->labels = xstrdup(labels);
    f->rejected = rejected;
    map_set(&x->figures, str_z(f->labels), f);
    return f;
}

void hook_count(struct hooks *x, const struct hook_ask *k, nsec_t took, bool rejected)
{
    struct hook_figures *f = figures_of(x, k, rejected);
    unsigned b = 0;
    if (!f)
        return;
    while (b < BUCKETS - 1 && (double)took > bounds[b] * 1e9)
        b++;
    f->n++;
    f->buckets[b]++;
    f->took_us += (uint64_t)MAX(took, (nsec_t)0) / 1000;
    bool error = !k->understood || k->hopeless;
    f->failed_open += error && !rejected;
    f->errors += error && rejected;
    f->denied += !error && rejected;
}

static void print_histogram(const struct hook_figures *f, struct buf *out)
{
    static const char name[] = "apiserver_admission_webhook_admission_duration_seconds";
    uint64_t upto = 0;
    for (size_t b = 0; b < BUCKETS; b++) {
        char le[16] = "+Inf";
        if (b < BUCKETS - 1)
            snprintf(le, sizeof(le), "%g", bounds[b]);
        upto += f->buckets[b];
        buf_printf(out, "%s_bucket{%s,le=\"%s\"} %llu\n", name, f->labels, le,
                   (unsigned long long)upto);
    }
    buf_printf(out, "%s_sum{%s} %.6f\n%s_count{%s} %llu\n", name, f->labels,
               (double)f->took_us / 1e6, name, f->labels, (unsigned long long)f->n);
}

static void print_count(const char *metric, const struct hook_figures *f, const char *more,
                        uint64_t n, struct buf *out)
{
    if (n)
        buf_printf(out, "apiserver_admission_webhook_%s{%s%s} %llu\n", metric, f->labels, more,
                   (unsigned long long)n);
}

void hooks_metrics(const struct hooks *x, struct buf *out)
{
    if (!x->figures.n)
        return;
    buf_add_lit(out, "# TYPE apiserver_admission_webhook_admission_duration_seconds histogram\n");
    for (struct map_slot *s = NULL; (s = map_next(&x->figures, s));)
        print_histogram(s->value, out);
    buf_add_lit(out, "# TYPE apiserver_admission_webhook_request_total counter\n");
    for (struct map_slot *s = NULL; (s = map_next(&x->figures, s));)
        print_count("request_total", s->value, "", ((struct hook_figures *)s->value)->n, out);
    buf_add_lit(out, "# TYPE apiserver_admission_webhook_rejection_count counter\n");
    for (struct map_slot *s = NULL; (s = map_next(&x->figures, s));) {
        const struct hook_figures *f = s->value;
        print_count("rejection_count", f, ",error_type=\"calling_webhook_error\"", f->errors, out);
        print_count("rejection_count", f, ",error_type=\"no_error\"", f->denied, out);
    }
    buf_add_lit(out, "# TYPE apiserver_admission_webhook_fail_open_count counter\n");
    for (struct map_slot *s = NULL; (s = map_next(&x->figures, s));)
        print_count("fail_open_count", s->value, "", ((struct hook_figures *)s->value)->failed_open,
                    out);
}
