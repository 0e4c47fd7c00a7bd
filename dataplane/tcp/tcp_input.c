/*
 * tcp_input.c: what comes in: segment processing in the order of RFC 9293 3.10.7, a heading for
 * each step (the fifth, the ACK field, is in tcp_ack.c), with the checks of RFC 7323 (PAWS), 5961
 * (blind attacks) and 5927 (ICMP) where they belong. Hot path.
 *
 * A function that may end the connection returns false then: the pointer is dead.
 * Segments are taken in groups: all are parsed and their buckets fetched before the first is
 * processed.
 */
#include <string.h>
#include "tcp_int.h"
#include "hot.h"

#define GROUP 32
#define QUICK_AFTER_GAP 8

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool parse(struct tcp_core *t, struct net_seg *ns, struct tcp_seg *s)
{
	const uint8_t *h = ns->l4;
	uint32_t off = ns->l4_len >= TCP_HDR ? (h[12] >> 4) * 4u : 0;

	if (off < TCP_HDR || off > ns->l4_len) {
		stat_inc(t->stat, STAT_tcp_bad_header);
		return false;
	}
	if (!ns->csum_ok) {
		stat_inc(t->stat, STAT_tcp_bad_csum);
		return false;
	}
	s->ns = ns;
	s->seq = get32(h + 4);
	s->ack = get32(h + 8);
	s->flags = h[13];
	s->wnd = get16(h + 14);
	s->data = ns->l4 + off;
	s->len = ns->l4_len - off;
	if (!tcp_opts_parse(h + TCP_HDR, off - TCP_HDR, (s->flags & TH_SYN) != 0, &s->opt)) {
		stat_inc(t->stat, STAT_tcp_bad_option);
		return false;
	}
	s->hash = tcp_hash(t, &ns->dst, &ns->src, get16(h + 2), get16(h));
	flow_prefetch(&t->flows, s->hash);
	return true;
}

static void ack_now(struct tcp_conn *c)
{
	c->flags |= TF_ACK_NOW;
	tcp_want_output(c);
}

/* ---- no connection ---- */

/* RFC 9293 3.10.7.4 for TIME-WAIT, RFC 1122 4.2.2.13, RFC 6191 */
static void time_wait_segment(struct tcp_core *t, struct tcp_tw *w, struct tcp_seg *s)
{
	if (s->flags & TH_RST)
		return; /* RFC 1337: no assassination */
	if ((s->flags & (TH_SYN | TH_ACK)) == TH_SYN) {
		bool newer_ts = w->ts_off && s->opt.has_ts && seq_gt(s->opt.tsval, w->ts_recent);
		if (newer_ts || seq_gt(s->seq, w->rcv_nxt)) {
			uint32_t isn_min = w->snd_nxt + 65536;
			stat_inc(t->stat, STAT_tcp_timewait_reused);
			tcp_tw_remove(t, w);
			(void)tcp_syn_arrives(t, s, isn_min ? isn_min : 1);
			return;
		}
		tcp_answer_time_wait(t, w);
		return;
	}
	/* Only what asks for an answer gets one: two peers in TIME-WAIT must not talk for ever. */
	if (tcp_seg_len(s) == 0)
		return;
	if (s->flags & TH_FIN)
		tcp_tw_restart(t, w);
	tcp_answer_time_wait(t, w);
}

/* The ACK of a cookie, or what comes behind one that was lost. Null: to be gone on with is nothing. *reset: a
 * reset is due. */
static struct tcp_conn *cookie_segment(struct tcp_core *t, struct tcp_seg *s, bool *reset)
{
	struct tcp_agreed a;

	if (!tcp_listener_find(t, &s->ns->dst, get16(s->ns->l4 + 2)))
		return NULL;
	if (!tcp_cookie_check(t, s, &a)) {
		/* Later data may overtake the first, which alone can prove the cookie: no reset. */
		stat_inc(t->stat, STAT_tcp_cookie_bad);
		*reset = s->len == 0;
		return NULL;
	}
	*reset = false;
	struct tcp_conn *c = tcp_open_passive(t, s, &a);
	if (c)
		stat_inc(t->stat, STAT_tcp_cookie_good);
	return c;
}

/* RFC 9293 3.10.7.1 and 3.10.7.2. A handshake that s completes gives a connection to go on with. */
static struct tcp_conn *no_connection(struct tcp_core *t, struct tcp_seg *s)
{
	const uint8_t *h = s->ns->l4;
	struct tcp_syn *r = t->n_half_open ? tcp_syn_find(t, s) : NULL;

	if (r)
		return tcp_syn_segment(t, r, s);
	struct tcp_tw *w =
		tcp_tw_find(t, s->hash, &s->ns->dst, &s->ns->src, get16(h + 2), get16(h));
	if (w) {
		time_wait_segment(t, w, s);
		return NULL;
	}
	/* first: a RST is ignored; second: an ACK has no business here; third: SYN */
	if (s->flags & TH_RST)
		return NULL;
	if ((s->flags & (TH_SYN | TH_ACK)) == TH_SYN) {
		(void)tcp_syn_arrives(t, s, 0);
		return NULL;
	}
	bool reset = true;
	if ((s->flags & (TH_SYN | TH_ACK)) == TH_ACK && tcp_cookie_live(t)) {
		struct tcp_conn *c = cookie_segment(t, s, &reset);
		if (c)
			return c;
	}
	if (reset) {
		stat_inc(t->stat, STAT_tcp_no_listener);
		tcp_answer_reset(t, s);
	}
	return NULL;
}

/* ---- payload ---- */

static void ack_in_order(struct tcp_conn *c, uint32_t len)
{
	struct tcp_core *t = c->core;

	if (len > c->rcv_mss)
		c->rcv_mss = min32(len, c->syn_mss);
	c->delack_segs++;
	/* RFC 9293 3.8.6.3, RFC 5681 4.2: at least every second full segment; at the start every
	 * one. */
	if (c->quickack) {
		c->quickack--;
		ack_now(c);
	} else if (c->rcv_nxt - c->rcv_acked >= 2 * c->rcv_mss || c->delack_segs >= 8) {
		ack_now(c);
	} else if (!c->due[TCP_T_DELACK]) {
		tcp_arm(c, TCP_T_DELACK, t->now_us + t->conf.delack_us);
	}
}

/* Seventh: segment text. The segment was trimmed to the window. */
static void segment_text(struct tcp_conn *c, struct tcp_seg *s)
{
	if (s->len == 0)
		return;
	struct pkt *pkt = s->ns->pkt;
	s->ns->pkt = NULL;
	if (s->seq == c->rcv_nxt) {
		bool had_holes = c->reasm != NULL;
		if (!tcp_receive(c, pkt, s->data, s->len))
			return;
		tcp_count_wrap(&c->in_wraps, c->rcv_nxt, c->irs, s->len);
		c->rcv_nxt += s->len;
		tcp_reasm_pull(c);
		if (had_holes) {
			ack_now(c); /* RFC 5681 4.2: it fills (part of) a gap */
			/* The peer's window is small now: it needs every ACK to grow. */
			c->quickack = (uint8_t)max32(c->quickack, QUICK_AFTER_GAP);
		} else {
			ack_in_order(c, s->len);
		}
		return;
	}
	c->reordered = (uint16_t)(c->reordered + (c->reordered < UINT16_MAX));
	tcp_reasm_add(c, pkt, s->seq, s->data, s->len);
	if (c->dupacks_due < UINT8_MAX && !(c->flags & TF_SACK))
		c->dupacks_due++;
	ack_now(c);
}

/* Eighth: FIN. False: the connection is gone. */
static bool segment_fin(struct tcp_conn *c)
{
	if (!(c->flags & TF_PEER_FIN) || c->rcv_nxt != c->peer_fin)
		return true;
	switch ((enum tcp_state)c->state) {
	case TCP_ESTABLISHED:
		tcp_enter(c, TCP_CLOSE_WAIT);
		break;
	case TCP_FIN_WAIT_1:
		tcp_enter(c, TCP_CLOSING);
		break;
	case TCP_FIN_WAIT_2:
		break;
	default:
		return true;
	}
	c->rcv_nxt++;
	tcp_reasm_drop(c);
	if (!(c->flags & TF_NOREAD))
		tcp_event(c, TCP_EV_FIN);
	ack_now(c);
	if (c->state == TCP_FIN_WAIT_2) {
		tcp_time_wait(c);
		return false;
	}
	return true;
}

/* ---- SYN-SENT ---- */

static void established(struct tcp_conn *c)
{
	struct tcp_core *t = c->core;
	bool timed = (c->flags & TF_TIMING) != 0;

	tcp_enter(c, TCP_ESTABLISHED);
	c->flags &= ~(uint32_t)TF_TIMING;
	c->rto_us = t->conf.rto_init_us;
	if (timed) {
		tcp_rtt_sample(c, (uint32_t)t->now_us - c->rtt_at);
	} else if (c->retries) {
		c->rto_us = max32(c->rto_us, 3000000); /* RFC 6298 5.7 */
		if (c->retries > 1)
			c->cwnd = c->mss; /* RFC 6928 section 2: more than one SYN was lost */
	}
	c->retries = 0;
	tcp_disarm(c, TCP_T_RETX);
	if (t->conf.keepalive_us)
		tcp_arm(c, TCP_T_KEEP, t->now_us + t->conf.keepalive_us);
	net_confirm(t->net, &c->dst, t->now_us);
	if (c->flags & TF_ACTIVE) {
		stat_inc(t->stat, STAT_tcp_connected);
		tcp_event(c, TCP_EV_CONNECTED);
	} else {
		stat_inc(t->stat, STAT_tcp_accepted);
		c->flags |= TF_USER;
		tcp_event(c, TCP_EV_ACCEPTED);
	}
	if (c->txq.len || (c->flags & TF_FIN_WANTED))
		tcp_want_output(c);
}

/* What came with or behind the SYN: text, FIN. */
static void after_syn(struct tcp_conn *c, struct tcp_seg *s)
{
	s->seq++;
	s->flags &= (uint8_t)~TH_SYN;
	uint32_t wnd = min32(c->core->conf.rcv_buf, UINT16_MAX);
	if (s->len > wnd) {
		s->len = wnd;
		s->flags &= (uint8_t)~TH_FIN;
	}
	if (s->flags & TH_FIN) {
		c->flags |= TF_PEER_FIN;
		c->peer_fin = s->seq + s->len;
	}
	segment_text(c, s);
	segment_fin(c);
}

/* RFC 9293 3.10.7.3 */
static void syn_sent(struct tcp_conn *c, struct tcp_seg *s)
{
	struct tcp_core *t = c->core;
	bool ack = (s->flags & TH_ACK) != 0;

	/* First: the ACK */
	if (ack && s->ack != c->iss + 1) { /* only the SYN was sent */
		stat_inc(t->stat, STAT_tcp_bad_ack);
		tcp_answer_reset(t, s);
		return;
	}
	/* Second: RST, believed with a good ACK only (RFC 5961 3.2) */
	if (s->flags & TH_RST) {
		if (ack) {
			stat_inc(t->stat, STAT_tcp_reset_in);
			stat_inc(t->stat, STAT_tcp_open_failed);
			tcp_finish(c, ERR_REFUSED);
		}
		return;
	}
	/* Third: security; none. Fourth: SYN. Fifth: neither SYN nor RST: drop. */
	if (!(s->flags & TH_SYN)) {
		stat_inc(t->stat, STAT_tcp_bad_flags);
		return;
	}
	c->irs = s->seq;
	c->rcv_nxt = c->rcv_acked = s->seq + 1;
	c->rcv_adv = c->rcv_nxt + min32(t->conf.rcv_buf, UINT16_MAX);
	tcp_syn_options(c, s);
	c->snd_wnd = c->snd_wnd_max = s->wnd; /* RFC 7323 2.2: not scaled in a SYN */
	c->snd_wl1 = s->seq;
	c->snd_wl2 = ack ? s->ack : c->iss;
	if (ack) {
		c->snd_una = s->ack;
		established(c);
		ack_now(c);
		after_syn(c, s);
		return;
	}
	/* Simultaneous open: what else the SYN carries comes again. */
	tcp_enter(c, TCP_SYN_RECEIVED);
	tcp_send_syn(c);
	tcp_arm_retx(c);
}

/* ---- all other states ---- */

/* RFC 7323 5.3 R1; false: drop. */
static bool paws(struct tcp_conn *c, const struct tcp_seg *s)
{
	struct tcp_core *t = c->core;

	if (s->flags & TH_RST)
		return true;
	if (!s->opt.has_ts) {
		if (s->flags & TH_SYN)
			return true;			  /* falls to the SYN rules */
		stat_inc(t->stat, STAT_tcp_no_timestamp); /* 3.2 */
		return false;
	}
	if (!seq_lt(s->opt.tsval, c->ts_recent))
		return true;
	if (now_ms32(t) - c->ts_recent_ms > TCP_PAWS_IDLE)
		return true; /* 5.5: too old to compare with */
	stat_inc(t->stat, STAT_tcp_paws);
	if (tcp_seg_len(s))
		ack_now(c);
	else
		tcp_challenge(c);
	return false;
}

/* First: the sequence number (3.10.7.4 and table 6). False: not acceptable, answered. */
static bool sequence_ok(struct tcp_conn *c, struct tcp_seg *s)
{
	uint32_t wnd = seq_gt(c->rcv_adv, c->rcv_nxt) ? c->rcv_adv - c->rcv_nxt : 0;
	uint32_t len = tcp_seg_len(s);
	uint32_t into = s->seq - c->rcv_nxt; /* how far into the window it begins */

	if (len == 0) {
		/* A bare ACK at the right edge is good: its sender has filled our window. */
		if (into <= wnd)
			return true;
	} else if (wnd == 0) {
		/* A window probe: its ACK counts, its data does not fit. */
		if (into == 0) {
			s->len = 0;
			s->flags &= (uint8_t)~TH_FIN;
			ack_now(c);
			return true;
		}
	} else if (into < wnd || s->seq + len - 1 - c->rcv_nxt < wnd) {
		return true;
	}
	if (s->flags & TH_RST)
		return false;
	if (len && seq_le(s->seq + len, c->rcv_nxt)) {
		stat_inc(c->core->stat, STAT_tcp_dup);
		tcp_tell_duplicate(c, s->seq, s->seq + s->len);
	} else {
		stat_inc(c->core->stat, STAT_tcp_bad_seq);
	}
	if (s->len || (s->flags & TH_FIN))
		ack_now(c);
	else
		tcp_challenge(c);
	return false;
}

/* Cuts what lies outside the window. */
static void trim(struct tcp_conn *c, struct tcp_seg *s)
{
	if (seq_lt(s->seq, c->rcv_nxt)) {
		uint32_t cut = c->rcv_nxt - s->seq;
		if (s->flags & TH_SYN) {
			s->flags &= (uint8_t)~TH_SYN;
			s->seq++;
			cut--;
		}
		cut = min32(cut, s->len);
		tcp_tell_duplicate(c, s->seq, s->seq + cut);
		s->data += cut;
		s->len -= cut;
		s->seq += cut;
	}
	uint32_t room = seq_gt(c->rcv_adv, s->seq) ? c->rcv_adv - s->seq : 0;
	if (s->len > room) {
		s->len = room;
		s->flags &= (uint8_t)~TH_FIN;
	}
}

static void segment_reset(struct tcp_conn *c, const struct tcp_seg *s)
{
	struct tcp_core *t = c->core;

	/* RFC 5961 3.2: only the exact number ends the connection. */
	if (s->seq != c->rcv_nxt) {
		tcp_challenge(c);
		return;
	}
	stat_inc(t->stat, STAT_tcp_reset_in);
	if (c->state == TCP_SYN_RECEIVED && (c->flags & TF_ACTIVE))
		stat_inc(t->stat, STAT_tcp_open_failed);
	/* RFC 9293: CLOSING and LAST-ACK have had all they wanted. */
	if (c->state == TCP_CLOSING || c->state == TCP_LAST_ACK)
		tcp_finish(c, c->txq.len ? ERR_RESET : ERR_OK);
	else
		tcp_finish(c, c->state == TCP_SYN_RECEIVED ? ERR_REFUSED : ERR_RESET);
}

static void synchronized(struct tcp_conn *c, struct tcp_seg *s)
{
	struct tcp_core *t = c->core;

	c->heard_ms = now_ms32(t);
	c->keep_probes = 0;

	/* The peer did not get our SYN-ACK, or this is the other half of a simultaneous open. */
	if (c->state == TCP_SYN_RECEIVED && (s->flags & TH_SYN) && s->seq == c->irs &&
	    !(s->flags & TH_RST)) {
		tcp_ecn_syn(c, s);
		if (!(s->flags & TH_ACK)) {
			tcp_send_syn(c);
			return;
		}
		s->flags &= (uint8_t)~TH_SYN;
		s->seq++;
		ack_now(c);
	}

	/* First: timestamps, sequence number */
	if ((c->flags & TF_TS) && !paws(c, s))
		return;
	if (!sequence_ok(c, s))
		return;
	/* RFC 7323 4.3: the timestamp of the segment that spans Last.ACK.sent is echoed; after a long silence
	 * also an older one (5.5). */
	if ((c->flags & TF_TS) && s->opt.has_ts && seq_le(s->seq, c->rcv_acked) &&
	    (seq_ge(s->opt.tsval, c->ts_recent) || now_ms32(t) - c->ts_recent_ms > TCP_PAWS_IDLE)) {
		c->ts_recent = s->opt.tsval;
		c->ts_recent_ms = now_ms32(t);
	}

	/* Second: RST */
	if (s->flags & TH_RST) {
		segment_reset(c, s);
		return;
	}

	/* Third: security; none. Fourth: SYN, never believed here (RFC 5961 4.2). */
	if (s->flags & TH_SYN) {
		stat_inc(t->stat, STAT_tcp_bad_flags);
		tcp_challenge(c);
		return;
	}

	/* Fifth: ACK */
	if (!(s->flags & TH_ACK)) {
		stat_inc(t->stat, STAT_tcp_bad_flags);
		return;
	}
	if (c->state == TCP_SYN_RECEIVED) {
		if (s->ack != c->iss + 1) {
			stat_inc(t->stat, STAT_tcp_bad_ack);
			tcp_answer_reset(t, s);
			return;
		}
		c->snd_una = s->ack;
		c->snd_wnd = s->wnd << c->snd_wscale;
		c->snd_wnd_max = max32(c->snd_wnd_max, c->snd_wnd);
		c->snd_wl1 = s->seq;
		c->snd_wl2 = s->ack;
		established(c);
	} else if (!tcp_segment_ack(c, s)) {
		return;
	}

	/* Sixth: URG; urgent data is ordinary data here (RFC 6093). Seventh: text */
	if (s->len == 0 && !(s->flags & TH_FIN))
		return;
	if (!(1u << c->state &
	      (1u << TCP_ESTABLISHED | 1u << TCP_FIN_WAIT_1 | 1u << TCP_FIN_WAIT_2))) {
		ack_now(c); /* the peer's FIN came before; this is old */
		return;
	}
	if (s->len)
		tcp_ecn_data(c, s);
	trim(c, s);
	if (s->len && (c->flags & TF_NOREAD) && c->state == TCP_FIN_WAIT_2) {
		/* RFC 1122 4.2.2.13: nobody will read it, and all of ours has arrived: the peer
		 * must know. */
		stat_add(t->stat, STAT_tcp_discarded, s->len);
		tcp_send_reset(c);
		tcp_finish(c, ERR_OK);
		return;
	}
	if ((s->flags & TH_FIN) && !(c->flags & TF_PEER_FIN)) {
		c->flags |= TF_PEER_FIN;
		c->peer_fin = s->seq + s->len;
		if (c->peer_fin != c->rcv_nxt)
			ack_now(c);
	}
	if ((c->flags & TF_PEER_FIN) && seq_gt(s->seq + s->len, c->peer_fin))
		s->len = seq_lt(s->seq, c->peer_fin) ? c->peer_fin - s->seq
						     : 0; /* nothing comes behind a FIN */
	segment_text(c, s);

	/* Eighth: FIN */
	if (segment_fin(c) && s->len == 0)
		ack_now(c);
}

/* ---- ICMP ---- */

/* RFC 5927 section 4: believed when it quotes a sequence number in flight; hard errors end a
 * connection only while it opens (section 5), too-big lowers the MSS (RFC 1191, 8201). */
static void icmp_error(struct tcp_core *t, const struct net_seg *ns)
{
	const uint8_t *h = ns->l4;

	if (ns->l4_len < 8) {
		stat_inc(t->stat, STAT_tcp_icmp_ignored);
		return;
	}
	uint16_t lport = get16(h), rport = get16(h + 2);
	uint32_t seq = get32(h + 4);
	uint32_t hash = tcp_hash(t, &ns->src, &ns->dst, lport, rport);
	struct tcp_conn *c = tcp_find(t, hash, &ns->src, &ns->dst, lport, rport);

	if (!c || seq_lt(seq, c->snd_una) || seq_ge(seq, c->snd_max)) {
		stat_inc(t->stat, STAT_tcp_icmp_ignored);
		return;
	}
	stat_inc(t->stat, STAT_tcp_icmp);
	if (ns->icmp == 3) {
		uint16_t floor = ip_is4(&c->dst.dst) ? 552 : 1280;
		uint16_t mtu = ns->mtu > floor ? ns->mtu : floor;
		if (mtu >= c->dst.mtu)
			return;
		c->dst.mtu = mtu;
		if (!tcp_synchronized(c))
			return; /* tcp_syn_options sets the MSS */
		uint16_t old = c->mss;
		tcp_set_mss(c);
		if (c->mss < old)
			tcp_resend_all(c);
		return;
	}
	if (c->state == TCP_SYN_SENT && ns->icmp == 2) {
		stat_inc(t->stat, STAT_tcp_open_failed);
		tcp_finish(c, ERR_REFUSED);
		return;
	}
	c->flags |= TF_UNREACH;
}

/* ---- the batch ---- */

static void segment_arrives(struct tcp_core *t, struct tcp_seg *s)
{
	const uint8_t *h = s->ns->l4;
	struct tcp_conn *c = tcp_find(t, s->hash, &s->ns->dst, &s->ns->src, get16(h + 2), get16(h));

	if (!c && (c = no_connection(t, s)) == NULL)
		return;
	trace_put(t->trace, t->now_us, TRACE_tcp_rx, pool_index(&t->conns, c) + 1, s->flags,
		  s->len);
	if (c->state == TCP_SYN_SENT)
		syn_sent(c, s);
	else
		synchronized(c, s);
}

void tcp_input(struct tcp_core *t, struct net_seg *segs, unsigned n, uint64_t now_us)
{
	struct tcp_seg group[GROUP];

	t->now_us = now_us;
	for (unsigned i = 0; i < n; i += GROUP) {
		unsigned m = min32(n - i, GROUP), good = 0;
		for (unsigned k = 0; k < m; k++) {
			struct net_seg *ns = &segs[i + k];
			if (ns->kind == NET_SEG_ICMP_ERROR)
				icmp_error(t, ns);
			else if (parse(t, ns, &group[good]))
				good++;
		}
		stat_add(t->stat, STAT_tcp_rx_segments, good);
		for (unsigned k = 0; k < good; k++)
			segment_arrives(t, &group[k]);
		for (unsigned k = 0; k < m; k++)
			if (segs[i + k].pkt)
				pkt_free(segs[i + k].pkt);
	}
}
