/* Tests of mail_header, mail_address and mail_date. */
#include <stdio.h>
#include <criterion/criterion.h>
#include "mail_header.h"

/* Walks a copy of exact size. "name=value|" for each field, then the offset of the body. */
static void walk(struct span in, char *got)
{
	struct mail_header_iter it;
	struct mail_field f;
	uint8_t *p = malloc(in.len);
	size_t at = 0;

	memcpy(p, in.p, in.len);
	*got = 0;
	mail_header_begin(&it, span_of(p, in.len));
	while (mail_header_next(&it, &f)) {
		cr_expect(f.off >= at && f.len > 0 && f.off + f.len <= in.len);
		at = f.off + f.len;
		got += sprintf(got, SPAN_FMT "=" SPAN_FMT "|", SPAN_ARG(f.name), SPAN_ARG(f.value));
	}
	cr_expect(it.body_off >= at && it.body_off <= in.len);
	cr_expect(mail_header_size(span_of(p, in.len)) == it.body_off);
	sprintf(got, "%zu", it.body_off);
	free(p);
}

Test(mail_header, walk)
{
	static const char *const rows[][2] = {
		{"", "0"},
		{"\r\n", "2"},
		{"\n", "1"},
		{"\r\nbody", "2"},
		{"A: b\r\n\r\nbody", "A= b|8"},
		{"A: b\n\nbody", "A= b|6"},
		{"A: b\r\nC:d\r\n\r\n", "A= b|C=d|13"},
		{"A: b", "A= b|4"},
		{"A: b\r\n", "A= b|6"},
		{"A: b\r", "A= b|5"},
		{"A:\r\n\r\n", "A=|6"},
		{"A:", "A=|2"},
		{"A :\tb\r\n\r\n", "A=\tb|9"},
		{"A: b\r\n c\r\n\td\r\n\r\nx", "A= b\r\n c\r\n\td|16"},
		{"A: b\n c\nD: e\n", "A= b\n c|D= e|13"},
		{"A: b\r\n \r\nC: d\r\n\r\n", "A= b\r\n |C= d|17"},
		{"A: b\r\nno field\r\n", "A= b|6"},
		{"A: b\r\nDear Sir: x\r\n", "A= b|6"},
		{"no header at all", "0"},
		{" A: b\r\n", "0"},
		{":b\r\n", "0"},
		{"A\x80: b\r\n", "0"},
		{"From joe Mon Jan 1 10:00:00 2026\nA: b\n\nx", "A= b|39"},
		{">From joe\nA: b\n\nx", "A= b|16"},
		{"From : x\n\n", "From= x|10"},
		{"From joe\n\nx", "10"},
		{"A: b\r\n\r", "A= b|6"},
		{"A: b\r\n\rx\r\n", "A= b|6"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char got[256];

		walk(span_str(rows[i][0]), got);
		cr_expect_str_eq(got, rows[i][1], "%zu %s: %s", i, rows[i][0], got);
		for (size_t len = 0; len <= strlen(rows[i][0]); len++)
			walk(span_of(rows[i][0], len), got);
	}
}

Test(mail_header, find_and_hops)
{
	struct span msg = SPAN("Received: a\r\nreceived : b\r\n c\r\nSUBJECT: x\r\nSubject: "
			       "y\r\n\r\nReceived: z\r\n");
	struct mail_field f;

	cr_expect(mail_header_hops(msg) == 2);
	cr_expect(mail_header_find(msg, SPAN("subject"), &f) && span_eq(f.value, SPAN(" x")));
	cr_expect(!mail_header_find(msg, SPAN("To"), &f) && f.len == 0);
	cr_expect(mail_header_hops(SPAN("")) == 0);
}

Test(mail_header, unfold)
{
	static const char *const rows[][2] = {
		{" a", "a"},	      {" a\r\n b\r\n\tc  ", "a b\tc"}, {"", ""}, {"  ", ""},
		{"a\n b\rc", "a bc"},
	};
	struct arena a;

	arena_init(&a, 65536);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct span s = mail_header_unfold(&a, span_str(rows[i][0]));

		cr_expect(s.p && span_eq(s, span_str(rows[i][1])), "%s", rows[i][0]);
	}
	cr_expect(span_eq(mail_header_unfold(&a, SPAN("a\0b")), SPAN("a b")));
	arena_reset(&a);
	arena_init(&a, 16);
	cr_expect(mail_header_unfold(&a, SPAN("a text that does not fit")).p == NULL);
	arena_reset(&a);
}

/* ---- addresses ---- */

static char *show(char *dst, struct span s)
{
	return dst + (s.p ? sprintf(dst, "'" SPAN_FMT "'", SPAN_ARG(s)) : sprintf(dst, "-"));
}

static void list(struct span in, size_t max, char *got, enum err *err)
{
	struct mail_address *v;
	uint8_t *p = malloc(in.len);
	struct arena a;
	size_t n;

	memcpy(p, in.p, in.len);
	arena_init(&a, 1 << 24);
	*err = mail_address_list(&a, span_of(p, in.len), max, &v, &n);
	*got = 0;
	for (size_t i = 0; i < n; i++) {
		got += sprintf(got, "(");
		got = show(got, v[i].name);
		got = show(got, v[i].adl);
		got = show(got, v[i].mailbox);
		got = show(got, v[i].host);
		got += sprintf(got, ")");
	}
	arena_reset(&a);
	free(p);
}

Test(mail_header, addresses)
{
	static const char *const rows[][2] = {
		{"", ""},
		{"a@b", "(--'a''b')"},
		{" <a@b>", "(--'a''b')"},
		{"Joe <a@b>", "('Joe'-'a''b')"},
		{"Joe Q. Public <john.q.public@example.com>",
		 "('Joe Q. Public'-'john.q.public''example.com')"},
		{"\"Joe \\\"Q\\\" P\" <a@b>", "('Joe \"Q\" P'-'a''b')"},
		{"a@b, c@d", "(--'a''b')(--'c''d')"},
		{"a@b (Joe)", "('Joe'-'a''b')"},
		{"a@b (Joe (really) \\) x)", "('Joe (really) ) x'-'a''b')"},
		{"<a@b> (Joe)", "('Joe'-'a''b')"},
		{"X <a@b> (Joe)", "('X'-'a''b')"},
		{"(c1) a (c2) @ (c3) b (c4)", "('c4'-'a''b')"},
		/* RFC 5322 A.1.3 */
		{"A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
		 "(--'A Group'-)('Ed "
		 "Jones'-'c''a.test')(--'joe''where.test')('John'-'jdoe''one.test')(----)"},
		{"Undisclosed recipients:;", "(--'Undisclosed recipients'-)(----)"},
		{"(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;",
		 "(--'Hidden recipients'-)(----)"},
		{"g: a@b", "(--'g'-)(--'a''b')(----)"},
		{"g: a@b;, c@d", "(--'g'-)(--'a''b')(----)(--'c''d')"},
		{"g: h: a@b;;", "(--'g'-)(--'a''b')(----)"},
		/* A.5 */
		{"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
		 "('Pete'-'pete''silly.test')"},
		/* A.6.1 */
		{"Joe Q. Public <john.q.public@example.com>",
		 "('Joe Q. Public'-'john.q.public''example.com')"},
		{"Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
		 "('Mary Smith''@node.test''mary''example.net')(--'jdoe''test.example')"},
		{"<@a,@b:c@d>", "(-'@a,@b''c''d')"},
		{"john . doe@x", "(--'john.doe''x')"},
		{"\"john doe\"@x", "(--'john doe''x')"},
		{"a@[192.0.2.1]", "(--'a''[192.0.2.1]')"},
		{"joe", "(--'joe''')"},
		{"joe, b@c", "(--'joe''')(--'b''c')"},
		{"<>", "(--'''')"},
		{"a@", "(--'a''')"},
		{"@b", "(--'''b')"},
		{"<a@b", "(--'a''b')"},
		{"\"a", "(--'a''')"},
		{"(unclosed", ""},
		{"a@b c@d", "(--'a''b')(--'c''d')"},
		{"a b c@d", "(--'a b c''d')"},
		{"=?utf-8?q?J=C3=B6?= <a@b>", "('=?utf-8?q?J=C3=B6?='-'a''b')"},
		{",,;;)>]", ""},
		{"a\r\n <a@\r\n\tb>", "('a'-'a''b')"},
		{"J\xc3\xb6 <a@b>", "('J\xc3\xb6'-'a''b')"},
	};
	char got[1024];
	enum err err;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		list(span_str(rows[i][0]), MAIL_ADDRESS_LIST_MAX, got, &err);
		cr_expect_str_eq(got, rows[i][1], "%s: %s", rows[i][0], got);
		cr_expect(err == ERR_OK, "%s", rows[i][0]);
		for (size_t len = 0; len <= strlen(rows[i][0]); len++)
			list(span_of(rows[i][0], len), MAIL_ADDRESS_LIST_MAX, got, &err);
	}
	list(SPAN("\"a\0\r\nX: y\" <b@c>"), 9, got, &err);
	cr_expect_str_eq(got, "('a X: y'-'b''c')");
	list(SPAN("a@b, c@d, e@f"), 2, got, &err);
	cr_expect_str_eq(got, "(--'a''b')(--'c''d')");
	cr_expect(err == ERR_TOO_MANY);
}

/*
 * A pathological text of length n in the same arena that its double needs at most twice of (plus
 * blocks); that the time follows is seen by a cursor that never goes back: a quadratic reader would
 * take minutes for these.
 */
Test(mail_header, addresses_are_linear, .timeout = 60)
{
	static const char *const pattern[] = {"(",  "a@b,", "\"", "<",	 ":",	 "\\", "@",
					      "a ", ". ",   "()", "g:;", "(\\)", ","};
	size_t len = 1 << 20;
	uint8_t *p = malloc(len);

	for (size_t i = 0; i < sizeof(pattern) / sizeof(*pattern); i++) {
		struct mail_address *v;
		struct arena a;
		size_t n;

		for (size_t k = 0; k < len; k++)
			p[k] = (uint8_t)pattern[i][k % strlen(pattern[i])];
		arena_init(&a, 8 << 20);
		mail_address_list(&a, span_of(p, len), MAIL_ADDRESS_LIST_MAX, &v, &n);
		cr_expect(n <= MAIL_ADDRESS_LIST_MAX);
		arena_reset(&a);
	}
	free(p);
}

/* ---- dates ---- */

Test(mail_header, dates)
{
	static const struct {
		const char *in, *iso;
	} rows[] = {
		{"Fri, 21 Nov 1997 09:55:06 -0600", "1997-11-21T09:55:06-06:00"},
		{"Tue, 1 Jul 2003 10:52:37 +0200", "2003-07-01T10:52:37+02:00"},
		{"Thu, 13 Feb 1969 23:32:54 -0330", "1969-02-13T23:32:54-03:30"},
		{"Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n             "
		 "  -0330 (Newfoundland Time)",
		 "1969-02-13T23:32:00-03:30"},
		{"Fri, 21 Nov 97 09:55:06 GMT", "1997-11-21T09:55:06Z"},
		{"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", "1997-11-21T09:55:06-06:00"},
		{"21 Nov 97 09:55 EST", "1997-11-21T09:55:00-05:00"},
		{"21 Nov 03 09:55:06 pdt", "2003-11-21T09:55:06-07:00"},
		{"21 Nov 103 09:55:06 Z", "2003-11-21T09:55:06Z"},
		{"1 Jan 2026 00:00:00 +0000", "2026-01-01T00:00:00Z"},
		{"1 Jan 2026 00:00:00 XYZ", "2026-01-01T00:00:00Z"},
		{"1 Jan 2026 00:00:00", "2026-01-01T00:00:00Z"},
		{"1 Jan 2026", "2026-01-01T00:00:00Z"},
		{"1-Jan-2026 10:00:00 +0000", "2026-01-01T10:00:00Z"},
		{"29 Feb 2024 00:00:00 +0000", "2024-02-29T00:00:00Z"},
		{"31 Dec 1998 23:59:60 +0000", "1999-01-01T00:00:00Z"},
		{"1 January 2026 1:2:3 +0000", "2026-01-01T01:02:03Z"},
		{"1 Jan 2026 00:00:00 +9959", "2026-01-01T00:00:00+99:59"},
		{"", NULL},
		{"yesterday", NULL},
		{"Mon, 32 Jan 2026 00:00:00 +0000", NULL},
		{"Mon, 0 Jan 2026 00:00:00 +0000", NULL},
		{"29 Feb 2025 00:00:00 +0000", NULL},
		{"29 Feb 1900 00:00:00 +0000", NULL},
		{"1 Foo 2026 00:00:00 +0000", NULL},
		{"1 Jan 2026 24:00:00 +0000", NULL},
		{"1 Jan 2026 00:60:00 +0000", NULL},
		{"1 Jan 2026 00:00:61 +0000", NULL},
		{"1 Jan 2026 00:00:00 +00", NULL},
		{"1 Jan 2026 00:00:00 +0060", NULL},
		{"1 Jan 2026 00 +0000", NULL},
		{"1 Jan", NULL},
		{"((((((", NULL},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char got[MAIL_DATE_MAX];
		struct mail_date d;
		enum err err = mail_date_parse(span_str(rows[i].in), &d);

		cr_expect(err == (rows[i].iso ? ERR_OK : ERR_SYNTAX), "%s", rows[i].in);
		if (!err) {
			mail_date_iso8601(d, got);
			cr_expect_str_eq(got, rows[i].iso, "%s: %s", rows[i].in, got);
		}
		for (size_t len = 0; len <= strlen(rows[i].in); len++) {
			char *p = malloc(len);

			memcpy(p, rows[i].in, len);
			mail_date_parse(span_of(p, len), &d);
			free(p);
		}
	}
}

Test(mail_header, date_forms)
{
	struct mail_date d = {1767225600, 0};
	char got[MAIL_DATE_MAX];

	cr_expect(mail_date_rfc5322(d, got) == 31);
	cr_expect_str_eq(got, "Thu, 01 Jan 2026 00:00:00 +0000");
	cr_expect(mail_date_internal(d, got) == 26);
	cr_expect_str_eq(got, " 1-Jan-2026 00:00:00 +0000");
	cr_expect(mail_date_iso8601(d, got) == 20);
	cr_expect_str_eq(got, "2026-01-01T00:00:00Z");
	mail_date_rfc5322((struct mail_date){0, -90}, got);
	cr_expect_str_eq(got, "Wed, 31 Dec 1969 22:30:00 -0130");
	/* Out of any range: brought into it, four digits, no overrun. */
	mail_date_rfc5322((struct mail_date){INT64_MAX, INT32_MAX}, got);
	cr_expect(strlen(got) == 31);
	mail_date_internal((struct mail_date){INT64_MIN, INT32_MIN}, got);
	cr_expect(strlen(got) == 26);
	/* Every day of 800 years there and back, in all forms; the weekday goes on by one. */
	size_t weekday = 0;
	for (int64_t day = -150000; day < 150000; day++) {
		static const char names[] = "SunMonTueWedThuFriSat";
		struct mail_date back, in = {day * 86400 + 3661, (int32_t)(day % 900)};

		mail_date_rfc5322((struct mail_date){day * 86400, 0}, got);
		if (day == -150000)
			weekday = (size_t)(strstr(names, (char[4]){got[0], got[1], got[2], 0}) -
					   names) /
				  3;
		cr_assert(memcmp(got, names + 3 * (weekday++ % 7), 3) == 0);
		mail_date_rfc5322(in, got);
		cr_assert(mail_date_parse(span_str(got), &back) == ERR_OK, "%s", got);
		cr_assert(back.unix_s == in.unix_s && back.zone_min == in.zone_min, "%s", got);
		mail_date_internal(in, got);
		cr_assert(mail_date_internal_parse(span_str(got), &back) == ERR_OK, "%s", got);
		cr_assert(back.unix_s == in.unix_s && back.zone_min == in.zone_min, "%s", got);
	}
}

Test(mail_header, imap_dates)
{
	static const char *const good[] = {
		" 1-Feb-1994 21:52:25 -0800",
		"\"17-Jul-1996 02:44:25 -0700\"",
		"01-feb-1994 21:52:25 -0800",
		"1-Feb-1994 21:52:25 -0800",
	};
	static const char *const bad[] = {
		"",
		"\"",
		"\"\"",
		"1-Feb-1994",
		"1-Feb-94 21:52:25 -0800",
		"1-Feb-1994 21:52:25",
		"1-Feb-1994 21:52:25 PST",
		"31-Feb-1994 21:52:25 -0800",
		"1-Feb-1994 21:52:25 -0800x",
		"1-Feb-1994 1:52:25 -0800",
		"1-Feb-1994  21:52:25 -0800",
		"0-Feb-1994 21:52:25 -0800",
		"1 Feb 1994 21:52:25 -0800",
	};
	struct mail_date d;
	int64_t day;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		cr_expect(mail_date_internal_parse(span_str(good[i]), &d) == ERR_OK, "%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_expect(mail_date_internal_parse(span_str(bad[i]), &d) == ERR_SYNTAX, "%s",
			  bad[i]);
	cr_expect(mail_date_day_parse(SPAN("1-Jan-1970"), &day) == ERR_OK && day == 0);
	cr_expect(mail_date_day_parse(SPAN("\"31-Dec-1969\""), &day) == ERR_OK && day == -1);
	cr_expect(mail_date_day_parse(SPAN("1-Jan-70"), &day) == ERR_SYNTAX);
	cr_expect(mail_date_day_parse(SPAN("1-Jan-1970 "), &day) == ERR_SYNTAX);
	cr_expect(mail_date_day((struct mail_date){-1, 0}) == -1);
	cr_expect(mail_date_day((struct mail_date){-1, 60}) == 0);
	cr_expect(mail_date_day((struct mail_date){86399, -1}) == 0);
}
