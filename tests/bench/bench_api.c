/* Load on a running API server over TLS and HTTP/2, as the budgets of the design name it. One
 * connection per client, requests kept in flight. Prints one line a figure: `NAME VALUE UNIT`.
 *
 *   bench_api KUBECONFIG create COUNT IN_FLIGHT     pods (schedulerName none), created durably
 *   bench_api KUBECONFIG customs COUNT IN_FLIGHT    the same as objects of a declared kind
 *   bench_api KUBECONFIG services COUNT IN_FLIGHT   Services without selector, and slices of 5
 *   bench_api KUBECONFIG get COUNT IN_FLIGHT        one pod, again and again
 *   bench_api KUBECONFIG list LIMIT TIMES           pods, LIMIT at a time (0: all); median
 *   bench_api KUBECONFIG table TIMES                all pods as a table; median
 *   bench_api KUBECONFIG configs COUNT IN_FLIGHT    ConfigMaps with nothing in them
 *   bench_api KUBECONFIG initial WATCHERS           watches of all ConfigMaps begin together
 *   bench_api KUBECONFIG watch WATCHERS CHANGES_PER_S SECONDS
 *   bench_api KUBECONFIG delete-all                 pods of the namespace, in one call */
#include "base/log.h"
#include "base/mem.h"
#include "client/kubeconfig.h"
#include "codec/json.h"
#include "http/client.h"
#include "rt/rt.h"
#include "rt/tls.h"

#include <stdio.h>
#include <unistd.h>

#define PODS_PATH    "/api/v1/namespaces/default/pods"
#define CONFIGS_PATH "/api/v1/namespaces/default/configmaps"
#define REPLY_MAX    ((uint64_t)1 << 30)

struct bench {
    struct rt *rt;
    struct http_client *http;
    struct rt_tls_client *tls;
    struct kubeconfig k;
    int64_t count, started, done, failed, in_flight;
    struct buf body;
    const char *method;
    bool create, services, customs, configs;
    nsec_t begin;
};

static int compare_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static void pod_print(struct buf *b, int64_t i)
{
    buf_clear(b);
    buf_printf(b,
               "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"bench-%lld-%lld\","
               "\"labels\":{\"app\":\"bench\",\"tier\":\"load\"}},"
               "\"spec\":{\"schedulerName\":\"none\",\"containers\":[{\"name\":\"main\",\"image\":"
               "\"davit.local/busybox:1\","
               "\"command\":[\"sleep\",\"3600\"],\"env\":[{\"name\":\"A\",\"value\":\"1\"}],"
               "\"ports\":[{\"containerPort\":8080}],"
               "\"resources\":{\"requests\":{\"cpu\":\"10m\",\"memory\":\"16Mi\"}}}]}}",
               (long long)getpid(), (long long)i);
}

/* The same object as one of a declared kind: what a schema costs is what differs. */
#define CUSTOMS_PATH "/apis/bench.davit.dev/v1/namespaces/default/crates"

static const char crates[] =
    "{\"apiVersion\":\"apiextensions.k8s.io/"
    "v1\",\"kind\":\"CustomResourceDefinition\",\"metadata\":"
    "{\"name\":\"crates.bench.davit.dev\"},\"spec\":{\"group\":\"bench.davit.dev\",\"scope\":"
    "\"Namespaced\",\"names\":{\"plural\":\"crates\",\"kind\":\"Crate\"},\"versions\":[{\"name\":"
    "\"v1\",\"served\":true,\"storage\":true,\"subresources\":{\"status\":{}},\"schema\":{"
    "\"openAPIV3Schema\":{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\","
    "\"required\":[\"containers\"],\"properties\":{\"schedulerName\":{\"type\":\"string\","
    "\"maxLength\":63},\"restartPolicy\":{\"type\":\"string\",\"default\":\"Always\",\"enum\":["
    "\"Always\",\"Never\"]},\"containers\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\","
    "\"x-kubernetes-list-map-keys\":[\"name\"],\"items\":{\"type\":\"object\",\"required\":["
    "\"name\"],\"properties\":{\"name\":{\"type\":\"string\",\"pattern\":"
    "\"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$\"},\"image\":{\"type\":\"string\",\"minLength\":1},"
    "\"command\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"env\":{\"type\":\"array\","
    "\"items\":{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"value\":{"
    "\"type\":\"string\"}}}},\"ports\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
    "\"properties\":{\"containerPort\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":65535},"
    "\"protocol\":{\"type\":\"string\",\"default\":\"TCP\"}}}},\"resources\":{\"type\":\"object\","
    "\"properties\":{\"requests\":{\"type\":\"object\",\"additionalProperties\":{"
    "\"x-kubernetes-int-or-string\":true}}}}}}}}},\"status\":{\"type\":\"object\","
    "\"x-kubernetes-preserve-unknown-fields\":true}}}}}]}}";

static void crate_print(struct buf *b, int64_t i)
{
    struct buf pod = {0};
    pod_print(&pod, i);
    struct str s = buf_str(&pod);
    buf_clear(b);
    buf_add_lit(b, "{\"apiVersion\":\"bench.davit.dev/v1\",\"kind\":\"Crate\"");
    buf_add_str(b, str_sub(s, (size_t)str_search(s, STR(",\"metadata\"")), s.n));
    buf_fini(&pod);
}

/* As the controllers would write them: endpoints of pods on a node. Even: the Service; odd: its
 * slice. */
static const char *service_print(struct buf *b, int64_t i)
{
    long long k = i / 2;
    buf_clear(b);
    if (i % 2 == 0) {
        buf_printf(
            b,
            "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"bench-%lld\","
            "\"labels\":{\"app\":\"bench-%lld\"}},"
            "\"spec\":{\"ports\":[{\"name\":\"http\",\"port\":80,\"targetPort\":8080}]}}",
            k, k);
        return "/api/v1/namespaces/default/services";
    }
    buf_printf(b,
               "{\"apiVersion\":\"discovery.k8s.io/v1\",\"kind\":\"EndpointSlice\","
               "\"metadata\":{\"name\":\"bench-%lld-x7k2p\",\"labels\":{\"app\":\"bench-%lld\","
               "\"kubernetes.io/service-name\":\"bench-%lld\"}},\"addressType\":\"IPv4\","
               "\"ports\":[{\"name\":\"http\",\"port\":8080,\"protocol\":\"TCP\"}],\"endpoints\":[",
               k, k, k);
    for (int e = 0; e < 5; e++)
        buf_printf(b,
                   "%s{\"addresses\":[\"10.%d.%lld.%lld\"],\"conditions\":{\"ready\":true,"
                   "\"serving\":true,\"terminating\":false},\"nodeName\":\"node-%d\","
                   "\"targetRef\":{\"kind\":\"Pod\",\"namespace\":\"default\","
                   "\"name\":\"bench-%lld-6bd7f8c9d4-abcd%d\","
                   "\"uid\":\"00000000-0000-4000-8000-%06lld%06d\"}}",
                   e ? "," : "", 180 + e, k / 250 % 250, 1 + k % 250, e, k, e, k, e);
    buf_add_lit(b, "]}");
    return "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
}

static void next(struct bench *b);

static void answered(const struct http_answer *a, void *arg)
{
    struct bench *b = arg;

    if (a->err < 0 || a->status >= 300) {
        if (b->failed++ == 0)
            fprintf(stderr, "first failure: %s %d %.*s\n", a->what, a->status,
                    (int)MIN(a->body.n, (size_t)300), a->body.p);
    }
    b->done++;
    if (b->done == b->count)
        rt_stop(b->rt);
    else
        next(b);
}

static void next(struct bench *b)
{
    static const struct http_header headers[] = {{STR("content-type"), STR("application/json")},
                                                 {STR("accept"), STR("application/json")}};
    struct http_client_request r = {.method = str_z(b->method), .headers = headers, .n_headers = 2};
    char path[128];

    if (b->started >= b->count)
        return;
    if (b->services) {
        r.target = str_z(service_print(&b->body, b->started));
        r.body = http_bytes_copy(buf_str(&b->body));
    } else if (b->customs) {
        crate_print(&b->body, b->started);
        r.body = http_bytes_copy(buf_str(&b->body));
        r.target = STR(CUSTOMS_PATH);
    } else if (b->configs) {
        buf_clear(&b->body);
        buf_printf(&b->body, "{\"metadata\":{\"name\":\"bench-%lld\"}}", (long long)b->started);
        r.body = http_bytes_copy(buf_str(&b->body));
        r.target = STR(CONFIGS_PATH);
    } else if (b->create) {
        pod_print(&b->body, b->started);
        r.body = http_bytes_copy(buf_str(&b->body));
        r.target = STR(PODS_PATH);
    } else {
        snprintf(path, sizeof(path), PODS_PATH "/bench-get");
        r.target = str_z(path);
    }
    b->started++;
    http_client_fetch(b->http, &r, REPLY_MAX, answered, b);
}

static void client_open(struct bench *b, const char *path)
{
    static const char *const alpn[] = {"h2", NULL};
    struct error err = {0};
    struct http_target target = {0};
    struct rt_tls_client_opts tls = {.alpn = alpn};
    const struct http_client_opts http = {.protocol = HTTP_CLIENT_HTTP2,
                                          .h2_window_bytes = 16 << 20};

    if (kubeconfig_load(path, NULL, &b->k, &err) < 0) {
        fprintf(stderr, "%.*s\n", STR_ARG(err.message));
        exit(1);
    }
    tls.ca_pem = b->k.ca_pem;
    tls.cert_pem = b->k.cert_pem;
    tls.key_pem = b->k.key_pem;
    if (rt_tls_client_new(&tls, &err, &b->tls) < 0) {
        fprintf(stderr, "%.*s\n", STR_ARG(err.message));
        exit(1);
    }
    target.host = b->k.host;
    target.port = b->k.port;
    b->http = http_client_new(b->rt, &target, b->tls, &http);
}

struct one {
    struct bench *b;
    int status;
    size_t bytes;
};

static void one_answered(const struct http_answer *a, void *arg)
{
    struct one *o = arg;

    o->status = a->err < 0 ? a->err : a->status;
    o->bytes = a->body.n;
    rt_stop(o->b->rt);
}

/* One call, waited for; its duration. accept: NULL for JSON. */
static nsec_t call_as(struct bench *b, const char *method, const char *target, struct str body,
                      const char *accept, struct one *ret)
{
    const struct http_header headers[] = {
        {STR("content-type"), STR("application/json")},
        {STR("accept"), str_z(accept ? accept : "application/json")}};
    struct http_client_request r = {
        .method = str_z(method), .target = str_z(target), .headers = headers, .n_headers = 2};
    struct timespec t0, t1;

    *ret = (struct one){.b = b};
    if (body.p)
        r.body = http_bytes_copy(body);
    clock_gettime(CLOCK_MONOTONIC, &t0);
    http_client_fetch(b->http, &r, REPLY_MAX, one_answered, ret);
    rt_run(b->rt);
    clock_gettime(CLOCK_MONOTONIC, &t1);
    return (t1.tv_sec - t0.tv_sec) * NSEC_PER_SEC + t1.tv_nsec - t0.tv_nsec;
}

static nsec_t call(struct bench *b, const char *method, const char *target, struct str body,
                   struct one *ret)
{
    return call_as(b, method, target, body, NULL, ret);
}

static void run_flight(struct bench *b, const char *name, int64_t count, int64_t in_flight)
{
    struct timespec t0, t1;
    double s;

    b->count = count;
    b->started = b->done = b->failed = 0;
    clock_gettime(CLOCK_MONOTONIC, &t0);
    for (int64_t i = 0; i < in_flight; i++)
        next(b);
    rt_run(b->rt);
    clock_gettime(CLOCK_MONOTONIC, &t1);
    s = (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) / 1e9;
    printf("%s %.0f per_s\n", name, (double)(count - b->failed) / s);
    if (b->failed)
        printf("%s_failed %lld calls\n", name, (long long)b->failed);
}

static void run_list(struct bench *b, int64_t limit, int64_t times)
{
    int64_t *took = xcalloc((size_t)times, sizeof(*took));
    char target[128];
    struct one o;

    snprintf(target, sizeof(target), PODS_PATH "%s%.0lld", limit ? "?limit=" : "",
             (long long)limit);
    for (int64_t i = 0; i < times; i++)
        took[i] = call(b, "GET", target, STR_NONE, &o);
    qsort(took, (size_t)times, sizeof(*took), compare_i64);
    if (o.status != 200)
        fprintf(stderr, "list: status %d\n", o.status);
    printf("list_%lld %.2f ms (%zu bytes)\n", (long long)limit, (double)took[times / 2] / 1e6,
           o.bytes);
    free(took);
}

static void run_table(struct bench *b, int64_t times)
{
    int64_t *took = xcalloc((size_t)times, sizeof(*took));
    struct one o;

    for (int64_t i = 0; i < times; i++)
        took[i] = call_as(b, "GET", PODS_PATH, STR_NONE,
                          "application/json;as=Table;v=v1;g=meta.k8s.io", &o);
    qsort(took, (size_t)times, sizeof(*took), compare_i64);
    if (o.status != 200)
        fprintf(stderr, "table: status %d\n", o.status);
    printf("list_table %.2f ms (%zu bytes)\n", (double)took[times / 2] / 1e6, o.bytes);
    free(took);
}

/* ---- many that begin to watch together ---- */

#define INITIAL_END "k8s.io/initial-events-end"
#define MARK_BYTES  1024 /* the event that holds it is shorter */

struct crowd {
    struct bench *b;
    int64_t watchers, done, bytes;
};

struct crowd_watch {
    struct crowd *c;
    char tail[sizeof(INITIAL_END) - 1]; /* of what came last: the mark may be cut in two */
    size_t n_tail;
    bool done;
};

static void crowd_head(struct http_call *c, int status, const struct http_header *h, size_t n,
                       void *arg)
{
    if (status != 200)
        fprintf(stderr, "watch: status %d\n", status);
}

static void crowd_data(struct http_call *c, const void *p, size_t n, void *arg)
{
    struct crowd_watch *w = arg;
    struct buf seam = {0};
    size_t last = MIN(n, (size_t)MARK_BYTES); /* nothing follows the mark: nobody writes */
    bool end = memmem((const char *)p + n - last, last, INITIAL_END, sizeof(INITIAL_END) - 1);

    w->c->bytes += (int64_t)n;
    buf_add(&seam, w->tail, w->n_tail);
    buf_add(&seam, p, MIN(n, sizeof(w->tail)));
    end |= memmem(seam.data, seam.n, INITIAL_END, sizeof(INITIAL_END) - 1) != NULL;
    buf_fini(&seam);
    w->n_tail = MIN(n, sizeof(w->tail));
    memcpy(w->tail, (const char *)p + n - w->n_tail, w->n_tail);
    if (end && !w->done) {
        w->done = true;
        if (++w->c->done == w->c->watchers)
            rt_stop(w->c->b->rt);
    }
}

static void crowd_ended(struct http_call *c, const struct http_header *h, size_t n, void *arg)
{
    fprintf(stderr, "a watch ended early\n");
}

static void crowd_error(struct http_call *c, int err, const char *what, void *arg)
{
    fprintf(stderr, "a watch broke: %s\n", what);
}

/* From the first connection until the last watcher has the whole state. */
static void run_initial(struct bench *b, const char *kubeconfig, int64_t watchers)
{
    static const struct http_client_callbacks cb = {crowd_head, crowd_data, crowd_ended,
                                                    crowd_error, NULL};
    struct crowd c = {.b = b, .watchers = watchers};
    struct crowd_watch *w = xcalloc((size_t)watchers, sizeof(*w));
    struct bench clients[8] = {0};
    struct timespec t0, t1;

    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        clients[i].rt = b->rt;
        client_open(&clients[i], kubeconfig);
    }
    clock_gettime(CLOCK_MONOTONIC, &t0);
    for (int64_t i = 0; i < watchers; i++) {
        struct http_client_request r = {
            .method = STR("GET"),
            .target = STR(CONFIGS_PATH "?watch=true&sendInitialEvents=true&allowWatchBookmarks=true"
                                       "&resourceVersionMatch=NotOlderThan"),
        };
        w[i].c = &c;
        http_client_request(clients[i % (int64_t)ARRAY_LEN(clients)].http, &r, &cb, &w[i]);
    }
    rt_run(b->rt);
    clock_gettime(CLOCK_MONOTONIC, &t1);
    printf("watch_initial %.0f ms (%lld MB to %lld watchers)\n",
           (double)(t1.tv_sec - t0.tv_sec) * 1e3 + (double)(t1.tv_nsec - t0.tv_nsec) / 1e6,
           (long long)(c.bytes >> 20), (long long)watchers);
}

/* ---- watch fan-out ---- */

struct fan {
    struct bench *b;
    struct rt_timer tick;
    int64_t watchers, heads, rate, left, sent, seconds;
    usec_t stamp;
    int64_t delivered, bytes;
    int64_t *latency; /* usec, of every delivered event */
    int64_t latency_cap;
    struct rt_timer end;
};

struct fan_watch {
    struct fan *f;
    struct buf lines;
};

static usec_t wall(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (usec_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void fan_head(struct http_call *c, int status, const struct http_header *h, size_t n,
                     void *arg)
{
    struct fan_watch *w = arg;

    if (status != 200)
        fprintf(stderr, "watch: status %d\n", status);
    if (++w->f->heads == w->f->watchers)
        rt_timer_start(&w->f->tick, NSEC_PER_SEC / 2);
}

/* Each change carries its moment in an annotation-free way: as the value of one data key. */
static void fan_data(struct http_call *c, const void *p, size_t n, void *arg)
{
    struct fan_watch *w = arg;
    struct fan *f = w->f;
    usec_t now = wall();
    const char *end;
    struct str rest;

    buf_add(&w->lines, p, n);
    rest = buf_str(&w->lines);
    f->bytes += (int64_t)n;
    while ((end = memchr(rest.p, '\n', rest.n))) {
        struct str line = {rest.p, (size_t)(end - rest.p)}, mark = STR("\"sent\":\"");
        const char *at = memmem(line.p, line.n, mark.p, mark.n);
        int64_t t;
        if (at) {
            struct str v = {at + mark.n, (size_t)(end - at) - mark.n}, num;
            (void)str_cut(&v, '"', &num);
            if (str_to_i64(num, &t) == 0 && f->delivered < f->latency_cap)
                f->latency[f->delivered++] = now - t;
            if (f->delivered == f->latency_cap)
                rt_stop(f->b->rt);
        }
        rest = str_sub(rest, line.n + 1, rest.n);
    }
    buf_consume(&w->lines, w->lines.n - rest.n);
}

static void fan_ended(struct http_call *c, const struct http_header *h, size_t n, void *arg)
{
    fprintf(stderr, "a watch ended early\n");
}

static void fan_error(struct http_call *c, int err, const char *what, void *arg)
{
    fprintf(stderr, "a watch broke: %s\n", what);
}

static void fan_written(const struct http_answer *a, void *arg)
{
    if (a->err < 0 || a->status >= 300)
        fprintf(stderr, "change: %s %d\n", a->what, a->status);
}

static void fan_end(void *arg)
{
    rt_stop(((struct fan *)arg)->b->rt);
}

static void fan_tick(void *arg)
{
    static const struct http_header headers[] = {
        {STR("content-type"), STR("application/merge-patch+json")}};
    struct fan *f = arg;
    int64_t burst = MAX(f->rate / 100, 1);
    usec_t now = wall();

    for (int64_t i = 0; i < burst && f->sent < f->left; i++, f->sent++) {
        struct buf body = {0};
        struct http_client_request r = {.method = STR("PATCH"),
                                        .target =
                                            STR("/api/v1/namespaces/default/configmaps/bench-fan"),
                                        .headers = headers,
                                        .n_headers = 1};
        f->stamp = MAX(now, f->stamp + 1); /* an equal one would change nothing, and be no event */
        buf_printf(&body, "{\"data\":{\"sent\":\"%lld\"}}", (long long)f->stamp);
        r.body = http_bytes_copy(buf_str(&body));
        http_client_fetch(f->b->http, &r, REPLY_MAX, fan_written, f);
        buf_fini(&body);
    }
    if (f->sent < f->left)
        rt_timer_start(&f->tick, 10 * NSEC_PER_MSEC);
    else
        rt_timer_start(&f->end,
                       10 * NSEC_PER_SEC); /* for what is late; lost is what comes not even then */
}

static void run_watch(struct bench *b, const char *kubeconfig, int64_t watchers, int64_t rate,
                      int64_t seconds)
{
    static const struct http_client_callbacks cb = {fan_head, fan_data, fan_ended, fan_error, NULL};
    struct fan f = {
        .b = b, .watchers = watchers, .rate = rate, .left = rate * seconds, .seconds = seconds};
    struct fan_watch *w = xcalloc((size_t)watchers, sizeof(*w));
    struct bench clients[8] = {0};
    struct one o;

    f.latency_cap = watchers * f.left;
    f.latency = xcalloc((size_t)f.latency_cap, sizeof(int64_t));
    (void)call(b, "POST", "/api/v1/namespaces/default/configmaps",
               STR("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"bench-"
                   "fan\"},\"data\":{}}"),
               &o);
    rt_timer_init(&f.tick, b->rt, fan_tick, &f);
    rt_timer_init(&f.end, b->rt, fan_end, &f);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        clients[i].rt = b->rt;
        client_open(&clients[i], kubeconfig);
    }
    for (int64_t i = 0; i < watchers; i++) {
        struct http_client_request r = {
            .method = STR("GET"),
            .target = STR("/api/v1/namespaces/default/"
                          "configmaps?watch=true&fieldSelector=metadata.name%3Dbench-fan"),
        };
        w[i].f = &f;
        http_client_request(clients[i % (int64_t)ARRAY_LEN(clients)].http, &r, &cb, &w[i]);
    }
    rt_run(b->rt);
    qsort(f.latency, (size_t)f.delivered, sizeof(int64_t), compare_i64);
    printf("watch_delivered %.4f of_all (%lld events to %lld watchers)\n",
           (double)f.delivered / (double)f.latency_cap, (long long)f.left, (long long)watchers);
    if (f.delivered)
        printf("watch_p99 %.1f ms\nwatch_median %.1f ms\n",
               (double)f.latency[f.delivered * 99 / 100] / 1e3,
               (double)f.latency[f.delivered / 2] / 1e3);
}

static int64_t number(const char *s)
{
    int64_t v;

    if (!s || str_to_i64(str_z(s), &v) < 0) {
        fprintf(stderr, "bench_api: a number was expected; see the head of bench_api.c\n");
        exit(2);
    }
    return v;
}

int main(int argc, char **argv)
{
    struct bench b = {.rt = rt_uv_new()};
    struct one o;

    if (argc < 3 || !b.rt) {
        fprintf(stderr, "usage: see the head of bench_api.c\n");
        return 2;
    }
    client_open(&b, argv[1]);
    if (strcmp(argv[2], "create") == 0) {
        b.method = "POST";
        b.create = true;
        run_flight(&b, "create_pods", number(argv[3]), number(argv[4]));
    } else if (strcmp(argv[2], "services") == 0) {
        b.method = "POST";
        b.services = true;
        run_flight(&b, "create_services", 2 * number(argv[3]), number(argv[4]));
    } else if (strcmp(argv[2], "customs") == 0) {
        (void)call(&b, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                   str_z(crates), &o);
        b.method = "POST";
        b.customs = true;
        run_flight(&b, "create_customs", number(argv[3]), number(argv[4]));
        (void)call(&b, "DELETE",
                   "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/crates.bench.davit.dev",
                   STR("{}"), &o);
    } else if (strcmp(argv[2], "configs") == 0) {
        b.method = "POST";
        b.configs = true;
        run_flight(&b, "create_configs", number(argv[3]), number(argv[4]));
    } else if (strcmp(argv[2], "get") == 0) {
        struct buf body = {0};
        ssize_t from, to;
        pod_print(&body, 0);
        /* the pod that is read has a name of its own */
        from = str_search(buf_str(&body), STR("bench-"));
        to = from + (ssize_t)strcspn(body.data + from, "\"");
        struct buf named = {0};
        buf_add(&named, body.data, (size_t)from);
        buf_add_lit(&named, "bench-get");
        buf_add_str(&named, str_sub(buf_str(&body), (size_t)to, body.n));
        (void)call(&b, "POST", PODS_PATH, buf_str(&named), &o);
        b.method = "GET";
        run_flight(&b, "get_object", number(argv[3]), number(argv[4]));
    } else if (strcmp(argv[2], "list") == 0) {
        run_list(&b, number(argv[3]), number(argv[4]));
    } else if (strcmp(argv[2], "table") == 0) {
        run_table(&b, number(argv[3]));
    } else if (strcmp(argv[2], "initial") == 0) {
        run_initial(&b, argv[1], number(argv[3]));
    } else if (strcmp(argv[2], "watch") == 0 && argc > 5) {
        run_watch(&b, argv[1], number(argv[3]), number(argv[4]), number(argv[5]));
    } else if (strcmp(argv[2], "delete-all") == 0) {
        printf("delete_all %.1f ms\n",
               (double)call(&b, "DELETE", PODS_PATH, STR("{\"gracePeriodSeconds\":0}"), &o) / 1e6);
    } else {
        fprintf(stderr, "usage: see the head of bench_api.c\n");
        return 2;
    }
    return b.failed ? 1 : 0;
}
