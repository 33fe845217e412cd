/* See patch_index.h. The list of members is singly linked, so the index remembers for each the one
 * before it: taking one out touches its two neighbours only. */
#include "schema/patch_index.h"

#include "base/mem.h"

#define MEMBERS_FEW 32 /* up to so many are looked at one by one */

struct member {
    struct json *v, *prev;
};
struct wide {
    struct json *obj; /* its address is the key */
    struct map at;    /* name -> struct member, in the arena */
};

static struct str address_of(struct json *const *obj)
{
    return (struct str){(const char *)obj, sizeof(*obj)};
}

static void wide_free(struct wide *w)
{
    map_fini(&w->at);
    free(w);
}

void member_index_fini(struct member_index *x)
{
    for (struct map_slot *s = NULL; (s = map_next(&x->objects, s));)
        wide_free(s->value);
    map_fini(&x->objects);
}

void member_forget(struct member_index *x, struct json *obj)
{
    struct wide *w = map_remove(&x->objects, address_of(&obj));
    if (w)
        wide_free(w);
}

static struct wide *wide_new(struct member_index *x, struct json *obj)
{
    struct wide *w = NEW(struct wide);
    struct json *all = obj->first;
    w->obj = obj;
    json_for_each(v, obj)
    {
        struct member *m = map_get(&w->at, v->key);
        if (!m) {
            m = ARENA_NEW(x->a, struct member);
            (void)map_set(&w->at, v->key, m);
        }
        m->v = v;
    }
    obj->first = obj->last = NULL;
    obj->n = 0;
    for (struct json *next; all; all = next) {
        struct member *m = map_get(&w->at, all->key);
        next = all->next;
        if (m->v != all)
            continue;
        m->prev = obj->last;
        json_push(obj, all);
    }
    (void)map_set(&x->objects, address_of(&w->obj), w);
    return w;
}

/* NULL: few members, look at each. */
static struct wide *wide_of(struct member_index *x, struct json *obj)
{
    struct wide *w = x->objects.n ? map_get(&x->objects, address_of(&obj)) : NULL;
    return w || obj->n <= MEMBERS_FEW ? w : wide_new(x, obj);
}

struct json *member_get(struct member_index *x, struct json *obj, struct str key)
{
    if (!json_is(obj, JSON_OBJ))
        return NULL;
    struct wide *w = wide_of(x, obj);
    struct member *m = w ? map_get(&w->at, key) : NULL;
    return w ? (m ? m->v : NULL) : json_get(obj, key);
}

/* now follows prev in obj; both may be NULL. */
static void link_after(struct wide *w, struct json *prev, struct json *now)
{
    if (prev)
        prev->next = now;
    else
        w->obj->first = now;
    if (now)
        ((struct member *)map_get(&w->at, now->key))->prev = prev;
    else
        w->obj->last = prev;
}

void member_set(struct member_index *x, struct json *obj, struct str key, struct json *value)
{
    struct wide *w = wide_of(x, obj);
    struct member *m = w ? map_get(&w->at, key) : NULL;
    if (!w) {
        json_set(obj, key, value);
        return;
    }
    value->key = key;
    if (!m) {
        m = ARENA_NEW(x->a, struct member);
        *m = (struct member){value, obj->last};
        json_push(obj, value);
        (void)map_set(&w->at, key, m);
        return;
    }
    struct json *next = m->v->next;
    m->v = value;
    value->next = next;
    link_after(w, m->prev, value);
    link_after(w, value, next);
}

struct json *member_remove(struct member_index *x, struct json *obj, struct str key)
{
    if (!json_is(obj, JSON_OBJ))
        return NULL;
    struct wide *w = wide_of(x, obj);
    struct member *m = w ? map_remove(&w->at, key) : NULL;
    if (!w)
        return json_remove(obj, key);
    if (!m)
        return NULL;
    link_after(w, m->prev, m->v->next);
    m->v->next = NULL;
    obj->n--;
    return m->v;
}

struct str json_key(const struct json *v, struct arena *a)
{
    if (v->type == JSON_STR) { /* by hand: lists of strings are what is long */
        char *p = arena_alloc(a, v->s.n + 1);
        p[0] = '"';
        if (v->s.n)
            memcpy(p + 1, v->s.p, v->s.n);
        return (struct str){p, v->s.n + 1};
    }
    struct buf b = {0};
    json_print(v, &b);
    struct str out = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return out;
}
