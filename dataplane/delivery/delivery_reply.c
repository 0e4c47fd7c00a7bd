/* delivery_reply.c: replies of an SMTP server; see delivery_reply.h. */
#include "delivery_reply.h"

#include "check.h"

void reply_init(struct reply *r)
{
	r->code = r->n_line = r->len = 0;
}

static void text_add(struct reply *r, struct span s)
{
	if (r->len > 0 && r->len < REPLY_TEXT_MAX)
		r->text[r->len++] = ' ';
	for (size_t i = 0; i < s.len && r->len < REPLY_TEXT_MAX; i++) {
		uint8_t c = s.p[i];
		r->text[r->len++] = (char)(c < ' ' || c == 0x7f ? ' ' : c >= 0x80 ? '?' : c);
	}
}

static bool digit(uint8_t c, uint8_t lo, uint8_t hi)
{
	return c >= lo && c <= hi;
}

enum err reply_line(struct reply *r, struct span line, struct span *rest)
{
	*rest = (struct span){0};
	/* Reply-code = %x32-35 %x30-35 %x30-39 (4.2) */
	if (line.len < 3 || !digit(line.p[0], '2', '5') || !digit(line.p[1], '0', '5') ||
	    !digit(line.p[2], '0', '9'))
		return ERR_SYNTAX;
	if (line.len > 3 && line.p[3] != ' ' && line.p[3] != '-')
		return ERR_SYNTAX;
	uint16_t code = (uint16_t)((line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0'));
	if (r->n_line > 0 && code != r->code)
		return ERR_SYNTAX;
	if (r->n_line == REPLY_LINES_MAX)
		return ERR_TOO_MANY;
	*rest = span_from(line, 4);
	text_add(r, r->n_line == 0 ? span_trim(line) : span_trim(*rest));
	if (r->n_line == 0 && line.len > 3 && line.p[3] == '-' && r->len > 3)
		r->text[3] = ' ';
	r->code = code;
	r->n_line++;
	return line.len > 3 && line.p[3] == '-' ? ERR_MORE : ERR_OK;
}

struct span reply_status(struct span text)
{
	struct span s = span_from(text, 4);
	size_t i = 0, parts = 0;
	if (s.len < 5 || !digit(s.p[0], '2', '5'))
		return span_of(NULL, 0);
	while (i < s.len && parts < 3) {
		size_t from = i;
		while (i < s.len && i - from < 4 && digit(s.p[i], '0', '9'))
			i++;
		if (i == from || i - from > 3)
			return span_of(NULL, 0);
		parts++;
		if (parts < 3 && (i == s.len || s.p[i++] != '.'))
			return span_of(NULL, 0);
	}
	if (parts < 3 || (i < s.len && s.p[i] != ' ') || s.p[1] != '.')
		return span_of(NULL, 0);
	return span_head(s, i);
}

void reply_cap(struct reply_caps *c, struct span line)
{
	static const struct {
		struct span name;
		uint32_t cap;
	} row[] = {
		{SPAN("PIPELINING"), CAP_PIPELINING},
		{SPAN("SIZE"), CAP_SIZE},
		{SPAN("8BITMIME"), CAP_8BITMIME},
		{SPAN("ENHANCEDSTATUSCODES"), CAP_ENHANCED},
		{SPAN("CHUNKING"), CAP_CHUNKING},
		{SPAN("BINARYMIME"), CAP_BINARYMIME},
		{SPAN("DSN"), CAP_DSN},
	};
	ptrdiff_t sp = span_find(line, ' ');
	struct span name = sp < 0 ? line : span_head(line, (size_t)sp);
	struct span arg = sp < 0 ? span_of(NULL, 0) : span_trim(span_from(line, (size_t)sp));
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		if (!span_ieq(name, row[i].name))
			continue;
		c->caps |= row[i].cap;
		if (row[i].cap == CAP_SIZE && !span_u64(arg, UINT64_MAX, &c->size_max))
			c->size_max = 0;
	}
}
