/* Calls and watches of a kind with a conversion webhook, which here is a function: what it is asked
 * lies in a list until the test lets it answer, so what happens meanwhile is the test's to say. */
#include "api_test.h"

#include "apiserver/custom/call_view.h"
#include "apiserver/internal.h"
#include "apiserver/custom/kinds.h"
#include "schema/custom.h"

#define CRD      KIND_OF(CUSTOM_RESOURCE_DEFINITION)
#define ASKS_MAX 256

struct hook {
    struct outcall_request asks[ASKS_MAX];
    size_t n, n_calls, n_objects;
    bool auto_answer;
    const char *bad; /* a name it refuses */
    struct rt_task task;
};
static struct hook hook; /* of the one test that runs */

static struct json *reply_of(struct json *request, struct arena *a, bool good)
{
    struct json *response = json_new_obj(a), *result = json_new_obj(a), *all = json_new_obj(a);
    json_set(response, STR("uid"), json_new_str(a, json_get_str(request, STR("uid"))));
    json_set(result, STR("status"), json_new_str(a, good ? STR("Success") : STR("Failed")));
    if (!good)
        json_set(result, STR("message"), json_new_str(a, STR("no such gear")));
    json_set(response, STR("result"), result);
    if (good)
        json_set(response, STR("convertedObjects"), json_clone(json_getz(request, "objects"), a));
    json_set(all, STR("apiVersion"), json_new_str(a, STR("apiextensions.k8s.io/v1")));
    json_set(all, STR("kind"), json_new_str(a, STR("ConversionReview")));
    json_set(all, STR("response"), response);
    return all;
}

/* v1 has spec.teeth, v2 spec.size. */
static void convert_all(struct json *objects, struct str desired, struct arena *a)
{
    bool to2 = str_ends(desired, STR("/v2"));
    json_for_each(o, objects)
    {
        struct json *spec = json_getz(o, "spec");
        struct json *v = spec ? json_get(spec, to2 ? STR("teeth") : STR("size")) : NULL;
        json_set(o, STR("apiVersion"), json_new_str(a, desired));
        if (!v)
            continue;
        int64_t n = v->i;
        (void)json_remove(spec, to2 ? STR("teeth") : STR("size"));
        json_set(spec, to2 ? STR("size") : STR("teeth"), json_new_int(a, n));
    }
}

static bool has_name(const struct json *objects, const char *name)
{
    json_for_each(o, objects) if (str_eqz(json_get_str(json_getz(o, "metadata"), STR("name")),
                                          name)) return true;
    return false;
}

static void answer(size_t i)
{
    struct outcall_request q = hook.asks[i];
    struct arena a = {0};
    struct buf text = {0}, out = {0};
    struct json *v, *request;
    struct error err = {0};
    memmove(&hook.asks[i], &hook.asks[i + 1], (--hook.n - i) * sizeof(q));
    q.write(q.arg, &text);
    assert_ok(json_parse(buf_str(&text), &a, NULL, &v, NULL));
    request = json_getz(v, "request");
    struct json *objects = json_getz(request, "objects");
    bool good = !hook.bad || !has_name(objects, hook.bad);
    hook.n_calls++;
    hook.n_objects += objects->n;
    convert_all(objects, json_get_str(request, STR("desiredAPIVersion")), &a);
    json_print(reply_of(request, &a, good), &out);
    int r = q.read(q.arg, buf_str(&out), &err);
    struct outcall_answer answered = {.r = r, .what = err.message, .answered = true, .status = 200};
    q.done(q.arg, &answered);
    error_fini(&err);
    buf_fini(&text);
    buf_fini(&out);
    arena_fini(&a);
}

static void on_hook_task(void *arg)
{
    while (hook.auto_answer && hook.n)
        answer(0);
}

static struct outcall *ask(void *ctx, const struct outcall_request *q)
{
    assert_true(hook.n < ASKS_MAX);
    hook.asks[hook.n++] = *q;
    if (hook.auto_answer)
        rt_task_schedule(&hook.task);
    return NULL;
}

static void no_answer(size_t i)
{
    struct outcall_request q = hook.asks[i];
    struct outcall_answer a = {.r = -ETIMEDOUT, .what = STR("Post \"https://x/\": timeout")};
    memmove(&hook.asks[i], &hook.asks[i + 1], (--hook.n - i) * sizeof(q));
    q.done(q.arg, &a);
}

/* ---- fixture ---- */

static const char *definition(struct fx *f, const char *storage)
{
    bool one = strcmp(storage, "v1") == 0;
    return arena_printf(
               &f->arena,
               "{metadata: {name: gears.acme.io}, spec: {group: acme.io, scope: Namespaced, names: "
               "{plural: gears, kind: Gear}, conversion: {strategy: Webhook, webhook: "
               "{conversionReviewVersions: [v1], clientConfig: {url: 'https://x/'}}}, versions: "
               "[{name: v1, served: true, storage: %s, schema: {openAPIV3Schema: {type: object, "
               "properties: {spec: {type: object, properties: {teeth: {type: integer}, any: {type: "
               "string}}}}}}}, {name: v2, served: true, storage: %s, schema: {openAPIV3Schema: "
               "{type: object, properties: {spec: {type: object, properties: {size: {type: "
               "integer}, any: {type: string}}}}}}}]}}",
               one ? "true" : "false", one ? "false" : "true")
        .p;
}

struct kinds2 {
    const struct schema_kind *v1, *v2;
};

static const struct schema_kind *served(struct fx *f, const char *version)
{
    return kinds_by_plural(f->api->kinds, STR("acme.io"), str_z(version), STR("gears"));
}

static struct kinds2 kinds_get(struct fx *f)
{
    struct kinds2 k = {served(f, "v1"), served(f, "v2")};
    assert_non_null(k.v1);
    assert_non_null(k.v2);
    return k;
}

static void kinds_put(struct kinds2 k)
{
    custom_unref(k.v1);
    custom_unref(k.v2);
}

static int setup(void **state)
{
    int r = fx_setup(state);
    struct fx *f = *state;
    hook = (struct hook){.auto_answer = true};
    rt_task_init(&hook.task, f->rt, on_hook_task, NULL);
    converts_free(f->api->converts);
    f->api->converts = converts_new(f->rt, ask, NULL);
    assert_ok(fx_create(f, CRD, NULL, definition(f, "v1")));
    return r;
}

static int teardown(void **state)
{
    rt_task_cancel(&hook.task);
    return fx_teardown(state);
}

/* One that is not waited for. */
struct later {
    struct fx *f;
    bool done, dropped;
    int r;
    struct object *object;
    struct str text;
};

static void on_later(void *arg, const struct client_reply *rep)
{
    struct later *l = arg;
    l->done = true;
    l->r = rep->r;
    l->object = rep->object ? object_ref(rep->object) : NULL;
    l->text = rep->err ? arena_str(&l->f->arena, rep->err->message) : STR_NONE;
}

static void on_dropped(void *arg)
{
    ((struct later *)arg)->dropped = true;
}

static bool later_done(void *arg)
{
    return ((struct later *)arg)->done;
}

static void later_start(struct later *l, struct fx *f, struct client_request q)
{
    *l = (struct later){.f = f};
    q.dropped = on_dropped;
    client_call(f->c, &q, on_later, l);
}

static int later_wait(struct later *l)
{
    assert_true(rt_run_until(l->f->rt, later_done, l, 10 * NSEC_PER_SEC));
    l->object = object_unref(l->object);
    return l->r;
}

static bool asked(void *arg)
{
    return hook.n >= *(size_t *)arg;
}

static void wait_asked(struct fx *f, size_t n)
{
    assert_true(rt_run_until(f->rt, asked, &n, 10 * NSEC_PER_SEC));
    assert_int_equal(hook.n, n);
}

static struct client_request get_req(const struct schema_kind *k, const char *name)
{
    return (struct client_request){
        .verb = CLIENT_GET, .kind = k, .ns = STR("default"), .name = str_z(name)};
}

static struct client_request patch_req(const struct schema_kind *k, const char *name,
                                       const char *patch)
{
    return (struct client_request){.verb = CLIENT_PATCH,
                                   .kind = k,
                                   .ns = STR("default"),
                                   .name = str_z(name),
                                   .patch_type = CLIENT_PATCH_MERGE,
                                   .patch = str_z(patch)};
}

static void rest_is(struct fx *f, const struct schema_kind *k, const char *name, const char *rest)
{
    assert_ok(fx_get(f, k, "default", name));
    assert_string_equal(f->object->kind->api_version, k->api_version);
    assert_str(OBJECT_MSG(f->object, custom_object)->rest, rest);
}

static const char *stored_version(struct fx *f, const struct schema_kind *k, const char *name)
{
    struct object *o = store_get(f->store, schema_stored(k), STR("default"), str_z(name));
    return o ? o->kind->version : "none";
}

/* ---- tests ---- */

static void every_verb(void **state)
{
    struct fx *f = *state;
    struct kinds2 k = kinds_get(f);
    assert_ok(fx_create(f, k.v1, "default", "{metadata: {name: a}, spec: {teeth: 5}}"));
    assert_int_equal(hook.n_calls, 0); /* nobody needs it */
    assert_ok(fx_create(f, k.v2, "default", "{metadata: {name: b}, spec: {size: 7}}"));
    assert_int_equal(hook.n_calls, 2); /* in and out */
    rest_is(f, k.v2, "a", "{\"spec\":{\"size\":5}}");
    rest_is(f, k.v1, "b", "{\"spec\":{\"teeth\":7}}");
    assert_int_equal(hook.n_calls, 3);
    assert_string_equal(stored_version(f, k.v1, "b"), "v1");
    assert_ok(
        fx_patch(f, k.v2, "default", "a", NULL, CLIENT_PATCH_MERGE, "{\"spec\":{\"size\":6}}"));
    rest_is(f, k.v1, "a", "{\"spec\":{\"teeth\":6}}");
    rest_is(f, k.v2, "a", "{\"spec\":{\"size\":6}}");
    size_t calls = hook.n_calls;
    assert_int_equal(calls, 5);
    /* without a change nothing is written, and nobody asked */
    assert_ok(
        fx_patch(f, k.v2, "default", "a", NULL, CLIENT_PATCH_MERGE, "{\"spec\":{\"size\":6}}"));
    assert_ok(fx_update(f, k.v2, fx_edit(f), NULL));
    assert_int_equal(hook.n_calls, calls);
    assert_int_equal(fx_update(f, k.v2,
                               fx_msg(f, k.v2->desc,
                                      "{metadata: {name: a, namespace: default, "
                                      "resourceVersion: '1'}}"),
                               NULL),
                     -ESTALE);
    struct client_request q = {.verb = CLIENT_LIST, .kind = k.v2, .ns = STR("default")};
    assert_ok(fx_call(f, &q));
    assert_str(f->names, "a,b");
    q.verb = CLIENT_DELETE_COLLECTION;
    assert_ok(fx_call(f, &q));
    assert_string_equal(stored_version(f, k.v1, "a"), "none");
    struct convert_stats st;
    converts_stats(f->api->converts, &st);
    assert_true(st.hits >= 2 && st.cached == 3 && st.in_flight == 0);
    kinds_put(k);
}

/* What was written while the webhook thought is not lost, and not overwritten. */
static void changed_meanwhile(void **state)
{
    struct fx *f = *state;
    struct kinds2 k = kinds_get(f);
    struct later l, l2;
    assert_ok(fx_create(f, k.v1, "default", "{metadata: {name: a}, spec: {teeth: 5}}"));
    hook.auto_answer = false;
    later_start(&l, f, patch_req(k.v2, "a", "{\"spec\":{\"size\":6}}"));
    wait_asked(f, 1); /* the old object */
    answer(0);
    wait_asked(f, 1); /* the body */
    assert_ok(
        fx_patch(f, k.v1, "default", "a", NULL, CLIENT_PATCH_MERGE, "{\"spec\":{\"any\":\"x\"}}"));
    later_start(&l2, f, patch_req(k.v2, "a", "{\"spec\":{\"any\":\"y\"}}")); /* stands in line */
    answer(0);
    wait_asked(f, 1); /* once more: what is old now */
    hook.auto_answer = true;
    rt_task_schedule(&hook.task);
    assert_ok(later_wait(&l));
    assert_ok(later_wait(&l2));
    rest_is(f, k.v1, "a", "{\"spec\":{\"any\":\"y\",\"teeth\":6}}");
    /* a create waits for nobody's turn, and finds the namespace as it is when it writes */
    assert_ok(fx_create(f, KIND_OF(NAMESPACE), NULL, "{metadata: {name: going}}"));
    hook.auto_answer = false;
    struct client_request q = {.verb = CLIENT_CREATE,
                               .kind = k.v2,
                               .ns = STR("going"),
                               .body = fx_msg(f, k.v2->desc, "{metadata: {name: c}}")};
    later_start(&l, f, q);
    wait_asked(f, 1);
    assert_ok(fx_delete(f, KIND_OF(NAMESPACE), NULL, "going"));
    answer(0);
    assert_int_equal(later_wait(&l), -EPERM);
    assert_true(str_search(l.text, STR("because it is being terminated")) > 0);
    kinds_put(k);
}

/* One bad object fails whoever asked for it, not who asked for another one at the same time. */
static void others_do_not_fail(void **state)
{
    struct fx *f = *state;
    struct kinds2 k = kinds_get(f);
    struct later list, get, get2;
    assert_ok(fx_create(f, k.v1, "default", "{metadata: {name: a}, spec: {teeth: 5}}"));
    assert_ok(fx_create(f, k.v1, "default", "{metadata: {name: bad}, spec: {teeth: 5}}"));
    hook.auto_answer = false;
    hook.bad = "bad";
    later_start(&list, f, (struct client_request){.verb = CLIENT_LIST, .kind = k.v2});
    wait_asked(f, 1);
    later_start(&get, f, get_req(k.v2, "a"));
    later_start(&get2, f, get_req(k.v2, "bad"));
    assert_int_equal(hook.n, 1); /* both wait for the list's call */
    answer(0);
    assert_int_equal(later_wait(&list), -EIO);
    assert_str(list.text, "conversion webhook for acme.io/v1, Kind=Gear failed: no such gear");
    wait_asked(f, 2); /* each on its own now */
    answer(0);
    answer(0);
    assert_ok(later_wait(&get));
    assert_int_equal(later_wait(&get2), -EIO);
    /* no answer is no answer for all who waited */
    hook.bad = NULL;
    later_start(&get, f, get_req(k.v2, "bad"));
    later_start(&get2, f, get_req(k.v2, "bad"));
    wait_asked(f, 1);
    no_answer(0);
    assert_int_equal(later_wait(&get), -EIO);
    assert_int_equal(later_wait(&get2), -EIO);
    assert_int_equal(hook.n, 0);
    assert_str(get2.text,
               "conversion webhook for acme.io/v1, Kind=Gear failed: Post \"https://x/\": "
               "timeout");
    kinds_put(k);
}

static void definition_put(struct fx *f, const char *storage)
{
    assert_ok(fx_get(f, CRD, NULL, "gears.acme.io"));
    struct api_custom_resource_definition *now = fx_edit(f),
                                          *want = fx_msg(f, CRD->desc, definition(f, storage));
    for (uint32_t i = 0; i < now->spec.n_versions; i++)
        now->spec.versions[i].storage = want->spec.versions[i].storage;
    assert_ok(fx_update(f, CRD, now, NULL));
}

static void definition_changes_meanwhile(void **state)
{
    struct fx *f = *state;
    struct kinds2 k = kinds_get(f);
    struct later get, patch, create;
    assert_ok(fx_create(f, k.v1, "default", "{metadata: {name: a}, spec: {teeth: 5}}"));
    rest_is(f, k.v2, "a", "{\"spec\":{\"size\":5}}");
    hook.auto_answer = false;
    later_start(&patch, f, patch_req(k.v2, "a", "{\"spec\":{\"size\":6}}"));
    wait_asked(f, 1); /* its body to v1 */
    definition_put(f, "v2");
    answer(0);
    assert_ok(later_wait(&patch)); /* written as v2, which needs nobody */
    assert_string_equal(stored_version(f, k.v1, "a"), "v2");
    kinds_put(k);
    k = kinds_get(f);
    later_start(&get, f, get_req(k.v1, "a"));
    later_start(&create, f,
                (struct client_request){.verb = CLIENT_CREATE,
                                        .kind = k.v1,
                                        .ns = STR("default"),
                                        .body = fx_msg(f, k.v1->desc, "{metadata: {name: new}}")});
    wait_asked(f, 2);
    hook.bad = "nobody";
    assert_ok(fx_delete(f, CRD, NULL, "gears.acme.io"));
    assert_ok(fx_delete(f, schema_stored(k.v1), "default", "a")); /* as the controller does */
    assert_ok(fx_get(f, CRD, NULL, "gears.acme.io"));
    struct api_custom_resource_definition *crd = fx_edit(f);
    crd->metadata.n_finalizers = 0;
    assert_ok(fx_update(f, CRD, crd, NULL));
    assert_null(served(f, "v1"));
    answer(0);
    answer(0);
    assert_ok(later_wait(&get)); /* it was there when it was asked for */
    assert_int_equal(later_wait(&create), -ENOENT);
    kinds_put(k);
}

static void stopped_meanwhile(void **state)
{
    struct fx *f = *state;
    struct kinds2 k = kinds_get(f);
    struct later get, p1, p2;
    assert_ok(fx_create(f, k.v1, "default", "{metadata: {name: a}, spec: {teeth: 5}}"));
    hook.auto_answer = false;
    later_start(&get, f, get_req(k.v2, "a"));
    later_start(&p1, f, patch_req(k.v2, "a", "{\"spec\":{\"size\":6}}"));
    later_start(&p2, f, patch_req(k.v2, "a", "{\"spec\":{\"size\":7}}"));
    wait_asked(f, 1);
    converts_stop(f->api->converts);
    assert_int_equal(later_wait(&get), -EAGAIN);
    assert_int_equal(later_wait(&p1), -EAGAIN);
    assert_int_equal(later_wait(&p2), -EAGAIN);
    hook.n = 0; /* as outcalls_free does: nothing comes */
    kinds_put(k);
}

/* The server is freed under calls that wait, each in another place. */
static void freed_meanwhile(void **state)
{
    struct fx *f = *state;
    struct kinds2 k = kinds_get(f);
    struct later v[4];
    assert_ok(fx_create(f, k.v1, "default", "{metadata: {name: a}, spec: {teeth: 5}}"));
    hook.auto_answer = false;
    later_start(&v[0], f, get_req(k.v2, "a"));
    later_start(&v[1], f, patch_req(k.v2, "a", "{\"spec\":{\"size\":6}}"));
    later_start(&v[2], f, patch_req(k.v2, "a", "{\"spec\":{\"size\":7}}"));
    later_start(&v[3], f,
                (struct client_request){.verb = CLIENT_CREATE,
                                        .kind = k.v2,
                                        .ns = STR("default"),
                                        .body = fx_msg(f, k.v2->desc, "{metadata: {name: new}}")});
    wait_asked(f, 2);
    kinds_put(k);
    client_free(f->c);
    apiserver_free(f->api);
    for (size_t i = 0; i < ARRAY_LEN(v); i++)
        assert_true(v[i].dropped && !v[i].done);
    struct apiserver_opts o = {0};
    assert_ok(apiserver_new(f->rt, f->store, &o, &f->api, NULL));
    f->c = apiserver_client(f->api, STR("tester"), NULL, 0, false);
}

/* ---- watches ---- */

struct seen {
    struct buf text; /* "+a5 ~a6 " */
    size_t n;
    bool error;
    struct api_watch *w;
};

static void on_events(void *arg, const struct client_event *events, size_t n)
{
    struct seen *s = arg;
    for (size_t i = 0; i < n; i++) {
        const struct client_event *e = &events[i];
        if (e->type == CLIENT_EVENT_BOOKMARK)
            continue;
        s->n++;
        if (e->type == CLIENT_EVENT_ERROR) {
            s->error = true;
            buf_printf(&s->text, "!%d ", error_reason_http_code(e->err->reason));
            continue;
        }
        assert_string_equal(e->object->kind->version, "v2");
        buf_printf(&s->text, "%c%.*s%.*s ", "+~-"[e->type], STR_ARG(object_name(e->object)),
                   STR_ARG(OBJECT_MSG(e->object, custom_object)->rest));
    }
}

struct wanted {
    struct seen *s;
    size_t n;
};

static bool seen_all(void *arg)
{
    struct wanted *w = arg;
    return w->s->n >= w->n;
}

static void wait_seen(struct fx *f, struct seen *s, size_t n)
{
    struct wanted w = {s, n};
    assert_true(rt_run_until(f->rt, seen_all, &w, 10 * NSEC_PER_SEC));
}

static void watch_start(struct fx *f, struct seen *s, const struct schema_kind *k,
                        const char *fields)
{
    struct api_watch_opts o = {.kind = k, .initial = true, .field_selector = str_z(fields)};
    *s = (struct seen){0};
    assert_ok(api_watch_start(f->api, &o, on_events, s, &s->w, NULL));
}

static void seen_fini(struct seen *s)
{
    api_watch_stop(s->w);
    buf_fini(&s->text);
}

static void size_put(struct fx *f, const struct schema_kind *v1, const char *name, int n)
{
    char text[64];
    snprintf(text, sizeof(text), "{\"spec\":{\"teeth\":%d}}", n);
    assert_ok(fx_patch(f, v1, "default", name, NULL, CLIENT_PATCH_MERGE, text));
}

static void watches_in_order(void **state)
{
    struct fx *f = *state;
    struct kinds2 k = kinds_get(f);
    struct seen one, two;
    assert_ok(fx_create(f, k.v1, "default", "{metadata: {name: a}, spec: {teeth: 1}}"));
    assert_ok(fx_create(f, k.v1, "default", "{metadata: {name: b}, spec: {teeth: 1}}"));
    hook.auto_answer = false;
    watch_start(f, &one, k.v2, NULL);
    watch_start(f, &two, k.v2, "metadata.name=b");
    wait_asked(f, 1);          /* one call for both */
    size_put(f, k.v1, "b", 2); /* comes after what is there */
    size_put(f, k.v1, "a", 3);
    assert_int_equal(one.n + two.n, 0);
    answer(0);
    wait_seen(f, &one, 2);
    wait_asked(f, 1); /* the first change; later ones gather behind it */
    size_put(f, k.v1, "b", 4);
    assert_ok(fx_delete(f, k.v1, "default", "b"));
    hook.auto_answer = true;
    rt_task_schedule(&hook.task);
    wait_seen(f, &one, 6);
    wait_seen(f, &two, 4);
    assert_str(buf_str(&one.text),
               "+a{\"spec\":{\"size\":1}} +b{\"spec\":{\"size\":1}} ~b{\"spec\":{\"size\":2}} "
               "~a{\"spec\":{\"size\":3}} ~b{\"spec\":{\"size\":4}} -b{\"spec\":{\"size\":4}} ");
    assert_str(buf_str(&two.text),
               "+b{\"spec\":{\"size\":1}} ~b{\"spec\":{\"size\":2}} ~b{\"spec\":{\"size\":4}} "
               "-b{\"spec\":{\"size\":4}} ");
    assert_int_equal(hook.n_objects, 6); /* each state once, whoever watches */
    /* one ends while its objects are under way: the other does not mind */
    hook.auto_answer = false;
    size_put(f, k.v1, "a", 5);
    wait_asked(f, 1);
    seen_fini(&two);
    answer(0);
    wait_seen(f, &one, 7);
    /* a failure is its last event */
    hook.bad = "a";
    hook.auto_answer = true;
    size_put(f, k.v1, "a", 6);
    wait_seen(f, &one, 8);
    size_put(f, k.v1, "a", 7);
    hook.bad = NULL;
    size_put(f, k.v1, "a", 8);
    assert_int_equal(one.n, 8);
    assert_true(one.error && str_ends(buf_str(&one.text), STR("!500 ")));
    seen_fini(&one);
    /* nor does one start when what is there cannot be converted */
    hook.bad = "a";
    watch_start(f, &one, k.v2, NULL);
    wait_seen(f, &one, 1);
    assert_str(buf_str(&one.text), "!500 ");
    seen_fini(&one);
    hook.bad = NULL;
    kinds_put(k);
}

/* What is kept is bounded. */
static void cache_is_bounded(void **state)
{
    struct fx *f = *state;
    struct kinds2 k = kinds_get(f);
    struct convert_stats st;
    size_t big = 2 << 20;
    char *text = xmalloc(big + 1);
    memset(text, 'x', big);
    text[big] = '\0';
    const char *yaml = arena_printf(&f->arena, "{metadata: {name: a}, spec: {any: '%s'}}", text).p;
    assert_ok(fx_create(f, k.v1, "default", yaml));
    for (int i = 0; i < 40; i++) {
        size_put(f, k.v1, "a", i);
        assert_ok(fx_get(f, k.v2, "default", "a"));
        converts_stats(f->api->converts, &st);
        assert_true(st.cached_bytes <= CONVERT_CACHE_BYTES_MAX);
    }
    assert_true(st.cached > 4 && st.cached < 40);
    free(text);
    kinds_put(k);
}

/* ---- policies ---- */

static void limit_policy(struct fx *f, const char *ref)
{
    assert_ok(fx_create(
        f, KIND_OF(VALIDATING_ADMISSION_POLICY), NULL,
        "{metadata: {name: p}, spec: {paramKind: {apiVersion: acme.io/v2, kind: Gear}, "
        "matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], resources: "
        "[configmaps, pods/eviction], operations: ['*']}]}, validations: [{expression: "
        "'params.spec.size < 10', messageExpression: \"'size is ' + "
        "string(params.spec.size)\"}]}}"));
    const char *yaml = arena_printf(&f->arena,
                                    "{metadata: {name: b}, spec: {policyName: p, "
                                    "validationActions: [Deny], paramRef: {%s, "
                                    "parameterNotFoundAction: Deny}}}",
                                    ref)
                           .p;
    assert_ok(fx_create(f, KIND_OF(VALIDATING_ADMISSION_POLICY_BINDING), NULL, yaml));
}

static struct client_request map_req(struct fx *f, const char *name)
{
    const char *yaml = arena_printf(&f->arena, "{metadata: {name: %s}}", name).p;
    return (struct client_request){.verb = CLIENT_CREATE,
                                   .kind = KIND_OF(CONFIG_MAP),
                                   .ns = STR("default"),
                                   .body = fx_msg(f, KIND_OF(CONFIG_MAP)->desc, yaml)};
}

static int map_create(struct fx *f, const char *name)
{
    struct client_request q = map_req(f, name);
    return fx_call(f, &q);
}

static void ends(struct str text, const char *what)
{
    if (!str_ends(text, str_z(what)))
        fail_msg("\"%.*s\" does not end in \"%s\"", STR_ARG(text), what);
}

/* A policy sees its parameter in the version it names, as it is when it judges. */
static void parameters(void **state)
{
    struct fx *f = *state;
    struct kinds2 k = kinds_get(f);
    struct later l, l2;
    assert_ok(fx_create(f, k.v1, "default", "{metadata: {name: a}, spec: {teeth: 5}}"));
    limit_policy(f, "name: a");
    assert_ok(map_create(f, "one"));
    assert_ok(map_create(f, "two"));
    assert_int_equal(hook.n_calls, 1); /* for both */
    hook.auto_answer = false;
    size_put(f, k.v1, "a", 20);
    later_start(&l, f, map_req(f, "three"));
    later_start(&l2, f, map_req(f, "four"));
    wait_asked(f, 1);
    size_put(f, k.v1, "a", 30);
    answer(0);
    wait_asked(f, 1); /* it is another one now */
    answer(0);
    assert_int_equal(later_wait(&l), -EBADMSG);
    ends(l.text, "denied request: size is 30");
    assert_int_equal(later_wait(&l2), -EBADMSG);
    ends(l2.text, "denied request: size is 30");
    size_put(f, k.v1, "a", 9);
    later_start(&l, f, map_req(f, "three"));
    wait_asked(f, 1);
    no_answer(0);
    assert_int_equal(later_wait(&l), -EBADMSG);
    ends(l.text, "failed to configure binding: failed to convert object version: conversion "
                 "webhook for acme.io/v1, Kind=Gear failed: Post \"https://x/\": timeout");
    later_start(&l, f, map_req(f, "three"));
    wait_asked(f, 1);
    assert_ok(fx_delete(f, k.v1, "default", "a")); /* meanwhile */
    answer(0);
    assert_int_equal(later_wait(&l), -EBADMSG);
    ends(l.text, "no params found for policy binding with `Deny` parameterNotFoundAction");
    kinds_put(k);
}

/* All of them by one call, each once; and no more than a request may hold. */
static void parameters_by_selector(void **state)
{
    struct fx *f = *state;
    struct kinds2 k = kinds_get(f);
    limit_policy(f, "selector: {matchLabels: {is: limit}}");
    for (int i = 0; i < CALL_STORED_MAX; i++) {
        const char *yaml = arena_printf(&f->arena,
                                        "{metadata: {name: g%04d, labels: {is: %s}}, spec: "
                                        "{teeth: %d}}",
                                        i, i % 10 ? "other" : "limit", i % 10)
                               .p;
        assert_ok(fx_create(f, k.v1, "default", yaml));
    }
    assert_ok(map_create(f, "one"));
    assert_int_equal(hook.n_calls, 1);
    assert_int_equal(hook.n_objects, CALL_STORED_MAX);
    size_put(f, k.v1, "g0500", 11);
    assert_int_equal(map_create(f, "two"), -EBADMSG);
    ends(f->text, "denied request: size is 11");
    assert_int_equal(hook.n_objects, CALL_STORED_MAX + 1);
    assert_ok(fx_create(f, k.v1, "default", "{metadata: {name: g}}"));
    assert_int_equal(map_create(f, "two"), -EBADMSG);
    ends(f->text, "too many or too large objects must be converted for one request");
    kinds_put(k);
}

/* Mutating policies are asked with them too, and bodies of subresources wait as well. */
static void parameters_of_others(void **state)
{
    struct fx *f = *state;
    struct kinds2 k = kinds_get(f);
    assert_ok(fx_create(f, k.v1, "default", "{metadata: {name: a}, spec: {teeth: 5}}"));
    assert_ok(fx_create(
        f, KIND_OF(MUTATING_ADMISSION_POLICY), NULL,
        "{metadata: {name: p}, spec: {paramKind: {apiVersion: acme.io/v2, kind: Gear}, "
        "reinvocationPolicy: Never, matchConstraints: {resourceRules: [{apiGroups: [''], "
        "apiVersions: [v1], resources: [configmaps], operations: [CREATE]}]}, mutations: "
        "[{patchType: ApplyConfiguration, applyConfiguration: {expression: \"Object{data: "
        "{'size': string(params.spec.size)}}\"}}]}}"));
    assert_ok(fx_create(f, KIND_OF(MUTATING_ADMISSION_POLICY_BINDING), NULL,
                        "{metadata: {name: b}, spec: {policyName: p, paramRef: {name: a, "
                        "parameterNotFoundAction: Deny}}}"));
    assert_ok(map_create(f, "one"));
    const struct api_config_map *m = OBJECT_MSG(f->object, api_config_map);
    assert_int_equal(m->n_data, 1);
    assert_str(m->data[0].value, "5");
    assert_int_equal(hook.n_calls, 1);
    limit_policy(f, "name: a");
    size_put(f, k.v1, "a", 12);
    assert_ok(fx_create(f, KIND_OF(POD), "default",
                        "{metadata: {name: web}, spec: {serviceAccountName: default, containers: "
                        "[{name: c, image: i}]}}"));
    struct client_request q = {.verb = CLIENT_CREATE,
                               .kind = KIND_OF(POD),
                               .ns = STR("default"),
                               .name = STR("web"),
                               .subresource = STR("eviction"),
                               .body = fx_msg(f, &api_eviction_desc, "{metadata: {name: web}}"),
                               .body_desc = &api_eviction_desc};
    assert_int_equal(fx_call(f, &q), -EBADMSG);
    ends(f->text, "denied request: size is 12");
    assert_ok(fx_get(f, KIND_OF(POD), "default", "web"));
    size_put(f, k.v1, "a", 3);
    assert_ok(fx_call(f, &q));
    assert_int_equal(fx_get(f, KIND_OF(POD), "default", "web"), -ENOENT);
    kinds_put(k);
}

/* deletecollection: what cannot be said in its one turn is asked by deletes of their own. */
static void collections(void **state)
{
    struct fx *f = *state;
    struct kinds2 k = kinds_get(f);
    struct client_request q = {
        .verb = CLIENT_DELETE_COLLECTION, .kind = k.v1, .ns = STR("default")};
    assert_ok(fx_create(
        f, KIND_OF(VALIDATING_ADMISSION_POLICY), NULL,
        "{metadata: {name: v2}, spec: {matchConstraints: {resourceRules: [{apiGroups: [acme.io], "
        "apiVersions: [v2], resources: [gears], operations: [DELETE]}]}, validations: "
        "[{expression: 'oldObject.spec.size < 10', message: it is large}]}}"));
    assert_ok(fx_create(f, KIND_OF(VALIDATING_ADMISSION_POLICY_BINDING), NULL,
                        "{metadata: {name: v2}, spec: {policyName: v2, validationActions: "
                        "[Deny]}}"));
    for (int i = 0; i < 20; i++)
        assert_ok(fx_create(f, k.v1, "default",
                            arena_printf(&f->arena, "{metadata: {name: a%02d}, spec: {teeth: %d}}",
                                         i, i == 19 ? 10 : 1)
                                .p));
    assert_int_equal(fx_call(f, &q), -EBADMSG);
    ends(f->text, "denied request: it is large");
    for (int i = 0; i < 20; i++) {
        const char *name = arena_printf(&f->arena, "a%02d", i).p;
        assert_string_equal(stored_version(f, k.v1, name), i == 19 ? "v1" : "none");
    }
    size_put(f, k.v1, "a19", 3);
    assert_ok(fx_call(f, &q));
    assert_str(f->names, "a19");
    assert_string_equal(stored_version(f, k.v1, "a19"), "none");
    /* by a parameter, of a kind that needs nobody itself */
    assert_ok(fx_create(f, k.v1, "default", "{metadata: {name: a}, spec: {teeth: 5}}"));
    for (int i = 0; i < 20; i++)
        assert_ok(map_create(f, arena_printf(&f->arena, "m%02d", i).p));
    limit_policy(f, "name: a");
    size_t calls = hook.n_calls;
    q.kind = KIND_OF(CONFIG_MAP);
    q.field_selector = STR("metadata.name!=kube-root-ca.crt");
    assert_ok(fx_call(f, &q));
    assert_int_equal(f->n_items, 20);
    assert_int_equal(hook.n_calls, calls + 1);
    assert_ok(fx_call(f, &q));
    assert_int_equal(f->n_items, 0);
    kinds_put(k);
}

/* ---- owners of fields ---- */

/* "MANAGER VERSION FIELDS;" of each entry of the last object. */
static struct str owners(struct fx *f)
{
    struct json *v;
    struct buf b = {0};
    assert_ok(json_parse(object_json(f->object), &f->arena, NULL, &v, NULL));
    struct json *list = json_getz(json_getz(v, "metadata"), "managedFields");
    json_for_each(e, list)
    {
        struct json fields = *json_getz(e, "fieldsV1");
        fields.key = STR_NONE;
        buf_printf(&b, "%.*s %.*s ", STR_ARG(json_get_str(e, STR("manager"))),
                   STR_ARG(json_get_str(e, STR("apiVersion"))));
        json_print(&fields, &b);
        buf_add_char(&b, ';');
    }
    struct str s = arena_str(&f->arena, b.n ? buf_str(&b) : STR(""));
    buf_fini(&b);
    return s;
}

static int write_as(struct fx *f, const struct schema_kind *k, const char *manager,
                    enum client_patch type, const char *patch)
{
    struct client_request q = patch_req(k, "a", patch);
    q.patch_type = type;
    q.field_manager = str_z(manager);
    return fx_call(f, &q);
}

#define OF_V1(spec) "{apiVersion: acme.io/v1, kind: Gear, metadata: {name: a}, spec: {" spec "}}"

/* A write takes fields from those who own them by the names of another version. */
static void owners_of_other_versions(void **state)
{
    struct fx *f = *state;
    struct kinds2 k = kinds_get(f);
    size_t calls;
    assert_ok(fx_create(f, k.v1, "default", "{metadata: {name: a}, spec: {teeth: 5, any: x}}"));
    assert_str(owners(f), "tester acme.io/v1 {\"f:spec\":{\".\":{},\"f:any\":{},\"f:teeth\":{}}};");
    assert_ok(write_as(f, k.v2, "two", CLIENT_PATCH_MERGE, "{\"spec\":{\"size\":6}}"));
    assert_str(owners(f), "tester acme.io/v1 {\"f:spec\":{\".\":{},\"f:any\":{}}};"
                          "two acme.io/v2 {\"f:spec\":{\"f:size\":{}}};");
    /* metadata needs nobody, nor does a write that changes nothing */
    calls = hook.n_calls;
    assert_ok(write_as(f, k.v1, "three", CLIENT_PATCH_MERGE,
                       "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"));
    assert_ok(write_as(f, k.v1, "three", CLIENT_PATCH_MERGE, "{\"spec\":{\"any\":\"x\"}}"));
    assert_int_equal(hook.n_calls, calls);
    /* who applies is told of them */
    assert_int_equal(write_as(f, k.v1, "ap", CLIENT_PATCH_APPLY, OF_V1("teeth: 7")), -ESTALE);
    assert_str(f->text, "Apply failed with 1 conflict: conflict with \"two\" using acme.io/v2: "
                        ".spec.size");
    struct client_request q = patch_req(k.v1, "a", OF_V1("teeth: 7"));
    q.patch_type = CLIENT_PATCH_APPLY;
    q.field_manager = STR("ap");
    q.force = true;
    assert_ok(fx_call(f, &q));
    assert_str(owners(f),
               "ap acme.io/v1 {\"f:spec\":{\"f:teeth\":{}}};"
               "tester acme.io/v1 {\"f:spec\":{\".\":{},\"f:any\":{}}};"
               "three acme.io/v1 {\"f:metadata\":{\"f:labels\":{\".\":{},\"f:a\":{}}}};");
    rest_is(f, k.v2, "a", "{\"spec\":{\"any\":\"x\",\"size\":7}}");
    /* a webhook that fails keeps nobody from writing what needs no conversion itself */
    assert_ok(write_as(f, k.v2, "two", CLIENT_PATCH_MERGE, "{\"spec\":{\"size\":8}}"));
    hook.bad = "a";
    assert_ok(write_as(f, k.v1, "one", CLIENT_PATCH_MERGE, "{\"spec\":{\"teeth\":9}}"));
    assert_true(str_search(owners(f), STR("two acme.io/v2 {\"f:spec\":{\"f:size\":{}}};")) >= 0);
    hook.bad = NULL;
    rest_is(f, k.v2, "a", "{\"spec\":{\"any\":\"x\",\"size\":9}}");
    kinds_put(k);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_verb, setup, teardown),
        cmocka_unit_test_setup_teardown(changed_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(others_do_not_fail, setup, teardown),
        cmocka_unit_test_setup_teardown(definition_changes_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(stopped_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(freed_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(watches_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(cache_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(owners_of_other_versions, setup, teardown),
        cmocka_unit_test_setup_teardown(parameters, setup, teardown),
        cmocka_unit_test_setup_teardown(parameters_by_selector, setup, teardown),
        cmocka_unit_test_setup_teardown(parameters_of_others, setup, teardown),
        cmocka_unit_test_setup_teardown(collections, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
