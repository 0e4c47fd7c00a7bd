/*
 * store.c: opening and closing, the storage thread's turn, and helper threads.
 *
 * One turn: take what the disk finished, complete what became durable, look after segments and the checkpoint,
 * take new ops from the cores' rings, and close the group when nothing is in flight. The thread sleeps in the
 * disk's wait when a turn found nothing. Rings are drained in the order of each core; an op that must wait for
 * room stays in `held` and stops the draining, so order is kept and rings give back-pressure.
 * The helper threads make segments of zeros and write checkpoints; they live only as long as their job, touch
 * nothing of the store but the job, and in single-step mode (tests) run inside job_start.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "log.h"
#include "rcu.h"
#include "store_int.h"

#define OPS_PER_TURN 512u /* of one core */
#define SLEEP_US     200000u
#define GAUGES_US    2000u

uint64_t store_wall_us(const struct store *s)
{
	return s->conf.wall_us ? s->conf.wall_us(s->conf.wall_arg) : clock_wall_us();
}

void op_list_push(struct op_list *l, struct op_int *o)
{
	o->next = NULL;
	if (l->tail)
		l->tail->next = o;
	else
		l->head = o;
	l->tail = o;
}

struct op_int *op_list_pop(struct op_list *l)
{
	struct op_int *o = l->head;
	if (o) {
		l->head = o->next;
		if (!l->head)
			l->tail = NULL;
	}
	return o;
}

/* ---- completion ---- */

void op_complete(struct store *s, struct op_int *o, enum err e)
{
	if (s->failed)
		e = ERR_IO;
	if (e == ERR_OK)
		account_published(s, o);
	else
		account_discard(o);
	o->op.err = e;
	if (s->conf.stat) {
		stat_inc(s->conf.stat, STAT_store_ops);
		if (e != ERR_OK)
			stat_inc(s->conf.stat, STAT_store_failed);
	}
	CHECK(spsc_push(&o->op.core->done, o));
	o->op.core->news = true;
}

void op_complete_at(struct store *s, struct op_int *o, enum err e, uint64_t seq)
{
	if (s->failed || (seq <= s->durable && !s->wait.head)) {
		op_complete(s, o, e);
		return;
	}
	o->op.err = e;
	/* In order: nobody overtakes one that waits for less. */
	o->need_seq = s->wait.tail && s->wait.tail->need_seq > seq ? s->wait.tail->need_seq : seq;
	op_list_push(&s->wait, o);
}

static bool complete_durable(struct store *s)
{
	bool did = false;
	while (s->wait.head && (s->wait.head->need_seq <= s->durable || s->failed)) {
		struct op_int *o = op_list_pop(&s->wait);
		op_complete(s, o, o->op.err);
		did = true;
	}
	return did;
}

void store_fail(struct store *s, const char *what, enum err e)
{
	if (s->failed)
		return;
	log_error("store: %s: %s failed (%s): nothing more is accepted until the program is started again",
		  s->conf.path, what, err_text(e));
	s->failed = true;
	atomic_store_explicit(&s->g.failed, true, memory_order_relaxed);
}

/* ---- jobs ---- */

static void *job_main(void *arg)
{
	struct job *j = arg;
	j->run(j);
	atomic_store_explicit(&j->state, JOB_DONE, memory_order_release);
	j->s->disk->ops->wake(j->s->disk);
	return NULL;
}

void job_start(struct store *s, struct job *j)
{
	j->s = s;
	atomic_store_explicit(&j->state, JOB_RUNNING, memory_order_relaxed);
	if (s->threaded && pthread_create(&j->thread, NULL, job_main, j) == 0)
		return;
	j->run(j);
	j->thread = pthread_self();
	atomic_store_explicit(&j->state, JOB_DONE, memory_order_relaxed);
}

void job_wait(struct job *j)
{
	if (atomic_load_explicit(&j->state, memory_order_acquire) == JOB_IDLE)
		return;
	if (!pthread_equal(j->thread, pthread_self()))
		pthread_join(j->thread, NULL);
	j->thread = pthread_self();
}

bool job_finished(struct store *s, struct job *j)
{
	if (atomic_load_explicit(&j->state, memory_order_acquire) != JOB_DONE)
		return false;
	job_wait(j);
	atomic_store_explicit(&j->state, JOB_IDLE, memory_order_relaxed);
	return true;
}

/* ---- the turn ---- */

static bool reap(struct store *s)
{
	struct disk_req *done[64];
	unsigned n = s->disk->ops->poll(s->disk, done, ARRAY_LEN(done));
	for (unsigned i = 0; i < n; i++) {
		if (done[i] == &s->gc.req)
			gc_read_done(s);
		else if (done[i]->verb == DISK_READ)
			store_read_done(s, done[i]);
		else
			log_written(s, done[i]);
	}
	if (s->read_wait.head)
		read_more(s);
	return n > 0;
}

/* False: it must wait for room. */
static bool op_run(struct store *s, struct op_int *o)
{
	if (s->failed) {
		op_complete(s, o, ERR_IO);
		return true;
	}
	switch (o->op.verb) {
	case STORE_BODY:
		return body_op(s, o);
	case STORE_COMMIT:
		return commit_op(s, o);
	case STORE_READ:
		read_op(s, o);
		return true;
	default:
		return view_op(s, o);
	}
}

/* A pointer with its lowest bit set asks for the end of a watch. */
static void op_cancel(struct store *s, struct store_core *c, uintptr_t tagged)
{
	struct op_int *o = (struct op_int *)(tagged & ~(uintptr_t)1);
	uint32_t i = pool_index(&c->pool, o);
	if (c->watching[i])
		view_cancel(s, o);
}

static bool take_core(struct store *s, struct store_core *c)
{
	unsigned n = 0;
	void *p;
	while (n < OPS_PER_TURN && !s->held && (p = spsc_pop(&c->sub))) {
		n++;
		if ((uintptr_t)p & 1)
			op_cancel(s, c, (uintptr_t)p);
		else if (!op_run(s, p))
			s->held = p;
	}
	return n > 0;
}

static bool take_ops(struct store *s)
{
	bool did = false;
	if (s->held) {
		struct op_int *o = s->held;
		s->held = NULL;
		if (!op_run(s, o)) {
			s->held = o;
			return false;
		}
		did = true;
	}
	for (unsigned i = 0; i < s->conf.n_cores; i++)
		did |= take_core(s, &s->core[(i + s->seq_next) % s->conf.n_cores]);
	return did;
}

/* Parts of messages whose end never came. */
static void drop_old_parts(struct store *s)
{
	uint64_t now = store_wall_us(s);
	while (!list_empty(&s->ix.unref)) {
		struct blob *b = LIST_ENTRY(s->ix.unref.next, struct blob, unref);
		if (b->touched_us + PART_KEEP_US > now)
			break;
		s->ix.seq = log_seq(s);
		index_blob_drop(&s->ix, b);
		s->reclaim = true;
	}
}

static void gauges(struct store *s)
{
	struct store_gauges *g = &s->g;
	uint64_t live = 0, dead = 0, segs = 0;
	for (uint32_t i = 0; i < s->n_seg; i++) {
		live += s->ix.seg[i].live;
		dead += s->seg[i].state == SEG_FULL ? s->seg[i].size - s->ix.seg[i].live : 0;
		segs += s->seg[i].file != NULL;
	}
	const struct { _Atomic uint64_t *to; uint64_t v; } row[] = {
		{&g->segments, segs},
		{&g->segments_free, s->n_free},
		{&g->live_bytes, live},
		{&g->dead_bytes, dead},
		{&g->blobs, s->ix.n_blob},
		{&g->queue_items, s->ix.n_item},
		{&g->accounts, s->ix.n_acct},
		{&g->messages, s->ix.n_msg},
		{&g->disk_free, s->disk_free},
		{&g->cpu_ns, clock_thread_cpu_ns()},
	};
	for (unsigned i = 0; i < ARRAY_LEN(row); i++)
		atomic_store_explicit(row[i].to, row[i].v, memory_order_relaxed);
	atomic_store_explicit(&g->full, s->full, memory_order_relaxed);
}

/* Who naps for want of work has some now. */
static void wake_cores(struct store *s)
{
	for (unsigned i = 0; i < s->conf.n_cores; i++) {
		struct store_core *c = &s->core[i];
		if (c->news && s->conf.nap)
			nap_wake(&s->conf.nap[i]);
		c->news = false;
	}
}

bool store_step(struct store *s)
{
	if (!s->attached) {
		s->attached = true;
		enum err e = s->disk->ops->attach(s->disk);
		if (e != ERR_OK)
			store_fail(s, "setting up disk I/O", e);
	}
	bool did = reap(s);
	did |= complete_durable(s);
	did |= seg_turn(s);
	did |= checkpoint_turn(s);
	bool took = take_ops(s);
	did |= took;
	did |= gc_turn(s, !took && s->n_flight == 0);
	if (s->open && s->open->records > 0 && s->n_flight == 0 && !s->failed) {
		log_close(s);
		did = true;
	}
	did |= complete_durable(s);
	if (s->rcu_pending && !did)
		s->rcu_pending = rcu_reclaim(s->conf.rcu) > 0;
	if (!list_empty(&s->ix.unref))
		drop_old_parts(s);
	wake_cores(s);
	return did;
}

static bool rings_empty(const struct store *s)
{
	for (unsigned i = 0; i < s->conf.n_cores; i++) {
		if (!spsc_empty(&s->core[i].sub))
			return false;
	}
	return true;
}

/* Sleeps until the disk or a core has something. A core looks at `sleeping` after it filled its ring, we
 * look at the rings after we set it: one of the two sees the other. */
static void sleep_turn(struct store *s)
{
	enum sleep_state how = s->n_flight > 0 ? ASLEEP_FLIGHT : ASLEEP_IDLE;
	atomic_store_explicit(&s->sleeping, how, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
	if ((s->held || rings_empty(s)) && !atomic_load_explicit(&s->stop, memory_order_relaxed))
		s->disk->ops->wait(s->disk, SLEEP_US);
	atomic_store_explicit(&s->sleeping, AWAKE, memory_order_relaxed);
}

/* All that was submitted, then a checkpoint, unless a write failed. */
static void finish(struct store *s)
{
	s->gc.stop = true;
	do {
		while (store_step(s) || s->n_flight > 0 || s->reads > 0) {
			if (s->n_flight > 0 || s->reads > 0)
				s->disk->ops->wait(s->disk, 1000);
		}
		job_wait(&s->zero);
		job_wait(&s->ckpt);
		if (s->held && !store_step(s)) { /* there is no room for it, and none will come */
			op_complete(s, s->held, ERR_SHUTDOWN);
			s->held = NULL;
		}
	} while (s->held || !rings_empty(s));
	view_close(s);
	(void)complete_durable(s);
	if (!s->failed && s->seq_closed > s->ckpt_seq) {
		s->ckpt_want = true;
		s->ckpt_retry_us = 0;
		while (store_step(s))
			;
		job_wait(&s->ckpt);
		(void)checkpoint_turn(s);
	}
	job_wait(&s->zero);
	(void)seg_turn(s);
	job_wait(&s->zero);
	(void)seg_turn(s);
	buf_fini(&s->ckpt.buf);
	if (s->zero.file)
		s->disk->ops->file_close(s->disk, &s->zero.file);
}

static void *thread_main(void *arg)
{
	struct store *s = arg;
	uint64_t told_us = 0;
	while (!atomic_load_explicit(&s->stop, memory_order_acquire)) {
		bool did = store_step(s);
		uint64_t now = clock_us();
		if (now - told_us >= GAUGES_US) {
			told_us = now;
			gauges(s);
		}
		/* With a group in flight its end wakes us: what a turn left over can wait for that. The new group
		 * is submitted by the same system call that sleeps. */
		if (!did || s->n_flight > 0)
			sleep_turn(s);
	}
	finish(s); /* here: the ring belongs to this thread */
	return NULL;
}

/* ---- opening and closing ---- */

static uint32_t pow2(uint32_t n)
{
	uint32_t p = 2;
	while (p < n)
		p *= 2;
	return p;
}

static void cores_init(struct store *s)
{
	s->core = calloc(s->conf.n_cores, sizeof(*s->core));
	CHECK(s->core);
	for (unsigned i = 0; i < s->conf.n_cores; i++) {
		struct store_core *c = &s->core[i];
		c->s = s;
		c->id = i;
		pool_init(&c->pool, s->conf.ops_per_core, sizeof(struct op_int));
		spsc_init(&c->sub, pow2(2 * s->conf.ops_per_core + 1)); /* an op and its cancellation */
		spsc_init(&c->done, pow2(s->conf.ops_per_core + 1));
		c->watching = calloc(s->conf.ops_per_core, 1);
		CHECK(c->watching);
	}
}

static void cores_fini(struct store *s)
{
	for (unsigned i = 0; i < s->conf.n_cores; i++) {
		struct store_core *c = &s->core[i];
		for (uint32_t j = 0; j < c->pool.high; j++) {
			struct op_int *o = pool_find(&c->pool, j, c->pool.gen[j]);
			if (!o || !o->in_use)
				continue;
			struct store_op *op = &o->op;
			store_op_free(&op);
		}
		pool_fini(&c->pool);
		spsc_fini(&c->sub);
		spsc_fini(&c->done);
		free(c->watching);
	}
	free(s->core);
}

static void conf_defaults(struct store_conf *c)
{
	c->ops_per_core = c->ops_per_core ? c->ops_per_core : 4096;
	c->segment_size = c->segment_size ? c->segment_size : 64u << 20;
	c->checkpoint_bytes = c->checkpoint_bytes ? c->checkpoint_bytes : 256u << 20;
	c->disk = c->disk ? c->disk : &disk_uring_ops;
	c->segment_size = c->segment_size / DISK_BLOCK * DISK_BLOCK;
	CHECK(c->n_cores > 0 && c->n_cores <= THREAD_CORE && c->segment_size >= 4 * DISK_BLOCK &&
	      c->segment_size <= 1u << 30);
}

/* Smaller segments where there is little room, so that one can be written while others become free. */
static void fit_segments(struct store *s)
{
	uint64_t room = s->conf.size_max, free_bytes;
	if (room == 0 && s->disk->ops->space(s->disk, &free_bytes) == ERR_OK)
		room = s->seg_bytes + (free_bytes > s->conf.free_min ? free_bytes - s->conf.free_min : 0);
	uint64_t most = room / SEGMENTS_WANTED / DISK_BLOCK * DISK_BLOCK;
	if (most < SEGMENT_MIN)
		most = SEGMENT_MIN;
	if (s->conf.segment_size > most)
		s->conf.segment_size = most;
}

/* The first segments, before anything is served. */
static enum err first_segments(struct store *s, char *why, size_t why_size)
{
	uint32_t slot = 0;
	enum err e = ERR_OK;
	while (s->n_free <= LOG_GROWTH && e == ERR_OK) {
		char name[DISK_NAME_MAX + 1];
		struct disk_file *f;
		uint64_t room = 0;
		(void)s->disk->ops->space(s->disk, &room);
		bool must = s->n_free == 0 && s->cur == UINT32_MAX; /* else the limits hold here, too */
		if ((s->conf.size_max && s->seg_bytes + s->conf.segment_size > s->conf.size_max) ||
		    (!must && room < s->conf.free_min + s->conf.segment_size))
			break;
		while (slot < s->n_seg && s->seg[slot].file)
			slot++;
		seg_name(name, slot);
		e = disk_zero_file(s->disk, name, s->conf.segment_size, &f);
		if (e == ERR_OK)
			seg_add(s, slot, f, SEG_FREE);
	}
	if (s->n_free > 0 || s->cur != UINT32_MAX)
		return ERR_OK;
	(void)snprintf(why, why_size, "%s: cannot make the first segments of %llu bytes: %s", s->conf.path,
		       (unsigned long long)s->conf.segment_size, err_text(e == ERR_OK ? ERR_NO_SPACE : e));
	return e == ERR_OK ? ERR_NO_SPACE : e;
}

void store_free(struct store *s)
{
	account_fini(s);
	index_fini(&s->ix);
	batch_fini(&s->batch);
	cores_fini(s);
	log_fini(s);
	gc_fini(s);
	for (uint32_t i = 0; i < s->n_seg; i++) {
		if (s->seg[i].file)
			s->disk->ops->file_close(s->disk, &s->seg[i].file);
	}
	s->disk->ops->close(&s->disk);
	free(s->seg);
	free(s->scan);
	free(s);
}

enum err store_make(struct store **out, const struct store_conf *conf, char *why, size_t why_size)
{
	struct store_conf c = *conf;
	struct disk *d;
	conf_defaults(&c);
	enum err e = c.disk->open(&d, c.path, c.disk_arg, why, why_size);
	if (e != ERR_OK)
		return e;
	struct store *s = calloc(1, sizeof(*s));
	CHECK(s);
	s->conf = c;
	s->disk = d;
	s->cur = s->gc.victim = UINT32_MAX;
	rnd_seed_os(&s->rnd);
	index_init(&s->ix);
	cores_init(s);
	*out = s;
	return ERR_OK;
}

enum err store_open(struct store **out, const struct store_conf *conf, char *why, size_t why_size)
{
	struct store *s;
	enum err e = store_make(&s, conf, why, why_size);
	if (e != ERR_OK)
		return e;
	e = recover(s, why, why_size);
	if (e == ERR_OK) {
		fit_segments(s);
		e = first_segments(s, why, why_size);
	}
	if (e != ERR_OK) {
		store_free(s);
		return e;
	}
	s->boot = (uint16_t)(s->boot + 1 ? s->boot + 1 : 1);
	s->oid_next = (store_id)s->boot << 48 | (store_id)THREAD_CORE << 40 | 1;
	s->ix.changed = view_changed;
	s->ix.publish = account_publish;
	s->ix.arg = s;
	s->zero.s = s->ckpt.s = s;
	account_init(s);
	commit_boot(s);
	gauges(s);
	*out = s;
	return ERR_OK;
}

enum err store_start(struct store *s)
{
	s->threaded = true;
	if (pthread_create(&s->thread, NULL, thread_main, s) != 0) {
		s->threaded = false;
		return ERR_NO_MEMORY;
	}
	(void)pthread_setname_np(s->thread, "storage");
	if (s->conf.cpu >= 0) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET(s->conf.cpu, &set);
		if (pthread_setaffinity_np(s->thread, sizeof(set), &set) != 0)
			log_warn("store: cannot pin the storage thread to cpu %d", s->conf.cpu);
	}
	return ERR_OK;
}

void store_close(struct store **sp)
{
	struct store *s = *sp;
	if (!s)
		return;
	if (s->threaded) {
		atomic_store_explicit(&s->stop, true, memory_order_release);
		s->disk->ops->wake(s->disk);
		pthread_join(s->thread, NULL);
	} else {
		finish(s);
	}
	store_free(s);
	*sp = NULL;
}

void store_stats(struct store *s, struct store_stats *out)
{
	if (!s->threaded)
		gauges(s);
	const struct store_gauges *g = &s->g;
	*out = (struct store_stats){0};
	const struct { uint64_t *to; const _Atomic uint64_t *from; } row[] = {
		{&out->groups, &g->groups},
		{&out->group_bytes, &g->group_bytes},
		{&out->records, &g->records},
		{&out->flush_us_sum, &g->flush_us_sum},
		{&out->flush_us_max, &g->flush_us_max},
		{&out->segments, &g->segments},
		{&out->segments_free, &g->segments_free},
		{&out->live_bytes, &g->live_bytes},
		{&out->dead_bytes, &g->dead_bytes},
		{&out->blobs, &g->blobs},
		{&out->queue_items, &g->queue_items},
		{&out->accounts, &g->accounts},
		{&out->messages, &g->messages},
		{&out->recovered_records, &g->recovered_records},
		{&out->recovered_us, &g->recovered_us},
		{&out->cpu_ns, &g->cpu_ns},
		{&out->disk_free, &g->disk_free},
	};
	for (unsigned i = 0; i < ARRAY_LEN(row); i++)
		*row[i].to = atomic_load_explicit(row[i].from, memory_order_relaxed);
	out->flush_us_p50 = log_flush_us(s, 500);
	out->flush_us_p90 = log_flush_us(s, 900);
	out->flush_us_p99 = log_flush_us(s, 990);
	out->failed = atomic_load_explicit(&g->failed, memory_order_relaxed);
	out->full = atomic_load_explicit(&g->full, memory_order_relaxed);
}
