/*
 * disk_faulty.h: a memory disk that remembers what was written and what was made stable, so that a test
 * can cut the power after any event, and that can fail the Nth call.
 */
#ifndef VEREDUS_DISK_FAULTY_H
#define VEREDUS_DISK_FAULTY_H

#include "disk_mem.h"

struct disk_faulty; /* pass it as disk_arg */

extern const struct disk_ops disk_faulty_ops;

/* Works over m, which the caller keeps. seed: the order in which requests complete. */
struct disk_faulty *disk_faulty_create(struct disk_mem *m, uint64_t seed);
void disk_faulty_destroy(struct disk_faulty **f);

/* ---- failing calls ---- */
enum disk_fault {
	DISK_FAULT_READ = 1,
	DISK_FAULT_WRITE = 2, /* blocking and asynchronous */
	DISK_FAULT_SYNC = 4,  /* sync, sync_dir; a synced write counts as a write */
	DISK_FAULT_NAME = 8   /* create, rename, unlink */
};
/* The nth call from now of the given kinds (1 = the next) and count-1 after it fail with err; nth 0 = none. A write that
 * fails has written a part of its bytes. */
void disk_faulty_fail(struct disk_faulty *f, unsigned kinds, uint64_t nth, uint64_t count, enum err err);
/* Calls of these kinds made so far. */
uint64_t disk_faulty_calls(const struct disk_faulty *f, unsigned kinds);
/* Requests come back in any order and late (default), or at once in order. */
void disk_faulty_set_reorder(struct disk_faulty *f, bool on);
/* From now on nothing becomes stable, though calls say so: the negative control of crash tests. */
void disk_faulty_set_lying(struct disk_faulty *f, bool on);

/* ---- cutting the power ---- */
/* Starts recording: what is on the disk now is stable. */
void disk_faulty_record(struct disk_faulty *f);
/* Events so far: every write, every sync, every change of a name. */
uint64_t disk_faulty_events(const struct disk_faulty *f);

enum disk_cut_mode {
	DISK_CUT_KEEP,    /* every write before the cut reached the disk */
	DISK_CUT_DROP,    /* only what was synced did */
	DISK_CUT_TORN,    /* the unsynced ones did in part: some of their 512-byte sectors */
	DISK_CUT_REORDER, /* some of the unsynced ones did, others, older or newer, did not */
	DISK_CUT_N
};
struct disk_cut; /* walks the record from its beginning */
struct disk_cut *disk_cut_begin(struct disk_faulty *f);
/* Takes the events before `event`; only forward. */
void disk_cut_advance(struct disk_cut *c, uint64_t event);
/* What a machine would find after a power cut there. The caller destroys it. */
struct disk_mem *disk_cut_image(struct disk_cut *c, enum disk_cut_mode mode, uint64_t seed);
void disk_cut_end(struct disk_cut **c);

#endif
