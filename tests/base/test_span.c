/* test_span.c: comparisons and conversions of spans, with the empty span (p == NULL) in every table. */
#include <criterion/criterion.h>
#include "span.h"

static const struct span nothing;

Test(span, compares_without_case)
{
	static const struct {
		const char *a, *b;
		bool eq, starts;
	} rows[] = {
		{"", "", true, true},
		{"MAIL", "mail", true, true},
		{"mail from", "MAIL", false, true},
		{"MAI", "MAIL", false, false},
		{"[", "{", false, false}, /* differ in bit 5 only, but are no letters */
		{"@", "`", false, false},
		{"\xc4", "\xe4", false, false}, /* bytes above 127 are not folded */
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct span a = span_str(rows[i].a), b = span_str(rows[i].b);
		cr_expect_eq(span_ieq(a, b), rows[i].eq, "%s %s", rows[i].a, rows[i].b);
		cr_expect_eq(span_istarts(a, b), rows[i].starts, "%s %s", rows[i].a, rows[i].b);
	}
	cr_expect(span_ieq(nothing, SPAN("")));
	cr_expect(span_eq(nothing, nothing));
	cr_expect(span_istarts(SPAN("x"), nothing));
	cr_expect(span_eq(SPAN("a\0b"), SPAN("a\0b")));
	cr_expect_not(span_eq(SPAN("a\0b"), SPAN("a\0c")));
}

Test(span, cuts)
{
	struct span s = SPAN("abcdef");
	cr_expect(span_eq(span_from(s, 2), SPAN("cdef")));
	cr_expect_eq(span_from(s, 7).len, 0);
	cr_expect(span_eq(span_head(s, 2), SPAN("ab")));
	cr_expect(span_eq(span_head(s, 99), s));
	cr_expect_eq(span_find(s, 'a'), 0);
	cr_expect_eq(span_find(s, 'f'), 5);
	cr_expect_eq(span_find(s, 'x'), -1);
	cr_expect_eq(span_find(nothing, 'x'), -1);
	cr_expect(span_eq(span_trim(SPAN(" \t a b\t ")), SPAN("a b")));
	cr_expect_eq(span_trim(SPAN(" \t ")).len, 0);
	cr_expect_eq(span_trim(nothing).len, 0);
}

Test(span, reads_numbers)
{
	static const struct {
		const char *text;
		uint64_t max;
		bool ok;
		uint64_t v;
	} rows[] = {
		{"0", 0, true, 0},
		{"007", 7, true, 7},
		{"7", 6, false, 0},
		{"10", 9, false, 0},
		{"255", 255, true, 255},
		{"256", 255, false, 0},
		{"4294967295", UINT32_MAX, true, UINT32_MAX},
		{"4294967296", UINT32_MAX, false, 0},
		{"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
		{"18446744073709551616", UINT64_MAX, false, 0},
		{"99999999999999999999", UINT64_MAX, false, 0},
		{"", 9, false, 0},
		{"-1", 9, false, 0},
		{"+1", 9, false, 0},
		{" 1", 9, false, 0},
		{"1 ", 9, false, 0},
		{"0x1", 9, false, 0},
		{"1", 0, false, 0},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t v = 0;
		cr_expect_eq(span_u64(span_str(rows[i].text), rows[i].max, &v), rows[i].ok, "%s",
			     rows[i].text);
		cr_expect_eq(v, rows[i].v, "%s", rows[i].text);
	}
}

Test(span, becomes_a_c_string)
{
	char dst[4];
	cr_expect(span_cstr(SPAN("abc"), dst, sizeof(dst)));
	cr_expect_str_eq(dst, "abc");
	cr_expect_not(span_cstr(SPAN("abcd"), dst, sizeof(dst)));
	cr_expect_str_eq(dst, "");
	cr_expect_not(span_cstr(SPAN("a\0b"), dst, sizeof(dst)));
	cr_expect_str_eq(dst, "");
	cr_expect(span_cstr(nothing, dst, sizeof(dst)));
	cr_expect_str_eq(dst, "");
	cr_expect_not(span_cstr(nothing, dst, 0));
}
