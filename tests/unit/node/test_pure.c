/* The parts of the agent that need no container: expansion, environment, logs, payloads, specs,
 * users, resources, hosts files. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "codec/json.h"
#include "node/cgroup.h"
#include "node/conntrack.h"
#include "node/env.h"
#include "node/fsutil.h"
#include "node/log.h"
#include "node/payload.h"
#include "node/sandbox.h"
#include "node/seccomp.h"
#include "node/places.h"
#include "node/record.h"
#include "node/security.h"
#include "node/spec.h"
#include "schema/schema.h"

static struct arena ar;
static char dir[64];

static const struct api_pod *pod_of(const char *json)
{
    struct error err = {0};
    struct api_pod *p = schema_new(&api_pod_desc, &ar);
    if (schema_decode_text(&api_pod_desc, str_z(json), &ar, NULL, p, &err) < 0)
        fail_msg("%.*s", STR_ARG(err.message));
    return p;
}

static void assert_str(struct str s, const char *want)
{
    char *text = str_dup(s);
    assert_string_equal(text, want);
    free(text);
}

/* ---- environment ---- */

static void test_many_variables(void **state)
{
    struct env e = {.arena = &ar};
    assert_null(env_get(&e, STR("V0")));
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 10000; i++)
            env_set(&e, arena_printf(&ar, "V%d", i), arena_printf(&ar, "%d", i + round));
    assert_int_equal(e.n, 10000); /* the second round replaced the first */
    for (int i = 0; i < 10000; i++) {
        char want[16];
        snprintf(want, sizeof(want), "%d", i + 1);
        assert_str(*env_get(&e, arena_printf(&ar, "V%d", i)), want);
    }
    assert_str(e.v[0].key, "V0"); /* in the order they came in */
    assert_str(e.v[9999].key, "V9999");
    assert_null(env_get(&e, STR("V10000")));
}

static void test_expand(void **state)
{
    struct env e = {.arena = &ar};
    env_set(&e, STR("A"), STR("1"));
    env_set(&e, STR("B"), STR("two"));
    env_set(&e, STR("EMPTY"), STR(""));
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"plain", "plain"}, {"$(A)", "1"},    {"x$(A)y$(B)z", "x1ytwoz"},
        {"$$(A)", "$(A)"},  {"$$$(A)", "$1"}, {"$(NONE)", "$(NONE)"},
        {"$(A", "$(A"},     {"$", "$"},       {"a$", "a$"},
        {"$A", "$A"},       {"$(EMPTY)", ""}, {"$$", "$"},
        {"$$$$", "$$"},     {"$()", "$()"},   {"$($(A))", "$($(A))"},
        {"", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_str(env_expand(&ar, str_z(rows[i].in), env_get_cb, &e), rows[i].out);
}

static int no_source(void *arg, int kind_id, struct str name, struct object **ret)
{
    return str_is(name, "unknown") ? -EAGAIN : 0;
}

static void test_env_build(void **state)
{
    const struct api_pod *p = pod_of(
        "{\"metadata\":{\"name\":\"n\",\"namespace\":\"d\",\"uid\":\"u\",\"labels\":{\"app\":\"x\"}"
        ",\"annotations\":{\"a/b\":\"q\\\"\\n\"}},"
        "\"spec\":{\"serviceAccountName\":\"sa\",\"containers\":[{\"name\":\"c\",\"resources\":{"
        "\"limits\":{\"cpu\":\"1500m\",\"memory\":\"10Mi\"}},"
        "\"env\":[{\"name\":\"X\",\"value\":\"$(SVC)-1\"},{\"name\":\"Y\",\"value\":\"$(X)\"},{"
        "\"name\":\"Z\",\"value\":\"$(LATER)\"},"
        "{\"name\":\"LATER\",\"value\":\"l\"},{\"name\":\"NAME\",\"valueFrom\":{\"fieldRef\":{"
        "\"fieldPath\":\"metadata.name\"}}},"
        "{\"name\":\"L\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.labels['app']\"}}},"
        "{\"name\":\"IPS\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.podIPs\"}}},"
        "{\"name\":\"CPU\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits.cpu\"}}},"
        "{\"name\":\"CPUM\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits.cpu\","
        "\"divisor\":\"1m\"}}},"
        "{\"name\":\"MEM\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits.memory\","
        "\"divisor\":\"1Mi\"}}},"
        "{\"name\":\"REQ\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"requests.memory\"}}}"
        ","
        "{\"name\":\"OPT\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"none\",\"key\":\"k\","
        "\"optional\":true}}}]}]}}");
    struct str ips[] = {STR("10.0.0.1"), STR("fd00::1")};
    struct env_ctx ctx = {.pod = p,
                          .node_name = STR("node"),
                          .host_ip = STR("1.2.3.4"),
                          .pod_ips = ips,
                          .n_pod_ips = 2,
                          .lookup = no_source};
    struct env services = {.arena = &ar}, out = {.arena = &ar};
    struct error err = {0};
    env_set(&services, STR("SVC"), STR("s"));
    env_set(&services, STR("X"), STR("hidden"));
    env_set(&out, STR("IMAGE"), STR("i"));
    assert_int_equal(env_build(&ctx, &p->spec.containers[0], &services, &out, NULL, &err), 0);
    static const struct {
        const char *name, *value;
    } rows[] = {
        {"IMAGE", "i"},    {"SVC", "s"},     {"X", "s-1"},  {"Y", "s-1"},
        {"Z", "$(LATER)"}, {"NAME", "n"},    {"L", "x"},    {"IPS", "10.0.0.1,fd00::1"},
        {"CPU", "2"},      {"CPUM", "1500"}, {"MEM", "10"}, {"REQ", "0"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct str *v = env_get(&out, str_z(rows[i].name));
        assert_non_null(v);
        assert_str(*v, rows[i].value);
    }
    assert_null(env_get(&out, STR("OPT")));
    struct str s;
    assert_int_equal(env_field(&ctx, STR("metadata.annotations['a/b']"), &ar, &s, &err), 0);
    assert_str(s, "q\"\n");
    assert_int_equal(env_field(&ctx, STR("metadata.annotations"), &ar, &s, &err), 0);
    assert_str(s, "a/b=\"q\\\"\\n\"");
    assert_true(env_field(&ctx, STR("spec.secret"), &ar, &s, &err) < 0);
    error_fini(&err);
}

static void test_env_errors(void **state)
{
    static const struct {
        const char *ref;
        int r;
        const char *message;
    } rows[] = {
        {"\"configMapKeyRef\":{\"name\":\"none\",\"key\":\"k\"}", -ENOENT,
         "configmap \"none\" not found"},
        {"\"secretKeyRef\":{\"name\":\"none\",\"key\":\"k\"}", -ENOENT,
         "secret \"none\" not found"},
        {"\"secretKeyRef\":{\"name\":\"unknown\",\"key\":\"k\"}", -EAGAIN, NULL},
        {"\"fieldRef\":{\"fieldPath\":\"x.y\"}", -EINVAL, "unsupported fieldPath: x.y"},
        {"\"resourceFieldRef\":{\"resource\":\"foo\"}", -EINVAL,
         "unsupported container resource: foo"},
        {"\"resourceFieldRef\":{\"resource\":\"limits.cpu\",\"containerName\":\"zz\"}", -EINVAL,
         "container zz not found"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *json = xasprintf("{\"metadata\":{\"name\":\"n\",\"namespace\":\"d\"},\"spec\":{"
                               "\"containers\":[{\"name\":\"c\",\"env\":[{\"name\":\"X\","
                               "\"valueFrom\":{%s}}]}]}}",
                               rows[i].ref);
        const struct api_pod *p = pod_of(json);
        struct env_ctx ctx = {.pod = p, .lookup = no_source};
        struct env services = {.arena = &ar}, out = {.arena = &ar};
        struct error err = {0};
        assert_int_equal(env_build(&ctx, &p->spec.containers[0], &services, &out, NULL, &err),
                         rows[i].r);
        if (rows[i].message)
            assert_str(err.message, rows[i].message);
        error_fini(&err);
        free(json);
    }
}

static void test_service_env(void **state)
{
    struct api_service *svc = schema_new(&api_service_desc, &ar);
    struct error err = {0};
    assert_int_equal(
        schema_decode_text(&api_service_desc,
                           STR("{\"metadata\":{\"name\":\"my-svc\",\"namespace\":\"d\"},\"spec\":{"
                               "\"clusterIP\":\"10.96.0.9\",\"ports\":["
                               "{\"name\":\"http\",\"port\":80},{\"name\":\"dns\",\"port\":53,"
                               "\"protocol\":\"UDP\"}]}}"),
                           &ar, NULL, svc, &err),
        0);
    struct env e = {.arena = &ar};
    env_add_service(&e, svc, STR("other"), false);
    env_add_service(&e, svc, STR("d"), true);
    assert_int_equal(e.n, 0);
    env_add_service(&e, svc, STR("d"), false);
    static const struct {
        const char *name, *value;
    } rows[] = {
        {"MY_SVC_SERVICE_HOST", "10.96.0.9"},     {"MY_SVC_SERVICE_PORT", "80"},
        {"MY_SVC_SERVICE_PORT_HTTP", "80"},       {"MY_SVC_SERVICE_PORT_DNS", "53"},
        {"MY_SVC_PORT", "tcp://10.96.0.9:80"},    {"MY_SVC_PORT_80_TCP", "tcp://10.96.0.9:80"},
        {"MY_SVC_PORT_53_UDP_PROTO", "udp"},      {"MY_SVC_PORT_53_UDP_PORT", "53"},
        {"MY_SVC_PORT_53_UDP_ADDR", "10.96.0.9"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct str *v = env_get(&e, str_z(rows[i].name));
        assert_non_null(v);
        assert_str(*v, rows[i].value);
    }
}

/* ---- logs ---- */

static void test_log_line(void **state)
{
    struct log_line l;
    assert_int_equal(
        log_line_parse(STR("2026-11-23T21:39:55.497341391+00:00 stdout F hello world"), &l), 0);
    assert_int_equal(l.stream, 1);
    assert_false(l.partial);
    assert_str(l.text, "hello world");
    assert_int_equal(log_line_parse(STR("2026-11-23T21:39:55.497341391+00:00 stderr P "), &l), 0);
    assert_int_equal(l.stream, 2);
    assert_true(l.partial);
    assert_str(l.text, "");
    static const char *const bad[] = {"",
                                      "x",
                                      "2026-11-23T21:39:55Z stdout",
                                      "2026-11-23T21:39:55.4+00:00 stdin F x",
                                      "2026-11-23T21:39:55.4+00:00 stdout X x",
                                      "short stdout F x"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_true(log_line_parse(str_z(bad[i]), &l) < 0);
    assert_int_equal(log_time_nsec(STR("1970-01-01T00:00:01.000000123Z")), 1000000123);
    assert_int_equal(log_time_nsec(STR("1970-01-01T00:00:01.5Z")), 1500000000);
    assert_int_equal(log_time_nsec(STR("1970-01-01T01:00:00.000000001+01:00")), 1);
    assert_int_equal(log_time_nsec(STR("yesterday")), -1);
}

static void test_log_tail(void **state)
{
    struct buf b = {0};
    struct fs_path path = fs_path("%s/log", dir);
    size_t starts[2001];
    /* 2000 lines of growing length; each third one comes in two records */
    for (int i = 0; i < 2000; i++) {
        starts[i] = b.n;
        if (i % 3 == 0)
            buf_add_lit(&b, "2026-11-23T21:39:55.497341391+00:00 stdout P part\n");
        buf_printf(&b, "2026-11-23T21:39:55.497341391+00:00 stdout F %d%*s\n", i, i % 200, "");
    }
    starts[2000] = b.n;
    assert_int_equal(fs_write(path.s, buf_str(&b), 0600), 0);
    int fd = open(path.s, O_RDONLY);
    static const unsigned ns[] = {0, 1, 2, 3, 10, 100, 999, 1999, 2000, 5000};
    for (size_t i = 0; i < ARRAY_LEN(ns); i++)
        assert_int_equal(log_tail_offset(fd, (int64_t)b.n, ns[i]),
                         ns[i] >= 2000 ? 0 : starts[2000 - ns[i]]);
    assert_int_equal(log_tail_offset(fd, 0, 5), 0);
    /* an unfinished record at the end is not a line yet */
    assert_int_equal(log_tail_offset(fd, (int64_t)b.n - 3, 1), starts[1998]);
    close(fd);
    struct buf out = {0};
    log_tail_text(path.s, 2, 2048, &out);
    struct str text = buf_str(&out);
    assert_true(str_starts(text, STR("part1998")));
    buf_fini(&out);
    buf_fini(&b);
}

/* ---- payload ---- */

static char *slurp(const char *path)
{
    struct buf b = {0};
    if (fs_read(path, 1 << 20, &b) < 0) {
        buf_fini(&b);
        return xstrdup("<none>");
    }
    return b.n ? buf_take(&b, NULL) : xstrdup("");
}

static void assert_file(const char *name, const char *want)
{
    char *got = slurp(fs_path("%s/vol/%s", dir, name).s);
    assert_string_equal(got, want);
    free(got);
}

static void test_payload(void **state)
{
    struct fs_path vol = fs_path("%s/vol", dir);
    struct error err = {0};
    assert_int_equal(fs_mkdirs(vol.s, 0755), 0);
    struct payload p = {.arena = &ar};
    assert_int_equal(payload_add(&p, STR("a"), STR("1"), 0644, &err), 0);
    assert_int_equal(payload_add(&p, STR("sub/b"), STR("2"), 0400, &err), 0);
    assert_int_equal(payload_add(&p, STR("a"), STR("one"), 0644, &err), 0); /* the later one wins */
    assert_int_equal(payload_write(vol.s, &p, -1, &err), 1);
    assert_file("a", "one");
    assert_file("sub/b", "2");
    struct stat st, st2;
    assert_int_equal(stat(fs_path("%s/sub/b", vol.s).s, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0400);
    char link[64] = {0};
    assert_true(readlink(fs_path("%s/a", vol.s).s, link, sizeof(link) - 1) > 0);
    assert_string_equal(link, "..data/a");
    assert_int_equal(payload_write(vol.s, &p, -1, &err), 0); /* nothing to do */
    assert_int_equal(lstat(fs_path("%s/a", vol.s).s, &st), 0);
    struct payload q = {.arena = &ar};
    assert_int_equal(payload_add(&q, STR("a"), STR("two"), 0644, &err), 0);
    assert_int_equal(payload_add(&q, STR("c"), STR("new"), 0644, &err), 0);
    assert_int_equal(payload_write(vol.s, &q, 102, &err), 1);
    assert_file("a", "two");
    assert_file("c", "new");
    assert_file("sub/b", "<none>");
    assert_int_equal(lstat(fs_path("%s/a", vol.s).s, &st2), 0);
    assert_int_equal(st.st_ino, st2.st_ino); /* the link itself was never touched */
    assert_int_equal(stat(fs_path("%s/c", vol.s).s, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    static const char *const bad[] = {"",       "/etc/passwd", "../x", "a/../../x",
                                      "..data", "a//b",        "a/.."};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_true(payload_add(&q, str_z(bad[i]), STR("x"), 0644, &err) < 0);
    error_fini(&err);
}

/* ---- files ---- */

static void test_rm_rf(void **state)
{
    struct fs_path d = fs_path("%s/tree", dir), keep = fs_path("%s/keep", dir);
    assert_int_equal(fs_mkdirs(fs_path("%s/a/b/c", d.s).s, 0755), 0);
    assert_int_equal(fs_write(keep.s, STR("x"), 0600), 0);
    assert_int_equal(symlink(dir, fs_path("%s/a/up", d.s).s), 0);
    assert_int_equal(symlink(keep.s, fs_path("%s/a/b/file", d.s).s), 0);
    assert_int_equal(fs_rm_rf(d.s), 0);
    assert_false(fs_exists(d.s));
    assert_true(fs_exists(keep.s)); /* links are removed, not followed */
    assert_int_equal(fs_rm_rf(d.s), 0);
    struct buf b = {0};
    assert_int_equal(fs_write_atomic(keep.s, STR("yy"), 0600), 0);
    assert_int_equal(fs_read(keep.s, 1, &b), -EFBIG);
    buf_fini(&b);
}

/* What counts in a file of records: the last whole one, whatever our death or a full disk made of
 * the end. */
static void test_record(void **state)
{
    static const struct {
        const char *text;
        int n; /* -1: no record */
    } rows[] = {
        {"", -1},
        {"\n", -1},
        {"\n{\"n\":1}", 1},
        {"{\"n\":2}", 2}, /* written whole, without a line feed in front */
        {"\n{\"n\":1}\n{\"n\":2}", 2},
        {"\n{\"n\":1}\n{\"n\":2", 1}, /* cut short */
        {"\n{\"n\":1}\n", 1},
        {"\n{\"n\":1}\n{\"n\":2\n{\"n\":3}", 3}, /* and gone on behind it */
        {"{\"n\":1}\n7", 1},                     /* no object, no record */
        {"\n{\"n\"", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct json *v = NULL;
        int r = record_parse(str_z(rows[i].text), &a, &v);
        assert_int_equal(r, rows[i].n < 0 ? -ENOENT : 0);
        if (r == 0)
            assert_int_equal(json_getz(v, "n")->i, rows[i].n);
        arena_fini(&a);
    }
}

/* A record is kept in the same inode until the file has grown, and then still there. */
static void test_record_file(void **state)
{
    struct fs_path file = fs_path("%s/record", dir);
    struct stat first = {0}, st = {0};
    off_t biggest = 0;
    struct arena a = {0};
    struct json *v;
    assert_int_equal(record_load(file.s, &a, &v), -ENOENT);
    for (int i = 0; i < 2000; i++) {
        struct fs_path text = fs_path("{\"pad\":\"%0100d\",\"n\":%d}", 0, i);
        assert_int_equal(record_save(file.s, str_z(text.s)), 0);
        assert_int_equal(stat(file.s, i ? &st : &first), 0);
        if (i == 1)
            assert_int_equal(st.st_ino, first.st_ino);
        biggest = MAX(biggest, st.st_size);
        if (i % 100 == 99) {
            arena_fini(&a);
            a = (struct arena){0};
            assert_int_equal(record_load(file.s, &a, &v), 0);
            assert_int_equal(json_getz(v, "n")->i, i);
        }
    }
    arena_fini(&a);
    assert_in_range(biggest, 60000, 70000);
    assert_int_equal(first.st_mode & 0777, 0600);
}

static void test_places(void **state)
{
    struct fs_path node = fs_path("%s/node", dir), linked = fs_path("%s/linked", dir),
                   plain = fs_path("%s/plain", dir);
    const char *const layers[] = {plain.s, linked.s}, *const covered[] = {linked.s, plain.s};
    mode_t before = umask(077);
    assert_int_equal(places_make(node.s), 0);
    assert_int_equal(places_make(node.s), 0);
    umask(before);
    assert_int_equal(fs_mkdirs(fs_path("%s/var/run", plain.s).s, 0755), 0);
    assert_int_equal(fs_mkdirs(fs_path("%s/var", linked.s).s, 0755), 0);
    assert_int_equal(symlink("/run", fs_path("%s/var/run", linked.s).s), 0);
    static const char token[] = "run/secrets/kubernetes.io/serviceaccount";
    struct fs_path p = places_layer(node.s, layers, 2, false);
    assert_true(fs_exists(fs_path("%s/etc/hosts", p.s).s));
    assert_false(fs_exists(fs_path("%s/var", p.s).s));
    assert_false(fs_exists(fs_path("%s/run", p.s).s));
    p = places_layer(node.s, layers, 2, true); /* the upper of the two has the link */
    assert_true(fs_exists(fs_path("%s/%s", p.s, token).s));
    assert_false(fs_exists(fs_path("%s/var", p.s).s));
    p = places_layer(node.s, covered, 2, true);
    assert_true(fs_exists(fs_path("%s/var/%s", p.s, token).s));
    assert_false(fs_exists(fs_path("%s/run", p.s).s));
    struct stat st;
    assert_int_equal(stat(fs_path("%s/var/run", p.s).s, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
    assert_int_equal(stat(fs_path("%s/etc/hosts", p.s).s, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
}

/* ---- security ---- */

static void test_caps(void **state)
{
    static const struct {
        const char *sc;
        int has, has_not;
        bool fails;
    } rows[] = {
        {"{}", 0, 21, false}, /* CHOWN, not SYS_ADMIN */
        {"{\"capabilities\":{\"add\":[\"SYS_ADMIN\"]}}", 21, 12, false},
        {"{\"capabilities\":{\"add\":[\"cap_net_admin\"],\"drop\":[\"ALL\"]}}", 12, 0, false},
        {"{\"capabilities\":{\"drop\":[\"CHOWN\"]}}", 5, 0, false},
        {"{\"capabilities\":{\"add\":[\"ALL\"],\"drop\":[\"SYS_ADMIN\"]}}", 12, 21, false},
        {"{\"privileged\":true}", 21, 63, false},
        {"{\"capabilities\":{\"add\":[\"NONSENSE\"]}}", 0, 0, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct api_security_context sc;
        struct error err = {0};
        int r;
        assert_int_equal(
            schema_decode_text(&api_security_context_desc, str_z(rows[i].sc), &ar, NULL, &sc, &err),
            0);
        uint64_t caps = caps_of(&sc, &err, &r);
        assert_int_equal(r < 0, rows[i].fails);
        if (!rows[i].fails) {
            assert_true(caps & (UINT64_C(1) << rows[i].has));
            assert_false(caps & (UINT64_C(1) << rows[i].has_not));
        }
        error_fini(&err);
    }
    for (int i = 0; i <= cap_last(); i++)
        assert_int_equal(cap_parse(str_z(cap_name(i))), i);
}

static void test_users(void **state)
{
    struct fs_path etc = fs_path("%s/root/etc", dir), root = fs_path("%s/root", dir);
    assert_int_equal(fs_mkdirs(etc.s, 0755), 0);
    assert_int_equal(
        fs_write(fs_path("%s/passwd", etc.s).s,
                 STR("root:x:0:0:r:/root:/bin/sh\nweb:x:101:102::/home/web:\nbroken\n"), 0644),
        0);
    assert_int_equal(fs_write(fs_path("%s/group", etc.s).s,
                              STR("web:x:102:\nextra:x:103:web,foo\nother:x:104:foo\n"), 0644),
                     0);
    static const struct {
        const char *image, *sc, *psc;
        int64_t uid, gid;
        unsigned groups;
        const char *fails;
    } rows[] = {
        {"", "{}", "{}", 0, 0, 0, NULL},
        {"web", "{}", "{}", 101, 102, 1, NULL},
        {"101", "{}", "{}", 101, 102, 1, NULL},
        {"7777", "{}", "{}", 7777, 0, 0, NULL},
        {"web:other", "{}", "{}", 101, 104, 1, NULL},
        {"1:5", "{}", "{}", 1, 5, 0, NULL},
        {"web", "{\"runAsUser\":5,\"runAsGroup\":6}", "{\"runAsUser\":9}", 5, 6, 0, NULL},
        {"", "{}", "{\"runAsUser\":9,\"fsGroup\":44,\"supplementalGroups\":[45,44]}", 9, 0, 2,
         NULL},
        {"nobody", "{}", "{}", 0, 0, 0,
         "unable to find user nobody: no matching entries in passwd file"},
        {"", "{\"runAsNonRoot\":true}", "{}", 0, 0, 0,
         "container has runAsNonRoot and image will run as root (container: c)"},
        {"101", "{}", "{\"runAsNonRoot\":true}", 101, 102, 1, NULL},
        {"web", "{}", "{\"runAsNonRoot\":true}", 0, 0, 0,
         "container has runAsNonRoot and image has non-numeric user (web), cannot verify user is "
         "non-root (container: c)"},
        {"", "{\"runAsUser\":0}", "{\"runAsNonRoot\":true}", 0, 0, 0,
         "container's runAsUser breaks non-root policy (container: c)"},
        {"", "{\"runAsNonRoot\":false}", "{\"runAsNonRoot\":true}", 0, 0, 0, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct api_security_context sc;
        struct api_pod_security_context psc;
        struct error err = {0};
        struct user u;
        assert_int_equal(
            schema_decode_text(&api_security_context_desc, str_z(rows[i].sc), &ar, NULL, &sc, &err),
            0);
        assert_int_equal(schema_decode_text(&api_pod_security_context_desc, str_z(rows[i].psc), &ar,
                                            NULL, &psc, &err),
                         0);
        int r = user_resolve(root.s, str_z(rows[i].image), &sc, &psc, STR("c"), &u, &err);
        assert_int_equal(r < 0, rows[i].fails != NULL);
        if (rows[i].fails) {
            assert_str(err.message, rows[i].fails);
        } else {
            assert_int_equal(u.uid, rows[i].uid);
            assert_int_equal(u.gid, rows[i].gid);
            assert_int_equal(u.n_groups, rows[i].groups);
        }
        error_fini(&err);
    }
    /* a link in the image cannot show us the host's file */
    assert_int_equal(unlink(fs_path("%s/passwd", etc.s).s), 0);
    assert_int_equal(symlink("/../../../../../../etc/passwd", fs_path("%s/passwd", etc.s).s), 0);
    struct user u;
    struct error err = {0};
    assert_true(user_resolve(root.s, STR("daemon"), NULL, NULL, STR("c"), &u, &err) < 0);
    error_fini(&err);
}

/* What a pod says as a whole stands in place of the sum of its containers, and of their missing
 * limits. */
static void pods_as_a_whole(void)
{
    static const struct {
        const char *whole, *containers, *qos;
        int64_t cpu, cpu_max, mem, mem_max; /* of the pod; max 0: none */
        int64_t c_cpu_max, c_mem_max;       /* of its first container */
        int oom;
    } rows[] = {
        {"\"limits\":{\"cpu\":\"2\",\"memory\":\"1Gi\"},\"requests\":{\"cpu\":\"1\",\"memory\":"
         "\"512Mi\"}",
         "{},{}", "Burstable", 1000, 2000, 512 << 20, 1 << 30, 2000, 1 << 30, 750},
        {"\"limits\":{\"cpu\":\"2\",\"memory\":\"1Gi\"},\"requests\":{\"cpu\":\"2\",\"memory\":"
         "\"1Gi\"}",
         "{}", "Guaranteed", 2000, 2000, 1 << 30, 1 << 30, 2000, 1 << 30, -997},
        {"\"limits\":{\"memory\":\"1Gi\"}",
         "{\"resources\":{\"requests\":{\"cpu\":\"100m\"},\"limits\":{\"memory\":\"256Mi\"}}},{}",
         "Burstable", 100, 0, 256 << 20, 1 << 30, 0, 256 << 20, 750},
        {"\"requests\":{\"cpu\":\"1\"}", "{\"resources\":{\"limits\":{\"cpu\":\"100m\"}}}",
         "Burstable", 1000, 100, 0, 0, 100, 0, 999},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *json = xasprintf("{\"spec\":{\"resources\":{%s},\"containers\":[%s]}}", rows[i].whole,
                               rows[i].containers);
        const struct api_pod *p = pod_of(json);
        struct container_resources r;
        pod_resources(p, &r);
        assert_str(pod_qos_class(p), rows[i].qos);
        assert_int_equal(r.cpu_request_milli, rows[i].cpu);
        assert_int_equal(r.memory_request_bytes, rows[i].mem);
        assert_int_equal(r.has_cpu_limit ? r.cpu_limit_milli : 0, rows[i].cpu_max);
        assert_int_equal(r.has_memory_limit ? r.memory_limit_bytes : 0, rows[i].mem_max);
        container_resources(p, &p->spec.containers[0], &r);
        assert_int_equal(r.has_cpu_limit ? r.cpu_limit_milli : 0, rows[i].c_cpu_max);
        assert_int_equal(r.has_memory_limit ? r.memory_limit_bytes : 0, rows[i].c_mem_max);
        assert_int_equal(oom_score_adj(p, &p->spec.containers[0], 1 << 30), rows[i].oom);
        free(json);
    }
}

static void test_resources(void **state)
{
    static const struct {
        const char *containers, *init, *qos;
        int64_t cpu, mem;
        int oom;
    } rows[] = {
        {"{}", "", "BestEffort", 0, 0, 1000},
        {"{\"resources\":{\"requests\":{\"cpu\":\"100m\",\"memory\":\"100Mi\"}}}", "", "Burstable",
         100, 100 << 20, 903},
        {"{\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}}", "", "Guaranteed", 1000,
         1 << 30, -997},
        {"{\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"},\"requests\":{\"cpu\":"
         "\"500m\"}}}",
         "", "Burstable", 500, 1 << 30, 3},
        {"{\"resources\":{\"requests\":{\"cpu\":\"100m\"}}}",
         "{\"name\":\"i\",\"resources\":{\"requests\":{\"cpu\":\"1\"}}}", "Burstable", 1000, 0,
         999},
        {"{\"resources\":{\"requests\":{\"cpu\":\"100m\"}}}",
         "{\"name\":\"s\",\"restartPolicy\":\"Always\",\"resources\":{\"requests\":{\"cpu\":"
         "\"200m\"}}},{\"name\":\"i\",\"resources\":{\"requests\":{\"cpu\":\"250m\"}}}",
         "Burstable", 450, 0, 999},
    };
    pods_as_a_whole();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *json = xasprintf("{\"metadata\":{\"name\":\"n\"},\"spec\":{\"initContainers\":[%s],"
                               "\"containers\":[%s]}}",
                               rows[i].init, rows[i].containers);
        const struct api_pod *p = pod_of(json);
        struct container_resources r;
        pod_resources(p, &r);
        assert_str(pod_qos_class(p), rows[i].qos);
        assert_int_equal(r.cpu_request_milli, rows[i].cpu);
        assert_int_equal(r.memory_request_bytes, rows[i].mem);
        assert_int_equal(oom_score_adj(p, &p->spec.containers[0], 1 << 30), rows[i].oom);
        free(json);
    }
    assert_int_equal(cpu_shares_of_milli(0), 2);
    assert_int_equal(cpu_shares_of_milli(1000), 1024);
    assert_int_equal(cpu_quota_of_milli(500), 50000);
    assert_int_equal(cpu_quota_of_milli(1), 1000);
    assert_int_equal(cgroup_weight_of_shares(2), 1);
    assert_int_equal(cgroup_weight_of_shares(1024), 39);
    assert_int_equal(cgroup_weight_of_shares(262144), 10000);
}

/* ---- spec ---- */

static struct json *build(const struct api_pod *p, const char *profile, int *ret_r,
                          struct error *err)
{
    struct env e = {.arena = &ar};
    struct user u = {.uid = 0};
    env_set(&e, STR("V"), STR("val"));
    char *ep[] = {(char[]){"/ep"}, NULL}, *cmd[] = {(char[]){"c1"}, (char[]){"c2"}, NULL};
    static const struct spec_mount mounts[] = {{"/src/deep", "/data/in/side", true, NULL},
                                               {"/src/top", "/data", false, "rslave"}};
    struct spec_input in = {
        .pod = p,
        .container = &p->spec.containers[0],
        .image_entrypoint = ep,
        .image_cmd = cmd,
        .image_working_dir = "/w",
        .rootfs = "/root/fs",
        .hostname = "host",
        .env = &e,
        .user = &u,
        .mounts = mounts,
        .n_mounts = 2,
        .cgroup_path = "/davit/x/y",
        .layout = CGROUP_LAYOUT_V1,
        .seccomp_localhost_json = profile,
        .ns_path =
            {[SPEC_NS_NET] = "/ns/net", [SPEC_NS_IPC] = "/ns/ipc", [SPEC_NS_UTS] = "/ns/uts"},
    };
    struct buf b = {0};
    struct json *v = NULL;
    in.caps = caps_of(p->spec.containers[0].security_context, err, ret_r);
    *ret_r = spec_build(&in, &b, err);
    if (*ret_r == 0)
        assert_int_equal(json_parse(buf_str(&b), &ar, NULL, &v, err), 0);
    buf_fini(&b);
    return v;
}

static const struct json *at(const struct json *v, const char *path)
{
    struct str rest = str_z(path), part;
    while (v && (str_cut(&rest, '/', &part) || part.n)) {
        uint64_t i;
        v = str_to_u64(part, &i) == 0 ? json_at(v, i) : json_get(v, part);
    }
    return v;
}

static void assert_at(const struct json *v, const char *path, const char *want)
{
    const struct json *x = at(v, path);
    struct buf b = {0};
    if (x)
        json_print(x, &b);
    assert_str(x ? buf_str(&b) : STR("<none>"), want);
    buf_fini(&b);
}

static void test_spec(void **state)
{
    struct error err = {0};
    int r;
    struct json *v = build(
        pod_of("{\"metadata\":{\"name\":\"n\"},\"spec\":{\"containers\":[{\"name\":\"c\"}]}}"),
        NULL, &r, &err);
    assert_at(v, "process/args", "[\"/ep\",\"c1\",\"c2\"]");
    assert_at(v, "process/cwd", "\"/w\"");
    assert_at(v, "process/noNewPrivileges", "false");
    assert_at(v, "root/readonly", "false");
    assert_at(v, "linux/cgroupsPath", "\"/davit/x/y\"");
    assert_at(v, "linux/seccomp/defaultAction", "\"SCMP_ACT_ERRNO\"");
    assert_at(v, "linux/namespaces/0/path", "\"/ns/net\"");
    assert_at(v, "linux/namespaces/3", "{\"type\":\"pid\"}");
    assert_at(v, "hostname", "<none>");
    assert_at(v, "linux/resources/devices/0/allow", "false");
    assert_at(v, "linux/resources/memory", "<none>");
    /* what lies in another mount comes behind it */
    const struct json *m = at(v, "mounts");
    int top = -1, deep = -1, i = 0;
    json_for_each(x, m)
    {
        if (str_is(json_get_str(x, STR("destination")), "/data"))
            top = i;
        if (str_is(json_get_str(x, STR("destination")), "/data/in/side"))
            deep = i;
        i++;
    }
    assert_true(top >= 0 && deep > top);

    v = build(
        pod_of("{\"metadata\":{\"name\":\"n\"},\"spec\":{\"containers\":[{\"name\":\"c\","
               "\"command\":[\"x\",\"$(V)\"],\"workingDir\":\"/q\",\"tty\":true,"
               "\"securityContext\":{\"privileged\":false,\"allowPrivilegeEscalation\":false,"
               "\"readOnlyRootFilesystem\":true,\"seccompProfile\":{\"type\":\"Unconfined\"}},"
               "\"resources\":{\"limits\":{\"cpu\":\"500m\",\"memory\":\"64Mi\"}}}]}}"),
        NULL, &r, &err);
    assert_at(v, "process/args", "[\"x\",\"val\"]"); /* a command hides the image's arguments too */
    assert_at(v, "process/cwd", "\"/q\"");
    assert_at(v, "process/terminal", "true");
    assert_at(v, "process/noNewPrivileges", "true");
    assert_at(v, "root/readonly", "true");
    assert_at(v, "linux/seccomp", "<none>");
    assert_at(v, "linux/resources/memory/limit", "67108864");
    assert_at(v, "linux/resources/cpu/quota", "50000");
    assert_at(v, "linux/resources/cpu/shares", "512");

    v = build(pod_of("{\"metadata\":{\"name\":\"n\"},\"spec\":{\"containers\":[{\"name\":\"c\","
                     "\"args\":[\"only\"],\"securityContext\":{\"privileged\":true}}]}}"),
              NULL, &r, &err);
    assert_at(v, "process/args", "[\"/ep\",\"only\"]");
    assert_at(v, "linux/maskedPaths", "<none>");
    assert_at(v, "linux/seccomp", "<none>");
    assert_at(v, "linux/resources/devices/0/allow", "true");

    v = build(pod_of("{\"metadata\":{\"name\":\"n\"},\"spec\":{\"securityContext\":{"
                     "\"seccompProfile\":{\"type\":\"Localhost\",\"localhostProfile\":\"p\"}},"
                     "\"containers\":[{\"name\":\"c\"}]}}"),
              "{\"defaultAction\":\"SCMP_ACT_ALLOW\"}", &r, &err);
    assert_at(v, "linux/seccomp/defaultAction", "\"SCMP_ACT_ALLOW\"");
    error_fini(&err);
}

static void test_seccomp(void **state)
{
    struct buf b = {0};
    struct json *v;
    struct error err = {0};
    seccomp_default_json(0, &b);
    assert_int_equal(json_parse(buf_str(&b), &ar, NULL, &v, &err), 0);
    assert_true(str_search(buf_str(&b), STR("\"clone3\"")) >= 0);
    assert_true(str_search(buf_str(&b), STR("\"mount\"")) < 0);
    assert_true(str_search(buf_str(&b), STR("\"openat2\"")) >= 0);
    buf_clear(&b);
    seccomp_default_json(UINT64_C(1) << 21, &b);
    assert_int_equal(json_parse(buf_str(&b), &ar, NULL, &v, &err), 0);
    assert_true(str_search(buf_str(&b), STR("\"mount\"")) >= 0);
    buf_fini(&b);
    error_fini(&err);
}

/* ---- /etc ---- */

static void test_etc(void **state)
{
    struct buf b = {0};
    const struct api_pod *p =
        pod_of("{\"metadata\":{\"name\":\"web-0\",\"namespace\":\"ns\"},\"spec\":{\"subdomain\":"
               "\"sub\",\"hostAliases\":[{\"ip\":\"9.9.9.9\",\"hostnames\":[\"a\",\"b\"]}],"
               "\"dnsConfig\":{\"nameservers\":[\"8.8.4.4\"],\"searches\":[\"my.org\"],\"options\":"
               "[{\"name\":\"ndots\",\"value\":\"2\"},{\"name\":\"edns0\"}]}}}");
    struct str ip = STR("10.1.1.1");
    sandbox_hosts(p, "web-0", STR("cluster.local"), &ip, 1, &b);
    assert_true(str_search(buf_str(&b), STR("10.1.1.1\tweb-0.sub.ns.svc.cluster.local\tweb-0\n")) >=
                0);
    assert_true(str_search(buf_str(&b), STR("9.9.9.9\ta\tb\n")) >= 0);
    buf_clear(&b);
    sandbox_resolv_conf(p, STR("10.96.0.10"), STR("cluster.local"),
                        STR("# x\nnameserver 1.1.1.1\nsearch lan\noptions rotate\n"), &b);
    assert_str(buf_str(&b), "nameserver 10.96.0.10\nnameserver 8.8.4.4\nsearch "
                            "ns.svc.cluster.local svc.cluster.local cluster.local lan my.org\n"
                            "options ndots:2 edns0\n");
    buf_clear(&b);
    p = pod_of("{\"metadata\":{\"name\":\"x\",\"namespace\":\"ns\"},\"spec\":{\"dnsPolicy\":"
               "\"Default\"}}");
    sandbox_resolv_conf(p, STR("10.96.0.10"), STR("cluster.local"),
                        STR("nameserver 1.1.1.1\nsearch lan\n"), &b);
    assert_str(buf_str(&b), "nameserver 1.1.1.1\nsearch lan\n");
    buf_fini(&b);
    char name[SANDBOX_HOSTNAME_BYTES];
    p = pod_of("{\"metadata\":{\"name\":"
               "\"a2345678901234567890123456789012345678901234567890123456789012-y\"}}");
    assert_int_equal(sandbox_hostname(p, "node", STR("cluster.local"), name), 0);
    assert_int_equal(strlen(name), 62); /* cut to 63, then the dash goes */
}

static const struct api_pod *pod_with(const char *spec)
{
    char *text =
        xasprintf("{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\"},\"spec\":%s}", spec);
    const struct api_pod *p = pod_of(text);
    free(text);
    return p;
}

static void test_hostnames(void **state)
{
    static const struct {
        const char *spec, *want;
        int r;
        const char *hosts; /* the line of the pod */
    } rows[] = {
        {"{}", "p", 0, "10.1.1.1\tp\n"},
        {"{\"hostname\":\"h\",\"subdomain\":\"s\"}", "h", 0,
         "10.1.1.1\th.s.ns.svc.cluster.local\th\n"},
        {"{\"hostname\":\"h\",\"subdomain\":\"s\",\"setHostnameAsFQDN\":true}",
         "h.s.ns.svc.cluster.local", 0, "10.1.1.1\th.s.ns.svc.cluster.local\th\n"},
        {"{\"hostname\":\"h\",\"setHostnameAsFQDN\":true}", "h", 0, "10.1.1.1\th\n"},
        {"{\"subdomain\":\"s23456789012345678901234567890123456789\",\"setHostnameAsFQDN\":true}",
         "p.s23456789012345678901234567890123456789.ns.svc.cluster.local", 0,
         "10.1.1.1\tp.s23456789012345678901234567890123456789.ns.svc.cluster.local\tp\n"},
        {"{\"subdomain\":\"s2345678901234567890123456789012345678901234\","
         "\"setHostnameAsFQDN\":true}",
         "p", -ENAMETOOLONG,
         "10.1.1.1\tp.s2345678901234567890123456789012345678901234.ns.svc.cluster.local\tp\n"},
        {"{\"hostname\":\"h\",\"subdomain\":\"s\",\"hostnameOverride\":\"o.example\"}", "o.example",
         0, "10.1.1.1\to.example\n"},
        {"{\"hostNetwork\":true,\"hostname\":\"h\",\"subdomain\":\"s\"}", "node", 0,
         "10.1.1.1\tnode\n"},
    };
    struct str ip = STR("10.1.1.1");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct api_pod *p = pod_with(rows[i].spec);
        char name[SANDBOX_HOSTNAME_BYTES];
        struct buf b = {0};
        assert_int_equal(sandbox_hostname(p, "node", STR("cluster.local"), name), rows[i].r);
        assert_string_equal(name, rows[i].want);
        sandbox_hosts(p, name, STR("cluster.local"), &ip, 1, &b);
        if (str_search(buf_str(&b), str_z(rows[i].hosts)) < 0)
            fail_msg("row %zu: %s", i, b.data);
        buf_fini(&b);
    }
}

#define DNS10  "nameserver 10.96.0.10\n"
#define SEARCH "search ns.svc.cluster.local svc.cluster.local cluster.local"

static void test_resolv_conf(void **state)
{
    static const struct {
        const char *spec, *dns, *host, *want;
    } rows[] = {
        {"{}", "10.96.0.10", "nameserver 1.1.1.1\n", DNS10 SEARCH "\noptions ndots:5\n"},
        {"{\"dnsPolicy\":\"ClusterFirst\"}", "10.96.0.10", "search\tlan  cluster.local. x. # c\n",
         DNS10 SEARCH " lan x\noptions ndots:5\n"},
        {"{\"hostNetwork\":true}", "10.96.0.10", "nameserver 1.1.1.1\nsearch lan\n",
         "nameserver 1.1.1.1\nsearch lan\n"},
        {"{\"hostNetwork\":true,\"dnsPolicy\":\"ClusterFirstWithHostNet\"}", "10.96.0.10",
         "nameserver 1.1.1.1\n", DNS10 SEARCH "\noptions ndots:5\n"},
        {"{\"dnsPolicy\":\"ClusterFirst\"}", "", "nameserver 1.1.1.1\n", "nameserver 1.1.1.1\n"},
        {"{\"dnsPolicy\":\"None\",\"dnsConfig\":{\"nameservers\":[\"9.9.9.9\"],\"searches\":[\"a."
         "b\"]}}",
         "10.96.0.10", "nameserver 1.1.1.1\nsearch lan\n", "nameserver 9.9.9.9\nsearch a.b\n"},
        {"{\"dnsConfig\":{\"nameservers\":[\"1.1.1.1\",\"10.96.0.10\",\"2.2.2.2\",\"3.3.3.3\"],"
         "\"options\":[{\"name\":\"ndots\",\"value\":\"1\"}]}}",
         "10.96.0.10", "",
         DNS10 "nameserver 1.1.1.1\nnameserver 2.2.2.2\n" SEARCH "\noptions ndots:1\n"},
        {"{\"dnsPolicy\":\"Default\"}", "10.96.0.10",
         "nameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\nnameserver 4.4.4.4\n"
         "options rotate edns0\nsearch a\nsearch b c\n",
         "nameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\nsearch b c\n"
         "options rotate edns0\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = {0};
        sandbox_resolv_conf(pod_with(rows[i].spec), str_z(rows[i].dns), STR("cluster.local"),
                            str_z(rows[i].host), &b);
        if (!str_eqz(buf_str(&b), rows[i].want))
            fail_msg("row %zu:\n--- wanted\n%s--- got\n%s", i, rows[i].want, b.data);
        buf_fini(&b);
    }
    /* Forty long domains: no more than 2048 characters of them. */
    struct buf host = {0}, b = {0};
    buf_add_lit(&host, "nameserver 1.1.1.1\nsearch");
    for (int i = 0; i < 40; i++)
        buf_printf(&host, " %02d%0*d", i, 98, 0);
    sandbox_resolv_conf(pod_with("{}"), STR("10.96.0.10"), STR("cluster.local"), buf_str(&host),
                        &b);
    struct str all = buf_str(&b), line;
    while (str_cut(&all, '\n', &line) && !str_starts(line, STR("search ")))
        ;
    assert_true(line.n <= 7 + 2048 && line.n > 7 + 1900);
    buf_fini(&b);
    buf_fini(&host);
}

static int setup(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/davit-test-pure-%d", (int)getpid());
    return fs_mkdirs(dir, 0755);
}

static int teardown(void **state)
{
    arena_fini(&ar);
    return fs_rm_rf(dir);
}

/* Said once when it is full, again only after a while, and once when it has room. */
static void test_full_connection_table(void **state)
{
    static const struct {
        uint64_t count, max;
        int64_t at_s;
        enum conntrack_news news;
    } steps[] = {
        {0, 0, 0, CONNTRACK_NO_NEWS}, /* no limit */
        {1000, 0, 1, CONNTRACK_NO_NEWS},       {94, 100, 2, CONNTRACK_NO_NEWS},
        {95, 100, 3, CONNTRACK_FULL},          {100, 100, 4, CONNTRACK_NO_NEWS},
        {85, 100, 5, CONNTRACK_NO_NEWS}, /* to and fro at the limit is no news */
        {99, 100, 6, CONNTRACK_NO_NEWS},       {96, 100, 602, CONNTRACK_NO_NEWS},
        {96, 100, 603, CONNTRACK_FULL},        {79, 100, 604, CONNTRACK_ROOM},
        {79, 100, 605, CONNTRACK_NO_NEWS},     {249035, 262144, 606, CONNTRACK_NO_NEWS},
        {249036, 262144, 607, CONNTRACK_FULL}, {209714, 262144, 608, CONNTRACK_ROOM},
    };
    struct conntrack_watch w = {0};

    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        if (conntrack_judge(&w, steps[i].count, steps[i].max, steps[i].at_s * NSEC_PER_SEC) !=
            steps[i].news)
            fail_msg("step %zu", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_variables),
        cmocka_unit_test(test_expand),
        cmocka_unit_test(test_env_build),
        cmocka_unit_test(test_env_errors),
        cmocka_unit_test(test_service_env),
        cmocka_unit_test(test_log_line),
        cmocka_unit_test(test_log_tail),
        cmocka_unit_test(test_payload),
        cmocka_unit_test(test_rm_rf),
        cmocka_unit_test(test_record),
        cmocka_unit_test(test_record_file),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_caps),
        cmocka_unit_test(test_users),
        cmocka_unit_test(test_resources),
        cmocka_unit_test(test_spec),
        cmocka_unit_test(test_seccomp),
        cmocka_unit_test(test_etc),
        cmocka_unit_test(test_hostnames),
        cmocka_unit_test(test_resolv_conf),
        cmocka_unit_test(test_full_connection_table),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
