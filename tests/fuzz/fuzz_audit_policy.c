/* An audit policy, and requests held against it. */
#include "apiserver/audit/audit_policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct audit_policy *p = NULL;
    struct error err = {0};
    const struct str group = STR("devs");
    const struct audit_request requests[] = {
        {.user = STR("ann"),
         .groups = &group,
         .n_groups = 1,
         .verb = STR("get"),
         .path = STR("/x")},
        {.user = STR("ann"),
         .verb = STR("create"),
         .ns = STR("a"),
         .resource = STR("pods"),
         .subresource = STR("log"),
         .name = STR("web"),
         .is_resource = true},
    };
    int r = audit_policy_parse((struct str){(const char *)data, size}, &p, &err);
    ASSERT((r < 0) == (err.message.n > 0) && (r < 0) == (p == NULL));
    for (size_t i = 0; p && i < ARRAY_LEN(requests); i++) {
        struct audit_omit omit = {0};
        enum audit_level l = audit_policy_match(p, &requests[i], &omit);
        ASSERT(audit_level_text(l)[0] && omit.stages < 16);
    }
    audit_policy_free(p);
    error_fini(&err);
    return 0;
}
