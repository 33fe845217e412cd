/* Checks an LMDB file before LMDB itself may look at it. */
#pragma once

#include "base/error.h"

/* fd: the data file, locked by us, so nobody changes it meanwhile. 0, or -EBADMSG with what is
 * wrong in err (no file name in it). Reads only. */
int lmdb_check(int fd, struct error *err) MUST_CHECK;
