/* test_map.c: the map against a plain array over random puts, gets and deletions. */
#include <criterion/criterion.h>
#include "map.h"
#include "rand.h"

#define KEYS 512

static uint64_t key_of(uint32_t i)
{
	/* some dense, some far apart, among them 0 and UINT64_MAX */
	return i % 2 ? UINT64_MAX - i + 1 : (uint64_t)i << (i % 4 ? 40 : 0);
}

static void compare(const struct map *m, const uint64_t *val, const bool *in)
{
	uint32_t n = 0, seen = 0, it = 0;
	uint64_t k, v;
	for (uint32_t i = 0; i < KEYS; i++) {
		bool got = map_get(m, key_of(i), &v);
		cr_assert_eq(got, in[i], "key %u", i);
		if (got)
			cr_assert_eq(v, val[i]);
		n += in[i];
	}
	cr_assert_eq(m->n, n);
	while (map_each(m, &it, &k, &v))
		seen++;
	cr_assert_eq(seen, n);
}

Test(map, against_a_model)
{
	static uint64_t val[KEYS];
	static bool in[KEYS];
	struct map m;
	struct rnd r;
	uint64_t v;
	map_init(&m);
	rnd_seed(&r, 3);
	cr_expect_not(map_get(&m, 0, &v));
	cr_expect_not(map_del(&m, 0));
	for (int step = 0; step < 40000; step++) {
		/* phases of growth and of shrinking, down to empty */
		bool growing = step / 5000 % 2 == 0;
		uint32_t i = rnd_below(&r, KEYS);
		if (rnd_below(&r, 10) < (growing ? 7 : 2)) {
			val[i] = rnd_u64(&r);
			in[i] = true;
			map_put(&m, key_of(i), val[i]);
		} else {
			cr_assert_eq(map_del(&m, key_of(i)), in[i]);
			in[i] = false;
		}
		if (step % 100 == 0)
			compare(&m, val, in);
	}
	cr_expect(m.cap <= 1024);
	for (uint32_t i = 0; i < KEYS; i++)
		cr_assert_eq(map_del(&m, key_of(i)), in[i]);
	cr_expect_eq(m.n, 0);
	map_fini(&m);
}

Test(map, each_gives_every_pair)
{
	struct map m;
	uint32_t it = 0;
	uint64_t k, v, sum = 0;
	map_init(&m);
	cr_expect_not(map_each(&m, &it, &k, &v));
	for (uint64_t i = 0; i < 1000; i++)
		map_put(&m, i, i * i);
	for (it = 0; map_each(&m, &it, &k, &v); sum += k)
		cr_assert_eq(v, k * k);
	cr_expect_eq(sum, 999 * 1000 / 2);
	map_fini(&m);
}
