/* Descriptors: what the engine knows of a type. tools/gen_types.py writes constant tables of these
 * from the .proto files of api/; custom.c makes those of custom resources at run time. The shape of
 * the structs they describe is drawn in the generated api/types.gen.h:
 *
 *   string, bytes, raw JSON   struct str NAME              absent: p == NULL
 *   bool, int32, int64, ...   T NAME                       with SCHEMA_POINTER also `bool has_NAME`
 *   message                   struct api_x NAME            with SCHEMA_POINTER `struct api_x *NAME`
 *   list                      T *NAME; uint32_t n_NAME     nil: NULL; elements contiguous
 *   map                       struct kv_x *NAME; uint32_t n_NAME   sorted by key, keys unique;
 *                                                          struct str key first, then the value
 *   values                    struct quantity, timestamp, duration, int_or_str by value
 */
#pragma once

#include "base/str.h"

struct structural_node;

enum schema_type {
    SCHEMA_BOOL,
    SCHEMA_INT32,
    SCHEMA_INT64,
    SCHEMA_DOUBLE,
    SCHEMA_STRING,
    SCHEMA_BYTES, /* JSON: base64 */
    SCHEMA_MSG,
    SCHEMA_QUANTITY,
    SCHEMA_TIME,
    SCHEMA_MICRO_TIME,
    SCHEMA_DURATION,
    SCHEMA_INT_OR_STR,
    SCHEMA_RAW, /* JSON text kept as it came */
    _SCHEMA_TYPE_MAX,
};

enum schema_flags {
    SCHEMA_POINTER = 1 << 0, /* absent and zero differ */
    SCHEMA_LIST = 1 << 1,
    SCHEMA_MAP = 1 << 2,
    SCHEMA_ALWAYS = 1 << 3,   /* printed even when empty */
    SCHEMA_INLINE = 1 << 4,   /* JSON members belong to the parent (a by-value message) */
    SCHEMA_OMITZERO = 1 << 5, /* a by-value struct left out when zero */
    SCHEMA_REQUIRED = 1 << 6, /* OpenAPI: required */
    SCHEMA_NONEMPTY = 1 << 7, /* empty: "Required value" */
    SCHEMA_IMMUTABLE = 1 << 8,
    SCHEMA_ATOMIC = 1 << 9,    /* map or message replaced as a whole by apply */
    SCHEMA_DEFAULTS = 1 << 10, /* this field, or something below it, has a default */
    SCHEMA_CHECKS = 1 << 11, /* this field, or something below it, is checked by schema_validate */
    SCHEMA_UNIQUE = 1 << 12,
    SCHEMA_REST = 1 << 13, /* raw: an object of all members that no other field is named by */
};

enum schema_list_type {
    SCHEMA_LIST_ATOMIC, /* also when nothing is said */
    SCHEMA_LIST_SET,
    SCHEMA_LIST_MAP,
};
enum schema_patch_strategy {
    SCHEMA_PATCH_MERGE = 1,
    SCHEMA_PATCH_RETAIN_KEYS = 2,
    SCHEMA_PATCH_REPLACE = 4,
};

/* Same order as enum Format of api/davit/options.proto. */
enum schema_format {
    SCHEMA_FORMAT_ANY,
    SCHEMA_FORMAT_DNS_LABEL,
    SCHEMA_FORMAT_DNS_SUBDOMAIN,
    SCHEMA_FORMAT_DNS1035_LABEL,
    SCHEMA_FORMAT_QUALIFIED_NAME,
    SCHEMA_FORMAT_LABEL_VALUE,
    SCHEMA_FORMAT_IP,
    SCHEMA_FORMAT_CIDR,
    SCHEMA_FORMAT_PORT,
    SCHEMA_FORMAT_PORT_OR_NAME,
    SCHEMA_FORMAT_PORT_NAME,
    SCHEMA_FORMAT_ABS_PATH,
    SCHEMA_FORMAT_ENV_NAME,
    SCHEMA_FORMAT_CONFIG_KEY,
    SCHEMA_FORMAT_PATH_SEGMENT,
    SCHEMA_FORMAT_IP_OR_EMPTY,
    SCHEMA_FORMAT_NON_NEGATIVE,
    SCHEMA_FORMAT_POSITIVE,
    _SCHEMA_FORMAT_MAX,
};

struct schema_enum {
    const char *name;
    const struct str *texts; /* static; sorted bytewise */
    uint16_t n_texts;
    bool open; /* other values are accepted */
};

/* The rarely needed facts of a field. */
struct schema_rules {
    const char *default_text; /* NULL: none; "{}" for an empty message */
    const struct schema_enum *enum_;
    const char *const *list_map_keys; /* NULL terminated; NULL: none */
    const char *merge_key;            /* strategic merge patch; NULL: none */
    int64_t min, max;                 /* checked when min <= max and has_range */
    uint32_t max_items, max_len;      /* 0: none */
    uint8_t list_type, patch_strategy, format;
    bool has_min, has_max;
};

struct schema_field {
    const char *name;                 /* JSON name */
    const struct schema_desc *msg;    /* of SCHEMA_MSG; of SCHEMA_RAW what describes it, or NULL */
    const struct schema_rules *rules; /* never NULL */
    uint16_t offset;
    uint16_t aux;       /* offset of n_NAME (list, map) or has_NAME (pointer to a scalar) */
    uint16_t flags;     /* enum schema_flags */
    uint16_t number;    /* protobuf field number */
    uint16_t elem_size; /* of one element (list), one entry (map), else of the value itself */
    uint16_t probe;     /* the field is absent when the bytes here are all zero... */
    uint8_t probe_size; /* ...1, 4 or 8 of them; 0: a plain message, see schema_is_empty */
    uint8_t type;       /* enum schema_type, of the element or map value */
    uint8_t name_len;
};
static_assert(sizeof(struct schema_field) == 40, "rows of the tables should stay small");

/* The probe of a field finds only zeros. */
static inline bool schema_probe_zero(const struct schema_field *f, const void *msg)
{
    const char *p = (const char *)msg + f->probe;
    switch (f->probe_size) {
    case 8:
        return *(const uint64_t *)(const void *)p == 0;
    case 4:
        return *(const uint32_t *)(const void *)p == 0;
    case 1:
        return *p == 0;
    default:
        return false;
    }
}

enum schema_desc_flags {
    SCHEMA_DESC_KIND = 1 << 0,    /* has kind and apiVersion */
    SCHEMA_DESC_OBJECT = 1 << 1,  /* struct api_object_meta is its first member */
    SCHEMA_DESC_OF_LIST = 1 << 2, /* has api_list_meta and items */
    SCHEMA_DESC_AS_LIST = 1 << 3, /* JSON is the array of the only field */
    SCHEMA_DESC_ATOMIC = 1 << 4,
    SCHEMA_DESC_DEFAULTS = 1 << 5, /* it, or something below it, has defaults */
    SCHEMA_DESC_CHECKS = 1 << 6,
    SCHEMA_DESC_META = 1 << 7,     /* it is ObjectMeta */
    SCHEMA_DESC_REPEATED = 1 << 8, /* has lists or maps */
    SCHEMA_DESC_REST = 1 << 9,     /* has a field with SCHEMA_REST */
};

struct schema_desc {
    const char *name;  /* "Pod": also the kind of kinds */
    const char *group; /* "" for core */
    const char *version;
    const char *api_version; /* "v1", "apps/v1" */
    const char *openapi;     /* "io.k8s.api.core.v1.Pod" */
    /* Its text for people, then those of the fields in json, in order; each is closed by a NUL and
     * may be empty. One pointer for all, as each has to be relocated at start, in memory that is
     * then no longer shared. */
    const char *docs;
    const struct schema_field *fields; /* as declared; the protobuf view */
    const struct schema_field *json; /* inline messages flattened; the JSON view, in print order */
    const uint8_t *json_hash;        /* slot -> index into json + 1; open addressing; 0 empty */
    const uint8_t *by_number;        /* number -> index into fields + 1 */
    uint16_t n_fields, n_json;
    uint16_t hash_mask;
    uint16_t max_number;
    uint16_t size;  /* of the struct */
    uint16_t flags; /* enum schema_desc_flags */
    /* Of a served custom kind: what is known of the members that are kept as JSON. */
    const struct structural_node *schema;
};

/* Hash of JSON member names; tools/gen_types.py computes the same. n > 0. */
static inline uint32_t schema_name_hash(const char *p, size_t n)
{
    uint32_t h = (uint32_t)n * 0x9E37u + (uint8_t)p[0] * 0x85EBu + (uint8_t)p[n >> 1] * 0xC2B3u +
                 (uint8_t)p[n - 1] * 0x27D5u;
    return h ^ (h >> 9);
}

/* Field of a JSON name, or NULL. */
static inline const struct schema_field *schema_field_find(const struct schema_desc *d,
                                                           const char *p, size_t n)
{
    if (n == 0 || n > 255 || d->n_json == 0)
        return NULL;
    for (uint32_t h = schema_name_hash(p, n);; h++) {
        unsigned i = d->json_hash[h & d->hash_mask];
        if (i == 0)
            return NULL;
        const struct schema_field *f = &d->json[i - 1];
        if (f->name_len == n && memcmp(f->name, p, n) == 0)
            return f;
    }
}
static inline const struct schema_field *schema_field_by_number(const struct schema_desc *d,
                                                                uint32_t number)
{
    unsigned i = number <= d->max_number ? d->by_number[number] : 0;
    return i ? &d->fields[i - 1] : NULL;
}

/* --- Kinds that are served ----------------------------------------------------------------------
 */

enum schema_verb {
    SCHEMA_VERB_GET = 1 << 0,
    SCHEMA_VERB_LIST = 1 << 1,
    SCHEMA_VERB_WATCH = 1 << 2,
    SCHEMA_VERB_CREATE = 1 << 3,
    SCHEMA_VERB_UPDATE = 1 << 4,
    SCHEMA_VERB_PATCH = 1 << 5,
    SCHEMA_VERB_DELETE = 1 << 6,
    SCHEMA_VERB_DELETECOLLECTION = 1 << 7,
};
#define SCHEMA_VERBS_ALL 0xff

struct schema_column {
    const char *name;
    const char *type;   /* string, integer, number, boolean, date */
    const char *format; /* "" or "name" */
    const char *path;   /* dotted path of JSON names, or NULL; lists are counted or joined */
    const char *hook;   /* name of a function of src/schema/table_hooks.c, or NULL */
    const char *description;
    const char *absent; /* text of a path that leads nowhere; NULL: none */
    int32_t priority;   /* 0 always, 1 with -o wide */
};

struct schema_subresource {
    const char *name;
    const struct schema_desc *desc; /* of its body; the kind's own where it has none of its own */
    uint8_t verbs;                  /* enum schema_verb */
};

/* Moves one field of a kind to one of its storage kind and back: indices into `fields`. Both have
 * equal C types. */
struct schema_convert {
    uint8_t own, stored;
};

struct schema_kind {
    uint16_t id;      /* enum kind_id */
    uint16_t storage; /* id of the kind it is stored as; its own id mostly */
    const struct schema_desc *desc;
    const struct schema_desc *list_desc; /* NULL: cannot be listed */
    const char *group, *version, *api_version;
    const char *kind;      /* "Pod" */
    const char *list_kind; /* "PodList"; NULL: cannot be listed */
    const char *plural, *singular;
    const char *const *short_names; /* NULL terminated */
    const char *const *categories;  /* NULL terminated */
    const char *const
        *selectable; /* field selectors beyond metadata.name/namespace; NULL terminated */
    const struct schema_subresource *subresources;
    const struct schema_column *columns;
    const struct schema_convert *convert; /* when stored as another kind */
    const char *convert_hook;             /* or the name of a pair of functions in convert.c */
    uint8_t n_subresources, n_columns, n_convert;
    uint8_t verbs;       /* enum schema_verb */
    uint8_t name_format; /* enum schema_format of metadata.name */
    bool namespaced;
    bool generation;     /* metadata.generation counts changes of all but metadata and status */
    const char *warning; /* told to clients that use a deprecated version; NULL: it is not */
    const struct custom *custom;      /* NULL: a kind of the tables; see custom.h */
    const struct schema_kind *stored; /* what a custom kind is stored as; NULL: see storage */
};
