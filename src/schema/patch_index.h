/* Members of JSON objects by name, for patches: a patch and the object it changes may both have a
 * hundred thousand members, and json_get looks at each. Objects of few members are searched as they
 * are; a wider one gets a map, kept as long as the index, when it is first looked into.
 *
 * All changes to an object of the tree must go through here (or be followed by member_forget) once
 * the index has seen it. An object that has a member twice loses all but the last when it is
 * indexed: the last one is what counts in JSON. */
#pragma once

#include "base/arena.h"
#include "base/map.h"
#include "codec/json.h"

struct member_index {
    struct arena *a;    /* borrowed */
    struct map objects; /* address of the object -> struct wide */
};

void member_index_fini(struct member_index *x);
/* As json_get, json_set and json_remove. obj may be NULL or no object in get and remove. */
struct json *member_get(struct member_index *x, struct json *obj, struct str key);
void member_set(struct member_index *x, struct json *obj, struct str key, struct json *value);
struct json *member_remove(struct member_index *x, struct json *obj, struct str key);
/* The object's members were replaced by other means. */
void member_forget(struct member_index *x, struct json *obj);

/* Text that is equal for equal values (json_equal), of one type or another: a key for maps. Of
 * arrays and objects the order counts too, which no list that is merged by value has. */
struct str json_key(const struct json *v, struct arena *a);
