/*
 * imap_parse.c: tokens of IMAP commands. Owns nothing; linear in what it reads; see imap_parse.h.
 */
#include "imap_parse.h"
#include "check.h"
#include "store.h"

/* RFC 3501 section 9: atom-specials and the productions built on them, as a bit for each class. */
enum { IN_ATOM = 1, IN_ASTRING = 2, IN_TAG = 4, IN_PATTERN = 8, IN_SET = 16 };

static unsigned char_class(uint8_t c)
{
	if (c <= ' ' || c >= 0x7f || c == '(' || c == ')' || c == '{' || c == '"' || c == '\\')
		return 0;
	if (c == '%' || c == '*')
		return IN_PATTERN | (c == '*' ? IN_SET : 0);
	if (c == ']')
		return IN_ASTRING | IN_TAG | IN_PATTERN;
	if (c == '+')
		return IN_ATOM | IN_ASTRING | IN_PATTERN;
	if ((c >= '0' && c <= '9') || c == ':' || c == ',')
		return IN_ATOM | IN_ASTRING | IN_TAG | IN_PATTERN | IN_SET;
	return IN_ATOM | IN_ASTRING | IN_TAG | IN_PATTERN;
}

struct imap_parser imap_parser_of(struct span text, struct arena *arena)
{
	return (struct imap_parser){.text = text, .arena = arena};
}

bool imap_parse_peek(const struct imap_parser *p, uint8_t c)
{
	return p->off < p->text.len && p->text.p[p->off] == c;
}

bool imap_parse_char(struct imap_parser *p, uint8_t c)
{
	if (!imap_parse_peek(p, c))
		return false;
	p->off++;
	return true;
}

static bool parse_run(struct imap_parser *p, unsigned class, struct span *out)
{
	size_t i = p->off;

	while (i < p->text.len && (char_class(p->text.p[i]) & class))
		i++;
	if (i == p->off)
		return false;
	*out = span_of(p->text.p + p->off, i - p->off);
	p->off = i;
	return true;
}

bool imap_parse_word(struct imap_parser *p, struct span word)
{
	struct imap_parser q = *p;
	struct span s;

	if (!parse_run(&q, IN_ATOM, &s) || !span_ieq(s, word))
		return false;
	*p = q;
	return true;
}

bool imap_parse_tag(struct imap_parser *p, struct span *out)
{
	return parse_run(p, IN_TAG, out);
}

bool imap_parse_atom(struct imap_parser *p, struct span *out)
{
	return parse_run(p, IN_ATOM, out);
}

bool imap_parse_set_text(struct imap_parser *p, struct span *out)
{
	return parse_run(p, IN_SET, out);
}

static bool parse_quoted(struct imap_parser *p, struct span *out)
{
	const uint8_t *t = p->text.p;
	size_t start = p->off + 1, i = start, n_escape = 0;

	for (; i < p->text.len && t[i] != '"'; i++) {
		if (t[i] == '\\') {
			if (++i >= p->text.len || (t[i] != '"' && t[i] != '\\'))
				return false;
			n_escape++;
		}
		if (t[i] == 0 || t[i] == '\r' || t[i] == '\n')
			return false;
	}
	if (i >= p->text.len)
		return false;
	*out = span_of(t + start, i - start);
	if (n_escape) {
		uint8_t *dst = arena_alloc(p->arena, out->len);
		size_t n = 0;

		if (!dst)
			return false;
		for (size_t k = start; k < i; k++) {
			if (t[k] == '\\')
				k++;
			dst[n++] = t[k];
		}
		*out = span_of(dst, n);
	}
	p->off = i + 1;
	return true;
}

/* "{n}CRLF" or "{n+}CRLF" and n bytes: the session has seen to it that they are there. */
static bool parse_literal(struct imap_parser *p, struct span *out)
{
	struct span s = span_from(p->text, p->off + 1);
	ptrdiff_t close = span_find(s, '}');
	uint64_t n;

	if (close < 0)
		return false;
	struct span digits = span_head(s, (size_t)close);
	if (digits.len && digits.p[digits.len - 1] == '+')
		digits.len--;
	s = span_from(s, (size_t)close + 1);
	if (!span_u64(digits, UINT32_MAX, &n) || s.len < 2 || s.p[0] != '\r' || s.p[1] != '\n')
		return false;
	s = span_from(s, 2);
	if (n > s.len)
		return false;
	*out = span_head(s, (size_t)n);
	p->off = (size_t)(s.p - p->text.p) + (size_t)n;
	return true;
}

bool imap_parse_string(struct imap_parser *p, struct span *out)
{
	if (imap_parse_peek(p, '"'))
		return parse_quoted(p, out);
	if (imap_parse_peek(p, '{'))
		return parse_literal(p, out);
	return false;
}

bool imap_parse_astring(struct imap_parser *p, struct span *out)
{
	return parse_run(p, IN_ASTRING, out) || imap_parse_string(p, out);
}

bool imap_parse_nstring(struct imap_parser *p, struct span *out)
{
	if (imap_parse_word(p, SPAN("NIL"))) {
		*out = span_of(NULL, 0);
		return true;
	}
	return imap_parse_string(p, out);
}

bool imap_parse_pattern(struct imap_parser *p, struct span *out)
{
	return parse_run(p, IN_PATTERN, out) || imap_parse_string(p, out);
}

bool imap_parse_u32(struct imap_parser *p, uint32_t *out)
{
	size_t i = p->off;
	uint64_t v;

	while (i < p->text.len && p->text.p[i] >= '0' && p->text.p[i] <= '9')
		i++;
	if (!span_u64(span_of(p->text.p + p->off, i - p->off), UINT32_MAX, &v))
		return false;
	*out = (uint32_t)v;
	p->off = i;
	return true;
}

/* RFC 3501 2.3.2; \Recent is known but is the server's. */
static const struct {
	struct span name;
	uint32_t flag;
} system_flag[] = {
	{{(const uint8_t *)"Answered", 8}, STORE_ANSWERED}, {{(const uint8_t *)"Flagged", 7}, STORE_FLAGGED},
	{{(const uint8_t *)"Deleted", 7}, STORE_DELETED},   {{(const uint8_t *)"Seen", 4}, STORE_SEEN},
	{{(const uint8_t *)"Draft", 5}, STORE_DRAFT},       {{(const uint8_t *)"Recent", 6}, 0},
};

static bool parse_system_flag(struct imap_parser *p, struct imap_flags *out)
{
	struct span name;

	if (!parse_run(p, IN_ATOM, &name))
		return false;
	for (unsigned i = 0; i < ARRAY_LEN(system_flag); i++) {
		if (!span_ieq(name, system_flag[i].name))
			continue;
		out->flags |= system_flag[i].flag;
		out->recent |= system_flag[i].flag == 0;
		return true;
	}
	return false;
}

bool imap_parse_flags(struct imap_parser *p, bool need_parens, struct imap_flags *out)
{
	struct imap_parser q = *p;
	bool parens = imap_parse_char(&q, '(');
	uint8_t *kws = NULL;
	size_t n = 0;

	if (need_parens && !parens)
		return false;
	*out = (struct imap_flags){0};
	if (!(parens && imap_parse_char(&q, ')'))) {
		do {
			struct span kw;

			if (imap_parse_char(&q, '\\')) {
				if (!parse_system_flag(&q, out))
					return false;
				continue;
			}
			if (!parse_run(&q, IN_ATOM, &kw))
				return false;
			/* all keywords together are no longer than the text they stand in */
			if (!kws && !(kws = arena_alloc(p->arena, p->text.len - p->off + 1)))
				return false;
			if (n)
				kws[n++] = ' ';
			memcpy(kws + n, kw.p, kw.len);
			n += kw.len;
		} while (imap_parse_sp(&q));
		if (parens && !imap_parse_char(&q, ')'))
			return false;
	}
	out->kws = span_of(kws, n);
	*p = q;
	return true;
}

enum imap_literal imap_literal_announced(struct span line, uint64_t *len)
{
	size_t i = line.len;
	bool plus = false;

	if (i < 3 || line.p[--i] != '}')
		return IMAP_LITERAL_NONE;
	if (line.p[i - 1] == '+') {
		plus = true;
		i--;
	}
	size_t end = i;
	while (i > 0 && line.p[i - 1] >= '0' && line.p[i - 1] <= '9')
		i--;
	if (i == end || i == 0 || line.p[i - 1] != '{')
		return IMAP_LITERAL_NONE;
	if (i >= 2 && line.p[i - 2] == '~')
		return IMAP_LITERAL_BAD;
	if (!span_u64(span_of(line.p + i, end - i), INT64_MAX, len))
		return IMAP_LITERAL_BAD;
	return plus ? IMAP_LITERAL_PLUS : IMAP_LITERAL_SYNC;
}
