/* Inside src/node/image: one blocking pull. */
#pragma once

#include "node/image/image.h"

struct pull_opts {
    const struct image_auths *auths; /* may be NULL */
    image_progress_fn progress;      /* from the pulling thread; may be NULL */
    void *arg;
};
struct pull_failure {
    enum image_failure kind;
    bool unauthorized; /* other credentials may help */
};
int pull_image(struct image_store *s, struct str ref, const struct pull_opts *o, struct image **ret,
               struct pull_failure *ret_failure, struct error *err) MUST_CHECK;
