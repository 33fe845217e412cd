/* From a record found at open to an object in the index. A record of a kind this program does not
 * serve (written by a newer one, or a custom resource not yet declared) stays on disk as it is and
 * is counted. */
#include "store/internal.h"

static const struct schema_kind *kind_of_record(const struct store_record *rec)
{
    struct str plural = rec->resource, group;

    if (!str_cut(&plural, '/', &group))
        return NULL;
    return schema_kind_by_plural(group, rec->version, plural);
}

static int decode(const struct schema_kind *kind, const struct store_record *rec, struct arena *a,
                  void *msg, struct error *err)
{
    if (rec->is_json)
        return schema_decode_text(kind->desc, rec->bytes, a, NULL, msg, err);
    return schema_decode_pb_stored(kind->desc, rec->bytes, a, msg, err);
}

int store_load_record(void *arg, const struct store_record *rec, struct error *err)
{
    struct store *s = arg;
    const struct schema_kind *kind = rec->object ? rec->object->kind : kind_of_record(rec);
    struct object *o, *was;
    struct arena a = {0};
    void *msg;
    int r;

    if (!kind) {
        s->unknown_records++;
        return 0;
    }
    if (rec->object) {
        o = object_ref(rec->object);
    } else {
        msg = schema_new(kind->desc, &a);
        r = decode(kind, rec, &a, msg, err);
        if (r < 0) {
            error_prefix(err, "%.*s \"%.*s\" in namespace \"%.*s\" cannot be read",
                         STR_ARG(rec->resource), STR_ARG(rec->name), STR_ARG(rec->ns));
            arena_fini(&a);
            return r;
        }
        o = object_new(kind, msg, rec->rev);
        arena_fini(&a);
    }
    if (!str_eq(object_name(o), rec->name) || !str_eq(object_ns(o), rec->ns) ||
        o->rev != rec->rev) {
        (void)object_unref(o);
        return error_set(err, REASON_INTERNAL, "the record of %.*s \"%.*s\" holds another object",
                         STR_ARG(rec->resource), STR_ARG(rec->name));
    }
    s->object_bytes += o->msg_bytes;
    was = index_set(&store_kind_of(s, kind)->index, o);
    (void)object_unref(o);
    if (was) {
        (void)object_unref(was);
        return error_set(err, REASON_INTERNAL, "%.*s \"%.*s\" is there twice",
                         STR_ARG(rec->resource), STR_ARG(rec->name));
    }
    return 0;
}
