/* Routes and output: sources, next hops, headers, MTU, segmentation. */
#include "fixture.h"

TestSuite(output, .init = fx_setup, .fini = fx_teardown);
TestSuite(offload, .init = fx_setup_offload, .fini = fx_teardown);

Test(output, routes)
{
	static const struct {
		const char *src, *dst, *want; /* want: source; NULL: unreachable */
	} row[] = {
		{"::", "198.18.0.77", "198.18.0.2"},
		{"::", "203.0.113.9", "198.18.0.2"},
		{"198.18.0.2", "203.0.113.9", "198.18.0.2"},
		{"198.18.0.3", "203.0.113.9", NULL},
		{"fd00:198:18::2", "203.0.113.9", NULL},
		{"::", "198.18.0.2", NULL},
		{"::", "198.18.0.255", NULL},
		{"::", "255.255.255.255", NULL},
		{"::", "224.0.0.5", NULL},
		{"::", "0.0.0.0", NULL},
		{"::", "127.0.0.1", NULL},
		{"::", "fd00:198:18::99", "fd00:198:18::2"},
		{"::", "2001:db8::9", "fd00:198:18::2"},
		{"fe80::ff:fe00:2", "fe80::1", "fe80::ff:fe00:2"},
		{"::", "fe80::1", NULL},
		{"::", "ff02::1", NULL},
		{"::", "::", NULL},
		{"::", "::1", NULL},
		{"::", "fd00:198:18::2", NULL},
	};
	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct ip_addr src, dst, want;
		struct net_dst d;
		cr_assert(ip_parse(span_str(row[i].src), &src) && ip_parse(span_str(row[i].dst), &dst));
		enum err e = net_route(fx.net, &src, &dst, &d);
		cr_expect_eq(e, row[i].want ? ERR_OK : ERR_UNREACHABLE, "row %u", i);
		if (e != ERR_OK || !row[i].want)
			continue;
		cr_assert(ip_parse(span_str(row[i].want), &want));
		cr_expect(ip_eq(&d.src, &want), "row %u", i);
		cr_expect(ip_eq(&d.dst, &dst));
		cr_expect_eq(d.mtu, 1500);
		cr_expect_eq(d.port, 0);
	}
	cr_expect_eq(net_flow_owner(fx.net, 0, &far4, &our4, 1, 2), 0);
	cr_expect_eq(net_port_info(fx.net, 0)->mtu, 1500);
}

/* A TCP segment of len payload bytes behind its header, in packets of 1000. */
static struct pkt *segment(uint32_t len)
{
	struct pkt *p = pkt_alloc(fx.pool);
	uint8_t *h = pkt_append(p, 20);
	memset(h, 0, 20);
	h[12] = 0x50;
	h[13] = 0x18;
	for (uint32_t n = 0; n < len;) {
		struct pkt *q = pkt_alloc(fx.pool);
		uint32_t k = len - n < 1000 ? len - n : 1000;
		memset(pkt_append(q, k), (int)n, k);
		pkt_chain(p, q);
		n += k;
	}
	return p;
}

Test(output, headers_and_limits)
{
	struct net_dst d;
	fx_meet_peer();
	for (unsigned six = 0; six < 2; six++) {
		const struct ip_addr *us = six ? &our6 : &our4, *far = six ? &far6 : &far4;
		uint32_t max = 1500 - 20 - (six ? 40 : 20);
		cr_assert_eq(net_route(fx.net, us, far, &d), ERR_OK);
		d.tos = 0x2e << 2 | 2;
		cr_assert_eq(net_output(fx.net, &d, segment(max), 6, 20, 0, fx.now_us), ERR_OK);
		cr_assert_eq(fx_out_ip(0, us, far, 6).len, 20 + max);
		uint8_t *l3 = pkt_data(fx.out[0]) + 14;
		cr_expect_eq(six ? (l3[0] << 4 | l3[1] >> 4) & 0xff : l3[1], d.tos);
		if (!six)
			cr_expect_eq(l3[6], 0x40, "DF");
		fx_clear();
		cr_assert_eq(net_output(fx.net, &d, segment(max + 1), 6, 20, 0, fx.now_us), ERR_TOO_LONG);
		d.mtu = 1280;
		cr_assert_eq(net_output(fx.net, &d, segment(max), 6, 20, 0, fx.now_us), ERR_TOO_LONG);
		cr_assert_eq(fx.n_out, 0);
	}
	cr_assert_eq(fx_stat(STAT_net_too_long), 4);
}

Test(output, large_segments_are_cut)
{
	struct net_dst d;
	fx_meet_peer();
	for (unsigned six = 0; six < 2; six++) {
		const struct ip_addr *us = six ? &our6 : &our4, *far = six ? &far6 : &far4;
		cr_assert_eq(net_route(fx.net, us, far, &d), ERR_OK);
		cr_assert_eq(net_output(fx.net, &d, segment(20000), 6, 20, 1400, fx.now_us), ERR_OK);
		cr_assert_eq(fx.n_out, 15);
		for (unsigned i = 0; i < 15; i++)
			cr_expect_eq(fx_out_ip(i, us, far, 6).len, 20 + (i < 14 ? 1400 : 400));
		fx_clear();
		cr_assert_eq(net_output(fx.net, &d, segment(1400), 6, 20, 1400, fx.now_us), ERR_OK);
		cr_assert_eq(fx.n_out, 1);
		fx_clear();
		cr_assert_eq(net_output(fx.net, &d, segment(65500), 6, 20, 1400, fx.now_us), ERR_TOO_LONG);
		cr_assert_eq(net_output(fx.net, &d, segment(2000), 6, 20, 1500, fx.now_us), ERR_TOO_LONG);
	}
}

Test(offload, devices_that_cut_get_it_whole)
{
	struct net_dst d;
	fx_meet_peer();
	cr_assert_eq(net_route(fx.net, &our4, &far4, &d), ERR_OK);
	struct pkt *p = segment(1900);
	cr_assert_eq(net_output(fx.net, &d, p, 6, 20, 1400, fx.now_us), ERR_OK);
	cr_assert_eq(fx.n_out, 1);
	cr_assert_eq(pkt_len(fx.out[0]), 14 + 20 + 20 + 1900);
}

Test(output, an_empty_pool_is_no_crash)
{
	struct frame f;
	fx_meet_peer();
	for (unsigned fail = 1; fail < 4; fail++) {
		frame_arp(&f, our_mac, 1, peer_mac, &peer4, our_mac, &our4);
		struct pkt *p = pkt_heap_exact(f.b, f.len);
		struct net_seg seg;
		pkt_heap_fail_after(1);
		net_input(fx.net, 0, &p, 1, fx.now_us, &seg);
	}
	cr_assert_eq(fx_stat(STAT_pkt_alloc_fail), 3);
	pkt_heap_fail_after(1);
	cr_assert_eq(net_udp_send(fx.net, &our4, 1, &peer4, 2, SPAN("x"), fx.now_us), ERR_NO_MEMORY);
	cr_assert_eq(fx.n_out, 0);
}
