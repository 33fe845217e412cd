/* Named formats: format.dns1123Label().validate(s), format.named("uuid"). */
#include "cel/internal.h"
#include "codec/base64.h"
#include "schema/schema.h"

#define FN(name)                                                                                   \
    static struct cel_value name(struct cel_eval *c, const struct cel_value *a, unsigned n)

struct cel_format {
    const char *name;
    uint16_t regex_size; /* what Kubernetes charges by */
    uint8_t format;      /* enum schema_format, when check is NULL */
    bool prefix;         /* a trailing dash stands for what will follow */
    const char *(*check)(struct cel_eval *c, struct str s);
};

static const char *check_uri(struct cel_eval *c, struct str s)
{
    struct cel_url u;
    struct str why = STR("");
    if (cel_url_parse(c, s, &u, &why))
        return NULL;
    return why.p;
}
static bool hex_run(struct str s, size_t from, size_t n)
{
    for (size_t i = from; i < from + n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') ||
              ((s.p[i] | 0x20) >= 'a' && (s.p[i] | 0x20) <= 'f')))
            return false;
    return true;
}
static const char *check_uuid(struct cel_eval *c, struct str s)
{
    bool ok = s.n == 32 && hex_run(s, 0, 32);
    if (s.n == 36)
        ok = s.p[8] == '-' && s.p[13] == '-' && s.p[18] == '-' && s.p[23] == '-' &&
             hex_run(s, 0, 8) && hex_run(s, 9, 4) && hex_run(s, 14, 4) && hex_run(s, 19, 4) &&
             hex_run(s, 24, 12);
    return ok ? NULL : "does not match the UUID format";
}
static const char *check_byte(struct cel_eval *c, struct str s)
{
    struct str out;
    void *room = s.n ? cel_alloc(c, s.n) : NULL;
    if (room && base64_parse(s, c->a, &out) == 0)
        return NULL;
    return "invalid base64";
}
static const char *check_date(struct cel_eval *c, struct str s)
{
    struct cel_value v;
    char text[20];
    if (s.n == 10) {
        memcpy(text, s.p, 10);
        memcpy(text + 10, "T00:00:00Z", 10);
        if (cel_parse_timestamp((struct str){text, 20}, &v))
            return NULL;
    }
    return "invalid date";
}
static const char *check_datetime(struct cel_eval *c, struct str s)
{
    struct cel_value v;
    return cel_parse_timestamp(s, &v) ? NULL : "invalid datetime";
}

static const struct cel_format cel_formats[] = {
    {"dns1123Label", 30, SCHEMA_FORMAT_DNS_LABEL, false, NULL},
    {"dns1123Subdomain", 60, SCHEMA_FORMAT_DNS_SUBDOMAIN, false, NULL},
    {"dns1035Label", 30, SCHEMA_FORMAT_DNS1035_LABEL, false, NULL},
    {"qualifiedName", 60, SCHEMA_FORMAT_QUALIFIED_NAME, false, NULL},
    {"dns1123LabelPrefix", 30, SCHEMA_FORMAT_DNS_LABEL, true, NULL},
    {"dns1123SubdomainPrefix", 60, SCHEMA_FORMAT_DNS_SUBDOMAIN, true, NULL},
    {"dns1035LabelPrefix", 30, SCHEMA_FORMAT_DNS1035_LABEL, true, NULL},
    {"labelValue", 40, SCHEMA_FORMAT_LABEL_VALUE, false, NULL},
    {"uri", 1000, 0, false, check_uri},
    {"uuid", 90, 0, false, check_uuid},
    {"byte", 90, 0, false, check_byte},
    {"date", 100, 0, false, check_date},
    {"datetime", 100, 0, false, check_datetime},
};

unsigned cel_format_regex_size(const struct cel_value *v)
{
    return v->type == CEL_FORMAT ? ((const struct cel_format *)v->p)->regex_size : 0;
}

FN(named)
{
    for (unsigned i = 0; i < ARRAY_LEN(cel_formats); i++)
        if (str_eqz(a[0].s, cel_formats[i].name))
            return cel_some(c, cel_box(CEL_FORMAT, &cel_formats[i]));
    return cel_none();
}

FN(validate)
{
    const struct cel_format *f = a[0].p;
    struct str s = a[1].s;
    const char *why;
    if (!cel_work(c, s.n / 4 + 1))
        return cel_no_memory();
    if (f->prefix && s.n > 1 && s.p[s.n - 1] == '-')
        s = arena_printf(c->a, "%.*sa", (int)(MIN(s.n, 4096) - 2), s.p);
    why = f->check ? f->check(c, s) : schema_format_check(f->format, s);
    if (!why)
        return cel_none();
    struct str text = str_z(why);
    return cel_some(c, cel_strings(c, &text, 1));
}

#define CONSTANT(i)                                                                                \
    static struct cel_value constant_##i(struct cel_eval *c, const struct cel_value *a,            \
                                         unsigned n)                                               \
    {                                                                                              \
        return cel_box(CEL_FORMAT, &cel_formats[i]);                                               \
    }
CONSTANT(0)
CONSTANT(1)
CONSTANT(2)
CONSTANT(3)
CONSTANT(4)
CONSTANT(5)
CONSTANT(6)
CONSTANT(7)
CONSTANT(8)
CONSTANT(9)
CONSTANT(10)
CONSTANT(11)
CONSTANT(12)
static_assert(ARRAY_LEN(cel_formats) == 13, "one function each");

const struct overload cel_fn_named[] = {
    {"format.named", "s>Of", named, 0, COST_ONE},
    {"validate", "fs>OLs", validate, OV_MEMBER, COST_VALIDATE},
    {"format.dns1123Label", ">f", constant_0, 0, COST_ONE},
    {"format.dns1123Subdomain", ">f", constant_1, 0, COST_ONE},
    {"format.dns1035Label", ">f", constant_2, 0, COST_ONE},
    {"format.qualifiedName", ">f", constant_3, 0, COST_ONE},
    {"format.dns1123LabelPrefix", ">f", constant_4, 0, COST_ONE},
    {"format.dns1123SubdomainPrefix", ">f", constant_5, 0, COST_ONE},
    {"format.dns1035LabelPrefix", ">f", constant_6, 0, COST_ONE},
    {"format.labelValue", ">f", constant_7, 0, COST_ONE},
    {"format.uri", ">f", constant_8, 0, COST_ONE},
    {"format.uuid", ">f", constant_9, 0, COST_ONE},
    {"format.byte", ">f", constant_10, 0, COST_ONE},
    {"format.date", ">f", constant_11, 0, COST_ONE},
    {"format.datetime", ">f", constant_12, 0, COST_ONE},
    {0},
};
