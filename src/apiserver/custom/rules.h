/* Rules in CEL of custom kinds (x-kubernetes-validations): compiled with a version of a definition,
 * evaluated when an object of it is written. Words, limits and order are those of a Kubernetes
 * server.
 *
 * Compiled rules never change: any thread may evaluate them. A rule that does not compile (its
 * definition was stored before rules were looked at) refuses every object that has its place. */
#pragma once

#include "api/warnings.h"
#include "base/error.h"
#include "codec/json.h"
#include "schema/structural.h"

#define RULES_DEPTH_MAX 100   /* more than a structural schema has (STRUCTURAL_DEPTH_MAX) */
#define RULES_MAX       10000 /* of one schema; each is some kilobytes when it is compiled */

struct api_custom_resource_definition;
struct rules;

/* The rules of a schema, which is borrowed; NULL: it has none. Breaches of a definition become
 * causes below `path`; err may be NULL. */
struct rules *rules_new(const struct json *schema, struct str path, struct error *err);
void rules_free(void *rules); /* NULL is fine */

/* A definition as it is about to be written; a version whose schema is as it was is not looked at.
 * old may be NULL. */
void rules_check(const struct api_custom_resource_definition *crd,
                 const struct api_custom_resource_definition *old, struct error *err);

struct rules_object { /* that fits its schema, before and after */
    const struct structural *schema;
    const struct json *now, *old; /* old: NULL for a new one */
};
/* Breaches become causes; those of rules that say nothing of oldSelf, at values that have not
 * changed (structural_same), become warnings. */
void rules_validate(const struct rules *rules, const struct rules_object *o, struct error *err,
                    struct warnings *w);
