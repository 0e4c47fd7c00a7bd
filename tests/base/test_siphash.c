/* test_siphash.c: the published vectors of SipHash-2-4 (key 00..0f, input 00, 01, 02 ...). */
#include <criterion/criterion.h>
#include "rand.h"

Test(siphash, vectors)
{
	static const struct {
		size_t len;
		uint64_t want;
	} rows[] = {
		{0, 0x726fdb47dd0e0e31}, {1, 0x74f839c593dc67fd},  {7, 0xab0200f58b01d137},
		{8, 0x93f5f5799a932462}, {9, 0x9e0082df0ba9e4b0},  {15, 0xa129ca6149be45e5},
		{16, 0x3f2acc7f57c29bdb}, {33, 0xa7f32346f95978e3}, {63, 0x958a324ceb064572},
	};
	uint8_t key[16], in[64];
	for (unsigned i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)i;
	for (unsigned i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_expect_eq(siphash(key, in, rows[i].len), rows[i].want, "length %zu", rows[i].len);
	cr_expect_eq(siphash(key, NULL, 0), rows[0].want);
}
