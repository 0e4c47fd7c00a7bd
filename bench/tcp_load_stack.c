/* tcp_load_stack.c: tcp-load-stack: one end of bench/tcp over our own TCP on any DPDK device (tcp_load.h). */
#include "tcp_load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "conf.h"
#include "net.h"
#include "port.h"
#include "tcp.h"

#define PACKETS 32768

struct end {
	struct tl_options o;
	struct conf conf;
	struct conf_port port_conf;
	struct ip_prefix addr;
	struct ip_addr peer;
	struct port *port;
	struct port_core *core;
	struct pkt_pool *pool;
	struct net_core *net;
	struct tcp_core *tcp;
	struct stat stat;
	struct trace trace;
	struct rnd rnd;
	struct slice payload;
	uint64_t now_us;
	unsigned open, up, next_port;  /* client: connections that stand or come; that came, ever */
	uint64_t asked_ns[TL_CONNS_MAX];
	uint32_t got[TL_CONNS_MAX];
	struct tl_result r;
};

static void fail(const char *what)
{
	(void)fprintf(stderr, "tcp-load-stack: %s\n", what);
	exit(1);
}

static void start(struct end *e)
{
	if (e->o.device == NULL || e->o.address == NULL || !ip_prefix_parse(span_str(e->o.address), &e->addr) ||
	    (!e->o.server && !ip_parse(span_str(e->o.peer), &e->peer)))
		fail("--device, --address and --peer are wanted, numeric");
	e->conf = (struct conf){.hostname = "load", .n_workers = 1, .worker_lcore = &e->o.cpu, .packets = PACKETS,
				.huge_pages = true, .n_port = 1, .port = &e->port_conf, .storage_core = -1};
	e->port_conf = (struct conf_port){.name = "load", .device = e->o.device, .n_addr = 1, .addr = &e->addr};
	if (port_eal_start(&e->conf) != ERR_OK)
		fail("the EAL does not start");
	e->pool = pkt_pool_create("load", PACKETS, PKT_ROOM);
	if (e->pool == NULL || port_open(&e->port, &e->port_conf, 0, 1, e->pool) != ERR_OK)
		fail("the device does not start");
	e->core = port_core_create(e->port, 0, &e->stat);
	rnd_seed_os(&e->rnd);
	e->net = net_create(&e->conf, &e->core, &e->port, 1, e->pool, &e->stat, &e->rnd, true);
	struct tcp_conf tc = tcp_conf_default();
	tc.rcv_buf = tc.snd_buf = 1u << 20;
	CHECK(e->net != NULL);
	e->tcp = tcp_create(&tc, e->net, e->pool, &e->stat, &e->trace, &e->rnd, 0);
	CHECK(e->tcp != NULL);
	struct pkt *p = pkt_alloc(e->pool);
	CHECK(p != NULL);
	uint32_t len = e->o.work == TL_BULK ? pkt_room(p) : TL_SIZE;
	e->payload = (struct slice){p, pkt_append(p, len), len};
	memset(e->payload.data, 'x', len);
}

static void ask(struct end *e, struct tcp_conn *c, unsigned i)
{
	if (e->o.conns == 1)
		e->asked_ns[i] = tl_now_ns();
	(void)tcp_send(c, slice_ref(&e->payload), true);
}

/* Reads and forgets; returns how many bytes there were. */
static uint32_t take_all(struct tcp_conn *c)
{
	struct slice v[32];
	uint32_t got = 0;
	unsigned n;
	while ((n = tcp_take(c, v, 32)) != 0) {
		for (unsigned i = 0; i < n; i++) {
			got += v[i].len;
			slice_drop(&v[i]);
		}
	}
	if (got > 0)
		tcp_consumed(c, got);
	return got;
}

static void serve(struct end *e, struct tcp_conn *c)
{
	uint32_t ev = tcp_events(c), got = take_all(c);
	if (ev & TCP_EV_CLOSED) {
		tcp_release(c);
		return;
	}
	if (e->o.work != TL_BULK) {
		for (uint32_t at = TL_SIZE; at <= got; at += TL_SIZE)
			(void)tcp_send(c, slice_ref(&e->payload), true);
		if (got > 0 && e->o.work == TL_CLOSE)
			tcp_shutdown(c);
	}
	if ((ev & TCP_EV_FIN) && e->o.work != TL_CLOSE)
		tcp_shutdown(c);
}

static void fill(struct end *e, struct tcp_conn *c)
{
	uint32_t before = tcp_unacked(c);
	while (tcp_send_room(c) >= e->payload.len && tcp_send(c, slice_ref(&e->payload), false))
		continue;
	/* Counted as it is queued: beyond what was acknowledged by one send buffer at most. */
	e->r.done += tcp_unacked(c) - before;
}

static void client(struct end *e, struct tcp_conn *c)
{
	uint32_t ev = tcp_events(c), got = take_all(c);
	unsigned i = (unsigned)tcp_tag(c);
	if (ev & TCP_EV_CLOSED) {
		if (tcp_error(c) != ERR_OK || e->o.work != TL_CLOSE)
			e->r.failed++;
		else
			e->r.done++;
		tcp_release(c);
		e->open--;
		return;
	}
	e->up += (ev & TCP_EV_CONNECTED) != 0;
	if (e->o.work == TL_BULK) {
		if (ev & (TCP_EV_CONNECTED | TCP_EV_WRITABLE))
			fill(e, c);
		return;
	}
	if (ev & TCP_EV_CONNECTED)
		ask(e, c, i);
	if (e->o.work == TL_CLOSE) {
		if (ev & TCP_EV_FIN)
			tcp_shutdown(c);
		return;
	}
	e->got[i] += got;
	if (e->got[i] >= TL_SIZE) {
		e->got[i] -= TL_SIZE;
		e->r.done++;
		if (e->o.conns == 1)
			tl_latency(&e->r, tl_now_ns() - e->asked_ns[i]);
		ask(e, c, i);
	}
}

static void open_some(struct end *e)
{
	static const struct ip_addr any;
	/* The first one finds the neighbour, behind which only a few packets may wait. */
	unsigned want = e->up > 0 ? e->o.conns : 1;
	while (e->open < want) {
		enum err err;
		uint16_t port = (uint16_t)(TL_PORT + e->next_port++ % TL_PORTS);
		struct tcp_conn *c = tcp_connect(e->tcp, &any, &e->peer, port, e->open, e->now_us, &err);
		if (c == NULL)
			return; /* no port or no way just now: tried again in the next turn */
		e->open++;
	}
}

static void turn(struct end *e)
{
	struct pkt *frames[PORT_BURST];
	struct net_seg segs[PORT_BURST];
	struct tcp_conn *ready[64];
	e->now_us = clock_us();
	unsigned n = port_receive(e->core, frames, PORT_BURST);
	if (n > 0) {
		n = net_input(e->net, 0, frames, n, e->now_us, segs);
		tcp_input(e->tcp, segs, n, e->now_us);
	}
	tcp_timers(e->tcp, e->now_us);
	net_timers(e->net, e->now_us);
	n = tcp_ready(e->tcp, ready, 64);
	for (unsigned i = 0; i < n; i++) {
		if (e->o.server)
			serve(e, ready[i]);
		else
			client(e, ready[i]);
	}
	tcp_flush(e->tcp, e->now_us);
	port_flush(e->core);
}

static int run(void *arg)
{
	struct end *e = arg;
	static const struct ip_addr any;
	if (e->o.server) {
		for (uint16_t p = TL_PORT; p < TL_PORT + TL_PORTS; p++)
			CHECK(tcp_listen(e->tcp, &any, p, 0) == ERR_OK);
		(void)printf("ready\n");
		(void)fflush(stdout);
		while (!tl_stopped())
			turn(e);
		return 0;
	}
	/* The time counts from when all connections stand. */
	uint64_t begin = tl_now_ns(), from = 0, warm = (uint64_t)(e->o.warm * 1e9), until = (uint64_t)(e->o.seconds * 1e9);
	bool measuring = false;
	while (!tl_stopped()) {
		if (e->open < e->o.conns)
			open_some(e);
		turn(e);
		uint64_t now = tl_now_ns();
		if (!measuring) {
			if (from == 0 && now - begin > 20000000000u)
				fail("no connection to the peer");
			if (from == 0 && e->r.done > 0 && e->up >= e->o.conns)
				from = now;
			if (from != 0 && now - from >= warm) {
				memset(&e->r, 0, sizeof(e->r));
				measuring = true;
				from = now;
			}
		} else if (now - from >= until) {
			e->r.seconds = (double)(now - from) / 1e9;
			e->r.retransmits = stat_get(&e->stat, STAT_tcp_retransmit);
			e->r.timeouts = stat_get(&e->stat, STAT_tcp_rto);
			e->r.dropped = stat_get(&e->stat, STAT_port_tx_drop);
			break;
		}
	}
	return 0;
}

/* What there is to know when a figure is odd. */
static void say_counters(const struct end *e)
{
	for (unsigned i = 0; i < STAT__N; i++) {
		uint64_t v = stat_get(&e->stat, (enum stat_id)i);
		if (v > 0)
			(void)fprintf(stderr, "%s %llu\n", stat_name((enum stat_id)i), (unsigned long long)v);
	}
}

int main(int argc, char **argv)
{
	static struct end e;
	e.o = tl_options_read(argc, argv);
	start(&e);
	if (port_worker_launch(0, run, &e) != ERR_OK)
		fail("the thread does not start");
	port_worker_join(0);
	if (!e.o.server && !tl_stopped())
		tl_print(&e.o, &e.r);
	if (e.o.counters)
		say_counters(&e);
	tcp_destroy(&e.tcp);
	slice_drop(&e.payload);
	net_destroy(&e.net);
	port_core_destroy(&e.core);
	port_close(&e.port);
	pkt_pool_destroy(&e.pool);
	port_eal_stop();
	return 0;
}
