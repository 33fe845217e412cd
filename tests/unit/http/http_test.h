/* What the tests of src/http share: a server on the simulator with a handler that does what the
 * path says, and a raw peer at the other end of an in-memory stream. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "http/client.h"
#include "http/server.h"
#include "rt/sim.h"
#include "rt/stream.h"
#include "rt/tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct fixture {
    struct rt *rt;
    struct http_server *server;
    struct http_request *held; /* of /hold and /stream */
    unsigned handled, bodies, closes, drains, body_ends;
    struct buf seen; /* body pieces of /pieces */
    char last_path[256];
    bool piece_pause;
    bool (*route)(struct http_request *req, struct fixture *f); /* asked first; true: taken */
    /* on the real loop */
    struct rt_listener *listener;
    struct rt_tls_server *tls_server;
    struct rt_tls_client *tls_client;
    uint16_t port;
    unsigned accepted;
};

/* The peer: everything the server says is in `in`. */
struct peer {
    struct rt_stream *s;
    struct buf in;
    bool eof, error;
};

void fixture_init(struct fixture *f, const struct http_server_opts *opts);
/* On libuv and a loopback socket; with TLS when asked for. */
void fixture_init_real(struct fixture *f, const struct http_server_opts *opts, bool tls);
/* Runs the loop until *flag, 10 s at most. */
void wait_flag(struct fixture *f, const bool *flag);
void fixture_fini(struct fixture *f); /* frees the server and the loop; ASan sees what is left */
void peer_open(struct fixture *f, struct peer *p);
void peer_close(struct peer *p);
void run_ms(struct fixture *f, int64_t ms); /* virtual */
/* One connection: sends text, half closes unless keep, gives back all that came. */
struct str say(struct fixture *f, struct peer *p, const char *text);
bool has(struct str hay, const char *needle);
#define assert_has(hay, needle)                                                                    \
    do {                                                                                           \
        struct str _h = (hay);                                                                     \
        if (!has(_h, needle))                                                                      \
            fail_msg("'%s' is not in: %.*s", needle, STR_ARG(_h));                                 \
    } while (0)
unsigned count(struct str hay, const char *needle);
