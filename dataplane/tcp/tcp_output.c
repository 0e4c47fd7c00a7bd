/*
 * tcp_output.c: what goes out. Hot path.
 *
 * Every transmission, first or repeated, is a fresh header packet; payload up to TCP_TX_COPY is
 * copied behind it, longer payload is attached from the slices of the send queue, which stay until
 * acknowledged. So no packet that a device may still hold is ever edited. One ACK a connection and
 * flush, whatever came in; without SACK each out-of-order segment gets its duplicate ACK, because
 * the peer counts them.
 */
#include <string.h>
#include "tcp_int.h"
#include "hot.h"

#define TCP_PROTO 6
#define RETRY_US  1000

static uint8_t *put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	return p + 2;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
	return p + 4;
}

/* ---- headers ---- */

/* In front of what p holds. Returns its length. */
static uint32_t put_header(struct pkt *p, const struct tcp_header *h, const struct tcp_opts *o)
{
	uint32_t len = TCP_HDR + tcp_opts_len(o);
	uint8_t *b = pkt_prepend(p, len);

	CHECK(b != NULL);
	b = put16(b, h->sport);
	b = put16(b, h->dport);
	b = put32(b, h->seq);
	b = put32(b, h->flags & TH_ACK ? h->ack : 0);
	*b++ = (uint8_t)(len / 4 << 4);
	*b++ = h->flags;
	b = put16(b, h->wnd);
	b = put32(b, 0); /* checksum, urgent */
	tcp_opts_build(o, b);
	return len;
}

static uint32_t ts_now(const struct tcp_conn *c)
{
	return now_ms32(c->core) + c->ts_off;
}

/* Our segment size as the receiver, for silly window avoidance. */
static uint32_t window_step(const struct tcp_conn *c)
{
	return min32(c->core->conf.rcv_buf / 2, c->syn_mss);
}

/* RFC 9293 3.8.6.2.2: the window grows in steps of a segment or half the buffer, and never shrinks.
 */
uint32_t tcp_rcv_window(const struct tcp_conn *c)
{
	const struct tcp_core *t = c->core;
	uint32_t room = c->rcv_held < t->conf.rcv_buf ? t->conf.rcv_buf - c->rcv_held : 0;
	uint32_t promised = seq_gt(c->rcv_adv, c->rcv_nxt) ? c->rcv_adv - c->rcv_nxt : 0;

	if (t->pool_low) /* out of packets soon: promise no more than keeps the connection going */
		room = min32(room, 2 * window_step(c));
	if (room < promised || room - promised < window_step(c))
		room = promised;
	return room;
}

static uint32_t window_field(const struct tcp_conn *c)
{
	uint32_t wnd = tcp_rcv_window(c);
	uint32_t promised = seq_gt(c->rcv_adv, c->rcv_nxt) ? c->rcv_adv - c->rcv_nxt : 0;
	uint32_t field = wnd >> c->rcv_wscale;

	if (field << c->rcv_wscale < promised) /* rounding must not take back either */
		field++;
	return min32(field, UINT16_MAX);
}

/* ---- one segment ---- */

/* Payload [off, off + len) of the send queue behind p, attached or copied: copied when it is short,
 * or frugal is set and it fits. PSH when a write ends in it. False: no packet for an attachment. */
static bool put_payload(struct tcp_conn *c, struct pkt *p, uint32_t off, uint32_t len, bool frugal,
			bool *psh)
{
	struct tcpq_pos pos = tcpq_seek(&c->txq, off);
	bool fits = len <= pkt_room(p);
	bool copy = len <= TCP_TX_COPY || (frugal && fits);
	uint32_t slices = 0;

	if (!copy && fits) {
		/* Many small pieces: a copy is cheaper for everyone behind us than a long chain. */
		struct tcpq_pos look = pos;
		for (uint32_t left = len; left && slices <= 4; slices++) {
			bool end;
			left -= tcpq_next(&look, left, &end).len;
		}
		copy = slices > 4;
	}
	while (len) {
		bool end;
		struct slice run = tcpq_next(&pos, len, &end);
		*psh = *psh || end;
		len -= run.len;
		if (copy) {
			memcpy(pkt_append(p, run.len), run.data, run.len);
			continue;
		}
		struct pkt *a = pkt_attach(c->core->pool, &run);
		if (!a)
			return false;
		pkt_chain(p, a);
	}
	return true;
}

/* SACK blocks that still fit: beside payload only what the segment leaves. */
static void put_sack(struct tcp_conn *c, uint32_t payload, struct tcp_opts *o)
{
	uint32_t space = TCP_OPT_MAX - tcp_opts_len(o);
	uint32_t left = payload >= c->mss ? 0 : c->mss - payload;

	if (payload)
		space = min32(space, left);
	if (space < 12)
		return;
	unsigned max = min32((space - 4) / 8, TCP_SACK_BLOCKS), n = 0;
	if (c->flags & TF_DSACK) { /* RFC 2883: once, in front */
		c->flags &= ~(uint32_t)TF_DSACK;
		o->sack[n++] = c->dsack;
	}
	o->n_sack = (uint8_t)(n + tcp_reasm_blocks(c, o->sack + n, max - n));
}

bool tcp_xmit(struct tcp_conn *c, uint32_t seq, uint32_t len, uint8_t flags)
{
	struct tcp_core *t = c->core;
	struct pkt *p = pkt_alloc(t->pool);
	bool psh = false;

	if (!p) {
		stat_inc(t->stat, STAT_pkt_alloc_fail);
		return false;
	}
	bool frugal = t->pool_low != TCP_POOL_FINE;
	while (len && !put_payload(c, p, seq - c->snd_una, len, frugal, &psh)) {
		/* One packet is there: rather a copy in it than nothing. */
		stat_inc(t->stat, STAT_pkt_alloc_fail);
		pkt_free(p);
		if (frugal || (p = pkt_alloc(t->pool)) == NULL)
			return false;
		frugal = true;
	}
	struct tcp_opts o;
	memset(&o, 0, offsetof(struct tcp_opts, sack));
	if (c->flags & TF_TS) {
		o.has_ts = true;
		o.tsval = ts_now(c);
		o.tsecr = c->ts_recent;
	}
	if ((c->reasm || (c->flags & TF_DSACK)) && (c->flags & TF_SACK) && (flags & TH_ACK))
		put_sack(c, len, &o);
	struct tcp_header h = {
		.sport = c->lport,
		.dport = c->rport,
		.seq = seq,
		.ack = c->rcv_nxt,
		.flags = (uint8_t)(flags | (psh ? TH_PSH : 0) | tcp_ecn_mark(c, seq, len, flags)),
		.wnd = window_field(c),
	};
	uint32_t hdr = put_header(p, &h, &o);

	if (flags & TH_ACK) {
		c->rcv_acked = c->rcv_nxt;
		c->rcv_adv = seq_max(c->rcv_adv, c->rcv_nxt + (h.wnd << c->rcv_wscale));
		c->flags &= ~(uint32_t)TF_ACK_NOW;
		c->delack_segs = 0;
		tcp_disarm(c, TCP_T_DELACK);
	}
	stat_inc(t->stat, STAT_tcp_tx_segments);
	trace_put(t->trace, t->now_us, TRACE_tcp_tx, pool_index(&t->conns, c) + 1, h.flags, len);
	net_output(t->net, &c->dst, p, TCP_PROTO, hdr, len > c->mss ? c->mss : 0, t->now_us);
	return true;
}

/* SYN or SYN-ACK by the state. */
bool tcp_send_syn(struct tcp_conn *c)
{
	struct tcp_core *t = c->core;
	bool passive = c->state == TCP_SYN_RECEIVED;
	struct pkt *p = pkt_alloc(t->pool);
	struct tcp_opts o = {
		.has_mss = true,
		.mss = c->syn_mss,
		.sack_ok = (c->flags & TF_SACK) != 0,
		.has_ts = (c->flags & TF_TS) != 0,
		.has_wscale = (c->flags & TF_WSCALE) != 0,
		.wscale = t->conf.wscale,
	};

	/* RFC 7323 2.2: the window of a SYN is not scaled. */
	uint32_t wnd = min32(t->conf.rcv_buf, UINT16_MAX);
	if (passive) {
		c->rcv_adv = c->rcv_nxt + wnd;
		c->rcv_acked = c->rcv_nxt;
	}
	if (!p) {
		stat_inc(t->stat, STAT_pkt_alloc_fail);
		return false;
	}
	if (o.has_ts) {
		o.tsval = ts_now(c);
		o.tsecr = passive ? c->ts_recent : 0;
	}
	struct tcp_header h = {
		.sport = c->lport,
		.dport = c->rport,
		.seq = c->iss,
		.ack = c->rcv_nxt,
		.flags = (uint8_t)((passive ? TH_SYN | TH_ACK : TH_SYN) | tcp_ecn_syn_flags(c)),
		.wnd = wnd,
	};
	uint32_t hdr = put_header(p, &h, &o);
	stat_inc(t->stat, STAT_tcp_tx_segments);
	trace_put(t->trace, t->now_us, TRACE_tcp_tx, pool_index(&t->conns, c) + 1, h.flags, 0);
	net_output(t->net, &c->dst, p, TCP_PROTO, hdr, 0, t->now_us);
	return true;
}

void tcp_send_reset(struct tcp_conn *c)
{
	stat_inc(c->core->stat, STAT_tcp_reset_out);
	tcp_xmit(c, c->snd_nxt, 0, TH_RST | TH_ACK);
}

/* ---- answers without a connection ---- */

void tcp_answer(struct tcp_core *t, const struct ip_addr *local, const struct ip_addr *remote,
		const struct tcp_header *h, const struct tcp_opts *o)
{
	struct net_dst d;

	if (net_route(t->net, local, remote, &d) != ERR_OK)
		return;
	struct pkt *p = pkt_alloc(t->pool);
	if (!p) {
		stat_inc(t->stat, STAT_pkt_alloc_fail);
		return;
	}
	uint32_t hdr = put_header(p, h, o);
	stat_inc(t->stat, STAT_tcp_tx_segments);
	net_output(t->net, &d, p, TCP_PROTO, hdr, 0, t->now_us);
}

/* RFC 9293 3.10.7.1 */
void tcp_answer_reset(struct tcp_core *t, const struct tcp_seg *s)
{
	const uint8_t *l4 = s->ns->l4;
	/* RFC 7323 5.2: a timestamp is answered by an echo, with none of our own. */
	struct tcp_opts o = {.has_ts = s->opt.has_ts, .tsecr = s->opt.tsval};
	struct tcp_header h = {
		.sport = (uint16_t)(l4[2] << 8 | l4[3]),
		.dport = (uint16_t)(l4[0] << 8 | l4[1]),
	};

	if (s->flags & TH_RST)
		return;
	if (t->now_us - t->resets_from_us >= 100000) {
		t->resets_from_us = t->now_us;
		t->resets = 0;
	}
	if (++t->resets > TCP_RESETS) {
		stat_inc(t->stat, STAT_tcp_reset_limited);
		return;
	}
	if (s->flags & TH_ACK) {
		h.seq = s->ack;
		h.flags = TH_RST;
	} else {
		h.ack = s->seq + s->len + !!(s->flags & TH_SYN) + !!(s->flags & TH_FIN);
		h.flags = TH_RST | TH_ACK;
	}
	stat_inc(t->stat, STAT_tcp_reset_out);
	tcp_answer(t, &s->ns->dst, &s->ns->src, &h, &o);
}

void tcp_answer_time_wait(struct tcp_core *t, const struct tcp_tw *w)
{
	struct tcp_header h = {.sport = w->lport,
			   .dport = w->rport,
			   .seq = w->snd_nxt,
			   .ack = w->rcv_nxt,
			   .flags = TH_ACK};
	struct tcp_opts o = {
		.has_ts = w->ts_off != 0, .tsval = now_ms32(t) + w->ts_off, .tsecr = w->ts_recent};

	tcp_answer(t, &w->local, &w->remote, &h, &o);
}

/* RFC 5961 section 7 wants a limit; ours is for each connection, so that nobody learns of another's
 * (the side channel of a global one). Bare ACKs out of the window count too: two confused peers
 * must not loop. */
void tcp_challenge(struct tcp_conn *c)
{
	uint32_t now = now_ms32(c->core);

	if (now - c->challenge_ms >= 5000) {
		c->challenge_ms = now;
		c->challenges = 0;
	}
	if (c->challenges >= TCP_CHALLENGES)
		return;
	c->challenges++;
	stat_inc(c->core->stat, STAT_tcp_challenge_ack);
	tcp_xmit(c, c->snd_nxt, 0, TH_ACK);
}

/* ---- what the connection has to send ---- */

/* Sends sequence numbers [from, to), data and perhaps the FIN at the end. */
static bool send_run(struct tcp_conn *c, uint32_t from, uint32_t to)
{
	bool fin = (c->flags & TF_FIN_SENT) && to == c->fin_seq + 1;
	uint32_t len = to - from - fin;
	struct tcp_core *t = c->core;
	bool again = seq_lt(from, c->snd_max);

	if (!tcp_xmit(c, from, len, fin ? TH_ACK | TH_FIN : TH_ACK))
		return false;
	if (again) {
		c->retransmits++;
		stat_inc(t->stat, STAT_tcp_retransmit);
		/* Karn (RFC 6298 section 3): what was sent twice is not timed. */
		if ((c->flags & TF_TIMING) && seq_lt(from, c->rtt_seq))
			c->flags &= ~(uint32_t)TF_TIMING;
		trace_put(t->trace, t->now_us, TRACE_tcp_retransmit, pool_index(&t->conns, c) + 1,
			  c->recovery, len);
	} else if (!(c->flags & TF_TIMING)) {
		c->flags |= TF_TIMING;
		c->rtt_seq = to;
		c->rtt_at = (uint32_t)t->now_us;
	}
	tcp_board_sent(c, from, to);
	if (c->recovery != TCP_REC_OPEN)
		tcp_recovery_sent(c, to - from, again);
	c->snd_nxt = seq_max(c->snd_nxt, to);
	c->snd_max = seq_max(c->snd_max, to);
	c->last_send_ms = now_ms32(t);
	if (!c->due[TCP_T_RETX] || (c->flags & TF_PTO))
		tcp_arm_retx(c);
	return true;
}

static void enter_fin_sent(struct tcp_conn *c)
{
	c->flags |= TF_FIN_SENT;
	c->fin_seq = c->snd_una + c->txq.len;
	tcp_enter(c, c->state == TCP_CLOSE_WAIT ? TCP_LAST_ACK : TCP_FIN_WAIT_1);
}

/* Sequence numbers that wait to be sent for the first time. */
static uint32_t unsent(const struct tcp_conn *c)
{
	if (c->flags & TF_FIN_SENT)
		return seq_lt(c->snd_nxt, c->fin_seq + 1) ? c->fin_seq + 1 - c->snd_nxt : 0;
	return c->snd_una + c->txq.len - c->snd_nxt + ((c->flags & TF_FIN_WANTED) ? 1 : 0);
}

/* Payload of one packet for a port that cuts it: as many whole segments as TCP_TSO_SEGS pieces
 * hold. */
static uint32_t tso_len(const struct tcp_conn *c, uint32_t from, uint32_t len)
{
	struct tcpq_pos pos = tcpq_seek(&c->txq, from - c->snd_una);
	uint32_t got = 0;

	for (unsigned i = 0; i < TCP_TSO_SEGS && got < len; i++) {
		bool end;
		got += tcpq_next(&pos, len - got, &end).len;
	}
	if (got == len)
		return len;
	return got >= c->mss ? got - got % c->mss : min32(len, c->mss);
}

/* False: no packets. */
static bool send_lost(struct tcp_conn *c, uint32_t *pipe)
{
	struct tcp_range r;
	bool force = (c->flags & TF_RETX_HEAD) != 0;

	if (force && !c->board) { /* the pool of scoreboards is out: one segment at a time */
		uint32_t end = seq_min(c->snd_una + c->mss, c->snd_max);
		if (seq_lt(c->snd_una, end) && !send_run(c, c->snd_una, end))
			return false;
		force = false;
	}
	/* The first goes at once, whatever cwnd says (RFC 6675 5 step 4.3, 6582 3.2, 6298 5.4). */
	while ((force || *pipe + c->mss <= c->cwnd) && tcp_next_lost(c, c->mss, &r)) {
		if (!send_run(c, r.start, r.end))
			return false;
		*pipe += r.end - r.start;
		force = false;
	}
	c->flags &= ~(uint32_t)TF_RETX_HEAD;
	return true;
}

static void arm_persist(struct tcp_conn *c)
{
	if (c->flags & TF_PERSIST)
		return;
	c->flags |= TF_PERSIST;
	c->zero_at_ms = now_ms32(c->core);
	tcp_arm_retx(c);
}

/* False: no packets. */
static bool send_new(struct tcp_conn *c, uint32_t *pipe)
{
	const struct port_info *port = net_port_info(c->core->net, c->dst.port);
	uint32_t edge = c->snd_una + c->snd_wnd;
	/* Whoever has ports cuts: the device, or software, which copies and sums in one pass. */
	uint32_t one_max = port && !c->core->pool_low ? TCP_TSO_MAX : 0;
	uint32_t cwnd = c->cwnd, sent = 0, left, budget = tcp_pace_budget(c);

	/* RFC 3042: the first two duplicate ACKs let out one new segment each. With SACK, or with
	 * reno_sacked taken off the pipe, they make that room by themselves. */
	c->flags &= ~(uint32_t)TF_CWND_FULL;
	while ((left = unsent(c)) != 0) {
		uint32_t by_wnd = seq_gt(edge, c->snd_nxt) ? edge - c->snd_nxt : 0;
		uint32_t by_cwnd = cwnd > *pipe ? cwnd - *pipe : 0;
		uint32_t len = min32(left, min32(by_wnd, max32(c->mss, one_max)));
		bool fin = (c->flags & TF_FIN_WANTED) && len == left;
		uint32_t data = len - fin;

		if (len == 0) {
			if (c->snd_nxt == c->snd_una)
				arm_persist(c);
			return true;
		}
		if (min32(len, c->mss) > by_cwnd && *pipe) {
			c->flags |= TF_CWND_FULL;
			return true;
		}
		if (min32(len, c->mss) > budget && *pipe) {
			if (left > by_cwnd) /* it is cwnd all the same that holds back */
				c->flags |= TF_CWND_FULL;
			tcp_pace_wait(c);
			return true;
		}
		if (data > c->mss) {
			data = tso_len(c, c->snd_nxt, min32(data, max32(min32(by_cwnd, budget), c->mss)));
			if (data != left)
				data = data > c->mss ? data - data % c->mss : data;
			fin = fin && data == len - 1;
			len = data + fin;
		}
		/* Sender's silly window avoidance (RFC 9293 3.8.6.2.1): no small segment because of
		 * a small window, unless it is half of the largest one ever offered. */
		if (len < left && data < c->mss && len < c->snd_wnd_max / 2) {
			if (c->snd_nxt == c->snd_una)
				arm_persist(c);
			return true;
		}
		if (sent >= TCP_BURST_BYTES) {
			tcp_want_output(c);
			return true;
		}
		if (fin && !(c->flags & TF_FIN_SENT))
			enter_fin_sent(c);
		if (!send_run(c, c->snd_nxt, c->snd_nxt + len)) {
			if (len <= c->mss)
				return false;
			one_max = 0; /* too few packets for a long chain; perhaps not for one */
			continue;
		}
		*pipe += len;
		sent += len;
		if (budget != UINT32_MAX) {
			budget -= min32(len, budget);
			tcp_pace_sent(c, len);
		}
	}
	return true;
}

void tcp_probe_tail(struct tcp_conn *c)
{
	uint32_t room = c->snd_una + c->snd_wnd - c->snd_max;
	uint32_t fresh = min32(c->mss, c->snd_una + c->txq.len - c->snd_max);
	bool fin = (c->flags & TF_FIN_SENT) != 0;

	c->flags &= ~(uint32_t)TF_TLP_RETX;
	if (!fin && fresh && seq_lt(c->snd_max, c->snd_una + c->snd_wnd) && fresh <= room) {
		if (!send_run(c, c->snd_nxt, c->snd_nxt + fresh))
			return;
	} else {
		uint32_t from = seq_max(c->snd_una, c->snd_max - c->mss);
		if (!send_run(c, from, c->snd_max))
			return;
		c->flags |= TF_TLP_RETX;
	}
	c->flags |= TF_TLP | TF_TLP_WAIT;
	c->tlp_end = c->snd_max;
	stat_inc(c->core->stat, STAT_tcp_tail_probe);
}

static bool send_data(struct tcp_conn *c)
{
	struct tcp_core *t = c->core;

	if (c->flags & TF_PERSIST)
		return true;
	if (c->snd_una == c->snd_max && c->txq.len && c->last_send_ms &&
	    (uint64_t)(now_ms32(t) - c->last_send_ms) * 1000 > c->rto_us)
		c->cwnd = min32(c->cwnd, tcp_initial_cwnd(c)); /* RFC 5681 4.1: after idle */
	uint32_t pipe = tcp_pipe(c);
	bool frto = c->board && c->board->frto == 2; /* RFC 5682: new data, to see what comes back */
	if (c->recovery != TCP_REC_OPEN && !frto && !send_lost(c, &pipe))
		return false;
	return send_new(c, &pipe);
}

void tcp_output(struct tcp_conn *c)
{
	struct tcp_core *t = c->core;
	bool ok = true;

	if (!tcp_synchronized(c))
		return;
	/* A peer without SACK counts duplicate ACKs: each out-of-order segment gets its own,
	 * without data. */
	for (; c->dupacks_due && ok; c->dupacks_due--)
		ok = tcp_xmit(c, c->snd_nxt, 0, TH_ACK);
	ok = ok && send_data(c);
	if (ok && (c->flags & TF_ACK_NOW))
		ok = tcp_xmit(c, c->snd_nxt, 0, TH_ACK);
	if (!ok) {
		/* No packets: again in a moment. Either timer alone could be switched off by an ACK
		 * that another segment causes or brings. */
		if (!c->due[TCP_T_DELACK])
			tcp_arm(c, TCP_T_DELACK, t->now_us + RETRY_US);
		if (!c->due[TCP_T_RETX])
			tcp_arm(c, TCP_T_RETX, t->now_us + RETRY_US);
	}
	if (c->core->conf.user_timeout_us && c->snd_una != c->snd_max && !c->due[TCP_T_LINGER])
		tcp_arm(c, TCP_T_LINGER, t->now_us + t->conf.user_timeout_us);
}

void tcp_flush(struct tcp_core *t, uint64_t now_us)
{
	struct list work, *n;

	t->now_us = now_us;
	if (list_empty(&t->out))
		return;
	/* Those that ask again meanwhile wait for the next flush. */
	work = t->out;
	work.next->prev = &work;
	work.prev->next = &work;
	list_init(&t->out);
	while ((n = list_pop(&work)) != NULL)
		tcp_output(LIST_ENTRY(n, struct tcp_conn, out_node));
}
