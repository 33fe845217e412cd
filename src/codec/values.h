/* The values of the Kubernetes API that are neither scalars nor messages, as C structs, and their
 * text forms. The generated API structs (api/types.gen.h) are made of these.
 *
 * In every one of them, all zero bytes means "absent". Parsers leave the output untouched on
 * failure and return 0 or -EINVAL (-ERANGE when the text is well formed but too large). Printers
 * append to a buffer, without quotes. */
#pragma once

#include "base/buf.h"
#include "base/str.h"

/* An amount: mantissa * 10^scale. Held canonically by quantity_parse, so that equal amounts of the
 * same format are equal bytes. Precision is a nano unit; smaller parts round up (away from zero),
 * and amounts beyond +-(2^63-1) are cut to that, both as Kubernetes does. Above 2^63-1 nano units
 * the mantissa keeps the leading 18 or 19 digits, rounded up. */
struct quantity {
    int64_t mantissa;
    int8_t scale;   /* decimal exponent, -9..18; no trailing zeros in mantissa unless 0 */
    uint8_t format; /* enum quantity_format: how it was written, and so how it is printed */
    bool set;
};
enum quantity_format {
    QUANTITY_DECIMAL_SI,       /* 500m, 2, 3k, 4M */
    QUANTITY_BINARY_SI,        /* 1Ki, 2Mi */
    QUANTITY_DECIMAL_EXPONENT, /* 1e3 */
};

/* A moment: microseconds since 1970-01-01 UTC. metav1.Time prints seconds, MicroTime microseconds.
 */
struct timestamp {
    int64_t usec;
    bool set;
};

/* metav1.Duration, printed as Go prints it: "1h0m0s", "1.5s". */
struct duration {
    int64_t nsec;
    bool set;
};

enum int_or_str_type {
    INT_OR_STR_NONE = 0,
    INT_OR_STR_INT,
    INT_OR_STR_STR,
};
struct int_or_str {
    uint8_t type;
    int32_t i;
    struct str s;
};

/* Entries of maps, sorted by key, keys unique. */
struct kv_str {
    struct str key, value;
};
struct kv_quantity {
    struct str key;
    struct quantity value;
};
struct kv_timestamp {
    struct str key;
    struct timestamp value;
};

/* Map access by binary search; NULL when the key is not there. n may be 0 with v NULL. */
const struct str *kv_str_get(const struct kv_str *v, uint32_t n, struct str key);
const struct quantity *kv_quantity_get(const struct kv_quantity *v, uint32_t n, struct str key);
#define KV_GET(obj, field, key) kv_str_get((obj)->field, (obj)->n_##field, (key))

int quantity_parse(struct str s, struct quantity *ret) MUST_CHECK;
void quantity_print(const struct quantity *q, struct buf *b); /* canonical; "0" when not set */
#define QUANTITY_TEXT_MAX 32
/* Into out, NUL terminated; returns the length. */
size_t quantity_format(const struct quantity *q, char out[static QUANTITY_TEXT_MAX]);
/* Whole units and thousandths, rounded up; saturates at INT64_MAX/MIN. 0 when not set. */
int64_t quantity_value(const struct quantity *q);
int64_t quantity_milli(const struct quantity *q);
struct quantity quantity_from(int64_t value, enum quantity_format f);
struct quantity quantity_from_milli(int64_t milli);
/* -1, 0, 1 by amount, whatever the formats; not set counts as 0. */
int quantity_cmp(const struct quantity *a, const struct quantity *b);
/* a + b, a - b in a's format (b's when a is not set); saturating. */
struct quantity quantity_add(const struct quantity *a, const struct quantity *b);
struct quantity quantity_sub(const struct quantity *a, const struct quantity *b);
bool quantity_is_zero(const struct quantity *q);

/* RFC 3339, any offset, year 0001..9999; parts below a microsecond are cut. */
int timestamp_parse(struct str s, struct timestamp *ret) MUST_CHECK;
#define TIMESTAMP_TEXT_MAX    36
#define TIMESTAMP_SECONDS_MIN INT64_C(-62135596800) /* 0001-01-01T00:00:00Z */
#define TIMESTAMP_SECONDS_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59Z */
/* "2006-01-02T15:04:05Z", with micro "2006-01-02T15:04:05.000000Z"; "null" is the caller's matter.
 */
size_t timestamp_format(struct timestamp t, bool micro, char out[static TIMESTAMP_TEXT_MAX]);
void timestamp_print(struct timestamp t, bool micro, struct buf *b);
static inline struct timestamp timestamp_of(usec_t usec)
{
    return (struct timestamp){.usec = usec, .set = true};
}
/* Cut to whole seconds, as metav1.Time does on its way through JSON. */
static inline struct timestamp timestamp_seconds(usec_t usec)
{
    usec_t s = usec / 1000000 - (usec % 1000000 < 0);
    return (struct timestamp){.usec = s * 1000000, .set = true};
}

int duration_parse(struct str s, struct duration *ret) MUST_CHECK; /* Go: "1h2m3.5s", "-1s", "0" */
#define DURATION_TEXT_MAX 40
size_t duration_format(int64_t nsec, char out[static DURATION_TEXT_MAX]);
/* As kubectl's AGE column: "5s", "3m12s", "2d3h", "<invalid>" before zero. */
size_t duration_human(int64_t nsec, char out[static DURATION_TEXT_MAX]);

/* "25%" or a number. The part of total it stands for; percent rounds up or down. -EINVAL when it is
 * text but no percentage. None counts as 0. */
int int_or_str_scaled(const struct int_or_str *v, int32_t total, bool round_up,
                      int32_t *ret) MUST_CHECK;
static inline struct int_or_str int_or_str_int(int32_t i)
{
    return (struct int_or_str){.type = INT_OR_STR_INT, .i = i};
}
static inline struct int_or_str int_or_str_str(struct str s)
{
    return (struct int_or_str){.type = INT_OR_STR_STR, .s = s};
}
