/* Kubernetes' libraries: quantities, addresses, URLs, versions, formats, the authorizer. */
#include "celtest.h"

#define ROWS(...)                                                                                  \
    static const struct cel_row rows[] = {__VA_ARGS__};                                            \
    struct cel_lab lab = {.env = cel_env_new(0)};                                                  \
    lab_rows(&lab, rows, ARRAY_LEN(rows));                                                         \
    lab_fini(&lab)

static void test_quantity(void **state)
{
    ROWS({"quantity('1.5Gi')", "1536Mi"}, {"isQuantity('200M')", "true"},
         {"isQuantity('200Mx')", "false"},
         {"quantity('Three')", "error: quantities must match the regular expression "
                               "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"},
         {"quantity('100k').sign()", "1"}, {"quantity('-1').sign()", "-1"},
         {"quantity('0').sign()", "0"}, {"quantity('50k').isInteger()", "true"},
         {"quantity('50.5').isInteger()", "false"}, {"quantity('50k').asInteger()", "50000"},
         {"quantity('0.5').asInteger()", "error: cannot convert value to integer"},
         {"quantity('50.703k').asApproximateFloat()", "50703"},
         {"quantity('250m').asApproximateFloat()", "0.25"},
         {"quantity('1G').add(quantity('1G'))", "2G"}, {"quantity('50k').add(20)", "50020"},
         {"quantity('50k').sub(quantity('50k')).sign()", "0"},
         {"quantity('50k').sub(20000)", "30k"},
         {"quantity('200M').compareTo(quantity('0.2G'))", "0"},
         {"quantity('50M').isLessThan(quantity('100M'))", "true"},
         {"quantity('50M').isGreaterThan(quantity('100M'))", "false"},
         {"quantity('1Gi') == quantity('1024Mi')", "true"},
         {"quantity('1Gi') < quantity('2Gi')", "refused: '_<_'"});
}

static void test_ip(void **state)
{
    ROWS({"ip('127.0.0.1')", "127.0.0.1"}, {"string(ip('::ffff'))", "\"::ffff\""},
         {"isIP('192.168.0.1')", "true"}, {"isIP('256.0.0.1')", "false"},
         {"isIP('01.2.3.4')", "false"}, {"isIP('fe80::1%eth0')", "false"},
         {"isIP('::ffff:1.2.3.4')", "false"},
         {"ip('x')", "error: IP Address \"x\" parse error during conversion from string"},
         {"ip('::1').family()", "6"}, {"ip('1.2.3.4').family()", "4"},
         {"ip('0.0.0.0').isUnspecified()", "true"}, {"ip('127.0.0.9').isLoopback()", "true"},
         {"ip('::1').isLoopback()", "true"}, {"ip('224.0.0.1').isLinkLocalMulticast()", "true"},
         {"ip('ff02::1').isLinkLocalMulticast()", "true"},
         {"ip('169.254.1.1').isLinkLocalUnicast()", "true"},
         {"ip('fe80::1').isLinkLocalUnicast()", "true"},
         {"ip('8.8.8.8').isGlobalUnicast()", "true"},
         {"ip('255.255.255.255').isGlobalUnicast()", "false"},
         {"ip('10.0.0.1').isGlobalUnicast()", "true"}, {"ip.isCanonical('2001:db8::abcd')", "true"},
         {"ip.isCanonical('2001:DB8::ABCD')", "false"},
         {"ip.isCanonical('2001:db8:0:0:0:0:0:1')", "false"},
         {"ip('1:0:0:2:0:0:0:3')", "1:0:0:2::3"}, {"ip('::')", "::"}, {"ip('1::')", "1::"},
         {"ip('1:2:3:4:5:6:7:8')", "1:2:3:4:5:6:7:8"}, {"ip('1:0:3:4:5:6:7:8')", "1:0:3:4:5:6:7:8"},
         {"ip('10.0.0.1') == ip('10.0.0.1')", "true"}, {"ip('::1') == ip('0:0::1')", "true"},
         {"cidr('192.168.0.0/24')", "192.168.0.0/24"}, {"isCIDR('10.0.0.0/8')", "true"},
         {"isCIDR('10.0.0.0/33')", "false"}, {"isCIDR('10.0.0.0')", "false"},
         {"isCIDR('10.0.0.0/08')", "false"},
         {"cidr('192.168.0.0/24').containsIP('192.168.0.5')", "true"},
         {"cidr('192.168.0.0/24').containsIP(ip('192.168.1.5'))", "false"},
         {"cidr('192.168.0.0/24').containsIP('x')",
          "error: IP Address \"x\" parse error during conversion from string"},
         {"cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')", "true"},
         {"cidr('10.0.0.0/16').containsCIDR(cidr('10.0.0.0/8'))", "false"},
         {"cidr('10.1.2.3/8').masked()", "10.0.0.0/8"}, {"cidr('10.1.2.3/8').ip()", "10.1.2.3"},
         {"cidr('2001:db8::/32').prefixLength()", "32"},
         {"string(cidr('10.0.0.0/8'))", "\"10.0.0.0/8\""},
         {"cidr('::/0').containsIP('1.2.3.4')", "false"},
         {"cidr('10.128.0.0/9').containsIP('10.127.255.255')", "false"},
         {"cidr('0.0.0.0/0').containsIP('1.2.3.4')", "true"});
}

static void test_url(void **state)
{
    ROWS({"url('https://user:pass@example.com:80/path?query=val#fragment').getHost()",
          "\"example.com:80\""},
         {"isURL('/absolute-path')", "true"}, {"isURL('https://a:b:c/')", "false"},
         {"isURL('../relative-path')", "false"}, {"isURL('')", "false"},
         {"isURL('https://exa mple.com/')", "false"}, {"isURL('https://example.com/%zz')", "false"},
         {"isURL('mailto:x@y')", "true"}, {"isURL(':foo')", "false"},
         {"url('/path').getScheme()", "\"\""},
         {"url('HTTPS://example.com/').getScheme()", "\"https\""},
         {"url('https://example.com/').getHost()", "\"example.com\""},
         {"url('https://[::1]:80/').getHost()", "\"[::1]:80\""},
         {"url('https://[::1]:80/').getHostname()", "\"::1\""},
         {"url('https://[::1]/').getHostname()", "\"::1\""},
         {"url('https://example.com:80/').getHostname()", "\"example.com\""},
         {"url('https://example.com:80/').getPort()", "\"80\""},
         {"url('https://example.com/').getPort()", "\"\""},
         {"url('https://example.com/path with spaces/').getEscapedPath()",
          "\"/path%20with%20spaces/\""},
         {"url('https://example.com/a%2Fb').getEscapedPath()", "\"/a%2Fb\""},
         {"url('https://example.com').getEscapedPath()", "\"\""},
         {"url('https://example.com/path?k1=a&k2=b&k2=c').getQuery()",
          "{\"k1\": [\"a\"], \"k2\": [\"b\", \"c\"]}"},
         {"url('https://example.com/path?key with spaces=value+x%41').getQuery()",
          "{\"key with spaces\": [\"value xA\"]}"},
         {"url('https://example.com/path?').getQuery()", "{}"},
         {"url('https://example.com/path?a=1;b').getQuery()", "{}"},
         {"url('x')", "error: URL parse error during conversion from string: parse \"x\": invalid "
                      "URI for request"},
         {"url('/a') == url('/a')", "true"});
}

static void test_semver(void **state)
{
    ROWS({"isSemver('1.0.0')", "true"}, {"isSemver('1.0')", "false"},
         {"isSemver('v1.0.0')", "false"}, {"isSemver('01.0.0')", "false"},
         {"isSemver('1.0.0-alpha.1+build.5')", "true"}, {"isSemver('1.0.0-01')", "false"},
         {"isSemver('1.0.0-')", "false"}, {"isSemver('v1.0', true)", "true"},
         {"isSemver('hello', true)", "false"}, {"isSemver('1.0-alpha', true)", "false"},
         {"isSemver('1.0', false)", "false"}, {"semver('1.2.3').major()", "1"},
         {"semver('1.2.3').minor()", "2"}, {"semver('1.2.3').patch()", "3"},
         {"semver('01.01.01', true) == semver('1.1.1')", "true"},
         {"semver('v1', true).compareTo(semver('1.0.0'))", "0"},
         {"semver('1.2.3').compareTo(semver('2.0.0'))", "-1"},
         {"semver('1.2.3').isGreaterThan(semver('1.2.3-rc.1'))", "true"},
         {"semver('1.0.0-alpha').isLessThan(semver('1.0.0-alpha.1'))", "true"},
         {"semver('1.0.0-alpha.2').isLessThan(semver('1.0.0-alpha.10'))", "true"},
         {"semver('1.0.0-1').isLessThan(semver('1.0.0-a'))", "true"},
         {"semver('1.0.0+a') == semver('1.0.0+b')", "true"},
         {"semver('x')", "error: invalid semantic version \"x\""},
         {"semver('00.0.0', true).major()", "0"});
}

static void test_formats(void **state)
{
    ROWS({"format.dns1123Label().validate('my-name').hasValue()", "false"},
         {"format.dns1123Label().validate('My').hasValue()", "true"},
         {"format.dns1123Label().validate('My').value().size()", "1"},
         {"format.dns1123Label().validate('my-').hasValue()", "true"},
         {"format.dns1123LabelPrefix().validate('my-').hasValue()", "false"},
         {"format.dns1123Subdomain().validate('a.b').hasValue()", "false"},
         {"format.dns1035Label().validate('1a').hasValue()", "true"},
         {"format.qualifiedName().validate('example.com/name').hasValue()", "false"},
         {"format.labelValue().validate('').hasValue()", "false"},
         {"format.uri().validate('http://a/').hasValue()", "false"},
         {"format.uri().validate('x').value()", "[\"invalid URI for request\"]"},
         {"format.uuid().validate('123e4567-e89b-12d3-a456-426614174000').hasValue()", "false"},
         {"format.uuid().validate('123').value()", "[\"does not match the UUID format\"]"},
         {"format.byte().validate('aGVsbG8=').hasValue()", "false"},
         {"format.byte().validate('!').value()", "[\"invalid base64\"]"},
         {"format.date().validate('2021-02-29').value()", "[\"invalid date\"]"},
         {"format.date().validate('2024-02-29').hasValue()", "false"},
         {"format.datetime().validate('2021-01-01T00:00:00Z').hasValue()", "false"},
         {"format.datetime().validate('x').value()", "[\"invalid datetime\"]"},
         {"format.named('uuid').hasValue()", "true"}, {"format.named('nope').hasValue()", "false"},
         {"format.named('uuid').value() == format.uuid()", "true"},
         {"format.nope()", "refused: undeclared reference to 'format'"});
}

/* --- The authorizer -----------------------------------------------------------------------------
 */

struct asked {
    struct cel_authz_check last;
    unsigned n;
};
static void answer(void *ctx, const struct cel_authz_check *what, struct arena *a,
                   struct cel_authz_result *ret)
{
    struct asked *s = ctx;
    /* What is asked may be text of the program, which is gone when the tests look. */
    s->last = *what;
    s->last.account_namespace = arena_str(a, what->account_namespace);
    s->last.account_name = arena_str(a, what->account_name);
    s->last.group = arena_str(a, what->group);
    s->last.resource = arena_str(a, what->resource);
    s->last.subresource = arena_str(a, what->subresource);
    s->last.namespace_ = arena_str(a, what->namespace_);
    s->last.name = arena_str(a, what->name);
    s->last.field_selector = arena_str(a, what->field_selector);
    s->last.label_selector = arena_str(a, what->label_selector);
    s->n++;
    ret->allowed = str_is(what->verb, "get");
    ret->reason = arena_printf(a, "%.*s is looked at", STR_ARG(what->verb));
    if (str_is(what->verb, "fail"))
        ret->error = STR("it broke");
}

static void test_authorizer(void **state)
{
    static const struct cel_row rows[] = {
        {"authorizer.group('apps').resource('deployments').namespace('n').name('x').check('get')."
         "allowed()",
         "true"},
        {"authorizer.path('/healthz').check('post').allowed()", "false"},
        {"authorizer.path(' ').check('get').allowed()", "error: path must not be empty"},
        {"authorizer.group('').resource('').check('get').allowed()",
         "error: resource must not be empty"},
        {"authorizer.path('/x').check('get').reason()", "\"get is looked at\""},
        {"authorizer.path('/x').check('get').errored()", "false"},
        {"authorizer.path('/x').check('fail').errored()", "true"},
        {"authorizer.path('/x').check('fail').error()", "\"it broke\""},
        {"authorizer.path('/x').check('get').error()", "\"\""},
        {"authorizer.serviceAccount('a b', 'x').path('/').check('get').allowed()",
         "error: Invalid service account namespace"},
        {"authorizer.serviceAccount('ns', 'X').path('/').check('get').allowed()",
         "error: Invalid service account name"},
        {"authorizer.allowed()",
         "refused: 'allowed' applied to 'kubernetes.authorization.Authorizer.()'"},
        {"authorizer == authorizer", "true"},
        {"authorizer.group('a') == authorizer.group('b')", "false"},
        /* two checks fit in the limit of cost, a third does not */
        {"[1, 2].all(i, authorizer.path('/x').check('get').allowed())", "true"},
        {"[1, 2, 3].all(i, authorizer.path('/x').check('get').allowed())",
         "cancelled: operation cancelled: actual cost limit exceeded"},
        /* a variable with a dot in its name is no member of the other one */
        {"authorizer.requestResource.check('get').allowed()", "true"},
        {"authorizer.requestResource.check('put').allowed()", "false"},
        {"[{'requestResource': 1}].all(authorizer, authorizer.requestResource == 1)", "true"},
    };
    struct asked asked = {0};
    struct cel_authorizer who = {answer, &asked};
    struct cel_lab lab = {.env = cel_env_new(0)};
    lab_var(&lab, "authorizer", cel_type_of(CEL_AUTHORIZER), cel_authorizer(&who, &lab.arena));
    struct cel_authz_check own = {.resource = STR("pods")};
    lab_var(&lab, "authorizer.requestResource", cel_type_of(CEL_RESOURCE_CHECK),
            cel_resource_check(&who, &own, &lab.arena));
    lab_rows(&lab, rows, ARRAY_LEN(rows));
    struct cel_result r;
    assert_str(
        lab_run(&lab,
                "authorizer.serviceAccount('ns', "
                "'sa').group('g').resource('pods').subresource('log').namespace('n').name('p')"
                ".fieldSelector('a=b').labelSelector('c=d').check('get').allowed()",
                &lab.arena, &r),
        "true");
    assert_str(asked.last.account_namespace, "ns");
    assert_str(asked.last.account_name, "sa");
    assert_str(asked.last.group, "g");
    assert_str(asked.last.resource, "pods");
    assert_str(asked.last.subresource, "log");
    assert_str(asked.last.namespace_, "n");
    assert_str(asked.last.name, "p");
    assert_str(asked.last.field_selector, "a=b");
    assert_str(asked.last.label_selector, "c=d");
    assert_false(asked.last.is_path);
    unsigned before = asked.n;
    (void)lab_run(&lab, "[1, 2, 3, 4, 5].all(i, authorizer.path('/x').check('get').allowed())",
                  &lab.arena, &r);
    assert_int_equal(asked.n - before, 2); /* what is over the limit is not asked */
    lab_fini(&lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantity), cmocka_unit_test(test_ip),
        cmocka_unit_test(test_url),      cmocka_unit_test(test_semver),
        cmocka_unit_test(test_formats),  cmocka_unit_test(test_authorizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
