/* Container logs: what a container prints, and what is left of a file after a power cut. */
#include "node/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size}, line;
    struct log_line l;
    struct buf tail = {0};
    char path[32];
    while (str_cut(&text, '\n', &line) || line.n) {
        if (log_line_parse(line, &l) < 0)
            continue;
        ASSERT((l.stream == 1 || l.stream == 2) && l.text.n <= line.n);
        ASSERT(log_time_nsec(l.time) >= -1 || l.time.p[0] == '0' || l.time.p[0] == '1');
    }
    int fd = memfd_create("log", MFD_CLOEXEC);
    ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    for (uint64_t n = 0; n < 4; n++) {
        int64_t at = log_tail_offset(fd, (int64_t)size, n);
        ASSERT(at >= 0 && at <= (int64_t)size);
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    log_tail_text(path, 3, 100, &tail);
    ASSERT(tail.n <= 100);
    buf_fini(&tail);
    close(fd);
    return 0;
}
