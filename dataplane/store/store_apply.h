/* store_apply.h: a batch of mutations against the index: checked whole, then applied whole. Private to store/. */
#ifndef VEREDUS_STORE_APPLY_H
#define VEREDUS_STORE_APPLY_H

#include "store_index.h"
#include "store_tx.h"

#define BATCH_MUT_MAX 4096u

struct batch {
	struct index *ix;
	/* Inputs beside the mutations; they are logged, so that replay gives the same result. */
	uint64_t wall_s;  /* for UIDVALIDITY */
	store_id blob;    /* the op's blob, 0 = none */
	uint64_t body_len; /* of the last part */
	store_id oid;     /* first entry id; rises with each use */
	/* by batch_parse */
	struct mut *mut;
	uint32_t n, cap;
	bool growth;      /* needs space beyond the reserve */
	bool structural;
	/* by batch_apply */
	bool changed;     /* worth a record */
};

/* Mutations from bytes; n as counted by the writer. ERR_SYNTAX, ERR_TOO_MANY. */
enum err batch_parse(struct batch *b, struct span tx, uint32_t n);
/* Against the state before the batch; nothing is changed. A batch with a folder or account mutation holds no other
 * mutation but subscriptions (ERR_UNSUPPORTED). */
enum err batch_check(struct batch *b);
/* res: b->n results. Cannot fail after batch_check. */
void batch_apply(struct batch *b, struct store_result *res);
void batch_fini(struct batch *b);

/* A folder's name in the form it is kept in: INBOX in capitals, no empty parts, no control bytes. */
enum err folder_name_canon(struct span in, char out[INDEX_NAME_MAX + 1]);

/* store_apply_folder.c */
enum err check_folder_create(struct batch *b, const struct mut *m);
enum err check_folder_delete(struct batch *b, const struct mut *m);
enum err check_folder_rename(struct batch *b, const struct mut *m);
enum err check_subscribe(struct batch *b, const struct mut *m);
void apply_folder_create(struct batch *b, const struct mut *m, struct store_result *r);
void apply_folder_delete(struct batch *b, const struct mut *m, struct store_result *r);
void apply_folder_rename(struct batch *b, const struct mut *m, struct store_result *r);
void apply_subscribe(struct batch *b, const struct mut *m, struct store_result *r);
enum err check_account_add(struct batch *b, const struct mut *m);
enum err check_account_named(struct batch *b, const struct mut *m);
void apply_account_add(struct batch *b, const struct mut *m, struct store_result *r);
void apply_account_pass(struct batch *b, const struct mut *m, struct store_result *r);
void apply_account_remove(struct batch *b, const struct mut *m, struct store_result *r);

/* store_apply.c, for its sister file */
void folder_touched(struct batch *b, struct folder *f);
/* Copies the entries of src that m's ranges name to the end of dst; move: takes them out of src. */
uint32_t entries_copy(struct batch *b, struct folder *src, struct folder *dst, const struct mut *m, bool all,
		      bool move, struct store_result *r);

#endif
