/*
 * imap_append.c: APPEND (RFC 3501 6.3.11, APPENDUID of RFC 4315): the literal goes into the store part by part as
 * it comes, in the packets it came in.
 *
 * Before the literal is asked for ({n}) or taken ({n+}) the mailbox is looked up, so that TRYCREATE costs
 * no transfer. One part is on its way at a time; what comes meanwhile waits in the stream, and the TCP window
 * closes by it. The last part goes with the COMMIT, after the line end behind the literal was seen: an
 * APPEND that is cut short leaves nothing behind. OK means durable.
 */
#include "imap_int.h"
#include "mail_header.h"

#define PART_MAX 262144u /* bytes of a part */

struct append_job {
	struct span name;
	struct imap_flags flags;
	int64_t idate_s;
	uint64_t len, left, off;  /* of the literal; off: bytes handed to the store */
	uint32_t folder, uidvalidity;
	uint32_t blob_flags;
	uint8_t last;             /* the byte before */
	bool sync, nul, stored;
	const char *refused;      /* the literal is thrown away; NO with this text */
	store_id blob;
	struct slices part;
};

static struct append_job *job_of(struct imap *im)
{
	return im->job;
}

void imap_append_drop(struct imap *im)
{
	if (im->verb && im->verb->run == imap_cmd_append && im->job)
		slices_drop(&job_of(im)->part);
	im->op_busy = false;
}

/* All of APPEND stands in its lines: there is no literal, so it is wrong. */
void imap_cmd_append(struct imap *im, struct imap_parser *p)
{
	imap_bad(im, "APPEND wants a mailbox, flags, a date and a literal");
}

/* ---- before the literal ---- */

static void refuse(struct imap *im, const char *text)
{
	struct append_job *job = im->job;

	if (job->sync) {
		imap_finish(im, false, "NO %s", text);
		return;
	}
	job->refused = text;
	imap_enter(im, IMAP_P_APPEND);
}

static void append_found(struct imap *im, enum err e, const struct store_folder *f)
{
	struct append_job *job = im->job;

	if (e == ERR_NOT_FOUND) {
		refuse(im, "[TRYCREATE] No such mailbox");
	} else if (e != ERR_OK) {
		refuse(im, "[UNAVAILABLE] Storage failed");
	} else if (f->noselect) {
		refuse(im, "[CANNOT] Mailbox holds no messages");
	} else {
		job->folder = f->id;
		if (job->sync)
			stream_str(&im->s.st, "+ Ready for literal data\r\n");
		imap_enter(im, IMAP_P_APPEND);
	}
}

/* [SP flag-list] [SP date-time] SP, and then only the literal's announcement */
static bool options(struct imap_parser *p, struct append_job *job)
{
	struct span date;
	struct mail_date d;

	if (imap_parse_peek(p, '(') && (!imap_parse_flags(p, true, &job->flags) || !imap_parse_sp(p)))
		return false;
	if (imap_parse_peek(p, '"')) {
		if (!imap_parse_string(p, &date) || mail_date_internal_parse(date, &d) != ERR_OK || !imap_parse_sp(p))
			return false;
		job->idate_s = d.unix_s;
	}
	return true;
}

enum imap_append imap_append_literal(struct imap *im, struct imap_parser *p, uint64_t len, bool sync)
{
	struct append_job *job;
	struct span name;

	if (!imap_parse_sp(p))
		return IMAP_APPEND_BAD;
	/* "{3}" alone is the end of the text when it announces the mailbox's name */
	if (imap_parse_peek(p, '{') && span_find(imap_parse_rest(p), '\r') < 0)
		return IMAP_APPEND_NAME;
	job = arena_zalloc(&im->s.arena, sizeof(*job));
	CHECK(job);
	job->len = job->left = len;
	job->sync = sync;
	job->last = '\n';
	job->idate_s = (int64_t)(im->s.env->wall_us / 1000000);
	if (!imap_parse_astring(p, &name) || !imap_parse_sp(p) || !options(p, job) || !imap_parse_peek(p, '{') ||
	    span_find(imap_parse_rest(p), '\r') >= 0)
		return IMAP_APPEND_BAD;
	job->name = imap_name_decode(&im->s.arena, name);
	im->job = job;
	if (!job->name.p) {
		refuse(im, "[CANNOT] Invalid mailbox name");
	} else if (len > im->s.env->conf->message_size_max || len > UINT32_MAX) {
		stat_inc(im->s.env->stat, STAT_imap_too_big);
		refuse(im, "[TOOBIG] Message is larger than the limit");
	} else if (len == 0) {
		refuse(im, "[CANNOT] Message is empty");
	} else if (im->s.env->low_memory) {
		refuse(im, "[UNAVAILABLE] Short of memory, try again");
	} else {
		job->blob = store_id_new(im->s.env->store);
		imap_folder_find(im, job->name, append_found);
	}
	return IMAP_APPEND_TAKEN;
}

/* ---- the literal ---- */

/* What others must know of the bytes (enum store_blob_flag), and whether a NUL is among them. */
static void scan(struct append_job *job, const struct slices *l)
{
	for (uint32_t k = 0; k < l->n; k++) {
		const uint8_t *p = l->v[k].data, *end = p + l->v[k].len;
		uint8_t last = job->last, high = 0;

		for (; p < end; p++) {
			if (*p == '.' && last == '\n')
				job->blob_flags |= STORE_BLOB_DOTS;
			if (*p == 0)
				job->nul = true;
			high |= *p;
			last = *p;
		}
		if (high & 0x80)
			job->blob_flags |= STORE_BLOB_8BIT;
		job->last = last;
	}
}

static void part_stored(struct imap *im, struct store_op *op)
{
	struct append_job *job = im->job;

	im->op_busy = false;
	if (op->err != ERR_OK && !job->refused)
		job->refused = op->err == ERR_NO_SPACE ? "[UNAVAILABLE] Out of disk space"
						       : "[UNAVAILABLE] Storage failed";
	store_op_free(&op);
}

/* A part that is not the last goes ahead. */
static void part_send(struct imap *im, struct append_job *job)
{
	struct store_op *op = store_op_new(im->s.env->store, STORE_BODY, im->s.index, im->s.gen);

	if (!op) {
		slices_drop(&job->part);
		job->refused = "[UNAVAILABLE] Too much to do, try again";
		return;
	}
	op->acct = im->acct;
	op->blob = job->blob;
	op->off = job->off;
	op->body = job->part;
	job->part = (struct slices){0};
	job->off += op->body.len;
	im->op_busy = true;
	im->op = op;
	im->next = part_stored;
	store_submit(im->s.env->store, op);
}

static void appended(struct imap *im, struct store_op *op)
{
	const struct append_job *job = im->job;
	bool here = im->view && im->view->folder == job->folder;

	if (op->err == ERR_OK) {
		stat_inc(im->s.env->stat, STAT_imap_appends);
		imap_finish(im, here, "OK [APPENDUID %u %u] APPEND completed", op->res[1].uidvalidity, op->res[1].uid);
	} else if (op->err == ERR_NOT_FOUND) {
		imap_finish(im, false, "NO [TRYCREATE] No such mailbox");
	} else {
		imap_finish_err(im, op->err);
	}
	store_op_free(&op);
}

static void commit(struct imap *im, struct append_job *job)
{
	struct store_op *op;

	if (job->nul)
		job->refused = "[CANNOT] Message holds a NUL byte";
	if (job->refused) {
		slices_drop(&job->part);
		imap_finish(im, false, "NO %s", job->refused);
		return;
	}
	op = imap_op(im, STORE_COMMIT);
	if (!op) {
		slices_drop(&job->part);
		return;
	}
	if (job->last != '\n')
		job->blob_flags |= STORE_BLOB_NO_CRLF_END;
	op->blob = job->blob;
	op->off = job->off;
	op->body = job->part;
	job->part = (struct slices){0};
	store_tx_blob(op, job->blob, 0, job->blob_flags);
	store_tx_deliver(op, im->acct, job->folder, job->blob, job->flags.flags, job->flags.kws, job->idate_s);
	imap_submit(im, op, appended);
}

/* Takes what has come of the literal; true when all of it has. */
static bool literal_take(struct imap *im, struct append_job *job)
{
	struct slices got = {0};
	uint64_t n = stream_readable(&im->s.st);

	if (n > job->left)
		n = job->left;
	if (job->refused) {
		stream_consume(&im->s.st, n);
	} else if (n) {
		if (n > PART_MAX - job->part.len)
			n = PART_MAX - job->part.len;
		stream_take(&im->s.st, n, &got);
		scan(job, &got);
		slices_add_range(&job->part, &got, 0, got.len);
		slices_drop(&got);
	}
	job->left -= n;
	return job->left == 0;
}

bool imap_step_append(struct imap *im)
{
	struct append_job *job = im->job;
	struct span line;

	if (im->op_busy)
		return false;
	if (job->left && !literal_take(im, job)) {
		if (job->part.len >= PART_MAX / 4)
			part_send(im, job);
		else if (im->s.st.rx_eof && stream_readable(&im->s.st) == 0)
			imap_bye(im, "Connection ended within a command");
		return stream_readable(&im->s.st) > 0;
	}
	/* more literals would be MULTIAPPEND, which is not offered */
	enum err e = stream_line(&im->s.st, IMAP_LINE_MAX_NEW, &line, NULL);
	if (e == ERR_MORE && !im->s.st.rx_eof)
		return false;
	if (e != ERR_OK || line.len) {
		imap_bye(im, "Only a line end may follow the literal of APPEND");
		return false;
	}
	stream_line_done(&im->s.st);
	commit(im, job);
	return true;
}
