/*
 * store_index.c: the index's containers and the invariants that tie them.
 *
 * 1. blob.refs = entries + queue items that name it; a blob is in index.unref exactly while refs is 0;
 * 2. index.seg[s].live = cost of all extents in s; 3. a folder's entries rise by UID and all are
 * below uidnext; unseen, deleted and bytes are sums over them; 4. accounts and folders rise by id.
 */
#include "store_index.h"
#include <stdlib.h>
#include <string.h>
#include "rand.h"

/* Account names are made by the operator, not by a peer; the key only spreads them. */
static const uint8_t name_key[16] = "veredus accounts";

static void *index_grow(void *p, uint32_t n, uint32_t *cap, size_t size)
{
	if (n < *cap)
		return p;
	*cap = *cap ? *cap + *cap / 2 + 1 : 8;
	p = realloc(p, *cap * size);
	CHECK(p);
	return p;
}

char *index_strdup(struct span s)
{
	char *p = malloc(s.len + 1);
	CHECK(p);
	if (s.len)
		memcpy(p, s.p, s.len);
	p[s.len] = '\0';
	return p;
}

void index_init(struct index *ix)
{
	*ix = (struct index){.next_acct = 1};
	map_init(&ix->by_name);
	map_init(&ix->blobs);
	map_init(&ix->items);
	list_init(&ix->unref);
}

static void folder_free(struct folder *f)
{
	CHECK(list_empty(&f->watch));
	for (uint32_t i = 0; i < f->n_kw; i++)
		free(f->kw[i]);
	free(f->kw);
	free(f->ent);
	free(f->tomb);
	free(f->name);
	free(f);
}

static void account_free(struct account *a)
{
	for (uint32_t i = 0; i < a->n_folder; i++)
		folder_free(a->folder[i]);
	for (uint32_t i = 0; i < a->n_sub; i++)
		free(a->sub[i]);
	free(a->folder);
	free(a->sub);
	free(a->name);
	free(a->pass);
	free(a);
}

static void blob_free(struct blob *b)
{
	if (b->ext != &b->one)
		free(b->ext);
	free(b);
}

void index_fini(struct index *ix)
{
	uint32_t it = 0;
	uint64_t key, val;
	for (uint32_t i = 0; i < ix->n_acct; i++)
		account_free(ix->acct[i]);
	free(ix->acct);
	while (map_each(&ix->items, &it, &key, &val))
		free((void *)(uintptr_t)val);
	it = 0;
	while (map_each(&ix->blobs, &it, &key, &val))
		blob_free((struct blob *)(uintptr_t)val);
	map_fini(&ix->by_name);
	map_fini(&ix->blobs);
	map_fini(&ix->items);
	free(ix->seg);
}

/* ---- accounts ---- */

static uint64_t name_hash(struct span name)
{
	return siphash(name_key, name.p, name.len);
}

static uint32_t account_lower(const struct index *ix, uint64_t id)
{
	uint32_t lo = 0, hi = ix->n_acct;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (ix->acct[mid]->id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct account *index_account(const struct index *ix, uint64_t id)
{
	uint32_t i = account_lower(ix, id);
	return i < ix->n_acct && ix->acct[i]->id == id ? ix->acct[i] : NULL;
}

struct account *index_account_named(const struct index *ix, struct span name)
{
	uint64_t val;
	if (!map_get(&ix->by_name, name_hash(name), &val))
		return NULL;
	struct account *a = (struct account *)(uintptr_t)val;
	while (a && !span_eq(span_str(a->name), name))
		a = a->hash_next;
	return a;
}

struct account *index_account_add(struct index *ix, uint64_t id, struct span name, struct span pass)
{
	struct account *a = calloc(1, sizeof(*a));
	CHECK(a);
	a->id = id ? id : ix->next_acct;
	CHECK(a->id >= ix->next_acct);
	ix->next_acct = a->id + 1;
	a->name = index_strdup(name);
	a->pass = index_strdup(pass);
	a->next_folder = STORE_INBOX;
	a->uv_last = ix->uv_floor;
	ix->acct = index_grow(ix->acct, ix->n_acct, &ix->cap_acct, sizeof(struct account *));
	ix->acct[ix->n_acct++] = a;
	uint64_t val, h = name_hash(name);
	if (map_get(&ix->by_name, h, &val))
		a->hash_next = (struct account *)(uintptr_t)val;
	map_put(&ix->by_name, h, (uintptr_t)a);
	return a;
}

static void name_remove(struct index *ix, struct account *a)
{
	uint64_t val, h = name_hash(span_str(a->name));
	CHECK(map_get(&ix->by_name, h, &val));
	struct account *head = (struct account *)(uintptr_t)val, **at = &head;
	while (*at != a)
		at = &(*at)->hash_next;
	*at = a->hash_next;
	if (head)
		map_put(&ix->by_name, h, (uintptr_t)head);
	else
		map_del(&ix->by_name, h);
}

void index_account_remove(struct index *ix, struct account *a)
{
	while (a->n_folder > 0)
		index_folder_remove(ix, a, a->folder[a->n_folder - 1]);
	name_remove(ix, a);
	if (a->uv_last > ix->uv_floor)
		ix->uv_floor = a->uv_last;
	uint32_t i = account_lower(ix, a->id);
	memmove(&ix->acct[i], &ix->acct[i + 1], (--ix->n_acct - i) * sizeof(struct account *));
	account_free(a);
}

/* ---- folders ---- */

struct folder *index_folder(const struct account *a, uint32_t id)
{
	uint32_t lo = 0, hi = a->n_folder;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (a->folder[mid]->id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < a->n_folder && a->folder[lo]->id == id ? a->folder[lo] : NULL;
}

struct folder *index_folder_named(const struct account *a, struct span name)
{
	for (uint32_t i = 0; i < a->n_folder; i++) {
		if (span_eq(span_str(a->folder[i]->name), name))
			return a->folder[i];
	}
	return NULL;
}

struct folder *index_folder_add(struct account *a, uint32_t id, struct span name, uint32_t uidvalidity)
{
	struct folder *f = calloc(1, sizeof(*f));
	CHECK(f && id >= a->next_folder);
	a->next_folder = id + 1;
	f->acct = a->id;
	f->id = id;
	f->uidvalidity = uidvalidity;
	f->uidnext = f->recent_uid = 1;
	f->modseq = 1;
	f->name = index_strdup(name);
	list_init(&f->watch);
	a->folder = realloc(a->folder, (a->n_folder + 1) * sizeof(struct folder *));
	CHECK(a->folder);
	a->folder[a->n_folder++] = f;
	return f;
}

void index_folder_remove(struct index *ix, struct account *a, struct folder *f)
{
	for (uint32_t i = 0; i < f->n_ent; i++)
		index_blob_unref(ix, index_blob(ix, f->ent[i].blob));
	ix->n_msg -= f->n_ent;
	if (ix->changed)
		ix->changed(ix->arg, f, true);
	uint32_t i = 0;
	while (a->folder[i] != f)
		i++;
	memmove(&a->folder[i], &a->folder[i + 1], (--a->n_folder - i) * sizeof(struct folder *));
	folder_free(f);
}

static int64_t sub_find(const struct account *a, struct span name)
{
	for (uint32_t i = 0; i < a->n_sub; i++) {
		if (span_eq(span_str(a->sub[i]), name))
			return i;
	}
	return -1;
}

bool index_subscribed(const struct account *a, struct span name)
{
	return sub_find(a, name) >= 0;
}

bool index_subscribe(struct account *a, struct span name, bool on)
{
	int64_t i = sub_find(a, name);
	if ((i >= 0) == on)
		return false;
	if (on) {
		a->sub = realloc(a->sub, (a->n_sub + 1) * sizeof(char *));
		CHECK(a->sub);
		a->sub[a->n_sub++] = index_strdup(name);
	} else {
		free(a->sub[i]);
		a->sub[i] = a->sub[--a->n_sub];
	}
	return true;
}

/* ---- entries ---- */

uint32_t index_lower(const struct folder *f, uint32_t uid)
{
	uint32_t lo = 0, hi = f->n_ent;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (f->ent[mid].uid < uid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

void index_ent_count(struct folder *f, const struct store_ent *e, int sign)
{
	uint32_t one = sign > 0 ? 1 : UINT32_MAX; /* modulo 2^32: minus one */
	f->unseen += (e->flags & STORE_SEEN) ? 0 : one;
	f->deleted += (e->flags & STORE_DELETED) ? one : 0;
	f->bytes = sign > 0 ? f->bytes + e->size : f->bytes - e->size;
}

void index_ent_add(struct index *ix, struct folder *f, const struct store_ent *e)
{
	CHECK(e->uid >= f->uidnext);
	f->ent = index_grow(f->ent, f->n_ent, &f->cap_ent, sizeof(*f->ent));
	f->ent[f->n_ent++] = *e;
	f->uidnext = e->uid + 1;
	index_ent_count(f, e, 1);
	ix->n_msg++;
	index_blob_ref(ix, index_blob(ix, e->blob));
}

void index_tomb_add(struct folder *f, uint32_t uid, uint64_t modseq)
{
	if (f->n_tomb == INDEX_TOMB_MAX) {
		uint32_t cut = INDEX_TOMB_MAX / 4;
		f->tomb_floor = f->tomb[cut - 1].modseq;
		f->n_tomb -= cut;
		memmove(f->tomb, f->tomb + cut, f->n_tomb * sizeof(*f->tomb));
	}
	f->tomb = index_grow(f->tomb, f->n_tomb, &f->cap_tomb, sizeof(*f->tomb));
	f->tomb[f->n_tomb++] = (struct tomb){.modseq = modseq, .uid = uid};
}

int index_kw(struct folder *f, struct span name, bool make)
{
	for (uint32_t i = 0; i < f->n_kw; i++) {
		if (span_ieq(span_str(f->kw[i]), name))
			return (int)i;
	}
	if (!make || f->n_kw == INDEX_KW_MAX)
		return -1;
	f->kw = realloc(f->kw, (f->n_kw + 1) * sizeof(char *));
	CHECK(f->kw);
	f->kw[f->n_kw] = index_strdup(name);
	return (int)f->n_kw++;
}

/* ---- blobs ---- */

struct seg_use *index_seg(struct index *ix, uint32_t seg)
{
	CHECK(seg < INDEX_SEG_MAX);
	if (seg >= ix->n_seg) {
		ix->seg = realloc(ix->seg, (seg + 1) * sizeof(*ix->seg));
		CHECK(ix->seg);
		memset(ix->seg + ix->n_seg, 0, (seg + 1 - ix->n_seg) * sizeof(*ix->seg));
		ix->n_seg = seg + 1;
	}
	return &ix->seg[seg];
}

struct blob *index_blob(const struct index *ix, store_id id)
{
	uint64_t val;
	return map_get(&ix->blobs, id, &val) ? (struct blob *)(uintptr_t)val : NULL;
}

struct blob *index_blob_add(struct index *ix, store_id id)
{
	struct blob *b = calloc(1, sizeof(*b));
	CHECK(b);
	b->id = id;
	b->ext = &b->one;
	b->cap_ext = 1;
	list_push(&ix->unref, &b->unref);
	ix->n_blob++;
	map_put(&ix->blobs, id, (uintptr_t)b);
	return b;
}

void index_blob_extent(struct index *ix, struct blob *b, const struct extent *e)
{
	if (b->n_ext == b->cap_ext) {
		struct extent *old = b->ext;
		b->cap_ext *= 4;
		b->ext = malloc(b->cap_ext * sizeof(*b->ext));
		CHECK(b->ext);
		memcpy(b->ext, old, b->n_ext * sizeof(*b->ext));
		if (old != &b->one)
			free(old);
	}
	b->ext[b->n_ext++] = *e;
	b->size += e->len;
	index_seg(ix, e->seg)->live += extent_cost(e);
}

/* An extent goes out of use. */
static void extent_leave(struct index *ix, const struct extent *e)
{
	struct seg_use *u = index_seg(ix, e->seg);
	CHECK(u->live >= extent_cost(e));
	u->live -= extent_cost(e);
	u->drop_seq = ix->seq;
}

void index_blob_move(struct index *ix, struct blob *b, uint32_t i, const struct extent *to)
{
	CHECK(b->complete && i < b->n_ext && b->ext[i].len == to->len && b->ext[i].crc == to->crc);
	extent_leave(ix, &b->ext[i]);
	b->ext[i] = *to;
	index_seg(ix, to->seg)->live += extent_cost(to);
}

void index_blob_ref(struct index *ix, struct blob *b)
{
	CHECK(b);
	if (b->refs++ == 0)
		list_del(&b->unref);
}

void index_blob_unref(struct index *ix, struct blob *b)
{
	CHECK(b && b->refs > 0);
	if (--b->refs == 0)
		list_push_front(&ix->unref, &b->unref);
}

void index_blob_drop(struct index *ix, struct blob *b)
{
	CHECK(b->refs == 0);
	list_del(&b->unref);
	for (uint32_t i = 0; i < b->n_ext; i++)
		extent_leave(ix, &b->ext[i]);
	map_del(&ix->blobs, b->id);
	ix->n_blob--;
	blob_free(b);
}

void index_blob_sweep(struct index *ix, bool all)
{
	/* Complete ones stand in front (unref puts them there); parts of messages that still arrive come last. */
	LIST_EACH(n, &ix->unref) {
		struct blob *b = LIST_ENTRY(n, struct blob, unref);
		if (!all && !b->complete)
			break;
		index_blob_drop(ix, b);
	}
}

/* ---- queue ---- */

struct qitem *index_item(const struct index *ix, store_id id)
{
	uint64_t val;
	return map_get(&ix->items, id, &val) ? (struct qitem *)(uintptr_t)val : NULL;
}

void index_item_put(struct index *ix, store_id id, struct blob *b, uint64_t due_us, struct span state)
{
	struct qitem *old = index_item(ix, id);
	struct qitem *q = malloc(sizeof(*q) + state.len);
	CHECK(q);
	q->id = id;
	q->due_us = due_us;
	q->blob = b;
	q->state_len = (uint32_t)state.len;
	if (state.len)
		memcpy(q->state, state.p, state.len);
	index_blob_ref(ix, b);
	if (old) {
		index_blob_unref(ix, old->blob);
		free(old);
	} else {
		ix->n_item++;
	}
	map_put(&ix->items, id, (uintptr_t)q);
}

void index_item_del(struct index *ix, store_id id)
{
	struct qitem *q = index_item(ix, id);
	CHECK(q);
	map_del(&ix->items, id);
	ix->n_item--;
	index_blob_unref(ix, q->blob);
	free(q);
}
