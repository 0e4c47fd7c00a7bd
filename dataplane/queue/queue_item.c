/*
 * queue_item.c: the item itself: its bytes and the packets it holds on to.
 *
 * A body is held in memory only while the worker's items hold no more than a quarter of the packets (shared
 * by all workers); without it delivery reads the store.
 */
#include <stdlib.h>
#include <string.h>

#include "queue_int.h"

struct queue_item *item_new(store_id id, const struct store_blob *blob, uint64_t due_us, struct span state)
{
	struct queue_item *it = calloc(1, sizeof(*it));
	CHECK(it != NULL);
	list_init(&it->all);
	list_init(&it->ready);
	it->id = id;
	it->blob = *blob;
	it->at_us[BY_DUE] = due_us;
	it->pos[BY_DUE] = it->pos[BY_EXPIRE] = NO_POS;
	it->where = ITEM_COMMIT;
	item_state_set(it, state);
	return it;
}

void item_free(struct queue *q, struct queue_item *it)
{
	item_unpin(q, it);
	list_del(&it->all);
	list_del(&it->ready);
	free(it->state);
	free(it);
}

void item_state_set(struct queue_item *it, struct span state)
{
	free(it->state);
	it->state = malloc(state.len > 0 ? state.len : 1);
	CHECK(it->state != NULL && state.len <= UINT32_MAX);
	if (state.len > 0)
		memcpy(it->state, state.p, state.len);
	it->state_len = (uint32_t)state.len;
}

void item_expire_set(struct queue_item *it, const struct queue_state *st, uint64_t due_us)
{
	bool pending = false;
	for (unsigned i = 0; i < st->n_rcpt; i++)
		pending |= st->rcpt[i].state == QUEUE_PENDING;
	it->at_us[BY_EXPIRE] = pending ? st->expire_us : due_us;
}

void item_pin(struct queue *q, struct queue_item *it, const struct slices *body)
{
	if (body->n == 0 || body->n > q->pinned_max - q->pinned)
		return;
	if (body != &it->body)
		slices_add_range(&it->body, body, 0, body->len);
	it->pinned = body->n;
	q->pinned += it->pinned;
}

void item_unpin(struct queue *q, struct queue_item *it)
{
	q->pinned -= it->pinned;
	it->pinned = 0;
	slices_drop(&it->body);
}
