/* Tests of mail_section: the grammar of sections, the numbering of RFC 3501 6.4.5, and filtered
 * headers. */
#include <stdio.h>
#include <criterion/criterion.h>
#include "mail_envelope.h"

#define CRLF "\r\n"

Test(mail_section, grammar)
{
	static const char *const good[][2] = {
		{"", ""},
		{"1", "1"},
		{"1.2.3", "1.2.3"},
		{"4294967295", "4294967295"},
		{"HEADER", "HEADER"},
		{"text", "TEXT"},
		{"1.2.MIME", "1.2.MIME"},
		{"1.HEADER", "1.HEADER"},
		{"1.TEXT", "1.TEXT"},
		{"HEADER.FIELDS (From To)", "HEADER.FIELDS (From To)"},
		{"header.fields.not (\"a b\" X]\"q\\\"\")", NULL},
		{"3.HEADER.FIELDS.NOT (Date)", "3.HEADER.FIELDS.NOT (Date)"},
		{"HEADER.FIELDS (\"From\")", "HEADER.FIELDS (From)"},
	};
	static const char *const bad[] = {
		"0",
		"01",
		"1.",
		"1.0",
		"1..2",
		".1",
		"1a",
		"4294967296",
		"18446744073709551617",
		"MIME",
		"1.MIME ",
		"HEADER ",
		"HEADERS",
		"1.2.FOO",
		"HEADER.FIELDS",
		"HEADER.FIELDS ()",
		"HEADER.FIELDS (From",
		"HEADER.FIELDS (From )",
		"HEADER.FIELDS (From  To)",
		"HEADER.FIELDS(From)",
		"HEADER.FIELDS (\"From)",
		"HEADER.FIELDS (\"From\\",
		"HEADER.FIELDS (a)b",
		"TEXT (a)",
		"HEADER.FIELDS ({4}",
		"HEADER.FIELDS (\"a\r\nb\")",
		" 1",
		"-1",
		"1 ",
		"HEADER.FIELDS (\"a\"b)",
	};
	struct mail_section s;
	struct arena a;
	struct buf b;

	arena_init(&a, 1 << 20);
	buf_init(&b);
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		if (!good[i][1])
			continue;
		cr_expect(mail_section_parse(&a, span_str(good[i][0]), &s) == ERR_OK, "%s",
			  good[i][0]);
		b.len = 0;
		mail_section_write(&b, &s);
		cr_expect(span_eq(buf_span(&b), span_str(good[i][1])), "%s: " SPAN_FMT, good[i][0],
			  SPAN_ARG(buf_span(&b)));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		cr_expect(mail_section_parse(&a, span_str(bad[i]), &s) == ERR_SYNTAX, "%s", bad[i]);
		for (size_t len = 0; len <= strlen(bad[i]); len++) {
			char *p = malloc(len);

			memcpy(p, bad[i], len);
			mail_section_parse(&a, span_of(p, len), &s);
			free(p);
		}
	}
	b.len = 0;
	for (int i = 0; i < 1000; i++)
		buf_add_str(&b, "1.");
	buf_add_str(&b, "1");
	cr_expect(mail_section_parse(&a, buf_span(&b), &s) == ERR_TOO_MANY);
	b.len = 0;
	buf_add_str(&b, "HEADER.FIELDS (a");
	for (int i = 0; i < 1000; i++)
		buf_add_str(&b, " a");
	buf_add_str(&b, ")");
	cr_expect(mail_section_parse(&a, buf_span(&b), &s) == ERR_TOO_MANY);
	buf_fini(&b);
	arena_reset(&a);
	arena_init(&a, 0);
	cr_expect(mail_section_parse(&a, SPAN("HEADER.FIELDS (a)"), &s) == ERR_NO_MEMORY);
	arena_reset(&a);
}

/* The example of RFC 3501 6.4.5: HEADER, TEXT, 1 text/plain, 2 application, 3 message (3.1, 3.2), 4
 * multipart (4.1, 4.2 message) */
static const char message[] =
	"Subject: top" CRLF "X: 1" CRLF "Content-Type: multipart/mixed; boundary=a" CRLF CRLF
	"--a" CRLF CRLF "one" CRLF "--a" CRLF "Content-Type: application/octet-stream" CRLF CRLF
	"two" CRLF "--a" CRLF "Content-Type: message/rfc822" CRLF CRLF "Subject: three" CRLF
	"Content-Type: multipart/mixed; boundary=b" CRLF CRLF "--b" CRLF CRLF "three.one" CRLF
	"--b" CRLF "Content-Type: x/y" CRLF CRLF "three.two" CRLF "--b--" CRLF "--a" CRLF
	"Content-Type: multipart/mixed; boundary=c" CRLF CRLF "--c" CRLF
	"Content-Type: image/gif" CRLF CRLF "four.one" CRLF "--c" CRLF
	"Content-Type: message/rfc822" CRLF CRLF "Subject: four.two" CRLF CRLF "inner" CRLF
	"--c--" CRLF "--a--" CRLF;

static void expect_section(const struct mail_mime *m, const char *section, const char *want)
{
	struct mail_section s;
	struct arena a;
	struct span out;
	enum err err;

	arena_init(&a, 65536);
	cr_assert(mail_section_parse(&a, span_str(section), &s) == ERR_OK, "%s", section);
	err = mail_part_find(m, &s, &a, &out);
	if (want)
		cr_expect(err == ERR_OK && span_eq(out, span_str(want)), "%s: " SPAN_FMT, section,
			  SPAN_ARG(out));
	else
		cr_expect(err == ERR_NOT_FOUND && out.p == NULL, "%s", section);
	arena_reset(&a);
}

Test(mail_section, parts)
{
	struct mail_mime m;
	struct arena a;

	arena_init(&a, 1 << 20);
	cr_assert(mail_mime_parse(&a, span_str(message), &m) == ERR_OK);
	expect_section(&m, "", message);
	expect_section(&m, "HEADER",
		       "Subject: top" CRLF "X: 1" CRLF
		       "Content-Type: multipart/mixed; boundary=a" CRLF CRLF);
	expect_section(&m, "TEXT", strstr(message, CRLF CRLF) + 4);
	expect_section(&m, "HEADER.FIELDS (subject Y)", "Subject: top" CRLF CRLF);
	expect_section(&m, "HEADER.FIELDS (Y)", CRLF);
	expect_section(&m, "HEADER.FIELDS.NOT (Subject content-type)", "X: 1" CRLF CRLF);
	expect_section(&m, "1", "one");
	expect_section(&m, "1.MIME", CRLF);
	expect_section(&m, "2", "two");
	expect_section(&m, "2.MIME", "Content-Type: application/octet-stream" CRLF CRLF);
	expect_section(&m, "2.HEADER", NULL);
	expect_section(&m, "2.TEXT", NULL);
	expect_section(&m, "2.1", NULL);
	expect_section(&m, "3.HEADER",
		       "Subject: three" CRLF "Content-Type: multipart/mixed; boundary=b" CRLF CRLF);
	expect_section(&m, "3.HEADER.FIELDS (Subject)", "Subject: three" CRLF CRLF);
	expect_section(&m, "3.MIME", "Content-Type: message/rfc822" CRLF CRLF);
	expect_section(&m, "3.1", "three.one");
	expect_section(&m, "3.2", "three.two");
	expect_section(&m, "3.2.MIME", "Content-Type: x/y" CRLF CRLF);
	expect_section(&m, "3.3", NULL);
	expect_section(&m, "4.1", "four.one");
	expect_section(&m, "4.1.MIME", "Content-Type: image/gif" CRLF CRLF);
	expect_section(&m, "4.HEADER", NULL);
	expect_section(&m, "4.2", "Subject: four.two" CRLF CRLF "inner");
	expect_section(&m, "4.2.HEADER", "Subject: four.two" CRLF CRLF);
	expect_section(&m, "4.2.TEXT", "inner");
	expect_section(&m, "4.2.1", "inner");
	expect_section(&m, "4.2.1.1", NULL);
	expect_section(&m, "4.2.2", NULL);
	expect_section(&m, "5", NULL);
	expect_section(&m, "4294967295", NULL);
	arena_reset(&a);
}

Test(mail_section, single)
{
	struct mail_mime m;
	struct arena a;

	arena_init(&a, 65536);
	cr_assert(mail_mime_parse(&a, SPAN("A: b" CRLF CRLF "text"), &m) == ERR_OK);
	expect_section(&m, "1", "text");
	expect_section(&m, "1.MIME", "A: b" CRLF CRLF);
	expect_section(&m, "2", NULL);
	expect_section(&m, "1.1", NULL);
	expect_section(&m, "1.HEADER", NULL);
	cr_assert(mail_mime_parse(
			  &a, SPAN("Content-Type: message/rfc822" CRLF CRLF "B: c" CRLF CRLF "in"),
			  &m) == ERR_OK);
	expect_section(&m, "1", "B: c" CRLF CRLF "in");
	expect_section(&m, "1.HEADER", "B: c" CRLF CRLF);
	expect_section(&m, "1.1", "in");
	expect_section(&m, "1.1.1", NULL);
	/* A header with no line end at its end, and none at all. */
	cr_assert(mail_mime_parse(&a, SPAN("A: b"), &m) == ERR_OK);
	expect_section(&m, "HEADER.FIELDS (A)", "A: b" CRLF CRLF);
	expect_section(&m, "TEXT", "");
	cr_assert(mail_mime_parse(&a, SPAN(""), &m) == ERR_OK);
	expect_section(&m, "HEADER", "");
	expect_section(&m, "HEADER.FIELDS.NOT (A)", CRLF);
	expect_section(&m, "1", "");
	arena_reset(&a);
}

Test(mail_section, needs_only_header)
{
	static const char *const rows[][2] = {
		{"HEADER", "y"},
		{"HEADER.FIELDS (A)", "y"},
		{"HEADER.FIELDS.NOT (A)", "y"},
		{"", "n"},
		{"TEXT", "n"},
		{"1.HEADER", "n"},
	};
	struct mail_section s;
	struct arena a;

	arena_init(&a, 1 << 20);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		cr_assert(mail_section_parse(&a, span_str(rows[i][0]), &s) == ERR_OK);
		cr_expect(mail_section_is_header(&s) == (rows[i][1][0] == 'y'), "%s", rows[i][0]);
	}
	arena_reset(&a);
}
