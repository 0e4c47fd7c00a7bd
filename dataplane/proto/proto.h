/*
 * proto.h: what a protocol is to the loop, and what a session may use. A new protocol is a folder, a
 * const struct proto, and a row in the worker's listener table.
 *
 * The loop calls open once, then input whenever bytes, end of stream or output room came; the session
 * runs its state machine as far as it can and returns. It never waits: a store or password operation is
 * submitted with the session's index and generation, and comes back through store_done or auth_done.
 * After close() nothing of the session is touched again; late answers find another generation.
 */
#ifndef VEREDUS_PROTO_H
#define VEREDUS_PROTO_H

#include <stdbool.h>
#include <stdint.h>
#include "arena.h"
#include "conf.h"
#include "directory.h"
#include "ip.h"
#include "queue.h"
#include "rand.h"
#include "stat.h"
#include "store.h"
#include "stream.h"
#include "tls.h"
#include "trace.h"
#include "wheel.h"

/* A worker's things, shared by its sessions. */
struct proto_env {
	unsigned worker;
	uint64_t now_us;  /* monotonic, of this turn */
	uint64_t wall_us; /* since 1970, of this turn */
	const struct conf *conf; /* the snapshot of this turn */
	struct store *store_shared;
	struct store_core *store;
	struct queue *queue;
	struct auth_core *auth;
	struct tls_core *tls; /* NULL: no TLS */
	struct pkt_pool *pool;
	struct stat *stat;
	struct trace *trace;
	struct rnd *rnd;
	bool low_big;       /* pool of the store's reads under half: nobody reads ahead */
	bool low_memory;    /* packet pool under its low mark: new mail gets 452 */
	bool shutting_down;
};

struct session;
struct proto {
	const char *name;
	uint32_t size; /* of the protocol's session struct, which begins with struct session */
	void (*open)(struct session *s);
	void (*input)(struct session *s);
	void (*store_done)(struct session *s, struct store_op *op); /* frees the op */
	void (*auth_done)(struct session *s, struct auth_op *op);   /* frees the op */
	void (*timeout)(struct session *s);  /* deadline_us passed */
	void (*shutdown)(struct session *s); /* the server stops: say so and stream_close */
	void (*close)(struct session *s);    /* connection is gone: free what is the protocol's */
};

struct session {
	struct stream st;
	const struct proto *proto;
	struct proto_env *env;
	void *conn;            /* the worker's */
	const struct conf_listen *listen; /* that it came by; NULL: outbound */
	struct timer timer;    /* the worker's: follows deadline_us */
	uint64_t deadline_us;  /* monotonic; 0 = none. Set by the protocol, watched by the loop */
	uint64_t opened_us;
	uint64_t session_id;   /* in logs and traces */
	uint32_t index, gen;   /* of the worker's session pool */
	struct ip_addr local, peer;
	uint16_t local_port, peer_port;
	struct arena arena;    /* for a command or transaction; reset by the protocol */
};

/* May the client ask for TLS now? */
static inline bool session_offers_tls(const struct session *s)
{
	return s->listen != NULL && s->listen->tls == CONF_TLS_STARTTLS && !stream_is_tls(&s->st) &&
	       s->env->tls != NULL && tls_core_ready(s->env->tls);
}

/* May a password come over this connection as it is? */
static inline bool session_may_auth(const struct session *s)
{
	return stream_is_tls(&s->st) || s->env->conf->auth_in_clear;
}

/* Behind the reply that lets the client begin: what it sent behind its command is thrown away, and counted. No
 * memory for it ends the connection. service: see tls_accept. */
static inline void session_start_tls(struct session *s, const char *service)
{
	if (stream_readable(&s->st) > s->st.line_len)
		stat_inc(s->env->stat, STAT_tls_early_bytes);
	if (!stream_start_tls(&s->st, s->env->tls, service))
		stream_abort(&s->st);
}

#endif
