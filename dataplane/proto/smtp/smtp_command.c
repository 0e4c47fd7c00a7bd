/*
 * smtp_command.c: the commands (RFC 5321 4.1), one row and one function each.
 *
 * A row says in which states the command may come; a command that must end a group of pipelined ones
 * because the client cannot know what comes next (RFC 2920 3.1) is LAST: bytes behind it mean a client
 * that does not listen, and the session ends before any of them could be taken for something else.
 */
#include <stdio.h>
#include <stdlib.h>
#include "smtp_int.h"

enum { LAST = 1, NO_ARG = 2 };

#define GREETED (SMTP_IN(SMTP_READY) | SMTP_IN(SMTP_MAIL) | SMTP_IN(SMTP_RCPT) | SMTP_IN(SMTP_CHUNKS))
#define ANY     (SMTP_IN(SMTP_START) | GREETED)

static void bad_syntax(struct smtp_session *ss, const char *reply)
{
	stat_inc(ss->s.env->stat, STAT_smtp_bad_command);
	smtp_reply(ss, reply);
}

/* The client's name goes into a header field and nowhere else: printable, without what structures one. */
static bool helo_valid(struct span s)
{
	if (s.len == 0 || s.len > SMTP_HELO_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] <= ' ' || s.p[i] >= 0x7f || strchr("()<>@,;\\\"", s.p[i]))
			return false;
	return true;
}

static bool helo_take(struct smtp_session *ss, struct span arg, bool esmtp)
{
	if (!helo_valid(arg)) {
		bad_syntax(ss, "501 5.5.4 Syntax: a host name or address literal is needed\r\n");
		return false;
	}
	char *name = strndup((const char *)arg.p, arg.len);
	if (!name) {
		smtp_reply(ss, "451 4.3.0 Out of memory\r\n");
		return false;
	}
	free(ss->helo);
	ss->helo = name;
	ss->esmtp = esmtp;
	smtp_txn_end(ss);
	smtp_enter(ss, SMTP_READY);
	return true;
}

static void cmd_helo(struct smtp_session *ss, struct span arg)
{
	if (helo_take(ss, arg, false))
		smtp_replyf(ss, "250 %.255s\r\n", ss->s.env->conf->hostname);
}

static void cmd_ehlo(struct smtp_session *ss, struct span arg)
{
	if (helo_take(ss, arg, true))
		smtp_replyf(ss,
			    "250-%.255s\r\n%s250-PIPELINING\r\n250-SIZE %llu\r\n250-8BITMIME\r\n250-CHUNKING\r\n%s%s"
			    "250-DSN\r\n250 ENHANCEDSTATUSCODES\r\n",
			    ss->s.env->conf->hostname, session_offers_tls(&ss->s) ? "250-STARTTLS\r\n" : "",
			    (unsigned long long)ss->s.env->conf->message_size_max,
			    ss->s.env->conf->binarymime ? "250-BINARYMIME\r\n" : "",
			    smtp_auth_offered(ss) ? "250-AUTH PLAIN LOGIN\r\n" : "");
}

/* ---- MAIL ---- */
/* The path behind "FROM:" or "TO:". */
static bool path_take(struct span arg, struct span word, uint32_t allow, struct mail_addr *addr, struct span *tail)
{
	return span_istarts(arg, word) && mail_path_parse(span_from(arg, word.len), allow, addr, tail) == ERR_OK;
}

static void mail_refuse(struct smtp_session *ss, enum stat_id why, const char *reply)
{
	stat_inc(ss->s.env->stat, why);
	smtp_reply(ss, reply);
}

static void cmd_mail(struct smtp_session *ss, struct span arg)
{
	struct session *s = &ss->s;
	struct mail_addr addr;
	struct span tail;
	struct smtp_param args = {.conf = s->env->conf};
	char from[MAIL_ADDR_MAX + 1];
	if (smtp_auth_needed(ss) && !ss->user) { /* RFC 6409 4.3 */
		mail_refuse(ss, STAT_smtp_login_needed, session_may_auth(s) ?
			    "530 5.7.0 Authentication required\r\n" : "530 5.7.0 Say STARTTLS first\r\n");
		return;
	}
	if (!path_take(arg, SPAN("FROM:"), MAIL_PATH_FROM, &addr, &tail)) {
		bad_syntax(ss, "501 5.1.7 Syntax: MAIL FROM:<address>\r\n");
		return;
	}
	const char *refused = smtp_param_mail(tail, &args);
	if (refused) {
		bad_syntax(ss, refused);
		return;
	}
	if (!smtp_auth_owns(ss, &addr)) { /* RFC 6409 6.1 */
		mail_refuse(ss, STAT_smtp_not_theirs, "553 5.7.1 That sender is not yours\r\n");
		return;
	}
	if (args.size_overflow || args.size > s->env->conf->message_size_max) {
		mail_refuse(ss, STAT_smtp_too_big, "552 5.3.4 Message too big\r\n");
		return;
	}
	if (s->env->low_memory) {
		mail_refuse(ss, STAT_smtp_tempfail, "452 4.3.1 Out of memory, try again later\r\n");
		return;
	}
	size_t n = mail_addr_canon(&addr, false, from);
	struct smtp_txn *t = arena_zalloc(&s->arena, sizeof(*t));
	if (t)
		t->from = arena_copy(&s->arena, span_of(from, n));
	if (t)
		t->envid = arena_copy(&s->arena, args.envid);
	if (!t || !t->from.p || !t->envid.p) {
		smtp_txn_end(ss);
		mail_refuse(ss, STAT_smtp_tempfail, "452 4.3.1 Out of memory, try again later\r\n");
		return;
	}
	t->body_8bit = args.body_8bit;
	t->body_binary = args.body_binary;
	t->ret = args.ret;
	ss->txn = t;
	smtp_enter(ss, SMTP_MAIL);
	smtp_reply(ss, "250 2.1.0 Sender ok\r\n");
}

/* ---- RCPT ---- */
static const struct {
	enum stat_id stat;
	const char *reply;
} rcpt_refusal[] = {
	[DIR_UNKNOWN_USER] = {STAT_smtp_unknown_user, "550 5.1.1 No such mailbox\r\n"},
	[DIR_RELAY_DENIED] = {STAT_smtp_relay_denied, "550 5.7.1 Relaying denied\r\n"},
	[DIR_NO_ROUTE] = {STAT_smtp_relay_denied, "550 5.4.4 No route to that domain\r\n"},
};

static bool rcpt_same(const struct queue_rcpt *a, const struct queue_rcpt *b)
{
	if (a->local || b->local)
		return a->local && b->local && a->acct == b->acct;
	return span_eq(a->addr, b->addr); /* canonical: the domain is in lower case */
}

/* Room for one more; doubles in the arena, what is left behind is at most as much again. */
static bool rcpt_grow(struct smtp_session *ss, struct smtp_txn *t)
{
	uint32_t cap = t->rcpt_cap ? t->rcpt_cap * 2 : 4;
	if (t->n_rcpt < t->rcpt_cap)
		return true;
	struct queue_rcpt *rcpt = arena_alloc(&ss->s.arena, cap * sizeof(*rcpt));
	uint32_t *hash = arena_alloc(&ss->s.arena, cap * sizeof(*hash));
	if (!rcpt || !hash)
		return false;
	if (t->n_rcpt) {
		memcpy(rcpt, t->rcpt, t->n_rcpt * sizeof(*rcpt));
		memcpy(hash, t->rcpt_hash, t->n_rcpt * sizeof(*hash));
	}
	t->rcpt = rcpt;
	t->rcpt_hash = hash;
	t->rcpt_cap = cap;
	return true;
}

/* Adds the recipient unless it is there (one copy a mailbox, however often it was named). */
static bool rcpt_add(struct smtp_session *ss, struct smtp_txn *t, struct queue_rcpt *r)
{
	uint32_t hash = r->local ? crc32c(1, &r->acct, sizeof(r->acct)) : crc32c(0, r->addr.p, r->addr.len);
	for (uint32_t i = 0; i < t->n_rcpt; i++)
		if (t->rcpt_hash[i] == hash && rcpt_same(&t->rcpt[i], r))
			return true;
	r->addr = arena_copy(&ss->s.arena, r->addr);
	r->orcpt = arena_copy(&ss->s.arena, r->orcpt);
	if (!r->addr.p || !r->orcpt.p || !rcpt_grow(ss, t))
		return false;
	t->rcpt[t->n_rcpt] = *r;
	t->rcpt_hash[t->n_rcpt++] = hash;
	return true;
}

static void cmd_rcpt(struct smtp_session *ss, struct span arg)
{
	struct session *s = &ss->s;
	struct smtp_txn *t = ss->txn;
	struct mail_addr addr;
	struct span tail;
	struct queue_rcpt r = {0};
	char text[MAIL_ADDR_MAX + 1];
	if (!path_take(arg, SPAN("TO:"), MAIL_PATH_RCPT, &addr, &tail)) {
		bad_syntax(ss, "501 5.1.3 Syntax: RCPT TO:<address>\r\n");
		return;
	}
	struct smtp_param args = {.conf = s->env->conf};
	const char *refused = smtp_param_rcpt(tail, &args);
	if (refused) {
		bad_syntax(ss, refused);
		return;
	}
	if (t->n_rcpt_cmd >= s->env->conf->recipients_max) { /* RFC 5321 4.5.3.1.10: never 5xx */
		mail_refuse(ss, STAT_smtp_too_many_rcpts, "452 4.5.3 Too many recipients\r\n");
		return;
	}
	enum dir_verdict v = dir_resolve(s->env->conf, s->env->store_shared, ss->user ? NULL : &s->peer, addr.local,
					 addr.domain, &r);
	if (v != DIR_LOCAL && v != DIR_RELAY) {
		mail_refuse(ss, rcpt_refusal[v].stat, rcpt_refusal[v].reply);
		return;
	}
	r.local = v == DIR_LOCAL;
	r.notify = args.notify;
	r.orcpt = args.orcpt;
	r.addr = span_of(text, mail_addr_canon(&addr, false, text));
	if (!rcpt_add(ss, t, &r)) {
		mail_refuse(ss, STAT_smtp_tempfail, "452 4.3.1 Out of memory, try again later\r\n");
		return;
	}
	t->n_rcpt_cmd++;
	if (ss->state == SMTP_MAIL)
		smtp_enter(ss, SMTP_RCPT);
	smtp_reply(ss, "250 2.1.5 Recipient ok\r\n");
}

/* ---- the others ---- */
static void cmd_data(struct smtp_session *ss, struct span arg)
{
	(void)arg;
	if (ss->txn->body_binary) /* RFC 3030 3 */
		mail_refuse(ss, STAT_smtp_bad_sequence, "503 5.5.1 A message of BODY=BINARYMIME comes by BDAT\r\n");
	else
		smtp_data_begin(ss);
}

static void cmd_rset(struct smtp_session *ss, struct span arg)
{
	(void)arg;
	if (ss->state > SMTP_READY) {
		smtp_txn_end(ss);
		smtp_enter(ss, SMTP_READY);
	}
	smtp_reply(ss, "250 2.0.0 Ok\r\n");
}

static void cmd_noop(struct smtp_session *ss, struct span arg)
{
	(void)arg;
	smtp_reply(ss, "250 2.0.0 Ok\r\n");
}

static void cmd_auth(struct smtp_session *ss, struct span arg)
{
	smtp_auth_command(ss, arg);
}

static void cmd_starttls(struct smtp_session *ss, struct span arg)
{
	(void)arg;
	smtp_tls_command(ss);
}

/* RFC 5321 3.5.3: we do not say who exists; mail is refused at RCPT. */
static void cmd_vrfy(struct smtp_session *ss, struct span arg)
{
	if (arg.len == 0)
		bad_syntax(ss, "501 5.5.4 Syntax: VRFY address\r\n");
	else
		smtp_reply(ss, "252 2.5.0 Cannot verify; send mail and see\r\n");
}

static void cmd_help(struct smtp_session *ss, struct span arg)
{
	(void)arg;
	smtp_reply(ss, "214 2.0.0 EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT\r\n");
}

static void cmd_quit(struct smtp_session *ss, struct span arg)
{
	(void)arg;
	smtp_bye(ss, "221 2.0.0 Bye\r\n");
}

static void cmd_not_here(struct smtp_session *ss, struct span arg)
{
	(void)arg;
	bad_syntax(ss, "502 5.5.1 Command not implemented\r\n");
}

/* A browser or a proxy was made to talk to us: nothing it says may be taken for mail. */
static void cmd_foreign(struct smtp_session *ss, struct span arg)
{
	(void)arg;
	stat_inc(ss->s.env->stat, STAT_smtp_bad_command);
	smtp_bye(ss, "554 5.5.1 This is an SMTP server\r\n");
}

static const struct smtp_cmd {
	const char *name;
	uint16_t states;
	uint16_t line_max; /* with CRLF; 0: SMTP_LINE_MAX */
	uint8_t flags;
	void (*run)(struct smtp_session *ss, struct span arg);
} commands[] = {
	{"MAIL", SMTP_IN(SMTP_READY), SMTP_LINE_MAX_MAIL, 0, cmd_mail},
	{"RCPT", SMTP_IN(SMTP_MAIL) | SMTP_IN(SMTP_RCPT), SMTP_LINE_MAX_RCPT, 0, cmd_rcpt},
	{"DATA", SMTP_IN(SMTP_RCPT), 0, LAST | NO_ARG, cmd_data},
	{"BDAT", ANY, SMTP_LINE_MAX_ANY, 0, smtp_chunk_command}, /* its octets have to be read in any state */
	{"EHLO", ANY, 0, LAST, cmd_ehlo},
	{"HELO", ANY, 0, LAST, cmd_helo},
	{"AUTH", SMTP_IN(SMTP_READY), SMTP_LINE_MAX_ANY, LAST, cmd_auth},
	{"STARTTLS", SMTP_IN(SMTP_READY) | SMTP_IN(SMTP_MAIL) | SMTP_IN(SMTP_RCPT), 0, NO_ARG, cmd_starttls},
	{"RSET", ANY, 0, NO_ARG, cmd_rset},
	{"NOOP", ANY, 0, 0, cmd_noop},
	{"QUIT", ANY, 0, NO_ARG, cmd_quit},
	{"VRFY", ANY, 0, 0, cmd_vrfy},
	{"HELP", ANY, 0, 0, cmd_help},
	{"EXPN", ANY, 0, 0, cmd_not_here},
	{"TURN", ANY, 0, 0, cmd_not_here},
	{"SEND", ANY, 0, 0, cmd_not_here},
	{"SOML", ANY, 0, 0, cmd_not_here},
	{"SAML", ANY, 0, 0, cmd_not_here},
	{"GET", ANY, 0, 0, cmd_foreign},
	{"HEAD", ANY, 0, 0, cmd_foreign},
	{"POST", ANY, 0, 0, cmd_foreign},
	{"PUT", ANY, 0, 0, cmd_foreign},
	{"OPTIONS", ANY, 0, 0, cmd_foreign},
	{"CONNECT", ANY, 0, 0, cmd_foreign},
};

static const struct smtp_cmd *command_find(struct span verb)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (span_ieq(verb, span_str(commands[i].name)))
			return &commands[i];
	return NULL;
}

/* What is missing, by the state that we are in. */
static const char *bad_sequence(const struct smtp_session *ss, const struct smtp_cmd *c)
{
	if (ss->state == SMTP_START)
		return "503 5.5.1 Say EHLO or HELO first\r\n";
	if (ss->state == SMTP_CHUNKS)
		return "503 5.5.1 A message has begun: BDAT or RSET\r\n";
	if (c->run == cmd_mail)
		return "503 5.5.1 Sender was given already\r\n";
	if (ss->state == SMTP_MAIL)
		return "554 5.5.1 No valid recipients\r\n";
	return "503 5.5.1 Say MAIL first\r\n";
}

void smtp_command(struct smtp_session *ss, struct span line, uint32_t line_len)
{
	struct session *s = &ss->s;
	ptrdiff_t sp = span_find(line, ' ');
	struct span verb = span_head(line, sp < 0 ? line.len : (size_t)sp);
	struct span arg = span_trim(span_from(line, verb.len));
	const struct smtp_cmd *c = command_find(verb);
	trace_put(s->env->trace, s->env->now_us, TRACE_session_cmd, s->index,
		  (uint16_t)(c ? c - commands : UINT16_MAX), ss->state);
	if (!c && line.len && line.p[0] == 0x16) {
		cmd_foreign(ss, arg);
	} else if (!c) {
		bad_syntax(ss, "500 5.5.1 Command unrecognized\r\n");
	} else if (line_len > (c->line_max ? c->line_max : SMTP_LINE_MAX)) {
		stat_inc(s->env->stat, STAT_smtp_line_too_long);
		smtp_reply(ss, "500 5.5.2 Line too long\r\n");
	} else if ((c->flags & LAST) && stream_readable(&s->st) > line_len) {
		stat_inc(s->env->stat, STAT_smtp_early_talker);
		smtp_bye(ss, "554 5.5.0 SMTP protocol synchronization error\r\n");
	} else if (!(c->states & SMTP_IN(ss->state))) {
		mail_refuse(ss, STAT_smtp_bad_sequence, bad_sequence(ss, c));
	} else if ((c->flags & NO_ARG) && arg.len) {
		bad_syntax(ss, "501 5.5.4 Syntax: the command takes no argument\r\n");
	} else {
		c->run(ss, arg);
	}
	if (ss->state != SMTP_CLOSING)
		stream_line_done(&s->st);
}

bool smtp_is_foreign(struct span head)
{
	static const char *const verbs[] = {"GET ", "HEAD ", "POST ", "PUT ", "OPTIONS ", "CONNECT "};
	if (head.len >= 2 && head.p[0] == 0x16 && head.p[1] == 0x03) /* a TLS record: ClientHello */
		return true;
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		if (span_istarts(head, span_str(verbs[i])))
			return true;
	return false;
}
