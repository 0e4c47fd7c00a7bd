/*
 * store_tx.h: mutations as bytes: what store_tx_* append to an op, and what the log holds. Private to store/.
 *
 * The numbers and layouts are part of the disk format: add new ones at the end, never change one.
 */
#ifndef VEREDUS_STORE_TX_H
#define VEREDUS_STORE_TX_H

#include "buf.h"
#include "store.h"

enum mut_type {
	MUT_BLOB = 1,
	MUT_DELIVER,
	MUT_FLAGS,
	MUT_EXPUNGE,
	MUT_COPY,
	MUT_FOLDER_CREATE,
	MUT_FOLDER_DELETE,
	MUT_FOLDER_RENAME,
	MUT_SUBSCRIBE,
	MUT_ACCOUNT_ADD,
	MUT_ACCOUNT_PASS,
	MUT_ACCOUNT_REMOVE,
	MUT_QPUT,
	MUT_QSET,
	MUT_QDONE,
	MUT_N
};

/* One mutation; the spans point into the encoded bytes. */
struct mut {
	uint8_t type;
	uint8_t mode; /* FLAGS: enum store_flag_mode; EXPUNGE: only_deleted; COPY: move; SUBSCRIBE: on */
	uint64_t acct;
	uint32_t folder, dst;
	store_id id;  /* blob or queue item */
	store_id blob;
	uint32_t relay_off, flags;
	int64_t idate_s;
	uint64_t due_us;
	struct span name, to, pass, kws, state;
	struct span ranges; /* pairs of u32 lo, hi: rising and disjoint */
};

struct range {
	uint32_t lo, hi;
};
static inline uint32_t mut_n_range(const struct mut *m)
{
	return (uint32_t)(m->ranges.len / 8);
}
struct range mut_range(const struct mut *m, uint32_t i);

/* The next mutation of r; false at the end or (r->ok false) on bytes that are none. */
bool mut_next(struct reader *r, struct mut *out);

#endif
