/*
 * rcu.h: publish a pointer to many readers (workers) and free the old value when none can still see it.
 * Over DPDK's rte_rcu_qsbr. A reader never blocks: it marks one quiescent point per turn of its loop.
 */
#ifndef VEREDUS_RCU_H
#define VEREDUS_RCU_H

#include <stdint.h>

struct rcu;
/* readers_max: worker ids are 0 .. readers_max-1. Aborts when memory is out. */
struct rcu *rcu_create(unsigned readers_max);
void rcu_destroy(struct rcu **r); /* runs all deferred frees */
void rcu_reader_online(struct rcu *r, unsigned id);
void rcu_reader_offline(struct rcu *r, unsigned id);
/* By reader id, once per turn, when it holds no pointer obtained under the RCU. */
void rcu_quiescent(struct rcu *r, unsigned id);
/* From any thread, after p was unpublished: free_fn(p) runs in a later rcu_reclaim and may defer more. */
void rcu_defer(struct rcu *r, void (*free_fn)(void *), void *p);
/* Frees what no reader can see any more; returns how many are left. Never blocks. */
unsigned rcu_reclaim(struct rcu *r);

#endif
