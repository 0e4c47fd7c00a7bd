/*
 * tcp_ecn.c: explicit congestion notification (RFC 3168 section 6): who agrees to it, which packets
 * carry ECT(0), the echo of CE, and the reduction that an echo causes. Hot path.
 *
 * Invariants: 1. ECT goes out on new data only: not on a SYN, a pure ACK, a retransmission, a window
 * probe or a reset (6.1.1, 6.1.4, 6.1.5, 6.1.6); 2. at most one reduction a window of data, by
 * whatever sign: a loss in the same window has done it already (6.1.2).
 */
#include "tcp_int.h"
#include "hot.h"

#define ECT0 2
#define CE   3

/* 6.1.1: an offer has both flags, an acceptance ECE alone. Both in a SYN-ACK is a peer that copies
 * bits it does not know. A SYN without the offer takes an earlier one back (6.1.1.1: the network may
 * have eaten that). */
void tcp_ecn_syn(struct tcp_conn *c, const struct tcp_seg *s)
{
	uint8_t got = s->flags & (TH_ECE | TH_CWR);
	bool answer = (s->flags & TH_ACK) != 0;

	if (c->core->conf.ecn == TCP_ECN_OFF || got != (answer ? TH_ECE : TH_ECE | TH_CWR))
		c->flags &= ~(uint32_t)TF_ECN;
	else if (!answer)
		c->flags |= TF_ECN;
}

/* 6.1.1.1: a SYN that is not answered is offered again without, for middleboxes that drop it. */
uint8_t tcp_ecn_syn_flags(const struct tcp_conn *c)
{
	if (!(c->flags & TF_ECN))
		return 0;
	if (c->state == TCP_SYN_RECEIVED)
		return TH_ECE;
	return c->retries ? 0 : TH_ECE | TH_CWR;
}

uint8_t tcp_ecn_mark(struct tcp_conn *c, uint32_t seq, uint32_t len, uint8_t flags)
{
	uint8_t out = 0;

	c->dst.tos &= (uint8_t)~3;
	if (!(c->flags & TF_ECN) || (flags & (TH_SYN | TH_RST)))
		return 0;
	if (len && seq_ge(seq, c->snd_max)) {
		c->dst.tos |= ECT0;
		if (c->flags & TF_CWR) {
			c->flags &= ~(uint32_t)TF_CWR;
			out |= TH_CWR;
		}
	}
	if ((flags & TH_ACK) && (c->flags & TF_ECE))
		out |= TH_ECE;
	return out;
}

/* 6.1.3. CWR first: it answers the echo of an earlier mark, not of this one. */
void tcp_ecn_data(struct tcp_conn *c, const struct tcp_seg *s)
{
	if (!(c->flags & TF_ECN))
		return;
	if (s->flags & TH_CWR)
		c->flags &= ~(uint32_t)TF_ECE;
	if (s->ns->ecn != CE)
		return;
	stat_inc(c->core->stat, STAT_tcp_ecn_ce);
	if (!(c->flags & TF_ECE)) /* the sender should hear of it soon */
		c->flags |= TF_ECE | TF_ACK_NOW;
	tcp_want_output(c);
}

/* 6.1.2: as for a loss, but nothing needs to be sent again. */
void tcp_ecn_ack(struct tcp_conn *c, const struct tcp_seg *s)
{
	struct tcp_core *t = c->core;

	if (!(c->flags & TF_ECN) || !(s->flags & TH_ECE))
		return;
	stat_inc(t->stat, STAT_tcp_ecn_ece);
	if (c->recovery != TCP_REC_OPEN || seq_le(s->ack, c->ecn_end) || c->snd_una == c->snd_max)
		return;
	c->ssthresh = t->cc->loss(c, c->snd_max - c->snd_una, t->now_us);
	c->cwnd = min32(c->cwnd, c->ssthresh);
	c->ecn_end = c->snd_max;
	tcp_ecn_reduced(c);
	stat_inc(t->stat, STAT_tcp_ecn_reduced);
}
