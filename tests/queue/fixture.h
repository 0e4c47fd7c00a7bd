/* fixture.h: one or more queues over the store's stand-in, in virtual time. */
#ifndef VEREDUS_QUEUE_FIXTURE_H
#define VEREDUS_QUEUE_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>

#include "fake_store.h"
#include "queue_claim.h"

#define WALL_US 1767225600000000u
#define WORKERS_MAX 3

struct fix {
	struct conf conf;
	struct store *store;
	struct pkt_pool *pool;
	struct stat *stat;
	struct rnd rnd;
	uint64_t wall_us, alice;
	unsigned n;
	struct queue *q[WORKERS_MAX];
};

static inline void fix_queues(struct fix *f, unsigned n)
{
	f->n = n;
	for (unsigned i = 0; i < n; i++)
		f->q[i] = queue_create(&f->conf, i, n, store_core(f->store, i), f->pool, f->stat, &f->rnd);
	queue_join(f->q, n);
}

static inline void fix_init(struct fix *f, unsigned n)
{
	memset(f, 0, sizeof(*f));
	f->conf = (struct conf){.retry_min_s = 300, .retry_max_s = 3600, .expire_s = 86400};
	f->pool = pkt_pool_create("queue", 4096, PKT_ROOM);
	f->stat = aligned_alloc(64, sizeof(*f->stat));
	CHECK(f->stat != NULL);
	memset(f->stat, 0, sizeof(*f->stat));
	rnd_seed(&f->rnd, 7);
	f->wall_us = WALL_US;
	char why[100];
	struct store_conf sc = {.n_cores = WORKERS_MAX + 1, .ops_per_core = 16, .big = f->pool, .cpu = -1};
	CHECK(store_open(&f->store, &sc, why, sizeof(why)) == ERR_OK);
	f->alice = fake_store_account(f->store, "alice@example.net", "x");
	fix_queues(f, n);
}

/* Store and queues until nothing moves. */
static inline void fix_run(struct fix *f)
{
	for (bool did = true; did;) {
		did = store_step(f->store);
		for (unsigned i = 0; i < f->n; i++) {
			struct store_op *op;
			queue_turn(f->q[i], &f->conf, f->wall_us);
			while (store_poll(store_core(f->store, i), &op, 1) > 0) {
				bool keep = op->owner != UINT32_MAX || !op->submit;
				did = true;
				if (op->submit)
					queue_submitted(f->q[i], op);
				if (keep)
					store_op_free(&op);
			}
			queue_turn(f->q[i], &f->conf, f->wall_us);
			did |= store_pending(store_core(f->store, i)) > 0;
		}
	}
}

static inline struct queue_site_key fix_site(unsigned n)
{
	char text[32];
	struct queue_site_key k = {.port = 25};
	(void)snprintf(text, sizeof(text), "198.18.%u.%u", n / 250, 1 + n % 250);
	CHECK(ip_parse(span_str(text), &k.host));
	return k;
}

/* A message from worker w to n_rcpt recipients at each of n_site sites from first on. */
static inline enum err fix_submit(struct fix *f, unsigned w, unsigned first, unsigned n_site, unsigned n_rcpt)
{
	unsigned n = n_site * n_rcpt;
	struct queue_rcpt *rc = calloc(n > 0 ? n : 1, sizeof(*rc));
	char(*addr)[40] = calloc(n > 0 ? n : 1, sizeof(*addr));
	CHECK(rc != NULL && addr != NULL);
	for (unsigned i = 0; i < n; i++) {
		(void)snprintf(addr[i], sizeof(addr[i]), "r%u@s%u.example", i / n_site, first + i % n_site);
		rc[i] = (struct queue_rcpt){.addr = span_str(addr[i]), .site = fix_site(first + i % n_site)};
	}
	struct store_op *op = store_op_new(store_core(f->store, w), STORE_COMMIT, 1, 1);
	CHECK(op != NULL);
	op->blob = store_id_new(store_core(f->store, w));
	CHECK(slices_copy(&op->body, f->pool, SPAN("Return-Path: <a@b>\r\nSubject: x\r\n\r\nbody\r\n")));
	struct queue_envelope e = {.from = SPAN("a@example.net"), .accepted_us = f->wall_us, .session = SPAN("s1"),
				   .rcpt = rc, .n_rcpt = n};
	queue_submit(f->q[w], op, &e, 20, 0, &op->body);
	free(rc);
	free(addr);
	store_submit(store_core(f->store, w), op);
	fix_run(f);
	return ERR_OK;
}

static inline struct queue_job *fix_claim(struct fix *f, unsigned w, unsigned site)
{
	struct queue_site_key k = fix_site(site);
	return queue_claim(f->q[w], queue_site_get(f->q[w], &k));
}

static inline uint64_t fix_items(struct fix *f, uint64_t *rcpts)
{
	uint64_t items = 0, r = 0, a, b;
	for (unsigned i = 0; i < f->n; i++) {
		queue_counts(f->q[i], &a, &b);
		items += a;
		r += b;
	}
	if (rcpts != NULL)
		*rcpts = r;
	return items;
}

static inline void fix_load(struct fix *f)
{
	const struct store_qitem *it;
	for (unsigned i = 0; (it = fake_store_qitem(f->store, i)) != NULL; i++)
		for (unsigned k = 0; k < f->n; k++)
			queue_load(f->q[k], it, 1);
	fix_run(f);
}

static inline void fix_fini(struct fix *f)
{
	fix_run(f);
	for (unsigned i = 0; i < f->n; i++)
		queue_destroy(&f->q[i]);
	store_close(&f->store);
	free(f->stat);
	CHECK(pkt_heap_outstanding() == 0);
	pkt_pool_destroy(&f->pool);
}

#endif
