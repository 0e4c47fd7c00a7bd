/* tls_peer.c: OpenSSL's client on memory BIOs; self-signed certificates. */
#include "tls_peer.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include "check.h"

static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_peer *p = SSL_get_app_data(ssl);
	SSL_SESSION_free(p->session);
	p->session = session;
	return 1; /* ours */
}

void tls_peer_init(struct tls_peer *p, const struct tls_peer_conf *c)
{
	char text[300]; /* OpenSSL's macros want it not const */
	memset(p, 0, sizeof(*p));
	p->ctx = SSL_CTX_new(TLS_client_method());
	CHECK(p->ctx != NULL);
	SSL_CTX_set_security_level(p->ctx, 1);
	SSL_CTX_set_session_cache_mode(p->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(p->ctx, on_session);
	if (c->version) {
		CHECK(SSL_CTX_set_min_proto_version(p->ctx, c->version) == 1);
		CHECK(SSL_CTX_set_max_proto_version(p->ctx, c->version) == 1);
	}
	if (c->sigalgs) {
		(void)snprintf(text, sizeof(text), "%s", c->sigalgs);
		CHECK(SSL_CTX_set1_sigalgs_list(p->ctx, text) == 1);
	}
	if (c->ciphers)
		CHECK(SSL_CTX_set_cipher_list(p->ctx, c->ciphers) == 1);
	p->ssl = SSL_new(p->ctx);
	p->in = BIO_new(BIO_s_mem());
	p->out = BIO_new(BIO_s_mem());
	CHECK(p->ssl != NULL && p->in != NULL && p->out != NULL);
	SSL_set_bio(p->ssl, p->in, p->out);
	SSL_set_app_data(p->ssl, p);
	if (c->name) {
		(void)snprintf(text, sizeof(text), "%s", c->name);
		CHECK(SSL_set_tlsext_host_name(p->ssl, text) == 1);
	}
	if (c->alpn) {
		uint8_t wire[64];
		wire[0] = (uint8_t)strlen(c->alpn);
		memcpy(wire + 1, c->alpn, wire[0]);
		CHECK(SSL_set_alpn_protos(p->ssl, wire, wire[0] + 1u) == 0);
	}
	if (c->session)
		CHECK(SSL_set_session(p->ssl, c->session) == 1);
	SSL_set_connect_state(p->ssl);
	buf_init(&p->plain);
}

void tls_peer_fini(struct tls_peer *p)
{
	SSL_set_shutdown(p->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* or OpenSSL spoils the ticket */
	SSL_SESSION_free(p->session);
	SSL_free(p->ssl);
	SSL_CTX_free(p->ctx);
	buf_fini(&p->plain);
	ERR_clear_error();
}

static void outcome(struct tls_peer *p, int r)
{
	int why = SSL_get_error(p->ssl, r);
	if (why == SSL_ERROR_ZERO_RETURN)
		p->closed = true;
	else if (why != SSL_ERROR_WANT_READ)
		p->failed = true;
	ERR_clear_error();
}

void tls_peer_run(struct tls_peer *p)
{
	char buf[16384];
	ERR_clear_error();
	if (p->failed || p->closed)
		return;
	if (!p->open) {
		int r = SSL_do_handshake(p->ssl);
		p->open = r == 1;
		if (r != 1)
			outcome(p, r);
	}
	while (p->open && !p->failed && !p->closed) {
		int r = SSL_read(p->ssl, buf, sizeof(buf));
		if (r <= 0) {
			outcome(p, r);
			return;
		}
		buf_add(&p->plain, buf, (size_t)r);
	}
}

void tls_peer_feed(struct tls_peer *p, struct span raw)
{
	if (raw.len)
		CHECK(BIO_write(p->in, raw.p, (int)raw.len) == (int)raw.len);
	tls_peer_run(p);
}

void tls_peer_write(struct tls_peer *p, struct span text)
{
	ERR_clear_error();
	if (text.len && !p->failed)
		CHECK(SSL_write(p->ssl, text.p, (int)text.len) == (int)text.len);
}

struct span tls_peer_raw(struct tls_peer *p)
{
	char *data;
	long len = BIO_get_mem_data(p->out, &data);
	return span_of(data, (size_t)len);
}

void tls_peer_sent(struct tls_peer *p)
{
	(void)BIO_reset(p->out);
}

int tls_peer_server(struct tls_peer *p, char *cn, int size)
{
	X509 *x = SSL_get_peer_certificate(p->ssl);
	CHECK(x != NULL);
	CHECK(X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, cn, size) > 0);
	int type = EVP_PKEY_get_base_id(X509_get0_pubkey(x));
	X509_free(x);
	return type;
}

static EVP_PKEY *key_make(const char *type)
{
	EVP_PKEY *k = strcmp(type, "ec") == 0        ? EVP_EC_gen("P-256")
		      : strcmp(type, "rsa") == 0     ? EVP_RSA_gen(2048)
		      : strcmp(type, "rsa1024") == 0 ? EVP_RSA_gen(1024)
						     : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	CHECK(k != NULL);
	return k;
}

void tls_peer_cert(const char *dir, const char *stem, const char *type, const char *names, int days)
{
	char path[512], san[512] = "", cn[256] = "nobody";
	EVP_PKEY *k = key_make(type);
	X509 *x = X509_new();
	CHECK(x != NULL && X509_set_version(x, 2) == 1);
	CHECK(ASN1_INTEGER_set(X509_get_serialNumber(x), (long)(days + 10000)) == 1);
	(void)X509_gmtime_adj(X509_getm_notBefore(x), -86400L * 400);
	(void)X509_gmtime_adj(X509_getm_notAfter(x), 86400L * days);
	CHECK(X509_set_pubkey(x, k) == 1);
	for (const char *p = names; p != NULL && *p != '\0';) {
		int len = (int)strcspn(p, ",");
		size_t at = strlen(san);
		(void)snprintf(san + at, sizeof(san) - at, "%sDNS:%.*s", at ? "," : "", len, p);
		if (at == 0)
			(void)snprintf(cn, sizeof(cn), "%.*s", len, p);
		p += len + (p[len] == ',');
	}
	X509_NAME *n = X509_get_subject_name(x);
	if (names != NULL)
		CHECK(X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC, (const uint8_t *)cn, -1, -1, 0) == 1);
	CHECK(X509_set_issuer_name(x, n) == 1);
	if (names != NULL) {
		X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
		CHECK(e != NULL && X509_add_ext(x, e, -1) == 1);
		X509_EXTENSION_free(e);
	}
	CHECK(X509_sign(x, k, strcmp(type, "ed25519") ? EVP_sha256() : NULL) > 0);
	(void)snprintf(path, sizeof(path), "%s/%s.pem", dir, stem);
	FILE *f = fopen(path, "w");
	CHECK(f != NULL && PEM_write_X509(f, x) == 1 && fclose(f) == 0);
	(void)snprintf(path, sizeof(path), "%s/%s.key", dir, stem);
	f = fopen(path, "w");
	CHECK(f != NULL && PEM_write_PrivateKey(f, k, NULL, NULL, 0, NULL, NULL) == 1 && fclose(f) == 0);
	X509_free(x);
	EVP_PKEY_free(k);
}
