/* Text to program: parse, check, estimate. Everything a program holds lies in its arena; what is
 * borrowed are the types of its environment. */
#include "base/mem.h"
#include "cel/internal.h"

static int refuse(struct compile *c, struct error *err)
{
    int r = error_set(err, REASON_BAD_REQUEST, "%.*s", STR_ARG(buf_str(&c->out)));
    buf_fini(&c->out);
    return r;
}

int cel_compile(struct cel_env *env, struct str text, const struct cel_type *expect,
                struct cel_program **ret, struct error *err)
{
    struct cel_program *p = NEW(struct cel_program);
    struct compile c = {.env = env, .a = &p->arena};
    if (text.n > CEL_TEXT_MAX || !str_utf8_valid(text)) {
        cel_finding(&c, 0,
                    text.n > CEL_TEXT_MAX ? "expression code point size exceeds limit"
                                          : "expression is not valid UTF-8");
        goto fail;
    }
    c.text = arena_str(c.a, text.p ? text : STR(""));
    p->root = cel_parse(&c);
    if (p->root && !c.n_findings)
        cel_check(&c, p->root, expect);
    if (c.n_findings)
        goto fail;
    ASSERT(p->root && p->root->type);
    p->type = p->root->type;
    while (p->type->kind == CEL_PARAM)
        p->type = cel_type_elem(p->type);
    p->n_slots = c.n_slots;
    p->uses = c.uses;
    p->cost = cel_estimate(&c, p->root);
    *ret = p;
    return 0;
fail:
    cel_program_free(p);
    return refuse(&c, err);
}

struct cel_program *cel_program_free(struct cel_program *p)
{
    if (p) {
        arena_fini(&p->arena);
        free(p);
    }
    return NULL;
}

const struct cel_type *cel_program_type(const struct cel_program *p)
{
    return p->type;
}
struct cel_range cel_program_cost(const struct cel_program *p)
{
    return p->cost;
}
bool cel_program_uses(const struct cel_program *p, unsigned var)
{
    return p->uses >> MIN(var, 63) & 1;
}

static bool selects(const struct node *n, struct str var, struct str member)
{
    if (n->op == NODE_SELECT && str_eq(n->name, member) && n->kids[0]->op == NODE_IDENT &&
        str_eq(n->kids[0]->name, var))
        return true;
    for (uint32_t i = 0; i < n->n; i++)
        if (n->kids[i] && selects(n->kids[i], var, member))
            return true;
    return false;
}

bool cel_program_selects(const struct cel_program *p, struct str var, struct str member)
{
    return selects(p->root, var, member);
}
