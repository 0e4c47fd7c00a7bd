/* test_nap.c: a nap ends by itself, and earlier when it is cut short. */
#include <criterion/criterion.h>
#include <pthread.h>

#include "clock.h"
#include "nap.h"

static struct nap nap;
static atomic_int done;

static void *sleeper(void *arg)
{
	(void)arg;
	nap_take(&nap, 3600u * 1000000u);
	atomic_store(&done, 1);
	return NULL;
}

Test(nap, ends_by_itself)
{
	uint64_t t = clock_us();
	nap_take(&nap, 2000);
	cr_expect(clock_us() - t >= 1900);
	nap_wake(&nap); /* no one sleeps: nothing happens */
	cr_expect_eq(atomic_load(&nap.asleep), 0);
}

Test(nap, is_cut_short, .timeout = 60)
{
	pthread_t thread;
	cr_assert_eq(pthread_create(&thread, NULL, sleeper, NULL), 0);
	/* The one hour never passes: the join below ends only because of a wake. */
	while (!atomic_load(&done))
		nap_wake(&nap);
	cr_assert_eq(pthread_join(thread, NULL), 0);
}
