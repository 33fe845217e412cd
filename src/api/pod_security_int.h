/* Between pod_security.c and its checks. */
#pragma once

#include "api/pod_security.h"

struct ps_set { /* of texts; sorted and unique when made by ps_insert, in order by ps_append */
    struct str *v;
    uint32_t n, cap;
};

struct ps_run {
    struct arena *arena;
    const struct api_object_meta *meta;
    const struct api_pod_spec *spec;
    const struct api_container **containers; /* init, ordinary and ephemeral ones, in this order */
    uint32_t n_containers;
    uint32_t minor;
    struct buf *details, *reasons;
    bool forbidden;
};

struct ps_check {
    enum pod_security_level level;
    uint32_t since; /* minor version that had it first */
    /* From this one on a stricter check of the restricted level says it all. */
    uint32_t overruled;
    void (*run)(struct ps_run *r);
};
extern const struct ps_check ps_checks[];
extern const size_t ps_n_checks;

void ps_append(struct ps_run *r, struct ps_set *s, struct str text);
void ps_insert(struct ps_run *r, struct ps_set *s, struct str text);
/* Notes one breach. */
void ps_forbid(struct ps_run *r, const char *reason, const char *fmt, ...) PRINTF(3, 4);
/* `"a", "b"` and `a, b` */
const char *ps_quoted(struct ps_run *r, const struct ps_set *s);
const char *ps_joined(struct ps_run *r, const struct ps_set *s, const char *between);
/* `container "a"`, `containers "a", "b"` */
const char *ps_containers(struct ps_run *r, const struct ps_set *names);
/* `pod`, `container "a"`, `pod and containers "a", "b"` */
const char *ps_setters(struct ps_run *r, bool pod, const struct ps_set *names);
