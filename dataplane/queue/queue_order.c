/*
 * queue_order.c: what comes next: items by due time and by end of life, sites in turn.
 *
 * Two heaps hold every item that nobody works on (the first only those not yet due); a site keeps its due items
 * first come first served; sites that have some stand in one round, so a site with a million items
 * takes its turn like one with a single item.
 */
#include <stdlib.h>

#include "queue_int.h"

#define DUE_A_TURN 256 /* after a start all may be due at once */

/* ---- heaps ---- */

static void heap_set(struct heap *h, uint32_t i, struct queue_item *it)
{
	h->v[i] = it;
	it->pos[h->by] = i;
}

static void heap_up(struct heap *h, uint32_t i, struct queue_item *it)
{
	while (i > 0 && h->v[(i - 1) / 2]->at_us[h->by] > it->at_us[h->by]) {
		heap_set(h, i, h->v[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_set(h, i, it);
}

static void heap_down(struct heap *h, uint32_t i, struct queue_item *it)
{
	for (;;) {
		uint32_t c = 2 * i + 1;
		if (c >= h->n)
			break;
		if (c + 1 < h->n && h->v[c + 1]->at_us[h->by] < h->v[c]->at_us[h->by])
			c++;
		if (h->v[c]->at_us[h->by] >= it->at_us[h->by])
			break;
		heap_set(h, i, h->v[c]);
		i = c;
	}
	heap_set(h, i, it);
}

void heap_put(struct heap *h, struct queue_item *it)
{
	CHECK(it->pos[h->by] == NO_POS);
	if (h->n == h->cap) {
		h->cap = h->cap > 0 ? h->cap * 2 : 64;
		h->v = realloc(h->v, h->cap * sizeof(*h->v));
		CHECK(h->v != NULL);
	}
	heap_up(h, h->n++, it);
}

void heap_del(struct heap *h, struct queue_item *it)
{
	uint32_t i = it->pos[h->by];
	if (i == NO_POS)
		return;
	it->pos[h->by] = NO_POS;
	struct queue_item *last = h->v[--h->n];
	if (last == it)
		return;
	if (i > 0 && h->v[(i - 1) / 2]->at_us[h->by] > last->at_us[h->by])
		heap_up(h, i, last);
	else
		heap_down(h, i, last);
}

/* ---- places of an item ---- */

static void site_in_round(struct queue *q, struct queue_site *site)
{
	if (!list_empty(&site->turn))
		return;
	list_push(&q->round, &site->turn);
	q->n_round++;
}

static void site_out_of_round(struct queue *q, struct queue_site *site)
{
	list_del(&site->turn);
	q->n_round--;
}

void item_out(struct queue *q, struct queue_item *it)
{
	heap_del(&q->due, it);
	heap_del(&q->expire, it);
	if (it->where == ITEM_READY && --it->site->n_ready == 0)
		site_out_of_round(q, it->site);
	list_del(&it->ready);
}

void item_ready(struct queue *q, struct queue_item *it, bool front)
{
	item_out(q, it);
	it->where = ITEM_READY;
	heap_put(&q->expire, it);
	if (front)
		list_push_front(&it->site->ready, &it->ready);
	else
		list_push(&it->site->ready, &it->ready);
	it->site->n_ready++;
	site_in_round(q, it->site);
}

void item_wait(struct queue *q, struct queue_item *it, uint64_t due_us)
{
	it->at_us[BY_DUE] = due_us;
	if (due_us <= q->wall_us) {
		item_ready(q, it, false);
		return;
	}
	item_out(q, it);
	it->where = ITEM_WAITING;
	heap_put(&q->due, it);
	heap_put(&q->expire, it);
}

void order_turn(struct queue *q)
{
	for (unsigned n = 0; n < DUE_A_TURN && q->due.n > 0 && q->due.v[0]->at_us[BY_DUE] <= q->wall_us; n++)
		item_ready(q, q->due.v[0], false);
}

/* ---- claims ---- */

struct queue_site *queue_site_round(struct queue *q)
{
	struct list *n = list_pop(&q->round);
	if (n == NULL)
		return NULL;
	list_push(&q->round, n);
	return LIST_ENTRY(n, struct queue_site, turn);
}

unsigned queue_sites_ready(const struct queue *q)
{
	return q->n_round;
}

bool queue_broken(const struct queue *q)
{
	return q->broken;
}

static struct queue_job *job_new(struct queue *q, struct queue_item *it)
{
	struct queue_job *job = calloc(1, sizeof(*job));
	CHECK(job != NULL);
	item_out(q, it);
	it->where = ITEM_ACTIVE;
	list_init(&job->node);
	job->item = it;
	job->site = it->site;
	job->id = it->id;
	job->blob = it->blob;
	CHECK(queue_state_read(span_of(it->state, it->state_len), &job->st) == ERR_OK);
	arena_init(&job->mem, 256 * 1024);
	buf_init(&job->head);
	for (unsigned i = 0; i < job->st.n_rcpt; i++)
		job->n_pending += job->st.rcpt[i].state == QUEUE_PENDING;
	return job;
}

struct queue_job *queue_claim(struct queue *q, struct queue_site *site)
{
	if (q->broken || list_empty(&site->ready))
		return NULL;
	return job_new(q, LIST_ENTRY(site->ready.next, struct queue_item, ready));
}

struct queue_job *queue_claim_expired(struct queue *q)
{
	if (q->broken || q->expire.n == 0 || q->expire.v[0]->at_us[BY_EXPIRE] > q->wall_us)
		return NULL;
	struct queue_job *job = job_new(q, q->expire.v[0]);
	job->expired = job->n_pending > 0;
	return job;
}

const struct slices *queue_job_body(const struct queue_job *job)
{
	return job->item->body.n > 0 ? &job->item->body : NULL;
}

bool queue_release(struct queue *q, struct queue_job **jobp)
{
	struct queue_job *job = *jobp;
	if (job->item->released >= RELEASE_MAX)
		return false;
	job->item->released++;
	item_ready(q, job->item, true);
	job_free(q, job);
	*jobp = NULL;
	return true;
}

struct queue_site *queue_site_after(const struct queue *q, const struct queue_site *site)
{
	struct list *n = site != NULL ? site->turn.next : q->round.next;
	return n != &q->round ? LIST_ENTRY(n, struct queue_site, turn) : NULL;
}

uint64_t queue_next_us(const struct queue *q)
{
	uint64_t at = UINT64_MAX;
	if (!list_empty(&q->headless) || !list_empty(&q->removing))
		return q->wall_us;
	if (!list_empty(&q->unsettled))
		at = q->settle_after_us > q->wall_us ? q->settle_after_us : q->wall_us;
	if (q->broken)
		return at;
	if (q->due.n > 0 && q->due.v[0]->at_us[BY_DUE] < at)
		at = q->due.v[0]->at_us[BY_DUE];
	if (q->expire.n > 0 && q->expire.v[0]->at_us[BY_EXPIRE] < at)
		at = q->expire.v[0]->at_us[BY_EXPIRE];
	return at;
}
