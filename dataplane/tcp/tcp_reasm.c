/*
 * tcp_reasm.c: where received bytes go: the receive queue, the out-of-order list, SACK blocks. Hot
 * path.
 *
 * Large payload stays in the packet it came in. Payload shorter than SLICE_COPY_MAX is copied
 * together, so that a flood of tiny segments pins as many bytes as it sends and not a buffer for
 * each: where the connection's queue is empty, into a packet that all connections share; behind
 * unread data, into one packet of the connection. A copy packet's data length is set once, when it
 * is made: later bytes are written behind what slices cover, never inside.
 */
#include <string.h>
#include "tcp_int.h"
#include "hot.h"

/* A packet whose whole room is its data. */
static struct pkt *copy_packet(struct tcp_core *t, uint32_t *room)
{
	struct pkt *p = pkt_alloc(t->pool);

	if (!p) {
		stat_inc(t->stat, STAT_pkt_alloc_fail);
		return NULL;
	}
	*room = min32(pkt_room(p), UINT16_MAX);
	pkt_append(p, *room);
	return p;
}

/* Copies into the shared packet; an empty slice when there is none. */
static struct slice copy_shared(struct tcp_core *t, const uint8_t *data, uint32_t len)
{
	if (!t->copy_pkt || (uint32_t)(t->copy_end - t->copy_at) < len) {
		uint32_t room = 0;
		struct pkt *p = copy_packet(t, &room);
		if (!p || room < len) {
			if (p)
				pkt_free(p);
			return (struct slice){0};
		}
		if (t->copy_pkt)
			pkt_free(t->copy_pkt);
		t->copy_pkt = p;
		t->copy_at = pkt_data(p);
		t->copy_end = t->copy_at + room;
	}
	memcpy(t->copy_at, data, len);
	struct slice s = slice_of(t->copy_pkt, t->copy_at, len);
	t->copy_at += len;
	return s;
}

/* Copies into the connection's own packet. */
static struct slice copy_own(struct tcp_conn *c, const uint8_t *data, uint32_t len)
{
	if (!c->rx_copy || pkt_len(c->rx_copy) - c->rx_copy_used < len) {
		uint32_t room = 0;
		struct pkt *p = copy_packet(c->core, &room);
		if (!p || room < len) {
			if (p)
				pkt_free(p);
			return (struct slice){0};
		}
		if (c->rx_copy)
			pkt_free(c->rx_copy);
		c->rx_copy = p;
		c->rx_copy_used = 0;
	}
	uint8_t *at = pkt_data(c->rx_copy) + c->rx_copy_used;
	memcpy(at, data, len);
	c->rx_copy_used = (uint16_t)(c->rx_copy_used + len);
	return slice_of(c->rx_copy, at, len);
}

/* s, or a copy of it in a better place. */
static struct slice copy_small(struct tcp_conn *c, struct slice s)
{
	struct tcp_core *t = c->core;
	struct slice *last = tcpq_last(&c->rxq);
	struct slice copy;

	if (!last || (last->pkt == t->copy_pkt && last->data + last->len == t->copy_at)) {
		copy = copy_shared(t, s.data, s.len);
	} else {
		bool adjoins = c->rx_copy && last->pkt == c->rx_copy &&
			       last->data + last->len == pkt_data(c->rx_copy) + c->rx_copy_used;
		if (!adjoins && last->len < SLICE_COPY_MAX) {
			copy = copy_own(c, last->data, last->len);
			if (copy.pkt) {
				slice_drop(last);
				*last = copy;
			}
		}
		copy = copy_own(c, s.data, s.len);
	}
	if (!copy.pkt)
		return s;
	slice_drop(&s);
	return copy;
}

bool tcp_receive(struct tcp_conn *c, struct pkt *pkt, uint8_t *data, uint32_t len)
{
	struct tcp_core *t = c->core;
	struct slice s = {pkt, data, len};

	if (c->flags & TF_NOREAD) {
		stat_add(t->stat, STAT_tcp_discarded, len);
		slice_drop(&s);
		return true;
	}
	if (t->pool_low == TCP_POOL_DIRE && c->rcv_held) {
		stat_inc(t->stat, STAT_tcp_no_memory);
		slice_drop(&s);
		return false;
	}
	if (len < SLICE_COPY_MAX)
		s = copy_small(c, s);
	if (!tcpq_push(&c->rxq, &t->chunks, s, false)) {
		stat_inc(t->stat, STAT_tcp_no_memory);
		slice_drop(&s);
		return false;
	}
	c->rcv_held += len;
	tcp_event(c, TCP_EV_READABLE);
	return true;
}

static struct tcp_ooo *ooo_of(struct list *n)
{
	return LIST_ENTRY(n, struct tcp_ooo, node);
}

static void ooo_remove(struct tcp_conn *c, struct tcp_ooo *o)
{
	list_del(&o->node);
	c->reasm->n--;
	c->reasm->bytes -= o->len;
	slice_drop(&o->s);
	pool_give(&c->core->ooos, o);
}

void tcp_reasm_drop(struct tcp_conn *c)
{
	if (!c->reasm)
		return;
	while (!list_empty(&c->reasm->segs))
		ooo_remove(c, ooo_of(c->reasm->segs.next));
	pool_give(&c->core->reasms, c->reasm);
	c->reasm = NULL;
}

/* RFC 2018 section 4: the block with the newest segment goes first, then those before it. */
static void remember(struct tcp_reasm *r, uint32_t seq)
{
	if (r->n_recent < TCP_SACK_BLOCKS)
		r->n_recent++;
	memmove(r->recent + 1, r->recent, (r->n_recent - 1) * sizeof(r->recent[0]));
	r->recent[0] = seq;
}

void tcp_tell_duplicate(struct tcp_conn *c, uint32_t start, uint32_t end)
{
	if (!(c->flags & TF_SACK) || start == end)
		return;
	c->flags |= TF_DSACK;
	c->dsack = (struct tcp_range){start, end};
}

static struct tcp_reasm *reasm_get(struct tcp_conn *c)
{
	if (!c->reasm) {
		c->reasm = pool_take(&c->core->reasms);
		if (!c->reasm)
			return NULL;
		list_init(&c->reasm->segs);
		c->reasm->n = c->reasm->bytes = c->reasm->n_recent = 0;
	}
	return c->reasm;
}

void tcp_reasm_add(struct tcp_conn *c, struct pkt *pkt, uint32_t seq, uint8_t *data, uint32_t len)
{
	struct tcp_core *t = c->core;
	struct slice s = {pkt, data, len};
	struct tcp_reasm *r = t->pool_low ? NULL : reasm_get(c);

	if (!r) {
		tcp_reasm_drop(c); /* short of packets: what was SACKed may be forgotten (RFC 2018
				      section 8) */
		stat_inc(t->stat, STAT_tcp_ooo_drop);
		slice_drop(&s);
		return;
	}
	/* Most often it belongs at the end. */
	struct list *before = r->segs.prev;
	while (before != &r->segs && seq_gt(ooo_of(before)->seq, seq))
		before = before->prev;
	if (before != &r->segs) {
		uint32_t end = ooo_of(before)->seq + ooo_of(before)->len;
		if (seq_gt(end, seq)) {
			uint32_t cut = end - seq;
			if (cut >= len) {
				stat_inc(t->stat, STAT_tcp_dup);
				tcp_tell_duplicate(c, seq, seq + len);
				remember(r, seq);
				slice_drop(&s);
				return;
			}
			s.data += cut;
			s.len -= cut;
			seq += cut;
		}
	}
	for (struct list *n = before->next; n != &r->segs;) {
		struct tcp_ooo *o = ooo_of(n);
		n = n->next;
		if (seq_ge(o->seq, seq + s.len))
			break;
		if (seq_le(o->seq + o->len, seq + s.len)) {
			ooo_remove(c, o);
		} else {
			s.len = o->seq - seq;
			break;
		}
	}
	struct tcp_ooo *o = s.len && r->n < t->conf.ooo_max ? pool_take(&t->ooos) : NULL;
	if (!o) {
		if (s.len)
			stat_inc(t->stat, STAT_tcp_ooo_drop);
		slice_drop(&s);
		if (!r->n)
			tcp_reasm_drop(c);
		return;
	}
	if (s.len < SLICE_COPY_MAX) {
		struct slice copy = copy_shared(t, s.data, s.len);
		if (copy.pkt) {
			slice_drop(&s);
			s = copy;
		}
	}
	o->seq = seq;
	o->len = s.len;
	o->s = s;
	list_push_front(before, &o->node);
	r->n++;
	r->bytes += s.len;
	remember(r, seq);
	stat_inc(t->stat, STAT_tcp_ooo);
}

void tcp_reasm_pull(struct tcp_conn *c)
{
	struct tcp_reasm *r = c->reasm;

	if (!r)
		return;
	while (!list_empty(&r->segs)) {
		struct tcp_ooo *o = ooo_of(r->segs.next);
		if (seq_gt(o->seq, c->rcv_nxt))
			return;
		uint32_t cut = c->rcv_nxt - o->seq;
		if (cut < o->len) {
			struct slice s = slice_ref(&o->s);
			if (!tcp_receive(c, s.pkt, s.data + cut, s.len - cut))
				return;
			tcp_count_wrap(&c->in_wraps, c->rcv_nxt, c->irs, o->len - cut);
			c->rcv_nxt += o->len - cut;
		}
		ooo_remove(c, o);
	}
	tcp_reasm_drop(c);
}

/* The whole run around seq. False when it is not (any more) in the list. */
static bool block_around(const struct tcp_reasm *r, uint32_t seq, struct tcp_range *out)
{
	bool found = false;

	out->start = out->end = 0;
	LIST_EACH(n, &r->segs)
	{
		const struct tcp_ooo *o = LIST_ENTRY(n, const struct tcp_ooo, node);
		if (out->start == out->end || o->seq != out->end) {
			if (found)
				return true;
			out->start = o->seq;
		}
		out->end = o->seq + o->len;
		if (seq_le(o->seq, seq) && seq_lt(seq, out->end))
			found = true;
	}
	return found;
}

unsigned tcp_reasm_blocks(const struct tcp_conn *c, struct tcp_range *out, unsigned max)
{
	const struct tcp_reasm *r = c->reasm;
	unsigned n = 0;

	if (!r)
		return 0;
	for (unsigned i = 0; i < r->n_recent && n < max; i++) {
		struct tcp_range b;
		bool have = false;
		if (!block_around(r, r->recent[i], &b))
			continue;
		for (unsigned k = 0; k < n; k++)
			have = have || out[k].start == b.start;
		if (!have)
			out[n++] = b;
	}
	return n;
}
