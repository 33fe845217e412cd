/* Inside src/node/image: the store's state and the steps that pull, load and collect are made of.
 * Thread rules: `mu` guards index and unpacking; everything else is fixed after open. */
#pragma once

#include <pthread.h>
#include <sys/stat.h>

#include "base/map.h"
#include "node/image/image.h"
#include "node/image/manifest.h"

struct index_image {
    char *id, *digest; /* owned */
    char **digests;    /* owned; "repo@sha256:..." */
    unsigned n_digests;
    char **diff_ids; /* owned */
    unsigned n_diff_ids;
    uint64_t size_bytes;
    int64_t added_s; /* wall clock */
};

struct index_ref {
    char *ref, *id; /* owned; normalised name with tag -> image */
};

struct index {
    struct index_image *images; /* owned */
    size_t n_images, cap_images;
    struct index_ref *refs; /* owned */
    size_t n_refs, cap_refs;
};

struct ensure_pull;

struct image_store {
    char *dir;                  /* owned, absolute */
    struct rt *rt;              /* borrowed; may be NULL */
    int dirfd, layersfd, tmpfd; /* tmpfd: own directory below tmp/, flocked */
    char *tmp_name;             /* owned; "tmp/<random>" */
    char **insecure;            /* owned */
    char *ca_file;              /* owned; may be NULL */

    pthread_mutex_t mu;
    pthread_cond_t unpacked;
    struct index index;
    struct stat index_stat; /* of the file that `index` was read from */
    char **unpacking;       /* owned vector of diff_ids being unpacked by threads of this process */
    unsigned n_unpacking;
    _Atomic unsigned tmp_counter;
    _Atomic bool cancelled;

    struct map pulls; /* loop thread: ref + policy -> struct ensure_pull */
};

/* ---- locks: the returned descriptor holds it; close to release ---- */
int store_lock(struct image_store *s, bool exclusive, bool wait) MUST_CHECK; /* fd, or -EBUSY */

/* ---- index ---- */
/* Locks mu and index.lock, reads the index anew when another process changed it. */
int index_begin(struct image_store *s, int *ret_lock, struct error *err) MUST_CHECK;
int image_index_write(struct image_store *s, struct error *err) MUST_CHECK; /* inside begin..end */
void index_end(struct image_store *s, int lock);
/* mu only: for reading. */
int index_read_begin(struct image_store *s, struct error *err) MUST_CHECK;
void index_read_end(struct image_store *s);

struct index_image *index_by_id(struct index *x, struct str id);
struct index_ref *index_ref_by_name(struct index *x, struct str ref);
/* By reference in any spelling, id, or id prefix. NULL and -ENOENT/-EINVAL in err. ret_ref: the
 * normalised reference, heap. */
int image_index_find(struct index *x, struct str what, struct index_image **ret, char **ret_ref,
                     struct error *err) MUST_CHECK;
struct index_image *index_add_image(struct index *x);
void index_add_ref(struct index *x, const char *ref, const char *id);
void index_drop_ref(struct index *x, struct index_ref *r);
void index_drop_image(struct index *x, struct index_image *img); /* and its refs */
void image_index_fini(struct index *x);

/* ---- blobs and layers ---- */
int store_put_blob(struct image_store *s, const char *digest, struct str data,
                   struct error *err) MUST_CHECK;
int store_read_blob(struct image_store *s, const char *digest, size_t max, char **ret,
                    size_t *ret_n) MUST_CHECK;
bool store_has_layer(struct image_store *s, const char *diff_id);
bool store_complete(struct image_store *s,
                    const struct index_image *img); /* config and all layers */
/* Waits for another thread that unpacks the same layer. 1: it is there now. 0: the caller unpacks,
 * then calls store_layer_end. */
int store_layer_begin(struct image_store *s, const char *diff_id) MUST_CHECK;
void store_layer_end(struct image_store *s, const char *diff_id);
/* Between begin and end: unpacks fd, checks the diff_id, gives it its final name. */
int store_add_layer(struct image_store *s, int fd, const char *diff_id,
                    struct error *err) MUST_CHECK;
uint64_t store_layer_size(struct image_store *s, const char *diff_id);
/* New name for work in our tmp directory, relative to tmpfd; heap. */
char *store_tmp_name(struct image_store *s, const char *what);

/* Records the image: config_json is stored as its blob; all layers must be there. digest: of the
 * manifest (NULL: none). refs: names with tags to give it (normalised), digests: "repo@sha256:.."
 * by which it came. */
struct store_commit {
    struct str config_json;
    const struct config *config;
    const char *id, *digest;
    struct str manifest_json; /* absent: none */
    const char *const *refs;  /* NULL-terminated; NULL: none */
    const char *repo_digest;  /* NULL: none */
};
int store_commit_image(struct image_store *s, const struct store_commit *c, const char *ref,
                       struct image **ret, struct error *err) MUST_CHECK;
/* A frozen image of a row; mu held. ref: what it was asked by, NULL: its first name or id. */
int store_build_image(struct image_store *s, const struct index_image *row, const char *ref,
                      struct image **ret, struct error *err) MUST_CHECK;

/* ---- use ---- */
bool store_pinned(struct image_store *s, const char *id);      /* by any holder */
void store_touch(struct image_store *s, const char *id);       /* counts as used now */
int64_t store_last_use(struct image_store *s, const char *id); /* seconds, wall clock; 0 unknown */
/* Removes layers and blobs that no row names. Needs the exclusive lock. Returns the number of
 * layers. */
int store_sweep(struct image_store *s, uint64_t *ret_bytes) MUST_CHECK;
