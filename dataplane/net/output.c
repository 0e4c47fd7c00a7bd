/*
 * output.c: an L4 packet and a destination in, a frame out: IP and Ethernet headers in front, then to
 * port_send or, while the neighbour is unknown, to its queue. Hot path.
 *
 * Invariants: 1. the L4 packet's first segment is not shared: headers are written in front of it;
 * 2. nothing is fragmented: what exceeds the MTU is refused, and IPv4 goes out with DF set (RFC 1191).
 */
#include "net_int.h"
#include "hot.h"

static struct neigh *output_neigh(struct net_core *n, struct net_dst *d, uint64_t now_us)
{
	if (LIKELY(d->neigh < NEIGH_MAX && n->neigh[d->neigh].gen == d->neigh_gen))
		return &n->neigh[d->neigh];
	const struct ip_addr *hop = route_next_hop(n, d->port, &d->dst);
	struct neigh *ne = hop ? neigh_get(n, d->port, hop, now_us) : NULL;
	if (ne) {
		d->neigh = (uint32_t)(ne - n->neigh);
		d->neigh_gen = ne->gen;
	}
	return ne;
}

static void put_ip4(struct net_core *n, uint8_t *h, const struct net_dst *d, uint32_t l4_len,
		    uint8_t proto, unsigned n_segs)
{
	h[0] = 0x45;
	h[1] = d->tos;
	put16(h + 2, IP4_LEN + l4_len);
	put16(h + 4, n->ip_id);
	put16(h + 6, 0x4000); /* DF */
	h[8] = TTL;
	h[9] = proto;
	h[10] = h[11] = 0;
	memcpy(h + 12, &d->src.w[3], 4);
	memcpy(h + 16, &d->dst.w[3], 4);
	n->ip_id = (uint16_t)(n->ip_id + n_segs);
}

static void put_ip6(uint8_t *h, const struct net_dst *d, uint32_t l4_len, uint8_t proto, uint8_t hops)
{
	put32(h, 6u << 28 | (uint32_t)d->tos << 20);
	put16(h + 4, l4_len);
	h[6] = proto;
	h[7] = hops;
	memcpy(h + 8, d->src.b, 16);
	memcpy(h + 24, d->dst.b, 16);
}

static enum err refuse(struct net_core *n, struct pkt *p, enum stat_id why, enum err e)
{
	net_drop(n, p, why);
	return e;
}

enum err net_output(struct net_core *n, struct net_dst *d, struct pkt *l4, uint8_t proto,
		    unsigned l4_hdr_len, unsigned tso_mss, uint64_t now_us)
{
	struct net_port *np = &n->port[d->port];
	bool ip6 = !ip_is4(&d->dst);
	uint32_t l3_len = ip6 ? IP6_LEN : IP4_LEN, l4_len = pkt_total_inline(l4);
	unsigned n_segs = 1;

	CHECK(d->port < n->n_port && !pkt_shared(l4));
	if (tso_mss && l4_len - l4_hdr_len > tso_mss) {
		if (UNLIKELY(l3_len + l4_len > UINT16_MAX || l3_len + l4_hdr_len + tso_mss > np->info.mtu))
			return refuse(n, l4, STAT_net_too_long, ERR_TOO_LONG);
		n_segs = (l4_len - l4_hdr_len + tso_mss - 1) / tso_mss;
	} else {
		if (UNLIKELY(l3_len + l4_len > d->mtu))
			return refuse(n, l4, STAT_net_too_long, ERR_TOO_LONG);
		tso_mss = 0;
	}
	struct neigh *ne = output_neigh(n, d, now_us);
	if (UNLIKELY(!ne))
		return refuse(n, l4, STAT_net_neigh_full, ERR_UNREACHABLE);

	uint8_t *eth = pkt_prepend_inline(l4, ETH_LEN + l3_len);
	CHECK(eth != NULL);
	memcpy(eth, ne->mac, 6);
	memcpy(eth + 6, np->info.mac, 6);
	put16(eth + 12, ip6 ? ETH_IP6 : ETH_IP4);
	if (ip6)
		put_ip6(eth + ETH_LEN, d, l4_len, proto, TTL);
	else
		put_ip4(n, eth + ETH_LEN, d, l4_len, proto, n_segs);
	/* ICMP comes with its checksum: its two forms differ in the pseudo-header. */
	struct port_tx_meta meta = {
		.l2_len = ETH_LEN,
		.l3_len = (uint16_t)l3_len,
		.l4_len = (uint16_t)l4_hdr_len,
		.ip6 = ip6,
		.tcp = proto == PROTO_TCP,
		.proto = proto == PROTO_TCP || proto == PROTO_UDP ? proto : 0,
		.tso_mss = (uint16_t)tso_mss,
	};
	if (UNLIKELY(ne->state != NEIGH_REACHABLE || now_us >= ne->deadline)) {
		enum neigh_use use = neigh_use(n, ne, now_us);
		if (use == NEIGH_REFUSE)
			return refuse(n, l4, STAT_net_unreachable, ERR_UNREACHABLE);
		if (use == NEIGH_WAIT) {
			neigh_hold(n, ne, l4, &meta);
			return ERR_OK;
		}
	}
	port_send(np->pc, l4, &meta);
	return ERR_OK;
}
