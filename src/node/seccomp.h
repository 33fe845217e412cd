/* The RuntimeDefault seccomp profile, as OCI JSON. */
#pragma once

#include "base/buf.h"

/* Changes with the profile: compiled filters are kept under it. */
#define SECCOMP_PROFILE_VERSION 1

/* Capabilities as bits of their kernel numbers. Appends the value of "linux.seccomp" for a
 * container that has `caps`: some system calls are allowed only along with a capability. */
void seccomp_default_json(uint64_t caps, struct buf *b);
