/*
 * imap_list.c: LIST and LSUB (RFC 3501 6.3.8, 6.3.9), LIST-EXTENDED (RFC 5258), LIST-STATUS (RFC 5819) and the
 * attributes of RFC 3348 and RFC 6154.
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

/* ---- what was asked for ---- */

/* RFC 5258 section 3, RFC 6154, RFC 5819. */
enum {
	SELECT_SUBSCRIBED = 1,
	SELECT_RECURSIVE = 2,
	SELECT_SPECIAL = 4,
	RETURN_SUBSCRIBED = 8,
	RETURN_STATUS = 16,
};

#define NAME(s) {(const uint8_t *)(s), sizeof(s) - 1}
struct list_opt {
	struct span name;
	unsigned bit;
};
static const struct list_opt select_opt[] = {
	{NAME("SUBSCRIBED"), SELECT_SUBSCRIBED | RETURN_SUBSCRIBED},
	{NAME("RECURSIVEMATCH"), SELECT_RECURSIVE},
	{NAME("SPECIAL-USE"), SELECT_SPECIAL},
	{NAME("REMOTE"), 0},
};
static const struct list_opt return_opt[] = {
	{NAME("SUBSCRIBED"), RETURN_SUBSCRIBED},
	{NAME("STATUS"), RETURN_STATUS},
	{NAME("CHILDREN"), 0}, /* always returned, as SPECIAL-USE is */
	{NAME("SPECIAL-USE"), 0},
};

/* RFC 6154: by name, as clients create them. */
static const struct {
	struct span name;
	const char *attribute;
} special_use[] = {
	{NAME("Archive"), "\\Archive"}, {NAME("Drafts"), "\\Drafts"}, {NAME("Junk"), "\\Junk"},
	{NAME("Spam"), "\\Junk"},       {NAME("Sent"), "\\Sent"},     {NAME("Trash"), "\\Trash"},
};

struct list_job {
	bool lsub;
	unsigned opts;
	uint32_t status;          /* items of RETURN (STATUS (...)) */
	struct span ref;
	struct span *pattern;     /* reference and pattern, one behind the other */
	unsigned n_pattern;
	const struct store_folder **by_name;
	uint32_t n, i;
	struct span parent;       /* the last level above a subscribed name that was listed */
};

#define PATTERNS_MAX 64

static bool pattern_add(struct imap *im, struct list_job *job, struct span pattern)
{
	size_t len = job->ref.len + pattern.len;
	uint8_t *text = arena_alloc(&im->s.arena, len + 1);

	if (!text || len > PATTERN_MAX || job->n_pattern == PATTERNS_MAX)
		return false;
	if (job->ref.len)
		memcpy(text, job->ref.p, job->ref.len);
	if (pattern.len)
		memcpy(text + job->ref.len, pattern.p, pattern.len);
	job->pattern[job->n_pattern++] = span_of(text, len);
	return true;
}

static bool matches(const struct list_job *job, struct span wire)
{
	for (unsigned i = 0; i < job->n_pattern; i++) {
		if (imap_list_match(job->pattern[i], wire))
			return true;
	}
	return false;
}

/* "(OPT OPT)", STATUS with its items. */
static bool opts_parse(struct imap_parser *p, const struct list_opt *opt, unsigned n_opt, struct list_job *job)
{
	struct span word;

	if (!imap_parse_char(p, '('))
		return false;
	if (imap_parse_char(p, ')'))
		return true;
	do {
		unsigned i = 0;

		if (!imap_parse_atom(p, &word))
			return false;
		while (i < n_opt && !span_ieq(word, opt[i].name))
			i++;
		if (i == n_opt)
			return false;
		job->opts |= opt[i].bit;
		if (opt[i].bit == RETURN_STATUS && (!imap_parse_sp(p) || !imap_status_items(p, &job->status)))
			return false;
	} while (imap_parse_sp(p));
	return imap_parse_char(p, ')');
}

/* mbox-or-pat. ERR_TOO_LONG: a pattern over the limit. */
static enum err patterns_parse(struct imap *im, struct imap_parser *p, struct list_job *job, bool *extended)
{
	struct span pattern;
	enum err e = ERR_OK;

	*extended = !job->lsub && imap_parse_char(p, '(');
	do {
		if (!imap_parse_pattern(p, &pattern))
			return ERR_SYNTAX;
		if (!pattern_add(im, job, pattern))
			e = ERR_TOO_LONG;
	} while (*extended && imap_parse_sp(p));
	if (*extended && !imap_parse_char(p, ')'))
		return ERR_SYNTAX;
	return e;
}

/* All of the command behind its name. extended: not the form of RFC 3501. */
static enum err list_parse(struct imap *im, struct imap_parser *p, struct list_job *job, bool *extended)
{
	bool select, list;
	enum err e;

	*extended = false;
	if (!imap_parse_sp(p))
		return ERR_SYNTAX;
	select = !job->lsub && imap_parse_peek(p, '(');
	if (select && (!opts_parse(p, select_opt, ARRAY_LEN(select_opt), job) || !imap_parse_sp(p)))
		return ERR_SYNTAX;
	if ((job->opts & SELECT_RECURSIVE) && !(job->opts & SELECT_SUBSCRIBED))
		return ERR_SYNTAX;
	if (!imap_parse_astring(p, &job->ref) || !imap_parse_sp(p))
		return ERR_SYNTAX;
	if ((e = patterns_parse(im, p, job, &list)) == ERR_SYNTAX)
		return e;
	*extended = select || list;
	if (!job->lsub && imap_parse_sp(p)) {
		*extended = true;
		if (!imap_parse_word(p, SPAN("RETURN")) || !imap_parse_sp(p) ||
		    !opts_parse(p, return_opt, ARRAY_LEN(return_opt), job))
			return ERR_SYNTAX;
	}
	return imap_parse_end(p) ? e : ERR_SYNTAX;
}

/* ---- the answers ---- */

static int name_order(const void *a, const void *b)
{
	const struct store_folder *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* The first folder, in order of name, that is not before "name/". */
static uint32_t children_at(const struct list_job *job, const char *name, size_t len)
{
	uint32_t lo = 0, hi = job->n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		const char *other = job->by_name[mid]->name;
		int c = strncmp(other, name, len);

		if (c < 0 || (c == 0 && (uint8_t)other[len] < '/'))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Does any folder lie below name? With subscribed: one that is. */
static bool has_children(const struct list_job *job, const char *name, bool subscribed)
{
	size_t len = strlen(name);

	for (uint32_t i = children_at(job, name, len); i < job->n; i++) {
		const struct store_folder *f = job->by_name[i];

		if (strncmp(f->name, name, len) != 0 || f->name[len] != '/')
			return false;
		if (subscribed ? f->subscribed : f->id != 0)
			return true;
	}
	return false;
}

static const char *special_of(const struct store_folder *f)
{
	for (unsigned i = 0; i < ARRAY_LEN(special_use); i++) {
		if (span_eq(span_str(f->name), special_use[i].name))
			return special_use[i].attribute;
	}
	return NULL;
}

static void attribute_add(struct buf *b, const char *attribute)
{
	if (b->p[b->len - 1] != '(')
		buf_add_u8(b, ' ');
	buf_add_str(b, attribute);
}

static void line_end(struct imap *im, struct buf *b, struct span wire, bool childinfo)
{
	buf_add_str(b, ") \"/\" ");
	mail_astring_write(b, wire);
	buf_add_str(b, childinfo ? " (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n" : "\r\n");
	stream_write(&im->s.st, buf_span(b));
	buf_fini(b);
}

static void list_line(struct imap *im, const struct list_job *job, const struct store_folder *f, struct span wire,
		      bool childinfo)
{
	const char *special = special_of(f);
	struct buf b;

	buf_init(&b);
	buf_add_str(&b, "* LIST (");
	if (f->id == 0)
		attribute_add(&b, "\\NonExistent");
	else if (f->noselect)
		attribute_add(&b, "\\Noselect");
	attribute_add(&b, has_children(job, f->name, false) ? "\\HasChildren" : "\\HasNoChildren");
	if (f->subscribed && (job->opts & RETURN_SUBSCRIBED))
		attribute_add(&b, "\\Subscribed");
	if (special)
		attribute_add(&b, special);
	line_end(im, &b, wire, childinfo);
	if ((job->opts & RETURN_STATUS) && f->id != 0 && !f->noselect)
		imap_status_write(im, f, wire, job->status);
}

static void lsub_line(struct imap *im, struct list_job *job, bool noselect, struct span wire)
{
	struct buf b;

	buf_init(&b);
	buf_add_str(&b, "* LSUB (");
	if (noselect)
		attribute_add(&b, "\\Noselect");
	line_end(im, &b, wire, false);
	job->parent = arena_copy(&im->s.arena, wire);
}

/* LSUB "%" names the levels above subscribed names too, as \Noselect (RFC 3501 6.3.9). */
static void lsub_one(struct imap *im, struct list_job *job, const struct store_folder *f, struct span wire)
{
	if (!f->subscribed)
		return;
	if (matches(job, wire)) {
		lsub_line(im, job, f->id == 0 || f->noselect, wire);
		return;
	}
	for (size_t i = 1; i < wire.len; i++) {
		struct span above = span_head(wire, i);

		if (wire.p[i] == '/' && matches(job, above) && !span_eq(above, job->parent))
			lsub_line(im, job, true, above);
	}
}

static bool name_exists(const struct list_job *job, struct span name)
{
	uint32_t lo = 0, hi = job->n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int c = strncmp(job->by_name[mid]->name, (const char *)name.p, name.len);

		if (c == 0 && job->by_name[mid]->name[name.len] == '\0')
			return true;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

/* RECURSIVEMATCH: the levels above a subscribed name that are no mailboxes themselves (RFC 5258 3.5). */
static void list_parents(struct imap *im, struct list_job *job, const struct store_folder *f)
{
	char text[4 * IMAP_NAME_MAX + 2];
	struct span name = span_str(f->name);

	for (size_t i = 1; i < name.len; i++) {
		struct span above = span_head(name, i), wire;
		struct buf b;

		if (name.p[i] != '/' || name_exists(job, above) || span_eq(above, job->parent))
			continue;
		ptrdiff_t len = mail_utf8_to_utf7(above, text, sizeof(text));
		wire = span_of(text, len < 0 ? 0 : (size_t)len);
		if (len < 0 || !matches(job, wire))
			continue;
		job->parent = above;
		buf_init(&b);
		buf_add_str(&b, "* LIST (\\NonExistent \\HasChildren");
		line_end(im, &b, wire, true);
	}
}

static void list_one(struct imap *im, struct list_job *job, const struct store_folder *f)
{
	char text[4 * IMAP_NAME_MAX + 2];
	ptrdiff_t len = mail_utf8_to_utf7(span_str(f->name), text, sizeof(text));
	struct span wire = span_of(text, len < 0 ? 0 : (size_t)len);
	bool select = (f->id != 0 || (job->opts & SELECT_SUBSCRIBED)) &&
		      (!(job->opts & SELECT_SUBSCRIBED) || f->subscribed) &&
		      (!(job->opts & SELECT_SPECIAL) || special_of(f));
	bool childinfo = (job->opts & SELECT_RECURSIVE) && has_children(job, f->name, true);

	if (len < 0)
		return;
	if (job->lsub)
		lsub_one(im, job, f, wire);
	else if ((select || childinfo) && matches(job, wire))
		list_line(im, job, f, wire, childinfo);
	else if ((job->opts & SELECT_RECURSIVE) && f->id == 0)
		list_parents(im, job, f);
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
	for (uint32_t i = 0; i < op->view->n_folder; i++)
		job->by_name[job->n++] = &op->view->folders[i];
	qsort(job->by_name, job->n, sizeof(*job->by_name), name_order);
	im->job_op = op;
	imap_work(im, list_work);
}

static void list(struct imap *im, struct imap_parser *p, bool lsub)
{
	struct list_job *job = arena_zalloc(&im->s.arena, sizeof(*job));
	struct store_op *op;
	bool extended;
	enum err e;

	CHECK(job);
	job->lsub = lsub;
	job->pattern = arena_alloc(&im->s.arena, PATTERNS_MAX * sizeof(*job->pattern));
	CHECK(job->pattern);
	e = list_parse(im, p, job, &extended);
	if (e == ERR_SYNTAX) {
		imap_bad(im, "A reference and a pattern are wanted");
	} else if (e != ERR_OK) {
		imap_finish(im, false, "NO [LIMIT] Pattern is too long");
	} else if (!lsub && !extended && job->pattern[0].len == job->ref.len) {
		/* RFC 3501 6.3.8: the separator and the root of the reference */
		stream_str(&im->s.st, "* LIST (\\Noselect) \"/\" \"\"\r\n");
		imap_finish_ok(im, false);
	} else {
		im->job = job;
		if ((op = imap_op(im, STORE_FOLDERS)) != NULL)
			imap_submit(im, op, listed);
	}
}

void imap_cmd_list(struct imap *im, struct imap_parser *p)
{
	list(im, p, false);
}

void imap_cmd_lsub(struct imap *im, struct imap_parser *p)
{
	list(im, p, true);
}
