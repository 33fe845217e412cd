/* Random messages from the tables: every message type can be filled without knowing it. Seeded, so
 * that a failing seed can be run again. */
#pragma once

#include "schema/schema.h"

struct random_msg {
    struct arena *a;
    uint64_t state;
    bool empties; /* also lists and maps that are there but empty */
};

static inline uint32_t rnd(struct random_msg *r, uint32_t below)
{
    r->state ^= r->state << 13;
    r->state ^= r->state >> 7;
    r->state ^= r->state << 17;
    return (uint32_t)((r->state >> 11) % below);
}

static inline struct str rnd_str(struct random_msg *r)
{
    static const char *const parts[] = {"a",
                                        "web",
                                        "\"",
                                        "\\",
                                        "\n",
                                        "\x01",
                                        "\xC3\xA4",
                                        "\xF0\x9F\x98\x80",
                                        "0",
                                        "-",
                                        "long enough to need the eight byte path",
                                        "/",
                                        "<&>",
                                        "\x7f"};
    struct buf b = {0};
    for (uint32_t n = rnd(r, 4); n; n--)
        buf_add_str(&b, str_z(parts[rnd(r, ARRAY_LEN(parts))]));
    struct str s = arena_str(r->a, b.n ? buf_str(&b) : STR(""));
    buf_fini(&b);
    return s;
}

static inline int64_t rnd_int(struct random_msg *r, bool wide)
{
    static const int64_t edge[] = {0,     1,         -1,        127,       128,
                                   65535, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
    return edge[rnd(r, wide ? 10 : 8)];
}

static void rnd_msg(struct random_msg *r, const struct schema_desc *d, void *msg, int depth);

static inline void rnd_value(struct random_msg *r, const struct schema_field *f, void *p, int depth)
{
    static const char *const raws[] = {"null", "1", "{\"a\":[1,true,null]}", "\"x\"", "[]", "{}"};
    static const char *const quantities[] = {"1",  "500m", "1Gi", "1e3",   "0",
                                             "-5", "3k",   "1n",  "1536Mi"};
    switch ((enum schema_type)f->type) {
    case SCHEMA_BOOL:
        *(bool *)p = rnd(r, 2);
        break;
    case SCHEMA_INT32:
        *(int32_t *)p = (int32_t)rnd_int(r, false);
        break;
    case SCHEMA_INT64:
        *(int64_t *)p = rnd_int(r, true);
        break;
    case SCHEMA_DOUBLE:
        *(double *)p = rnd(r, 1000) / 8.0;
        break;
    case SCHEMA_STRING:
        *(struct str *)p = f->rules->enum_ && rnd(r, 2)
                               ? f->rules->enum_->texts[rnd(r, f->rules->enum_->n_texts)]
                               : rnd_str(r);
        break;
    case SCHEMA_BYTES:
        *(struct str *)p =
            rnd(r, 3) ? arena_str(r->a, (struct str){"\x00\xff\x80z", rnd(r, 5)}) : rnd_str(r);
        break;
    case SCHEMA_MSG:
        rnd_msg(r, f->msg, p, depth + 1);
        break;
    case SCHEMA_QUANTITY:
        if (quantity_parse(str_z(quantities[rnd(r, ARRAY_LEN(quantities))]), p) < 0)
            abort();
        break;
    case SCHEMA_TIME:
        *(struct timestamp *)p =
            timestamp_seconds((int64_t)rnd(r, 4000000000u) * 1000000 - 1000000000000000);
        break;
    case SCHEMA_MICRO_TIME:
        *(struct timestamp *)p =
            timestamp_of((int64_t)rnd(r, 4000000000u) * 500001 - 1000000000000000);
        break;
    case SCHEMA_DURATION:
        *(struct duration *)p =
            (struct duration){.nsec = (int64_t)rnd(r, 4000000000u) * 1000, .set = true};
        break;
    case SCHEMA_INT_OR_STR:
        *(struct int_or_str *)p =
            rnd(r, 2) ? int_or_str_int((int32_t)rnd_int(r, false)) : int_or_str_str(rnd_str(r));
        break;
    case SCHEMA_RAW:
        *(struct str *)p = str_z(raws[rnd(r, ARRAY_LEN(raws))]);
        if (!(f->flags & SCHEMA_LIST) && str_is(*(struct str *)p, "null"))
            *(struct str *)p = STR_NONE;
        if (f->msg) /* what it may hold is described */
            *(struct str *)p = STR("{}");
        break;
    case _SCHEMA_TYPE_MAX:
        break;
    }
}

static inline void rnd_elems(struct random_msg *r, const struct schema_field *f, void *msg,
                             int depth)
{
    uint32_t n = rnd(r, depth > 4 ? 2 : 4);
    bool map = f->flags & SCHEMA_MAP;
    if (n == 0 && !r->empties)
        return;
    char *p = arena_zalloc(r->a, (size_t)n * f->elem_size + 1);
    *(void **)schema_at(f, msg) = p;
    *(uint32_t *)(void *)((char *)msg + f->aux) = n;
    for (uint32_t i = 0; i < n; i++, p += f->elem_size) {
        if (map)
            *(struct str *)(void *)p = arena_printf(r->a, "key%u/\"%u", i, rnd(r, 10));
        rnd_value(r, f, map ? p + SCHEMA_MAP_VALUE : p, depth);
    }
}

static void rnd_msg(struct random_msg *r, const struct schema_desc *d, void *msg, int depth)
{
    for (const struct schema_field *f = d->fields; f < d->fields + d->n_fields; f++) {
        bool pointer_msg = f->type == SCHEMA_MSG && (f->flags & SCHEMA_POINTER);
        if (rnd(r, depth > 5 ? 12 : depth > 2 ? 4 : 2))
            if (depth || rnd(r, 3) == 0)
                continue;
        if (f->flags & (SCHEMA_LIST | SCHEMA_MAP)) {
            rnd_elems(r, f, msg, depth);
        } else if (pointer_msg) {
            void *sub = schema_new(f->msg, r->a);
            *(void **)schema_at(f, msg) = sub;
            rnd_msg(r, f->msg, sub, depth + 1);
        } else {
            if ((f->flags & SCHEMA_POINTER) && f->type <= SCHEMA_DOUBLE)
                *((bool *)msg + f->aux) = true;
            rnd_value(r, f, schema_at(f, msg), depth);
        }
    }
}
