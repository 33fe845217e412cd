/* Where a webhook is, and the words for what it answers. A Service is looked up in the store each
 * time: endpoints come and go, and the walk over one namespace's slices costs less than the call
 * that follows. Kubernetes: apiserver/pkg/util/proxy, client-go/rest/request.go. */
#include "apiserver/hooks/outcall.h"

#include "http/http.h"
#include "schema/schema.h"

#define SERVICE_NAME_LABEL "kubernetes.io/service-name"
#define STATUS_BODY_MAX    2048 /* of an answer that is told to people */

/* ---- URLs ---- */

bool outcall_url_parse(struct str url, struct str *ret_host, uint16_t *ret_port,
                       struct str *ret_path)
{
    return http_https_url_parse(url, ret_host, ret_port, ret_path) && str_find(url, '?') < 0;
}

/* ---- Services ---- */

struct search {
    struct outcall_place *v;
    size_t n;
    unsigned seen, first; /* ready addresses so far; the one to begin with */
};

static const struct api_service_port *service_port(const struct api_service *s, uint16_t port)
{
    for (uint32_t i = 0; i < s->spec.n_ports; i++)
        if (s->spec.ports[i].port == port)
            return &s->spec.ports[i];
    return NULL;
}

static uint16_t slice_port(const struct api_endpoint_slice *es, struct str name)
{
    for (uint32_t i = 0; i < es->n_ports; i++)
        if (str_eq(es->ports[i].name, name) && es->ports[i].has_port && es->ports[i].port > 0 &&
            es->ports[i].port <= 65535)
            return (uint16_t)es->ports[i].port;
    return 0;
}

static bool is_of(const struct api_endpoint_slice *es, struct str service)
{
    const struct str *l = KV_GET(&es->metadata, labels, STR(SERVICE_NAME_LABEL));
    return l && str_eq(*l, service) &&
           (str_is(es->address_type, "IPv4") || str_is(es->address_type, "IPv6"));
}

typedef void (*place_fn)(struct search *s, struct str host, uint16_t port);

static void count_place(struct search *s, struct str host, uint16_t port)
{
    (void)host;
    (void)port;
    s->seen++;
}

/* The places behind `first`, round the end. */
static void take_place(struct search *s, struct str host, uint16_t port)
{
    unsigned at = (s->seen + s->first) % (unsigned)s->n; /* its place in the order */
    s->seen++;
    if (at < OUTCALL_PLACES_MAX)
        s->v[at] = (struct outcall_place){host, port};
}

static int each_place(struct store *store, struct str ns, struct str name, struct str port_name,
                      place_fn fn, struct search *s)
{
    struct store_iter it;
    int r =
        store_iter_init(&it, store, schema_kinds[KIND_ENDPOINT_SLICE], ns, 0, STR_NONE, STR_NONE);
    if (r < 0)
        return r;
    s->seen = 0;
    for (struct object *o; (o = store_iter_next(&it));) {
        const struct api_endpoint_slice *es = OBJECT_MSG(o, api_endpoint_slice);
        uint16_t port = is_of(es, name) ? slice_port(es, port_name) : 0;
        for (uint32_t i = 0; port && i < es->n_endpoints; i++) {
            const struct api_endpoint *e = &es->endpoints[i];
            bool ready = !e->conditions.has_ready || e->conditions.ready;
            if (ready && e->n_addresses)
                fn(s, e->addresses[0], port);
        }
    }
    store_iter_fini(&it);
    return 0;
}

int outcall_resolve(struct store *store, struct str ns, struct str name, uint16_t port,
                    unsigned *turn, struct arena *a, struct outcall_place **ret, size_t *ret_n,
                    struct error *err)
{
    struct object *o = store_get(store, schema_kinds[KIND_SERVICE], ns, name);
    struct search s = {0};
    if (!o)
        return error_set(err, REASON_NOT_FOUND, "service \"%.*s\" not found", STR_ARG(name));
    const struct api_service *svc = OBJECT_MSG(o, api_service);
    if (str_is(svc->spec.type, "ExternalName")) {
        *ret = ARENA_NEW(a, struct outcall_place);
        **ret = (struct outcall_place){arena_str(a, svc->spec.external_name), port};
        *ret_n = 1;
        return 0;
    }
    const struct api_service_port *p = service_port(svc, port);
    if (!p)
        return error_set(err, REASON_UNAVAILABLE, "no service port %u found for service \"%.*s\"",
                         port, STR_ARG(name));
    int r = each_place(store, ns, name, p->name, count_place, &s);
    if (r < 0)
        return error_errno(err, r, "endpoints of service \"%.*s\"", STR_ARG(name));
    if (!s.seen)
        return error_set(err, REASON_UNAVAILABLE, "no endpoints available for service \"%.*s\"",
                         STR_ARG(name));
    s.n = s.seen;
    s.first = (*turn)++ % s.seen;
    s.v = ARENA_NEW_N(a, struct outcall_place, OUTCALL_PLACES_MAX);
    (void)each_place(store, ns, name, p->name, take_place, &s); /* the same turn: as before */
    s.n = MIN(s.n, (size_t)OUTCALL_PLACES_MAX);
    for (size_t i = 0; i < s.n; i++)
        s.v[i].host = arena_str(a, s.v[i].host);
    *ret = s.v;
    *ret_n = s.n;
    return 0;
}

/* ---- answers that are no success ---- */

struct str outcall_status_text(int status, struct str body, struct arena *a)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {
        {400, "the server rejected our request for an unknown reason"},
        {401, "the server has asked for the client to provide credentials"},
        {404, "the server could not find the requested resource"},
        {405, "the server does not allow this method on the requested resource"},
        {409, "the server reported a conflict"},
        {422, "the server rejected our request due to an error in our request"},
        {429, "the server has received too many requests and has asked us to try again later"},
        {503, "the server is currently unable to handle the request"},
        {504, "the server was unable to return a response in the time allotted, but may still be "
              "processing the request"},
    };
    struct buf b = {0};
    struct str told;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i].status == status)
            return str_z(texts[i].text);
    buf_add_utf8(&b, str_trim(body), STATUS_BODY_MAX);
    told = b.n ? arena_str(a, buf_str(&b)) : STR("unknown");
    buf_fini(&b);
    if (status == 403 || status == 406 || status == 415)
        return told;
    if (status >= 500)
        return arena_printf(
            a, "an error on the server (\"%.*s\") has prevented the request from succeeding",
            STR_ARG(told));
    return arena_printf(a,
                        "the server responded with the status code %d but did not return more "
                        "information",
                        status);
}
