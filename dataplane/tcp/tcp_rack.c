/*
 * tcp_rack.c: RACK-TLP (RFC 8985): losses found by time, tail loss probes. For peers with SACK. Hot
 * path.
 *
 * What was sent before something that has arrived is lost when a round trip and the reordering window
 * have passed since. The window is 0 when nothing was ever seen out of order and DupThresh segments
 * have been SACKed or recovery is on: then this is RFC 6675's rule. State is in the scoreboard
 * (tcp_board), and what outlives a flight (TF_REORDER, reo_mult, reo_persist) in the connection.
 */
#include "tcp_int.h"
#include "hot.h"

#define PERSIST 16 /* recoveries that a widened window stays */

static bool sent_after(uint32_t t1, uint32_t seq1, uint32_t t2, uint32_t seq2)
{
	return seq_gt(t1, t2) || (t1 == t2 && seq_gt(seq1, seq2));
}

/* Steps 2 and 3 of 6.2 for one run. */
void tcp_rack_delivered(struct tcp_conn *c, const struct tcp_run *r, const struct tcp_delivery *d)
{
	struct tcp_core *t = c->core;
	struct tcp_board *b = c->board;
	uint32_t rtt = (uint32_t)t->now_us - r->sent_us;

	if (seq_gt(r->end, b->fack))
		b->fack = r->end;
	else if (seq_lt(r->end, b->fack) && !(r->flags & RUN_RETX))
		c->flags |= TF_REORDER;
	if (r->flags & RUN_RETX) {
		/* Was it the retransmission that arrived? */
		uint32_t sent_ts = (uint32_t)((t->now_us - rtt) / 1000) + c->ts_off;
		if ((c->flags & TF_TS) && d->tsecr && seq_lt(d->tsecr, sent_ts))
			return;
		if (rtt < c->rttmin_us)
			return;
	}
	if (r->flags & RUN_VAGUE)
		return;
	b->rack_rtt_us = rtt;
	if (!b->rack_valid || sent_after(r->sent_us, r->end, b->rack_sent_us, b->rack_end)) {
		b->rack_valid = true;
		b->rack_sent_us = r->sent_us;
		b->rack_end = r->end;
	}
}

/* Step 4, the part that each ACK has. */
void tcp_rack_ack(struct tcp_conn *c, bool dsack)
{
	struct tcp_board *b = dsack ? tcp_board_get(c) : c->board;

	if (!b)
		return;
	if (b->dsack_seen && seq_ge(c->snd_una, b->dsack_round))
		b->dsack_seen = false;
	if (dsack && !b->dsack_seen) {
		b->dsack_seen = true;
		b->dsack_round = c->snd_max;
		if (c->reo_mult < UINT8_MAX)
			c->reo_mult++;
		c->reo_persist = PERSIST;
	}
}

/* A recovery is over. */
void tcp_rack_recovered(struct tcp_conn *c)
{
	if (c->reo_persist && --c->reo_persist == 0)
		c->reo_mult = 0;
}

static uint32_t reorder_window(const struct tcp_conn *c)
{
	const struct tcp_board *b = c->board;

	if (!(c->flags & TF_REORDER) &&
	    (c->recovery != TCP_REC_OPEN || c->dupacks >= TCP_DUP_THRESH ||
	     b->sacked > (TCP_DUP_THRESH - 1u) * c->mss))
		return 0;
	uint64_t wnd = (uint64_t)(c->reo_mult + 1u) * c->rttmin_us / 4;
	return wnd < c->srtt_us ? (uint32_t)wnd : c->srtt_us;
}

/* Step 5 */
bool tcp_rack_detect(struct tcp_conn *c, bool *again)
{
	struct tcp_core *t = c->core;
	struct tcp_board *b = c->board;
	int32_t wait = 0;
	bool lost = false;

	*again = false;
	if (!b || !b->rack_valid || !(c->flags & TF_SACK))
		return false;
	uint32_t limit = b->rack_rtt_us + reorder_window(c);
	for (uint32_t i = 0; i < b->n; i++) {
		struct tcp_run *r = &b->run[i];
		if ((r->flags & (RUN_SACKED | RUN_LOST)) ||
		    !sent_after(b->rack_sent_us, b->rack_end, r->sent_us, r->end))
			continue;
		int32_t left = (int32_t)(r->sent_us + limit - (uint32_t)t->now_us);
		if (left <= 0) {
			*again = *again || (r->flags & RUN_RETX);
			tcp_board_lose_run(b, c->snd_una, i);
			lost = true;
		} else if (left > wait) {
			wait = left;
		}
	}
	if (wait)
		tcp_arm(c, TCP_T_REORDER, t->now_us + (uint32_t)wait);
	else
		tcp_disarm(c, TCP_T_REORDER);
	return lost;
}

/* 6.3 */
void tcp_rack_timeout(struct tcp_conn *c)
{
	struct tcp_board *b;
	uint32_t rtt;

	tcp_board_lose(c, c->snd_una, seq_min(c->snd_una + c->mss, c->snd_max));
	b = c->board;
	if (!b)
		return;
	rtt = b->rack_valid ? b->rack_rtt_us : c->srtt_us;
	for (uint32_t i = 0; i < b->n; i++)
		if (seq_le(b->run[i].sent_us + rtt + reorder_window(c), (uint32_t)c->core->now_us))
			tcp_board_lose_run(b, c->snd_una, i);
}

/* ---- tail loss probes (section 7) ---- */

/* The last segments of a burst have nothing behind them that would show their loss: after two round
 * trips without an answer one segment is sent to make the peer speak, long before a timeout. A
 * single segment may be waiting for a delayed ACK. */
uint32_t tcp_probe_wait(const struct tcp_conn *c)
{
	if (!(c->flags & TF_SACK) || (c->flags & (TF_TLP | TF_TLP_WAIT | TF_PERSIST)) ||
	    c->recovery != TCP_REC_OPEN || !c->srtt_us || c->retries || !tcp_synchronized(c) ||
	    c->snd_nxt != c->snd_max || (c->board && c->board->sacked))
		return 0;
	uint32_t wait = min32(c->srtt_us, UINT32_MAX / 4) * 2 + 2000;
	if (c->snd_max - c->snd_una <= c->mss)
		wait += c->core->conf.delack_us;
	return wait;
}

bool tcp_is_dsack(const struct tcp_conn *c, const struct tcp_seg *s)
{
	/* RFC 2883 section 4: the first block is below the ACK or inside the second. */
	if (!s->opt.n_sack || !(c->flags & TF_SACK))
		return false;
	const struct tcp_range *a = &s->opt.sack[0], *b = &s->opt.sack[1];
	return seq_le(a->end, s->ack) ||
	       (s->opt.n_sack > 1 && seq_ge(a->start, b->start) && seq_le(a->end, b->end));
}

/* 7.4.2: did the probe repair a loss? Then it counts as one. */
void tcp_probe_answered(struct tcp_conn *c, bool dsack, bool duplicate)
{
	struct tcp_core *t = c->core;

	if (!(c->flags & TF_TLP) || seq_lt(c->snd_una, c->tlp_end))
		return;
	if ((c->flags & TF_TLP_RETX) && !dsack && !duplicate) {
		if (c->snd_una == c->tlp_end)
			return; /* the next ACK will tell */
		c->ssthresh = t->cc->loss(c, c->snd_max - c->snd_una, t->now_us);
		c->cwnd = min32(c->cwnd, c->ssthresh);
		tcp_ecn_reduced(c);
		c->lost++;
	}
	c->flags &= ~(uint32_t)(TF_TLP | TF_TLP_RETX);
}
