/* Hooks of Service. */
#pragma once

#include "api/hooks.h"

extern const struct api_hooks service_hooks;
