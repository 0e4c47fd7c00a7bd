/*
 * store_read.c: bytes of a blob, from the newest groups' memory or from the disk, never unchecked.
 *
 * Every extent that a read touches is read whole and compared with its checksum; only then is the wanted
 * part handed out, as slices of the big packets the disk wrote into: no copy. A mismatch is ERR_CORRUPT, one
 * line in the log, and nothing is served. Bytes of a group that is still in memory are copied from there; the
 * read then completes when that group is durable.
 */
#include <stdlib.h>
#include <string.h>
#include "log.h"
#include "store_int.h"

#define READ_CHUNK (PKT_BIG_ROOM - DISK_BLOCK) /* aligned bytes in one big packet */
#define READS_MAX  256u                        /* disk reads in flight */

struct chunk {
	struct disk_req req;
	struct store_read *read;
	struct pkt *pkt;
	uint8_t *data;  /* bytes of the extent from `from` on */
	uint32_t from, len;
	uint32_t ext;
	bool checked;   /* came from memory */
};

struct store_read {
	struct op_int *o;
	struct extent *ext;      /* those that the read touches */
	uint64_t *ext_off;       /* their offsets in the blob */
	uint32_t n_ext, n_chunk, pending;
	uint64_t need_seq;
	enum err err;
	struct chunk chunk[];
};

static uint32_t chunks_of(const struct extent *e)
{
	uint32_t skip = e->off % DISK_BLOCK;
	return (skip + e->len + READ_CHUNK - 1) / READ_CHUNK;
}

/* The extents that hold off .. off+len. */
static struct store_read *read_plan(const struct blob *b, uint64_t off, uint64_t len)
{
	uint64_t at = 0;
	uint32_t n_ext = 0, n_chunk = 0;
	for (uint32_t i = 0; i < b->n_ext; at += b->ext[i++].len) {
		if (at < off + len && at + b->ext[i].len > off) {
			n_ext++;
			n_chunk += chunks_of(&b->ext[i]);
		}
	}
	struct store_read *r = calloc(1, sizeof(*r) + n_chunk * sizeof(struct chunk));
	CHECK(r);
	r->ext = calloc(n_ext + 1, sizeof(*r->ext));
	r->ext_off = calloc(n_ext + 1, sizeof(*r->ext_off));
	CHECK(r->ext && r->ext_off);
	at = 0;
	for (uint32_t i = 0; i < b->n_ext; at += b->ext[i++].len) {
		if (at < off + len && at + b->ext[i].len > off) {
			r->ext_off[r->n_ext] = at;
			r->ext[r->n_ext++] = b->ext[i];
		}
	}
	return r;
}

static void read_free(struct store_read *r)
{
	for (uint32_t i = 0; i < r->n_chunk; i++) {
		if (r->chunk[i].pkt)
			pkt_free(r->chunk[i].pkt);
	}
	free(r->ext);
	free(r->ext_off);
	free(r);
}

static struct chunk *chunk_add(struct store *s, struct store_read *r, uint32_t ext, uint32_t from)
{
	struct chunk *c = &r->chunk[r->n_chunk];
	*c = (struct chunk){.read = r, .ext = ext, .from = from};
	c->pkt = pkt_alloc(s->conf.big);
	if (!c->pkt)
		return NULL;
	r->n_chunk++;
	return c;
}

/* From a group's memory. */
static bool chunk_copy(struct store *s, struct store_read *r, uint32_t ext, const uint8_t *bytes)
{
	const struct extent *e = &r->ext[ext];
	for (uint32_t from = 0; from < e->len;) {
		struct chunk *c = chunk_add(s, r, ext, from);
		if (!c)
			return false;
		uint32_t room = pkt_room(c->pkt);
		c->len = e->len - from < READ_CHUNK ? e->len - from : READ_CHUNK;
		if (c->len > room)
			c->len = room;
		c->data = pkt_append(c->pkt, c->len);
		c->checked = true;
		memcpy(c->data, bytes + from, c->len);
		from += c->len;
	}
	return true;
}

/* Requests that cover the extent in aligned steps; not yet submitted. */
static bool chunk_plan(struct store *s, struct store_read *r, uint32_t ext)
{
	const struct extent *e = &r->ext[ext];
	for (uint32_t from = 0; from < e->len;) {
		struct chunk *c = chunk_add(s, r, ext, from);
		if (!c)
			return false;
		uint32_t off = e->off + from, skip = off % DISK_BLOCK;
		uint32_t len = align_up(skip + e->len - from, DISK_BLOCK);
		if (len > READ_CHUNK)
			len = READ_CHUNK;
		uint8_t *buf = pkt_aligned(c->pkt, len);
		if (!buf)
			return false;
		c->data = buf + skip;
		c->len = len - skip < e->len - from ? len - skip : e->len - from;
		c->req = (struct disk_req){
			.file = s->seg[e->seg].file,
			.buf = buf,
			.off = off - skip,
			.len = len,
			.verb = DISK_READ,
			.user = c,
		};
		from += c->len;
	}
	return true;
}

static void read_submit(struct store *s, struct store_read *r)
{
	for (uint32_t i = 0; i < r->n_chunk; i++) {
		struct chunk *c = &r->chunk[i];
		if (c->checked)
			continue;
		s->seg[r->ext[c->ext].seg].pins++;
		r->pending++;
		s->reads++;
		s->disk->ops->submit(s->disk, &c->req);
	}
}

static enum err read_check(struct store *s, const struct store_read *r)
{
	uint32_t i = 0;
	for (uint32_t x = 0; x < r->n_ext; x++) {
		uint32_t crc = 0;
		bool checked = false;
		for (; i < r->n_chunk && r->chunk[i].ext == x; i++) {
			checked = r->chunk[i].checked;
			if (!checked)
				crc = crc32c(crc, r->chunk[i].data, r->chunk[i].len);
		}
		if (checked || crc == r->ext[x].crc)
			continue;
		log_error("store: %s/%s: offset %u: %u bytes of a message do not match their checksum",
			  s->conf.path, s->seg[r->ext[x].seg].file->name, r->ext[x].off, r->ext[x].len);
		if (s->conf.stat)
			stat_inc(s->conf.stat, STAT_store_corrupt);
		return ERR_CORRUPT;
	}
	return ERR_OK;
}

/* The wanted part of each chunk becomes a slice. */
static void read_slices(const struct store_read *r, struct store_op *op)
{
	for (uint32_t i = 0; i < r->n_chunk; i++) {
		const struct chunk *c = &r->chunk[i];
		uint64_t at = r->ext_off[c->ext] + c->from, end = at + c->len;
		uint64_t lo = at > op->off ? at : op->off;
		uint64_t hi = end < op->off + op->len ? end : op->off + op->len;
		if (lo < hi)
			slices_push(&op->data, slice_of(c->pkt, c->data + (lo - at), (uint32_t)(hi - lo)));
	}
}

static void read_finish(struct store *s, struct store_read *r)
{
	struct op_int *o = r->o;
	enum err e = r->err;
	if (e == ERR_OK)
		e = read_check(s, r);
	if (e == ERR_OK)
		read_slices(r, &o->op);
	uint64_t seq = r->need_seq;
	o->read = NULL;
	read_free(r);
	op_complete_at(s, o, e, seq);
}

static void read_begin(struct store *s, struct op_int *o)
{
	struct store_op *op = &o->op;
	const struct blob *b = index_blob(&s->ix, op->blob);
	if (!b || !b->complete) {
		op_complete(s, o, ERR_NOT_FOUND);
		return;
	}
	if (op->off > b->size)
		op->off = b->size;
	if (op->len > PART_MAX)
		op->len = PART_MAX;
	if (op->len > b->size - op->off)
		op->len = b->size - op->off;
	struct store_read *r = read_plan(b, op->off, op->len);
	r->o = o;
	o->read = r;
	bool ok = true;
	for (uint32_t i = 0; i < r->n_ext && ok; i++) {
		uint64_t seq = 0;
		const uint8_t *bytes = log_bytes(s, &r->ext[i], &seq);
		if (bytes && seq > r->need_seq)
			r->need_seq = seq;
		ok = bytes ? chunk_copy(s, r, i, bytes) : chunk_plan(s, r, i);
	}
	if (!ok)
		r->err = ERR_NO_MEMORY;
	else
		read_submit(s, r);
	if (r->pending == 0)
		read_finish(s, r);
}

void read_op(struct store *s, struct op_int *o)
{
	if (s->reads >= READS_MAX || s->read_wait.head)
		op_list_push(&s->read_wait, o);
	else
		read_begin(s, o);
}

void read_more(struct store *s)
{
	while (s->reads < READS_MAX && s->read_wait.head)
		read_begin(s, op_list_pop(&s->read_wait));
}

void store_read_done(struct store *s, struct disk_req *req)
{
	const struct chunk *c = req->user;
	struct store_read *r = c->read;
	struct seg *g = &s->seg[r->ext[c->ext].seg];
	s->reads--;
	g->pins--;
	s->reclaim = true;
	if (req->err != ERR_OK) {
		log_error("store: %s/%s: offset %llu: read failed", s->conf.path, g->file->name,
			  (unsigned long long)req->off);
		if (s->conf.stat)
			stat_inc(s->conf.stat, STAT_store_read_error);
		r->err = ERR_IO;
	}
	if (--r->pending == 0)
		read_finish(s, r);
}
