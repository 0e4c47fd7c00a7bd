/* ip.h: IP addresses as values. IPv4 is kept as the mapped form ::ffff:a.b.c.d; bytes in network order. */
#ifndef VEREDUS_IP_H
#define VEREDUS_IP_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "span.h"

struct ip_addr {
	union {
		uint8_t b[16];
		uint32_t w[4];
		uint64_t d[2];
	};
};

struct ip_prefix {
	struct ip_addr addr;
	uint8_t len; /* 0..128, of the mapped form: 10.0.0.0/8 is 96 + 8 */
};

#define IP_STR_MAX 46

static inline bool ip_eq(const struct ip_addr *a, const struct ip_addr *b)
{
	return a->d[0] == b->d[0] && a->d[1] == b->d[1];
}

static inline bool ip_is4(const struct ip_addr *a)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	return memcmp(a->b, mapped, 12) == 0;
}

static inline bool ip_is_any(const struct ip_addr *a)
{
	return a->d[0] == 0 && a->d[1] == 0;
}

/* be: the address in network byte order, as it stands in a header. */
struct ip_addr ip_from4(uint32_t be);
struct ip_addr ip_from6(const uint8_t b[16]);
/* Text to address; "::1", "198.18.0.1". */
bool ip_parse(struct span s, struct ip_addr *out);
/* "198.18.0.0/24"; without a slash the full length. Host bits may be set and are kept. */
bool ip_prefix_parse(struct span s, struct ip_prefix *out);
/* "198.18.0.1:25", "[fd00::1]:25". */
bool ip_port_parse(struct span s, struct ip_addr *addr, uint16_t *port);
bool ip_in_prefix(const struct ip_addr *a, const struct ip_prefix *p);
/* dst: at least IP_STR_MAX bytes; returns dst. RFC 5952 form. */
char *ip_format(const struct ip_addr *a, char *dst);

#endif
