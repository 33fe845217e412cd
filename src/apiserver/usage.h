/* What nodes and pods use (metrics.k8s.io): collected from the nodes' /metrics/resource on the core
 * loop, a few at a time, and answered from memory. cpu is the difference of two readings, so a
 * container is shown from its second one on; a node that is silent for USAGE_STALE_S is not shown,
 * nor are its pods. Core thread, but for usage_parse. */
#pragma once

#include "apiserver/call.h"

#define USAGE_PERIOD_S    15 /* as metrics-server */
#define USAGE_EAGER_S     5  /* while somebody asks, and until a node has two readings */
#define USAGE_STALE_S     45
#define USAGE_CALLS_MAX   32         /* readings under way */
#define USAGE_BYTES_MAX   (4u << 20) /* of one reading: some 10,000 containers */
#define USAGE_SAMPLES_MAX 8192       /* containers of one node */

struct rt_tls_client;
struct usage;

struct usage *usage_new(struct apiserver *s);
void usage_start(struct usage *u,
                 struct rt_tls_client *tls); /* as whom nodes are asked; borrowed */
void usage_stop(struct usage *u);            /* nobody is asked any more */
struct usage *usage_free(struct usage *u);   /* takes NULL; returns NULL */

bool usage_is(const struct schema_kind *k);
int usage_get(struct api_call *c) MUST_CHECK;
int usage_list(struct api_call *c) MUST_CHECK;

/* ---- one reading (usage_parse.c) ---- */

struct usage_sample {
    struct str ns, pod, name; /* of the node itself: all empty */
    double cpu_s;             /* since its start */
    uint64_t memory_bytes;
    bool has_cpu, has_memory;
};

struct usage_reading {
    struct arena arena;     /* owned; holds the samples */
    struct usage_sample *v; /* by ns, pod, name; those with both figures */
    size_t n;
    nsec_t at;
    usec_t wall;
};

/* Prometheus' text, of which the families of a kubelet's /metrics/resource are read and all else is
 * passed over. Never fails: what is not understood is not there. */
void usage_parse(struct str text, struct usage_reading *ret);
void usage_reading_fini(struct usage_reading *r);
int usage_sample_cmp(const void *a, const void *b);
