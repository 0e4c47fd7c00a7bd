/* Tests of mail_envelope: ENVELOPE, BODY and BODYSTRUCTURE texts, among them the examples of RFC
 * 3501 and RFC 9051. */
#include <stdio.h>
#include <criterion/criterion.h>
#include "mail_envelope.h"

#define CRLF "\r\n"

static void expect(const char *what, const struct buf *b, const char *want)
{
	cr_expect(span_eq(buf_span(b), span_str(want)), "%s: " SPAN_FMT "\nnot: %s", what,
		  SPAN_ARG(buf_span(b)), want);
}

Test(mail_envelope, strings)
{
	static const struct {
		struct span in;
		const char *nstring, *astring;
	} rows[] = {
		{{NULL, 0}, "NIL", "\"\""},
		{{(const uint8_t *)"", 0}, "\"\"", "\"\""},
		{{(const uint8_t *)"abc", 3}, "\"abc\"", "abc"},
		{{(const uint8_t *)"a b", 3}, "\"a b\"", "\"a b\""},
		{{(const uint8_t *)"nil", 3}, "\"nil\"", "\"nil\""},
		{{(const uint8_t *)"a\tb]", 4}, "\"a\tb]\"", "\"a\tb]\""},
		{{(const uint8_t *)"a]", 2}, "\"a]\"", "a]"},
		{{(const uint8_t *)"a*", 2}, "\"a*\"", "\"a*\""},
		{{(const uint8_t *)"a\"b", 3}, "{3}\r\na\"b", "{3}\r\na\"b"},
		{{(const uint8_t *)"a\\b", 3}, "{3}\r\na\\b", "{3}\r\na\\b"},
		{{(const uint8_t *)"a\r\nb", 4}, "{4}\r\na\r\nb", "{4}\r\na\r\nb"},
		{{(const uint8_t *)"a\0b", 3},
		 "{3}\r\na\x80"
		 "b",
		 "{3}\r\na\x80"
		 "b"},
		{{(const uint8_t *)"\xc3\xa9", 2}, "{2}\r\n\xc3\xa9", "{2}\r\n\xc3\xa9"},
		{{(const uint8_t *)"\x7f", 1}, "{1}\r\n\x7f", "{1}\r\n\x7f"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct buf b;

		buf_init(&b);
		mail_nstring_write(&b, rows[i].in);
		expect("nstring", &b, rows[i].nstring);
		b.len = 0;
		mail_astring_write(&b, rows[i].in);
		expect("astring", &b, rows[i].astring);
		buf_fini(&b);
	}
}

Test(mail_envelope, envelopes)
{
	static const char *const rows[][2] = {
		/* RFC 3501 7.4.2 */
		{"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" CRLF
		 "From: Terry Gray <gray@cac.washington.edu>" CRLF
		 "Subject: IMAP4rev1 WG mtg summary and minutes" CRLF
		 "To: imap@cac.washington.edu" CRLF
		 "cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>" CRLF
		 "Message-Id: <B27397-0100000@cac.washington.edu>" CRLF CRLF,
		 "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and "
		 "minutes\" "
		 "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((\"Terry Gray\" NIL "
		 "\"gray\" \"cac.washington.edu\")) "
		 "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((NIL NIL \"imap\" "
		 "\"cac.washington.edu\")) "
		 "((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" "
		 "\"MIT.EDU\")) NIL NIL "
		 "\"<B27397-0100000@cac.washington.edu>\")"},
		{"", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"},
		{"Subject:" CRLF CRLF, "(NIL \"\" NIL NIL NIL NIL NIL NIL NIL NIL)"},
		{"Subject: a" CRLF " \"b\"" CRLF CRLF,
		 "(NIL {5}\r\na \"b\" NIL NIL NIL NIL NIL NIL NIL NIL)"},
		{"From: a@b" CRLF "Sender: s@b" CRLF "Reply-To:" CRLF CRLF,
		 "(NIL NIL ((NIL NIL \"a\" \"b\")) ((NIL NIL \"s\" \"b\")) ((NIL NIL \"a\" \"b\")) "
		 "NIL NIL NIL NIL NIL)"},
		{"From: a@b" CRLF "From: evil@b" CRLF CRLF,
		 "(NIL NIL ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) "
		 "NIL NIL NIL NIL NIL)"},
		{"To: g: a@b;" CRLF "Bcc: <@x:c@d>" CRLF "In-Reply-To: <1@x>" CRLF CRLF,
		 "(NIL NIL NIL NIL NIL ((NIL NIL \"g\" NIL)(NIL NIL \"a\" \"b\")(NIL NIL NIL NIL)) "
		 "NIL "
		 "((NIL \"@x\" \"c\" \"d\")) \"<1@x>\" NIL)"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct arena a;
		struct buf b;

		arena_init(&a, 1 << 20);
		buf_init(&b);
		mail_envelope_write(&b, &a, span_str(rows[i][0]));
		expect(rows[i][0], &b, rows[i][1]);
		/* An arena with no room at all: still a well-formed answer. */
		arena_reset(&a);
		arena_init(&a, 0);
		b.len = 0;
		mail_envelope_write(&b, &a, span_str(rows[i][0]));
		cr_expect(b.len > 2 && b.p[0] == '(' && b.p[b.len - 1] == ')');
		arena_reset(&a);
		buf_fini(&b);
	}
}

static void structure(struct buf *b, const char *text, bool extended)
{
	struct mail_mime m;
	struct arena a;

	arena_init(&a, 1 << 20);
	cr_assert(mail_mime_parse(&a, span_str(text), &m) == ERR_OK);
	buf_init(b);
	mail_bodystructure_write(b, &a, &m, extended);
	arena_reset(&a);
}

Test(mail_envelope, structures)
{
	static const struct {
		const char *in, *body, *extended;
	} rows[] = {
		{"", "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0)",
		 "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0 NIL NIL NIL "
		 "NIL)"},
		{"Content-Type: TEXT/PLAIN; CHARSET=US-ASCII" CRLF CRLF "ab" CRLF,
		 "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 4 1)",
		 "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 4 1 NIL NIL NIL "
		 "NIL)"},
		{"Content-Type: image/png; name=\"a b\"" CRLF "Content-ID: <x@y>" CRLF
		 "Content-Description: pic" CRLF "Content-Transfer-Encoding: base64" CRLF
		 "Content-MD5: abc=" CRLF "Content-Disposition: attachment; filename=x.png" CRLF
		 "Content-Language: de, en" CRLF "Content-Location: u" CRLF CRLF "AAAA" CRLF,
		 "(\"image\" \"png\" (\"name\" \"a b\") \"<x@y>\" \"pic\" \"base64\" 6)",
		 "(\"image\" \"png\" (\"name\" \"a b\") \"<x@y>\" \"pic\" \"base64\" 6 \"abc=\" "
		 "(\"attachment\" (\"filename\" \"x.png\")) (\"de\" \"en\") \"u\")"},
		{"Content-Type: multipart/mixed; boundary=b" CRLF CRLF "--b" CRLF CRLF "one" CRLF
		 "--b" CRLF "Content-Type: text/html" CRLF CRLF "<p>" CRLF CRLF "--b--" CRLF,
		 "((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 0)(\"text\" "
		 "\"html\" NIL NIL NIL \"7BIT\" 5 1) \"mixed\")",
		 "((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 0 NIL NIL NIL "
		 "NIL)"
		 "(\"text\" \"html\" NIL NIL NIL \"7BIT\" 5 1 NIL NIL NIL NIL) \"mixed\" "
		 "(\"boundary\" \"b\") NIL NIL NIL)"},
		{"Content-Type: multipart/mixed; boundary=b" CRLF CRLF "--b--" CRLF,
		 "((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0) \"mixed\")",
		 "((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0 NIL NIL NIL "
		 "NIL) \"mixed\" (\"boundary\" \"b\") "
		 "NIL NIL NIL)"},
		{"Content-Type: message/rfc822" CRLF CRLF "Subject: in" CRLF CRLF "x" CRLF,
		 "(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 18 (NIL \"in\" NIL NIL NIL NIL NIL "
		 "NIL NIL NIL) "
		 "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 1) 3)",
		 "(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 18 (NIL \"in\" NIL NIL NIL NIL NIL "
		 "NIL NIL NIL) "
		 "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 1 NIL NIL NIL "
		 "NIL) 3 NIL NIL NIL NIL)"},
		{"Content-Type: message/rfc822" CRLF "Content-Transfer-Encoding: base64" CRLF CRLF
		 "AAAA",
		 "(\"APPLICATION\" \"OCTET-STREAM\" NIL NIL NIL \"base64\" 4)",
		 "(\"APPLICATION\" \"OCTET-STREAM\" NIL NIL NIL \"base64\" 4 NIL NIL NIL NIL)"},
		{"Content-Type: a/b; n=\"x\\\"y\"; m=\"\"" CRLF "Content-Disposition: \"\"" CRLF
		 "Content-ID:" CRLF CRLF,
		 "(\"a\" \"b\" (\"n\" {3}\r\nx\"y \"m\" \"\") \"\" NIL \"7BIT\" 0)",
		 "(\"a\" \"b\" (\"n\" {3}\r\nx\"y \"m\" \"\") \"\" NIL \"7BIT\" 0 NIL NIL NIL "
		 "NIL)"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct buf b;

		structure(&b, rows[i].in, false);
		expect(rows[i].in, &b, rows[i].body);
		buf_fini(&b);
		structure(&b, rows[i].in, true);
		expect(rows[i].in, &b, rows[i].extended);
		buf_fini(&b);
	}
}

/* The deepest tree there is: the recursion ends, the parentheses match. */
Test(mail_envelope, deepest)
{
	static const char *const level[] = {"Content-Type: message/rfc822" CRLF CRLF,
					    "Content-Type: multipart/x; boundary=b" CRLF CRLF
					    "--b" CRLF};

	for (size_t i = 0; i < 2; i++) {
		struct buf text, b;
		int depth = 0;

		buf_init(&text);
		for (int k = 0; k < 1000; k++)
			buf_add_str(&text, level[i]);
		buf_add_u8(&text, 0);
		structure(&b, (char *)text.p, true);
		for (size_t k = 0; k < b.len; k++)
			depth += (b.p[k] == '(') - (b.p[k] == ')');
		cr_expect(depth == 0);
		buf_fini(&b);
		buf_fini(&text);
	}
}
