/* Required and preferred affinity between pods, and topology spreading, over all nodes at once.
 * Each reads the counts of a term by the node's domain (terms.c). Words and order of the checks as
 * in Kubernetes' PodTopologySpread and InterPodAffinity plugins.
 *
 * One simplification: with several required affinity terms Kubernetes counts only pods that match
 * all of them; here each term is counted by itself. */
#include "scheduler/core_int.h"

#include <math.h>

#include "base/mem.h"

#define WEIGHT_POD_AFFINITY 2
#define WEIGHT_SPREAD       2

static int32_t at(const struct sched_term *t, const int32_t *v, uint32_t domain)
{
    return domain < t->cap ? v[domain] : 0;
}

static void refuse(float *bias, uint8_t *fail, uint32_t slot, enum sched_fail why)
{
    if (bias[slot] == -INFINITY)
        return;
    bias[slot] = -INFINITY;
    if (fail)
        fail[slot] = (uint8_t)why;
}

static int32_t *scratch(struct sched_core *c, size_t n)
{
    if (n > c->cap_scratch) {
        c->cap_scratch = n * 2;
        c->scratch = xrealloc(c->scratch, c->cap_scratch * sizeof(int32_t));
    }
    return c->scratch;
}

bool sched_needs_terms(struct sched_core *c, const struct sched_pod *p)
{
    if (p->n_uses > 0)
        return true;
    if (c->n_anti == 0)
        return false;
    sched_labels_refresh(c, p->labels);
    for (uint32_t i = 0; i < p->labels->n_terms; i++)
        if (p->labels->terms[i]->total_anti > 0)
            return true;
    return false;
}

/* The fewest matching pods in a domain that the pod could go to; missing: some node lacks the key.
 */
static int32_t spread_min(struct sched_core *c, const struct sched_pod *p,
                          const struct sched_use_term *u)
{
    const struct sched_term *t = u->term;
    const uint32_t *domain = t->topo->node_domain;
    int32_t *seen = scratch(c, t->topo->n_domains + 1), min = INT32_MAX, n = 0;
    memset(seen, 0, (t->topo->n_domains + 1) * sizeof(*seen));
    for (uint32_t i = 0; i < c->n_slots; i++) {
        uint32_t d = domain[i];
        if (d == 0 || seen[d] || c->pods_free[i] < 0)
            continue;
        if (!u->ignore_affinity && !p->class->eligible[i])
            continue;
        if (u->honor_taints && sched_class_taint(p->class, c->nodes[i]))
            continue;
        seen[d] = 1;
        n++;
        min = MIN(min, at(t, t->matched, d));
    }
    return n < u->min_domains || n == 0 ? 0 : min;
}

static void filter_spread(struct sched_core *c, const struct sched_pod *p,
                          const struct sched_use_term *u, float *bias, uint8_t *fail)
{
    const uint32_t *domain = u->term->topo->node_domain;
    int32_t allowed = spread_min(c, p, u) + u->max_skew - u->self;
    for (uint32_t i = 0; i < c->n_slots; i++) {
        if (domain[i] == 0)
            refuse(bias, fail, i, SCHED_NO_SPREAD_LABEL);
        else if (at(u->term, u->term->matched, domain[i]) > allowed)
            refuse(bias, fail, i, SCHED_NO_SPREAD);
    }
}

/* The first pod of a group that must be together may go anywhere: no pod matches yet, but it does.
 */
static bool is_first_of_group(const struct sched_pod *p)
{
    for (uint32_t i = 0; i < p->n_uses; i++)
        if (p->uses[i].use == SCHED_USE_AFFINITY &&
            (p->uses[i].term->total_matched > 0 || !p->uses[i].self))
            return false;
    return true;
}

static void filter_affinity(struct sched_core *c, const struct sched_pod *p, float *bias,
                            uint8_t *fail)
{
    bool first = is_first_of_group(p);
    for (uint32_t j = 0; j < p->n_uses; j++) {
        const struct sched_use_term *u = &p->uses[j];
        const uint32_t *domain = u->term->topo->node_domain;
        if (u->use != SCHED_USE_AFFINITY)
            continue;
        for (uint32_t i = 0; i < c->n_slots; i++)
            if (domain[i] == 0 || (!first && at(u->term, u->term->matched, domain[i]) == 0))
                refuse(bias, fail, i, SCHED_NO_POD_AFFINITY);
    }
    for (uint32_t j = 0; j < p->n_uses; j++) {
        const struct sched_use_term *u = &p->uses[j];
        const uint32_t *domain = u->term->topo->node_domain;
        if (u->use != SCHED_USE_ANTI || u->term->total_matched == 0)
            continue;
        for (uint32_t i = 0; i < c->n_slots; i++)
            if (domain[i] != 0 && at(u->term, u->term->matched, domain[i]) > 0)
                refuse(bias, fail, i, SCHED_NO_POD_ANTI_AFFINITY);
    }
}

static void filter_existing(struct sched_core *c, const struct sched_pod *p, float *bias,
                            uint8_t *fail)
{
    if (c->n_anti == 0)
        return;
    sched_labels_refresh(c, p->labels);
    for (uint32_t j = 0; j < p->labels->n_terms; j++) {
        const struct sched_term *t = p->labels->terms[j];
        if (t->total_anti == 0)
            continue;
        for (uint32_t i = 0; i < c->n_slots; i++)
            if (t->topo->node_domain[i] != 0 && at(t, t->anti, t->topo->node_domain[i]) > 0)
                refuse(bias, fail, i, SCHED_NO_EXISTING_ANTI_AFFINITY);
    }
}

/* Adds weight * 100 * (v - min) / (max - min) to the nodes still in. */
static void add_scaled(struct sched_core *c, const int32_t *v, float weight, float *bias)
{
    int32_t min = INT32_MAX, max = INT32_MIN;
    for (uint32_t i = 0; i < c->n_slots; i++) {
        if (bias[i] == -INFINITY || c->pods_free[i] < 1)
            continue;
        min = MIN(min, v[i]);
        max = MAX(max, v[i]);
    }
    if (max <= min)
        return;
    for (uint32_t i = 0; i < c->n_slots; i++)
        bias[i] += weight * 100.0f * (float)(v[i] - min) / (float)(max - min);
}

static void score_terms(struct sched_core *c, const struct sched_pod *p, enum sched_use use,
                        float weight, float *bias)
{
    int32_t *sum = NULL;
    for (uint32_t j = 0; j < p->n_uses; j++) {
        const struct sched_use_term *u = &p->uses[j];
        if (u->use != use)
            continue;
        if (!sum) {
            sum = scratch(c, c->cap);
            memset(sum, 0, c->cap * sizeof(*sum));
        }
        int32_t w = use == SCHED_USE_PREFER ? u->weight : -1;
        const uint32_t *domain = u->term->topo->node_domain;
        for (uint32_t i = 0; i < c->n_slots; i++)
            if (domain[i] != 0)
                sum[i] += w * at(u->term, u->term->matched, domain[i]);
    }
    if (sum)
        add_scaled(c, sum, weight, bias);
}

void sched_filter_terms(struct sched_core *c, const struct sched_pod *p, float *bias, uint8_t *fail)
{
    for (uint32_t i = 0; i < p->n_uses; i++)
        if (p->uses[i].use == SCHED_USE_SPREAD)
            filter_spread(c, p, &p->uses[i], bias, fail);
    filter_affinity(c, p, bias, fail);
    filter_existing(c, p, bias, fail);
    score_terms(c, p, SCHED_USE_PREFER, WEIGHT_POD_AFFINITY, bias);
    score_terms(c, p, SCHED_USE_SPREAD_SOFT, WEIGHT_SPREAD, bias);
}
