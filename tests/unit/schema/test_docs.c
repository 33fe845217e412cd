/* kubectl explain has something to say about everything: each message and field of api has a text,
 * and the texts arrive in the OpenAPI documents. A new field without a comment above it fails here.
 */
#include "test.h"

#include "schema/openapi.h"
#include "schema/schema.h"

/* A text is one or two sentences: it is shown in a column and repeated in every document. */
#define TEXT_BYTES_MAX 200

static unsigned text_faults(const struct schema_desc *d, const char *field, const char *doc)
{
    const char *fault = NULL;

    if (!doc[0])
        fault = "has no comment above it";
    else if (strlen(doc) > TEXT_BYTES_MAX)
        fault = "has too long a comment";
    else if (doc[strlen(doc) - 1] != '.')
        fault = "has a comment that does not end with a full stop";
    if (!fault)
        return 0;
    print_error("%s%s%s %s\n", d->openapi, field[0] ? "." : "", field, fault);
    return 1;
}

static void everything_has_a_text(void **state)
{
    unsigned faults = 0, messages = 0;

    for (const struct schema_desc *const *d = schema_descs; *d; d++, messages++) {
        const char *doc = (*d)->docs;
        faults += text_faults(*d, "", doc);
        for (unsigned i = 0; i < (*d)->n_json; i++) {
            doc += strlen(doc) + 1;
            faults += text_faults(*d, (*d)->json[i].name, doc);
        }
    }
    assert_true(messages > 0);
    assert_int_equal(faults, 0);
}

static unsigned definitions_without_text(const struct json *definitions)
{
    unsigned faults = 0;

    json_for_each(type, definitions)
    {
        const struct json *properties = json_get(type, STR("properties"));
        if (!properties) /* lists and values such as Quantity: told where they are used */
            continue;
        faults += json_get_str(type, STR("description")).n == 0;
        json_for_each(p, properties) faults += json_get_str(p, STR("description")).n == 0;
    }
    return faults;
}

static void documents_carry_the_texts(void **state)
{
    for (int k = 0; k < _KIND_MAX; k++) {
        const struct schema_kind *kind = schema_kinds[k];
        struct arena a = {0};
        struct buf b = {0};
        struct json *v;
        const struct json *definitions, *type;

        assert_true(openapi_v3_print(NULL, str_z(kind->group), str_z(kind->version), &b));
        assert_ok(json_parse(buf_str(&b), &a, NULL, &v, NULL));
        definitions = json_get(json_getz(v, "components"), STR("schemas"));
        assert_int_equal(definitions_without_text(definitions), 0);
        type = json_get(definitions, str_z(kind->desc->openapi));
        assert_str(json_get_str(type, STR("description")), kind->desc->docs);
        buf_fini(&b);
        arena_fini(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_has_a_text),
        cmocka_unit_test(documents_carry_the_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
