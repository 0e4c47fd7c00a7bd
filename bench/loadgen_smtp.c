/*
 * loadgen_smtp.c: the SMTP client of the load generator: many connections on one thread, each a small state
 * machine, over whatever transport it is given.
 *
 *   CLOSED -open-> CONNECTING -LG_OPEN-> GREETING -220-> EHLO -250-> MAIL -> RCPT (n times) -> DATA -354-> BODY
 *     ^                                                               ^________________ 250 after the dot _|
 *     |__ EOF after 221 __ QUIT <- no message left, or per_connection reached
 *
 * With PIPELINING the commands from MAIL to DATA go in one write (RFC 2920) and the states only count replies.
 * A refused message goes through RSET and the connection goes on; a lost connection is opened again.
 */
#include "loadgen.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <time.h>

enum state {
	CLOSED, CONNECTING, GREETING, EHLO, MAIL, RCPT, DATA, BODY, RSET, QUIT
};

enum {
	N_EVENTS = 256,
	REPLY_MAX = 2048,
	POLL_MS = 20,
};
static const uint64_t REOPEN_NS = 50000000ull;
static const uint64_t STALL_NS = 30000000000ull;
static const uint64_t GRACE_NS = 10000000000ull;
static const uint64_t UNREACHED_NS = 5000000000ull;

struct conn {
	enum state state;
	bool pipelining, size;       /* offered by the server */
	unsigned rcpts_sent, rcpts_left, rcpts_ok;
	int bad;                     /* first error reply of this message */
	uint64_t number, done_here;
	uint64_t start_ns, last_ns, reopen_ns;
	struct iovec out[3];
	int out_i, out_n;
	size_t in_len;
	char in[REPLY_MAX];
	char header[LG_HEADER_MAX];
	char *cmd;
};

struct gen {
	const struct lg_options *o;
	const struct lg_io_ops *ops;
	struct lg_result *r;
	void *io;
	struct conn *conns;
	unsigned n_live;             /* connections that are not CLOSED or wait to be opened again */
	size_t cmd_cap;
	uint64_t next_number, next_rcpt;
	uint64_t begin_ns, end_ns, last_ns;
	uint64_t reached_ns;         /* when a connection was last established */
	size_t latency_cap;
	bool stop;                   /* start no more messages */
};

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

size_t lg_header(const struct lg_options *o, uint64_t number, char *out, size_t cap)
{
	int n = snprintf(out, cap,
			 "From: load generator <load@example.org>\r\nTo: mailbox <box@example.net>\r\n"
			 "Subject: load %010llu\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n"
			 "Message-ID: <%s-%010llu@example.org>\r\nX-Ledger-Id: %s-%010llu\r\n\r\n",
			 (unsigned long long)number, o->run_id, (unsigned long long)number, o->run_id,
			 (unsigned long long)number);

	return n < 0 ? 0 : (size_t)n < cap ? (size_t)n : cap - 1;
}

static bool more_messages(const struct gen *g)
{
	return !g->stop && (!g->o->messages || g->next_number < g->o->messages);
}

/* The connection is gone: the message on it failed; it is opened again when there is something left to send. */
static void conn_drop(struct gen *g, struct conn *c, uint64_t now)
{
	if (c->state >= MAIL && c->state <= BODY)
		g->r->failed++;
	g->ops->close(g->io, (unsigned)(c - g->conns));
	c->state = CLOSED;
	c->reopen_ns = now + REOPEN_NS;
	g->n_live--;
}

static void conn_flush(struct gen *g, struct conn *c)
{
	while (c->out_i < c->out_n) {
		struct iovec *v = c->out + c->out_i;
		ssize_t len = g->ops->send(g->io, (unsigned)(c - g->conns), v, c->out_n - c->out_i);

		if (len < 0) {
			g->r->resets++;
			conn_drop(g, c, now_ns());
			return;
		}
		if (len == 0)
			return;
		while (len > 0 && (size_t)len >= v->iov_len) {
			len -= (ssize_t)v->iov_len;
			v++;
			c->out_i++;
		}
		if (len > 0) {
			v->iov_base = (char *)v->iov_base + len;
			v->iov_len -= (size_t)len;
		}
	}
}

static void conn_send_cmd(struct gen *g, struct conn *c, size_t len)
{
	c->out[0] = (struct iovec){c->cmd, len};
	c->out_i = 0;
	c->out_n = 1;
	conn_flush(g, c);
}

static void conn_say(struct gen *g, struct conn *c, enum state next, const char *line)
{
	size_t len = strlen(line);

	c->state = next;
	memcpy(c->cmd, line, len);
	conn_send_cmd(g, c, len);
}

/* `pattern` with its '%' replaced by a number. */
static size_t put_pattern(char *p, const char *pattern, uint64_t number)
{
	char *start = p;

	for (; *pattern; pattern++) {
		if (*pattern == '%')
			p += sprintf(p, "%llu", (unsigned long long)number);
		else
			*p++ = *pattern;
	}
	return (size_t)(p - start);
}

static size_t put_mail(struct gen *g, struct conn *c, char *p)
{
	char *start = p;

	p += sprintf(p, "MAIL FROM:<");
	p += put_pattern(p, g->o->from, c->number);
	*p++ = '>';
	if (c->size)
		p += sprintf(p, " SIZE=%llu", (unsigned long long)g->o->size);
	p += sprintf(p, "\r\n");
	return (size_t)(p - start);
}

static size_t put_rcpt(struct gen *g, char *p)
{
	char *start = p;

	p += sprintf(p, "RCPT TO:<");
	p += put_pattern(p, g->o->to, g->next_rcpt++);
	p += sprintf(p, ">\r\n");
	return (size_t)(p - start);
}

static void next_message(struct gen *g, struct conn *c)
{
	size_t len;

	if (!more_messages(g) || (g->o->per_connection && c->done_here >= g->o->per_connection)) {
		conn_say(g, c, QUIT, "QUIT\r\n");
		return;
	}
	c->number = g->next_number++;
	c->done_here++;
	c->bad = 0;
	c->rcpts_ok = 0;
	c->rcpts_left = g->o->recipients;
	c->state = MAIL;
	c->start_ns = now_ns();
	len = put_mail(g, c, c->cmd);
	if (c->pipelining) {
		for (unsigned i = 0; i < g->o->recipients; i++)
			len += put_rcpt(g, c->cmd + len);
		memcpy(c->cmd + len, "DATA\r\n", 6);
		len += 6;
	}
	conn_send_cmd(g, c, len);
}

static void message_acked(struct gen *g, struct conn *c)
{
	struct lg_result *r = g->r;
	uint64_t now = now_ns();

	if (r->n_latency == g->latency_cap) {
		size_t cap = g->latency_cap ? g->latency_cap * 2 : 65536;
		uint32_t *p = realloc(r->latency_us, cap * sizeof(*p));

		if (!p) {
			perror("realloc");
			exit(1);
		}
		r->latency_us = p;
		g->latency_cap = cap;
	}
	r->latency_us[r->n_latency++] = (uint32_t)((now - c->start_ns) / 1000);
	r->sent++;
	g->last_ns = now;
	if (g->o->ledger)
		fprintf(g->o->ledger, "%s-%010llu\n", g->o->run_id, (unsigned long long)c->number);
}

static void message_refused(struct gen *g, struct conn *c)
{
	g->r->failed++;
	g->r->replies[c->bad]++;
	conn_say(g, c, RSET, "RSET\r\n");
}

static void send_body(struct gen *g, struct conn *c)
{
	static char dot[] = ".\r\n";

	c->state = BODY;
	c->out[0] = (struct iovec){c->header, lg_header(g->o, c->number, c->header, sizeof(c->header))};
	c->out[1] = (struct iovec){(void *)(uintptr_t)g->o->body, g->o->body_len};
	c->out[2] = (struct iovec){dot, 3};
	c->out_i = 0;
	c->out_n = 3;
	conn_flush(g, c);
}

static void on_rcpt_reply(struct gen *g, struct conn *c)
{
	if (--c->rcpts_left) {
		if (!c->pipelining)
			conn_send_cmd(g, c, put_rcpt(g, c->cmd));
		return;
	}
	if (c->pipelining)
		c->state = DATA;
	else if (c->rcpts_ok)
		conn_say(g, c, DATA, "DATA\r\n");
	else
		message_refused(g, c);
}

static void on_reply(struct gen *g, struct conn *c, int code)
{
	char line[300];

	if (code / 100 != 2 && code != 354 && !c->bad)
		c->bad = code;
	if (code == 421 && c->state != QUIT) {
		g->r->replies[421]++;
		conn_drop(g, c, now_ns());
		return;
	}
	switch (c->state) {
	case GREETING:
		if (code != 220) {
			g->r->replies[code]++;
			conn_drop(g, c, now_ns());
			return;
		}
		snprintf(line, sizeof(line), "EHLO %s\r\n", g->o->helo);
		conn_say(g, c, EHLO, line);
		break;
	case EHLO:
		c->pipelining = c->pipelining && g->o->pipelining;
		next_message(g, c);
		break;
	case MAIL:
		c->state = RCPT;
		if (c->pipelining)
			break;
		if (c->bad)
			message_refused(g, c);
		else
			conn_send_cmd(g, c, put_rcpt(g, c->cmd));
		break;
	case RCPT:
		c->rcpts_ok += code / 100 == 2;
		on_rcpt_reply(g, c);
		break;
	case DATA:
		if (code == 354)
			send_body(g, c);
		else
			message_refused(g, c);
		break;
	case BODY:
		if (code == 250) {
			message_acked(g, c);
			if (c->bad)
				g->r->replies[c->bad]++;
			next_message(g, c);
		} else {
			message_refused(g, c);
		}
		break;
	case RSET:
		next_message(g, c);
		break;
	default:
		break;
	}
}

static int reply_code(const char *line, size_t len)
{
	if (len < 3 || line[0] < '2' || line[0] > '5' || line[1] < '0' || line[1] > '9' || line[2] < '0' ||
	    line[2] > '9')
		return -1;
	return (line[0] - '0') * 100 + (line[1] - '0') * 10 + line[2] - '0';
}

/* Takes whole reply lines out of c->in. False when the connection was given up. */
static bool take_replies(struct gen *g, struct conn *c)
{
	size_t off = 0;
	char *nl;

	while ((nl = memchr(c->in + off, '\n', c->in_len - off))) {
		char *line = c->in + off;
		size_t len = (size_t)(nl - line);
		int code = reply_code(line, len);

		off += len + 1;
		if (code < 0) {
			g->r->resets++;
			conn_drop(g, c, now_ns());
			return false;
		}
		if (c->state == EHLO && len > 4) {
			c->pipelining |= !strncasecmp(line + 4, "PIPELINING", 10);
			c->size |= !strncasecmp(line + 4, "SIZE", 4);
		}
		if (len > 3 && line[3] == '-')
			continue;
		on_reply(g, c, code);
		if (c->state == CLOSED)
			return false;
	}
	memmove(c->in, c->in + off, c->in_len - off);
	c->in_len -= off;
	if (c->in_len == sizeof(c->in)) {
		g->r->resets++;
		conn_drop(g, c, now_ns());
		return false;
	}
	return true;
}

static void conn_read(struct gen *g, struct conn *c)
{
	for (;;) {
		size_t room = sizeof(c->in) - c->in_len;
		ssize_t len = g->ops->recv(g->io, (unsigned)(c - g->conns), c->in + c->in_len, room);

		if (len < 0) {
			if (c->state != QUIT)
				g->r->resets++;
			conn_drop(g, c, now_ns());
			return;
		}
		c->in_len += (size_t)len;
		if (len && !take_replies(g, c))
			return;
		/* A short read means that there is no more now; the end of the stream is an event of its own. */
		if ((size_t)len < room)
			return;
	}
}

static void connect_failed(struct gen *g, uint64_t now)
{
	g->r->connect_failed++;
	if (g->o->stop_when_refused || now - g->reached_ns > UNREACHED_NS)
		g->stop = true;
}

static void on_event(struct gen *g, const struct lg_event *ev, uint64_t now)
{
	struct conn *c = &g->conns[ev->conn];

	if (c->state == CLOSED)
		return;
	c->last_ns = now;
	if (c->state == CONNECTING) {
		if (!(ev->bits & LG_OPEN)) {
			connect_failed(g, now);
			conn_drop(g, c, now);
			return;
		}
		g->r->connects++;
		g->reached_ns = now;
		c->state = GREETING;
	}
	if (ev->bits & LG_READABLE)
		conn_read(g, c);
	if (c->state != CLOSED && (ev->bits & LG_WRITABLE))
		conn_flush(g, c);
	if (c->state != CLOSED && (ev->bits & LG_CLOSED))
		conn_read(g, c);
}

static void conn_open(struct gen *g, struct conn *c, uint64_t now)
{
	c->in_len = 0;
	c->out_i = c->out_n = 0;
	c->done_here = 0;
	c->bad = 0;
	c->pipelining = c->size = false;
	c->last_ns = now;
	if (!g->ops->open(g->io, (unsigned)(c - g->conns))) {
		connect_failed(g, now);
		c->reopen_ns = now + REOPEN_NS;
		return;
	}
	c->state = CONNECTING;
	g->n_live++;
}

/* Opens what is closed and due, gives up what has stalled. Connections that ended with 221 open again at once. */
static void tend(struct gen *g, uint64_t now)
{
	for (unsigned i = 0; i < g->o->connections; i++) {
		struct conn *c = &g->conns[i];

		if (c->state == CLOSED) {
			if (more_messages(g) && now >= c->reopen_ns)
				conn_open(g, c, now);
		} else if (now - c->last_ns > STALL_NS || now > g->end_ns + GRACE_NS) {
			g->r->timeouts++;
			conn_drop(g, c, now);
		}
	}
}

static bool gen_init(struct gen *g)
{
	const struct lg_options *o = g->o;

	g->cmd_cap = 512 + strlen(o->from) + o->recipients * (strlen(o->to) + 48) + strlen(o->helo);
	g->conns = calloc(o->connections, sizeof(*g->conns));
	if (!g->conns)
		return false;
	for (unsigned i = 0; i < o->connections; i++) {
		g->conns[i].cmd = malloc(g->cmd_cap);
		if (!g->conns[i].cmd)
			return false;
	}
	g->io = g->ops->create(o->host, o->port, o->connections);
	return g->io != NULL;
}

static void gen_fini(struct gen *g)
{
	if (g->io)
		g->ops->destroy(g->io);
	for (unsigned i = 0; g->conns && i < g->o->connections; i++)
		free(g->conns[i].cmd);
	free(g->conns);
}

bool lg_run(const struct lg_options *o, const struct lg_io_ops *ops, struct lg_result *r)
{
	struct gen g = {.o = o, .ops = ops, .r = r};
	struct lg_event ev[N_EVENTS];
	uint64_t cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID), now, tended_ns = 0;

	if (!gen_init(&g)) {
		gen_fini(&g);
		return false;
	}
	now = g.begin_ns = g.last_ns = g.reached_ns = now_ns();
	g.end_ns = now + (uint64_t)o->seconds * 1000000000u;
	for (;;) {
		int n;

		if (now >= g.end_ns)
			g.stop = true;
		if (now - tended_ns >= (uint64_t)POLL_MS * 1000000u || !g.n_live) {
			tend(&g, now);
			tended_ns = now;
		}
		if (!g.n_live && !more_messages(&g))
			break;
		n = ops->poll(g.io, ev, N_EVENTS, POLL_MS);
		now = now_ns();
		for (int i = 0; i < n; i++) {
			struct conn *c = &g.conns[ev[i].conn];
			enum state was = c->state;

			on_event(&g, &ev[i], now);
			if (was == QUIT && c->state == CLOSED && more_messages(&g))
				conn_open(&g, c, now);
		}
	}
	r->wall_ns = g.last_ns - g.begin_ns;
	r->cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns;
	gen_fini(&g);
	return true;
}
