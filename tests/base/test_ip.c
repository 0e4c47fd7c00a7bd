/* Addresses as text and back, prefixes, address with port. */
#include <criterion/criterion.h>
#include "ip.h"

Test(ip, text_and_back)
{
	static const struct {
		const char *in, *out; /* NULL: refused */
	} row[] = {
		{"198.18.0.1", "198.18.0.1"},
		{"0.0.0.0", "0.0.0.0"},
		{"255.255.255.255", "255.255.255.255"},
		{"::1", "::1"},
		{"::", "::"},
		{"fd00:198:18::2", "fd00:198:18::2"},
		{"FD00:0:0:1:0:0:0:2", "fd00:0:0:1::2"},
		{"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
		{"::ffff:10.0.0.1", "10.0.0.1"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"", NULL},
		{"1.2.3", NULL},
		{"1.2.3.256", NULL},
		{"1.2.3.04", NULL},
		{"1.2.3.4.5", NULL},
		{" 1.2.3.4", NULL},
		{"1::2::3", NULL},
		{"fd00::1%eth0", NULL},
		{"host", NULL},
		{"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc", NULL},
	};
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct ip_addr a;
		char text[IP_STR_MAX];
		bool ok = ip_parse(span_str(row[i].in), &a);
		cr_expect_eq(ok, row[i].out != NULL, "%s", row[i].in);
		if (ok && row[i].out)
			cr_expect_str_eq(ip_format(&a, text), row[i].out);
	}
	struct ip_addr nul;
	cr_expect(!ip_parse(span_of("1.2.3.4\0", 8), &nul));
}

Test(ip, prefixes)
{
	static const struct {
		const char *prefix, *addr;
		bool ok, in;
	} row[] = {
		{"198.18.0.0/24", "198.18.0.255", true, true},
		{"198.18.0.0/24", "198.18.1.0", true, false},
		{"198.18.0.77/24", "198.18.0.2", true, true},
		{"10.0.0.0/9", "10.127.255.255", true, true},
		{"10.0.0.0/9", "10.128.0.0", true, false},
		{"0.0.0.0/0", "203.0.113.9", true, true},
		{"0.0.0.0/0", "fd00::1", true, false},
		{"::/0", "203.0.113.9", true, true},
		{"fd00::/8", "fdff::1", true, true},
		{"fd00::/8", "fe00::1", true, false},
		{"fd00::1", "fd00::1", true, true},
		{"fd00::1", "fd00::2", true, false},
		{"198.18.0.1", "198.18.0.1", true, true},
		{"198.18.0.1/33", "198.18.0.1", false, false},
		{"fd00::/129", "fd00::", false, false},
		{"fd00::/", "fd00::", false, false},
		{"fd00::/-1", "fd00::", false, false},
		{"fd00::/0008", "fd00::", false, false},
		{"/8", "fd00::", false, false},
	};
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct ip_prefix p;
		struct ip_addr a;
		bool ok = ip_prefix_parse(span_str(row[i].prefix), &p);
		cr_expect_eq(ok, row[i].ok, "%s", row[i].prefix);
		cr_assert(ip_parse(span_str(row[i].addr), &a));
		if (ok && row[i].ok)
			cr_expect_eq(ip_in_prefix(&a, &p), row[i].in, "%s in %s", row[i].addr,
				     row[i].prefix);
	}
}

Test(ip, address_with_port)
{
	static const struct {
		const char *in, *addr; /* NULL: refused */
		unsigned port;
	} row[] = {
		{"198.18.0.1:25", "198.18.0.1", 25},
		{"[fd00::1]:65535", "fd00::1", 65535},
		{"198.18.0.1", NULL, 0},
		{"198.18.0.1:", NULL, 0},
		{"198.18.0.1:0", NULL, 0},
		{"198.18.0.1:65536", NULL, 0},
		{"198.18.0.1:000025", NULL, 0},
		{"fd00::1:25", NULL, 0},
		{"[fd00::1]", NULL, 0},
		{"[fd00::1]25", NULL, 0},
		{"[fd00::1", NULL, 0},
		{"[198.18.0.1]:25", NULL, 0},
		{"[]:25", NULL, 0},
		{":25", NULL, 0},
		{"", NULL, 0},
	};
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct ip_addr a;
		uint16_t port;
		char text[IP_STR_MAX];
		bool ok = ip_port_parse(span_str(row[i].in), &a, &port);
		cr_expect_eq(ok, row[i].addr != NULL, "%s", row[i].in);
		if (ok && row[i].addr) {
			cr_expect_str_eq(ip_format(&a, text), row[i].addr);
			cr_expect_eq(port, row[i].port);
		}
	}
}
