/*
 * fake_store_int.h: what the files of the store's stand-in share: its state as arrays, searched from the front.
 */
#ifndef VEREDUS_FAKE_STORE_INT_H
#define VEREDUS_FAKE_STORE_INT_H

#include "fake_store.h"
#include "list.h"

#define CORES 4
#define KW_MAX 64
#define BODY_MAX (256u << 10) /* bytes of one operation */

struct fblob {
	store_id id;
	struct buf bytes;
	struct store_blob facts;
	bool complete;
};

struct fgone {
	uint32_t uid;
	uint64_t modseq;
};

struct ffolder {
	struct store_folder f; /* name is owned */
	uint32_t recent_from;
	uint32_t n_ent, n_gone, n_kw;
	struct store_ent *ent;
	struct fgone *gone;
	char *kw[KW_MAX];
};

struct faccount {
	struct store_account a;
	uint32_t next_folder, next_validity;
	uint32_t n_folder, n_sub;
	struct ffolder *folder;
	char **sub;
};

struct fstate {
	uint32_t n_acct;
	struct faccount *acct;
	uint32_t n_item;
	struct store_qitem *item; /* state.p is owned */
};

struct op_node {
	struct store_op op; /* first */
	struct list node;
	uint64_t lock_acct;
};

struct store_core {
	struct store *s;
	unsigned index;
	unsigned n_op, ops_max, n_pending;
	struct list submitted, done, watching;
};

struct flock {
	uint64_t acct;
	uint32_t owner, gen;
};

struct store {
	struct store_conf c;
	struct fstate st;
	uint32_t n_blob;
	struct fblob **blob;
	uint32_t n_lock;
	struct flock lock[64];
	struct store_core core[CORES];
	uint64_t next_id, next_acct;
	bool hold;
	enum err fail_err[STORE_VERB_N];
	unsigned fail_n[STORE_VERB_N];
};

/* Room for one element more; it doubles at 0, 1, 2, 4 ... */
void *fake_grow(void *v, uint32_t n, size_t size);
void *fake_dup_array(const void *v, uint32_t n, size_t size);
char *fake_dup_span(struct span s);
void fake_folder_free(struct ffolder *f);
void fake_account_free(struct faccount *a);
void fake_state_free(struct fstate *st);
struct fstate fake_state_copy(const struct fstate *st);
struct faccount *fake_account_by_id(struct store *s, uint64_t id);
struct faccount *fake_account_by_name(const struct store *s, struct span name);
bool fake_is_inbox(struct span name);
struct ffolder *fake_folder_by_id(struct faccount *a, uint32_t id);
struct ffolder *fake_folder_by_name(struct faccount *a, struct span name);
struct ffolder *fake_folder_add(struct faccount *a, struct span name);
struct fblob *fake_blob_find(struct store *s, store_id id);
struct fblob *fake_blob_get(struct store *s, store_id id);

/* The next mutation of the op; ERR: nothing was changed by it. */
enum err fake_tx_apply(struct store *s, struct store_op *op, struct reader *r, struct store_result *res);

#endif
