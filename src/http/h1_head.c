/* llhttp hands over the head of a message in pieces that may be cut anywhere. They are gathered in
 * one buffer per connection, which is reused, and copied once into the message's arena when the
 * head is complete: no allocation per header. Limits are checked while gathering, so a peer cannot
 * make us hold more. */
#include "http/http_int.h"
#include "base/mem.h"

#define KEPT_BYTES_MAX 8192 /* of an idle connection; most heads are under 1 KiB */

void h1_head_clear(struct h1_head *h)
{
    buf_clear(&h->bytes);
    if (h->bytes.cap > KEPT_BYTES_MAX)
        buf_fini(&h->bytes);
    h->target_n = 0;
    h->n = 0;
    h->error = 0;
}

void h1_head_fini(struct h1_head *h)
{
    buf_fini(&h->bytes);
    free(h->fields);
    *h = (struct h1_head){0};
}

static int head_add(struct h1_head *h, const char *p, size_t n)
{
    /* 4: what a field costs on the wire beside its bytes */
    if (h->bytes.n + n + (size_t)h->n * 4 > h->bytes_max) {
        h->error = 431;
        return HPE_USER;
    }
    buf_add(&h->bytes, p, n);
    return 0;
}

int h1_head_target(struct h1_head *h, const char *p, size_t n)
{
    ASSERT(h->n == 0);
    if (h->target_n + n > HTTP_TARGET_BYTES_MAX) {
        h->error = 414;
        return HPE_USER;
    }
    h->target_n += n;
    return head_add(h, p, n);
}

int h1_head_name(struct h1_head *h, const char *p, size_t n)
{
    struct h1_field *f = h->n ? &h->fields[h->n - 1] : NULL;
    size_t at = h->bytes.n;

    if (!f || f->value) { /* a value was seen: this begins the next field */
        if (h->n >= h->fields_max) {
            h->error = 431;
            return HPE_USER;
        }
        ARRAY_RESERVE(h->fields, h->n, h->cap);
        f = &h->fields[h->n++];
        *f = (struct h1_field){.name = (uint32_t)at};
    }
    if (f->name_n + n > HTTP_HEADER_NAME_MAX) {
        h->error = 431;
        return HPE_USER;
    }
    if (head_add(h, p, n) != 0)
        return HPE_USER;
    f->name_n += (uint32_t)n;
    for (char *c = h->bytes.data + at; c < h->bytes.data + at + n; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c | 0x20);
    return 0;
}

/* Told apart from "no value yet" by its offset: a name has at least one byte, so it is never 0. */
void h1_head_name_end(struct h1_head *h)
{
    ASSERT(h->n > 0);
    h->fields[h->n - 1].value = (uint32_t)h->bytes.n;
}

int h1_head_value(struct h1_head *h, const char *p, size_t n)
{
    struct h1_field *f = &h->fields[h->n - 1];

    ASSERT(h->n > 0 && f->value);
    f->value_n += (uint32_t)n;
    return head_add(h, p, n);
}

struct http_header *h1_head_take(const struct h1_head *h, struct arena *a, struct str *ret_target)
{
    struct http_header *v = arena_alloc(a, sizeof(*v) * (h->n + 1));
    const char *base = arena_str(a, (struct str){h->bytes.data ? h->bytes.data : "", h->bytes.n}).p;

    for (unsigned i = 0; i < h->n; i++) {
        const struct h1_field *f = &h->fields[i];

        v[i].name = (struct str){base + f->name, f->name_n};
        v[i].value = (struct str){base + f->value, f->value_n};
        /* optional white space behind a value is not part of it (RFC 9110 5.5) */
        while (v[i].value.n &&
               (v[i].value.p[v[i].value.n - 1] == ' ' || v[i].value.p[v[i].value.n - 1] == '\t'))
            v[i].value.n--;
    }
    *ret_target = (struct str){base, h->target_n};
    return v;
}

void h1_write_headers(struct buf *out, const struct http_header *headers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ASSERT(http_header_value_valid(headers[i].value));
        buf_add_str(out, headers[i].name);
        buf_add_lit(out, ": ");
        buf_add_str(out, headers[i].value);
        buf_add_lit(out, "\r\n");
    }
}

void h1_write_chunk_head(struct buf *out, size_t n)
{
    char tmp[24];
    int len = snprintf(tmp, sizeof(tmp), "%zx\r\n", n);

    buf_add(out, tmp, (size_t)len);
}
