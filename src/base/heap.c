/* Timers and queues need "the least one" and "take this one out"; an indexed heap gives both. */
#include "base/heap.h"
#include "base/mem.h"

void heap_init(struct heap *h, heap_less_fn less)
{
    *h = (struct heap){.less = less};
}

void heap_fini(struct heap *h)
{
    free(h->v);
    *h = (struct heap){.less = h->less};
}

static void heap_place(struct heap *h, size_t i, struct heap_node *node)
{
    h->v[i] = node;
    node->index = i + 1;
}

static void heap_up(struct heap *h, size_t i)
{
    struct heap_node *node = h->v[i];

    while (i > 0 && h->less(node, h->v[(i - 1) / 2])) {
        heap_place(h, i, h->v[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_place(h, i, node);
}

static void heap_down(struct heap *h, size_t i)
{
    struct heap_node *node = h->v[i];

    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->n)
            break;
        if (child + 1 < h->n && h->less(h->v[child + 1], h->v[child]))
            child++;
        if (!h->less(h->v[child], node))
            break;
        heap_place(h, i, h->v[child]);
        i = child;
    }
    heap_place(h, i, node);
}

void heap_push(struct heap *h, struct heap_node *node)
{
    ASSERT(node->index == 0);
    ARRAY_RESERVE(h->v, h->n, h->cap);
    heap_place(h, h->n++, node);
    heap_up(h, h->n - 1);
}

void heap_remove(struct heap *h, struct heap_node *node)
{
    size_t i = node->index;

    if (!i--)
        return;
    ASSERT(i < h->n && h->v[i] == node);
    node->index = 0;
    if (i == --h->n)
        return;
    heap_place(h, i, h->v[h->n]);
    heap_update(h, h->v[i]);
}

void heap_update(struct heap *h, struct heap_node *node)
{
    ASSERT(node->index > 0);
    heap_up(h, node->index - 1);
    heap_down(h, node->index - 1);
}

struct heap_node *heap_top(const struct heap *h)
{
    return h->n ? h->v[0] : NULL;
}

struct heap_node *heap_pop(struct heap *h)
{
    struct heap_node *top = heap_top(h);

    if (top)
        heap_remove(h, top);
    return top;
}
