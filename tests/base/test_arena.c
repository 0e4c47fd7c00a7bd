/* test_arena.c: alignment, growth, the limit, and that a reset holds nothing (LeakSanitizer sees the rest). */
#include <criterion/criterion.h>
#include <string.h>
#include "arena.h"

Test(arena, aligned_and_apart)
{
	struct arena a;
	uint8_t *p[300];
	arena_init(&a, 1 << 20);
	for (unsigned i = 0; i < 300; i++) {
		p[i] = arena_alloc(&a, i);
		cr_assert_not_null(p[i]);
		cr_assert_eq((uintptr_t)p[i] % 16, 0);
		memset(p[i], (int)(i & 0xff), i);
	}
	for (unsigned i = 0; i < 300; i++) {
		for (unsigned j = 0; j < i; j++)
			cr_assert_eq(p[i][j], i & 0xff);
	}
	cr_expect(a.total >= 300 * 299 / 2 && a.total <= 3 * 300 * 299 / 2);
	arena_reset(&a);
	cr_expect_eq(a.total, 0);
	cr_expect_null(a.head);
	cr_expect_eq(a.limit, 1 << 20);
	uint8_t *z = arena_zalloc(&a, 5000);
	for (unsigned i = 0; i < 5000; i++)
		cr_assert_eq(z[i], 0);
	arena_reset(&a);
}

Test(arena, limit)
{
	static const uint32_t limits[] = {0, 15, 16, 32, 100, 1023, 1024, 5000, 70000};
	for (size_t k = 0; k < sizeof(limits) / sizeof(limits[0]); k++) {
		struct arena a;
		uint32_t got = 0;
		arena_init(&a, limits[k]);
		while (arena_alloc(&a, 16)) {
			got += 16;
			cr_assert(a.total <= a.limit);
		}
		cr_expect(got + 200 + limits[k] / 50 >= limits[k] && got <= limits[k],
			  "%u of %u", got, limits[k]);
		cr_expect_null(arena_alloc(&a, SIZE_MAX));
		cr_expect_null(arena_alloc(&a, SIZE_MAX - 7));
		cr_expect_null(arena_alloc(&a, UINT32_MAX));
		cr_expect_null(arena_alloc(&a, (size_t)limits[k] + 1));
		cr_expect_null(arena_zalloc(&a, UINT32_MAX));
		arena_reset(&a);
	}
}

Test(arena, one_big_request)
{
	struct arena a;
	arena_init(&a, 200000);
	cr_expect_not_null(arena_alloc(&a, 150000));
	cr_expect_null(arena_alloc(&a, 60000));
	cr_expect_not_null(arena_alloc(&a, 40000));
	arena_reset(&a);
	arena_init(&a, UINT32_MAX);
	cr_expect_null(arena_alloc(&a, UINT32_MAX));
	arena_reset(&a);
}

Test(arena, copies)
{
	struct arena a;
	arena_init(&a, 4096);
	struct span s = arena_copy(&a, SPAN("a\0b"));
	cr_expect(span_eq(s, SPAN("a\0b")));
	cr_expect_eq(s.p[3], 0);
	s = arena_copy(&a, span_of(NULL, 0));
	cr_expect(s.p && s.len == 0 && s.p[0] == 0, "empty is not the same as no room");
	cr_expect_null(arena_copy(&a, span_of("x", 5000)).p);
	arena_reset(&a);
}
