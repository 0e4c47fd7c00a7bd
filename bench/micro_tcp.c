/*
 * micro_tcp.c: what the TCP itself costs: two cores joined by pointers, real mempools, no Ethernet,
 * no IP, no checksums.
 *
 * Cycles are those of both sides together, on one core, divided by the number of what the line
 * names. Run on a quiet machine: micro_tcp [seconds-scale 1..]. The medians of five rounds are
 * printed.
 */
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "clock.h"
#include "tcp.h"

#define RING   8192
#define ROUNDS 5

struct net_core {
	struct net_core *peer;
	struct ip_addr addr;
	struct port_info info;
	struct pkt_pool *pool;
	struct net_seg in[RING];
	unsigned head, tail;
	unsigned dropped;
};

struct side {
	struct net_core net;
	struct tcp_core *tcp;
	struct stat stat;
	struct trace trace;
	struct rnd rnd;
	uint64_t cycles, bytes;
};

static struct side side[2];
static struct pkt_pool *pool;
static uint64_t now_us = 1000000;

/* ---- in the place of net ---- */

enum err net_output(struct net_core *n, struct net_dst *d, struct pkt *l4, uint8_t proto,
		    unsigned l4_hdr_len, unsigned tso_mss, uint64_t t)
{
	struct net_core *to = n->peer;
	struct pkt *p = l4;

	if (pkt_total(l4) != pkt_len(l4)) {
		/* As a device without scatter would: one buffer. */
		p = pkt_alloc(n->pool);
		CHECK(p != NULL);
		for (struct pkt *s = l4; s; s = (struct pkt *)((struct rte_mbuf *)(void *)s)->next)
			memcpy(pkt_append(p, pkt_len(s)), pkt_data(s), pkt_len(s));
		pkt_free(l4);
	}
	if (to->head - to->tail == RING) {
		to->dropped++;
		pkt_free(p);
		return ERR_OK;
	}
	to->in[to->head++ % RING] = (struct net_seg){.pkt = p,
						     .l4 = pkt_data(p),
						     .l4_len = pkt_len(p),
						     .src = d->src,
						     .dst = d->dst,
						     .csum_ok = true};
	return ERR_OK;
}

enum err net_route(struct net_core *n, const struct ip_addr *src, const struct ip_addr *dst,
		   struct net_dst *out)
{
	*out = (struct net_dst){.src = n->addr, .dst = *dst, .mtu = 1500};
	return ERR_OK;
}

bool net_is_local(const struct net_core *n, const struct ip_addr *a, unsigned *port)
{
	*port = 0;
	return ip_eq(a, &n->addr);
}

const struct port_info *net_port_info(const struct net_core *n, unsigned port)
{
	return NULL; /* no segmentation: every segment is made here */
}

unsigned net_flow_owner(const struct net_core *n, unsigned port, const struct ip_addr *remote,
			const struct ip_addr *local, uint16_t remote_port, uint16_t local_port)
{
	return 0;
}

void net_confirm(struct net_core *n, struct net_dst *d, uint64_t t)
{
}

/* ---- the work ---- */

enum mode { ECHO, CLOSE, SINK, IDLE };
static enum mode mode;
static uint64_t done; /* requests answered, connections closed */
static struct slice payload;

static void send_payload(struct tcp_conn *c)
{
	tcp_send(c, slice_ref(&payload), true);
}

static void serve(unsigned end, struct tcp_conn *c)
{
	uint32_t events = tcp_events(c), got = 0;
	struct slice v[32];
	unsigned n;

	while ((n = tcp_take(c, v, 32)) != 0)
		for (unsigned i = 0; i < n; i++) {
			got += v[i].len;
			tcp_consumed(c, v[i].len);
			slice_drop(&v[i]);
		}
	side[end].bytes += got;
	if (events & TCP_EV_CLOSED) {
		CHECK(tcp_error(c) == ERR_OK);
		tcp_release(c);
		if (end == 0)
			done++;
		return;
	}
	if (mode == SINK) {
		while (end == 0 && tcp_send_room(c) >= payload.len)
			send_payload(c);
	} else if (mode != IDLE) {
		if (end == 0 && (events & TCP_EV_CONNECTED))
			send_payload(c);
		if (got && end == 1) {
			send_payload(c);
			if (mode == CLOSE)
				tcp_shutdown(c);
		}
		if (got && end == 0 && mode == ECHO) {
			done++;
			send_payload(c);
		}
		if (end == 0 && (events & TCP_EV_FIN))
			tcp_shutdown(c);
	}
}

static void turn(unsigned end)
{
	struct side *s = &side[end];
	struct net_seg batch[32];
	struct tcp_conn *ready[64];
	unsigned n = 0;

	while (n < 32 && s->net.tail != s->net.head)
		batch[n++] = s->net.in[s->net.tail++ % RING];
	if (n)
		tcp_input(s->tcp, batch, n, now_us);
	tcp_timers(s->tcp, now_us);
	while ((n = tcp_ready(s->tcp, ready, 64)) != 0)
		for (unsigned i = 0; i < n; i++)
			serve(end, ready[i]);
	tcp_flush(s->tcp, now_us);
}

static void connect_some(unsigned n)
{
	static const struct ip_addr any;
	enum err err;

	while (n--) {
		/* 64 k ports a destination: spread over destination ports */
		struct tcp_conn *c = tcp_connect(side[0].tcp, &any, &side[1].net.addr,
						 (uint16_t)(1000 + n % 32), 0, now_us, &err);
		CHECK(c != NULL);
	}
}

static void setup(uint32_t conns)
{
	static const struct ip_addr any;
	struct tcp_conf c = tcp_conf_default();

	c.conns_max = conns;
	c.timewait_us = 1000;
	c.syn_backlog = conns;
	memset(side, 0, sizeof(side));
	for (unsigned i = 0; i < 2; i++) {
		struct side *s = &side[i];
		s->net.peer = &side[1 - i].net;
		s->net.pool = pool;
		ip_parse(i ? SPAN("198.18.0.2") : SPAN("198.18.0.1"), &s->net.addr);
		rnd_seed(&s->rnd, i + 1);
		s->tcp = tcp_create(&c, &s->net, pool, &s->stat, &s->trace, &s->rnd, 0);
	}
	for (uint16_t p = 1000; p < 1032; p++)
		CHECK(tcp_listen(side[1].tcp, &any, p, 0) == ERR_OK);
	done = 0;
}

static void teardown(void)
{
	for (unsigned i = 0; i < 2; i++) {
		while (side[i].net.tail != side[i].net.head)
			pkt_free(side[i].net.in[side[i].net.tail++ % RING].pkt);
		tcp_destroy(&side[i].tcp);
	}
}

static void turns(unsigned n)
{
	while (n--) {
		now_us += 2;
		turn(0);
		turn(1);
	}
}

/* CPU time of this thread in cycles of the time-stamp counter: what others on the machine do counts
 * little. */
static uint64_t cycles(void)
{
	return (uint64_t)((double)clock_thread_cpu_ns() * (double)rte_get_tsc_hz() / 1e9);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double median(double *v)
{
	qsort(v, ROUNDS, sizeof(*v), by_value);
	return v[ROUNDS / 2];
}

static void set_payload(uint32_t len)
{
	if (payload.pkt)
		slice_drop(&payload);
	struct pkt *p = pkt_alloc(pool);
	CHECK(p != NULL);
	payload = (struct slice){p, pkt_append(p, len), len};
	memset(payload.data, 'x', len);
}

static void request_response(uint32_t conns, uint64_t n)
{
	double v[ROUNDS];

	mode = ECHO;
	set_payload(64);
	setup(conns + 1);
	connect_some(conns);
	turns(2000);
	for (unsigned r = 0; r < ROUNDS; r++) {
		uint64_t from = done, t = cycles();
		while (done - from < n)
			turns(10);
		v[r] = (double)(cycles() - t) / (double)(done - from);
	}
	printf("request/response, 64 bytes, %6u connections   %7.0f cycles\n", conns, median(v));
	teardown();
}

static void connections(uint32_t at_once, uint64_t n)
{
	double v[ROUNDS];

	mode = CLOSE;
	set_payload(64);
	setup(at_once * 4);
	for (unsigned r = 0; r < ROUNDS; r++) {
		uint64_t from = done, opened = 0, t = cycles();
		while (done - from < n) {
			uint64_t want = at_once - (opened - (done - from));
			connect_some((unsigned)want);
			opened += want;
			turns(1);
		}
		v[r] = (double)(cycles() - t) / (double)(done - from);
		while (done - from < opened)
			turns(1);
	}
	printf("connect, request/response, close, %4u at once    %7.0f cycles\n", at_once,
	       median(v));
	teardown();
}

static void bulk(uint64_t n)
{
	double v[ROUNDS];

	mode = SINK;
	set_payload(PKT_ROOM);
	setup(16);
	connect_some(1);
	turns(1000);
	for (unsigned r = 0; r < ROUNDS; r++) {
		uint64_t from = side[1].bytes, t = cycles();
		while (side[1].bytes - from < n)
			turns(10);
		v[r] = (double)(cycles() - t) / ((double)(side[1].bytes - from) / 1448);
	}
	printf("bulk, one connection, a segment of 1448 bytes    %7.0f cycles (with one copy)\n",
	       median(v));
	teardown();
}

static long resident_kb(void)
{
	char line[128];
	long kb = 0;
	FILE *f = fopen("/proc/self/status", "r");

	CHECK(f != NULL);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "VmRSS: %ld", &kb) == 1)
			break;
	fclose(f);
	return kb;
}

static void memory(uint32_t conns)
{
	mode = IDLE;
	setup(conns + 1);
	long before = resident_kb();
	for (uint32_t i = 0; i < conns; i += 1000) {
		connect_some(1000);
		turns(200);
	}
	struct tcp_counts a, b;
	tcp_counts(side[0].tcp, &a);
	tcp_counts(side[1].tcp, &b);
	printf("idle connection, %u on each side              %7.0f bytes (object %u)\n", conns,
	       (double)(resident_kb() - before) * 1024 / (a.conns + b.conns), a.conn_bytes);
	CHECK(a.conns == conns && b.conns == conns);
	teardown();
}

int main(int argc, char **argv)
{
	char *eal[] = {argv[0],
		       (char[]){"--no-huge"},
		       (char[]){"--no-pci"},
		       (char[]){"--no-shconf"},
		       (char[]){"--no-telemetry"},
		       (char[]){"-m"},
		       (char[]){"256"},
		       (char[]){"-l"},
		       (char[]){"0"},
		       (char[]){"--log-level=4"}};
	uint64_t scale = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;

	if (rte_eal_init(sizeof(eal) / sizeof(eal[0]), eal) < 0) {
		fprintf(stderr, "micro_tcp: rte_eal_init: %s\n", rte_strerror(rte_errno));
		return 1;
	}
	pool = pkt_pool_create("micro", 32768, PKT_ROOM);
	CHECK(pool != NULL && scale > 0);
	request_response(1, 50000 * scale);
	request_response(32, 100000 * scale);
	request_response(256, 100000 * scale);
	request_response(10000, 100000 * scale);
	connections(64, 20000 * scale);
	bulk(100000000 * scale);
	memory(100000);
	slice_drop(&payload);
	return 0;
}
