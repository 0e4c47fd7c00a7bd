/*
 * fuzz_mail_mime.c: a message: its tree, ENVELOPE, BODYSTRUCTURE, every section, addresses, dates.
 * The tree must nest; the IMAP texts must read back by the grammar of parenthesised lists, which is
 * checked here by a reader of its own.
 */
#include "check.h"
#include "mail_envelope.h"
#include "mail_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tree(const struct mail_mime *m)
{
	CHECK(m->n >= 1 && m->n <= MAIL_PART_MAX);
	for (uint32_t i = 0; i < m->n; i++) {
		const struct mail_part *p = &m->part[i];

		CHECK(p->header_off + p->header_len == p->body_off);
		CHECK(p->body_off <= m->msg.len && p->body_len <= m->msg.len - p->body_off);
		CHECK(p->depth <= MAIL_DEPTH_MAX && p->type.len && p->subtype.len);
		CHECK(p->lines <= p->body_len && p->header_lines <= p->header_len);
		if (i == 0)
			continue;
		const struct mail_part *up = &m->part[p->parent];
		CHECK(p->parent < i && p->depth == up->depth + 1 && up->kind != MAIL_PART_LEAF);
		CHECK(p->header_off >= up->body_off);
		CHECK(p->body_off + p->body_len <= up->body_off + up->body_len);
		if (p->next != MAIL_PART_NONE) {
			CHECK(p->next > i && m->part[p->next].parent == p->parent);
			CHECK(m->part[p->next].header_off >= p->body_off + p->body_len);
		}
	}
}

static uint8_t byte_at(struct span s, size_t i)
{
	CHECK(i < s.len);
	return s.p[i];
}

/* Reads one line of IMAP data: quoted strings, literals, atoms, balanced parentheses, no bare
 * control byte. */
static void check_imap(struct span s)
{
	size_t depth = 0;

	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.p[i];

		if (c == '(') {
			depth++;
		} else if (c == ')') {
			CHECK(depth > 0);
			depth--;
		} else if (c == '"') {
			for (i++; byte_at(s, i) != '"'; i++)
				CHECK(s.p[i] != '\r' && s.p[i] != '\n' && s.p[i] && s.p[i] < 0x80 &&
				      s.p[i] != '\\');
		} else if (c == '{') {
			size_t n = 0;

			for (i++; byte_at(s, i) != '}'; i++)
				n = n * 10 + (s.p[i] - '0');
			CHECK(s.len - i > 2 && s.p[i + 1] == '\r' && s.p[i + 2] == '\n' &&
			      n <= s.len - i - 3);
			for (size_t k = 0; k < n; k++)
				CHECK(s.p[i + 3 + k] != 0);
			i += 2 + n;
		} else {
			CHECK(c == ' ' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'));
		}
	}
	CHECK(depth == 0);
}

static void check_sections(const struct mail_mime *m, struct arena *a, struct buf *b)
{
	static const char *const kinds[] = {"",
					    "HEADER",
					    "TEXT",
					    "1",
					    "1.MIME",
					    "2.1",
					    "1.1.HEADER",
					    "1.1.TEXT",
					    "HEADER.FIELDS (From \"Content-Type\")",
					    "2.HEADER.FIELDS.NOT (Date)"};

	struct span header = {0};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct mail_section s;
		struct span out;

		CHECK(mail_section_parse(a, span_str(kinds[i]), &s) == ERR_OK);
		b->len = 0;
		mail_section_write(b, &s);
		if (mail_part_find(m, &s, a, &out) == ERR_OK && out.len &&
		    s.kind < MAIL_SECTION_FIELDS)
			CHECK(out.p >= m->msg.p && out.p + out.len <= m->msg.p + m->msg.len);
		if (i == 1)
			header = out;
		if (i == 2)
			CHECK(header.len + out.len == m->msg.len);
	}
}

static void check_values(struct span in, struct arena *a)
{
	struct mail_address *list;
	struct mail_section s;
	struct mail_date d, back;
	char text[MAIL_DATE_MAX];
	int64_t day;
	size_t n;

	mail_address_list(a, in, 100, &list, &n);
	CHECK(n <= 100);
	for (size_t i = 0; i < n; i++) {
		struct span field[4] = {list[i].name, list[i].adl, list[i].mailbox, list[i].host};

		for (size_t k = 0; k < 4; k++)
			CHECK(span_find(field[k], '\r') < 0 && span_find(field[k], '\n') < 0 &&
			      span_find(field[k], 0) < 0);
	}
	if (mail_date_parse(in, &d) == ERR_OK) {
		mail_date_rfc5322(d, text);
		CHECK(mail_date_parse(span_str(text), &back) == ERR_OK);
		mail_date_internal(d, text);
		mail_date_internal_parse(span_str(text), &back);
		mail_date_iso8601(d, text);
	}
	mail_date_internal_parse(in, &d);
	mail_date_day_parse(in, &day);
	mail_section_parse(a, in, &s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span msg = span_of(data, size);
	struct mail_mime m;
	struct arena a;
	struct buf b;

	/* Small arenas too: running out must end in a well-formed answer. */
	arena_init(&a, size % 5 == 1 ? 8192 : 16 << 20);
	buf_init(&b);
	if (mail_mime_parse(&a, msg, &m) == ERR_OK) {
		check_tree(&m);
		mail_envelope_write(&b, &a, msg);
		check_imap(buf_span(&b));
		for (int extended = 0; extended < 2; extended++) {
			b.len = 0;
			mail_bodystructure_write(&b, &a, &m, extended);
			check_imap(buf_span(&b));
		}
		if (a.limit > 8192)
			check_sections(&m, &a, &b);
	}
	check_values(span_head(msg, 300), &a);
	mail_header_hops(msg);
	arena_reset(&a);
	buf_fini(&b);
	return 0;
}
