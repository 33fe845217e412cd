/* Links of what a server in the cluster answers, as a browser needs them that came through the
 * proxy of a pod, service or node: "/style.css" is /api/v1/namespaces/NS/pods/NAME/proxy/style.css
 * for it. Pure functions; any thread. Kubernetes: apimachinery/pkg/util/proxy/transport.go. */
#pragma once

#include "base/buf.h"

#define LINKS_URL_BYTES_MAX  8192 /* a longer one is left as it is */
#define LINKS_NAME_BYTES_MAX 15   /* of tags and attributes that matter */

struct links_base {    /* texts are borrowed */
    struct str prefix; /* the path up to and with "/proxy" */
    struct str server; /* HOST:PORT; its own addresses mean the same */
    struct str bare;   /* HOST, when the port is the usual one; else absent */
    struct str client; /* what the client calls us; or absent */
};

/* Appends the URL as it is to be. One that speaks of somebody else, or is relative, stays. */
void links_url(const struct links_base *b, struct str url, struct buf *out);

/* A page on its way through, in pieces of any size. Nothing but the values of attributes that hold
 * links is changed, and of those only one is kept in memory. */
struct links {
    const struct links_base *base; /* borrowed */
    unsigned state;
    bool closing;   /* of a tag: "</..." */
    bool holds;     /* the value that is read is a link */
    unsigned count; /* of dashes in a comment, or of letters of the end of raw text */
    struct buf held;
    struct str raw;        /* static: the element whose content is text up to its end tag */
    size_t name_n, attr_n; /* one more than the limit: too long to matter */
    char name[LINKS_NAME_BYTES_MAX], attr[LINKS_NAME_BYTES_MAX];
};

void links_init(struct links *l, const struct links_base *base);
void links_fini(struct links *l);
void links_feed(struct links *l, struct str in, struct buf *out);
void links_end(struct links *l, struct buf *out); /* the page is over */
