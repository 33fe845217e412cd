/* A watch over HTTP: one streaming answer, one JSON document a line. Lines may be cut anywhere by
 * the network, so they are gathered; all whole lines of one read go to the user as one batch. */
#include "client/net_int.h"

#include "base/mem.h"
#include "codec/json.h"

struct client_watch {
    struct list node;
    struct net_client *c;
    const struct schema_kind *kind;
    struct http_call *http; /* NULL: ended */
    client_watch_fn fn;
    void *arg;
    int status;       /* of the answer's head */
    struct buf lines; /* what has come and was not handled yet */
    bool in_fn, stopped;
};

#define WATCH_BATCH_MAX 64 /* bounds the memory of one delivery */

static void watch_unref(struct client_watch *w)
{
    if (w->in_fn || !w->stopped)
        return;
    buf_fini(&w->lines);
    free(w);
}

static void watch_deliver(struct client_watch *w, const struct client_event *events, size_t n)
{
    if (!n || w->stopped)
        return;
    w->in_fn = true;
    w->fn(w->arg, events, n);
    w->in_fn = false;
}

/* The stream is over; the user learns why and will stop the watch. */
static void watch_end(struct client_watch *w, struct error *err)
{
    struct client_event e = {.type = CLIENT_EVENT_ERROR, .err = err};

    if (w->http) {
        http_call_cancel(w->http);
        w->http = NULL;
    }
    watch_deliver(w, &e, 1);
    error_fini(err);
    watch_unref(w);
}

static enum client_event_type event_type_parse(struct str s)
{
    static const char *const names[] = {
        [CLIENT_EVENT_ADDED] = "ADDED",     [CLIENT_EVENT_MODIFIED] = "MODIFIED",
        [CLIENT_EVENT_DELETED] = "DELETED", [CLIENT_EVENT_BOOKMARK] = "BOOKMARK",
        [CLIENT_EVENT_ERROR] = "ERROR",
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eqz(s, names[i]))
            return (enum client_event_type)i;
    return CLIENT_EVENT_ERROR;
}

/* One line into *e. <0: the stream must end, err says why. */
static int line_read(struct client_watch *w, struct str line, struct arena *a,
                     struct client_event *e, struct error *err)
{
    const struct json *object, *code;
    struct json *root;
    struct buf text = {0};
    int r = json_parse(line, a, NULL, &root, err);

    if (r < 0) {
        error_prefix(err, "bad watch event");
        return r;
    }
    object = json_getz(root, "object");
    e->type = event_type_parse(json_get_str(root, STR("type")));
    if (!json_is(object, JSON_OBJ))
        return error_set(err, REASON_INTERNAL, "watch event without an object");
    if (e->type == CLIENT_EVENT_ERROR) {
        code = json_getz(object, "code");
        json_print(object, &text);
        r = net_status_read(json_is(code, JSON_INT) ? (int)code->i : 500, buf_str(&text), err);
        buf_fini(&text);
        return r;
    }
    if (e->type == CLIENT_EVENT_BOOKMARK)
        return str_to_u64(json_get_str(json_getz(object, "metadata"), STR("resourceVersion")),
                          &e->rev);
    e->object = net_object_read(w->kind, object, err);
    if (!e->object)
        return -EBADMSG;
    e->rev = e->object->rev;
    return 0;
}

/* Handles the whole lines gathered. False: the watch has ended and may be gone. */
static bool lines_handle(struct client_watch *w)
{
    struct client_event events[WATCH_BATCH_MAX];
    struct error err = {0};
    size_t done = 0, n = 0;
    int r = 0;

    while (r == 0 && !w->stopped) {
        struct str rest = str_sub(buf_str(&w->lines), done, w->lines.n);
        ssize_t end = str_find(rest, '\n');
        struct arena a = {0};

        if (end < 0)
            break;
        done += (size_t)end + 1;
        if (str_trim(str_sub(rest, 0, (size_t)end)).n) {
            events[n] = (struct client_event){0};
            r = line_read(w, str_sub(rest, 0, (size_t)end), &a, &events[n], &err);
            n += r == 0;
        }
        arena_fini(&a);
        if (n == WATCH_BATCH_MAX || (r < 0 && n)) {
            watch_deliver(w, events, n);
            while (n)
                object_unref(events[--n].object);
        }
    }
    watch_deliver(w, events, n);
    while (n)
        object_unref(events[--n].object);
    if (w->stopped) {
        error_fini(&err);
        watch_unref(w);
        return false;
    }
    buf_consume(&w->lines, done);
    if (r == 0 && w->lines.n > NET_EVENT_BYTES_MAX)
        r = error_set(&err, REASON_TOO_LARGE, "watch event over %zu bytes", NET_EVENT_BYTES_MAX);
    if (r < 0)
        watch_end(w, &err);
    return r == 0;
}

static void watch_on_head(struct http_call *call, int status, const struct http_header *headers,
                          size_t n, void *arg)
{
    struct client_watch *w = arg;

    w->status = status;
}

static void watch_on_data(struct http_call *call, const void *p, size_t n, void *arg)
{
    struct client_watch *w = arg;

    buf_add(&w->lines, p, n);
    if (w->status == 200)
        (void)lines_handle(w);
    else if (w->lines.n > 65536)
        buf_clear(&w->lines);
}

static void watch_on_end(struct http_call *call, const struct http_header *trailers, size_t n,
                         void *arg)
{
    struct client_watch *w = arg;
    struct error err = {0};

    w->http = NULL;
    if (w->status == 200)
        (void)error_set(&err, REASON_TIMEOUT, "the server ended the watch");
    else
        (void)net_status_read(w->status, buf_str(&w->lines), &err);
    watch_end(w, &err);
}

static void watch_on_error(struct http_call *call, int r, const char *what, void *arg)
{
    struct client_watch *w = arg;
    struct error err = {0};

    w->http = NULL;
    (void)error_set(&err, REASON_UNAVAILABLE, "the watch broke: %s", what);
    watch_end(w, &err);
}

struct client_watch *net_watch_start(struct client *client, const struct client_watch_opts *opts,
                                     client_watch_fn fn, void *arg)
{
    static const struct http_client_callbacks callbacks = {
        .on_head = watch_on_head,
        .on_data = watch_on_data,
        .on_end = watch_on_end,
        .on_error = watch_on_error,
    };
    struct net_client *c = CONTAINER_OF(client, struct net_client, client);
    struct client_watch *w = NEW(struct client_watch);
    struct http_header headers[NET_HEADERS_MAX];
    struct net_path path = {opts->kind, opts->ns, STR_NONE, STR_NONE};
    struct http_client_request http = {.method = STR("GET"), .headers = headers};
    struct buf target = {0};
    char rev[24];

    *w = (struct client_watch){.c = c, .kind = opts->kind, .fn = fn, .arg = arg};
    w->lines.limit_bytes = 2 * NET_EVENT_BYTES_MAX;
    net_path_print(&target, &path);
    net_query_add(&target, "watch", STR("true"));
    net_query_add(&target, "allowWatchBookmarks", STR("true"));
    net_query_add(&target, "labelSelector", opts->label_selector);
    net_query_add(&target, "fieldSelector", opts->field_selector);
    snprintf(rev, sizeof(rev), "%llu", (unsigned long long)opts->from_rev);
    net_query_add(&target, "resourceVersion", str_z(rev));
    http.target = buf_str(&target);
    http.n_headers = net_headers(c, headers);
    list_push_back(&c->watches, &w->node);
    w->http = http_client_request(c->http, &http, &callbacks, w);
    buf_fini(&target);
    return w;
}

void net_watch_stop(struct client *client, struct client_watch *w)
{
    ASSERT(!w->stopped);
    w->stopped = true;
    list_remove(&w->node);
    if (w->http)
        http_call_cancel(w->http);
    w->http = NULL;
    watch_unref(w);
}
