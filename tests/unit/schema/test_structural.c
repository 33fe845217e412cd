/* Structural schemas: what is refused when they are compiled, and what they do to objects. */
#include "test.h"

#include "schema/structural.h"

/* ---- compiling ---- */

static struct str all_causes(const struct error *err, struct arena *a)
{
    struct buf b = {0};
    for (const struct error_cause *c = err->causes; c; c = c->next)
        buf_printf(&b, "%s%.*s: %.*s", b.n ? "; " : "", STR_ARG(c->field), STR_ARG(c->message));
    struct str out = arena_str(a, b.n ? buf_str(&b) : STR(""));
    buf_fini(&b);
    return out;
}

static void refused(void **state)
{
    static const struct {
        const char *schema, *says;
    } rows[] = {
        {"{}", "s.type: Required value: must not be empty at the root"},
        {"2", "s: Invalid value: \"number\": must be an object"},
        {"{\"type\":\"object\",\"not\":{\"anyOf\":[3]}}",
         "s.not.anyOf[0]: Invalid value: \"number\": must be an object"},
        {"{\"type\":\"string\"}", "s.type: Invalid value: \"string\": must be object at the root"},
        {"{\"type\":\"thing\"}",
         "s.type: Unsupported value: \"thing\": supported values: \"array\", \"boolean\", "
         "\"integer\", \"number\", \"object\", \"string\""},
        {"{\"type\":\"object\",\"properties\":{\"a\":{}}}",
         "s.properties[a].type: Required value: must not be empty for specified object fields"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\",\"items\":{}}}}",
         "s.properties[a].items.type: Required value: must not be empty for specified array items"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\"}}}",
         "s.properties[a].items: Required value: must be specified"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},"
         "\"additionalProperties\":true}",
         "s.additionalProperties: Forbidden: additionalProperties and properties are mutual "
         "exclusive"},
        {"{\"type\":\"object\",\"$ref\":\"#/x\"}", "s.$ref: Forbidden: $ref is not supported"},
        {"{\"type\":\"object\",\"uniqueItems\":true}",
         "s.uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity "
         "becomes quadratic"},
        {"{\"type\":\"object\",\"anyOf\":[{\"type\":\"string\"}]}",
         "s.anyOf[0].type: Forbidden: must be empty to be structural"},
        {"{\"type\":\"object\",\"not\":{\"properties\":{\"x\":{\"minimum\":1}}}}",
         "s.properties[x]: Required value: because it is defined in s.not.properties[x]"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"(\"}}}",
         "s.properties[a].pattern: Invalid value: \"(\": must be a valid regular expression, but "
         "isn't: error parsing regexp: missing closing ): `(`"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"default\":5}}}",
         "s.properties[a].default: Invalid value: \"integer\":  in body must be of type string: "
         "\"integer\""},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"object\",\"default\":{\"b\":1}}}}",
         "s.properties[a].default: Invalid value: {\"b\":1}: must not have unknown fields"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\",\"items\":{\"type\":"
         "\"object\",\"properties\":{\"k\":{\"type\":\"string\"}}},\"x-kubernetes-list-type\":"
         "\"map\",\"x-kubernetes-list-map-keys\":[\"k\"]}}}",
         "s.properties[a].items.properties[k].default: Required value: this property is in "
         "x-kubernetes-list-map-keys, so it must have a default or be a required property"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\",\"x-kubernetes-list-"
         "type\":\"map\","
         "\"items\":{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"string\"}}}}}}",
         "s.properties[a].x-kubernetes-list-map-keys: Required value: must not be empty if "
         "x-kubernetes-list-type is map"},
        {"{\"type\":\"object\",\"properties\":{\"metadata\":{\"type\":\"object\",\"properties\":{"
         "\"labels\":{\"type\":\"object\"}}}}}",
         "s.properties[metadata]: Forbidden: must not specify anything other than name and "
         "generateName, but metadata is implicitly specified"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct error err = {0};
        struct structural *s = NULL;
        assert_int_equal(structural_compile(str_z(rows[i].schema), STR("s"), &s, &err), -EBADMSG);
        assert_null(s);
        assert_str(all_causes(&err, &a), rows[i].says);
        error_fini(&err);
        arena_fini(&a);
    }
}

static void bounded(void **state)
{
    struct buf deep = {0}, wide = {0};
    struct structural *s = NULL;
    struct error err = {0};
    for (int i = 0; i < 90; i++)
        buf_add_lit(&deep, "{\"type\":\"object\",\"additionalProperties\":");
    buf_add_lit(&deep, "{\"type\":\"string\"}");
    for (int i = 0; i < 90; i++)
        buf_add_char(&deep, '}');
    assert_true(structural_compile(buf_str(&deep), STR("s"), &s, &err) < 0);
    assert_true(str_search(err.causes->message, STR("deeper than")) >= 0);
    error_clear(&err);

    buf_add_lit(&wide, "{\"type\":\"object\",\"properties\":{");
    for (int i = 0; i <= STRUCTURAL_NODES_MAX; i++)
        buf_printf(&wide, "%s\"p%d\":{\"type\":\"string\"}", i ? "," : "", i);
    buf_add_lit(&wide, "}}");
    assert_true(structural_compile(buf_str(&wide), STR("s"), &s, &err) < 0);
    assert_str(err.causes->message, "Too many: must have at most 50000 schemas");
    error_fini(&err);

    buf_clear(&wide);
    buf_add_lit(&wide, "{\"type\":\"object\",\"anyOf\":[{}");
    for (int i = 0; i < STRUCTURAL_RULES_MAX; i++)
        buf_add_lit(&wide, ",{}");
    buf_add_lit(&wide, "]}");
    assert_true(structural_compile(buf_str(&wide), STR("s"), &s, NULL) < 0);
    buf_fini(&deep);
    buf_fini(&wide);
}

/* ---- objects ---- */

static const char schema[] =
    "{\"type\":\"object\",\"required\":[\"spec\"],\"properties\":{"
    "\"spec\":{\"type\":\"object\",\"required\":[\"name\"],\"properties\":{"
    "\"name\":{\"type\":\"string\",\"minLength\":2,\"maxLength\":5,\"pattern\":\"^[a-z]+$\"},"
    "\"n\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":10,\"exclusiveMaximum\":true,"
    "\"multipleOf\":3},"
    "\"i\":{\"type\":\"integer\",\"format\":\"int32\",\"default\":7},"
    "\"f\":{\"type\":\"number\",\"nullable\":true},"
    "\"e\":{\"type\":\"string\",\"enum\":[\"red\",\"blue\"]},"
    "\"d\":{\"type\":\"string\",\"format\":\"date-time\"},"
    "\"u\":{\"type\":\"string\",\"format\":\"uuid\"},"
    "\"ip\":{\"type\":\"string\",\"format\":\"ipv4\"},"
    "\"by\":{\"type\":\"string\",\"format\":\"byte\"},"
    "\"p\":{\"x-kubernetes-int-or-string\":true},"
    "\"set\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"set\",\"maxItems\":3,\"minItems\":1,"
    "\"items\":{\"type\":\"string\"}},"
    "\"map\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\","
    "\"x-kubernetes-list-map-keys\":[\"k\"],\"items\":{\"type\":\"object\",\"required\":[\"k\"],"
    "\"properties\":{\"k\":{\"type\":\"string\"},\"v\":{\"type\":\"integer\",\"default\":1}}}},"
    "\"lab\":{\"type\":\"object\",\"maxProperties\":2,\"additionalProperties\":{\"type\":"
    "\"string\"}},"
    "\"any\":{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true},"
    "\"free\":{\"type\":\"object\",\"additionalProperties\":true},"
    "\"emb\":{\"type\":\"object\",\"x-kubernetes-embedded-resource\":true,"
    "\"x-kubernetes-preserve-unknown-fields\":true},"
    "\"one\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":"
    "\"integer\"}},\"oneOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]},"
    "\"not\":{\"type\":\"integer\",\"not\":{\"enum\":[4]}},"
    "\"all\":{\"type\":\"integer\",\"allOf\":[{\"minimum\":2},{\"maximum\":4}]},"
    "\"some\":{\"type\":\"string\",\"anyOf\":[{\"pattern\":\"^a\"},{\"pattern\":\"z$\"}]},"
    "\"sub\":{\"type\":\"object\",\"default\":{},\"properties\":{\"x\":{\"type\":\"string\","
    "\"default\":\"y\"}}}"
    "}}}}";

static struct structural *compiled(void)
{
    struct structural *s = NULL;
    struct error err = {0};
    struct arena a = {0};
    if (structural_compile(str_z(schema), STR("s"), &s, &err) < 0)
        print_error("%.*s\n", STR_ARG(all_causes(&err, &a)));
    arena_fini(&a);
    assert_non_null(s);
    return s;
}

/* `spec` holds these members; "" is what a good object says. */
static void checked(void **state)
{
    static const struct {
        const char *members, *says;
    } rows[] = {
        {"", ""},
        {"\"name\":5", "spec.name: Invalid value: \"integer\": spec.name in body must be of type "
                       "string: \"integer\""},
        {"\"name\":\"a\"",
         "spec.name: Invalid value: \"a\": spec.name in body should be at least 2 chars long"},
        {"\"name\":\"abcdef\"", "spec.name: Too long: may not be more than 5 bytes"},
        {"\"name\":\"A1\"",
         "spec.name: Invalid value: \"A1\": spec.name in body should match '^[a-z]+$'"},
        {"\"n\":0",
         "spec.n: Invalid value: 0: spec.n in body should be greater than or equal to 1"},
        {"\"n\":12", "spec.n: Invalid value: 12: spec.n in body should be less than 10"},
        {"\"n\":4", "spec.n: Invalid value: 4: spec.n in body should be a multiple of 3"},
        {"\"n\":3.0", ""},
        {"\"n\":3.5", "spec.n: Invalid value: \"number\": spec.n in body must be of type integer: "
                      "\"number\""},
        {"\"i\":3000000000",
         "spec.i: Invalid value: 3000000000: spec.i in body must be of type int32: \"integer\""},
        {"\"f\":null", ""},
        {"\"e\":\"pink\"",
         "spec.e: Unsupported value: \"pink\": supported values: \"red\", \"blue\""},
        {"\"d\":\"2024-02-30T00:00:00Z\"",
         "spec.d: Invalid value: \"2024-02-30T00:00:00Z\": spec.d in body must be of type "
         "date-time: \"2024-02-30T00:00:00Z\""},
        {"\"d\":\"2024-02-29T00:00:00Z\",\"u\":\"123e4567-e89b-12d3-a456-426614174000\","
         "\"ip\":\"10.0.0.1\",\"by\":\"aGk=\"",
         ""},
        {"\"ip\":\"::1\"",
         "spec.ip: Invalid value: \"::1\": spec.ip in body must be of type ipv4: \"::1\""},
        {"\"by\":\"a\"", "spec.by: Invalid value: \"a\": spec.by in body must be of type byte: "
                         "\"a\""},
        {"\"p\":\"80%\"", ""},
        {"\"p\":true", "spec.p: Invalid value: \"boolean\": spec.p in body must be of type "
                       "integer,string: \"boolean\""},
        {"\"set\":[\"a\",\"b\",\"a\"]", "spec.set[2]: Duplicate value: \"a\""},
        {"\"set\":[\"a\",\"b\",\"c\",\"d\"]", "spec.set: Too many: 4: must have at most 3 items"},
        {"\"set\":[]", "spec.set: Invalid value: 0: spec.set in body should have at least 1 items"},
        {"\"map\":[{\"k\":\"x\"},{\"k\":\"x\"}]", "spec.map[1]: Duplicate value: {\"k\":\"x\"}"},
        {"\"map\":[{\"v\":2}]", "spec.map[0].k: Required value"},
        {"\"lab\":{\"a\":\"1\",\"b\":2}",
         "spec.lab.b: Invalid value: \"integer\": spec.lab.b in body must be of type string: "
         "\"integer\""},
        {"\"lab\":{\"a\":\"\",\"b\":\"\",\"c\":\"\"}",
         "spec.lab: Too many: 3: must have at most 2 items"},
        {"\"emb\":{\"kind\":\"X\"}", "spec.emb.apiVersion: Required value: must not be empty"},
        {"\"emb\":{\"kind\":\"X\",\"apiVersion\":\"a/b/c\"}",
         "spec.emb.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c"},
        {"\"emb\":{\"kind\":\"X\",\"apiVersion\":\"v1\",\"metadata\":{\"labels\":{\"a\":1}}}",
         "spec.emb.metadata: Invalid value: {\"labels\":{\"a\":1}}: json: cannot unmarshal number "
         "1 "
         "into Go struct field ObjectMeta.labels.a of type string"},
        {"\"one\":{}", "spec.one: Invalid value: \"\": \"spec.one\" must validate one and only one "
                       "schema (oneOf). Found none valid"},
        {"\"one\":{\"a\":1,\"b\":1}",
         "spec.one: Invalid value: \"\": \"spec.one\" must validate one and only one schema "
         "(oneOf). Found more than one valid"},
        {"\"one\":{\"a\":1}", ""},
        {"\"not\":4",
         "spec.not: Invalid value: \"\": \"spec.not\" must not validate the schema (not)"},
        {"\"all\":5",
         "spec.all: Invalid value: 5: spec.all in body should be less than or equal to 4; "
         "spec.all: Invalid value: \"\": \"spec.all\" must validate all the schemas (allOf)"},
        {"\"some\":\"b\"", "spec.some: Invalid value: \"\": \"spec.some\" must validate at least "
                           "one schema (anyOf)"},
        {"\"some\":\"bz\"", ""},
    };
    struct structural *s = compiled();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct error err = {0};
        struct json *v;
        bool named = str_search(str_z(rows[i].members), STR("\"name\"")) >= 0;
        struct str text = arena_printf(&a, "{\"spec\":{%s%s%s}}", named ? "" : "\"name\":\"ok\"",
                                       named || !rows[i].members[0] ? "" : ",", rows[i].members);
        assert_ok(json_parse(text, &a, NULL, &v, NULL));
        int r = structural_validate(s, v, STRUCTURAL_WHOLE, &err);
        assert_str(all_causes(&err, &a), rows[i].says);
        assert_int_equal(r < 0, rows[i].says[0] != 0);
        error_fini(&err);
        arena_fini(&a);
    }
    structural_free(s);
}

/* What is wrong where nothing has changed is let be. In the schema everything is wrong that is not
 * small. */
static void ratcheted(void **state)
{
    static const char strict[] =
        "{\"type\":\"object\",\"required\":[\"must\"],\"properties\":{\"must\":{\"type\":"
        "\"integer\"},"
        "\"n\":{\"type\":\"integer\",\"maximum\":5},"
        "\"s\":{\"type\":\"string\",\"enum\":[\"a\"]},"
        "\"o\":{\"type\":\"object\",\"required\":[\"x\"],\"maxProperties\":2,\"properties\":{\"x\":"
        "{"
        "\"type\":\"integer\",\"maximum\":5},\"y\":{\"type\":\"integer\",\"maximum\":5},\"z\":{"
        "\"type\":"
        "\"integer\"}}},"
        "\"m\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\",\"maximum\":5}},"
        "\"l\":{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"maximum\":5}},"
        "\"set\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"set\",\"items\":{\"type\":"
        "\"integer\","
        "\"maximum\":5}},"
        "\"map\":{\"type\":\"array\",\"maxItems\":2,\"x-kubernetes-list-type\":\"map\","
        "\"x-kubernetes-list-map-keys\":[\"k\"],\"items\":{\"type\":\"object\",\"required\":[\"k\"]"
        ","
        "\"properties\":{\"k\":{\"type\":\"integer\",\"multipleOf\":2},\"v\":{\"type\":\"integer\","
        "\"maximum\":5}}}},"
        "\"any\":{\"type\":\"object\",\"maxProperties\":1,\"x-kubernetes-preserve-unknown-fields\":"
        "true},"
        "\"emb\":{\"type\":\"object\",\"x-kubernetes-embedded-resource\":true,"
        "\"x-kubernetes-preserve-unknown-fields\":true},"
        "\"nul\":{\"type\":\"string\"},"
        "\"not\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":"
        "\"integer\"}},\"not\":{\"properties\":{\"a\":{\"minimum\":5}}}},"
        "\"all\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":"
        "\"integer\"}},\"allOf\":[{\"properties\":{\"a\":{\"maximum\":5}}}]},"
        "\"kind\":{\"type\":\"string\",\"enum\":[\"Other\"]},"
        "\"status\":{\"type\":\"object\",\"properties\":{\"p\":{\"type\":\"integer\",\"maximum\":5}"
        ","
        "\"q\":{\"type\":\"integer\",\"maximum\":5}}}}}";
    static const struct {
        const char *old, *now, *fields; /* of what is said */
        int r;
        enum structural_part part;
    } rows[] = {
        {"\"n\":9", "\"n\":9", "", 0},
        {"\"n\":9", "\"n\":8", "n", -EDOM},
        {"", "\"n\":9", "n", -EDOM},
        {"\"s\":\"b\"", "\"s\":\"b\",\"n\":1", "", 0},
        {"\"s\":\"b\"", "\"s\":\"c\"", "s", -EBADMSG},
        {"\"s\":1", "\"s\":1", "", 0},
        {"\"s\":1", "\"s\":2", "s", -EBADMSG},
        /* an object is let be as a whole; if it has changed, what is in it and has not is */
        {"\"o\":{\"y\":9}", "\"o\":{\"y\":9}", "", 0},
        {"\"o\":{\"y\":9}", "\"o\":{\"y\":9,\"z\":1}", "o.x", -EBADMSG},
        {"\"o\":{\"x\":9,\"y\":9}", "\"o\":{\"x\":9,\"y\":8}", "o.y", -EDOM},
        {"\"o\":{\"x\":1,\"y\":9,\"z\":1}", "\"o\":{\"z\":1,\"y\":9,\"x\":1}", "", 0},
        {"\"o\":{\"x\":1,\"y\":9,\"z\":1}", "\"o\":{\"x\":1,\"y\":9,\"z\":2}", "o", -EBADMSG},
        {"\"m\":{\"a\":9,\"b\":9}", "\"m\":{\"a\":9,\"c\":9}", "m.c", -EDOM},
        {"\"m\":{\"a\":9,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":9,\"i\":9}",
         "\"m\":{\"h\":9,\"i\":8}", "m.i", -EDOM},
        /* lists are one thing, unless they are maps */
        {"\"l\":[9,1]", "\"l\":[9,1]", "", 0},
        {"\"l\":[9,1]", "\"l\":[9,2]", "l[0]", -EDOM},
        {"\"set\":[9,1]", "\"set\":[1,9]", "set[1]", -EDOM},
        {"\"set\":[1,1]", "\"set\":[1,1]", "", 0},
        {"\"set\":[1,1]", "\"set\":[1,2,2]", "", 0},
        {"\"set\":[1,1]", "\"set\":[1],\"map\":[{\"k\":2},{\"k\":2}]", "", 0},
        {"\"set\":[1]", "\"set\":[1,1]", "set[1]", -EDOM},
        {"\"map\":[{\"k\":1,\"v\":1},{\"k\":3},{\"k\":4}]",
         "\"map\":[{\"k\":4},{\"k\":3},{\"k\":1,\"v\":1}]", "", 0},
        {"\"map\":[{\"k\":1,\"v\":1},{\"k\":3}]", "\"map\":[{\"k\":3},{\"k\":1,\"v\":2}]", "", 0},
        {"\"map\":[{\"k\":1,\"v\":1},{\"k\":3}]", "\"map\":[{\"k\":5},{\"k\":1,\"v\":9}]",
         "map[0].k, map[1].v", -EDOM},
        /* nobody knows whether what is preserved is the same */
        {"\"any\":{\"a\":1,\"b\":2}", "\"any\":{\"a\":1,\"b\":2}", "any", -EBADMSG},
        {"\"emb\":{\"kind\":\"X\"}", "\"emb\":{\"kind\":\"X\"}", "emb.apiVersion", -EBADMSG},
        {"\"nul\":null", "\"nul\":null", "", 0},
        {"\"nul\":null", "\"nul\":1", "nul", -EBADMSG},
        /* value rules */
        {"\"not\":{\"a\":9,\"b\":1}", "\"not\":{\"a\":9,\"b\":1}", "", 0},
        {"\"not\":{\"a\":9,\"b\":1}", "\"not\":{\"a\":9,\"b\":2}", "not", -EDOM},
        {"\"all\":{\"a\":9,\"b\":1}", "\"all\":{\"a\":9,\"b\":2}", "all.a, all", -EDOM},
        /* the root is never the same, and what every request says is not looked up */
        {"\"must\":null", "\"must\":null", "", 0},
        {"\"kind\":\"K\"", "\"kind\":\"K\"", "kind", -EBADMSG},
        /* the status alone */
        {"\"n\":9", "\"n\":8,\"status\":{\"p\":9}", "status.p", -EDOM, STRUCTURAL_STATUS},
        {"\"status\":{\"p\":9}", "\"n\":8,\"status\":{\"p\":9,\"q\":1}", "", 0, STRUCTURAL_STATUS},
        {"\"status\":{\"p\":9}", "\"n\":8", "", 0, STRUCTURAL_STATUS},
    };
    struct structural *s = NULL;
    assert_ok(structural_compile(str_z(strict), STR("s"), &s, NULL));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct error err = {0};
        struct json *v[2];
        struct buf b = {0};
        const char *texts[] = {rows[i].old, rows[i].now};
        for (int k = 0; k < 2; k++) {
            bool must = str_search(str_z(texts[k]), STR("must")) >= 0;
            struct str t = arena_printf(&a, "{%s%s%s}", must ? "" : "\"must\":1",
                                        must || !texts[k][0] ? "" : ",", texts[k]);
            assert_ok(json_parse(t, &a, NULL, &v[k], NULL));
        }
        int r = structural_validate_update(s, v[1], v[0], rows[i].part, &err);
        for (const struct error_cause *c = err.causes; c; c = c->next)
            buf_printf(&b, "%s%.*s", b.n ? ", " : "", STR_ARG(c->field));
        assert_str(b.n ? buf_str(&b) : STR(""), rows[i].fields);
        assert_int_equal(r, rows[i].r);
        buf_fini(&b);
        error_fini(&err);
        arena_fini(&a);
    }
    structural_free(s);
}

static void pruned_and_defaulted(void **state)
{
    static const struct {
        const char *in, *out;
        unsigned n_warnings;
        const char *warning;
    } rows[] = {
        {"{\"apiVersion\":\"v\",\"kind\":\"K\",\"metadata\":{\"x\":1},\"spec\":{\"name\":\"a\"}}",
         "{\"apiVersion\":\"v\",\"kind\":\"K\",\"metadata\":{\"x\":1},\"spec\":{\"i\":7,\"name\":"
         "\"a\",\"sub\":{\"x\":\"y\"}}}",
         0, NULL},
        {"{\"foo\":1,\"spec\":{\"i\":1,\"sub\":{\"x\":\"z\",\"bar\":{}}}}",
         "{\"spec\":{\"i\":1,\"sub\":{\"x\":\"z\"}}}", 2, "unknown field \"foo\""},
        {"{\"spec\":{\"i\":null,\"f\":null,\"sub\":{}}}",
         "{\"spec\":{\"f\":null,\"i\":7,\"sub\":{\"x\":\"y\"}}}", 0, NULL},
        /* a null where null is no value goes, unless nobody says what is there */
        {"{\"spec\":{\"i\":1,\"name\":null,\"sub\":{\"x\":null},\"lab\":{\"a\":null,\"b\":\"c\"},"
         "\"map\":null,\"set\":[null],\"any\":{\"a\":null},\"free\":{\"a\":null},\"p\":null}}",
         "{\"spec\":{\"any\":{\"a\":null},\"free\":{\"a\":null},\"i\":1,\"lab\":{\"b\":\"c\"},"
         "\"set\":[null],\"sub\":{\"x\":\"y\"}}}",
         0, NULL},
        {"{\"metadata\":{\"x\":null},\"spec\":null}", "{\"metadata\":{\"x\":null}}", 0, NULL},
        {"{\"spec\":{\"i\":1,\"sub\":{},\"emb\":{\"kind\":\"K\",\"metadata\":{\"name\":\"a\",\"x\":"
         "1,"
         "\"creationTimestamp\":null},\"q\":1}}}",
         "{\"spec\":{\"emb\":{\"kind\":\"K\",\"metadata\":{\"name\":\"a\"},\"q\":1},\"i\":1,"
         "\"sub\":{"
         "\"x\":\"y\"}}}",
         1, "unknown field \"spec.emb.metadata.x\""},
        {"{\"spec\":{\"i\":1,\"i\":2,\"sub\":{}}}", "{\"spec\":{\"i\":2,\"sub\":{\"x\":\"y\"}}}", 1,
         "duplicate field \"spec.i\""},
        {"{\"spec\":{\"i\":1,\"sub\":{},\"any\":{\"q\":[1,{\"r\":2}]},\"lab\":{\"z\":\"1\"}}}",
         "{\"spec\":{\"any\":{\"q\":[1,{\"r\":2}]},\"i\":1,\"lab\":{\"z\":\"1\"},\"sub\":{\"x\":"
         "\"y\"}}}",
         0, NULL},
        {"{\"spec\":{\"i\":1,\"sub\":{},\"map\":[{\"k\":\"a\",\"w\":1},{\"k\":\"b\",\"v\":2}]}}",
         "{\"spec\":{\"i\":1,\"map\":[{\"k\":\"a\",\"v\":1},{\"k\":\"b\",\"v\":2}],\"sub\":{\"x\":"
         "\"y\"}}}",
         1, "unknown field \"spec.map[0].w\""},
        {"{\"spec\":{\"i\":1,\"sub\":{},\"free\":{\"a\":1,\"o\":{\"x\":1},\"l\":[1,{\"y\":2}]}}}",
         "{\"spec\":{\"free\":{\"a\":1,\"l\":[1,{}],\"o\":{}},\"i\":1,\"sub\":{\"x\":\"y\"}}}", 2,
         "unknown field \"spec.free.o.x\""},
    };
    struct structural *s = compiled();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct buf b = {0};
        struct json *v;
        struct schema_decode opts = {.unknown = SCHEMA_UNKNOWN_WARN};
        assert_ok(json_parse(str_z(rows[i].in), &a, NULL, &v, NULL));
        structural_prune(s, v, &a, &opts);
        assert_ok(structural_default(s, v, &a));
        json_print_sorted(v, &b);
        assert_str(buf_str(&b), rows[i].out);
        assert_int_equal(opts.n_warnings, rows[i].n_warnings);
        if (rows[i].warning)
            assert_str(opts.warnings[0], rows[i].warning);
        buf_fini(&b);
        arena_fini(&a);
    }
    structural_free(s);
}

/* ---- formats ---- */

static void formats(void **state)
{
    static const struct {
        const char *format, *good[8], *bad[8];
    } rows[] = {
        {"duration",
         {"1h30m", "-1h", "1 day", "2 weeks 3 DAYS", "1d", " 5 minutes ", "3\302\265s"},
         {"", "5", "1 moon", "P1D", "day", "1.5 days"}},
        {"hostname",
         {"a", "host", "a.bc", "www.example.com", "a-b.c-d", "b\303\274cher.de"},
         {"", "a.b", "a_b", "-a", "a-.bc", "a.bc.", "one-two-three", "a..bc"}},
        {"email", {"a@b.c", "Jo <jo@b.c>"}, {"", "a", "@b", "a@", "a b@c", "jo@b.c>"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct structural *s = NULL;
        struct json *v;
        assert_ok(structural_compile(
            arena_printf(&a,
                         "{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"string\","
                         "\"format\":\"%s\"}}}",
                         rows[i].format),
            STR("s"), &s, NULL));
        for (int bad = 0; bad < 2; bad++) {
            const char *const *texts = bad ? rows[i].bad : rows[i].good;
            for (int k = 0; k < 8 && texts[k]; k++) {
                assert_ok(
                    json_parse(arena_printf(&a, "{\"x\":\"%s\"}", texts[k]), &a, NULL, &v, NULL));
                if ((structural_validate(s, v, STRUCTURAL_WHOLE, NULL) < 0) != bad)
                    fail_msg("%s: %s", rows[i].format, texts[k]);
            }
        }
        structural_free(s);
        arena_fini(&a);
    }
}

/* ---- patterns ---- */

/* What all patterns of a schema hold, and what one object may cost them, is bounded: too much is
 * refused as such, also where only yes or no is asked. */
static void patterns_bounded(void **state)
{
    static const char *const rows[] = {
        "{\"type\":\"string\",\"pattern\":\"((a?){20}){200}b\"}",
        "{\"type\":\"string\",\"not\":{\"pattern\":\"((a?){20}){200}b\"}}",
        "{\"type\":\"string\",\"anyOf\":[{\"pattern\":\"((a?){20}){200}b\"},{\"minLength\":1}]}",
    };
    struct structural *s = NULL;
    struct error err = {0};
    struct buf b = {0}, object = {0};
    buf_add_lit(&object, "{\"x\":\"");
    for (int i = 0; i < 6000; i++)
        buf_add_char(&object, 'a');
    buf_add_lit(&object, "\"}");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct json *v;
        buf_clear(&b);
        buf_printf(&b, "{\"type\":\"object\",\"properties\":{\"x\":%s}}", rows[i]);
        assert_ok(structural_compile(buf_str(&b), STR("s"), &s, &err));
        assert_ok(json_parse(buf_str(&object), &a, NULL, &v, &err));
        assert_int_equal(structural_validate(s, v, STRUCTURAL_WHOLE, &err), -EBADMSG);
        bool said = false;
        for (const struct error_cause *c = err.causes; c; c = c->next)
            said |= str_search(c->message, STR("too large for its schema")) >= 0 ||
                    str_search(c->message, STR("(anyOf)")) >= 0;
        assert_true(said);
        error_clear(&err);
        s = structural_free(s);
        arena_fini(&a);
    }
    buf_clear(&b);
    buf_add_lit(&b, "{\"type\":\"object\",\"properties\":{");
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "%s\"p%d\":{\"type\":\"string\",\"pattern\":\"(.{90}){100}\"}", i ? "," : "",
                   i);
    buf_add_lit(&b, "}}");
    assert_true(structural_compile(buf_str(&b), STR("s"), &s, &err) < 0);
    assert_int_equal(err.n_causes, 1);
    assert_str(err.causes->message,
               "Forbidden: the patterns of one schema must not be larger than 8 MB");
    error_fini(&err);
    buf_fini(&b);
    buf_fini(&object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused),
        cmocka_unit_test(bounded),
        cmocka_unit_test(checked),
        cmocka_unit_test(ratcheted),
        cmocka_unit_test(pruned_and_defaulted),
        cmocka_unit_test(formats),
        cmocka_unit_test(patterns_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
