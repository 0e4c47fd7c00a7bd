/* ARP: requests answered, replies used, bad ones dropped. */
#include "fixture.h"

TestSuite(arp, .init = fx_setup, .fini = fx_teardown);

static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, none[6];

Test(arp, request_is_answered)
{
	struct frame f;
	frame_arp(&f, all, 1, peer_mac, &peer4, none, &our4);
	fx_feed_none(&f);
	cr_assert_eq(fx.n_out, 1);
	struct frame want;
	frame_arp(&want, peer_mac, 2, our_mac, &our4, peer_mac, &peer4);
	memcpy(want.b + 6, our_mac, 6);
	cr_assert_eq(pkt_len(fx.out[0]), 42);
	cr_assert_eq(memcmp(pkt_data(fx.out[0]), want.b, 42), 0);
}

Test(arp, request_for_another_or_a_probe)
{
	struct frame f;
	struct ip_addr zero = ip_from4(0);
	frame_arp(&f, all, 1, peer_mac, &peer4, none, &far4);
	fx_feed_none(&f);
	cr_assert_eq(fx.n_out, 0);
	frame_arp(&f, all, 1, peer_mac, &zero, none, &our4);
	fx_feed_none(&f);
	cr_assert_eq(fx.n_out, 1, "a probe is answered");
	cr_assert_eq(fx_stat(STAT_net_bad_arp), 0);
}

Test(arp, malformed_is_counted)
{
	static const struct {
		uint32_t at;
		uint8_t value;
	} edit[] = {{15, 2}, {16, 9}, {18, 5}, {19, 16}, {21, 3}, {21, 0}, {22, 1}};
	struct frame f;
	unsigned n = 0;
	for (unsigned i = 0; i < sizeof(edit) / sizeof(edit[0]); i++, n++) {
		frame_arp(&f, all, 1, peer_mac, &peer4, none, &our4);
		f.b[edit[i].at] = edit[i].value;
		fx_feed_none(&f);
	}
	frame_arp(&f, all, 1, peer_mac, &peer4, none, &our4);
	for (uint32_t len = 14; len < 42; len++, n++) {
		f.len = len;
		fx_feed_none(&f);
	}
	cr_assert_eq(fx_stat(STAT_net_bad_arp), n);
	cr_assert_eq(fx.n_out, 0);
	for (f.len = 0; f.len < 14; f.len++)
		fx_feed_none(&f);
	cr_assert_eq(fx_stat(STAT_net_bad_eth), 14);
}

Test(arp, conflict_is_counted)
{
	struct frame f;
	frame_arp(&f, all, 1, peer_mac, &our4, none, &our4);
	fx_feed_none(&f);
	cr_assert_eq(fx_stat(STAT_net_address_conflict), 1);
	frame_arp(&f, all, 1, our_mac, &our4, none, &our4);
	fx_feed_none(&f);
	cr_assert_eq(fx_stat(STAT_net_address_conflict), 1, "our own announcement came back");
	cr_assert_eq(fx.n_out, 0);
}

Test(arp, unasked_reply_makes_no_entry)
{
	struct frame f;
	frame_arp(&f, our_mac, 2, peer_mac, &peer4, our_mac, &our4);
	fx_feed_none(&f);
	cr_assert_eq(net_udp_send(fx.net, &our4, 9, &peer4, 9, SPAN("x"), fx.now_us), ERR_OK);
	cr_assert_eq(fx.n_out, 1);
	cr_assert_eq(pkt_data(fx.out[0])[13], 6, "it still has to ask");
}
