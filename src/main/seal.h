/* Secrets at rest: Secrets, and what else --encrypt names, are sealed with AES-256-GCM under keys
 * of the data directory, so that a copied database alone tells nothing. */
#pragma once

#include "rt/crypto.h"
#include "store/store_lmdb.h"

#define SEAL_KEYS_MAX     64 /* in the file; a key that nothing is sealed with may be dropped */
#define SEAL_KEY_ID_BYTES 8

struct seal_key {
    uint8_t id[SEAL_KEY_ID_BYTES]; /* of the key's own, not secret: what sealed records name */
    uint8_t key[SEAL_KEY_BYTES];
};

struct secret_seal {
    struct store_seal seal; /* for store_lmdb_opts */
    struct seal_key *keys;  /* owned; the first one seals, all open */
    size_t n_keys;
    struct str *resources; /* owned, as are the texts: "GROUP/PLURAL" */
    size_t n_resources;
    char *made; /* owned; the key's file, if it was not there before; else NULL */
};

/* Reads DIR/secrets.key, or makes it (0600) when `dir` has none; with sync_later the caller flushes
 * the directory before the first Secret is acknowledged. also: "configmaps,PLURAL.GROUP", what is
 * sealed besides Secrets; may be NULL. s must outlive the store; fini it also after a failure. */
int secret_seal_open(struct secret_seal *s, const char *dir, const char *also, bool sync_later,
                     struct error *err) MUST_CHECK;
/* The store cannot be read: a key that was only just made is of no use to anybody. Takes its file
 * away again and says in *err what is missing in `dir`, where keys are kept. */
void secret_seal_undo(struct secret_seal *s, const char *dir, struct error *err);
void secret_seal_fini(struct secret_seal *s); /* wipes the keys */

/* Puts a new key before those of DIR/secrets.key, durably; a server uses it from its next start on.
 * ret_id: of the new key, in hex. */
int secret_keys_rotate(const char *dir, char ret_id[2 * SEAL_KEY_ID_BYTES + 1],
                       struct error *err) MUST_CHECK;
/* The keys of DIR/secrets.key, newest first. */
int secret_keys_read(const char *dir, struct seal_key **ret, size_t *ret_n,
                     struct error *err) MUST_CHECK;
void secret_keys_free(struct seal_key *keys, size_t n); /* wipes them */
void seal_key_hex(const struct seal_key *k, char ret[2 * SEAL_KEY_ID_BYTES + 1]);
