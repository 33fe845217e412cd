/* Policies against the kernel, on a host of its own (see netlab.h): changes of random worlds are
 * taken by the kernel and lead to what a whole table leads to; and the gate a pod passes before its
 * link comes up, whether the server is there or away, over restarts, for addresses that are used
 * again, and around IP altogether. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/object.h"
#include "base/mem.h"
#include "client/client.h"
#include "net/net.h"
#include "net/policy/policy.h"
#include "netlab.h"
#include "policy_world.h"
#include "rt/rt.h"
#include "sys/fs.h"
#include "sys/nft.h"
#include "test.h"

/* ---- a server ---- */

struct fake_list {
    const struct schema_kind *kind;
    struct object *v[16];
    size_t n;
    client_watch_fn fn;
    void *fn_arg;
};

static struct fake {
    struct client base;
    struct fake_list lists[8];
    rev_t rev;
    bool away; /* lists are not answered */
    struct fake_call *unanswered;
} fake;

struct fake_call {
    struct rt_task task;
    struct fake_call *next;
    struct fake_list *l;
    client_done_fn done;
    void *arg;
};

static struct fake_list *list_of(const struct schema_kind *k)
{
    size_t i = 0;
    while (fake.lists[i].kind && fake.lists[i].kind != k)
        i++;
    assert_true(i < ARRAY_LEN(fake.lists));
    fake.lists[i].kind = k;
    return &fake.lists[i];
}

static void answer(void *arg)
{
    struct fake_call *c = arg;
    struct client_reply reply = {.items = c->l->v, .n_items = c->l->n, .rev = fake.rev};
    c->done(c->arg, &reply);
    free(c);
}

static void server_away(bool away)
{
    fake.away = away;
    while (!away && fake.unanswered) {
        struct fake_call *c = fake.unanswered;
        fake.unanswered = c->next;
        rt_task_schedule(&c->task);
    }
}

static void fake_call(struct client *c, const struct client_request *req, client_done_fn done,
                      void *arg)
{
    struct fake_call *call = NEW(struct fake_call);
    assert_int_equal(req->verb, CLIENT_LIST);
    *call = (struct fake_call){.l = list_of(req->kind), .done = done, .arg = arg};
    rt_task_init(&call->task, c->rt, answer, call);
    call->next = fake.unanswered;
    if (fake.away)
        fake.unanswered = call;
    else
        rt_task_schedule(&call->task);
}

static struct client_watch *fake_watch_start(struct client *c, const struct client_watch_opts *o,
                                             client_watch_fn fn, void *arg)
{
    struct fake_list *l = list_of(o->kind);
    l->fn = fn;
    l->fn_arg = arg;
    return (struct client_watch *)l;
}

static void fake_watch_stop(struct client *c, struct client_watch *w)
{
    ((struct fake_list *)w)->fn = NULL;
}

static const struct client_ops fake_ops = {fake_call, fake_watch_start, fake_watch_stop, NULL};

/* msg NULL: deletes it. */
static void put(enum kind_id id, struct str name, const void *msg)
{
    struct fake_list *l = list_of(schema_kinds[id]);
    size_t i = 0;
    while (i < l->n && !str_eq(object_name(l->v[i]), name))
        i++;
    if (!msg && i == l->n)
        return;
    struct object *o = msg ? object_new(schema_kinds[id], msg, ++fake.rev) : object_ref(l->v[i]);
    struct client_event e = {.type = !msg       ? CLIENT_EVENT_DELETED
                                     : i < l->n ? CLIENT_EVENT_MODIFIED
                                                : CLIENT_EVENT_ADDED,
                             .object = o,
                             .rev = msg ? fake.rev : ++fake.rev};
    if (l->fn)
        l->fn(l->fn_arg, &e, 1);
    if (i < l->n)
        object_unref(l->v[i]);
    if (msg) {
        assert_true(i < ARRAY_LEN(l->v));
        l->v[i] = o;
        l->n += i == l->n;
    } else {
        l->v[i] = l->v[--l->n];
        object_unref(o);
    }
}

static void put_pod(const char *name, const char *uid, const char *app, const char *ip)
{
    struct kv_str label = {STR("app"), str_z(app)};
    struct api_pod pod = {.metadata = {.name = str_z(name),
                                       .namespace = STR("x"),
                                       .uid = str_z(uid),
                                       .labels = &label,
                                       .n_labels = 1},
                          .status = {.pod_ip = str_z(ip), .phase = STR("Running")}};
    put(KIND_POD, pod.metadata.name, &pod);
}

/* Pods of namespace x take what comes from pods labelled app=`from`; NULL: no policy. */
static void put_policy(const char *from)
{
    struct str type = STR("Ingress");
    struct kv_str label = {STR("app"), str_z(from)};
    struct api_label_selector selector = {.match_labels = &label, .n_match_labels = 1};
    struct api_network_policy_peer peer = {.pod_selector = &selector};
    struct api_network_policy_ingress_rule rule = {.from = &peer, .n_from = 1};
    struct api_network_policy p = {
        .metadata = {.name = STR("p"), .namespace = STR("x")},
        .spec = {.ingress = &rule, .n_ingress = 1, .policy_types = &type, .n_policy_types = 1}};
    put(KIND_NETWORK_POLICY, p.metadata.name, from ? &p : NULL);
}

/* ---- the node ---- */

static char dir[] = "/tmp/davit-test-policy-XXXXXX";
static struct rt *rt;
static struct net *net;
static struct error why;

static bool settled(void *arg)
{
    return net_rules_settled(net);
}

static void settle(void)
{
    assert_true(rt_run_until(rt, settled, NULL, 20 * NSEC_PER_SEC));
}

static void start(void)
{
    struct net_opts o = {.rt = rt,
                         .client = &fake.base,
                         .data_dir = dir,
                         .node_name = "n1",
                         .pod_cidr = "10.77.0.0/29"};
    if (net_new(&o, &net, &why) < 0 || net_start(net, &why) < 0)
        fail_msg("%.*s", STR_ARG(why.message));
}

static bool flag_set(void *arg)
{
    return *(bool *)arg;
}

static void set_flag(void *arg)
{
    *(bool *)arg = true;
}

static void stop(void)
{
    bool done = false;
    net_stop(net, set_flag, &done);
    assert_true(rt_run_until(rt, flag_set, &done, 60 * NSEC_PER_SEC));
    net = net_free(net);
    server_away(false); /* what was asked is answered to nobody */
    for (int i = 0; i < 10; i++) {
        bool turn = false;
        struct rt_task t;
        rt_task_init(&t, rt, set_flag, &turn);
        rt_task_schedule(&t);
        assert_true(rt_run_until(rt, flag_set, &turn, NSEC_PER_SEC));
    }
}

struct attached {
    bool done;
    int r;
    char ip[64];
};

static void on_attached(void *arg, const struct node_net_attached *a)
{
    struct attached *out = arg;
    out->done = true;
    out->r = a->r;
    if (a->r == 0)
        snprintf(out->ip, sizeof(out->ip), "%.*s", STR_ARG(a->ips[0]));
}

static void attach(const char *uid, const char *netns, char ip[64])
{
    struct attached a = {0};
    struct node_net_pod pod = {.uid = str_z(uid), .netns_path = netns};
    net_node_ops.pod_attach(net, &pod, on_attached, &a);
    assert_true(rt_run_until(rt, flag_set, &a.done, 60 * NSEC_PER_SEC));
    assert_int_equal(a.r, 0);
    memcpy(ip, a.ip, 64);
}

static void on_detached(void *arg, int r, const struct error *err)
{
    assert_int_equal(r, 0);
    *(bool *)arg = true;
}

static void detach(const char *uid)
{
    bool done = false;
    net_node_ops.pod_detach(net, str_z(uid), on_detached, &done);
    assert_true(rt_run_until(rt, flag_set, &done, 60 * NSEC_PER_SEC));
}

/* ---- traffic ---- */

static const char *ns_server, *ns_a, *ns_b;
static char ip_server[64], ip_a[64], ip_b[64];
static pid_t pids[3];

static bool reaches(const char *netns, const char *ip)
{
    char text[128];
    int fd = lab_udp_open(netns, ip, 8080);
    struct timeval wait = {.tv_usec = 200000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    int r = lab_udp_ask(fd, text);
    close(fd);
    return r == 0;
}

/* The kernel brings links up in its own time. */
static bool soon(const char *netns, const char *ip)
{
    for (int i = 0; i < 50; i++)
        if (reaches(netns, ip))
            return true;
    return false;
}

/* A server in the pod; the pod's link is up: the node reaches its pods whatever the policies say.
 */
static pid_t serve(const char *netns, const char *name, const char *ip)
{
    pid_t pid = lab_server(netns, name, NULL, 8080);
    assert_true(soon(NULL, ip));
    return pid;
}

static int setup(void **state)
{
    if (!lab_enter())
        return 0;
    assert_non_null(mkdtemp(dir));
    rt = rt_uv_new();
    fake.base = (struct client){&fake_ops, rt};
    fake.rev = 1;
    start();
    settle();
    ns_server = lab_netns("server");
    ns_a = lab_netns("a");
    ns_b = lab_netns("b");
    attach("u-server", ns_server, ip_server);
    attach("u-a", ns_a, ip_a);
    attach("u-b", ns_b, ip_b);
    pids[0] = serve(ns_server, "server", ip_server);
    pids[1] = serve(ns_a, "a", ip_a);
    pids[2] = serve(ns_b, "b", ip_b);
    put_pod("server", "u-server", "server", ip_server);
    put_pod("a", "u-a", "a", ip_a);
    put_pod("b", "u-b", "b", ip_b);
    return 0;
}

static int teardown(void **state)
{
    if (!rt)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(pids); i++)
        lab_kill(pids[i]);
    if (net)
        stop();
    for (size_t i = 0; i < ARRAY_LEN(fake.lists); i++)
        for (size_t k = 0; k < fake.lists[i].n; k++)
            object_unref(fake.lists[i].v[k]);
    rt_free(rt);
    error_fini(&why);
    (void)sys_remove_tree(-1, dir);
    return 0;
}

#define NEED_LAB()                                                                                 \
    do {                                                                                           \
        if (!rt)                                                                                   \
            skip();                                                                                \
    } while (0)

static bool table_there(const char *family)
{
    char *out = NULL, *command = xasprintf("list table %s davit-%s-policy", family, net_id(net));
    int r = nft_query(command, false, &out, NULL);
    free(command);
    free(out);
    return r == 0;
}

/* ---- tests ---- */

static void test_no_policy_no_table(void **state)
{
    NEED_LAB();
    assert_false(table_there("ip"));
    assert_true(soon(ns_a, ip_server));
    assert_null(list_of(schema_kinds[KIND_POD])->fn); /* nobody asked for the cluster's pods */
    put_policy("a");
    settle();
    assert_non_null(list_of(schema_kinds[KIND_POD])->fn);
    assert_true(table_there("ip"));
    assert_true(soon(ns_a, ip_server));
    assert_false(reaches(ns_b, ip_server));
    assert_true(soon(NULL, ip_server)); /* the node itself */
    put_policy(NULL);
    settle();
    assert_false(table_there("ip"));
    assert_null(list_of(schema_kinds[KIND_POD])->fn);
    assert_true(soon(ns_b, ip_server));
}

/* IPv6 by link-local addresses would need no host at all. */
static void test_not_around_ip(void **state)
{
    NEED_LAB();
    put_policy("a");
    settle();
    if (!table_there("bridge"))
        skip();
    /* All frames of pods but IPv4 ones to the host are dropped, so not even neighbours are found.
     */
    char command[256], line[256];
    snprintf(command, sizeof(command),
             "nsenter --net=%s ping -6 -c 2 -i 0.2 -W 1 ff02::1%%eth0 2>/dev/null", ns_b);
    FILE *f = popen(command, "r");
    unsigned others = 0, all = 0;
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        all++;
        others += strstr(line, "DUP") != NULL;
    }
    pclose(f);
    if (all == 0)
        skip(); /* no ping here */
    assert_int_equal(others, 0);
}

/* The server is there, but has not told of the pod: nothing passes until it does. */
static void test_unknown_pod_is_held_back(void **state)
{
    NEED_LAB();
    char ip[64];
    const char *ns = lab_netns("late");
    put_policy("late");
    settle();
    attach("u-late", ns, ip);
    settle();
    pid_t pid = serve(ns, "late", ip);
    assert_false(reaches(ns, ip_server));
    assert_false(reaches(ns_a, ip));
    put_pod("late", "u-late", "late", "");
    settle();
    assert_true(soon(ns, ip_server)); /* by its lease: the API has no address yet */
    assert_false(reaches(ns_a, ip));
    put_policy("a");
    settle();
    assert_false(reaches(ns, ip_server));
    assert_true(soon(ns_a, ip));
    /* Ended, or deleted while it still runs: nothing. */
    put(KIND_POD, STR("late"), NULL);
    settle();
    assert_false(reaches(ns_a, ip));
    lab_kill(pid);
    detach("u-late");
    settle();
}

/* Of the range's few addresses the next pod gets the former one's. */
static void test_address_used_again(void **state)
{
    NEED_LAB();
    char first[64], ip[64] = "";
    const char *ns = lab_netns("again");
    put_policy("again");
    settle();
    put_pod("again", "u-again", "again", "");
    attach("u-again", ns, first);
    settle();
    put_pod("again", "u-again", "again", first);
    settle();
    assert_true(soon(ns, ip_server));
    int flow = lab_udp_open(ns_server, first, 8080); /* the server speaks first: a's may reply */
    char text[128];
    pid_t pid = serve(ns, "again", first);
    put_policy(NULL);
    settle();
    assert_int_equal(lab_udp_ask(flow, text), 0);
    close(flow);
    put_policy("again");
    settle();
    lab_kill(pid);
    detach("u-again"); /* and the API still has the pod, with its address */
    for (int i = 0; i < 8 && strcmp(ip, first) != 0; i++) {
        char uid[16], name[16];
        snprintf(uid, sizeof(uid), "u-next%d", i);
        snprintf(name, sizeof(name), "next%d", i);
        put_pod("next", uid, "next", "");
        ns = lab_netns(name);
        attach(uid, ns, ip);
        if (strcmp(ip, first) != 0) {
            detach(uid);
            continue;
        }
        pid = serve(ns, name, ip);
        assert_false(reaches(ns, ip_server));
        settle();
        assert_false(reaches(ns, ip_server));
        lab_kill(pid);
        detach(uid);
    }
    assert_string_equal(ip, first);
    put(KIND_POD, STR("again"), NULL);
    put(KIND_POD, STR("next"), NULL);
    settle();
}

/* A restart while the server is away: the old pods keep their rules, a new one gets nothing. */
static void test_restart_without_server(void **state)
{
    NEED_LAB();
    char ip[64];
    const char *ns = lab_netns("newcomer");
    put_policy("a");
    settle();
    stop();
    assert_true(soon(ns_a, ip_server));
    assert_false(reaches(ns_b, ip_server));
    server_away(true);
    start();
    attach("u-a", ns_a, ip); /* the agent repeats it for all its pods */
    assert_string_equal(ip, ip_a);
    assert_true(soon(ns_a, ip_server));
    assert_false(reaches(ns_b, ip_server));
    attach("u-new", ns, ip);
    pid_t pid = serve(ns, "new", ip);
    assert_false(reaches(ns, ip_server));
    assert_false(reaches(ns, ip_a));
    put_pod("new", "u-new", "a", "");
    server_away(false);
    settle();
    assert_true(soon(ns, ip_server));
    assert_true(soon(ns_a, ip_server));
    assert_false(reaches(ns_b, ip_server));
    detach("u-new");
    put(KIND_POD, STR("new"), NULL);
    lab_kill(pid);
    settle();
    /* Where there never was a policy, a server that is away keeps nobody from anything. */
    put_policy(NULL);
    settle();
    stop();
    server_away(true);
    start();
    attach("u-new", ns, ip);
    assert_true(soon(ns, ip_server));
    server_away(false);
    settle();
    detach("u-new");
    settle();
}

static void test_table_deleted_by_somebody(void **state)
{
    NEED_LAB();
    char *command = xasprintf("delete table ip davit-%s-policy", net_id(net));
    put_policy("a");
    settle();
    assert_int_equal(nft_run(command, NULL), 0);
    assert_true(soon(ns_b, ip_server));
    put_pod("b", "u-b", "c", ip_b); /* nothing to tell the kernel of */
    put_policy("c");
    settle();
    assert_true(soon(ns_b, ip_server));
    assert_false(reaches(ns_a, ip_server));
    put_pod("b", "u-b", "b", ip_b);
    settle();
    free(command);
}

/* ---- random worlds, in the kernel ---- */

static int line_cmp(const void *a, const void *b)
{
    const struct str *x = a, *y = b;
    return str_cmp(*x, *y);
}

/* Elements come in no particular order, several on a line. */
static char *sorted_words(const char *text)
{
    struct buf out = {0};
    struct str rest = str_z(text), word, v[16384];
    size_t n = 0;
    while (n < ARRAY_LEN(v) && (str_cut(&rest, '\n', &word) || word.n)) {
        struct str item;
        while (n < ARRAY_LEN(v) && (str_cut(&word, ',', &item) || item.n)) {
            ssize_t at = str_search(item, STR("elements = {"));
            item = at >= 0 ? str_sub(item, (size_t)at + 12, item.n) : item;
            if (str_ends(item, STR(" }")))
                item = str_sub(item, 0, item.n - 2);
            v[n++] = str_trim(item);
        }
    }
    qsort(v, n, sizeof(v[0]), line_cmp);
    for (size_t i = 0; i < n; i++)
        buf_printf(&out, "%.*s\n", STR_ARG(v[i]));
    return buf_take(&out, NULL);
}

static char *listed(void)
{
    struct buf all = {0};
    static const char *const commands[] = {"list table ip t", "list table bridge t"};
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        char *out = NULL;
        if (nft_query(commands[i], false, &out, &why) < 0)
            fail_msg("%.*s", STR_ARG(why.message));
        buf_printf(&all, "%s\n", out);
        free(out);
    }
    char *sorted = sorted_words(all.data);
    buf_fini(&all);
    return sorted;
}

static void run(struct buf *text, uint64_t seed, int step)
{
    if (text->n && nft_run(text->data, &why) < 0)
        fail_msg("seed %llu step %d: %.*s\n%s", (unsigned long long)seed, step,
                 STR_ARG(why.message), text->data);
    buf_clear(text);
}

static void test_random_worlds(void **state)
{
    NEED_LAB();
    for (uint64_t seed = 1001; seed <= 1012; seed++) {
        struct world w;
        struct policy_engine *e = policy_engine_new("t", "0a:58:0a:09:00:01");
        struct policy_batch b = {0};
        struct buf text = {0};
        world_init(&w, seed);
        policy_full(e, &text);
        run(&text, seed, -1);
        world_tell_all(&w, e, &b);
        for (int step = 0; step < 12; step++) {
            for (uint32_t n = world_random(&w, 4); n-- > 0;)
                world_change(&w, e, &b);
            policy_batch_print(&b, "t", &text);
            policy_batch_fini(&b);
            run(&text, seed, step);
        }
        char *live = listed();
        policy_full(e, &text);
        run(&text, seed, 100);
        char *whole = listed();
        assert_string_equal(live, whole);
        free(live);
        free(whole);
        buf_fini(&text);
        policy_engine_free(e);
        world_fini(&w);
    }
    assert_int_equal(nft_run("delete table ip t\ndelete table bridge t", NULL), 0);
}

static void test_purge(void **state)
{
    NEED_LAB();
    char *out = NULL;
    put_policy("a");
    settle();
    stop();
    assert_int_equal(net_purge(dir, &why), 0);
    assert_int_equal(nft_query("list ruleset", false, &out, NULL), 0);
    assert_string_equal(out, "");
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_policy_no_table),
        cmocka_unit_test(test_not_around_ip),
        cmocka_unit_test(test_unknown_pod_is_held_back),
        cmocka_unit_test(test_address_used_again),
        cmocka_unit_test(test_restart_without_server),
        cmocka_unit_test(test_table_deleted_by_somebody),
        cmocka_unit_test(test_random_worlds),
        cmocka_unit_test(test_purge),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
