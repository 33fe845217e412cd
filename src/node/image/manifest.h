/* Manifests, indexes and configurations, OCI and Docker: JSON in, checked C structs out. All
 * parsers take bytes from a stranger: bounded sizes, every digest checked for form, -EBADMSG with a
 * message otherwise. */
#pragma once

#include "node/image/image.h"

#define MANIFEST_BYTES_MAX (4u << 20) /* the distribution project's own limit */
#define CONFIG_BYTES_MAX   (8u << 20)
#define INDEX_ENTRIES_MAX  2000
#define LAYER_BYTES_MAX    (UINT64_C(64) << 30) /* compressed, as the descriptor claims */

#define DIGEST_BYTES (7 + 64) /* "sha256:" and hex */

struct descriptor {
    char digest[DIGEST_BYTES + 1];
    uint64_t size;
    char *media_type;          /* owned; "" when absent */
    char *os, *arch, *variant; /* owned; "" when absent; of index entries */
    char *name;                /* owned; "": annotations that name it in an OCI layout */
};

struct manifest {
    bool is_index;
    struct descriptor config;  /* of a manifest */
    struct descriptor *layers; /* owned; of a manifest: layers, of an index: its entries */
    unsigned n_layers;
};

struct config { /* what the store needs to know beyond struct image_config */
    struct image_config run;
    char *os, *arch; /* owned */
    char **diff_ids; /* owned, n_diff_ids times "sha256:..." */
    unsigned n_diff_ids;
};

/* media_type: as the registry or the descriptor said; "" makes it judge by the content. */
int manifest_parse(struct str json, const char *media_type, struct manifest *ret,
                   struct error *err) MUST_CHECK;
void manifest_fini(struct manifest *m);
/* The entry of an index for linux on this machine; NULL when there is none. Attestations are passed
 * over. */
const struct descriptor *manifest_pick(const struct manifest *index);
const char *manifest_host_arch(void); /* "amd64", "arm64" ... in Go's words */
#define MANIFEST_ACCEPT                                                                            \
    "application/vnd.oci.image.index.v1+json, "                                                    \
    "application/vnd.docker.distribution.manifest.list.v2+json, "                                  \
    "application/vnd.oci.image.manifest.v1+json, "                                                 \
    "application/vnd.docker.distribution.manifest.v2+json"

int config_parse(struct str json, struct config *ret, struct error *err) MUST_CHECK;
void config_fini(struct config *c);
void image_config_fini(struct image_config *c);

bool digest_valid(struct str s); /* "sha256:" and 64 lower-case hex digits */
/* manifest.json of a docker-archive: one row an image. */
struct archive_image {
    char *config;          /* owned; path in the archive */
    char **layers, **tags; /* owned, NULL-terminated */
};
#define ARCHIVE_IMAGES_MAX 1000
int docker_archive_parse(struct str json, struct archive_image **ret, unsigned *ret_n,
                         struct error *err) MUST_CHECK;
void docker_archive_free(struct archive_image *v, unsigned n);

char **strv_new(void);                          /* empty, heap */
void strv_add(char ***v, unsigned *n, char *s); /* takes s; keeps the NULL at the end */
void strv_free(char **v);                       /* takes NULL */
