/* From a record found at open to an object in the index. A record of a kind this program does not
 * serve (written by a newer one, or a custom resource not yet declared) stays on disk as it is, is
 * counted, and kept aside: kinds declared at run time are themselves among the records, in any
 * order, so their objects can be read only when all is loaded (store_adopt). */
#include "base/mem.h"
#include "schema/custom.h"
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

static char *put(char *at, struct str s, struct str *ret)
{
    if (s.n)
        memcpy(at, s.p, s.n);
    *ret = (struct str){at, s.n};
    return at + s.n;
}

static void orphan_keep(struct store *s, const struct store_record *rec)
{
    struct orphan *o = xmalloc(sizeof(*o) + rec->resource.n + rec->ns.n + rec->name.n +
                               rec->version.n + rec->bytes.n);
    char *at = (char *)(o + 1);
    at = put(at, rec->resource, &o->resource);
    at = put(at, rec->ns, &o->ns);
    at = put(at, rec->name, &o->name);
    at = put(at, rec->version, &o->version);
    (void)put(at, rec->bytes, &o->bytes);
    o->rev = rec->rev;
    o->is_json = rec->is_json;
    o->next = s->orphans;
    s->orphans = o;
    s->unknown_records++;
}

void store_orphans_free(struct store *s)
{
    while (s->orphans) {
        struct orphan *o = s->orphans;
        s->orphans = o->next;
        free(o);
    }
}

static int load_as(struct store *s, const struct schema_kind *kind, const struct store_record *rec,
                   struct error *err);

int store_adopt(struct store *s, const struct schema_kind *kind, struct error *err)
{
    int result = 0;
    struct buf resource = {0};
    buf_printf(&resource, "%s/%s", kind->group, kind->plural);
    for (struct orphan **link = &s->orphans; *link;) {
        struct orphan *o = *link;
        const struct store_record rec = {.resource = o->resource,
                                         .ns = o->ns,
                                         .name = o->name,
                                         .rev = o->rev,
                                         .is_json = o->is_json,
                                         .bytes = o->bytes};
        int r = 1;
        if (str_eq(o->resource, buf_str(&resource))) {
            const struct schema_kind *as = custom_variant(kind, o->version);
            r = load_as(s, as ? as : kind, &rec, err);
        }
        if (r < 0)
            result = r;
        if (r != 0) {
            link = &o->next;
            continue;
        }
        *link = o->next;
        free(o);
        s->unknown_records--;
    }
    buf_fini(&resource);
    return result;
}

int store_load_record(void *arg, const struct store_record *rec, struct error *err)
{
    struct store *s = arg;
    const struct schema_kind *kind = rec->object ? rec->object->kind : kind_of_record(rec);

    if (!kind) {
        orphan_keep(s, rec);
        return 0;
    }
    return load_as(s, kind, rec, err);
}

static int load_as(struct store *s, const struct schema_kind *kind, const struct store_record *rec,
                   struct error *err)
{
    struct object *o, *was;
    struct arena a = {0};
    void *msg;
    int r;

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
