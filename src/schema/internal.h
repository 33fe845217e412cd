/* What the files of the engine share with each other and with nobody else. */
#pragma once

#include "schema/schema.h"

/* What a present but empty list, map or string points to. */
extern const max_align_t schema_empty;
#define SCHEMA_EMPTY ((void *)(uintptr_t)&schema_empty)

/* The path to the value at hand, kept on the stack as frames and printed only when something is
 * wrong. */
struct schema_frame {
    const struct schema_frame *up;
    struct str name; /* member or map key; absent: an index */
    uint32_t index;
    bool map_key;
};
/* "spec.containers[0].name", map keys as "labels[a/b]"; with plain, indices and keys are left out.
 */
void schema_frame_print(const struct schema_frame *f, bool plain, struct buf *b);

/* The static text equal to s (an enum value or the default of the field), or s itself. */
struct str schema_intern(const struct schema_rules *r, struct str s);
static inline bool schema_is_static(const char *p)
{
    return (p >= schema_text && p < schema_text + schema_text_size) ||
           p == (const char *)&schema_empty;
}

/* Sorts map entries by key and drops all but the last of equal keys; returns how many are left. */
uint32_t schema_map_sort(void *entries, uint32_t n, size_t entry_size, bool *ret_duplicates);

/* The field that stands for the values of map field f, so that they can be treated as elements. */
static inline bool schema_is_scalar_str(const struct schema_field *f)
{
    return f->type == SCHEMA_STRING || f->type == SCHEMA_BYTES || f->type == SCHEMA_RAW;
}

/* convert_hpa.c: HorizontalPodAutoscaler of autoscaling/v1 as v2 and back; msg is not changed, what
 * can be is shared with it. */
const void *convert_hpa1_to_storage(const void *msg, struct arena *a);
const void *convert_hpa1_from_storage(const void *msg, struct arena *a);

/* --- Raw fields that are described (f->msg), in protobuf (pb_shape.c) ---
 * What stands for a JSON value that may be of two types; the numbers are JSONSchemaPropsOrBool's
 * and JSONSchemaPropsOrArray's. */
enum pb_union {
    PB_ALONE,   /* the message itself */
    PB_OR_BOOL, /* {allows, schema} */
    PB_OR_LIST, /* {schema, schemas...} */
};
enum {
    PB_OR_BOOL_ALLOWS = 1,
    PB_OR_BOOL_SCHEMA = 2,
    PB_OR_LIST_ONE = 1,
    PB_OR_LIST_MANY = 2,
};
enum pb_union schema_pb_union(const struct schema_field *f);
/* text: valid JSON. */
void schema_pb_put_shape(const struct schema_field *f, uint32_t number, struct str text,
                         struct buf *b);

/* Whether schema_encode_json prints a field at all. */
static inline bool schema_field_shown(const struct schema_field *f, const void *msg)
{
    if (f->flags & SCHEMA_ALWAYS)
        return true;
    if (!schema_probe_zero(f,
                           msg)) /* plain messages have no probe and are printed even when empty */
        return f->probe_size || !(f->flags & SCHEMA_OMITZERO) || !schema_field_absent(f, msg);
    /* Absent; but these are structs or have marshallers in Go, where omitempty does nothing. */
    return f->type >= SCHEMA_QUANTITY &&
           !(f->flags & (SCHEMA_LIST | SCHEMA_MAP | SCHEMA_POINTER | SCHEMA_OMITZERO));
}

/* Other parts of it: a field's value, one element or map value. */
void schema_field_print(const struct schema_field *f, const void *msg, struct buf *b);
void schema_value_print(const struct schema_field *f, const void *p, struct buf *b);
/* Parts of schema_equal. */
bool schema_field_equal(const struct schema_field *f, const void *a, const void *b);
bool schema_value_equal(const struct schema_field *f, const void *x, const void *y);
