/* Inside src/node/image: which credentials fit a repository. */
#pragma once

#include "node/image/image.h"

/* The key under which a registry is known, whatever its spelling. A view into s or a constant. */
struct str auth_registry_key(struct str s);
/* NULL: none fits. */
const struct image_auth *auth_find(const struct image_auths *a, const char *domain,
                                   const char *path);
void image_auths_copy(struct image_auths *dst, const struct image_auths *src); /* src may be NULL */
bool image_auths_equal(const struct image_auths *a, const struct image_auths *b);
