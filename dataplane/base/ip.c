/*
 * ip.c: IP addresses as values: text to address and back, prefixes. Pure functions, no state.
 *
 * IPv4 lives in the mapped form, so one comparison serves both families. Text is taken strictly (no
 * octal, no short IPv4 forms, no zone) and written as RFC 5952 says.
 */
#include <arpa/inet.h>
#include "ip.h"

struct ip_addr ip_from4(uint32_t be)
{
	struct ip_addr a = {.b = {[10] = 0xff, [11] = 0xff}};
	a.w[3] = be;
	return a;
}

struct ip_addr ip_from6(const uint8_t b[16])
{
	struct ip_addr a;
	memcpy(a.b, b, 16);
	return a;
}

/* bits: length of an address of the text's own family, 32 or 128. */
static bool parse_family(struct span s, struct ip_addr *out, unsigned *bits)
{
	char text[IP_STR_MAX];
	struct in_addr v4;

	if (s.len == 0 || !span_cstr(s, text, sizeof(text)))
		return false;
	if (span_find(s, ':') >= 0) {
		*bits = 128;
		return inet_pton(AF_INET6, text, out->b) == 1;
	}
	*bits = 32;
	if (inet_pton(AF_INET, text, &v4) != 1)
		return false;
	*out = ip_from4(v4.s_addr);
	return true;
}

bool ip_parse(struct span s, struct ip_addr *out)
{
	unsigned bits;
	return parse_family(s, out, &bits);
}

bool ip_prefix_parse(struct span s, struct ip_prefix *out)
{
	ptrdiff_t slash = span_find(s, '/');
	struct span addr = slash < 0 ? s : span_head(s, (size_t)slash);
	unsigned bits;
	uint64_t len;

	if (!parse_family(addr, &out->addr, &bits))
		return false;
	len = bits;
	if (slash >= 0) {
		struct span digits = span_from(s, (size_t)slash + 1);
		if (digits.len > 3 || !span_u64(digits, bits, &len))
			return false;
	}
	out->len = (uint8_t)(128 - bits + len);
	return true;
}

bool ip_port_parse(struct span s, struct ip_addr *addr, uint16_t *port)
{
	struct span host, digits;
	uint64_t n;

	if (s.len && s.p[0] == '[') {
		ptrdiff_t close = span_find(s, ']');
		if (close < 0 || (size_t)close + 1 >= s.len || s.p[close + 1] != ':')
			return false;
		host = span_of(s.p + 1, (size_t)close - 1);
		if (span_find(host, ':') < 0)
			return false;
		digits = span_from(s, (size_t)close + 2);
	} else {
		ptrdiff_t colon = span_find(s, ':');
		if (colon < 0)
			return false;
		host = span_head(s, (size_t)colon);
		digits = span_from(s, (size_t)colon + 1);
	}
	if (digits.len > 5 || !span_u64(digits, UINT16_MAX, &n) || n == 0 || !ip_parse(host, addr))
		return false;
	*port = (uint16_t)n;
	return true;
}

bool ip_in_prefix(const struct ip_addr *a, const struct ip_prefix *p)
{
	unsigned whole = p->len / 8, rest = p->len % 8;

	if (p->len > 128 || memcmp(a->b, p->addr.b, whole) != 0)
		return false;
	return rest == 0 || ((a->b[whole] ^ p->addr.b[whole]) & (uint8_t)(0xff00 >> rest)) == 0;
}

char *ip_format(const struct ip_addr *a, char *dst)
{
	if (ip_is4(a))
		inet_ntop(AF_INET, &a->b[12], dst, IP_STR_MAX);
	else
		inet_ntop(AF_INET6, a->b, dst, IP_STR_MAX);
	return dst;
}
