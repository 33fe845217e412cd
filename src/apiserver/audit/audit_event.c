/* What the audit log is told of a request, on the I/O thread that serves it: audit.k8s.io/v1
 * Events. A request no rule speaks of costs the look through the rules. What a client sent is kept
 * as it was decoded, before admission changes it. */
#include "apiserver/aggregate/aggregate.h"
#include "apiserver/audit/audit.h"
#include "apiserver/auth/impersonate.h"

struct audit_record { /* in the call's arena */
    enum audit_level level;
    struct audit_omit omit;
    struct str id, request; /* JSON of what was sent; absent: nothing */
    struct api_user user;   /* before impersonation */
    usec_t received;
    bool is_over;
};

static struct audit *log_of(const struct exchange *x)
{
    return x->io->front->server->audit;
}

static struct str verb_of(struct exchange *x)
{
    if (x->route.kind || x->call->proxy)
        return str_z(api_call_verb_text(x->call));
    char *v = arena_alloc(&x->call->arena, x->req->method_name.n + 1);
    for (size_t i = 0; i < x->req->method_name.n; i++)
        v[i] = (char)(x->req->method_name.p[i] | 0x20);
    return (struct str){v, x->req->method_name.n};
}

static struct str ns_of(const struct exchange *x)
{
    return x->route.kind == KIND(NAMESPACE) ? x->route.name : x->route.ns;
}

/* ---- one event ---- */

static void add_str(struct buf *b, const char *key, struct str v)
{
    if (v.n) {
        buf_printf(b, ",\"%s\":", key);
        json_print_str(v, b);
    }
}

static void add_strs(struct buf *b, const char *key, const struct str *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_add_char(b, ',');
        else
            buf_printf(b, ",\"%s\":[", key);
        json_print_str(v[i], b);
    }
    if (n)
        buf_add_char(b, ']');
}

/* One member a key, with all its values. */
static void add_extra(struct buf *b, const struct api_user_extra *v, uint32_t n)
{
    bool any = false;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t first = 0;
        while (!str_eq(v[first].key, v[i].key))
            first++;
        if (first < i)
            continue;
        buf_add_str(b, any ? STR(",") : STR(",\"extra\":{"));
        any = true;
        json_print_str(v[i].key, b);
        for (uint32_t k = i; k < n; k++)
            if (str_eq(v[k].key, v[i].key)) {
                buf_add_str(b, k == i ? STR(":[") : STR(","));
                json_print_str(v[k].value, b);
            }
        buf_add_char(b, ']');
    }
    if (any)
        buf_add_char(b, '}');
}

static void add_user(struct buf *b, const struct exchange *x)
{
    const struct api_call *c = x->call;
    const struct audit_record *a = c->audit;
    const struct api_user *u = a->user.name.n ? &a->user : &c->user;
    buf_add_lit(b, ",\"user\":{\"username\":");
    json_print_str(u->name, b);
    add_str(b, "uid", u->uid);
    add_strs(b, "groups", u->groups, u->n_groups);
    add_extra(b, u->extra, u->n_extra);
    buf_add_char(b, '}');
    if (c->impersonation && c->impersonation->user.n) { /* as he asked to be, allowed or not */
        const struct impersonation *im = c->impersonation;
        buf_add_lit(b, ",\"impersonatedUser\":{\"username\":");
        json_print_str(im->user, b);
        add_str(b, "uid", im->uid);
        add_strs(b, "groups", im->groups, im->n_groups);
        add_extra(b, im->extra, im->n_extra);
        buf_add_char(b, '}');
    }
    struct str ip = x->req->peer_addr;
    ssize_t colon = str_rfind(ip, ':');
    if (colon > 0)
        ip.n = (size_t)colon;
    add_strs(b, "sourceIPs", &ip, ip.n > 0);
    add_str(b, "userAgent", http_request_header(x->req, STR("user-agent")));
}

static void add_object(struct buf *b, const struct exchange *x)
{
    const struct api_call *c = x->call;
    const struct schema_kind *k = x->route.kind;
    const struct api_proxy *p = c->proxy;
    if (p && p->resource.n) {
        buf_add_lit(b, ",\"objectRef\":{\"resource\":");
        json_print_str(p->resource, b);
        add_str(b, "namespace", x->route.ns);
        add_str(b, "name", x->route.name);
        add_str(b, "apiGroup", p->group);
        add_str(b, "apiVersion", p->version);
        add_str(b, "subresource", x->route.subresource);
        buf_add_char(b, '}');
    }
    if (!k)
        return;
    const struct api_object_meta *m = c->reply.object ? object_meta(c->reply.object) : NULL;
    buf_add_lit(b, ",\"objectRef\":{\"resource\":");
    json_print_str(str_z(k->plural), b);
    add_str(b, "namespace", ns_of(x));
    add_str(b, "name", x->in_core || !c->name.n ? x->route.name : c->name);
    add_str(b, "uid", m ? m->uid : STR_NONE);
    add_str(b, "apiGroup", str_z(k->group));
    add_str(b, "apiVersion", str_z(k->version));
    add_str(b, "resourceVersion", m ? m->resource_version : STR_NONE);
    add_str(b, "subresource", x->route.subresource);
    buf_add_char(b, '}');
}

static void add_status(struct buf *b, const struct exchange *x, int code)
{
    const struct api_reply *r = &x->call->reply;
    buf_add_lit(b, ",\"responseStatus\":{\"metadata\":{}");
    if (r->r < 0) {
        add_str(b, "status", STR("Failure"));
        add_str(b, "message", r->err.message);
        add_str(b, "reason", str_z(error_reason_text(r->err.reason)));
    }
    buf_printf(b, ",\"code\":%d}", code);
}

/* An object as the log is to see it. */
static void print_object(struct api_call *c, const struct schema_desc *desc, const void *msg,
                         struct buf *out)
{
    if (c->audit->omit.managed_fields && desc->flags & SCHEMA_DESC_OBJECT) {
        struct api_object_meta *bare = arena_alloc(&c->arena, desc->size);
        memcpy(bare, msg, desc->size);
        bare->managed_fields = NULL;
        bare->n_managed_fields = 0;
        msg = bare;
    }
    schema_encode_json(desc, msg, SCHEMA_ENCODE_TYPE_META, out);
}

static void add_answer(struct buf *b, struct exchange *x)
{
    struct api_call *c = x->call;
    struct buf text = {0};
    if (c->reply.r < 0) {
        schema_encode_json(&api_status_desc, api_call_status(c, &c->arena), SCHEMA_ENCODE_TYPE_META,
                           &text);
    } else if (c->reply.object && c->audit->omit.managed_fields) {
        print_object(c, c->reply.object->kind->desc, c->reply.object->msg, &text);
    } else if (c->reply.object) {
        struct blob *j = object_json_ref(c->reply.object);
        buf_add_str(&text, blob_str(j));
        blob_unref(j);
    } else if (c->reply.message) {
        print_object(c, c->reply.desc, c->reply.message, &text);
    }
    if (text.n)
        buf_printf(b, ",\"responseObject\":%.*s", (int)text.n, text.data);
    buf_fini(&text);
}

static void add_annotations(struct buf *b, const struct api_call *c)
{
    for (uint32_t i = 0; i < c->n_annotations; i++) {
        buf_add_str(b, i ? STR(",") : STR(",\"annotations\":{"));
        json_print_str(c->annotations[i].key, b);
        buf_add_char(b, ':');
        json_print_str(c->annotations[i].value, b);
    }
    if (c->n_annotations)
        buf_add_char(b, '}');
}

static void add_time(struct buf *b, const char *key, usec_t t)
{
    char text[TIMESTAMP_TEXT_MAX];
    timestamp_format(timestamp_of(t), true, text);
    buf_printf(b, ",\"%s\":\"%s\"", key, text);
}

static void tell(struct exchange *x, enum audit_stage stage, int code)
{
    struct api_call *c = x->call;
    const struct audit_record *a = c->audit;
    struct buf b = {0};
    if (a->omit.stages & stage)
        return;
    buf_printf(&b,
               "{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"%s\","
               "\"auditID\":\"%.*s\",\"stage\":\"%s\",\"requestURI\":",
               audit_level_text(a->level), STR_ARG(a->id), audit_stage_text(stage));
    json_print_str(x->req->query.n ? arena_printf(&c->arena, "%.*s?%.*s", STR_ARG(x->req->path),
                                                  STR_ARG(x->req->query))
                                   : x->req->path,
                   &b);
    add_str(&b, "verb", verb_of(x));
    add_user(&b, x);
    add_object(&b, x);
    if (stage != AUDIT_STAGE_RECEIVED)
        add_status(&b, x, code);
    if (a->level >= AUDIT_REQUEST && a->request.n)
        buf_printf(&b, ",\"requestObject\":%.*s", STR_ARG(a->request));
    if (a->level >= AUDIT_REQUEST_RESPONSE && stage == AUDIT_STAGE_COMPLETE)
        add_answer(&b, x);
    add_time(&b, "requestReceivedTimestamp", a->received);
    add_time(&b, "stageTimestamp", rt_wall(x->io->rt));
    add_annotations(&b, c);
    buf_add_char(&b, '}');
    audit_tell(log_of(x), &b);
}

/* ---- stages ---- */

void audit_begin(struct exchange *x)
{
    struct api_call *c = x->call;
    const struct schema_kind *k = x->route.kind;
    if (!log_of(x))
        return;
    c->verb = x->route.verb; /* for its text */
    c->authz_verb = x->route.authz_verb;
    struct audit_request q = {.user = c->user.name,
                              .groups = c->user.groups,
                              .n_groups = c->user.n_groups,
                              .verb = verb_of(x),
                              .is_resource = k != NULL,
                              .path = x->req->path};
    if (k) {
        q.ns = ns_of(x);
        q.group = str_z(k->group);
        q.resource = str_z(k->plural);
        q.subresource = x->route.subresource;
        q.name = x->route.name;
    } else if (c->proxy && c->proxy->resource.n) {
        q.is_resource = true;
        q.ns = x->route.ns;
        q.group = c->proxy->group;
        q.resource = c->proxy->resource;
        q.subresource = x->route.subresource;
        q.name = x->route.name;
    }
    struct audit_omit omit = {0};
    enum audit_level level = audit_policy_match(audit_policy_of(log_of(x)), &q, &omit);
    if (level == AUDIT_NONE)
        return;
    struct audit_record *a = c->audit = ARENA_NEW(&c->arena, struct audit_record);
    a->level = level;
    a->omit = omit;
    a->user = c->user;
    a->received = rt_wall(x->io->rt);
    a->id = c->id;
    tell(x, AUDIT_STAGE_RECEIVED, 0);
}

void audit_body(struct exchange *x)
{
    struct api_call *c = x->call;
    struct audit_record *a = c->audit;
    struct buf b = {0};
    if (!a || a->level < AUDIT_REQUEST)
        return;
    if (c->patch.n) {
        struct json *v; /* a patch may be YAML or text on many lines */
        if (json_parse(c->patch, &c->arena, NULL, &v, NULL) >= 0)
            json_print(v, &b);
    } else if (c->body) {
        print_object(c, c->body_desc, c->body, &b);
    }
    a->request = arena_str(&c->arena, buf_str(&b));
    buf_fini(&b);
}

void audit_started(struct exchange *x)
{
    if (x->call && x->call->audit)
        tell(x, AUDIT_STAGE_STARTED, 200);
}

void audit_end(struct exchange *x, int code)
{
    if (!x->call || !x->call->audit || x->call->audit->is_over)
        return;
    x->call->audit->is_over = true;
    tell(x, AUDIT_STAGE_COMPLETE, code);
}
