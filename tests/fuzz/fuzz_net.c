/*
 * fuzz_net.c: frames into a net core. Input: runs of [kind][length, 2 bytes][frame]; kind bit 0: make the
 * checksums right first (else almost nothing gets behind them), bits 1..7: how much time passes before, in
 * steps of 100 ms; only the IP header's for a fragment. We are 198.18.0.2/24 and fd00:198:18::2/64 with MAC 02:00:00:00:00:02; UDP port 7 is
 * bound and gives back what it gets. Every segment that comes out is touched from end to end.
 */
#include <stdlib.h>
#include "check.h"
#include "csum.h"
#include "log.h"
#include "net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned g16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void put_sum(uint8_t *at, uint32_t sum)
{
	uint16_t c = csum_fold(sum);
	memcpy(at, &c, 2);
}

/* Where the checksum stands in the L4 header, 0: none known. */
static uint32_t sum_at(uint8_t proto)
{
	return proto == 6 ? 16 : proto == 17 ? 6 : proto == 1 || proto == 58 ? 2 : 0;
}

static void seal(uint8_t *f, uint32_t len)
{
	uint8_t *l3 = f + 14, proto;
	struct ip_addr src, dst;
	uint32_t off, total;

	if (len < 14 + 40)
		return;
	if (g16(f + 12) == 0x0800) {
		off = (l3[0] & 15u) * 4;
		total = g16(l3 + 2);
		if (off < 20 || total > len - 14 || total < off)
			return;
		l3[10] = l3[11] = 0;
		put_sum(l3 + 10, csum_add(0, l3, off));
		if (g16(l3 + 6) & 0x3fff)
			return; /* a fragment: what is inside is summed as a whole, by the seed */
		proto = l3[9];
		uint32_t be[2];
		memcpy(be, l3 + 12, 8);
		src = ip_from4(be[0]);
		dst = ip_from4(be[1]);
	} else {
		off = 40;
		total = 40 + g16(l3 + 4);
		if (g16(f + 12) != 0x86dd || total > len - 14)
			return;
		proto = l3[6];
		/* Behind extension headers, as far as they are plain. */
		while ((proto == 0 || proto == 43 || proto == 44 || proto == 60) && off + 8 <= total) {
			uint32_t step = proto == 44 ? 8 : 8 + l3[off + 1] * 8u;
			if (proto == 44 && (g16(l3 + off + 2) & 0xfff9))
				return;
			proto = l3[off];
			off += step;
		}
		src = ip_from6(l3 + 8);
		dst = ip_from6(l3 + 24);
	}
	uint32_t at = sum_at(proto);
	if (at == 0 || off + at + 2 > total)
		return;
	l3[off + at] = l3[off + at + 1] = 0;
	put_sum(l3 + off + at, csum_add(proto == 1 ? 0 : csum_pseudo(&src, &dst, proto, total - off),
					l3 + off, total - off));
}

static void out(void *arg, unsigned port, struct pkt *p)
{
	unsigned *n = arg;
	CHECK(port == 0 && pkt_len(p) >= 42 && pkt_len(p) <= 1514);
	++*n;
	pkt_free(p);
}

static uint64_t touch(const uint8_t *p, size_t len)
{
	uint64_t sum = 0;
	while (len > 0)
		sum += p[--len];
	return sum;
}

static volatile uint64_t sink;

static void feed(struct net_core *n, const uint8_t *frame, uint32_t len, bool right, uint64_t now_us)
{
	struct pkt *p = pkt_heap_exact(frame, len);
	struct net_seg seg;
	struct net_udp u;

	CHECK(p != NULL);
	if (right)
		seal(pkt_data(p), len);
	if (net_input(n, 0, &p, 1, now_us, &seg) == 1) {
		CHECK(seg.l4_len >= (seg.kind == NET_SEG_TCP ? 20 : 8) && seg.csum_ok);
		CHECK(net_is_local(n, seg.kind == NET_SEG_TCP ? &seg.dst : &seg.src, NULL));
		sink += touch(seg.l4, seg.l4_len);
		pkt_free(seg.pkt);
	}
	while (net_udp_receive(n, 7, &u)) {
		sink += touch(u.data.data, u.data.len);
		net_udp_send(n, &u.dst, 7, &u.src, u.src_port, slice_span(&u.data), now_us);
		slice_drop(&u.data);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct port_info info = {.mac = {2, 0, 0, 0, 0, 2}, .mtu = 1500, .n_queue = 1};
	static struct stat stat;
	struct ip_prefix own[2];
	struct ip_addr gateway[2];
	struct conf_port port = {.name = "f", .n_addr = 2, .addr = own, .n_gateway = 2, .gateway = gateway};
	struct rnd rnd;
	uint64_t now_us = 1000000;
	unsigned n_out = 0;

	CHECK(ip_prefix_parse(SPAN("198.18.0.2/24"), &own[0]) &&
	      ip_prefix_parse(SPAN("fd00:198:18::2/64"), &own[1]) &&
	      ip_parse(SPAN("198.18.0.1"), &gateway[0]) && ip_parse(SPAN("fd00:198:18::1"), &gateway[1]));
	log_set_level(LOG_L_ERROR);
	rnd_seed(&rnd, 1);
	struct pkt_pool *pool = pkt_pool_create("fuzz", 600, PKT_ROOM);
	struct net_core *n = net_create_test(&port, 1, &info, pool, &stat, &rnd, out, &n_out);
	CHECK(net_udp_bind(n, 7) == ERR_OK);
	while (size >= 3) {
		uint32_t kind = data[0], len = g16(data + 1);
		data += 3;
		size -= 3;
		if (len > size)
			len = (uint32_t)size;
		if (len > 1514)
			len = 1514;
		now_us += (kind >> 1) * 100000;
		net_timers(n, now_us);
		feed(n, data, len, kind & 1, now_us);
		data += len;
		size -= len;
	}
	net_destroy(&n);
	CHECK(pkt_heap_outstanding() == 0);
	pkt_pool_destroy(&pool);
	return 0;
}
