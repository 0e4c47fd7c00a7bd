/*
 * slices.c: a growing list of slices, as the body of a message is kept. Owned by one thread at a time.
 *
 * Invariants: 1. len is the sum of the slices' lengths; 2. no slice is empty; 3. neighbours that lie one
 * after the other in one packet are one slice. The array grows by doubling; consuming from the front
 * moves what is left down, so consume in large steps.
 */
#include <stdlib.h>
#include "check.h"
#include "pkt.h"
#include "pkt_inline.h"

static void slices_reserve(struct slices *l, uint32_t n)
{
	if (n <= l->cap)
		return;
	uint32_t cap = l->cap ? l->cap : 4;
	while (cap < n)
		cap *= 2;
	l->v = realloc(l->v, (size_t)cap * sizeof(*l->v));
	CHECK(l->v != NULL);
	l->cap = cap;
}

void slices_push(struct slices *l, struct slice s)
{
	if (s.len == 0) {
		slice_drop(&s);
		return;
	}
	l->len += s.len;
	struct slice *last = l->n ? &l->v[l->n - 1] : NULL;
	if (last && last->pkt == s.pkt && last->data + last->len == s.data) {
		last->len += s.len;
		slice_drop(&s);
		return;
	}
	slices_reserve(l, l->n + 1);
	l->v[l->n++] = s;
}

/* Bytes that may be written behind the last slice: only where nobody else holds the packet and the
 * slice ends where the packet's data ends. */
static uint32_t slices_tail_room(const struct slices *l)
{
	if (l->n == 0)
		return 0;
	const struct slice *last = &l->v[l->n - 1];
	struct rte_mbuf *m = pkt_mbuf(last->pkt);
	if (rte_mbuf_refcnt_read(m) != 1 || !RTE_MBUF_DIRECT(m) ||
	    last->data + last->len != pkt_data_inline(last->pkt) + m->data_len)
		return 0;
	return pkt_room(last->pkt);
}

/* A chain of empty packets with len bytes of room together; NULL when the pool is empty. */
static struct pkt *slices_alloc(struct pkt_pool *pool, size_t len)
{
	struct pkt *head = NULL;

	for (size_t room = 0; room < len;) {
		struct pkt *p = pkt_alloc(pool);
		if (!p) {
			if (head)
				pkt_free(head);
			return NULL;
		}
		room += pkt_room(p);
		pkt_mbuf(p)->next = pkt_mbuf(head);
		head = p;
	}
	return head;
}

bool slices_copy(struct slices *l, struct pkt_pool *pool, struct span bytes)
{
	size_t tail = slices_tail_room(l);
	if (tail > bytes.len)
		tail = bytes.len;
	struct pkt *fresh = NULL;

	if (bytes.len > tail) {
		fresh = slices_alloc(pool, bytes.len - tail);
		if (!fresh)
			return false;
	}
	if (tail) {
		struct slice *last = &l->v[l->n - 1];
		memcpy(pkt_append(last->pkt, (uint32_t)tail), bytes.p, tail);
		last->len += (uint32_t)tail;
		l->len += tail;
		bytes = span_from(bytes, tail);
	}
	while (fresh) {
		struct pkt *p = fresh;
		fresh = pkt_next(p);
		pkt_mbuf(p)->next = NULL;
		struct span part = span_head(bytes, pkt_room(p));
		uint8_t *to = pkt_append(p, (uint32_t)part.len);
		memcpy(to, part.p, part.len);
		bytes = span_from(bytes, part.len);
		slices_push(l, (struct slice){p, to, (uint32_t)part.len});
	}
	return true;
}

/* The slice in which offset *off lies; *off becomes the offset in it. */
static uint32_t slices_seek(const struct slices *l, uint64_t *off)
{
	uint32_t i = 0;
	while (i < l->n && *off >= l->v[i].len)
		*off -= l->v[i++].len;
	return i;
}

void slices_add_range(struct slices *l, const struct slices *src, uint64_t off, uint64_t len)
{
	CHECK(l != src);
	for (uint32_t i = slices_seek(src, &off); i < src->n && len > 0; i++) {
		const struct slice *s = &src->v[i];
		uint64_t n = s->len - off < len ? s->len - off : len;
		slices_push(l, slice_of(s->pkt, s->data + off, (uint32_t)n));
		len -= n;
		off = 0;
	}
}

size_t slices_read(const struct slices *l, uint64_t off, void *dst, size_t len)
{
	size_t done = 0;

	for (uint32_t i = slices_seek(l, &off); i < l->n && done < len; i++) {
		const struct slice *s = &l->v[i];
		size_t n = s->len - off < len - done ? s->len - off : len - done;
		memcpy((uint8_t *)dst + done, s->data + off, n);
		done += n;
		off = 0;
	}
	return done;
}

void slices_consume(struct slices *l, uint64_t len)
{
	uint32_t i = 0;

	CHECK(len <= l->len);
	l->len -= len;
	for (; i < l->n && len >= l->v[i].len; i++) {
		len -= l->v[i].len;
		slice_drop(&l->v[i]);
	}
	if (len) {
		l->v[i].data += len;
		l->v[i].len -= (uint32_t)len;
	}
	if (i)
		memmove(l->v, l->v + i, (l->n - i) * sizeof(*l->v));
	l->n -= i;
}

void slices_drop(struct slices *l)
{
	for (uint32_t i = 0; i < l->n; i++)
		slice_drop(&l->v[i]);
	free(l->v);
	*l = (struct slices){0};
}
