/*
 * Tests of mail_dsn: the report as RFC 3464 and 6522 want it, read back with our own MIME walker,
 * and hostile texts in every field: no line may begin that we did not write.
 */
#include <stdio.h>
#include <criterion/criterion.h>
#include "mail_dsn.h"
#include "mail_mime.h"

#define CRLF "\r\n"

static struct mail_dsn_rcpt rcpt = {
	.original = {(const uint8_t *)"rfc822;joe@example.net", 22},
	.final = {(const uint8_t *)"joe@example.net", 15},
	.status = {(const uint8_t *)"5.1.1", 5},
	.remote_mta = {(const uint8_t *)"mx.example.net", 14},
	.reply = {(const uint8_t *)"550 5.1.1 No such user", 22},
};

static struct mail_dsn report(void)
{
	return (struct mail_dsn){
		.action = MAIL_DSN_FAILED,
		.host = SPAN("mx1.example.org"),
		.to = SPAN("sender@example.com"),
		.id = SPAN("20260101000000.7f3a"),
		.envid = SPAN("QQ314159"),
		.now = {1767225600, 0},
		.arrival = {1767225000, 60},
		.rcpt = &rcpt,
		.n_rcpt = 1,
		.original = SPAN("Received: from x" CRLF "\tby y" CRLF "Subject: hello" CRLF
				 "From: a@b" CRLF CRLF "secret body" CRLF),
	};
}

/* RFC 3461 4.3: all of the message, if it can stand there as it is; else its header. */
Test(mail_dsn, whole_message_only_if_clean)
{
	static const struct {
		struct span text;
		bool whole;
	} row[] = {
		{SPAN("a: b" CRLF CRLF "body\there" CRLF), true}, {SPAN("a: b" CRLF CRLF "no end"), false},
		{SPAN("a: b" CRLF CRLF "gr\xc3\xbcn" CRLF), false}, {SPAN("a: b" CRLF CRLF "bare\nline" CRLF), false},
		{SPAN("a: b" CRLF CRLF "x" CRLF "--=_20260101000000.7f3a--" CRLF), false},
		{SPAN("a: b" CRLF CRLF "nul\0" CRLF), false}, {SPAN("a: b" CRLF CRLF "--other" CRLF), true},
	};
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct mail_dsn d = report();
		struct buf b;

		buf_init(&b);
		d.original = row[i].text;
		d.full = true;
		mail_dsn_write(&b, &d);
		cr_expect_eq(memmem(b.p, b.len, "message/rfc822" CRLF, 16) != NULL, row[i].whole, "%zu", i);
		cr_expect_eq(memmem(b.p, b.len, row[i].text.p, row[i].text.len) != NULL, row[i].whole, "%zu", i);
		buf_fini(&b);
	}
}

Test(mail_dsn, text)
{
	struct mail_dsn d = report();
	struct buf b;

	buf_init(&b);
	mail_dsn_write(&b, &d);
	buf_add_u8(&b, 0);
	cr_expect_str_eq(
		(char *)b.p,
		"From: Mail Delivery System <MAILER-DAEMON@mx1.example.org>" CRLF
		"To: <sender@example.com>" CRLF "Subject: Undelivered mail returned to sender" CRLF
		"Date: Thu, 01 Jan 2026 00:00:00 +0000" CRLF
		"Message-ID: <20260101000000.7f3a@mx1.example.org>" CRLF
		"Auto-Submitted: auto-replied" CRLF "MIME-Version: 1.0" CRLF
		"Content-Type: multipart/report; report-type=delivery-status;" CRLF
		"\tboundary=\"=_20260101000000.7f3a\"" CRLF CRLF
		"This is a delivery report in MIME format." CRLF CRLF "--=_20260101000000.7f3a" CRLF
		"Content-Type: text/plain; charset=us-ascii" CRLF
		"Content-Description: Notification" CRLF CRLF
		"This is the mail system at mx1.example.org." CRLF CRLF
		"Your message could not be delivered to the recipients named below. It" CRLF
		"will not be tried again. The reasons follow, and your message or its" CRLF
		"header is attached." CRLF CRLF "  <joe@example.net>:" CRLF
		"      the host mx.example.net answered:" CRLF
		"      550 5.1.1 No such user" CRLF CRLF "--=_20260101000000.7f3a" CRLF
		"Content-Type: message/delivery-status" CRLF
		"Content-Description: Delivery report" CRLF CRLF
		"Original-Envelope-Id: QQ314159" CRLF "Reporting-MTA: dns; mx1.example.org" CRLF
		"Arrival-Date: Thu, 01 Jan 2026 00:50:00 +0100" CRLF CRLF
		"Original-Recipient: rfc822;joe@example.net" CRLF
		"Final-Recipient: rfc822; joe@example.net" CRLF "Action: failed" CRLF
		"Status: 5.1.1" CRLF "Remote-MTA: dns; mx.example.net" CRLF
		"Diagnostic-Code: smtp; 550 5.1.1 No such user" CRLF CRLF
		"--=_20260101000000.7f3a" CRLF
		"Content-Type: text/rfc822-headers; charset=us-ascii" CRLF
		"Content-Description: Header of the message" CRLF CRLF "Received: from x" CRLF
		" by y" CRLF "Subject: hello" CRLF "From: a@b" CRLF CRLF
		"--=_20260101000000.7f3a--" CRLF,
		"%s", (char *)b.p);
	buf_fini(&b);
}

/* Every line is CRLF, ASCII, printable, at most 998 bytes. Returns the number of lines that begin
 * with a field name. */
static void check_lines(struct span s)
{
	size_t begin = 0;

	cr_assert(s.len > 2 && s.p[s.len - 1] == '\n');
	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.p[i];

		if (c == '\n') {
			cr_assert(i && s.p[i - 1] == '\r');
			cr_assert(i + 1 - begin <= 1000);
			begin = i + 1;
		} else if (c == '\r') {
			cr_assert(s.p[i + 1] == '\n');
		} else {
			cr_assert(c == '\t' || (c >= ' ' && c < 0x7f));
		}
	}
}

static void check_tree(struct span text, size_t n_rcpt)
{
	struct mail_header_iter it;
	struct mail_field f;
	struct mail_mime m;
	struct arena a;
	struct span status;
	size_t fields = 0, groups = 0;

	check_lines(text);
	mail_header_begin(&it, text);
	while (mail_header_next(&it, &f)) {
		fields++;
		cr_assert(!span_ieq(f.name, SPAN("X-Evil")) && !span_ieq(f.name, SPAN("Bcc")));
	}
	cr_assert(fields == 8, "%zu fields", fields);
	arena_init(&a, 1 << 20);
	cr_assert(mail_mime_parse(&a, text, &m) == ERR_OK);
	cr_assert(m.n == 4 && span_ieq(m.part[0].subtype, SPAN("report")));
	cr_assert(span_ieq(m.part[1].subtype, SPAN("plain")) &&
		  span_ieq(m.part[2].subtype, SPAN("delivery-status")) &&
		  span_ieq(m.part[3].subtype, SPAN("rfc822-headers")));
	/* The status part: groups of fields, one for the message and one a recipient; nothing else.
	 */
	status = span_of(text.p + m.part[2].body_off, m.part[2].body_len);
	while (status.len) {
		bool evil = false;

		mail_header_begin(&it, status);
		for (fields = 0; mail_header_next(&it, &f); fields++)
			evil |= span_ieq(f.name, SPAN("X-Evil"));
		cr_assert(!evil && fields >= 1);
		cr_assert(it.body_off > it.off || it.body_off == status.len,
			  "a line that is no field");
		groups++;
		status = span_from(status, it.body_off);
	}
	cr_assert(groups == 1 + n_rcpt);
	arena_reset(&a);
}

static const char *const hostile[] = {
	"\r\nX-Evil: 1",
	"a\r\n\r\nX-Evil: 1\r\n",
	"a\nX-Evil: 1",
	"a\rX-Evil: 1",
	"a\r\n.\r\nMAIL FROM:<x>",
	"\r\n--=_20260101000000.7f3a--\r\n",
	"--=_20260101000000.7f3a--",
	"> <x@y>, <",
	"\x01\x7f\x80\xff\t\v",
	"",
	" ",
	"\r\n",
	"   \r\n   \r\n",
	"%s%n%x",
	";;;",
	"rfc822;\nX-Evil: y",
	"\"\\\"",
	"From x\nFrom y",
};

static struct span long_text(void)
{
	static uint8_t text[20000];

	memset(text, 'x', sizeof(text));
	return span_of(text, sizeof(text));
}

Test(mail_dsn, hostile)
{
	for (size_t i = 0; i < sizeof(hostile) / sizeof(*hostile) + 2; i++) {
		size_t known = sizeof(hostile) / sizeof(*hostile);
		struct span evil = i < known	? span_str(hostile[i])
				   : i == known ? long_text()
						: SPAN("a\0\r\nX-Evil: 1");

		for (int field = 0; field < 12; field++) {
			for (int action = MAIL_DSN_FAILED; action <= MAIL_DSN_EXPANDED; action++) {
				struct mail_dsn d = report();
				struct mail_dsn_rcpt r[2] = {rcpt, rcpt};
				struct span *fields[12] = {
					&d.host,     &d.to,	   &d.envid,
					&d.original, &d.original,  &r[0].original,
					&r[0].final, &r[0].status, &r[0].remote_mta,
					&r[0].reply, &r[0].reason, &r[1].original};
				struct buf b;

				if (field == 0 && (evil.len == 0 || i == known))
					continue;
				*fields[field] = evil;
				d.action = (enum mail_dsn_action)action;
				d.rcpt = r;
				d.n_rcpt = 2;
				r[1].last_attempt = r[1].retry_until = (struct mail_date){1, 0};
				buf_init(&b);
				mail_dsn_write(&b, &d);
				check_tree(buf_span(&b), 2);
				buf_fini(&b);
			}
		}
	}
}

Test(mail_dsn, original_header)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{"", ""},
		{"no header", ""},
		{"A: b\n c\n\nbody", "A: b\r\n c\r\n"},
		{"A: b\r\n \r\n\t\r\nC: d\r\n\r\nbody", "A: b\r\nC: d\r\n"},
		{"--=_20260101000000.7f3a: x\r\nA: b\r\n", "A: b\r\n"},
		{"A: b\rc\r\n", "A: b c\r\n"},
		{"A: \xc3\xa9\r\n", "A: ??\r\n"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct mail_dsn d = report();
		struct mail_mime m;
		struct arena a;
		struct buf b;

		d.original = span_str(rows[i].in);
		buf_init(&b);
		mail_dsn_write(&b, &d);
		arena_init(&a, 1 << 20);
		cr_assert(mail_mime_parse(&a, buf_span(&b), &m) == ERR_OK && m.n == 4);
		struct span body = span_of(b.p + m.part[3].body_off, m.part[3].body_len);
		cr_expect(span_eq(body, span_str(rows[i].want)), "%zu: " SPAN_FMT, i,
			  SPAN_ARG(body));
		arena_reset(&a);
		buf_fini(&b);
	}
	/* Far too long: cut, whatever is in it. */
	struct mail_dsn d = report();
	struct buf b, big;

	buf_init(&b);
	buf_init(&big);
	for (int i = 0; i < 100000; i++)
		buf_printf(&big, i % 7 ? "A: %d\r\n" : "A: %03000d\r\n", i);
	d.original = buf_span(&big);
	mail_dsn_write(&b, &d);
	cr_expect(b.len < 3 * MAIL_DSN_HEADER_MAX);
	check_tree(buf_span(&b), 1);
	buf_fini(&b);
	buf_fini(&big);
}
