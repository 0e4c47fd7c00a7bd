/*
 * tls_int.h: what the files of tls/ share. A struct tls_server is written once and then read by all cores;
 * connections count themselves in it, so that a reload frees the old one with its last connection.
 */
#ifndef VEREDUS_TLS_INT_H
#define VEREDUS_TLS_INT_H

#include <openssl/ssl.h>
#include <stdatomic.h>
#include "list.h"
#include "tls.h"
#include "tls_cert_int.h"

#define TLS_RECORD_MAX 16384 /* plaintext of one record (RFC 8446 5.1) */

struct tls_core {
	struct tls_shared *shared;
	struct pkt_pool *pool;
	struct stat *stat;
	struct list waiting; /* connections whose handshake waits for a turn */
	unsigned budget;     /* handshake steps left in this turn */
	uint8_t scratch[TLS_RECORD_MAX]; /* plaintext of a record that lies in several slices */
};

struct tls {
	struct list wait;
	struct tls_core *core;
	struct tls_server *server; /* counted */
	SSL *ssl;
	void *owner;
	const char *service;
	struct slices in, out;
	uint32_t whole;      /* bytes at the front of in that are whole records */
	uint32_t echoed;     /* bytes that reading made us write and that have not left */
	bool bad_record;     /* behind whole stands what is no record */
	bool open;           /* the handshake is done */
	bool peer_closed;    /* close_notify came */
	bool write_closed;   /* ours has been written */
	bool no_memory;
	enum err fault;      /* OK, or why it is over */
};

/* tls_server.c */
/* The group of certificates for a name, or the first one's. */
SSL_CTX *tls_server_ctx(const struct tls_server *s, struct span name);
SSL_CTX *tls_server_default(const struct tls_server *s);
struct tls_server *tls_server_ref(struct tls_server *s);
/* The certificates of now, counted; NULL if there are none. */
struct tls_server *tls_shared_server(struct tls_shared *s);
bool tls_shared_ready(const struct tls_shared *s);

/* tls_ticket.c */
struct tls_keys *tls_keys_next(const struct tls_keys *now);
const struct tls_keys *tls_shared_keys(const struct tls_shared *s);
int tls_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
		   int encrypt);

/* tls_conn.c */
struct tls *tls_of(const SSL *ssl);

/* tls_fault.c */
/* Counts why OpenSSL gave up, and empties its list of errors. */
void tls_fault_count(struct tls *t);

#endif
