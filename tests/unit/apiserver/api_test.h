/* Fixture of the API server's tests: store in memory, simulated loop, in-process client, objects as
 * JSON. */
#pragma once

#include "apiserver/apiserver.h"
#include "base/mem.h"
#include "client/client.h"
#include "codec/json.h"
#include "codec/yaml.h"
#include "rt/sim.h"
#include "schema/schema.h"
#include "store/store_mem.h"
#include "test.h"

struct fx {
    struct rt *rt;
    struct store *store;
    struct apiserver *api;
    struct client *c;
    struct arena arena;
    /* the last reply */
    bool done;
    int r;
    struct object *object;
    const void *message; /* a copy */
    const struct schema_desc *reply_desc;
    struct str text, reason; /* error message; cause fields joined by "," in causes */
    struct str causes, continue_;
    int code;
    size_t n_items;
    rev_t rev;
    struct str names; /* of items, joined */
};

static inline bool fx_is_done(void *arg)
{
    return ((struct fx *)arg)->done;
}

static inline void fx_on_done(void *arg, const struct client_reply *rep)
{
    struct fx *f = arg;
    object_unref(f->object);
    f->done = true;
    f->r = rep->r;
    f->object = rep->object ? object_ref(rep->object) : NULL;
    f->message = rep->message ? schema_clone(f->reply_desc, rep->message, &f->arena) : NULL;
    f->n_items = rep->n_items;
    f->rev = rep->rev;
    f->continue_ = rep->continue_.p ? arena_str(&f->arena, rep->continue_) : STR_NONE;
    f->text = rep->err ? arena_str(&f->arena, rep->err->message) : STR_NONE;
    f->code = rep->err ? error_reason_http_code(rep->err->reason) : 200;
    struct buf b = {0};
    for (const struct error_cause *x = rep->err ? rep->err->causes : NULL; x; x = x->next)
        buf_printf(&b, "%s%.*s", b.n ? "," : "", STR_ARG(x->field));
    f->causes = arena_str(&f->arena, buf_str(&b));
    buf_clear(&b);
    for (size_t i = 0; i < rep->n_items; i++)
        buf_printf(&b, "%s%.*s", i ? "," : "", STR_ARG(object_name(rep->items[i])));
    f->names = arena_str(&f->arena, buf_str(&b));
    buf_fini(&b);
}

static inline void fx_wait(struct fx *f)
{
    bool ok = rt_run_until(f->rt, fx_is_done, f, 10 * NSEC_PER_SEC);
    assert_true(ok);
}

static inline int fx_call(struct fx *f, const struct client_request *q)
{
    f->done = false;
    f->reply_desc = q->reply_desc ? q->reply_desc : q->kind->desc;
    client_call(f->c, q, fx_on_done, f);
    assert_false(f->done);
    fx_wait(f);
    return f->r;
}

/* JSON with single quotes or YAML. */
static inline void *fx_msg(struct fx *f, const struct schema_desc *desc, const char *yaml)
{
    struct json *v;
    void *msg = schema_new(desc, &f->arena);
    struct error err = {0};
    int r = yaml_parse(str_z(yaml), &f->arena, &v, &err);
    if (r >= 0)
        r = schema_decode_json(desc, v, &f->arena, NULL, msg, &err);
    if (r < 0)
        fail_msg("%.*s", STR_ARG(err.message));
    error_fini(&err);
    return msg;
}

static inline int fx_create(struct fx *f, const struct schema_kind *k, const char *ns,
                            const char *yaml)
{
    struct client_request q = {
        .verb = CLIENT_CREATE, .kind = k, .ns = str_z(ns), .body = fx_msg(f, k->desc, yaml)};
    return fx_call(f, &q);
}

static inline int fx_get(struct fx *f, const struct schema_kind *k, const char *ns,
                         const char *name)
{
    struct client_request q = {.verb = CLIENT_GET, .kind = k, .ns = str_z(ns), .name = str_z(name)};
    return fx_call(f, &q);
}

static inline int fx_update(struct fx *f, const struct schema_kind *k, const void *msg,
                            const char *sub)
{
    const struct api_object_meta *m = msg;
    struct client_request q = {.verb = CLIENT_UPDATE,
                               .kind = k,
                               .ns = m->namespace,
                               .name = m->name,
                               .body = msg,
                               .subresource = str_z(sub)};
    return fx_call(f, &q);
}

static inline int fx_patch(struct fx *f, const struct schema_kind *k, const char *ns,
                           const char *name, const char *sub, enum client_patch type,
                           const char *json)
{
    struct client_request q = {.verb = CLIENT_PATCH,
                               .kind = k,
                               .ns = str_z(ns),
                               .name = str_z(name),
                               .subresource = str_z(sub),
                               .patch_type = type,
                               .patch = str_z(json),
                               .reply_desc =
                                   sub && strcmp(sub, "scale") == 0 ? &api_scale_desc : NULL};
    return fx_call(f, &q);
}

static inline int fx_delete(struct fx *f, const struct schema_kind *k, const char *ns,
                            const char *name)
{
    struct client_request q = {
        .verb = CLIENT_DELETE, .kind = k, .ns = str_z(ns), .name = str_z(name)};
    return fx_call(f, &q);
}

/* The last object, cloned to be edited. */
static inline void *fx_edit(struct fx *f)
{
    assert_non_null(f->object);
    return schema_clone(f->object->kind->desc, f->object->msg, &f->arena);
}

static inline const char *fx_z(struct fx *f, struct str s)
{
    return arena_cstr(&f->arena, s);
}

static inline bool fx_is_ready(void *arg)
{
    return apiserver_is_ready(((struct fx *)arg)->api);
}

static inline int fx_setup(void **state)
{
    struct fx *f = NEW(struct fx);
    struct apiserver_opts o = {0};
    struct error err = {0};
    f->rt = rt_sim_new(7, INT64_C(1767225600000000));
    assert_int_equal(store_open(f->rt, store_mem_new(NULL), NULL, &f->store, &err), 0);
    assert_int_equal(apiserver_new(f->rt, f->store, &o, &f->api, &err), 0);
    assert_true(rt_run_until(f->rt, fx_is_ready, f, 10 * NSEC_PER_SEC));
    f->c = apiserver_client(f->api, STR("tester"), NULL, 0, false);
    error_fini(&err);
    *state = f;
    return 0;
}

static inline void fx_set_done(void *arg)
{
    ((struct fx *)arg)->done = true;
}

static inline int fx_teardown(void **state)
{
    struct fx *f = *state;
    client_free(f->c);
    f->done = false;
    apiserver_stop(f->api, 1000, fx_set_done, f);
    fx_wait(f);
    f->done = false;
    apiserver_free(f->api);
    store_close(f->store, fx_set_done, f);
    fx_wait(f);
    object_unref(f->object);
    arena_fini(&f->arena);
    rt_free(f->rt);
    free(f);
    return 0;
}

#define KIND_OF(id) schema_kinds[KIND_##id]
#define POD                                                                                        \
    "{metadata: {name: web, labels: {app: web}}, spec: {containers: [{name: c, image: "            \
    "'nginx:1'}]}}"
