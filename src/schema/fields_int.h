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
enum fields_shape fields_elem_shape(const struct schema_field *f);
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
/* The step to an element of a list that is a set or has keys, as the JSON has it; keys that are not
 * written are their defaults. Absent, or why there is no such step. */
struct str fields_elem_of_json(const struct schema_field *f, const struct json *v, struct arena *a,
                               struct fields_elem *ret);
/* The name of a key in the text of such a step. */
static inline void fields_key_head(const struct schema_field *f, struct buf *b)
{
    out_add(b, b->n ? ",\"" : "{\"", 2);
    out_add(b, f->name, f->name_len);
    OUT_LIT(b, "\":");
}
/* As people read it: .name, [name="web"], [="x"], [3]. */
void fields_step_print(const struct fields_elem *e, struct buf *b);
/* Metadata of the object itself that belongs to nobody. */
bool fields_is_unowned_meta(const struct schema_field *f);
