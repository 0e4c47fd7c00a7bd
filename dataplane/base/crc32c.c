/*
 * crc32c.c: CRC-32C of stored records, alone or while they are copied. Hot path.
 *
 * The CPU's crc32 instruction takes 8 bytes in 3 cycles but can begin one each cycle, so long runs go as
 * three lanes side by side. A lane's result is moved over the bytes that follow it by a carry-less
 * multiplication with x^(8 * bytes - 33) mod P; crc32 of the 64-bit product does the reduction.
 * Other CPUs use the table.
 */
#include "rand.h"
#include <string.h>
#include "check.h"

/* Of each 4-bit value. Small enough to read; the speed of the table version does not matter here. */
static const uint32_t nibble[16] = {
	0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
	0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
	0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t crc32c_soft(uint32_t crc, const void *p, size_t len)
{
	const uint8_t *in = p;

	crc = ~crc;
	for (size_t i = 0; i < len; i++) {
		crc ^= in[i];
		crc = crc >> 4 ^ nibble[crc & 15];
		crc = crc >> 4 ^ nibble[crc & 15];
	}
	return ~crc;
}

#if defined(__SSE4_2__) && defined(__PCLMUL__) && defined(__x86_64__)

#include <nmmintrin.h>
#include <wmmintrin.h>

#define LANE     512u
#define OVER_1   0x00000000dd7e3b0cu /* x^(8 * LANE - 33) mod P, bits reflected */
#define OVER_2   0x00000000170076fau /* x^(16 * LANE - 33) mod P */

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* One step of a lane: 8 bytes from in to the checksum and, if out, to out. */
static inline __attribute__((always_inline)) uint64_t step(uint64_t crc, uint8_t *out,
							   const uint8_t *in)
{
	uint64_t v = load64(in);

	if (out)
		memcpy(out, &v, sizeof(v));
	return _mm_crc32_u64(crc, v);
}

/* The crc of a followed by 2 lanes and b by 1, before the last reduction. */
static inline uint64_t shift_lanes(uint64_t a, uint64_t b)
{
	__m128i x = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)a),
					 _mm_cvtsi64_si128((long long)OVER_2), 0);
	__m128i y = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)b),
					 _mm_cvtsi64_si128((long long)OVER_1), 0);

	return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(_mm_xor_si128(x, y)));
}

/* Expanded twice: with out == NULL the stores vanish. */
static inline __attribute__((always_inline)) uint32_t run(uint32_t start, uint8_t *out,
							  const uint8_t *in, size_t len)
{
	uint64_t a = ~start & 0xffffffffu;

	for (; len >= 3 * LANE; len -= 3 * LANE) {
		uint64_t b = 0, c = 0;
		for (size_t i = 0; i < LANE; i += 8) {
			a = step(a, out ? out + i : NULL, in + i);
			b = step(b, out ? out + LANE + i : NULL, in + LANE + i);
			c = step(c, out ? out + 2 * LANE + i : NULL, in + 2 * LANE + i);
		}
		a = shift_lanes(a, b) ^ c;
		in += 3 * LANE;
		out = out ? out + 3 * LANE : NULL;
	}
	for (; len >= 8; len -= 8) {
		a = step(a, out, in);
		in += 8;
		out = out ? out + 8 : NULL;
	}
	for (; len > 0; len--) {
		if (out)
			*out++ = *in;
		a = _mm_crc32_u8((uint32_t)a, *in++);
	}
	return ~(uint32_t)a;
}

uint32_t crc32c(uint32_t crc, const void *p, size_t len)
{
	return run(crc, NULL, p, len);
}

uint32_t crc32c_copy(uint32_t crc, void *dst, const void *src, size_t len)
{
	CHECK(dst || len == 0);
	return run(crc, dst, src, len);
}

#else

uint32_t crc32c(uint32_t crc, const void *p, size_t len)
{
	return crc32c_soft(crc, p, len);
}

uint32_t crc32c_copy(uint32_t crc, void *dst, const void *src, size_t len)
{
	if (len)
		memcpy(dst, src, len);
	return crc32c_soft(crc, dst, len);
}

#endif
