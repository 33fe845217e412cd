/* Writes JSON straight into a buffer, commas kept track of: for the OCI specs and records the agent
 * makes. */
#pragma once

#include "base/buf.h"
#include "codec/json.h"

struct jw {
    struct buf *b; /* borrowed */
    bool comma;    /* something stands before in this object or array */
};

static inline void jw_sep(struct jw *w)
{
    if (w->comma)
        buf_add_char(w->b, ',');
    w->comma = true;
}
static inline void jw_key(struct jw *w, const char *key) /* a plain identifier, not escaped */
{
    jw_sep(w);
    buf_add_char(w->b, '"');
    buf_add_str(w->b, str_z(key));
    buf_add_lit(w->b, "\":");
    w->comma = false;
}
static inline void jw_open(struct jw *w, char bracket)
{
    jw_sep(w);
    buf_add_char(w->b, bracket);
    w->comma = false;
}
static inline void jw_close(struct jw *w, char bracket)
{
    buf_add_char(w->b, bracket);
    w->comma = true;
}
static inline void jw_str(struct jw *w, struct str s)
{
    jw_sep(w);
    json_print_str(s, w->b);
}
static inline void jw_i64(struct jw *w, int64_t v)
{
    jw_sep(w);
    buf_add_i64(w->b, v);
}
static inline void jw_bool(struct jw *w, bool v)
{
    jw_sep(w);
    if (v)
        buf_add_lit(w->b, "true");
    else
        buf_add_lit(w->b, "false");
}
static inline void jw_raw(struct jw *w, const char *json)
{
    jw_sep(w);
    buf_add_str(w->b, str_z(json));
}
#define jw_key_str(w, k, s)  (jw_key((w), (k)), jw_str((w), (s)))
#define jw_key_z(w, k, z)    (jw_key((w), (k)), jw_str((w), str_z(z)))
#define jw_key_i64(w, k, v)  (jw_key((w), (k)), jw_i64((w), (v)))
#define jw_key_bool(w, k, v) (jw_key((w), (k)), jw_bool((w), (v)))
#define jw_key_open(w, k, c) (jw_key((w), (k)), jw_open((w), (c)))
