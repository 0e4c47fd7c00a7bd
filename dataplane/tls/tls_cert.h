/*
 * tls_cert.h: a certificate with its chain and key, read from PEM files. Read by the control thread, at the
 * start, at a reload and by `config check`; what it says is meant for the operator.
 */
#ifndef VEREDUS_TLS_CERT_H
#define VEREDUS_TLS_CERT_H

#include <stddef.h>
#include <stdint.h>
#include "err.h"

#define TLS_RSA_BITS_MIN 2048

enum tls_key_type { TLS_KEY_ECDSA, TLS_KEY_RSA, TLS_KEY_EDDSA, TLS_KEY_TYPE_N };

/* What the configuration says about one certificate. */
struct tls_files {
	const char *certificate; /* PEM: the server's first, then its chain */
	const char *key;         /* PEM, not encrypted */
	unsigned n_name;         /* 0: the names in the certificate */
	const char *const *name; /* lower case: "mx.example.net", "*.example.net" */
};

struct tls_cert;

/* ERR_IO, ERR_SYNTAX, ERR_DENIED (weak, or the key is another's), ERR_UNSUPPORTED: *why is one line that
 * begins with the file. */
enum err tls_cert_read(struct tls_cert **out, const struct tls_files *f, char *why, size_t why_size);
void tls_cert_free(struct tls_cert **c);
enum tls_key_type tls_cert_type(const struct tls_cert *c);
/* The names of the configuration, else of the certificate (DNS names, else the common name); lower case. */
unsigned tls_cert_names(const struct tls_cert *c, const char *const **names);
/* Seconds since 1970 when it ends. */
int64_t tls_cert_expires_s(const struct tls_cert *c);

#endif
