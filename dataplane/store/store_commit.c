/*
 * store_commit.c: the ops that change the store: body parts and batches, live and from the log.
 *
 * A batch is checked whole, gets its room in the open group, is applied, and is logged together with the inputs
 * that were not its own (time, first entry id) and with its results. Replay applies the same bytes with the
 * same inputs and must come to the same results: a difference is damage and stops the start.
 * COMMIT record: wall_s u64, oid u64, blob u64, n u32, tx_len u32, blob_size u32, 0 u32, tx, n results of 28 bytes.
 * When a part of a blob or its commit fails, the parts before it are dropped at once, which is not logged; offsets keep
 * later parts from being taken for the whole, and in replay a part at offset 0 begins the blob anew.
 */
#include <stdlib.h>
#include <string.h>
#include "log.h"
#include "store_int.h"

static void touch(struct store *s, struct blob *b)
{
	b->touched_us = store_wall_us(s);
	if (b->refs == 0 && !b->complete) {
		list_del(&b->unref);
		list_push(&s->ix.unref, &b->unref);
	}
}

/* A part or the end of a blob failed: what came before is of no use. */
static void drop_parts(struct store *s, store_id id)
{
	struct blob *b = index_blob(&s->ix, id);
	if (!b || b->complete)
		return;
	s->ix.seq = log_seq(s);
	index_blob_drop(&s->ix, b);
	s->reclaim = true;
}

static enum err room_err(struct store *s, enum log_room r)
{
	if (r == LOG_TOO_LONG)
		return ERR_TOO_LONG;
	if (!s->full)
		log_warn("store: %s: no space: mail is refused until there is", s->conf.path);
	s->full = true;
	return ERR_NO_SPACE;
}

/* ---- parts ---- */

static enum err body_check(const struct store *s, const struct store_op *op)
{
	if (op->blob == 0 || op->body.len == 0)
		return ERR_SYNTAX;
	if (op->body.len > PART_MAX)
		return ERR_TOO_LONG;
	const struct blob *b = index_blob(&s->ix, op->blob);
	if (b && b->complete)
		return ERR_EXISTS;
	if (op->off != (b ? b->size : 0))
		return ERR_STALE;
	return op->off + op->body.len > INDEX_BLOB_MAX ? ERR_TOO_LONG : ERR_OK;
}

bool body_op(struct store *s, struct op_int *o)
{
	struct store_op *op = &o->op;
	enum err e = body_check(s, op);
	if (e == ERR_OK) {
		enum log_room r = log_reserve(s, record_bytes(BODY_HEADER + op->body.len), LOG_GROWTH);
		if (r == LOG_WAIT)
			return false;
		if (r != LOG_OK)
			e = room_err(s, r);
	}
	if (e != ERR_OK) {
		drop_parts(s, op->blob);
		op_complete(s, o, e);
		return true;
	}
	struct extent x;
	log_body(s, op->blob, op->off, &op->body, &x);
	slices_drop(&op->body);
	struct blob *b = index_blob(&s->ix, op->blob);
	if (!b)
		b = index_blob_add(&s->ix, op->blob);
	index_blob_extent(&s->ix, b, &x);
	touch(s, b);
	op_complete_at(s, o, ERR_OK, log_seq(s));
	return true;
}

/* ---- batches ---- */

static void result_write(uint8_t *p, const struct store_result *r)
{
	memcpy(p, &r->uid, 4);
	memcpy(p + 4, &r->n, 4);
	memcpy(p + 8, &r->modseq, 8);
	memcpy(p + 16, &r->id, 8);
	memcpy(p + 24, &r->uidvalidity, 4);
}

static void commit_log(struct store *s, const struct batch *b, uint64_t oid, struct span tx,
		       const struct store_result *res)
{
	const struct blob *blob = b->blob ? index_blob(b->ix, b->blob) : NULL;
	uint32_t size = blob ? blob->size : 0;
	uint32_t tx_len = (uint32_t)tx.len, len = COMMIT_HEADER + tx_len + b->n * RESULT_BYTES;
	uint8_t *p = log_record_begin(s, REC_COMMIT, len);
	memcpy(p, &b->wall_s, 8);
	memcpy(p + 8, &oid, 8);
	memcpy(p + 16, &b->blob, 8);
	memcpy(p + 24, &b->n, 4);
	memcpy(p + 28, &tx_len, 4);
	memcpy(p + 32, &size, 4);
	memset(p + 36, 0, 4);
	memcpy(p + COMMIT_HEADER, tx.p, tx.len);
	for (uint32_t i = 0; i < b->n; i++)
		result_write(p + COMMIT_HEADER + tx_len + i * RESULT_BYTES, &res[i]);
	log_record_end(s, len);
}

static enum err commit_check(struct store *s, const struct store_op *op)
{
	struct batch *b = &s->batch;
	if (op->tx.len > TX_MAX || op->body.len > PART_MAX)
		return ERR_TOO_LONG;
	b->ix = &s->ix;
	b->blob = op->blob;
	b->body_len = op->body.len;
	enum err e = batch_parse(b, buf_span(&op->tx), op->n_mut);
	if (e == ERR_OK && b->n > 0 && b->mut[0].type == MUT_BLOB) {
		const struct blob *blob = index_blob(&s->ix, op->blob);
		if (op->off != (blob && !blob->complete ? blob->size : 0))
			return ERR_STALE; /* a part is missing */
	}
	return e == ERR_OK ? batch_check(b) : e;
}

bool commit_op(struct store *s, struct op_int *o)
{
	struct store_op *op = &o->op;
	struct batch *b = &s->batch;
	enum err e = commit_check(s, op);
	if (e == ERR_OK) {
		uint32_t need = record_bytes(COMMIT_HEADER + op->tx.len + (uint64_t)b->n * RESULT_BYTES);
		if (op->body.len > 0)
			need += record_bytes(BODY_HEADER + op->body.len);
		enum log_room r = log_reserve(s, need, b->growth ? LOG_GROWTH : LOG_SHRINK);
		if (r == LOG_WAIT)
			return false;
		if (r != LOG_OK)
			e = room_err(s, r);
	}
	if (e != ERR_OK) {
		drop_parts(s, op->blob);
		op_complete(s, o, e);
		return true;
	}
	s->ix.seq = s->open->seq;
	s->current = o;
	if (op->body.len > 0) {
		struct extent x;
		log_body(s, op->blob, op->off, &op->body, &x);
		slices_drop(&op->body);
		struct blob *blob = index_blob(&s->ix, op->blob);
		if (!blob)
			blob = index_blob_add(&s->ix, op->blob);
		index_blob_extent(&s->ix, blob, &x);
	}
	uint64_t oid = s->oid_next;
	b->oid = oid;
	b->wall_s = store_wall_us(s) / 1000000;
	op->res = calloc(b->n ? b->n : 1, sizeof(*op->res));
	CHECK(op->res);
	batch_apply(b, op->res);
	s->oid_next = b->oid;
	s->current = NULL;
	s->reclaim = true;
	if (b->changed)
		commit_log(s, b, oid, buf_span(&op->tx), op->res);
	op_complete_at(s, o, ERR_OK, log_seq(s));
	return true;
}

void commit_boot(struct store *s)
{
	uint32_t boot = s->boot;
	uint64_t wall = store_wall_us(s);
	if (log_reserve(s, record_bytes(12), LOG_SHRINK) != LOG_OK)
		return; /* the next record fails the same way; ids of this start are then never durable */
	uint8_t *p = log_record_begin(s, REC_BOOT, 12);
	memcpy(p, &boot, 4);
	memcpy(p + 4, &wall, 8);
	log_record_end(s, 12);
}

/* ---- from the log ---- */

static enum err replay_body(struct store *s, struct span data, uint32_t seg, uint32_t data_off)
{
	struct reader r = reader_of(data);
	store_id id = get_u64(&r);
	uint64_t off = get_u64(&r);
	uint32_t len = get_u32(&r), crc = get_u32(&r);
	if (!r.ok || id == 0 || r.s.len != len)
		return ERR_CORRUPT;
	struct blob *b = index_blob(&s->ix, id);
	if (b && !b->complete && off == 0) {
		index_blob_drop(&s->ix, b); /* those parts were given up */
		b = NULL;
	}
	if (b ? b->complete || off != b->size || off + len > INDEX_BLOB_MAX : off != 0)
		return ERR_CORRUPT;
	if (!b)
		b = index_blob_add(&s->ix, id);
	struct extent x = {.seg = seg, .off = data_off + BODY_HEADER, .len = len, .crc = crc};
	index_blob_extent(&s->ix, b, &x);
	return ERR_OK;
}

static enum err replay_moved(struct store *s, struct span data, uint32_t seg, uint32_t data_off)
{
	struct reader r = reader_of(data);
	struct blob *b = index_blob(&s->ix, get_u64(&r));
	uint64_t off = get_u64(&r), at = 0;
	struct extent x = {.seg = seg, .off = data_off + BODY_HEADER, .len = get_u32(&r), .crc = get_u32(&r)};
	uint32_t i = 0;
	if (!r.ok || r.s.len != x.len || !b || !b->complete)
		return ERR_CORRUPT;
	while (i < b->n_ext && at < off)
		at += b->ext[i++].len;
	if (i == b->n_ext || at != off || b->ext[i].len != x.len || b->ext[i].crc != x.crc)
		return ERR_CORRUPT;
	index_blob_move(&s->ix, b, i, &x);
	return ERR_OK;
}

static bool result_same(const uint8_t *p, const struct store_result *r)
{
	uint8_t mine[RESULT_BYTES];
	result_write(mine, r);
	return memcmp(p, mine, sizeof(mine)) == 0;
}

static enum err replay_commit(struct store *s, struct span data)
{
	struct reader r = reader_of(data);
	struct batch *b = &s->batch;
	b->ix = &s->ix;
	b->wall_s = get_u64(&r);
	b->oid = get_u64(&r);
	b->blob = get_u64(&r);
	uint32_t n = get_u32(&r), tx_len = get_u32(&r), size = get_u32(&r);
	(void)get_u32(&r);
	struct span tx = get_bytes(&r, tx_len);
	if (!r.ok || n > BATCH_MUT_MAX || r.s.len != (uint64_t)n * RESULT_BYTES)
		return ERR_CORRUPT;
	b->body_len = 0; /* its part came as a record before */
	if (batch_parse(b, tx, n) != ERR_OK)
		return ERR_CORRUPT;
	struct blob *blob = n > 0 && b->mut[0].type == MUT_BLOB ? index_blob(&s->ix, b->blob) : NULL;
	if (blob && !blob->complete && size == 0)
		index_blob_drop(&s->ix, blob); /* an empty body after parts that were given up */
	else if (blob && blob->size != size)
		return ERR_CORRUPT;
	if (batch_check(b) != ERR_OK)
		return ERR_CORRUPT;
	struct store_result *res = calloc(n ? n : 1, sizeof(*res));
	CHECK(res);
	batch_apply(b, res);
	enum err e = ERR_OK;
	for (uint32_t i = 0; i < n; i++) {
		if (!result_same(r.s.p + (size_t)i * RESULT_BYTES, &res[i]))
			e = ERR_CORRUPT;
	}
	free(res);
	return e;
}

static enum err replay_boot(struct store *s, struct span data)
{
	struct reader r = reader_of(data);
	uint32_t boot = get_u32(&r);
	if (!r.ok)
		return ERR_CORRUPT;
	s->boot = (uint16_t)boot;
	return ERR_OK;
}

static enum err replay_recent(struct store *s, struct span data)
{
	struct reader r = reader_of(data);
	const struct account *a = index_account(&s->ix, get_u64(&r));
	struct folder *f = a ? index_folder(a, get_u32(&r)) : NULL;
	uint32_t uid = get_u32(&r);
	if (!r.ok || !f || uid > f->uidnext)
		return ERR_CORRUPT;
	f->recent_uid = uid;
	return ERR_OK;
}

enum err replay_record(struct store *s, uint8_t type, struct span data, uint32_t seg, uint32_t data_off)
{
	switch (type) {
	case REC_BODY:
		return replay_body(s, data, seg, data_off);
	case REC_COMMIT:
		return replay_commit(s, data);
	case REC_MOVED:
		return replay_moved(s, data, seg, data_off);
	case REC_BOOT:
		return replay_boot(s, data);
	case REC_RECENT:
		return replay_recent(s, data);
	default:
		return ERR_CORRUPT;
	}
}
