/* What a machine needs to join a cluster, as one word a person can copy:
 *
 *   dvt1-ID.SECRET-DIGEST     6, 16 and 64 characters of [a-z0-9]
 *
 * ID.SECRET is a bootstrap token of the cluster; DIGEST is the sha256 of the public key of the
 * cluster's authority, in hex, so that a server that is not the cluster's is refused before it
 * hears the secret. */
#pragma once

#include "base/error.h"
#include "rt/crypto.h"

#define JOIN_TOKEN_ID_CHARS     6
#define JOIN_TOKEN_SECRET_CHARS 16
#define JOIN_TOKEN_CHARS        (5 + JOIN_TOKEN_ID_CHARS + 1 + JOIN_TOKEN_SECRET_CHARS + 1 + SHA256_HEX)

struct join_token {
    char id[JOIN_TOKEN_ID_CHARS + 1];
    char secret[JOIN_TOKEN_SECRET_CHARS + 1];
    uint8_t ca_spki_sha256[SHA256_BYTES];
};

/* The message says whether it is cut short, mistyped or something else altogether; it never quotes
 * the secret. */
int join_token_parse(struct str text, struct join_token *ret, struct error *err) MUST_CHECK;
void join_token_print(const struct join_token *t, char ret[static JOIN_TOKEN_CHARS + 1]);
