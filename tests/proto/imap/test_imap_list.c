#include <criterion/criterion.h>
#include "imap_int.h"

/* RFC 3501 6.3.8 */
static const struct {
	const char *pattern, *name;
	bool match;
} row[] = {
	{"*", "a", true},
	{"*", "a/b/c", true},
	{"%", "a", true},
	{"%", "a/b", false},
	{"%/%", "a/b", true},
	{"%/%", "a/b/c", false},
	{"a*", "a/b/c", true},
	{"a%", "a/b", false},
	{"a%", "abc", true},
	{"*c", "a/b/c", true},
	{"%c", "abc", true},
	{"*/c", "c", false},
	{"%b*", "a/b", false},
	{"*%*", "a/b/c", true},
	{"%*%", "a/b", true},
	{"%%", "a/b", false},
	{"a*b*c", "aXbYc", true},
	{"a*b*c", "aXcYb", false},
	{"a%b%c", "a1b2c", true},
	{"a%b%c", "a1/b2c", false},
	{"*a%b", "x/a1/a2b", true},
	{"", "a", false},
	{"", "", true},
	{"a", "A", false},
	{"inbox", "INBOX", true},
	{"iNb%", "INBOX", true},
	{"inbox/*", "INBOX/x", true},
	{"inbox/X", "INBOX/x", false},
	{"inbox*", "INBOXES", false},
	{"*OX", "INBOX", true},
	{"*ox", "INBOX", true},
	{"&ZeVnLIqe-/%", "&ZeVnLIqe-/a b", true},
};

Test(imap_list, match)
{
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++)
		cr_expect_eq(imap_list_match(span_str(row[i].pattern), span_str(row[i].name)), row[i].match, "%s %s",
			     row[i].pattern, row[i].name);
}

/* The plain definition, by trying everything: the oracle. */
static bool slow(const char *p, const char *n)
{
	if (!*p)
		return !*n;
	if (*p == '*' || *p == '%')
		return slow(p + 1, n) || (*n && (*p == '*' || *n != '/') && slow(p, n + 1));
	return *n == *p && slow(p + 1, n + 1);
}

/* All patterns of up to 5 and all names of up to 5 of a few characters. */
Test(imap_list, oracle)
{
	static const char pc[] = "a/*%", nc[] = "ab/";
	char p[6], n[6];

	for (unsigned i = 0; i < 1024 + 256; i++) {
		unsigned x = i, lp = i < 1024 ? 5 : 4;

		for (unsigned k = 0; k < lp; k++, x /= 4)
			p[k] = pc[x % 4];
		p[lp] = '\0';
		for (unsigned j = 0; j < 243; j++) {
			unsigned y = j;

			for (unsigned k = 0; k < 5; k++, y /= 3)
				n[k] = nc[y % 3];
			n[5] = '\0';
			cr_assert_eq(imap_list_match(span_str(p), span_str(n)), slow(p, n), "%s %s", p, n);
		}
	}
}

/* What makes a backtracking matcher take for ever. */
Test(imap_list, linear, .timeout = 5)
{
	char p[500], n[4000];

	for (unsigned i = 0; i < sizeof(p); i += 2)
		memcpy(p + i, "*a", 2);
	p[sizeof(p) - 1] = 'b';
	memset(n, 'a', sizeof(n));
	for (unsigned i = 0; i < 20; i++)
		cr_expect(!imap_list_match(span_of(p, sizeof(p)), span_of(n, sizeof(n))));
}
