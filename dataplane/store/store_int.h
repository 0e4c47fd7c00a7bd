/*
 * store_int.h: what the files of store/ share: the store, its segments, groups and ops.
 *
 * Disk format (all little-endian). A store is a directory of segment files seg-NNNNNN, a checkpoint, a lock.
 * Segment: block 0 is its header, then groups up to the first that is none. Group: 4 KiB-aligned, header of
 * 64 bytes, records, zeros to the block's end; written by one synced write, whole or not at all. Record:
 * 16 bytes {len, type, 0, lsn}, data, zeros to a multiple of 8. Groups carry consecutive numbers (seq) over all
 * segments and the checksum of the one before (chain). Each also says up to which group all was durable
 * when it was written (durable): that tells damage (a group is bad that a later one knows as durable)
 * from the normal end of a log after a power cut (the bad group was still in flight).
 * Body bytes are not under the group's checksum but under their extent's, which is.
 */
#ifndef VEREDUS_STORE_INT_H
#define VEREDUS_STORE_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include "disk.h"
#include "list.h"
#include "pool.h"
#include "rand.h"
#include "spsc.h"
#include "store.h"
#include "store_apply.h"
#include "store_index.h"

#define STORE_VERSION      2u /* 1: without REC_MOVED */
#define SEGMENT_MAGIC      0x3167657365726576ull /* "veresegl" */
#define GROUP_MAGIC        0x70726776u           /* "vgrp" */
#define CHECKPOINT_MAGIC   0x3174706b63726576ull
#define GROUP_HEADER       64u
#define RECORD_HEADER      16u
#define BODY_HEADER        24u
#define GROUP_CLOSE        (256u << 10) /* bytes at which a group is full */
#define GROUP_CAP          (1u << 20)   /* bytes that the largest op needs */
#define GROUP_SLOTS        8u           /* buffers: open, in flight, and the last ones for reads */
#define FLIGHT_MAX         4u
#define SEGMENT_MIN        (2u << 20)   /* unless configured smaller, as tests do */
#define SEGMENTS_WANTED    8u           /* that the space should give */
#define TX_MAX             (512u << 10)
#define PART_MAX           (256u << 10) /* bytes of one body part, of one read */
#define SPARE_SEGMENTS     4u           /* written with zeros ahead of their use */
#define THREAD_CORE        255u         /* the storage thread in a store_id */
#define RESULT_BYTES       28u          /* of one result in the log */
#define COMMIT_HEADER      40u
#define PART_KEEP_US       3600000000ull /* parts of a message that never came to its end are dropped after it */
#define RETRY_US           1000000ull    /* after a failed try to get disk space */

/* MOVED: as BODY, of bytes that stood elsewhere before. */
enum record_type { REC_BODY = 1, REC_COMMIT, REC_BOOT, REC_RECENT, REC_MOVED };

static inline uint32_t align_up(uint32_t n, uint32_t to)
{
	return (n + to - 1) / to * to;
}

/* ---- segments ---- */

enum seg_state { SEG_NONE, SEG_FREE, SEG_CURRENT, SEG_FULL };

struct seg {
	struct disk_file *file;
	enum seg_state state;
	uint32_t size;
	uint64_t generation;
	uint64_t first_seq, end_seq; /* groups in it; end: the last */
	uint32_t pins;               /* reads in flight */
	uint64_t moved_in;           /* bytes that collection moved here */
	uint64_t sealed_live;        /* live bytes when it was full */
	uint64_t gc_after_us;        /* collection found something that it must leave, and looks again then */
};

struct seg_header {
	uint64_t magic, generation, first_seq, first_lsn;
	uint32_t version, slot, chain, crc;
};

/* ---- groups ---- */

struct group_header {
	uint32_t magic, crc; /* of the header with crc 0 */
	uint64_t generation, seq, durable, first_lsn;
	uint32_t bytes;      /* header and records */
	uint32_t records;
	uint32_t meta_crc;   /* of all records but body bytes */
	uint32_t chain;      /* crc of the group before */
	uint64_t zero;
};

enum group_state { GROUP_NONE, GROUP_OPEN, GROUP_FLIGHT, GROUP_DONE };

struct group {
	uint8_t *buf;        /* GROUP_CAP + 2 blocks, block-aligned */
	enum group_state state;
	uint32_t start;      /* of the group header in buf: DISK_BLOCK behind a segment header, else 0 */
	uint32_t len;        /* bytes used in buf */
	uint32_t seg, off;   /* where buf[0] goes */
	uint32_t records, meta_crc;
	uint64_t seq, first_lsn, begin_us;
	struct disk_req req;
};

/* ---- ops ---- */

struct store_read;
struct pub_change;

struct op_int {
	struct store_op op; /* first */
	struct op_int *next;
	uint64_t need_seq;  /* completes when this group is durable */
	uint32_t index;
	bool in_use, cancel_sent; /* the core's */
	struct list watch;
	struct store_read *read;
	struct pub_change *pub;
};

struct op_list {
	struct op_int *head, *tail;
};
void op_list_push(struct op_list *l, struct op_int *o);
struct op_int *op_list_pop(struct op_list *l);

struct store_core {
	/* the user thread's */
	struct store *s;
	uint32_t id;
	struct pool pool;
	unsigned pending;
	uint64_t next_id, unsent_bytes;
	bool unsent, urgent;
	struct spsc sub, done;
	/* the storage thread's */
	uint8_t *watching; /* by op index */
	bool news;         /* ops were put in `done` in this turn */
};

/* ---- helper threads ---- */

enum job_state { JOB_IDLE, JOB_RUNNING, JOB_DONE };

struct job {
	struct store *s;
	void (*run)(struct job *j); /* blocking; touches only what belongs to the job */
	atomic_int state;
	pthread_t thread;
	enum err err;
	/* zeroing */
	uint32_t slot;
	struct disk_file *file;
	/* checkpoint */
	struct buf buf;
	uint64_t seq;
};

#define FLUSH_BUCKETS 256u

struct store_gauges { /* struct store_stats, readable from any thread */
	_Atomic uint64_t groups, group_bytes, records, flush_us_sum, flush_us_max;
	_Atomic uint64_t flush_us[FLUSH_BUCKETS]; /* store_log.c: eight to an octave */
	_Atomic uint64_t segments, segments_free, live_bytes, dead_bytes, blobs, queue_items, accounts, messages;
	_Atomic uint64_t recovered_records, recovered_us, cpu_ns, disk_free;
	atomic_bool failed, full;
};

struct gc { /* store_gc.c */
	uint32_t victim;            /* slot that is emptied, UINT32_MAX = none */
	uint8_t *win;               /* GC_WINDOW bytes of it */
	uint32_t win_off, win_len;
	uint32_t at, rec;           /* group worked on, in the window; next record in it, 0 = not begun */
	uint64_t seq;               /* of the group before */
	uint32_t chain;
	bool first, reading, wanted, stop; /* wanted: somebody waits for the room */
	struct group_header head;
	store_id blob;              /* of the last record that was moved, and which extent of it */
	uint32_t ext;
	struct disk_req req;
	int64_t credit;             /* bytes that may be moved under load */
	uint64_t open_bytes;        /* moved into the open group */
	uint64_t looked_seq;
};

struct shard; /* published accounts; store_account.c */
#define ACCOUNT_SHARDS 1024u

struct store {
	struct store_conf conf;
	struct disk *disk;
	struct index ix;
	struct batch batch;
	struct store_core *core;
	struct rnd rnd;
	uint16_t boot;
	store_id oid_next;
	bool failed, threaded, full, attached, rcu_pending;
	bool look_only;      /* store_check: recovery changes nothing on the disk */
	/* segments */
	struct seg *seg;
	uint32_t n_seg, cap_seg, n_free;
	uint32_t cur;        /* slot being written, UINT32_MAX = none */
	uint32_t cur_off;    /* where its next group goes */
	uint64_t seg_bytes;
	bool reclaim;        /* a segment may have become free */
	struct job zero;
	uint64_t zero_retry_us, disk_free, space_check_us;
	bool low;            /* the file system has less than free_min free */
	/* log */
	struct group group[GROUP_SLOTS];
	struct group *open;
	uint32_t n_flight;
	uint64_t seq_next;   /* of the next group to open, or the open one */
	uint64_t seq_closed, durable, lsn;
	uint32_t chain;
	struct op_list wait; /* by rising need_seq */
	struct gc gc;
	/* checkpoint */
	struct job ckpt;
	bool ckpt_want, ckpt_ready; /* ready: serialised, waits for its groups to be durable */
	uint64_t ckpt_seq, since_ckpt, ckpt_retry_us, ckpt_bytes;
	/* ops */
	struct op_int *held;     /* could not go on for want of room */
	struct op_int *current;  /* whose mutations are being applied */
	struct op_list read_wait;
	uint32_t reads;          /* disk reads in flight */
	store_id *scan;          /* sorted ids of a QSCAN in progress */
	uint32_t n_scan;
	/* publication */
	_Atomic(struct shard *) shard[ACCOUNT_SHARDS];
	/* thread */
	pthread_t thread;
	atomic_int sleeping; /* enum sleep_state */
	atomic_bool stop;
	struct store_gauges g;
};

enum sleep_state { AWAKE, ASLEEP_IDLE, ASLEEP_FLIGHT };

/* store.c */
/* The opened directory and an empty index; what recover() fills. */
enum err store_make(struct store **out, const struct store_conf *conf, char *why, size_t why_size);
void store_free(struct store *s);
uint64_t store_wall_us(const struct store *s);
/* The op is done: hands it back. */
void op_complete(struct store *s, struct op_int *o, enum err e);
/* The op is done once group seq is durable. */
void op_complete_at(struct store *s, struct op_int *o, enum err e, uint64_t seq);
/* A write failed: nothing is promised any more. */
void store_fail(struct store *s, const char *what, enum err e);
void job_start(struct store *s, struct job *j);
/* True once, when the job came to its end. */
bool job_finished(struct store *s, struct job *j);
void job_wait(struct job *j);

/* For whom room is made, and how many free segments must stay: the last for what gives room back, the one before
 * for collection, which needs a place to move to. */
enum log_for { LOG_SHRINK, LOG_GC, LOG_GROWTH };

/* store_segment.c */
void seg_name(char out[DISK_NAME_MAX + 1], uint32_t slot);
struct seg *seg_add(struct store *s, uint32_t slot, struct disk_file *f, enum seg_state state);
/* A free one that takes a group of need bytes, or UINT32_MAX. (They differ in size when the configuration changed.) */
uint32_t seg_free_find(const struct store *s, uint32_t need);
/* It becomes the current; its header goes into block. false: there is none. */
bool seg_next(struct store *s, uint32_t need, uint8_t block[DISK_BLOCK]);
void seg_header_write(const struct store *s, uint32_t slot, uint8_t block[DISK_BLOCK]);
bool seg_header_read(const uint8_t block[DISK_BLOCK], uint32_t slot, struct seg_header *out);
/* Frees what is dead; keeps spares coming. True if it did something. */
bool seg_turn(struct store *s);
/* More room may come: zeroing or a checkpoint runs or was started. end: the current segment is at its end. */
bool seg_press(struct store *s, enum log_for what, bool end);

/* store_log.c */
enum log_room { LOG_OK, LOG_WAIT, LOG_FULL, LOG_TOO_LONG };
void log_fini(struct store *s);
/* Makes the open group one that takes need bytes of records. */
enum log_room log_reserve(struct store *s, uint32_t need, enum log_for what);
static inline uint32_t record_bytes(uint64_t len)
{
	return RECORD_HEADER + align_up((uint32_t)len, 8);
}
/* Both after log_reserve. Data of the record, in place: fill it, then log_record_end. */
uint8_t *log_record_begin(struct store *s, enum record_type type, uint32_t len);
void log_record_end(struct store *s, uint32_t len);
void log_body(struct store *s, store_id blob, uint64_t off, const struct slices *body, struct extent *out);
/* A MOVED record of len bytes at p, whose checksum is crc. */
void log_moved(struct store *s, store_id blob, uint64_t off, const uint8_t *p, uint32_t len, uint32_t crc,
	       struct extent *out);
/* Writes the open group, if it holds a record and may fly. */
void log_close(struct store *s);
void log_written(struct store *s, struct disk_req *r);
/* Microseconds within which so many in a thousand of all flushes came back. */
uint64_t log_flush_us(const struct store *s, unsigned per_mille);
/* The group that holds the newest change. */
uint64_t log_seq(const struct store *s);
/* Bytes of an extent that are still in a group's memory, or NULL. */
const uint8_t *log_bytes(const struct store *s, const struct extent *e, uint64_t *seq);

/* store_commit.c; false: must wait for room */
bool commit_op(struct store *s, struct op_int *o);
bool body_op(struct store *s, struct op_int *o);
void commit_boot(struct store *s);
/* The records again, at start. ERR_CORRUPT when they do not fit the index. */
enum err replay_record(struct store *s, uint8_t type, struct span data, uint32_t seg, uint32_t data_off);

/* store_view.c: everything that only looks */
bool view_op(struct store *s, struct op_int *o); /* false: must wait for room */
void view_changed(void *arg, struct folder *f, bool gone);
void view_cancel(struct store *s, struct op_int *o);
void view_close(struct store *s); /* ends all watches */

/* store_read.c */
void read_op(struct store *s, struct op_int *o);
void store_read_done(struct store *s, struct disk_req *r);
void read_more(struct store *s);

/* store_gc.c */
void gc_fini(struct store *s);
/* idle: nothing else is under way. True if it did something. */
bool gc_turn(struct store *s, bool idle);
void gc_read_done(struct store *s);
/* Somebody waits for room: true if collection may give some. */
bool gc_press(struct store *s);
/* Whole bytes of a group that is being closed: load earns collection its share. */
void gc_earn(struct store *s, uint32_t bytes);

/* store_account.c */
void account_publish(void *arg, const struct account *a, enum index_pub what);
void account_published(struct store *s, struct op_int *o); /* the op is durable */
void account_discard(struct op_int *o);
void account_init(struct store *s); /* all of the index */
void account_fini(struct store *s);

/* store_checkpoint.c */
bool checkpoint_turn(struct store *s);
void checkpoint_encode(struct store *s, struct buf *out);
struct checkpoint_pos {
	uint64_t seq, lsn, generation;
	uint32_t slot, off, chain;
	uint16_t boot;
};
/* Fills the (empty) index. ERR_CORRUPT, ERR_UNSUPPORTED (newer format). */
enum err checkpoint_decode(struct store *s, struct span in, struct checkpoint_pos *pos);

/* store_recover.c */
enum err recover(struct store *s, char *why, size_t why_size);
/* Reads the group at p; the records' layout is checked, not their meaning; bodies: their checksums, too. ERR_MORE: there
 * is none; ERR_CORRUPT: not whole. */
enum err group_parse(const uint8_t *p, size_t len, bool bodies, struct group_header *out);
bool group_head_read(const uint8_t *p, struct group_header *out);
struct record {
	uint8_t type;
	uint32_t off; /* of the data, from the group's header */
	struct span data;
};
/* The record at *off of a group of so many bytes; false when it does not fit. */
bool record_next(const uint8_t *p, uint32_t bytes, uint32_t *off, struct record *out);

#endif
