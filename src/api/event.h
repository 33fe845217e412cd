/* Hooks of Events (hooks.h): one kind for both of their API groups. */
#pragma once

#include "api/hooks.h"

extern const struct api_hooks event_hooks, newer_event_hooks;
