/*
 * test_syn.c: half-open connections: the backlog, SYN cookies and what they keep, budgets of
 * networks, and a flood in which honest peers still get through.
 */
#include <criterion/criterion.h>
#include <string.h>
#include "tcp_option.h"
#include "wire.h"

#define OUR_PORT 25

struct syn_test {
	struct wire w;
	struct tcp_conn *c; /* accepted last */
	unsigned accepted, connected, failed;
	uint64_t got;
};

static void app(struct wire *w, unsigned end, struct tcp_conn *c, uint32_t events)
{
	struct syn_test *h = w->arg;

	if (events & TCP_EV_ACCEPTED) {
		h->accepted++;
		h->c = c;
	}
	if (events & TCP_EV_CONNECTED) {
		struct slice s = wire_pattern(w->end[end].pool, 1, 0, 100);
		h->connected++;
		if (s.pkt)
			tcp_send(c, s, true);
	}
	if (events & TCP_EV_READABLE) {
		struct slice v[4];
		for (unsigned n; (n = tcp_take(c, v, 4)) != 0;)
			for (unsigned i = 0; i < n; i++) {
				h->got += v[i].len;
				tcp_consumed(c, v[i].len);
				slice_drop(&v[i]);
			}
	}
	if (events & TCP_EV_CLOSED) {
		h->failed += tcp_error(c) != ERR_OK;
		if (h->c == c)
			h->c = NULL;
		tcp_release(c);
	}
}

static void begin(struct syn_test *h, const struct tcp_conf *c, const struct tcp_conf *peer)
{
	static const struct ip_addr any;

	memset(h, 0, sizeof(*h));
	wire_init(&h->w, 7, c, peer, NULL, 1500, 2048);
	h->w.app = app;
	h->w.arg = h;
	cr_assert_eq(tcp_listen(h->w.end[0].tcp, &any, OUR_PORT, 9), ERR_OK);
}

static void end(struct syn_test *h)
{
	if (h->c) {
		tcp_abort(h->c);
		tcp_release(h->c);
	}
	wire_fini(&h->w);
	cr_assert_eq(pkt_heap_outstanding(), 0);
}

static uint64_t count(struct syn_test *h, enum stat_id id)
{
	return stat_get(&h->w.end[0].stat, id);
}

static struct tcp_counts counts(struct syn_test *h)
{
	struct tcp_counts n;
	tcp_counts(h->w.end[0].tcp, &n);
	return n;
}

static void flood(struct syn_test *h, unsigned n, unsigned from)
{
	for (unsigned i = 0; i < n; i++) {
		struct ip_addr src = ip_from4(((from + i) * 2654435761u) | 1);
		wire_inject_from(&h->w, 0, &src,
				 &(struct wire_seg){.sport = (uint16_t)(i + 1024),
						    .dport = OUR_PORT,
						    .seq = i * 77,
						    .flags = W_SYN,
						    .wnd = 1000});
		wire_drain(&h->w);
	}
}

/* A backlog so small that the second SYN gets a cookie. */
static struct tcp_conf cookie_conf(void)
{
	struct tcp_conf c = tcp_conf_default();

	c.syn_backlog = 1;
	c.syn_net_rate = 0;
	return c;
}

struct offer {
	const char *name;
	struct tcp_opts opt;
	uint32_t mss;	/* after rounding, timestamps taken off */
	uint8_t wscale; /* after rounding */
};

static const struct offer offers[] = {
	{"Linux",
	 {.has_mss = true,
	  .mss = 1460,
	  .sack_ok = true,
	  .has_ts = true,
	  .tsval = 5000,
	  .has_wscale = true,
	  .wscale = 7},
	 1448,
	 7},
	{"all but timestamps",
	 {.has_mss = true, .mss = 1460, .sack_ok = true, .has_wscale = true, .wscale = 8},
	 1460,
	 8},
	{"scale rounded down",
	 {.has_mss = true, .mss = 1452, .has_wscale = true, .wscale = 14},
	 1440,
	 9},
	{"scale 14 with timestamps",
	 {.has_mss = true,
	  .mss = 1300,
	  .has_ts = true,
	  .tsval = 1,
	  .has_wscale = true,
	  .wscale = 14},
	 1208,
	 14},
	{"scale 0", {.has_mss = true, .mss = 536, .has_wscale = true}, 536, 0},
	{"no scale, timestamps",
	 {.has_mss = true, .mss = 9000, .has_ts = true, .tsval = UINT32_MAX, .sack_ok = true},
	 1448,
	 0},
	{"nothing", {.has_mss = false}, 536, 0},
	{"tiny", {.has_mss = true, .mss = 1}, 48, 0},
};

/* SYN, cookie, ACK for one offer. Returns the ISN that was offered to the peer. */
static uint32_t ask(struct syn_test *h, uint16_t port, uint32_t seq, const struct tcp_opts *o,
		    struct tcp_opts *answer)
{
	uint8_t b[TCP_OPT_MAX];
	struct wire_seg s;

	wire_inject(&h->w, 0,
		    &(struct wire_seg){.sport = port,
				       .dport = OUR_PORT,
				       .seq = seq,
				       .flags = W_SYN,
				       .wnd = 500,
				       .opt = b,
				       .opt_len = tcp_opts_build(o, b)});
	cr_assert(wire_take(&h->w, &s));
	cr_assert_eq(s.flags, W_SYN | W_ACK);
	cr_assert_eq(s.ack, seq + 1);
	cr_assert(tcp_opts_parse(s.opt, s.opt_len, true, answer));
	return s.seq;
}

static void reply(struct syn_test *h, uint16_t port, uint32_t seq, uint32_t ack,
		  const struct tcp_opts *syn, uint32_t tsecr, const char *data)
{
	struct tcp_opts o = {.has_ts = syn->has_ts, .tsval = syn->tsval + 1, .tsecr = tsecr};
	uint8_t b[TCP_OPT_MAX];

	wire_inject(&h->w, 0,
		    &(struct wire_seg){.sport = port,
				       .dport = OUR_PORT,
				       .seq = seq,
				       .ack = ack,
				       .flags = W_ACK,
				       .wnd = 500,
				       .opt = b,
				       .opt_len = tcp_opts_build(&o, b),
				       .data = data,
				       .len = data ? (uint32_t)strlen(data) : 0});
}

Test(syn, cookies_keep_what_was_offered)
{
	struct tcp_conf conf = cookie_conf();
	struct syn_test h;

	begin(&h, &conf, NULL);
	flood(&h, 1, 1);
	cr_assert_eq(counts(&h).half_open, 1);
	for (unsigned i = 0; i < ARRAY_LEN(offers); i++) {
		const struct offer *o = &offers[i];
		struct tcp_opts a;
		struct tcp_conn_info info;
		uint16_t port = (uint16_t)(5000 + i);
		uint32_t isn = ask(&h, port, i * 1000003u, &o->opt, &a);

		cr_expect_eq(a.sack_ok, o->opt.sack_ok, "%s", o->name);
		cr_expect_eq(a.has_ts, o->opt.has_ts, "%s", o->name);
		cr_expect_eq(a.has_wscale, o->opt.has_wscale, "%s", o->name);
		cr_expect_eq(counts(&h).conns, 0, "%s: nothing is kept", o->name);
		wire_run(&h.w, h.w.now_us + 50000);
		/* With the ACK comes data: both count. */
		uint64_t before = h.got;
		reply(&h, port, i * 1000003u + 1, isn + 1, &o->opt, a.tsval,
		      i & 1 ? "hello" : NULL);
		cr_assert(h.c != NULL, "%s: not opened", o->name);
		cr_expect_eq(tcp_tag(h.c), 9);
		cr_expect_eq(h.got - before, i & 1 ? 5 : 0, "%s", o->name);
		tcp_conn_info(h.c, &info);
		cr_expect_eq(info.mss, o->mss, "%s: mss %u", o->name, info.mss);
		cr_expect_eq(info.sack, o->opt.sack_ok, "%s", o->name);
		cr_expect_eq(info.timestamps, o->opt.has_ts, "%s", o->name);
		cr_expect_eq(info.snd_wscale, o->wscale, "%s: scale %u", o->name, info.snd_wscale);
		cr_expect_eq(info.snd_wnd, 500u << o->wscale, "%s", o->name);
		if (o->opt.has_ts)
			cr_expect(info.srtt_us >= 50000 && info.srtt_us < 200000, "%s: rtt %u",
				  o->name, info.srtt_us);
		tcp_abort(h.c);
		tcp_release(h.c);
		h.c = NULL;
		wire_drain(&h.w);
	}
	cr_expect_eq(count(&h, STAT_tcp_cookie_sent), ARRAY_LEN(offers));
	cr_expect_eq(count(&h, STAT_tcp_cookie_good), ARRAY_LEN(offers));
	cr_expect_eq(count(&h, STAT_tcp_cookie_bad), 0);
	end(&h);
}

Test(syn, forged_cookies_open_nothing)
{
	struct tcp_conf conf = cookie_conf();
	struct syn_test h;
	struct tcp_opts a;

	begin(&h, &conf, NULL);
	flood(&h, 1, 1);
	for (unsigned k = 0; k < 2; k++) {
		const struct tcp_opts *o = &offers[k].opt;
		uint32_t isn = ask(&h, 7000, 100, o, &a);
		for (unsigned bit = 0; bit < 32; bit++)
			reply(&h, 7000, 101, (isn ^ 1u << bit) + 1, o, a.tsval, NULL);
		reply(&h, 7000, 102, isn + 1, o, a.tsval, NULL); /* another sequence number */
		reply(&h, 7001, 101, isn + 1, o, a.tsval, NULL); /* another port */
		if (o->has_ts)
			for (unsigned bit = 0; bit < 6; bit++)
				reply(&h, 7000, 101, isn + 1, o, a.tsval ^ 1u << bit, NULL);
		cr_expect_null(h.c);
		/* Data that came before the ACK is not punished: what proves the cookie comes
		 * again. */
		wire_drain(&h.w);
		reply(&h, 7000, 150, isn + 1, o, a.tsval, "late");
		cr_expect_eq(wire_drain(&h.w), 0);
		reply(&h, 7000, 101, isn + 1, o, a.tsval, "first");
		cr_expect_not_null(h.c);
		tcp_abort(h.c);
		tcp_release(h.c);
		h.c = NULL;
		wire_drain(&h.w);
	}
	cr_expect_eq(count(&h, STAT_tcp_cookie_good), 2);
	end(&h);
}

Test(syn, cookies_age)
{
	struct tcp_conf conf = cookie_conf();
	struct syn_test h;
	struct tcp_opts a;
	unsigned opened = 0;

	begin(&h, &conf, NULL);
	for (unsigned wait_s = 0; wait_s <= 200; wait_s += 40) {
		flood(&h, 1, wait_s);
		uint32_t isn = ask(&h, 7000, 100, &offers[0].opt, &a);
		wire_run(&h.w, h.w.now_us + wait_s * 1000000ull);
		wire_drain(&h.w);
		reply(&h, 7000, 101, isn + 1, &offers[0].opt, a.tsval, NULL);
		if (h.c) {
			opened++;
			cr_expect_leq(wait_s, 128);
			tcp_abort(h.c);
			tcp_release(h.c);
			h.c = NULL;
		} else {
			cr_expect_geq(wait_s, 64);
		}
		wire_run(&h.w, h.w.now_us + 200000000ull);
		wire_drain(&h.w);
	}
	cr_expect_geq(opened, 2);
	end(&h);
}

Test(syn, one_network_cannot_fill_the_backlog)
{
	struct tcp_conf conf = tcp_conf_default();
	struct syn_test h;

	conf.syn_backlog = 400;
	conf.syn_net_rate = 10;
	begin(&h, &conf, NULL);
	for (unsigned i = 0; i < 1000; i++) {
		struct ip_addr src = {
			.b = {0xfd, 0, 1, 2, 3, 4, 5, (uint8_t)i, (uint8_t)(i >> 8)}}; /* one /56 */
		wire_inject_from(&h.w, 0, &src,
				 &(struct wire_seg){
					 .sport = 9, .dport = OUR_PORT, .flags = W_SYN, .wnd = 9});
		wire_drain(&h.w);
	}
	cr_expect_eq(counts(&h).half_open, 150, "half of the mark");
	cr_expect_eq(count(&h, STAT_tcp_cookie_sent), 850);
	/* Others have the rest. Past the mark each network has so many answers a second. */
	flood(&h, 150, 1);
	cr_expect_eq(counts(&h).half_open, 300);
	uint64_t before = count(&h, STAT_tcp_cookie_sent);
	for (unsigned i = 0; i < 100; i++) {
		struct ip_addr src = ip_from4(0x000212c6u + (i << 24)); /* 198.18.2.i */
		wire_inject_from(&h.w, 0, &src,
				 &(struct wire_seg){
					 .sport = 9, .dport = OUR_PORT, .flags = W_SYN, .wnd = 9});
		wire_drain(&h.w);
	}
	cr_expect_eq(count(&h, STAT_tcp_cookie_sent) - before, 10);
	cr_expect_eq(count(&h, STAT_tcp_syn_net_drop), 90);
	/* All of them end by themselves. */
	wire_run(&h.w, h.w.now_us + 100000000);
	wire_drain(&h.w);
	cr_expect_eq(counts(&h).half_open, 0);
	end(&h);
}

/* The answers to invented addresses get lost. */
static bool only_honest(struct wire *w, struct wire_frame *f)
{
	return ip_eq(&f->dst, &w->end[1].net.addr4) || ip_eq(&f->dst, &w->end[0].net.addr4);
}

/* 50,000 SYNs a second of invented addresses for 20 s; meanwhile 20 honest connections a second:
 * the backlog is full within 100 ms and stays so. */
static unsigned honest_of_400(bool cookies)
{
	struct tcp_conf conf = tcp_conf_default(), peer = tcp_conf_default();
	struct syn_test h;
	enum err err;

	conf.syn_cookies = cookies;
	conf.timewait_us = peer.timewait_us = 1000000;
	begin(&h, &conf, &peer);
	h.w.filter = only_honest;
	for (unsigned i = 0; i < 400; i++) {
		flood(&h, 2500, i * 2500);
		cr_assert_not_null(tcp_connect(h.w.end[1].tcp, &(struct ip_addr){.d = {0}},
					       &h.w.end[0].net.addr4, OUR_PORT, 0, h.w.now_us,
					       &err));
		wire_run(&h.w, h.w.now_us + 50000);
		if (h.c) {
			tcp_abort(h.c);
			tcp_release(h.c);
			h.c = NULL;
		}
	}
	unsigned through = (unsigned)(h.got / 100);
	wire_run(&h.w, h.w.now_us + 200000000);
	cr_expect_eq(counts(&h).half_open, 0);
	end(&h);
	return through;
}

Test(syn, honest_peers_get_through_a_flood)
{
	unsigned with = honest_of_400(true), without = honest_of_400(false);

	cr_expect_geq(with, 360, "%u of 400", with);
	cr_expect_lt(without, with, "%u without cookies", without);
}

Test(syn, half_open_rules)
{
	struct tcp_conf conf = tcp_conf_default();
	struct syn_test h;
	struct wire_seg s;
	struct tcp_opts a;

	begin(&h, &conf, NULL);
	uint32_t isn = ask(&h, 1, 1000, &offers[0].opt, &a);
	/* RFC 5961: a RST in the window but not at its edge, and another SYN, are challenged. */
	wire_inject(&h.w, 0,
		    &(struct wire_seg){.sport = 1, .dport = OUR_PORT, .seq = 1100, .flags = W_RST});
	cr_assert(wire_take(&h.w, &s));
	cr_expect(s.flags == W_ACK && s.seq == isn + 1 && s.ack == 1001);
	wire_inject(&h.w, 0,
		    &(struct wire_seg){.sport = 1, .dport = OUR_PORT, .seq = 9999, .flags = W_SYN});
	cr_assert(wire_take(&h.w, &s));
	cr_expect(s.flags == W_ACK && s.ack == 1001);
	/* Without the timestamps that were agreed on, or with old ones: not believed. */
	reply(&h, 1, 1001, isn + 1, &offers[1].opt, 0, NULL);
	cr_expect_null(h.c);
	reply(&h, 1, 1001, isn + 1, &(struct tcp_opts){.has_ts = true, .tsval = 4000}, a.tsval,
	      NULL);
	cr_expect_null(h.c);
	wire_drain(&h.w);
	/* Challenges have a limit. */
	for (unsigned i = 0; i < 50; i++)
		wire_inject(&h.w, 0,
			    &(struct wire_seg){
				    .sport = 1, .dport = OUR_PORT, .seq = 70000, .flags = W_SYN});
	cr_expect_lt(wire_drain(&h.w), 10);
	cr_expect_eq(counts(&h).half_open, 1);
	/* Data far into the window completes it, too: its ACK is good. */
	reply(&h, 1, 2001, isn + 1, &offers[0].opt, a.tsval, "later");
	cr_expect_not_null(h.c);
	cr_expect_eq(counts(&h).half_open, 0);
	end(&h);
}
