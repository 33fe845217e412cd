/* Secrets that hold tokens, while their accounts go and come anew under the same names, commits
 * fail and the server dies: none ever holds a token of an account other than the one it says, and
 * in the end each is filled in, or gone with its account. */
#include "api/config.h"
#include "base/mem.h"
#include "codec/values.h"
#include "scenarios.h"

#define S          NSEC_PER_SEC
#define ACCOUNTS   3
#define PER_PERSON 2

/* Stands for a signature: what it would be of. */
int tokens_sign(void *arg, const struct api_object_meta *account, struct str secret,
                struct arena *a, struct str *ret, struct error *err)
{
    (void)arg;
    (void)secret;
    (void)err;
    *ret = arena_str(a, account->uid);
    return 0;
}

static void name_of(char *out, size_t n, unsigned account, unsigned secret)
{
    snprintf(out, n, "a%u-%u", account, secret);
}

static void make_account(struct world *w, unsigned i)
{
    char *json = xasprintf("{'metadata':{'name':'a%u','namespace':'default'}}", i);
    world_apply(w, KIND_SERVICE_ACCOUNT, json);
    free(json);
}

static void drop_account(struct world *w, unsigned i)
{
    char name[16];
    snprintf(name, sizeof(name), "a%u", i);
    world_delete(w, KIND_SERVICE_ACCOUNT, "default", name, NULL);
}

/* Not among what must survive: it goes with its account. */
static void make_secret(struct world *w, unsigned i, unsigned k)
{
    char name[16];
    name_of(name, sizeof(name), i, k);
    char *json = xasprintf("{'metadata':{'name':'%s','namespace':'default','annotations':{'"
                           "kubernetes.io/service-account.name':'a%u'}},'type':'kubernetes.io/"
                           "service-account-token'}",
                           name, i);
    world_apply(w, KIND_SECRET, json);
    free(json);
    checker_forget(w->checker, KIND_SECRET, "default", name);
}

static struct str token_of(const struct api_secret *s)
{
    const struct str *v = KV_GET(s, data, STR("token"));
    return v ? *v : STR_NONE;
}

static void check_uids(struct world *w)
{
    for (unsigned i = 0; i < ACCOUNTS * PER_PERSON; i++) {
        char name[16];
        name_of(name, sizeof(name), i / PER_PERSON, i % PER_PERSON);
        struct object *o = world_get(w, KIND_SECRET, "default", name);
        const struct str *uid =
            o ? KV_GET(object_meta(o), annotations, STR(SECRET_ACCOUNT_UID)) : NULL;
        struct str token = o ? token_of(o->msg) : STR_NONE;
        WORLD_CHECK(w, !token.n || (uid && str_eq(token, *uid)), "%s holds another's token", name);
    }
}

/* Each Secret has the token of the account that is there now, or is not there. */
static bool all_fit(struct world *w)
{
    bool fit = w->store != NULL;
    for (unsigned i = 0; i < ACCOUNTS * PER_PERSON && fit; i++) {
        char name[16], account[16];
        name_of(name, sizeof(name), i / PER_PERSON, i % PER_PERSON);
        snprintf(account, sizeof(account), "a%u", i / PER_PERSON);
        struct object *o = world_get(w, KIND_SECRET, "default", name);
        struct object *sa = world_get(w, KIND_SERVICE_ACCOUNT, "default", account);
        fit = !o || (sa && str_eq(token_of(o->msg), object_meta(sa)->uid));
    }
    return fit;
}

static void mishap(struct world *w)
{
    struct store_disk_faults *disk = store_disk_faults(w->disk);
    unsigned i = (unsigned)world_below(w, ACCOUNTS);
    switch (world_below(w, 6)) {
    case 0:
        disk->crash_keeps = world_below(w, 2);
        world_crash(w);
        break;
    case 1:
        disk->fail_nth = 1 + world_below(w, 3);
        disk->fail_unknown = world_below(w, 2);
        disk->fail_kept = world_below(w, 2);
        break;
    case 2:
        drop_account(w, i);
        break;
    case 3:
        drop_account(w, i);
        make_account(w, i);
        break;
    default:
        make_account(w, i);
        make_secret(w, i, (unsigned)world_below(w, PER_PERSON));
        break;
    }
    world_run(w, (nsec_t)world_below(w, 500) * NSEC_PER_MSEC);
    check_uids(w);
    world_reopen(w);
}

void run_tokens(struct world *w, unsigned steps)
{
    for (unsigned i = 0; i < steps * 8; i++)
        mishap(w);
    *store_disk_faults(w->disk) = (struct store_disk_faults){.latency_min = 200 * NSEC_PER_USEC,
                                                             .latency_max = 3 * NSEC_PER_MSEC};
    world_reopen(w);
    make_account(w, 0);
    make_secret(w, 0, 0);
    world_until(w, all_fit, 600 * S, "every Secret filled in, or gone");
    make_secret(w, 0, 0); /* it may have gone with an older account */
    world_until(w, all_fit, 600 * S, "one that is there");
    world_merge(w, KIND_SECRET, "default", "a0-0", "{'data':{'token':null}}");
    checker_forget(w->checker, KIND_SECRET, "default", "a0-0");
    world_until(w, all_fit, 600 * S, "what was emptied is filled in again");
    world_run(w, 5 * S);
    WORLD_CHECK(w, all_fit(w), "it stays so");
    checker_quiet(w->checker);
}
