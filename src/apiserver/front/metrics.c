/* Figures in Prometheus' text form. Each I/O thread counts for itself with relaxed atomics;
 * /metrics adds them up on whichever thread answers. */
#include "apiserver/front/front_int.h"
#include "apiserver/custom/convert.h"
#include "apiserver/hooks/hooks.h"
#include "apiserver/custom/kinds.h"
#include "apiserver/aggregate/remotes.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static const uint16_t codes[METRIC_CODES] = {200, 201, 202, 101, 400, 401, 403, 404,
                                             405, 406, 409, 410, 413, 415, 422, 429,
                                             499, 500, 502, 503, 504, 507, 0};
static const char *const verbs[METRIC_VERBS] = {"GET",     "LIST",  "WATCH",  "POST",
                                                "PUT",     "PATCH", "DELETE", "DELETECOLLECTION",
                                                "CONNECT", "PROXY", "PATH"};
static const double bounds[METRIC_BUCKETS - 1] = {0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 30};
static_assert(METRIC_VERBS == _API_VERB_MAX, "a row a verb");

void metrics_count(struct metrics *m, enum api_verb verb, int code, nsec_t took)
{
    unsigned c = 0, b = 0;
    while (codes[c] && codes[c] != code)
        c++;
    atomic_fetch_add_explicit(&m->requests[verb][c], 1, memory_order_relaxed);
    if (verb == API_WATCH || verb == API_CONNECT || verb == API_PROXY)
        return;
    while (b < METRIC_BUCKETS - 1 && (double)took > bounds[b] * 1e9)
        b++;
    atomic_fetch_add_explicit(&m->latency[verb][b], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->latency_sum_us[verb], (uint64_t)MAX(took, (nsec_t)0) / 1000,
                              memory_order_relaxed);
}

#define SUM(field)                                                                                 \
    ({                                                                                             \
        uint64_t sum_ = 0;                                                                         \
        for (size_t k = 0; k < n; k++)                                                             \
            sum_ += (uint64_t)atomic_load_explicit(&m[k]->field, memory_order_relaxed);            \
        sum_;                                                                                      \
    })

static void print_requests(struct metrics *const *m, size_t n, struct buf *out)
{
    buf_add_lit(out, "# HELP apiserver_request_total Requests by verb and HTTP code.\n"
                     "# TYPE apiserver_request_total counter\n");
    for (size_t v = 0; v < METRIC_VERBS; v++)
        for (size_t c = 0; c < METRIC_CODES; c++) {
            uint64_t x = SUM(requests[v][c]);
            if (x)
                buf_printf(out, "apiserver_request_total{verb=\"%s\",code=\"%u\"} %llu\n", verbs[v],
                           codes[c], (unsigned long long)x);
        }
    buf_add_lit(
        out,
        "# HELP apiserver_request_duration_seconds Time from the request's head to its answer.\n"
        "# TYPE apiserver_request_duration_seconds histogram\n");
    for (size_t v = 0; v < METRIC_VERBS; v++) {
        uint64_t sum = 0;
        for (size_t b = 0; b < METRIC_BUCKETS; b++)
            sum += SUM(latency[v][b]);
        if (!sum)
            continue;
        uint64_t upto = 0;
        for (size_t b = 0; b < METRIC_BUCKETS; b++) {
            char le[16] = "+Inf";
            if (b < METRIC_BUCKETS - 1)
                snprintf(le, sizeof(le), "%g", bounds[b]);
            upto += SUM(latency[v][b]);
            buf_printf(out,
                       "apiserver_request_duration_seconds_bucket{verb=\"%s\",le=\"%s\"} %llu\n",
                       verbs[v], le, (unsigned long long)upto);
        }
        buf_printf(out, "apiserver_request_duration_seconds_sum{verb=\"%s\"} %.6f\n", verbs[v],
                   (double)SUM(latency_sum_us[v]) / 1e6);
        buf_printf(out, "apiserver_request_duration_seconds_count{verb=\"%s\"} %llu\n", verbs[v],
                   (unsigned long long)sum);
    }
}

static void print_process(struct buf *out)
{
    struct rusage ru;
    FILE *f = fopen("/proc/self/statm", "re");
    unsigned long long size, rss;
    if (f && fscanf(f, "%llu %llu", &size, &rss) == 2)
        buf_printf(
            out, "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes %llu\n",
            rss * (unsigned long long)sysconf(_SC_PAGESIZE));
    if (f)
        fclose(f);
    if (getrusage(RUSAGE_SELF, &ru) == 0)
        buf_printf(out,
                   "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total %.3f\n",
                   (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
                       (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6);
}

void metrics_print(struct metrics *const *m, size_t n, struct buf *out)
{
    static const struct {
        const char *name, *type;
    } rows[] = {{"apiserver_current_inflight_requests", "gauge"},
                {"apiserver_longrunning_watches", "gauge"},
                {"apiserver_watch_events_total", "counter"},
                {"apiserver_watch_cut_total", "counter"},
                {"apiserver_rejected_requests_total", "counter"}};
    uint64_t values[] = {SUM(in_flight), SUM(watches), SUM(watch_events), SUM(watch_cut),
                         SUM(rejected)};
    print_requests(m, n, out);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        buf_printf(out, "# TYPE %s %s\n%s %llu\n", rows[i].name, rows[i].type, rows[i].name,
                   (unsigned long long)values[i]);
    print_process(out);
}

/* Core thread. */
static void customs_metrics(struct apiserver *s, struct buf *out)
{
    uint64_t generation;
    size_t n;
    const struct schema_kind **all = kinds_list(s->kinds, &n, &generation);
    for (size_t i = 0; i < n; i++) {
        char res[256];
        if (kinds_current(s->kinds, all[i]->stored) == all[i]) /* once, in whatever versions */
            buf_printf(out, "apiserver_storage_objects{resource=\"%s\"} %zu\n",
                       kind_resource(all[i], res, sizeof(res)),
                       store_count(s->store, all[i]->stored));
    }
    kinds_list_free(all, n);
}

static void convert_metrics(struct apiserver *s, struct buf *out)
{
    struct convert_stats st;
    converts_stats(s->converts, &st);
    const struct {
        const char *name, *type;
        uint64_t value;
    } rows[] = {
        {"davit_conversion_webhook_calls_total", "counter", st.calls},
        {"davit_conversion_webhook_failures_total", "counter", st.failures},
        {"davit_conversion_webhook_objects_total", "counter", st.objects},
        {"davit_conversion_cache_hits_total", "counter", st.hits},
        {"davit_conversion_cache_bytes", "gauge", st.cached_bytes},
        {"davit_conversion_webhook_calls", "gauge", st.in_flight},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        buf_printf(out, "# TYPE %s %s\n%s %llu\n", rows[i].name, rows[i].type, rows[i].name,
                   (unsigned long long)rows[i].value);
}

void metrics_core(struct apiserver *s, struct buf *out)
{
    struct store_stats st;
    struct rt_stats loop = rt_stats(s->rt);
    store_stats(s->store, &st);
    const struct {
        const char *name, *type;
        double value;
    } rows[] = {
        {"davit_store_writes_total", "counter", (double)st.writes},
        {"davit_store_batches_total", "counter", (double)st.batches},
        {"davit_store_fsync_seconds_total", "counter", (double)st.fsync_nsec / 1e9},
        {"davit_store_objects", "gauge", (double)st.objects},
        {"davit_store_object_bytes", "gauge", (double)st.object_bytes},
        {"davit_store_json_bytes", "gauge", (double)st.json_bytes},
        {"davit_store_pending_writes", "gauge", (double)st.pending},
        {"davit_store_revision", "gauge", (double)store_rev(s->store)},
        {"davit_store_compacted_revision", "gauge", (double)st.compacted},
        {"davit_store_watches", "gauge", (double)st.watches},
        {"davit_core_turns_total", "counter", (double)loop.turns},
        {"davit_core_busy_seconds_total", "counter", (double)loop.busy / 1e9},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        buf_printf(out, "# TYPE %s %s\n%s %.9g\n", rows[i].name, rows[i].type, rows[i].name,
                   rows[i].value);
    if (s->issuers)
        issuers_metrics(s->issuers, out);
    remotes_metrics(s->remotes, out);
    hooks_metrics(s->hooks, out);
    convert_metrics(s, out);
    buf_add_lit(out, "# TYPE apiserver_storage_objects gauge\n");
    for (unsigned k = 0; k < _KIND_MAX; k++) {
        size_t n = schema_kinds[k]->storage == k ? store_count(s->store, schema_kinds[k]) : 0;
        char res[128];
        if (n)
            buf_printf(out, "apiserver_storage_objects{resource=\"%s\"} %zu\n",
                       kind_resource(schema_kinds[k], res, sizeof(res)), n);
    }
    customs_metrics(s, out);
}
