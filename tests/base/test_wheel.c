/* test_wheel.c: virtual time. The wheel against a plain array of deadlines, near and far, moved and stopped. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include "rand.h"
#include "wheel.h"

static struct wheel w;

Test(wheel, fires_at_its_time)
{
	static const uint64_t starts[] = {0, 1, 255, 256, 65535, 0xffffff, 0xfffffffe, 1234567890123};
	static const uint64_t aheads[] = {1, 2, 254, 255, 256, 257, 511, 512, 65535, 65536, 65537, 0xffffff,
					  0x1000000, 0x1000001, 0xfffffffe, 0xffffffff, 0x100000000,
					  0x123456789a};
	for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
		for (size_t j = 0; j < ARRAY_LEN(aheads); j++) {
			struct timer t;
			uint64_t due = starts[i] + aheads[j];
			wheel_init(&w, starts[i]);
			timer_init(&t);
			cr_assert_eq(wheel_hint_ms(&w), UINT64_MAX);
			timer_arm(&w, &t, due);
			cr_assert(wheel_hint_ms(&w) <= due && wheel_hint_ms(&w) > starts[i]);
			cr_assert_null(wheel_next(&w, due - 1), "%zu %zu", i, j);
			cr_assert_eq(wheel_hint_ms(&w), due);
			cr_assert_eq(wheel_next(&w, due), &t, "%zu %zu", i, j);
			cr_assert_eq(t.due_ms, 0);
			cr_assert(list_empty(&t.node));
			cr_assert_null(wheel_next(&w, due + 1000000));
			cr_assert_eq(w.n, 0);

			/* in one jump, far beyond */
			wheel_init(&w, starts[i]);
			timer_arm(&w, &t, due);
			cr_assert_eq(wheel_next(&w, due * 2 + 99), &t);
			cr_assert_null(wheel_next(&w, due * 2 + 99));
		}
	}
}

Test(wheel, hint_leads_to_the_deadline)
{
	struct timer t;
	wheel_init(&w, 77);
	timer_init(&t);
	timer_arm(&w, &t, UINT64_C(10000000000));
	unsigned wakes = 0;
	uint64_t now = 77;
	for (;;) {
		uint64_t hint = wheel_hint_ms(&w);
		cr_assert(hint > now && hint <= 10000000000);
		now = hint;
		wakes++;
		if (wheel_next(&w, now))
			break;
	}
	cr_expect_eq(now, UINT64_C(10000000000));
	cr_expect(wakes <= 10, "%u", wakes);
}

Test(wheel, moves)
{
	struct timer t;
	wheel_init(&w, 1000);
	timer_init(&t);
	timer_stop(&w, &t);
	timer_arm(&w, &t, 1100);
	struct list *slot = t.node.next;
	timer_arm(&w, &t, 90000); /* later: stays where it is */
	cr_expect_eq(t.node.next, slot);
	cr_expect_null(wheel_next(&w, 89999));
	timer_arm(&w, &t, 200000);
	timer_arm(&w, &t, 90500); /* earlier again, but not than where it sits */
	cr_expect_null(wheel_next(&w, 90499));
	timer_arm(&w, &t, 90700);
	timer_arm(&w, &t, 90600);
	cr_expect_eq(wheel_next(&w, 90600), &t);
	timer_arm(&w, &t, 500000);
	timer_arm(&w, &t, 90601);
	cr_expect_eq(w.n, 1);
	cr_expect_eq(wheel_next(&w, 90601), &t);
	timer_arm(&w, &t, 90700);
	timer_stop(&w, &t);
	cr_expect_eq(w.n, 0);
	cr_expect_eq(t.due_ms, 0);
	cr_expect_null(wheel_next(&w, 1000000));
	cr_expect_eq(wheel_hint_ms(&w), UINT64_MAX);
}

Test(wheel, past_deadlines)
{
	struct timer t, u;
	unsigned n = 0;
	wheel_init(&w, 5000);
	timer_init(&t);
	timer_init(&u);
	timer_arm(&w, &t, 4000);
	cr_expect_eq(wheel_hint_ms(&w), 5000);
	/* armed again for now in the loop: once per drain, also when time stands still */
	for (struct timer *d; (d = wheel_next(&w, 5000)); n++)
		timer_arm(&w, d, 5000);
	cr_expect_eq(n, 1);
	for (struct timer *d; (d = wheel_next(&w, 5000)); n++)
		timer_arm(&w, d, 0);
	cr_expect_eq(n, 2);
	timer_arm(&w, &t, 6000); /* from the late list into the future */
	cr_expect_null(wheel_next(&w, 5999));
	cr_expect_eq(wheel_next(&w, 6000), &t);
	timer_arm(&w, &t, 10);
	timer_stop(&w, &t);
	cr_expect_null(wheel_next(&w, 6001));
	/* u is due in the same drain; the handler of t moves or stops it before its turn */
	timer_arm(&w, &t, 7000);
	timer_arm(&w, &u, 7001);
	cr_expect_eq(wheel_next(&w, 7100), &t);
	timer_arm(&w, &u, 7200);
	cr_expect_null(wheel_next(&w, 7100));
	cr_expect_eq(wheel_next(&w, 7200), &u);
	cr_expect_null(wheel_next(&w, 7000), "time that goes back is no time");
}

#define N 300

/* Arms like TCP (moved later all the time), like idle timeouts, and like queue retries hours ahead. */
static uint64_t draw(struct rnd *r)
{
	static const uint32_t range[] = {3, 300, 70000, 20000000, 2000000000};
	return rnd_below(r, range[rnd_below(r, 5)]);
}

static void run_model(uint64_t seed, uint64_t start)
{
	static struct timer t[N];
	static uint64_t due[N]; /* 0 = not armed */
	struct rnd r;
	uint64_t now = start, fired = 0;
	rnd_seed(&r, seed);
	wheel_init(&w, now);
	for (int i = 0; i < N; i++) {
		timer_init(&t[i]);
		due[i] = 0;
	}
	for (int turn = 0; turn < 20000; turn++) {
		for (unsigned k = rnd_below(&r, 8); k > 0; k--) {
			uint32_t i = rnd_below(&r, N);
			if (rnd_below(&r, 8) == 0) {
				timer_stop(&w, &t[i]);
				due[i] = 0;
			} else {
				due[i] = now + draw(&r);
				timer_arm(&w, &t[i], due[i]);
			}
		}
		uint64_t first = UINT64_MAX;
		uint32_t n = 0;
		for (int i = 0; i < N; i++) {
			if (due[i]) {
				n++;
				first = due[i] < first ? due[i] : first;
			}
		}
		cr_assert_eq(w.n, n);
		cr_assert(wheel_hint_ms(&w) <= (first < now ? now : first));
		now += rnd_below(&r, 4) ? rnd_below(&r, 5) : draw(&r) / 16;
		for (struct timer *d; (d = wheel_next(&w, now)); fired++) {
			ptrdiff_t i = d - t;
			cr_assert(due[i] && due[i] <= now, "early or not armed");
			due[i] = 0;
		}
		for (int i = 0; i < N; i++)
			cr_assert(due[i] == 0 || due[i] > now, "timer %d was missed", i);
	}
	cr_expect(fired > 10000, "%lu", (unsigned long)fired);
}

Test(wheel, against_a_model)
{
	run_model(1, 1);
	run_model(2, 0xfffffffff0);
	run_model(3, 1764000000000);
}
