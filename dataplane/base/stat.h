/*
 * stat.h: named counters. Each core owns one struct stat and adds without atomics' cost (relaxed
 * load/store of its own cell); the control thread reads all of them in place and sums.
 */
#ifndef VEREDUS_STAT_H
#define VEREDUS_STAT_H

#include <stdatomic.h>
#include <stdint.h>

enum stat_id {
#define STAT(name, help) STAT_##name,
#include "stat.def"
#undef STAT
	STAT__N
};

struct stat {
	_Alignas(64) _Atomic uint64_t v[STAT__N];
};

static inline void stat_add(struct stat *s, enum stat_id id, uint64_t n)
{
	uint64_t v = atomic_load_explicit(&s->v[id], memory_order_relaxed);
	atomic_store_explicit(&s->v[id], v + n, memory_order_relaxed);
}

static inline void stat_inc(struct stat *s, enum stat_id id)
{
	stat_add(s, id, 1);
}

static inline uint64_t stat_get(const struct stat *s, enum stat_id id)
{
	return atomic_load_explicit(&s->v[id], memory_order_relaxed);
}

const char *stat_name(enum stat_id id);
const char *stat_help(enum stat_id id);

#endif
