#include <criterion/criterion.h>
#include "imap_search_parse.h"

static struct arena arena;
static struct imap_search search;

static void setup(void)
{
	arena_init(&arena, 1 << 22);
}

static void teardown(void)
{
	arena_reset(&arena);
}

TestSuite(imap_search_parse, .init = setup, .fini = teardown);

static enum err parse(struct span text)
{
	struct imap_parser p = imap_parser_of(text, &arena);

	return imap_search_parse(&p, &search);
}

static const char *const key_name[IMAP_KEY_N] = {
	"&", "|", "!", "flag", "unflag", "new", "old", "kw", "unkw", "before", "on", "since", "larger", "smaller", "older",
	"younger", "seq",
	"uid", "header", "sentbefore", "senton", "sentsince", "body", "text",
};

/* The tree in prefix form: & and, | or, ! not. */
static void show(const struct imap_search_node *n, struct buf *b)
{
	buf_add_str(b, key_name[n->key]);
	if (n->key > IMAP_KEY_NOT)
		return;
	buf_add_str(b, "(");
	for (const struct imap_search_node *k = n->a; k; k = k->next) {
		show(k, b);
		if (k->next)
			buf_add_str(b, " ");
	}
	buf_add_str(b, ")");
}

static const struct {
	const char *text, *tree;
} row[] = {
	{"ALL", "&(&())"},
	{"SEEN ANSWERED", "&(flag flag)"},
	{"UNSEEN NOT DELETED", "&(unflag !(flag))"},
	{"OR SEEN DELETED DRAFT", "&(|(flag flag) flag)"},
	{"OR OR 1 2 3", "&(|(|(seq seq) seq))"},
	{"(SEEN (OLD NEW)) UID 5", "&(&(flag &(old new)) uid)"},
	{"NOT (1:3,* LARGER 5)", "&(!(&(seq larger)))"},
	{"*", "&(seq)"},
	{"RETURN (MIN COUNT) OLDER 5 YOUNGER 7", "&(older younger)"},
	{"RETURN () CHARSET UTF-8 ALL", "&(&())"},
	{"FROM a TEXT {2}\r\n)( BODY \"x y\"", "&(header text body)"},
	{"HEADER x \"\" KEYWORD $a UNKEYWORD b", "&(header kw unkw)"},
	{"BEFORE 1-Feb-1994 ON \"1-Feb-1994\" SINCE 1-feb-1994", "&(before on since)"},
	{"SENTBEFORE 1-Feb-1994 SENTON 01-Feb-1994 SENTSINCE 1-Feb-1994 SMALLER 7",
	 "&(sentbefore senton sentsince smaller)"},
};

Test(imap_search_parse, trees)
{
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct buf b;

		buf_init(&b);
		cr_expect_eq(parse(span_str(row[i].text)), ERR_OK, "%s", row[i].text);
		show(search.root, &b);
		cr_expect(span_eq(buf_span(&b), span_str(row[i].tree)), "%s: %.*s", row[i].text,
			  SPAN_ARG(buf_span(&b)));
		buf_fini(&b);
	}
}

Test(imap_search_parse, wrong)
{
	static const char *const text[] = {
		"",       "FOO",        "SEEN ",      " SEEN",      "SEEN  OLD",   "(",          "()",        "(SEEN",
		"SEEN)",  "NOT",        "OR",         "OR SEEN",    "OR SEEN ",    "FROM",       "FROM ",     "HEADER x",
		"LARGER", "LARGER x",   "LARGER -1",  "UID",        "UID x",       "1,",         "0",         "ON x",
		"ON 1-Foo-1994", "KEYWORD", "KEYWORD (", "CHARSET UTF-8", "CHARSET", "LARGER 4294967296",
		"RETURN ALL", "RETURN (FOO) ALL", "RETURN (ALL)", "RETURN (ALL ALL", "RETURN", "OLDER",
	};

	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++)
		cr_expect_eq(parse(span_str(text[i])), ERR_SYNTAX, "%s", text[i]);
	cr_expect_eq(parse(SPAN("CHARSET KOI99 ALL")), ERR_UNSUPPORTED);
}

Test(imap_search_parse, charset)
{
	cr_assert_eq(parse(SPAN("CHARSET ISO-8859-1 SUBJECT {2}\r\n\xfc\xdf")), ERR_OK);
	cr_expect(span_eq(search.root->a->text, SPAN("\xc3\xbc\xc3\x9f")));
	cr_assert_eq(parse(SPAN("CHARSET utf-8 SUBJECT {2}\r\n\xc3\xbc")), ERR_OK);
	cr_expect(span_eq(search.root->a->text, SPAN("\xc3\xbc")));
}

/* Neither the stack nor time depends on how deep or long a client nests. */
Test(imap_search_parse, bombs, .timeout = 10)
{
	static const char *const bomb[] = {"NOT ", "(", "OR ", "OR SEEN ", "ALL ", "BODY x ", "NOT (", "((("};

	for (size_t i = 0; i < sizeof(bomb) / sizeof(bomb[0]); i++) {
		struct buf b;

		buf_init(&b);
		while (b.len < 65536)
			buf_add_str(&b, bomb[i]);
		cr_expect_eq(parse(buf_span(&b)), ERR_TOO_MANY, "%s", bomb[i]);
		arena_reset(&arena);
		buf_fini(&b);
	}
}
