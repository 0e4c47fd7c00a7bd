/*
 * test_wire.c: two stacks on a lossy wire: every byte arrives once and in order, or the connection
 * says why not, and nothing is left over. One seed is one run: WIRE_SEED=n repeats one,
 * WIRE_SEEDS=n says how many.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include "wire.h"

/* One side of one connection. */
struct side {
	struct tcp_conn *c;
	uint64_t seed, peer_seed;
	uint64_t to_send, sent, got;
	bool accepted, connected, fin, closed, shut;
	enum err err;
};

struct run {
	struct wire w;
	struct side side[2];
	uint32_t chunk_max;
	bool slow_reader; /* takes a little at a time */
	bool close_early; /* tcp_close instead of tcp_shutdown */
	bool bad;
};

static void send_more(struct run *r, unsigned end)
{
	struct side *s = &r->side[end];

	while (s->c && s->sent < s->to_send) {
		uint32_t len = 1 + rnd_below(&r->w.rnd, r->chunk_max);
		if (len > s->to_send - s->sent)
			len = (uint32_t)(s->to_send - s->sent);
		if (len > PKT_ROOM)
			len = PKT_ROOM;
		if (tcp_send_room(s->c) < len)
			return;
		struct slice p = wire_pattern(r->w.end[end].pool, s->seed, s->sent, len);
		if (!p.pkt)
			return;
		bool push = s->sent + len == s->to_send || rnd_below(&r->w.rnd, 4) == 0;
		if (!tcp_send(s->c, p, push))
			return;
		s->sent += len;
	}
	if (s->c && !s->shut && s->sent == s->to_send) {
		s->shut = true;
		tcp_shutdown(s->c);
	}
}

static void read_some(struct run *r, unsigned end)
{
	struct side *s = &r->side[end];
	struct slice v[8];
	unsigned n, max = r->slow_reader ? 1 : 8;

	while (s->c && (n = tcp_take(s->c, v, max)) != 0) {
		for (unsigned i = 0; i < n; i++) {
			if (!wire_pattern_ok(v[i].data, s->peer_seed, s->got, v[i].len))
				r->bad = true;
			s->got += v[i].len;
			tcp_consumed(s->c, v[i].len);
			slice_drop(&v[i]);
		}
		if (r->slow_reader)
			break;
	}
}

static void app(struct wire *w, unsigned end, struct tcp_conn *c, uint32_t events)
{
	struct run *r = w->arg;
	struct side *s = &r->side[end];

	if (events & TCP_EV_ACCEPTED) {
		cr_assert(!s->accepted, "accepted twice");
		s->accepted = true;
		s->c = c;
	}
	if (events & TCP_EV_CONNECTED)
		s->connected = true;
	if (events & TCP_EV_READABLE)
		read_some(r, end);
	if (events & TCP_EV_FIN)
		s->fin = true;
	if (events & TCP_EV_CLOSED) {
		r->slow_reader = false;
		read_some(r, end);
		s->closed = true;
		s->err = tcp_error(c);
		tcp_release(c);
		s->c = NULL;
		return;
	}
	send_more(r, end);
}

static struct side *peer_of(struct run *r, struct side *s)
{
	return &r->side[s == &r->side[0]];
}

/* Runs until both are closed or for_us has passed. */
static void drive(struct run *r, uint64_t for_us)
{
	uint64_t end = r->w.now_us + for_us;

	while (!(r->side[0].closed && r->side[1].closed) && wire_step(&r->w, end))
		for (unsigned i = 0; i < 2; i++) {
			if (!r->side[i].c)
				continue;
			if (r->slow_reader && tcp_readable(r->side[i].c))
				read_some(r, i);
			send_more(r, i); /* packets may be there again */
		}
}

static void start(struct run *r, uint64_t seed, const struct tcp_conf *a, const struct tcp_conf *b,
		  const struct wire_link *link, uint16_t mtu, bool ip6)
{
	static const struct ip_addr any;
	enum err err;

	memset(r, 0, sizeof(*r));
	wire_init(&r->w, seed, a, b, link, mtu, 4096);
	r->w.app = app;
	r->w.arg = r;
	r->chunk_max = 3000;
	for (unsigned i = 0; i < 2; i++) {
		r->side[i].seed = seed * 2 + i;
		r->side[i].peer_seed = seed * 2 + 1 - i;
	}
	cr_assert_eq(tcp_listen(r->w.end[1].tcp, &any, 25, 7), ERR_OK);
	r->side[0].c = tcp_connect(r->w.end[0].tcp, &any,
				   ip6 ? &r->w.end[1].net.addr6 : &r->w.end[1].net.addr4, 25, 9,
				   r->w.now_us, &err);
	cr_assert(r->side[0].c != NULL);
}

static void finish(struct run *r, const char *name, uint64_t seed)
{
	for (unsigned i = 0; i < 2; i++) {
		struct side *s = &r->side[i];
		struct side *p = peer_of(r, s);
		cr_expect(s->closed, "%s seed %lu: end %u is not closed", name, seed, i);
		cr_expect_eq(s->err, ERR_OK, "%s seed %lu: end %u: %s", name, seed, i,
			     err_name(s->err));
		cr_expect_eq(s->got, p->to_send, "%s seed %lu: end %u got %lu of %lu", name, seed,
			     i, s->got, p->to_send);
		if (s->c)
			tcp_release(s->c);
		s->c = NULL;
	}
	cr_expect(!r->bad, "%s seed %lu: bytes are not those that were sent", name, seed);
	wire_run(&r->w, r->w.now_us + 130000000); /* TIME-WAIT */
	for (unsigned i = 0; i < 2; i++) {
		struct tcp_counts n;
		tcp_counts(r->w.end[i].tcp, &n);
		cr_expect(n.conns == 0 && n.half_open == 0 && n.time_wait == 0,
			  "%s seed %lu: end %u keeps %u, %u, %u", name, seed, i, n.conns,
			  n.half_open, n.time_wait);
	}
	wire_fini(&r->w);
	cr_assert_eq(pkt_heap_outstanding(), 0, "%s seed %lu: %u packets left", name, seed,
		     pkt_heap_outstanding());
}

Test(wire, clean)
{
	struct tcp_conf c = tcp_conf_default();
	struct wire_link l = {.delay_us = 5000};
	struct run r;

	start(&r, 1, &c, &c, &l, 1500, false);
	r.side[0].to_send = 3000000;
	r.side[1].to_send = 1000;
	drive(&r, 60000000);
	cr_expect_eq(stat_get(&r.w.end[0].stat, STAT_tcp_retransmit), 0);
	finish(&r, "clean", 1);
}

/* ---- many seeds ---- */

static uint32_t env_number(const char *name, uint32_t or)
{
	const char *v = getenv(name);
	return v ? (uint32_t)strtoul(v, NULL, 10) : or ;
}

/* Everything about a run follows from its seed. */
static void one_seed(uint64_t seed)
{
	struct tcp_conf c[2] = {tcp_conf_default(), tcp_conf_default()};
	struct wire_link l = {0};
	struct rnd x;
	struct run r;

	rnd_seed(&x, seed * 77 + 5);
	for (unsigned i = 0; i < 2; i++) {
		c[i].timestamps = rnd_below(&x, 4) != 0;
		c[i].sack = rnd_below(&x, 4) != 0;
		c[i].wscale = (uint8_t)(rnd_below(&x, 2) ? 8 : rnd_below(&x, 15));
		c[i].rcv_buf = rnd_below(&x, 3) ? 256 * 1024 : 2000 + rnd_below(&x, 60000);
		c[i].snd_buf = rnd_below(&x, 3) ? 256 * 1024 : 2000 + rnd_below(&x, 60000);
		c[i].ooo_max = rnd_below(&x, 4) ? 256 : 1 + rnd_below(&x, 20);
		c[i].mss_max = (uint16_t)(rnd_below(&x, 4) ? 0 : 48 + rnd_below(&x, 1400));
		c[i].quickack_segs = rnd_below(&x, 20);
		c[i].cc = (uint8_t)rnd_below(&x, 2);
		c[i].data_retries = 20; /* ten losses in a row happen at 10 % among many seeds */
		c[i].syn_retries = 12;
		c[i].rto_max_us = 5000000;
	}
	if (rnd_below(&x, 4)) {
		l.loss = rnd_below(&x, 3) ? rnd_below(&x, 300) : rnd_below(&x, 1001);
		l.reorder = rnd_below(&x, 2) ? rnd_below(&x, 1000) : 0;
		l.dup = rnd_below(&x, 2) ? rnd_below(&x, 500) : 0;
		l.corrupt = rnd_below(&x, 3) ? 0 : rnd_below(&x, 300);
	}
	l.delay_us = rnd_below(&x, 2) ? rnd_below(&x, 2000) : rnd_below(&x, 100000);
	l.late_us = rnd_below(&x, 20000);
	if (rnd_below(&x, 3) == 0) {
		l.bits_per_s = 1000000 + rnd_below(&x, 1000000000);
		l.queue_bytes = 20000 + rnd_below(&x, 200000);
	}
	uint16_t mtu = (uint16_t)(rnd_below(&x, 4) ? 1500 : 1280 + rnd_below(&x, 700));
	if (rnd_below(&x, 6) == 0)
		l.mtu = 1280;
	bool ip6 = rnd_below(&x, 3) == 0;
	for (unsigned i = 0; i < 2; i++)
		c[i].ecn = (uint8_t)rnd_below(&x, 3);
	l.mark = rnd_below(&x, 3) ? 0 : rnd_below(&x, 500);
	start(&r, seed, &c[0], &c[1], &l, mtu, ip6);
	r.w.end[0].net.info.tso = rnd_below(&x, 2);
	r.w.end[1].net.info.tso = rnd_below(&x, 2);
	r.slow_reader = rnd_below(&x, 4) == 0;
	r.chunk_max = rnd_below(&x, 3) ? 3000 : 1 + rnd_below(&x, 300);
	for (unsigned i = 0; i < 2; i++)
		r.side[i].to_send = rnd_below(&x, 4) ? rnd_below(&x, 40000) : rnd_below(&x, 400000);
	drive(&r, 3600000000u);
	finish(&r, "lossy", seed);
}

Test(wire, lossy)
{
	uint32_t one = env_number("WIRE_SEED", 0);
	uint32_t n = env_number("WIRE_SEEDS", 400);

	if (one)
		one_seed(one);
	else
		for (uint32_t seed = 1; seed <= n; seed++)
			one_seed(seed);
}

/* ---- how fast it recovers ---- */

struct rate_row {
	const char *name;
	uint32_t loss, reorder;
	uint32_t delay_us;
	uint64_t bits_per_s;
	uint32_t queue_bytes;
	bool sack, timestamps;
	uint8_t cc;
	double min_mbit; /* fails below */
};

static const struct rate_row rate_rows[] = {
	{"1 % loss, 20 ms, 100 Mb/s, SACK", 100, 0, 10000, 100000000, 0, true, true, TCP_CC_NEWRENO,
	 4},
	{"1 % loss, 20 ms, 100 Mb/s, SACK", 100, 0, 10000, 100000000, 0, true, true, TCP_CC_CUBIC,
	 4},
	{"1 % loss, 20 ms, 100 Mb/s, no SACK", 100, 0, 10000, 100000000, 0, false, true,
	 TCP_CC_NEWRENO, 3},
	{"1 % loss, 20 ms, 100 Mb/s, no SACK", 100, 0, 10000, 100000000, 0, false, true,
	 TCP_CC_CUBIC, 3},
	{"0.1 % loss, 20 ms, 100 Mb/s, SACK", 10, 0, 10000, 100000000, 0, true, true,
	 TCP_CC_NEWRENO, 12},
	{"0.1 % loss, 20 ms, 100 Mb/s, SACK", 10, 0, 10000, 100000000, 0, true, true, TCP_CC_CUBIC,
	 12},
	{"1 % loss, 1 ms, 1 Gb/s, SACK", 100, 0, 500, 1000000000, 0, true, true, TCP_CC_NEWRENO,
	 40},
	{"1 % loss, 1 ms, 1 Gb/s, SACK", 100, 0, 500, 1000000000, 0, true, true, TCP_CC_CUBIC, 40},
	{"5 % loss, 1 ms, 1 Gb/s, SACK", 500, 0, 500, 1000000000, 0, true, true, TCP_CC_NEWRENO, 5},
	{"5 % loss, 1 ms, 1 Gb/s, SACK", 500, 0, 500, 1000000000, 0, true, true, TCP_CC_CUBIC, 5},
	{"10 % loss, 1 ms, 1 Gb/s, SACK", 1000, 0, 500, 1000000000, 0, true, true, TCP_CC_NEWRENO,
	 1},
	{"10 % loss, 1 ms, 1 Gb/s, SACK", 1000, 0, 500, 1000000000, 0, true, true, TCP_CC_CUBIC, 1},
	{"queue 64 KB, 20 ms, 50 Mb/s", 0, 0, 10000, 50000000, 65536, true, true, TCP_CC_NEWRENO,
	 35},
	{"queue 64 KB, 20 ms, 50 Mb/s", 0, 0, 10000, 50000000, 65536, true, true, TCP_CC_CUBIC, 35},
	{"queue 64 KB, no SACK", 0, 0, 10000, 50000000, 65536, false, true, TCP_CC_NEWRENO, 20},
	{"queue 64 KB, no SACK", 0, 0, 10000, 50000000, 65536, false, true, TCP_CC_CUBIC, 20},
	{"1 % reordered by up to 2 ms, 20 ms, 100 Mb/s", 0, 100, 10000, 100000000, 0, true, true,
	 TCP_CC_NEWRENO, 50},
	{"1 % reordered by up to 2 ms, 20 ms, 100 Mb/s", 0, 100, 10000, 100000000, 0, true, true,
	 TCP_CC_CUBIC, 50},
	{"no loss, 20 ms, 1 Gb/s, 256 KiB window", 0, 0, 10000, 1000000000, 0, true, true,
	 TCP_CC_NEWRENO, 90},
	{"no loss, 20 ms, 1 Gb/s, 256 KiB window", 0, 0, 10000, 1000000000, 0, true, true,
	 TCP_CC_CUBIC, 90},
};

Test(wire, rates)
{
	bool print = env_number("WIRE_PRINT", 0);

	for (unsigned i = 0; i < sizeof(rate_rows) / sizeof(rate_rows[0]); i++) {
		const struct rate_row *row = &rate_rows[i];
		struct tcp_conf c = tcp_conf_default();
		struct wire_link l = {.loss = row->loss,
				      .reorder = row->reorder,
				      .late_us = 2000,
				      .delay_us = row->delay_us,
				      .bits_per_s = row->bits_per_s,
				      .queue_bytes = row->queue_bytes};
		struct run r;

		c.sack = row->sack;
		c.timestamps = row->timestamps;
		c.cc = row->cc;
		c.data_retries = 20;
		start(&r, 100 + i, &c, &c, &l, 1500, false);
		uint64_t from = r.w.now_us;
		r.side[0].to_send = 10000000;
		drive(&r, 600000000);
		double mbit = (double)r.side[1].got * 8 / (double)(r.w.now_us - from);
		if (print)
			printf("%-46s %-7s %7.1f Mb/s  %5lu retransmits %4lu fast %4lu undone %4lu timeouts\n",
			       row->name, row->cc == TCP_CC_CUBIC ? "cubic" : "newreno", mbit,
			       stat_get(&r.w.end[0].stat, STAT_tcp_retransmit),
			       stat_get(&r.w.end[0].stat, STAT_tcp_fast_retransmit),
			       stat_get(&r.w.end[0].stat, STAT_tcp_undo),
			       stat_get(&r.w.end[0].stat, STAT_tcp_rto));
		cr_expect_geq(mbit, row->min_mbit, "%s: %.2f Mb/s", row->name, mbit);
		finish(&r, row->name, 100 + i);
	}
}
