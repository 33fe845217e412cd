/* Lists and maps, whatever they are made of: counting, walking, finding. JSON trees are linked
 * lists, so big arrays and objects get an index when something is looked up in them by place or
 * name: a rule that does so in a loop must not become quadratic. */
#include "base/hash.h"
#include "cel/internal.h"

#define INDEX_FROM 16 /* smaller ones are walked */

struct json_index {
    const struct json *of; /* NULL: free */
    const struct json **v; /* array: by place; object: by hash */
    uint32_t mask;         /* of objects */
};

/* --- Index of JSON ------------------------------------------------------------------------------
 */

static uint32_t pointer_hash(const void *p)
{
    uint64_t h = (uint64_t)(uintptr_t)p * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(h >> 33);
}

static struct json_index *index_slot(struct json_index *v, uint32_t cap, const struct json *of)
{
    uint32_t i = pointer_hash(of) & (cap - 1);
    while (v[i].of && v[i].of != of)
        i = (i + 1) & (cap - 1);
    return &v[i];
}

static bool index_grow(struct cel_eval *c)
{
    uint32_t cap = c->cap_json_index ? c->cap_json_index * 2 : 16;
    struct json_index *v = cel_alloc(c, cap * sizeof *v);
    if (!v)
        return false;
    memset(v, 0, cap * sizeof *v);
    for (uint32_t i = 0; i < c->cap_json_index; i++)
        if (c->json_index[i].of)
            *index_slot(v, cap, c->json_index[i].of) = c->json_index[i];
    c->json_index = v;
    c->cap_json_index = cap;
    return true;
}

static struct json_index *index_of(struct cel_eval *c, const struct json *of)
{
    if (c->cap_json_index) {
        struct json_index *x = index_slot(c->json_index, c->cap_json_index, of);
        if (x->of)
            return x;
    }
    if (c->n_json_index * 2 >= c->cap_json_index && !index_grow(c))
        return NULL;
    struct json_index *x = index_slot(c->json_index, c->cap_json_index, of);
    uint32_t n = of->n, i = 0;
    if (of->type == JSON_OBJ)
        for (n = 32; n < of->n * 2u; n *= 2)
            ;
    const struct json **v = cel_alloc(c, n * sizeof *v);
    if (!v || !cel_work(c, of->n))
        return NULL;
    memset(v, 0, n * sizeof *v);
    json_for_each(k, of)
    {
        if (of->type == JSON_ARR) {
            v[i++] = k;
            continue;
        }
        uint32_t h = (uint32_t)hash_bytes(k->key.p, k->key.n) & (n - 1);
        while (v[h] && !str_eq(v[h]->key, k->key))
            h = (h + 1) & (n - 1);
        v[h] = k; /* the last of duplicates */
    }
    *x = (struct json_index){of, v, n - 1};
    c->n_json_index++;
    return x;
}

const struct json *cel_json_at(struct cel_eval *c, const struct json *arr, uint64_t i)
{
    if (i >= arr->n)
        return NULL;
    struct json_index *x = arr->n > INDEX_FROM ? index_of(c, arr) : NULL;
    return x ? x->v[i] : json_at(arr, i);
}

const struct json *cel_json_get(struct cel_eval *c, const struct json *obj, struct str key)
{
    struct json_index *x = obj->type == JSON_OBJ && obj->n > INDEX_FROM ? index_of(c, obj) : NULL;
    if (!x)
        return json_get(obj, key);
    uint32_t h = (uint32_t)hash_bytes(key.p, key.n) & x->mask;
    while (x->v[h] && !str_eq(x->v[h]->key, key))
        h = (h + 1) & x->mask;
    return x->v[h];
}

/* --- Maps of ours -------------------------------------------------------------------------------
 */

struct cel_map *cel_map_new(struct cel_eval *c)
{
    struct cel_map *m = cel_alloc(c, sizeof *m);
    if (m)
        *m = (struct cel_map){0};
    return m;
}

/* Equal keys hash alike, whatever number type they are of. */
static uint64_t key_hash(const struct cel_value *k)
{
    switch (k->type) {
    case CEL_STRING:
        return hash_bytes(k->s.p, k->s.n);
    case CEL_DOUBLE:
        if (k->d >= 0 && k->d < 18446744073709551616.0)
            return (uint64_t)k->d * UINT64_C(0x9E3779B97F4A7C15);
        return k->d < 0 && k->d > -9.3e18 ? (uint64_t)(int64_t)k->d * UINT64_C(0x9E3779B97F4A7C15)
                                          : 0;
    case CEL_BOOL:
        return k->b;
    default:
        return k->u * UINT64_C(0x9E3779B97F4A7C15);
    }
}

static int64_t map_find(const struct cel_map *m, const struct cel_value *key)
{
    if (!m->slots) {
        for (uint32_t i = 0; i < m->n; i++)
            if (cel_equal(NULL, &m->keys[i], key))
                return i;
        return -1;
    }
    uint32_t h = (uint32_t)(key_hash(key) >> 20) & m->mask;
    for (; m->slots[h]; h = (h + 1) & m->mask)
        if (cel_equal(NULL, &m->keys[m->slots[h] - 1], key))
            return m->slots[h] - 1;
    return -1;
}

static bool map_grow(struct cel_eval *c, struct cel_map *m)
{
    uint32_t cap = m->cap ? m->cap * 2 : 8;
    struct cel_value *keys = cel_alloc(c, cap * sizeof *keys),
                     *values = cel_alloc(c, cap * sizeof *values);
    uint32_t *slots = cap > 8 ? cel_alloc(c, cap * 2 * sizeof *slots) : NULL;
    if (!keys || !values || (cap > 8 && !slots))
        return false;
    if (m->n) {
        memcpy(keys, m->keys, m->n * sizeof *keys);
        memcpy(values, m->values, m->n * sizeof *values);
    }
    m->keys = keys;
    m->values = values;
    m->cap = cap;
    m->slots = slots;
    m->mask = cap * 2 - 1;
    if (slots) {
        memset(slots, 0, cap * 2 * sizeof *slots);
        for (uint32_t i = 0; i < m->n; i++) {
            uint32_t h = (uint32_t)(key_hash(&keys[i]) >> 20) & m->mask;
            while (slots[h])
                h = (h + 1) & m->mask;
            slots[h] = i + 1;
        }
    }
    return true;
}

int cel_map_put(struct cel_eval *c, struct cel_map *m, const struct cel_value *key,
                const struct cel_value *value)
{
    if (map_find(m, key) >= 0)
        return -EEXIST;
    if (m->n == m->cap && !map_grow(c, m))
        return -ENOMEM;
    m->keys[m->n] = *key;
    m->values[m->n++] = *value;
    if (m->slots) {
        uint32_t h = (uint32_t)(key_hash(key) >> 20) & m->mask;
        while (m->slots[h])
            h = (h + 1) & m->mask;
        m->slots[h] = m->n;
    }
    return 0;
}

bool cel_list_add(struct cel_eval *c, struct list_builder *l, const struct cel_value *v)
{
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? l->cap * 2 : 8;
        struct cel_value *nv = cap > l->cap ? cel_alloc(c, (size_t)cap * sizeof *nv) : NULL;
        if (!nv)
            return false;
        if (l->n)
            memcpy(nv, l->v, l->n * sizeof *nv);
        l->v = nv;
        l->cap = cap;
    }
    l->v[l->n++] = *v;
    return true;
}

/* --- Finding ------------------------------------------------------------------------------------
 */

int cel_list_get(struct cel_eval *c, const struct cel_value *list, uint64_t i,
                 struct cel_value *ret)
{
    if (i >= list->n)
        return 0;
    if (list->rep == REP_ARRAY) {
        *ret = ((const struct cel_value *)list->p)[i];
    } else if (list->rep == REP_JSON) {
        const struct cel_type *t = list->aux;
        *ret = cel_read_json(c, cel_json_at(c, list->p, i), t ? t->elem : NULL);
    } else {
        const struct schema_field *f = list->aux;
        *ret = cel_read_field(c, f, (const char *)list->p + i * f->elem_size,
                              list->flags & VALUE_PLAIN);
    }
    return 1;
}

/* Maps of the schema are sorted by key. */
static const char *field_find(const struct cel_value *map, struct str key)
{
    const struct schema_field *f = map->aux;
    uint32_t lo = 0, hi = map->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const char *p = (const char *)map->p + (size_t)mid * f->elem_size;
        int r = str_cmp(*(const struct str *)(const void *)p, key);
        if (r == 0)
            return p;
        if (r < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

int cel_map_get(struct cel_eval *c, const struct cel_value *map, const struct cel_value *key,
                struct cel_value *ret)
{
    if (map->rep == REP_ARRAY) {
        const struct cel_map *m = map->p;
        int64_t i = map_find(m, key);
        if (i < 0)
            return 0;
        *ret = m->values[i];
        return 1;
    }
    if (key->type != CEL_STRING)
        return 0;
    if (map->rep == REP_FIELD) {
        const char *p = field_find(map, key->s);
        if (!p)
            return 0;
        *ret = cel_read_field(c, map->aux, p + sizeof(struct str), map->flags & VALUE_PLAIN);
        return 1;
    }
    return cel_member_get(c, map, key->s, NULL, ret);
}

/* --- Walking ------------------------------------------------------------------------------------
 */

uint32_t cel_count(struct cel_eval *c, const struct cel_value *v)
{
    if (v->type == CEL_LIST || v->rep == REP_FIELD || v->rep == REP_ARRAY)
        return v->rep == REP_ARRAY && v->type != CEL_LIST ? ((const struct cel_map *)v->p)->n
                                                          : v->n;
    if (v->rep == REP_JSON)
        return v->n;
    if (v->rep != REP_MSG)
        return 0;
    const struct schema_desc *d = v->aux;
    uint32_t n = v->flags & VALUE_META && d->flags & SCHEMA_DESC_KIND ? 2 : 0;
    for (uint32_t i = 0; (i = cel_msg_next(v, i)) < d->n_json; i++)
        n++;
    return n;
}

void cel_iter_init(struct cel_iter *it, struct cel_eval *c, const struct cel_value *v)
{
    *it = (struct cel_iter){.c = c, .of = *v};
    if (v->rep == REP_JSON)
        it->node = ((const struct json *)v->p)->first;
}

static bool next_json(struct cel_iter *it, struct cel_value *key, struct cel_value *value)
{
    const struct json *k = it->node;
    const struct cel_type *t = it->of.aux;
    if (!k)
        return false;
    it->node = k->next;
    if (it->of.type == CEL_LIST)
        *key = cel_int(it->i);
    else
        *key = cel_string(k->key);
    it->i++;
    if (value) {
        const struct cel_type *hint = NULL;
        if (t && t->kind == CEL_OBJECT)
            hint = t->provider && t->provider->known ? t->provider->known(t, k->key) : NULL;
        else if (t)
            hint = t->elem;
        *value = cel_read_json(it->c, k, hint);
    }
    return true;
}

static bool next_msg(struct cel_iter *it, struct cel_value *key, struct cel_value *value)
{
    const struct schema_desc *d = it->of.aux;
    uint32_t meta = it->of.flags & VALUE_META && d->flags & SCHEMA_DESC_KIND ? 2 : 0;
    if (it->i < meta) {
        *key = cel_string(it->i ? STR("apiVersion") : STR("kind"));
        if (value)
            *value = cel_string(str_z(it->i ? d->api_version : d->name));
        it->i++;
        return true;
    }
    uint32_t i = cel_msg_next(&it->of, it->i - meta);
    if (i >= d->n_json)
        return false;
    it->i = i + meta + 1;
    *key = cel_string((struct str){d->json[i].name, d->json[i].name_len});
    if (value)
        *value = cel_msg_at(it->c, &it->of, i);
    return true;
}

bool cel_iter_next(struct cel_iter *it, struct cel_value *key, struct cel_value *value)
{
    const struct cel_value *of = &it->of;
    if (of->rep == REP_JSON)
        return next_json(it, key, value);
    if (of->rep == REP_MSG)
        return next_msg(it, key, value);
    if (of->rep == REP_HOST || it->i >= of->n)
        return false;
    if (of->type == CEL_LIST) {
        *key = cel_int(it->i);
        if (value)
            (void)cel_list_get(it->c, of, it->i, value);
    } else if (of->rep == REP_ARRAY) {
        const struct cel_map *m = of->p;
        *key = m->keys[it->i];
        if (value)
            *value = m->values[it->i];
    } else {
        const struct schema_field *f = of->aux;
        const char *p = (const char *)of->p + (size_t)it->i * f->elem_size;
        *key = cel_string(*(const struct str *)(const void *)p);
        if (value)
            *value = cel_read_field(it->c, f, p + sizeof(struct str), of->flags & VALUE_PLAIN);
    }
    it->i++;
    return true;
}
