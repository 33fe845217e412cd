/* The Pod Security Standards: a row for each control, with the level and version that knows it. */
#include "api/pod_security.h"
#include "codec/yaml.h"
#include "schema/schema.h"
#include "test.h"

#define B   POD_SECURITY_BASELINE
#define R   POD_SECURITY_RESTRICTED
#define NOW POD_SECURITY_LATEST

/* What the restricted level wants of a pod and of container c. */
#define POD_OK "runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}"
#define CTR_OK "allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}"

struct row {
    const char *what;
    const char *spec; /* YAML of metadata and spec */
    enum pod_security_level level;
    uint32_t minor;
    const char *details; /* NULL: within the level */
};

#define CTR(more)      "spec: {containers: [{name: c" more "}]}"
#define SEC(more)      CTR(", securityContext: {" more "}")
#define POD_SEC(more)  "spec: {securityContext: {" more "}, containers: [{name: c}]}"
#define GOOD(pod, ctr) /* a restricted pod but for these */                                        \
    "spec: {securityContext: {" pod "}, containers: [{name: c, securityContext: {" ctr "}}]}"
#define HOST_PATH "volumes: [{name: h, hostPath: {path: /}}]"

static const struct row rows[] = {
    {"anything goes", SEC("privileged: true"), POD_SECURITY_PRIVILEGED, NOW, NULL},
    {"a plain pod", CTR(""), B, NOW, NULL},
    {"a plain pod, restricted", CTR(""), R, NOW,
     "allowPrivilegeEscalation != false (container \"c\" must set "
     "securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"c\" "
     "must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or "
     "container \"c\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or "
     "container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or "
     "\"Localhost\")"},
    {"all that is asked for", GOOD(POD_OK, CTR_OK), R, NOW, NULL},
    {"before most of it", CTR(""), R, 7,
     "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true)"},

    {"apparmor", POD_SEC("appArmorProfile: {type: Unconfined}"), B, NOW,
     "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\")"},
    {"apparmor, localhost", POD_SEC("appArmorProfile: {type: Localhost}"), B, NOW, NULL},
    {"apparmor, annotation",
     "metadata: {annotations: {container.apparmor.security.beta.kubernetes.io/c: "
     "unconfined}}\n" CTR(""),
     B, NOW,
     "forbidden AppArmor profile (annotation must not set AppArmor profile type to "
     "\"container.apparmor.security.beta.kubernetes.io/c=\"unconfined\"\")"},
    {"apparmor, good annotation",
     "metadata: {annotations: {container.apparmor.security.beta.kubernetes.io/c: "
     "localhost/x}}\n" CTR(""),
     B, NOW, NULL},

    {"capabilities", SEC("capabilities: {add: [SYS_ADMIN, CHOWN, NET_RAW]}"), B, NOW,
     "non-default capabilities (container \"c\" must not include \"NET_RAW\", \"SYS_ADMIN\" in "
     "securityContext.capabilities.add)"},
    {"capabilities, default", SEC("capabilities: {add: [CHOWN, SETFCAP]}"), B, NOW, NULL},
    {"capabilities, restricted",
     GOOD(POD_OK, "allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [CHOWN, "
                  "NET_BIND_SERVICE]}"),
     R, NOW,
     "unrestricted capabilities (container \"c\" must not include \"CHOWN\" in "
     "securityContext.capabilities.add)"},
    {"capabilities, restricted before 1.22",
     GOOD(POD_OK, "allowPrivilegeEscalation: false, capabilities: {add: [SYS_TIME]}"), R, 21,
     "non-default capabilities (container \"c\" must not include \"SYS_TIME\" in "
     "securityContext.capabilities.add)"},

    {"host namespaces", "spec: {hostNetwork: true, hostPID: true, hostIPC: true}", B, NOW,
     "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)"},
    {"host path", "spec: {" HOST_PATH "}", B, NOW, "hostPath volumes (volume \"h\")"},
    {"host path, restricted", "spec: {" HOST_PATH "}", R, NOW,
     "restricted volume types (volume \"h\" uses restricted volume type \"hostPath\")"},
    {"volumes",
     "spec: {volumes: [{name: a, nfs: {server: s, path: p}}, {name: b, image: {reference: r}}, "
     "{name: d, emptyDir: {}}, {name: e, projected: {sources: []}}, {name: f, csi: {driver: d}}]}",
     R, NOW,
     "restricted volume types (volumes \"a\", \"b\" use restricted volume types \"nfs\", "
     "\"unknown\")"},
    {"volumes, baseline", "spec: {volumes: [{name: a, nfs: {server: s, path: p}}]}", B, NOW, NULL},
    {"host ports",
     "spec: {containers: [{name: c, ports: [{hostPort: 80}, {hostPort: 443}, {containerPort: "
     "1}]}, {name: d, ports: [{hostPort: 80}]}]}",
     B, NOW, "hostPort (containers \"c\", \"d\" use hostPorts 443, 80)"},
    {"probes",
     CTR(", livenessProbe: {httpGet: {host: 10.0.0.1}}, lifecycle: {preStop: {tcpSocket: {host: "
         "b}}}"),
     B, NOW,
     "probe or lifecycle host (container \"c\" uses probe or lifecycle hosts \"10.0.0.1\", "
     "\"b\")"},
    {"probes before 1.34", CTR(", livenessProbe: {httpGet: {host: 10.0.0.1}}"), B, 33, NULL},
    {"probes without a host", CTR(", livenessProbe: {httpGet: {path: /}}"), B, NOW, NULL},
    {"privileged", SEC("privileged: true"), B, NOW,
     "privileged (container \"c\" must not set securityContext.privileged=true)"},
    {"privileged, init and ephemeral",
     "spec: {initContainers: [{name: i, securityContext: {privileged: true}}], "
     "ephemeralContainers: [{name: e, securityContext: {privileged: true}}]}",
     B, NOW, "privileged (containers \"i\", \"e\" must not set securityContext.privileged=true)"},
    {"privileged, no", SEC("privileged: false"), B, NOW, NULL},
    {"proc", SEC("procMount: Unmasked"), B, NOW,
     "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")"},
    {"proc, default", SEC("procMount: Default"), B, NOW, NULL},
    {"proc of its own users",
     "spec: {hostUsers: false, containers: [{name: c, securityContext: {procMount: Unmasked}}]}", B,
     NOW, NULL},
    {"proc of its own users before 1.35",
     "spec: {hostUsers: false, containers: [{name: c, securityContext: {procMount: Unmasked}}]}", B,
     34, "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")"},
    {"proc, restricted", GOOD(POD_OK, CTR_OK ", procMount: Unmasked"), R, NOW,
     "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")"},
    {"selinux", POD_SEC("seLinuxOptions: {type: spc_t, user: u}"), B, NOW,
     "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"spc_t\"; user may "
     "not be set)"},
    {"selinux, role", SEC("seLinuxOptions: {role: r}"), B, NOW,
     "seLinuxOptions (container \"c\" set forbidden securityContext.seLinuxOptions: role may not "
     "be set)"},
    {"selinux, engine", POD_SEC("seLinuxOptions: {type: container_engine_t}"), B, 31, NULL},
    {"selinux, engine before 1.31", POD_SEC("seLinuxOptions: {type: container_engine_t}"), B, 30,
     "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "
     "\"container_engine_t\")"},
    {"seccomp", POD_SEC("seccompProfile: {type: Unconfined}"), B, NOW,
     "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")"},
    {"seccomp, restricted",
     GOOD("runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}",
          CTR_OK ", seccompProfile: {type: Unconfined}"),
     R, NOW,
     "seccompProfile (container \"c\" must not set securityContext.seccompProfile.type to "
     "\"Unconfined\")"},
    {"seccomp, annotation",
     "metadata: {annotations: {seccomp.security.alpha.kubernetes.io/pod: unconfined}}\n" CTR(""), B,
     18,
     "seccompProfile (forbidden annotation "
     "seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")"},
    {"sysctls",
     POD_SEC("sysctls: [{name: kernel.msgmax}, {name: net.ipv4.tcp_syncookies}, {name: a.b}]"), B,
     NOW, "forbidden sysctls (kernel.msgmax, a.b)"},
    {"sysctls of 1.29", POD_SEC("sysctls: [{name: net.ipv4.tcp_keepalive_time}]"), B, 29, NULL},
    {"sysctls before 1.29", POD_SEC("sysctls: [{name: net.ipv4.tcp_keepalive_time}]"), B, 28,
     "forbidden sysctls (net.ipv4.tcp_keepalive_time)"},
    {"host process",
     "spec: {securityContext: {windowsOptions: {hostProcess: true}}, containers: [{name: c, "
     "securityContext: {windowsOptions: {hostProcess: true}}}]}",
     B, NOW,
     "hostProcess (pod and container \"c\" must not set "
     "securityContext.windowsOptions.hostProcess=true)"},

    {"escalation", GOOD(POD_OK, "allowPrivilegeEscalation: true, capabilities: {drop: [ALL]}"), R,
     NOW,
     "allowPrivilegeEscalation != false (container \"c\" must set "
     "securityContext.allowPrivilegeEscalation=false)"},
    {"windows",
     "spec: {os: {name: windows}, securityContext: {runAsNonRoot: true}, containers: "
     "[{name: c}]}",
     R, NOW, NULL},
    {"root by flag",
     GOOD("runAsNonRoot: false, seccompProfile: {type: Localhost}", CTR_OK ", runAsNonRoot: false"),
     R, NOW,
     "runAsNonRoot != true (pod and container \"c\" must not set "
     "securityContext.runAsNonRoot=false)"},
    {"root by container only",
     GOOD("seccompProfile: {type: Localhost}", CTR_OK ", runAsNonRoot: true"), R, NOW, NULL},
    {"root by number", GOOD(POD_OK ", runAsUser: 0", CTR_OK), R, NOW,
     "runAsUser=0 (pod must not set runAsUser=0)"},
    {"root by number before 1.23", GOOD(POD_OK ", runAsUser: 0", CTR_OK), R, 22, NULL},
    {"root of its own users",
     "spec: {hostUsers: false, securityContext: {runAsUser: 0, seccompProfile: {type: "
     "RuntimeDefault}}, containers: [{name: c, securityContext: {" CTR_OK "}}]}",
     R, NOW, NULL},
};

static struct api_pod *pod_of(struct arena *a, const char *yaml)
{
    struct json *v;
    struct error err = {0};
    struct api_pod *p = schema_new(&api_pod_desc, a);
    int r = yaml_parse(str_z(yaml), a, &v, &err);
    if (r >= 0)
        r = schema_decode_json(&api_pod_desc, v, a, NULL, p, &err);
    if (r < 0)
        fail_msg("%s: %.*s", yaml, STR_ARG(err.message));
    error_fini(&err);
    return p;
}

static void says_what_is_wrong(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct buf text = {0};
        struct api_pod *p = pod_of(&a, rows[i].spec);
        bool good = pod_security_check((struct pod_security){rows[i].level, rows[i].minor},
                                       &p->metadata, &p->spec, &text, NULL);
        if (good != !rows[i].details || (!good && !str_eqz(buf_str(&text), rows[i].details)))
            fail_msg("%s:\n got %.*s\nwant %s", rows[i].what, STR_ARG(buf_str(&text)),
                     rows[i].details ? rows[i].details : "nothing");
        buf_fini(&text);
        arena_fini(&a);
    }
}

static void gives_reasons_alone(void **state)
{
    struct arena a = {0};
    struct buf text = {0};
    struct api_pod *p = pod_of(&a, "spec: {hostPID: true, containers: [{name: c}]}");
    assert_false(
        pod_security_check((struct pod_security){R, NOW}, &p->metadata, &p->spec, NULL, &text));
    assert_str(buf_str(&text), "host namespaces, allowPrivilegeEscalation != false, unrestricted "
                               "capabilities, runAsNonRoot != true, seccompProfile");
    buf_fini(&text);
    arena_fini(&a);
}

/* ---- labels ---- */

struct label_row {
    const char *enforce, *enforce_version, *warn;
    const char *want_enforce, *want_warn;
    const char *cause;
};

static const struct label_row label_rows[] = {
    {NULL, NULL, NULL, "privileged:latest", "privileged:latest", NULL},
    {"baseline", NULL, NULL, "baseline:latest", "baseline:latest", NULL},
    {"baseline", "v1.30", "restricted", "baseline:v1.30", "restricted:latest", NULL},
    {"baseline", "v1.30", NULL, "baseline:v1.30", "baseline:v1.30", NULL},
    {"restricted", "latest", "privileged", "restricted:latest", "privileged:latest", NULL},
    {"baseline", "v1.99999999999", NULL, "baseline:v1.4294967294", "baseline:v1.4294967294", NULL},
    {"strict", NULL, NULL, "restricted:latest", "privileged:latest",
     "Invalid value: \"strict\": must be one of privileged, baseline, restricted"},
    {"baseline", "v1.030", NULL, "baseline:latest", "baseline:latest",
     "Invalid value: \"v1.030\": must be \"latest\" or \"v1.x\""},
    {"baseline", "v2.1", NULL, "baseline:latest", "baseline:latest",
     "Invalid value: \"v2.1\": must be \"latest\" or \"v1.x\""},
    {NULL, NULL, "loud", "privileged:latest", "privileged:latest",
     "Invalid value: \"loud\": must be one of privileged, baseline, restricted"},
};

static void reads_labels(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(label_rows); i++) {
        const struct label_row *row = &label_rows[i];
        struct kv_str v[3];
        struct pod_security_policy p;
        struct error err = {0};
        struct buf enforce = {0}, warn = {0};
        uint32_t n = 0;
        if (row->enforce)
            v[n++] = (struct kv_str){STR(POD_SECURITY_PREFIX "enforce"), str_z(row->enforce)};
        if (row->enforce_version)
            v[n++] = (struct kv_str){STR(POD_SECURITY_PREFIX "enforce-version"),
                                     str_z(row->enforce_version)};
        if (row->warn)
            v[n++] = (struct kv_str){STR(POD_SECURITY_PREFIX "warn"), str_z(row->warn)};
        pod_security_policy(v, n, &p, &err);
        pod_security_print(p.enforce, &enforce);
        pod_security_print(p.warn, &warn);
        assert_str(buf_str(&enforce), row->want_enforce);
        assert_str(buf_str(&warn), row->want_warn);
        assert_int_equal(err.n_causes, row->cause ? 1 : 0);
        if (row->cause)
            assert_str(err.causes->message, row->cause);
        assert_int_equal(p.audit.level, POD_SECURITY_PRIVILEGED);
        error_fini(&err);
        buf_fini(&enforce);
        buf_fini(&warn);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(gives_reasons_alone),
        cmocka_unit_test(reads_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
