/*
 * test_fault.c: disks that fail, fill up, and lie: failing calls one after the other, flipped bits, segments that
 * must be used again, a full disk that gets room again, a second process, a newer format.
 */
#include <stdio.h>
#include "model.h"

/* ---- the Nth call fails ---- */

/* Some work, errors allowed; returns how many batches were acknowledged. Stops at the first error. */
static unsigned work(struct rig *r, struct model *m, char **acked)
{
	struct rnd rnd;
	rnd_seed(&rnd, 7);
	unsigned n = 0;
	uint64_t a = 0;
	struct store_op *op = rig_op(r, STORE_COMMIT);
	store_tx_account_add(op, SPAN("a@example.net"), SPAN("x"));
	if (rig_run(r, op) == ERR_OK)
		a = op->res[0].id;
	store_op_free(&op);
	model_init(m, a, (uint32_t)(r->wall_us / 1000000), 6000);
	for (; a && n < 30; n++) {
		op = model_step(m, r, &rnd);
		if (rig_done(r, op) != ERR_OK)
			break;
		free(*acked);
		*acked = model_dump(m);
	}
	return a ? n + 1 : 0;
}

static bool same_after(struct rig *r, uint64_t acct, const char *want)
{
	char *got = model_dump_store(r, acct);
	bool same = strcmp(got, want) == 0;
	free(got);
	return same;
}

/* Every call of one kind fails once: nothing acknowledged is lost, nothing crashes, and after a failed write of the
 * log nothing more is acknowledged before a new start. */
static unsigned nth_call(unsigned kinds, enum err err)
{
	unsigned tried = 0;
	static struct model m, all;
	for (uint64_t nth = 1;; nth++) {
		struct rig r;
		char *acked = NULL;
		rig_init(&r, RIG_FAULTY, nth);
		r.conf.segment_size = 64u << 10;
		r.conf.checkpoint_bytes = 64u << 10;
		uint64_t before = disk_faulty_calls(r.faulty, kinds);
		disk_faulty_fail(r.faulty, kinds, nth, 1, err);
		unsigned n = 0;
		if (rig_open(&r) == ERR_OK) {
			n = work(&r, &m, &acked);
			struct store_stats st;
			store_step(r.s);
			store_stats(r.s, &st);
			if (st.failed) {
				enum err e;
				rig_deliver(&r, m.acct, STORE_INBOX, "x", 1, &e);
				cr_expect_eq(e, ERR_IO);
			}
			rig_close(&r);
		} else {
			cr_expect_neq(strlen(r.why), 0);
		}
		bool fired = disk_faulty_calls(r.faulty, kinds) - before >= nth;
		disk_faulty_fail(r.faulty, kinds, 0, 0, ERR_OK);
		/* The one batch whose answer was an error may be there or not: it was not acknowledged. */
		enum err e = rig_open(&r);
		cr_assert_eq(e, ERR_OK, "kinds %x call %d: %s", kinds, (int)nth, r.why);
		if (acked && !same_after(&r, m.acct, acked)) {
			all = m; /* the model with the failed batch */
			char *with = model_dump(&all);
			cr_expect(same_after(&r, m.acct, with), "kinds %x call %d: after %u batches", kinds, (int)nth, n);
			free(with);
		}
		free(acked);
		rig_fini(&r);
		tried++;
		if (!fired)
			return tried;
	}
}

Test(fault, every_write_fails_once)
{
	cr_expect_gt(nth_call(DISK_FAULT_WRITE, ERR_IO), 20);
}

Test(fault, every_write_finds_no_space_once)
{
	cr_expect_gt(nth_call(DISK_FAULT_WRITE, ERR_NO_SPACE), 20);
}

Test(fault, every_sync_fails_once)
{
	cr_expect_gt(nth_call(DISK_FAULT_SYNC, ERR_IO), 5);
}

Test(fault, every_change_of_a_name_fails_once)
{
	cr_expect_gt(nth_call(DISK_FAULT_NAME, ERR_IO), 5);
}

Test(fault, a_failed_read_is_an_error_and_no_more)
{
	struct rig r;
	static uint8_t text[50000];
	rig_init(&r, RIG_FAULTY, 1);
	rig_fill(text, sizeof(text), 1);
	cr_assert_eq(rig_open(&r), ERR_OK);
	uint64_t a = rig_account(&r, "a@example.net");
	rig_deliver(&r, a, STORE_INBOX, text, sizeof(text), NULL);
	rig_reopen(&r);
	struct store_op *op = rig_sync(&r, a, STORE_INBOX, 0, false);
	store_id blob = op->view->ent[0].blob;
	store_op_free(&op);
	for (unsigned nth = 1; nth <= 2; nth++) {
		disk_faulty_fail(r.faulty, DISK_FAULT_READ, nth, 1, ERR_IO);
		op = rig_op(&r, STORE_READ);
		op->blob = blob;
		op->len = sizeof(text);
		cr_expect_eq(rig_run(&r, op), ERR_IO);
		cr_expect_eq(op->data.len, 0);
		store_op_free(&op);
		cr_expect(rig_blob_is(&r, blob, text, sizeof(text)));
	}
	rig_fini(&r);
}

/* ---- flipped bits ---- */

struct files {
	char name[64][64];
	uint64_t size[64];
	unsigned n;
};

static void add_file(void *arg, const char *name, uint64_t size)
{
	struct files *f = arg;
	(void)snprintf(f->name[f->n], sizeof(f->name[0]), "%s", name);
	f->size[f->n++] = size;
}

static struct disk_mem *mem_clone(struct disk_mem *m)
{
	struct files f = {.n = 0};
	struct disk_mem *c = disk_mem_create();
	disk_mem_each(m, add_file, &f);
	for (unsigned i = 0; i < f.n; i++) {
		uint64_t size;
		const uint8_t *p = disk_mem_bytes(m, f.name[i], &size);
		disk_mem_put(c, f.name[i], p, size);
	}
	return c;
}

/* A bit is flipped somewhere in what is in use: either the start says so, or all that is served is right and what is
 * not is refused, or the bit did not matter (rest of a block) or struck the last groups, where it cannot be told from a power
 * cut (the state is then that of some batches before). clean: the store was closed, so all is in the checkpoint. */
static void flip(bool clean)
{
	static struct model m;
	struct rig r;
	rig_init(&r, RIG_MEM, 1);
	r.conf.segment_size = 64u << 10;
	cr_assert_eq(rig_open(&r), ERR_OK);
	uint64_t a = rig_account(&r, "a@example.net");
	model_init(&m, a, (uint32_t)(r.wall_us / 1000000), 9000);
	struct rnd rnd;
	rnd_seed(&rnd, 11);
	char *want[101];
	want[0] = model_dump(&m);
	for (unsigned i = 0; i < 100; i++) {
		cr_assert_eq(rig_done(&r, model_step(&m, &r, &rnd)), ERR_OK);
		want[i + 1] = model_dump(&m);
	}
	struct disk_mem *running = mem_clone(r.mem); /* as a power cut would leave it */
	rig_close(&r);
	struct disk_mem *base = clean ? r.mem : running;
	struct files f = {.n = 0};
	disk_mem_each(base, add_file, &f);
	unsigned refused = 0, spoiled = 0, same = 0, shorter = 0, wrong = 0;
	for (unsigned i = 0; i < 300; i++) {
		struct disk_mem *c = mem_clone(base);
		unsigned file = rnd_below(&rnd, f.n);
		uint64_t size, bit = rnd_u64(&rnd) % (f.size[file] * 8);
		disk_mem_bytes(c, f.name[file], &size)[bit / 8] ^= (uint8_t)(1u << bit % 8);
		struct rig x = r;
		x.conf.disk_arg = x.mem = c;
		x.conf.wall_arg = &x;
		x.s = NULL;
		if (rig_open(&x) != ERR_OK) {
			refused++;
			cr_expect_neq(strlen(x.why), 0);
		} else {
			char *got = model_dump_store(&x, a);
			unsigned at = 101;
			for (unsigned j = 0; j <= 100; j++)
				at = strcmp(got, want[j]) == 0 ? j : at;
			if (at == 100)
				same++;
			else if (strstr(got, "00badbad")) /* a body that was refused */
				spoiled++;
			else if (at >= 96 && at < 100 && !clean)
				shorter++;
			else
				wrong++;
			free(got);
		}
		store_close(&x.s);
		disk_mem_destroy(&c);
	}
	cr_log_info("%s: start refused %u, body refused %u, no harm %u, taken for a power cut %u, wrong %u",
		    clean ? "clean" : "running", refused, spoiled, same, shorter, wrong);
	cr_expect_eq(wrong, 0);
	cr_expect_gt(refused + spoiled, 20);
	for (unsigned i = 0; i <= 100; i++)
		free(want[i]);
	disk_mem_destroy(&running);
	rig_fini(&r);
}

Test(fault, bits_flipped_after_a_clean_close)
{
	flip(true);
}

Test(fault, bits_flipped_after_a_power_cut)
{
	flip(false);
}

Test(fault, a_spoiled_body_is_never_served)
{
	struct rig r;
	static uint8_t text[30000];
	rig_init(&r, RIG_MEM, 1);
	rig_fill(text, sizeof(text), 1);
	cr_assert_eq(rig_open(&r), ERR_OK);
	uint64_t a = rig_account(&r, "a@example.net");
	rig_deliver(&r, a, STORE_INBOX, text, sizeof(text), NULL);
	rig_deliver(&r, a, STORE_INBOX, text + 1, 20000, NULL);
	rig_reopen(&r);
	uint64_t size;
	uint8_t *p = disk_mem_bytes(r.mem, "seg-000000", &size), *at = memmem(p, size, text, 5000);
	cr_assert_not_null(at);
	at[17000] ^= 1;
	struct store_op *op = rig_sync(&r, a, STORE_INBOX, 0, false);
	store_id blob[2] = {op->view->ent[0].blob, op->view->ent[1].blob};
	store_op_free(&op);
	for (unsigned i = 0; i < 3; i++) { /* whichever part is asked for */
		op = rig_op(&r, STORE_READ);
		op->blob = blob[0];
		op->off = i * 10000;
		op->len = 10;
		cr_expect_eq(rig_run(&r, op), ERR_CORRUPT);
		cr_expect_eq(op->data.len, 0);
		store_op_free(&op);
	}
	cr_expect(rig_blob_is(&r, blob[1], text + 1, 20000), "the other message is served");
	rig_fini(&r);
}

/* ---- space ---- */

/* A relay's load through a bounded store: 10 000 messages, each gone a little later. */
Test(fault, segments_are_used_again)
{
	struct rig r;
	static uint8_t text[9000];
	rig_fill(text, sizeof(text), 1);
	rig_init(&r, RIG_MEM, 1);
	r.conf.segment_size = 128u << 10;
	r.conf.size_max = 12 * (128u << 10);
	r.conf.checkpoint_bytes = 256u << 10;
	cr_assert_eq(rig_open(&r), ERR_OK);
	store_id live[20] = {0};
	for (unsigned i = 0; i < 10000; i++) {
		struct store_op *op = rig_op(&r, STORE_COMMIT);
		store_id item = store_id_new(r.c);
		op->blob = store_id_new(r.c);
		op->body = rig_bytes(&r, text, i % sizeof(text));
		store_tx_blob(op, op->blob, 0, 0);
		store_tx_qput(op, item, op->blob, i, SPAN("state"));
		enum err e = rig_done(&r, op);
		cr_assert_eq(e, ERR_OK, "message %u: %s", i, err_name(e));
		if (live[i % 20]) {
			op = rig_op(&r, STORE_COMMIT);
			store_tx_qdone(op, live[i % 20]);
			cr_assert_eq(rig_done(&r, op), ERR_OK);
		}
		live[i % 20] = item;
	}
	rig_reopen(&r);
	struct store_stats st;
	store_stats(r.s, &st);
	cr_expect_eq(st.queue_items, 20);
	cr_expect_eq(st.blobs, 20);
	cr_expect_leq(st.segments, 12);
	cr_expect_lt(st.live_bytes, 20 * sizeof(text));
	rig_fini(&r);
}

/* Fills the store until it refuses; then what shrinks it works, and after that growth does again. */
static void fill_up(struct rig *r, bool by_disk)
{
	static uint8_t text[20000];
	rig_fill(text, sizeof(text), 1);
	cr_assert_eq(rig_open(r), ERR_OK, "%s", r->why);
	uint64_t a = rig_account(r, "a@example.net");
	enum err e = ERR_OK;
	uint32_t n = 0;
	for (int round = 0; round < 3; round++) {
		uint32_t first = 0, last = 0;
		for (unsigned i = 0; i < 1000; i++) {
			uint32_t uid = rig_deliver(r, a, STORE_INBOX, text, sizeof(text), &e);
			if (e != ERR_OK)
				break;
			first = first ? first : uid;
			last = uid;
			n++;
		}
		cr_assert_eq(e, ERR_NO_SPACE, "round %d: %s after %u", round, err_name(e), n);
		cr_assert_gt(last, 10);
		/* nothing was changed by what was refused, and reading goes on */
		struct store_op *op = rig_sync(r, a, STORE_INBOX, 0, true);
		cr_assert_eq(op->view->folder.uidnext, last + 1);
		cr_expect(rig_blob_is(r, op->view->ent[0].blob, text, sizeof(text)));
		store_op_free(&op);
		/* flags, many times: from the reserve */
		uint32_t all[2] = {1, UINT32_MAX};
		for (unsigned i = 0; i < 60; i++) {
			op = rig_op(r, STORE_COMMIT);
			store_tx_flags(op, a, STORE_INBOX, all, 1, i % 2 ? STORE_FLAGS_ADD : STORE_FLAGS_DEL, STORE_DELETED,
				       SPAN(""));
			cr_assert_eq(rig_done(r, op), ERR_OK);
		}
		if (round == 1)
			rig_reopen(r);
		for (uint32_t uid = first; uid <= last; uid++)
			cr_assert_eq(rig_expunge(r, a, STORE_INBOX, uid, uid), ERR_OK);
		r->wall_us += 2000000;
		for (unsigned i = 0; i < 50; i++)
			store_step(r->s);
	}
	if (by_disk) { /* room that comes from outside: no start needed */
		while (rig_deliver(r, a, STORE_INBOX, text, sizeof(text), &e))
			;
		disk_mem_set_capacity(r->mem, 4u << 20);
		r->wall_us += 2000000;
		store_step(r->s);
		cr_expect_neq(rig_deliver(r, a, STORE_INBOX, text, sizeof(text), &e), 0);
		struct store_stats st;
		store_stats(r->s, &st);
		cr_expect_not(st.failed);
	}
}

Test(fault, full_by_configuration)
{
	struct rig r;
	rig_init(&r, RIG_MEM, 1);
	r.conf.segment_size = 128u << 10;
	r.conf.size_max = 8 * (128u << 10);
	fill_up(&r, false);
	rig_fini(&r);
}

Test(fault, full_disk)
{
	struct rig r;
	rig_init(&r, RIG_MEM, 1);
	r.conf.segment_size = 128u << 10;
	disk_mem_set_capacity(r.mem, 1100u << 10);
	fill_up(&r, true);
	rig_fini(&r);
}

Test(fault, full_disk_by_free_min)
{
	struct rig r;
	rig_init(&r, RIG_MEM, 1);
	r.conf.segment_size = 128u << 10;
	r.conf.free_min = 500u << 10;
	disk_mem_set_capacity(r.mem, 1620u << 10);
	fill_up(&r, true);
	rig_fini(&r);
}

/* ---- who may open ---- */

Test(fault, one_process_at_a_time)
{
	struct rig r;
	rig_init(&r, RIG_URING, 1);
	cr_assert_eq(rig_open(&r), ERR_OK);
	struct store *second;
	char why[200] = "";
	cr_expect_eq(store_open(&second, &r.conf, why, sizeof(why)), ERR_BUSY);
	cr_expect_not_null(strstr(why, "in use"));
	rig_fini(&r);
}

Test(fault, bad_files)
{
	static const struct {
		const char *name, *file;
		size_t off, len;
		enum err want;
	} row[] = {
		{"a checkpoint of a newer version", "checkpoint", 8, 4, ERR_UNSUPPORTED},
		{"a checkpoint that is none", "checkpoint", 0, 8, ERR_CORRUPT},
		{"a wrong checksum", "checkpoint", 12, 4, ERR_CORRUPT},
		{"a byte inside", "checkpoint", 60, 1, ERR_CORRUPT},
		{"the header of a segment with mail", "seg-000000", 40, 4, ERR_CORRUPT},
	};
	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct rig r;
		rig_init(&r, RIG_MEM, 1);
		cr_assert_eq(rig_open(&r), ERR_OK);
		rig_deliver(&r, rig_account(&r, "a@example.net"), STORE_INBOX, "text", 4, NULL);
		rig_close(&r);
		uint64_t size;
		uint8_t *p = disk_mem_bytes(r.mem, row[i].file, &size);
		memset(p + row[i].off, 0x55, row[i].len);
		cr_expect_eq(rig_open(&r), row[i].want, "%s: %s", row[i].name, r.why);
		cr_expect_not_null(strstr(r.why, row[i].want == ERR_UNSUPPORTED ? "newer" : row[i].file), "%s", r.why);
		rig_fini(&r);
	}
}

/* A hole in the middle of the log is damage: the start stops and says where. */
Test(fault, damage_in_the_middle)
{
	struct rig r;
	rig_init(&r, RIG_MEM, 1);
	cr_assert_eq(rig_open(&r), ERR_OK);
	uint64_t a = rig_account(&r, "a@example.net");
	for (unsigned i = 0; i < 10; i++)
		rig_deliver(&r, a, STORE_INBOX, "text", 4, NULL);
	struct disk_mem *base = mem_clone(r.mem);
	rig_close(&r);
	for (unsigned block = 0; block < 9; block++) {
		struct disk_mem *c = mem_clone(base);
		struct rig x = r;
		uint64_t size;
		x.conf.disk_arg = c;
		memset(disk_mem_bytes(c, "seg-000000", &size) + block * 4096 + 8, 0, 100);
		cr_expect_eq(rig_open(&x), ERR_CORRUPT, "block %u", block);
		cr_expect_not_null(strstr(x.why, "seg-000000: offset"), "%s", x.why);
		store_close(&x.s);
		disk_mem_destroy(&c);
	}
	disk_mem_destroy(&base);
	rig_fini(&r);
}

/* A little room: segments get smaller, and the store works. Another size the next time does no harm. */
Test(fault, little_room_and_other_sizes)
{
	static uint8_t text[200000];
	static const uint64_t size[] = {0, 64u << 10, 128u << 20, 0};
	struct rig r;
	enum err e;
	rig_init(&r, RIG_MEM, 1);
	disk_mem_set_capacity(r.mem, 24u << 20);
	uint64_t a = 0;
	for (unsigned i = 0; i < 4; i++) {
		r.conf.segment_size = size[i];
		cr_assert_eq(rig_open(&r), ERR_OK, "%s", r.why);
		a = a ? a : rig_account(&r, "a@example.net");
		uint32_t n = 0;
		for (unsigned k = 0; k < 3; k++) {
			while (n < 20 && rig_deliver(&r, a, STORE_INBOX, text, i == 1 ? 3000 : sizeof(text), &e))
				n++;
			cr_expect(n >= 10, "size %u: %u: %s", i, n, err_name(e));
			cr_expect_eq(rig_expunge(&r, a, STORE_INBOX, 1, UINT32_MAX), ERR_OK);
		}
		rig_close(&r);
	}
	rig_fini(&r);
}
