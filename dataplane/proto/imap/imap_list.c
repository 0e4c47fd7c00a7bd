/*
 * imap_list.c: LIST and LSUB (RFC 3501 6.3.8, 6.3.9) with the attributes of RFC 3348.
 *
 * The folders are put in order of name, so that whether one has children is a look at its neighbours. Matching
 * is done on the wire form of names, with a set of positions: pattern times name in time, no backtracking.
 */
#include <stdlib.h>
#include "imap_int.h"
#include "mail_codec.h"
#include "mail_envelope.h"

#define PATTERN_MAX 512 /* bytes, runs of wildcards counted once */

/* A pattern with its runs of wildcards made one: "*%*" is "*". False: too long. */
static bool pattern_pack(struct span s, uint8_t out[PATTERN_MAX], size_t *len)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.p[i];

		if ((c == '*' || c == '%') && n && (out[n - 1] == '*' || out[n - 1] == '%')) {
			if (c == '*')
				out[n - 1] = '*';
			continue;
		}
		if (n == PATTERN_MAX)
			return false;
		out[n++] = c;
	}
	*len = n;
	return true;
}

/* A wildcard may match nothing: the position behind it is reached as well. */
static void reach(bool *at, const uint8_t *pat, size_t pos, size_t len)
{
	at[pos] = true;
	if (pos < len && (pat[pos] == '*' || pat[pos] == '%'))
		at[pos + 1] = true;
}

bool imap_list_match(struct span pattern, struct span name)
{
	uint8_t pat[PATTERN_MAX];
	bool at[PATTERN_MAX + 1] = {false}, next[PATTERN_MAX + 1];
	size_t len;
	/* INBOX, alone or as the first level, is the same in any case */
	size_t fold = name.len >= 5 && span_eq(span_head(name, 5), SPAN("INBOX")) &&
				      (name.len == 5 || name.p[5] == '/')
			      ? 5
			      : 0;

	if (!pattern_pack(pattern, pat, &len))
		return false;
	reach(at, pat, 0, len);
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.p[i];

		memset(next, 0, len + 1);
		for (size_t k = 0; k < len; k++) {
			if (!at[k])
				continue;
			if (pat[k] == '*' || (pat[k] == '%' && c != '/'))
				reach(next, pat, k, len);
			else if (pat[k] == c || (i < fold && ascii_upper(pat[k]) == c))
				reach(next, pat, k + 1, len);
		}
		memcpy(at, next, len + 1);
	}
	return at[len];
}

/* ---- the commands ---- */

struct list_job {
	struct span pattern; /* reference and pattern, one behind the other */
	bool lsub;
	struct store_op *op; /* holds the folders */
	const struct store_folder **by_name;
	uint32_t n, i;
	struct span parent;  /* LSUB: the last level above that was listed */
};

static int name_order(const void *a, const void *b)
{
	const struct store_folder *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* Does any folder lie below name? */
static bool has_children(const struct list_job *job, const char *name)
{
	uint32_t lo = 0, hi = job->n;
	size_t len = strlen(name);

	/* the first that is not below "name/" */
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		const char *other = job->by_name[mid]->name;
		int c = strncmp(other, name, len);

		if (c < 0 || (c == 0 && (uint8_t)other[len] < '/'))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < job->n && strncmp(job->by_name[lo]->name, name, len) == 0 &&
	       job->by_name[lo]->name[len] == '/';
}

static void line_write(struct imap *im, const struct list_job *job, const char *attributes, struct span wire)
{
	struct buf b;

	buf_init(&b);
	buf_printf(&b, "* %s (%s) \"/\" ", job->lsub ? "LSUB" : "LIST", attributes);
	mail_astring_write(&b, wire);
	buf_add_str(&b, "\r\n");
	stream_write(&im->s.st, buf_span(&b));
	buf_fini(&b);
}

/* LSUB "%" names the levels above subscribed names too, as \Noselect (RFC 3501 6.3.9). */
static void lsub_parents(struct imap *im, struct list_job *job, struct span wire)
{
	for (size_t i = 1; i < wire.len; i++) {
		struct span above = span_head(wire, i);

		if (wire.p[i] != '/' || !imap_list_match(job->pattern, above) || span_eq(above, job->parent))
			continue;
		job->parent = arena_copy(&im->s.arena, above);
		line_write(im, job, "\\Noselect", above);
	}
}

static void list_one(struct imap *im, struct list_job *job, const struct store_folder *f)
{
	char text[4 * IMAP_NAME_MAX + 2];
	struct span name = span_str(f->name);
	ptrdiff_t len = mail_utf8_to_utf7(name, text, sizeof(text));
	bool exists = f->id != 0;

	if (len < 0 || (job->lsub ? !f->subscribed : !exists))
		return;
	struct span wire = span_of(text, (size_t)len);
	if (imap_list_match(job->pattern, wire)) {
		line_write(im, job,
			   job->lsub     ? (exists && !f->noselect ? "" : "\\Noselect")
			   : f->noselect ? "\\Noselect \\HasChildren"
			   : has_children(job, f->name) ? "\\HasChildren"
							: "\\HasNoChildren",
			   wire);
		job->parent = arena_copy(&im->s.arena, wire);
	} else if (job->lsub) {
		lsub_parents(im, job, wire);
	}
}

static bool list_work(struct imap *im)
{
	struct list_job *job = im->job;

	for (; job->i < job->n; job->i++) {
		if (!imap_room(im))
			return false;
		list_one(im, job, job->by_name[job->i]);
	}
	imap_finish_ok(im, false);
	return true;
}

static void listed(struct imap *im, struct store_op *op)
{
	struct list_job *job = im->job;

	if (op->err != ERR_OK) {
		imap_finish_err(im, op->err);
		store_op_free(&op);
		return;
	}
	job->by_name = arena_alloc(&im->s.arena, op->view->n_folder * sizeof(*job->by_name) + 1);
	if (!job->by_name) {
		imap_finish_err(im, ERR_NO_MEMORY);
		store_op_free(&op);
		return;
	}
	for (uint32_t i = 0; i < op->view->n_folder; i++) {
		if (op->view->folders[i].id != 0 || job->lsub)
			job->by_name[job->n++] = &op->view->folders[i];
	}
	qsort(job->by_name, job->n, sizeof(*job->by_name), name_order);
	im->job_op = op;
	imap_work(im, list_work);
}

static void list(struct imap *im, struct imap_parser *p, bool lsub)
{
	struct list_job *job = arena_zalloc(&im->s.arena, sizeof(*job));
	struct span ref, pattern;
	struct store_op *op;

	CHECK(job);
	if (!imap_parse_sp(p) || !imap_parse_astring(p, &ref) || !imap_parse_sp(p) ||
	    !imap_parse_pattern(p, &pattern) || !imap_parse_end(p)) {
		imap_bad(im, "A reference and a pattern are wanted");
		return;
	}
	if (pattern.len == 0 && !lsub) {
		/* RFC 3501 6.3.8: the separator and the root of the reference */
		stream_str(&im->s.st, "* LIST (\\Noselect) \"/\" \"\"\r\n");
		imap_finish_ok(im, false);
		return;
	}
	if (ref.len + pattern.len > PATTERN_MAX) {
		imap_finish(im, false, "NO [LIMIT] Pattern is too long");
		return;
	}
	uint8_t *text = arena_alloc(&im->s.arena, ref.len + pattern.len + 1);
	CHECK(text);
	memcpy(text, ref.p, ref.len);
	memcpy(text + ref.len, pattern.p, pattern.len);
	job->pattern = span_of(text, ref.len + pattern.len);
	job->lsub = lsub;
	im->job = job;
	if ((op = imap_op(im, STORE_FOLDERS)) != NULL)
		imap_submit(im, op, listed);
}

void imap_cmd_list(struct imap *im, struct imap_parser *p)
{
	list(im, p, false);
}

void imap_cmd_lsub(struct imap *im, struct imap_parser *p)
{
	list(im, p, true);
}
