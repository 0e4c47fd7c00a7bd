/*
 * stack.c: see stack.h: a stack in virtual time behind plain C calls. Owns the two cores, what was sent and not yet
 * taken, and the table of connections. Plays the link: answers ARP and neighbour solicitations itself.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "csum.h"
#include "stack_int.h"

#define PACKETS	 32768
#define SENT_MAX 65536
#define BASE_US	 10000000 /* duplicate address detection is over by then */
#define ETH	 14

static const uint8_t own_mac[6] = {2, 0, 0, 0, 0, 1}, link_mac[6] = {2, 0, 0, 0, 0, 2};
static char error_text[160] = "";

int stack_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(error_text, sizeof(error_text), fmt, ap);
	va_end(ap);
	return VTCP_INVALID;
}

const char *vtcp_error(void)
{
	return error_text;
}

/* ---- the link ---- */

static struct stack_frame *frame_push(struct list *to, const void *bytes, uint32_t len)
{
	struct stack_frame *f = malloc(sizeof(*f) + len);

	CHECK(f != NULL);
	f->len = len;
	f->at_us = 0;
	memcpy(f->b, bytes, len);
	list_init(&f->node);
	list_push(to, &f->node);
	return f;
}

static struct stack_frame *frame_pop(struct list *from)
{
	struct list *n = list_pop(from);

	return n ? CONTAINER_OF(n, struct stack_frame, node) : NULL;
}

/* Every address on the link is link_mac's, except our own, for which a request is only a check for duplicates. */
static void answer_arp(struct vtcp_stack *s, const uint8_t *eth, uint32_t len)
{
	static const uint8_t nobody[4];
	uint8_t b[ETH + 28];

	if (len < sizeof(b) || eth[ETH + 7] != 1 || memcmp(eth + ETH + 14, nobody, 4) == 0 ||
	    memcmp(eth + ETH + 14, eth + ETH + 24, 4) == 0)
		return;
	memcpy(b, eth + 6, 6);
	memcpy(b + 6, link_mac, 6);
	memcpy(b + 12, eth + 12, 8);
	b[ETH + 6] = 0;
	b[ETH + 7] = 2;
	memcpy(b + ETH + 8, link_mac, 6);
	memcpy(b + ETH + 14, eth + ETH + 24, 4);
	memcpy(b + ETH + 18, eth + ETH + 8, 10);
	frame_push(&s->replies, b, sizeof(b));
}

static void answer_nd(struct vtcp_stack *s, const uint8_t *eth)
{
	static const uint8_t nobody[16];
	const uint8_t *ip = eth + ETH;
	uint8_t b[ETH + 40 + 32] = {0};
	uint8_t *h = b + ETH, *m = h + 40;

	if (memcmp(ip + 8, nobody, 16) == 0)
		return;
	memcpy(b, eth + 6, 6);
	memcpy(b + 6, link_mac, 6);
	b[12] = 0x86;
	b[13] = 0xdd;
	h[0] = 0x60;
	h[5] = 32;
	h[6] = 58;
	h[7] = 255;
	memcpy(h + 8, ip + 40 + 8, 16);
	memcpy(h + 24, ip + 8, 16);
	m[0] = 136;
	m[4] = 0x60; /* solicited, override */
	memcpy(m + 8, ip + 40 + 8, 16);
	m[24] = 2;
	m[25] = 1;
	memcpy(m + 26, link_mac, 6);
	vtcp_checksum(h, 40 + 32);
	frame_push(&s->replies, b, sizeof(b));
}

static void out(void *arg, unsigned port, struct pkt *p)
{
	struct vtcp_stack *s = arg;
	const uint8_t *eth = pkt_data(p);
	uint32_t len = pkt_len(p);

	(void)port;
	CHECK(len == pkt_total(p) && len > ETH);
	uint16_t type = (uint16_t)(eth[12] << 8 | eth[13]);
	if (type == 0x0806) {
		answer_arp(s, eth, len);
	} else if (type == 0x86dd && len >= ETH + 48 && eth[ETH + 6] == 58 && eth[ETH + 40] >= 133 &&
		   eth[ETH + 40] <= 137) {
		if (eth[ETH + 40] == 135 && len >= ETH + 64)
			answer_nd(s, eth);
	} else if (s->n_sent == SENT_MAX) {
		s->lost_outside++;
	} else {
		frame_push(&s->sent, eth + ETH, len - ETH)->at_us = s->now_us;
		s->n_sent++;
	}
	pkt_free(p);
}

static void deliver(struct vtcp_stack *s, const uint8_t *frame, uint32_t len)
{
	struct pkt *p = pkt_heap_exact(frame, len);
	struct net_seg seg;
	unsigned n = net_input(s->net, 0, &p, 1, s->base_us + s->now_us, &seg);

	tcp_input(s->tcp, &seg, n, s->base_us + s->now_us);
}

void vtcp_checksum(void *packet, size_t len)
{
	uint8_t *ip = packet, *at;
	bool v4 = len >= 20 && ip[0] >> 4 == 4;
	size_t hdr = v4 ? (ip[0] & 15u) * 4u : 40;

	if (len < hdr + 8 || (v4 && hdr < 20))
		return;
	uint8_t *l4 = ip + hdr;
	uint32_t l4_len = (uint32_t)(len - hdr);
	uint8_t proto = v4 ? ip[9] : ip[6];
	uint16_t sum;
	uint32_t start = 0;
	if (v4) {
		ip[10] = ip[11] = 0;
		sum = csum_fold(csum_add(0, ip, (uint32_t)hdr));
		memcpy(ip + 10, &sum, 2);
	}
	if (proto == 6 && l4_len >= 20)
		at = l4 + 16;
	else if (proto == 1 || proto == 58)
		at = l4 + 2;
	else
		return;
	if (proto != 1) {
		struct ip_addr src, dst;
		uint32_t a, b;
		memcpy(&a, ip + 12, 4);
		memcpy(&b, ip + 16, 4);
		src = v4 ? ip_from4(a) : ip_from6(ip + 8);
		dst = v4 ? ip_from4(b) : ip_from6(ip + 24);
		start = csum_pseudo(&src, &dst, proto, l4_len);
	}
	at[0] = at[1] = 0;
	sum = csum_fold(csum_add(start, l4, l4_len));
	memcpy(at, &sum, 2);
}

/* ---- turns ---- */

static int conn_new(struct vtcp_stack *s, struct tcp_conn *c)
{
	for (unsigned i = 0; i < STACK_CONNS; i++)
		if (!s->conn[i].c) {
			s->conn[i] = (struct stack_conn){.c = c};
			tcp_set_user(c, (void *)(uintptr_t)(i + 1));
			if (i >= s->n_conn)
				s->n_conn = i + 1;
			return (int)i;
		}
	return -1;
}

static void news(struct vtcp_stack *s, struct tcp_conn *c)
{
	uint32_t events = tcp_events(c);
	int i = (int)(uintptr_t)tcp_user(c) - 1;

	if (i < 0) {
		i = conn_new(s, c);
		if (i < 0) {
			tcp_abort(c);
			tcp_release(c);
			return;
		}
		s->conn[i].waits = true;
	}
	s->conn[i].events |= events;
	s->conn[i].seen |= events;
}

/* What the worker does in a turn, until nothing is left to do now. */
static void settle(struct vtcp_stack *s)
{
	uint64_t now = s->base_us + s->now_us;

	for (unsigned turn = 0; turn < 64; turn++) {
		struct tcp_conn *ready[32];
		struct stack_frame *f;
		unsigned n;
		net_timers(s->net, now);
		while ((f = frame_pop(&s->replies)) != NULL) {
			deliver(s, f->b, f->len);
			free(f);
		}
		tcp_timers(s->tcp, now);
		while ((n = tcp_ready(s->tcp, ready, 32)) != 0)
			for (unsigned i = 0; i < n; i++)
				news(s, ready[i]);
		tcp_flush(s->tcp, now);
		if (list_empty(&s->replies) && tcp_next_us(s->tcp) > now)
			return;
	}
}

uint64_t vtcp_now(const struct vtcp_stack *s)
{
	return s->now_us;
}

int64_t vtcp_next(const struct vtcp_stack *s)
{
	uint64_t next = tcp_next_us(s->tcp);

	if (next == UINT64_MAX)
		return -1;
	return next > s->base_us + s->now_us ? (int64_t)(next - s->base_us) : (int64_t)s->now_us;
}

void vtcp_advance(struct vtcp_stack *s, uint64_t to_us)
{
	int64_t next;

	while ((next = vtcp_next(s)) >= 0 && (uint64_t)next < to_us) {
		/* What is still due now had its turns: it waits a tick. */
		s->now_us = (uint64_t)next > s->now_us ? (uint64_t)next : s->now_us + 1000;
		settle(s);
	}
	if (to_us > s->now_us)
		s->now_us = to_us;
	settle(s);
}

int vtcp_inject(struct vtcp_stack *s, uint64_t at_us, const void *ip, size_t len)
{
	const uint8_t *b = ip;

	if (len == 0 || len > 60000)
		return stack_fail("a packet of %zu bytes", len);
	vtcp_advance(s, at_us);
	uint8_t *frame = malloc(ETH + len);
	CHECK(frame != NULL);
	memcpy(frame, own_mac, 6);
	memcpy(frame + 6, link_mac, 6);
	frame[12] = b[0] >> 4 == 6 ? 0x86 : 0x08;
	frame[13] = b[0] >> 4 == 6 ? 0xdd : 0;
	memcpy(frame + ETH, ip, len);
	deliver(s, frame, (uint32_t)(ETH + len));
	free(frame);
	settle(s);
	return 0;
}

size_t vtcp_take(struct vtcp_stack *s, void *ip, size_t size, uint64_t *at_us)
{
	struct stack_frame *f = frame_pop(&s->sent);

	if (!f)
		return 0;
	size_t n = f->len < size ? f->len : size;
	memcpy(ip, f->b, n);
	if (at_us)
		*at_us = f->at_us;
	s->n_sent--;
	free(f);
	return n;
}

unsigned vtcp_waiting(const struct vtcp_stack *s)
{
	return s->n_sent;
}

/* ---- life ---- */

static unsigned parse_addresses(const char *text, struct ip_prefix *out, unsigned max)
{
	unsigned n = 0;

	while (*text) {
		size_t len = strcspn(text, " ,");
		if (len) {
			if (n == max || !ip_parse(span_of(text, len), &out[n].addr))
				return 0;
			/* Everything is on the link. */
			out[n].len = ip_is4(&out[n].addr) ? 96 : 0;
			n++;
		}
		text += len + (text[len] != 0);
	}
	return n;
}

struct vtcp_stack *vtcp_create(const char *addresses, unsigned mtu, uint64_t seed, const char *options)
{
	struct ip_prefix own[64];
	unsigned n_own = parse_addresses(addresses, own, ARRAY_LEN(own));

	if (!n_own || mtu < 576 || mtu > 9000) {
		stack_fail("addresses \"%s\", MTU %u", addresses, mtu);
		return NULL;
	}
	struct vtcp_stack *s = aligned_alloc(64, (sizeof(*s) + 63) / 64 * 64);
	CHECK(s != NULL);
	memset(s, 0, sizeof(*s));
	list_init(&s->sent);
	list_init(&s->replies);
	s->conf = tcp_conf_default();
	s->conf.conns_max = 8192;
	s->conf.timewait_max = 8192;
	if (options && vtcp_set(s, options) != 0) {
		free(s);
		return NULL;
	}
	struct port_info info = {.mtu = (uint16_t)mtu, .n_queue = 1, .multi_segs = true};
	struct conf_port port = {.name = "test", .n_addr = n_own, .addr = own, .mtu = mtu};
	memcpy(info.mac, own_mac, 6);
	s->pool = pkt_pool_create("stack", PACKETS, mtu + 128 > PKT_ROOM ? mtu + 128 : PKT_ROOM);
	rnd_seed(&s->rnd, seed);
	s->net = net_create_test(&port, 1, &info, s->pool, &s->stat, &s->rnd, out, s);
	s->tcp = tcp_create(&s->conf, s->net, s->pool, &s->stat, &s->trace, &s->rnd, 0);
	s->base_us = s->clock_us > BASE_US ? s->clock_us : BASE_US;
	for (uint64_t t = s->base_us - BASE_US; t < s->base_us; t += 100000)
		net_timers(s->net, t);
	struct stack_frame *f;
	while ((f = frame_pop(&s->replies)) != NULL || (f = frame_pop(&s->sent)) != NULL)
		free(f);
	s->n_sent = 0;
	return s;
}

unsigned vtcp_destroy(struct vtcp_stack *s)
{
	struct stack_frame *f;

	for (unsigned i = 0; i < s->n_conn; i++)
		if (s->conn[i].left.pkt)
			slice_drop(&s->conn[i].left);
	tcp_destroy(&s->tcp);
	net_destroy(&s->net);
	while ((f = frame_pop(&s->replies)) != NULL || (f = frame_pop(&s->sent)) != NULL)
		free(f);
	unsigned left = pkt_pool_size(s->pool) - pkt_pool_free_n(s->pool);
	if (!left)
		pkt_pool_destroy(&s->pool);
	free(s);
	return left;
}

/* ---- calls ---- */

static struct stack_conn *conn_at(struct vtcp_stack *s, int conn)
{
	if (conn >= 0 && conn < (int)s->n_conn && s->conn[conn].c)
		return &s->conn[conn];
	stack_fail("no connection %d", conn);
	return NULL;
}

const struct stack_conn *stack_conn_at(const struct vtcp_stack *s, int conn)
{
	return conn_at((struct vtcp_stack *)(uintptr_t)s, conn);
}

static bool address(const char *text, struct ip_addr *out)
{
	memset(out, 0, sizeof(*out));
	if (!text || ip_parse(span_of(text, strlen(text)), out))
		return true;
	stack_fail("address \"%s\"", text);
	return false;
}

static int refused(enum err err)
{
	stack_fail("%s", err_name(err));
	return VTCP_REFUSED;
}

int vtcp_listen(struct vtcp_stack *s, const char *addr, uint16_t port)
{
	struct ip_addr a;

	if (!address(addr, &a))
		return VTCP_INVALID;
	enum err err = tcp_listen(s->tcp, &a, port, port);
	return err == ERR_OK ? 0 : refused(err);
}

int vtcp_unlisten(struct vtcp_stack *s, const char *addr, uint16_t port)
{
	struct ip_addr a;

	if (!address(addr, &a))
		return VTCP_INVALID;
	tcp_unlisten(s->tcp, &a, port);
	return 0;
}

int vtcp_accept(struct vtcp_stack *s, uint16_t port)
{
	for (unsigned i = 0; i < s->n_conn; i++)
		if (s->conn[i].c && s->conn[i].waits && tcp_tag(s->conn[i].c) == port) {
			s->conn[i].waits = false;
			return (int)i;
		}
	return VTCP_AGAIN;
}

int vtcp_connect(struct vtcp_stack *s, const char *source, const char *addr, uint16_t port)
{
	struct ip_addr src, dst;
	enum err err;

	if (!address(source, &src) || !address(addr, &dst))
		return VTCP_INVALID;
	struct tcp_conn *c = tcp_connect(s->tcp, &src, &dst, port, 0, s->base_us + s->now_us, &err);
	if (!c)
		return refused(err);
	int i = conn_new(s, c);
	if (i < 0) {
		tcp_abort(c);
		tcp_release(c);
		return refused(ERR_TOO_MANY);
	}
	settle(s);
	return i;
}

int64_t vtcp_send(struct vtcp_stack *s, int conn, const void *bytes, size_t len)
{
	struct stack_conn *k = conn_at(s, conn);
	const uint8_t *from = bytes;

	if (!k)
		return VTCP_INVALID;
	if (k->seen & VTCP_EV_CLOSED || !tcp_can_send(k->c))
		return VTCP_CLOSED;
	size_t room = tcp_send_room(k->c), done = 0;
	if (len > room)
		len = room;
	while (done < len) {
		struct pkt *p = pkt_alloc(s->pool);
		uint32_t n = (uint32_t)(len - done < PKT_ROOM ? len - done : PKT_ROOM);
		if (!p)
			break;
		uint8_t *b = pkt_append(p, n);
		memcpy(b, from + done, n);
		if (!tcp_send(k->c, (struct slice){p, b, n}, done + n == len))
			break;
		done += n;
	}
	settle(s);
	return done ? (int64_t)done : VTCP_AGAIN;
}

int64_t vtcp_recv(struct vtcp_stack *s, int conn, void *bytes, size_t size)
{
	struct stack_conn *k = conn_at(s, conn);
	uint8_t *to = bytes;
	size_t done = 0;

	if (!k)
		return VTCP_INVALID;
	while (done < size) {
		if (!k->left.len) {
			if (k->left.pkt)
				slice_drop(&k->left);
			if (!tcp_take(k->c, &k->left, 1))
				break;
		}
		uint32_t n = (uint32_t)(size - done < k->left.len ? size - done : k->left.len);
		memcpy(to + done, k->left.data, n);
		k->left.data += n;
		k->left.len -= n;
		done += n;
	}
	if (k->left.pkt && !k->left.len)
		slice_drop(&k->left);
	tcp_consumed(k->c, (uint32_t)done);
	settle(s);
	if (done)
		return (int64_t)done;
	if (k->seen & VTCP_EV_FIN)
		return 0;
	return k->seen & VTCP_EV_CLOSED ? VTCP_CLOSED : VTCP_AGAIN;
}

static int call(struct vtcp_stack *s, int conn, void (*f)(struct tcp_conn *c))
{
	struct stack_conn *k = conn_at(s, conn);

	if (!k)
		return VTCP_INVALID;
	f(k->c);
	settle(s);
	return 0;
}

int vtcp_shutdown(struct vtcp_stack *s, int conn)
{
	return call(s, conn, tcp_shutdown);
}

int vtcp_close(struct vtcp_stack *s, int conn)
{
	return call(s, conn, tcp_close);
}

int vtcp_abort(struct vtcp_stack *s, int conn)
{
	return call(s, conn, tcp_abort);
}

int vtcp_release(struct vtcp_stack *s, int conn)
{
	struct stack_conn *k = conn_at(s, conn);

	if (!k)
		return VTCP_INVALID;
	if (k->left.pkt)
		slice_drop(&k->left);
	struct tcp_conn *c = k->c;
	k->c = NULL;
	tcp_release(c);
	settle(s);
	return 0;
}

int vtcp_events(struct vtcp_stack *s, int conn)
{
	struct stack_conn *k = conn_at(s, conn);

	if (!k)
		return VTCP_INVALID;
	int events = (int)k->events;
	k->events = 0;
	return events;
}
