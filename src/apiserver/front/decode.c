/* What the client sent, on the I/O thread: query options, and the body as a message in the call's
 * arena. */
#include "apiserver/front/front_int.h"

#include "codec/yaml.h"
#include "schema/custom.h"
#include "schema/schema.h"

#include <stdarg.h>
#include <stdio.h>

#define MANAGER_BYTES_MAX 128 /* as a Kubernetes server */

static bool is_change(enum api_verb v)
{
    return v == API_CREATE || v == API_UPDATE || v == API_PATCH;
}

/* In the words of the library that reads numbers there. */
static int number(struct exchange *x, struct str v, int64_t *ret)
{
    int r = str_to_i64(v, ret);
    if (r < 0)
        return call_error(x->call, REASON_BAD_REQUEST, "strconv.ParseInt: parsing \"%.*s\": %s",
                          (int)MIN(v.n, (size_t)200), v.p ? v.p : "",
                          r == -ERANGE ? "value out of range" : "invalid syntax");
    return 0;
}

static const char *options_kind(enum api_verb v)
{
    return v == API_CREATE   ? "CreateOptions"
           : v == API_UPDATE ? "UpdateOptions"
           : v == API_PATCH  ? "PatchOptions"
                             : "DeleteOptions";
}

static int PRINTF(4, 5)
    option_invalid(struct exchange *x, const char *cause, const char *field, const char *fmt, ...)
{
    char text[400];
    const char *kind = options_kind(x->route.verb);
    struct api_call *c = x->call;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    (void)error_cause(&c->reply.err, cause, str_z(field), "%s", text);
    return call_options_invalid(c, kind);
}

static int field_validation(struct exchange *x, struct str v)
{
    if (str_is(v, "Ignore"))
        x->unknown = SCHEMA_UNKNOWN_IGNORE;
    else if (str_is(v, "Warn") || !v.n)
        x->unknown = SCHEMA_UNKNOWN_WARN;
    else if (str_is(v, "Strict"))
        x->unknown = SCHEMA_UNKNOWN_STRICT;
    else
        return option_invalid(x, CAUSE_NOT_SUPPORTED, "fieldValidation",
                              "Unsupported value: \"%.*s\": supported values: \"\", "
                              "\"Ignore\", \"Strict\", \"Warn\"",
                              (int)MIN(v.n, (size_t)200), v.p);
    return 0;
}

static int dry_run(struct exchange *x, struct str v)
{
    x->call->opts.dry_run = true;
    if (str_is(v, "All"))
        return 0;
    return option_invalid(x, CAUSE_NOT_SUPPORTED, "dryRun",
                          "Unsupported value: [\"%.*s\"]: supported values: \"All\"",
                          (int)MIN(v.n, (size_t)200), v.p ? v.p : "");
}

/* The part of the user agent that says which program it is. */
static void read_user_agent(struct exchange *x)
{
    struct str agent = http_request_header(x->req, STR("user-agent")), name;
    struct buf b = {0};
    (void)str_cut(&agent, '/', &name);
    for (size_t i = 0; i < name.n;) {
        size_t n = str_utf8_char(str_sub(name, i, name.n));
        if (n && b.n + n <= MANAGER_BYTES_MAX && (unsigned char)name.p[i] >= ' ' &&
            name.p[i] != 127)
            buf_add(&b, name.p + i, n);
        i += n ? n : 1;
    }
    x->call->user_agent = arena_str(&x->call->arena, buf_str(&b));
    buf_fini(&b);
}

/* Names of managers are shown to people: short, and nothing in them that does not print. */
static int check_manager(struct exchange *x)
{
    struct api_call *c = x->call;
    struct str name = c->opts.field_manager;
    if (!is_change(x->route.verb))
        return 0;
    if (!name.n) {
        read_user_agent(x);
        return 0;
    }
    if (name.n > MANAGER_BYTES_MAX)
        return option_invalid(x, CAUSE_TOO_LONG, "fieldManager",
                              "Too long: may not be more than %d bytes", MANAGER_BYTES_MAX);
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.p[i] < ' ' || name.p[i] == 127)
            return option_invalid(
                x, CAUSE_INVALID, "fieldManager",
                "Invalid value: \"%.*s\": invalid character U+%04X (at position %zu)",
                STR_ARG(name), (unsigned)(unsigned char)name.p[i], i);
    return 0;
}

static bool is_delete(enum api_verb v)
{
    return v == API_DELETE || v == API_DELETE_COLLECTION;
}

enum option {
    OPTION_NONE, /* not known: ignored, as Kubernetes does */
    OPTION_LABEL_SELECTOR,
    OPTION_FIELD_SELECTOR,
    OPTION_CONTINUE,
    OPTION_RESOURCE_VERSION,
    OPTION_RESOURCE_VERSION_MATCH,
    OPTION_LIMIT,
    OPTION_TIMEOUT,
    OPTION_BOOKMARKS,
    OPTION_INITIAL_EVENTS,
    OPTION_FIELD_MANAGER,
    OPTION_FORCE,
    OPTION_FIELD_VALIDATION,
    OPTION_DRY_RUN,
    OPTION_PRETTY,
    OPTION_INCLUDE_OBJECT,
    OPTION_GRACE,
    OPTION_PROPAGATION,
    OPTION_ORPHAN,
    _OPTION_MAX,
};

static const char *const option_names[_OPTION_MAX] = {
    [OPTION_LABEL_SELECTOR] = "labelSelector",
    [OPTION_FIELD_SELECTOR] = "fieldSelector",
    [OPTION_CONTINUE] = "continue",
    [OPTION_RESOURCE_VERSION] = "resourceVersion",
    [OPTION_RESOURCE_VERSION_MATCH] = "resourceVersionMatch",
    [OPTION_LIMIT] = "limit",
    [OPTION_TIMEOUT] = "timeoutSeconds",
    [OPTION_BOOKMARKS] = "allowWatchBookmarks",
    [OPTION_INITIAL_EVENTS] = "sendInitialEvents",
    [OPTION_FIELD_MANAGER] = "fieldManager",
    [OPTION_FORCE] = "force",
    [OPTION_FIELD_VALIDATION] = "fieldValidation",
    [OPTION_DRY_RUN] = "dryRun",
    [OPTION_PRETTY] = "pretty",
    [OPTION_INCLUDE_OBJECT] = "includeObject",
    [OPTION_GRACE] = "gracePeriodSeconds",
    [OPTION_PROPAGATION] = "propagationPolicy",
    [OPTION_ORPHAN] = "orphanDependents",
};

static enum option option_find(struct str k)
{
    for (unsigned i = OPTION_NONE + 1; i < _OPTION_MAX; i++)
        if (str_eqz(k, option_names[i]))
            return (enum option)i;
    return OPTION_NONE;
}

static int option(struct exchange *x, enum option which, struct str v)
{
    struct api_options *o = &x->call->opts;
    struct api_call *c = x->call;
    enum api_verb verb = x->route.verb;
    switch (which) {
    case OPTION_LABEL_SELECTOR:
        o->label_selector = v;
        break;
    case OPTION_FIELD_SELECTOR:
        o->field_selector = v;
        break;
    case OPTION_CONTINUE:
        o->continue_ = v;
        break;
    case OPTION_RESOURCE_VERSION:
        o->resource_version = v;
        break;
    case OPTION_RESOURCE_VERSION_MATCH:
        o->resource_version_match = v;
        break;
    case OPTION_LIMIT:
        return number(x, v, &o->limit);
    case OPTION_TIMEOUT:
        return number(x, v, &o->timeout_s);
    case OPTION_BOOKMARKS:
        o->watch_bookmarks = route_query_bool(v);
        break;
    case OPTION_INITIAL_EVENTS:
        o->has_send_initial_events = true;
        o->send_initial_events = route_query_bool(v);
        break;
    case OPTION_FIELD_MANAGER:
        o->field_manager = v;
        break;
    case OPTION_FORCE:
        o->force = route_query_bool(v);
        o->has_force = true;
        break;
    case OPTION_FIELD_VALIDATION:
        return is_change(verb) ? field_validation(x, v) : 0;
    case OPTION_DRY_RUN:
        return is_change(verb) || is_delete(verb) ? dry_run(x, v) : 0;
    case OPTION_PRETTY:
        x->pretty = v.n ? route_query_bool(v) : x->accept.pretty;
        break;
    case OPTION_INCLUDE_OBJECT:
        x->accept_object = str_is(v, "None") ? 'N' : str_is(v, "Object") ? 'O' : 'M';
        break;
    case OPTION_GRACE:
        c->del.has_grace = true;
        return number(x, v, &c->del.grace_s);
    case OPTION_PROPAGATION:
        c->del.propagation = v;
        break;
    case OPTION_ORPHAN:
        c->del.has_orphan = true;
        c->del.orphan = route_query_bool(v);
        break;
    case OPTION_NONE:
    case _OPTION_MAX:
        break;
    }
    return 0;
}

int decode_options(struct exchange *x)
{
    struct str q = x->req->query, k, v;
    unsigned seen = 0; /* of what is there twice the first counts */
    static_assert(_OPTION_MAX <= 32, "a bit for each option");
    x->unknown = SCHEMA_UNKNOWN_WARN;
    x->accept_object = 'M';
    x->pretty = x->accept.pretty;
    while (http_query_next(&q, &x->call->arena, &k, &v)) {
        enum option which = option_find(k);
        if (which != OPTION_DRY_RUN && seen & 1u << which)
            continue;
        seen |= 1u << which;
        int r = option(x, which, v);
        if (r < 0)
            return r;
    }
    x->call->unknown = x->unknown;
    return check_manager(x);
}

/* ---- body ---- */

static int apply_patch(struct api_call *c)
{
    c->patch_type = CLIENT_PATCH_APPLY;
    return apply_parse(c->patch, &c->arena, &c->patch_tree, &c->reply.err);
}

static int patch_type(struct exchange *x, struct str content_type)
{
    struct str type, rest = content_type;
    str_cut(&rest, ';', &type);
    type = str_trim(type);
    if (str_ieq(type, STR("application/json-patch+json")))
        x->call->patch_type = CLIENT_PATCH_JSON;
    else if (str_ieq(type, STR("application/merge-patch+json")))
        x->call->patch_type = CLIENT_PATCH_MERGE;
    else if (str_ieq(type, STR("application/strategic-merge-patch+json")))
        x->call->patch_type = CLIENT_PATCH_STRATEGIC;
    else if (str_ieq(type, STR("application/apply-patch+yaml")))
        return apply_patch(x->call);
    else
        return call_error(
            x->call, REASON_UNSUPPORTED_MEDIA_TYPE,
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json-patch+json, application/merge-patch+json, "
            "application/strategic-merge-patch+json, application/apply-patch+yaml");
    if (x->call->opts.has_force)
        return option_invalid(x, CAUSE_FORBIDDEN, "force",
                              "Forbidden: may not be specified for non-apply patch");
    return 0;
}

static const struct schema_desc *expected(const struct exchange *x)
{
    const struct route *r = &x->route;
    if (r->verb == API_DELETE || r->verb == API_DELETE_COLLECTION)
        return &api_delete_options_desc;
    if (r->subresource.n)
        return schema_subresource_find(r->kind, r->subresource)->desc;
    return r->kind->desc;
}

/* kind and apiVersion, where given, must be what the path says. */
static int check_type(struct exchange *x, const struct schema_desc *d, struct str api_version,
                      struct str kind)
{
    if (d == &api_delete_options_desc) { /* comes under many group versions */
        if (kind.n && !str_is(kind, "DeleteOptions"))
            return call_error(x->call, REASON_BAD_REQUEST,
                              "%.*s cannot be handled as a DeleteOptions", STR_ARG(kind));
        return 0;
    }
    if (d == &api_eviction_desc && str_is(api_version, "policy/v1beta1"))
        api_version = STR("policy/v1");
    if (kind.n && !str_eqz(kind, d->name))
        return call_error(x->call, REASON_BAD_REQUEST,
                          "%.*s in version \"%.*s\" cannot be handled as a %s: converting (%.*s) "
                          "to (%s): unknown conversion",
                          STR_ARG(kind), STR_ARG(api_version), d->name, STR_ARG(kind), d->name);
    if (api_version.n && !str_eqz(api_version, d->api_version))
        return call_error(
            x->call, REASON_BAD_REQUEST,
            "the API version in the data (%.*s) does not match the expected API version (%s)",
            STR_ARG(api_version), d->api_version);
    return 0;
}

static int from_tree(struct exchange *x, const struct schema_desc *d, struct json *v)
{
    struct api_call *c = x->call;
    struct schema_decode opts = {.unknown = x->unknown};
    struct str api_version, kind;
    if (!json_is(v, JSON_OBJ))
        return call_error(c, REASON_BAD_REQUEST,
                          "the body of the request must be an object of kind %s", d->name);
    schema_type_meta(v, &api_version, &kind);
    int r = check_type(x, d, api_version, kind);
    if (r >= 0 && !kind.n && x->route.kind->custom && d == x->route.kind->desc) {
        /* what such an object is it says itself, others are known by their path */
        struct buf b = {0};
        json_print(v, &b);
        r = call_error(
            c, REASON_BAD_REQUEST,
            "%s in version \"%s\" cannot be handled as a %s: Object 'Kind' is missing in "
            "'%.*s'",
            d->name, x->route.kind->version, d->name, (int)MIN(b.n, (size_t)1024), b.data);
        buf_fini(&b);
    }
    if (r >= 0) {
        if (d == x->route.kind->desc)
            r = custom_take(x->route.kind, v, &c->arena, &opts, &c->reply.err);
    }
    if (r >= 0) {
        r = schema_decode_json(d, v, &c->arena, &opts, c->body, &c->reply.err);
        if (r < 0)
            error_prefix(&c->reply.err, "%s in version \"%s\" cannot be handled as a %s", d->name,
                         d->version, d->name);
    }
    for (unsigned i = 0; r >= 0 && i < MIN(opts.n_warnings, (unsigned)SCHEMA_WARNINGS_MAX); i++)
        api_call_warn(c, "%.*s", STR_ARG(opts.warnings[i]));
    return r;
}

static int from_pb(struct exchange *x, const struct schema_desc *d, struct str body)
{
    struct api_call *c = x->call;
    struct schema_envelope e;
    int r = schema_decode_pb_envelope(body, &e, &c->reply.err);
    if (r >= 0)
        r = check_type(x, d, e.api_version, e.kind);
    if (r >= 0) /* decoded strings borrow from it, and the request's buffer goes first */
        r = schema_decode_pb(d, arena_str(&c->arena, e.raw), &c->arena, c->body, &c->reply.err);
    return r;
}

static int delete_options(struct exchange *x)
{
    const struct api_delete_options *d = x->call->body;
    struct api_call *c = x->call;
    if (d->has_grace_period_seconds) {
        c->del.has_grace = true;
        c->del.grace_s = d->grace_period_seconds;
    }
    if (d->has_orphan_dependents) {
        c->del.has_orphan = true;
        c->del.orphan = d->orphan_dependents;
    }
    if (d->propagation_policy.n)
        c->del.propagation = d->propagation_policy;
    if (d->preconditions) {
        c->del.uid = d->preconditions->uid;
        c->del.rv = d->preconditions->resource_version;
    }
    for (uint32_t i = 0; i < d->n_dry_run; i++) {
        int r = dry_run(x, d->dry_run[i]);
        if (r < 0)
            return r;
    }
    c->body = NULL;
    c->body_desc = NULL;
    return 0;
}

int decode_body(struct exchange *x, struct str body)
{
    struct api_call *c = x->call;
    struct str type = http_request_header(x->req, STR("content-type"));
    const struct schema_desc *d;
    struct json *v;
    enum media media;
    if (x->route.verb == API_PATCH) {
        c->patch = arena_str(&c->arena, body);
        return patch_type(x, type);
    }
    d = expected(x);
    if (!body.n && x->route.optional_body)
        return 0;
    if (content_type_parse(type, &media) < 0)
        return call_error(
            c, REASON_UNSUPPORTED_MEDIA_TYPE,
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json, application/yaml, application/vnd.kubernetes.protobuf");
    if (media == MEDIA_PB && d == x->route.kind->desc && x->route.kind->custom)
        return call_error(
            c, REASON_UNSUPPORTED_MEDIA_TYPE,
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json, application/yaml");
    c->body = schema_new(d, &c->arena);
    c->body_desc = d;
    int r;
    if (media == MEDIA_PB && schema_is_pb_envelope(body)) {
        r = from_pb(x, d, body);
    } else if (media == MEDIA_PB) {
        return call_error(c, REASON_BAD_REQUEST,
                          "the body is not a protobuf message of a Kubernetes client");
    } else {
        r = media == MEDIA_YAML ? yaml_parse(body, &c->arena, &v, &c->reply.err)
                                : json_parse(body, &c->arena, NULL, &v, &c->reply.err);
        if (r < 0)
            error_prefix(&c->reply.err, "error decoding the body");
        else
            r = from_tree(x, d, v);
    }
    if (r >= 0 && d == &api_delete_options_desc)
        r = delete_options(x);
    return r;
}
