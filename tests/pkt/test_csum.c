/* The Internet checksum against the two-bytes-at-a-time form of RFC 1071. */
#include <criterion/criterion.h>
#include "csum.h"
#include "rand.h"

/* RFC 1071 section 4.1, over big-endian words; result in memory order. */
static uint16_t oracle(const uint8_t *p, size_t len)
{
	uint64_t s = 0;
	for (size_t i = 0; i < len; i++)
		s += i % 2 ? p[i] : (uint64_t)p[i] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return __builtin_bswap16((uint16_t)~s);
}

Test(csum, sums_and_copies_like_the_plain_form)
{
	struct rnd rnd;
	static uint8_t in[70000], out[70000];
	rnd_seed(&rnd, 7);
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)rnd_u64(&rnd);
	memset(in + 40000, 0xff, 4000);
	for (size_t len = 0; len < 400; len++) {
		for (size_t at = 0; at < 9; at++) {
			cr_expect_eq(csum_fold(csum_add(0, in + at, len)), oracle(in + at, len));
			if (len % 2 == 0)
				cr_expect_eq(csum_fold(csum_small(0, in + at, len)),
					     oracle(in + at, len));
		}
	}
	for (unsigned i = 0; i < 500; i++) {
		size_t at = rnd_below(&rnd, 1000), len = rnd_below(&rnd, 65537);
		cr_expect_eq(csum_fold(csum_add(0, in + at, len)), oracle(in + at, len));
		memset(out, 0, sizeof(out));
		cr_expect_eq(csum_fold(csum_copy(0, out + 3, in + at, len)), oracle(in + at, len));
		cr_expect_eq(memcmp(out + 3, in + at, len), 0);
		cr_expect_eq(out[3 + len], 0);
	}
	cr_expect_eq(csum_fold(csum_add(0, in + 40000, 4000)), oracle(in + 40000, 4000));
}

Test(csum, pseudo_header_of_both_families)
{
	static const uint8_t ph4[12] = {10, 0, 0, 1, 192, 168, 7, 9, 0, 6, 0x12, 0x34};
	static const uint8_t ph6[40] = {0xfd, 0, [15] = 1, [16] = 0xfd, 1, [31] = 2, [34] = 0x56,
					0x78, [39] = 58};
	struct ip_addr a, b;
	cr_assert(ip_parse(SPAN("10.0.0.1"), &a) && ip_parse(SPAN("192.168.7.9"), &b));
	cr_expect_eq(csum_fold(csum_pseudo(&a, &b, 6, 0x1234)), oracle(ph4, sizeof(ph4)));
	a = ip_from6(ph6);
	b = ip_from6(ph6 + 16);
	cr_expect_eq(csum_fold(csum_pseudo(&a, &b, 58, 0x5678)), oracle(ph6, sizeof(ph6)));
}

Test(csum, chains_with_odd_segments)
{
	struct pkt_pool *pool = pkt_pool_create("test", 64, 100);
	struct rnd rnd;
	rnd_seed(&rnd, 3);
	for (unsigned i = 0; i < 300; i++) {
		uint8_t all[1000];
		uint32_t n = 0;
		struct pkt *head = NULL;
		for (unsigned k = 1 + rnd_below(&rnd, 9); k > 0; k--) {
			struct pkt *p = pkt_alloc(pool);
			uint32_t len = rnd_below(&rnd, 101);
			uint8_t *d = pkt_append(p, len);
			for (uint32_t j = 0; j < len; j++)
				all[n++] = d[j] = (uint8_t)rnd_u64(&rnd);
			if (head)
				pkt_chain(head, p);
			else
				head = p;
		}
		uint32_t off = rnd_below(&rnd, n + 1);
		cr_expect_eq(csum_fold(csum_chain(0, head, off)), oracle(all + off, n - off));
		pkt_free(head);
	}
	cr_assert_eq(pkt_heap_outstanding(), 0);
	pkt_pool_destroy(&pool);
}
