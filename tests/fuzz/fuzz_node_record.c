/* The agent's own records, as a power cut or a careless hand may leave them: container and sandbox.
 * What is read from one is written, and read again the same. */
#include "base/mem.h"
#include "node/agent.h"
#include "node/fsutil.h"

#include <stdio.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *record_dir(void)
{
    static char dir[] = "/tmp/davit-fuzz-record-XXXXXX";
    static bool made;
    if (!made)
        ASSERT(mkdtemp(dir));
    made = true;
    return dir;
}

/* Lines are appended; the last one counts. */
static struct str last_line(const struct buf *b)
{
    struct str s = str_trim(buf_str(b));
    ssize_t end = str_rfind(s, '\n');
    return str_sub(s, (size_t)(end + 1), s.n);
}

/* A pod of one container: a record without resources takes those of its spec. */
static struct object *pod_object(void)
{
    struct api_container c = {.name = STR("c"), .image = STR("i")};
    struct api_pod p = {.spec = {.containers = &c, .n_containers = 1}};
    return object_new(schema_kinds[KIND_POD], &p, 1);
}

static void one_container(char *dir, struct str text)
{
    struct pod pod = {.obj = pod_object()};
    struct ctr c = {.pod = &pod, .kind = CTR_APP, .dir = dir}, again = c;
    ASSERT(fs_write(fs_path("%s/record.json", dir).s, text, 0600) == 0);
    int r = ctr_load(&c);
    ASSERT(r == 0 || r == -ENOENT);
    if (r == 0) {
        struct buf first = {0}, second = {0};
        ctr_save(&c);
        ASSERT(fs_read(fs_path("%s/record.json", dir).s, 1 << 20, &first) == 0);
        ASSERT(ctr_load(&again) == 0);
        ctr_save(&again);
        ASSERT(fs_read(fs_path("%s/record.json", dir).s, 1 << 20, &second) == 0);
        ASSERT(str_eq(last_line(&first), last_line(&second)));
        buf_fini(&first);
        buf_fini(&second);
    }
    ctr_record_fini(&c.rec);
    ctr_record_fini(&again.rec);
    arena_fini(&c.in_force_arena);
    arena_fini(&again.in_force_arena);
    object_unref(pod.obj);
    (void)unlink(fs_path("%s/record.json", dir).s);
}

static void one_sandbox(char *dir, struct str text)
{
    struct pod p = {.dir = dir};
    ASSERT(fs_write(fs_path("%s/sandbox.json", dir).s, text, 0600) == 0);
    int r = pod_load_sandbox(&p);
    ASSERT(r == 0 || r == 1 || r == -ENOENT);
    ASSERT(p.n_ips <= NODE_NET_IPS_MAX);
    free(p.end_phase);
    free(p.end_reason);
    free(p.end_message);
    arena_fini(&p.ips_arena);
    (void)unlink(fs_path("%s/sandbox.json", dir).s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct str text = {(const char *)data + 1, size - 1};
    if (data[0] & 1)
        one_container(record_dir(), text);
    else
        one_sandbox(record_dir(), text);
    return 0;
}
