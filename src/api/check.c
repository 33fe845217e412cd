/* See check.h: the sentences people grep for live in one place. */
#include "api/check.h"

#include "api/hooks.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static size_t put(char *buf, size_t at, size_t n, struct str s)
{
    size_t k = MIN(s.n, n - 1 - at);
    if (k)
        memcpy(buf + at, s.p, k);
    return at + k;
}

/* Every validation makes dozens of paths and needs nearly none, so this is printf for what paths
 * have and nothing else: %s, %u, %.*s. */
struct str check_path(char *buf, size_t n, const char *fmt, ...)
{
    size_t at = 0;
    va_list ap;
    ASSERT(n > 0);
    va_start(ap, fmt);
    while (*fmt) {
        size_t plain = strcspn(fmt, "%");
        at = put(buf, at, n, (struct str){fmt, plain});
        fmt += plain;
        if (strncmp(fmt, "%s", 2) == 0) {
            at = put(buf, at, n, str_z(va_arg(ap, const char *)));
            fmt += 2;
        } else if (strncmp(fmt, "%u", 2) == 0) {
            char digits[12];
            size_t i = sizeof(digits);
            unsigned v = va_arg(ap, unsigned);
            do
                digits[--i] = (char)('0' + v % 10);
            while (v /= 10);
            at = put(buf, at, n, (struct str){digits + i, sizeof(digits) - i});
            fmt += 2;
        } else if (strncmp(fmt, "%.*s", 4) == 0) {
            int k = va_arg(ap, int);
            at = put(buf, at, n, (struct str){va_arg(ap, const char *), (size_t)MAX(k, 0)});
            fmt += 4;
        } else {
            ASSERT(!*fmt);
        }
    }
    va_end(ap);
    buf[at] = '\0';
    return (struct str){buf, at};
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

void check_invalid_msg(struct error *err, struct str path, const struct schema_desc *d,
                       const void *msg, const char *why)
{
    struct buf text = {0};
    schema_encode_json(d, msg, 0, &text);
    (void)error_cause(err, CAUSE_INVALID, path, "Invalid value: %.*s: %s",
                      (int)MIN(text.n, (size_t)512), text.data ? text.data : "", why);
    buf_fini(&text);
}

void check_immutable(struct error *err, struct str path, const struct schema_desc *d, const void *a,
                     const void *b)
{
    if (!schema_equal(d, a, b))
        check_invalid_msg(err, path, d, a, "field is immutable");
}

void check_immutable_str(struct error *err, struct str path, struct str a, struct str b)
{
    if (!str_eq(a, b))
        check_invalid(err, path, a, "field is immutable");
}

int32_t check_share(struct error *err, struct str path, const struct int_or_str *v)
{
    int32_t n = 0;
    if (int_or_str_scaled(v, 100, true, &n) < 0)
        check_invalid(err, path, v->s,
                      "a valid percent string must be a numeric string followed by an ending '%' "
                      "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')");
    else if (n < 0)
        check_invalid_int(err, path, n, "must be greater than or equal to 0");
    return n;
}

static void check_requirement(const struct api_label_selector_requirement *r, struct str path,
                              struct error *err)
{
    PATH(values, "%s.values", path.p);
    PATH(operator, "%s.operator", path.p);
    PATH(key, "%s.key", path.p);
    if (str_is(r->operator, "In") || str_is(r->operator, "NotIn")) {
        if (!r->n_values)
            check_required(err, values, "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (str_is(r->operator, "Exists") || str_is(r->operator, "DoesNotExist")) {
        if (r->n_values)
            check_forbidden(err, values,
                            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else {
        check_invalid(err, operator, r->operator, "not a valid selector operator");
    }
    check_format(err, key, SCHEMA_FORMAT_QUALIFIED_NAME, r->key);
    for (uint32_t i = 0; i < r->n_values; i++) {
        PATH(value, "%s[%u]", values.p, i);
        check_format(err, value, SCHEMA_FORMAT_LABEL_VALUE, r->values[i]);
    }
}

void check_label_selector(struct error *err, struct str path, const struct api_label_selector *s)
{
    PATH(labels, "%s.matchLabels", path.p);
    if (!s)
        return;
    api_validate_labels(s->match_labels, s->n_match_labels, labels, err);
    for (uint32_t i = 0; i < s->n_match_expressions; i++) {
        PATH(at, "%s.matchExpressions[%u]", path.p, i);
        check_requirement(&s->match_expressions[i], at, err);
    }
}

void check_quantity(struct error *err, struct str path, const struct quantity *q)
{
    static const struct quantity zero = {0};
    char text[QUANTITY_TEXT_MAX];
    if (quantity_cmp(q, &zero) < 0)
        check_invalid(err, path, (struct str){text, quantity_format(q, text)},
                      "must be greater than or equal to 0");
}

unsigned check_n_set(const struct schema_desc *d, const void *msg)
{
    unsigned n = 0;
    for (unsigned i = 0; i < d->n_fields; i++)
        n += !schema_field_absent(&d->fields[i], msg);
    return n;
}

void check_star(const struct str *v, uint32_t n, const char *path, const char *field,
                const char *what, struct error *err)
{
    PATH(at, "%s.%s", path, field);
    char why[80];
    snprintf(why, sizeof(why), "if '*' is present, must not specify other %s", what);
    for (uint32_t i = 0; i < n && n > 1; i++)
        if (str_is(v[i], "*")) {
            check_invalid(err, at, v[i], why);
            return;
        }
}

void check_format_lower(struct error *err, struct str path, enum schema_format f, struct str s)
{
    char low[320];
    size_t n = MIN(s.n, sizeof(low));
    for (size_t i = 0; i < n; i++)
        low[i] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (char)(s.p[i] | 32) : s.p[i];
    const char *why = schema_format_check(f, (struct str){low, n});
    if (why)
        check_invalid(err, path, s, why);
}
