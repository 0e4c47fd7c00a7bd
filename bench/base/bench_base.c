/*
 * bench_base.c: cost of the base primitives that the data path and the store lean on. Prints one line each:
 * name, nanoseconds an operation, and GB/s where bytes are moved. Runs about a second.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "map.h"
#include "pool.h"
#include "rand.h"
#include "spsc.h"
#include "wheel.h"

static volatile uint64_t sink;

static void report(const char *name, size_t bytes, uint64_t n, uint64_t ns)
{
	double each = (double)ns / (double)n;

	if (bytes)
		printf("%-24s %8zu B %10.1f ns %8.2f GB/s\n", name, bytes, each, (double)bytes / each);
	else
		printf("%-24s %10s %10.1f ns\n", name, "", each);
}

/* The best of a few runs, as other processes share the machine. body sees k = 0 .. n-1. */
#define BEST(name, bytes, n, body)								   \
	do {											   \
		uint64_t best_ = UINT64_MAX;							   \
		for (int run_ = 0; run_ < 5; run_++) {						   \
			uint64_t start_ = clock_thread_cpu_ns();				   \
			for (uint64_t k = 0; k < (n); k++) {					   \
				body;								   \
			}									   \
			uint64_t took_ = clock_thread_cpu_ns() - start_;			   \
			best_ = took_ < best_ ? took_ : best_;					   \
		}										   \
		report(name, bytes, n, best_);							   \
	} while (0)

static void checksums(void)
{
	static const size_t sizes[] = {64, 512, 1536, 4096, 65536, 16 << 20};
	uint8_t *a = malloc(16 << 20), *b = malloc(16 << 20);

	memset(a, 1, 16 << 20);
	memset(b, 2, 16 << 20);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		size_t len = sizes[i];
		uint64_t n = (64 << 20) / len;
		BEST("crc32c", len, n, sink += crc32c(0, a, len));
		BEST("crc32c_copy", len, n, sink += crc32c_copy(0, b, a, len));
		BEST("memcpy", len, n, memcpy(b, a, len); sink += b[i % len]);
		if (len == 4096) {
			BEST("crc32c_soft", len, n / 16, sink += crc32c_soft(0, a, len));
			BEST("siphash", len, n / 16, sink += siphash(a, b, len));
		}
	}
	BEST("siphash", 40, 1000000, sink += siphash(a, b, 40));
	free(a);
	free(b);
}

static void timers(void)
{
	static struct wheel w;
	static struct timer t[4096];
	uint64_t now = 1000;

	wheel_init(&w, now);
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		timer_init(&t[i]);
		timer_arm(&w, &t[i], now + 200 + i % 5000);
	}
	BEST("timer moved later", 0, 10000000, timer_arm(&w, &t[k % 4096], now + 6000 + k / 4096));
	BEST("timer stop and arm", 0, 10000000, timer_stop(&w, &t[k % 4096]);
	     timer_arm(&w, &t[k % 4096], now + 200));
	BEST("wheel_next, same ms", 0, 10000000, sink += wheel_next(&w, now) != NULL);
	BEST("wheel_next, 1 ms on", 0, 1000000, struct timer *d;
	     while ((d = wheel_next(&w, now))) timer_arm(&w, d, now + 300); now++);
	BEST("wheel_hint_ms", 0, 10000000, sink += wheel_hint_ms(&w));
}

static void others(void)
{
	struct spsc r;
	struct pool p;
	struct map m;
	struct rnd rnd;

	spsc_init(&r, 256);
	BEST("spsc push and pop", 0, 10000000, spsc_push(&r, &r); sink += spsc_pop(&r) != NULL);
	spsc_fini(&r);
	pool_init(&p, 100000, 512);
	BEST("pool take and give", 0, 10000000, pool_give(&p, pool_take(&p)));
	pool_fini(&p);
	map_init(&m);
	for (uint64_t i = 0; i < 10000; i++)
		map_put(&m, i * 7, i);
	BEST("map_get of 10000", 0, 10000000, uint64_t v; sink += map_get(&m, k % 10000 * 7, &v));
	map_fini(&m);
	rnd_seed(&rnd, 1);
	BEST("rnd_u64", 0, 10000000, sink += rnd_u64(&rnd));
	BEST("rnd_below", 0, 10000000, sink += rnd_below(&rnd, 1000));
}

int main(void)
{
	checksums();
	timers();
	others();
	return 0;
}
