/* Who is let in without a certificate or a token of ours: an AuthenticationConfiguration of
 * apiserver.config.k8s.io (v1 or v1beta1), or what the flags say. Immutable once made; any thread.
 * Source: https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/ */
#pragma once

#include "apiserver/auth/oidc.h"

#define AUTHN_ISSUERS_MAX 64 /* K8S */

struct api_anonymous_auth_config;
struct authn_config {
    struct arena arena;
    struct oidc_config *jwt;
    size_t n_jwt;
    const struct api_anonymous_auth_config *anonymous; /* NULL: nothing is said of them */
};

/* YAML or JSON. All that is wrong with it is told, with the fields' paths and Kubernetes' words. */
int authn_config_parse(struct str text, struct authn_config **ret, struct error *err) MUST_CHECK;
/* One issuer, of the --oidc- flags; reads its CA file. */
int authn_config_of_flags(const struct oidc_opts *o, struct authn_config **ret,
                          struct error *err) MUST_CHECK;
struct authn_config *authn_config_free(struct authn_config *c); /* takes NULL; returns NULL */
/* Whether a request without credentials may be for path; NULL: anywhere. */
bool authn_config_anonymous(const struct authn_config *c, struct str path);
bool authn_config_anonymous_same(const struct authn_config *a, const struct authn_config *b);
