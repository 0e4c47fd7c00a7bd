/*
 * queue_settle.c: what became of a job becomes durable; the beginning of a message for a bounce; removal.
 *
 * One commit for everything that one try changed: recipients that are done leave the item, those of whom a report
 * is owed (failed, relayed, delivered: one kind a report) leave it with the report that tells of them, the item ends
 * when nobody is left. No op free: the job waits here.
 * When the commit fails: no room for a bounce keeps the failed recipients for later, a mailbox that is gone
 * drops the bounce, no room at all waits with the outcome in memory, a failed store parks the item.
 */
#include <stdlib.h>

#include "log.h"
#include "queue_int.h"

#define REMOVE_BATCH    64
#define REMOVE_OPS_MAX  8 /* under way: sessions need ops, too */
#define SETTLE_AGAIN_US 1000000

void job_free(struct queue *q, struct queue_job *job)
{
	list_del(&job->node);
	arena_reset(&job->mem);
	buf_fini(&job->head);
	slices_drop(&job->bounce.body);
	free(job);
}

/* retry_min, doubled for each try, at most retry_max; up to an eighth more so that a burst spreads. */
static uint64_t retry_due(struct queue *q, unsigned tries)
{
	uint64_t s = q->retry_min_s;
	for (unsigned i = 1; i < tries && s < q->retry_max_s; i++)
		s *= 2;
	if (s > q->retry_max_s)
		s = q->retry_max_s;
	uint64_t us = s * 1000000;
	return q->wall_us + us + rnd_below(q->rnd, (uint32_t)(us / 8 < UINT32_MAX ? us / 8 : UINT32_MAX) + 1);
}

/* ---- settle ---- */

static void settle_bounce(struct queue *q, struct queue_job *job, struct store_op *op, struct pend *p)
{
	struct queue_bounce *bo = &job->bounce;
	op->blob = store_id_new(q->store);
	slices_add_range(&op->body, &bo->body, 0, bo->body.len);
	store_tx_blob(op, op->blob, bo->relay_off, bo->flags);
	if (bo->rcpt.local) {
		store_tx_deliver(op, bo->rcpt.acct, STORE_INBOX, op->blob, 0, SPAN(""),
				 (int64_t)(q->wall_us / 1000000));
		p->n_local = 1;
		return;
	}
	struct queue_state *st = calloc(1, sizeof(*st));
	CHECK(st != NULL);
	st->accepted_us = q->wall_us;
	st->expire_us = q->wall_us + (uint64_t)q->expire_s * 1000000;
	st->site = bo->rcpt.site;
	st->n_rcpt = 1;
	st->rcpt[0].addr = bo->rcpt.addr;
	st->session = job->st.session;
	struct buf b;
	buf_init(&b);
	queue_state_write(&b, st);
	struct store_blob blob = {.id = op->blob, .size = (uint32_t)bo->body.len, .relay_off = bo->relay_off,
				  .flags = bo->flags};
	struct queue_item *it = item_new(store_id_new(q->store), &blob, q->wall_us, buf_span(&b));
	it->key = st->site;
	it->at_us[BY_EXPIRE] = st->expire_us;
	it->n_rcpt = 1;
	item_pin(q, it, &bo->body);
	store_tx_qput(op, it->id, op->blob, q->wall_us, buf_span(&b));
	list_push(&p->items, &it->all);
	buf_fini(&b);
	free(st);
}

/* Of such a recipient nothing more need be said once this is written down. */
static bool told(const struct queue_job *job, enum queue_rcpt_state state)
{
	return state != QUEUE_PENDING && state == job->report && (job->bounce.made || job->forget);
}

static bool settle_submit(struct queue *q, struct queue_job *job)
{
	struct store_op *op = store_op_new(q->store, STORE_COMMIT, UINT32_MAX, 0);
	if (op == NULL)
		return false;
	struct pend *p = pend_new(PEND_SETTLE);
	struct queue_state *st = &job->st;
	p->job = job;
	if (job->bounce.made)
		settle_bounce(q, job, op, p);
	unsigned left = 0;
	bool owed = false; /* a report of another kind */
	for (unsigned i = 0; i < st->n_rcpt; i++) {
		if (told(job, st->rcpt[i].state))
			continue;
		left += st->rcpt[i].state != QUEUE_DONE;
		owed |= st->rcpt[i].state != QUEUE_DONE && st->rcpt[i].state != QUEUE_PENDING &&
			st->rcpt[i].state != job->report;
	}
	if (left == 0) {
		store_tx_qdone(op, job->id);
	} else {
		struct queue_state *next = malloc(sizeof(*next));
		CHECK(next != NULL);
		*next = *st;
		for (unsigned i = 0; i < next->n_rcpt; i++)
			if (told(job, next->rcpt[i].state))
				next->rcpt[i].state = QUEUE_DONE;
		queue_state_write(&p->state, next);
		free(next);
		owed = owed && (job->bounce.made || job->forget);
		p->due_us = job->soon || owed ? q->wall_us : retry_due(q, st->tries);
		store_tx_qset(op, job->id, p->due_us, buf_span(&p->state));
	}
	pend_add(q, op, p);
	list_push(&q->settling, &job->node);
	store_submit(q->store, op);
	return true;
}

void queue_settle(struct queue *q, struct queue_job **jobp)
{
	struct queue_job *job = *jobp;
	*jobp = NULL;
	list_del(&job->node);
	if (!list_empty(&q->unsettled) || q->wall_us < q->settle_after_us || !settle_submit(q, job))
		list_push(&q->unsettled, &job->node);
}

static void item_forget(struct queue *q, struct queue_item *it)
{
	item_out(q, it);
	it->site->n_item--;
	q->n_item--;
	q->n_rcpt -= it->n_rcpt;
	item_free(q, it);
}

static void settled(struct queue *q, struct pend *p, struct queue_job *job)
{
	struct queue_item *it = job->item;
	if (p->state.len == 0) {
		item_forget(q, it);
		return;
	}
	struct queue_state *st = malloc(sizeof(*st));
	CHECK(st != NULL);
	item_state_set(it, buf_span(&p->state));
	CHECK(queue_state_read(span_of(it->state, it->state_len), st) == ERR_OK);
	q->n_rcpt -= it->n_rcpt - st->n_rcpt;
	it->n_rcpt = (uint16_t)st->n_rcpt;
	it->tries = (uint16_t)st->tries;
	it->released = 0;
	item_expire_set(it, st, p->due_us);
	item_unpin(q, it); /* it will be long: what is deferred lives on disk */
	item_wait(q, it, p->due_us);
	free(st);
}

void settle_done(struct queue *q, struct pend *p, struct store_op *op)
{
	struct queue_job *job = p->job;
	list_del(&job->node);
	if (op->err == ERR_OK) {
		if (job->bounce.made)
			stat_inc(q->stat, STAT_delivery_bounced);
		settled(q, p, job);
		job_free(q, job);
		return;
	}
	if (op->err != ERR_IO && job->bounce.made) {
		/* Only the bounce can be what the store would not take: a mailbox that is gone, or no room. */
		job->bounce.made = false;
		if (op->err != ERR_NO_SPACE && op->err != ERR_NO_MEMORY) {
			log_warn("queue: item %llx: the report to its sender is dropped: %s",
				 (unsigned long long)job->id, err_text(op->err));
			stat_inc(q->stat, STAT_delivery_bounce_dropped);
			job->forget = true;
		}
		queue_settle(q, &job);
		return;
	}
	if (op->err == ERR_NO_SPACE || op->err == ERR_NO_MEMORY || op->err == ERR_TOO_MANY) {
		q->settle_after_us = q->wall_us + SETTLE_AGAIN_US;
		list_push(&q->unsettled, &job->node);
		return;
	}
	if (op->err == ERR_NOT_FOUND) {
		item_forget(q, job->item);
		job_free(q, job);
		return;
	}
	log_error("queue: item %llx waits for the next start: its outcome cannot be written: %s",
		  (unsigned long long)job->id, err_text(op->err));
	job->item->where = ITEM_PARKED;
	item_unpin(q, job->item);
	job_free(q, job);
}

/* ---- the beginning of the message ---- */

static bool read_submit(struct queue *q, struct queue_job *job)
{
	struct store_op *op = store_op_new(q->store, STORE_READ, UINT32_MAX, 0);
	if (op == NULL)
		return false;
	uint32_t left = job->blob.size - job->blob.relay_off;
	op->blob = job->blob.id;
	op->off = job->blob.relay_off;
	op->len = left < QUEUE_HEAD_MAX ? left : QUEUE_HEAD_MAX;
	struct pend *p = pend_new(PEND_READ);
	p->job = job;
	pend_add(q, op, p);
	list_push(&q->settling, &job->node);
	store_submit(q->store, op);
	return true;
}

static void head_take(struct queue_job *job, const struct slices *s, uint64_t off)
{
	uint64_t len = s->len > off ? s->len - off : 0;
	if (len > QUEUE_HEAD_MAX)
		len = QUEUE_HEAD_MAX;
	uint8_t *dst = buf_reserve(&job->head, len);
	job->head.len += slices_read(s, off, dst, len);
}

void queue_read_head(struct queue *q, struct queue_job **jobp)
{
	struct queue_job *job = *jobp;
	*jobp = NULL;
	list_del(&job->node);
	const struct slices *body = queue_job_body(job);
	if (body != NULL) {
		head_take(job, body, job->blob.relay_off);
		list_push(&q->headed, &job->node);
	} else if (job->blob.relay_off >= job->blob.size) {
		list_push(&q->headed, &job->node);
	} else if (!list_empty(&q->headless) || !read_submit(q, job)) {
		list_push(&q->headless, &job->node);
	}
}

void settle_read_done(struct queue *q, struct pend *p, struct store_op *op)
{
	struct queue_job *job = p->job;
	list_del(&job->node);
	if (op->err == ERR_OK)
		head_take(job, &op->data, 0);
	list_push(&q->headed, &job->node);
}

struct queue_job *queue_headed(struct queue *q)
{
	struct list *n = list_pop(&q->headed);
	return n != NULL ? LIST_ENTRY(n, struct queue_job, node) : NULL;
}

void queue_headed_later(struct queue *q, struct queue_job **jobp)
{
	list_push_front(&q->headed, &(*jobp)->node);
	*jobp = NULL;
}

bool queue_headed_any(const struct queue *q)
{
	return !list_empty(&q->headed);
}

/* ---- removal by an operator ---- */

static bool remove_submit(struct queue *q)
{
	struct store_op *op = store_op_new(q->store, STORE_COMMIT, UINT32_MAX, 0);
	if (op == NULL)
		return false;
	struct pend *p = pend_new(PEND_REMOVE);
	for (unsigned i = 0; i < REMOVE_BATCH && !list_empty(&q->removing); i++) {
		struct queue_item *it = LIST_ENTRY(q->removing.next, struct queue_item, ready);
		list_del(&it->ready);
		list_del(&it->all);
		list_push(&p->items, &it->all);
		store_tx_qdone(op, it->id);
	}
	pend_add(q, op, p);
	q->n_remove_op++;
	store_submit(q->store, op);
	return true;
}

void remove_done(struct queue *q, struct pend *p, struct store_op *op)
{
	struct list *n;
	q->n_remove_op--;
	while ((n = list_pop(&p->items)) != NULL) {
		struct queue_item *it = LIST_ENTRY(n, struct queue_item, all);
		list_push(&q->items, &it->all);
		if (op->err == ERR_OK)
			item_forget(q, it);
		else if (op->err == ERR_IO)
			it->where = ITEM_PARKED;
		else
			item_wait(q, it, it->at_us[BY_DUE]);
	}
}

/* ---- what waited for an op ---- */

void settle_turn(struct queue *q)
{
	while (!list_empty(&q->unsettled) && q->wall_us >= q->settle_after_us) {
		struct list *n = list_pop(&q->unsettled);
		if (settle_submit(q, LIST_ENTRY(n, struct queue_job, node)))
			continue;
		list_push_front(&q->unsettled, n);
		break;
	}
	while (!list_empty(&q->headless)) {
		struct list *n = list_pop(&q->headless);
		if (read_submit(q, LIST_ENTRY(n, struct queue_job, node)))
			continue;
		list_push_front(&q->headless, n);
		break;
	}
	while (!list_empty(&q->removing) && q->n_remove_op < REMOVE_OPS_MAX && remove_submit(q))
		;
}

void queue_stop(struct queue *q)
{
	uint32_t it = 0;
	uint64_t key, val;
	struct list *n, waiting;
	list_init(&waiting);
	while (map_each(&q->pend, &it, &key, &val)) {
		struct pend *p = (struct pend *)(uintptr_t)val;
		if (p->kind != PEND_READ)
			continue;
		list_del(&p->job->node);
		list_push(&waiting, &p->job->node);
		p->job = NULL;
	}
	struct list *const lists[] = {&q->headed, &q->headless, &q->unsettled};
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		while ((n = list_pop(lists[i])) != NULL)
			list_push(&waiting, n);
	while ((n = list_pop(&waiting)) != NULL) {
		struct queue_job *job = LIST_ENTRY(n, struct queue_job, node);
		if (q->broken || !settle_submit(q, job))
			job_free(q, job);
	}
}
