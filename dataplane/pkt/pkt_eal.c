/*
 * pkt_eal.c: packets from a DPDK mempool: what programs link. Needs rte_eal_init. Hot path except for
 * the pools' making.
 *
 * A pool's buffers are reserved at creation. Each EAL thread keeps a small cache of free packets, so that
 * allocation and release rarely touch the common ring; free packets parked in caches are not counted by
 * pkt_pool_free_n, which therefore errs on the careful side.
 */
#include <rte_eal.h>
#include <rte_mbuf_pool_ops.h>
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
	struct rte_pktmbuf_pool_private priv = {.mbuf_data_room_size = (uint16_t)(room + PKT_HEADROOM)};
	unsigned cache = n >= 8 * CACHE_MAX ? CACHE_MAX : n / 8;
	/* Packets that lie one after the other whatever pages they cross: without this each takes a page of
	 * its own where pages are small, and AF_XDP, which is shown the pool as one run, takes those behind
	 * its reckoned end for invalid. Devices that need physical addresses cannot have it. */
	unsigned flags = rte_eal_iova_mode() == RTE_IOVA_VA ? RTE_MEMPOOL_F_NO_IOVA_CONTIG : 0;

	CHECK(room + PKT_HEADROOM <= UINT16_MAX);
	struct rte_mempool *mp =
		rte_mempool_create_empty(name, n, (unsigned)sizeof(struct rte_mbuf) + room + PKT_HEADROOM,
					 cache, sizeof(priv), SOCKET_ID_ANY, flags);
	if (!mp)
		return NULL;
	rte_pktmbuf_pool_init(mp, &priv);
	if (rte_mempool_set_ops_byname(mp, rte_mbuf_best_mempool_ops(), NULL) != 0 ||
	    rte_mempool_populate_default(mp) < 0) {
		rte_mempool_free(mp);
		return NULL;
	}
	rte_mempool_obj_iter(mp, rte_pktmbuf_init, NULL);
	return (struct pkt_pool *)(void *)mp;
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

bool pkt_dear(const struct pkt *p, uint32_t len)
{
	const struct rte_mbuf *m = pkt_mbuf_const(p);

	if (m->buf_len <= PKT_ROOM + PKT_HEADROOM)
		return false;
	return len < PKT_ROOM || rte_mempool_get_ops(m->pool->ops_index)->get_count(m->pool) < m->pool->size / 2;
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
