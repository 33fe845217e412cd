/* kill -9 at random moments: a child writes to LMDB and tells each acknowledged write over a pipe;
 * the parent kills it, opens what is left and holds it to every word. */
#include "store_test.h"

#include <signal.h>
#include <poll.h>
#include <sys/wait.h>

#define RUNS 20

/* What the child says of one acknowledged write. */
struct ack {
    uint32_t key;   /* object n%05u */
    uint32_t value; /* 0: deleted */
    uint64_t rev;
};

struct job {
    struct child *child;
    struct ack ack;
};

struct child {
    struct fx f;
    int fd;
    uint64_t seed;
    unsigned in_flight;
    uint32_t next_value;
    bool busy[64];
};

static void child_more(struct child *c);

static void child_acked(void *arg, int r, struct object *o, const struct error *err)
{
    struct job *j = arg;
    struct child *c = j->child;

    if (r < 0 || o->rev == 0)
        _exit(3);
    j->ack.rev = o->rev;
    if (write(c->fd, &j->ack, sizeof(j->ack)) != sizeof(j->ack))
        _exit(4);
    c->busy[j->ack.key] = false;
    c->in_flight--;
    free(j);
    child_more(c);
}

static void child_more(struct child *c)
{
    while (c->in_flight < 24) {
        struct job *j = NEW(struct job);
        char name[16], value[16];
        struct str n;
        bool there;
        int r;

        j->child = c;
        do {
            c->seed = c->seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            j->ack.key = (uint32_t)(c->seed >> 33) % 64;
        } while (c->busy[j->ack.key]);
        snprintf(name, sizeof(name), "n%05u", j->ack.key);
        n = str_z(name);
        there = store_peek(c->f.s, CM, STR("a"), n) != NULL;
        if (there && (c->seed >> 20) % 4 == 0) {
            r = store_delete(c->f.s, CM, STR("a"), n, STORE_ANY, child_acked, j, NULL);
        } else {
            struct kv_str kv = {.key = STR("key")};
            struct api_config_map cm = fx_cm(STR("a"), n, &kv);
            j->ack.value = ++c->next_value;
            snprintf(value, sizeof(value), "%u", j->ack.value);
            kv.value = str_z(value);
            r = store_put(c->f.s, CM, &cm, there ? STORE_ANY : STORE_ABSENT, child_acked, j, NULL);
        }
        if (r < 0)
            _exit(5);
        c->busy[j->ack.key] = true;
        c->in_flight++;
    }
}

static void child_run(const char *dir, int fd, uint64_t seed, uint32_t first_value)
{
    static struct child c;

    fx_init(&c.f, FX_LMDB);
    fx_rm(c.f.dir);
    snprintf(c.f.dir, sizeof(c.f.dir), "%s", dir);
    c.f.map_bytes = 1 << 20;
    c.f.journal_bytes = seed % 2 ? 1 << 16 : 1 << 20; /* many checkpoints, or none */
    fx_open(&c.f);
    c.fd = fd;
    c.seed = seed;
    c.next_value = first_value;
    child_more(&c);
    rt_run(c.f.rt);
    _exit(6);
}

/* The newest acknowledged state of each key, over all runs. */
struct ledger {
    struct ack last[64];
    rev_t newest;
    uint32_t value_max;
    unsigned acks;
};

static void read_acks(struct ledger *l, int fd)
{
    struct ack a;

    while (read(fd, &a, sizeof(a)) == sizeof(a)) { /* writes of 16 bytes to a pipe are whole */
        assert_true(a.key < 64);
        if (a.rev <= l->newest)
            print_error("revision %llu acknowledged after %llu\n", (unsigned long long)a.rev,
                        (unsigned long long)l->newest);
        assert_true(a.rev > l->newest); /* acknowledged in order, also across crashes */
        l->newest = a.rev;
        l->last[a.key] = a;
        l->value_max = MAX(l->value_max, a.value);
        l->acks++;
    }
}

/* After two crashes in a row: the first one's writes in flight may be there too, older than what
 * was acknowledged since. */
static void verify_loosely(const struct ledger *l, struct fx *f)
{
    assert_true(store_rev(f->s) >= l->newest);
    for (unsigned i = 0; i < 64; i++) {
        struct object *o;
        char name[16];
        snprintf(name, sizeof(name), "n%05u", i);
        o = store_get(f->s, CM, STR("a"), str_z(name));
        assert_true(!o || o->rev >= l->last[i].rev);
    }
}

/* Everything as it is now. */
static void adopt(struct ledger *l, struct fx *f)
{
    for (unsigned i = 0; i < 64; i++) {
        struct object *o;
        uint64_t v = 0;
        char name[16];
        snprintf(name, sizeof(name), "n%05u", i);
        o = store_get(f->s, CM, STR("a"), str_z(name));
        if (o)
            assert_int_equal(str_to_u64(fx_value(o), &v), 0);
        l->last[i] = (struct ack){.key = i, .value = (uint32_t)v, .rev = o ? o->rev : 0};
        l->value_max = MAX(l->value_max, (uint32_t)v);
    }
    l->newest = store_rev(f->s);
}

/* What was in flight at the kill may or may not be there; it is newer than all acknowledged. */
static void verify(struct ledger *l, struct fx *f)
{
    assert_true(store_rev(f->s) >= l->newest);
    for (unsigned i = 0; i < 64; i++) {
        struct object *o;
        char name[16];
        snprintf(name, sizeof(name), "n%05u", i);
        o = store_get(f->s, CM, STR("a"), str_z(name));
        if (o && o->rev > l->newest) {
            uint64_t v;
            assert_int_equal(str_to_u64(fx_value(o), &v), 0);
            l->last[i] = (struct ack){.key = i, .value = (uint32_t)v, .rev = o->rev};
            l->value_max = MAX(l->value_max, (uint32_t)v);
        } else if (!o && l->last[i].value && store_rev(f->s) > l->newest) {
            l->last[i] = (struct ack){.key = i}; /* a delete that was under way */
        } else if (l->last[i].value == 0) {
            assert_null(o);
        } else {
            assert_non_null(o);
            assert_int_equal(o->rev, l->last[i].rev);
        }
    }
    l->newest = store_rev(f->s);
}

static void test_kill(void **state)
{
    struct ledger l = {0};
    struct fx f;
    struct timespec pause;
    int fds[2], status;
    uint64_t seed = (uint64_t)getpid() << 20 ^ (uint64_t)time(NULL);

    print_message("seed %llu\n", (unsigned long long)seed);
    fx_init(&f, FX_LMDB);
    for (unsigned run = 0; run < RUNS; run++) {
        pid_t pid;
        assert_int_equal(pipe(fds), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            (void)close(fds[0]);
            child_run(f.dir, fds[1], seed + run, l.value_max + 1000);
        }
        (void)close(fds[1]);
        /* from "not even open" to "in full swing"; in full swing for sure at last */
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        struct pollfd said = {.fd = fds[0], .events = POLLIN};
        if (run == RUNS - 1)
            assert_int_equal(poll(&said, 1, 60000), 1);
        pause = (struct timespec){0, (long)((seed >> 33) % (run % 3 == 0 ? 10000000 : 120000000))};
        (void)nanosleep(&pause, NULL);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        read_acks(&l, fds[0]);
        (void)close(fds[0]);
        if (run % 4 == 1)
            continue; /* the next child finds the journal as the crash left it */
        fx_open(&f);
        if (run % 4 == 2) {
            verify_loosely(&l, &f);
            adopt(&l, &f);
        } else {
            verify(&l, &f);
        }
        fx_close(&f);
    }
    print_message("%u acknowledged writes, all there\n", l.acks);
    assert_true(l.acks > 0);
    fx_fini(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill),
    };

    return cmocka_run_group_tests_name("store/crash", tests, NULL, NULL);
}
