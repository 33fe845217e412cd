/* Rows of expressions and what becomes of them: "6", "error: division by zero", "refused:
 * undeclared reference". A refusal is looked for in the findings; all else must be equal. */
#pragma once

#include "cel/cel.h"
#include "test.h"

struct cel_row {
    const char *expr, *want;
};

struct cel_lab {
    struct cel_env *env;
    struct arena arena; /* of the values of variables */
    struct cel_value vars[16];
    unsigned n_vars;
};

static inline void lab_var(struct cel_lab *lab, const char *name, const struct cel_type *t,
                           struct cel_value v)
{
    assert_true(lab->n_vars < ARRAY_LEN(lab->vars));
    assert_int_equal(cel_env_var(lab->env, name, t), lab->n_vars);
    lab->vars[lab->n_vars++] = v;
}
static inline struct json *lab_json(struct cel_lab *lab, const char *text)
{
    struct json *v = NULL;
    struct error err = {0};
    if (json_parse(str_z(text), &lab->arena, NULL, &v, &err) < 0)
        fail_msg("%s: %.*s", text, STR_ARG(err.message));
    error_fini(&err);
    return v;
}
/* A variable of JSON, with the type of a schema, or free-form. */
static inline void lab_json_var(struct cel_lab *lab, const char *name, const char *schema,
                                const char *value)
{
    const struct cel_type *t = cel_type_of(CEL_DYN);
    struct error err = {0};
    if (schema && cel_type_of_openapi(lab->env, lab_json(lab, schema), &t, &err) < 0)
        fail_msg("%s: %.*s", schema, STR_ARG(err.message));
    error_fini(&err);
    lab_var(lab, name, t, cel_json(lab_json(lab, value), schema ? t : NULL, &lab->arena));
}
static inline void lab_fini(struct cel_lab *lab)
{
    lab->env = cel_env_free(lab->env);
    arena_fini(&lab->arena);
}

/* What becomes of an expression, in the arena. */
static inline struct str lab_run(struct cel_lab *lab, const char *expr, struct arena *a,
                                 struct cel_result *ret)
{
    struct cel_program *p = NULL;
    struct error err = {0};
    struct str out;
    struct cel_input in = {.vars = lab->vars, .n_vars = lab->n_vars};
    *ret = (struct cel_result){0};
    if (cel_compile(lab->env, str_z(expr), NULL, &p, &err) < 0) {
        out = arena_printf(a, "refused: %.*s", STR_ARG(err.message));
    } else {
        cel_eval(p, &in, a, ret);
        if (ret->outcome == CEL_OUTCOME_VALUE)
            out = cel_print(&ret->value, a, 100000);
        else
            out = arena_printf(a, "%s: %.*s",
                               ret->outcome == CEL_OUTCOME_ERROR ? "error" : "cancelled",
                               STR_ARG(ret->message));
    }
    error_fini(&err);
    cel_program_free(p);
    return out;
}

static inline void lab_rows(struct cel_lab *lab, const struct cel_row *rows, size_t n)
{
    unsigned bad = 0;
    for (size_t i = 0; i < n; i++) {
        struct arena a = {0};
        struct cel_result r;
        struct str got = lab_run(lab, rows[i].expr, &a, &r), want = str_z(rows[i].want);
        bool ok = str_starts(want, STR("refused: "))
                      ? str_starts(got, STR("refused: ")) &&
                            str_search(got, str_sub(want, 9, want.n)) >= 0
                      : str_eq(got, want);
        if (!ok) {
            print_error("%s\n  got      %.*s\n  expected %s\n", rows[i].expr, STR_ARG(got),
                        rows[i].want);
            bad++;
        }
        arena_fini(&a);
    }
    if (bad)
        fail_msg("%u of %zu rows", bad, n);
}
