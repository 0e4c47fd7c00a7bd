#include <criterion/criterion.h>
#include "imap_parse.h"
#include "store.h"

static struct arena arena;

static void setup(void)
{
	arena_init(&arena, 1 << 20);
}

static void teardown(void)
{
	arena_reset(&arena);
}

TestSuite(imap_parse, .init = setup, .fini = teardown);

static struct imap_parser parser(const char *text)
{
	return imap_parser_of(span_str(text), &arena);
}

/* RFC 3501 section 9: what each production takes of a text; NULL: nothing. */
static const struct {
	const char *text, *atom, *astring, *tag, *pattern, *string;
} row[] = {
	{"abc def", "abc", "abc", "abc", "abc", NULL},
	{"a]b", "a", "a]b", "a]b", "a]b", NULL},
	{"a+b", "a+b", "a+b", "a", "a+b", NULL},
	{"a%b*", "a", "a", "a", "a%b*", NULL},
	{"a{", "a", "a", "a", "a", NULL},
	{"\"\" x", NULL, "", NULL, "", ""},
	{"\"a\\\"b\\\\\"", NULL, "a\"b\\", NULL, "a\"b\\", "a\"b\\"},
	{"\"a\\b\"", NULL, NULL, NULL, NULL, NULL},
	{"\"a", NULL, NULL, NULL, NULL, NULL},
	{"\"a\\", NULL, NULL, NULL, NULL, NULL},
	{"\"a\rb\"", NULL, NULL, NULL, NULL, NULL},
	{"\"a\200b\"", NULL, "a\200b", NULL, "a\200b", "a\200b"},
	{"{3}\r\na\"cd", NULL, "a\"c", NULL, "a\"c", "a\"c"},
	{"{3+}\r\n\200\r\n", NULL, "\200\r\n", NULL, "\200\r\n", "\200\r\n"},
	{"{0}\r\n", NULL, "", NULL, "", ""},
	{"{3}\r\nab", NULL, NULL, NULL, NULL, NULL},
	{"{3}ab", NULL, NULL, NULL, NULL, NULL},
	{"{}\r\n", NULL, NULL, NULL, NULL, NULL},
	{"{4294967296}\r\n", NULL, NULL, NULL, NULL, NULL},
	{"", NULL, NULL, NULL, NULL, NULL},
	{"(", NULL, NULL, NULL, NULL, NULL},
	{"\177", NULL, NULL, NULL, NULL, NULL},
	{"\303\251", NULL, NULL, NULL, NULL, NULL},
};

static void check(const char *text, const char *want, bool (*parse)(struct imap_parser *, struct span *))
{
	struct imap_parser p = parser(text);
	struct span got = {0};
	bool ok = parse(&p, &got);

	cr_expect_eq(ok, want != NULL, "%s", text);
	if (ok && want)
		cr_expect(span_eq(got, span_str(want)), "%s: %.*s", text, SPAN_ARG(got));
	if (!ok)
		cr_expect_eq(p.off, 0, "%s moved", text);
}

Test(imap_parse, tokens)
{
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		check(row[i].text, row[i].atom, imap_parse_atom);
		check(row[i].text, row[i].astring, imap_parse_astring);
		check(row[i].text, row[i].tag, imap_parse_tag);
		check(row[i].text, row[i].pattern, imap_parse_pattern);
		check(row[i].text, row[i].string, imap_parse_string);
	}
}

Test(imap_parse, nul)
{
	struct span out;
	struct imap_parser p = imap_parser_of(span_of("\"a\0b\"", 5), &arena);

	cr_expect(!imap_parse_astring(&p, &out));
	p = imap_parser_of(span_of("{3}\r\na\0b", 8), &arena);
	cr_expect(imap_parse_astring(&p, &out) && out.len == 3);
	p = imap_parser_of(span_of("\0", 1), &arena);
	cr_expect(!imap_parse_astring(&p, &out));
}

Test(imap_parse, nstring_and_numbers)
{
	struct imap_parser p = parser("nil NILX 0 4294967295 4294967296");
	struct span s;
	uint32_t n;

	cr_expect(imap_parse_nstring(&p, &s) && s.p == NULL);
	cr_expect(imap_parse_sp(&p) && !imap_parse_nstring(&p, &s));
	cr_expect(imap_parse_word(&p, SPAN("nilx")) && imap_parse_sp(&p));
	cr_expect(imap_parse_u32(&p, &n) && n == 0 && imap_parse_sp(&p));
	cr_expect(imap_parse_u32(&p, &n) && n == UINT32_MAX && imap_parse_sp(&p));
	cr_expect(!imap_parse_u32(&p, &n));
}

static const struct {
	const char *text;
	bool parens, ok, recent;
	uint32_t flags;
	const char *kws;
} flags[] = {
	{"(\\Seen \\DELETED)", true, true, false, STORE_SEEN | STORE_DELETED, ""},
	{"()", true, true, false, 0, ""},
	{"\\Answered \\Flagged \\Draft", false, true, false, STORE_ANSWERED | STORE_FLAGGED | STORE_DRAFT, ""},
	{"\\Answered", true, false, false, 0, ""},
	{"($Forwarded \\Recent NonJunk)", true, true, true, 0, "$Forwarded NonJunk"},
	{"a b c", false, true, false, 0, "a b c"},
	{"(\\Foo)", false, false, false, 0, ""},
	{"(\\)", false, false, false, 0, ""},
	{"(a b", false, false, false, 0, ""},
	{"(a  b)", false, false, false, 0, ""},
	{"( a)", false, false, false, 0, ""},
	{"", false, false, false, 0, ""},
	{"\"a\"", false, false, false, 0, ""},
};

Test(imap_parse, flags)
{
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		struct imap_parser p = parser(flags[i].text);
		struct imap_flags f;
		bool ok = imap_parse_flags(&p, flags[i].parens, &f);

		cr_expect_eq(ok, flags[i].ok, "%s", flags[i].text);
		if (!ok || !flags[i].ok)
			continue;
		cr_expect(imap_parse_end(&p), "%s", flags[i].text);
		cr_expect_eq(f.flags, flags[i].flags, "%s", flags[i].text);
		cr_expect_eq(f.recent, flags[i].recent, "%s", flags[i].text);
		cr_expect(span_eq(f.kws, span_str(flags[i].kws)), "%s", flags[i].text);
	}
}

static const struct {
	const char *line;
	enum imap_literal kind;
	uint64_t len;
} literal[] = {
	{"a LOGIN {3}", IMAP_LITERAL_SYNC, 3},
	{"a LOGIN {3+}", IMAP_LITERAL_PLUS, 3},
	{"{0}", IMAP_LITERAL_SYNC, 0},
	{"{9223372036854775807}", IMAP_LITERAL_SYNC, INT64_MAX},
	{"{9223372036854775808}", IMAP_LITERAL_BAD, 0},
	{"{99999999999999999999999}", IMAP_LITERAL_BAD, 0},
	{"a ~{3}", IMAP_LITERAL_BAD, 0},
	{"{}", IMAP_LITERAL_NONE, 0},
	{"{+}", IMAP_LITERAL_NONE, 0},
	{"3}", IMAP_LITERAL_NONE, 0},
	{"{-3}", IMAP_LITERAL_NONE, 0},
	{"{3-}", IMAP_LITERAL_NONE, 0},
	{"{3} ", IMAP_LITERAL_NONE, 0},
	{"", IMAP_LITERAL_NONE, 0},
	{"}", IMAP_LITERAL_NONE, 0},
};

Test(imap_parse, literals)
{
	for (size_t i = 0; i < sizeof(literal) / sizeof(literal[0]); i++) {
		uint64_t len = 0;

		cr_expect_eq(imap_literal_announced(span_str(literal[i].line), &len), literal[i].kind, "%s",
			     literal[i].line);
		if (literal[i].kind == IMAP_LITERAL_SYNC || literal[i].kind == IMAP_LITERAL_PLUS)
			cr_expect_eq(len, literal[i].len, "%s", literal[i].line);
	}
}
