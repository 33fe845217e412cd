/* JSON as a tree of nodes in an arena: parsed by yyjson, then ours, so that it can be changed.
 *
 * Invariants: a node has one parent; children are a singly linked list in document order; key is
 * set on members of objects only. Strings are valid UTF-8 and point into the arena (or wherever who
 * made the node says). Parsed trees are at most `depth_max` deep, so walking them by recursion is
 * safe. Trees are freed with their arena; unlinked nodes just stay there. */
#pragma once

#include "base/buf.h"
#include "base/error.h"

enum json_type {
    JSON_NULL,
    JSON_BOOL,
    JSON_INT,  /* fits int64_t */
    JSON_REAL, /* any other number */
    JSON_STR,
    JSON_ARR,
    JSON_OBJ,
};

struct json {
    uint8_t type; /* enum json_type */
    bool b;
    uint32_t n; /* children of JSON_ARR, JSON_OBJ */
    union {
        int64_t i;
        double d;
        struct str s;
        struct {
            struct json *first, *last;
        };
    };
    struct str key;
    struct json *next;
};

struct json_limits {
    uint32_t depth_max;  /* 0: JSON_DEPTH_MAX */
    uint32_t values_max; /* 0: JSON_VALUES_MAX */
};
#define JSON_DEPTH_MAX  200     /* the deepest Kubernetes object is far below 50 */
#define JSON_VALUES_MAX 8000000 /* a list of 50,000 pods; 48 bytes each */

/* Whole text, RFC 8259, no extensions. -EINVAL (REASON_BAD_REQUEST) with line and column in err.
 * text is copied; nothing of it is needed afterwards. limits may be NULL. */
int json_parse(struct str text, struct arena *a, const struct json_limits *limits,
               struct json **ret, struct error *err) MUST_CHECK;

/* Appends compact JSON. Numbers print as Go prints them; invalid UTF-8 becomes U+FFFD. */
void json_print(const struct json *v, struct buf *b);
/* The same in canonical form: members in order of their keys, the last of duplicates. */
void json_print_sorted(const struct json *v, struct buf *b);
/* The same, indented by two spaces a level. */
void json_print_pretty(const struct json *v, struct buf *b);
/* A quoted, escaped string. Invalid UTF-8 becomes U+FFFD. */
void json_print_str(struct str s, struct buf *b);
void json_print_double(double d, struct buf *b);
/* True when text is one valid JSON value. Cheaper than json_parse. */
bool json_valid(struct str text);

/* --- Building and changing ----------------------------------------------------------------------
 */

struct json *json_new_null(struct arena *a);
struct json *json_new_bool(struct arena *a, bool b);
struct json *json_new_int(struct arena *a, int64_t i);
struct json *json_new_real(struct arena *a, double d);
struct json *json_new_str(struct arena *a, struct str s); /* s is borrowed */
struct json *json_new_arr(struct arena *a);
struct json *json_new_obj(struct arena *a);
struct json *json_clone(const struct json *v, struct arena *a); /* strings are shared */

/* Member of an object; NULL when v is NULL, no object, or has no such member. The last of
 * duplicates. */
struct json *json_get(const struct json *v, struct str key);
#define json_getz(v, lit) json_get((v), STR(lit))
struct json *json_at(const struct json *arr, size_t i); /* NULL when out of range */
/* Text of a string member, or STR_NONE. */
struct str json_get_str(const struct json *v, struct str key);

/* Links a fresh node. set replaces a member of that key in its place, or appends. key is borrowed.
 */
void json_set(struct json *obj, struct str key, struct json *value);
void json_push(struct json *arr, struct json *value);
void json_insert(struct json *arr, size_t i, struct json *value); /* i <= n */
/* Unlinks; the node or NULL. All duplicates of the key go. */
struct json *json_remove(struct json *obj, struct str key);
struct json *json_remove_at(struct json *arr, size_t i);

/* Same value: members in any order, 1 equal to 1.0. */
bool json_equal(const struct json *a, const struct json *b);

#define json_for_each(child, v) for (struct json *child = (v)->first; child; child = child->next)
static inline bool json_is(const struct json *v, enum json_type t)
{
    return v && v->type == t;
}
/* "object", "array", "string", "number", "bool", "null": what v is, for messages (Go's words). */
const char *json_type_name(const struct json *v);
