/* Neighbour discovery: answers, learning, duplicates, malformed messages. */
#include "fixture.h"

TestSuite(nd, .init = fx_setup, .fini = fx_teardown);

static struct ip_addr group(const struct ip_addr *a)
{
	struct ip_addr g = {.b = {0xff, 2, [11] = 1, 0xff}};
	memcpy(g.b + 13, a->b + 13, 3);
	return g;
}

Test(nd, solicitation_is_answered)
{
	struct frame f;
	struct ip_addr g = group(&our6);
	const struct ip_addr *from[] = {&peer6, &peer_ll};
	for (unsigned i = 0; i < 4; i++) {
		const struct ip_addr *target = i / 2 ? &our_ll : &our6;
		g = group(target);
		frame_nd(&f, from[i % 2], &g, false, 0, target, peer_mac);
		fx_feed_none(&f);
		cr_assert_eq(fx.n_out, 1);
		struct span m = fx_out_ip(0, target, from[i % 2], 58);
		cr_assert_eq(m.len, 32);
		cr_expect_eq(m.p[0], 136);
		cr_expect_eq(m.p[4], 0x60);
		cr_expect_eq(memcmp(m.p + 8, target->b, 16), 0);
		cr_expect_eq(m.p[24], 2);
		cr_expect_eq(m.p[25], 1);
		cr_expect_eq(memcmp(m.p + 26, our_mac, 6), 0);
		cr_expect_eq(pkt_data(fx.out[0])[14 + 7], 255);
		fx_clear();
	}
	/* Unicast, without an option: a reachability probe. */
	frame_nd(&f, &peer6, &our6, false, 0, &our6, NULL);
	fx_feed_none(&f);
	fx_out_ip(0, &our6, &peer6, 58);
	fx_clear();
	g = group(&peer6);
	frame_nd(&f, &peer_ll, &g, false, 0, &peer6, peer_mac);
	fx_feed_none(&f);
	cr_expect_eq(fx.n_out, 0, "not for us");
	cr_expect_eq(fx_stat(STAT_net_bad_nd), 0);
}

Test(nd, malformed_is_counted)
{
	struct frame f;
	struct ip_addr g = group(&our6), any = {.d = {0, 0}};
	uint64_t n = 0;

	frame_nd(&f, &peer6, &g, false, 0, &our6, peer_mac);
	f.b[14 + 7] = 254;
	fx_feed_none(&f);
	cr_expect_eq(fx_stat(STAT_net_bad_nd), ++n, "hop limit");
	frame_nd(&f, &peer6, &g, false, 0, &our6, peer_mac);
	f.b[55] = 1;
	frame_seal(&f, 54, 58);
	fx_feed_none(&f);
	cr_expect_eq(fx_stat(STAT_net_bad_nd), ++n, "code");
	frame_nd(&f, &peer6, &g, false, 0, &g, peer_mac);
	fx_feed_none(&f);
	cr_expect_eq(fx_stat(STAT_net_bad_nd), ++n, "multicast target");
	frame_nd(&f, &any, &g, false, 0, &our6, peer_mac);
	fx_feed_none(&f);
	cr_expect_eq(fx_stat(STAT_net_bad_nd), ++n, "option from nobody");
	frame_nd(&f, &any, &our6, false, 0, &our6, NULL);
	fx_feed_none(&f);
	cr_expect_eq(fx_stat(STAT_net_bad_nd), ++n, "nobody to one");
	frame_nd(&f, &peer6, &g, true, 0x40, &peer6, peer_mac);
	fx_feed_none(&f);
	cr_expect_eq(fx_stat(STAT_net_bad_nd), ++n, "solicited to a group");
	for (unsigned len = 0; len < 256; len++) {
		if (len == 1)
			continue;
		frame_nd(&f, &peer6, &our6, false, 0, &our6, peer_mac);
		f.b[54 + 25] = (uint8_t)len;
		frame_seal(&f, 54, 58);
		fx_feed_none(&f);
		cr_expect_eq(fx_stat(STAT_net_bad_nd), ++n, "option of %u", len);
	}
	for (unsigned len = 8; len < 32; len++) {
		uint8_t m[32] = {135, [24] = 1, 1};
		memcpy(m + 8, our6.b, 16);
		frame_ip(&f, &peer6, &our6, 58, m, len);
		fx_feed_none(&f);
		n += len != 24;
		cr_expect_eq(fx_stat(STAT_net_bad_nd), n, "message of %u", len);
	}
}

Test(nd, advertisement_makes_no_entry_but_answers)
{
	struct frame f;
	frame_nd(&f, &peer6, &our6, true, 0x60, &peer6, peer_mac);
	fx_feed_none(&f);
	cr_assert_eq(net_udp_send(fx.net, &our6, 9, &peer6, 9, SPAN("x"), fx.now_us), ERR_OK);
	cr_assert_eq(fx.n_out, 1);
	uint8_t *b = pkt_data(fx.out[0]);
	cr_expect_eq(b[54], 135, "it still has to ask");
	cr_expect_eq(b[0] << 8 | b[1], 0x3333);
	cr_expect_eq(b[5], 1);
	cr_expect_eq(memcmp(b + 54 + 8, peer6.b, 16), 0);
	cr_expect_eq(memcmp(b + 22, our6.b, 16), 0, "from an address of the same scope");
	fx_clear();
	fx_feed_none(&f);
	cr_assert_eq(fx.n_out, 1);
	fx_out_ip(0, &our6, &peer6, 17);
}

Test(nd, duplicates_are_found_at_start_only)
{
	struct frame f;
	struct ip_addr g = group(&our6), all = {.b = {0xff, 2, [15] = 1}}, any = {.d = {0, 0}};
	unsigned port;
	fx_wait(0);
	cr_assert_eq(fx.n_out, 3, "one announcement, two solicitations");
	uint8_t *b = pkt_data(fx.out[1]);
	cr_expect_eq(b[54], 135);
	cr_expect_eq(memcmp(b + 22, any.b, 16), 0);
	cr_expect_eq(pkt_len(fx.out[1]), 54 + 24);
	fx_clear();
	cr_assert(net_is_local(fx.net, &our6, &port));
	frame_nd(&f, &peer6, &all, true, 0x20, &our6, peer_mac);
	fx_feed_none(&f);
	cr_assert(!net_is_local(fx.net, &our6, &port), "another has it");
	cr_assert_eq(fx_stat(STAT_net_address_conflict), 1);
	frame_nd(&f, &peer6, &g, false, 0, &our6, peer_mac);
	fx_feed_none(&f);
	cr_assert_eq(fx.n_out, 0);
	/* The link-local address passes its second, and then is defended. */
	fx_wait(1100000);
	g = group(&our_ll);
	frame_nd(&f, &any, &g, false, 0, &our_ll, NULL);
	fx_feed_none(&f);
	cr_assert(net_is_local(fx.net, &our_ll, &port));
	cr_assert_eq(fx.n_out, 1);
	b = pkt_data(fx.out[0]);
	cr_expect_eq(b[54], 136);
	cr_expect_eq(b[58], 0x20);
	cr_expect_eq(memcmp(b + 38, all.b, 16), 0);
	frame_nd(&f, &peer6, &all, true, 0x20, &our_ll, peer_mac);
	fx_feed_none(&f);
	cr_assert(net_is_local(fx.net, &our_ll, &port), "too late to take it");
	cr_assert_eq(fx_stat(STAT_net_address_conflict), 2);
}
