/*
 * tls_conn.c: one connection: whole records to OpenSSL, its records to the transport, plaintext into packets.
 *
 * OpenSSL reads and writes through a BIO of ours that stands on two lists of slices; it copies a record once
 * into its own buffer, decrypts it there, and copies the plaintext into packets of the pool, which the
 * session keeps. Those buffers are given back after each record (SSL_MODE_RELEASE_BUFFERS), so
 * a connection at rest holds OpenSSL's state and nothing else.
 * The record header is read here first: what is no TLS fails at its first byte, and a record is given on only
 * when it is whole. Runs for every packet of a TLS connection.
 */
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "tls_int.h"

#define RECORD_HEADER     5
#define RECORD_BYTES_MAX  (TLS_RECORD_MAX + 2048) /* RFC 5246 6.2.3; TLS 1.3 allows less, and OpenSSL watches that */
#define HANDSHAKE_IN_MAX  (64 * 1024) /* received and not looked at; more is no ClientHello */
#define ECHO_MAX          16384       /* bytes that reading may make us write before the peer takes any */
#define DIRECT_MIN        4096        /* a slice this long is a record by itself, shorter ones are gathered */

struct tls *tls_of(const SSL *ssl)
{
	return SSL_get_app_data(ssl);
}

/* ---- OpenSSL's side: a BIO on two lists of slices ---- */

static int bio_read(BIO *b, char *buf, size_t size, size_t *got)
{
	struct tls *t = BIO_get_data(b);
	BIO_clear_retry_flags(b);
	size_t n = size < t->whole ? size : t->whole;
	if (n == 0) {
		BIO_set_retry_read(b);
		return 0;
	}
	*got = slices_read(&t->in, 0, buf, n);
	CHECK(*got == n);
	slices_consume(&t->in, n);
	t->whole -= (uint32_t)n;
	return 1;
}

static int bio_write(BIO *b, const char *buf, size_t size, size_t *done)
{
	struct tls *t = BIO_get_data(b);
	BIO_clear_retry_flags(b);
	if (!slices_copy(&t->out, t->core->pool, span_of(buf, size))) {
		t->no_memory = true;
		return 0;
	}
	*done = size;
	return 1;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
	(void)b;
	(void)num;
	(void)ptr;
	return cmd == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method;

__attribute__((constructor)) static void bio_init(void)
{
	bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "slices");
	CHECK(bio_method != NULL && BIO_meth_set_read_ex(bio_method, bio_read) == 1 &&
	      BIO_meth_set_write_ex(bio_method, bio_write) == 1 && BIO_meth_set_ctrl(bio_method, bio_ctrl) == 1);
}

__attribute__((destructor)) static void bio_fini(void)
{
	BIO_meth_free(bio_method);
}

/* ---- one worker ---- */

struct tls_core *tls_core_create(struct tls_shared *s, struct pkt_pool *pool, struct stat *stat)
{
	struct tls_core *c = calloc(1, sizeof(*c));
	if (c == NULL)
		return NULL;
	c->shared = s;
	c->pool = pool;
	c->stat = stat;
	c->budget = TLS_HANDSHAKES_TURN;
	list_init(&c->waiting);
	return c;
}

void tls_core_destroy(struct tls_core **cp)
{
	struct tls_core *c = *cp;
	*cp = NULL;
	if (c == NULL)
		return;
	CHECK(list_empty(&c->waiting));
	free(c);
}

bool tls_core_ready(const struct tls_core *c)
{
	return tls_shared_ready(c->shared);
}

void tls_core_turn(struct tls_core *c)
{
	c->budget = TLS_HANDSHAKES_TURN;
}

void *tls_core_waiting(struct tls_core *c)
{
	struct list *n = c->budget > 0 ? list_pop(&c->waiting) : NULL;
	return n != NULL ? LIST_ENTRY(n, struct tls, wait)->owner : NULL;
}

/* ---- beginning and end ---- */

struct tls *tls_accept(struct tls_core *c, const char *service, void *owner)
{
	struct tls_server *server = tls_shared_server(c->shared);
	if (server == NULL)
		return NULL;
	struct tls *t = calloc(1, sizeof(*t));
	BIO *b = t != NULL ? BIO_new(bio_method) : NULL;
	SSL *ssl = b != NULL ? SSL_new(tls_server_default(server)) : NULL;
	if (ssl == NULL) {
		ERR_clear_error();
		(void)BIO_free(b);
		free(t);
		tls_server_release(server);
		return NULL;
	}
	*t = (struct tls){.core = c, .server = server, .ssl = ssl, .owner = owner, .service = service};
	list_init(&t->wait);
	BIO_set_data(b, t);
	BIO_set_init(b, 1);
	SSL_set_bio(ssl, b, b);
	SSL_set_app_data(ssl, t);
	SSL_set_accept_state(ssl);
	return t;
}

void tls_destroy(struct tls **tp)
{
	struct tls *t = *tp;
	*tp = NULL;
	if (t == NULL)
		return;
	list_del(&t->wait);
	SSL_free(t->ssl);
	tls_server_release(t->server);
	slices_drop(&t->in);
	slices_drop(&t->out);
	free(t);
}

struct slices *tls_out(struct tls *t)
{
	return &t->out;
}

bool tls_is_open(const struct tls *t)
{
	return t->open && t->fault == ERR_OK;
}

static COLD enum err fail(struct tls *t, enum err e)
{
	t->fault = e;
	slices_drop(&t->in);
	t->whole = 0;
	ERR_clear_error();
	return e;
}

/* OpenSSL has given up, or a packet was wanting. */
static COLD enum err fail_ssl(struct tls *t)
{
	if (t->no_memory)
		return fail(t, ERR_NO_MEMORY);
	tls_fault_count(t);
	return fail(t, ERR_TLS);
}

static COLD enum err fail_count(struct tls *t, enum stat_id why)
{
	stat_inc(t->core->stat, why);
	return fail(t, ERR_TLS);
}

void tls_eof(struct tls *t)
{
	if (t->fault != ERR_OK || t->peer_closed)
		return;
	stat_inc(t->core->stat, t->open ? STAT_tls_truncated : STAT_tls_failed_closed);
	if (!t->open)
		(void)fail(t, ERR_TLS);
}

/* ---- records in ---- */

/* The first n (1..5) bytes of a record: could they be one? RFC 8446 5.1: types 20 to 23, version 3.x. A
 * connection begins with a handshake record. */
static bool record_plausible(const struct tls *t, const uint8_t *h, size_t n)
{
	if (h[0] < 20 || h[0] > 23 || (SSL_in_before(t->ssl) && h[0] != 22 && h[0] != 21))
		return false;
	if ((n > 1 && h[1] != 3) || (n > 2 && h[2] > 4))
		return false;
	return n < RECORD_HEADER || ((unsigned)h[3] << 8 | h[4]) <= RECORD_BYTES_MAX;
}

/* Moves t->whole on over the records that are all there. */
static void records_find(struct tls *t)
{
	uint8_t h[RECORD_HEADER];
	while (!t->bad_record) {
		size_t n = slices_read(&t->in, t->whole, h, sizeof(h));
		if (n == 0)
			return;
		if (!record_plausible(t, h, n)) {
			t->bad_record = true;
			return;
		}
		uint32_t len = n == sizeof(h) ? RECORD_HEADER + ((uint32_t)h[3] << 8 | h[4]) : UINT32_MAX;
		if (t->in.len - t->whole < len)
			return;
		t->whole += len;
	}
}

void tls_feed(struct tls *t, struct slice s)
{
	if (t->fault != ERR_OK || t->peer_closed || t->bad_record) {
		slice_drop(&s);
		return;
	}
	if (t->in.n > 0 && s.len < SLICE_COPY_MAX && slices_copy(&t->in, t->core->pool, slice_span(&s)))
		slice_drop(&s);
	else
		slices_push(&t->in, s);
}

/* What reading made us write: replies to a peer that asks for them and does not read are bounded. */
static bool echo_counted(struct tls *t, uint64_t before)
{
	t->echoed += (uint32_t)(t->out.len - before);
	return t->echoed <= ECHO_MAX;
}

/* ---- the handshake ---- */

/* One step with the whole records that are there. */
static enum err handshake_step(struct tls *t)
{
	struct stat *stat = t->core->stat;
	t->core->budget--;
	ERR_clear_error();
	int r = SSL_do_handshake(t->ssl);
	if (t->no_memory)
		return fail(t, ERR_NO_MEMORY);
	if (r == 1) {
		t->open = true;
		stat_inc(stat, STAT_tls_handshakes);
		if (SSL_session_reused(t->ssl))
			stat_inc(stat, STAT_tls_resumed);
		return ERR_OK;
	}
	return SSL_get_error(t->ssl, r) == SSL_ERROR_WANT_READ ? ERR_MORE : fail_ssl(t);
}

/* OK: done. MORE, BUSY or a failure. */
static enum err handshake(struct tls *t)
{
	for (;;) {
		if (t->whole == 0) {
			if (t->bad_record)
				return fail_count(t, STAT_tls_failed_garbage);
			if (t->in.len > HANDSHAKE_IN_MAX)
				return fail_count(t, STAT_tls_failed_other);
			return ERR_MORE;
		}
		if (t->core->budget == 0) {
			if (t->in.len > HANDSHAKE_IN_MAX)
				return fail_count(t, STAT_tls_failed_other);
			stat_inc(t->core->stat, STAT_tls_deferred);
			list_push(&t->core->waiting, &t->wait);
			return ERR_BUSY;
		}
		enum err e = handshake_step(t);
		if (e != ERR_MORE)
			return e;
		CHECK(t->whole == 0);
	}
}

/* ---- plaintext out ---- */

/* Fills one packet as far as there is plaintext. OK: full, there may be more. MORE: no more plaintext. */
static enum err packet_read(struct tls *t, struct slices *plain)
{
	struct pkt *p = pkt_alloc(t->core->pool);
	if (p == NULL)
		return fail(t, ERR_NO_MEMORY);
	uint32_t room = pkt_room(p), used = 0;
	uint8_t *to = pkt_append(p, room);
	enum err e = ERR_OK;
	while (used < room && e == ERR_OK) {
		size_t got = 0;
		uint64_t before = t->out.len;
		ERR_clear_error();
		int r = SSL_read_ex(t->ssl, to + used, room - used, &got);
		int why = r == 1 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, r);
		used += (uint32_t)got;
		if (t->no_memory)
			e = fail(t, ERR_NO_MEMORY);
		else if (!echo_counted(t, before))
			e = fail_count(t, STAT_tls_bad_record);
		else if (why == SSL_ERROR_WANT_READ)
			e = ERR_MORE;
		else if (why == SSL_ERROR_ZERO_RETURN)
			e = ERR_CLOSED;
		else if (why != SSL_ERROR_NONE)
			e = fail_ssl(t);
	}
	pkt_trim_tail(p, room - used);
	if (used > 0 && (used >= SLICE_COPY_MAX || plain->n == 0 ||
			 !slices_copy(plain, t->core->pool, span_of(to, used))))
		slices_push(plain, slice_of(p, to, used));
	pkt_free(p);
	return e;
}

enum err tls_read(struct tls *t, struct slices *plain)
{
	if (t->fault != ERR_OK)
		return t->fault;
	if (t->peer_closed)
		return ERR_CLOSED;
	list_del(&t->wait);
	records_find(t);
	if (!t->open) {
		enum err e = handshake(t);
		if (e != ERR_OK)
			return e == ERR_MORE ? ERR_OK : e;
		records_find(t);
	}
	enum err e = ERR_OK;
	while (e == ERR_OK && (t->whole > 0 || SSL_pending(t->ssl) > 0))
		e = packet_read(t, plain);
	if (e == ERR_CLOSED) {
		t->peer_closed = true;
		slices_drop(&t->in);
		t->whole = 0;
		return e;
	}
	if (e != ERR_OK && e != ERR_MORE)
		return e;
	return t->bad_record ? fail_count(t, STAT_tls_bad_record) : ERR_OK;
}

/* ---- plaintext in ---- */

/* The front of l, at most a record: a long slice as it is, short ones together in the scratch buffer. */
static struct span record_text(struct tls_core *c, const struct slices *l)
{
	struct span first = slice_span(&l->v[0]);
	if (l->n == 1 || first.len >= DIRECT_MIN)
		return span_head(first, TLS_RECORD_MAX);
	return span_of(c->scratch, slices_read(l, 0, c->scratch, sizeof(c->scratch)));
}

enum err tls_write(struct tls *t, struct slices *plain, uint64_t room)
{
	if (t->fault != ERR_OK)
		return t->fault;
	if (t->out.len == 0)
		t->echoed = 0;
	while (t->open && !t->write_closed && plain->len > 0 && t->out.len < room) {
		struct span text = record_text(t->core, plain);
		size_t done = 0;
		ERR_clear_error();
		if (SSL_write_ex(t->ssl, text.p, text.len, &done) != 1)
			return fail_ssl(t);
		slices_consume(plain, done);
	}
	return ERR_OK;
}

void tls_shutdown(struct tls *t)
{
	if (!t->open || t->fault != ERR_OK || t->write_closed)
		return;
	t->write_closed = true;
	ERR_clear_error();
	(void)SSL_shutdown(t->ssl);
	ERR_clear_error();
}

/* ---- what was agreed on ---- */

bool tls_info(const struct tls *t, struct tls_info *out)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(t->ssl);
	if (!t->open || cipher == NULL)
		return false;
	*out = (struct tls_info){
		.version = SSL_get_version(t->ssl),
		.cipher = SSL_CIPHER_get_name(cipher),
		.name = SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name),
		.bits = (unsigned)SSL_CIPHER_get_bits(cipher, NULL),
		.resumed = SSL_session_reused(t->ssl) == 1,
	};
	return true;
}

/* RFC 5929 4.1: the hash of the certificate's signature, but SHA-256 for the weak ones. */
static size_t end_point(X509 *cert, uint8_t out[TLS_BINDING_MAX])
{
	int hash = NID_undef, key = NID_undef;
	unsigned len = 0;
	if (cert == NULL || OBJ_find_sigid_algs(X509_get_signature_nid(cert), &hash, &key) != 1)
		return 0;
	if (hash == NID_md5 || hash == NID_sha1)
		hash = NID_sha256;
	const EVP_MD *md = hash != NID_undef ? EVP_get_digestbynid(hash) : NULL;
	if (md == NULL || EVP_MD_get_size(md) > TLS_BINDING_MAX || X509_digest(cert, md, out, &len) != 1)
		return 0;
	return len;
}

size_t tls_binding(const struct tls *t, enum tls_binding kind, uint8_t out[TLS_BINDING_MAX])
{
	static const char label[] = "EXPORTER-Channel-Binding";
	size_t len = 0;
	if (!t->open)
		return 0;
	ERR_clear_error();
	if (kind == TLS_BIND_END_POINT)
		len = end_point(SSL_get_certificate(t->ssl), out);
	else if (SSL_version(t->ssl) == TLS1_3_VERSION &&
		 SSL_export_keying_material(t->ssl, out, 32, label, sizeof(label) - 1, NULL, 0, 1) == 1)
		len = 32;
	ERR_clear_error();
	return len;
}
