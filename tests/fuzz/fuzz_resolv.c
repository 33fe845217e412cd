/* The host's resolv.conf on its way into a pod. */
#include "node/sandbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const policies[] = {"", "ClusterFirst", "Default", "None"};
    if (size < 1)
        return 0;
    struct api_pod pod = {.metadata = {.name = STR("p"), .namespace = STR("d")}};
    struct str text = {(const char *)data + 1, size - 1}, line;
    struct buf out = {0};
    pod.spec.dns_policy = str_z(policies[data[0] % 4]);
    sandbox_resolv_conf(&pod, data[0] & 4 ? STR("10.96.0.10") : STR_NONE, STR("cluster.local"),
                        text, &out);
    struct str rest = buf_str(&out);
    while (str_cut(&rest, '\n', &line)) /* whole lines of the words we know, whatever came in */
        ASSERT(str_starts(line, STR("nameserver ")) || str_starts(line, STR("search ")) ||
               str_starts(line, STR("options ")));
    ASSERT(rest.n == 0);
    buf_fini(&out);
    return 0;
}
