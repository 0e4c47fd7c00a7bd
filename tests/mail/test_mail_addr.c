/* Tests of mail_addr: paths, parameters and forms of RFC 5321 4.1.2, with what must be refused. */
#include <stdio.h>
#include <criterion/criterion.h>
#include "mail_addr.h"

static void show(char *dst, const struct mail_addr *a, struct span tail)
{
	sprintf(dst, "[" SPAN_FMT "][" SPAN_FMT "]%x[" SPAN_FMT "]", SPAN_ARG(a->local),
		SPAN_ARG(a->domain), a->flags, SPAN_ARG(tail));
}

static const struct {
	const char *in;
	uint32_t allow;
	enum err err;
	const char *want;
} paths[] = {
	{"<>", MAIL_PATH_FROM, ERR_OK, "[][]1[]"},
	{"<>", MAIL_PATH_RCPT, ERR_SYNTAX, NULL},
	{"<> SIZE=1000", MAIL_PATH_FROM, ERR_OK, "[][]1[ SIZE=1000]"},
	{"<a@b>", 0, ERR_OK, "[a][b]0[]"},
	{" <a@b>", 0, ERR_OK, "[a][b]0[]"},
	{"   <a@b> ", 0, ERR_OK, "[a][b]0[ ]"},
	{"<a@b>x", 0, ERR_OK, "[a][b]0[x]"},
	{"<Joe.Q.Public+tag@Example.NET>", 0, ERR_OK, "[Joe.Q.Public+tag][Example.NET]0[]"},
	{"<!#$%&'*+-/=?^_`{|}~@b>", 0, ERR_OK, "[!#$%&'*+-/=?^_`{|}~][b]0[]"},
	{"<\"joe public\"@b>", 0, ERR_OK, "[\"joe public\"][b]2[]"},
	{"<\"a\\\"b\\\\@>\"@b>", 0, ERR_OK, "[\"a\\\"b\\\\@>\"][b]2[]"},
	{"<\"\"@b>", 0, ERR_OK, "[\"\"][b]2[]"},
	{"<a@[192.0.2.1]>", 0, ERR_OK, "[a][[192.0.2.1]]4[]"},
	{"<a@[IPv6:2001:db8::1]>", 0, ERR_OK, "[a][[IPv6:2001:db8::1]]4[]"},
	{"<a@[ipv6:::1]>", 0, ERR_OK, "[a][[ipv6:::1]]4[]"},
	{"<@x,@y.z:a@b>", 0, ERR_OK, "[a][b]8[]"},
	{"<@[192.0.2.1]:a@b>", 0, ERR_OK, "[a][b]8[]"},
	{"<postmaster>", MAIL_PATH_RCPT, ERR_OK, "[postmaster][]10[]"},
	{"<PostMaster> NOTIFY=NEVER", MAIL_PATH_RCPT, ERR_OK, "[PostMaster][]10[ NOTIFY=NEVER]"},
	{"<postmaster>", MAIL_PATH_FROM, ERR_SYNTAX, NULL},
	{"<joe>", MAIL_PATH_RCPT, ERR_SYNTAX, NULL},
	{"<\"postmaster\">", MAIL_PATH_RCPT, ERR_SYNTAX, NULL},
	{"<j\xc3\xb6@b>", MAIL_PATH_UTF8_OK, ERR_OK, "[j\xc3\xb6][b]20[]"},
	{"<a@m\xc3\xbcller.example>", MAIL_PATH_UTF8_OK, ERR_OK, "[a][m\xc3\xbcller.example]20[]"},
	{"<j\xc3\xb6@b>", 0, ERR_SYNTAX, NULL},
	{"<j\xc3@b>", MAIL_PATH_UTF8_OK, ERR_SYNTAX, NULL},
	{"<\"j\xc3\"@b>", MAIL_PATH_UTF8_OK, ERR_SYNTAX, NULL},
	{"", MAIL_PATH_FROM, ERR_SYNTAX, NULL},
	{"<", MAIL_PATH_FROM, ERR_SYNTAX, NULL},
	{">", MAIL_PATH_FROM, ERR_SYNTAX, NULL},
	{"a@b", 0, ERR_SYNTAX, NULL},
	{"<a@b", 0, ERR_SYNTAX, NULL},
	{"<a@>", 0, ERR_SYNTAX, NULL},
	{"<@b>", 0, ERR_SYNTAX, NULL},
	{"<a@b@c>", 0, ERR_SYNTAX, NULL},
	{"<a b@c>", 0, ERR_SYNTAX, NULL},
	{"<.a@c>", 0, ERR_SYNTAX, NULL},
	{"<a.@c>", 0, ERR_SYNTAX, NULL},
	{"<a..b@c>", 0, ERR_SYNTAX, NULL},
	{"<a@c.>", 0, ERR_SYNTAX, NULL},
	{"<a@.c>", 0, ERR_SYNTAX, NULL},
	{"<a@c..d>", 0, ERR_SYNTAX, NULL},
	{"<a@-c>", 0, ERR_SYNTAX, NULL},
	{"<a@c->", 0, ERR_SYNTAX, NULL},
	{"<a@c-.d>", 0, ERR_SYNTAX, NULL},
	{"<a@c d>", 0, ERR_SYNTAX, NULL},
	{"< a@b>", 0, ERR_SYNTAX, NULL},
	{"<a@b >", 0, ERR_SYNTAX, NULL},
	{"<a@[192.0.2]>", 0, ERR_SYNTAX, NULL},
	{"<a@[192.0.2.256]>", 0, ERR_SYNTAX, NULL},
	{"<a@[IPv6:1]>", 0, ERR_SYNTAX, NULL},
	{"<a@[2001:db8::1]>", 0, ERR_SYNTAX, NULL},
	{"<a@[192.0.2.1>", 0, ERR_SYNTAX, NULL},
	{"<a@[]>", 0, ERR_SYNTAX, NULL},
	{"<a@[x]y>", 0, ERR_SYNTAX, NULL},
	{"<\"a@b>", 0, ERR_SYNTAX, NULL},
	{"<\"a\"b@c>", 0, ERR_SYNTAX, NULL},
	{"<b\"a\"@c>", 0, ERR_SYNTAX, NULL},
	{"<\"a\\\x01\"@c>", 0, ERR_SYNTAX, NULL},
	{"<\"a\r\nX: y\"@c>", 0, ERR_SYNTAX, NULL},
	{"<a\n@c>", 0, ERR_SYNTAX, NULL},
	{"<a@c\r>", 0, ERR_SYNTAX, NULL},
	{"<\"a\x7f\"@c>", 0, ERR_SYNTAX, NULL},
	{"<@x:>", MAIL_PATH_FROM, ERR_SYNTAX, NULL},
	{"<@x a@b>", 0, ERR_SYNTAX, NULL},
	{"<@x,:a@b>", 0, ERR_SYNTAX, NULL},
	{"<a(comment)@b>", 0, ERR_SYNTAX, NULL},
	{"\t<a@b>", 0, ERR_SYNTAX, NULL},
};

Test(mail_addr, paths)
{
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		struct mail_addr a;
		struct span tail;
		char got[512];
		enum err err = mail_path_parse(span_str(paths[i].in), paths[i].allow, &a, &tail);

		cr_expect(err == paths[i].err, "%s: %s", paths[i].in, err_name(err));
		if (err)
			continue;
		show(got, &a, tail);
		cr_expect_str_eq(got, paths[i].want, "%s: %s", paths[i].in, got);
	}
}

/* Every prefix of every path, in memory of exact size; a NUL at every offset. */
Test(mail_addr, cut_and_nul)
{
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		for (size_t len = 0; len <= strlen(paths[i].in); len++) {
			uint8_t *p = malloc(len);
			struct mail_addr a;
			struct span tail;

			memcpy(p, paths[i].in, len);
			mail_path_parse(span_of(p, len), 7, &a, &tail);
			if (len) {
				p[len - 1] = 0;
				enum err err = mail_path_parse(span_of(p, len), 7, &a, &tail);
				cr_expect(err || tail.len > 0, "%s at %zu", paths[i].in, len);
			}
			free(p);
		}
	}
	struct mail_addr a;
	struct span tail;
	cr_expect(mail_path_parse(span_of(NULL, 0), 7, &a, &tail) == ERR_SYNTAX);
	cr_expect(mail_path_parse(SPAN("<a\0b@c>"), 7, &a, &tail) == ERR_SYNTAX);
	cr_expect(mail_path_parse(SPAN("<\"a\0b\"@c>"), 7, &a, &tail) == ERR_SYNTAX);
	cr_expect(mail_path_parse(SPAN("<a@[1.2.3.4\0]>"), 7, &a, &tail) == ERR_SYNTAX);
}

static enum err with_lengths(size_t local, size_t domain, bool quoted)
{
	char text[1024] = "<";
	struct mail_addr a;
	struct span tail;
	size_t n = 1;

	for (size_t i = 0; i < local; i++)
		text[n++] = quoted && (i == 0 || i == local - 1) ? '"' : 'l';
	text[n++] = '@';
	for (size_t i = 0; i < domain; i++)
		text[n++] = i % 50 == 49 && i + 1 < domain ? '.' : 'd';
	text[n++] = '>';
	return mail_path_parse(span_of(text, n), 0, &a, &tail);
}

Test(mail_addr, lengths)
{
	cr_expect(with_lengths(64, 10, false) == ERR_OK);
	cr_expect(with_lengths(65, 10, false) == ERR_TOO_LONG);
	cr_expect(with_lengths(64, 10, true) == ERR_OK);
	cr_expect(with_lengths(65, 10, true) == ERR_TOO_LONG);
	cr_expect(with_lengths(1, 252, false) == ERR_OK);
	cr_expect(with_lengths(1, 253, false) == ERR_TOO_LONG);
	cr_expect(with_lengths(1, 256, false) == ERR_TOO_LONG);
	cr_expect(with_lengths(64, 189, false) == ERR_OK);
	cr_expect(with_lengths(64, 190, false) == ERR_TOO_LONG);
	struct mail_addr a;
	struct span tail;
	char label[80] = "<a@";
	memset(label + 3, 'x', 63);
	memcpy(label + 66, ".y>", 4);
	cr_expect(mail_path_parse(span_str(label), 0, &a, &tail) == ERR_OK);
	memcpy(label + 66, "x.y>", 5);
	cr_expect(mail_path_parse(span_str(label), 0, &a, &tail) == ERR_SYNTAX);
}

Test(mail_addr, bare)
{
	struct mail_addr a;

	cr_expect(mail_addr_parse(SPAN("joe@example.net"), 0, &a) == ERR_OK);
	cr_expect(span_eq(a.domain, SPAN("example.net")));
	cr_expect(mail_addr_parse(SPAN("joe@example.net "), 0, &a) == ERR_SYNTAX);
	cr_expect(mail_addr_parse(SPAN("<joe@example.net>"), 0, &a) == ERR_SYNTAX);
	cr_expect(mail_addr_parse(SPAN("joe"), 0, &a) == ERR_SYNTAX);
	cr_expect(mail_addr_parse(SPAN(""), MAIL_PATH_NULL_OK, &a) == ERR_SYNTAX);
}

static void params(const char *in, char *got)
{
	struct span tail = span_str(in);
	struct mail_param p;
	enum err err;

	*got = 0;
	while ((err = mail_param_next(&tail, &p)) == ERR_OK)
		got += sprintf(got, "{" SPAN_FMT "%s" SPAN_FMT "}", SPAN_ARG(p.key),
			       p.has_value ? "=" : "", SPAN_ARG(p.value));
	if (err != ERR_NOT_FOUND)
		strcpy(got, err_name(err));
}

Test(mail_addr, parameters)
{
	static const char *const rows[][2] = {
		{"", ""},
		{" ", ""},
		{" SIZE=1000", "{SIZE=1000}"},
		{"  SIZE=1000  BODY=8BITMIME ", "{SIZE=1000}{BODY=8BITMIME}"},
		{" SMTPUTF8", "{SMTPUTF8}"},
		{" AUTH=<>", "{AUTH=<>}"},
		{" RET=HDRS ENVID=a+2Bb", "{RET=HDRS}{ENVID=a+2Bb}"},
		{" ORCPT=rfc822;joe@x", "{ORCPT=rfc822;joe@x}"},
		{" X-Y=1", "{X-Y=1}"},
		{"SIZE=1", "SYNTAX"},
		{"x", "SYNTAX"},
		{" SIZE=", "SYNTAX"},
		{" =1", "SYNTAX"},
		{" -X=1", "SYNTAX"},
		{" A_B=1", "SYNTAX"},
		{" SIZE=1=2", "{SIZE=1}SYNTAX"},
		{" SIZE=1\t", "SYNTAX"},
		{" SIZE=\x01", "SYNTAX"},
		{" SIZE==", "SYNTAX"},
		{" <a@b>", "SYNTAX"},
		{"\tSIZE=1", "SYNTAX"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char got[512];

		params(rows[i][0], got);
		if (strstr(rows[i][1], "SYNTAX"))
			cr_expect_str_eq(got + (strlen(got) - 6), "SYNTAX", "%s: %s", rows[i][0],
					 got);
		else
			cr_expect_str_eq(got, rows[i][1], "%s: %s", rows[i][0], got);
	}
}

Test(mail_addr, canonical)
{
	static const struct {
		const char *in, *kept, *folded;
	} rows[] = {
		{"Joe@Example.NET", "Joe@example.net", "joe@example.net"},
		{"\"Joe\"@X", "\"Joe\"@x", "joe@x"},
		{"\"J\\oe.Q\"@X", "\"J\\oe.Q\"@x", "joe.q@x"},
		{"\"Joe Q\"@X", "\"Joe Q\"@x", "\"joe q\"@x"},
		{"\"a..b\"@X", "\"a..b\"@x", "\"a..b\"@x"},
		{"\"\"@X", "\"\"@x", "\"\"@x"},
		{"\"\\\"a\\\"\"@X", "\"\\\"a\\\"\"@x", "\"\\\"a\\\"\"@x"},
		{"a@[IPv6:2001:DB8::1]", "a@[ipv6:2001:db8::1]", "a@[ipv6:2001:db8::1]"},
		{"Postmaster", "Postmaster", "postmaster"},
	};
	char dst[MAIL_ADDR_MAX + 1];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct mail_addr a;

		cr_assert(mail_addr_parse(span_str(rows[i].in), MAIL_PATH_RCPT, &a) == ERR_OK, "%s",
			  rows[i].in);
		cr_expect(mail_addr_canon(&a, false, dst) == strlen(rows[i].kept));
		cr_expect_str_eq(dst, rows[i].kept, "%s: %s", rows[i].in, dst);
		cr_expect(mail_addr_canon(&a, true, dst) == strlen(rows[i].folded));
		cr_expect_str_eq(dst, rows[i].folded, "%s: %s", rows[i].in, dst);
	}
	cr_expect(mail_addr_canon(&(struct mail_addr){.flags = MAIL_ADDR_NULL}, true, dst) == 0 &&
		  !*dst);
}

Test(mail_addr, domains_and_literals)
{
	uint8_t ip[16];
	bool v6;

	cr_expect(mail_domain_valid(SPAN("localhost")));
	cr_expect(mail_domain_valid(SPAN("_dmarc.x-y.example")));
	cr_expect(!mail_domain_valid(SPAN("")));
	cr_expect(!mail_domain_valid(SPAN("a.")));
	cr_expect(!mail_domain_valid(SPAN("m\xc3\xbc.example")));
	cr_expect(!mail_domain_valid(SPAN("a b")));
	cr_expect(!mail_domain_valid(SPAN("a\0")));
	cr_expect(mail_literal_parse(SPAN("[192.0.2.1]"), &v6, ip) && !v6 && ip[3] == 1);
	cr_expect(mail_literal_parse(SPAN("[IPv6:::ffff:192.0.2.1]"), &v6, ip) && v6 &&
		  ip[15] == 1);
	cr_expect(!mail_literal_parse(SPAN("["), &v6, ip));
	cr_expect(!mail_literal_parse(SPAN("[IPv6:]"), &v6, ip));
}
