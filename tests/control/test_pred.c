/* test_pred.c: expressions against rows: what matches, what is refused and where. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "check.h"
#include "pred.h"

#define NOW 1000000000000ull

struct row {
	const char *name;
	const char *rcpt[3];
	uint64_t n, id, us, since, until;
	bool flag;
	const char *peer;
};

#define GET(f) static bool get_##f(const void *r, unsigned i, union pred_value *v) { v->n = ((const struct row *)r)->f; return i == 0; }
GET(n)
GET(id)
GET(us)
GET(since)
GET(until)
GET(flag)

static bool get_name(const void *r, unsigned i, union pred_value *v)
{
	v->s = span_str(((const struct row *)r)->name);
	return i == 0;
}

static bool get_rcpt(const void *r, unsigned i, union pred_value *v)
{
	const struct row *w = r;
	if (i == ARRAY_LEN(w->rcpt) || w->rcpt[i] == NULL)
		return false;
	v->s = span_str(w->rcpt[i]);
	return true;
}

static bool get_peer(const void *r, unsigned i, union pred_value *v)
{
	cr_assert(ip_parse(span_str(((const struct row *)r)->peer), &v->addr));
	return i == 0;
}

static const struct pred_field fields[] = {
	{"name", PRED_TEXT, get_name, ""},   {"rcpt", PRED_TEXT, get_rcpt, ""},    {"n", PRED_NUMBER, get_n, ""},
	{"id", PRED_HEX, get_id, ""},        {"rtt", PRED_TIME, get_us, ""},       {"age", PRED_AGE, get_since, ""},
	{"due", PRED_UNTIL, get_until, ""},  {"flag", PRED_FLAG, get_flag, ""},    {"peer", PRED_ADDR, get_peer, ""},
};

static const struct row the_row = {
	.name = "Alice@Example.NET", .rcpt = {"a@x.org", "b@y.org"}, .n = 2048, .id = 0xabc, .us = 1500, .since = NOW - 7200000000ull,
	.until = NOW + 60000000, .flag = true, .peer = "198.18.0.9",
};

static enum err parse(struct pred *p, const char *text, char *why)
{
	return pred_parse(p, span_str(text), fields, ARRAY_LEN(fields), NOW, why, 200);
}

Test(pred, matches)
{
	static const struct {
		const char *text;
		bool yes;
	} rows[] = {
		{"", true}, {"  \t ", true},
		{"name=alice@example.net", true}, {"name = *@example.net", true}, {"name=*@xample.net", false},
		{"name=*", true}, {"name=a*e*n*t", true}, {"name=", false}, {"name=\"\"", false}, {"name!=\"\"", true},
		{"name~EXAMPLE", true}, {"name~\"\"", true}, {"name !~ org", true}, {"name~x.o", false}, {"name", true},
		{"rcpt=b@y.org", true}, {"rcpt=*@z.org", false}, {"rcpt!=b@y.org", false}, {"rcpt!=c@y.org", true},
		{"n=2048", true}, {"n=2K", true}, {"n<2k", false}, {"n<=2k", true}, {"n>1", true}, {"n>=1G", false}, {"n!=3", true},
		{"n", true}, {"n==2048", true},
		{"id=ABC", true}, {"id=0000000000000abc", true}, {"id!=abc", false},
		{"rtt>1ms", true}, {"rtt<1500us", false}, {"rtt=0", false}, {"rtt<2s", true},
		{"age>1h", true}, {"age>2h", false}, {"age=2h", true}, {"age<1d", true}, {"due<=60s", true}, {"due>1m", false},
		{"flag", true}, {"not flag", false}, {"flag=no", false}, {"flag!=no", true}, {"flag=YES", true},
		{"peer=198.18.0.9", true}, {"peer=198.18.0.0/24", true}, {"peer=198.18.1.0/24", false}, {"peer!=fd00::/8", true},
		{"peer", true},
		{"n=1 or n=2048", true}, {"n=1 and flag or flag", true}, {"n=1 and (flag or flag)", false},
		{"flag or n=1 and n=2", true}, {"(flag or n=1) and n=2", false}, {"not (n=1 or n=2)", true}, {"not not flag", true},
		{"NOT n=1 AND Flag", true}, {"not n=1 and not flag", false}, {"name~\"li\\ce\"", true}, {"name=\"a\\\"b\"", false},
	};
	static struct pred p;
	char why[200];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		enum err e = parse(&p, rows[i].text, why);
		if (rows[i].text[0] != '\0' && strcmp(rows[i].text, "name=") == 0) {
			cr_expect_eq(e, ERR_SYNTAX);
			continue;
		}
		cr_assert_eq(e, ERR_OK, "%s: %s", rows[i].text, why);
		cr_expect_eq(pred_match(&p, &the_row), rows[i].yes, "%s", rows[i].text);
	}
	/* no value at all: nothing equals it */
	static const struct row none = {.name = "", .peer = "::"};
	static const struct {
		const char *text;
		bool yes;
	} empty[] = {{"rcpt", false}, {"rcpt=*", false}, {"rcpt!=a", true}, {"rcpt!~a", true}, {"name", false}, {"n", false},
		     {"peer", false}, {"age>1h", true}, {"due=0", true}};
	for (size_t i = 0; i < ARRAY_LEN(empty); i++) {
		cr_assert_eq(parse(&p, empty[i].text, why), ERR_OK, "%s", empty[i].text);
		cr_expect_eq(pred_match(&p, &none), empty[i].yes, "%s", empty[i].text);
	}
}

Test(pred, refusals)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{"nosuch=1", "no field 'nosuch'"}, {"n=", "a value is missing"}, {"n=x", "a number"}, {"n=99999999999999999999", "a number"},
		{"n=17179869184G", "a number"}, {"rtt=5", "a time"}, {"rtt=5w", "a time"}, {"id=xyz", "hexadecimal"},
		{"id=11112222333344445", "hexadecimal"}, {"peer=300.1.1.1", "an address"}, {"peer<1.2.3.4", "not for"}, {"name<a", "not for"},
		{"n~1", "not for"}, {"flag=maybe", "yes or no"}, {"(n=1", "')' is missing"}, {"n=1)", "'and' or 'or'"},
		{"n=1 n=2", "'and' or 'or'"}, {"name=\"abc", "closing quote"}, {"name=\"abc\\", "closing quote"}, {"and", "no field"},
		{"n=1 and", "a field is missing"}, {"not", "a field is missing"}, {"=1", "a field is missing"}, {"()", "a field is missing"},
		{"((((((((((((((((n=1))))))))))))))))", "nested too deeply"},
		{"not not not not not not not not not not not not not not not not n=1", "nested too deeply"},
	};
	static struct pred p;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char why[200] = "";
		cr_expect_neq(parse(&p, rows[i].text, why), ERR_OK, "%s", rows[i].text);
		cr_expect_not_null(strstr(why, rows[i].why), "%s: %s", rows[i].text, why);
	}
	char big[PRED_TEXT_MAX + 1], why[200];
	memset(big, ' ', sizeof(big));
	cr_assert_eq(pred_parse(&p, span_of(big, PRED_TEXT_MAX), fields, ARRAY_LEN(fields), NOW, why, sizeof(why)), ERR_TOO_LONG);
	size_t at = 0;
	for (unsigned i = 0; i < 40; i++)
		at += (size_t)snprintf(big + at, sizeof(big) - at, "%sn=%u", i > 0 ? " or " : "", i);
	cr_assert_eq(parse(&p, big, why), ERR_TOO_MANY);
}
