/* test_crc32c.c: the vectors of RFC 3720 B.4, and the fast versions against the table at every length. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include "rand.h"

Test(crc32c, vectors)
{
	uint8_t b[32];
	cr_expect_eq(crc32c(0, "123456789", 9), 0xe3069283);
	cr_expect_eq(crc32c(7, NULL, 0), 7);
	memset(b, 0, sizeof(b));
	cr_expect_eq(crc32c(0, b, 32), 0x8a9136aa);
	memset(b, 0xff, sizeof(b));
	cr_expect_eq(crc32c(0, b, 32), 0x62a8ab43);
	for (unsigned i = 0; i < 32; i++)
		b[i] = (uint8_t)i;
	cr_expect_eq(crc32c(0, b, 32), 0x46dd794e);
	cr_expect_eq(crc32c_soft(0, b, 32), 0x46dd794e);
	for (unsigned i = 0; i < 32; i++)
		b[i] = (uint8_t)(31 - i);
	cr_expect_eq(crc32c(0, b, 32), 0x113fdb5c);
}

/* Heap blocks of the exact length, so that a sanitizer sees a byte too many on either side. */
static void compare(struct rnd *r, size_t len)
{
	uint8_t *src = malloc(len + 1), *dst = malloc(len + 1);
	for (size_t i = 0; i <= len; i++)
		src[i] = (uint8_t)rnd_u64(r);
	uint32_t start = (uint32_t)rnd_u64(r);
	const uint8_t *in = src + 1; /* unaligned */
	uint32_t want = crc32c_soft(start, in, len);
	cr_assert_eq(crc32c(start, in, len), want, "length %zu", len);
	cr_assert_eq(crc32c_copy(start, dst, in, len), want, "length %zu", len);
	cr_assert(memcmp(dst, in, len) == 0, "length %zu", len);
	size_t cut = len / 3;
	cr_assert_eq(crc32c(crc32c(start, in, cut), in + cut, len - cut), want);
	free(src);
	free(dst);
}

Test(crc32c, equals_the_table_version)
{
	struct rnd r;
	rnd_seed(&r, 1);
	for (size_t len = 0; len < 1700; len++)
		compare(&r, len);
	for (size_t n = 1; n <= 6; n++) {
		compare(&r, n * 1536 - 1);
		compare(&r, n * 1536);
		compare(&r, n * 1536 + 9);
	}
	compare(&r, 100003);
}
