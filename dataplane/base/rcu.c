/*
 * rcu.c: deferred frees over rte_rcu_qsbr.
 *
 * Each deferred pointer carries the token of the moment it was unpublished; it is freed once every reader
 * that is online has passed a quiescent point since. Tokens grow along the list, so only its front is
 * looked at. The lock guards the list and is never held while a free function runs: it may defer again.
 */
#include "rcu.h"
#include <pthread.h>
#include <stdlib.h>
#include <rte_rcu_qsbr.h>
#include "check.h"

struct deferred {
	struct deferred *next;
	void (*free_fn)(void *);
	void *p;
	uint64_t token;
};

struct rcu {
	struct rte_rcu_qsbr *v;
	pthread_mutex_t lock;
	struct deferred *first, **last;
	unsigned n;
};

struct rcu *rcu_create(unsigned readers_max)
{
	struct rcu *r = calloc(1, sizeof(*r));
	CHECK(r);
	size_t size = rte_rcu_qsbr_get_memsize(readers_max);
	CHECK(size > 1); /* it returns 1 for no readers at all */
	size = RTE_ALIGN_CEIL(size, (size_t)RTE_CACHE_LINE_SIZE);
	r->v = aligned_alloc(RTE_CACHE_LINE_SIZE, size);
	CHECK(r->v);
	CHECK(rte_rcu_qsbr_init(r->v, readers_max) == 0);
	CHECK(pthread_mutex_init(&r->lock, NULL) == 0);
	r->last = &r->first;
	return r;
}

void rcu_reader_online(struct rcu *r, unsigned id)
{
	CHECK(rte_rcu_qsbr_thread_register(r->v, id) == 0);
	rte_rcu_qsbr_thread_online(r->v, id);
}

void rcu_reader_offline(struct rcu *r, unsigned id)
{
	rte_rcu_qsbr_thread_offline(r->v, id);
	CHECK(rte_rcu_qsbr_thread_unregister(r->v, id) == 0);
}

void rcu_quiescent(struct rcu *r, unsigned id)
{
	rte_rcu_qsbr_quiescent(r->v, id);
}

void rcu_defer(struct rcu *r, void (*free_fn)(void *), void *p)
{
	struct deferred *d = malloc(sizeof(*d));
	CHECK(d);
	*d = (struct deferred){.free_fn = free_fn, .p = p};
	pthread_mutex_lock(&r->lock);
	d->token = rte_rcu_qsbr_start(r->v);
	*r->last = d;
	r->last = &d->next;
	r->n++;
	pthread_mutex_unlock(&r->lock);
}

static void run_all(struct deferred *d)
{
	while (d) {
		struct deferred *next = d->next;
		d->free_fn(d->p);
		free(d);
		d = next;
	}
}

/* Takes the front of the list that no reader can see, or all of it. */
static struct deferred *take_front(struct rcu *r, bool all)
{
	struct deferred *taken = NULL, **end = &taken;

	pthread_mutex_lock(&r->lock);
	while (r->first && (all || rte_rcu_qsbr_check(r->v, r->first->token, false) == 1)) {
		*end = r->first;
		end = &r->first->next;
		r->first = *end;
		r->n--;
	}
	*end = NULL;
	if (!r->first)
		r->last = &r->first;
	pthread_mutex_unlock(&r->lock);
	return taken;
}

unsigned rcu_reclaim(struct rcu *r)
{
	run_all(take_front(r, false));
	pthread_mutex_lock(&r->lock);
	unsigned left = r->n;
	pthread_mutex_unlock(&r->lock);
	return left;
}

void rcu_destroy(struct rcu **rp)
{
	struct rcu *r = *rp;
	struct deferred *d;

	if (!r)
		return;
	while ((d = take_front(r, true)))
		run_all(d);
	pthread_mutex_destroy(&r->lock);
	free(r->v);
	free(r);
	*rp = NULL;
}
