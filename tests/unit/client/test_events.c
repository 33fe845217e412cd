/* The event recorder against a transport that answers on a later turn. */
#include "client/events.h"

#include "base/mem.h"
#include "rt/sim.h"
#include "test.h"

#define CALLS_MAX 256

struct call {
    client_done_fn done;
    void *arg;
    enum client_verb verb;
    char name[300], text[400]; /* message of a create, patch of a patch */
};

struct fx {
    struct client base;
    struct call calls[CALLS_MAX];
    unsigned n, answered;
    struct event_recorder *rec;
    struct api_object_meta pod;
};

static void fx_call(struct client *c, const struct client_request *q, client_done_fn done,
                    void *arg)
{
    struct fx *f = CONTAINER_OF(c, struct fx, base);
    struct call *k = &f->calls[f->n++];
    const struct api_event *e = q->body;
    assert_true(f->n <= CALLS_MAX);
    *k = (struct call){.done = done, .arg = arg, .verb = q->verb};
    struct str name = e ? e->metadata.name : q->name, text = e ? e->message : q->patch;
    snprintf(k->name, sizeof(k->name), "%.*s", STR_ARG(name));
    snprintf(k->text, sizeof(k->text), "%.*s", STR_ARG(text));
}

static const struct client_ops OPS = {.call = fx_call};

static int setup(void **state)
{
    struct fx *f = NEW(struct fx);
    f->base = (struct client){.ops = &OPS, .rt = rt_sim_new(1, INT64_C(1767225600000000))};
    f->rec = event_recorder_new(&f->base, "test-controller", NULL);
    f->pod = (struct api_object_meta){.name = STR("p"), .namespace = STR("d"), .uid = STR("u")};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fx *f = *state;
    event_recorder_free(f->rec);
    rt_free(f->base.rt);
    free(f);
    return 0;
}

static void answer(struct fx *f, int r)
{
    const struct client_reply reply = {.r = r};
    struct call *k = &f->calls[f->answered++];
    assert_true(f->answered <= f->n);
    k->done(k->arg, &reply);
}

static void answer_all(struct fx *f)
{
    while (f->answered < f->n)
        answer(f, 0);
}

static void say(struct fx *f, const char *reason, int i)
{
    event_record(f->rec, schema_kinds[KIND_POD], &f->pod, EVENT_WARNING, reason, "number %d", i);
}

static void test_counts_up(void **state)
{
    struct fx *f = *state;
    for (int i = 0; i < 5; i++)
        say(f, "Same", 1); /* while the first is being written */
    assert_int_equal(f->n, 1);
    assert_int_equal(f->calls[0].verb, CLIENT_CREATE);
    assert_string_equal(f->calls[0].text, "number 1");
    answer(f, 0);
    assert_int_equal(f->n, 2); /* what was gathered meanwhile goes out in one write */
    assert_int_equal(f->calls[1].verb, CLIENT_PATCH);
    assert_non_null(strstr(f->calls[1].text, "\"count\":5"));
    assert_string_equal(f->calls[1].name, f->calls[0].name);
    answer(f, -ENOENT); /* it has expired: told anew */
    assert_int_equal(f->calls[2].verb, CLIENT_CREATE);
    answer(f, 0);
    assert_int_equal(f->n, 3);
}

static void test_folds_similar(void **state)
{
    struct fx *f = *state;
    for (int i = 0; i < 14; i++) {
        say(f, "Many", i);
        answer_all(f);
    }
    unsigned creates = 0;
    for (unsigned i = 0; i < f->n; i++)
        creates += f->calls[i].verb == CLIENT_CREATE;
    assert_int_equal(creates, 11);
    assert_string_equal(f->calls[10].text, "(combined from similar events): number 10");
    assert_int_equal(f->calls[13].verb, CLIENT_PATCH);
}

static void test_rate_limit(void **state)
{
    struct fx *f = *state;
    char reason[16];
    for (int i = 0; i < 60; i++) {
        snprintf(reason, sizeof(reason), "Reason%d", i);
        say(f, reason, i);
        answer_all(f);
    }
    assert_int_equal(f->n, 25);
    assert_int_equal(event_recorder_stats(f->rec).dropped, 35);
    struct api_object_meta other = f->pod;
    other.name = STR("q");
    other.uid = STR("v");
    event_record(f->rec, schema_kinds[KIND_POD], &other, EVENT_NORMAL, "Other", "heard");
    assert_int_equal(f->n, 26);
    rt_sim_run_for(f->base.rt, 301 * NSEC_PER_SEC); /* one more in five minutes */
    say(f, "Later", 0);
    say(f, "Later", 1);
    assert_int_equal(f->n, 27);
}

static void test_long_message_and_free_under_way(void **state)
{
    struct fx *f = *state;
    char text[3000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    memcpy(text + 1022, "\xc3\xa4", 2); /* the limit falls into a character */
    event_record(f->rec, schema_kinds[KIND_POD], &f->pod, EVENT_NORMAL, "Long", "%s", text);
    assert_int_equal(f->n, 1); /* freed in teardown while this write is under way */
    assert_true(str_utf8_valid(str_z(f->calls[0].text)));
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_counts_up),
        T(test_folds_similar),
        T(test_rate_limit),
        T(test_long_message_and_free_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
