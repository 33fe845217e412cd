/* The bytes a stream has yet to send. HTTP writes heads, frames and chunks in little pieces: those
 * are gathered in blocks, so that a turn's answers leave in one writev or one TLS record. Large or
 * shared bytes (an encoded list, a log block) are kept by reference instead. */
#include "rt/stream_impl.h"
#include "base/mem.h"

#define CHUNK_BYTES 4000 /* with its head under a page */

static void wq_append(struct rt_wqueue *q, struct rt_chunk *c)
{
    if (q->tail)
        q->tail->next = c;
    else
        q->head = c;
    q->tail = c;
}

void rt_wqueue_copy(struct rt_wqueue *q, struct str data)
{
    struct rt_chunk *c = q->tail;

    if (data.n == 0)
        return;
    q->bytes += data.n;
    if (c && c->cap) {
        size_t end = (size_t)(c->p + c->n - c->data), k = MIN(c->cap - end, data.n);
        memcpy(c->data + end, data.p, k);
        c->n += k;
        data.p += k;
        data.n -= k;
    }
    if (data.n > 0) {
        size_t cap = MAX(data.n, (size_t)CHUNK_BYTES);
        c = xmalloc(sizeof(*c) + cap);
        *c = (struct rt_chunk){.p = c->data, .n = data.n, .cap = cap};
        memcpy(c->data, data.p, data.n);
        wq_append(q, c);
    }
}

void rt_wqueue_ref(struct rt_wqueue *q, struct str data, rt_fn release, void *arg)
{
    struct rt_chunk *c;

    if (data.n == 0) {
        if (release)
            release(arg);
        return;
    }
    c = xmalloc(sizeof(*c));
    *c = (struct rt_chunk){.p = data.p, .n = data.n, .release = release, .arg = arg};
    wq_append(q, c);
    q->bytes += data.n;
}

int rt_wqueue_iov(const struct rt_wqueue *q, struct iovec *iov, int max)
{
    int n = 0;

    for (struct rt_chunk *c = q->head; c && n < max; c = c->next)
        iov[n++] = (struct iovec){.iov_base = (char *)c->p, .iov_len = c->n};
    return n;
}

void rt_wqueue_consume(struct rt_wqueue *q, size_t n)
{
    ASSERT(n <= q->bytes);
    q->bytes -= n;
    while (q->head && n >= q->head->n) {
        struct rt_chunk *c = q->head;
        n -= c->n;
        q->head = c->next;
        if (!q->head)
            q->tail = NULL;
        if (c->release)
            c->release(c->arg);
        free(c);
    }
    if (n > 0) {
        q->head->p += n;
        q->head->n -= n;
    }
}

void rt_wqueue_clear(struct rt_wqueue *q)
{
    rt_wqueue_consume(q, q->bytes);
    ASSERT(!q->head && !q->tail);
}
