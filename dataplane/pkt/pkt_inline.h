/*
 * pkt_inline.h: what a packet is made of, for the hot paths of port, net and tcp: a struct rte_mbuf.
 * The functions here are those of pkt.h without the call. Hot path. Others include pkt.h only.
 *
 * Everything is about one segment unless it says chain. Whoever edits headers checks pkt_shared first:
 * a packet with more than one reference may still be in a device's hands.
 */
#ifndef VEREDUS_PKT_INLINE_H
#define VEREDUS_PKT_INLINE_H

#include <rte_mbuf.h>
#include "check.h"
#include "pkt.h"

static inline struct rte_mbuf *pkt_mbuf(struct pkt *p)
{
	return (struct rte_mbuf *)(void *)p;
}

static inline const struct rte_mbuf *pkt_mbuf_const(const struct pkt *p)
{
	return (const struct rte_mbuf *)(const void *)p;
}

static inline struct pkt *pkt_of_mbuf(struct rte_mbuf *m)
{
	return (struct pkt *)(void *)m;
}

static inline uint8_t *pkt_data_inline(struct pkt *p)
{
	struct rte_mbuf *m = pkt_mbuf(p);
	return (uint8_t *)m->buf_addr + m->data_off;
}

static inline uint32_t pkt_len_inline(const struct pkt *p)
{
	return pkt_mbuf_const(p)->data_len;
}

static inline uint32_t pkt_total_inline(const struct pkt *p)
{
	return pkt_mbuf_const(p)->pkt_len;
}

static inline struct pkt *pkt_next(struct pkt *p)
{
	return pkt_of_mbuf(pkt_mbuf(p)->next);
}

static inline bool pkt_shared(const struct pkt *p)
{
	return rte_mbuf_refcnt_read(pkt_mbuf_const(p)) > 1;
}

static inline uint8_t *pkt_prepend_inline(struct pkt *p, uint32_t len)
{
	struct rte_mbuf *m = pkt_mbuf(p);
	if (UNLIKELY(len > m->data_off))
		return NULL;
	m->data_off = (uint16_t)(m->data_off - len);
	m->data_len = (uint16_t)(m->data_len + len);
	m->pkt_len += len;
	return (uint8_t *)m->buf_addr + m->data_off;
}

static inline void pkt_trim_head_inline(struct pkt *p, uint32_t len)
{
	struct rte_mbuf *m = pkt_mbuf(p);
	CHECK(len <= m->data_len);
	m->data_off = (uint16_t)(m->data_off + len);
	m->data_len = (uint16_t)(m->data_len - len);
	m->pkt_len -= len;
}

static inline void pkt_trim_tail_inline(struct pkt *p, uint32_t len)
{
	struct rte_mbuf *m = pkt_mbuf(p);
	CHECK(len <= m->data_len);
	m->data_len = (uint16_t)(m->data_len - len);
	m->pkt_len -= len;
}

static inline void pkt_ref_inline(struct pkt *p)
{
	rte_mbuf_refcnt_update(pkt_mbuf(p), 1);
}

#endif
