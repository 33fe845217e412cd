/* What an Event may say. Those of the core group are taken nearly as they come; one that tells
 * eventTime, and all that is written by events.k8s.io, is held to the rules of the newer form. Both
 * kinds share the rules, which speak of fields by the core group's names, as Kubernetes does.
 * Kubernetes: pkg/apis/core/validation/events.go */
#include "api/event.h"

#include "api/check.h"

#define WORD_MAX 128 /* of action, reason and reportingInstance */
#define NOTE_MAX 1024

struct said { /* what the common rules look at */
    struct str ns, about_ns, controller, instance, action, reason, note;
    const char *controller_field;
    bool timed;
};

static void too_long(struct error *err, const char *field, struct str s, size_t max)
{
    if (s.n > max)
        (void)error_cause(err, CAUSE_INVALID, str_z(field),
                          "Invalid value: \"\": can have at most %zu characters", max);
}

static void word(struct error *err, const char *field, struct str s)
{
    if (!s.n)
        check_required(err, str_z(field), "");
    too_long(err, field, s, WORD_MAX);
}

static void validate_said(const struct said *e, struct error *err)
{
    struct str at = STR("involvedObject.namespace");
    const char *why = "does not match event.namespace";
    if (!e->timed) {
        if (e->about_ns.n ? !str_eq(e->about_ns, e->ns) : !str_is(e->ns, "default"))
            check_invalid(err, at, e->about_ns, why);
        return;
    }
    if (!e->about_ns.n && !str_is(e->ns, "default") && !str_is(e->ns, "kube-system"))
        check_invalid(err, at, e->about_ns, why);
    if (!e->controller.n)
        check_required(err, str_z(e->controller_field), "");
    check_format(err, str_z(e->controller_field), SCHEMA_FORMAT_QUALIFIED_NAME, e->controller);
    word(err, "reportingInstance", e->instance);
    word(err, "action", e->action);
    word(err, "reason", e->reason);
    too_long(err, "message", e->note, NOTE_MAX);
}

static void event_validate(const void *msg, struct error *err)
{
    const struct api_event *e = msg;
    validate_said(&(struct said){.ns = e->metadata.namespace,
                                 .about_ns = e->involved_object.namespace,
                                 .controller = e->reporting_component,
                                 .instance = e->reporting_instance,
                                 .action = e->action,
                                 .reason = e->reason,
                                 .note = e->message,
                                 .controller_field = "reportingComponent",
                                 .timed = e->event_time.set},
                  err);
}

/* ---- events.k8s.io ---- */

static void newer_validate(const void *msg, struct error *err)
{
    const struct api_events_event *e = msg;
    validate_said(&(struct said){.ns = e->metadata.namespace,
                                 .about_ns = e->regarding.namespace,
                                 .controller = e->reporting_controller,
                                 .instance = e->reporting_instance,
                                 .action = e->action,
                                 .reason = e->reason,
                                 .note = e->note,
                                 .controller_field = "reportingController",
                                 .timed = e->event_time.set},
                  err);
}

static void validate_series(const struct api_events_event_series *s, struct error *err)
{
    if (s && s->count < 2)
        check_invalid(err, STR("series.count"), STR(""), "should be at least 2");
    if (s && !s->last_observed_time.set)
        check_required(err, STR("series.lastObservedTime"), "");
}

static void newer_validate_create(const void *msg, struct error *err)
{
    const struct api_events_event *e = msg;
    const struct {
        const char *field;
        bool set;
    } old_form[] = {
        {"firstTimestamp", e->deprecated_first_timestamp.set},
        {"lastTimestamp", e->deprecated_last_timestamp.set},
        {"count", e->deprecated_count != 0},
        {"source", e->deprecated_source.component.n || e->deprecated_source.host.n},
    };
    validate_series(e->series, err);
    if (!e->event_time.set)
        check_required(err, STR("eventTime"), "");
    if (!str_is(e->type, "Normal") && !str_is(e->type, "Warning"))
        (void)error_cause(err, CAUSE_INVALID, STR("type"),
                          "Invalid value: \"\": has invalid value: %.*s",
                          (int)MIN(e->type.n, (size_t)256), e->type.p ? e->type.p : "");
    for (size_t i = 0; i < ARRAY_LEN(old_form); i++)
        if (old_form[i].set)
            check_invalid(err, str_z(old_form[i].field), STR(""), "needs to be unset");
}

static void same_time(struct error *err, const char *field, struct timestamp a, struct timestamp b)
{
    struct buf text = {0};
    if (a.set == b.set && (!a.set || a.usec == b.usec))
        return;
    if (a.set)
        timestamp_print(a, strcmp(field, "eventTime") == 0, &text);
    (void)error_cause(err, CAUSE_INVALID, str_z(field),
                      "Invalid value: %s%.*s%s: field is immutable", a.set ? "\"" : "null",
                      STR_ARG(buf_str(&text)), a.set ? "\"" : "");
    buf_fini(&text);
}

static void newer_validate_update(const void *msg, const void *old, struct error *err)
{
    const struct api_events_event *e = msg, *o = old;
    bool series = !e->series != !o->series ||
                  (e->series && !schema_equal(&api_events_event_series_desc, e->series, o->series));
    if (series)
        validate_series(e->series, err);
    check_immutable(err, STR("involvedObject"), &api_object_reference_desc, &e->regarding,
                    &o->regarding);
    check_immutable_str(err, STR("reason"), e->reason, o->reason);
    check_immutable_str(err, STR("message"), e->note, o->note);
    check_immutable(err, STR("source"), &api_event_source_desc, &e->deprecated_source,
                    &o->deprecated_source);
    same_time(err, "firstTimestamp", e->deprecated_first_timestamp, o->deprecated_first_timestamp);
    same_time(err, "lastTimestamp", e->deprecated_last_timestamp, o->deprecated_last_timestamp);
    if (e->deprecated_count != o->deprecated_count)
        check_invalid_int(err, STR("count"), e->deprecated_count, "field is immutable");
    check_immutable_str(err, STR("type"), e->type, o->type);
    same_time(err, "eventTime", e->event_time, o->event_time);
    check_immutable_str(err, STR("action"), e->action, o->action);
    static const struct api_object_reference nothing;
    check_immutable(err, STR("related"), &api_object_reference_desc,
                    e->related ? e->related : &nothing, o->related ? o->related : &nothing);
    check_immutable_str(err, STR("reportingController"), e->reporting_controller,
                        o->reporting_controller);
    check_immutable_str(err, STR("reportingInstance"), e->reporting_instance,
                        o->reporting_instance);
}

const struct api_hooks event_hooks = {.kind = KIND_EVENT, .validate = event_validate};
const struct api_hooks newer_event_hooks = {.kind = KIND_EVENTS_EVENT,
                                            .validate = newer_validate,
                                            .validate_create = newer_validate_create,
                                            .validate_update = newer_validate_update};
