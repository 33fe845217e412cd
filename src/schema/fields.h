/* Sets of fields of an object, as server-side apply needs them: who owns which.
 *
 * A set is kept packed, in a form of our own that is five to ten times smaller than the JSON
 * clients see (FieldsV1) and that unions and differences are made on without unpacking. It stands
 * where the JSON would, in metadata.managedFields[].fieldsV1, in memory and in the store; the
 * printers of schema.h write the JSON. Text that is no packed set there is JSON that nobody has
 * looked at yet.
 *
 *   packed   = 0x01 root entries        root: four bytes, which type the numbers belong to; 0: none
 *   entries  = entry ...                ascending; an empty set has none
 *   entry    = varint(number << 3 | flags) [varint(n) text] [varint(n) entries]
 *   flags    = 1 the path itself is in the set | 2 entries below follow | 4 text follows
 *
 * Without text the entry is the field with that protobuf number; a field whose JSON belongs to its
 * parent has its members below it. With text, number is an enum fields_elem_type. Order: numbers,
 * then by number and bytes of the text. Numbers are API facts and do not change, so stored sets
 * stay valid. Types that are made at run time use names only, and the root 0: a schema may be
 * replaced by another one while objects are there, and sets must mean the same when it was, and be
 * readable where no schema is at hand (clients, the store). A name costs two bytes more than it has
 * letters, a number two; the JSON of either seven more.
 *
 * Sets made by these functions live in the arena given or share with an operand. Pure functions;
 * any thread. */
#pragma once

#include "schema/schema.h"

#define FIELDS_MAGIC     '\x01'
#define FIELDS_HEAD      5   /* bytes before the entries */
#define FIELDS_DEPTH_MAX 100 /* of a set; objects are not half as deep */

enum fields_elem_type {
    FIELDS_NAME,   /* f: of a map, or a field nobody knows */
    FIELDS_KEY,    /* k: {"name":"web"}, keys sorted */
    FIELDS_VALUE,  /* v: a JSON value */
    FIELDS_INDEX,  /* i: decimal */
    FIELDS_NUMBER, /* f: of a message */
};

/* One step of a path. */
struct fields_elem {
    uint8_t type; /* enum fields_elem_type */
    uint16_t number;
    struct str text;
};

struct fields_entry {
    struct fields_elem elem;
    bool member;
    struct str sub; /* entries below; n == 0: none */
};

static inline bool fields_is_packed(struct str s)
{
    return s.n >= FIELDS_HEAD && s.p[0] == FIELDS_MAGIC;
}
static inline struct str fields_body(struct str set)
{
    return fields_is_packed(set) ? str_sub(set, FIELDS_HEAD, set.n) : STR_NONE;
}
static inline bool fields_empty(struct str set)
{
    return set.n <= FIELDS_HEAD;
}
/* False for whatever the functions here would not have written. */
bool fields_valid(struct str set);
/* Both speak of the same type: only then they may be combined. */
bool fields_same_root(struct str a, struct str b);
/* The type a set speaks of, or NULL. */
const struct schema_desc *fields_root(struct str set);

/* --- Combining (fields.c). Operands have the same root; absent is empty. ------------------------
 */
struct str fields_union(struct str a, struct str b, struct arena *arena);
struct str fields_difference(struct str a, struct str b, struct arena *arena);
struct str fields_intersection(struct str a, struct str b, struct arena *arena);
bool fields_intersect(struct str a, struct str b);
bool fields_contain(struct str a, struct str b); /* all of b is in a */

/* --- Text (fields_text.c) -----------------------------------------------------------------------
 */
/* FieldsV1, compact, sorted by name. */
void fields_print(struct str set, struct buf *b);
/* -EINVAL for what is no FieldsV1. Unknown names are kept. */
int fields_parse(const struct schema_desc *desc, struct str text, struct arena *a, struct str *ret,
                 struct error *err) MUST_CHECK;
/* Every path of the set, as people read it: .spec.containers[name="web"].image */
typedef void (*fields_path_fn)(void *arg, struct str path);
void fields_each(struct str set, fields_path_fn fn, void *arg);

/* --- Of objects (fields_diff.c, fields_tree.c) --------------------------------------------------
 */
struct fields_diff {
    struct str changed; /* set by the new message: added, or with another value */
    struct str removed; /* had by the old one only */
};
/* What a write changed, by what of both is printed. Neither the metadata that nobody owns (name,
 * uid, resourceVersion...) nor the top-level field `skip` (NULL: none) is looked at; "spec" of a
 * custom kind stands for all but the status. False: nothing (*ret is then two empty sets). */
bool fields_diff(const struct schema_desc *desc, const void *old, const void *new, const char *skip,
                 struct arena *a, struct fields_diff *ret);
/* The fields a configuration names, with those nobody owns. It is checked on the way: -EINVAL with
 * the sentence of a Kubernetes server for unknown fields, wrong types, list elements without key
 * and elements that are there twice. */
int fields_of_tree(const struct schema_desc *desc, const struct json *config, struct arena *a,
                   struct str *ret, struct error *err) MUST_CHECK;
/* set without the metadata nobody owns and without the top-level field `skip`, as fields_diff. */
struct str fields_strip(const struct schema_desc *desc, struct str set, const char *skip,
                        struct arena *a);
/* set with nothing but what lies on these paths or below them; who has a place on the way to one
 * keeps it. Each ends with NULL; "*" is any element of a list. Of built-in kinds. */
#define FIELDS_PATHS_MAX 8
struct str fields_keep(const struct schema_desc *desc, struct str set,
                       const char *const *const *paths, size_t n, struct arena *a);
/* A set of a custom kind by the schema as it is now: what is owned as a whole today, and was owned
 * by its parts when the set was made, is a member. set itself when nothing is to be done. */
struct str fields_reconcile(const struct schema_desc *desc, struct str set, struct arena *a);
