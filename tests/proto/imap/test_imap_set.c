#include <criterion/criterion.h>
#include <stdio.h>
#include "imap_set.h"

static struct arena arena;
/* UIDs 1, 3, 4, 10, 11, 4000000000 */
static const struct store_ent ent[] = {{.uid = 1},  {.uid = 3},  {.uid = 4},
				       {.uid = 10}, {.uid = 11}, {.uid = 4000000000}};

static void setup(void)
{
	arena_init(&arena, 1 << 22);
}

static void teardown(void)
{
	arena_reset(&arena);
}

TestSuite(imap_set, .init = setup, .fini = teardown);

static void show(const struct imap_set *s, char *out)
{
	out[0] = '\0';
	for (uint32_t i = 0; i < s->n; i++)
		out += sprintf(out, "%s%u-%u", i ? " " : "", s->v[i].lo, s->v[i].hi);
}

/* As indexes; "!" not a set, "-" a number that does not exist. */
static const struct {
	const char *text, *seq, *lenient, *uid;
} row[] = {
	{"1", "0-0", "0-0", "0-0"},
	{"*", "5-5", "5-5", "5-5"},
	{"1:*", "0-5", "0-5", "0-5"},
	{"*:1", "0-5", "0-5", "0-5"},
	{"*:4", "3-5", "3-5", "2-5"},
	{"6:2", "1-5", "1-5", "1-2"},
	{"7", "-", "", ""},
	{"1,7", "-", "0-0", "0-0"},
	{"4:9", "-", "3-5", "2-2"},
	{"9:*", "5-5", "5-5", "3-5"},
	{"3,1,2", "0-2", "0-2", "0-1"},
	{"5,1:3,2:4,6", "0-5", "0-5", "0-2"},
	{"2:3,5", "1-2 4-4", "1-2 4-4", "1-1"},
	{"4294967295", "-", "", ""},
	{"4294967294:4294967295", "-", "", ""},
	{"4000000000:4294967295", "-", "", "5-5"},
	{"0", "!", "!", "!"},
	{"", "!", "!", "!"},
	{"1,", "!", "!", "!"},
	{",1", "!", "!", "!"},
	{"1:", "!", "!", "!"},
	{":1", "!", "!", "!"},
	{"1:2:3", "!", "!", "!"},
	{"1,,2", "!", "!", "!"},
	{"4294967296", "!", "!", "!"},
	{"**", "!", "!", "!"},
	{"1*", "!", "!", "!"},
	{"a", "!", "!", "!"},
};

static void parse(const char *text, struct imap_set *s, enum err *e)
{
	*e = imap_set_parse(span_str(text), &arena, s);
}

Test(imap_set, resolve)
{
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct imap_set s;
		enum err e;
		char got[256];

		parse(row[i].text, &s, &e);
		cr_expect_eq(e != ERR_OK, row[i].seq[0] == '!', "%s", row[i].text);
		if (e != ERR_OK)
			continue;
		e = imap_set_resolve_seq(&s, 6, false);
		show(&s, got);
		cr_expect_str_eq(e == ERR_OK ? got : "-", row[i].seq, "%s by number", row[i].text);
		parse(row[i].text, &s, &e);
		imap_set_resolve_seq(&s, 6, true);
		show(&s, got);
		cr_expect_str_eq(got, row[i].lenient, "%s by number, lenient", row[i].text);
		parse(row[i].text, &s, &e);
		imap_set_resolve_uid(&s, ent, 6);
		show(&s, got);
		cr_expect_str_eq(got, row[i].uid, "%s by UID", row[i].text);
	}
}

Test(imap_set, empty_folder)
{
	static const char *const text[] = {"1:*", "*", "*:7"};

	for (size_t i = 0; i < 3; i++) {
		struct imap_set s;
		enum err e;

		parse(text[i], &s, &e);
		cr_expect_eq(imap_set_resolve_seq(&s, 0, false), ERR_OK, "%s", text[i]);
		cr_expect_eq(s.n, 0, "%s", text[i]);
		parse(text[i], &s, &e);
		imap_set_resolve_uid(&s, ent, 0);
		cr_expect_eq(s.n, 0, "%s", text[i]);
	}
}

Test(imap_set, has_and_uids)
{
	struct imap_set s;
	enum err e;

	parse("1,3:4,6", &s, &e);
	cr_assert_eq(imap_set_resolve_seq(&s, 6, false), ERR_OK);
	for (uint32_t i = 0; i < 8; i++)
		cr_expect_eq(imap_set_has(&s, i), i == 0 || i == 2 || i == 3 || i == 5, "%u", i);
	uint32_t *u = imap_set_uids(&s, ent, &arena);
	cr_assert_eq(s.n, 3);
	cr_expect(u[0] == 1 && u[1] == 1 && u[2] == 4 && u[3] == 10 && u[4] == 4000000000 && u[5] == 4000000000);
}

Test(imap_set, writer)
{
	struct buf b;
	struct imap_set_writer w = {.out = &b};
	static const uint32_t n[] = {1, 2, 3, 7, 9, 10, UINT32_MAX};

	buf_init(&b);
	for (size_t i = 0; i < sizeof(n) / sizeof(n[0]); i++)
		imap_set_put(&w, n[i]);
	imap_set_end(&w);
	cr_expect(span_eq(buf_span(&b), SPAN("1:3,7,9:10,4294967295")), "%.*s", SPAN_ARG(buf_span(&b)));
	buf_fini(&b);
}

/* 30,000 ranges in the worst order: sorted and merged in no time worth measuring. */
Test(imap_set, many, .timeout = 5)
{
	struct buf b;
	struct imap_set s;

	buf_init(&b);
	for (unsigned i = 30000; i > 0; i--)
		buf_printf(&b, "%u%s", i, i > 1 ? "," : "");
	cr_assert_eq(imap_set_parse(buf_span(&b), &arena, &s), ERR_OK);
	cr_assert_eq(imap_set_resolve_seq(&s, 30000, false), ERR_OK);
	cr_expect(s.n == 1 && s.v[0].lo == 0 && s.v[0].hi == 29999);
	buf_fini(&b);
}
