/* Webhook configurations: where a webhook is, and what it is asked about. Mutating and validating
 * webhooks differ in one field, so both are looked at through one view. Kubernetes:
 * pkg/apis/admissionregistration/validation. */
#include "api/webhook.h"

#include "api/check.h"
#include "base/set.h"
#include "schema/schema.h"

#define URL_FORM "; desired format: https://host[:port]/path"

/* ---- where it is ---- */

static void check_url(struct error *err, struct str at, struct str url)
{
    struct str rest = url, host;
    if (!str_starts(url, STR("https://"))) {
        check_invalid(err, at, url, "'https' is the only allowed URL scheme" URL_FORM);
        return;
    }
    rest = str_sub(rest, strlen("https://"), rest.n);
    size_t end = 0;
    while (end < rest.n && !strchr("/?#", rest.p[end]))
        end++;
    host = str_sub(rest, 0, end);
    if (!host.n)
        check_invalid(err, at, url, "host must be specified" URL_FORM);
    if (str_find(host, '@') >= 0)
        check_invalid(err, at, url, "user information is not permitted in the URL");
    if (str_find(rest, '#') >= 0)
        check_invalid(err, at, url, "fragments are not permitted in the URL");
    if (str_find(rest, '?') >= 0)
        check_invalid(err, at, url, "query parameters are not permitted in the URL");
}

static void check_service_path(struct error *err, struct str at, struct str path)
{
    if (!path.p || str_is(path, "/"))
        return;
    if (!path.n || path.p[0] != '/') {
        check_invalid(err, at, path, "must start with a '/'");
        return;
    }
    struct str rest = str_sub(path, 1, path.n), step;
    if (rest.p[rest.n - 1] == '/')
        rest.n--;
    for (unsigned i = 0; str_cut(&rest, '/', &step) || step.n; i++) {
        char why[48];
        snprintf(why, sizeof(why), "segment[%u] may not be empty", i);
        if (!step.n) {
            check_invalid(err, at, path, why);
            return;
        }
        check_format(err, at, SCHEMA_FORMAT_DNS_SUBDOMAIN, step);
    }
}

static void check_client(const struct api_admission_client_config *c, const char *path,
                         struct error *err)
{
    PATH(at, "%s.clientConfig", path);
    PATH(url, "%s.url", at.p);
    PATH(port, "%s.service.port", at.p);
    PATH(service_path, "%s.service.path", at.p);
    if (!c->url.p == !c->service)
        check_required(err, at, "exactly one of url or service is required");
    else if (c->url.p)
        check_url(err, url, c->url);
    else if (c->service->has_port && (c->service->port < 1 || c->service->port > 65535))
        check_invalid_int(err, port, c->service->port,
                          "port is not valid: must be between 1 and 65535, inclusive");
    if (c->service)
        check_service_path(err, service_path, c->service->path);
}

void webhook_client_validate(const struct api_webhook_client_config *c, const char *at,
                             struct error *err)
{
    PATH(whole, "%s", at);
    PATH(url, "%s.url", at);
    PATH(name, "%s.service.name", at);
    PATH(ns, "%s.service.namespace", at);
    PATH(port, "%s.service.port", at);
    PATH(path, "%s.service.path", at);
    const struct api_service_reference *s = c->service;
    if (!c->url.p == !s) {
        check_required(err, whole, "exactly one of url or service is required");
    } else if (!s) {
        check_url(err, url, c->url);
    } else {
        if (!s->name.n)
            check_required(err, name, "service name is required");
        if (!s->namespace.n)
            check_required(err, ns, "service namespace is required");
        check_service_path(err, path, s->path);
        if (s->has_port && (s->port < 1 || s->port > 65535))
            check_invalid_int(err, port, s->port,
                              "port is not valid: must be between 1 and 65535, inclusive");
    }
}

/* ---- what it is asked about ---- */

/* A list that must not be empty, and in which a star stands alone. */
static void check_list(const struct str *v, uint32_t n, const char *path, const char *field,
                       const char *what, struct error *err)
{
    PATH(at, "%s.%s", path, field);
    if (!n)
        check_required(err, at, "");
    check_star(v, n, path, field, what, err);
}

/* A resource that another entry of the list takes in already. */
static void check_resources(const struct api_admission_rule *r, const char *path, struct error *err)
{
    bool all = false, all_plain = false;
    PATH(list, "%s.resources", path);
    if (!r->n_resources)
        check_required(err, list, "");
    for (uint32_t i = 0; i < r->n_resources; i++) {
        all |= str_is(r->resources[i], "*/*");
        all_plain |= str_is(r->resources[i], "*");
    }
    for (uint32_t i = 0; i < r->n_resources; i++) {
        struct str rest = r->resources[i], name;
        PATH(at, "%s[%u]", list.p, i);
        if (!rest.n) {
            check_required(err, at, "");
        } else if (all && r->n_resources > 1 && str_is(rest, "*/*")) {
            check_invalid(err, list, rest, "if '*/*' is present, must not specify other resources");
        } else if (all_plain && !str_is(rest, "*") && str_find(rest, '/') < 0) {
            check_invalid(err, at, rest,
                          "if '*' is present, must not specify other resources without "
                          "subresources");
        } else if (str_find(rest, '/') >= 0) {
            for (uint32_t k = 0; k < r->n_resources; k++) {
                struct str tail = rest, other = r->resources[k], other_name;
                (void)str_cut(&tail, '/', &name);
                if (k == i || !str_cut(&other, '/', &other_name))
                    continue;
                bool covered = str_is(other, "*") ? str_eq(name, other_name)
                                                  : str_is(other_name, "*") && str_eq(tail, other);
                char why[160];
                snprintf(why, sizeof(why), "if '%.*s' is present, must not specify %.*s",
                         (int)MIN(r->resources[k].n, (size_t)50), r->resources[k].p,
                         (int)MIN(r->resources[i].n, (size_t)50), r->resources[i].p);
                if (covered)
                    check_invalid(err, at, r->resources[i], why);
            }
        }
    }
}

void admission_rule_validate(const struct api_admission_rule_with_operations *r, const char *path,
                             struct error *err)
{
    check_list(r->operations, r->n_operations, path, "operations", "operations", err);
    check_list(r->rule.api_groups, r->rule.n_api_groups, path, "apiGroups", "API groups", err);
    check_list(r->rule.api_versions, r->rule.n_api_versions, path, "apiVersions", "API versions",
               err);
    for (uint32_t i = 0; i < r->rule.n_api_versions; i++) {
        PATH(at, "%s.apiVersions[%u]", path, i);
        if (!r->rule.api_versions[i].n)
            check_required(err, at, "");
    }
    check_resources(&r->rule, path, err);
}

/* ---- the two kinds ---- */

struct webhook_view {
    struct str name;
    const struct api_admission_client_config *client;
    const struct api_admission_rule_with_operations *rules;
    uint32_t n_rules;
    const struct api_label_selector *namespaces, *objects;
    int32_t timeout_seconds;
    const struct str *versions;
    uint32_t n_versions;
};
#define WEBHOOK_VIEW(w)                                                                            \
    ((struct webhook_view){(w)->name, &(w)->client_config, (w)->rules, (w)->n_rules,               \
                           (w)->namespace_selector, (w)->object_selector, (w)->timeout_seconds,    \
                           (w)->admission_review_versions, (w)->n_admission_review_versions})

static void check_versions(const struct webhook_view *w, const char *path, struct error *err)
{
    bool known = false;
    struct set seen = {0};
    for (uint32_t i = 0; i < w->n_versions; i++) {
        PATH(at, "%s.admissionReviewVersions[%u]", path, i);
        known |= str_is(w->versions[i], "v1") || str_is(w->versions[i], "v1beta1");
        if (!set_add(&seen, w->versions[i]))
            check_invalid(err, at, w->versions[i], "duplicate version");
        check_format(err, at, SCHEMA_FORMAT_DNS1035_LABEL, w->versions[i]);
    }
    set_fini(&seen);
    PATH(list, "%s.admissionReviewVersions", path);
    if (w->n_versions && !known)
        check_invalid(err, list, w->versions[0], "must include at least one of v1, v1beta1");
}

static void webhook_validate(struct webhook_view w, uint32_t index, struct error *err)
{
    PATH(path, "webhooks[%u]", index);
    PATH(name, "%s.name", path.p);
    PATH(namespaces, "%s.namespaceSelector", path.p);
    PATH(objects, "%s.objectSelector", path.p);
    PATH(timeout, "%s.timeoutSeconds", path.p);
    unsigned dots = 0;
    for (size_t i = 0; i < w.name.n; i++)
        dots += w.name.p[i] == '.';
    if (w.name.n && schema_format_check(SCHEMA_FORMAT_DNS_SUBDOMAIN, w.name))
        check_format(err, name, SCHEMA_FORMAT_DNS_SUBDOMAIN, w.name);
    else if (w.name.n && dots < 2)
        check_invalid(err, name, w.name,
                      "should be a domain with at least three segments separated by dots");
    check_client(w.client, path.p, err);
    for (uint32_t i = 0; i < w.n_rules; i++) {
        PATH(rule, "%s.rules[%u]", path.p, i);
        admission_rule_validate(&w.rules[i], rule.p, err);
    }
    check_label_selector(err, namespaces, w.namespaces);
    check_label_selector(err, objects, w.objects);
    if (w.timeout_seconds < 1 || w.timeout_seconds > 30)
        check_invalid_int(err, timeout, w.timeout_seconds,
                          "the timeout value must be between 1 and 30 seconds");
    check_versions(&w, path.p, err);
}

static void mutating_validate(const void *msg, struct error *err)
{
    const struct api_mutating_webhook_configuration *c = msg;
    for (uint32_t i = 0; i < c->n_webhooks; i++)
        webhook_validate(WEBHOOK_VIEW(&c->webhooks[i]), i, err);
}

static void validating_validate(const void *msg, struct error *err)
{
    const struct api_validating_webhook_configuration *c = msg;
    for (uint32_t i = 0; i < c->n_webhooks; i++)
        webhook_validate(WEBHOOK_VIEW(&c->webhooks[i]), i, err);
}

const struct api_hooks mutating_webhook_configuration_hooks = {
    .kind = KIND_MUTATING_WEBHOOK_CONFIGURATION, .validate = mutating_validate};
const struct api_hooks validating_webhook_configuration_hooks = {
    .kind = KIND_VALIDATING_WEBHOOK_CONFIGURATION, .validate = validating_validate};
