/*
 * neigh.c: neighbours of both families and whether they can be reached (RFC 4861 7.3; ARP entries follow
 * the same rules, RFC 1122 2.3.2.1).
 *
 *   INCOMPLETE --answer--> REACHABLE --time, next use--> DELAY --time--> PROBE --no answer--> FAILED
 *       \--no answer--> FAILED --time--> free          any --heard from it--> STALE --use--> DELAY
 *   net_confirm (progress of TCP) and solicited answers: --> REACHABLE
 *
 * Invariants: 1. a slot's generation changes whenever its address does, so a cached (slot, generation)
 * never names another host; 2. packets wait only in INCOMPLETE, a bounded number for one and for all;
 * 3. n_timed counts the entries in INCOMPLETE, DELAY, PROBE and FAILED.
 */
#include "net_int.h"
#include "hot.h"

#define RETRANS_US     1000000  /* RFC 4861 section 10 */
#define REACHABLE_US   30000000
#define DELAY_FIRST_US 5000000
#define SOLICITS_MAX   3
#define FAILED_US      3000000  /* negative answer kept */
#define SCAN_US        100000

static bool timed(uint8_t state)
{
	return state == NEIGH_INCOMPLETE || state == NEIGH_DELAY || state == NEIGH_PROBE ||
	       state == NEIGH_FAILED;
}

static void neigh_enter(struct net_core *n, struct neigh *ne, enum neigh_state state, uint64_t deadline)
{
	n->n_timed -= timed(ne->state);
	ne->state = (uint8_t)state;
	n->n_timed += timed(ne->state);
	ne->deadline = deadline;
}

static uint32_t hash_of(const struct net_core *n, unsigned port, const struct ip_addr *a)
{
	return (uint32_t)(siphash(n->rnd->key, a->b, 16) + port) & (NEIGH_MAX - 1);
}

struct neigh *neigh_find(struct net_core *n, unsigned port, const struct ip_addr *a)
{
	for (unsigned i = n->neigh_hash[hash_of(n, port, a)]; i; i = n->neigh[i - 1].next) {
		struct neigh *ne = &n->neigh[i - 1];
		if (ne->port == port && ip_eq(&ne->addr, a))
			return ne;
	}
	return NULL;
}

static void pending_drop(struct net_core *n, struct neigh *ne)
{
	while (ne->pend_first) {
		unsigned i = ne->pend_first;
		struct pending *w = &n->pending[i - 1];
		ne->pend_first = w->next;
		pkt_free(w->pkt);
		w->pkt = NULL;
		w->next = n->pending_free;
		n->pending_free = (uint16_t)i;
	}
	ne->pend_last = 0;
	ne->n_pend = 0;
}

static void neigh_forget(struct net_core *n, struct neigh *ne)
{
	uint16_t *link = &n->neigh_hash[hash_of(n, ne->port, &ne->addr)];
	unsigned slot = (unsigned)(ne - n->neigh) + 1;

	while (*link != slot)
		link = &n->neigh[*link - 1].next;
	*link = ne->next;
	pending_drop(n, ne);
	neigh_enter(n, ne, NEIGH_FREE, 0);
	if (++ne->gen == 0)
		ne->gen = 1;
}

/* A free slot, or that of a neighbour not in use just now: the hand goes round, at most once. */
static struct neigh *neigh_slot(struct net_core *n, uint64_t now_us)
{
	if (n->neigh_high < NEIGH_MAX)
		return &n->neigh[n->neigh_high++];
	for (unsigned k = 0; k < NEIGH_MAX; k++) {
		struct neigh *ne = &n->neigh[n->neigh_hand++ & (NEIGH_MAX - 1)];
		if (ne->state == NEIGH_FREE)
			return ne;
		if (ne->pinned || ne->state == NEIGH_INCOMPLETE ||
		    (ne->state == NEIGH_REACHABLE && now_us < ne->deadline))
			continue;
		neigh_forget(n, ne);
		stat_inc(n->stat, STAT_net_neigh_evicted);
		return ne;
	}
	/* All in use: the one used longest ago, so that a flood of addresses cannot lock the table. */
	struct neigh *old = NULL;
	for (unsigned k = 0; k < NEIGH_MAX; k++) {
		struct neigh *ne = &n->neigh[k];
		if (!ne->pinned && (!old || ne->used_us < old->used_us))
			old = ne;
	}
	if (old) {
		neigh_forget(n, old);
		stat_inc(n->stat, STAT_net_neigh_evicted);
	}
	return old;
}

struct neigh *neigh_get(struct net_core *n, unsigned port, const struct ip_addr *a, uint64_t now_us)
{
	struct neigh *ne = neigh_find(n, port, a);

	if (ne)
		return ne;
	ne = neigh_slot(n, now_us);
	if (!ne)
		return NULL;
	uint32_t gen = ne->gen;
	uint32_t b = hash_of(n, port, a);
	*ne = (struct neigh){.addr = *a,
			     .gen = gen,
			     .used_us = now_us,
			     .port = (uint8_t)port,
			     .next = n->neigh_hash[b],
			     .pinned = ip_eq(a, &n->port[port].gateway[!ip_is4(a)])};
	n->neigh_hash[b] = (uint16_t)(ne - n->neigh + 1);
	return ne;
}

static void solicit(struct net_core *n, struct neigh *ne, bool unicast)
{
	const struct ip_addr *src = route_source(n, ne->port, &ne->addr);

	if (!src)
		return;
	if (ip_is4(&ne->addr))
		arp_request(n, ne->port, src, &ne->addr, unicast ? ne->mac : NULL);
	else
		nd_solicit(n, ne->port, src, &ne->addr, unicast ? ne->mac : NULL);
}

COLD enum neigh_use neigh_use(struct net_core *n, struct neigh *ne, uint64_t now_us)
{
	ne->used_us = now_us;
	switch ((enum neigh_state)ne->state) {
	case NEIGH_FREE:
		neigh_enter(n, ne, NEIGH_INCOMPLETE, now_us + RETRANS_US);
		ne->tries = 1;
		solicit(n, ne, false);
		return NEIGH_WAIT;
	case NEIGH_INCOMPLETE:
		return NEIGH_WAIT;
	case NEIGH_FAILED:
		return NEIGH_REFUSE;
	case NEIGH_REACHABLE:
		if (now_us < ne->deadline)
			return NEIGH_SEND;
		neigh_enter(n, ne, NEIGH_DELAY, now_us + DELAY_FIRST_US);
		return NEIGH_SEND;
	case NEIGH_STALE:
		neigh_enter(n, ne, NEIGH_DELAY, now_us + DELAY_FIRST_US);
		return NEIGH_SEND;
	case NEIGH_DELAY:
	case NEIGH_PROBE:
		return NEIGH_SEND;
	}
	return NEIGH_REFUSE;
}

void neigh_hold(struct net_core *n, struct neigh *ne, struct pkt *p, const struct port_tx_meta *m)
{
	unsigned i = n->pending_free;

	if (ne->n_pend >= NEIGH_QUEUE || i == 0) {
		net_drop(n, p, STAT_net_neigh_full);
		return;
	}
	struct pending *w = &n->pending[i - 1];
	n->pending_free = w->next;
	*w = (struct pending){p, *m, 0};
	if (ne->pend_last)
		n->pending[ne->pend_last - 1].next = (uint16_t)i;
	else
		ne->pend_first = (uint16_t)i;
	ne->pend_last = (uint16_t)i;
	ne->n_pend++;
}

static void pending_send(struct net_core *n, struct neigh *ne)
{
	while (ne->pend_first) {
		unsigned i = ne->pend_first;
		struct pending w = n->pending[i - 1];
		ne->pend_first = w.next;
		n->pending[i - 1] = (struct pending){.next = n->pending_free};
		n->pending_free = (uint16_t)i;
		memcpy(pkt_data_inline(w.pkt), ne->mac, 6);
		port_send(n->port[ne->port].pc, w.pkt, &w.meta);
	}
	ne->pend_last = 0;
	ne->n_pend = 0;
}

void neigh_learn(struct net_core *n, struct neigh *ne, const uint8_t mac[6], enum neigh_state state,
		 uint64_t now_us)
{
	if (state == NEIGH_REACHABLE)
		neigh_enter(n, ne, state, now_us + REACHABLE_US);
	else
		neigh_enter(n, ne, state, 0);
	memcpy(ne->mac, mac, 6);
	ne->tries = 0;
	if (ne->pend_first) {
		pending_send(n, ne);
		if (state == NEIGH_STALE)
			neigh_enter(n, ne, NEIGH_DELAY, now_us + DELAY_FIRST_US);
	}
}

void neigh_heard(struct net_core *n, unsigned port, const struct ip_addr *a, const uint8_t mac[6],
		 uint64_t now_us)
{
	struct neigh *ne = neigh_get(n, port, a, now_us);

	if (!ne)
		return;
	if (ne->state >= NEIGH_REACHABLE && ne->state <= NEIGH_PROBE && memcmp(ne->mac, mac, 6) == 0)
		return;
	neigh_learn(n, ne, mac, NEIGH_STALE, now_us);
}

/* One entry whose time has come. */
static void neigh_expire(struct net_core *n, struct neigh *ne, uint64_t now_us)
{
	switch ((enum neigh_state)ne->state) {
	case NEIGH_INCOMPLETE:
	case NEIGH_PROBE:
		if (ne->tries < SOLICITS_MAX) {
			ne->tries++;
			ne->deadline = now_us + RETRANS_US;
			solicit(n, ne, ne->state == NEIGH_PROBE);
			return;
		}
		stat_inc(n->stat, STAT_net_neigh_failed);
		stat_add(n->stat, STAT_net_unreachable, ne->n_pend);
		pending_drop(n, ne);
		neigh_enter(n, ne, NEIGH_FAILED, now_us + FAILED_US);
		return;
	case NEIGH_DELAY:
		neigh_enter(n, ne, NEIGH_PROBE, now_us + RETRANS_US);
		ne->tries = 1;
		solicit(n, ne, true);
		return;
	case NEIGH_FAILED:
		neigh_forget(n, ne);
		return;
	case NEIGH_FREE:
	case NEIGH_REACHABLE:
	case NEIGH_STALE:
		return;
	}
}

void neigh_timers(struct net_core *n, uint64_t now_us)
{
	n->neigh_scan_us = now_us + SCAN_US;
	for (unsigned i = 0; i < n->neigh_high; i++) {
		struct neigh *ne = &n->neigh[i];
		if (timed(ne->state) && now_us >= ne->deadline)
			neigh_expire(n, ne, now_us);
	}
}

void net_confirm(struct net_core *n, struct net_dst *d, uint64_t now_us)
{
	if (d->neigh >= NEIGH_MAX)
		return;
	struct neigh *ne = &n->neigh[d->neigh];
	if (ne->gen != d->neigh_gen || ne->state < NEIGH_REACHABLE || ne->state > NEIGH_PROBE)
		return;
	ne->used_us = now_us;
	if (ne->state == NEIGH_REACHABLE)
		ne->deadline = now_us + REACHABLE_US;
	else
		neigh_enter(n, ne, NEIGH_REACHABLE, now_us + REACHABLE_US);
}

void neigh_fini(struct net_core *n)
{
	for (unsigned i = 0; i < n->neigh_high; i++)
		pending_drop(n, &n->neigh[i]);
}
