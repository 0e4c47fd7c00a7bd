/*
 * fake_store.c: store.h in memory, as simply as it can be said: arrays, searched from the front.
 * A reference to test sessions on, one step at a time, with faults on demand; no log, no recovery.
 *
 * A batch is applied to the accounts in place; when a mutation fails the copy made before is put back.
 * Blobs are never freed before the end, but a blob that nothing refers to any more cannot be read.
 */
#include "fake_store.h"
#include <stdio.h>
#include <stdlib.h>
#include "list.h"

#define CORES 4
#define KW_MAX 64
#define BODY_MAX (256u << 10) /* bytes of one operation */

struct fblob {
	store_id id;
	struct buf bytes;
	struct store_blob facts;
	bool complete;
};

struct fgone {
	uint32_t uid;
	uint64_t modseq;
};

struct ffolder {
	struct store_folder f; /* name is owned */
	uint32_t recent_from;
	uint32_t n_ent, n_gone, n_kw;
	struct store_ent *ent;
	struct fgone *gone;
	char *kw[KW_MAX];
};

struct faccount {
	struct store_account a;
	uint32_t next_folder, next_validity;
	uint32_t n_folder, n_sub;
	struct ffolder *folder;
	char **sub;
};

struct fstate {
	uint32_t n_acct;
	struct faccount *acct;
	uint32_t n_item;
	struct store_qitem *item; /* state.p is owned */
};

struct op_node {
	struct store_op op; /* first */
	struct list node;
	uint64_t lock_acct;
};

struct store_core {
	struct store *s;
	unsigned index;
	unsigned n_op, ops_max, n_pending;
	struct list submitted, done, watching;
};

struct flock {
	uint64_t acct;
	uint32_t owner, gen;
};

struct store {
	struct store_conf c;
	struct fstate st;
	uint32_t n_blob;
	struct fblob **blob;
	uint32_t n_lock;
	struct flock lock[64];
	struct store_core core[CORES];
	uint64_t next_id, next_acct;
	bool hold;
	enum err fail_err[STORE_VERB_N];
	unsigned fail_n[STORE_VERB_N];
};

static void *grow(void *v, uint32_t n, size_t size)
{
	if ((n & (n - 1)) == 0) { /* room doubles at 0, 1, 2, 4 ... */
		v = realloc(v, (n ? (size_t)n * 2 : 1) * size);
		CHECK(v != NULL);
	}
	return v;
}

/* A copy whose room is what grow expects for n elements. */
static void *dup_array(const void *v, uint32_t n, size_t size)
{
	size_t cap = 1;
	if (n == 0)
		return NULL;
	while (cap < n)
		cap *= 2;
	void *out = malloc(cap * size);
	CHECK(out != NULL);
	memcpy(out, v, n * size);
	return out;
}

static char *dup_span(struct span s)
{
	return strndup((const char *)s.p, s.len);
}

/* ---- state ---- */
static void folder_free(struct ffolder *f)
{
	for (uint32_t i = 0; i < f->n_kw; i++)
		free(f->kw[i]);
	free(f->f.name);
	free(f->ent);
	free(f->gone);
}

static void account_free(struct faccount *a)
{
	for (uint32_t i = 0; i < a->n_folder; i++)
		folder_free(&a->folder[i]);
	for (uint32_t i = 0; i < a->n_sub; i++)
		free(a->sub[i]);
	free(a->folder);
	free(a->sub);
}

static void state_free(struct fstate *st)
{
	for (uint32_t i = 0; i < st->n_acct; i++)
		account_free(&st->acct[i]);
	for (uint32_t i = 0; i < st->n_item; i++)
		free((void *)(uintptr_t)st->item[i].state.p);
	free(st->acct);
	free(st->item);
	*st = (struct fstate){0};
}

static struct fstate state_copy(const struct fstate *st)
{
	struct fstate c = *st;
	c.acct = dup_array(st->acct, st->n_acct, sizeof(*st->acct));
	for (uint32_t i = 0; i < c.n_acct; i++) {
		struct faccount *a = &c.acct[i];
		a->folder = dup_array(a->folder, a->n_folder, sizeof(*a->folder));
		for (uint32_t j = 0; j < a->n_folder; j++) {
			struct ffolder *f = &a->folder[j];
			f->f.name = strdup(f->f.name);
			f->ent = dup_array(f->ent, f->n_ent, sizeof(*f->ent));
			f->gone = dup_array(f->gone, f->n_gone, sizeof(*f->gone));
			for (uint32_t k = 0; k < f->n_kw; k++)
				f->kw[k] = strdup(f->kw[k]);
		}
		a->sub = dup_array(a->sub, a->n_sub, sizeof(*a->sub));
		for (uint32_t j = 0; j < a->n_sub; j++)
			a->sub[j] = strdup(a->sub[j]);
	}
	c.item = dup_array(st->item, st->n_item, sizeof(*st->item));
	for (uint32_t i = 0; i < c.n_item; i++) {
		struct span s = c.item[i].state;
		c.item[i].state = span_of(dup_array(s.p, (uint32_t)s.len, 1), s.len);
	}
	return c;
}

static struct faccount *account_by_id(struct store *s, uint64_t id)
{
	for (uint32_t i = 0; i < s->st.n_acct; i++)
		if (s->st.acct[i].a.id == id)
			return &s->st.acct[i];
	return NULL;
}

static struct faccount *account_by_name(const struct store *s, struct span name)
{
	for (uint32_t i = 0; i < s->st.n_acct; i++)
		if (span_ieq(span_str(s->st.acct[i].a.name), name))
			return &s->st.acct[i];
	return NULL;
}

static struct ffolder *folder_by_id(struct faccount *a, uint32_t id)
{
	for (uint32_t i = 0; a && i < a->n_folder; i++)
		if (a->folder[i].f.id == id)
			return &a->folder[i];
	return NULL;
}

static bool is_inbox(struct span name)
{
	return span_ieq(name, SPAN("INBOX"));
}

static struct ffolder *folder_by_name(struct faccount *a, struct span name)
{
	for (uint32_t i = 0; a && i < a->n_folder; i++) {
		struct span n = span_str(a->folder[i].f.name);
		if (span_eq(n, name) || (is_inbox(n) && is_inbox(name)))
			return &a->folder[i];
	}
	return NULL;
}

static struct ffolder *folder_add(struct faccount *a, struct span name)
{
	a->folder = grow(a->folder, a->n_folder, sizeof(*a->folder));
	struct ffolder *f = &a->folder[a->n_folder++];
	*f = (struct ffolder){.recent_from = 1};
	f->f.id = a->next_folder++;
	f->f.uidvalidity = a->next_validity++;
	f->f.uidnext = 1;
	f->f.modseq = 1;
	f->f.name = is_inbox(name) ? strdup("INBOX") : dup_span(name);
	return f;
}

static struct fblob *blob_find(struct store *s, store_id id)
{
	for (uint32_t i = 0; i < s->n_blob; i++)
		if (s->blob[i]->id == id)
			return s->blob[i];
	return NULL;
}

static struct fblob *blob_get(struct store *s, store_id id)
{
	struct fblob *b = blob_find(s, id);
	if (b)
		return b;
	s->blob = grow(s->blob, s->n_blob, sizeof(*s->blob));
	b = calloc(1, sizeof(*b));
	CHECK(b != NULL);
	b->id = id;
	buf_init(&b->bytes);
	s->blob[s->n_blob++] = b;
	return b;
}

static bool blob_live(struct store *s, store_id id)
{
	for (uint32_t i = 0; i < s->st.n_item; i++)
		if (s->st.item[i].blob.id == id)
			return true;
	for (uint32_t i = 0; i < s->st.n_acct; i++)
		for (uint32_t j = 0; j < s->st.acct[i].n_folder; j++) {
			struct ffolder *f = &s->st.acct[i].folder[j];
			for (uint32_t k = 0; k < f->n_ent; k++)
				if (f->ent[k].blob == id)
					return true;
		}
	return false;
}

static void folder_count(struct ffolder *f)
{
	f->f.exists = f->n_ent;
	f->f.unseen = f->f.recent = f->f.deleted = 0;
	f->f.bytes = 0;
	for (uint32_t i = 0; i < f->n_ent; i++) {
		f->f.unseen += !(f->ent[i].flags & STORE_SEEN);
		f->f.deleted += !!(f->ent[i].flags & STORE_DELETED);
		f->f.recent += f->ent[i].uid >= f->recent_from;
		f->f.bytes += f->ent[i].size;
	}
}

/* ---- set-up ---- */
enum err store_open(struct store **out, const struct store_conf *c, char *why, size_t why_size)
{
	struct store *s = calloc(1, sizeof(*s));
	CHECK(s != NULL && c->n_cores <= CORES);
	(void)why;
	(void)why_size;
	s->c = *c;
	s->next_id = 1;
	s->next_acct = 1;
	for (unsigned i = 0; i < CORES; i++) {
		s->core[i].s = s;
		s->core[i].index = i;
		s->core[i].ops_max = c->ops_per_core ? c->ops_per_core : 4096;
		list_init(&s->core[i].submitted);
		list_init(&s->core[i].done);
		list_init(&s->core[i].watching);
	}
	*out = s;
	return ERR_OK;
}

enum err store_start(struct store *s)
{
	(void)s;
	return ERR_OK;
}

struct store_core *store_core(struct store *s, unsigned core)
{
	return &s->core[core];
}

void store_stats(const struct store *s, struct store_stats *out)
{
	*out = (struct store_stats){.accounts = s->st.n_acct, .queue_items = s->st.n_item, .blobs = s->n_blob};
}

void store_close(struct store **sp)
{
	struct store *s = *sp;
	for (unsigned i = 0; i < CORES; i++) {
		struct list *lists[] = {&s->core[i].submitted, &s->core[i].done, &s->core[i].watching};
		for (unsigned j = 0; j < ARRAY_LEN(lists); j++)
			for (struct list *n; (n = list_pop(lists[j]));) {
				struct store_op *op = &LIST_ENTRY(n, struct op_node, node)->op;
				store_op_free(&op);
			}
		CHECK(s->core[i].n_op == 0); /* an operation was never given back */
	}
	for (uint32_t i = 0; i < s->n_blob; i++) {
		buf_fini(&s->blob[i]->bytes);
		free(s->blob[i]);
	}
	free(s->blob);
	state_free(&s->st);
	free(s);
	*sp = NULL;
}

/* ---- operations ---- */
struct store_op *store_op_new(struct store_core *c, enum store_verb verb, uint32_t owner, uint32_t owner_gen)
{
	if (c->n_op >= c->ops_max)
		return NULL;
	struct op_node *n = calloc(1, sizeof(*n));
	CHECK(n != NULL);
	list_init(&n->node);
	n->op.core = c;
	n->op.verb = verb;
	n->op.owner = owner;
	n->op.owner_gen = owner_gen;
	buf_init(&n->op.tx);
	c->n_op++;
	return &n->op;
}

void store_op_free(struct store_op **opp)
{
	struct store_op *op = *opp;
	if (!op)
		return;
	struct op_node *n = (struct op_node *)op;
	CHECK(list_empty(&n->node));
	op->core->n_op--;
	slices_drop(&op->body);
	slices_drop(&op->data);
	buf_fini(&op->tx);
	free(op->view);
	free(op->res);
	free(op->accounts);
	free(op->items);
	free(n);
	*opp = NULL;
}

void store_submit(struct store_core *c, struct store_op *op)
{
	list_push(&c->submitted, &((struct op_node *)op)->node);
	c->n_pending++;
}

unsigned store_poll(struct store_core *c, struct store_op **out, unsigned max)
{
	unsigned n = 0;
	struct list *node;
	while (n < max && (node = list_pop(&c->done)))
		out[n++] = &LIST_ENTRY(node, struct op_node, node)->op;
	c->n_pending -= n;
	return n;
}

unsigned store_pending(const struct store_core *c)
{
	return c->n_pending;
}

store_id store_id_new(struct store_core *c)
{
	return (uint64_t)1 << 48 | (uint64_t)c->index << 40 | c->s->next_id++;
}

static void op_done(struct store_op *op, enum err err)
{
	struct op_node *n = (struct op_node *)op;
	op->err = err;
	list_del(&n->node);
	list_push(&op->core->done, &n->node);
}

void store_watch_cancel(struct store_core *c, struct store_op *watch)
{
	LIST_EACH(n, &c->submitted)
		if (n == &((struct op_node *)watch)->node)
			op_done(watch, ERR_CLOSED);
	LIST_EACH(n, &c->watching)
		if (n == &((struct op_node *)watch)->node)
			op_done(watch, ERR_CLOSED);
}

bool store_account_find(const struct store *s, struct span name, struct store_account *out)
{
	const struct faccount *a = account_by_name(s, name);
	if (!a)
		return false;
	*out = a->a;
	return true;
}

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
			f->kw[f->n_kw++] = dup_span(name);
		*bits |= (uint64_t)1 << i;
	}
	return ERR_OK;
}

static struct store_ent *ent_add(struct ffolder *f, struct store_ent e)
{
	f->ent = grow(f->ent, f->n_ent, sizeof(*f->ent));
	e.uid = f->f.uidnext++;
	e.modseq = f->f.modseq;
	f->ent[f->n_ent] = e;
	return &f->ent[f->n_ent++];
}

static void ent_remove(struct ffolder *f, uint32_t i)
{
	f->gone = grow(f->gone, f->n_gone, sizeof(*f->gone));
	f->gone[f->n_gone++] = (struct fgone){f->ent[i].uid, f->f.modseq};
	memmove(&f->ent[i], &f->ent[i + 1], (f->n_ent - i - 1) * sizeof(*f->ent));
	f->n_ent--;
}

static enum err do_blob(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	struct fblob *b = blob_get(s, get_u64(r));
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
	struct faccount *a = account_by_id(s, get_u64(r));
	struct ffolder *f = folder_by_id(a, get_u32(r));
	struct fblob *b = blob_find(s, get_u64(r));
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
	struct faccount *a = account_by_id(s, get_u64(r));
	struct ffolder *f = folder_by_id(a, get_u32(r));
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
	struct faccount *a = account_by_id(s, get_u64(r));
	struct ffolder *f = folder_by_id(a, get_u32(r));
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
	struct faccount *a = account_by_id(s, get_u64(r));
	struct ffolder *src = folder_by_id(a, get_u32(r)), *dst = folder_by_id(a, get_u32(r));
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
		if (name.p[i] == '/' && !folder_by_name(a, span_head(name, i)))
			folder_add(a, span_head(name, i));
}

static enum err do_create(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	struct faccount *a = account_by_id(s, get_u64(r));
	struct span name = get_lspan(r);
	(void)op;
	if (!a)
		return ERR_NOT_FOUND;
	if (name.len == 0 || name.len > 1000)
		return ERR_TOO_LONG;
	struct ffolder *f = folder_by_name(a, name);
	if (f && !f->f.noselect)
		return ERR_EXISTS;
	parents_add(a, name);
	f = folder_by_name(a, name);
	if (!f)
		f = folder_add(a, name);
	f->f.noselect = false;
	res->id = f->f.id;
	res->uidvalidity = f->f.uidvalidity;
	return ERR_OK;
}

static enum err do_delete(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	struct faccount *a = account_by_id(s, get_u64(r));
	struct span name = get_lspan(r);
	struct ffolder *f = folder_by_name(a, name);
	(void)op;
	(void)res;
	if (!f)
		return ERR_NOT_FOUND;
	if (is_inbox(name))
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
	folder_free(f);
	memmove(f, f + 1, (a->n_folder - i - 1) * sizeof(*f));
	a->n_folder--;
	return ERR_OK;
}

static enum err do_rename(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	struct faccount *a = account_by_id(s, get_u64(r));
	struct span from = get_lspan(r), to = get_lspan(r);
	struct ffolder *f = folder_by_name(a, from);
	(void)op;
	if (!f)
		return ERR_NOT_FOUND;
	if (to.len == 0 || to.len > 1000)
		return ERR_TOO_LONG;
	if (folder_by_name(a, to))
		return ERR_EXISTS;
	if (is_below(to, from) && !is_inbox(from))
		return ERR_DENIED;
	parents_add(a, to);
	if (is_inbox(from)) {
		uint32_t dst = folder_add(a, to)->f.id;
		struct ffolder *in = folder_by_id(a, STORE_INBOX), *out = folder_by_id(a, dst);
		in->f.modseq++;
		while (in->n_ent) {
			ent_add(out, in->ent[0])->kw = 0;
			ent_remove(in, 0);
		}
		res->id = dst;
		return ERR_OK;
	}
	uint32_t id = folder_by_name(a, from)->f.id;
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
	struct faccount *a = account_by_id(s, get_u64(r));
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
		a->sub = grow(a->sub, a->n_sub, sizeof(*a->sub));
		a->sub[a->n_sub++] = dup_span(name);
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
	if (account_by_name(s, name))
		return ERR_EXISTS;
	struct faccount a = {.next_folder = STORE_INBOX, .next_validity = 1};
	if (!span_cstr(name, a.a.name, sizeof(a.a.name)) || !span_cstr(pass, a.a.pass, sizeof(a.a.pass)))
		return ERR_TOO_LONG;
	a.a.id = res->id = s->next_acct++;
	folder_add(&a, SPAN("INBOX"));
	s->st.acct = grow(s->st.acct, s->st.n_acct, sizeof(*s->st.acct));
	s->st.acct[s->st.n_acct++] = a;
	return ERR_OK;
}

static enum err do_acct_pass(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	get_u64(r);
	struct faccount *a = account_by_name(s, get_lspan(r));
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
	struct faccount *a = account_by_name(s, get_lspan(r));
	(void)op;
	(void)res;
	if (!a)
		return ERR_NOT_FOUND;
	account_free(a);
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
	q->state = span_of(dup_array(state.p, (uint32_t)state.len, 1), state.len);
}

static enum err do_qput(struct store *s, struct store_op *op, struct reader *r, struct store_result *res)
{
	store_id id = get_u64(r);
	struct fblob *b = blob_find(s, get_u64(r));
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
	s->st.item = grow(s->st.item, s->st.n_item, sizeof(*s->st.item));
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

static enum err run_commit(struct store *s, struct store_op *op)
{
	if (op->body.len > BODY_MAX || op->n_mut > 4096)
		return ERR_TOO_LONG;
	struct fstate before = state_copy(&s->st);
	struct reader r = reader_of(buf_span(&op->tx));
	op->res = calloc(op->n_mut + 1, sizeof(*op->res));
	CHECK(op->res != NULL);
	for (uint32_t i = 0; i < op->n_mut; i++) {
		uint8_t code = get_u8(&r);
		enum err e = apply[code](s, op, &r, &op->res[i]);
		CHECK(r.ok);
		if (e) {
			state_free(&s->st);
			s->st = before;
			return e;
		}
	}
	state_free(&before);
	return ERR_OK;
}

/* ---- what reads ---- */
static enum err run_body(struct store *s, struct store_op *op)
{
	struct fblob *b = blob_get(s, op->blob);
	if (op->body.len > BODY_MAX)
		return ERR_TOO_LONG;
	if (b->complete || op->off != b->bytes.len)
		return ERR_STALE;
	buf_reserve(&b->bytes, op->body.len + 1);
	b->bytes.len += slices_read(&op->body, 0, b->bytes.p + b->bytes.len, op->body.len);
	return ERR_OK;
}

static enum err run_read(struct store *s, struct store_op *op)
{
	struct fblob *b = blob_find(s, op->blob);
	if (!b || !b->complete || !blob_live(s, b->id))
		return ERR_NOT_FOUND;
	if (op->off >= b->bytes.len)
		return ERR_OK;
	struct span part = span_head(span_from(buf_span(&b->bytes), (size_t)op->off), (size_t)op->len);
	return slices_copy(&op->data, s->c.big, part) ? ERR_OK : ERR_NO_MEMORY;
}

/* Pieces of one block; with mem NULL only their sizes are added up. */
struct block {
	uint8_t *mem;
	size_t used;
};

static void *block_add(struct block *b, const void *from, size_t len)
{
	void *at = b->mem ? b->mem + b->used : NULL;
	if (at && from && len)
		memcpy(at, from, len);
	b->used += (len + 15) & ~(size_t)15;
	return at;
}

static void view_folder(struct block *b, struct store_folder *out, struct faccount *a, struct ffolder *f)
{
	folder_count(f);
	*out = f->f;
	out->name = block_add(b, f->f.name, strlen(f->f.name) + 1);
	out->subscribed = false;
	for (uint32_t i = 0; i < a->n_sub; i++)
		out->subscribed |= strcmp(a->sub[i], f->f.name) == 0;
}

static struct store_view *view_sync(struct block *b, struct store_op *op, struct faccount *a, struct ffolder *f)
{
	struct store_view v = {.n_kw = f->n_kw, .full = op->since == 0, .recent_from = f->recent_from};
	struct store_view *out = block_add(b, &v, sizeof(v));
	view_folder(b, &v.folder, a, f);
	v.ent = block_add(b, NULL, 0);
	for (uint32_t i = 0; i < f->n_ent; i++)
		if (f->ent[i].modseq > op->since) {
			struct store_ent *e = block_add(b, &f->ent[i], sizeof(*e));
			if (e && (uint8_t *)e != (uint8_t *)v.ent + v.n_ent * sizeof(*e))
				memmove((uint8_t *)v.ent + v.n_ent * sizeof(*e), e, sizeof(*e));
			v.n_ent++;
		}
	v.gone = block_add(b, NULL, 0);
	for (uint32_t i = 0; !v.full && i < f->n_gone; i++)
		if (f->gone[i].modseq > op->since) {
			block_add(b, NULL, b->mem ? 0 : sizeof(uint32_t));
			if (b->mem) {
				v.gone[v.n_gone] = f->gone[i].uid;
				b->used += 16;
			}
			v.n_gone++;
		}
	if (b->mem) /* rising */
		for (uint32_t i = 1; i < v.n_gone; i++)
			for (uint32_t j = i; j > 0 && v.gone[j - 1] > v.gone[j]; j--) {
				uint32_t t = v.gone[j];
				v.gone[j] = v.gone[j - 1];
				v.gone[j - 1] = t;
			}
	v.kw = block_add(b, f->kw, f->n_kw * sizeof(char *));
	for (uint32_t i = 0; i < f->n_kw; i++) {
		char *name = block_add(b, f->kw[i], strlen(f->kw[i]) + 1);
		if (b->mem)
			v.kw[i] = name;
	}
	if (out)
		*out = v;
	return out;
}

static struct store_view *view_folders(struct block *b, struct faccount *a)
{
	struct store_view v = {.n_folder = a->n_folder};
	struct store_folder none = {0};
	uint32_t n = a->n_folder;
	struct store_view *out = block_add(b, &v, sizeof(v));
	for (uint32_t i = 0; i < a->n_sub; i++)
		v.n_folder += !folder_by_name(a, span_str(a->sub[i]));
	v.folders = b->mem ? (struct store_folder *)(void *)(b->mem + b->used) : NULL;
	b->used += (v.n_folder * sizeof(none) + 15) & ~(size_t)15;
	for (uint32_t i = 0; i < n; i++)
		view_folder(b, b->mem ? &v.folders[i] : &none, a, &a->folder[i]);
	for (uint32_t i = 0; i < a->n_sub; i++) { /* subscribed names without a folder: id 0 */
		if (folder_by_name(a, span_str(a->sub[i])))
			continue;
		char *name = block_add(b, a->sub[i], strlen(a->sub[i]) + 1);
		if (b->mem)
			v.folders[n++] = (struct store_folder){.subscribed = true, .noselect = true, .name = name};
	}
	if (out)
		*out = v;
	return out;
}

static enum err run_view(struct store *s, struct store_op *op)
{
	struct faccount *a = account_by_id(s, op->acct);
	struct ffolder *f = op->verb == STORE_SYNC ? folder_by_id(a, op->folder) : NULL;
	struct block b = {0};
	if (!a || (op->verb == STORE_SYNC && (!f || f->f.noselect)))
		return ERR_NOT_FOUND;
	for (int pass = 0; pass < 2; pass++) {
		op->view = f ? view_sync(&b, op, a, f) : view_folders(&b, a);
		if (pass == 0) {
			b.mem = malloc(b.used + 16);
			CHECK(b.mem != NULL);
			b.used = 0;
		}
	}
	if (f && op->claim_recent)
		f->recent_from = f->f.uidnext;
	return ERR_OK;
}

static enum err run_lock(struct store *s, struct store_op *op)
{
	uint32_t i = 0;
	while (i < s->n_lock && s->lock[i].acct != op->acct)
		i++;
	if (op->verb == STORE_UNLOCK) {
		if (i < s->n_lock && s->lock[i].owner == op->owner && s->lock[i].gen == op->owner_gen)
			s->lock[i] = s->lock[--s->n_lock];
		return ERR_OK;
	}
	if (i < s->n_lock)
		return ERR_BUSY;
	if (s->n_lock == ARRAY_LEN(s->lock))
		return ERR_TOO_MANY;
	s->lock[s->n_lock++] = (struct flock){op->acct, op->owner, op->owner_gen};
	return ERR_OK;
}

#define PAGE 16
static enum err run_accounts(struct store *s, struct store_op *op)
{
	op->accounts = calloc(PAGE, sizeof(*op->accounts));
	CHECK(op->accounts != NULL);
	for (uint32_t i = 0; i < s->st.n_acct && op->n_accounts < PAGE; i++)
		if (s->st.acct[i].a.id > op->since)
			op->accounts[op->n_accounts++] = s->st.acct[i].a;
	return ERR_OK;
}

static enum err run_qscan(struct store *s, struct store_op *op)
{
	size_t bytes = 0;
	for (uint32_t i = 0; i < s->st.n_item; i++)
		bytes += s->st.item[i].state.len;
	op->items = malloc(PAGE * sizeof(*op->items) + bytes);
	CHECK(op->items != NULL);
	uint8_t *at = (uint8_t *)(op->items + PAGE);
	for (uint32_t i = 0; i < s->st.n_item && op->n_items < PAGE; i++) {
		struct store_qitem q = s->st.item[i];
		if (q.id <= op->since)
			continue;
		memcpy(at, q.state.p, q.state.len);
		q.state.p = at;
		at += q.state.len;
		op->items[op->n_items++] = q;
	}
	return ERR_OK;
}

static enum err (*const run[STORE_VERB_N])(struct store *, struct store_op *) = {
	[STORE_BODY] = run_body, [STORE_COMMIT] = run_commit,     [STORE_READ] = run_read,
	[STORE_SYNC] = run_view, [STORE_FOLDERS] = run_view,      [STORE_LOCK] = run_lock,
	[STORE_UNLOCK] = run_lock, [STORE_ACCOUNTS] = run_accounts, [STORE_QSCAN] = run_qscan,
};

bool store_step(struct store *s)
{
	bool did = false;
	if (s->hold)
		return false;
	for (unsigned i = 0; i < CORES; i++) {
		struct store_core *c = &s->core[i];
		LIST_EACH(n, &c->submitted) {
			struct store_op *op = &LIST_ENTRY(n, struct op_node, node)->op;
			did = true;
			if (s->fail_n[op->verb] > 0) {
				s->fail_n[op->verb]--;
				op_done(op, s->fail_err[op->verb]);
			} else if (op->verb == STORE_WATCH) {
				list_del(n);
				list_push(&c->watching, n);
			} else {
				op_done(op, run[op->verb](s, op));
			}
		}
		LIST_EACH(n, &c->watching) {
			struct store_op *op = &LIST_ENTRY(n, struct op_node, node)->op;
			struct ffolder *f = folder_by_id(account_by_id(s, op->acct), op->folder);
			if (!f || f->f.modseq > op->since) {
				did = true;
				op_done(op, f ? ERR_OK : ERR_NOT_FOUND);
			}
		}
	}
	return did;
}

/* ---- for tests ---- */
struct store *fake_store_open(struct pkt_pool *pool)
{
	struct store *s = NULL;
	struct store_conf c = {.n_cores = 2, .ops_per_core = 64, .big = pool, .cpu = -1};
	CHECK(store_open(&s, &c, NULL, 0) == ERR_OK);
	return s;
}

void fake_store_close(struct store **s)
{
	store_close(s);
}

bool fake_store_step(struct store *s)
{
	return store_step(s);
}

bool fake_store_fail(struct store *s, enum store_verb verb, enum err err, unsigned n)
{
	s->fail_err[verb] = err;
	s->fail_n[verb] = n;
	return true;
}

void fake_store_hold(struct store *s, bool hold)
{
	s->hold = hold;
}

uint64_t fake_store_account(struct store *s, const char *name, const char *pass)
{
	struct store_op *op = store_op_new(&s->core[0], STORE_COMMIT, UINT32_MAX, 0);
	struct store_account a;
	if (store_account_find(s, span_str(name), &a))
		store_tx_account_pass(op, span_str(name), span_str(pass));
	else
		store_tx_account_add(op, span_str(name), span_str(pass));
	CHECK(run_commit(s, op) == ERR_OK);
	store_op_free(&op);
	CHECK(store_account_find(s, span_str(name), &a));
	return a.id;
}

uint32_t fake_store_message(struct store *s, uint64_t acct, const char *folder, struct span bytes,
			    uint32_t blob_flags, uint32_t flags, int64_t idate_s)
{
	struct ffolder *f = folder_by_name(account_by_id(s, acct), span_str(folder));
	struct store_op *op = store_op_new(&s->core[0], STORE_COMMIT, UINT32_MAX, 0);
	store_id id = store_id_new(&s->core[0]);
	CHECK(f != NULL);
	buf_add_span(&blob_get(s, id)->bytes, bytes);
	store_tx_blob(op, id, 0, blob_flags);
	store_tx_deliver(op, acct, f->f.id, id, flags, SPAN(""), idate_s);
	CHECK(run_commit(s, op) == ERR_OK);
	uint32_t uid = op->res[1].uid;
	store_op_free(&op);
	return uid;
}

struct span fake_store_blob(struct store *s, store_id id, struct store_blob *facts)
{
	struct fblob *b = blob_find(s, id);
	if (!b || !b->complete)
		return span_of(NULL, 0);
	if (facts)
		*facts = b->facts;
	return buf_span(&b->bytes);
}

struct span fake_store_bytes(struct store *s, uint64_t acct, const char *folder, unsigned nth)
{
	struct ffolder *f = folder_by_name(account_by_id(s, acct), span_str(folder));
	if (!f || nth >= f->n_ent)
		return span_of(NULL, 0);
	return fake_store_blob(s, f->ent[nth].blob, NULL);
}

const struct store_qitem *fake_store_qitem(struct store *s, unsigned nth)
{
	return nth < s->st.n_item ? &s->st.item[nth] : NULL;
}
