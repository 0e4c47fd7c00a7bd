/*
 * tcp_open.c: how connections begin: listeners, initial sequence numbers, what two SYNs agree on,
 * active opens, local ports. What a SYN from outside asks for is a record (tcp_syn.c) or nothing but a
 * cookie (tcp_cookie.c) until the handshake is complete; here it becomes a connection then.
 */
#include <string.h>
#include "tcp_int.h"
#include "hot.h"

#define PORT_FIRST 16384 /* RFC 6056: a wide range; below it are services */
#define PORT_COUNT (65536 - PORT_FIRST)
#define PORT_TRIES 8192 /* then the pair of addresses counts as used up */

/* ---- listeners ---- */

static struct tcp_listener *listener_at(struct tcp_core *t, const struct ip_addr *addr,
					uint16_t port)
{
	for (uint32_t i = 0; i < t->n_listen; i++)
		if (t->listen[i].port == port && ip_eq(&t->listen[i].addr, addr))
			return &t->listen[i];
	return NULL;
}

/* The exact address before "any". */
const struct tcp_listener *tcp_listener_find(struct tcp_core *t, const struct ip_addr *addr,
					     uint16_t port)
{
	static const struct ip_addr any;
	const struct tcp_listener *l = listener_at(t, addr, port);

	return l ? l : listener_at(t, &any, port);
}

enum err tcp_listen(struct tcp_core *t, const struct ip_addr *addr, uint16_t port, uint64_t tag)
{
	if (listener_at(t, addr, port))
		return ERR_EXISTS;
	if (t->n_listen == TCP_LISTEN_MAX)
		return ERR_TOO_MANY;
	t->listen[t->n_listen++] = (struct tcp_listener){*addr, port, tag};
	return ERR_OK;
}

void tcp_unlisten(struct tcp_core *t, const struct ip_addr *addr, uint16_t port)
{
	struct tcp_listener *l = listener_at(t, addr, port);

	if (l)
		*l = t->listen[--t->n_listen];
}

/* ---- numbers ---- */

struct tuple {
	struct ip_addr local, remote;
	uint16_t lport, rport;
	uint32_t kind; /* what the hash is for */
};

/* RFC 6528: a clock of 4 us plus a keyed hash of the connection's name. */
uint32_t tcp_isn(struct tcp_core *t, const struct ip_addr *local, const struct ip_addr *remote,
		 uint16_t lport, uint16_t rport)
{
	struct tuple name = {*local, *remote, lport, rport, 1};

	return (uint32_t)siphash(t->isn_key, &name, sizeof(name)) + (uint32_t)(t->now_us / 4);
}

/* RFC 7323 5.4 and 7.1: an offset by the pair of addresses, so that timestamps grow from one
 * connection of a pair to the next and tell strangers nothing of our uptime. Never 0: TIME-WAIT
 * entries use 0 for "none". */
uint32_t tcp_ts_offset(struct tcp_core *t, const struct ip_addr *local,
		       const struct ip_addr *remote)
{
	struct tuple name = {*local, *remote, 0, 0, 2};

	return (uint32_t)siphash(t->isn_key, &name, sizeof(name)) | 1;
}

/* ---- what both kinds of open share ---- */

/* Headers of IP and TCP without options. */
static uint32_t headers(const struct tcp_conn *c)
{
	return ip_is4(&c->dst.dst) ? 20 + TCP_HDR : 40 + TCP_HDR;
}

/* RFC 9293 3.7.1, RFC 6691: payload = min(offer, path) - options of every segment. */
void tcp_set_mss(struct tcp_conn *c)
{
	uint32_t mss = min32(max32(c->peer_mss, TCP_MSS_MIN),
			     max32(c->dst.mtu, headers(c) + TCP_MSS_MIN) - headers(c));

	if (c->core->conf.mss_max)
		mss = min32(mss, max32(c->core->conf.mss_max, TCP_MSS_MIN));
	c->mss = (uint16_t)(mss - ((c->flags & TF_TS) ? 12 : 0));
}

uint16_t tcp_mss_offer(const struct tcp_core *t, uint32_t mtu, bool ip4)
{
	uint32_t headers_len = (ip4 ? 20u : 40u) + TCP_HDR;
	uint32_t mss = max32(mtu, headers_len + TCP_MSS_MIN) - headers_len;

	if (t->conf.mss_max)
		mss = min32(mss, max32(t->conf.mss_max, TCP_MSS_MIN));
	return (uint16_t)mss;
}

static void begin(struct tcp_conn *c)
{
	struct tcp_core *t = c->core;

	c->syn_mss = tcp_mss_offer(t, c->dst.mtu, ip_is4(&c->dst.dst));
	c->ts_off = tcp_ts_offset(t, &c->dst.src, &c->dst.dst);
	c->snd_una = c->iss;
	c->snd_nxt = c->snd_max = c->iss + 1;
	c->recover = c->iss;
	c->rtt_at = (uint32_t)t->now_us;
	c->flags |= TF_TIMING;
	tcp_table_add(c);
}

/* What the peer's SYN says is agreed on. */
void tcp_syn_options(struct tcp_conn *c, const struct tcp_seg *s)
{
	struct tcp_core *t = c->core;
	const struct tcp_opts *o = &s->opt;
	uint32_t agreed = TF_TS | TF_SACK | TF_WSCALE;

	if (!o->has_ts)
		agreed &= ~(uint32_t)TF_TS;
	if (!o->sack_ok)
		agreed &= ~(uint32_t)TF_SACK;
	if (!o->has_wscale)
		agreed &= ~(uint32_t)TF_WSCALE;
	c->flags &= agreed | ~(uint32_t)(TF_TS | TF_SACK | TF_WSCALE);
	if (c->flags & TF_TS) {
		c->ts_recent = o->tsval;
		c->ts_recent_ms = now_ms32(t);
	}
	if (c->flags & TF_WSCALE) {
		c->snd_wscale = o->wscale;
		c->rcv_wscale = t->conf.wscale;
	}
	c->peer_mss = o->has_mss ? o->mss : ip_is4(&c->dst.dst) ? TCP_MSS_DEF4 : TCP_MSS_DEF6;
	tcp_set_mss(c);
	c->cwnd = tcp_initial_cwnd(c);
	c->ecn_end = c->iss;
	tcp_ecn_syn(c, s);
	t->cc->init(c);
}

static uint32_t wanted_options(const struct tcp_core *t)
{
	return (t->conf.timestamps ? TF_TS : 0u) | (t->conf.sack ? TF_SACK : 0u) | TF_WSCALE;
}

/* ---- passive ---- */

struct tcp_conn *tcp_open_passive(struct tcp_core *t, const struct tcp_seg *s,
				  const struct tcp_agreed *a)
{
	const struct net_seg *ns = s->ns;
	uint16_t lport = (uint16_t)(ns->l4[2] << 8 | ns->l4[3]);
	const struct tcp_listener *l = tcp_listener_find(t, &ns->dst, lport);
	struct net_dst d;

	if (!l) { /* it ended meanwhile */
		stat_inc(t->stat, STAT_tcp_no_listener);
		tcp_answer_reset(t, s);
		return NULL;
	}
	struct tcp_conn *c = net_route(t->net, &ns->dst, &ns->src, &d) == ERR_OK ? tcp_conn_new(t) : NULL;
	if (!c) {
		stat_inc(t->stat, STAT_tcp_syn_drop);
		return NULL;
	}
	/* The SYN as it was, as far as it counts. */
	struct tcp_seg syn = {
		.flags = TH_SYN | (a->offers & TCP_OFFER_ECN ? TH_ECE | TH_CWR : 0),
		.opt = {.has_mss = true,
			.mss = a->mss,
			.sack_ok = (a->offers & TCP_OFFER_SACK) != 0,
			.has_ts = (a->offers & TCP_OFFER_TS) != 0,
			.tsval = a->ts_recent,
			.has_wscale = (a->offers & TCP_OFFER_WSCALE) != 0,
			.wscale = a->wscale},
	};
	c->dst = d;
	c->lport = lport;
	c->rport = (uint16_t)(ns->l4[0] << 8 | ns->l4[1]);
	c->tag = l->tag;
	c->flags = wanted_options(t);
	c->irs = a->irs;
	c->rcv_nxt = c->rcv_acked = a->irs + 1;
	c->rcv_adv = c->rcv_nxt + min32(t->conf.rcv_buf, UINT16_MAX);
	c->iss = a->iss;
	begin(c);
	tcp_syn_options(c, &syn);
	c->snd_wnd = c->snd_wnd_max = a->wnd; /* RFC 7323 2.2: not scaled in a SYN */
	c->snd_wl1 = a->irs;
	c->snd_wl2 = c->iss;
	c->retries = a->retries;
	c->rtt_at = a->sent_us;
	if (!a->timed)
		c->flags &= ~(uint32_t)TF_TIMING;
	tcp_enter(c, TCP_SYN_RECEIVED);
	tcp_arm_retx(c);
	return c;
}

/* ---- active ---- */

/* A local port that is free for this peer and whose replies are steered to this worker; 0 = none.
 * Random start and odd random step through the whole range (RFC 6056 3.3.2). */
static uint16_t choose_port(struct tcp_core *t, const struct net_dst *d, uint16_t rport)
{
	uint32_t at = rnd_below(t->rnd, PORT_COUNT);
	uint32_t step = rnd_below(t->rnd, PORT_COUNT / 6) * 6 + 1; /* coprime to 49152 = 2^14 * 3 */

	for (unsigned i = 0; i < PORT_TRIES; i++, at = (at + step) % PORT_COUNT) {
		uint16_t port = (uint16_t)(PORT_FIRST + at);
		if (net_flow_owner(t->net, d->port, &d->dst, &d->src, rport, port) != t->worker)
			continue;
		if (tcp_listener_find(t, &d->src, port))
			continue;
		uint32_t hash = tcp_hash(t, &d->src, &d->dst, port, rport);
		if (!tcp_find(t, hash, &d->src, &d->dst, port, rport) &&
		    !tcp_tw_find(t, hash, &d->src, &d->dst, port, rport))
			return port;
	}
	return 0;
}

struct tcp_conn *tcp_connect(struct tcp_core *t, const struct ip_addr *src,
			     const struct ip_addr *dst, uint16_t port, uint64_t tag,
			     uint64_t now_us, enum err *err)
{
	struct net_dst d;

	t->now_us = now_us;
	*err = net_route(t->net, src, dst, &d);
	if (*err != ERR_OK)
		return NULL;
	uint16_t lport = choose_port(t, &d, port);
	if (!lport) {
		*err = ERR_TOO_MANY;
		return NULL;
	}
	struct tcp_conn *c = tcp_conn_new(t);
	if (!c) {
		*err = ERR_NO_MEMORY;
		return NULL;
	}
	c->dst = d;
	c->lport = lport;
	c->rport = port;
	c->tag = tag;
	c->flags = wanted_options(t) | TF_USER | TF_ACTIVE;
	if (t->conf.ecn == TCP_ECN_OFFER)
		c->flags |= TF_ECN;
	c->iss = tcp_isn(t, &d.src, &d.dst, lport, port);
	begin(c);
	c->mss = c->syn_mss;
	tcp_enter(c, TCP_SYN_SENT);
	tcp_send_syn(c); /* without a packet for it, the timer sends it */
	tcp_arm_retx(c);
	return c;
}
