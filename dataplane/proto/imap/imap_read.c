/*
 * imap_read.c: reads of message bytes, some of them ahead of time: a FETCH or SEARCH over many messages asks for
 * the next few while the one at hand is on its way, so that it is the store's rate and not its latency that
 * counts.
 *
 * Invariants: 1. im->op is the one answer the session waits for; the others under way stand in im->ahead, oldest
 * first, at most IMAP_AHEAD; 2. an answer that is neither is let go: its command has ended; 3. reading ahead never
 * fails a command: what was refused for want of memory is asked for again when its turn comes, and when
 * packets for reads are short nobody reads ahead.
 */
#include <stdlib.h>
#include "imap_int.h"

struct imap_ahead {
	struct {
		store_id blob;
		uint64_t off, len;
		struct store_op *op;
		bool done;
	} v[IMAP_AHEAD];
	unsigned n;
};

static struct store_op *read_op(struct imap *im, store_id blob, uint64_t off, uint64_t len)
{
	struct store_op *op = store_op_new(im->s.env->store, STORE_READ, im->s.index, im->s.gen);

	if (op) {
		op->acct = im->acct;
		op->blob = blob;
		op->off = off;
		op->len = len;
	}
	return op;
}

/* Takes n from the front; what has come is let go, what is under way will be when it comes. */
static void ahead_drop(struct imap_ahead *a, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (a->v[i].done)
			store_op_free(&a->v[i].op);
	}
	a->n -= n;
	memmove(a->v, a->v + n, a->n * sizeof(a->v[0]));
}

void imap_read_end(struct imap *im)
{
	if (!im->ahead)
		return;
	ahead_drop(im->ahead, im->ahead->n);
	free(im->ahead);
	im->ahead = NULL;
}

bool imap_read_ahead(struct imap *im, store_id blob, uint64_t off, uint64_t len)
{
	struct imap_ahead *a = im->ahead;
	struct store_op *op;

	if (im->s.env->low_big || (a && a->n == IMAP_AHEAD))
		return false;
	if (!a && !(a = im->ahead = calloc(1, sizeof(*a))))
		return false;
	if (len == 0)
		return true;
	if (!(op = read_op(im, blob, off, len)))
		return false;
	a->v[a->n].blob = blob;
	a->v[a->n].off = off;
	a->v[a->n].len = len;
	a->v[a->n].op = op;
	a->v[a->n].done = false;
	a->n++;
	store_submit(im->s.env->store, op);
	return true;
}

bool imap_read_came(struct imap *im, struct store_op *op)
{
	struct imap_ahead *a = im->ahead;

	for (unsigned i = 0; a && i < a->n; i++) {
		if (a->v[i].op == op) {
			a->v[i].done = true;
			return true;
		}
	}
	return false;
}

/* The answer asked for ahead, done or not; NULL: it was not. Whatever was asked for before it is not wanted. */
static struct store_op *ahead_take(struct imap_ahead *a, store_id blob, uint64_t off, uint64_t len, bool *done)
{
	struct store_op *op;

	for (unsigned i = 0; a && i < a->n; i++) {
		if (a->v[i].blob != blob || a->v[i].off != off || a->v[i].len != len)
			continue;
		op = a->v[i].op;
		*done = a->v[i].done;
		a->v[i].done = false;
		ahead_drop(a, i + 1);
		return op;
	}
	return NULL;
}

bool imap_read(struct imap *im, store_id blob, uint64_t off, uint64_t len, imap_next *next)
{
	bool done = false;
	struct store_op *op = ahead_take(im->ahead, blob, off, len, &done);

	if (op && done && op->err == ERR_NO_MEMORY)
		store_op_free(&op);
	if (op && done) {
		next(im, op);
		return true;
	}
	if (op) {
		imap_await(im, op, next);
		return true;
	}
	if (!(op = read_op(im, blob, off, len)))
		return false;
	imap_submit(im, op, next);
	return true;
}
