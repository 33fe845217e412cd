/* The trace goes to the log at debug level whatever the log's threshold, since whoever switched it
 * on wants to see it now; and to taps, each of them a piece of text that is bounded and goes by
 * itself. While there are none and the log's trace is off, trace_on is false and a trace costs one
 * load. */
#include "base/trace.h"
#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

bool trace_on;
static char trace_filter[128];
static bool to_log;

static struct tap {
    char match[TRACE_TAP_MATCH_BYTES + 1]; /* "": free */
    struct buf text;
    uint64_t dropped; /* bytes before text */
    int64_t last_read_s;
} taps[TRACE_TAPS_MAX];
static unsigned n_taps;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all above but trace_on */

static void update(void)
{
    __atomic_store_n(&trace_on, to_log || n_taps, __ATOMIC_RELEASE);
}

void trace_set(bool on, const char *filter)
{
    pthread_mutex_lock(&lock);
    snprintf(trace_filter, sizeof(trace_filter), "%s", filter ? filter : "");
    to_log = on;
    update();
    pthread_mutex_unlock(&lock);
}

/* ---- taps ---- */

static int64_t now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

static void tap_close(struct tap *t)
{
    buf_fini(&t->text);
    *t = (struct tap){0};
    n_taps--;
    update();
}

static bool goes_on(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.';
}

static bool tap_wants(const struct tap *t, const char *text)
{
    size_t n = strlen(t->match);
    for (const char *at = text; (at = strstr(at, t->match)); at++)
        if ((at == text || !goes_on(at[-1])) && !goes_on(at[n]))
            return true;
    return false;
}

static void tap_add(struct tap *t, const char *text)
{
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    buf_printf(&t->text, "%02d:%02d:%02d.%06ld %s\n", tm.tm_hour, tm.tm_min, tm.tm_sec,
               now.tv_nsec / 1000, text);
    if (t->text.n <= TRACE_TAP_BYTES_MAX)
        return;
    size_t cut = t->text.n / 2; /* whole lines of the older half */
    while (cut < t->text.n && t->text.data[cut - 1] != '\n')
        cut++;
    memmove(t->text.data, t->text.data + cut, t->text.n - cut);
    t->text.n -= cut;
    t->dropped += cut;
}

int trace_tap_read(struct str match, uint64_t *pos, uint64_t *ret_lost, struct buf *out)
{
    struct tap *t = NULL, *none = NULL;
    if (!match.n || match.n > TRACE_TAP_MATCH_BYTES)
        return -EINVAL;
    pthread_mutex_lock(&lock);
    for (struct tap *k = taps; k < taps + TRACE_TAPS_MAX; k++) {
        if (k->match[0] && str_eqz(match, k->match))
            t = k;
        else if (!k->match[0] && !none)
            none = k;
    }
    if (!t && none) {
        t = none;
        memcpy(t->match, match.p, match.n);
        n_taps++;
        update();
    }
    if (t) {
        t->last_read_s = now_s();
        *ret_lost = *pos && *pos < t->dropped ? t->dropped - *pos : 0;
        *pos = CLAMP(*pos, t->dropped, t->dropped + t->text.n);
        buf_add(out, t->text.data + (*pos - t->dropped), t->text.n - (*pos - t->dropped));
        *pos = t->dropped + t->text.n;
    }
    pthread_mutex_unlock(&lock);
    return t ? 0 : -EBUSY;
}

void trace_taps_print(struct buf *out)
{
    pthread_mutex_lock(&lock);
    for (const struct tap *t = taps; t < taps + TRACE_TAPS_MAX; t++)
        if (t->match[0])
            buf_printf(out, "followed: %s\n", t->match);
    pthread_mutex_unlock(&lock);
}

void trace_taps_close(void)
{
    pthread_mutex_lock(&lock);
    for (struct tap *t = taps; t < taps + TRACE_TAPS_MAX; t++)
        if (t->match[0])
            tap_close(t);
    pthread_mutex_unlock(&lock);
}

/* ---- lines ---- */

void trace_write(const char *file, int line, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&lock);
    int64_t gone = n_taps ? now_s() - TRACE_TAP_LEASE_S : 0;
    for (struct tap *t = taps; n_taps && t < taps + TRACE_TAPS_MAX; t++) {
        if (t->match[0] && t->last_read_s < gone)
            tap_close(t);
        else if (t->match[0] && tap_wants(t, text))
            tap_add(t, text);
    }
    bool log = to_log && (!trace_filter[0] || strstr(text, trace_filter));
    pthread_mutex_unlock(&lock);
    if (log)
        log_write(LOG_LEVEL_DEBUG, "trace %s:%d %s", file, line, text);
}
