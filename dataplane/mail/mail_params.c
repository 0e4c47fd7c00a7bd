/*
 * mail_params.c: structured header values with parameters (RFC 2045 5.1, RFC 2183 2); see
 * mail_mime.h. Tolerant where real mail needs it: unquoted values may hold tspecials, quotes may be
 * missing at the end, junk up to the next ';' is skipped. Time is linear: the cursor only moves
 * forward.
 */
#include "mail_mime.h"
#include "mail_int.h"

struct cursor {
	const uint8_t *p, *end;
};

static int peek(const struct cursor *c)
{
	return c->p < c->end ? *c->p : -1;
}

static void skip_cfws(struct cursor *c)
{
	size_t depth = 0;

	for (; c->p < c->end; c->p++) {
		if (*c->p == '(')
			depth++;
		else if (*c->p == ')' && depth)
			depth--;
		else if (*c->p == '\\' && depth && c->p + 1 < c->end)
			c->p++;
		else if (!depth && !mail_is_lws(*c->p) && *c->p != 0)
			break;
	}
}

static struct span token(struct cursor *c)
{
	const uint8_t *from = c->p;

	while (c->p<c->end && * c->p> ' ' && *c->p != 0x7f &&
	       !memchr("()<>@,;:\\\"/[]?=", *c->p, 15))
		c->p++;
	return span_of(from, (size_t)(c->p - from));
}

/* At '"'. Copied only if something has to come out of it; .p == NULL: no room. */
static struct span quoted(struct arena *a, struct cursor *c)
{
	const uint8_t *from = ++c->p;
	bool plain = true;
	struct span s;
	uint8_t *dst;
	size_t n = 0;

	while (c->p < c->end && *c->p != '"') {
		if (*c->p == '\\' && c->p + 1 < c->end)
			c->p++;
		plain &= *c->p >= ' ' && *c->p != '\\' && c->p[-1] != '\\';
		c->p++;
	}
	s = span_of(from, (size_t)(c->p - from));
	if (c->p < c->end)
		c->p++;
	if (plain)
		return s;
	dst = arena_alloc(a, s.len + 1);
	if (!dst)
		return span_of(NULL, 0);
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == '\\' && i + 1 < s.len)
			i++;
		if (s.p[i] != '\r' && s.p[i] != '\n')
			dst[n++] = s.p[i] ? s.p[i] : ' ';
	}
	return span_of(dst, n);
}

static struct span value(struct arena *a, struct cursor *c)
{
	const uint8_t *from = c->p;

	if (peek(c) == '"')
		return quoted(a, c);
	while (c->p<c->end && * c->p> ' ' && *c->p != ';')
		c->p++;
	return span_of(from, (size_t)(c->p - from));
}

/* To the next ';' that is not in quotes. */
static void skip_junk(struct cursor *c)
{
	bool in_quotes = false;

	for (; c->p < c->end; c->p++) {
		if (*c->p == '"')
			in_quotes = !in_quotes;
		else if (*c->p == '\\' && in_quotes && c->p + 1 < c->end)
			c->p++;
		else if (*c->p == ';' && !in_quotes)
			break;
	}
}

static void params(struct arena *a, struct cursor *c, struct mail_params *out)
{
	uint32_t max = 0;

	for (const uint8_t *p = c->p; p < c->end && max < MAIL_PARAM_MAX; p++)
		max += *p == '=';
	if (max == 0)
		return;
	out->v = arena_alloc(a, max * sizeof(*out->v));
	while (out->v && out->n < max) {
		struct mail_mime_param param;

		skip_junk(c);
		if (c->p == c->end)
			return;
		c->p++;
		skip_cfws(c);
		param.name = token(c);
		skip_cfws(c);
		if (param.name.len == 0 || peek(c) != '=')
			continue;
		c->p++;
		skip_cfws(c);
		param.value = value(a, c);
		if (param.value.p)
			out->v[out->n++] = param;
	}
}

bool mail_params_parse(struct arena *a, struct span raw, struct span *head, struct mail_params *out)
{
	struct cursor c = {raw.p, raw.p + raw.len};
	struct span first, second;

	*head = span_of(NULL, 0);
	*out = (struct mail_params){0};
	skip_cfws(&c);
	first = token(&c);
	if (first.len == 0)
		return false;
	*head = first;
	skip_cfws(&c);
	if (peek(&c) == '/') {
		c.p++;
		skip_cfws(&c);
		second = token(&c);
		head->len = (size_t)(second.p + second.len - first.p);
		/* "text / plain": legal, if hardly seen; the head is one span without the spaces.
		 */
		if (head->len != first.len + 1 + second.len) {
			uint8_t *dst = arena_alloc(a, first.len + 1 + second.len);

			if (!dst)
				return false;
			memcpy(dst, first.p, first.len);
			dst[first.len] = '/';
			memcpy(dst + first.len + 1, second.p, second.len);
			*head = span_of(dst, first.len + 1 + second.len);
		}
	}
	params(a, &c, out);
	return true;
}

struct span mail_params_get(const struct mail_params *p, struct span name)
{
	for (uint32_t i = 0; i < p->n; i++) {
		if (span_ieq(p->v[i].name, name))
			return p->v[i].value;
	}
	return span_of(NULL, 0);
}
