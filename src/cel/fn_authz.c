/* The authorizer: builds up a question step by step; check() asks whoever made the variable. */
#include "cel/internal.h"
#include "schema/schema.h"

#define FN(name)                                                                                   \
    static struct cel_value name(struct cel_eval *c, const struct cel_value *a, unsigned n)

static struct cel_authz *copy(struct cel_eval *c, const struct cel_value *v)
{
    struct cel_authz *z = cel_alloc(c, sizeof *z);
    if (z)
        *z = *(const struct cel_authz *)v->p;
    return z;
}

#define STEP(name, kind, ...)                                                                      \
    FN(name)                                                                                       \
    {                                                                                              \
        struct cel_authz *z = copy(c, &a[0]);                                                      \
        if (!z)                                                                                    \
            return cel_no_memory();                                                                \
        __VA_ARGS__;                                                                               \
        return cel_box(kind, z);                                                                   \
    }
#define NOT_BLANK(what)                                                                            \
    if (!str_trim(a[1].s).n)                                                                       \
    return cel_error(STR(what " must not be empty"))

STEP(path, CEL_PATH_CHECK, NOT_BLANK("path"); z->what.is_path = true; z->what.path = a[1].s)
STEP(group, CEL_GROUP_CHECK, z->what.group = a[1].s)
STEP(resource, CEL_RESOURCE_CHECK, NOT_BLANK("resource"); z->what.resource = a[1].s)
STEP(subresource, CEL_RESOURCE_CHECK, z->what.subresource = a[1].s)
STEP(namespace_, CEL_RESOURCE_CHECK, z->what.namespace_ = a[1].s)
STEP(name_, CEL_RESOURCE_CHECK, z->what.name = a[1].s)
STEP(field_selector, CEL_RESOURCE_CHECK, z->what.field_selector = a[1].s)
STEP(label_selector, CEL_RESOURCE_CHECK, z->what.label_selector = a[1].s)
#undef STEP

FN(service_account)
{
    struct cel_authz *z = copy(c, &a[0]);
    if (!z)
        return cel_no_memory();
    if (schema_format_check(SCHEMA_FORMAT_DNS_SUBDOMAIN, a[2].s))
        return cel_error(STR("Invalid service account name"));
    if (schema_format_check(SCHEMA_FORMAT_DNS_LABEL, a[1].s))
        return cel_error(STR("Invalid service account namespace"));
    z->what.account_namespace = a[1].s;
    z->what.account_name = a[2].s;
    return cel_box(CEL_AUTHORIZER, z);
}

FN(check)
{
    struct cel_authz *z = copy(c, &a[0]);
    if (!z)
        return cel_no_memory();
    z->what.verb = a[1].s;
    z->result = (struct cel_authz_result){0};
    /* What the limit of cost does not allow is not even asked. */
    if (c->cost + 350000 > c->cost_max || !z->who || !z->who->check)
        z->result.error = STR("not asked");
    else
        z->who->check(z->who->ctx, &z->what, c->a, &z->result);
    return cel_box(CEL_DECISION, z);
}

static const struct cel_authz_result *result_of(const struct cel_value *v)
{
    return &((const struct cel_authz *)v->p)->result;
}
FN(allowed)
{
    return cel_bool(result_of(&a[0])->allowed);
}
FN(reason)
{
    return cel_string(result_of(&a[0])->reason);
}
FN(errored)
{
    return cel_bool(result_of(&a[0])->error.p);
}
FN(error_)
{
    return cel_string(result_of(&a[0])->error);
}

const struct overload cel_fn_authz[] = {
    {"path", "zs>P", path, OV_MEMBER, COST_ONE},
    {"group", "zs>G", group, OV_MEMBER, COST_ONE},
    {"serviceAccount", "zss>z", service_account, OV_MEMBER, COST_ONE},
    {"resource", "Gs>R", resource, OV_MEMBER, COST_ONE},
    {"subresource", "Rs>R", subresource, OV_MEMBER, COST_ONE},
    {"namespace", "Rs>R", namespace_, OV_MEMBER, COST_ONE},
    {"name", "Rs>R", name_, OV_MEMBER, COST_ONE},
    {"fieldSelector", "Rs>R", field_selector, OV_MEMBER, COST_SELECTOR},
    {"labelSelector", "Rs>R", label_selector, OV_MEMBER, COST_SELECTOR},
    {"check", "Ps>D", check, OV_MEMBER, COST_CHECK},
    {"check", "Rs>D", check, OV_MEMBER, COST_CHECK},
    {"allowed", "D>b", allowed, OV_MEMBER, COST_ONE},
    {"reason", "D>s", reason, OV_MEMBER, COST_ONE},
    {"errored", "D>b", errored, OV_MEMBER, COST_ONE},
    {"error", "D>s", error_, OV_MEMBER, COST_ONE},
    {0},
};
