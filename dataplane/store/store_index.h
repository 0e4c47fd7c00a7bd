/*
 * store_index.h: the index in memory: accounts, folders, entries, blobs, queue items. Private to store/.
 *
 * Owned by the storage thread. It knows no disk and no clock: it is changed only by store_apply.c, from an
 * op or from the log, and the same inputs give the same index. It counts live bytes per segment, and
 * tells the outside of changes (watchers, published accounts) through the hooks, which are NULL in replay.
 */
#ifndef VEREDUS_STORE_INDEX_H
#define VEREDUS_STORE_INDEX_H

#include "list.h"
#include "map.h"
#include "store.h"

#define INDEX_KW_MAX       64
#define INDEX_TOMB_MAX     65536
#define INDEX_FOLDERS_MAX  10000
#define INDEX_SUBS_MAX     10000
#define INDEX_NAME_MAX     512  /* bytes of a folder's whole name */
#define INDEX_KW_NAME_MAX  128
#define INDEX_BLOB_MAX     UINT32_MAX
#define INDEX_SEG_MAX      (1u << 20)

/* A run of a blob's bytes in one segment file. */
struct extent {
	uint32_t seg, off, len, crc;
};
/* What it takes of its segment: the bytes and the heads of the record around them. */
static inline uint64_t extent_cost(const struct extent *e)
{
	return 40 + ((uint64_t)e->len + 7) / 8 * 8;
}

struct blob {
	store_id id;
	uint32_t size, relay_off, flags;
	uint32_t refs;
	uint32_t n_ext, cap_ext;
	bool complete;
	struct extent *ext, one;
	struct list unref;  /* in index.unref while refs == 0 */
	uint64_t touched_us;
};

struct tomb {
	uint64_t modseq;
	uint32_t uid;
};

struct folder {
	uint64_t acct;
	uint32_t id;
	uint32_t uidvalidity, uidnext;
	uint32_t recent_uid; /* UIDs from here on were told to no session as \Recent */
	uint32_t unseen, deleted;
	uint64_t modseq, bytes;
	struct store_ent *ent; /* by rising UID */
	uint32_t n_ent, cap_ent;
	struct tomb *tomb;     /* by rising modseq */
	uint32_t n_tomb, cap_tomb;
	uint64_t tomb_floor;   /* tombstones up to this modseq may be gone */
	char **kw;
	uint32_t n_kw;
	bool noselect;
	char *name;
	struct list watch;     /* ops that wait; store_view.c */
};

struct account {
	uint64_t id;
	char *name, *pass;
	struct folder **folder; /* by rising id */
	uint32_t n_folder, next_folder;
	uint32_t uv_last;       /* last UIDVALIDITY handed out */
	char **sub;
	uint32_t n_sub;
	struct account *hash_next;
	bool locked;
	uint32_t lock_core, lock_owner, lock_gen; /* the session that holds it */
};

struct qitem {
	store_id id;
	uint64_t due_us;
	struct blob *blob;
	uint32_t state_len;
	uint8_t state[];
};

struct seg_use {
	uint64_t live;     /* extent_cost of all that a blob holds */
	uint64_t drop_seq; /* group in which the last of them went, or was moved */
};

enum index_pub { INDEX_PUB_ADD, INDEX_PUB_CHANGE, INDEX_PUB_REMOVE };

struct index {
	struct account **acct; /* by rising id */
	uint32_t n_acct, cap_acct;
	uint64_t next_acct;
	struct map by_name;    /* siphash of the name -> chain of accounts */
	struct map blobs, items;
	struct list unref;     /* blobs without references, oldest touch first */
	struct seg_use *seg;
	uint32_t n_seg;
	uint64_t seq;          /* group that changes go into now */
	uint64_t n_msg, n_item, n_blob;
	uint32_t uv_floor;     /* no account added from now on gets a UIDVALIDITY as low: those of removed ones */
	/* hooks */
	void (*changed)(void *arg, struct folder *f, bool gone);
	void (*publish)(void *arg, const struct account *a, enum index_pub what);
	void *arg;
};

void index_init(struct index *ix);
void index_fini(struct index *ix);

/* accounts and folders */
struct account *index_account(const struct index *ix, uint64_t id);
struct account *index_account_named(const struct index *ix, struct span name);
/* id: 0 = the next. */
struct account *index_account_add(struct index *ix, uint64_t id, struct span name, struct span pass);
void index_account_remove(struct index *ix, struct account *a);
struct folder *index_folder(const struct account *a, uint32_t id);
struct folder *index_folder_named(const struct account *a, struct span name);
struct folder *index_folder_add(struct account *a, uint32_t id, struct span name, uint32_t uidvalidity);
/* Its entries' references go, too. */
void index_folder_remove(struct index *ix, struct account *a, struct folder *f);
bool index_subscribed(const struct account *a, struct span name);
bool index_subscribe(struct account *a, struct span name, bool on); /* true when that changed it */
/* A copy of s as a string. */
char *index_strdup(struct span s);

/* entries */
/* Index of the first entry whose UID is >= uid. */
uint32_t index_lower(const struct folder *f, uint32_t uid);
/* Appends (UIDs rise); counts; takes a reference of the blob. */
void index_ent_add(struct index *ix, struct folder *f, const struct store_ent *e);
/* Counters before an entry's flags change and after: sign -1, +1. */
void index_ent_count(struct folder *f, const struct store_ent *e, int sign);
void index_tomb_add(struct folder *f, uint32_t uid, uint64_t modseq);
/* Bit of the keyword, made when it is new; -1 when the table is full. */
int index_kw(struct folder *f, struct span name, bool make);

/* blobs */
struct blob *index_blob(const struct index *ix, store_id id);
struct blob *index_blob_add(struct index *ix, store_id id);
void index_blob_extent(struct index *ix, struct blob *b, const struct extent *e);
/* The bytes of extent i are now at `to` as well: from here on that is where they are. */
void index_blob_move(struct index *ix, struct blob *b, uint32_t i, const struct extent *to);
void index_blob_ref(struct index *ix, struct blob *b);
void index_blob_unref(struct index *ix, struct blob *b);
void index_blob_drop(struct index *ix, struct blob *b);
/* Drops the blobs without references that are complete (all = false) or every one. */
void index_blob_sweep(struct index *ix, bool all);
struct seg_use *index_seg(struct index *ix, uint32_t seg);

/* queue */
struct qitem *index_item(const struct index *ix, store_id id);
void index_item_put(struct index *ix, store_id id, struct blob *b, uint64_t due_us, struct span state);
void index_item_del(struct index *ix, store_id id);

#endif
