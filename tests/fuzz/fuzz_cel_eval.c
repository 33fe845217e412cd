/* An expression, a NUL, and a JSON value: evaluated with the value as free-form and as typed
 * `self`, and with a message. Whatever happens, it ends within its limits, and the same twice. */
#include "cel/cel.h"
#include "schema/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char SCHEMA[] =
    "{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"},\"s\":{\"type\":\"string\"},"
    "\"t\":{\"type\":\"string\",\"format\":\"date-time\"},\"d\":{\"type\":\"string\",\"format\":"
    "\"duration\"},"
    "\"b\":{\"type\":\"string\",\"format\":\"byte\"},\"x\":{\"x-kubernetes-int-or-string\":true},"
    "\"l\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"
    "\"set\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"set\",\"items\":{\"type\":"
    "\"integer\"}},"
    "\"m\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}}}";

static void run(struct str expr, struct cel_env *env, const struct cel_value *vars)
{
    struct cel_program *p = NULL;
    struct arena a = {0};
    struct cel_input in = {.vars = vars, .n_vars = 2, .cost_max = 20000};
    struct cel_result first, again;
    if (cel_compile(env, expr, NULL, &p, NULL) < 0)
        return;
    cel_eval(p, &in, &a, &first);
    cel_eval(p, &in, &a, &again);
    ASSERT(first.outcome == again.outcome && first.cost == again.cost);
    if (first.outcome == CEL_OUTCOME_VALUE) {
        ASSERT(first.value.type != CEL_ERROR && first.cost <= in.cost_max);
        struct json *json;
        ASSERT(cel_print(&first.value, &a, 1000).n <= 1000);
        (void)!cel_to_json(&first.value, &a, &json, NULL);
    } else {
        ASSERT(first.message.n > 0);
    }
    cel_program_free(p);
    arena_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str expr = {(const char *)data, size}, text = STR("{}");
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    struct arena a = {0};
    struct json *v = NULL, *schema = NULL;
    static const struct json_limits limits = {.depth_max = 50, .values_max = 10000};
    const struct cel_type *t = NULL;
    const struct schema_desc *d = schema_kinds[KIND_POD]->desc;
    struct kv_str label = {STR("app"), STR("web")};
    struct api_container c = {.name = STR("c"), .image = STR("i:1")};
    struct api_pod pod = {.metadata = {.name = STR("p"), .labels = &label, .n_labels = 1},
                          .spec = {.containers = &c, .n_containers = 1}};
    if (nul) {
        expr.n = (size_t)(nul - data);
        text = (struct str){(const char *)nul + 1, size - expr.n - 1};
    }
    if (json_parse(text, &a, &limits, &v, NULL) == 0 &&
        json_parse(str_z(SCHEMA), &a, NULL, &schema, NULL) == 0) {
        struct cel_env *env = cel_env_new(CEL_ENV_EXTRAS | CEL_ENV_MUTATION);
        struct cel_value vars[2] = {cel_json(v, NULL, &a), cel_msg(d, &pod, false, true)};
        (void)cel_env_var(env, "self", cel_type_of(CEL_DYN));
        (void)cel_env_var(env, "object", cel_type_of(CEL_DYN));
        run(expr, env, vars);
        env = cel_env_free(env);

        env = cel_env_new(0);
        int r = cel_type_of_openapi(env, schema, &t, NULL);
        ASSERT(r == 0);
        vars[0] = cel_json(v, t, &a);
        vars[1] = cel_msg(d, &pod, true, true);
        (void)cel_env_var(env, "self", t);
        (void)cel_env_var(env, "object", cel_type_of_desc(env, d));
        if (vars[0].type != CEL_ERROR)
            run(expr, env, vars);
        cel_env_free(env);
    }
    arena_fini(&a);
    return 0;
}
