/* The type engine: one interpreter over the descriptors of desc.h. `msg` is always a pointer to the
 * C struct a descriptor describes (api/types.gen.h); a zeroed struct is a valid empty message.
 *
 * Memory: whatever is made lives in the arena given, or borrows from its input where the function
 * says so. No function changes its input but those whose msg is not const. Threads: no state;
 * descriptors are constant. Errors: -EINVAL for input that cannot be read (REASON_BAD_REQUEST),
 * -EBADMSG for objects that break rules (causes in err). */
#pragma once

#include "api/tables.gen.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "codec/json.h"
#include "schema/desc.h"

/* --- Finding types (find.c) ----------------------------------------------------------------------
 */

/* Served kind by group, version and kind ("" is the core group); NULL: not served. */
const struct schema_kind *schema_kind_find(struct str group, struct str version, struct str kind);
const struct schema_kind *schema_kind_by_plural(struct str group, struct str version,
                                                struct str plural);
/* The kind whose items `desc` describes, or NULL. */
const struct schema_kind *schema_kind_of_desc(const struct schema_desc *desc);
/* Any message with kind and apiVersion, served or not (Status, DeleteOptions, PodList...). Options
 * and Status are found in every api_version, since clients send them in their own. */
const struct schema_desc *schema_desc_find(struct str api_version, struct str kind);
const struct schema_subresource *schema_subresource_find(const struct schema_kind *k,
                                                         struct str name);
/* "apps/v1" -> "apps", "v1"; "v1" -> "", "v1". False when there are two slashes or an empty
 * version. */
bool schema_split_api_version(struct str api_version, struct str *ret_group,
                              struct str *ret_version);
/* kind and apiVersion of an object; absent where they are not strings. */
void schema_type_meta(const struct json *v, struct str *ret_api_version, struct str *ret_kind);
/* The kind objects of k are stored as. */
static inline const struct schema_kind *schema_stored(const struct schema_kind *k)
{
    return k->stored ? k->stored : schema_kinds[k->storage];
}
uint8_t schema_verb_parse(struct str verb); /* one bit of enum schema_verb; 0: unknown */

/* --- JSON (json_decode.c, json_encode.c, json_tree.c)
 * ----------------------------------------------------
 */

enum schema_unknown {
    SCHEMA_UNKNOWN_IGNORE, /* unknown and duplicate fields are dropped */
    SCHEMA_UNKNOWN_WARN,   /* and named in warnings */
    SCHEMA_UNKNOWN_STRICT, /* "strict decoding error: unknown field "spec.x", ..." */
};
#define SCHEMA_WARNINGS_MAX 32 /* further ones are counted only */

struct schema_decode {
    enum schema_unknown unknown;
    /* Out: `unknown field "spec.foo"`, `duplicate field "spec.bar"`, in the arena. */
    struct str warnings[SCHEMA_WARNINGS_MAX];
    unsigned n_warnings; /* may exceed the array */
};

/* Reads a tree into *msg (of desc->size bytes; overwritten). Strings borrow from the tree, so tree
 * and arena must live as long as msg; all else is in the arena. kind and apiVersion are skipped:
 * they must be text, which is not looked at. Null means absent. opts may be NULL: ignore; with
 * SCHEMA_DESC_REST it may hold warnings of custom_take already. On failure msg is in no defined
 * state.
 */
int schema_decode_json(const struct schema_desc *desc, const struct json *v, struct arena *a,
                       struct schema_decode *opts, void *msg, struct error *err) MUST_CHECK;
/* Parses text and reads it: both of the above in one, with the default limits. */
int schema_decode_text(const struct schema_desc *desc, struct str text, struct arena *a,
                       struct schema_decode *opts, void *msg, struct error *err) MUST_CHECK;

enum schema_encode_flags {
    SCHEMA_ENCODE_TYPE_META = 1 << 0, /* "kind" and "apiVersion" first */
};
/* Appends compact JSON in the form and order a Kubernetes server prints. Never fails but by the
 * buffer's own limit. */
void schema_encode_json(const struct schema_desc *desc, const void *msg, unsigned flags,
                        struct buf *b);
/* As a tree (json_tree.c); values are copied into the arena, names of fields are not. */
struct json *schema_to_json(const struct schema_desc *desc, const void *msg, unsigned flags,
                            struct arena *a);

/* --- Protobuf (pb_decode.c, pb_encode.c)
 * ---------------------------------------------------------- */

/* Raw message. Decoded strings borrow from `bytes`. Unknown fields are skipped. RAW fields must be
 * valid JSON and strings valid UTF-8. */
int schema_decode_pb(const struct schema_desc *desc, struct str bytes, struct arena *a, void *msg,
                     struct error *err) MUST_CHECK;
void schema_encode_pb(const struct schema_desc *desc, const void *msg, struct buf *b);
/* The same for the store: sets of fields are packed there (schema/fields.h). */
int schema_decode_pb_stored(const struct schema_desc *desc, struct str bytes, struct arena *a,
                            void *msg, struct error *err) MUST_CHECK;
void schema_encode_pb_stored(const struct schema_desc *desc, const void *msg, struct buf *b);

/* "k8s\0" and runtime.Unknown: what application/vnd.kubernetes.protobuf carries. */
struct schema_envelope {
    struct str api_version, kind;
    struct str raw; /* the message */
    struct str content_encoding, content_type;
};
bool schema_is_pb_envelope(struct str bytes);
int schema_decode_pb_envelope(struct str bytes, struct schema_envelope *ret,
                              struct error *err) MUST_CHECK;
void schema_encode_pb_envelope(const struct schema_desc *desc, const void *msg, struct buf *b);

/* --- Whole messages (copy.c, equal.c, convert.c)
 * --------------------------------------------------- */

void *schema_new(const struct schema_desc *desc, struct arena *a); /* zeroed */
/* Deep copy; nothing is shared with msg but static enum texts. */
void *schema_clone(const struct schema_desc *desc, const void *msg, struct arena *a);
void schema_clone_into(const struct schema_desc *desc, const void *msg, void *dst, struct arena *a);
/* Deep copy into one block of malloc, freed by free(). The struct is at its start. *ret_bytes may
 * be NULL. The copy's strings are not NUL terminated. */
void *schema_compact(const struct schema_desc *desc, const void *msg, size_t *ret_bytes);
/* Same meaning: absent and empty lists, maps and plain strings are equal; with SCHEMA_POINTER
 * absent and zero differ. Quantities compare by amount. */
bool schema_equal(const struct schema_desc *desc, const void *a, const void *b);
bool schema_is_empty(const struct schema_desc *desc, const void *msg); /* equal to a zeroed one */
/* A message of a kind as the kind it is stored as, and back. Shares everything with msg (shallow);
 * returns msg itself when the kind is stored as itself. */
const void *schema_to_storage(const struct schema_kind *k, const void *msg, struct arena *a);
const void *schema_from_storage(const struct schema_kind *k, const void *msg, struct arena *a);

/* --- Defaults and rules (default.c, validate.c, format.c)
 * ------------------------------------------- */

/* Fills in what the tables say of absent fields, at every depth. */
void schema_default(const struct schema_desc *desc, void *msg, struct arena *a);

/* Checks the rules of the tables: required, enum, range, format, length, uniqueness of list keys;
 * with `old` also immutable fields. Adds one cause for each breach (see error_cause); 0 or
 * -EBADMSG. The caller composes the message by error_invalid. ObjectMeta is not checked here
 * (schema_validate_meta). */
int schema_validate(const struct schema_desc *desc, const void *msg, const void *old,
                    struct error *err) MUST_CHECK;
/* The same for a part: causes start with `path`. */
int schema_validate_at(const struct schema_desc *desc, const void *msg, const void *old,
                       struct str path, struct error *err) MUST_CHECK;
/* NULL when s is well formed, else the sentence a Kubernetes server says about it (static). */
const char *schema_format_check(enum schema_format f, struct str s);

/* --- Access by path (path.c)
 * ------------------------------------------------------------------------ */

/* What a path leads to. For a message: desc and ptr. For a list or map as a whole: field, ptr to
 * the pointer, n. For a scalar or value: field and ptr to it. */
struct schema_ref {
    const struct schema_desc *desc;   /* of the message, when it is one; else NULL */
    const struct schema_field *field; /* NULL for the root */
    const void *ptr;
    bool whole; /* the list or map itself, not one element */
    uint32_t n; /* elements, when whole */
};
/* "status.podIP", "spec.containers[0].image", "metadata.labels.app", "metadata.labels['a.b/c']".
 * 1: found; 0: absent (a nil pointer, an index out of range, a key not there); -EINVAL: no such
 * field. */
int schema_get_path(const struct schema_desc *desc, const void *msg, struct str path,
                    struct schema_ref *ret) MUST_CHECK;
/* Appends a scalar as plain text (strings unquoted, times RFC 3339), anything else as JSON. */
void schema_ref_print(const struct schema_ref *r, struct buf *b);

/* --- For those who walk fields themselves
 * ------------------------------------------------------------ */

/* Address of a field's value inside msg; lists and maps: of their pointer. */
static inline void *schema_at(const struct schema_field *f, const void *msg)
{
    return (char *)(uintptr_t)msg + f->offset;
}
static inline uint32_t schema_count(const struct schema_field *f, const void *msg) /* lists, maps */
{
    return *(const uint32_t *)((const char *)msg + f->aux);
}
/* Elements of a list or entries of a map (struct str key first). */
static inline void *schema_elems(const struct schema_field *f, const void *msg)
{
    return *(void **)schema_at(f, msg);
}
/* The message of a plain or pointer message field; NULL when absent. */
static inline void *schema_sub(const struct schema_field *f, const void *msg)
{
    return f->flags & SCHEMA_POINTER ? *(void **)schema_at(f, msg) : schema_at(f, msg);
}
/* True when a field holds nothing: nil, or empty without a pointer. */
static inline bool schema_field_absent(const struct schema_field *f, const void *msg)
{
    return f->probe_size ? schema_probe_zero(f, msg) : schema_is_empty(f->msg, schema_at(f, msg));
}
/* Offset of the value inside a map entry. */
#define SCHEMA_MAP_VALUE sizeof(struct str)
