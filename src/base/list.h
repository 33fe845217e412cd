/* Intrusive doubly linked list. A node that is in no list points at itself. */
#pragma once

#include "base/base.h"

struct list {
    struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}
static inline bool list_linked(const struct list *node) /* node was initialised */
{
    return node->next != node;
}
static inline void list_insert_after(struct list *at, struct list *node)
{
    node->prev = at;
    node->next = at->next;
    at->next->prev = node;
    at->next = node;
}
static inline void list_push_back(struct list *l, struct list *node)
{
    list_insert_after(l->prev, node);
}
static inline void list_push_front(struct list *l, struct list *node)
{
    list_insert_after(l, node);
}
static inline void list_remove(struct list *node) /* idempotent */
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}
#define LIST_FIRST(l, type, member) CONTAINER_OF((l)->next, type, member)
#define LIST_FOR_EACH(it, l, member)                                                               \
    for (typeof(it) it##_next = ((it) = CONTAINER_OF((l)->next, typeof(*(it)), member),            \
                                CONTAINER_OF((it)->member.next, typeof(*(it)), member));           \
         &(it)->member != (l);                                                                     \
         (it) = it##_next, it##_next = CONTAINER_OF((it)->member.next, typeof(*(it)), member))
/* The current node may be removed or freed inside the loop. */
