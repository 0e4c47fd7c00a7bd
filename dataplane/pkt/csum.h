/*
 * csum.h: the Internet checksum (RFC 1071) as partial sums, for net (verifying) and port (filling in).
 * A partial sum is a 32-bit number of which only the value modulo 65535 counts; sums of runs that begin
 * at even offsets simply add. Sums are in host order over memory order: the folded result is stored as it is.
 */
#ifndef VEREDUS_CSUM_H
#define VEREDUS_CSUM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "ip.h"
#include "pkt.h"

static inline uint32_t csum_fold32(uint64_t s)
{
	s = (s & 0xffffffff) + (s >> 32);
	return (uint32_t)((s & 0xffffffff) + (s >> 32));
}

/* The sum of two partial sums. */
static inline uint32_t csum_plus(uint32_t a, uint32_t b)
{
	return csum_fold32((uint64_t)a + b);
}

/* The partial sum of a run that begins at an odd offset of the whole. */
static inline uint32_t csum_odd(uint32_t s)
{
	return (s << 8) | (s >> 24);
}

/* The 16 bits to store in the checksum field; 0 over a run whose checksum is right. */
static inline uint16_t csum_fold(uint32_t s)
{
	s = (s & 0xffff) + (s >> 16);
	return (uint16_t)~(s + (s >> 16));
}

/* Sum plus the run's; len at most 64 KiB a call. */
uint32_t csum_add(uint32_t sum, const void *p, size_t len);
/* The same while copying: dst and src do not overlap. */
uint32_t csum_copy(uint32_t sum, void *dst, const void *src, size_t len);
/* Sum plus that of a packet chain from off on. */
uint32_t csum_chain(uint32_t sum, const struct pkt *p, uint32_t off);

/* Headers: len even and small, unrolled by the compiler. */
static inline uint32_t csum_small(uint32_t sum, const void *p, size_t len)
{
	uint64_t s = sum;
	for (size_t i = 0; i + 4 <= len; i += 4) {
		uint32_t w;
		memcpy(&w, (const uint8_t *)p + i, 4);
		s += w;
	}
	if (len & 2) {
		uint16_t w;
		memcpy(&w, (const uint8_t *)p + len - 2, 2);
		s += w;
	}
	return csum_fold32(s);
}

/* The pseudo-header of TCP, UDP and ICMPv6. The mapped form of IPv4 adds only ffff words, which count
 * nothing, so one function serves both families (RFC 9293 3.1, RFC 8200 8.1). */
static inline uint32_t csum_pseudo(const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto,
				   uint32_t l4_len)
{
	uint64_t s = 0;
	for (unsigned i = 0; i < 4; i++)
		s += (uint64_t)src->w[i] + dst->w[i];
	s += __builtin_bswap32(l4_len);
	s += (uint64_t)proto << 24;
	return csum_fold32(s);
}

#endif
