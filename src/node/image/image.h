/* Image store: pulls, loads, unpacks and collects OCI and Docker images under one directory
 * (DATA/images). Used by the agent (asynchronously, on its loop) and by `davit image ...`
 * (blocking).
 *
 * On disk:
 *   lock                       flock: shared by whoever adds, exclusive by the sweep of rubbish
 *   index.json                 refs and images; replaced atomically under index.lock
 *   blobs/sha256/<hex>         manifests and configurations (layer archives are dropped once
 * unpacked) layers/<hex of diff_id>/   one unpacked layer in overlayfs form, made once, shared by
 * images pins/<holder>              text: id of the image that `holder` uses; survives the agent
 *   tmp/<random>/              work in progress of one process, flocked by it; stale ones are
 * removed
 *
 * Invariants
 * - Whatever has its final name is complete and on disk: everything is written in tmp/, synced, and
 *   renamed. A crash leaves rubbish in tmp/ only, which the next open removes.
 * - Several processes may have the store open at once (the agent and the CLI).
 * - A layer directory's contents were checked against its diff_id; a blob's against its name.
 * - An image that is pinned, or named by the keep set of a gc, loses neither its layers nor its
 * record.
 * - struct image is frozen and counted; any thread may ref and unref it. Holding a reference does
 * NOT protect the files: a pin does. */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "base/str.h"

struct rt;
struct image_store;

/* ---- an image ---- */

#define IMAGE_LAYERS_MAX 128 /* as Docker; overlayfs takes 500, one mount page of options fewer */

struct image_config {         /* the part of the OCI image configuration that starts a container */
    char **entrypoint, **cmd; /* NULL-terminated vectors; NULL when the image has none */
    char **env;               /* "NAME=value"; never NULL */
    char **exposed_ports;     /* "80/tcp"; never NULL */
    char **volumes;           /* absolute paths; never NULL */
    char **labels;            /* "key=value"; never NULL */
    char *user;               /* "", "1000", "name", "1000:1000", "name:group" */
    char *working_dir;        /* "" when not set */
    char *stop_signal;        /* "SIGTERM", "15" or "" */
};

struct image {
    _Atomic uint32_t refs;
    char *id;     /* "sha256:..." of the configuration: what makes images equal */
    char *digest; /* "sha256:..." of the manifest it came by; equals id when loaded from
                     docker-archive */
    char *ref;    /* normalised reference it was asked for by: "docker.io/library/busybox:latest" */
    char *image_id; /* for containerStatuses[].imageID: "docker.io/library/busybox@sha256:..." or
                       the id */
    char **tags;    /* all normalised references with a tag that name it; never NULL */
    char **digests; /* all "repo@sha256:..." it was pulled by; never NULL */
    uint64_t size_bytes; /* unpacked, of all layers (shared ones counted fully) */
    struct image_config config;
    unsigned n_layers;
    char **layer_dirs; /* absolute paths, BOTTOM first; overlayfs wants lowerdir TOP first, so go
                        * backwards (sys_overlay_mount of sys/fs.h takes them in this order) */
};

struct image *image_ref(struct image *img);
struct image *image_unref(struct image *img); /* takes NULL; returns NULL */

/* ---- registry credentials (imagePullSecrets) ---- */

struct image_auth {
    struct image_auth *next;
    char *registry; /* "registry.example:5000", may hold a path prefix; "docker.io" for all of
                       Docker Hub's names */
    char *username, *password; /* NULL when a token is used */
    char *identity_token;      /* NULL: none */
};
struct image_auths {
    struct image_auth *head; /* owned; zeroed is a valid empty set */
};
void image_auths_fini(struct image_auths *a);
/* Adds what a Secret of type kubernetes.io/dockerconfigjson (key .dockerconfigjson) holds. */
int image_auths_add_dockerconfigjson(struct image_auths *a, struct str json,
                                     struct error *err) MUST_CHECK;
/* ... of type kubernetes.io/dockercfg (key .dockercfg). */
int image_auths_add_dockercfg(struct image_auths *a, struct str json, struct error *err) MUST_CHECK;
void image_auths_add(struct image_auths *a, const char *registry, const char *username,
                     const char *password);

/* ---- the store ---- */

struct image_store_opts {
    const char *dir; /* DATA/images; made when missing. Copied */
    struct rt *rt;   /* loop for the asynchronous calls; NULL: only blocking calls are used */
    const char *const *insecure; /* NULL-terminated "host[:port]" that may be spoken to in plain
                                  * http (loopback always may); NULL: none. Copied */
    const char *ca_file;         /* extra trusted CA for registries; NULL: the system's. Copied */
};

int image_store_open(const struct image_store_opts *opts, struct image_store **ret,
                     struct error *err) MUST_CHECK;
/* Takes NULL; returns NULL. When pulls are still under way they are cancelled and the memory is
 * left to them: only for a process that ends. */
struct image_store *image_store_close(struct image_store *s);
/* Any thread: pulls under way break off within a second and fail; later ones fail at once. For
 * stopping. */
void image_store_cancel(struct image_store *s);

enum image_pull_policy {
    IMAGE_PULL_IF_NOT_PRESENT,
    IMAGE_PULL_ALWAYS, /* asks the registry for the digest; transfers only what is missing */
    IMAGE_PULL_NEVER,
};

/* Why an image could not be had, in the words a pod's waiting.reason uses. */
enum image_failure {
    IMAGE_FAILURE_NONE,
    IMAGE_FAILURE_INVALID_NAME,         /* InvalidImageName */
    IMAGE_FAILURE_NEVER_PULL,           /* ErrImageNeverPull */
    IMAGE_FAILURE_PULL,                 /* ErrImagePull */
    IMAGE_FAILURE_REGISTRY_UNAVAILABLE, /* RegistryUnavailable: no connection; kubelet's text for
                                           it. Treat as ErrImagePull */
    _IMAGE_FAILURE_MAX,
    _IMAGE_FAILURE_INVALID = -EINVAL,
};
const char *image_failure_reason(enum image_failure f); /* "ErrImagePull" ... */

struct image_progress {
    unsigned layers_total, layers_done;
    uint64_t bytes_total, bytes_done; /* compressed; total 0: not known */
};
/* Blocking calls: from the calling thread. Asynchronous ones: from the loop, at most ten a second.
 */
typedef void (*image_progress_fn)(void *arg, const struct image_progress *p);

struct image_result {
    struct image *image; /* NULL on failure; borrowed: image_ref it to keep it */
    enum image_failure failure;
    const struct error *err; /* message fit for an event; borrowed */
    bool pulled; /* something was fetched (event "Pulled ... in 1.2s" or "already present") */
    nsec_t took;
};
typedef void (*image_done_fn)(void *arg, const struct image_result *r);

/* Makes sure the image `ref` (any spelling) is here and unpacked. done is called exactly once, from
 * the loop. Calls for the same reference share one pull (with the credentials of the first; when
 * that pull is refused, the next caller's credentials are tried). `auths` is copied; NULL:
 * anonymous. When `holder` is not NULL the image is pinned for it (see image_pin) before done is
 * called. */
void image_ensure(struct image_store *s, struct str ref, enum image_pull_policy policy,
                  const struct image_auths *auths, struct str holder, image_progress_fn progress,
                  image_done_fn done, void *arg);

/* The image, when it is present and complete. By reference (any spelling), id, or an unambiguous id
 * prefix of 12+ digits. -ENOENT otherwise. Reads a few small files at most. Any thread. */
int image_lookup(struct image_store *s, struct str ref, struct image **ret,
                 struct error *err) MUST_CHECK;

/* ---- pins ---- */

/* Holder: a name of [A-Za-z0-9_.-], 1..200 bytes, such as the container's id; one image a holder.
 * Pins are files, so they outlast the agent: at start call image_pins_retain with all holders that
 * still exist. Pinning also counts as use for the collector. Loop or any thread; a few
 * microseconds. */
int image_pin(struct image_store *s, const struct image *img, struct str holder,
              struct error *err) MUST_CHECK;
void image_unpin(struct image_store *s, struct str holder); /* idempotent */
void image_pins_retain(struct image_store *s, const struct str *holders, size_t n);

/* ---- blocking calls: CLI, or inside rt_work; any thread ---- */

/* Fetches ref, whatever is here already, and names it. */
int image_pull(struct image_store *s, struct str ref, const struct image_auths *auths,
               image_progress_fn progress, void *arg, struct image **ret,
               enum image_failure *ret_failure, struct error *err) MUST_CHECK;

/* Loads every image of a docker-archive or OCI-layout tar (plain, gzip or zstd) or of such a
 * directory. For each one `loaded` is called with its name or id. `name`: reference for an image
 * that carries none; NULL: it stays nameless. */
typedef void (*image_loaded_fn)(void *arg, const struct image *img);
int image_load_file(struct image_store *s, const char *path, const char *name,
                    image_loaded_fn loaded, void *arg, struct error *err) MUST_CHECK;

struct image_list {
    struct image **v; /* owned, each a reference */
    size_t n;
};
/* All images, newest first. */
int image_list(struct image_store *s, struct image_list *ret, struct error *err) MUST_CHECK;
void image_list_fini(struct image_list *l);

/* By reference: takes the name off, and the image away with its last name. By id: the image with
 * all its names; REASON_CONFLICT while a container pins it (by reference too, when it is the last
 * name). */
int image_remove(struct image_store *s, struct str ref, struct error *err) MUST_CHECK;

struct image_gc_opts {
    const struct str *keep; /* references or ids that must stay, beside the pinned ones; borrowed */
    size_t n_keep;
    unsigned high_percent, low_percent; /* of the file system; 0: 85 and 80 */
    nsec_t min_age;                     /* unused for less than this: stays; 0: two minutes */
    bool all;                           /* every image that is not in use, whatever the disk says */
};
struct image_gc_result {
    unsigned removed;
    uint64_t freed_bytes;
    unsigned used_percent; /* afterwards */
    bool short_of_space;   /* still above low_percent, nothing more to remove: event
                              FreeDiskSpaceFailed */
};
/* Least recently used first, until the disk is below low_percent; and sweeps layers and blobs
 * nothing names any more (skipped while another process adds). */
int image_gc(struct image_store *s, const struct image_gc_opts *opts, struct image_gc_result *ret,
             struct error *err) MUST_CHECK;

/* ---- references ---- */

struct image_name {     /* parsed reference; one heap block behind `buf` */
    char *buf;          /* owned */
    const char *domain; /* "docker.io", "localhost:5000" */
    const char *path;   /* "library/busybox" */
    const char *tag;    /* "latest"; "" when only a digest was given */
    const char *digest; /* "sha256:..." or "" */
};
/* Docker's normalisation: "busybox" -> docker.io/library/busybox:latest. -EINVAL, message in err.
 */
int image_name_parse(struct str ref, struct image_name *ret, struct error *err) MUST_CHECK;
void image_name_fini(struct image_name *n);
/* "domain/path[:tag][@digest]", heap. With a digest the tag is left out, as Docker does. */
char *image_name_format(const struct image_name *n);
