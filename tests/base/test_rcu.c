/* test_rcu.c: nothing is freed before every online reader has passed a quiescent point. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "rcu.h"

static unsigned freed;

static void count_free(void *p)
{
	(void)p;
	freed++;
}

Test(rcu, waits_for_each_reader)
{
	struct rcu *r = rcu_create(4);
	int x;
	cr_expect_eq(rcu_reclaim(r), 0);
	rcu_defer(r, count_free, &x);
	cr_expect_eq(rcu_reclaim(r), 0, "no reader is online");
	cr_expect_eq(freed, 1);

	rcu_reader_online(r, 0);
	rcu_reader_online(r, 3);
	rcu_defer(r, count_free, &x);
	cr_expect_eq(rcu_reclaim(r), 1);
	rcu_quiescent(r, 0);
	cr_expect_eq(rcu_reclaim(r), 1, "reader 3 may still see it");
	rcu_defer(r, count_free, &x);
	rcu_quiescent(r, 3);
	cr_expect_eq(rcu_reclaim(r), 1, "the second came after reader 0 was quiescent");
	cr_expect_eq(freed, 2);
	rcu_reader_offline(r, 0);
	cr_expect_eq(rcu_reclaim(r), 0);
	cr_expect_eq(freed, 3);
	rcu_defer(r, count_free, &x);
	rcu_destroy(&r);
	cr_expect_null(r);
	cr_expect_eq(freed, 4, "the end frees what is left");
	rcu_destroy(&r);
}

static struct rcu *again;

static void defers_one_more(void *p)
{
	freed++;
	rcu_defer(again, count_free, p);
}

Test(rcu, a_free_function_may_defer)
{
	again = rcu_create(1);
	rcu_defer(again, defers_one_more, &again);
	cr_expect_eq(rcu_reclaim(again), 1);
	cr_expect_eq(rcu_reclaim(again), 0);
	rcu_defer(again, defers_one_more, &again);
	rcu_destroy(&again);
	cr_expect_eq(freed, 4);
}

struct shared {
	struct rcu *r;
	_Atomic(unsigned *) value;
	atomic_bool stop;
	atomic_uint turns;
};

static void *reader(void *arg)
{
	struct shared *s = arg;
	rcu_reader_online(s->r, 1);
	while (!atomic_load(&s->stop)) {
		unsigned *v = atomic_load_explicit(&s->value, memory_order_acquire);
		if (*v != 12345)
			abort();
		sched_yield(); /* the writer replaces and reclaims while v is held */
		if (*v != 12345)
			abort();
		rcu_quiescent(s->r, 1);
		atomic_fetch_add(&s->turns, 1);
	}
	rcu_reader_offline(s->r, 1);
	return NULL;
}

static void wipe(void *p)
{
	*(unsigned *)p = 0;
	free(p);
	freed++;
}

static unsigned *fresh(void)
{
	unsigned *v = malloc(sizeof(*v));
	*v = 12345;
	return v;
}

Test(rcu, with_a_reader_thread)
{
	struct shared s = {.r = rcu_create(2)};
	pthread_t t;
	atomic_store(&s.value, fresh());
	cr_assert_eq(pthread_create(&t, NULL, reader, &s), 0);
	while (atomic_load(&s.turns) == 0)
		sched_yield();
	for (int i = 0; i < 2000; i++) {
		unsigned *old = atomic_exchange(&s.value, fresh());
		rcu_defer(s.r, wipe, old);
		rcu_reclaim(s.r);
		if (i % 16 == 0)
			sched_yield();
	}
	atomic_store(&s.stop, true);
	pthread_join(t, NULL);
	cr_expect_eq(rcu_reclaim(s.r), 0);
	cr_expect_eq(freed, 2000);
	free(atomic_load(&s.value));
	rcu_destroy(&s.r);
}
