/* Reading and writing packed sets entry by entry: for the files of fields and apply. */
#pragma once

#include "codec/out.h"
#include "schema/fields.h"
#include "schema/internal.h"

/* ---- reading ---- */

/* Takes one entry off the front of *body. False at the end, and for what is not well formed (body
 * is then empty). */
bool fields_next(struct str *body, struct fields_entry *ret);
int fields_elem_cmp(const struct fields_elem *a, const struct fields_elem *b);

/* The entries of one level, to be looked up: by binary search, so that wide maps stay cheap. */
struct fields_level {
    struct fields_entry *v; /* in the arena */
    size_t n;
};
struct fields_level fields_level(struct str body, struct arena *a);
/* NULL: not there. */
const struct fields_entry *fields_find(const struct fields_level *l, const struct fields_elem *e);

/* ---- writing ---- */

struct fields_mark {
    size_t at, sub;
};
/* begin, then what is below, then end: an entry that is no member and has nothing below vanishes.
 */
struct fields_mark fields_begin(struct buf *b, const struct fields_elem *e);
void fields_end(struct buf *b, struct fields_mark m, bool member);
void fields_put(struct buf *b, const struct fields_elem *e); /* a member with nothing below */
void fields_copy(struct buf *b, const struct fields_entry *e);
/* Brings the entries written since `from` into order and makes one of those for the same step. */
void fields_sort(struct buf *b, size_t from);

/* A set of the entries in b, in the arena. */
struct str fields_pack(const struct schema_desc *desc, struct str body, struct arena *a);

/* ---- types ---- */

enum fields_shape {
    FIELDS_LEAF, /* owned as a whole */
    FIELDS_MSG,
    FIELDS_MAP,
    FIELDS_SET,
    FIELDS_KEYED,
};
enum fields_shape fields_shape(const struct schema_field *f);
/* Of an element of a list or a value of a map: FIELDS_LEAF or FIELDS_MSG. */
static inline enum fields_shape fields_elem_shape(const struct schema_field *f)
{
    return f->type == SCHEMA_MSG && !(f->msg->flags & (SCHEMA_DESC_ATOMIC | SCHEMA_DESC_AS_LIST))
               ? FIELDS_MSG
               : FIELDS_LEAF;
}
/* Fields of desc are named by number. */
bool fields_by_number(const struct schema_desc *desc);
/* The steps to a JSON field: one, or two when it belongs to a field printed as part of its parent.
 */
unsigned fields_steps(const struct schema_desc *desc, const struct schema_field *json,
                      struct fields_elem ret[2]);
static inline struct fields_elem fields_elem_named(uint8_t type, struct str text)
{
    return (struct fields_elem){.type = type, .text = text};
}
/* The name of a key in the text of such a step. */
static inline void fields_key_head(struct str name, struct buf *b)
{
    out_add(b, b->n ? ",\"" : "{\"", 2);
    out_add(b, name.p, name.n);
    OUT_LIT(b, "\":");
}
/* As people read it: .name, [name="web"], [="x"], [3]. */
void fields_step_print(const struct fields_elem *e, struct buf *b);
/* Metadata of the object itself that belongs to nobody. */
bool fields_is_unowned_meta(const struct schema_field *f);
/* See fields.h of `skip`. */
static inline bool fields_status_only(const struct schema_desc *desc, const char *skip)
{
    return desc->flags & SCHEMA_DESC_REST && skip && strcmp(skip, "spec") == 0;
}

/* ---- places (fields_place.c): where a JSON value stands, by tables or by a schema ---- */

enum fields_place_type {
    FIELDS_PLACE_MSG,   /* a message of the tables that is owned by its fields */
    FIELDS_PLACE_FIELD, /* a list or map of the tables, or a field that is owned as a whole */
    FIELDS_PLACE_ELEM,  /* an element or map value that is owned as a whole */
    FIELDS_PLACE_NODE,  /* a place of a schema */
    FIELDS_PLACE_FREE,  /* anything: objects by their members, all else as a whole */
    FIELDS_PLACE_WHOLE, /* anything, as a whole */
};

struct fields_place {
    uint8_t type;  /* enum fields_place_type */
    bool root;     /* NODE: of a whole object */
    bool preserve; /* NODE: unknown fields are kept here, or were kept above */
    union {
        const struct schema_desc *desc;
        const struct schema_field *field;
        const struct structural_node *node;
    };
};

struct fields_place fields_place_root(const struct schema_desc *desc);
/* How a value of this JSON type is owned there; maps are FIELDS_MSG too. */
enum fields_shape fields_place_shape(struct fields_place p, enum json_type t);

struct fields_member {
    struct fields_place place;
    const struct schema_field *field; /* of the tables; or NULL */
    bool known;                       /* there may be such a member */
    bool declared;                    /* by name; others are members of the set themselves */
};
/* Of an object. */
struct fields_member fields_place_member(struct fields_place p, struct str name);
/* Of a list. */
struct fields_place fields_place_elem(struct fields_place p);

/* What a value must be. */
enum fields_expected {
    FIELDS_ANYTHING,
    FIELDS_OBJECT,
    FIELDS_ARRAY,
    FIELDS_STRING,
    FIELDS_NUMERIC,
    FIELDS_BOOLEAN,
};
enum fields_expected fields_place_expected(struct fields_place p);

/* How elements of a list are told apart: by the keys, in order of their names; by their value when
 * there are none. */
struct fields_keys {
    struct fields_key {
        struct str name;
        struct str deflt; /* JSON; absent: none */
    } * v;                /* in the arena */
    size_t n;
};
struct fields_keys fields_place_keys(struct fields_place list, struct arena *a);
/* The step to an element; keys that are not written are their defaults. Absent, or why there is no
 * such step. scratch is the caller's. */
struct str fields_elem_of_json(const struct fields_keys *keys, const struct json *v,
                               struct buf *scratch, struct arena *a, struct fields_elem *ret);

/* ---- canonical JSON (fields_json.c) ---- */

/* What differs between two texts (json_print_sorted) at a place, below the step e: nothing, or
 * entries in changed and removed. Absent: not there. */
void fields_diff_json(struct fields_place p, const struct fields_elem *e, struct str old,
                      struct str new, struct arena *a, struct buf *changed, struct buf *removed);
/* The same for the members of two objects. */
void fields_diff_members(struct fields_place p, struct str old, struct str new, struct arena *a,
                         struct buf *changed, struct buf *removed);
