/* queue_int.h: what the files of queue/ share. */
#ifndef VEREDUS_QUEUE_INT_H
#define VEREDUS_QUEUE_INT_H

#include "check.h"
#include "list.h"
#include "map.h"
#include "queue_claim.h"
#include "spsc.h"

enum item_where {
	ITEM_COMMIT, ITEM_WAITING, ITEM_READY, ITEM_ACTIVE, ITEM_REMOVING, ITEM_PARKED
};

enum { BY_DUE, BY_EXPIRE };
#define NO_POS UINT32_MAX

/* About 200 bytes and the state (some 80 + its addresses); the body's slices while they are held. */
struct queue_item {
	struct list all;    /* q->items, or on its way: a commit's list, an outbox */
	struct list ready;  /* site->ready or q->removing */
	store_id id;
	uint64_t at_us[2];  /* BY_DUE, BY_EXPIRE */
	uint32_t pos[2];    /* in the heaps; NO_POS: in none */
	struct queue_site_key key;
	struct queue_site *site;
	struct store_blob blob;
	struct slices body; /* the whole message, or empty */
	uint8_t *state;
	uint32_t state_len;
	uint32_t pinned;    /* packets that body is charged with */
	uint16_t n_rcpt, tries;
	uint8_t where;      /* enum item_where */
	uint8_t released;   /* times in a row that it was claimed and nothing was tried */
};

/* A binary heap of items by at_us[by]. */
struct heap {
	struct queue_item **v;
	uint32_t n, cap;
	unsigned by;
};

enum pend_kind { PEND_SUBMIT, PEND_SETTLE, PEND_READ, PEND_REMOVE };

/* What a store operation under way will mean when it is done. */
struct pend {
	enum pend_kind kind;
	struct list items;     /* SUBMIT, SETTLE (a bounce): new ones; REMOVE: old ones */
	unsigned n_local;      /* deliveries into mailboxes */
	struct queue_job *job; /* SETTLE, READ */
	uint64_t due_us;       /* SETTLE */
	struct buf state;      /* SETTLE: empty = done */
};

#define MESH_RING 1024
#define RELEASE_MAX 3

struct queue {
	struct store_core *store;
	struct pkt_pool *pool;
	struct stat *stat;
	struct rnd *rnd;
	unsigned worker, n_workers;
	uint64_t wall_us;
	uint32_t retry_min_s, retry_max_s, expire_s;
	bool broken;           /* the store takes nothing more: no claims */
	struct list items;     /* all that are this worker's */
	uint64_t n_item, n_rcpt;
	struct heap due, expire;
	struct list round;     /* sites with ready items */
	unsigned n_round;
	struct map sites;      /* hash -> struct queue_site */
	struct map pend;       /* op -> struct pend */
	uint32_t pinned, pinned_max; /* packets held by bodies */
	struct list removing;  /* items that wait for a commit that removes them */
	unsigned n_remove_op;  /* such commits under way */
	struct list unsettled; /* jobs that wait for an op, or for room */
	uint64_t settle_after_us;
	struct list headless;  /* jobs that wait for an op to read with */
	struct list headed;    /* jobs whose head has been read */
	struct list settling;  /* jobs with an operation under way */
	struct spsc *in;       /* one a worker; NULL: alone */
	struct list *outbox;   /* one a worker: items that found the ring full */
	struct queue **all;
};

/* queue_item.c */
struct queue_item *item_new(store_id id, const struct store_blob *blob, uint64_t due_us, struct span state);
void item_free(struct queue *q, struct queue_item *it);
void item_state_set(struct queue_item *it, struct span state);
/* When it leaves the queue whatever its site does; without a pending recipient only a report is owed: when due. */
void item_expire_set(struct queue_item *it, const struct queue_state *st, uint64_t due_us);
void item_pin(struct queue *q, struct queue_item *it, const struct slices *body);
void item_unpin(struct queue *q, struct queue_item *it);

/* queue_order.c */
void heap_put(struct heap *h, struct queue_item *it);
void heap_del(struct heap *h, struct queue_item *it);
void item_wait(struct queue *q, struct queue_item *it, uint64_t due_us);
void item_ready(struct queue *q, struct queue_item *it, bool front);
void item_out(struct queue *q, struct queue_item *it); /* out of heaps and ready lists */
void order_turn(struct queue *q);

/* queue.c */
struct pend *pend_new(enum pend_kind kind);
void pend_add(struct queue *q, struct store_op *op, struct pend *p);
void pend_free(struct queue *q, struct pend *p);
void queue_adopt(struct queue *q, struct queue_item *it);
void hand_over(struct queue *q, struct list *items);
unsigned site_owner(const struct queue *q, const struct queue_site_key *key);

/* queue_settle.c */
void settle_turn(struct queue *q);
void settle_done(struct queue *q, struct pend *p, struct store_op *op);
void settle_read_done(struct queue *q, struct pend *p, struct store_op *op);
void remove_done(struct queue *q, struct pend *p, struct store_op *op);
void job_free(struct queue *q, struct queue_job *job);

#endif
