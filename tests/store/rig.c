/* rig.c: see rig.h. */
#include "rig.h"
#include <stdio.h>
#include <unistd.h>
#include "clock.h"
#include "rand.h"

static uint64_t rig_wall(void *arg)
{
	const struct rig *r = arg;
	return r->wall_us;
}

void rig_init(struct rig *r, enum rig_disk disk, uint64_t seed)
{
	memset(r, 0, sizeof(*r));
	r->wall_us = 1700000000ull * 1000000;
	r->small = pkt_pool_create("small", 100000, PKT_ROOM);
	r->conf = (struct store_conf){
		.path = "test",
		.n_cores = 2,
		.ops_per_core = 64,
		.segment_size = 256u << 10,
		.checkpoint_bytes = 1u << 20,
		.cpu = -1,
		.big = pkt_pool_create("big", 1000, PKT_BIG_ROOM),
		.wall_us = rig_wall,
		.wall_arg = r,
	};
	if (disk == RIG_URING) {
		(void)snprintf(r->path, sizeof(r->path), "/tmp/veredus-store-XXXXXX");
		cr_assert_not_null(mkdtemp(r->path));
		r->conf.path = r->path;
		return;
	}
	r->mem = disk_mem_create();
	r->conf.disk = &disk_mem_ops;
	r->conf.disk_arg = r->mem;
	if (disk == RIG_FAULTY) {
		r->faulty = disk_faulty_create(r->mem, seed);
		r->conf.disk = &disk_faulty_ops;
		r->conf.disk_arg = r->faulty;
	}
}

enum err rig_open(struct rig *r)
{
	enum err e = store_open(&r->s, &r->conf, r->why, sizeof(r->why));
	if (e == ERR_OK) {
		r->c = store_core(r->s, 0);
		if (r->threaded)
			cr_assert_eq(store_start(r->s), ERR_OK);
	}
	return e;
}

void rig_close(struct rig *r)
{
	store_close(&r->s);
}

void rig_reopen(struct rig *r)
{
	rig_close(r);
	enum err e = rig_open(r);
	cr_assert_eq(e, ERR_OK, "%s", r->why);
}

static void file_add(void *arg, const char *name, uint64_t size)
{
	struct disk_mem **m = arg;
	uint64_t n;
	const uint8_t *p = disk_mem_bytes(m[0], name, &n);
	disk_mem_put(m[1], name, p, n);
}

struct disk_mem *rig_clone(struct disk_mem *from)
{
	struct disk_mem *m[2] = {from, disk_mem_create()};
	disk_mem_each(from, file_add, m);
	return m[1];
}

enum err rig_try_replay(struct rig *r)
{
	struct disk_mem *m = rig_clone(r->mem);
	rig_close(r);
	disk_faulty_destroy(&r->faulty);
	disk_mem_destroy(&r->mem);
	r->mem = m;
	r->conf.disk = &disk_mem_ops;
	r->conf.disk_arg = r->mem;
	return rig_open(r);
}

void rig_replay(struct rig *r)
{
	enum err e = rig_try_replay(r);
	cr_assert_eq(e, ERR_OK, "%s", r->why);
}

void rig_fini(struct rig *r)
{
	store_close(&r->s);
	cr_expect_eq(pkt_heap_outstanding(), 0, "%u packets left", pkt_heap_outstanding());
	pkt_pool_destroy(&r->conf.big);
	pkt_pool_destroy(&r->small);
	disk_faulty_destroy(&r->faulty);
	disk_mem_destroy(&r->mem);
	if (r->path[0]) {
		char cmd[96];
		(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", r->path);
		cr_expect_eq(system(cmd), 0);
	}
}

struct store_op *rig_op(struct rig *r, enum store_verb verb)
{
	struct store_op *op = store_op_new(r->c, verb, UINT32_MAX, 0);
	cr_assert_not_null(op);
	return op;
}

enum err rig_run(struct rig *r, struct store_op *op)
{
	struct store_op *got = NULL;
	uint64_t end = clock_us() + 20000000;
	store_submit(r->c, op);
	while (store_poll(r->c, &got, 1) == 0) {
		if (r->threaded)
			usleep(20);
		else
			store_step(r->s);
		cr_assert_lt(clock_us(), end, "the op does not come back");
	}
	cr_assert_eq(got, op);
	return op->err;
}

enum err rig_done(struct rig *r, struct store_op *op)
{
	enum err e = rig_run(r, op);
	store_op_free(&op);
	return e;
}

struct slices rig_bytes(struct rig *r, const void *p, size_t len)
{
	struct slices l = {0};
	if (len)
		cr_assert(slices_copy(&l, r->small, span_of(p, len)));
	return l;
}

uint64_t rig_account(struct rig *r, const char *name)
{
	struct store_op *op = rig_op(r, STORE_COMMIT);
	store_tx_account_add(op, span_str(name), SPAN("$y$hash"));
	cr_assert_eq(rig_run(r, op), ERR_OK);
	uint64_t id = op->res[0].id;
	store_op_free(&op);
	return id;
}

uint32_t rig_folder(struct rig *r, uint64_t acct, const char *name)
{
	struct store_op *op = rig_op(r, STORE_COMMIT);
	store_tx_folder_create(op, acct, span_str(name));
	cr_assert_eq(rig_run(r, op), ERR_OK);
	uint32_t id = (uint32_t)op->res[0].id;
	store_op_free(&op);
	return id;
}

uint32_t rig_deliver(struct rig *r, uint64_t acct, uint32_t folder, const void *p, size_t len, enum err *e)
{
	struct store_op *op = rig_op(r, STORE_COMMIT);
	op->blob = store_id_new(r->c);
	op->body = rig_bytes(r, p, len);
	store_tx_blob(op, op->blob, 0, 0);
	store_tx_deliver(op, acct, folder, op->blob, 0, SPAN(""), 1000);
	enum err got = rig_run(r, op);
	uint32_t uid = got == ERR_OK ? op->res[1].uid : 0;
	if (e)
		*e = got;
	else
		cr_assert_eq(got, ERR_OK, "%s", err_name(got));
	store_op_free(&op);
	return uid;
}

struct store_op *rig_sync(struct rig *r, uint64_t acct, uint32_t folder, uint64_t since, bool claim)
{
	struct store_op *op = rig_op(r, STORE_SYNC);
	op->acct = acct;
	op->folder = folder;
	op->since = since;
	op->claim_recent = claim;
	(void)rig_run(r, op);
	return op;
}

bool rig_blob_is(struct rig *r, store_id blob, const void *p, size_t len)
{
	uint8_t *got = malloc(len + 1);
	size_t at = 0;
	bool same = true;
	while (same && at < len) {
		struct store_op *op = rig_op(r, STORE_READ);
		op->blob = blob;
		op->off = at;
		op->len = len - at < 100000 ? len - at : 100000;
		same = rig_run(r, op) == ERR_OK && op->data.len == op->len && op->len > 0;
		if (same)
			at += slices_read(&op->data, 0, got + at, op->len);
		store_op_free(&op);
	}
	same = same && (len == 0 || memcmp(got, p, len) == 0);
	free(got);
	return same;
}

enum err rig_expunge(struct rig *r, uint64_t acct, uint32_t folder, uint32_t lo, uint32_t hi)
{
	struct store_op *op = rig_op(r, STORE_COMMIT);
	uint32_t range[2] = {lo, hi};
	store_tx_expunge(op, acct, folder, range, 1, false);
	return rig_done(r, op);
}

void rig_fill(uint8_t *p, size_t n, uint64_t seed)
{
	struct rnd rnd;
	rnd_seed(&rnd, seed);
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)rnd_u64(&rnd);
}
