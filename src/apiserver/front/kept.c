/* See kept.h. */
#include "apiserver/front/kept.h"

#include <stdio.h>

bool kept_ask(struct kept *k, nsec_t now)
{
    k->asked = MAX(k->asked, now);
    return k->blob != NULL;
}

void kept_take(struct kept *k, struct buf *b)
{
    char hex[SHA256_HEX + 1];
    ASSERT(!k->blob);
    sha256_hex_of(buf_str(b), hex);
    snprintf(k->etag, sizeof(k->etag), "\"%s\"", hex);
    k->blob = blob_new(buf_str(b));
    k->made++;
    buf_fini(b);
    *b = (struct buf){0};
}

void kept_answered(struct kept *k)
{
    if (k->blob && k->blob->n > KEPT_BYTES_MAX)
        kept_forget(k);
}

void kept_expire(struct kept *k, nsec_t now)
{
    if (now - k->asked >= KEPT_IDLE)
        kept_forget(k);
}

void kept_forget(struct kept *k)
{
    k->blob = blob_unref(k->blob);
}
