/*
 * pkt_heap.c: packets from malloc: what unit tests, simulators and fuzzers link. No EAL.
 *
 * Header and buffer are allocated apart and the buffer ends where the room ends, so AddressSanitizer sees
 * the first byte of an overrun and any use after the last reference went. Counts are atomic: tests may
 * use threads. Invariant: pkt_heap_outstanding() is the number of packets not yet freed.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include "check.h"
#include "pkt.h"
#include "pkt_inline.h"
#include "pkt_int.h"

struct pkt_pool {
	unsigned n, room;
	atomic_uint used;
};

struct heap_pkt {
	struct rte_mbuf m; /* first: a struct pkt is cast to it */
	struct pkt_pool *pool;
	struct heap_pkt *from; /* attached to this one's buffer */
	uint8_t *buf;          /* own buffer, NULL while attached */
};

static atomic_uint outstanding;
static atomic_uint fail_after;

unsigned pkt_heap_outstanding(void)
{
	return atomic_load(&outstanding);
}

void pkt_heap_fail_after(unsigned n)
{
	atomic_store(&fail_after, n);
}

struct pkt_pool *pkt_pool_create(const char *name, unsigned n, unsigned room)
{
	(void)name;
	CHECK(room + PKT_HEADROOM <= UINT16_MAX);
	struct pkt_pool *pool = calloc(1, sizeof(*pool));
	CHECK(pool != NULL);
	pool->n = n;
	pool->room = room;
	return pool;
}

void pkt_pool_destroy(struct pkt_pool **pool)
{
	if (*pool)
		CHECK(atomic_load(&(*pool)->used) == 0);
	free(*pool);
	*pool = NULL;
}

unsigned pkt_pool_free_n(const struct pkt_pool *pool)
{
	unsigned used = atomic_load(&pool->used);
	return used < pool->n ? pool->n - used : 0;
}

unsigned pkt_pool_size(const struct pkt_pool *pool)
{
	return pool->n;
}

bool pkt_dear(const struct pkt *p, uint32_t len)
{
	const struct heap_pkt *h = (const struct heap_pkt *)(const void *)p;

	if (!h->pool || h->pool->room <= PKT_ROOM)
		return false;
	return len < PKT_ROOM || pkt_pool_free_n(h->pool) < h->pool->n / 2;
}

static bool must_fail(void)
{
	unsigned n = atomic_load(&fail_after);
	while (n && !atomic_compare_exchange_weak(&fail_after, &n, n - 1))
		;
	return n == 1;
}

/* buf_len 0: no buffer of its own yet. */
static struct heap_pkt *heap_alloc(struct pkt_pool *pool, unsigned buf_len)
{
	if (must_fail())
		return NULL;
	if (pool && atomic_fetch_add(&pool->used, 1) >= pool->n) {
		atomic_fetch_sub(&pool->used, 1);
		return NULL;
	}
	/* rte_mbuf is aligned to a cache line. */
	struct heap_pkt *h = aligned_alloc(64, (sizeof(*h) + 63) & ~(size_t)63);
	CHECK(h != NULL);
	memset(h, 0, sizeof(*h));
	h->pool = pool;
	if (buf_len) {
		h->buf = malloc(buf_len);
		CHECK(h->buf != NULL);
		h->m.buf_addr = h->buf;
		h->m.buf_len = (uint16_t)buf_len;
		h->m.data_off = PKT_HEADROOM;
	}
	h->m.nb_segs = 1;
	rte_mbuf_refcnt_set(&h->m, 1);
	atomic_fetch_add(&outstanding, 1);
	return h;
}

struct pkt *pkt_alloc(struct pkt_pool *pool)
{
	struct heap_pkt *h = heap_alloc(pool, pool->room + PKT_HEADROOM);
	return h ? pkt_of_mbuf(&h->m) : NULL;
}

struct pkt *pkt_heap_exact(const void *bytes, uint32_t len)
{
	CHECK(len + PKT_HEADROOM <= UINT16_MAX);
	struct heap_pkt *h = heap_alloc(NULL, len + PKT_HEADROOM);
	if (!h)
		return NULL;
	if (len)
		memcpy(pkt_append(pkt_of_mbuf(&h->m), len), bytes, len);
	return pkt_of_mbuf(&h->m);
}

void pkt_free_seg(struct pkt *p)
{
	struct heap_pkt *h = (struct heap_pkt *)(void *)p;

	CHECK(rte_mbuf_refcnt_read(&h->m) > 0);
	if (rte_mbuf_refcnt_update(&h->m, -1) != 0)
		return;
	if (h->from)
		pkt_free_seg(pkt_of_mbuf(&h->from->m));
	if (h->pool)
		atomic_fetch_sub(&h->pool->used, 1);
	atomic_fetch_sub(&outstanding, 1);
	free(h->buf);
	free(h);
}

void pkt_free(struct pkt *p)
{
	while (p) {
		struct pkt *next = pkt_next(p);
		pkt_free_seg(p);
		p = next;
	}
}

struct pkt *pkt_attach(struct pkt_pool *pool, const struct slice *s)
{
	struct heap_pkt *from = (struct heap_pkt *)(void *)s->pkt;
	if (from->from)
		from = from->from;
	struct heap_pkt *h = heap_alloc(pool, 0);

	if (!h)
		return NULL;
	pkt_ref_inline(pkt_of_mbuf(&from->m));
	h->from = from;
	h->m.ol_flags = RTE_MBUF_F_INDIRECT;
	h->m.buf_addr = from->m.buf_addr;
	h->m.buf_len = from->m.buf_len;
	h->m.data_off = (uint16_t)(s->data - (uint8_t *)from->m.buf_addr);
	h->m.data_len = (uint16_t)s->len;
	h->m.pkt_len = s->len;
	return pkt_of_mbuf(&h->m);
}
