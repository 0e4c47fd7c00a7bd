/*
 * store_log.c: the writing half of the log: records into groups, groups onto the disk.
 *
 * One group is open at a time. It is closed when nothing is in flight, or when it is full; at most FLIGHT_MAX
 * are in flight; they may finish in any order but count as durable only in theirs. Body bytes are copied
 * once, together with their checksum, into the group's buffer.
 * 1. group[seq % GROUP_SLOTS] holds group seq until seq + GROUP_SLOTS is opened: reads of the newest bodies are
 * served from there. 2. cur_off is where the open group goes, or the next. 3. durable <= seq_closed < seq_next.
 */
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "store_int.h"

void log_fini(struct store *s)
{
	for (unsigned i = 0; i < GROUP_SLOTS; i++)
		free(s->group[i].buf);
}

uint64_t log_seq(const struct store *s)
{
	return s->open && s->open->records > 0 ? s->open->seq : s->seq_closed;
}

static uint32_t group_limit(const struct store *s, const struct group *g)
{
	uint32_t room = s->seg[g->seg].size - g->off;
	return room < GROUP_CAP + g->start ? room : GROUP_CAP + g->start;
}

/* Room in the current segment, or a free segment, with what must be left (enum log_for is that number). */
static enum log_room log_space(struct store *s, uint32_t need, enum log_for what)
{
	bool fits = s->cur != UINT32_MAX && s->seg[s->cur].size - s->cur_off >= need;
	uint32_t spare = (fits ? 0u : 1u) + (uint32_t)what;
	if (s->n_free >= spare && (fits || seg_free_find(s, need) != UINT32_MAX))
		return LOG_OK;
	return seg_press(s, what, !fits) ? LOG_WAIT : LOG_FULL;
}

static void group_open(struct store *s, uint32_t need)
{
	struct group *g = &s->group[s->seq_next % GROUP_SLOTS];
	CHECK(g->state != GROUP_FLIGHT && g->state != GROUP_OPEN);
	if (!g->buf)
		g->buf = aligned_alloc(DISK_BLOCK, GROUP_CAP + 2 * DISK_BLOCK);
	CHECK(g->buf);
	bool fits = s->cur != UINT32_MAX && s->seg[s->cur].size - s->cur_off >= need;
	if (!fits)
		CHECK(seg_next(s, need, g->buf));
	g->state = GROUP_OPEN;
	g->start = fits ? 0 : DISK_BLOCK;
	g->seg = s->cur;
	g->off = s->cur_off - g->start;
	g->len = g->start + GROUP_HEADER;
	g->records = 0;
	g->meta_crc = 0;
	g->seq = s->seq_next;
	g->first_lsn = s->lsn;
	s->open = g;
}

enum log_room log_reserve(struct store *s, uint32_t need, enum log_for what)
{
	uint32_t whole = align_up(GROUP_HEADER + need, DISK_BLOCK);
	if (whole > GROUP_CAP || whole + DISK_BLOCK > s->conf.segment_size)
		return LOG_TOO_LONG;
	if (what == LOG_GROWTH && s->low)
		return LOG_FULL;
	if (s->open) {
		uint32_t len = s->open->len + need;
		bool full = s->open->records > 0 && len > GROUP_CLOSE + s->open->start;
		if (!full && len <= group_limit(s, s->open)) {
			if (s->n_free >= (uint32_t)what)
				return LOG_OK;
			return seg_press(s, what, false) ? LOG_WAIT : LOG_FULL;
		}
		if (s->open->records == 0) {
			/* It was opened in what is too small a rest of the segment: give the place up. */
			s->open->state = GROUP_NONE;
			s->open = NULL;
			s->cur_off = s->seg[s->cur].size;
		} else if (s->n_flight >= FLIGHT_MAX) {
			return LOG_WAIT;
		} else {
			log_close(s);
		}
	}
	if (s->group[s->seq_next % GROUP_SLOTS].state == GROUP_FLIGHT)
		return LOG_WAIT; /* one is slow: those behind it are done but cannot count yet */
	enum log_room r = log_space(s, whole, what);
	if (r == LOG_OK)
		group_open(s, whole);
	return r;
}

uint8_t *log_record_begin(struct store *s, enum record_type type, uint32_t len)
{
	struct group *g = s->open;
	uint8_t *p = g->buf + g->len;
	uint32_t head[4] = {len, (uint32_t)type, 0, 0};
	uint64_t lsn = s->lsn++;
	memcpy(&head[2], &lsn, sizeof(lsn));
	memcpy(p, head, sizeof(head));
	return p + RECORD_HEADER;
}

void log_record_end(struct store *s, uint32_t len)
{
	struct group *g = s->open;
	uint8_t *p = g->buf + g->len;
	uint32_t all = record_bytes(len);
	memset(p + RECORD_HEADER + len, 0, all - RECORD_HEADER - len);
	g->meta_crc = crc32c(g->meta_crc, p, all);
	g->len += all;
	g->records++;
}

/* The bytes stand behind the heads at p. They are under their own checksum: only the heads go into the group's. */
static void body_end(struct store *s, uint8_t *p, store_id blob, uint64_t off, uint32_t len, uint32_t crc,
		     struct extent *out)
{
	struct group *g = s->open;
	memcpy(p, &blob, 8);
	memcpy(p + 8, &off, 8);
	memcpy(p + 16, &len, 4);
	memcpy(p + 20, &crc, 4);
	*out = (struct extent){.seg = g->seg, .len = len, .crc = crc};
	out->off = g->off + (uint32_t)(p + BODY_HEADER - g->buf);
	uint32_t all = record_bytes(BODY_HEADER + len);
	memset(p + BODY_HEADER + len, 0, all - RECORD_HEADER - BODY_HEADER - len);
	g->meta_crc = crc32c(g->meta_crc, g->buf + g->len, RECORD_HEADER + BODY_HEADER);
	g->len += all;
	g->records++;
}

void log_body(struct store *s, store_id blob, uint64_t off, const struct slices *body, struct extent *out)
{
	uint32_t len = (uint32_t)body->len, crc = 0;
	uint8_t *p = log_record_begin(s, REC_BODY, BODY_HEADER + len);
	uint8_t *to = p + BODY_HEADER;
	for (uint32_t i = 0; i < body->n; i++) {
		crc = crc32c_copy(crc, to, body->v[i].data, body->v[i].len);
		to += body->v[i].len;
	}
	body_end(s, p, blob, off, len, crc, out);
}

void log_moved(struct store *s, store_id blob, uint64_t off, const uint8_t *bytes, uint32_t len, uint32_t crc,
	       struct extent *out)
{
	uint8_t *p = log_record_begin(s, REC_MOVED, BODY_HEADER + len);
	memcpy(p + BODY_HEADER, bytes, len);
	body_end(s, p, blob, off, len, crc, out);
	s->gc.open_bytes += record_bytes(BODY_HEADER + len);
	s->seg[out->seg].moved_in += record_bytes(BODY_HEADER + len);
}

void log_close(struct store *s)
{
	struct group *g = s->open;
	if (!g || g->records == 0 || s->n_flight >= FLIGHT_MAX || s->failed)
		return;
	struct group_header h = {
		.magic = GROUP_MAGIC,
		.generation = s->seg[g->seg].generation,
		.seq = g->seq,
		.durable = s->durable,
		.first_lsn = g->first_lsn,
		.bytes = g->len - g->start,
		.records = g->records,
		.meta_crc = g->meta_crc,
		.chain = s->chain,
	};
	h.crc = crc32c(0, &h, sizeof(h));
	memcpy(g->buf + g->start, &h, sizeof(h));
	uint32_t whole = align_up(g->len, DISK_BLOCK);
	memset(g->buf + g->len, 0, whole - g->len);

	s->chain = h.crc;
	s->seq_closed = g->seq;
	s->seq_next = g->seq + 1;
	s->seg[g->seg].end_seq = g->seq;
	s->cur_off = g->off + whole;
	s->since_ckpt += whole;
	gc_earn(s, whole);
	s->open = NULL;
	s->n_flight++;
	g->state = GROUP_FLIGHT;
	g->begin_us = clock_us();
	g->req = (struct disk_req){
		.file = s->seg[g->seg].file,
		.buf = g->buf,
		.off = g->off,
		.len = whole,
		.verb = s->conf.breaks & STORE_BREAK_FLUSH ? DISK_WRITE : DISK_WRITE_SYNC,
		.user = g,
	};
	s->disk->ops->submit(s->disk, &g->req);
	atomic_fetch_add_explicit(&s->g.groups, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&s->g.group_bytes, whole, memory_order_relaxed);
	atomic_fetch_add_explicit(&s->g.records, g->records, memory_order_relaxed);
}

/* Below 8 us one bucket a microsecond, above eight to each doubling. */
static unsigned flush_bucket(uint64_t us)
{
	if (us < 8)
		return (unsigned)us;
	unsigned top = 63u - (unsigned)__builtin_clzll(us);
	unsigned i = (top - 2) * 8 + (unsigned)(us >> (top - 3) & 7);
	return i < FLUSH_BUCKETS ? i : FLUSH_BUCKETS - 1;
}

static uint64_t bucket_us(unsigned i) /* the largest that falls into it */
{
	return i < 8 ? i : ((8ull + i % 8 + 1) << (i / 8 - 1)) - 1;
}

uint64_t log_flush_us(const struct store *s, unsigned per_mille)
{
	uint64_t n[FLUSH_BUCKETS], all = 0, sum = 0;
	for (unsigned i = 0; i < FLUSH_BUCKETS; i++)
		all += n[i] = atomic_load_explicit(&s->g.flush_us[i], memory_order_relaxed);
	for (unsigned i = 0; i < FLUSH_BUCKETS && all > 0; i++) {
		sum += n[i];
		if (sum * 1000 >= all * per_mille)
			return bucket_us(i);
	}
	return 0;
}

void log_written(struct store *s, struct disk_req *r)
{
	struct group *g = r->user;
	s->n_flight--;
	g->state = GROUP_DONE;
	if (r->err != ERR_OK) {
		store_fail(s, "writing the log", r->err);
		return;
	}
	uint64_t us = clock_us() - g->begin_us;
	atomic_fetch_add_explicit(&s->g.flush_us_sum, us, memory_order_relaxed);
	atomic_fetch_add_explicit(&s->g.flush_us[flush_bucket(us)], 1, memory_order_relaxed);
	if (us > atomic_load_explicit(&s->g.flush_us_max, memory_order_relaxed))
		atomic_store_explicit(&s->g.flush_us_max, us, memory_order_relaxed);
	if (s->failed)
		return;
	while (s->durable < s->seq_closed) {
		const struct group *n = &s->group[(s->durable + 1) % GROUP_SLOTS];
		if (n->seq != s->durable + 1 || n->state != GROUP_DONE)
			break;
		s->durable++;
	}
}

const uint8_t *log_bytes(const struct store *s, const struct extent *e, uint64_t *seq)
{
	const struct group *best = NULL; /* a segment may have been used again: the newest counts */
	for (unsigned i = 0; i < GROUP_SLOTS; i++) {
		const struct group *g = &s->group[i];
		if (g->state != GROUP_NONE && g->seg == e->seg && e->off >= g->off && e->off - g->off < g->len &&
		    e->len <= g->len - (e->off - g->off) && (!best || g->seq > best->seq))
			best = g;
	}
	if (!best)
		return NULL;
	*seq = best->seq;
	return best->buf + (e->off - best->off);
}
