/* Content negotiation: what the client takes (Accept) and what it sent (Content-Type). */
#pragma once

#include "base/arena.h"

enum media {
    MEDIA_JSON,
    MEDIA_YAML,
    MEDIA_PB,
};

enum accept_as {
    AS_ITSELF,
    AS_TABLE,        /* as=Table;v=v1;g=meta.k8s.io; v1beta1 as well */
    AS_PARTIAL,      /* as=PartialObjectMetadata */
    AS_PARTIAL_LIST, /* as=PartialObjectMetadataList */
    AS_DISCOVERY_V2, /* as=APIGroupDiscoveryList;v=v2;g=apidiscovery.k8s.io */
};

struct accept {
    enum media media;
    enum accept_as as;
    bool any;    /* no Accept, or a wildcard: the client has no wish */
    bool beta;   /* what is `as` something else says that it is of meta.k8s.io/v1beta1 */
    bool pretty; /* ;pretty=1 */
};

/* -ENOMSG: nothing we have is acceptable. header may be absent. json_only: objects have no protobuf
 * form (their metadata alone has). */
int accept_parse(struct str header, bool json_only, struct accept *ret) MUST_CHECK;
/* Without its parameters, lower case compared: absent counts as JSON. -ENOTSUP otherwise. */
int content_type_parse(struct str header, enum media *ret) MUST_CHECK;
