/*
 * worker_session.c: sessions and their connections: bytes up, bytes down, timers, beginnings and ends.
 *
 * Owns the links. After every call into a protocol the link is settled: consumed bytes open the TCP
 * window, output moves to the connection, the deadline is set on the wheel, and a session that said
 * goodbye ends once its last byte was handed over. A protocol never sees TCP.
 */
#include "worker_int.h"

#include <string.h>

#include "http_server.h"
#include "imap_server.h"
#include "pop3_server.h"
#include "smtp_server.h"

struct link_row {
	const struct proto *proto;
	const char *busy; /* said to a client when no session is left */
	const char *service; /* its name for TLS */
};

static const struct link_row link_rows[LINK_KIND_N] = {
	[LINK_SMTP] = {.proto = &smtp_proto, .busy = "421 4.3.2 too many connections, try again later\r\n", .service = "smtp"},
	[LINK_POP3] = {.proto = &pop3_proto, .busy = "-ERR [SYS/TEMP] too many connections\r\n", .service = "pop3"},
	[LINK_IMAP] = {.proto = &imap_proto, .busy = "* BYE [UNAVAILABLE] too many connections\r\n", .service = "imap"},
	[LINK_HTTP] = {.proto = &http_proto,
		       .busy = "HTTP/1.1 503 Service Unavailable\r\n"
			       "Content-Length: 0\r\nConnection: close\r\n\r\n",
		       .service = "http/1.1"},
	[LINK_OUT] = {.proto = &delivery_proto},
};

#define OWNER_SHIFT 24

const struct proto *link_proto(unsigned kind)
{
	return link_rows[kind].proto;
}

void worker_sessions_init(struct worker *w, unsigned sessions)
{
	list_init(&w->links);
	wheel_init(&w->wheel, w->env.now_us / 1000);
	map_init(&w->per_ip);
	for (unsigned k = 0; k < LINK_KIND_N; k++)
		pool_init(&w->pool[k], sessions, offsetof(struct link, s) + link_rows[k].proto->size);
}

void worker_sessions_fini(struct worker *w)
{
	for (unsigned k = 0; k < LINK_KIND_N; k++)
		pool_fini(&w->pool[k]);
	map_fini(&w->per_ip);
}

/* ---- counting connections of one address ---- */

static uint64_t peer_key(const struct worker *w, const struct ip_addr *peer)
{
	return siphash(w->rnd.key, peer->b, sizeof(peer->b));
}

static bool peer_enter(struct worker *w, const struct ip_addr *peer)
{
	unsigned max = w->env.conf->connections_per_ip;
	if (max == 0)
		return true;
	uint64_t key = peer_key(w, peer), n = 0;
	(void)map_get(&w->per_ip, key, &n);
	if (n >= max)
		return false;
	map_put(&w->per_ip, key, n + 1);
	return true;
}

static void peer_leave(struct worker *w, const struct ip_addr *peer)
{
	if (w->env.conf->connections_per_ip == 0)
		return;
	uint64_t key = peer_key(w, peer), n = 0;
	if (!map_get(&w->per_ip, key, &n))
		return;
	if (n <= 1)
		map_del(&w->per_ip, key);
	else
		map_put(&w->per_ip, key, n - 1);
}

/* ---- beginnings ---- */

static struct link *link_new(struct worker *w, unsigned kind, struct tcp_conn *c)
{
	struct link *l = pool_take(&w->pool[kind]);
	if (l == NULL)
		return NULL;
	const struct proto *p = link_rows[kind].proto;
	uint32_t index = pool_index(&w->pool[kind], l);
	memset(l, 0, offsetof(struct link, s) + p->size);
	l->tcp = c;
	l->w = w;
	l->kind = (uint8_t)kind;
	struct session *s = &l->s;
	stream_init(&s->st, w->env.pool);
	s->proto = p;
	s->env = &w->env;
	s->conn = l;
	timer_init(&s->timer);
	s->opened_us = w->env.now_us;
	s->session_id = store_id_new(w->env.store);
	s->index = (uint32_t)kind << OWNER_SHIFT | index;
	s->gen = w->pool[kind].gen[index];
	arena_init(&s->arena, 256 * 1024);
	tcp_addrs(c, &s->local, &s->local_port, &s->peer, &s->peer_port);
	tcp_set_user(c, l);
	list_push(&w->links, &l->node);
	w->n_link++;
	trace_put(&w->trace, w->env.now_us, TRACE_session_conn, s->index, (uint16_t)w->id, tcp_conn_id(c));
	return l;
}

static struct link *link_find(struct worker *w, uint32_t owner, uint32_t gen)
{
	unsigned kind = owner >> OWNER_SHIFT;
	if (kind >= LINK_KIND_N)
		return NULL;
	return pool_find(&w->pool[kind], owner & ((1u << OWNER_SHIFT) - 1), gen);
}

/* ---- ends ---- */

static void link_end(struct link *l)
{
	struct worker *w = l->w;
	struct session *s = &l->s;
	if (l->cookie != NULL) {
		enum err why = tcp_error(l->tcp);
		delivery_failed(w->delivery, l->cookie, why == ERR_OK ? ERR_CLOSED : why);
		l->cookie = NULL;
	}
	trace_put(&w->trace, w->env.now_us, TRACE_session_close, s->index, (uint16_t)tcp_error(l->tcp), 0);
	s->proto->close(s);
	if (l->kind != LINK_OUT)
		peer_leave(w, &s->peer);
	timer_stop(&w->wheel, &s->timer);
	stream_fini(&s->st);
	arena_reset(&s->arena);
	list_del(&l->node);
	w->n_link--;
	tcp_set_user(l->tcp, NULL);
	tcp_release(l->tcp);
	pool_give(&w->pool[l->kind], l);
}

/* ---- between the stream and the connection ---- */

static void link_output(struct link *l)
{
	struct slice v[16];
	struct stream *st = &l->s.st;
	while (stream_pending(st) > 0) {
		uint32_t room = tcp_send_room(l->tcp);
		if (room == 0)
			return;
		unsigned n = stream_out(st, room, v, ARRAY_LEN(v));
		if (n == 0) /* what is written waits for the handshake */
			return;
		for (unsigned i = 0; i < n; i++)
			(void)tcp_send(l->tcp, v[i], stream_pending(st) == 0 && i + 1 == n);
	}
}

/* The session's own, or the handshake's if that ends sooner; 0: none. */
static uint64_t link_deadline(struct link *l)
{
	uint64_t until = l->s.deadline_us;
	if (!stream_in_handshake(&l->s.st))
		return until;
	if (l->tls_until_us == 0)
		l->tls_until_us = l->w->env.now_us + TLS_HANDSHAKE_US;
	return until != 0 && until < l->tls_until_us ? until : l->tls_until_us;
}

/* Carries out what the session asked for. The link may be gone after it. */
static void link_settle(struct link *l)
{
	struct session *s = &l->s;
	for (;;) {
		uint32_t taken = stream_taken(&s->st);
		if (taken > 0)
			tcp_consumed(l->tcp, taken);
		if (s->st.tx_abort || s->st.failed) {
			tcp_abort(l->tcp);
			link_end(l);
			return;
		}
		if (stream_pending(&s->st) >= STREAM_TX_HIGH)
			l->throttled = true;
		link_output(l);
		if (!l->throttled || s->st.tx_close || stream_pending(&s->st) >= STREAM_TX_HIGH / 2)
			break;
		l->throttled = false;
		s->proto->input(s);
	}
	if (s->st.tx_close && stream_pending(&s->st) == 0) {
		link_end(l);
		return;
	}
	uint64_t until = link_deadline(l);
	if (until != 0)
		timer_arm(&l->w->wheel, &s->timer, (until + 999) / 1000);
	else
		timer_stop(&l->w->wheel, &s->timer);
}

static void link_input(struct link *l)
{
	struct slice v[32];
	unsigned n;
	while ((n = tcp_take(l->tcp, v, ARRAY_LEN(v))) > 0)
		for (unsigned i = 0; i < n; i++)
			stream_feed(&l->s.st, v[i]);
}

/* ---- what the loop brings ---- */

static void refuse(struct worker *w, struct tcp_conn *c, unsigned kind, const struct conf_listen *listen)
{
	const char *text = link_rows[kind].busy;
	stat_inc(&w->stat, STAT_session_refused);
	/* who expects TLS cannot read it */
	struct pkt *p = listen->tls != CONF_TLS_IMPLICIT ? pkt_alloc(w->env.pool) : NULL;
	if (p == NULL) {
		tcp_abort(c);
		tcp_release(c);
		return;
	}
	uint32_t len = (uint32_t)strlen(text);
	uint8_t *d = pkt_append(p, len);
	memcpy(d, text, len);
	struct slice s = slice_of(p, d, len);
	pkt_free(p);
	(void)tcp_send(c, s, true);
	tcp_release(c);
}

static void conn_accepted(struct worker *w, struct tcp_conn *c)
{
	unsigned kind = (unsigned)tcp_tag(c) & 0xff;
	const struct conf_listen *listen = &w->env.conf->listen[tcp_tag(c) >> 8];
	struct ip_addr local, peer;
	uint16_t lport, rport;
	tcp_addrs(c, &local, &lport, &peer, &rport);
	if (!peer_enter(w, &peer)) {
		refuse(w, c, kind, listen);
		return;
	}
	struct link *l = link_new(w, kind, c);
	if (l == NULL) {
		peer_leave(w, &peer);
		refuse(w, c, kind, listen);
		return;
	}
	l->s.listen = listen;
	if (listen->tls == CONF_TLS_IMPLICIT && !stream_start_tls(&l->s.st, w->env.tls, link_rows[kind].service))
		stream_abort(&l->s.st);
	trace_put(&w->trace, w->env.now_us, TRACE_session_open, l->s.index, (uint16_t)kind, rport);
}

static void link_open(struct link *l)
{
	l->open = true;
	l->s.proto->open(&l->s);
}

void worker_conn_event(struct worker *w, struct tcp_conn *c)
{
	uint32_t ev = tcp_events(c);
	if (ev & TCP_EV_ACCEPTED) {
		conn_accepted(w, c);
		if (tcp_user(c) == NULL)
			return;
	}
	struct link *l = tcp_user(c);
	if (l == NULL)
		return;
	struct session *s = &l->s;
	/* Bytes that came with the connection are fed before open, so that a server can tell a client that
	 * spoke before the greeting. */
	if (ev & TCP_EV_READABLE)
		link_input(l);
	if ((ev & (TCP_EV_ACCEPTED | TCP_EV_CONNECTED)) && !l->open) {
		l->cookie = NULL;
		link_open(l);
	}
	if (ev & TCP_EV_FIN)
		stream_eof(&s->st);
	if (ev & TCP_EV_CLOSED) {
		/* A peer may send its last command and be gone: its bytes still count. */
		if (l->open && tcp_error(c) == ERR_OK && stream_readable(&s->st) > 0 && !s->st.tx_close)
			s->proto->input(s);
		link_end(l);
		return;
	}
	if (l->open && !s->st.tx_close && (ev & (TCP_EV_READABLE | TCP_EV_FIN)))
		s->proto->input(s);
	link_settle(l);
}

void worker_store_done(struct worker *w, struct store_op *op)
{
	if (op->submit) {
		bool owned = op->owner != UINT32_MAX;
		queue_submitted(w->env.queue, op);
		if (!owned)
			return;
	}
	struct link *l = link_find(w, op->owner, op->owner_gen);
	if (l == NULL) {
		store_op_free(&op);
		return;
	}
	l->s.proto->store_done(&l->s, op);
	link_settle(l);
}

void worker_auth_done(struct worker *w, struct auth_op *op)
{
	struct link *l = link_find(w, op->owner, op->owner_gen);
	if (l == NULL || l->s.proto->auth_done == NULL) {
		auth_op_free(&op);
		return;
	}
	l->s.proto->auth_done(&l->s, op);
	link_settle(l);
}

void worker_session_timeout(struct worker *w, struct timer *t)
{
	struct session *s = CONTAINER_OF(t, struct session, timer);
	struct link *l = s->conn;
	uint64_t until = link_deadline(l);
	if (until == 0)
		return;
	if (until > w->env.now_us) {
		timer_arm(&w->wheel, &s->timer, (until + 999) / 1000);
		return;
	}
	if (stream_in_handshake(&s->st)) {
		stat_inc(&w->stat, STAT_tls_failed_timeout);
		tcp_abort(l->tcp);
		link_end(l);
		return;
	}
	s->deadline_us = 0;
	if (!l->open) { /* outbound, never stood */
		tcp_abort(l->tcp);
		link_end(l);
		return;
	}
	s->proto->timeout(s);
	link_settle(l);
}

unsigned worker_handshakes(struct worker *w)
{
	unsigned n = 0;
	for (struct stream *st; (st = stream_tls_waiting(w->env.tls)) != NULL; n++) {
		struct session *s = CONTAINER_OF(st, struct session, st);
		struct link *l = s->conn;
		if (l->open && !s->st.tx_close)
			s->proto->input(s);
		link_settle(l);
	}
	return n;
}

#define CONNECT_TIMEOUT_US (30 * 1000000ull)

bool worker_open_wanted(struct worker *w)
{
	struct delivery_want want;
	bool any = false;
	static const struct ip_addr from_any;
	struct session *s;
	while ((s = delivery_woken(w->delivery)) != NULL) { /* idle ones that were given mail */
		struct link *l = s->conn;
		any = true;
		s->proto->input(s);
		link_settle(l);
	}
	while (delivery_want(w->delivery, &want)) {
		enum err e = ERR_OK;
		any = true;
		struct tcp_conn *c = tcp_connect(w->tcp, &from_any, &want.site.host, want.site.port,
						 LINK_OUT, w->env.now_us, &e);
		if (c == NULL) {
			delivery_failed(w->delivery, want.cookie, e);
			continue;
		}
		struct link *l = link_new(w, LINK_OUT, c);
		if (l == NULL) {
			tcp_abort(c);
			tcp_release(c);
			delivery_failed(w->delivery, want.cookie, ERR_TOO_MANY);
			continue;
		}
		l->cookie = want.cookie;
		l->s.deadline_us = w->env.now_us + CONNECT_TIMEOUT_US;
		timer_arm(&w->wheel, &l->s.timer, (l->s.deadline_us + 999) / 1000);
		delivery_attach(w->delivery, &l->s, want.cookie);
	}
	return any;
}

void worker_sessions_shutdown(struct worker *w)
{
	w->env.shutting_down = true;
	LIST_EACH(n, &w->links) {
		struct link *l = LIST_ENTRY(n, struct link, node);
		if (!l->open) {
			tcp_abort(l->tcp);
			link_end(l);
			continue;
		}
		if (l->s.st.tx_close)
			continue;
		l->s.proto->shutdown(&l->s);
		link_settle(l);
	}
}

void worker_sessions_abort(struct worker *w)
{
	LIST_EACH(n, &w->links) {
		struct link *l = LIST_ENTRY(n, struct link, node);
		tcp_abort(l->tcp);
		link_end(l);
	}
}
