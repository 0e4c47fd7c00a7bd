/*
 * pop3_server.c: the life of a POP3 session: greeting, login, snapshot, update, timeout, end.
 *
 * Invariants: 1. commands are read in AUTH and TRANS only, so replies keep their order; 2. the account is
 * locked exactly while ps->unlock is held; 3. nothing is deleted but by the commit of pop3_quit.
 */
#include "pop3_server.h"
#include <stdlib.h>
#include "pop3_int.h"

static_assert(sizeof(struct pop3_session) <= 512, "an idle session is to stay small");

static const uint16_t next_states[POP3_STATE_N] = {
	[POP3_AUTH] = POP3_IN(POP3_CHECK) | POP3_IN(POP3_CLOSING),
	[POP3_CHECK] = POP3_IN(POP3_DELAY) | POP3_IN(POP3_LOCK) | POP3_IN(POP3_AUTH) | POP3_IN(POP3_CLOSING),
	[POP3_DELAY] = POP3_IN(POP3_AUTH) | POP3_IN(POP3_CLOSING),
	[POP3_LOCK] = POP3_IN(POP3_AUTH) | POP3_IN(POP3_SYNC) | POP3_IN(POP3_CLOSING),
	[POP3_SYNC] = POP3_IN(POP3_AUTH) | POP3_IN(POP3_TRANS) | POP3_IN(POP3_CLOSING),
	[POP3_TRANS] = POP3_IN(POP3_SEND) | POP3_IN(POP3_UPDATE) | POP3_IN(POP3_CLOSING),
	[POP3_SEND] = POP3_IN(POP3_TRANS) | POP3_IN(POP3_CLOSING),
	[POP3_UPDATE] = POP3_IN(POP3_CLOSING),
	[POP3_CLOSING] = 0,
};

void pop3_enter(struct pop3_session *ps, enum pop3_state to)
{
	CHECK(next_states[ps->state] & POP3_IN(to));
	CHECK(to < POP3_SYNC || to == POP3_CLOSING || ps->unlock != NULL);
	ps->state = (uint8_t)to;
}

void pop3_deadline(struct pop3_session *ps)
{
	ps->s.deadline_us = ps->s.env->now_us + (uint64_t)ps->s.env->conf->pop3_timeout_s * 1000000;
}

void pop3_bad(struct pop3_session *ps, const char *reply)
{
	stat_inc(ps->s.env->stat, STAT_pop3_bad_command);
	stream_str(&ps->s.st, reply);
	ps->errors++;
}

/* Lets the account go. */
static void unlock(struct pop3_session *ps)
{
	struct store_op *op = ps->unlock;
	if (!op)
		return;
	ps->unlock = NULL;
	store_submit(ps->s.env->store, op);
}

void pop3_close(struct pop3_session *ps)
{
	pop3_enter(ps, POP3_CLOSING);
	ps->s.deadline_us = 0;
	unlock(ps);
	stream_close(&ps->s.st);
}

static void pop3_open(struct session *s)
{
	struct pop3_session *ps = pop3_of(s);
	memset((uint8_t *)ps + sizeof(*s), 0, sizeof(*ps) - sizeof(*s));
	arena_init(&s->arena, 64 * 1024);
	stat_inc(s->env->stat, STAT_pop3_connections);
	pop3_deadline(ps);
	if (s->env->shutting_down) {
		stream_str(&s->st, "-ERR [SYS/TEMP] Server is shutting down\r\n");
		pop3_close(ps);
	} else {
		stream_printf(&s->st, "+OK %.255s POP3 veredus\r\n", s->env->conf->hostname);
	}
}

/* ---- login ---- */
static void login_failed(struct pop3_session *ps, const char *reply)
{
	unlock(ps);
	pop3_enter(ps, POP3_AUTH);
	pop3_deadline(ps);
	stream_str(&ps->s.st, reply);
}

void pop3_login(struct pop3_session *ps, struct span user, struct span pass)
{
	struct session *s = &ps->s;
	pop3_enter(ps, POP3_CHECK);
	s->deadline_us = 0;
	if (!auth_submit(s->env->auth, s->env->conf, s->env->store_shared, user, pass, s->index, s->gen))
		login_failed(ps, "-ERR [SYS/TEMP] Too many logins, try again later\r\n");
}

static void lock_account(struct pop3_session *ps)
{
	struct session *s = &ps->s;
	struct store_op *op = store_op_new(s->env->store, STORE_LOCK, s->index, s->gen);
	ps->unlock = store_op_new(s->env->store, STORE_UNLOCK, s->index, s->gen);
	pop3_enter(ps, POP3_LOCK);
	if (!op || !ps->unlock) {
		store_op_free(&op);
		store_op_free(&ps->unlock);
		login_failed(ps, "-ERR [SYS/TEMP] Server is busy, try again later\r\n");
		return;
	}
	op->acct = ps->acct;
	ps->unlock->acct = ps->acct;
	store_submit(s->env->store, op);
}

static void pop3_input(struct session *s);

static void pop3_auth_done(struct session *s, struct auth_op *op)
{
	struct pop3_session *ps = pop3_of(s);
	bool ok = op->ok;
	ps->acct = op->acct;
	auth_op_free(&op);
	if (ps->state != POP3_CHECK)
		return;
	if (ok) {
		lock_account(ps);
		pop3_input(s);
		return;
	}
	/* The answer waits: guessing costs time. What the client sends meanwhile waits too. */
	stat_inc(s->env->stat, STAT_auth_failed);
	pop3_enter(ps, POP3_DELAY);
	s->deadline_us = s->env->now_us + POP3_FAIL_US;
}

static void lock_done(struct pop3_session *ps, enum err err)
{
	struct session *s = &ps->s;
	struct store_op *op = NULL;
	if (err) { /* not ours to let go */
		store_op_free(&ps->unlock);
		login_failed(ps, err == ERR_BUSY ? "-ERR [IN-USE] Mailbox is in use by another session\r\n"
						 : "-ERR [SYS/TEMP] Mailbox is not available\r\n");
		return;
	}
	op = store_op_new(s->env->store, STORE_SYNC, s->index, s->gen);
	if (!op) {
		login_failed(ps, "-ERR [SYS/TEMP] Server is busy, try again later\r\n");
		return;
	}
	op->acct = ps->acct;
	op->folder = STORE_INBOX;
	pop3_enter(ps, POP3_SYNC);
	store_submit(s->env->store, op);
}

static void sync_done(struct pop3_session *ps, const struct store_op *op)
{
	const struct store_view *v = op->view;
	if (op->err == ERR_OK && v->n_ent)
		ps->msg = malloc(v->n_ent * sizeof(*ps->msg));
	if (op->err || (v->n_ent && !ps->msg)) {
		login_failed(ps, "-ERR [SYS/TEMP] Mailbox is not available\r\n");
		return;
	}
	uint64_t bytes = 0;
	ps->n_msg = v->n_ent;
	ps->n_deleted = 0;
	for (uint32_t i = 0; i < v->n_ent; i++) {
		const struct store_ent *e = &v->ent[i];
		ps->msg[i] = (struct pop3_msg){.oid = e->oid, .blob = e->blob, .uid = e->uid, .size = e->size};
		bytes += e->size;
	}
	stat_inc(ps->s.env->stat, STAT_pop3_logins);
	pop3_enter(ps, POP3_TRANS);
	pop3_deadline(ps);
	stream_printf(&ps->s.st, "+OK %u messages (%llu octets)\r\n", ps->n_msg, (unsigned long long)bytes);
}

/* ---- update (RFC 1939 6) ---- */
void pop3_quit(struct pop3_session *ps)
{
	struct session *s = &ps->s;
	if (ps->n_deleted == 0) {
		stream_str(&s->st, "+OK Bye\r\n");
		pop3_close(ps);
		return;
	}
	struct store_op *op = store_op_new(s->env->store, STORE_COMMIT, s->index, s->gen);
	uint32_t *ranges = malloc(ps->n_deleted * 2 * sizeof(*ranges));
	unsigned n = 0;
	pop3_enter(ps, POP3_UPDATE);
	s->deadline_us = 0;
	if (!op || !ranges) {
		store_op_free(&op);
		free(ranges);
		stream_str(&s->st, "-ERR [SYS/TEMP] Server is busy, nothing was deleted\r\n");
		pop3_close(ps);
		return;
	}
	for (uint32_t i = 0; i < ps->n_msg; i++) {
		const struct pop3_msg *m = &ps->msg[i];
		if (!m->deleted)
			continue;
		/* Only neighbours in the snapshot are one range: what came between since then stays. */
		if (n > 0 && ranges[n * 2 - 1] + 1 == m->uid) {
			ranges[n * 2 - 1] = m->uid;
		} else {
			ranges[n * 2] = ranges[n * 2 + 1] = m->uid;
			n++;
		}
	}
	store_tx_expunge(op, ps->acct, STORE_INBOX, ranges, n, false);
	free(ranges);
	store_submit(s->env->store, op);
}

static void update_done(struct pop3_session *ps, enum err err)
{
	stream_str(&ps->s.st, err ? "-ERR [SYS/TEMP] Nothing was deleted\r\n" : "+OK Bye\r\n");
	pop3_close(ps);
}

static void pop3_store_done(struct session *s, struct store_op *op)
{
	struct pop3_session *ps = pop3_of(s);
	trace_put(s->env->trace, s->env->now_us, TRACE_store_op, s->index, (uint16_t)op->verb, op->err);
	if (op->verb == STORE_UNLOCK || ps->state == POP3_CLOSING)
		;
	else if (op->verb == STORE_LOCK)
		lock_done(ps, op->err);
	else if (op->verb == STORE_SYNC)
		sync_done(ps, op);
	else if (op->verb == STORE_READ)
		pop3_send_read(ps, op);
	else if (op->verb == STORE_COMMIT)
		update_done(ps, op->err);
	store_op_free(&op);
	pop3_input(s);
}

/* ---- the loop ---- */
static bool command_read(struct pop3_session *ps)
{
	struct session *s = &ps->s;
	struct span line;
	if (ps->skip_line) {
		ps->skip_line = !stream_skip_line(&s->st);
		if (ps->skip_line)
			return false;
	}
	enum err e = stream_line(&s->st, POP3_LINE_MAX, &line, NULL);
	if (e == ERR_OK) {
		pop3_deadline(ps);
		pop3_command(ps, line);
		if (ps->state != POP3_CLOSING)
			stream_line_done(&s->st);
	} else if (e == ERR_TOO_LONG) {
		pop3_bad(ps, "-ERR Line too long\r\n");
		ps->skip_line = true;
	} else {
		return false;
	}
	if (ps->errors > s->env->conf->errors_max && (ps->state == POP3_AUTH || ps->state == POP3_TRANS)) {
		stream_str(&s->st, "-ERR Too many errors\r\n");
		pop3_close(ps);
	}
	return true;
}

static bool may_read(const struct pop3_session *ps)
{
	return (ps->state == POP3_AUTH || ps->state == POP3_TRANS) && !ps->s.st.failed;
}

static void pop3_input(struct session *s)
{
	struct pop3_session *ps = pop3_of(s);
	bool more = true;
	if (ps->state == POP3_SEND)
		pop3_send_more(ps);
	while (more && may_read(ps) && stream_readable(&s->st) > 0 && stream_pending(&s->st) < STREAM_TX_HIGH)
		more = command_read(ps);
	if (s->st.rx_eof && may_read(ps) && (!more || stream_readable(&s->st) == 0))
		pop3_close(ps);
}

static void pop3_timeout(struct session *s)
{
	struct pop3_session *ps = pop3_of(s);
	if (ps->state == POP3_DELAY) {
		pop3_enter(ps, POP3_AUTH);
		pop3_deadline(ps);
		stream_str(&s->st, "-ERR [AUTH] Wrong user name or password\r\n");
		if (++ps->errors > s->env->conf->errors_max)
			pop3_close(ps);
		else
			pop3_input(s);
		return;
	}
	if (ps->state == POP3_SEND && ps->send->reading) { /* it is the store that is slow */
		pop3_deadline(ps);
		return;
	}
	if (ps->state != POP3_AUTH && ps->state != POP3_TRANS && ps->state != POP3_SEND)
		return;
	stat_inc(s->env->stat, STAT_pop3_timeout);
	/* RFC 1939 3: without a word; nothing is deleted. */
	if (stream_pending(&s->st) > 0)
		stream_abort(&s->st);
	pop3_close(ps);
}

static void pop3_shutdown(struct session *s)
{
	struct pop3_session *ps = pop3_of(s);
	if (ps->state == POP3_UPDATE || ps->state == POP3_CLOSING)
		return;
	if (ps->state == POP3_SEND) /* in the middle of a reply: no words fit there */
		stream_abort(&s->st);
	stream_str(&s->st, "-ERR [SYS/TEMP] Server is shutting down\r\n");
	pop3_close(ps);
}

static void pop3_gone(struct session *s)
{
	struct pop3_session *ps = pop3_of(s);
	unlock(ps);
	free(ps->msg);
	ps->msg = NULL;
	free(ps->user);
	ps->user = NULL;
	arena_reset(&s->arena);
}

const struct proto pop3_proto = {
	.name = "pop3",
	.size = sizeof(struct pop3_session),
	.open = pop3_open,
	.input = pop3_input,
	.store_done = pop3_store_done,
	.auth_done = pop3_auth_done,
	.timeout = pop3_timeout,
	.shutdown = pop3_shutdown,
	.close = pop3_gone,
};
