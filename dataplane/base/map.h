/*
 * map.h: hash map from a 64-bit key to a 64-bit value (an index or a pointer), open addressing with
 * linear probing, grows by doubling. For cold and warm tables; the flow table of tcp/ is its own.
 */
#ifndef VEREDUS_MAP_H
#define VEREDUS_MAP_H

#include <stdbool.h>
#include <stdint.h>

struct map_slot {
	uint64_t key, val;
	uint8_t used;
};
struct map {
	struct map_slot *slot;
	uint32_t cap, n;
};

void map_init(struct map *m);
void map_fini(struct map *m);
bool map_get(const struct map *m, uint64_t key, uint64_t *val);
void map_put(struct map *m, uint64_t key, uint64_t val); /* inserts or replaces */
bool map_del(struct map *m, uint64_t key);
/* Start with *it = 0; false at the end. The map must not change meanwhile. */
bool map_each(const struct map *m, uint32_t *it, uint64_t *key, uint64_t *val);

#endif
