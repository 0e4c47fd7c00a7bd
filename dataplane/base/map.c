/*
 * map.c: open addressing, linear probing, at most 3/4 full, deletion by moving later entries back
 * (no tombstones, so probes never get longer with time).
 *
 * The hash is a fixed bijection: the same calls give the same order in every run, which simulation needs.
 * Keys that a peer may choose are hashed with siphash() before they come here.
 */
#include "map.h"
#include <stdlib.h>
#include "check.h"

#define CAP_MIN 16u

void map_init(struct map *m)
{
	*m = (struct map){0};
}

void map_fini(struct map *m)
{
	free(m->slot);
	map_init(m);
}

/* The finalizer of MurmurHash3: every bit of the key reaches the low bits. */
static uint32_t map_home(const struct map *m, uint64_t key)
{
	key ^= key >> 33;
	key *= 0xff51afd7ed558ccdu;
	key ^= key >> 33;
	key *= 0xc4ceb9fe1a85ec53u;
	key ^= key >> 33;
	return (uint32_t)key & (m->cap - 1);
}

/* Where key is, or the free slot where it would go. cap > n. */
static struct map_slot *map_probe(const struct map *m, uint64_t key)
{
	uint32_t i = map_home(m, key);

	while (m->slot[i].used && m->slot[i].key != key)
		i = (i + 1) & (m->cap - 1);
	return &m->slot[i];
}

bool map_get(const struct map *m, uint64_t key, uint64_t *val)
{
	if (m->n == 0)
		return false;
	const struct map_slot *s = map_probe(m, key);
	if (!s->used)
		return false;
	*val = s->val;
	return true;
}

static void map_grow(struct map *m)
{
	struct map old = *m;

	CHECK(old.cap <= UINT32_MAX / 2);
	m->cap = old.cap ? old.cap * 2 : CAP_MIN;
	m->slot = calloc(m->cap, sizeof(*m->slot));
	CHECK(m->slot);
	for (uint32_t i = 0; i < old.cap; i++) {
		if (old.slot[i].used)
			*map_probe(m, old.slot[i].key) = old.slot[i];
	}
	free(old.slot);
}

void map_put(struct map *m, uint64_t key, uint64_t val)
{
	if (m->n >= m->cap - m->cap / 4)
		map_grow(m);
	struct map_slot *s = map_probe(m, key);
	if (!s->used)
		m->n++;
	*s = (struct map_slot){key, val, 1};
}

bool map_del(struct map *m, uint64_t key)
{
	if (m->n == 0)
		return false;
	struct map_slot *s = map_probe(m, key);
	if (!s->used)
		return false;

	/* An entry behind the hole moves into it unless its home lies between the hole and itself. */
	uint32_t mask = m->cap - 1;
	uint32_t hole = (uint32_t)(s - m->slot);
	for (uint32_t i = (hole + 1) & mask; m->slot[i].used; i = (i + 1) & mask) {
		uint32_t home = map_home(m, m->slot[i].key);
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			m->slot[hole] = m->slot[i];
			hole = i;
		}
	}
	m->slot[hole].used = 0;
	m->n--;
	return true;
}

bool map_each(const struct map *m, uint32_t *it, uint64_t *key, uint64_t *val)
{
	while (*it < m->cap) {
		const struct map_slot *s = &m->slot[(*it)++];
		if (s->used) {
			*key = s->key;
			*val = s->val;
			return true;
		}
	}
	return false;
}
