/* The audit log: which rule fits which request, and what becomes of files that are full. */
#include "apiserver/audit/audit.h"
#include "base/mem.h"
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "sys/fs.h"

#define HEAD "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: "

static struct audit_policy *policy(const char *text)
{
    struct audit_policy *p = NULL;
    struct error err = {0};
    if (audit_policy_parse(str_z(text), &p, &err) < 0)
        fail_msg("%.*s", STR_ARG(err.message));
    error_fini(&err);
    return p;
}

static const struct str devs = {"devs", 4};

static const struct audit_request pod_log = {.user = {"ann", 3},
                                             .groups = &devs,
                                             .n_groups = 1,
                                             .verb = {"get", 3},
                                             .ns = {"team", 4},
                                             .group = {"", 0},
                                             .resource = {"pods", 4},
                                             .subresource = {"log", 3},
                                             .name = {"web", 3},
                                             .is_resource = true},
                                  node = {.user = {"bob", 3},
                                          .verb = {"list", 4},
                                          .group = {"", 0},
                                          .resource = {"nodes", 5},
                                          .is_resource = true},
                                  version = {.user = {"ann", 3},
                                             .verb = {"get", 3},
                                             .path = {"/version", 8}};

static void first_rule_that_fits(void **state)
{
    static const struct {
        const char *rule;
        bool pod_log, node, version;
    } rows[] = {
        {"{}", true, true, true},
        {"{users: [ann]}", true, false, true},
        {"{userGroups: [devs, ops]}", true, false, false},
        {"{verbs: [list]}", false, true, false},
        {"{resources: [{group: ''}]}", true, true, false},
        {"{resources: [{group: apps}]}", false, false, false},
        {"{resources: [{group: '', resources: [pods]}]}", false, false, false},
        {"{resources: [{group: '', resources: ['pods/log']}]}", true, false, false},
        {"{resources: [{group: '', resources: ['pods/*', nodes]}]}", true, true, false},
        {"{resources: [{group: '', resources: ['*/log']}]}", true, false, false},
        {"{resources: [{group: '', resources: ['*']}]}", true, true, false},
        {"{resources: [{group: '', resources: ['pods/log'], resourceNames: [other]}]}", false,
         false, false},
        {"{namespaces: [team]}", true, false, false},
        {"{namespaces: ['']}", false, true, false},
        {"{nonResourceURLs: [/version]}", false, false, true},
        {"{nonResourceURLs: ['/ver*']}", false, false, true},
        {"{nonResourceURLs: [/ver]}", false, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[300];
        struct audit_omit omit;
        snprintf(text, sizeof(text), HEAD "[{level: Request, %s]}", rows[i].rule + 1);
        struct audit_policy *p = policy(text);
        bool got[] = {audit_policy_match(p, &pod_log, &omit) == AUDIT_REQUEST,
                      audit_policy_match(p, &node, &omit) == AUDIT_REQUEST,
                      audit_policy_match(p, &version, &omit) == AUDIT_REQUEST};
        if (got[0] != rows[i].pod_log || got[1] != rows[i].node || got[2] != rows[i].version)
            fail_msg("%s: %d %d %d", rows[i].rule, got[0], got[1], got[2]);
        audit_policy_free(p);
    }
}

static void levels_and_stages(void **state)
{
    struct audit_omit omit = {0};
    struct audit_policy *p =
        policy("{apiVersion: audit.k8s.io/v1, kind: Policy, omitStages: [RequestReceived], rules: "
               "[{level: None, users: [bob]}, {level: RequestResponse, verbs: [get], omitStages: "
               "[ResponseStarted], namespaces: [team]}, {level: Metadata}]}");
    assert_int_equal(audit_policy_match(p, &node, &omit), AUDIT_NONE);
    assert_int_equal(audit_policy_match(p, &pod_log, &omit), AUDIT_REQUEST_RESPONSE);
    assert_int_equal(omit.stages, AUDIT_STAGE_RECEIVED | AUDIT_STAGE_STARTED);
    assert_int_equal(audit_policy_match(p, &version, &omit), AUDIT_METADATA);
    assert_int_equal(omit.stages, AUDIT_STAGE_RECEIVED);
    audit_policy_free(p);
}

static void omitted_owners(void **state)
{
    struct audit_omit omit = {0};
    struct audit_policy *p = policy(
        "{apiVersion: audit.k8s.io/v1, kind: Policy, omitManagedFields: true, rules: [{level: "
        "Request, namespaces: [team], omitManagedFields: false}, {level: Request}]}");
    assert_int_equal(audit_policy_match(p, &pod_log, &omit), AUDIT_REQUEST);
    assert_false(omit.managed_fields);
    assert_int_equal(audit_policy_match(p, &node, &omit), AUDIT_REQUEST);
    assert_true(omit.managed_fields);
    audit_policy_free(p);
    p = policy(HEAD "[{level: Request, namespaces: [team], omitManagedFields: true}, {level: "
                    "Request}]}");
    assert_int_equal(audit_policy_match(p, &pod_log, &omit), AUDIT_REQUEST);
    assert_true(omit.managed_fields);
    assert_int_equal(audit_policy_match(p, &node, &omit), AUDIT_REQUEST);
    assert_false(omit.managed_fields);
    audit_policy_free(p);
}

static void bad_policies(void **state)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"{kind: Pod}", "audit policy: it is no Policy of audit.k8s.io/v1"},
        {HEAD "[]}", "audit policy: it needs rules, 1000 at most"},
        {HEAD "[{level: Some}]}", "audit policy: a rule has the level \"Some\""},
        {HEAD "[{level: None, omitStages: [Later]}]}", "audit policy: there is no stage \"Later\""},
        {HEAD "[{level: None, omitManagedFields: 1}]}",
         "audit policy: omitManagedFields is neither true nor false"},
        {HEAD "[{level: None, users: ann}]}", "audit policy: users is no list"},
        {HEAD "[{level: None, namespaces: [a], nonResourceURLs: [/b]}]}",
         "audit policy: a rule speaks of resources and of other paths"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct audit_policy *p = NULL;
        struct error err = {0};
        assert_int_equal(audit_policy_parse(str_z(rows[i].text), &p, &err), -EINVAL);
        assert_str(err.message, rows[i].message);
        assert_null(p);
        error_fini(&err);
    }
}

/* ---- files ---- */

static char dir[] = "/tmp/davit-audit-XXXXXX";

static void tell(struct audit *a, int number)
{
    struct buf b = {0};
    buf_printf(&b, "{\"number\":%d,\"filling\":\"%0*d\"}", number, 300, 0);
    audit_tell(a, &b);
}

/* Lines of a file, checked to go on from *next. */
static int lines_of(const char *name, int *next)
{
    char path[200], line[1000];
    int n = 0, number;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (; fgets(line, sizeof(line), f); n++) {
        assert_int_equal(sscanf(line, "{\"number\":%d,", &number), 1);
        assert_true(strchr(line, '\n') != NULL);
        if (*next >= 0)
            assert_int_equal(number, *next);
        *next = number + 1;
    }
    fclose(f);
    return n;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void files_are_put_aside(void **state)
{
    struct audit *a;
    struct error err = {0};
    char log[200], file[200];
    assert_non_null(mkdtemp(dir));
    snprintf(log, sizeof(log), "%s/audit.log", dir);
    snprintf(file, sizeof(file), "%s/policy.yaml", dir);
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    fputs(HEAD "[{level: Metadata}]}\n", f);
    fclose(f);
    /* backups of long ago, and somebody else's file */
    snprintf(file, sizeof(file), "%s/audit-2001-01-01T00-00-00.000.log", dir);
    fclose(fopen(file, "w"));
    snprintf(file, sizeof(file), "%s/audit-notes.log", dir);
    fclose(fopen(file, "w"));
    snprintf(file, sizeof(file), "%s/policy.yaml", dir);
    struct audit_opts o = {
        .policy_file = file, .path = log, .max_bytes = 1000, .max_backups = 2, .max_age_s = 86400};
    for (int i = 0; i < 12; i++) { /* one turn each, so that files fill up */
        assert_ok(audit_new(&o, &a, &err));
        tell(a, i);
        audit_free(a);
        usleep(2000); /* names have milliseconds */
    }
    char *names[8] = {0};
    size_t n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));)
        if (strncmp(e->d_name, "audit-2", 7) == 0 && n < ARRAY_LEN(names))
            names[n++] = xstrdup(e->d_name);
    closedir(d);
    qsort(names, n, sizeof(*names), by_name);
    assert_int_equal(n, 2); /* the youngest */
    assert_null(strstr(names[0], "2001"));
    int next = -1;
    assert_int_equal(lines_of(names[0], &next), 3);
    assert_int_equal(lines_of(names[1], &next), 3);
    assert_int_equal(lines_of("audit.log", &next), 3);
    assert_int_equal(next, 12);
    next = -1;
    assert_int_equal(lines_of("audit-notes.log", &next), 0);
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    /* many at once: none is lost, none is cut */
    o.max_bytes = 0;
    assert_ok(audit_new(&o, &a, &err));
    for (int i = 0; i < 5000; i++)
        tell(a, 12 + i);
    audit_free(a);
    next = -1;
    assert_int_equal(lines_of("audit.log", &next), 5003);
    assert_int_equal(next, 5012);
    o.path = "/nonexistent/audit.log";
    assert_int_equal(audit_new(&o, &a, &err), -ENOENT);
    error_fini(&err);
    assert_ok(sys_remove_tree(AT_FDCWD, dir));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_rule_that_fits), cmocka_unit_test(levels_and_stages),
        cmocka_unit_test(omitted_owners),       cmocka_unit_test(bad_policies),
        cmocka_unit_test(files_are_put_aside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
