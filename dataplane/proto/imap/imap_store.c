/*
 * imap_store.c: STORE, COPY, MOVE (RFC 6851), EXPUNGE and UID EXPUNGE (RFC 4315): one batch each to the store. What
 * came of it is told by the SYNC that every one of them ends with, as the changes of others are.
 */
#include "imap_int.h"

/* Does the open folder take changes? Else answers NO. */
static bool writable(struct imap *im)
{
	if (!im->view->readonly)
		return true;
	imap_finish(im, false, "NO [READ-ONLY] Mailbox was opened read-only");
	return false;
}

/* A COMMIT and the set's UID ranges for it; NULL after it has answered. */
static struct store_op *commit_for(struct imap *im, const struct imap_set *s, uint32_t **ranges)
{
	*ranges = imap_set_uids(s, im->view->ent, &im->s.arena);
	if (!*ranges) {
		imap_finish_err(im, ERR_NO_MEMORY);
		return NULL;
	}
	return imap_op(im, STORE_COMMIT);
}

static void committed(struct imap *im, struct store_op *op)
{
	if (op->err != ERR_OK)
		imap_finish_err(im, op->err);
	else
		imap_finish_ok(im, true);
	store_op_free(&op);
}

/* ---- STORE ---- */

#define NAME(s) {(const uint8_t *)(s), sizeof(s) - 1}
/* RFC 3501 section 9, store-att-flags */
static const struct {
	struct span name;
	enum store_flag_mode mode;
	bool silent;
} store_att[] = {
	{NAME("FLAGS"), STORE_FLAGS_SET, false},  {NAME("FLAGS.SILENT"), STORE_FLAGS_SET, true},
	{NAME("+FLAGS"), STORE_FLAGS_ADD, false}, {NAME("+FLAGS.SILENT"), STORE_FLAGS_ADD, true},
	{NAME("-FLAGS"), STORE_FLAGS_DEL, false}, {NAME("-FLAGS.SILENT"), STORE_FLAGS_DEL, true},
};

static bool att_parse(struct imap_parser *p, struct imap_predict *out)
{
	struct span word;

	if (!imap_parse_atom(p, &word))
		return false;
	for (unsigned i = 0; i < ARRAY_LEN(store_att); i++) {
		if (!span_ieq(word, store_att[i].name))
			continue;
		out->mode = store_att[i].mode;
		out->silent = store_att[i].silent;
		return true;
	}
	return false;
}

static void flags_stored(struct imap *im, struct store_op *op)
{
	if (op->err == ERR_OK)
		im->predict = im->job;
	committed(im, op);
}

void imap_cmd_store(struct imap *im, struct imap_parser *p)
{
	struct imap_predict *job = arena_zalloc(&im->s.arena, sizeof(*job));
	struct imap_flags flags;
	uint32_t *ranges;
	struct store_op *op;

	CHECK(job);
	if (!imap_parse_sp(p)) {
		imap_bad(im, "STORE wants a message set, an item and flags");
		return;
	}
	if (!imap_set_read(im, p, &job->set))
		return;
	if (!imap_parse_sp(p) || !att_parse(p, job) || !imap_parse_sp(p) || !imap_parse_flags(p, false, &flags) ||
	    !imap_parse_end(p)) {
		imap_bad(im, "STORE wants a message set, an item and flags");
		return;
	}
	if (!writable(im))
		return;
	job->flags = flags.flags;
	job->kws = flags.kws;
	im->job = job;
	if (!imap_set_live(im, &job->set)) {
		imap_finish_ok(im, false);
	} else if ((op = commit_for(im, &job->set, &ranges)) != NULL) {
		store_tx_flags(op, im->acct, im->view->folder, ranges, job->set.n, job->mode, job->flags, job->kws);
		imap_submit(im, op, flags_stored);
	}
}

/* ---- COPY, MOVE ---- */

struct copy_job {
	struct imap_set set;
	bool move;
};

/* "[COPYUID validity from to] " (RFC 4315 3); nothing when the store saw other messages than this session. */
static void copyuid_write(struct imap *im, const struct copy_job *job, const struct store_result *res, struct buf *b)
{
	const struct store_ent *ent = im->view->ent;
	struct imap_set_writer w = {.out = b};

	if (!res->n || res->n != imap_set_live(im, &job->set))
		return;
	buf_printf(b, "[COPYUID %u ", res->uidvalidity);
	for (uint32_t r = 0; r < job->set.n; r++) {
		for (uint32_t i = job->set.v[r].lo; i <= job->set.v[r].hi; i++) {
			if (!(ent[i].flags & IMAP_ENT_GONE))
				imap_set_put(&w, ent[i].uid);
		}
	}
	imap_set_end(&w);
	if (res->n == 1)
		buf_printf(b, " %u] ", res->uid);
	else
		buf_printf(b, " %u:%u] ", res->uid, res->uid + res->n - 1);
}

static void copied(struct imap *im, struct store_op *op)
{
	const struct copy_job *job = im->job;
	struct buf b;

	if (op->err != ERR_OK) {
		committed(im, op);
		return;
	}
	buf_init(&b);
	copyuid_write(im, job, &op->res[0], &b);
	store_op_free(&op);
	if (job->move) {
		/* RFC 6851 4.3: before the EXPUNGEs, for the tagged reply comes behind them */
		stream_str(&im->s.st, "* OK ");
		stream_write(&im->s.st, buf_span(&b));
		stream_str(&im->s.st, "Moved\r\n");
		imap_finish_ok(im, true);
	} else {
		buf_add_str(&im->reply, "OK ");
		buf_add_span(&im->reply, buf_span(&b));
		imap_finish(im, true, "%sCOPY completed", im->uid ? "UID " : "");
	}
	buf_fini(&b);
}

static void copy_found(struct imap *im, enum err e, const struct store_folder *f)
{
	const struct copy_job *job = im->job;
	struct store_op *op;
	uint32_t *ranges;

	if (e == ERR_NOT_FOUND)
		imap_finish(im, false, "NO [TRYCREATE] No such mailbox");
	else if (e != ERR_OK)
		imap_finish_err(im, e);
	else if (f->noselect)
		imap_finish_err(im, ERR_DENIED);
	else if ((op = commit_for(im, &job->set, &ranges)) != NULL) {
		store_tx_copy(op, im->acct, im->view->folder, f->id, ranges, job->set.n, job->move);
		imap_submit(im, op, copied);
	}
}

static void copy(struct imap *im, struct imap_parser *p, bool move)
{
	struct copy_job *job = arena_zalloc(&im->s.arena, sizeof(*job));
	struct span name;

	CHECK(job);
	if (!imap_parse_sp(p)) {
		imap_bad(im, "A message set and a mailbox are wanted");
		return;
	}
	if (!imap_set_read(im, p, &job->set))
		return;
	if (!imap_parse_sp(p)) {
		imap_bad(im, "A message set and a mailbox are wanted");
		return;
	}
	if (!imap_name_read(im, p, &name))
		return;
	if (!imap_parse_end(p)) {
		imap_bad(im, "Too many arguments");
		return;
	}
	if (move && !writable(im))
		return;
	job->move = move;
	im->job = job;
	if (imap_set_live(im, &job->set))
		imap_folder_find(im, name, copy_found);
	else
		imap_finish(im, false, "OK No messages to copy or move");
}

void imap_cmd_copy(struct imap *im, struct imap_parser *p)
{
	copy(im, p, false);
}

void imap_cmd_move(struct imap *im, struct imap_parser *p)
{
	copy(im, p, true);
}

/* ---- EXPUNGE ---- */

/* All that carry \Deleted; with UID, those of them that are in the set. */
void imap_cmd_expunge(struct imap *im, struct imap_parser *p)
{
	static const uint32_t all[2] = {1, UINT32_MAX};
	struct imap_set set = {.n = 0};
	uint32_t *ranges = NULL;
	struct store_op *op;

	if (im->uid && !imap_parse_sp(p)) {
		imap_bad(im, "UID EXPUNGE wants a set of UIDs");
		return;
	}
	if (im->uid && !imap_set_read(im, p, &set))
		return;
	if (!imap_parse_end(p)) {
		imap_bad(im, "Too many arguments");
		return;
	}
	if (!writable(im))
		return;
	if (im->uid && !set.n) {
		imap_finish_ok(im, true);
		return;
	}
	op = im->uid ? commit_for(im, &set, &ranges) : imap_op(im, STORE_COMMIT);
	if (!op)
		return;
	store_tx_expunge(op, im->acct, im->view->folder, im->uid ? ranges : all, im->uid ? set.n : 1, true);
	imap_submit(im, op, committed);
}
