/* Helpers of the rt tests. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>

#include "base/mem.h"
#include "rt/rt.h"
#include "rt/stream.h"

#include <cmocka.h>

static inline bool flag_set(void *arg)
{
    return *(bool *)arg;
}

/* What one end of a stream saw. */
struct end {
    struct rt_stream *s;
    struct buf got;
    bool eof, closed, drained, done;
    int err, handshake;
    size_t stop_at; /* read_stop once so much came; 0: never */
};

static inline void end_data(void *arg, struct str d)
{
    struct end *e = arg;

    assert_true(d.n > 0);
    buf_add_str(&e->got, d);
    if (e->stop_at && e->got.n >= e->stop_at)
        rt_stream_read_stop(e->s);
}

static inline void end_eof(void *arg)
{
    struct end *e = arg;

    assert_false(e->eof);
    e->eof = true;
}

static inline void end_error(void *arg, int err)
{
    struct end *e = arg;

    assert_int_equal(e->err, 0);
    e->err = err;
}

static inline void end_drain(void *arg)
{
    ((struct end *)arg)->drained = true;
}

static inline void end_closed(void *arg)
{
    ((struct end *)arg)->closed = true;
}

static const struct rt_stream_handler end_handler = {
    .on_data = end_data, .on_eof = end_eof, .on_error = end_error, .on_drain = end_drain};

static inline void end_start(struct end *e, struct rt_stream *s)
{
    e->s = s;
    rt_stream_set_handler(s, &end_handler, e);
    rt_stream_read_start(s);
}

/* Runs the loop until cond, or fails after a minute. */
#define WAIT(rt, cond)                                                                             \
    do {                                                                                           \
        nsec_t _end = rt_now(rt) + 60 * NSEC_PER_SEC;                                              \
        while (!(cond)) {                                                                          \
            bool _no = false;                                                                      \
            (void)rt_run_until((rt), flag_set, &_no, NSEC_PER_MSEC);                               \
            if (rt_now(rt) > _end)                                                                 \
                fail_msg("timed out waiting for %s", #cond);                                       \
        }                                                                                          \
    } while (0)

/* Lets the loop turn for a while: twenty times at least, however long this process was kept waiting
 * for a processor meanwhile. */
static inline void settle(struct rt *rt, nsec_t d)
{
    bool no = false;

    for (int i = 0; i < 20; i++)
        (void)rt_run_until(rt, flag_set, &no, d / 20);
}

/* Closes and waits until that is done. */
static inline void end_close(struct end *e)
{
    if (e->s) {
        struct rt *rt = rt_stream_rt(e->s);
        rt_stream_close(e->s, end_closed, e);
        assert_false(e->closed);
        WAIT(rt, e->closed);
    }
    e->s = NULL;
    buf_fini(&e->got);
}
