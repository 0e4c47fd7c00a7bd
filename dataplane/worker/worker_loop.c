/*
 * worker_loop.c: the data path, one page. Read this first.
 *
 * Each turn: frames in, through net and tcp; news of connections to their sessions; answers of the store
 * and of the password helpers; timers; commands of the control thread; mail on its way out; frames out.
 * Time is read once a turn and passed down. A turn that found nothing costs a few loads; after a while
 * without work the worker naps (idle = adaptive) so that it is a good neighbour on a small machine.
 * Hot path.
 */
#include "worker_int.h"

#include <sys/prctl.h>

#include "clock.h"

#define IDLE_SPIN_US  50  /* keep polling this long after the last work */
#define NAP_US        50  /* first naps */
#define NAP_LONG_US   100 /* after IDLE_LONG_US without work */
#define IDLE_LONG_US  20000
#define SLOW_US       10000 /* what runs a hundred times a second */

static unsigned turn_receive(struct worker *w)
{
	struct pkt *frames[PORT_BURST];
	struct net_seg segs[PORT_BURST];
	unsigned all = 0;
	for (unsigned i = 0; i < w->n_port; i++) {
		unsigned n = port_receive(w->port[i], frames, PORT_BURST);
		all += port_passed(w->port[i]);
		if (n == 0)
			continue;
		all += n;
		n = net_input(w->net, i, frames, n, w->env.now_us, segs);
		tcp_input(w->tcp, segs, n, w->env.now_us);
	}
	return all;
}

static unsigned turn_sessions(struct worker *w)
{
	struct tcp_conn *conns[TURN_MAX];
	unsigned n = tcp_ready(w->tcp, conns, TURN_MAX);
	for (unsigned i = 0; i < n; i++)
		worker_conn_event(w, conns[i]);
	return n;
}

/* Handshakes are the dearest thing a peer can ask for: a few a turn, so that the others do not notice. */
static unsigned turn_handshakes(struct worker *w)
{
	tls_core_turn(w->env.tls);
	return worker_handshakes(w);
}

static unsigned turn_answers(struct worker *w)
{
	struct store_op *ops[TURN_MAX];
	unsigned n = store_poll(w->env.store, ops, TURN_MAX);
	for (unsigned i = 0; i < n; i++) {
		stat_inc(&w->stat, ops[i]->err == ERR_OK ? STAT_store_ops : STAT_store_failed);
		worker_store_done(w, ops[i]);
	}
	struct auth_op *auths[TURN_MAX];
	unsigned m = auth_poll(w->env.auth, auths, TURN_MAX);
	for (unsigned i = 0; i < m; i++)
		worker_auth_done(w, auths[i]);
	return n + m;
}

static unsigned turn_timers(struct worker *w)
{
	unsigned n = 0;
	struct timer *t;
	tcp_timers(w->tcp, w->env.now_us);
	while ((t = wheel_next(&w->wheel, w->env.now_us / 1000)) != NULL) {
		worker_session_timeout(w, t);
		n++;
	}
	return n;
}

static void publish_gauges(struct worker *w)
{
	struct tcp_counts c;
	uint64_t items, rcpts;
	tcp_counts(w->tcp, &c);
	queue_counts(w->env.queue, &items, &rcpts);
	struct worker_gauges *g = &w->gauge;
	atomic_store_explicit(&g->conns, c.conns, memory_order_relaxed);
	atomic_store_explicit(&g->half_open, c.half_open, memory_order_relaxed);
	atomic_store_explicit(&g->time_wait, c.time_wait, memory_order_relaxed);
	atomic_store_explicit(&g->conn_bytes, c.conn_bytes, memory_order_relaxed);
	atomic_store_explicit(&g->queue_items, items, memory_order_relaxed);
	atomic_store_explicit(&g->queue_rcpts, rcpts, memory_order_relaxed);
	for (unsigned k = 0; k < LINK_KIND_N; k++)
		atomic_store_explicit(&g->sessions[k], w->pool[k].n - w->pool[k].n_free,
				      memory_order_relaxed);
}

static void turn_slow(struct worker *w)
{
	w->next_slow_us = w->env.now_us + SLOW_US;
	net_timers(w->net, w->env.now_us);
	w->env.wall_us = clock_wall_us();
	w->env.low_big = pkt_pool_free_n(w->v->big) < pkt_pool_size(w->v->big) / 2;
	w->env.low_memory = pkt_pool_free_n(w->env.pool) < pkt_pool_size(w->env.pool) / 8;
	publish_gauges(w);
}

static unsigned worker_turn(struct worker *w)
{
	unsigned work = turn_receive(w);
	work += turn_answers(w);
	work += turn_timers(w);
	work += turn_handshakes(w);
	work += turn_sessions(w);
	delivery_turn(w->delivery);
	work += worker_open_wanted(w);
	tcp_flush(w->tcp, w->env.now_us);
	for (unsigned i = 0; i < w->n_port; i++)
		port_flush(w->port[i]);
	if (UNLIKELY(w->env.now_us >= w->next_slow_us))
		turn_slow(w);
	work += worker_commands(w);
	rcu_quiescent(w->v->rcu, w->id);
	return work;
}

/* Sleeps a little when nothing happened for a while; cut short by the next deadline and by the storage thread. */
static void worker_idle(struct worker *w)
{
	uint64_t now = w->env.now_us;
	if (w->env.conf->busy_poll || now - w->idle_since_us < IDLE_SPIN_US)
		return;
	uint64_t nap = now - w->idle_since_us > IDLE_LONG_US ? NAP_LONG_US : NAP_US;
	uint64_t next = tcp_next_us(w->tcp);
	if (next <= now)
		return;
	if (next - now < nap)
		nap = next - now;
	stat_inc(&w->stat, STAT_worker_naps);
	nap_take(&w->v->nap[w->id], (uint32_t)nap);
}

int worker_run(void *arg)
{
	struct worker *w = arg;
	(void)prctl(PR_SET_TIMERSLACK, 1000ul);
	rcu_reader_online(w->v->rcu, w->id);
	w->env.now_us = w->idle_since_us = clock_us();
	while (!w->stop) {
		uint64_t begin = w->env.now_us;
		unsigned work = worker_turn(w);
		uint64_t end = clock_us();
		w->env.now_us = end;
		w->turn++;
		if (work > 0) {
			w->idle_since_us = end;
			stat_inc(&w->stat, STAT_worker_loops);
			stat_add(&w->stat, STAT_worker_busy_ns, (end - begin) * 1000);
		} else {
			worker_idle(w);
			w->env.now_us = clock_us();
		}
	}
	rcu_reader_offline(w->v->rcu, w->id);
	return 0;
}
