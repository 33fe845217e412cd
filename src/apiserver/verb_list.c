/* list: all objects of a kind (in a namespace) that the selectors mean, as of one revision.
 *
 * Reads are always consistent here, so resourceVersion only says what the client would put up with:
 * "0" and NotOlderThan get the newest state, Exact walks the store as of that revision. Pages after
 * the first walk as of the first page's revision, which the continue token carries. When that has
 * left the store's window, the refusal offers a token for the rest as it is now. */
#include "apiserver/custom/call_convert.h"
#include "apiserver/continue.h"
#include "apiserver/pod_index.h"
#include "schema/select.h"

struct list_plan {
    rev_t at; /* 0: now */
    struct str after_ns, after_name;
    struct label_selector labels;
    struct field_selector fields;
    size_t limit; /* 0: none */
    bool convert; /* objects must be converted before they can be looked at */
};

static int plan_revision(struct api_call *c, struct list_plan *p)
{
    struct api_options *o = &c->opts;
    struct str rv = o->resource_version, match = o->resource_version_match;
    rev_t want = 0;
    if (list_options_check(c, false) < 0)
        return c->reply.r;
    if (rv.n && str_to_u64(rv, &want) < 0)
        return call_error(c, REASON_BAD_REQUEST,
                          "resourceVersion: Invalid value: \"%.*s\": invalid resource version",
                          STR_ARG(rv));
    if (o->continue_.n) {
        if (rv.n && !str_is(rv, "0"))
            return call_error(c, REASON_BAD_REQUEST,
                              "specifying resource version is not allowed when using continue");
        if (continue_parse(&c->arena, o->continue_, &p->at, &p->after_ns, &p->after_name) < 0)
            return call_error(
                c, REASON_BAD_REQUEST,
                "invalid continue token: continue key is not valid: it was not made by "
                "this server");
        return 0;
    }
    if (want > store_rev(c->server->store))
        return error_from_future(&c->reply.err, want, store_rev(c->server->store));
    if (str_is(match, "Exact")) {
        p->at = want;
    } else if (want && o->limit > 0 && !match.n) {
        p->at = want; /* legacy: limit with a revision means exactly that one */
    }
    return 0;
}

/* The selectors ask for more than the names, which are the same in all versions. */
static bool looks_inside(const struct list_plan *p)
{
    bool yes = !label_selector_is_all(&p->labels);
    for (uint32_t i = 0; i < p->fields.n_terms; i++)
        yes |= p->fields.terms[i].custom != NULL;
    return yes;
}

static int plan(struct api_call *c, struct list_plan *p)
{
    int r = label_selector_parse(&c->arena, c->opts.label_selector, &p->labels, &c->reply.err);
    if (r < 0)
        return r;
    r = field_selector_parse(&c->arena, c->kind, c->opts.field_selector, &p->fields, &c->reply.err);
    if (r < 0)
        return r;
    if (c->opts.limit > 0) /* a negative one is none, as in Kubernetes */
        p->limit = (size_t)MIN(c->opts.limit, (int64_t)API_LIST_CHUNK_MAX);
    p->convert = call_converts(c) && looks_inside(p);
    r = plan_revision(c, p);
    if (r >= 0 && p->convert && !p->at)
        p->at = call_convert_pin(c);
    return r;
}

static bool matches(struct api_call *c, const struct list_plan *p, struct object *o)
{
    struct str name = field_selector_exact(&p->fields, STR("metadata.name"));
    if (p->convert && (name.n && !str_eq(name, object_name(o))))
        return false;
    if (p->convert && !(o = call_seen(c, o)))
        return false;
    const struct api_object_meta *m = object_meta(o);
    if (!label_selector_match(&p->labels, m->labels, m->n_labels))
        return false;
    if (p->fields.n_terms == 0)
        return true;
    const void *msg = o->msg;
    if (o->kind != c->kind)
        msg = schema_from_storage(c->kind, msg, &c->arena);
    return field_selector_match(&p->fields, msg);
}

static int expired(struct api_call *c, const struct list_plan *p)
{
    if (c->opts.continue_.n) {
        c->reply.continue_ = continue_make(&c->arena, 0, p->after_ns, p->after_name);
        return call_error(
            c, REASON_EXPIRED,
            "The provided continue parameter is too old to display a consistent list result. You "
            "can start a new list without the continue parameter, or use the continue token in "
            "this response to retrieve the remainder of the results. Continuing with the provided "
            "token results in an inconsistent list - objects that were created, modified, or "
            "deleted between the time the first chunk was returned and now may show up in the "
            "list.");
    }
    return call_error(c, REASON_EXPIRED, "The resourceVersion for the provided list is too old.");
}

/* ---- by index: the pods of a node, one object by its name ---- */

struct gather {
    struct api_call *call;
    const struct list_plan *plan;
};

static bool gather(void *arg, struct object *o)
{
    struct gather *g = arg;
    struct api_call *c = g->call;
    if ((!c->ns.n || str_eq(object_ns(o), c->ns)) && matches(c, g->plan, o))
        c->reply.items[c->reply.n_items++] = object_ref(o);
    return true;
}

static int by_place(const void *a, const void *b)
{
    const struct object *x = *(struct object *const *)a, *y = *(struct object *const *)b;
    int r = str_cmp(object_ns(x), object_ns(y));
    return r ? r : str_cmp(object_name(x), object_name(y));
}

/* True when an index had the answer: nobody pages through what fits one page, and only the present
 * is indexed. */
static bool by_index(struct api_call *c, const struct list_plan *p)
{
    struct gather g = {c, p};
    if (p->at || p->after_name.n || storage_kind(c->kind) != c->kind)
        return false;
    struct str name = field_selector_exact(&p->fields, STR("metadata.name"));
    struct str node =
        c->kind == KIND(POD) ? field_selector_exact(&p->fields, STR("spec.nodeName")) : STR_NONE;
    if (name.n && (c->ns.n || !c->kind->namespaced)) {
        struct object *o = store_get(c->server->store, c->kind, c->ns, name);
        c->reply.items = ARENA_NEW_N(&c->arena, struct object *, 1);
        if (o)
            (void)gather(&g, o);
    } else if (node.n) {
        size_t n = pod_index_count(c->server->pods, node);
        if (p->limit && n > p->limit)
            return false;
        c->reply.items = ARENA_NEW_N(&c->arena, struct object *, n + 1);
        pod_index_walk(c->server->pods, node, gather, &g);
        qsort(c->reply.items, c->reply.n_items, sizeof(*c->reply.items), by_place);
    } else {
        return false;
    }
    c->reply.rev = store_rev(c->server->store);
    return true;
}

/* What was missing was passed over: the list is made once more. */
static int converted(struct api_call *c)
{
    size_t missing = call_n_missing(c);
    int r = call_convert_missing(c);
    if (r != 0 || !missing)
        return r;
    for (size_t i = 0; i < c->reply.n_items; i++)
        object_unref(c->reply.items[i]);
    c->reply.n_items = 0;
    c->reply.continue_ = STR_NONE;
    c->reply.remaining = -1;
    return verb_list(c);
}

int verb_list(struct api_call *c)
{
    struct list_plan p = {0};
    int r = plan(c, &p);
    if (r < 0)
        return r;
    if (by_index(c, &p))
        return 0;
    const struct schema_kind *k = storage_kind(c->kind);
    struct store_iter it;
    r = store_iter_init(&it, c->server->store, k, c->ns.n ? c->ns : STR_NONE, p.at, p.after_ns,
                        p.after_name);
    if (r == -ESPIPE)
        return expired(c, &p);
    if (r < 0)
        return call_error(c, error_reason_from_errno(r), "cannot list: %s", strerror(-r));
    size_t cap = 0, n = 0;
    struct object **items = NULL, *o;
    bool more = false;
    while ((o = store_iter_next(&it))) {
        if (!matches(c, &p, o))
            continue;
        if (p.limit && n == p.limit) {
            more = true;
            break;
        }
        ARRAY_RESERVE(items, n, cap);
        items[n++] = object_ref(call_in_hand(c, o));
    }
    c->reply.rev = p.at ? p.at : store_rev(c->server->store);
    if (more) {
        struct object *last = items[n - 1];
        c->reply.continue_ =
            continue_make(&c->arena, c->reply.rev, object_ns(last), object_name(last));
        if (label_selector_is_all(&p.labels) && p.fields.n_terms == 0)
            c->reply.remaining = 1 + (int64_t)store_iter_left(&it);
    }
    store_iter_fini(&it);
    c->reply.items = ARENA_NEW_N(&c->arena, struct object *, n);
    if (n)
        memcpy(c->reply.items, items, n * sizeof(*items));
    c->reply.n_items = n;
    free(items);
    return p.convert ? converted(c) : 0;
}
