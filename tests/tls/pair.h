/*
 * pair.h: a stream of a server and OpenSSL's client, joined in memory. Certificates are made once a test in a directory
 * that is removed at its end.
 */
#ifndef VEREDUS_TESTS_TLS_PAIR_H
#define VEREDUS_TESTS_TLS_PAIR_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "stream.h"
#include "tls_peer.h"

struct pair {
	struct tls_shared *shared;
	struct tls_core *core;
	struct pkt_pool *pool;
	struct stat *stat;
	struct stream s;     /* the server's end */
	struct tls_peer peer;
	size_t cut;          /* bytes moved at a time to the server; 0: all */
	bool manual;         /* the test gives the turns */
	uint64_t raw;        /* bytes the server was given */
};

static char pair_dir[] = "/tmp/veredus-tls-XXXXXX";

static inline const char *pair_path(const char *stem, const char *kind)
{
	static char ring[8][128];
	static unsigned i;
	char *p = ring[i++ % 8];
	(void)snprintf(p, sizeof(ring[0]), "%s/%s.%s", pair_dir, stem, kind);
	return p;
}

static inline void pair_setup(void)
{
	cr_assert(mkdtemp(pair_dir) != NULL);
}

static inline void pair_teardown(void)
{
	char cmd[128];
	(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", pair_dir);
	cr_assert_eq(system(cmd), 0);
}

/* Loads the certificates that stems (separated by spaces) name. */
static inline struct tls_server *pair_load(const char *stems)
{
	struct tls_files files[8];
	struct tls_server *server = NULL;
	unsigned n = 0;
	char text[200], why[600];
	(void)snprintf(text, sizeof(text), "%s", stems);
	for (char *save = NULL, *w = strtok_r(text, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save))
		files[n++] = (struct tls_files){pair_path(w, "pem"), pair_path(w, "key"), 0, NULL};
	cr_assert_eq(tls_server_load(&server, files, n, why, sizeof(why)), ERR_OK, "%s", why);
	return server;
}

static inline void pair_init(struct pair *p, struct tls_server *server)
{
	memset(p, 0, sizeof(*p));
	p->pool = pkt_pool_create("t", 1 << 20, PKT_ROOM);
	p->stat = aligned_alloc(64, sizeof(*p->stat));
	memset(p->stat, 0, sizeof(*p->stat));
	p->shared = tls_shared_create(server);
	p->core = tls_core_create(p->shared, p->pool, p->stat);
}

static inline void pair_fini(struct pair *p)
{
	tls_core_destroy(&p->core);
	tls_shared_destroy(&p->shared);
	free(p->stat);
	pkt_pool_destroy(&p->pool); /* ends the process if a packet is out */
}

static inline void pair_open(struct pair *p, const char *service, const struct tls_peer_conf *c)
{
	stream_init(&p->s, p->pool);
	cr_assert(stream_start_tls(&p->s, p->core, service));
	tls_peer_init(&p->peer, c);
	tls_peer_run(&p->peer);
}

static inline void pair_close(struct pair *p)
{
	stream_fini(&p->s);
	tls_peer_fini(&p->peer);
}

static inline void pair_feed(struct pair *p, struct span raw)
{
	p->raw += raw.len;
	while (raw.len) {
		size_t n = p->cut && p->cut < raw.len ? p->cut : raw.len < 1448 ? raw.len : 1448;
		struct pkt *k = pkt_alloc(p->pool);
		uint8_t *to = pkt_append(k, (uint32_t)n);
		memcpy(to, raw.p, n);
		stream_feed(&p->s, (struct slice){k, to, (uint32_t)n});
		raw = span_from(raw, n);
	}
}

/* Takes what the server has to send; true if there was something. */
static inline bool pair_take(struct pair *p, uint32_t room)
{
	struct slice v[16];
	bool any = false;
	for (unsigned n; (n = stream_out(&p->s, room, v, ARRAY_LEN(v))) > 0; any = true)
		for (unsigned i = 0; i < n; i++) {
			tls_peer_feed(&p->peer, slice_span(&v[i]));
			slice_drop(&v[i]);
		}
	return any;
}

/* Moves bytes both ways until nothing moves. */
static inline void pair_run(struct pair *p)
{
	for (bool did = true; did;) {
		struct span raw = tls_peer_raw(&p->peer);
		did = raw.len > 0;
		pair_feed(p, raw);
		tls_peer_sent(&p->peer);
		if (!p->manual) {
			tls_core_turn(p->core);
			while (stream_tls_waiting(p->core) != NULL)
				did = true;
		}
		did |= pair_take(p, UINT32_MAX);
		tls_peer_run(&p->peer);
	}
}

static inline uint64_t pair_stat(const struct pair *p, enum stat_id id)
{
	return stat_get(p->stat, id);
}

#endif
