/*
 * store_checkpoint.c: the whole index as one file, so that the log before it need not be replayed.
 *
 * The storage thread serialises the index to memory right after it closed a group; when that group is durable
 * a helper thread writes checkpoint.tmp, syncs it, renames it to checkpoint and syncs the directory. Only
 * then do segments before it become free (a checkpoint that is cut short leaves the old one, and all that it
 * needs). Layout: {magic u64, version u32, crc u32 of the rest, length u64 of the rest}, then sections in the
 * order of checkpoint_encode.
 */
#include <stdlib.h>
#include <string.h>
#include "log.h"
#include "store_int.h"

#define HEAD 24u

/* ---- out ---- */

static void put_str(struct buf *b, const char *p)
{
	buf_add_lspan(b, span_str(p));
}

static void put_pos(const struct store *s, struct buf *b)
{
	bool cur = s->cur != UINT32_MAX;
	buf_add_u64(b, s->seq_closed);
	buf_add_u64(b, s->lsn);
	buf_add_u64(b, cur ? s->seg[s->cur].generation : 0);
	buf_add_u32(b, s->cur);
	buf_add_u32(b, s->cur_off);
	buf_add_u32(b, s->chain);
	buf_add_u16(b, s->boot);
}

static void put_segments(const struct store *s, struct buf *b)
{
	buf_add_u32(b, s->n_seg);
	for (uint32_t i = 0; i < s->n_seg; i++) {
		buf_add_u8(b, (uint8_t)s->seg[i].state);
		buf_add_u64(b, s->seg[i].generation);
		buf_add_u64(b, s->seg[i].end_seq);
	}
}

static void put_blobs(const struct store *s, struct buf *b)
{
	uint32_t it = 0;
	uint64_t key, val;
	buf_add_u64(b, s->ix.n_blob);
	while (map_each(&s->ix.blobs, &it, &key, &val)) {
		const struct blob *x = (const struct blob *)(uintptr_t)val;
		buf_add_u64(b, x->id);
		buf_add_u32(b, x->relay_off);
		buf_add_u32(b, x->flags);
		buf_add_u8(b, x->complete);
		buf_add_u32(b, x->n_ext);
		for (uint32_t i = 0; i < x->n_ext; i++) {
			buf_add_u32(b, x->ext[i].seg);
			buf_add_u32(b, x->ext[i].off);
			buf_add_u32(b, x->ext[i].len);
			buf_add_u32(b, x->ext[i].crc);
		}
	}
}

static void put_folder(const struct folder *f, struct buf *b)
{
	buf_add_u32(b, f->id);
	put_str(b, f->name);
	buf_add_u32(b, f->uidvalidity);
	buf_add_u32(b, f->uidnext);
	buf_add_u32(b, f->recent_uid);
	buf_add_u64(b, f->modseq);
	buf_add_u64(b, f->tomb_floor);
	buf_add_u8(b, f->noselect);
	buf_add_u32(b, f->n_kw);
	for (uint32_t i = 0; i < f->n_kw; i++)
		put_str(b, f->kw[i]);
	buf_add_u32(b, f->n_ent);
	for (uint32_t i = 0; i < f->n_ent; i++) {
		const struct store_ent *e = &f->ent[i];
		buf_add_u32(b, e->uid);
		buf_add_u32(b, e->flags);
		buf_add_u64(b, e->modseq);
		buf_add_u64(b, e->kw);
		buf_add_u64(b, e->oid);
		buf_add_u64(b, e->blob);
		buf_add_u64(b, (uint64_t)e->idate_s);
	}
	buf_add_u32(b, f->n_tomb);
	for (uint32_t i = 0; i < f->n_tomb; i++) {
		buf_add_u32(b, f->tomb[i].uid);
		buf_add_u64(b, f->tomb[i].modseq);
	}
}

static void put_accounts(const struct store *s, struct buf *b)
{
	buf_add_u32(b, s->ix.n_acct);
	for (uint32_t i = 0; i < s->ix.n_acct; i++) {
		const struct account *a = s->ix.acct[i];
		buf_add_u64(b, a->id);
		put_str(b, a->name);
		put_str(b, a->pass);
		buf_add_u32(b, a->uv_last);
		buf_add_u32(b, a->next_folder);
		buf_add_u32(b, a->n_folder);
		for (uint32_t j = 0; j < a->n_folder; j++)
			put_folder(a->folder[j], b);
		buf_add_u32(b, a->n_sub);
		for (uint32_t j = 0; j < a->n_sub; j++)
			put_str(b, a->sub[j]);
	}
	buf_add_u64(b, s->ix.next_acct);
	buf_add_u32(b, s->ix.uv_floor);
}

static void put_items(const struct store *s, struct buf *b)
{
	uint32_t it = 0;
	uint64_t key, val;
	buf_add_u64(b, s->ix.n_item);
	while (map_each(&s->ix.items, &it, &key, &val)) {
		const struct qitem *q = (const struct qitem *)(uintptr_t)val;
		buf_add_u64(b, q->id);
		buf_add_u64(b, q->due_us);
		buf_add_u64(b, q->blob->id);
		buf_add_lspan(b, span_of(q->state, q->state_len));
	}
}

void checkpoint_encode(struct store *s, struct buf *b)
{
	buf_add_u64(b, CHECKPOINT_MAGIC);
	buf_add_u32(b, STORE_VERSION);
	buf_add_u32(b, 0);
	buf_add_u64(b, 0);
	put_pos(s, b);
	put_segments(s, b);
	put_blobs(s, b);
	put_accounts(s, b);
	put_items(s, b);
}

static void seal(struct buf *b)
{
	uint64_t len = b->len - HEAD;
	uint32_t crc = crc32c(0, b->p + HEAD, len);
	memcpy(b->p + 12, &crc, 4);
	memcpy(b->p + 16, &len, 8);
}

static enum err checkpoint_write(struct store *s, struct buf *b)
{
	const struct disk_ops *d = s->disk->ops;
	seal(b);
	enum err e = d->unlink(s->disk, "checkpoint.tmp");
	struct disk_file *f = NULL;
	if (e == ERR_OK)
		e = d->file_open(s->disk, "checkpoint.tmp", DISK_CREATE, &f);
	if (e != ERR_OK)
		return e;
	for (size_t off = 0; off < b->len && e == ERR_OK; off += 1u << 20)
		e = d->write(s->disk, f, off, b->p + off, b->len - off < 1u << 20 ? b->len - off : 1u << 20);
	if (e == ERR_OK)
		e = d->sync(s->disk, f);
	d->file_close(s->disk, &f);
	if (e == ERR_OK)
		e = d->rename(s->disk, "checkpoint.tmp", "checkpoint");
	if (e == ERR_OK)
		e = d->sync_dir(s->disk);
	else
		(void)d->unlink(s->disk, "checkpoint.tmp");
	return e;
}

static void checkpoint_run(struct job *j)
{
	j->err = checkpoint_write(j->s, &j->buf);
	buf_fini(&j->buf);
}

static void checkpoint_end(struct store *s)
{
	if (s->ckpt.err == ERR_OK) {
		s->ckpt_seq = s->ckpt.seq;
		s->reclaim = true;
		return;
	}
	log_error("store: %s: cannot write a checkpoint: %s", s->conf.path, err_text(s->ckpt.err));
	s->ckpt_retry_us = store_wall_us(s) + RETRY_US;
	s->since_ckpt = s->conf.checkpoint_bytes; /* try again then */
}

bool checkpoint_turn(struct store *s)
{
	bool did = false;
	if (job_finished(s, &s->ckpt)) {
		checkpoint_end(s);
		did = true;
	}
	if (s->failed)
		return did;
	if (s->ckpt_ready && s->durable >= s->ckpt.seq) {
		s->ckpt_ready = false;
		job_start(s, &s->ckpt);
		return true;
	}
	bool idle = !s->ckpt_ready && atomic_load_explicit(&s->ckpt.state, memory_order_relaxed) == JOB_IDLE;
	if (idle && s->since_ckpt >= s->conf.checkpoint_bytes && store_wall_us(s) >= s->ckpt_retry_us)
		s->ckpt_want = true;
	if (!s->ckpt_want || !idle)
		return did;
	log_close(s);
	if (s->open && s->open->records > 0)
		return did; /* four are in flight: at a later turn */
	s->ckpt_want = false;
	s->ckpt_ready = true;
	s->since_ckpt = 0;
	s->ckpt.run = checkpoint_run;
	s->ckpt.seq = s->seq_closed;
	buf_init(&s->ckpt.buf);
	checkpoint_encode(s, &s->ckpt.buf);
	s->ckpt_bytes = s->ckpt.buf.len;
	return true;
}

/* ---- in ---- */

static bool get_segments(struct store *s, struct reader *r)
{
	uint32_t n = get_u32(r);
	if (n > INDEX_SEG_MAX)
		return false;
	for (uint32_t i = 0; i < n && r->ok; i++) {
		enum seg_state state = get_u8(r);
		uint64_t generation = get_u64(r), end_seq = get_u64(r);
		if (state == SEG_NONE || state == SEG_FREE || !r->ok)
			continue;
		if (i >= s->n_seg || !s->seg[i].file)
			continue; /* only matters if a blob lies in it: recover checks that */
		s->seg[i].generation = generation;
		s->seg[i].end_seq = end_seq;
	}
	return r->ok;
}

static bool get_blob_one(struct store *s, struct reader *r)
{
	store_id id = get_u64(r);
	if (!r->ok || id == 0 || index_blob(&s->ix, id))
		return false;
	struct blob *x = index_blob_add(&s->ix, id);
	x->relay_off = get_u32(r);
	x->flags = get_u32(r);
	x->complete = get_u8(r);
	uint32_t n = get_u32(r);
	for (uint32_t i = 0; i < n && r->ok; i++) {
		struct extent e = {.seg = get_u32(r), .off = get_u32(r), .len = get_u32(r), .crc = get_u32(r)};
		if (!r->ok || e.seg >= s->n_seg || (uint64_t)x->size + e.len > INDEX_BLOB_MAX)
			return false;
		index_blob_extent(&s->ix, x, &e);
	}
	return r->ok;
}

static bool get_entries(struct store *s, struct folder *f, struct reader *r)
{
	uint32_t n = get_u32(r);
	for (uint32_t i = 0; i < n && r->ok; i++) {
		struct store_ent e = {.uid = get_u32(r), .flags = get_u32(r), .modseq = get_u64(r), .kw = get_u64(r)};
		e.oid = get_u64(r);
		e.blob = get_u64(r);
		e.idate_s = (int64_t)get_u64(r);
		const struct blob *b = index_blob(&s->ix, e.blob);
		uint64_t kw_all = f->n_kw == INDEX_KW_MAX ? UINT64_MAX : (1ull << f->n_kw) - 1;
		if (!r->ok || !b || !b->complete || e.uid < f->uidnext || e.uid == UINT32_MAX || (e.kw & ~kw_all))
			return false;
		e.size = b->size;
		index_ent_add(&s->ix, f, &e);
	}
	n = get_u32(r);
	for (uint32_t i = 0; i < n && r->ok && n <= INDEX_TOMB_MAX; i++) {
		uint32_t uid = get_u32(r);
		index_tomb_add(f, uid, get_u64(r));
	}
	return r->ok && n <= INDEX_TOMB_MAX;
}

static bool get_folder(struct store *s, struct account *a, struct reader *r)
{
	uint32_t id = get_u32(r);
	struct span name = get_lspan(r);
	char canon[INDEX_NAME_MAX + 1];
	if (!r->ok || id < a->next_folder || id == UINT32_MAX || folder_name_canon(name, canon) != ERR_OK ||
	    index_folder_named(a, name))
		return false;
	struct folder *f = index_folder_add(a, id, name, get_u32(r));
	uint32_t uidnext = get_u32(r);
	f->recent_uid = get_u32(r);
	f->modseq = get_u64(r);
	f->tomb_floor = get_u64(r);
	f->noselect = get_u8(r);
	uint32_t n_kw = get_u32(r);
	for (uint32_t i = 0; i < n_kw && r->ok; i++) {
		if (index_kw(f, get_lspan(r), true) != (int)i)
			return false;
	}
	if (!r->ok || !get_entries(s, f, r) || uidnext < f->uidnext || f->recent_uid > uidnext)
		return false;
	f->uidnext = uidnext;
	return true;
}

static bool get_account(struct store *s, struct reader *r)
{
	struct store_account *x = NULL;
	uint64_t id = get_u64(r);
	struct span name = get_lspan(r), pass = get_lspan(r);
	if (!r->ok || id < s->ix.next_acct || id == UINT64_MAX || index_account_named(&s->ix, name) ||
	    name.len >= sizeof(x->name) || pass.len >= sizeof(x->pass) || memchr(name.p, 0, name.len) ||
	    memchr(pass.p, 0, pass.len))
		return false;
	struct account *a = index_account_add(&s->ix, id, name, pass);
	a->uv_last = get_u32(r);
	uint32_t next_folder = get_u32(r), n = get_u32(r);
	for (uint32_t i = 0; i < n && r->ok; i++) {
		if (!get_folder(s, a, r))
			return false;
	}
	if (!r->ok || next_folder < a->next_folder || !index_folder(a, STORE_INBOX))
		return false;
	a->next_folder = next_folder;
	n = get_u32(r);
	for (uint32_t i = 0; i < n && r->ok; i++) {
		char canon[INDEX_NAME_MAX + 1];
		struct span sub = get_lspan(r);
		if (folder_name_canon(sub, canon) != ERR_OK || !index_subscribe(a, sub, true))
			return false;
	}
	return r->ok;
}

static bool get_item(struct store *s, struct reader *r)
{
	store_id id = get_u64(r);
	uint64_t due = get_u64(r);
	struct blob *b = index_blob(&s->ix, get_u64(r));
	struct span state = get_lspan(r);
	if (!r->ok || id == 0 || !b || !b->complete || index_item(&s->ix, id))
		return false;
	index_item_put(&s->ix, id, b, due, state);
	return true;
}

static bool get_all(struct store *s, struct reader *r)
{
	if (!get_segments(s, r))
		return false;
	for (uint64_t n = get_u64(r); n > 0 && r->ok; n--) {
		if (!get_blob_one(s, r))
			return false;
	}
	for (uint32_t n = get_u32(r); n > 0 && r->ok; n--) {
		if (!get_account(s, r))
			return false;
	}
	uint64_t next = get_u64(r);
	s->ix.uv_floor = get_u32(r);
	if (next < s->ix.next_acct)
		return false;
	s->ix.next_acct = next;
	for (uint64_t n = get_u64(r); n > 0 && r->ok; n--) {
		if (!get_item(s, r))
			return false;
	}
	return r->ok && r->s.len == 0;
}

enum err checkpoint_decode(struct store *s, struct span in, struct checkpoint_pos *pos)
{
	struct reader r = reader_of(in);
	uint64_t magic = get_u64(&r);
	uint32_t version = get_u32(&r), crc = get_u32(&r);
	uint64_t len = get_u64(&r);
	if (!r.ok || magic != CHECKPOINT_MAGIC)
		return ERR_CORRUPT;
	if (version > STORE_VERSION)
		return ERR_UNSUPPORTED;
	if (version == 0 || len != r.s.len || crc != crc32c(0, r.s.p, r.s.len))
		return ERR_CORRUPT;
	pos->seq = get_u64(&r);
	pos->lsn = get_u64(&r);
	pos->generation = get_u64(&r);
	pos->slot = get_u32(&r);
	pos->off = get_u32(&r);
	pos->chain = get_u32(&r);
	pos->boot = get_u16(&r);
	return r.ok && get_all(s, &r) ? ERR_OK : ERR_CORRUPT;
}
