/* The paths of OpenAPI documents: per kind and subresource the methods, their parameters, what goes
 * in and what comes out. Codes from 400 on are not told: their answer is a Status, always. */
#include "schema/openapi_int.h"

#include <ctype.h>

enum params {
    FOR_ALL = 1 << 0,
    FOR_LIST = 1 << 1,
    FOR_WRITE = 1 << 2,
    FOR_PATCH = 1 << 3,
    FOR_DELETE = 1 << 4,
};
static const struct {
    const char *name, *type;
    unsigned of; /* enum params */
} parameters[] = {
    {"pretty", "string", FOR_ALL},
    {"dryRun", "string", FOR_WRITE | FOR_PATCH | FOR_DELETE},
    {"fieldManager", "string", FOR_WRITE | FOR_PATCH},
    {"fieldValidation", "string", FOR_WRITE | FOR_PATCH},
    {"force", "boolean", FOR_PATCH},
    {"labelSelector", "string", FOR_LIST},
    {"fieldSelector", "string", FOR_LIST},
    {"limit", "integer", FOR_LIST},
    {"continue", "string", FOR_LIST},
    {"resourceVersion", "string", FOR_LIST},
    {"resourceVersionMatch", "string", FOR_LIST},
    {"timeoutSeconds", "integer", FOR_LIST},
    {"watch", "boolean", FOR_LIST},
    {"allowWatchBookmarks", "boolean", FOR_LIST},
    {"sendInitialEvents", "boolean", FOR_LIST},
    {"gracePeriodSeconds", "integer", FOR_DELETE},
    {"orphanDependents", "boolean", FOR_DELETE},
    {"propagationPolicy", "string", FOR_DELETE},
};

enum answer { ANSWER_KIND, ANSWER_LIST, ANSWER_DELETED };
enum place { PLACE_ALL, PLACE_ONE };

struct operation {
    const char *method, *action, *prefix; /* operationId starts with prefix */
    enum schema_verb verb;
    enum place place;
    unsigned params;
    const char *codes[4];
    enum answer answer;
};
static const struct operation operations[] = {
    {"get", "list", "list", SCHEMA_VERB_LIST, PLACE_ALL, FOR_LIST, {"200"}, ANSWER_LIST},
    {"post", "post", "create", SCHEMA_VERB_CREATE, PLACE_ALL, FOR_WRITE, {"200", "201", "202"}, 0},
    {"delete",
     "deletecollection",
     "deletecollection",
     SCHEMA_VERB_DELETECOLLECTION,
     PLACE_ALL,
     FOR_LIST | FOR_DELETE,
     {"200"},
     ANSWER_DELETED},
    {"get", "get", "read", SCHEMA_VERB_GET, PLACE_ONE, 0, {"200"}, 0},
    {"put", "put", "replace", SCHEMA_VERB_UPDATE, PLACE_ONE, FOR_WRITE, {"200", "201"}, 0},
    {"patch", "patch", "patch", SCHEMA_VERB_PATCH, PLACE_ONE, FOR_PATCH, {"200", "201"}, 0},
    {"delete",
     "delete",
     "delete",
     SCHEMA_VERB_DELETE,
     PLACE_ONE,
     FOR_DELETE,
     {"200", "202"},
     ANSWER_DELETED},
};

/* What is printed: one method of a kind, or of its subresource. */
struct target {
    const struct dialect *d;
    const struct schema_kind *k;
    const struct schema_subresource *sub; /* NULL: the kind itself */
    const struct schema_desc *desc;       /* of what goes in and out */
};

/* A stream, not an object: exec, attach, port-forward, proxy. */
static bool is_connection(const struct target *t)
{
    static const char *const names[] = {"attach", "exec", "portforward", "proxy"};
    for (size_t i = 0; t->sub && i < ARRAY_LEN(names); i++)
        if (strcmp(t->sub->name, names[i]) == 0)
            return true;
    return false;
}

static bool is_text(const struct target *t)
{
    return t->sub && strcmp(t->sub->name, "log") == 0;
}

static void parameter_print(const struct dialect *d, const char *name, const char *in,
                            const char *type, bool first, struct buf *b)
{
    buf_printf(b, "%s{\"name\":\"%s\",\"in\":\"%s\"", first ? "" : ",", name, in);
    if (strcmp(in, "path") == 0)
        buf_add_lit(b, ",\"required\":true");
    if (d->v3)
        buf_printf(b, ",\"schema\":{\"type\":\"%s\",\"uniqueItems\":true}}", type);
    else
        buf_printf(b, ",\"type\":\"%s\",\"uniqueItems\":true}", type);
}

static void ref_print(const struct target *t, const struct schema_desc *desc, struct buf *b)
{
    buf_printf(b, "{\"$ref\":\"%s%s\"}", t->d->ref_prefix, desc->openapi);
}

static void body_schema_print(const struct target *t, const struct operation *op, struct buf *b)
{
    if (op->verb == SCHEMA_VERB_PATCH)
        buf_add_lit(b, "{\"type\":\"object\"}");
    else
        ref_print(t, op->answer == ANSWER_DELETED ? &api_delete_options_desc : t->desc, b);
}

static bool has_body(const struct target *t, const struct operation *op)
{
    return op->verb != SCHEMA_VERB_GET && op->verb != SCHEMA_VERB_LIST && !is_connection(t);
}

static void body_v3_print(const struct target *t, const struct operation *op, struct buf *b)
{
    static const char *const patches[] = {
        "application/apply-patch+yaml", "application/json-patch+json",
        "application/merge-patch+json", "application/strategic-merge-patch+json"};
    buf_add_lit(b, ",\"requestBody\":{\"content\":{");
    if (op->verb == SCHEMA_VERB_PATCH) {
        size_t n = ARRAY_LEN(patches) - (t->k->custom ? 1 : 0);
        for (size_t i = 0; i < n; i++) {
            buf_printf(b, "%s\"%s\":{\"schema\":", i ? "," : "", patches[i]);
            body_schema_print(t, op, b);
            buf_add_char(b, '}');
        }
    } else {
        buf_add_lit(b, "\"*/*\":{\"schema\":");
        body_schema_print(t, op, b);
        buf_add_char(b, '}');
    }
    buf_printf(b, "}%s}", op->answer == ANSWER_DELETED ? "" : ",\"required\":true");
}

/* What is done and not kept. */
static bool is_deed(const struct target *t)
{
    return t->desc == &api_binding_desc || t->desc == &api_eviction_desc;
}

/* What is deleted answers with itself while it waits for something, else with a Status. */
static void answer_schema_print(const struct target *t, const struct operation *op, struct buf *b)
{
    bool one = op->verb == SCHEMA_VERB_DELETE;
    const struct schema_desc *deleted = one ? t->desc : t->k->list_desc;
    if (is_text(t)) {
        buf_add_lit(b, "{\"type\":\"string\"}");
    } else if (op->answer == ANSWER_DELETED && t->d->v3) {
        buf_add_lit(b, "{\"oneOf\":[");
        ref_print(t, deleted, b);
        buf_add_char(b, ',');
        ref_print(t, &api_status_desc, b);
        buf_add_lit(b, "]}");
    } else {
        ref_print(t,
                  op->answer == ANSWER_DELETED || is_deed(t) ? &api_status_desc
                  : op->answer == ANSWER_LIST                ? t->k->list_desc
                                                             : t->desc,
                  b);
    }
}

static void response_print(const struct target *t, const struct operation *op, const char *code,
                           struct buf *b)
{
    static const char *const forms[] = {"application/json", "application/yaml",
                                        "application/vnd.kubernetes.protobuf"};
    buf_printf(b, "\"%s\":{\"description\":\"%s\"", code,
               strcmp(code, "200") == 0   ? "OK"
               : strcmp(code, "201") == 0 ? "Created"
                                          : "Accepted");
    if (is_connection(t)) {
        buf_add_char(b, '}');
        return;
    }
    if (!t->d->v3) {
        buf_add_lit(b, ",\"schema\":");
        answer_schema_print(t, op, b);
        buf_add_char(b, '}');
        return;
    }
    buf_add_lit(b, ",\"content\":{");
    size_t n = ARRAY_LEN(forms) - (t->k->custom ? 1 : 0);
    for (size_t i = 0; i < (is_text(t) ? 1 : n); i++) {
        buf_printf(b, "%s\"%s\":{\"schema\":", i ? "," : "", is_text(t) ? "text/plain" : forms[i]);
        answer_schema_print(t, op, b);
        buf_add_char(b, '}');
    }
    buf_add_lit(b, "}}");
}

/* Letters and digits alone, a capital where something was left out. K8S: ToValidOperationID */
static void camel_print(const char *s, size_t n, bool capital, struct buf *b)
{
    for (size_t i = 0; i < n; i++) {
        bool letter =
            isalpha((unsigned char)s[i]) || s[i] == '_' || (i && isdigit((unsigned char)s[i]));
        if (letter)
            buf_add_char(b, capital ? (char)toupper((unsigned char)s[i]) : s[i]);
        capital = !letter;
    }
}

/* "apps_v1", or "AppsV1" of an operation's name. */
static void group_print(const struct schema_kind *k, bool tag, struct buf *b)
{
    const char *group = k->group[0] ? k->group : "core";
    size_t n = strlen(group), tail = strlen(".k8s.io");
    if (n > tail && strcmp(group + n - tail, ".k8s.io") == 0)
        n -= tail;
    camel_print(group, n, !tag, b);
    if (tag)
        buf_add_char(b, '_');
    camel_print(k->version, strlen(k->version), !tag, b);
}

/* "readAppsV1NamespacedDeploymentScale". K8S: GetOperationIDAndTagsFromRoute. No two paths have the
 * same. */
static void operation_id_print(const struct target *t, const struct operation *op, bool namespaced,
                               struct buf *b)
{
    bool everywhere = op->verb == SCHEMA_VERB_LIST && t->k->namespaced && !namespaced;
    bool collection = op->verb == SCHEMA_VERB_DELETECOLLECTION;
    buf_printf(b, "%s", is_connection(t) ? "connect" : collection ? "delete" : op->prefix);
    group_print(t->k, false, b);
    if (is_connection(t))
        camel_print(op->method, strlen(op->method), true, b);
    buf_printf(b, "%s%s%s%s", collection ? "Collection" : "",
               t->k->namespaced && !everywhere ? "Namespaced" : "", t->k->kind,
               everywhere ? "ForAllNamespaces" : "");
    if (t->sub)
        camel_print(t->sub->name, strlen(t->sub->name), true, b);
}

static void operation_print(const struct target *t, const struct operation *op, bool namespaced,
                            struct buf *b)
{
    buf_printf(b, "\"%s\":{\"tags\":[\"", op->method);
    group_print(t->k, true, b);
    buf_add_lit(b, "\"],\"operationId\":\"");
    operation_id_print(t, op, namespaced, b);
    buf_add_lit(b, "\",\"parameters\":[");
    unsigned n = 0, of = FOR_ALL | (is_connection(t) ? 0 : op->params);
    for (size_t i = 0; i < ARRAY_LEN(parameters); i++)
        if (parameters[i].of & of)
            parameter_print(t->d, parameters[i].name, "query", parameters[i].type, n++ == 0, b);
    if (has_body(t, op) && !t->d->v3) {
        buf_add_lit(b, ",{\"name\":\"body\",\"in\":\"body\",\"schema\":");
        body_schema_print(t, op, b);
        buf_printf(b, "%s}", op->answer == ANSWER_DELETED ? "" : ",\"required\":true");
    }
    buf_add_char(b, ']');
    if (has_body(t, op) && t->d->v3)
        body_v3_print(t, op, b);
    buf_add_lit(b, ",\"responses\":{");
    for (size_t i = 0; op->codes[i]; i++) {
        if (i && is_connection(t))
            break;
        if (i)
            buf_add_char(b, ',');
        response_print(t, op, op->codes[i], b);
    }
    buf_printf(b, "},\"x-kubernetes-action\":\"%s\",\"x-kubernetes-group-version-kind\":",
               is_connection(t) ? "connect" : op->action);
    openapi_gvk_print(t->desc, b);
    buf_add_char(b, '}');
}

/* A collection can be listed over all namespaces, and nothing more. */
static bool op_at(const struct target *t, const struct operation *op, bool namespaced,
                  enum place place)
{
    if (t->sub)
        return (t->sub->verbs & op->verb) && op->verb != SCHEMA_VERB_LIST;
    return op->place == place && (t->k->verbs & op->verb) &&
           (namespaced == t->k->namespaced || op->verb == SCHEMA_VERB_LIST);
}

static void path_print(const struct target *t, bool namespaced, enum place place, bool *first,
                       struct buf *b)
{
    const struct schema_kind *k = t->k;
    unsigned n = 0;

    for (size_t i = 0; i < ARRAY_LEN(operations); i++)
        n += op_at(t, &operations[i], namespaced, place);
    if (!n)
        return;
    buf_printf(b, "%s\"%s/%s%s/%s%s%s%s\":{", *first ? "" : ",", k->group[0] ? "/apis" : "/api",
               k->api_version, namespaced ? "/namespaces/{namespace}" : "", k->plural,
               place == PLACE_ONE ? "/{name}" : "", t->sub ? "/" : "", t->sub ? t->sub->name : "");
    *first = false;
    n = 0;
    for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
        if (!op_at(t, &operations[i], namespaced, place))
            continue;
        if (n++)
            buf_add_char(b, ',');
        operation_print(t, &operations[i], namespaced, b);
    }
    buf_add_lit(b, ",\"parameters\":[");
    n = 0;
    if (place == PLACE_ONE)
        parameter_print(t->d, "name", "path", "string", n++ == 0, b);
    if (namespaced)
        parameter_print(t->d, "namespace", "path", "string", n++ == 0, b);
    buf_add_lit(b, "]}");
}

void openapi_paths_print(const struct dialect *d, const struct schema_kind *k, bool *first,
                         struct buf *b)
{
    struct target t = {.d = d, .k = k, .desc = k->desc};
    path_print(&t, false, PLACE_ALL, first, b);
    if (k->namespaced)
        path_print(&t, true, PLACE_ALL, first, b);
    path_print(&t, k->namespaced, PLACE_ONE, first, b);
    for (unsigned i = 0; i < k->n_subresources; i++) {
        t.sub = &k->subresources[i];
        t.desc = t.sub->desc ? t.sub->desc : k->desc;
        path_print(&t, k->namespaced, PLACE_ONE, first, b);
    }
}
