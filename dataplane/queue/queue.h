/*
 * queue.h: accepted mail that waits for delivery. One struct queue a worker; an item is one message for
 * one destination site and belongs to the worker that owns the site, so limits are exact without locks.
 *
 * submit: envelope + body -> one durable store commit -> items handed to their owners (also over the
 * mesh rings). The queue keeps due order and per-site state; delivery/ claims due items and says what
 * became of each recipient; every change of an item is a store commit before it counts.
 */
#ifndef VEREDUS_QUEUE_H
#define VEREDUS_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include "conf.h"
#include "err.h"
#include "ip.h"
#include "pkt.h"
#include "queue_row.h"
#include "rand.h"
#include "stat.h"
#include "store.h"

struct queue;

/* Where a site's mail goes. In the first form a static route: address and port. */
struct queue_site_key {
	struct ip_addr host;
	uint16_t port;
};

/* RFC 3461 4.1: when the sender wants to hear of a recipient; 0: not said (failures, and delays if we tell of them). */
#define QUEUE_NOTIFY_NEVER   0x01
#define QUEUE_NOTIFY_SUCCESS 0x02
#define QUEUE_NOTIFY_FAILURE 0x04
#define QUEUE_NOTIFY_DELAY   0x08
#define QUEUE_NOTIFY_ALL     0x0f
/* RFC 3461 4.3: what a report of failure is to hold of the message. */
enum queue_ret { QUEUE_RET_NONE, QUEUE_RET_HDRS, QUEUE_RET_FULL };

/* A recipient as the SMTP session resolved it at RCPT time (directory.h). */
struct queue_rcpt {
	struct span addr;   /* as given, "local@domain" */
	bool local;
	uint64_t acct;      /* local */
	struct queue_site_key site; /* not local */
	uint8_t notify;     /* QUEUE_NOTIFY_* */
	struct span orcpt;  /* checked, as given: type;xtext; empty: none */
};

struct queue_envelope {
	struct span from;   /* without <>; empty = null reverse path */
	uint64_t accepted_us; /* wall clock */
	struct span session; /* for logs: id of the session that took it */
	bool body_8bit;
	bool binary;        /* holds what only BDAT can carry: goes to hosts with BINARYMIME alone (RFC 3030 3) */
	uint8_t ret;        /* enum queue_ret */
	struct span envid;  /* checked, as given: xtext; empty: none */
	const struct queue_rcpt *rcpt;
	unsigned n_rcpt;
};

struct queue *queue_create(const struct conf *c, unsigned worker, unsigned n_workers, struct store_core *store,
			   struct pkt_pool *pool, struct stat *stat, struct rnd *rnd);
/* The worker has stopped and the store is still open: outcomes that waited for something are written down. */
void queue_stop(struct queue *q);
/* Uses the store no more. */
void queue_destroy(struct queue **q);
/* Connects the queues of all workers (mesh rings). Once, before the workers run. */
void queue_join(struct queue **all, unsigned n);

/* Fills op (verb COMMIT; op->blob set; op->body = the last part; earlier parts went by STORE_BODY) with the
 * blob, local deliveries (INBOX) and queue items, and marks it op->submit. body: a view of all the bytes
 * if they are still in memory (references are added, so that delivery need not read them back), or NULL.
 * The caller then calls store_submit. */
void queue_submit(struct queue *q, struct store_op *op, const struct queue_envelope *e, uint32_t relay_off,
		  uint32_t blob_flags, const struct slices *body);
/* The loop calls it for every completed op with op->submit set, before the session sees it, also when the
 * session is gone: on success the items go to their owners. Also takes the commits that delivery/ makes through this folder;
 * an op without an owner session (owner UINT32_MAX) is freed here. */
void queue_submitted(struct queue *q, struct store_op *op);

/* ---- for operators, run on the owner's worker ---- */
/* Calls fn for at most limit items that match; returns how many. Strings in rows are valid during the call. */
unsigned queue_list(struct queue *q, const struct queue_filter *f, unsigned limit,
		    void (*fn)(void *arg, const struct queue_row *), void *arg);
/* Makes matching items due now; returns how many. */
unsigned queue_retry(struct queue *q, const struct queue_filter *f);
/* Removes matching items that are not being delivered (store commits are submitted); returns how many. */
unsigned queue_remove(struct queue *q, const struct queue_filter *f);
void queue_counts(const struct queue *q, uint64_t *items, uint64_t *recipients);
/* Takes a page of the store's items at start-up (struct store_op of QSCAN, completed): keeps those whose
 * site this worker owns. */
void queue_load(struct queue *q, const struct store_qitem *items, unsigned n);

#endif
