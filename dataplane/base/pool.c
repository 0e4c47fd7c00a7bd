/*
 * pool.c: address space for n objects, a stack of returned indexes (last out, first in again: warm in the
 * cache) and a generation each. The address space costs nothing until an object is first used, so
 * pools are sized for the worst case.
 *
 * 1. gen[i] is odd while object i is out and even while it is free; take and give add one each.
 * 2. Indexes at or above high were never out; those below are out or on the stack.
 * 3. n_free = n - high + the height of the stack.
 */
#include "pool.h"
#include <stdlib.h>
#include <sys/mman.h>
#include "asan.h"
#include "check.h"

#define ALIGN 64u

void pool_init(struct pool *p, uint32_t n, size_t size)
{
	CHECK(n > 0 && size > 0 && size <= SIZE_MAX / 2);
	size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	CHECK(size <= SIZE_MAX / n);
	*p = (struct pool){.n = n, .n_free = n, .size = size};
	p->mem = mmap(NULL, n * size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(p->mem != MAP_FAILED);
	p->gen = calloc(n, sizeof(*p->gen));
	p->free = calloc(n, sizeof(*p->free));
	CHECK(p->gen && p->free);
}

void pool_fini(struct pool *p)
{
	asan_allow(p->mem, p->high * p->size);
	CHECK(munmap(p->mem, p->n * p->size) == 0);
	free(p->gen);
	free(p->free);
	*p = (struct pool){0};
}

static uint32_t stack_height(const struct pool *p)
{
	return p->n_free - (p->n - p->high);
}

void *pool_take(struct pool *p)
{
	uint32_t i, height = stack_height(p);

	if (UNLIKELY(p->n_free == 0))
		return NULL;
	if (height > 0)
		i = p->free[height - 1];
	else
		i = p->high++;
	p->n_free--;
	p->gen[i]++;
	uint8_t *obj = p->mem + i * p->size;
	asan_allow(obj, p->size);
	return obj;
}

void pool_give(struct pool *p, void *obj)
{
	uint32_t i = pool_index(p, obj);

	CHECK(p->gen[i] & 1);
	p->gen[i]++;
	p->free[stack_height(p)] = i;
	p->n_free++;
	asan_forbid(obj, p->size);
}

uint32_t pool_index(const struct pool *p, const void *obj)
{
	size_t off = (size_t)((const uint8_t *)obj - p->mem);
	size_t i = off / p->size;

	CHECK(i < p->high && off == i * p->size);
	return (uint32_t)i;
}

void *pool_find(const struct pool *p, uint32_t index, uint32_t gen)
{
	if (index >= p->high || p->gen[index] != gen || !(gen & 1))
		return NULL;
	return p->mem + index * p->size;
}
