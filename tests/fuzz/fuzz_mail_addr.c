/*
 * fuzz_mail_addr.c: paths and ESMTP parameters. The first byte says what is allowed. What is
 * accepted must be clean, within its limits, and read the same when it is written out and parsed
 * again.
 */
#include "check.h"
#include "mail_addr.h"
#include "mail_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void clean(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		CHECK(s.p[i] >= ' ' && s.p[i] != 0x7f);
}

static void accepted(const struct mail_addr *a, uint32_t allow)
{
	char kept[MAIL_ADDR_MAX + 1], folded[MAIL_ADDR_MAX + 1], twice[MAIL_ADDR_MAX + 1];
	size_t n = mail_addr_canon(a, false, kept), m = mail_addr_canon(a, true, folded);
	struct mail_addr again;

	clean(a->local);
	clean(a->domain);
	CHECK(a->local.len <= MAIL_LOCAL_MAX && a->local.len + a->domain.len + 3 <= MAIL_PATH_MAX);
	CHECK(n <= MAIL_ADDR_MAX && m <= n && kept[n] == 0 && folded[m] == 0);
	CHECK(!(a->flags & MAIL_ADDR_NULL) || (allow & MAIL_PATH_NULL_OK && n == 0));
	CHECK(!(a->flags & MAIL_ADDR_UTF8) || allow & MAIL_PATH_UTF8_OK);
	CHECK(a->domain.len || a->flags & (MAIL_ADDR_NULL | MAIL_ADDR_POSTMASTER));
	if (a->flags & MAIL_ADDR_NULL)
		return;
	CHECK(mail_addr_parse(span_of(kept, n), allow, &again) == ERR_OK);
	CHECK(span_eq(again.local, a->local) && span_ieq(again.domain, a->domain));
	CHECK(again.flags == (a->flags & ~(uint32_t)MAIL_ADDR_ROUTE));
	/* The form that accounts are looked up by is a fixed point. */
	CHECK(mail_addr_parse(span_of(folded, m), allow, &again) == ERR_OK);
	CHECK(mail_addr_canon(&again, true, twice) == m && memcmp(folded, twice, m) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mail_addr a;
	struct mail_param p;
	struct span tail, in = span_of(data, size);
	uint32_t allow;
	uint8_t ip[16];
	bool v6;

	if (size == 0)
		return 0;
	allow = data[0] & 7;
	in = span_from(in, 1);
	if (mail_path_parse(in, allow, &a, &tail) == ERR_OK) {
		accepted(&a, allow);
		CHECK(tail.p + tail.len == in.p + in.len);
	} else {
		CHECK(tail.len == 0 && a.local.len == 0);
		tail = in;
	}
	while (mail_param_next(&tail, &p) == ERR_OK) {
		CHECK(p.key.len && (!p.has_value || p.value.len));
		clean(p.key);
		clean(p.value);
	}
	if (mail_addr_parse(in, allow, &a) == ERR_OK)
		accepted(&a, allow);
	mail_literal_parse(in, &v6, ip);
	if (mail_domain_valid(in))
		clean(in);
	return 0;
}
