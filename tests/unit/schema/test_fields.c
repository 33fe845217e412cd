/* Sets of fields: their two forms, combining them, and what is taken from objects. */
#include "test.h"

#include "random_msg.h"
#include "schema/fields.h"

struct fixture {
    struct arena a;
    struct error err;
};

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){0};
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    error_fini(&f->err);
    arena_fini(&f->a);
    return 0;
}

static struct str text_of(struct fixture *f, struct str set)
{
    struct buf b = {0};
    fields_print(set, &b);
    struct str s = arena_str(&f->a, buf_str(&b));
    buf_fini(&b);
    return s;
}

static struct str parse(struct fixture *f, const struct schema_desc *desc, const char *text)
{
    struct str set = STR_NONE;
    int r = fields_parse(desc, str_z(text), &f->a, &set, &f->err);
    if (r < 0)
        fail_msg("%s: %.*s", text, STR_ARG(f->err.message));
    assert_true(fields_valid(set));
    return set;
}

static void *message(struct fixture *f, const struct schema_desc *desc, const char *json)
{
    void *msg = schema_new(desc, &f->a);
    int r = schema_decode_text(desc, str_z(json), &f->a, NULL, msg, &f->err);
    if (r < 0)
        fail_msg("%s: %.*s", json, STR_ARG(f->err.message));
    return msg;
}

static void both_forms(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *in, *out; /* out NULL: the same */
    } rows[] = {
        {"{}", NULL},
        {"{\"f:spec\":{\"f:replicas\":{}}}", NULL},
        {"{\"f:metadata\":{\"f:labels\":{\".\":{},\"f:app\":{}}}}", NULL},
        {"{\"f:metadata\":{\"f:labels\":{\"f:app\":{},\".\":{}}}}",
         "{\"f:metadata\":{\"f:labels\":{\".\":{},\"f:app\":{}}}}"},
        {"{\"f:spec\":{\"f:template\":{},\"f:replicas\":{}},\"f:metadata\":{}}",
         "{\"f:metadata\":{},\"f:spec\":{\"f:replicas\":{},\"f:template\":{}}}"},
        {"{\"f:spec\":{\"f:template\":{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"a\\\"}"
         "\":{"
         "\".\":{},\"f:livenessProbe\":{\"f:exec\":{\"f:command\":{}},\"f:periodSeconds\":{}},"
         "\"f:ports\":{\"k:{\\\"protocol\\\":\\\"TCP\\\", \\\"containerPort\\\":80}\":{}}}}}}}}",
         "{\"f:spec\":{\"f:template\":{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"a\\\"}"
         "\":{"
         "\".\":{},\"f:livenessProbe\":{\"f:exec\":{\"f:command\":{}},\"f:periodSeconds\":{}},"
         "\"f:ports\":{\"k:{\\\"containerPort\\\":80,\\\"protocol\\\":\\\"TCP\\\"}\":{}}}}}}}}"},
        {"{\"f:metadata\":{\"f:finalizers\":{\"v:\\\"b\\\"\":{},\"v:\\\"a\\\"\":{}}}}",
         "{\"f:metadata\":{\"f:finalizers\":{\"v:\\\"a\\\"\":{},\"v:\\\"b\\\"\":{}}}}"},
        {"{\"f:spec\":{\"f:fromTheFuture\":{\"f:x\":{},\"i:3\":{}}}}", NULL},
        {"{\"f:spec\":{\"z:later\":{},\"f:replicas\":{}}}", "{\"f:spec\":{\"f:replicas\":{}}}"},
        {"{\"f:metadata\":{\"f:annotations\":{\"f:a.b/c \\\"d\\\"\":{}}}}", NULL},
        {"{\"f:spec\":{\"f:a\":{},\"f:a\":{\"f:b\":{}}}}",
         "{\"f:spec\":{\"f:a\":{\".\":{},\"f:b\":{}}}}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str set = parse(f, &api_deployment_desc, rows[i].in);
        assert_str(text_of(f, set), rows[i].out ? rows[i].out : rows[i].in);
        assert_true(fields_root(set) == &api_deployment_desc);
    }
}

static void malformed(void **state)
{
    struct fixture *f = *state;
    static const char *const rows[] = {
        "",
        "[]",
        "{\"f:a\":1}",
        "{\"spec\":{}}",
        "{\"f\":{}}",
        "{\"k:x\":{}}",
        "{\"k:[1]\":{}}",
        "{\"v:{\":{}}",
        "{\"i:x\":{}}",
        "{\"\":{}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str set = STR_NONE;
        assert_int_equal(fields_parse(&api_pod_desc, str_z(rows[i]), &f->a, &set, &f->err),
                         -EINVAL);
        assert_true(f->err.message.n > 0);
        assert_null(set.p);
        error_clear(&f->err);
    }
    struct buf deep = {0};
    for (int i = 0; i < 150; i++)
        buf_add_lit(&deep, "{\"f:a\":");
    buf_add_lit(&deep, "{}");
    for (int i = 0; i < 150; i++)
        buf_add_lit(&deep, "}");
    struct str set;
    assert_true(fields_parse(&api_pod_desc, buf_str(&deep), &f->a, &set, &f->err) < 0);
    buf_fini(&deep);
}

static void combining(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *a, *b, *both, *less, *common;
    } rows[] = {
        {"{}", "{}", "{}", "{}", "{}"},
        {"{\"f:data\":{\"f:a\":{}}}", "{}", "{\"f:data\":{\"f:a\":{}}}",
         "{\"f:data\":{\"f:a\":{}}}", "{}"},
        {"{}", "{\"f:data\":{\"f:a\":{}}}", "{\"f:data\":{\"f:a\":{}}}", "{}", "{}"},
        {"{\"f:data\":{\"f:a\":{},\"f:b\":{}}}", "{\"f:data\":{\"f:b\":{},\"f:c\":{}}}",
         "{\"f:data\":{\"f:a\":{},\"f:b\":{},\"f:c\":{}}}", "{\"f:data\":{\"f:a\":{}}}",
         "{\"f:data\":{\"f:b\":{}}}"},
        /* a path and what is below it are two things */
        {"{\"f:data\":{\".\":{},\"f:a\":{}}}", "{\"f:data\":{}}",
         "{\"f:data\":{\".\":{},\"f:a\":{}}}", "{\"f:data\":{\"f:a\":{}}}", "{\"f:data\":{}}"},
        {"{\"f:data\":{\"f:a\":{}}}", "{\"f:data\":{}}", "{\"f:data\":{\".\":{},\"f:a\":{}}}",
         "{\"f:data\":{\"f:a\":{}}}", "{}"},
        {"{\"f:data\":{\"f:a\":{}},\"f:metadata\":{\"f:labels\":{\"f:x\":{}}}}",
         "{\"f:data\":{\"f:a\":{}}}",
         "{\"f:data\":{\"f:a\":{}},\"f:metadata\":{\"f:labels\":{\"f:x\":{}}}}",
         "{\"f:metadata\":{\"f:labels\":{\"f:x\":{}}}}", "{\"f:data\":{\"f:a\":{}}}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str a = parse(f, &api_config_map_desc, rows[i].a);
        struct str b = parse(f, &api_config_map_desc, rows[i].b);
        struct str less = fields_difference(a, b, &f->a), both = fields_union(a, b, &f->a);
        assert_str(text_of(f, both), rows[i].both);
        assert_str(text_of(f, less), rows[i].less);
        assert_str(text_of(f, fields_intersection(a, b, &f->a)), rows[i].common);
        assert_int_equal(fields_intersect(a, b), strcmp(rows[i].common, "{}") != 0);
        assert_true(fields_contain(both, a) && fields_contain(both, b) && fields_contain(a, less));
        assert_int_equal(fields_contain(a, b), strcmp(rows[i].both, rows[i].a) == 0);
        assert_true(fields_valid(both) && fields_valid(less));
    }
}

/* Long levels need lengths of several bytes, put in afterwards. */
static void long_sets(void **state)
{
    struct fixture *f = *state;
    for (unsigned n = 1; n < 3000; n = n * 2 + 7) {
        struct buf b = {0};
        buf_add_lit(&b, "{\"f:data\":{\".\":{}");
        for (unsigned i = 0; i < n; i++)
            buf_printf(&b, ",\"f:key-%05u\":{}", i);
        buf_add_lit(&b, "}}");
        struct str set = parse(f, &api_config_map_desc, b.data);
        assert_str(text_of(f, set), b.data);
        struct str one = parse(f, &api_config_map_desc, "{\"f:data\":{\"f:key-00000\":{}}}");
        struct str rest = fields_difference(set, one, &f->a);
        assert_true(fields_contain(set, one) && !fields_intersect(rest, one));
        assert_true(str_eq(fields_union(rest, one, &f->a), set));
        buf_fini(&b);
    }
}

/* Nothing that is not ours is taken for a set, and nothing that is taken breaks a reader. */
static void damaged(void **state)
{
    struct fixture *f = *state;
    struct str set =
        parse(f, &api_deployment_desc,
              "{\"f:metadata\":{\"f:labels\":{\".\":{},\"f:app\":{}}},\"f:spec\":{"
              "\"f:template\":{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"a\\\"}\":"
              "{\".\":{},\"f:image\":{}}}}}}}");
    unsigned taken = 0;
    for (size_t i = FIELDS_HEAD; i < set.n; i++)
        for (int bit = 0; bit < 8; bit++) {
            char *copy = (char *)(uintptr_t)arena_str(&f->a, set).p;
            copy[i] = (char)(copy[i] ^ (1 << bit));
            struct str bad = {copy, set.n};
            if (!fields_valid(bad))
                continue;
            taken++;
            assert_true(json_valid(text_of(f, bad)));
            assert_true(fields_contain(fields_union(bad, set, &f->a), bad));
        }
    assert_true(taken > 0);
    unsigned whole = 0; /* only between the two entries it has */
    for (size_t n = FIELDS_HEAD + 1; n < set.n; n++)
        whole += fields_valid((struct str){set.p, n});
    assert_int_equal(whole, 1);
    assert_false(fields_valid(STR("{\"f:a\":{}}")));
}

static void differences(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const struct schema_desc *desc;
        const char *old, *new, *changed, *removed;
    } rows[] = {
        {&api_config_map_desc, "{}", "{}", "{}", "{}"},
        {&api_config_map_desc, "{\"data\":{\"a\":\"1\",\"b\":\"2\"}}",
         "{\"data\":{\"b\":\"3\",\"c\":\"4\"}}", "{\"f:data\":{\"f:b\":{},\"f:c\":{}}}",
         "{\"f:data\":{\"f:a\":{}}}"},
        {&api_config_map_desc, "{}", "{\"data\":{\"a\":\"1\"}}",
         "{\"f:data\":{\".\":{},\"f:a\":{}}}", "{}"},
        {&api_config_map_desc, "{\"data\":{\"a\":\"1\"}}", "{}", "{}",
         "{\"f:data\":{\".\":{},\"f:a\":{}}}"},
        {&api_config_map_desc, "{\"immutable\":false}", "{\"immutable\":true}",
         "{\"f:immutable\":{}}", "{}"},
        {&api_config_map_desc, "{\"immutable\":false}", "{}", "{}", "{\"f:immutable\":{}}"},
        /* what nobody owns */
        {&api_config_map_desc, "{}",
         "{\"metadata\":{\"name\":\"a\",\"namespace\":\"b\",\"uid\":\"c\",\"generation\":4,"
         "\"resourceVersion\":\"5\",\"creationTimestamp\":\"2026-01-01T00:00:00Z\","
         "\"generateName\":\"a-\",\"managedFields\":[{\"manager\":\"x\"}]}}",
         "{\"f:metadata\":{\"f:generateName\":{}}}", "{}"},
        /* sets, and elements that are owned as a whole */
        {&api_config_map_desc, "{\"metadata\":{\"finalizers\":[\"b\",\"a\"]}}",
         "{\"metadata\":{\"finalizers\":[\"a\",\"d\",\"c\"]}}",
         "{\"f:metadata\":{\"f:finalizers\":{\"v:\\\"c\\\"\":{},\"v:\\\"d\\\"\":{}}}}",
         "{\"f:metadata\":{\"f:finalizers\":{\"v:\\\"b\\\"\":{}}}}"},
        {&api_config_map_desc,
         "{\"metadata\":{\"ownerReferences\":[{\"uid\":\"1\",\"name\":\"a\"},{\"uid\":\"2\"}]}}",
         "{\"metadata\":{\"ownerReferences\":[{\"uid\":\"3\"},{\"uid\":\"1\",\"name\":\"b\"}]}}",
         "{\"f:metadata\":{\"f:ownerReferences\":{\"k:{\\\"uid\\\":\\\"1\\\"}\":{},"
         "\"k:{\\\"uid\\\":\\\"3\\\"}\":{}}}}",
         "{\"f:metadata\":{\"f:ownerReferences\":{\"k:{\\\"uid\\\":\\\"2\\\"}\":{}}}}"},
        /* order alone is no change of keyed lists, but one of atomic ones */
        {&api_pod_desc, "{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}]}}",
         "{\"spec\":{\"containers\":[{\"name\":\"b\"},{\"name\":\"a\"}]}}", "{}", "{}"},
        {&api_pod_desc, "{\"spec\":{\"containers\":[{\"name\":\"a\",\"args\":[\"1\",\"2\"]}]}}",
         "{\"spec\":{\"containers\":[{\"name\":\"a\",\"args\":[\"2\",\"1\"]}]}}",
         "{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"a\\\"}\":{\"f:args\":{}}}}}", "{}"},
        {&api_pod_desc, "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"1\"}]}}",
         "{\"spec\":{\"containers\":[{\"name\":\"new\"},{\"name\":\"a\",\"image\":\"2\"}]}}",
         "{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"a\\\"}\":{\"f:image\":{}},"
         "\"k:{\\\"name\\\":\\\"new\\\"}\":{\".\":{},\"f:name\":{},\"f:resources\":{}}}}}",
         "{}"},
        /* a key with a default, and two that are the same */
        {&api_pod_desc, "{\"spec\":{\"containers\":[{\"name\":\"a\"}]}}",
         "{\"spec\":{\"containers\":[{\"name\":\"a\",\"ports\":[{\"containerPort\":80}]}]}}",
         "{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"a\\\"}\":{\"f:ports\":{\".\":{},"
         "\"k:{\\\"containerPort\\\":80,\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},"
         "\"f:containerPort\":{}}}}}}}",
         "{}"},
        {&api_pod_desc,
         "{\"spec\":{\"containers\":[{\"name\":\"a\",\"env\":[{\"name\":\"E\","
         "\"value\":\"1\"}]}]}}",
         "{\"spec\":{\"containers\":[{\"name\":\"a\",\"env\":[{\"name\":\"E\",\"value\":\"1\"},"
         "{\"name\":\"E\",\"value\":\"2\"}]}]}}",
         "{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"a\\\"}\":{\"f:env\":{"
         "\"k:{\\\"name\\\":\\\"E\\\"}\":{\".\":{},\"f:name\":{},\"f:value\":{}}}}}}}",
         "{}"},
        /* fields that are printed as part of their parent; the status is not looked at */
        {&api_pod_desc,
         "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}]},\"status\":{\"phase\":\"a\"}}",
         "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"configMap\":{\"name\":\"c\"}}]}}",
         "{\"f:spec\":{\"f:volumes\":{\"k:{\\\"name\\\":\\\"v\\\"}\":{\"f:configMap\":{\".\":{},"
         "\"f:name\":{}}}}}}",
         "{\"f:spec\":{\"f:volumes\":{\"k:{\\\"name\\\":\\\"v\\\"}\":{\"f:emptyDir\":{}}}}}"},
        {&api_deployment_desc, "{\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"1\"}}}}",
         "{\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"2\"}},\"replicas\":0}}",
         "{\"f:spec\":{\"f:replicas\":{},\"f:selector\":{}}}", "{}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const void *x = message(f, rows[i].desc, rows[i].old);
        const void *y = message(f, rows[i].desc, rows[i].new);
        struct fields_diff d;
        bool any = fields_diff(rows[i].desc, x, y, "status", &f->a, &d);
        assert_str(text_of(f, d.changed), rows[i].changed);
        assert_str(text_of(f, d.removed), rows[i].removed);
        assert_int_equal(any, strcmp(rows[i].changed, "{}") || strcmp(rows[i].removed, "{}"));
        assert_true(fields_valid(d.changed) && fields_valid(d.removed));
    }
}

/* Many elements are matched by a map, few by comparing: both the same. */
static void long_lists(void **state)
{
    struct fixture *f = *state;
    for (unsigned n = 2; n < 70; n += 13) {
        struct buf x = {0}, y = {0}, want = {0};
        buf_add_lit(&x, "{\"spec\":{\"containers\":[{\"name\":\"gone\"}");
        buf_add_lit(&y, "{\"spec\":{\"containers\":[{\"name\":\"last\",\"image\":\"2\"}");
        for (unsigned i = 0; i < n; i++) {
            buf_printf(&x, ",{\"name\":\"c%u\"}", i);
            buf_printf(&y, ",{\"name\":\"c%u\"}", n - 1 - i);
        }
        buf_add_lit(&x, ",{\"name\":\"last\"}]}}");
        buf_add_lit(&y, "]}}");
        struct fields_diff d;
        assert_true(fields_diff(&api_pod_desc, message(f, &api_pod_desc, x.data),
                                message(f, &api_pod_desc, y.data), "status", &f->a, &d));
        assert_str(text_of(f, d.changed), "{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":"
                                          "\\\"last\\\"}\":{\"f:image\":{}}}}}");
        assert_str(text_of(f, d.removed),
                   "{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"gone\\\"}\":{\".\":{},"
                   "\"f:name\":{},\"f:resources\":{}}}}}");
        buf_fini(&x);
        buf_fini(&y);
        buf_fini(&want);
    }
}

static void configurations(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *config, *set, *error; /* error: then set is NULL */
    } rows[] = {
        {"{\"apiVersion\":\"v1\",\"kind\":\"Pod\"}", "{}", NULL},
        {"{\"metadata\":{\"name\":\"a\",\"labels\":{\"x\":\"y\"}}}",
         "{\"f:metadata\":{\"f:labels\":{\"f:x\":{}},\"f:name\":{}}}", NULL},
        /* written zeros, nulls and empty maps are owned; empty lists are not */
        {"{\"spec\":{\"hostNetwork\":false,\"nodeName\":null,\"securityContext\":{},\"volumes\":[]}"
         "}",
         "{\"f:spec\":{\"f:hostNetwork\":{},\"f:nodeName\":{},\"f:securityContext\":{}}}", NULL},
        {"{\"spec\":{\"containers\":[{\"name\":\"b\",\"ports\":[{\"containerPort\":1}]},"
         "{\"name\":\"a\",\"resources\":{\"limits\":{\"cpu\":1}},\"livenessProbe\":{\"exec\":{"
         "\"command\":[\"x\"]},\"periodSeconds\":3}}]}}",
         "{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"a\\\"}\":{\".\":{},"
         "\"f:livenessProbe\":{\"f:exec\":{\"f:command\":{}},\"f:periodSeconds\":{}},\"f:name\":{},"
         "\"f:resources\":{\"f:limits\":{\"f:cpu\":{}}}},\"k:{\\\"name\\\":\\\"b\\\"}\":{\".\":{},"
         "\"f:name\":{},\"f:ports\":{\"k:{\\\"containerPort\\\":1,\\\"protocol\\\":\\\"TCP\\\"}\":{"
         "\".\":{},\"f:containerPort\":{}}}}}}}",
         NULL},
        {"{\"metadata\":{\"finalizers\":[\"b/c\",\"a/b\"]}}",
         "{\"f:metadata\":{\"f:finalizers\":{\"v:\\\"a/b\\\"\":{},\"v:\\\"b/c\\\"\":{}}}}", NULL},
        {"{\"spec\":{\"nope\":1}}", NULL, ".spec.nope: field not declared in schema"},
        {"{\"spec\":{\"containers\":[{\"name\":\"a\",\"imag\":1}]}}", NULL,
         ".spec.containers[name=\"a\"].imag: field not declared in schema"},
        {"{\"spec\":{\"affinity\":{\"nodeAffinity\":{"
         "\"requiredDuringSchedulingIgnoredDuringExecution\""
         ":{\"nodeSelectorTerms\":[{\"x\":1}]}}}}}",
         NULL,
         ".spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution."
         "nodeSelectorTerms[0].x: field not declared in schema"},
        {"{\"spec\":{\"containers\":[{\"image\":\"a\"}]}}", NULL,
         ".spec.containers: element 0: associative list with keys has an element that omits key "
         "field \"name\" (and doesn't have default value)"},
        {"{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"a\"}]}}", NULL,
         ".spec.containers: duplicate entries for key [name=\"a\"]"},
        {"{\"spec\":{\"containers\":[{\"name\":\"a\",\"ports\":[{\"containerPort\":1},"
         "{\"containerPort\":1,\"protocol\":\"TCP\"}]}]}}",
         NULL,
         ".spec.containers[name=\"a\"].ports: duplicate entries for key "
         "[containerPort=1,protocol=\"TCP\"]"},
        {"{\"metadata\":{\"finalizers\":[\"a\",\"a\"]}}", NULL,
         ".metadata.finalizers: duplicate entries for key [=\"a\"]"},
        {"{\"spec\":{\"containers\":{}}}", NULL, ".spec.containers: expected list, got map"},
        {"{\"spec\":{\"containers\":[null]}}", NULL,
         ".spec.containers: element 0: associative list with keys may not have null elements"},
        {"{\"spec\":\"x\"}", NULL, ".spec: expected map, got string"},
        {"{\"spec\":{\"hostNetwork\":\"x\"}}", NULL,
         ".spec.hostNetwork: expected boolean, got string"},
        {"{\"spec\":{\"priority\":\"x\"}}", NULL,
         ".spec.priority: expected numeric (int or float), got string"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json *v;
        struct str set = STR_NONE;
        assert_ok(json_parse(str_z(rows[i].config), &f->a, NULL, &v, &f->err));
        int r = fields_of_tree(&api_pod_desc, v, &f->a, &set, &f->err);
        if (rows[i].error) {
            assert_int_equal(r, -EINVAL);
            assert_str(f->err.message, rows[i].error);
            error_clear(&f->err);
        } else {
            assert_int_equal(r, 0);
            assert_str(text_of(f, set), rows[i].set);
        }
    }
}

static void stripping(void **state)
{
    struct fixture *f = *state;
    struct str set = parse(f, &api_deployment_desc,
                           "{\"f:metadata\":{\"f:name\":{},\"f:uid\":{},\"f:labels\":{\"f:a\":{}}},"
                           "\"f:spec\":{\"f:template\":{\"f:metadata\":{\"f:name\":{}}}},"
                           "\"f:status\":{\"f:replicas\":{}}}");
    assert_str(text_of(f, fields_strip(&api_deployment_desc, set, "status", &f->a)),
               "{\"f:metadata\":{\"f:labels\":{\"f:a\":{}}},"
               "\"f:spec\":{\"f:template\":{\"f:metadata\":{\"f:name\":{}}}}}");
    set = parse(f, &api_deployment_desc, "{\"f:metadata\":{\"f:name\":{}}}");
    assert_true(fields_empty(fields_strip(&api_deployment_desc, set, NULL, &f->a)));
}

static void keeping(void **state)
{
    struct fixture *f = *state;
    static const char *const image[] = {"spec", "containers", "*", "image", NULL}, *const node[] = {
                                                                                       "spec",
                                                                                       "nodeName",
                                                                                       NULL};
    static const char *const *const paths[] = {image, node};
    struct str set =
        parse(f, &api_pod_desc,
              "{\"f:metadata\":{\"f:labels\":{\"f:a\":{}}},\"f:spec\":{\"f:containers\":{"
              "\".\":{},\"k:{\\\"name\\\":\\\"a\\\"}\":{\".\":{},\"f:image\":{},\"f:name\":{}},"
              "\"k:{\\\"name\\\":\\\"b\\\"}\":{\"f:name\":{}}},\"f:hostname\":{},"
              "\"f:nodeName\":{}}}");
    assert_str(text_of(f, fields_keep(&api_pod_desc, set, paths, 2, &f->a)),
               "{\"f:spec\":{\"f:containers\":{\".\":{},\"k:{\\\"name\\\":\\\"a\\\"}\":{"
               "\".\":{},\"f:image\":{}}},\"f:nodeName\":{}}}");
    assert_true(fields_empty(fields_keep(&api_pod_desc, set, paths, 0, &f->a)));
}

static void each_path(void *arg, struct str path)
{
    struct buf *b = arg;
    buf_printf(b, "%.*s;", STR_ARG(path));
}

static void paths(void **state)
{
    struct fixture *f = *state;
    struct buf b = {0};
    struct str set =
        parse(f, &api_pod_desc,
              "{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"a\\\"}\":{\".\":{},"
              "\"f:image\":{},\"f:ports\":{\"k:{\\\"containerPort\\\":1,\\\"protocol\\\":"
              "\\\"TCP\\\"}\":{}}}}},\"f:metadata\":{\"f:finalizers\":{\"v:\\\"x\\\"\":{}},"
              "\"f:labels\":{\"f:a.b/c\":{}}}}");
    fields_each(set, each_path, &b);
    assert_str(buf_str(&b),
               ".metadata.finalizers[=\"x\"];.metadata.labels.a.b/c;.spec.containers[name=\"a\"];"
               ".spec.containers[name=\"a\"].image;"
               ".spec.containers[name=\"a\"].ports[containerPort=1,protocol=\"TCP\"];");
    buf_fini(&b);
}

/* Whatever an object looks like: what one has over nothing is what nothing lacks of it, a set
 * survives both forms, and a message differs from itself in nothing. */
static void any_object(void **state)
{
    struct fixture *f = *state;
    for (size_t k = 0; k < _KIND_MAX; k++) {
        const struct schema_desc *desc = schema_kinds[k]->desc;
        assert_int_equal(desc->fields[0].number, 1); /* metadata goes first, in either order */
        for (uint32_t seed = 1; seed <= 6; seed++) {
            struct random_msg r = {.a = &f->a,
                                   .state = (seed * 1000 + k) * 0x9E3779B97F4A7C15u + 1};
            const void *none = schema_new(desc, &f->a);
            void *x = schema_new(desc, &f->a), *y = schema_new(desc, &f->a);
            rnd_msg(&r, desc, x, 0);
            rnd_msg(&r, desc, y, 0);
            struct fields_diff d, back;
            struct str again;
            assert_false(fields_diff(desc, x, x, NULL, &f->a, &d));
            (void)fields_diff(desc, none, x, NULL, &f->a, &d);
            assert_true(fields_valid(d.changed) && fields_valid(d.removed));
            struct str text = text_of(f, d.changed);
            assert_ok(fields_parse(desc, text, &f->a, &again, &f->err));
            assert_true(str_eq(d.changed, again));
            (void)fields_diff(desc, x, y, NULL, &f->a, &d);
            (void)fields_diff(desc, y, x, NULL, &f->a, &back);
            assert_true(fields_valid(d.changed) && fields_valid(d.removed));
            /* what is gone one way comes the other way */
            assert_true(fields_contain(back.changed, d.removed));
            assert_true(fields_contain(d.changed, back.removed));
            arena_clear(&f->a);
        }
    }
}

/* The store keeps the packed form, clients get JSON, and nobody can send the packed one. */
static void on_the_wire(void **state)
{
    struct fixture *f = *state;
    struct api_config_map m = {0}, back;
    struct api_managed_fields_entry e = {
        .manager = STR("x"),
        .fields_v1 = parse(f, &api_config_map_desc, "{\"f:data\":{\"f:a\":{}}}")};
    struct buf stored = {0}, wire = {0}, json = {0};
    m.metadata.managed_fields = &e;
    m.metadata.n_managed_fields = 1;
    schema_encode_pb_stored(&api_config_map_desc, &m, &stored);
    assert_ok(schema_decode_pb_stored(&api_config_map_desc, buf_str(&stored), &f->a, &back, NULL));
    assert_true(str_eq(back.metadata.managed_fields[0].fields_v1, e.fields_v1));
    assert_true(schema_decode_pb(&api_config_map_desc, buf_str(&stored), &f->a, &back, NULL) < 0);
    schema_encode_pb(&api_config_map_desc, &m, &wire);
    assert_ok(schema_decode_pb(&api_config_map_desc, buf_str(&wire), &f->a, &back, NULL));
    assert_str(back.metadata.managed_fields[0].fields_v1, "{\"f:data\":{\"f:a\":{}}}");
    schema_encode_json(&api_config_map_desc, &m, 0, &json);
    assert_true(str_search(buf_str(&json), STR("\"fieldsV1\":{\"f:data\":{\"f:a\":{}}}")) > 0);
    buf_fini(&stored);
    buf_fini(&wire);
    buf_fini(&json);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(both_forms),  TEST(malformed),   TEST(combining),      TEST(long_sets), TEST(damaged),
        TEST(differences), TEST(long_lists),  TEST(configurations), TEST(stripping), TEST(paths),
        TEST(any_object),  TEST(on_the_wire), TEST(keeping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
