/* test_spsc.c: full, empty, wrap of the counters, and two threads that pass a million numbers in order. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include "spsc.h"

#define N 1000000u

Test(spsc, full_and_empty)
{
	struct spsc r;
	int v[5];
	spsc_init(&r, 4);
	/* as after 2^32 - 2 elements: the counters wrap in the middle of this test */
	atomic_store(&r.head, UINT32_MAX - 1);
	atomic_store(&r.tail, UINT32_MAX - 1);
	r.head_seen = r.tail_seen = UINT32_MAX - 1;
	cr_expect(spsc_empty(&r));
	cr_expect_null(spsc_pop(&r));
	for (int i = 0; i < 4; i++)
		cr_expect(spsc_push(&r, &v[i]));
	cr_expect_not(spsc_push(&r, &v[4]));
	cr_expect_not(spsc_empty(&r));
	cr_expect_eq(spsc_pop(&r), &v[0]);
	cr_expect(spsc_push(&r, &v[4]));
	for (int i = 1; i < 5; i++)
		cr_expect_eq(spsc_pop(&r), &v[i]);
	cr_expect_null(spsc_pop(&r));
	spsc_fini(&r);
	spsc_init(&r, 1);
	cr_expect(spsc_push(&r, v) && !spsc_push(&r, v) && spsc_pop(&r) == v && !spsc_pop(&r));
	spsc_fini(&r);
}

static void *producer(void *arg)
{
	struct spsc *r = arg;
	for (uintptr_t i = 1; i <= N; i++) {
		while (!spsc_push(r, (void *)i))
			sched_yield();
	}
	return NULL;
}

Test(spsc, two_threads)
{
	struct spsc r;
	pthread_t t;
	spsc_init(&r, 256);
	cr_assert_eq(pthread_create(&t, NULL, producer, &r), 0);
	for (uintptr_t want = 1; want <= N;) {
		void *p = spsc_pop(&r);
		if (!p) {
			sched_yield();
			continue;
		}
		cr_assert_eq((uintptr_t)p, want);
		want++;
	}
	pthread_join(t, NULL);
	cr_expect(spsc_empty(&r));
	spsc_fini(&r);
}
