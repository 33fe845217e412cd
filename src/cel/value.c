/* Making values, errors, and the memory of an evaluation. */
#include <stdarg.h>

#include "cel/internal.h"

void *cel_alloc(struct cel_eval *c, size_t n)
{
    if (UNLIKELY(c->a->used_bytes + n > c->memory_max)) {
        if (!c->stop)
            c->stop = "operation cancelled: too much memory";
        return NULL;
    }
    return arena_alloc(c->a, n ? n : 1);
}

struct cel_value cel_error(struct str message)
{
    return (struct cel_value){.type = CEL_ERROR, .s = message};
}
struct cel_value cel_no_memory(void)
{
    return cel_error(STR("too much memory"));
}
struct cel_value cel_no_overload(void)
{
    return cel_error(STR("no such overload"));
}

struct cel_value cel_fail(struct cel_eval *c, const char *fmt, ...)
{
    char t[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(t, sizeof t, fmt, ap);
    va_end(ap);
    struct buf b = {0};
    buf_add_utf8(&b, (struct str){t, MIN((size_t)n, sizeof t - 1)}, sizeof t);
    struct cel_value v = cel_take_buf(c, &b);
    v.type = CEL_ERROR;
    return v;
}

struct cel_value cel_null(void)
{
    return (struct cel_value){.type = CEL_NULL};
}
struct cel_value cel_bool(bool b)
{
    return (struct cel_value){.type = CEL_BOOL, .b = b};
}
struct cel_value cel_int(int64_t i)
{
    return (struct cel_value){.type = CEL_INT, .i = i};
}
struct cel_value cel_uint(uint64_t u)
{
    return (struct cel_value){.type = CEL_UINT, .u = u};
}
struct cel_value cel_double(double d)
{
    return (struct cel_value){.type = CEL_DOUBLE, .d = d};
}
struct cel_value cel_string(struct str s)
{
    return (struct cel_value){.type = CEL_STRING, .s = {s.p ? s.p : "", s.n}};
}
struct cel_value cel_bytes(struct str s)
{
    return (struct cel_value){.type = CEL_BYTES, .s = {s.p ? s.p : "", s.n}};
}
struct cel_value cel_list(const struct cel_value *v, uint32_t n)
{
    return (struct cel_value){.type = CEL_LIST, .rep = REP_ARRAY, .n = n, .p = v};
}
struct cel_value cel_map_value(struct cel_map *m)
{
    return (struct cel_value){.type = CEL_MAP, .rep = REP_ARRAY, .n = m->n, .p = m};
}
struct cel_value cel_box(enum cel_kind k, const void *p)
{
    return (struct cel_value){.type = (uint8_t)k, .p = p};
}
struct cel_value cel_type_value(const char *name)
{
    return (struct cel_value){.type = CEL_TYPE, .s = str_z(name)};
}
struct cel_value cel_optional(const struct cel_value *v)
{
    return (struct cel_value){.type = CEL_OPTIONAL, .p = v};
}
struct cel_value cel_none(void)
{
    return cel_optional(NULL);
}
struct cel_value cel_some(struct cel_eval *c, struct cel_value v)
{
    struct cel_value *p = v.type == CEL_ERROR ? NULL : cel_alloc(c, sizeof *p);
    if (!p)
        return v.type == CEL_ERROR ? v : cel_no_memory();
    *p = v;
    return cel_optional(p);
}

struct cel_value cel_text(struct cel_eval *c, struct str s)
{
    char *p = cel_alloc(c, s.n + 1);
    if (!p)
        return cel_no_memory();
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = 0;
    return cel_string((struct str){p, s.n});
}

struct cel_value cel_take_buf(struct cel_eval *c, struct buf *b)
{
    struct cel_value v = b->overflow ? cel_no_memory() : cel_text(c, buf_str(b));
    if (b->overflow && !c->stop)
        c->stop = "operation cancelled: too much memory";
    buf_fini(b);
    return v;
}

struct cel_value cel_strings(struct cel_eval *c, const struct str *v, uint32_t n)
{
    struct cel_value *out = cel_alloc(c, n * sizeof *out);
    if (!out)
        return cel_no_memory();
    for (uint32_t i = 0; i < n; i++)
        out[i] = cel_string(v[i]);
    return cel_list(out, n);
}

struct cel_value cel_json(const struct json *v, const struct cel_type *t, struct arena *a)
{
    struct cel_eval c = {.a = a, .work_max = CEL_WORK_MAX, .memory_max = SIZE_MAX};
    return cel_read_json(&c, v, t);
}

struct cel_value cel_msg(const struct schema_desc *desc, const void *msg, bool typed,
                         bool type_meta)
{
    struct cel_value v = {
        .type = typed ? CEL_OBJECT : CEL_MAP, .rep = REP_MSG, .p = msg, .aux = desc};
    v.flags = (uint8_t)((typed ? 0 : VALUE_PLAIN) | (type_meta ? VALUE_META : 0));
    if (!msg)
        return cel_null();
    if (desc->flags & SCHEMA_DESC_AS_LIST) {
        const struct schema_field *f = desc->fields;
        v.type = CEL_LIST;
        v.rep = REP_FIELD;
        v.n = *(const uint32_t *)((const char *)msg + f->aux);
        v.p = *(void *const *)((const char *)msg + f->offset);
        v.aux = f;
    }
    return v;
}

struct cel_value cel_host_object(const struct cel_host *host, void *ctx)
{
    return (struct cel_value){.type = CEL_OBJECT, .rep = REP_HOST, .p = ctx, .aux = host};
}

static struct cel_value authz_value(enum cel_kind k, const struct cel_authorizer *who,
                                    const struct cel_authz_check *what, struct arena *a)
{
    struct cel_authz *z = ARENA_NEW(a, struct cel_authz);
    z->who = who;
    if (what)
        z->what = *what;
    return cel_box(k, z);
}
struct cel_value cel_authorizer(const struct cel_authorizer *who, struct arena *a)
{
    return authz_value(CEL_AUTHORIZER, who, NULL, a);
}
struct cel_value cel_resource_check(const struct cel_authorizer *who,
                                    const struct cel_authz_check *what, struct arena *a)
{
    return authz_value(CEL_RESOURCE_CHECK, who, what, a);
}

struct cel_value cel_typeof(const struct cel_value *v)
{
    return cel_type_value(cel_kind_name((enum cel_kind)v->type));
}

/* --- UTF-8 --------------------------------------------------------------------------------------
 */

size_t cel_utf8_count(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((uint8_t)s.p[i] & 0xc0) != 0x80;
    return n;
}

size_t cel_utf8_offset(struct str s, size_t chars)
{
    size_t i = 0;
    for (; i < s.n; i++)
        if (((uint8_t)s.p[i] & 0xc0) != 0x80 && chars-- == 0)
            break;
    return i;
}

size_t cel_utf8_put(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    static const uint8_t head[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; i-- > 1; cp >>= 6)
        out[i] = (char)(0x80 | (cp & 0x3f));
    out[0] = (char)(head[n] | cp);
    return n;
}
