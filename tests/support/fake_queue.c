/*
 * fake_queue.c: queue_submit for session tests: the same commit, no delivery. A queue item's state is the
 * sender and the recipients of its site, and what of DSN was asked for.
 */
#include <stdlib.h>
#include "queue.h"

struct queue {
	struct store_core *store;
	struct stat *stat;
};

struct queue *queue_create(const struct conf *c, unsigned worker, unsigned n_workers, struct store_core *store,
			   struct pkt_pool *pool, struct stat *stat, struct rnd *rnd)
{
	struct queue *q = calloc(1, sizeof(*q));
	CHECK(q != NULL);
	(void)c;
	(void)worker;
	(void)n_workers;
	(void)pool;
	(void)rnd;
	q->store = store;
	q->stat = stat;
	return q;
}

void queue_destroy(struct queue **q)
{
	free(*q);
	*q = NULL;
}

static bool same_site(const struct queue_rcpt *a, const struct queue_rcpt *b)
{
	return !a->local && !b->local && ip_eq(&a->site.host, &b->site.host) && a->site.port == b->site.port;
}

void queue_submit(struct queue *q, struct store_op *op, const struct queue_envelope *e, uint32_t relay_off,
		  uint32_t blob_flags, const struct slices *body)
{
	(void)body;
	store_tx_blob(op, op->blob, relay_off, blob_flags);
	for (unsigned i = 0; i < e->n_rcpt; i++) {
		const struct queue_rcpt *r = &e->rcpt[i];
		bool first = true;
		if (r->local) {
			store_tx_deliver(op, r->acct, STORE_INBOX, op->blob, 0, SPAN(""),
					 (int64_t)(e->accepted_us / 1000000));
			continue;
		}
		for (unsigned j = 0; j < i; j++)
			first &= !same_site(r, &e->rcpt[j]);
		if (!first)
			continue;
		struct buf state;
		buf_init(&state);
		buf_printf(&state, "from=<" SPAN_FMT ">", SPAN_ARG(e->from));
		if (e->binary)
			buf_add_str(&state, " binary");
		if (e->ret)
			buf_printf(&state, " ret=%u", e->ret);
		if (e->envid.len)
			buf_printf(&state, " envid=" SPAN_FMT, SPAN_ARG(e->envid));
		for (unsigned j = i; j < e->n_rcpt; j++)
			if (same_site(r, &e->rcpt[j])) {
				buf_printf(&state, " to=<" SPAN_FMT ">", SPAN_ARG(e->rcpt[j].addr));
				if (e->rcpt[j].notify)
					buf_printf(&state, " notify=%u", e->rcpt[j].notify);
				if (e->rcpt[j].orcpt.len)
					buf_printf(&state, " orcpt=" SPAN_FMT, SPAN_ARG(e->rcpt[j].orcpt));
			}
		store_tx_qput(op, store_id_new(q->store), op->blob, e->accepted_us, buf_span(&state));
		buf_fini(&state);
	}
	op->submit = true;
}

void queue_submitted(struct queue *q, struct store_op *op)
{
	if (op->err == ERR_OK)
		stat_inc(q->stat, STAT_queue_accepted);
}
