/*
 * test_cwnd.c: windows that are not used: the initial window (RFC 6928), growth only where the window is
 * what holds the sender back (7661), restart after idle (5681 4.1).
 */
#include <criterion/criterion.h>
#include "play.h"

Test(cwnd, starts_with_ten_segments)
{
	static const struct {
		uint16_t mss_max;
		uint32_t cwnd;
	} rows[] = {{0, 10 * 1448}, {536, 10 * 524}, {1000, 10 * 988}};

	for (unsigned i = 0; i < 3; i++) {
		struct tcp_conf c = tcp_conf_default();
		struct play p;
		c.mss_max = rows[i].mss_max;
		play_open(&p, &c, PLAY_TS | PLAY_SACK);
		cr_expect_eq(play_info(&p).cwnd, rows[i].cwnd, "%u", play_info(&p).cwnd);
		play_queue(&p, 30000);
		cr_expect_eq(play_drain(&p), 10);
		play_end(&p);
	}
}

Test(cwnd, grows_only_when_it_is_full)
{
	struct play p;

	play_open(&p, NULL, PLAY_TS | PLAY_SACK);
	uint32_t start = play_info(&p).cwnd;
	for (unsigned i = 0; i < 50; i++) { /* an application that sends two segments at a time */
		play_queue(&p, 2000);
		play_drain(&p);
		play_wait(&p, 20000);
		play_ack(&p, p.sent, NULL, 0);
	}
	cr_expect_eq(play_info(&p).cwnd, start);
	play_queue(&p, 30000);
	play_drain(&p);
	play_wait(&p, 20000);
	play_ack(&p, p.sent - 30000 + 10 * play_info(&p).mss, NULL, 0);
	cr_expect_gt(play_info(&p).cwnd, start, "and then it does");
	play_end(&p);
}

Test(cwnd, restarts_after_idle)
{
	struct play p;

	play_open(&p, NULL, PLAY_TS | PLAY_SACK);
	uint32_t mss = play_info(&p).mss, acked = 0;
	play_queue(&p, 40 * mss);
	while (acked < 40 * mss) {
		struct play_seg s;
		while (play_take(&p, &s))
			acked = s.at + s.len;
		play_wait(&p, 20000);
		play_ack(&p, acked, NULL, 0);
	}
	cr_expect_gt(play_info(&p).cwnd, 15 * mss);
	play_drain(&p);
	play_wait(&p, 1000000);
	play_queue(&p, 40 * mss);
	cr_expect_eq(play_drain(&p), 10);
	cr_expect_eq(play_info(&p).cwnd, 10 * mss);
	play_end(&p);
}
