/* Neighbours: waiting packets, retries, failure, staleness, probing, a flood of addresses. */
#include "fixture.h"

TestSuite(neigh, .init = fx_setup, .fini = fx_teardown);

static enum err udp(const struct ip_addr *dst, const char *text)
{
	return net_udp_send(fx.net, ip_is4(dst) ? &our4 : &our6, 9, dst, 9, span_str(text), fx.now_us);
}

static bool is_request(unsigned i, bool broadcast)
{
	cr_assert_lt(i, fx.n_out);
	uint8_t *b = pkt_data(fx.out[i]);
	return b[12] == 8 && b[13] == 6 && b[21] == 1 && (b[0] == 0xff) == broadcast;
}

Test(neigh, packets_wait_for_the_answer)
{
	struct frame f;
	fx_wait(0);
	fx_clear();
	char text[2] = "0";
	for (unsigned i = 0; i < 12; i++, text[0]++)
		cr_assert_eq(udp(&peer4, text), ERR_OK);
	cr_assert_eq(fx.n_out, 1, "one request");
	cr_assert(is_request(0, true));
	cr_assert_eq(fx_stat(STAT_net_neigh_full), 4);
	fx_clear();
	frame_arp(&f, our_mac, 2, peer_mac, &peer4, our_mac, &our4);
	fx_feed_none(&f);
	cr_assert_eq(fx.n_out, 8);
	for (unsigned i = 0; i < 8; i++)
		cr_expect_eq(fx_out_ip(i, &our4, &peer4, 17).p[8], '0' + i);
	fx_clear();
	udp(&peer4, "x");
	cr_assert_eq(fx.n_out, 1);
	fx_out_ip(0, &our4, &peer4, 17);
	/* What is behind the gateway goes to the gateway. */
	udp(&far4, "y");
	fx_out_ip(1, &our4, &far4, 17);
}

Test(neigh, no_answer)
{
	struct net_dst d;
	fx_wait(0);
	fx_clear();
	udp(&peer4, "x");
	udp(&peer4, "y");
	for (unsigned i = 0; i < 29; i++)
		fx_wait(100000);
	cr_assert_eq(fx.n_out, 3, "three requests in three seconds, got %u", fx.n_out);
	fx_wait(300000);
	cr_assert_eq(fx_stat(STAT_net_neigh_failed), 1);
	cr_assert_eq(fx_stat(STAT_net_unreachable), 2);
	cr_assert_eq(pkt_heap_outstanding(), 3, "the waiting packets were dropped");
	cr_assert_eq(udp(&peer4, "z"), ERR_UNREACHABLE);
	cr_assert_eq(fx_stat(STAT_net_unreachable), 3);
	fx_clear();
	fx_wait(4000000);
	cr_assert_eq(udp(&peer4, "z"), ERR_OK, "after a while it is asked again");
	cr_assert(is_request(0, true));
	cr_assert_eq(net_route(fx.net, &our4, &peer4, &d), ERR_OK);
}

Test(neigh, stale_ones_are_probed_when_used)
{
	struct frame f;
	fx_wait(0);
	fx_clear();
	udp(&peer4, "x");
	frame_arp(&f, our_mac, 2, peer_mac, &peer4, our_mac, &our4);
	fx_feed_none(&f);
	fx_wait(31000000);
	fx_clear();
	for (unsigned i = 0; i < 40; i++)
		fx_wait(1000000);
	cr_assert_eq(fx.n_out, 0, "not used, not probed");
	udp(&peer4, "y");
	cr_assert_eq(fx.n_out, 1);
	fx_out_ip(0, &our4, &peer4, 17);
	fx_wait(5100000);
	cr_assert_eq(fx.n_out, 2);
	cr_assert(is_request(1, false), "a unicast probe");
	fx_feed_none(&f);
	fx_wait(5100000);
	cr_assert_eq(fx.n_out, 2, "it answered");
	/* And one that stays silent is given up. */
	fx_wait(31000000);
	udp(&peer4, "z");
	for (unsigned i = 0; i < 100; i++)
		fx_wait(100000);
	cr_assert_eq(fx_stat(STAT_net_neigh_failed), 1);
	cr_assert_eq(fx.n_out, 6);
}

Test(neigh, progress_of_tcp_confirms)
{
	struct net_dst d;
	fx_wait(0);
	fx_meet_peer();
	cr_assert_eq(net_route(fx.net, &our4, &peer4, &d), ERR_OK);
	struct pkt *p = pkt_alloc(fx.pool);
	memset(pkt_append(p, 20), 0, 20);
	cr_assert_eq(net_output(fx.net, &d, p, 6, 20, 0, fx.now_us), ERR_OK);
	cr_assert_eq(fx.n_out, 1);
	for (unsigned i = 0; i < 100; i++) {
		fx_wait(1000000);
		net_confirm(fx.net, &d, fx.now_us);
	}
	cr_assert_eq(fx.n_out, 1, "no probe");
}

Test(neigh, a_changed_address_is_taken)
{
	static const uint8_t other[6] = {2, 0, 0, 0, 0, 7};
	struct frame f;
	fx_wait(0);
	fx_meet_peer();
	frame_arp(&f, our_mac, 1, other, &peer4, other, &peer4);
	fx_feed_none(&f);
	udp(&peer4, "x");
	cr_assert_eq(memcmp(pkt_data(fx.out[0]), other, 6), 0);
	fx_clear();
	/* Without the override flag an advertisement only makes doubt (RFC 4861 7.2.5). */
	frame_nd(&f, &peer6, &our6, true, 0x00, &peer6, other);
	fx_feed_none(&f);
	udp(&peer6, "x");
	cr_assert_eq(memcmp(pkt_data(fx.out[0]), peer_mac, 6), 0);
	fx_clear();
	frame_nd(&f, &peer6, &our6, true, 0x20, &peer6, other);
	fx_feed_none(&f);
	udp(&peer6, "x");
	cr_assert_eq(memcmp(pkt_data(fx.out[0]), other, 6), 0);
}

Test(neigh, a_flood_does_not_lock_the_table)
{
	struct frame f;
	fx_wait(0);
	udp(&peer4, "to the gateway");
	frame_arp(&f, our_mac, 2, peer_mac, &peer4, our_mac, &our4);
	fx_feed_none(&f);
	fx_clear();
	for (unsigned i = 0; i < 3000; i++) {
		struct ip_addr a = peer6;
		a.b[14] = (uint8_t)(0x40 + (i >> 8));
		a.b[15] = (uint8_t)i;
		fx.now_us++;
		udp(&a, "x");
		fx_clear();
	}
	cr_assert_eq(fx_stat(STAT_net_neigh_evicted), 3000 - 1023);
	cr_assert(fx_stat(STAT_net_neigh_full) > 0, "waiting packets are bounded");
	udp(&peer4, "still known");
	cr_assert_eq(fx.n_out, 1);
	fx_out_ip(0, &our4, &peer4, 17);
}
