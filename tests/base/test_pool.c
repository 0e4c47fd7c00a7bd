/* test_pool.c: exhaustion, stable indexes, generations, and give-backs that must not pass. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include "pool.h"

Test(pool, take_and_give)
{
	struct pool p;
	uint8_t *obj[10];
	pool_init(&p, 10, 100);
	cr_expect_eq(p.size, 128);
	for (int turn = 0; turn < 3; turn++) {
		for (uint32_t i = 0; i < 10; i++) {
			obj[i] = pool_take(&p);
			cr_assert_not_null(obj[i]);
			cr_expect_eq((uintptr_t)obj[i] % 64, 0);
			memset(obj[i], 0xee, 100);
			cr_expect_eq(obj[i], p.mem + pool_index(&p, obj[i]) * p.size);
		}
		cr_expect_null(pool_take(&p));
		cr_expect_eq(p.n_free, 0);
		for (uint32_t i = 0; i < 10; i++)
			pool_give(&p, obj[(i * 3) % 10]);
		cr_expect_eq(p.n_free, 10);
	}
	void *a = pool_take(&p);
	pool_give(&p, a);
	cr_expect_eq(pool_take(&p), a, "last out, first in again");
	pool_fini(&p);
}

Test(pool, generations)
{
	struct pool p;
	pool_init(&p, 4, 8);
	cr_expect_null(pool_find(&p, 0, 0));
	void *a = pool_take(&p);
	uint32_t i = pool_index(&p, a), gen = p.gen[i];
	cr_expect_eq(pool_find(&p, i, gen), a);
	cr_expect_null(pool_find(&p, i, gen + 1));
	cr_expect_null(pool_find(&p, 3, p.gen[3]), "never used");
	cr_expect_null(pool_find(&p, 4, gen), "no such index");
	cr_expect_null(pool_find(&p, UINT32_MAX, gen));
	pool_give(&p, a);
	cr_expect_null(pool_find(&p, i, gen), "given back");
	cr_expect_null(pool_find(&p, i, p.gen[i]), "free, though the number is right");
	cr_expect_eq(pool_take(&p), a);
	cr_expect_null(pool_find(&p, i, gen), "another life of the same object");
	cr_expect_eq(pool_find(&p, i, p.gen[i]), a);
	pool_fini(&p);
}

Test(pool, address_space_only)
{
	struct pool p;
	pool_init(&p, 1u << 20, 64 << 10); /* 64 GiB */
	uint8_t *a = pool_take(&p), *b = pool_take(&p);
	*a = *b = 1;
	cr_expect_eq(p.high, 2);
	pool_give(&p, b);
	pool_give(&p, a);
	pool_fini(&p);
}

Test(pool, given_twice, .signal = SIGABRT)
{
	struct pool p;
	pool_init(&p, 4, 8);
	void *a = pool_take(&p);
	pool_give(&p, a);
	pool_give(&p, a);
}

Test(pool, not_of_this_pool, .signal = SIGABRT)
{
	struct pool p;
	pool_init(&p, 4, 64);
	uint8_t *a = pool_take(&p);
	pool_give(&p, a + 8);
}
