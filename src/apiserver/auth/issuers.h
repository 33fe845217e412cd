/* The issuers whose tokens are taken, and whether requests without credentials are: from flags, or
 * from a file, which is looked at again every few seconds. A new file takes the place of the old
 * one when it is good and the keys of all its issuers are there; until then, and if that does not
 * come, what was before stays. Made, stopped and freed on the core thread. */
#pragma once

#include "apiserver/auth/oidc.h"

struct issuers;

/* opts without an issuer and file NULL: nobody's tokens are taken. */
int issuers_new(struct rt *core, const struct oidc_opts *opts, const char *file,
                struct issuers **ret, struct error *err) MUST_CHECK;
/* changed(arg) is called on the core thread when keys are others or could not be had, and when
 * there is a new file. */
void issuers_on_changed(struct issuers *s, void (*changed)(void *arg), void *arg);
void issuers_stop(struct issuers *s);                           /* takes NULL */
struct issuers *issuers_free(struct issuers *s);                /* takes NULL; returns NULL */
void issuers_metrics(const struct issuers *s, struct buf *out); /* core thread */

/* Any thread, as oidc_authenticate. */
int issuers_authenticate(struct issuers *s, struct str token, int64_t now_s, enum oidc_wait wait,
                         struct arena *a, struct api_user *ret, int64_t *ret_expires_s) MUST_CHECK;
/* Any thread: whether a request without credentials may be for path. */
bool issuers_anonymous(struct issuers *s, struct str path);
/* Any thread. What was verified at another count is not any more. */
uint64_t issuers_generation(const struct issuers *s);
