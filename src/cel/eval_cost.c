/* What a call costs at run time, by its rule: the figures are those of cel-go and of Kubernetes'
 * libraries, so that a rule meets the same limits here as there. A tenth of a unit a character, a
 * quarter a character of a pattern. */
#include <math.h>

#include "cel/internal.h"

uint64_t cel_size(struct cel_eval *c, const struct cel_value *v)
{
    switch (v->type) {
    case CEL_STRING:
        (void)cel_work(c, v->s.n / 16);
        return cel_utf8_count(v->s);
    case CEL_BYTES:
        return v->s.n;
    case CEL_LIST:
    case CEL_MAP:
        return cel_count(c, v);
    case CEL_IP:
    case CEL_CIDR: /* their bytes */
        return ((const struct cel_ip *)v->p)->len;
    default:
        return 1;
    }
}

static uint64_t tenth(uint64_t n)
{
    return n / 10 + (n % 10 != 0);
}
static uint64_t quarter(uint64_t n)
{
    return n / 4 + (n % 4 != 0);
}
static uint64_t times(uint64_t a, uint64_t b)
{
    uint64_t r;
    return __builtin_mul_overflow(a, b, &r) ? UINT64_MAX : r;
}

static uint64_t traverse(struct cel_eval *c, const struct cel_value *v, unsigned depth)
{
    uint64_t n = 0;
    struct cel_iter it;
    struct cel_value key, value;
    if (v->type == CEL_STRING || v->type == CEL_BYTES)
        return v->s.n / 10;
    if ((v->type != CEL_LIST && v->type != CEL_MAP && v->type != CEL_OBJECT) || depth > 1200)
        return 1;
    cel_iter_init(&it, c, v);
    while (cel_iter_next(&it, &key, &value) && cel_work(c, 1))
        n += traverse(c, &value, depth + 1) + (v->type == CEL_LIST ? 0 : traverse(c, &key, 0));
    return n;
}

static uint64_t selector(uint64_t n)
{
    return 10 + tenth(n) + (n / 2 + n % 2) * 50;
}

void cel_charge_call(struct cel_eval *c, const struct overload *o, const struct cel_value *args,
                     unsigned n, const struct cel_value *result)
{
    uint64_t a = n ? cel_size(c, &args[0]) : 0, b = n > 1 ? cel_size(c, &args[1]) : 0, cost = 1;
    switch ((enum cost_rule)o->cost) {
    case COST_ONE:
    case COST_CONCAT_LIST:
        break;
    case COST_ARG0:
    case COST_STARTS:
        cost = tenth(a);
        break;
    case COST_ARG0_TWICE:
    case COST_SPLIT:
        cost = tenth(times(a, 2));
        break;
    case COST_EQUAL:
        cost = tenth(MIN(a, b));
        break;
    case COST_CONCAT:
        cost = tenth(a + b);
        break;
    case COST_IN_LIST:
        cost = b;
        break;
    case COST_MATCH:
        cost = times(tenth(a + 1), quarter(b));
        break;
    case COST_CONTAINS:
        cost = times(tenth(a), tenth(b));
        break;
    case COST_TRAVERSE:
        cost = n ? traverse(c, &args[0], 0) : 0;
        break;
    case COST_JOIN:
        cost = tenth(times(cel_size(c, result), 2));
        break;
    case COST_CHECK:
        cost = 350000;
        break;
    case COST_SELECTOR:
        cost = selector(b);
        break;
    case COST_VALIDATE:
        cost = times(tenth(b + 1), quarter(cel_format_regex_size(&args[0])));
        break;
    case COST_CIDR_IP:
    case COST_CIDR_IP_TEXT:
        cost = tenth(2 * a) + (o->cost == COST_CIDR_IP_TEXT ? tenth(b) : 0);
        break;
    case COST_CIDR_CIDR:
    case COST_CIDR_CIDR_TEXT:
        cost = tenth(2 * a) + tenth(a) + 1 + (o->cost == COST_CIDR_CIDR_TEXT ? tenth(b) : 0);
        break;
    case COST_LISTS:
        cost = times(a, b);
        break;
    }
    cel_charge(c, cost);
}
