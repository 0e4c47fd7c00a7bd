/*
 * test_format.c: stores of older formats open, with all that is in them, and are brought to the present one; newer ones are refused.
 * format-1.bin is such a store: for each file its name (64 bytes), size u64, number of pieces u32, and pieces {offset u32,
 * length u32, bytes}; all else is zero. It was left by a power cut behind its checkpoint.
 */
#include <stdio.h>
#include "rig.h"

static struct disk_mem *load(const char *path)
{
	struct disk_mem *m = disk_mem_create();
	FILE *f = fopen(path, "r");
	char name[64];
	uint64_t size;
	uint32_t n, piece[2];
	cr_assert_not_null(f, "%s", path);
	while (fread(name, sizeof(name), 1, f) == 1) {
		cr_assert(fread(&size, 8, 1, f) == 1 && fread(&n, 4, 1, f) == 1);
		uint8_t *p = calloc(1, size + 1);
		for (uint32_t i = 0; i < n; i++) {
			cr_assert(fread(piece, 8, 1, f) == 1 && piece[0] + piece[1] <= size);
			cr_assert_eq(fread(p + piece[0], piece[1], 1, f), 1);
		}
		disk_mem_put(m, name, p, size);
		free(p);
	}
	(void)fclose(f);
	return m;
}

static void check(struct rig *r)
{
	struct store_account a;
	cr_assert(store_account_find(r->s, SPAN("old@example.net"), &a));
	cr_expect_str_eq(a.pass, "$y$hash");
	struct store_op *op = rig_sync(r, a.id, STORE_INBOX, 0, false);
	cr_assert_eq(op->view->n_ent, 1);
	cr_expect_eq(op->view->ent[0].uid, 2);
	cr_expect_eq(op->view->folder.uidnext, 3);
	cr_expect(rig_blob_is(r, op->view->ent[0].blob, "From: c\r\n\r\nthird\r\n", 18));
	store_op_free(&op);
	op = rig_sync(r, a.id, 3, 0, false);
	cr_assert(op->view && op->view->n_ent == 1 && op->view->n_kw == 1);
	cr_expect_str_eq(op->view->folder.name, "Archive/2025");
	cr_expect_eq(op->view->ent[0].flags, STORE_SEEN);
	cr_expect_str_eq(op->view->kw[0], "$Work");
	cr_expect(rig_blob_is(r, op->view->ent[0].blob, "From: b\r\n\r\nsecond\r\n", 19));
	store_op_free(&op);
	op = rig_op(r, STORE_QSCAN);
	cr_assert_eq(rig_run(r, op), ERR_OK);
	cr_assert_eq(op->n_items, 1);
	cr_expect(span_eq(op->items[0].state, SPAN("state")));
	cr_expect(rig_blob_is(r, op->items[0].blob.id, "To: x\r\n\r\nqueued\r\n", 17));
	store_op_free(&op);
}

static uint32_t checkpoint_version(struct rig *r)
{
	uint64_t size;
	uint32_t v;
	memcpy(&v, disk_mem_bytes(r->mem, "checkpoint", &size) + 8, 4);
	return v;
}

Test(format, version_1_is_brought_up)
{
	struct rig r;
	rig_init(&r, RIG_MEM, 1);
	disk_mem_destroy(&r.mem);
	r.mem = load(HERE "/format-1.bin");
	r.conf.disk_arg = r.mem;
	r.conf.segment_size = 64u << 10;
	cr_assert_eq(rig_open(&r), ERR_OK, "%s", r.why);
	check(&r);
	rig_reopen(&r);
	check(&r);
	cr_expect_gt(checkpoint_version(&r), 1);
	rig_replay(&r);
	check(&r);
	rig_fini(&r);
}
