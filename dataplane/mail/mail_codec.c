/*
 * mail_codec.c: base64, quoted-printable, xtext, modified UTF-7 and text search; see mail_codec.h.
 * Charsets and encoded words are in mail_charset.c.
 */
#include "mail_codec.h"
#include "check.h"
#include "mail_int.h"

/* ---- base64 ---- */

static const char b64_digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Value + 1; 0 is no digit. */
static const uint8_t b64_value[256] = {
	['A'] = 1,  2,	3,  4,	5,  6,	7,  8,	9,  10, 11,	    12,		13,
	14,	    15, 16, 17, 18, 19, 20, 21, 22, 23, 24,	    25,		26,
	['a'] = 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37,	    38,		39,
	40,	    41, 42, 43, 44, 45, 46, 47, 48, 49, 50,	    51,		52,
	['0'] = 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, ['+'] = 63, ['/'] = 64,
};

ptrdiff_t mail_b64_decode(struct span in, uint8_t *out, size_t out_size)
{
	size_t n = 0, pad = 0;

	if (in.len % 4)
		return -1;
	if (in.len)
		pad = (in.p[in.len - 1] == '=') +
		      (in.p[in.len - 1] == '=' && in.p[in.len - 2] == '=');
	if (MAIL_B64_DEC_MAX(in.len) - pad > out_size)
		return -1;
	for (size_t i = 0; i < in.len; i += 4) {
		size_t digits = i + 4 == in.len ? 4 - pad : 4;
		uint32_t bits = 0;

		for (size_t k = 0; k < 4; k++) {
			uint8_t v = k < digits ? b64_value[in.p[i + k]] : 1;

			if (v == 0)
				return -1;
			bits = bits << 6 | (v - 1u);
		}
		if (bits & ((1u << 8 * (4 - digits)) - 1))
			return -1;
		for (size_t k = 0; k + 1 < digits; k++)
			out[n++] = (uint8_t)(bits >> (16 - 8 * k));
	}
	return (ptrdiff_t)n;
}

ptrdiff_t mail_b64_encode(struct span in, char *out, size_t out_size)
{
	size_t n = 0;

	if (in.len > SIZE_MAX / 2 || MAIL_B64_ENC_LEN(in.len) > out_size)
		return -1;
	for (size_t i = 0; i < in.len; i += 3) {
		size_t left = in.len - i;
		uint32_t bits = (uint32_t)in.p[i] << 16;

		if (left > 1)
			bits |= (uint32_t)in.p[i + 1] << 8;
		if (left > 2)
			bits |= in.p[i + 2];
		out[n++] = b64_digit[bits >> 18];
		out[n++] = b64_digit[bits >> 12 & 63];
		out[n++] = '=';
		out[n++] = '=';
		if (left > 1)
			out[n - 2] = b64_digit[bits >> 6 & 63];
		if (left > 2)
			out[n - 1] = b64_digit[bits & 63];
	}
	return (ptrdiff_t)n;
}

/* ---- bodies ---- */

enum mail_encoding mail_encoding_of(struct span name)
{
	static const struct {
		struct span name;
		enum mail_encoding enc;
	} known[] = {
		{{(const uint8_t *)"7bit", 4}, MAIL_ENC_7BIT},
		{{(const uint8_t *)"8bit", 4}, MAIL_ENC_8BIT},
		{{(const uint8_t *)"binary", 6}, MAIL_ENC_BINARY},
		{{(const uint8_t *)"base64", 6}, MAIL_ENC_BASE64},
		{{(const uint8_t *)"quoted-printable", 16}, MAIL_ENC_QP},
	};

	if (name.len == 0)
		return MAIL_ENC_7BIT;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (span_ieq(span_trim(name), known[i].name))
			return known[i].enc;
	}
	return MAIL_ENC_OTHER;
}

/* RFC 2045 6.8: all other bytes are ignored; padding ends a run, what follows begins a new one. */
static void b64_body(struct buf *out, struct span in)
{
	uint8_t *dst = buf_reserve(out, in.len / 4 * 3 + 3);
	uint32_t bits = 0, n_bits = 0;
	size_t n = 0;

	for (size_t i = 0; i < in.len; i++) {
		uint8_t v = b64_value[in.p[i]];

		if (v == 0) {
			if (in.p[i] == '=')
				n_bits = 0;
			continue;
		}
		bits = bits << 6 | (v - 1u);
		n_bits += 6;
		if (n_bits >= 8) {
			n_bits -= 8;
			dst[n++] = (uint8_t)(bits >> n_bits);
		}
	}
	out->len += n;
}

/* RFC 2045 6.7: soft line breaks go, spaces before a line end go, an '=' that starts no escape
 * stays. */
static void qp_body(struct buf *out, struct span in)
{
	uint8_t *dst = buf_reserve(out, in.len);
	size_t n = 0, solid = 0;

	for (size_t i = 0; i < in.len; i++) {
		uint8_t c = in.p[i];

		if (c == '=') {
			size_t k = i + 1;
			int hi = k + 1 < in.len ? mail_hex_value(in.p[k]) : -1;
			int lo = hi >= 0 ? mail_hex_value(in.p[k + 1]) : -1;

			if (lo >= 0) {
				dst[n++] = (uint8_t)(hi << 4 | lo);
				solid = n;
				i += 2;
				continue;
			}
			while (k < in.len && k - i < 80 && (in.p[k] == ' ' || in.p[k] == '\t'))
				k++;
			if (k < in.len && in.p[k] == '\r')
				k++;
			if (k == in.len || in.p[k] == '\n') {
				solid = n;
				i = k;
				continue;
			}
		}
		if (c == '\n') {
			bool cr = n > solid && dst[n - 1] == '\r';

			n = cr ? n - 1 : n;
			while (n > solid && (dst[n - 1] == ' ' || dst[n - 1] == '\t'))
				n--;
			if (cr)
				dst[n++] = '\r';
			dst[n++] = '\n';
			solid = n;
			continue;
		}
		dst[n++] = c;
	}
	out->len += n;
}

void mail_body_decode(struct buf *out, enum mail_encoding enc, struct span in)
{
	if (enc == MAIL_ENC_BASE64)
		b64_body(out, in);
	else if (enc == MAIL_ENC_QP)
		qp_body(out, in);
	else
		buf_add_span(out, in);
}

/* ---- xtext ---- */

static bool is_xchar(uint8_t c)
{
	return c > ' ' && c < 0x7f && c != '+' && c != '=';
}

ptrdiff_t mail_xtext_decode(struct span in, uint8_t *out, size_t out_size)
{
	size_t n = 0;

	for (size_t i = 0; i < in.len; i++) {
		uint8_t c = in.p[i];

		if (c == '+') {
			/* hexchar = "+" 2(%d48-57 / %d65-70): upper case only */
			int hi, lo;

			if (in.len - i < 3 || in.p[i + 1] >= 'a' || in.p[i + 2] >= 'a')
				return -1;
			hi = mail_hex_value(in.p[i + 1]);
			lo = mail_hex_value(in.p[i + 2]);
			if (hi < 0 || lo < 0)
				return -1;
			c = (uint8_t)(hi << 4 | lo);
			if (c == 0 || c == '\r' || c == '\n')
				return -1;
			i += 2;
		} else if (!is_xchar(c)) {
			return -1;
		}
		if (n == out_size)
			return -1;
		out[n++] = c;
	}
	return (ptrdiff_t)n;
}

void mail_xtext_encode(struct buf *out, struct span in)
{
	static const char digit[] = "0123456789ABCDEF";
	uint8_t *dst = buf_reserve(out, 3 * in.len);
	size_t n = 0;

	for (size_t i = 0; i < in.len; i++) {
		if (is_xchar(in.p[i])) {
			dst[n++] = in.p[i];
			continue;
		}
		dst[n++] = '+';
		dst[n++] = (uint8_t)digit[in.p[i] >> 4];
		dst[n++] = (uint8_t)digit[in.p[i] & 15];
	}
	out->len += n;
}

/* ---- mailbox names (RFC 3501 5.1.3) ---- */

/* Value + 1 of a digit of modified base64: ',' in the place of '/'. */
static uint8_t mb64_value(uint8_t c)
{
	return c == ',' ? 64 : c == '/' ? 0 : b64_value[c];
}

static bool is_direct(uint32_t cp)
{
	return cp >= ' ' && cp <= '~';
}

/* The base64 run at in.p[*i] (behind '&') up to '-'. Writes its UTF-8. */
static bool utf7_run(struct span in, size_t *i, uint8_t *out, size_t out_size, size_t *n)
{
	uint32_t bits = 0, n_bits = 0, high = 0;

	for (; *i < in.len && in.p[*i] != '-'; (*i)++) {
		uint8_t v = mb64_value(in.p[*i]);
		uint8_t enc[4];
		uint32_t unit, cp;
		size_t len;

		if (v == 0)
			return false;
		bits = bits << 6 | (v - 1u);
		n_bits += 6;
		if (n_bits < 16)
			continue;
		n_bits -= 16;
		unit = bits >> n_bits & 0xffff;
		bits &= (1u << n_bits) - 1;
		if ((unit & 0xfc00) == 0xdc00) {
			if (!high)
				return false;
			cp = 0x10000 + ((high & 0x3ff) << 10 | (unit & 0x3ff));
			high = 0;
		} else if (high) {
			return false;
		} else if ((unit & 0xfc00) == 0xd800) {
			high = unit;
			continue;
		} else {
			cp = unit;
		}
		/* What has a form of its own must use it; NUL has none at all. */
		if (cp == 0 || is_direct(cp))
			return false;
		len = mail_utf8_put(enc, cp);
		if (len > out_size - *n)
			return false;
		memcpy(out + *n, enc, len);
		*n += len;
	}
	return *i < in.len && !high && n_bits < 6 && bits == 0;
}

ptrdiff_t mail_utf7_to_utf8(struct span in, uint8_t *out, size_t out_size)
{
	size_t n = 0, run_end = SIZE_MAX;

	for (size_t i = 0; i < in.len; i++) {
		uint8_t c = in.p[i];

		if (c == '&' && i + 1 < in.len && in.p[i + 1] != '-') {
			/* Two runs with nothing between them have to be one. */
			if (i == run_end)
				return -1;
			i++;
			if (!utf7_run(in, &i, out, out_size, &n))
				return -1;
			run_end = i + 1;
			continue;
		}
		if (c == '&') {
			if (i + 1 == in.len)
				return -1;
			i++;
		} else if (!is_direct(c)) {
			return -1;
		}
		if (n == out_size)
			return -1;
		out[n++] = c;
	}
	return (ptrdiff_t)n;
}

struct out7 {
	char *p;
	size_t n, size;
	bool full;
};

static void put7(struct out7 *o, char c)
{
	if (o->n < o->size)
		o->p[o->n++] = c;
	else
		o->full = true;
}

static void put_digit(struct out7 *o, uint32_t v)
{
	put7(o, v == 63 ? ',' : b64_digit[v]);
}

static void put_unit(struct out7 *o, uint32_t unit, uint32_t *bits, uint32_t *n_bits)
{
	*bits = *bits << 16 | unit;
	*n_bits += 16;
	while (*n_bits >= 6) {
		*n_bits -= 6;
		put_digit(o, *bits >> *n_bits & 63);
	}
	*bits &= (1u << *n_bits) - 1;
}

static void close_run(struct out7 *o, uint32_t bits, uint32_t n_bits)
{
	if (n_bits)
		put_digit(o, bits << (6 - n_bits) & 63);
	put7(o, '-');
}

ptrdiff_t mail_utf8_to_utf7(struct span in, char *out, size_t out_size)
{
	struct out7 o = {out, 0, out_size, false};
	uint32_t bits = 0, n_bits = 0, cp;
	bool in_run = false;

	for (size_t i = 0; i < in.len;) {
		size_t len = mail_utf8_get(in.p + i, in.len - i, &cp);

		if (len == 0 || cp == 0)
			return -1;
		i += len;
		if (is_direct(cp)) {
			if (in_run)
				close_run(&o, bits, n_bits);
			in_run = false;
			put7(&o, (char)cp);
			if (cp == '&')
				put7(&o, '-');
			continue;
		}
		if (!in_run) {
			put7(&o, '&');
			in_run = true;
			bits = n_bits = 0;
		}
		if (cp >= 0x10000) {
			put_unit(&o, 0xd7c0 + (cp >> 10), &bits, &n_bits);
			cp = 0xdc00 | (cp & 0x3ff);
		}
		put_unit(&o, cp, &bits, &n_bits);
	}
	if (in_run)
		close_run(&o, bits, n_bits);
	return o.full ? -1 : (ptrdiff_t)o.n;
}

/* ---- search ---- */

/*
 * Two-way string matching (Crochemore and Perrin 1991) over folded bytes: linear, and no table to
 * fill. A naive search is quadratic for texts and needles of one repeated letter.
 */
static size_t max_suffix(struct span n, bool reverse, size_t *period)
{
	size_t begin = 0, j = 1, k = 0, p = 1; /* the suffix begins at begin */

	while (j + k < n.len) {
		uint8_t a = ascii_lower(n.p[begin + k]), b = ascii_lower(n.p[j + k]);

		if (a == b) {
			if (++k == p) {
				j += p;
				k = 0;
			}
		} else if (reverse ? b > a : b < a) {
			j += k + 1;
			k = 0;
			p = j - begin;
		} else {
			begin = j++;
			k = 0;
			p = 1;
		}
	}
	*period = p;
	return begin;
}

bool mail_text_contains(struct span hay, struct span needle)
{
	size_t p, q, cut, other, seen = 0, keep;

	if (needle.len == 0)
		return true;
	if (needle.len > hay.len)
		return false;
	cut = max_suffix(needle, false, &p);
	other = max_suffix(needle, true, &q);
	if (other > cut) {
		cut = other;
		p = q;
	}
	if (p + cut <= needle.len && span_ieq(span_head(needle, cut), span_of(needle.p + p, cut))) {
		keep = needle.len - p;
	} else {
		p = (cut > needle.len - cut ? cut : needle.len - cut) + 1;
		keep = 0;
	}
	for (size_t at = 0; at <= hay.len - needle.len;) {
		size_t k = cut > seen ? cut : seen;

		while (k < needle.len && ascii_lower(needle.p[k]) == ascii_lower(hay.p[at + k]))
			k++;
		if (k < needle.len) {
			at += k - cut + 1;
			seen = 0;
			continue;
		}
		k = cut;
		while (k > seen && ascii_lower(needle.p[k - 1]) == ascii_lower(hay.p[at + k - 1]))
			k--;
		if (k <= seen)
			return true;
		at += p;
		seen = keep;
	}
	return false;
}
