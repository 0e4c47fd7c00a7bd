/*
 * arena.c: a list of malloc'ed blocks, newest first; memory is cut from the head only.
 *
 * 1. total is the sum of all blocks, their headers included, and never above limit.
 * 2. used counts from the start of the head block, its header included, and stays 16-aligned.
 * A request that does not fit in the head opens a new block; what is left of the old one is lost until
 * the reset, which is why blocks double only up to 64 KiB.
 */
#include "arena.h"
#include <stdlib.h>
#include "asan.h"
#include "check.h"

#define BLOCK_MIN 1024u
#define BLOCK_MAX 65536u
#define ALIGN     16u

struct arena_block {
	struct arena_block *next;
	uint32_t size; /* with this header */
	uint32_t pad;
};
_Static_assert(sizeof(struct arena_block) % ALIGN == 0, "the first object must be aligned");

void arena_init(struct arena *a, uint32_t limit)
{
	*a = (struct arena){.limit = limit};
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* A new head with room for need bytes behind its header; false when the limit or malloc says no. */
static bool arena_grow(struct arena *a, uint32_t need)
{
	uint32_t room = a->limit - a->total;
	uint32_t size = a->head ? min_u32(a->head->size, BLOCK_MAX / 2) * 2 : BLOCK_MIN;
	uint32_t head_len = (uint32_t)sizeof(struct arena_block);

	if (room < head_len || need > room - head_len)
		return false;
	size = min_u32(size, room);
	if (size < need + head_len)
		size = need + head_len;
	struct arena_block *b = malloc(size);
	if (!b)
		return false;
	b->next = a->head;
	b->size = size;
	a->head = b;
	a->total += size;
	a->used = head_len;
	asan_forbid(b + 1, size - head_len);
	return true;
}

void *arena_alloc(struct arena *a, size_t len)
{
	if (len > a->limit || len > UINT32_MAX - ALIGN)
		return NULL;
	uint32_t need = ((uint32_t)len + ALIGN - 1) & ~(ALIGN - 1);
	if ((!a->head || a->head->size - a->used < need) && !arena_grow(a, need))
		return NULL;
	uint8_t *p = (uint8_t *)a->head + a->used;
	a->used += need;
	asan_allow(p, len);
	return p;
}

void *arena_zalloc(struct arena *a, size_t len)
{
	void *p = arena_alloc(a, len);

	return p ? memset(p, 0, len) : NULL;
}

struct span arena_copy(struct arena *a, struct span s)
{
	uint8_t *p = s.len < SIZE_MAX ? arena_alloc(a, s.len + 1) : NULL;

	if (!p)
		return span_of(NULL, 0);
	if (s.len)
		memcpy(p, s.p, s.len);
	p[s.len] = '\0';
	return span_of(p, s.len);
}

void arena_reset(struct arena *a)
{
	struct arena_block *next;

	for (struct arena_block *b = a->head; b; b = next) {
		next = b->next;
		asan_allow(b, b->size);
		free(b);
	}
	arena_init(a, a->limit);
}
