/*
 * loadgen_stack.c: the load generator's transport over our own TCP on any DPDK device (memif, virtio-user):
 * no kernel between the two ends. One thread, which is also the poll loop: lg poll() is a turn of it.
 *
 * Sent bytes are copied into packets once (the generator's buffers are reused); received ones once into
 * the client's buffer.
 */
#include "loadgen.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "conf.h"
#include "net.h"
#include "port.h"
#include "tcp.h"

#define PACKETS 32768

struct stack_conn {
	struct tcp_conn *tcp;
	struct slices rx;
	unsigned events; /* not yet reported */
	bool full;       /* told the client so: LG_WRITABLE is owed */
	bool listed;
};

struct stack_io {
	struct conf conf;
	struct conf_port port_conf;
	struct ip_prefix addr;
	unsigned lcore;
	struct port *port;
	struct port_core *port_core;
	struct pkt_pool *pool;
	struct net_core *net;
	struct tcp_core *tcp;
	struct stat stat;
	struct trace trace;
	struct rnd rnd;
	struct ip_addr peer;
	uint16_t peer_port;
	unsigned n_conns, n_list;
	unsigned *list; /* connections with events */
	struct stack_conn conn[];
};

static const char *stack_device, *stack_address;

void lg_stack_options(const char *device, const char *address)
{
	stack_device = device;
	stack_address = address;
}

static void stack_destroy(void *arg)
{
	struct stack_io *io = arg;
	for (unsigned i = 0; i < io->n_conns; i++)
		slices_drop(&io->conn[i].rx);
	if (io->tcp != NULL)
		tcp_destroy(&io->tcp);
	if (io->net != NULL)
		net_destroy(&io->net);
	if (io->port_core != NULL)
		port_core_destroy(&io->port_core);
	if (io->port != NULL)
		port_close(&io->port);
	if (io->pool != NULL)
		pkt_pool_destroy(&io->pool);
	port_eal_stop();
	free(io->list);
	free(io);
}

static bool stack_start(struct stack_io *io)
{
	struct conf *c = &io->conf;
	*c = (struct conf){.hostname = "load", .n_workers = 1, .worker_lcore = &io->lcore, .packets = PACKETS,
			   .huge_pages = true, .n_port = 1, .port = &io->port_conf, .storage_core = -1};
	io->port_conf = (struct conf_port){.name = "load", .device = stack_device, .n_addr = 1, .addr = &io->addr};
	io->lcore = 1;
	if (port_eal_start(c) != ERR_OK)
		return false;
	io->pool = pkt_pool_create("load", PACKETS, PKT_ROOM);
	if (io->pool == NULL || port_open(&io->port, &io->port_conf, 0, 1, io->pool) != ERR_OK)
		return false;
	io->port_core = port_core_create(io->port, 0, &io->stat);
	rnd_seed_os(&io->rnd);
	io->net = net_create(c, &io->port_core, &io->port, 1, io->pool, &io->stat, &io->rnd, true);
	struct tcp_conf tc = tcp_conf_default();
	if (io->net != NULL)
		io->tcp = tcp_create(&tc, io->net, io->pool, &io->stat, &io->trace, &io->rnd, 0);
	return io->tcp != NULL;
}

static void *stack_create(const char *host, const char *port, unsigned n_conns)
{
	uint64_t number;
	struct stack_io *io = NULL;
	size_t size = sizeof(*io) + n_conns * sizeof(io->conn[0]);
	if (posix_memalign((void **)&io, 64, size) != 0)
		return NULL;
	memset(io, 0, size);
	io->n_conns = n_conns;
	io->list = calloc(n_conns, sizeof(*io->list));
	if (io->list == NULL || !ip_parse(span_str(host), &io->peer) ||
	    !span_u64(span_str(port), 65535, &number) || !ip_prefix_parse(span_str(stack_address), &io->addr)) {
		fprintf(stderr, "%s port %s from %s: not numeric addresses\n", host, port, stack_address);
		free(io->list);
		free(io);
		return NULL;
	}
	io->peer_port = (uint16_t)number;
	if (!stack_start(io)) {
		fprintf(stderr, "device %s does not start\n", stack_device);
		stack_destroy(io);
		return NULL;
	}
	return io;
}

static void note(struct stack_io *io, unsigned conn, unsigned bits)
{
	struct stack_conn *c = &io->conn[conn];
	c->events |= bits;
	if (!c->listed) {
		c->listed = true;
		io->list[io->n_list++] = conn;
	}
}

static bool stack_open(void *arg, unsigned conn)
{
	static const struct ip_addr any;
	struct stack_io *io = arg;
	struct stack_conn *c = &io->conn[conn];
	enum err e;
	c->events = 0;
	c->full = false;
	c->tcp = tcp_connect(io->tcp, &any, &io->peer, io->peer_port, conn, clock_us(), &e);
	return c->tcp != NULL;
}

static void stack_close(void *arg, unsigned conn)
{
	struct stack_io *io = arg;
	struct stack_conn *c = &io->conn[conn];
	if (c->tcp != NULL)
		tcp_release(c->tcp);
	c->tcp = NULL;
	c->events = 0;
	slices_drop(&c->rx);
}

static ssize_t stack_send(void *arg, unsigned conn, const struct iovec *iov, int n)
{
	struct stack_io *io = arg;
	struct stack_conn *c = &io->conn[conn];
	struct slices out = {0};
	uint32_t room = tcp_send_room(c->tcp);
	ssize_t taken = 0;
	for (int i = 0; i < n && room > 0; i++) {
		struct span s = span_head(span_of(iov[i].iov_base, iov[i].iov_len), room);
		if (!slices_copy(&out, io->pool, s))
			break;
		taken += (ssize_t)s.len;
		room -= (uint32_t)s.len;
	}
	for (uint32_t i = 0; i < out.n; i++) {
		if (!tcp_send(c->tcp, slice_ref(&out.v[i]), i + 1 == out.n)) {
			slices_drop(&out);
			return -1;
		}
	}
	slices_drop(&out);
	if (taken == 0)
		c->full = true;
	return taken;
}

static ssize_t stack_recv(void *arg, unsigned conn, void *buf, size_t len)
{
	struct stack_io *io = arg;
	struct stack_conn *c = &io->conn[conn];
	size_t n = slices_read(&c->rx, 0, buf, len);
	if (n > 0) {
		slices_consume(&c->rx, n);
		tcp_consumed(c->tcp, (uint32_t)n);
		return (ssize_t)n;
	}
	return c->events & LG_CLOSED ? -1 : 0;
}

static void conn_news(struct stack_io *io, struct tcp_conn *t)
{
	unsigned conn = (unsigned)tcp_tag(t);
	uint32_t ev = tcp_events(t);
	struct stack_conn *c = &io->conn[conn];
	if (c->tcp != t)
		return; /* given up before */
	if (ev & TCP_EV_CONNECTED)
		note(io, conn, LG_OPEN | LG_WRITABLE);
	if (ev & TCP_EV_READABLE) {
		struct slice v[32];
		unsigned n;
		while ((n = tcp_take(t, v, 32)) > 0)
			for (unsigned i = 0; i < n; i++)
				slices_push(&c->rx, v[i]);
		note(io, conn, LG_READABLE);
	}
	if ((ev & TCP_EV_WRITABLE) && c->full) {
		c->full = false;
		note(io, conn, LG_WRITABLE);
	}
	if (ev & (TCP_EV_FIN | TCP_EV_CLOSED))
		note(io, conn, LG_READABLE | LG_CLOSED);
}

static unsigned turn(struct stack_io *io, uint64_t now)
{
	struct pkt *frames[PORT_BURST];
	struct net_seg segs[PORT_BURST];
	struct tcp_conn *ready[64];
	unsigned n = port_receive(io->port_core, frames, PORT_BURST), work = n;
	n = net_input(io->net, 0, frames, n, now, segs);
	tcp_input(io->tcp, segs, n, now);
	tcp_timers(io->tcp, now);
	net_timers(io->net, now);
	n = tcp_ready(io->tcp, ready, 64);
	for (unsigned i = 0; i < n; i++)
		conn_news(io, ready[i]);
	tcp_flush(io->tcp, now);
	port_flush(io->port_core);
	return work;
}

static int stack_poll(void *arg, struct lg_event *ev, int n, int timeout_ms)
{
	struct stack_io *io = arg;
	uint64_t now = clock_us(), until = now + (uint64_t)timeout_ms * 1000;
	/* What the client wrote since the last call leaves with the first turn. */
	do {
		(void)turn(io, now);
		now = clock_us();
	} while (io->n_list == 0 && now < until);
	int out = 0;
	while (io->n_list > 0 && out < n) {
		unsigned conn = io->list[--io->n_list];
		struct stack_conn *c = &io->conn[conn];
		c->listed = false;
		if (c->tcp == NULL || c->events == 0)
			continue;
		ev[out++] = (struct lg_event){conn, c->events};
		c->events &= LG_CLOSED; /* recv tells the end from "nothing now" by it */
	}
	return out;
}

const struct lg_io_ops lg_io_stack = {
	.name = "stack",
	.create = stack_create,
	.destroy = stack_destroy,
	.open = stack_open,
	.close = stack_close,
	.send = stack_send,
	.recv = stack_recv,
	.poll = stack_poll,
};
