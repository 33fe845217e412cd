/* Time zones by name, from the machine's database (/usr/share/zoneinfo), without the C library's
 * process-wide zone. RFC 8536. */
#pragma once

#include "base/arena.h"

struct tz;
/* "UTC", "Europe/Berlin", "+02:00", "-03:30", "02:00". NULL: no such zone. */
const struct tz *tz_find(struct str name, struct arena *a);
/* The same from the bytes of a file; for tests. NULL: damaged. */
const struct tz *tz_read(struct str file, struct arena *a);
/* Seconds east of UTC at that moment. */
int32_t tz_offset(const struct tz *z, int64_t sec);
