/*
 * store_core.c: a user thread's door: ops from a pool, two rings, ids. Hot path.
 *
 * 1. Each op is in at most one place: with its owner, in the ring `sub`, with the storage thread, in the ring
 * `done`. 2. `sub` has room for every op and one cancellation each, `done` for every op: pushes cannot fail.
 * The storage thread is woken, by a system call, only when it sleeps and the new ops need it: while a group
 * is in flight, writes wait for its end anyhow.
 */
#include <stdlib.h>
#include <string.h>
#include "store_int.h"

#define WAKE_BYTES (128u << 10) /* of writes that should not wait for the group in flight */

struct store_core *store_core(struct store *s, unsigned core)
{
	CHECK(core < s->conf.n_cores);
	return &s->core[core];
}

struct store_op *store_op_new(struct store_core *c, enum store_verb verb, uint32_t owner, uint32_t owner_gen)
{
	struct op_int *o = pool_take(&c->pool);
	if (!o)
		return NULL;
	memset(o, 0, sizeof(*o));
	o->in_use = true;
	o->index = pool_index(&c->pool, o);
	list_init(&o->watch);
	o->op.core = c;
	o->op.verb = verb;
	o->op.owner = owner;
	o->op.owner_gen = owner_gen;
	return &o->op;
}

void store_op_free(struct store_op **opp)
{
	struct store_op *op = *opp;
	if (!op)
		return;
	struct op_int *o = (struct op_int *)op;
	slices_drop(&op->body);
	slices_drop(&op->data);
	buf_fini(&op->tx);
	free(op->view);
	free(op->res);
	free(op->accounts);
	free(op->items);
	account_discard(o);
	o->in_use = false;
	pool_give(&op->core->pool, o);
	*opp = NULL;
}

void store_submit(struct store_core *c, struct store_op *op)
{
	bool write = op->verb == STORE_COMMIT || op->verb == STORE_BODY;
	c->unsent_bytes += op->body.len;
	c->urgent |= !write || c->unsent_bytes >= WAKE_BYTES;
	c->unsent = true;
	c->pending++;
	CHECK(spsc_push(&c->sub, op));
}

void store_watch_cancel(struct store_core *c, struct store_op *watch)
{
	struct op_int *o = (struct op_int *)watch;
	if (o->cancel_sent)
		return;
	o->cancel_sent = true;
	c->unsent = c->urgent = true;
	CHECK(spsc_push(&c->sub, (void *)((uintptr_t)o | 1)));
}

static COLD void wake(struct store_core *c)
{
	struct store *s = c->s;
	c->unsent = false;
	atomic_thread_fence(memory_order_seq_cst);
	int asleep = atomic_load_explicit(&s->sleeping, memory_order_relaxed);
	if (asleep == ASLEEP_IDLE || (asleep == ASLEEP_FLIGHT && c->urgent)) {
		/* One waker is enough: whoever takes the mark away makes the call. */
		if (atomic_exchange_explicit(&s->sleeping, AWAKE, memory_order_relaxed) != AWAKE)
			s->disk->ops->wake(s->disk);
	}
	c->urgent = false;
	c->unsent_bytes = 0;
}

unsigned store_poll(struct store_core *c, struct store_op **out, unsigned max)
{
	unsigned n = 0;
	void *p;
	if (c->unsent)
		wake(c);
	while (n < max && (p = spsc_pop(&c->done)))
		out[n++] = p;
	c->pending -= n;
	return n;
}

unsigned store_pending(const struct store_core *c)
{
	return c->pending;
}

store_id store_id_new(struct store_core *c)
{
	return (store_id)c->s->boot << 48 | (store_id)c->id << 40 | (++c->next_id & ((1ull << 40) - 1));
}
