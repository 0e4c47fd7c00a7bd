/* IPv4 and IPv6 headers: every length at its edges, options, fragments, addresses, checksums. */
#include <stdio.h>
#include "fixture.h"

TestSuite(input, .init = fx_setup, .fini = fx_teardown);

static void p16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* Feeds f, and expects a segment or the counter. */
static void expect(const struct frame *f, bool good, enum stat_id why, const char *what)
{
	struct net_seg seg;
	uint64_t before = good ? 0 : fx_stat(why);
	bool got = fx_feed(f, &seg);
	cr_expect_eq(got, good, "%s", what);
	if (got)
		pkt_free(seg.pkt);
	else if (!good)
		cr_expect_eq(fx_stat(why), before + 1, "%s: %s is not counted", what, stat_name(why));
}

Test(input, segments_of_both_families)
{
	for (unsigned six = 0; six < 2; six++) {
		for (unsigned len = 0; len <= 1440; len += 9) {
			struct frame f;
			struct net_seg seg;
			uint8_t data[1500];
			memset(data, (int)len, len);
			frame_tcp(&f, six ? &far6 : &far4, six ? &our6 : &our4, 40000, 25, span_of(data, len));
			f.b[15] = (uint8_t)(f.b[15] | (six ? 0x20 : 2)); /* ECN: 2 */
			frame_seal(&f, six ? 54 : 34, 6);
			f.len += 5; /* padding */
			cr_assert(fx_feed(&f, &seg));
			cr_expect_eq(seg.kind, NET_SEG_TCP);
			cr_expect(ip_eq(&seg.src, six ? &far6 : &far4));
			cr_expect(ip_eq(&seg.dst, six ? &our6 : &our4));
			cr_expect_eq(seg.l4_len, 20 + len);
			cr_expect_eq(seg.l4, pkt_data(seg.pkt) + (six ? 54 : 34));
			cr_expect_eq(memcmp(seg.l4 + 20, data, len), 0);
			cr_expect(seg.csum_ok);
			cr_expect_eq(seg.ecn, 2);
			cr_expect_eq(seg.port, 0);
			pkt_free(seg.pkt);
		}
	}
}

Test(input, padding_does_not_hide_a_wrong_checksum)
{
	for (unsigned six = 0; six < 2; six++) {
		struct frame good, f;
		frame_tcp(&good, six ? &far6 : &far4, six ? &our6 : &our4, 1, 2, SPAN("some data"));
		for (uint32_t bit = (six ? 14 + 8 : 14 + 10) * 8; bit < good.len * 8; bit++) {
			f = good;
			f.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
			struct net_seg seg;
			cr_expect(!fx_feed(&f, &seg), "bit %u flipped", bit);
		}
		cr_expect(fx_stat(STAT_tcp_bad_csum) > 200);
	}
}

Test(input, ip4_lengths)
{
	struct frame f;
	struct net_seg seg;
	for (unsigned ihl = 0; ihl < 16; ihl++) {
		frame_tcp(&f, &far4, &our4, 1, 2, SPAN(""));
		f.b[14] = (uint8_t)(0x40 | ihl);
		if (ihl >= 5 && ihl <= 10)
			frame_seal(&f, 14 + ihl * 4, 6);
		/* 6 to 10: what was the TCP header passes for options, and too little is left. */
		expect(&f, ihl == 5, ihl > 5 && ihl <= 10 ? STAT_tcp_bad_header : STAT_net_bad_ip4, "ihl");
	}
	for (unsigned total = 0; total < 70; total++) {
		frame_tcp(&f, &far4, &our4, 1, 2, SPAN("0123456789"));
		p16(f.b + 16, total);
		uint32_t len = f.len;
		if (total >= 20 && total <= 50)
			f.len = 14 + total;
		frame_seal(&f, 34, 6);
		f.len = len;
		expect(&f, total >= 40 && total <= 50,
		       total < 20 || total > 50 ? STAT_net_bad_ip4 : STAT_tcp_bad_header, "total");
	}
	frame_tcp(&f, &far4, &our4, 1, 2, SPAN(""));
	p16(f.b + 16, 65535);
	frame_seal(&f, 34, 6);
	expect(&f, false, STAT_net_bad_ip4, "total 65535");
	frame_tcp(&f, &far4, &our4, 1, 2, SPAN(""));
	for (f.len = 14; f.len < 54; f.len++)
		expect(&f, false, STAT_net_bad_ip4, "frame cut");
	for (unsigned version = 0; version < 16; version++) {
		frame_tcp(&f, &far4, &our4, 1, 2, SPAN(""));
		f.b[14] = (uint8_t)(version << 4 | 5);
		uint8_t *l3 = f.b + 14;
		p16(l3 + 10, 0);
		uint16_t c = csum_fold(csum_add(0, l3, 20));
		memcpy(l3 + 10, &c, 2);
		expect(&f, version == 4, STAT_net_bad_ip4, "version");
	}
	frame_tcp(&f, &far4, &our4, 1, 2, SPAN(""));
	f.b[24] ^= 1;
	cr_expect(!fx_feed(&f, &seg));
}

Test(input, ip4_options)
{
	static const struct {
		uint8_t o[8];
		bool good;
	} row[] = {
		{{0}, true}, {{1, 1, 1, 1, 1, 1, 1, 1}, true}, {{7, 7, 4, 0, 0, 0, 0, 0}, true},
		{{7, 8, 4}, true}, {{7, 9, 4}, false}, {{7, 0}, false}, {{7, 1}, false},
		{{1, 1, 1, 1, 1, 1, 1, 7}, false}, {{131, 7, 4}, false}, {{137, 7, 4}, false},
		{{0, 131, 7}, true}, {{68, 8, 5}, true}, {{1, 1, 1, 1, 1, 1, 7, 3}, false},
	};
	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct frame f;
		uint8_t l4[28] = {[12 + 8] = 0x50};
		memcpy(l4, row[i].o, 8);
		frame_ip(&f, &far4, &our4, 6, l4, 28);
		f.b[14] = 0x47;
		frame_seal(&f, 14 + 28, 6);
		expect(&f, row[i].good, STAT_net_bad_ip4, "options");
	}
}

Test(input, ip4_fragments)
{
	static const unsigned bits[] = {0x0000, 0x4000, 0x8000, 0x2000, 0x0001, 0x1fff, 0x2001, 0x6000};
	for (unsigned i = 0; i < 8; i++) {
		struct frame f;
		frame_tcp(&f, &far4, &our4, 1, 2, SPAN("x"));
		p16(f.b + 20, bits[i]);
		frame_seal(&f, 34, 6);
		expect(&f, i < 3, STAT_net_fragment_drop, "fragment");
	}
}

Test(input, ip6_lengths)
{
	struct frame f;
	for (unsigned len = 0; len < 50; len++) {
		frame_tcp(&f, &far6, &our6, 1, 2, SPAN("0123456789"));
		p16(f.b + 18, len);
		uint32_t whole = f.len;
		if (len <= 30)
			f.len = 54 + len;
		frame_seal(&f, 54, 6);
		f.len = whole;
		expect(&f, len >= 20 && len <= 30, len > 30 ? STAT_net_bad_ip6 : STAT_tcp_bad_header,
		       "payload length");
	}
	frame_tcp(&f, &far6, &our6, 1, 2, SPAN(""));
	for (f.len = 14; f.len < 74; f.len++)
		expect(&f, false, STAT_net_bad_ip6, "frame cut");
	for (unsigned version = 0; version < 16; version++) {
		frame_tcp(&f, &far6, &our6, 1, 2, SPAN(""));
		f.b[14] = (uint8_t)(version << 4);
		expect(&f, version == 6, STAT_net_bad_ip6, "version");
	}
}

/* A TCP segment behind ext (each element's first byte is patched to name the next). */
static void ext_frame(struct frame *f, uint8_t first, const uint8_t *ext, uint32_t ext_len)
{
	uint8_t l4[600] = {0};
	memcpy(l4, ext, ext_len);
	l4[ext_len + 12] = 0x50;
	frame_ip(f, &far6, &our6, 6, l4, ext_len + 20);
	memcpy(f->b + 54, l4, ext_len + 20); /* no checksum where frame_ip puts it */
	frame_seal(f, 54 + ext_len, 6);
	f->b[20] = first;
}

Test(input, ip6_extension_headers)
{
	static const struct {
		uint8_t first, len;
		uint8_t b[32];
		bool good;
		enum stat_id why;
	} row[] = {
		{0, 8, {6, 0, 1, 4}, true, 0},                                    /* PadN */
		{0, 8, {6, 0, 0, 0, 0, 0, 0, 0}, true, 0},                        /* Pad1 */
		{0, 8, {6, 0, 1, 5}, false, STAT_net_bad_ip6},                    /* option beyond */
		{0, 8, {6, 0, 0x1e, 4}, true, 0},                                 /* unknown, skip */
		{0, 8, {6, 0, 0x5e, 4}, false, STAT_net_bad_ip6},                 /* unknown, drop */
		{0, 8, {6, 0, 0xde, 4}, false, STAT_net_bad_ip6},
		{0, 8, {6, 0, 0, 0, 0, 0, 0, 1}, false, STAT_net_bad_ip6},        /* option cut */
		{0, 16, {60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4}, true, 0},          /* with destination */
		{60, 16, {0, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4}, false, STAT_net_bad_ip6}, /* not first */
		{60, 16, {6, 1, 0x1e, 12}, true, 0},                              /* 16 bytes long */
		{60, 16, {6, 1, 1, 12}, false, STAT_net_bad_ip6},                 /* more padding than aligns */
		{60, 8, {6, 255, 1, 4}, false, STAT_net_bad_ip6},                 /* longer than all */
		{43, 8, {6, 0, 0, 0}, true, 0},                                   /* routing, at its end */
		{43, 8, {6, 0, 0, 1}, false, STAT_net_bad_ip6},
		{43, 8, {6, 0, 4, 255}, false, STAT_net_bad_ip6},
		{44, 8, {6, 0, 0, 0, 1, 2, 3, 4}, true, 0},                       /* atomic fragment */
		{44, 8, {6, 0, 0, 1, 1, 2, 3, 4}, false, STAT_net_fragment_drop},
		{44, 8, {6, 0, 0, 9, 1, 2, 3, 4}, false, STAT_net_fragment_drop},
		{44, 8, {6, 0, 255, 248, 1, 2, 3, 4}, false, STAT_net_fragment_drop},
		{51, 8, {6, 0, 0, 0}, false, STAT_net_unknown_proto},             /* AH */
		{59, 8, {6, 0, 0, 0}, false, STAT_net_unknown_proto},             /* none */
	};
	struct frame f;
	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		char what[32];
		snprintf(what, sizeof(what), "row %u", i);
		ext_frame(&f, row[i].first, row[i].b, row[i].len);
		expect(&f, row[i].good, row[i].why, what);
	}
	/* As many as are allowed, and one more. */
	for (unsigned n = 7; n <= 9; n++) {
		uint8_t b[80] = {0};
		for (unsigned i = 0; i < n; i++) {
			b[i * 8] = i + 1 < n ? 60 : 6;
			b[i * 8 + 2] = 1;
			b[i * 8 + 3] = 4;
		}
		ext_frame(&f, 60, b, n * 8);
		expect(&f, n < 8, STAT_net_bad_ip6, "chain");
	}
	/* Cut everywhere, with a payload length that says so. */
	for (uint32_t len = 0; len < 24; len++) {
		uint8_t b[24] = {60, 0, 1, 4, 0, 0, 0, 0, 44, 0, 1, 4, 0, 0, 0, 0, 6};
		frame_ip(&f, &far6, &our6, 6, b, len);
		f.b[20] = 0;
		struct net_seg seg;
		cr_expect(!fx_feed(&f, &seg));
	}
}

Test(input, sources_that_cannot_be)
{
	static const struct {
		const char *src, *dst;
		enum stat_id why; /* STAT__N: good */
	} row[] = {
		{"0.0.0.0", "198.18.0.2", STAT_net_bad_src},
		{"0.1.2.3", "198.18.0.2", STAT_net_bad_src},
		{"127.0.0.1", "198.18.0.2", STAT_net_bad_src},
		{"224.0.0.1", "198.18.0.2", STAT_net_bad_src},
		{"255.255.255.255", "198.18.0.2", STAT_net_bad_src},
		{"240.0.0.1", "198.18.0.2", STAT_net_bad_src},
		{"198.18.0.2", "198.18.0.2", STAT_net_bad_src},
		{"198.18.0.9", "198.18.0.2", STAT__N},
		{"198.18.0.9", "198.18.0.3", STAT_net_not_ours},
		{"198.18.0.9", "255.255.255.255", STAT_net_not_ours},
		{"198.18.0.9", "224.0.0.1", STAT_net_not_ours},
		{"::", "fd00:198:18::2", STAT_net_bad_src},
		{"::1", "fd00:198:18::2", STAT_net_bad_src},
		{"::198.18.0.1", "fd00:198:18::2", STAT_net_bad_src},
		{"ff02::1", "fd00:198:18::2", STAT_net_bad_src},
		{"fd00:198:18::2", "fd00:198:18::2", STAT_net_bad_src},
		{"fe80::1", "fd00:198:18::2", STAT__N},
		{"fe80::1", "fe80::ff:fe00:2", STAT__N},
		{"2001:db8::1", "fd00:198:18::3", STAT_net_not_ours},
		{"2001:db8::1", "ff02::1", STAT_net_not_ours},
		{"2001:db8::1", "ff02::1:ff00:2", STAT_net_not_ours},
		{"2001:db8::1", "ff02::2", STAT_net_not_ours},
	};
	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct frame f;
		struct ip_addr src, dst;
		cr_assert(ip_parse(span_str(row[i].src), &src) && ip_parse(span_str(row[i].dst), &dst));
		frame_tcp(&f, &src, &dst, 1, 2, SPAN(""));
		expect(&f, row[i].why == STAT__N, row[i].why, row[i].src);
	}
	/* The mapped form in an IPv6 header would pass for IPv4. */
	for (unsigned k = 0; k < 2; k++) {
		struct frame f;
		uint8_t l4[20] = {[12] = 0x50};
		frame_ip(&f, &far6, &our6, 6, l4, 20);
		memcpy(f.b + 14 + (k ? 24 : 8), k ? our4.b : far4.b, 16);
		frame_seal(&f, 54, 6);
		expect(&f, false, k ? STAT_net_not_ours : STAT_net_bad_src, "mapped");
	}
}

Test(input, ethernet)
{
	static const uint8_t other[6] = {2, 0, 0, 0, 0, 9}, all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct frame f;
	frame_tcp(&f, &far4, &our4, 1, 2, SPAN(""));
	memcpy(f.b, other, 6);
	expect(&f, false, STAT_net_not_ours, "for another");
	memcpy(f.b, all, 6);
	expect(&f, false, STAT_net_not_ours, "broadcast");
	frame_tcp(&f, &far6, &our6, 1, 2, SPAN(""));
	f.b[0] = f.b[1] = 0x33;
	expect(&f, false, STAT_net_not_ours, "multicast");
	static const unsigned types[] = {0, 46, 0x05dc, 0x8100, 0x88cc, 0xffff};
	for (unsigned i = 0; i < 6; i++) {
		frame_tcp(&f, &far4, &our4, 1, 2, SPAN(""));
		p16(f.b + 12, types[i]);
		expect(&f, false, STAT_net_bad_eth, "type");
	}
}

Test(input, a_batch_keeps_its_order)
{
	struct pkt *p[32];
	struct net_seg seg[32];
	struct frame f;
	for (unsigned i = 0; i < 32; i++) {
		frame_tcp(&f, &far4, &our4, (uint16_t)i, 25, SPAN(""));
		if (i % 5 == 3)
			f.b[f.len - 1] ^= 1;
		p[i] = pkt_heap_exact(f.b, f.len);
	}
	unsigned n = net_input(fx.net, 0, p, 32, fx.now_us, seg), k = 0;
	cr_assert_eq(n, 26);
	for (unsigned i = 0; i < 32; i++) {
		if (i % 5 == 3)
			continue;
		cr_expect_eq(seg[k].l4[1], i);
		pkt_free(seg[k++].pkt);
	}
	cr_assert_eq(net_input(fx.net, 0, p, 0, fx.now_us, seg), 0);
}
