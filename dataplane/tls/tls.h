/*
 * tls.h: TLS 1.2 and 1.3: records in, records out, over OpenSSL. Knows no TCP and no protocol: slices of
 * received bytes go in by tls_feed, plaintext comes out of tls_read in packets of the pool, records to send
 * stand in tls_out.
 *
 * Who may call: tls_server_* and tls_shared_* the control thread; all else the worker that owns the core.
 * Invariants: 1. only whole records are given to OpenSSL, so a peer that dribbles costs nothing but its bytes;
 * 2. at most TLS_HANDSHAKES_TURN handshake steps a turn, the rest wait in line; 3. a connection at rest holds no
 * record buffers; 4. a ticket opens only at the service and under the name it was given for.
 */
#ifndef VEREDUS_TLS_H
#define VEREDUS_TLS_H

#include <stdbool.h>
#include <stdint.h>
#include "err.h"
#include "pkt.h"
#include "span.h"
#include "stat.h"
#include "tls_cert.h"

#define TLS_HANDSHAKES_TURN 4          /* one signature each: about 0.2 ms with ECDSA, 1.5 ms with RSA-2048 */
#define TLS_HANDSHAKE_US    30000000ull /* from the first byte to the last; the transport's to watch */
#define TLS_ROTATE_US       3600000000ull /* ticket keys: made for one hour, read for two more */
#define TLS_BINDING_MAX     64

struct tls;        /* one connection */
struct tls_core;   /* one worker's */
struct tls_server; /* the certificates, as loaded: never written again */
struct tls_shared; /* the process's: the certificates and ticket keys of now */
struct tls_keys;

/* ---- certificates, control thread ---- */
/* Several certificates of one name stand beside each other if their keys are of different types; the first
 * row's answer clients that name no host or an unknown one. ERR_OK or one line in *why. */
enum err tls_server_load(struct tls_server **out, const struct tls_files *files, unsigned n, char *why, size_t why_size);
void tls_server_release(void *server); /* gives one reference back */
/* first may be NULL: no certificates. Takes it. */
struct tls_shared *tls_shared_create(struct tls_server *first);
void tls_shared_destroy(struct tls_shared **s);
/* Puts next in place, for new connections. Returns the old ones: tls_server_release once no worker can be
 * reading (RCU). */
struct tls_server *tls_shared_publish(struct tls_shared *s, struct tls_server *next);
/* New ticket keys. Returns the old set: tls_keys_free once no worker can be reading. */
struct tls_keys *tls_shared_rotate(struct tls_shared *s);
void tls_keys_free(void *keys);

/* ---- one worker ---- */
struct tls_core *tls_core_create(struct tls_shared *s, struct pkt_pool *pool, struct stat *stat);
void tls_core_destroy(struct tls_core **c);
bool tls_core_ready(const struct tls_core *c); /* are there certificates? */
/* Once a turn: a new allowance of handshake steps. */
void tls_core_turn(struct tls_core *c);
/* Next connection that waited and may go on (call tls_read), as its owner; NULL when there is none or no
 * allowance is left. */
void *tls_core_waiting(struct tls_core *c);

/* ---- one connection ---- */
/* service: "smtp", "submission", "imap", "pop3": a static string; tickets are bound to it and ALPN must name it
 * (submission: smtp) if the client uses it at all. owner comes back from tls_core_waiting. NULL: no certificates or memory. */
struct tls *tls_accept(struct tls_core *c, const char *service, void *owner);
void tls_destroy(struct tls **t);
void tls_feed(struct tls *t, struct slice s); /* takes it */
/* Goes on with what has come; plaintext is added to plain. OK: more must come. BUSY: the handshake waits for a later
 * turn. CLOSED: the peer said close_notify. TLS: failed, an alert may stand in tls_out. NO_MEMORY: no packet. */
enum err tls_read(struct tls *t, struct slices *plain);
/* Encrypts from plain, taking it, until tls_out holds room bytes or plain is empty. OK, TLS, NO_MEMORY. */
enum err tls_write(struct tls *t, struct slices *plain, uint64_t room);
void tls_shutdown(struct tls *t); /* close_notify, once, if the handshake is done */
struct slices *tls_out(struct tls *t);
bool tls_is_open(const struct tls *t); /* the handshake is done and nothing has failed */
/* The transport's end came: counts a handshake that was cut or a missing close_notify. */
void tls_eof(struct tls *t);

struct tls_info {
	const char *version; /* "TLSv1.3" */
	const char *cipher;  /* "TLS_AES_128_GCM_SHA256" */
	const char *name;    /* SNI; NULL: none. Valid while the connection is. */
	unsigned bits;
	bool resumed;
};
/* False before the handshake is done. */
bool tls_info(const struct tls *t, struct tls_info *out);

enum tls_binding {
	TLS_BIND_EXPORTER,  /* "tls-exporter" (RFC 9266); TLS 1.3 only, as before that it needs more than we ask for */
	TLS_BIND_END_POINT, /* "tls-server-end-point" (RFC 5929 4): hash of our certificate */
};
/* Bytes written to out, 0 when this binding is not to be had on this connection. */
size_t tls_binding(const struct tls *t, enum tls_binding kind, uint8_t out[TLS_BINDING_MAX]);

#endif
