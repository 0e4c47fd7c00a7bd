/*
 * fuzz_store_log.c: what a store finds at its start: a segment file and a checkpoint made of the input's bytes.
 *
 * Byte 0: bit 0: the checksums are made right (else nearly every input ends at the first one), bit 1: there is a
 * checkpoint; bytes 1-2: its length, little-endian; then it, then the segment. Whatever the bytes are, the store
 * opens or says why not; when it opens, everything in it is looked at, used, and opened again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "disk_mem.h"
#include "log.h"
#include "store_int.h"

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, 4);
	return v;
}

/* The checksums of the group at p, as a writer would have made them. */
static uint32_t fix_group(uint8_t *p, size_t room, uint64_t generation, uint64_t seq, uint32_t chain)
{
	struct group_header h;
	memcpy(&h, p, sizeof(h));
	if (h.magic != GROUP_MAGIC || h.bytes < GROUP_HEADER || h.bytes > room)
		return 0;
	h.generation = generation;
	h.seq = seq;
	h.chain = chain;
	h.durable = 0;
	h.meta_crc = 0;
	h.records = 0;
	for (uint32_t off = GROUP_HEADER; h.bytes - off >= RECORD_HEADER && off < h.bytes;) {
		uint32_t len = get32(p + off);
		if (len > h.bytes - off - RECORD_HEADER || off + record_bytes(len) > h.bytes)
			break;
		uint8_t *data = p + off + RECORD_HEADER;
		if (p[off + 4] == REC_BODY && len >= BODY_HEADER) {
			uint32_t crc = crc32c(0, data + BODY_HEADER, len - BODY_HEADER);
			memcpy(data + 20, &crc, 4);
			h.meta_crc = crc32c(h.meta_crc, p + off, RECORD_HEADER + BODY_HEADER);
		} else {
			h.meta_crc = crc32c(h.meta_crc, p + off, record_bytes(len));
		}
		h.records++;
		off += record_bytes(len);
	}
	h.crc = 0;
	h.crc = crc32c(0, &h, sizeof(h));
	memcpy(p, &h, sizeof(h));
	return h.crc;
}

static void fix_segment(uint8_t *p, size_t len)
{
	struct seg_header s;
	memcpy(&s, p, sizeof(s));
	s.magic = SEGMENT_MAGIC;
	s.version = STORE_VERSION;
	s.slot = s.chain = s.crc = 0;
	s.first_seq = 1;
	s.crc = crc32c(0, &s, sizeof(s));
	memcpy(p, &s, sizeof(s));
	uint32_t chain = 0;
	uint64_t seq = 1;
	for (size_t off = DISK_BLOCK; off < len; seq++) {
		chain = fix_group(p + off, len - off, s.generation, seq, chain);
		if (!chain)
			break;
		off += align_up(get32(p + off + 40), DISK_BLOCK);
	}
}

static void fix_checkpoint(uint8_t *p, size_t len)
{
	if (len < 24)
		return;
	uint64_t magic = CHECKPOINT_MAGIC, rest = len - 24;
	uint32_t version = STORE_VERSION, crc = crc32c(0, p + 24, len - 24);
	memcpy(p, &magic, 8);
	memcpy(p + 8, &version, 4);
	memcpy(p + 12, &crc, 4);
	memcpy(p + 16, &rest, 8);
}

static struct store_op *turn(struct store *s, struct store_op *op)
{
	struct store_op *got = NULL;
	store_submit(op->core, op);
	for (int i = 0; i < 10000 && store_poll(op->core, &got, 1) == 0; i++)
		store_step(s);
	CHECK(got == op);
	return op;
}

static void look_at_account(struct store *s, uint64_t acct)
{
	struct store_core *c = store_core(s, 0);
	struct store_op *op = store_op_new(c, STORE_FOLDERS, UINT32_MAX, 0);
	op->acct = acct;
	turn(s, op);
	for (uint32_t i = 0; op->view && i < op->view->n_folder; i++) {
		struct store_op *sync = store_op_new(c, STORE_SYNC, UINT32_MAX, 0);
		sync->acct = acct;
		sync->folder = op->view->folders[i].id;
		sync->claim_recent = true;
		turn(s, sync);
		for (uint32_t j = 0; sync->view && j < sync->view->n_ent && j < 8; j++) {
			struct store_op *read = store_op_new(c, STORE_READ, UINT32_MAX, 0);
			read->blob = sync->view->ent[j].blob;
			read->len = sync->view->ent[j].size;
			turn(s, read);
			store_op_free(&read);
		}
		store_op_free(&sync);
	}
	store_op_free(&op);
}

/* Everything that can be reached, then a change. */
static void look(struct store *s)
{
	struct store_core *c = store_core(s, 0);
	struct store_op *op = turn(s, store_op_new(c, STORE_QSCAN, UINT32_MAX, 0));
	store_op_free(&op);
	op = turn(s, store_op_new(c, STORE_ACCOUNTS, UINT32_MAX, 0));
	for (uint32_t i = 0; i < op->n_accounts; i++)
		look_at_account(s, op->accounts[i].id);
	store_op_free(&op);
	op = store_op_new(c, STORE_COMMIT, UINT32_MAX, 0);
	store_tx_account_add(op, SPAN("fuzz@example.net"), SPAN("x"));
	turn(s, op);
	store_op_free(&op);
}

static uint64_t fixed_time(void *arg)
{
	return 1700000000000000ull;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3 || size > 1 << 20)
		return 0;
	log_set_level(LOG_L_ERROR);
	struct disk_mem *m = disk_mem_create();
	size_t ckpt = (size_t)data[1] | (size_t)data[2] << 8;
	const uint8_t *p = data + 3, *end = data + size;
	if (data[0] & 2) {
		if (ckpt > (size_t)(end - p))
			ckpt = (size_t)(end - p);
		uint8_t *copy = malloc(ckpt + 1);
		CHECK(copy);
		memcpy(copy, p, ckpt);
		if (data[0] & 1)
			fix_checkpoint(copy, ckpt);
		disk_mem_put(m, "checkpoint", copy, ckpt);
		free(copy);
		p += ckpt;
	}
	size_t len = (size_t)(end - p), whole = align_up((uint32_t)len, DISK_BLOCK);
	whole = whole < 16 * DISK_BLOCK ? 16 * DISK_BLOCK : whole;
	uint8_t *seg = calloc(1, whole);
	CHECK(seg);
	memcpy(seg, p, len);
	if (data[0] & 1)
		fix_segment(seg, whole);
	disk_mem_put(m, "seg-000000", seg, whole);
	free(seg);

	struct store_conf conf = {
		.path = "fuzz", .n_cores = 1, .ops_per_core = 8, .segment_size = 16 * DISK_BLOCK, .cpu = -1,
		.disk = &disk_mem_ops, .disk_arg = m, .wall_us = fixed_time,
		.big = pkt_pool_create("big", 64, PKT_BIG_ROOM),
	};
	for (int round = 0; round < 2; round++) {
		char why[256] = "";
		struct store *s = NULL;
		if (store_open(&s, &conf, why, sizeof(why)) != ERR_OK) {
			CHECK(round == 0 && why[0] != '\0'); /* what opened once opens again */
			break;
		}
		look(s);
		store_close(&s);
	}
	pkt_pool_destroy(&conf.big);
	disk_mem_destroy(&m);
	return 0;
}
