/*
 * test_recover.c: what follows a loss: proportional rate reduction (RFC 6937), limited transmit (3042),
 * NewReno without SACK (6582), F-RTO (5682), and reductions that are taken back (Eifel, D-SACK).
 */
#include <criterion/criterion.h>
#include "play.h"

#define RTT 20000

static void open_with(struct play *p, unsigned options, unsigned initcwnd)
{
	struct tcp_conf c = tcp_conf_default();

	c.initcwnd_segs = initcwnd;
	c.pacing = false;
	play_open(p, &c, options);
	play_queue(p, 100);
	play_drain(p);
	play_wait(p, RTT);
	play_ack(p, 100, NULL, 0);
	play_drain(p);
}

/* Sequence numbers by segment, behind the 100 bytes of open_with. */
static uint32_t at(const struct play *p, uint32_t seg)
{
	return 100 + seg * play_info(p).mss;
}

static void sack(struct play *p, uint32_t ack, uint32_t from, uint32_t to)
{
	struct tcp_range r = {at(p, from), at(p, to)};

	play_ack(p, at(p, ack), &r, 1);
}

Test(recover, prr_spreads_the_reduction)
{
	struct play p;
	struct play_seg s;
	unsigned out = 0, n = 20;

	open_with(&p, PLAY_SACK | PLAY_TS, n);
	uint32_t mss = play_info(&p).mss;
	p.window = 65535;
	play_ack(&p, 100, NULL, 0);
	play_queue(&p, 44 * mss);
	cr_assert_eq(play_drain(&p), n);
	play_wait(&p, RTT);
	sack(&p, 0, 1, 2);
	sack(&p, 0, 1, 3);
	unsigned limited = play_drain(&p);
	cr_expect_eq(limited, 2, "limited transmit (RFC 3042): %u", limited);
	for (unsigned i = 4; i <= n; i++) {
		sack(&p, 0, 1, i);
		while (play_take(&p, &s)) {
			if (i == 4)
				cr_expect_eq(s.at, at(&p, 0), "the head first");
			out++;
		}
		/* ssthresh is 0.7 of the flight; one for each 1/0.7 that arrived. */
		unsigned arrived = i - 3;
		cr_expect_leq(out, arrived * 7 / 10 + 2, "after %u: %u", arrived, out);
		cr_expect_geq(out + 1, arrived * 6 / 10, "after %u: %u", arrived, out);
	}
	uint32_t ssthresh = play_info(&p).ssthresh;
	cr_expect_geq(ssthresh, (n + 2) * mss * 6 / 10);
	play_ack(&p, at(&p, n + 2), NULL, 0);
	cr_expect_eq(play_info(&p).recovery, TCP_REC_OPEN);
	cr_expect_eq(play_info(&p).cwnd, ssthresh);
	play_end(&p);
}

Test(recover, limited_transmit_and_newreno_without_sack)
{
	struct play p;
	struct play_seg s;

	open_with(&p, 0, 8);
	uint32_t mss = play_info(&p).mss;
	play_queue(&p, 20 * mss);
	cr_assert_eq(play_drain(&p), 8);
	play_wait(&p, RTT);
	for (unsigned i = 0; i < 2; i++) {
		play_ack(&p, 100, NULL, 0);
		cr_assert(play_take(&p, &s));
		cr_expect_eq(s.at, at(&p, 8 + i), "a duplicate ACK lets one new segment out");
		cr_expect(!play_take(&p, &s));
	}
	play_ack(&p, 100, NULL, 0);
	cr_assert(play_take(&p, &s));
	cr_expect_eq(s.at, at(&p, 0), "the third: fast retransmit");
	play_drain(&p);
	/* RFC 6582: a partial ACK retransmits the next hole at once. */
	play_ack(&p, at(&p, 3), NULL, 0);
	cr_assert(play_take(&p, &s));
	cr_expect_eq(s.at, at(&p, 3));
	cr_expect_eq(play_info(&p).recovery, TCP_REC_FAST);
	play_drain(&p);
	play_ack(&p, at(&p, 10), NULL, 0);
	cr_expect_eq(play_info(&p).recovery, TCP_REC_OPEN);
	cr_expect_leq(play_info(&p).cwnd, play_info(&p).ssthresh);
	play_end(&p);
}

/* A timeout with six segments out, and a seventh as tail probe. */
static void time_out(struct play *p)
{
	struct play_seg s;
	uint32_t last = 0;

	while (play_count(p, STAT_tcp_rto) == 0)
		play_wait(p, 10000);
	while (play_take(p, &s))
		last = s.at;
	cr_assert_eq(last, at(p, 0), "the head is sent again");
	cr_assert_eq(play_info(p).recovery, TCP_REC_LOSS);
	cr_assert_eq(play_info(p).cwnd, play_info(p).mss);
}

Test(recover, f_rto_takes_a_spurious_timeout_back)
{
	struct play p;
	struct play_seg s;

	open_with(&p, PLAY_SACK, 6);
	uint32_t mss = play_info(&p).mss, cwnd = play_info(&p).cwnd;
	play_queue(&p, 20 * mss);
	cr_assert_eq(play_drain(&p), 6);
	time_out(&p);
	/* The first ACK that moves: two new segments, no retransmission. */
	play_ack(&p, at(&p, 1), NULL, 0);
	for (unsigned i = 7; i < 9; i++) {
		cr_assert(play_take(&p, &s));
		cr_expect_eq(s.at, at(&p, i), "new data, not %u", s.at);
	}
	cr_expect(!play_take(&p, &s));
	cr_expect_eq(play_count(&p, STAT_tcp_undo), 0);
	/* The next one is for what was never sent again. */
	play_ack(&p, at(&p, 4), NULL, 0);
	cr_expect_eq(play_count(&p, STAT_tcp_undo), 1);
	cr_expect_eq(play_info(&p).recovery, TCP_REC_OPEN);
	cr_expect_geq(play_info(&p).cwnd, cwnd);
	cr_expect_eq(play_info(&p).ssthresh, UINT32_MAX);
	cr_assert(play_take(&p, &s));
	cr_expect_eq(s.at, at(&p, 9), "on with new data");
	play_end(&p);
}

Test(recover, f_rto_knows_a_true_timeout)
{
	struct play p;
	struct play_seg s;

	open_with(&p, PLAY_SACK, 6);
	uint32_t mss = play_info(&p).mss;
	play_queue(&p, 20 * mss);
	cr_assert_eq(play_drain(&p), 6);
	time_out(&p);
	play_ack(&p, at(&p, 1), NULL, 0);
	cr_assert_eq(play_drain(&p), 2);
	/* Only the new segments arrive: the rest is lost. */
	sack(&p, 1, 7, 8);
	cr_assert(play_take(&p, &s));
	cr_expect_eq(s.at, at(&p, 1), "retransmission");
	cr_expect_eq(play_count(&p, STAT_tcp_undo), 0);
	cr_expect_leq(play_info(&p).cwnd, 4 * mss);
	cr_expect_eq(play_info(&p).ssthresh, 6 * mss * 7 / 10);
	play_end(&p);
}

Test(recover, an_old_echo_takes_it_back_at_once)
{
	struct play p;
	struct play_seg s;

	open_with(&p, PLAY_SACK | PLAY_TS, 6);
	uint32_t mss = play_info(&p).mss, cwnd = play_info(&p).cwnd;
	play_queue(&p, 20 * mss);
	cr_assert_eq(play_drain(&p), 6);
	uint32_t original = p.ts_echo;
	time_out(&p);
	cr_expect_gt(p.ts_echo, original);
	play_ack_ts(&p, at(&p, 2), NULL, 0, 0, original);
	cr_expect_eq(play_count(&p, STAT_tcp_undo), 1);
	cr_expect_geq(play_info(&p).cwnd, cwnd);
	cr_assert(play_take(&p, &s));
	cr_expect_eq(s.at, at(&p, 7), "new data");
	play_end(&p);

	/* The echo of the retransmission proves nothing. */
	open_with(&p, PLAY_SACK | PLAY_TS, 6);
	play_queue(&p, 20 * mss);
	play_drain(&p);
	time_out(&p);
	play_ack(&p, at(&p, 2), NULL, 0);
	cr_expect_eq(play_count(&p, STAT_tcp_undo), 0);
	cr_expect_eq(play_info(&p).recovery, TCP_REC_LOSS);
	play_end(&p);
}

Test(recover, d_sack_takes_it_back)
{
	struct play p;

	open_with(&p, PLAY_SACK, 8);
	uint32_t mss = play_info(&p).mss, cwnd = play_info(&p).cwnd;
	play_queue(&p, 30 * mss);
	cr_assert_eq(play_drain(&p), 8);
	play_wait(&p, RTT);
	for (unsigned i = 2; i <= 4; i++)
		sack(&p, 0, 1, i);
	cr_expect_eq(play_info(&p).recovery, TCP_REC_FAST);
	cr_expect_eq(play_count(&p, STAT_tcp_retransmit), 1);
	/* The original comes late, then the duplicate. */
	play_ack(&p, at(&p, 4), NULL, 0);
	cr_expect_eq(play_count(&p, STAT_tcp_undo), 0);
	sack(&p, 4, 0, 1);
	cr_expect_eq(play_count(&p, STAT_tcp_undo), 1);
	cr_expect_eq(play_info(&p).recovery, TCP_REC_OPEN);
	cr_expect_geq(play_info(&p).cwnd, cwnd);
	cr_expect_eq(play_info(&p).ssthresh, UINT32_MAX);
	play_end(&p);
}
