/* Parsing and finding places in CRI log files. Tails are found backwards, a block at a time, so
 * that the cost is that of what is shown and not of the file. */
#include "node/log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/values.h"

#define BLOCK 16384

int log_line_parse(struct str line, struct log_line *ret)
{
    struct log_line l = {0};
    struct str stream, tag;
    if (!str_cut(&line, ' ', &l.time) || !str_cut(&line, ' ', &stream))
        return -EINVAL;
    if (!str_cut(&line, ' ', &tag)) { /* an empty text may come without the space */
        tag = str_sub(tag, 0, 1);
        line = STR("");
    }
    if (str_is(stream, "stdout"))
        l.stream = 1;
    else if (str_is(stream, "stderr"))
        l.stream = 2;
    else
        return -EINVAL;
    struct str first;
    str_cut(&tag, ':', &first);
    if (str_is(first, "P"))
        l.partial = true;
    else if (!str_is(first, "F"))
        return -EINVAL;
    if (l.time.n < 20)
        return -EINVAL;
    l.text = line;
    *ret = l;
    return 0;
}

int64_t log_time_nsec(struct str time)
{
    struct timestamp t;
    if (timestamp_parse(time, &t) < 0)
        return -1;
    /* timestamp cuts to microseconds: take the rest from the text */
    int64_t ns = nsec_of_usec(t.usec);
    ssize_t dot = str_find(time, '.');
    if (dot > 0) {
        int digits = 0;
        int64_t below = 0;
        for (size_t i = (size_t)dot + 1;
             i < time.n && time.p[i] >= '0' && time.p[i] <= '9' && digits < 9; i++, digits++)
            if (digits >= 6)
                below = below * 10 + (time.p[i] - '0');
        for (int k = MAX(digits, 6); k < 9; k++)
            below *= 10;
        ns += below;
    }
    return ns;
}

/* True when the record [from, to) ends a line. What cannot be parsed counts as a line. */
static bool is_full(int fd, int64_t from, int64_t to)
{
    char head[96]; /* time, stream and tag are shorter */
    struct log_line l;
    ssize_t n = pread(fd, head, (size_t)MIN(to - from, (int64_t)sizeof(head)), from);
    return n <= 0 || log_line_parse((struct str){head, (size_t)n}, &l) < 0 || !l.partial;
}

/* Goes through the records backwards. A line begins behind the last record before it that is full,
 * so the place wanted is the end of the (n+1)-th full record. */
int64_t log_tail_offset(int fd, int64_t size, uint64_t n)
{
    char block[BLOCK];
    int64_t record_end = -1;
    uint64_t seen = 0;
    if (n == 0)
        return size;
    for (int64_t end = size; end > 0;) {
        int64_t from = MAX(end - BLOCK, 0);
        ssize_t got = pread(fd, block, (size_t)(end - from), from);
        if (got != end - from)
            return 0;
        for (int64_t at = end - 1; at >= from; at--) {
            if (block[at - from] != '\n')
                continue;
            if (record_end >= 0 && is_full(fd, at + 1, record_end) && ++seen > n)
                return record_end + 1;
            record_end = at;
        }
        end = from;
    }
    return record_end >= 0 && is_full(fd, 0, record_end) && ++seen > n ? record_end + 1 : 0;
}

void log_tail_text(const char *path, unsigned lines, size_t bytes, struct buf *out)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return;
    int64_t at = log_tail_offset(fd, st.st_size, lines);
    at = MAX(at, st.st_size - (int64_t)(bytes * 4 + 65536)); /* long lines: do not read all of it */
    struct buf raw = {0};
    char *p = buf_reserve(&raw, (size_t)(st.st_size - at));
    ssize_t n = p ? pread(fd, p, (size_t)(st.st_size - at), at) : 0;
    raw.n += (size_t)MAX(n, 0);
    struct str rest = buf_str(&raw), line;
    while (str_cut(&rest, '\n', &line) || line.n) {
        struct log_line l;
        if (log_line_parse(line, &l) < 0)
            continue;
        buf_add_str(out, l.text);
        if (!l.partial)
            buf_add_char(out, '\n');
    }
    if (out->n > bytes)
        buf_consume(out, out->n - bytes);
    buf_fini(&raw);
}
