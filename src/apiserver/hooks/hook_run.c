/* A call that waits for webhooks, and its way back.
 *
 *   verb -> hooks_mutate -> asked one after the other, twice at most -> the verb again
 *        -> hooks_mutate (known: the message as they left it) ... hooks_validate -> all at once
 *        -> the verb again -> both known -> written
 *
 * One that speaks of another version of a kind that is converted by a webhook waits for that first,
 * and what it has changed is converted back before the next one is asked.
 *
 * Kubernetes: apiserver/pkg/admission/plugin/webhook/{mutating,validating}/dispatcher.go. */
#include "apiserver/custom/call_view.h"
#include "apiserver/hooks/hooks_int.h"
#include "apiserver/managed.h"
#include "schema/custom.h"

void hooks_begin(struct api_call *c)
{
    struct hook_state *h = ARENA_NEW(&c->arena, struct hook_state);
    h->call = c;
    call_copy_user(c, &c->user); /* an in-process client may be freed while its call waits */
    call_keep(c);
    list_init(&h->link);
    h->asks_tail = &h->asks;
    c->hooks = h;
}

struct hook_state *hook_state_free(struct hook_state *h)
{
    if (!h)
        return NULL;
    list_remove(&h->link);
    hook_asks_free(h);
    h->list = hook_list_unref(h->list);
    h->old = object_unref(h->old);
    return NULL;
}

/* ---- life of a run ---- */

static void tell_warnings(struct hook_state *h)
{
    for (struct hook_ask *k = h->asks; k; k = k->next)
        for (uint32_t i = 0; k->understood && i < k->answer.n_warnings; i++)
            api_call_warn(h->call, "%.*s", STR_ARG(k->answer.warnings[i]));
    for (struct hook_ask *k = h->asks; k; k = k->next)
        if (k->complaint.n)
            api_call_warn(h->call, "%.*s", STR_ARG(k->complaint));
}

void hooks_warn(struct api_call *c)
{
    tell_warnings(c->hooks);
}

static void over(struct hook_state *h)
{
    list_remove(&h->link);
    h->list = hook_list_unref(h->list);
}

static void refuse(struct hook_state *h, int r)
{
    struct api_call *c = h->call;
    over(h);
    tell_warnings(h);
    c->reply.r = r;
    call_finish(c);
}

static void go_on(struct hook_state *h)
{
    over(h);
    h->known = true;
    h->done[HOOK_MUTATING] = true; /* those of the other phase come later */
    h->done[h->phase] = true;
    call_restore(h->call);
    call_run_again(h->call);
}

void hooks_stop(struct hooks *x)
{
    struct hook_state *h;
    LIST_FOR_EACH (h, &x->waiting, link) {
        h->stopped = true;
        for (struct hook_ask *k = h->asks; k; k = k->next)
            if (k->call)
                outcall_cancel(k->call);
    }
}

/* ---- who is asked ---- */

static void init_request(struct hook_state *h, struct admit_request *req)
{
    if (h->form == HOOK_CONNECT)
        admit_request_init_connect(req, h->call);
    else if (h->form == HOOK_SUB)
        admit_request_init_sub(req, h->call, h->op, h->desc, h->msg, h->sub_old);
    else
        admit_request_init(req, h->call, h->op, h->msg, h->old);
}

/* Objects are wanted in another version. 1: they are asked for; 0: they are in hand by now. */
static int views_wait(struct hook_state *h);

static int not_convertible(struct api_call *c)
{
    error_prefix(&c->reply.err, "Internal error occurred");
    return error_reason_errno(REASON_INTERNAL);
}

/* 1: it is to be asked, as *ret_as; 0: not; -EINPROGRESS: it is not known yet, see views_wait;
 * other negatives: the call is refused. */
static int is_wanted(struct hook_state *h, struct admit_request *req, const struct hook *hook,
                     const struct schema_kind **ret_as)
{
    struct api_call *c = h->call;
    struct str why;
    int r = match_request(&hook->match, req, ret_as, &c->reply.err);
    if (r == -EPROTO)
        return not_convertible(c);
    if (r <= 0)
        return r;
    if (hook->conditions) {
        r = conditions_check(hook->conditions, req, *ret_as, NULL, NULL, &why);
        if (r < 0)
            return hook->ignore_failure ? 0 : call_forbidden(c, req->name, "%.*s", STR_ARG(why));
        if (!r)
            return 0;
    }
    if (c->opts.dry_run && !hook->no_side_effects)
        return call_error(c, REASON_BAD_REQUEST,
                          "admission webhook \"%.*s\" does not support dry run",
                          STR_ARG(hook->name));
    return 1;
}

/* All at once. */
static int ask_validating(struct hook_state *h)
{
    struct wanted {
        const struct schema_kind *as;
        bool is;
    } *w = ARENA_NEW_N(&h->call->arena, struct wanted, h->list->n);
    struct admit_request req;
    bool later = false;
    init_request(h, &req);
    for (size_t i = 0; i < h->list->n; i++) {
        int r = is_wanted(h, &req, h->list->v[i], &w[i].as);
        if (r < 0 && r != -EINPROGRESS)
            return r;
        later |= r < 0;
        w[i].is = r > 0;
    }
    if (later)
        return views_wait(h) ? 1 : ask_validating(h);
    for (size_t i = 0; i < h->list->n; i++)
        if (w[i].is)
            (void)hook_ask(h, &req, h->list->v[i], (unsigned)i, w[i].as);
    return h->pending > 0;
}

/* Others than the webhook that asks for it have changed the object. */
static void ask_again(struct hook_state *h)
{
    for (size_t i = 0; i < h->list->n; i++) {
        h->again[i] |= h->asked[i];
        h->asked[i] = false;
    }
}

/* The plugins once more, on what webhooks have made of the object. 1: objects are wanted in another
 * version first, and then it is called again. */
static int second_round(struct hook_state *h, struct admit_request *req)
{
    if (h->form == HOOK_OBJECT && h->msg) {
        void *now = schema_clone(h->desc, h->msg, &h->call->arena);
        h->pass.second = true;
        h->call->again = &h->pass;
        int r = admit_mutate_again(h->call, now, h->old);
        h->call->again = NULL;
        if (r)
            return r;
        if (!schema_equal(h->desc, h->msg, now))
            ask_again(h);
        h->msg = now;
        admit_request_changed(req, now);
    }
    h->round = 1;
    h->at = 0;
    return 0;
}

/* Asks the next one. 1: it was asked; 0: that was all. */
static int ask_mutating(struct hook_state *h)
{
    struct admit_request req;
    init_request(h, &req);
    for (;; h->at++) {
        const struct schema_kind *as;
        if (h->at >= h->list->n) {
            if (h->round || !h->any || !(h->changed || h->pass.wanted))
                return 0;
            int r;
            while ((r = second_round(h, &req)) > 0)
                if (views_wait(h))
                    return 1;
            if (r < 0)
                return r;
        }
        if (h->round && !h->again[h->at])
            continue;
        int r = is_wanted(h, &req, h->list->v[h->at], &as);
        if (r == -EINPROGRESS && views_wait(h))
            return 1;
        if (r == -EINPROGRESS)
            r = is_wanted(h, &req, h->list->v[h->at], &as);
        if (r < 0)
            return r;
        if (r > 0) {
            (void)hook_ask(h, &req, h->list->v[h->at], (unsigned)h->at, as);
            h->any = true;
            return 1;
        }
    }
}

static int start(struct hook_state *h)
{
    struct api_call *c = h->call;
    struct hooks *x = c->server->hooks;
    h->list = x->lists[h->phase];
    h->list->refs++;
    h->at = 0;
    h->round = h->pending = 0;
    h->changed = h->stopped = h->any = false;
    h->pass = c->again ? *c->again : (struct admit_again){0};
    h->asked = ARENA_NEW_N(&c->arena, bool, h->list->n);
    h->again = ARENA_NEW_N(&c->arena, bool, h->list->n);
    int r = h->phase == HOOK_MUTATING ? ask_mutating(h) : ask_validating(h);
    if (r <= 0) {
        over(h);
        return r;
    }
    list_push_back(&x->waiting, &h->link);
    return HOOKS_WAIT;
}

/* ---- answers ---- */

static int take_changed(struct hook_state *h, struct hook_ask *k)
{
    struct api_call *c = h->call;
    struct admit_request req;
    if (!k->patched)
        return 0;
    init_request(h, &req);
    const void *back;
    int got = admit_request_back(&req, k->as, k->patched, &back, &c->reply.err);
    if (got < 0)
        return got == -EPROTO ? not_convertible(c) : got;
    void *now = arena_alloc(&c->arena, h->desc->size);
    memcpy(now, back, h->desc->size);
    if (h->form == HOOK_OBJECT) {
        int r = strategy_mutated(c, now, h->msg, h->old);
        if (r < 0)
            return r;
        if (str_search(k->answer.patch_text, STR("managedFields")) >= 0) /* else it was not shown */
            k->complaint = managed_mutated(c, now, back);
    }
    if (!schema_equal(h->desc, h->msg, now)) {
        h->changed = true;
        ask_again(h);
    }
    h->msg = now;
    return 0;
}

static int mutating_answered(struct hook_state *h, struct hook_ask *k)
{
    int r = take_changed(h, k);
    if (r == -EINPROGRESS && views_wait(h))
        return 1;
    if (r == -EINPROGRESS)
        r = take_changed(h, k);
    if (r < 0)
        return r;
    h->answered = NULL;
    h->asked[h->at] |= k->hook->again_if_needed;
    h->again[h->at] = false;
    h->at++;
    return ask_mutating(h);
}

/* The first of those that refuse, in the order of the list, is told. */
static int validating_answered(struct hook_state *h, const struct hook_ask *first)
{
    struct api_call *c = h->call;
    struct error err = {0};
    const struct api_status *status = NULL;
    int refused = 0;
    for (struct hook_ask *k = h->asks; k; k = k->next) {
        if (k->hook->phase != HOOK_VALIDATING)
            continue;
        int r = hook_take(h, k);
        if (r < 0 && !refused) {
            refused = r;
            error_copy(&err, &c->reply.err);
            status = c->reply.status;
        }
        error_clear(&c->reply.err);
    }
    if (refused)
        error_copy(&c->reply.err, &err);
    c->reply.status = status;
    error_fini(&err);
    (void)first;
    return refused;
}

static void asked_on(struct hook_state *h, int r)
{
    if (r < 0)
        refuse(h, r);
    else if (r == 0)
        go_on(h);
}

void hook_answered(struct hook_state *h, struct hook_ask *k)
{
    int r;
    h->pending--;
    if (h->pending)
        return;
    if (h->stopped)
        r = call_error(h->call, REASON_UNAVAILABLE, "the server is shutting down");
    else if (h->phase == HOOK_VALIDATING)
        r = validating_answered(h, k);
    else if ((r = hook_take(h, k)) >= 0)
        r = mutating_answered(h, h->answered = k);
    asked_on(h, r);
}

/* ---- views ---- */

static void on_views(struct api_call *c)
{
    struct hook_state *h = c->hooks;
    int r;
    if (h->stopped)
        r = call_error(c, REASON_UNAVAILABLE, "the server is shutting down");
    else if (h->answered)
        r = mutating_answered(h, h->answered);
    else
        r = h->phase == HOOK_MUTATING ? ask_mutating(h) : ask_validating(h);
    asked_on(h, r);
}

static int views_wait(struct hook_state *h)
{
    return call_views_ask(h->call, on_views);
}

/* ---- where verbs ask ---- */

struct subject {
    enum hook_form form;
    enum admit_op op;
    const struct schema_desc *desc;
    void *msg;
    const void *sub_old;
    const struct object *old;
};

static void forget(struct hook_state *h)
{
    h->known = false;
    memset(h->done, 0, sizeof(h->done));
    hook_asks_free(h);
}

static int ask(struct api_call *c, enum hook_phase phase, const struct subject *s)
{
    struct hook_state *h = c->hooks;
    if (!h)
        return 0;
    if (h->known && (h->old != s->old || h->op != s->op || h->desc != s->desc)) {
        forget(h);
        if (++h->tries >= HOOK_TRIES_MAX)
            return call_conflict(c, c->name,
                                 "the object has been modified; please apply your changes to the "
                                 "latest version and try again");
    }
    if (h->known)
        tell_warnings(h); /* the run they were told in is over */
    if (h->known && s->msg && h->msg && phase == HOOK_MUTATING) {
        memcpy(s->msg, h->msg, s->desc->size);
        if (c->again)
            c->again->wanted = false; /* there was a second pass already */
    }
    if (h->known && h->done[phase])
        return 0;
    if (!c->server->hooks->lists[phase]->n)
        return 0;
    if (!h->known) {
        object_unref(h->old);
        h->old = s->old ? object_ref((struct object *)(uintptr_t)s->old) : NULL;
        h->form = s->form;
        h->op = s->op;
        h->desc = s->desc;
        h->msg = s->msg;
        h->sub_old = s->sub_old;
    }
    if (rt_now(c->server->rt) - c->started > HOOK_WAIT_MAX)
        return call_error(c, REASON_TIMEOUT,
                          "Timeout: request did not complete within requested timeout - context "
                          "deadline exceeded");
    h->phase = phase;
    return start(h);
}

int hooks_mutate(struct api_call *c, void *msg, const struct object *old)
{
    if (!c->hooks)
        return 0;
    return ask(c, HOOK_MUTATING,
               &(struct subject){.op = old ? ADMIT_UPDATE : ADMIT_CREATE,
                                 .desc = c->kind->desc,
                                 .msg = msg,
                                 .old = old});
}

int hooks_validate(struct api_call *c, const void *msg, const struct object *old)
{
    if (!c->hooks)
        return 0;
    return ask(c, HOOK_VALIDATING,
               &(struct subject){.op = old ? ADMIT_UPDATE : ADMIT_CREATE,
                                 .desc = c->kind->desc,
                                 .msg = (void *)(uintptr_t)msg,
                                 .old = old});
}

static int ask_both(struct api_call *c, const struct subject *s)
{
    int r = ask(c, HOOK_MUTATING, s);
    return r ? r : ask(c, HOOK_VALIDATING, s);
}

int hooks_delete(struct api_call *c, const struct object *old)
{
    if (!c->hooks)
        return 0;
    return ask_both(c, &(struct subject){.op = ADMIT_DELETE, .desc = c->kind->desc, .old = old});
}

int hooks_sub(struct api_call *c, enum admit_op op, const struct schema_desc *desc, void *msg,
              const void *old, const struct object *of)
{
    if (!c->hooks)
        return 0;
    return ask_both(
        c, &(struct subject){
               .form = HOOK_SUB, .op = op, .desc = desc, .msg = msg, .sub_old = old, .old = of});
}

int hooks_connect(struct api_call *c)
{
    if (!c->hooks)
        return 0;
    return ask_both(
        c, &(struct subject){.form = HOOK_CONNECT, .op = ADMIT_CONNECT, .desc = c->kind->desc});
}
