/* queue_admin.c: the operator's hand on the queue: list, retry, remove. Walks all items; runs on the owner's worker. */
#include <stdlib.h>

#include "queue_int.h"

/* "*@domain" or the very address, in any case. */
static bool addr_matches(struct span pattern, struct span addr)
{
	if (pattern.len < 2 || pattern.p[0] != '*' || pattern.p[1] != '@')
		return span_ieq(pattern, addr);
	struct span end = span_from(pattern, 1);
	return addr.len > end.len && span_ieq(span_from(addr, addr.len - end.len), end);
}

static bool filter_matches(const struct queue_filter *f, const struct queue_item *it, const struct queue_state *st)
{
	if (f->id != 0 && f->id != it->id)
		return false;
	if (f->site.len > 0 && !span_ieq(f->site, span_str(it->site->name)))
		return false;
	if (f->from.len > 0 && !addr_matches(f->from, st->from))
		return false;
	bool any = f->rcpt.len == 0;
	for (unsigned i = 0; i < st->n_rcpt && !any; i++)
		any = addr_matches(f->rcpt, st->rcpt[i].addr);
	return any;
}

static bool filter_empty(const struct queue_filter *f)
{
	return f->id == 0 && f->from.len == 0 && f->rcpt.len == 0 && f->site.len == 0;
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

static void row_show(struct arena *a, const struct queue_item *it, const struct queue_state *st,
		     void (*fn)(void *arg, const struct queue_row *), void *arg)
{
	const char *rcpt[QUEUE_ITEM_RCPT_MAX];
	for (unsigned i = 0; i < st->n_rcpt; i++)
		rcpt[i] = text(a, st->rcpt[i].addr);
	uint64_t due = it->at_us[BY_DUE];
	if (it->where == ITEM_READY && it->site->hold_us > due)
		due = it->site->hold_us;
	struct queue_row row = {
		.id = it->id, .size = it->blob.size - it->blob.relay_off, .from = text(a, st->from),
		.site = it->site->name, .rcpt = rcpt, .n_rcpt = st->n_rcpt, .tries = st->tries,
		.accepted_us = st->accepted_us, .due_us = due, .expire_us = st->expire_us,
		.last = st->last.len > 0 ? text(a, st->last) : it->site->last, .active = it->where == ITEM_ACTIVE,
	};
	fn(arg, &row);
}

/* The state of an item if it matches. */
static bool item_matches(const struct queue_filter *f, const struct queue_item *it, struct queue_state *st)
{
	CHECK(queue_state_read(span_of(it->state, it->state_len), st) == ERR_OK);
	return filter_matches(f, it, st);
}

unsigned queue_list(struct queue *q, const struct queue_filter *f, unsigned limit,
		    void (*fn)(void *arg, const struct queue_row *), void *arg)
{
	struct queue_state *st = malloc(sizeof(*st));
	CHECK(st != NULL);
	unsigned n = 0;
	struct arena a;
	arena_init(&a, 1 << 20);
	LIST_EACH(node, &q->items) {
		if (n == limit)
			break;
		struct queue_item *it = LIST_ENTRY(node, struct queue_item, all);
		if (!item_matches(f, it, st))
			continue;
		row_show(&a, it, st, fn, arg);
		arena_reset(&a);
		n++;
	}
	free(st);
	return n;
}

unsigned queue_retry(struct queue *q, const struct queue_filter *f)
{
	if (filter_empty(f) && !f->all)
		return 0;
	struct queue_state *st = malloc(sizeof(*st));
	CHECK(st != NULL);
	unsigned n = 0;
	LIST_EACH(node, &q->items) {
		struct queue_item *it = LIST_ENTRY(node, struct queue_item, all);
		if ((it->where != ITEM_WAITING && it->where != ITEM_READY) || !item_matches(f, it, st))
			continue;
		it->site->hold_us = 0;
		it->site->down = false;
		if (it->where == ITEM_WAITING)
			item_wait(q, it, q->wall_us);
		n++;
	}
	free(st);
	return n;
}

unsigned queue_remove(struct queue *q, const struct queue_filter *f)
{
	if (filter_empty(f) && !f->all)
		return 0;
	struct queue_state *st = malloc(sizeof(*st));
	CHECK(st != NULL);
	unsigned n = 0;
	LIST_EACH(node, &q->items) {
		struct queue_item *it = LIST_ENTRY(node, struct queue_item, all);
		if ((it->where != ITEM_WAITING && it->where != ITEM_READY) || !item_matches(f, it, st))
			continue;
		item_out(q, it);
		it->where = ITEM_REMOVING;
		list_push(&q->removing, &it->ready);
		n++;
	}
	free(st);
	settle_turn(q);
	return n;
}

void queue_counts(const struct queue *q, uint64_t *items, uint64_t *recipients)
{
	*items = q->n_item;
	*recipients = q->n_rcpt;
}
