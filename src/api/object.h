/* struct object: one API object, decoded once, frozen, counted, shared by the store, caches, watchers and
 * controllers on any thread. To change one: schema_clone its msg into an arena, edit, write it back.
 *
 * Invariants: msg never changes after object_new; its first member is the ObjectMeta (schema_kind says
 * so); everything it points to lives in the same allocation; rev equals metadata.resourceVersion (0 while
 * the store has not given one). The encoded JSON is made at most once, on first use, by whichever thread
 * asks first, and is shared by all responses. */
#pragma once

#include "api/types.gen.h"
#include "base/blob.h"
#include "schema/schema.h"

struct object {
    _Atomic uint32_t refs;
    uint32_t msg_bytes;
    const struct schema_kind *kind; /* borrowed, static or outliving all its objects */
    rev_t rev;
    void *msg; /* owned; one block made by schema_compact */
    struct blob *_Atomic json; /* owned; NULL until asked for */
};

/* Copies msg (any arena) into a block of its own. One reference, the caller's. When rev is not 0, the copy's
 * metadata.resourceVersion is set to it. */
struct object *object_new(const struct schema_kind *kind, const void *msg, rev_t rev);
struct object *object_ref(struct object *o);
struct object *object_unref(struct object *o); /* takes NULL, returns NULL */

static inline const struct api_object_meta *object_meta(const struct object *o)
{
    return (const struct api_object_meta *)o->msg;
}
static inline struct str object_name(const struct object *o)
{
    return object_meta(o)->name;
}
static inline struct str object_ns(const struct object *o) /* empty for cluster-scoped kinds */
{
    return object_meta(o)->namespace;
}
/* The whole object as JSON with kind and apiVersion; borrowed from o, valid while o is referenced. */
struct str object_json(struct object *o);
/* Drops the cached JSON when nobody else can be reading it (refs == 1); for memory pressure. */
void object_forget_json(struct object *o);
/* Typed view: OBJECT_MSG(o, api_pod); asserts nothing but costs nothing. */
#define OBJECT_MSG(o, type) ((const struct type *)(o)->msg)
