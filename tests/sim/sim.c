/* usage: sim [SCENARIO...] [--seed N] [--steps M] [--fresh K] [--seeds K] [--twice] [--trace]
 *        sim --list
 *
 * Plays scenarios (default: all) on virtual time. --seed: replay; without it 1. --fresh K: besides,
 * K random seeds. --seeds: K seeds in a row from --seed on. --twice: plays each seed two times and
 * compares the histories. --list: names the scenarios. Prints what it plays before it plays it, so
 * a crash names its seed. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "guard.h"
#include "machine.h"
#include "scenarios.h"

struct args {
    uint64_t seed;
    unsigned steps, fresh, seeds;
    bool has_seed, twice, trace, list;
    const char *names[32];
    unsigned n_names;
};

static void trace_step(void *arg, nsec_t now, const char *kind, const char *callback)
{
    printf("%.6f %s %s\n", (double)now / 1e9, kind, callback);
}

static uint64_t play(const struct scenario *s, uint64_t seed, unsigned steps, bool trace)
{
    struct world w;
    const struct world_opts opts = {.seed = seed,
                                    .nodes = s->nodes,
                                    .start_delay = s->start_delay,
                                    .trace = trace,
                                    .zones = s->zones,
                                    .skewed = s->skewed,
                                    .grace = s->grace,
                                    .joins = s->joins};
    world_init(&w, &opts);
    if (trace)
        rt_sim_trace(w.rt, trace_step, NULL);
    s->run(&w, steps);
    uint64_t digest = rt_sim_digest(w.rt);
    printf("sim %s --seed %llu --steps %u: ok, %.0f s of virtual time, %llu changes seen, digest "
           "%016llx\n",
           s->name, (unsigned long long)seed, steps, (double)rt_now(w.rt) / 1e9,
           (unsigned long long)checker_events_seen(w.checker), (unsigned long long)digest);
    if (s->joins)
        printf("    %u certificates, %u names refused, %u evictions, %u crashes\n",
               guard_certificates(checker_guard(w.checker)), machines_refused(w.machines),
               guard_evictions(checker_guard(w.checker)), w.crashes);
    world_fini(&w);
    return digest;
}

static bool play_seed(const struct scenario *s, uint64_t seed, const struct args *a)
{
    unsigned steps = a->steps ? a->steps : 5;
    printf("sim %s --seed %llu --steps %u ...\n", s->name, (unsigned long long)seed, steps);
    fflush(stdout);
    uint64_t digest = play(s, seed, steps, a->trace);
    if (a->twice && play(s, seed, steps, false) != digest) {
        printf("FAILED: the same seed gave another history\n");
        return false;
    }
    return true;
}

static uint64_t number(const char *text)
{
    uint64_t v;
    if (!text || str_to_u64(str_z(text), &v) < 0) {
        fprintf(stderr, "a number is missing\n");
        exit(2);
    }
    return v;
}

static void parse(int argc, char **argv, struct args *a)
{
    for (int i = 1; i < argc; i++) {
        struct str s = str_z(argv[i]);
        if (str_is(s, "--seed"))
            a->seed = number(argv[++i]), a->has_seed = true;
        else if (str_is(s, "--steps"))
            a->steps = (unsigned)number(argv[++i]);
        else if (str_is(s, "--fresh"))
            a->fresh = (unsigned)number(argv[++i]);
        else if (str_is(s, "--seeds"))
            a->seeds = (unsigned)number(argv[++i]);
        else if (str_is(s, "--twice"))
            a->twice = true;
        else if (str_is(s, "--trace"))
            a->trace = true;
        else if (str_is(s, "--list"))
            a->list = true;
        else if (a->n_names < ARRAY_LEN(a->names))
            a->names[a->n_names++] = argv[i];
    }
}

static bool wanted(const struct args *a, const char *name)
{
    for (unsigned i = 0; i < a->n_names; i++)
        if (strcmp(a->names[i], name) == 0)
            return true;
    return a->n_names == 0;
}

int main(int argc, char **argv)
{
    struct args a = {.seed = 1};
    bool any = false;
    parse(argc, argv, &a);
    setvbuf(stdout, NULL, _IOLBF, 0);
    log_init("sim", a.trace ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR);
    for (const struct scenario *s = SCENARIOS; s->name; s++) {
        if (!wanted(&a, s->name))
            continue;
        any = true;
        if (a.list) {
            puts(s->name);
            continue;
        }
        if (!play_seed(s, a.seed, &a))
            return 1;
        for (unsigned i = 1; i < a.seeds; i++)
            if (!play_seed(s, a.seed + i, &a))
                return 1;
        for (unsigned i = 0; i < a.fresh; i++)
            if (!play_seed(s, (uint64_t)time(NULL) * 1000 + (uint64_t)getpid() % 1000 * 7 + i, &a))
                return 1;
    }
    if (!any)
        fprintf(stderr, "no such scenario\n");
    return any ? 0 : 2;
}
