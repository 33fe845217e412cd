/* Errors that travel to people. Field causes are collected rather than stopping at the first one,
 * because whoever wrote the manifest wants to mend it in one go. */
#include "base/error.h"
#include "base/buf.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    int code;
    const char *text;
    int err;
} reasons[_REASON_MAX] = {
#define X(name, code, text, err) [REASON_##name] = {code, text, err},
    ERROR_REASONS(X)
#undef X
};

int error_reason_http_code(enum error_reason r)
{
    ASSERT(r >= 0 && r < _REASON_MAX);
    return reasons[r].code;
}

const char *error_reason_text(enum error_reason r)
{
    ASSERT(r >= 0 && r < _REASON_MAX);
    return reasons[r].text;
}

int error_reason_errno(enum error_reason r)
{
    ASSERT(r >= 0 && r < _REASON_MAX);
    return reasons[r].err;
}

enum error_reason error_reason_from_errno(int r)
{
    r = r > 0 ? -r : r;
    if (r == -EDQUOT || r == -EROFS)
        return REASON_STORAGE_FULL;
    for (int i = 1; i < _REASON_MAX; i++)
        if (reasons[i].err == r)
            return (enum error_reason)i;
    return REASON_INTERNAL;
}

enum error_reason error_reason_parse(struct str text, int http_code)
{
    enum error_reason by_code = REASON_INTERNAL;

    for (int i = _REASON_MAX - 1; i > 0; i--) {
        if (text.n && str_eqz(text, reasons[i].text) &&
            (!http_code || reasons[i].code == http_code))
            return (enum error_reason)i;
        if (reasons[i].code == http_code)
            by_code = (enum error_reason)i;
    }
    return by_code;
}

void error_fini(struct error *err)
{
    if (!err)
        return;
    arena_fini(&err->arena);
    *err = (struct error){0};
}

void error_clear(struct error *err)
{
    error_fini(err);
}

static struct str verror_message(struct error *err, const char *fmt, va_list ap)
{
    CLEANUP(freep) char *s = NULL;

    if (vasprintf(&s, fmt, ap) < 0)
        abort();
    return arena_strz(&err->arena, s);
}

int error_set(struct error *err, enum error_reason reason, const char *fmt, ...)
{
    va_list ap;

    ASSERT(reason > 0 && reason < _REASON_MAX);
    if (err && !err->message.p) {
        va_start(ap, fmt);
        err->message = verror_message(err, fmt, ap);
        va_end(ap);
        err->reason = reason;
    }
    return reasons[reason].err;
}

int error_errno(struct error *err, int errnum, const char *fmt, ...)
{
    va_list ap;

    errnum = errnum < 0 ? -errnum : errnum;
    if (err && !err->message.p) {
        struct str what;
        va_start(ap, fmt);
        what = verror_message(err, fmt, ap);
        va_end(ap);
        err->message = arena_printf(&err->arena, "%.*s: %s", STR_ARG(what), strerror(errnum));
        err->reason = error_reason_from_errno(-errnum);
    }
    return -errnum;
}

void error_prefix(struct error *err, const char *fmt, ...)
{
    struct str what;
    va_list ap;

    if (!err || !err->message.p)
        return;
    va_start(ap, fmt);
    what = verror_message(err, fmt, ap);
    va_end(ap);
    err->message = arena_printf(&err->arena, "%.*s: %.*s", STR_ARG(what), STR_ARG(err->message));
}

int error_cause(struct error *err, const char *type, struct str field, const char *fmt, ...)
{
    struct error_cause *c;
    va_list ap;

    if (!err)
        return reasons[REASON_INVALID].err;
    if (err->n_causes++ >= ERROR_CAUSES_MAX)
        return reasons[REASON_INVALID].err;
    c = ARENA_NEW(&err->arena, struct error_cause);
    c->reason = str_z(type);
    c->field = arena_str(&err->arena, field);
    va_start(ap, fmt);
    c->message = verror_message(err, fmt, ap);
    va_end(ap);
    if (!err->causes_tail)
        err->causes_tail = &err->causes;
    *err->causes_tail = c;
    err->causes_tail = &c->next;
    return reasons[REASON_INVALID].err;
}

int error_invalid(struct error *err, struct str kind_dot_group, struct str name)
{
    struct buf b = {0};
    bool many;

    if (!err || !err->causes)
        return 0;
    many = err->causes->next != NULL;
    for (struct error_cause *c = err->causes; c; c = c->next)
        buf_printf(&b, "%s%.*s: %.*s", c == err->causes ? "" : ", ", STR_ARG(c->field),
                   STR_ARG(c->message));
    err->message =
        arena_printf(&err->arena, "%.*s \"%.*s\" is invalid: %s%.*s%s", STR_ARG(kind_dot_group),
                     STR_ARG(name), many ? "[" : "", STR_ARG(buf_str(&b)), many ? "]" : "");
    err->reason = REASON_INVALID;
    buf_fini(&b);
    return reasons[REASON_INVALID].err;
}

void error_copy(struct error *dst, const struct error *src)
{
    dst->reason = src->reason;
    dst->message = arena_str(&dst->arena, src->message);
    dst->retry_after_s = src->retry_after_s;
    for (struct error_cause *c = src->causes; c; c = c->next)
        (void)error_cause(dst, c->reason.p, c->field, "%.*s", STR_ARG(c->message));
}
