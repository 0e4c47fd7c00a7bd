/*
 * store.h: blobs, mailboxes, accounts and queue records, durable in one log per storage thread.
 *
 * Workers never wait: they fill an op, submit it, and find it in store_poll() when it is done. The
 * storage thread alone changes state, so everything is ordered without locks: it takes ops in the order
 * of each ring, applies mutations to its index, writes them in groups (one flush a group), and completes
 * ops strictly in order, each only when everything it could have seen is durable. (READ comes back when its
 * bytes are there, LOCK and UNLOCK at once, WATCH when it has cause.)
 *
 * Invariants: 1. an op that completes ERR_OK is on stable storage; 2. a reader never sees what a power
 * cut could take back; 3. UIDs rise and are never used again, also over a crash; modseq never goes back;
 * 4. one body however many entries and queue items refer to it; 5. after a failed write or flush the
 * store refuses everything with ERR_IO until the process starts again: no retry, no false 250;
 * 6. out of space: ops that grow the store get ERR_NO_SPACE before anything was changed; expunge,
 * delete and queue-done still work from a reserve.
 */
#ifndef VEREDUS_STORE_H
#define VEREDUS_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include "buf.h"
#include "err.h"
#include "nap.h"
#include "pkt.h"
#include "rcu.h"
#include "span.h"
#include "stat.h"

struct store;      /* the process's store and its storage thread */
struct store_core; /* one user thread's door: workers 0..n-1, control n */

/* {boot 16 bits, core 8 bits, sequence 40 bits}: made by any core without asking, never used twice. 0 = none. */
typedef uint64_t store_id;

#define STORE_INBOX 1u /* folder id of INBOX in every account */

enum store_flag {
	STORE_SEEN = 1, STORE_ANSWERED = 2, STORE_FLAGGED = 4, STORE_DELETED = 8, STORE_DRAFT = 16
};

/* One message in a folder. */
struct store_ent {
	uint32_t uid;
	uint32_t flags;   /* enum store_flag */
	uint64_t modseq;
	uint64_t kw;      /* bit i = keyword i of the folder's table */
	store_id oid;     /* this entry, for ever: kept by MOVE, new for COPY; POP3's UIDL */
	store_id blob;
	uint32_t size;    /* bytes of the whole blob = RFC822.SIZE */
	int64_t idate_s;  /* INTERNALDATE, seconds since 1970 */
};

struct store_folder {
	uint32_t id;
	uint32_t uidvalidity, uidnext;
	uint32_t exists, unseen, recent, deleted;
	uint64_t modseq;  /* highest */
	uint64_t bytes;
	bool subscribed;
	bool noselect;    /* only a name above others */
	char *name;       /* UTF-8, '/' as separator, in the view's memory */
};

/* Blob facts that travel with entries and queue items. */
struct store_blob {
	store_id id;
	uint32_t size;      /* all bytes */
	uint32_t relay_off; /* bytes of local-only headers (Return-Path) in front that a relay leaves out */
	uint32_t flags;     /* enum store_blob_flag */
};
enum store_blob_flag {
	STORE_BLOB_DOTS = 1, /* some line begins with '.': SMTP/POP3 must stuff; else send verbatim */
	STORE_BLOB_8BIT = 2,
	STORE_BLOB_NO_CRLF_END = 4 /* the last line lacks its CRLF */
};

enum store_verb {
	STORE_BODY,     /* write a part of a blob's bytes; nothing refers to it yet */
	STORE_COMMIT,   /* apply the op's mutations as one atomic batch, with an optional last body part */
	STORE_READ,     /* bytes of a blob */
	STORE_SYNC,     /* a folder's entries, all or those changed since a modseq */
	STORE_FOLDERS,  /* an account's folders by name; also subscribed names without one: id 0, noselect */
	STORE_WATCH,    /* completes when the folder's modseq is above op->since (or cancelled: ERR_CLOSED) */
	STORE_LOCK,     /* POP3's exclusive use of an account: ERR_BUSY if held */
	STORE_UNLOCK,   /* by the same core, owner and owner_gen as the LOCK; from any other it does nothing (a session
	                   that ends with its LOCK under way sends UNLOCK behind it, whatever became of that) */
	STORE_ACCOUNTS, /* list accounts, in pages */
	STORE_QSCAN,    /* list queue items, in pages */
	STORE_VERB_N
};

/* What STORE_SYNC and STORE_FOLDERS return; one malloc'ed block, freed with the op. */
struct store_view {
	struct store_folder folder; /* SYNC */
	bool full;                  /* SYNC: since was too old (or 0): ent holds everything, gone nothing */
	uint32_t recent_from;       /* SYNC with claim_recent: UIDs from here on are \Recent for this session */
	uint32_t n_ent, n_gone, n_kw, n_folder;
	struct store_ent *ent;      /* by rising UID */
	uint32_t *gone;             /* expunged UIDs since, rising */
	char **kw;                  /* names of keyword bits 0..n_kw-1 */
	struct store_folder *folders;
};

struct store_account {
	uint64_t id;
	char name[256]; /* user@domain, lower case */
	char pass[160]; /* crypt(3) hash */
};

struct store_qitem {
	store_id id;
	uint64_t due_us;        /* wall clock */
	struct store_blob blob;
	struct span state;      /* what queue/ wrote: envelope and progress */
};

/* Result of one mutation, in the order they were added. */
struct store_result {
	uint32_t uid;     /* DELIVER: assigned; COPY/MOVE: first assigned (consecutive, in rising source UID order) */
	uint32_t n;       /* COPY/MOVE/EXPUNGE/FLAGS: entries concerned */
	uint64_t modseq;  /* of the folder after it */
	uint64_t id;      /* ACCOUNT_ADD: account; FOLDER_CREATE: folder */
	uint32_t uidvalidity; /* of the destination folder */
};

struct store_op {
	/* set by store_op_new */
	struct store_core *core;
	enum store_verb verb;
	uint32_t owner, owner_gen; /* session index and generation; owner UINT32_MAX: none */
	void *user;                /* the submitter's, untouched */
	/* in */
	uint64_t acct;
	uint32_t folder;
	bool claim_recent;
	uint64_t since;            /* SYNC, WATCH: modseq; pages: after this id */
	store_id blob;
	uint64_t off, len;         /* READ: len <= 256 KiB; BODY: off */
	struct slices body;        /* BODY, COMMIT: bytes to write (taken) */
	struct buf tx;             /* COMMIT: encoded mutations, by store_tx_* */
	uint32_t n_mut;
	bool submit;               /* COMMIT made by queue_submit: the loop hands it to queue/ first */
	/* out */
	enum err err;
	struct slices data;        /* READ: the bytes */
	struct store_view *view;   /* SYNC, FOLDERS */
	struct store_result *res;  /* COMMIT: n_mut results */
	struct store_account *accounts; uint32_t n_accounts; /* ACCOUNTS */
	struct store_qitem *items; uint32_t n_items;         /* QSCAN */
	uint64_t blob_live;        /* private */
	void *priv[4];             /* the store's own links */
};

/* One op from the core's pool; NULL when none is left (answer 4xx). Freed by its owner after completion:
 * drops slices, view, results. */
struct store_op *store_op_new(struct store_core *c, enum store_verb verb, uint32_t owner, uint32_t owner_gen);
void store_op_free(struct store_op **op);
/* Hands the op over; it comes back through store_poll exactly once. Never fails: the ring has room for
 * every op of the pool. */
void store_submit(struct store_core *c, struct store_op *op);
/* Finished ops, at most max. Wakes the storage thread if ops were submitted since the last call. */
unsigned store_poll(struct store_core *c, struct store_op **out, unsigned max);
/* Makes a pending WATCH complete soon with ERR_CLOSED (or normally if it just did). */
void store_watch_cancel(struct store_core *c, struct store_op *watch);
/* Ops submitted and not yet returned by store_poll. */
unsigned store_pending(const struct store_core *c);

store_id store_id_new(struct store_core *c);

/* Mutations: each appends to op->tx (verb COMMIT) and counts in op->n_mut. At most 4096 and 512 KiB in one batch; a
 * folder's create, delete or rename stands alone but for subscriptions, an account's alone, and a queue item comes up
 * once (ERR_UNSUPPORTED): all of a batch is checked against the state before it. A batch is applied whole or
 * not at all: the first that fails gives op->err and nothing is changed. */
/* The blob op->blob is complete with op->body as its last part (may be empty if all parts were sent by BODY); op->off: bytes
 * sent by BODY before (ERR_STALE if they are not all there). Comes first in the batch. When it fails, the parts are
 * dropped; parts that nothing completes within an hour are, too. */
void store_tx_blob(struct store_op *op, store_id blob, uint32_t relay_off, uint32_t flags);
/* kws: NUL-free names separated by one space; may be empty. NOT_FOUND: no such account, folder or blob. */
void store_tx_deliver(struct store_op *op, uint64_t acct, uint32_t folder, store_id blob, uint32_t flags,
		      struct span kws, int64_t idate_s);
enum store_flag_mode { STORE_FLAGS_SET, STORE_FLAGS_ADD, STORE_FLAGS_DEL };
/* ranges: n pairs lo,hi of UIDs (hi UINT32_MAX = to the end). Unknown keywords are made (TOO_MANY over 64). */
void store_tx_flags(struct store_op *op, uint64_t acct, uint32_t folder, const uint32_t *ranges, unsigned n,
		    enum store_flag_mode mode, uint32_t flags, struct span kws);
/* only_deleted: just those that carry \Deleted. */
void store_tx_expunge(struct store_op *op, uint64_t acct, uint32_t folder, const uint32_t *ranges, unsigned n,
		      bool only_deleted);
void store_tx_copy(struct store_op *op, uint64_t acct, uint32_t src, uint32_t dst, const uint32_t *ranges,
		   unsigned n, bool move);
/* name: UTF-8 with '/'. EXISTS, NOT_FOUND, DENIED (INBOX), TOO_LONG. Create makes the names above it too. */
void store_tx_folder_create(struct store_op *op, uint64_t acct, struct span name);
void store_tx_folder_delete(struct store_op *op, uint64_t acct, struct span name);
/* With everything below it. Renaming INBOX moves its messages into the new folder (RFC 3501 6.3.5). */
void store_tx_folder_rename(struct store_op *op, uint64_t acct, struct span from, struct span to);
/* Subscriptions are names; one may be subscribed that does not exist. */
void store_tx_subscribe(struct store_op *op, uint64_t acct, struct span name, bool on);
void store_tx_account_add(struct store_op *op, struct span name, struct span pass);
void store_tx_account_pass(struct store_op *op, struct span name, struct span pass);
void store_tx_account_remove(struct store_op *op, struct span name); /* its mail too */
void store_tx_qput(struct store_op *op, store_id item, store_id blob, uint64_t due_us, struct span state);
void store_tx_qset(struct store_op *op, store_id item, uint64_t due_us, struct span state);
void store_tx_qdone(struct store_op *op, store_id item);

/* Synchronous, without a lock, from any worker between two quiescent points. */
bool store_account_find(const struct store *s, struct span name, struct store_account *out);

/* Rules that a test has broken on purpose, to see that the check of them fails. */
enum store_break {
	STORE_BREAK_FLUSH = 1, /* groups are written without a flush */
	STORE_BREAK_CHAIN = 2, /* replay does not ask whose successor a group is */
	STORE_BREAK_REUSE = 4  /* segments are used again before it is safe */
};

/* Set-up, by the control thread. */
struct store_conf {
	const char *path;
	unsigned n_cores;        /* workers + 1 for control */
	unsigned ops_per_core;   /* [4096] */
	uint64_t segment_size;   /* [64 MiB]; less (not below 2 MiB) where there is little room. 4 KiB multiple */
	uint64_t size_max;       /* bytes of segments; 0 = until the file system is full */
	uint64_t free_min;       /* refuse growth when the file system has less free (looked at once a second); keep some:
	                            a checkpoint needs room, too */
	int cpu;                 /* pin the storage thread; -1 = no */
	const struct disk_ops *disk; /* NULL = io_uring */
	void *disk_arg;
	struct pkt_pool *big;    /* for reads */
	struct rcu *rcu;
	struct nap *nap;         /* one for each core: cut short when an op of it is done; NULL = no one naps */
	uint64_t checkpoint_bytes;   /* log between two checkpoints [256 MiB] */
	struct stat *stat;           /* counters of the storage thread; NULL = none */
	uint64_t (*wall_us)(void *); /* NULL = the system's clock; tests pass their own */
	void *wall_arg;
	unsigned breaks;             /* enum store_break; 0 but in negative controls */
};
/* Opens or creates; replays the log; reports damage: ERR_CORRUPT with one line in why (which file, where).
 * A segment that is damaged in the middle is never served: the start stops. */
enum err store_open(struct store **out, const struct store_conf *c, char *why, size_t why_size);
/* Runs the storage thread, or, for tests, one turn of it by the caller. */
enum err store_start(struct store *s);
bool store_step(struct store *s); /* true if it did something */
/* Finishes what was submitted, writes a checkpoint, ends the thread, closes. */
void store_close(struct store **s);
struct store_core *store_core(struct store *s, unsigned core);

/* Looks at everything that is on the disk and in use, changes nothing, and needs the store for itself: each segment's
 * header and groups (chain, checksums of records and bodies, zeros between them), the checkpoint, the log behind it, and
 * what the index says of itself. found: called with a line for each thing that is wrong; percent: as it goes on, may
 * be NULL. ERR_OK when nothing is wrong; ERR_CORRUPT; else it could not look, and why says it (ERR_BUSY: a process has the store). */
struct store_check {
	uint64_t segments, groups, records, bodies, bytes; /* looked at */
	uint64_t accounts, messages, items, blobs;
	uint64_t found;
};
struct store_check_ops {
	void (*found)(void *arg, const char *line);
	void (*percent)(void *arg, unsigned percent);
	void *arg;
};
enum err store_check(const struct store_conf *c, const struct store_check_ops *ops, struct store_check *out, char *why,
		     size_t why_size);

struct store_stats {
	uint64_t groups, group_bytes, records, flush_us_sum, flush_us_max;
	uint64_t flush_us_p50, flush_us_p90, flush_us_p99; /* of all flushes, within an eighth */
	uint64_t segments, segments_free, live_bytes, blobs, queue_items, accounts, messages;
	uint64_t dead_bytes; /* of full segments: all that collection could give back */
	uint64_t recovered_records, recovered_us, cpu_ns; /* of the storage thread */
	uint64_t disk_free;
	bool failed, full;
};
void store_stats(struct store *s, struct store_stats *out);

#endif
