/*
 * rand.c: xoshiro256** (Blackman and Vigna), seeded by splitmix64 or by the OS. Not for keys or nonces of
 * cryptography; numbers that a peer must not guess come from siphash() under the secret key.
 */
#include "rand.h"
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include "check.h"

static uint64_t splitmix64(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void rnd_seed(struct rnd *r, uint64_t seed)
{
	for (size_t i = 0; i < ARRAY_LEN(r->s); i++)
		r->s[i] = splitmix64(&seed);
	for (size_t i = 0; i < sizeof(r->key); i += 8) {
		uint64_t v = splitmix64(&seed);
		for (size_t j = 0; j < 8; j++)
			r->key[i + j] = (uint8_t)(v >> (8 * j));
	}
}

void rnd_seed_os(struct rnd *r)
{
	size_t n = 0;

	while (n < sizeof(*r)) {
		ssize_t got = getrandom((uint8_t *)r + n, sizeof(*r) - n, 0);
		CHECK(got > 0 || errno == EINTR);
		if (got > 0)
			n += (size_t)got;
	}
	r->s[0] |= 1; /* the all-zero state would stay zero */
}

static uint64_t rotl(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

uint64_t rnd_u64(struct rnd *r)
{
	uint64_t *s = r->s;
	uint64_t result = rotl(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

/* Lemire's multiplication: the few low products that would favour some results are drawn again. */
uint32_t rnd_below(struct rnd *r, uint32_t n)
{
	CHECK(n > 0);
	uint32_t unfair = (0u - n) % n;
	for (;;) {
		uint64_t m = (rnd_u64(r) >> 32) * n;
		if ((uint32_t)m >= unfair)
			return (uint32_t)(m >> 32);
	}
}
