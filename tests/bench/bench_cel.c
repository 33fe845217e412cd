/* What expressions cost. The budget: a simple rule, evaluated with an arena of its own each time,
 * under two microseconds. One line a figure: `name value unit budget`. */
#include <stdio.h>
#include <time.h>

#include "cel/cel.h"

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct json *parse(struct arena *a, const char *text)
{
    struct json *v = NULL;
    int r = json_parse(str_z(text), a, NULL, &v, NULL);
    ASSERT(r == 0);
    return v;
}

static void measure(struct cel_env *env, const struct cel_value *self, const char *expr, unsigned n,
                    const char *name, const char *budget)
{
    struct cel_program *p = NULL;
    struct arena a = {0};
    struct cel_input in = {.vars = self, .n_vars = 1};
    struct cel_result r;
    int bad = cel_compile(env, str_z(expr), cel_type_of(CEL_BOOL), &p, NULL);
    ASSERT(bad == 0);
    double from = seconds();
    for (unsigned i = 0; i < n; i++) {
        cel_eval(p, &in, &a, &r);
        ASSERT(r.outcome == CEL_OUTCOME_VALUE && r.value.b);
        arena_clear(&a);
    }
    printf("%s %.3f us%s\n", name, (seconds() - from) * 1e6 / n, budget);
    cel_program_free(p);
    arena_fini(&a);
}

int main(void)
{
    struct arena a = {0};
    struct cel_env *env = cel_env_new(0);
    const struct cel_type *t = NULL;
    struct buf b = {0};
    struct json *schema = parse(&a, "{\"type\":\"object\",\"properties\":{\"replicas\":{\"type\":"
                                    "\"integer\"},\"maxReplicas\":{\"type\":\"integer\"},"
                                    "\"name\":{\"type\":\"string\"},\"list\":{\"type\":\"array\","
                                    "\"items\":{\"type\":\"integer\"}}}}");
    buf_add_lit(&b,
                "{\"name\":\"my-app.example.com\",\"replicas\":3,\"maxReplicas\":5,\"list\":[0");
    for (unsigned i = 1; i < 1000; i++)
        buf_printf(&b, ",%u", i);
    buf_add_lit(&b, "]}");
    int r = cel_type_of_openapi(env, schema, &t, NULL);
    ASSERT(r == 0);
    struct cel_value self = cel_json(parse(&a, b.data), t, &a);
    (void)cel_env_var(env, "self", t);
    measure(env, &self, "self.replicas <= self.maxReplicas", 2000000, "cel_simple_rule",
            " budget 2");
    measure(env, &self, "self.list.all(x, x >= 0)", 5000, "cel_loop_of_1000", "");
    measure(
        env, &self,
        "self.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
        50000, "cel_name_pattern", "");
    double from = seconds();
    for (unsigned i = 0; i < 20000; i++) {
        struct cel_program *p = NULL;
        r = cel_compile(env, STR("self.replicas <= self.maxReplicas"), NULL, &p, NULL);
        ASSERT(r == 0);
        cel_program_free(p);
    }
    printf("cel_compile %.2f us\n", (seconds() - from) * 1e6 / 20000);
    buf_fini(&b);
    cel_env_free(env);
    arena_fini(&a);
    return 0;
}
