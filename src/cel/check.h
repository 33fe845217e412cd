/* What the files of the type checker share. */
#pragma once

#include "cel/internal.h"

struct scope { /* of a macro's variable */
    const struct scope *up;
    struct str name;
    const struct cel_type *type;
    uint32_t slot;
};

struct check {
    struct compile *c;
    const struct scope *scope;
    struct cel_type **trail; /* bound parameters, to be unbound */
    unsigned n_trail, cap_trail;
    unsigned unify_depth;
};

/* unify.c: types with parameters, and whether one may stand for another. */
const struct cel_type *type_deref(const struct cel_type *t); /* what a bound parameter stands for */
struct cel_type *type_new(struct check *k, enum cel_kind kind);
struct str type_text(struct check *k, const struct cel_type *t);
bool type_wild(const struct cel_type *t); /* dyn, or an error that was said already */
/* Whether a value of type t may stand where `formal` is wanted. Binds parameters, also when it
 * fails: then unify_undo to where n_trail was. */
bool unify(struct check *k, const struct cel_type *t, const struct cel_type *formal);
void unify_undo(struct check *k, unsigned to);
bool unify_try(struct check *k, const struct cel_type *t, const struct cel_type *formal);
/* The next type of a signature; params are made as they are met. */
const struct cel_type *sig_instantiate(struct check *k, const char **sig,
                                       const struct cel_type *params[2]);

/* check.c */
const struct cel_type *check_node(struct check *k, struct node *v);
/* a.b.c as one dotted name; absent when it is anything else. */
struct str check_dotted(struct check *k, const struct node *v);
bool check_known_root(struct check *k, const struct node *v); /* a is a variable */

/* cel-go resolves a path that is an index or a branch of ?: as part of what is around it, and
 * charges its steps but not the variable it starts at. */
void check_free(struct node *v);

/* check_call.c */
const struct cel_type *check_call(struct check *k, struct node *v);
void check_no_overload(struct check *k, const struct node *v, const char *name, bool member,
                       const struct cel_type *const *args, unsigned n);
