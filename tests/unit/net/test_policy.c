/* The policy engine without a kernel: what it writes for a change, that changes add up to what a
 * whole table has, and that its verdicts are those of NetworkPolicy's definition, on worlds made at
 * random (DAVIT_TEST_SEED replays one). */
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "base/mem.h"
#include "net/policy/policy.h"
#include "policy_world.h"
#include "test.h"

/* ---- a table as a set of lines ---- */

struct model {
    struct map lines; /* owned keys */
};

static void model_fini(struct model *m)
{
    for (struct map_slot *s = NULL; (s = map_next(&m->lines, s));)
        free(s->value);
    map_fini(&m->lines);
}

static void model_add(struct model *m, const char *what, struct str thing)
{
    char *line = xasprintf("%s %.*s", what, STR_ARG(thing));
    if (map_get(&m->lines, str_z(line)))
        fail_msg("added twice: %s", line);
    map_set(&m->lines, str_z(line), line);
}

static void model_remove(struct model *m, const char *what, struct str thing)
{
    char *line = xasprintf("%s %.*s", what, STR_ARG(thing));
    char *was = map_remove(&m->lines, str_z(line));
    if (!was)
        fail_msg("removed, but not there: %s", line);
    free(was);
    free(line);
}

/* All lines that start so; how many. */
static unsigned model_drop(struct model *m, const char *prefix)
{
    unsigned n = 0;
    for (bool more = true; more;) {
        more = false;
        for (struct map_slot *s = NULL; !more && (s = map_next(&m->lines, s));) {
            char *line = s->value;
            if (strncmp(line, prefix, strlen(prefix)) != 0)
                continue;
            map_remove(&m->lines, str_z(line));
            free(line);
            n++;
            more = true;
        }
    }
    return n;
}

static void model_elements(struct model *m, struct str set, struct str list, bool add)
{
    struct str item;
    char what[64];
    snprintf(what, sizeof(what), "elem %.*s", STR_ARG(set));
    while (str_cut(&list, ',', &item) || item.n) {
        item = str_trim(item);
        if (add)
            model_add(m, what, item);
        else
            model_remove(m, what, item);
    }
}

static bool eat(struct str *s, const char *word)
{
    struct str w = str_z(word);
    if (!str_starts(*s, w))
        return false;
    *s = str_sub(*s, w.n, s->n);
    return true;
}

static void model_run(struct model *m, struct str text)
{
    struct str line, name;
    while (str_cut(&text, '\n', &line) || line.n) {
        bool add = eat(&line, "add ");
        bool flush = !add && eat(&line, "flush ");
        if (!add && !flush)
            assert_true(eat(&line, "delete "));
        if (eat(&line, "table ip t"))
            continue;
        if (eat(&line, "element ip t ")) {
            str_cut(&line, ' ', &name);
            assert_true(eat(&line, "{ ") && str_ends(line, STR(" }")));
            model_elements(m, name, str_sub(line, 0, line.n - 2), add);
        } else if (eat(&line, "rule ip t ")) {
            str_cut(&line, ' ', &name);
            char what[64];
            snprintf(what, sizeof(what), "rule %.*s", STR_ARG(name));
            if (str_is(name, "forward"))
                continue;
            char *full = xasprintf("%s %.*s", what, STR_ARG(line));
            if (map_get(&m->lines, str_z(full))) /* the same rule twice is allowed */
                free(full);
            else
                map_set(&m->lines, str_z(full), full);
        } else if (eat(&line, "chain ip t ")) {
            char prefix[64];
            str_cut(&line, ' ', &name);
            snprintf(prefix, sizeof(prefix), "rule %.*s ", STR_ARG(name));
            if (flush)
                model_drop(m, prefix);
            else if (add)
                model_add(m, "chain", name);
            else
                model_remove(m, "chain", name);
        } else {
            assert_true(eat(&line, "set ip t ") || eat(&line, "map ip t "));
            struct str all = line;
            str_cut(&line, ' ', &name);
            char prefix[64];
            snprintf(prefix, sizeof(prefix), "elem %.*s ", STR_ARG(name));
            if (add) {
                model_add(m, "set", all);
                continue;
            }
            model_drop(m, prefix);
            snprintf(prefix, sizeof(prefix), "set %.*s ", STR_ARG(name));
            assert_int_equal(model_drop(m, prefix), 1);
        }
    }
}

static int line_cmp(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *model_print(const struct model *m)
{
    struct buf out = {0};
    char **v = xcalloc(m->lines.n + 1, sizeof(*v));
    size_t n = 0;
    for (struct map_slot *s = NULL; (s = map_next(&m->lines, s));)
        v[n++] = s->value;
    qsort(v, n, sizeof(*v), line_cmp);
    for (size_t i = 0; i < n; i++)
        buf_printf(&out, "%s\n", v[i]);
    free(v);
    return buf_take(&out, NULL);
}

/* ---- what is written ---- */

static const struct ip_addr ip_a = {AF_INET, {10, 9, 0, 2}}, ip_b = {AF_INET, {10, 9, 0, 3}},
                            outside = {AF_INET, {192, 0, 2, 7}};
static struct kv_str app_a = {STR("app"), STR("a")}, app_b = {STR("app"), STR("b")};

static struct policy_pod pod(const char *uid, struct ip_addr ip, struct kv_str *label)
{
    return (struct policy_pod){
        .uid = str_z(uid), .ns = STR("x"), .labels = label, .n_labels = 1, .ips = {ip}, .n_ips = 1};
}

static char *printed(struct policy_batch *b)
{
    struct buf out = {0};
    buf_add_lit(&out, "");
    policy_batch_print(b, "t", &out);
    policy_batch_fini(b);
    return out.data ? out.data : xstrdup("");
}

#define EXPECT(b, want)                                                                            \
    do {                                                                                           \
        char *_t = printed(b);                                                                     \
        assert_string_equal(_t, want);                                                             \
        free(_t);                                                                                  \
    } while (0)

static struct api_label_selector select_a = {.match_labels = &app_a, .n_match_labels = 1};
static struct api_network_policy_peer from_a = {.pod_selector = &select_a};
static struct str ingress_type = STR("Ingress");

static struct api_network_policy_spec allow_a(struct api_network_policy_ingress_rule *rule)
{
    *rule = (struct api_network_policy_ingress_rule){.from = &from_a, .n_from = 1};
    return (struct api_network_policy_spec){
        .ingress = rule, .n_ingress = 1, .policy_types = &ingress_type, .n_policy_types = 1};
}

static void test_a_change_writes_its_own_elements(void **state)
{
    struct policy_engine *e = policy_engine_new("t", NULL);
    struct policy_batch b = {0};
    struct api_network_policy_ingress_rule rule;
    struct api_network_policy_spec spec = allow_a(&rule);
    struct policy_pod a = pod("ua", ip_a, &app_a), p = pod("ub", ip_b, &app_b);

    policy_local(e, STR("ub"), "dv", &ip_b, &b);
    EXPECT(&b, "add element ip t fresh { 10.9.0.3 }\n");
    policy_pod(e, &p, &b);
    EXPECT(&b, "delete element ip t fresh { 10.9.0.3 }\n");
    policy_set(e, STR("x"), STR("pol"), &spec, &b);
    EXPECT(&b, "add set ip t p2 { type ipv4_addr ; }\n"
               "add chain ip t in-3\n"
               "add rule ip t in-3 ip saddr @p2 return\n"
               "add rule ip t in-3 drop\n"
               "add element ip t ingress { 10.9.0.3 : jump in-3 }\n"
               "add element ip t self { 10.9.0.3 . 10.9.0.3 }\n");
    assert_false(policy_verdict(e, &ip_a, &ip_b, IPPROTO_TCP, 80));
    policy_pod(e, &a, &b);
    EXPECT(&b, "add element ip t p2 { 10.9.0.2 }\n");
    assert_true(policy_verdict(e, &ip_a, &ip_b, IPPROTO_TCP, 80));
    assert_false(policy_verdict(e, &outside, &ip_b, IPPROTO_TCP, 80));
    policy_pod(e, &a, &b);
    EXPECT(&b, "");
    a.labels = &app_b;
    policy_pod(e, &a, &b);
    EXPECT(&b, "delete element ip t p2 { 10.9.0.2 }\n");
    a.labels = &app_a;
    policy_pod(e, &a, &b);
    EXPECT(&b, "add element ip t p2 { 10.9.0.2 }\n");
    policy_pod_gone(e, STR("ua"), &b);
    EXPECT(&b, "delete element ip t p2 { 10.9.0.2 }\n");
    /* The peer is asked for by the new policy before the old one lets go: its set stays. */
    policy_set(e, STR("x"), STR("pol"), &spec, &b);
    EXPECT(&b, "add chain ip t in-5\n"
               "add rule ip t in-5 ip saddr @p2 return\n"
               "add rule ip t in-5 drop\n"
               "delete element ip t ingress { 10.9.0.3 : jump in-3 }\n"
               "add element ip t ingress { 10.9.0.3 : jump in-5 }\n"
               "flush chain ip t in-3\ndelete chain ip t in-3\n");
    policy_set(e, STR("x"), STR("pol"), NULL, &b);
    EXPECT(&b, "delete element ip t ingress { 10.9.0.3 : jump in-5 }\n"
               "delete element ip t self { 10.9.0.3 . 10.9.0.3 }\n"
               "flush chain ip t in-5\ndelete chain ip t in-5\n"
               "delete set ip t p2\n");
    policy_local(e, STR("ub"), "dv", NULL, &b);
    EXPECT(&b, "");
    policy_engine_free(e);
}

/* The former pod's end is told after the new pod's start, and before; the rights are never mixed.
 */
static void test_an_address_is_one_pods(void **state)
{
    struct policy_engine *e = policy_engine_new("t", NULL);
    struct policy_batch b = {0};
    struct api_network_policy_ingress_rule rule;
    struct api_network_policy_spec spec = allow_a(&rule);
    struct policy_pod old = pod("old", ip_a, &app_a), new = pod("new", ip_a, &app_b),
                      server = pod("server", ip_b, &app_b);
    old.created = 1;
    new.created = 2;
    policy_local(e, STR("server"), "dv", &ip_b, &b);
    policy_pod(e, &server, &b);
    policy_set(e, STR("x"), STR("pol"), &spec, &b);
    policy_pod(e, &old, &b);
    assert_true(policy_verdict(e, &ip_a, &ip_b, IPPROTO_TCP, 80));
    policy_batch_fini(&b);
    policy_pod(e, &new, &b);
    EXPECT(&b, "delete element ip t p2 { 10.9.0.2 }\n");
    assert_false(policy_verdict(e, &ip_a, &ip_b, IPPROTO_TCP, 80));
    old.labels = &app_b; /* late news of the old one */
    policy_pod(e, &old, &b);
    old.labels = &app_a;
    policy_pod(e, &old, &b);
    EXPECT(&b, "");
    policy_pod_gone(e, STR("old"), &b);
    EXPECT(&b, "");
    /* In the other order the lease decides, known or not. */
    policy_pod_gone(e, STR("new"), &b);
    policy_pod(e, &old, &b);
    policy_batch_fini(&b);
    policy_local(e, STR("third"), "dv", &ip_a, &b);
    EXPECT(&b, "delete element ip t p2 { 10.9.0.2 }\nadd element ip t fresh { 10.9.0.2 }\n");
    assert_false(policy_verdict(e, &ip_a, &ip_b, IPPROTO_TCP, 80));
    policy_engine_free(e);
}

static void test_ports_and_blocks(void **state)
{
    struct policy_engine *e = policy_engine_new("t", NULL);
    struct policy_batch b = {0};
    struct str except[] = {STR("10.0.1.0/24"), STR("10.0.0.0/25"), STR("10.0.1.128/25")};
    struct api_ip_block blocks[] = {{STR("10.0.0.0/23"), except, 3},
                                    {STR("2001:db8::/32"), NULL, 0},
                                    {STR("255.255.255.0/24"), NULL, 0},
                                    {STR("10.0.0.192/26"), NULL, 0}};
    struct api_network_policy_peer from[] = {{.ip_block = &blocks[0]},
                                             {.ip_block = &blocks[1]},
                                             {.ip_block = &blocks[2]},
                                             {.ip_block = &blocks[3]}};
    struct api_network_policy_port ports[] = {
        {.protocol = STR("TCP"), .port = int_or_str_int(80), .has_end_port = true, .end_port = 90},
        {.protocol = STR("TCP"), .port = int_or_str_int(91)},
        {.protocol = STR("TCP"), .port = int_or_str_int(85)},
        {.protocol = STR("SCTP")},
        {.protocol = STR("UDP"), .port = int_or_str_str(STR("dns"))}};
    struct api_network_policy_ingress_rule rule = {
        .from = from, .n_from = 4, .ports = ports, .n_ports = 5};
    struct api_network_policy_spec spec = {
        .ingress = &rule, .n_ingress = 1, .policy_types = &ingress_type, .n_policy_types = 1};
    struct policy_port named[] = {{STR("dns"), 53, IPPROTO_UDP},
                                  {STR("dns"), 53, IPPROTO_UDP},
                                  {STR("dns"), 53, IPPROTO_TCP},
                                  {STR("dns"), 5353, IPPROTO_UDP}};
    struct policy_pod p = pod("u", ip_a, &app_a);
    struct ip_addr in = {AF_INET, {10, 0, 0, 200}}, hole = {AF_INET, {10, 0, 0, 100}};
    p.ports = named;
    p.n_ports = 4;
    policy_local(e, STR("u"), "dv", &ip_a, &b);
    policy_pod(e, &p, &b);
    policy_set(e, STR("x"), STR("pol"), &spec, &b);
    EXPECT(&b, "add set ip t b2 { type ipv4_addr ; flags interval ; elements = { "
               "10.0.0.128-10.0.0.255, 255.255.255.0-255.255.255.255 } ; }\n"
               "add set ip t n3 { type ipv4_addr . inet_proto . inet_service ; }\n"
               "add chain ip t in-4\n"
               "add rule ip t in-4 ip saddr @b2 meta l4proto . th dport { 6 . 80-91, 132 . 0-65535 "
               "} return\n"
               "add rule ip t in-4 ip saddr @b2 ip daddr . meta l4proto . th dport @n3 return\n"
               "add rule ip t in-4 drop\n"
               "add element ip t ingress { 10.9.0.2 : jump in-4 }\n"
               "add element ip t n3 { 10.9.0.2 . 17 . 53, 10.9.0.2 . 17 . 5353 }\n"
               "add element ip t self { 10.9.0.2 . 10.9.0.2 }\n");
    assert_true(policy_verdict(e, &in, &ip_a, IPPROTO_TCP, 91));
    assert_false(policy_verdict(e, &in, &ip_a, IPPROTO_TCP, 92));
    assert_false(policy_verdict(e, &hole, &ip_a, IPPROTO_TCP, 80));
    assert_true(policy_verdict(e, &in, &ip_a, IPPROTO_UDP, 5353));
    assert_false(policy_verdict(e, &in, &ip_a, IPPROTO_ICMP, 0));
    /* Only blocks of another family: nobody, not everybody. */
    rule = (struct api_network_policy_ingress_rule){.from = &from[1], .n_from = 1};
    policy_set(e, STR("x"), STR("pol"), &spec, &b);
    assert_false(policy_verdict(e, &in, &ip_a, IPPROTO_TCP, 80));
    policy_batch_fini(&b);
    policy_engine_free(e);
}

/* ---- random worlds ---- */

static void compare(struct world *w, struct policy_engine *e, uint64_t seed, int step)
{
    static const struct {
        uint8_t proto;
        uint16_t port;
    } kinds[] = {{IPPROTO_TCP, 80}, {IPPROTO_TCP, 81},  {IPPROTO_UDP, 80},
                 {IPPROTO_UDP, 82}, {IPPROTO_SCTP, 81}, {IPPROTO_ICMP, 0}};
    for (int i = 0; i <= WORLD_PODS; i++)
        for (int j = 0; j <= WORLD_PODS; j++)
            for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
                const struct ip_addr *src = i < WORLD_PODS ? &w->pods[i].ip : &outside;
                const struct ip_addr *dst = j < WORLD_PODS ? &w->pods[j].ip : &outside;
                bool want = world_allows(w, src, dst, kinds[k].proto, kinds[k].port);
                if (policy_verdict(e, src, dst, kinds[k].proto, kinds[k].port) != want)
                    fail_msg("seed %llu step %d: pod %d to pod %d, protocol %u port %u: should %s",
                             (unsigned long long)seed, step, i, j, kinds[k].proto, kinds[k].port,
                             want ? "pass" : "not pass");
            }
}

static void one_world(uint64_t seed, int steps)
{
    struct world w;
    struct policy_engine *e = policy_engine_new("t", NULL);
    struct policy_batch b = {0};
    struct buf text = {0};
    struct model live = {0};
    world_init(&w, seed);
    policy_full(e, &text);
    model_run(&live, buf_str(&text));
    world_tell_all(&w, e, &b);
    for (int step = 0; step < steps; step++) {
        struct model whole = {0};
        for (uint32_t n = world_random(&w, 4); n-- > 0;) /* several changes, one transaction */
            world_change(&w, e, &b);
        buf_clear(&text);
        policy_batch_print(&b, "t", &text);
        assert_true(policy_batch_empty(&b) == (text.n == 0));
        policy_batch_fini(&b);
        model_run(&live, buf_str(&text));
        buf_clear(&text);
        policy_full(e, &text);
        model_run(&whole, buf_str(&text));
        char *x = model_print(&live), *y = model_print(&whole);
        if (strcmp(x, y) != 0)
            fail_msg("seed %llu step %d: the changes lead to\n%s, the whole is\n%s",
                     (unsigned long long)seed, step, x, y);
        free(x);
        free(y);
        model_fini(&whole);
        compare(&w, e, seed, step);
    }
    buf_fini(&text);
    model_fini(&live);
    policy_engine_free(e);
    world_fini(&w);
}

static void test_random_worlds(void **state)
{
    const char *seed = getenv("DAVIT_TEST_SEED");
    if (seed) {
        one_world(strtoull(seed, NULL, 10), 40);
        return;
    }
    for (uint64_t i = 1; i <= 150; i++)
        one_world(i, 40);
}

/* ---- many ---- */

static void test_many_policies_share(void **state)
{
    struct policy_engine *e = policy_engine_new("t", NULL);
    struct policy_batch b = {0};
    struct api_network_policy_ingress_rule rule;
    struct api_network_policy_spec spec = allow_a(&rule);
    struct timespec from, to;
    char name[32];
    for (unsigned i = 0; i < 10000; i++) {
        struct ip_addr ip = {AF_INET, {10, 200, (uint8_t)(i >> 8), (uint8_t)i}};
        struct policy_pod p = pod(name, ip, i % 2 ? &app_a : &app_b);
        char ns[16];
        snprintf(name, sizeof(name), "uid-%u", i);
        snprintf(ns, sizeof(ns), "ns%u", i % 100);
        p.uid = str_z(name);
        p.ns = str_z(ns);
        policy_pod(e, &p, &b);
        if (i < 100)
            policy_local(e, p.uid, "dv", &ip, &b);
    }
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (unsigned i = 0; i < 1000; i++) {
        char ns[16];
        snprintf(name, sizeof(name), "policy-%u", i);
        snprintf(ns, sizeof(ns), "ns%u", i % 100);
        policy_set(e, str_z(ns), str_z(name), &spec, &b);
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    print_message("1,000 policies over 10,000 pods: %.1f ms\n",
                  (double)(to.tv_sec - from.tv_sec) * 1e3 +
                      (double)(to.tv_nsec - from.tv_nsec) / 1e6);
    assert_int_equal(policy_count(e), 1000);
    struct buf out = {0};
    policy_dump(e, &out);
    assert_true(str_search(buf_str(&out), STR("peers 100 blocks 0 named ports 0 chains 100\n")) >
                0);
    buf_fini(&out);
    policy_batch_fini(&b);
    policy_engine_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_change_writes_its_own_elements),
        cmocka_unit_test(test_an_address_is_one_pods),
        cmocka_unit_test(test_ports_and_blocks),
        cmocka_unit_test(test_random_worlds),
        cmocka_unit_test(test_many_policies_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
