/*
 * fake_store.c: store.h in memory, as simply as it can be said: arrays, searched from the front.
 * A reference to test sessions on, one step at a time, with faults on demand; no log, no recovery.
 *
 * A batch is applied to the accounts in place; when a mutation fails the copy made before is put back.
 * Blobs are never freed before the end, but a blob that nothing refers to any more cannot be read.
 */
#include <stdlib.h>
#include "fake_store_int.h"

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

void store_stats(struct store *s, struct store_stats *out)
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
	fake_state_free(&s->st);
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
	const struct faccount *a = fake_account_by_name(s, name);
	if (!a)
		return false;
	*out = a->a;
	return true;
}

/* ---- what changes ---- */
static enum err run_commit(struct store *s, struct store_op *op)
{
	if (op->body.len > BODY_MAX || op->n_mut > 4096)
		return ERR_TOO_LONG;
	struct fstate before = fake_state_copy(&s->st);
	struct reader r = reader_of(buf_span(&op->tx));
	op->res = calloc(op->n_mut + 1, sizeof(*op->res));
	CHECK(op->res != NULL);
	for (uint32_t i = 0; i < op->n_mut; i++) {
		enum err e = fake_tx_apply(s, op, &r, &op->res[i]);
		CHECK(r.ok);
		if (e) {
			fake_state_free(&s->st);
			s->st = before;
			return e;
		}
	}
	fake_state_free(&before);
	return ERR_OK;
}

/* ---- what reads ---- */
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

static enum err run_body(struct store *s, struct store_op *op)
{
	struct fblob *b = fake_blob_get(s, op->blob);
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
	struct fblob *b = fake_blob_find(s, op->blob);
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
		v.n_folder += !fake_folder_by_name(a, span_str(a->sub[i]));
	v.folders = b->mem ? (struct store_folder *)(void *)(b->mem + b->used) : NULL;
	b->used += (v.n_folder * sizeof(none) + 15) & ~(size_t)15;
	for (uint32_t i = 0; i < n; i++)
		view_folder(b, b->mem ? &v.folders[i] : &none, a, &a->folder[i]);
	for (uint32_t i = 0; i < a->n_sub; i++) { /* subscribed names without a folder: id 0 */
		if (fake_folder_by_name(a, span_str(a->sub[i])))
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
	struct faccount *a = fake_account_by_id(s, op->acct);
	struct ffolder *f = op->verb == STORE_SYNC ? fake_folder_by_id(a, op->folder) : NULL;
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
			struct ffolder *f = fake_folder_by_id(fake_account_by_id(s, op->acct), op->folder);
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
	struct ffolder *f = fake_folder_by_name(fake_account_by_id(s, acct), span_str(folder));
	struct store_op *op = store_op_new(&s->core[0], STORE_COMMIT, UINT32_MAX, 0);
	store_id id = store_id_new(&s->core[0]);
	CHECK(f != NULL);
	buf_add_span(&fake_blob_get(s, id)->bytes, bytes);
	store_tx_blob(op, id, 0, blob_flags);
	store_tx_deliver(op, acct, f->f.id, id, flags, SPAN(""), idate_s);
	CHECK(run_commit(s, op) == ERR_OK);
	uint32_t uid = op->res[1].uid;
	store_op_free(&op);
	return uid;
}

struct span fake_store_blob(struct store *s, store_id id, struct store_blob *facts)
{
	struct fblob *b = fake_blob_find(s, id);
	if (!b || !b->complete)
		return span_of(NULL, 0);
	if (facts)
		*facts = b->facts;
	return buf_span(&b->bytes);
}

struct span fake_store_bytes(struct store *s, uint64_t acct, const char *folder, unsigned nth)
{
	struct ffolder *f = fake_folder_by_name(fake_account_by_id(s, acct), span_str(folder));
	if (!f || nth >= f->n_ent)
		return span_of(NULL, 0);
	return fake_store_blob(s, f->ent[nth].blob, NULL);
}

const struct store_qitem *fake_store_qitem(struct store *s, unsigned nth)
{
	return nth < s->st.n_item ? &s->st.item[nth] : NULL;
}
