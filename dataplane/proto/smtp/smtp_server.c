/*
 * smtp_server.c: the life of an SMTP session: greeting, the loop over what came, replies, timeouts, end.
 *
 * Invariants: 1. smtp_enter is the only place that changes the state; 2. in COMMIT and CHECK nothing is read, so
 * replies keep the order of the commands; 3. after CLOSING nothing is read or said;
 * 4. every 5xx is an error of the client, and past errors_max the session ends (421).
 * Allocations a message: the arena's block and the array of the body's slices, by malloc; one packet for
 * our header lines, one for replies, from the pool. Hot path.
 */
#include "smtp_server.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "smtp_int.h"
#include "hot.h"

static_assert(sizeof(struct smtp_session) <= 512, "an idle session is to stay small");

/* From each state, the ones that may follow. */
static const uint16_t next_states[SMTP_STATE_N] = {
	[SMTP_GREETING] = SMTP_IN(SMTP_START) | SMTP_IN(SMTP_CLOSING),
	[SMTP_START] = SMTP_IN(SMTP_READY) | SMTP_IN(SMTP_CLOSING),
	[SMTP_READY] = SMTP_IN(SMTP_START) | SMTP_IN(SMTP_READY) | SMTP_IN(SMTP_AUTH) | SMTP_IN(SMTP_MAIL) | SMTP_IN(SMTP_CLOSING),
	[SMTP_AUTH] = SMTP_IN(SMTP_READY) | SMTP_IN(SMTP_CHECK) | SMTP_IN(SMTP_CLOSING),
	[SMTP_CHECK] = SMTP_IN(SMTP_READY) | SMTP_IN(SMTP_CLOSING),
	[SMTP_MAIL] = SMTP_IN(SMTP_START) | SMTP_IN(SMTP_READY) | SMTP_IN(SMTP_RCPT) | SMTP_IN(SMTP_CLOSING),
	[SMTP_RCPT] = SMTP_IN(SMTP_START) | SMTP_IN(SMTP_READY) | SMTP_IN(SMTP_DATA) | SMTP_IN(SMTP_CHUNK) | SMTP_IN(SMTP_CLOSING),
	[SMTP_DATA] = SMTP_IN(SMTP_READY) | SMTP_IN(SMTP_COMMIT) | SMTP_IN(SMTP_CLOSING),
	[SMTP_CHUNK] = SMTP_IN(SMTP_READY) | SMTP_IN(SMTP_CHUNKS) | SMTP_IN(SMTP_COMMIT) | SMTP_IN(SMTP_CLOSING),
	[SMTP_CHUNKS] = SMTP_IN(SMTP_READY) | SMTP_IN(SMTP_CHUNK) | SMTP_IN(SMTP_CLOSING),
	[SMTP_COMMIT] = SMTP_IN(SMTP_READY) | SMTP_IN(SMTP_CLOSING),
	[SMTP_CLOSING] = 0,
};

void smtp_enter(struct smtp_session *ss, enum smtp_state to)
{
	CHECK(next_states[ss->state] & SMTP_IN(to));
	CHECK((to < SMTP_MAIL) == (ss->txn == NULL) || to == SMTP_COMMIT || to == SMTP_CLOSING);
	ss->state = (uint8_t)to;
}

void smtp_deadline(struct smtp_session *ss)
{
	ss->s.deadline_us = ss->s.env->now_us + (uint64_t)ss->s.env->conf->smtp_timeout_s * 1000000;
}

void smtp_txn_end(struct smtp_session *ss)
{
	if (ss->txn) {
		slices_drop(&ss->txn->body);
		ss->txn = NULL;
	}
	ss->txn_seq++;
	arena_reset(&ss->s.arena);
}

static void say(struct smtp_session *ss, struct span text)
{
	struct session *s = &ss->s;
	unsigned code = (unsigned)(text.p[0] - '0') * 100 + (unsigned)(text.p[1] - '0') * 10 +
			(unsigned)(text.p[2] - '0');
	stream_write(&s->st, text);
	trace_put(s->env->trace, s->env->now_us, TRACE_session_reply, s->index, (uint16_t)code,
		  ss->state);
	if (code >= 500)
		ss->errors++;
}

void smtp_reply(struct smtp_session *ss, const char *text)
{
	say(ss, span_str(text));
}

void smtp_replyf(struct smtp_session *ss, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	CHECK(n > 3 && (size_t)n < sizeof(text)); /* addresses and names in replies are bounded */
	say(ss, span_of(text, (size_t)n));
}

void smtp_bye(struct smtp_session *ss, const char *text)
{
	say(ss, span_str(text));
	smtp_enter(ss, SMTP_CLOSING);
	ss->s.deadline_us = 0;
	smtp_txn_end(ss);
	stream_close(&ss->s.st);
}

static void smtp_open(struct session *s)
{
	struct smtp_session *ss = smtp_of(s);
	memset((uint8_t *)ss + sizeof(*s), 0, sizeof(*ss) - sizeof(*s));
	arena_init(&s->arena, SMTP_ARENA_MAX);
	stat_inc(s->env->stat, STAT_smtp_connections);
	smtp_deadline(ss);
	if (s->env->shutting_down)
		smtp_bye(ss, "421 4.3.2 Service shutting down\r\n");
	else
		smtp_replyf(ss, "220 %.255s ESMTP veredus\r\n", s->env->conf->hostname);
}

/* RFC 5321 3.1: the client waits for the greeting. Who does not is no mail server. */
static bool greeting_left(struct smtp_session *ss)
{
	struct session *s = &ss->s;
	if (stream_pending(&s->st) == 0) {
		smtp_enter(ss, SMTP_START);
		return true;
	}
	if (stream_readable(&s->st) > 0) {
		stat_inc(s->env->stat, STAT_smtp_early_talker);
		smtp_bye(ss, "554 5.5.0 SMTP protocol synchronization error\r\n");
	}
	return false;
}

static COLD void line_too_long(struct smtp_session *ss)
{
	stat_inc(ss->s.env->stat, STAT_smtp_line_too_long);
	smtp_reply(ss, "500 5.5.2 Line too long\r\n");
	ss->skip_line = true;
}

static COLD void foreign(struct smtp_session *ss)
{
	stat_inc(ss->s.env->stat, STAT_smtp_bad_command);
	smtp_bye(ss, "554 5.5.1 This is an SMTP server\r\n");
}

/* The next command, if a whole one is there. */
static bool command_read(struct smtp_session *ss)
{
	struct session *s = &ss->s;
	struct span line;
	uint8_t head[8];
	if (ss->skip > 0)
		return smtp_chunk_skip(ss);
	if (ss->skip_line) {
		ss->skip_line = !stream_skip_line(&s->st);
		if (ss->skip_line)
			return false;
	}
	enum err e = stream_line(&s->st, SMTP_LINE_MAX_ANY, &line, NULL);
	if (e == ERR_OK) {
		smtp_deadline(ss);
		smtp_command(ss, line, s->st.line_len);
		if (ss->state != SMTP_CLOSING && ss->errors > s->env->conf->errors_max)
			smtp_bye(ss, "421 4.7.0 Too many errors\r\n");
		return true;
	}
	size_t n = slices_read(&s->st.rx, 0, head, sizeof(head));
	if (smtp_is_foreign(span_of(head, n))) {
		foreign(ss);
	} else if (e == ERR_TOO_LONG && span_istarts(span_of(head, n), SPAN("BDAT"))) {
		smtp_bye(ss, "521 5.5.2 Line too long\r\n"); /* its octets could not be told from commands */
	} else if (e == ERR_TOO_LONG) {
		line_too_long(ss);
		return true;
	} else if (e == ERR_NO_MEMORY) {
		smtp_bye(ss, "421 4.3.1 Out of memory\r\n");
	}
	return false;
}

static bool reads(const struct smtp_session *ss)
{
	return ss->state < SMTP_COMMIT && ss->state != SMTP_CHECK;
}

static void smtp_input(struct session *s)
{
	struct smtp_session *ss = smtp_of(s);
	bool more = true;
	if (ss->state == SMTP_GREETING && !greeting_left(ss))
		return;
	while (more && reads(ss) && !s->st.failed && stream_pending(&s->st) < STREAM_TX_HIGH &&
	       stream_readable(&s->st) > 0)
		more = ss->state == SMTP_DATA  ? smtp_data_read(ss) :
		       ss->state == SMTP_CHUNK ? smtp_chunk_read(ss) :
		       ss->state == SMTP_AUTH  ? smtp_auth_read(ss) :
						 command_read(ss);
	/* What is cut in the middle stays undone (RFC 5321 4.1.1.10). */
	if (s->st.rx_eof && reads(ss) && (!more || stream_readable(&s->st) == 0) && ss->parts == 0) {
		smtp_enter(ss, SMTP_CLOSING);
		smtp_txn_end(ss);
		s->deadline_us = 0;
		stream_close(&s->st);
	}
}

static void smtp_store_done(struct session *s, struct store_op *op)
{
	smtp_data_done(smtp_of(s), op);
	smtp_input(s);
}

static void smtp_auth_done(struct session *s, struct auth_op *op)
{
	smtp_auth_result(smtp_of(s), op);
	auth_op_free(&op);
	smtp_input(s);
}

static void smtp_timeout(struct session *s)
{
	struct smtp_session *ss = smtp_of(s);
	if (ss->state == SMTP_COMMIT || ss->state == SMTP_CLOSING)
		return;
	if (ss->state == SMTP_CHECK) {
		smtp_auth_denied(ss);
		smtp_input(s);
		return;
	}
	if ((ss->state == SMTP_DATA || ss->state == SMTP_CHUNK) && ss->parts > 0) { /* it is the store that is slow */
		smtp_deadline(ss);
		return;
	}
	stat_inc(s->env->stat, STAT_smtp_timeout);
	if (stream_pending(&s->st) > 0) /* does not even take our replies */
		stream_abort(&s->st);
	smtp_bye(ss, "421 4.4.2 Timeout\r\n");
}

static void smtp_shutdown(struct session *s)
{
	struct smtp_session *ss = smtp_of(s);
	if (ss->state < SMTP_COMMIT)
		smtp_bye(ss, "421 4.3.2 Service shutting down\r\n");
}

static void smtp_close(struct session *s)
{
	struct smtp_session *ss = smtp_of(s);
	smtp_txn_end(ss);
	free(ss->helo);
	ss->helo = NULL;
	smtp_auth_forget(ss);
}

const struct proto smtp_proto = {
	.name = "smtp",
	.size = sizeof(struct smtp_session),
	.open = smtp_open,
	.input = smtp_input,
	.store_done = smtp_store_done,
	.auth_done = smtp_auth_done,
	.timeout = smtp_timeout,
	.shutdown = smtp_shutdown,
	.close = smtp_close,
};
