/*
 * stack.h: the TCP and IP stack as a library for test programs: libveredus-tcp-test.so.
 *
 * A stack is the same net/ and tcp/ objects that the relay runs, in virtual time: no clock, no thread, no device.
 * IP packets go in with the time at which they come, IP packets come out with the time at which they were sent.
 * Only plain C types cross this line, so C programs and ctypes (tests/tcp/stack_smoke.py) drive it alike. Several
 * stacks may live in one process; one thread at a time. Functions never block.
 *
 * Time is microseconds from the creation of the stack and never runs back. A call acts at vtcp_now(): inject moves it,
 * and so does advance. Timers between are run at their own time. Neighbours are resolved inside (every address
 * is on the link and answers): ARP and neighbour discovery are not seen.
 *
 * Connections are small numbers from accept or connect, valid until release. Results below 0 are VTCP_*.
 */
#ifndef VEREDUS_STACK_H
#define VEREDUS_STACK_H

#include <stddef.h>
#include <stdint.h>

enum {
	VTCP_AGAIN = -1,   /* nothing to accept, read or no room to send now */
	VTCP_CLOSED = -2,  /* the connection is over, or can send no more */
	VTCP_INVALID = -3, /* a name, number or text that is not known; vtcp_error() says which */
	VTCP_REFUSED = -4, /* no route, no port, no memory, taken */
};

/* Bits of vtcp_events. */
enum {
	VTCP_EV_ACCEPTED = 1,
	VTCP_EV_CONNECTED = 2,
	VTCP_EV_READABLE = 4,
	VTCP_EV_WRITABLE = 8, /* room grew after it was short */
	VTCP_EV_FIN = 16,     /* the peer sends no more */
	VTCP_EV_CLOSED = 32,  /* the end; vtcp_info_text(..., "error") says how */
};

struct vtcp_stack;

/* addresses: "198.18.0.1 fd00::1", the stack's own. mtu: IP bytes, 576 (1280 with IPv6) .. 9000. One seed gives one
 * run: initial sequence numbers, ports, timestamps. options: "name=value ..." as in vtcp_set, or NULL; here also what is
 * fixed at creation: conns_max, timewait_max, syn_backlog, cc (cubic, newreno), clock_us (what the stack's own clock
 * shows at time 0: moves timestamps and sequence numbers). NULL on error. */
struct vtcp_stack *vtcp_create(const char *addresses, unsigned mtu, uint64_t seed, const char *options);
/* Ends everything without sending. Returns how many packets were still out: 0, or there is a leak. */
unsigned vtcp_destroy(struct vtcp_stack *s);
/* What was wrong with the last call that failed, of any stack. */
const char *vtcp_error(void);

/* Options hold for the whole stack, from now on: "delack_us=0 quickack_segs=0 rto_min_us=200000 rto_init_us=1000000
 * sack=1 timestamps=1 wscale=8 ecn=0 mss_max=0 initcwnd_segs=10 ...". 0 or VTCP_INVALID. */
int vtcp_set(struct vtcp_stack *s, const char *options);
int vtcp_get(const struct vtcp_stack *s, const char *name, int64_t *value);
/* All names: NULL behind the last. */
const char *vtcp_option_name(unsigned i);

uint64_t vtcp_now(const struct vtcp_stack *s);
/* When a timer may be due: nothing happens before. -1: never. To step: vtcp_advance(s, vtcp_next(s)). */
int64_t vtcp_next(const struct vtcp_stack *s);
/* Runs timers up to then. A time that has passed is now. */
void vtcp_advance(struct vtcp_stack *s, uint64_t to_us);

/* An IP packet (20 or 40 bytes header first) arrives at at_us. Taken as it is: checksums included. */
int vtcp_inject(struct vtcp_stack *s, uint64_t at_us, const void *ip, size_t len);
/* The oldest packet that was sent and not yet taken: its bytes; cut at size. 0: none. *at_us: when (may be NULL). */
size_t vtcp_take(struct vtcp_stack *s, void *ip, size_t size, uint64_t *at_us);
/* How many wait to be taken, at most 65536; more are lost and counted (vtcp_stat "lost_outside"). */
unsigned vtcp_waiting(const struct vtcp_stack *s);
/* Fills the checksums of an IP packet with TCP, ICMP or ICMPv6 in it. */
void vtcp_checksum(void *ip, size_t len);

/* address NULL: all. 0 or VTCP_*. */
int vtcp_listen(struct vtcp_stack *s, const char *address, uint16_t port);
int vtcp_unlisten(struct vtcp_stack *s, const char *address, uint16_t port);
/* The oldest connection that was opened to the port and is established. VTCP_AGAIN: none. */
int vtcp_accept(struct vtcp_stack *s, uint16_t port);
/* Starts to open a connection; source NULL: by route. The event CONNECTED or CLOSED follows. */
int vtcp_connect(struct vtcp_stack *s, const char *source, const char *address, uint16_t port);
/* Queues up to len bytes as one application write; returns how many were taken: VTCP_AGAIN when there is no room. */
int64_t vtcp_send(struct vtcp_stack *s, int conn, const void *bytes, size_t len);
/* Bytes read; 0: the peer has sent FIN and all was read. */
int64_t vtcp_recv(struct vtcp_stack *s, int conn, void *bytes, size_t size);
int vtcp_shutdown(struct vtcp_stack *s, int conn); /* no more to send; reading goes on */
int vtcp_close(struct vtcp_stack *s, int conn);    /* graceful, and reads no more */
int vtcp_abort(struct vtcp_stack *s, int conn);    /* RST */
/* The number is free again; what still lives is closed as by vtcp_close. */
int vtcp_release(struct vtcp_stack *s, int conn);
/* VTCP_EV_* since the last call. */
int vtcp_events(struct vtcp_stack *s, int conn);

/* What is known of the connection, by the names of struct tcp_conn_info (dataplane/tcp/tcp.h): "cwnd", "ssthresh",
 * "recovery" (0 open, 1 fast, 2 loss), "srtt_us", "rttvar_us", "rttmin_us", "rto_us", "lost", "sacked",
 * "retransmits", "mss", "snd_wscale", "sack", "timestamps", "ecn", "state" ...; also "local_port", "remote_port". */
int vtcp_info(const struct vtcp_stack *s, int conn, const char *name, int64_t *value);
const char *vtcp_info_name(unsigned i); /* all names: NULL behind the last */
/* The same as text for "state" (ESTABLISHED), "recovery" (open, fast, loss), "error", "cc"; NULL for others. */
const char *vtcp_info_text(const struct vtcp_stack *s, int conn, const char *name);
/* A counter of the stack (dataplane/base/stat.def), or "conns", "half_open", "time_wait", "lost_outside". */
int vtcp_stat(const struct vtcp_stack *s, const char *name, int64_t *value);

#endif
