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

#define FRAG_BITS 0x3fff /* MF and offset */

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

/* nh_at: where in the packet the protocol is named. */
static bool other_proto(struct net_core *n, struct net_seg *seg, const uint8_t *l3, uint32_t nh_at,
			uint64_t now_us)
{
	if (ip_is4(&seg->dst))
		icmp_error_send(n, seg, l3, ICMP4_UNREACHABLE, 2, 0, now_us);
	else if (n->primary) /* every worker has a copy */
		icmp_error_send(n, seg, l3, ICMP6_PARAM, 1, nh_at, now_us);
	return net_drop(n, seg->pkt, STAT_net_unknown_proto);
}

/* What every worker was given a copy of is the flow owner's: the others are silent. */
static bool mine(const struct net_core *n, const struct net_seg *seg)
{
	const uint8_t *h = seg->l4;

	return seg->l4_len < 4 ||
	       net_flow_owner(n, seg->port, &seg->src, &seg->dst, get16(h), get16(h + 2)) == n->worker;
}

/* The payload of IP for one of the protocols that are spoken here; seg is set but for what tcp_segment sets. */
static inline bool payload4(struct net_core *n, struct net_seg *seg, uint8_t *l3, bool trusted, uint64_t now_us)
{
	if (LIKELY(l3[9] == PROTO_TCP))
		return tcp_segment(n, seg, trusted);
	if (l3[9] == PROTO_ICMP)
		return icmp4_input(n, seg, l3, now_us);
	if (l3[9] != PROTO_UDP)
		return other_proto(n, seg, l3, 0, now_us);
	udp_input(n, seg, l3, trusted, now_us);
	return false;
}

static inline bool payload6(struct net_core *n, struct net_seg *seg, uint8_t *l3, const struct ip6_walk *w,
			    bool trusted, uint64_t now_us)
{
	if (w->proto == PROTO_ICMP6) {
		/* RFC 6980: neighbour discovery never comes in fragments. */
		if (w->fragment && seg->l4_len && seg->l4[0] >= 133 && seg->l4[0] <= 137)
			return net_drop(n, seg->pkt, STAT_net_bad_nd);
		return icmp6_input(n, seg, l3, now_us);
	}
	if (UNLIKELY(addr_is_multicast(&seg->dst)))
		return net_drop(n, seg->pkt, STAT_net_not_ours);
	if (LIKELY(w->proto == PROTO_TCP))
		return tcp_segment(n, seg, trusted);
	if (w->proto == IP6_NONE)
		return net_drop(n, seg->pkt, STAT_net_unknown_proto);
	if (w->proto != PROTO_UDP)
		return other_proto(n, seg, l3, w->nh_at, now_us);
	udp_input(n, seg, l3, trusted, now_us);
	return false;
}

/* A fragment of IPv4; whole packets come out. */
COLD static bool fragment4(struct net_core *n, struct net_seg *seg, const uint8_t *l3, uint64_t now_us)
{
	uint8_t *whole = frag4_input(n, seg, l3, now_us);

	if (!whole)
		return false;
	if ((whole[9] == PROTO_TCP || whole[9] == PROTO_UDP) && !mine(n, seg)) {
		pkt_free(seg->pkt);
		return false;
	}
	return payload4(n, seg, whole, false, now_us);
}

/* IPv6 whose first header is not TCP: extension headers, fragments. */
COLD static bool extended6(struct net_core *n, struct net_seg *seg, uint8_t *l3, uint32_t len, bool trusted,
			   uint64_t now_us)
{
	struct ip6_walk w = {.proto = l3[6], .off = IP6_LEN, .nh_at = 6};
	bool group = addr_is_multicast(&seg->dst), nobody = ip_is_any(&seg->src), copied = false;

	for (;;) {
		bool good = ip6_walk(l3, len, &w);
		seg->l4 = l3 + w.off;
		seg->l4_len = len - w.off;
		/* Only a check for duplicates comes from nobody. */
		if (!(nobody && good && w.proto == PROTO_ICMP6) && !source6_good(n, &seg->src))
			return net_drop(n, seg->pkt, STAT_net_bad_src);
		if (!good) {
			if (w.report && !group && n->primary)
				icmp_error_send(n, seg, l3, ICMP6_PARAM, w.code, w.at, now_us);
			return net_drop(n, seg->pkt, w.why);
		}
		copied = copied || w.off != IP6_LEN;
		if (w.proto != IP6_FRAGMENT)
			break;
		if (group || w.fragment == 2) /* fragments of fragments */
			return net_drop(n, seg->pkt, STAT_net_fragment_drop);
		l3 = frag6_input(n, seg, l3, &w, now_us);
		if (!l3)
			return false;
		trusted = false;
		len = IP6_LEN + get16(l3 + 4);
		w = (struct ip6_walk){.proto = l3[6], .off = IP6_LEN, .nh_at = 6, .fragment = 2};
	}
	if (copied && (w.proto == PROTO_TCP || w.proto == PROTO_UDP) && !mine(n, seg)) {
		pkt_free(seg->pkt);
		return false;
	}
	return payload6(n, seg, l3, &w, trusted, now_us);
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
		return fragment4(n, seg, l3, now_us);
	return payload4(n, seg, l3, l4_trusted(n, port, p), now_us);
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
	uint32_t len = pkt_len_inline(p) - ETH_LEN;

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
	if (UNLIKELY(l3[6] != PROTO_TCP))
		return extended6(n, seg, l3, len, l4_trusted(n, port, p), now_us);
	seg->l4 = l3 + IP6_LEN;
	seg->l4_len = len - IP6_LEN;
	if (UNLIKELY(!source6_good(n, &seg->src)))
		return net_drop(n, p, STAT_net_bad_src);
	if (UNLIKELY(group))
		return net_drop(n, p, STAT_net_not_ours);
	return tcp_segment(n, seg, l4_trusted(n, port, p));
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
