/*
 * worker_start.c: brings the data plane up in order and takes it down in exactly the reverse order.
 *
 * Order: EAL, packet pools, ports, certificates, RCU, store (recovery), password helpers, workers with their layers,
 * the queue's items, listeners, threads. A step that fails undoes all before it and leaves one line.
 */
#include "worker_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "log.h"
#include "mail_addr.h"

#define OPS_SPARE    4096 /* store operations a worker beside one for each session */
#define QUEUE_PAGE   1024
#define AUTH_THREADS 1

static enum err fail(char *why, size_t why_size, enum err e, const char *fmt, ...) PRINTF(4, 5);
static enum err fail(char *why, size_t why_size, enum err e, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(why, why_size, fmt, ap);
	va_end(ap);
	return e;
}

/* ---- one worker ---- */

static void worker_destroy(struct worker **wp)
{
	struct worker *w = *wp;
	*wp = NULL;
	if (w == NULL)
		return;
	if (w->delivery != NULL)
		delivery_destroy(&w->delivery);
	if (w->env.queue != NULL)
		queue_destroy(&w->env.queue);
	if (w->tcp != NULL)
		tcp_destroy(&w->tcp);
	if (w->net != NULL)
		net_destroy(&w->net);
	for (unsigned i = 0; i < w->n_port; i++)
		port_core_destroy(&w->port[i]);
	worker_sessions_fini(w);
	tls_core_destroy(&w->env.tls);
	spsc_fini(&w->cmd);
	spsc_fini(&w->reply);
	free(w);
}

static struct tcp_conf tcp_conf_of(const struct conf *c)
{
	struct tcp_conf t = tcp_conf_default();
	t.conns_max = c->connections;
	t.mss_max = (uint16_t)c->tcp_mss;
	t.ecn = (uint8_t)c->tcp_ecn;
	t.pacing = c->tcp_pacing;
	if (c->tcp_window != 0)
		t.rcv_buf = c->tcp_window;
	t.syn_backlog = c->tcp_syn_backlog;
	t.syn_cookies = c->tcp_syn_cookies;
	t.syn_net_rate = c->tcp_syn_network_rate;
	return t;
}

static struct worker *worker_create(struct veredus *v, unsigned id)
{
	const struct conf *c = v->conf;
	struct worker *w = NULL;
	if (posix_memalign((void **)&w, 64, sizeof(*w)) != 0)
		return NULL;
	memset(w, 0, sizeof(*w));
	w->v = v;
	w->id = id;
	rnd_seed_os(&w->rnd);
	spsc_init(&w->cmd, 16);
	spsc_init(&w->reply, 16);
	struct proto_env *env = &w->env;
	env->worker = id;
	env->now_us = clock_us();
	env->wall_us = clock_wall_us();
	env->conf = c;
	env->store_shared = v->store;
	env->store = store_core(v->store, id);
	env->auth = auth_core(v->auth, id);
	env->pool = v->pool;
	env->stat = &w->stat;
	env->trace = &w->trace;
	env->rnd = &w->rnd;
	worker_sessions_init(w, c->sessions);
	env->tls = tls_core_create(v->tls, v->pool, &w->stat);
	if (env->tls == NULL)
		goto bad;
	for (unsigned i = 0; i < v->n_port; i++) {
		w->port[i] = port_core_create(v->port[i], id, &w->stat);
		if (w->port[i] == NULL)
			goto bad;
		w->n_port++;
	}
	w->net = net_create(c, w->port, v->port, v->n_port, v->pool, &w->stat, &w->rnd, id == 0);
	if (w->net == NULL)
		goto bad;
	struct tcp_conf tc = tcp_conf_of(c);
	w->tcp = tcp_create(&tc, w->net, v->pool, &w->stat, &w->trace, &w->rnd, id);
	if (w->tcp == NULL)
		goto bad;
	env->queue = queue_create(c, id, v->n_worker, env->store, v->pool, &w->stat, &w->rnd);
	if (env->queue == NULL)
		goto bad;
	w->delivery = delivery_create(env);
	if (w->delivery == NULL)
		goto bad;
	return w;
bad:
	worker_destroy(&w);
	return NULL;
}

static enum err worker_listen(struct worker *w, char *why, size_t why_size)
{
	static const unsigned kinds[] = {
		[CONF_SMTP] = LINK_SMTP, [CONF_SUBMISSION] = LINK_SMTP, [CONF_POP3] = LINK_POP3,
		[CONF_IMAP] = LINK_IMAP, [CONF_HTTP] = LINK_HTTP};
	const struct conf *c = w->env.conf;
	for (unsigned i = 0; i < c->n_listen; i++) {
		const struct conf_listen *l = &c->listen[i];
		enum err e = tcp_listen(w->tcp, &l->addr, l->port, kinds[l->protocol] | (uint64_t)i << 8);
		if (e != ERR_OK)
			return fail(why, why_size, e, "%s: listen on port %u: %s", c->file, l->port,
				    err_text(e));
	}
	return ERR_OK;
}

/* ---- the process ---- */

static enum err start_ports(struct veredus *v, char *why, size_t why_size)
{
	const struct conf *c = v->conf;
	enum err e = port_eal_start(c);
	if (e != ERR_OK)
		return fail(why, why_size, e, "DPDK did not start (its own lines above say why)");
	v->eal = true;
	v->pool = pkt_pool_create("packets", c->packets, PKT_ROOM);
	v->big = pkt_pool_create("big", c->packets / 64 < 256 ? 256 : c->packets / 64, PKT_BIG_ROOM);
	if (v->pool == NULL || v->big == NULL)
		return fail(why, why_size, ERR_NO_MEMORY,
			    "%s: no memory for %u packets: reserve huge pages or lower 'packets'", c->file,
			    c->packets);
	for (unsigned i = 0; i < c->n_port; i++) {
		e = port_open(&v->port[i], &c->port[i], i, v->n_worker, v->pool);
		if (e != ERR_OK)
			return fail(why, why_size, e, "%s: port %s: device \"%s\": %s", c->file,
				    c->port[i].name, c->port[i].device, err_text(e));
		v->n_port++;
	}
	return ERR_OK;
}

/* An idle IMAP session holds a watch and a POP3 session its unlock: one op each. Untouched ones cost address space. */
static unsigned ops_per_core(const struct conf *c)
{
	unsigned n = OPS_SPARE;
	while (n < c->sessions + OPS_SPARE)
		n *= 2;
	return n;
}

static enum err start_store(struct veredus *v, char *why, size_t why_size)
{
	const struct conf *c = v->conf;
	v->rcu = rcu_create(v->n_worker + 1);
	struct store_conf sc = {
		.path = c->store_path,
		.n_cores = v->n_worker + 1,
		.ops_per_core = ops_per_core(c),
		.size_max = c->store_size_max,
		.free_min = c->store_free_min,
		.cpu = c->storage_core,
		.big = v->big,
		.rcu = v->rcu,
		.nap = v->nap,
	};
	enum err e = store_open(&v->store, &sc, why, why_size);
	if (e != ERR_OK)
		return e;
	e = store_start(v->store);
	if (e != ERR_OK)
		return fail(why, why_size, e, "store %s: the storage thread did not start", c->store_path);
	v->store_control = store_core(v->store, v->n_worker);
	v->auth = auth_create(AUTH_THREADS, v->n_worker);
	return ERR_OK;
}

/* RFC 5321 4.5.1: mail for postmaster is always taken. Each local domain has that mailbox from the start, without
 * a password until the operator sets one. */
static enum err make_postmasters(struct veredus *v, char *why, size_t why_size)
{
	for (unsigned i = 0; i < v->conf->n_domain; i++) {
		char name[MAIL_ADDR_MAX + 1];
		const struct conf_domain *d = &v->conf->domain[i];
		struct store_account acct;
		int n = snprintf(name, sizeof(name), "postmaster@%s", d->name);
		if (!d->local || n < 0 || (size_t)n >= sizeof(name) ||
		    store_account_find(v->store, span_str(name), &acct))
			continue;
		struct store_op *op = store_op_new(v->store_control, STORE_COMMIT, UINT32_MAX, 0);
		CHECK(op != NULL);
		store_tx_account_add(op, span_str(name), SPAN("*"));
		enum err e = veredus_store_run(v, op);
		if (e != ERR_TIMEOUT)
			store_op_free(&op);
		/* A full disk must not keep the server from starting: what is there can still be read. */
		if (e != ERR_OK && e != ERR_NO_SPACE)
			return fail(why, why_size, e, "mailbox %s: %s", name, err_text(e));
	}
	return ERR_OK;
}

static enum err load_queues(struct veredus *v, char *why, size_t why_size)
{
	uint64_t after = 0;
	for (;;) {
		struct store_op *op = store_op_new(v->store_control, STORE_QSCAN, UINT32_MAX, 0);
		CHECK(op != NULL);
		op->since = after;
		op->len = QUEUE_PAGE;
		enum err e = veredus_store_run(v, op);
		if (e == ERR_TIMEOUT)
			return fail(why, why_size, e, "store %s: does not answer", v->conf->store_path);
		uint32_t n = op->n_items;
		if (e == ERR_OK && n > 0) {
			for (unsigned i = 0; i < v->n_worker; i++)
				queue_load(v->worker[i]->env.queue, op->items, n);
			after = op->items[n - 1].id;
		}
		store_op_free(&op);
		if (e != ERR_OK)
			return fail(why, why_size, e, "store %s: queue: %s", v->conf->store_path, err_text(e));
		if (n == 0)
			return ERR_OK;
	}
}

static enum err start_workers(struct veredus *v, char *why, size_t why_size)
{
	struct queue *queues[WORKERS_MAX];
	for (unsigned i = 0; i < v->n_worker; i++) {
		v->worker[i] = worker_create(v, i);
		if (v->worker[i] == NULL)
			return fail(why, why_size, ERR_NO_MEMORY, "worker %u: out of memory", i);
		queues[i] = v->worker[i]->env.queue;
	}
	queue_join(queues, v->n_worker);
	enum err e = make_postmasters(v, why, why_size);
	if (e == ERR_OK)
		e = load_queues(v, why, why_size);
	for (unsigned i = 0; i < v->n_worker && e == ERR_OK; i++)
		e = worker_listen(v->worker[i], why, why_size);
	for (unsigned i = 0; i < v->n_worker && e == ERR_OK; i++) {
		e = port_worker_launch(i, worker_run, v->worker[i]);
		if (e != ERR_OK)
			return fail(why, why_size, e, "worker %u: thread did not start", i);
		v->n_launched++;
	}
	return e;
}

static void undo(struct veredus *v)
{
	if (v->n_launched > 0)
		veredus_ask_all(v, WORKER_STOP);
	for (unsigned i = 0; i < v->n_launched; i++)
		port_worker_join(i);
	if (v->auth != NULL)
		auth_destroy(&v->auth);
	for (unsigned i = 0; i < v->n_worker; i++)
		if (v->worker[i] != NULL && v->worker[i]->env.queue != NULL)
			queue_stop(v->worker[i]->env.queue);
	if (v->store != NULL)
		store_close(&v->store);
	for (unsigned i = v->n_worker; i-- > 0;)
		worker_destroy(&v->worker[i]);
	if (v->rcu != NULL)
		rcu_destroy(&v->rcu);
	tls_shared_destroy(&v->tls);
	for (unsigned i = v->n_port; i-- > 0;)
		port_close(&v->port[i]);
	if (v->big != NULL)
		pkt_pool_destroy(&v->big);
	if (v->pool != NULL)
		pkt_pool_destroy(&v->pool);
	if (v->eal)
		port_eal_stop();
	free(v);
}

enum err veredus_start(struct veredus **out, const struct conf *c, char *why, size_t why_size)
{
	*out = NULL;
	if (c->n_workers == 0 || c->n_workers > WORKERS_MAX || c->n_port > PORT_MAX)
		return fail(why, why_size, ERR_TOO_MANY, "%s: at most %d workers and %d ports", c->file,
			    WORKERS_MAX, PORT_MAX);
	struct veredus *v = NULL;
	CHECK(posix_memalign((void **)&v, 64, sizeof(*v)) == 0);
	memset(v, 0, sizeof(*v));
	v->conf = c;
	v->n_worker = c->n_workers;
	v->started_us = clock_us();
	enum err e = start_ports(v, why, why_size);
	if (e == ERR_OK)
		e = worker_tls_start(v, why, why_size);
	if (e == ERR_OK)
		e = start_store(v, why, why_size);
	if (e == ERR_OK)
		e = start_workers(v, why, why_size);
	if (e != ERR_OK) {
		undo(v);
		return e;
	}
	*out = v;
	return ERR_OK;
}

static uint64_t sessions_open(const struct veredus *v)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < v->n_worker; i++)
		for (unsigned k = 0; k < LINK_KIND_N; k++)
			n += atomic_load_explicit(&v->worker[i]->gauge.sessions[k], memory_order_relaxed);
	return n;
}

void veredus_stop(struct veredus **vp, unsigned grace_ms)
{
	struct veredus *v = *vp;
	*vp = NULL;
	if (v == NULL)
		return;
	uint64_t until = clock_us() + grace_ms * 1000ull;
	veredus_ask_all(v, WORKER_SHUTDOWN);
	/* Levels are published a hundred times a second: give them one round to be true. */
	struct timespec ts = {.tv_nsec = 25000000};
	do
		(void)nanosleep(&ts, NULL);
	while (sessions_open(v) > 0 && clock_us() < until);
	undo(v);
}
