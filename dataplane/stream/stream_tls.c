/*
 * stream_tls.c: a stream's TLS side: records that come are decrypted at once into rx, what stands in tx is encrypted
 * when the transport has room.
 *
 * Back-pressure: records open the TCP window as they come, plaintext that they held is owed until the session
 * has consumed it, so a session that does not read closes the peer's window as it does in clear.
 * Invariants: 1. nothing received in clear is readable once TLS has begun; 2. what was written before it leaves before
 * the first record; 3. after a failure only OpenSSL's alert still leaves.
 */
#include "stream_int.h"

bool stream_start_tls(struct stream *s, struct tls_core *c, const char *service)
{
	CHECK(s->tls == NULL);
	struct tls *t = tls_accept(c, service, s);
	if (t == NULL)
		return false;
	stream_discard(s);
	struct slices *out = tls_out(t);
	*out = s->tx;
	s->tx = (struct slices){0};
	s->tls = t;
	return true;
}

/* The stream ends: the alert that may stand in tls_out still leaves. */
static COLD void broken(struct stream *s, enum err e)
{
	if (e == ERR_NO_MEMORY)
		s->failed = true;
	s->tx_close = true;
	stream_discard(s);
	slices_drop(&s->tx);
}

static void ended(struct stream *s)
{
	tls_eof(s->tls);
	if (tls_is_open(s->tls))
		s->rx_eof = true;
	else
		broken(s, ERR_TLS);
}

static void pump(struct stream *s)
{
	uint64_t before = s->rx.len;
	enum err e = tls_read(s->tls, &s->rx);
	s->consumed -= (int64_t)(s->rx.len - before);
	if (e == ERR_CLOSED)
		s->rx_eof = true;
	else if (e == ERR_BUSY)
		return;
	else if (e != ERR_OK)
		broken(s, e);
	else if (s->raw_eof)
		ended(s);
}

void stream_tls_feed(struct stream *s, struct slice sl)
{
	s->consumed += sl.len;
	tls_feed(s->tls, sl);
	pump(s);
}

void stream_tls_eof(struct stream *s)
{
	if (s->raw_eof || s->tx_close || s->tx_abort)
		return;
	s->raw_eof = true;
	if (!s->rx_eof)
		pump(s);
}

void stream_tls_close(struct stream *s)
{
	if (!tls_is_open(s->tls))
		slices_drop(&s->tx); /* it will never be possible to send it */
	if (s->tx.len == 0)
		tls_shutdown(s->tls);
}

struct slices *stream_tls_out(struct stream *s, uint32_t room)
{
	enum err e = tls_write(s->tls, &s->tx, room);
	if (e != ERR_OK && !s->tx_close)
		broken(s, e);
	if (s->tx_close && s->tx.len == 0)
		tls_shutdown(s->tls);
	return tls_out(s->tls);
}

struct stream *stream_tls_waiting(struct tls_core *c)
{
	struct stream *s = tls_core_waiting(c);
	if (s != NULL)
		pump(s);
	return s;
}

bool stream_in_handshake(const struct stream *s)
{
	return s->tls != NULL && !tls_is_open(s->tls);
}

bool stream_tls_info(const struct stream *s, struct tls_info *out)
{
	return s->tls != NULL && tls_info(s->tls, out);
}

size_t stream_tls_binding(const struct stream *s, enum tls_binding kind, uint8_t out[TLS_BINDING_MAX])
{
	return s->tls != NULL ? tls_binding(s->tls, kind, out) : 0;
}
