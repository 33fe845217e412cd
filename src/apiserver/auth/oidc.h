/* Tokens of an OpenID Connect issuer, with the flags of kube-apiserver or as a file says
 * (authn_config.h). Who keeps several of them is issuers.h.
 *
 * Verifying needs no state but the issuer's keys and runs on the threads that ask. The keys are
 * fetched by the core thread: at start, once an hour, and when a token names one that is not known.
 * Until the first keys are there, tokens of the issuer are refused; nobody waits for an issuer that
 * is away. */
#pragma once

#include "apiserver/call.h"
#include "rt/crypto.h"

#include <stdatomic.h>

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

#define OIDC_LIST_MAX 64 /* algorithms, required claims */
#define OIDC_NAME_MAX                                                                              \
    4096 /* bytes of a name, a group or another thing a token says of somebody                     \
          */

struct oidc_rules;
struct oidc_config { /* strings are owned by an arena */
    struct str issuer;
    struct str discovery; /* where its document is; absent: in the usual place below issuer */
    struct str ca_pem;    /* absent: the authorities of the host */
    const struct str *audiences; /* one of them must be the token's */
    size_t n_audiences;
    struct str username_claim, username_prefix; /* empty claims: rules say it, or nothing does */
    struct str groups_claim, groups_prefix, uid_claim;
    struct oidc_claim {
        struct str key, value;
    } required[OIDC_LIST_MAX];
    size_t n_required;
    struct str algs[OIDC_LIST_MAX];
    size_t n_algs;
    struct oidc_rules *rules; /* owned by who made it; NULL: none */
};
/* Every algorithm there is. */
void oidc_config_all_algs(struct oidc_config *c);
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

/* Who issued it, as the token says; nothing is verified. */
bool oidc_token_issuer(struct str token, struct arena *a, struct str *ret);

/* ---- expressions (oidc_rules.c) ---- */

enum oidc_rule { /* the first four say whom claims name */
                 OIDC_RULE_USERNAME,
                 OIDC_RULE_GROUPS,
                 OIDC_RULE_UID,
                 OIDC_RULE_EXTRA,
                 OIDC_RULE_CLAIMS, /* what must hold of claims */
                 OIDC_RULE_USER,   /* and of the user */
                 _OIDC_RULE_MAX,
};
struct oidc_rules *oidc_rules_new(void);
struct oidc_rules *oidc_rules_free(struct oidc_rules *r); /* takes NULL; returns NULL */
/* name: the key of an OIDC_RULE_EXTRA, or what is said when a rule is false. On failure err has
 * Kubernetes' words for what is wrong with text. */
int oidc_rules_add(struct oidc_rules *r, enum oidc_rule what, struct str text, struct str name,
                   struct error *err) MUST_CHECK;
bool oidc_rules_have(const struct oidc_rules *r, enum oidc_rule what); /* takes NULL */
/* Whether such a rule speaks of claims.CLAIM. */
bool oidc_rules_select(const struct oidc_rules *r, enum oidc_rule what, struct str claim);
/* Any thread. What rules say of name, groups, uid and extra, over what u has; its extra must have
 * room for API_USER_EXTRA_MAX. Texts are in a or claims. -EACCES: err says why. */
int oidc_rules_map(const struct oidc_rules *r, const struct json *claims, struct arena *a,
                   struct api_user *u, struct error *err) MUST_CHECK;
int oidc_rules_check_claims(const struct oidc_rules *r, const struct json *claims, struct arena *a,
                            struct error *err) MUST_CHECK;
int oidc_rules_check_user(const struct oidc_rules *r, const struct api_user *u, struct arena *a,
                          struct error *err) MUST_CHECK;

/* ---- the authenticator (oidc.c) ---- */

struct oidc;

/* Core thread. config is borrowed; *generation counts up with every other set of keys. */
int oidc_new(struct rt *core, const struct oidc_config *config, _Atomic uint64_t *generation,
             struct oidc **ret, struct error *err) MUST_CHECK;
/* changed(arg) is called on the core thread when the keys are others, or could not be had. */
void oidc_on_changed(struct oidc *o, void (*changed)(void *arg), void *arg);
void oidc_stop(struct oidc *o);         /* no more fetches; takes NULL */
struct oidc *oidc_free(struct oidc *o); /* takes NULL; returns NULL */
bool oidc_ready(struct oidc *o);        /* it has keys */

enum oidc_wait {
    OIDC_WAIT_NOT,   /* nobody waits: what would be -EAGAIN is -EACCES */
    OIDC_WAIT_STILL, /* only for keys that are being asked for now */
    OIDC_WAIT,
};
/* Any thread. Not our issuer's: -ENOENT. -EAGAIN: its key is being asked for (or the first keys
 * are); `changed` comes. Without waiting it is asked for all the same, and this is -EACCES. */
int oidc_authenticate(struct oidc *o, struct str token, int64_t now_s, enum oidc_wait wait,
                      struct arena *a, struct api_user *ret, int64_t *ret_expires_s) MUST_CHECK;
