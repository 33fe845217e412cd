/* Small pure functions shared by controllers. */
#include "controllers/util.h"

#include "base/hash.h"
#include "schema/select.h"

/* ---- pods ---- */

const struct api_pod_condition *pod_condition(const struct api_pod *p, struct str type)
{
    for (uint32_t i = 0; i < p->status.n_conditions; i++)
        if (str_eq(p->status.conditions[i].type, type))
            return &p->status.conditions[i];
    return NULL;
}

bool pod_is_ready(const struct api_pod *p)
{
    const struct api_pod_condition *c = pod_condition(p, STR("Ready"));
    return c && str_is(c->status, "True");
}

usec_t pod_available_at(const struct api_pod *p, int32_t min_ready_s, usec_t now)
{
    const struct api_pod_condition *c = pod_condition(p, STR("Ready"));
    if (!c || !str_is(c->status, "True") || min_ready_s <= 0)
        return 0;
    usec_t at = c->last_transition_time.usec + (usec_t)min_ready_s * 1000000;
    return at > now ? at : 0;
}

bool pod_is_available(const struct api_pod *p, int32_t min_ready_s, usec_t now)
{
    return pod_is_ready(p) && pod_available_at(p, min_ready_s, now) == 0;
}

bool pod_is_terminated(const struct api_pod *p)
{
    return str_is(p->status.phase, "Succeeded") || str_is(p->status.phase, "Failed");
}

bool pod_is_active(const struct api_pod *p)
{
    return !pod_is_terminated(p) && !p->metadata.deletion_timestamp.set;
}

int32_t pod_restarts(const struct api_pod *p)
{
    int32_t max = 0;
    for (uint32_t i = 0; i < p->status.n_container_statuses; i++)
        max = MAX(max, p->status.container_statuses[i].restart_count);
    return max;
}

struct api_pod *pod_from_template(struct arena *a, const struct api_pod_template_spec *t,
                                  const struct schema_kind *owner_kind,
                                  const struct api_object_meta *owner)
{
    struct api_pod *p = ARENA_NEW(a, struct api_pod);
    p->spec = t->spec;
    p->metadata.labels = t->metadata.labels;
    p->metadata.n_labels = t->metadata.n_labels;
    p->metadata.annotations = t->metadata.annotations;
    p->metadata.n_annotations = t->metadata.n_annotations;
    p->metadata.finalizers = t->metadata.finalizers;
    p->metadata.n_finalizers = t->metadata.n_finalizers;
    p->metadata.namespace = owner->namespace;
    p->metadata.generate_name = arena_printf(a, "%.*s-", STR_ARG(owner->name));
    owner_set(a, &p->metadata, owner_kind, owner);
    return p;
}

struct str template_hash(struct arena *a, const struct api_pod_template_spec *t,
                         bool has_collisions, int32_t collisions)
{
    static const char LETTERS[] = "bcdfghjklmnpqrstvwxz2456789";
    struct api_pod_template_spec copy = *t;
    struct buf b = {0};
    kv_drop(a, &copy.metadata.labels, &copy.metadata.n_labels, STR("pod-template-hash"));
    schema_encode_json(&api_pod_template_spec_desc, &copy, 0, &b);
    if (has_collisions)
        buf_printf(&b, "#%d", collisions);
    uint64_t h = hash_fnv1a64(b.data, b.n);
    buf_fini(&b);
    char out[10];
    for (size_t i = 0; i < sizeof(out); i++, h /= sizeof(LETTERS) - 1)
        out[i] = LETTERS[h % (sizeof(LETTERS) - 1)];
    return arena_str(a, (struct str){out, sizeof(out)});
}

bool template_equal(const struct api_pod_template_spec *x, const struct api_pod_template_spec *y)
{
    struct arena a;
    struct api_pod_template_spec p = *x, q = *y;
    arena_init(&a, 0);
    kv_drop(&a, &p.metadata.labels, &p.metadata.n_labels, STR("pod-template-hash"));
    kv_drop(&a, &q.metadata.labels, &q.metadata.n_labels, STR("pod-template-hash"));
    bool equal = schema_equal(&api_pod_template_spec_desc, &p, &q);
    arena_fini(&a);
    return equal;
}

/* ---- owners ---- */

const struct api_owner_reference *owner_controller(const struct api_object_meta *m)
{
    for (uint32_t i = 0; i < m->n_owner_references; i++)
        if (m->owner_references[i].controller)
            return &m->owner_references[i];
    return NULL;
}

bool owner_is_controlled_by(const struct api_object_meta *m, struct str uid)
{
    const struct api_owner_reference *r = owner_controller(m);
    return r && str_eq(r->uid, uid);
}

void owner_set(struct arena *a, struct api_object_meta *m, const struct schema_kind *kind,
               const struct api_object_meta *owner)
{
    struct api_owner_reference *v =
        ARENA_NEW_N(a, struct api_owner_reference, m->n_owner_references + 1);
    v[0] = (struct api_owner_reference){
        .api_version = str_z(kind->api_version),
        .kind = str_z(kind->kind),
        .name = owner->name,
        .uid = owner->uid,
        .has_controller = true,
        .controller = true,
        .has_block_owner_deletion = true,
        .block_owner_deletion = true,
    };
    for (uint32_t i = 0; i < m->n_owner_references; i++)
        v[i + 1] = m->owner_references[i];
    m->owner_references = v;
    m->n_owner_references++;
}

void owner_index(struct object *o, client_cache_emit_fn emit, void *ctx)
{
    const struct api_object_meta *m = object_meta(o);
    for (uint32_t i = 0; i < m->n_owner_references; i++)
        emit(ctx, m->owner_references[i].uid);
}

void node_name_index(struct object *o, client_cache_emit_fn emit, void *ctx)
{
    const struct api_pod *p = OBJECT_MSG(o, api_pod);
    if (!str_empty(p->spec.node_name))
        emit(ctx, p->spec.node_name);
}

/* ---- maps, lists ---- */

struct str meta_label(const struct api_object_meta *m, struct str key)
{
    const struct str *v = m->n_labels ? kv_str_get(m->labels, m->n_labels, key) : NULL;
    return v ? *v : STR_NONE;
}

struct str meta_annotation(const struct api_object_meta *m, struct str key)
{
    const struct str *v =
        m->n_annotations ? kv_str_get(m->annotations, m->n_annotations, key) : NULL;
    return v ? *v : STR_NONE;
}

static uint32_t kv_place(const struct kv_str *v, uint32_t n, struct str key)
{
    uint32_t lo = 0, hi = n;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (str_cmp(v[mid].key, key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void kv_put(struct arena *a, struct kv_str **v, uint32_t *n, struct str key, struct str value)
{
    uint32_t at = kv_place(*v, *n, key);
    bool there = at < *n && str_eq((*v)[at].key, key);
    struct kv_str *copy = ARENA_NEW_N(a, struct kv_str, *n + 1);
    for (uint32_t i = 0; i < at; i++)
        copy[i] = (*v)[i];
    copy[at] = (struct kv_str){key, value};
    for (uint32_t i = at + there; i < *n; i++)
        copy[i + 1 - there] = (*v)[i];
    *v = copy;
    *n += !there;
}

void kv_drop(struct arena *a, struct kv_str **v, uint32_t *n, struct str key)
{
    uint32_t at = kv_place(*v, *n, key);
    if (at >= *n || !str_eq((*v)[at].key, key))
        return;
    struct kv_str *copy = ARENA_NEW_N(a, struct kv_str, *n);
    for (uint32_t i = 0, k = 0; i < *n; i++)
        if (i != at)
            copy[k++] = (*v)[i];
    *v = copy;
    *n -= 1;
}

bool has_str(const struct str *v, uint32_t n, struct str s)
{
    for (uint32_t i = 0; i < n; i++)
        if (str_eq(v[i], s))
            return true;
    return false;
}

struct str json_quote(struct arena *a, struct str s)
{
    struct buf b = {0};
    buf_add_char(&b, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\')
            buf_printf(&b, "\\%c", c);
        else if (c < 0x20)
            buf_printf(&b, "\\u%04x", c);
        else
            buf_add_char(&b, (char)c);
    }
    buf_add_char(&b, '"');
    struct str out = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return out;
}

struct str finalizers_patch_without(struct arena *a, const struct api_object_meta *m,
                                    struct str finalizer)
{
    struct buf b = {0};
    uint32_t k = 0;
    buf_printf(&b, "{\"metadata\":{\"uid\":\"%.*s\",\"resourceVersion\":\"%.*s\",\"finalizers\":[",
               STR_ARG(m->uid), STR_ARG(m->resource_version));
    for (uint32_t i = 0; i < m->n_finalizers; i++) {
        if (str_eq(m->finalizers[i], finalizer))
            continue;
        if (k++)
            buf_add_char(&b, ',');
        buf_add_str(&b, json_quote(a, m->finalizers[i]));
    }
    buf_add_lit(&b, "]}}");
    struct str out = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return out;
}
