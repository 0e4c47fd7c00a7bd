/* Packets and single slices, over the heap implementation. */
#include <criterion/criterion.h>
#include "pkt.h"
#include "pkt_inline.h"

static struct pkt_pool *pool;

static void setup(void)
{
	pool = pkt_pool_create("test", 8, PKT_ROOM);
}

static void teardown(void)
{
	cr_assert_eq(pkt_heap_outstanding(), 0);
	pkt_pool_destroy(&pool);
}

TestSuite(pkt, .init = setup, .fini = teardown);

Test(pkt, append_and_prepend_stop_at_the_buffer)
{
	struct pkt *p = pkt_alloc(pool);
	cr_assert_eq(pkt_len(p), 0);
	cr_assert_eq(pkt_room(p), PKT_ROOM);
	cr_assert_null(pkt_append(p, PKT_ROOM + 1));
	memset(pkt_append(p, PKT_ROOM), 'a', PKT_ROOM);
	cr_assert_eq(pkt_room(p), 0);
	cr_assert_null(pkt_append(p, 1));
	cr_assert_null(pkt_prepend(p, PKT_HEADROOM + 1));
	memset(pkt_prepend(p, PKT_HEADROOM), 'b', PKT_HEADROOM);
	cr_assert_null(pkt_prepend(p, 1));
	cr_assert_eq(pkt_len(p), PKT_ROOM + PKT_HEADROOM);
	cr_assert_eq(pkt_total(p), PKT_ROOM + PKT_HEADROOM);
	pkt_trim_head(p, PKT_HEADROOM);
	cr_assert_eq(pkt_data(p)[0], 'a');
	pkt_trim_tail(p, PKT_ROOM);
	cr_assert_eq(pkt_len(p), 0);
	cr_assert_eq(pkt_room(p), PKT_ROOM);
	pkt_free(p);
}

Test(pkt, pool_runs_out_and_recovers)
{
	struct pkt *p[8];
	for (unsigned i = 0; i < 8; i++)
		cr_assert_not_null(p[i] = pkt_alloc(pool));
	cr_assert_null(pkt_alloc(pool));
	cr_assert_eq(pkt_pool_free_n(pool), 0);
	cr_assert_eq(pkt_pool_size(pool), 8);
	pkt_free(p[3]);
	cr_assert_eq(pkt_pool_free_n(pool), 1);
	cr_assert_not_null(p[3] = pkt_alloc(pool));
	for (unsigned i = 0; i < 8; i++)
		pkt_free(p[i]);
	pkt_heap_fail_after(2);
	cr_assert_not_null(p[0] = pkt_alloc(pool));
	cr_assert_null(pkt_alloc(pool));
	cr_assert_not_null(p[1] = pkt_alloc(pool));
	pkt_free(p[0]);
	pkt_free(p[1]);
}

Test(pkt, slice_keeps_the_packet)
{
	struct pkt *p = pkt_alloc(pool);
	memcpy(pkt_append(p, 5), "hello", 5);
	struct slice s = slice_of(p, pkt_data(p) + 1, 3);
	struct slice t = slice_ref(&s);
	cr_assert(pkt_shared(p));
	pkt_free(p);
	cr_assert(span_eq(slice_span(&s), SPAN("ell")));
	slice_drop(&s);
	cr_assert_null(s.pkt);
	slice_drop(&s);
	cr_assert_eq(pkt_heap_outstanding(), 1);
	cr_assert(span_eq(slice_span(&t), SPAN("ell")));
	slice_drop(&t);
}

Test(pkt, chain_and_slice_of_its_head)
{
	struct pkt *a = pkt_alloc(pool), *b = pkt_alloc(pool), *c = pkt_alloc(pool);
	memcpy(pkt_append(a, 2), "ab", 2);
	memcpy(pkt_append(b, 3), "cde", 3);
	memcpy(pkt_append(c, 4), "fghi", 4);
	pkt_chain(b, c);
	pkt_chain(a, b);
	cr_assert_eq(pkt_total(a), 9);
	cr_assert_eq(pkt_total(b), 3);
	cr_assert_eq(pkt_len(a), 2);
	cr_assert_eq(pkt_mbuf(a)->nb_segs, 3);
	struct slice s = slice_of(a, pkt_data(a), 2);
	pkt_free(a);
	cr_assert_eq(pkt_heap_outstanding(), 1, "the slice holds its segment, not the chain");
	slice_drop(&s);
}

Test(pkt, attach_shares_the_bytes)
{
	struct pkt *p = pkt_alloc(pool);
	memcpy(pkt_append(p, 6), "abcdef", 6);
	struct slice s = slice_of(p, pkt_data(p) + 2, 3);
	struct pkt *q = pkt_attach(pool, &s);
	cr_assert_eq(pkt_data(q), pkt_data(p) + 2);
	cr_assert_eq(pkt_len(q), 3);
	cr_assert_eq(pkt_total(q), 3);
	struct slice t = slice_of(q, pkt_data(q) + 1, 1);
	struct pkt *r = pkt_attach(pool, &t);
	slice_drop(&s);
	slice_drop(&t);
	pkt_free(p);
	pkt_free(q);
	cr_assert_eq(*pkt_data(r), 'd');
	cr_assert_eq(pkt_heap_outstanding(), 2);
	pkt_free(r);
	pkt_heap_fail_after(1);
	p = pkt_alloc(pool);
	cr_assert_null(p);
	p = pkt_alloc(pool);
	s = slice_of(p, pkt_append(p, 1), 1);
	pkt_free(p);
	pkt_heap_fail_after(1);
	cr_assert_null(pkt_attach(pool, &s));
	slice_drop(&s);
}

Test(pkt, big_packet_gives_aligned_memory)
{
	struct pkt_pool *big = pkt_pool_create("big", 4, PKT_BIG_ROOM);
	struct pkt *p[4];
	for (unsigned i = 0; i < 4; i++) {
		p[i] = pkt_alloc(big);
		uint8_t *at = pkt_aligned(p[i], 32768);
		cr_assert_eq((uintptr_t)at % 4096, 0);
		cr_assert_eq(at, pkt_data(p[i]));
		memset(at, 1, 32768);
		cr_assert_eq(pkt_len(p[i]), 32768);
	}
	for (unsigned i = 0; i < 4; i++)
		pkt_free(p[i]);
	pkt_pool_destroy(&big);
}
