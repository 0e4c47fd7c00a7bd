/*
 * worker_int.h: what the files of worker/ share: the worker, the process, and a link, which is a session
 * tied to its TCP connection.
 *
 * Invariants: 1. a struct worker is touched by its own thread only, but for its counters, its trace and
 * the two command rings; 2. a link is in use exactly as long as its session is in list `links`;
 * 3. a session is found again by (owner, generation), never by a pointer that was kept elsewhere.
 */
#ifndef VEREDUS_WORKER_INT_H
#define VEREDUS_WORKER_INT_H

#include "buf.h"
#include "control.h"
#include "delivery.h"
#include "list.h"
#include "map.h"
#include "nap.h"
#include "net.h"
#include "pool.h"
#include "port.h"
#include "proto.h"
#include "rcu.h"
#include "spsc.h"
#include "tcp.h"

#define WORKERS_MAX 64
#define TURN_MAX    64 /* connections, ops, answers dealt with in one step of a turn */

/* Rows of the protocol table in worker_session.c; the index is part of a session's name. */
enum link_kind { LINK_SMTP, LINK_POP3, LINK_IMAP, LINK_HTTP, LINK_OUT, LINK_KIND_N };

struct link {
	struct list node;
	struct tcp_conn *tcp;
	struct worker *w;
	void *cookie;      /* outbound, until attached connections stand: delivery's want */
	uint8_t kind;      /* enum link_kind */
	bool open;         /* proto->open was called */
	bool throttled;    /* the session was told to wait for output room */
	uint64_t tls_until_us; /* a handshake that is not done by then is over; 0: none has begun */
	_Alignas(16) struct session s; /* the protocol's struct begins here */
};

enum worker_verb { WORKER_QUEUE_LIST, WORKER_QUEUE_RETRY, WORKER_QUEUE_REMOVE, WORKER_CONN_LIST, WORKER_SHUTDOWN, WORKER_STOP };

/* A question from the control thread; it belongs to the worker from push to reply. */
struct worker_cmd {
	enum worker_verb verb;
	const struct queue_filter *filter;
	unsigned limit;
	uint32_t from;   /* CONN_LIST: slot to begin with; out: to go on with, UINT32_MAX at the end */
	uint64_t n;      /* out */
	struct buf rows; /* out: queue rows, encoded by worker_control.c; struct veredus_conn_row */
};

/* Levels that control reads in place: written by the worker with relaxed stores, no more exact than that. */
struct worker_gauges {
	_Atomic uint64_t conns, half_open, time_wait, conn_bytes, queue_items, queue_rcpts, loop_gap_max_us;
	_Atomic uint64_t sessions[LINK_KIND_N];
};

struct worker {
	/* set up once */
	struct veredus *v;
	unsigned id, n_port;
	struct port_core *port[PORT_MAX];
	struct net_core *net;
	struct tcp_core *tcp;
	struct delivery *delivery;
	struct rnd rnd;
	struct spsc cmd, reply;
	/* every turn */
	struct proto_env env;
	struct wheel wheel;
	struct pool pool[LINK_KIND_N];
	struct list links;
	struct map per_ip;       /* keyed hash of the peer -> connections; only if limited */
	uint64_t turn, idle_since_us, next_slow_us;
	uint32_t n_link;
	bool stop;
	/* read by control */
	struct worker_gauges gauge;
	struct stat stat;
	struct trace trace;
};

struct veredus {
	const struct conf *conf;
	unsigned n_worker, n_port, n_launched;
	struct port *port[PORT_MAX];
	struct pkt_pool *pool, *big;
	struct rcu *rcu;
	struct store *store;
	struct nap nap[WORKERS_MAX + 1]; /* of each worker; the last: control, who does not nap */
	struct store_core *store_control;
	struct auth *auth;
	struct tls_shared *tls;
	uint64_t tls_rotate_us; /* when ticket keys are next made anew */
	struct worker *worker[WORKERS_MAX];
	uint64_t started_us;
	bool eal, failed_said;
};

/* worker_loop.c */
int worker_run(void *worker);

/* worker_session.c */
const struct proto *link_proto(unsigned kind);
void worker_sessions_init(struct worker *w, unsigned sessions);
void worker_sessions_fini(struct worker *w);
/* All news of one connection. */
void worker_conn_event(struct worker *w, struct tcp_conn *c);
void worker_store_done(struct worker *w, struct store_op *op);
void worker_auth_done(struct worker *w, struct auth_op *op);
void worker_session_timeout(struct worker *w, struct timer *t);
/* Goes on with handshakes that waited for this turn. Returns how many. */
unsigned worker_handshakes(struct worker *w);
/* Opens what delivery wants. True if anything was done. */
bool worker_open_wanted(struct worker *w);
void worker_sessions_shutdown(struct worker *w);
void worker_sessions_abort(struct worker *w);

/* worker_tls.c */
/* Loads what the configuration names, for the first time. */
enum err worker_tls_start(struct veredus *v, char *why, size_t why_size);
/* Makes ticket keys anew when it is time. Control thread. */
void worker_tls_tick(struct veredus *v);

/* worker_control.c */
/* Asks every running worker in turn and waits. Control thread. */
void veredus_ask_all(struct veredus *v, enum worker_verb verb);
/* Runs one store op of the control thread to its end; ERR_TIMEOUT: the op stays with the store. */
enum err veredus_store_run(struct veredus *v, struct store_op *op);
/* worker_see.c */
/* One batch of CONN_LIST. */
void worker_conn_batch(struct worker *w, struct worker_cmd *c);

/* worker_control.c */
/* Sends the command and waits for its answer. Control thread. */
void veredus_ask(struct worker *w, struct worker_cmd *c);
/* Runs the commands that wait. True if there was one. */
bool worker_commands(struct worker *w);

#endif
