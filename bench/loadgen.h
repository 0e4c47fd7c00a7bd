/*
 * loadgen.h: an SMTP load generator in three parts. loadgen_smtp.c speaks SMTP on many connections and measures;
 * a transport (struct lg_io_ops, one file each, loadgen_kernel.c the first) moves the bytes; smtp_accept.c reads
 * the options and prints the result. One thread, no locks. The transport knows no SMTP and the client no sockets,
 * so the same client runs over the kernel's TCP and over our own.
 *
 * Invariants
 * 1. Connections are numbered 0..n-1; a number is reused only after close().
 * 2. poll() reports LG_READABLE and LG_WRITABLE as edges: the client then reads or writes until it is told "no more".
 * 3. A message is counted as acknowledged, timed and written to the ledger only after its 250 was read.
 */
#ifndef LOADGEN_H
#define LOADGEN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/uio.h>

enum lg_event_bit {
	LG_OPEN = 1,      /* the connection that open() asked for is established */
	LG_READABLE = 2,
	LG_WRITABLE = 4,
	LG_CLOSED = 8,    /* refused, reset, or closed by the peer and read to the end */
};

struct lg_event {
	unsigned conn;
	unsigned bits;
};

struct lg_io_ops {
	const char *name;
	/* Makes the transport for n_conns connections to host:port (numeric address); NULL and a line on stderr on failure. */
	void *(*create)(const char *host, const char *port, unsigned n_conns);
	void (*destroy)(void *io);
	/* Starts an active open; LG_OPEN or LG_CLOSED follows. False when it failed at once. */
	bool (*open)(void *io, unsigned conn);
	/* Gives up the connection at once; nothing is reported for it afterwards. */
	void (*close)(void *io, unsigned conn);
	/* Bytes taken, 0 when the transport is full (LG_WRITABLE follows), -1 when the connection is dead. */
	ssize_t (*send)(void *io, unsigned conn, const struct iovec *iov, int n);
	/* Bytes read; 0 when there is nothing now; -1 at the end of the stream or on an error. */
	ssize_t (*recv)(void *io, unsigned conn, void *buf, size_t len);
	/* Waits up to timeout_ms, fills at most n events, returns how many. */
	int (*poll)(void *io, struct lg_event *ev, int n, int timeout_ms);
};

extern const struct lg_io_ops lg_io_kernel;
extern const struct lg_io_ops lg_io_stack;
/* Before lg_run with lg_io_stack: the DPDK device string and the own address with its prefix length. */
void lg_stack_options(const char *device, const char *address);

struct lg_options {
	const char *host, *port;
	const char *helo;
	const char *from;            /* a '%' becomes the message's number */
	const char *to;              /* a '%' becomes the recipient's number over all messages */
	unsigned connections;
	uint64_t per_connection;     /* messages before QUIT and a new connection; 0: no end */
	uint64_t messages;           /* all told; 0: until the time is over */
	unsigned recipients;         /* a message */
	unsigned seconds;            /* hard end of the run */
	bool pipelining;             /* use it when the server offers it */
	bool stop_when_refused;      /* end the run when the server is gone (for crash tests) */
	const char *body;            /* dot-stuffed lines that end in CRLF, shared by all messages */
	size_t body_len;
	uint64_t size;               /* of a message without dot-stuffing, as RFC 1870 counts it (body and header) */
	FILE *ledger;                /* takes one acknowledged id a line; NULL: none */
	const char *run_id;          /* first part of every X-Ledger-Id */
};

struct lg_result {
	uint64_t sent;               /* messages acknowledged with 250 */
	uint64_t failed;             /* messages that got an error reply or lost their connection */
	uint64_t connects, connect_failed, resets, timeouts;
	uint64_t replies[1000];      /* first bad reply of each failed message, by code */
	uint64_t wall_ns;            /* first connect to last reply */
	uint64_t cpu_ns;             /* of the generator itself */
	uint32_t *latency_us;        /* of each acknowledged message: first command to 250 after the dot */
	uint64_t n_latency;
};

/* Runs the load to its end. False when the transport could not be made. The caller frees r->latency_us. */
bool lg_run(const struct lg_options *o, const struct lg_io_ops *ops, struct lg_result *r);

/* Header lines of message `number`: what is put before the body. Returns the length; cap >= LG_HEADER_MAX. */
enum { LG_HEADER_MAX = 512 };
size_t lg_header(const struct lg_options *o, uint64_t number, char *out, size_t cap);

#endif
