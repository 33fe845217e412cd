/* What the kernel and conmon leave in small files: /proc/PID/stat, whose process has chosen its own
 * name, and exit codes. */
#include "node/proc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    int code = -1;
    uint64_t t = proc_stat_start_time(text);
    ASSERT(t == 0 || memchr(data, ')', size));
    if (proc_exit_parse(text, &code) == 0)
        ASSERT(code >= 0);
    else
        ASSERT(code == -1);
    return 0;
}
