/*
 * store_recover.c: the reading half of the log: the state of the store from its checkpoint and what follows.
 *
 * Replay takes groups from the checkpoint's place on, segment after segment (the next is the one whose header
 * names the next group and the checksum of the last), until none follows. That is the normal end, unless some
 * group anywhere says that it was written when more than that was durable: then something acknowledged is
 * missing, and the start stops with file and offset. Groups behind the end that knew less were in flight
 * when the power went: they were never acknowledged, and new groups are written over them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "log.h"
#include "store_int.h"

struct recovery {
	struct store *s;
	char *why;
	size_t why_size;
	uint32_t *slot;          /* of the files found */
	uint32_t n_slot;
	struct seg_header *head; /* by slot */
	uint8_t *head_ok, *in_chain;
	uint64_t seq, lsn, records;
	uint32_t chain;
	uint8_t *window;         /* of the segment that is read: one piece for all, fresh memory is what costs most */
	uint32_t window_size;
};

#define WINDOW_MAX (4u << 20)
#define GROUP_MOST (GROUP_CAP + 2 * DISK_BLOCK) /* bytes of the largest group */

static uint32_t group_crc(const struct group_header *h)
{
	struct group_header z = *h;
	z.crc = 0;
	return crc32c(0, &z, sizeof(z));
}

bool group_head_read(const uint8_t *p, struct group_header *out)
{
	memcpy(out, p, sizeof(*out));
	return out->magic == GROUP_MAGIC && out->crc == group_crc(out);
}

bool record_next(const uint8_t *p, uint32_t bytes, uint32_t *off, struct record *out)
{
	uint32_t head[2];
	if (bytes - *off < RECORD_HEADER)
		return false;
	memcpy(head, p + *off, sizeof(head));
	if (head[0] > bytes - *off - RECORD_HEADER)
		return false;
	out->type = (uint8_t)head[1];
	out->off = *off + RECORD_HEADER;
	out->data = span_of(p + out->off, head[0]);
	*off += record_bytes(head[0]);
	return *off <= bytes;
}

/* Sums as log_body and log_record_end make them. */
static bool record_sum(const uint8_t *p, const struct record *r, bool bodies, uint32_t *meta)
{
	const uint8_t *head = p + r->off - RECORD_HEADER;
	if (r->type != REC_BODY && r->type != REC_MOVED) {
		*meta = crc32c(*meta, head, record_bytes(r->data.len));
		return true;
	}
	if (r->data.len < BODY_HEADER)
		return false;
	uint32_t crc;
	memcpy(&crc, r->data.p + 20, 4);
	*meta = crc32c(*meta, head, RECORD_HEADER + BODY_HEADER);
	return !bodies || crc == crc32c(0, r->data.p + BODY_HEADER, r->data.len - BODY_HEADER);
}

enum err group_parse(const uint8_t *p, size_t len, bool bodies, struct group_header *out)
{
	if (len < GROUP_HEADER)
		return ERR_MORE;
	if (!group_head_read(p, out))
		return ERR_MORE;
	if (out->bytes < GROUP_HEADER || out->bytes > len || out->bytes > 1u << 30)
		return ERR_CORRUPT;
	uint32_t off = GROUP_HEADER, n = 0, meta = 0;
	struct record r;
	while (off < out->bytes && record_next(p, out->bytes, &off, &r)) {
		if (!record_sum(p, &r, bodies, &meta))
			return ERR_CORRUPT;
		n++;
	}
	return off == out->bytes && n == out->records && meta == out->meta_crc ? ERR_OK : ERR_CORRUPT;
}

static enum err damaged(struct recovery *rc, uint32_t slot, uint64_t off, const char *what)
{
	char name[DISK_NAME_MAX + 1];
	seg_name(name, slot);
	(void)snprintf(rc->why, rc->why_size, "%s/%s: offset %llu: %s; not started, so that nothing is lost: "
		       "restore the file or the whole store from a copy", rc->s->conf.path, name,
		       (unsigned long long)off, what);
	return ERR_CORRUPT;
}

static enum err failed(struct recovery *rc, const char *name, enum err e)
{
	(void)snprintf(rc->why, rc->why_size, "%s/%s: %s", rc->s->conf.path, name, err_text(e));
	return e;
}

/* ---- files ---- */

struct listing {
	struct recovery *rc;
	char (*tmp)[DISK_NAME_MAX + 1];
	uint32_t n_tmp;
	bool checkpoint;
};

static void list_one(void *arg, const char *name, uint64_t size)
{
	struct listing *l = arg;
	size_t n = strlen(name);
	uint64_t slot;
	if (n > 4 && strcmp(name + n - 4, ".tmp") == 0) {
		l->tmp = realloc(l->tmp, (l->n_tmp + 1) * sizeof(*l->tmp));
		CHECK(l->tmp);
		memcpy(l->tmp[l->n_tmp++], name, n + 1);
	} else if (strcmp(name, "checkpoint") == 0) {
		l->checkpoint = true;
	} else if (n >= 10 && memcmp(name, "seg-", 4) == 0 &&
		   span_u64(span_from(span_str(name), 4), INDEX_SEG_MAX - 1, &slot) && size >= 2 * DISK_BLOCK) {
		struct recovery *rc = l->rc;
		rc->slot = realloc(rc->slot, (rc->n_slot + 1) * sizeof(*rc->slot));
		CHECK(rc->slot);
		rc->slot[rc->n_slot++] = (uint32_t)slot;
	}
}

static enum err read_header(struct recovery *rc, uint32_t slot, uint8_t *block)
{
	struct store *s = rc->s;
	const struct seg *g = &s->seg[slot];
	enum err e = s->disk->ops->read(s->disk, g->file, 0, block, DISK_BLOCK);
	if (e != ERR_OK)
		return failed(rc, g->file->name, e);
	rc->head_ok[slot] = seg_header_read(block, slot, &rc->head[slot]);
	if (rc->head_ok[slot] && rc->head[slot].version > STORE_VERSION) {
		(void)snprintf(rc->why, rc->why_size, "%s: written by a newer version (format %u, this one knows %u)",
			       s->conf.path, rc->head[slot].version, STORE_VERSION);
		return ERR_UNSUPPORTED;
	}
	return ERR_OK;
}

static enum err open_files(struct recovery *rc, bool *checkpoint)
{
	struct store *s = rc->s;
	struct listing l = {.rc = rc};
	enum err e = s->disk->ops->list(s->disk, list_one, &l);
	for (uint32_t i = 0; i < l.n_tmp && e == ERR_OK && !s->look_only; i++)
		e = s->disk->ops->unlink(s->disk, l.tmp[i]);
	free(l.tmp);
	*checkpoint = l.checkpoint;
	if (e != ERR_OK)
		return failed(rc, "", e);
	for (uint32_t i = 0; i < rc->n_slot; i++) {
		char name[DISK_NAME_MAX + 1];
		struct disk_file *f;
		seg_name(name, rc->slot[i]);
		e = s->disk->ops->file_open(s->disk, name, DISK_DIRECT, &f);
		if (e != ERR_OK)
			return failed(rc, name, e);
		seg_add(s, rc->slot[i], f, SEG_NONE);
	}
	uint32_t n = s->n_seg ? s->n_seg : 1;
	rc->head = calloc(n, sizeof(*rc->head));
	rc->head_ok = calloc(n, 1);
	rc->in_chain = calloc(n, 1);
	uint8_t *block = aligned_alloc(DISK_BLOCK, DISK_BLOCK);
	rc->window_size = DISK_BLOCK;
	for (uint32_t i = 0; i < rc->n_slot; i++) {
		uint32_t size = s->seg[rc->slot[i]].size < WINDOW_MAX ? s->seg[rc->slot[i]].size : WINDOW_MAX;
		rc->window_size = size > rc->window_size ? size : rc->window_size;
	}
	rc->window = aligned_alloc(DISK_BLOCK, rc->window_size);
	CHECK(rc->window && rc->head && rc->head_ok && rc->in_chain && block);
	for (uint32_t i = 0; i < rc->n_slot && e == ERR_OK; i++)
		e = read_header(rc, rc->slot[i], block);
	free(block);
	return e;
}

static enum err read_checkpoint(struct recovery *rc, struct checkpoint_pos *pos)
{
	struct store *s = rc->s;
	struct disk_file *f;
	enum err e = s->disk->ops->file_open(s->disk, "checkpoint", 0, &f);
	if (e != ERR_OK)
		return failed(rc, "checkpoint", e);
	uint64_t size = f->size;
	uint8_t *p = malloc(size ? size : 1);
	CHECK(p);
	e = s->disk->ops->read(s->disk, f, 0, p, size);
	s->disk->ops->file_close(s->disk, &f);
	if (e == ERR_OK)
		e = checkpoint_decode(s, span_of(p, size), pos);
	free(p);
	if (e == ERR_UNSUPPORTED)
		(void)snprintf(rc->why, rc->why_size, "%s: written by a newer version of the program", s->conf.path);
	else if (e != ERR_OK)
		(void)failed(rc, "checkpoint", e);
	return e;
}

/* ---- replay ---- */

static enum err replay_group(struct recovery *rc, uint32_t slot, uint32_t at, const uint8_t *p,
			     const struct group_header *h)
{
	uint32_t off = GROUP_HEADER;
	struct record r;
	rc->s->ix.seq = h->seq;
	while (off < h->bytes && record_next(p, h->bytes, &off, &r)) {
		enum err e = replay_record(rc->s, r.type, r.data, slot, at + r.off);
		if (e != ERR_OK)
			return damaged(rc, slot, at + r.off, "a record does not fit the state before it");
		rc->records++;
	}
	rc->seq = h->seq;
	rc->lsn = h->first_lsn + h->records;
	rc->chain = h->crc;
	return ERR_OK;
}

/* Bytes [at, at + *len) of a segment file in the window; at most what the file has. */
static enum err window_read(struct recovery *rc, const struct seg *g, uint32_t at, uint32_t *len)
{
	struct store *s = rc->s;
	*len = g->size - at < rc->window_size ? g->size - at : rc->window_size;
	enum err e = s->disk->ops->read(s->disk, g->file, at, rc->window, *len);
	return e == ERR_OK ? e : failed(rc, g->file->name, e);
}

/* Replays slot from s->cur_off on; leaves cur_off at the end. */
static enum err replay_segment(struct recovery *rc, uint32_t slot)
{
	struct store *s = rc->s;
	struct seg *g = &s->seg[slot];
	uint32_t begin = 0, len = 0; /* of the window */
	while (s->cur_off < g->size) {
		uint32_t at = s->cur_off;
		if (len == 0 || (at - begin + GROUP_MOST > len && begin + len < g->size)) {
			enum err e = window_read(rc, g, at, &len);
			if (e != ERR_OK)
				return e;
			begin = at;
		}
		struct group_header h;
		const uint8_t *p = rc->window + (at - begin);
		if (group_parse(p, len - (at - begin), true, &h) != ERR_OK || h.generation != g->generation ||
		    h.seq != rc->seq + 1 || (h.chain != rc->chain && !(s->conf.breaks & STORE_BREAK_CHAIN)))
			return ERR_OK;
		enum err e = replay_group(rc, slot, at, p, &h);
		if (e != ERR_OK)
			return e;
		g->end_seq = h.seq;
		s->cur_off += align_up(h.bytes, DISK_BLOCK);
		s->since_ckpt += align_up(h.bytes, DISK_BLOCK);
	}
	return ERR_OK;
}

/* Parts of messages that never came to an end may lie in a segment that was used again since. */
static void drop_stale_parts(struct store *s, uint32_t slot)
{
	LIST_EACH(n, &s->ix.unref) {
		struct blob *b = LIST_ENTRY(n, struct blob, unref);
		for (uint32_t i = 0; i < b->n_ext; i++) {
			if (b->ext[i].seg == slot) {
				index_blob_drop(&s->ix, b);
				break;
			}
		}
	}
}

static enum err enter_segment(struct recovery *rc, uint32_t slot)
{
	struct store *s = rc->s;
	struct seg *g = &s->seg[slot];
	drop_stale_parts(s, slot);
	if (index_seg(&s->ix, slot)->live != 0)
		return damaged(rc, slot, 0, "a segment that is in use was written over");
	g->generation = rc->head[slot].generation;
	g->first_seq = g->end_seq = rc->seq + 1; /* end: at least this one was to be here */
	rc->in_chain[slot] = 1;
	s->cur = slot;
	s->cur_off = DISK_BLOCK;
	return ERR_OK;
}

static enum err replay(struct recovery *rc, const struct checkpoint_pos *pos)
{
	struct store *s = rc->s;
	enum err e = ERR_OK;
	s->cur = UINT32_MAX;
	if (pos->slot < s->n_seg && s->seg[pos->slot].file && rc->head_ok[pos->slot] &&
	    rc->head[pos->slot].generation == pos->generation && pos->off >= DISK_BLOCK &&
	    pos->off <= s->seg[pos->slot].size && pos->off % DISK_BLOCK == 0) {
		s->cur = pos->slot;
		s->cur_off = pos->off;
		rc->in_chain[s->cur] = 1;
	}
	while (e == ERR_OK) {
		if (s->cur != UINT32_MAX)
			e = replay_segment(rc, s->cur);
		uint32_t next = UINT32_MAX;
		for (uint32_t i = 0; i < s->n_seg; i++) {
			if (s->seg[i].file && rc->head_ok[i] && i != s->cur && rc->head[i].first_seq == rc->seq + 1 &&
			    rc->head[i].chain == rc->chain)
				next = i;
		}
		if (e != ERR_OK || next == UINT32_MAX)
			break;
		e = enter_segment(rc, next);
	}
	return e;
}

/* ---- is the end the end? ---- */

/* Looks for a group that knew of more than was found. any: of whatever generation. */
static enum err scan_segment(struct recovery *rc, uint32_t slot, uint32_t from, bool any, uint32_t bad_slot,
			     uint64_t bad_off)
{
	const struct seg *g = &rc->s->seg[slot];
	for (uint32_t len; from < g->size; from += len) {
		enum err e = window_read(rc, g, from, &len);
		for (uint32_t off = 0; off < len && e == ERR_OK; off += DISK_BLOCK) {
			struct group_header h;
			if (!group_head_read(rc->window + off, &h) ||
			    (!any && h.generation != rc->head[slot].generation))
				continue;
			if (h.durable > rc->seq)
				e = damaged(rc, bad_slot, bad_off, "the log is damaged here (later groups are there)");
		}
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

static enum err is_blank(struct recovery *rc, uint32_t slot, bool *blank)
{
	struct store *s = rc->s;
	uint8_t *p = aligned_alloc(DISK_BLOCK, 2 * DISK_BLOCK);
	CHECK(p);
	enum err e = s->disk->ops->read(s->disk, s->seg[slot].file, 0, p, 2 * DISK_BLOCK);
	*blank = e == ERR_OK && p[0] == 0 && memcmp(p, p + 1, 2 * DISK_BLOCK - 1) == 0;
	free(p);
	return e == ERR_OK ? e : failed(rc, s->seg[slot].file->name, e);
}

static enum err check_end(struct recovery *rc)
{
	struct store *s = rc->s;
	enum err e = ERR_OK;
	if (s->cur != UINT32_MAX)
		e = scan_segment(rc, s->cur, s->cur_off, false, s->cur, s->cur_off);
	for (uint32_t i = 0; i < rc->n_slot && e == ERR_OK; i++) {
		uint32_t slot = rc->slot[i];
		bool blank = false;
		if (rc->in_chain[slot] || (rc->head_ok[slot] && rc->head[slot].first_seq <= rc->seq))
			continue;
		if (rc->head_ok[slot]) {
			uint32_t bad = s->cur != UINT32_MAX ? s->cur : slot;
			e = scan_segment(rc, slot, DISK_BLOCK, false, bad, s->cur != UINT32_MAX ? s->cur_off : 0);
			continue;
		}
		e = is_blank(rc, slot, &blank);
		if (e == ERR_OK && !blank)
			e = scan_segment(rc, slot, DISK_BLOCK, true, slot, 0);
	}
	return e;
}

/* Every body that something refers to lies in a segment that is the one it was written to. */
static enum err check_blobs(struct recovery *rc)
{
	struct store *s = rc->s;
	uint32_t it = 0;
	uint64_t key, val;
	while (map_each(&s->ix.blobs, &it, &key, &val)) {
		const struct blob *b = (const struct blob *)(uintptr_t)val;
		for (uint32_t i = 0; i < b->n_ext; i++) {
			const struct extent *x = &b->ext[i];
			bool there = x->seg < s->n_seg && s->seg[x->seg].file;
			if (!there)
				return damaged(rc, x->seg, 0, "the file is missing and holds mail");
			if (x->off < DISK_BLOCK || (uint64_t)x->off + x->len > s->seg[x->seg].size)
				return damaged(rc, x->seg, x->off, "the file is too short and holds mail");
			if (!rc->head_ok[x->seg] || rc->head[x->seg].generation != s->seg[x->seg].generation)
				return damaged(rc, x->seg, 0, "the header is damaged and the segment holds mail");
		}
	}
	return ERR_OK;
}

/* What a killed process wrote may be only in the drive's cache: make it stable before anything builds on it. */
static enum err settle(struct recovery *rc)
{
	struct store *s = rc->s;
	for (uint32_t i = 0; i < rc->n_slot; i++) {
		struct seg *g = &s->seg[rc->slot[i]];
		if (rc->in_chain[rc->slot[i]] && !s->look_only) {
			enum err e = s->disk->ops->sync(s->disk, g->file);
			if (e != ERR_OK)
				return failed(rc, g->file->name, e);
		}
		bool needed = s->ix.seg[rc->slot[i]].live > 0 ||
			      (rc->in_chain[rc->slot[i]] && g->end_seq > s->ckpt_seq);
		/* Nothing is added to a segment of an older format: its header says what may be found in it. */
		bool go_on = rc->slot[i] == s->cur && rc->head[s->cur].version == STORE_VERSION;
		g->state = go_on ? SEG_CURRENT : needed ? SEG_FULL : SEG_FREE;
		g->sealed_live = s->ix.seg[rc->slot[i]].live;
		s->n_free += g->state == SEG_FREE;
	}
	if (s->cur != UINT32_MAX && s->seg[s->cur].state != SEG_CURRENT)
		s->cur = UINT32_MAX;
	return ERR_OK;
}

static enum err recover_all(struct recovery *rc)
{
	struct store *s = rc->s;
	struct checkpoint_pos pos = {.slot = UINT32_MAX};
	bool checkpoint;
	enum err e = open_files(rc, &checkpoint);
	if (e == ERR_OK && checkpoint)
		e = read_checkpoint(rc, &pos);
	if (e != ERR_OK)
		return e;
	rc->seq = s->ckpt_seq = pos.seq;
	rc->lsn = pos.lsn;
	rc->chain = pos.chain;
	s->boot = pos.boot;
	e = replay(rc, &pos);
	if (e == ERR_OK)
		e = check_end(rc);
	if (e != ERR_OK)
		return e;
	index_blob_sweep(&s->ix, true);
	for (uint32_t i = 0; i < s->ix.n_seg; i++)
		s->ix.seg[i].drop_seq = 0;
	e = check_blobs(rc);
	return e == ERR_OK ? settle(rc) : e;
}

enum err recover(struct store *s, char *why, size_t why_size)
{
	struct recovery rc = {.s = s, .why = why, .why_size = why_size};
	uint64_t t = clock_us();
	enum err e = recover_all(&rc);
	s->seq_closed = s->durable = rc.seq;
	s->seq_next = rc.seq + 1;
	s->lsn = rc.lsn;
	s->chain = rc.chain;
	atomic_store_explicit(&s->g.recovered_records, rc.records, memory_order_relaxed);
	atomic_store_explicit(&s->g.recovered_us, clock_us() - t, memory_order_relaxed);
	free(rc.window);
	free(rc.slot);
	free(rc.head);
	free(rc.head_ok);
	free(rc.in_chain);
	return e;
}
