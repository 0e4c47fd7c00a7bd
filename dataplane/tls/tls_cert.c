/*
 * tls_cert.c: reads a certificate with its chain and key from PEM files and says clearly what is wrong with them.
 *
 * Refused: files that cannot be read, an encrypted key, a key that is not the certificate's, RSA under 2048 bits,
 * a certificate without any name where none is configured. An ended certificate is not refused: most
 * senders of mail do not mind, and a server that will not start is worse; the caller warns.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "span.h"
#include "tls_cert_int.h"

static enum err wrong(char *why, size_t why_size, enum err e, const char *file, const char *what)
{
	(void)snprintf(why, why_size, "%s: %s", file, what);
	ERR_clear_error();
	return e;
}

static BIO *open_file(const char *file, char *why, size_t why_size)
{
	errno = 0;
	BIO *b = BIO_new_file(file, "r");
	if (b == NULL)
		(void)wrong(why, why_size, ERR_IO, file, errno != 0 ? strerror(errno) : "cannot be read");
	return b;
}

/* Nobody is there to be asked for a passphrase. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static enum err read_chain(struct tls_cert *c, const char *file, char *why, size_t why_size)
{
	BIO *b = open_file(file, why, why_size);
	if (b == NULL)
		return ERR_IO;
	X509 *x;
	c->cert = PEM_read_bio_X509_AUX(b, NULL, no_passphrase, NULL);
	c->chain = sk_X509_new_null();
	CHECK(c->chain != NULL);
	while (c->cert != NULL && (x = PEM_read_bio_X509(b, NULL, no_passphrase, NULL)) != NULL)
		CHECK(sk_X509_push(c->chain, x) > 0);
	unsigned long e = ERR_peek_last_error();
	bool end = ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
	(void)BIO_free(b);
	if (c->cert == NULL)
		return wrong(why, why_size, ERR_SYNTAX, file, "no certificate in it (PEM is expected)");
	if (!end)
		return wrong(why, why_size, ERR_SYNTAX, file, "a certificate of the chain is damaged");
	ERR_clear_error();
	return ERR_OK;
}

static enum err key_type(struct tls_cert *c, const char *file, char *why, size_t why_size)
{
	switch (EVP_PKEY_get_base_id(c->key)) {
	case EVP_PKEY_EC:
		c->type = TLS_KEY_ECDSA;
		return ERR_OK;
	case EVP_PKEY_ED25519:
		c->type = TLS_KEY_EDDSA;
		return ERR_OK;
	case EVP_PKEY_RSA:
		c->type = TLS_KEY_RSA;
		if (EVP_PKEY_get_bits(c->key) < TLS_RSA_BITS_MIN)
			return wrong(why, why_size, ERR_DENIED, file, "an RSA key must have 2048 bits or more");
		return ERR_OK;
	default:
		return wrong(why, why_size, ERR_UNSUPPORTED, file, "the key must be ECDSA, RSA or Ed25519");
	}
}

static enum err read_key(struct tls_cert *c, const struct tls_files *f, char *why, size_t why_size)
{
	BIO *b = open_file(f->key, why, why_size);
	if (b == NULL)
		return ERR_IO;
	c->key = PEM_read_bio_PrivateKey(b, NULL, no_passphrase, NULL);
	(void)BIO_free(b);
	if (c->key == NULL)
		return wrong(why, why_size, ERR_SYNTAX, f->key, "no private key in it (PEM without a passphrase is expected)");
	if (X509_check_private_key(c->cert, c->key) != 1) {
		char text[600];
		(void)snprintf(text, sizeof(text), "is not the key of the certificate in %s", f->certificate);
		return wrong(why, why_size, ERR_DENIED, f->key, text);
	}
	return key_type(c, f->key, why, why_size);
}

static void name_add(struct tls_cert *c, struct span s)
{
	if (s.len == 0 || s.len > TLS_NAME_MAX || memchr(s.p, 0, s.len) != NULL)
		return;
	char **v = realloc(c->name, (c->n_name + 1) * sizeof(*v));
	char *name = v != NULL ? strndup((const char *)s.p, s.len) : NULL;
	CHECK(name != NULL);
	for (char *p = name; *p != '\0'; p++)
		*p = (char)ascii_lower((uint8_t)*p);
	c->name = v;
	c->name[c->n_name++] = name;
}

static void names_of_cert(struct tls_cert *c)
{
	GENERAL_NAMES *san = X509_get_ext_d2i(c->cert, NID_subject_alt_name, NULL, NULL);
	for (int i = 0; i < sk_GENERAL_NAME_num(san); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(san, i);
		if (g->type == GEN_DNS)
			name_add(c, span_of(ASN1_STRING_get0_data(g->d.dNSName),
					    (size_t)ASN1_STRING_length(g->d.dNSName)));
	}
	GENERAL_NAMES_free(san);
	char cn[TLS_NAME_MAX + 1];
	if (c->n_name == 0 &&
	    X509_NAME_get_text_by_NID(X509_get_subject_name(c->cert), NID_commonName, cn, sizeof(cn)) > 0)
		name_add(c, span_str(cn));
	ERR_clear_error();
}

enum err tls_cert_read(struct tls_cert **out, const struct tls_files *f, char *why, size_t why_size)
{
	struct tls_cert *c = calloc(1, sizeof(*c));
	CHECK(c != NULL);
	enum err e = read_chain(c, f->certificate, why, why_size);
	if (e == ERR_OK)
		e = read_key(c, f, why, why_size);
	if (e == ERR_OK) {
		for (unsigned i = 0; i < f->n_name; i++)
			name_add(c, span_str(f->name[i]));
		if (c->n_name == 0)
			names_of_cert(c);
		if (c->n_name == 0)
			e = wrong(why, why_size, ERR_SYNTAX, f->certificate, "names no host, and no name is configured for it");
	}
	if (e != ERR_OK)
		tls_cert_free(&c);
	*out = c;
	return e;
}

void tls_cert_free(struct tls_cert **cp)
{
	struct tls_cert *c = *cp;
	*cp = NULL;
	if (c == NULL)
		return;
	X509_free(c->cert);
	sk_X509_pop_free(c->chain, X509_free);
	EVP_PKEY_free(c->key);
	for (unsigned i = 0; i < c->n_name; i++)
		free(c->name[i]);
	free(c->name);
	free(c);
}

enum tls_key_type tls_cert_type(const struct tls_cert *c)
{
	return c->type;
}

unsigned tls_cert_names(const struct tls_cert *c, const char *const **names)
{
	*names = (const char *const *)c->name;
	return c->n_name;
}

int64_t tls_cert_expires_s(const struct tls_cert *c)
{
	int days = 0, seconds = 0;
	ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
	CHECK(epoch != NULL);
	(void)ASN1_TIME_diff(&days, &seconds, epoch, X509_get0_notAfter(c->cert));
	ASN1_TIME_free(epoch);
	return (int64_t)days * 86400 + seconds;
}
