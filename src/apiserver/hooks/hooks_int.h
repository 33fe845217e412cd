/* What the files of the webhooks share: hooks.c (configurations), hook_run.c (a call that waits),
 * hook_ask.c (one question). */
#pragma once

#include "apiserver/admit/admit.h"
#include "apiserver/hooks/hook_review.h"
#include "apiserver/hooks/hooks.h"

#define HOOK_TRIES_MAX 5 /* K8S: of a patch whose object changes under it */
#define HOOK_WAIT_MAX                                                                              \
    (60 * NSEC_PER_SEC) /* K8S: of a request; one webhook has 30 s, but there may be many */

enum hook_phase {
    HOOK_MUTATING,
    HOOK_VALIDATING,
    _HOOK_PHASE_MAX,
};

struct hook { /* one webhook of a configuration */
    struct hook_config *config;
    struct str name;
    enum hook_phase phase;
    struct match match;
    struct conditions *conditions; /* owned; NULL: none */
    struct outcall_target target;
    int64_t timeout_ms;
    bool ignore_failure;
    bool again_if_needed; /* reinvocationPolicy */
    bool no_side_effects; /* of a dry run at least */
    bool v1;
};

struct hook_config {
    unsigned refs;
    struct object *object; /* owned reference; texts point into it */
    struct arena arena;
    struct hook *hooks;
    uint32_t n;
};

/* All of a phase, by name of configuration: immutable, counted, since calls wait for some of it. */
struct hook_list {
    unsigned refs;
    size_t n, n_configs;
    struct hook **v;              /* owned */
    struct hook_config **configs; /* owned references */
};

struct hooks {
    struct apiserver *server;
    struct store_watch watches[_HOOK_PHASE_MAX];
    struct map configs[_HOOK_PHASE_MAX]; /* by name; struct hook_config */
    struct hook_list *lists[_HOOK_PHASE_MAX];
    /* by number of the stored kind: enum admit_op bits some webhook is about, or ABOUT_UNKNOWN */
    uint8_t *about;
    size_t n_about;
    struct list waiting; /* struct hook_state */
    struct map figures;  /* struct hook_figures */
    nsec_t ignored_told; /* when the log was last told of one that failed and is ignored */
};

/* One question to one webhook. */
struct hook_ask {
    struct hook_ask *next;
    struct hook_state *state;
    const struct hook *hook; /* as long as the state's list */
    unsigned index;          /* in the list: its number in audit annotations */
    unsigned round;
    const struct schema_kind *as; /* owned reference: the version it is told of */
    struct outcall *call;         /* NULL: it is over */
    struct review_question question;
    struct arena arena; /* of the answer; also what it changed */
    /* the answer; written by the thread of the call */
    bool understood; /* it has a good form */
    bool hopeless;   /* and asks for something that cannot be done */
    struct review_answer answer;
    void *patched;        /* of the question's desc; NULL: as it was */
    struct str complaint; /* a warning about what it has made of managedFields; absent: none */
    /* of the call */
    int r;
    struct str what;
    nsec_t took;
};

enum hook_form {
    HOOK_OBJECT,
    HOOK_SUB,
    HOOK_CONNECT,
};

struct hook_state { /* in its call's arena */
    struct api_call *call;
    struct list link; /* hooks->waiting; linked: it waits */
    /* What they were asked about, and what came of it. */
    enum hook_form form;
    enum admit_op op;
    const struct schema_desc *desc;
    void *msg; /* as it is by now; NULL: a delete */
    const void *sub_old;
    struct object *old; /* owned reference */
    bool known;         /* all this holds for the next run */
    bool done[_HOOK_PHASE_MAX];
    unsigned tries; /* with another old each */
    struct hook_ask *asks, **asks_tail;
    /* while it waits */
    enum hook_phase phase;
    struct hook_list *list; /* owned reference */
    size_t at;              /* mutating: the one that is asked */
    unsigned round, pending;
    bool changed, stopped;
    struct hook_ask *answered; /* mutating: what it has changed is not taken yet */
    bool any;                  /* mutating: somebody was asked */
    struct admit_again pass;   /* what the plugins before them know for a second pass */
    bool *asked, *again; /* mutating: those that would like to be asked once more, and will be */
};

/* ---- hooks.c ---- */
struct hook_list *hook_list_unref(struct hook_list *l); /* takes NULL; returns NULL */
void hook_count(struct hooks *x, const struct hook_ask *k, nsec_t took, bool rejected);

/* ---- hook_ask.c ---- */
/* Starts it; hook_answered comes later. */
struct hook_ask *hook_ask(struct hook_state *h, struct admit_request *req, const struct hook *hook,
                          unsigned index, const struct schema_kind *as);
/* What the answer means for the call: 0: goes on (warnings and annotations are taken), negative:
 * refused, in the reply. */
int hook_take(struct hook_state *h, struct hook_ask *k) MUST_CHECK;
void hook_asks_free(struct hook_state *h);

/* ---- hook_run.c ---- */
void hook_answered(struct hook_state *h, struct hook_ask *k);
