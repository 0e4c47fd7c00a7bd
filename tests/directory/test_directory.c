#include <criterion/criterion.h>

#include "directory.h"
#include "fake_store.h"

static struct conf_domain domains[] = {{"first.example", true}, {"second.example", true}, {"relayed.example", false},
				       {"nowhere.example", false}};
static struct conf_route routes[] = {
	{.pattern = "relayed.example", .port = 1}, {.pattern = "*.deep.example", .port = 2},
	{.pattern = "x.deep.example", .port = 3}, {.pattern = "routed.example", .port = 4},
	{.pattern = "second.example", .port = 5},
};
static struct ip_prefix relay_from[2];
static struct conf conf = {.n_domain = 4, .domain = domains, .n_route = 5, .route = routes, .n_relay_from = 2,
			   .relay_from = relay_from};

static struct store *open_store(void)
{
	struct store *s = NULL;
	struct store_conf sc = {.n_cores = 1, .ops_per_core = 4, .cpu = -1};
	char why[100];
	cr_assert_eq(store_open(&s, &sc, why, sizeof(why)), ERR_OK);
	return s;
}

static struct ip_addr addr(const char *s)
{
	struct ip_addr a;
	cr_assert(ip_parse(span_str(s), &a), "%s", s);
	return a;
}

Test(directory, resolve)
{
	struct store *s = open_store();
	uint64_t joe = fake_store_account(s, "joe@first.example", "x");
	uint64_t admin = fake_store_account(s, "postmaster@first.example", "*");
	uint64_t root = fake_store_account(s, "postmaster@second.example", "*");
	uint64_t quoted = fake_store_account(s, "\"j j\"@first.example", "x");
	cr_assert(ip_prefix_parse(SPAN("192.0.2.0/24"), &relay_from[0]));
	cr_assert(ip_prefix_parse(SPAN("2001:db8::/32"), &relay_from[1]));
	const struct {
		const char *peer, *local, *domain;
		enum dir_verdict verdict;
		uint64_t acct;
		uint16_t port;
	} row[] = {
		{"203.0.113.1", "joe", "first.example", DIR_LOCAL, joe, 0},
		{"203.0.113.1", "JOE", "First.EXAMPLE", DIR_LOCAL, joe, 0},
		{"203.0.113.1", "\"joe\"", "first.example", DIR_LOCAL, joe, 0},
		{"203.0.113.1", "\"j j\"", "first.example", DIR_LOCAL, quoted, 0},
		{"203.0.113.1", "joe", "second.example", DIR_UNKNOWN_USER, 0, 0},
		{"192.0.2.1", "nobody", "second.example", DIR_UNKNOWN_USER, 0, 0}, /* local beats its route */
		{"203.0.113.1", "postmaster", "first.example", DIR_LOCAL, admin, 0},
		{"203.0.113.1", "PostMaster", "", DIR_LOCAL, admin, 0},
		{"203.0.113.1", "postmaster", "second.example", DIR_LOCAL, root, 0},
		{"203.0.113.1", "a", "relayed.example", DIR_RELAY, 0, 1},
		{"203.0.113.1", "a", "RELAYED.example", DIR_RELAY, 0, 1},
		{"203.0.113.1", "a", "sub.relayed.example", DIR_RELAY_DENIED, 0, 0},
		{"203.0.113.1", "a", "nowhere.example", DIR_NO_ROUTE, 0, 0},
		{"203.0.113.1", "a", "routed.example", DIR_RELAY_DENIED, 0, 0},
		{"192.0.2.255", "a", "routed.example", DIR_RELAY, 0, 4},
		{"192.0.3.0", "a", "routed.example", DIR_RELAY_DENIED, 0, 0},
		{"2001:db8::9", "a", "routed.example", DIR_RELAY, 0, 4},
		{"2001:db9::9", "a", "routed.example", DIR_RELAY_DENIED, 0, 0},
		{"192.0.2.1", "a", "deep.example", DIR_RELAY, 0, 2},
		{"192.0.2.1", "a", "a.b.deep.example", DIR_RELAY, 0, 2},
		{"192.0.2.1", "a", "x.deep.example", DIR_RELAY, 0, 2}, /* the first that matches */
		{"192.0.2.1", "a", "xdeep.example", DIR_NO_ROUTE, 0, 0},
		{"192.0.2.1", "a", ".deep.example", DIR_NO_ROUTE, 0, 0},
		{"192.0.2.1", "a", "[192.0.2.1]", DIR_NO_ROUTE, 0, 0},
		{"192.0.2.1", "a", "example", DIR_NO_ROUTE, 0, 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct ip_addr peer = addr(row[i].peer);
		struct queue_rcpt r = {.acct = 77};
		enum dir_verdict v = dir_resolve(&conf, s, &peer, span_str(row[i].local), span_str(row[i].domain), &r);
		cr_expect_eq(v, row[i].verdict, "row %zu %s@%s: %d", i, row[i].local, row[i].domain, (int)v);
		if (v == DIR_LOCAL)
			cr_expect(r.local && r.acct == row[i].acct, "row %zu", i);
		if (v == DIR_RELAY)
			cr_expect(!r.local && r.site.port == row[i].port, "row %zu: %u", i, r.site.port);
	}
	/* everything by one route */
	struct conf_route all = {.pattern = "*", .port = 9};
	struct conf c = conf;
	c.route = &all;
	c.n_route = 1;
	cr_assert_eq(dir_route(&c, SPAN("any.thing"))->port, 9);
	cr_assert_eq(dir_route(&c, SPAN(""))->port, 9);
	cr_assert_null(dir_route(&conf, SPAN("")));
	cr_assert(dir_is_local_domain(&conf, SPAN("FIRST.example")));
	cr_assert(!dir_is_local_domain(&conf, SPAN("relayed.example")));
	store_close(&s);
}

Test(directory, nothing_configured)
{
	struct store *s = open_store();
	struct conf none = {0};
	struct ip_addr peer = addr("192.0.2.1");
	struct queue_rcpt r;
	cr_assert_eq(dir_resolve(&none, s, &peer, SPAN("postmaster"), SPAN(""), &r), DIR_UNKNOWN_USER);
	cr_assert_eq(dir_resolve(&none, s, &peer, SPAN("a"), SPAN("b"), &r), DIR_RELAY_DENIED);
	cr_assert(!dir_may_relay_from(&none, &peer));
	store_close(&s);
}
