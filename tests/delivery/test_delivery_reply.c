#include <criterion/criterion.h>

#include <stdlib.h>

#include "check.h"
#include "delivery_reply.h"

Test(delivery_reply, lines)
{
	static const struct {
		struct span line;
		enum err e;
		unsigned code;
		struct span rest;
	} row[] = {
		{SPAN("250 ok"), ERR_OK, 250, SPAN("ok")},
		{SPAN("250-ok"), ERR_MORE, 250, SPAN("ok")},
		{SPAN("250"), ERR_OK, 250, SPAN("")},
		{SPAN("250 "), ERR_OK, 250, SPAN("")},
		{SPAN("250-"), ERR_MORE, 250, SPAN("")},
		{SPAN("559 x"), ERR_OK, 559, SPAN("x")},
		{SPAN("560 x"), ERR_SYNTAX, 0, SPAN("")}, /* RFC 5321 4.2: second digit 0..5 */
		{SPAN("199 x"), ERR_SYNTAX, 0, SPAN("")},
		{SPAN("600 x"), ERR_SYNTAX, 0, SPAN("")},
		{SPAN("25"), ERR_SYNTAX, 0, SPAN("")},
		{SPAN(""), ERR_SYNTAX, 0, SPAN("")},
		{SPAN("250+x"), ERR_SYNTAX, 0, SPAN("")},
		{SPAN("2500 x"), ERR_SYNTAX, 0, SPAN("")},
		{SPAN(" 250 x"), ERR_SYNTAX, 0, SPAN("")},
		{SPAN("25\0 x"), ERR_SYNTAX, 0, SPAN("")},
	};
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct reply r;
		struct span rest;
		uint8_t *exact = malloc(row[i].line.len + 1);
		memcpy(exact, row[i].line.p, row[i].line.len);
		reply_init(&r);
		cr_expect_eq(reply_line(&r, span_of(exact, row[i].line.len), &rest), row[i].e, "row %zu", i);
		cr_expect_eq(r.code, row[i].code, "row %zu", i);
		cr_expect(span_eq(rest, row[i].rest), "row %zu", i);
		free(exact);
	}
}

Test(delivery_reply, several_lines)
{
	struct reply r;
	struct span rest;
	reply_init(&r);
	cr_assert_eq(reply_line(&r, SPAN("550-5.1.1 no\tsuch"), &rest), ERR_MORE);
	cr_assert_eq(reply_line(&r, SPAN("550-\xc3\xbc \x07 "), &rest), ERR_MORE);
	cr_assert_eq(reply_line(&r, SPAN("550 user"), &rest), ERR_OK);
	cr_assert(span_eq(reply_text(&r), SPAN("550 5.1.1 no such ??   user")), SPAN_FMT, SPAN_ARG(reply_text(&r)));
	reply_init(&r);
	cr_assert_eq(reply_line(&r, SPAN("250-a"), &rest), ERR_MORE);
	cr_assert_eq(reply_line(&r, SPAN("251 b"), &rest), ERR_SYNTAX, "another code in the middle");
	reply_init(&r);
	for (unsigned i = 0; i < REPLY_LINES_MAX; i++)
		cr_assert_eq(reply_line(&r, SPAN("250-0123456789"), &rest), ERR_MORE);
	cr_assert_leq(r.len, REPLY_TEXT_MAX);
	cr_assert_eq(reply_line(&r, SPAN("250 x"), &rest), ERR_TOO_MANY);
}

Test(delivery_reply, status)
{
	static const struct {
		const char *text, *status;
	} row[] = {
		{"550 5.1.1 no", "5.1.1"}, {"550 5.1.1", "5.1.1"}, {"550 5.123.456 x", "5.123.456"},
		{"550 5.1234.1 x", ""}, {"550 5.1 x", ""}, {"550 no 5.1.1", ""}, {"550 51.1.1 x", ""},
		{"550 5.1.1x", ""}, {"550", ""}, {"", ""}, {"550 5..1", ""}, {"550 5.1.", ""}, {"450 4.2.0", "4.2.0"},
		{"550 1.2.3 x", ""}, {"550 5.1.1.1 x", ""},
	};
	for (size_t i = 0; i < ARRAY_LEN(row); i++)
		cr_expect(span_eq(reply_status(span_str(row[i].text)), span_str(row[i].status)), "row %zu", i);
}

Test(delivery_reply, capabilities)
{
	static const struct {
		const char *line;
		uint32_t caps;
		uint64_t size_max;
	} row[] = {
		{"PIPELINING", CAP_PIPELINING, 0}, {"pipelining", CAP_PIPELINING, 0}, {"PIPELININGX", 0, 0},
		{"SIZE", CAP_SIZE, 0}, {"SIZE 100", CAP_SIZE, 100}, {"SIZE  100 ", CAP_SIZE, 100},
		{"SIZE 99999999999999999999", CAP_SIZE, 0}, {"SIZE -1", CAP_SIZE, 0}, {"SIZE 1 2", CAP_SIZE, 0},
		{"8BITMIME", CAP_8BITMIME, 0}, {"ENHANCEDSTATUSCODES", CAP_ENHANCED, 0}, {"", 0, 0}, {" SIZE 5", 0, 0},
		{"AUTH PLAIN", 0, 0}, {"DSN", CAP_DSN, 0}, {"CHUNKING", CAP_CHUNKING, 0}, {"binarymime", CAP_BINARYMIME, 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct reply_caps c = {0};
		reply_cap(&c, span_str(row[i].line));
		cr_expect_eq(c.caps, row[i].caps, "row %zu", i);
		cr_expect_eq(c.size_max, row[i].size_max, "row %zu", i);
	}
}
