/*
 * tcp_recover.c: what to do about losses: round trip time and RTO (RFC 6298), fast recovery with
 * proportional rate reduction (6937), NewReno for peers without SACK (6582), recovery after a timeout
 * with F-RTO (5682), and taking back what was done for nothing. Hot path.
 *
 * What is lost is found by tcp_rack.c, or here by duplicate ACKs; tcp_output.c sends it as far as cwnd
 * allows. Three states:
 *   OPEN  nothing known to be lost
 *   FAST  entered by the first loss that is found, left when snd_una reaches recover
 *   LOSS  entered by a timeout (or a smaller path MTU), left likewise
 * A reduction is undone when the ACK of the retransmitted data echoes a time before the retransmission
 * (the Eifel algorithm), when every retransmission is reported as a duplicate (D-SACK), or when F-RTO
 * sees what was never sent again arrive after a timeout.
 */
#include <string.h>
#include "tcp_int.h"
#include "hot.h"

#define RTTMIN_MS 300000 /* a minimum older than that gives way: paths change */

/* ---- round trip time ---- */

static void rtt_min(struct tcp_conn *c, uint32_t rtt_us)
{
	uint32_t now = now_ms32(c->core);

	if (c->rttmin_us && rtt_us > c->rttmin_us && now - c->rttmin_ms < RTTMIN_MS)
		return;
	c->rttmin_us = rtt_us;
	c->rttmin_ms = now;
}

void tcp_rtt_sample(struct tcp_conn *c, uint32_t rtt_us)
{
	const struct tcp_conf *conf = &c->core->conf;

	rtt_us = max32(rtt_us, 1);
	c->flags &= ~(uint32_t)TF_TLP_WAIT;
	rtt_min(c, rtt_us);
	if (!c->srtt_us) {
		c->srtt_us = rtt_us;
		c->rttvar_us = rtt_us / 2;
	} else {
		uint32_t off = rtt_us > c->srtt_us ? rtt_us - c->srtt_us : c->srtt_us - rtt_us;
		c->rttvar_us = (uint32_t)(((uint64_t)c->rttvar_us * 3 + off) / 4);
		c->srtt_us = (uint32_t)(((uint64_t)c->srtt_us * 7 + rtt_us) / 8);
	}
	/* RFC 6298 2.2-2.4; G is the wheel's tick. */
	uint64_t rto = c->srtt_us + (uint64_t)max32(1000, min32(c->rttvar_us, UINT32_MAX / 4) * 4);
	c->rto_us =
		rto > conf->rto_max_us ? conf->rto_max_us : max32((uint32_t)rto, conf->rto_min_us);
}

/* ---- undo ---- */

static uint32_t ts_now(const struct tcp_conn *c)
{
	return now_ms32(c->core) + c->ts_off;
}

static void undo_begin(struct tcp_conn *c)
{
	struct tcp_board *b = tcp_board_get(c);

	if (!b)
		return;
	b->undo = true;
	b->undo_cwnd = c->cwnd;
	b->undo_ssthresh = c->ssthresh;
	b->undo_una = c->snd_una;
	b->undo_ts = 0;
	b->undo_retx = 0;
	memcpy(b->undo_cc, c->cc, sizeof(b->undo_cc));
}

static void leave(struct tcp_conn *c)
{
	c->recovery = TCP_REC_OPEN;
	c->flags &= ~(uint32_t)(TF_RETX_HEAD | TF_TLP | TF_TLP_RETX);
	c->reno_sacked = 0;
	c->dupacks = 0;
	if (c->board)
		c->board->frto = 0;
	tcp_rack_recovered(c);
}

static void undo(struct tcp_conn *c)
{
	struct tcp_board *b = c->board;

	b->undo = false;
	c->cwnd = max32(c->cwnd, b->undo_cwnd);
	c->ssthresh = max32(c->ssthresh, b->undo_ssthresh);
	memcpy(c->cc, b->undo_cc, sizeof(b->undo_cc));
	if (c->recovery != TCP_REC_OPEN) {
		tcp_board_keep(c);
		c->recover = c->snd_una;
		leave(c);
	}
	stat_inc(c->core->stat, STAT_tcp_undo);
	tcp_want_output(c);
}

/* Does this ACK show that the last reduction was for nothing? */
static bool was_spurious(struct tcp_conn *c, const struct tcp_seg *s, uint32_t acked, bool dsack)
{
	struct tcp_board *b = c->board;

	if (!b || !b->undo || !b->undo_ts)
		return false;
	/* It acknowledges the first retransmission's bytes, but the peer had them before. */
	if (acked && (c->flags & TF_TS) && s->opt.tsecr && seq_gt(s->ack, b->undo_una) &&
	    seq_le(s->ack - acked, b->undo_una) && seq_lt(s->opt.tsecr, b->undo_ts)) {
		if (c->recovery == TCP_REC_FAST)
			c->flags |= TF_REORDER;
		return true;
	}
	if (dsack && seq_ge(s->opt.sack[0].start, b->undo_una)) {
		uint32_t len = s->opt.sack[0].end - s->opt.sack[0].start;
		uint32_t segs = (len + c->mss - 1) / c->mss;
		b->undo_retx -= min32(segs, b->undo_retx);
		return b->undo_retx == 0;
	}
	return false;
}

/* ---- entering ---- */

static void prr_begin(struct tcp_conn *c)
{
	struct tcp_board *b = c->board;

	if (!b)
		return;
	b->prr_flight = max32(c->snd_max - c->snd_una, c->mss);
	b->prr_delivered = b->prr_out = 0;
	b->cut_us = (uint32_t)c->core->now_us;
}

static void enter_fast(struct tcp_conn *c)
{
	struct tcp_core *t = c->core;

	if (!(c->flags & TF_SACK)) /* the head it is (RFC 6582 3.2 step 2) */
		tcp_board_lose(c, c->snd_una, seq_min(c->snd_una + c->mss, c->snd_max));
	undo_begin(c);
	c->recovery = TCP_REC_FAST;
	c->recover = c->snd_max;
	c->ssthresh = t->cc->loss(c, c->snd_max - c->snd_una, t->now_us);
	if (!c->board)
		c->cwnd = c->ssthresh;
	prr_begin(c);
	tcp_ecn_reduced(c);
	c->flags |= TF_RETX_HEAD;
	c->flags &= ~(uint32_t)(TF_TLP | TF_TLP_RETX);
	c->lost++;
	stat_inc(t->stat, STAT_tcp_fast_retransmit);
	tcp_arm_retx(c);
	tcp_want_output(c);
}

static void enter_resend(struct tcp_conn *c)
{
	c->recovery = TCP_REC_LOSS;
	c->flags &= ~(uint32_t)(TF_TLP | TF_TLP_RETX | TF_PTO);
	c->flags |= TF_RETX_HEAD;
	c->recover = c->snd_max;
	c->reno_sacked = 0;
	c->dupacks = 0;
	c->lost++;
	tcp_disarm(c, TCP_T_REORDER);
}

void tcp_enter_loss(struct tcp_conn *c)
{
	struct tcp_core *t = c->core;
	bool first = c->retries == 0, open = c->recovery == TCP_REC_OPEN;

	/* RFC 5681 3.1: ssthresh only at the first timeout of a segment; flight, not cwnd. */
	if (first) {
		undo_begin(c);
		c->ssthresh = t->cc->loss(c, c->snd_max - c->snd_una, t->now_us);
	}
	c->cwnd = c->mss;
	tcp_ecn_reduced(c);
	/* RFC 2018 section 8: the peer may have thrown away what it SACKed. What it says of the
	 * head is plainly so; the rest is believed until a second timeout. */
	if (c->board && (!first || (c->board->run[0].flags & RUN_SACKED)))
		tcp_board_forget(c);
	enter_resend(c);
	if (c->flags & TF_SACK)
		tcp_rack_timeout(c);
	else
		tcp_board_lose(c, c->snd_una, c->snd_max);
	if (c->board) /* RFC 5682 3.1: not from within a recovery */
		c->board->frto = (c->flags & TF_SACK) && first && open;
}

/* A smaller path MTU: what is in flight was too big. No sign of congestion (RFC 1191 6.3). */
void tcp_resend_all(struct tcp_conn *c)
{
	if (c->snd_una == c->snd_max)
		return;
	enter_resend(c);
	tcp_board_lose(c, c->snd_una, c->snd_max);
	if (c->board) {
		c->board->undo = false;
		c->board->frto = 0;
	}
	tcp_want_output(c);
}

/* ---- in recovery ---- */

void tcp_recovery_sent(struct tcp_conn *c, uint32_t len, bool again)
{
	struct tcp_board *b = c->board;

	if (!b)
		return;
	b->prr_out += len;
	if (!again || !b->undo)
		return;
	b->undo_retx += (len + c->mss - 1) / c->mss;
	if (!b->undo_ts)
		b->undo_ts = ts_now(c) ? ts_now(c) : 1;
}

/* RFC 6937 section 3: what this ACK lets out; cwnd says it to tcp_output.c. */
static void prr(struct tcp_conn *c, uint32_t delivered)
{
	struct tcp_board *b = c->board;
	uint32_t pipe = tcp_pipe(c), out;

	if (!b)
		return;
	b->prr_delivered += delivered;
	if (pipe > c->ssthresh) {
		uint64_t due = ((uint64_t)b->prr_delivered * c->ssthresh + b->prr_flight - 1) /
			       b->prr_flight;
		out = due > b->prr_out ? (uint32_t)due - b->prr_out : 0;
	} else { /* slow start reduction bound */
		uint32_t owed = b->prr_delivered > b->prr_out ? b->prr_delivered - b->prr_out : 0;
		out = min32(c->ssthresh - pipe, max32(owed, delivered) + c->mss);
	}
	if (c->flags & TF_RETX_HEAD) /* the first retransmission in any case */
		out = max32(out, c->mss);
	c->cwnd = max32(pipe + out, c->mss);
}

/* RFC 5681 4.3: what was sent again was lost again: one more reduction, once a round trip. */
static void lost_again(struct tcp_conn *c)
{
	struct tcp_core *t = c->core;

	if (!c->board || (uint32_t)t->now_us - c->board->cut_us <= c->srtt_us)
		return;
	c->ssthresh = t->cc->loss(c, c->ssthresh, t->now_us);
	c->board->undo = false;
	prr_begin(c);
	c->lost++;
}

/* RFC 5682 3.1 steps 2 and 3. True: the timeout was spurious. */
static bool frto(struct tcp_conn *c, uint32_t acked, const struct tcp_delivery *d, bool orig)
{
	struct tcp_board *b = c->board;

	if (b->frto == 1) {
		if (!acked)
			return false;
		bool more = c->snd_una + c->txq.len != c->snd_nxt && c->snd_nxt == c->snd_max &&
			    !(c->flags & TF_FIN_SENT);
		b->frto = more && seq_gt(c->snd_una + c->snd_wnd, c->snd_nxt) ? 2 : 0;
		if (b->frto)
			c->cwnd = tcp_pipe(c) + 2u * c->mss;
		return false;
	}
	if (orig && seq_le(b->fack, c->recover))
		return true;
	if (d->bytes || !acked) {
		c->cwnd = min32(c->cwnd, 3u * c->mss);
		b->frto = 0;
	}
	return false;
}

/* Fewer than recover was acknowledged, in FAST. */
static void partial(struct tcp_conn *c, uint32_t acked)
{
	uint32_t flight = c->snd_max - c->snd_una;

	if (c->flags & TF_SACK) {
		if (!c->board)
			c->flags |= TF_RETX_HEAD;
		return;
	}
	/* RFC 6582 3.2 step 3: the next one is lost too */
	tcp_board_lose(c, c->snd_una, seq_min(c->snd_una + c->mss, c->snd_max));
	c->flags |= TF_RETX_HEAD;
	uint32_t left = c->reno_sacked > acked ? c->reno_sacked - acked : 0;
	c->reno_sacked = min32(left, flight);
}

static void in_fast(struct tcp_conn *c, uint32_t acked, const struct tcp_delivery *d, bool again)
{
	if (seq_ge(c->snd_una, c->recover)) {
		/* RFC 6937: ssthresh it is; without SACK what is in flight is a guess, and a burst
		 * must not follow (6582 3.2 step 3). */
		uint32_t flight = c->snd_max - c->snd_una;
		c->cwnd = c->flags & TF_SACK
				  ? c->ssthresh
				  : min32(c->ssthresh, max32(flight, c->mss) + c->mss);
		leave(c);
		return;
	}
	if (acked)
		partial(c, acked);
	if (again)
		lost_again(c);
	prr(c, d->bytes);
}

static void in_loss(struct tcp_conn *c, uint32_t acked, const struct tcp_delivery *d)
{
	struct tcp_core *t = c->core;

	if (c->board && c->board->frto && frto(c, acked, d, d->orig)) {
		undo(c);
		return;
	}
	if (!acked || (c->board && c->board->frto == 2))
		return;
	t->cc->acked(c, acked, 0, t->now_us);
	if (seq_ge(c->snd_una, c->recover))
		leave(c);
	else if (!c->board)
		c->flags |= TF_RETX_HEAD;
}

/* Duplicates without SACK; true: they are enough. */
static bool reno_duplicate(struct tcp_conn *c, struct tcp_delivery *d)
{
	/* After a timeout all that was out counts as lost already: that it arrives makes no room, and what
	 * the timeout sent again starts no recovery (RFC 6582 section 4). */
	if (c->recovery == TCP_REC_LOSS)
		return false;
	c->reno_sacked = min32(c->reno_sacked + c->mss, c->snd_max - c->snd_una);
	d->bytes += c->mss;
	/* RFC 6582 3.2 step 2: not for what was sent again after a timeout */
	return c->recovery == TCP_REC_OPEN && c->dupacks >= TCP_DUP_THRESH &&
	       seq_gt(c->snd_una, c->recover);
}

void tcp_ack_news(struct tcp_conn *c, const struct tcp_seg *s, uint32_t acked, bool dup,
		  struct tcp_delivery *d)
{
	struct tcp_core *t = c->core;
	bool dsack = tcp_is_dsack(c, s), sack = (c->flags & TF_SACK) != 0, again;
	bool ece = (s->flags & TH_ECE) && (c->flags & TF_ECN);
	bool lost = false;

	if (d->rtt_us) {
		rtt_min(c, d->rtt_us);
		c->flags &= ~(uint32_t)TF_TLP_WAIT;
	}
	if (acked) {
		c->retries = 0;
		if (c->recovery == TCP_REC_OPEN) {
			c->dupacks = 0;
			c->reno_sacked = 0;
		}
	} else if ((sack ? d->sacked != 0 : dup) && c->dupacks < UINT8_MAX) {
		c->dupacks++;
	}
	if (!sack && dup && !acked)
		lost = reno_duplicate(c, d);
	if (d->bytes)
		tcp_want_output(c);
	tcp_rack_ack(c, dsack);
	if (was_spurious(c, s, acked, dsack))
		undo(c);
	lost = tcp_rack_detect(c, &again) || lost;
	switch ((enum tcp_recovery)c->recovery) {
	case TCP_REC_OPEN:
		if (acked || !tcp_seg_len(s))
			tcp_probe_answered(c, dsack, !acked && !s->opt.n_sack);
		if (!lost && acked && (c->flags & TF_CWND_FULL) && !ece) /* RFC 3168 6.1.2 */
			t->cc->acked(c, acked, d->rtt_us, t->now_us);
		break;
	case TCP_REC_FAST:
		in_fast(c, acked, d, again);
		break;
	case TCP_REC_LOSS:
		in_loss(c, acked, d);
		break;
	}
	if (c->recovery == TCP_REC_OPEN && (lost || (c->board && c->board->lost)) &&
	    c->snd_una != c->snd_max) {
		enter_fast(c);
		prr(c, d->bytes);
	}
	if (c->snd_una == c->snd_max)
		tcp_board_drop(c);
}

void tcp_reorder_over(struct tcp_conn *c)
{
	bool again;

	if (!tcp_rack_detect(c, &again))
		return;
	if (c->recovery == TCP_REC_OPEN)
		enter_fast(c);
	else if (again && c->recovery == TCP_REC_FAST)
		lost_again(c);
	if (c->recovery == TCP_REC_FAST)
		prr(c, 0);
	tcp_want_output(c);
}
