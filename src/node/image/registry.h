/* Inside src/node/image: one repository of one registry over the OCI distribution API. Blocking;
 * one thread at a time. Errors are worded for a person who reads a pod's events. */
#pragma once

#include "base/buf.h"
#include "node/image/image.h"
#include "node/image/manifest.h"

struct registry;

struct registry_opts {
    const struct image_name *name;   /* borrowed for the life of the registry */
    const struct image_auths *auths; /* borrowed; may be NULL */
    char *const *insecure;           /* hosts that may be spoken to in plain http */
    const char *ca_file;             /* may be NULL */
    const _Atomic bool *cancelled;   /* checked during transfers; may be NULL */
};
struct registry *registry_new(const struct registry_opts *opts);
struct registry *registry_free(struct registry *r); /* takes NULL; returns NULL */

struct registry_manifest {
    struct buf body; /* owned; exactly the bytes that the digest is of */
    char digest[DIGEST_BYTES + 1];
    char media_type[128];
};
/* By tag or digest. A digest asked for is verified against the content. */
int registry_get_manifest(struct registry *r, const char *reference, struct registry_manifest *ret,
                          struct error *err) MUST_CHECK;
/* Small blob (a configuration) into memory, verified. */
int registry_get_blob(struct registry *r, const struct descriptor *d, size_t max, struct buf *ret,
                      struct error *err) MUST_CHECK;
typedef void (*registry_progress_fn)(void *arg, uint64_t more_bytes);
/* Large blob into fd (empty, seekable), verified; resumes where a broken connection left off. */
int registry_get_layer(struct registry *r, const struct descriptor *d, int fd,
                       registry_progress_fn progress, void *arg, struct error *err) MUST_CHECK;
bool registry_unreachable(const struct registry *r);  /* the last failure was: no connection */
bool registry_unauthorized(const struct registry *r); /* the last failure was: refused */
