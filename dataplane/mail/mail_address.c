/*
 * mail_address.c: address lists in header fields (RFC 5322 3.4, and the obsolete forms of 4.4); see
 * mail_header.h. A tolerant reader: one cursor that only moves forward, so time is linear in any
 * text; comments nest by a counter, not by calls.
 */
#include "mail_header.h"
#include "mail_int.h"

struct lexer {
	const uint8_t *p, *end;
	struct span comment; /* inside of the last comment seen, as it stands in the text */
	uint8_t *out;	     /* where unquoted texts are written; there is room for all of them */
};

static int peek(const struct lexer *x)
{
	return x->p < x->end ? *x->p : -1;
}

static void put(struct lexer *x, uint8_t c)
{
	if (c != '\r' && c != '\n')
		*x->out++ = c ? c : ' ';
}

/* White space and comments. True if there was any. */
static bool skip_cfws(struct lexer *x)
{
	const uint8_t *from = x->p;

	while (x->p < x->end) {
		const uint8_t *begin = x->p;
		size_t depth = 0;

		if (mail_is_lws(*x->p) || *x->p == 0) {
			x->p++;
			continue;
		}
		if (*x->p != '(')
			break;
		while (x->p < x->end) {
			uint8_t c = *x->p++;

			if (c == '\\' && x->p < x->end)
				x->p++;
			else if (c == '(')
				depth++;
			else if (c == ')' && --depth == 0)
				break;
		}
		x->comment = span_of(begin + 1, (size_t)(x->p - begin) - 1 - (depth == 0));
	}
	return x->p != from;
}

/* Writes a span with backslashes taken off. */
static struct span unescape(struct lexer *x, struct span s)
{
	uint8_t *from = x->out;

	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == '\\' && i + 1 < s.len)
			i++;
		put(x, s.p[i]);
	}
	return span_trim(span_of(from, (size_t)(x->out - from)));
}

static void quoted_string(struct lexer *x)
{
	x->p++;
	while (x->p < x->end && *x->p != '"') {
		if (*x->p == '\\' && x->p + 1 < x->end)
			x->p++;
		put(x, *x->p++);
	}
	if (x->p < x->end)
		x->p++;
}

static bool is_atom(uint8_t c)
{
	return c > ' ' && !memchr("()<>@,;:\"[]", c, 11);
}

/*
 * Words up to a delimiter: a display name, a local part or a group name; which one is known behind
 * it. White space between words becomes one space.
 */
static struct span words(struct lexer *x, bool *quoted)
{
	uint8_t *from = x->out;
	bool space = false;

	*quoted = false;
	for (;;) {
		int c;

		if (skip_cfws(x))
			space = x->out > from;
		c = peek(x);
		if (c == '"') {
			if (space)
				put(x, ' ');
			quoted_string(x);
			*quoted = true;
		} else if (c >= 0 && is_atom((uint8_t)c)) {
			if (space)
				put(x, ' ');
			while (x->p < x->end && is_atom(*x->p))
				put(x, *x->p++);
		} else if (c == ')' || c == '[' || c == ']' || (c >= 0 && c <= ' ')) {
			x->p++;
		} else {
			break;
		}
		space = false;
	}
	return span_of(from, (size_t)(x->out - from));
}

/* "a . b" is the local part a.b (obs-local-part). */
static struct span local_part(struct span s, bool quoted, struct lexer *x)
{
	uint8_t *from = x->out;

	if (quoted || span_find(s, ' ') < 0)
		return s;
	for (size_t i = 0; i < s.len; i++) {
		bool at_dot = (i && s.p[i - 1] == '.') || (i + 1 < s.len && s.p[i + 1] == '.');

		if (s.p[i] != ' ' || !at_dot)
			put(x, s.p[i]);
	}
	return span_of(from, (size_t)(x->out - from));
}

/* Words of it stand together but for white space around dots (obs-domain). */
static struct span domain(struct lexer *x)
{
	uint8_t *from = x->out;

	for (;;) {
		bool space = skip_cfws(x) && x->out > from;
		int c = peek(x);

		if (space && c != '.' && x->out[-1] != '.')
			break;
		if (c == '[') {
			while (x->p < x->end && *x->p != ']') {
				if (!mail_is_lws(*x->p))
					put(x, *x->p);
				x->p++;
			}
			if (x->p < x->end)
				put(x, *x->p++);
		} else if (c >= 0 && is_atom((uint8_t)c)) {
			while (x->p < x->end && is_atom(*x->p))
				put(x, *x->p++);
		} else {
			break;
		}
	}
	return span_of(from, (size_t)(x->out - from));
}

/* obs-route = *(CFWS / ",") "@" domain *("," [CFWS] ["@" domain]) ":" */
static struct span route(struct lexer *x)
{
	uint8_t *from = x->out;

	for (;;) {
		skip_cfws(x);
		if (peek(x) == '@' || peek(x) == ',') {
			put(x, *x->p++);
			domain(x);
			continue;
		}
		if (peek(x) == ':')
			x->p++;
		return span_of(from, (size_t)(x->out - from));
	}
}

/* angle-addr, at '<'. */
static void angle_addr(struct lexer *x, struct mail_address *out)
{
	bool quoted;

	x->p++;
	skip_cfws(x);
	if (peek(x) == '@')
		out->adl = route(x);
	out->mailbox = words(x, &quoted);
	out->mailbox = local_part(out->mailbox, quoted, x);
	out->host = span_of(x->out, 0);
	if (peek(x) == '@') {
		x->p++;
		out->host = domain(x);
	}
	while (x->p < x->end && *x->p != '>' && *x->p != ',' && *x->p != ';')
		x->p++;
	if (peek(x) == '>')
		x->p++;
}

/* Most entries the text can give: each has a delimiter of its own before or behind it. */
static size_t entries_max(struct span raw)
{
	size_t n = 3;

	for (size_t i = 0; i < raw.len; i++)
		n += memchr(",;:<>@", raw.p[i], 6) != NULL;
	return n;
}

/* One address, or the beginning of a group, at the cursor. False: nothing there. */
static bool address(struct lexer *x, struct mail_address *out, bool *group)
{
	struct span text;
	bool quoted;

	*out = (struct mail_address){0};
	x->comment = span_of(NULL, 0);
	text = words(x, &quoted);
	switch (peek(x)) {
	case '<':
		if (text.len)
			out->name = text;
		angle_addr(x, out);
		skip_cfws(x);
		break;
	case '@':
		x->p++;
		out->mailbox = local_part(text, quoted, x);
		out->host = domain(x);
		break;
	case ':':
		x->p++;
		if (*group)
			return false;
		*group = true;
		out->mailbox = text;
		return true;
	default:
		if (text.len == 0 && !quoted)
			return false;
		out->mailbox = text;
		out->host = span_of(x->out, 0);
	}
	if (!out->name.p && x->comment.len)
		out->name = unescape(x, x->comment);
	return true;
}

enum err mail_address_list(struct arena *a, struct span raw, size_t max, struct mail_address **out,
			   size_t *n)
{
	struct lexer x = {raw.p, raw.p + raw.len, {0}, NULL};
	size_t room = entries_max(raw);
	bool group = false;

	*n = 0;
	room = room < max ? room : max;
	*out = arena_alloc(a, (room + 1) * sizeof(**out));
	/* Every byte is written at most as a word, again as a local part, and once as a comment. */
	x.out = arena_alloc(a, 3 * raw.len + 16);
	if (!*out || !x.out)
		return ERR_NO_MEMORY;
	for (;;) {
		struct mail_address entry = {0};
		bool found = false;

		skip_cfws(&x);
		if (peek(&x) == ',') {
			x.p++;
			continue;
		}
		if (peek(&x) == ';' || x.p == x.end) {
			found = group;
			group = false;
			if (!found && x.p == x.end)
				return ERR_OK;
			if (x.p < x.end)
				x.p++;
		} else {
			const uint8_t *from = x.p;

			found = address(&x, &entry, &group);
			if (x.p == from)
				x.p++;
		}
		if (!found)
			continue;
		if (*n == room)
			return ERR_TOO_MANY;
		(*out)[(*n)++] = entry;
	}
}
