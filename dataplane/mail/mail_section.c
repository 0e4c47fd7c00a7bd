/*
 * mail_section.c: section specifications of IMAP FETCH (RFC 3501 6.4.5) and the bytes they name;
 * see mail_envelope.h.
 */
#include "mail_envelope.h"
#include "check.h"
#include "mail_header.h"
#include "mail_int.h"

#define NAME(lit)                                                                                  \
	{                                                                                          \
		(const uint8_t *)("" lit), sizeof(lit) - 1                                         \
	}

/* section-msgtext and section-text, by enum mail_section_kind. */
static const struct {
	struct span name;
	bool fields;	 /* a list of names follows */
	bool needs_path; /* only behind part numbers */
} section_kind[] = {
	[MAIL_SECTION_ALL] = {NAME(""), false, false},
	[MAIL_SECTION_HEADER] = {NAME("HEADER"), false, false},
	[MAIL_SECTION_FIELDS] = {NAME("HEADER.FIELDS"), true, false},
	[MAIL_SECTION_FIELDS_NOT] = {NAME("HEADER.FIELDS.NOT"), true, false},
	[MAIL_SECTION_TEXT] = {NAME("TEXT"), false, false},
	[MAIL_SECTION_MIME] = {NAME("MIME"), false, true},
};

/* Part numbers, "1.2" with the '.' behind each that something follows. Moves *s on. */
static enum err parse_path(struct span *s, struct mail_section *out)
{
	while (s->len && s->p[0] >= '0' && s->p[0] <= '9') {
		uint64_t v;
		size_t n = 0;

		while (n < s->len && s->p[n] >= '0' && s->p[n] <= '9')
			n++;
		/* nz-number */
		if (s->p[0] == '0' || !span_u64(span_head(*s, n), UINT32_MAX, &v))
			return ERR_SYNTAX;
		if (out->n_path == MAIL_DEPTH_MAX)
			return ERR_TOO_MANY;
		out->path[out->n_path++] = (uint32_t)v;
		*s = span_from(*s, n);
		if (s->len == 0)
			return ERR_OK;
		if (s->p[0] != '.' || s->len == 1)
			return ERR_SYNTAX;
		*s = span_from(*s, 1);
	}
	return ERR_OK;
}

static bool is_astring_char(uint8_t c)
{
	return c > ' ' && c < 0x7f && !memchr("(){%*\"\\", c, 7);
}

/* One name: an atom, or a quoted string with its backslashes taken off. */
static enum err parse_name(struct arena *a, struct span *s, struct span *out)
{
	size_t i = 0, n = 0;
	uint8_t *dst;

	if (s->len == 0 || s->p[0] != '"') {
		while (i < s->len && is_astring_char(s->p[i]))
			i++;
		*out = span_head(*s, i);
		*s = span_from(*s, i);
		return i ? ERR_OK : ERR_SYNTAX;
	}
	dst = arena_alloc(a, s->len);
	if (!dst)
		return ERR_NO_MEMORY;
	for (i = 1; i < s->len && s->p[i] != '"'; i++) {
		if (s->p[i] == '\\' && ++i == s->len)
			return ERR_SYNTAX;
		if (s->p[i] == 0 || s->p[i] == '\r' || s->p[i] == '\n')
			return ERR_SYNTAX;
		dst[n++] = s->p[i];
	}
	if (i == s->len)
		return ERR_SYNTAX;
	*out = span_of(dst, n);
	*s = span_from(*s, i + 1);
	return ERR_OK;
}

/* header-list = "(" header-fld-name *(SP header-fld-name) ")", with the space before it */
static enum err parse_fields(struct arena *a, struct span s, struct mail_section *out)
{
	enum err err;

	if (s.len < 2 || s.p[0] != ' ' || s.p[1] != '(')
		return ERR_SYNTAX;
	out->field = arena_alloc(a, MAIL_SECTION_FIELD_MAX * sizeof(*out->field));
	if (!out->field)
		return ERR_NO_MEMORY;
	s = span_from(s, 2);
	for (;;) {
		if (out->n_field == MAIL_SECTION_FIELD_MAX)
			return ERR_TOO_MANY;
		err = parse_name(a, &s, &out->field[out->n_field++]);
		if (err)
			return err;
		if (s.len == 1 && s.p[0] == ')')
			return ERR_OK;
		if (s.len == 0 || s.p[0] != ' ')
			return ERR_SYNTAX;
		s = span_from(s, 1);
	}
}

enum err mail_section_parse(struct arena *a, struct span text, struct mail_section *out)
{
	struct span word;
	ptrdiff_t space;
	enum err err;

	out->kind = MAIL_SECTION_ALL;
	out->n_path = out->n_field = 0;
	out->field = NULL;
	err = parse_path(&text, out);
	if (err || text.len == 0)
		return err;
	space = span_find(text, ' ');
	word = space < 0 ? text : span_head(text, (size_t)space);
	for (uint32_t k = MAIL_SECTION_HEADER; k < ARRAY_LEN(section_kind); k++) {
		if (!span_ieq(word, section_kind[k].name))
			continue;
		if (section_kind[k].needs_path && out->n_path == 0)
			return ERR_SYNTAX;
		out->kind = k;
		if (section_kind[k].fields)
			return parse_fields(a, span_from(text, word.len), out);
		return word.len == text.len ? ERR_OK : ERR_SYNTAX;
	}
	return ERR_SYNTAX;
}

void mail_section_write(struct buf *b, const struct mail_section *s)
{
	CHECK(s->kind < ARRAY_LEN(section_kind));
	for (uint32_t i = 0; i < s->n_path; i++)
		buf_printf(b, i ? ".%u" : "%u", s->path[i]);
	if (s->n_path && s->kind != MAIL_SECTION_ALL)
		buf_add_u8(b, '.');
	buf_add_span(b, section_kind[s->kind].name);
	if (!section_kind[s->kind].fields)
		return;
	buf_add_str(b, " (");
	for (uint32_t i = 0; i < s->n_field; i++) {
		if (i)
			buf_add_u8(b, ' ');
		mail_astring_write(b, s->field[i]);
	}
	buf_add_u8(b, ')');
}

bool mail_section_is_header(const struct mail_section *s)
{
	return s->n_path == 0 &&
	       (s->kind == MAIL_SECTION_HEADER || s->kind == MAIL_SECTION_FIELDS ||
		s->kind == MAIL_SECTION_FIELDS_NOT);
}

/* ---- finding ---- */

static uint32_t nth_child(const struct mail_mime *m, uint32_t i, uint32_t nth)
{
	uint32_t k = m->part[i].first_child;

	while (k != MAIL_PART_NONE && --nth > 0)
		k = m->part[k].next;
	return k;
}

/*
 * Follows the part numbers. A message that is no multipart has one part, number 1: itself; behind
 * the number of a message/rfc822 the numbers are those of the message in it.
 */
static uint32_t find_part(const struct mail_mime *m, const struct mail_section *s)
{
	uint32_t i = 0;
	bool message = true; /* i is the top of a message, not yet named by a number */

	for (uint32_t k = 0; k < s->n_path; k++) {
		if (!message) {
			if (m->part[i].kind == MAIL_PART_MESSAGE) {
				i = m->part[i].first_child;
				message = true;
			} else if (m->part[i].kind != MAIL_PART_MULTI) {
				return MAIL_PART_NONE;
			}
			if (i == MAIL_PART_NONE)
				return i;
		}
		if (m->part[i].kind == MAIL_PART_MULTI)
			i = nth_child(m, i, s->path[k]);
		else if (s->path[k] != 1)
			return MAIL_PART_NONE;
		if (i == MAIL_PART_NONE)
			return i;
		message = false;
	}
	return i;
}

static bool is_listed(const struct mail_section *s, struct span name)
{
	for (uint32_t i = 0; i < s->n_field; i++) {
		if (span_ieq(s->field[i], name))
			return true;
	}
	return false;
}

enum err mail_header_filter(struct span header, const struct mail_section *s, struct arena *a,
			    struct span *out)
{
	struct mail_header_iter it;
	struct mail_field f;
	size_t n = 0, need = 0;
	uint8_t *dst = NULL;

	*out = span_of(NULL, 0);
	/* Once to count, once to copy. */
	for (int copy = 0; copy < 2; copy++) {
		mail_header_begin(&it, header);
		while (mail_header_next(&it, &f)) {
			bool ended = header.p[f.off + f.len - 1] == '\n';

			if (is_listed(s, f.name) != (s->kind == MAIL_SECTION_FIELDS))
				continue;
			if (!copy) {
				need += f.len + (ended ? 0 : 2);
				continue;
			}
			memcpy(dst + n, header.p + f.off, f.len);
			n += f.len;
			if (!ended) {
				memcpy(dst + n, "\r\n", 2);
				n += 2;
			}
		}
		if (!copy) {
			dst = arena_alloc(a, need + 2);
			if (!dst)
				return ERR_NO_MEMORY;
		}
	}
	memcpy(dst + n, "\r\n", 2);
	*out = span_of(dst, n + 2);
	return ERR_OK;
}

enum err mail_part_find(const struct mail_mime *m, const struct mail_section *s, struct arena *a,
			struct span *out)
{
	uint32_t i = find_part(m, s);
	const struct mail_part *p;
	struct span header, body;

	*out = span_of(NULL, 0);
	if (i == MAIL_PART_NONE)
		return ERR_NOT_FOUND;
	p = &m->part[i];
	if (s->kind == MAIL_SECTION_ALL && s->n_path == 0) {
		*out = m->msg;
		return ERR_OK;
	}
	/* Behind a number, HEADER and TEXT are those of the message in the part (6.4.5:
	 * MESSAGE/RFC822 only). */
	if (s->n_path && s->kind != MAIL_SECTION_ALL && s->kind != MAIL_SECTION_MIME) {
		if (p->kind != MAIL_PART_MESSAGE || p->first_child == MAIL_PART_NONE)
			return ERR_NOT_FOUND;
		p = &m->part[p->first_child];
	}
	header = span_of(m->msg.p + p->header_off, p->header_len);
	body = span_of(m->msg.p + p->body_off, p->body_len);
	if (s->kind == MAIL_SECTION_FIELDS || s->kind == MAIL_SECTION_FIELDS_NOT)
		return mail_header_filter(header, s, a, out);
	*out = s->kind == MAIL_SECTION_HEADER || s->kind == MAIL_SECTION_MIME ? header : body;
	return ERR_OK;
}
