/*
 * imap_msg.c: one message in memory, for the items of FETCH and the keys of SEARCH that look into it.
 *
 * A message is read in steps of IMAP_READ_MAX, for a header only as far as its empty line; one at a time, into
 * one malloc'ed run that is kept while the same message is asked for. The MIME tree and what is made from it
 * live in the scratch arena.
 */
#include <stdlib.h>
#include "imap_int.h"

#define HEAD_STEP 16384u /* bytes of a first read that wants the header */

void imap_msg_drop(struct imap *im)
{
	struct imap_msg *m = im->msg;

	im->msg = NULL;
	if (!m)
		return;
	free(m->p);
	buf_fini(&m->text);
	arena_reset(&m->scratch);
	free(m);
}

struct span imap_msg_span(const struct imap *im)
{
	return span_of(im->msg->p, im->msg->len);
}

/* Has the empty line come that ends a header? Looks only at what was added after from. */
static bool header_ended(const struct imap_msg *m, size_t from)
{
	const uint8_t *p = m->p, *end;

	if (m->len == 0)
		return false;
	end = p + m->len;
	if ((m->len >= 1 && p[0] == '\n') || (m->len >= 2 && p[0] == '\r' && p[1] == '\n'))
		return true;
	p += from > 2 ? from - 2 : 0;
	while ((p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		p++;
		if ((end - p >= 1 && p[0] == '\n') || (end - p >= 2 && p[0] == '\r' && p[1] == '\n'))
			return true;
	}
	return false;
}

/* Is what was asked for there? Else how much must be there next. */
static bool msg_enough(struct imap_msg *m, bool all, size_t from)
{
	if (m->len == m->size) {
		m->head = true;
		return true;
	}
	if (all) {
		m->want = m->size;
		return false;
	}
	if (!m->head)
		m->head = header_ended(m, from);
	if (m->head)
		return true;
	size_t step = m->len ? m->len : HEAD_STEP;
	m->want = m->size - m->len < step ? m->size : m->len + step;
	return false;
}

static void msg_read(struct imap *im);

static void msg_came(struct imap *im, struct store_op *op)
{
	struct imap_msg *m = im->msg;
	size_t from = m->len;
	enum err e = op->err;

	if (e == ERR_OK && (op->data.len == 0 || op->data.len > m->size - m->len))
		e = ERR_CORRUPT;
	if (e == ERR_OK)
		m->len += slices_read(&op->data, 0, m->p + m->len, (size_t)op->data.len);
	store_op_free(&op);
	if (e != ERR_OK) {
		imap_loaded *loaded = im->loaded;

		imap_msg_drop(im);
		loaded(im, e);
		return;
	}
	bool all = m->whole;
	if (m->len < m->want || !msg_enough(m, all, from))
		msg_read(im);
	else
		im->loaded(im, ERR_OK);
}

static void msg_read(struct imap *im)
{
	struct imap_msg *m = im->msg;
	uint64_t len = m->want - m->len < IMAP_READ_MAX ? m->want - m->len : IMAP_READ_MAX;
	uint8_t *p = realloc(m->p, m->want);

	CHECK(p);
	m->p = p;
	if (!imap_read(im, m->blob, m->len, len, msg_came)) {
		imap_loaded *loaded = im->loaded;

		imap_msg_drop(im);
		loaded(im, ERR_NO_MEMORY);
	}
}

uint64_t imap_msg_first(const struct store_ent *e, bool all)
{
	uint32_t step = all ? IMAP_READ_MAX : HEAD_STEP;

	return e->size < step ? e->size : step;
}

bool imap_msg_load(struct imap *im, const struct store_ent *e, bool all, imap_loaded *loaded)
{
	if (!im->msg || im->msg->blob != e->blob) {
		imap_msg_drop(im);
		im->msg = calloc(1, sizeof(*im->msg));
		CHECK(im->msg);
		im->msg->blob = e->blob;
		im->msg->size = e->size < IMAP_MSG_MAX ? e->size : IMAP_MSG_MAX;
		arena_init(&im->msg->scratch, IMAP_SCRATCH_MAX);
	}
	if (msg_enough(im->msg, all, 0))
		return true;
	im->msg->whole = all;
	if (im->msg->parsed) {
		/* the run will move, and what was made from it points into it */
		arena_reset(&im->msg->scratch);
		im->msg->parsed = false;
	}
	im->loaded = loaded;
	msg_read(im);
	return false;
}

const struct mail_mime *imap_msg_mime(struct imap *im)
{
	struct imap_msg *m = im->msg;

	if (!m->parsed) {
		if (mail_mime_parse(&m->scratch, imap_msg_span(im), &m->mime) != ERR_OK)
			return NULL;
		m->parsed = true;
	}
	return &m->mime;
}
