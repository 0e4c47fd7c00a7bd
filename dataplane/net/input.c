/*
 * input.c: frames in, valid segments out: Ethernet, IPv4 (RFC 791, 1122), IPv6 (RFC 8200). Hot path.
 *
 * Every length is checked against the one outside it before anything inside is read; padding behind the
 * IP packet is left out. Whatever is wrong is dropped under its own name.
 * Invariants: 1. a segment's bytes lie in one packet and its checksum was verified here, or by a device
 * that the operator trusts; 2. its destination is an address of ours and its source could be answered;
 * 3. an IPv6 header never carries the mapped form, which here means IPv4.
 */
#include <rte_prefetch.h>
#include "net_int.h"
#include "hot.h"

#define EXT_MAX   8 /* IPv6 extension headers */
#define FRAG_BITS 0x3fff /* MF and offset */

enum { IP6_HOPOPT = 0, IP6_ROUTE = 43, IP6_FRAGMENT = 44, IP6_NONE = 59, IP6_DSTOPT = 60 };

/* RFC 1122 3.2.1.8: source routes are not for end hosts; others are passed over. */
static bool options4_good(const uint8_t *o, uint32_t len)
{
	for (uint32_t i = 0; i < len && o[i] != 0;) {
		if (o[i] == 1) {
			i++;
			continue;
		}
		if (len - i < 2 || o[i + 1] < 2 || o[i + 1] > len - i || o[i] == 131 || o[i] == 137)
			return false;
		i += o[i + 1];
	}
	return true;
}

/* RFC 8200 4.2: unknown options decide by their top bits whether the packet may live. */
static bool options6_good(const uint8_t *o, uint32_t len)
{
	for (uint32_t i = 0; i < len;) {
		if (o[i] == 0) {
			i++;
			continue;
		}
		if (len - i < 2 || o[i + 1] > len - i - 2 || (o[i] & 0xc0) != 0)
			return false;
		i += 2u + o[i + 1];
	}
	return true;
}

bool ip6_skip(const uint8_t *l3, uint32_t len, uint32_t *off, uint8_t *proto, enum stat_id *why)
{
	*why = STAT_net_bad_ip6;
	for (unsigned k = 0; k < EXT_MAX; k++) {
		const uint8_t *h = l3 + *off;
		uint32_t left = len - *off, size;

		if (*proto != IP6_HOPOPT && *proto != IP6_DSTOPT && *proto != IP6_ROUTE &&
		    *proto != IP6_FRAGMENT)
			return true;
		if (left < 8)
			return false;
		size = *proto == IP6_FRAGMENT ? 8 : 8 + h[1] * 8u;
		if (size > left)
			return false;
		switch (*proto) {
		case IP6_HOPOPT:
			if (k > 0 || !options6_good(h + 2, size - 2))
				return false;
			break;
		case IP6_DSTOPT:
			if (!options6_good(h + 2, size - 2))
				return false;
			break;
		case IP6_ROUTE:
			if (h[3] != 0) /* segments left: we are no router (and RFC 5095) */
				return false;
			break;
		default:
			/* A fragment that is the whole packet (RFC 6946) is just a packet. */
			if (get16(h + 2) & 0xfff9) {
				*why = STAT_net_fragment_drop;
				return false;
			}
		}
		*proto = h[0];
		*off += size;
	}
	return false;
}

static inline bool source4_good(const struct net_core *n, const struct ip_addr *a)
{
	uint8_t first = a->b[12];
	return first != 0 && first != 127 && first < 224 && !net_local(n, a);
}

static inline bool source6_good(const struct net_core *n, const struct ip_addr *a)
{
	/* Multicast; ::/96 with :: and ::1; mapped; ours. */
	return a->b[0] != 0xff && !(a->d[0] == 0 && (a->w[2] == 0 || ip_is4(a))) && !net_local(n, a);
}

/* A good device verdict counts only where the operator trusts the device. */
static inline bool l4_trusted(const struct net_core *n, unsigned port, const struct pkt *p)
{
	uint64_t f = pkt_mbuf_const(p)->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
	return n->port[port].info.rx_csum &&
	       (f == RTE_MBUF_F_RX_L4_CKSUM_GOOD || f == RTE_MBUF_F_RX_L4_CKSUM_NONE);
}

static inline bool tcp_segment(struct net_core *n, struct net_seg *seg, bool trusted)
{
	if (UNLIKELY(seg->l4_len < TCP_LEN))
		return net_drop(n, seg->pkt, STAT_tcp_bad_header);
	if (!trusted &&
	    UNLIKELY(csum_fold(csum_add(csum_pseudo(&seg->src, &seg->dst, PROTO_TCP, seg->l4_len),
					seg->l4, seg->l4_len)) != 0))
		return net_drop(n, seg->pkt, STAT_tcp_bad_csum);
	seg->kind = NET_SEG_TCP;
	seg->icmp = 0;
	seg->mtu = 0;
	seg->csum_ok = true;
	return true;
}

static bool other_proto(struct net_core *n, struct net_seg *seg, const uint8_t *l3, uint64_t now_us)
{
	icmp_unreachable(n, seg, l3, true, now_us);
	return net_drop(n, seg->pkt, STAT_net_unknown_proto);
}

static bool ip4_input(struct net_core *n, unsigned port, struct pkt *p, uint64_t now_us,
		      struct net_seg *seg)
{
	uint8_t *eth = pkt_data_inline(p), *l3 = eth + ETH_LEN;
	uint32_t len = pkt_len_inline(p) - ETH_LEN;

	if (UNLIKELY(len < IP4_LEN || l3[0] >> 4 != 4))
		return net_drop(n, p, STAT_net_bad_ip4);
	uint32_t hdr = (l3[0] & 15u) * 4, total = get16(l3 + 2);
	if (UNLIKELY(hdr < IP4_LEN || total < hdr || total > len ||
		     csum_fold(csum_small(0, l3, hdr)) != 0))
		return net_drop(n, p, STAT_net_bad_ip4);
	if (UNLIKELY(hdr > IP4_LEN && !options4_good(l3 + IP4_LEN, hdr - IP4_LEN)))
		return net_drop(n, p, STAT_net_bad_ip4);
	seg->pkt = p;
	seg->l4 = l3 + hdr;
	seg->l4_len = total - hdr;
	seg->src = addr4_at(l3 + 12);
	seg->dst = addr4_at(l3 + 16);
	seg->port = (uint8_t)port;
	seg->ecn = l3[1] & 3;
	/* RFC 1122 3.3.6: an IP unicast in a link broadcast is not taken. */
	if (UNLIKELY((eth[0] & 1) || !net_local(n, &seg->dst)))
		return net_drop(n, p, STAT_net_not_ours);
	if (UNLIKELY(!source4_good(n, &seg->src)))
		return net_drop(n, p, STAT_net_bad_src);
	if (UNLIKELY(get16(l3 + 6) & FRAG_BITS))
		return net_drop(n, p, STAT_net_fragment_drop);
	if (LIKELY(l3[9] == PROTO_TCP))
		return tcp_segment(n, seg, l4_trusted(n, port, p));
	if (l3[9] == PROTO_ICMP)
		return icmp4_input(n, seg, l3, now_us);
	if (l3[9] != PROTO_UDP)
		return other_proto(n, seg, l3, now_us);
	udp_input(n, seg, l3, l4_trusted(n, port, p), now_us);
	return false;
}

/* A group that we are in: all nodes, or solicited-node (which address, ND will see). */
static bool our_group(const struct ip_addr *a)
{
	static const uint8_t solicited[13] = {0xff, 2, [11] = 1, 0xff}, all[16] = {0xff, 2, [15] = 1};
	return memcmp(a->b, solicited, 13) == 0 || memcmp(a->b, all, 16) == 0;
}

static bool ip6_input(struct net_core *n, unsigned port, struct pkt *p, uint64_t now_us,
		      struct net_seg *seg)
{
	uint8_t *eth = pkt_data_inline(p), *l3 = eth + ETH_LEN;
	uint32_t len = pkt_len_inline(p) - ETH_LEN, off = IP6_LEN;
	enum stat_id why;

	if (UNLIKELY(len < IP6_LEN || l3[0] >> 4 != 6 || get16(l3 + 4) > len - IP6_LEN))
		return net_drop(n, p, STAT_net_bad_ip6);
	len = IP6_LEN + get16(l3 + 4);
	seg->pkt = p;
	seg->src = addr6_at(l3 + 8);
	seg->dst = addr6_at(l3 + 24);
	seg->port = (uint8_t)port;
	seg->ecn = (l3[1] >> 4) & 3;
	bool group = addr_is_multicast(&seg->dst);
	if (UNLIKELY(ip_is4(&seg->dst) || (group ? !our_group(&seg->dst)
						 : (eth[0] & 1) || !net_local(n, &seg->dst))))
		return net_drop(n, p, STAT_net_not_ours);
	uint8_t proto = l3[6];
	if (UNLIKELY(proto != PROTO_TCP && !ip6_skip(l3, len, &off, &proto, &why)))
		return net_drop(n, p, why);
	seg->l4 = l3 + off;
	seg->l4_len = len - off;
	/* Only a check for duplicates comes from nobody. */
	bool nobody = ip_is_any(&seg->src) && proto == PROTO_ICMP6;
	if (UNLIKELY(!nobody && !source6_good(n, &seg->src)))
		return net_drop(n, p, STAT_net_bad_src);
	if (proto == PROTO_ICMP6)
		return icmp6_input(n, seg, l3, now_us);
	if (UNLIKELY(group))
		return net_drop(n, p, STAT_net_not_ours);
	if (LIKELY(proto == PROTO_TCP))
		return tcp_segment(n, seg, l4_trusted(n, port, p));
	if (proto == IP6_NONE)
		return net_drop(n, p, STAT_net_unknown_proto);
	if (proto != PROTO_UDP)
		return other_proto(n, seg, l3, now_us);
	udp_input(n, seg, l3, l4_trusted(n, port, p), now_us);
	return false;
}

static inline bool frame_input(struct net_core *n, unsigned port, struct pkt *p, uint64_t now_us,
			       struct net_seg *seg)
{
	const uint8_t *eth = pkt_data_inline(p);

	if (UNLIKELY(pkt_len_inline(p) < ETH_LEN || pkt_next(p) || pkt_shared(p)))
		return net_drop(n, p, STAT_net_bad_eth);
	if (UNLIKELY(!(eth[0] & 1) && memcmp(eth, n->port[port].info.mac, 6) != 0))
		return net_drop(n, p, STAT_net_not_ours);
	switch (get16(eth + 12)) {
	case ETH_IP4:
		return ip4_input(n, port, p, now_us, seg);
	case ETH_IP6:
		return ip6_input(n, port, p, now_us, seg);
	case ETH_ARP:
		arp_input(n, port, p, now_us);
		return false;
	default:
		return net_drop(n, p, STAT_net_bad_eth);
	}
}

unsigned net_input(struct net_core *n, unsigned port, struct pkt **frames, unsigned n_frames,
		   uint64_t now_us, struct net_seg *out)
{
	unsigned n_segs = 0;

	CHECK(port < n->n_port);
	for (unsigned i = 0; i < n_frames; i++)
		rte_prefetch0(pkt_mbuf(frames[i]));
	for (unsigned i = 0; i < n_frames; i++) {
		const uint8_t *data = pkt_data_inline(frames[i]);
		rte_prefetch0(data);
		rte_prefetch0(data + 64);
	}
	for (unsigned i = 0; i < n_frames; i++)
		n_segs += frame_input(n, port, frames[i], now_us, &out[n_segs]);
	return n_segs;
}
