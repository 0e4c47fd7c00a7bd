/*
 * pop3_send.c: replies of several lines (RFC 1939 3): lists from the snapshot, messages from the store.
 *
 * A message goes out as the slices that the store read, with dots put between them (and missing CRs and LFs, for
 * a message that came in by another way than SMTP: it then has more octets than LIST said); only pieces
 * shorter than SLICE_COPY_MAX are copied. One read is under way at a time, and the next is asked for when less than
 * STREAM_TX_HIGH bytes wait for the peer. A fault behind the +OK cannot be told: the connection is reset, so that
 * half a message is never taken for a whole one. Hot path.
 */
#include "pop3_int.h"
#include "hot.h"

#define EDITS 64

static void send_end(struct pop3_session *ps)
{
	ps->send = NULL;
	arena_reset(&ps->s.arena);
	pop3_enter(ps, POP3_TRANS);
	pop3_deadline(ps);
}

static bool send_begin(struct pop3_session *ps)
{
	ps->send = arena_zalloc(&ps->s.arena, sizeof(*ps->send));
	if (!ps->send) {
		stream_str(&ps->s.st, "-ERR [SYS/TEMP] Out of memory\r\n");
		return false;
	}
	pop3_enter(ps, POP3_SEND);
	return true;
}

/* ---- lists ---- */
static void list_more(struct pop3_session *ps)
{
	struct stream *st = &ps->s.st;
	struct pop3_send *d = ps->send;
	for (; d->next < ps->n_msg && stream_pending(st) < STREAM_TX_HIGH && !st->failed; d->next++) {
		const struct pop3_msg *m = &ps->msg[d->next];
		if (m->deleted)
			continue;
		if (d->kind == POP3_SEND_UIDL)
			stream_printf(st, "%u %016llx\r\n", d->next + 1, (unsigned long long)m->oid);
		else
			stream_printf(st, "%u %u\r\n", d->next + 1, m->size);
	}
	if (d->next == ps->n_msg) {
		stream_str(st, ".\r\n");
		send_end(ps);
	}
}

void pop3_send_list(struct pop3_session *ps, bool uidl)
{
	if (!send_begin(ps))
		return;
	ps->send->kind = uidl ? POP3_SEND_UIDL : POP3_SEND_LIST;
	stream_printf(&ps->s.st, "+OK %u messages\r\n", ps->n_msg - ps->n_deleted);
	list_more(ps);
}

/* ---- messages ---- */
static void message_end(struct pop3_session *ps)
{
	stream_write(&ps->s.st, mail_stuff_end(&ps->send->stuff));
	stat_inc(ps->s.env->stat, STAT_pop3_messages_out);
	send_end(ps);
}

static void message_failed(struct pop3_session *ps, enum err err)
{
	if (ps->send->started) {
		stream_abort(&ps->s.st);
		pop3_close(ps);
		return;
	}
	stream_str(&ps->s.st, err == ERR_NOT_FOUND ? "-ERR [SYS/TEMP] The message is gone\r\n"
						   : "-ERR [SYS/TEMP] The message cannot be read now\r\n");
	send_end(ps);
}

void pop3_send_message(struct pop3_session *ps, const struct pop3_msg *m, uint64_t lines)
{
	if (!send_begin(ps))
		return;
	struct pop3_send *d = ps->send;
	d->kind = POP3_SEND_MESSAGE;
	d->blob = m->blob;
	d->size = m->size;
	d->top = lines != UINT64_MAX;
	d->lines = lines;
	mail_stuff_init(&d->stuff);
	pop3_send_more(ps);
}

/* How many bytes of the run belong to TOP's reply; sets done behind the last. */
static size_t top_len(struct pop3_send *d, struct span run)
{
	const uint8_t *p = run.p, *end = run.p + run.len;
	while (p < end) {
		if (d->in_body && d->lines == 0) {
			d->done = true;
			break;
		}
		const uint8_t *lf = memchr(p, '\n', (size_t)(end - p));
		const uint8_t *to = lf ? lf : end;
		d->line_begun |= to > p && !(to == p + 1 && *p == '\r');
		if (!lf)
			return run.len;
		if (d->in_body)
			d->lines--;
		else
			d->in_body = !d->line_begun;
		d->line_begun = false;
		p = lf + 1;
	}
	return (size_t)(p - run.p);
}

static void piece_send(struct stream *st, const struct slice *sl, size_t from, size_t to)
{
	if (to - from >= SLICE_COPY_MAX)
		stream_send(st, slice_of(sl->pkt, sl->data + from, (uint32_t)(to - from)));
	else
		stream_write(st, span_of(sl->data + from, to - from));
}

static void run_send(struct stream *st, struct pop3_send *d, const struct slice *sl, size_t len)
{
	struct mail_edit edit[EDITS];
	size_t at = 0;
	while (at < len) {
		size_t n, sent = at;
		size_t took = mail_stuff_chunk(&d->stuff, sl->data + at, len - at, edit, EDITS, &n);
		for (size_t i = 0; i < n; i++) {
			piece_send(st, sl, sent, at + edit[i].off);
			stream_write(st, mail_insert_text[edit[i].what]);
			sent = at + edit[i].off;
		}
		at += took;
		piece_send(st, sl, sent, at);
	}
}

void pop3_send_read(struct pop3_session *ps, struct store_op *op)
{
	struct stream *st = &ps->s.st;
	struct pop3_send *d = ps->send;
	if (ps->state != POP3_SEND || d->kind != POP3_SEND_MESSAGE || !d->reading)
		return;
	d->reading = false;
	if (op->err || (op->data.len == 0 && d->off < d->size)) {
		message_failed(ps, op->err ? op->err : ERR_CORRUPT);
		return;
	}
	if (!d->started)
		stream_printf(st, "+OK %llu octets\r\n", (unsigned long long)d->size);
	d->started = true;
	for (uint32_t i = 0; i < op->data.n && !d->done; i++) {
		struct slice *sl = &op->data.v[i];
		run_send(st, d, sl, d->top ? top_len(d, slice_span(sl)) : sl->len);
	}
	d->off += op->data.len;
	pop3_deadline(ps);
	if (d->done || d->off >= d->size || (d->top && d->in_body && d->lines == 0))
		message_end(ps);
	else
		pop3_send_more(ps);
}

static void message_more(struct pop3_session *ps)
{
	struct session *s = &ps->s;
	struct pop3_send *d = ps->send;
	if (d->reading || stream_pending(&s->st) >= STREAM_TX_HIGH || s->st.failed)
		return;
	struct store_op *op = store_op_new(s->env->store, STORE_READ, s->index, s->gen);
	if (!op) {
		message_failed(ps, ERR_NO_MEMORY);
		return;
	}
	op->acct = ps->acct;
	op->blob = d->blob;
	op->off = d->off;
	op->len = POP3_READ;
	d->reading = true;
	store_submit(s->env->store, op);
}

void pop3_send_more(struct pop3_session *ps)
{
	pop3_deadline(ps);
	if (ps->send->kind == POP3_SEND_MESSAGE)
		message_more(ps);
	else
		list_more(ps);
}
