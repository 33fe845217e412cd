/* Merging and pruning, row by row: what is there, what is applied, what the manager applied before,
 * what others own, what comes out. */
#include "test.h"

#include "schema/apply.h"
#include "schema/fields.h"

struct row {
    const char *live, *config;
    const char *last;   /* the former configuration; NULL: none */
    const char *others; /* owned by others, FieldsV1; NULL: nothing */
    const char *result;
};

static void run(const struct schema_desc *desc, const struct row *row)
{
    struct arena a = {0};
    struct error err = {0};
    struct buf out = {0}, want = {0};
    struct json *doc, *config, *last, *expected;
    struct str set, before, others;

    assert_ok(json_parse(str_z(row->live), &a, NULL, &doc, &err));
    assert_ok(json_parse(str_z(row->config), &a, NULL, &config, &err));
    assert_ok(json_parse(str_z(row->last ? row->last : "{}"), &a, NULL, &last, &err));
    assert_ok(json_parse(str_z(row->result), &a, NULL, &expected, &err));
    if (fields_of_tree(desc, config, &a, &set, &err) < 0)
        fail_msg("%s: %.*s", row->config, STR_ARG(err.message));
    assert_ok(fields_of_tree(desc, last, &a, &before, &err));
    assert_ok(fields_parse(desc, str_z(row->others ? row->others : "{}"), &a, &others, &err));
    apply_merge(desc, &doc, config, &a);
    apply_prune(desc, doc, before, fields_union(set, others, &a), &a);
    json_print(doc, &out);
    json_print(expected, &want);
    if (!json_equal(doc, expected))
        print_error("config   %s\n", row->config);
    assert_str(buf_str(&out), want.data);
    buf_fini(&out);
    buf_fini(&want);
    error_fini(&err);
    arena_fini(&a);
}

#define POD(containers) "{\"spec\":{\"containers\":[" containers "]}}"
#define C(name)         "{\"name\":\"" name "\"}"
#define IMG(name, i)    "{\"name\":\"" name "\",\"image\":\"" i "\"}"

static void merging(void **state)
{
    static const struct row rows[] = {
        {"{}", "{\"metadata\":{\"name\":\"a\"}}", NULL, NULL, "{\"metadata\":{\"name\":\"a\"}}"},
        {"{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}",
         "{\"metadata\":{\"labels\":{\"b\":\"3\",\"c\":\"4\"}}}", NULL, NULL,
         "{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"3\",\"c\":\"4\"}}}"},
        /* a map or list that is owned as a whole is replaced */
        {"{\"spec\":{\"nodeSelector\":{\"a\":\"1\"}}}",
         "{\"spec\":{\"nodeSelector\":{\"b\":\"2\"}}}", NULL, NULL,
         "{\"spec\":{\"nodeSelector\":{\"b\":\"2\"}}}"},
        {POD("{\"name\":\"a\",\"args\":[\"1\"]}"), POD("{\"name\":\"a\",\"args\":[\"2\",\"3\"]}"),
         NULL, NULL, POD("{\"name\":\"a\",\"args\":[\"2\",\"3\"]}")},
        {"{\"metadata\":{\"finalizers\":[\"a\",\"b\"]}}",
         "{\"metadata\":{\"finalizers\":[\"c\",\"b\"]}}", NULL, NULL,
         "{\"metadata\":{\"finalizers\":[\"a\",\"c\",\"b\"]}}"},
        /* elements: merged by key, others stay */
        {POD(IMG("a", "1") "," IMG("b", "1")), POD(IMG("b", "2")), NULL, NULL,
         POD(IMG("a", "1") "," IMG("b", "2"))},
        {POD("{\"name\":\"a\",\"image\":\"1\",\"tty\":true}"), POD(IMG("a", "2")), NULL, NULL,
         POD("{\"name\":\"a\",\"image\":\"2\",\"tty\":true}")},
        /* two keys, one with a default */
        {POD("{\"name\":\"a\",\"ports\":[{\"containerPort\":1,\"protocol\":\"TCP\"},"
             "{\"containerPort\":1,\"protocol\":\"UDP\"}]}"),
         POD("{\"name\":\"a\",\"ports\":[{\"containerPort\":1,\"name\":\"x\"}]}"), NULL, NULL,
         POD("{\"name\":\"a\",\"ports\":[{\"containerPort\":1,\"protocol\":\"TCP\",\"name\":\"x\"},"
             "{\"containerPort\":1,\"protocol\":\"UDP\"}]}")},
        /* null takes a value away, but not what others have below it */
        {"{\"spec\":{\"hostname\":\"x\",\"dnsConfig\":{\"nameservers\":[\"1.1.1.1\"]}}}",
         "{\"spec\":{\"hostname\":null,\"dnsConfig\":null}}", NULL, NULL,
         "{\"spec\":{\"hostname\":null,\"dnsConfig\":{\"nameservers\":[\"1.1.1.1\"]}}}"},
        /* an element that is there twice becomes one when the configuration speaks of it */
        {POD("{\"name\":\"a\",\"env\":[{\"name\":\"E\",\"value\":\"1\"},{\"name\":\"F\"},"
             "{\"name\":\"E\",\"value\":\"2\"}]}"),
         POD("{\"name\":\"a\",\"env\":[{\"name\":\"E\",\"value\":\"3\"}]}"), NULL, NULL,
         POD("{\"name\":\"a\",\"env\":[{\"name\":\"E\",\"value\":\"3\"},{\"name\":\"F\"}]}")},
        {POD("{\"name\":\"a\",\"env\":[{\"name\":\"E\",\"value\":\"1\"},"
             "{\"name\":\"E\",\"value\":\"2\"}]}"),
         POD("{\"name\":\"a\",\"env\":[{\"name\":\"G\"}]}"), NULL, NULL,
         POD("{\"name\":\"a\",\"env\":[{\"name\":\"E\",\"value\":\"1\"},"
             "{\"name\":\"E\",\"value\":\"2\"},{\"name\":\"G\"}]}")},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        run(&api_pod_desc, &rows[i]);
}

/* Elements of the configuration come in its order; the others keep their place among them. */
static void order(void **state)
{
    static const struct {
        const char *live, *config, *result; /* one letter an element */
    } rows[] = {
        {"", "ab", "ab"},
        {"ab", "", "ab"},
        {"ab", "ba", "ba"},
        {"abc", "cb", "acb"},
        {"ab", "c", "abc"},
        {"ab", "cb", "acb"},
        {"ab", "ca", "cab"},
        {"axb", "ba", "xba"},
        {"axbyc", "cab", "xycab"},
        {"abcd", "bd", "abcd"},
        {"abcd", "db", "acdb"},
        {"xay", "bac", "xbayc"},
        {"abc", "xaybzc", "xaybzc"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *in[] = {rows[i].live, rows[i].config, rows[i].result};
        char text[3][800];
        for (int k = 0; k < 3; k++) {
            size_t n = (size_t)snprintf(text[k], sizeof(text[k]), "{\"spec\":{\"containers\":[");
            for (const char *p = in[k]; *p; p++)
                n += (size_t)snprintf(text[k] + n, sizeof(text[k]) - n, "%s{\"name\":\"%c\"}",
                                      p == in[k] ? "" : ",", *p);
            snprintf(text[k] + n, sizeof(text[k]) - n, "]}}");
        }
        const struct row row = {text[0], text[1], NULL, NULL, text[2]};
        run(&api_pod_desc, &row);
    }
}

static void pruning(void **state)
{
    static const struct row rows[] = {
        /* left out and nobody else's: gone */
        {"{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}",
         "{\"metadata\":{\"labels\":{\"b\":\"2\"}}}",
         "{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}", NULL,
         "{\"metadata\":{\"labels\":{\"b\":\"2\"}}}"},
        /* left out, but shared: stays */
        {"{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}",
         "{\"metadata\":{\"labels\":{\"b\":\"2\"}}}",
         "{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}",
         "{\"f:metadata\":{\"f:labels\":{\"f:a\":{}}}}",
         "{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}"},
        /* what was never applied stays */
        {"{\"metadata\":{\"labels\":{\"a\":\"1\",\"x\":\"9\"}},\"spec\":{\"priority\":3}}",
         "{\"metadata\":{\"labels\":{\"b\":\"2\"}}}", "{\"metadata\":{\"labels\":{\"a\":\"1\"}}}",
         NULL, "{\"metadata\":{\"labels\":{\"x\":\"9\",\"b\":\"2\"}},\"spec\":{\"priority\":3}}"},
        /* a whole branch nobody owns a part of any more */
        {"{\"metadata\":{\"name\":\"p\"},\"spec\":{\"securityContext\":{\"runAsUser\":1}}}",
         "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"priority\":1}}",
         "{\"spec\":{\"securityContext\":{\"runAsUser\":1}}}", NULL,
         "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"priority\":1}}"},
        /* elements go with all they hold, unless somebody owns them */
        {POD(IMG("a", "1") ",{\"name\":\"b\",\"tty\":true}"), POD(IMG("a", "1")),
         POD(IMG("a", "1") "," C("b")), NULL, POD(IMG("a", "1"))},
        {POD(IMG("a", "1") ",{\"name\":\"b\",\"tty\":true,\"image\":\"2\"}"), POD(IMG("a", "1")),
         POD(IMG("a", "1") "," IMG("b", "2")),
         "{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"b\\\"}\":{\".\":{},\"f:name\":{},"
         "\"f:tty\":{}}}}}",
         POD(IMG("a", "1") ",{\"name\":\"b\",\"tty\":true}")},
        {"{\"metadata\":{\"finalizers\":[\"a\",\"b\",\"c\"]}}",
         "{\"metadata\":{\"finalizers\":[\"c\"]}}",
         "{\"metadata\":{\"finalizers\":[\"a\",\"b\",\"c\"]}}",
         "{\"f:metadata\":{\"f:finalizers\":{\"v:\\\"b\\\"\":{}}}}",
         "{\"metadata\":{\"finalizers\":[\"b\",\"c\"]}}"},
        /* fields that are printed as part of their parent */
        {"{\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{\"medium\":\"Memory\"}}]}}",
         "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"configMap\":{\"name\":\"c\"}}]}}",
         "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{\"medium\":\"Memory\"}}]}}", NULL,
         "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"configMap\":{\"name\":\"c\"}}]}}"},
        /* what is empty after that goes too */
        {"{\"metadata\":{\"labels\":{\"a\":\"1\"}}}", "{\"metadata\":{\"name\":\"n\"}}",
         "{\"metadata\":{\"labels\":{\"a\":\"1\"}}}", "{\"f:metadata\":{\"f:labels\":{}}}",
         "{\"metadata\":{\"name\":\"n\"}}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        run(&api_pod_desc, &rows[i]);
}

/* Wide maps and long lists: the same, and not by comparing everything with everything. */
static void wide(void **state)
{
    enum { N = 20000 };
    struct arena a = {0};
    struct buf live = {0}, config = {0};
    struct json *doc, *v;
    struct str before, set;
    buf_add_lit(&live, "{\"data\":{\"keep\":\"1\"");
    buf_add_lit(&config, "{\"data\":{\"new\":\"1\"");
    for (int i = 0; i < N; i++)
        buf_printf(&live, ",\"k%d\":\"v\"", i);
    for (int i = 0; i < N; i += 2)
        buf_printf(&config, ",\"k%d\":\"w\"", i);
    buf_add_lit(&live, "}}");
    buf_add_lit(&config, "}}");
    assert_ok(json_parse(buf_str(&live), &a, NULL, &doc, NULL));
    assert_ok(fields_of_tree(&api_config_map_desc, doc, &a, &before, NULL));
    assert_ok(json_parse(buf_str(&config), &a, NULL, &v, NULL));
    assert_ok(fields_of_tree(&api_config_map_desc, v, &a, &set, NULL));
    apply_merge(&api_config_map_desc, &doc, v, &a);
    struct str keep;
    assert_ok(
        fields_parse(&api_config_map_desc, STR("{\"f:data\":{\"f:keep\":{}}}"), &a, &keep, NULL));
    apply_prune(&api_config_map_desc, doc, before, fields_union(set, keep, &a), &a);
    const struct json *data = json_getz(doc, "data");
    assert_int_equal(data->n, N / 2 + 2);
    assert_str(json_get_str(data, STR("k0")), "w");
    assert_null(json_get(data, STR("k1")));
    assert_non_null(json_get(data, STR("keep")));
    buf_fini(&live);
    buf_fini(&config);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merging),
        cmocka_unit_test(order),
        cmocka_unit_test(pruning),
        cmocka_unit_test(wide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
