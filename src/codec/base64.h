/* Base64, RFC 4648. The url alphabet is the one of JWTs: '-' and '_', no padding. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"

void base64_print(struct str bytes, struct buf *b);
void base64url_print(struct str bytes, struct buf *b);
/* Strict: right alphabet, right padding (none for url), zero spare bits. *ret is in the arena and
 * not absent even when empty. */
int base64_parse(struct str text, struct arena *a, struct str *ret) MUST_CHECK;
int base64url_parse(struct str text, struct arena *a, struct str *ret) MUST_CHECK;
