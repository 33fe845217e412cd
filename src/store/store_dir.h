/* The directory of a store: whose it is, and that we alone use it. */
#pragma once

#include "base/error.h"

#define STORE_DATA_FILE "data.mdb"
#define STORE_NEW_FILE  "data.mdb.new" /* being made; not a store yet */
#define STORE_PID_FILE  "pid"

/* Makes the directory when it is not there and locks it. *ret_fd: the directory, the lock lives as
 * long as it is open. *ret_new: there is no store in it yet. Errors: -EBUSY locked by another
 * process (named), -EINVAL not a store's directory; nothing was changed then. */
int store_dir_open(const char *path, int *ret_fd, bool *ret_new, struct error *err) MUST_CHECK;
/* Notes our pid for the message a second process gives. Call once the store is known to be ours. */
void store_dir_sign(int fd);
