/* Hooks of volumes, their claims, classes and drivers. */
#pragma once

#include "api/hooks.h"

/* storage.c */
extern const struct api_hooks persistent_volume_hooks, persistent_volume_claim_hooks;
/* storage_class.c */
extern const struct api_hooks storage_class_hooks, volume_attributes_class_hooks, csi_driver_hooks,
    csi_node_hooks, csi_storage_capacity_hooks, volume_attachment_hooks;

/* Rules of a volume that is no object of its own (VolumeAttachment): without capacity. */
void volume_spec_validate(const struct api_persistent_volume_spec *s, const char *path,
                          bool is_inline, struct error *err);
