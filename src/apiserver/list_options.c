/* Which options of list and watch go together. The rules and their words are those of Kubernetes
 * (apimachinery, ValidateListOptions); what the options mean is up to the verbs. */
#include "apiserver/internal.h"

#define MATCH STR("resourceVersionMatch")

static void forbid(struct api_call *c, struct str field, const char *why)
{
    (void)!error_cause(&c->reply.err, CAUSE_FORBIDDEN, field, "Forbidden: %s", why);
}

static void unsupported(struct api_call *c, const char *supported)
{
    (void)!error_cause(&c->reply.err, CAUSE_NOT_SUPPORTED, MATCH,
                       "Unsupported value: \"%.*s\": supported values: %s",
                       STR_ARG(c->opts.resource_version_match), supported);
}

static void check_list(struct api_call *c)
{
    const struct api_options *o = &c->opts;
    struct str match = o->resource_version_match;
    if (match.n) {
        bool exact = str_is(match, "Exact");
        if (!o->resource_version.n)
            forbid(c, MATCH,
                   "resourceVersionMatch is forbidden unless resourceVersion is provided");
        if (o->continue_.n)
            forbid(c, MATCH, "resourceVersionMatch is forbidden when continue is provided");
        if (!exact && !str_is(match, "NotOlderThan"))
            unsupported(c, "\"\", \"Exact\", \"NotOlderThan\"");
        if (exact && str_is(o->resource_version, "0"))
            forbid(c, MATCH,
                   "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
    }
    if (o->has_send_initial_events)
        forbid(c, STR("sendInitialEvents"), "sendInitialEvents is forbidden for list");
}

static void check_watch(struct api_call *c)
{
    const struct api_options *o = &c->opts;
    struct str match = o->resource_version_match;
    bool newer = str_is(match, "NotOlderThan");
    if (o->has_send_initial_events && !newer)
        forbid(c, MATCH, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    if (!match.n)
        return;
    if (!o->has_send_initial_events)
        forbid(c, MATCH,
               "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
    if (!newer)
        unsupported(c, "\"NotOlderThan\"");
    if (o->continue_.n)
        forbid(c, MATCH, "resourceVersionMatch is forbidden when continue is provided");
}

int list_options_check(struct api_call *c, bool watch)
{
    if (watch)
        check_watch(c);
    else
        check_list(c);
    c->reply.r = c->reply.err.causes ? call_options_invalid(c, "ListOptions") : 0;
    return c->reply.r;
}

int error_from_future(struct error *err, rev_t want, rev_t now)
{
    int r =
        error_set(err, REASON_TIMEOUT, "Timeout: Too large resource version: %llu, current: %llu",
                  (unsigned long long)want, (unsigned long long)now);
    (void)error_cause(err, "ResourceVersionTooLarge", STR_NONE, "Too large resource version");
    err->retry_after_s = 1;
    return r;
}
