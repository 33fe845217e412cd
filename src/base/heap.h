/* Intrusive binary min-heap: a node knows its place, so it can be removed or moved in O(log n). */
#pragma once

#include "base/base.h"

struct heap_node {
    size_t index; /* place + 1; 0: in no heap */
};

typedef bool (*heap_less_fn)(const struct heap_node *a, const struct heap_node *b);

struct heap {
    struct heap_node **v; /* owned array of borrowed nodes */
    size_t n, cap;
    heap_less_fn less;
};

void heap_init(struct heap *h, heap_less_fn less);
void heap_fini(struct heap *h);
void heap_push(struct heap *h, struct heap_node *node);
void heap_remove(struct heap *h, struct heap_node *node); /* no-op when in no heap */
void heap_update(struct heap *h, struct heap_node *node); /* its key changed */
struct heap_node *heap_top(const struct heap *h);         /* NULL when empty */
struct heap_node *heap_pop(struct heap *h);               /* NULL when empty */
