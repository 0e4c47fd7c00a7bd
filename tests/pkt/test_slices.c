/* Lists of slices: merging, copying with roll-back, ranges, consuming. */
#include <criterion/criterion.h>
#include "pkt.h"
#include "rand.h"

#define ROOM 16

static struct pkt_pool *pool;

static void setup(void)
{
	pool = pkt_pool_create("test", 64, ROOM);
}

static void teardown(void)
{
	cr_assert_eq(pkt_heap_outstanding(), 0);
	pkt_pool_destroy(&pool);
}

TestSuite(slices, .init = setup, .fini = teardown);

static void expect(const struct slices *l, const char *text, unsigned n)
{
	char got[256];
	size_t len = slices_read(l, 0, got, sizeof(got));
	cr_expect_eq(l->len, strlen(text));
	cr_expect_eq(len, strlen(text));
	cr_expect_eq(memcmp(got, text, len), 0, "%.*s is not %s", (int)len, got, text);
	cr_expect_eq(l->n, n);
}

Test(slices, neighbours_merge)
{
	struct slices l = {0};
	struct pkt *p = pkt_alloc(pool);
	uint8_t *d = pkt_append(p, 9);
	memcpy(d, "abcdefghi", 9);
	slices_push(&l, slice_of(p, d, 3));
	slices_push(&l, slice_of(p, d + 3, 2));
	expect(&l, "abcde", 1);
	slices_push(&l, slice_of(p, d + 6, 1));
	expect(&l, "abcdeg", 2);
	slices_push(&l, slice_of(p, d + 7, 0));
	slices_push(&l, slice_of(p, d, 1));
	expect(&l, "abcdega", 3);
	pkt_free(p);
	slices_drop(&l);
	cr_assert_null(l.v);
}

Test(slices, copy_fills_packets)
{
	struct slices l = {0};
	cr_assert(slices_copy(&l, pool, SPAN("")));
	cr_assert(slices_copy(&l, pool, SPAN("0123456789")));
	cr_assert(slices_copy(&l, pool, SPAN("abcdefghijklmnopqrstuvwxyz")));
	expect(&l, "0123456789abcdefghijklmnopqrstuvwxyz", 3);
	/* The last packet has room left, but a second holder of it: not written to. */
	struct slices m = {0};
	slices_add_range(&m, &l, 30, 6);
	cr_assert(slices_copy(&l, pool, SPAN("!")));
	expect(&l, "0123456789abcdefghijklmnopqrstuvwxyz!", 4);
	expect(&m, "uvwxyz", 2);
	slices_drop(&l);
	expect(&m, "uvwxyz", 2);
	slices_drop(&m);
}

Test(slices, copy_that_fails_adds_nothing)
{
	struct slices l = {0};
	cr_assert(slices_copy(&l, pool, SPAN("0123456789")));
	for (unsigned at = 1; at <= 3; at++) {
		pkt_heap_fail_after(at);
		cr_assert(!slices_copy(&l, pool, SPAN("abcdefghijklmnopqrstuvwxyz0123456789ABCDEF")));
		expect(&l, "0123456789", 1);
	}
	cr_assert_eq(pkt_heap_outstanding(), 1);
	slices_drop(&l);
}

Test(slices, ranges_and_consuming_agree_with_bytes)
{
	struct rnd rnd;
	char text[201];
	rnd_seed(&rnd, 1);
	for (unsigned i = 0; i < 200; i++)
		text[i] = (char)('a' + i % 26);
	text[200] = '\0';
	struct slices l = {0};
	cr_assert(slices_copy(&l, pool, span_str(text)));
	for (unsigned i = 0; i < 300; i++) {
		uint32_t off = rnd_below(&rnd, 201), len = rnd_below(&rnd, 201 - off + 10);
		uint32_t want = len < 200 - off ? len : 200 - off;
		struct slices m = {0};
		slices_add_range(&m, &l, off, len);
		cr_assert_eq(m.len, want);
		char got[256];
		cr_assert_eq(slices_read(&m, 0, got, sizeof(got)), want);
		cr_assert_eq(memcmp(got, text + off, want), 0);
		uint32_t cut = rnd_below(&rnd, want + 1);
		slices_consume(&m, cut);
		cr_assert_eq(slices_read(&m, 0, got, sizeof(got)), want - cut);
		cr_assert_eq(memcmp(got, text + off + cut, want - cut), 0);
		uint32_t part = rnd_below(&rnd, 20);
		cr_assert_eq(slices_read(&l, off, got, part), part < 200 - off ? part : 200 - off);
		slices_drop(&m);
	}
	slices_drop(&l);
}
