/*
 * store_segment.c: segment files: made of zeros ahead of their use, filled one after the other, used again.
 *
 * A segment is free again when (1) no blob has bytes in it, (2) the group that dropped the last of them is
 * durable, (3) it lies wholly before the last checkpoint, which is on the disk, and (4) no read is under
 * way in it. Without (2) and (3) a power cut could bring back a reference to bytes that were written over.
 * A helper thread keeps SPARE_SEGMENTS free ones ready. When the disk gives no more, ops that grow the store
 * stop with the last two untouched: one is where collection moves to (store_gc.c), one the reserve for what
 * shrinks the store.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "log.h"
#include "store_int.h"

void seg_name(char out[DISK_NAME_MAX + 1], uint32_t slot)
{
	(void)snprintf(out, DISK_NAME_MAX + 1, "seg-%06u", slot);
}

struct seg *seg_add(struct store *s, uint32_t slot, struct disk_file *f, enum seg_state state)
{
	CHECK(slot < INDEX_SEG_MAX);
	if (slot >= s->cap_seg) {
		uint32_t cap = slot + slot / 2 + 16;
		s->seg = realloc(s->seg, cap * sizeof(*s->seg));
		CHECK(s->seg);
		memset(s->seg + s->cap_seg, 0, (cap - s->cap_seg) * sizeof(*s->seg));
		s->cap_seg = cap;
	}
	if (slot >= s->n_seg)
		s->n_seg = slot + 1;
	struct seg *g = &s->seg[slot];
	CHECK(!g->file);
	(void)index_seg(&s->ix, slot);
	uint64_t size = f->size / DISK_BLOCK * DISK_BLOCK;
	*g = (struct seg){.file = f, .state = state, .size = size > 1u << 31 ? 1u << 31 : (uint32_t)size};
	s->n_free += state == SEG_FREE;
	s->seg_bytes += g->size;
	return g;
}

static uint32_t seg_crc(const struct seg_header *h)
{
	struct seg_header z = *h;
	z.crc = 0;
	return crc32c(0, &z, sizeof(z));
}

void seg_header_write(const struct store *s, uint32_t slot, uint8_t block[DISK_BLOCK])
{
	const struct seg *g = &s->seg[slot];
	struct seg_header h = {
		.magic = SEGMENT_MAGIC,
		.version = STORE_VERSION,
		.slot = slot,
		.generation = g->generation,
		.first_seq = g->first_seq,
		.first_lsn = s->lsn,
		.chain = s->chain,
	};
	h.crc = seg_crc(&h);
	memset(block, 0, DISK_BLOCK);
	memcpy(block, &h, sizeof(h));
}

bool seg_header_read(const uint8_t block[DISK_BLOCK], uint32_t slot, struct seg_header *out)
{
	memcpy(out, block, sizeof(*out));
	return out->magic == SEGMENT_MAGIC && out->crc == seg_crc(out) && out->slot == slot;
}

uint32_t seg_free_find(const struct store *s, uint32_t need)
{
	uint32_t i = 0;
	while (i < s->n_seg && (s->seg[i].state != SEG_FREE || s->seg[i].size - DISK_BLOCK < need))
		i++;
	return i < s->n_seg ? i : UINT32_MAX;
}

bool seg_next(struct store *s, uint32_t need, uint8_t block[DISK_BLOCK])
{
	uint32_t i = seg_free_find(s, need);
	if (i == UINT32_MAX)
		return false;
	if (s->cur != UINT32_MAX) {
		s->seg[s->cur].state = SEG_FULL;
		s->seg[s->cur].sealed_live = s->ix.seg[s->cur].live;
		s->reclaim = true;
	}
	struct seg *g = &s->seg[i];
	g->moved_in = 0;
	g->gc_after_us = 0;
	g->state = SEG_CURRENT;
	g->generation = rnd_u64(&s->rnd) | 1;
	g->first_seq = g->end_seq = s->seq_next;
	s->n_free--;
	s->cur = i;
	s->cur_off = DISK_BLOCK;
	seg_header_write(s, i, block);
	return true;
}

/* Dead but for conditions (3) or (2). */
static bool seg_dead(const struct store *s, uint32_t i)
{
	return s->seg[i].state == SEG_FULL && s->ix.seg[i].live == 0;
}

static bool seg_reclaim(struct store *s)
{
	bool did = false, again = false;
	for (uint32_t i = 0; i < s->n_seg; i++) {
		struct seg *g = &s->seg[i];
		bool safe = !(s->conf.breaks & STORE_BREAK_REUSE);
		if (!seg_dead(s, i) || (safe && g->end_seq > s->ckpt_seq))
			continue;
		if (g->pins > 0 || (safe && s->ix.seg[i].drop_seq > s->durable)) {
			again = true;
			continue;
		}
		g->state = SEG_FREE;
		s->n_free++;
		did = true;
	}
	s->reclaim = again;
	return did;
}

static void zero_run(struct job *j)
{
	char name[DISK_NAME_MAX + 1];
	seg_name(name, j->slot);
	j->err = disk_zero_file(j->s->disk, name, j->s->conf.segment_size, &j->file);
}

/* May a segment be added: the limits of the configuration and of the file system. */
static bool zero_allowed(struct store *s)
{
	uint64_t now = store_wall_us(s);
	if (s->n_seg + 1 >= INDEX_SEG_MAX || now < s->zero_retry_us)
		return false;
	if (s->conf.size_max && s->seg_bytes + s->conf.segment_size > s->conf.size_max)
		return false;
	if (s->disk->ops->space(s->disk, &s->disk_free) != ERR_OK)
		s->disk_free = 0;
	/* A checkpoint is there twice while it is made, and the next ones are larger: they must not press the disk
	 * under the mark, below which a store full of free segments takes nothing. */
	if (s->disk_free < s->conf.free_min + s->conf.segment_size + s->conf.segment_size / 4 + 2 * s->ckpt_bytes) {
		s->zero_retry_us = now + RETRY_US;
		return false;
	}
	return true;
}

static bool zero_begin(struct store *s)
{
	if (atomic_load_explicit(&s->zero.state, memory_order_relaxed) != JOB_IDLE || !zero_allowed(s))
		return false;
	uint32_t slot = 0;
	while (slot < s->n_seg && s->seg[slot].file)
		slot++;
	s->zero.slot = slot;
	s->zero.run = zero_run;
	job_start(s, &s->zero);
	return true;
}

static void zero_end(struct store *s)
{
	if (s->zero.err == ERR_OK) {
		seg_add(s, s->zero.slot, s->zero.file, SEG_FREE);
		s->zero.file = NULL;
		return;
	}
	s->zero_retry_us = store_wall_us(s) + RETRY_US;
	if (s->zero.err != ERR_NO_SPACE)
		log_error("store: %s: cannot make a segment: %s", s->conf.path, err_text(s->zero.err));
}

/* Once a second: has the file system less free than it should keep? */
static void space_check(struct store *s)
{
	uint64_t now = store_wall_us(s);
	if (s->conf.free_min == 0 || now < s->space_check_us)
		return;
	s->space_check_us = now + RETRY_US;
	if (s->disk->ops->space(s->disk, &s->disk_free) == ERR_OK)
		s->low = s->disk_free < s->conf.free_min;
}

bool seg_turn(struct store *s)
{
	bool did = false;
	space_check(s);
	if (job_finished(s, &s->zero)) {
		zero_end(s);
		did = true;
	}
	if (s->reclaim)
		did |= seg_reclaim(s);
	if (s->n_free < SPARE_SEGMENTS && !s->failed)
		did |= zero_begin(s);
	if (s->full && s->n_free > LOG_GROWTH && !s->low) {
		log_info("store: %s: there is space again", s->conf.path);
		s->full = false;
	}
	return did;
}

bool seg_press(struct store *s, enum log_for what, bool end)
{
	if (end && s->cur != UINT32_MAX && !s->open && s->ix.seg[s->cur].live == 0) {
		/* It holds changes but no bodies: after a checkpoint it can be begun again. */
		s->seg[s->cur].state = SEG_FULL;
		s->cur = UINT32_MAX;
		s->reclaim = true;
	}
	(void)zero_begin(s);
	if (atomic_load_explicit(&s->zero.state, memory_order_relaxed) != JOB_IDLE)
		return true;
	if (s->reclaim && (s->n_flight > 0 || seg_reclaim(s)))
		return true;
	for (uint32_t i = 0; i < s->n_seg && !s->ckpt_want; i++) {
		if (seg_dead(s, i) && s->seg[i].end_seq > s->ckpt_seq && store_wall_us(s) >= s->ckpt_retry_us)
			s->ckpt_want = true;
	}
	if (s->ckpt_want || s->ckpt_ready || atomic_load_explicit(&s->ckpt.state, memory_order_relaxed) != JOB_IDLE)
		return true;
	return what != LOG_GC && gc_press(s);
}
