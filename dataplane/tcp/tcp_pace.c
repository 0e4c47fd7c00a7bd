/*
 * tcp_pace.c: new data leaves spread over the round trip instead of in one burst when an ACK opens the
 * window: a bucket that fills at 2 * cwnd / srtt in slow start and 1.2 * cwnd / srtt after it, emptied
 * by what is sent, topped up by the wheel's tick. Hot path.
 *
 * Not paced: windows of up to ten segments (bursts that any queue takes), paths shorter than two ticks
 * (the wheel could not tell), and retransmissions (PRR spreads them). The bucket holds what two ticks
 * earn, at least ten segments: that bounds every burst, also after idle time or a jump of cwnd.
 */
#include "tcp_int.h"
#include "hot.h"

#define TICK_US    1000
#define BURST_SEGS 10u

static bool paced(const struct tcp_conn *c)
{
	return c->core->conf.pacing && c->srtt_us >= 2 * TICK_US && c->cwnd > BURST_SEGS * c->mss;
}

static uint32_t percent(const struct tcp_conn *c)
{
	return c->cwnd < c->ssthresh ? 200 : 120;
}

/* Bytes earned in us microseconds, and back. */
static uint64_t earned(const struct tcp_conn *c, uint32_t us)
{
	return (uint64_t)c->cwnd * percent(c) / 100 * us / c->srtt_us;
}

static uint64_t time_for(const struct tcp_conn *c, uint64_t len)
{
	return len * c->srtt_us / ((uint64_t)c->cwnd * percent(c) / 100);
}

uint32_t tcp_pace_budget(struct tcp_conn *c)
{
	uint32_t now = (uint32_t)c->core->now_us;

	if (!paced(c))
		return UINT32_MAX;
	/* How long ago the bucket was empty; no longer than it takes to fill. */
	uint64_t full = time_for(c, BURST_SEGS * c->mss);
	uint32_t full_us = full > 2 * TICK_US ? (uint32_t)full : 2 * TICK_US;
	int32_t since = (int32_t)(now - c->pace_us);
	if (since > (int32_t)full_us || since < -1000000) /* the latter: a clock of 32 bits went round */
		c->pace_us = now - full_us;
	else if (since < 0)
		return 0;
	uint64_t budget = earned(c, now - c->pace_us);
	return budget < UINT32_MAX ? (uint32_t)budget : UINT32_MAX - 1;
}

void tcp_pace_sent(struct tcp_conn *c, uint32_t len)
{
	uint64_t us = time_for(c, len);

	c->pace_us += us < 500000 ? (uint32_t)us : 500000;
}

void tcp_pace_wait(struct tcp_conn *c)
{
	stat_inc(c->core->stat, STAT_tcp_paced);
	if (!c->due[TCP_T_PACE])
		tcp_arm(c, TCP_T_PACE, c->core->now_us + TICK_US);
}
