/* See check.h: the sentences people grep for live in one place. */
#include "api/check.h"

#include <stdarg.h>
#include <stdio.h>

struct str check_path(char *buf, size_t n, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(buf, n, fmt, ap);
    va_end(ap);
    return (struct str){buf, len < 0 ? 0 : MIN((size_t)len, n - 1)};
}

void check_invalid(struct error *err, struct str path, struct str value, const char *why)
{
    (void)error_cause(err, CAUSE_INVALID, path, "Invalid value: \"%.*s\": %s",
                      (int)MIN(value.n, (size_t)256), value.p ? value.p : "", why);
}

void check_invalid_int(struct error *err, struct str path, int64_t value, const char *why)
{
    (void)error_cause(err, CAUSE_INVALID, path, "Invalid value: %lld: %s", (long long)value, why);
}

void check_required(struct error *err, struct str path, const char *why)
{
    (void)error_cause(err, CAUSE_REQUIRED, path, "Required value%s%s", why && why[0] ? ": " : "",
                      why ? why : "");
}

void check_forbidden(struct error *err, struct str path, const char *why)
{
    (void)error_cause(err, CAUSE_FORBIDDEN, path, "Forbidden: %s", why);
}

void check_duplicate(struct error *err, struct str path, struct str value)
{
    (void)error_cause(err, CAUSE_DUPLICATE, path, "Duplicate value: \"%.*s\"", STR_ARG(value));
}

void check_not_found(struct error *err, struct str path, struct str value)
{
    (void)error_cause(err, CAUSE_NOT_FOUND, path, "Not found: \"%.*s\"", STR_ARG(value));
}

void check_not_supported(struct error *err, struct str path, struct str value,
                         const char *const *list)
{
    struct buf b = {0};
    for (const char *const *s = list; *s; s++)
        buf_printf(&b, "%s\"%s\"", s == list ? "" : ", ", *s);
    (void)error_cause(err, CAUSE_NOT_SUPPORTED, path,
                      "Unsupported value: \"%.*s\": supported values: %.*s", STR_ARG(value),
                      STR_ARG(buf_str(&b)));
    buf_fini(&b);
}

void check_format(struct error *err, struct str path, enum schema_format f, struct str s)
{
    const char *why = schema_format_check(f, s);
    if (why)
        check_invalid(err, path, s, why);
}

void check_immutable(struct error *err, struct str path, const struct schema_desc *d, const void *a,
                     const void *b)
{
    if (schema_equal(d, a, b))
        return;
    struct buf text = {0};
    schema_encode_json(d, a, 0, &text);
    (void)error_cause(err, CAUSE_INVALID, path, "Invalid value: %.*s: field is immutable",
                      (int)MIN(text.n, (size_t)512), text.data ? text.data : "");
    buf_fini(&text);
}

void check_immutable_str(struct error *err, struct str path, struct str a, struct str b)
{
    if (!str_eq(a, b))
        check_invalid(err, path, a, "field is immutable");
}
