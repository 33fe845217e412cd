/* The latest of a document that is dear to make, kept for as long as somebody asks for it now and
 * then, and given back after that. Whose lock it is under is its owner's affair; times are those of
 * rt_now, any thread's. Zeroed is empty. */
#pragma once

#include "base/blob.h"
#include "base/buf.h"
#include "rt/crypto.h"

#define KEPT_IDLE      (60 * NSEC_PER_SEC) /* clients come in crowds: scripts, CI, many kubectls */
#define KEPT_BYTES_MAX (16u << 20)         /* a larger one is made for each who asks */

struct kept {
    struct blob *blob; /* owned; NULL: it must be made */
    char etag[SHA256_HEX + 3];
    nsec_t asked;
    uint64_t made;
};

/* Somebody asks: true when it is there. */
bool kept_ask(struct kept *k, nsec_t now);
/* It was made: the bytes of b, which is empty then. */
void kept_take(struct kept *k, struct buf *b);
/* Who asked is answered: it goes if it is too large. */
void kept_answered(struct kept *k);
/* It goes if nobody has asked for KEPT_IDLE. */
void kept_expire(struct kept *k, nsec_t now);
void kept_forget(struct kept *k);
