/*
 * store_apply.c: what mutations of messages and of the queue do.
 *
 * One table row a mutation: its check and its effect. Checks see the state before the batch, so rules that
 * span a batch are kept here: a queue item or an account is touched once, new keywords of all mutations
 * must fit together, folder and account changes stand alone. Blobs whose last reference went are dropped
 * at the end of the batch, so one batch may hand a body from the queue to a mailbox.
 * 1. After batch_check said OK, batch_apply cannot fail. 2. One mutation gives a folder one new modseq.
 * 3. The same index, batch inputs and bytes give the same results: the log replays them.
 */
#include "store_apply.h"
#include <stdlib.h>
#include <string.h>

#define FLAGS_ALL (STORE_SEEN | STORE_ANSWERED | STORE_FLAGGED | STORE_DELETED | STORE_DRAFT)

void folder_touched(struct batch *b, struct folder *f)
{
	b->changed = true;
	if (b->ix->changed)
		b->ix->changed(b->ix->arg, f, false);
}

static struct folder *folder_of(const struct batch *b, uint64_t acct, uint32_t folder)
{
	const struct account *a = index_account(b->ix, acct);
	struct folder *f = a ? index_folder(a, folder) : NULL;
	return f && !f->noselect ? f : NULL;
}

/* ---- keywords ---- */

/* The next of the names that a space separates; false at the end. */
static bool kw_next(struct span *kws, struct span *name)
{
	while (kws->len > 0) {
		ptrdiff_t sp = span_find(*kws, ' ');
		size_t len = sp < 0 ? kws->len : (size_t)sp;
		*name = span_head(*kws, len);
		*kws = span_from(*kws, len + (sp >= 0));
		if (name->len > 0)
			return true;
	}
	return false;
}

static enum err kw_check_names(struct span kws)
{
	struct span name;
	while (kw_next(&kws, &name)) {
		if (name.len > INDEX_KW_NAME_MAX)
			return ERR_TOO_LONG;
		if (memchr(name.p, '\0', name.len))
			return ERR_SYNTAX;
	}
	return ERR_OK;
}

static uint64_t kw_bits(struct folder *f, struct span kws, bool make)
{
	uint64_t bits = 0;
	struct span name;
	while (kw_next(&kws, &name)) {
		int i = index_kw(f, name, make);
		if (i >= 0)
			bits |= 1ull << i;
	}
	return bits;
}

/* Does every name of the set fit into the folder's table, together with those counted before? */
struct kw_room {
	struct folder *f;
	struct span name[INDEX_KW_MAX];
	uint32_t n;
};

static bool kw_room_add(struct kw_room *k, struct span name)
{
	if (index_kw(k->f, name, false) >= 0)
		return true;
	for (uint32_t i = 0; i < k->n; i++) {
		if (span_ieq(k->name[i], name))
			return true;
	}
	if (k->f->n_kw + k->n >= INDEX_KW_MAX)
		return false;
	k->name[k->n++] = name;
	return true;
}

static bool kw_makes(const struct mut *m)
{
	return m->type == MUT_DELIVER || (m->type == MUT_FLAGS && m->mode != STORE_FLAGS_DEL);
}

/* Keywords that mutation m would make in folder k->f. */
static bool kw_room_mut(struct batch *b, struct kw_room *k, const struct mut *m)
{
	if (kw_makes(m) && m->acct == k->f->acct && m->folder == k->f->id) {
		struct span kws = m->kws, name;
		while (kw_next(&kws, &name)) {
			if (!kw_room_add(k, name))
				return false;
		}
	}
	if (m->type == MUT_COPY && m->acct == k->f->acct && m->dst == k->f->id && m->dst != m->folder) {
		const struct folder *src = folder_of(b, m->acct, m->folder);
		for (uint32_t i = 0; src && i < src->n_kw; i++) {
			if (!kw_room_add(k, span_str(src->kw[i])))
				return false;
		}
	}
	return true;
}

/* All the batch's keywords for the folder that mutation i grows. */
static enum err kw_check_room(struct batch *b, uint32_t i)
{
	const struct mut *m = &b->mut[i];
	bool copies = m->type == MUT_COPY;
	if (!copies && (m->kws.len == 0 || !kw_makes(m)))
		return ERR_OK;
	struct kw_room k = {.f = folder_of(b, m->acct, copies ? m->dst : m->folder)};
	if (k.f->n_kw + (copies ? INDEX_KW_MAX : m->kws.len) < INDEX_KW_MAX && b->n == 1)
		return ERR_OK;
	for (uint32_t j = 0; j <= i; j++) {
		if (!kw_room_mut(b, &k, &b->mut[j]))
			return ERR_TOO_MANY;
	}
	return ERR_OK;
}

/* ---- blobs, deliveries ---- */

static enum err check_blob(struct batch *b, const struct mut *m)
{
	if (m->id == 0 || m->id != b->blob || m != b->mut)
		return ERR_SYNTAX;
	const struct blob *blob = index_blob(b->ix, m->id);
	if (blob && blob->complete)
		return ERR_EXISTS;
	uint64_t size = blob ? blob->size : 0;
	if (size + b->body_len > INDEX_BLOB_MAX)
		return ERR_TOO_LONG;
	return m->relay_off <= size + b->body_len ? ERR_OK : ERR_SYNTAX;
}

static void apply_blob(struct batch *b, const struct mut *m, struct store_result *r)
{
	struct blob *blob = index_blob(b->ix, m->id);
	if (!blob)
		blob = index_blob_add(b->ix, m->id); /* an empty body */
	blob->complete = true;
	blob->relay_off = m->relay_off;
	blob->flags = m->flags;
	list_del(&blob->unref);
	list_push_front(&b->ix->unref, &blob->unref);
	b->changed = true;
}

/* Is the blob there when the batch's own is? */
static bool blob_there(const struct batch *b, store_id id)
{
	if (b->n > 0 && b->mut[0].type == MUT_BLOB && b->mut[0].id == id)
		return true;
	const struct blob *blob = index_blob(b->ix, id);
	return blob && blob->complete;
}

static enum err uid_room(const struct folder *f, uint64_t n)
{
	return f->uidnext + n < UINT32_MAX - BATCH_MUT_MAX ? ERR_OK : ERR_TOO_MANY;
}

static enum err check_deliver(struct batch *b, const struct mut *m)
{
	const struct folder *f = folder_of(b, m->acct, m->folder);
	if (!f || !blob_there(b, m->blob))
		return ERR_NOT_FOUND;
	enum err e = uid_room(f, 1);
	return e == ERR_OK ? kw_check_names(m->kws) : e;
}

static void apply_deliver(struct batch *b, const struct mut *m, struct store_result *r)
{
	struct folder *f = folder_of(b, m->acct, m->folder);
	f->modseq++;
	struct store_ent e = {
		.uid = f->uidnext,
		.flags = m->flags & FLAGS_ALL,
		.modseq = f->modseq,
		.kw = kw_bits(f, m->kws, true),
		.oid = b->oid++,
		.blob = m->blob,
		.size = index_blob(b->ix, m->blob)->size,
		.idate_s = m->idate_s,
	};
	index_ent_add(b->ix, f, &e);
	*r = (struct store_result){.uid = e.uid, .n = 1, .modseq = f->modseq, .uidvalidity = f->uidvalidity};
	folder_touched(b, f);
}

/* ---- entries by range ---- */

static enum err check_entries(struct batch *b, const struct mut *m)
{
	return folder_of(b, m->acct, m->folder) ? kw_check_names(m->kws) : ERR_NOT_FOUND;
}

static void apply_flags(struct batch *b, const struct mut *m, struct store_result *r)
{
	struct folder *f = folder_of(b, m->acct, m->folder);
	uint32_t flags = m->flags & FLAGS_ALL, n_kw = f->n_kw;
	uint64_t kw = kw_bits(f, m->kws, m->mode != STORE_FLAGS_DEL);
	for (uint32_t j = 0; j < mut_n_range(m); j++) {
		struct range x = mut_range(m, j);
		for (uint32_t i = index_lower(f, x.lo); i < f->n_ent && f->ent[i].uid <= x.hi; i++) {
			struct store_ent *e = &f->ent[i];
			uint32_t nf = m->mode == STORE_FLAGS_SET ? flags
				      : m->mode == STORE_FLAGS_ADD ? e->flags | flags
								   : e->flags & ~flags;
			uint64_t nk = m->mode == STORE_FLAGS_SET ? kw
				      : m->mode == STORE_FLAGS_ADD ? e->kw | kw
								   : e->kw & ~kw;
			index_ent_count(f, e, -1);
			e->flags = nf;
			e->kw = nk;
			e->modseq = f->modseq + 1; /* also when nothing changed: the next SYNC shows it to who asked */
			index_ent_count(f, e, 1);
			r->n++;
		}
	}
	if (r->n > 0)
		f->modseq++;
	if (r->n > 0 || f->n_kw != n_kw)
		folder_touched(b, f);
	r->modseq = f->modseq;
	r->uidvalidity = f->uidvalidity;
}

/* Takes out the entries that the ranges name, and their references. Returns how many. */
static uint32_t entries_remove(struct batch *b, struct folder *f, const struct mut *m, bool all,
			       bool only_deleted)
{
	uint32_t to = 0, n = 0, n_range = all ? 1 : mut_n_range(m), j = 0;
	struct range x = all ? (struct range){1, UINT32_MAX} : (struct range){UINT32_MAX, 0};
	if (!all && n_range > 0)
		x = mut_range(m, 0);
	if (n_range == 0)
		return 0;
	uint32_t first = index_lower(f, x.lo);
	to = first;
	for (uint32_t i = first; i < f->n_ent; i++) {
		struct store_ent *e = &f->ent[i];
		while (x.hi < e->uid && j + 1 < n_range)
			x = mut_range(m, ++j);
		bool hit = e->uid >= x.lo && e->uid <= x.hi && (!only_deleted || (e->flags & STORE_DELETED));
		if (!hit) {
			f->ent[to++] = *e;
			continue;
		}
		if (n++ == 0)
			f->modseq++;
		index_tomb_add(f, e->uid, f->modseq);
		index_ent_count(f, e, -1);
		index_blob_unref(b->ix, index_blob(b->ix, e->blob));
	}
	f->n_ent = to;
	b->ix->n_msg -= n;
	if (n > 0)
		folder_touched(b, f);
	return n;
}

static void apply_expunge(struct batch *b, const struct mut *m, struct store_result *r)
{
	struct folder *f = folder_of(b, m->acct, m->folder);
	r->n = entries_remove(b, f, m, false, m->mode);
	r->modseq = f->modseq;
	r->uidvalidity = f->uidvalidity;
}

static enum err check_copy(struct batch *b, const struct mut *m)
{
	const struct folder *src = folder_of(b, m->acct, m->folder);
	const struct folder *dst = folder_of(b, m->acct, m->dst);
	if (!src || !dst)
		return ERR_NOT_FOUND;
	return uid_room(dst, src->n_ent);
}

/* The keywords of src's entry as bits of dst. */
static uint64_t kw_map(struct folder *dst, const struct folder *src, uint64_t bits)
{
	uint64_t out = 0;
	if (dst == src)
		return bits;
	for (; bits; bits &= bits - 1)
		out |= 1ull << index_kw(dst, span_str(src->kw[__builtin_ctzll(bits)]), true);
	return out;
}

uint32_t entries_copy(struct batch *b, struct folder *src, struct folder *dst, const struct mut *m, bool all,
		      bool move, struct store_result *r)
{
	uint32_t n = 0, cap = 0, n_range = all ? 1 : mut_n_range(m);
	struct store_ent *copy = NULL;
	for (uint32_t j = 0; j < n_range; j++) {
		struct range x = all ? (struct range){1, UINT32_MAX} : mut_range(m, j);
		for (uint32_t i = index_lower(src, x.lo); i < src->n_ent && src->ent[i].uid <= x.hi; i++) {
			if (n == cap) {
				cap = cap ? cap * 2 : 64;
				copy = realloc(copy, cap * sizeof(*copy));
				CHECK(copy);
			}
			copy[n++] = src->ent[i];
		}
	}
	*r = (struct store_result){.n = n, .uidvalidity = dst->uidvalidity};
	/* The copies' references come before the originals' go. */
	for (uint32_t i = 0; i < n; i++)
		index_blob_ref(b->ix, index_blob(b->ix, copy[i].blob));
	if (move)
		(void)entries_remove(b, src, m, all, false);
	if (n > 0) {
		dst->modseq++;
		r->uid = dst->uidnext;
	}
	for (uint32_t i = 0; i < n; i++) {
		copy[i].kw = kw_map(dst, src, copy[i].kw);
		copy[i].uid = dst->uidnext;
		copy[i].modseq = dst->modseq;
		copy[i].oid = move ? copy[i].oid : b->oid++;
		index_ent_add(b->ix, dst, &copy[i]);
		index_blob_unref(b->ix, index_blob(b->ix, copy[i].blob));
	}
	free(copy);
	if (n > 0)
		folder_touched(b, dst);
	r->modseq = dst->modseq;
	return n;
}

static void apply_copy(struct batch *b, const struct mut *m, struct store_result *r)
{
	struct folder *src = folder_of(b, m->acct, m->folder), *dst = folder_of(b, m->acct, m->dst);
	(void)entries_copy(b, src, dst, m, false, m->mode, r);
}

/* ---- queue ---- */

static enum err check_qput(struct batch *b, const struct mut *m)
{
	if (m->id == 0)
		return ERR_SYNTAX;
	if (index_item(b->ix, m->id))
		return ERR_EXISTS;
	return blob_there(b, m->blob) ? ERR_OK : ERR_NOT_FOUND;
}

static void apply_qput(struct batch *b, const struct mut *m, struct store_result *r)
{
	index_item_put(b->ix, m->id, index_blob(b->ix, m->blob), m->due_us, m->state);
	r->n = 1;
	b->changed = true;
}

static enum err check_item(struct batch *b, const struct mut *m)
{
	return index_item(b->ix, m->id) ? ERR_OK : ERR_NOT_FOUND;
}

static void apply_qset(struct batch *b, const struct mut *m, struct store_result *r)
{
	index_item_put(b->ix, m->id, index_item(b->ix, m->id)->blob, m->due_us, m->state);
	r->n = 1;
	b->changed = true;
}

static void apply_qdone(struct batch *b, const struct mut *m, struct store_result *r)
{
	index_item_del(b->ix, m->id);
	r->n = 1;
	b->changed = true;
}

/* ---- the table ---- */

enum mut_kind {
	MUT_GROWS = 1,  /* needs space beyond the reserve */
	MUT_ALONE = 2,  /* changes what others are checked against */
	MUT_BESIDE = 4, /* may stand beside one that is alone */
	MUT_SOLE = 8,   /* nothing may stand beside it */
	MUT_ITEM = 16   /* its id may come once in a batch */
};

static const struct mut_row {
	unsigned kind;
	enum err (*check)(struct batch *b, const struct mut *m);
	void (*apply)(struct batch *b, const struct mut *m, struct store_result *r);
} rows[MUT_N] = {
	[MUT_BLOB] = {MUT_GROWS, check_blob, apply_blob},
	[MUT_DELIVER] = {MUT_GROWS, check_deliver, apply_deliver},
	[MUT_FLAGS] = {0, check_entries, apply_flags},
	[MUT_EXPUNGE] = {0, check_entries, apply_expunge},
	[MUT_COPY] = {MUT_GROWS, check_copy, apply_copy}, /* a move does not grow: batch_parse */
	[MUT_FOLDER_CREATE] = {MUT_GROWS | MUT_ALONE, check_folder_create, apply_folder_create},
	[MUT_FOLDER_DELETE] = {MUT_ALONE, check_folder_delete, apply_folder_delete},
	[MUT_FOLDER_RENAME] = {MUT_GROWS | MUT_ALONE, check_folder_rename, apply_folder_rename},
	[MUT_SUBSCRIBE] = {MUT_BESIDE, check_subscribe, apply_subscribe},
	[MUT_ACCOUNT_ADD] = {MUT_GROWS | MUT_SOLE, check_account_add, apply_account_add},
	[MUT_ACCOUNT_PASS] = {MUT_SOLE, check_account_named, apply_account_pass},
	[MUT_ACCOUNT_REMOVE] = {MUT_SOLE, check_account_named, apply_account_remove},
	[MUT_QPUT] = {MUT_GROWS | MUT_ITEM, check_qput, apply_qput},
	[MUT_QSET] = {MUT_ITEM, check_item, apply_qset},
	[MUT_QDONE] = {MUT_ITEM, check_item, apply_qdone},
};

enum err batch_parse(struct batch *b, struct span tx, uint32_t n)
{
	if (n > BATCH_MUT_MAX)
		return ERR_TOO_MANY;
	if (n > b->cap) {
		b->cap = n;
		b->mut = realloc(b->mut, n * sizeof(*b->mut));
		CHECK(b->mut);
	}
	b->n = 0;
	b->growth = b->structural = b->changed = false;
	struct reader r = reader_of(tx);
	struct mut m;
	while (mut_next(&r, &m)) {
		if (b->n == n)
			return ERR_SYNTAX;
		b->mut[b->n++] = m;
		b->growth |= (rows[m.type].kind & MUT_GROWS) && !(m.type == MUT_COPY && m.mode);
		b->structural |= (rows[m.type].kind & (MUT_ALONE | MUT_SOLE)) != 0;
	}
	return r.ok && b->n == n ? ERR_OK : ERR_SYNTAX;
}

/* Of the structural mutations there is one, and only subscriptions beside it. */
static enum err check_alone(const struct batch *b)
{
	uint32_t alone = 0, beside = 0;
	if (!b->structural || b->n == 1)
		return ERR_OK;
	for (uint32_t i = 0; i < b->n; i++) {
		alone += (rows[b->mut[i].type].kind & MUT_ALONE) != 0;
		beside += (rows[b->mut[i].type].kind & MUT_BESIDE) != 0;
	}
	return alone == 1 && beside == b->n - 1 ? ERR_OK : ERR_UNSUPPORTED;
}

static int id_cmp(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

static enum err check_items_once(const struct batch *b)
{
	uint64_t *id = malloc((b->n ? b->n : 1) * sizeof(*id));
	uint32_t n = 0;
	enum err e = ERR_OK;
	CHECK(id);
	for (uint32_t i = 0; i < b->n; i++) {
		if (rows[b->mut[i].type].kind & MUT_ITEM)
			id[n++] = b->mut[i].id;
	}
	qsort(id, n, sizeof(*id), id_cmp);
	for (uint32_t i = 1; i < n; i++) {
		if (id[i] == id[i - 1])
			e = ERR_UNSUPPORTED;
	}
	free(id);
	return e;
}

enum err batch_check(struct batch *b)
{
	enum err e = check_alone(b);
	if (b->body_len > 0 && (b->n == 0 || b->mut[0].type != MUT_BLOB))
		e = ERR_SYNTAX;
	for (uint32_t i = 0; i < b->n && e == ERR_OK; i++) {
		e = rows[b->mut[i].type].check(b, &b->mut[i]);
		if (e == ERR_OK)
			e = kw_check_room(b, i);
	}
	return e == ERR_OK && b->n > 1 ? check_items_once(b) : e;
}

void batch_apply(struct batch *b, struct store_result *res)
{
	for (uint32_t i = 0; i < b->n; i++) {
		res[i] = (struct store_result){0};
		rows[b->mut[i].type].apply(b, &b->mut[i], &res[i]);
	}
	index_blob_sweep(b->ix, false);
}

void batch_fini(struct batch *b)
{
	free(b->mut);
	b->mut = NULL;
}
