/* UDP: binding, queues, lengths, checksums, sending. */
#include "fixture.h"

TestSuite(udp, .init = fx_setup, .fini = fx_teardown);

Test(udp, bound_port_receives)
{
	struct frame f;
	struct net_udp u;
	cr_assert(!net_udp_receive(fx.net, 5353, &u));
	cr_assert_eq(net_udp_bind(fx.net, 5353), ERR_OK);
	cr_assert_eq(net_udp_bind(fx.net, 5353), ERR_EXISTS);
	cr_assert(!net_udp_receive(fx.net, 5353, &u));
	for (unsigned six = 0; six < 2; six++) {
		frame_udp(&f, six ? &far6 : &far4, six ? &our6 : &our4, 53, 5353, SPAN("answer"));
		f.len += 3;
		fx_feed_none(&f);
		cr_assert(net_udp_receive(fx.net, 5353, &u));
		cr_expect(span_eq(slice_span(&u.data), SPAN("answer")));
		cr_expect(ip_eq(&u.src, six ? &far6 : &far4) && ip_eq(&u.dst, six ? &our6 : &our4));
		cr_expect_eq(u.src_port, 53);
		cr_expect_eq(u.dst_port, 5353);
		slice_drop(&u.data);
	}
	for (unsigned i = 1; i < 64; i++)
		cr_assert_eq(net_udp_bind(fx.net, (uint16_t)i), ERR_OK);
	cr_assert_eq(net_udp_bind(fx.net, 9999), ERR_TOO_MANY);
}

Test(udp, queue_is_bounded)
{
	struct frame f;
	struct net_udp u;
	cr_assert_eq(net_udp_bind(fx.net, 7), ERR_OK);
	for (unsigned i = 0; i < 300; i++) {
		uint8_t data[2] = {(uint8_t)(i >> 8), (uint8_t)i};
		frame_udp(&f, &far4, &our4, 53, 7, span_of(data, 2));
		fx_feed_none(&f);
	}
	cr_assert_eq(fx_stat(STAT_net_udp_in), 256);
	cr_assert_eq(fx_stat(STAT_net_udp_full), 44);
	for (unsigned i = 0; i < 200; i++) {
		cr_assert(net_udp_receive(fx.net, 7, &u));
		cr_expect_eq(u.data.data[1], (uint8_t)i);
		slice_drop(&u.data);
	}
	/* The rest goes with the core. */
}

Test(udp, lengths_and_checksums)
{
	struct frame f;
	uint64_t bad = 0;
	cr_assert_eq(net_udp_bind(fx.net, 7), ERR_OK);
	for (unsigned six = 0; six < 2; six++) {
		const struct ip_addr *us = six ? &our6 : &our4, *far = six ? &far6 : &far4;
		uint32_t l4 = six ? 54 : 34;
		for (unsigned len = 0; len < 40; len++) {
			frame_udp(&f, far, us, 53, 7, SPAN("0123456789"));
			f.b[l4 + 5] = (uint8_t)len;
			uint32_t whole = f.len;
			if (len >= 8 && len < 18)
				f.len = l4 + len;
			frame_seal(&f, l4, 17);
			f.len = whole;
			/* The IP length stays: UDP may be shorter than its packet. */
			fx_feed_none(&f);
			bad += len < 8 || len > 18;
			cr_expect_eq(fx_stat(STAT_net_bad_udp), bad, "%u", len);
		}
		frame_udp(&f, far, us, 53, 7, SPAN("x"));
		f.b[l4 + 4] = f.b[l4 + 5] = 0xff;
		fx_feed_none(&f);
		cr_expect_eq(fx_stat(STAT_net_bad_udp), ++bad);
		frame_udp(&f, far, us, 53, 7, SPAN("x"));
		f.b[f.len - 1] ^= 4;
		fx_feed_none(&f);
		cr_expect_eq(fx_stat(STAT_net_bad_udp), ++bad);
		frame_udp(&f, far, us, 53, 7, SPAN("x"));
		f.b[l4 + 6] = f.b[l4 + 7] = 0;
		fx_feed_none(&f);
		bad += six;
		cr_expect_eq(fx_stat(STAT_net_bad_udp), bad, "without a checksum");
		uint8_t cut[8] = {0};
		for (uint32_t len = 0; len < 8; len++) {
			frame_ip(&f, far, us, 17, cut, len);
			fx_feed_none(&f);
			cr_expect_eq(fx_stat(STAT_net_bad_udp), ++bad);
		}
	}
}

Test(udp, send)
{
	static uint8_t data[3000];
	fx_meet_peer();
	for (unsigned six = 0; six < 2; six++) {
		const struct ip_addr *us = six ? &our6 : &our4, *far = six ? &far6 : &far4;
		uint32_t max = 1500 - 8 - (six ? 40 : 20);
		for (uint32_t len = 0; len <= max; len += 13) {
			memset(data, (int)len, len);
			cr_assert_eq(net_udp_send(fx.net, us, 1234, far, 53, span_of(data, len), fx.now_us),
				     ERR_OK);
			struct span m = fx_out_ip(0, us, far, 17);
			cr_expect_eq(m.len, 8 + len);
			cr_expect_eq(m.p[0] << 8 | m.p[1], 1234);
			cr_expect_eq(m.p[3], 53);
			cr_expect(m.p[6] || m.p[7], "never without a checksum");
			cr_expect_eq(memcmp(m.p + 8, data, len), 0);
			fx_clear();
		}
		cr_assert_eq(net_udp_send(fx.net, us, 1, far, 53, span_of(data, max + 1), fx.now_us),
			     ERR_TOO_LONG);
		cr_assert_eq(net_udp_send(fx.net, us, 1, far, 53, span_of(data, 3000), fx.now_us),
			     ERR_TOO_LONG);
	}
	cr_assert_eq(net_udp_send(fx.net, &far4, 1, &peer4, 53, SPAN("x"), fx.now_us), ERR_UNREACHABLE);
	cr_assert_eq(fx.n_out, 0);
}
