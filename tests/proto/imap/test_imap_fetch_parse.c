#include <criterion/criterion.h>
#include <stdio.h>
#include "imap_fetch_parse.h"

static struct arena arena;

static void setup(void)
{
	arena_init(&arena, 1 << 22);
}

static void teardown(void)
{
	arena_reset(&arena);
}

TestSuite(imap_fetch_parse, .init = setup, .fini = teardown);

static enum err parse(struct span text, bool uid, struct imap_fetch_list *l)
{
	struct imap_parser p = imap_parser_of(text, &arena);
	enum err e = imap_fetch_parse(&p, uid, l);

	return e == ERR_OK && !imap_parse_end(&p) ? ERR_SYNTAX : e;
}

static const char *const att_name[IMAP_ATT_N] = {"flags", "uid", "date", "size", "env", "body", "struct", "sec"};
static const char *const need_name[] = {"none", "head", "all"};

/* Items, what they need of the message, whether one is streamed, whether \Seen is set. */
static const struct {
	const char *text, *items, *need;
	bool stream, seen;
} row[] = {
	{"FAST", "flags date size", "none", false, false},
	{"all", "flags date size env", "head", false, false},
	{"FULL", "flags date size env body", "all", false, false},
	{"FLAGS", "flags", "none", false, false},
	{"(FLAGS UID FLAGS)", "flags uid", "none", false, false},
	{"BODY", "body", "all", false, false},
	{"BODYSTRUCTURE", "struct", "all", false, false},
	{"BODY[]", "sec", "none", true, true},
	{"BODY.PEEK[]", "sec", "none", true, false},
	{"BODY.PEEK[]<0.10>", "sec", "none", true, false},
	{"(BODY[] BODY[])", "sec sec", "all", false, true},
	{"(BODY.PEEK[] ENVELOPE)", "sec env", "head", true, false},
	{"(BODY.PEEK[] BODY)", "sec body", "all", false, false},
	{"BODY[HEADER]", "sec", "head", false, true},
	{"BODY.PEEK[HEADER.FIELDS (a \"b\" {1}\r\nc)]", "sec", "head", false, false},
	{"BODY.PEEK[1.2.MIME]", "sec", "all", false, false},
	{"RFC822", "sec", "none", true, true},
	{"RFC822.HEADER", "sec", "head", false, false},
	{"RFC822.TEXT", "sec", "all", false, true},
};

Test(imap_fetch_parse, items)
{
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct imap_fetch_list l;
		char got[256] = "";

		cr_expect_eq(parse(span_str(row[i].text), false, &l), ERR_OK, "%s", row[i].text);
		for (struct imap_fetch_item *it = l.first; it; it = it->next)
			sprintf(got + strlen(got), "%s%s", got[0] ? " " : "", att_name[it->att]);
		cr_expect_str_eq(got, row[i].items, "%s", row[i].text);
		cr_expect_str_eq(need_name[l.need], row[i].need, "%s", row[i].text);
		cr_expect_eq(l.stream != NULL, row[i].stream, "%s", row[i].text);
		cr_expect_eq(l.seen, row[i].seen, "%s", row[i].text);
	}
}

Test(imap_fetch_parse, wrong)
{
	static const char *const text[] = {
		"",          "()",          "(FLAGS",     "FLAGS)",      "(FLAGS  UID)", "(ALL)",        "FOO",
		"BODY[",     "BODY[]<",     "BODY[]<1>",  "BODY[]<1.0>", "BODY[]<.1>",   "BODY[]<1.2",   "BODY[0]",
		"BODY[1.]",  "BODY[.1]",    "BODY[1..2]", "BODY[FOO]",   "BODY[MIME]",   "UID[]",        "RFC822[]",
		"BODY.PEEK", "BODY[TEXT x", "BODY[HEADER.FIELDS]", "BODY[HEADER.FIELDS ()]", "BODY[HEADER.FIELDS (a]",
		"BODY[\"]",  "BODY[HEADER.FIELDS ({3}\r\nab", "BODY[]<4294967296.1>", "BODY[4294967296]",
	};

	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
		struct imap_fetch_list l;

		cr_expect_neq(parse(span_str(text[i]), false, &l), ERR_OK, "%s", text[i]);
	}
}

Test(imap_fetch_parse, uid_is_there_once)
{
	struct imap_fetch_list l;

	cr_assert_eq(parse(SPAN("(FLAGS UID)"), true, &l), ERR_OK);
	cr_expect(l.n == 2 && l.first->att == IMAP_ATT_UID && l.first->next->att == IMAP_ATT_FLAGS);
}

Test(imap_fetch_parse, literal_names)
{
	struct imap_fetch_list l;

	cr_assert_eq(parse(SPAN("BODY[HEADER.FIELDS (a {4}\r\nb\"\\c {1}\r\nd \"e\")]"), false, &l), ERR_OK);
	const struct mail_section *s = l.first->sec;
	cr_assert_eq(s->n_field, 4);
	cr_expect(span_eq(s->field[1], SPAN("b\"\\c")) && span_eq(s->field[2], SPAN("d")));
	cr_expect(span_eq(s->field[3], SPAN("e")));
	/* a literal cannot end the section or the line */
	cr_expect_neq(parse(SPAN("BODY[HEADER.FIELDS ({2}\r\n\r\n)]"), false, &l), ERR_OK);
	cr_assert_eq(parse(SPAN("BODY[HEADER.FIELDS ({2}\r\n)])]"), false, &l), ERR_OK);
	cr_expect(span_eq(l.first->sec->field[0], SPAN(")]")));
}

Test(imap_fetch_parse, limits)
{
	struct imap_fetch_list l;
	struct buf b;

	buf_init(&b);
	buf_add_str(&b, "(");
	for (unsigned i = 0; i <= IMAP_FETCH_ITEM_MAX; i++)
		buf_printf(&b, "%sBODY[%u]", i ? " " : "", i + 1);
	buf_add_str(&b, ")");
	cr_expect_eq(parse(buf_span(&b), false, &l), ERR_TOO_MANY);
	b.len = 0;
	buf_add_str(&b, "BODY[1");
	for (unsigned i = 0; i < 5000; i++)
		buf_add_str(&b, ".1");
	buf_add_str(&b, "]");
	cr_expect_eq(parse(buf_span(&b), false, &l), ERR_TOO_MANY);
	buf_fini(&b);
}
