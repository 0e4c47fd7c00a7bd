/*
 * test_frag.c: fragments of both families: every order, copies, overlaps, lies about the length,
 * tiny first fragments, bounds in number, source and time, and what the sender is told.
 */
#include "fixture.h"

TestSuite(frag, .init = fx_setup, .fini = fx_teardown);

static void p16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static unsigned g16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/* The part [off, off + len) of the payload of `whole`, as a fragment with this id. */
static void cut(struct frame *f, const struct frame *whole, uint32_t off, uint32_t len, bool more,
		unsigned id)
{
	bool six = whole->b[14] >> 4 == 6;
	uint32_t hdr = 14 + (six ? 40 : 20);

	memcpy(f->b, whole->b, hdr);
	if (six) {
		uint8_t *h = f->b + hdr;
		p16(f->b + 18, 8 + len);
		f->b[20] = 44;
		memset(h, 0, 8);
		h[0] = whole->b[20];
		p16(h + 2, off | more);
		p16(h + 6, id);
		hdr += 8;
	} else {
		p16(f->b + 16, 20 + len);
		p16(f->b + 18, id);
		p16(f->b + 20, off / 8 | (more ? 0x2000 : 0));
		p16(f->b + 24, 0);
		uint16_t c = csum_fold(csum_add(0, f->b + 14, 20));
		memcpy(f->b + 24, &c, 2);
	}
	for (uint32_t i = 0; i < len; i++)
		f->b[hdr + i] = off + i + (six ? 54u : 34u) < whole->len
					? whole->b[(six ? 54 : 34) + off + i]
					: 0;
	f->len = hdr + len;
}

static void whole_frame(struct frame *f, bool six, uint32_t len)
{
	uint8_t data[2000];

	for (uint32_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 7 + i / 256);
	frame_tcp(f, six ? &far6 : &far4, six ? &our6 : &our4, 40000, 25, span_of(data, len));
}

static unsigned feed(const struct frame *whole, uint32_t off, uint32_t len, bool more, unsigned id,
		     struct net_seg *seg)
{
	struct frame f;

	cut(&f, whole, off, len, more, id);
	return fx_feed(&f, seg);
}

static void expect_whole(const struct frame *whole, struct net_seg *seg, const char *what)
{
	uint32_t hdr = whole->b[14] >> 4 == 6 ? 54 : 34;

	cr_assert_eq(seg->kind, NET_SEG_TCP, "%s", what);
	cr_expect_eq(seg->l4_len, whole->len - hdr, "%s", what);
	cr_expect_eq(memcmp(seg->l4, whole->b + hdr, whole->len - hdr), 0, "%s", what);
	pkt_free(seg->pkt);
}

Test(frag, every_order)
{
	static const uint8_t order[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
					    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
	static const uint32_t sizes[] = {1461, 77, 40, 1900};

	for (unsigned six = 0; six < 2; six++)
		for (unsigned k = 0; k < 4; k++)
			for (unsigned o = 0; o < 6; o++) {
				struct frame f;
				struct net_seg seg;
				whole_frame(&f, six, sizes[k]);
				uint32_t len = sizes[k] + 20, a = len / 3 & ~7u, b = len / 2 & ~7u;
				uint32_t at[4] = {0, a < 24 ? 24 : a, b < 32 ? 32 : b, len};
				for (unsigned i = 0; i < 3; i++) {
					unsigned p = order[o][i];
					bool got = feed(&f, at[p], at[p + 1] - at[p], p < 2,
							100 + o, &seg);
					cr_assert_eq(got, i == 2, "six %u size %u order %u part %u",
						     six, sizes[k], o, i);
				}
				expect_whole(&f, &seg, "whole");
			}
	cr_expect_eq(fx_stat(STAT_net_reassembled), 48);
	cr_expect_eq(fx_stat(STAT_net_fragment_in), 144);
	cr_expect_eq(fx_stat(STAT_net_fragment_drop), 0);
}

Test(frag, smallest_pieces_and_copies)
{
	for (unsigned six = 0; six < 2; six++) {
		struct frame f;
		struct net_seg seg;
		whole_frame(&f, six, 1000);
		cr_assert(!feed(&f, 0, 24, true, 5, &seg));
		for (uint32_t off = 24; off < 1016; off += 8) {
			cr_assert(!feed(&f, off, 8, true, 5, &seg));
			cr_assert(!feed(&f, off, 8, true, 5, &seg), "a copy");
		}
		cr_assert(feed(&f, 1016, 4, false, 5, &seg));
		expect_whole(&f, &seg, "pieces");
		cr_expect_eq(fx_stat(STAT_net_fragment_drop), 124 * (six + 1));
		cr_expect_eq(fx_stat(STAT_net_fragment_overlap), 0);
	}
}

/* Two fragments that contradict each other, then all that would make the packet whole. */
Test(frag, contradictions_end_the_packet)
{
	static const struct {
		uint32_t off, len;
		bool more;
		bool other_bytes;
	} row[] = {
		{40, 64, true, false},	{0, 48, true, true},   {48, 56, true, true},
		{96, 24, false, false}, {48, 8, false, false}, {200, 8, true, false},
		{24, 96, false, false},
	};

	for (unsigned six = 0; six < 2; six++)
		for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
			struct frame f, g;
			struct net_seg seg;
			uint64_t before = fx_stat(STAT_net_fragment_overlap);
			whole_frame(&f, six, 100);
			g = f;
			for (uint32_t k = 60; k < g.len && row[i].other_bytes; k++)
				g.b[k] ^= 1;
			cr_assert(!feed(&f, 0, 48, true, i, &seg));
			if (row[i].off == 200)
				cr_assert(!feed(&f, 104, 16, false, i, &seg));
			else
				cr_assert(!feed(&f, 48, 56, true, i, &seg));
			cr_assert(!feed(&g, row[i].off, row[i].len, row[i].more, i, &seg), "row %u",
				  i);
			cr_expect_eq(fx_stat(STAT_net_fragment_overlap), before + 1, "row %u", i);
			cr_expect(!feed(&f, 104, 16, false, i, &seg), "row %u", i);
			cr_expect(!feed(&f, 48, 56, true, i, &seg), "row %u", i);
			cr_expect(!feed(&f, 0, 48, true, i, &seg), "row %u: nothing more of it", i);
		}
	cr_expect_eq(fx_stat(STAT_net_reassembled), 0);
}

Test(frag, refused_at_once)
{
	struct frame f;
	struct net_seg seg;

	for (unsigned six = 0; six < 2; six++) {
		uint64_t before = fx_stat(STAT_net_fragment_drop);
		whole_frame(&f, six, 500);
		cr_expect(!feed(&f, 0, 16, true, 1, &seg), "no whole TCP header");
		cr_expect(!feed(&f, 24, 12, true, 1, &seg), "not a multiple of 8");
		cr_expect(!feed(&f, 24, 0, true, 1, &seg), "empty");
		cr_expect(!feed(&f, 1992, 8, false, 1, &seg), "beyond a buffer");
		cr_expect(!feed(&f, 65528, 8, false, 1, &seg), "ping of death");
		cr_expect_eq(fx_stat(STAT_net_fragment_drop), before + 5);
	}
	whole_frame(&f, false, 500);
	uint64_t before = fx_stat(STAT_net_fragment_drop);
	cr_expect(!feed(&f, 8, 512, false, 2, &seg), "RFC 3128");
	cr_expect_eq(fx_stat(STAT_net_fragment_drop), before + 1);
}

/* Parameter problems: RFC 8200 4.5, RFC 7112. */
Test(frag, senders_are_told)
{
	static const struct {
		uint32_t off, len;
		bool more;
		uint8_t code;
		uint32_t at;
	} row[] = {{0, 28, true, 0, 4}, {65528, 16, true, 0, 42}, {0, 16, true, 3, 0}};
	struct frame f;
	struct net_seg seg;

	fx_meet_peer();
	whole_frame(&f, true, 500);
	for (unsigned i = 0; i < 3; i++) {
		fx_clear();
		cr_expect(!feed(&f, row[i].off, row[i].len, row[i].more, i, &seg));
		cr_assert_eq(fx.n_out, 1, "row %u", i);
		struct span m = fx_out_ip(0, &our6, &far6, 58);
		cr_expect_eq(m.p[0], 4);
		cr_expect_eq(m.p[1], row[i].code, "row %u", i);
		cr_expect_eq(g16(m.p + 4) << 16 | g16(m.p + 6), row[i].at, "row %u", i);
	}
}

static void ends(bool six)
{
	struct frame f;
	struct net_seg seg;

	fx_meet_peer();
	whole_frame(&f, six, 500);
	cr_assert(!feed(&f, 0, 64, true, 1, &seg));
	cr_assert(!feed(&f, 64, 64, true, 2, &seg)); /* without its first: nobody is told */
	fx_wait(59000000);
	cr_expect_eq(fx_stat(STAT_net_fragment_timeout), 0);
	fx_wait(2000000);
	cr_expect_eq(fx_stat(STAT_net_fragment_timeout), 2);
	cr_expect_eq(fx_stat(STAT_net_icmp_error_out), 1);
	cr_expect(!feed(&f, 64, 456, false, 1, &seg), "too late");
	cr_expect_eq(fx_stat(STAT_net_reassembled), 0);
}

Test(frag, time_ends_them4)
{
	ends(false);
}

Test(frag, time_ends_them6)
{
	ends(true);
}

Test(frag, bounded_by_source_and_in_all)
{
	struct frame f;
	struct net_seg seg;
	struct ip_addr src;

	/* One source: its own oldest give way, the one of another stays. */
	whole_frame(&f, false, 500);
	cr_assert(!feed(&f, 0, 64, true, 9999, &seg));
	for (unsigned i = 0; i < 100; i++) {
		struct frame g;
		src = ip_from4(0x050012c6); /* 198.18.0.5 */
		frame_tcp(&g, &src, &our4, 1, 2, SPAN("some data that is long enough to cut"));
		cr_assert(!feed(&g, 0, 24, true, i, &seg));
	}
	cr_expect_eq(fx_stat(STAT_net_fragment_evicted), 84);
	cr_assert(feed(&f, 64, 456, false, 9999, &seg));
	expect_whole(&f, &seg, "the other source");
	/* Many sources: a bounded number of buffers. */
	for (unsigned i = 0; i < 2000; i++) {
		struct frame g;
		src = ip_from4(0x01000005u + (i << 8));
		frame_tcp(&g, &src, &our4, 1, 2, SPAN("some data that is long enough to cut"));
		cr_assert(!feed(&g, 0, 24, true, i, &seg));
	}
	cr_expect_leq(pkt_heap_outstanding(), 130, "%u", pkt_heap_outstanding());
	fx_wait(61000000);
	fx_clear();
	cr_expect_leq(pkt_heap_outstanding(), 8, "what waits for the gateway: %u",
		      pkt_heap_outstanding());
}

Test(frag, ecn_and_upper_headers)
{
	struct frame f, g;
	struct net_seg seg;

	whole_frame(&f, false, 100);
	f.b[15] = 2;
	cut(&g, &f, 0, 64, true, 3);
	cr_assert(!fx_feed(&g, &seg));
	f.b[15] = 3;
	cut(&g, &f, 64, 56, false, 3);
	cr_assert(fx_feed(&g, &seg));
	cr_expect_eq(seg.ecn, 3);
	pkt_free(seg.pkt);
	/* Neighbour discovery in fragments, even in one: RFC 6980. */
	struct frame nd;
	frame_nd(&nd, &peer6, &our6, false, 0, &our6, peer_mac);
	nd.b[21] = 255;
	uint64_t before = fx_stat(STAT_net_bad_nd);
	cr_expect(!feed(&nd, 0, 32, false, 1, &seg));
	cr_expect_eq(fx_stat(STAT_net_bad_nd), before + 1);
	cr_expect(!feed(&nd, 0, 24, true, 2, &seg));
	cr_expect(!feed(&nd, 24, 8, false, 2, &seg));
	cr_expect_eq(fx_stat(STAT_net_bad_nd), before + 2);
	/* Echo in fragments is answered whole. */
	fx_meet_peer();
	fx_clear();
	struct frame ping;
	frame_echo(&ping, &peer4, &our4, SPAN("0123456789abcdef0123456789"));
	cr_expect(!feed(&ping, 0, 16, true, 7, &seg));
	cr_expect(!feed(&ping, 16, 18, false, 7, &seg));
	cr_assert_eq(fx.n_out, 1);
	struct span m = fx_out_ip(0, &our4, &peer4, 1);
	cr_expect_eq(m.len, 34);
	cr_expect_eq(m.p[0], 0);
}
