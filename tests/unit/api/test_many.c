/* Lists of tens of thousands: every rule still looks at all of them, and is done in no time. What
 * compares each with each takes minutes here, and fails by the time a test has. */
#include "test.h"

#include "api/hooks.h"
#include "api/pod.h"
#include "base/error.h"
#include "schema/schema.h"

#include <stdio.h>

#define MANY 30000

static struct arena arena;

static void clean(struct error *err)
{
    error_fini(err);
    *err = (struct error){0};
    arena_clear(&arena);
}

/* There is exactly one cause: this. */
static void assert_cause(const struct error *err, const char *field, const char *message)
{
    assert_int_equal(err->n_causes, 1);
    assert_str(err->causes->field, field);
    assert_str(err->causes->message, message);
}

static struct str name(const char *prefix, uint32_t i)
{
    return arena_printf(&arena, "%s%u", prefix, i);
}

static struct api_pod *pod_new(uint32_t n_containers)
{
    struct api_pod *p = ARENA_NEW(&arena, struct api_pod);
    p->spec.containers = ARENA_NEW_N(&arena, struct api_container, n_containers);
    p->spec.n_containers = n_containers;
    for (uint32_t i = 0; i < n_containers; i++) {
        p->spec.containers[i].name = name("c", i);
        p->spec.containers[i].image = STR("x");
    }
    return p;
}

static void containers(void **state)
{
    struct error err = {0};
    struct api_pod *p = pod_new(MANY);
    pod_validate(p, &err);
    assert_int_equal(err.n_causes, 0);
    p->spec.containers[MANY - 1].name = STR("c7");
    pod_validate(p, &err);
    assert_cause(&err, "spec.containers[29999].name", "Duplicate value: \"c7\"");
    clean(&err);
    /* an init container counts as well, and comes first */
    p = pod_new(2);
    p->spec.init_containers = pod_new(1)->spec.containers;
    p->spec.n_init_containers = 1;
    pod_validate(p, &err);
    assert_cause(&err, "spec.containers[0].name", "Duplicate value: \"c0\"");
    clean(&err);
}

static void ports(void **state)
{
    struct error err = {0};
    struct api_pod *p = pod_new(1);
    struct api_container_port *v = ARENA_NEW_N(&arena, struct api_container_port, MANY);
    p->spec.containers->ports = v;
    p->spec.containers->n_ports = MANY;
    for (uint32_t i = 0; i < MANY; i++)
        v[i] = (struct api_container_port){.name = name("p", i),
                                           .protocol = STR("TCP"),
                                           .host_port = (int32_t)i + 1,
                                           .container_port = 80};
    pod_validate(p, &err);
    assert_int_equal(err.n_causes, 0);
    v[MANY - 1].name = STR("p0");
    pod_validate(p, &err);
    assert_cause(&err, "spec.containers[0].ports[29999].name", "Duplicate value: \"p0\"");
    error_fini(&err);
    err = (struct error){0};
    v[MANY - 1].name = STR_NONE;
    v[MANY - 1].host_port = 1;
    v[5].host_ip = STR("127.0.0.1"); /* another address is another port */
    v[MANY - 2].host_port = v[5].host_port;
    v[7].protocol = STR("UDP");
    v[MANY - 3].host_port = v[7].host_port;
    pod_validate(p, &err);
    assert_cause(&err, "spec.containers[0].ports[29999].hostPort", "Duplicate value: \"1\"");
    clean(&err);
}

static void volumes(void **state)
{
    struct error err = {0};
    struct api_pod *p = pod_new(1);
    struct api_volume *v = ARENA_NEW_N(&arena, struct api_volume, MANY);
    struct api_volume_mount *m = ARENA_NEW_N(&arena, struct api_volume_mount, MANY);
    p->spec.volumes = v;
    p->spec.containers->volume_mounts = m;
    p->spec.n_volumes = p->spec.containers->n_volume_mounts = MANY;
    for (uint32_t i = 0; i < MANY; i++) {
        v[i].name = name("v", i);
        m[i].name = name("v", MANY - 1 - i);
        m[i].mount_path = name("/m", i);
    }
    pod_validate(p, &err);
    assert_int_equal(err.n_causes, 0);
    v[MANY - 1].name = STR("v3");
    m[0].name = STR("v4");
    pod_validate(p, &err);
    assert_cause(&err, "spec.volumes[29999].name", "Duplicate value: \"v3\"");
    error_fini(&err);
    err = (struct error){0};
    v[MANY - 1].name = STR("other");
    m[0].name = STR("none");
    pod_validate(p, &err);
    assert_cause(&err, "spec.containers[0].volumeMounts[0].name", "Not found: \"none\"");
    error_fini(&err);
    err = (struct error){0};
    m[0].name = STR("other");
    m[MANY - 1].mount_path = STR("/m9");
    pod_validate(p, &err);
    assert_cause(&err, "spec.containers[0].volumeMounts[29999].mountPath",
                 "Invalid value: \"/m9\": must be unique");
    clean(&err);
}

/* Old tolerations stay: their seconds may change, nothing else of them. */
static void tolerations(void **state)
{
    struct error err = {0};
    struct api_pod *p = pod_new(1), *o = pod_new(1);
    struct api_toleration *v = ARENA_NEW_N(&arena, struct api_toleration, MANY);
    struct api_toleration *w = ARENA_NEW_N(&arena, struct api_toleration, MANY);
    p->spec.tolerations = v;
    o->spec.tolerations = w;
    p->spec.n_tolerations = MANY;
    o->spec.n_tolerations = MANY - 1;
    for (uint32_t i = 0; i < MANY; i++) {
        v[i] = (struct api_toleration){.key = name("k", i), .effect = STR("NoExecute")};
        w[MANY - 1 - i] = v[i];
        w[MANY - 1 - i].has_toleration_seconds = true;
        w[MANY - 1 - i].toleration_seconds = i;
    }
    pod_validate_update(p, o, &err);
    assert_int_equal(err.n_causes, 0);
    w[0].value = STR("changed");
    pod_validate_update(p, o, &err);
    assert_int_equal(err.n_causes, 1);
    assert_str(err.causes->field, "spec");
    clean(&err);
}

static void validate(enum kind_id kind, const void *msg, struct error *err)
{
    error_fini(err);
    *err = (struct error){0};
    api_hooks_find(schema_kinds[kind])->validate(msg, err);
}

static void service_ports(void **state)
{
    struct error err = {0};
    struct api_service s = {.spec = {.type = STR("NodePort"), .n_ports = MANY}};
    struct api_service_port *v = ARENA_NEW_N(&arena, struct api_service_port, MANY);
    s.spec.ports = v;
    for (uint32_t i = 0; i < MANY; i++)
        v[i] = (struct api_service_port){.name = name("p", i),
                                         .protocol = i % 2 ? STR("TCP") : STR("UDP"),
                                         .port = (int32_t)(i / 2 + 1),
                                         .node_port = (int32_t)(i / 2 + 1)};
    validate(KIND_SERVICE, &s, &err);
    assert_int_equal(err.n_causes, 0);
    v[MANY - 1].name = STR("p0");
    validate(KIND_SERVICE, &s, &err);
    assert_cause(&err, "spec.ports[29999].name", "Duplicate value: \"p0\"");
    v[MANY - 1].name = STR("other");
    v[MANY - 1].port = 1;
    validate(KIND_SERVICE, &s, &err);
    assert_cause(&err, "spec.ports[29999]", "Duplicate value: {\"protocol\":\"TCP\",\"port\":1}");
    v[MANY - 1].port = 40000;
    v[MANY - 1].node_port = 1;
    validate(KIND_SERVICE, &s, &err);
    assert_cause(&err, "spec.ports[29999].nodePort", "Duplicate value: 1");
    /* an update that names no node ports keeps those there were */
    v[MANY - 1].node_port = 40001;
    struct api_service to = s, from = s;
    to.spec.ports = ARENA_NEW_N(&arena, struct api_service_port, MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        to.spec.ports[MANY - 1 - i] = v[i];
        to.spec.ports[MANY - 1 - i].node_port = 0;
    }
    api_hooks_find(schema_kinds[KIND_SERVICE])->prepare_update(&to, &from, &arena);
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(to.spec.ports[MANY - 1 - i].node_port, v[i].node_port);
    clean(&err);
}

static void secret_data(void **state)
{
    struct api_secret s = {0};
    struct kv_str *data = ARENA_NEW_N(&arena, struct kv_str, MANY);
    struct kv_str *text = ARENA_NEW_N(&arena, struct kv_str, MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        data[i] = (struct kv_str){arena_printf(&arena, "k%06u", i * 2), STR("old")};
        text[i] = (struct kv_str){arena_printf(&arena, "k%06u", i * 3), STR("new")};
    }
    text[1].value = STR_NONE;
    s.data = data;
    s.string_data = text;
    s.n_data = s.n_string_data = MANY;
    api_default(schema_kinds[KIND_SECRET], &s, &arena);
    assert_int_equal(s.n_data, MANY * 2 - MANY / 3 * 1);
    assert_int_equal(s.n_string_data, 0);
    for (uint32_t i = 1; i < s.n_data; i++)
        assert_true(str_cmp(s.data[i - 1].key, s.data[i].key) < 0);
    assert_str(*kv_str_get(s.data, s.n_data, STR("k000002")), "old");
    assert_str(*kv_str_get(s.data, s.n_data, STR("k000003")), "");
    assert_str(*kv_str_get(s.data, s.n_data, STR("k000006")), "new");
    assert_str(*kv_str_get(s.data, s.n_data, STR("k089997")), "new");
    arena_clear(&arena);
}

static void finalizers_and_taints(void **state)
{
    struct error err = {0};
    struct api_object_meta m = {.name = STR("n"), .uid = STR("u")}, o = m;
    struct str *v = ARENA_NEW_N(&arena, struct str, MANY),
               *w = ARENA_NEW_N(&arena, struct str, MANY);
    for (uint32_t i = 0; i < MANY; i++)
        v[i] = w[MANY - 1 - i] = name("f", i);
    m.finalizers = v;
    o.finalizers = w;
    m.n_finalizers = o.n_finalizers = MANY;
    o.deletion_timestamp = timestamp_of(1);
    api_validate_meta(schema_kinds[KIND_NODE], &m, &o, &err);
    assert_int_equal(err.n_causes, 0);
    w[0] = STR("gone");
    api_validate_meta(schema_kinds[KIND_NODE], &m, &o, &err);
    assert_cause(&err, "metadata.finalizers",
                 "Forbidden: no new finalizers can be added if the object is being deleted, found "
                 "new finalizers []string{\"f29999\"}");
    struct api_node n = {.spec = {.n_taints = MANY}};
    n.spec.taints = ARENA_NEW_N(&arena, struct api_taint, MANY);
    for (uint32_t i = 0; i < MANY; i++)
        n.spec.taints[i] = (struct api_taint){
            .key = v[i / 2], .effect = i % 2 ? STR("NoExecute") : STR("NoSchedule")};
    validate(KIND_NODE, &n, &err);
    assert_int_equal(err.n_causes, 0);
    n.spec.taints[MANY - 1].key = STR("f0");
    validate(KIND_NODE, &n, &err);
    assert_cause(&err, "spec.taints[29999]", "Duplicate value: \"f0\"");
    clean(&err);
}

/* The rule of the tables: lists are checked to their ends. */
static void unique_by_table(void **state)
{
    struct error err = {0};
    struct api_pod *p = pod_new(MANY);
    p->spec.containers[MANY - 1].name = STR("c3");
    assert_int_equal(schema_validate_at(&api_pod_spec_desc, &p->spec, NULL, STR("spec"), &err),
                     -EBADMSG);
    uint32_t found = 0;
    for (const struct error_cause *c = err.causes; c; c = c->next)
        found += str_is(c->field, "spec.containers[29999].name") &&
                 str_is(c->message, "Duplicate value: \"c3\"");
    assert_int_equal(found, 1);
    clean(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(containers),
        cmocka_unit_test(ports),
        cmocka_unit_test(volumes),
        cmocka_unit_test(tolerations),
        cmocka_unit_test(service_ports),
        cmocka_unit_test(secret_data),
        cmocka_unit_test(finalizers_and_taints),
        cmocka_unit_test(unique_by_table),
    };
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    arena_fini(&arena);
    return r;
}
