/*
 * mail_charset.c: UTF-8, the charsets that become UTF-8, and encoded words (RFC 2047); see
 * mail_codec.h. The charsets are tables of ours: iconv(3) of libc loads modules from disk, which no
 * worker may do.
 */
#include "mail_codec.h"
#include "check.h"
#include "mail_int.h"

size_t mail_utf8_put(uint8_t *dst, uint32_t cp)
{
	if (cp < 0x80) {
		dst[0] = (uint8_t)cp;
		return 1;
	}
	if (cp < 0x800) {
		dst[0] = (uint8_t)(0xc0 | cp >> 6);
		dst[1] = (uint8_t)(0x80 | (cp & 63));
		return 2;
	}
	if (cp < 0x10000) {
		dst[0] = (uint8_t)(0xe0 | cp >> 12);
		dst[1] = (uint8_t)(0x80 | (cp >> 6 & 63));
		dst[2] = (uint8_t)(0x80 | (cp & 63));
		return 3;
	}
	dst[0] = (uint8_t)(0xf0 | cp >> 18);
	dst[1] = (uint8_t)(0x80 | (cp >> 12 & 63));
	dst[2] = (uint8_t)(0x80 | (cp >> 6 & 63));
	dst[3] = (uint8_t)(0x80 | (cp & 63));
	return 4;
}

size_t mail_utf8_get(const uint8_t *p, size_t len, uint32_t *cp)
{
	uint32_t c, least;
	size_t n;

	if (p[0] < 0x80) {
		*cp = p[0];
		return 1;
	}
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (len < n)
		return 0;
	c = p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 63);
	}
	least = n == 2 ? 0x80 : n == 3 ? 0x800 : 0x10000;
	if (c < least || c > 0x10ffff || (c & ~0x7ffu) == 0xd800)
		return 0;
	*cp = c;
	return n;
}

bool mail_utf8_valid(struct span s)
{
	uint32_t cp;

	for (size_t i = 0; i < s.len;) {
		size_t len = mail_utf8_get(s.p + i, s.len - i, &cp);

		if (len == 0)
			return false;
		i += len;
	}
	return true;
}

/* ---- charsets ---- */

#define REPLACEMENT 0xfffdu

/* What bytes 0x80.. mean where they are not the code point of the same number; 0: no character. */
static const uint16_t windows_1252[32] = {
	0x20ac, 0,	0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
	0x2039, 0x0152, 0,	0x017d, 0,	0,	0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
	0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,	0x017e, 0x0178,
};

static uint32_t latin1_get(uint8_t c)
{
	return c;
}

static uint32_t latin9_get(uint8_t c)
{
	static const uint16_t other[32] = {
		[0xa4 - 0xa0] = 0x20ac, [0xa6 - 0xa0] = 0x160, [0xa8 - 0xa0] = 0x161,
		[0xb4 - 0xa0] = 0x17d,	[0xb8 - 0xa0] = 0x17e, [0xbc - 0xa0] = 0x152,
		[0xbd - 0xa0] = 0x153,	[0xbe - 0xa0] = 0x178,
	};

	return c >= 0xa0 && c < 0xc0 && other[c - 0xa0] ? other[c - 0xa0] : c;
}

static uint32_t windows_1252_get(uint8_t c)
{
	if (c < 0x80 || c >= 0xa0)
		return c;
	return windows_1252[c - 0x80] ? windows_1252[c - 0x80] : REPLACEMENT;
}

#define NAME(lit)                                                                                  \
	{                                                                                          \
		(const uint8_t *)("" lit), sizeof(lit) - 1                                         \
	}
static const struct charset {
	struct span name;
	uint32_t (*get)(uint8_t c); /* NULL: UTF-8 (which US-ASCII is a part of) */
} charsets[] = {
	{NAME("utf-8"), NULL},
	{NAME("us-ascii"), NULL},
	{NAME("iso-8859-1"), latin1_get},
	{NAME("iso-8859-15"), latin9_get},
	{NAME("windows-1252"), windows_1252_get},
	{NAME("utf8"), NULL},
	{NAME("ascii"), NULL},
	{NAME("ansi_x3.4-1968"), NULL},
	{NAME("latin1"), latin1_get},
	{NAME("iso8859-1"), latin1_get},
	{NAME("iso_8859-1"), latin1_get},
	{NAME("latin9"), latin9_get},
	{NAME("latin-9"), latin9_get},
	{NAME("iso8859-15"), latin9_get},
	{NAME("iso_8859-15"), latin9_get},
	{NAME("cp1252"), windows_1252_get},
};

static const struct charset *charset_find(struct span name)
{
	for (size_t i = 0; i < ARRAY_LEN(charsets); i++) {
		if (span_ieq(name, charsets[i].name))
			return &charsets[i];
	}
	return NULL;
}

bool mail_charset_known(struct span charset)
{
	return charset_find(charset) != NULL;
}

static void add_utf8(struct buf *out, struct span in)
{
	size_t i = 0;

	while (i < in.len) {
		size_t good = i, len = 0;
		uint32_t cp;

		while (good < in.len && (len = mail_utf8_get(in.p + good, in.len - good, &cp)) > 0)
			good += len;
		buf_add(out, in.p + i, good - i);
		i = good;
		if (i < in.len) {
			buf_add(out, "\xef\xbf\xbd", 3);
			i++;
		}
	}
}

enum err mail_charset_to_utf8(struct buf *out, struct span charset, struct span in)
{
	const struct charset *cs = charset_find(charset);

	if (!cs) {
		buf_add_span(out, in);
		return ERR_UNSUPPORTED;
	}
	if (!cs->get) {
		add_utf8(out, in);
		return ERR_OK;
	}
	for (size_t i = 0; i < in.len;) {
		/* In pieces, so that the room reserved ahead stays small. */
		size_t n = in.len - i < 4096 ? in.len - i : 4096;
		uint8_t *dst = buf_reserve(out, 3 * n), *p = dst;

		for (size_t k = 0; k < n; k++)
			p += mail_utf8_put(p, cs->get(in.p[i + k]));
		out->len += (size_t)(p - dst);
		i += n;
	}
	return ERR_OK;
}

/* ---- encoded words ---- */

struct word {
	struct span charset, text;
	bool base64;
	size_t len; /* of the whole, "=?" to "?=" */
};

static bool is_token(uint8_t c)
{
	return c > ' ' && c < 0x7f && !memchr("()<>@,;:\"/[]?=", c, 14);
}

/* encoded-word = "=?" charset ["*" language] "?" encoding "?" encoded-text "?=" */
static bool word_parse(struct span s, struct word *w)
{
	ptrdiff_t star;
	size_t i = 2;

	if (s.len < 8 || s.p[0] != '=' || s.p[1] != '?')
		return false;
	while (i < s.len && is_token(s.p[i]))
		i++;
	w->charset = span_of(s.p + 2, i - 2);
	star = span_find(w->charset, '*');
	if (star >= 0)
		w->charset.len = (size_t)star;
	if (w->charset.len == 0 || s.len - i < 5 || s.p[i] != '?' || s.p[i + 2] != '?')
		return false;
	w->base64 = ascii_lower(s.p[i + 1]) == 'b';
	if (!w->base64 && ascii_lower(s.p[i + 1]) != 'q')
		return false;
	i += 3;
	w->text = span_from(s, i);
	while (i < s.len && s.p[i] > ' ' && s.p[i] != '?')
		i++;
	w->text.len = (size_t)(s.p + i - w->text.p);
	if (s.len - i < 2 || s.p[i] != '?' || s.p[i + 1] != '=')
		return false;
	w->len = i + 2;
	return true;
}

/* The decoded bytes of a word. "Q": RFC 2047 4.2. */
static void word_decode(struct buf *out, const struct word *w)
{
	struct span in = w->text;
	uint8_t *dst;

	if (w->base64) {
		mail_body_decode(out, MAIL_ENC_BASE64, in);
		return;
	}
	dst = buf_reserve(out, in.len);
	for (size_t i = 0; i < in.len; i++) {
		int hi = in.p[i] == '=' && in.len - i > 2 ? mail_hex_value(in.p[i + 1]) : -1;
		int lo = hi >= 0 ? mail_hex_value(in.p[i + 2]) : -1;

		if (lo >= 0) {
			*dst++ = (uint8_t)(hi << 4 | lo);
			i += 2;
		} else {
			*dst++ = in.p[i] == '_' ? ' ' : in.p[i];
		}
	}
	out->len = (size_t)(dst - out->p);
}

static void add_unfolded(struct buf *out, struct span in)
{
	for (size_t i = 0; i < in.len; i++) {
		if (in.p[i] != '\r' && in.p[i] != '\n')
			buf_add_u8(out, in.p[i]);
	}
}

void mail_words_decode(struct buf *out, struct span in)
{
	struct buf bytes; /* of neighbouring words of one charset: a character may be cut between
			     two */
	struct span charset = {0};
	bool behind_word = false;
	size_t gap = 0; /* with behind_word: the white space behind it begins here */
	struct word w;

	buf_init(&bytes);
	for (size_t i = 0; i < in.len;) {
		if (in.p[i] == '=' && word_parse(span_from(in, i), &w)) {
			if (bytes.len && !span_ieq(charset, w.charset)) {
				mail_charset_to_utf8(out, charset, buf_span(&bytes));
				bytes.len = 0;
			}
			charset = w.charset;
			word_decode(&bytes, &w);
			i += w.len;
			gap = i;
			behind_word = true;
		} else if (behind_word && mail_is_lws(in.p[i])) {
			/* Goes if another word follows (6.2), stays if not. */
			i++;
		} else {
			if (behind_word) {
				mail_charset_to_utf8(out, charset, buf_span(&bytes));
				bytes.len = 0;
				add_unfolded(out, span_of(in.p + gap, i - gap));
				behind_word = false;
			}
			add_unfolded(out, span_of(in.p + i, 1));
			i++;
		}
	}
	if (behind_word) {
		mail_charset_to_utf8(out, charset, buf_span(&bytes));
		add_unfolded(out, span_from(in, gap));
	}
	buf_fini(&bytes);
}
