/*
 * test_acks.c: when data is acknowledged: at once at the start and around gaps, every second segment or
 * after the delay otherwise, and once for all that came in one batch (RFC 9293 3.8.6.3, 5681 4.2).
 */
#include <criterion/criterion.h>
#include <string.h>
#include "play.h"

#define SEG 1000

static unsigned acks(struct play *p)
{
	struct play_seg s;
	unsigned n = 0;

	while (play_take(p, &s))
		n++;
	return n;
}

Test(acks, quick_at_the_start_then_delayed)
{
	struct tcp_conf c = tcp_conf_default();
	struct play p;
	uint32_t at = 0;

	c.quickack_segs = 4;
	play_open(&p, &c, PLAY_SACK | PLAY_TS);
	for (unsigned i = 0; i < 4; i++, at += SEG) {
		play_data(&p, at, SEG, 0, 0);
		cr_expect_eq(acks(&p), 1, "segment %u of the start", i);
	}
	play_data(&p, at, SEG, 0, 0);
	cr_expect_eq(acks(&p), 0, "then one waits");
	play_data(&p, at + SEG, SEG, 0, 0);
	cr_expect_eq(acks(&p), 1, "for the next");
	play_data(&p, at + 2 * SEG, SEG, 0, 0);
	play_wait(&p, 35000);
	cr_expect_eq(acks(&p), 0);
	play_wait(&p, 10000);
	cr_expect_eq(acks(&p), 1, "or for 40 ms");
	play_end(&p);
}

Test(acks, at_once_around_a_gap_and_some_time_after)
{
	struct tcp_conf c = tcp_conf_default();
	struct play p;
	struct play_seg s;

	c.quickack_segs = 0;
	play_open(&p, &c, PLAY_SACK | PLAY_TS);
	play_data(&p, SEG, SEG, 0, 0);
	cr_assert(play_take(&p, &s));
	cr_expect(s.ack == 0 && s.n_sack == 1 && s.sack[0].start == SEG, "out of order");
	play_data(&p, 2 * SEG, SEG, 0, 0);
	cr_expect_eq(acks(&p), 1);
	play_data(&p, 0, SEG, 0, 0);
	cr_assert(play_take(&p, &s));
	cr_expect(s.ack == 3 * SEG && s.n_sack == 0, "the gap is filled");
	p.got = 3 * SEG;
	for (unsigned i = 3; i < 11; i++) {
		play_data(&p, i * SEG, SEG, 0, 0);
		cr_expect_eq(acks(&p), 1, "segment %u: the peer's window must grow", i);
	}
	play_data(&p, 11 * SEG, SEG, 0, 0);
	cr_expect_eq(acks(&p), 0, "then delayed again");
	play_end(&p);
}

struct batch {
	struct tcp_conn *c;
	unsigned data, acks;
};

static bool count(struct wire *w, struct wire_frame *f)
{
	struct batch *b = w->arg;

	if (f->l4[13] & W_SYN)
		return true;
	if (f->len > (f->l4[12] >> 4) * 4u)
		b->data++;
	else if (f->to == 0)
		b->acks++;
	return true;
}

static void app(struct wire *w, unsigned end, struct tcp_conn *c, uint32_t events)
{
	struct slice v[16];
	unsigned n;

	if (events & TCP_EV_CLOSED) {
		tcp_release(c);
		return;
	}
	while (end == 1 && (n = tcp_take(c, v, 16)) != 0)
		for (unsigned i = 0; i < n; i++) {
			tcp_consumed(c, v[i].len);
			slice_drop(&v[i]);
		}
}

Test(acks, one_for_a_batch)
{
	static const struct ip_addr any;
	struct tcp_conf c = tcp_conf_default();
	struct wire_link l = {.delay_us = 5000};
	struct batch b;
	struct wire w;
	enum err err;

	memset(&b, 0, sizeof(b));
	wire_init(&w, 1, &c, &c, &l, 1500, 256);
	w.app = app;
	w.arg = &b;
	w.filter = count;
	cr_assert_eq(tcp_listen(w.end[1].tcp, &any, 25, 0), ERR_OK);
	b.c = tcp_connect(w.end[0].tcp, &any, &w.end[1].net.addr4, 25, 0, w.now_us, &err);
	cr_assert(b.c != NULL);
	wire_run(&w, w.now_us + 20000);
	b.acks = b.data = 0;
	for (unsigned i = 0; i < 10; i++)
		cr_assert(tcp_send(b.c, wire_pattern(w.end[0].pool, 1, 0, 1448), false));
	tcp_flush(w.end[0].tcp, w.now_us);
	wire_run(&w, w.now_us + 30000);
	cr_expect_eq(b.data, 10);
	cr_expect_eq(b.acks, 1, "%u ACKs for ten segments in one batch", b.acks);
	tcp_abort(b.c);
	tcp_release(b.c);
	wire_run(&w, w.now_us + 100000);
	wire_fini(&w);
	cr_assert_eq(pkt_heap_outstanding(), 0);
}
