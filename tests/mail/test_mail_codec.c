/* Tests of mail_codec and mail_charset: the vectors of the RFCs, refusals, bounds, and linear time
 * by counting. */
#include <stdio.h>
#include <criterion/criterion.h>
#include "mail_codec.h"

/* Decodes into memory of exactly that size, so that ASan sees a byte too many. */
static ptrdiff_t b64(struct span in, size_t room, char *got)
{
	uint8_t *out = malloc(room);
	ptrdiff_t n = mail_b64_decode(in, out, room);

	if (n >= 0) {
		memcpy(got, out, (size_t)n);
		got[n] = 0;
	}
	free(out);
	return n;
}

Test(mail_codec, base64)
{
	/* RFC 4648 10 */
	static const char *const rows[][2] = {
		{"", ""},
		{"f", "Zg=="},
		{"fo", "Zm8="},
		{"foo", "Zm9v"},
		{"foob", "Zm9vYg=="},
		{"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"},
	};
	static const char *const bad[] = {
		"Z",	"Zg",	    "Zg=",	"Zg===",    "=",      "====", "A===",
		"Zh==", "Zm9=",	    "Zm8=Zm8=", "Zm 9",	    "Zm9v\n", "Zm9-", "Z=g=",
		"Zg=g", "\r\n\r\n", "Zm9_",	"Zm9v====", "....",
	};
	char text[64];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		size_t n = strlen(rows[i][0]), enc = strlen(rows[i][1]);

		cr_expect(mail_b64_encode(span_str(rows[i][0]), text, enc) == (ptrdiff_t)enc);
		cr_expect(memcmp(text, rows[i][1], enc) == 0);
		cr_expect(enc == 0 || mail_b64_encode(span_str(rows[i][0]), text, enc - 1) == -1);
		cr_expect(b64(span_str(rows[i][1]), n, text) == (ptrdiff_t)n);
		cr_expect_str_eq(text, rows[i][0]);
		cr_expect(n == 0 || b64(span_str(rows[i][1]), n - 1, text) == -1);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_expect(b64(span_str(bad[i]), 60, text) == -1, "%s", bad[i]);
	cr_expect(b64(SPAN("AAA\0"), 3, text) == -1);
	cr_expect(b64(SPAN("AGpvZQBwdw=="), 7, text) == 7 && memcmp(text, "\0joe\0pw", 7) == 0);
	/* All byte values there and back, in all three phases. */
	for (size_t skip = 0; skip < 3; skip++) {
		uint8_t raw[256], back[256];
		char enc[MAIL_B64_ENC_LEN(256)];

		for (size_t i = 0; i < 256; i++)
			raw[i] = (uint8_t)i;
		ptrdiff_t n = mail_b64_encode(span_of(raw, 256 - skip), enc, sizeof(enc));
		cr_assert(n > 0);
		cr_expect(mail_b64_decode(span_of(enc, (size_t)n), back, 256 - skip) ==
			  (ptrdiff_t)(256 - skip));
		cr_expect(memcmp(raw, back, 256 - skip) == 0);
	}
}

static void expect_body(const char *enc, struct span in, const char *want)
{
	struct buf b;

	buf_init(&b);
	mail_body_decode(&b, mail_encoding_of(span_str(enc)), in);
	cr_expect(span_eq(buf_span(&b), span_str(want)), "%s: " SPAN_FMT " not %s", enc,
		  SPAN_ARG(buf_span(&b)), want);
	buf_fini(&b);
}

Test(mail_codec, bodies)
{
	expect_body("", SPAN("a=20b"), "a=20b");
	expect_body("7BIT", SPAN("a=20b"), "a=20b");
	expect_body("x-unknown", SPAN("a=20b"), "a=20b");
	expect_body("Quoted-Printable", SPAN("a=20b=3D\r\nc=\r\nd"), "a b=\r\ncd");
	expect_body(" quoted-printable ", SPAN("a  \t\r\nb=20 \r\nc= \t\r\nd"), "a\r\nb \r\ncd");
	expect_body("quoted-printable", SPAN("a=\nb \nc"), "ab\nc");
	expect_body("quoted-printable", SPAN("=c3=A9=X=4"), "\xc3\xa9=X=4");
	expect_body("quoted-printable", SPAN("a="), "a");
	expect_body("quoted-printable", SPAN("a=\r"), "a");
	expect_body("quoted-printable", SPAN("="), "");
	expect_body("quoted-printable", SPAN("==41=="), "=A=");
	expect_body("base64", SPAN("Zm9v\r\nYmFy\r\n"), "foobar");
	expect_body("base64", SPAN("Zg==Zg=="), "ff");
	expect_body("BASE64", SPAN("Z-m9.v!YmE"), "fooba");
	expect_body("base64", SPAN("Z"), "");
	expect_body("base64", span_of(NULL, 0), "");
	expect_body("quoted-printable", span_of(NULL, 0), "");
}

Test(mail_codec, xtext)
{
	static const char *const rows[][2] = {
		{"", ""},     {"abc", "abc"}, {"a+2Bb+3D", "a+b="}, {"+E2+82+AC", "\xe2\x82\xac"},
		{"+20", " "}, {"+09", "\t"},
	};
	static const char *const bad[] = {
		"+00", "a+00b", "+0D", "+0A", "+0D+0A", "+2b",	"+",   "+2", "+2G", "+G2",
		"a b", "a=b",	"a\r", "a\n", "\x7f",	"\x80", "+ 1", "++", "+-1",
	};
	uint8_t out[64];
	struct buf b;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct span in = span_str(rows[i][0]), want = span_str(rows[i][1]);

		cr_expect(mail_xtext_decode(in, out, want.len) == (ptrdiff_t)want.len, "%s",
			  rows[i][0]);
		cr_expect(span_eq(span_of(out, want.len), want), "%s", rows[i][0]);
		cr_expect(want.len == 0 || mail_xtext_decode(in, out, want.len - 1) == -1);
		buf_init(&b);
		mail_xtext_encode(&b, want);
		cr_expect(span_eq(buf_span(&b), in), "%s", rows[i][0]);
		buf_fini(&b);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_expect(mail_xtext_decode(span_str(bad[i]), out, sizeof(out)) == -1, "%s",
			  bad[i]);
	cr_expect(mail_xtext_decode(SPAN("a\0"), out, sizeof(out)) == -1);
}

Test(mail_codec, mailbox_names)
{
	static const char *const rows[][2] = {
		{"", ""},
		{"INBOX", "INBOX"},
		{"a&-b", "a&b"},
		{"&-&-", "&&"},
		/* RFC 3501 5.1.3 */
		{"~peter/mail/&U,BTFw-/&ZeVnLIqe-",
		 "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
		{"&Jjo-!", "\xe2\x98\xba!"},
		{"Entw&APw-rfe", "Entw\xc3\xbcrfe"},
		{"&2D3eAA-", "\xf0\x9f\x98\x80"},
		{"&AOkA6Q-&-", "\xc3\xa9\xc3\xa9&"},
		{"&AAk-", "\t"},
	};
	static const char *const bad[] = {
		"&",
		"a&",
		"&Jjo",
		"&Jjo!",
		"&U,BTFw-&ZeVnLIqe-", /* RFC 3501: superfluous shift */
		"&AGE-",	      /* 'a' may not be encoded */
		"&ACY-",	      /* nor '&' */
		"&AAA-",	      /* NUL */
		"&2D0-",	      /* half a surrogate */
		"&3gA-",	      /* the other half */
		"&2D0AYQ-",	      /* half, then another */
		"&AOl-",	      /* bits left over */
		"&AOkA-",	      /* too many bits left over */
		"&A-",
		"&AO/pAA-",
		"&=-",
		"\xc3\xa9",
		"a\tb",
		"a\rb",
		"&AOk=-",
	};
	uint8_t out[128];
	char back[128];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct span u7 = span_str(rows[i][0]), u8 = span_str(rows[i][1]);
		ptrdiff_t n = mail_utf7_to_utf8(u7, out, u8.len);

		cr_expect(n == (ptrdiff_t)u8.len && span_eq(span_of(out, u8.len), u8), "%s",
			  rows[i][0]);
		cr_expect(u8.len == 0 || mail_utf7_to_utf8(u7, out, u8.len - 1) == -1, "%s",
			  rows[i][0]);
		n = mail_utf8_to_utf7(u8, back, u7.len);
		cr_expect(n == (ptrdiff_t)u7.len && span_eq(span_of(back, u7.len), u7), "%s",
			  rows[i][0]);
		cr_expect(u7.len == 0 || mail_utf8_to_utf7(u8, back, u7.len - 1) == -1, "%s",
			  rows[i][0]);
		cr_expect(u8.len <= 3 * u7.len && u7.len <= 4 * u8.len + 2);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_expect(mail_utf7_to_utf8(span_str(bad[i]), out, sizeof(out)) == -1, "%s",
			  bad[i]);
	cr_expect(mail_utf7_to_utf8(SPAN("a\0b"), out, sizeof(out)) == -1);
	cr_expect(mail_utf8_to_utf7(SPAN("a\0b"), back, sizeof(back)) == -1);
	cr_expect(mail_utf8_to_utf7(SPAN("\xc3"), back, sizeof(back)) == -1);
	cr_expect(mail_utf8_to_utf7(SPAN("\xed\xa0\x80"), back, sizeof(back)) == -1);
}

/* Every code point that may be in a name goes there and back. */
Test(mail_codec, every_code_point)
{
	for (uint32_t cp = 1; cp <= 0x10ffff; cp++) {
		uint8_t u8[5] = {'x'}, got[8];
		char u7[16];
		size_t n = 1;

		if (cp >= 0xd800 && cp < 0xe000)
			continue;
		if (cp < 0x80) {
			u8[n++] = (uint8_t)cp;
		} else {
			int more = cp < 0x800 ? 1 : cp < 0x10000 ? 2 : 3;

			u8[n++] = (uint8_t)((0xff80 >> more & 0xff) | cp >> 6 * more);
			while (more-- > 0)
				u8[n++] = (uint8_t)(0x80 | (cp >> 6 * more & 63));
		}
		cr_assert(mail_utf8_valid(span_of(u8, n)), "%x", cp);
		ptrdiff_t len = mail_utf8_to_utf7(span_of(u8, n), u7, sizeof(u7));
		cr_assert(len > 0, "%x", cp);
		cr_assert(mail_utf7_to_utf8(span_of(u7, (size_t)len), got, sizeof(got)) ==
				  (ptrdiff_t)n,
			  "%x", cp);
		cr_assert(memcmp(got, u8, n) == 0, "%x", cp);
	}
}

Test(mail_codec, utf8)
{
	static const struct span bad[] = {
		{(const uint8_t *)"\x80", 1},
		{(const uint8_t *)"\xc0\x80", 2},
		{(const uint8_t *)"\xc1\xbf", 2},
		{(const uint8_t *)"\xe0\x80\x80", 3},
		{(const uint8_t *)"\xe0\x9f\xbf", 3},
		{(const uint8_t *)"\xed\xa0\x80", 3},
		{(const uint8_t *)"\xf0\x80\x80\x80", 4},
		{(const uint8_t *)"\xf4\x90\x80\x80", 4},
		{(const uint8_t *)"\xf5\x80\x80\x80", 4},
		{(const uint8_t *)"\xff", 1},
		{(const uint8_t *)"\xe2\x82", 2},
		{(const uint8_t *)"a\xc3", 2},
		{(const uint8_t *)"\xc3\x28", 2},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		uint8_t *p = malloc(bad[i].len);

		memcpy(p, bad[i].p, bad[i].len);
		cr_expect(!mail_utf8_valid(span_of(p, bad[i].len)), "%zu", i);
		free(p);
	}
	cr_expect(mail_utf8_valid(SPAN("")));
	cr_expect(mail_utf8_valid(SPAN("a\0\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf")));
}

static void expect_charset(const char *cs, const char *in, const char *want, enum err err)
{
	struct buf b;

	buf_init(&b);
	cr_expect(mail_charset_to_utf8(&b, span_str(cs), span_str(in)) == err, "%s", cs);
	cr_expect(span_eq(buf_span(&b), span_str(want)), "%s", cs);
	cr_expect(mail_charset_known(span_str(cs)) == (err == ERR_OK));
	buf_fini(&b);
}

Test(mail_codec, charsets)
{
	expect_charset("UTF-8", "a\xc3\xa9\xff\xc3(", "a\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd(", ERR_OK);
	expect_charset("us-ascii", "abc", "abc", ERR_OK);
	expect_charset("ISO-8859-1", "\xe9\xa4", "\xc3\xa9\xc2\xa4", ERR_OK);
	expect_charset("iso-8859-15", "\xe9\xa4\xbc", "\xc3\xa9\xe2\x82\xac\xc5\x92", ERR_OK);
	expect_charset("Windows-1252", "\x80\x93\x81\xe9",
		       "\xe2\x82\xac\xe2\x80\x9c\xef\xbf\xbd\xc3\xa9", ERR_OK);
	expect_charset("koi8-r", "\xc1", "\xc1", ERR_UNSUPPORTED);
	expect_charset("", "x", "x", ERR_UNSUPPORTED);
}

Test(mail_codec, encoded_words)
{
	static const char *const rows[][2] = {
		/* RFC 2047 8 */
		{"=?ISO-8859-1?Q?a?=", "a"},
		{"=?ISO-8859-1?Q?a?= b", "a b"},
		{"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"},
		{"=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab"},
		{"=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab"},
		{"=?ISO-8859-1?Q?a_b?=", "a b"},
		{"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"},
		{"=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"},
		{"=?ISO-8859-1?Q?Andr=E9?= Pirard", "Andr\xc3\xa9 Pirard"},
		{"=?utf-8?b?w6k=?=", "\xc3\xa9"},
		{"=?utf-8?B?ww==?= =?utf-8?B?qQ==?=",
		 "\xc3\xa9"}, /* a character cut between two words */
		{"=?utf-8?q?=5F=3D?=", "_="},
		{"=?utf-8*en?q?x?=", "x"}, /* RFC 2231 5 */
		{"=?utf-8?q?=zz?=", "=zz"},
		{"plain text", "plain text"},
		{"a\r\n b\n\tc", "a b\tc"},
		{"=?utf-8?x?a?=", "=?utf-8?x?a?="},
		{"=?utf-8?q?a b?=", "=?utf-8?q?a b?="},
		{"=?utf-8?q?a", "=?utf-8?q?a"},
		{"=?utf-8?q?a?", "=?utf-8?q?a?"},
		{"=?utf-8?q", "=?utf-8?q"},
		{"=?", "=?"},
		{"=??q?a?=", "=??q?a?="},
		{"=?utf-8?q?a?= ", "a "},
		{"x =?utf-8?q?a?=y", "x ay"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct buf b;
		size_t len = strlen(rows[i][0]);
		char *p = malloc(len);

		memcpy(p, rows[i][0], len);
		buf_init(&b);
		mail_words_decode(&b, span_of(p, len));
		cr_expect(span_eq(buf_span(&b), span_str(rows[i][1])), "%s: " SPAN_FMT, rows[i][0],
			  SPAN_ARG(buf_span(&b)));
		buf_fini(&b);
		free(p);
	}
}

static bool naive(struct span hay, struct span needle)
{
	for (size_t i = 0; i + needle.len <= hay.len; i++) {
		if (span_istarts(span_from(hay, i), needle))
			return true;
	}
	return false;
}

/* Every needle over {a,B} up to length 6 in every text up to length 10. */
Test(mail_codec, contains)
{
	for (size_t nl = 0; nl <= 6; nl++) {
		for (unsigned nk = 0; nk < 1u << nl; nk++) {
			for (size_t hl = 0; hl <= 10; hl++) {
				for (unsigned hk = 0; hk < 1u << hl; hk++) {
					uint8_t n[6], h[10];

					for (size_t i = 0; i < nl; i++)
						n[i] = nk >> i & 1 ? 'B' : 'a';
					for (size_t i = 0; i < hl; i++)
						h[i] = hk >> i & 1 ? 'b' : 'A';
					struct span hay = span_of(h, hl), needle = span_of(n, nl);
					cr_assert(mail_text_contains(hay, needle) ==
						  naive(hay, needle));
				}
			}
		}
	}
	cr_expect(mail_text_contains(SPAN("Stra\xc3\x9f"
					  "e NORD"),
				     SPAN("\xc3\x9f"
					  "E nord")));
	cr_expect(mail_text_contains(SPAN("a\0b"), SPAN("\0B")));
	cr_expect(!mail_text_contains(SPAN("abc"), SPAN("abcd")));
	cr_expect(mail_text_contains(span_of(NULL, 0), span_of(NULL, 0)));
}

/* Texts that make naive search quadratic; these would take minutes. */
Test(mail_codec, contains_is_linear, .timeout = 60)
{
	size_t hay_len = 1 << 20, needle_len = 1 << 19;
	uint8_t *hay = malloc(hay_len), *needle = malloc(needle_len);

	memset(hay, 'a', hay_len);
	memset(needle, 'a', needle_len);
	needle[needle_len - 1] = 'b';
	cr_expect(!mail_text_contains(span_of(hay, hay_len), span_of(needle, needle_len)));
	needle[needle_len - 1] = 'a';
	needle[needle_len / 2] = 'b';
	cr_expect(!mail_text_contains(span_of(hay, hay_len), span_of(needle, needle_len)));
	needle[needle_len / 2] = 'a';
	needle[0] = 'b';
	cr_expect(!mail_text_contains(span_of(hay, hay_len), span_of(needle, needle_len)));
	free(hay);
	free(needle);
}
