/* Tokens of an OpenID Connect issuer, with the flags of kube-apiserver.
 *
 * Verifying needs no state but the issuer's keys and runs on the threads that ask. The keys are
 * fetched by the core thread: at start, once an hour, and when a token names one that is not known.
 * Until the first keys are there, tokens of the issuer are refused; nobody waits for an issuer that
 * is away. */
#pragma once

#include "apiserver/call.h"
#include "rt/crypto.h"

/* As the command line has them; NULL: not given. */
struct oidc_opts {
    const char *issuer_url, *client_id;
    const char *username_claim;  /* "sub" */
    const char *username_prefix; /* NULL: "ISSUER#" unless the claim is email; "-": none */
    const char *groups_claim, *groups_prefix;
    const char *required_claim; /* "key=value,..." */
    const char *ca_file;        /* PEM; NULL: the authorities of the host */
    const char *signing_algs;   /* "RS256" */
};

/* ---- pure parts (oidc_token.c) ---- */

#define OIDC_LIST_MAX 32 /* algorithms, required claims */

struct oidc_config { /* strings are owned by an arena */
    struct str issuer, client_id, username_claim, username_prefix, groups_claim, groups_prefix;
    struct oidc_claim {
        struct str key, value;
    } required[OIDC_LIST_MAX];
    size_t n_required;
    struct str algs[OIDC_LIST_MAX];
    size_t n_algs;
};
int oidc_config_read(const struct oidc_opts *o, struct arena *a, struct oidc_config *ret,
                     struct error *err) MUST_CHECK;

struct oidc_keys; /* does not change */
/* A JSON Web Key Set; keys of other uses and kinds are passed over. -EINVAL: it is none, or has no
 * key that can be used. */
int oidc_keys_read(struct str text, struct oidc_keys **ret, struct error *err) MUST_CHECK;
size_t oidc_keys_n(const struct oidc_keys *k);
struct oidc_keys *oidc_keys_ref(struct oidc_keys *k);
struct oidc_keys *oidc_keys_unref(struct oidc_keys *k); /* takes NULL; returns NULL */

/* The token says it is of this issuer; nothing is verified. */
bool oidc_is_issuer(const struct oidc_config *c, struct str token);
/* 0: ret is who it stands for, in a; *ret_expires_s is when it ends. -EAGAIN: none of the keys is
 * the one it names. -EACCES: no good, err says why. */
int oidc_verify(const struct oidc_config *c, const struct oidc_keys *k, struct str token,
                int64_t now_s, struct arena *a, struct api_user *ret, int64_t *ret_expires_s,
                struct error *err) MUST_CHECK;

/* What a discovery document says of where the keys are; it must be of the issuer itself. */
int oidc_discovery_read(const struct oidc_config *c, struct str text, struct arena *a,
                        struct str *ret_jwks_uri, struct error *err) MUST_CHECK;
/* "https://host[:port]/path[?query]" */
bool oidc_url_parse(struct str url, struct str *ret_host, uint16_t *ret_port,
                    struct str *ret_target);

/* ---- the authenticator (oidc.c) ---- */

struct oidc;

/* Core thread. changed(arg) is called there when the keys are others, or could not be had. */
int oidc_new(struct rt *core, const struct oidc_opts *opts, struct oidc **ret,
             struct error *err) MUST_CHECK;
void oidc_on_changed(struct oidc *o, void (*changed)(void *arg), void *arg);
void oidc_stop(struct oidc *o);         /* no more fetches; takes NULL */
struct oidc *oidc_free(struct oidc *o); /* takes NULL; returns NULL */

/* Any thread. Not our issuer's: -ENOENT. -EAGAIN: its key is being asked for (or the first keys
 * are); `changed` comes. wait false: it is asked for all the same, and this is -EACCES. */
int oidc_authenticate(struct oidc *o, struct str token, int64_t now_s, bool wait, struct arena *a,
                      struct api_user *ret, int64_t *ret_expires_s) MUST_CHECK;
uint64_t oidc_generation(const struct oidc *o); /* of the keys: what was verified with others is not
                                                   any more */
