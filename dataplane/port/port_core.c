/*
 * port_core.c: one worker's share of a device: receiving, steering, finishing, sending. Hot path.
 *
 * A worker that has a queue receives for all: frames of flows that are another's go to it over a ring of
 * the pair; ARP, ND and ICMP are copied to every worker. A worker without a queue sends through the ring
 * to the one whose queue it shares. Invariants: 1. a frame handed up is one unshared packet; 2. every ring
 * has one producer and one consumer; 3. what cannot go on is dropped and counted, never waited for.
 */
#include <stdlib.h>
#include <rte_ethdev.h>
#include "check.h"
#include "csum.h"
#include "port_eal_int.h"

struct port_core *port_core_create(struct port *p, unsigned worker, struct stat *stat)
{
	struct port_core *pc = calloc(1, sizeof(*pc));

	CHECK(pc != NULL && worker < p->n_workers);
	pc->port = p;
	pc->stat = stat;
	pc->worker = worker;
	pc->own_queue = worker < p->info.n_queue;
	pc->queue = worker;
	return pc;
}

void port_core_destroy(struct port_core **pc)
{
	if (*pc && (*pc)->n_tx)
		rte_pktmbuf_free_bulk((*pc)->tx, (*pc)->n_tx);
	free(*pc);
	*pc = NULL;
}

unsigned port_core_worker(const struct port_core *pc)
{
	return pc->worker;
}

#include "hot.h"

#define STUCK_MAX  256 /* flushes without progress after which a waiting frame is dropped */
#define STUCK_MORE 16
#define TX_BURST   64
#define TX_TRIES   4
#define KICK_MAX   (1 << 16) /* idle flushes */

static void push(struct port_core *pc, unsigned to, struct pkt *p)
{
	pc->n_passed++;
	if (LIKELY(spsc_push(port_rx_ring(pc->port, pc->worker, to), p))) {
		stat_inc(pc->stat, STAT_port_steered);
		return;
	}
	stat_inc(pc->stat, STAT_port_steer_drop);
	pkt_free(p);
}

/* Copies for all others; the frame itself stays here. */
COLD static void push_copies(struct port_core *pc, struct pkt *p)
{
	uint32_t len = pkt_len_inline(p);

	for (unsigned w = 0; w < pc->port->n_workers; w++) {
		if (w == pc->worker)
			continue;
		struct pkt *q = pkt_alloc(pc->port->pool);
		if (!q || len > pkt_room(q)) {
			stat_inc(pc->stat, STAT_port_steer_drop);
			if (q)
				pkt_free(q);
			continue;
		}
		memcpy(pkt_append(q, len), pkt_data_inline(p), len);
		pkt_mbuf(q)->ol_flags = pkt_mbuf(p)->ol_flags &
					(RTE_MBUF_F_RX_L4_CKSUM_MASK | RTE_MBUF_F_RX_IP_CKSUM_MASK);
		push(pc, w, q);
	}
}

/* True: the frame is ours. */
static inline bool steer(struct port_core *pc, struct pkt *p)
{
	const struct port *port = pc->port;
	uint32_t hash;

	switch (flow_of_frame(pkt_data_inline(p), pkt_len_inline(p), &hash)) {
	case FLOW_HASHED: {
		unsigned owner = hash % port->reta_size % port->n_workers;
		if (port->rss || owner == pc->worker)
			return true;
		push(pc, owner, p);
		return false;
	}
	case FLOW_ALL:
		push_copies(pc, p);
		return true;
	default:
		return true;
	}
}

/* What the device may have done to a frame that the layers above rely on not being so. NULL: dropped. */
static inline struct pkt *accept_frame(struct port_core *pc, struct pkt *p)
{
	uint64_t f = pkt_mbuf(p)->ol_flags;

	if (UNLIKELY(pc->port->info.rx_csum &&
		     ((f & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_BAD ||
		      (f & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_BAD))) {
		stat_inc(pc->stat, STAT_port_rx_bad_csum);
		pkt_free(p);
		return NULL;
	}
	if (UNLIKELY(pkt_next(p)) && (p = soft_linear(p, pc->port->pool)) == NULL)
		stat_inc(pc->stat, STAT_port_rx_too_long);
	return p;
}

static unsigned take_steered(struct port_core *pc, struct pkt **out, unsigned max)
{
	struct port *port = pc->port;
	unsigned n = 0;

	for (unsigned k = 0; k < port->info.n_queue && n < max; k++) {
		unsigned from = (pc->next_from + k) % port->info.n_queue;
		struct spsc *r = port_rx_ring(port, from, pc->worker);
		while (n < max && (out[n] = spsc_pop(r)) != NULL)
			n++;
	}
	pc->next_from++;
	return n;
}

unsigned port_receive(struct port_core *pc, struct pkt **out, unsigned max)
{
	struct port *port = pc->port;
	struct rte_mbuf *burst[PORT_BURST];
	uint64_t bytes = 0;
	unsigned n = 0;

	if (port->n_workers > 1)
		n = take_steered(pc, out, pc->own_queue ? max / 2 : max);
	if (!pc->own_queue)
		return n;
	unsigned want = max - n < PORT_BURST ? max - n : PORT_BURST;
	unsigned got = rte_eth_rx_burst(port->id, (uint16_t)pc->queue, burst, (uint16_t)want);
	if (got == 0)
		return n;
	for (unsigned i = 0; i < got && port->n_workers > 1; i++)
		rte_prefetch0(rte_pktmbuf_mtod(burst[i], void *));
	for (unsigned i = 0; i < got; i++) {
		bytes += burst[i]->pkt_len;
		struct pkt *p = accept_frame(pc, pkt_of_mbuf(burst[i]));
		if (p && (port->n_workers == 1 || steer(pc, p)))
			out[n++] = p;
	}
	stat_add(pc->stat, STAT_port_rx_packets, got);
	stat_add(pc->stat, STAT_port_rx_bytes, bytes);
	return n;
}

unsigned port_passed(struct port_core *pc)
{
	unsigned n = pc->n_passed;

	pc->n_passed = 0;
	return n;
}

/* Frames wait here until the flush; those of a worker without a queue go to the one that has it. */
static inline void enqueue(struct port_core *pc, struct pkt *p)
{
	if (UNLIKELY(!pc->own_queue)) {
		if (!spsc_push(&pc->port->tx_ring[pc->worker], p)) {
			stat_inc(pc->stat, STAT_port_tx_drop);
			pkt_free(p);
		}
		return;
	}
	if (UNLIKELY(pc->n_tx == TX_QUEUE)) {
		port_flush(pc);
		if (pc->n_tx == TX_QUEUE) {
			stat_inc(pc->stat, STAT_port_tx_drop);
			pkt_free(p);
			return;
		}
	}
	pc->tx[pc->n_tx++] = pkt_mbuf(p);
}

/* Tells the device what to fill in. The L4 checksum field starts as the sum over the pseudo-header, with
 * the length only when the device does not cut the packet itself. */
static void offload(struct pkt *p, const struct port_tx_meta *m, const struct port_info *info, bool cut)
{
	struct rte_mbuf *k = pkt_mbuf(p);
	uint8_t *l3 = pkt_data_inline(p) + m->l2_len, *l4 = l3 + m->l3_len;
	uint32_t len = pkt_total_inline(p) - m->l2_len - m->l3_len;
	bool tcp = m->proto == 6;

	k->l2_len = m->l2_len;
	k->l3_len = m->l3_len;
	k->l4_len = m->l4_len;
	k->ol_flags |= m->ip6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;
	if (!m->ip6 && info->tx_csum_ip4)
		k->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	if (!info->tx_csum_l4 || (!tcp && m->proto != 17))
		return;
	k->ol_flags |= tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
	if (cut) {
		k->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
		k->tso_segsz = m->tso_mss;
		len = 0;
	}
	uint32_t s = m->ip6 ? csum_small(0, l3 + 8, 32) : csum_small(0, l3 + 12, 8);
	s = csum_fold32((uint64_t)s + __builtin_bswap32(len) + ((uint64_t)m->proto << 24));
	uint16_t c = (uint16_t)~csum_fold(s);
	memcpy(l4 + (tcp ? 16 : 6), &c, 2);
}

void port_send(struct port_core *pc, struct pkt *p, const struct port_tx_meta *meta)
{
	const struct port_info *info = &pc->port->info;
	bool cut = meta->tso_mss && soft_payload(p, meta) > meta->tso_mss;
	struct soft_cut c;
	struct pkt *q;

	if (cut && !info->tso) {
		soft_cut_init(&c, p, meta, pc->port->pool);
		while ((q = soft_cut_next(&c)) != NULL)
			enqueue(pc, q);
		if (c.left)
			stat_inc(pc->stat, STAT_pkt_alloc_fail);
		pkt_free(p);
		return;
	}
	soft_csum(p, meta, !info->tx_csum_ip4, !info->tx_csum_l4);
	if (meta->l3_len && pc->port->tx_prepare)
		offload(p, meta, info, cut);
	if (!info->multi_segs && pkt_next(p) && (p = soft_linear(p, pc->port->pool)) == NULL) {
		stat_inc(pc->stat, STAT_pkt_alloc_fail);
		return;
	}
	enqueue(pc, p);
}

/* Frames that the device's driver finds it cannot send are dropped; the rest moves up. */
COLD static unsigned drop_refused(struct port_core *pc, unsigned at, unsigned n)
{
	stat_inc(pc->stat, STAT_port_tx_drop);
	rte_pktmbuf_free(pc->tx[at]);
	memmove(&pc->tx[at], &pc->tx[at + 1], (pc->n_tx - at - 1) * sizeof(pc->tx[0]));
	pc->n_tx--;
	return n - 1;
}

/* Up to n frames from the front; how many went. */
static unsigned send_burst(struct port_core *pc, unsigned n)
{
	struct port *port = pc->port;
	uint64_t bytes = 0;
	uint32_t len[TX_BURST];

	if (port->tx_prepare) {
		unsigned ok;
		while ((ok = rte_eth_tx_prepare(port->id, (uint16_t)pc->queue, pc->tx, (uint16_t)n)) < n)
			n = drop_refused(pc, ok, n);
	}
	for (unsigned i = 0; i < n; i++)
		len[i] = pc->tx[i]->pkt_len;
	unsigned sent = rte_eth_tx_burst(port->id, (uint16_t)pc->queue, pc->tx, (uint16_t)n);
	for (unsigned i = 0; i < sent; i++)
		bytes += len[i];
	stat_add(pc->stat, STAT_port_tx_packets, sent);
	stat_add(pc->stat, STAT_port_tx_bytes, bytes);
	pc->n_tx -= sent;
	memmove(pc->tx, pc->tx + sent, pc->n_tx * sizeof(pc->tx[0]));
	return sent;
}

/* Nothing went for long: the first frame may be one that the driver never takes, or the link is down. One is
 * dropped, the next after fewer tries, so that a bad frame costs itself only. */
COLD static void drop_stuck(struct port_core *pc)
{
	drop_refused(pc, 0, pc->n_tx);
	pc->stuck = STUCK_MAX - STUCK_MORE;
}

static void take_frames(struct port_core *pc)
{
	struct port *port = pc->port;
	unsigned n_before = pc->n_tx;

	for (unsigned w = pc->worker + port->info.n_queue; w < port->n_workers; w += port->info.n_queue) {
		struct pkt *p;
		while (pc->n_tx < TX_QUEUE && (p = spsc_pop(&port->tx_ring[w])) != NULL)
			pc->tx[pc->n_tx++] = pkt_mbuf(p);
	}
	pc->n_passed += pc->n_tx - n_before;
}

/* AF_XDP gives the buffers of sent frames back only when it is called, and what a busy kernel left in the
 * ring goes no sooner: after the last frames it is called again, at ever longer distances. */
static inline void kick(struct port_core *pc)
{
	unsigned n = ++pc->n_idle;

	if (n <= KICK_MAX && (n & (n - 1)) == 0)
		rte_eth_tx_burst(pc->port->id, (uint16_t)pc->queue, pc->tx, 0);
}

void port_flush(struct port_core *pc)
{
	unsigned tries = 0;

	if (!pc->own_queue)
		return;
	if (pc->port->n_workers > pc->port->info.n_queue)
		take_frames(pc);
	if (pc->n_tx > 0)
		pc->n_idle = 0;
	else if (pc->port->tx_kick)
		kick(pc);
	while (pc->n_tx > 0 && tries < TX_TRIES) {
		unsigned n = pc->n_tx < TX_BURST ? pc->n_tx : TX_BURST;
		unsigned sent = send_burst(pc, n);
		tries += sent < n;
		if (sent)
			pc->stuck = 0;
	}
	if (UNLIKELY(pc->n_tx > 0) && ++pc->stuck > STUCK_MAX)
		drop_stuck(pc);
}
