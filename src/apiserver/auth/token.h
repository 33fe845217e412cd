/* Service account tokens: JWTs signed with the cluster's key (ES256), bound to the account and, if
 * asked for, to a pod or secret; or kept in a Secret, without an end (token_secret.c). Verifying
 * the signature needs no state and runs on I/O threads; whether what a token is bound to still
 * exists is asked on the core thread (token_bound_check). */
#pragma once

#include "apiserver/call.h"
#include "rt/crypto.h"

#define TOKEN_ISSUER      "https://kubernetes.default.svc.cluster.local"
#define TOKEN_SECONDS_MIN 600
#define TOKEN_SECONDS_MAX 86400 /* as kube-apiserver's default for pods that ask for more */

/* Names the credential somebody came with: "JTI=...", "X509SHA256=..." */
#define CREDENTIAL_ID "authentication.kubernetes.io/credential-id"

#define TOKEN_SECRET_ISSUER "kubernetes/serviceaccount" /* of tokens kept in Secrets */

struct json;

struct token_claims {
    struct str user; /* "system:serviceaccount:NS:NAME" */
    struct str id;   /* "jti"; absent: it has none */
    struct api_token_bound bound;
    struct str audiences[16];
    size_t n_audiences;
    int64_t expires_s; /* INT64_MAX: never */
};

/* Any thread. 0; -EACCES with the reason in err: forged, expired, not yet valid, other issuer.
 * Everything in *ret lives in a. */
int token_verify(const struct pkey *key, struct str token, int64_t now_s, struct arena *a,
                 struct token_claims *ret, struct error *err) MUST_CHECK;
/* Claims as a signed JWT in a. */
int token_sign(const struct pkey *key, const struct json *claims, struct arena *a, struct str *ret,
               struct error *err) MUST_CHECK;
/* -EACCES, and why. */
int token_refuse(struct error *err, const char *why);

/* ---- token_secret.c ---- */
/* Those of TOKEN_SECRET_ISSUER in v; token is the text they are from. Any thread. */
int token_secret_claims(const struct json *v, struct str token, struct token_claims *ret,
                        struct error *err) MUST_CHECK;
/* Core thread: the part of token_bound_check about a token with a text. */
int token_secret_check(struct apiserver *s, const struct api_token_bound *b,
                       struct api_call *user_of, struct error *err) MUST_CHECK;

bool token_has_audience(const struct token_claims *t, const struct str *audiences, size_t n);
/* "ID.SECRET" of a machine that joins: gives ret the name and what token_bootstrap_check has to
 * look at, no groups yet. False: it has another form. Any thread. */
#define BOOTSTRAP_ID_CHARS     6
#define BOOTSTRAP_SECRET_CHARS 16
bool token_bootstrap_parse(struct str token, struct arena *a, struct api_user *ret);
/* Core thread: 0 with the user's groups set, or -EACCES. */
int token_bootstrap_check(struct apiserver *s, struct api_user *u, struct arena *a) MUST_CHECK;
/* The identity the claims stand for. */
void token_user(const struct token_claims *t, struct arena *a, struct api_user *ret);
