/* Run a program and collect what it says: for crun, iptables-like helpers, exec probes. Output is
 * bounded, the rest is read and dropped so that the program does not block on a full pipe. */
#include "rt/process.h"
#include "base/mem.h"

#include <signal.h>

#define OUTPUT_DEFAULT  (64 * 1024)
#define TIMEOUT_DEFAULT (30 * NSEC_PER_SEC)
#define PIPE_GRACE      (100 * NSEC_PER_MSEC) /* for pipes a grandchild holds open */
#define EXIT_GRACE      (5 * NSEC_PER_SEC)    /* for a killed process in uninterruptible sleep */

struct capture {
    struct rt_run *run;
    struct rt_stream *s; /* owned; NULL: closed */
    struct buf *out;
    size_t max;
};

struct rt_run {
    struct rt *rt;
    struct rt_process *p; /* owned; NULL: not started */
    struct rt_stream *in; /* owned */
    struct capture out, errout;
    struct rt_timer timeout, grace;
    struct rt_task failed; /* could not be started */
    struct error error;
    struct rt_run_result res;
    bool ended;
    rt_run_fn fn;
    void *arg;
    char *name;    /* owned; of the program */
    char *message; /* owned */
};

static void close_stream(struct rt_stream **s)
{
    if (*s)
        rt_stream_close(*s, NULL, NULL);
    *s = NULL;
}

static void run_free(struct rt_run *r)
{
    rt_timer_stop(&r->timeout);
    rt_timer_stop(&r->grace);
    rt_task_cancel(&r->failed);
    close_stream(&r->in);
    close_stream(&r->out.s);
    close_stream(&r->errout.s);
    rt_process_free(r->p);
    buf_fini(&r->res.out);
    buf_fini(&r->res.errout);
    error_fini(&r->error);
    free(r->name);
    free(r->message);
    free(r);
}

/* The last line of what it complained about. */
static struct str complaint(struct rt_run *r)
{
    struct str s = str_trim(buf_str(r->res.errout.n ? &r->res.errout : &r->res.out));
    ssize_t nl = str_rfind(s, '\n');

    s = str_sub(s, (size_t)(nl + 1), s.n);
    return str_sub(s, 0, 500);
}

static void compose_message(struct rt_run *r)
{
    struct rt_exit how = r->res.how;
    struct str why = complaint(r);
    const char *colon = why.n ? ": " : "";

    if (r->error.message.p)
        r->message = str_dup(r->error.message);
    else if (r->res.err == -ETIMEDOUT)
        r->message = xasprintf("%s: timed out%s%.*s", r->name, colon, STR_ARG(why));
    else if (how.signal)
        r->message =
            xasprintf("%s: killed by signal %d%s%.*s", r->name, how.signal, colon, STR_ARG(why));
    else
        r->message = xasprintf("%s: exit status %d%s%.*s", r->name, how.code, colon, STR_ARG(why));
    r->res.message = r->message;
}

static void finish(struct rt_run *r)
{
    close_stream(&r->in);
    close_stream(&r->out.s);
    close_stream(&r->errout.s);
    rt_timer_stop(&r->timeout);
    rt_timer_stop(&r->grace);
    compose_message(r);
    r->fn(r->arg, &r->res);
    run_free(r);
}

static void maybe_finish(struct rt_run *r)
{
    if (!r->ended)
        return;
    if (!r->out.s && !r->errout.s)
        finish(r);
    else if (!rt_timer_active(&r->grace))
        rt_timer_start(&r->grace, PIPE_GRACE);
}

static void on_exit_(void *arg, struct rt_exit how)
{
    struct rt_run *r = arg;

    r->ended = true;
    r->res.how = how;
    rt_timer_stop(&r->timeout);
    rt_timer_stop(&r->grace);
    maybe_finish(r);
}

static void on_timeout(void *arg)
{
    struct rt_run *r = arg;

    r->res.err = -ETIMEDOUT;
    (void)rt_process_kill(r->p, SIGKILL, true);
    rt_timer_start(&r->grace, EXIT_GRACE);
}

static void on_grace(void *arg)
{
    finish(arg);
}

static void on_failed(void *arg)
{
    finish(arg);
}

/* ---- what it writes ---- */

static void capture_data(void *arg, struct str data)
{
    struct capture *c = arg;
    size_t room = c->max - MIN(c->max, c->out->n);

    if (data.n > room) {
        c->run->res.truncated = true;
        data.n = room;
    }
    buf_add_str(c->out, data);
}

static void capture_end(void *arg)
{
    struct capture *c = arg;

    close_stream(&c->s);
    maybe_finish(c->run);
}

static void capture_error(void *arg, int err)
{
    capture_end(arg);
}

static const struct rt_stream_handler capture_handler = {
    .on_data = capture_data, .on_eof = capture_end, .on_error = capture_error};

static void capture_start(struct capture *c, struct rt_run *r, int n, struct buf *out, size_t max)
{
    *c = (struct capture){.run = r, .out = out, .max = max, .s = rt_process_take_stdio(r->p, n)};
    if (!c->s)
        return;
    rt_stream_set_handler(c->s, &capture_handler, c);
    rt_stream_read_start(c->s);
}

/* A program that does not want its input closes the pipe; that is its affair. */
static void input_error(void *arg, int err)
{
    close_stream(&((struct rt_run *)arg)->in);
}

static const struct rt_stream_handler input_handler = {.on_error = input_error};

/* ---- starting ---- */

struct rt_run *rt_process_run(struct rt *rt, const struct rt_run_opts *opts, rt_run_fn fn,
                              void *arg)
{
    struct rt_run *r = NEW(struct rt_run);
    struct rt_process_opts o = opts->process;
    size_t max = opts->output_bytes_max ? opts->output_bytes_max : OUTPUT_DEFAULT;

    *r = (struct rt_run){.rt = rt, .fn = fn, .arg = arg, .res.how.code = -1};
    r->name = xstrdup(o.argv && o.argv[0] ? o.argv[0] : "?");
    rt_timer_init(&r->timeout, rt, on_timeout, r);
    rt_timer_init(&r->grace, rt, on_grace, r);
    rt_task_init(&r->failed, rt, on_failed, r);
    o.stdio[0] = opts->input.n ? RT_STDIO_PIPE : RT_STDIO_NULL;
    o.stdio[1] = o.stdio[2] = RT_STDIO_PIPE;
    o.new_session = true; /* so that all of it can be killed */
    r->res.err = rt_process_start(rt, &o, on_exit_, r, &r->error, &r->p);
    if (r->res.err < 0) {
        rt_task_schedule(&r->failed);
        return r;
    }
    capture_start(&r->out, r, 1, &r->res.out, max);
    capture_start(&r->errout, r, 2, opts->merge_stderr ? &r->res.out : &r->res.errout, max);
    r->in = rt_process_take_stdio(r->p, 0);
    if (r->in) {
        rt_stream_set_handler(r->in, &input_handler, r);
        rt_stream_write(r->in, opts->input);
        rt_stream_shutdown(r->in);
    }
    rt_timer_start(&r->timeout, opts->timeout ? opts->timeout : TIMEOUT_DEFAULT);
    return r;
}

struct rt_run *rt_run_cancel(struct rt_run *r)
{
    if (!r)
        return NULL;
    if (r->p)
        (void)rt_process_kill(r->p, SIGKILL, true);
    run_free(r);
    return NULL;
}
