/*
 * queue.c: a worker's queue: mail comes in (submitted, handed over by another worker, read at the start) and
 * finds its site.
 *
 * Invariants: 1. an item is in memory only on its owner (hash of the site modulo the workers), or on its way there;
 * 2. it can be claimed only after its commit is durable; 3. an item that cannot be handed over now waits in
 * an outbox: it is durable, and a start finds it again, so nothing depends on memory.
 */
#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "queue_int.h"

static const uint8_t owner_key[16] = "veredus site own"; /* the same on all workers */

/* ---- create, destroy ---- */

static void conf_take(struct queue *q, const struct conf *c)
{
	q->retry_min_s = c->retry_min_s > 0 ? c->retry_min_s : 300;
	q->retry_max_s = c->retry_max_s > q->retry_min_s ? c->retry_max_s : q->retry_min_s;
	q->expire_s = c->expire_s > 0 ? c->expire_s : 5 * 86400;
}

struct queue *queue_create(const struct conf *c, unsigned worker, unsigned n_workers, struct store_core *store,
			   struct pkt_pool *pool, struct stat *stat, struct rnd *rnd)
{
	struct queue *q = calloc(1, sizeof(*q));
	CHECK(q != NULL && worker < n_workers);
	q->store = store;
	q->pool = pool;
	q->stat = stat;
	q->rnd = rnd;
	q->worker = worker;
	q->n_workers = n_workers;
	q->pinned_max = pkt_pool_size(pool) / 4 / n_workers;
	q->due.by = BY_DUE;
	q->expire.by = BY_EXPIRE;
	conf_take(q, c);
	list_init(&q->items);
	list_init(&q->round);
	list_init(&q->removing);
	list_init(&q->unsettled);
	list_init(&q->headless);
	list_init(&q->headed);
	list_init(&q->settling);
	map_init(&q->sites);
	map_init(&q->pend);
	return q;
}

static void items_free(struct queue *q, struct list *l)
{
	struct list *n;
	while ((n = list_pop(l)) != NULL)
		item_free(q, LIST_ENTRY(n, struct queue_item, all));
}

static void jobs_free(struct queue *q, struct list *l)
{
	while (!list_empty(l))
		job_free(q, LIST_ENTRY(l->next, struct queue_job, node));
}

static void mesh_free(struct queue *q)
{
	for (unsigned i = 0; q->in != NULL && i < q->n_workers; i++) {
		struct queue_item *it;
		while ((it = spsc_pop(&q->in[i])) != NULL)
			item_free(q, it);
		items_free(q, &q->outbox[i]);
		spsc_fini(&q->in[i]);
	}
	free(q->in);
	free(q->outbox);
	free(q->all);
}

void queue_destroy(struct queue **qp)
{
	struct queue *q = *qp;
	*qp = NULL;
	if (q == NULL)
		return;
	uint32_t it = 0;
	uint64_t key, val;
	jobs_free(q, &q->unsettled);
	jobs_free(q, &q->headless);
	jobs_free(q, &q->headed);
	jobs_free(q, &q->settling);
	while (map_each(&q->pend, &it, &key, &val))
		pend_free(q, (struct pend *)(uintptr_t)val);
	map_fini(&q->pend);
	items_free(q, &q->items);
	mesh_free(q);
	for (it = 0; map_each(&q->sites, &it, &key, &val);) {
		struct queue_site *s = (struct queue_site *)(uintptr_t)val, *next;
		for (; s != NULL; s = next) {
			next = s->next;
			free(s);
		}
	}
	map_fini(&q->sites);
	free(q->due.v);
	free(q->expire.v);
	free(q);
}

void queue_join(struct queue **all, unsigned n)
{
	for (unsigned i = 0; i < n && n > 1; i++) {
		struct queue *q = all[i];
		CHECK(q->n_workers == n && q->worker == i && q->in == NULL);
		q->all = calloc(n, sizeof(struct queue *));
		q->outbox = calloc(n, sizeof(*q->outbox));
		CHECK(q->all != NULL && q->outbox != NULL);
		CHECK(posix_memalign((void **)&q->in, 64, n * sizeof(*q->in)) == 0);
		for (unsigned k = 0; k < n; k++) {
			spsc_init(&q->in[k], MESH_RING);
			list_init(&q->outbox[k]);
			q->all[k] = all[k];
		}
	}
}

/* ---- sites ---- */

unsigned site_owner(const struct queue *q, const struct queue_site_key *key)
{
	uint8_t b[18];
	memcpy(b, key->host.b, 16);
	memcpy(b + 16, &key->port, 2);
	return (unsigned)(siphash(owner_key, b, sizeof(b)) % q->n_workers);
}

struct queue_site *queue_site_get(struct queue *q, const struct queue_site_key *key)
{
	uint8_t b[18];
	char host[IP_STR_MAX];
	memcpy(b, key->host.b, 16);
	memcpy(b + 16, &key->port, 2);
	uint64_t hash = siphash(q->rnd->key, b, sizeof(b)), val = 0;
	(void)map_get(&q->sites, hash, &val);
	struct queue_site *first = (struct queue_site *)(uintptr_t)val;
	for (struct queue_site *s = first; s != NULL; s = s->next)
		if (ip_eq(&s->key.host, &key->host) && s->key.port == key->port)
			return s;
	struct queue_site *s = calloc(1, sizeof(*s));
	CHECK(s != NULL);
	s->key = *key;
	s->next = first;
	list_init(&s->ready);
	list_init(&s->turn);
	list_init(&s->idle);
	(void)snprintf(s->name, sizeof(s->name), ip_is4(&key->host) ? "%s:%u" : "[%s]:%u",
		       ip_format(&key->host, host), key->port);
	map_put(&q->sites, hash, (uint64_t)(uintptr_t)s);
	return s;
}

/* ---- operations under way ---- */

struct pend *pend_new(enum pend_kind kind)
{
	struct pend *p = calloc(1, sizeof(*p));
	CHECK(p != NULL);
	p->kind = kind;
	list_init(&p->items);
	buf_init(&p->state);
	return p;
}

void pend_add(struct queue *q, struct store_op *op, struct pend *p)
{
	map_put(&q->pend, (uint64_t)(uintptr_t)op, (uint64_t)(uintptr_t)p);
	op->submit = true;
}

void pend_free(struct queue *q, struct pend *p)
{
	items_free(q, &p->items);
	buf_fini(&p->state);
	free(p);
}

/* ---- items find their owner ---- */

/* A durable item of this worker takes its place. */
void queue_adopt(struct queue *q, struct queue_item *it)
{
	struct slices body = it->body;
	it->body = (struct slices){0};
	it->pinned = 0;
	if (body.n > 0 && body.n <= q->pinned_max - q->pinned) {
		it->body = body;
		item_pin(q, it, &it->body);
	} else {
		slices_drop(&body);
	}
	it->site = queue_site_get(q, &it->key);
	it->site->n_item++;
	list_push(&q->items, &it->all);
	q->n_item++;
	q->n_rcpt += it->n_rcpt;
	item_wait(q, it, it->at_us[BY_DUE]);
}

/* Durable items to their owners. */
void hand_over(struct queue *q, struct list *items)
{
	struct list *n;
	while ((n = list_pop(items)) != NULL) {
		struct queue_item *it = LIST_ENTRY(n, struct queue_item, all);
		unsigned owner = site_owner(q, &it->key);
		q->pinned -= it->pinned; /* the owner charges its own */
		it->pinned = 0;
		stat_inc(q->stat, STAT_queue_accepted);
		if (owner == q->worker || q->in == NULL)
			queue_adopt(q, it);
		else if (!list_empty(&q->outbox[owner]) || !spsc_push(&q->all[owner]->in[q->worker], it))
			list_push(&q->outbox[owner], &it->all);
	}
}

static void mesh_turn(struct queue *q)
{
	for (unsigned i = 0; q->in != NULL && i < q->n_workers; i++) {
		struct queue_item *it;
		for (unsigned n = 0; n < MESH_RING && (it = spsc_pop(&q->in[i])) != NULL; n++)
			queue_adopt(q, it);
		while (!list_empty(&q->outbox[i])) {
			struct list *n = q->outbox[i].next;
			it = LIST_ENTRY(n, struct queue_item, all);
			list_del(n);
			if (!spsc_push(&q->all[i]->in[q->worker], it)) {
				list_push_front(&q->outbox[i], n);
				break;
			}
		}
	}
}

void queue_turn(struct queue *q, const struct conf *c, uint64_t wall_us)
{
	conf_take(q, c);
	q->wall_us = wall_us;
	mesh_turn(q);
	settle_turn(q);
	order_turn(q);
}

/* ---- submission ---- */

static bool same_site(const struct queue_site_key *a, const struct queue_site_key *b)
{
	return a->port == b->port && ip_eq(&a->host, &b->host);
}

struct submit {
	struct queue *q;
	struct store_op *op;
	const struct queue_envelope *e;
	struct store_blob blob;
	const struct slices *body;
	struct pend *pend;
	struct queue_state *st;
};

static void submit_item(struct submit *s)
{
	struct queue *q = s->q;
	struct buf b;
	buf_init(&b);
	queue_state_write(&b, s->st);
	store_id id = store_id_new(q->store);
	store_tx_qput(s->op, id, s->op->blob, s->e->accepted_us, buf_span(&b));
	struct queue_item *it = item_new(id, &s->blob, s->e->accepted_us, buf_span(&b));
	buf_fini(&b);
	it->key = s->st->site;
	it->at_us[BY_EXPIRE] = s->st->expire_us;
	it->n_rcpt = (uint16_t)s->st->n_rcpt;
	if (s->body != NULL)
		item_pin(q, it, s->body);
	list_push(&s->pend->items, &it->all);
}

/* One item for each site, or more when it has many recipients. */
static void submit_relayed(struct submit *s)
{
	const struct queue_envelope *e = s->e;
	bool *done = calloc(e->n_rcpt > 0 ? e->n_rcpt : 1, sizeof(*done));
	CHECK(done != NULL);
	struct queue_state *st = s->st;
	for (unsigned i = 0; i < e->n_rcpt; i++) {
		if (done[i] || e->rcpt[i].local)
			continue;
		st->site = e->rcpt[i].site;
		st->n_rcpt = 0;
		for (unsigned k = i; k < e->n_rcpt && st->n_rcpt < QUEUE_ITEM_RCPT_MAX; k++) {
			if (done[k] || e->rcpt[k].local || !same_site(&st->site, &e->rcpt[k].site))
				continue;
			st->rcpt[st->n_rcpt++] = (struct queue_state_rcpt){
				.addr = e->rcpt[k].addr, .notify = e->rcpt[k].notify, .orcpt = e->rcpt[k].orcpt};
			done[k] = true;
		}
		submit_item(s);
	}
	free(done);
}

/* Who asked for word of success gets it for mailboxes here, too: an item that owes only the report. */
static void submit_reports(struct submit *s)
{
	const struct queue_envelope *e = s->e;
	struct queue_state *st = s->st;
	st->site = (struct queue_site_key){.port = 0};
	st->n_rcpt = 0;
	st->expire_us = e->accepted_us; /* nothing is to be tried */
	for (unsigned i = 0; i < e->n_rcpt && e->from.len > 0; i++) {
		const struct queue_rcpt *r = &e->rcpt[i];
		if (!r->local || !(r->notify & QUEUE_NOTIFY_SUCCESS))
			continue;
		st->rcpt[st->n_rcpt++] = (struct queue_state_rcpt){
			.state = QUEUE_DELIVERED, .addr = r->addr, .notify = r->notify, .orcpt = r->orcpt};
		if (st->n_rcpt == QUEUE_ITEM_RCPT_MAX) {
			submit_item(s);
			st->n_rcpt = 0;
		}
	}
	if (st->n_rcpt > 0)
		submit_item(s);
}

static void submit_state(struct submit *s)
{
	const struct queue_envelope *e = s->e;
	struct queue_state *st = calloc(1, sizeof(*st));
	CHECK(st != NULL);
	st->body_8bit = e->body_8bit;
	st->binary = e->binary;
	st->ret = e->ret;
	st->envid = e->envid;
	st->accepted_us = e->accepted_us;
	st->expire_us = e->accepted_us + (uint64_t)s->q->expire_s * 1000000;
	st->from = e->from;
	st->session = e->session;
	s->st = st;
	submit_relayed(s);
	submit_reports(s);
	free(st);
}

/* A mailbox gets the message once however often it was named. */
static void submit_local(struct submit *s)
{
	const struct queue_envelope *e = s->e;
	for (unsigned i = 0; i < e->n_rcpt; i++) {
		bool first = e->rcpt[i].local;
		for (unsigned k = 0; k < i && first; k++)
			first = !e->rcpt[k].local || e->rcpt[k].acct != e->rcpt[i].acct;
		if (!first)
			continue;
		store_tx_deliver(s->op, e->rcpt[i].acct, STORE_INBOX, s->op->blob, 0, SPAN(""),
				 (int64_t)(e->accepted_us / 1000000));
		s->pend->n_local++;
	}
}

void queue_submit(struct queue *q, struct store_op *op, const struct queue_envelope *e, uint32_t relay_off,
		  uint32_t blob_flags, const struct slices *body)
{
	struct submit s = {
		.q = q, .op = op, .e = e, .body = body, .pend = pend_new(PEND_SUBMIT),
		.blob = {.id = op->blob, .size = (uint32_t)(op->off + op->body.len), .relay_off = relay_off,
			 .flags = blob_flags},
	};
	if (body != NULL)
		s.blob.size = (uint32_t)body->len;
	store_tx_blob(op, op->blob, relay_off, blob_flags);
	submit_local(&s);
	submit_state(&s);
	pend_add(q, op, s.pend);
}

void queue_submitted(struct queue *q, struct store_op *op)
{
	uint64_t val;
	if (map_get(&q->pend, (uint64_t)(uintptr_t)op, &val)) {
		struct pend *p = (struct pend *)(uintptr_t)val;
		(void)map_del(&q->pend, (uint64_t)(uintptr_t)op);
		if (op->err == ERR_OK && p->kind != PEND_REMOVE) {
			stat_add(q->stat, STAT_delivery_local, p->n_local);
			hand_over(q, &p->items);
		}
		if (op->err == ERR_IO && p->kind != PEND_READ && !q->broken) {
			q->broken = true;
			log_error("queue: the store failed; nothing is sent until the program starts again");
		}
		if (p->kind == PEND_SETTLE)
			settle_done(q, p, op);
		else if (p->kind == PEND_READ)
			settle_read_done(q, p, op);
		else if (p->kind == PEND_REMOVE)
			remove_done(q, p, op);
		pend_free(q, p);
	}
	if (op->owner == UINT32_MAX)
		store_op_free(&op);
}

/* ---- start ---- */

void queue_load(struct queue *q, const struct store_qitem *items, unsigned n)
{
	struct queue_state *st = calloc(1, sizeof(*st));
	CHECK(st != NULL);
	for (unsigned i = 0; i < n; i++) {
		enum err e = queue_state_read(items[i].state, st);
		if (e != ERR_OK) {
			if (q->worker == 0)
				log_error("queue: item %llx is left alone: %s", (unsigned long long)items[i].id,
					  err_text(e));
			stat_inc(q->stat, STAT_queue_unreadable);
			continue;
		}
		if (site_owner(q, &st->site) != q->worker)
			continue;
		struct queue_item *it = item_new(items[i].id, &items[i].blob, items[i].due_us, items[i].state);
		it->key = st->site;
		item_expire_set(it, st, items[i].due_us);
		it->n_rcpt = (uint16_t)st->n_rcpt;
		it->tries = (uint16_t)st->tries;
		queue_adopt(q, it);
	}
	free(st);
}
