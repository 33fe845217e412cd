/* A file that is locked as long as its process lives: says whether, and as which pid, a part of
 * davit runs on a data directory. The lock, not the number in it, is the truth; it dies with the
 * process. */
#pragma once

#include "base/error.h"

/* Takes DIR/NAME.pid. -EBUSY with a message naming the pid when another process has it. The
 * descriptor is the lock: keep it open (close-on-exec). */
int pidfile_take(const char *dir, const char *name, int *ret_fd, struct error *err) MUST_CHECK;
/* The pid that holds it, 0 when nobody does. */
pid_t pidfile_owner(const char *dir, const char *name);
