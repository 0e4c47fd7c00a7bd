/*
 * pkt.c: the accessors of pkt.h and single slices: everything that needs no memory of its own, the same
 * for both implementations. Hot path.
 *
 * Invariants: 1. lengths never leave the buffer: append and prepend answer NULL, trims CHECK;
 * 2. pkt_total of the first segment is the sum over the chain; 3. a slice holds exactly one reference
 * on the segment it lies in.
 */
#include "check.h"
#include "pkt.h"
#include "pkt_inline.h"
#include "pkt_int.h"
#include "hot.h"

#define DIRECT_IO_ALIGN 4096

_Static_assert(PKT_HEADROOM >= RTE_PKTMBUF_HEADROOM, "devices assume their own headroom");
_Static_assert(PKT_BIG_ROOM + PKT_HEADROOM <= UINT16_MAX, "a segment's length is 16 bits");

void pkt_ref(struct pkt *p)
{
	pkt_ref_inline(p);
}

void pkt_chain(struct pkt *head, struct pkt *next)
{
	struct rte_mbuf *h = pkt_mbuf(head), *n = pkt_mbuf(next), *last = h;

	while (last->next)
		last = last->next;
	last->next = n;
	h->nb_segs = (uint16_t)(h->nb_segs + n->nb_segs);
	h->pkt_len += n->pkt_len;
	n->pkt_len = n->data_len;
}

uint8_t *pkt_data(struct pkt *p)
{
	return pkt_data_inline(p);
}

uint32_t pkt_len(const struct pkt *p)
{
	return pkt_len_inline(p);
}

uint32_t pkt_total(const struct pkt *p)
{
	return pkt_total_inline(p);
}

uint32_t pkt_room(const struct pkt *p)
{
	const struct rte_mbuf *m = pkt_mbuf_const(p);
	return (uint32_t)m->buf_len - m->data_off - m->data_len;
}

uint8_t *pkt_append(struct pkt *p, uint32_t len)
{
	struct rte_mbuf *m = pkt_mbuf(p);
	uint8_t *end = pkt_data_inline(p) + m->data_len;

	if (UNLIKELY(len > pkt_room(p)))
		return NULL;
	m->data_len = (uint16_t)(m->data_len + len);
	m->pkt_len += len;
	return end;
}

uint8_t *pkt_prepend(struct pkt *p, uint32_t len)
{
	return pkt_prepend_inline(p, len);
}

void pkt_trim_head(struct pkt *p, uint32_t len)
{
	pkt_trim_head_inline(p, len);
}

void pkt_trim_tail(struct pkt *p, uint32_t len)
{
	pkt_trim_tail_inline(p, len);
}

uint8_t *pkt_aligned(struct pkt *p, uint32_t len)
{
	struct rte_mbuf *m = pkt_mbuf(p);
	uintptr_t buf = (uintptr_t)m->buf_addr;
	uintptr_t at = (buf + DIRECT_IO_ALIGN - 1) & ~(uintptr_t)(DIRECT_IO_ALIGN - 1);

	CHECK(at - buf + len <= m->buf_len);
	m->data_off = (uint16_t)(at - buf);
	m->data_len = (uint16_t)len;
	m->pkt_len = len;
	return (uint8_t *)m->buf_addr + m->data_off;
}

struct slice slice_of(struct pkt *p, uint8_t *data, uint32_t len)
{
	const struct rte_mbuf *m = pkt_mbuf_const(p);

	CHECK(data >= (uint8_t *)m->buf_addr && data + len <= (uint8_t *)m->buf_addr + m->buf_len);
	pkt_ref_inline(p);
	return (struct slice){p, data, len};
}

struct slice slice_ref(const struct slice *s)
{
	if (s->pkt)
		pkt_ref_inline(s->pkt);
	return *s;
}

void slice_drop(struct slice *s)
{
	if (s->pkt)
		pkt_free_seg(s->pkt);
	*s = (struct slice){0};
}
