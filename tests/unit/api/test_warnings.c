/* What is warned of: an object as JSON, and all that is said of it. */
#include "api/warnings.h"

#include "api/tables.gen.h"
#include "base/buf.h"
#include "codec/json.h"
#include "schema/schema.h"
#include "test.h"

static struct arena arena;

static void *decode(const struct schema_kind *k, const char *text)
{
    struct json *j;
    struct error err = {0};
    struct schema_decode opts = {0};
    void *msg = schema_new(k->desc, &arena);

    assert_int_equal(json_parse(str_z(text), &arena, NULL, &j, &err), 0);
    int r = schema_decode_json(k->desc, j, &arena, &opts, msg, &err);
    if (r < 0)
        print_error("%.*s\n", STR_ARG(err.message));
    assert_int_equal(r, 0);
    error_fini(&err);
    return msg;
}

/* All warnings, "|" after each. */
static struct str warned(const struct schema_kind *k, const char *text, const char *old)
{
    struct warnings w = {.a = &arena};
    struct buf b = {0};

    api_warnings(k, decode(k, text), old ? decode(k, old) : NULL, &w);
    for (uint32_t i = 0; i < w.n; i++)
        buf_printf(&b, "%.*s|", STR_ARG(w.v[i]));
    struct str all = arena_str(&arena, buf_str(&b));
    buf_fini(&b);
    return all;
}

static const struct row {
    int kind;
    const char *object, *warnings;
} rows[] = {
    {KIND_POD, "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"containers\":[{\"name\":\"c\"}]}}", ""},
    {KIND_POD, "{\"metadata\":{\"name\":\"a.b\"}}",
     "metadata.name: this is used in Pod names and hostnames, which can result in surprising "
     "behavior; a DNS label is recommended: [must not contain dots]|"},
    {KIND_POD, "{\"metadata\":{\"finalizers\":[\"mine\",\"a.io/b\",\"orphan\"]}}",
     "metadata.finalizers: \"mine\": prefer a domain-qualified finalizer name including a path (/) "
     "to avoid accidental conflicts with other finalizer writers|"},
    {KIND_POD,
     "{\"metadata\":{\"annotations\":{\"seccomp.security.alpha.kubernetes.io/pod\":\"x\","
     "\"container.apparmor.security.beta.kubernetes.io/c\":\"y\"}}}",
     "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: deprecated since "
     "v1.30; use the \"appArmorProfile\" field instead|"
     "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; "
     "use the \"seccompProfile\" field instead|"},
    {KIND_POD,
     "{\"spec\":{\"nodeSelector\":{\"beta.kubernetes.io/os\":\"linux\",\"mine\":\"x\"},"
     "\"terminationGracePeriodSeconds\":-1}}",
     "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" "
     "instead|"
     "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be "
     "treated as 1|"},
    {KIND_POD,
     "{\"spec\":{\"affinity\":{\"nodeAffinity\":{"
     "\"requiredDuringSchedulingIgnoredDuringExecution\":"
     "{\"nodeSelectorTerms\":[{},{\"matchExpressions\":[{\"key\":"
     "\"failure-domain.beta.kubernetes.io/zone\",\"operator\":\"Exists\"}]}]}},"
     "\"podAntiAffinity\":{\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":1,"
     "\"podAffinityTerm\":{\"topologyKey\":\"x\"}}]}}}}",
     "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms["
     "1]"
     ".matchExpressions[0].key: failure-domain.beta.kubernetes.io/zone is deprecated since v1.17; "
     "use \"topology.kubernetes.io/zone\" instead|"
     "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]"
     ".podAffinityTerm.labelSelector: a null labelSelector results in matching no pod|"},
    {KIND_POD,
     "{\"spec\":{\"containers\":[{\"name\":\"c\",\"env\":[{\"name\":\"A\"},{\"name\":\"B\"},"
     "{\"name\":\"A\"}],\"ports\":[{\"containerPort\":80},{\"containerPort\":80}],"
     "\"resources\":{\"limits\":{\"memory\":\"100m\",\"cpu\":\"100m\"}}}]}}",
     "spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when "
     "using apply|"
     "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]|"
     "spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must "
     "be an integer|"},
    {KIND_POD,
     "{\"spec\":{\"volumes\":[{\"name\":\"a\",\"emptyDir\":{}},{\"name\":\"b\",\"gitRepo\":"
     "{\"repository\":\"x\"}}],\"imagePullSecrets\":[{\"name\":\"s\"},{\"name\":\"s\"},{}],"
     "\"hostAliases\":[{\"ip\":\"1.1.1.1\"},{\"ip\":\"1.1.1.1\"}],"
     "\"topologySpreadConstraints\":[{\"topologyKey\":\"x\"}]}}",
     "spec.volumes[1].gitRepo: deprecated in v1.11, and disabled by default in v1.33+|"
     "spec.imagePullSecrets[1].name: duplicate name \"s\"|"
     "spec.imagePullSecrets[2].name: invalid empty name \"\"|"
     "spec.hostAliases[1].ip: duplicate ip \"1.1.1.1\"|"
     "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no "
     "pod|"},
    {KIND_DEPLOYMENT,
     "{\"metadata\":{\"name\":\"a.b\"},\"spec\":{\"template\":{\"spec\":{\"initContainers\":[{"
     "\"name\":\"c\",\"env\":[{\"name\":\"A\"},{\"name\":\"A\"}]}]}}}}",
     "spec.template.spec.initContainers[0].env[1]: hides previous definition of \"A\", which may "
     "be "
     "dropped when using apply|"
     "metadata.name: this is used in Pod names and hostnames, which can result in surprising "
     "behavior; a DNS label is recommended: [must not contain dots]|"},
    {KIND_CRON_JOB,
     "{\"spec\":{\"schedule\":\"TZ=UTC * * * * *\",\"jobTemplate\":{\"spec\":{\"template\":{"
     "\"spec\":{\"nodeSelector\":{\"beta.kubernetes.io/arch\":\"x\"}}}}}}}",
     "spec.jobTemplate.spec.template.spec.nodeSelector[beta.kubernetes.io/arch]: deprecated since "
     "v1.14; use \"kubernetes.io/arch\" instead|"
     "CRON_TZ or TZ used in schedule \"TZ=UTC * * * * *\" is not officially supported, see "
     "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#time-zones for more "
     "details|"},
    {KIND_SERVICE,
     "{\"spec\":{\"clusterIP\":\"None\",\"sessionAffinity\":\"ClientIP\",\"externalName\":\"x\"}}",
     "spec.externalName is ignored when spec.type is not \"ExternalName\"|"
     "spec.SessionAffinity is ignored for headless services|"},
    {KIND_PERSISTENT_VOLUME_CLAIM,
     "{\"metadata\":{\"annotations\":{\"volume.beta.kubernetes.io/storage-class\":\"x\"}}}",
     "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use "
     "\"storageClassName\" attribute instead|"},
    {KIND_NODE, "{\"spec\":{\"externalID\":\"x\"}}",
     "spec.externalID: deprecated in v1.11 and is unused in newer versions of Kubernetes|"},
};

static void new_objects(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_str(warned(schema_kinds[rows[i].kind], rows[i].object, NULL), rows[i].warnings);
}

/* What stays as it was is not told again; what comes is. */
static void updates(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].kind == KIND_POD || rows[i].kind == KIND_DEPLOYMENT)
            assert_str(warned(schema_kinds[rows[i].kind], rows[i].object, rows[i].object), "");
    assert_true(warned(schema_kinds[KIND_POD], rows[6].object, rows[0].object).n > 0);
}

/* Kinds whose version is deprecated say so in the tables. */
static void kinds(void **state)
{
    unsigned n = 0;
    for (int i = 0; i < _KIND_MAX; i++)
        n += schema_kinds[i]->warning != NULL;
    assert_int_equal(n, 2);
    assert_str(str_z(schema_kinds[KIND_ENDPOINTS]->warning),
               "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice");
    assert_str(str_z(schema_kinds[KIND_COMPONENT_STATUS]->warning),
               "v1 ComponentStatus is deprecated in v1.19+");
}

static int fini(void **state)
{
    arena_fini(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_objects),
        cmocka_unit_test(updates),
        cmocka_unit_test(kinds),
    };
    return cmocka_run_group_tests_name("api/warnings", tests, NULL, fini);
}
