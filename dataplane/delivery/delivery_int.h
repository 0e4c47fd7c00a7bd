/*
 * delivery_int.h: what the files of delivery/ share.
 *
 * A session's way (enum out_state; out_enter traces and sets the deadline):
 *
 *   NEW --out_open--> GREET --220--> EHLO --250--> (a job? ENVELOPE : IDLE)      EHLO --5xx--> HELO --250--> the same
 *   IDLE --session_give--> ENVELOPE --354--> BODY --all sent--> DOT --reply--> next: ENVELOPE | IDLE | QUIT
 *   ENVELOPE --no recipient left--> RSET --250--> next           ENVELOPE --354 all the same--> LONE_DOT --reply--> next
 *   IDLE --5 s--> QUIT --221, eof--> DEAD      any --eof, garbage, timeout, 421--> DEAD (job: deferred or given back)
 */
#ifndef VEREDUS_DELIVERY_INT_H
#define VEREDUS_DELIVERY_INT_H

#include "check.h"
#include "delivery.h"
#include "delivery_reply.h"
#include "list.h"
#include "mail_data.h"
#include "queue_claim.h"

enum out_state {
	OUT_NEW, OUT_GREET, OUT_EHLO, OUT_HELO, OUT_IDLE, OUT_ENVELOPE, OUT_BODY, OUT_DOT, OUT_LONE_DOT, OUT_RSET,
	OUT_QUIT, OUT_DEAD, OUT__N
};

/* A connection asked for and not yet standing. */
struct want {
	struct list node;
	struct queue_site *site;
};

struct delivery {
	struct proto_env *env;
	struct list wants;    /* to be opened */
	struct list opening;  /* given to the loop */
	struct list woken;    /* sessions that got a job in delivery_turn */
	uint64_t bounces_us;  /* monotonic: before it there were no packets for bounces */
};

struct out {
	struct session s;
	struct delivery *d;
	struct want *want;       /* until the connection stands */
	struct queue_site *site;
	struct list idle, woken; /* site->idle, d->woken */
	struct queue_job *job;
	enum out_state state;
	bool slow;               /* of site->n_slow */
	uint64_t slow_us, until_us; /* when an opening one becomes slow; when the peer's time is over */
	struct reply_caps caps;
	struct reply reply;      /* under way */
	unsigned n_job;          /* messages this connection was given */
	/* envelope: command 0 is MAIL, 1..n_rcpt RCPT, n_rcpt+1 DATA */
	unsigned sent, got, n_rcpt, n_accepted;
	uint8_t rcpt[QUEUE_ITEM_RCPT_MAX];     /* index in the job */
	bool accepted[QUEUE_ITEM_RCPT_MAX];
	bool some_452, mail_refused;
	bool bdat;               /* the message goes by BDAT: no DATA */
	/* body */
	uint64_t off;            /* of the blob: next byte to fetch */
	struct slices chunk;     /* fetched, being sent */
	unsigned chunk_i;
	bool reading, stalled;   /* a read is under way; waits for room to begin one */
	unsigned n_stall;        /* times in a row */
	struct mail_stuff stuff;
	uint8_t tail[2];
	unsigned n_tail;
};

/* delivery.c */
/* A try is over: outcomes are in job->st. Counts them, has a bounce made if one is due, writes it all down. */
void delivery_job_over(struct delivery *d, struct queue_job **job);
/* The same outcome for all recipients still pending. */
void job_fail(struct queue_job *job, struct span text);
void job_defer(struct queue_job *job, struct span text);
/* No new connection to the site for a while. */
void delivery_site_hold(struct delivery *d, struct queue_site *site, struct span text);
/* A connection to the site could not be made usable. */
void delivery_site_failed(struct delivery *d, struct queue_site *site, bool for_good, struct span text);
void delivery_site_works(struct queue_site *site);
/* The next job for a session of that site, or NULL. */
struct queue_job *delivery_next_job(struct delivery *d, struct queue_site *site);

/* delivery_smtp.c */
void out_give(struct out *o, struct queue_job *job); /* idle session gets a job; the loop must call its input */
void out_enter(struct out *o, enum out_state state);
void out_wait(struct out *o); /* the state's time begins anew */
void out_lost(struct out *o, struct span why);

/* delivery_body.c */
void body_begin(struct out *o);
void body_pump(struct out *o); /* sends until the output is full, data is missing or all is sent (enters DOT) */
void body_read_done(struct out *o, struct store_op *op);
void body_end(struct out *o);

/* delivery_bounce.c */
/* Where a report on this job goes; false: nowhere. */
bool bounce_route(const struct proto_env *env, struct queue_job *job);
/* False: no packets now. */
bool bounce_make(const struct proto_env *env, struct queue_job *job);

#endif
