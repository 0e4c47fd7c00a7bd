/*
 * store_check.c: is everything on the disk what was written? Reads all of it, changes nothing.
 *
 * First the start as recovery does it, which checks the checkpoint and the log behind it; then, whatever that found, each
 * segment in use from its front: the chain of groups, each group's records, each body's checksum, and that all between them is
 * zero, so that a single flipped bit in a block in use is found wherever it is. A bad group is reported and the walk goes on at the
 * next one of the same generation. Last, what the index says of itself: references, live bytes, counters, orders.
 * Blocking; by one thread; the store belongs to it.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "store_int.h"

#define WINDOW     (4u << 20)
#define GROUP_MOST (GROUP_CAP + 2 * DISK_BLOCK)
#define LINES_MAX 1000u /* more are only counted */

struct check {
	struct store *s;
	const struct store_check_ops *ops;
	struct store_check *out;
	uint8_t *win;
	uint32_t win_off, win_len;
	uint64_t all, done; /* bytes of segments to read */
	unsigned percent;
};

__attribute__((format(printf, 2, 3))) static void found(struct check *k, const char *fmt, ...)
{
	char line[400];
	va_list ap;
	if (k->out->found++ >= LINES_MAX || !k->ops->found)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	k->ops->found(k->ops->arg, line);
}

static void found_at(struct check *k, uint32_t slot, uint64_t off, const char *what)
{
	char name[DISK_NAME_MAX + 1];
	seg_name(name, slot);
	found(k, "%s: offset %" PRIu64 ": %s", name, off, what);
}

static bool zeros(const uint8_t *p, size_t len)
{
	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* ---- segments ---- */

static bool window(struct check *k, uint32_t slot, uint32_t off)
{
	struct seg *g = &k->s->seg[slot];
	uint64_t whole = k->done + off;
	k->win_off = off;
	k->win_len = g->size - off < WINDOW ? g->size - off : WINDOW;
	unsigned percent = k->all ? (unsigned)(whole * 100 / k->all) : 100;
	if (k->ops->percent && percent != k->percent)
		k->ops->percent(k->ops->arg, percent);
	k->percent = percent;
	if (k->s->disk->ops->read(k->s->disk, g->file, off, k->win, k->win_len) == ERR_OK)
		return true;
	found_at(k, slot, off, "cannot be read");
	return false;
}

/* The window holds a whole group at off, if there is one. */
static bool window_at(struct check *k, uint32_t slot, uint32_t off)
{
	bool there = off >= k->win_off && off - k->win_off < k->win_len;
	bool whole = k->win_off + k->win_len == k->s->seg[slot].size || off - k->win_off + GROUP_MOST <= k->win_len;
	return (there && whole) || window(k, slot, off);
}

static void check_records(struct check *k, uint32_t slot, uint32_t at, const struct group_header *h)
{
	const uint8_t *p = k->win + (at - k->win_off);
	uint32_t off = GROUP_HEADER;
	struct record r;
	while (off < h->bytes && record_next(p, h->bytes, &off, &r)) {
		k->out->records++;
		if (r.type != REC_BODY && r.type != REC_MOVED)
			continue;
		struct reader in = reader_of(r.data);
		store_id id = get_u64(&in);
		(void)get_u64(&in);
		uint32_t len = get_u32(&in), crc = get_u32(&in);
		k->out->bodies++;
		if (in.s.len != len || crc32c(0, in.s.p, in.s.len) != crc)
			found_at(k, slot, at + r.off,
				 index_blob(&k->s->ix, id) ? "a message's bytes do not match their checksum"
							   : "the bytes of a message that is gone do not match their checksum");
		if (!zeros(r.data.p + r.data.len, off - r.off - r.data.len))
			found_at(k, slot, at + r.off + r.data.len, "bytes behind a record are not zero");
	}
	uint32_t whole = align_up(h->bytes, DISK_BLOCK);
	if (!zeros(p + h->bytes, whole - h->bytes))
		found_at(k, slot, at + h->bytes, "bytes behind a group are not zero");
	k->out->groups++;
	k->out->bytes += whole;
}

/* The next group of this generation behind a bad one; UINT32_MAX: none. */
static uint32_t next_group(struct check *k, uint32_t slot, uint32_t from, uint64_t generation, uint64_t seq)
{
	const struct seg *g = &k->s->seg[slot];
	for (; from < g->size; from += DISK_BLOCK) {
		struct group_header h;
		if (!window_at(k, slot, from))
			return UINT32_MAX;
		if (group_head_read(k->win + (from - k->win_off), &h) && h.generation == generation && h.seq > seq)
			return from;
	}
	return UINT32_MAX;
}

static void check_groups(struct check *k, uint32_t slot, const struct seg_header *head, uint64_t end_seq)
{
	const struct seg *g = &k->s->seg[slot];
	uint64_t seq = head->first_seq - 1;
	uint32_t chain = head->chain, at = DISK_BLOCK;
	bool chained = true;
	while (at < g->size && window_at(k, slot, at)) {
		struct group_header h;
		enum err e = group_parse(k->win + (at - k->win_off), k->win_len - (at - k->win_off), false, &h);
		if (e == ERR_OK && h.generation == head->generation && (chained ? h.seq == seq + 1 : h.seq > seq) &&
		    (!chained || h.chain == chain)) {
			check_records(k, slot, at, &h);
			seq = h.seq;
			chain = h.crc;
			chained = true;
			at += align_up(h.bytes, DISK_BLOCK);
			continue;
		}
		if (seq >= end_seq)
			return;
		found_at(k, slot, at, "a group is damaged or missing");
		chained = false;
		uint32_t next = next_group(k, slot, at + DISK_BLOCK, head->generation, seq);
		if (next == UINT32_MAX)
			return;
		at = next;
	}
	if (seq < end_seq)
		found_at(k, slot, at, "groups are missing at the end");
}

/* recovered: the state and the last group are known; else all that has a header is walked. */
static void check_segment(struct check *k, uint32_t slot, bool recovered)
{
	const struct seg *g = &k->s->seg[slot];
	struct seg_header head;
	if (!window(k, slot, 0))
		return;
	bool ok = seg_header_read(k->win, slot, &head);
	if (!ok || !zeros(k->win + sizeof(head), DISK_BLOCK - sizeof(head))) {
		if (recovered || !zeros(k->win, DISK_BLOCK))
			found_at(k, slot, 0, "the segment's header is damaged");
		if (!ok)
			return;
	}
	if (recovered && head.generation != g->generation) {
		found_at(k, slot, 0, "the segment was written over");
		return;
	}
	uint64_t end = g->end_seq < k->s->durable ? g->end_seq : k->s->durable;
	check_groups(k, slot, &head, recovered ? end : 0);
}

static void check_segments(struct check *k, bool recovered)
{
	struct store *s = k->s;
	for (uint32_t i = 0; i < s->n_seg; i++)
		k->all += s->seg[i].file ? s->seg[i].size : 0;
	for (uint32_t i = 0; i < s->n_seg; i++) {
		bool used = s->seg[i].state == SEG_FULL || s->seg[i].state == SEG_CURRENT || !recovered;
		if (!s->seg[i].file)
			continue;
		if (used) {
			check_segment(k, i, recovered);
			k->out->segments++;
		}
		k->done += s->seg[i].size;
	}
}

/* ---- the index ---- */

struct tally { /* what entries and queue items say, against what blobs and segments say */
	struct map refs;
	uint64_t *live;
	uint64_t n_ent;
};

static void tally_ref(struct check *k, struct tally *t, store_id blob, const char *who)
{
	uint64_t n = 0;
	const struct blob *b = index_blob(&k->s->ix, blob);
	if (!b || !b->complete)
		found(k, "%s refers to message %" PRIx64 ", which is not there", who, blob);
	(void)map_get(&t->refs, blob, &n);
	map_put(&t->refs, blob, n + 1);
}

static void check_folder(struct check *k, struct tally *t, const struct account *a, const struct folder *f)
{
	uint64_t bytes = 0;
	uint32_t unseen = 0, deleted = 0, uid = 0;
	char who[700];
	(void)snprintf(who, sizeof(who), "%s: folder %s", a->name, f->name);
	for (uint32_t i = 0; i < f->n_ent; i++) {
		const struct store_ent *e = &f->ent[i];
		if (e->uid <= uid || e->uid >= f->uidnext || e->modseq > f->modseq)
			found(k, "%s: UID %u is out of order", who, e->uid);
		uid = e->uid;
		bytes += e->size;
		unseen += !(e->flags & STORE_SEEN);
		deleted += (e->flags & STORE_DELETED) != 0;
		const struct blob *b = index_blob(&k->s->ix, e->blob);
		if (b && b->size != e->size)
			found(k, "%s: UID %u has another size than its message", who, e->uid);
		tally_ref(k, t, e->blob, who);
	}
	if (bytes != f->bytes || unseen != f->unseen || deleted != f->deleted)
		found(k, "%s: counters do not fit its entries", who);
	for (uint32_t i = 1; i < f->n_tomb; i++) {
		if (f->tomb[i].modseq < f->tomb[i - 1].modseq)
			found(k, "%s: expunged UIDs are out of order", who);
	}
	t->n_ent += f->n_ent;
}

static void check_blobs(struct check *k, const struct tally *t)
{
	const struct index *ix = &k->s->ix;
	uint32_t it = 0;
	uint64_t key, val;
	while (map_each(&ix->blobs, &it, &key, &val)) {
		const struct blob *b = (const struct blob *)(uintptr_t)val;
		uint64_t refs = 0, size = 0;
		(void)map_get(&t->refs, b->id, &refs);
		for (uint32_t i = 0; i < b->n_ext; i++) {
			size += b->ext[i].len;
			t->live[b->ext[i].seg] += extent_cost(&b->ext[i]);
		}
		if (refs != b->refs || size != b->size)
			found(k, "message %" PRIx64 ": %u references counted, %" PRIu64 " there", b->id, b->refs, refs);
	}
	for (uint32_t i = 0; i < ix->n_seg; i++) {
		if (t->live[i] != ix->seg[i].live)
			found_at(k, i, 0, "live bytes do not fit the messages in it");
	}
}

static void check_index(struct check *k)
{
	const struct index *ix = &k->s->ix;
	struct tally t = {.live = calloc(ix->n_seg + 1, sizeof(*t.live))};
	uint32_t it = 0;
	uint64_t key, val;
	CHECK(t.live);
	map_init(&t.refs);
	for (uint32_t i = 0; i < ix->n_acct; i++) {
		const struct account *a = ix->acct[i];
		for (uint32_t j = 0; j < a->n_folder; j++)
			check_folder(k, &t, a, a->folder[j]);
	}
	while (map_each(&ix->items, &it, &key, &val)) {
		const struct qitem *q = (const struct qitem *)(uintptr_t)val;
		tally_ref(k, &t, q->blob->id, "a queue item");
	}
	check_blobs(k, &t);
	if (t.n_ent != ix->n_msg)
		found(k, "%" PRIu64 " messages counted, %" PRIu64 " there", ix->n_msg, t.n_ent);
	map_fini(&t.refs);
	free(t.live);
	k->out->accounts = ix->n_acct;
	k->out->messages = ix->n_msg;
	k->out->items = ix->n_item;
	k->out->blobs = ix->n_blob;
}

enum err store_check(const struct store_conf *c, const struct store_check_ops *ops, struct store_check *out, char *why,
		     size_t why_size)
{
	struct check k = {.ops = ops, .out = out, .percent = UINT32_MAX};
	*out = (struct store_check){0};
	enum err e = store_make(&k.s, c, why, why_size);
	if (e != ERR_OK)
		return e;
	k.s->look_only = true;
	e = recover(k.s, why, why_size);
	if (e == ERR_UNSUPPORTED || e == ERR_NO_MEMORY) {
		store_free(k.s);
		return e;
	}
	if (e != ERR_OK)
		found(&k, "%s", why);
	uint32_t most = DISK_BLOCK; /* no more memory than the largest segment needs */
	for (uint32_t i = 0; i < k.s->n_seg; i++)
		most = k.s->seg[i].file && k.s->seg[i].size > most ? k.s->seg[i].size : most;
	k.win = aligned_alloc(DISK_BLOCK, most < WINDOW ? most : WINDOW);
	CHECK(k.win);
	check_segments(&k, e == ERR_OK);
	if (e == ERR_OK)
		check_index(&k);
	free(k.win);
	store_free(k.s);
	return out->found ? ERR_CORRUPT : ERR_OK;
}
