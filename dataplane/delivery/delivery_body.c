/*
 * delivery_body.c: the message goes out: slices of the packets it arrived in, or of what the store reads.
 *
 * A blob without STORE_BLOB_DOTS goes as it lies, by reference; so does a binary one, by BDAT. Else dots are put in front of dots (RFC 5321 4.5.2)
 * by short writes between references. Output stops above STREAM_TX_HIGH and goes on at the next input().
 */
#include "delivery_int.h"

#define WINDOW    (64 * 1024)
#define READ_LEN  (256 * 1024)
#define STALL_US  20000
#define STALL_MAX 500 /* times in a row: 10 s */
#define EDITS_MAX 32

void body_begin(struct out *o)
{
	o->off = o->job->blob.relay_off;
	o->n_tail = 0;
	mail_stuff_init(&o->stuff);
}

void body_end(struct out *o)
{
	slices_drop(&o->chunk);
	o->chunk_i = 0;
	o->reading = o->stalled = false;
	o->n_stall = 0;
}

/* No op or no packets for a read now: a little later. */
static void stall(struct out *o)
{
	if (o->n_stall++ == STALL_MAX) {
		stat_inc(o->s.env->stat, STAT_delivery_read_failed);
		out_lost(o, SPAN("no memory to read the message from the store"));
		return;
	}
	o->stalled = true;
	o->s.deadline_us = o->s.env->now_us + STALL_US;
}

static void read_start(struct out *o)
{
	struct session *s = &o->s;
	struct store_op *op = store_op_new(s->env->store, STORE_READ, s->index, s->gen);
	o->stalled = false;
	if (op == NULL) {
		stall(o);
		return;
	}
	uint64_t left = o->job->blob.size - o->off;
	op->blob = o->job->blob.id;
	op->off = o->off;
	op->len = left < READ_LEN ? left : READ_LEN;
	op->user = o->job;
	o->reading = true;
	store_submit(s->env->store, op);
}

void body_read_done(struct out *o, struct store_op *op)
{
	if (o->state != OUT_BODY || !o->reading || op->user != o->job) {
		store_op_free(&op);
		return;
	}
	o->reading = false;
	if (op->err == ERR_NO_MEMORY) {
		stall(o);
	} else if (op->err != ERR_OK || op->data.len == 0 || op->data.len > op->len) {
		stat_inc(o->s.env->stat, STAT_delivery_read_failed);
		out_lost(o, SPAN("the message could not be read from the store"));
	} else {
		slices_drop(&o->chunk);
		o->chunk = op->data;
		op->data = (struct slices){0};
		o->chunk_i = 0;
		o->off += o->chunk.len;
		o->n_stall = 0;
		body_pump(o);
	}
	store_op_free(&op);
}

/* The next part into o->chunk. False: it has to come from the store first. */
static bool fetch(struct out *o)
{
	const struct slices *body = queue_job_body(o->job);
	slices_drop(&o->chunk);
	o->chunk_i = 0;
	if (body == NULL) {
		if (!o->reading)
			read_start(o);
		return false;
	}
	uint64_t left = o->job->blob.size - o->off;
	uint64_t len = left < WINDOW ? left : WINDOW;
	slices_add_range(&o->chunk, body, o->off, len);
	o->off += len;
	return true;
}

static void send_part(struct out *o, const struct slice *v, uint32_t off, uint32_t len)
{
	if (len > 0)
		stream_send(&o->s.st, slice_of(v->pkt, v->data + off, len));
}

static void send_stuffed(struct out *o, const struct slice *v)
{
	struct mail_edit edit[EDITS_MAX];
	uint32_t done = 0;
	while (done < v->len) {
		size_t n = 0;
		uint32_t from = done;
		uint32_t len = (uint32_t)mail_stuff_chunk(&o->stuff, v->data + done, v->len - done, edit, EDITS_MAX, &n);
		for (size_t i = 0; i < n; i++) {
			send_part(o, v, done, from + edit[i].off - done);
			done = from + edit[i].off;
			stream_write(&o->s.st, mail_insert_text[edit[i].what]);
		}
		send_part(o, v, done, from + len - done);
		done = from + len;
	}
}

static void tail_note(struct out *o, const struct slice *v)
{
	if (v->len >= 2) {
		memcpy(o->tail, v->data + v->len - 2, 2);
		o->n_tail = 2;
	} else if (v->len == 1) {
		if (o->n_tail == 2)
			o->tail[0] = o->tail[1];
		else if (o->n_tail == 0)
			o->n_tail = 1;
		else
			o->n_tail = 2;
		o->tail[o->n_tail - 1] = v->data[0];
	}
}

void body_pump(struct out *o)
{
	struct stream *st = &o->s.st;
	bool binary = o->job->st.binary; /* its length was said: no end mark */
	bool stuffed = !binary && o->job->blob.flags & STORE_BLOB_DOTS;
	while (stream_pending(st) < STREAM_TX_HIGH) {
		if (o->chunk_i < o->chunk.n) {
			const struct slice *v = &o->chunk.v[o->chunk_i++];
			if (stuffed)
				send_stuffed(o, v);
			else
				send_part(o, v, 0, v->len);
			tail_note(o, v);
			out_wait(o);
			continue;
		}
		if (o->off >= o->job->blob.size) {
			if (!binary)
				stream_write(st, stuffed ? mail_stuff_end(&o->stuff) :
							   mail_end_mark(span_of(o->tail, o->n_tail)));
			body_end(o);
			out_enter(o, OUT_DOT);
			return;
		}
		if (!fetch(o))
			return;
	}
}
