/*
 * arp.c: ARP (RFC 826) over Ethernet, with the checks of RFC 1122 2.3.2 and RFC 5227.
 *
 * Invariants: 1. an entry is made only for who asks for an address of ours from our link, or by our own
 * need; 2. an unasked claim changes known entries only, and makes them STALE; 3. only the primary answers.
 */
#include "net_int.h"
#include "hot.h"

#define ARP_LEN 28

enum { ARP_REQUEST = 1, ARP_REPLY = 2 };

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void arp_send(struct net_core *n, unsigned port, unsigned op, const uint8_t *eth_dst,
		     const struct ip_addr *sender, const uint8_t *target_mac, const struct ip_addr *target)
{
	static const struct port_tx_meta plain = {.l2_len = ETH_LEN};
	static const uint8_t fixed[6] = {0, 1, 0x08, 0, 6, 4}; /* Ethernet, IPv4, their lengths */
	struct net_port *np = &n->port[port];
	struct pkt *p = pkt_alloc(n->pool);

	if (!p) {
		stat_inc(n->stat, STAT_pkt_alloc_fail);
		return;
	}
	uint8_t *eth = pkt_append(p, ETH_LEN + ARP_LEN), *a = eth + ETH_LEN;
	memcpy(eth, eth_dst, 6);
	memcpy(eth + 6, np->info.mac, 6);
	put16(eth + 12, ETH_ARP);
	memcpy(a, fixed, 6);
	put16(a + 6, op);
	memcpy(a + 8, np->info.mac, 6);
	memcpy(a + 14, &sender->w[3], 4);
	memcpy(a + 18, target_mac, 6);
	memcpy(a + 24, &target->w[3], 4);
	port_send(np->pc, p, &plain);
}

void arp_request(struct net_core *n, unsigned port, const struct ip_addr *sender,
		 const struct ip_addr *target, const uint8_t *mac)
{
	static const uint8_t unknown[6];
	arp_send(n, port, ARP_REQUEST, mac ? mac : broadcast, sender, unknown, target);
}

/* The sender's pair of addresses, when it does not ask us for anything. */
static void arp_claim(struct net_core *n, unsigned port, const struct ip_addr *sender, const uint8_t *mac,
		      bool solicited, uint64_t now_us)
{
	struct neigh *ne = neigh_find(n, port, sender);

	if (!ne)
		return;
	if (solicited &&
	    (ne->state == NEIGH_INCOMPLETE || ne->state == NEIGH_PROBE || ne->state == NEIGH_DELAY))
		neigh_learn(n, ne, mac, NEIGH_REACHABLE, now_us);
	else
		neigh_heard(n, port, sender, mac, now_us);
}

void arp_input(struct net_core *n, unsigned port, struct pkt *p, uint64_t now_us)
{
	const uint8_t *a = pkt_data_inline(p) + ETH_LEN;

	if (pkt_len_inline(p) < ETH_LEN + ARP_LEN || get16(a) != 1 || get16(a + 2) != ETH_IP4 ||
	    a[4] != 6 || a[5] != 4 || (a[8] & 1) != 0) {
		net_drop(n, p, STAT_net_bad_arp);
		return;
	}
	unsigned op = get16(a + 6);
	const uint8_t *mac = a + 8;
	struct ip_addr sender = addr4_at(a + 14), target = addr4_at(a + 24);
	const struct net_addr *ours = net_local(n, &target);

	if (op != ARP_REQUEST && op != ARP_REPLY) {
		net_drop(n, p, STAT_net_bad_arp);
		return;
	}
	if (memcmp(mac, n->port[port].info.mac, 6) == 0) {
		pkt_free(p); /* an echo of what we sent */
		return;
	}
	if (net_local(n, &sender)) {
		net_address_conflict(n, &sender, mac);
	} else if (op == ARP_REQUEST && ours && ours->port == port) {
		/* A sender address of zero is a probe (RFC 5227 2.1.1): answered, not learnt. */
		if (sender.w[3] != 0 && route_next_hop(n, port, &sender) &&
		    ip_eq(route_next_hop(n, port, &sender), &sender))
			neigh_heard(n, port, &sender, mac, now_us);
		if (n->primary)
			arp_send(n, port, ARP_REPLY, mac, &target, mac, &sender);
	} else {
		arp_claim(n, port, &sender, mac, op == ARP_REPLY && ours, now_us);
	}
	pkt_free(p);
}
