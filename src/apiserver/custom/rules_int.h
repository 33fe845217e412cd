/* What compiled rules are. */
#pragma once

#include "apiserver/custom/rules.h"
#include "cel/cel.h"

enum rule_var { RULE_SELF, RULE_OLD_SELF };

struct rule {
    struct rule *next;                             /* of all, for freeing */
    struct cel_env *env;                           /* owned */
    struct cel_program *program, *message_program; /* owned; message_program may be NULL */
    const char *cause;                             /* CAUSE_* */
    struct str text;                               /* without white space around it */
    struct str message;                            /* absent: made of the text */
    struct str field;  /* what its fieldPath adds to the path: ".spec.x" */
    struct str broken; /* present: why it cannot be evaluated */
    bool uses_old, old_is_optional;
};

struct rule_node;
struct rule_member {
    struct str name;
    struct rule_node *node;
};
/* A place of the schema with rules here or below; other places have no node. */
struct rule_node {
    const struct cel_type *type;
    const char *type_text;
    struct rule **rules;
    struct rule_member *members;
    struct rule_node *items, *additional;
    struct str *list_keys; /* of a list that is a map */
    uint32_t n_rules, n_members, n_list_keys;
    bool atomic; /* what is in it has no former value */
};

struct rules {
    struct arena arena;  /* owned; nodes */
    struct cel_env *env; /* owned; types of all nodes */
    struct rule *all;    /* owned */
    struct rule_node *root;
};
