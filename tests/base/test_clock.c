/* test_clock.c: the units, by comparison with what the C library says. */
#include <criterion/criterion.h>
#include <time.h>
#include "clock.h"

Test(clock, units)
{
	uint64_t a = clock_us(), b = clock_us();
	cr_expect(b >= a && b - a < 60 * 1000000);
	uint64_t wall = clock_wall_us() / 1000000, now = (uint64_t)time(NULL);
	cr_expect(now >= wall && now - wall <= 60);
}

Test(clock, thread_cpu_grows_with_work)
{
	uint64_t start = clock_thread_cpu_ns();
	volatile unsigned sink;
	(void)sink;
	for (unsigned i = 0; i < 1000000; i++)
		sink = i;
	uint64_t used = clock_thread_cpu_ns() - start;
	cr_expect(used > 10000 && used < 10000000000u, "%lu ns", (unsigned long)used);
}
