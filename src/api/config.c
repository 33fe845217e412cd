/* ConfigMap and Secret: sizes, keys, what a secret's type demands, and immutability. */
#include "api/config.h"

#include "api/check.h"
#include "api/kv.h"
#include "codec/json.h"
#include "schema/schema.h"

#define DATA_BYTES_MAX ((size_t)1 << 20) /* as Kubernetes: MaxSecretSize */

static size_t check_keys(const struct kv_str *v, uint32_t n, const char *name, struct error *err)
{
    size_t total = 0;
    for (uint32_t i = 0; i < n; i++) {
        PATH(at, "%s[%.*s]", name, (int)MIN(v[i].key.n, (size_t)200), v[i].key.p);
        check_format(err, at, SCHEMA_FORMAT_CONFIG_KEY, v[i].key);
        total += v[i].value.n;
    }
    return total;
}

static void too_long(struct error *err, const char *field)
{
    (void)error_cause(err, CAUSE_TOO_LONG, str_z(field), "Too long: may not be more than %zu bytes",
                      DATA_BYTES_MAX);
}

static bool map_equal(const struct kv_str *a, uint32_t na, const struct kv_str *b, uint32_t nb)
{
    bool same = na == nb;
    for (uint32_t i = 0; same && i < na; i++)
        same = str_eq(a[i].key, b[i].key) && str_eq(a[i].value, b[i].value);
    return same;
}

#define FROZEN "field is immutable when `immutable` is set"

/* ---- ConfigMap ---- */

static void config_map_validate(const void *msg, struct error *err)
{
    const struct api_config_map *c = msg;
    size_t n = check_keys(c->data, c->n_data, "data", err) +
               check_keys(c->binary_data, c->n_binary_data, "binaryData", err);
    for (uint32_t i = 0; i < c->n_data; i++)
        if (kv_str_get(c->binary_data, c->n_binary_data, c->data[i].key)) {
            PATH(at, "data[%.*s]", STR_ARG(c->data[i].key));
            check_invalid(err, at, c->data[i].key, "duplicate of key present in binaryData");
        }
    if (n > DATA_BYTES_MAX)
        too_long(err, "");
}

static void config_map_validate_update(const void *msg, const void *old, struct error *err)
{
    const struct api_config_map *c = msg, *o = old;
    if (!o->immutable)
        return;
    if (!c->immutable)
        check_forbidden(err, STR("immutable"), FROZEN);
    if (!map_equal(c->data, c->n_data, o->data, o->n_data))
        check_forbidden(err, STR("data"), FROZEN);
    if (!map_equal(c->binary_data, c->n_binary_data, o->binary_data, o->n_binary_data))
        check_forbidden(err, STR("binaryData"), FROZEN);
}

const struct api_hooks config_map_hooks = {.kind = KIND_CONFIG_MAP,
                                           .validate = config_map_validate,
                                           .validate_update = config_map_validate_update};

/* ---- Secret ---- */

static void secret_fill(void *msg, struct arena *a)
{
    struct api_secret *s = msg;
    if (s->n_string_data)
        kv_str_merge(a, &s->data, &s->n_data, s->string_data, s->n_string_data);
    s->string_data = NULL; /* write-only */
    s->n_string_data = 0;
}

static void need_key(const struct api_secret *s, const char *key, struct error *err)
{
    if (kv_str_get(s->data, s->n_data, str_z(key)))
        return;
    PATH(at, "data[%s]", key);
    check_required(err, at, "");
}

/* A valid JSON text that Go would read into a map. */
static bool is_map(struct str json)
{
    size_t i = 0;
    while (i < json.n && strchr(" \t\r\n", json.p[i]))
        i++;
    return json.p[i] == '{' || json.p[i] == 'n';
}

static void need_json(const struct api_secret *s, const char *key, struct error *err)
{
    const struct str *v = kv_str_get(s->data, s->n_data, str_z(key));
    PATH(at, "data[%s]", key);
    need_key(s, key, err);
    if (v && !json_valid(*v))
        check_invalid(err, at, STR("<secret contents redacted>"), "invalid JSON");
    else if (v && !is_map(*v))
        check_invalid(err, at, STR("<secret contents redacted>"),
                      "json: cannot unmarshal into Go value of type map[string]interface {}");
}

static void secret_validate(const void *msg, struct error *err)
{
    const struct api_secret *s = msg;
    if (check_keys(s->data, s->n_data, "data", err) > DATA_BYTES_MAX)
        too_long(err, "data");
    if (str_is(s->type, "kubernetes.io/tls")) {
        need_key(s, "tls.crt", err);
        need_key(s, "tls.key", err);
    } else if (str_is(s->type, "kubernetes.io/dockerconfigjson")) {
        need_json(s, ".dockerconfigjson", err);
    } else if (str_is(s->type, "kubernetes.io/dockercfg")) {
        need_json(s, ".dockercfg", err);
    } else if (str_is(s->type, "kubernetes.io/ssh-auth")) {
        const struct str *key = kv_str_get(s->data, s->n_data, STR("ssh-privatekey"));
        if (!key || !key->n)
            check_required(err, STR("data[ssh-privatekey]"), "");
    } else if (str_is(s->type, "kubernetes.io/basic-auth")) {
        if (!kv_str_get(s->data, s->n_data, STR("username")) &&
            !kv_str_get(s->data, s->n_data, STR("password"))) {
            check_required(err, STR("data[username]"), "");
            check_required(err, STR("data[password]"), "");
        }
    } else if (str_is(s->type, SECRET_TYPE_ACCOUNT_TOKEN)) {
        const struct str *sa = KV_GET(&s->metadata, annotations, STR(SECRET_ACCOUNT_NAME));
        if (!sa || !sa->n)
            check_required(err, STR("metadata.annotations[" SECRET_ACCOUNT_NAME "]"), "");
    }
}

static void secret_validate_update(const void *msg, const void *old, struct error *err)
{
    const struct api_secret *s = msg, *o = old;
    if (!o->immutable)
        return;
    if (!s->immutable)
        check_forbidden(err, STR("immutable"), FROZEN);
    if (!map_equal(s->data, s->n_data, o->data, o->n_data))
        check_forbidden(err, STR("data"), FROZEN);
}

const struct api_hooks secret_hooks = {.kind = KIND_SECRET,
                                       .fill = secret_fill,
                                       .validate = secret_validate,
                                       .validate_update = secret_validate_update};
