/*
 * net_host.c: a host that answers ARP, ND and echo, and gives datagrams to port 7 back: port and net on a
 * real device, without anything above. Serves until SIGTERM, then prints its counters.
 *
 * usage: net_host DEVICE ADDRESS/LEN ADDRESS/LEN [WORKERS]      IPv4 and IPv6; as root
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "check.h"
#include "clock.h"
#include "log.h"
#include "net.h"

#define PACKETS 16384
#define N_MAX   4

static volatile sig_atomic_t stop;
static struct worker {
	struct stat stat;
	struct rnd rnd;
	struct port_core *pc;
	struct net_core *net;
} worker[N_MAX];

static void on_signal(int n)
{
	(void)n;
	stop = 1;
}

static int worker_main(void *arg)
{
	struct worker *w = arg;
	struct pkt *in[PORT_BURST];
	struct net_seg seg[PORT_BURST];
	struct net_udp u;

	while (!stop) {
		uint64_t now = clock_us();
		unsigned n = port_receive(w->pc, in, PORT_BURST);
		unsigned k = net_input(w->net, 0, in, n, now, seg);
		while (k > 0)
			pkt_free(seg[--k].pkt);
		while (net_udp_receive(w->net, 7, &u)) {
			net_udp_send(w->net, &u.dst, u.dst_port, &u.src, u.src_port, slice_span(&u.data),
				     now);
			slice_drop(&u.data);
		}
		net_timers(w->net, now);
		port_flush(w->pc);
		if (n + port_passed(w->pc) == 0)
			usleep(50);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct ip_prefix addr[2];
	struct conf_port cp = {.name = "wan", .n_addr = 2, .addr = addr};
	struct conf c = {.n_port = 1, .port = &cp, .packets = PACKETS, .log_level = LOG_L_INFO,
			 .huge_pages = true};
	struct port *port;

	if (argc < 4 || !ip_prefix_parse(span_str(argv[2]), &addr[0]) ||
	    !ip_prefix_parse(span_str(argv[3]), &addr[1])) {
		fprintf(stderr, "usage: %s DEVICE ADDRESS/LEN ADDRESS/LEN [WORKERS]\n", argv[0]);
		return 2;
	}
	cp.device = argv[1];
	c.n_workers = argc > 4 ? (unsigned)atoi(argv[4]) : 1;
	CHECK(c.n_workers > 0 && c.n_workers <= N_MAX);
	log_set_level(LOG_L_INFO);
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	if (port_eal_start(&c) != ERR_OK)
		return 1;
	struct pkt_pool *pool = pkt_pool_create("host", PACKETS - 1, PKT_ROOM);
	if (!pool || port_open(&port, &cp, 0, c.n_workers, pool) != ERR_OK)
		return 1;
	for (unsigned i = 0; i < c.n_workers; i++) {
		struct worker *w = &worker[i];
		rnd_seed_os(&w->rnd);
		w->pc = port_core_create(port, i, &w->stat);
		w->net = net_create(&c, &w->pc, &port, 1, pool, &w->stat, &w->rnd, i == 0);
		CHECK(net_udp_bind(w->net, 7) == ERR_OK);
	}
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
		net_destroy(&worker[i].net);
		port_core_destroy(&worker[i].pc);
	}
	port_close(&port);
	pkt_pool_destroy(&pool);
	port_eal_stop();
	return 0;
}
