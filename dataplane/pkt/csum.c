/*
 * csum.c: sums over long runs, with and without copying. Hot path: with devices that leave checksums to
 * us every byte sent and received passes here.
 *
 * Vectors of 64-bit lanes take the 32-bit halves of each word, so no carry is ever lost. The wide form is
 * compiled once more for AVX2 and chosen by what the processor has; the plain form is the tests' oracle.
 */
#include "check.h"
#include "csum.h"
#include "pkt_inline.h"
#include "hot.h"

typedef uint64_t lanes __attribute__((vector_size(32)));

#if defined(__x86_64__)
#define WIDE_AVX2 __attribute__((target("avx2")))
static bool have_avx2;

__attribute__((constructor)) static void csum_detect(void)
{
	__builtin_cpu_init();
	have_avx2 = __builtin_cpu_supports("avx2");
}
#endif

/* The last bytes of a run; a closing odd byte stands for itself and a zero. */
static inline uint64_t sum_tail(const uint8_t *p, size_t len)
{
	uint64_t s = 0;
	uint32_t w4;
	uint16_t w2;

	for (; len >= 4; p += 4, len -= 4) {
		memcpy(&w4, p, 4);
		s += w4;
	}
	if (len >= 2) {
		memcpy(&w2, p, 2);
		s += w2;
		p += 2;
		len -= 2;
	}
	if (len) {
		w2 = 0;
		memcpy(&w2, p, 1);
		s += w2;
	}
	return s;
}

/* dst NULL: sum only. Constant at every call, so that each gets its own loop. */
static inline __attribute__((always_inline)) uint64_t sum_wide(uint8_t *dst, const uint8_t *p, size_t len)
{
	lanes lo = {0}, hi = {0}, lo2 = {0}, hi2 = {0}, v, w;

	for (; len >= 64; p += 64, len -= 64) {
		memcpy(&v, p, 32);
		memcpy(&w, p + 32, 32);
		if (dst) {
			memcpy(dst, &v, 32);
			memcpy(dst + 32, &w, 32);
			dst += 64;
		}
		lo += v & 0xffffffff;
		hi += v >> 32;
		lo2 += w & 0xffffffff;
		hi2 += w >> 32;
	}
	if (dst)
		memcpy(dst, p, len);
	lo += hi + lo2 + hi2;
	return lo[0] + lo[1] + lo[2] + lo[3] + sum_tail(p, len);
}

#if defined(__x86_64__)
WIDE_AVX2 static uint64_t sum_avx2(const uint8_t *p, size_t len)
{
	return sum_wide(NULL, p, len);
}

WIDE_AVX2 static uint64_t copy_avx2(uint8_t *dst, const uint8_t *p, size_t len)
{
	return sum_wide(dst, p, len);
}
#endif

uint32_t csum_add(uint32_t sum, const void *p, size_t len)
{
	if (len < 64)
		return csum_fold32(sum + sum_tail(p, len));
#if defined(__x86_64__)
	if (LIKELY(have_avx2))
		return csum_fold32(sum + sum_avx2(p, len));
#endif
	return csum_fold32(sum + sum_wide(NULL, p, len));
}

uint32_t csum_copy(uint32_t sum, void *dst, const void *src, size_t len)
{
#if defined(__x86_64__)
	if (LIKELY(have_avx2))
		return csum_fold32(sum + copy_avx2(dst, src, len));
#endif
	return csum_fold32(sum + sum_wide(dst, src, len));
}

uint32_t csum_chain(uint32_t sum, const struct pkt *p, uint32_t off)
{
	const struct rte_mbuf *m = pkt_mbuf_const(p);
	bool odd = false;

	for (; m; m = m->next) {
		if (off >= m->data_len) {
			off -= m->data_len;
			continue;
		}
		const uint8_t *data = (const uint8_t *)m->buf_addr + m->data_off + off;
		uint32_t len = m->data_len - off;
		uint32_t part = csum_add(0, data, len);
		sum = csum_plus(sum, odd ? csum_odd(part) : part);
		odd ^= len & 1;
		off = 0;
	}
	return sum;
}
