/*
 * pool.h: fixed-size objects reserved at start, taken and given back by one thread. An object has an
 * index (stable name, 0 .. n-1) and a generation that changes at each release, so that late answers
 * are matched by (index, generation), never by a bare pointer.
 */
#ifndef VEREDUS_POOL_H
#define VEREDUS_POOL_H

#include <stddef.h>
#include <stdint.h>

struct pool {
	uint8_t *mem;     /* address space for n objects, touched only when used */
	uint32_t *gen;    /* generation of each: odd while it is out */
	uint32_t *free;   /* stack of indexes given back */
	uint32_t n, n_free; /* n_free == n: all are back */
	uint32_t high;    /* objects ever handed out: those below were touched */
	size_t size;
};

/* size bytes each (rounded up to 64). Address space only: pages are touched at first use. */
void pool_init(struct pool *p, uint32_t n, size_t size);
void pool_fini(struct pool *p);
/* Not cleared; NULL when none is left. */
void *pool_take(struct pool *p);
void pool_give(struct pool *p, void *obj);
/* Its generation is p->gen[pool_index(p, obj)]. */
uint32_t pool_index(const struct pool *p, const void *obj);
/* The object if (index, gen) is in use and the same, else NULL. */
void *pool_find(const struct pool *p, uint32_t index, uint32_t gen);

#endif
