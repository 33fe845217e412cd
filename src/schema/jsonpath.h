/* The part of JSONPath that definitions of custom kinds use: members, indices, wildcards, slices of
 * everything, and filters that compare a member with a value:
 *   .spec.replicas   .metadata.labels.app\.kubernetes\.io/name   .status.parts[0].name
 *   .status.conditions[?(@.type=="Ready")].status   .spec.hosts[*]   ..name is not taken
 */
#pragma once

#include "base/arena.h"
#include "codec/json.h"

#define JSONPATH_STEPS_MAX 32
#define JSONPATH_HITS_MAX  1000 /* values one path may lead to; the rest is not looked at */

struct jsonpath;

/* In the arena; NULL, and why in *ret_why (static). */
const struct jsonpath *jsonpath_compile(struct str text, struct arena *a, const char **ret_why);
/* True when it has members only: it leads to one value at most. */
bool jsonpath_is_plain(const struct jsonpath *p);
/* The n-th member's name of a plain path; absent behind its end. */
struct str jsonpath_member(const struct jsonpath *p, size_t n);
/* Calls fn for each value it leads to. */
typedef void (*jsonpath_fn)(void *arg, const struct json *v);
void jsonpath_find(const struct jsonpath *p, const struct json *root, jsonpath_fn fn, void *arg);
/* The first of them, or NULL. */
const struct json *jsonpath_first(const struct jsonpath *p, const struct json *root);
