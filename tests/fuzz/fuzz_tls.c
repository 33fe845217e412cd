/* Any bytes at a TLS server: the handshake fails or waits, whatever arrives and in whatever pieces.
 * On the simulator, so that the handshake's time limit passes at once. The first byte says how the
 * rest is cut. */
#include "base/mem.h"
#include "rt/sim.h"
#include "rt/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rt_tls_server *server;
static struct rt_stream *conn;
static bool done;

static void on_done(void *arg, int err)
{
    ASSERT(!done && err < 0); /* no key of the client, no handshake */
    done = true;
    if (err == -EPROTOTYPE)
        conn = rt_tls_take_plain(conn);
}

static void on_data(void *arg, struct str d)
{
}

static void on_error(void *arg, int err)
{
}

static const struct rt_stream_handler handler = {.on_data = on_data, .on_error = on_error};

static void make_server(void)
{
    struct pkey *key = pkey_new_p256();
    struct cert *ca = NULL;
    struct rt_tls_server_opts o = {0};

    ASSERT(cert_new_ca(key, STR("fuzz"), 4000000000, NULL, &ca) == 0);
    o.cert_pem = o.client_ca_pem = str_z(cert_to_pem(ca));
    o.key_pem = str_z(pkey_to_pem(key));
    ASSERT(rt_tls_server_new(&o, NULL, &server) == 0);
    free((char *)o.cert_pem.p);
    free((char *)o.key_pem.p);
    cert_free(ca);
    pkey_free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rt *rt = rt_sim_new(1, 0);
    struct rt_stream *a, *b;
    size_t piece = size ? (size_t)data[0] + 1 : 1;

    if (!server)
        make_server();
    done = false;
    rt_stream_pair(rt, &a, &b);
    conn = rt_tls_accept(server, a, on_done, NULL);
    rt_stream_set_handler(conn, &handler, NULL);
    rt_stream_set_handler(b, &handler, NULL);
    rt_stream_read_start(b);
    for (size_t i = 1; i < size; i += piece) {
        rt_stream_write(b, (struct str){(const char *)data + i, MIN(piece, size - i)});
        rt_sim_run_for(rt, NSEC_PER_MSEC);
    }
    if (size % 2)
        rt_stream_shutdown(b);
    rt_sim_run_for(rt, 11 * NSEC_PER_SEC);
    ASSERT(done); /* a silent peer runs into the limit */
    rt_stream_close(conn, NULL, NULL);
    rt_stream_close(b, NULL, NULL);
    rt_free(rt);
    return 0;
}
