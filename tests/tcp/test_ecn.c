/*
 * test_ecn.c: explicit congestion notification, RFC 3168 section 6, from outside.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include "play.h"

static const struct ip_addr any;

struct offer_row {
	const char *name;
	uint8_t conf, syn, answer;
};

Test(ecn, what_a_syn_gets)
{
	static const struct offer_row rows[] = {
		{"offer", TCP_ECN_ACCEPT, W_ECE | W_CWR, W_ECE},
		{"offer, and we offer too", TCP_ECN_OFFER, W_ECE | W_CWR, W_ECE},
		{"offer, switched off", TCP_ECN_OFF, W_ECE | W_CWR, 0},
		{"none", TCP_ECN_ACCEPT, 0, 0},
		{"half", TCP_ECN_ACCEPT, W_ECE, 0},
		{"the other half", TCP_ECN_ACCEPT, W_CWR, 0},
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tcp_conf c = tcp_conf_default();
		struct wire w;
		struct wire_seg s;
		c.ecn = rows[i].conf;
		wire_init(&w, 1, &c, NULL, NULL, 1500, 64);
		cr_assert_eq(tcp_listen(w.end[0].tcp, &any, 25, 0), ERR_OK);
		struct wire_seg syn = {.sport = 9, .dport = 25, .flags = W_SYN | rows[i].syn, .wnd = 1};
		wire_inject(&w, 0, &syn);
		cr_assert(wire_take(&w, &s));
		cr_expect_eq(s.flags, W_SYN | W_ACK | rows[i].answer, "%s: %x", rows[i].name,
			     s.flags);
		cr_expect_eq(s.ecn, 0, "%s: no ECT on a SYN-ACK", rows[i].name);
		/* 6.1.1.1: the peer takes its offer back */
		syn.flags = W_SYN;
		wire_inject(&w, 0, &syn);
		cr_assert(wire_take(&w, &s));
		cr_expect_eq(s.flags, W_SYN | W_ACK, "%s: %x", rows[i].name, s.flags);
		wire_fini(&w);
	}
}

Test(ecn, what_we_offer)
{
	static const struct offer_row rows[] = {
		{"by default nothing", TCP_ECN_ACCEPT, 0, W_ECE},
		{"accepted", TCP_ECN_OFFER, W_ECE | W_CWR, W_ECE},
		{"not accepted", TCP_ECN_OFFER, W_ECE | W_CWR, 0},
		{"bits copied by who knows them not", TCP_ECN_OFFER, W_ECE | W_CWR, W_ECE | W_CWR},
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tcp_conf c = tcp_conf_default();
		struct wire w;
		struct wire_seg s;
		enum err err;
		struct tcp_conn_info info;
		c.ecn = rows[i].conf;
		wire_init(&w, 1, &c, NULL, NULL, 1500, 64);
		struct tcp_conn *conn = tcp_connect(w.end[0].tcp, &any, &w.end[1].net.addr4, 25, 0,
						    w.now_us, &err);
		cr_assert(conn && wire_take(&w, &s));
		cr_expect_eq(s.flags, W_SYN | rows[i].syn, "%s: %x", rows[i].name, s.flags);
		cr_expect_eq(s.ecn, 0);
		struct wire_seg answer = {.sport = 25,
					  .dport = s.sport,
					  .ack = s.seq + 1,
					  .flags = W_SYN | W_ACK | rows[i].answer,
					  .wnd = 1000};
		/* not answered: the second SYN has no offer (6.1.1.1) */
		wire_run(&w, w.now_us + 1100000);
		cr_assert(wire_take(&w, &s));
		cr_expect_eq(s.flags, W_SYN, "%s: %x", rows[i].name, s.flags);
		wire_inject(&w, 0, &answer);
		tcp_conn_info(conn, &info);
		cr_expect_eq(info.state, TCP_ESTABLISHED);
		cr_expect_eq(info.ecn, i == 1, "%s", rows[i].name);
		tcp_abort(conn);
		tcp_release(conn);
		wire_fini(&w);
	}
}

Test(ecn, ect_on_new_data_only)
{
	struct play p;
	struct play_seg s;

	play_open(&p, NULL, PLAY_ECN | PLAY_SACK | PLAY_TS);
	cr_expect(play_info(&p).ecn);
	play_data(&p, 0, 100, 0, 2);
	cr_assert(play_take(&p, &s));
	cr_expect(s.len == 0 && s.ecn == 0, "a pure ACK");
	play_queue(&p, 1000);
	cr_assert(play_take(&p, &s));
	cr_expect(s.len == 1000 && s.ecn == 2, "new data: ECT(0)");
	play_wait(&p, 3000000);
	cr_assert(play_take(&p, &s));
	cr_expect(s.len == 1000 && s.ecn == 0, "the same data again");
	play_ack(&p, 1000, NULL, 0);
	play_drain(&p);
	/* a window probe */
	p.window = 0;
	play_ack(&p, 1000, NULL, 0);
	play_queue(&p, 1000);
	play_wait(&p, 20000000);
	cr_assert(play_take(&p, &s));
	cr_expect(s.len == 1 && s.ecn == 0, "a window probe: %u bytes, %u", s.len, s.ecn);
	play_end(&p);

	play_open(&p, NULL, PLAY_SACK | PLAY_TS);
	play_queue(&p, 1000);
	cr_assert(play_take(&p, &s));
	cr_expect(s.ecn == 0, "not agreed on");
	play_data(&p, 0, 100, 0, 3);
	cr_assert(play_take(&p, &s));
	cr_expect_eq(s.flags & W_ECE, 0);
	play_end(&p);
}

Test(ecn, marks_are_echoed_until_cwr)
{
	struct play p;
	struct play_seg s;

	play_open(&p, NULL, PLAY_ECN | PLAY_SACK | PLAY_TS);
	play_data(&p, 0, 100, 0, 2);
	cr_assert(play_take(&p, &s));
	cr_expect_eq(s.flags, W_ACK);
	play_data(&p, 100, 100, 0, 3);
	cr_assert(play_take(&p, &s));
	cr_expect_eq(s.flags, W_ACK | W_ECE, "echo");
	play_data(&p, 200, 100, 0, 2);
	cr_assert(play_take(&p, &s));
	cr_expect_eq(s.flags, W_ACK | W_ECE, "and on");
	play_data(&p, 300, 100, W_CWR, 2);
	cr_assert(play_take(&p, &s));
	cr_expect_eq(s.flags, W_ACK, "until CWR");
	play_data(&p, 400, 100, W_CWR, 3);
	cr_assert(play_take(&p, &s));
	cr_expect_eq(s.flags, W_ACK | W_ECE, "CWR on a marked packet: a new mark");
	play_data(&p, 500, 100, W_CWR, 2);
	play_drain(&p);
	/* 6.1.5: nobody believes a mark on what is outside the window */
	play_data(&p, 0, 100, 0, 3);
	cr_assert(play_take(&p, &s));
	cr_expect_eq(s.flags, W_ACK, "old data");
	cr_expect_eq(play_count(&p, STAT_tcp_ecn_ce), 2);
	play_end(&p);
}

Test(ecn, an_echo_reduces_once_a_window)
{
	struct play p;
	struct play_seg s;

	play_open(&p, NULL, PLAY_ECN | PLAY_SACK | PLAY_TS);
	uint32_t mss = play_info(&p).mss;
	play_queue(&p, 40000);
	play_drain(&p);
	uint32_t before = play_info(&p).cwnd;
	play_wait(&p, 20000);
	play_ack_ts(&p, mss, NULL, 0, W_ECE, p.ts_echo);
	uint32_t reduced = play_info(&p).cwnd;
	cr_expect_eq(reduced, before * 7 / 10, "%u of %u", reduced, before);
	cr_expect(play_info(&p).recovery == TCP_REC_OPEN);
	for (unsigned i = 2; i <= 10; i++)
		play_ack_ts(&p, i * mss, NULL, 0, W_ECE, p.ts_echo);
	cr_expect_leq(play_info(&p).cwnd, reduced, "no growth by ACKs that echo");
	cr_expect_geq(play_info(&p).cwnd, reduced - mss, "and no second reduction");
	cr_expect_eq(play_count(&p, STAT_tcp_ecn_reduced), 1);
	cr_assert(play_take(&p, &s));
	cr_expect(s.len && (s.flags & W_CWR), "the first new segment tells");
	while (play_take(&p, &s))
		cr_expect(!(s.flags & W_CWR), "and no other");
	cr_expect_eq(play_count(&p, STAT_tcp_retransmit), 0, "nothing was lost");
	/* the next window */
	play_wait(&p, 20000);
	play_ack_ts(&p, 14 * mss, NULL, 0, W_ECE, p.ts_echo);
	cr_expect_eq(play_count(&p, STAT_tcp_ecn_reduced), 2);
	play_end(&p);
}
