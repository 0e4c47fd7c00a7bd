/*
 * imap_session.c: the life of an IMAP session: reading commands with their literals, the command table, tagged
 * replies, time-outs. The phases and the session's invariants are in imap_int.h.
 *
 * Memory before login is bounded by 4 KiB a command, after it by 64 KiB and the arena's limit; a literal is
 * refused by its announced size, before a byte of it is taken or room is made (the class of CVE-2024-34055). What a
 * refused LITERAL+ carries is thrown away; one that is too big for that ends the session, for the bytes behind
 * it must never be read as commands.
 */
#include "imap_server.h"
#include <stdarg.h>
#include <stdio.h>
#include "imap_int.h"

#define SKIP_MAX_NEW 65536u        /* bytes of a refused LITERAL+ that are thrown away before login */
#define SKIP_MAX     (256u << 20)  /* and after */

enum {
	ANY = IMAP_NEW | IMAP_AUTH | IMAP_SELECTED,
	IN = IMAP_AUTH | IMAP_SELECTED,
	SEL = IMAP_SELECTED,
};
#define NAME(s) {(const uint8_t *)(s), sizeof(s) - 1}
/* RFC 3501 section 6, in its order, then the extensions'. */
static const struct imap_verb verbs[] = {
	{NAME("CAPABILITY"), ANY, IMAP_UID_NO, false, imap_cmd_capability},
	{NAME("NOOP"), ANY, IMAP_UID_NO, false, imap_cmd_noop},
	{NAME("LOGOUT"), ANY, IMAP_UID_NO, false, imap_cmd_logout},
	{NAME("STARTTLS"), IMAP_NEW, IMAP_UID_NO, false, imap_cmd_starttls},
	{NAME("AUTHENTICATE"), IMAP_NEW, IMAP_UID_NO, false, imap_cmd_authenticate},
	{NAME("LOGIN"), IMAP_NEW, IMAP_UID_NO, false, imap_cmd_login},
	{NAME("SELECT"), IN, IMAP_UID_NO, false, imap_cmd_select},
	{NAME("EXAMINE"), IN, IMAP_UID_NO, false, imap_cmd_examine},
	{NAME("CREATE"), IN, IMAP_UID_NO, false, imap_cmd_create},
	{NAME("DELETE"), IN, IMAP_UID_NO, false, imap_cmd_delete},
	{NAME("RENAME"), IN, IMAP_UID_NO, false, imap_cmd_rename},
	{NAME("SUBSCRIBE"), IN, IMAP_UID_NO, false, imap_cmd_subscribe},
	{NAME("UNSUBSCRIBE"), IN, IMAP_UID_NO, false, imap_cmd_unsubscribe},
	{NAME("LIST"), IN, IMAP_UID_NO, false, imap_cmd_list},
	{NAME("LSUB"), IN, IMAP_UID_NO, false, imap_cmd_lsub},
	{NAME("STATUS"), IN, IMAP_UID_NO, false, imap_cmd_status},
	{NAME("APPEND"), IN, IMAP_UID_NO, false, imap_cmd_append},
	{NAME("CHECK"), SEL, IMAP_UID_NO, false, imap_cmd_noop},
	{NAME("CLOSE"), SEL, IMAP_UID_NO, false, imap_cmd_close},
	{NAME("EXPUNGE"), SEL, IMAP_UID_MAY, false, imap_cmd_expunge},
	{NAME("SEARCH"), SEL, IMAP_UID_MAY, true, imap_cmd_search},
	{NAME("FETCH"), SEL, IMAP_UID_MAY, true, imap_cmd_fetch},
	{NAME("STORE"), SEL, IMAP_UID_MAY, true, imap_cmd_store},
	{NAME("COPY"), SEL, IMAP_UID_MAY, false, imap_cmd_copy},
	{NAME("ID"), ANY, IMAP_UID_NO, false, imap_cmd_id},              /* RFC 2971 */
	{NAME("IDLE"), IN, IMAP_UID_NO, false, imap_cmd_idle},      /* RFC 2177 */
	{NAME("NAMESPACE"), IN, IMAP_UID_NO, false, imap_cmd_namespace}, /* RFC 2342 */
	{NAME("UNSELECT"), SEL, IMAP_UID_NO, false, imap_cmd_unselect},  /* RFC 3691 */
	{NAME("ENABLE"), IN, IMAP_UID_NO, false, imap_cmd_enable},       /* RFC 5161 */
	{NAME("MOVE"), SEL, IMAP_UID_MAY, false, imap_cmd_move},    /* RFC 6851 */
};

/* ---- replies ---- */

struct span imap_tag(const struct imap *im)
{
	return span_of(im->cmd.p, im->tag_len);
}

void imap_enter(struct imap *im, enum imap_phase phase)
{
	CHECK(im->phase != IMAP_P_CLOSED || phase == IMAP_P_CLOSED);
	im->phase = (uint8_t)phase;
}

void imap_end(struct imap *im)
{
	imap_append_drop(im);
	imap_msg_drop(im);
	buf_fini(&im->cmd);
	buf_fini(&im->reply);
	buf_fini(&im->out);
	im->tag_len = 0;
	im->verb = NULL;
	im->uid = false;
	im->refused = NULL;
	im->job = NULL;
	if (im->job_op)
		store_op_free(&im->job_op);
	im->predict = NULL;
	im->op = NULL;
	im->next = NULL;
	imap_read_end(im);
	arena_reset(&im->s.arena);
	if (im->phase != IMAP_P_CLOSED)
		imap_enter(im, IMAP_P_LINE);
}

void imap_bye(struct imap *im, const char *text)
{
	if (im->phase == IMAP_P_CLOSED)
		return;
	stream_printf(&im->s.st, "* BYE %s\r\n", text);
	stream_close(&im->s.st);
	im->s.deadline_us = imap_now(im) + IMAP_LAST_US;
	imap_enter(im, IMAP_P_CLOSED);
	imap_end(im);
}

void imap_tag_write(struct imap *im)
{
	if (im->tag_len)
		stream_write(&im->s.st, imap_tag(im));
	else
		stream_str(&im->s.st, "*");
	stream_str(&im->s.st, " ");
}

static void count_bad(struct imap *im)
{
	unsigned max = im->state == IMAP_NEW ? IMAP_BAD_MAX_NEW : IMAP_BAD_MAX;

	stat_inc(im->s.env->stat, STAT_imap_bad_command);
	if (++im->n_bad >= max)
		imap_bye(im, "Too many invalid commands");
}

void imap_bad(struct imap *im, const char *text)
{
	imap_tag_write(im);
	stream_printf(&im->s.st, "BAD %s\r\n", text);
	imap_end(im);
	count_bad(im);
}

static void finish_synced(struct imap *im, struct store_op *op)
{
	bool there = imap_synced(im, op);

	store_op_free(&op);
	if (there)
		imap_enter(im, IMAP_P_FLUSH);
}

void imap_finish(struct imap *im, bool sync, const char *fmt, ...)
{
	va_list ap;
	char line[512];

	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	CHECK(n >= 0);
	buf_add(&im->reply, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
	im->flush_all = !im->verb || !im->verb->hold || im->uid;
	bool due = im->view && (sync || imap_now(im) - im->view->synced_us >= 1000000);
	if (!due || !imap_sync(im, finish_synced))
		imap_enter(im, IMAP_P_FLUSH);
}

void imap_finish_ok(struct imap *im, bool sync)
{
	imap_finish(im, sync, "OK %s" SPAN_FMT " completed", im->uid ? "UID " : "", SPAN_ARG(im->verb->name));
}

/* RFC 5530 codes for what the store may say. */
static const struct {
	enum err e;
	const char *text;
} err_reply[] = {
	{ERR_NOT_FOUND, "[NONEXISTENT] No such mailbox"},
	{ERR_EXISTS, "[ALREADYEXISTS] Mailbox exists already"},
	{ERR_DENIED, "[CANNOT] That is not possible with this mailbox"},
	{ERR_SYNTAX, "[CANNOT] Invalid mailbox name"},
	{ERR_TOO_LONG, "[CANNOT] Name is too long"},
	{ERR_TOO_MANY, "[LIMIT] Too many keywords or mailboxes"},
	{ERR_BUSY, "[INUSE] Mailbox is in use"},
	{ERR_QUOTA, "[OVERQUOTA] Quota exceeded"},
	{ERR_NO_SPACE, "[UNAVAILABLE] Out of disk space"},
	{ERR_NO_MEMORY, "[UNAVAILABLE] Out of memory, try again"},
	{ERR_CORRUPT, "[CORRUPTION] Stored data is damaged"},
	{ERR_IO, "[UNAVAILABLE] Storage failed"},
};

void imap_finish_err(struct imap *im, enum err e)
{
	for (unsigned i = 0; i < ARRAY_LEN(err_reply); i++) {
		if (err_reply[i].e == e) {
			imap_finish(im, false, "NO %s", err_reply[i].text);
			return;
		}
	}
	imap_finish(im, false, "NO [SERVERBUG] %s", err_text(e));
}

static bool step_flush(struct imap *im)
{
	if (im->view && !imap_view_flush(im, im->flush_all, im->uid))
		return false;
	if (im->reply.len >= 2 && im->reply.p[0] == 'O')
		im->n_bad = 0;
	imap_tag_write(im);
	stream_write(&im->s.st, buf_span(&im->reply));
	stream_str(&im->s.st, "\r\n");
	imap_end(im);
	return true;
}

/* ---- operations of the store ---- */

struct store_op *imap_op(struct imap *im, enum store_verb verb)
{
	struct store_op *op = store_op_new(im->s.env->store, verb, im->s.index, im->s.gen);

	if (!op) {
		im->flush_all = false;
		buf_add_str(&im->reply, "NO [UNAVAILABLE] Too much to do, try again");
		imap_enter(im, IMAP_P_FLUSH);
		return NULL;
	}
	op->acct = im->acct;
	return op;
}

void imap_await(struct imap *im, struct store_op *op, imap_next *next)
{
	im->op = op;
	im->next = next;
	imap_enter(im, IMAP_P_WAIT);
}

void imap_submit(struct imap *im, struct store_op *op, imap_next *next)
{
	imap_await(im, op, next);
	store_submit(im->s.env->store, op);
}

void imap_work(struct imap *im, bool (*work)(struct imap *im))
{
	im->work = work;
	imap_enter(im, IMAP_P_WORK);
}

static void on_store(struct session *s, struct store_op *op)
{
	struct imap *im = (struct imap *)s;

	if (op->verb == STORE_WATCH) {
		imap_idle_done(im, op);
	} else if (op == im->op && im->phase != IMAP_P_CLOSED) {
		im->op = NULL;
		im->next(im, op);
	} else if (!imap_read_came(im, op)) {
		store_op_free(&op); /* of a command that has ended */
	}
	imap_run(im);
}

/* ---- reading commands ---- */

static uint32_t line_max(const struct imap *im)
{
	return im->state == IMAP_NEW ? IMAP_LINE_MAX_NEW : IMAP_LINE_MAX;
}

/* Tag and verb from the front of the text, and whether the verb may come now. NULL, or what is wrong. */
static const char *command_head(struct imap *im, struct imap_parser *p)
{
	struct span tag, word;

	*p = imap_parser_of(buf_span(&im->cmd), &im->s.arena);
	im->verb = NULL;
	im->uid = false;
	im->tag_len = 0;
	if (!imap_parse_tag(p, &tag) || !imap_parse_peek(p, ' '))
		return "A command begins with a tag";
	im->tag_len = (uint32_t)tag.len;
	if (!imap_parse_sp(p) || !imap_parse_atom(p, &word))
		return "A command follows the tag";
	if (span_ieq(word, SPAN("UID"))) {
		im->uid = true;
		if (!imap_parse_sp(p) || !imap_parse_atom(p, &word))
			return "UID wants a command";
	}
	for (unsigned i = 0; i < ARRAY_LEN(verbs) && !im->verb; i++) {
		if (span_ieq(word, verbs[i].name) && (!im->uid || verbs[i].uid == IMAP_UID_MAY))
			im->verb = &verbs[i];
	}
	if (!im->verb)
		return "Unknown command";
	if (!(im->verb->states & im->state))
		return im->state == IMAP_NEW          ? "Log in first"
		       : im->verb->states == IMAP_NEW ? "Already logged in"
						      : "Select a mailbox first";
	return NULL;
}

static void command_execute(struct imap *im)
{
	struct imap_parser p;
	const char *wrong = command_head(im, &p);

	if (im->s.env->trace)
		trace_put(im->s.env->trace, imap_now(im), TRACE_session_cmd, im->s.index,
			  im->verb ? (uint16_t)(im->verb - verbs) : UINT16_MAX, im->state);
	if (wrong)
		imap_bad(im, wrong);
	else
		im->verb->run(im, &p);
}

static void refused_end(struct imap *im)
{
	const char *text = im->refused;

	im->refused = NULL;
	if (im->refused_bad)
		imap_bad(im, text);
	else
		imap_finish(im, false, "NO %s", text);
}

/* The command gets this reply in place of the literal, or, if that comes unasked, once it has been skipped. */
static void refuse(struct imap *im, enum imap_literal kind, uint64_t len, bool bad, const char *text)
{
	im->refused = text;
	im->refused_bad = bad;
	if (kind == IMAP_LITERAL_SYNC) {
		refused_end(im);
	} else if (len > (im->state == IMAP_NEW ? SKIP_MAX_NEW : SKIP_MAX)) {
		stat_inc(im->s.env->stat, STAT_imap_too_big);
		imap_bye(im, "[TOOBIG] Literal too big");
	} else {
		im->literal = len;
		imap_enter(im, IMAP_P_SKIP);
	}
}

/* A line has come that ends in {n} or {n+}. */
static void command_literal(struct imap *im, enum imap_literal kind, uint64_t len)
{
	struct imap_parser p;
	const char *wrong = command_head(im, &p);

	if (wrong) {
		refuse(im, kind, len, true, wrong);
		return;
	}
	if (im->verb->run == imap_cmd_login && !session_may_auth(&im->s)) { /* before the password is there */
		refuse(im, kind, len, false, IMAP_NEEDS_TLS);
		return;
	}
	if (im->verb->run == imap_cmd_append) {
		enum imap_append a = imap_append_literal(im, &p, len, kind == IMAP_LITERAL_SYNC);

		if (a == IMAP_APPEND_BAD)
			refuse(im, kind, len, true, "APPEND wants a mailbox, flags, a date and a literal");
		if (a != IMAP_APPEND_NAME)
			return;
	}
	if (len > line_max(im) || im->cmd.len + 2 + len > line_max(im)) {
		stat_inc(im->s.env->stat, STAT_imap_too_big);
		refuse(im, kind, len, im->state == IMAP_NEW, "[TOOBIG] Literal too big");
		return;
	}
	buf_add_str(&im->cmd, "\r\n");
	im->literal = len;
	if (kind == IMAP_LITERAL_SYNC)
		stream_str(&im->s.st, "+ Ready for literal data\r\n");
	imap_enter(im, IMAP_P_LITERAL);
}

/* A line was added to the command; how it ended tells what comes next. */
static void command_line(struct imap *im, enum imap_literal kind, bool plus, uint64_t len)
{
	struct imap_parser p;

	if (kind == IMAP_LITERAL_BAD && plus) {
		imap_bye(im, "Literal of unknown size");
	} else if (im->refused) {
		if (kind == IMAP_LITERAL_PLUS)
			refuse(im, kind, len, im->refused_bad, im->refused);
		else
			refused_end(im);
	} else if (kind == IMAP_LITERAL_BAD) {
		command_head(im, &p);
		imap_bad(im, "Literal is not possible here");
	} else if (kind != IMAP_LITERAL_NONE) {
		command_literal(im, kind, len);
	} else {
		command_execute(im);
	}
}

static bool step_line(struct imap *im)
{
	struct span line;
	uint64_t len = 0;

	if (!imap_room(im))
		return false;
	size_t have = im->cmd.len < line_max(im) ? im->cmd.len : line_max(im);
	enum err e = stream_line(&im->s.st, line_max(im) - (uint32_t)have, &line, NULL);
	if (e == ERR_MORE) {
		if (im->s.st.rx_eof) {
			stream_close(&im->s.st);
			im->s.deadline_us = imap_now(im) + IMAP_LAST_US;
			imap_enter(im, IMAP_P_CLOSED);
		}
		return false;
	}
	if (e != ERR_OK) {
		/* how it ends is not known, so what follows may be the bytes of a literal */
		stat_inc(im->s.env->stat, STAT_imap_too_big);
		imap_bye(im, "[TOOBIG] Command line too long");
		return false;
	}
	enum imap_literal kind = imap_literal_announced(line, &len);
	bool plus = line.len > 2 && line.p[line.len - 2] == '+';
	if (!im->refused)
		buf_add_span(&im->cmd, line);
	stream_line_done(&im->s.st);
	command_line(im, kind, plus, len);
	return true;
}

static bool step_literal(struct imap *im)
{
	while (im->literal) {
		struct span s = span_head(stream_peek(&im->s.st), (size_t)im->literal);

		if (!s.len) {
			if (im->s.st.rx_eof)
				imap_bye(im, "Connection ended within a command");
			return false;
		}
		buf_add_span(&im->cmd, s);
		im->literal -= s.len;
		stream_consume(&im->s.st, s.len);
	}
	imap_enter(im, IMAP_P_LINE);
	return true;
}

static bool step_skip(struct imap *im)
{
	uint64_t n = stream_readable(&im->s.st);

	if (n > im->literal)
		n = im->literal;
	stream_consume(&im->s.st, n);
	im->literal -= n;
	if (im->literal) {
		if (im->s.st.rx_eof)
			imap_bye(im, "Connection ended within a command");
		return false;
	}
	imap_enter(im, IMAP_P_LINE);
	return true;
}

static bool step_wait(struct imap *im)
{
	(void)im;
	return false;
}

static bool step_work(struct imap *im)
{
	return im->work(im);
}

/* ---- the loop's side ---- */

static bool (*const step[IMAP_P_N])(struct imap *im) = {
	[IMAP_P_LINE] = step_line,     [IMAP_P_LITERAL] = step_literal, [IMAP_P_SKIP] = step_skip,
	[IMAP_P_APPEND] = imap_step_append, [IMAP_P_SASL] = imap_step_sasl, [IMAP_P_IDLE] = imap_step_idle,
	[IMAP_P_WAIT] = step_wait,     [IMAP_P_WORK] = step_work,       [IMAP_P_FLUSH] = step_flush,
	[IMAP_P_DELAY] = step_wait,    [IMAP_P_CLOSED] = step_wait,
};

uint64_t imap_idle_us(const struct imap *im)
{
	uint32_t s = im->s.env->conf->imap_timeout_s;

	return s ? (uint64_t)s * 1000000 : IMAP_IDLE_US;
}

void imap_run(struct imap *im)
{
	while (step[im->phase](im))
		;
	if (im->s.st.failed && im->phase != IMAP_P_CLOSED) {
		stream_abort(&im->s.st);
		imap_enter(im, IMAP_P_CLOSED);
	}
}

static void on_open(struct session *s)
{
	struct imap *im = (struct imap *)s;
	char caps[IMAP_CAPS_MAX];

	memset((uint8_t *)im + sizeof(im->s), 0, sizeof(*im) - sizeof(im->s));
	arena_init(&s->arena, IMAP_ARENA_MAX);
	buf_init(&im->cmd);
	buf_init(&im->reply);
	buf_init(&im->out);
	im->state = IMAP_NEW;
	im->phase = IMAP_P_LINE;
	stat_inc(s->env->stat, STAT_imap_connections);
	s->deadline_us = s->env->now_us + IMAP_LOGIN_US;
	if (s->env->shutting_down)
		imap_bye(im, "Server is shutting down");
	else
		stream_printf(&s->st, "* OK [CAPABILITY %s] %s ready\r\n", imap_capabilities(im, caps),
			      s->env->conf->hostname);
}

static void on_input(struct session *s)
{
	struct imap *im = (struct imap *)s;

	if (im->state != IMAP_NEW && im->phase != IMAP_P_IDLE && im->phase != IMAP_P_CLOSED)
		s->deadline_us = imap_now(im) + imap_idle_us(im);
	imap_run(im);
}

static void on_timeout(struct session *s)
{
	struct imap *im = (struct imap *)s;

	switch (im->phase) {
	case IMAP_P_DELAY:
		s->deadline_us = s->opened_us + IMAP_LOGIN_US;
		imap_auth_denied(im);
		break;
	case IMAP_P_IDLE:
		imap_idle_timeout(im);
		break;
	case IMAP_P_WAIT: /* the store's answer comes, late as it may be */
		s->deadline_us = imap_now(im) + IMAP_LOGIN_US;
		break;
	case IMAP_P_CLOSED: /* the peer does not take our last words */
		stream_abort(&s->st);
		s->deadline_us = 0;
		break;
	default:
		stat_inc(s->env->stat, STAT_imap_timeout);
		imap_bye(im, "Idle for too long");
		break;
	}
	imap_run(im);
}

static void on_shutdown(struct session *s)
{
	imap_bye((struct imap *)s, "Server is shutting down");
}

static void on_close(struct session *s)
{
	struct imap *im = (struct imap *)s;

	im->phase = IMAP_P_CLOSED;
	if (im->watch)
		store_watch_cancel(s->env->store, im->watch);
	im->watch = NULL;
	imap_end(im);
	imap_view_destroy(&im->view);
}

const struct proto imap_proto = {
	.name = "imap",
	.size = sizeof(struct imap),
	.open = on_open,
	.input = on_input,
	.store_done = on_store,
	.auth_done = imap_auth_done,
	.timeout = on_timeout,
	.shutdown = on_shutdown,
	.close = on_close,
};
