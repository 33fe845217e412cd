/* Expressions: any text is refused with a place and words, or becomes a program with an estimate.
 */
#include "cel/cel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cel_env *env = cel_env_new(CEL_ENV_EXTRAS | CEL_ENV_MUTATION);
    struct cel_program *p = NULL;
    struct error err = {0};
    struct arena a = {0};
    (void)cel_env_var(env, "self", cel_type_of(CEL_DYN));
    (void)cel_env_var(env, "n", cel_type_of(CEL_INT));
    (void)cel_env_var(env, "l", cel_type_list(env, cel_type_of(CEL_STRING)));
    (void)cel_env_var(env, "authorizer", cel_type_of(CEL_AUTHORIZER));
    if (cel_compile(env, (struct str){(const char *)data, size}, NULL, &p, &err) == 0) {
        struct cel_range cost = cel_program_cost(p);
        ASSERT(cost.min <= cost.max);
        ASSERT(cel_type_print(cel_program_type(p), &a).n > 0);
    } else {
        ASSERT(!p && str_starts(err.message, STR("ERROR: <input>:")) &&
               str_utf8_valid(err.message));
    }
    cel_program_free(p);
    error_fini(&err);
    arena_fini(&a);
    cel_env_free(env);
    return 0;
}
