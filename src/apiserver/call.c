/* A call's life in the core half: authorization, the verb table, and the one place where it is
 * answered.
 *
 * Verbs run to their end inside api_call_start except for the durable write: store_put answers
 * later, and the call waits for it in server->calls. So nothing a verb looked at can change under
 * it, and there are no retries: two updates in one turn see each other through the store's pending
 * state. A verb that must ask webhooks runs once more from its beginning when they have answered
 * (hooks.h). */
#include "api/kv.h"
#include "apiserver/aggregate/aggregate.h"
#include "apiserver/custom/call_convert.h"
#include "apiserver/custom/call_view.h"
#include "apiserver/call_trace.h"
#include "apiserver/custom/crds.h"
#include "apiserver/hooks/hooks.h"
#include "apiserver/policy/policy.h"
#include "apiserver/admit/quota.h"
#include "apiserver/subresource.h"
#include "apiserver/usage.h"
#include "schema/custom.h"

#include <stdarg.h>

static const char *const verb_texts[_API_VERB_MAX] = {
    [API_GET] = "get",       [API_LIST] = "list",
    [API_WATCH] = "watch",   [API_CREATE] = "create",
    [API_UPDATE] = "update", [API_PATCH] = "patch",
    [API_DELETE] = "delete", [API_DELETE_COLLECTION] = "deletecollection",
    [API_CONNECT] = "get",   [API_PROXY] = "get",
    [API_PATH] = "get",
};

struct api_call *api_call_new(struct apiserver *s)
{
    struct api_call *c = NEW(struct api_call);
    c->server = s;
    c->reply.remaining = -1;
    list_init(&c->link);
    return c;
}

struct api_call *api_call_free(struct api_call *c)
{
    if (!c)
        return NULL;
    object_unref(c->reply.object);
    for (size_t i = 0; i < c->reply.n_items; i++)
        object_unref(c->reply.items[i]);
    call_convert_free(c);
    hook_state_free(c->hooks);
    call_came_free(c);
    error_fini(&c->reply.err);
    arena_fini(&c->arena);
    free(c);
    return NULL;
}

const char *api_verb_text(enum api_verb v)
{
    return verb_texts[v];
}

const char *api_call_verb_text(const struct api_call *c)
{
    return c->authz_verb ? c->authz_verb : verb_texts[c->verb];
}

void api_call_warn(struct api_call *c, const char *fmt, ...)
{
    CLEANUP(freep) char *text = NULL;
    va_list ap;
    if (c->reply.n_warnings >= 64) /* a response's headers are bounded */
        return;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    if (n == 0)
        return;
    if (n > API_WARNING_BYTES_MAX)
        text[API_WARNING_BYTES_MAX] = '\0';
    for (unsigned i = 0; i < c->reply.n_warnings; i++)
        if (str_eqz(c->reply.warnings[i], text)) /* once, whoever else says it too */
            return;
    struct str *more = ARENA_NEW_N(&c->arena, struct str, c->reply.n_warnings + 1);
    if (c->reply.n_warnings)
        memcpy(more, c->reply.warnings, sizeof(*more) * c->reply.n_warnings);
    more[c->reply.n_warnings++] = arena_strz(&c->arena, text);
    c->reply.warnings = more;
}

void api_call_annotate(struct api_call *c, const char *key, const char *fmt, ...)
{
    va_list ap;
    if (!c->audit)
        return;
    va_start(ap, fmt);
    struct str text = arena_vprintf(&c->arena, fmt, ap);
    va_end(ap);
    kv_str_set(&c->arena, &c->annotations, &c->n_annotations, str_z(key), text);
}

/* ---- names and errors ---- */

const char *kind_resource(const struct schema_kind *k, char *out, size_t n)
{
    snprintf(out, n, "%s%s%s", k->plural, k->group[0] ? "." : "", k->group);
    return out;
}

const char *kind_qualified(const struct schema_kind *k, char *out, size_t n)
{
    snprintf(out, n, "%s%s%s", k->kind, k->group[0] ? "." : "", k->group);
    return out;
}

int call_not_found(struct api_call *c, const struct schema_kind *k, struct str name)
{
    char res[256];
    if (k != c->kind) {
        c->reply.details_kind = str_z(k->plural);
        c->reply.details_group = str_z(k->group);
    }
    c->reply.details_name = arena_str(&c->arena, name);
    return error_set(&c->reply.err, REASON_NOT_FOUND, "%s \"%.*s\" not found",
                     kind_resource(k, res, sizeof(res)), STR_ARG(name));
}

int call_already_exists(struct api_call *c, struct str name)
{
    char res[256];
    c->reply.details_name = arena_str(&c->arena, name);
    return error_set(&c->reply.err, REASON_ALREADY_EXISTS, "%s \"%.*s\" already exists",
                     kind_resource(c->kind, res, sizeof(res)), STR_ARG(name));
}

static int error_va(struct api_call *c, enum error_reason reason, const char *prefix,
                    const char *fmt, va_list ap)
{
    struct str text = arena_vprintf(&c->arena, fmt, ap);
    return error_set(&c->reply.err, reason, "%s%.*s", prefix, STR_ARG(text));
}

int call_conflict(struct api_call *c, struct str name, const char *fmt, ...)
{
    char res[256], prefix[600];
    c->reply.details_name = arena_str(&c->arena, name);
    snprintf(prefix, sizeof(prefix), "Operation cannot be fulfilled on %s \"%.*s\": ",
             kind_resource(c->kind, res, sizeof(res)), STR_ARG(name));
    va_list ap;
    va_start(ap, fmt);
    int r = error_va(c, REASON_CONFLICT, prefix, fmt, ap);
    va_end(ap);
    return r;
}

int call_forbidden(struct api_call *c, struct str name, const char *fmt, ...)
{
    char res[256], prefix[600];
    kind_resource(c->kind, res, sizeof(res));
    c->reply.details_name = arena_str(&c->arena, name);
    if (name.n)
        snprintf(prefix, sizeof(prefix), "%s \"%.*s\" is forbidden: ", res, STR_ARG(name));
    else
        snprintf(prefix, sizeof(prefix), "%s is forbidden: ", res);
    va_list ap;
    va_start(ap, fmt);
    int r = error_va(c, REASON_FORBIDDEN, prefix, fmt, ap);
    va_end(ap);
    return r;
}

int call_invalid(struct api_call *c, struct str name)
{
    char kind[256];
    const struct schema_kind *k = c->kind;
    if (!c->reply.err.causes)
        return 0;
    c->reply.details_kind =
        str_z(k->kind); /* the one error whose details name the kind, not the resource */
    c->reply.details_name = arena_str(&c->arena, name);
    return error_invalid(&c->reply.err, str_z(kind_qualified(k, kind, sizeof(kind))), name);
}

int call_options_invalid(struct api_call *c, const char *kind)
{
    c->reply.details_kind = str_z(kind);
    c->reply.details_group = STR("meta.k8s.io");
    c->reply.details_name = STR("");
    return error_invalid(&c->reply.err, arena_printf(&c->arena, "%s.meta.k8s.io", kind), STR(""));
}

int call_error(struct api_call *c, enum error_reason reason, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = error_va(c, reason, "", fmt, ap);
    va_end(ap);
    return r;
}

static struct api_status_details *status_causes(const struct error *e, struct arena *a)
{
    struct api_status_details *d = ARENA_NEW(a, struct api_status_details);
    d->retry_after_seconds = e->retry_after_s;
    if (!e->n_causes)
        return d;
    d->causes = ARENA_NEW_N(a, struct api_status_cause, e->n_causes);
    for (const struct error_cause *x = e->causes; x && d->n_causes < e->n_causes; x = x->next)
        d->causes[d->n_causes++] = (struct api_status_cause){
            .reason = x->reason, .message = x->message, .field = x->field};
    return d;
}

struct api_status *api_error_status(const struct error *e, struct arena *a)
{
    struct api_status *st = ARENA_NEW(a, struct api_status);
    st->status = STR("Failure");
    st->message = e->message;
    st->reason = str_z(error_reason_text(e->reason));
    st->code = error_reason_http_code(e->reason);
    if (e->n_causes || e->retry_after_s)
        st->details = status_causes(e, a);
    return st;
}

/* What an error is about is told by those that are about an object or a kind. */
static bool names_object(enum error_reason r)
{
    return r == REASON_NOT_FOUND || r == REASON_ALREADY_EXISTS || r == REASON_CONFLICT ||
           r == REASON_FORBIDDEN || r == REASON_INVALID;
}

static void status_names(const struct api_call *c, struct api_status_details *d)
{
    const struct api_reply *rep = &c->reply;
    d->name = rep->details_name.p ? rep->details_name : c->name;
    if (c->kind) {
        d->group = rep->details_kind.p && rep->details_group.p ? rep->details_group
                                                               : str_z(c->kind->group);
        d->kind = rep->details_kind.p ? rep->details_kind : str_z(c->kind->plural);
    } else if (rep->details_kind.p) { /* of a kind that is not ours */
        d->group = rep->details_group;
        d->kind = rep->details_kind;
    }
}

struct api_status *api_call_status(const struct api_call *c, struct arena *a)
{
    const struct api_reply *rep = &c->reply;
    struct api_status *st = ARENA_NEW(a, struct api_status);
    const struct error *e = &rep->err;
    struct api_status_details *d = status_causes(e, a);
    if (rep->r < 0 && rep->status) {
        *st = *rep->status;
        return st;
    }
    if (rep->r >= 0) {
        st->status = STR("Success");
        st->details = d;
        st->code = 0;
    } else {
        st->status = STR("Failure");
        st->message = e->message.p ? e->message : STR("the request failed");
        st->reason = str_z(error_reason_text(e->reason));
        st->code = error_reason_http_code(e->reason);
        st->metadata.continue_ = rep->continue_; /* a list that expired: how to go on */
    }
    if (rep->r >= 0 || names_object(e->reason))
        status_names(c, d);
    d->uid = rep->details_uid;
    /* Some always have details, if empty ones: kubectl looks into those of not found unasked. */
    if (d->name.n || d->kind.n || d->n_causes || d->retry_after_seconds ||
        (rep->r < 0 && (names_object(e->reason) || e->reason == REASON_METHOD_NOT_ALLOWED)))
        st->details = d;
    return st;
}

/* ---- writing ---- */

struct object *call_peek(struct api_call *c)
{
    struct object *o = store_peek(c->server->store, storage_kind(c->kind), c->ns, c->name);
    return o ? call_in_hand(c, o) : NULL;
}

/* Words for what the store refused. */
static int write_refused(struct api_call *c, int r, struct str name, struct error *err)
{
    if (r == -EEXIST)
        return call_already_exists(c, name);
    if (r == -ENOENT)
        return call_not_found(c, c->kind, name);
    if (r == -ESTALE)
        return call_conflict(
            c, name,
            "the object has been modified; please apply your changes to the latest version and "
            "try again");
    error_clear(&c->reply.err);
    if (err && err->message.p)
        error_copy(&c->reply.err, err);
    else
        (void)error_set(&c->reply.err, error_reason_from_errno(r),
                        "the store refused the write: %s", strerror(-r));
    if (r == -EBUSY && !c->reply.err.retry_after_s)
        c->reply.err.retry_after_s = API_RETRY_AFTER_S;
    return r;
}

static void on_written(void *arg, int r, struct object *obj, const struct error *err)
{
    struct api_call *c = arg;
    if (r < 0) {
        struct error copy = {0};
        if (err)
            error_copy(&copy, err);
        c->reply.r = write_refused(c, r, c->name, &copy);
        error_fini(&copy);
        if (c->kind == KIND(SERVICE) && c->body && c->reply.code == 201)
            alloc_rollback(c, c->body, NULL);
    } else {
        c->reply.object = object_ref(obj);
        c->reply.rev = obj->rev;
        call_trace(c, "durable at revision %llu, uid %.*s", (unsigned long long)obj->rev,
                   STR_ARG(object_meta(obj)->uid));
    }
    call_finish(c);
}

/* Objects of custom kinds say in which version they are. What is written in place, by a part of the
 * server that knows no versions, stays in its own. */
static const struct schema_kind *written_as(struct api_call *c, const struct api_object_meta *m)
{
    if (custom_is_served(c->kind))
        return call_storage(c);
    const struct schema_kind *k = storage_kind(c->kind);
    const struct object *old =
        k->custom ? store_peek(c->server->store, k, m->namespace, m->name) : NULL;
    return old ? old->kind : k;
}

int call_put(struct api_call *c, const void *msg, rev_t expected)
{
    const struct schema_kind *k = written_as(c, msg);
    int r;
    if (c->opts.dry_run && custom_is_served(c->kind))
        k = c->kind->custom->variant;
    else if (call_convert_put(c, msg, expected, &r))
        return r;
    return call_put_as(c, k, schema_to_storage(c->kind, msg, &c->arena), expected);
}

int call_put_as(struct api_call *c, const struct schema_kind *k, const void *stored, rev_t expected)
{
    const struct api_object_meta *m = stored;
    c->reply.code = expected == STORE_ABSENT ? 201 : 200;
    call_trace(c, "admitted, goes to the store%s", c->opts.dry_run ? " (not: a dry run)" : "");
    if (c->opts.dry_run) {
        struct object *old = store_peek(c->server->store, storage_kind(k), m->namespace, m->name);
        if (old && expected == STORE_ABSENT)
            return call_already_exists(c, m->name);
        c->reply.object = object_new(k, stored, old ? old->rev : 0);
        return 0;
    }
    struct error err = {0};
    int r = store_put(c->server->store, k, stored, expected, on_written, c, &err);
    if (r < 0)
        r = write_refused(c, r, m->name, &err);
    error_fini(&err);
    return r < 0 ? r : 1;
}

static void on_removed(void *arg, int r, struct object *obj, const struct error *err)
{
    struct api_call *c = arg;
    if (r >= 0 && c->reply.success_status) {
        c->reply.details_uid = arena_str(&c->arena, object_meta(obj)->uid);
        call_finish(c);
        return;
    }
    on_written(c, r, obj, err);
}

int call_remove(struct api_call *c, struct object *old, rev_t expected, bool answer_status)
{
    c->reply.code = 200;
    c->reply.success_status = answer_status;
    if (c->opts.dry_run) {
        c->reply.details_uid = arena_str(&c->arena, object_meta(old)->uid);
        if (!answer_status)
            c->reply.object = object_ref(old);
        return 0;
    }
    struct error err = {0};
    int r = store_delete(c->server->store, old->kind, object_ns(old), object_name(old), expected,
                         on_removed, c, &err);
    if (r < 0)
        r = write_refused(c, r, object_name(old), &err);
    error_fini(&err);
    return r < 0 ? r : 1;
}

int call_message(struct api_call *c, const struct schema_desc *desc, const void *msg, int code)
{
    c->reply.desc = desc;
    c->reply.message = msg;
    c->reply.code = code;
    return 0;
}

/* ---- dispatch ---- */

void call_finish(struct api_call *c)
{
    if (call_convert_after(c))
        return;
    if (c->reply.r < 0 && c->reply.err.reason == REASON_NONE)
        (void)error_set(&c->reply.err, error_reason_from_errno(c->reply.r), "%s",
                        strerror(-c->reply.r));
    if (c->reply.r >= 0 && !c->reply.code)
        c->reply.code = 200;
    if (c->reply.r >= 0 && c->answer_scale && c->reply.object) {
        (void)call_message(c, &api_scale_desc, scale_of(c, c->reply.object), c->reply.code);
        c->reply.object = object_unref(c->reply.object);
    }
    call_trace(c, "answered %d %.*s after %lld us",
               c->reply.r < 0 ? error_reason_http_code(c->reply.err.reason) : c->reply.code,
               STR_ARG(c->reply.r < 0 ? c->reply.err.message : STR_NONE),
               (long long)((rt_now(c->server->rt) - c->started) / 1000));
    call_convert_end(c);
    quota_release(c);
    list_remove(&c->link);
    c->server->calls_total[c->verb]++;
    c->done(c);
}

static int run_resource(struct api_call *c)
{
    switch (c->verb) {
    case API_GET:
        return usage_is(c->kind) ? usage_get(c) : verb_get(c);
    case API_LIST:
        return usage_is(c->kind) ? usage_list(c) : verb_list(c);
    case API_CREATE:
        if (c->subresource.n)
            return subresource_run(c);
        return review_is(c->kind) ? review_run(c) : verb_create(c);
    case API_UPDATE:
        return subresource_is_special(c) ? subresource_run(c) : verb_update(c);
    case API_PATCH:
        return verb_patch(c);
    case API_DELETE:
        return verb_delete(c);
    case API_DELETE_COLLECTION:
        return verb_deletecollection(c);
    case API_CONNECT:
        return verb_connect(c);
    case API_PROXY:
        return verb_proxy(c);
    case API_WATCH: /* whoever asked starts the watch itself, in done */
    case API_PATH:
    case _API_VERB_MAX:
        break;
    }
    return 0;
}

static uint8_t verb_bit(enum api_verb v)
{
    static const uint8_t bits[_API_VERB_MAX] = {
        [API_GET] = SCHEMA_VERB_GET,       [API_LIST] = SCHEMA_VERB_LIST,
        [API_WATCH] = SCHEMA_VERB_WATCH,   [API_CREATE] = SCHEMA_VERB_CREATE,
        [API_UPDATE] = SCHEMA_VERB_UPDATE, [API_PATCH] = SCHEMA_VERB_PATCH,
        [API_DELETE] = SCHEMA_VERB_DELETE, [API_DELETE_COLLECTION] = SCHEMA_VERB_DELETECOLLECTION,
    };
    return bits[v];
}

static int check_verb(struct api_call *c)
{
    if (c->verb == API_CONNECT || c->verb == API_PROXY || c->verb == API_PATH)
        return 0;
    uint8_t have = c->kind->verbs;
    if (c->subresource.n) {
        c->sub = schema_subresource_find(c->kind, c->subresource);
        if (!c->sub)
            return call_error(c, REASON_NOT_FOUND,
                              "the server could not find the requested resource");
        have = c->sub->verbs;
    }
    if (!(have & verb_bit(c->verb)))
        return call_error(c, REASON_METHOD_NOT_ALLOWED,
                          "the server does not allow this method on the requested resource");
    return 0;
}

/* No object can have a name like that. */
static int check_name(struct api_call *c)
{
    const char *why = str_is(c->name, ".")          ? "may not be '.'"
                      : str_is(c->name, "..")       ? "may not be '..'"
                      : str_find(c->name, '/') >= 0 ? "may not contain '/'"
                      : str_find(c->name, '%') >= 0 ? "may not contain '%'"
                                                    : NULL;
    if (!why || !c->kind || c->verb == API_CREATE)
        return 0;
    return call_error(c, REASON_BAD_REQUEST, "Name parameter invalid: \"%.*s\": %s",
                      STR_ARG(c->name), why);
}

static int run(struct api_call *c)
{
    int r = check_name(c);
    if (r >= 0)
        r = crds_check_call(c);
    if (r >= 0 && c->kind && c->verb != API_GET && c->verb != API_LIST && c->verb != API_WATCH &&
        policies_convert(c->server->policies))
        call_keep(c);
    if (r >= 0)
        r = call_convert_before(c);
    return r == 0 ? run_resource(c) : r;
}

static void restore(struct api_call *c)
{
    call_restore(c);
    if (c->hooks)
        hooks_warn(c);
}

static void on_views(struct api_call *c)
{
    restore(c);
    call_run_again(c);
}

int call_run(struct api_call *c)
{
    int r = run(c);
    while (r > 0 && call_views_wanted(c)) { /* for policies; what webhooks wait for is under way */
        call_copy_user(c, &c->user); /* an in-process client may be freed meanwhile */
        if (call_views_ask(c, on_views) > 0)
            return 1;
        restore(c);
        r = run(c);
    }
    return r;
}

void call_copy_user(struct api_call *c, const struct api_user *u)
{
    struct arena *a = &c->arena;
    struct api_user now = *u;
    now.name = arena_str(a, u->name);
    now.uid = arena_str(a, u->uid);
    now.groups = ARENA_NEW_N(a, struct str, u->n_groups + 1);
    now.extra = ARENA_NEW_N(a, struct api_user_extra, u->n_extra + 1);
    for (uint32_t i = 0; i < u->n_groups; i++)
        now.groups[i] = arena_str(a, u->groups[i]);
    for (uint32_t i = 0; i < u->n_extra; i++)
        now.extra[i] =
            (struct api_user_extra){arena_str(a, u->extra[i].key), arena_str(a, u->extra[i].value)};
    now.token = NULL; /* it was looked at when the call was authorized */
    now.bootstrap = NULL;
    c->user = now;
}

void call_run_again(struct api_call *c)
{
    int r = call_run(c);
    if (r > 0)
        return;
    c->reply.r = r;
    call_finish(c);
}

void api_call_start(struct api_call *c)
{
    struct apiserver *s = c->server;
    ASSERT(c->done && (c->kind || c->verb == API_PATH || c->proxy));
    list_push_back(&s->calls, &c->link);
    c->started = rt_now(s->rt);
    int r;
    if (s->stopping && !c->user.trusted)
        r = call_error(c, REASON_UNAVAILABLE, "the server is shutting down");
    else if ((r = c->authorized ? 0 : authz_call(c)) >= 0 && (r = check_verb(c)) >= 0) {
        call_trace(c, "authorized");
        if (c->kind && c->kind->warning && !c->user.trusted)
            api_call_warn(c, "%s", c->kind->warning);
        if (hooks_about(s->hooks, c))
            hooks_begin(c);
        r = call_run(c);
    }
    if (r > 0)
        return;
    c->reply.r = r;
    call_finish(c);
}
