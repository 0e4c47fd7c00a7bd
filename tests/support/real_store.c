/*
 * real_store.c: fake_store.h over the store itself, on a disk in memory and turned by hand. The same sessions and
 * dialogues then run on the code that ships; only faults on demand are left to the stand-in.
 */
#include <stdlib.h>
#include "disk_mem.h"
#include "fake_store.h"

#define WALL_US 1000000u /* UIDVALIDITY comes from it: 1, 2 ... as with the stand-in */

#define PART (256u * 1024)

static struct {
	struct disk_mem *disk;
	struct pkt_pool *small, *big;
	bool hold;
	struct buf blob; /* what fake_store_blob returns */
	struct store_op *qscan;
} rs;

static uint64_t wall(void *arg)
{
	(void)arg;
	return WALL_US;
}

struct store *fake_store_open(struct pkt_pool *pool)
{
	struct store *s = NULL;
	char why[256] = "";
	rs.disk = disk_mem_create();
	rs.small = pool;
	rs.big = pkt_pool_create("big", 4096, PKT_BIG_ROOM);
	rs.hold = false;
	buf_init(&rs.blob);
	struct store_conf c = {
		.path = "test", .n_cores = 3, .ops_per_core = 64, .segment_size = 1 << 20, .cpu = -1,
		.disk = &disk_mem_ops, .disk_arg = rs.disk, .big = rs.big, .wall_us = wall,
	};
	CHECK(store_open(&s, &c, why, sizeof(why)) == ERR_OK);
	return s;
}

void fake_store_close(struct store **s)
{
	store_op_free(&rs.qscan);
	store_close(s);
	pkt_pool_destroy(&rs.big);
	disk_mem_destroy(&rs.disk);
	buf_fini(&rs.blob);
}

bool fake_store_step(struct store *s)
{
	bool did = false;
	while (!rs.hold && store_step(s))
		did = true;
	return did;
}

void fake_store_hold(struct store *s, bool hold)
{
	(void)s;
	rs.hold = hold;
}

bool fake_store_fail(struct store *s, enum store_verb verb, enum err err, unsigned n)
{
	(void)s;
	(void)verb;
	(void)err;
	(void)n;
	return false;
}

/* ---- one operation after the other, on a core of its own ---- */
static struct store_op *op_new(struct store *s, enum store_verb verb)
{
	struct store_op *op = store_op_new(store_core(s, 2), verb, UINT32_MAX, 0);
	CHECK(op != NULL);
	return op;
}

static enum err op_run(struct store *s, struct store_op *op)
{
	struct store_op *got = NULL;
	store_submit(store_core(s, 2), op);
	while (store_poll(store_core(s, 2), &got, 1) == 0)
		store_step(s);
	CHECK(got == op);
	return op->err;
}

uint64_t fake_store_account(struct store *s, const char *name, const char *pass)
{
	struct store_op *op = op_new(s, STORE_COMMIT);
	struct store_account a;
	if (store_account_find(s, span_str(name), &a))
		store_tx_account_pass(op, span_str(name), span_str(pass));
	else
		store_tx_account_add(op, span_str(name), span_str(pass));
	CHECK(op_run(s, op) == ERR_OK);
	store_op_free(&op);
	CHECK(store_account_find(s, span_str(name), &a));
	return a.id;
}

static uint32_t folder_id(struct store *s, uint64_t acct, const char *folder)
{
	struct store_op *op = op_new(s, STORE_FOLDERS);
	uint32_t id = 0;
	op->acct = acct;
	CHECK(op_run(s, op) == ERR_OK);
	for (uint32_t i = 0; i < op->view->n_folder; i++)
		if (span_ieq(span_str(op->view->folders[i].name), span_str(folder)))
			id = op->view->folders[i].id;
	store_op_free(&op);
	CHECK(id != 0);
	return id;
}

uint32_t fake_store_message(struct store *s, uint64_t acct, const char *folder, struct span bytes,
			    uint32_t blob_flags, uint32_t flags, int64_t idate_s)
{
	uint32_t id = folder_id(s, acct, folder);
	store_id blob = store_id_new(store_core(s, 2));
	struct store_op *op;
	size_t off = 0;
	for (; bytes.len - off > PART; off += PART) {
		op = op_new(s, STORE_BODY);
		op->blob = blob;
		op->off = off;
		op->len = PART;
		CHECK(slices_copy(&op->body, rs.small, span_head(span_from(bytes, off), PART)));
		CHECK(op_run(s, op) == ERR_OK);
		store_op_free(&op);
	}
	op = op_new(s, STORE_COMMIT);
	op->blob = blob;
	op->off = off;
	CHECK(slices_copy(&op->body, rs.small, span_from(bytes, off)));
	store_tx_blob(op, blob, 0, blob_flags);
	store_tx_deliver(op, acct, id, blob, flags, SPAN(""), idate_s);
	CHECK(op_run(s, op) == ERR_OK);
	uint32_t uid = op->res[1].uid;
	store_op_free(&op);
	return uid;
}

struct span fake_store_blob(struct store *s, store_id id, struct store_blob *b)
{
	rs.blob.len = 0;
	CHECK(b == NULL);
	for (;;) {
		struct store_op *op = op_new(s, STORE_READ);
		op->blob = id;
		op->off = rs.blob.len;
		op->len = PART;
		enum err e = op_run(s, op);
		uint64_t n = op->data.len;
		if (e == ERR_OK && n) {
			buf_reserve(&rs.blob, n);
			rs.blob.len += slices_read(&op->data, 0, rs.blob.p + rs.blob.len, n);
		}
		store_op_free(&op);
		if (e || n == 0)
			break;
	}
	return buf_span(&rs.blob);
}

struct span fake_store_bytes(struct store *s, uint64_t acct, const char *folder, unsigned nth)
{
	struct store_op *op = op_new(s, STORE_SYNC);
	store_id blob = 0;
	op->acct = acct;
	op->folder = folder_id(s, acct, folder);
	CHECK(op_run(s, op) == ERR_OK);
	if (nth < op->view->n_ent)
		blob = op->view->ent[nth].blob;
	store_op_free(&op);
	return blob ? fake_store_blob(s, blob, NULL) : span_of(NULL, 0);
}

const struct store_qitem *fake_store_qitem(struct store *s, unsigned nth)
{
	store_op_free(&rs.qscan);
	rs.qscan = op_new(s, STORE_QSCAN);
	CHECK(op_run(s, rs.qscan) == ERR_OK);
	return nth < rs.qscan->n_items ? &rs.qscan->items[nth] : NULL;
}
