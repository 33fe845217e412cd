/* One record per (audience, lifetime) the pod's volumes ask for. */
#include "node/token.h"

#include "base/mem.h"
#include "node/agent.h"

#define RETRY (2 * NSEC_PER_SEC)

struct token {
    struct token *next;
    struct tokens *tokens;
    char *audience, *account, *ns, *pod_name, *pod_uid;
    int64_t lifetime_s;
    char *text; /* owned; NULL: none yet */
    char *error;
    usec_t expires;
    bool asking;
    struct rt_timer timer; /* renewal or retry */
};

struct tokens {
    struct client *client;
    struct rt *rt;
    rt_fn changed;
    void *arg;
    struct token *head;
    unsigned asking;
    bool stopped, freed;
};

struct tokens *tokens_new(struct client *c, struct rt *rt, rt_fn changed, void *arg)
{
    struct tokens *t = NEW(struct tokens);
    t->client = c;
    t->rt = rt;
    t->changed = changed;
    t->arg = arg;
    return t;
}

void tokens_stop(struct tokens *t)
{
    t->stopped = true;
    for (struct token *k = t->head; k; k = k->next)
        rt_timer_stop(&k->timer);
}

static void tokens_release(struct tokens *t)
{
    while (t->head) {
        struct token *k = t->head;
        t->head = k->next;
        char *owned[] = {k->audience, k->account, k->ns,   k->pod_name,
                         k->pod_uid,  k->text,    k->error};
        for (size_t i = 0; i < ARRAY_LEN(owned); i++)
            free(owned[i]);
        free(k);
    }
    free(t);
}

struct tokens *tokens_free(struct tokens *t)
{
    if (!t)
        return NULL;
    tokens_stop(t);
    t->freed = true;
    if (t->asking == 0)
        tokens_release(t);
    return NULL;
}

static void on_answer(void *arg, const struct client_reply *reply)
{
    struct token *k = arg;
    struct tokens *t = k->tokens;
    k->asking = false;
    t->asking--;
    if (t->freed) {
        if (t->asking == 0)
            tokens_release(t);
        return;
    }
    if (t->stopped)
        return;
    const struct api_token_request *r = reply->r == 0 ? reply->message : NULL;
    if (r && r->status.token.n) {
        free(k->text);
        k->text = str_dup(r->status.token);
        set_text(&k->error, NULL);
        usec_t now = rt_wall(t->rt);
        k->expires = r->status.expiration_timestamp.set ? r->status.expiration_timestamp.usec
                                                        : now + usec_of_s(k->lifetime_s);
        usec_t life = MAX(k->expires - now, (usec_t)10000000);
        /* a day at most, as kubelets do: keys of the signer may be rotated */
        life = MIN(life * 8 / 10, (usec_t)86400 * 1000000);
        rt_timer_start(&k->timer, rt_jitter(t->rt, nsec_of_usec(life), 0.05));
    } else {
        char *text =
            reply->err ? str_dup(reply->err->message) : xstrdup("the server gave no token");
        set_text(&k->error, text);
        free(text);
        rt_timer_start(&k->timer, RETRY);
    }
    t->changed(t->arg);
}

static void ask(void *arg)
{
    struct token *k = arg;
    struct tokens *t = k->tokens;
    if (k->asking || t->stopped)
        return;
    struct str audiences[1] = {str_z(k->audience)};
    struct api_bound_object_reference bound = {.kind = STR("Pod"),
                                               .api_version = STR("v1"),
                                               .name = str_z(k->pod_name),
                                               .uid = str_z(k->pod_uid)};
    struct api_token_request body = {
        .spec =
            {
                .audiences = k->audience[0] ? audiences : NULL,
                .n_audiences = k->audience[0] ? 1 : 0,
                .has_expiration_seconds = true,
                .expiration_seconds = k->lifetime_s,
                .bound_object_ref = &bound,
            },
    };
    struct client_request req = {
        .verb = CLIENT_CREATE,
        .kind = schema_kinds[KIND_SERVICE_ACCOUNT],
        .ns = str_z(k->ns),
        .name = str_z(k->account),
        .subresource = STR("token"),
        .body_desc = &api_token_request_desc,
        .body = &body,
        .reply_desc = &api_token_request_desc,
    };
    k->asking = true;
    t->asking++;
    client_call(t->client, &req, on_answer, k);
}

int tokens_get(struct tokens *t, const struct api_pod *pod, struct str account, struct str audience,
               int64_t lifetime_s, struct str *ret, struct error *err)
{
    struct token *k = t->head;
    while (k && !(str_eqz(audience, k->audience) && k->lifetime_s == lifetime_s &&
                  str_eqz(account, k->account)))
        k = k->next;
    if (!k) {
        k = NEW(struct token);
        k->tokens = t;
        k->audience = str_dup(audience);
        k->account = str_dup(account);
        k->ns = str_dup(pod->metadata.namespace);
        k->pod_name = str_dup(pod->metadata.name);
        k->pod_uid = str_dup(pod->metadata.uid);
        k->lifetime_s = lifetime_s;
        rt_timer_init(&k->timer, t->rt, ask, k);
        k->next = t->head;
        t->head = k;
        ask(k);
    }
    if (k->text) { /* also while a new one is asked for */
        *ret = str_z(k->text);
        return 0;
    }
    if (k->error)
        return error_set(err, REASON_INTERNAL, "failed to fetch token: %s", k->error);
    return -EAGAIN;
}
