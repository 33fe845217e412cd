/* Small things both ends of HTTP need: looking into headers, taking queries apart, choosing a media
 * type. They are written against RFC 9110 and are strict where laxness has been used for attacks.
 */
#include "http/http.h"
#include "http/http_int.h"
#include "base/mem.h"

struct str http_header_get(const struct http_header *headers, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(headers[i].name, name))
            return headers[i].value;
    return STR_NONE;
}

bool http_header_has_token(const struct http_header *headers, size_t n, struct str name,
                           struct str token)
{
    for (size_t i = 0; i < n; i++) {
        struct str rest = headers[i].value, item;

        if (!str_eq(headers[i].name, name))
            continue;
        while (str_cut(&rest, ',', &item) || item.n) {
            struct str word;

            (void)str_cut(&item, ';', &word);
            if (str_ieq(str_trim(word), token))
                return true;
        }
    }
    return false;
}

struct http_bytes http_bytes_take(char *p, size_t n)
{
    return (struct http_bytes){p, n, free, p};
}

struct http_bytes http_bytes_copy(struct str s)
{
    char *p;

    if (!s.n)
        return HTTP_BYTES_NONE;
    p = xmalloc(s.n);
    memcpy(p, s.p, s.n);
    return http_bytes_take(p, s.n);
}

void http_bytes_release(struct http_bytes *b)
{
    struct http_bytes old = *b;

    *b = HTTP_BYTES_NONE;
    if (old.release)
        old.release(old.arg);
}

/* tchar of RFC 9110 5.6.2 without upper case. */
bool http_header_name_valid(struct str name)
{
    if (!name.n || name.n > HTTP_HEADER_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];

        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
            continue;
        if (c == 0 || !strchr("!#$%&'*+-.^_`|~", c))
            return false;
    }
    return true;
}

bool http_header_value_valid(struct str value)
{
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* host[:port] or [address][:port] */
static bool authority_parse(struct str text, struct str *ret_host, uint16_t *ret_port)
{
    struct str host = text, port = STR_NONE;
    uint64_t n = 443;
    ssize_t at = str_find(text, text.n && text.p[0] == '[' ? ']' : ':');
    if (text.n && text.p[0] == '[') {
        if (at < 0)
            return false;
        host = str_sub(text, 1, (size_t)at);
        port = str_sub(text, (size_t)at + 1, text.n);
    } else if (at >= 0) {
        host = str_sub(text, 0, (size_t)at);
        port = str_sub(text, (size_t)at, text.n);
    }
    if (!host.n || host.n > 253)
        return false;
    if (port.n && port.p[0] != ':')
        return false;
    if (port.n > 1 && (str_to_u64(str_sub(port, 1, port.n), &n) < 0 || n < 1 || n > 65535))
        return false;
    *ret_host = host;
    *ret_port = (uint16_t)n;
    return true;
}

bool http_https_url_parse(struct str url, struct str *ret_host, uint16_t *ret_port,
                          struct str *ret_target)
{
    struct str scheme = STR("https://"), rest;
    size_t end = 0;
    if (!str_starts(url, scheme))
        return false;
    for (size_t i = 0; i < url.n; i++)
        if ((unsigned char)url.p[i] <= ' ' || (unsigned char)url.p[i] >= 0x7f ||
            strchr("#@\\\"", url.p[i]))
            return false;
    rest = str_sub(url, scheme.n, url.n);
    while (end < rest.n && rest.p[end] != '/' && rest.p[end] != '?')
        end++;
    if ((end < rest.n && rest.p[end] == '?') ||
        !authority_parse(str_sub(rest, 0, end), ret_host, ret_port))
        return false;
    *ret_target = end < rest.n ? str_sub(rest, end, rest.n) : STR("/");
    return true;
}

int http_unescape(struct arena *a, struct str s, bool plus_is_space, struct str *ret)
{
    char *out = arena_try_alloc(a, s.n + 1);
    size_t n = 0;

    if (!out)
        return -ENOMEM;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c == '%') {
            int hi = s.n - i > 2 ? hex_digit(s.p[i + 1]) : -1;
            int lo = hi >= 0 ? hex_digit(s.p[i + 2]) : -1;

            if (lo < 0 || (hi == 0 && lo == 0))
                return -EINVAL;
            c = (char)(hi * 16 + lo);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        out[n++] = c;
    }
    out[n] = '\0';
    *ret = (struct str){out, n};
    return 0;
}

bool http_query_next(struct str *query, struct arena *a, struct str *ret_name,
                     struct str *ret_value)
{
    while (query->n) {
        struct str pair, name;

        (void)str_cut(query, '&', &pair);
        if (!pair.n)
            continue;
        (void)str_cut(&pair, '=', &name);
        if (http_unescape(a, name, true, ret_name) < 0)
            *ret_name = name;
        if (http_unescape(a, pair, true, ret_value) < 0)
            *ret_value = pair.p ? pair : STR("");
        return true;
    }
    return false;
}

/* q-value in thousandths; bad ones count as 1000, as servers commonly do. */
static int accept_q(struct str params)
{
    struct str p;

    while (str_cut(&params, ';', &p) || p.n) {
        int q = 0, scale = 100;

        p = str_trim(p);
        if (p.n < 3 || (p.p[0] | 0x20) != 'q' || p.p[1] != '=')
            continue;
        if (p.p[2] == '1')
            return 1000;
        for (size_t i = 4; i < p.n && i < 7; i++, scale /= 10) {
            if (p.p[i] < '0' || p.p[i] > '9')
                return 1000;
            q += (p.p[i] - '0') * scale;
        }
        return q;
    }
    return 1000;
}

/* 3: exact, 2: type, 1: everything, 0: no match */
static int accept_match(struct str range, struct str offer)
{
    if (str_ieq(range, offer))
        return 3;
    if (str_is(range, "*/*"))
        return 1;
    if (range.n > 2 && str_ends(range, STR("/*")) && offer.n > range.n - 1 &&
        str_ieq(str_sub(range, 0, range.n - 1), str_sub(offer, 0, range.n - 1)))
        return 2;
    return 0;
}

int http_accept_pick(struct str accept, const struct str *offers, size_t n)
{
    int best = -1, best_q = 0, best_pos = 0;

    if (!str_trim(accept).n)
        return n ? 0 : -1;
    for (size_t o = 0; o < n; o++) {
        struct str rest = accept, item;
        int match = 0, q = 0, pos = 0, at = 0;

        for (; str_cut(&rest, ',', &item) || item.n; at++) {
            struct str range;
            int m;

            (void)str_cut(&item, ';', &range);
            m = accept_match(str_trim(range), offers[o]);
            if (m > match) {
                match = m;
                q = accept_q(item);
                pos = at;
            }
        }
        /* equal weight: what the client names first, then what we like more */
        if (match && q > 0 && (best < 0 || q > best_q || (q == best_q && pos < best_pos))) {
            best = (int)o;
            best_q = q;
            best_pos = pos;
        }
    }
    return best;
}

/* Registered phrases, RFC 9110 and the IANA list; codes that Kubernetes servers give. */
static const struct {
    int status;
    const char *text;
} status_texts[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

const char *http_status_text(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(status_texts); i++)
        if (status_texts[i].status == status)
            return status_texts[i].text;
    return "";
}

/* ---- queue of counted bytes ---- */

void bytesq_push(struct bytesq *q, struct http_bytes b)
{
    if (!b.n) {
        http_bytes_release(&b);
        return;
    }
    if (q->head + q->n == q->cap) {
        if (q->head > 0) {
            memmove(q->v, q->v + q->head, q->n * sizeof(*q->v));
            q->head = 0;
        } else {
            ARRAY_RESERVE(q->v, q->n, q->cap);
        }
    }
    q->v[q->head + q->n++] = b;
    q->bytes += b.n;
}

/* Appends exactly n bytes (n <= q->bytes) to `out` and releases what is done. */
void bytesq_pop_to(struct bytesq *q, size_t n, struct buf *out)
{
    ASSERT(n <= q->bytes);
    while (n) {
        struct http_bytes *b = &q->v[q->head];
        size_t take = MIN(b->n - q->off, n);

        buf_add(out, (const char *)b->p + q->off, take);
        q->off += take;
        q->bytes -= take;
        n -= take;
        if (q->off == b->n) {
            http_bytes_release(b);
            q->off = 0;
            q->head++;
            if (--q->n == 0)
                q->head = 0;
        }
    }
}

void bytesq_fini(struct bytesq *q)
{
    for (size_t i = 0; i < q->n; i++)
        http_bytes_release(&q->v[q->head + i]);
    free(q->v);
    *q = (struct bytesq){0};
}

void stream_write_bytes(struct rt_stream *s, struct http_bytes b)
{
    /* under this a copy is cheaper than a reference of its own in the stream's queue */
    if (b.n <= 4096 || !b.release) {
        if (b.n > 4096)
            rt_stream_write_ref(s, (struct str){b.p, b.n}, NULL, NULL);
        else if (b.n)
            rt_stream_write(s, (struct str){b.p, b.n});
        http_bytes_release(&b);
        return;
    }
    rt_stream_write_ref(s, (struct str){b.p, b.n}, b.release, b.arg);
}
