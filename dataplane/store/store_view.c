/*
 * store_view.c: the ops that look: SYNC, FOLDERS, ACCOUNTS, QSCAN, WATCH, and POP3's lock.
 *
 * Each is answered from the index as it is now and completes when everything that it saw is durable. A view
 * is one block of memory. Recent claims are logged like a change, without a mutation.
 */
#include <stdlib.h>
#include <string.h>
#include "store_int.h"

#define ACCOUNTS_PAGE 256u
#define QSCAN_PAGE    1024u
#define QSCAN_BYTES   (1u << 20)
#define RECENT_BYTES  16u

/* ---- SYNC ---- */

static void folder_facts(const struct account *a, const struct folder *f, struct store_folder *out)
{
	*out = (struct store_folder){
		.id = f->id,
		.uidvalidity = f->uidvalidity,
		.uidnext = f->uidnext,
		.exists = f->n_ent,
		.unseen = f->unseen,
		.recent = f->n_ent - index_lower(f, f->recent_uid),
		.deleted = f->deleted,
		.modseq = f->modseq,
		.bytes = f->bytes,
		.subscribed = index_subscribed(a, span_str(f->name)),
		.noselect = f->noselect,
	};
}

/* First tombstone after since. */
static uint32_t tomb_lower(const struct folder *f, uint64_t since)
{
	uint32_t i = f->n_tomb;
	while (i > 0 && f->tomb[i - 1].modseq > since)
		i--;
	return i;
}

static int uid_cmp(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

static char *put_str(char **at, const char *s)
{
	char *p = *at;
	size_t n = strlen(s) + 1;
	memcpy(p, s, n);
	*at = p + n;
	return p;
}

static struct store_view *sync_view(const struct account *a, const struct folder *f, uint64_t since)
{
	bool full = since == 0 || since < f->tomb_floor;
	uint32_t n_ent = 0, first_gone = full ? f->n_tomb : tomb_lower(f, since);
	uint32_t n_gone = f->n_tomb - first_gone;
	for (uint32_t i = 0; i < f->n_ent; i++)
		n_ent += full || f->ent[i].modseq > since;
	size_t text = strlen(f->name) + 1;
	for (uint32_t i = 0; i < f->n_kw; i++)
		text += strlen(f->kw[i]) + 1;
	size_t size = sizeof(struct store_view) + (size_t)n_ent * sizeof(struct store_ent) +
		      f->n_kw * sizeof(char *) + (size_t)n_gone * sizeof(uint32_t) + text;
	struct store_view *v = calloc(1, size);
	CHECK(v);
	v->ent = (struct store_ent *)(v + 1);
	v->kw = (char **)(v->ent + n_ent);
	v->gone = (uint32_t *)(v->kw + f->n_kw);
	char *at = (char *)(v->gone + n_gone);
	folder_facts(a, f, &v->folder);
	v->folder.name = put_str(&at, f->name);
	v->full = full;
	v->recent_from = f->recent_uid;
	for (uint32_t i = 0; i < f->n_ent; i++) {
		if (full || f->ent[i].modseq > since)
			v->ent[v->n_ent++] = f->ent[i];
	}
	for (uint32_t i = first_gone; i < f->n_tomb; i++)
		v->gone[v->n_gone++] = f->tomb[i].uid;
	qsort(v->gone, v->n_gone, sizeof(*v->gone), uid_cmp);
	for (uint32_t i = 0; i < f->n_kw; i++)
		v->kw[v->n_kw++] = put_str(&at, f->kw[i]);
	return v;
}

static struct folder *op_folder(const struct store *s, const struct store_op *op)
{
	const struct account *a = index_account(&s->ix, op->acct);
	struct folder *f = a ? index_folder(a, op->folder) : NULL;
	return f && !f->noselect ? f : NULL;
}

/* Logs the claim; without room it holds only until the next start. False: must wait. */
static bool claim_recent(struct store *s, struct folder *f)
{
	enum log_room r = log_reserve(s, record_bytes(RECENT_BYTES), LOG_SHRINK);
	if (r == LOG_WAIT)
		return false;
	f->recent_uid = f->uidnext;
	if (r != LOG_OK)
		return true;
	uint8_t *p = log_record_begin(s, REC_RECENT, RECENT_BYTES);
	memcpy(p, &f->acct, 8);
	memcpy(p + 8, &f->id, 4);
	memcpy(p + 12, &f->recent_uid, 4);
	log_record_end(s, RECENT_BYTES);
	return true;
}

static bool view_sync(struct store *s, struct op_int *o)
{
	struct folder *f = op_folder(s, &o->op);
	if (!f) {
		op_complete_at(s, o, ERR_NOT_FOUND, log_seq(s));
		return true;
	}
	uint32_t recent = f->recent_uid;
	if (o->op.claim_recent && recent != f->uidnext && !claim_recent(s, f))
		return false;
	o->op.view = sync_view(index_account(&s->ix, o->op.acct), f, o->op.since);
	o->op.view->recent_from = recent;
	o->op.view->folder.recent = f->n_ent - index_lower(f, recent);
	op_complete_at(s, o, ERR_OK, log_seq(s));
	return true;
}

/* ---- FOLDERS ---- */

static int folder_cmp(const void *a, const void *b)
{
	const struct store_folder *x = a, *y = b;
	return strcmp(x->name, y->name);
}

static bool view_folders(struct store *s, struct op_int *o)
{
	const struct account *a = index_account(&s->ix, o->op.acct);
	if (!a) {
		op_complete_at(s, o, ERR_NOT_FOUND, log_seq(s));
		return true;
	}
	size_t text = 0;
	for (uint32_t i = 0; i < a->n_folder; i++)
		text += strlen(a->folder[i]->name) + 1;
	for (uint32_t i = 0; i < a->n_sub; i++)
		text += strlen(a->sub[i]) + 1;
	size_t n = a->n_folder + a->n_sub;
	struct store_view *v = calloc(1, sizeof(*v) + n * sizeof(struct store_folder) + text);
	CHECK(v);
	v->folders = (struct store_folder *)(v + 1);
	char *at = (char *)(v->folders + n);
	for (uint32_t i = 0; i < a->n_folder; i++) {
		folder_facts(a, a->folder[i], &v->folders[v->n_folder]);
		v->folders[v->n_folder++].name = put_str(&at, a->folder[i]->name);
	}
	for (uint32_t i = 0; i < a->n_sub; i++) {
		if (!index_folder_named(a, span_str(a->sub[i])))
			v->folders[v->n_folder++] = (struct store_folder){
				.subscribed = true, .noselect = true, .name = put_str(&at, a->sub[i])};
	}
	qsort(v->folders, v->n_folder, sizeof(*v->folders), folder_cmp);
	o->op.view = v;
	op_complete_at(s, o, ERR_OK, log_seq(s));
	return true;
}

/* ---- WATCH ---- */

static bool view_watch(struct store *s, struct op_int *o)
{
	struct folder *f = op_folder(s, &o->op);
	if (!f || f->modseq > o->op.since) {
		op_complete_at(s, o, f ? ERR_OK : ERR_NOT_FOUND, log_seq(s));
		return true;
	}
	list_push(&f->watch, &o->watch);
	o->op.core->watching[o->index] = 1;
	return true;
}

static void watch_end(struct store *s, struct op_int *o, enum err e, uint64_t seq)
{
	list_del(&o->watch);
	o->op.core->watching[o->index] = 0;
	op_complete_at(s, o, e, seq);
}

void view_changed(void *arg, struct folder *f, bool gone)
{
	struct store *s = arg;
	LIST_EACH(n, &f->watch)
		watch_end(s, LIST_ENTRY(n, struct op_int, watch), gone ? ERR_NOT_FOUND : ERR_OK, s->ix.seq);
}

void view_cancel(struct store *s, struct op_int *o)
{
	watch_end(s, o, ERR_CLOSED, log_seq(s));
}

void view_close(struct store *s)
{
	for (uint32_t i = 0; i < s->ix.n_acct; i++) {
		const struct account *a = s->ix.acct[i];
		for (uint32_t j = 0; j < a->n_folder; j++) {
			LIST_EACH(n, &a->folder[j]->watch)
				watch_end(s, LIST_ENTRY(n, struct op_int, watch), ERR_SHUTDOWN, 0);
		}
	}
}

/* ---- LOCK ---- */

static bool view_lock(struct store *s, struct op_int *o)
{
	struct account *a = index_account(&s->ix, o->op.acct);
	enum err e = !a ? ERR_NOT_FOUND : a->locked ? ERR_BUSY : ERR_OK;
	if (e == ERR_OK) {
		a->locked = true;
		a->lock_core = o->op.core->id;
		a->lock_owner = o->op.owner;
		a->lock_gen = o->op.owner_gen;
	}
	op_complete(s, o, e);
	return true;
}

static bool view_unlock(struct store *s, struct op_int *o)
{
	struct account *a = index_account(&s->ix, o->op.acct);
	bool held = a && a->locked && a->lock_core == o->op.core->id && a->lock_owner == o->op.owner &&
		    a->lock_gen == o->op.owner_gen;
	if (held)
		a->locked = false;
	op_complete(s, o, held ? ERR_OK : ERR_NOT_FOUND);
	return true;
}

/* ---- ACCOUNTS, QSCAN ---- */

static bool view_accounts(struct store *s, struct op_int *o)
{
	struct store_op *op = &o->op;
	uint32_t i = 0, n = 0;
	while (i < s->ix.n_acct && s->ix.acct[i]->id <= op->since)
		i++;
	op->accounts = calloc(ACCOUNTS_PAGE, sizeof(*op->accounts));
	CHECK(op->accounts);
	for (; i < s->ix.n_acct && n < ACCOUNTS_PAGE; i++, n++) {
		const struct account *a = s->ix.acct[i];
		op->accounts[n].id = a->id;
		CHECK(span_cstr(span_str(a->name), op->accounts[n].name, sizeof(op->accounts[n].name)));
		CHECK(span_cstr(span_str(a->pass), op->accounts[n].pass, sizeof(op->accounts[n].pass)));
	}
	op->n_accounts = n;
	op_complete_at(s, o, ERR_OK, log_seq(s));
	return true;
}

static int id_cmp(const void *a, const void *b)
{
	const store_id *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

/* A scan works on the ids that were there at its first page; what has gone since is left out. */
static void scan_begin(struct store *s)
{
	uint32_t it = 0;
	uint64_t key, val;
	free(s->scan);
	s->n_scan = 0;
	s->scan = malloc((s->ix.n_item + 1) * sizeof(*s->scan));
	CHECK(s->scan);
	while (map_each(&s->ix.items, &it, &key, &val))
		s->scan[s->n_scan++] = key;
	qsort(s->scan, s->n_scan, sizeof(*s->scan), id_cmp);
}

static uint32_t scan_lower(const struct store *s, store_id after)
{
	uint32_t lo = 0, hi = s->n_scan;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (s->scan[mid] <= after)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void scan_copy(struct store_qitem *to, const struct qitem *q, uint8_t **at)
{
	*to = (struct store_qitem){
		.id = q->id,
		.due_us = q->due_us,
		.blob = {.id = q->blob->id, .size = q->blob->size, .relay_off = q->blob->relay_off,
			 .flags = q->blob->flags},
		.state = span_of(*at, q->state_len),
	};
	if (q->state_len)
		memcpy(*at, q->state, q->state_len);
	*at += q->state_len;
}

static bool view_qscan(struct store *s, struct op_int *o)
{
	struct store_op *op = &o->op;
	if (op->since == 0 || !s->scan)
		scan_begin(s);
	const struct qitem *page[QSCAN_PAGE];
	uint32_t n = 0;
	size_t bytes = 0;
	for (uint32_t i = scan_lower(s, op->since); i < s->n_scan && n < QSCAN_PAGE && bytes < QSCAN_BYTES; i++) {
		const struct qitem *q = index_item(&s->ix, s->scan[i]);
		if (!q)
			continue;
		page[n++] = q;
		bytes += q->state_len;
	}
	op->items = calloc(1, n * sizeof(*op->items) + bytes + 1);
	CHECK(op->items);
	uint8_t *at = (uint8_t *)(op->items + n);
	for (uint32_t i = 0; i < n; i++)
		scan_copy(&op->items[i], page[i], &at);
	op->n_items = n;
	if (n == 0) {
		free(s->scan);
		s->scan = NULL;
		s->n_scan = 0;
	}
	op_complete_at(s, o, ERR_OK, log_seq(s));
	return true;
}

bool view_op(struct store *s, struct op_int *o)
{
	static bool (*const view[STORE_VERB_N])(struct store *, struct op_int *) = {
		[STORE_SYNC] = view_sync,
		[STORE_FOLDERS] = view_folders,
		[STORE_WATCH] = view_watch,
		[STORE_LOCK] = view_lock,
		[STORE_UNLOCK] = view_unlock,
		[STORE_ACCOUNTS] = view_accounts,
		[STORE_QSCAN] = view_qscan,
	};
	return view[o->op.verb](s, o);
}
