/* tls_cert_int.h: what a read certificate is, for tls_cert.c, who makes it, and tls_server.c, who uses it. */
#ifndef VEREDUS_TLS_CERT_INT_H
#define VEREDUS_TLS_CERT_INT_H

#include <openssl/x509.h>
#include "tls_cert.h"

#define TLS_NAME_MAX 255

struct tls_cert {
	X509 *cert;
	STACK_OF(X509) *chain;
	EVP_PKEY *key;
	enum tls_key_type type;
	unsigned n_name;
	char **name;
};

#endif
