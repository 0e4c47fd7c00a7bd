/*
 * test_crash.c: the power is cut at every write of recorded random runs.
 *
 * A run submits random batches, some at a time, and notes after which event of the disk each was acknowledged.
 * For each event and each kind of loss the image is opened: the store must hold exactly what the model held
 * after some number of batches, and that number must be at least those acknowledged before the cut. Then the
 * recovered store is used and opened again. (VEREDUS_CRASH_RUNS=n: a longer run.) A disk that lies about flushes is the negative control.
 */
#include "clock.h"
#include "model.h"
#include <stdio.h>

#define STEPS_MAX 400
#if defined(__SANITIZE_ADDRESS__)
#define SPARSE 7 /* sanitizers: every so manyth of the images */
#else
#define SPARSE 1
#endif

struct run {
	struct rig r;
	struct model m;
	char *want[STEPS_MAX + 1]; /* the model's dump after so many batches */
	uint64_t acked[STEPS_MAX]; /* events at its acknowledgement */
	unsigned n;
	struct stat stat;
	uint64_t start, acct, images, done_n;
};

static void run_init(struct run *u, uint64_t seed, uint32_t body_max)
{
	memset(u, 0, sizeof(*u));
	rig_init(&u->r, RIG_FAULTY, seed);
	u->r.conf.segment_size = 64u << 10;
	u->r.conf.checkpoint_bytes = 160u << 10;
	u->r.conf.size_max = 60 * (64u << 10);
	u->r.conf.stat = &u->stat;
	disk_faulty_record(u->r.faulty);
	cr_assert_eq(rig_open(&u->r), ERR_OK, "%s", u->r.why);
	u->acct = rig_account(&u->r, "a@example.net");
	model_init(&u->m, u->acct, (uint32_t)(u->r.wall_us / 1000000), body_max);
	u->start = disk_faulty_events(u->r.faulty);
	u->want[0] = model_dump(&u->m);
}

static void run_poll(struct run *u)
{
	struct store_op *got[8];
	unsigned n = store_poll(u->r.c, got, 8);
	for (unsigned i = 0; i < n; i++) {
		cr_assert_eq(got[i]->err, ERR_OK, "batch %u: %s", (unsigned)u->done_n, err_name(got[i]->err));
		if (got[i]->verb == STORE_COMMIT)
			u->acked[u->done_n++] = disk_faulty_events(u->r.faulty);
		store_op_free(&got[i]);
	}
}

/* Submits n batches, up to depth at a time. */
static void run_go(struct run *u, unsigned n, unsigned depth, uint64_t seed)
{
	struct rnd rnd;
	rnd_seed(&rnd, seed);
	u->m.parts = true;
	rnd_seed(&u->m.rnd, seed + 1);
	while (u->done_n < n) {
		while (u->n < n && store_pending(u->r.c) < depth && rnd_below(&rnd, 3)) {
			store_submit(u->r.c, model_step(&u->m, &u->r, &rnd));
			u->want[++u->n] = model_dump(&u->m);
		}
		if (store_pending(u->r.c) == 0)
			u->r.wall_us += 300000; /* not under way: the model has the time of the submission */
		store_step(u->r.s);
		run_poll(u);
	}
}

static void run_fini(struct run *u)
{
	for (unsigned i = 0; i <= u->n; i++)
		free(u->want[i]);
	rig_fini(&u->r);
}

/* The image as a rig of its own. */
static void image_rig(struct rig *r, const struct run *u, struct disk_mem *mem)
{
	*r = u->r;
	r->mem = mem;
	r->faulty = NULL;
	r->s = NULL;
	r->conf.disk = &disk_mem_ops;
	r->conf.disk_arg = mem;
	r->conf.wall_arg = r;
}

/* How many batches the image holds; -1: it cannot be opened or holds something else. */
static int image_batches(struct run *u, struct rig *r, unsigned acked)
{
	if (rig_open(r) != ERR_OK)
		return -1;
	char *got = model_dump_store(r, u->acct);
	int found = -1;
	for (unsigned i = acked; i <= u->n && found < 0; i++) {
		if (strcmp(got, u->want[i]) == 0)
			found = (int)i;
	}
	free(got);
	return found;
}

/* The store goes on where it was: a UID that is new, kept over another start. */
static bool image_lives(struct run *u, struct rig *r)
{
	enum err e;
	struct store_op *op = rig_sync(r, u->acct, STORE_INBOX, 0, false);
	uint32_t next = op->view->folder.uidnext;
	store_op_free(&op);
	uint32_t uid = rig_deliver(r, u->acct, STORE_INBOX, "after the cut", 13, &e);
	if (e != ERR_OK || uid != next)
		return false;
	rig_close(r);
	if (rig_open(r) != ERR_OK)
		return false;
	op = rig_sync(r, u->acct, STORE_INBOX, 0, false);
	bool ok = op->view->n_ent > 0 && op->view->ent[op->view->n_ent - 1].uid == uid &&
		  rig_blob_is(r, op->view->ent[op->view->n_ent - 1].blob, "after the cut", 13);
	store_op_free(&op);
	return ok;
}

static unsigned acked_before(const struct run *u, uint64_t event)
{
	unsigned n = 0;
	while (n < u->n && u->acked[n] <= event)
		n++;
	return n;
}

/* Every `stride`th event in every mode; returns how many images broke the promise. */
static unsigned run_cut(struct run *u, unsigned stride, uint64_t seed, bool say)
{
	unsigned bad = 0;
	struct disk_cut *cut = disk_cut_begin(u->r.faulty);
	for (uint64_t ev = u->start; ev <= disk_faulty_events(u->r.faulty); ev += stride) {
		disk_cut_advance(cut, ev);
		for (int mode = 0; mode < DISK_CUT_N; mode++) {
			struct disk_mem *mem = disk_cut_image(cut, (enum disk_cut_mode)mode, seed ^ ev * 4 ^ (uint64_t)mode);
			struct rig r;
			image_rig(&r, u, mem);
			unsigned acked = acked_before(u, ev);
			int n = image_batches(u, &r, acked);
			bool ok = n >= (int)acked && image_lives(u, &r);
			if (!ok && say)
				cr_log_error("seed %llu event %llu mode %d: acknowledged %u, found %d %s",
					     (unsigned long long)seed, (unsigned long long)ev, mode, acked, n, r.s ? "" : r.why);
			bad += !ok;
			u->images++;
			store_close(&r.s);
			disk_mem_destroy(&mem);
		}
	}
	disk_cut_end(&cut);
	return bad;
}

/* Until there is nothing left to do, collection included. */
static void run_rest(struct run *u)
{
	while (store_step(u->r.s))
		;
}

static void cut_run(uint64_t seed, unsigned n, unsigned depth, uint32_t body_max, unsigned stride, bool relay)
{
	struct run u;
	run_init(&u, seed, body_max);
	u.m.relay = relay;
	run_go(&u, n, depth, seed);
	char *got = model_dump_store(&u.r, u.acct);
	cr_expect_str_eq(got, u.want[u.n], "seed %llu: the store differs from the model without any cut",
			 (unsigned long long)seed);
	free(got);
	cr_expect_eq(run_cut(&u, stride * SPARSE, seed, true), 0);
	cr_log_info("seed %llu: %llu events, %llu images", (unsigned long long)seed,
		    (unsigned long long)disk_faulty_events(u.r.faulty), (unsigned long long)u.images);
	run_fini(&u);
}

Test(crash, one_at_a_time)
{
	cut_run(1, 60, 1, 3000, 1, false);
}

Test(crash, many_in_flight)
{
	cut_run(2, 120, 12, 3000, 1, false);
}

Test(crash, large_bodies_over_segments)
{
	cut_run(3, 60, 8, 40000, 2, false);
	cut_run(30, 80, 16, 20000, 2, false);
}

Test(crash, long_run)
{
	cut_run(4, 400, 6, 5000, 11, false);
}

/* A relay's load in few segments: they are used again while old references may still come back. */
Test(crash, segments_used_again)
{
	cut_run(6, 400, 8, 12000, 15, true);
}

/* A third of what passes stays: segments are emptied by moving it, under load and in the pauses. */
static void collect_run(struct run *u, uint64_t seed, unsigned n, uint32_t body_max, unsigned breaks)
{
	run_init(u, seed, body_max);
	u->r.conf.breaks = breaks;
	rig_reopen(&u->r);
	u->m.next_oid += 1ull << 48; /* the second start */
	u->m.relay = true;
	u->m.keep = 3;
	while (u->n < n) {
		run_go(u, u->n + 40, 4, seed + u->n);
		run_rest(u);
	}
}

Test(crash, collection)
{
	for (uint64_t seed = 20; seed < 22; seed++) {
		struct run u;
		collect_run(&u, seed, 280, 5000, 0);
		cr_expect_gt(stat_get(&u.stat, STAT_store_gc_segments), 8);
		cr_expect_eq(run_cut(&u, 5 * SPARSE, seed, true), 0);
		cr_log_info("seed %llu: %llu segments emptied, %llu images", (unsigned long long)seed,
			    (unsigned long long)stat_get(&u.stat, STAT_store_gc_segments), (unsigned long long)u.images);
		run_fini(&u);
	}
}

/* Negative control: segments that are used again too early are missed. */
Test(crash, collection_negative_control)
{
	struct run u;
	collect_run(&u, 23, 280, 9000, STORE_BREAK_REUSE);
	unsigned bad = run_cut(&u, 17, 23, false);
	cr_expect_gt(bad, 2, "%u", bad);
	cr_log_info("%u of %llu images are bad", bad, (unsigned long long)u.images);
	run_fini(&u);
}

/* The start after a cut is cut as well, and what was done after it. */
static unsigned recut(struct run *u, struct disk_mem *mem, uint64_t seed)
{
	unsigned bad = 0;
	struct rig r;
	image_rig(&r, u, mem);
	r.faulty = disk_faulty_create(mem, seed);
	r.conf.disk = &disk_faulty_ops;
	r.conf.disk_arg = r.faulty;
	disk_faulty_record(r.faulty);
	cr_assert_eq(rig_open(&r), ERR_OK, "%s", r.why);
	char *before = model_dump_store(&r, u->acct);
	enum err e;
	cr_assert_neq(rig_deliver(&r, u->acct, STORE_INBOX, "after the cut", 13, &e), 0);
	uint64_t acked = disk_faulty_events(r.faulty);
	char *after = model_dump_store(&r, u->acct);
	rig_close(&r);
	struct disk_cut *cut = disk_cut_begin(r.faulty);
	for (uint64_t ev = 0; ev <= disk_faulty_events(r.faulty); ev++) {
		disk_cut_advance(cut, ev);
		struct disk_mem *again = disk_cut_image(cut, (enum disk_cut_mode)((seed + ev) % DISK_CUT_N), seed ^ ev);
		struct rig x;
		image_rig(&x, u, again);
		bool ok = rig_open(&x) == ERR_OK;
		char *got = ok ? model_dump_store(&x, u->acct) : NULL;
		ok = ok && (strcmp(got, after) == 0 || (ev < acked && strcmp(got, before) == 0));
		if (!ok)
			cr_log_error("seed %llu event %llu: %s", (unsigned long long)seed, (unsigned long long)ev, x.why);
		bad += !ok;
		free(got);
		u->images++;
		store_close(&x.s);
		disk_mem_destroy(&again);
	}
	disk_cut_end(&cut);
	free(before);
	free(after);
	disk_faulty_destroy(&r.faulty);
	return bad;
}

Test(crash, the_start_is_cut_too)
{
	struct run u;
	run_init(&u, 7, 9000);
	run_go(&u, 80, 6, 7);
	struct disk_cut *cut = disk_cut_begin(u.r.faulty);
	for (uint64_t ev = u.start; ev <= disk_faulty_events(u.r.faulty); ev += 5 * SPARSE) {
		disk_cut_advance(cut, ev);
		for (int mode = DISK_CUT_TORN; mode < DISK_CUT_N; mode++) {
			struct disk_mem *mem = disk_cut_image(cut, (enum disk_cut_mode)mode, ev);
			cr_expect_eq(recut(&u, mem, ev * 2 + (uint64_t)mode), 0);
			disk_mem_destroy(&mem);
		}
	}
	disk_cut_end(&cut);
	cr_log_info("%llu images", (unsigned long long)u.images);
	run_fini(&u);
}

/* VEREDUS_CRASH_RUNS=n: so many more runs with seeds of the clock, each said when it fails. */
Test(crash, more_runs, .timeout = 36000)
{
	const char *env = getenv("VEREDUS_CRASH_RUNS");
	uint64_t seed = clock_wall_us();
	for (int i = 0; env && i < atoi(env); i++, seed++)
		cut_run(seed, 50 + (unsigned)(seed % 200), 1 + (unsigned)(seed % 13), 500 + (uint32_t)(seed % 20000),
			1 + (unsigned)(seed % 5), seed % 3 == 0);
}

/* Four groups are in flight, of which a power cut leaves only the last. The next start writes three others (its own mark and
 * two messages) in front of it, as long as the lost ones. The old one is nobody's successor: without the check of the
 * chain it comes back to life. */
#define OLD_LEN 140000u /* a group of 35 blocks */
#define NEW_LEN 210000u /* of 52; 1 + 52 + 52 = 3 * 35 */

static void submit_text(struct rig *r, uint64_t acct, const uint8_t *text, size_t len)
{
	struct store_op *op = rig_op(r, STORE_COMMIT);
	op->blob = store_id_new(r->c);
	op->body = rig_bytes(r, text, len);
	store_tx_blob(op, op->blob, 0, 0);
	store_tx_deliver(op, acct, STORE_INBOX, op->blob, 0, SPAN(""), 1000);
	store_submit(r->c, op);
}

/* The disk with the last of the four large groups, but not the three before it, nor what came later. */
static struct disk_mem *only_the_fourth(struct disk_mem *m)
{
	uint64_t size;
	const uint8_t *p = disk_mem_bytes(m, "seg-000000", &size);
	uint32_t group[4], n = 0, bytes;
	for (uint32_t at = 4096; at < size && n < 4; at += 4096) {
		memcpy(&bytes, p + at + 40, 4);
		if (memcmp(p + at, "vgrp", 4) == 0 && bytes > OLD_LEN)
			group[n++] = at;
	}
	cr_assert_eq(n, 4);
	struct disk_mem *image = disk_mem_create();
	disk_mem_put(image, "seg-000000", p, size);
	uint8_t *q = disk_mem_bytes(image, "seg-000000", &size);
	uint32_t end = group[3] + 35 * 4096;
	memset(q + group[0], 0, group[3] - group[0]);
	memset(q + end, 0, size - end);
	return image;
}

static bool stale_successor(unsigned breaks)
{
	static uint8_t text[NEW_LEN];
	struct rig r;
	struct store_op *op;
	rig_init(&r, RIG_MEM, 9);
	r.conf.segment_size = 4u << 20;
	r.conf.breaks = breaks;
	rig_fill(text, sizeof(text), 9);
	cr_assert_eq(rig_open(&r), ERR_OK);
	uint64_t a = rig_account(&r, "a@example.net");
	for (unsigned i = 0; i < 5; i++)
		submit_text(&r, a, text, OLD_LEN);
	for (unsigned back = 0; back < 5;) {
		store_step(r.s);
		if (store_poll(r.c, &op, 1) == 1) {
			back++;
			store_op_free(&op);
		}
	}
	struct disk_mem *image = only_the_fourth(r.mem);
	rig_close(&r);
	disk_mem_destroy(&r.mem);
	r.mem = image;
	r.conf.disk_arg = image;
	cr_assert_eq(rig_open(&r), ERR_OK, "%s", r.why);
	store_step(r.s); /* the start's own mark is a group */
	for (unsigned n = 1; n <= 2; n++)
		cr_assert_eq(rig_deliver(&r, a, STORE_INBOX, text, NEW_LEN, NULL), n);
	bool lives = rig_try_replay(&r) != ERR_OK; /* or it does not fit, for one */
	if (!lives) {
		op = rig_sync(&r, a, STORE_INBOX, 0, false);
		lives = op->view->n_ent != 2;
		store_op_free(&op);
	}
	rig_fini(&r);
	return lives;
}

Test(crash, a_group_follows_only_its_predecessor)
{
	cr_expect_not(stale_successor(0));
	cr_expect(stale_successor(STORE_BREAK_CHAIN), "negative control");
}

Test(crash, no_flush_negative_control)
{
	struct run u;
	run_init(&u, 8, 3000);
	u.r.conf.breaks = STORE_BREAK_FLUSH;
	rig_reopen(&u.r);
	u.m.next_oid += 1ull << 48;
	run_go(&u, 30, 3, 8);
	cr_expect_gt(run_cut(&u, 3, 8, false), 5);
	run_fini(&u);
}

/* The check itself: when the disk lies about flushes, acknowledged batches are missed. */
Test(crash, negative_control)
{
	struct run u;
	run_init(&u, 5, 3000);
	disk_faulty_set_lying(u.r.faulty, true);
	run_go(&u, 30, 3, 5);
	cr_expect_gt(run_cut(&u, 3, 5, false), 5);
	run_fini(&u);
}
