/*
 * test_congestion.c: congestion control over time: CUBIC beside the model of its throughput, HyStart++,
 * two flows that share a bottleneck, windows that were not used, pacing. Bulk senders on a wire in
 * virtual time; no bytes are compared here.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "wire.h"

#define FLOWS 4
#define PIECE 1460

struct flow {
	struct tcp_conn *c;
	uint64_t got;
	uint16_t port; /* at the sender */
};

struct bulk {
	struct wire w;
	struct flow flow[FLOWS];
	unsigned n;
	uint32_t piece;
	uint64_t data_frames, drop_every; /* one data frame in so many is lost; 0: none */
	uint32_t burst, burst_max;        /* data frames at one time */
	uint64_t burst_at;
};

static void feed(struct bulk *b, struct tcp_conn *c)
{
	while (tcp_send_room(c) >= b->piece) {
		struct slice s = wire_pattern(b->w.end[0].pool, 1, 0, b->piece);
		if (!s.pkt || !tcp_send(c, s, false))
			return;
	}
}

static void app(struct wire *w, unsigned end, struct tcp_conn *c, uint32_t events)
{
	struct bulk *b = w->arg;
	struct ip_addr l, r;
	uint16_t lport, rport;
	struct slice v[16];
	unsigned n;

	if (events & TCP_EV_CLOSED) {
		tcp_release(c);
		return;
	}
	if (end == 0) {
		feed(b, c);
		return;
	}
	tcp_addrs(c, &l, &lport, &r, &rport);
	while ((n = tcp_take(c, v, 16)) != 0)
		for (unsigned i = 0; i < n; i++) {
			for (unsigned k = 0; k < b->n; k++)
				if (b->flow[k].port == rport)
					b->flow[k].got += v[i].len;
			tcp_consumed(c, v[i].len);
			slice_drop(&v[i]);
		}
}

static bool filter(struct wire *w, struct wire_frame *f)
{
	struct bulk *b = w->arg;

	if (f->to != 1 || f->len <= (f->l4[12] >> 4) * 4u)
		return true;
	if (b->burst_at != w->now_us)
		b->burst = 0;
	b->burst_at = w->now_us;
	if (++b->burst > b->burst_max)
		b->burst_max = b->burst;
	b->data_frames++;
	return !b->drop_every || b->data_frames % b->drop_every;
}

static void begin(struct bulk *b, const struct tcp_conf *c, const struct wire_link *to,
		  const struct wire_link *back)
{
	static const struct ip_addr any;

	memset(b, 0, sizeof(*b));
	wire_init(&b->w, 3, c, c, to, 1500, 16384);
	b->w.link[1] = *back;
	b->w.app = app;
	b->w.arg = b;
	b->w.filter = filter;
	b->piece = PIECE;
	cr_assert_eq(tcp_listen(b->w.end[1].tcp, &any, 25, 0), ERR_OK);
}

static struct flow *add(struct bulk *b)
{
	static const struct ip_addr any;
	struct flow *f = &b->flow[b->n++];
	struct ip_addr l, r;
	uint16_t rport;
	enum err err;

	f->c = tcp_connect(b->w.end[0].tcp, &any, &b->w.end[1].net.addr4, 25, 0, b->w.now_us, &err);
	cr_assert(f->c != NULL);
	tcp_addrs(f->c, &l, &f->port, &r, &rport);
	wire_settle(&b->w);
	return f;
}

static void run(struct bulk *b, uint64_t us)
{
	uint64_t end = b->w.now_us + us;

	while (wire_step(&b->w, end))
		for (unsigned i = 0; i < b->n; i++)
			if (b->flow[i].c && tcp_state(b->flow[i].c) == TCP_ESTABLISHED)
				feed(b, b->flow[i].c);
}

static void end(struct bulk *b)
{
	for (unsigned i = 0; i < b->n; i++)
		if (b->flow[i].c) {
			tcp_abort(b->flow[i].c);
			tcp_release(b->flow[i].c);
			b->flow[i].c = NULL;
		}
	b->w.app = NULL;
	wire_run(&b->w, b->w.now_us + 1000000);
	wire_fini(&b->w);
	cr_assert_eq(pkt_heap_outstanding(), 0);
}

static struct tcp_conf big(void)
{
	struct tcp_conf c = tcp_conf_default();

	c.snd_buf = c.rcv_buf = 4u << 20;
	return c;
}

/* RFC 9438 section 5 (8312 figure 1): average window in segments at loss rate p. */
static double cubic_model(double rtt_s, double p)
{
	return pow(0.4 * 3.7 / 1.2, 0.25) * pow(rtt_s / p, 0.75);
}

Test(congestion, cubic_keeps_to_its_model)
{
	static const struct {
		uint32_t rtt_ms, one_in;
	} rows[] = {{100, 3000}, {100, 10000}, {200, 2000}};
	bool print = getenv("WIRE_PRINT") != NULL;

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tcp_conf c = big();
		struct wire_link l = {.delay_us = rows[i].rtt_ms * 500};
		struct bulk b;
		c.mss_max = 212; /* payload 200: it is segments that count */
		begin(&b, &c, &l, &l);
		b.piece = 1000;
		b.drop_every = rows[i].one_in;
		struct flow *f = add(&b);
		run(&b, 60000000);
		uint64_t from = f->got, t = b.w.now_us, losses = b.data_frames / rows[i].one_in;
		run(&b, 400000000);
		losses = b.data_frames / rows[i].one_in - losses;
		double w = (double)(f->got - from) / 200 * rows[i].rtt_ms * 1000 /
			   (double)(b.w.now_us - t);
		double model = cubic_model(rows[i].rtt_ms / 1000.0, 1.0 / rows[i].one_in);
		if (print)
			printf("RTT %u ms, 1 of %u lost: window %.1f, model %.1f, %lu losses\n",
			       rows[i].rtt_ms, rows[i].one_in, w, model, losses);
		cr_expect(w > 0.9 * model && w < 1.1 * model, "row %u: %.1f, not %.1f", i, w, model);
		cr_expect_eq(stat_get(&b.w.end[0].stat, STAT_tcp_rto), 0);
		end(&b);
	}
}

Test(congestion, two_flows_share_a_bottleneck)
{
	static const uint8_t cc[] = {TCP_CC_CUBIC, TCP_CC_NEWRENO};
	bool print = getenv("WIRE_PRINT") != NULL;

	for (unsigned i = 0; i < 2; i++) {
		struct tcp_conf c = big();
		struct wire_link to = {.delay_us = 10000, .bits_per_s = 20000000, .queue_bytes = 60000};
		struct wire_link back = {.delay_us = 10000};
		struct bulk b;
		c.cc = cc[i];
		begin(&b, &c, &to, &back);
		struct flow *x = add(&b);
		run(&b, 5000000);
		struct flow *y = add(&b); /* comes later, into a full queue */
		run(&b, 20000000);
		uint64_t gx = x->got, gy = y->got, t = b.w.now_us;
		run(&b, 60000000);
		double mx = (double)(x->got - gx) * 8 / (double)(b.w.now_us - t);
		double my = (double)(y->got - gy) * 8 / (double)(b.w.now_us - t);
		if (print)
			printf("%s: %.2f and %.2f Mb/s\n", i ? "newreno" : "cubic", mx, my);
		cr_expect(mx < 1.5 * my && my < 1.5 * mx, "%u: %.2f and %.2f Mb/s", i, mx, my);
		cr_expect_gt(mx + my, 18.0, "%u: the link is used: %.2f", i, mx + my);
		end(&b);
	}
}

/* A queue of half a second at the bottleneck: slow start must end by itself, before it is full. */
Test(congestion, hystart_ends_slow_start_before_the_queue_is_full)
{
	static const uint8_t cc[] = {TCP_CC_CUBIC, TCP_CC_NEWRENO};
	bool print = getenv("WIRE_PRINT") != NULL;

	for (unsigned i = 0; i < 2; i++) {
		struct tcp_conf c = big();
		struct wire_link to = {.delay_us = 25000, .bits_per_s = 8000000, .queue_bytes = 500000};
		struct wire_link back = {.delay_us = 25000};
		struct tcp_conn_info info;
		struct bulk b;
		c.cc = cc[i];
		begin(&b, &c, &to, &back);
		struct flow *f = add(&b);
		run(&b, 3000000);
		tcp_conn_info(f->c, &info);
		if (print)
			printf("cwnd %u, ssthresh %u, srtt %u us, %lu bytes\n", info.cwnd, info.ssthresh,
			       info.srtt_us, f->got);
		cr_expect_lt(info.ssthresh, 450000, "slow start is over: %u", info.ssthresh);
		cr_expect_gt(info.ssthresh, 50000, "not below what the path holds: %u",
			     info.ssthresh);
		cr_expect_eq(info.retransmits, 0);
		run(&b, 2000000);
		cr_expect_gt(f->got, 4400000, "%lu", f->got);
		end(&b);
	}
}

/* A path with jitter but no queue: the window doubles each round trip up to what the socket holds. */
Test(congestion, hystart_lets_a_clear_path_alone)
{
	struct tcp_conf c = big();
	struct wire_link l = {.delay_us = 25000};
	struct tcp_conn_info info;
	struct bulk b;

	begin(&b, &c, &l, &l);
	struct flow *f = add(&b);
	run(&b, 1000000);
	tcp_conn_info(f->c, &info);
	cr_expect_eq(info.ssthresh, UINT32_MAX);
	cr_expect_geq(info.cwnd, 700000, "%u", info.cwnd);
	end(&b);
}

/* A window of a quarter megabyte over 40 ms: some 9 segments a tick; unpaced, one ACK's worth of growth and
 * the start leave as bursts. */
Test(congestion, pacing_bounds_bursts)
{
	for (unsigned paced = 0; paced < 2; paced++) {
		struct tcp_conf c = tcp_conf_default();
		struct wire_link l = {.delay_us = 20000};
		struct tcp_conn_info info;
		struct bulk b;
		c.pacing = paced;
		begin(&b, &c, &l, &l);
		struct flow *f = add(&b);
		run(&b, 2000000);
		tcp_conn_info(f->c, &info);
		uint64_t got = f->got;
		b.burst_max = 0;
		/* the receiver's ACKs stop for half a round trip: all come at once after it */
		b.w.link[1].delay_us = 40000;
		run(&b, 40000);
		b.w.link[1].delay_us = 20000;
		run(&b, 2000000);
		got = f->got - got;
		if (paced)
			cr_expect_leq(b.burst_max, 2 * info.cwnd / info.mss / 20 + 12, "%u in a burst",
				      b.burst_max);
		cr_expect_eq(stat_get(&b.w.end[0].stat, STAT_tcp_paced) != 0, paced != 0);
		cr_expect_gt(got, 10000000, "paced %u: %lu bytes in 2 s", paced, got);
		end(&b);
	}
}
