/* Who owns what of an object of a custom kind: sets, merging and pruning by its schema. JSON is
 * written with single quotes. */
#include "test.h"

#include "schema/apply.h"
#include "schema/custom.h"
#include "schema/fields.h"

static const char present_text[] =
    "{'type':'object','properties':{'spec':{'type':'object','properties':{"
    "'n':{'type':'integer','default':1},'name':{'type':'string'},"
    "'when':{'type':'string','format':'date-time'},"
    "'tags':{'type':'array','x-kubernetes-list-type':'set','items':{'type':'string'}},"
    "'ports':{'type':'array','x-kubernetes-list-type':'map','x-kubernetes-list-map-keys':"
    "['proto','port'],'items':{'type':'object','required':['port'],'properties':{"
    "'port':{'type':'integer'},'proto':{'type':'string','default':'TCP'},"
    "'note':{'type':'string'}}}},"
    "'plain':{'type':'array','items':{'type':'object','properties':{'a':{'type':'string'}}}},"
    "'block':{'type':'object','x-kubernetes-map-type':'atomic','properties':{"
    "'a':{'type':'string'},'b':{'type':'string'}}},"
    "'map':{'type':'object','additionalProperties':{'type':'object','properties':{"
    "'a':{'type':'string'},'b':{'type':'string'}}}},"
    "'any':{'type':'object','x-kubernetes-preserve-unknown-fields':true},"
    "'kept':{'type':'object','x-kubernetes-preserve-unknown-fields':true,'properties':{"
    "'in':{'type':'object','properties':{'a':{'type':'string'}}}}},"
    "'size':{'x-kubernetes-int-or-string':true},"
    "'maybe':{'type':'object','nullable':true,'properties':{'x':{'type':'string'},"
    "'y':{'type':'string'}}},"
    "'tmpl':{'type':'object','x-kubernetes-embedded-resource':true,'properties':{"
    "'spec':{'type':'object','properties':{'a':{'type':'string'}}}}}}},"
    "'status':{'type':'object','properties':{'ready':{'type':'integer'}}}}}";

/* Before anybody thought about lists and maps. */
static const char former_text[] = "{'type':'object','x-kubernetes-preserve-unknown-fields':true}";

struct fx {
    struct arena a;
    struct error err;
    struct custom *kind, *former;
};

static char *json(struct fx *f, const char *text)
{
    char *s = (char *)(uintptr_t)arena_str(&f->a, str_z(text)).p;
    for (char *p = s; *p; p++)
        if (*p == '\'')
            *p = '"';
    return s;
}

static struct custom *kind_of(struct fx *f, const char *version, const char *schema)
{
    struct api_custom_resource_definition crd;
    struct custom *c;
    const char *text =
        arena_printf(&f->a,
                     "{'spec':{'group':'acme.io','scope':'Namespaced','names':{'plural':'gears',"
                     "'kind':'Gear'},'versions':[{'name':'%s','served':true,'storage':true,"
                     "'subresources':{'status':{}},'schema':{'openAPIV3Schema':%s}}]},'status':{"
                     "'acceptedNames':{'plural':'gears','kind':'Gear','listKind':'GearList'}}}",
                     version, schema)
            .p;
    assert_ok(schema_decode_text(&api_custom_resource_definition_desc, str_z(json(f, text)), &f->a,
                                 NULL, &crd, &f->err));
    if (custom_new(&crd, 0, 10, &c, &f->err) < 0)
        fail_msg("%.*s", STR_ARG(f->err.n_causes ? f->err.causes->message : f->err.message));
    return c;
}

static int setup(void **state)
{
    static struct fx f;
    f = (struct fx){0};
    f.kind = kind_of(&f, "v1", present_text);
    f.former = kind_of(&f, "v1alpha1", former_text);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fx *f = *state;
    custom_unref(&f->kind->kind);
    custom_unref(&f->former->kind);
    error_fini(&f->err);
    arena_fini(&f->a);
    return 0;
}

static struct json *tree(struct fx *f, const char *text)
{
    struct json *v;
    if (json_parse(str_z(json(f, text)), &f->a, NULL, &v, &f->err) < 0)
        fail_msg("%s: %.*s", text, STR_ARG(f->err.message));
    return v;
}

/* 'spec' of an object; NULL: there is none. */
static const void *object(struct fx *f, const char *spec)
{
    struct custom_object *o = schema_new(&f->kind->desc, &f->a);
    const char *text = spec ? arena_printf(&f->a, "{'spec':%s}", spec).p : "{}";
    assert_ok(schema_decode_json(&f->kind->desc, tree(f, text), &f->a, NULL, o, &f->err));
    return o;
}

static void is_set(struct fx *f, struct str set, const char *spec)
{
    struct buf b = {0};
    assert_true(fields_valid(set));
    fields_print(set, &b);
    assert_str(buf_str(&b), json(f, *spec ? arena_printf(&f->a, "{'f:spec':%s}", spec).p : "{}"));
    buf_fini(&b);
}

static void differences(void **state)
{
    static const struct {
        const char *old, *new; /* of spec */
        const char *changed, *removed;
    } rows[] = {
        {"{'n':1}", "{'n':1}", "", ""},
        {"{'n':1}", "{'n':2}", "{'f:n':{}}", ""},
        {"{'n':1}", "{}", "", "{'f:n':{}}"},
        {"{}", "{'n':1,'name':'a'}", "{'f:n':{},'f:name':{}}", ""},
        {NULL, "{'n':1}", "{'.':{},'f:n':{}}", ""},
        {"{'n':1}", NULL, "", "{'.':{},'f:n':{}}"},
        {NULL, "{}", "{}", ""},
        /* a set */
        {"{'tags':['b','a']}", "{'tags':['a','b','c']}", "{'f:tags':{'v:\\\"c\\\"':{}}}", ""},
        {"{'tags':['b','a']}", "{'tags':['c']}", "{'f:tags':{'v:\\\"c\\\"':{}}}",
         "{'f:tags':{'v:\\\"a\\\"':{},'v:\\\"b\\\"':{}}}"},
        {"{}", "{'tags':['b','a']}", "{'f:tags':{'.':{},'v:\\\"a\\\"':{},'v:\\\"b\\\"':{}}}", ""},
        {"{'tags':['a']}", "{'tags':[]}", "", "{'f:tags':{'v:\\\"a\\\"':{}}}"},
        {"{}", "{'tags':[]}", "{'f:tags':{}}", ""},
        /* keys, one of them by default; their order and that of elements means nothing */
        {"{'ports':[{'port':1},{'port':2,'note':'a'}]}",
         "{'ports':[{'note':'b','port':2},{'port':1},{'port':1,'proto':'UDP'}]}",
         "{'f:ports':{'k:{\\\"port\\\":1,\\\"proto\\\":\\\"UDP\\\"}':{'.':{},'f:port':{},"
         "'f:proto':{}},'k:{\\\"port\\\":2,\\\"proto\\\":\\\"TCP\\\"}':{'f:note':{}}}}",
         ""},
        {"{'ports':[{'port':1},{'port':2,'note':'a'}]}", "{'ports':[{'port':1}]}", "",
         "{'f:ports':{'k:{\\\"port\\\":2,\\\"proto\\\":\\\"TCP\\\"}':{'.':{},'f:note':{},"
         "'f:port':{}}}}"},
        /* what cannot be told apart is owned by nobody, and will be refused by the schema */
        {"{'ports':[]}", "{'ports':[{'note':'a'},7,null]}", "", ""},
        /* lists that say nothing, and maps that say so, as a whole */
        {"{'plain':[{'a':'1'}]}", "{'plain':[{'a':'1'},{'a':'2'}]}", "{'f:plain':{}}", ""},
        {"{'block':{'a':'1'}}", "{'block':{'a':'1','b':'2'}}", "{'f:block':{}}", ""},
        /* any key */
        {"{'map':{'x':{'a':'1'}}}", "{'map':{'x':{'a':'1','b':'2'},'y':{}}}",
         "{'f:map':{'f:x':{'f:b':{}},'f:y':{}}}", ""},
        {"{'map':{'\\\"q\\\\\\\\':{'a':'1'}}}", "{'map':{}}", "",
         "{'f:map':{'f:\\\"q\\\\\\\\':{'.':{},'f:a':{}}}}"},
        /* anything: objects by their members, lists as a whole */
        {"{'any':{'a':{'b':1,'c':[1]}}}", "{'any':{'a':{'b':1,'c':[1,2],'d':{'e':null}}}}",
         "{'f:any':{'f:a':{'f:c':{},'f:d':{'.':{},'f:e':{}}}}}", ""},
        {"{'any':{'a':{'b':1}}}", "{'any':{'a':'text'}}", "{'f:any':{'f:a':{}}}",
         "{'f:any':{'f:a':{'f:b':{}}}}"},
        {"{'any':{'a':[1]}}", "{'any':{'a':{'b':1}}}", "{'f:any':{'f:a':{'.':{},'f:b':{}}}}", ""},
        {"{'kept':{'in':{}}}", "{'kept':{'in':{'a':'1','more':{'b':1}},'out':1}}",
         "{'f:kept':{'f:in':{'f:a':{},'f:more':{'.':{},'f:b':{}}},'f:out':{}}}", ""},
        /* a number, then a text */
        {"{'size':1}", "{'size':'10%'}", "{'f:size':{}}", ""},
        /* null is a value without members */
        {"{}", "{'maybe':null}", "{'f:maybe':{}}", ""},
        {"{'maybe':null}", "{'maybe':{'x':'1'}}", "{'f:maybe':{'f:x':{}}}", ""},
        {"{'maybe':{'x':'1'}}", "{'maybe':null}", "", "{'f:maybe':{'f:x':{}}}"},
        {"{'maybe':null}", "{'maybe':{}}", "{'f:maybe':{}}", ""},
        {"{'maybe':null}", "{}", "", "{'f:maybe':{}}"},
        /* a resource within: its metadata has the types of metadata */
        {"{}",
         "{'tmpl':{'apiVersion':'v1','kind':'A','metadata':{'name':'a','labels':{'x':'1'},"
         "'finalizers':['f']},'spec':{'a':'1'}}}",
         "{'f:tmpl':{'.':{},'f:apiVersion':{},'f:kind':{},'f:metadata':{'.':{},'f:finalizers':{"
         "'.':{},'v:\\\"f\\\"':{}},'f:labels':{'.':{},'f:x':{}},'f:name':{}},'f:spec':{'.':{},"
         "'f:a':{}}}}",
         ""},
    };
    struct fx *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const void *x = object(f, rows[i].old), *y = object(f, rows[i].new);
        struct fields_diff d;
        bool any = fields_diff(&f->kind->desc, x, y, "status", &f->a, &d);
        is_set(f, d.changed, rows[i].changed);
        is_set(f, d.removed, rows[i].removed);
        assert_int_equal(any, *rows[i].changed || *rows[i].removed);
    }
}

/* The parts of an object that have doors of their own. */
static void parts(void **state)
{
    struct fx *f = *state;
    const struct schema_desc *desc = &f->kind->desc;
    struct custom_object x = {0}, y;
    struct fields_diff d;
    struct buf b = {0};
    static const struct {
        const char *skip, *changed;
    } rows[] = {
        {NULL, "{'f:metadata':{'f:labels':{'.':{},'f:l':{}}},'f:extra':{},'f:spec':{'.':{},'f:n':"
               "{}},'f:status':{'.':{},'f:ready':{}}}"},
        {"status",
         "{'f:extra':{},'f:metadata':{'f:labels':{'.':{},'f:l':{}}},'f:spec':{'.':{},'f:n':{}}}"},
        {"spec", "{'f:status':{'.':{},'f:ready':{}}}"},
    };
    assert_ok(schema_decode_json(
        desc,
        tree(f, "{'metadata':{'name':'a','uid':'u','labels':{'l':'1'}},'extra':1,'spec':{'n':1},"
                "'status':{'ready':1}}"),
        &f->a, NULL, &y, NULL));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_true(fields_diff(desc, &x, &y, rows[i].skip, &f->a, &d));
        buf_clear(&b);
        fields_print(d.changed, &b);
        struct json *want = tree(f, rows[i].changed), *got;
        assert_ok(json_parse(buf_str(&b), &f->a, NULL, &got, NULL));
        assert_true(json_equal(want, got));
        struct str all = d.changed;
        if (i == 0) { /* a set is cut down to the same parts */
            for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
                buf_clear(&b);
                fields_print(fields_strip(desc, all, rows[k].skip, &f->a), &b);
                assert_ok(json_parse(buf_str(&b), &f->a, NULL, &got, NULL));
                assert_true(json_equal(tree(f, rows[k].changed), got));
            }
        }
    }
    buf_fini(&b);
}

static void configurations(void **state)
{
    static const struct {
        const char *spec;
        const char *fields; /* NULL: error */
        const char *error;  /* or a piece of it */
    } rows[] = {
        {"{'n':1,'name':null}", "{'f:n':{},'f:name':{}}", NULL},
        {"{'tags':['b','a'],'plain':[],'block':{'a':'1'}}",
         "{'f:block':{},'f:plain':{},'f:tags':{'v:\\\"a\\\"':{},'v:\\\"b\\\"':{}}}", NULL},
        {"{'ports':[{'port':2,'note':'x'}]}",
         "{'f:ports':{'k:{\\\"port\\\":2,\\\"proto\\\":\\\"TCP\\\"}':{'.':{},'f:note':{},"
         "'f:port':{}}}}",
         NULL},
        {"{'map':{'x':{'a':'1'},'y':{}}}", "{'f:map':{'f:x':{'.':{},'f:a':{}},'f:y':{}}}", NULL},
        {"{'any':{'a':{'b':[{'c':1}]}}}", "{'f:any':{'f:a':{'.':{},'f:b':{}}}}", NULL},
        {"{'kept':{'in':{'more':1},'out':[]}}", "{'f:kept':{'f:in':{'f:more':{}},'f:out':{}}}",
         NULL},
        {"{'size':'1'}", "{'f:size':{}}", NULL},
        {"{'maybe':{}}", "{'f:maybe':{}}", NULL},
        {"{'maybe':null}", "{'f:maybe':{}}", NULL},
        {"{'when':3}", "{'f:when':{}}", NULL}, /* the schema will say no */
        {"{'tmpl':{'kind':'A','metadata':{'labels':{'x':'1'}}}}",
         "{'f:tmpl':{'f:kind':{},'f:metadata':{'f:labels':{'f:x':{}}}}}", NULL},
        {"{'n':'1'}", NULL, ".spec.n: expected numeric (int or float), got string"},
        {"{'name':1}", NULL, ".spec.name: expected string, got int"},
        {"{'nope':1}", NULL, ".spec.nope: field not declared in schema"},
        {"{'block':{'c':1}}", NULL, ".spec.block.c: field not declared in schema"},
        {"{'plain':[{'a':1}]}", NULL, ".spec.plain[0].a: expected string, got int"},
        {"{'plain':{}}", NULL, ".spec.plain: expected list, got map"},
        {"{'map':[]}", NULL, ".spec.map: expected map, got list"},
        {"{'tags':['a','a']}", NULL, ".spec.tags: duplicate entries for key [=\\\"a\\\"]"},
        {"{'tags':'a'}", NULL, ".spec.tags: expected list, got string"},
        {"{'ports':[{'note':'a'}]}", NULL,
         "element 0: associative list with keys has an element that omits key field \\\"port\\\""},
        {"{'ports':[7]}", NULL, "associative list with keys may not have non-map elements"},
        {"{'tmpl':{'metadata':{'nope':1}}}", NULL,
         ".spec.tmpl.metadata.nope: field not declared in schema"},
        {"{'tmpl':{'other':1}}", NULL, ".spec.tmpl.other: field not declared in schema"},
    };
    struct fx *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json *v = tree(f, arena_printf(&f->a,
                                              "{'apiVersion':'acme.io/v1','kind':'Gear',"
                                              "'metadata':{'name':'a'},'spec':%s}",
                                              rows[i].spec)
                                     .p);
        struct str set;
        error_clear(&f->err);
        int r = fields_of_tree(&f->kind->desc, v, &f->a, &set, &f->err);
        if (rows[i].fields) {
            if (r < 0)
                fail_msg("%s: %.*s", rows[i].spec, STR_ARG(f->err.message));
            is_set(f, fields_strip(&f->kind->desc, set, NULL, &f->a), rows[i].fields);
        } else {
            assert_int_equal(r, -EINVAL);
            const char *want = json(f, rows[i].error);
            char *plain = arena_alloc(&f->a, strlen(want) + 1), *p = plain;
            for (; *want; want++)
                if (*want != '\\')
                    *p++ = *want;
            *p = '\0';
            if (str_search(f->err.message, str_z(plain)) < 0)
                fail_msg("%s is not in %.*s", plain, STR_ARG(f->err.message));
        }
    }
}

/* What is there, what is applied, what the manager applied before, what others own, what comes
 * out; all of spec. */
static void merging_and_pruning(void **state)
{
    static const struct {
        const char *live, *config, *last, *others, *result;
    } rows[] = {
        {"{'n':1}", "{'name':'a'}", "{}", "", "{'n':1,'name':'a'}"},
        {"{'n':1,'name':'a'}", "{'name':'b'}", "{'n':1}", "", "{'name':'b'}"},
        {"{'n':1,'name':'a'}", "{'name':'b'}", "{'n':1}", "{'f:n':{}}", "{'n':1,'name':'b'}"},
        {"{'tags':['a','b']}", "{'tags':['c','b']}", "{'tags':['a']}", "", "{'tags':['c','b']}"},
        {"{'tags':['a','b']}", "{'tags':['c']}", "{'tags':['a']}", "{'f:tags':{'v:\\\"a\\\"':{}}}",
         "{'tags':['a','b','c']}"},
        {"{'ports':[{'port':1,'note':'x'},{'port':2}]}",
         "{'ports':[{'port':1,'proto':'TCP'},{'port':3}]}", "{'ports':[{'port':1,'note':'x'}]}", "",
         "{'ports':[{'port':1,'proto':'TCP'},{'port':2},{'port':3}]}"},
        {"{'plain':[{'a':'1'}]}", "{'plain':[{'a':'2'}]}", "{}", "", "{'plain':[{'a':'2'}]}"},
        {"{'block':{'a':'1'}}", "{'block':{'b':'2'}}", "{}", "", "{'block':{'b':'2'}}"},
        {"{'map':{'x':{'a':'1'},'y':{}}}", "{'map':{'x':{'b':'2'}}}", "{'map':{'y':{}}}", "",
         "{'map':{'x':{'a':'1','b':'2'}}}"},
        {"{'any':{'a':{'b':1,'l':[1]}}}", "{'any':{'a':{'l':[2],'c':3}}}", "{'any':{'a':{'b':1}}}",
         "", "{'any':{'a':{'l':[2],'c':3}}}"},
        {"{'any':{'a':{'b':1}}}", "{'any':{'a':[1]}}", "{}", "", "{'any':{'a':[1]}}"},
        {"{'any':{'a':'x'}}", "{'any':{'a':{'b':1}}}", "{}", "", "{'any':{'a':{'b':1}}}"},
        {"{'any':{'a':{'b':1}}}", "{'any':{'a':null}}", "{}", "", "{'any':{'a':{'b':1}}}"},
        {"{'any':{'a':[1]}}", "{'any':{'a':null}}", "{}", "", "{'any':{'a':null}}"},
        {"{'maybe':{'x':'1'}}", "{'maybe':null}", "{}", "", "{'maybe':{'x':'1'}}"},
        {"{'maybe':{}}", "{'maybe':null}", "{}", "", "{'maybe':null}"},
        {"{'size':5}", "{'size':'5%'}", "{}", "", "{'size':'5%'}"},
        {"{'tmpl':{'metadata':{'labels':{'a':'1'},'finalizers':['x']}}}",
         "{'tmpl':{'metadata':{'labels':{'b':'2'},'finalizers':['y']}}}",
         "{'tmpl':{'metadata':{'labels':{'a':'1'}}}}", "",
         "{'tmpl':{'metadata':{'labels':{'b':'2'},'finalizers':['x','y']}}}"},
    };
    struct fx *f = *state;
    const struct schema_desc *desc = &f->kind->desc;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str set, last, others;
        struct json *doc = tree(f, arena_printf(&f->a, "{'spec':%s}", rows[i].live).p);
        struct json *config = tree(f, arena_printf(&f->a, "{'spec':%s}", rows[i].config).p);
        struct buf b = {0};
        assert_ok(fields_of_tree(desc, config, &f->a, &set, &f->err));
        assert_ok(fields_of_tree(desc, tree(f, arena_printf(&f->a, "{'spec':%s}", rows[i].last).p),
                                 &f->a, &last, &f->err));
        assert_ok(fields_parse(
            desc,
            str_z(json(f, *rows[i].others ? arena_printf(&f->a, "{'f:spec':%s}", rows[i].others).p
                                          : "{}")),
            &f->a, &others, &f->err));
        apply_merge(desc, &doc, config, &f->a);
        apply_prune(desc, doc, last, fields_union(set, others, &f->a), &f->a);
        json_print(doc, &b);
        assert_str(buf_str(&b), json(f, arena_printf(&f->a, "{'spec':%s}", rows[i].result).p));
        buf_fini(&b);
    }
}

/* Sets of the time when nothing was declared, by the schema of today. */
static void a_schema_that_came_later(void **state)
{
    static const struct {
        const char *spec;
        const char *then, *now; /* fields */
    } rows[] = {
        {"{'block':{'a':'1'},'n':1}", "{'f:block':{'f:a':{}},'f:n':{}}", "{'f:block':{},'f:n':{}}"},
        {"{'any':{'a':{'b':1}}}", "{'f:any':{'f:a':{'.':{},'f:b':{}}}}", NULL},
        {"{'map':{'x':{'a':'1'}}}", "{'f:map':{'f:x':{'.':{},'f:a':{}}}}", NULL},
        {"{'tags':['a'],'ports':[{'port':1}]}", "{'f:ports':{},'f:tags':{}}", NULL},
        {"{'name':{'was':'object'}}", "{'f:name':{'f:was':{}}}", "{'f:name':{}}"},
    };
    struct fx *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json *v = tree(f, arena_printf(&f->a, "{'spec':%s}", rows[i].spec).p);
        struct str set, now;
        const char *then = rows[i].then;
        assert_ok(fields_of_tree(&f->former->desc, v, &f->a, &set, &f->err));
        /* what nobody declared is a member with what is in it */
        assert_ok(fields_parse(&f->former->desc,
                               str_z(json(f, arena_printf(&f->a, "{'f:spec':%s}", then).p)), &f->a,
                               &now, &f->err));
        assert_true(fields_contain(set, now));
        is_set(f, fields_reconcile(&f->kind->desc, now, &f->a), rows[i].now ? rows[i].now : then);
        if (!rows[i].now)
            assert_ptr_equal(fields_reconcile(&f->kind->desc, now, &f->a).p, now.p);
        assert_ptr_equal(fields_reconcile(&f->former->desc, now, &f->a).p, now.p);
    }
}

/* Two texts a walk could stumble over: whatever they are, it ends, and stays inside. */
static void texts_that_are_cut(void **state)
{
    struct fx *f = *state;
    const char *text = json(f, "{'spec':{'any':{'a\\\"b':[1,{'c':'d}'}],'e':{}},'n':-1.5,"
                               "'ports':[{'note':'x\\\\','port':1}],'tags':['a','b']}}");
    for (size_t n = 0; n <= strlen(text); n++) {
        char *cut = malloc(n + 1);
        struct custom_object x = {0}, y = {0};
        struct fields_diff d;
        memcpy(cut, text, n);
        y.rest = (struct str){cut, n};
        (void)fields_diff(&f->kind->desc, &x, &y, NULL, &f->a, &d);
        assert_true(fields_valid(d.changed));
        x.rest = str_z(text);
        (void)fields_diff(&f->kind->desc, &x, &y, NULL, &f->a, &d);
        assert_true(fields_valid(d.removed));
        free(cut);
    }
}

/* What is owned is as large as the names, not as its JSON. */
static void size(void **state)
{
    struct fx *f = *state;
    struct fields_diff d;
    struct buf b = {0};
    (void)fields_diff(&f->kind->desc, object(f, NULL),
                      object(f, "{'n':1,'name':'a','ports':[{'port':1,'note':'n'}],'map':{'x':{"
                                "'a':'1'}},'maybe':{'x':'1','y':'2'}}"),
                      NULL, &f->a, &d);
    fields_print(d.changed, &b);
    assert_true(d.changed.n * 10 < b.n * 6);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(differences, setup, teardown),
        cmocka_unit_test_setup_teardown(parts, setup, teardown),
        cmocka_unit_test_setup_teardown(configurations, setup, teardown),
        cmocka_unit_test_setup_teardown(merging_and_pruning, setup, teardown),
        cmocka_unit_test_setup_teardown(a_schema_that_came_later, setup, teardown),
        cmocka_unit_test_setup_teardown(texts_that_are_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(size, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
