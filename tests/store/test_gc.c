/*
 * test_gc.c: collection: what is alive in thin segments moves, nothing else changes, and the room comes back. (Power cuts while
 * it runs: test_crash.c.)
 */
#include <stdio.h>
#include "rig.h"

#define N   3000u
#define SEG (2u << 20)

struct gc_rig {
	struct rig r;
	struct stat stat;
	uint64_t acct;
	uint8_t text[12000];
};

static void start(struct gc_rig *g, enum rig_disk disk)
{
	memset(&g->stat, 0, sizeof(g->stat));
	rig_init(&g->r, disk, 1);
	g->r.conf.segment_size = SEG;
	g->r.conf.stat = &g->stat;
	cr_assert_eq(rig_open(&g->r), ERR_OK, "%s", g->r.why);
	g->acct = rig_account(&g->r, "a@example.net");
}

static size_t text_of(struct gc_rig *g, uint32_t uid)
{
	size_t len = uid * 7919 % sizeof(g->text);
	rig_fill(g->text, len, uid);
	return len;
}

static void deliver(struct gc_rig *g, uint32_t uid)
{
	size_t len = text_of(g, uid);
	cr_assert_eq(rig_deliver(&g->r, g->acct, STORE_INBOX, g->text, len, NULL), uid);
}

static void rest(struct gc_rig *g)
{
	while (store_step(g->r.s) || g->r.threaded)
		cr_assert_not(g->r.threaded);
}

/* Every message that keep() says is there with its bytes, and no other. */
static void check(struct gc_rig *g, uint32_t last, bool (*keep)(uint32_t uid))
{
	struct store_op *op = rig_sync(&g->r, g->acct, STORE_INBOX, 0, false);
	uint32_t i = 0;
	for (uint32_t uid = 1; uid <= last; uid++) {
		if (!keep(uid))
			continue;
		cr_assert(i < op->view->n_ent && op->view->ent[i].uid == uid, "uid %u", uid);
		size_t len = text_of(g, uid);
		cr_expect(rig_blob_is(&g->r, op->view->ent[i].blob, g->text, len), "uid %u", uid);
		i++;
	}
	cr_expect_eq(op->view->n_ent, i);
	store_op_free(&op);
}

/* Dead bytes in a hundred of all segments, as the store itself counts them. */
static unsigned dead_percent(struct gc_rig *g)
{
	struct store_stats st;
	store_stats(g->r.s, &st);
	return (unsigned)(st.dead_bytes * 100 / (st.segments * SEG));
}

static bool keep_third(uint32_t uid)
{
	return uid % 3 == 0;
}

static bool keep_most(uint32_t uid)
{
	return uid % 5 != 0;
}

static void thin_out(enum rig_disk disk, bool (*keep)(uint32_t uid))
{
	static struct gc_rig g;
	start(&g, disk);
	for (uint32_t uid = 1; uid <= N; uid++)
		deliver(&g, uid);
	for (uint32_t uid = 1; uid <= N; uid++) {
		if (!keep(uid))
			cr_assert_eq(rig_expunge(&g.r, g.acct, STORE_INBOX, uid, uid), ERR_OK);
	}
	rest(&g);
	cr_expect_gt(stat_get(&g.stat, STAT_store_gc_segments), 3);
	cr_expect_leq(dead_percent(&g), 10, "%u", dead_percent(&g));
	check(&g, N, keep);
	if (disk == RIG_MEM) {
		rig_replay(&g.r); /* as after a power cut, from the last checkpoint */
		check(&g, N, keep);
	}
	rig_reopen(&g.r);
	check(&g, N, keep);
	rest(&g);
	cr_expect_leq(dead_percent(&g), 10, "%u", dead_percent(&g));
	cr_expect_eq(rig_expunge(&g.r, g.acct, STORE_INBOX, 1, UINT32_MAX), ERR_OK);
	rest(&g);
	struct store_stats st;
	store_stats(g.r.s, &st);
	cr_expect_eq(st.live_bytes, 0);
	cr_expect_eq(st.blobs, 0);
	rig_fini(&g.r);
}

Test(gc, a_third_is_left)
{
	thin_out(RIG_MEM, keep_third);
}

Test(gc, four_fifths_are_left)
{
	thin_out(RIG_FAULTY, keep_most);
}

/* A bounded store that is full of thin segments takes mail again, without a pause and without an error. */
Test(gc, under_load_in_a_full_store)
{
	static struct gc_rig g;
	start(&g, RIG_MEM);
	rig_close(&g.r);
	g.r.conf.size_max = 8 * SEG;
	cr_assert_eq(rig_open(&g.r), ERR_OK);
	uint32_t uid = 0;
	for (uint32_t i = 0; i < 10000; i++) {
		deliver(&g, ++uid);
		/* Of ten, nine are deleted soon, one stays for 1000: about 600 KB are alive. */
		if (uid > 20 && (uid - 20) % 10 != 0)
			cr_assert_eq(rig_expunge(&g.r, g.acct, STORE_INBOX, uid - 20, uid - 20), ERR_OK);
		if (uid > 1000 && (uid - 1000) % 10 == 0)
			cr_assert_eq(rig_expunge(&g.r, g.acct, STORE_INBOX, uid - 1000, uid - 1000), ERR_OK);
	}
	cr_expect_gt(stat_get(&g.stat, STAT_store_gc_segments), 10);
	rig_fini(&g.r);
}

/* Parts that still arrive are let alone and can be completed; a body that is spoiled stays, its neighbours move. */
Test(gc, what_it_must_leave)
{
	static struct gc_rig g;
	start(&g, RIG_MEM);
	struct store_op *op = rig_op(&g.r, STORE_BODY);
	store_id part = op->blob = store_id_new(g.r.c);
	op->body = rig_bytes(&g.r, "begun ", 6);
	cr_assert_eq(rig_done(&g.r, op), ERR_OK);
	for (uint32_t uid = 1; uid <= N; uid++)
		deliver(&g, uid);
	uint64_t size;
	size_t len = text_of(&g, 3);
	unsigned spoiled = 0;
	for (unsigned i = 0; i < 40; i++) { /* wherever it stands, or stood before it moved */
		char name[32];
		(void)snprintf(name, sizeof(name), "seg-%06u", i);
		uint8_t *p = disk_mem_bytes(g.r.mem, name, &size), *at = p ? memmem(p, size, g.text, len) : NULL;
		if (at)
			at[len / 2] ^= 4;
		spoiled += at != NULL;
	}
	cr_assert_gt(spoiled, 0);
	for (uint32_t uid = 1; uid <= N; uid++) {
		if (!keep_third(uid))
			cr_assert_eq(rig_expunge(&g.r, g.acct, STORE_INBOX, uid, uid), ERR_OK);
	}
	rest(&g);
	cr_expect_gt(stat_get(&g.stat, STAT_store_gc_left), 0);
	op = rig_sync(&g.r, g.acct, STORE_INBOX, 0, false);
	for (uint32_t i = 0; i < op->view->n_ent; i++) {
		len = text_of(&g, op->view->ent[i].uid);
		cr_expect_eq(rig_blob_is(&g.r, op->view->ent[i].blob, g.text, len), op->view->ent[i].uid != 3, "uid %u",
			     op->view->ent[i].uid);
	}
	store_op_free(&op);
	op = rig_op(&g.r, STORE_COMMIT);
	op->blob = part;
	op->off = 6;
	op->body = rig_bytes(&g.r, "and ended", 9);
	store_tx_blob(op, part, 0, 0);
	store_tx_deliver(op, g.acct, STORE_INBOX, part, 0, SPAN(""), 1);
	cr_assert_eq(rig_done(&g.r, op), ERR_OK);
	cr_expect(rig_blob_is(&g.r, part, "begun and ended", 15));
	rig_fini(&g.r);
}

/* Percentiles of flushes rise, and the longest is the last. */
Test(gc, flush_percentiles)
{
	static struct gc_rig g;
	struct store_stats st;
	start(&g, RIG_MEM);
	for (uint32_t uid = 1; uid <= 300; uid++)
		deliver(&g, uid);
	store_stats(g.r.s, &st);
	cr_expect(st.flush_us_p50 <= st.flush_us_p90 && st.flush_us_p90 <= st.flush_us_p99);
	cr_expect_leq(st.flush_us_p99, st.flush_us_max + st.flush_us_max / 8 + 1);
	rig_fini(&g.r);
}

/* A read that fails ends that try and nothing else. */
Test(gc, a_read_fails)
{
	static struct gc_rig g;
	start(&g, RIG_FAULTY);
	for (uint32_t uid = 1; uid <= N; uid++)
		deliver(&g, uid);
	disk_faulty_fail(g.r.faulty, DISK_FAULT_READ, 1, 3, ERR_IO);
	for (uint32_t uid = 1; uid <= N; uid++) {
		if (!keep_third(uid))
			cr_assert_eq(rig_expunge(&g.r, g.acct, STORE_INBOX, uid, uid), ERR_OK);
	}
	rest(&g);
	cr_expect_eq(stat_get(&g.stat, STAT_store_read_error), 3);
	check(&g, N, keep_third);
	g.r.wall_us += 120000000;
	deliver(&g, N + 1);
	rest(&g);
	cr_expect_leq(dead_percent(&g), 10, "%u", dead_percent(&g));
	rig_fini(&g.r);
}
