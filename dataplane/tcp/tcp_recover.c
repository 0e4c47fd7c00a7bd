/*
 * tcp_recover.c: what was lost: round trip time and RTO (RFC 6298), the SACK scoreboard (2018,
 * 6675), fast recovery (6675; 6582 without SACK), and recovery after a timeout. Hot path.
 *
 * Decides what to retransmit; tcp_output.c sends it as far as cwnd allows. Three states:
 *   OPEN  nothing known to be lost
 *   FAST  entered by duplicate ACKs or SACK, left when snd_una reaches recover
 *   LOSS  entered by a timeout (or a smaller path MTU): all below recover that is not SACKed is
 * sent again Invariants: ranges of a board are disjoint, ascending, above snd_una and not beyond
 * snd_max; high_rxt is the first sequence number that this recovery has not sent again.
 */
#include "tcp_int.h"
#include "hot.h"

/* ---- round trip time ---- */

void tcp_rtt_sample(struct tcp_conn *c, uint32_t rtt_us)
{
	const struct tcp_conf *conf = &c->core->conf;

	rtt_us = max32(rtt_us, 1);
	if (!c->rttmin_us || rtt_us < c->rttmin_us)
		c->rttmin_us = rtt_us;
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

/* ---- scoreboard ---- */

void tcp_board_drop(struct tcp_conn *c)
{
	if (c->board)
		pool_give(&c->core->boards, c->board);
	c->board = NULL;
}

static void board_remove(struct tcp_board *b, uint32_t i)
{
	b->bytes -= b->r[i].end - b->r[i].start;
	b->n--;
	for (; i < b->n; i++)
		b->r[i] = b->r[i + 1];
}

/* Adds [start, end), returns how many bytes of it were not there. */
static uint32_t board_add(struct tcp_board *b, uint32_t start, uint32_t end)
{
	uint32_t before = b->bytes;
	uint32_t i = 0;

	while (i < b->n && seq_lt(b->r[i].end, start))
		i++;
	/* Those it touches become part of it. */
	while (i < b->n && seq_le(b->r[i].start, end)) {
		start = seq_min(start, b->r[i].start);
		end = seq_max(end, b->r[i].end);
		board_remove(b, i);
	}
	if (b->n == TCP_SACK_MAX) {
		/* Full: forget the highest; forgetting is always allowed, it costs a
		 * retransmission. */
		if (i == b->n)
			return 0;
		board_remove(b, b->n - 1);
	}
	for (uint32_t k = b->n; k > i; k--)
		b->r[k] = b->r[k - 1];
	b->r[i] = (struct tcp_range){start, end};
	b->n++;
	b->bytes += end - start;
	return b->bytes > before ? b->bytes - before : 0;
}

uint32_t tcp_board_update(struct tcp_conn *c, const struct tcp_seg *s)
{
	uint32_t fresh = 0;

	if (!(c->flags & TF_SACK))
		return 0;
	for (unsigned i = 0; i < s->opt.n_sack; i++) {
		uint32_t start = s->opt.sack[i].start, end = s->opt.sack[i].end;
		/* Below snd_una: a D-SACK (RFC 2883), or old. */
		if (seq_ge(start, end) || seq_le(start, c->snd_una) || seq_gt(end, c->snd_max))
			continue;
		if (!c->board) {
			c->board = pool_take(&c->core->boards);
			if (!c->board)
				return fresh;
			c->board->n = c->board->bytes = 0;
		}
		fresh += board_add(c->board, start, end);
	}
	return fresh;
}

/* snd_una has moved. */
void tcp_board_advance(struct tcp_conn *c)
{
	struct tcp_board *b = c->board;

	if (!b)
		return;
	while (b->n && seq_le(b->r[0].end, c->snd_una))
		board_remove(b, 0);
	if (b->n && seq_lt(b->r[0].start, c->snd_una)) {
		b->bytes -= c->snd_una - b->r[0].start;
		b->r[0].start = c->snd_una;
	}
	if (!b->n)
		tcp_board_drop(c);
}

/* RFC 6675 IsLost, for a hole with n ranges of bytes in all above it. */
static bool is_lost(const struct tcp_conn *c, uint32_t n, uint32_t bytes)
{
	return n >= TCP_DUP_THRESH || bytes > (TCP_DUP_THRESH - 1u) * c->mss;
}

/* One hole's share of the pipe. */
static uint32_t hole_pipe(const struct tcp_conn *c, uint32_t from, uint32_t to, bool lost)
{
	uint32_t pipe = 0;

	if (c->flags & TF_LOST_ALL) {
		uint32_t alive = seq_max(from, c->recover);
		if (seq_lt(alive, to))
			pipe += to - alive;
	} else if (!lost) {
		pipe += to - from;
	}
	if (c->recovery != TCP_REC_OPEN) {
		uint32_t sent = seq_min(to, c->high_rxt);
		if (seq_lt(from, sent))
			pipe += sent - from;
	}
	return pipe;
}

/* RFC 6675 SetPipe. Without SACK each duplicate ACK stands for one segment that has left (RFC
 * 6582's inflated window, written the other way round). */
uint32_t tcp_pipe(const struct tcp_conn *c)
{
	const struct tcp_board *b = c->board;
	uint32_t flight = c->snd_nxt - c->snd_una;

	if (!b && !(c->flags & TF_LOST_ALL))
		return flight - min32(flight, c->reno_sacked);
	uint32_t pipe = 0, from = c->snd_una, above = b ? b->bytes : 0, n = b ? b->n : 0;
	for (uint32_t i = 0; i < n; i++) {
		pipe += hole_pipe(c, from, b->r[i].start, is_lost(c, n - i, above));
		above -= b->r[i].end - b->r[i].start;
		from = b->r[i].end;
	}
	if (seq_lt(from, c->snd_nxt))
		pipe += hole_pipe(c, from, c->snd_nxt, false);
	return pipe;
}

/* RFC 6675 NextSeg, rules 1 and 3: first what is lost; when nothing is and nothing new may go, any
 * hole. */
bool tcp_next_lost(const struct tcp_conn *c, uint32_t max, bool any, struct tcp_range *out)
{
	const struct tcp_board *b = c->board;
	uint32_t n = b ? b->n : 0, above = b ? b->bytes : 0;
	uint32_t from = seq_max(c->high_rxt, c->snd_una);

	if (c->recovery == TCP_REC_OPEN)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		if (!(c->flags & TF_LOST_ALL) && !any && !is_lost(c, n - i, above))
			return false;
		if (seq_lt(from, b->r[i].start)) {
			*out = (struct tcp_range){from, seq_min(b->r[i].start, from + max)};
			return true;
		}
		from = seq_max(from, b->r[i].end);
		above -= b->r[i].end - b->r[i].start;
	}
	if ((c->flags & TF_LOST_ALL) && seq_lt(from, c->recover)) {
		*out = (struct tcp_range){from, seq_min(c->recover, from + max)};
		return true;
	}
	return false;
}

/* ---- tail loss probes (RFC 8985 section 7) ---- */

/* The last segments of a burst have nothing behind them that would show their loss: after two round
 * trips without an answer one segment is sent to make the peer speak, long before a timeout. A
 * single segment may be waiting for a delayed ACK. */
uint32_t tcp_probe_wait(const struct tcp_conn *c)
{
	if (!(c->flags & TF_SACK) || (c->flags & (TF_TLP | TF_PERSIST)) ||
	    c->recovery != TCP_REC_OPEN || !c->srtt_us || c->retries || !tcp_synchronized(c) ||
	    c->snd_nxt != c->snd_max)
		return 0;
	uint32_t wait = min32(c->srtt_us, UINT32_MAX / 4) * 2 + 2000;
	if (c->snd_max - c->snd_una <= c->mss)
		wait += c->core->conf.delack_us;
	return wait;
}

bool tcp_is_dsack(const struct tcp_conn *c, const struct tcp_seg *s)
{
	/* RFC 2883 section 4: the first block is below the ACK or inside the second. */
	if (!s->opt.n_sack)
		return false;
	const struct tcp_range *a = &s->opt.sack[0], *b = &s->opt.sack[1];
	return seq_le(a->end, s->ack) ||
	       (s->opt.n_sack > 1 && seq_ge(a->start, b->start) && seq_le(a->end, b->end));
}

/* RFC 8985 7.4.2: did the probe repair a loss? Then it counts as one. */
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

/* ---- the states ---- */

static void leave(struct tcp_conn *c)
{
	c->recovery = TCP_REC_OPEN;
	c->flags &= ~(uint32_t)(TF_LOST_ALL | TF_RETX_HEAD | TF_TLP | TF_TLP_RETX);
	c->reno_sacked = 0;
	c->dupacks = 0;
}

static void enter_fast(struct tcp_conn *c)
{
	struct tcp_core *t = c->core;

	c->recovery = TCP_REC_FAST;
	c->recover = c->snd_max;
	c->high_rxt = c->snd_una;
	c->ssthresh = t->cc->loss(c, c->snd_max - c->snd_una, t->now_us);
	c->cwnd = c->ssthresh;
	tcp_ecn_reduced(c);
	c->flags |= TF_RETX_HEAD;
	if (c->flags & TF_TLP) {
		/* The probe arrived, long after everything before it was sent: what is missing
		 * there is lost. */
		if (c->board && c->board->r[c->board->n - 1].end == c->tlp_end) {
			c->recover = c->tlp_end;
			c->flags |= TF_LOST_ALL;
		}
		c->flags &= ~(uint32_t)(TF_TLP | TF_TLP_RETX);
	}
	c->lost++;
	stat_inc(t->stat, STAT_tcp_fast_retransmit);
	tcp_arm_retx(c);
	tcp_want_output(c);
}

static void enter_lost_all(struct tcp_conn *c)
{
	c->recovery = TCP_REC_LOSS;
	c->flags &= ~(uint32_t)(TF_TLP | TF_TLP_RETX | TF_PTO);
	c->flags |= TF_LOST_ALL | TF_RETX_HEAD;
	c->recover = c->snd_max;
	c->high_rxt = c->snd_una;
	c->reno_sacked = 0;
	c->dupacks = 0;
	c->lost++;
}

void tcp_enter_loss(struct tcp_conn *c)
{
	struct tcp_core *t = c->core;

	/* RFC 5681 3.1: ssthresh only at the first timeout of a segment; flight, not cwnd. */
	if (c->retries == 0)
		c->ssthresh = t->cc->loss(c, c->snd_max - c->snd_una, t->now_us);
	c->cwnd = c->mss;
	tcp_ecn_reduced(c);
	/* RFC 2018 section 8: the peer may have thrown away what it SACKed. What it says of the
	 * head is plainly so; the rest is believed until a second timeout. */
	if (c->board && (c->retries > 0 || c->board->r[0].start == c->snd_una))
		tcp_board_drop(c);
	enter_lost_all(c);
}

/* A smaller path MTU: what is in flight was too big. No sign of congestion (RFC 1191 6.3). */
void tcp_resend_all(struct tcp_conn *c)
{
	if (c->snd_una == c->snd_max)
		return;
	enter_lost_all(c);
	tcp_want_output(c);
}

/* RFC 6675 leaves the loss of a retransmission to the timer. Here: something arrived more than a
 * round trip after the last one was sent, and the head is still missing, so all that were sent
 * again are lost again. */
static void check_retransmissions(struct tcp_conn *c)
{
	struct tcp_core *t = c->core;
	uint32_t limit = c->srtt_us + max32(c->rttvar_us * 4, c->srtt_us / 4) + 1000;

	if (!(c->flags & TF_SACK) || (c->flags & TF_RETX_HEAD) || !c->srtt_us ||
	    !seq_gt(c->high_rxt, c->snd_una) || (uint32_t)t->now_us - c->rxt_at <= limit)
		return;
	if (c->recovery == TCP_REC_FAST) {
		/* RFC 5681 4.3: once more a sign of congestion */
		c->ssthresh = t->cc->loss(c, c->cwnd, t->now_us);
		c->cwnd = min32(c->cwnd, c->ssthresh);
	}
	c->high_rxt = c->snd_una;
	c->flags |= TF_RETX_HEAD;
	c->lost++;
	tcp_want_output(c);
}

void tcp_ack_advanced(struct tcp_conn *c, uint32_t acked, bool dsack, bool ece)
{
	struct tcp_core *t = c->core;
	uint32_t flight = c->snd_max - c->snd_una;

	c->retries = 0;
	c->high_rxt = seq_max(c->high_rxt, c->snd_una);
	switch ((enum tcp_recovery)c->recovery) {
	case TCP_REC_OPEN:
		c->dupacks = 0;
		c->reno_sacked = 0;
		tcp_probe_answered(c, dsack, false);
		if ((c->flags & TF_CWND_FULL) && !ece) /* RFC 3168 6.1.2 */
			t->cc->acked(c, acked, t->now_us);
		break;
	case TCP_REC_FAST:
		if (seq_ge(c->snd_una, c->recover)) {
			/* RFC 6582 3.2 step 3: no burst */
			c->cwnd = min32(c->ssthresh, max32(flight, c->mss) + c->mss);
			leave(c);
		} else if (!(c->flags & TF_SACK)) {
			/* a partial ACK: the next one is lost too */
			c->flags |= TF_RETX_HEAD;
			uint32_t left = c->reno_sacked > acked ? c->reno_sacked - acked : 0;
			c->reno_sacked = min32(left + c->mss, flight);
		} else {
			check_retransmissions(c);
		}
		break;
	case TCP_REC_LOSS:
		t->cc->acked(c, acked, t->now_us);
		if (seq_ge(c->snd_una, c->recover))
			leave(c);
		else
			check_retransmissions(c);
		break;
	}
}

void tcp_ack_duplicate(struct tcp_conn *c, uint32_t newly_sacked)
{
	const struct tcp_board *b = c->board;
	bool sack = (c->flags & TF_SACK) != 0;

	if (sack && !newly_sacked)
		return; /* says nothing new: perhaps our own needless retransmission */
	if (c->dupacks < UINT8_MAX)
		c->dupacks++;
	if (!sack)
		c->reno_sacked = min32(c->reno_sacked + c->mss, c->snd_max - c->snd_una);
	tcp_want_output(c);
	if (c->recovery != TCP_REC_OPEN) {
		check_retransmissions(c);
		return;
	}
	/* RFC 6582 3.2 step 2: not for what was sent again after a timeout */
	if (!sack && !seq_gt(c->snd_una, c->recover))
		return;
	if (c->dupacks >= TCP_DUP_THRESH || (b && is_lost(c, b->n, b->bytes)) ||
	    ((c->flags & TF_TLP) && b && b->n && b->r[b->n - 1].end == c->tlp_end))
		enter_fast(c);
}
