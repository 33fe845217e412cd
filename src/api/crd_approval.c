/* Groups of the community (k8s.io, kubernetes.io and what ends in them): a definition in one of
 * them says in an annotation where its API was approved, or that it was not. A new definition must;
 * one from before may stay as it is as long as that does not change. What it says is shown as the
 * condition KubernetesAPIApprovalPolicyConformant. */
#include "api/crd.h"

#define ANNOTATION "api-approved.kubernetes.io"
#define SEE        ", see https://github.com/kubernetes/enhancements/pull/1111"

typedef struct api_custom_resource_definition crd_t;

enum approval {
    APPROVAL_NONE, /* the group is nobody's */
    APPROVAL_INVALID,
    APPROVAL_GIVEN,
    APPROVAL_BYPASSED,
    APPROVAL_MISSING,
    _APPROVAL_MAX,
};

static bool is_protected(struct str group)
{
    return str_is(group, "k8s.io") || str_ends(group, STR(".k8s.io")) ||
           str_is(group, "kubernetes.io") || str_ends(group, STR(".kubernetes.io"));
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* With a scheme and a host. */
static bool is_url(struct str s)
{
    ssize_t at = str_search(s, STR("://"));
    if (at <= 0 || !is_letter(s.p[0]))
        return false;
    for (ssize_t i = 0; i < at; i++)
        if (!is_letter(s.p[i]) && !(s.p[i] >= '0' && s.p[i] <= '9') && !strchr("+-.", s.p[i]))
            return false;
    for (size_t i = 0; i < s.n; i++)
        if ((uint8_t)s.p[i] <= ' ' || s.p[i] == 0x7f)
            return false;
    struct str host = str_sub(s, (size_t)at + 3, s.n);
    return host.n && !strchr("/?#", host.p[0]);
}

static struct str annotation_of(const crd_t *crd)
{
    for (uint32_t i = 0; i < crd->metadata.n_annotations; i++)
        if (str_is(crd->metadata.annotations[i].key, ANNOTATION))
            return crd->metadata.annotations[i].value;
    return STR("");
}

static enum approval approval_of(const crd_t *crd)
{
    struct str v = annotation_of(crd);
    if (!is_protected(crd->spec.group))
        return APPROVAL_NONE;
    if (!v.n)
        return APPROVAL_MISSING;
    if (str_starts(v, STR("unapproved")))
        return APPROVAL_BYPASSED;
    return is_url(v) ? APPROVAL_GIVEN : APPROVAL_INVALID;
}

static const char MISSING[] =
    "protected groups must have approval annotation \"" ANNOTATION "\"" SEE;
static const char INVALID[] = "protected groups must have approval annotation \"" ANNOTATION
                              "\" with either a URL or a reason starting with \"unapproved\"" SEE;

void crd_approval_validate(const crd_t *crd, const crd_t *old, struct error *err)
{
    enum approval now = approval_of(crd);
    struct str path = STR("metadata.annotations[" ANNOTATION "]"), v = annotation_of(crd);
    if (old && approval_of(old) == now)
        return;
    if (now == APPROVAL_MISSING)
        (void)error_cause(err, CAUSE_REQUIRED, path, "Required value: %s", MISSING);
    if (now == APPROVAL_INVALID)
        (void)error_cause(err, CAUSE_INVALID, path, "Invalid value: \"%.*s\": %s", STR_ARG(v),
                          INVALID);
}

void crd_approval_show(crd_t *crd, usec_t now, struct arena *a)
{
    static const char *const reasons[_APPROVAL_MAX] = {
        [APPROVAL_INVALID] = "InvalidAnnotation",
        [APPROVAL_GIVEN] = "ApprovedAnnotation",
        [APPROVAL_BYPASSED] = "UnapprovedAnnotation",
        [APPROVAL_MISSING] = "MissingAnnotation",
    };
    enum approval state = approval_of(crd);
    struct str v = annotation_of(crd), words = STR_NONE;
    switch (state) {
    case APPROVAL_GIVEN:
        words = arena_printf(a, "approved in %.*s", STR_ARG(v));
        break;
    case APPROVAL_BYPASSED:
        words = arena_printf(a, "not approved: \"%.*s\"", STR_ARG(v));
        break;
    case APPROVAL_MISSING:
        words = str_z(MISSING);
        break;
    case APPROVAL_INVALID:
        words = str_z(INVALID);
        break;
    case APPROVAL_NONE:
    case _APPROVAL_MAX:
        return;
    }
    crd_set_condition(crd, "KubernetesAPIApprovalPolicyConformant", state == APPROVAL_GIVEN,
                      reasons[state], words, now, a);
}
