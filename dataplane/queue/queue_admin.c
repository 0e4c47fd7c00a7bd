/* queue_admin.c: the operator's hand on the queue: list, retry, remove. Walks all items; runs on the owner's worker. */
#include <stdlib.h>

#include "queue_int.h"

static bool filter_empty(const struct queue_filter *f)
{
	return f->match == NULL && !f->all;
}

/* A C string that a terminal survives. */
static const char *text(struct arena *a, struct span s)
{
	uint8_t *p = arena_alloc(a, s.len + 1);
	if (p == NULL)
		return "";
	for (size_t i = 0; i < s.len; i++)
		p[i] = s.p[i] < ' ' || s.p[i] == 0x7f ? '?' : s.p[i];
	p[s.len] = '\0';
	return (const char *)p;
}

/* One walk over the items: where their rows are put together. */
struct walk {
	const struct queue_filter *f;
	struct arena a;
	struct queue_state st;
	struct queue_row row;
	const char *rcpt[QUEUE_ITEM_RCPT_MAX];
};

static struct walk *walk_new(const struct queue_filter *f)
{
	struct walk *w = malloc(sizeof(*w));
	CHECK(w != NULL);
	w->f = f;
	arena_init(&w->a, 1 << 20);
	return w;
}

static void walk_end(struct walk *w)
{
	arena_reset(&w->a);
	free(w);
}

/* The row of the item if it matches, valid until the next call. */
static const struct queue_row *walk_row(struct walk *w, const struct queue_item *it)
{
	struct queue_state *st = &w->st;
	arena_reset(&w->a);
	CHECK(queue_state_read(span_of(it->state, it->state_len), st) == ERR_OK);
	for (unsigned i = 0; i < st->n_rcpt; i++)
		w->rcpt[i] = text(&w->a, st->rcpt[i].addr);
	uint64_t due = it->at_us[BY_DUE];
	if (it->where == ITEM_READY && it->site->hold_us > due)
		due = it->site->hold_us;
	w->row = (struct queue_row){
		.id = it->id, .size = it->blob.size - it->blob.relay_off, .from = text(&w->a, st->from),
		.site = it->site->name, .rcpt = w->rcpt, .n_rcpt = st->n_rcpt, .tries = st->tries,
		.accepted_us = st->accepted_us, .due_us = due, .expire_us = st->expire_us,
		.last = st->last.len > 0 ? text(&w->a, st->last) : it->site->last,
		.active = it->where == ITEM_ACTIVE,
	};
	return w->f->match == NULL || w->f->match(w->f->arg, &w->row) ? &w->row : NULL;
}

unsigned queue_list(struct queue *q, const struct queue_filter *f, unsigned limit,
		    void (*fn)(void *arg, const struct queue_row *), void *arg)
{
	struct walk *w = walk_new(f);
	unsigned n = 0;
	LIST_EACH(node, &q->items) {
		if (n == limit)
			break;
		const struct queue_row *row = walk_row(w, LIST_ENTRY(node, struct queue_item, all));
		if (row == NULL)
			continue;
		fn(arg, row);
		n++;
	}
	walk_end(w);
	return n;
}

unsigned queue_retry(struct queue *q, const struct queue_filter *f)
{
	if (filter_empty(f))
		return 0;
	struct walk *w = walk_new(f);
	unsigned n = 0;
	LIST_EACH(node, &q->items) {
		struct queue_item *it = LIST_ENTRY(node, struct queue_item, all);
		if ((it->where != ITEM_WAITING && it->where != ITEM_READY) || walk_row(w, it) == NULL)
			continue;
		it->site->hold_us = 0;
		it->site->down = false;
		if (it->where == ITEM_WAITING)
			item_wait(q, it, q->wall_us);
		n++;
	}
	walk_end(w);
	return n;
}

unsigned queue_remove(struct queue *q, const struct queue_filter *f)
{
	if (filter_empty(f))
		return 0;
	struct walk *w = walk_new(f);
	unsigned n = 0;
	LIST_EACH(node, &q->items) {
		struct queue_item *it = LIST_ENTRY(node, struct queue_item, all);
		if ((it->where != ITEM_WAITING && it->where != ITEM_READY) || walk_row(w, it) == NULL)
			continue;
		item_out(q, it);
		it->where = ITEM_REMOVING;
		list_push(&q->removing, &it->ready);
		n++;
	}
	walk_end(w);
	settle_turn(q);
	return n;
}

void queue_counts(const struct queue *q, uint64_t *items, uint64_t *recipients)
{
	*items = q->n_item;
	*recipients = q->n_rcpt;
}
