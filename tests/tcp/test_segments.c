/*
 * test_segments.c: one stack, and the test plays the peer segment by segment: the rules of RFC
 * 9293 3.10.7, 5961, 7323, 6191, 5927 that two well-behaved stacks never show.
 */
#include <criterion/criterion.h>
#include <string.h>
#include "wire.h"

#define PEER_PORT 40000
#define OUR_PORT  25
#define PEER_ISN  1000000u

struct hand {
	struct wire w;
	struct tcp_conn *c;
	uint32_t events;   /* all that came */
	uint32_t snd, rcv; /* next sequence number of the peer; of the stack */
	bool keep;	   /* do not release when closed */
	bool closed;
	enum err err;
};

static void app(struct wire *w, unsigned end, struct tcp_conn *c, uint32_t events)
{
	struct hand *h = w->arg;

	if (events & TCP_EV_ACCEPTED)
		h->c = c;
	h->events |= events;
	if (events & TCP_EV_CLOSED) {
		h->closed = true;
		h->err = tcp_error(c);
		if (!h->keep) {
			tcp_release(c);
			h->c = NULL;
		}
	}
}

static const struct ip_addr any;

static void begin(struct hand *h, const struct tcp_conf *conf)
{
	struct tcp_conf c = conf ? *conf : tcp_conf_default();

	memset(h, 0, sizeof(*h));
	wire_init(&h->w, 5, &c, NULL, NULL, 1500, 512);
	h->w.app = app;
	h->w.arg = h;
	cr_assert_eq(tcp_listen(h->w.end[0].tcp, &any, OUR_PORT, 3), ERR_OK);
	h->snd = PEER_ISN;
}

static void end(struct hand *h)
{
	if (h->c)
		tcp_release(h->c);
	wire_fini(&h->w);
	cr_assert_eq(pkt_heap_outstanding(), 0);
}

static uint64_t count(struct hand *h, enum stat_id id)
{
	return stat_get(&h->w.end[0].stat, id);
}

static struct tcp_counts counts(struct hand *h)
{
	struct tcp_counts n;
	tcp_counts(h->w.end[0].tcp, &n);
	return n;
}

static void put(struct hand *h, uint8_t flags, uint32_t seq, uint32_t ack, const void *data,
		uint32_t len)
{
	wire_inject(&h->w, 0,
		    &(struct wire_seg){.sport = PEER_PORT,
				       .dport = OUR_PORT,
				       .seq = seq,
				       .ack = ack,
				       .flags = flags,
				       .wnd = 60000,
				       .data = data,
				       .len = len});
}

/* Runs for us microseconds. */
static void wait_us(struct hand *h, uint64_t us)
{
	wire_run(&h->w, h->w.now_us + us);
}

static void handshake(struct hand *h, const uint8_t *opt, uint32_t opt_len)
{
	struct wire_seg s;

	wire_inject(&h->w, 0,
		    &(struct wire_seg){.sport = PEER_PORT,
				       .dport = OUR_PORT,
				       .seq = h->snd,
				       .flags = W_SYN,
				       .wnd = 60000,
				       .opt = opt,
				       .opt_len = opt_len});
	cr_assert(wire_take(&h->w, &s));
	cr_assert_eq(s.flags, W_SYN | W_ACK);
	cr_assert_eq(s.ack, h->snd + 1);
	h->rcv = s.seq + 1;
	h->snd++;
	put(h, W_ACK, h->snd, h->rcv, NULL, 0);
	cr_assert(h->c != NULL);
	cr_assert_eq(tcp_state(h->c), TCP_ESTABLISHED);
	cr_assert_eq(wire_drain(&h->w), 0);
}

static void open_plain(struct hand *h, const struct tcp_conf *conf)
{
	static const uint8_t mss[] = {2, 4, 0x05, 0xb4};

	begin(h, conf);
	handshake(h, mss, sizeof(mss));
}

static void send_bytes(struct hand *h, uint32_t len)
{
	uint64_t off = 0;

	while (len) {
		uint32_t n = len < 1000 ? len : 1000;
		cr_assert(tcp_send(h->c, wire_pattern(h->w.end[0].pool, 1, off, n), len == n));
		off += n;
		len -= n;
	}
	tcp_flush(h->w.end[0].tcp, h->w.now_us);
}

static void expect_one(struct hand *h, uint8_t flags, uint32_t seq, uint32_t ack, const char *what)
{
	struct wire_seg s;

	if (!wire_take(&h->w, &s)) {
		cr_expect(false, "%s: no answer", what);
		return;
	}
	cr_expect_eq(s.flags, flags, "%s: flags %x", what, s.flags);
	cr_expect_eq(s.seq, seq, "%s: seq %u, not %u", what, s.seq, seq);
	if (flags & W_ACK)
		cr_expect_eq(s.ack, ack, "%s: ack %u, not %u", what, s.ack, ack);
	cr_expect_eq(wire_drain(&h->w), 0, "%s: more than one answer", what);
}

/* ---- opening ---- */

Test(segments, syn_options_as_linux_orders_them)
{
	static const uint8_t full[] = {2, 4,  5, 0xb4, 4, 2, 8, 10, 0, 0,
				       0, 99, 0, 0,    0, 0, 1, 3,  3, 7};
	static const uint8_t no_ts[] = {2, 4, 5, 0xb4, 1, 1, 4, 2, 1, 3, 3, 7};
	struct hand h;
	struct wire_seg s;

	begin(&h, NULL);
	wire_inject(&h.w, 0,
		    &(struct wire_seg){.sport = 1,
				       .dport = OUR_PORT,
				       .seq = 5,
				       .flags = W_SYN,
				       .wnd = 100,
				       .opt = full,
				       .opt_len = sizeof(full)});
	cr_assert(wire_take(&h.w, &s));
	cr_expect_eq(s.opt_len, 20);
	cr_expect_eq(memcmp(s.opt, ((const uint8_t[]){2, 4, 5, 0xb4, 4, 2, 8, 10}), 8), 0);
	cr_expect_eq(memcmp(s.opt + 12, ((const uint8_t[]){0, 0, 0, 99, 1, 3, 3, 8}), 8), 0);
	wire_inject(&h.w, 0,
		    &(struct wire_seg){.sport = 2,
				       .dport = OUR_PORT,
				       .seq = 5,
				       .flags = W_SYN,
				       .wnd = 100,
				       .opt = no_ts,
				       .opt_len = sizeof(no_ts)});
	cr_assert(wire_take(&h.w, &s));
	cr_expect_eq(s.opt_len, 12);
	cr_expect_eq(memcmp(s.opt, ((const uint8_t[]){2, 4, 5, 0xb4, 1, 1, 4, 2, 1, 3, 3, 8}), 12),
		     0);
	/* A peer that offers nothing gets nothing but the MSS. */
	wire_inject(&h.w, 0,
		    &(struct wire_seg){
			    .sport = 3, .dport = OUR_PORT, .seq = 5, .flags = W_SYN, .wnd = 100});
	cr_assert(wire_take(&h.w, &s));
	cr_expect_eq(s.opt_len, 4);
	end(&h);
}

Test(segments, closed_port)
{
	struct hand h;

	begin(&h, NULL);
	wire_inject(&h.w, 0,
		    &(struct wire_seg){.sport = 1, .dport = 99, .seq = 500, .flags = W_SYN});
	expect_one(&h, W_RST | W_ACK, 0, 501, "SYN");
	wire_inject(
		&h.w, 0,
		&(struct wire_seg){.sport = 1, .dport = 99, .seq = 500, .ack = 7, .flags = W_ACK});
	expect_one(&h, W_RST, 7, 0, "ACK");
	wire_inject(&h.w, 0,
		    &(struct wire_seg){.sport = 1,
				       .dport = 99,
				       .seq = 500,
				       .flags = W_FIN,
				       .data = "ab",
				       .len = 2});
	expect_one(&h, W_RST | W_ACK, 0, 503, "FIN with data");
	wire_inject(&h.w, 0,
		    &(struct wire_seg){
			    .sport = 1, .dport = 99, .seq = 500, .ack = 7, .flags = W_RST | W_ACK});
	cr_expect_eq(wire_drain(&h.w), 0, "RST is not answered");
	wire_inject(&h.w, 0,
		    &(struct wire_seg){
			    .sport = 1, .dport = OUR_PORT, .seq = 500, .ack = 7, .flags = W_ACK});
	expect_one(&h, W_RST, 7, 0, "ACK to a listener");
	wire_inject(&h.w, 0,
		    &(struct wire_seg){
			    .sport = 1, .dport = OUR_PORT, .seq = 500, .flags = W_SYN | W_FIN});
	cr_expect_eq(wire_drain(&h.w), 0, "SYN with FIN is dropped");
	end(&h);
}

Test(segments, syn_ack_is_sent_again)
{
	struct hand h;
	struct wire_seg s;

	begin(&h, NULL);
	put(&h, W_SYN, PEER_ISN, 0, NULL, 0);
	cr_assert(wire_take(&h.w, &s));
	uint32_t isn = s.seq;
	put(&h, W_SYN, PEER_ISN, 0, NULL, 0);
	expect_one(&h, W_SYN | W_ACK, isn, PEER_ISN + 1, "SYN again");
	wait_us(&h, 1100000);
	expect_one(&h, W_SYN | W_ACK, isn, PEER_ISN + 1, "after a second");
	wait_us(&h, 2100000);
	expect_one(&h, W_SYN | W_ACK, isn, PEER_ISN + 1, "after two more");
	/* A bad ACK is answered by RST and changes nothing; the good one opens. */
	put(&h, W_ACK, PEER_ISN + 1, isn + 100, NULL, 0);
	expect_one(&h, W_RST, isn + 100, 0, "bad ACK");
	put(&h, W_ACK, PEER_ISN + 1, isn + 1, NULL, 0);
	cr_expect(h.c != NULL);
	cr_expect_eq(tcp_tag(h.c), 3);
	end(&h);
}

Test(segments, half_open_ends)
{
	struct hand h;
	struct tcp_conf c = tcp_conf_default();

	c.syn_retries = 2;
	begin(&h, &c);
	put(&h, W_SYN, PEER_ISN, 0, NULL, 0);
	cr_expect_eq(counts(&h).half_open, 1);
	wait_us(&h, 30000000);
	cr_expect_eq(counts(&h).half_open, 0);
	cr_expect_eq(counts(&h).conns, 0);
	put(&h, W_SYN, PEER_ISN, 0, NULL, 0);
	put(&h, W_RST, PEER_ISN + 1, 0, NULL, 0);
	cr_expect_eq(counts(&h).conns, 0, "RST ends it");
	cr_expect_eq(h.events, 0, "the user never heard of them");
	end(&h);
}

Test(segments, syn_flood_is_bounded)
{
	struct hand h;
	struct tcp_conf c = tcp_conf_default();

	c.syn_backlog = 64;
	c.syn_cookies = false;
	c.syn_net_rate = 0;
	begin(&h, &c);
	for (unsigned i = 0; i < 1000; i++) {
		struct ip_addr from = ip_from4((i * 2654435761u) | 1); /* many networks */
		wire_inject_from(&h.w, 0, &from,
				 &(struct wire_seg){.sport = (uint16_t)(2000 + i),
						    .dport = OUR_PORT,
						    .seq = i,
						    .flags = W_SYN,
						    .wnd = 100});
	}
	cr_expect_eq(counts(&h).half_open, 64);
	cr_expect_eq(count(&h, STAT_tcp_syn_drop), 936);
	/* Old ones give way. */
	wait_us(&h, 1500000);
	wire_drain(&h.w);
	handshake(&h, NULL, 0);
	cr_expect_eq(count(&h, STAT_tcp_syn_recycled), 1);
	end(&h);
}

Test(segments, active_open_refused_and_lost)
{
	struct hand h;
	struct wire_seg s;
	enum err err;
	struct tcp_conf c = tcp_conf_default();

	c.syn_retries = 2;
	begin(&h, &c);
	for (unsigned i = 0; i < 4; i++) {
		h.closed = false;
		h.c = tcp_connect(h.w.end[0].tcp, &any, &h.w.end[1].net.addr4, 2525, 0, h.w.now_us,
				  &err);
		cr_assert(h.c != NULL);
		cr_assert(wire_take(&h.w, &s));
		cr_expect_eq(s.flags, W_SYN);
		struct wire_seg rst = {
			.sport = 2525, .dport = s.sport, .ack = s.seq + 1, .flags = W_RST | W_ACK};
		if (i == 0) {
			rst.ack = s.seq + 77; /* a blind guess */
			wire_inject(&h.w, 0, &rst);
			cr_expect(!h.closed);
			wire_drain(&h.w);
			rst.ack = s.seq + 1;
			wire_inject(&h.w, 0, &rst);
			cr_expect(h.closed && h.err == ERR_REFUSED);
		} else if (i == 1) {
			wait_us(&h, 60000000);
			cr_expect_eq(wire_drain(&h.w), 2, "SYN again, twice");
			cr_expect(h.closed && h.err == ERR_TIMEOUT);
		} else if (i == 2) {
			wire_inject_icmp(&h.w, 0, s.sport, 2525, s.seq, 1, 0);
			cr_expect(!h.closed, "a soft error is remembered");
			wait_us(&h, 60000000);
			wire_drain(&h.w);
			cr_expect(h.closed && h.err == ERR_UNREACHABLE);
		} else {
			wire_inject_icmp(&h.w, 0, s.sport, 2525, s.seq + 9, 2, 0);
			cr_expect(!h.closed, "quotes what was never sent");
			wire_inject_icmp(&h.w, 0, s.sport, 2525, s.seq, 2, 0);
			cr_expect(h.closed && h.err == ERR_REFUSED);
		}
	}
	end(&h);
}

Test(segments, ports_come_home)
{
	struct hand h;
	enum err err;
	struct wire_seg s;
	uint16_t first = 0;
	unsigned differ = 0;

	begin(&h, NULL);
	h.w.end[0].net.owners = true; /* worker 0 owns ports that are multiples of 4 */
	for (unsigned i = 0; i < 50; i++) {
		struct tcp_conn *c = tcp_connect(h.w.end[0].tcp, &any, &h.w.end[1].net.addr4, 25, 0,
						 h.w.now_us, &err);
		cr_assert(c && wire_take(&h.w, &s));
		cr_expect_eq(s.sport % 4, 0);
		cr_expect_geq(s.sport, 16384);
		differ += first != 0 && s.sport != first + 4;
		first = s.sport;
		tcp_abort(c);
		tcp_release(c);
	}
	cr_expect_gt(differ, 40, "ports are guessable");
	end(&h);
}

/* ---- attacks ---- */

Test(segments, reset_rules)
{
	struct hand h;

	open_plain(&h, NULL);
	put(&h, W_RST, h.snd - 1, 0, NULL, 0);
	put(&h, W_RST, h.snd + 70000, 0, NULL, 0);
	cr_expect_eq(wire_drain(&h.w), 0, "out of the window: nothing");
	put(&h, W_RST, h.snd + 100, 0, NULL, 0);
	expect_one(&h, W_ACK, h.rcv, h.snd, "in the window: challenge");
	put(&h, W_SYN, h.snd + 100, 0, NULL, 0);
	expect_one(&h, W_ACK, h.rcv, h.snd, "SYN in the window: challenge");
	put(&h, W_SYN, h.snd - 50, 0, NULL, 0);
	expect_one(&h, W_ACK, h.rcv, h.snd, "SYN out of the window");
	put(&h, W_ACK, h.snd, h.rcv + 1, NULL, 0);
	expect_one(&h, W_ACK, h.rcv, h.snd, "acknowledges what was not sent");
	put(&h, W_ACK, h.snd, h.rcv - 100000, NULL, 0);
	expect_one(&h, W_ACK, h.rcv, h.snd, "acknowledges the stone age");
	cr_expect(!h.closed);
	for (unsigned i = 0; i < 100; i++)
		put(&h, W_RST, h.snd + 100, 0, NULL, 0);
	cr_expect_eq(wire_drain(&h.w), 5, "ten challenges, then silence");
	wait_us(&h, 5100000);
	put(&h, W_RST, h.snd + 100, 0, NULL, 0);
	expect_one(&h, W_ACK, h.rcv, h.snd, "later again");
	put(&h, W_RST, h.snd, 0, NULL, 0);
	cr_expect(h.closed && h.err == ERR_RESET, "exact: reset");
	cr_expect_eq(count(&h, STAT_tcp_reset_in), 1);
	end(&h);
}

Test(segments, data_without_ack_or_with_bad_ack_is_dropped)
{
	struct hand h;

	open_plain(&h, NULL);
	put(&h, 0, h.snd, h.rcv, "abc", 3);
	cr_expect_eq(tcp_readable(h.c), 0);
	put(&h, W_ACK, h.snd, h.rcv + 5, "abc", 3);
	cr_expect_eq(tcp_readable(h.c), 0);
	put(&h, W_ACK | W_URG, h.snd, h.rcv, "abc", 3);
	cr_expect_eq(tcp_readable(h.c), 3, "urgent data is data");
	end(&h);
}

static uint32_t ts_seg(struct hand *h, uint8_t flags, uint32_t seq, uint32_t tsval,
		       const void *data, uint32_t len)
{
	uint8_t opt[12] = {1,
			   1,
			   8,
			   10,
			   (uint8_t)(tsval >> 24),
			   (uint8_t)(tsval >> 16),
			   (uint8_t)(tsval >> 8),
			   (uint8_t)tsval};

	wire_inject(&h->w, 0,
		    &(struct wire_seg){.sport = PEER_PORT,
				       .dport = OUR_PORT,
				       .seq = seq,
				       .ack = h->rcv,
				       .flags = flags,
				       .wnd = 60000,
				       .data = data,
				       .len = len,
				       .opt = opt,
				       .opt_len = 12});
	struct wire_seg s;
	uint32_t echo = 0;
	while (wire_take(&h->w, &s))
		if (s.opt_len >= 12)
			echo = (uint32_t)s.opt[8] << 24 | (uint32_t)s.opt[9] << 16 |
			       (uint32_t)s.opt[10] << 8 | s.opt[11];
	return echo;
}

Test(segments, paws)
{
	static const uint8_t syn[] = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0x10, 0, 0, 0, 0, 0};
	struct hand h;
	struct wire_seg s;

	begin(&h, NULL);
	wire_inject(&h.w, 0,
		    &(struct wire_seg){.sport = PEER_PORT,
				       .dport = OUR_PORT,
				       .seq = h.snd,
				       .flags = W_SYN,
				       .wnd = 60000,
				       .opt = syn,
				       .opt_len = sizeof(syn)});
	cr_assert(wire_take(&h.w, &s));
	h.rcv = s.seq + 1;
	h.snd++;
	ts_seg(&h, W_ACK, h.snd, 0x1001, NULL, 0);
	cr_assert(h.c != NULL);
	cr_expect_eq(ts_seg(&h, W_ACK, h.snd, 0x1005, "aaaa", 4), 0x1005);
	/* older than TS.Recent */
	cr_expect_eq(ts_seg(&h, W_ACK, h.snd + 4, 0x1004, "bbbb", 4), 0x1005,
		     "answered with an ACK");
	cr_expect_eq(tcp_readable(h.c), 4);
	cr_expect_eq(count(&h, STAT_tcp_paws), 1);
	/* no timestamp at all */
	put(&h, W_ACK, h.snd + 4, h.rcv, "bbbb", 4);
	cr_expect_eq(tcp_readable(h.c), 4);
	/* a segment beyond the next expected does not move TS.Recent */
	cr_expect_eq(ts_seg(&h, W_ACK, h.snd + 8, 0x1020, "cccc", 4), 0x1005);
	cr_expect_eq(ts_seg(&h, W_ACK, h.snd + 4, 0x1010, "bbbb", 4), 0x1010);
	cr_expect_eq(tcp_readable(h.c), 12);
	/* a RST is looked at even so */
	ts_seg(&h, W_RST, h.snd + 12, 1, NULL, 0);
	cr_expect(h.closed);
	end(&h);
}

Test(segments, one_byte_flood_pins_few_packets)
{
	struct hand h;
	struct tcp_conf c = tcp_conf_default();
	uint8_t b[8000];

	for (unsigned i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)(i * 31);
	open_plain(&h, &c);
	for (unsigned i = 0; i < sizeof(b); i++)
		put(&h, W_ACK, h.snd + i, h.rcv, b + i, 1);
	wire_drain(&h.w);
	cr_expect_eq(tcp_readable(h.c), sizeof(b));
	cr_expect_leq(pkt_heap_outstanding(), sizeof(b) / PKT_ROOM + 4, "%u packets",
		      pkt_heap_outstanding());
	h.snd += sizeof(b);
	/* every second byte: nothing is in order */
	for (unsigned i = 0; i < 4000; i++)
		put(&h, W_ACK, h.snd + 1 + i * 2, h.rcv, b + i, 1);
	cr_expect_leq(pkt_heap_outstanding(), sizeof(b) / PKT_ROOM + 6, "%u packets",
		      pkt_heap_outstanding());
	cr_expect_eq(count(&h, STAT_tcp_ooo_drop), 4000 - c.ooo_max);
	wire_drain(&h.w);
	struct slice v;
	uint32_t off = 0;
	while (tcp_take(h.c, &v, 1)) {
		cr_assert_eq(memcmp(v.data, b + off, v.len), 0);
		off += v.len;
		slice_drop(&v);
	}
	cr_expect_eq(off, sizeof(b));
	end(&h);
}

Test(segments, tiny_mss_is_not_obeyed)
{
	static const uint8_t mss1[] = {2, 4, 0, 1};
	struct hand h;
	struct wire_seg s;

	begin(&h, NULL);
	handshake(&h, mss1, 4);
	send_bytes(&h, 1000);
	cr_assert(wire_take(&h.w, &s));
	cr_expect_eq(s.len, 48);
	end(&h);
}

Test(segments, icmp_too_big)
{
	struct hand h;
	struct wire_seg s;
	struct tcp_conn_info info;

	open_plain(&h, NULL);
	send_bytes(&h, 4000);
	cr_assert(wire_take(&h.w, &s));
	cr_expect_eq(s.len, 1460);
	cr_expect_eq(wire_drain(&h.w), 2);
	wire_inject_icmp(&h.w, 0, OUR_PORT, PEER_PORT, h.rcv + 5000, 3, 1000);
	tcp_conn_info(h.c, &info);
	cr_expect_eq(info.mss, 1460, "not in flight");
	wire_inject_icmp(&h.w, 0, OUR_PORT, PEER_PORT, h.rcv, 3, 1000);
	tcp_conn_info(h.c, &info);
	cr_expect_eq(info.mss, 960);
	cr_assert(wire_take(&h.w, &s), "sent again at once");
	cr_expect_eq(s.seq, h.rcv);
	cr_expect_eq(s.len, 960);
	wire_drain(&h.w);
	wire_inject_icmp(&h.w, 0, OUR_PORT, PEER_PORT, h.rcv, 3, 68);
	tcp_conn_info(h.c, &info);
	cr_expect_eq(info.mss, 512, "there is a floor");
	wire_drain(&h.w);
	end(&h);
}

/* ---- windows and timers ---- */

Test(segments, zero_window_probes)
{
	struct hand h;
	struct wire_seg s;

	open_plain(&h, NULL);
	wire_inject(&h.w, 0,
		    &(struct wire_seg){.sport = PEER_PORT,
				       .dport = OUR_PORT,
				       .seq = h.snd,
				       .ack = h.rcv,
				       .flags = W_ACK});
	send_bytes(&h, 3000);
	cr_expect_eq(wire_drain(&h.w), 0);
	/* longer and longer, for ever as long as they are answered */
	unsigned probes = 0;
	for (unsigned i = 0; i < 40; i++) {
		wait_us(&h, 61000000);
		while (wire_take(&h.w, &s)) {
			probes++;
			cr_expect_eq(s.len, 1);
			cr_expect_eq(s.seq, h.rcv);
			wire_inject(&h.w, 0,
				    &(struct wire_seg){.sport = PEER_PORT,
						       .dport = OUR_PORT,
						       .seq = h.snd,
						       .ack = h.rcv,
						       .flags = W_ACK});
		}
	}
	cr_expect(!h.closed && probes > 30, "%u probes", probes);
	put(&h, W_ACK, h.snd, h.rcv, NULL, 0); /* 60000 */
	cr_assert(wire_take(&h.w, &s));
	cr_expect(s.seq == h.rcv && s.len == 1460,
		  "the window opened: a whole segment, not +%u, %u", s.seq - h.rcv, s.len);
	wire_drain(&h.w);
	put(&h, W_ACK, h.snd, h.rcv + 3000, NULL, 0);
	cr_expect_eq(tcp_unacked(h.c), 0);
	end(&h);
}

/* A peer that answers every probe and never opens its window: not for ever, once the user has
 * closed. */
Test(segments, zero_window_holder)
{
	struct hand h;
	struct wire_seg s;

	open_plain(&h, NULL);
	wire_inject(&h.w, 0,
		    &(struct wire_seg){.sport = PEER_PORT,
				       .dport = OUR_PORT,
				       .seq = h.snd,
				       .ack = h.rcv,
				       .flags = W_ACK});
	send_bytes(&h, 3000);
	tcp_release(h.c);
	h.c = NULL;
	bool reset = false;
	for (unsigned i = 0; i < 30 && !reset; i++) {
		wait_us(&h, 61000000);
		while (wire_take(&h.w, &s)) {
			reset = reset || (s.flags & W_RST);
			if (!reset)
				wire_inject(&h.w, 0,
					    &(struct wire_seg){.sport = PEER_PORT,
							       .dport = OUR_PORT,
							       .seq = h.snd,
							       .ack = h.rcv,
							       .flags = W_ACK});
		}
	}
	cr_expect(reset);
	cr_expect_eq(counts(&h).conns, 0);
	end(&h);
}

Test(segments, resets_are_limited)
{
	struct hand h;

	begin(&h, NULL);
	for (unsigned i = 0; i < 1000; i++)
		wire_inject(&h.w, 0,
			    &(struct wire_seg){.sport = (uint16_t)(i + 1),
					       .dport = 99,
					       .seq = 500,
					       .flags = W_SYN});
	cr_expect_eq(wire_drain(&h.w), 200);
	cr_expect_eq(count(&h, STAT_tcp_reset_limited), 800);
	h.w.now_us += 200000;
	wire_inject(&h.w, 0,
		    &(struct wire_seg){.sport = 1, .dport = 99, .seq = 500, .flags = W_SYN});
	cr_expect_eq(wire_drain(&h.w), 1);
	end(&h);
}

Test(segments, zero_window_of_ours)
{
	struct hand h;
	struct wire_seg s;
	struct tcp_conf c = tcp_conf_default();
	struct slice v;
	static uint8_t data[1000];
	uint32_t wnd = 0;

	c.rcv_buf = 4000;
	open_plain(&h, &c);
	for (unsigned i = 0; i < 4; i++)
		put(&h, W_ACK, h.snd + i * 1000, h.rcv, data, 1000);
	while (wire_take(&h.w, &s))
		wnd = s.wnd;
	cr_expect_eq(wnd, 0);
	h.snd += 4000;
	put(&h, W_ACK, h.snd, h.rcv, data, 1);
	expect_one(&h, W_ACK, h.rcv, h.snd, "a probe is answered");
	put(&h, W_ACK, h.snd, h.rcv, NULL, 0);
	cr_expect_eq(wire_drain(&h.w), 0, "a bare ACK is not");
	cr_assert_eq(tcp_take(h.c, &v, 1), 1);
	tcp_consumed(h.c, v.len);
	slice_drop(&v);
	tcp_flush(h.w.end[0].tcp, h.w.now_us);
	cr_expect_eq(wire_drain(&h.w), 0, "1000 are less than half the buffer");
	cr_assert_eq(tcp_take(h.c, &v, 1), 1);
	tcp_consumed(h.c, v.len);
	slice_drop(&v);
	tcp_flush(h.w.end[0].tcp, h.w.now_us);
	cr_assert(wire_take(&h.w, &s), "2000: the peer hears of it");
	cr_expect_eq(s.wnd, 2000);
	end(&h);
}

Test(segments, delayed_ack)
{
	struct hand h;
	struct tcp_conf c = tcp_conf_default();
	static uint8_t data[1460];

	c.quickack_segs = 0;
	open_plain(&h, &c);
	put(&h, W_ACK, h.snd, h.rcv, data, 1460);
	wait_us(&h, 50000); /* its size was not known before */
	cr_expect_eq(wire_drain(&h.w), 1);
	h.snd += 1460;
	put(&h, W_ACK, h.snd, h.rcv, data, 1460);
	wait_us(&h, 39000);
	cr_expect_eq(wire_drain(&h.w), 0);
	wait_us(&h, 2000);
	expect_one(&h, W_ACK, h.rcv, h.snd + 1460, "after 40 ms");
	h.snd += 1460;
	put(&h, W_ACK, h.snd, h.rcv, data, 1460);
	put(&h, W_ACK, h.snd + 1460, h.rcv, data, 1460);
	expect_one(&h, W_ACK, h.rcv, h.snd + 2920, "every second at once");
	h.snd += 2920;
	put(&h, W_ACK, h.snd + 1460, h.rcv, data, 1460);
	expect_one(&h, W_ACK, h.rcv, h.snd, "out of order at once");
	end(&h);
}

Test(segments, timeouts_back_off)
{
	struct hand h;
	struct wire_seg s;
	struct tcp_conf c = tcp_conf_default();
	uint64_t at = 0, gap[8];
	unsigned n = 0;

	c.data_retries = 5;
	h.keep = true;
	open_plain(&h, &c);
	send_bytes(&h, 100);
	cr_assert_eq(wire_drain(&h.w), 1);
	at = h.w.now_us;
	while (!h.closed && n < 8) {
		wait_us(&h, 1000);
		while (wire_take(&h.w, &s)) {
			cr_expect(s.seq == h.rcv && s.len == 100);
			gap[n++] = h.w.now_us - at;
			at = h.w.now_us;
		}
	}
	cr_expect_eq(n, 5);
	for (unsigned i = 1; i < n; i++)
		cr_expect(gap[i] > gap[i - 1] * 19 / 10 && gap[i] < gap[i - 1] * 21 / 10,
			  "%lu after %lu", gap[i], gap[i - 1]);
	cr_expect_eq(h.err, ERR_TIMEOUT);
	end(&h);
}

Test(segments, fast_retransmit_without_sack)
{
	struct hand h;
	struct wire_seg s;

	open_plain(&h, NULL);
	send_bytes(&h, 10000);
	cr_expect_eq(wire_drain(&h.w), 7);
	for (unsigned i = 0; i < 2; i++) {
		put(&h, W_ACK, h.snd, h.rcv, NULL, 0);
		cr_expect_eq(wire_drain(&h.w), 0);
	}
	put(&h, W_ACK, h.snd, h.rcv, NULL, 0);
	cr_assert(wire_take(&h.w, &s));
	cr_expect(s.seq == h.rcv && s.len == 1460, "the third duplicate");
	cr_expect_eq(count(&h, STAT_tcp_fast_retransmit), 1);
	put(&h, W_ACK, h.snd, h.rcv + 2920, NULL, 0);
	cr_assert(wire_take(&h.w, &s));
	cr_expect_eq(s.seq, h.rcv + 2920, "partial ACK: the next hole");
	wire_drain(&h.w);
	end(&h);
}

Test(segments, sack_sends_holes_only)
{
	static const uint8_t syn[] = {2, 4, 5, 0xb4, 1, 1, 4, 2};
	struct hand h;
	struct wire_seg s;

	begin(&h, NULL);
	handshake(&h, syn, sizeof(syn));
	send_bytes(&h, 14600);
	cr_expect_eq(wire_drain(&h.w), 10);
	uint32_t a = h.rcv + 1460, b = h.rcv + 1460 * 3, d = h.rcv + 1460 * 4,
		 e = h.rcv + 1460 * 10;
	uint8_t opt[20] = {1, 1, 5, 18};
	uint32_t v[4] = {a, b, d, e};
	for (unsigned i = 0; i < 4; i++)
		for (unsigned k = 0; k < 4; k++)
			opt[4 + i * 4 + k] = (uint8_t)(v[i] >> (24 - 8 * k));
	wire_inject(&h.w, 0,
		    &(struct wire_seg){.sport = PEER_PORT,
				       .dport = OUR_PORT,
				       .seq = h.snd,
				       .ack = h.rcv,
				       .flags = W_ACK,
				       .wnd = 60000,
				       .opt = opt,
				       .opt_len = 20});
	cr_assert(wire_take(&h.w, &s));
	cr_expect_eq(s.seq, h.rcv);
	cr_expect_eq(s.len, 1460);
	uint32_t next = s.seq;
	while (wire_take(&h.w, &s)) {
		cr_expect(s.seq == b, "seq +%u", s.seq - h.rcv);
		next = s.seq;
	}
	cr_expect_eq(next, b, "the second hole too");
	end(&h);
}

Test(segments, sack_blocks_newest_first)
{
	static const uint8_t syn[] = {2, 4, 5, 0xb4, 1, 1, 4, 2};
	static uint8_t data[300];
	struct hand h;
	struct wire_seg s;

	begin(&h, NULL);
	handshake(&h, syn, sizeof(syn));
	put(&h, W_ACK, h.snd + 1000, h.rcv, data, 300);
	put(&h, W_ACK, h.snd + 2000, h.rcv, data, 300);
	put(&h, W_ACK, h.snd + 1300, h.rcv, data, 300);
	uint8_t last[40];
	uint32_t len = 0;
	while (wire_take(&h.w, &s)) {
		len = s.opt_len;
		memcpy(last, s.opt, len);
	}
	cr_assert_eq(len, 20);
	uint32_t start = (uint32_t)last[4] << 24 | (uint32_t)last[5] << 16 |
			 (uint32_t)last[6] << 8 | last[7];
	uint32_t stop = (uint32_t)last[8] << 24 | (uint32_t)last[9] << 16 |
			(uint32_t)last[10] << 8 | last[11];
	cr_expect(start == h.snd + 1000 && stop == h.snd + 1600);
	end(&h);
}

static const uint8_t sack_syn[] = {2, 4, 5, 0xb4, 1, 1, 4, 2};

static void ack_with_block(struct hand *h, uint32_t ack, uint32_t start, uint32_t stop)
{
	uint8_t opt[12] = {1, 1, 5, 10};

	for (unsigned k = 0; k < 4; k++) {
		opt[4 + k] = (uint8_t)(start >> (24 - 8 * k));
		opt[8 + k] = (uint8_t)(stop >> (24 - 8 * k));
	}
	wire_inject(&h->w, 0,
		    &(struct wire_seg){.sport = PEER_PORT,
				       .dport = OUR_PORT,
				       .seq = h->snd,
				       .ack = ack,
				       .flags = W_ACK,
				       .wnd = 60000,
				       .opt = opt,
				       .opt_len = 12});
}

/* RFC 8985 section 7: the last segments are lost; a probe shows it long before the timeout. */
Test(segments, tail_loss_probe)
{
	struct hand h;
	struct wire_seg s;
	struct tcp_conn_info info;

	begin(&h, NULL);
	handshake(&h, sack_syn, sizeof(sack_syn));
	send_bytes(&h, 1000);
	wait_us(&h, 10000);
	put(&h, W_ACK, h.snd, h.rcv + 1000, NULL, 0);
	h.rcv += 1000;
	wire_drain(&h.w);
	send_bytes(&h, 1460 * 4);
	cr_expect_eq(wire_drain(&h.w), 4);
	wait_us(&h, 60000);
	cr_assert(wire_take(&h.w, &s), "a probe");
	cr_expect_eq(s.seq, h.rcv + 1460 * 3, "the last segment");
	cr_expect_eq(count(&h, STAT_tcp_rto), 0);
	cr_expect_eq(wire_drain(&h.w), 0, "one probe only");
	ack_with_block(&h, h.rcv, h.rcv + 1460 * 3, h.rcv + 1460 * 4);
	tcp_conn_info(h.c, &info);
	cr_expect(info.recovery != TCP_REC_OPEN);
	cr_assert(wire_take(&h.w, &s));
	cr_expect_eq(s.seq, h.rcv, "all before it is lost: from the head on");
	cr_assert(wire_take(&h.w, &s));
	cr_expect_eq(s.seq, h.rcv + 1460);
	wire_drain(&h.w);
	put(&h, W_ACK, h.snd, h.rcv + 1460 * 4, NULL, 0);
	tcp_conn_info(h.c, &info);
	cr_expect(info.recovery == TCP_REC_OPEN && info.unacked == 0);
	/* A probe that was not needed: the peer says so by D-SACK, and nothing is held to be lost.
	 */
	h.rcv += 1460 * 4;
	wire_drain(&h.w);
	wait_us(&h, 1000);
	send_bytes(&h, 1460 * 2);
	wire_drain(&h.w);
	uint32_t lost = info.lost;
	wait_us(&h, 60000);
	cr_expect_eq(wire_drain(&h.w), 1);
	put(&h, W_ACK, h.snd, h.rcv + 2920, NULL, 0);
	ack_with_block(&h, h.rcv + 2920, h.rcv + 1460, h.rcv + 2920);
	send_bytes(&h, 10);
	wire_drain(&h.w);
	put(&h, W_ACK, h.snd, h.rcv + 2930, NULL, 0);
	tcp_conn_info(h.c, &info);
	cr_expect_eq(info.lost, lost);
	end(&h);
}

/* RFC 2883: a duplicate is told of, once. */
Test(segments, dsack)
{
	struct hand h;
	struct wire_seg s;
	static uint8_t data[300];

	begin(&h, NULL);
	handshake(&h, sack_syn, sizeof(sack_syn));
	put(&h, W_ACK, h.snd, h.rcv, data, 300);
	wire_drain(&h.w);
	put(&h, W_ACK, h.snd, h.rcv, data, 300);
	cr_assert(wire_take(&h.w, &s));
	cr_assert_eq(s.opt_len, 12);
	uint32_t start = (uint32_t)s.opt[4] << 24 | (uint32_t)s.opt[5] << 16 |
			 (uint32_t)s.opt[6] << 8 | s.opt[7];
	uint32_t stop = (uint32_t)s.opt[8] << 24 | (uint32_t)s.opt[9] << 16 |
			(uint32_t)s.opt[10] << 8 | s.opt[11];
	cr_expect(start == h.snd && stop == h.snd + 300);
	put(&h, W_ACK, h.snd + 300, h.rcv, data, 300);
	cr_assert(wire_take(&h.w, &s));
	cr_expect_eq(s.opt_len, 0);
	end(&h);
}

Test(segments, keepalive)
{
	struct hand h;
	struct wire_seg s;
	struct tcp_conf c = tcp_conf_default();

	c.keepalive_us = 10000000;
	open_plain(&h, &c);
	for (unsigned i = 0; i < 3; i++) {
		wait_us(&h, 11000000);
		cr_assert(wire_take(&h.w, &s));
		cr_expect(s.seq == h.rcv - 1 && s.len == 0);
		put(&h, W_ACK, h.snd, h.rcv, NULL, 0);
		cr_expect_eq(wire_drain(&h.w), 0);
	}
	wait_us(&h, 1000000000);
	cr_expect_eq(wire_drain(&h.w), 9);
	cr_expect(h.closed && h.err == ERR_TIMEOUT);
	end(&h);
}

Test(segments, user_timeout)
{
	struct hand h;
	struct tcp_conf c = tcp_conf_default();

	c.user_timeout_us = 5000000;
	open_plain(&h, &c);
	send_bytes(&h, 100);
	wait_us(&h, 4900000);
	cr_expect(!h.closed);
	wait_us(&h, 200000);
	cr_expect(h.closed && h.err == ERR_TIMEOUT);
	end(&h);
}

/* ---- closing ---- */

Test(segments, peer_closes_first)
{
	struct hand h;

	open_plain(&h, NULL);
	put(&h, W_ACK | W_FIN, h.snd, h.rcv, "bye", 3);
	cr_expect(h.events & TCP_EV_FIN);
	cr_expect_eq(tcp_readable(h.c), 3);
	cr_expect_eq(tcp_state(h.c), TCP_CLOSE_WAIT);
	expect_one(&h, W_ACK, h.rcv, h.snd + 4, "FIN is acknowledged");
	send_bytes(&h, 10);
	expect_one(&h, W_ACK | W_PSH, h.rcv, h.snd + 4, "still sending");
	tcp_shutdown(h.c);
	tcp_flush(h.w.end[0].tcp, h.w.now_us);
	expect_one(&h, W_ACK | W_FIN, h.rcv + 10, h.snd + 4, "our FIN");
	cr_expect_eq(tcp_state(h.c), TCP_LAST_ACK);
	put(&h, W_ACK, h.snd + 4, h.rcv + 11, NULL, 0);
	cr_expect(h.closed && h.err == ERR_OK);
	cr_expect_eq(counts(&h).time_wait, 0);
	end(&h);
}

Test(segments, fin_ahead_of_data)
{
	struct hand h;

	open_plain(&h, NULL);
	put(&h, W_ACK | W_FIN, h.snd + 3, h.rcv, "def", 3);
	cr_expect(!(h.events & TCP_EV_FIN));
	put(&h, W_ACK, h.snd, h.rcv, "abc", 3);
	cr_expect(h.events & TCP_EV_FIN);
	cr_expect_eq(tcp_readable(h.c), 6);
	wire_drain(&h.w);
	put(&h, W_ACK, h.snd + 7, h.rcv, "more", 4);
	cr_expect_eq(tcp_readable(h.c), 6, "nothing behind a FIN");
	end(&h);
}

Test(segments, simultaneous_close)
{
	struct hand h;

	open_plain(&h, NULL);
	tcp_shutdown(h.c);
	tcp_flush(h.w.end[0].tcp, h.w.now_us);
	expect_one(&h, W_ACK | W_FIN, h.rcv, h.snd, "FIN");
	put(&h, W_ACK | W_FIN, h.snd, h.rcv, NULL, 0); /* does not acknowledge ours */
	cr_expect_eq(tcp_state(h.c), TCP_CLOSING);
	expect_one(&h, W_ACK, h.rcv + 1, h.snd + 1, "ACK of FIN");
	put(&h, W_ACK, h.snd + 1, h.rcv + 1, NULL, 0);
	cr_expect(h.closed);
	cr_expect_eq(counts(&h).time_wait, 1);
	end(&h);
}

Test(segments, simultaneous_open)
{
	struct hand h;
	struct wire_seg s;
	enum err err;

	begin(&h, NULL);
	h.c = tcp_connect(h.w.end[0].tcp, &any, &h.w.end[1].net.addr4, PEER_PORT, 0, h.w.now_us,
			  &err);
	cr_assert(h.c && wire_take(&h.w, &s));
	struct wire_seg syn = {
		.sport = PEER_PORT, .dport = s.sport, .seq = PEER_ISN, .flags = W_SYN, .wnd = 1000};
	uint32_t isn = s.seq;
	wire_inject(&h.w, 0, &syn);
	expect_one(&h, W_SYN | W_ACK, isn, PEER_ISN + 1, "SYN-ACK");
	syn.flags = W_SYN | W_ACK;
	syn.ack = isn + 1;
	wire_inject(&h.w, 0, &syn);
	cr_expect_eq(tcp_state(h.c), TCP_ESTABLISHED);
	cr_expect(h.events & TCP_EV_CONNECTED);
	expect_one(&h, W_ACK, isn + 1, PEER_ISN + 1, "ACK");
	end(&h);
}

/* Leaves a TIME-WAIT entry; the stack closed first. */
static void to_time_wait(struct hand *h)
{
	tcp_shutdown(h->c);
	tcp_flush(h->w.end[0].tcp, h->w.now_us);
	put(h, W_ACK, h->snd, h->rcv + 1, NULL, 0);
	cr_expect_eq(tcp_state(h->c), TCP_FIN_WAIT_2);
	put(h, W_ACK, h->snd, h->rcv + 1, "late", 4);
	cr_expect_eq(tcp_readable(h->c), 4, "half-closed: reading goes on");
	h->keep = true;
	put(h, W_ACK | W_FIN, h->snd + 4, h->rcv + 1, NULL, 0);
	cr_expect(h->closed);
	cr_expect_eq(tcp_readable(h->c), 4, "what was unread can be read");
	tcp_release(h->c);
	h->c = NULL;
	h->keep = h->closed = false;
	h->snd += 5;
	h->rcv += 1;
	wire_drain(&h->w);
	cr_expect_eq(counts(h).time_wait, 1);
	cr_expect_eq(counts(h).conns, 0);
}

Test(segments, time_wait)
{
	struct hand h;
	struct wire_seg s;

	open_plain(&h, NULL);
	to_time_wait(&h);
	put(&h, W_ACK | W_FIN, h.snd - 1, h.rcv, NULL, 0);
	expect_one(&h, W_ACK, h.rcv, h.snd, "FIN again");
	put(&h, W_RST, h.snd, 0, NULL, 0);
	cr_expect_eq(counts(&h).time_wait, 1, "RST does not end it (RFC 1337)");
	put(&h, W_ACK, h.snd, h.rcv, NULL, 0);
	cr_expect_eq(wire_drain(&h.w), 0, "a bare ACK is not answered");
	put(&h, W_SYN, h.snd - 100, 0, NULL, 0);
	expect_one(&h, W_ACK, h.rcv, h.snd, "an old SYN");
	put(&h, W_SYN, h.snd + 100, 0, NULL, 0);
	cr_assert(wire_take(&h.w, &s));
	cr_expect_eq(s.flags, W_SYN | W_ACK, "a newer SYN opens again");
	cr_expect((int32_t)(s.seq - h.rcv) > 0, "beyond all that was sent before");
	cr_expect_eq(counts(&h).time_wait, 0);
	end(&h);
}

Test(segments, time_wait_ends_and_is_bounded)
{
	struct hand h;
	struct tcp_conf c = tcp_conf_default();

	c.timewait_max = 2;
	open_plain(&h, &c);
	to_time_wait(&h);
	wait_us(&h, 59000000);
	cr_expect_eq(counts(&h).time_wait, 1);
	wait_us(&h, 2000000);
	cr_expect_eq(counts(&h).time_wait, 0);
	for (unsigned i = 0; i < 5; i++) {
		struct wire_seg s, syn = {.sport = (uint16_t)(100 + i),
					  .dport = OUR_PORT,
					  .seq = 1,
					  .flags = W_SYN,
					  .wnd = 1000};
		wire_inject(&h.w, 0, &syn);
		cr_assert(wire_take(&h.w, &s));
		syn.flags = W_ACK;
		syn.seq = 2;
		syn.ack = s.seq + 1;
		wire_inject(&h.w, 0, &syn);
		tcp_shutdown(h.c);
		tcp_flush(h.w.end[0].tcp, h.w.now_us);
		syn.flags = W_ACK | W_FIN;
		syn.ack++;
		wire_inject(&h.w, 0, &syn);
		wire_drain(&h.w);
	}
	cr_expect_eq(counts(&h).time_wait, 2);
	cr_expect_eq(count(&h, STAT_tcp_timewait_full), 3);
	end(&h);
}

Test(segments, close_then_data)
{
	struct hand h;

	open_plain(&h, NULL);
	h.keep = true;
	send_bytes(&h, 100);
	wire_drain(&h.w);
	tcp_close(h.c);
	tcp_flush(h.w.end[0].tcp, h.w.now_us);
	cr_expect_eq(tcp_state(h.c), TCP_FIN_WAIT_1);
	wire_drain(&h.w);
	put(&h, W_ACK, h.snd, h.rcv, "late",
	    4); /* our reply is still on its way: it is not to be destroyed */
	expect_one(&h, W_ACK, h.rcv + 101, h.snd + 4, "thrown away, acknowledged");
	put(&h, W_ACK, h.snd + 4, h.rcv + 101, NULL, 0);
	cr_expect(h.closed && h.err == ERR_OK);
	tcp_release(h.c);
	h.c = NULL;
	put(&h, W_ACK, h.snd + 4, h.rcv + 101, "later", 5);
	expect_one(&h, W_ACK | W_RST, h.rcv + 101, h.snd + 4, "nobody reads: RST");
	cr_expect_eq(counts(&h).conns, 0);
	end(&h);
}

Test(segments, abort_and_release)
{
	struct hand h;

	open_plain(&h, NULL);
	send_bytes(&h, 100);
	wire_drain(&h.w);
	tcp_abort(h.c);
	expect_one(&h, W_ACK | W_RST, h.rcv + 100, h.snd, "RST");
	wire_settle(&h.w);
	cr_expect(h.closed && h.err == ERR_RESET);
	end(&h);
	open_plain(&h, NULL);
	send_bytes(&h, 100);
	wire_drain(&h.w);
	tcp_release(h.c); /* goes on by itself */
	h.c = NULL;
	tcp_flush(h.w.end[0].tcp, h.w.now_us);
	expect_one(&h, W_ACK | W_FIN, h.rcv + 100, h.snd, "FIN");
	put(&h, W_ACK, h.snd, h.rcv + 101, NULL, 0);
	cr_expect_eq(counts(&h).conns, 1);
	wait_us(&h, 61000000);
	cr_expect_eq(counts(&h).conns, 0, "FIN-WAIT-2 does not last for ever");
	end(&h);
}

Test(segments, packets_run_out)
{
	struct hand h;

	open_plain(&h, NULL);
	for (unsigned i = 1; i < 30; i++) {
		pkt_heap_fail_after(0);
		put(&h, W_ACK | W_PSH, h.snd++, h.rcv, "x", 1);
		pkt_heap_fail_after(1 + i % 4);
		struct slice p = wire_pattern(h.w.end[0].pool, 1, i, 900);
		if (p.pkt)
			tcp_send(h.c, p, true);
		tcp_flush(h.w.end[0].tcp, h.w.now_us);
		wait_us(&h, 3000);
	}
	pkt_heap_fail_after(0);
	wire_drain(&h.w);
	wait_us(&h, 2000000);
	cr_expect_gt(wire_drain(&h.w), 0);
	cr_expect(!h.closed);
	end(&h);
}
