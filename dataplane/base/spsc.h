/*
 * spsc.h: the one ring type between threads: one producer, one consumer, pointers by value.
 * The only places with atomics are this file, the counters (stat.h) and rcu.h.
 */
#ifndef VEREDUS_SPSC_H
#define VEREDUS_SPSC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spsc {
	/* written by the producer */
	_Alignas(64) atomic_uint head;
	uint32_t tail_seen;
	/* written by the consumer */
	_Alignas(64) atomic_uint tail;
	uint32_t head_seen;
	/* read only */
	_Alignas(64) uint32_t mask;
	void **slot;
};

/* size: a power of two. Aborts when memory is out. */
void spsc_init(struct spsc *r, uint32_t size);
void spsc_fini(struct spsc *r);

/* False when full; then nothing was stored. */
static inline bool spsc_push(struct spsc *r, void *p)
{
	uint32_t h = atomic_load_explicit(&r->head, memory_order_relaxed);
	if (h - r->tail_seen > r->mask) {
		r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
		if (h - r->tail_seen > r->mask)
			return false;
	}
	r->slot[h & r->mask] = p;
	atomic_store_explicit(&r->head, h + 1, memory_order_release);
	return true;
}

/* NULL when empty. */
static inline void *spsc_pop(struct spsc *r)
{
	uint32_t t = atomic_load_explicit(&r->tail, memory_order_relaxed);
	if (t == r->head_seen) {
		r->head_seen = atomic_load_explicit(&r->head, memory_order_acquire);
		if (t == r->head_seen)
			return NULL;
	}
	void *p = r->slot[t & r->mask];
	atomic_store_explicit(&r->tail, t + 1, memory_order_release);
	return p;
}

static inline bool spsc_empty(struct spsc *r)
{
	return atomic_load_explicit(&r->head, memory_order_acquire) ==
	       atomic_load_explicit(&r->tail, memory_order_acquire);
}

#endif
