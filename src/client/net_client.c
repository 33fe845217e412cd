/* Turns a client_request into one HTTP request and its answer into a client_reply. Every call owns
 * an arena for what the answer is decoded into; objects are compacted into blocks of their own
 * before anybody sees them, so they can outlive the call. */
#include "client/net_int.h"

#include "base/mem.h"
#include "codec/json.h"
#include "rt/tls.h"

struct net_call {
    struct list node;
    struct net_client *c;
    struct http_call *http;
    enum client_verb verb;
    const struct schema_kind *kind;
    const struct schema_desc *reply_desc;
    client_done_fn done;
    void (*dropped)(void *arg);
    void *arg;
};

static const char *const verb_methods[_CLIENT_VERB_MAX] = {
    [CLIENT_GET] = "GET",
    [CLIENT_LIST] = "GET",
    [CLIENT_CREATE] = "POST",
    [CLIENT_UPDATE] = "PUT",
    [CLIENT_PATCH] = "PATCH",
    [CLIENT_DELETE] = "DELETE",
    [CLIENT_DELETE_COLLECTION] = "DELETE",
};
static const char *const patch_types[] = {
    [CLIENT_PATCH_NONE] = "application/json",
    [CLIENT_PATCH_JSON] = "application/json-patch+json",
    [CLIENT_PATCH_MERGE] = "application/merge-patch+json",
    [CLIENT_PATCH_STRATEGIC] = "application/strategic-merge-patch+json",
    [CLIENT_PATCH_APPLY] = "application/apply-patch+yaml",
};

static void segment_add(struct buf *b, struct str s)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            c == '-' || c == '.' || c == '_' || c == '~') {
            buf_add_char(b, (char)c);
        } else {
            buf_add_char(b, '%');
            buf_add_char(b, hex[c >> 4]);
            buf_add_char(b, hex[c & 15]);
        }
    }
}

void net_path_print(struct buf *b, const struct net_path *p)
{
    buf_printf(b, "%s/%s", p->kind->group[0] ? "/apis" : "/api", p->kind->api_version);
    if (p->kind->namespaced && p->ns.n) {
        buf_add_lit(b, "/namespaces/");
        segment_add(b, p->ns);
    }
    buf_printf(b, "/%s", p->kind->plural);
    if (p->name.n) {
        buf_add_char(b, '/');
        segment_add(b, p->name);
    }
    if (p->subresource.n) {
        buf_add_char(b, '/');
        buf_add_str(b, p->subresource);
    }
}

void net_query_add(struct buf *b, const char *key, struct str value)
{
    if (!value.n)
        return;
    buf_add_char(b, memchr(b->data, '?', b->n) ? '&' : '?');
    buf_printf(b, "%s=", key);
    segment_add(b, value);
}

unsigned net_headers(const struct net_client *c, struct http_header *ret)
{
    unsigned n = 0;

    ret[n++] = (struct http_header){STR("accept"), STR("application/json")};
    ret[n++] = (struct http_header){STR("user-agent"), c->user_agent};
    if (c->authorization.n)
        ret[n++] = (struct http_header){STR("authorization"), c->authorization};
    return n;
}

static void target_print(struct buf *b, const struct client_request *req)
{
    struct net_path path = {req->kind, req->ns, req->name, req->subresource};
    char limit[16];

    if (req->verb == CLIENT_CREATE && !req->subresource.n)
        path.name = STR_NONE;
    if ((req->verb == CLIENT_CREATE || req->verb == CLIENT_UPDATE) && req->body &&
        !req->subresource.n) {
        const struct api_object_meta *meta = req->body;
        if (!path.ns.n)
            path.ns = meta->namespace;
        if (!path.name.n && req->verb == CLIENT_UPDATE)
            path.name = meta->name;
    }
    net_path_print(b, &path);
    net_query_add(b, "labelSelector", req->label_selector);
    net_query_add(b, "fieldSelector", req->field_selector);
    net_query_add(b, "continue", req->continue_);
    net_query_add(b, "resourceVersion", req->resource_version);
    net_query_add(b, "fieldManager", req->field_manager);
    if (req->force)
        net_query_add(b, "force", STR("true"));
    if (req->dry_run)
        net_query_add(b, "dryRun", STR("All"));
    if (req->limit) {
        snprintf(limit, sizeof(limit), "%u", req->limit);
        net_query_add(b, "limit", str_z(limit));
    }
}

static void delete_options_print(struct buf *b, const struct client_request *req)
{
    struct api_delete_options o = {
        .has_grace_period_seconds = req->has_grace_period,
        .grace_period_seconds = req->grace_period_s,
        .propagation_policy = req->propagation,
    };
    struct api_preconditions pre = {.uid = req->precondition_uid,
                                    .resource_version = req->precondition_rv};

    if (pre.uid.p || pre.resource_version.p)
        o.preconditions = &pre;
    schema_encode_json(&api_delete_options_desc, &o, SCHEMA_ENCODE_TYPE_META, b);
}

static void body_print(struct buf *b, const struct client_request *req)
{
    if (req->verb == CLIENT_DELETE || req->verb == CLIENT_DELETE_COLLECTION)
        delete_options_print(b, req);
    else if (req->verb == CLIENT_PATCH)
        buf_add_str(b, req->patch);
    else if (req->body)
        schema_encode_json(req->body_desc ? req->body_desc : req->kind->desc, req->body,
                           SCHEMA_ENCODE_TYPE_META, b);
}

static void details_read(const struct api_status_details *d, struct error *err)
{
    err->retry_after_s = d->retry_after_seconds;
    for (uint32_t i = 0; i < d->n_causes; i++)
        (void)error_cause(err, arena_cstr(&err->arena, d->causes[i].reason),
                          arena_str(&err->arena, d->causes[i].field), "%.*s",
                          STR_ARG(d->causes[i].message));
}

int net_status_read(int http_status, struct str body, struct error *err)
{
    struct arena a = {0};
    struct api_status st = {0};
    enum error_reason reason;
    int r;

    if (schema_decode_text(&api_status_desc, body, &a, NULL, &st, NULL) < 0 || !st.message.n) {
        reason = error_reason_parse(STR_NONE, http_status);
        r = error_set(err, reason, "the server answered %d: %.*s", http_status,
                      (int)MIN(body.n, (size_t)200), body.p ? body.p : "");
    } else {
        reason = error_reason_parse(st.reason, st.code ? st.code : http_status);
        r = error_set(err, reason, "%.*s", STR_ARG(st.message));
        if (err && st.details)
            details_read(st.details, err);
    }
    arena_fini(&a);
    return r;
}

struct object *net_object_read(const struct schema_kind *kind, const struct json *v,
                               struct error *err)
{
    struct arena a = {0};
    struct object *o = NULL;
    void *msg = schema_new(kind->desc, &a);
    uint64_t rev = 0;

    if (schema_decode_json(kind->desc, v, &a, NULL, msg, err) >= 0) {
        struct api_object_meta *meta = msg;
        if (str_to_u64(meta->resource_version, &rev) < 0)
            rev = 0;
        meta->managed_fields = NULL; /* a third of a pod, and nobody here asks who wrote what */
        meta->n_managed_fields = 0;
        o = object_new(kind, msg, rev);
    }
    arena_fini(&a);
    return o;
}

static int list_read(struct net_call *call, const struct json *root, struct arena *a,
                     struct client_reply *reply, struct error *err)
{
    const struct json *items = json_getz(root, "items"), *meta = json_getz(root, "metadata");

    if (str_to_u64(json_get_str(meta, STR("resourceVersion")), &reply->rev) < 0)
        return error_set(err, REASON_INTERNAL, "the server sent a list without a resourceVersion");
    reply->continue_ = json_get_str(meta, STR("continue"));
    if (!json_is(items, JSON_ARR))
        return 0;
    reply->items = ARENA_NEW_N(a, struct object *, items->n);
    json_for_each(v, items)
    {
        struct object *o = net_object_read(call->kind, v, err);
        if (!o)
            return err ? error_reason_errno(err->reason) : -EIO;
        reply->items[reply->n_items++] = o;
    }
    return 0;
}

static int reply_read(struct net_call *call, struct str body, struct arena *a,
                      struct client_reply *reply, struct error *err)
{
    struct str api_version, kind;
    struct json *root;
    void *msg;
    int r = json_parse(body, a, NULL, &root, err);

    if (r < 0)
        return r;
    if (call->verb == CLIENT_LIST)
        return list_read(call, root, a, reply, err);
    schema_type_meta(root, &api_version, &kind);
    if (call->reply_desc) {
        msg = schema_new(call->reply_desc, a);
        reply->message = msg;
        return schema_decode_json(call->reply_desc, root, a, NULL, msg, err);
    }
    if (!str_eqz(kind, call->kind->kind))
        return 0; /* a Status of success, or the list of what was deleted */
    reply->object = net_object_read(call->kind, root, err);
    if (!reply->object)
        return error_reason_errno(err->reason);
    reply->rev = reply->object->rev;
    return 0;
}

static void call_answered(const struct http_answer *answer, void *arg)
{
    struct net_call *call = arg;
    struct client_reply reply = {0};
    struct error err = {0};
    struct arena a = {0};

    if (answer->err < 0) {
        reply.r = answer->err;
        (void)error_set(&err, REASON_UNAVAILABLE, "cannot reach the API server: %s", answer->what);
    } else if (answer->status < 200 || answer->status > 299) {
        reply.r = net_status_read(answer->status, answer->body, &err);
    } else {
        reply.r = reply_read(call, answer->body, &a, &reply, &err);
    }
    if (reply.r < 0)
        reply.err = &err;
    list_remove(&call->node);
    if (call->done)
        call->done(call->arg, &reply);
    object_unref(reply.object);
    for (size_t i = 0; i < reply.n_items; i++)
        object_unref(reply.items[i]);
    arena_fini(&a);
    error_fini(&err);
    free(call);
}

static void net_call(struct client *client, const struct client_request *req, client_done_fn done,
                     void *arg)
{
    struct net_client *c = CONTAINER_OF(client, struct net_client, client);
    struct net_call *call = NEW(struct net_call);
    struct http_header headers[NET_HEADERS_MAX];
    unsigned n = net_headers(c, headers);
    struct buf target = {0}, body = {0};
    struct http_client_request http = {.headers = headers, .timeout_ms = c->timeout_ms};
    char *data;

    *call = (struct net_call){.c = c,
                              .verb = req->verb,
                              .kind = req->kind,
                              .reply_desc = req->reply_desc,
                              .done = done,
                              .dropped = req->dropped,
                              .arg = arg};
    target_print(&target, req);
    body_print(&body, req);
    if (body.n)
        headers[n++] =
            (struct http_header){STR("content-type"), str_z(patch_types[req->patch_type])};
    http.method = str_z(verb_methods[req->verb]);
    http.target = buf_str(&target);
    http.n_headers = n;
    data = buf_take(&body, &http.body.n);
    http.body = http_bytes_take(data, http.body.n);
    list_push_back(&c->calls, &call->node);
    call->http = http_client_fetch(c->http, &http, NET_REPLY_BYTES_MAX, call_answered, call);
    buf_fini(&target);
}

static void net_set_patience(struct client *client, nsec_t span)
{
    struct net_client *c = CONTAINER_OF(client, struct net_client, client);
    int64_t ms = MAX(span / NSEC_PER_MSEC, 1);
    const struct http_client_patience p = {
        .connect_timeout_ms = 2 * ms,
        .ping_interval_ms = ms,
        .ping_timeout_ms = 2 * ms,
    };

    http_client_set_patience(c->http, &p);
}

static void net_client_free(struct client *client)
{
    struct net_client *c = CONTAINER_OF(client, struct net_client, client);
    struct net_call *call;

    LIST_FOR_EACH (call, &c->calls, node) {
        http_call_cancel(call->http);
        list_remove(&call->node);
        if (call->dropped)
            call->dropped(call->arg);
        free(call);
    }
    ASSERT(list_empty(&c->watches));
    http_client_free(c->http);
    rt_tls_client_unref(c->tls);
    arena_fini(&c->arena);
    free(c);
}

static const struct client_ops net_client_ops = {
    .call = net_call,
    .watch_start = net_watch_start,
    .watch_stop = net_watch_stop,
    .set_patience = net_set_patience,
    .free = net_client_free,
};

static int tls_make(const struct kubeconfig *k, bool http1, struct rt_tls_client **ret,
                    struct error *err)
{
    static const char *const alpn[] = {"h2", "http/1.1", NULL}, *const alpn1[] = {"http/1.1", NULL};
    const struct rt_tls_client_opts opts = {
        .ca_pem = k->ca_pem,
        .ca_spki_sha256 = k->ca_spki_sha256,
        .insecure = k->insecure,
        .cert_pem = k->cert_pem,
        .key_pem = k->key_pem,
        .alpn = http1 ? alpn1 : alpn,
    };

    return rt_tls_client_new(&opts, err, ret);
}

int net_client_new(struct rt *rt, const struct kubeconfig *k, const struct net_client_opts *opts,
                   struct client **ret, struct error *err)
{
    struct net_client *c;
    struct rt_tls_client *tls;
    struct arena scratch = {0};
    struct http_target target = {.host = k->host, .port = k->port};
    struct http_client_opts http = {
        .protocol = opts && opts->http1 ? HTTP_CLIENT_HTTP1 : HTTP_CLIENT_AUTO,
        .connect_timeout_ms = opts ? opts->timeout_ms : 0,
    };
    int r = tls_make(k, opts && opts->http1, &tls, err);

    if (r < 0)
        return r;
    if (k->server_name.n)
        target.server_name = arena_cstr(&scratch, k->server_name);
    c = NEW(struct net_client);
    c->client = (struct client){&net_client_ops, rt};
    c->tls = tls;
    c->http = http_client_new(rt, &target, tls, &http);
    c->timeout_ms = opts && opts->timeout_ms ? opts->timeout_ms : 30000;
    if (k->token.n)
        c->authorization = arena_printf(&c->arena, "Bearer %.*s", STR_ARG(k->token));
    c->user_agent =
        arena_strz(&c->arena, opts && opts->user_agent ? opts->user_agent : "davit/" DAVIT_VERSION);
    list_init(&c->calls);
    list_init(&c->watches);
    arena_fini(&scratch);
    *ret = &c->client;
    return 0;
}

int net_client_reload(struct client *client, const struct kubeconfig *k, struct error *err)
{
    struct net_client *c = CONTAINER_OF(client, struct net_client, client);

    ASSERT(client->ops == &net_client_ops);
    return rt_tls_client_reload(c->tls, k->cert_pem, k->key_pem, err);
}
