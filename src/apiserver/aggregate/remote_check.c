/* Whether the servers of aggregated APIs are there: the Service first, then a request for the
 * version's discovery document, which discovery then tells to everybody. One check of a remote runs
 * at a time, each of its requests for five seconds at most; who fails is asked again at growing
 * distances, who passes every half minute, and both when their Service or its endpoints change.
 * Nobody waits for any of it: what was known before stays told, marked as stale.
 *
 * Kubernetes: kube-aggregator's remote_available_controller.go and handler_discovery.go, which ask
 * twice; here the finding and the document come of one request, and its certificate is checked. */
#include "apiserver/hooks/outcall.h"
#include "apiserver/aggregate/remotes_int.h"

#include "api/apiservice.h"
#include "base/log.h"

#define CHECK_TIMEOUT_MS 5000
#define CHECK_EVERY      (30 * NSEC_PER_SEC)
#define CHECK_FIRST      (NSEC_PER_SEC / 2)   /* after a failure; doubles up to CHECK_EVERY */
#define CHECK_SOON       (20 * NSEC_PER_MSEC) /* changes come in groups */
#define OPENAPI_EVERY    10                   /* passed checks */
#define SLICES_MAX       1000                 /* of a namespace that are looked through */

static const struct {
    enum remote_reason reason;
    const char *text;
} reasons[] = {{REMOTE_SERVICE_NOT_FOUND, "ServiceNotFound"},
               {REMOTE_SERVICE_PORT, "ServicePortError"},
               {REMOTE_ENDPOINTS_NOT_FOUND, "EndpointsNotFound"},
               {REMOTE_MISSING_ENDPOINTS, "MissingEndpoints"},
               {REMOTE_FAILED_CHECK, "FailedDiscoveryCheck"}};
static_assert(ARRAY_LEN(reasons) == _REMOTE_REASON_MAX, "a text a reason");

/* ---- the Service ---- */

static bool is_slice_of(const struct api_endpoint_slice *es, struct str service)
{
    const struct str *l = KV_GET(&es->metadata, labels, STR("kubernetes.io/service-name"));
    return l && str_eq(*l, service);
}

static bool can_serve(const struct api_endpoint_slice *es, struct str port_name)
{
    bool ready = false, port = false;
    for (uint32_t i = 0; i < es->n_endpoints; i++)
        ready |= !es->endpoints[i].conditions.has_ready || es->endpoints[i].conditions.ready;
    for (uint32_t i = 0; i < es->n_ports; i++)
        port |= str_eq(es->ports[i].name, port_name) && es->ports[i].has_port;
    return ready && port;
}

const char *remote_service_fault(const struct api_apiservice_reference *ref,
                                 const struct api_service *svc,
                                 const struct api_endpoint_slice *const *slices, size_t n,
                                 struct arena *a, struct str *ret_message)
{
    const struct api_service_port *port = NULL;
    int32_t want = ref->has_port ? ref->port : 443;
    bool any = false;
    if (!svc) {
        *ret_message = arena_printf(a, "service/%.*s in \"%.*s\" is not present",
                                    STR_ARG(ref->name), STR_ARG(ref->namespace));
        return "ServiceNotFound";
    }
    if (!str_is(svc->spec.type, "ClusterIP"))
        return NULL; /* what it leads to is not to be seen from here */
    for (uint32_t i = 0; i < svc->spec.n_ports && !port; i++)
        if (svc->spec.ports[i].port == want)
            port = &svc->spec.ports[i];
    if (!port) {
        *ret_message = arena_printf(a, "service/%.*s in \"%.*s\" is not listening on port %d",
                                    STR_ARG(ref->name), STR_ARG(ref->namespace), want);
        return "ServicePortError";
    }
    for (size_t i = 0; i < n; i++) {
        if (!is_slice_of(slices[i], ref->name))
            continue;
        any = true;
        if (can_serve(slices[i], port->name))
            return NULL;
    }
    if (!any) {
        *ret_message = arena_printf(a, "cannot find endpointslices for service/%.*s in \"%.*s\"",
                                    STR_ARG(ref->name), STR_ARG(ref->namespace));
        return "EndpointsNotFound";
    }
    *ret_message = arena_printf(
        a, "endpointslices for service/%.*s in \"%.*s\" have no addresses with port name \"%.*s\"",
        STR_ARG(ref->name), STR_ARG(ref->namespace), STR_ARG(port->name));
    return "MissingEndpoints";
}

static const char *service_fault(struct remote_entry *e, struct str *ret_message)
{
    const struct remote *r = e->remote;
    struct store *st = e->remotes->server->store;
    struct object *svc = store_get(st, KIND(SERVICE), r->ns, r->service);
    const struct api_endpoint_slice *slices[SLICES_MAX];
    const struct api_apiservice_reference ref = {
        .namespace = r->ns, .name = r->service, .has_port = true, .port = r->port};
    struct store_iter it;
    size_t n = 0;
    if (store_iter_init(&it, st, KIND(ENDPOINT_SLICE), r->ns, 0, STR_NONE, STR_NONE) >= 0) {
        for (struct object *o; n < SLICES_MAX && (o = store_iter_next(&it));)
            if (is_slice_of(o->msg, r->service))
                slices[n++] = o->msg;
        store_iter_fini(&it);
    }
    return remote_service_fault(&ref, svc ? svc->msg : NULL, slices, n, &e->arena, ret_message);
}

/* ---- what was found ---- */

static void write_condition(struct remote_entry *e, bool ok, const char *reason, struct str message)
{
    struct apiserver *s = e->remotes->server;
    struct object *o = store_peek(s->store, KIND(APISERVICE), STR_NONE, str_z(e->name));
    struct arena a = {0};
    if (!o || !OBJECT_MSG(o, api_apiservice)->spec.service)
        return;
    struct api_apiservice *msg = schema_clone(&api_apiservice_desc, o->msg, &a);
    if (apiservice_set_available(msg, ok, reason, message, rt_wall(s->rt), &a)) {
        msg->metadata.resource_version = STR_NONE;
        (void)!store_put(s->store, KIND(APISERVICE), msg, o->rev, NULL, NULL, NULL);
    }
    arena_fini(&a);
}

static void check_done(struct remote_entry *e)
{
    nsec_t wait = CHECK_EVERY;
    if (e->failures)
        wait = MIN(CHECK_FIRST << MIN(e->failures - 1, 8u), CHECK_EVERY);
    if (e->again)
        wait = CHECK_SOON;
    e->again = false;
    if (!e->stopped)
        rt_timer_start(&e->timer, rt_jitter(e->remotes->server->rt, wait, 0.1));
}

static void unavailable(struct remote_entry *e, const char *reason, struct str message)
{
    bool was = atomic_exchange(&e->remote->available, false);
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (strcmp(reasons[i].text, reason) == 0)
            e->went_away[reasons[i].reason] += was || !e->failures;
    if (was || !e->failures)
        log_info("APIService %s is not available: %s: %.*s", e->name, reason, STR_ARG(message));
    e->failures = MIN(e->failures + 1, 1000u);
    e->passes = 0;
    remote_told(e, NULL, true);
    write_condition(e, false, reason, message);
    check_done(e);
}

/* ---- asking ---- */

static void ask(struct remote_entry *e);

static void get(struct remote_entry *e, struct str path, uint64_t limit,
                void (*fn)(const struct http_answer *a, void *arg))
{
    /* so that it may be read whatever the server's own rules say (as Kubernetes) */
    const struct http_header h[] = {{STR("accept"), STR("application/json")},
                                    {STR("x-remote-user"), STR("system:kube-aggregator")},
                                    {STR("x-remote-group"), STR("system:masters")}};
    struct http_client_request q = {.method = STR("GET"),
                                    .target = path,
                                    .headers = h,
                                    .n_headers = ARRAY_LEN(h),
                                    .timeout_ms = CHECK_TIMEOUT_MS};
    e->call = http_client_fetch(e->client, &q, limit, fn, e);
}

static void on_swagger(const struct http_answer *ans, void *arg)
{
    struct remote_entry *e = arg;
    e->call = NULL;
    if (!ans->err && (ans->status == 200 || ans->status == 404)) /* else: as before */
        remote_told_swagger(e, ans->status == 200 ? ans->body : STR_NONE);
    check_done(e);
}

static void on_openapi(const struct http_answer *ans, void *arg)
{
    struct remote_entry *e = arg;
    struct arena a = {0};
    e->call = NULL;
    if (!ans->err && (ans->status == 200 || ans->status == 404))
        remote_told_openapi(e, ans->status == 200 ? remote_openapi_url(ans->body, e->remote->group,
                                                                       e->remote->version, &a)
                                                  : STR_NONE);
    arena_fini(&a);
    get(e, STR("/openapi/v2"), API_REMOTE_DOCUMENT_BYTES_MAX, on_swagger);
}

static void passed(struct remote_entry *e, struct str body)
{
    struct buf b = {0};
    struct remote *r = e->remote;
    if (!atomic_exchange(&r->available, true))
        log_info("APIService %s is available", e->name);
    e->failures = 0;
    bool read = remote_resources(body, r->group, r->version, &b) >= 0;
    remote_told(e, read ? blob_new(buf_str(&b)) : NULL, !read);
    buf_fini(&b);
    write_condition(e, true, "Passed", STR("all checks passed"));
    if (e->passes++ % OPENAPI_EVERY == 0)
        get(e, STR("/openapi/v3"), API_REMOTE_DOCUMENT_BYTES_MAX, on_openapi);
    else
        check_done(e);
}

static struct str url_of(struct remote_entry *e)
{
    const struct outcall_place *p = &e->places[e->place];
    bool v6 = str_find(p->host, ':') >= 0;
    return arena_printf(&e->arena, "https://%s%.*s%s:%u/apis/%.*s/%.*s", v6 ? "[" : "",
                        STR_ARG(p->host), v6 ? "]" : "", p->port, STR_ARG(e->remote->group),
                        STR_ARG(e->remote->version));
}

static void on_discovery(const struct http_answer *ans, void *arg)
{
    struct remote_entry *e = arg;
    struct str url = url_of(e);
    e->call = NULL;
    if (!ans->err && ans->status >= 200 && ans->status < 300) {
        passed(e, ans->body);
        return;
    }
    if (++e->place < e->n_places) {
        ask(e);
        return;
    }
    unavailable(e, "FailedDiscoveryCheck",
                ans->err ? arena_printf(&e->arena, "failing or missing response from %.*s: %s",
                                        STR_ARG(url),
                                        ans->what && ans->what[0] ? ans->what : strerror(-ans->err))
                         : arena_printf(&e->arena,
                                        "failing or missing response from %.*s: bad status from "
                                        "%.*s: %d",
                                        STR_ARG(url), STR_ARG(url), ans->status));
}

static void ask(struct remote_entry *e)
{
    const struct outcall_place *p = &e->places[e->place];
    const struct remote *r = e->remote;
    char at[sizeof(e->client_at)];
    snprintf(at, sizeof(at), "%.*s:%u", STR_ARG(p->host), p->port);
    if (!e->client || e->client_serial != r->serial || strcmp(at, e->client_at) != 0) {
        const struct http_client_opts opts = {.connect_timeout_ms = CHECK_TIMEOUT_MS};
        struct http_target t = {
            .host = arena_cstr(&e->arena, p->host), .port = p->port, .server_name = r->server_name};
        if (e->client)
            http_client_free(e->client);
        e->client = http_client_new(e->remotes->server->rt, &t, r->tls, &opts);
        memcpy(e->client_at, at, sizeof(at));
        e->client_serial = r->serial;
    }
    get(e, arena_printf(&e->arena, "/apis/%.*s/%.*s", STR_ARG(r->group), STR_ARG(r->version)),
        API_REMOTE_DOCUMENT_BYTES_MAX, on_discovery);
}

static void check(struct remote_entry *e)
{
    struct remote *r = e->remote;
    struct error err = {0};
    struct str message = STR_NONE;
    arena_fini(&e->arena);
    e->arena = (struct arena){0};
    e->place = 0;
    const char *fault = service_fault(e, &message);
    if (!fault && !r->tls) {
        fault = "FailedDiscoveryCheck";
        message = r->tls_error;
    }
    if (!fault && outcall_resolve(e->remotes->server->store, r->ns, r->service, r->port, &r->turn,
                                  &e->arena, &e->places, &e->n_places, &err) < 0) {
        fault = "FailedDiscoveryCheck";
        message = arena_str(&e->arena, err.message);
    }
    error_fini(&err);
    if (fault)
        unavailable(e, fault, message);
    else
        ask(e);
}

static void on_timer(void *arg)
{
    struct remote_entry *e = arg;
    if (!e->call)
        check(e);
    else
        e->again = true;
}

void remote_check_soon(struct remote_entry *e)
{
    if (e->stopped)
        return;
    if (e->call)
        e->again = true;
    else
        rt_timer_start(&e->timer, CHECK_SOON);
}

void remote_check_new_spec(struct remote_entry *e)
{
    if (e->call)
        http_call_cancel(e->call);
    e->call = NULL;
    e->passes = 0;
    remote_check_soon(e);
}

void remote_check_init(struct remote_entry *e)
{
    rt_timer_init(&e->timer, e->remotes->server->rt, on_timer, e);
}

void remote_check_fini(struct remote_entry *e)
{
    e->stopped = true;
    rt_timer_stop(&e->timer);
    if (e->call)
        http_call_cancel(e->call);
    e->call = NULL;
    if (e->client)
        e->client = http_client_free(e->client);
    arena_fini(&e->arena);
    e->arena = (struct arena){0};
}

/* ---- figures ---- */

void remotes_metrics(struct remotes *rs, struct buf *out)
{
    if (!rs)
        return;
    buf_add_lit(out, "# TYPE aggregator_unavailable_apiservice gauge\n");
    for (struct map_slot *s = NULL; (s = map_next(&rs->by_name, s));) {
        struct remote_entry *e = s->value;
        buf_printf(out, "aggregator_unavailable_apiservice{name=\"%s\"} %d\n", e->name,
                   !atomic_load(&e->remote->available));
    }
    buf_add_lit(out, "# TYPE aggregator_unavailable_apiservice_total counter\n");
    for (struct map_slot *s = NULL; (s = map_next(&rs->by_name, s));) {
        struct remote_entry *e = s->value;
        for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
            if (e->went_away[reasons[i].reason])
                buf_printf(
                    out,
                    "aggregator_unavailable_apiservice_total{name=\"%s\",reason=\"%s\"} %llu\n",
                    e->name, reasons[i].text, (unsigned long long)e->went_away[reasons[i].reason]);
    }
}
