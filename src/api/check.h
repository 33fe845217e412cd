/* Words for causes, as Kubernetes' field package composes them, with printf paths. */
#pragma once

#include "base/error.h"
#include "schema/schema.h"

/* A path on the stack: `PATH(p, "spec.containers[%u].name", i)` declares struct str p. */
#define PATH(var, ...)                                                                             \
    char var##_buf[512];                                                                           \
    struct str var = check_path(var##_buf, sizeof(var##_buf), __VA_ARGS__)
struct str check_path(char *buf, size_t n, const char *fmt, ...) PRINTF(3, 4);

/* `Invalid value: "x": why` */
void check_invalid(struct error *err, struct str path, struct str value, const char *why);
void check_invalid_int(struct error *err, struct str path, int64_t value, const char *why);
/* `Required value` or `Required value: why` */
void check_required(struct error *err, struct str path, const char *why);
void check_forbidden(struct error *err, struct str path, const char *why);
/* A number or percentage of pods: its share of 100, after adding a cause when it is malformed or
 * negative. */
int32_t check_share(struct error *err, struct str path, const struct int_or_str *v);
void check_duplicate(struct error *err, struct str path, struct str value);
void check_not_found(struct error *err, struct str path, struct str value);
/* `Unsupported value: "x": supported values: "a", "b"`; list is NULL terminated. */
void check_not_supported(struct error *err, struct str path, struct str value,
                         const char *const *list);
/* Adds a cause when s does not have the format. */
void check_format(struct error *err, struct str path, enum schema_format f, struct str s);
/* check_invalid of a message: its JSON is shown. */
void check_invalid_msg(struct error *err, struct str path, const struct schema_desc *d,
                       const void *msg, const char *why);
/* Adds "field is immutable" when the messages differ. */
void check_immutable(struct error *err, struct str path, const struct schema_desc *d, const void *a,
                     const void *b);
void check_immutable_str(struct error *err, struct str path, struct str a, struct str b);
/* A label selector; NULL is fine. */
void check_label_selector(struct error *err, struct str path, const struct api_label_selector *s);
/* Adds a cause when an amount is below 0. */
void check_quantity(struct error *err, struct str path, const struct quantity *q);
/* How many fields of a message are set: for those of which one is allowed. */
unsigned check_n_set(const struct schema_desc *d, const void *msg);
/* Adds a cause when a list at PATH.FIELD has a star among others; what: as the sentence calls them.
 */
void check_star(const struct str *v, uint32_t n, const char *path, const char *field,
                const char *what, struct error *err);
/* As check_format, of what may have capitals though the format knows none. */
void check_format_lower(struct error *err, struct str path, enum schema_format f, struct str s);
