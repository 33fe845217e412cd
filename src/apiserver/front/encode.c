/* Answers in the form the client asked for. JSON is the native form: an object's JSON is made once,
 * kept with the object and shared by all who send it; lists glue those texts together. The other
 * forms (YAML, protobuf, tables, metadata alone) are made for the one who asks. */
#include "apiserver/front/front_int.h"
#include "apiserver/aggregate/aggregate.h"

#include "codec/pb.h"
#include "codec/yaml.h"
#include "schema/custom.h"
#include "schema/table.h"
#include "schema/table_int.h"

const char *encode_content_type(const struct accept *a, bool stream)
{
    if (a->as == AS_DISCOVERY_V2)
        return "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    switch (a->media) {
    case MEDIA_YAML:
        return "application/yaml";
    case MEDIA_PB:
        return stream ? "application/vnd.kubernetes.protobuf;stream=watch"
                      : "application/vnd.kubernetes.protobuf";
    case MEDIA_JSON:
        break;
    }
    return "application/json";
}

/* ---- JSON pieces ---- */

/* How the JSON of an object that is not of a custom kind begins. */
#define TYPE_META "{\"kind\":\"%s\",\"apiVersion\":\"%s\","

/* The object's own JSON is what the client asked for. */
static bool json_is_shared(const struct exchange *x, const struct object *o)
{
    const struct schema_kind *k = x->route.kind;
    if (o->kind == k || !k || storage_kind(k) != storage_kind(o->kind))
        return true;
    return k->custom && k->custom->variant == o->kind && o->rev > k->custom->since;
}

/* The message of the kind asked for, as opposed to the kind it is stored as. */
static const void *message_of(const struct exchange *x, const struct object *o, struct arena *a)
{
    const struct schema_kind *k = x->route.kind;
    if (o->kind == k || !k || storage_kind(k) != storage_kind(o->kind))
        return o->msg;
    if (k->custom)
        return custom_read(k, o->msg, o->rev, a);
    const struct api_object_meta *stored = o->msg;
    const void *msg = schema_from_storage(k, o->msg, a);
    ASSERT(((const struct api_object_meta *)msg)->name.n == stored->name.n);
    return msg;
}

static void object_print(struct exchange *x, struct object *o, struct buf *b)
{
    const struct schema_kind *k = x->route.kind;
    if (json_is_shared(x, o)) {
        struct blob *j = object_json_ref(o);
        buf_add_str(b, blob_str(j));
        blob_unref(j);
        return;
    }
    struct arena a = {0};
    schema_encode_json(k->desc, message_of(x, o, &a), SCHEMA_ENCODE_TYPE_META, b);
    arena_fini(&a);
}

static const char *meta_version(const struct exchange *x)
{
    return x->accept.beta ? "meta.k8s.io/v1beta1" : "meta.k8s.io/v1";
}

static void partial_print(const struct exchange *x, const struct object *o, struct buf *b)
{
    struct api_partial_object_metadata p = {.metadata = *object_meta(o)};
    if (!x->accept.beta) {
        schema_encode_json(&api_partial_object_metadata_desc, &p, SCHEMA_ENCODE_TYPE_META, b);
        return;
    }
    buf_printf(b, "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"%s\",\"metadata\":",
               meta_version(x));
    schema_encode_json(&api_object_meta_desc, &p.metadata, 0, b);
    buf_add_char(b, '}');
}

static void list_meta_print(const struct api_call *c, struct buf *b)
{
    buf_printf(b, "\"metadata\":{\"resourceVersion\":\"%llu\"", (unsigned long long)c->reply.rev);
    if (c->reply.continue_.n)
        buf_printf(b, ",\"continue\":\"%.*s\"", STR_ARG(c->reply.continue_));
    if (c->reply.continue_.n && c->reply.remaining >= 0)
        buf_printf(b, ",\"remainingItemCount\":%lld", (long long)c->reply.remaining);
    buf_add_char(b, '}');
}

static void row_print(struct exchange *x, struct object *o, struct buf *b)
{
    struct arena a = {0};
    const struct schema_kind *k = x->route.kind ? x->route.kind : o->kind;
    buf_add_lit(b, "{\"cells\":");
    table_cells_print(k, message_of(x, o, &a), rt_wall(x->io->rt), b);
    if (x->accept_object != 'N') {
        buf_add_lit(b, ",\"object\":");
        if (x->accept_object == 'O')
            object_print(x, o, b);
        else
            partial_print(x, o, b);
    }
    buf_add_char(b, '}');
    arena_fini(&a);
}

static void table_print(struct exchange *x, struct object **items, size_t n, bool columns,
                        struct buf *b)
{
    buf_printf(b, "{\"kind\":\"Table\",\"apiVersion\":\"%s\",", meta_version(x));
    list_meta_print(x->call, b);
    buf_add_lit(b, ",\"columnDefinitions\":");
    if (columns)
        table_columns_print(x->route.kind, b);
    else
        buf_add_lit(b, "null");
    buf_add_lit(b, ",\"rows\":[");
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_add_char(b, ',');
        row_print(x, items[i], b);
    }
    buf_add_lit(b, "]}");
}

/* An item of a list does not repeat what the list says of its kind; those of custom kinds do.
 * head: the TYPE_META of the list's kind. */
static void item_print(struct exchange *x, struct object *o, struct str head, struct buf *b)
{
    const struct schema_kind *k = x->call->kind;
    if (k->custom) {
        object_print(x, o, b);
    } else if (json_is_shared(x, o)) {
        struct blob *j = object_json_ref(o);
        struct str said = blob_str(j);
        ASSERT(str_starts(said, head));
        buf_add_char(b, '{');
        buf_add_str(b, str_sub(said, head.n, said.n));
        blob_unref(j);
    } else {
        struct arena a = {0};
        schema_encode_json(k->desc, message_of(x, o, &a), 0, b);
        arena_fini(&a);
    }
}

static void list_print(struct exchange *x, struct buf *b)
{
    struct api_call *c = x->call;
    struct str head = arena_printf(&c->arena, TYPE_META, c->kind->kind, c->kind->api_version);
    bool partial = x->accept.as == AS_PARTIAL_LIST || x->accept.as == AS_PARTIAL;
    if (partial)
        buf_printf(b, "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"%s\",",
                   meta_version(x));
    else
        buf_printf(b, "{\"kind\":\"%s\",\"apiVersion\":\"%s\",",
                   c->kind->list_kind ? c->kind->list_kind : "List", c->kind->api_version);
    list_meta_print(c, b);
    buf_add_lit(b, ",\"items\":[");
    for (size_t i = 0; i < c->reply.n_items; i++) {
        if (i)
            buf_add_char(b, ',');
        if (partial)
            partial_print(x, c->reply.items[i], b);
        else
            item_print(x, c->reply.items[i], head, b);
    }
    buf_add_lit(b, "]}");
}

/* ---- protobuf ---- */

static void list_pb(struct exchange *x, struct buf *b)
{
    struct api_call *c = x->call;
    bool partial = x->accept.as == AS_PARTIAL_LIST || x->accept.as == AS_PARTIAL;
    const struct schema_desc *item = partial ? &api_partial_object_metadata_desc : c->kind->desc;
    const struct schema_desc *d =
        partial ? &api_partial_object_metadata_list_desc : c->kind->list_desc;
    struct arena a = {0};
    /* every list message begins with ListMeta and an array of items by value */
    struct {
        struct api_list_meta metadata;
        void *items;
        uint32_t n_items;
    } list = {.n_items = (uint32_t)c->reply.n_items};
    ASSERT(d && d->flags & SCHEMA_DESC_OF_LIST);
    list.metadata.resource_version = arena_printf(&a, "%llu", (unsigned long long)c->reply.rev);
    list.metadata.continue_ = c->reply.continue_;
    list.metadata.has_remaining_item_count = c->reply.continue_.n && c->reply.remaining >= 0;
    list.metadata.remaining_item_count = c->reply.remaining;
    char *items = arena_alloc(&a, (size_t)item->size * MAX(c->reply.n_items, (size_t)1));
    for (size_t i = 0; i < c->reply.n_items; i++) {
        const void *msg = partial ? c->reply.items[i]->msg : message_of(x, c->reply.items[i], &a);
        memcpy(items + i * item->size, msg, item->size);
    }
    list.items = items;
    schema_encode_pb_envelope(d, &list, b);
    arena_fini(&a);
}

static void object_pb(struct exchange *x, const struct object *o, struct buf *b)
{
    struct arena a = {0};
    if (x->accept.as == AS_PARTIAL) {
        struct api_partial_object_metadata p = {.metadata = *object_meta(o)};
        schema_encode_pb_envelope(&api_partial_object_metadata_desc, &p, b);
    } else {
        schema_encode_pb_envelope(x->route.kind ? x->route.kind->desc : o->kind->desc,
                                  message_of(x, o, &a), b);
    }
    arena_fini(&a);
}

/* ---- whole answers ---- */

bool encode_as_yaml(struct buf *b)
{
    struct arena a = {0};
    struct json *v;
    struct buf out = {0};
    bool ok = json_parse(buf_str(b), &a, NULL, &v, NULL) >= 0 && yaml_print(v, &out) >= 0;
    if (ok) {
        buf_fini(b);
        *b = out;
    } else {
        buf_fini(&out);
    }
    arena_fini(&a);
    return ok;
}

static void make_pretty(struct buf *b)
{
    struct arena a = {0};
    struct json *v;
    struct buf out = {0};
    if (json_parse(buf_str(b), &a, NULL, &v, NULL) >= 0) {
        json_print_pretty(v, &out);
        buf_add_char(&out, '\n');
        buf_fini(b);
        *b = out;
    }
    arena_fini(&a);
}

static size_t warning_headers(struct exchange *x, struct http_header *h, size_t max)
{
    const struct api_reply *rep = &x->call->reply;
    size_t n = 0, bytes = 0;
    for (unsigned i = 0; i < rep->n_warnings && n < max; i++) {
        struct buf b = {0};
        bytes += rep->warnings[i].n;
        if (bytes > API_WARNINGS_BYTES_MAX)
            break;
        buf_add_lit(&b, "299 - \"");
        for (size_t k = 0; k < rep->warnings[i].n; k++) {
            char ch = rep->warnings[i].p[k];
            if (ch == '"' || ch == '\\')
                buf_add_char(&b, '\\');
            buf_add_char(&b, (unsigned char)ch < 0x20 || ch == 0x7f ? ' ' : ch);
        }
        buf_add_char(&b, '"');
        h[n++] = (struct http_header){STR("warning"), arena_str(&x->call->arena, buf_str(&b))};
        buf_fini(&b);
    }
    return n;
}

static void finish(struct exchange *x, int code, struct buf *b, const char *type)
{
    struct http_header h[34];
    size_t n = warning_headers(x, h, 32);
    const struct error *e = &x->call->reply.err;
    if (x->call->reply.r < 0 && e->retry_after_s)
        h[n++] = (struct http_header){STR("retry-after"),
                                      arena_printf(&x->call->arena, "%d", e->retry_after_s)};
    size_t len;
    char *p = buf_take(b, &len);
    exchange_answer(x, code, type, http_bytes_take(p, len), h, n);
}

static void json_finish(struct exchange *x, int code, struct buf *b)
{
    const char *type = "application/json";
    if (x->accept.media == MEDIA_YAML && encode_as_yaml(b))
        type = "application/yaml";
    else if (x->pretty)
        make_pretty(b);
    finish(x, code, b, type);
}

static void status_reply(struct exchange *x)
{
    struct api_call *c = x->call;
    struct api_status *st = api_call_status(c, &c->arena);
    struct buf b = {0};
    int code = c->reply.r >= 0   ? c->reply.code
               : c->reply.status ? c->reply.status->code
                                 : error_reason_http_code(c->reply.err.reason);
    if (x->accept.media == MEDIA_PB) {
        schema_encode_pb_envelope(&api_status_desc, st, &b);
        finish(x, code, &b, "application/vnd.kubernetes.protobuf");
        return;
    }
    schema_encode_json(&api_status_desc, st, SCHEMA_ENCODE_TYPE_META, &b);
    json_finish(x, code, &b);
}

/* The columns Kubernetes has for a Scale. */
static void scale_table_print(struct exchange *x, const struct api_scale *s, struct buf *b)
{
    struct buf age = {0};
    table_age_print(s->metadata.creation_timestamp, rt_wall(x->io->rt), &age);
    buf_printf(b, "{\"kind\":\"Table\",\"apiVersion\":\"%s\",\"metadata\":{\"resourceVersion\":",
               meta_version(x));
    json_print_str(s->metadata.resource_version, b);
    buf_add_lit(b, "},\"columnDefinitions\":[");
    static const char *const columns[][3] = {{"Name", "string", "name"},
                                             {"Desired", "integer", ""},
                                             {"Available", "integer", ""},
                                             {"Age", "string", ""}};
    for (size_t i = 0; i < ARRAY_LEN(columns); i++)
        buf_printf(b,
                   "%s{\"name\":\"%s\",\"type\":\"%s\",\"format\":\"%s\",\"description\":\"\","
                   "\"priority\":0}",
                   i ? "," : "", columns[i][0], columns[i][1], columns[i][2]);
    buf_add_lit(b, "],\"rows\":[{\"cells\":[");
    json_print_str(s->metadata.name, b);
    buf_printf(b, ",%d,%d,", s->spec.replicas, s->status.replicas);
    json_print_str(buf_str(&age), b);
    buf_add_char(b, ']');
    if (x->accept_object == 'O') {
        buf_add_lit(b, ",\"object\":");
        schema_encode_json(&api_scale_desc, s, SCHEMA_ENCODE_TYPE_META, b);
    } else if (x->accept_object == 'M') {
        buf_printf(b, ",\"object\":{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"%s\",",
                   meta_version(x));
        buf_add_lit(b, "\"metadata\":");
        schema_encode_json(&api_object_meta_desc, &s->metadata, 0, b);
        buf_add_char(b, '}');
    }
    buf_add_lit(b, "}]}");
    buf_fini(&age);
}

static void release_blob(void *arg)
{
    blob_unref(arg);
}

static void object_reply(struct exchange *x, struct object *o)
{
    struct buf b = {0};
    struct api_call *c = x->call;
    if (x->accept.as == AS_TABLE) {
        c->reply.rev = o->rev;
        table_print(x, &o, 1, true, &b);
    } else if (x->accept.media == MEDIA_PB) {
        object_pb(x, o, &b);
        finish(x, c->reply.code, &b, "application/vnd.kubernetes.protobuf");
        return;
    } else if (x->accept.as == AS_PARTIAL) {
        partial_print(x, o, &b);
    } else if (x->accept.media == MEDIA_JSON && !x->pretty && x->route.kind &&
               json_is_shared(x, o)) {
        struct http_header h[32];
        size_t n = warning_headers(x, h, ARRAY_LEN(h));
        struct blob *j = object_json_ref(o);
        struct http_bytes bytes = {j->data, j->n, release_blob, j};
        exchange_answer(x, c->reply.code, "application/json", bytes, h, n);
        return;
    } else {
        object_print(x, o, &b);
    }
    json_finish(x, c->reply.code, &b);
}

void encode_reply(struct exchange *x)
{
    struct api_call *c = x->call;
    struct buf b = {0};
    if (c->proxy && c->proxy->refusal == REASON_NOT_FOUND && c->reply.r < 0 &&
        c->reply.err.reason == REASON_NOT_FOUND && !c->proxy->of_custom &&
        path_is_nowhere(x->req->path)) {
        path_not_found(x);
    } else if (c->reply.r < 0 || c->reply.success_status) {
        status_reply(x);
    } else if (c->reply.message && x->accept.as == AS_TABLE && c->reply.desc == &api_scale_desc) {
        scale_table_print(x, c->reply.message, &b);
        json_finish(x, c->reply.code, &b);
    } else if (c->reply.message) {
        if (x->accept.media == MEDIA_PB) {
            schema_encode_pb_envelope(c->reply.desc, c->reply.message, &b);
            finish(x, c->reply.code, &b, "application/vnd.kubernetes.protobuf");
            return;
        }
        schema_encode_json(c->reply.desc, c->reply.message, SCHEMA_ENCODE_TYPE_META, &b);
        json_finish(x, c->reply.code, &b);
    } else if (c->reply.object) {
        object_reply(x, c->reply.object);
    } else if (x->accept.as == AS_TABLE) {
        table_print(x, c->reply.items, c->reply.n_items, true, &b);
        json_finish(x, 200, &b);
    } else if (x->accept.media == MEDIA_PB) {
        list_pb(x, &b);
        finish(x, 200, &b, "application/vnd.kubernetes.protobuf");
    } else {
        list_print(x, &b);
        json_finish(x, 200, &b);
    }
}

/* ---- watch events ---- */

static const char *const event_types[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"};

static void bookmark_print(struct exchange *x, const struct client_event *e, struct buf *b)
{
    const struct schema_kind *k = x->route.kind;
    bool table = x->accept.as == AS_TABLE,
         partial = x->accept.as == AS_PARTIAL || x->accept.as == AS_PARTIAL_LIST;
    const char *kind = table ? "Table" : partial ? "PartialObjectMetadata" : k->kind;
    buf_printf(
        b, "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":{\"resourceVersion\":\"%llu\"",
        kind, table || partial ? meta_version(x) : k->api_version, (unsigned long long)e->rev);
    if (table) {
        buf_add_lit(b, "},\"columnDefinitions\":null,\"rows\":[]}");
        return;
    }
    if (e->object)
        buf_add_lit(b, ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}");
    buf_add_lit(b, "}}");
}

static void event_json(struct exchange *x, const struct client_event *e, bool first, struct buf *b)
{
    struct object *o = e->object;
    buf_printf(b, "{\"type\":\"%s\",\"object\":", event_types[e->type]);
    if (e->type == CLIENT_EVENT_ERROR) {
        struct arena a = {0};
        schema_encode_json(&api_status_desc, api_error_status(e->err, &a), SCHEMA_ENCODE_TYPE_META,
                           b);
        arena_fini(&a);
    } else if (e->type == CLIENT_EVENT_BOOKMARK) {
        bookmark_print(x, e, b);
    } else if (x->accept.as == AS_TABLE) {
        x->call->reply.rev = e->rev;
        table_print(x, &o, 1, first, b);
    } else if (x->accept.as == AS_PARTIAL || x->accept.as == AS_PARTIAL_LIST) {
        partial_print(x, o, b);
    } else {
        object_print(x, o, b);
    }
    buf_add_lit(b, "}\n");
}

/* Four bytes of length, then WatchEvent{type = 1, object = 2 {raw = 1}}. */
static void event_pb(struct exchange *x, const struct client_event *e, struct buf *b)
{
    struct arena a = {0};
    struct buf obj = {0};
    if (e->type == CLIENT_EVENT_ERROR) {
        schema_encode_pb_envelope(&api_status_desc, api_error_status(e->err, &a), &obj);
    } else if (e->type == CLIENT_EVENT_BOOKMARK) {
        struct api_object_meta *m = schema_new(x->route.kind->desc, &a);
        struct kv_str kv = {STR("k8s.io/initial-events-end"), STR("true")};
        m->resource_version = arena_printf(&a, "%llu", (unsigned long long)e->rev);
        m->annotations = e->object ? &kv : NULL;
        m->n_annotations = e->object ? 1 : 0;
        schema_encode_pb_envelope(x->route.kind->desc, m, &obj);
    } else {
        object_pb(x, e->object, &obj);
    }
    size_t at = b->n;
    buf_add_lit(b, "\0\0\0\0");
    pb_put_bytes(b, 1, str_z(event_types[e->type]));
    size_t mark = pb_begin(b, 2);
    pb_put_bytes(b, 1, buf_str(&obj));
    pb_end(b, mark);
    uint32_t n = (uint32_t)(b->n - at - 4);
    for (int i = 0; i < 4; i++)
        b->data[at + (size_t)i] = (char)(n >> (24 - 8 * i));
    buf_fini(&obj);
    arena_fini(&a);
}

void encode_event(struct exchange *x, const struct client_event *e, bool first, struct buf *b)
{
    if (x->accept.media == MEDIA_PB)
        event_pb(x, e, b);
    else
        event_json(x, e, first, b);
}
