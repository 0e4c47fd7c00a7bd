/*
 * arena.h: memory that lives as long as a session's command and is let go in one line.
 * Blocks come from malloc (jemalloc arena of the thread), grow by doubling from 1 KiB to 64 KiB, and
 * a limit bounds the whole. An idle session resets to nothing held: arena_reset frees all blocks.
 */
#ifndef VEREDUS_ARENA_H
#define VEREDUS_ARENA_H

#include <stddef.h>
#include <stdint.h>
#include "span.h"

struct arena_block;
struct arena {
	struct arena_block *head;
	uint32_t used;  /* bytes handed out from head */
	uint32_t total; /* bytes in all blocks */
	uint32_t limit; /* total never exceeds it */
};

void arena_init(struct arena *a, uint32_t limit);
/* 16-aligned, not cleared; NULL when the limit would be passed. */
void *arena_alloc(struct arena *a, size_t len);
void *arena_zalloc(struct arena *a, size_t len);
/* A copy in the arena; .p == NULL when there is no room. A NUL follows the bytes. */
struct span arena_copy(struct arena *a, struct span s);
void arena_reset(struct arena *a);

#endif
