/* Structural schemas: what the objects of a custom kind look like, as their definition says it in
 * OpenAPI v3. Compiled once from JSON; then objects are pruned, defaulted and checked by one walk
 * each, along the compiled nodes, never along the text.
 *
 * A compiled schema never changes: any thread may use it. Costs are bounded: depth, nodes and the
 * size of patterns when it is compiled (structural_compile refuses more), and work on an object by
 * its values times the value rules of their nodes, and by the steps of patterns. Words of errors
 * are those of a Kubernetes server. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "codec/json.h"
#include "schema/schema.h"

#define STRUCTURAL_NODES_MAX 50000 /* the largest schemas in use have a fifth of it */
#define STRUCTURAL_DEPTH_MAX 64
#define STRUCTURAL_RULES_MAX                                                                       \
    256 /* allOf, anyOf, oneOf, not: parts below one node of the skeleton */
#define STRUCTURAL_ENUM_MAX   5000
#define STRUCTURAL_KEYS_MAX   64 /* names that tell the elements of one list apart */
#define STRUCTURAL_CAUSES_MAX ERROR_CAUSES_MAX
#define STRUCTURAL_ADDED_MAX  200000   /* values that defaults add to one object */
#define STRUCTURAL_WORK_MAX   20000000 /* rules and enum values looked at for one object */
#define STRUCTURAL_STEPS_MAX  40000000 /* of all patterns on one object: some 200 ms */
#define STRUCTURAL_REGEX_MAX  8388608  /* bytes of all compiled patterns; the usual one has 500 */

enum structural_type {
    STRUCTURAL_ANY, /* none given: preserve-unknown or int-or-string */
    STRUCTURAL_OBJECT,
    STRUCTURAL_ARRAY,
    STRUCTURAL_STRING,
    STRUCTURAL_INTEGER,
    STRUCTURAL_NUMBER,
    STRUCTURAL_BOOLEAN,
    _STRUCTURAL_TYPE_MAX,
};

struct regex;
struct structural_node;

struct structural_prop {
    struct str name;
    struct structural_node *node;
};

/* One place of the schema, or one part of its value rules (allOf and so on). */
struct structural_node {
    uint8_t type;      /* enum structural_type */
    uint8_t list_type; /* enum schema_list_type */
    bool nullable, preserve, embedded, int_or_string, map_atomic;
    bool exclusive_min, exclusive_max, additional_any;
    bool has_min, has_max, has_multiple, has_defaults; /* has_defaults: here or below */
    bool has_checks; /* something is checked here or below that is no type */
    double min, max, multiple;
    int64_t min_length, max_length, min_items, max_items, min_props, max_props; /* -1: none */
    struct str format, pattern_text;
    const struct regex *pattern;
    const struct json *default_;   /* NULL: none */
    uint32_t n_default;            /* values in it */
    struct structural_prop *props; /* sorted by name */
    struct structural_node *items, *additional;
    struct structural_node **all, **any, **one;
    struct structural_node *not_;
    struct str *required, *list_keys;
    const struct json **enum_;
    uint32_t n_props, n_all, n_any, n_one, n_required, n_list_keys, n_enum;
};

struct structural {
    struct arena arena; /* owned; everything below lies in it */
    struct structural_node *root;
    const struct json *tree; /* as given, for OpenAPI documents */
    uint32_t n_nodes;
    size_t regex_bytes;    /* of compiled patterns */
    uint32_t n_rules;      /* x-kubernetes-validations found */
    struct str first_rule; /* path of the first of them */
};

/* Compiles; text is copied. Breaches become causes below `path`
 * ("spec.validation.openAPIV3Schema"), and -EBADMSG. *ret is untouched then. */
int structural_compile(struct str text, struct str path, struct structural **ret,
                       struct error *err) MUST_CHECK;
struct structural *structural_free(struct structural *s); /* takes NULL; returns NULL */

/* Removes what the schema does not know and fills in defaults, in place; new nodes in a. Unknown
 * and duplicate fields are named in opts (may be NULL) as by schema_decode_json. apiVersion, kind
 * and metadata of the root are left alone. */
void structural_prune(const struct structural *s, struct json *object, struct arena *a,
                      struct schema_decode *opts);
/* -EFBIG: the object would grow beyond measure (STRUCTURAL_ADDED_MAX). */
int structural_default(const struct structural *s, struct json *object, struct arena *a) MUST_CHECK;
/* The status of an object that says none, in a; NULL: the schema has no default for it. */
const struct json *structural_status(const struct structural *s, struct arena *a);
/* Checks an object (metadata is not looked at), or of it the status alone; one cause for each
 * breach. err NULL: without a word. 0; -EBADMSG; -EDOM: types and sizes are as they should be, only
 * values are wrong, so rules in CEL can be asked. */
enum structural_part {
    STRUCTURAL_WHOLE,
    STRUCTURAL_STATUS,
};
int structural_validate(const struct structural *s, const struct json *object,
                        enum structural_part part, struct error *err) MUST_CHECK;
/* Once that has failed for an update: breaches of what has not changed are none
 * (structural_ratchet.c); elements that come again are none if there were such in old. */
int structural_validate_update(const struct structural *s, const struct json *object,
                               const struct json *old, enum structural_part part,
                               struct error *err) MUST_CHECK;

/* What of an object, a tree that stays, is as in old. */
struct structural_same;
struct structural_same *structural_same_new(const struct structural *s, const struct json *object,
                                            const struct json *old);
struct structural_same *structural_same_free(struct structural_same *x); /* takes NULL */
/* v is the same, and what it is in is not: what is in v is the same too. */
bool structural_same_has(const struct structural_same *x, const struct json *v);

/* The node at a path of plain members (".spec.replicas"), or NULL. */
const struct structural_node *structural_at(const struct structural *s, struct str path);
const struct structural_node *structural_prop(const struct structural_node *n, struct str name);
const char *structural_type_text(const struct structural_node *n);
