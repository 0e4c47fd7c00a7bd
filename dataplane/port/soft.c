/*
 * soft.c: what a device cannot do: checksums, TCP segmentation, one buffer a frame. Hot path. Needs no
 * device, so the unit tests of all folders above run the same code.
 *
 * Invariants: 1. headers lie in the first segment of a frame, which belongs to the caller alone; the
 * payload behind may be shared and is only read; 2. a cut segment is one packet with every checksum right.
 * Segmentation copies: the sum over the payload has to read every byte anyway, and copying while summing
 * costs half as much again (61 against 39 cycles for 1460 bytes), less than a second packet would.
 */
#include "check.h"
#include "csum.h"
#include "pkt_inline.h"
#include "port_int.h"
#include "hot.h"

#define TCP_FIN_PSH 0x09
#define TCP_CWR     0x80

static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static inline void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

/* Offset of the checksum field in the L4 header; -1: none. */
static inline int l4_csum_at(uint8_t proto)
{
	switch (proto) {
	case 6:
		return 16;
	case 17:
		return 6;
	case 58:
		return 2;
	default:
		return -1;
	}
}

/* Pseudo-header sum from the finished IP header. */
static inline uint32_t pseudo_of(const uint8_t *l3, bool ip6, uint8_t proto, uint32_t l4_len)
{
	uint32_t s = ip6 ? csum_small(0, l3 + 8, 32) : csum_small(0, l3 + 12, 8);
	return csum_fold32((uint64_t)s + __builtin_bswap32(l4_len) + ((uint64_t)proto << 24));
}

static inline void ip4_csum(uint8_t *l3, uint32_t l3_len)
{
	l3[10] = l3[11] = 0;
	uint16_t c = csum_fold(csum_small(0, l3, l3_len));
	memcpy(l3 + 10, &c, 2);
}

static inline void put_l4_csum(uint8_t *l4, const struct port_tx_meta *m, uint32_t sum)
{
	uint16_t c = csum_fold(sum);
	if (m->proto == 17 && c == 0)
		c = 0xffff; /* RFC 768: 0 means none */
	memcpy(l4 + l4_csum_at(m->proto), &c, 2);
}

void soft_csum(struct pkt *p, const struct port_tx_meta *m, bool ip4, bool l4)
{
	uint8_t *l3 = pkt_data_inline(p) + m->l2_len;
	int at = l4_csum_at(m->proto);

	if (ip4 && !m->ip6 && m->l3_len)
		ip4_csum(l3, m->l3_len);
	if (!l4 || at < 0)
		return;
	uint32_t off = (uint32_t)m->l2_len + m->l3_len, len = pkt_total_inline(p) - off;
	uint8_t *h = l3 + m->l3_len;
	CHECK(pkt_len_inline(p) >= off + m->l4_len && m->l4_len >= (unsigned)at + 2);
	h[at] = h[at + 1] = 0;
	put_l4_csum(h, m, csum_chain(pseudo_of(l3, m->ip6, m->proto, len), p, off));
}

struct pkt *soft_linear(struct pkt *p, struct pkt_pool *pool)
{
	struct pkt *q = pkt_alloc(pool);

	if (q && pkt_total_inline(p) <= pkt_room(q)) {
		pkt_mbuf(q)->ol_flags = pkt_mbuf(p)->ol_flags & ~(RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL);
		pkt_mbuf(q)->tx_offload = pkt_mbuf(p)->tx_offload;
		for (struct pkt *s = p; s; s = pkt_next(s))
			memcpy(pkt_append(q, pkt_len_inline(s)), pkt_data_inline(s), pkt_len_inline(s));
	} else if (q) {
		pkt_free(q);
		q = NULL;
	}
	pkt_free(p);
	return q;
}

uint32_t soft_payload(const struct pkt *p, const struct port_tx_meta *m)
{
	return pkt_total_inline(p) - m->l2_len - m->l3_len - m->l4_len;
}

void soft_cut_init(struct soft_cut *c, struct pkt *p, const struct port_tx_meta *meta,
		   struct pkt_pool *pool)
{
	*c = (struct soft_cut){.p = p, .at = p, .pool = pool, .meta = meta};
	c->hdr_len = (uint32_t)meta->l2_len + meta->l3_len + meta->l4_len;
	c->at_off = c->hdr_len;
	c->left = pkt_total_inline(p) - c->hdr_len;
	CHECK(meta->tso_mss > 0 && pkt_len_inline(p) >= c->hdr_len);
}

/* Copies the next len payload bytes and returns their sum. */
static uint32_t cut_copy(struct soft_cut *c, uint8_t *to, uint32_t len)
{
	uint32_t sum = 0;

	for (uint32_t done = 0; done < len;) {
		uint32_t n = pkt_len_inline(c->at) - c->at_off;
		if (n == 0) {
			c->at = pkt_next(c->at);
			c->at_off = 0;
			continue;
		}
		if (n > len - done)
			n = len - done;
		uint32_t part = csum_copy(0, to + done, pkt_data_inline(c->at) + c->at_off, n);
		sum = csum_plus(sum, done & 1 ? csum_odd(part) : part);
		done += n;
		c->at_off += n;
	}
	return sum;
}

struct pkt *soft_cut_next(struct soft_cut *c)
{
	const struct port_tx_meta *m = c->meta;

	if (c->left == 0)
		return NULL;
	struct pkt *q = pkt_alloc(c->pool);
	if (UNLIKELY(!q))
		return NULL;
	uint32_t n = c->left < m->tso_mss ? c->left : m->tso_mss;
	CHECK(c->hdr_len + n <= pkt_room(q));
	uint8_t *to = pkt_append(q, c->hdr_len + n);
	memcpy(to, pkt_data_inline(c->p), c->hdr_len);
	uint8_t *l3 = to + m->l2_len, *l4 = l3 + m->l3_len;
	uint32_t l4_len = m->l4_len + n;

	if (m->ip6) {
		put16(l3 + 4, m->l3_len - 40 + l4_len);
	} else {
		put16(l3 + 2, m->l3_len + l4_len);
		put16(l3 + 4, (get16(l3 + 4) + c->off / m->tso_mss) & 0xffff);
		ip4_csum(l3, m->l3_len);
	}
	put32(l4 + 4, get32(l4 + 4) + c->off);
	if (n < c->left)
		l4[13] &= (uint8_t)~TCP_FIN_PSH;
	if (c->off > 0)
		l4[13] &= (uint8_t)~TCP_CWR;
	l4[16] = l4[17] = 0;
	uint32_t sum = csum_plus(pseudo_of(l3, m->ip6, m->proto, l4_len),
				 cut_copy(c, l4 + m->l4_len, n));
	put_l4_csum(l4, m, csum_small(sum, l4, m->l4_len));
	c->off += n;
	c->left -= n;
	return q;
}
