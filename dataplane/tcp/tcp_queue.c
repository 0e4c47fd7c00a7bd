/*
 * tcp_queue.c: a queue of slices in chunks from a pool: what a connection has to send, what it has
 * received. Owns the references of the slices in it. Hot path.
 *
 * Invariants: no empty chunk stays linked; the lengths in chunks add up to the queue's.
 */
#include "tcp_int.h"
#include "hot.h"

struct slice *tcpq_last(struct tcpq *q)
{
	return q->tail ? &q->tail->v[q->tail->n - 1] : NULL;
}

bool tcpq_push(struct tcpq *q, struct pool *chunks, struct slice s, bool push)
{
	struct slice *last = tcpq_last(q);
	struct tcpq_chunk *c = q->tail;

	if (last && last->pkt == s.pkt && last->data + last->len == s.data) {
		last->len += s.len;
		if (push)
			c->push |= (uint16_t)(1u << (c->n - 1));
		c->len += s.len;
		q->len += s.len;
		slice_drop(&s);
		return true;
	}
	if (!c || c->n == TCPQ_CHUNK) {
		c = pool_take(chunks);
		if (!c)
			return false;
		c->next = NULL;
		c->head = c->n = c->push = 0;
		c->len = 0;
		if (q->tail)
			q->tail->next = c;
		else
			q->head = c;
		q->tail = c;
		q->chunks++;
	}
	if (push)
		c->push |= (uint16_t)(1u << c->n);
	c->v[c->n++] = s;
	c->len += s.len;
	q->len += s.len;
	return true;
}

static void drop_head_chunk(struct tcpq *q, struct pool *chunks)
{
	struct tcpq_chunk *c = q->head;

	q->head = c->next;
	if (!q->head)
		q->tail = NULL;
	q->chunks--;
	pool_give(chunks, c);
}

struct slice tcpq_pop(struct tcpq *q, struct pool *chunks)
{
	struct tcpq_chunk *c = q->head;
	struct slice s = c->v[c->head++];

	c->len -= s.len;
	q->len -= s.len;
	if (c->head == c->n)
		drop_head_chunk(q, chunks);
	return s;
}

void tcpq_drop(struct tcpq *q, struct pool *chunks, uint32_t len)
{
	CHECK(len <= q->len);
	while (len) {
		struct tcpq_chunk *c = q->head;
		struct slice *s = &c->v[c->head];
		if (len < s->len) {
			s->data += len;
			s->len -= len;
			c->len -= len;
			q->len -= len;
			return;
		}
		len -= s->len;
		struct slice whole = tcpq_pop(q, chunks);
		slice_drop(&whole);
	}
}

struct tcpq_pos tcpq_seek(const struct tcpq *q, uint32_t off)
{
	struct tcpq_pos pos = {q->head, 0, off};

	while (pos.c && pos.off >= pos.c->len && pos.c->next) {
		pos.off -= pos.c->len;
		pos.c = pos.c->next;
	}
	if (!pos.c)
		return pos;
	for (pos.i = pos.c->head; pos.off >= pos.c->v[pos.i].len && pos.i + 1u < pos.c->n; pos.i++)
		pos.off -= pos.c->v[pos.i].len;
	return pos;
}

struct slice tcpq_next(struct tcpq_pos *pos, uint32_t len, bool *push)
{
	const struct slice *s = &pos->c->v[pos->i];
	struct slice run = {s->pkt, s->data + pos->off, min32(len, s->len - pos->off)};

	pos->off += run.len;
	*push = false;
	if (pos->off == s->len) {
		*push = (pos->c->push >> pos->i & 1) != 0;
		pos->off = 0;
		if (++pos->i == pos->c->n && pos->c->next) {
			pos->c = pos->c->next;
			pos->i = pos->c->head;
		}
	}
	return run;
}
