/* Service account tokens bound to one pod, requested (TokenRequest) and renewed when four fifths of
 * their time are over. */
#pragma once

#include "client/client.h"

struct tokens;
/* changed(arg) after every new token. */
struct tokens *tokens_new(struct client *c, struct rt *rt, rt_fn changed, void *arg);
void tokens_stop(struct tokens *t);
struct tokens *tokens_free(struct tokens *t);
/* 0: *ret is valid until the next turn; -EAGAIN: asked for; other errors of the server, in err
 * (asked for again later). */
int tokens_get(struct tokens *t, const struct api_pod *pod, struct str account, struct str audience,
               int64_t lifetime_s, struct str *ret, struct error *err) MUST_CHECK;
