/* The calls everybody makes, spelled out once. */
#include "client/client.h"

static void ignore(void *arg, const struct client_reply *reply)
{
}

static void call(struct client *c, const struct client_request *req, client_done_fn done, void *arg)
{
    client_call(c, req, done ? done : ignore, arg);
}

/* A write of msg under its own namespace and name. */
static void call_with_body(struct client *c, enum client_verb verb, const struct schema_kind *kind,
                           struct str subresource, const void *msg, client_done_fn done, void *arg)
{
    const struct api_object_meta *meta = msg;
    struct client_request req = {
        .verb = verb, .kind = kind, .ns = meta->namespace, .subresource = subresource, .body = msg};

    if (verb != CLIENT_CREATE)
        req.name = meta->name;
    call(c, &req, done, arg);
}

void client_get(struct client *c, const struct schema_kind *kind, struct str ns, struct str name,
                client_done_fn done, void *arg)
{
    struct client_request req = {.verb = CLIENT_GET, .kind = kind, .ns = ns, .name = name};

    call(c, &req, done, arg);
}

void client_create(struct client *c, const struct schema_kind *kind, const void *msg,
                   client_done_fn done, void *arg)
{
    call_with_body(c, CLIENT_CREATE, kind, STR_NONE, msg, done, arg);
}

void client_update(struct client *c, const struct schema_kind *kind, const void *msg,
                   client_done_fn done, void *arg)
{
    call_with_body(c, CLIENT_UPDATE, kind, STR_NONE, msg, done, arg);
}

void client_update_status(struct client *c, const struct schema_kind *kind, const void *msg,
                          client_done_fn done, void *arg)
{
    call_with_body(c, CLIENT_UPDATE, kind, STR("status"), msg, done, arg);
}

void client_patch(struct client *c, const struct schema_kind *kind, struct str ns, struct str name,
                  struct str subresource, enum client_patch type, struct str json,
                  client_done_fn done, void *arg)
{
    struct client_request req = {.verb = CLIENT_PATCH,
                                 .kind = kind,
                                 .ns = ns,
                                 .name = name,
                                 .subresource = subresource,
                                 .patch_type = type,
                                 .patch = json};

    ASSERT(type != CLIENT_PATCH_NONE);
    call(c, &req, done, arg);
}

void client_delete(struct client *c, const struct schema_kind *kind, struct str ns, struct str name,
                   struct str uid, client_done_fn done, void *arg)
{
    struct client_request req = {
        .verb = CLIENT_DELETE, .kind = kind, .ns = ns, .name = name, .precondition_uid = uid};

    call(c, &req, done, arg);
}
