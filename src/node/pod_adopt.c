/* After our death: what lies in DATA/node/pods becomes pods again. The records say what was about
 * to be done, crun's state and the exit files what became of it; together they leave one answer for
 * each container:
 *
 *   record      found                     then
 *   preparing   -                         nothing ran: rubbish goes, the attempt is made again
 *   creating    anything                  not started: what conmon or crun still do is ended, the
 *                                         attempt is made again
 *   starting    created                   start it (of one that was let go already that is no
 *                                         second start: see runtime.c)
 *   starting,   running                   adopted
 *   running     stopped or unknown        exited with the code of its exit file; without one 137,
 *                                         cause unknown
 *   exited      -                         exited
 */
#include "node/agent.h"

#include <dirent.h>
#include <signal.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/fsutil.h"
#include "node/proc.h"

#define POD_JSON_BYTES_MAX (4u << 20)
#define STRAY_ROUNDS       200 /* of 10 ms */

enum found {
    FOUND_NOTHING,
    FOUND_CREATED,
    FOUND_RUNNING,
    FOUND_EXITED,
    FOUND_LOST,
};

struct adopt_ctr {
    char id[40];
    const char *phase, *bundle, *cgroup;
    enum found found;
    int code;
};

struct adopt {
    struct rt_work work;
    struct pod *pod;
    struct node *node;
    struct arena arena;
    struct adopt_ctr *v;
    unsigned n;
};

/* Kills what of conmon and crun has the id in its command line: how many. */
static int kill_strays(struct str id)
{
    int n = 0;
    DIR *d = opendir("/proc");
    for (struct dirent *e; d && (e = readdir(d));) {
        uint64_t pid;
        if (str_to_u64(str_z(e->d_name), &pid) < 0 || (pid_t)pid == getpid())
            continue;
        struct buf b = {0};
        if (fs_read(fs_path("/proc/%s/cmdline", e->d_name).s, 16384, &b) == 0) {
            struct str name = str_z(b.data);
            bool ours = str_ends(name, STR("conmon")) || str_ends(name, STR("crun"));
            if (ours && str_search(buf_str(&b), id) >= 0 && kill((pid_t)pid, SIGKILL) == 0)
                n++;
        }
        buf_fini(&b);
    }
    if (d)
        closedir(d);
    return n;
}

static void undo(struct node *n, struct adopt_ctr *a)
{
    for (int i = 0; i < STRAY_ROUNDS && kill_strays(str_z(a->id)) > 0; i++)
        usleep(10000);
    (void)!cgroup_destroy(&n->cgroups, a->cgroup);
    runtime_remove_state(n->runtime.root, n->runtime.exits_dir, n->runtime.sock_dir, a->id);
    (void)!fs_remove_bundle(a->bundle);
    a->found = FOUND_NOTHING;
}

static void look_at(struct node *n, struct adopt_ctr *a)
{
    if (strcmp(a->phase, "preparing") == 0 || strcmp(a->phase, "creating") == 0) {
        undo(n, a);
        return;
    }
    if (strcmp(a->phase, "starting") != 0 && strcmp(a->phase, "running") != 0)
        return;
    char status[16];
    pid_t pid;
    int64_t conmon = 0;
    if (runtime_state(n->runtime.crun, n->runtime.root, a->id, status, &pid) < 0)
        status[0] = 0;
    if (runtime_exit_code(&n->runtime, a->id, &a->code)) {
        a->found = FOUND_EXITED;
        return;
    }
    bool watched = fs_read_i64(fs_path("%s/conmon.pid", a->bundle).s, &conmon) == 0 && conmon > 1 &&
                   proc_start_time((pid_t)conmon) != 0;
    if (watched && strcmp(status, "running") == 0)
        a->found = FOUND_RUNNING;
    else if (watched && strcmp(status, "created") == 0 && strcmp(a->phase, "starting") == 0)
        a->found = FOUND_CREATED;
    else
        a->found = runtime_exit_code(&n->runtime, a->id, &a->code) ? FOUND_EXITED : FOUND_LOST;
    if (a->found == FOUND_LOST && watched) { /* conmon is about to write the exit file */
        for (int i = 0; i < 100 && !runtime_exit_code(&n->runtime, a->id, &a->code); i++)
            usleep(10000);
        if (runtime_exit_code(&n->runtime, a->id, &a->code))
            a->found = FOUND_EXITED;
    }
}

static void adopt_work(void *arg)
{
    struct adopt *a = arg;
    for (unsigned i = 0; i < a->n; i++)
        look_at(a->node, &a->v[i]);
}

static void adopt_one(struct ctr *c, const struct adopt_ctr *a)
{
    struct ctr_record *r = &c->rec;
    if (strcmp(a->phase, "exited") == 0) {
        usec_t ago = rt_wall(c->pod->node->rt) - r->end.finished;
        int64_t delay_s = r->backoff_s <= 10 ? 0 : r->backoff_s >= 300 ? 300 : r->backoff_s / 2;
        nsec_t left = delay_s * NSEC_PER_SEC - nsec_of_usec(ago);
        c->not_before = left > 0 ? rt_now(c->pod->node->rt) + MIN(left, delay_s * NSEC_PER_SEC) : 0;
        ctr_move(c, CTR_EXITED);
        ctr_trash(c);
        return;
    }
    switch (a->found) {
    case FOUND_NOTHING:
        if (r->attempt)
            r->attempt--;
        ctr_end_clear(&r->end);
        r->end = r->last;
        r->last = (struct ctr_end){0};
        set_text(&r->phase, r->end.set ? "exited" : "");
        ctr_save(c);
        if (r->end.set)
            ctr_move(c, CTR_EXITED);
        break;
    case FOUND_CREATED:
        ctr_conmon_watch(c);
        ctr_start_again(c);
        break;
    case FOUND_RUNNING:
        ctr_conmon_watch(c);
        ctr_became_running(c, true);
        break;
    case FOUND_EXITED:
        ctr_on_exit(c, a->code);
        break;
    case FOUND_LOST:
        set_text(&c->stop_reason, "ContainerStatusUnknown");
        set_text(&c->stop_message, "The container could not be located when the agent came back");
        ctr_on_exit(c, 137);
        break;
    }
}

static void adopt_done(void *arg)
{
    struct adopt *a = arg;
    struct pod *p = a->pod;
    p->working = false;
    sm_move(&p->sm, POD_SETTING_UP); /* all of it is idempotent, and repairs what is missing */
    for (unsigned i = 0, k = 0; i < p->n_ctrs; i++)
        if (p->ctrs[i]->rec.attempt && k < a->n)
            adopt_one(p->ctrs[i], &a->v[k++]);
    arena_fini(&a->arena);
    free(a->v);
    free(a);
    volumes_sync(p);
    pod_status_dirty(p);
    pod_kick(p);
}

void pod_adopt(struct pod *p)
{
    struct node *n = p->node;
    bool done = pod_load_sandbox(p) > 0;
    struct adopt *a = NEW(struct adopt);
    a->pod = p;
    a->node = n;
    a->v = xcalloc(p->n_ctrs + 1, sizeof(*a->v));
    for (unsigned i = 0; i < p->n_ctrs; i++) {
        struct ctr *c = p->ctrs[i];
        if (ctr_load(c) < 0 || !c->rec.attempt)
            continue;
        ctr_make_id(c);
        struct adopt_ctr *v = &a->v[a->n++];
        memcpy(v->id, c->id, sizeof(v->id));
        v->phase = arena_cstr(&a->arena, str_z(c->rec.phase));
        v->bundle = arena_cstr(&a->arena, str_z(ctr_bundle(c).s));
        v->cgroup = arena_printf(&a->arena, "%s/%s", p->cgroup, c->id).p;
        if (done) /* kept for its status only */
            ctr_move(c, CTR_EXITED);
    }
    if (done) {
        arena_fini(&a->arena);
        free(a->v);
        free(a);
        p->terminating = true;
        sm_move(&p->sm, POD_DONE);
        pod_kick(p);
        return;
    }
    sm_move(&p->sm, POD_ADOPTING);
    p->working = true;
    rt_work(n->rt, &a->work, RT_WORK_SHORT, adopt_work, adopt_done, a);
}

/* ---- the directory ---- */

static int adopt_dir(void *arg, const char *name, unsigned char type)
{
    struct node *n = arg;
    struct fs_path dir = fs_path("%s/%s", n->pods_dir, name);
    struct buf b = {0};
    struct arena a = {0};
    struct error err = {0};
    struct api_pod pod;
    int r = fs_read(fs_path("%s/pod.json", dir.s).s, POD_JSON_BYTES_MAX, &b);
    if (r == 0)
        r = schema_decode_text(&api_pod_desc, buf_str(&b), &a, NULL, &pod, &err);
    if (r == 0 && str_eqz(pod.metadata.uid, name)) {
        struct object *o = object_new(schema_kinds[KIND_POD], &pod, 0);
        struct pod *p = pod_new(n, o, true); /* until the API has told otherwise */
        object_unref(o);
        pod_adopt(p);
    } else {
        log_warn("%s holds no pod; it is removed", dir.s);
        (void)!sandbox_destroy(dir.s);
        (void)!fs_umount_below(dir.s);
        (void)!cgroup_destroy(&n->cgroups, fs_path("%s/pod%s", n->cgroups.parent, name).s);
        (void)!fs_rm_rf(dir.s);
    }
    error_fini(&err);
    arena_fini(&a);
    buf_fini(&b);
    return 0;
}

void node_adopt_disk(struct node *n)
{
    int r = fs_each(n->pods_dir, adopt_dir, n);
    if (r < 0)
        log_error("cannot read %s: %s", n->pods_dir, strerror(-r));
}
