/*
 * smtp_auth.c: AUTH (RFC 4954) with PLAIN (RFC 4616) and LOGIN, on listeners for submission (RFC 6409).
 *
 * Passwords are checked by directory/ on other threads; meanwhile nothing is read. A wrong one is answered a second
 * later, with the same words whoever it was for; the third ends the session. What a password was decoded into is wiped.
 * Who is logged in may send to every routed domain, as itself.
 */
#include <stdlib.h>
#include "mail_codec.h"
#include "sasl.h"
#include "smtp_int.h"

#define AUTH_DELAY_US 1000000
#define AUTH_TRIES    3

enum { STEP_PLAIN, STEP_LOGIN_USER, STEP_LOGIN_PASSWORD };

bool smtp_auth_needed(const struct smtp_session *ss)
{
	return ss->s.listen != NULL && ss->s.listen->protocol == CONF_SUBMISSION;
}

bool smtp_auth_offered(const struct smtp_session *ss)
{
	return smtp_auth_needed(ss) && session_may_auth(&ss->s);
}

void smtp_auth_forget(struct smtp_session *ss)
{
	free(ss->user);
	ss->user = NULL;
}

static void over(struct smtp_session *ss, const char *reply)
{
	arena_reset(&ss->s.arena);
	smtp_enter(ss, SMTP_READY);
	smtp_reply(ss, reply);
}

/* secret: what user and password lie in; wiped. */
static void check(struct smtp_session *ss, struct span user, struct span password, uint8_t *secret, size_t len)
{
	struct session *s = &ss->s;
	struct proto_env *env = s->env;
	struct auth_op *op = auth_submit(env->auth, env->conf, env->store_shared, user, password, s->index, s->gen);
	sasl_wipe(secret, len);
	if (!op) {
		over(ss, "454 4.7.0 Temporary authentication failure\r\n");
		return;
	}
	smtp_enter(ss, SMTP_CHECK);
	s->deadline_us = 0;
}

static void plain(struct smtp_session *ss, struct span b64)
{
	size_t cap = MAIL_B64_DEC_MAX(b64.len);
	uint8_t *raw = arena_alloc(&ss->s.arena, cap + 1);
	struct sasl_plain m;
	if (!raw) {
		over(ss, "454 4.7.0 Temporary authentication failure\r\n");
	} else if (!sasl_plain_read(b64, raw, cap, &m)) {
		over(ss, "501 5.5.2 Cannot read that response\r\n");
	} else if (m.other) {
		sasl_wipe(raw, cap);
		over(ss, "535 5.7.8 No log-in in another's name\r\n");
	} else {
		check(ss, m.user, m.password, raw, cap);
	}
}

static void ask(struct smtp_session *ss, uint8_t step, const char *challenge)
{
	ss->auth_step = step;
	stream_str(&ss->s.st, challenge);
}

/* LOGIN has no document of its own: two questions, "Username:" and "Password:", each answered in base64. */
static void login(struct smtp_session *ss, struct span b64)
{
	size_t cap = MAIL_B64_DEC_MAX(b64.len);
	uint8_t *raw = arena_alloc(&ss->s.arena, cap + 1);
	ptrdiff_t len = raw ? mail_b64_decode(b64, raw, cap) : 0;
	if (!raw) {
		over(ss, "454 4.7.0 Temporary authentication failure\r\n");
	} else if (len <= 0 || memchr(raw, 0, (size_t)len)) {
		sasl_wipe(raw, cap);
		over(ss, "501 5.5.2 Cannot read that response\r\n");
	} else if (ss->auth_step == STEP_LOGIN_USER) {
		ss->login_user = span_of(raw, (size_t)len);
		ask(ss, STEP_LOGIN_PASSWORD, "334 UGFzc3dvcmQ6\r\n");
	} else {
		check(ss, ss->login_user, span_of(raw, (size_t)len), raw, cap);
	}
}

static void response(struct smtp_session *ss, struct span b64)
{
	if (ss->auth_step == STEP_PLAIN)
		plain(ss, b64);
	else
		login(ss, b64);
}

void smtp_auth_command(struct smtp_session *ss, struct span arg)
{
	ptrdiff_t sp = span_find(arg, ' ');
	struct span name = span_head(arg, sp < 0 ? arg.len : (size_t)sp);
	struct span first = span_trim(span_from(arg, name.len));
	bool is_plain = span_ieq(name, SPAN("PLAIN"));
	if (!smtp_auth_offered(ss)) {
		stat_inc(ss->s.env->stat, STAT_smtp_bad_command);
		smtp_reply(ss, "502 5.5.1 Command not implemented\r\n");
	} else if (ss->user) { /* RFC 4954 4 */
		smtp_reply(ss, "503 5.5.1 You are logged in\r\n");
	} else if (!is_plain && !span_ieq(name, SPAN("LOGIN"))) {
		smtp_reply(ss, "504 5.5.4 Unknown mechanism\r\n");
	} else {
		ss->auth_step = is_plain ? STEP_PLAIN : STEP_LOGIN_USER;
		smtp_enter(ss, SMTP_AUTH);
		if (first.len)
			response(ss, first);
		else
			ask(ss, ss->auth_step, is_plain ? "334 \r\n" : "334 VXNlcm5hbWU6\r\n");
	}
}

bool smtp_auth_read(struct smtp_session *ss)
{
	struct session *s = &ss->s;
	struct span line;
	enum err e = stream_line(&s->st, SASL_LINE_MAX, &line, NULL);
	if (e == ERR_MORE)
		return false;
	if (e != ERR_OK) {
		stat_inc(s->env->stat, STAT_smtp_line_too_long);
		smtp_bye(ss, "500 5.5.6 Line too long\r\n");
		return false;
	}
	smtp_deadline(ss);
	if (span_eq(line, SPAN("*")))
		over(ss, "501 5.7.0 Authentication given up\r\n");
	else
		response(ss, line);
	stream_line_done(&s->st);
	return true;
}

void smtp_auth_result(struct smtp_session *ss, const struct auth_op *op)
{
	struct session *s = &ss->s;
	if (ss->state != SMTP_CHECK)
		return;
	if (op->ok && (ss->user = strdup(op->name)) != NULL) {
		stat_inc(s->env->stat, STAT_smtp_logins);
		smtp_deadline(ss);
		over(ss, "235 2.7.0 Authentication succeeded\r\n");
	} else {
		stat_inc(s->env->stat, STAT_auth_failed);
		s->deadline_us = s->env->now_us + AUTH_DELAY_US;
	}
}

void smtp_auth_denied(struct smtp_session *ss)
{
	smtp_deadline(ss);
	over(ss, "535 5.7.8 Wrong user or password\r\n");
	if (++ss->n_denied >= AUTH_TRIES)
		smtp_bye(ss, "421 4.7.0 Too many failed log-ins\r\n");
}

bool smtp_auth_owns(const struct smtp_session *ss, const struct mail_addr *from)
{
	char name[MAIL_ADDR_MAX + 1];
	if (!ss->user || from->domain.len == 0)
		return true;
	return span_eq(span_of(name, mail_addr_canon(from, true, name)), span_str(ss->user));
}
