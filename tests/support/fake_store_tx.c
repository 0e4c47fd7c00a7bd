/*
 * fake_store_tx.c: the mutations of the store's stand-in: written into an operation, read back and applied.
 */
#include <stdio.h>
#include <stdlib.h>
#include "fake_store_int.h"

/* ---- mutations: encoded ---- */
enum { TX_BLOB, TX_DELIVER, TX_FLAGS, TX_EXPUNGE, TX_COPY, TX_CREATE, TX_DELETE, TX_RENAME, TX_SUB,
       TX_ACCT_ADD, TX_ACCT_PASS, TX_ACCT_REMOVE, TX_QPUT, TX_QSET, TX_QDONE };

static struct buf *tx(struct store_op *op, uint8_t code)
{
	CHECK(op->verb == STORE_COMMIT);
	op->n_mut++;
	buf_add_u8(&op->tx, code);
	return &op->tx;
}

static void tx_ranges(struct buf *b, const uint32_t *r, unsigned n)
{
	buf_add_u32(b, n);
	for (unsigned i = 0; i < n * 2; i++)
		buf_add_u32(b, r[i]);
}

void store_tx_blob(struct store_op *op, store_id blob, uint32_t relay_off, uint32_t flags)
{
	struct buf *b = tx(op, TX_BLOB);
	buf_add_u64(b, blob);
	buf_add_u32(b, relay_off);
	buf_add_u32(b, flags);
}

void store_tx_deliver(struct store_op *op, uint64_t acct, uint32_t folder, store_id blob, uint32_t flags,
		      struct span kws, int64_t idate_s)
{
	struct buf *b = tx(op, TX_DELIVER);
	buf_add_u64(b, acct);
	buf_add_u32(b, folder);
	buf_add_u64(b, blob);
	buf_add_u32(b, flags);
	buf_add_lspan(b, kws);
	buf_add_u64(b, (uint64_t)idate_s);
}

void store_tx_flags(struct store_op *op, uint64_t acct, uint32_t folder, const uint32_t *ranges, unsigned n,
		    enum store_flag_mode mode, uint32_t flags, struct span kws)
{
	struct buf *b = tx(op, TX_FLAGS);
	buf_add_u64(b, acct);
	buf_add_u32(b, folder);
	tx_ranges(b, ranges, n);
	buf_add_u8(b, (uint8_t)mode);
	buf_add_u32(b, flags);
	buf_add_lspan(b, kws);
}

void store_tx_expunge(struct store_op *op, uint64_t acct, uint32_t folder, const uint32_t *ranges, unsigned n,
		      bool only_deleted)
{
	struct buf *b = tx(op, TX_EXPUNGE);
	buf_add_u64(b, acct);
	buf_add_u32(b, folder);
	tx_ranges(b, ranges, n);
	buf_add_u8(b, only_deleted);
}

void store_tx_copy(struct store_op *op, uint64_t acct, uint32_t src, uint32_t dst, const uint32_t *ranges,
		   unsigned n, bool move)
{
	struct buf *b = tx(op, TX_COPY);
	buf_add_u64(b, acct);
	buf_add_u32(b, src);
	buf_add_u32(b, dst);
	tx_ranges(b, ranges, n);
	buf_add_u8(b, move);
}

static void tx_name(struct store_op *op, uint8_t code, uint64_t acct, struct span name)
{
	struct buf *b = tx(op, code);
	buf_add_u64(b, acct);
	buf_add_lspan(b, name);
}

void store_tx_folder_create(struct store_op *op, uint64_t acct, struct span name)
{
	tx_name(op, TX_CREATE, acct, name);
}

void store_tx_folder_delete(struct store_op *op, uint64_t acct, struct span name)
{
	tx_name(op, TX_DELETE, acct, name);
}

void store_tx_folder_rename(struct store_op *op, uint64_t acct, struct span from, struct span to)
{
	tx_name(op, TX_RENAME, acct, from);
	buf_add_lspan(&op->tx, to);
}

void store_tx_subscribe(struct store_op *op, uint64_t acct, struct span name, bool on)
{
	tx_name(op, TX_SUB, acct, name);
	buf_add_u8(&op->tx, on);
}

void store_tx_account_add(struct store_op *op, struct span name, struct span pass)
{
	tx_name(op, TX_ACCT_ADD, 0, name);
	buf_add_lspan(&op->tx, pass);
}

void store_tx_account_pass(struct store_op *op, struct span name, struct span pass)
{
	tx_name(op, TX_ACCT_PASS, 0, name);
	buf_add_lspan(&op->tx, pass);
}

void store_tx_account_remove(struct store_op *op, struct span name)
{
	tx_name(op, TX_ACCT_REMOVE, 0, name);
}

void store_tx_qput(struct store_op *op, store_id item, store_id blob, uint64_t due_us, struct span state)
{
	struct buf *b = tx(op, TX_QPUT);
	buf_add_u64(b, item);
	buf_add_u64(b, blob);
	buf_add_u64(b, due_us);
	buf_add_lspan(b, state);
}

void store_tx_qset(struct store_op *op, store_id item, uint64_t due_us, struct span state)
{
	struct buf *b = tx(op, TX_QSET);
	buf_add_u64(b, item);
	buf_add_u64(b, due_us);
	buf_add_lspan(b, state);
}

void store_tx_qdone(struct store_op *op, store_id item)
{
	buf_add_u64(tx(op, TX_QDONE), item);
}

/* ---- mutations: applied ---- */
struct ranges {
	uint32_t n;
	struct reader at;
};

static struct ranges get_ranges(struct reader *r)
{
	struct ranges g = {.n = get_u32(r)};
	g.at = *r;
	get_bytes(r, (size_t)g.n * 8);
	return g;
}

static bool in_ranges(struct ranges g, uint32_t uid)
{
	for (uint32_t i = 0; i < g.n; i++) {
		uint32_t lo = get_u32(&g.at), hi = get_u32(&g.at);
		if (uid >= lo && uid <= hi)
			return true;
	}
	return false;
}

/* Bits of the names; unknown ones are made. */
static enum err keywords(struct ffolder *f, struct span kws, uint64_t *bits)
{
	*bits = 0;
	while (kws.len) {
		ptrdiff_t sp = span_find(kws, ' ');
		struct span name = span_head(kws, sp < 0 ? kws.len : (size_t)sp);
		kws = span_from(kws, name.len + (sp >= 0));
		uint32_t i = 0;
		if (name.len == 0)
			continue;
		while (i < f->n_kw && !span_ieq(span_str(f->kw[i]), name))
			i++;
		if (i == KW_MAX)
			return ERR_TOO_MANY;
		if (i == f->n_kw)
			f->kw[f->n_kw++] = fake_dup_span(name);
		*bits |= (uint64_t)1 << i;
	}
	return ERR_OK;
}

static struct store_ent *ent_add(struct ffolder *f, struct store_ent e)
{
	f->ent = fake_grow(f->ent, f->n_ent, sizeof(*f->ent));
	e.uid = f->f.uidnext++;
	e.modseq = f->f.modseq;
	f->ent[f->n_ent] = e;
	return &f->ent[f->n_ent++];
}

static void ent_remove(struct ffolder *f, uint32_t i)
{
	f->gone = fake_grow(f->gone, f->n_gone, sizeof(*f->gone));
	f->gone[f->n_gone++] = (struct fgone){f->ent[i].uid, f->f.modseq};
	memmove(&f->ent[i], &f->ent[i + 1], (f->n_ent - i - 1) * sizeof(*f->ent));
	f->n_ent--;
}

static enum err do_blob(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	struct fblob *b = fake_blob_get(s, get_u64(r));
	(void)res;
	if (b->complete)
		return ERR_EXISTS;
	buf_reserve(&b->bytes, op->body.len + 1);
	b->bytes.len += slices_read(&op->body, 0, b->bytes.p + b->bytes.len, op->body.len);
	b->complete = true;
	b->facts = (struct store_blob){.id = b->id, .size = (uint32_t)b->bytes.len, .relay_off = get_u32(r)};
	b->facts.flags = get_u32(r);
	return ERR_OK;
}

static enum err do_deliver(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	struct faccount *a = fake_account_by_id(s, get_u64(r));
	struct ffolder *f = fake_folder_by_id(a, get_u32(r));
	struct fblob *b = fake_blob_find(s, get_u64(r));
	uint32_t flags = get_u32(r);
	struct span kws = get_lspan(r);
	int64_t idate = (int64_t)get_u64(r);
	uint64_t kw;
	(void)op;
	if (!f || !b || !b->complete || f->f.noselect)
		return ERR_NOT_FOUND;
	enum err e = keywords(f, kws, &kw);
	if (e)
		return e;
	f->f.modseq++;
	res->uid = ent_add(f, (struct store_ent){.flags = flags, .kw = kw, .oid = store_id_new(&s->core[0]),
						 .blob = b->id, .size = b->facts.size, .idate_s = idate})->uid;
	res->modseq = f->f.modseq;
	res->uidvalidity = f->f.uidvalidity;
	return ERR_OK;
}

static enum err do_flags(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	struct faccount *a = fake_account_by_id(s, get_u64(r));
	struct ffolder *f = fake_folder_by_id(a, get_u32(r));
	struct ranges g = get_ranges(r);
	uint8_t mode = get_u8(r);
	uint32_t flags = get_u32(r);
	struct span kws = get_lspan(r);
	uint64_t kw;
	(void)op;
	if (!f)
		return ERR_NOT_FOUND;
	enum err e = keywords(f, kws, &kw);
	if (e)
		return e;
	f->f.modseq++;
	for (uint32_t i = 0; i < f->n_ent; i++) {
		struct store_ent *m = &f->ent[i];
		if (!in_ranges(g, m->uid))
			continue;
		m->flags = mode == STORE_FLAGS_SET ? flags : mode == STORE_FLAGS_ADD ? m->flags | flags
									     : m->flags & ~flags;
		m->kw = mode == STORE_FLAGS_SET ? kw : mode == STORE_FLAGS_ADD ? m->kw | kw : m->kw & ~kw;
		m->modseq = f->f.modseq;
		res->n++;
	}
	res->modseq = f->f.modseq;
	return ERR_OK;
}

static enum err do_expunge(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	struct faccount *a = fake_account_by_id(s, get_u64(r));
	struct ffolder *f = fake_folder_by_id(a, get_u32(r));
	struct ranges g = get_ranges(r);
	bool only_deleted = get_u8(r);
	(void)op;
	if (!f)
		return ERR_NOT_FOUND;
	f->f.modseq++;
	for (uint32_t i = 0; i < f->n_ent;) {
		if (in_ranges(g, f->ent[i].uid) && (!only_deleted || (f->ent[i].flags & STORE_DELETED))) {
			ent_remove(f, i);
			res->n++;
		} else {
			i++;
		}
	}
	res->modseq = f->f.modseq;
	return ERR_OK;
}

static enum err do_copy(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	struct faccount *a = fake_account_by_id(s, get_u64(r));
	struct ffolder *src = fake_folder_by_id(a, get_u32(r)), *dst = fake_folder_by_id(a, get_u32(r));
	struct ranges g = get_ranges(r);
	bool move = get_u8(r);
	(void)op;
	if (!src || !dst || dst->f.noselect)
		return ERR_NOT_FOUND;
	if (src == dst && move)
		return ERR_DENIED;
	dst->f.modseq++;
	if (move)
		src->f.modseq++;
	for (uint32_t i = 0, n = src->n_ent; n > 0; n--) {
		struct store_ent m = src->ent[i];
		if (!in_ranges(g, m.uid)) {
			i++;
			continue;
		}
		char names[KW_MAX * 64] = "";
		size_t len = 0;
		for (uint32_t k = 0; k < src->n_kw; k++)
			if (m.kw >> k & 1)
				len += (size_t)snprintf(names + len, sizeof(names) - len, "%s ", src->kw[k]);
		enum err e = keywords(dst, span_of(names, len), &m.kw);
		if (e)
			return e;
		if (!move)
			m.oid = store_id_new(&s->core[0]);
		uint32_t uid = ent_add(dst, m)->uid;
		if (res->n++ == 0)
			res->uid = uid;
		if (move)
			ent_remove(src, i);
		else
			i++;
	}
	res->modseq = dst->f.modseq;
	res->uidvalidity = dst->f.uidvalidity;
	return ERR_OK;
}

static bool is_below(struct span name, struct span above)
{
	return name.len > above.len && memcmp(name.p, above.p, above.len) == 0 && name.p[above.len] == '/';
}

static void parents_add(struct faccount *a, struct span name)
{
	for (size_t i = 0; i < name.len; i++)
		if (name.p[i] == '/' && !fake_folder_by_name(a, span_head(name, i)))
			fake_folder_add(a, span_head(name, i));
}

static enum err do_create(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	struct faccount *a = fake_account_by_id(s, get_u64(r));
	struct span name = get_lspan(r);
	(void)op;
	if (!a)
		return ERR_NOT_FOUND;
	if (name.len == 0 || name.len > 1000)
		return ERR_TOO_LONG;
	struct ffolder *f = fake_folder_by_name(a, name);
	if (f && !f->f.noselect)
		return ERR_EXISTS;
	parents_add(a, name);
	f = fake_folder_by_name(a, name);
	if (!f)
		f = fake_folder_add(a, name);
	f->f.noselect = false;
	res->id = f->f.id;
	res->uidvalidity = f->f.uidvalidity;
	return ERR_OK;
}

static enum err do_delete(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	struct faccount *a = fake_account_by_id(s, get_u64(r));
	struct span name = get_lspan(r);
	struct ffolder *f = fake_folder_by_name(a, name);
	(void)op;
	(void)res;
	if (!f)
		return ERR_NOT_FOUND;
	if (fake_is_inbox(name))
		return ERR_DENIED;
	bool below = false;
	for (uint32_t i = 0; i < a->n_folder; i++)
		below |= is_below(span_str(a->folder[i].f.name), name);
	if (below) { /* RFC 3501 6.3.4: the name stays, without messages */
		if (f->f.noselect)
			return ERR_DENIED;
		f->f.noselect = true;
		f->f.uidvalidity = a->next_validity++;
		f->n_ent = f->n_gone = 0;
		return ERR_OK;
	}
	uint32_t i = (uint32_t)(f - a->folder);
	fake_folder_free(f);
	memmove(f, f + 1, (a->n_folder - i - 1) * sizeof(*f));
	a->n_folder--;
	return ERR_OK;
}

static enum err do_rename(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	struct faccount *a = fake_account_by_id(s, get_u64(r));
	struct span from = get_lspan(r), to = get_lspan(r);
	struct ffolder *f = fake_folder_by_name(a, from);
	(void)op;
	if (!f)
		return ERR_NOT_FOUND;
	if (to.len == 0 || to.len > 1000)
		return ERR_TOO_LONG;
	if (fake_folder_by_name(a, to))
		return ERR_EXISTS;
	if (is_below(to, from) && !fake_is_inbox(from))
		return ERR_DENIED;
	parents_add(a, to);
	if (fake_is_inbox(from)) {
		uint32_t dst = fake_folder_add(a, to)->f.id;
		struct ffolder *in = fake_folder_by_id(a, STORE_INBOX), *out = fake_folder_by_id(a, dst);
		in->f.modseq++;
		while (in->n_ent) {
			ent_add(out, in->ent[0])->kw = 0;
			ent_remove(in, 0);
		}
		res->id = dst;
		return ERR_OK;
	}
	uint32_t id = fake_folder_by_name(a, from)->f.id;
	for (uint32_t i = 0; i < a->n_folder; i++) {
		struct span n = span_str(a->folder[i].f.name);
		if (a->folder[i].f.id != id && !is_below(n, from))
			continue;
		char *name = NULL;
		CHECK(asprintf(&name, SPAN_FMT SPAN_FMT, SPAN_ARG(to), SPAN_ARG(span_from(n, from.len))) >= 0);
		free(a->folder[i].f.name);
		a->folder[i].f.name = name;
	}
	res->id = id;
	return ERR_OK;
}

static enum err do_sub(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	struct faccount *a = fake_account_by_id(s, get_u64(r));
	struct span name = get_lspan(r);
	bool on = get_u8(r);
	uint32_t i = 0;
	(void)op;
	(void)res;
	if (!a)
		return ERR_NOT_FOUND;
	while (i < a->n_sub && !span_eq(span_str(a->sub[i]), name))
		i++;
	if (on && i == a->n_sub) {
		a->sub = fake_grow(a->sub, a->n_sub, sizeof(*a->sub));
		a->sub[a->n_sub++] = fake_dup_span(name);
	} else if (!on && i < a->n_sub) {
		free(a->sub[i]);
		memmove(&a->sub[i], &a->sub[i + 1], (a->n_sub - i - 1) * sizeof(*a->sub));
		a->n_sub--;
	} else if (!on) {
		return ERR_NOT_FOUND;
	}
	return ERR_OK;
}

static enum err do_acct_add(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	get_u64(r);
	struct span name = get_lspan(r), pass = get_lspan(r);
	(void)op;
	if (fake_account_by_name(s, name))
		return ERR_EXISTS;
	struct faccount a = {.next_folder = STORE_INBOX, .next_validity = 1};
	if (!span_cstr(name, a.a.name, sizeof(a.a.name)) || !span_cstr(pass, a.a.pass, sizeof(a.a.pass)))
		return ERR_TOO_LONG;
	a.a.id = res->id = s->next_acct++;
	fake_folder_add(&a, SPAN("INBOX"));
	s->st.acct = fake_grow(s->st.acct, s->st.n_acct, sizeof(*s->st.acct));
	s->st.acct[s->st.n_acct++] = a;
	return ERR_OK;
}

static enum err do_acct_pass(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	get_u64(r);
	struct faccount *a = fake_account_by_name(s, get_lspan(r));
	struct span pass = get_lspan(r);
	(void)op;
	(void)res;
	if (!a)
		return ERR_NOT_FOUND;
	return span_cstr(pass, a->a.pass, sizeof(a->a.pass)) ? ERR_OK : ERR_TOO_LONG;
}

static enum err do_acct_remove(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	get_u64(r);
	struct faccount *a = fake_account_by_name(s, get_lspan(r));
	(void)op;
	(void)res;
	if (!a)
		return ERR_NOT_FOUND;
	fake_account_free(a);
	memmove(a, a + 1, (s->st.n_acct - (size_t)(a - s->st.acct) - 1) * sizeof(*a));
	s->st.n_acct--;
	return ERR_OK;
}

static struct store_qitem *item_find(struct store *s, store_id id)
{
	for (uint32_t i = 0; i < s->st.n_item; i++)
		if (s->st.item[i].id == id)
			return &s->st.item[i];
	return NULL;
}

static void item_state(struct store_qitem *q, struct span state)
{
	free((void *)(uintptr_t)q->state.p);
	q->state = span_of(fake_dup_array(state.p, (uint32_t)state.len, 1), state.len);
}

static enum err do_qput(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	store_id id = get_u64(r);
	struct fblob *b = fake_blob_find(s, get_u64(r));
	struct store_qitem q = {.id = id, .due_us = get_u64(r)};
	struct span state = get_lspan(r);
	(void)op;
	(void)res;
	if (!b || !b->complete)
		return ERR_NOT_FOUND;
	if (item_find(s, id))
		return ERR_EXISTS;
	q.blob = b->facts;
	item_state(&q, state);
	s->st.item = fake_grow(s->st.item, s->st.n_item, sizeof(*s->st.item));
	s->st.item[s->st.n_item++] = q;
	return ERR_OK;
}

static enum err do_qset(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	struct store_qitem *q = item_find(s, get_u64(r));
	uint64_t due = get_u64(r);
	struct span state = get_lspan(r);
	(void)op;
	(void)res;
	if (!q)
		return ERR_NOT_FOUND;
	q->due_us = due;
	item_state(q, state);
	return ERR_OK;
}

static enum err do_qdone(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	struct store_qitem *q = item_find(s, get_u64(r));
	(void)op;
	(void)res;
	if (!q)
		return ERR_NOT_FOUND;
	free((void *)(uintptr_t)q->state.p);
	memmove(q, q + 1, (s->st.n_item - (size_t)(q - s->st.item) - 1) * sizeof(*q));
	s->st.n_item--;
	return ERR_OK;
}

static enum err (*const apply[])(struct store *, struct store_op *, struct reader *, struct store_result *) = {
	[TX_BLOB] = do_blob,         [TX_DELIVER] = do_deliver,     [TX_FLAGS] = do_flags,
	[TX_EXPUNGE] = do_expunge,   [TX_COPY] = do_copy,           [TX_CREATE] = do_create,
	[TX_DELETE] = do_delete,     [TX_RENAME] = do_rename,       [TX_SUB] = do_sub,
	[TX_ACCT_ADD] = do_acct_add, [TX_ACCT_PASS] = do_acct_pass, [TX_ACCT_REMOVE] = do_acct_remove,
	[TX_QPUT] = do_qput,         [TX_QSET] = do_qset,           [TX_QDONE] = do_qdone,
};

enum err fake_tx_apply(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	return apply[get_u8(r)](s, op, r, res);
}
