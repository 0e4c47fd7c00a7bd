/*
 * stream.c: the two queues of slices between a session and its transport, and the line reader.
 *
 * A line that lies in one packet is returned in place; one that is cut over packets is copied to a
 * buffer that lives until the line is consumed. What was searched for LF once is not searched again, so
 * a peer that sends byte by byte costs linear time. Segments shorter than SLICE_COPY_MAX that queue up
 * unread are copied together: unread bytes pin at most one packet more than they fill.
 * After stream_close or stream_abort nothing is read any more: what still comes in is thrown away.
 * Runs for every packet; malloc is asked only for a line that is cut over packets and for very long formats.
 */
#include "stream_int.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void stream_init(struct stream *s, struct pkt_pool *pool)
{
	memset(s, 0, sizeof(*s));
	s->pool = pool;
}

static void line_release(struct stream *s)
{
	if (s->line) {
		free(s->line);
		s->line = NULL;
	}
	s->line_len = 0;
}

void stream_fini(struct stream *s)
{
	slices_drop(&s->rx);
	slices_drop(&s->tx);
	line_release(s);
	tls_destroy(&s->tls);
}

struct span stream_peek(const struct stream *s)
{
	if (s->rx.n == 0)
		return span_of(NULL, 0);
	return slice_span(&s->rx.v[0]);
}

/* Offset of the next LF in rx, from s->scanned on; false when there is none in the first max bytes. */
static bool line_find(struct stream *s, uint32_t max, uint32_t *off)
{
	uint64_t base = 0;
	for (uint32_t i = 0; i < s->rx.n && base < max; i++) {
		struct span r = slice_span(&s->rx.v[i]);
		size_t from = s->scanned > base ? (size_t)(s->scanned - base) : 0;
		size_t to = max - base < r.len ? (size_t)(max - base) : r.len;
		if (from < to) {
			const uint8_t *lf = memchr(r.p + from, '\n', to - from);
			if (lf) {
				*off = (uint32_t)(base + (size_t)(lf - r.p));
				return true;
			}
		}
		base += r.len;
	}
	s->scanned = (uint32_t)(base < max ? base : max);
	return false;
}

enum err stream_line(struct stream *s, uint32_t max, struct span *line, bool *bare_lf)
{
	uint32_t off;
	line_release(s);
	if (!line_find(s, max, &off))
		return s->rx.len > max || s->scanned >= max ? ERR_TOO_LONG : ERR_MORE;
	uint32_t len = off + 1;
	const uint8_t *p = s->rx.v[0].data;
	if (s->rx.v[0].len < len) {
		s->line = malloc(len);
		if (!s->line)
			return ERR_NO_MEMORY;
		slices_read(&s->rx, 0, s->line, len);
		p = s->line;
	}
	s->line_len = len;
	bool cr = off > 0 && p[off - 1] == '\r';
	*line = span_of(p, cr ? off - 1 : off);
	if (bare_lf)
		*bare_lf = !cr;
	return ERR_OK;
}

void stream_line_done(struct stream *s)
{
	uint32_t len = s->line_len;
	line_release(s);
	stream_consume(s, len);
}

bool stream_skip_line(struct stream *s)
{
	uint32_t off;
	line_release(s);
	if (line_find(s, UINT32_MAX, &off)) {
		stream_consume(s, (uint64_t)off + 1);
		return true;
	}
	stream_consume(s, s->rx.len);
	return false;
}

static void rx_consumed(struct stream *s, uint64_t len)
{
	s->consumed += (int64_t)len;
	s->scanned = s->scanned > len ? (uint32_t)(s->scanned - len) : 0;
	if (s->rx.n == 0 && s->rx.cap > STREAM_IDLE_CAP)
		slices_drop(&s->rx);
}

void stream_consume(struct stream *s, uint64_t len)
{
	CHECK(len <= s->rx.len);
	slices_consume(&s->rx, len);
	rx_consumed(s, len);
}

void stream_take(struct stream *s, uint64_t len, struct slices *out)
{
	CHECK(len <= s->rx.len);
	uint64_t left = len;
	uint32_t whole = 0;
	while (left > 0) {
		struct slice *in = &s->rx.v[whole];
		struct slice piece = *in;
		bool all = in->len <= left;
		if (!all)
			piece.len = (uint32_t)left;
		left -= piece.len;
		if (piece.len < SLICE_COPY_MAX && slices_copy(out, s->pool, slice_span(&piece))) {
			if (all)
				slice_drop(in);
		} else if (all) {
			slices_push(out, *in);
		} else {
			slices_push(out, slice_ref(&piece));
		}
		if (all) {
			whole++;
		} else {
			in->data += piece.len;
			in->len -= piece.len;
		}
	}
	s->rx.n -= whole;
	s->rx.len -= len;
	if (whole > 0 && s->rx.n > 0)
		memmove(s->rx.v, s->rx.v + whole, s->rx.n * sizeof(*s->rx.v));
	rx_consumed(s, len);
}

void stream_discard(struct stream *s)
{
	line_release(s);
	stream_consume(s, s->rx.len);
}

void stream_write(struct stream *s, struct span bytes)
{
	if (bytes.len == 0 || s->failed || s->tx_close || s->tx_abort)
		return;
	if (!slices_copy(&s->tx, s->pool, bytes))
		s->failed = true;
}

void stream_str(struct stream *s, const char *str)
{
	stream_write(s, span_str(str));
}

void stream_printf(struct stream *s, const char *fmt, ...)
{
	char small[512];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);
	CHECK(n >= 0);
	if ((size_t)n < sizeof(small)) {
		stream_write(s, span_of(small, (size_t)n));
		return;
	}
	char *big = malloc((size_t)n + 1);
	if (!big) {
		s->failed = true;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(big, (size_t)n + 1, fmt, ap);
	va_end(ap);
	stream_write(s, span_of(big, (size_t)n));
	free(big);
}

void stream_send(struct stream *s, struct slice sl)
{
	if (sl.len == 0 || s->failed || s->tx_close || s->tx_abort)
		slice_drop(&sl);
	else if (pkt_dear(sl.pkt, sl.len) && slices_copy(&s->tx, s->pool, slice_span(&sl)))
		slice_drop(&sl);
	else
		slices_push(&s->tx, sl);
}

void stream_close(struct stream *s)
{
	s->tx_close = true;
	stream_discard(s);
	if (s->tls)
		stream_tls_close(s);
}

void stream_abort(struct stream *s)
{
	s->tx_abort = true;
	stream_discard(s);
	slices_drop(&s->tx);
	if (s->tls)
		slices_drop(tls_out(s->tls));
}

void stream_feed(struct stream *s, struct slice sl)
{
	if (sl.len == 0 || s->tx_close || s->tx_abort) {
		s->consumed += sl.len;
		slice_drop(&sl);
		return;
	}
	if (s->tls) {
		stream_tls_feed(s, sl);
		return;
	}
	if (s->rx.n > 0 && sl.len < SLICE_COPY_MAX && slices_copy(&s->rx, s->pool, slice_span(&sl)))
		slice_drop(&sl);
	else
		slices_push(&s->rx, sl);
}

void stream_eof(struct stream *s)
{
	if (s->tls)
		stream_tls_eof(s);
	else
		s->rx_eof = true;
}

unsigned stream_out(struct stream *s, uint32_t room, struct slice *out, unsigned max)
{
	unsigned n = 0;
	uint64_t bytes = 0;
	if (room == 0)
		return 0;
	struct slices *tx = s->tls ? stream_tls_out(s, room) : &s->tx;
	while (n < max && n < tx->n && (n == 0 || bytes + tx->v[n].len <= room)) {
		out[n] = tx->v[n];
		bytes += out[n].len;
		n++;
	}
	tx->n -= n;
	tx->len -= bytes;
	if (tx->n > 0)
		memmove(tx->v, tx->v + n, tx->n * sizeof(*tx->v));
	else if (tx->cap > STREAM_IDLE_CAP)
		slices_drop(tx);
	return n;
}

uint32_t stream_taken(struct stream *s)
{
	if (s->consumed <= 0)
		return 0;
	uint32_t n = (uint32_t)s->consumed;
	s->consumed = 0;
	return n;
}
