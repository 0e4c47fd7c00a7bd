/* test_rand.c: the published sequences, repeatability, and that rnd_below reaches all and favours none. */
#include <criterion/criterion.h>
#include <string.h>
#include "rand.h"

Test(rand, splitmix64_seeds)
{
	struct rnd r;
	rnd_seed(&r, 1234567);
	cr_expect_eq(r.s[0], 6457827717110365317u);
	cr_expect_eq(r.s[1], 3203168211198807973u);
	cr_expect_eq(r.s[2], 9817491932198370423u);
	cr_expect_eq(r.s[3], 4593380528125082431u);
	uint8_t key[8];
	for (unsigned i = 0; i < 8; i++)
		key[i] = (uint8_t)(16408922859458223821u >> (8 * i));
	cr_expect(memcmp(r.key, key, 8) == 0);
}

Test(rand, xoshiro_sequence)
{
	static const uint64_t want[] = {11520, 0, 1509978240, 1215971899390074240u,
					1216172134540287360u, 607988272756665600u,
					16172922978634559625u, 8476171486693032832u};
	struct rnd r = {.s = {1, 2, 3, 4}};
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		cr_expect_eq(rnd_u64(&r), want[i], "number %zu", i);
}

Test(rand, same_seed_same_run)
{
	struct rnd a, b;
	rnd_seed(&a, 0);
	rnd_seed(&b, 0);
	for (int i = 0; i < 100; i++)
		cr_assert_eq(rnd_u64(&a), rnd_u64(&b));
	rnd_seed_os(&a);
	rnd_seed_os(&b);
	cr_expect_neq(rnd_u64(&a), rnd_u64(&b));
	cr_expect(memcmp(a.key, b.key, sizeof(a.key)) != 0);
}

Test(rand, below)
{
	struct rnd r;
	unsigned n[6] = {0};
	rnd_seed(&r, 42);
	for (int i = 0; i < 60000; i++)
		n[rnd_below(&r, 6)]++;
	for (int i = 0; i < 6; i++)
		cr_expect(n[i] > 9500 && n[i] < 10500, "%d came %u times", i, n[i]);
	for (int i = 0; i < 100; i++) {
		cr_expect_eq(rnd_below(&r, 1), 0);
		cr_expect_lt(rnd_below(&r, 0xffffffff), 0xffffffff);
	}
}
