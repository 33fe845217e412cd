/* struct error: what a person or an API client reads when something is refused or fails. It becomes
 * the API's Status (code, reason, message, details.causes). Functions still return a negative
 * errno; error_set gives both at once: `return error_set(err, REASON_CONFLICT, "...")` yields
 * -ESTALE.
 *
 * A zeroed struct error is valid and empty; error_fini releases it. Every function takes err ==
 * NULL (nothing is recorded). The first message set wins; causes accumulate up to ERROR_CAUSES_MAX.
 */
#pragma once

#include "base/arena.h"

#define ERROR_CAUSES_MAX 64 /* a client that sends worse gets the first ones */

/* name, HTTP code, Status.reason, errno */
#define ERROR_REASONS(X)                                                                           \
    X(NONE, 200, "", 0)                                                                            \
    X(BAD_REQUEST, 400, "BadRequest", -EINVAL)                                                     \
    X(UNAUTHORIZED, 401, "Unauthorized", -EACCES)                                                  \
    X(FORBIDDEN, 403, "Forbidden", -EPERM)                                                         \
    X(NOT_FOUND, 404, "NotFound", -ENOENT)                                                         \
    X(METHOD_NOT_ALLOWED, 405, "MethodNotAllowed", -EOPNOTSUPP)                                    \
    X(NOT_ACCEPTABLE, 406, "NotAcceptable", -ENOMSG)                                               \
    X(ALREADY_EXISTS, 409, "AlreadyExists", -EEXIST)                                               \
    X(CONFLICT, 409, "Conflict", -ESTALE)                                                          \
    X(GONE, 410, "Gone", -EIDRM)                                                                   \
    X(EXPIRED, 410, "Expired", -ESPIPE)                                                            \
    X(TOO_LARGE, 413, "RequestEntityTooLarge", -EFBIG)                                             \
    X(UNSUPPORTED_MEDIA_TYPE, 415, "UnsupportedMediaType", -EPROTONOSUPPORT)                       \
    X(INVALID, 422, "Invalid", -EBADMSG)                                                           \
    X(TOO_MANY_REQUESTS, 429, "TooManyRequests", -EBUSY)                                           \
    X(INTERNAL, 500, "InternalError", -EIO)                                                        \
    X(BAD_GATEWAY, 502, "InternalError", -ECONNREFUSED)                                            \
    X(UNAVAILABLE, 503, "ServiceUnavailable", -EAGAIN)                                             \
    X(TIMEOUT, 504, "Timeout", -ETIMEDOUT)                                                         \
    X(STORAGE_FULL, 507, "InsufficientStorage", -ENOSPC)

enum error_reason {
#define X(name, code, text, err) REASON_##name,
    ERROR_REASONS(X)
#undef X
        _REASON_MAX,
    _REASON_INVALID = -EINVAL,
};

int error_reason_http_code(enum error_reason r);
const char *error_reason_text(enum error_reason r);
int error_reason_errno(enum error_reason r); /* negative */
enum error_reason error_reason_from_errno(int r);
/* By Status.reason text and code, for clients; REASON_INTERNAL when unknown. */
enum error_reason error_reason_parse(struct str text, int http_code);

/* Cause types of the API (metav1.CauseType). */
#define CAUSE_INVALID       "FieldValueInvalid"
#define CAUSE_REQUIRED      "FieldValueRequired"
#define CAUSE_DUPLICATE     "FieldValueDuplicate"
#define CAUSE_NOT_SUPPORTED "FieldValueNotSupported"
#define CAUSE_FORBIDDEN     "FieldValueForbidden"
#define CAUSE_TOO_LONG      "FieldValueTooLong"
#define CAUSE_TOO_MANY      "FieldValueTooMany"
#define CAUSE_NOT_FOUND     "FieldValueNotFound"
#define CAUSE_TYPE_INVALID  "FieldValueTypeInvalid"

struct error_cause {
    struct error_cause *next;
    struct str reason;  /* one of CAUSE_* */
    struct str message; /* without the field's path */
    struct str field;   /* "spec.containers[0].name" */
};

struct error {
    enum error_reason reason;
    struct str message; /* in arena */
    struct error_cause *causes, **causes_tail;
    unsigned n_causes;
    int retry_after_s;  /* 0: none */
    struct arena arena; /* owned */
};

void error_fini(struct error *err);
void error_clear(struct error *err);
/* Returns the errno of the reason. */
int error_set(struct error *err, enum error_reason reason, const char *fmt, ...) PRINTF(3, 4);
/* Records `fmt: strerror` as an internal (or matching) error; returns -abs(errnum). */
int error_errno(struct error *err, int errnum, const char *fmt, ...) PRINTF(3, 4);
/* Puts "prefix: " before the message. */
void error_prefix(struct error *err, const char *fmt, ...) PRINTF(2, 3);
/* Adds a cause; returns -EBADMSG (REASON_INVALID). The message is composed by error_invalid. */
int error_cause(struct error *err, const char *type, struct str field, const char *fmt, ...)
    PRINTF(4, 5);
/* Composes the message a Kubernetes server gives for the collected causes:
 * `Deployment.apps "web" is invalid: [spec.x: Required value, ...]`. 0 when there are none. */
int error_invalid(struct error *err, struct str kind_dot_group, struct str name) MUST_CHECK;
void error_copy(struct error *dst, const struct error *src);
