/*
 * nap.h: a sleep of microseconds that another thread can cut short. One sleeper; any number of wakers. Waking one
 * that is awake costs a fence and a load. A wake that falls between the sleeper's last look at its
 * rings and the nap is not lost for long: the nap has an end of its own.
 */
#ifndef VEREDUS_NAP_H
#define VEREDUS_NAP_H

#include <stdatomic.h>
#include <stdint.h>

struct nap {
	_Alignas(64) atomic_int asleep;
};

/* Sleeps at most us microseconds. By the one thread that owns the nap. */
void nap_take(struct nap *n, uint32_t us);
/* The slow half of nap_wake. */
void nap_wake_sleeper(struct nap *n);

static inline void nap_wake(struct nap *n)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&n->asleep, memory_order_relaxed))
		nap_wake_sleeper(n);
}

#endif
