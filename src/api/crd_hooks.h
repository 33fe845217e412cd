/* The hooks of CustomResourceDefinition. */
#pragma once

#include "api/hooks.h"

extern const struct api_hooks crd_hooks;
