/* The seams are three: identity_net hands each connection to a link whose far end is whom the
 * certificate or token proves; net_pick_range is asked of a host that is made up; and the
 * certificates are signed here, because an authority's own clock is the real one. Everything
 * between them is the agent's and the server's own code. */
#include "machine.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "client/kubeconfig.h"
#include "client/join_token.h"
#include "guard.h"
#include "net/claim.h"
#include "net/net_internal.h"
#include "node/identity.h"
#include "rt/crypto.h"
#include "sys/fs.h"

#define CLUSTER_RANGE  "10.128.0.0/20" /* sixteen nodes' ranges: proposals meet */
#define RANGES         16
#define CA_NOT_AFTER_S INT64_C(2840140800) /* 2060 */

enum machine_state { MACHINE_OFF, MACHINE_JOINING, MACHINE_CLAIMING, MACHINE_UP };

struct port { /* one connection */
    struct list node;
    struct machine *machine;
    struct client *link;
    char *user, *token; /* owned; one of them */
};

struct machine {
    struct world *world;
    unsigned slot;
    enum machine_state state;
    char prefix[24], name[32], dir[96], token[JOIN_TOKEN_CHARS + 1];
    char range[IP_PREFIX_TEXT_MAX]; /* on its disk; empty: none yet */
    unsigned renames;
    bool killed, refused, claim_failed, cut_up, cut_down;
    bool busy[RANGES]; /* ranges the host itself uses */
    struct identity_net net;
    struct identity *identity;
    struct net_claim *claim;
    struct hollow *hollow;
    double clock_rate;
    struct rt_timer again;
    struct list ports;
};

struct machines {
    struct world *world;
    char dir[64];
    struct machine v[MACHINES_MAX];
};

/* ---- the authority: one for all worlds of this process ---- */

static struct pkey *ca_key;
static struct cert *ca;
static char *ca_pem;

static void authority(void)
{
    struct error err = {0};
    if (ca)
        return;
    ca_key = pkey_new_p256();
    int r = cert_new_ca(ca_key, STR("davit-sim"), CA_NOT_AFTER_S, &err, &ca);
    ASSERT(r == 0);
    ca_pem = cert_to_pem(ca);
}

const char *machines_ca_pem(void)
{
    authority();
    return ca_pem;
}

const struct cluster_config *machines_cluster(void)
{
    static struct cluster_config c;
    c = (struct cluster_config){.pod_cidr = STR(CLUSTER_RANGE),
                                .service_cidr = STR("10.96.0.0/16"),
                                .domain = STR(CLUSTER_DOMAIN),
                                .network = CLUSTER_NETWORK_VXLAN,
                                .vni = 77};
    return &c;
}

static int sign(void *arg, const struct pkey *key, const struct cert_spec *spec, char **ret_pem,
                struct error *err)
{
    struct machines *ms = arg;
    struct cert_spec s = *spec;
    struct cert *cert;
    s.not_before_s = rt_wall(ms->world->rt) / 1000000 - 300;
    int r = cert_issue(ca, ca_key, key, &s, err, &cert);
    if (r < 0)
        return r;
    *ret_pem = cert_to_pem(cert);
    cert_free(cert);
    return 0;
}

void machines_sign_with(struct machines *ms, struct controllers_opts *o)
{
    o->sign = sign;
    o->sign_arg = ms;
}

/* ---- connections ---- */

static void port_up(struct port *p)
{
    struct machine *m = p->machine;
    struct str group = STR("system:nodes");
    char address[40];
    snprintf(address, sizeof(address), "192.0.2.%u:4711", m->slot + 1);
    const struct apiserver_peer peer = {.user = str_z(p->user),
                                        .groups = &group,
                                        .n_groups = p->user != NULL,
                                        .token = str_z(p->token),
                                        .address = str_z(address)};
    link_set_inner(p->link, apiserver_client_peer(m->world->api, &peer));
}

static void port_gone(void *arg)
{
    struct port *p = arg;
    list_remove(&p->node);
    free(p->user);
    free(p->token);
    free(p);
}

/* What the server's TLS does: whoever shows a certificate must have it from the authority. */
static char *user_of(struct machine *m, const struct kubeconfig *k)
{
    struct cert *cert;
    struct error err = {0};
    if (cert_from_pem(k->cert_pem, NULL, &cert) < 0)
        world_fail(m->world, "%s shows a certificate that is none", m->name);
    /* When the clock has gone back a node has to wait for its time; here it need not. */
    int64_t at_s = MAX(rt_wall(m->world->rt) / 1000000, cert_facts(cert)->not_before_s);
    if (cert_verify(cert, ca, at_s, &err) < 0)
        world_fail(m->world, "%s shows a bad certificate: %.*s", m->name, STR_ARG(err.message));
    char *user = str_dup(cert_facts(cert)->cn);
    cert_free(cert);
    return user;
}

static int machine_open(void *arg, const struct kubeconfig *k, struct client **ret,
                        struct error *err)
{
    struct machine *m = arg;
    struct world *w = m->world;
    struct port *p = NEW(struct port);
    *p = (struct port){.machine = m,
                       .link = link_new(w->rt, &w->faults, world_random(w)),
                       .user = k->token.n ? NULL : user_of(m, k),
                       .token = k->token.n ? str_dup(k->token) : NULL};
    list_init(&p->node);
    list_push_back(&m->ports, &p->node);
    link_on_free(p->link, port_gone, p);
    link_set_cut_ways(p->link, m->cut_up, m->cut_down);
    if (w->api)
        port_up(p);
    *ret = p->link;
    return 0;
}

static int machine_reload(void *arg, struct client *c, const struct kubeconfig *k,
                          struct error *err)
{
    free(user_of(arg, k));
    return 0;
}

void machines_server_up(struct machines *ms)
{
    struct port *p;
    for (unsigned i = 0; ms && i < MACHINES_MAX; i++)
        LIST_FOR_EACH (p, &ms->v[i].ports, node)
            port_up(p);
}

void machines_server_down(struct machines *ms)
{
    struct port *p;
    for (unsigned i = 0; ms && i < MACHINES_MAX; i++)
        LIST_FOR_EACH (p, &ms->v[i].ports, node)
            link_set_inner(p->link, NULL);
}

/* ---- the host: what src/net/config.c asks the kernel for ---- */

static struct machines *hosts; /* of the world that is played */

static struct machine *machine_of_dir(const char *dir)
{
    for (unsigned i = 0; i < MACHINES_MAX; i++)
        if (strcmp(hosts->v[i].dir, dir) == 0)
            return &hosts->v[i];
    return NULL;
}

int net_pick_range(const char *data_dir, const char *cluster_cidr, unsigned skip,
                   char out[static IP_PREFIX_TEXT_MAX], struct error *err)
{
    struct machine *m = machine_of_dir(data_dir);
    ASSERT(m && strcmp(cluster_cidr, CLUSTER_RANGE) == 0);
    for (unsigned i = 0; i < RANGES; i++) {
        unsigned n = (m->slot % 3 + i) % RANGES; /* many begin alike */
        if (m->busy[n] || skip-- > 0)
            continue;
        snprintf(out, IP_PREFIX_TEXT_MAX, "10.128.%u.0/24", n);
        return 0;
    }
    return error_set(err, REASON_INTERNAL, "net: no free range for this node in %s", cluster_cidr);
}

int net_range_in_use(const struct ip_prefix *range, const char *bridge)
{
    return 0;
}

/* ---- life ---- */

static void start_agent(struct machine *m);

static void again_later(struct machine *m)
{
    rt_timer_start(&m->again, NSEC_PER_SEC + (nsec_t)world_below(m->world, 4000) * NSEC_PER_MSEC);
}

static void on_container(void *arg, const char *node, const struct api_object_meta *pod, bool runs)
{
    checker_container(((struct machine *)arg)->world->checker, node, pod, runs);
}

static void check_range(struct machine *m)
{
    for (unsigned i = 0; i < MACHINES_MAX; i++) {
        const struct machine *o = &hosts->v[i];
        if (o != m && o->state == MACHINE_UP)
            WORLD_CHECK(m->world, strcmp(o->range, m->range) != 0, "%s and %s both took %s",
                        o->name, m->name, m->range);
    }
}

static void start_node(struct machine *m)
{
    const struct hollow_opts h = {.name_prefix = m->prefix,
                                  .nodes = 1,
                                  .start_delay = m->world->opts.start_delay,
                                  .fence = true,
                                  .clock_rate = m->clock_rate,
                                  .pod_cidr = m->range,
                                  .empty = true,
                                  .on_container = on_container,
                                  .arg = m};
    m->state = MACHINE_UP;
    check_range(m);
    m->hollow = hollow_new(identity_client(m->identity), &h);
    hollow_start(m->hollow);
}

static void on_claimed(void *arg, int r, const char *pod_cidr, const struct error *err)
{
    struct machine *m = arg;
    m->claim = NULL;
    if (r < 0) { /* the agent gives up, and is started again */
        m->claim_failed = true;
        again_later(m);
        return;
    }
    snprintf(m->range, sizeof(m->range), "%s", pod_cidr);
    start_node(m);
}

static void claim(struct machine *m)
{
    m->state = MACHINE_CLAIMING;
    if (m->range[0]) {
        start_node(m);
        return;
    }
    m->claim = net_claim_start(&(struct net_claim_opts){.rt = m->world->rt,
                                                        .client = identity_client(m->identity),
                                                        .data_dir = m->dir,
                                                        .node_name = m->name,
                                                        .cluster_cidr = CLUSTER_RANGE},
                               on_claimed, m);
}

static void on_identified(void *arg, int r, const struct error *err)
{
    struct machine *m = arg;
    if (r == 0) {
        claim(m);
        return;
    }
    m->refused = r == -EPERM; /* by name */
    again_later(m);
}

static void set_name(struct machine *m, const char *prefix)
{
    snprintf(m->prefix, sizeof(m->prefix), "%s", prefix);
    snprintf(m->name, sizeof(m->name), "%s-0", prefix);
}

/* The machine's agent starts anew; the person at it has read why it failed. */
static void on_again(void *arg)
{
    struct machine *m = arg;
    if (m->claim_failed) {
        m->claim_failed = false;
        claim(m);
        return;
    }
    m->identity = identity_free(m->identity);
    if (m->refused) {
        char prefix[24];
        snprintf(prefix, sizeof(prefix), "m%ur%u", m->slot, ++m->renames);
        set_name(m, prefix);
        m->refused = false;
    }
    start_agent(m);
}

static void start_agent(struct machine *m)
{
    static const char *const NAMES[] = {"kubeconfig", "cert", "key", "join"};
    char ip[24], files[4][128];
    struct error err = {0};
    snprintf(ip, sizeof(ip), "192.0.2.%u", m->slot + 1);
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        snprintf(files[i], sizeof(files[i]), "%s/%s", m->dir, NAMES[i]);
    const struct identity_opts o = {.rt = m->world->rt,
                                    .node_name = m->name,
                                    .node_ip = ip,
                                    .kubeconfig = files[0],
                                    .cert_file = files[1],
                                    .key_file = files[2],
                                    .join_key_file = files[3],
                                    .server_url = "https://192.0.2.254:6443",
                                    .token = m->token,
                                    .net = &m->net};
    m->state = MACHINE_JOINING;
    if (identity_new(&o, &m->identity, &err) < 0)
        world_fail(m->world, "%s: %.*s", m->name, STR_ARG(err.message));
    identity_start(m->identity, on_identified, m);
}

static void stop_agent(struct machine *m)
{
    rt_timer_stop(&m->again);
    m->claim = net_claim_cancel(m->claim);
    m->hollow = hollow_free(m->hollow);
    m->identity = identity_free(m->identity);
    m->refused = m->claim_failed = false;
}

void machine_join(struct world *w, unsigned i, const char *name)
{
    struct machine *m = &w->machines->v[i];
    ASSERT(m->state == MACHINE_OFF && !m->killed);
    set_name(m, name);
    memset(m->busy, 0, sizeof(m->busy));
    m->busy[world_below(w, RANGES)] = true;
    m->clock_rate = w->opts.skewed ? ((double)world_below(w, 2001) - 1000) / 100000 : 0;
    if (mkdir(m->dir, 0700) < 0)
        world_fail(w, "cannot make %s", m->dir);
    start_agent(m);
}

void machine_kill(struct world *w, unsigned i)
{
    struct machine *m = &w->machines->v[i];
    m->killed = true;
    if (m->hollow)
        hollow_set_dead(m->hollow, 0, true);
    else
        stop_agent(m);
}

void machine_revive(struct world *w, unsigned i)
{
    struct machine *m = &w->machines->v[i];
    m->killed = false;
    if (m->hollow)
        hollow_set_dead(m->hollow, 0, false);
    else
        start_agent(m);
}

/* What it could still prove with its disk, it cannot any more. */
static void forget_key(struct machine *m, const char *file)
{
    CLEANUP(freep) char *path = xasprintf("%s/%s", m->dir, file);
    CLEANUP(freep) char *pem = NULL;
    struct kubeconfig k = {0};
    struct str text = STR_NONE;
    struct pkey *key = NULL;
    uint8_t digest[SHA256_BYTES];
    if (strcmp(file, "kubeconfig") == 0) {
        if (access(path, F_OK) == 0 && kubeconfig_load(path, NULL, &k, NULL) == 0)
            text = k.key_pem;
    } else if (sys_read_file(AT_FDCWD, path, 65536, &pem, NULL) == 0) {
        text = str_z(pem);
    }
    if (text.n && pkey_from_pem(text, NULL, &key) == 0) {
        pkey_spki_sha256(key, digest);
        guard_key_dead(checker_guard(m->world->checker), digest);
    }
    kubeconfig_fini(&k);
    pkey_free(key);
}

void machine_wipe(struct world *w, unsigned i)
{
    struct machine *m = &w->machines->v[i];
    stop_agent(m);
    forget_key(m, "kubeconfig");
    forget_key(m, "join");
    (void)sys_remove_tree(AT_FDCWD, m->dir);
    m->killed = false;
    m->range[0] = '\0';
    m->state = MACHINE_OFF;
}

void machine_cut(struct world *w, unsigned i, bool up, bool down)
{
    struct machine *m = &w->machines->v[i];
    struct port *p;
    m->cut_up = up;
    m->cut_down = down;
    LIST_FOR_EACH (p, &m->ports, node)
        link_set_cut_ways(p->link, up, down);
}

bool machine_is_on(const struct world *w, unsigned i)
{
    return w->machines->v[i].state != MACHINE_OFF;
}

bool machine_is_up(const struct world *w, unsigned i)
{
    const struct machine *m = &w->machines->v[i];
    return m->state == MACHINE_UP && !m->killed;
}

bool machine_is_killed(const struct world *w, unsigned i)
{
    return w->machines->v[i].killed;
}

const char *machine_name(const struct world *w, unsigned i)
{
    return w->machines->v[i].name;
}

const char *machine_range(const struct world *w, unsigned i)
{
    return w->machines->v[i].range[0] ? w->machines->v[i].range : NULL;
}

int machine_find(const struct world *w, struct str node)
{
    for (unsigned i = 0; i < MACHINES_MAX; i++)
        if (machine_is_on(w, i) && str_eqz(node, w->machines->v[i].name))
            return (int)i;
    return -1;
}

/* ---- all of them ---- */

struct machines *machines_new(struct world *w)
{
    struct machines *ms = NEW(struct machines);
    struct join_token t = {0};
    struct str rest = STR(JOIN_TOKEN), id;
    authority();
    ms->world = w;
    hosts = ms;
    snprintf(ms->dir, sizeof(ms->dir), "%s/davit-sim.XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(ms->dir))
        world_fail(w, "cannot make %s", ms->dir);
    (void)str_cut(&rest, '.', &id);
    memcpy(t.id, id.p, JOIN_TOKEN_ID_CHARS);
    memcpy(t.secret, rest.p, JOIN_TOKEN_SECRET_CHARS);
    pkey_spki_sha256(ca_key, t.ca_spki_sha256);
    for (unsigned i = 0; i < MACHINES_MAX; i++) {
        struct machine *m = &ms->v[i];
        *m = (struct machine){.world = w,
                              .slot = i,
                              .net = {.open = machine_open, .reload = machine_reload, .arg = m}};
        snprintf(m->dir, sizeof(m->dir), "%s/%u", ms->dir, i);
        join_token_print(&t, m->token);
        list_init(&m->ports);
        rt_timer_init(&m->again, w->rt, on_again, m);
    }
    return ms;
}

struct machines *machines_free(struct machines *ms)
{
    if (!ms)
        return NULL;
    for (unsigned i = 0; i < MACHINES_MAX; i++)
        stop_agent(&ms->v[i]);
    (void)sys_remove_tree(AT_FDCWD, ms->dir);
    hosts = NULL;
    free(ms);
    return NULL;
}

unsigned machines_refused(const struct machines *ms)
{
    unsigned n = 0;
    for (unsigned i = 0; i < MACHINES_MAX; i++)
        n += ms->v[i].renames;
    return n;
}

void machines_dump(struct machines *ms)
{
    static const char *const STATES[] = {"off", "joining", "claiming", "up"};
    for (unsigned i = 0; ms && i < MACHINES_MAX; i++) {
        const struct machine *m = &ms->v[i];
        fprintf(stderr, "  machine %u: %s %s%s%s%s %s\n", i, m->name, STATES[m->state],
                m->killed ? ", agent dead" : "", m->cut_up ? ", cut up" : "",
                m->cut_down ? ", cut down" : "", m->range);
    }
    if (ms)
        (void)sys_remove_tree(AT_FDCWD, ms->dir);
}
