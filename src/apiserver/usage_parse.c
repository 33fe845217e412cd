/* The text of a node's /metrics/resource: a line a figure, `name{key="value",...} number [time]`.
 * Figures of one container come apart, so all lines are gathered, sorted, and joined. */
#include "apiserver/usage.h"

#include <math.h>

#include "base/mem.h"

static const struct family {
    const char *name;
    bool cpu, node;
} families[] = {
    {"node_cpu_usage_seconds_total", true, true},
    {"node_memory_working_set_bytes", false, true},
    {"container_cpu_usage_seconds_total", true, false},
    {"container_memory_working_set_bytes", false, false},
};

static struct str skip_blanks(struct str s)
{
    size_t i = 0;
    while (i < s.n && (s.p[i] == ' ' || s.p[i] == '\t'))
        i++;
    return str_sub(s, i, s.n);
}

/* A value in quotes at the start of *rest, which moves behind it. */
static bool take_quoted(struct str *rest, struct arena *a, struct str *ret)
{
    if (!rest->n || rest->p[0] != '"')
        return false;
    char *out = arena_alloc(a, rest->n);
    size_t n = 0, i = 1;
    for (; i < rest->n && rest->p[i] != '"'; i++) {
        char c = rest->p[i];
        if (c == '\\' && i + 1 < rest->n) {
            c = rest->p[++i];
            c = c == 'n' ? '\n' : c;
        }
        out[n++] = c;
    }
    if (i == rest->n)
        return false;
    *rest = str_sub(*rest, i + 1, rest->n);
    *ret = (struct str){out, n};
    return true;
}

/* `{a="b",c="d"}` at the start of *rest. */
static bool take_labels(struct str *rest, struct arena *a, struct usage_sample *s)
{
    if (!rest->n || rest->p[0] != '{')
        return true;
    *rest = str_sub(*rest, 1, rest->n);
    for (;;) {
        struct str key, value;
        *rest = skip_blanks(*rest);
        if (rest->n && rest->p[0] == '}')
            break;
        if (!str_cut(rest, '=', &key) || !take_quoted(rest, a, &value))
            return false;
        key = str_trim(key);
        if (str_is(key, "namespace"))
            s->ns = value;
        else if (str_is(key, "pod"))
            s->pod = value;
        else if (str_is(key, "container"))
            s->name = value;
        *rest = skip_blanks(*rest);
        if (rest->n && rest->p[0] == ',')
            *rest = str_sub(*rest, 1, rest->n);
    }
    *rest = str_sub(*rest, 1, rest->n);
    return true;
}

static bool take_number(struct str s, double *ret)
{
    char text[64], *end;
    s = skip_blanks(s);
    size_t n = 0;
    while (n < s.n && s.p[n] != ' ' && s.p[n] != '\t' && s.p[n] != '\r')
        n++;
    if (!n || n >= sizeof(text))
        return false;
    memcpy(text, s.p, n);
    text[n] = '\0';
    *ret = strtod(text, &end);
    return !*end && isfinite(*ret) && *ret >= 0 && *ret < 9e15;
}

static bool parse_line(struct str line, struct arena *a, struct usage_sample *ret)
{
    size_t n = 0;
    double v;
    while (n < line.n && line.p[n] != '{' && line.p[n] != ' ' && line.p[n] != '\t')
        n++;
    const struct family *f = NULL;
    for (size_t i = 0; i < ARRAY_LEN(families) && !f; i++)
        f = str_eqz(str_sub(line, 0, n), families[i].name) ? &families[i] : NULL;
    if (!f)
        return false;
    *ret = (struct usage_sample){.ns = STR(""), .pod = STR(""), .name = STR("")};
    line = skip_blanks(str_sub(line, n, line.n));
    if (!take_labels(&line, a, ret) || !take_number(line, &v))
        return false;
    if (f->node)
        ret->ns = ret->pod = ret->name = STR("");
    else if (!ret->ns.n || !ret->pod.n || !ret->name.n)
        return false;
    if (f->cpu) {
        ret->cpu_s = v;
        ret->has_cpu = true;
    } else {
        ret->memory_bytes = (uint64_t)v;
        ret->has_memory = true;
    }
    return true;
}

int usage_sample_cmp(const void *a, const void *b)
{
    const struct usage_sample *x = a, *y = b;
    int r = str_cmp(x->ns, y->ns);
    if (!r)
        r = str_cmp(x->pod, y->pod);
    return r ? r : str_cmp(x->name, y->name);
}

void usage_parse(struct str text, struct usage_reading *ret)
{
    struct str line;
    size_t n = 0, cap = 0, out = 0;
    struct usage_sample *v = NULL;
    *ret = (struct usage_reading){0};
    while (n < 2 * (size_t)USAGE_SAMPLES_MAX && (str_cut(&text, '\n', &line) || line.n)) {
        ARRAY_RESERVE(v, n, cap);
        n += parse_line(line, &ret->arena, &v[n]);
    }
    if (n)
        qsort(v, n, sizeof(*v), usage_sample_cmp);
    ret->v = ARENA_NEW_N(&ret->arena, struct usage_sample, n + 1);
    for (size_t i = 0; i < n;) {
        struct usage_sample *s = &ret->v[out];
        *s = v[i++];
        for (; i < n && usage_sample_cmp(s, &v[i]) == 0; i++) {
            if (v[i].has_cpu)
                s->cpu_s = v[i].cpu_s;
            if (v[i].has_memory)
                s->memory_bytes = v[i].memory_bytes;
            s->has_cpu |= v[i].has_cpu;
            s->has_memory |= v[i].has_memory;
        }
        out += s->has_cpu && s->has_memory;
    }
    ret->n = out;
    free(v);
}

void usage_reading_fini(struct usage_reading *r)
{
    arena_fini(&r->arena);
    *r = (struct usage_reading){0};
}
