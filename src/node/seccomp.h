/* The RuntimeDefault seccomp profile, as OCI JSON. */
#pragma once

#include "base/buf.h"

/* Capabilities as bits of their kernel numbers. Appends the value of "linux.seccomp" for a container that has
 * `caps`: some system calls are allowed only along with a capability. */
void seccomp_default_json(uint64_t caps, struct buf *b);
