/* The settings do not change while a cluster lives, so the copy on disk is as good as the server's.
 */
#include "net/cluster.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "schema/schema.h"
#include "sys/fs.h"

#define RETRY_FIRST (200 * NSEC_PER_MSEC)
#define RETRY_LAST  (5 * NSEC_PER_SEC)
#define BYTES_MAX   ((size_t)1 << 16)

struct net_cluster {
    struct rt *rt;
    struct client *client;
    char *dir; /* owned; DATA/net */
    struct rt_timer timer;
    struct rt_task task;
    nsec_t wait;
    bool asking, cancelled;
    net_cluster_fn done;
    void *arg;
};

static void cluster_free(struct net_cluster *c)
{
    rt_timer_stop(&c->timer);
    rt_task_cancel(&c->task);
    free(c->dir);
    free(c);
}

static void finish(struct net_cluster *c, int r, const struct cluster_config *config,
                   const struct error *err)
{
    c->done(c->arg, r, config, err);
    cluster_free(c);
}

/* A copy that cannot be written costs only a question at the next start. */
static void keep(const struct net_cluster *c, const struct api_config_map *m)
{
    struct buf b = {0};
    int r = sys_mkdir_all(c->dir, 0700);
    CLEANUP(fd_closep) int dir = r < 0 ? -1 : open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    schema_encode_json(&api_config_map_desc, m, SCHEMA_ENCODE_TYPE_META, &b);
    r = dir < 0 ? -errno : sys_put_file(dir, "cluster", b.data, b.n, 0600);
    if (r < 0)
        log_warn("cannot keep the cluster's settings in %s: %s", c->dir, strerror(-r));
    buf_fini(&b);
}

static void on_got(void *arg, const struct client_reply *reply)
{
    struct net_cluster *c = arg;
    struct cluster_config config;
    struct error err = {0};
    c->asking = false;
    if (c->cancelled) {
        cluster_free(c);
        return;
    }
    if (reply->r == 0) {
        const struct api_config_map *m = OBJECT_MSG(reply->object, api_config_map);
        int r = cluster_config_read(m, &config, &err);
        if (r == 0)
            keep(c, m);
        finish(c, r, &config, &err);
    } else if (reply->err && (reply->err->reason == REASON_FORBIDDEN ||
                              reply->err->reason == REASON_UNAUTHORIZED ||
                              reply->err->reason == REASON_NOT_FOUND)) {
        finish(c, reply->r, NULL, reply->err);
    } else {
        if (c->wait == RETRY_FIRST)
            log_warn("reading the cluster's settings: %.*s; trying again",
                     STR_ARG(reply->err ? reply->err->message : STR("no answer")));
        rt_timer_start(&c->timer, rt_jitter(c->rt, c->wait, 0.2));
        c->wait = MIN(c->wait * 2, RETRY_LAST);
    }
    error_fini(&err);
}

static void ask(void *arg)
{
    struct net_cluster *c = arg;
    c->asking = true;
    client_get(c->client, schema_kinds[KIND_CONFIG_MAP], STR("kube-system"),
               STR(CLUSTER_CONFIG_NAME), on_got, c);
}

static bool from_disk(struct net_cluster *c)
{
    CLEANUP(freep) char *path = xasprintf("%s/cluster", c->dir);
    CLEANUP(freep) char *text = NULL;
    struct arena a = {0};
    struct api_config_map m = {0};
    struct cluster_config config;
    size_t n = 0;
    bool good =
        sys_read_file(AT_FDCWD, path, BYTES_MAX, &text, &n) == 0 &&
        schema_decode_text(&api_config_map_desc, (struct str){text, n}, &a, NULL, &m, NULL) >= 0 &&
        cluster_config_read(&m, &config, NULL) == 0;
    if (good)
        finish(c, 0, &config, NULL);
    arena_fini(&a);
    return good;
}

static void begin(void *arg)
{
    struct net_cluster *c = arg;
    if (!from_disk(c))
        ask(c);
}

struct net_cluster *net_cluster_start(struct client *client, const char *data_dir,
                                      net_cluster_fn done, void *arg)
{
    struct net_cluster *c = NEW(struct net_cluster);
    *c = (struct net_cluster){
        .rt = client->rt,
        .client = client,
        .dir = xasprintf("%s/net", data_dir),
        .wait = RETRY_FIRST,
        .done = done,
        .arg = arg,
    };
    rt_timer_init(&c->timer, c->rt, ask, c);
    rt_task_init(&c->task, c->rt, begin, c);
    rt_task_schedule(&c->task);
    return c;
}

struct net_cluster *net_cluster_cancel(struct net_cluster *c)
{
    if (!c)
        return NULL;
    rt_timer_stop(&c->timer);
    rt_task_cancel(&c->task);
    c->cancelled = true;
    if (!c->asking)
        cluster_free(c);
    return NULL;
}
