/*
 * mail_mime.c: the walk over the lines of a message that gives its MIME tree; see mail_mime.h.
 * Parameters of header fields are in mail_params.c.
 *
 * One cursor goes over the text once. The containers that are open at it stand on a stack; a line
 * that is a delimiter of any of them closes all above it (RFC 2046 5.1.2: an outer delimiter ends
 * an inner part that has no end). A container behind its closing delimiter stays open for its
 * epilogue, but no longer delimits.
 */
#include "mail_mime.h"
#include "mail_codec.h"
#include "mail_header.h"
#include "mail_int.h"

struct open {
	uint32_t part;
	struct span boundary; /* empty: none (message/rfc822), or closed */
};

struct walk {
	struct arena *a;
	struct mail_mime *m;
	uint32_t cap;
	struct open open[MAIL_DEPTH_MAX];
	uint32_t n_open;
	uint32_t leaf; /* the part whose body the cursor is in, or MAIL_PART_NONE: preamble,
			  epilogue */
	size_t pos;
	uint32_t line; /* LFs before pos */
	bool stop;     /* a limit was met: nothing more is divided */
};

static void step_line(struct walk *w)
{
	struct span msg = w->m->msg;
	const uint8_t *lf = memchr(msg.p + w->pos, '\n', msg.len - w->pos);

	w->pos = lf ? (size_t)(lf - msg.p) + 1 : msg.len;
	w->line += lf != NULL;
}

/* Is what follows "--boundary" on the line the end of a delimiter (RFC 2046 5.1.1: "--", white
 * space, line end)? */
static bool delimiter_tail(struct span msg, size_t i, bool *closing)
{
	*closing = msg.len - i >= 2 && msg.p[i] == '-' && msg.p[i + 1] == '-';
	if (*closing)
		i += 2;
	while (i < msg.len && (msg.p[i] == ' ' || msg.p[i] == '\t' || msg.p[i] == '\r'))
		i++;
	return i == msg.len || msg.p[i] == '\n';
}

/* The level of the container that the line at pos delimits, innermost first; -1: none. */
static int find_delimiter(const struct walk *w, size_t pos, bool *closing)
{
	struct span msg = w->m->msg;

	if (msg.len - pos < 3 || msg.p[pos] != '-' || msg.p[pos + 1] != '-')
		return -1;
	pos += 2;
	for (uint32_t i = w->n_open; i-- > 0;) {
		struct span b = w->open[i].boundary;

		if (b.len && msg.len - pos >= b.len && memcmp(msg.p + pos, b.p, b.len) == 0 &&
		    delimiter_tail(msg, pos + b.len, closing))
			return (int)i;
	}
	return -1;
}

/* ---- parts ---- */

static uint32_t new_part(struct walk *w, uint32_t parent)
{
	struct mail_mime *m = w->m;
	struct mail_part *p;

	if (m->n == w->cap) {
		uint32_t cap = w->cap ? 2 * w->cap : 4;

		p = arena_alloc(w->a, cap * sizeof(*p));
		if (!p)
			return MAIL_PART_NONE;
		if (m->n)
			memcpy(p, m->part, m->n * sizeof(*p));
		m->part = p;
		w->cap = cap;
	}
	p = &m->part[m->n];
	*p = (struct mail_part){
		.parent = parent,
		.first_child = MAIL_PART_NONE,
		.last_child = MAIL_PART_NONE,
		.next = MAIL_PART_NONE,
		.header_off = w->pos,
	};
	if (parent != MAIL_PART_NONE) {
		struct mail_part *up = &m->part[parent];

		p->depth = (uint16_t)(up->depth + 1);
		if (up->first_child == MAIL_PART_NONE)
			up->first_child = m->n;
		else
			m->part[up->last_child].next = m->n;
		up->last_child = m->n;
	}
	return m->n++;
}

static void set_text(struct walk *w, struct span *dst, struct span raw)
{
	if (!dst->p)
		*dst = mail_header_unfold(w->a, raw);
}

static void set_content_type(struct walk *w, struct mail_part *p, struct span raw)
{
	struct span head;
	ptrdiff_t slash;

	if (p->type.p || !mail_params_parse(w->a, raw, &head, &p->params))
		return;
	slash = span_find(head, '/');
	if (slash <= 0 || (size_t)slash + 1 == head.len) {
		p->params = (struct mail_params){0};
		return;
	}
	p->type = span_head(head, (size_t)slash);
	p->subtype = span_from(head, (size_t)slash + 1);
	p->has_type = true;
}

static void set_encoding(struct walk *w, struct mail_part *p, struct span raw)
{
	struct mail_params none;

	if (!p->encoding.p)
		mail_params_parse(w->a, raw, &p->encoding, &none);
}

static void set_disposition(struct walk *w, struct mail_part *p, struct span raw)
{
	if (!p->disposition.p)
		mail_params_parse(w->a, raw, &p->disposition, &p->disposition_params);
}

static void set_field(struct walk *w, struct mail_part *p, const struct mail_field *f)
{
	if (f->name.len < 9 || !span_istarts(f->name, SPAN("Content-")))
		return;
	if (span_ieq(f->name, SPAN("Content-Type")))
		set_content_type(w, p, f->value);
	else if (span_ieq(f->name, SPAN("Content-Transfer-Encoding")))
		set_encoding(w, p, f->value);
	else if (span_ieq(f->name, SPAN("Content-Disposition")))
		set_disposition(w, p, f->value);
	else if (span_ieq(f->name, SPAN("Content-ID")))
		set_text(w, &p->id, f->value);
	else if (span_ieq(f->name, SPAN("Content-Description")))
		set_text(w, &p->description, f->value);
	else if (span_ieq(f->name, SPAN("Content-MD5")))
		set_text(w, &p->md5, f->value);
	else if (span_ieq(f->name, SPAN("Content-Language")))
		set_text(w, &p->language, f->value);
	else if (span_ieq(f->name, SPAN("Content-Location")))
		set_text(w, &p->location, f->value);
}

/* Reads the header at the cursor; the cursor then stands at the body. A delimiter ends a header,
 * too. */
static void read_header(struct walk *w, struct mail_part *p)
{
	struct mail_header_iter it;
	struct mail_field f;
	size_t body;
	bool closing;

	mail_header_begin(&it, span_from(w->m->msg, w->pos));
	for (;;) {
		if (!mail_header_next(&it, &f)) {
			body = w->pos + it.body_off;
			break;
		}
		if (find_delimiter(w, w->pos + f.off, &closing) >= 0) {
			body = w->pos + f.off;
			break;
		}
		set_field(w, p, &f);
	}
	p->header_len = body - w->pos;
	p->header_lines = w->line;
	while (w->pos < body)
		step_line(w);
	p->header_lines = w->line - p->header_lines;
	p->body_off = body;
	p->lines = w->line; /* until close_part: the lines before the body */
}

static void set_default_type(struct walk *w, struct mail_part *p)
{
	const struct mail_part *up = p->parent == MAIL_PART_NONE ? NULL : &w->m->part[p->parent];

	if (up && up->kind == MAIL_PART_MULTI && span_ieq(up->subtype, SPAN("digest"))) {
		p->type = SPAN("MESSAGE");
		p->subtype = SPAN("RFC822");
	} else {
		p->type = SPAN("TEXT");
		p->subtype = SPAN("PLAIN");
	}
}

/* What the part is; for a multipart its boundary. */
static enum mail_part_kind kind_of(const struct mail_part *p, struct span *boundary)
{
	*boundary = span_of(NULL, 0);
	if (span_ieq(p->type, SPAN("multipart"))) {
		struct span b = mail_params_get(&p->params, SPAN("boundary"));

		while (b.len && mail_is_lws(b.p[b.len - 1]))
			b.len--;
		*boundary = b;
		return b.len && b.len <= MAIL_BOUNDARY_MAX ? MAIL_PART_MULTI : MAIL_PART_LEAF;
	}
	/* RFC 2046 5.2.1: no encoding but 7bit, 8bit, binary; what breaks that cannot be walked. */
	if (span_ieq(p->type, SPAN("message")) && span_ieq(p->subtype, SPAN("rfc822")) &&
	    mail_encoding_of(p->encoding) <= MAIL_ENC_BINARY)
		return MAIL_PART_MESSAGE;
	return MAIL_PART_LEAF;
}

/* A part begins at the cursor; one that holds a message is followed at once by that message's own.
 */
static void begin_part(struct walk *w, uint32_t parent)
{
	for (;;) {
		struct span boundary;
		uint32_t i = new_part(w, parent);
		struct mail_part *p;
		enum mail_part_kind kind;

		if (i == MAIL_PART_NONE) {
			w->stop = true;
			return;
		}
		p = &w->m->part[i];
		read_header(w, p);
		if (!p->has_type)
			set_default_type(w, p);
		kind = kind_of(p, &boundary);
		if (kind != MAIL_PART_LEAF &&
		    (p->depth >= MAIL_DEPTH_MAX || w->m->n >= MAIL_PART_MAX)) {
			w->m->limited = true;
			kind = MAIL_PART_LEAF;
		}
		p->kind = (uint8_t)kind;
		if (kind == MAIL_PART_LEAF) {
			w->leaf = i;
			w->stop = w->m->n >= MAIL_PART_MAX;
			return;
		}
		w->open[w->n_open++] = (struct open){i, boundary};
		if (kind == MAIL_PART_MULTI) {
			w->leaf = MAIL_PART_NONE;
			return;
		}
		parent = i;
	}
}

/*
 * The body ends at the line that begins at the cursor. A delimiter takes the line end before it
 * with it (RFC 2046 5.1.1), unless that is the end of a header: of the part's own, or of the last
 * part in it.
 */
static void close_part(struct walk *w, uint32_t i, bool delimited)
{
	struct mail_part *p = &w->m->part[i];
	size_t end = w->pos, least = p->body_off;

	p->lines = w->line - p->lines;
	if (p->last_child != MAIL_PART_NONE)
		least = w->m->part[p->last_child].body_off + w->m->part[p->last_child].body_len;
	if (delimited && end > least) {
		end--;
		if (end > least && w->m->msg.p[end - 1] == '\r')
			end--;
		p->lines--;
	}
	p->body_len = end - p->body_off;
}

/* Closes the leaf and the containers from that level on. */
static void close_from(struct walk *w, uint32_t level, bool delimited)
{
	if (w->leaf != MAIL_PART_NONE)
		close_part(w, w->leaf, delimited);
	w->leaf = MAIL_PART_NONE;
	while (w->n_open > level)
		close_part(w, w->open[--w->n_open].part, delimited);
}

enum err mail_mime_parse(struct arena *a, struct span msg, struct mail_mime *out)
{
	struct walk w = {.a = a, .m = out, .leaf = MAIL_PART_NONE};

	*out = (struct mail_mime){.msg = msg};
	begin_part(&w, MAIL_PART_NONE);
	if (out->n == 0)
		return ERR_NO_MEMORY;
	while (w.pos < msg.len && !w.stop) {
		bool closing;
		int level = find_delimiter(&w, w.pos, &closing);

		if (level < 0) {
			step_line(&w);
			continue;
		}
		close_from(&w, (uint32_t)level + 1, true);
		step_line(&w);
		if (closing)
			w.open[level].boundary.len = 0;
		else
			begin_part(&w, w.open[level].part);
	}
	out->limited |= w.pos < msg.len;
	while (w.pos < msg.len)
		step_line(&w);
	close_from(&w, 0, false);
	return ERR_OK;
}
