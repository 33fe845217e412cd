/* ValidatingAdmissionPolicy and MutatingAdmissionPolicy: rules in CEL that objects pass on their
 * way in. Policies and bindings are compiled when they come from the store and found by resource,
 * so that a call no policy is about costs one look into a map. Core thread.
 * Kubernetes: apiserver/pkg/admission/plugin/policy. */
#pragma once

#include "apiserver/admit/match.h"

struct policies;

struct policies *policies_new(struct apiserver *s);
struct policies *policies_free(struct policies *p);

/* Rows of admission's table. */
int admit_policies_mutate(struct api_call *c, void *msg, const struct object *old) MUST_CHECK;
int admit_policies_validate(struct api_call *c, const void *msg,
                            const struct object *old) MUST_CHECK;
/* What the server says of a validating policy that is written: doubts about types, and of which
 * generation. */
int admit_policy_status(struct api_call *c, void *msg, const struct object *old) MUST_CHECK;
int admit_policies_remove(struct api_call *c, const struct object *old) MUST_CHECK;
/* For what does not go through the table: connects, and subresources with bodies of their own. An
 * object that was changed is told to r. */
int policies_mutate(struct admit_request *r) MUST_CHECK;
int policies_validate(struct admit_request *r) MUST_CHECK;

/* Whether there may be any, without looking at a request. */
bool policies_any(const struct policies *p, bool mutating);
/* They may want objects of the store converted (call_stored), so calls are to be kept. */
bool policies_convert(const struct policies *p);

/* A policy as it is about to be written: expressions that do not compile become causes. One that is
 * as it was in old (NULL: there is none) is not looked at. */
void policy_check(const struct schema_kind *k, const void *msg, const void *old, struct error *err);
