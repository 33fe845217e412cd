/* The places at which containers get their mounts: directories and empty files in one layer that
 * lies below all layers of the image. See places.c. */
#pragma once

#include <stddef.h>

#include "base/base.h"
#include "node/fsutil.h"

/* Makes what is missing of the layers under NODE/places. At the agent's start. */
int places_make(const char *node_dir) MUST_CHECK;
/* The layer for a container of an image with these layers (BOTTOM first). token: a service account
 * token is mounted where one usually is. Any thread. */
struct fs_path places_layer(const char *node_dir, const char *const *layer_dirs, size_t n_layers,
                            bool token);
