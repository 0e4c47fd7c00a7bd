/* harness.c: the loop of a worker without network, for tests. */
#include "harness.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "fake_store.h"

void harness_init(struct harness *h, const struct proto *proto)
{
	memset(h, 0, sizeof(*h));
	h->proto = proto;
	h->room = UINT32_MAX;
	h->domain[0] = (struct conf_domain){"example.net", true};
	h->domain[1] = (struct conf_domain){"example.org", false};
	h->domain[2] = (struct conf_domain){"no-route.example", false};
	h->route[0] = (struct conf_route){.pattern = "example.org", .port = 2525, .via = "198.18.0.1:2525"};
	h->route[1] = (struct conf_route){.pattern = "example.com", .port = 2525, .via = "198.18.0.2:2525"};
	CHECK(ip_parse(SPAN("198.18.0.1"), &h->route[0].host) && ip_parse(SPAN("198.18.0.2"), &h->route[1].host));
	CHECK(ip_prefix_parse(SPAN("192.0.2.0/24"), &h->relay_from[0]));
	h->conf = (struct conf){
		.file = "test.conf", .hostname = "mx.example.net", .n_workers = 1, .sessions = HARNESS_CLIENTS,
		.n_domain = 3, .domain = h->domain, .n_route = 2, .route = h->route,
		.n_relay_from = 1, .relay_from = h->relay_from,
		.message_size_max = 1 << 20, .recipients_max = 100, .hops_max = 50, .errors_max = 10,
		.connections_per_ip = 100, .auth_in_clear = true,
		.smtp_timeout_s = 300, .pop3_timeout_s = 600, .imap_timeout_s = 1800, .http_timeout_s = 60,
	};
	h->pool = pkt_pool_create("test", 1 << 20, PKT_ROOM);
	h->stat = aligned_alloc(64, sizeof(*h->stat));
	h->trace = calloc(1, sizeof(*h->trace));
	CHECK(h->stat != NULL && h->trace != NULL);
	memset(h->stat, 0, sizeof(*h->stat));
	rnd_seed(&h->rnd, 1);
	h->store = fake_store_open(h->pool);
	fake_store_account(h->store, "alice@example.net", "wonderland");
	fake_store_account(h->store, "bob@example.net", "builder");
	h->auth = auth_create(1, 1);
	h->queue = queue_create(&h->conf, 0, 1, store_core(h->store, 0), h->pool, h->stat, &h->rnd);
	h->env = (struct proto_env){
		.now_us = 1000000, .wall_us = HARNESS_WALL_US, .conf = &h->conf, .store_shared = h->store,
		.store = store_core(h->store, 0), .queue = h->queue, .auth = auth_core(h->auth, 0),
		.pool = h->pool, .stat = h->stat, .trace = h->trace, .rnd = &h->rnd,
	};
	for (unsigned i = 0; i < HARNESS_CLIENTS; i++)
		buf_init(&h->client[i].out);
}

/* In packets of the size that a network would bring, each byte of ASan's attention. */
static void feed_raw(struct harness *h, struct session *s, struct span bytes)
{
	while (bytes.len) {
		struct span part = span_head(bytes, 1448);
		struct pkt *p = pkt_alloc(h->pool);
		if (!p) /* pkt_heap_fail_after: that is meant for the session */
			p = pkt_alloc(h->pool);
		CHECK(p != NULL);
		uint8_t *to = pkt_append(p, (uint32_t)part.len);
		memcpy(to, part.p, part.len);
		stream_feed(&s->st, (struct slice){p, to, (uint32_t)part.len});
		bytes = span_from(bytes, part.len);
	}
	if (!s->st.tx_close)
		h->proto->input(s);
}

void harness_listen(struct harness *h, enum conf_tls tls)
{
	char dir[] = "/tmp/veredus-harness-XXXXXX", cert[64], key[64], why[256];
	h->listen.tls = tls;
	if (h->tls != NULL)
		return;
	CHECK(mkdtemp(dir) != NULL);
	tls_peer_cert(dir, "mx", "ec", "mx.example.net", 10);
	(void)snprintf(cert, sizeof(cert), "%s/mx.pem", dir);
	(void)snprintf(key, sizeof(key), "%s/mx.key", dir);
	struct tls_files files = {cert, key, 0, NULL};
	struct tls_server *server;
	CHECK(tls_server_load(&server, &files, 1, why, sizeof(why)) == ERR_OK);
	(void)unlink(cert);
	(void)unlink(key);
	(void)rmdir(dir);
	h->tls = tls_shared_create(server);
	h->env.tls = tls_core_create(h->tls, h->pool, h->stat);
}

void harness_open(struct harness *h, unsigned client)
{
	struct harness_client *c = &h->client[client];
	harness_close(h, client);
	c->closed = c->aborted = false;
	c->out.len = 0;
	struct session *s = aligned_alloc(64, (h->proto->size + 63) & ~63u);
	CHECK(s != NULL);
	memset(s, 0xa5, h->proto->size); /* what a session finds beyond its own fields is not zero */
	memset(s, 0, sizeof(*s));
	stream_init(&s->st, h->pool);
	s->proto = h->proto;
	s->env = &h->env;
	s->opened_us = h->env.now_us;
	s->session_id = 0x1000 + client;
	s->listen = &h->listen;
	s->index = client;
	s->gen = ++c->gen;
	CHECK(ip_parse(SPAN("198.18.0.2"), &s->local) && ip_parse(SPAN("198.51.100.7"), &s->peer));
	s->peer_port = 40000;
	arena_init(&s->arena, 1 << 20);
	c->s = s;
	if (h->listen.tls == CONF_TLS_IMPLICIT)
		CHECK(stream_start_tls(&s->st, h->env.tls, h->proto->name));
	h->proto->open(s);
	if (h->listen.tls == CONF_TLS_IMPLICIT)
		harness_handshake(h, client);
}

/* What the client's TLS has to say goes to the server. */
static bool peer_flush(struct harness *h, unsigned client)
{
	struct harness_client *c = &h->client[client];
	struct span raw = c->in_tls ? tls_peer_raw(&c->peer) : SPAN("");
	if (!c->s || raw.len == 0)
		return false;
	feed_raw(h, c->s, raw);
	tls_peer_sent(&c->peer);
	return true;
}

void harness_handshake(struct harness *h, unsigned client)
{
	struct harness_client *c = &h->client[client];
	if (c->in_tls || !c->s)
		return;
	c->in_tls = true;
	tls_peer_init(&c->peer, &(struct tls_peer_conf){.name = "mx.example.net"});
	tls_peer_run(&c->peer);
	harness_run(h);
}

void harness_close(struct harness *h, unsigned client)
{
	struct session *s = h->client[client].s;
	if (h->client[client].in_tls)
		tls_peer_fini(&h->client[client].peer);
	h->client[client].in_tls = false;
	if (!s)
		return;
	h->client[client].s = NULL;
	h->proto->close(s);
	stream_fini(&s->st);
	arena_reset(&s->arena);
	free(s);
}

static struct session *find(struct harness *h, uint32_t index, uint32_t gen)
{
	if (index >= HARNESS_CLIENTS || !h->client[index].s || h->client[index].s->gen != gen)
		return NULL;
	return h->client[index].s;
}

static bool turn_store(struct harness *h)
{
	struct store_op *ops[16];
	bool did = fake_store_step(h->store);
	unsigned n = store_poll(h->env.store, ops, ARRAY_LEN(ops));
	for (unsigned i = 0; i < n; i++) {
		if (ops[i]->submit)
			queue_submitted(h->queue, ops[i]);
		struct session *s = find(h, ops[i]->owner, ops[i]->owner_gen);
		if (s)
			h->proto->store_done(s, ops[i]);
		else
			store_op_free(&ops[i]);
	}
	return did || n > 0;
}

static bool turn_auth(struct harness *h)
{
	struct auth_op *ops[16];
	unsigned n = auth_poll(h->env.auth, ops, ARRAY_LEN(ops));
	for (unsigned i = 0; i < n; i++) {
		struct session *s = find(h, ops[i]->owner, ops[i]->owner_gen);
		if (s)
			h->proto->auth_done(s, ops[i]);
		else
			auth_op_free(&ops[i]);
	}
	return n > 0;
}

/* Takes output; tells the session about the room; ends connections that it closed. */
static bool turn_output(struct harness *h, unsigned client)
{
	struct harness_client *c = &h->client[client];
	struct slice out[32];
	unsigned n;
	bool did = false;
	if (!c->s)
		return false;
	stream_taken(&c->s->st);
	while ((n = stream_out(&c->s->st, h->room, out, ARRAY_LEN(out))) > 0) {
		for (unsigned i = 0; i < n; i++) {
			if (c->in_tls)
				tls_peer_feed(&c->peer, slice_span(&out[i]));
			else
				buf_add_span(&c->out, slice_span(&out[i]));
			slice_drop(&out[i]);
		}
		did = true;
		if (h->room != UINT32_MAX)
			break;
	}
	if (c->in_tls) {
		buf_add_span(&c->out, buf_span(&c->peer.plain));
		c->peer.plain.len = 0;
		did |= peer_flush(h, client);
	}
	if (c->s->st.tx_abort || c->s->st.failed || (c->s->st.tx_close && stream_pending(&c->s->st) == 0)) {
		c->aborted = c->s->st.tx_abort || c->s->st.failed;
		c->closed = true;
		harness_close(h, client);
	} else if (did) {
		h->proto->input(c->s);
	}
	return did;
}

static bool turn_handshakes(struct harness *h)
{
	bool did = false;
	if (h->env.tls == NULL)
		return false;
	tls_core_turn(h->env.tls);
	for (struct stream *st; (st = stream_tls_waiting(h->env.tls)) != NULL; did = true)
		h->proto->input(CONTAINER_OF(st, struct session, st));
	return did;
}

void harness_run(struct harness *h)
{
	bool did = true;
	while (did) {
		did = turn_store(h);
		did |= turn_auth(h);
		did |= turn_handshakes(h);
		for (unsigned i = 0; i < HARNESS_CLIENTS; i++)
			did |= turn_output(h, i);
	}
}

void harness_feed(struct harness *h, unsigned client, struct span bytes)
{
	struct session *s = h->client[client].s;
	if (!s)
		return;
	if (h->client[client].in_tls) {
		tls_peer_write(&h->client[client].peer, bytes);
		bytes = tls_peer_raw(&h->client[client].peer);
	}
	feed_raw(h, s, bytes);
	if (h->client[client].in_tls)
		tls_peer_sent(&h->client[client].peer);
	harness_run(h);
}

void harness_eof(struct harness *h, unsigned client)
{
	struct session *s = h->client[client].s;
	if (!s)
		return;
	stream_eof(&s->st);
	h->proto->input(s);
	harness_run(h);
}

void harness_time(struct harness *h, uint64_t us)
{
	uint64_t end = h->env.now_us + us;
	harness_run(h);
	for (;;) {
		struct session *next = NULL;
		for (unsigned i = 0; i < HARNESS_CLIENTS; i++) {
			struct session *s = h->client[i].s;
			if (s && s->deadline_us && s->deadline_us <= end &&
			    (!next || s->deadline_us < next->deadline_us))
				next = s;
		}
		uint64_t to = next && next->deadline_us > h->env.now_us ? next->deadline_us
									 : next ? h->env.now_us : end;
		h->env.wall_us += to - h->env.now_us;
		h->env.now_us = to;
		if (!next)
			break;
		next->deadline_us = 0;
		h->proto->timeout(next);
		harness_run(h);
	}
}

void harness_shutdown(struct harness *h)
{
	h->env.shutting_down = true;
	for (unsigned i = 0; i < HARNESS_CLIENTS; i++)
		if (h->client[i].s)
			h->proto->shutdown(h->client[i].s);
	harness_run(h);
}

void harness_fini(struct harness *h)
{
	for (unsigned i = 0; i < HARNESS_CLIENTS; i++) {
		harness_close(h, i);
		buf_fini(&h->client[i].out);
	}
	fake_store_hold(h->store, false);
	harness_run(h);
	tls_core_destroy(&h->env.tls);
	tls_shared_destroy(&h->tls);
	queue_destroy(&h->queue);
	auth_destroy(&h->auth);
	fake_store_close(&h->store);
	free(h->stat);
	free(h->trace);
	pkt_pool_destroy(&h->pool); /* checks that every packet came back */
}
