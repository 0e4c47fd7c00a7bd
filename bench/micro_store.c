/*
 * micro_store.c: durable appends through store.h: one core, one storage thread, a real directory.
 *
 * Usage: micro_store [DIR [SECONDS [BYTES]]]. For 1, 8, 64 and 512 ops in flight it commits messages (blob + delivery
 * into one of 1000 mailboxes, or blob + queue item followed later by its done) and prints messages/s, CPU us per
 * message of the storage thread, messages a group, and the latency of an op. The submitter polls; it
 * yields the core when nothing came back, so that two cores are enough. Then it reads, and reopens the store.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "clock.h"
#include "rand.h"
#include "store.h"

#define MAILBOXES 1000u
#define DEPTH_MAX 512u
#define LAT_MAX   (1u << 20)

static struct pkt_pool *pool;
static uint64_t mailbox[MAILBOXES];
static uint32_t lat[LAT_MAX], n_lat;
static struct store *s;
static struct store_core *c;
static struct slices body;
static struct rnd rnd;

static int u32_cmp(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

static struct store_op *wait_one(void)
{
	struct store_op *op;
	while (store_poll(c, &op, 1) == 0)
		sched_yield();
	return op;
}

static void open_store(const struct store_conf *conf)
{
	char why[256];
	if (store_open(&s, conf, why, sizeof(why)) != ERR_OK || store_start(s) != ERR_OK) {
		(void)fprintf(stderr, "micro_store: %s\n", why);
		exit(1);
	}
	c = store_core(s, 0);
}

static struct store_op *message(bool relay, store_id *item)
{
	struct store_op *op = store_op_new(c, STORE_COMMIT, UINT32_MAX, 0);
	op->blob = store_id_new(c);
	slices_add_range(&op->body, &body, 0, body.len);
	store_tx_blob(op, op->blob, 0, 0);
	if (relay) {
		if (*item)
			store_tx_qdone(op, *item);
		*item = store_id_new(c);
		store_tx_qput(op, *item, op->blob, 0, SPAN("from\0to\0state of about forty bytes in all"));
	} else {
		store_tx_deliver(op, mailbox[rnd_below(&rnd, MAILBOXES)], STORE_INBOX, op->blob, 0, SPAN(""), 0);
	}
	return op;
}

static void run(unsigned depth, bool relay, double seconds)
{
	static store_id item[DEPTH_MAX * 16];
	struct store_op *got[64];
	struct store_stats a, b;
	unsigned flight = 0, n_item = 0;
	uint64_t n = 0;
	n_lat = 0;
	store_stats(s, &a);
	uint64_t t0 = clock_us(), end = t0 + (uint64_t)(seconds * 1e6), now = t0;
	while (now < end || flight > 0) {
		while (flight < depth && now < end) {
			struct store_op *op = message(relay, &item[n_item++ % (DEPTH_MAX * 16)]);
			op->user = (void *)(uintptr_t)now;
			store_submit(c, op);
			flight++;
		}
		unsigned k = store_poll(c, got, 64);
		now = clock_us();
		if (k == 0)
			sched_yield();
		for (unsigned i = 0; i < k; i++) {
			if (got[i]->err != ERR_OK) {
				(void)fprintf(stderr, "micro_store: %s\n", err_text(got[i]->err));
				exit(1);
			}
			if (n_lat < LAT_MAX)
				lat[n_lat++] = (uint32_t)(now - (uint64_t)(uintptr_t)got[i]->user);
			store_op_free(&got[i]);
		}
		flight -= k;
		n += k;
	}
	double us = (double)(now - t0);
	struct store_op *op = store_op_new(c, STORE_LOCK, UINT32_MAX, 0); /* lets the gauges catch up */
	store_submit(c, op);
	op = wait_one();
	store_op_free(&op);
	usleep(1000);
	store_stats(s, &b);
	qsort(lat, n_lat, sizeof(*lat), u32_cmp);
	double groups = (double)(b.groups - a.groups);
	printf("%-7s %5u %10.0f %8.2f %8.1f %7u %7u %8.0f %6.2f\n", relay ? "relay" : "mailbox", depth, (double)n / us * 1e6,
	       (double)(b.cpu_ns - a.cpu_ns) / 1e3 / (double)n, (double)n / groups, lat[n_lat / 2],
	       lat[n_lat * 99 / 100], (double)(b.flush_us_sum - a.flush_us_sum) / groups,
	       (double)(b.group_bytes - a.group_bytes) / (double)(n * body.len));
	(void)fflush(stdout);
}

static void mailboxes(void)
{
	for (unsigned i = 0; i < MAILBOXES; i++) {
		char name[64];
		int len = snprintf(name, sizeof(name), "user%u@example.net", i);
		struct store_op *op = store_op_new(c, STORE_COMMIT, UINT32_MAX, 0);
		store_tx_account_add(op, span_of(name, (size_t)len), SPAN("hash"));
		store_submit(c, op);
		op = wait_one();
		if (op->err != ERR_OK)
			exit(1);
		mailbox[i] = op->res[0].id;
		store_op_free(&op);
	}
}

int main(int argc, char **argv)
{
	static const unsigned depth[] = {1, 8, 64, 512};
	const char *dir = argc > 1 ? argv[1] : "micro-store.tmp";
	double seconds = argc > 2 ? atof(argv[2]) : 1;
	size_t bytes = argc > 3 ? strtoul(argv[3], NULL, 10) : 4096;
	char cmd[512];
	(void)snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	if (system(cmd) != 0)
		return 1;
	pool = pkt_pool_create("small", 4096, PKT_ROOM);
	struct store_conf conf = {
		.path = dir, .n_cores = 1, .ops_per_core = 1024, .cpu = -1,
		.big = pkt_pool_create("big", 256, PKT_BIG_ROOM),
	};
	rnd_seed(&rnd, 1);
	uint8_t *text = malloc(bytes);
	for (size_t i = 0; text && i < bytes; i++)
		text[i] = (uint8_t)rnd_u64(&rnd);
	if (!text || !slices_copy(&body, pool, span_of(text, bytes)))
		return 1;
	open_store(&conf);
	mailboxes();
	printf("%zu bytes a message; us: CPU of the storage thread per message, latency of an op, flush of a group\n",
	       bytes);
	printf("%-7s %5s %10s %8s %8s %7s %7s %8s %6s\n", "kind", "depth", "messages/s", "cpu", "group", "p50", "p99",
	       "flush", "wr/msg");
	for (unsigned relay = 0; relay < 2; relay++) {
		for (unsigned i = 0; i < 4; i++)
			run(depth[i], relay, seconds);
	}
	uint64_t t = clock_us();
	store_close(&s);
	uint64_t closed = clock_us();
	open_store(&conf);
	struct store_stats st;
	store_stats(s, &st);
	printf("close %.1f ms, reopen %.1f ms with %llu messages, %llu items, %llu segments (%llu free)\n", (double)(closed - t) / 1e3,
	       (double)(clock_us() - closed) / 1e3, (unsigned long long)st.messages, (unsigned long long)st.queue_items,
	       (unsigned long long)st.segments, (unsigned long long)st.segments_free);
	store_close(&s);
	slices_drop(&body);
	free(text);
	return system(cmd) == 0 ? 0 : 1;
}
