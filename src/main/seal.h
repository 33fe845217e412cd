/* Secrets at rest: Secrets are sealed with AES-256-GCM under a key of the data directory, so that a
 * copied database alone tells nothing. */
#pragma once

#include "rt/crypto.h"
#include "store/store_lmdb.h"

struct secret_seal {
    struct store_seal seal; /* for store_lmdb_opts */
    uint8_t key[SEAL_KEY_BYTES];
    char *made; /* owned; the key's file, if it was not there before; else NULL */
};

/* Reads DIR/secrets.key, or makes it (0600) when `dir` has none; with sync_later the caller flushes
 * the directory before the first Secret is acknowledged. s must outlive the store. */
int secret_seal_open(struct secret_seal *s, const char *dir, bool sync_later,
                     struct error *err) MUST_CHECK;
/* The store cannot be read: a key that was only just made is of no use to anybody. Takes its file
 * away again and says in *err what is missing in `dir`, where keys are kept. */
void secret_seal_undo(struct secret_seal *s, const char *dir, struct error *err);
void secret_seal_fini(struct secret_seal *s); /* wipes the key */
