/*
 * tcp_timer.c: the deadlines of connections over one wheel node each. Hot path.
 *
 * A connection keeps up to four deadlines in microseconds; its node sits at the earliest of them or
 * before, rounded up to the wheel's tick of 1 ms, so nothing fires early and everything up to 1 ms
 * late. Moving a deadline later or switching it off only writes it: the node is found too early,
 * and put back.
 */
#include "tcp_int.h"
#include "hot.h"

#define POOL_CHECK_US 1000

void tcp_arm(struct tcp_conn *c, enum tcp_deadline d, uint64_t due_us)
{
	uint64_t due_ms = (due_us + 999) / 1000;

	c->due[d] = due_us;
	if (!c->timer.due_ms || due_ms < c->timer.due_ms)
		timer_arm(&c->core->wheel, &c->timer, due_ms);
}

void tcp_arm_retx(struct tcp_conn *c)
{
	uint32_t probe = tcp_probe_wait(c);

	c->flags &= ~(uint32_t)TF_PTO;
	if (probe)
		c->flags |= TF_PTO;
	tcp_arm(c, TCP_T_RETX, c->core->now_us + (probe ? min32(probe, c->rto_us) : c->rto_us));
}

static void back_off(struct tcp_conn *c)
{
	uint64_t rto = (uint64_t)c->rto_us * 2;
	uint32_t max = c->core->conf.rto_max_us;

	c->rto_us = rto > max ? max : (uint32_t)rto;
	c->retries++;
}

static bool give_up(struct tcp_conn *c, uint32_t limit)
{
	if (c->retries < limit)
		return false;
	bool opening = c->state == TCP_SYN_SENT;
	stat_inc(c->core->stat, opening ? STAT_tcp_open_failed : STAT_tcp_timeout);
	/* RFC 1122 4.2.3.5: R2 reached. A soft ICMP error names the reason better than "timed out".
	 */
	tcp_finish(c, c->flags & TF_UNREACH ? ERR_UNREACHABLE : ERR_TIMEOUT);
	return true;
}

/* RFC 9293 3.8.6.1: one byte (or the FIN) beyond the window makes the peer say what its window is.
 * Where the window is open but so small that it was not worth a segment, what fits is sent. */
static void probe_window(struct tcp_conn *c)
{
	uint32_t end = c->snd_una + c->txq.len;
	uint32_t want = max32(c->snd_wnd, 1);
	uint32_t len = min32(min32(c->txq.len, want), c->mss);
	bool fin = (c->flags & TF_FIN_WANTED) && len < want && c->snd_una + len == end;

	if (len || fin) {
		if (fin && !(c->flags & TF_FIN_SENT)) {
			c->flags |= TF_FIN_SENT;
			c->fin_seq = end;
			tcp_enter(c, c->state == TCP_CLOSE_WAIT ? TCP_LAST_ACK : TCP_FIN_WAIT_1);
		}
		uint32_t next = c->snd_una + len + fin;
		tcp_board_sent(c, c->snd_una, next);
		c->snd_nxt = seq_max(c->snd_nxt, next);
		c->snd_max = seq_max(c->snd_max, next);
		tcp_xmit(c, c->snd_una, len, fin ? TH_ACK | TH_FIN : TH_ACK);
		stat_inc(c->core->stat, STAT_tcp_persist);
	}
	back_off(c);
	tcp_arm_retx(c);
}

/* False: the connection is gone. */
static bool retx_fires(struct tcp_conn *c)
{
	struct tcp_core *t = c->core;

	if (c->state == TCP_SYN_SENT || c->state == TCP_SYN_RECEIVED) {
		if (give_up(c, t->conf.syn_retries))
			return false;
		back_off(c);
		c->flags &= ~(uint32_t)TF_TIMING;
		tcp_send_syn(c);
		stat_inc(t->stat, STAT_tcp_retransmit);
		tcp_arm_retx(c);
		return true;
	}
	if (c->flags & TF_PERSIST) {
		if (give_up(c, t->conf.data_retries))
			return false;
		if ((c->flags & TF_NOREAD) && ++c->orphan_probes > TCP_ORPHAN_MAX) {
			/* It answers every probe and takes nothing: memory for nobody. */
			stat_inc(t->stat, STAT_tcp_timeout);
			tcp_send_reset(c);
			tcp_finish(c, ERR_TIMEOUT);
			return false;
		}
		probe_window(c);
		return true;
	}
	if (c->snd_una == c->snd_max) {
		tcp_want_output(c); /* nothing in flight: there were no packets to send */
		return true;
	}
	if (c->flags & TF_PTO) {
		tcp_probe_tail(c);
		c->flags &= ~(uint32_t)TF_PTO; /* one probe; now the timeout (RFC 8985 7.3) */
		tcp_arm(c, TCP_T_RETX, t->now_us + c->rto_us);
		return true;
	}
	if (give_up(c, t->conf.data_retries))
		return false;
	/* RFC 6298 5.4-5.6, RFC 5681 3.1 */
	stat_inc(t->stat, STAT_tcp_rto);
	tcp_enter_loss(c);
	back_off(c);
	trace_put(t->trace, t->now_us, TRACE_tcp_rto, pool_index(&t->conns, c) + 1, c->retries,
		  c->rto_us);
	tcp_arm_retx(c);
	tcp_want_output(c);
	return true;
}

static bool keep_fires(struct tcp_conn *c)
{
	struct tcp_core *t = c->core;
	uint64_t idle_us = (uint64_t)(now_ms32(t) - c->heard_ms) * 1000;

	if (!t->conf.keepalive_us || !tcp_synchronized(c))
		return true;
	if (idle_us + 1000 < t->conf.keepalive_us) {
		c->keep_probes = 0;
		tcp_arm(c, TCP_T_KEEP, t->now_us + t->conf.keepalive_us - idle_us);
		return true;
	}
	if (c->keep_probes >= TCP_KEEP_PROBES) {
		stat_inc(t->stat, STAT_tcp_timeout);
		tcp_finish(c, ERR_TIMEOUT);
		return false;
	}
	/* RFC 9293 3.8.4: an old sequence number makes the peer answer. Not while data is in
	 * flight. */
	if (c->snd_una == c->snd_max) {
		c->keep_probes++;
		tcp_xmit(c, c->snd_una - 1, 0, TH_ACK);
		stat_inc(t->stat, STAT_tcp_keepalive);
	}
	uint64_t wait_us =
		t->conf.keepalive_us < TCP_KEEP_INTVL ? t->conf.keepalive_us : TCP_KEEP_INTVL;
	tcp_arm(c, TCP_T_KEEP, t->now_us + wait_us);
	return true;
}

static bool linger_fires(struct tcp_conn *c)
{
	if (c->state == TCP_FIN_WAIT_2) {
		/* The user is gone and so, it seems, is the peer; nothing is owed to either. */
		tcp_finish(c, ERR_OK);
		return false;
	}
	stat_inc(c->core->stat, STAT_tcp_timeout);
	tcp_send_reset(c);
	tcp_finish(c, ERR_TIMEOUT);
	return false;
}

static bool delack_fires(struct tcp_conn *c)
{
	c->flags |= TF_ACK_NOW;
	tcp_want_output(c);
	return true;
}

static bool reorder_fires(struct tcp_conn *c)
{
	tcp_reorder_over(c);
	return true;
}

static bool pace_fires(struct tcp_conn *c)
{
	tcp_want_output(c);
	return true;
}

static bool (*const fires[TCP_T__N])(struct tcp_conn *c) = {
	[TCP_T_RETX] = retx_fires,
	[TCP_T_DELACK] = delack_fires,
	[TCP_T_KEEP] = keep_fires,
	[TCP_T_PACE] = pace_fires,
	[TCP_T_REORDER] = reorder_fires,
	[TCP_T_LINGER] = linger_fires,
};

static void run(struct tcp_conn *c)
{
	uint64_t now = c->core->now_us, first = UINT64_MAX;

	for (unsigned d = 0; d < TCP_T__N; d++) {
		if (!c->due[d] || c->due[d] > now)
			continue;
		c->due[d] = 0;
		if (!fires[d](c))
			return;
	}
	for (unsigned d = 0; d < TCP_T__N; d++)
		if (c->due[d] && c->due[d] < first)
			first = c->due[d];
	uint64_t first_ms = (first + 999) / 1000;
	if (first != UINT64_MAX && (!c->timer.due_ms || first_ms < c->timer.due_ms))
		timer_arm(&c->core->wheel, &c->timer, first_ms);
}

void tcp_timers(struct tcp_core *t, uint64_t now_us)
{
	struct timer *tm;

	t->now_us = now_us;
	if (now_us >= t->pool_checked_us + POOL_CHECK_US) {
		uint32_t left = pkt_pool_free_n(t->pool), size = pkt_pool_size(t->pool);
		t->pool_checked_us = now_us;
		t->pool_low = left < size / 32	? TCP_POOL_DIRE
			      : left < size / 8 ? TCP_POOL_LOW
						: TCP_POOL_FINE;
	}
	tcp_tw_expire(t);
	if (t->n_half_open)
		tcp_syn_timers(t);
	while ((tm = wheel_next(&t->wheel, now_us / 1000)) != NULL)
		run(LIST_ENTRY(tm, struct tcp_conn, timer));
}

uint64_t tcp_next_us(const struct tcp_core *t)
{
	if (!list_empty(&t->out) || !list_empty(&t->ready))
		return t->now_us;
	uint64_t ms = wheel_hint_ms(&t->wheel);
	uint64_t first = ms == UINT64_MAX ? ms : ms * 1000;
	uint64_t tw = tcp_tw_next_us(t), syn = t->n_half_open ? tcp_syn_next_us(t) : UINT64_MAX;

	first = tw < first ? tw : first;
	return syn < first ? syn : first;
}
