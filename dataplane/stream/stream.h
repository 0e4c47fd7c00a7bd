/*
 * stream.h: what a session sees of its connection: readable bytes, lines, literals; writes; close. The
 * same calls whether plain or TLS. Knows no sockets: the worker moves slices between TCP and here
 * (stream_feed, stream_out), tests move them between a dialogue file and here. TLS is in stream_tls.c: records
 * are decrypted as they come and encrypted as there is room, so that rx and tx always hold plaintext.
 *
 * Invariants: 1. a span from stream_line/stream_peek is valid until the next stream_consume or call that
 * reads; 2. bytes leave in the order they were written; 3. nothing here blocks or calls up.
 */
#ifndef VEREDUS_STREAM_H
#define VEREDUS_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include "check.h"
#include "err.h"
#include "pkt.h"
#include "span.h"
#include "tls.h"

struct stream {
	struct slices rx, tx;
	struct pkt_pool *pool;
	uint8_t *line;        /* copy of a line that lies in several slices; held only while needed */
	uint32_t line_len;    /* of the line last returned, with its end */
	uint32_t scanned;     /* unread bytes known to hold no LF */
	int64_t consumed;     /* bytes done with since stream_taken: the TCP window opens by these. Under TLS
			       * records count at once and unread plaintext is owed: below 0 */
	struct tls *tls;      /* NULL: in clear */
	bool rx_eof;          /* peer sends no more after rx */
	bool raw_eof;         /* TLS: the transport has ended */
	bool tx_close;        /* close after tx */
	bool tx_abort;        /* reset at once */
	bool failed;          /* no packet for a write: connection must be dropped */
};

void stream_init(struct stream *s, struct pkt_pool *pool);
void stream_fini(struct stream *s); /* drops everything */

/* ---- the session's side ---- */
static inline uint64_t stream_readable(const struct stream *s)
{
	return s->rx.len;
}
/* The first contiguous run of unread bytes (empty if none). */
struct span stream_peek(const struct stream *s);
/* The next line without its end. OK: *line; consume with stream_line_done. MORE: no full line yet.
 * TOO_LONG: the line, with its end, has more than max bytes (nothing consumed: the caller decides, see
 * stream_skip_line). NO_MEMORY: no memory for a line that lies in several packets.
 * Lines end with CRLF; a bare LF also ends a command line but *bare_lf is set (bare_lf may be NULL). */
enum err stream_line(struct stream *s, uint32_t max, struct span *line, bool *bare_lf);
void stream_line_done(struct stream *s); /* consumes the line last returned and its end */
/* Throws bytes away through the next LF; true when the LF was found. */
bool stream_skip_line(struct stream *s);
void stream_consume(struct stream *s, uint64_t len);
/* Moves len readable bytes (<= readable) to out without copying (short pieces are copied together). */
void stream_take(struct stream *s, uint64_t len, struct slices *out);
/* Throws away all that was received (STARTTLS). */
void stream_discard(struct stream *s);

void stream_write(struct stream *s, struct span bytes); /* copies */
void stream_str(struct stream *s, const char *str);
void stream_printf(struct stream *s, const char *fmt, ...) PRINTF(2, 3);
void stream_send(struct stream *s, struct slice sl); /* by reference; takes it */
/* Bytes written and not yet taken by the transport: a session that produces much stops above its limit
 * and goes on at the next input(). */
static inline uint64_t stream_pending(const struct stream *s)
{
	return s->tx.len + (s->tls ? tls_out(s->tls)->len : 0);
}
#define STREAM_TX_HIGH (128 * 1024)
/* No more will be written: the connection closes gracefully after what is queued. */
void stream_close(struct stream *s);
void stream_abort(struct stream *s);

/* ---- TLS ---- */
/* From here on all that is read and written goes through TLS, as the server; what was written before (the
 * reply to STARTTLS) still leaves in clear, what was received and not consumed is thrown away, with the line that was
 * being looked at. The handshake goes on by itself; until it is done nothing is readable, and what is
 * written waits. If it fails the stream closes by itself: nothing more is readable, writes are ignored.
 * service: see tls_accept. False: TLS is not to be had, nothing has changed. */
bool stream_start_tls(struct stream *s, struct tls_core *c, const char *service);
/* Was TLS started? Everything readable then came through it. */
static inline bool stream_is_tls(const struct stream *s)
{
	return s->tls != NULL;
}
/* Is its handshake still to be done? */
bool stream_in_handshake(const struct stream *s);
/* What was agreed on; false: in clear or not done yet. */
bool stream_tls_info(const struct stream *s, struct tls_info *out);
/* Channel binding data (RFC 5929, 9266): bytes in out, 0: none of this kind on this stream. */
size_t stream_tls_binding(const struct stream *s, enum tls_binding kind, uint8_t out[TLS_BINDING_MAX]);

/* ---- the transport's side ---- */
void stream_feed(struct stream *s, struct slice sl); /* takes it */
void stream_eof(struct stream *s);
/* Moves up to max slices, at most room bytes (at least one slice if room > 0), out of tx. */
unsigned stream_out(struct stream *s, uint32_t room, struct slice *out, unsigned max);
/* Bytes consumed since the last call. */
uint32_t stream_taken(struct stream *s);
/* The next stream whose handshake waited for its turn, after it has gone on; NULL: none, or enough for this turn. */
struct stream *stream_tls_waiting(struct tls_core *c);

#endif
