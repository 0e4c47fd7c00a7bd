/*
 * tls_peer.h: the other end of a TLS connection for tests: OpenSSL's client on memory, and certificates made on the spot.
 * Owned: everything in struct tls_peer.
 */
#ifndef VEREDUS_TLS_PEER_H
#define VEREDUS_TLS_PEER_H

#include <openssl/ssl.h>
#include "buf.h"
#include "span.h"

struct tls_peer_conf {
	const char *name;   /* SNI; NULL: none */
	const char *alpn;   /* one protocol; NULL: none */
	const char *sigalgs;
	const char *ciphers; /* of TLS 1.2 */
	int version;        /* TLS1_2_VERSION, TLS1_3_VERSION; 0: any */
	SSL_SESSION *session;
};

struct tls_peer {
	SSL_CTX *ctx;
	SSL *ssl;
	BIO *in, *out;      /* belong to ssl */
	struct buf plain;   /* decrypted and not yet taken */
	SSL_SESSION *session; /* the last ticket that came; counted */
	bool open, closed, failed;
};

void tls_peer_init(struct tls_peer *p, const struct tls_peer_conf *c);
void tls_peer_fini(struct tls_peer *p);
/* Raw bytes of the server go in; the handshake goes on, plaintext is added to plain. */
void tls_peer_feed(struct tls_peer *p, struct span raw);
/* First call: the ClientHello is made. */
void tls_peer_run(struct tls_peer *p);
void tls_peer_write(struct tls_peer *p, struct span text);
/* What is to be sent to the server; the caller takes all of it: valid until the next call. */
struct span tls_peer_raw(struct tls_peer *p);
void tls_peer_sent(struct tls_peer *p);
/* Server certificate's public key: EVP_PKEY_EC, EVP_PKEY_RSA; and its common name into cn. */
int tls_peer_server(struct tls_peer *p, char *cn, int size);

/* Makes DIR/STEM.pem and DIR/STEM.key. type: "ec", "rsa", "rsa1024", "ed25519". names: "a.example,b.example" go into the
 * subject alternative names (NULL: none), the first also into the common name. days may be negative: ended. */
void tls_peer_cert(const char *dir, const char *stem, const char *type, const char *names, int days);

#endif
