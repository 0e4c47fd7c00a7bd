/*
 * model.h: what the store should hold, as simply as it can be said, for random runs: one account with folders,
 * and a queue. The model makes random mutations, puts them into an op, and applies them to itself; its dump and a
 * store's are text that must be the same.
 */
#ifndef VEREDUS_TEST_STORE_MODEL_H
#define VEREDUS_TEST_STORE_MODEL_H

#include "rand.h"
#include "rig.h"

#define MODEL_MAX  400
#define MODEL_DIRS 12

struct model_ent {
	uint32_t uid, flags, size, seed;
	uint64_t modseq, kw, oid;
};
struct model_dir {
	bool used;
	uint32_t id, uidvalidity, uidnext;
	uint64_t modseq;
	char name[32];
	struct model_ent ent[MODEL_MAX];
	uint32_t n;
	uint32_t gone[MODEL_MAX * 4]; /* expunged UIDs, in order */
	uint32_t n_gone;
};
struct model_item {
	store_id id;
	uint64_t due;
	uint32_t seed, size, state;
};
struct model {
	uint64_t acct;
	uint32_t next_dir, uv_last;
	uint64_t next_oid;
	struct model_dir dir[MODEL_DIRS];
	struct model_item item[MODEL_MAX];
	uint32_t n_item, next_seed, body_max;
	bool parts; /* some bodies go ahead in STORE_BODY ops (submitted at once), some of those never come to an end */
	struct rnd rnd; /* for that choice */
	bool relay; /* most messages only pass through the queue */
	unsigned keep; /* with relay: one in so many stays in INBOX */
	char kw[4][8];
};

void model_init(struct model *m, uint64_t acct, uint32_t inbox_uidvalidity, uint32_t body_max);
/* A random batch as an op ready to submit, with its effects on m. */
struct store_op *model_step(struct model *m, struct rig *r, struct rnd *rnd);
/* Malloc'ed text of what the model, or the store, holds; the store's bodies are read and compared. */
char *model_dump(const struct model *m);
char *model_dump_store(struct rig *r, uint64_t acct);

#endif
