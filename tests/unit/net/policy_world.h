/* A small world of namespaces, pods and policies, made at random, and what NetworkPolicy says about
 * it: an evaluator as plain as the definition, to hold the compiled rules against. */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "net/policy/policy.h"

#define WORLD_NS       3
#define WORLD_PODS     9
#define WORLD_POLICIES 6

struct world_pod {
    bool there, known; /* known: the API has it; there: it has an address */
    bool local;
    char uid[16], ns[8];
    struct kv_str labels[2];
    uint32_t n_labels;
    struct policy_port ports[3];
    uint32_t n_ports;
    struct ip_addr ip;
};

struct world_ns {
    bool there;
    char name[8];
    struct kv_str label;
};

struct world {
    uint64_t random;
    struct world_ns ns[WORLD_NS];
    struct world_pod pods[WORLD_PODS];
    struct {
        bool there;
        char name[8];
        int ns;
        struct arena arena;
        struct api_network_policy_spec spec;
    } policies[WORLD_POLICIES];
};

void world_init(struct world *w, uint64_t seed);
void world_fini(struct world *w);
uint32_t world_random(struct world *w, uint32_t below);
/* One change at random, in the world and told to the engine. */
void world_change(struct world *w, struct policy_engine *e, struct policy_batch *b);
void world_tell_all(struct world *w, struct policy_engine *e, struct policy_batch *b);
/* What NetworkPolicy says of the first packet from src to dst. */
bool world_allows(const struct world *w, const struct ip_addr *src, const struct ip_addr *dst,
                  uint8_t proto, uint16_t port);
