/* What stands in for offloads: checksums, segmentation, linearising. */
#include <criterion/criterion.h>
#include "csum.h"
#include "pkt_inline.h"
#include "port_int.h"
#include "rand.h"

static struct pkt_pool *pool;
static struct rnd rnd;

static void setup(void)
{
	pool = pkt_pool_create("test", 4000, PKT_ROOM);
	rnd_seed(&rnd, 5);
}

static void teardown(void)
{
	cr_assert_eq(pkt_heap_outstanding(), 0);
	pkt_pool_destroy(&pool);
}

TestSuite(soft, .init = setup, .fini = teardown);

static unsigned g16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static unsigned g32(const uint8_t *p)
{
	return g16(p) << 16 | g16(p + 2);
}

/* A frame with a header packet and its payload in pieces of random size; all bytes random but lengths. */
static struct pkt *make(bool ip6, uint8_t proto, uint32_t l4_len, uint32_t payload,
			struct port_tx_meta *m, uint8_t *copy)
{
	*m = (struct port_tx_meta){.l2_len = 14, .l3_len = ip6 ? 40 : 20, .l4_len = (uint16_t)l4_len,
				   .ip6 = ip6, .tcp = proto == 6, .proto = proto};
	uint32_t hdr = 14u + m->l3_len + l4_len, n = 0;
	struct pkt *p = pkt_alloc(pool);
	uint8_t *h = pkt_append(p, hdr);
	for (uint32_t i = 0; i < hdr; i++)
		h[i] = (uint8_t)rnd_u64(&rnd);
	h[14] = ip6 ? 0x60 : 0x45;
	h[14 + (ip6 ? 6 : 9)] = proto;
	while (n < payload) {
		uint32_t len = 1 + rnd_below(&rnd, 2000);
		if (len > payload - n)
			len = payload - n;
		struct pkt *q = pkt_alloc(pool);
		uint8_t *d = pkt_append(q, len);
		for (uint32_t i = 0; i < len; i++)
			copy[n++] = d[i] = (uint8_t)rnd_u64(&rnd);
		pkt_chain(p, q);
	}
	return p;
}

static struct ip_addr at4(const uint8_t *p)
{
	uint32_t be;
	memcpy(&be, p, 4);
	return ip_from4(be);
}

static void expect_good(struct pkt *p, const struct port_tx_meta *m)
{
	uint8_t *l3 = pkt_data(p) + 14;
	uint32_t l4_len = pkt_total(p) - 14 - m->l3_len;
	struct ip_addr src = m->ip6 ? ip_from6(l3 + 8) : at4(l3 + 12);
	struct ip_addr dst = m->ip6 ? ip_from6(l3 + 24) : at4(l3 + 16);
	if (!m->ip6)
		cr_expect_eq(csum_fold(csum_add(0, l3, 20)), 0);
	uint32_t sum = csum_pseudo(&src, &dst, m->proto, l4_len);
	cr_expect_eq(csum_fold(csum_chain(sum, p, 14u + m->l3_len)), 0);
}

Test(soft, checksums)
{
	static uint8_t copy[70000];
	static const struct {
		uint8_t proto;
		uint32_t l4_len;
	} l4[] = {{6, 20}, {6, 32}, {6, 60}, {17, 8}, {58, 8}};
	for (unsigned i = 0; i < 300; i++) {
		struct port_tx_meta m;
		unsigned k = i % 5;
		struct pkt *p = make(i & 1, l4[k].proto, l4[k].l4_len, rnd_below(&rnd, 1441), &m, copy);
		soft_csum(p, &m, true, true);
		expect_good(p, &m);
		pkt_free(p);
	}
	/* proto 0: the L4 part is left alone. l3_len 0: everything is. */
	struct port_tx_meta m, none = {.l2_len = 14};
	struct pkt *p = make(false, 6, 20, 0, &m, copy);
	uint8_t before[54];
	memcpy(before, pkt_data(p), 54);
	soft_csum(p, &none, true, true);
	cr_expect_eq(memcmp(before, pkt_data(p), 54), 0);
	m.proto = 0;
	soft_csum(p, &m, true, true);
	cr_expect_eq(memcmp(before + 34, pkt_data(p) + 34, 20), 0);
	pkt_free(p);
}

Test(soft, segmentation)
{
	static uint8_t copy[70000];
	for (unsigned i = 0; i < 120; i++) {
		struct port_tx_meta m;
		bool six = i & 1;
		uint32_t payload = 1 + rnd_below(&rnd, 64000), l4_len = 20 + 4 * rnd_below(&rnd, 11);
		struct pkt *p = make(six, 6, l4_len, payload, &m, copy), *q;
		uint8_t *l4 = pkt_data(p) + 14 + m.l3_len;
		m.tso_mss = (uint16_t)(88 + rnd_below(&rnd, 1372));
		l4[13] = 0x99; /* CWR, ACK, PSH, FIN */
		uint32_t seq = g32(l4 + 4), id = g16(pkt_data(p) + 14 + 4), off = 0, n = 0;
		struct soft_cut c;
		soft_cut_init(&c, p, &m, pool);
		while ((q = soft_cut_next(&c)) != NULL) {
			uint8_t *h = pkt_data(q) + 14, *t = h + m.l3_len;
			uint32_t len = pkt_total(q) - 14 - m.l3_len - l4_len;
			bool last = off + len == payload;
			cr_expect(len == m.tso_mss || (last && len < m.tso_mss));
			cr_expect_eq(g32(t + 4), seq + off);
			cr_expect_eq(t[13], 0x10 | (n == 0 ? 0x80 : 0) | (last ? 0x09 : 0));
			cr_expect_eq(memcmp(t + l4_len, copy + off, len), 0);
			if (six) {
				cr_expect_eq(g16(h + 4), l4_len + len);
			} else {
				cr_expect_eq(g16(h + 2), 20 + l4_len + len);
				cr_expect_eq(g16(h + 4), (id + n) & 0xffff);
			}
			expect_good(q, &m);
			pkt_free(q);
			off += len;
			n++;
		}
		cr_expect_eq(off, payload);
		cr_expect_eq(c.left, 0);
		pkt_free(p);
	}
}

Test(soft, segmentation_when_packets_run_out)
{
	static uint8_t copy[70000];
	struct port_tx_meta m;
	struct pkt *p = make(false, 6, 20, 10000, &m, copy), *q;
	struct soft_cut c;
	unsigned n = 0;
	m.tso_mss = 1000;
	soft_cut_init(&c, p, &m, pool);
	pkt_heap_fail_after(4);
	for (; (q = soft_cut_next(&c)) != NULL; n++)
		pkt_free(q);
	cr_expect_eq(n, 3);
	cr_expect_eq(c.left, 7000);
	pkt_free(p);
}

Test(soft, linearising)
{
	static uint8_t copy[70000];
	for (unsigned i = 0; i < 100; i++) {
		struct port_tx_meta m;
		uint32_t payload = rnd_below(&rnd, 2400);
		struct pkt *p = make(false, 6, 20, payload, &m, copy);
		uint8_t head[54];
		memcpy(head, pkt_data(p), 54);
		p = soft_linear(p, pool);
		cr_expect_eq(p != NULL, 54 + payload <= PKT_ROOM);
		if (!p)
			continue;
		cr_expect_null(pkt_next(p));
		cr_expect_eq(pkt_len(p), 54 + payload);
		cr_expect_eq(memcmp(pkt_data(p), head, 54), 0);
		cr_expect_eq(memcmp(pkt_data(p) + 54, copy, payload), 0);
		pkt_free(p);
	}
}
