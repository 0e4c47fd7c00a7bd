/*
 * worker_control.c: the data plane as control/ sees it (control.h): counters, levels, mailboxes, queue.
 *
 * The first half runs on a worker (commands that came by its ring), the second on the control thread,
 * which asks the workers by ring and the store by its own door, and waits with a bound.
 */
#include "worker_int.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "log.h"
#include "mail_addr.h"

#define WAIT_US     (10 * 1000000ull)
#define PAGE        256

/* ---- on a worker ---- */

struct row_writer {
	struct buf *out;
};

static void row_write(void *arg, const struct queue_row *r)
{
	struct buf *b = ((struct row_writer *)arg)->out;
	buf_add_u64(b, r->id);
	buf_add_u64(b, r->size);
	buf_add_u64(b, r->accepted_us);
	buf_add_u64(b, r->due_us);
	buf_add_u64(b, r->expire_us);
	buf_add_u32(b, r->tries);
	buf_add_u8(b, r->active);
	buf_add_lspan(b, span_of(r->from, strlen(r->from) + 1));
	buf_add_lspan(b, span_of(r->site, strlen(r->site) + 1));
	buf_add_lspan(b, span_of(r->last, strlen(r->last) + 1));
	buf_add_u32(b, r->n_rcpt);
	for (unsigned i = 0; i < r->n_rcpt; i++)
		buf_add_lspan(b, span_of(r->rcpt[i], strlen(r->rcpt[i]) + 1));
}

static void command_run(struct worker *w, struct worker_cmd *c)
{
	struct row_writer out = {&c->rows};
	switch (c->verb) {
	case WORKER_QUEUE_LIST:
		c->n = queue_list(w->env.queue, c->filter, c->limit, row_write, &out);
		break;
	case WORKER_QUEUE_RETRY:
		c->n = queue_retry(w->env.queue, c->filter);
		break;
	case WORKER_QUEUE_REMOVE:
		c->n = queue_remove(w->env.queue, c->filter);
		break;
	case WORKER_CONN_LIST:
		worker_conn_batch(w, c);
		break;
	case WORKER_SHUTDOWN:
		worker_sessions_shutdown(w);
		break;
	case WORKER_STOP:
		worker_sessions_abort(w);
		tcp_flush(w->tcp, w->env.now_us);
		for (unsigned i = 0; i < w->n_port; i++)
			port_flush(w->port[i]);
		w->stop = true;
		break;
	}
}

bool worker_commands(struct worker *w)
{
	struct worker_cmd *c = spsc_pop(&w->cmd);
	if (c == NULL)
		return false;
	command_run(w, c);
	CHECK(spsc_push(&w->reply, c));
	return true;
}

/* ---- on the control thread ---- */

static void nap(void)
{
	struct timespec ts = {.tv_nsec = 200000};
	(void)nanosleep(&ts, NULL);
}

/* Sends the command and waits for its answer; the worker answers within a turn. */
void veredus_ask(struct worker *w, struct worker_cmd *c)
{
	CHECK(spsc_push(&w->cmd, c));
	while (spsc_pop(&w->reply) == NULL)
		nap();
}

void veredus_ask_all(struct veredus *v, enum worker_verb verb)
{
	for (unsigned i = 0; i < v->n_launched; i++) {
		struct worker_cmd c = {.verb = verb};
		veredus_ask(v->worker[i], &c);
	}
}

/* Runs one store op to its end. On timeout the op stays with the store and is dropped when it comes. */
enum err veredus_store_run(struct veredus *v, struct store_op *op)
{
	static uint64_t ticket;
	uint64_t mine = ++ticket, until = clock_us() + WAIT_US;
	op->user = (void *)(uintptr_t)mine;
	store_submit(v->store_control, op);
	for (;;) {
		struct store_op *done[8];
		unsigned n = store_poll(v->store_control, done, ARRAY_LEN(done));
		bool got = false;
		for (unsigned i = 0; i < n; i++) {
			if (done[i] == op)
				got = true;
			else
				store_op_free(&done[i]);
		}
		if (got)
			return op->err;
		if (clock_us() > until)
			return ERR_TIMEOUT;
		nap();
	}
}

/* Canonical form into dst (MAIL_ADDR_MAX + 1 bytes). */
static enum err mailbox_name(const struct veredus *v, struct span name, char *dst, struct span *canon)
{
	struct mail_addr addr;
	if (mail_addr_parse(name, 0, &addr) != ERR_OK || addr.domain.len == 0)
		return ERR_SYNTAX;
	if (!dir_is_local_domain(v->conf, addr.domain))
		return ERR_DENIED;
	*canon = span_of(dst, mail_addr_canon(&addr, true, dst));
	return ERR_OK;
}

typedef void mailbox_tx(struct store_op *op, struct span name, struct span hash);

static enum err mailbox_change(struct veredus *v, struct span name, const struct span *password, mailbox_tx *tx)
{
	char hash[160] = "", canon_text[MAIL_ADDR_MAX + 1];
	struct span canon;
	enum err e = mailbox_name(v, name, canon_text, &canon);
	if (e == ERR_OK && password != NULL)
		e = auth_hash(*password, hash, sizeof(hash));
	struct store_op *op = e == ERR_OK ? store_op_new(v->store_control, STORE_COMMIT, UINT32_MAX, 0) : NULL;
	if (op != NULL) {
		tx(op, canon, span_str(hash));
		e = veredus_store_run(v, op);
		if (e != ERR_TIMEOUT)
			store_op_free(&op);
	} else if (e == ERR_OK) {
		e = ERR_NO_MEMORY;
	}
	return e;
}

static void tx_remove(struct store_op *op, struct span name, struct span hash)
{
	store_tx_account_remove(op, name);
}

enum err veredus_mailbox_add(struct veredus *v, struct span name, struct span password)
{
	return mailbox_change(v, name, &password, store_tx_account_add);
}

enum err veredus_mailbox_passwd(struct veredus *v, struct span name, struct span password)
{
	return mailbox_change(v, name, &password, store_tx_account_pass);
}

enum err veredus_mailbox_remove(struct veredus *v, struct span name)
{
	return mailbox_change(v, name, NULL, tx_remove);
}

static enum err mailbox_row(struct veredus *v, const struct store_account *a, struct veredus_mailbox_row *row)
{
	*row = (struct veredus_mailbox_row){.name = a->name, .id = a->id};
	struct store_op *op = store_op_new(v->store_control, STORE_FOLDERS, UINT32_MAX, 0);
	if (op == NULL)
		return ERR_NO_MEMORY;
	op->acct = a->id;
	enum err e = veredus_store_run(v, op);
	if (e == ERR_OK) {
		row->folders = op->view->n_folder;
		for (unsigned i = 0; i < op->view->n_folder; i++) {
			row->messages += op->view->folders[i].exists;
			row->bytes += op->view->folders[i].bytes;
		}
	}
	if (e != ERR_TIMEOUT)
		store_op_free(&op);
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

enum err veredus_mailbox_list(struct veredus *v, void (*fn)(void *arg, const struct veredus_mailbox_row *),
			      void *arg)
{
	uint64_t after = 0;
	for (;;) {
		struct store_op *op = store_op_new(v->store_control, STORE_ACCOUNTS, UINT32_MAX, 0);
		if (op == NULL)
			return ERR_NO_MEMORY;
		op->since = after;
		op->len = PAGE;
		enum err e = veredus_store_run(v, op);
		if (e == ERR_TIMEOUT)
			return e;
		uint32_t n = e == ERR_OK ? op->n_accounts : 0;
		for (uint32_t i = 0; i < n && e == ERR_OK; i++) {
			struct veredus_mailbox_row row;
			e = mailbox_row(v, &op->accounts[i], &row);
			if (e == ERR_OK)
				fn(arg, &row);
			after = op->accounts[i].id;
		}
		store_op_free(&op);
		if (n == 0 || e != ERR_OK)
			return e;
	}
}

/* ---- the queue ---- */

static void row_read(struct reader *r, void (*fn)(void *arg, const struct queue_row *), void *arg)
{
	struct queue_row row = {.id = get_u64(r), .size = get_u64(r)};
	row.accepted_us = get_u64(r);
	row.due_us = get_u64(r);
	row.expire_us = get_u64(r);
	row.tries = get_u32(r);
	row.active = get_u8(r) != 0;
	row.from = (const char *)get_lspan(r).p;
	row.site = (const char *)get_lspan(r).p;
	row.last = (const char *)get_lspan(r).p;
	row.n_rcpt = get_u32(r);
	const char **rcpt = calloc(row.n_rcpt + 1, sizeof(*rcpt));
	CHECK(rcpt != NULL);
	for (unsigned i = 0; i < row.n_rcpt; i++)
		rcpt[i] = (const char *)get_lspan(r).p;
	row.rcpt = rcpt;
	CHECK(r->ok);
	fn(arg, &row);
	free(rcpt);
}

enum err veredus_queue_list(struct veredus *v, const struct queue_filter *f, unsigned limit,
			    void (*fn)(void *arg, const struct queue_row *), void *arg)
{
	for (unsigned i = 0; i < v->n_worker && limit > 0; i++) {
		struct worker_cmd c = {.verb = WORKER_QUEUE_LIST, .filter = f, .limit = limit};
		buf_init(&c.rows);
		veredus_ask(v->worker[i], &c);
		struct reader r = reader_of(buf_span(&c.rows));
		for (uint64_t k = 0; k < c.n; k++)
			row_read(&r, fn, arg);
		limit -= (unsigned)c.n;
		buf_fini(&c.rows);
	}
	return ERR_OK;
}

static enum err queue_change(struct veredus *v, enum worker_verb verb, const struct queue_filter *f, uint64_t *n)
{
	if (f->match == NULL && !f->all)
		return ERR_SYNTAX;
	*n = 0;
	for (unsigned i = 0; i < v->n_worker; i++) {
		struct worker_cmd c = {.verb = verb, .filter = f};
		veredus_ask(v->worker[i], &c);
		*n += c.n;
	}
	return ERR_OK;
}

enum err veredus_queue_retry(struct veredus *v, const struct queue_filter *f, uint64_t *n)
{
	return queue_change(v, WORKER_QUEUE_RETRY, f, n);
}

enum err veredus_queue_remove(struct veredus *v, const struct queue_filter *f, uint64_t *n)
{
	return queue_change(v, WORKER_QUEUE_REMOVE, f, n);
}

/* ---- figures ---- */

uint64_t veredus_stat(const struct veredus *v, enum stat_id id)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < v->n_worker; i++)
		sum += stat_get(&v->worker[i]->stat, id);
	return sum;
}

struct gauge_list {
	struct veredus_gauge *out;
	unsigned n, max;
};

static void gauge(struct gauge_list *l, const char *name, const char *help, uint64_t value)
{
	if (l->n < l->max)
		l->out[l->n++] = (struct veredus_gauge){name, help, value};
}

#define SUM(v, field)                                                                              \
	({                                                                                         \
		uint64_t sum_ = 0;                                                                 \
		for (unsigned i_ = 0; i_ < (v)->n_worker; i_++)                                    \
			sum_ += atomic_load_explicit(&(v)->worker[i_]->gauge.field,                \
						     memory_order_relaxed);                        \
		sum_;                                                                              \
	})

static void gauges_store(struct gauge_list *l, const struct veredus *v)
{
	struct store_stats st;
	store_stats(v->store, &st);
	gauge(l, "store_groups", "groups written, one flush each", st.groups);
	gauge(l, "store_group_bytes", "bytes of groups", st.group_bytes);
	gauge(l, "store_records", "log records written", st.records);
	gauge(l, "store_flush_us_sum", "time of all flushes", st.flush_us_sum);
	gauge(l, "store_flush_us_p50", "half of all flushes took no longer", st.flush_us_p50);
	gauge(l, "store_flush_us_p90", "nine of ten flushes took no longer", st.flush_us_p90);
	gauge(l, "store_flush_us_p99", "99 of 100 flushes took no longer", st.flush_us_p99);
	gauge(l, "store_flush_us_max", "longest flush", st.flush_us_max);
	gauge(l, "store_segments", "segments on disk", st.segments);
	gauge(l, "store_segments_free", "segments ready for use", st.segments_free);
	gauge(l, "store_live_bytes", "bytes of bodies that are referred to", st.live_bytes);
	gauge(l, "store_dead_bytes", "bytes of full segments that are not", st.dead_bytes);
	gauge(l, "store_blobs", "bodies", st.blobs);
	gauge(l, "store_queue_items", "queue items on disk", st.queue_items);
	gauge(l, "store_accounts", "mailboxes", st.accounts);
	gauge(l, "store_messages", "messages in mailboxes", st.messages);
	gauge(l, "store_recovered_records", "records replayed at start", st.recovered_records);
	gauge(l, "store_recovered_us", "time of the replay", st.recovered_us);
	gauge(l, "store_cpu_ns", "CPU time of the storage thread", st.cpu_ns);
	gauge(l, "store_disk_free", "free bytes of the file system", st.disk_free);
	gauge(l, "store_full", "1: new mail is refused for want of space", st.full);
	gauge(l, "store_failed", "1: a write or flush failed, nothing is accepted", st.failed);
}

unsigned veredus_gauges(const struct veredus *v, struct veredus_gauge *out, unsigned max)
{
	static const struct {
		const char *sessions, *bytes;
	} names[LINK_KIND_N] = {
		[LINK_SMTP] = {"sessions_smtp", "session_bytes_smtp"},
		[LINK_POP3] = {"sessions_pop3", "session_bytes_pop3"},
		[LINK_IMAP] = {"sessions_imap", "session_bytes_imap"},
		[LINK_HTTP] = {"sessions_http", "session_bytes_http"},
		[LINK_OUT] = {"sessions_out", "session_bytes_out"},
	};
	struct gauge_list l = {out, 0, max};
	gauge(&l, "uptime_s", "seconds since the start", (clock_us() - v->started_us) / 1000000);
	gauge(&l, "workers", "worker cores", v->n_worker);
	gauge(&l, "tcp_conns", "open TCP connections", SUM(v, conns));
	gauge(&l, "tcp_half_open", "connections being opened by peers", SUM(v, half_open));
	gauge(&l, "tcp_time_wait", "connections in TIME-WAIT", SUM(v, time_wait));
	gauge(&l, "tcp_conn_bytes", "bytes of one TCP connection", SUM(v, conn_bytes) / v->n_worker);
	for (unsigned k = 0; k < LINK_KIND_N; k++) {
		gauge(&l, names[k].sessions, "open sessions", SUM(v, sessions[k]));
		gauge(&l, names[k].bytes, "bytes of one session with its stream",
		      v->worker[0]->pool[k].size);
	}
	gauge(&l, "packets_all", "packet buffers", pkt_pool_size(v->pool));
	gauge(&l, "packets_free", "packet buffers not in use", pkt_pool_free_n(v->pool));
	gauge(&l, "queue_items", "items in the queue", SUM(v, queue_items));
	gauge(&l, "queue_recipients", "recipients in the queue", SUM(v, queue_rcpts));
	gauges_store(&l, v);
	return l.n;
}

bool veredus_tick(struct veredus *v)
{
	struct store_stats st;
	(void)rcu_reclaim(v->rcu);
	worker_tls_tick(v);
	store_stats(v->store, &st);
	if (st.failed && !v->failed_said) {
		v->failed_said = true;
		log_error("store %s: a write or flush failed; nothing is accepted until the restart",
			  v->conf->store_path);
	}
	return !st.failed;
}
