/* rig.c: the loop around delivery_proto, without network; see rig.h. */
#include "rig.h"

#include <stdlib.h>

#include "fake_store.h"
#include "mail_addr.h"
#include "mail_data.h"

#define OWNER_TEST 0xfffffff0u
#define PART       (256u * 1024)

static void begin(struct rig *r)
{
	r->queue = queue_create(&r->conf, 0, 1, r->env.store, r->pool, r->stat, &r->rnd);
	r->env.queue = r->queue;
	r->d = delivery_create(&r->env);
	queue_join(&r->queue, 1);
}

void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	r->room = UINT32_MAX;
	r->domain[0] = (struct conf_domain){"example.net", true};
	r->domain[1] = (struct conf_domain){"example.org", false};
	r->route[0] = (struct conf_route){.pattern = "example.org", .port = 2525};
	r->route[1] = (struct conf_route){.pattern = "example.com", .port = 2525};
	CHECK(ip_parse(SPAN("198.18.0.1"), &r->route[0].host) && ip_parse(SPAN("198.18.0.2"), &r->route[1].host));
	CHECK(ip_prefix_parse(SPAN("0.0.0.0/0"), &r->relay_from[0]));
	r->conf = (struct conf){
		.hostname = "mx.example.net", .n_domain = 2, .domain = r->domain, .n_route = 2, .route = r->route,
		.n_relay_from = 1, .relay_from = r->relay_from, .retry_min_s = 300, .retry_max_s = 3600,
		.expire_s = 86400, .route_connections = 2, .route_messages = 10, .bounce = true,
	};
	r->pool = pkt_pool_create("rig", 1 << 16, PKT_ROOM);
	r->stat = aligned_alloc(64, sizeof(*r->stat));
	r->trace = calloc(1, sizeof(*r->trace));
	CHECK(r->stat != NULL && r->trace != NULL);
	memset(r->stat, 0, sizeof(*r->stat));
	rnd_seed(&r->rnd, 1);
	char why[200];
	struct store_conf sc = {.n_cores = 2, .ops_per_core = 64, .big = r->pool, .cpu = -1};
	CHECK(store_open(&r->store, &sc, why, sizeof(why)) == ERR_OK);
	fake_store_account(r->store, "alice@example.net", "x");
	fake_store_account(r->store, "bob@example.net", "x");
	r->env = (struct proto_env){
		.now_us = 1000000, .wall_us = RIG_WALL_US, .conf = &r->conf, .store_shared = r->store,
		.store = store_core(r->store, 0), .pool = r->pool, .stat = r->stat, .trace = r->trace, .rnd = &r->rnd,
	};
	for (unsigned i = 0; i < RIG_CONNS; i++)
		buf_init(&r->conn[i].said);
	begin(r);
}

/* ---- a connection's links, as the worker has them ---- */

static void conn_end(struct rig *r, struct rig_conn *c)
{
	struct session *s = c->s;
	if (c->cookie != NULL)
		delivery_failed(r->d, c->cookie, ERR_CLOSED);
	c->cookie = NULL;
	s->proto->close(s);
	c->s = NULL;
	stream_fini(&s->st);
	arena_reset(&s->arena);
	free(s);
}

static bool conn_settle(struct rig *r, struct rig_conn *c)
{
	struct session *s = c->s;
	struct slice v[16];
	unsigned n;
	bool did = false;
	if (s == NULL)
		return false;
	(void)stream_taken(&s->st);
	if (s->st.tx_abort || s->st.failed) {
		c->ended = c->aborted = true;
		conn_end(r, c);
		return true;
	}
	bool high = stream_pending(&s->st) >= STREAM_TX_HIGH;
	uint32_t room = r->room;
	while (room > 0 && (n = stream_out(&s->st, room, v, ARRAY_LEN(v))) > 0) {
		for (unsigned i = 0; i < n; i++) {
			room -= room == UINT32_MAX ? 0 : v[i].len < room ? v[i].len : room;
			c->said_all += v[i].len;
			buf_add_span(&c->said, slice_span(&v[i]));
			slice_drop(&v[i]);
		}
		did = true;
	}
	if (s->st.tx_close && s->st.tx.len == 0) {
		c->ended = true;
		conn_end(r, c);
		return true;
	}
	if (high && did && c->open)
		s->proto->input(s);
	return did;
}

static void conn_connect(struct rig *r, const struct delivery_want *w)
{
	struct rig_conn *c = &r->conn[r->n_conn % RIG_CONNS];
	if (r->refuse != ERR_OK || c->s != NULL) {
		delivery_failed(r->d, w->cookie, r->refuse != ERR_OK ? r->refuse : ERR_TOO_MANY);
		return;
	}
	struct session *s = aligned_alloc(64, (delivery_proto.size + 63) & ~63u);
	CHECK(s != NULL);
	memset(s, 0xa5, delivery_proto.size);
	memset(s, 0, sizeof(*s));
	stream_init(&s->st, r->pool);
	s->proto = &delivery_proto;
	s->env = &r->env;
	s->opened_us = r->env.now_us;
	s->index = r->n_conn % RIG_CONNS;
	s->gen = ++c->gen;
	arena_init(&s->arena, 1 << 20);
	c->s = s;
	c->site = w->site;
	c->cookie = w->cookie;
	c->open = c->ended = c->aborted = false;
	c->said.len = 0;
	c->said_all = 0;
	r->n_conn++;
	delivery_attach(r->d, s, w->cookie);
	if (r->hold_connect)
		return;
	c->cookie = NULL;
	c->open = true;
	s->proto->open(s);
}

/* ---- the loop ---- */

static void op_done(struct rig *r, struct store_op *op)
{
	if (op->submit) {
		bool owned = op->owner != UINT32_MAX;
		queue_submitted(r->queue, op);
		if (!owned)
			return;
	}
	if (op->owner >= RIG_CONNS || r->conn[op->owner].s == NULL || r->conn[op->owner].gen != op->owner_gen) {
		store_op_free(&op);
		return;
	}
	struct session *s = r->conn[op->owner].s;
	s->proto->store_done(s, op);
}

static bool turn(struct rig *r)
{
	struct store_op *ops[16];
	struct delivery_want w;
	struct session *s;
	bool did = store_step(r->store);
	unsigned pending = store_pending(r->env.store);
	unsigned n = store_poll(r->env.store, ops, ARRAY_LEN(ops));
	for (unsigned i = 0; i < n; i++)
		op_done(r, ops[i]);
	did |= n > 0;
	delivery_turn(r->d);
	while ((s = delivery_woken(r->d)) != NULL) {
		s->proto->input(s);
		did = true;
	}
	while (delivery_want(r->d, &w)) {
		conn_connect(r, &w);
		did = true;
	}
	for (unsigned i = 0; i < RIG_CONNS; i++)
		did |= conn_settle(r, &r->conn[i]);
	return did || store_pending(r->env.store) > pending - n;
}

void rig_run(struct rig *r)
{
	while (turn(r))
		;
}

static void deadline(struct rig *r, struct rig_conn *c)
{
	struct session *s = c->s;
	s->deadline_us = 0;
	if (c->open)
		s->proto->timeout(s);
	else
		conn_end(r, c);
}

void rig_time(struct rig *r, uint64_t us)
{
	uint64_t end = r->env.now_us + us;
	rig_run(r);
	for (;;) {
		struct rig_conn *first = NULL;
		for (unsigned i = 0; i < RIG_CONNS; i++) {
			struct rig_conn *c = &r->conn[i];
			if (c->s != NULL && c->s->deadline_us != 0 &&
			    (first == NULL || c->s->deadline_us < first->s->deadline_us))
				first = c;
		}
		uint64_t at = first != NULL ? first->s->deadline_us : UINT64_MAX, next = delivery_next_us(r->d);
		uint64_t to = at < next ? at : next;
		if (to > end)
			to = end;
		if (to > r->env.now_us) {
			r->env.wall_us += to - r->env.now_us;
			r->env.now_us = to;
		}
		if (first != NULL && first->s->deadline_us <= r->env.now_us)
			deadline(r, first);
		else if (r->env.now_us >= end)
			break;
		rig_run(r);
	}
	rig_run(r);
}

void rig_feed(struct rig *r, unsigned conn, struct span bytes)
{
	struct session *s = r->conn[conn].s;
	if (s == NULL)
		return;
	while (bytes.len > 0) {
		struct span part = span_head(bytes, 1448);
		struct pkt *p = pkt_alloc(r->pool);
		CHECK(p != NULL);
		uint8_t *to = pkt_append(p, (uint32_t)part.len);
		memcpy(to, part.p, part.len);
		stream_feed(&s->st, (struct slice){p, to, (uint32_t)part.len});
		bytes = span_from(bytes, part.len);
	}
	if (!s->st.tx_close)
		s->proto->input(s);
	rig_run(r);
}

void rig_eof(struct rig *r, unsigned conn)
{
	struct session *s = r->conn[conn].s;
	if (s == NULL)
		return;
	stream_eof(&s->st);
	if (!s->st.tx_close)
		s->proto->input(s);
	rig_run(r);
}

void rig_drop(struct rig *r, unsigned conn, bool reset)
{
	struct rig_conn *c = &r->conn[conn];
	if (c->s == NULL)
		return;
	if (!reset && c->open && stream_readable(&c->s->st) > 0 && !c->s->st.tx_close)
		c->s->proto->input(c->s);
	conn_end(r, c);
	rig_run(r);
}

bool rig_said(struct rig *r, unsigned conn, const char *text)
{
	struct buf *b = &r->conn[conn].said;
	size_t n = strlen(text);
	if (b->len < n || memcmp(b->p, text, n) != 0)
		return false;
	memmove(b->p, b->p + n, b->len - n);
	b->len -= n;
	return true;
}

/* ---- mail comes in ---- */

bool rig_submit(struct rig *r, const char *from, const char *const *rcpt, unsigned n, struct span msg)
{
	struct queue_rcpt *rc = calloc(n, sizeof(*rc));
	struct store_op *op = store_op_new(r->env.store, STORE_COMMIT, OWNER_TEST, 0);
	struct mail_data_scan scan;
	struct mail_run runs[64];
	uint32_t flags = 0;
	CHECK(op != NULL && rc != NULL);
	struct ip_addr any4 = ip_from4(0);
	for (unsigned i = 0; i < n; i++) {
		struct mail_addr a;
		CHECK(mail_addr_parse(span_str(rcpt[i]), 0, &a) == ERR_OK);
		enum dir_verdict v = dir_resolve(&r->conf, r->store, &any4, a.local, a.domain, &rc[i]);
		CHECK(v == DIR_LOCAL || v == DIR_RELAY);
		rc[i].addr = span_str(rcpt[i]);
		rc[i].notify = r->ask_rcpt.notify;
		rc[i].orcpt = r->ask_rcpt.orcpt;
	}
	mail_data_scan_init(&scan);
	for (struct span s = msg; s.len > 0;)
		s = span_from(s, mail_data_scan(&scan, s.p, s.len, runs, ARRAY_LEN(runs)).consumed);
	for (size_t i = 0; i < msg.len; i++)
		if (msg.p[i] == '.' && (i == 0 || msg.p[i - 1] == '\n'))
			flags |= STORE_BLOB_DOTS;
	if (scan.flags & MAIL_DATA_8BIT)
		flags |= STORE_BLOB_8BIT;
	struct slices all = {0};
	op->blob = store_id_new(r->env.store);
	CHECK(slices_copy(&all, r->pool, SPAN("Return-Path: <x>\r\n")));
	uint32_t relay_off = (uint32_t)all.len;
	CHECK(slices_copy(&all, r->pool, msg));
	while (all.len - op->off > PART) {
		struct store_op *part = store_op_new(r->env.store, STORE_BODY, OWNER_TEST, 0);
		CHECK(part != NULL);
		part->blob = op->blob;
		part->off = op->off;
		slices_add_range(&part->body, &all, op->off, PART);
		op->off += PART;
		store_submit(r->env.store, part);
	}
	slices_add_range(&op->body, &all, op->off, all.len - op->off);
	struct queue_envelope e = {.from = span_str(from), .accepted_us = r->env.wall_us, .session = SPAN("t1"),
				   .binary = r->ask.binary, .ret = r->ask.ret, .envid = r->ask.envid,
				   .rcpt = rc, .n_rcpt = n};
	queue_submit(r->queue, op, &e, relay_off, flags, &all);
	slices_drop(&all);
	CHECK(op->submit);
	store_submit(r->env.store, op);
	free(rc);
	uint64_t before = stat_get(r->stat, STAT_queue_accepted) + stat_get(r->stat, STAT_delivery_local);
	rig_run(r);
	return stat_get(r->stat, STAT_queue_accepted) + stat_get(r->stat, STAT_delivery_local) > before;
}

/* ---- end ---- */

static void stop(struct rig *r)
{
	r->refuse = ERR_TOO_MANY; /* no new ones */
	r->env.shutting_down = true;
	for (unsigned i = 0; i < RIG_CONNS; i++)
		if (r->conn[i].s != NULL)
			conn_end(r, &r->conn[i]);
	fake_store_hold(r->store, false);
	rig_run(r);
	queue_stop(r->queue);
	delivery_destroy(&r->d);
	queue_destroy(&r->queue);
}

void rig_restart(struct rig *r)
{
	stop(r);
	r->refuse = ERR_OK;
	r->env.shutting_down = false;
	begin(r);
	const struct store_qitem *it;
	for (unsigned i = 0; (it = fake_store_qitem(r->store, i)) != NULL; i++)
		queue_load(r->queue, it, 1);
}

void rig_fini(struct rig *r)
{
	stop(r);
	for (unsigned i = 0; i < RIG_CONNS; i++)
		buf_fini(&r->conn[i].said);
	store_close(&r->store);
	free(r->stat);
	free(r->trace);
	CHECK(pkt_heap_outstanding() == 0);
	pkt_pool_destroy(&r->pool);
}
