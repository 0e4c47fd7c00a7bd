/* list.h: an intrusive, circular, doubly linked list. A node that is in no list points to itself. */
#ifndef VEREDUS_LIST_H
#define VEREDUS_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include "check.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

/* Puts node last in head. The node must be in no list. */
static inline void list_push(struct list *head, struct list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

static inline void list_push_front(struct list *head, struct list *node)
{
	list_push(head->next, node);
}

/* Takes node out of its list; a node that is in none stays so. */
static inline void list_del(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/* First node, taken out, or NULL. */
static inline struct list *list_pop(struct list *head)
{
	struct list *n = head->next;
	if (n == head)
		return NULL;
	list_del(n);
	return n;
}

#define LIST_ENTRY(node, type, member) CONTAINER_OF(node, type, member)
/* The body may delete the current node. */
#define LIST_EACH(pos, head)                                                                       \
	for (struct list *pos = (head)->next, *pos##_next = pos->next; pos != (head);              \
	     pos = pos##_next, pos##_next = pos->next)

#endif
