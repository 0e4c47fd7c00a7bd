/*
 * harness.h: a worker for tests: sessions of one protocol on the store's stand-in, in virtual time, with no
 * network below. Bytes go in by harness_feed, what the session said is in client.out.
 *
 * Owned: everything in struct harness. The configuration is the harness's own copy: a test may change
 * it before or between calls.
 */
#ifndef VEREDUS_HARNESS_H
#define VEREDUS_HARNESS_H

#include "proto.h"
#include "tls_peer.h"

#define HARNESS_CLIENTS 4
#define HARNESS_WALL_US 1767225600000000u /* Thu, 01 Jan 2026 00:00:00 +0000 */

struct harness_client {
	struct session *s;   /* NULL: never opened, or gone */
	uint32_t gen;
	struct buf out;      /* said and not yet taken */
	bool closed;         /* by the server */
	bool aborted;
	bool in_tls;         /* peer is the client's TLS: feed and out are what is inside */
	struct tls_peer peer;
};

struct harness {
	const struct proto *proto;
	struct proto_env env;
	struct conf conf;
	struct store *store;
	struct queue *queue;
	struct auth *auth;
	struct pkt_pool *pool;
	struct stat *stat;
	struct trace *trace;
	struct rnd rnd;
	struct harness_client client[HARNESS_CLIENTS];
	uint32_t room;       /* bytes of output taken a turn; default no limit */
	/* what the configuration points to */
	struct conf_domain domain[3];
	struct conf_route route[2];
	struct ip_prefix relay_from[1];
	struct conf_listen listen;
	struct tls_shared *tls;
};

/*
 * Hostname mx.example.net; local domain example.net with mailboxes alice (password wonderland) and bob
 * (builder); relay domain example.org; route "*" to 198.18.0.1:2525 (192.0.2.0/24 may relay).
 * Clients come from 198.51.100.7.
 */
void harness_init(struct harness *h, const struct proto *proto);
/* Closes everything; checks that no packet, operation or session is left. */
void harness_fini(struct harness *h);
/* From the next harness_open on sessions come by a listener like this; a certificate is made for it. */
void harness_listen(struct harness *h, enum conf_tls tls);
/* The client begins its handshake (which need not succeed: client.peer.open). */
void harness_handshake(struct harness *h, unsigned client);
void harness_open(struct harness *h, unsigned client);
/* The connection is gone. */
void harness_close(struct harness *h, unsigned client);
/* Bytes arrive (not when the server has closed), then the loop runs until nothing moves. */
void harness_feed(struct harness *h, unsigned client, struct span bytes);
void harness_eof(struct harness *h, unsigned client);
/* Turns of the loop until nothing moves. */
void harness_run(struct harness *h);
/* Time passes; deadlines on the way fire in order. */
void harness_time(struct harness *h, uint64_t us);
void harness_shutdown(struct harness *h);

#endif
