/*
 * tcp_ack.c: the ACK field (RFC 9293 3.10.7.4, fifth): what was acknowledged leaves the send queue,
 * round trips are measured, the window moves, duplicates go to tcp_recover.c, an acknowledged FIN
 * moves the state. Hot path.
 */
#include "tcp_int.h"
#include "hot.h"

/* Did the queue fall through the half? Whoever found too little room waits for that. */
static void tell_room(struct tcp_conn *c, uint32_t len_before, uint32_t chunks_before)
{
	uint32_t half = c->core->conf.snd_buf / 2;

	if ((len_before > half || chunks_before > TCP_TX_CHUNKS / 2) && c->txq.len <= half &&
	    c->txq.chunks <= TCP_TX_CHUNKS / 2 && tcp_can_send(c))
		tcp_event(c, TCP_EV_WRITABLE);
}

static void take_rtt(struct tcp_conn *c, const struct tcp_seg *s)
{
	struct tcp_core *t = c->core;

	if ((c->flags & TF_TIMING) && seq_ge(s->ack, c->rtt_seq)) {
		c->flags &= ~(uint32_t)TF_TIMING;
		tcp_rtt_sample(c, (uint32_t)t->now_us - c->rtt_at);
		net_confirm(t->net, &c->dst, t->now_us);
	} else if ((c->retries || c->recovery != TCP_REC_OPEN) && !(c->flags & TF_TIMING) &&
		   (c->flags & TF_TS) && s->opt.tsecr) {
		/* Nothing is timed because of retransmissions: the echo tells which one arrived
		 * (RFC 7323 4.1), in milliseconds. One from the future is a lie or very old. */
		uint32_t ms = now_ms32(t) + c->ts_off - s->opt.tsecr;
		if (ms < 120000)
			tcp_rtt_sample(c, ms * 1000 + 500);
	}
}

static void window_update(struct tcp_conn *c, const struct tcp_seg *s)
{
	uint32_t wnd = s->wnd << c->snd_wscale;

	if (!(seq_lt(c->snd_wl1, s->seq) || (c->snd_wl1 == s->seq && seq_le(c->snd_wl2, s->ack))))
		return;
	if (wnd > c->snd_wnd)
		tcp_want_output(c);
	c->snd_wnd = wnd;
	c->snd_wnd_max = max32(c->snd_wnd_max, wnd);
	c->snd_wl1 = s->seq;
	c->snd_wl2 = s->ack;
}

/* The probe of a closed window has done its work. */
static void persist_ends(struct tcp_conn *c)
{
	c->flags &= ~(uint32_t)TF_PERSIST;
	c->zero_ms += now_ms32(c->core) - c->zero_at_ms;
	c->zero_at_ms = 0;
	c->retries = 0;
	tcp_disarm(c, TCP_T_RETX);
	if (c->srtt_us) /* undo the backing off */
		c->rto_us =
			max32(c->core->conf.rto_min_us, c->srtt_us + max32(1000, 4 * c->rttvar_us));
	c->snd_nxt = c->snd_una; /* the probe's byte was perhaps not taken: it goes again with the
				    rest */
	c->flags &= ~(uint32_t)TF_TIMING;
	tcp_want_output(c);
}

/* SND.UNA < SEG.ACK <= SND.MAX */
static void new_ack(struct tcp_conn *c, const struct tcp_seg *s)
{
	struct tcp_core *t = c->core;
	uint32_t acked = s->ack - c->snd_una;
	uint32_t len_before = c->txq.len, chunks_before = c->txq.chunks;

	struct tcp_delivery d = {.tsecr = s->opt.has_ts ? s->opt.tsecr : 0};

	take_rtt(c, s);
	tcpq_drop(&c->txq, &t->chunks, min32(acked, c->txq.len)); /* the rest is the FIN */
	tcp_count_wrap(&c->out_wraps, c->snd_una, c->iss, acked);
	c->snd_una = s->ack;
	c->snd_nxt = seq_max(c->snd_nxt, c->snd_una);
	tcp_board_advance(c, s->ack - acked, &d);
	tcp_board_update(c, s, &d);
	tcp_ack_news(c, s, acked, false, &d);
	/* RFC 6298 5.2, 5.3 */
	if (c->snd_una == c->snd_max)
		tcp_disarm(c, TCP_T_RETX);
	else
		tcp_arm_retx(c);
	tcp_disarm(c, TCP_T_LINGER);
	tell_room(c, len_before, chunks_before);
	tcp_want_output(c);
}

static bool is_duplicate(const struct tcp_conn *c, const struct tcp_seg *s)
{
	/* RFC 5681 section 2: all of a to e; with SACK the blocks decide. */
	if (c->snd_una == c->snd_max || tcp_seg_len(s) || s->ack != c->snd_una)
		return false;
	return (c->flags & TF_SACK) || s->wnd << c->snd_wscale == c->snd_wnd;
}

/* Fifth: the ACK field, for synchronized states. */
bool tcp_segment_ack(struct tcp_conn *c, struct tcp_seg *s)
{
	struct tcp_core *t = c->core;

	/* RFC 5961 5.2: (SND.UNA - MAX.SND.WND) <= SEG.ACK <= SND.NXT */
	if (seq_gt(s->ack, c->snd_max) || seq_lt(s->ack, c->snd_una - c->snd_wnd_max)) {
		stat_inc(t->stat, STAT_tcp_bad_ack);
		tcp_challenge(c);
		return false;
	}
	if (seq_ge(s->ack, c->snd_una))
		tcp_ecn_ack(c, s);
	if (seq_gt(s->ack, c->snd_una)) {
		bool probing = (c->flags & TF_PERSIST) != 0;
		new_ack(c, s);
		window_update(c, s);
		if (probing)
			persist_ends(c);
	} else if (s->ack == c->snd_una) {
		bool dup = is_duplicate(c, s);
		struct tcp_delivery d = {.tsecr = s->opt.has_ts ? s->opt.tsecr : 0};
		if (s->opt.n_sack && c->snd_una != c->snd_max)
			tcp_board_update(c, s, &d);
		window_update(c, s);
		if (c->snd_wnd == 0)
			c->retries = min32(c->retries, 1) & UINT8_MAX; /* alive, only full */
		if ((c->flags & TF_PERSIST) && c->snd_wnd > 0)
			persist_ends(c);
		else if ((dup || d.sacked || tcp_is_dsack(c, s)) &&
			 !(c->flags & TF_PERSIST)) /* answers to probes are no duplicates */
			tcp_ack_news(c, s, 0, dup, &d);
		else if (!tcp_seg_len(s))
			tcp_probe_answered(c, false, !s->opt.n_sack);
	}

	bool fin_acked = (c->flags & TF_FIN_SENT) && seq_gt(c->snd_una, c->fin_seq);
	if (!fin_acked)
		return true;
	switch ((enum tcp_state)c->state) {
	case TCP_FIN_WAIT_1:
		tcp_enter(c, TCP_FIN_WAIT_2);
		if (c->flags & TF_NOREAD) {
			tcp_arm(c, TCP_T_LINGER, t->now_us + TCP_FIN2_US);
			if (!(c->flags & TF_WAS_CLOSED)) {
				c->flags |= TF_WAS_CLOSED;
				tcp_event(c, TCP_EV_CLOSED);
			}
		}
		return true;
	case TCP_CLOSING:
		tcp_time_wait(c);
		return false;
	case TCP_LAST_ACK:
		tcp_finish(c, ERR_OK);
		return false;
	default:
		return true;
	}
}
