/* struct object: one API object, decoded once, frozen, counted, shared by the store, caches,
 * watchers and controllers on any thread. To change one: schema_clone its msg into an arena, edit,
 * write it back.
 *
 * Invariants: msg never changes after object_new; its first member is the ObjectMeta (schema_kind
 * says so); everything it points to lives in the same allocation; rev equals
 * metadata.resourceVersion (0 while the store has not given one). The encoded JSON is made at most
 * once while it is hot, on first use, by whichever thread asks first, and is shared by all
 * responses. */
#pragma once

#include "api/types.gen.h"
#include "base/blob.h"
#include "schema/schema.h"

struct object {
    _Atomic uint32_t refs;
    uint32_t msg_bytes;
    const struct schema_kind *kind; /* borrowed, static or outliving all its objects */
    rev_t rev;
    void *msg;              /* owned; one block made by schema_compact */
    _Atomic uintptr_t json; /* private; owned struct blob * and flag bits, see object.c */
};

/* Copies msg (any arena) into a block of its own. One reference, the caller's. When rev is not 0,
 * the copy's metadata.resourceVersion is set to it. */
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
/* The whole object as JSON with kind and apiVersion. Any thread that holds a reference on o.
 * _ref: counted, the caller's; prefer it, since the object can then drop its copy when it is cold.
 * object_json: borrowed from o, valid while o is referenced; keeps the copy for as long. */
struct blob *object_json_ref(struct object *o);
struct str object_json(struct object *o);
/* The same when it is there already, else NULL: for lists that would rather encode than keep. */
struct blob *object_json_peek_ref(struct object *o);
/* Drops the cached JSON unless it was lent out by object_json and others hold references. */
void object_forget_json(struct object *o);
/* Second chance: forgets it when nobody asked for it since the last call. For whoever sweeps. */
void object_cool_json(struct object *o);
size_t object_json_bytes(const struct object *o); /* held now; 0: none */

/* Typed view: OBJECT_MSG(o, api_pod); asserts nothing but costs nothing. */
#define OBJECT_MSG(o, type) ((const struct type *)(o)->msg)
