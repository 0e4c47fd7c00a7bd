/*
 * imap_fetch.c: FETCH (RFC 3501 6.4.5, 7.4.2): a cursor over messages and their items. Hot path.
 *
 * A message's blob is read only if an item needs it, its header alone if that is enough; a whole BODY[] goes from
 * the store's packets to the stream without a copy, its size being known before. What needs the message in
 * memory gets it from imap_msg.c, one at a time. The cursor stops where the stream has enough to send and
 * goes on when there is room.
 *
 * Nothing of a message is written before the first read of its blob has come back, so a message that was
 * expunged meanwhile is left out and the command answered NO (RFC 2180 4.1.3). When a later read fails the
 * literal cannot be completed, and the connection is cut.
 */
#include "imap_fetch_parse.h"
#include "imap_int.h"
#include "mail_header.h"

#define STEP 16384u /* bytes from memory written at a time */

struct fetch_job {
	struct imap_set set;
	struct imap_fetch_list list;
	uint32_t r, i;        /* range of the set; index in the view */
	uint32_t ahead_r, ahead_i; /* the same of the next message to ask for ahead */
	struct imap_fetch_item *item; /* next to write; NULL: the message is not begun */
	struct span rest;     /* of a section in memory */
	uint64_t off, end;    /* of a blob on its way to the stream */
	bool begun, streaming, gone;
};

static bool fetch_work(struct imap *im);

static const struct store_ent *current(const struct imap *im, const struct fetch_job *job)
{
	return &im->view->ent[job->i];
}

/* The index behind (*r, *i) in the set; *r == set->n at the end. */
static void cursor_next(const struct imap_set *set, uint32_t *r, uint32_t *i)
{
	if (*i < set->v[*r].hi)
		++*i;
	else if (++*r < set->n)
		*i = set->v[*r].lo;
}

/* On to the next message of the set. */
static void advance(struct imap *im, struct fetch_job *job)
{
	imap_msg_drop(im);
	job->item = NULL;
	job->begun = false;
	cursor_next(&job->set, &job->r, &job->i);
}

static void skip_gone(struct imap *im, struct fetch_job *job, enum err e)
{
	job->gone |= e == ERR_NOT_FOUND;
	if (e != ERR_NOT_FOUND) {
		imap_finish_err(im, e);
		return;
	}
	advance(im, job);
	imap_work(im, fetch_work);
}

static void fetch_loaded(struct imap *im, enum err e)
{
	if (e != ERR_OK)
		skip_gone(im, im->job, e);
	else
		imap_work(im, fetch_work);
}

/* ---- a blob to the stream ---- */

static void cut(struct imap *im)
{
	stream_abort(&im->s.st);
	imap_enter(im, IMAP_P_CLOSED);
	imap_end(im);
}

static void chunk_send(struct imap *im, struct store_op *op)
{
	struct fetch_job *job = im->job;

	for (uint32_t k = 0; k < op->data.n; k++)
		stream_send(&im->s.st, slice_ref(&op->data.v[k]));
	job->off += op->data.len;
	store_op_free(&op);
}

static bool chunk_wrong(const struct fetch_job *job, const struct store_op *op)
{
	return op->err != ERR_OK || op->data.len == 0 || op->data.len > job->end - job->off;
}

static void chunk_came(struct imap *im, struct store_op *op)
{
	if (chunk_wrong(im->job, op)) {
		store_op_free(&op);
		cut(im);
		return;
	}
	chunk_send(im, op);
	imap_work(im, fetch_work);
}

/* Before the first word about this message: it may be gone. */
static void first_chunk_came(struct imap *im, struct store_op *op)
{
	struct fetch_job *job = im->job;

	if (chunk_wrong(job, op)) {
		enum err e = op->err == ERR_OK ? ERR_CORRUPT : op->err;

		store_op_free(&op);
		skip_gone(im, job, e);
		return;
	}
	im->job_op = op;
	imap_work(im, fetch_work);
}

static uint64_t chunk_len(uint64_t off, uint64_t end)
{
	return end - off < IMAP_READ_MAX ? end - off : IMAP_READ_MAX;
}

static void chunk_read(struct imap *im, imap_next *next)
{
	struct fetch_job *job = im->job;

	if (imap_read(im, current(im, job)->blob, job->off, chunk_len(job->off, job->end), next))
		return;
	if (job->begun)
		cut(im);
	else
		imap_finish_err(im, ERR_NO_MEMORY);
}

/* ---- items ---- */

static void write_flags(struct imap *im, struct buf *b, const struct store_ent *e)
{
	buf_add_str(b, "FLAGS ");
	imap_flags_write(b, im->view, e);
	im->view->ent[e - im->view->ent].flags &= ~IMAP_ENT_DIRTY;
}

static void write_uid(struct imap *im, struct buf *b, const struct store_ent *e)
{
	buf_printf(b, "UID %u", e->uid);
}

static void write_date(struct imap *im, struct buf *b, const struct store_ent *e)
{
	char text[MAIL_DATE_MAX];

	mail_date_internal((struct mail_date){.unix_s = e->idate_s}, text);
	buf_printf(b, "INTERNALDATE \"%s\"", text);
}

static void write_size(struct imap *im, struct buf *b, const struct store_ent *e)
{
	buf_printf(b, "RFC822.SIZE %u", e->size);
}

static void write_envelope(struct imap *im, struct buf *b, const struct store_ent *e)
{
	buf_add_str(b, "ENVELOPE ");
	mail_envelope_write(b, &im->msg->scratch, imap_msg_span(im));
}

static void write_structure(struct imap *im, struct buf *b, bool extended)
{
	const struct mail_mime *m = imap_msg_mime(im);

	if (m)
		mail_bodystructure_write(b, &im->msg->scratch, m, extended);
	else
		buf_add_str(b, "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 0 0)");
}

static void write_body(struct imap *im, struct buf *b, const struct store_ent *e)
{
	buf_add_str(b, "BODY ");
	write_structure(im, b, false);
}

static void write_bodystructure(struct imap *im, struct buf *b, const struct store_ent *e)
{
	buf_add_str(b, "BODYSTRUCTURE ");
	write_structure(im, b, true);
}

/* By enum imap_att; sections are begun by section_begin. */
static void (*const write_att[IMAP_ATT_N])(struct imap *im, struct buf *b, const struct store_ent *e) = {
	[IMAP_ATT_FLAGS] = write_flags,       [IMAP_ATT_UID] = write_uid,
	[IMAP_ATT_INTERNALDATE] = write_date, [IMAP_ATT_SIZE] = write_size,
	[IMAP_ATT_ENVELOPE] = write_envelope, [IMAP_ATT_BODY] = write_body,
	[IMAP_ATT_BODYSTRUCTURE] = write_bodystructure,
};

/* The bytes of a section from the message in memory. */
static enum err section_find(struct imap *im, const struct mail_section *sec, struct span *out)
{
	struct imap_msg *m = im->msg;

	if (mail_section_is_header(sec)) {
		struct span msg = imap_msg_span(im);
		struct span header = span_head(msg, mail_header_size(msg));

		*out = header;
		return sec->kind == MAIL_SECTION_HEADER ? ERR_OK
							: mail_header_filter(header, sec, &m->scratch, out);
	}
	const struct mail_mime *mime = imap_msg_mime(im);
	return mime ? mail_part_find(mime, sec, &m->scratch, out) : ERR_NO_MEMORY;
}

/* Where <off.max> begins and ends in a run of len bytes. */
static void partial_range(const struct imap_fetch_item *it, uint64_t len, uint64_t *off, uint64_t *end)
{
	*off = 0;
	*end = len;
	if (!it->partial)
		return;
	*off = it->off < len ? it->off : len;
	*end = it->max < len - *off ? *off + it->max : len;
}

static void section_name(struct buf *b, const struct imap_fetch_item *it)
{
	if (it->name) {
		buf_add_str(b, it->name);
	} else {
		buf_add_str(b, "BODY[");
		mail_section_write(b, it->sec);
		buf_add_u8(b, ']');
	}
	if (it->partial)
		buf_printf(b, "<%u>", it->off);
	buf_add_u8(b, ' ');
}

static void literal_head(struct buf *b, uint64_t len)
{
	if (len)
		buf_printf(b, "{%llu}\r\n", (unsigned long long)len);
	else
		buf_add_str(b, "\"\"");
}

/* The name and the head of the literal; its bytes follow through rest or streaming. */
static void section_begin(struct imap *im, struct fetch_job *job, struct buf *b)
{
	struct imap_fetch_item *it = job->item;
	uint64_t off, end;
	struct span s;

	section_name(b, it);
	if (it == job->list.stream) {
		literal_head(b, job->end - job->off);
		job->streaming = job->off < job->end;
	} else if (section_find(im, it->sec, &s) != ERR_OK) {
		buf_add_str(b, "NIL");
		return;
	} else {
		partial_range(it, s.len, &off, &end);
		literal_head(b, end - off);
		job->rest = span_of(s.p + off, (size_t)(end - off));
	}
	if (it->whole)
		stat_inc(im->s.env->stat, STAT_imap_messages_out);
}

/* Writes items up to one whose bytes come by themselves, or to the closing parenthesis: then true. */
static bool items_write(struct imap *im, struct fetch_job *job)
{
	const struct store_ent *e = current(im, job);
	struct buf b;
	bool done;

	buf_init(&b);
	if (!job->begun) {
		buf_printf(&b, "* %u FETCH (", job->i + 1);
		if ((e->flags & IMAP_ENT_DIRTY) && !(job->list.mask >> IMAP_ATT_FLAGS & 1)) {
			write_flags(im, &b, e);
			buf_add_u8(&b, ' ');
		}
		job->begun = true;
		job->item = job->list.first;
	}
	while (job->item && !job->rest.len && !job->streaming) {
		if (job->item != job->list.first)
			buf_add_u8(&b, ' ');
		if (job->item->att == IMAP_ATT_SECTION)
			section_begin(im, job, &b);
		else
			write_att[job->item->att](im, &b, e);
		job->item = job->item->next;
	}
	done = !job->item && !job->rest.len && !job->streaming;
	if (done)
		buf_add_str(&b, ")\r\n");
	stream_write(&im->s.st, buf_span(&b));
	buf_fini(&b);
	return done;
}

/* ---- the cursor ---- */

/* Asks for the first bytes of this message, if more follow, and of the next. */
static void read_ahead(struct imap *im, struct fetch_job *job)
{
	if (job->ahead_r < job->r || (job->ahead_r == job->r && job->ahead_i < job->i)) {
		job->ahead_r = job->r;
		job->ahead_i = job->i;
	}
	if (job->r == job->set.n - 1 && job->i == job->set.v[job->r].hi)
		return;
	while (job->ahead_r < job->set.n) {
		const struct store_ent *e = &im->view->ent[job->ahead_i];
		uint64_t off = 0, end, len = imap_msg_first(e, job->list.need == IMAP_NEED_ALL);

		if (job->list.need == IMAP_NEED_NONE) {
			partial_range(job->list.stream, e->size, &off, &end);
			len = chunk_len(off, end);
		}
		if (!imap_read_ahead(im, e->blob, off, len))
			return;
		cursor_next(&job->set, &job->ahead_r, &job->ahead_i);
	}
}

/* Sees to what the message needs before its first word; true when it is there. */
static bool message_ready(struct imap *im, struct fetch_job *job)
{
	const struct store_ent *e = current(im, job);

	if (job->list.need != IMAP_NEED_NONE || job->list.stream)
		read_ahead(im, job);
	if (job->list.need != IMAP_NEED_NONE &&
	    !imap_msg_load(im, e, job->list.need == IMAP_NEED_ALL, fetch_loaded))
		return false;
	if (!job->list.stream || im->job_op)
		return true;
	partial_range(job->list.stream, e->size, &job->off, &job->end);
	if (job->off == job->end)
		return true;
	chunk_read(im, first_chunk_came);
	return false;
}

static void rest_write(struct imap *im, struct fetch_job *job)
{
	struct span part = span_head(job->rest, STEP);

	stream_write(&im->s.st, part);
	job->rest = span_from(job->rest, part.len);
}

/* True: go on (perhaps in another phase). */
static bool fetch_work(struct imap *im)
{
	struct fetch_job *job = im->job;

	if (!imap_room(im))
		return false;
	if (job->rest.len) {
		rest_write(im, job);
	} else if (job->streaming && im->job_op) {
		struct store_op *op = im->job_op;

		im->job_op = NULL;
		chunk_send(im, op);
	} else if (job->streaming && job->off < job->end) {
		chunk_read(im, chunk_came);
	} else if (job->r == job->set.n) {
		if (job->gone)
			imap_finish(im, true, "NO [EXPUNGEISSUED] Some of the messages are gone");
		else
			imap_finish_ok(im, false);
	} else {
		job->streaming = false;
		if ((job->begun || message_ready(im, job)) && items_write(im, job))
			advance(im, job);
	}
	return true;
}

static void fetch_begin(struct imap *im)
{
	struct fetch_job *job = im->job;

	if (job->set.n)
		job->i = job->set.v[0].lo;
	imap_work(im, fetch_work);
}

/* ---- \Seen ---- */

static void seen_synced(struct imap *im, struct store_op *op)
{
	bool there = imap_synced(im, op);

	store_op_free(&op);
	if (there)
		fetch_begin(im);
}

/* Flags that could not be set are no reason to withhold the mail. */
static void seen_set(struct imap *im, struct store_op *op)
{
	bool ok = op->err == ERR_OK;

	store_op_free(&op);
	if (!ok || !imap_sync(im, seen_synced))
		fetch_begin(im);
}

/* The UID ranges of what is not yet seen: runs of neighbours in the set. NULL: none, or no memory. */
static uint32_t *unseen(struct imap *im, const struct imap_set *s, uint32_t *n)
{
	const struct store_ent *ent = im->view->ent;
	uint32_t runs = 0;
	uint32_t *out = NULL;

	/* once to count, once to write */
	for (int pass = 0; pass < 2; pass++) {
		*n = 0;
		for (uint32_t r = 0; r < s->n; r++) {
			bool open = false;

			for (uint32_t i = s->v[r].lo; i <= s->v[r].hi; i++) {
				if (ent[i].flags & (STORE_SEEN | IMAP_ENT_GONE)) {
					open = false;
					continue;
				}
				*n += !open;
				if (pass && !open)
					out[2 * *n - 2] = ent[i].uid;
				if (pass)
					out[2 * *n - 1] = ent[i].uid;
				open = true;
			}
		}
		runs = *n;
		if (!runs || (!pass && !(out = arena_alloc(&im->s.arena, (size_t)runs * 8))))
			return NULL;
	}
	return out;
}

void imap_cmd_fetch(struct imap *im, struct imap_parser *p)
{
	struct fetch_job *job = arena_zalloc(&im->s.arena, sizeof(*job));
	uint32_t *ranges, n;
	struct store_op *op;

	CHECK(job);
	if (!imap_parse_sp(p)) {
		imap_bad(im, "FETCH wants a message set and items");
		return;
	}
	if (!imap_set_read(im, p, &job->set))
		return;
	if (!imap_parse_sp(p) || imap_fetch_parse(p, im->uid, &job->list) != ERR_OK || !imap_parse_end(p)) {
		imap_bad(im, "FETCH wants a message set and items");
		return;
	}
	im->job = job;
	ranges = job->list.seen && !im->view->readonly ? unseen(im, &job->set, &n) : NULL;
	if (!ranges) {
		fetch_begin(im);
	} else if ((op = imap_op(im, STORE_COMMIT)) != NULL) {
		store_tx_flags(op, im->acct, im->view->folder, ranges, n, STORE_FLAGS_ADD, STORE_SEEN, SPAN(""));
		imap_submit(im, op, seen_set);
	}
}
