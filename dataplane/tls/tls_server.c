/*
 * tls_server.c: certificates by name, the settings all connections share, and the process's current set.
 *
 * Each distinct set of certificates (one a key type) is a group with an SSL_CTX of its own; names point to groups.
 * The ClientHello's name chooses before anything else is decided: first the name itself, then "*." and what
 * stands behind its first label, then the first group. The name, with the service, also becomes the
 * session id context, which is what binds a ticket to both (the class of a ticket that was given on one port and taken on
 * another): OpenSSL resumes only where the contexts are equal.
 */
#include <openssl/err.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "tls_int.h"

#define CERTS_MAX 1024
#define TICKET_LIFE_S 7200

/* RFC 9325 4.2: forward secrecy and authenticated encryption only. AES-128 first: it is the fastest here; ChaCha20 is
 * taken when the client, having no AES in hardware, puts it first. */
static const char ciphers_12[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
				 "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
				 "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char ciphers_13[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

struct group {
	struct tls_cert *cert[TLS_KEY_TYPE_N];
	SSL_CTX *ctx;
};

struct host {
	const char *name; /* lies in its certificate */
	struct tls_cert *cert[TLS_KEY_TYPE_N];
	uint32_t group;
};

struct tls_server {
	_Atomic unsigned refs;
	unsigned n_cert, n_host, n_group;
	struct tls_cert **cert;
	struct host *host; /* sorted by name */
	struct group *group;
	uint32_t first; /* group of the first certificate */
};

struct tls_shared {
	_Atomic(struct tls_server *) server;
	_Atomic(struct tls_keys *) keys;
};

/* ---- what a ClientHello decides ---- */

/* RFC 6066 3: the one host name, in lower case, or nothing if the extension is absent or odd (OpenSSL judges that). */
static struct span hello_name(SSL *ssl, char buf[TLS_NAME_MAX])
{
	const unsigned char *p;
	size_t len;
	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &len) != 1 || len < 5 || p[2] != 0)
		return span_of(buf, 0);
	size_t n = (size_t)p[3] << 8 | p[4];
	if (n > len - 5 || n > TLS_NAME_MAX)
		return span_of(buf, 0);
	for (size_t i = 0; i < n; i++)
		buf[i] = (char)ascii_lower(p[5 + i]);
	return span_of(buf, n);
}

static int on_hello(SSL *ssl, int *alert, void *arg)
{
	struct tls *t = tls_of(ssl);
	char buf[TLS_NAME_MAX];
	uint8_t text[32 + 1 + TLS_NAME_MAX], hash[SHA256_DIGEST_LENGTH];
	struct span name = hello_name(ssl, buf), service = span_head(span_str(t->service), 32);
	SSL_CTX *ctx = tls_server_ctx(t->server, name);
	(void)arg;
	memcpy(text, service.p, service.len);
	text[service.len] = 0;
	memcpy(text + service.len + 1, name.p, name.len);
	SHA256(text, service.len + 1 + name.len, hash);
	if ((ctx == SSL_get_SSL_CTX(ssl) || SSL_set_SSL_CTX(ssl, ctx) != NULL) &&
	    SSL_set_session_id_context(ssl, hash, sizeof(hash)) == 1)
		return SSL_CLIENT_HELLO_SUCCESS;
	*alert = SSL_AD_INTERNAL_ERROR;
	return SSL_CLIENT_HELLO_ERROR;
}

/* The choice was made by on_hello; this only lets OpenSSL acknowledge the extension. */
static int on_name(SSL *ssl, int *alert, void *arg)
{
	(void)ssl;
	(void)alert;
	(void)arg;
	return SSL_TLSEXT_ERR_OK;
}

/* RFC 7301 3.2: a client that names protocols must name ours: one that meant to speak HTTP is not talked to (ALPACA). */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned in_len,
		   void *arg)
{
	struct span want = span_str(tls_of(ssl)->service);
	(void)arg;
	if (span_eq(want, SPAN("submission")))
		want = SPAN("smtp");
	for (unsigned i = 0; i < in_len && in[i] < in_len - i; i += 1u + in[i]) {
		if (span_eq(span_of(in + i + 1, in[i]), want)) {
			*out = in + i + 1;
			*out_len = in[i];
			return SSL_TLSEXT_ERR_OK;
		}
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* ---- contexts ---- */

static SSL_CTX *ctx_common(const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new(method);
	char groups[] = "X25519:P-256:P-384";
	CHECK(ctx != NULL);
	SSL_CTX_set_security_level(ctx, 2);
	CHECK(SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1);
	CHECK(SSL_CTX_set_cipher_list(ctx, ciphers_12) == 1 && SSL_CTX_set_ciphersuites(ctx, ciphers_13) == 1);
	CHECK(SSL_CTX_set1_groups_list(ctx, groups) == 1);
	(void)SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN |
					    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return ctx;
}

static SSL_CTX *ctx_server(const struct group *g, char *why, size_t why_size)
{
	SSL_CTX *ctx = ctx_common(TLS_server_method());
	(void)SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets only: nothing is kept here */
	(void)SSL_CTX_set_timeout(ctx, TICKET_LIFE_S);
	(void)SSL_CTX_set_num_tickets(ctx, 1);
	CHECK(SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, tls_ticket_key) == 1);
	SSL_CTX_set_client_hello_cb(ctx, on_hello, NULL);
	(void)SSL_CTX_set_tlsext_servername_callback(ctx, on_name);
	SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
	for (unsigned i = 0; i < TLS_KEY_TYPE_N; i++) {
		const struct tls_cert *c = g->cert[i];
		if (c != NULL && SSL_CTX_use_cert_and_key(ctx, c->cert, c->key, c->chain, 1) != 1) {
			char text[200];
			ERR_error_string_n(ERR_peek_last_error(), text, sizeof(text));
			ERR_clear_error();
			(void)snprintf(why, why_size, "certificate of %s: %s", c->name[0], text);
			SSL_CTX_free(ctx);
			return NULL;
		}
	}
	return ctx;
}

/* ---- loading ---- */

static int host_cmp(const void *a, const void *b)
{
	return strcmp(((const struct host *)a)->name, ((const struct host *)b)->name);
}

static struct host *host_find(const struct tls_server *s, const char *name)
{
	struct host key = {.name = name};
	return bsearch(&key, s->host, s->n_host, sizeof(key), host_cmp);
}

static void hosts_build(struct tls_server *s)
{
	unsigned all = 0;
	for (unsigned i = 0; i < s->n_cert; i++)
		all += s->cert[i]->n_name;
	s->host = calloc(all, sizeof(*s->host));
	CHECK(s->host != NULL);
	for (unsigned i = 0; i < s->n_cert; i++)
		for (unsigned k = 0; k < s->cert[i]->n_name; k++)
			s->host[s->n_host++].name = s->cert[i]->name[k];
	qsort(s->host, s->n_host, sizeof(*s->host), host_cmp);
	unsigned n = 0;
	for (unsigned i = 0; i < s->n_host; i++)
		if (n == 0 || strcmp(s->host[n - 1].name, s->host[i].name) != 0)
			s->host[n++] = s->host[i];
	s->n_host = n;
	for (unsigned i = 0; i < s->n_cert; i++) {
		for (unsigned k = 0; k < s->cert[i]->n_name; k++) {
			struct host *h = host_find(s, s->cert[i]->name[k]);
			if (h->cert[s->cert[i]->type] == NULL) /* the first of a type is used */
				h->cert[s->cert[i]->type] = s->cert[i];
		}
	}
}

static enum err groups_build(struct tls_server *s, char *why, size_t why_size)
{
	s->group = calloc(s->n_host, sizeof(*s->group));
	CHECK(s->group != NULL);
	for (unsigned i = 0; i < s->n_host; i++) {
		struct host *h = &s->host[i];
		unsigned g = 0;
		while (g < s->n_group && memcmp(s->group[g].cert, h->cert, sizeof(h->cert)) != 0)
			g++;
		h->group = g;
		if (g < s->n_group)
			continue;
		memcpy(s->group[g].cert, h->cert, sizeof(h->cert));
		s->group[g].ctx = ctx_server(&s->group[g], why, why_size);
		if (s->group[g].ctx == NULL)
			return ERR_UNSUPPORTED;
		s->n_group++;
	}
	s->first = host_find(s, s->cert[0]->name[0])->group;
	return ERR_OK;
}

enum err tls_server_load(struct tls_server **out, const struct tls_files *files, unsigned n, char *why, size_t why_size)
{
	*out = NULL;
	if (n == 0 || n > CERTS_MAX) {
		(void)snprintf(why, why_size, "from 1 to %d certificates are possible", CERTS_MAX);
		return ERR_TOO_MANY;
	}
	struct tls_server *s = calloc(1, sizeof(*s));
	CHECK(s != NULL);
	atomic_init(&s->refs, 1);
	s->cert = calloc(n, sizeof(struct tls_cert *));
	CHECK(s->cert != NULL);
	enum err e = ERR_OK;
	for (unsigned i = 0; i < n && e == ERR_OK; i++) {
		e = tls_cert_read(&s->cert[i], &files[i], why, why_size);
		s->n_cert += e == ERR_OK;
	}
	if (e == ERR_OK) {
		hosts_build(s);
		e = groups_build(s, why, why_size);
	}
	if (e != ERR_OK) {
		tls_server_release(s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

struct tls_server *tls_server_ref(struct tls_server *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void tls_server_release(void *server)
{
	struct tls_server *s = server;
	if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (unsigned i = 0; i < s->n_group; i++)
		SSL_CTX_free(s->group[i].ctx);
	for (unsigned i = 0; i < s->n_cert; i++)
		tls_cert_free(&s->cert[i]);
	free(s->group);
	free(s->host);
	free(s->cert);
	free(s);
}

SSL_CTX *tls_server_default(const struct tls_server *s)
{
	return s->group[s->first].ctx;
}

SSL_CTX *tls_server_ctx(const struct tls_server *s, struct span name)
{
	char text[TLS_NAME_MAX + 1];
	if (!span_cstr(name, text, sizeof(text)) || text[0] == '\0')
		return tls_server_default(s);
	const struct host *h = host_find(s, text);
	char *dot = strchr(text, '.');
	if (h == NULL && dot != NULL && dot > text) { /* RFC 9525 6.3: the asterisk stands for the first label, whole */
		dot[-1] = '*';
		h = host_find(s, dot - 1);
	}
	return h != NULL ? s->group[h->group].ctx : tls_server_default(s);
}

/* ---- the set of now ---- */

struct tls_shared *tls_shared_create(struct tls_server *first)
{
	struct tls_shared *s = calloc(1, sizeof(*s));
	CHECK(s != NULL);
	atomic_init(&s->server, first);
	atomic_init(&s->keys, tls_keys_next(NULL));
	return s;
}

void tls_shared_destroy(struct tls_shared **sp)
{
	struct tls_shared *s = *sp;
	*sp = NULL;
	if (s == NULL)
		return;
	tls_server_release(atomic_load_explicit(&s->server, memory_order_relaxed));
	tls_keys_free(atomic_load_explicit(&s->keys, memory_order_relaxed));
	free(s);
}

struct tls_server *tls_shared_publish(struct tls_shared *s, struct tls_server *next)
{
	return atomic_exchange_explicit(&s->server, next, memory_order_acq_rel);
}

struct tls_keys *tls_shared_rotate(struct tls_shared *s)
{
	struct tls_keys *next = tls_keys_next(atomic_load_explicit(&s->keys, memory_order_relaxed));
	return atomic_exchange_explicit(&s->keys, next, memory_order_acq_rel);
}

const struct tls_keys *tls_shared_keys(const struct tls_shared *s)
{
	return atomic_load_explicit(&s->keys, memory_order_acquire);
}

struct tls_server *tls_shared_server(struct tls_shared *s)
{
	struct tls_server *server = atomic_load_explicit(&s->server, memory_order_acquire);
	return server != NULL ? tls_server_ref(server) : NULL;
}

bool tls_shared_ready(const struct tls_shared *s)
{
	return atomic_load_explicit(&s->server, memory_order_acquire) != NULL;
}
