/* A pid alone may have been given to another process since it was written down; with the start time
 * it cannot. */
#include "node/proc.h"

#include "node/fsutil.h"

uint64_t proc_start_time(pid_t pid)
{
    struct buf b = {0};
    uint64_t t = 0;
    if (pid > 0 && fs_read(fs_path("/proc/%d/stat", (int)pid).s, 4096, &b) == 0) {
        struct str rest = buf_str(&b), word = STR_NONE;
        ssize_t paren = str_rfind(rest, ')'); /* the name before may hold anything */
        rest = str_sub(rest, (size_t)(paren + 2), rest.n);
        bool alive = rest.n && rest.p[0] != 'Z' && rest.p[0] != 'X';
        for (int i = 0; i < 20; i++) /* field 22, counted from field 3 */
            str_cut(&rest, ' ', &word);
        if (!alive || str_to_u64(word, &t) < 0)
            t = 0;
    }
    buf_fini(&b);
    return t;
}
