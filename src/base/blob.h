/* Frozen bytes shared by reference count across threads: an object's JSON that many responses send.
 */
#pragma once

#include "base/base.h"
#include "base/str.h"

struct blob {
    _Atomic uint32_t refs;
    size_t n;
    char data[]; /* n bytes and a NUL */
};

struct blob *blob_new(struct str content); /* one reference, the caller's */
struct blob *blob_ref(struct blob *b);
struct blob *blob_unref(struct blob *b); /* takes NULL; returns NULL */
static inline struct str blob_str(const struct blob *b)
{
    return (struct str){b->data, b->n};
}
