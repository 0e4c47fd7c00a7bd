/*
 * imap_search.c: SEARCH (RFC 3501 6.4.4, 7.2.5), ESEARCH (RFC 4731), WITHIN (RFC 5032).
 *
 * Each message is asked three times at most: with what the view knows, then with its header, then with all of it;
 * the next only if the answer is still open (unknown AND false is false). So flags, dates and sizes decide first
 * and most messages are never read. Text is compared as UTF-8 without regard to ASCII case, headers with
 * their encoded words decoded, bodies with transfer encoding and charset taken off.
 */
#include "imap_search_parse.h"
#include "imap_int.h"
#include "mail_codec.h"
#include "mail_header.h"

#define OUT_STEP 16384u
#define DAY_S    86400

/* How much of the message is at hand; also the phases of asking. */
enum level { LEVEL_VIEW, LEVEL_HEAD, LEVEL_ALL };
enum answer { NO, YES, OPEN };

struct search_job {
	struct imap_search search;
	uint32_t i, ahead; /* the message at hand; the next to ask for ahead */
	enum level level;
	uint32_t min, max, count; /* of what was found */
	struct imap_set_writer all;
	bool begun;               /* the answer is being written, */
	size_t off;               /*   up to here of im->out */
};

static enum answer answer_of(bool yes)
{
	return yes ? YES : NO;
}

/* ---- texts of the message at hand ---- */

static bool field_contains(const struct imap *im, struct span name, struct span text)
{
	struct mail_header_iter it;
	struct mail_field f;
	struct buf b;
	bool found = false;

	buf_init(&b);
	mail_header_begin(&it, imap_msg_span(im));
	while (!found && mail_header_next(&it, &f)) {
		if (!span_ieq(f.name, name))
			continue;
		b.len = 0;
		mail_words_decode(&b, f.value);
		found = mail_text_contains(buf_span(&b), text);
	}
	buf_fini(&b);
	return found;
}

/* Every field of a header with its words decoded, a line each. */
static void header_text(struct buf *out, struct span header)
{
	struct mail_header_iter it;
	struct mail_field f;

	mail_header_begin(&it, header);
	while (mail_header_next(&it, &f)) {
		buf_add_span(out, f.name);
		buf_add_str(out, ": ");
		mail_words_decode(out, f.value);
		buf_add_u8(out, '\n');
	}
}

static void leaf_text(struct buf *out, const struct mail_mime *m, const struct mail_part *part)
{
	struct span body = span_of(m->msg.p + part->body_off, part->body_len);
	struct span charset = mail_params_get(&part->params, SPAN("charset"));
	struct buf raw;

	if (!span_ieq(part->type, SPAN("text")))
		return;
	buf_init(&raw);
	mail_body_decode(&raw, mail_encoding_of(part->encoding), body);
	mail_charset_to_utf8(out, charset.p ? charset : SPAN("us-ascii"), buf_span(&raw));
	buf_add_u8(out, '\n');
	buf_fini(&raw);
}

/* Text parts, and the headers of messages inside. Made once a message, however many keys ask. */
static struct span body_text(struct imap *im)
{
	struct imap_msg *msg = im->msg;
	const struct mail_mime *m = imap_msg_mime(im);

	if (msg->text_made || !m)
		return buf_span(&msg->text);
	msg->text_made = true;
	for (uint32_t i = 0; i < m->n; i++) {
		const struct mail_part *part = &m->part[i];

		if (i && m->part[part->parent].kind == MAIL_PART_MESSAGE)
			header_text(&msg->text, span_of(m->msg.p + part->header_off, part->header_len));
		if (part->kind == MAIL_PART_LEAF)
			leaf_text(&msg->text, m, part);
	}
	return buf_span(&msg->text);
}

static bool text_contains(struct imap *im, struct span text)
{
	struct span msg = imap_msg_span(im);
	struct buf b;
	bool found;

	buf_init(&b);
	header_text(&b, span_head(msg, mail_header_size(msg)));
	found = mail_text_contains(buf_span(&b), text) || mail_text_contains(body_text(im), text);
	buf_fini(&b);
	return found;
}

/* The day of the Date field, in its own zone; the internal date's where there is none. */
static int64_t sent_day(const struct imap *im, const struct store_ent *e)
{
	struct mail_field f;
	struct mail_date d;

	if (mail_header_find(imap_msg_span(im), SPAN("Date"), &f) && mail_date_parse(f.value, &d) == ERR_OK)
		return mail_date_day(d);
	return e->idate_s / DAY_S;
}

/* ---- keys ---- */

static enum answer ask(struct imap *im, const struct imap_search_node *n, const struct store_ent *e, enum level level);

static enum answer ask_and(struct imap *im, const struct imap_search_node *n, const struct store_ent *e, enum level level)
{
	enum answer all = YES;

	for (const struct imap_search_node *k = n->a; k; k = k->next) {
		enum answer a = ask(im, k, e, level);

		if (a == NO)
			return NO;
		if (a == OPEN)
			all = OPEN;
	}
	return all;
}

static enum answer ask_or(struct imap *im, const struct imap_search_node *n, const struct store_ent *e, enum level level)
{
	enum answer a = ask(im, n->a, e, level), b;

	if (a == YES)
		return YES;
	b = ask(im, n->a->next, e, level);
	return b == YES || a == NO ? b : OPEN;
}

static enum answer ask_header(struct imap *im, const struct imap_search_node *n, const struct store_ent *e)
{
	int64_t day;

	if (n->key == IMAP_KEY_HEADER)
		return answer_of(field_contains(im, n->name, n->text));
	day = sent_day(im, e);
	return answer_of(n->key == IMAP_KEY_SENTBEFORE ? day < n->day
			 : n->key == IMAP_KEY_SENTON   ? day == n->day
						       : day >= n->day);
}

static enum answer ask(struct imap *im, const struct imap_search_node *n, const struct store_ent *e, enum level level)
{
	uint32_t index = (uint32_t)(e - im->view->ent);
	int64_t day = e->idate_s / DAY_S, wall_s = (int64_t)(im->s.env->wall_us / 1000000);

	if (n->key >= IMAP_KEY_HEADER && level == LEVEL_VIEW)
		return OPEN;
	if (n->key >= IMAP_KEY_BODY && level == LEVEL_HEAD)
		return OPEN;
	switch (n->key) {
	case IMAP_KEY_AND:
		return ask_and(im, n, e, level);
	case IMAP_KEY_OR:
		return ask_or(im, n, e, level);
	case IMAP_KEY_NOT: {
		enum answer a = ask(im, n->a, e, level);
		return a == OPEN ? OPEN : answer_of(a == NO);
	}
	case IMAP_KEY_FLAG:
		return answer_of(e->flags & n->flags);
	case IMAP_KEY_UNFLAG:
		return answer_of(!(e->flags & n->flags));
	case IMAP_KEY_NEW:
		return answer_of((e->flags & IMAP_ENT_RECENT) && !(e->flags & STORE_SEEN));
	case IMAP_KEY_OLD:
		return answer_of(!(e->flags & IMAP_ENT_RECENT));
	case IMAP_KEY_KEYWORD:
		return answer_of(e->kw & n->kw);
	case IMAP_KEY_UNKEYWORD:
		return answer_of(!(e->kw & n->kw));
	case IMAP_KEY_BEFORE:
		return answer_of(day < n->day);
	case IMAP_KEY_ON:
		return answer_of(day == n->day);
	case IMAP_KEY_SINCE:
		return answer_of(day >= n->day);
	case IMAP_KEY_LARGER:
		return answer_of(e->size > n->number);
	case IMAP_KEY_SMALLER:
		return answer_of(e->size < n->number);
	case IMAP_KEY_OLDER:
		return answer_of(e->idate_s <= wall_s - n->number);
	case IMAP_KEY_YOUNGER:
		return answer_of(e->idate_s >= wall_s - n->number);
	case IMAP_KEY_SEQ:
	case IMAP_KEY_UID:
		return answer_of(imap_set_has(&n->set, index));
	case IMAP_KEY_HEADER:
	case IMAP_KEY_SENTBEFORE:
	case IMAP_KEY_SENTON:
	case IMAP_KEY_SENTSINCE:
		return ask_header(im, n, e);
	case IMAP_KEY_BODY:
		return answer_of(mail_text_contains(body_text(im), n->text));
	case IMAP_KEY_TEXT:
		return answer_of(text_contains(im, n->text));
	case IMAP_KEY_N:
		break;
	}
	return NO;
}

/* ---- the cursor ---- */

static bool search_work(struct imap *im);

static void search_next(struct search_job *job)
{
	job->i++;
	job->level = LEVEL_VIEW;
}

static void search_loaded(struct imap *im, enum err e)
{
	struct search_job *job = im->job;

	if (e == ERR_NOT_FOUND) {
		search_next(job); /* expunged meanwhile: matches nothing */
	} else if (e != ERR_OK) {
		imap_finish_err(im, e);
		return;
	}
	imap_work(im, search_work);
}

/* Asks for the headers of this message and the next that will be looked into. */
static void read_ahead(struct imap *im, struct search_job *job)
{
	if (job->ahead < job->i)
		job->ahead = job->i;
	for (; job->ahead < im->view->told; job->ahead++) {
		const struct store_ent *e = &im->view->ent[job->ahead];

		if (!(e->flags & IMAP_ENT_GONE) && ask(im, job->search.root, e, LEVEL_VIEW) == OPEN &&
		    !imap_read_ahead(im, e->blob, 0, imap_msg_first(e, false)))
			return;
	}
}

/* Numbers come in rising order. */
static void found(struct imap *im, struct search_job *job, uint32_t number)
{
	if (!job->search.ret)
		buf_printf(&im->out, " %u", number);
	else if (job->search.ret & IMAP_RETURN_ALL)
		imap_set_put(&job->all, number);
	if (job->count++ == 0)
		job->min = number;
	job->max = number;
}

/* What stands before the numbers: "* SEARCH" or "* ESEARCH (TAG "a") UID MIN 1 COUNT 5 ALL ". */
static void answer_begin(struct imap *im, struct search_job *job)
{
	struct stream *st = &im->s.st;
	unsigned ret = job->search.ret;

	job->begun = true;
	if (!ret) {
		stream_str(st, "* SEARCH");
		return;
	}
	imap_set_end(&job->all);
	stream_str(st, "* ESEARCH (TAG \"");
	stream_write(st, imap_tag(im));
	stream_str(st, im->uid ? "\") UID" : "\")");
	if (job->count && (ret & IMAP_RETURN_MIN))
		stream_printf(st, " MIN %u", job->min);
	if (job->count && (ret & IMAP_RETURN_MAX))
		stream_printf(st, " MAX %u", job->max);
	if (ret & IMAP_RETURN_COUNT)
		stream_printf(st, " COUNT %u", job->count);
	if (job->count && (ret & IMAP_RETURN_ALL))
		stream_str(st, " ALL ");
}

/* Decides about the message at hand; false when it is being read. */
static bool search_message(struct imap *im, struct search_job *job)
{
	const struct store_ent *e = &im->view->ent[job->i];
	enum answer a = NO;

	if (job->level == LEVEL_HEAD)
		read_ahead(im, job);
	if (job->level != LEVEL_VIEW && !imap_msg_load(im, e, job->level == LEVEL_ALL, search_loaded))
		return false;
	if (!(e->flags & IMAP_ENT_GONE))
		a = ask(im, job->search.root, e, job->level);
	if (a == OPEN && job->level != LEVEL_ALL) {
		job->level++;
		return true;
	}
	if (a == YES)
		found(im, job, im->uid ? e->uid : job->i + 1);
	search_next(job);
	return true;
}

static bool search_work(struct imap *im)
{
	struct search_job *job = im->job;

	while (job->i < im->view->told) {
		if (!search_message(im, job))
			return true;
	}
	imap_msg_drop(im);
	if (!job->begun)
		answer_begin(im, job);
	while (job->off < im->out.len) {
		struct span part = span_head(span_from(buf_span(&im->out), job->off), OUT_STEP);

		if (!imap_room(im))
			return false;
		stream_write(&im->s.st, part);
		job->off += part.len;
	}
	stream_str(&im->s.st, "\r\n");
	imap_finish_ok(im, false);
	return true;
}

/* Sets into indexes, keywords into bits. */
static void search_resolve(struct imap *im, struct imap_search *s)
{
	const struct imap_view *v = im->view;

	for (unsigned i = 0; i < s->n_sets; i++) {
		struct imap_search_node *n = s->sets[i];

		if (n->key == IMAP_KEY_UID)
			imap_set_resolve_uid(&n->set, v->ent, v->told);
		else if (n->key == IMAP_KEY_SEQ)
			imap_set_resolve_seq(&n->set, v->told, true);
		else
			n->kw = imap_kw_bit(v->kw, v->n_kw, n->name);
	}
}

void imap_cmd_search(struct imap *im, struct imap_parser *p)
{
	struct search_job *job = arena_zalloc(&im->s.arena, sizeof(*job));
	enum err e;

	CHECK(job);
	if (!imap_parse_sp(p)) {
		imap_bad(im, "SEARCH wants keys");
		return;
	}
	e = imap_search_parse(p, &job->search);
	if (e == ERR_UNSUPPORTED) {
		imap_finish(im, false, "NO [BADCHARSET (US-ASCII UTF-8)] Unknown charset");
	} else if (e == ERR_TOO_MANY || e == ERR_NO_MEMORY) {
		imap_bad(im, "Too many keys or too deep");
	} else if (e != ERR_OK) {
		imap_bad(im, "Invalid search keys");
	} else {
		im->job = job;
		job->all.out = &im->out;
		search_resolve(im, &job->search);
		imap_work(im, search_work);
	}
}
