/*
 * pop3_command.c: the commands (RFC 1939 4, 5, 7; RFC 2449 5), one row and one function each; the row says
 * in which states the command may come.
 */
#include <stdlib.h>
#include "pop3_int.h"

#define AUTH  POP3_IN(POP3_AUTH)
#define TRANS POP3_IN(POP3_TRANS)

/* The message that the argument names, or NULL after an answer. */
static struct pop3_msg *message_of(struct pop3_session *ps, struct span arg)
{
	uint64_t n;
	if (!span_u64(arg, UINT32_MAX, &n)) {
		pop3_bad(ps, "-ERR A message number is needed\r\n");
		return NULL;
	}
	if (n == 0 || n > ps->n_msg || ps->msg[n - 1].deleted) {
		pop3_bad(ps, "-ERR No such message\r\n");
		return NULL;
	}
	return &ps->msg[n - 1];
}

static unsigned number_of(const struct pop3_session *ps, const struct pop3_msg *m)
{
	return (unsigned)(m - ps->msg) + 1;
}

/* RFC 2449 6 */
static void cmd_capa(struct pop3_session *ps, struct span arg)
{
	(void)arg;
	stream_printf(&ps->s.st, "+OK\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nAUTH-RESP-CODE\r\n%s%s",
		      session_may_auth(&ps->s) ? "USER\r\n" : "",
		      ps->state == POP3_AUTH && session_offers_tls(&ps->s) ? "STLS\r\n" : "");
	stream_str(&ps->s.st, "EXPIRE NEVER\r\nIMPLEMENTATION veredus\r\n.\r\n");
}

static void cmd_user(struct pop3_session *ps, struct span arg)
{
	free(ps->user);
	ps->user = NULL;
	if (!session_may_auth(&ps->s)) {
		pop3_bad(ps, "-ERR [SYS/PERM] Log in over TLS\r\n");
		return;
	}
	if (arg.len == 0 || memchr(arg.p, 0, arg.len)) {
		pop3_bad(ps, "-ERR Syntax: USER name\r\n");
		return;
	}
	ps->user = strndup((const char *)arg.p, arg.len);
	stream_str(&ps->s.st, ps->user ? "+OK\r\n" : "-ERR [SYS/TEMP] Out of memory\r\n");
}

static void cmd_pass(struct pop3_session *ps, struct span arg)
{
	char *user = ps->user;
	if (!user) {
		pop3_bad(ps, "-ERR Say USER first\r\n");
		return;
	}
	if (arg.len == 0) {
		pop3_bad(ps, "-ERR Syntax: PASS password\r\n");
		return;
	}
	ps->user = NULL;
	pop3_login(ps, span_str(user), arg);
	free(user);
}

/* RFC 2595 4: nothing is remembered of what was said before. */
static void cmd_stls(struct pop3_session *ps, struct span arg)
{
	(void)arg;
	if (!session_offers_tls(&ps->s)) {
		pop3_bad(ps, stream_is_tls(&ps->s.st) ? "-ERR TLS is on already\r\n" : "-ERR Unknown command\r\n");
		return;
	}
	free(ps->user);
	ps->user = NULL;
	stream_str(&ps->s.st, "+OK Begin TLS negotiation\r\n");
	session_start_tls(&ps->s, "pop3");
}

static void cmd_stat(struct pop3_session *ps, struct span arg)
{
	uint64_t bytes = 0;
	(void)arg;
	for (uint32_t i = 0; i < ps->n_msg; i++)
		if (!ps->msg[i].deleted)
			bytes += ps->msg[i].size;
	stream_printf(&ps->s.st, "+OK %u %llu\r\n", ps->n_msg - ps->n_deleted, (unsigned long long)bytes);
}

static void cmd_list(struct pop3_session *ps, struct span arg)
{
	if (arg.len == 0) {
		pop3_send_list(ps, false);
		return;
	}
	const struct pop3_msg *m = message_of(ps, arg);
	if (m)
		stream_printf(&ps->s.st, "+OK %u %u\r\n", number_of(ps, m), m->size);
}

static void cmd_uidl(struct pop3_session *ps, struct span arg)
{
	if (arg.len == 0) {
		pop3_send_list(ps, true);
		return;
	}
	const struct pop3_msg *m = message_of(ps, arg);
	if (m)
		stream_printf(&ps->s.st, "+OK %u %016llx\r\n", number_of(ps, m), (unsigned long long)m->oid);
}

static void cmd_retr(struct pop3_session *ps, struct span arg)
{
	const struct pop3_msg *m = message_of(ps, arg);
	if (m)
		pop3_send_message(ps, m, UINT64_MAX);
}

static void cmd_top(struct pop3_session *ps, struct span arg)
{
	ptrdiff_t sp = span_find(arg, ' ');
	uint64_t lines;
	if (sp < 0 || !span_u64(span_trim(span_from(arg, (size_t)sp)), UINT32_MAX, &lines)) {
		pop3_bad(ps, "-ERR Syntax: TOP message lines\r\n");
		return;
	}
	const struct pop3_msg *m = message_of(ps, span_head(arg, (size_t)sp));
	if (m)
		pop3_send_message(ps, m, lines);
}

static void cmd_dele(struct pop3_session *ps, struct span arg)
{
	struct pop3_msg *m = message_of(ps, arg);
	if (!m)
		return;
	m->deleted = true;
	ps->n_deleted++;
	stream_str(&ps->s.st, "+OK\r\n");
}

static void cmd_rset(struct pop3_session *ps, struct span arg)
{
	(void)arg;
	for (uint32_t i = 0; i < ps->n_msg; i++)
		ps->msg[i].deleted = false;
	ps->n_deleted = 0;
	stream_str(&ps->s.st, "+OK\r\n");
}

static void cmd_noop(struct pop3_session *ps, struct span arg)
{
	(void)arg;
	stream_str(&ps->s.st, "+OK\r\n");
}

static void cmd_quit(struct pop3_session *ps, struct span arg)
{
	(void)arg;
	pop3_quit(ps);
}

static const struct pop3_cmd {
	const char *name;
	uint16_t states;
	bool no_arg;
	void (*run)(struct pop3_session *ps, struct span arg);
} commands[] = {
	{"CAPA", AUTH | TRANS, true, cmd_capa},
	{"USER", AUTH, false, cmd_user},
	{"PASS", AUTH, false, cmd_pass},
	{"STLS", AUTH, true, cmd_stls},
	{"STAT", TRANS, true, cmd_stat},
	{"LIST", TRANS, false, cmd_list},
	{"UIDL", TRANS, false, cmd_uidl},
	{"RETR", TRANS, false, cmd_retr},
	{"TOP", TRANS, false, cmd_top},
	{"DELE", TRANS, false, cmd_dele},
	{"RSET", TRANS, true, cmd_rset},
	{"NOOP", TRANS, true, cmd_noop},
	{"QUIT", AUTH | TRANS, true, cmd_quit},
};

static const struct pop3_cmd *command_find(struct span verb)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (span_ieq(verb, span_str(commands[i].name)))
			return &commands[i];
	return NULL;
}

void pop3_command(struct pop3_session *ps, struct span line)
{
	struct session *s = &ps->s;
	ptrdiff_t sp = span_find(line, ' ');
	struct span verb = span_head(line, sp < 0 ? line.len : (size_t)sp);
	struct span arg = span_from(line, verb.len + (sp >= 0));
	const struct pop3_cmd *c = command_find(verb);
	trace_put(s->env->trace, s->env->now_us, TRACE_session_cmd, s->index,
		  (uint16_t)(c ? c - commands : UINT16_MAX), ps->state);
	if (c && c->run != cmd_pass) /* a password may begin or end with spaces */
		arg = span_trim(arg);
	if (!c)
		pop3_bad(ps, "-ERR Unknown command\r\n");
	else if (!(c->states & POP3_IN(ps->state)))
		pop3_bad(ps, ps->state == POP3_AUTH ? "-ERR Log in first\r\n" : "-ERR You are logged in\r\n");
	else if (c->no_arg && arg.len)
		pop3_bad(ps, "-ERR The command takes no argument\r\n");
	else
		c->run(ps, arg);
}
