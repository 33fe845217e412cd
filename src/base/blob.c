/* Reference counts are atomic because the core hands objects to I/O threads; the bytes never
 * change. */
#include "base/blob.h"
#include "base/mem.h"

#include <stdatomic.h>

struct blob *blob_new(struct str content)
{
    struct blob *b = xmalloc(sizeof(*b) + content.n + 1);

    atomic_init(&b->refs, 1);
    b->n = content.n;
    if (content.n)
        memcpy(b->data, content.p, content.n);
    b->data[content.n] = '\0';
    return b;
}

struct blob *blob_ref(struct blob *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

struct blob *blob_unref(struct blob *b)
{
    if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
        free(b);
    return NULL;
}
