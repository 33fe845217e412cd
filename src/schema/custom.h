/* Kinds that come at run time: what a CustomResourceDefinition declares, in the form the rest of
 * the program knows kinds in (struct schema_kind).
 *
 * There are two sorts. The *stored kind* is what the store knows a resource by: one for a resource,
 * made when it is first heard of, and it stays as long as the process, so objects may point to it.
 * It has a *variant* for each version objects were written in (with the same number, and `stored`
 * pointing to it): the kind of an object says in which version its body is, and so does its record.
 * A *served kind* is one version of a definition as it is now, with its schema: immutable, counted,
 * replaced when the definition changes. Objects of all versions have one C form:
 *
 *   struct custom_object { struct api_object_meta metadata; struct str rest, status; }
 *
 * rest: the JSON object of all members but apiVersion, kind, metadata and status; status: JSON.
 * Both are canonical (json_print_sorted), so equal meaning is equal text. A schema is therefore
 * never needed to read, copy, compare or store an object, and may change while objects are there.
 */
#pragma once

#include <stdatomic.h>

#include "schema/jsonpath.h"
#include "schema/structural.h"

#define CUSTOM_STORED_MAX     4096 /* resources heard of since the process began */
#define CUSTOM_VARIANTS_MAX   128  /* versions of one of them, likewise */
#define CUSTOM_COLUMNS_MAX    64
#define CUSTOM_SELECTABLE_MAX 8 /* as Kubernetes */

struct custom_object {
    struct api_object_meta metadata;
    struct str rest, status;
};

struct custom_scale {
    const struct jsonpath *spec_replicas, *status_replicas, *selector; /* selector may be NULL */
};

struct custom {
    struct schema_kind kind; /* first: what everybody holds */
    struct schema_desc desc, list_desc;
    struct arena arena;        /* owned; texts and paths */
    _Atomic uint32_t refs;     /* of a served kind */
    struct structural *schema; /* owned; NULL: a stored kind */
    rev_t since;               /* what was written after this revision was written by this schema */
    bool served;               /* a served kind, with the two that follow; borrowed, for ever */
    const struct schema_kind *variant;    /* of objects in this version */
    const struct schema_kind *storage;    /* of objects that are written now */
    const struct custom *next;            /* of a stored kind and its variants: the next variant */
    bool terminating;                     /* its definition is being deleted: no new objects */
    const struct jsonpath **column_paths; /* one a column; NULL: the column's own path or hook */
    const struct jsonpath **select_paths; /* one for each of kind.selectable */
    const struct custom_scale *scale;     /* NULL: no subresource */
    bool has_status;
    void *rules; /* owned; what layers above ask of objects beside the schema; NULL: nothing */
    void (*rules_free)(void *rules);
};

/* The stored kind of a resource; any thread. NULL when there are too many. */
const struct schema_kind *custom_stored_kind(struct str group, struct str plural, struct str kind,
                                             struct str version, bool namespaced);
/* The same for a definition: by its spec, which needs not be good. */
const struct schema_kind *custom_stored_of(const struct api_custom_resource_definition *crd);
/* What objects of it in a version are of: the stored kind itself when it is that version's. Any
 * thread. NULL when there are too many. */
const struct schema_kind *custom_variant(const struct schema_kind *stored, struct str version);
static inline bool custom_is_served(const struct schema_kind *k)
{
    return k && k->custom && k->custom->served;
}

/* One version of a definition, with one reference. The definition has been checked (api/crd.h);
 * what fails all the same is -EBADMSG or -ENOMEM with *err. */
int custom_new(const struct api_custom_resource_definition *crd, uint32_t version, rev_t since,
               struct custom **ret, struct error *err) MUST_CHECK;
/* Nothing happens for kinds of the tables and for stored kinds. Any thread. */
const struct schema_kind *custom_ref(const struct schema_kind *k);
void custom_unref(const struct schema_kind *k);

/* Prunes and defaults an object as it came, in place; what it says of unknown fields is kept in
 * opts for schema_decode_json, which is called next. An object that is too deep to be read back, or
 * would be too large, is refused. Nothing happens for other kinds. */
int custom_take(const struct schema_kind *k, struct json *object, struct arena *a,
                struct schema_decode *opts, struct error *err) MUST_CHECK;
/* An object as read: what was written before the schema came gets its defaults and loses what it
 * does not know. msg itself when nothing is to be done. */
const void *custom_read(const struct schema_kind *k, const void *msg, rev_t rev, struct arena *a);
/* A new object whose status was taken away: the status its schema has for such, if any (Kubernetes
 * shows it whenever the object is read). Nothing happens for other kinds. */
void custom_default_status(const struct schema_kind *k, void *msg, struct arena *a);
/* The whole object as a tree in a. */
struct json *custom_tree(const struct schema_kind *k, const void *msg, struct arena *a);

/* Order of versions as Kubernetes prefers them: v2 before v1 before v1beta2 before v1beta1 before
 * v1alpha1 before others. Positive: a is preferred. */
int schema_version_cmp(struct str a, struct str b);
