/* Inside the core: the structs its files share. */
#pragma once

#include "base/map.h"
#include "base/list.h"
#include "scheduler/core.h"
#include "schema/select.h"

#define SCHED_LANES       4   /* nodes looked at in one step; arrays are padded to it */
#define SCHED_CLASSES_MAX 256 /* kept classes; beyond, the one unused for longest goes */
#define SCHED_TERMS_IDLE_MAX                                                                       \
    256 /* affinity terms kept though no pod has them, for the next equal pod */

enum sched_fail { /* why a node does not do; the order is the order of the checks */
                  SCHED_FIT,
                  SCHED_NO_UNSCHEDULABLE,
                  SCHED_NO_NAME,
                  SCHED_NO_TAINT,
                  SCHED_NO_AFFINITY,
                  SCHED_NO_PORTS,
                  SCHED_NO_RESOURCES,
                  SCHED_NO_SPREAD,
                  SCHED_NO_SPREAD_LABEL,
                  SCHED_NO_POD_AFFINITY,
                  SCHED_NO_POD_ANTI_AFFINITY,
                  SCHED_NO_EXISTING_ANTI_AFFINITY,
                  _SCHED_FAIL_MAX,
};

struct sched_amount { /* a resource beyond cpu, memory and pods */
    struct str name;
    int64_t v;
};
struct sched_port {
    struct str ip, protocol;
    int32_t port;
};

/* By port and protocol, not by address. */
static inline int sched_port_cmp(const struct sched_port *x, const struct sched_port *y)
{
    return x->port != y->port ? (x->port < y->port ? -1 : 1) : str_cmp(x->protocol, y->protocol);
}

struct sched_node {
    struct str name; /* owned */
    uint32_t slot;
    bool known; /* false: only pods told of it so far, or it was removed */
    bool unschedulable;
    uint64_t gen;       /* of the core when labels, taints or unschedulable changed last */
    struct arena arena; /* labels, taints, allocatable extras */
    struct kv_str *labels;
    uint32_t n_labels;
    struct api_taint *taints;
    uint32_t n_taints;
    int64_t cpu_alloc, mem_alloc, pods_alloc;
    int64_t cpu_used, mem_used, cpu_nz, mem_nz, pods_used;
    struct sched_amount *extra_alloc; /* sorted by name */
    uint32_t n_extra_alloc;
    struct list pods; /* of struct sched_pod */
};

/* Values of one label key over the nodes: the domains of a topology. */
struct sched_topo {
    struct list node;      /* in sched_core.topo_list */
    uint32_t refs;         /* terms that have it */
    struct str key;        /* owned */
    struct map domains;    /* value -> domain number as pointer */
    uint32_t n_domains;    /* numbers 1..n_domains */
    uint32_t *node_domain; /* by slot; 0: the node lacks the key */
};

/* A selector over pods and namespaces, counted by domain of one topology. Shared by all pods that
 * have an equal one. */
struct sched_term {
    struct list node; /* all terms */
    uint32_t refs;    /* pods that have it */
    bool dead;        /* being freed */
    uint64_t seq;     /* order of making */
    struct str key;   /* owned; canonical text, key of the map */
    struct arena arena;
    struct sched_topo *topo;
    struct label_selector pods;
    struct str *namespaces; /* sorted */
    uint32_t n_namespaces;
    bool has_ns_selector;
    struct label_selector ns_selector;
    uint32_t cap;
    int32_t *matched; /* by domain: placed pods that match */
    int32_t *anti;    /* by domain: placed pods that have it as required anti-affinity */
    int64_t total_matched, total_anti;
};

/* Pods of one namespace with equal labels, and the terms that match them. */
struct sched_labels {
    uint32_t refs;
    struct str key; /* owned */
    struct arena arena;
    struct str ns;
    struct kv_str *labels;
    uint32_t n_labels;
    uint64_t gen, seq;         /* of the core when terms were matched; newest term looked at */
    struct sched_term **terms; /* owned array, grows */
    uint32_t n_terms, cap_terms;
};

struct sched_pref { /* preferred node affinity */
    int32_t weight;
    struct label_selector sel;
};
struct sched_node_term {
    struct label_selector sel;
    struct str *names; /* matchFields metadata.name, sorted */
    uint32_t n_names;
    bool not_names;
    bool never; /* an empty term matches nothing */
};

/* What pods ask of a node's labels and taints, for all pods that ask the same. */
struct sched_class {
    struct list lru;
    uint32_t refs;
    struct str key; /* owned */
    struct arena arena;
    struct label_selector selector; /* nodeSelector */
    bool has_required;
    struct sched_node_term *required; /* any must hold */
    uint32_t n_required;
    struct sched_pref *prefs;
    uint32_t n_prefs;
    struct api_toleration *tolerations; /* sorted by key, operator and value; each once */
    uint32_t n_tolerations;
    struct str node_name;
    uint64_t gen;
    uint32_t cap;
    float *bias;       /* by slot: -INFINITY or the score that depends on labels and taints */
    uint8_t *fail;     /* enum sched_fail */
    uint8_t *eligible; /* selector and affinity hold, whatever the taints: counts for spreading */
    int32_t *raw_pref, *raw_taints;
};

enum sched_use {
    SCHED_USE_AFFINITY,
    SCHED_USE_ANTI,
    SCHED_USE_PREFER,
    SCHED_USE_SPREAD,
    SCHED_USE_SPREAD_SOFT
};

struct sched_use_term { /* what a pod has a term for */
    struct sched_term *term;
    enum sched_use use;
    int32_t weight; /* PREFER (negative: anti) */
    int32_t max_skew, min_domains;
    bool self; /* the pod itself matches */
    bool ignore_affinity, honor_taints;
};

struct sched_pod {
    struct list on_node; /* in sched_node.pods */
    struct list all;     /* in sched_core.pods */
    struct sched_core *core;
    struct sched_node *node; /* NULL: not placed */
    struct sched_labels *labels;
    struct sched_class *class;
    int32_t priority;
    int64_t cpu, mem, cpu_nz, mem_nz;
    struct sched_amount *extra;
    uint32_t n_extra;
    struct sched_port *ports; /* sorted by port and protocol */
    uint32_t n_ports;
    struct sched_use_term *uses;
    uint32_t n_uses;
    struct arena arena;
};

struct sched_core {
    /* By slot, SCHED_LANES-aligned and padded; free slots have pods_free -1. */
    float *cpu_free, *mem_free, *pods_free; /* rounded up */
    float *cpu_nz_free, *mem_nz_free, *cpu_inv, *mem_inv;
    float *bias;               /* scratch for pods that need more than their class */
    uint8_t *fail;             /* scratch for explain */
    struct sched_node **nodes; /* by slot; NULL: free */
    uint32_t n_slots, cap;
    uint32_t n_known;
    struct map by_name; /* of struct sched_node */
    uint64_t gen;       /* counts changes of labels, taints, unschedulable */
    struct map classes; /* by key */
    struct list class_lru;
    struct map labels;
    struct map terms;
    struct list term_list; /* in order of seq */
    uint32_t n_idle_terms;
    uint64_t term_seq, ns_gen;
    uint64_t n_anti;  /* sum of total_anti: nothing to check while 0 */
    struct map topos; /* key -> struct sched_topo, those some term has */
    struct list topo_list;
    struct map namespaces;
    struct list pods;
    int32_t *scratch; /* by slot or domain */
    size_t cap_scratch;
};

/* nodes.c */
struct sched_node *sched_node_get(struct sched_core *c, struct str name); /* made when unknown */
void sched_node_refresh(struct sched_core *c,
                        const struct sched_node *n); /* the float arrays of its slot */
int64_t sched_node_extra_used(const struct sched_node *n, struct str name);

/* class.c */
struct sched_class *sched_class_get(struct sched_core *c,
                                    const struct api_pod_spec *spec); /* +1 ref */
void sched_class_unref(struct sched_core *c, struct sched_class *k);
void sched_class_refresh(struct sched_core *c, struct sched_class *k);
void sched_class_free_all(struct sched_core *c);
/* The first NoSchedule or NoExecute taint of n that k does not tolerate, or NULL. */
const struct api_taint *sched_class_taint(const struct sched_class *k, const struct sched_node *n);

/* Sorted texts, for lists that are searched for every node or every set of labels. */
static inline int sched_cmp_str(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}
static inline bool sched_has_str(const struct str *v, uint32_t n, struct str s)
{
    return n && bsearch(&s, v, n, sizeof(*v), sched_cmp_str) != NULL;
}

/* terms.c */
struct sched_labels *sched_labels_get(struct sched_core *c, struct str ns, const struct kv_str *v,
                                      uint32_t n);
void sched_labels_unref(struct sched_core *c, struct sched_labels *l);
void sched_labels_refresh(struct sched_core *c, struct sched_labels *l);
void sched_pod_compile_terms(struct sched_core *c, struct sched_pod *p, const struct api_pod *pod);
void sched_pod_drop_terms(struct sched_core *c, struct sched_pod *p);
void sched_terms_count(struct sched_core *c, struct sched_pod *p,
                       int by); /* p was placed or goes */
void sched_topo_node_changed(struct sched_core *c, struct sched_node *n);
void sched_terms_free_all(struct sched_core *c);
bool sched_term_matches(struct sched_core *c, const struct sched_term *t,
                        const struct sched_labels *l);

/* affinity.c: narrow bias (and say why in fail, when not NULL); bias has one entry a slot. */
void sched_filter_terms(struct sched_core *c, const struct sched_pod *p, float *bias,
                        uint8_t *fail);
bool sched_needs_terms(struct sched_core *c, const struct sched_pod *p);
