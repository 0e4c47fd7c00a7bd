/*
 * mail_addr.c: the path grammar of RFC 5321 section 4.1.2 and what stands behind it; see
 * mail_addr.h. One pass from left to right with a cursor; every byte is looked at a bounded number
 * of times.
 */
#include "mail_addr.h"
#include <arpa/inet.h>
#include "check.h"
#include "mail_codec.h"

enum {
	C_ATEXT = 1, /* RFC 5322 3.2.3 */
	C_LDH = 2,   /* letters, digits, hyphen, underscore (seen in host names all the time) */
	C_QTEXT = 4, /* qtextSMTP: printable but for '"' and '\\' */
	C_DTEXT = 8, /* dcontent: printable but for '[' '\\' ']' */
};

static const uint8_t class_of[128] = {
	[' '] = C_QTEXT,
	['!'] = C_ATEXT | C_QTEXT | C_DTEXT,
	['"'] = C_DTEXT,
	['#' ... '\''] = C_ATEXT | C_QTEXT | C_DTEXT,
	['('] = C_QTEXT | C_DTEXT,
	[')'] = C_QTEXT | C_DTEXT,
	['*'] = C_ATEXT | C_QTEXT | C_DTEXT,
	['+'] = C_ATEXT | C_QTEXT | C_DTEXT,
	[','] = C_QTEXT | C_DTEXT,
	['-'] = C_ATEXT | C_LDH | C_QTEXT | C_DTEXT,
	['.'] = C_QTEXT | C_DTEXT,
	['/'] = C_ATEXT | C_QTEXT | C_DTEXT,
	['0' ... '9'] = C_ATEXT | C_LDH | C_QTEXT | C_DTEXT,
	[':' ... '<'] = C_QTEXT | C_DTEXT,
	['='] = C_ATEXT | C_QTEXT | C_DTEXT,
	['>'] = C_QTEXT | C_DTEXT,
	['?'] = C_ATEXT | C_QTEXT | C_DTEXT,
	['@'] = C_QTEXT | C_DTEXT,
	['A' ... 'Z'] = C_ATEXT | C_LDH | C_QTEXT | C_DTEXT,
	['['] = C_QTEXT,
	['\\'] = 0,
	[']'] = C_QTEXT,
	['^'] = C_ATEXT | C_QTEXT | C_DTEXT,
	['_'] = C_ATEXT | C_LDH | C_QTEXT | C_DTEXT,
	['`'] = C_ATEXT | C_QTEXT | C_DTEXT,
	['a' ... 'z'] = C_ATEXT | C_LDH | C_QTEXT | C_DTEXT,
	['{' ... '~'] = C_ATEXT | C_QTEXT | C_DTEXT,
};

static inline bool is(uint8_t c, uint8_t class)
{
	return c < 128 ? (class_of[c] & class) != 0 : (class & (C_ATEXT | C_LDH | C_QTEXT)) != 0;
}

struct cursor {
	const uint8_t *p, *end;
};

static inline int peek(const struct cursor *c)
{
	return c->p < c->end ? *c->p : -1;
}

static size_t skip_class(struct cursor *c, uint8_t class)
{
	const uint8_t *from = c->p;

	while (c->p < c->end && is(*c->p, class))
		c->p++;
	return (size_t)(c->p - from);
}

static bool skip_byte(struct cursor *c, char b)
{
	if (peek(c) != b)
		return false;
	c->p++;
	return true;
}

/* Local-part = Dot-string / Quoted-string */
static enum err parse_local(struct cursor *c, struct mail_addr *out)
{
	const uint8_t *from = c->p;

	if (skip_byte(c, '"')) {
		out->flags |= MAIL_ADDR_QUOTED;
		while (!skip_byte(c, '"')) {
			if (skip_byte(c, '\\')) {
				if (peek(c) < ' ' || peek(c) > '~')
					return ERR_SYNTAX;
				c->p++;
			} else if (skip_class(c, C_QTEXT) == 0) {
				return ERR_SYNTAX;
			}
		}
	} else {
		do {
			if (skip_class(c, C_ATEXT) == 0)
				return ERR_SYNTAX;
		} while (skip_byte(c, '.'));
	}
	out->local = span_of(from, (size_t)(c->p - from));
	return ERR_OK;
}

/* As mail_domain_valid, but with UTF-8 in the labels (U-labels, RFC 6531 3.3). */
static bool domain_valid(struct span s)
{
	size_t label = 0;

	if (s.len == 0 || s.len > MAIL_DOMAIN_MAX)
		return false;
	for (size_t i = 0; i <= s.len; i++) {
		if (i == s.len || s.p[i] == '.') {
			if (label == 0 || label > 63 || s.p[i - 1] == '-')
				return false;
			label = 0;
		} else if (!is(s.p[i], C_LDH) || (label == 0 && s.p[i] == '-')) {
			return false;
		} else {
			label++;
		}
	}
	return true;
}

/* Domain or address-literal. */
static enum err parse_domain(struct cursor *c, struct span *out, bool *literal)
{
	const uint8_t *from = c->p;
	uint8_t ip[16];
	bool v6;

	*literal = peek(c) == '[';
	if (*literal) {
		c->p++;
		skip_class(c, C_DTEXT);
		if (!skip_byte(c, ']'))
			return ERR_SYNTAX;
	} else {
		while (c->p < c->end && (*c->p == '.' || is(*c->p, C_LDH)))
			c->p++;
	}
	*out = span_of(from, (size_t)(c->p - from));
	if (out->len > MAIL_DOMAIN_MAX)
		return ERR_TOO_LONG;
	if (*literal ? !mail_literal_parse(*out, &v6, ip) : !domain_valid(*out))
		return ERR_SYNTAX;
	return ERR_OK;
}

/* A-d-l ":" = "@" Domain *( "," "@" Domain ) ":" */
static enum err skip_route(struct cursor *c)
{
	struct span domain;
	bool literal;

	do {
		if (!skip_byte(c, '@') || parse_domain(c, &domain, &literal))
			return ERR_SYNTAX;
	} while (skip_byte(c, ','));
	return skip_byte(c, ':') ? ERR_OK : ERR_SYNTAX;
}

/* Mailbox, or the bare postmaster. */
static enum err parse_mailbox(struct cursor *c, uint32_t allow, struct mail_addr *out)
{
	enum err err = parse_local(c, out);
	bool literal = false;

	if (err)
		return err;
	if (skip_byte(c, '@')) {
		err = parse_domain(c, &out->domain, &literal);
		if (err)
			return err;
		if (literal)
			out->flags |= MAIL_ADDR_LITERAL;
	} else {
		if (!(allow & MAIL_PATH_POSTMASTER_OK) || !span_ieq(out->local, SPAN("postmaster")))
			return ERR_SYNTAX;
		out->flags |= MAIL_ADDR_POSTMASTER;
	}
	if (out->local.len > MAIL_LOCAL_MAX)
		return ERR_TOO_LONG;
	/* RFC 5321 4.5.3.1.3 counts the punctuation: "<", "@", ">". */
	if (out->local.len + out->domain.len + 3 > MAIL_PATH_MAX)
		return ERR_TOO_LONG;
	return ERR_OK;
}

static enum err check_utf8(struct mail_addr *a, uint32_t allow)
{
	struct span whole =
		a->domain.len
			? span_of(a->local.p, (size_t)(a->domain.p + a->domain.len - a->local.p))
			: a->local;

	for (size_t i = 0; i < whole.len; i++) {
		if (whole.p[i] < 0x80)
			continue;
		if (!(allow & MAIL_PATH_UTF8_OK) || !mail_utf8_valid(whole))
			return ERR_SYNTAX;
		a->flags |= MAIL_ADDR_UTF8;
		break;
	}
	return ERR_OK;
}

static enum err parse_path(struct cursor *c, uint32_t allow, struct mail_addr *out)
{
	enum err err = ERR_OK;

	while (skip_byte(c, ' '))
		;
	if (!skip_byte(c, '<'))
		return ERR_SYNTAX;
	if (peek(c) == '>') {
		if (!(allow & MAIL_PATH_NULL_OK))
			return ERR_SYNTAX;
		out->flags |= MAIL_ADDR_NULL;
	} else {
		if (peek(c) == '@') {
			err = skip_route(c);
			out->flags |= MAIL_ADDR_ROUTE;
		}
		if (!err)
			err = parse_mailbox(c, allow, out);
	}
	if (!err && !skip_byte(c, '>'))
		err = ERR_SYNTAX;
	return err ? err : check_utf8(out, allow);
}

enum err mail_path_parse(struct span arg, uint32_t allow, struct mail_addr *out, struct span *tail)
{
	struct cursor c = {arg.p, arg.p + arg.len};
	enum err err;

	*out = (struct mail_addr){0};
	err = parse_path(&c, allow, out);
	if (err)
		*out = (struct mail_addr){0};
	*tail = span_of(c.p, err ? 0 : (size_t)(c.end - c.p));
	return err;
}

enum err mail_addr_parse(struct span s, uint32_t allow, struct mail_addr *out)
{
	struct cursor c = {s.p, s.p + s.len};
	enum err err;

	*out = (struct mail_addr){0};
	err = parse_mailbox(&c, allow, out);
	if (!err && c.p != c.end)
		err = ERR_SYNTAX;
	if (!err)
		err = check_utf8(out, allow);
	if (err)
		*out = (struct mail_addr){0};
	return err;
}

/* ---- parameters ---- */

/* esmtp-value = 1*(%d33-60 / %d62-126), and UTF-8 (RFC 6531 3.3). */
static bool is_value(uint8_t c)
{
	return c > ' ' && c != '=' && c != 0x7f;
}

enum err mail_param_next(struct span *tail, struct mail_param *out)
{
	struct cursor c = {tail->p, tail->p + tail->len};
	const uint8_t *from;

	*out = (struct mail_param){0};
	while (skip_byte(&c, ' '))
		;
	if (c.p == c.end) {
		*tail = span_of(c.p, 0);
		return ERR_NOT_FOUND;
	}
	if (c.p == tail->p)
		return ERR_SYNTAX;
	/* esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-") */
	from = c.p;
	while (c.p < c.end && *c.p < 128 && *c.p != '_' && is(*c.p, C_LDH))
		c.p++;
	out->key = span_of(from, (size_t)(c.p - from));
	if (out->key.len == 0 || *from == '-')
		return ERR_SYNTAX;
	if (skip_byte(&c, '=')) {
		out->has_value = true;
		from = c.p;
		/* AUTH=<> and its like hold '=' only in xtext; a second '=' is an error. */
		while (c.p < c.end && is_value(*c.p))
			c.p++;
		out->value = span_of(from, (size_t)(c.p - from));
		if (out->value.len == 0)
			return ERR_SYNTAX;
	}
	if (c.p < c.end && *c.p != ' ')
		return ERR_SYNTAX;
	*tail = span_of(c.p, (size_t)(c.end - c.p));
	return ERR_OK;
}

/* ---- forms ---- */

/* The content of a quoted local part into dst, if it is a Dot-string that needs no quotes; else 0.
 */
static size_t unquote_local(struct span local, char *dst)
{
	struct mail_addr plain = {0};
	struct cursor c;
	size_t n = 0;

	for (size_t i = 1; i + 1 < local.len; i++) {
		if (local.p[i] == '\\')
			i++;
		dst[n++] = (char)local.p[i];
	}
	c = (struct cursor){(const uint8_t *)dst, (const uint8_t *)dst + n};
	if (peek(&c) == '"' || parse_local(&c, &plain) || c.p != c.end)
		return 0;
	return n;
}

size_t mail_addr_canon(const struct mail_addr *a, bool fold_local, char *dst)
{
	size_t n = 0;

	CHECK(a->local.len <= MAIL_LOCAL_MAX && a->domain.len <= MAIL_DOMAIN_MAX);
	if (fold_local && (a->flags & MAIL_ADDR_QUOTED))
		n = unquote_local(a->local, dst);
	if (n == 0 && a->local.len) {
		memcpy(dst, a->local.p, a->local.len);
		n = a->local.len;
	}
	for (size_t i = 0; fold_local && i < n; i++)
		dst[i] = (char)ascii_lower((uint8_t)dst[i]);
	if (a->domain.len)
		dst[n++] = '@';
	for (size_t i = 0; i < a->domain.len; i++)
		dst[n++] = (char)ascii_lower(a->domain.p[i]);
	dst[n] = 0;
	return n;
}

bool mail_domain_valid(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] >= 0x80)
			return false;
	}
	return domain_valid(s);
}

bool mail_literal_parse(struct span s, bool *v6, uint8_t ip[16])
{
	char text[INET6_ADDRSTRLEN];
	struct span in;

	if (s.len < 2 || s.p[0] != '[' || s.p[s.len - 1] != ']')
		return false;
	in = span_of(s.p + 1, s.len - 2);
	*v6 = span_istarts(in, SPAN("IPv6:"));
	if (*v6)
		in = span_from(in, 5);
	return span_cstr(in, text, sizeof(text)) &&
	       inet_pton(*v6 ? AF_INET6 : AF_INET, text, ip) == 1;
}
