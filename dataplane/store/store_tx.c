/*
 * store_tx.c: mutations in and out of bytes. A writer and a reader for each, side by side.
 *
 * UID ranges are brought into rising, disjoint order when they are written, so that whoever applies them
 * meets each entry once.
 */
#include "store_tx.h"
#include <stdlib.h>
#include <string.h>
#include "check.h"

static struct buf *tx_begin(struct store_op *op, enum mut_type type)
{
	op->n_mut++;
	buf_add_u8(&op->tx, (uint8_t)type);
	return &op->tx;
}

static int range_cmp(const void *a, const void *b)
{
	const struct range *x = a, *y = b;
	return x->lo < y->lo ? -1 : x->lo > y->lo;
}

static void tx_ranges(struct buf *b, const uint32_t *in, unsigned n)
{
	struct range *r = malloc((n ? n : 1) * sizeof(*r));
	CHECK(r);
	for (unsigned i = 0; i < n; i++) {
		uint32_t lo = in[2 * i], hi = in[2 * i + 1];
		r[i] = lo <= hi ? (struct range){lo, hi} : (struct range){hi, lo};
	}
	qsort(r, n, sizeof(*r), range_cmp);
	unsigned m = 0;
	for (unsigned i = 0; i < n; i++) {
		if (m > 0 && (r[m - 1].hi == UINT32_MAX || r[i].lo <= r[m - 1].hi + 1)) {
			if (r[i].hi > r[m - 1].hi)
				r[m - 1].hi = r[i].hi;
		} else {
			r[m++] = r[i];
		}
	}
	buf_add_u32(b, m * 8);
	for (unsigned i = 0; i < m; i++) {
		buf_add_u32(b, r[i].lo);
		buf_add_u32(b, r[i].hi);
	}
	free(r);
}

struct range mut_range(const struct mut *m, uint32_t i)
{
	struct reader r = reader_of(span_of(m->ranges.p + (size_t)i * 8, 8));
	uint32_t lo = get_u32(&r);
	return (struct range){lo, get_u32(&r)};
}

/* Are they as tx_ranges writes them? */
static void get_ranges(struct reader *r, struct mut *m)
{
	m->ranges = get_lspan(r);
	if (m->ranges.len % 8 != 0)
		r->ok = false;
	for (uint32_t i = 0; r->ok && i < mut_n_range(m); i++) {
		struct range x = mut_range(m, i);
		if (x.lo > x.hi || (i > 0 && x.lo <= mut_range(m, i - 1).hi))
			r->ok = false;
	}
}

/* ---- each mutation: writer, reader ---- */

void store_tx_blob(struct store_op *op, store_id blob, uint32_t relay_off, uint32_t flags)
{
	struct buf *b = tx_begin(op, MUT_BLOB);
	buf_add_u64(b, blob);
	buf_add_u32(b, relay_off);
	buf_add_u32(b, flags);
}

static void get_blob(struct reader *r, struct mut *m)
{
	m->id = get_u64(r);
	m->relay_off = get_u32(r);
	m->flags = get_u32(r);
}

void store_tx_deliver(struct store_op *op, uint64_t acct, uint32_t folder, store_id blob, uint32_t flags,
		      struct span kws, int64_t idate_s)
{
	struct buf *b = tx_begin(op, MUT_DELIVER);
	buf_add_u64(b, acct);
	buf_add_u32(b, folder);
	buf_add_u64(b, blob);
	buf_add_u32(b, flags);
	buf_add_u64(b, (uint64_t)idate_s);
	buf_add_lspan(b, kws);
}

static void get_deliver(struct reader *r, struct mut *m)
{
	m->acct = get_u64(r);
	m->folder = get_u32(r);
	m->blob = get_u64(r);
	m->flags = get_u32(r);
	m->idate_s = (int64_t)get_u64(r);
	m->kws = get_lspan(r);
}

void store_tx_flags(struct store_op *op, uint64_t acct, uint32_t folder, const uint32_t *ranges, unsigned n,
		    enum store_flag_mode mode, uint32_t flags, struct span kws)
{
	struct buf *b = tx_begin(op, MUT_FLAGS);
	buf_add_u64(b, acct);
	buf_add_u32(b, folder);
	buf_add_u8(b, (uint8_t)mode);
	buf_add_u32(b, flags);
	buf_add_lspan(b, kws);
	tx_ranges(b, ranges, n);
}

static void get_flags(struct reader *r, struct mut *m)
{
	m->acct = get_u64(r);
	m->folder = get_u32(r);
	m->mode = get_u8(r);
	m->flags = get_u32(r);
	m->kws = get_lspan(r);
	get_ranges(r, m);
	if (m->mode > STORE_FLAGS_DEL)
		r->ok = false;
}

void store_tx_expunge(struct store_op *op, uint64_t acct, uint32_t folder, const uint32_t *ranges, unsigned n,
		      bool only_deleted)
{
	struct buf *b = tx_begin(op, MUT_EXPUNGE);
	buf_add_u64(b, acct);
	buf_add_u32(b, folder);
	buf_add_u8(b, only_deleted);
	tx_ranges(b, ranges, n);
}

static void get_expunge(struct reader *r, struct mut *m)
{
	m->acct = get_u64(r);
	m->folder = get_u32(r);
	m->mode = get_u8(r);
	get_ranges(r, m);
}

void store_tx_copy(struct store_op *op, uint64_t acct, uint32_t src, uint32_t dst, const uint32_t *ranges,
		   unsigned n, bool move)
{
	struct buf *b = tx_begin(op, MUT_COPY);
	buf_add_u64(b, acct);
	buf_add_u32(b, src);
	buf_add_u32(b, dst);
	buf_add_u8(b, move);
	tx_ranges(b, ranges, n);
}

static void get_copy(struct reader *r, struct mut *m)
{
	m->acct = get_u64(r);
	m->folder = get_u32(r);
	m->dst = get_u32(r);
	m->mode = get_u8(r);
	get_ranges(r, m);
}

static void tx_name(struct store_op *op, enum mut_type type, uint64_t acct, struct span name)
{
	struct buf *b = tx_begin(op, type);
	buf_add_u64(b, acct);
	buf_add_lspan(b, name);
}

static void get_name(struct reader *r, struct mut *m)
{
	m->acct = get_u64(r);
	m->name = get_lspan(r);
}

void store_tx_folder_create(struct store_op *op, uint64_t acct, struct span name)
{
	tx_name(op, MUT_FOLDER_CREATE, acct, name);
}

void store_tx_folder_delete(struct store_op *op, uint64_t acct, struct span name)
{
	tx_name(op, MUT_FOLDER_DELETE, acct, name);
}

void store_tx_folder_rename(struct store_op *op, uint64_t acct, struct span from, struct span to)
{
	tx_name(op, MUT_FOLDER_RENAME, acct, from);
	buf_add_lspan(&op->tx, to);
}

static void get_rename(struct reader *r, struct mut *m)
{
	get_name(r, m);
	m->to = get_lspan(r);
}

void store_tx_subscribe(struct store_op *op, uint64_t acct, struct span name, bool on)
{
	tx_name(op, MUT_SUBSCRIBE, acct, name);
	buf_add_u8(&op->tx, on);
}

static void get_subscribe(struct reader *r, struct mut *m)
{
	get_name(r, m);
	m->mode = get_u8(r);
}

void store_tx_account_add(struct store_op *op, struct span name, struct span pass)
{
	struct buf *b = tx_begin(op, MUT_ACCOUNT_ADD);
	buf_add_lspan(b, name);
	buf_add_lspan(b, pass);
}

void store_tx_account_pass(struct store_op *op, struct span name, struct span pass)
{
	struct buf *b = tx_begin(op, MUT_ACCOUNT_PASS);
	buf_add_lspan(b, name);
	buf_add_lspan(b, pass);
}

static void get_account(struct reader *r, struct mut *m)
{
	m->name = get_lspan(r);
	m->pass = get_lspan(r);
}

void store_tx_account_remove(struct store_op *op, struct span name)
{
	buf_add_lspan(tx_begin(op, MUT_ACCOUNT_REMOVE), name);
}

static void get_remove(struct reader *r, struct mut *m)
{
	m->name = get_lspan(r);
}

void store_tx_qput(struct store_op *op, store_id item, store_id blob, uint64_t due_us, struct span state)
{
	struct buf *b = tx_begin(op, MUT_QPUT);
	buf_add_u64(b, item);
	buf_add_u64(b, blob);
	buf_add_u64(b, due_us);
	buf_add_lspan(b, state);
}

static void get_qput(struct reader *r, struct mut *m)
{
	m->id = get_u64(r);
	m->blob = get_u64(r);
	m->due_us = get_u64(r);
	m->state = get_lspan(r);
}

void store_tx_qset(struct store_op *op, store_id item, uint64_t due_us, struct span state)
{
	struct buf *b = tx_begin(op, MUT_QSET);
	buf_add_u64(b, item);
	buf_add_u64(b, due_us);
	buf_add_lspan(b, state);
}

static void get_qset(struct reader *r, struct mut *m)
{
	m->id = get_u64(r);
	m->due_us = get_u64(r);
	m->state = get_lspan(r);
}

void store_tx_qdone(struct store_op *op, store_id item)
{
	buf_add_u64(tx_begin(op, MUT_QDONE), item);
}

static void get_qdone(struct reader *r, struct mut *m)
{
	m->id = get_u64(r);
}

bool mut_next(struct reader *r, struct mut *out)
{
	static void (*const get[MUT_N])(struct reader *, struct mut *) = {
		[MUT_BLOB] = get_blob,
		[MUT_DELIVER] = get_deliver,
		[MUT_FLAGS] = get_flags,
		[MUT_EXPUNGE] = get_expunge,
		[MUT_COPY] = get_copy,
		[MUT_FOLDER_CREATE] = get_name,
		[MUT_FOLDER_DELETE] = get_name,
		[MUT_FOLDER_RENAME] = get_rename,
		[MUT_SUBSCRIBE] = get_subscribe,
		[MUT_ACCOUNT_ADD] = get_account,
		[MUT_ACCOUNT_PASS] = get_account,
		[MUT_ACCOUNT_REMOVE] = get_remove,
		[MUT_QPUT] = get_qput,
		[MUT_QSET] = get_qset,
		[MUT_QDONE] = get_qdone,
	};
	if (r->s.len == 0 || !r->ok)
		return false;
	memset(out, 0, sizeof(*out));
	out->type = get_u8(r);
	if (out->type >= MUT_N || !get[out->type]) {
		r->ok = false;
		return false;
	}
	get[out->type](r, out);
	return r->ok;
}
