/* The credentials a server leaves on disk: made when they are missing, kept while they are good,
 * made again when they are not. A real server on a free port of loopback. */
#include "test.h"

#include "base/mem.h"
#include "client/kubeconfig.h"
#include "main/creds.h"
#include "rt/crypto.h"
#include "store/store_mem.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH "/tmp/davit-test-creds-XXXXXX"

struct fx {
    char path[64];
    struct data_dir dir;
    struct rt *rt;
    struct store *store;
    struct apiserver *api;
    struct creds_opts opts;
    bool done;
};

static bool is_ready(void *arg)
{
    return apiserver_is_ready(((struct fx *)arg)->api);
}

static void set_done(void *arg)
{
    ((struct fx *)arg)->done = true;
}

static bool is_done(void *arg)
{
    return ((struct fx *)arg)->done;
}

static int setup(void **state)
{
    struct fx *f = NEW(struct fx);
    struct error err = {0};
    memcpy(f->path, PATH, sizeof(PATH));
    assert_non_null(mkdtemp(f->path));
    assert_ok(data_dir_open(&f->dir, f->path, true, &err));
    f->rt = rt_uv_new();
    assert_ok(store_open(f->rt, store_mem_new(NULL), NULL, &f->store, &err));
    struct apiserver_opts o = {.pki_dir = f->dir.pki};
    assert_ok(apiserver_new(f->rt, f->store, &o, &f->api, &err));
    assert_true(rt_run_until(f->rt, is_ready, f, 30 * NSEC_PER_SEC));
    assert_ok(apiserver_listen(f->api, "127.0.0.1:0", &err));
    f->opts = (struct creds_opts){.dir = &f->dir,
                                  .listen = "127.0.0.1:0",
                                  .node_name = "n1",
                                  .node_ip = "192.0.2.7",
                                  .now_s = rt_wall(f->rt) / 1000000};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fx *f = *state;
    f->done = false;
    apiserver_stop(f->api, 1000, set_done, f);
    assert_true(rt_run_until(f->rt, is_done, f, 30 * NSEC_PER_SEC));
    apiserver_free(f->api);
    f->done = false;
    store_close(f->store, set_done, f);
    assert_true(rt_run_until(f->rt, is_done, f, 30 * NSEC_PER_SEC));
    rt_free(f->rt);
    assert_ok(sys_remove_tree(AT_FDCWD, f->path));
    data_dir_fini(&f->dir);
    free(f);
    return 0;
}

static void write_creds(struct fx *f)
{
    struct error err = {0};
    int r = creds_write(f->api, &f->opts, &err);
    if (r < 0)
        fail_msg("%.*s", STR_ARG(err.message));
    error_fini(&err);
}

/* Every file is replaced by a rename: another inode is another file. */
struct inodes {
    ino_t admin, agent, cert, key;
};

static ino_t inode(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    return st.st_ino;
}

static struct inodes look(struct fx *f)
{
    return (struct inodes){inode(f->dir.admin_kubeconfig), inode(f->dir.agent_kubeconfig),
                           inode(f->dir.agent_cert), inode(f->dir.agent_key)};
}

static void overwrite(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void check_kubeconfig(struct fx *f, const char *path, const char *host, const char *cn,
                             const char *org)
{
    struct kubeconfig k;
    struct cert *cert;
    assert_ok(kubeconfig_load(path, NULL, &k, NULL));
    assert_string_equal(k.host, host);
    assert_int_equal(k.port, apiserver_port(f->api));
    assert_str(k.ca_pem, apiserver_ca_pem(f->api));
    assert_ok(cert_from_pem(k.cert_pem, NULL, &cert));
    assert_str(cert_facts(cert)->cn, cn);
    assert_int_equal(cert_facts(cert)->n_orgs, 1);
    assert_str(cert_facts(cert)->orgs[0], org);
    cert_free(cert);
    kubeconfig_fini(&k);
}

static void made_and_kept(void **state)
{
    struct fx *f = *state;
    write_creds(f);
    struct inodes first = look(f);
    check_kubeconfig(f, f->dir.admin_kubeconfig, "127.0.0.1", "kubernetes-admin", "system:masters");
    check_kubeconfig(f, f->dir.agent_kubeconfig, "127.0.0.1", "system:node:n1", "system:nodes");
    write_creds(f);
    struct inodes second = look(f);
    assert_memory_equal(&first, &second, sizeof(first));
}

static void without_an_agent(void **state)
{
    struct fx *f = *state;
    f->opts.node_name = NULL;
    write_creds(f);
    (void)inode(f->dir.admin_kubeconfig);
    assert_int_equal(access(f->dir.agent_kubeconfig, F_OK), -1);
    assert_int_equal(access(f->dir.agent_cert, F_OK), -1);
}

static void what_is_damaged_is_made_again(void **state)
{
    struct fx *f = *state;
    static const char *const rubbish[] = {"", "hello", "clusters: []\n",
                                          "apiVersion: v1\nkind: Config\ncurrent-context: [\n"};
    write_creds(f);
    for (size_t i = 0; i < ARRAY_LEN(rubbish); i++) {
        struct inodes before = look(f);
        overwrite(f->dir.admin_kubeconfig, rubbish[i]);
        overwrite(f->dir.agent_cert, rubbish[i]);
        write_creds(f);
        struct inodes after = look(f);
        assert_int_not_equal(before.admin, after.admin);
        assert_int_not_equal(before.cert, after.cert);
        assert_int_not_equal(before.key, after.key); /* a pair goes together */
        assert_int_equal(before.agent, after.agent);
        check_kubeconfig(f, f->dir.admin_kubeconfig, "127.0.0.1", "kubernetes-admin",
                         "system:masters");
    }
    assert_int_equal(unlink(f->dir.agent_key), 0);
    assert_int_equal(unlink(f->dir.agent_kubeconfig), 0);
    write_creds(f);
    (void)look(f);
    /* a file longer than any certificate, and one that is no file */
    assert_int_equal(truncate(f->dir.agent_cert, 1 << 20), 0);
    write_creds(f);
    struct stat st;
    assert_int_equal(stat(f->dir.agent_cert, &st), 0);
    assert_true(st.st_size < 65536);
}

static void what_does_not_fit_any_more_is_made_again(void **state)
{
    struct fx *f = *state;
    write_creds(f);
    struct inodes a = look(f);
    f->opts.node_ip = "192.0.2.8"; /* the machine has moved */
    write_creds(f);
    struct inodes b = look(f);
    assert_int_not_equal(a.cert, b.cert);
    assert_int_equal(a.agent, b.agent);
    assert_int_equal(a.admin, b.admin);
    f->opts.node_name = "n2"; /* and got another name */
    write_creds(f);
    struct inodes c = look(f);
    assert_int_not_equal(b.cert, c.cert);
    assert_int_not_equal(b.agent, c.agent);
    assert_int_equal(b.admin, c.admin);
    f->opts.listen = "127.0.0.2:0";
    write_creds(f);
    struct inodes d = look(f);
    assert_int_not_equal(c.admin, d.admin);
    assert_int_not_equal(c.agent, d.agent);
    assert_int_equal(c.cert, d.cert);
    check_kubeconfig(f, f->dir.admin_kubeconfig, "127.0.0.2", "kubernetes-admin", "system:masters");
    /* A year less a month later all of it is due. What is made is as old as the server's clock
     * says, so it stays due. */
    f->opts.now_s += (int64_t)(365 - 29) * 86400;
    write_creds(f);
    struct inodes e = look(f);
    assert_int_not_equal(d.admin, e.admin);
    assert_int_not_equal(d.agent, e.agent);
    assert_int_not_equal(d.cert, e.cert);
}

static void addresses_that_cannot_be_called(void **state)
{
    struct fx *f = *state;
    static const struct {
        const char *listen, *host;
    } rows[] = {
        {"0.0.0.0:0", "127.0.0.1"}, {"[::]:0", "127.0.0.1"},    {":0", "127.0.0.1"},
        {"[::1]:0", "::1"},         {"10.1.2.3:0", "10.1.2.3"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        f->opts.listen = rows[i].listen;
        write_creds(f);
        check_kubeconfig(f, f->dir.admin_kubeconfig, rows[i].host, "kubernetes-admin",
                         "system:masters");
        struct inodes a = look(f);
        write_creds(f); /* found good again, brackets or not */
        struct inodes b = look(f);
        assert_memory_equal(&a, &b, sizeof(a));
    }
}

/* The data directory of another cluster was copied here: same names, another CA. */
static void another_authority(void **state)
{
    struct fx *f = *state, *other;
    void *s = NULL;
    assert_int_equal(setup(&s), 0);
    other = s;
    write_creds(f);
    write_creds(other);
    struct inodes before = look(f);
    assert_int_equal(rename(other->dir.agent_cert, f->dir.agent_cert), 0);
    assert_int_equal(rename(other->dir.agent_key, f->dir.agent_key), 0);
    assert_int_equal(rename(other->dir.agent_kubeconfig, f->dir.agent_kubeconfig), 0);
    struct inodes mixed = look(f);
    write_creds(f);
    struct inodes after = look(f);
    assert_int_not_equal(mixed.cert, after.cert);
    assert_int_not_equal(mixed.agent, after.agent);
    assert_int_equal(before.admin, after.admin);
    teardown(&s);
}

static void nowhere_to_write(void **state)
{
    struct fx *f = *state;
    struct error err = {0};
    assert_int_equal(mkdir(f->dir.admin_kubeconfig, 0700), 0);
    assert_true(creds_write(f->api, &f->opts, &err) < 0);
    assert_true(str_search(err.message, str_z(f->dir.admin_kubeconfig)) >= 0);
    error_clear(&err);
    assert_int_equal(rmdir(f->dir.admin_kubeconfig), 0);
    assert_int_equal(mkdir(f->dir.agent_key, 0700), 0);
    assert_true(creds_write(f->api, &f->opts, &err) < 0);
    assert_true(str_search(err.message, str_z(f->dir.agent_key)) >= 0);
    error_fini(&err);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(made_and_kept),
        T(without_an_agent),
        T(what_is_damaged_is_made_again),
        T(what_does_not_fit_any_more_is_made_again),
        T(addresses_that_cannot_be_called),
        T(another_authority),
        T(nowhere_to_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
