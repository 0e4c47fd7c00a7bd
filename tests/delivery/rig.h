/*
 * rig.h: a worker's outbound half for tests: the real queue, directory and delivery over the store's stand-in, in
 * virtual time. Peers are scripted: what a session says is in conn[i].said, bytes go to it by rig_feed.
 * The configuration is the rig's own copy and may be changed.
 */
#ifndef VEREDUS_RIG_H
#define VEREDUS_RIG_H

#include "buf.h"
#include "delivery.h"
#include "queue_claim.h"

#define RIG_CONNS 16
#define RIG_WALL_US 1767225600000000u /* Thu, 01 Jan 2026 00:00:00 +0000 */

struct rig_conn {
	struct session *s; /* NULL: not in use, or over */
	uint32_t gen;
	struct queue_site_key site;
	void *cookie;
	bool open;
	bool ended, aborted; /* by the session */
	uint64_t said_all;
	struct buf said;
};

struct rig {
	struct conf conf;
	struct conf_domain domain[3];
	struct conf_route route[3];
	struct ip_prefix relay_from[1];
	struct store *store;
	struct pkt_pool *pool;
	struct stat *stat;
	struct trace *trace;
	struct rnd rnd;
	struct proto_env env;
	struct queue *queue;
	struct delivery *d;
	struct rig_conn conn[RIG_CONNS];
	unsigned n_conn;      /* opened so far; the next takes slot n_conn % RIG_CONNS */
	enum err refuse;      /* not OK: connections fail with it */
	bool hold_connect;    /* connections are neither opened nor refused */
	uint32_t room;        /* bytes of output taken a turn */
	struct queue_envelope ask; /* binary, ret, envid of what is submitted */
	struct queue_rcpt ask_rcpt; /* notify, orcpt */
};

/* Host mx.example.net; example.net local with alice and bob; example.org by 198.18.0.1:2525, example.com by
 * 198.18.0.2:2525, "*" nothing. retry_min 300 s, retry_max 3600 s, expire 86400 s, 2 connections, 10 messages. */
void rig_init(struct rig *r);
void rig_fini(struct rig *r);
/* Ends queue and delivery and begins again from what the store holds. */
void rig_restart(struct rig *r);
/* n recipients; msg: the blob, a local-only line of its own in front. False: the commit failed. */
bool rig_submit(struct rig *r, const char *from, const char *const *rcpt, unsigned n, struct span msg);
void rig_run(struct rig *r);
void rig_time(struct rig *r, uint64_t us);
void rig_feed(struct rig *r, unsigned conn, struct span bytes);
void rig_eof(struct rig *r, unsigned conn);
void rig_drop(struct rig *r, unsigned conn, bool reset); /* the connection is gone */
/* What was said and not yet taken begins with that; takes it. */
bool rig_said(struct rig *r, unsigned conn, const char *text);

#endif
