#include <criterion/criterion.h>

#include "fixture.h"

Test(queue, submit_groups_by_site)
{
	static struct fix f;
	uint64_t rcpts;
	fix_init(&f, 1);
	fix_submit(&f, 0, 0, 3, 2);
	cr_assert_eq(fix_items(&f, &rcpts), 3);
	cr_assert_eq(rcpts, 6);
	struct queue_job *job = fix_claim(&f, 0, 1);
	cr_assert_not_null(job);
	cr_assert_eq(job->st.n_rcpt, 2);
	cr_assert(span_eq(job->st.rcpt[0].addr, SPAN("r0@s1.example")));
	cr_assert(span_eq(job->st.rcpt[1].addr, SPAN("r1@s1.example")));
	cr_assert(span_eq(job->st.from, SPAN("a@example.net")));
	cr_assert_eq(job->blob.relay_off, 20);
	cr_assert_eq(job->blob.size, 40);
	cr_assert_not_null(queue_job_body(job));
	cr_assert_eq(queue_job_body(job)->len, 40);
	cr_assert_null(fix_claim(&f, 0, 1));
	for (unsigned i = 0; i < 2; i++)
		job->st.rcpt[i].state = QUEUE_DONE;
	queue_settle(f.q[0], &job);
	cr_assert_null(job);
	cr_assert_eq(fix_items(&f, NULL), 3, "only a durable end counts");
	fix_run(&f);
	cr_assert_eq(fix_items(&f, NULL), 2);
	fix_fini(&f);
}

Test(queue, many_recipients_are_split)
{
	static struct fix f;
	uint64_t rcpts;
	fix_init(&f, 1);
	fix_submit(&f, 0, 0, 1, 250);
	cr_assert_eq(fix_items(&f, &rcpts), 3);
	cr_assert_eq(rcpts, 250);
	unsigned n[3];
	struct queue_job *job[3];
	for (unsigned i = 0; i < 3; i++) {
		job[i] = fix_claim(&f, 0, 0);
		n[i] = job[i]->st.n_rcpt;
		cr_assert(queue_release(f.q[0], &job[i]) || i == 99);
		job[i] = fix_claim(&f, 0, 0); /* the same again: it went to the front */
		cr_assert_eq(job[i]->st.n_rcpt, n[i]);
	}
	cr_assert_eq(n[0] + n[1] + n[2], 250);
	for (unsigned i = 0; i < 3; i++)
		queue_settle(f.q[0], &job[i]);
	fix_fini(&f);
}

Test(queue, local_once)
{
	static struct fix f;
	fix_init(&f, 1);
	struct queue_rcpt rc[3] = {
		{.addr = SPAN("alice@example.net"), .local = true, .acct = f.alice},
		{.addr = SPAN("Alice@example.net"), .local = true, .acct = f.alice},
		{.addr = SPAN("r@s0.example"), .site = fix_site(0)},
	};
	struct store_op *op = store_op_new(store_core(f.store, 0), STORE_COMMIT, 1, 1);
	op->blob = store_id_new(store_core(f.store, 0));
	cr_assert(slices_copy(&op->body, f.pool, SPAN("x\r\n\r\n")));
	struct queue_envelope e = {.accepted_us = f.wall_us, .rcpt = rc, .n_rcpt = 3};
	queue_submit(f.q[0], op, &e, 0, 0, NULL);
	store_submit(store_core(f.store, 0), op);
	fix_run(&f);
	cr_assert_eq(stat_get(f.stat, STAT_delivery_local), 1);
	cr_assert(span_eq(fake_store_bytes(f.store, f.alice, "INBOX", 0), SPAN("x\r\n\r\n")));
	cr_assert_eq(fake_store_bytes(f.store, f.alice, "INBOX", 1).len, 0);
	struct queue_job *job = fix_claim(&f, 0, 0);
	cr_assert_null(queue_job_body(job), "not given: from the store");
	cr_assert_eq(job->blob.size, 5);
	cr_assert(queue_release(f.q[0], &job));
	fix_fini(&f);
}

Test(queue, failed_commit_leaves_nothing)
{
	static struct fix f;
	static const enum err errs[] = {ERR_NO_SPACE, ERR_NOT_FOUND};
	fix_init(&f, 1);
	for (size_t i = 0; i < ARRAY_LEN(errs); i++) {
		fake_store_fail(f.store, STORE_COMMIT, errs[i], 1);
		fix_submit(&f, 0, 0, 2, 1);
		cr_assert_eq(fix_items(&f, NULL), 0);
		cr_assert_null(fix_claim(&f, 0, 0));
		cr_assert(!queue_broken(f.q[0]));
	}
	fake_store_fail(f.store, STORE_COMMIT, ERR_IO, 1);
	fix_submit(&f, 0, 0, 2, 1);
	cr_assert(queue_broken(f.q[0]));
	fix_fini(&f);
}

/* retry_min, doubled, at most retry_max, up to an eighth more; then the end of the item's time. */
Test(queue, retry_times_and_expiry)
{
	static struct fix f;
	static const unsigned wait_s[] = {300, 600, 1200, 2400, 3600, 3600, 3600};
	fix_init(&f, 1);
	fix_submit(&f, 0, 0, 1, 1);
	for (unsigned i = 0; i < ARRAY_LEN(wait_s); i++) {
		struct queue_job *job = fix_claim(&f, 0, 0);
		cr_assert_not_null(job, "try %u", i);
		cr_assert_eq(job->st.tries, i);
		cr_assert((queue_job_body(job) != NULL) == (i == 0), "a deferred body is not held");
		job->st.tries++;
		job->st.last = SPAN("451 later");
		queue_settle(f.q[0], &job);
		fix_run(&f);
		uint64_t due = queue_next_us(f.q[0]);
		cr_assert_geq(due, f.wall_us + wait_s[i] * 1000000ull);
		cr_assert_leq(due, f.wall_us + wait_s[i] * 1125000ull);
		cr_assert_eq(fake_store_qitem(f.store, 0)->due_us, due, "as durable as the rest");
		f.wall_us = due - 1;
		fix_run(&f);
		cr_assert_null(fix_claim(&f, 0, 0));
		f.wall_us = due;
		fix_run(&f);
	}
	cr_assert_null(queue_claim_expired(f.q[0]));
	f.wall_us = WALL_US + 86400ull * 1000000;
	fix_run(&f);
	struct queue_job *job = queue_claim_expired(f.q[0]);
	cr_assert_not_null(job);
	cr_assert(job->expired);
	cr_assert_null(fix_claim(&f, 0, 0));
	job->st.rcpt[0].state = QUEUE_FAILED;
	job->report = QUEUE_FAILED;
	job->forget = true;
	queue_settle(f.q[0], &job);
	fix_run(&f);
	cr_assert_eq(fix_items(&f, NULL), 0);
	cr_assert_null(fake_store_qitem(f.store, 0));
	fix_fini(&f);
}

/* A site with a thousand items has its turn, and no more, beside one with a single item. */
Test(queue, sites_take_turns)
{
	static struct fix f;
	fix_init(&f, 1);
	for (unsigned i = 0; i < 60; i++)
		fix_submit(&f, 0, 0, 1, 1);
	fix_submit(&f, 0, 1, 2, 1);
	cr_assert_eq(queue_sites_ready(f.q[0]), 3);
	unsigned seen[3] = {0};
	for (unsigned i = 0; i < 3; i++) {
		struct queue_site *s = queue_site_round(f.q[0]);
		for (unsigned k = 0; k < 3; k++) {
			struct queue_site_key key = fix_site(k);
			seen[k] += ip_eq(&s->key.host, &key.host);
		}
		struct queue_job *job = queue_claim(f.q[0], s);
		job->st.rcpt[0].state = QUEUE_DONE;
		queue_settle(f.q[0], &job);
	}
	cr_assert(seen[0] == 1 && seen[1] == 1 && seen[2] == 1);
	fix_run(&f);
	cr_assert_eq(queue_sites_ready(f.q[0]), 1);
	cr_assert_eq(fix_items(&f, NULL), 59);
	fix_fini(&f);
}

Test(queue, items_survive_a_restart)
{
	static struct fix f;
	uint64_t rcpts;
	fix_init(&f, 1);
	fix_submit(&f, 0, 0, 4, 2);
	struct queue_job *job = fix_claim(&f, 0, 2);
	job->st.rcpt[0].state = QUEUE_DONE;
	job->st.tries = 5;
	job->st.last = SPAN("450 x");
	queue_settle(f.q[0], &job);
	fix_run(&f);
	job = fix_claim(&f, 0, 3); /* its outcome is not written down: tried again */
	job->st.rcpt[0].state = QUEUE_DONE;
	cr_assert(queue_release(f.q[0], &job));
	queue_destroy(&f.q[0]);
	fix_queues(&f, 2); /* with more workers: each finds its own */
	fix_load(&f);
	cr_assert_eq(fix_items(&f, &rcpts), 4);
	cr_assert_eq(rcpts, 7);
	f.wall_us += 2 * 3600ull * 1000000;
	fix_run(&f);
	struct queue_site_key k = fix_site(2);
	for (unsigned w = 0; w < 2; w++) {
		job = queue_claim(f.q[w], queue_site_get(f.q[w], &k));
		if (job == NULL)
			continue;
		cr_assert_eq(job->st.tries, 5);
		cr_assert_eq(job->st.n_rcpt, 1);
		cr_assert(span_eq(job->st.last, SPAN("450 x")));
		cr_assert(queue_release(f.q[w], &job));
		k.port = 0;
	}
	cr_assert_eq(k.port, 0, "one of them has it");
	fix_fini(&f);
}

/* Items go to the worker that owns the site, over rings that may be full. */
Test(queue, mesh)
{
	static struct fix f;
	fix_init(&f, 3);
	unsigned total = 0;
	for (unsigned w = 0; w < 3; w++)
		for (unsigned i = 0; i < 10; i++, total += 100)
			fix_submit(&f, w, 0, 100, 1);
	cr_assert_eq(fix_items(&f, NULL), total);
	unsigned found = 0;
	for (unsigned s = 0; s < 100; s++) {
		unsigned owners = 0;
		for (unsigned w = 0; w < 3; w++) {
			struct queue_job *job;
			unsigned n = 0;
			while ((job = fix_claim(&f, w, s)) != NULL) {
				job->st.rcpt[0].state = QUEUE_DONE;
				queue_settle(f.q[w], &job);
				n++;
			}
			owners += n > 0;
			found += n;
		}
		cr_assert_eq(owners, 1);
		fix_run(&f);
	}
	cr_assert_eq(found, total);
	cr_assert_eq(fix_items(&f, NULL), 0);
	fix_fini(&f);
}

Test(queue, mesh_overflow_waits)
{
	static struct fix f;
	fix_init(&f, 2);
	struct queue *other = f.q[1];
	f.n = 1; /* the second worker sleeps */
	for (unsigned i = 0; i < 30; i++)
		fix_submit(&f, 0, 0, 200, 1);
	uint64_t mine = fix_items(&f, NULL);
	cr_assert_lt(mine, 6000 - 1024, "more than the ring holds is for the other");
	f.n = 2;
	f.q[1] = other;
	for (unsigned i = 0; i < 10; i++)
		fix_run(&f);
	cr_assert_eq(fix_items(&f, NULL), 6000);
	fix_fini(&f);
}

/* What an operator's expression may ask of a row. */
struct choice {
	const char *from, *rcpt, *site;
	unsigned due_tries;
};

static bool chosen(const void *arg, const struct queue_row *r)
{
	const struct choice *c = arg;
	bool any = c->rcpt == NULL;
	for (unsigned i = 0; i < r->n_rcpt && !any; i++)
		any = strcmp(c->rcpt, r->rcpt[i]) == 0;
	return any && (c->from == NULL || strcmp(c->from, r->from) == 0) && (c->site == NULL || strcmp(c->site, r->site) == 0) &&
	       r->tries >= c->due_tries;
}

#define CHOSEN(...) (&(struct queue_filter){.match = chosen, .arg = &(struct choice){__VA_ARGS__}})

static void count(void *arg, const struct queue_row *r)
{
	unsigned *n = arg;
	cr_assert_str_eq(r->from, "a@example.net");
	cr_assert_gt(r->n_rcpt, 0);
	cr_assert_eq(r->size, 20);
	(*n)++;
}

Test(queue, operators)
{
	static struct fix f;
	fix_init(&f, 1);
	fix_submit(&f, 0, 0, 5, 2);
	static const struct {
		struct choice c;
		unsigned n;
	} row[] = {
		{{0}, 5},
		{{.rcpt = "r1@s3.example"}, 1},
		{{.rcpt = "r1@s9.example"}, 0},
		{{.from = "a@example.net"}, 5},
		{{.site = "198.18.0.2:25"}, 1},
		{{.due_tries = 1}, 0},
		{{.rcpt = "r1@s3.example", .site = "198.18.0.2:25"}, 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		unsigned n = 0;
		cr_expect_eq(queue_list(f.q[0], &(struct queue_filter){chosen, &row[i].c, false}, 100, count, &n), row[i].n,
			     "row %zu", i);
		cr_expect_eq(n, row[i].n, "row %zu", i);
	}
	unsigned every = 0;
	cr_assert_eq(queue_list(f.q[0], &(struct queue_filter){.all = false}, 100, count, &every), 5, "a list needs no filter");
	unsigned n = 0;
	cr_assert_eq(queue_list(f.q[0], &(struct queue_filter){.all = true}, 3, count, &n), 3);
	/* put one off, bring it back, then remove it and another */
	struct queue_job *job = fix_claim(&f, 0, 3);
	cr_assert_eq(queue_remove(f.q[0], CHOSEN(.rcpt = "r1@s3.example")), 0, "it is being delivered");
	job->st.tries = 1;
	queue_settle(f.q[0], &job);
	fix_run(&f);
	cr_assert_null(fix_claim(&f, 0, 3));
	cr_assert_eq(queue_retry(f.q[0], &(struct queue_filter){.all = false}), 0, "nothing chosen, nothing done");
	cr_assert_eq(queue_retry(f.q[0], CHOSEN(.rcpt = "r1@s3.example")), 1);
	job = fix_claim(&f, 0, 3);
	cr_assert_not_null(job);
	cr_assert(queue_release(f.q[0], &job));
	cr_assert_eq(queue_remove(f.q[0], &(struct queue_filter){.all = false}), 0);
	cr_assert_eq(queue_remove(f.q[0], CHOSEN(.rcpt = "r1@s3.example")), 1);
	cr_assert_null(fix_claim(&f, 0, 3));
	fix_run(&f);
	cr_assert_eq(fix_items(&f, NULL), 4);
	cr_assert_eq(queue_remove(f.q[0], &(struct queue_filter){.all = true}), 4);
	fix_run(&f);
	cr_assert_eq(fix_items(&f, NULL), 0);
	cr_assert_null(fake_store_qitem(f.store, 0));
	fix_fini(&f);
}

/* Bodies are held within a quarter of the packets; beyond it the store is read. */
Test(queue, bodies_are_bounded)
{
	static struct fix f;
	fix_init(&f, 1);
	for (unsigned i = 0; i < 1100; i++)
		fix_submit(&f, 0, i % 3, 1, 1);
	unsigned held = 0;
	for (unsigned s = 0; s < 3; s++) {
		struct queue_job *job;
		while ((job = fix_claim(&f, 0, s)) != NULL) {
			held += queue_job_body(job) != NULL;
			job->st.rcpt[0].state = QUEUE_DONE;
			queue_settle(f.q[0], &job);
		}
		fix_run(&f);
	}
	cr_assert_eq(held, 4096 / 4);
	cr_assert_eq(fix_items(&f, NULL), 0);
	fix_submit(&f, 0, 0, 1, 1);
	struct queue_job *job = fix_claim(&f, 0, 0);
	cr_assert_not_null(queue_job_body(job), "the room came back");
	cr_assert(queue_release(f.q[0], &job));
	fix_fini(&f);
}

/* No op free: outcomes wait and are not lost. */
Test(queue, outcomes_wait_for_ops)
{
	static struct fix f;
	fix_init(&f, 1);
	for (unsigned i = 0; i < 50; i++)
		fix_submit(&f, 0, 0, 1, 1);
	fake_store_hold(f.store, true);
	struct queue_job *job;
	while ((job = fix_claim(&f, 0, 0)) != NULL) {
		job->st.rcpt[0].state = QUEUE_DONE;
		queue_settle(f.q[0], &job);
	}
	cr_assert_eq(fix_items(&f, NULL), 50);
	fake_store_hold(f.store, false);
	fix_run(&f);
	cr_assert_eq(fix_items(&f, NULL), 0);
	fix_fini(&f);
}

Test(queue, no_room_for_an_outcome_waits)
{
	static struct fix f;
	fix_init(&f, 1);
	fix_submit(&f, 0, 0, 1, 1);
	struct queue_job *job = fix_claim(&f, 0, 0);
	job->st.rcpt[0].state = QUEUE_DONE;
	fake_store_fail(f.store, STORE_COMMIT, ERR_NO_SPACE, 1);
	queue_settle(f.q[0], &job);
	fix_run(&f);
	cr_assert_eq(fix_items(&f, NULL), 1);
	cr_assert_null(fix_claim(&f, 0, 0));
	f.wall_us += 2000000;
	fix_run(&f);
	cr_assert_eq(fix_items(&f, NULL), 0);
	fix_fini(&f);
}

Test(queue, release_is_bounded)
{
	static struct fix f;
	fix_init(&f, 1);
	fix_submit(&f, 0, 0, 1, 1);
	struct queue_job *job = NULL;
	for (unsigned i = 0; i < 3; i++) {
		job = fix_claim(&f, 0, 0);
		cr_assert(queue_release(f.q[0], &job));
	}
	job = fix_claim(&f, 0, 0);
	cr_assert(!queue_release(f.q[0], &job));
	queue_settle(f.q[0], &job);
	fix_fini(&f);
}

Test(queue, head_from_memory_and_store)
{
	static struct fix f;
	fix_init(&f, 1);
	fix_submit(&f, 0, 0, 1, 1);
	for (unsigned i = 0; i < 3; i++) {
		struct queue_job *job = fix_claim(&f, 0, 0);
		if (i == 2)
			fake_store_fail(f.store, STORE_READ, ERR_CORRUPT, 1);
		queue_read_head(f.q[0], &job);
		fix_run(&f);
		job = queue_headed(f.q[0]);
		cr_assert_not_null(job);
		cr_assert(span_eq(buf_span(&job->head), i == 2 ? SPAN("") : SPAN("Subject: x\r\n\r\nbody\r\n")));
		job->st.tries = 1;
		queue_settle(f.q[0], &job);
		fix_run(&f);
		f.wall_us += 400000000;
		fix_run(&f);
	}
	fix_fini(&f);
}

/* The program stops while an outcome waits for the report on it: who has the message does not get it again. */
Test(queue, outcomes_at_the_end)
{
	static struct fix f;
	static struct queue_state st;
	fix_init(&f, 1);
	fix_submit(&f, 0, 0, 3, 3);
	for (unsigned s = 0; s < 3; s++) { /* out of memory */
		struct queue_job *job = fix_claim(&f, 0, s);
		job->st.tries = 1;
		queue_settle(f.q[0], &job);
	}
	fix_run(&f);
	f.wall_us += 400000000;
	fix_run(&f);
	fake_store_hold(f.store, true);
	for (unsigned s = 0; s < 3; s++) {
		struct queue_job *job = fix_claim(&f, 0, s);
		job->st.rcpt[0].state = QUEUE_DONE;
		job->st.rcpt[1].state = s == 2 ? QUEUE_PENDING : QUEUE_FAILED;
		if (s == 2)
			queue_settle(f.q[0], &job);
		else
			queue_read_head(f.q[0], &job);
	}
	queue_stop(f.q[0]);
	queue_destroy(&f.q[0]);
	f.n = 0;
	fake_store_hold(f.store, false);
	while (store_step(f.store))
		;
	for (unsigned i = 0; i < 3; i++) {
		const struct store_qitem *it = fake_store_qitem(f.store, i);
		cr_assert_not_null(it);
		cr_assert_eq(queue_state_read(it->state, &st), ERR_OK);
		cr_expect_eq(st.n_rcpt, 2);
		cr_expect(span_eq(span_head(st.rcpt[0].addr, 2), SPAN("r1")));
		cr_expect_eq(st.rcpt[0].state, i == 2 ? QUEUE_PENDING : QUEUE_FAILED);
		cr_expect_eq(st.rcpt[1].state, QUEUE_PENDING);
	}
	fix_fini(&f);
}
