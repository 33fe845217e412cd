/* Ingress, IngressClass, IPAddress and ServiceCIDR: rules across fields. Kubernetes:
 * pkg/apis/networking/validation. */
#include "api/ingress.h"

#include "api/check.h"
#include "schema/schema.h"

#include <arpa/inet.h>

/* ---- hosts and backends ---- */

static void check_host(struct error *err, struct str at, struct str host)
{
    if (!host.n)
        return;
    if (!schema_format_check(SCHEMA_FORMAT_IP, host)) {
        check_invalid(err, at, host, "must be a DNS name, not an IP address");
        return;
    }
    if (host.p[0] != '*') {
        check_format(err, at, SCHEMA_FORMAT_DNS_SUBDOMAIN, host);
        return;
    }
    if (!str_starts(host, STR("*.")) || host.n > 253 ||
        schema_format_check(SCHEMA_FORMAT_DNS_SUBDOMAIN, str_sub(host, 2, host.n)))
        check_invalid(
            err, at, host,
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS "
            "subdomain, which must consist of lower case alphanumeric characters, '-' or "
            "'.' and end with an alphanumeric character (e.g. '*.example.com', regex used "
            "for validation is "
            "'\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')");
}

static void check_backend(const struct api_ingress_backend *b, const char *path, struct error *err)
{
    PATH(at, "%s", path);
    PATH(name, "%s.service.name", path);
    PATH(port_name, "%s.service.port.name", path);
    PATH(port_number, "%s.service.port.number", path);
    if (b->service && b->resource)
        check_invalid(err, at, b->service->name, "cannot set both resource and service backends");
    else if (!b->service && !b->resource)
        check_required(err, at, "resource or service backend is required");
    if (!b->service)
        return;
    const struct api_service_backend_port *p = &b->service->port;
    if (b->service->name.n)
        check_format(err, name, SCHEMA_FORMAT_DNS1035_LABEL, b->service->name);
    if (p->name.n && p->number)
        check_invalid(err, at, p->name, "cannot set both port name & port number");
    else if (!p->name.n && !p->number)
        check_required(err, at, "port name or number is required");
    else if (p->name.n)
        check_format(err, port_name, SCHEMA_FORMAT_PORT_NAME, p->name);
    else if (p->number < 1 || p->number > 65535)
        check_invalid_int(err, port_number, p->number, "must be between 1 and 65535, inclusive");
}

static bool contains(struct str s, const char *part)
{
    size_t n = strlen(part);
    for (size_t i = 0; i + n <= s.n; i++)
        if (memcmp(s.p + i, part, n) == 0)
            return true;
    return false;
}

static bool ends_with(struct str s, const char *end)
{
    size_t n = strlen(end);
    return s.n >= n && memcmp(s.p + s.n - n, end, n) == 0;
}

static void check_http_path(const struct api_http_ingress_path *p, const char *path,
                            struct error *err)
{
    static const char *const inside[] = {"//", "/./", "/../", "%2f", "%2F"};
    static const char *const at_end[] = {"/..", "/."};
    char why[48];
    PATH(at, "%s.path", path);
    PATH(backend, "%s.backend", path);
    check_backend(&p->backend, backend.p, err);
    if (str_is(p->path_type, "ImplementationSpecific") && !p->path.n)
        return;
    if (!p->path.n || p->path.p[0] != '/') {
        check_invalid(err, at, p->path, "must be an absolute path");
        return;
    }
    if (str_is(p->path_type, "ImplementationSpecific"))
        return;
    for (size_t i = 0; i < ARRAY_LEN(inside); i++)
        if (contains(p->path, inside[i])) {
            snprintf(why, sizeof(why), "must not contain '%s'", inside[i]);
            check_invalid(err, at, p->path, why);
        }
    for (size_t i = 0; i < ARRAY_LEN(at_end); i++)
        if (ends_with(p->path, at_end[i])) {
            snprintf(why, sizeof(why), "cannot end with '%s'", at_end[i]);
            check_invalid(err, at, p->path, why);
        }
}

/* ---- Ingress ---- */

static void ingress_validate(const void *msg, struct error *err)
{
    const struct api_ingress_spec *s = &((const struct api_ingress *)msg)->spec;
    if (!s->n_rules && !s->default_backend)
        check_required(err, STR("spec"), "either `defaultBackend` or `rules` must be specified");
    if (s->default_backend)
        check_backend(s->default_backend, "spec.defaultBackend", err);
    if (s->ingress_class_name.p)
        check_format(err, STR("spec.ingressClassName"), SCHEMA_FORMAT_DNS_SUBDOMAIN,
                     s->ingress_class_name);
    for (uint32_t i = 0; i < s->n_tls; i++) {
        PATH(secret, "spec.tls[%u].secretName", i);
        for (uint32_t k = 0; k < s->tls[i].n_hosts; k++) {
            PATH(host, "spec.tls[%u].hosts[%u]", i, k);
            check_host(err, host, s->tls[i].hosts[k]);
        }
        if (s->tls[i].secret_name.n)
            check_format(err, secret, SCHEMA_FORMAT_DNS_SUBDOMAIN, s->tls[i].secret_name);
    }
    for (uint32_t i = 0; i < s->n_rules; i++) {
        const struct api_http_ingress_rule_value *h = s->rules[i].ingress_rule_value.http;
        PATH(host, "spec.rules[%u].host", i);
        check_host(err, host, s->rules[i].host);
        for (uint32_t k = 0; h && k < h->n_paths; k++) {
            PATH(at, "spec.rules[%u].http.paths[%u]", i, k);
            check_http_path(&h->paths[k], at.p, err);
        }
    }
}

static void ingress_validate_status(const void *msg, const void *old, struct error *err)
{
    const struct api_ingress_load_balancer_status *s =
        &((const struct api_ingress *)msg)->status.load_balancer;
    (void)old;
    for (uint32_t i = 0; i < s->n_ingress; i++) {
        PATH(ip, "status.loadBalancer.ingress[%u].ip", i);
        PATH(host, "status.loadBalancer.ingress[%u].hostname", i);
        if (s->ingress[i].ip.n)
            check_format(err, ip, SCHEMA_FORMAT_IP, s->ingress[i].ip);
        if (s->ingress[i].hostname.n)
            check_host(err, host, s->ingress[i].hostname);
    }
}

const struct api_hooks ingress_hooks = {
    .kind = KIND_INGRESS, .validate = ingress_validate, .validate_status = ingress_validate_status};

/* ---- IngressClass ---- */

static void ingress_class_validate(const void *msg, struct error *err)
{
    const struct api_ingress_class_spec *s = &((const struct api_ingress_class *)msg)->spec;
    const struct api_ingress_class_parameters_reference *p = s->parameters;
    struct str path = s->controller, domain;
    /* a domain, a slash, and a path */
    if (!str_cut(&path, '/', &domain) || !path.n)
        check_invalid(err, STR("spec.controller"), s->controller,
                      "must be a domain-prefixed path (such as \"acme.io/foo\")");
    else
        check_format(err, STR("spec.controller"), SCHEMA_FORMAT_DNS_SUBDOMAIN, domain);
    if (!p)
        return;
    if (p->api_group.n)
        check_format(err, STR("spec.parameters.apiGroup"), SCHEMA_FORMAT_DNS_SUBDOMAIN,
                     p->api_group);
    if (p->kind.n)
        check_format(err, STR("spec.parameters.kind"), SCHEMA_FORMAT_PATH_SEGMENT, p->kind);
    if (p->name.n)
        check_format(err, STR("spec.parameters.name"), SCHEMA_FORMAT_PATH_SEGMENT, p->name);
    if (str_is(p->scope, "Namespace") && !p->namespace.n)
        check_required(err, STR("spec.parameters.namespace"),
                       "`parameters.scope` is set to 'Namespace'");
    else if (str_is(p->scope, "Namespace"))
        check_format(err, STR("spec.parameters.namespace"), SCHEMA_FORMAT_DNS_LABEL, p->namespace);
    else if (str_is(p->scope, "Cluster") && p->namespace.p)
        check_forbidden(err, STR("spec.parameters.namespace"),
                        "`parameters.scope` is set to 'Cluster'");
}

const struct api_hooks ingress_class_hooks = {.kind = KIND_INGRESS_CLASS,
                                              .validate = ingress_class_validate};

/* ---- addresses of services ---- */

/* An address as it is written canonically; false: none. */
static bool canonical(struct str s, char out[static INET6_ADDRSTRLEN])
{
    char text[INET6_ADDRSTRLEN];
    uint8_t b[16];
    if (!s.n || s.n >= sizeof(text))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    int family = strchr(text, ':') ? AF_INET6 : AF_INET;
    return inet_pton(family, text, b) == 1 && inet_ntop(family, b, out, INET6_ADDRSTRLEN);
}

static void ip_address_validate(const void *msg, struct error *err)
{
    const struct api_ip_address *a = msg;
    char text[INET6_ADDRSTRLEN];
    if (!canonical(a->metadata.name, text) || !str_eqz(a->metadata.name, text))
        check_invalid(err, STR("metadata.name"), a->metadata.name,
                      "must be a valid IP address in canonical form");
    if (a->spec.parent_ref && a->spec.parent_ref->group.n)
        check_format(err, STR("spec.parentRef.group"), SCHEMA_FORMAT_DNS_SUBDOMAIN,
                     a->spec.parent_ref->group);
}

const struct api_hooks ip_address_hooks = {.kind = KIND_IP_ADDRESS,
                                           .validate = ip_address_validate};

static void service_cidr_validate(const void *msg, struct error *err)
{
    const struct api_service_cidr_spec *s = &((const struct api_service_cidr *)msg)->spec;
    if (!s->n_cidrs)
        check_required(err, STR("spec.cidrs"), "at least one CIDR required");
    else if (s->n_cidrs > 2)
        check_invalid(err, STR("spec.cidrs"), s->cidrs[2], "may only hold up to 2 values");
    else if (s->n_cidrs == 2 &&
             (str_find(s->cidrs[0], ':') >= 0) == (str_find(s->cidrs[1], ':') >= 0))
        check_invalid(err, STR("spec.cidrs"), s->cidrs[1],
                      "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and "
                      "2001:db8::/96");
}

const struct api_hooks service_cidr_hooks = {.kind = KIND_SERVICE_CIDR,
                                             .validate = service_cidr_validate};
