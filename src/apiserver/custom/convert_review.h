/* The ConversionReview of apiextensions.k8s.io: what a conversion webhook is asked, and whether its
 * answer can be believed. Pure functions on frozen objects: any thread.
 *
 * The webhook may change everything of an object but its identity, and of its metadata only labels
 * and annotations: the rest is taken from the object it was given, whatever the answer says. */
#pragma once

#include "api/object.h"
#include "apiserver/limits.h"
#include "base/error.h"
#include "schema/custom.h"

struct convert_review {
    bool v1beta1;                 /* the form of ConversionReview; otherwise v1 */
    char uid[37];                 /* of the request */
    const struct schema_kind *to; /* variant the objects shall be of */
    const struct custom *schema;  /* the version's, which prunes what comes; NULL: not known */
    /* By which an object is read before it is sent, if it was written before that schema came;
     * each may be NULL. As many as objects. */
    const struct custom *const *from;
    struct object *const *objects;
    size_t n;
};

void convert_review_print(const struct convert_review *r, struct buf *out);
/* ret: n references, in the order asked for, each with the revision of its source. Otherwise
 * -EBADMSG with the words of a Kubernetes server, and nothing is in ret. */
int convert_review_read(const struct convert_review *r, struct str answer, struct object **ret,
                        struct error *err) MUST_CHECK;

/* "stable.example.com/v1, Kind=CronTab" in a. */
struct str convert_kind_text(const struct schema_kind *k, struct arena *a);
