/* Compression of large answers (lists), in the worker pool: deflating a megabyte takes longer than
 * anything else a loop does. The request is finished for the handler; the library holds it until
 * the pool is done. */
#include "http/server_int.h"
#include "base/mem.h"

#include <zlib.h>

#define GZIP_LEVEL                                                                                 \
    1 /* as a Kubernetes API server: lists compress well at any level, CPU is dear                 \
       */

struct gzip_job {
    struct http_req *req; /* owned by us until sent */
    int status;
    struct http_header *headers; /* in the request's arena */
    size_t n;
    struct http_bytes body; /* owned */
    char *out;              /* owned */
    size_t out_n;
    struct rt_work work;
};

static void gzip_work(void *arg)
{
    struct gzip_job *j = arg;
    z_stream z = {0};
    size_t cap;

    if (deflateInit2(&z, GZIP_LEVEL, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return;
    cap = deflateBound(&z, j->body.n);
    j->out = malloc(cap);
    if (j->out) {
        z.next_in = (Bytef *)j->body.p;
        z.avail_in = (uInt)j->body.n;
        z.next_out = (Bytef *)j->out;
        z.avail_out = (uInt)cap;
        if (deflate(&z, Z_FINISH) == Z_STREAM_END)
            j->out_n = z.total_out;
    }
    deflateEnd(&z);
}

static void gzip_done(void *arg)
{
    struct gzip_job *j = arg;
    struct http_req *r = j->req;

    if (!r->conn) {
        http_bytes_release(&j->body);
        free(j->out);
        req_finish(r);
    } else if (j->out_n) {
        http_bytes_release(&j->body);
        j->headers[j->n++] = (struct http_header){STR("content-encoding"), STR("gzip")};
        req_send_whole(r, j->status, j->headers, j->n, http_bytes_take(j->out, j->out_n));
    } else { /* out of memory: send it as it is */
        free(j->out);
        req_send_whole(r, j->status, j->headers, j->n, j->body);
    }
    free(j);
}

/* RFC 9110 12.5.3; "gzip;q=0" refuses it. */
static bool accepts_gzip(const struct http_request *req)
{
    static const struct str offer[] = {{"gzip", 4}};
    struct str v = http_request_header(req, STR("accept-encoding"));

    return v.n && http_accept_pick(v, offer, 1) == 0;
}

bool gzip_respond(struct http_req *r, int status, const struct http_header *headers, size_t n,
                  struct http_bytes *body)
{
    const struct http_server_opts *o = &r->server->opts;
    struct gzip_job *j;

    if (body->n < o->gzip_bytes_min || body->n > o->gzip_bytes_max || body->n > UINT32_MAX / 2 ||
        status < 200 || status > 299 || status == 204 || r->pub.method == HTTP_METHOD_HEAD ||
        !accepts_gzip(&r->pub) || http_header_get(headers, n, STR("content-encoding")).p)
        return false;
    j = NEW(struct gzip_job);
    j->req = r;
    j->status = status;
    j->headers = arena_alloc(&r->pub.arena, sizeof(*headers) * (n + 2));
    for (size_t i = 0; i < n; i++)
        j->headers[i] = (struct http_header){arena_str(&r->pub.arena, headers[i].name),
                                             arena_str(&r->pub.arena, headers[i].value)};
    j->headers[n] = (struct http_header){STR("vary"), STR("accept-encoding")};
    j->n = n + 1;
    j->body = *body;
    *body = HTTP_BYTES_NONE;
    r->body_mode = BODY_DROP;
    r->on_close = NULL;
    r->on_drain = NULL;
    rt_work(r->server->rt, &j->work, RT_WORK_SHORT, gzip_work, gzip_done, j);
    return true;
}
