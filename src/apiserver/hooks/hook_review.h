/* AdmissionReview: what a webhook is asked and what it answers (admission.k8s.io/v1, and v1beta1
 * for webhooks that know nothing newer). Pure functions, any thread. */
#pragma once

#include "base/error.h"
#include "codec/json.h"
#include "schema/schema.h"

#define REVIEW_ANSWER_BYTES_MAX                                                                    \
    (8u << 20)                         /* a patch that replaces a whole object of 3 MB, in base64 */
#define REVIEW_VALUES_MAX      1000000 /* of an answer, and of the patch in it: 48 bytes each */
#define REVIEW_WARNINGS_MAX    64      /* as a call may have */
#define REVIEW_ANNOTATIONS_MAX 64
#define REVIEW_TEXT_BYTES_MAX  4096 /* of an annotation's value; more is cut */

struct review_question {
    bool v1; /* else v1beta1 */
    struct str uid;
    struct str info; /* the other members of the request, as a JSON object */
    const struct schema_desc *desc;
    const void *object, *old; /* NULL: null */
};
void review_print(const struct review_question *q, struct buf *out);

struct review_answer {
    bool allowed;
    const struct api_status *status; /* NULL: none */
    const struct json *patch;        /* an array of operations; NULL: none */
    struct str patch_text;
    struct str *warnings;
    uint32_t n_warnings;
    struct kv_str *annotations; /* keys without the webhook's name */
    uint32_t n_annotations;
};
/* All in a. -EPROTO: this is no answer, and the webhook's failurePolicy decides; -EBADMSG: it is
 * one, but what it wants cannot be done. *err has Kubernetes' words. */
int review_parse(struct str body, const struct review_question *q, bool mutating, struct arena *a,
                 struct review_answer *ret, struct error *err) MUST_CHECK;

/* A message of desc changed by a patch, with defaults; kind is whose object it is when desc is
 * kind's own. In a. */
int review_apply(const struct schema_kind *kind, const struct schema_desc *desc, const void *msg,
                 const struct review_answer *w, struct arena *a, void **ret,
                 struct error *err) MUST_CHECK;
