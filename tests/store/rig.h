/*
 * rig.h: a store on a test disk, driven by hand (store_step) or by its thread, and short forms of the ops.
 * Everything is done by one thread: run() submits one op and turns the store until it is back.
 */
#ifndef VEREDUS_TEST_STORE_RIG_H
#define VEREDUS_TEST_STORE_RIG_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include "disk_faulty.h"
#include "disk_mem.h"
#include "store.h"

enum rig_disk { RIG_MEM, RIG_FAULTY, RIG_URING, RIG_DISK_N };

struct rig {
	struct disk_mem *mem;
	struct disk_faulty *faulty;
	struct store_conf conf;
	struct store *s;
	struct store_core *c;
	struct pkt_pool *small;
	uint64_t wall_us;
	bool threaded;
	char path[64];
	char why[256];
};

void rig_init(struct rig *r, enum rig_disk disk, uint64_t seed);
enum err rig_open(struct rig *r);
void rig_close(struct rig *r); /* the store */
void rig_reopen(struct rig *r);
/* The same, but as if the close had written no checkpoint: from the log alone. Not on a real disk. */
void rig_replay(struct rig *r);
enum err rig_try_replay(struct rig *r);
/* A copy of all files: the disk as a power cut with everything written would leave it. */
struct disk_mem *rig_clone(struct disk_mem *m);
void rig_fini(struct rig *r);  /* all; no packet may be left */

struct store_op *rig_op(struct rig *r, enum store_verb verb);
/* Submits and waits; returns op->err. */
enum err rig_run(struct rig *r, struct store_op *op);
/* The same and frees it. */
enum err rig_done(struct rig *r, struct store_op *op);

struct slices rig_bytes(struct rig *r, const void *p, size_t len);
uint64_t rig_account(struct rig *r, const char *name);
uint32_t rig_folder(struct rig *r, uint64_t acct, const char *name);
/* Delivers text into the folder; returns the UID, 0 on an error (in *e if not NULL). */
uint32_t rig_deliver(struct rig *r, uint64_t acct, uint32_t folder, const void *p, size_t len, enum err *e);
struct store_op *rig_sync(struct rig *r, uint64_t acct, uint32_t folder, uint64_t since, bool claim);
/* The blob's bytes are these? */
bool rig_blob_is(struct rig *r, store_id blob, const void *p, size_t len);
enum err rig_expunge(struct rig *r, uint64_t acct, uint32_t folder, uint32_t lo, uint32_t hi);
/* Reproducible bytes: n of them from seed. */
void rig_fill(uint8_t *p, size_t n, uint64_t seed);

#endif
