/*
 * test_rack.c: RACK-TLP (RFC 8985) seen by a peer that chooses what arrives, and when.
 */
#include <criterion/criterion.h>
#include "play.h"

#define RTT 20000

/* Sends n full segments and takes them off the wire. */
static void send_segs(struct play *p, unsigned n)
{
	play_queue(p, n * play_info(p).mss);
	cr_assert_eq(play_drain(p), n);
}

static struct tcp_range segs(const struct play *p, uint32_t from, uint32_t to)
{
	uint32_t mss = play_info(p).mss;

	return (struct tcp_range){from * mss, to * mss};
}

/* What was retransmitted, in segments; none: UINT32_MAX. */
static uint32_t resent(struct play *p)
{
	struct play_seg s;

	while (play_take(p, &s))
		if (s.len)
			return s.at / play_info(p).mss;
	return UINT32_MAX;
}

/* One segment is sent and acknowledged RTT later: round trips are known. */
static void settle(struct play *p, unsigned times)
{
	while (times--) {
		send_segs(p, 1);
		play_wait(p, RTT);
		play_ack(p, p->sent, NULL, 0);
	}
	play_drain(p);
}

Test(rack, waits_a_quarter_of_the_round_trip)
{
	struct play p;

	play_open(&p, NULL, PLAY_TS | PLAY_SACK);
	settle(&p, 4);
	send_segs(&p, 1);
	play_wait(&p, 1000);
	send_segs(&p, 1);
	play_wait(&p, RTT);
	/* The later one has arrived: too little for DupThresh, and it may be out of order. */
	struct tcp_range r = segs(&p, 5, 6);
	play_ack(&p, p.sent - 2 * play_info(&p).mss, &r, 1);
	cr_expect_eq(resent(&p), UINT32_MAX, "not yet");
	play_wait(&p, 3000);
	cr_expect_eq(resent(&p), UINT32_MAX, "not within a quarter");
	play_wait(&p, 4000);
	cr_expect_eq(resent(&p), 4, "then it is lost");
	cr_expect_eq(play_info(&p).recovery, TCP_REC_FAST);
	cr_expect_eq(play_count(&p, STAT_tcp_tail_probe), 0);
	cr_expect_eq(play_count(&p, STAT_tcp_rto), 0);
	play_end(&p);
}

Test(rack, dup_thresh_while_nothing_was_reordered)
{
	struct play p;

	play_open(&p, NULL, PLAY_TS | PLAY_SACK);
	settle(&p, 4);
	send_segs(&p, 6);
	play_wait(&p, RTT);
	struct tcp_range r = segs(&p, 5, 7);
	play_ack(&p, 4 * play_info(&p).mss, &r, 1);
	cr_expect_eq(resent(&p), UINT32_MAX, "two are not enough");
	r = segs(&p, 5, 8);
	play_ack(&p, 4 * play_info(&p).mss, &r, 1);
	cr_expect_eq(resent(&p), 4, "three are, at once (as in RFC 6675)");
	play_end(&p);
}

Test(rack, reordering_is_learned)
{
	struct play p;

	play_open(&p, NULL, PLAY_TS | PLAY_SACK);
	settle(&p, 4);
	send_segs(&p, 4);
	play_wait(&p, RTT);
	struct tcp_range r = segs(&p, 5, 7);
	play_ack(&p, 4 * play_info(&p).mss, &r, 1);
	cr_expect(!play_info(&p).reordering);
	play_ack(&p, 7 * play_info(&p).mss, NULL, 0); /* there it is, late */
	cr_expect(play_info(&p).reordering);
	play_ack(&p, 8 * play_info(&p).mss, NULL, 0);
	/* From now on three or more SACKed segments wait for the window too. */
	send_segs(&p, 6);
	play_wait(&p, RTT);
	r = segs(&p, 9, 14);
	play_ack(&p, 8 * play_info(&p).mss, &r, 1);
	cr_expect_eq(resent(&p), UINT32_MAX);
	play_wait(&p, 3000);
	cr_expect_eq(resent(&p), UINT32_MAX);
	play_wait(&p, 4000);
	cr_expect_eq(resent(&p), 8);
	play_end(&p);
}

/* Much data without loss: the window grows again. */
static void grow(struct play *p)
{
	struct play_seg s;
	uint32_t top = 0;

	play_queue(p, 40 * play_info(p).mss);
	while (play_info(p).unacked) {
		while (play_take(p, &s))
			top = s.at + s.len > top ? s.at + s.len : top;
		play_wait(p, RTT);
		play_ack(p, top, NULL, 0);
	}
	play_drain(p);
}

/* Loses the first of six and reports it; the peer then has all. dsack: it says that it had it. */
static void one_recovery(struct play *p, bool dsack)
{
	uint32_t mss = play_info(p).mss, at = p->sent / mss;
	struct tcp_range r = segs(p, at + 1, at + 6);

	send_segs(p, 6);
	play_wait(p, RTT);
	play_ack(p, at * mss, &r, 1);
	play_wait(p, RTT + 10000);
	play_drain(p);
	play_ack(p, (at + 6) * mss, NULL, 0);
	grow(p);
	if (dsack) {
		r = segs(p, at, at + 1);
		send_segs(p, 1);
		play_ack(p, p->sent - mss, &r, 1);
		play_wait(p, RTT);
		play_ack(p, p->sent, NULL, 0);
	}
}

Test(rack, d_sacks_widen_the_window_for_sixteen_recoveries)
{
	struct play p;

	play_open(&p, NULL, PLAY_TS | PLAY_SACK);
	settle(&p, 8);
	cr_expect_eq(play_info(&p).reo_mult, 1);
	one_recovery(&p, true);
	cr_expect_eq(play_info(&p).reo_mult, 2);
	one_recovery(&p, true);
	cr_expect_eq(play_info(&p).reo_mult, 3);
	for (unsigned i = 0; i < 15; i++)
		one_recovery(&p, false);
	cr_expect_eq(play_info(&p).reo_mult, 3);
	one_recovery(&p, false);
	cr_expect_eq(play_info(&p).reo_mult, 1, "%u", play_info(&p).reo_mult);
	play_end(&p);
}

Test(rack, a_lost_retransmission_is_found)
{
	struct play p;

	play_open(&p, NULL, PLAY_TS | PLAY_SACK);
	settle(&p, 4);
	uint32_t mss = play_info(&p).mss;
	send_segs(&p, 6);
	play_wait(&p, RTT);
	struct tcp_range r = segs(&p, 5, 10);
	play_ack(&p, 4 * mss, &r, 1);
	cr_expect_eq(resent(&p), 4);
	/* New data that is sent after it arrives; the retransmission does not. */
	play_wait(&p, 1000);
	play_queue(&p, mss);
	play_drain(&p);
	play_wait(&p, RTT + 1000);
	r = segs(&p, 5, 11);
	play_ack(&p, 4 * mss, &r, 1);
	play_wait(&p, 10000);
	cr_expect_eq(resent(&p), 4, "again, without a timeout");
	cr_expect_eq(play_count(&p, STAT_tcp_rto), 0);
	play_end(&p);
}

/* 6.2 step 2: without timestamps an ACK too soon after a retransmission is of the original. */
Test(rack, an_early_ack_is_not_of_the_retransmission)
{
	struct play p;

	play_open(&p, NULL, PLAY_SACK);
	settle(&p, 4);
	uint32_t mss = play_info(&p).mss, before = play_info(&p).rttmin_us;
	send_segs(&p, 6);
	play_wait(&p, RTT);
	struct tcp_range r = segs(&p, 5, 10);
	play_ack(&p, 4 * mss, &r, 1);
	cr_expect_eq(resent(&p), 4);
	play_wait(&p, 1000);
	play_ack(&p, 10 * mss, NULL, 0);
	cr_expect_geq(play_info(&p).rttmin_us, before, "no round trip of 1 ms");
	play_end(&p);
}

/* Runs of the scoreboard are bounded: a peer that SACKs every second byte is served all the same. */
Test(rack, a_sack_bomb_is_bounded)
{
	struct tcp_conf c = tcp_conf_default();
	struct play p;
	c.initcwnd_segs = 30;
	c.pacing = false;
	play_open(&p, &c, PLAY_SACK);
	settle(&p, 4);
	uint32_t mss = play_info(&p).mss;
	send_segs(&p, 20);
	play_wait(&p, RTT);
	for (uint32_t i = 0; i < 20 * mss; i += 8) {
		struct tcp_range r[4];
		for (unsigned k = 0; k < 4; k++)
			r[k] = (struct tcp_range){4 * mss + i + 2 * k + 1, 4 * mss + i + 2 * k + 2};
		play_ack(&p, 4 * mss, r, 4);
	}
	cr_expect_leq(play_info(&p).sacked, 20 * mss);
	play_drain(&p);
	play_wait(&p, 3000000);
	play_drain(&p);
	play_ack(&p, 24 * mss, NULL, 0);
	cr_expect_eq(play_info(&p).unacked, 0);
	cr_expect_eq(play_info(&p).sacked, 0);
	play_end(&p);
}
