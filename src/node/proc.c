/* A pid alone may have been given to another process since it was written down; with the start time
 * it cannot. */
#include "node/proc.h"

#include "node/fsutil.h"

uint64_t proc_stat_start_time(struct str stat)
{
    uint64_t t = 0;
    struct str word = STR_NONE;
    ssize_t paren = str_rfind(stat, ')'); /* the name before may hold anything */
    if (paren < 0)
        return 0;
    stat = str_sub(stat, (size_t)(paren + 2), stat.n);
    bool alive = stat.n && stat.p[0] != 'Z' && stat.p[0] != 'X';
    for (int i = 0; i < 20; i++) /* field 22, counted from field 3 */
        str_cut(&stat, ' ', &word);
    return alive && str_to_u64(word, &t) == 0 ? t : 0;
}

uint64_t proc_start_time(pid_t pid)
{
    struct buf b = {0};
    uint64_t t = 0;
    if (pid > 0 && fs_read(fs_path("/proc/%d/stat", (int)pid).s, 4096, &b) == 0)
        t = proc_stat_start_time(buf_str(&b));
    buf_fini(&b);
    return t;
}

int proc_exit_parse(struct str text, int *ret_code)
{
    int64_t v;
    int r = str_to_i64(str_trim(text), &v);
    if (r < 0)
        return r;
    if (v < 0 || v > INT32_MAX) /* conmon: 0 to 255, 128 and more for signals */
        return -EINVAL;
    *ret_code = (int)v;
    return 0;
}
