/* One question to one webhook: what it is told, what it answered, and what that means. Printing the
 * objects and reading the answer, its patch included, is done on the thread that calls; until then
 * nobody changes what the question points to, since the call waits. */
#include "apiserver/hooks/hooks_int.h"

#include "base/log.h"
#include "schema/custom.h"

#define AUDIT_PATCH_BYTES_MAX 65536 /* a longer one is not told to the audit log */

/* ---- on the thread of the call ---- */

static void write_question(void *arg, struct buf *out)
{
    const struct hook_ask *k = arg;
    review_print(&k->question, out);
}

/* A delete has nothing to change, and what a connect is told is not what it goes by. */
static bool may_change(const struct hook_ask *k)
{
    return k->question.object && k->state->form != HOOK_CONNECT;
}

static int read_answer(void *arg, struct str body, struct error *err)
{
    struct hook_ask *k = arg;
    bool mutating = k->hook->phase == HOOK_MUTATING;
    int r = review_parse(body, &k->question, mutating, &k->arena, &k->answer, err);
    if (r == -EPROTO)
        return r;
    k->understood = true;
    if (r >= 0 && k->answer.allowed && k->answer.patch) {
        if (may_change(k))
            r = review_apply(k->as, k->question.desc, k->question.object, &k->answer, &k->arena,
                             &k->patched, err);
        else
            r = error_set(err, REASON_INTERNAL,
                          "admission webhook \"%.*s\" attempted to modify the object, which is not "
                          "supported for this operation",
                          STR_ARG(k->hook->name));
    }
    if (r < 0) {
        k->patched = NULL;
        k->hopeless = true;
    }
    return r;
}

/* ---- core ---- */

static void on_done(void *arg, const struct outcall_answer *a)
{
    struct hook_ask *k = arg;
    struct arena *at = &k->state->call->arena;
    k->call = NULL;
    k->r = a->r;
    k->took = a->took;
    if (a->r < 0 && (!a->answered || a->r == -EFBIG || a->status < 200 || a->status > 206))
        k->what = arena_printf(at, "failed to call webhook: %.*s", STR_ARG(a->what));
    else
        k->what = arena_str(at, a->what);
    hook_answered(k->state, k);
}

struct hook_ask *hook_ask(struct hook_state *h, struct admit_request *req, const struct hook *hook,
                          unsigned index, const struct schema_kind *as)
{
    struct api_call *c = h->call;
    struct hook_ask *k = ARENA_NEW(&c->arena, struct hook_ask);
    struct buf info = {0};
    nsec_t end = c->started + HOOK_WAIT_MAX;
    int64_t left = MAX((end - rt_now(c->server->rt)) / NSEC_PER_MSEC, (nsec_t)1);
    k->state = h;
    k->hook = hook;
    k->index = index;
    k->round = h->round;
    k->as = custom_ref(as);
    json_print(admit_request_info(req, as), &info);
    k->question = (struct review_question){.v1 = hook->v1,
                                           .info = arena_str(&c->arena, buf_str(&info)),
                                           .desc = admit_request_desc(req, as),
                                           .object = admit_request_msg(req, as, false),
                                           .old = admit_request_msg(req, as, true)};
    buf_fini(&info);
    make_uid(c->server->rt, &c->arena, &k->question.uid);
    *h->asks_tail = k;
    h->asks_tail = &k->next;
    h->pending++;
    k->call = outcall_start(c->server->outcalls,
                            &(struct outcall_request){.target = hook->target,
                                                      .timeout_ms = MIN(hook->timeout_ms, left),
                                                      .limit_bytes = REVIEW_ANSWER_BYTES_MAX,
                                                      .write = write_question,
                                                      .read = read_answer,
                                                      .done = on_done,
                                                      .arg = k});
    return k;
}

void hook_asks_free(struct hook_state *h)
{
    for (struct hook_ask *k = h->asks; k; k = k->next) {
        custom_unref(k->as);
        arena_fini(&k->arena);
    }
    h->asks = NULL;
    h->asks_tail = &h->asks;
}

/* ---- what it means ---- */

static struct str number_key(struct api_call *c, const char *prefix, const struct hook_ask *k)
{
    return arena_printf(&c->arena, "%s/round_%u_index_%u", prefix, k->round, k->index);
}

static const char *cstr(struct api_call *c, struct str s)
{
    return arena_cstr(&c->arena, s);
}

static void annotate(struct api_call *c, const struct hook_ask *k)
{
    struct buf b = {0};
    struct str config = object_name(k->hook->config->object);
    if (!c->audit)
        return;
    for (uint32_t i = 0; i < k->answer.n_annotations; i++) {
        const struct kv_str *n = &k->answer.annotations[i];
        struct str key =
            arena_printf(&c->arena, "%.*s/%.*s", STR_ARG(k->hook->name), STR_ARG(n->key));
        api_call_annotate(c, cstr(c, key), "%.*s", STR_ARG(n->value));
    }
    if (k->hook->phase != HOOK_MUTATING || !k->answer.allowed)
        return;
    buf_printf(&b, "{\"configuration\":\"%.*s\",\"webhook\":\"%.*s\",", STR_ARG(config),
               STR_ARG(k->hook->name));
    size_t head = b.n;
    buf_printf(&b, "\"mutated\":%s}", k->patched ? "true" : "false");
    api_call_annotate(c, cstr(c, number_key(c, "mutation.webhook.admission.k8s.io", k)), "%.*s",
                      STR_ARG(buf_str(&b)));
    if (k->patched && k->answer.patch_text.n <= AUDIT_PATCH_BYTES_MAX) {
        b.n = head;
        buf_add_lit(&b, "\"patch\":");
        buf_add_str(&b, str_trim(k->answer.patch_text));
        buf_add_lit(&b, ",\"patchType\":\"JSONPatch\"}");
        api_call_annotate(c, cstr(c, number_key(c, "patch.webhook.admission.k8s.io", k)), "%.*s",
                          STR_ARG(buf_str(&b)));
    }
    buf_fini(&b);
}

/* Once a second at most: it may be that every call fails. */
static void tell_ignored(struct api_call *c, const struct hook_ask *k)
{
    struct hooks *x = c->server->hooks;
    nsec_t now = rt_now(c->server->rt);
    if (x->ignored_told && now - x->ignored_told < NSEC_PER_SEC)
        return;
    x->ignored_told = now;
    log_warn("webhook %.*s of %.*s failed, and is ignored as its failurePolicy says: %.*s",
             STR_ARG(k->hook->name), STR_ARG(object_name(k->hook->config->object)),
             STR_ARG(k->what));
}

/* The webhook could not be asked, or what it said is none of the answers there are. */
static int failed(struct api_call *c, const struct hook_ask *k)
{
    struct str name = k->hook->name;
    if (!k->hook->ignore_failure)
        return call_error(c, REASON_INTERNAL,
                          "Internal error occurred: failed calling webhook \"%.*s\": %.*s",
                          STR_ARG(name), STR_ARG(k->what));
    tell_ignored(c, k);
    const char *prefix = k->hook->phase == HOOK_MUTATING
                             ? "failed-open.mutation.webhook.admission.k8s.io"
                             : "failed-open.validating.webhook.admission.k8s.io";
    api_call_annotate(c, cstr(c, number_key(c, prefix, k)), "%.*s", STR_ARG(name));
    return 0;
}

static int denied(struct api_call *c, const struct hook_ask *k)
{
    struct arena *a = &c->arena;
    struct api_status *st = ARENA_NEW(a, struct api_status);
    if (k->answer.status)
        *st = *k->answer.status;
    if (st->code < 400 || st->code > 599)
        st->code = 400;
    st->status = STR("Failure");
    struct str by =
        arena_printf(a, "admission webhook \"%.*s\" denied the request", STR_ARG(k->hook->name));
    if (st->message.n)
        st->message = arena_printf(a, "%.*s: %.*s", STR_ARG(by), STR_ARG(st->message));
    else if (st->reason.n)
        st->message = arena_printf(a, "%.*s: %.*s", STR_ARG(by), STR_ARG(st->reason));
    else
        st->message = arena_printf(a, "%.*s without explanation", STR_ARG(by));
    int r = call_error(c, error_reason_parse(st->reason, st->code), "%.*s", STR_ARG(st->message));
    c->reply.status = schema_clone(&api_status_desc, st, a);
    return r;
}

int hook_take(struct hook_state *h, struct hook_ask *k)
{
    struct api_call *c = h->call;
    int r = 0;
    if (k->understood)
        annotate(c, k);
    if (k->hopeless)
        r = call_error(c, REASON_INTERNAL, "Internal error occurred: %.*s", STR_ARG(k->what));
    else if (!k->understood)
        r = failed(c, k);
    else if (!k->answer.allowed)
        r = denied(c, k);
    hook_count(c->server->hooks, k, k->took, r < 0);
    return r;
}
