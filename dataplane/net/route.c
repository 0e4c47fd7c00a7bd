/*
 * route.c: from a destination to a port, a source address and a next hop. Fixed tables: the prefixes of
 * the configured addresses, and one gateway a family and port.
 *
 * Invariants: 1. never a multicast, broadcast, unspecified or own address as destination; 2. the source
 * is an address of ours, of the destination's family; 3. a next hop is on the link of its port.
 */
#include "net_int.h"
#include "hot.h"

/* Of the links with a prefix for dst the longest; -1: none. A link-local address is on every link. */
static int onlink_find(const struct net_core *n, const struct ip_addr *dst, int port)
{
	for (unsigned i = 0; i < n->n_onlink; i++) {
		const struct ip_prefix *p = &n->onlink[i];
		if ((port < 0 || n->onlink_port[i] == port) && ip_is4(&p->addr) == ip_is4(dst) &&
		    ip_in_prefix(dst, p))
			return (int)i;
	}
	return -1;
}

const struct ip_addr *route_next_hop(const struct net_core *n, unsigned port, const struct ip_addr *dst)
{
	const struct ip_addr *gw = &n->port[port].gateway[!ip_is4(dst)];

	if (addr_is_link_local6(dst) || onlink_find(n, dst, (int)port) >= 0)
		return dst;
	return ip_is_any(gw) ? NULL : gw;
}

/* How many leading bits two addresses share. */
static unsigned common_bits(const struct ip_addr *a, const struct ip_addr *b)
{
	for (unsigned i = 0; i < 2; i++) {
		uint64_t x = __builtin_bswap64(a->d[i] ^ b->d[i]);
		if (x)
			return i * 64 + (unsigned)__builtin_clzll(x);
	}
	return 128;
}

/* RFC 6724 section 5 as far as it matters here: same scope first, then the longest common prefix. */
const struct ip_addr *route_source(const struct net_core *n, unsigned port, const struct ip_addr *to)
{
	const struct net_addr *best = NULL;
	int best_score = -1;

	for (unsigned i = 0; i < n->n_addr; i++) {
		const struct net_addr *na = &n->addr[i];
		if (na->port != port || na->dad == DAD_DUPLICATE || ip_is4(&na->addr) != ip_is4(to))
			continue;
		int score = (int)common_bits(&na->addr, to);
		if (addr_is_link_local6(&na->addr) == addr_is_link_local6(to))
			score += 256;
		if (score > best_score) {
			best = na;
			best_score = score;
		}
	}
	return best ? &best->addr : NULL;
}

static bool is_broadcast4(const struct net_core *n, const struct ip_addr *a)
{
	if (a->w[3] == UINT32_MAX)
		return true;
	for (unsigned i = 0; i < n->n_onlink; i++) {
		const struct ip_prefix *p = &n->onlink[i];
		if (p->len < 96 || p->len > 126 || !ip_in_prefix(a, p))
			continue;
		uint32_t host = UINT32_MAX >> (p->len - 96);
		if ((__builtin_bswap32(a->w[3]) & host) == host)
			return true;
	}
	return false;
}

static bool may_send_to(const struct net_core *n, const struct ip_addr *dst)
{
	if (ip_is_any(dst) || addr_is_multicast(dst))
		return false;
	if (ip_is4(dst))
		return dst->b[12] != 0 && dst->b[12] != 127 && dst->b[12] < 240 && !is_broadcast4(n, dst);
	return !(dst->d[0] == 0 && dst->w[2] == 0); /* ::1 and IPv4-compatible */
}

/* The port by which packets to dst leave when the source leaves the choice; -1: no route. */
static int route_port(const struct net_core *n, const struct ip_addr *dst)
{
	int at = onlink_find(n, dst, -1);

	if (at >= 0)
		return n->onlink_port[at];
	for (unsigned i = 0; i < n->n_port; i++) {
		if (!ip_is_any(&n->port[i].gateway[!ip_is4(dst)]))
			return (int)i;
	}
	return -1;
}

enum err net_route(struct net_core *n, const struct ip_addr *src, const struct ip_addr *dst,
		   struct net_dst *out)
{
	const struct net_addr *from = NULL;
	int port;

	if (!may_send_to(n, dst) || net_local(n, dst))
		goto none;
	if (!ip_is_any(src)) {
		from = net_local(n, src);
		if (!from || ip_is4(src) != ip_is4(dst))
			goto none;
	}
	/* A source fixes the port where that port has a way; else the port that has one sends it. */
	if (from && route_next_hop(n, from->port, dst))
		port = from->port;
	else
		port = addr_is_link_local6(dst) ? -1 : route_port(n, dst);
	if (port < 0)
		goto none;
	const struct ip_addr *hop = route_next_hop(n, (unsigned)port, dst);
	const struct ip_addr *best = from ? &from->addr : route_source(n, (unsigned)port, hop);
	if (!best)
		goto none;
	*out = (struct net_dst){.src = *best,
				.dst = *dst,
				.neigh = UINT32_MAX,
				.mtu = n->port[port].info.mtu,
				.port = (uint8_t)port};
	return ERR_OK;
none:
	stat_inc(n->stat, STAT_net_no_route);
	return ERR_UNREACHABLE;
}
