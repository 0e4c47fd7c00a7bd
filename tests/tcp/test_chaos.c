/*
 * test_chaos.c: many connections at once between two stacks on a bad wire, with users that close
 * early, abort, stop reading or let go, and with pools so small that they run out. What arrives is
 * a prefix of what was sent; in the end nothing is left, and nothing waits for ever.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include "wire.h"

#define USERS 64

enum mood { FINE, CLOSES_EARLY, ABORTS, RELEASES, SLOW, MOODS };

struct user {
	struct tcp_conn *c;
	uint64_t send_seed, recv_seed;
	uint64_t to_send, sent, got;
	enum mood mood;
	bool used, shut;
};

struct chaos {
	struct wire w;
	struct rnd rnd;
	struct user user[2][USERS];
	unsigned ended[2], bad;
	bool awake;
};

static struct user *user_new(struct chaos *x, unsigned end, struct tcp_conn *c)
{
	struct ip_addr local, remote;
	uint16_t lport, rport;

	for (unsigned i = 0; i < USERS; i++) {
		struct user *u = &x->user[end][i];
		if (u->used)
			continue;
		memset(u, 0, sizeof(*u));
		tcp_addrs(c, &local, &lport, &remote, &rport);
		uint64_t name = end ? rport : lport; /* the client's port names the connection */
		u->used = true;
		u->c = c;
		u->send_seed = name * 2 + end;
		u->recv_seed = name * 2 + 1 - end;
		u->mood = rnd_below(&x->rnd, 2) ? FINE : (enum mood)rnd_below(&x->rnd, MOODS);
		u->to_send = rnd_below(&x->rnd, rnd_below(&x->rnd, 8) ? 5000 : 200000);
		tcp_set_user(c, u);
		return u;
	}
	return NULL;
}

static void user_gone(struct chaos *x, unsigned end, struct user *u)
{
	u->used = false;
	u->c = NULL;
	x->ended[end]++;
}

static void read_some(struct chaos *x, unsigned end, struct user *u, unsigned max)
{
	struct slice v[8];
	unsigned n = tcp_take(u->c, v, max);

	for (unsigned i = 0; i < n; i++) {
		if (!wire_pattern_ok(v[i].data, u->recv_seed, u->got, v[i].len))
			x->bad++;
		u->got += v[i].len;
		tcp_consumed(u->c, v[i].len);
		slice_drop(&v[i]);
	}
}

static void act(struct chaos *x, unsigned end, struct user *u)
{
	if (u->mood == SLOW && !x->awake)
		read_some(x, end, u, rnd_below(&x->rnd, 20) == 0);
	else
		while (tcp_readable(u->c))
			read_some(x, end, u, 8);
	while (u->sent < u->to_send) {
		uint32_t len = 1 + rnd_below(&x->rnd, 1500);
		if (len > u->to_send - u->sent)
			len = (uint32_t)(u->to_send - u->sent);
		if (tcp_send_room(u->c) < len)
			break;
		struct slice s = wire_pattern(x->w.end[end].pool, u->send_seed, u->sent, len);
		if (!s.pkt || !tcp_send(u->c, s, true))
			break;
		u->sent += len;
	}
	if (u->sent == u->to_send && !u->shut) {
		u->shut = true;
		tcp_shutdown(u->c);
	}
	if (u->sent < u->to_send / 2 || rnd_below(&x->rnd, 4))
		return;
	struct tcp_conn *c = u->c;
	switch (u->mood) {
	case CLOSES_EARLY:
		tcp_close(c);
		break;
	case ABORTS:
		tcp_abort(c);
		break;
	case RELEASES:
		user_gone(x, end, u);
		tcp_release(c);
		break;
	default:
		break;
	}
}

static void app(struct wire *w, unsigned end, struct tcp_conn *c, uint32_t events)
{
	struct chaos *x = w->arg;
	struct user *u = tcp_user(c);

	if (events & TCP_EV_ACCEPTED)
		u = user_new(x, end, c);
	if (!u) {
		tcp_release(c);
		return;
	}
	if (events & TCP_EV_CLOSED) {
		while (tcp_readable(c))
			read_some(x, end, u, 8);
		user_gone(x, end, u);
		tcp_release(c);
		return;
	}
	act(x, end, u);
}

static void everybody_acts(struct chaos *x)
{
	for (unsigned end = 0; end < 2; end++)
		for (unsigned i = 0; i < USERS; i++)
			if (x->user[end][i].used && rnd_below(&x->rnd, 8) == 0)
				act(x, end, &x->user[end][i]);
}

static void one_seed(uint64_t seed)
{
	static const struct ip_addr any;
	static struct chaos x;
	struct tcp_conf c = tcp_conf_default();
	struct wire_link l = {0};
	enum err err;

	memset(&x, 0, sizeof(x));
	rnd_seed(&x.rnd, seed);
	c.conns_max = 100;
	c.timewait_max = 16;
	c.syn_backlog = 8;
	c.timewait_us = 5000000;
	c.keepalive_us = 60000000;
	c.rcv_buf = 2000 + rnd_below(&x.rnd, 60000);
	c.snd_buf = 2000 + rnd_below(&x.rnd, 60000);
	c.ooo_max = 1 + rnd_below(&x.rnd, 64);
	c.sack = rnd_below(&x.rnd, 4);
	c.timestamps = rnd_below(&x.rnd, 4);
	c.user_timeout_us = rnd_below(&x.rnd, 2) ? 0 : 30000000;
	c.cc = (uint8_t)rnd_below(&x.rnd, 2);
	l.loss = rnd_below(&x.rnd, 500);
	l.dup = rnd_below(&x.rnd, 300);
	l.corrupt = rnd_below(&x.rnd, 100);
	l.reorder = rnd_below(&x.rnd, 1000);
	l.late_us = rnd_below(&x.rnd, 5000);
	l.delay_us = rnd_below(&x.rnd, 20000);
	wire_init(&x.w, seed, &c, &c, &l, 1500,
		  60 + rnd_below(&x.rnd, rnd_below(&x.rnd, 2) ? 200 : 4000));
	x.w.app = app;
	x.w.arg = &x;
	x.w.end[0].net.info.tso = rnd_below(&x.rnd, 2);
	cr_assert_eq(tcp_listen(x.w.end[1].tcp, &any, 25, 0), ERR_OK);
	for (unsigned i = 0; i < 60; i++) {
		struct tcp_conn *conn = tcp_connect(x.w.end[0].tcp, &any, &x.w.end[1].net.addr4, 25,
						    0, x.w.now_us, &err);
		if (conn && !user_new(&x, 0, conn))
			tcp_release(conn);
		uint64_t until = x.w.now_us + rnd_below(&x.rnd, 300000);
		while (wire_step(&x.w, until))
			everybody_acts(&x);
	}
	/* Everything ends: the slow wake up, and a peer whose last RST was lost is found out by
	 * keep-alive. */
	x.awake = true;
	uint64_t until = x.w.now_us + 7200000000u;
	for (unsigned steps = 0;; steps++) {
		struct tcp_counts n[2];
		for (unsigned i = 0; i < 2; i++)
			tcp_counts(x.w.end[i].tcp, &n[i]);
		if (n[0].conns + n[1].conns + n[0].time_wait + n[1].time_wait == 0)
			break;
		everybody_acts(&x);
		if ((!wire_step(&x.w, x.w.now_us + 1000000) && x.w.now_us >= until) ||
		    steps == 1000000) {
			for (unsigned i = 0; i < 2; i++)
				cr_expect(n[i].conns + n[i].time_wait == 0,
					  "seed %lu: end %u keeps %u connections, %u in TIME-WAIT",
					  seed, i, n[i].conns, n[i].time_wait);
			break;
		}
	}
	cr_expect_eq(x.bad, 0, "seed %lu: wrong bytes", seed);
	for (unsigned end = 0; end < 2; end++)
		for (unsigned i = 0; i < USERS; i++)
			if (x.user[end][i].used)
				tcp_release(x.user[end][i].c);
	wire_fini(&x.w);
	cr_assert_eq(pkt_heap_outstanding(), 0, "seed %lu", seed);
}

Test(chaos, seeds)
{
	const char *one = getenv("WIRE_SEED"), *n = getenv("WIRE_SEEDS");

	if (one)
		one_seed(strtoul(one, NULL, 10));
	for (uint64_t seed = 1; !one && seed <= (n ? strtoul(n, NULL, 10) : 60); seed++)
		one_seed(seed);
}
