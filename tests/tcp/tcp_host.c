/*
 * tcp_host.c: a host on a real device whose TCP gives back what it gets: port 7. A connection to
 * port 20 is closed at once, and one is opened to the client's port 2000 that echoes too. Serves
 * until SIGTERM, then prints its counters.
 *
 * usage: tcp_host DEVICE ADDRESS/LEN ADDRESS/LEN [WORKERS]      IPv4 and IPv6; as root
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "check.h"
#include "clock.h"
#include "log.h"
#include "net.h"
#include "tcp.h"

#define PACKETS 16384
#define N_MAX	4

static volatile sig_atomic_t stop;
static const struct ip_addr any;
static struct worker {
	struct stat stat;
	struct trace trace;
	struct rnd rnd;
	struct port_core *pc;
	struct net_core *net;
	struct tcp_core *tcp;
} worker[N_MAX];

static void on_signal(int n)
{
	(void)n;
	stop = 1;
}

static void connect_back(struct worker *w, struct tcp_conn *c, uint64_t now)
{
	struct ip_addr local, remote;
	uint16_t lport, rport;
	enum err err;

	tcp_addrs(c, &local, &lport, &remote, &rport);
	if (!tcp_connect(w->tcp, &any, &remote, 2000, 7, now, &err))
		fprintf(stderr, "connect: %s\n", err_text(err));
	tcp_shutdown(c);
}

static void serve(struct worker *w, struct tcp_conn *c, uint64_t now)
{
	uint32_t events = tcp_events(c);
	struct slice s;

	if (events & TCP_EV_CLOSED) {
		if (tcp_error(c) != ERR_OK)
			printf("closed: %s\n", err_name(tcp_error(c)));
		tcp_release(c);
		return;
	}
	if ((events & TCP_EV_ACCEPTED) && tcp_tag(c) == 20)
		connect_back(w, c, now);
	while (tcp_readable(c) && tcp_send_room(c) > PKT_ROOM && tcp_take(c, &s, 1)) {
		uint32_t len = s.len;
		tcp_send(c, s, true);
		tcp_consumed(c, len);
	}
	if (events & TCP_EV_FIN)
		tcp_set_user(c, w); /* close when all is given back */
	if (tcp_user(c) && !tcp_readable(c))
		tcp_shutdown(c);
}

static int worker_main(void *arg)
{
	struct worker *w = arg;
	struct pkt *in[PORT_BURST];
	struct net_seg seg[PORT_BURST];
	struct tcp_conn *ready[PORT_BURST];
	struct tcp_counts left = {0};
	uint64_t until = 0;

	/* After the signal, what a lost segment keeps open may still end. */
	while (!stop || (left.conns > 0 && (until == 0 || clock_us() < until))) {
		uint64_t now = clock_us();
		if (stop) {
			tcp_counts(w->tcp, &left);
			until = until ? until : now + 30 * 1000000ull;
		} else {
			left.conns = 1;
			until = 0;
		}
		unsigned n = port_receive(w->pc, in, PORT_BURST);
		tcp_input(w->tcp, seg, net_input(w->net, 0, in, n, now, seg), now);
		tcp_timers(w->tcp, now);
		unsigned k = tcp_ready(w->tcp, ready, PORT_BURST);
		for (unsigned i = 0; i < k; i++)
			serve(w, ready[i], now);
		tcp_flush(w->tcp, now);
		net_timers(w->net, now);
		port_flush(w->pc);
		if (n + k == 0)
			usleep(50);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct ip_prefix addr[2];
	struct conf_port cp = {.name = "wan", .n_addr = 2, .addr = addr};
	struct conf c = {.n_port = 1,
			 .port = &cp,
			 .packets = PACKETS,
			 .log_level = LOG_L_INFO,
			 .huge_pages = true};
	struct tcp_conf tc = tcp_conf_default();
	struct port *port;

	if (argc < 4 || !ip_prefix_parse(span_str(argv[2]), &addr[0]) ||
	    !ip_prefix_parse(span_str(argv[3]), &addr[1])) {
		fprintf(stderr, "usage: %s DEVICE ADDRESS/LEN ADDRESS/LEN [WORKERS]\n", argv[0]);
		return 2;
	}
	cp.device = argv[1];
	c.n_workers = argc > 4 ? (unsigned)atoi(argv[4]) : 1;
	CHECK(c.n_workers > 0 && c.n_workers <= N_MAX);
	tc.timewait_us = 1000000;
	log_set_level(LOG_L_INFO);
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	if (port_eal_start(&c) != ERR_OK)
		return 1;
	struct pkt_pool *pool = pkt_pool_create("host", PACKETS - 1, PKT_ROOM);
	if (!pool || port_open(&port, &cp, 0, c.n_workers, pool) != ERR_OK)
		return 1;
	unsigned free_before = 0;
	for (unsigned i = 0; i < c.n_workers; i++) {
		struct worker *w = &worker[i];
		rnd_seed_os(&w->rnd);
		w->pc = port_core_create(port, i, &w->stat);
		w->net = net_create(&c, &w->pc, &port, 1, pool, &w->stat, &w->rnd, i == 0);
		w->tcp = tcp_create(&tc, w->net, pool, &w->stat, &w->trace, &w->rnd, i);
		CHECK(tcp_listen(w->tcp, &any, 7, 7) == ERR_OK &&
		      tcp_listen(w->tcp, &any, 20, 20) == ERR_OK);
	}
	free_before = pkt_pool_free_n(pool);
	for (unsigned i = 0; i < c.n_workers; i++)
		CHECK(port_worker_launch(i, worker_main, &worker[i]) == ERR_OK);
	printf("ready\n");
	fflush(stdout);
	for (unsigned i = 0; i < c.n_workers; i++)
		port_worker_join(i);
	for (unsigned k = 0; k < STAT__N; k++) {
		uint64_t sum = 0;
		for (unsigned i = 0; i < c.n_workers; i++)
			sum += stat_get(&worker[i].stat, k);
		if (sum)
			printf("%s %lu\n", stat_name(k), sum);
	}
	for (unsigned i = 0; i < c.n_workers; i++) {
		struct tcp_counts n;
		tcp_counts(worker[i].tcp, &n);
		if (n.conns)
			printf("left_connections %u\n", n.conns);
		tcp_destroy(&worker[i].tcp);
		net_destroy(&worker[i].net);
		port_core_destroy(&worker[i].pc);
	}
	printf("packets %u of %u\n", pkt_pool_free_n(pool), free_before);
	port_close(&port);
	pkt_pool_destroy(&pool);
	port_eal_stop();
	return 0;
}
