/* From method and path to what is asked for: a pure function over the table of kinds. */
#pragma once

#include "apiserver/call.h"
#include "apiserver/custom/kinds.h"
#include "http/server.h"

struct route {
    enum api_verb verb;
    const char *authz_verb;         /* NULL: by verb */
    const struct schema_kind *kind; /* NULL: API_PATH */
    struct str ns, name, subresource;
    bool needs_body, optional_body;
    bool is_status_ok;
};

enum route_result {
    ROUTE_OK,
    ROUTE_NOT_FOUND,
    ROUTE_BAD_METHOD,
    ROUTE_BAD_PATH, /* escapes that do not decode */
};

/* What the value of a boolean in a query says, by the rule of Kubernetes: all but 0 and false mean
 * yes, nothing too. */
bool route_query_bool(struct str value);

/* Names are decoded into a. query tells watch from list. customs may be NULL. A custom kind comes
 * with a reference, whatever the result: custom_unref(ret->kind) does no harm to other kinds. */
enum route_result route_find(struct kinds *customs, enum http_method method, struct str path,
                             struct str query, struct arena *a, struct route *ret);
