/* The Swagger document as an openapi.v2.Document, the protobuf form gnostic gives it and client-go
 * asks for. It is made from the JSON text, so the two cannot tell different things: what is custom
 * or another server's is in both. Messages are tables from a JSON name to a field; where JSON says
 * in one way what protobuf says in several (a schema or a list of them, a parameter by where it
 * stands), the table names the wrapping. Values of any type (defaults, vendor extensions) are
 * carried as YAML text, and JSON is that. What the messages have no field for is left out, as are
 * zeros: readers fill in the same.
 *
 * Recursion is bounded by the depth json_parse allows. */
#include "codec/json.h"
#include "codec/pb.h"
#include "schema/openapi.h"

enum form {
    TEXT,
    FLAG,
    WHOLE,
    REAL,
    ANY,            /* Any{2: yaml} */
    MESSAGE,        /* of the table */
    TEXTS,          /* repeated, or one string for a list of one */
    ANYS,           /* repeated */
    MESSAGES,       /* repeated, or one object for a list of one */
    NAMED,          /* repeated {1: name, 2: message of the table} */
    NAMED_TEXTS,    /* repeated {1: name, 2: {repeated 1: string}} */
    NAMED_ANY,      /* repeated {1: name, 2: Any} */
    TEXT_LIST,      /* {repeated 1: string} */
    SCHEMA_OR_LIST, /* {repeated 1: Schema} */
    SCHEMA_OR_BOOL,
    PARAMETERS, /* repeated ParametersItem */
};

struct message;
struct field {
    const char *json; /* NULL: the end; "": every member that has no row of its own; "x-": those of
                       * them that begin so */
    uint32_t number;
    enum form form;
    const struct message *of;
};
struct message {
    const struct field *fields;
    uint32_t wrap;      /* in a message of one field with this number; 0: no */
    uint32_t reference; /* and with this one when it has a $ref */
};

#define EXTENSIONS(number)                                                                         \
    {                                                                                              \
        "x-", number, NAMED_ANY, NULL                                                              \
    }
#define END                                                                                        \
    {                                                                                              \
        NULL, 0, TEXT, NULL                                                                        \
    }
/* Header, PrimitivesItems and the parameters outside a body number these alike from some place. */
#define PRIMITIVE(first)                                                                           \
    {"type", (first), TEXT, NULL}, {"format", (first) + 1, TEXT, NULL},                            \
        {"items", (first) + 2, MESSAGE, &primitive},                                               \
        {"collectionFormat", (first) + 3, TEXT, NULL}, {"default", (first) + 4, ANY, NULL},        \
        {"maximum", (first) + 5, REAL, NULL}, {"exclusiveMaximum", (first) + 6, FLAG, NULL},       \
        {"minimum", (first) + 7, REAL, NULL}, {"exclusiveMinimum", (first) + 8, FLAG, NULL},       \
        {"maxLength", (first) + 9, WHOLE, NULL}, {"minLength", (first) + 10, WHOLE, NULL},         \
        {"pattern", (first) + 11, TEXT, NULL}, {"maxItems", (first) + 12, WHOLE, NULL},            \
        {"minItems", (first) + 13, WHOLE, NULL}, {"uniqueItems", (first) + 14, FLAG, NULL},        \
        {"enum", (first) + 15, ANYS, NULL},                                                        \
    {                                                                                              \
        "multipleOf", (first) + 16, REAL, NULL                                                     \
    }
#define PARAMETER                                                                                  \
    {"required", 1, FLAG, NULL}, {"in", 2, TEXT, NULL}, {"description", 3, TEXT, NULL},            \
    {                                                                                              \
        "name", 4, TEXT, NULL                                                                      \
    }

static const struct message schema;
static const struct message primitive = {
    .fields = (const struct field[]){PRIMITIVE(1), EXTENSIONS(18), END}};
static const struct message header = {
    .fields =
        (const struct field[]){PRIMITIVE(1), {"description", 18, TEXT, NULL}, EXTENSIONS(19), END}};
/* Header and path parameters; query and form parameters may be empty besides. */
static const struct message parameter = {
    .fields = (const struct field[]){PARAMETER, PRIMITIVE(5), EXTENSIONS(22), END}};
static const struct message parameter_empty = {
    .fields = (const struct field[]){
        PARAMETER, {"allowEmptyValue", 5, FLAG, NULL}, PRIMITIVE(6), EXTENSIONS(23), END}};
static const struct message parameter_body = {
    .fields = (const struct field[]){{"description", 1, TEXT, NULL},
                                     {"name", 2, TEXT, NULL},
                                     {"in", 3, TEXT, NULL},
                                     {"required", 4, FLAG, NULL},
                                     {"schema", 5, MESSAGE, &schema},
                                     EXTENSIONS(6),
                                     END}};
static const struct message reference = {
    .fields = (const struct field[]){{"$ref", 1, TEXT, NULL}, {"description", 2, TEXT, NULL}, END}};
static const struct message docs = {
    .fields = (const struct field[]){
        {"description", 1, TEXT, NULL}, {"url", 2, TEXT, NULL}, EXTENSIONS(3), END}};
static const struct message xml = {.fields = (const struct field[]){{"name", 1, TEXT, NULL},
                                                                    {"namespace", 2, TEXT, NULL},
                                                                    {"prefix", 3, TEXT, NULL},
                                                                    {"attribute", 4, FLAG, NULL},
                                                                    {"wrapped", 5, FLAG, NULL},
                                                                    EXTENSIONS(6),
                                                                    END}};
static const struct message named_schemas = {
    .fields = (const struct field[]){{"", 1, NAMED, &schema}, END}};
static const struct message schema = {
    .fields = (const struct field[]){{"$ref", 1, TEXT, NULL},
                                     {"format", 2, TEXT, NULL},
                                     {"title", 3, TEXT, NULL},
                                     {"description", 4, TEXT, NULL},
                                     {"default", 5, ANY, NULL},
                                     {"multipleOf", 6, REAL, NULL},
                                     {"maximum", 7, REAL, NULL},
                                     {"exclusiveMaximum", 8, FLAG, NULL},
                                     {"minimum", 9, REAL, NULL},
                                     {"exclusiveMinimum", 10, FLAG, NULL},
                                     {"maxLength", 11, WHOLE, NULL},
                                     {"minLength", 12, WHOLE, NULL},
                                     {"pattern", 13, TEXT, NULL},
                                     {"maxItems", 14, WHOLE, NULL},
                                     {"minItems", 15, WHOLE, NULL},
                                     {"uniqueItems", 16, FLAG, NULL},
                                     {"maxProperties", 17, WHOLE, NULL},
                                     {"minProperties", 18, WHOLE, NULL},
                                     {"required", 19, TEXTS, NULL},
                                     {"enum", 20, ANYS, NULL},
                                     {"additionalProperties", 21, SCHEMA_OR_BOOL, NULL},
                                     {"type", 22, TEXT_LIST, NULL},
                                     {"items", 23, SCHEMA_OR_LIST, NULL},
                                     {"allOf", 24, MESSAGES, &schema},
                                     {"properties", 25, MESSAGE, &named_schemas},
                                     {"discriminator", 26, TEXT, NULL},
                                     {"readOnly", 27, FLAG, NULL},
                                     {"xml", 28, MESSAGE, &xml},
                                     {"externalDocs", 29, MESSAGE, &docs},
                                     {"example", 30, ANY, NULL},
                                     EXTENSIONS(31),
                                     END}};
/* SchemaItem{1: Schema}: files as answers are nothing Kubernetes' servers tell of. */
static const struct message schema_item = {
    .fields = (const struct field[]){{"", 0, TEXT, NULL}, END}, .wrap = 1};
static const struct message headers = {.fields =
                                           (const struct field[]){{"", 1, NAMED, &header}, END}};
static const struct message anys = {.fields =
                                        (const struct field[]){{"", 1, NAMED_ANY, NULL}, END}};
static const struct message response = {
    .fields = (const struct field[]){{"description", 1, TEXT, NULL},
                                     {"schema", 2, MESSAGE, &schema_item},
                                     {"headers", 3, MESSAGE, &headers},
                                     {"examples", 4, MESSAGE, &anys},
                                     EXTENSIONS(5),
                                     END}};
static const struct message response_value = {
    .fields = (const struct field[]){{"", 0, TEXT, NULL}, END}, .wrap = 1, .reference = 2};
static const struct message responses = {
    .fields = (const struct field[]){EXTENSIONS(2), {"", 1, NAMED, &response_value}, END}};
static const struct message requirement = {
    .fields = (const struct field[]){{"", 1, NAMED_TEXTS, NULL}, END}};
static const struct message operation = {
    .fields = (const struct field[]){{"tags", 1, TEXTS, NULL},
                                     {"summary", 2, TEXT, NULL},
                                     {"description", 3, TEXT, NULL},
                                     {"externalDocs", 4, MESSAGE, &docs},
                                     {"operationId", 5, TEXT, NULL},
                                     {"produces", 6, TEXTS, NULL},
                                     {"consumes", 7, TEXTS, NULL},
                                     {"parameters", 8, PARAMETERS, NULL},
                                     {"responses", 9, MESSAGE, &responses},
                                     {"schemes", 10, TEXTS, NULL},
                                     {"deprecated", 11, FLAG, NULL},
                                     {"security", 12, MESSAGES, &requirement},
                                     EXTENSIONS(13),
                                     END}};
static const struct message path_item = {
    .fields = (const struct field[]){{"$ref", 1, TEXT, NULL},
                                     {"get", 2, MESSAGE, &operation},
                                     {"put", 3, MESSAGE, &operation},
                                     {"post", 4, MESSAGE, &operation},
                                     {"delete", 5, MESSAGE, &operation},
                                     {"options", 6, MESSAGE, &operation},
                                     {"head", 7, MESSAGE, &operation},
                                     {"patch", 8, MESSAGE, &operation},
                                     {"parameters", 9, PARAMETERS, NULL},
                                     EXTENSIONS(10),
                                     END}};
static const struct message paths = {
    .fields = (const struct field[]){EXTENSIONS(1), {"", 2, NAMED, &path_item}, END}};
static const struct message contact = {.fields = (const struct field[]){{"name", 1, TEXT, NULL},
                                                                        {"url", 2, TEXT, NULL},
                                                                        {"email", 3, TEXT, NULL},
                                                                        EXTENSIONS(4),
                                                                        END}};
static const struct message license = {
    .fields = (const struct field[]){
        {"name", 1, TEXT, NULL}, {"url", 2, TEXT, NULL}, EXTENSIONS(3), END}};
static const struct message info = {.fields =
                                        (const struct field[]){{"title", 1, TEXT, NULL},
                                                               {"version", 2, TEXT, NULL},
                                                               {"description", 3, TEXT, NULL},
                                                               {"termsOfService", 4, TEXT, NULL},
                                                               {"contact", 5, MESSAGE, &contact},
                                                               {"license", 6, MESSAGE, &license},
                                                               EXTENSIONS(7),
                                                               END}};
static const struct message tag = {.fields =
                                       (const struct field[]){{"name", 1, TEXT, NULL},
                                                              {"description", 2, TEXT, NULL},
                                                              {"externalDocs", 3, MESSAGE, &docs},
                                                              EXTENSIONS(4),
                                                              END}};
/* Parameters, responses and security definitions shared by name are in no document made here. */
static const struct message document = {
    .fields = (const struct field[]){{"swagger", 1, TEXT, NULL},
                                     {"info", 2, MESSAGE, &info},
                                     {"host", 3, TEXT, NULL},
                                     {"basePath", 4, TEXT, NULL},
                                     {"schemes", 5, TEXTS, NULL},
                                     {"consumes", 6, TEXTS, NULL},
                                     {"produces", 7, TEXTS, NULL},
                                     {"paths", 8, MESSAGE, &paths},
                                     {"definitions", 9, MESSAGE, &named_schemas},
                                     {"security", 12, MESSAGES, &requirement},
                                     {"tags", 14, MESSAGES, &tag},
                                     {"externalDocs", 15, MESSAGE, &docs},
                                     EXTENSIONS(16),
                                     END}};

static void put_message(const struct message *m, const struct json *v, struct buf *b);

static void put_sub(uint32_t number, const struct message *m, const struct json *v, struct buf *b)
{
    if (!json_is(v, JSON_OBJ))
        return;
    size_t mark = pb_begin(b, number);
    if (m->wrap) {
        const struct message *in = m == &schema_item ? &schema : &response;
        bool refers = m->reference && json_getz(v, "$ref");
        put_sub(refers ? m->reference : m->wrap, refers ? &reference : in, v, b);
    } else {
        put_message(m, v, b);
    }
    pb_end(b, mark);
}

static void put_any(uint32_t number, const struct json *v, struct buf *b)
{
    enum { YAML = 2 };
    struct buf text = {0};
    json_print(v, &text);
    buf_add_lit(&text, "\n");
    size_t mark = pb_begin(b, number);
    pb_put_bytes(b, YAML, buf_str(&text));
    pb_end(b, mark);
    buf_fini(&text);
}

static void put_real(uint32_t number, const struct json *v, struct buf *b)
{
    double d = v->type == JSON_INT ? (double)v->i : v->type == JSON_REAL ? v->d : 0;
    uint64_t u;
    uint8_t raw[8];
    if (d == 0)
        return;
    memcpy(&u, &d, 8);
    for (int i = 0; i < 8; i++)
        raw[i] = (uint8_t)(u >> (8 * i));
    pb_put_tag(b, number, PB_FIXED64);
    buf_add(b, raw, 8);
}

static void put_texts(uint32_t number, const struct json *v, struct buf *b)
{
    if (v->type == JSON_STR)
        pb_put_bytes(b, number, v->s);
    if (v->type != JSON_ARR)
        return;
    json_for_each(e, v) if (e->type == JSON_STR) pb_put_bytes(b, number, e->s);
}

static void put_messages(uint32_t number, const struct message *m, const struct json *v,
                         struct buf *b)
{
    put_sub(number, m, v, b);
    if (v->type != JSON_ARR)
        return;
    json_for_each(e, v) put_sub(number, m, e, b);
}

/* ParametersItem{1: Parameter{1: body, 2: NonBodyParameter{by where it stands}}, 2: reference} */
static void put_parameter(uint32_t number, const struct json *v, struct buf *b)
{
    static const struct {
        const char *in;
        uint32_t number;
        const struct message *m;
    } places[] = {
        {"header", 1, &parameter},
        {"formData", 2, &parameter_empty},
        {"query", 3, &parameter_empty},
        {"path", 4, &parameter},
    };
    struct str in = json_get_str(v, STR("in"));
    size_t item = pb_begin(b, number);
    if (json_getz(v, "$ref")) {
        put_sub(2, &reference, v, b);
        pb_end(b, item);
        return;
    }
    size_t either = pb_begin(b, 1);
    if (str_is(in, "body")) {
        put_sub(1, &parameter_body, v, b);
    } else {
        size_t other = pb_begin(b, 2);
        for (size_t i = 0; i < ARRAY_LEN(places); i++) {
            if (str_eq(in, str_z(places[i].in)))
                put_sub(places[i].number, places[i].m, v, b);
        }
        pb_end(b, other);
    }
    pb_end(b, either);
    pb_end(b, item);
}

static void put_field(const struct field *f, const struct json *v, struct buf *b)
{
    size_t m;
    switch (f->form) {
    case TEXT:
        if (v->type == JSON_STR && v->s.n)
            pb_put_bytes(b, f->number, v->s);
        return;
    case FLAG:
        if (v->type == JSON_BOOL && v->b)
            pb_put_uint(b, f->number, 1);
        return;
    case WHOLE:
        if (v->type == JSON_INT && v->i)
            pb_put_uint(b, f->number, (uint64_t)v->i);
        return;
    case REAL:
        put_real(f->number, v, b);
        return;
    case ANY:
        put_any(f->number, v, b);
        return;
    case MESSAGE:
        put_sub(f->number, f->of, v, b);
        return;
    case TEXTS:
        put_texts(f->number, v, b);
        return;
    case ANYS:
        if (v->type == JSON_ARR)
            json_for_each(e, v) put_any(f->number, e, b);
        return;
    case MESSAGES:
        put_messages(f->number, f->of, v, b);
        return;
    case NAMED:
    case NAMED_TEXTS:
    case NAMED_ANY:
        m = pb_begin(b, f->number);
        pb_put_bytes(b, 1, v->key);
        if (f->form == NAMED)
            put_sub(2, f->of, v, b);
        else
            put_field(&(struct field){"", 2, f->form == NAMED_ANY ? ANY : TEXT_LIST, NULL}, v, b);
        pb_end(b, m);
        return;
    case TEXT_LIST:
        m = pb_begin(b, f->number);
        put_texts(1, v, b);
        pb_end(b, m);
        return;
    case SCHEMA_OR_LIST:
        m = pb_begin(b, f->number);
        put_messages(1, &schema, v, b);
        pb_end(b, m);
        return;
    case SCHEMA_OR_BOOL:
        m = pb_begin(b, f->number);
        if (v->type == JSON_BOOL)
            pb_put_uint(b, 2, v->b); /* one of two: said also when false */
        else
            put_sub(1, &schema, v, b);
        pb_end(b, m);
        return;
    case PARAMETERS:
        if (v->type == JSON_ARR)
            json_for_each(e, v) put_parameter(f->number, e, b);
        return;
    }
}

static void put_message(const struct message *m, const struct json *v, struct buf *b)
{
    json_for_each(member, v)
    {
        for (const struct field *f = m->fields; f->json; f++) {
            struct str name = str_z(f->json);
            if (!name.n || str_eq(name, member->key) ||
                (str_is(name, "x-") && str_starts(member->key, name))) {
                put_field(f, member, b);
                break;
            }
        }
    }
}

int openapi_v2_pb_print(struct str json, struct buf *b)
{
    struct arena a = {0};
    struct json *doc;
    int rc = json_parse(json, &a, NULL, &doc, NULL);
    if (rc == 0 && doc->type == JSON_OBJ)
        put_message(&document, doc, b);
    else
        rc = -EINVAL;
    arena_fini(&a);
    return rc;
}
