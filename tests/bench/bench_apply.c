/* Figures of server-side apply, of strategic merge and of what every write pays for managedFields,
 * in the core alone: what happens between a parsed patch and the message that is written. The
 * object is a Deployment with two containers, probes, ports, volumes and resources. One line each:
 * `NAME VALUE UNIT`. With an argument only the case of that name runs, with a second one so many
 * times: for callgrind. */
#include "schema/apply.h"
#include "schema/fields.h"
#include "schema/patch.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CONTAINER(name, image)                                                                     \
    "{\"name\":\"" name "\",\"image\":\"" image "\",\"command\":[\"/bin/httpd\",\"-f\"],"          \
    "\"ports\":[{\"name\":\"" name "\",\"containerPort\":8080},{\"containerPort\":9090}],"         \
    "\"env\":[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"B\",\"value\":\"2\"},"                  \
    "{\"name\":\"POD\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.name\"}}}],"          \
    "\"resources\":{\"requests\":{\"cpu\":\"100m\",\"memory\":\"64Mi\"},"                          \
    "\"limits\":{\"memory\":\"128Mi\"}},\"readinessProbe\":{\"httpGet\":{\"path\":\"/\","          \
    "\"port\":8080},\"periodSeconds\":5},\"livenessProbe\":{\"tcpSocket\":{\"port\":8080}},"       \
    "\"volumeMounts\":[{\"name\":\"data\",\"mountPath\":\"/data\"},"                               \
    "{\"name\":\"conf\",\"mountPath\":\"/conf\",\"readOnly\":true}],"                              \
    "\"securityContext\":{\"runAsNonRoot\":true,\"capabilities\":{\"drop\":[\"ALL\"]}}}"
#define DEPLOYMENT(image)                                                                          \
    "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"web\","          \
    "\"namespace\":\"default\",\"labels\":{\"app\":\"web\",\"tier\":\"front\"},"                   \
    "\"annotations\":{\"example.com/owner\":\"team\"}},\"spec\":{\"replicas\":3,"                  \
    "\"selector\":{\"matchLabels\":{\"app\":\"web\"}},\"strategy\":{\"type\":\"RollingUpdate\","   \
    "\"rollingUpdate\":{\"maxSurge\":1,\"maxUnavailable\":0}},\"template\":{\"metadata\":{"        \
    "\"labels\":{\"app\":\"web\"}},\"spec\":{\"containers\":[" CONTAINER(                          \
        "web",                                                                                     \
        image) "," CONTAINER("side",                                                               \
                             "side:1") "],\"volumes\":[{\"name\":\"data\",\"emptyDir\":{}},"       \
                                       "{\"name\":\"conf\",\"configMap\":{\"name\":\"conf\"}}],"   \
                                       "\"tolerations\":[{\"key\":\"k\","                          \
                                       "\"operator\":\"Exists\"}],"                                \
                                       "\"terminationGracePeriodSeconds\":10}}}}"

struct ctx {
    struct arena keep, a;
    struct json *config;
    struct api_deployment live, changed;
    struct str last, created;
    struct buf out;
};

static void must(bool ok)
{
    if (!ok)
        abort();
}

static struct json *tree_of(struct ctx *c, const struct api_deployment *d)
{
    return schema_to_json(&api_deployment_desc, d, SCHEMA_ENCODE_TYPE_META, &c->a);
}

/* The whole way: the set of the configuration, merge, prune, decode, who loses what, new owners. */
static void apply_deployment(struct ctx *c)
{
    struct str set, own;
    struct fields_diff d;
    struct api_deployment result;
    struct json *doc = tree_of(c, &c->live);
    must(fields_of_tree(&api_deployment_desc, c->config, &c->a, &set, NULL) == 0);
    apply_merge(&api_deployment_desc, &doc, c->config, &c->a);
    if (!fields_contain(set, c->last))
        apply_prune(&api_deployment_desc, doc, c->last, fields_union(set, c->created, &c->a),
                    &c->a);
    must(schema_decode_json(&api_deployment_desc, doc, &c->a, NULL, &result, NULL) == 0);
    must(fields_diff(&api_deployment_desc, &c->live, &result, "status", &c->a, &d));
    must(!fields_empty(fields_difference(c->created, d.changed, &c->a)));
    own = fields_strip(&api_deployment_desc, set, "status", &c->a);
    must(!fields_empty(own));
    arena_clear(&c->a);
}

static void strategic_deployment(struct ctx *c)
{
    struct api_deployment result;
    struct json *doc = tree_of(c, &c->live);
    must(patch_strategic(&api_deployment_desc, &doc, json_clone(c->config, &c->a), &c->a, NULL) ==
         0);
    must(schema_decode_json(&api_deployment_desc, doc, &c->a, NULL, &result, NULL) == 0);
    arena_clear(&c->a);
}

/* What a create and an update of one field pay. */
static void managed_create(struct ctx *c)
{
    static const struct api_deployment nothing;
    struct fields_diff d;
    must(fields_diff(&api_deployment_desc, &nothing, &c->live, "status", &c->a, &d));
    arena_clear(&c->a);
}

static void managed_update(struct ctx *c)
{
    struct fields_diff d;
    must(fields_diff(&api_deployment_desc, &c->live, &c->changed, "status", &c->a, &d));
    must(fields_contain(c->created, d.changed));
    arena_clear(&c->a);
}

static void managed_print(struct ctx *c)
{
    buf_clear(&c->out);
    fields_print(c->created, &c->out);
}

static void managed_parse(struct ctx *c)
{
    struct str set;
    must(fields_parse(&api_deployment_desc, buf_str(&c->out), &c->a, &set, NULL) == 0);
    arena_clear(&c->a);
}

static void prepare(struct ctx *c)
{
    static const char before[] = DEPLOYMENT("web:1"), after[] = DEPLOYMENT("web:2");
    static const struct api_deployment nothing;
    struct str text = {before, sizeof(before) - 1};
    struct fields_diff d;
    struct json *v;
    must(json_parse(text, &c->keep, NULL, &v, NULL) == 0);
    must(fields_of_tree(&api_deployment_desc, v, &c->keep, &c->last, NULL) == 0);
    must(schema_decode_json(&api_deployment_desc, v, &c->keep, NULL, &c->live, NULL) == 0);
    schema_default(&api_deployment_desc, &c->live, &c->keep);
    must(fields_diff(&api_deployment_desc, &nothing, &c->live, "status", &c->keep, &d));
    c->created = d.changed;
    text = (struct str){after, sizeof(after) - 1};
    must(json_parse(text, &c->keep, NULL, &c->config, NULL) == 0);
    must(schema_decode_json(&api_deployment_desc, c->config, &c->keep, NULL, &c->changed, NULL) ==
         0);
    schema_default(&api_deployment_desc, &c->changed, &c->keep);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(struct ctx *);
        bool rate;
    } cases[] = {{"apply_deployment", apply_deployment, true},
                 {"strategic_deployment", strategic_deployment, true},
                 {"managed_create", managed_create, false},
                 {"managed_update", managed_update, false},
                 {"managed_print", managed_print, false},
                 {"managed_parse", managed_parse, false}};
    static struct ctx c;
    const int rounds = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 20000;
    prepare(&c);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct timespec t0, t1;
        if (argc > 1 && !str_eqz(str_z(argv[1]), cases[i].name))
            continue;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0);
        for (int k = 0; k < rounds; k++)
            cases[i].run(&c);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1);
        double s = (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) / 1e9;
        if (cases[i].rate)
            printf("%s %.0f per_s\n", cases[i].name, rounds / s);
        else
            printf("%s %.2f us\n", cases[i].name, s * 1e6 / rounds);
    }
    printf("managed_bytes %zu bytes (%zu as JSON)\n", c.created.n, c.out.n);
    buf_fini(&c.out);
    arena_fini(&c.a);
    arena_fini(&c.keep);
    return 0;
}
