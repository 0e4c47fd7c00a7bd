/* fixture.c: see fixture.h. Frames are built here by hand, not with the code under test. */
#include "fixture.h"

struct fixture fx;
const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 2}, peer_mac[6] = {2, 0, 0, 0, 0, 1};
struct ip_addr our4, our6, our_ll, peer4, peer6, peer_ll, far4, far6;

static void keep(void *arg, unsigned port, struct pkt *p)
{
	cr_assert_eq(arg, &fx);
	cr_assert_eq(port, 0);
	cr_assert_lt(fx.n_out, OUT_MAX);
	fx.out[fx.n_out++] = p;
}

static struct ip_addr addr(const char *text)
{
	struct ip_addr a;
	cr_assert(ip_parse(span_str(text), &a), "%s", text);
	return a;
}

static void setup(bool offload)
{
	struct port_info info = {.mac = {2, 0, 0, 0, 0, 2}, .mtu = 1500, .n_queue = 1,
				 .tx_csum_ip4 = offload, .tx_csum_l4 = offload, .tso = offload,
				 .multi_segs = true};
	our4 = addr("198.18.0.2");
	our6 = addr("fd00:198:18::2");
	our_ll = addr("fe80::ff:fe00:2");
	peer4 = addr("198.18.0.1");
	peer6 = addr("fd00:198:18::1");
	peer_ll = addr("fe80::ff:fe00:1");
	far4 = addr("203.0.113.9");
	far6 = addr("2001:db8::9");
	struct ip_prefix own[] = {{our4, 96 + 24}, {our6, 64}};
	struct ip_addr gateway[] = {peer4, peer6};
	struct conf_port port = {.name = "wan", .n_addr = 2, .addr = own, .n_gateway = 2,
				 .gateway = gateway};
	memset(&fx, 0, sizeof(fx));
	rnd_seed(&fx.rnd, 1);
	fx.now_us = 1000000;
	fx.pool = pkt_pool_create("test", 2000, PKT_ROOM);
	fx.net = net_create_test(&port, 1, &info, fx.pool, &fx.stat, &fx.rnd, keep, &fx);
}

void fx_setup(void)
{
	setup(false);
}

void fx_setup_offload(void)
{
	setup(true);
}

void fx_clear(void)
{
	while (fx.n_out)
		pkt_free(fx.out[--fx.n_out]);
}

void fx_teardown(void)
{
	fx_clear();
	net_destroy(&fx.net);
	cr_assert_null(fx.net);
	cr_assert_eq(pkt_heap_outstanding(), 0);
	pkt_pool_destroy(&fx.pool);
}

uint64_t fx_stat(enum stat_id id)
{
	return stat_get(&fx.stat, id);
}

void fx_wait(uint64_t us)
{
	fx.now_us += us;
	net_timers(fx.net, fx.now_us);
}

static void p16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

void frame_eth(struct frame *f, const uint8_t *dst, unsigned type)
{
	memcpy(f->b, dst, 6);
	memcpy(f->b + 6, peer_mac, 6);
	p16(f->b + 12, type);
	f->len = 14;
}

void frame_seal(struct frame *f, uint32_t l4_off, uint8_t proto)
{
	uint8_t *l3 = f->b + 14, *l4 = f->b + l4_off;
	bool v6 = l3[0] >> 4 == 6;
	uint32_t len = f->len - l4_off, at = proto == 6 ? 16 : proto == 17 ? 6 : 2;
	uint16_t c;

	if (!v6) {
		p16(l3 + 10, 0);
		c = csum_fold(csum_add(0, l3, (l3[0] & 15u) * 4));
		memcpy(l3 + 10, &c, 2);
	}
	if (len < at + 2)
		return;
	struct ip_addr src = v6 ? ip_from6(l3 + 8) : (struct ip_addr){0}, dst = src;
	if (v6)
		dst = ip_from6(l3 + 24);
	else
		memcpy(&src.b[12], l3 + 12, 4), memcpy(&dst.b[12], l3 + 16, 4);
	p16(l4 + at, 0);
	c = csum_fold(csum_add(proto == 1 ? 0 : csum_pseudo(&src, &dst, proto, len), l4, len));
	memcpy(l4 + at, &c, 2);
}

void frame_ip(struct frame *f, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto,
	      const void *l4, uint32_t l4_len)
{
	uint8_t *l3 = f->b + 14;
	uint32_t hdr = ip_is4(dst) ? 20 : 40;

	frame_eth(f, our_mac, ip_is4(dst) ? 0x0800 : 0x86dd);
	memset(l3, 0, hdr);
	if (ip_is4(dst)) {
		l3[0] = 0x45;
		p16(l3 + 2, 20 + l4_len);
		l3[6] = 0x40;
		l3[8] = 64;
		l3[9] = proto;
		memcpy(l3 + 12, &src->b[12], 4);
		memcpy(l3 + 16, &dst->b[12], 4);
	} else {
		l3[0] = 0x60;
		p16(l3 + 4, l4_len);
		l3[6] = proto;
		l3[7] = 255;
		memcpy(l3 + 8, src->b, 16);
		memcpy(l3 + 24, dst->b, 16);
	}
	if (l4_len)
		memcpy(l3 + hdr, l4, l4_len);
	f->len = 14 + hdr + l4_len;
	frame_seal(f, 14 + hdr, proto);
}

void frame_arp(struct frame *f, const uint8_t *eth_dst, unsigned op, const uint8_t *smac,
	       const struct ip_addr *sip, const uint8_t *tmac, const struct ip_addr *tip)
{
	static const uint8_t head[6] = {0, 1, 8, 0, 6, 4};
	uint8_t *a = f->b + 14;
	frame_eth(f, eth_dst, 0x0806);
	memcpy(a, head, 6);
	p16(a + 6, op);
	memcpy(a + 8, smac, 6);
	memcpy(a + 14, &sip->b[12], 4);
	memcpy(a + 18, tmac, 6);
	memcpy(a + 24, &tip->b[12], 4);
	f->len = 14 + 28;
}

void frame_udp(struct frame *f, const struct ip_addr *src, const struct ip_addr *dst, uint16_t sport,
	       uint16_t dport, struct span data)
{
	uint8_t l4[2048] = {0};
	p16(l4, sport);
	p16(l4 + 2, dport);
	p16(l4 + 4, 8 + (unsigned)data.len);
	memcpy(l4 + 8, data.p, data.len);
	frame_ip(f, src, dst, 17, l4, 8 + (uint32_t)data.len);
}

void frame_tcp(struct frame *f, const struct ip_addr *src, const struct ip_addr *dst, uint16_t sport,
	       uint16_t dport, struct span data)
{
	uint8_t l4[2048] = {[12] = 0x50, 0x10};
	p16(l4, sport);
	p16(l4 + 2, dport);
	memcpy(l4 + 20, data.p, data.len);
	frame_ip(f, src, dst, 6, l4, 20 + (uint32_t)data.len);
}

void frame_echo(struct frame *f, const struct ip_addr *src, const struct ip_addr *dst, struct span data)
{
	uint8_t l4[2048] = {ip_is4(dst) ? 8 : 128, [4] = 1, 2, 3, 4};
	memcpy(l4 + 8, data.p, data.len);
	frame_ip(f, src, dst, ip_is4(dst) ? 1 : 58, l4, 8 + (uint32_t)data.len);
}

void frame_nd(struct frame *f, const struct ip_addr *src, const struct ip_addr *dst, bool na,
	      uint8_t flags, const struct ip_addr *target, const uint8_t *mac)
{
	uint8_t l4[32] = {na ? 136 : 135, [4] = flags};
	memcpy(l4 + 8, target->b, 16);
	if (mac) {
		l4[24] = na ? 2 : 1;
		l4[25] = 1;
		memcpy(l4 + 26, mac, 6);
	}
	frame_ip(f, src, dst, 58, l4, mac ? 32 : 24);
	if (dst->b[0] == 0xff) {
		f->b[0] = f->b[1] = 0x33;
		memcpy(f->b + 2, dst->b + 12, 4);
	}
}

bool fx_feed(const struct frame *f, struct net_seg *seg)
{
	struct pkt *p = pkt_heap_exact(f->b, f->len);
	return net_input(fx.net, 0, &p, 1, fx.now_us, seg) == 1;
}

void fx_feed_none(const struct frame *f)
{
	struct net_seg seg;
	cr_assert(!fx_feed(f, &seg));
}

void fx_meet_peer(void)
{
	struct frame f;
	frame_arp(&f, our_mac, 1, peer_mac, &peer4, our_mac, &our4);
	fx_feed_none(&f);
	frame_nd(&f, &peer6, &our6, false, 0, &our6, peer_mac);
	fx_feed_none(&f);
	fx_clear();
}

struct span fx_out_ip(unsigned i, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto)
{
	cr_assert_lt(i, fx.n_out);
	uint8_t *b = pkt_data(fx.out[i]), *l3 = b + 14;
	uint32_t len = pkt_len(fx.out[i]), hdr = ip_is4(dst) ? 20 : 40;
	cr_assert_eq(memcmp(b, peer_mac, 6), 0);
	cr_assert_eq(memcmp(b + 6, our_mac, 6), 0);
	cr_assert_geq(len, 14 + hdr);
	uint32_t l4_len = len - 14 - hdr;
	if (ip_is4(dst)) {
		cr_assert_eq(b[12] << 8 | b[13], 0x0800);
		cr_assert_eq(csum_fold(csum_add(0, l3, 20)), 0);
		cr_assert_eq((uint32_t)(l3[2] << 8 | l3[3]), len - 14);
		cr_assert_eq(l3[9], proto);
		cr_assert_eq(memcmp(l3 + 12, &src->b[12], 4), 0);
		cr_assert_eq(memcmp(l3 + 16, &dst->b[12], 4), 0);
	} else {
		cr_assert_eq(b[12] << 8 | b[13], 0x86dd);
		cr_assert_eq((uint32_t)(l3[4] << 8 | l3[5]), l4_len);
		cr_assert_eq(l3[6], proto);
		cr_assert_eq(memcmp(l3 + 8, src->b, 16), 0);
		cr_assert_eq(memcmp(l3 + 24, dst->b, 16), 0);
	}
	uint32_t sum = proto == 1 ? 0 : csum_pseudo(src, dst, proto, l4_len);
	cr_assert_eq(csum_fold(csum_add(sum, l3 + hdr, l4_len)), 0);
	return span_of(l3 + hdr, l4_len);
}
