/*
 * delivery_smtp.c: the client's side of SMTP (RFC 5321, 2920, 1870, 6152, 3461; 3030 for binary content): a session of delivery_proto.
 *
 * States and arrows: delivery_int.h. Each state has a row: how long to wait for the peer (4.5.3.2) and what to do
 * with its reply. With PIPELINING the whole envelope goes in one piece, and replies are counted off against
 * it; without, one command at a time.
 * Invariants: 1. a recipient is done only by a 2xx behind the final dot; 2. the dot is sent only behind the whole
 * body; when that cannot be, the connection is cut; 3. whatever ends a session, its job goes back to the queue
 * with an outcome, or untried.
 */
#include "delivery_int.h"

#include <stdio.h>
#include <stdlib.h>

#define IDLE_S 5 /* a connection without work is kept that long */

/* A connection that is opening has mail waiting for it that gets no other. After SLOW_S it stands in the way of none: the
 * next is opened, and that one is given twice as long. Past SLOW_MAX of them it is the site that is slow. */
#define SLOW_S   5
#define SLOW_MAX 2

static void next(struct out *o);

/* ---- small parts ---- */

/* A job over: into the queue, the session is without. */
static void job_over(struct out *o)
{
	body_end(o);
	if (o->job != NULL)
		delivery_job_over(o->d, &o->job);
}

/* The try ends here for the job, with this text; recipients that have an outcome keep it. */
static void job_put_off(struct out *o, struct span why)
{
	if (o->job == NULL)
		return;
	job_defer(o->job, why);
	job_over(o);
}

static bool connecting(const struct out *o)
{
	return o->state == OUT_GREET || o->state == OUT_EHLO || o->state == OUT_HELO;
}

static void opening_over(struct out *o)
{
	if (o->slow)
		o->site->n_slow--;
	else
		o->site->n_opening--;
	o->slow = false;
}

/* The connection is of no more use: what is still to be sent has a while to go. */
static void dead(struct out *o)
{
	if (connecting(o))
		opening_over(o);
	out_enter(o, OUT_DEAD);
	list_del(&o->idle);
	list_del(&o->woken);
}

/* Before the connection was of use: the site's fault. n_conn must not count this one any more. */
static void connect_failed(struct out *o, bool for_good, struct span why)
{
	struct queue_site *site = o->site;
	dead(o);
	o->site = NULL;
	site->n_conn--;
	delivery_site_failed(o->d, site, for_good, why);
}

/* Hangs up; the job, if there is one, is put off. A peer may close an old connection just when the next
 * message begins: that is nobody's try. */
void out_lost(struct out *o, struct span why)
{
	stat_inc(o->s.env->stat, STAT_delivery_lost);
	if (connecting(o)) {
		connect_failed(o, false, why);
	} else {
		bool untried = o->state == OUT_ENVELOPE && o->got == 0 && o->n_job > 1;
		dead(o);
		if (o->job != NULL && untried) {
			body_end(o);
			(void)queue_release(o->s.env->queue, &o->job);
		}
		job_put_off(o, why);
	}
	stream_abort(&o->s.st);
}

static void lost_because(struct out *o, const char *what)
{
	char text[160];
	int n = snprintf(text, sizeof(text), "%s: %s", o->site->name, what);
	out_lost(o, span_of(text, n > 0 ? (size_t)n : 0));
}

static void say(struct out *o, const char *text)
{
	stream_str(&o->s.st, text);
}

static void quit(struct out *o)
{
	say(o, "QUIT\r\n");
	out_enter(o, OUT_QUIT);
}

/* ---- the envelope ---- */

/* MAIL, RCPT..., DATA; with BDAT the last one goes with the message. */
static bool all_sent(const struct out *o)
{
	return o->sent == o->n_rcpt + (o->bdat ? 1 : 2);
}

static void say_mail(struct out *o)
{
	struct stream *st = &o->s.st;
	const struct queue_job *job = o->job;
	say(o, "MAIL FROM:<");
	stream_write(st, job->st.from);
	say(o, ">");
	if (o->caps.caps & CAP_SIZE)
		stream_printf(st, " SIZE=%u", job->blob.size - job->blob.relay_off);
	/* To a peer without 8BITMIME such mail goes as it is: nearly all take it, and changing it would break
	 * its signatures. */
	if (job->st.binary)
		say(o, " BODY=BINARYMIME");
	else if ((o->caps.caps & CAP_8BITMIME) && ((job->blob.flags & STORE_BLOB_8BIT) || job->st.body_8bit))
		say(o, " BODY=8BITMIME");
	if ((o->caps.caps & CAP_DSN) && job->st.ret != QUEUE_RET_NONE)
		say(o, job->st.ret == QUEUE_RET_FULL ? " RET=FULL" : " RET=HDRS");
	if ((o->caps.caps & CAP_DSN) && job->st.envid.len > 0) {
		say(o, " ENVID=");
		stream_write(st, job->st.envid);
	}
	say(o, "\r\n");
}

/* RFC 3461 5.2.1: what the sender asked for goes on as it came. */
static void say_dsn(struct out *o, const struct queue_state_rcpt *rc)
{
	static const struct {
		uint8_t bit;
		const char *word;
	} row[] = {{QUEUE_NOTIFY_NEVER, "NEVER"}, {QUEUE_NOTIFY_SUCCESS, "SUCCESS"},
		   {QUEUE_NOTIFY_FAILURE, "FAILURE"}, {QUEUE_NOTIFY_DELAY, "DELAY"}};
	const char *before = " NOTIFY=";
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		if (!(rc->notify & row[i].bit))
			continue;
		say(o, before);
		say(o, row[i].word);
		before = ",";
	}
	if (rc->orcpt.len > 0) {
		say(o, " ORCPT=");
		stream_write(&o->s.st, rc->orcpt);
	}
}

static void say_rcpt(struct out *o, unsigned i)
{
	const struct queue_state_rcpt *rc = &o->job->st.rcpt[o->rcpt[i]];
	say(o, "RCPT TO:<");
	stream_write(&o->s.st, rc->addr);
	say(o, ">");
	if (o->caps.caps & CAP_DSN)
		say_dsn(o, rc);
	say(o, "\r\n");
}

/* The next command, or all of them. */
static void say_envelope(struct out *o)
{
	do {
		if (o->sent == 0)
			say_mail(o);
		else if (o->sent <= o->n_rcpt)
			say_rcpt(o, o->sent - 1);
		else
			say(o, "DATA\r\n");
		o->sent++;
	} while ((o->caps.caps & CAP_PIPELINING) && !all_sent(o));
}

static void begin(struct out *o, struct queue_job *job)
{
	o->job = job;
	o->n_job++;
	if (o->n_job > 1)
		stat_inc(o->s.env->stat, STAT_delivery_reused);
	o->sent = o->got = o->n_rcpt = o->n_accepted = 0;
	o->some_452 = o->mail_refused = false;
	o->bdat = job->st.binary;
	for (unsigned i = 0; i < job->st.n_rcpt; i++)
		if (job->st.rcpt[i].state == QUEUE_PENDING)
			o->rcpt[o->n_rcpt++] = (uint8_t)i;
	out_enter(o, OUT_ENVELOPE);
	uint64_t size = job->blob.size - job->blob.relay_off;
	if (job->st.binary && (o->caps.caps & (CAP_CHUNKING | CAP_BINARYMIME)) != (CAP_CHUNKING | CAP_BINARYMIME)) {
		/* RFC 3030 3: converted or returned; a conversion would break its signatures. */
		job_fail(job, SPAN("554 5.6.3 the message is binary, and the next host does not take such (BINARYMIME)"));
		job_over(o);
		next(o);
		return;
	}
	if (o->caps.size_max > 0 && size > o->caps.size_max) {
		char text[120];
		int n = snprintf(text, sizeof(text), "552 5.3.4 message of %llu bytes is over the limit of %llu bytes",
				 (unsigned long long)size, (unsigned long long)o->caps.size_max);
		job_fail(job, span_of(text, n > 0 ? (size_t)n : 0));
		job_over(o);
		next(o);
		return;
	}
	say_envelope(o);
}

/* What to do with a connection that is free: the next message, or wait for one, or the end. */
static void next(struct out *o)
{
	unsigned max = o->s.env->conf->route_messages;
	struct queue_job *job = NULL;
	if (o->s.env->shutting_down || (max > 0 && o->n_job >= max)) {
		quit(o);
		return;
	}
	job = delivery_next_job(o->d, o->site);
	if (job != NULL) {
		begin(o, job);
		return;
	}
	out_enter(o, OUT_IDLE);
	list_push(&o->site->idle, &o->idle);
}

void out_give(struct out *o, struct queue_job *job)
{
	list_del(&o->idle);
	begin(o, job);
}

/* The same reply for all recipients that have no outcome of their own. */
static void rest_gets(struct out *o, const struct reply *r)
{
	if (r->code >= 500)
		job_fail(o->job, reply_text(r));
	else
		job_defer(o->job, reply_text(r));
}

static void reset(struct out *o)
{
	job_over(o);
	say(o, "RSET\r\n");
	out_enter(o, OUT_RSET);
}

/* BDAT (RFC 3030 2): the whole message is one chunk, and as it lies. */
static void bdat_begin(struct out *o)
{
	stream_printf(&o->s.st, "BDAT %u LAST\r\n", o->job->blob.size - o->job->blob.relay_off);
	body_begin(o);
	out_enter(o, OUT_BODY);
	body_pump(o);
}

static void rcpt_gets(struct out *o, unsigned i, const struct reply *r)
{
	struct queue_state_rcpt *rc = &o->job->st.rcpt[o->rcpt[i]];
	o->accepted[i] = r->code / 100 == 2 && !o->mail_refused;
	if (o->accepted[i]) {
		o->n_accepted++;
		return;
	}
	if (o->mail_refused)
		return; /* has its outcome */
	struct span text = arena_copy(&o->job->mem, reply_text(r));
	rc->reply = text.p != NULL ? text : SPAN("");
	o->job->st.last = rc->reply;
	if (r->code >= 500)
		rc->state = QUEUE_FAILED;
	else if (r->code == 452)
		o->some_452 = true;
}

static void data_gets(struct out *o, const struct reply *r)
{
	if (r->code == 354 && o->n_accepted > 0) {
		body_begin(o);
		out_enter(o, OUT_BODY);
		body_pump(o);
	} else if (r->code == 354) {
		/* Pipelined, and the peer wants a message for nobody (RFC 2920 3.1). */
		say(o, ".\r\n");
		out_enter(o, OUT_LONE_DOT);
	} else {
		if (o->n_accepted > 0) {
			struct reply as = *r;
			if (as.code < 400)
				as.code = 400; /* no sense: later */
			rest_gets(o, &as);
		}
		reset(o);
	}
}

static void envelope_reply(struct out *o, const struct reply *r)
{
	unsigned i = o->got++;
	if (r->code == 421) {
		/* It wants to be left. Of a later message on the connection nothing was tried. */
		if (o->n_job == 1)
			delivery_site_hold(o->d, o->site, reply_text(r));
		else if (i == 0)
			o->got = 0;
		out_lost(o, reply_text(r));
		return;
	}
	if (i == 0 && r->code / 100 != 2) {
		if (r->code < 400)
			lost_because(o, "nonsense instead of a reply to MAIL");
		else
			rest_gets(o, r);
		if (o->state != OUT_ENVELOPE)
			return;
		o->mail_refused = true;
		if (!(o->caps.caps & CAP_PIPELINING)) {
			reset(o);
			return;
		}
	} else if (i > 0 && i <= o->n_rcpt) {
		rcpt_gets(o, i - 1, r);
		if (i == o->n_rcpt && o->n_accepted == 0 && (!all_sent(o) || o->bdat)) {
			reset(o);
			return;
		}
		if (i == o->n_rcpt && o->bdat) {
			bdat_begin(o);
			return;
		}
	} else if (i > o->n_rcpt) {
		data_gets(o, r);
		return;
	}
	if (!all_sent(o))
		say_envelope(o);
}

/* ---- replies, by state ---- */

static void greet_reply(struct out *o, const struct reply *r)
{
	if (r->code / 100 == 2) {
		stream_printf(&o->s.st, "EHLO %s\r\n", o->s.env->conf->hostname);
		o->caps = (struct reply_caps){0};
		out_enter(o, OUT_EHLO);
		return;
	}
	connect_failed(o, r->code >= 500, reply_text(r));
	say(o, "QUIT\r\n");
	stream_close(&o->s.st);
}

static void hello_ok(struct out *o)
{
	opening_over(o);
	delivery_site_works(o->site);
	next(o);
}

static void ehlo_reply(struct out *o, const struct reply *r)
{
	if (r->code / 100 == 2) {
		hello_ok(o);
	} else if (r->code >= 500) { /* not known, or not liked: the older way (3.2) */
		o->caps = (struct reply_caps){0};
		stream_printf(&o->s.st, "HELO %s\r\n", o->s.env->conf->hostname);
		out_enter(o, OUT_HELO);
	} else {
		connect_failed(o, false, reply_text(r));
		say(o, "QUIT\r\n");
		stream_close(&o->s.st);
	}
}

static void helo_reply(struct out *o, const struct reply *r)
{
	if (r->code / 100 == 2) {
		hello_ok(o);
		return;
	}
	connect_failed(o, r->code >= 500, reply_text(r));
	say(o, "QUIT\r\n");
	stream_close(&o->s.st);
}

/* RFC 3461 5.2.2: to a host without DSN nobody but us tells of success. */
static void rcpt_passed_on(struct out *o, struct queue_state_rcpt *rc, const struct reply *r)
{
	rc->state = QUEUE_DONE;
	if (!(rc->notify & QUEUE_NOTIFY_SUCCESS) || (o->caps.caps & CAP_DSN) || o->job->st.from.len == 0)
		return;
	struct span text = arena_copy(&o->job->mem, reply_text(r));
	rc->state = QUEUE_RELAYED;
	rc->reply = text.p != NULL ? text : SPAN("");
}

static void dot_reply(struct out *o, const struct reply *r)
{
	if (r->code / 100 == 2) {
		for (unsigned i = 0; i < o->n_rcpt; i++)
			if (o->accepted[i])
				rcpt_passed_on(o, &o->job->st.rcpt[o->rcpt[i]], r);
		o->job->soon = o->some_452;
	} else {
		for (unsigned i = 0; i < o->n_rcpt; i++) {
			struct queue_state_rcpt *rc = &o->job->st.rcpt[o->rcpt[i]];
			if (!o->accepted[i])
				continue;
			struct span text = arena_copy(&o->job->mem, reply_text(r));
			rc->reply = text.p != NULL ? text : SPAN("");
			o->job->st.last = rc->reply;
			if (r->code >= 500)
				rc->state = QUEUE_FAILED;
		}
	}
	job_over(o);
	if (r->code == 421)
		out_lost(o, reply_text(r));
	else
		next(o);
}

/* Before the body was all sent: the peer has had enough, and what follows could not be told from commands. */
static void body_reply(struct out *o, const struct reply *r)
{
	if (r->code >= 400)
		rest_gets(o, r);
	out_lost(o, reply_text(r));
}

static void lone_dot_reply(struct out *o, const struct reply *r)
{
	(void)r;
	reset(o);
}

static void rset_reply(struct out *o, const struct reply *r)
{
	if (r->code / 100 == 2)
		next(o);
	else
		quit(o);
}

/* A word that nobody asked for: 421 in most cases. */
static void idle_reply(struct out *o, const struct reply *r)
{
	(void)r;
	dead(o);
	say(o, "QUIT\r\n");
	stream_close(&o->s.st);
}

static void quit_reply(struct out *o, const struct reply *r)
{
	(void)r;
	dead(o);
	stream_close(&o->s.st);
}

struct state_row {
	void (*reply)(struct out *o, const struct reply *r);
	uint32_t wait_s; /* for the peer */
};

static const struct state_row state_rows[OUT__N] = {
	[OUT_GREET] = {greet_reply, 300},
	[OUT_EHLO] = {ehlo_reply, 300},
	[OUT_HELO] = {helo_reply, 300},
	[OUT_IDLE] = {idle_reply, IDLE_S},
	[OUT_ENVELOPE] = {envelope_reply, 300}, /* MAIL and RCPT; DATA's 2 minutes: envelope_wait */
	[OUT_BODY] = {body_reply, 180},
	[OUT_DOT] = {dot_reply, 600},
	[OUT_LONE_DOT] = {lone_dot_reply, 600},
	[OUT_RSET] = {rset_reply, 300},
	[OUT_QUIT] = {quit_reply, 5},
	[OUT_DEAD] = {quit_reply, 10},
};
#define DATA_WAIT_S 120

static void wait_for(struct out *o, uint32_t s)
{
	o->until_us = o->s.env->now_us + (uint64_t)s * 1000000;
	o->s.deadline_us = connecting(o) && !o->slow && o->slow_us < o->until_us ? o->slow_us : o->until_us;
}

void out_wait(struct out *o)
{
	wait_for(o, state_rows[o->state].wait_s);
}

void out_enter(struct out *o, enum out_state state)
{
	trace_put(o->s.env->trace, o->s.env->now_us, TRACE_delivery_state, o->s.index, (uint16_t)o->state, state);
	o->state = state;
	reply_init(&o->reply);
	out_wait(o);
}

/* ---- the protocol ---- */

static void out_open(struct session *s)
{
	struct out *o = (struct out *)s;
	stat_inc(s->env->stat, STAT_delivery_connections);
	list_del(&o->want->node);
	free(o->want);
	o->want = NULL;
	o->slow_us = s->env->now_us + ((uint64_t)SLOW_S << o->site->n_slow) * 1000000;
	out_enter(o, OUT_GREET);
}

/* One reply line. False: no more to do now. */
static bool input_line(struct out *o)
{
	struct stream *st = &o->s.st;
	struct span line, rest;
	enum err e = stream_line(st, REPLY_LINE_MAX, &line, NULL);
	if (e == ERR_MORE) {
		if (st->rx_eof && (o->state == OUT_IDLE || o->state == OUT_QUIT)) {
			dead(o);
			stream_close(st);
		} else if (st->rx_eof)
			lost_because(o, "connection closed by the peer");
		return false;
	}
	if (e != ERR_OK) {
		lost_because(o, "reply line too long");
		return false;
	}
	e = reply_line(&o->reply, line, &rest);
	if (o->state == OUT_EHLO && o->reply.code / 100 == 2 && o->reply.n_line > 1)
		reply_cap(&o->caps, rest);
	stream_line_done(st);
	if (e == ERR_SYNTAX || e == ERR_TOO_MANY) {
		stat_inc(o->s.env->stat, STAT_delivery_bad_reply);
		lost_because(o, "what came is not a reply");
		return false;
	}
	if (e == ERR_MORE)
		return true;
	trace_put(o->s.env->trace, o->s.env->now_us, TRACE_delivery_reply, o->s.index, o->reply.code, o->state);
	struct reply r = o->reply;
	reply_init(&o->reply);
	if (o->state == OUT_ENVELOPE)
		wait_for(o, o->got + 1 == o->n_rcpt + 1 ? DATA_WAIT_S : state_rows[OUT_ENVELOPE].wait_s);
	state_rows[o->state].reply(o, &r);
	return true;
}

static void out_input(struct session *s)
{
	struct out *o = (struct out *)s;
	while (o->state != OUT_DEAD && input_line(o))
		;
	if (o->state == OUT_BODY)
		body_pump(o);
	if (o->state == OUT_DEAD)
		stream_discard(&s->st);
}

static void out_store_done(struct session *s, struct store_op *op)
{
	body_read_done((struct out *)s, op);
}

static void out_timeout(struct session *s)
{
	struct out *o = (struct out *)s;
	if (s->env->now_us < o->until_us && connecting(o)) {
		if (o->site->n_slow < SLOW_MAX) {
			o->site->n_opening--;
			o->site->n_slow++;
			o->slow = true;
		}
		s->deadline_us = o->until_us;
	} else if (o->state == OUT_BODY && o->stalled) {
		body_pump(o);
	} else if (o->state == OUT_IDLE) {
		list_del(&o->idle);
		quit(o);
	} else if (o->state == OUT_QUIT) {
		dead(o);
		stream_close(&s->st);
	} else if (o->state == OUT_DEAD) {
		stream_abort(&s->st);
	} else {
		stat_inc(s->env->stat, STAT_delivery_timeout);
		lost_because(o, "timed out");
	}
}

/* Whatever was not answered yet is tried again at the next start; a message behind its dot gets its chance
 * to be answered as long as the loop lives. */
static void out_shutdown(struct session *s)
{
	struct out *o = (struct out *)s;
	if (o->state == OUT_DOT || o->state == OUT_DEAD)
		return;
	if (o->job != NULL) {
		body_end(o);
		if (!queue_release(s->env->queue, &o->job))
			job_put_off(o, SPAN("shutting down"));
	}
	bool cut = o->state == OUT_BODY || connecting(o) || (o->state == OUT_ENVELOPE && all_sent(o));
	dead(o);
	if (cut) {
		stream_abort(&s->st);
		return;
	}
	say(o, "QUIT\r\n");
	stream_close(&s->st);
}

static void out_close(struct session *s)
{
	struct out *o = (struct out *)s;
	if (o->state == OUT_IDLE || o->state == OUT_QUIT)
		dead(o);
	else if (o->state != OUT_NEW && o->state != OUT_DEAD)
		lost_because(o, "connection lost");
	body_end(o);
	list_del(&o->idle);
	list_del(&o->woken);
	if (o->site != NULL && o->state != OUT_NEW) /* never stood: delivery_failed has counted */
		o->site->n_conn--;
}

const struct proto delivery_proto = {
	.name = "delivery",
	.size = sizeof(struct out),
	.open = out_open,
	.input = out_input,
	.store_done = out_store_done,
	.timeout = out_timeout,
	.shutdown = out_shutdown,
	.close = out_close,
};
