/* rand.h: randomness as an argument. Seeded: the same run again. From the OS: unpredictable. */
#ifndef VEREDUS_RAND_H
#define VEREDUS_RAND_H

#include <stddef.h>
#include <stdint.h>

struct rnd {
	uint64_t s[4];
	uint8_t key[16]; /* SipHash key, from the seed or the OS */
};

void rnd_seed(struct rnd *r, uint64_t seed);
/* From getrandom(2). */
void rnd_seed_os(struct rnd *r);
uint64_t rnd_u64(struct rnd *r);
/* 0 .. n-1, n > 0 */
uint32_t rnd_below(struct rnd *r, uint32_t n);
/* SipHash-2-4 of len bytes under a 16-byte key: for tables and numbers that a peer may steer. */
uint64_t siphash(const uint8_t key[16], const void *p, size_t len);
/* CRC-32C (Castagnoli, RFC 3720 B.4), hardware when there. Starts from 0; a run in pieces passes on the
 * result of the piece before. */
uint32_t crc32c(uint32_t crc, const void *p, size_t len);
/* The same by table, on every CPU: the oracle of the tests. */
uint32_t crc32c_soft(uint32_t crc, const void *p, size_t len);
/* Copies and checksums in one pass. */
uint32_t crc32c_copy(uint32_t crc, void *dst, const void *src, size_t len);

#endif
