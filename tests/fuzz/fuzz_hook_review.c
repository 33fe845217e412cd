/* What a webhook answers: any bytes. The first chooses the form of the question; a patch is applied
 * to a pod, and what comes out must print and be read again. */
#include "apiserver/hooks/hook_review.h"

#include "api/types.gen.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char pod_text[] = "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":"
                               "\"p\",\"labels\":{\"a\":\"b\"}},"
                               "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}";

static void apply(const struct review_answer *w, struct arena *a)
{
    const struct schema_kind *k = schema_kinds[KIND_POD];
    struct error err = {0};
    struct buf out = {0};
    void *pod = schema_new(k->desc, a), *now = NULL, *again = schema_new(k->desc, a);
    ASSERT(schema_decode_text(k->desc, str_z(pod_text), a, NULL, pod, NULL) == 0);
    int r = review_apply(k, k->desc, pod, w, a, &now, &err);
    ASSERT(r == 0 || (r < 0 && err.message.p));
    if (r == 0) {
        schema_encode_json(k->desc, now, SCHEMA_ENCODE_TYPE_META, &out);
        ASSERT(json_valid(buf_str(&out)));
        ASSERT(schema_decode_text(k->desc, buf_str(&out), a, NULL, again, NULL) == 0);
    }
    buf_fini(&out);
    error_fini(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct error err = {0};
    struct review_answer w;
    if (size < 1)
        return 0;
    bool mutating = data[0] & 1;
    struct review_question q = {.v1 = !(data[0] & 2), .uid = STR("u")};
    struct str body = {(const char *)data + 1, size - 1};
    int r = review_parse(body, &q, mutating, &a, &w, &err);
    ASSERT(r == 0 || r == -EPROTO || r == -EBADMSG);
    ASSERT((r == 0) == !err.message.p);
    ASSERT(w.n_warnings <= REVIEW_WARNINGS_MAX && w.n_annotations <= REVIEW_ANNOTATIONS_MAX);
    ASSERT(mutating || !w.patch);
    if (r == 0 && w.allowed && w.patch)
        apply(&w, &a);
    error_fini(&err);
    arena_fini(&a);
    return 0;
}
