/*
 * tcp_load.h: what the two ends of bench/tcp share: the work, its options and its result. tcp_load_stack.c does it
 * over our own TCP on a DPDK device, tcp_load_kernel.c over the kernel's sockets; one thread, always polling.
 *
 * Works: echo (a 64-byte request, a 64-byte reply, on connections that stand); close (connect, request, reply, and the
 * server closes); bulk (the client sends, the server reads and forgets). The server listens on TL_PORTS ports from
 * TL_PORT on, so that clients do not run out of ports of their own.
 */
#ifndef TCP_LOAD_H
#define TCP_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#define TL_PORT  7000
#define TL_PORTS 32
#define TL_SIZE  64
#define TL_CONNS_MAX 1024

enum tl_work { TL_ECHO, TL_CLOSE, TL_BULK };

struct tl_options {
	enum tl_work work;
	bool server;          /* until SIGTERM */
	bool counters;        /* stack: what is not 0 goes to stderr at the end */
	const char *device;   /* stack only */
	const char *address;  /* own, with prefix length; stack only */
	const char *peer;     /* client: the server's address */
	unsigned conns;
	unsigned cpu;
	double seconds, warm; /* measured, and before that */
};

struct tl_result {
	uint64_t done;        /* replies, connections closed, or bytes */
	double seconds;
	uint64_t failed;      /* connections that did not come or broke */
	uint64_t retransmits, timeouts, dropped; /* stack only: segments sent again, RTOs, frames the device did not take */
	uint64_t n_latency;   /* with one connection only */
	uint32_t latency[1 << 16]; /* count of each 100 ns */
};

/* Exits with a usage text on wrong options. */
struct tl_options tl_options_read(int argc, char **argv);
uint64_t tl_now_ns(void);
void tl_latency(struct tl_result *r, uint64_t ns);
/* One JSON object on one line. */
void tl_print(const struct tl_options *o, const struct tl_result *r);
/* Set by SIGTERM and SIGINT. */
bool tl_stopped(void);

#endif
