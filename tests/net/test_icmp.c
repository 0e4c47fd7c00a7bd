/* ICMP: echo, errors in both directions, rates. */
#include "fixture.h"

TestSuite(icmp, .init = fx_setup, .fini = fx_teardown);

Test(icmp, echo_of_both_families)
{
	struct frame f;
	fx_meet_peer();
	for (unsigned len = 0; len <= 1400; len += 7) {
		uint8_t data[1400];
		memset(data, (int)len, sizeof(data));
		for (unsigned six = 0; six < 2; six++) {
			frame_echo(&f, six ? &peer6 : &peer4, six ? &our6 : &our4, span_of(data, len));
			f.len += 6; /* padding stays out */
			fx.now_us += 1000;
			fx_feed_none(&f);
			cr_assert_eq(fx.n_out, 1);
			struct span m = fx_out_ip(0, six ? &our6 : &our4, six ? &peer6 : &peer4,
						  six ? 58 : 1);
			cr_assert_eq(m.len, 8 + len);
			cr_assert_eq(m.p[0], six ? 129 : 0);
			cr_assert_eq(memcmp(m.p + 4, "\1\2\3\4", 4), 0);
			cr_assert_eq(memcmp(m.p + 8, data, len), 0);
			fx_clear();
		}
	}
}

Test(icmp, echo_is_limited)
{
	struct frame f;
	fx_meet_peer();
	frame_echo(&f, &peer4, &our4, SPAN("x"));
	for (unsigned i = 0; i < 300; i++)
		fx_feed_none(&f);
	cr_assert_eq(fx.n_out, 200);
	cr_assert_eq(fx_stat(STAT_net_icmp_limited), 100);
	fx.now_us += 10000;
	for (unsigned i = 0; i < 300; i++)
		fx_feed_none(&f);
	cr_assert_eq(fx.n_out, 210);
}

Test(icmp, wrong_checksum_and_cut)
{
	struct frame f;
	fx_meet_peer();
	for (unsigned six = 0; six < 2; six++) {
		frame_echo(&f, six ? &peer6 : &peer4, six ? &our6 : &our4, SPAN("abc"));
		f.b[f.len - 1] ^= 1;
		fx_feed_none(&f);
		uint8_t l4[8] = {six ? 128 : 8};
		for (uint32_t len = 0; len < 8; len++) {
			frame_ip(&f, six ? &peer6 : &peer4, six ? &our6 : &our4, six ? 58 : 1, l4, len);
			fx_feed_none(&f);
		}
	}
	cr_assert_eq(fx.n_out, 0);
	cr_assert_eq(fx_stat(STAT_net_bad_icmp), 18);
}

/* An error of a router about a TCP segment from src to dst. */
static void error_frame(struct frame *f, const struct ip_addr *src, const struct ip_addr *dst, uint8_t type,
			uint8_t code, unsigned mtu, uint32_t quote_len, uint8_t proto)
{
	struct frame q;
	uint8_t l4[2048] = {type, code, [6] = (uint8_t)(mtu >> 8), (uint8_t)mtu}, data[1400] = {0};
	frame_tcp(&q, src, dst, 25, 7777, span_of(data, sizeof(data)));
	q.b[14 + (ip_is4(src) ? 9 : 6)] = proto;
	memcpy(l4 + 8, q.b + 14, quote_len);
	frame_ip(f, ip_is4(src) ? &peer4 : &peer6, ip_is4(src) ? &our4 : &our6, ip_is4(src) ? 1 : 58, l4,
		 8 + quote_len);
}

Test(icmp, errors_about_our_segments_are_passed_on)
{
	static const struct {
		bool six;
		uint8_t type, code;
		unsigned mtu;
		uint8_t icmp; /* 0: dropped as bad, 9: ignored */
		unsigned want_mtu;
	} row[] = {
		{false, 3, 0, 0, 1, 0}, {false, 3, 1, 0, 1, 0}, {false, 3, 2, 0, 2, 0},
		{false, 3, 3, 0, 2, 0}, {false, 3, 4, 1400, 3, 1400}, {false, 3, 4, 0, 3, 1006},
		{false, 3, 4, 67, 0, 0}, {false, 3, 4, 68, 3, 68}, {false, 3, 4, 1500, 0, 0},
		{false, 3, 4, 65535, 0, 0}, {false, 11, 0, 0, 1, 0}, {false, 12, 0, 0, 1, 0},
		{false, 4, 0, 0, 9, 0}, {false, 5, 0, 0, 9, 0}, {true, 1, 0, 0, 1, 0},
		{true, 1, 4, 0, 2, 0}, {true, 2, 0, 1400, 3, 1400}, {true, 2, 0, 100, 3, 1280},
		{true, 2, 0, 1500, 0, 0}, {true, 3, 0, 0, 1, 0}, {true, 4, 1, 0, 2, 0},
		{true, 4, 0, 0, 1, 0}, {true, 100, 0, 0, 9, 0},
	};
	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct frame f;
		struct net_seg seg;
		const struct ip_addr *us = row[i].six ? &our6 : &our4, *dst = row[i].six ? &far6 : &far4;
		uint64_t bad = fx_stat(STAT_net_bad_icmp);
		error_frame(&f, us, dst, row[i].type, row[i].code, row[i].mtu, row[i].six ? 60 : 40, 6);
		bool got = fx_feed(&f, &seg);
		cr_expect_eq(got, row[i].icmp % 9 != 0, "row %u", i);
		cr_expect_eq(fx_stat(STAT_net_bad_icmp) - bad, row[i].icmp == 0, "row %u", i);
		if (!got)
			continue;
		cr_expect_eq(seg.kind, NET_SEG_ICMP_ERROR);
		cr_expect_eq(seg.icmp, row[i].icmp, "row %u", i);
		cr_expect_eq(seg.mtu, row[i].want_mtu, "row %u: %u", i, seg.mtu);
		cr_expect(ip_eq(&seg.src, us) && ip_eq(&seg.dst, dst));
		cr_expect_eq(seg.l4_len, 20);
		cr_expect_eq(seg.l4[1], 25);
		pkt_free(seg.pkt);
	}
}

Test(icmp, quotes_that_are_not_ours_or_cut)
{
	struct frame f;
	struct net_seg seg;
	for (unsigned six = 0; six < 2; six++) {
		const struct ip_addr *us = six ? &our6 : &our4, *dst = six ? &far6 : &far4;
		uint32_t hdr = six ? 40 : 20;
		uint8_t type = six ? 1 : 3;
		for (uint32_t len = 0; len < hdr + 30; len++) {
			error_frame(&f, us, dst, type, 1, 0, len, 6);
			bool got = fx_feed(&f, &seg);
			cr_expect_eq(got, len >= hdr + 8, "quote of %u", len);
			if (got)
				pkt_free(seg.pkt);
		}
		error_frame(&f, dst, us, type, 1, 0, hdr + 20, 6);
		cr_expect(!fx_feed(&f, &seg), "we did not send that");
		error_frame(&f, us, dst, type, 1, 0, hdr + 20, 17);
		cr_expect(!fx_feed(&f, &seg), "not TCP");
	}
	/* Length fields of the quoted header. */
	for (unsigned ihl = 0; ihl < 16; ihl++) {
		error_frame(&f, &our4, &far4, 3, 1, 0, 60, 6);
		f.b[14 + 28] = (uint8_t)(0x40 | ihl);
		frame_seal(&f, 34, 1);
		bool got = fx_feed(&f, &seg);
		cr_expect_eq(got, ihl >= 5 && ihl <= 13, "%u", ihl);
		if (got)
			pkt_free(seg.pkt);
	}
	for (unsigned frag = 0; frag < 2; frag++) {
		error_frame(&f, &our4, &far4, 3, 1, 0, 60, 6);
		f.b[14 + 28 + 7] = (uint8_t)frag;
		frame_seal(&f, 34, 1);
		bool got = fx_feed(&f, &seg);
		cr_expect_eq(got, frag == 0);
		if (got)
			pkt_free(seg.pkt);
	}
}

Test(icmp, closed_port_and_unknown_protocol_are_reported)
{
	struct frame f;
	uint8_t l4[700] = {0};
	fx_meet_peer();
	for (unsigned six = 0; six < 2; six++) {
		const struct ip_addr *us = six ? &our6 : &our4, *peer = six ? &peer6 : &peer4;
		frame_udp(&f, peer, us, 1000, 2000, span_of(l4, 600));
		fx_feed_none(&f);
		cr_assert_eq(fx.n_out, 1);
		struct span m = fx_out_ip(0, us, peer, six ? 58 : 1);
		cr_expect_eq(m.p[0], six ? 1 : 3);
		cr_expect_eq(m.p[1], six ? 4 : 3);
		cr_expect_eq(m.len, six ? 8 + 40 + 608 : 556);
		cr_expect_eq(memcmp(m.p + 8, f.b + 14, m.len - 8), 0);
		fx_clear();
		frame_ip(&f, peer, us, 132, l4, 20);
		fx_feed_none(&f);
		m = fx_out_ip(0, us, peer, six ? 58 : 1);
		cr_expect_eq(m.p[0], six ? 4 : 3);
		cr_expect_eq(m.p[1], six ? 1 : 2);
		fx_clear();
	}
	cr_assert_eq(fx_stat(STAT_net_udp_no_port), 2);
	cr_assert_eq(fx_stat(STAT_net_unknown_proto), 2);
	frame_udp(&f, &peer4, &our4, 1000, 2000, SPAN(""));
	for (unsigned i = 0; i < 100; i++)
		fx_feed_none(&f);
	cr_assert_eq(fx.n_out, 46);
	cr_assert_eq(fx_stat(STAT_net_icmp_limited), 54);
}
