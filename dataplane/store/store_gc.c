/*
 * store_gc.c: collection: what is alive in a segment that is mostly dead is moved, so that the segment can be used again.
 *
 * A segment is read from its front, group after group as in replay; a body's bytes that the index still holds there are
 * checked and written again as a MOVED record, and the index then points to the new place. Nothing is freed here:
 * an emptied segment becomes free by the rules of store_segment.c (the group that took the last bytes out is durable, a
 * checkpoint lies behind the segment), so at every moment one whole copy of each body is reachable.
 * Which: the segment with the least alive, if that is under half; when nothing else is under way or when
 * somebody waits for room, also one under nine tenths while more than DEAD_PERCENT of all is dead.
 * How fast: under load, a byte for four that are written; idle, one group at a time; for somebody who waits, as fast
 * as the disk takes it. 1. Only complete blobs are moved: parts that still arrive are let alone, and the segment is
 * looked at again later. 2. A body that does not match its checksum stays where it is (and its segment with it).
 * 3. A segment that collection filled is a victim again only after it lost an eighth of what it held: what cannot get denser is
 * not moved round and round.
 */
#include <stdlib.h>
#include <string.h>
#include "log.h"
#include "store_int.h"

#define GC_WINDOW    (GROUP_CAP + 2 * DISK_BLOCK) /* the largest group fits */
#define DEAD_PERCENT 8u                           /* of all segments */
#define CKPT_PERCENT 5u                           /* dead whole segments that are worth a checkpoint */
#define CREDIT_MAX   ((int64_t)1 << 20)
#define LATER_US     60000000ull

void gc_fini(struct store *s)
{
	free(s->gc.win);
}

void gc_earn(struct store *s, uint32_t bytes)
{
	struct gc *c = &s->gc;
	uint64_t moved = c->open_bytes < bytes ? c->open_bytes : bytes;
	c->credit += (int64_t)((bytes - moved) / 4);
	if (c->credit > CREDIT_MAX)
		c->credit = CREDIT_MAX;
	c->open_bytes = 0;
}

/* ---- which ---- */

/* Collection made most of it, and it is as dense as that can be. */
static bool packed(const struct seg *g, uint64_t live)
{
	bool roomy = g->size >= 8 * PART_MAX; /* in such a one, even the largest parts fill six tenths */
	return g->moved_in * 2 >= live && live >= g->sealed_live - g->sealed_live / 8 &&
	       (!roomy || g->sealed_live * 10 >= g->size * 6ull);
}

static bool may_empty(const struct store *s, uint32_t i, uint64_t now)
{
	const struct seg *g = &s->seg[i];
	uint64_t live = s->ix.seg[i].live;
	return g->state == SEG_FULL && live > 0 && now >= g->gc_after_us && !packed(g, live);
}

/* The victim, or UINT32_MAX. unhurried: thin ones, too. waiting: bytes of dead segments that are worth a
 * checkpoint, which frees them. */
static uint32_t choose(const struct store *s, bool unhurried, uint64_t *waiting)
{
	uint64_t now = store_wall_us(s), dead = 0;
	uint32_t best = UINT32_MAX;
	*waiting = 0;
	for (uint32_t i = 0; i < s->n_seg; i++) {
		const struct seg *g = &s->seg[i];
		uint64_t live = s->ix.seg[i].live;
		if (g->state != SEG_FULL)
			continue;
		dead += g->size - live;
		if (live == 0 && g->end_seq > s->ckpt_seq)
			*waiting += g->size;
		if (may_empty(s, i, now) &&
		    (best == UINT32_MAX || live * s->seg[best].size < s->ix.seg[best].live * g->size))
			best = i;
	}
	/* What a checkpoint frees is worth one if it is much, or if all that is dead is too much. */
	if (*waiting * 100 <= s->seg_bytes * CKPT_PERCENT && dead * 100 <= s->seg_bytes * DEAD_PERCENT)
		*waiting = 0;
	if (best == UINT32_MAX)
		return best;
	uint64_t live = s->ix.seg[best].live, size = s->seg[best].size;
	bool thin = unhurried && dead * 100 > s->seg_bytes * DEAD_PERCENT && live * 10 < size * 9;
	return live * 2 < size || thin ? best : UINT32_MAX;
}

bool gc_press(struct store *s)
{
	uint64_t waiting;
	if (s->gc.stop)
		return false;
	s->gc.wanted = s->gc.victim != UINT32_MAX || choose(s, true, &waiting) != UINT32_MAX;
	return s->gc.wanted;
}

/* ---- reading ---- */

static void window_read(struct store *s, uint32_t off)
{
	struct gc *c = &s->gc;
	const struct seg *g = &s->seg[c->victim];
	c->win_off = off;
	c->win_len = g->size - off < GC_WINDOW ? g->size - off : GC_WINDOW;
	c->at = c->rec = 0;
	c->reading = true;
	c->req = (struct disk_req){.file = g->file, .buf = c->win, .off = off, .len = c->win_len, .verb = DISK_READ};
	s->reads++;
	s->disk->ops->submit(s->disk, &c->req);
}

static void begin(struct store *s, uint32_t victim)
{
	struct gc *c = &s->gc;
	c->victim = victim;
	s->seg[victim].pins++; /* it must not be used again while we walk through it */
	c->first = true;
	c->blob = 0;
	if (!c->win)
		c->win = aligned_alloc(DISK_BLOCK, GC_WINDOW);
	CHECK(c->win);
	window_read(s, DISK_BLOCK);
}

/* Done with the victim; what is still alive in it must wait until then. */
static void end(struct store *s, uint64_t later_us)
{
	struct gc *c = &s->gc;
	struct seg *g = &s->seg[c->victim];
	bool emptied = s->ix.seg[c->victim].live == 0;
	g->pins--;
	s->reclaim = true;
	if (!emptied && g->gc_after_us != UINT64_MAX)
		g->gc_after_us = store_wall_us(s) + later_us;
	if (s->conf.stat)
		stat_inc(s->conf.stat, emptied ? STAT_store_gc_segments : STAT_store_gc_left);
	c->victim = UINT32_MAX;
	c->wanted = false;
	c->looked_seq = 0;
}

void gc_read_done(struct store *s)
{
	struct gc *c = &s->gc;
	const struct seg *g = &s->seg[c->victim];
	c->reading = false;
	s->reads--;
	if (c->req.err == ERR_OK)
		return;
	log_error("store: %s/%s: offset %llu: read failed", s->conf.path, g->file->name, (unsigned long long)c->req.off);
	if (s->conf.stat)
		stat_inc(s->conf.stat, STAT_store_read_error);
	end(s, LATER_US);
}

/* ---- moving ---- */

enum step { STEP_ON, STEP_WAIT, STEP_END };

/* The extent of b that stands at off of the victim, or UINT32_MAX. */
static uint32_t extent_at(struct gc *c, const struct blob *b, uint32_t off)
{
	uint32_t i = c->blob == b->id ? c->ext : 0; /* parts of a large body come in their order */
	for (uint32_t n = 0; n < b->n_ext; n++, i++) {
		const struct extent *x = &b->ext[i % b->n_ext];
		if (x->seg == c->victim && x->off == off)
			return i % b->n_ext;
	}
	return UINT32_MAX;
}

static enum step move_record(struct store *s, const struct record *r)
{
	struct gc *c = &s->gc;
	struct reader in = reader_of(r->data);
	struct blob *b = index_blob(&s->ix, get_u64(&in));
	uint64_t off = get_u64(&in);
	uint32_t ext = b && b->complete && r->data.len >= BODY_HEADER
			       ? extent_at(c, b, c->win_off + c->at + r->off + BODY_HEADER)
			       : UINT32_MAX;
	if (ext == UINT32_MAX)
		return STEP_ON;
	const struct extent old = b->ext[ext];
	const uint8_t *bytes = r->data.p + BODY_HEADER;
	struct seg *g = &s->seg[c->victim];
	if (r->data.len - BODY_HEADER != old.len || crc32c(0, bytes, old.len) != old.crc) {
		log_error("store: %s/%s: offset %u: %u bytes of a message do not match their checksum: they stay there",
			  s->conf.path, g->file->name, old.off, old.len);
		g->gc_after_us = UINT64_MAX;
		return STEP_ON;
	}
	enum log_room room = log_reserve(s, record_bytes(BODY_HEADER + old.len), LOG_GC);
	if (room != LOG_OK)
		return room == LOG_WAIT ? STEP_WAIT : STEP_END;
	struct extent to;
	s->ix.seq = s->open->seq;
	log_moved(s, b->id, off, bytes, old.len, old.crc, &to);
	index_blob_move(&s->ix, b, ext, &to);
	c->blob = b->id;
	c->ext = ext + 1;
	c->credit -= (int64_t)extent_cost(&to);
	s->reclaim = true;
	if (s->conf.stat)
		stat_add(s->conf.stat, STAT_store_gc_bytes, old.len);
	return STEP_ON;
}

/* The next group of the victim; ON: c->head and c->rec are its. WAIT: it is being read. */
static enum step next_group(struct store *s)
{
	struct gc *c = &s->gc;
	const struct seg *g = &s->seg[c->victim];
	if (s->ix.seg[c->victim].live == 0 || c->win_off + c->at >= g->size || (!c->first && c->seq >= g->end_seq))
		return STEP_END;
	if (c->at == c->win_len) {
		window_read(s, c->win_off + c->at);
		return STEP_WAIT;
	}
	if (!group_head_read(c->win + c->at, &c->head) || c->head.generation != g->generation ||
	    (!c->first && (c->head.seq != c->seq + 1 || c->head.chain != c->chain)))
		return STEP_END;
	if (c->head.bytes > c->win_len - c->at && c->at > 0) {
		window_read(s, c->win_off + c->at);
		return STEP_WAIT;
	}
	if (group_parse(c->win + c->at, c->win_len - c->at, false, &c->head) != ERR_OK)
		return STEP_END;
	c->rec = GROUP_HEADER;
	return STEP_ON;
}

static enum step work(struct store *s, int64_t *budget)
{
	struct gc *c = &s->gc;
	while (*budget > 0) {
		enum step st = STEP_ON;
		if (c->rec == 0)
			st = next_group(s);
		int64_t before = c->credit;
		while (st == STEP_ON && c->rec < c->head.bytes && *budget > 0) {
			uint32_t next = c->rec;
			struct record r;
			if (!record_next(c->win + c->at, c->head.bytes, &next, &r))
				return STEP_END;
			if (r.type == REC_BODY || r.type == REC_MOVED)
				st = move_record(s, &r);
			if (st == STEP_ON)
				c->rec = next;
			*budget -= before - c->credit;
			before = c->credit;
		}
		if (st != STEP_ON)
			return st;
		if (c->rec >= c->head.bytes) {
			c->seq = c->head.seq;
			c->chain = c->head.crc;
			c->first = false;
			c->at += align_up(c->head.bytes, DISK_BLOCK);
			c->rec = 0;
		}
	}
	return STEP_ON;
}

/* Nothing to empty: are whole segments dead that only a checkpoint keeps? */
static bool ask_checkpoint(struct store *s, uint64_t waiting)
{
	if (waiting == 0 || s->ckpt_want || s->ckpt_ready ||
	    store_wall_us(s) < s->ckpt_retry_us)
		return false;
	s->ckpt_want = true;
	return true;
}

bool gc_turn(struct store *s, bool idle)
{
	struct gc *c = &s->gc;
	if (s->failed || c->stop || c->reading)
		return false;
	int64_t budget = c->wanted || idle ? (int64_t)GROUP_CLOSE : c->credit;
	if (budget <= 0)
		return false;
	if (c->victim == UINT32_MAX) {
		uint64_t waiting;
		if (c->looked_seq == s->seq_closed && !c->wanted)
			return false;
		c->looked_seq = s->seq_closed;
		uint32_t victim = choose(s, idle || c->wanted, &waiting);
		if (victim == UINT32_MAX) {
			c->wanted = false;
			return idle && ask_checkpoint(s, waiting);
		}
		begin(s, victim);
		return true;
	}
	int64_t given = budget;
	enum step st = work(s, &budget);
	if (c->credit < 0 && (c->wanted || idle))
		c->credit = 0; /* not at the cost of load that comes later */
	if (st == STEP_END)
		end(s, s->ix.seg[c->victim].live == 0 ? 0 : LATER_US);
	return st != STEP_WAIT || budget < given || c->reading;
}
