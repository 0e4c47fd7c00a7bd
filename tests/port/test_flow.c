/* The flow hash against DPDK's Toeplitz, from tuples and from frames. */
#include <criterion/criterion.h>
#include <rte_thash.h>
#include "port_int.h"
#include "rand.h"

static void p16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t softrss(const struct ip_addr *a, const struct ip_addr *b, uint16_t sport, uint16_t dport)
{
	uint32_t w[9];
	unsigned n = 0;
	for (unsigned i = ip_is4(a) ? 3 : 0; i < 4; i++)
		w[n++] = __builtin_bswap32(a->w[i]);
	for (unsigned i = ip_is4(a) ? 3 : 0; i < 4; i++)
		w[n++] = __builtin_bswap32(b->w[i]);
	w[n++] = (uint32_t)sport << 16 | dport;
	return rte_softrss(w, n, flow_key);
}

Test(flow, equals_toeplitz_and_is_symmetric)
{
	struct rnd rnd;
	rnd_seed(&rnd, 1);
	for (unsigned i = 0; i < 2000; i++) {
		struct ip_addr a, b;
		uint16_t sport = (uint16_t)rnd_u64(&rnd), dport = (uint16_t)rnd_u64(&rnd);
		if (i % 2) {
			a = ip_from4((uint32_t)rnd_u64(&rnd));
			b = ip_from4((uint32_t)rnd_u64(&rnd));
		} else {
			a.d[0] = rnd_u64(&rnd), a.d[1] = rnd_u64(&rnd);
			b.d[0] = rnd_u64(&rnd), b.d[1] = rnd_u64(&rnd);
		}
		uint32_t h = flow_hash(&a, &b, sport, dport);
		cr_expect_eq(h, softrss(&a, &b, sport, dport));
		cr_expect_eq(h, flow_hash(&b, &a, dport, sport));

		uint8_t f[14 + 60 + 20] = {0};
		uint32_t l3 = 14, opts = i % 8 == 1 ? 8 : 0, got = 0;
		if (ip_is4(&a)) {
			f[12] = 8;
			f[l3] = (uint8_t)(0x45 + opts / 4);
			f[l3 + 9] = i % 3 ? 6 : 17;
			memcpy(f + l3 + 12, &a.w[3], 4);
			memcpy(f + l3 + 16, &b.w[3], 4);
			l3 += 20 + opts;
		} else {
			p16(f + 12, 0x86dd);
			f[l3] = 0x60;
			f[l3 + 6] = i % 3 ? 6 : 17;
			memcpy(f + l3 + 8, a.b, 16);
			memcpy(f + l3 + 24, b.b, 16);
			l3 += 40;
		}
		p16(f + l3, sport);
		p16(f + l3 + 2, dport);
		cr_expect_eq(flow_of_frame(f, l3 + 20, &got), FLOW_HASHED);
		cr_expect_eq(got, h);
	}
}

Test(flow, spreads_the_ports_of_one_pair)
{
	struct ip_addr a, b;
	unsigned n[4] = {0};
	cr_assert(ip_parse(SPAN("198.18.0.1"), &a) && ip_parse(SPAN("198.18.0.2"), &b));
	for (unsigned p = 32768; p < 61000; p++)
		n[flow_hash(&a, &b, (uint16_t)p, 25) % 128 % 4]++;
	for (unsigned i = 0; i < 4; i++)
		cr_expect(n[i] > 6300 && n[i] < 7800, "%u", n[i]);
}

Test(flow, kinds_and_cut_frames)
{
	static const struct {
		unsigned type;
		uint8_t at, value, at2, value2;
		enum flow_kind kind;
	} row[] = {
		{0x0806, 0, 0, 0, 0, FLOW_ALL},       {0x0800, 0, 0x45, 9, 1, FLOW_ALL},
		{0x0800, 0, 0x45, 9, 6, FLOW_HASHED}, {0x0800, 0, 0x45, 9, 17, FLOW_HASHED},
		{0x0800, 0, 0x45, 9, 47, FLOW_HERE},  {0x0800, 0, 0x41, 9, 6, FLOW_HERE},
		{0x86dd, 0, 0x60, 6, 58, FLOW_ALL},   {0x86dd, 0, 0x60, 6, 6, FLOW_HASHED},
		{0x86dd, 0, 0x60, 6, 44, FLOW_ALL},   {0x88cc, 0, 0, 0, 0, FLOW_HERE},
	};
	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		uint8_t *f = calloc(1, 80);
		uint32_t hash;
		p16(f + 12, row[i].type);
		f[14 + row[i].at] = row[i].value;
		f[14 + row[i].at2] |= row[i].value2;
		cr_expect_eq(flow_of_frame(f, 80, &hash), row[i].kind, "row %u", i);
		for (uint32_t len = 0; len < 80; len++) {
			uint8_t *cut = malloc(len ? len : 1);
			memcpy(cut, f, len);
			flow_of_frame(cut, len, &hash);
			free(cut);
		}
		f[14 + 6] |= 0x20; /* IPv4: more fragments */
		if (row[i].type == 0x0800 && row[i].value2 != 1)
			cr_expect_eq(flow_of_frame(f, 80, &hash), FLOW_ALL);
		free(f);
	}
}
