/*
 * test_over_net.c: two TCPs over two real net cores, frame by frame: what tcp hands to net is what
 * net takes, over IPv4 and IPv6, neighbours found by ARP and ND.
 */
#include <criterion/criterion.h>
#include <string.h>
#include "net.h"
#include "tcp.h"

#define TOTAL 2000000u
#define RING  4096

struct host {
	struct net_core *net;
	struct tcp_core *tcp;
	struct pkt_pool *pool;
	struct stat stat;
	struct trace trace;
	struct rnd rnd;
	struct host *peer;
	struct pkt *in[RING]; /* frames from the peer */
	unsigned n_in;
	struct tcp_conn *c;
	uint32_t sent, got;
	bool closed;
	enum err err;
};

static struct host host[2];
static struct ip_addr addr4[2], addr6[2];
static uint64_t now_us;

/* As from a wire: one flat packet of the receiver's. */
static void out(void *arg, unsigned port, struct pkt *p)
{
	struct host *h = ((struct host *)arg)->peer;
	struct pkt *q = pkt_alloc(h->pool);
	uint32_t len = pkt_len(p);

	cr_assert(q && h->n_in < RING && len == pkt_total(p));
	memcpy(pkt_append(q, len), pkt_data(p), len);
	h->in[h->n_in++] = q;
	pkt_free(p);
}

static uint8_t byte_at(uint32_t off)
{
	return (uint8_t)(off * 7 + (off >> 8) + (off >> 16));
}

static void serve(struct host *h, struct tcp_conn *c)
{
	uint32_t events = tcp_events(c);
	struct slice v[16];
	unsigned n;

	if (events & TCP_EV_ACCEPTED)
		h->c = c;
	while ((n = tcp_take(c, v, 16)) != 0)
		for (unsigned i = 0; i < n; i++) {
			for (uint32_t k = 0; k < v[i].len; k++)
				cr_assert_eq(v[i].data[k], byte_at(h->got + k));
			h->got += v[i].len;
			tcp_consumed(c, v[i].len);
			slice_drop(&v[i]);
		}
	if (events & TCP_EV_CLOSED) {
		h->closed = true;
		h->err = tcp_error(c);
		tcp_release(c);
		h->c = NULL;
	}
}

static void send_more(struct host *h)
{
	while (h->c && h->sent < TOTAL && tcp_send_room(h->c) >= PKT_ROOM) {
		struct pkt *p = pkt_alloc(h->pool);
		cr_assert(p != NULL);
		uint32_t len = 1 + h->sent % PKT_ROOM;
		if (len > TOTAL - h->sent)
			len = TOTAL - h->sent;
		uint8_t *b = pkt_append(p, len);
		for (uint32_t k = 0; k < len; k++)
			b[k] = byte_at(h->sent + k);
		cr_assert(tcp_send(h->c, (struct slice){p, b, len}, true));
		h->sent += len;
		if (h->sent == TOTAL)
			tcp_shutdown(h->c);
	}
}

static void turn(struct host *h)
{
	struct pkt *frames[32];
	struct net_seg segs[32];
	struct tcp_conn *ready[32];
	unsigned n = h->n_in < 32 ? h->n_in : 32;

	memcpy(frames, h->in, n * sizeof(frames[0]));
	memmove(h->in, h->in + n, (h->n_in - n) * sizeof(h->in[0]));
	h->n_in -= n;
	n = net_input(h->net, 0, frames, n, now_us, segs);
	tcp_input(h->tcp, segs, n, now_us);
	net_timers(h->net, now_us);
	tcp_timers(h->tcp, now_us);
	n = tcp_ready(h->tcp, ready, 32);
	for (unsigned i = 0; i < n; i++)
		serve(h, ready[i]);
	send_more(h);
	tcp_flush(h->tcp, now_us);
}

static void one(bool ip6, uint16_t mtu)
{
	static const struct ip_addr any;
	struct tcp_conf conf = tcp_conf_default();
	enum err err;

	memset(host, 0, sizeof(host));
	now_us = 1000000;
	for (unsigned i = 0; i < 2; i++) {
		struct host *h = &host[i];
		struct port_info info = {.mac = {2, 0, 0, 0, 0, (uint8_t)(i + 1)},
					 .mtu = mtu,
					 .n_queue = 1,
					 .multi_segs = true};
		struct ip_prefix own[2] = {{addr4[i], 96 + 24}, {addr6[i], 64}};
		struct conf_port port = {.name = "p", .n_addr = 2, .addr = own, .mtu = mtu};
		h->peer = &host[1 - i];
		h->pool = pkt_pool_create("p", 8192, PKT_ROOM);
		rnd_seed(&h->rnd, i + 1);
		h->net = net_create_test(&port, 1, &info, h->pool, &h->stat, &h->rnd, out, h);
		h->tcp = tcp_create(&conf, h->net, h->pool, &h->stat, &h->trace, &h->rnd, 0);
	}
	/* duplicate address detection */
	for (unsigned i = 0; i < 400; i++, now_us += 10000)
		for (unsigned k = 0; k < 2; k++)
			turn(&host[k]);
	cr_assert_eq(tcp_listen(host[1].tcp, &any, 25, 0), ERR_OK);
	host[0].c =
		tcp_connect(host[0].tcp, &any, ip6 ? &addr6[1] : &addr4[1], 25, 0, now_us, &err);
	cr_assert(host[0].c != NULL);
	for (unsigned i = 0; i < 20000 && !(host[0].closed && host[1].closed); i++, now_us += 500)
		for (unsigned k = 0; k < 2; k++)
			turn(&host[k]);
	for (unsigned k = 0; k < 2; k++) {
		struct tcp_counts n;
		cr_expect(host[k].closed && host[k].err == ERR_OK, "ip6 %d mtu %u end %u: %s", ip6,
			  mtu, k, err_name(host[k].err));
		cr_expect_eq(host[k].got, TOTAL);
		cr_expect_eq(stat_get(&host[k].stat, STAT_tcp_retransmit), 0);
		tcp_counts(host[k].tcp, &n);
		cr_expect_eq(n.conns, 0);
	}
	for (unsigned k = 0; k < 2; k++) {
		for (unsigned i = 0; i < host[k].n_in; i++)
			pkt_free(host[k].in[i]);
		tcp_destroy(&host[k].tcp);
		net_destroy(&host[k].net);
	}
	for (unsigned k = 0; k < 2; k++)
		pkt_pool_destroy(&host[k].pool);
	cr_assert_eq(pkt_heap_outstanding(), 0);
}

Test(over_net, both_families)
{
	ip_parse(SPAN("198.18.0.1"), &addr4[0]);
	ip_parse(SPAN("198.18.0.2"), &addr4[1]);
	ip_parse(SPAN("fd00:198:18::1"), &addr6[0]);
	ip_parse(SPAN("fd00:198:18::2"), &addr6[1]);
	one(false, 1500);
	one(true, 1500);
	one(true, 1280);
	one(false, 576);
}
