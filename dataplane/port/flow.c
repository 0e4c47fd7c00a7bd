/*
 * flow.c: the one hash that decides which worker a flow belongs to. Hot path where steering is software.
 *
 * Toeplitz with a key of 16 repeated bits. Such a key makes the hash symmetric, and linear in a way that
 * needs no tables: every 16-bit word of the input counts alike wherever it stands, so the hash of a tuple
 * is that of the exclusive-or of its words. The mapped form of IPv4 adds two equal words, which cancel.
 * A device that hashes received packets under flow_key computes the same number.
 */
#include "check.h"
#include "port_int.h"
#include "hot.h"

#define KEY 0x6d5a
#define K4 0x6d, 0x5a, 0x6d, 0x5a
const uint8_t flow_key[FLOW_KEY_LEN] = {K4, K4, K4, K4, K4, K4, K4, K4, K4, K4, K4, K4, K4};

static uint32_t toeplitz(uint32_t x)
{
	uint32_t k = KEY, h = 0;

	for (unsigned i = 0; i < 16; i++) {
		h ^= k & -((x >> (15 - i)) & 1);
		k = (k << 1 | k >> 15) & 0xffff;
	}
	return h << 16 | h;
}

/* The exclusive-or of the 16-bit words, in host order. */
static inline uint32_t fold_words(uint64_t be)
{
	uint32_t x = (uint32_t)(be ^ be >> 32);
	return __builtin_bswap16((uint16_t)(x ^ x >> 16));
}

uint32_t flow_hash(const struct ip_addr *src, const struct ip_addr *dst, uint16_t src_port,
		   uint16_t dst_port)
{
	return toeplitz(fold_words(src->d[0] ^ src->d[1] ^ dst->d[0] ^ dst->d[1]) ^ src_port ^ dst_port);
}

static inline uint32_t word16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

/* l4: the first 4 bytes are ports. addrs: len bytes of both addresses. */
static enum flow_kind hash_frame(const uint8_t *addrs, unsigned len, const uint8_t *l4, uint32_t *hash)
{
	uint64_t fold = 0;

	for (unsigned i = 0; i < len; i += 8) {
		uint64_t w;
		memcpy(&w, addrs + i, 8);
		fold ^= w;
	}
	*hash = toeplitz(fold_words(fold) ^ word16(l4) ^ word16(l4 + 2));
	return FLOW_HASHED;
}

enum flow_kind flow_of_frame(const uint8_t *frame, uint32_t len, uint32_t *hash)
{
	if (len < 14 + 20)
		return FLOW_HERE;
	const uint8_t *l3 = frame + 14;
	uint32_t l3_len = len - 14;

	switch (word16(frame + 12)) {
	case 0x0806:
		return FLOW_ALL;
	case 0x0800: {
		uint32_t ihl = (l3[0] & 15u) * 4;
		/* Fragments have no ports where ports belong: all put them together, the owner goes on. */
		if (l3[9] == 1 || (word16(l3 + 6) & 0x3fff))
			return FLOW_ALL;
		if ((l3[9] != 6 && l3[9] != 17) || ihl < 20 || l3_len < ihl + 4)
			return FLOW_HERE;
		return hash_frame(l3 + 12, 8, l3 + ihl, hash);
	}
	case 0x86dd:
		if (l3_len < 44)
			return FLOW_HERE;
		if (l3[6] == 58)
			return FLOW_ALL;
		if (l3[6] == 6 || l3[6] == 17)
			return hash_frame(l3 + 8, 32, l3 + 40, hash);
		/* Behind extension headers a device does not look either: all look, the owner goes on. */
		return FLOW_ALL;
	default:
		return FLOW_HERE;
	}
}
