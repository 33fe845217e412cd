/* The agent with real containers against an API server in memory. Needs root, crun and conmon;
 * skipped without. Everything is made under a temporary directory and purged at the end. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "fake_api.h"
#include "node/fsutil.h"
#include "node/image/image.h"
#include "node/node.h"

extern char **environ;

#define PATIENCE (60 * NSEC_PER_SEC)

struct world {
    char dir[64];
    struct rt *rt;
    struct fake_api *api;
    struct image_store *images;
    struct node *node;
    bool ready, stopped;
};

static struct world w;

static int run_cmd(const char *const *argv)
{
    pid_t pid;
    int status = -1;
    if (posix_spawn(&pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)argv, environ) != 0)
        return -1;
    waitpid(pid, &status, 0);
    return status;
}

static void on_ready(void *arg)
{
    w.ready = true;
}

static void on_stopped(void *arg)
{
    w.stopped = true;
}

static void agent_up(void)
{
    struct error err = {0};
    struct image_store_opts io = {.dir = fs_path("%s/images", w.dir).s, .rt = w.rt};
    assert_int_equal(image_store_open(&io, &w.images, &err), 0);
    struct node_opts o = {
        .rt = w.rt,
        .client = fake_api_client(w.api),
        .data_dir = w.dir,
        .node_name = "n1",
        .addresses = {STR("127.0.0.1")},
        .n_addresses = 1,
        .images = w.images,
        .on_ready = on_ready,
        .log_bytes_max = 20000,
    };
    w.node = node_new(&o, &err);
    if (!w.node)
        fail_msg("%.*s", STR_ARG(err.message));
    node_start(w.node);
}

static bool is_stopped(void *arg)
{
    return w.stopped;
}

static void agent_down(bool stop_pods)
{
    w.stopped = false;
    node_stop(w.node, stop_pods, 5, on_stopped, NULL);
    assert_true(rt_run_until(w.rt, is_stopped, NULL, PATIENCE));
    w.node = node_free(w.node);
    w.images = image_store_close(w.images);
}

static void put_pod(const char *name, const char *uid, const char *spec)
{
    char *json = xasprintf(
        "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"default\",\"uid\":\"%s\",\"generation\":1,"
        "\"labels\":{\"app\":\"x\"}},\"spec\":{\"nodeName\":\"n1\",\"hostNetwork\":true,%s}}",
        name, uid, spec);
    fake_api_put(w.api, KIND_POD, json);
    free(json);
}

static const struct api_pod *pod(const char *name)
{
    struct object *o = fake_api_get(w.api, KIND_POD, "default", name);
    return o ? o->msg : NULL;
}

struct want {
    const char *name, *phase;
    int restarts;
    const char *waiting;
    bool gone, ready;
    int code; /* of the terminated state of the first container; -1: any */
};

static bool is_so(void *arg)
{
    const struct want *x = arg;
    const struct api_pod *p = pod(x->name);
    if (!p)
        return x->gone;
    if (x->gone || (x->phase && !str_eqz(p->status.phase, x->phase)))
        return false;
    const struct api_container_status *c =
        p->status.n_container_statuses ? &p->status.container_statuses[0] : NULL;
    if (x->waiting && !(c && c->state.waiting && str_eqz(c->state.waiting->reason, x->waiting)))
        return false;
    if (x->ready && !(c && c->ready))
        return false;
    return !x->restarts || (c && c->restart_count >= x->restarts);
}

static void print_state(void)
{
    struct buf b = {0};
    node_dump(w.node, &b);
    print_message("%.*s", STR_ARG(buf_str(&b)));
    buf_fini(&b);
    for (int i = 0; i < 1; i++) {
        struct object *o = fake_api_get(w.api, KIND_POD, "default", "p1");
        if (o)
            print_message("%.*s\n", STR_ARG(object_json(o)));
    }
}

static void wait_for(struct want x)
{
    if (rt_run_until(w.rt, is_so, &x, PATIENCE))
        return;
    print_state();
    struct object *o = fake_api_get(w.api, KIND_POD, "default", x.name);
    fail_msg("pod %s does not become phase=%s waiting=%s gone=%d: %.*s", x.name, x.phase, x.waiting,
             x.gone, STR_ARG(o ? object_json(o) : STR("none")));
}

static char *read_log(const char *uid, const char *ctr, int attempt)
{
    struct buf b = {0};
    (void)!fs_read(fs_path("%s/node/pods/%s/logs/%s/%d.log", w.dir, uid, ctr, attempt).s, 1 << 20,
                   &b);
    if (b.n)
        return buf_take(&b, NULL);
    buf_fini(&b);
    return xstrdup("");
}

#define CTR(script)                                                                                \
    "{\"name\":\"c\",\"image\":\"test/busybox:1\",\"command\":[\"sh\",\"-c\",\"" script "\"]}"

/* ---- tests ---- */

static void test_runs_to_completion(void **state)
{
    put_pod("p1", "u1",
            "\"restartPolicy\":\"Never\",\"containers\":[" CTR(
                "echo hello $IMG; echo bad >&2; exit 3") "]");
    wait_for((struct want){.name = "p1", .phase = "Failed"});
    const struct api_pod *p = pod("p1");
    const struct api_container_state_terminated *t =
        p->status.container_statuses[0].state.terminated;
    assert_non_null(t);
    assert_int_equal(t->exit_code, 3);
    assert_true(str_is(t->reason, "Error"));
    assert_true(t->started_at.set && t->finished_at.set);
    char *log = read_log("u1", "c", 0);
    assert_non_null(strstr(log, "stdout F hello yes\n"));
    assert_non_null(strstr(log, "stderr F bad\n"));
    free(log);
    assert_true(str_is(p->status.qos_class, "BestEffort"));
    fake_api_delete_gracefully(w.api, "default", "p1", 0);
    wait_for((struct want){.name = "p1", .gone = true});
}

static bool dir_gone(void *arg)
{
    return !fs_exists(arg);
}

static void test_restart_and_backoff(void **state)
{
    put_pod("p2", "u2",
            "\"restartPolicy\":\"Always\",\"containers\":[" CTR("echo run; exit 1") "]");
    wait_for((struct want){.name = "p2", .waiting = "CrashLoopBackOff", .restarts = 1});
    const struct api_pod *p = pod("p2");
    assert_true(str_is(p->status.phase, "Running"));
    assert_non_null(p->status.container_statuses[0].last_state.terminated);
    assert_int_equal(p->status.container_statuses[0].last_state.terminated->exit_code, 1);
    assert_int_equal(p->status.container_statuses[0].restart_count, 1);
    assert_true(fake_api_count_events(w.api, "BackOff") > 0);
    fake_api_delete_gracefully(w.api, "default", "p2", 1);
    wait_for((struct want){.name = "p2", .gone = true});
    struct fs_path dir = fs_path("%s/node/pods/u2", w.dir);
    assert_true(rt_run_until(w.rt, dir_gone, dir.s, 60 * NSEC_PER_SEC));
}

/* What cannot start backs off as what ends at once does; it once was tried anew without a pause. */
static void test_start_error_backs_off(void **state)
{
    put_pod("p2e", "u2e",
            "\"restartPolicy\":\"Always\",\"containers\":[{\"name\":\"c\",\"image\":"
            "\"test/busybox:1\",\"command\":[\"/no/such/program\"]}]");
    wait_for((struct want){.name = "p2e", .waiting = "CrashLoopBackOff", .restarts = 1});
    const struct api_pod *p = pod("p2e");
    assert_int_equal(p->status.container_statuses[0].restart_count, 1);
    assert_true(
        str_is(p->status.container_statuses[0].last_state.terminated->reason, "StartError"));
    fake_api_delete_gracefully(w.api, "default", "p2e", 1);
    wait_for((struct want){.name = "p2e", .gone = true});
}

static int pid_of(const char *uid)
{
    int64_t pid = 0;
    for (int i = 9; i > 0; i--)
        if (fs_read_i64(fs_path("%s/node/pods/%s/c/c/%d/pid", w.dir, uid, i).s, &pid) == 0)
            return (int)pid;
    return 0;
}

static void test_killed_container_is_replaced(void **state)
{
    put_pod("p3", "u3", "\"restartPolicy\":\"Always\",\"containers\":[" CTR("sleep 1000") "]");
    wait_for((struct want){.name = "p3", .phase = "Running", .ready = true});
    int pid = pid_of("u3");
    assert_true(pid > 1);
    nsec_t t = rt_now(w.rt);
    kill(pid, SIGKILL);
    wait_for((struct want){.name = "p3", .phase = "Running", .ready = true, .restarts = 1});
    print_message("replaced after %lld ms\n", (long long)((rt_now(w.rt) - t) / NSEC_PER_MSEC));
    const struct api_pod *p = pod("p3");
    assert_int_equal(p->status.container_statuses[0].last_state.terminated->exit_code, 137);
    assert_true(str_is(p->status.container_statuses[0].last_state.terminated->reason, "Error"));
}

static bool never(void *arg)
{
    return false;
}

/* The agent goes and comes back: the container is the same; ended meanwhile, its exit is known. */
static void test_adoption(void **state)
{
    int pid = pid_of("u3");
    agent_down(false);
    assert_int_equal(kill(pid, 0), 0);
    agent_up();
    wait_for((struct want){.name = "p3", .phase = "Running", .ready = true});
    assert_int_equal(pid_of("u3"), pid);
    assert_int_equal(pod("p3")->status.container_statuses[0].restart_count, 1);
    agent_down(false);
    kill(pid, SIGKILL);        /* conmon may have written down how it ended by then, or not yet */
    fake_api_up(w.api, false); /* it goes on without the server */
    agent_up();
    (void)rt_run_until(w.rt, never, NULL, 100 * NSEC_PER_MSEC);
    fake_api_up(w.api, true);
    wait_for((struct want){.name = "p3", .phase = "Running", .restarts = 2});
    fake_api_delete_gracefully(w.api, "default", "p3", 1);
    wait_for((struct want){.name = "p3", .gone = true});
}

static void test_init_and_volumes(void **state)
{
    fake_api_put(w.api, KIND_CONFIG_MAP,
                 "{\"metadata\":{\"name\":\"cm\",\"namespace\":\"default\"},\"data\":{\"key\":"
                 "\"value1\",\"A\":\"b\"}}");
    put_pod(
        "p4", "u4",
        "\"restartPolicy\":\"Never\","
        "\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}},{\"name\":\"cm\",\"configMap\":{\"name\":"
        "\"cm\"}},"
        "{\"name\":\"d\",\"downwardAPI\":{\"items\":[{\"path\":\"labels\",\"fieldRef\":{"
        "\"fieldPath\":\"metadata.labels\"}}]}}],"
        "\"initContainers\":[{\"name\":\"i\",\"image\":\"test/"
        "busybox:1\",\"command\":[\"sh\",\"-c\",\"echo fromInit > /v/f\"],"
        "\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"}]}],"
        "\"containers\":[{\"name\":\"c\",\"image\":\"test/busybox:1\","
        "\"command\":[\"sh\",\"-c\",\"cat /v/f /cm/key /d/labels; echo; echo $X $(POD) $A; id -u; "
        "echo done > /dev/termination-log\"],"
        "\"env\":[{\"name\":\"X\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"cm\",\"key\":"
        "\"key\"}}},"
        "{\"name\":\"POD\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.name\"}}}],"
        "\"envFrom\":[{\"configMapRef\":{\"name\":\"cm\"}}],"
        "\"securityContext\":{\"runAsUser\":101,\"readOnlyRootFilesystem\":true},"
        "\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"},{\"name\":\"cm\",\"mountPath\":\"/"
        "cm\"},{\"name\":\"d\",\"mountPath\":\"/d\"}]}]");
    wait_for((struct want){.name = "p4", .phase = "Succeeded"});
    char *log = read_log("u4", "c", 0);
    print_message("%s", log);
    assert_non_null(strstr(log, "fromInit"));
    assert_non_null(strstr(log, "value1"));
    assert_non_null(strstr(log, "app=\"x\""));
    assert_non_null(strstr(log, "F value1 p4 b"));
    assert_non_null(strstr(log, "F 101"));
    free(log);
    const struct api_pod *p = pod("p4");
    assert_true(str_is(p->status.container_statuses[0].state.terminated->message, "done\n"));
    assert_int_equal(p->status.n_init_container_statuses, 1);
    assert_true(p->status.init_container_statuses[0].ready);
    fake_api_delete(w.api, KIND_POD, "default", "p4");
    struct fs_path dir = fs_path("%s/node/pods/u4", w.dir);
    assert_true(rt_run_until(w.rt, dir_gone, dir.s, 60 * NSEC_PER_SEC));
}

static void test_missing_config(void **state)
{
    put_pod("p5", "u5",
            "\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"test/"
            "busybox:1\",\"command\":[\"sh\",\"-c\",\"echo $X\"],"
            "\"env\":[{\"name\":\"X\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"late\",\"key\":"
            "\"k\"}}}]}]");
    wait_for(
        (struct want){.name = "p5", .phase = "Pending", .waiting = "CreateContainerConfigError"});
    assert_true(str_is(pod("p5")->status.container_statuses[0].state.waiting->message,
                       "secret \"late\" not found"));
    fake_api_put(w.api, KIND_SECRET,
                 "{\"metadata\":{\"name\":\"late\",\"namespace\":\"default\"},\"data\":{\"k\":"
                 "\"bGF0ZXI=\"}}");
    wait_for((struct want){.name = "p5", .phase = "Succeeded"});
    char *log = read_log("u5", "c", 0);
    assert_non_null(strstr(log, "F later"));
    free(log);
    put_pod("p6", "u6",
            "\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"test/"
            "none:1\",\"imagePullPolicy\":\"Never\"}]");
    wait_for((struct want){.name = "p6", .waiting = "ErrImageNeverPull"});
    put_pod("p7", "u7",
            "\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"test/"
            "busybox:1\",\"command\":[\"/nothing\"]}]");
    wait_for((struct want){.name = "p7", .phase = "Failed"});
    const struct api_container_state_terminated *t =
        pod("p7")->status.container_statuses[0].state.terminated;
    assert_true(str_is(t->reason, "StartError"));
    assert_int_equal(t->exit_code, 128);
    print_message("%.*s\n", STR_ARG(t->message));
    const char *names[] = {"p5", "p6", "p7"};
    for (int i = 0; i < 3; i++) {
        fake_api_delete_gracefully(w.api, "default", names[i], 0);
        wait_for((struct want){.name = names[i], .gone = true});
    }
}

static void test_probes_and_hooks(void **state)
{
    /* A hook after the start may run before the command does: its output cannot be opened then. */
    put_pod(
        "p8", "u8",
        "\"terminationGracePeriodSeconds\":600,\"containers\":[{\"name\":\"c\",\"image\":\"test/"
        "busybox:1\","
        "\"command\":[\"sh\",\"-c\",\"trap 'echo termed; exit 0' TERM; while true; do sleep 0.1; "
        "done\"],"
        "\"readinessProbe\":{\"exec\":{\"command\":[\"test\",\"-f\",\"/tmp/"
        "ready\"]},\"periodSeconds\":1},"
        "\"lifecycle\":{\"postStart\":{\"exec\":{\"command\":[\"sh\",\"-c\","
        "\"until echo post > /proc/1/fd/1; do sleep 0.1; done; touch /tmp/ready\"]}},"
        "\"preStop\":{\"exec\":{\"command\":[\"sh\",\"-c\",\"echo prestop > /proc/1/fd/1\"]}}}}]");
    wait_for((struct want){.name = "p8", .phase = "Running", .ready = true});
    /* the log goes with the pod: keep it open */
    struct fs_path path = fs_path("%s/node/pods/u8/logs/c/0.log", w.dir);
    int fd = open(path.s, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    fake_api_delete_gracefully(w.api, "default", "p8", 600);
    wait_for((struct want){.name = "p8", .gone = true}); /* long before its grace is over */
    char text[4096] = {0};
    assert_true(read(fd, text, sizeof(text) - 1) > 0);
    close(fd);
    print_message("%s", text);
    assert_non_null(strstr(text, "F post"));
    assert_non_null(strstr(text, "F prestop"));
    assert_non_null(strstr(text, "F termed"));
    put_pod("p9", "u9",
            "\"containers\":[{\"name\":\"c\",\"image\":\"test/"
            "busybox:1\",\"command\":[\"sleep\",\"1000\"],"
            "\"livenessProbe\":{\"exec\":{\"command\":[\"false\"]},\"periodSeconds\":1,"
            "\"failureThreshold\":1,"
            "\"terminationGracePeriodSeconds\":1}}]");
    wait_for((struct want){.name = "p9", .restarts = 1});
    assert_true(fake_api_count_events(w.api, "Unhealthy") > 0);
    fake_api_delete_gracefully(w.api, "default", "p9", 0);
    wait_for((struct want){.name = "p9", .gone = true});
}

static void test_shared_pid_and_sidecar(void **state)
{
    put_pod("p10", "u10",
            "\"restartPolicy\":\"Never\",\"shareProcessNamespace\":true,"
            "\"initContainers\":[{\"name\":\"side\",\"image\":\"test/"
            "busybox:1\",\"restartPolicy\":\"Always\","
            "\"command\":[\"sh\",\"-c\",\"trap 'exit 0' TERM; while true; do sleep 0.1; done\"]}],"
            "\"containers\":[{\"name\":\"c\",\"image\":\"test/"
            "busybox:1\",\"command\":[\"sh\",\"-c\",\"sleep 0.3; ps | grep -c holder; ps\"]}]");
    wait_for((struct want){.name = "p10", .phase = "Succeeded"});
    char *log = read_log("u10", "c", 0);
    print_message("%s", log);
    assert_non_null(strstr(log, "davit-holder"));
    free(log);
    fake_api_delete_gracefully(w.api, "default", "p10", 0);
    wait_for((struct want){.name = "p10", .gone = true});
}

static int count_one(void *arg, const char *name, unsigned char type)
{
    (*(int *)arg)++;
    return 0;
}

static int count_logs(const char *uid)
{
    int n = 0;
    (void)!fs_each(fs_path("%s/node/pods/%s/logs/c", w.dir, uid).s, count_one, &n);
    return n;
}

/* There are two, and conmon writes to the new one. */
static bool rotated(void *arg)
{
    char *log = read_log("u11", "c", 0);
    bool r = count_logs("u11") >= 2 && !strstr(log, "F 17\n") && strstr(log, "F tick");
    free(log);
    return r;
}

static void test_log_rotation(void **state)
{
    put_pod("p11", "u11",
            "\"terminationGracePeriodSeconds\":0,\"containers\":[" CTR(
                "seq 1 3000; while true; do echo tick; sleep 0.2; done") "]");
    wait_for((struct want){.name = "p11", .phase = "Running"});
    assert_true(rt_run_until(w.rt, rotated, NULL, PATIENCE));
    fake_api_delete_gracefully(w.api, "default", "p11", 0);
    wait_for((struct want){.name = "p11", .gone = true});
}

/* ---- set-up ---- */

static int setup(void **state)
{
    struct error err = {0};
    log_init("test", getenv("TEST_LOG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN);
    snprintf(w.dir, sizeof(w.dir), "/tmp/davit-test-node-%d", (int)getpid());
    if (fs_mkdirs(fs_path("%s/node", w.dir).s, 0755) < 0)
        return -1;
    if (node_host_enter(w.dir, &err) < 0) {
        print_message("%.*s\n", STR_ARG(err.message));
        return -1;
    }
    struct fs_path tar = fs_path("%s/image.tar", w.dir), images = fs_path("%s/images", w.dir);
    const char *argv[] = {getenv("MAKE_IMAGE"), tar.s, NULL};
    if (!argv[0])
        print_message("MAKE_IMAGE names tests/unit/node/make_image.sh; meson test sets it\n");
    if (!argv[0] || run_cmd(argv) != 0)
        return -1;
    struct image_store_opts io = {.dir = images.s};
    struct image_store *s;
    if (image_store_open(&io, &s, &err) < 0 ||
        image_load_file(s, tar.s, NULL, NULL, NULL, &err) < 0) {
        print_message("%.*s\n", STR_ARG(err.message));
        return -1;
    }
    image_store_close(s);
    w.rt = rt_uv_new();
    w.api = fake_api_new(w.rt);
    agent_up();
    return 0;
}

static int teardown(void **state)
{
    struct error err = {0};
    if (w.node)
        agent_down(true);
    w.api = fake_api_free(w.api);
    w.rt = rt_free(w.rt);
    int r = node_purge(w.dir, true, &err);
    if (r < 0)
        print_message("purge: %.*s\n", STR_ARG(err.message));
    (void)!fs_rm_rf(w.dir);
    error_fini(&err);
    return r;
}

static void test_registers(void **state)
{
    while (!w.ready)
        assert_true(rt_run_until(w.rt, is_stopped, NULL, 50 * NSEC_PER_MSEC) || true);
    assert_non_null(fake_api_get(w.api, KIND_NODE, "", "n1"));
}

int main(void)
{
    if (geteuid() != 0 || access("/usr/bin/crun", X_OK) < 0 || access("/usr/bin/conmon", X_OK) < 0)
        return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registers),
        cmocka_unit_test(test_runs_to_completion),
        cmocka_unit_test(test_restart_and_backoff),
        cmocka_unit_test(test_start_error_backs_off),
        cmocka_unit_test(test_killed_container_is_replaced),
        cmocka_unit_test(test_adoption),
        cmocka_unit_test(test_init_and_volumes),
        cmocka_unit_test(test_missing_config),
        cmocka_unit_test(test_probes_and_hooks),
        cmocka_unit_test(test_shared_pid_and_sidecar),
        cmocka_unit_test(test_log_rotation),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
