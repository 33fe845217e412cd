/* Figures of the store alone. One line each: `bench store.NAME VALUE UNIT`. Objects are pods as a
 * Deployment makes them. Arguments: a directory for LMDB on the disk to be measured (default:
 * /var/tmp), and the number of pods (default 10000). */
#include "base/mem.h"
#include "codec/json.h"
#include "rt/rt.h"
#include "store/store_lmdb.h"
#include "store/store_mem.h"

#include <ftw.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define POD       schema_kinds[KIND_POD]
#define IN_FLIGHT 32

static const char pod_json[] =
    "{\"metadata\":{\"name\":\"x\",\"namespace\":\"default\",\"uid\":\"4d0b7a1e-8a64-4e6b-9a5e-"
    "0d3f6f6d0001\","
    "\"generateName\":\"web-7c5ddbdf54-\",\"creationTimestamp\":\"2026-01-01T00:00:00Z\","
    "\"labels\":{\"app\":\"web\",\"pod-template-hash\":\"7c5ddbdf54\"},"
    "\"ownerReferences\":[{\"apiVersion\":\"apps/"
    "v1\",\"kind\":\"ReplicaSet\",\"name\":\"web-7c5ddbdf54\","
    "\"uid\":\"4d0b7a1e-8a64-4e6b-9a5e-0d3f6f6d0002\",\"controller\":true,\"blockOwnerDeletion\":"
    "true}]},"
    "\"spec\":{\"containers\":[{\"name\":\"web\",\"image\":\"registry.local/"
    "web:1.2.3\",\"command\":[\"/bin/httpd\",\"-f\"],"
    "\"ports\":[{\"containerPort\":8080,\"protocol\":\"TCP\"}],\"env\":[{\"name\":\"A\",\"value\":"
    "\"b\"}],"
    "\"resources\":{\"requests\":{\"cpu\":\"100m\",\"memory\":\"64Mi\"},\"limits\":{\"memory\":"
    "\"128Mi\"}},"
    "\"readinessProbe\":{\"httpGet\":{\"path\":\"/"
    "\",\"port\":8080,\"scheme\":\"HTTP\"},\"timeoutSeconds\":1,"
    "\"periodSeconds\":5,\"successThreshold\":1,\"failureThreshold\":3},"
    "\"terminationMessagePath\":\"/dev/termination-log\",\"terminationMessagePolicy\":\"File\","
    "\"volumeMounts\":[{\"name\":\"kube-api-access-abcde\",\"readOnly\":true,"
    "\"mountPath\":\"/var/run/secrets/kubernetes.io/"
    "serviceaccount\"}],\"imagePullPolicy\":\"IfNotPresent\"}],"
    "\"volumes\":[{\"name\":\"kube-api-access-abcde\",\"projected\":{\"sources\":[{"
    "\"serviceAccountToken\":"
    "{\"expirationSeconds\":3607,\"path\":\"token\"}},{\"configMap\":{\"name\":\"kube-root-ca."
    "crt\",\"items\":"
    "[{\"key\":\"ca.crt\",\"path\":\"ca.crt\"}]}},{\"downwardAPI\":{\"items\":[{\"path\":"
    "\"namespace\",\"fieldRef\":"
    "{\"apiVersion\":\"v1\",\"fieldPath\":\"metadata.namespace\"}}]}}],\"defaultMode\":420}}],"
    "\"restartPolicy\":\"Always\",\"terminationGracePeriodSeconds\":30,\"dnsPolicy\":"
    "\"ClusterFirst\","
    "\"serviceAccountName\":\"default\",\"nodeName\":\"node-17\",\"securityContext\":{},"
    "\"schedulerName\":\"default-scheduler\",\"tolerations\":[{\"key\":\"node.kubernetes.io/"
    "not-ready\","
    "\"operator\":\"Exists\",\"effect\":\"NoExecute\",\"tolerationSeconds\":300}]},"
    "\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\","
    "\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"},{\"type\":\"PodScheduled\",\"status\":"
    "\"True\","
    "\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}],\"podIP\":\"10.244.1.17\",\"hostIP\":\"192."
    "168.1.5\","
    "\"containerStatuses\":[{\"name\":\"web\",\"ready\":true,\"restartCount\":0,\"image\":"
    "\"registry.local/web:1.2.3\","
    "\"containerID\":\"davit://"
    "4d0b7a1e8a644e6b9a5e0d3f6f6d0003\",\"started\":true}],\"qosClass\":\"Burstable\"}}";

struct bench {
    struct rt *rt;
    struct store *s;
    struct api_pod *pod;
    struct arena arena;
    unsigned todo, next, done, in_flight;
    bool finished;
};

static double seconds(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void figure(const char *name, double value, const char *unit)
{
    printf("bench store.%s %.1f %s\n", name, value, unit);
    (void)fflush(stdout);
}

static bool is_finished(void *arg)
{
    return *(bool *)arg;
}

static void set_flag(void *arg)
{
    *(bool *)arg = true;
}

static void wait_for(struct bench *b, bool *flag)
{
    if (!rt_run_until(b->rt, is_finished, flag, 600 * NSEC_PER_SEC))
        abort();
}

static struct str pod_name(char *buf, size_t size, unsigned i)
{
    /* generated names come in no order */
    return (struct str){buf, (size_t)snprintf(buf, size, "web-7c5ddbdf54-%08x", i * 2654435761u)};
}

static void put_more(struct bench *b);

static void put_done(void *arg, int r, struct object *o, const struct error *err)
{
    struct bench *b = arg;

    if (r < 0)
        abort();
    b->in_flight--;
    if (++b->done == b->todo)
        b->finished = true;
    put_more(b);
}

static void put_more(struct bench *b)
{
    char name[64];

    while (b->in_flight < IN_FLIGHT && b->next < b->todo) {
        b->pod->metadata.name = pod_name(name, sizeof(name), b->next++);
        b->in_flight++;
        if (store_put(b->s, POD, b->pod, STORE_ABSENT, put_done, b, NULL) < 0)
            abort();
    }
}

static size_t heap_bytes(void)
{
    struct mallinfo2 m = mallinfo2();

    return m.uordblks + m.hblkhd;
}

static size_t rss_bytes(void)
{
    FILE *fp = fopen("/proc/self/statm", "re");
    size_t pages = 0;

    if (fp) {
        if (fscanf(fp, "%*s %zu", &pages) != 1)
            pages = 0;
        (void)fclose(fp);
    }
    return pages * 4096;
}

static void open_on(struct bench *b, struct store_backend *backend)
{
    struct error err = {0};

    if (store_open(b->rt, backend, NULL, &b->s, &err) < 0) {
        (void)fprintf(stderr, "%.*s\n", STR_ARG(err.message));
        exit(1);
    }
}

static void close_it(struct bench *b)
{
    bool closed = false;

    store_close(b->s, set_flag, &closed);
    wait_for(b, &closed);
}

static void bench_put(struct bench *b, const char *what, unsigned n)
{
    char name[64];
    struct store_stats st;
    size_t heap = heap_bytes(), rss = rss_bytes();
    double t = seconds();

    b->todo = n;
    b->next = b->done = 0;
    b->finished = false;
    put_more(b);
    wait_for(b, &b->finished);
    t = seconds() - t;
    store_stats(b->s, &st);
    snprintf(name, sizeof(name), "put.%s", what);
    figure(name, n / t, "ops/s");
    snprintf(name, sizeof(name), "put.%s.batch", what);
    figure(name, (double)st.writes / (double)st.batches, "writes");
    snprintf(name, sizeof(name), "heap_per_pod.%s", what);
    figure(name, (double)(heap_bytes() - heap) / n, "bytes");
    snprintf(name, sizeof(name), "rss_per_pod.%s", what);
    figure(name, (double)(rss_bytes() - rss) / n, "bytes");
    snprintf(name, sizeof(name), "msg_per_pod.%s", what);
    figure(name, (double)st.object_bytes / n, "bytes");
    snprintf(name, sizeof(name), "disk_per_pod.%s", what);
    figure(name, (double)st.disk_bytes / n, "bytes");
}

static void bench_get(struct bench *b, unsigned n)
{
    char name[64];
    double t = seconds();
    unsigned found = 0, rounds = 1000000;

    for (unsigned i = 0; i < rounds; i++)
        found += store_get(b->s, POD, STR("default"), pod_name(name, sizeof(name), i % n)) != NULL;
    if (found != rounds)
        abort();
    figure("get", rounds / (seconds() - t), "ops/s");
}

static void bench_list(struct bench *b, const char *what)
{
    struct store_iter it;
    struct object *o;
    size_t n = 0, bytes = 0;
    char name[64];
    double t = seconds();

    if (store_iter_init(&it, b->s, POD, STR_NONE, 0, STR_NONE, STR_NONE) < 0)
        abort();
    while ((o = store_iter_next(&it))) {
        struct blob *json = object_json_ref(o);
        bytes += json->n;
        (void)blob_unref(json);
        n++;
    }
    store_iter_fini(&it);
    snprintf(name, sizeof(name), "list.%s", what);
    figure(name, (seconds() - t) * 1000, "ms");
    snprintf(name, sizeof(name), "list.%s.json_per_pod", what);
    figure(name, (double)bytes / (double)n, "bytes");
}

static uint64_t events_seen;

static void on_events(void *arg, const struct store_event *ev, size_t n)
{
    events_seen += n;
}

static void bench_fan_out(struct bench *b, unsigned n)
{
    struct store_watch *w = xcalloc(1000, sizeof(*w));
    double t;

    events_seen = 0;
    for (unsigned i = 0; i < 1000; i++)
        if (store_watch_start(&w[i], b->s, POD, STR_NONE, store_rev(b->s), on_events, NULL) < 0)
            abort();
    t = seconds();
    b->todo = n + 1000;
    b->next = n;
    b->done = n;
    b->finished = false;
    put_more(b);
    wait_for(b, &b->finished);
    figure("fan_out.1000_watchers", (double)events_seen / (seconds() - t), "events/s");
    for (unsigned i = 0; i < 1000; i++)
        store_watch_stop(&w[i]);
    free(w);
}

static int rm_one(const char *path, const struct stat *sb, int flag, struct FTW *ftw)
{
    return remove(path);
}

int main(int argc, char **argv)
{
    struct bench b = {.rt = rt_uv_new()};
    CLEANUP(freep)
    char *dir = xasprintf("%s/davit-bench-store.%d", argc > 1 ? argv[1] : "/var/tmp", getpid());
    struct store_lmdb_opts opts = {.dir = dir};
    uint64_t n = 10000;
    struct error err = {0};
    double t;

    if (argc > 2 && (str_to_u64(str_z(argv[2]), &n) < 0 || n == 0 || n > 10000000))
        return 2;
    b.pod = schema_new(POD->desc, &b.arena);
    if (schema_decode_text(POD->desc, str_z(pod_json), &b.arena, NULL, b.pod, &err) < 0) {
        (void)fprintf(stderr, "%.*s\n", STR_ARG(err.message));
        return 1;
    }
    t = seconds();
    open_on(&b, store_lmdb_new(&opts));
    figure("create_empty", (seconds() - t) * 1000, "ms");
    close_it(&b);
    t = seconds();
    open_on(&b, store_lmdb_new(&opts));
    figure("open_empty", (seconds() - t) * 1000, "ms");
    bench_put(&b, "durable", (unsigned)n);
    close_it(&b);
    (void)malloc_trim(0);
    t = seconds();
    open_on(&b, store_lmdb_new(&opts));
    figure("open", (seconds() - t) * 1000, "ms");
    figure("rss_after_open", (double)rss_bytes() / 1e6, "MB");
    bench_get(&b, (unsigned)n);
    bench_list(&b, "cold");
    bench_list(&b, "hot");
    bench_fan_out(&b, (unsigned)n);
    close_it(&b);
    (void)nftw(dir, rm_one, 16, FTW_DEPTH | FTW_PHYS);
    open_on(&b, store_mem_new(NULL));
    bench_put(&b, "memory", (unsigned)n);
    close_it(&b);
    arena_fini(&b.arena);
    (void)rt_free(b.rt);
    return 0;
}
