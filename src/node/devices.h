/* The device nodes of the host, for privileged containers. */
#pragma once

#include "base/buf.h"

/* Appends the elements of the OCI array linux.devices (without brackets). Blocks. */
void devices_json(struct buf *out);
