/* The upgrade to SPDY/3.1 as Kubernetes' clients ask for it: "Upgrade: SPDY/3.1" on a POST (or GET)
 * without a body, the sub-protocol in x-stream-protocol-version. */
#include "http/spdy.h"
#include "rt/stream.h"

bool spdy_requested(const struct http_request *req)
{
    return req->wants_upgrade &&
           http_header_has_token(req->headers, req->n_headers, STR("upgrade"), STR("spdy/3.1"));
}

struct spdy *spdy_accept(struct http_request *req, const char *const *protocols, size_t n,
                         const struct spdy_opts *opts, const struct spdy_callbacks *cb, void *arg,
                         int *ret_protocol)
{
    static const struct str version = {"x-stream-protocol-version", 25};
    struct http_header h[2] = {{STR("upgrade"), STR("SPDY/3.1")}};
    bool offered = http_request_header(req, version).p;
    struct rt_stream *stream;
    int chosen = -1;

    if (!spdy_requested(req)) {
        http_respond_str(req, 400, "text/plain", STR("unable to upgrade: no SPDY/3.1 asked for\n"));
        return NULL;
    }
    for (size_t i = 0; i < n && chosen < 0; i++)
        if (http_header_has_token(req->headers, req->n_headers, version, str_z(protocols[i])))
            chosen = (int)i;
    if (n && offered && chosen < 0) {
        http_respond_str(req, 403, "text/plain", STR("none of the sub-protocols is supported\n"));
        return NULL;
    }
    if (chosen >= 0)
        h[1] = (struct http_header){version, str_z(protocols[chosen])};
    if (http_upgrade_tunnel(req, 101, h, chosen >= 0 ? 2 : 1, &stream) < 0) {
        http_respond_str(req, 400, "text/plain", STR("this connection cannot be upgraded\n"));
        return NULL;
    }
    if (ret_protocol)
        *ret_protocol = chosen;
    return spdy_new(rt_stream_rt(stream), stream, opts, cb, arg);
}
