/*
 * wire.c: see wire.h. The stand-in for net/ copies every packet into flat bytes, cuts what was
 * handed over for segmentation, puts in a real checksum and drops at the other end what fails it.
 */
#include "wire.h"
#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "pkt_inline.h"

/* ---- checksum ---- */

static uint32_t sum(uint32_t s, const uint8_t *p, uint32_t len)
{
	for (uint32_t i = 0; i + 1 < len; i += 2)
		s += (uint32_t)(p[i] << 8 | p[i + 1]);
	if (len & 1)
		s += (uint32_t)(p[len - 1] << 8);
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

static uint16_t checksum(const struct wire_frame *f)
{
	uint32_t s = sum(0, f->src.b, 16);
	s = sum(s, f->dst.b, 16);
	s = sum(s + f->len + 6, f->l4, f->len);
	return (uint16_t)~s;
}

/* ---- frames ---- */

static struct wire_frame *frame_new(struct wire *w, unsigned to, const struct ip_addr *src,
				    const struct ip_addr *dst, uint32_t len)
{
	struct wire_frame *f = malloc(sizeof(*f) + len);
	CHECK(f != NULL);
	f->to = to;
	f->src = *src;
	f->dst = *dst;
	f->len = len;
	f->ecn = 0;
	f->id = w->n_frames++;
	f->at_us = w->now_us;
	list_init(&f->node);
	return f;
}

static struct wire_frame *frame_copy(struct wire *w, const struct wire_frame *f)
{
	struct wire_frame *g = frame_new(w, f->to, &f->src, &f->dst, f->len);
	memcpy(g->l4, f->l4, f->len);
	g->ecn = f->ecn;
	return g;
}

static struct wire_frame *frame_of(struct list *n)
{
	return CONTAINER_OF(n, struct wire_frame, node);
}

static void fly(struct wire *w, struct wire_frame *f)
{
	struct list *after = w->flying.prev;
	while (after != &w->flying && frame_of(after)->at_us > f->at_us)
		after = after->prev;
	list_push_front(after, &f->node);
}

static bool chance(struct wire *w, uint32_t per_10000)
{
	return per_10000 && rnd_below(&w->rnd, 10000) < per_10000;
}

static uint32_t ip_header(const struct wire_frame *f)
{
	return ip_is4(&f->dst) ? 20 : 40;
}

/* The frame leaves end 1 - f->to. */
static void send_frame(struct wire *w, struct wire_frame *f)
{
	unsigned from = 1 - f->to;
	const struct wire_link *l = &w->link[from];
	struct wire_end *e = &w->end[from];

	e->frames_out++;
	e->bytes_out += f->len;
	f->l4[16] = f->l4[17] = 0;
	uint16_t c = checksum(f);
	f->l4[16] = (uint8_t)(c >> 8);
	f->l4[17] = (uint8_t)c;
	if (w->filter && !w->filter(w, f)) {
		w->dropped++;
		free(f);
		return;
	}
	if (!w->end[f->to].tcp) {
		list_push(&w->captured, &f->node);
		return;
	}
	if (l->mtu && f->len + ip_header(f) > l->mtu) {
		struct wire_seg s = {.sport = (uint16_t)(f->l4[0] << 8 | f->l4[1]),
				     .dport = (uint16_t)(f->l4[2] << 8 | f->l4[3])};
		/* The router's answer flies back as a frame of 8 bytes, marked by id. */
		struct wire_frame *icmp = frame_new(w, from, &f->src, &f->dst, 8);
		memcpy(icmp->l4, f->l4, 8);
		icmp->id = UINT64_MAX - l->mtu;
		icmp->at_us = w->now_us + l->delay_us;
		(void)s;
		fly(w, icmp);
		free(f);
		w->dropped++;
		return;
	}
	if (chance(w, l->loss)) {
		w->dropped++;
		free(f);
		return;
	}
	uint64_t start = w->now_us;
	if (l->bits_per_s) {
		if (w->busy_us[from] > start)
			start = w->busy_us[from];
		uint64_t waiting = (start - w->now_us) * l->bits_per_s / 8000000;
		if (l->queue_bytes && waiting > l->queue_bytes) {
			w->dropped++;
			free(f);
			return;
		}
		start += (uint64_t)(f->len + ip_header(f) + 38) * 8000000 / l->bits_per_s;
		w->busy_us[from] = start;
	}
	if (f->ecn && chance(w, l->mark))
		f->ecn = 3;
	if (chance(w, l->corrupt))
		f->l4[rnd_below(&w->rnd, f->len)] ^= (uint8_t)(1u << rnd_below(&w->rnd, 8));
	if (chance(w, l->dup)) {
		struct wire_frame *g = frame_copy(w, f);
		g->at_us = start + l->delay_us + rnd_below(&w->rnd, l->late_us + 1);
		fly(w, g);
	}
	f->at_us = start + l->delay_us;
	if (chance(w, l->reorder))
		f->at_us += 1 + rnd_below(&w->rnd, l->late_us + 1);
	fly(w, f);
}

/* ---- the stand-in for net/ ---- */

enum err net_output(struct net_core *n, struct net_dst *d, struct pkt *l4, uint8_t proto,
		    unsigned l4_hdr_len, unsigned tso_mss, uint64_t now_us)
{
	struct wire *w = n->wire;
	uint32_t len = pkt_total(l4), done = 0;
	uint8_t *flat = malloc(len);

	CHECK(flat != NULL && proto == 6 && l4_hdr_len >= 20 && l4_hdr_len <= 60 &&
	      l4_hdr_len <= len);
	CHECK(now_us <= w->now_us && !pkt_shared(l4));
	for (struct pkt *p = l4; p; p = pkt_next(p)) {
		memcpy(flat + done, pkt_data(p), pkt_len(p));
		done += pkt_len(p);
	}
	CHECK(done == len);
	uint32_t payload = len - l4_hdr_len, off = 0, step = tso_mss ? tso_mss : payload;
	CHECK(tso_mss || len + (ip_is4(&d->dst) ? 20u : 40u) <= n->mtu);
	CHECK(!tso_mss || n->info.tso);
	do {
		uint32_t part = payload - off < step ? payload - off : step;
		struct wire_frame *f =
			frame_new(w, 1 - n->end, &d->src, &d->dst, l4_hdr_len + part);
		memcpy(f->l4, flat, l4_hdr_len);
		memcpy(f->l4 + l4_hdr_len, flat + l4_hdr_len + off, part);
		uint32_t seq = ((uint32_t)flat[4] << 24 | (uint32_t)flat[5] << 16 |
				(uint32_t)flat[6] << 8 | flat[7]) +
			       off;
		f->l4[4] = (uint8_t)(seq >> 24);
		f->l4[5] = (uint8_t)(seq >> 16);
		f->l4[6] = (uint8_t)(seq >> 8);
		f->l4[7] = (uint8_t)seq;
		f->ecn = d->tos & 3;
		if (off)
			f->l4[13] &= (uint8_t)~W_CWR;
		off += part;
		if (off < payload)
			f->l4[13] &= (uint8_t) ~(W_FIN | W_PSH);
		send_frame(w, f);
	} while (off < payload);
	free(flat);
	pkt_free(l4);
	return ERR_OK;
}

enum err net_route(struct net_core *n, const struct ip_addr *src, const struct ip_addr *dst,
		   struct net_dst *out)
{
	*out = (struct net_dst){
		.src = ip_is_any(src) ? (ip_is4(dst) ? n->addr4 : n->addr6) : *src,
		.dst = *dst,
		.mtu = n->mtu,
	};
	return ip_is_any(dst) ? ERR_UNREACHABLE : ERR_OK;
}

bool net_is_local(const struct net_core *n, const struct ip_addr *a, unsigned *port)
{
	*port = 0;
	return ip_eq(a, &n->addr4) || ip_eq(a, &n->addr6);
}

const struct port_info *net_port_info(const struct net_core *n, unsigned port)
{
	return n->info.tso ? &n->info : NULL;
}

unsigned net_flow_owner(const struct net_core *n, unsigned port, const struct ip_addr *remote,
			const struct ip_addr *local, uint16_t remote_port, uint16_t local_port)
{
	return n->owners ? local_port % 4 : n->owner;
}

void net_confirm(struct net_core *n, struct net_dst *d, uint64_t now_us)
{
}

/* ---- running ---- */

void wire_init(struct wire *w, uint64_t seed, const struct tcp_conf *a, const struct tcp_conf *b,
	       const struct wire_link *link, uint16_t mtu, unsigned packets)
{
	const struct tcp_conf *conf[2] = {a, b};

	memset(w, 0, sizeof(*w));
	w->seed = seed;
	w->now_us = 1000000;
	rnd_seed(&w->rnd, seed);
	list_init(&w->flying);
	list_init(&w->captured);
	for (unsigned i = 0; i < 2; i++) {
		struct wire_end *e = &w->end[i];
		if (link)
			w->link[i] = *link;
		e->net.wire = w;
		e->net.end = i;
		e->net.mtu = mtu;
		e->net.info.mtu = mtu;
		ip_parse(i ? SPAN("198.18.0.2") : SPAN("198.18.0.1"), &e->net.addr4);
		ip_parse(i ? SPAN("fd00::2") : SPAN("fd00::1"), &e->net.addr6);
		e->pool = pkt_pool_create("wire", packets, PKT_ROOM);
		rnd_seed(&e->rnd, seed * 2 + i + 1);
		if (conf[i])
			e->tcp = tcp_create(conf[i], &e->net, e->pool, &e->stat, &e->trace, &e->rnd,
					    0);
	}
}

void wire_fini(struct wire *w)
{
	struct list *n;

	while ((n = list_pop(&w->flying)) != NULL)
		free(frame_of(n));
	wire_drain(w);
	for (unsigned i = 0; i < 2; i++) {
		tcp_destroy(&w->end[i].tcp);
		pkt_pool_destroy(&w->end[i].pool); /* aborts when a packet is out */
	}
}

static void run_end(struct wire *w, unsigned i)
{
	struct tcp_core *t = w->end[i].tcp;
	struct tcp_conn *ready[16];
	unsigned n;

	if (!t)
		return;
	tcp_timers(t, w->now_us);
	while ((n = tcp_ready(t, ready, 16)) != 0)
		for (unsigned k = 0; k < n; k++) {
			uint32_t events = tcp_events(ready[k]);
			if (w->app)
				w->app(w, i, ready[k], events);
			else if (events & TCP_EV_CLOSED)
				tcp_release(ready[k]);
		}
	tcp_flush(t, w->now_us);
}

void wire_settle(struct wire *w)
{
	run_end(w, 0);
	run_end(w, 1);
}

/* False: no packet for it, or the checksum is wrong. */
static bool to_seg(struct wire *w, const struct wire_frame *f, struct net_seg *s)
{
	if (f->id < UINT64_MAX - UINT16_MAX && checksum(f) != 0) {
		w->dropped++;
		return false;
	}
	struct pkt *p = f->len <= PKT_ROOM ? pkt_alloc(w->end[f->to].pool) : NULL;
	if (!p)
		return false;
	*s = (struct net_seg){
		.pkt = p, .l4_len = f->len, .src = f->src, .dst = f->dst, .ecn = f->ecn,
		.csum_ok = true};
	s->l4 = pkt_append(p, f->len);
	memcpy(s->l4, f->l4, f->len);
	if (f->id >= UINT64_MAX - UINT16_MAX) {
		s->kind = NET_SEG_ICMP_ERROR;
		s->icmp = 3;
		s->mtu = (uint16_t)(UINT64_MAX - f->id);
	}
	return true;
}

bool wire_step(struct wire *w, uint64_t until_us)
{
	uint64_t next = list_empty(&w->flying) ? UINT64_MAX : frame_of(w->flying.next)->at_us;

	for (unsigned i = 0; i < 2; i++) {
		uint64_t t = w->end[i].tcp ? tcp_next_us(w->end[i].tcp) : UINT64_MAX;
		if (t < next)
			next = t;
	}
	if (next > until_us) {
		if (until_us > w->now_us)
			w->now_us = until_us;
		return false;
	}
	if (next > w->now_us)
		w->now_us = next;
	for (unsigned i = 0; i < 2; i++) {
		struct net_seg segs[32];
		unsigned n = 0;
		LIST_EACH(pos, &w->flying)
		{
			struct wire_frame *f = frame_of(pos);
			if (f->at_us > w->now_us || n == ARRAY_LEN(segs))
				break;
			if (f->to != i)
				continue;
			list_del(&f->node);
			if (to_seg(w, f, &segs[n]))
				n++;
			free(f);
		}
		if (n)
			tcp_input(w->end[i].tcp, segs, n, w->now_us);
		run_end(w, i);
	}
	return true;
}

void wire_run(struct wire *w, uint64_t until_us)
{
	while (wire_step(w, until_us))
		;
}

/* ---- by hand ---- */

static void inject(struct wire *w, unsigned to, const struct ip_addr *src, const uint8_t *l4, uint32_t len,
		   uint8_t ecn)
{
	struct net_core *me = &w->end[to].net;
	struct pkt *p = pkt_heap_exact(l4, len);
	struct net_seg s = {.pkt = p,
			    .l4 = pkt_data(p),
			    .l4_len = len,
			    .src = *src,
			    .dst = ip_is4(src) ? me->addr4 : me->addr6,
			    .ecn = ecn,
			    .csum_ok = true};

	tcp_input(w->end[to].tcp, &s, 1, w->now_us);
	run_end(w, to);
}

void wire_inject_bytes(struct wire *w, unsigned to, const uint8_t *l4, uint32_t len)
{
	inject(w, to, &w->end[1 - to].net.addr4, l4, len, 0);
}

void wire_inject_icmp(struct wire *w, unsigned to, uint16_t sport, uint16_t dport, uint32_t seq,
		      uint8_t kind, uint16_t mtu)
{
	uint8_t q[8] = {(uint8_t)(sport >> 8), (uint8_t)sport,	     (uint8_t)(dport >> 8),
			(uint8_t)dport,	       (uint8_t)(seq >> 24), (uint8_t)(seq >> 16),
			(uint8_t)(seq >> 8),   (uint8_t)seq};
	struct pkt *p = pkt_heap_exact(q, 8);
	struct net_seg s = {.pkt = p,
			    .l4 = pkt_data(p),
			    .l4_len = 8,
			    .src = w->end[to].net.addr4,
			    .dst = w->end[1 - to].net.addr4,
			    .csum_ok = true,
			    .kind = NET_SEG_ICMP_ERROR,
			    .icmp = kind,
			    .mtu = mtu};

	tcp_input(w->end[to].tcp, &s, 1, w->now_us);
	run_end(w, to);
}

void wire_inject(struct wire *w, unsigned to, const struct wire_seg *s)
{
	wire_inject_from(w, to, &w->end[1 - to].net.addr4, s);
}

void wire_inject_from(struct wire *w, unsigned to, const struct ip_addr *src, const struct wire_seg *s)
{
	uint8_t b[4096];
	uint32_t hdr = 20 + s->opt_len;

	CHECK(hdr <= 60 && hdr + s->len <= sizeof(b));
	memset(b, 0, 20);
	b[0] = (uint8_t)(s->sport >> 8);
	b[1] = (uint8_t)s->sport;
	b[2] = (uint8_t)(s->dport >> 8);
	b[3] = (uint8_t)s->dport;
	for (unsigned i = 0; i < 4; i++) {
		b[4 + i] = (uint8_t)(s->seq >> (24 - 8 * i));
		b[8 + i] = (uint8_t)(s->ack >> (24 - 8 * i));
	}
	b[12] = (uint8_t)(hdr / 4 << 4);
	b[13] = s->flags;
	b[14] = (uint8_t)(s->wnd >> 8);
	b[15] = (uint8_t)s->wnd;
	if (s->opt_len)
		memcpy(b + 20, s->opt, s->opt_len);
	if (s->len)
		memcpy(b + hdr, s->data, s->len);
	inject(w, to, src, b, hdr + s->len, s->ecn);
}

bool wire_take(struct wire *w, struct wire_seg *out)
{
	static struct wire_frame *last;
	struct list *n = list_pop(&w->captured);

	free(last);
	last = NULL;
	if (!n)
		return false;
	last = frame_of(n);
	const uint8_t *h = last->l4;
	uint32_t hdr = (h[12] >> 4) * 4u;
	*out = (struct wire_seg){
		.sport = (uint16_t)(h[0] << 8 | h[1]),
		.dport = (uint16_t)(h[2] << 8 | h[3]),
		.seq = (uint32_t)h[4] << 24 | (uint32_t)h[5] << 16 | (uint32_t)h[6] << 8 | h[7],
		.ack = (uint32_t)h[8] << 24 | (uint32_t)h[9] << 16 | (uint32_t)h[10] << 8 | h[11],
		.flags = h[13],
		.wnd = (uint16_t)(h[14] << 8 | h[15]),
		.opt = h + 20,
		.opt_len = hdr - 20,
		.data = h + hdr,
		.len = last->len - hdr,
		.ecn = last->ecn,
	};
	return true;
}

unsigned wire_drain(struct wire *w)
{
	struct wire_seg s;
	unsigned n = 0;

	while (wire_take(w, &s))
		n++;
	return n;
}

/* ---- the test stream ---- */

static uint8_t pattern(uint64_t seed, uint64_t off)
{
	uint64_t x = (off / 8 + 1) * 0x9e3779b97f4a7c15u ^ seed * 0xbf58476d1ce4e5b9u;
	x ^= x >> 31;
	return (uint8_t)(x >> (off % 8 * 8));
}

struct slice wire_pattern(struct pkt_pool *pool, uint64_t seed, uint64_t off, uint32_t len)
{
	struct pkt *p = pkt_alloc(pool);

	if (!p)
		return (struct slice){0};
	uint8_t *b = pkt_append(p, len);
	CHECK(b != NULL);
	for (uint32_t i = 0; i < len; i++)
		b[i] = pattern(seed, off + i);
	return (struct slice){p, b, len};
}

bool wire_pattern_ok(const uint8_t *p, uint64_t seed, uint64_t off, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		if (p[i] != pattern(seed, off + i))
			return false;
	return true;
}
