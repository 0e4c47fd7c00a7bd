/*
 * mail_envelope.c: ENVELOPE and BODYSTRUCTURE texts; see mail_envelope.h. Sections are in
 * mail_section.c. The one recursion is over the MIME tree, whose depth mail_mime bounds
 * (MAIL_DEPTH_MAX).
 */
#include "mail_envelope.h"
#include "check.h"
#include "mail_header.h"
#include "mail_int.h"

/* May it stand between double quotes, with nothing escaped? (RFC 3501 9: TEXT-CHAR; we leave out
 * controls but TAB.) */
static bool quotable(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.p[i];

		if ((c < ' ' && c != '\t') || c >= 0x7f || c == '"' || c == '\\')
			return false;
	}
	return true;
}

void mail_nstring_write(struct buf *b, struct span s)
{
	uint8_t *dst;

	if (!s.p) {
		buf_add_str(b, "NIL");
		return;
	}
	if (quotable(s)) {
		buf_add_u8(b, '"');
		buf_add_span(b, s);
		buf_add_u8(b, '"');
		return;
	}
	buf_printf(b, "{%zu}\r\n", s.len);
	dst = buf_reserve(b, s.len);
	for (size_t i = 0; i < s.len; i++)
		dst[i] = s.p[i] ? s.p[i] : 0x80;
	b->len += s.len;
}

void mail_astring_write(struct buf *b, struct span s)
{
	/* ASTRING-CHAR = ATOM-CHAR / "]"; NIL as an atom would read as nothing. */
	bool atom = s.len > 0 && !span_ieq(s, SPAN("NIL"));

	for (size_t i = 0; i < s.len && atom; i++)
		atom = s.p[i] > ' ' && s.p[i] < 0x7f && !memchr("(){%*\"\\", s.p[i], 7);
	if (atom)
		buf_add_span(b, s);
	else
		mail_nstring_write(b, s.p ? s : SPAN(""));
}

/* ---- ENVELOPE ---- */

enum {
	F_DATE,
	F_SUBJECT,
	F_FROM,
	F_SENDER,
	F_REPLY_TO,
	F_TO,
	F_CC,
	F_BCC,
	F_IN_REPLY_TO,
	F_MESSAGE_ID,
	F__N,
};

/* RFC 3501 7.4.2, in the order of the reply. or_from: when missing or empty, what From says. */
static const struct {
	const char *name;
	bool addresses, or_from;
} envelope_field[F__N] = {
	[F_DATE] = {"Date", false, false},
	[F_SUBJECT] = {"Subject", false, false},
	[F_FROM] = {"From", true, false},
	[F_SENDER] = {"Sender", true, true},
	[F_REPLY_TO] = {"Reply-To", true, true},
	[F_TO] = {"To", true, false},
	[F_CC] = {"Cc", true, false},
	[F_BCC] = {"Bcc", true, false},
	[F_IN_REPLY_TO] = {"In-Reply-To", false, false},
	[F_MESSAGE_ID] = {"Message-ID", false, false},
};

struct addresses {
	struct mail_address *v;
	size_t n;
};

static void addresses_write(struct buf *b, const struct addresses *list)
{
	if (list->n == 0) {
		buf_add_str(b, "NIL");
		return;
	}
	buf_add_u8(b, '(');
	for (size_t i = 0; i < list->n; i++) {
		const struct mail_address *a = &list->v[i];
		const struct span field[4] = {a->name, a->adl, a->mailbox, a->host};

		buf_add_u8(b, '(');
		for (size_t k = 0; k < 4; k++) {
			if (k)
				buf_add_u8(b, ' ');
			mail_nstring_write(b, field[k]);
		}
		buf_add_u8(b, ')');
	}
	buf_add_u8(b, ')');
}

void mail_envelope_write(struct buf *b, struct arena *scratch, struct span msg)
{
	struct span raw[F__N] = {0};
	struct addresses from = {0}, list;
	struct mail_header_iter it;
	struct mail_field f;

	mail_header_begin(&it, msg);
	while (mail_header_next(&it, &f)) {
		for (size_t i = 0; i < F__N; i++) {
			if (!raw[i].p && span_ieq(f.name, span_str(envelope_field[i].name)))
				raw[i] = f.value;
		}
	}
	for (size_t i = 0; i < F__N; i++) {
		buf_add_u8(b, i ? ' ' : '(');
		if (!envelope_field[i].addresses) {
			mail_nstring_write(b,
					   raw[i].p ? mail_header_unfold(scratch, raw[i]) : raw[i]);
			continue;
		}
		list = (struct addresses){0};
		if (raw[i].p)
			mail_address_list(scratch, raw[i], MAIL_ADDRESS_LIST_MAX, &list.v, &list.n);
		if (i == F_FROM)
			from = list;
		if (list.n == 0 && envelope_field[i].or_from)
			list = from;
		addresses_write(b, &list);
	}
	buf_add_u8(b, ')');
}

/* ---- BODYSTRUCTURE ---- */

struct writer {
	struct buf *b;
	struct arena *scratch;
	const struct mail_mime *m;
	bool extended;
};

static void params_write(struct buf *b, const struct mail_params *p)
{
	if (p->n == 0) {
		buf_add_str(b, "NIL");
		return;
	}
	for (uint32_t i = 0; i < p->n; i++) {
		buf_add_u8(b, i ? ' ' : '(');
		mail_nstring_write(b, p->v[i].name);
		buf_add_u8(b, ' ');
		mail_nstring_write(b, p->v[i].value);
	}
	buf_add_u8(b, ')');
}

/* body-fld-lang = nstring / "(" string *(SP string) ")"; the field is a list of tags (RFC 3282). */
static void language_write(struct buf *b, struct span s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len;) {
		size_t from;

		while (i < s.len && (mail_is_lws(s.p[i]) || s.p[i] == ','))
			i++;
		from = i;
		while (i < s.len && !mail_is_lws(s.p[i]) && s.p[i] != ',')
			i++;
		if (i > from) {
			buf_add_u8(b, n++ ? ' ' : '(');
			mail_nstring_write(b, span_of(s.p + from, i - from));
		}
	}
	buf_add_str(b, n ? ")" : "NIL");
}

/* Disposition, language and location: the common end of both extended forms. */
static void extension_write(struct writer *w, const struct mail_part *p)
{
	struct buf *b = w->b;

	buf_add_u8(b, ' ');
	if (p->disposition.p) {
		buf_add_u8(b, '(');
		mail_nstring_write(b, p->disposition);
		buf_add_u8(b, ' ');
		params_write(b, &p->disposition_params);
		buf_add_u8(b, ')');
	} else {
		buf_add_str(b, "NIL");
	}
	buf_add_u8(b, ' ');
	language_write(b, p->language);
	buf_add_u8(b, ' ');
	mail_nstring_write(b, p->location);
}

static void part_write(struct writer *w, uint32_t i);

/* body-type-mpart = 1*body SP media-subtype [SP body-ext-mpart] */
static void multi_write(struct writer *w, const struct mail_part *p)
{
	struct buf *b = w->b;

	/* The grammar wants one body at least; a multipart that has none shows an empty text. */
	if (p->first_child == MAIL_PART_NONE)
		buf_add_str(b, w->extended
				       ? "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL "
					 "\"7BIT\" 0 0 NIL NIL NIL NIL)"
				       : "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL "
					 "\"7BIT\" 0 0)");
	for (uint32_t k = p->first_child; k != MAIL_PART_NONE; k = w->m->part[k].next)
		part_write(w, k);
	buf_add_u8(b, ' ');
	mail_nstring_write(b, p->subtype);
	if (w->extended) {
		buf_add_u8(b, ' ');
		params_write(b, &p->params);
		extension_write(w, p);
	}
}

/* body-type-1part */
static void single_write(struct writer *w, const struct mail_part *p)
{
	bool message = p->kind == MAIL_PART_MESSAGE && p->first_child != MAIL_PART_NONE;
	bool rfc822 = span_ieq(p->type, SPAN("message")) && span_ieq(p->subtype, SPAN("rfc822"));
	struct buf *b = w->b;

	/* message/rfc822 promises an envelope to the reader; where it was not taken apart it goes
	 * by another name. */
	mail_nstring_write(b, rfc822 && !message ? SPAN("APPLICATION") : p->type);
	buf_add_u8(b, ' ');
	mail_nstring_write(b, rfc822 && !message ? SPAN("OCTET-STREAM") : p->subtype);
	buf_add_u8(b, ' ');
	if (p->has_type || rfc822)
		params_write(b, &p->params);
	else
		buf_add_str(b, "(\"CHARSET\" \"US-ASCII\")");
	buf_add_u8(b, ' ');
	mail_nstring_write(b, p->id);
	buf_add_u8(b, ' ');
	mail_nstring_write(b, p->description);
	buf_add_u8(b, ' ');
	mail_nstring_write(b, p->encoding.p ? p->encoding : SPAN("7BIT"));
	buf_printf(b, " %zu", p->body_len);
	if (message) {
		const struct mail_part *inner = &w->m->part[p->first_child];

		buf_add_u8(b, ' ');
		mail_envelope_write(b, w->scratch,
				    span_of(w->m->msg.p + inner->header_off, inner->header_len));
		buf_add_u8(b, ' ');
		part_write(w, p->first_child);
	}
	if (message || span_ieq(p->type, SPAN("text")))
		buf_printf(b, " %u", p->lines);
	if (w->extended) {
		buf_add_u8(b, ' ');
		mail_nstring_write(b, p->md5);
		extension_write(w, p);
	}
}

static void part_write(struct writer *w, uint32_t i)
{
	const struct mail_part *p = &w->m->part[i];

	buf_add_u8(w->b, '(');
	if (p->kind == MAIL_PART_MULTI)
		multi_write(w, p);
	else
		single_write(w, p);
	buf_add_u8(w->b, ')');
}

void mail_bodystructure_write(struct buf *b, struct arena *scratch, const struct mail_mime *m,
			      bool extended)
{
	struct writer w = {b, scratch, m, extended};

	CHECK(m->n > 0);
	part_write(&w, 0);
}
