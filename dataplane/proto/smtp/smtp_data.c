/*
 * smtp_data.c: a message, from the packets that came to durable, and the answer to it; DATA. (BDAT: smtp_chunk.c)
 *
 * The blob: [Return-Path: <from>CRLF][Received: ...CRLF][the message as it came, dots taken out]. relay_off is
 * the length of the first line. On the clean path the message's bytes are slices of the packets they
 * arrived in. A message of more than SMTP_PART goes to the store in parts while it comes in; at most
 * SMTP_PARTS_MAX of them are under way, then nothing is read and the peer's window closes.
 *
 * Invariants: 1. only CRLF.CRLF ends the data (mail_data.h); 2. a stored message holds no bare CR (it becomes
 * a space), no bare LF (it becomes CRLF) and no NUL (refused), unless it came as BODY=BINARYMIME and only goes on; 3. the last byte that came is not sent to the
 * store before the next one is known, so that it can still be taken back; 4. the commit is submitted only
 * when every part is durable; 5. a refused message is read to its end and leaves nothing behind.
 * Hot path.
 */
#include "mail_data.h"
#include "mail_header.h"
#include "smtp_int.h"
#include "hot.h"

#define RUNS 16
#define NOT_TEXT (MAIL_DATA_BARE_CR | MAIL_DATA_BARE_LF | MAIL_DATA_NUL)

/* ---- our header lines ---- */
struct text {
	size_t len;
	uint8_t p[2048]; /* sender 320 + name 255 + host 255 + recipient 320, addresses, date, TLS: under 1600 */
};

static void put(struct text *t, struct span s)
{
	CHECK(s.len <= sizeof(t->p) - t->len);
	memcpy(t->p + t->len, s.p, s.len);
	t->len += s.len;
}

static void put_str(struct text *t, const char *s)
{
	put(t, span_str(s));
}

static void put_hex(struct text *t, uint64_t v)
{
	uint8_t hex[16];
	for (unsigned i = 0; i < 16; i++)
		hex[i] = (uint8_t)"0123456789abcdef"[v >> (60 - 4 * i) & 15];
	put(t, span_of(hex, 16));
}

/* RFC 5321 4.4: Time-stamp-line. The recipient is named only when there is one. */
static void put_received(struct text *t, struct smtp_session *ss)
{
	struct session *s = &ss->s;
	char ip[IP_STR_MAX], date[MAIL_DATE_MAX], tls[SMTP_TLS_TEXT];
	put_str(t, "Received: from ");
	put_str(t, ss->helo);
	put_str(t, ip_is4(&s->peer) ? " ([" : " ([IPv6:");
	put_str(t, ip_format(&s->peer, ip));
	put_str(t, "])\r\n\t");
	size_t tls_len = smtp_tls_text(ss, tls);
	if (tls_len > 0) {
		put(t, span_of(tls, tls_len));
		put_str(t, "\r\n\t");
	}
	put_str(t, "by ");
	put(t, span_head(span_str(s->env->conf->hostname), 255));
	/* RFC 3848 */
	put_str(t, !ss->esmtp ? " with SMTP id " : tls_len > 0 ? " with ESMTPS" : " with ESMTP");
	if (ss->esmtp)
		put_str(t, ss->user ? "A id " : " id ");
	put_hex(t, ss->txn->blob);
	if (ss->txn->n_rcpt == 1) {
		put_str(t, "\r\n\tfor <");
		put(t, ss->txn->rcpt[0].addr);
		put_str(t, ">");
	}
	put_str(t, ";\r\n\t");
	struct mail_date now = {.unix_s = (int64_t)(s->env->wall_us / 1000000)};
	put(t, span_of(date, mail_date_rfc5322(now, date)));
	put_str(t, "\r\n");
}

static bool headers_write(struct smtp_session *ss)
{
	struct smtp_txn *t = ss->txn;
	struct text text;
	text.len = 0;
	put_str(&text, "Return-Path: <");
	put(&text, t->from);
	put_str(&text, ">\r\n");
	t->relay_off = (uint32_t)text.len;
	put_received(&text, ss);
	return slices_copy(&t->body, ss->s.env->pool, span_of(text.p, text.len));
}

bool smtp_body_begin(struct smtp_session *ss)
{
	struct session *s = &ss->s;
	struct smtp_txn *t = ss->txn;
	t->blob = store_id_new(s->env->store);
	if (s->env->low_memory || !headers_write(ss))
		return false;
	mail_data_scan_init(&t->scan);
	return true;
}

void smtp_data_begin(struct smtp_session *ss)
{
	if (!smtp_body_begin(ss)) {
		stat_inc(ss->s.env->stat, STAT_smtp_tempfail);
		smtp_reply(ss, "452 4.3.1 Out of memory, try again later\r\n");
		return;
	}
	smtp_enter(ss, SMTP_DATA);
	smtp_reply(ss, "354 End data with <CR><LF>.<CR><LF>\r\n");
}

/* ---- what is wrong with a message ---- */

/* The rest is read and thrown away; reply is the answer to the end of data. The first reason stays. */
static COLD void refuse(struct smtp_session *ss, enum stat_id why, const char *reply)
{
	struct smtp_txn *t = ss->txn;
	if (t->refused)
		return;
	stat_inc(ss->s.env->stat, why);
	t->refused = reply;
	slices_drop(&t->body);
}

static const char *const store_refusal[ERR__N] = {
	[ERR_NO_SPACE] = "452 4.3.1 Insufficient system storage\r\n",
	[ERR_NO_MEMORY] = "452 4.3.1 Out of memory, try again later\r\n",
	[ERR_TOO_LONG] = "552 5.3.4 Message too big\r\n", /* for the store's own limits */
	[ERR_QUOTA] = "452 4.2.2 Mailbox full\r\n",
	[ERR_NOT_FOUND] = "450 4.2.1 Mailbox has changed, try again later\r\n",
	[ERR_SHUTDOWN] = "421 4.3.2 Service shutting down\r\n",
};

static const char *refusal_of(enum err e)
{
	return store_refusal[e] ? store_refusal[e] : "451 4.3.0 Local error, try again later\r\n";
}

static void hops_count(struct smtp_hops *h, struct span in)
{
	static const char name[] = "received:";
	const uint8_t *p = in.p, *end = in.p + in.len;
	while (p < end && !h->done) {
		if (h->col < 0) { /* to the next line */
			p = memchr(p, '\n', (size_t)(end - p));
			if (!p)
				return;
			p++;
			h->col = 0;
			continue;
		}
		uint8_t c = ascii_lower(*p++);
		if (h->col == 0 && (c == '\r' || c == '\n')) {
			h->done = true;
		} else if (c != (uint8_t)name[h->col]) {
			h->col = c == '\n' ? 0 : -1;
		} else if (++h->col == (int8_t)sizeof(name) - 1) {
			h->n++;
			h->col = -1;
		}
	}
}

/* ---- keeping content ---- */
static void body_trim_tail(struct slices *l)
{
	struct slice *last = &l->v[l->n - 1];
	l->len--;
	if (--last->len == 0) {
		slice_drop(last);
		l->n--;
	}
}

static uint8_t body_last_byte(const struct slices *l)
{
	const struct slice *last = &l->v[l->n - 1];
	return last->data[last->len - 1];
}

/* From here on every byte is looked at. A CR that was kept already comes back into our hands. */
static COLD void dirty_begin(struct smtp_session *ss)
{
	struct smtp_txn *t = ss->txn;
	stat_inc(ss->s.env->stat, STAT_smtp_bare_newline);
	t->dirty = true;
	t->cr = body_last_byte(&t->body) == '\r'; /* our own lines end in LF */
	if (t->cr)
		body_trim_tail(&t->body);
}

static COLD bool dirty_copy(struct smtp_session *ss, struct span in)
{
	struct smtp_txn *t = ss->txn;
	uint8_t out[1024];
	size_t n = 0;
	for (size_t i = 0; i < in.len; i++) {
		uint8_t c = in.p[i];
		if (t->cr && c != '\n')
			out[n++] = ' ';
		t->cr = c == '\r';
		if (c == '\n') {
			out[n++] = '\r';
			out[n++] = '\n';
		} else if (c != '\r') {
			out[n++] = c;
		}
		if (n + 3 > sizeof(out) || i + 1 == in.len) {
			if (!slices_copy(&t->body, ss->s.env->pool, span_of(out, n)))
				return false;
			n = 0;
		}
	}
	return true;
}

/* Takes the content of the chunk out of the stream. */
static void runs_take(struct smtp_session *ss, struct span chunk, const struct mail_run *runs,
		      const struct mail_data_step *step)
{
	struct stream *st = &ss->s.st;
	struct smtp_txn *t = ss->txn;
	size_t at = 0;
	for (size_t i = 0; i < step->n_runs; i++) {
		/* The chunk may be gone once its last byte is taken: look first. */
		struct span run = span_of(chunk.p + runs[i].off, runs[i].len);
		if (!t->hops.done)
			hops_count(&t->hops, run);
		if (t->dirty && !t->refused && !dirty_copy(ss, run))
			refuse(ss, STAT_smtp_tempfail, refusal_of(ERR_NO_MEMORY));
		if (runs[i].off > at)
			stream_consume(st, runs[i].off - at);
		if (t->dirty || t->refused)
			stream_consume(st, runs[i].len);
		else
			stream_take(st, runs[i].len, &t->body);
		at = (size_t)runs[i].off + runs[i].len;
	}
	if (step->consumed > at)
		stream_consume(st, step->consumed - at);
	if (step->unkeep && !t->refused) {
		if (t->dirty)
			t->cr = false;
		else
			body_trim_tail(&t->body);
	}
}

/* ---- to the store ---- */
static void parts_send(struct smtp_session *ss)
{
	struct session *s = &ss->s;
	struct smtp_txn *t = ss->txn;
	while (t->body.len > SMTP_PART && ss->parts < SMTP_PARTS_MAX) {
		struct store_op *op = store_op_new(s->env->store, STORE_BODY, s->index, s->gen);
		if (!op) {
			refuse(ss, STAT_smtp_tempfail, refusal_of(ERR_NO_MEMORY));
			return;
		}
		op->blob = t->blob;
		op->off = t->sent;
		op->len = SMTP_PART;
		op->user = (void *)(uintptr_t)ss->txn_seq;
		slices_add_range(&op->body, &t->body, 0, SMTP_PART);
		slices_consume(&t->body, SMTP_PART);
		t->sent += SMTP_PART;
		ss->parts++;
		store_submit(s->env->store, op);
	}
}

static void finish_refused(struct smtp_session *ss)
{
	const char *reply = ss->txn->refused;
	smtp_txn_end(ss);
	smtp_enter(ss, SMTP_READY);
	smtp_deadline(ss);
	if (memcmp(reply, "421", 3) == 0)
		smtp_bye(ss, reply);
	else
		smtp_reply(ss, reply);
}

static void commit(struct smtp_session *ss, struct store_op *op)
{
	struct session *s = &ss->s;
	struct smtp_txn *t = ss->txn;
	struct text id;
	struct queue_envelope e = {.from = t->from, .accepted_us = s->env->wall_us, .body_8bit = t->body_8bit,
				   .binary = t->body_binary && t->scan.flags & NOT_TEXT, .ret = t->ret,
				   .envid = t->envid, .rcpt = t->rcpt, .n_rcpt = t->n_rcpt};
	uint32_t flags = 0;
	if (t->dirty || (t->scan.flags & MAIL_DATA_HAS_DOT_LINE))
		flags |= STORE_BLOB_DOTS;
	if (t->scan.flags & MAIL_DATA_8BIT)
		flags |= STORE_BLOB_8BIT;
	if (t->scan.flags & MAIL_DATA_OPEN_END)
		flags |= STORE_BLOB_NO_CRLF_END;
	id.len = 0;
	put_hex(&id, s->session_id);
	e.session = span_of(id.p, id.len);
	op->blob = t->blob;
	op->off = t->sent;
	op->user = (void *)(uintptr_t)(t->sent + t->body.len);
	op->body = t->body;
	t->body = (struct slices){0};
	queue_submit(s->env->queue, op, &e, t->relay_off, flags, t->sent ? NULL : &op->body);
	store_submit(s->env->store, op);
	smtp_enter(ss, SMTP_COMMIT);
	smtp_txn_end(ss);
	s->deadline_us = 0; /* it is our turn */
}

/* The end has come and every part is with the store. */
static void finish(struct smtp_session *ss)
{
	struct session *s = &ss->s;
	struct store_op *op = NULL;
	if (!ss->txn->refused) {
		op = store_op_new(s->env->store, STORE_COMMIT, s->index, s->gen);
		if (!op)
			refuse(ss, STAT_smtp_tempfail, refusal_of(ERR_NO_MEMORY));
	}
	if (op)
		commit(ss, op);
	else
		finish_refused(ss);
}

/* Gives the store what it can take now. What is left for the commit is never more than a part. */
static void advance(struct smtp_session *ss)
{
	if (!ss->txn->refused)
		parts_send(ss);
	if (ss->txn->ended && ss->parts == 0)
		finish(ss);
}

/* ---- the two ways in ---- */
static void check_content(struct smtp_session *ss, bool end)
{
	struct smtp_txn *t = ss->txn;
	if (UNLIKELY(t->scan.flags & MAIL_DATA_NUL) && !t->body_binary)
		refuse(ss, STAT_smtp_bad_content, "550 5.6.0 Message holds a NUL byte\r\n");
	/* One more may turn out to be of the end mark (mail_data_step.unkeep). */
	if (UNLIKELY(t->scan.size > ss->s.env->conf->message_size_max + !end))
		refuse(ss, STAT_smtp_too_big, "552 5.3.4 Message too big\r\n");
	if (UNLIKELY(t->hops.n > ss->s.env->conf->hops_max))
		refuse(ss, STAT_smtp_loop, "554 5.4.6 Too many hops: a mail loop\r\n");
}

void smtp_body_take(struct smtp_session *ss, struct span in, const struct mail_run *runs,
		    const struct mail_data_step *step)
{
	struct smtp_txn *t = ss->txn;
	if (UNLIKELY(t->scan.flags & (MAIL_DATA_BARE_CR | MAIL_DATA_BARE_LF)) && !t->dirty && !t->refused &&
	    !t->body_binary)
		dirty_begin(ss);
	runs_take(ss, in, runs, step);
	check_content(ss, step->end);
	if (!step->end)
		advance(ss);
	if (t->scan.size - t->mark >= SMTP_PROGRESS) {
		t->mark = t->scan.size;
		smtp_deadline(ss);
	}
}

/* What can only be said of the whole. */
static void check_whole(struct smtp_session *ss)
{
	struct smtp_txn *t = ss->txn;
	if (t->body_binary) {
		bool local = false;
		for (uint32_t i = 0; i < t->n_rcpt; i++)
			local |= t->rcpt[i].local;
		if (local && t->scan.flags & NOT_TEXT) /* a mailbox is read by lines */
			refuse(ss, STAT_smtp_bad_content, "554 5.6.3 Mailboxes here hold no binary content\r\n");
		return;
	}
	if (t->scan.flags & MAIL_DATA_BARE_CR && !t->dirty && !t->refused)
		dirty_begin(ss);
	if (t->cr && !t->refused && !slices_copy(&t->body, ss->s.env->pool, SPAN(" ")))
		refuse(ss, STAT_smtp_tempfail, refusal_of(ERR_NO_MEMORY));
	t->cr = false;
}

void smtp_body_end(struct smtp_session *ss)
{
	check_whole(ss);
	ss->txn->ended = true;
	smtp_deadline(ss);
	advance(ss);
}

void smtp_body_refused(struct smtp_session *ss)
{
	finish_refused(ss);
}

bool smtp_data_read(struct smtp_session *ss)
{
	struct smtp_txn *t = ss->txn;
	struct mail_run runs[RUNS];
	if (t->ended || smtp_body_full(ss))
		return false;
	struct span chunk = stream_peek(&ss->s.st);
	struct mail_data_step step = mail_data_scan(&t->scan, chunk.p, chunk.len, runs, RUNS);
	smtp_body_take(ss, chunk, runs, &step);
	if (step.end)
		smtp_body_end(ss);
	return !step.end || ss->state != SMTP_DATA;
}

static void part_done(struct smtp_session *ss, const struct store_op *op)
{
	ss->parts--;
	if (!ss->txn)
		return;
	if (op->err && (uintptr_t)op->user == ss->txn_seq) /* not of a message that was given up */
		refuse(ss, STAT_smtp_tempfail, refusal_of(op->err));
	advance(ss);
}

static void commit_done(struct smtp_session *ss, const struct store_op *op)
{
	struct session *s = &ss->s;
	smtp_enter(ss, SMTP_READY);
	smtp_deadline(ss);
	if (op->err == ERR_OK) {
		struct text t;
		t.len = 0;
		put_str(&t, "250 2.0.0 Ok: queued as ");
		put_hex(&t, op->blob);
		put(&t, SPAN("\r\n\0"));
		smtp_reply(ss, (const char *)t.p);
		ss->errors = 0;
		stat_inc(s->env->stat, STAT_smtp_messages_in);
		stat_add(s->env->stat, STAT_smtp_bytes_in, (uintptr_t)op->user);
	} else {
		stat_inc(s->env->stat, STAT_smtp_tempfail);
		if (op->err == ERR_SHUTDOWN) {
			smtp_bye(ss, refusal_of(op->err));
			return;
		}
		smtp_reply(ss, refusal_of(op->err));
	}
	if (s->env->shutting_down)
		smtp_bye(ss, refusal_of(ERR_SHUTDOWN));
}

void smtp_data_done(struct smtp_session *ss, struct store_op *op)
{
	trace_put(ss->s.env->trace, ss->s.env->now_us, TRACE_store_op, ss->s.index, (uint16_t)op->verb, op->err);
	if (op->verb == STORE_BODY)
		part_done(ss, op);
	else if (ss->state == SMTP_COMMIT)
		commit_done(ss, op);
	store_op_free(&op);
}
