/* Libraries that only some runs need: libarchive, libcurl and libnftables pull in forty others
 * (TLS, LDAP, Kerberos, XML, ICU ...), which as ordinary dependencies cost every process of davit 8
 * ms of start and 6 MB of memory, used or not. They are a dependency of the package all the same.
 */
#pragma once

#include "base/base.h"

struct dl_symbol {
    const char *name;
    void **to; /* a pointer to a function */
};

/* Loads the library for the rest of the process and fills in all the symbols. A library that is not
 * there, or not the one we were built for, ends the process with a message, as at the start of any
 * program. */
void dl_need(const char *soname, const struct dl_symbol *v, size_t n);
