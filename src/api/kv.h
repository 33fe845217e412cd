/* Changes of sorted string maps (labels, annotations) whose memory is an arena's. */
#pragma once

#include "base/arena.h"
#include "codec/values.h"

/* *v (of *n entries) with key set to value: a new array unless it holds just that. Key and value
 * are borrowed. */
static inline void kv_str_set(struct arena *a, struct kv_str **v, uint32_t *n, struct str key,
                              struct str value)
{
    uint32_t at = 0;
    while (at < *n && str_cmp((*v)[at].key, key) < 0)
        at++;
    bool there = at < *n && str_eq((*v)[at].key, key);
    if (there && str_eq((*v)[at].value, value))
        return;
    struct kv_str *w = ARENA_NEW_N(a, struct kv_str, *n + 1);
    if (at)
        memcpy(w, *v, at * sizeof(*w));
    w[at] = (struct kv_str){key, value};
    if (*n > at + there)
        memcpy(w + at + 1, *v + at + there, (*n - at - there) * sizeof(*w));
    *n += !there;
    *v = w;
}

/* *v (of *n entries) with all of `in` set, in one pass over both: a new array. Absent values of
 * `in` become empty texts. Keys and values are borrowed. */
static inline void kv_str_merge(struct arena *a, struct kv_str **v, uint32_t *n,
                                const struct kv_str *in, uint32_t n_in)
{
    struct kv_str *w = ARENA_NEW_N(a, struct kv_str, (size_t)*n + n_in);
    uint32_t i = 0, k = 0, out = 0;
    while (i < *n || k < n_in) {
        int c = i == *n ? 1 : k == n_in ? -1 : str_cmp((*v)[i].key, in[k].key);
        w[out] = c < 0 ? (*v)[i] : in[k];
        if (c >= 0 && !w[out].value.p)
            w[out].value = STR("");
        out++;
        i += c <= 0;
        k += c >= 0;
    }
    *v = w;
    *n = out;
}
