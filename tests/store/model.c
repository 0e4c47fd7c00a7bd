/* model.c: see model.h. Arrays, searched from the front; no code of store/ is used. */
#include "model.h"
#include <stdio.h>

/* Names of keywords are the same number in every folder: the tests use few. */
void model_init(struct model *m, uint64_t acct, uint32_t inbox_uidvalidity, uint32_t body_max)
{
	memset(m, 0, sizeof(*m));
	m->acct = acct;
	m->body_max = body_max;
	m->next_oid = (1ull << 48) | (255ull << 40) | 1;
	m->uv_last = inbox_uidvalidity;
	m->next_dir = 2;
	m->dir[0] = (struct model_dir){.used = true, .id = 1, .uidvalidity = inbox_uidvalidity, .uidnext = 1, .modseq = 1,
				       .name = "INBOX"};
}

static struct model_dir *some_dir(struct model *m, struct rnd *rnd)
{
	struct model_dir *d;
	do
		d = &m->dir[rnd_below(rnd, MODEL_DIRS)];
	while (!d->used);
	return d;
}

static void put_part(struct rig *r, store_id blob, uint64_t off, const uint8_t *p, size_t len)
{
	if (len == 0)
		return;
	struct store_op *op = rig_op(r, STORE_BODY);
	op->blob = blob;
	op->off = off;
	op->body = rig_bytes(r, p, len);
	store_submit(r->c, op);
}

static void put_body(struct model *m, struct rig *r, struct store_op *op, uint32_t seed, uint32_t size)
{
	uint8_t *p = malloc(size + 1);
	rig_fill(p, size, seed);
	op->blob = store_id_new(r->c);
	if (m->parts && rnd_below(&m->rnd, 8) == 0) /* given up */
		put_part(r, store_id_new(r->c), 0, p, size);
	while (m->parts && op->off < size && rnd_below(&m->rnd, 3) == 0) {
		uint32_t n = rnd_below(&m->rnd, size - (uint32_t)op->off) + 1;
		put_part(r, op->blob, op->off, p + op->off, n);
		op->off += n;
	}
	op->body = rig_bytes(r, p + op->off, size - op->off);
	free(p);
	store_tx_blob(op, op->blob, 0, 0);
}

static void add_ent(struct model_dir *d, const struct model_ent *e)
{
	if (d->n == MODEL_MAX)
		abort();
	d->ent[d->n] = *e;
	d->ent[d->n].uid = d->uidnext++;
	d->ent[d->n++].modseq = d->modseq;
}

static void deliver(struct model *m, struct rig *r, struct rnd *rnd, struct store_op *op)
{
	uint32_t seed = ++m->next_seed, size = rnd_below(rnd, m->body_max);
	put_body(m, r, op, seed, size);
	unsigned n = 1 + rnd_below(rnd, 2);
	for (unsigned i = 0; i < n; i++) {
		struct model_dir *d = some_dir(m, rnd);
		uint32_t flags = rnd_below(rnd, 32);
		store_tx_deliver(op, m->acct, d->id, op->blob, flags, SPAN(""), seed);
		d->modseq++;
		add_ent(d, &(struct model_ent){.flags = flags, .size = size, .seed = seed, .oid = m->next_oid++});
	}
	if (rnd_below(rnd, 2) && m->n_item < MODEL_MAX) {
		struct model_item *q = &m->item[m->n_item++];
		*q = (struct model_item){.id = store_id_new(r->c), .due = seed, .seed = seed, .size = size, .state = seed};
		store_tx_qput(op, q->id, op->blob, q->due, span_of(&q->state, 4));
	}
}

static void range_of(const struct model_dir *d, struct rnd *rnd, uint32_t out[2])
{
	out[0] = 1 + rnd_below(rnd, d->uidnext);
	out[1] = rnd_below(rnd, 4) ? out[0] + rnd_below(rnd, 4) : UINT32_MAX;
}

static bool in_range(const struct model_ent *e, const uint32_t x[2])
{
	return e->uid >= x[0] && e->uid <= x[1];
}

static void flags(struct model *m, struct rig *r, struct rnd *rnd, struct store_op *op)
{
	struct model_dir *d = some_dir(m, rnd);
	uint32_t x[2], flags = rnd_below(rnd, 32), mode = rnd_below(rnd, 3);
	bool changed = false;
	range_of(d, rnd, x);
	store_tx_flags(op, m->acct, d->id, x, 1, (enum store_flag_mode)mode, flags, SPAN(""));
	for (uint32_t i = 0; i < d->n; i++) {
		struct model_ent *e = &d->ent[i];
		uint32_t f = mode == STORE_FLAGS_SET ? flags : mode == STORE_FLAGS_ADD ? e->flags | flags : e->flags & ~flags;
		if (!in_range(e, x))
			continue;
		e->flags = f;
		e->modseq = d->modseq + 1;
		changed = true;
	}
	d->modseq += changed;
}

static void take_out(struct model_dir *d, const uint32_t x[2], bool only_deleted)
{
	uint32_t to = 0, n = 0;
	for (uint32_t i = 0; i < d->n; i++) {
		if (in_range(&d->ent[i], x) && (!only_deleted || (d->ent[i].flags & STORE_DELETED))) {
			d->gone[d->n_gone++] = d->ent[i].uid;
			n++;
		} else {
			d->ent[to++] = d->ent[i];
		}
	}
	d->n = to;
	d->modseq += n > 0;
}

static void expunge(struct model *m, struct rig *r, struct rnd *rnd, struct store_op *op)
{
	struct model_dir *d = some_dir(m, rnd);
	uint32_t x[2];
	bool only = rnd_below(rnd, 2);
	range_of(d, rnd, x);
	store_tx_expunge(op, m->acct, d->id, x, 1, only);
	take_out(d, x, only);
}

static void copy(struct model *m, struct rig *r, struct rnd *rnd, struct store_op *op)
{
	struct model_dir *src = some_dir(m, rnd), *dst = some_dir(m, rnd);
	struct model_ent e[MODEL_MAX];
	uint32_t x[2], n = 0;
	bool move = rnd_below(rnd, 2);
	range_of(src, rnd, x);
	if (!move && dst->n > 40)
		x[1] = x[0];
	store_tx_copy(op, m->acct, src->id, dst->id, x, 1, move);
	for (uint32_t i = 0; i < src->n; i++) {
		if (in_range(&src->ent[i], x))
			e[n++] = src->ent[i];
	}
	if (move)
		take_out(src, x, false);
	dst->modseq += n > 0;
	for (uint32_t i = 0; i < n; i++) {
		if (!move)
			e[i].oid = m->next_oid++;
		add_ent(dst, &e[i]);
	}
}

static void queue(struct model *m, struct rig *r, struct rnd *rnd, struct store_op *op)
{
	if (m->n_item == 0) {
		deliver(m, r, rnd, op);
		return;
	}
	uint32_t i = rnd_below(rnd, m->n_item);
	struct model_item *q = &m->item[i];
	if (rnd_below(rnd, 2)) {
		q->due++;
		q->state++;
		store_tx_qset(op, q->id, q->due, span_of(&q->state, 4));
	} else {
		store_tx_qdone(op, q->id);
		memmove(q, q + 1, (--m->n_item - i) * sizeof(*q));
	}
}

static void dirs(struct model *m, struct rig *r, struct rnd *rnd, struct store_op *op)
{
	uint32_t i = 1 + rnd_below(rnd, MODEL_DIRS - 1);
	struct model_dir *d = &m->dir[i];
	char name[32];
	if (!d->used) {
		memset(d, 0, sizeof(*d));
		uint32_t now = (uint32_t)(r->wall_us / 1000000);
		m->uv_last = now > m->uv_last ? now : m->uv_last + 1;
		d->used = true;
		d->id = m->next_dir++;
		d->uidvalidity = m->uv_last;
		d->uidnext = 1;
		d->modseq = 1;
		(void)snprintf(d->name, sizeof(d->name), "d%u", d->id);
		store_tx_folder_create(op, m->acct, span_str(d->name));
	} else if (rnd_below(rnd, 2)) {
		store_tx_folder_delete(op, m->acct, span_str(d->name));
		d->used = false;
	} else {
		(void)snprintf(name, sizeof(name), "r%u", rnd_below(rnd, 1000000));
		store_tx_folder_rename(op, m->acct, span_str(d->name), span_str(name));
		memcpy(d->name, name, sizeof(name));
	}
}

/* The oldest item is done and a new message comes. */
static void relay(struct model *m, struct rig *r, struct rnd *rnd, struct store_op *op)
{
	uint32_t seed = ++m->next_seed, size = rnd_below(rnd, m->body_max);
	put_body(m, r, op, seed, size);
	struct model_item q = {.id = store_id_new(r->c), .due = seed, .seed = seed, .size = size, .state = seed};
	store_tx_qput(op, q.id, op->blob, q.due, span_of(&q.state, 4));
	if (m->keep && seed % m->keep == 0) {
		store_tx_deliver(op, m->acct, STORE_INBOX, op->blob, 0, SPAN(""), seed);
		m->dir[0].modseq++;
		add_ent(&m->dir[0], &(struct model_ent){.size = size, .seed = seed, .oid = m->next_oid++});
	}
	if (m->n_item > 5) {
		store_tx_qdone(op, m->item[0].id);
		memmove(m->item, m->item + 1, --m->n_item * sizeof(q));
	}
	m->item[m->n_item++] = q;
}

struct store_op *model_step(struct model *m, struct rig *r, struct rnd *rnd)
{
	static void (*const step[])(struct model *, struct rig *, struct rnd *, struct store_op *) = {
		deliver, deliver, deliver, flags, flags, expunge, copy, queue, queue, dirs,
	};
	struct store_op *op = rig_op(r, STORE_COMMIT);
	if (m->relay && rnd_below(rnd, 50))
		relay(m, r, rnd, op);
	else
		step[rnd_below(rnd, 10)](m, r, rnd, op);
	return op;
}

/* ---- dumps ---- */

static void dump_ent(struct buf *b, uint32_t uid, uint32_t flags, uint64_t modseq, uint64_t oid, uint32_t size,
		     uint32_t crc)
{
	buf_printf(b, " %u/%x/%llu/%llx/%u/%08x", uid, flags, (unsigned long long)modseq, (unsigned long long)oid, size,
		   crc);
}

static uint32_t body_crc(uint32_t seed, uint32_t size)
{
	uint8_t *p = malloc(size + 1);
	rig_fill(p, size, seed);
	uint32_t crc = crc32c(0, p, size);
	free(p);
	return crc;
}

static int cmp_u32(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

static char *take(struct buf *b)
{
	buf_add_u8(b, 0);
	return (char *)b->p;
}

static void dump_dir(struct buf *b, const struct model_dir *d)
{
	uint32_t gone[MODEL_MAX * 4];
	buf_printf(b, "%u %s v%u n%u m%llu:", d->id, d->name, d->uidvalidity, d->uidnext, (unsigned long long)d->modseq);
	for (uint32_t i = 0; i < d->n; i++) {
		const struct model_ent *e = &d->ent[i];
		dump_ent(b, e->uid, e->flags, e->modseq, e->oid, e->size, body_crc(e->seed, e->size));
	}
	memcpy(gone, d->gone, sizeof(gone));
	qsort(gone, d->n_gone, sizeof(*gone), cmp_u32);
	buf_printf(b, " -");
	for (uint32_t i = 0; i < d->n_gone; i++)
		buf_printf(b, " %u", gone[i]);
	buf_printf(b, "\n");
}

char *model_dump(const struct model *m)
{
	struct buf b;
	buf_init(&b);
	for (uint32_t id = 1; id < m->next_dir; id++) {
		for (uint32_t i = 0; i < MODEL_DIRS; i++) {
			if (m->dir[i].used && m->dir[i].id == id)
				dump_dir(&b, &m->dir[i]);
		}
	}
	for (uint32_t i = 0; i < m->n_item; i++) /* made in rising order */
		buf_printf(&b, "q %llx %llu %u %08x\n", (unsigned long long)m->item[i].id,
			   (unsigned long long)m->item[i].due, m->item[i].state,
			   body_crc(m->item[i].seed, m->item[i].size));
	return take(&b);
}

static uint32_t store_crc(struct rig *r, store_id blob, uint32_t size)
{
	struct slices all = {0};
	uint32_t crc = 0;
	for (uint32_t at = 0; at < size || size == 0;) {
		struct store_op *op = rig_op(r, STORE_READ);
		op->blob = blob;
		op->off = at;
		op->len = size - at;
		bool ok = rig_run(r, op) == ERR_OK && op->data.len > 0;
		for (uint32_t i = 0; i < op->data.n; i++)
			crc = crc32c(crc, op->data.v[i].data, op->data.v[i].len);
		at += (uint32_t)op->data.len;
		store_op_free(&op);
		if (!ok)
			return size == 0 ? 0 : 0xbadbad;
	}
	slices_drop(&all);
	return crc;
}

static void dump_store_dir(struct rig *r, struct buf *b, uint64_t acct, const struct store_folder *f)
{
	struct store_op *op = rig_sync(r, acct, f->id, 0, false);
	struct store_op *gone = rig_sync(r, acct, f->id, 1, false);
	if (op->err != ERR_OK || gone->err != ERR_OK) {
		buf_printf(b, "%u %s: %s\n", f->id, f->name, err_name(op->err));
	} else {
		const struct store_view *v = op->view;
		uint32_t unseen = 0, deleted = 0;
		buf_printf(b, "%u %s v%u n%u m%llu:", f->id, v->folder.name, v->folder.uidvalidity, v->folder.uidnext,
			   (unsigned long long)v->folder.modseq);
		for (uint32_t i = 0; i < v->n_ent; i++) {
			const struct store_ent *e = &v->ent[i];
			dump_ent(b, e->uid, e->flags, e->modseq, e->oid, e->size, store_crc(r, e->blob, e->size));
			unseen += !(e->flags & STORE_SEEN);
			deleted += (e->flags & STORE_DELETED) != 0;
		}
		if (unseen != v->folder.unseen || deleted != v->folder.deleted || v->n_ent != v->folder.exists)
			buf_printf(b, " counters are wrong");
		buf_printf(b, " -");
		for (uint32_t i = 0; i < gone->view->n_gone; i++)
			buf_printf(b, " %u", gone->view->gone[i]);
		buf_printf(b, "\n");
	}
	store_op_free(&op);
	store_op_free(&gone);
}

static int cmp_folder(const void *a, const void *b)
{
	const struct store_folder *x = a, *y = b;
	return x->id < y->id ? -1 : x->id > y->id;
}

char *model_dump_store(struct rig *r, uint64_t acct)
{
	struct buf b;
	buf_init(&b);
	struct store_op *op = rig_op(r, STORE_FOLDERS);
	op->acct = acct;
	if (rig_run(r, op) == ERR_OK) {
		qsort(op->view->folders, op->view->n_folder, sizeof(struct store_folder), cmp_folder);
		for (uint32_t i = 0; i < op->view->n_folder; i++)
			dump_store_dir(r, &b, acct, &op->view->folders[i]);
	}
	store_op_free(&op);
	store_id last = 0;
	for (bool more = true; more;) {
		op = rig_op(r, STORE_QSCAN);
		op->since = last;
		more = rig_run(r, op) == ERR_OK && op->n_items > 0;
		for (uint32_t i = 0; more && i < op->n_items; i++) {
			const struct store_qitem *q = &op->items[i];
			uint32_t state = 0;
			memcpy(&state, q->state.p, 4);
			last = q->id;
			buf_printf(&b, "q %llx %llu %u %08x\n", (unsigned long long)q->id, (unsigned long long)q->due_us,
				   state, store_crc(r, q->blob.id, q->blob.size));
		}
		store_op_free(&op);
	}
	return take(&b);
}
