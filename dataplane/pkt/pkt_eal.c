/*
 * pkt_eal.c: packets from a DPDK mempool: what programs link. Needs rte_eal_init. Hot path except for
 * the pools' making.
 *
 * A pool's buffers are reserved at creation. Each EAL thread keeps a small cache of free packets, so that
 * allocation and release rarely touch the common ring; free packets parked in caches are not counted by
 * pkt_pool_free_n, which therefore errs on the careful side.
 */
#include <rte_lcore.h>
#include <rte_mempool.h>
#include "check.h"
#include "pkt.h"
#include "pkt_inline.h"
#include "pkt_int.h"
#include "hot.h"

#define CACHE_MAX 256

_Static_assert(PKT_HEADROOM == RTE_PKTMBUF_HEADROOM, "rte_pktmbuf_alloc leaves this headroom");

static struct rte_mempool *pool_of(const struct pkt_pool *pool)
{
	return (struct rte_mempool *)(uintptr_t)pool;
}

struct pkt_pool *pkt_pool_create(const char *name, unsigned n, unsigned room)
{
	unsigned cache = n >= 8 * CACHE_MAX ? CACHE_MAX : n / 8;

	CHECK(room + PKT_HEADROOM <= UINT16_MAX);
	return (struct pkt_pool *)(void *)rte_pktmbuf_pool_create(
		name, n, cache, 0, (uint16_t)(room + PKT_HEADROOM), SOCKET_ID_ANY);
}

void pkt_pool_destroy(struct pkt_pool **pool)
{
	rte_mempool_free(pool_of(*pool));
	*pool = NULL;
}

unsigned pkt_pool_free_n(const struct pkt_pool *pool)
{
	struct rte_mempool *mp = pool_of(pool);
	return rte_mempool_get_ops(mp->ops_index)->get_count(mp);
}

unsigned pkt_pool_size(const struct pkt_pool *pool)
{
	return pool_of(pool)->size;
}

struct pkt *pkt_alloc(struct pkt_pool *pool)
{
	return pkt_of_mbuf(rte_pktmbuf_alloc(pool_of(pool)));
}

void pkt_free(struct pkt *p)
{
	rte_pktmbuf_free(pkt_mbuf(p));
}

void pkt_free_seg(struct pkt *p)
{
	rte_pktmbuf_free_seg(pkt_mbuf(p));
}

struct pkt *pkt_attach(struct pkt_pool *pool, const struct slice *s)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool_of(pool)), *from = pkt_mbuf(s->pkt);

	if (UNLIKELY(!m))
		return NULL;
	rte_pktmbuf_attach(m, from);
	m->next = NULL;
	m->nb_segs = 1;
	m->data_off = (uint16_t)(s->data - (uint8_t *)m->buf_addr);
	m->data_len = (uint16_t)s->len;
	m->pkt_len = s->len;
	m->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
	return pkt_of_mbuf(m);
}
