/*
 * queue_claim.h: the queue as delivery/ sees it: sites, claimed items ("jobs") and what became of them.
 *
 * An item's way (queue_item.where):
 *   COMMIT --submitted--> WAITING --due--> READY --claim--> ACTIVE --settle, commit--> gone | WAITING
 *   ACTIVE --release--> READY        WAITING|READY --expired--> ACTIVE       WAITING|READY --remove--> REMOVING
 *   ACTIVE --commit failed--> PARKED (the store takes nothing more until the process starts again)
 * Times here are wall clock, us: due times outlive the process.
 * A job is made by a claim, belongs to delivery until queue_settle or queue_release takes it back.
 */
#ifndef VEREDUS_QUEUE_CLAIM_H
#define VEREDUS_QUEUE_CLAIM_H

#include "arena.h"
#include "list.h"
#include "queue.h"
#include "queue_state.h"

struct queue_item;

struct queue_site {
	struct queue_site_key key;
	char name[IP_STR_MAX + 8]; /* "host:port", "[host]:port" */
	struct queue_site *next;   /* same hash */
	struct list ready;         /* items that are due, first come first */
	struct list turn;          /* in the queue's round of sites that have some */
	unsigned n_ready, n_item;
	/* delivery's */
	struct list idle;          /* sessions that could take an item now */
	unsigned n_conn, n_opening; /* connections there are; of these not yet through the greeting, */
	unsigned n_slow;            /*   and not counted there any more, for they take too long */
	uint64_t hold_us;          /* no new connection before; 0 = none */
	bool down;                 /* because the last one failed */
	char last[128];            /* what the last failed connection ended with */
};

struct queue_bounce {
	bool made;
	struct slices body;
	uint32_t relay_off, flags;
	char to[QUEUE_ADDR_MAX + 1];
	struct queue_rcpt rcpt; /* addr points to .to */
};

struct queue_job {
	struct list node;
	struct queue_item *item;
	struct queue_site *site;
	store_id id;
	struct store_blob blob;
	struct queue_state st;  /* spans point into the item's own bytes or into mem */
	struct arena mem;       /* replies */
	unsigned n_pending;     /* at the claim */
	bool expired;
	bool soon;              /* what is pending may be tried again at once: others of it got through */
	struct buf head;        /* the beginning of the message as it would be relayed, for a bounce */
	struct queue_bounce bounce;
	enum queue_rcpt_state report; /* of whom the report tells; PENDING: there is none */
	bool forget;            /* of those no (further) word to the sender is needed */
};

/* Once a turn, before claims: takes what other workers handed over, moves items that are due, does what had
 * to wait for the store. Takes the times of retry from c. */
void queue_turn(struct queue *q, const struct conf *c, uint64_t wall_us);
/* Earliest wall time at which queue_turn has something to do, or an item's time is over; UINT64_MAX = never. Items that
 * are due already do not count: see queue_site_after. */
uint64_t queue_next_us(const struct queue *q);

/* The next site in the round that has items due (each call goes one further); NULL if there is none. n_sites_ready
 * calls see each of them once. */
struct queue_site *queue_site_round(struct queue *q);
/* The same sites without moving on: the first (site NULL), or the one behind site; NULL at the end. */
struct queue_site *queue_site_after(const struct queue *q, const struct queue_site *site);
bool queue_broken(const struct queue *q); /* the store failed: claims give nothing until the program starts again */
unsigned queue_sites_ready(const struct queue *q);
struct queue_site *queue_site_get(struct queue *q, const struct queue_site_key *key);
/* The site's next due item; NULL: none, or no outcome could be written down now (store failed). */
struct queue_job *queue_claim(struct queue *q, struct queue_site *site);
/* An item whose time is over (job->expired), or that owes only a report, whatever its site does; NULL: none. */
struct queue_job *queue_claim_expired(struct queue *q);
/* Bytes of the body that are in memory, all of it, or NULL: read the store. */
const struct slices *queue_job_body(const struct queue_job *job);

/* Nothing was tried: back to the front. False (and the job is still the caller's) when that happened too often. */
bool queue_release(struct queue *q, struct queue_job **job);
/* Asks for job->head; the job comes back by queue_headed (at once if the body is in memory; empty if it cannot be read). */
void queue_read_head(struct queue *q, struct queue_job **job);
struct queue_job *queue_headed(struct queue *q);
void queue_headed_later(struct queue *q, struct queue_job **job); /* no packets for its report now: back again */
bool queue_headed_any(const struct queue *q);
#define QUEUE_HEAD_MAX 16384
/* Writes down what became of st.rcpt, with the bounce, in one commit. Pending ones are tried again later. Those in
 * the state job->report are over if a bounce was made or forget is set. Takes the job; never lost: tried again while the
 * store has no room for the op. */
void queue_settle(struct queue *q, struct queue_job **job);

#endif
