/* Selectors: which objects a list, a watch, a controller or a Service means. Label selectors come
 * as query text (`a=b,c!=d,e in (x,y),!f,g>1`), as struct api_label_selector or as a plain map, and
 * are compiled to one form; field selectors (`spec.nodeName=n1,status.phase!=Running`) are compiled
 * against a kind, which names the fields it may be selected by.
 *
 * Invariants: a compiled selector lives in the arena it was compiled into and owns copies of all
 * its strings; it never changes, so any thread may match with it. Zeroed is the selector that
 * matches everything. Words of errors are those of a Kubernetes server. */
#pragma once

#include "api/types.gen.h"
#include "base/error.h"
#include "schema/desc.h"

struct jsonpath;

#define SELECT_REQS_MAX   256 /* requirements of one selector; a URL that has more is no query */
#define SELECT_VALUES_MAX 1024

enum select_op {
    SELECT_IN,     /* also = and == */
    SELECT_NOT_IN, /* also !=; an absent key matches */
    SELECT_EXISTS,
    SELECT_NOT_EXISTS,
    SELECT_GT,
    SELECT_LT,
    _SELECT_OP_MAX,
    _SELECT_OP_INVALID = -EINVAL,
};

struct select_req {
    struct str key;
    struct str *values; /* sorted, unique */
    uint32_t n_values;
    enum select_op op;
    int64_t number; /* GT, LT */
};

struct label_selector {
    struct select_req *reqs; /* all must hold */
    uint32_t n_reqs;
    bool nothing; /* matches no object at all */
};

/* Query text; empty: everything. -EINVAL (REASON_BAD_REQUEST) with *err. */
int label_selector_parse(struct arena *a, struct str text, struct label_selector *ret,
                         struct error *err) MUST_CHECK;
/* NULL: nothing; empty: everything. -EINVAL when an operator or a value count is wrong. */
int label_selector_compile(struct arena *a, const struct api_label_selector *s,
                           struct label_selector *ret, struct error *err) MUST_CHECK;
/* The expressions of one node selector term, which also know Gt and Lt. */
int label_selector_compile_node(struct arena *a, const struct api_node_selector_requirement *v,
                                uint32_t n, struct label_selector *ret,
                                struct error *err) MUST_CHECK;
/* As Service.spec.selector and PodSpec.nodeSelector: each key has exactly that value. */
void label_selector_from_map(struct arena *a, const struct kv_str *map, uint32_t n,
                             struct label_selector *ret);
/* labels: sorted by key, as all maps of the API structs are. */
bool label_selector_match(const struct label_selector *s, const struct kv_str *labels, uint32_t n);
bool select_req_match(const struct select_req *r, const struct kv_str *labels, uint32_t n);
static inline bool label_selector_is_all(const struct label_selector *s)
{
    return s->n_reqs == 0 && !s->nothing;
}
/* Canonical text: equal selectors print equally. */
struct str label_selector_print(struct arena *a, const struct label_selector *s);

#define SELECT_FIELD_DEPTH_MAX 4

struct field_term {
    const struct schema_field *path[SELECT_FIELD_DEPTH_MAX]; /* path[n-1]: the scalar */
    uint8_t n_path;
    bool negated;
    const struct schema_kind *custom; /* present: the value is at custom_path instead */
    const struct jsonpath *custom_path;
    struct str label; /* as written */
    struct str value;
};
struct field_selector {
    struct field_term *terms; /* all must hold */
    uint32_t n_terms;
};

/* -EINVAL (REASON_BAD_REQUEST): does not parse, or kind cannot be selected by that field. */
int field_selector_parse(struct arena *a, const struct schema_kind *kind, struct str text,
                         struct field_selector *ret, struct error *err) MUST_CHECK;
/* msg: a message of kind->desc. */
bool field_selector_match(const struct field_selector *s, const void *msg);
/* The value the selector demands of a field ("metadata.name"), or absent; for picking an index. */
struct str field_selector_exact(const struct field_selector *s, struct str label);
