/*
 * http_parse.c: the lines of a request; see http_parse.h. A field that says something about framing or the connection
 * is a row of fields[]; all others are checked for their form and passed over.
 */
#include "http_parse.h"
#include "check.h"

const char http_method_name[HTTP_METHOD_N][8] = {
	[HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD", [HTTP_POST] = "POST", [HTTP_PUT] = "PUT", [HTTP_DELETE] = "DELETE",
	[HTTP_OPTIONS] = "OPTIONS", [HTTP_TRACE] = "TRACE", [HTTP_PATCH] = "PATCH",
};

void http_head_init(struct http_head *h)
{
	*h = (struct http_head){.method = HTTP_METHOD_N};
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* RFC 9110 5.6.2 */
static bool is_token(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.p[i], l = ascii_lower(c);
		if (!is_digit(c) && (l < 'a' || l > 'z') && (c == 0 || !strchr("!#$%&'*+-.^_`|~", c)))
			return false;
	}
	return s.len > 0;
}

/* Cuts the text before the first c off s; false when there is none. */
static bool cut(struct span *s, uint8_t c, struct span *before)
{
	ptrdiff_t at = span_find(*s, c);
	if (at < 0)
		return false;
	*before = span_head(*s, (size_t)at);
	*s = span_from(*s, (size_t)at + 1);
	return true;
}

/* ---- request line ---- */
static unsigned version(struct span s, uint8_t *minor)
{
	if (s.len != 8 || memcmp(s.p, "HTTP/", 5) != 0 || !is_digit(s.p[5]) || s.p[6] != '.' || !is_digit(s.p[7]))
		return 400;
	if (s.p[5] != '1')
		return 505;
	*minor = s.p[7] > '0';
	return 0;
}

/* RFC 9112 3.2.1, 3.2.2, 3.2.4 */
static unsigned target(struct span s, uint8_t method, struct span *path)
{
	static const char *const schemes[] = {"http://", "https://"};
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == '#')
			return 400;
	*path = span_of(NULL, 0);
	if (s.len == 0)
		return 400;
	if (method == HTTP_METHOD_N)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		if (!span_istarts(s, span_str(schemes[i])))
			continue;
		s = span_from(s, strlen(schemes[i]));
		size_t host = 0;
		while (host < s.len && s.p[host] != '/' && s.p[host] != '?')
			host++;
		if (host == 0)
			return 400;
		s = span_from(s, host);
		if (s.len == 0 || s.p[0] == '?')
			s = SPAN("/");
		break;
	}
	if (s.p[0] != '/' && !(span_eq(s, SPAN("*")) && method == HTTP_OPTIONS))
		return 400;
	ptrdiff_t query = span_find(s, '?');
	*path = span_head(s, query < 0 ? s.len : (size_t)query);
	return 0;
}

unsigned http_request_line(struct span line, struct http_head *h, struct span *path)
{
	struct span method, where;
	if (!cut(&line, ' ', &method) || !cut(&line, ' ', &where) || !is_token(method))
		return 400;
	for (uint8_t m = 0; m < HTTP_METHOD_N; m++)
		if (span_eq(method, span_str(http_method_name[m])))
			h->method = m;
	unsigned bad = version(line, &h->minor);
	return bad ? bad : target(where, h->method, path);
}

/* ---- fields ---- */
/* The next member of a comma-separated list (RFC 9110 5.6.1), trimmed; false at its end. */
static bool member(struct span *list, bool *more, struct span *out)
{
	if (!*more)
		return false;
	*more = cut(list, ',', out);
	if (!*more)
		*out = *list;
	*out = span_trim(*out);
	return true;
}

/* RFC 9110 8.6: "5, 5" and two equal lines are one length; differing ones are an attack. */
static unsigned take_length(struct http_head *h, struct span value)
{
	struct span m;
	for (bool more = true; member(&value, &more, &m);) {
		uint64_t n = UINT64_MAX;
		for (size_t i = 0; i < m.len; i++)
			if (!is_digit(m.p[i]))
				return 400;
		if (m.len == 0)
			return 400;
		if (!span_u64(m, UINT64_MAX - 1, &n))
			n = UINT64_MAX;
		if (h->has_length && h->length != n)
			return 400;
		h->has_length = true;
		h->length = n;
	}
	return 0;
}

/* RFC 9112 6.1: chunked is the last coding and is applied once. */
static unsigned take_coding(struct http_head *h, struct span value)
{
	struct span m;
	h->has_coding = true;
	for (bool more = true; member(&value, &more, &m);) {
		if (m.len == 0 || h->chunked)
			return 400;
		if (span_ieq(m, SPAN("chunked")))
			h->chunked = true;
		else
			h->other_coding = true;
	}
	return 0;
}

/* RFC 9110 7.2: uri-host [":" port]; may be empty. */
static unsigned take_host(struct http_head *h, struct span value)
{
	for (size_t i = 0; i < value.len; i++)
		if (value.p[i] <= ' ' || value.p[i] >= 0x7f || strchr("/?#@\\,\"<>", value.p[i]))
			return 400;
	return h->n_host++ ? 400 : 0;
}

static unsigned take_connection(struct http_head *h, struct span value)
{
	struct span m;
	for (bool more = true; member(&value, &more, &m);) {
		h->close |= span_ieq(m, SPAN("close"));
		h->keep_alive |= span_ieq(m, SPAN("keep-alive"));
	}
	return 0;
}

/* RFC 9110 10.1.1 */
static unsigned take_expect(struct http_head *h, struct span value)
{
	struct span m;
	for (bool more = true; member(&value, &more, &m);) {
		if (span_ieq(m, SPAN("100-continue")))
			h->expect = true;
		else
			h->expect_other = true;
	}
	return 0;
}

static const struct {
	const char *name;
	unsigned (*take)(struct http_head *h, struct span value);
} fields[] = {
	{"Host", take_host},
	{"Content-Length", take_length},
	{"Transfer-Encoding", take_coding},
	{"Connection", take_connection},
	{"Expect", take_expect},
};

/* RFC 9112 5.1, RFC 9110 5.5. False: no field, folded (5.2), a blank before the colon, or controls in it. */
static bool split(struct span line, struct span *name, struct span *value)
{
	if (!cut(&line, ':', name) || !is_token(*name))
		return false;
	for (size_t i = 0; i < line.len; i++)
		if ((line.p[i] < ' ' && line.p[i] != '\t') || line.p[i] == 0x7f)
			return false;
	*value = span_trim(line);
	return true;
}

unsigned http_field(struct span line, struct http_head *h)
{
	struct span name, value;
	if (!split(line, &name, &value))
		return 400;
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (span_ieq(name, span_str(fields[i].name)))
			return fields[i].take(h, value);
	return 0;
}

unsigned http_trailer(struct span line)
{
	struct span name, value;
	return split(line, &name, &value) ? 0 : 400;
}

unsigned http_head_end(const struct http_head *h)
{
	if (h->n_host != 1 && h->minor > 0)
		return 400;
	if (h->has_coding && (h->has_length || h->minor == 0 || !h->chunked))
		return 400;
	return h->other_coding ? 501 : 0;
}

/* ---- chunks ---- */
static unsigned hex_value(uint8_t c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, ascii_lower(c)) : NULL;
	return at ? (unsigned)(at - digits) : 16;
}

unsigned http_chunk_size(struct span line, uint64_t *size)
{
	uint64_t n = 0;
	size_t i = 0;
	for (; i < line.len && hex_value(line.p[i]) < 16; i++)
		n = n >> 60 ? UINT64_MAX : n << 4 | hex_value(line.p[i]);
	if (i == 0 || (i < line.len && line.p[i] != ';'))
		return 400;
	for (; i < line.len; i++)
		if ((line.p[i] < ' ' && line.p[i] != '\t') || line.p[i] == 0x7f)
			return 400;
	*size = n;
	return 0;
}
