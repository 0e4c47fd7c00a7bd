/*
 * nd.c: Neighbour Discovery for IPv6 (RFC 4861 section 7): solicitations and advertisements. Routers are
 * configured, not discovered: their advertisements and redirects are ignored.
 *
 * Invariants: 1. every message has hop limit 255, so it came from the link (7.1); 2. an advertisement
 * never makes an entry (7.2.5); 3. only the primary worker's core answers.
 */
#include "net_int.h"
#include "hot.h"

#define ND_LEN 24 /* fixed part with the target */

enum { ND_NS = 135, ND_NA = 136 };
enum { OPT_SOURCE_LL = 1, OPT_TARGET_LL = 2 };
enum { NA_SOLICITED = 0x40, NA_OVERRIDE = 0x20 };

static const struct ip_addr all_nodes = {.b = {0xff, 2, [15] = 1}};

static struct ip_addr solicited_node(const struct ip_addr *target)
{
	struct ip_addr a = {.b = {0xff, 2, [11] = 1, 0xff}};
	memcpy(a.b + 13, target->b + 13, 3);
	return a;
}

/* opt 0: none. mac NULL: the multicast address of dst. */
static void nd_send(struct net_core *n, unsigned port, const struct ip_addr *src, const struct ip_addr *dst,
		    const uint8_t *mac, uint8_t type, uint8_t flags, const struct ip_addr *target,
		    uint8_t opt)
{
	static const struct port_tx_meta plain = {.l2_len = ETH_LEN, .ip6 = true};
	struct net_port *np = &n->port[port];
	uint32_t len = ND_LEN + (opt ? 8 : 0);
	struct pkt *p = pkt_alloc(n->pool);

	if (!p) {
		stat_inc(n->stat, STAT_pkt_alloc_fail);
		return;
	}
	uint8_t *eth = pkt_append(p, ETH_LEN + IP6_LEN + len), *h = eth + ETH_LEN, *m = h + IP6_LEN;
	if (mac) {
		memcpy(eth, mac, 6);
	} else {
		eth[0] = eth[1] = 0x33;
		memcpy(eth + 2, dst->b + 12, 4);
	}
	memcpy(eth + 6, np->info.mac, 6);
	put16(eth + 12, ETH_IP6);
	put32(h, 6u << 28);
	put16(h + 4, len);
	h[6] = PROTO_ICMP6;
	h[7] = 255;
	memcpy(h + 8, src->b, 16);
	memcpy(h + 24, dst->b, 16);
	memset(m, 0, 8);
	m[0] = type;
	m[4] = flags;
	memcpy(m + 8, target->b, 16);
	if (opt) {
		m[24] = opt;
		m[25] = 1;
		memcpy(m + 26, np->info.mac, 6);
	}
	uint16_t c = csum_fold(csum_add(csum_pseudo(src, dst, PROTO_ICMP6, len), m, len));
	memcpy(m + 2, &c, 2);
	port_send(np->pc, p, &plain);
}

void nd_solicit(struct net_core *n, unsigned port, const struct ip_addr *src, const struct ip_addr *target,
		const uint8_t *mac)
{
	struct ip_addr group = solicited_node(target);

	nd_send(n, port, src, mac ? target : &group, mac, ND_NS, 0, target,
		ip_is_any(src) ? 0 : OPT_SOURCE_LL);
}

/* Finds a link-layer address option; false: malformed options. *mac NULL: not there. */
static bool nd_options(const uint8_t *m, uint32_t len, uint8_t want, const uint8_t **mac)
{
	*mac = NULL;
	for (uint32_t off = ND_LEN; off < len;) {
		if (len - off < 8 || m[off + 1] == 0 || (uint32_t)m[off + 1] * 8 > len - off)
			return false;
		if (m[off] == want && !*mac)
			*mac = m + off + 2;
		off += (uint32_t)m[off + 1] * 8;
	}
	return !*mac || ((*mac)[0] & 1) == 0;
}

static bool ns_input(struct net_core *n, unsigned port, const uint8_t *eth_src, const struct ip_addr *src,
		     const struct ip_addr *dst, const uint8_t *m, uint32_t len, uint64_t now_us)
{
	struct ip_addr target = addr6_at(m + 8), group = solicited_node(&target);
	const uint8_t *mac;

	if (addr_is_multicast(&target) || !nd_options(m, len, OPT_SOURCE_LL, &mac))
		return false;
	const struct net_addr *na = net_local(n, &target);
	if (ip_is_any(src)) {
		/* Somebody checks for duplicates (RFC 4862 5.4.3); our own probe may come back. */
		if (!ip_eq(dst, &group) || mac)
			return false;
		if (!na || na->port != port || memcmp(eth_src, n->port[port].info.mac, 6) == 0)
			return true;
		if (na->dad == DAD_TENTATIVE)
			net_address_conflict(n, &target, eth_src);
		else if (n->primary)
			nd_send(n, port, &target, &all_nodes, NULL, ND_NA, NA_OVERRIDE, &target,
				OPT_TARGET_LL);
		return true;
	}
	if (!na || na->port != port)
		return true;
	if (mac)
		neigh_heard(n, port, src, mac, now_us);
	if (n->primary)
		nd_send(n, port, &target, src, mac ? mac : eth_src, ND_NA, NA_SOLICITED | NA_OVERRIDE,
			&target, OPT_TARGET_LL);
	return true;
}

/* RFC 4861 7.2.5 */
static bool na_input(struct net_core *n, unsigned port, const uint8_t *eth_src, const struct ip_addr *dst,
		     const uint8_t *m, uint32_t len, uint64_t now_us)
{
	struct ip_addr target = addr6_at(m + 8);
	bool solicited = m[4] & NA_SOLICITED, override = m[4] & NA_OVERRIDE;
	const uint8_t *mac;

	if (addr_is_multicast(&target) || (addr_is_multicast(dst) && solicited) ||
	    !nd_options(m, len, OPT_TARGET_LL, &mac))
		return false;
	if (net_local(n, &target)) {
		if (memcmp(eth_src, n->port[port].info.mac, 6) != 0)
			net_address_conflict(n, &target, eth_src);
		return true;
	}
	struct neigh *ne = neigh_find(n, port, &target);
	if (!ne || ne->state == NEIGH_FAILED)
		return true;
	if (ne->state == NEIGH_INCOMPLETE) {
		if (mac)
			neigh_learn(n, ne, mac, solicited ? NEIGH_REACHABLE : NEIGH_STALE, now_us);
		return true;
	}
	bool differs = mac && memcmp(mac, ne->mac, 6) != 0;
	if (differs && !override) {
		if (ne->state == NEIGH_REACHABLE)
			neigh_learn(n, ne, ne->mac, NEIGH_STALE, now_us);
		return true;
	}
	uint8_t use[6];
	memcpy(use, mac ? mac : ne->mac, 6);
	if (solicited)
		neigh_learn(n, ne, use, NEIGH_REACHABLE, now_us);
	else if (differs)
		neigh_learn(n, ne, use, NEIGH_STALE, now_us);
	return true;
}

void nd_input(struct net_core *n, unsigned port, struct pkt *p, const uint8_t *ip6, const uint8_t *msg,
	      uint32_t len, uint64_t now_us)
{
	const uint8_t *eth_src = pkt_data_inline(p) + 6;
	struct ip_addr src = addr6_at(ip6 + 8), dst = addr6_at(ip6 + 24);
	bool good = true;

	if (msg[0] == ND_NS || msg[0] == ND_NA) {
		good = ip6[7] == 255 && msg[1] == 0 && len >= ND_LEN;
		if (good && msg[0] == ND_NS)
			good = ns_input(n, port, eth_src, &src, &dst, msg, len, now_us);
		else if (good)
			good = na_input(n, port, eth_src, &dst, msg, len, now_us);
	}
	if (!good)
		stat_inc(n->stat, STAT_net_bad_nd);
}
