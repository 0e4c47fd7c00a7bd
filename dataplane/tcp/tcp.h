/*
 * tcp.h: the TCP. One struct tcp_core a worker, nothing shared, no clock inside: time comes with each
 * batch in microseconds, so the same object runs under tests in virtual time.
 *
 * A turn: tcp_input(batch) -> tcp_timers -> tcp_ready() gives each connection with news once ->
 * sessions read, consume, send, close -> tcp_flush() sends one ACK or data run per connection.
 * Received bytes stay in their packets (slices); sent bytes are slices kept until acknowledged and sent
 * again from the same packets.
 *
 * States (RFC 9293 3.3.2); tcp_enter() is the only place that changes them.
 */
#ifndef VEREDUS_TCP_H
#define VEREDUS_TCP_H

#include <stdbool.h>
#include <stdint.h>
#include "err.h"
#include "ip.h"
#include "net.h"
#include "pkt.h"
#include "rand.h"
#include "stat.h"
#include "trace.h"

struct tcp_core;
struct tcp_conn;

enum tcp_state {
	TCP_CLOSED, TCP_SYN_SENT, TCP_SYN_RECEIVED, TCP_ESTABLISHED, TCP_FIN_WAIT_1, TCP_FIN_WAIT_2,
	TCP_CLOSE_WAIT, TCP_CLOSING, TCP_LAST_ACK, TCP_TIME_WAIT
};

/* Everything a test or an operator may set. tcp_conf_default() gives the values in brackets. */
struct tcp_conf {
	uint32_t conns_max;       /* [65536] address space only until used */
	uint32_t timewait_max;    /* [262144] */
	uint16_t mss_max;         /* [0 = by MTU] */
	uint8_t wscale;           /* [8] */
	bool timestamps, sack;    /* [true, true] */
	uint8_t ecn;              /* [TCP_ECN_ACCEPT] RFC 3168 */
	bool pacing;              /* [true] spread a window over its round trip */
	uint32_t rcv_buf;         /* [256 KiB] most unread bytes a connection may hold */
	uint32_t snd_buf;         /* [256 KiB] most unacknowledged + unsent bytes; tcp_send_room() */
	uint32_t ooo_max;         /* [256] out-of-order segments a connection */
	uint32_t initcwnd_segs;   /* [10] RFC 6928 */
	uint32_t rto_init_us;     /* [1 s] */
	uint32_t rto_min_us;      /* [200 ms] */
	uint32_t rto_max_us;      /* [60 s] */
	uint32_t delack_us;       /* [40 ms] */
	uint32_t quickack_segs;   /* [16] at the start of a connection every segment is acknowledged at once */
	uint32_t syn_retries, data_retries; /* [5, 12] */
	uint64_t keepalive_us;    /* [7200 s; 0 = off] */
	uint64_t user_timeout_us; /* [0 = off] */
	uint32_t timewait_us;     /* [60 s] 2 MSL */
	uint32_t syn_backlog;     /* [4096] half-open connections; 128 bytes each */
	bool syn_cookies;         /* [true] past three quarters of that, answer from cookies (RFC 4987) */
	uint32_t syn_net_rate;    /* [1000] SYNs a second of one /24 or /56 that are answered then; 0 = all */
	uint8_t cc;               /* [TCP_CC_CUBIC] */
};
enum tcp_cc { TCP_CC_CUBIC, TCP_CC_NEWRENO };
/* ACCEPT: where a peer's SYN offers it. OFFER: in our own SYNs too. */
enum tcp_ecn { TCP_ECN_OFF, TCP_ECN_ACCEPT, TCP_ECN_OFFER };
struct tcp_conf tcp_conf_default(void);

/* worker/n_workers: active opens take a local port whose replies are steered here. */
struct tcp_core *tcp_create(const struct tcp_conf *c, struct net_core *net, struct pkt_pool *pool,
			    struct stat *stat, struct trace *trace, struct rnd *rnd, unsigned worker);
void tcp_destroy(struct tcp_core **t);

/* addr "any": every local address. tag comes back from tcp_tag of accepted connections.
 * ERR_EXISTS when taken. */
enum err tcp_listen(struct tcp_core *t, const struct ip_addr *addr, uint16_t port, uint64_t tag);
void tcp_unlisten(struct tcp_core *t, const struct ip_addr *addr, uint16_t port);
/* Opens a connection; src "any" = by route. Events tell how it went. NULL: *err says why not
 * (UNREACHABLE, TOO_MANY, NO_MEMORY). */
struct tcp_conn *tcp_connect(struct tcp_core *t, const struct ip_addr *src, const struct ip_addr *dst,
			     uint16_t port, uint64_t tag, uint64_t now_us, enum err *err);

/* Takes the segments (net_seg.pkt). */
void tcp_input(struct tcp_core *t, struct net_seg *segs, unsigned n, uint64_t now_us);
void tcp_timers(struct tcp_core *t, uint64_t now_us);
/* Sends what the turn made due: data in the window, ACKs, FINs. */
void tcp_flush(struct tcp_core *t, uint64_t now_us);
/* Earliest time at which tcp_timers or tcp_flush has something to do; UINT64_MAX = never. */
uint64_t tcp_next_us(const struct tcp_core *t);

/* News of a connection since it was last taken by tcp_ready. */
enum tcp_event {
	TCP_EV_ACCEPTED  = 1 << 0, /* new, from a listener */
	TCP_EV_CONNECTED = 1 << 1, /* active open done */
	TCP_EV_READABLE  = 1 << 2,
	TCP_EV_WRITABLE  = 1 << 3, /* room grew after it was short */
	TCP_EV_FIN       = 1 << 4, /* peer will send no more (all its data is readable before) */
	TCP_EV_CLOSED    = 1 << 5, /* the end, gracefully or not: tcp_error says; call tcp_release */
};
/* Up to max connections with events; each is given once until new events come. */
unsigned tcp_ready(struct tcp_core *t, struct tcp_conn **out, unsigned max);
uint32_t tcp_events(struct tcp_conn *c); /* returns and clears */

void tcp_set_user(struct tcp_conn *c, void *user);
void *tcp_user(const struct tcp_conn *c);
uint64_t tcp_tag(const struct tcp_conn *c);
enum err tcp_error(const struct tcp_conn *c); /* OK, RESET, TIMEOUT, REFUSED, UNREACHABLE */
enum tcp_state tcp_state(const struct tcp_conn *c);
/* local, remote, ports in host order */
void tcp_addrs(const struct tcp_conn *c, struct ip_addr *local, uint16_t *lport, struct ip_addr *remote,
	       uint16_t *rport);

/* In-order unread bytes. */
uint32_t tcp_readable(const struct tcp_conn *c);
/* Takes up to max slices of unread data out of the connection (the caller owns them); the receive window
 * does not open before tcp_consumed. Returns the count. */
unsigned tcp_take(struct tcp_conn *c, struct slice *out, unsigned max);
/* len bytes that were taken have been dealt with: the window may open by that much. */
void tcp_consumed(struct tcp_conn *c, uint32_t len);

/* Bytes tcp_send will still take. */
uint32_t tcp_send_room(const struct tcp_conn *c);
/* Queues the slice (takes it whole; the caller minds tcp_send_room: up to one slice beyond is taken).
 * push: last of an application write (PSH). False when the connection cannot send any more (slice dropped). */
bool tcp_send(struct tcp_conn *c, struct slice s, bool push);
uint32_t tcp_unacked(const struct tcp_conn *c); /* queued and not acknowledged */
/* No more to send: FIN after what is queued. Reading goes on. */
void tcp_shutdown(struct tcp_conn *c);
/* Graceful close by one who reads no more: FIN after what is queued. Later data is thrown away until the
 * peer has acknowledged everything, so that a last reply is not destroyed, and answered RST after that.
 * TCP_EV_CLOSED comes when the peer has acknowledged everything or the connection failed. */
void tcp_close(struct tcp_conn *c);
void tcp_abort(struct tcp_conn *c); /* RST now; TCP_EV_CLOSED follows */
/* The user is done with the handle: the pointer is dead. If the connection still lives it is closed as by
 * tcp_close and goes on by itself without events. */
void tcp_release(struct tcp_conn *c);

/* What recovery a connection is in: nothing known to be lost; by duplicate ACKs, SACK or RACK; after a timeout. */
enum tcp_recovery { TCP_REC_OPEN, TCP_REC_FAST, TCP_REC_LOSS };

/* All that can be said of a connection (tcp_info.c): for `conn show` and the tests. Times in microseconds (0: not
 * yet known), the rest in bytes where nothing else is said. */
struct tcp_conn_info {
	uint32_t id;                /* of this core, as in the trace; used again later */
	enum tcp_state state;
	enum tcp_recovery recovery;
	enum err error;
	bool active;                /* opened from here */
	bool sack, timestamps, wscale, ecn; /* negotiated */
	bool probing_window;        /* the persist timer runs: the peer's window is shut */
	uint8_t snd_wscale, rcv_wscale;
	const char *cc;             /* congestion control */
	uint32_t srtt_us, rttvar_us, rttmin_us, rto_us;
	uint32_t cwnd, ssthresh;    /* UINT32_MAX: no loss yet */
	uint32_t mss;               /* payload of a full segment, options taken off */
	uint32_t mss_peer, mss_own; /* as offered in the SYNs */
	uint32_t pmtu;              /* IP bytes */
	uint32_t snd_una, snd_nxt, rcv_nxt, iss, irs; /* as on the wire */
	uint32_t snd_wnd, rcv_wnd;
	uint32_t unacked, unsent;   /* of the send queue */
	uint32_t pipe;              /* thought to be in the network (RFC 6675) */
	uint32_t sacked;            /* above snd_una and held by the peer */
	uint32_t lost_bytes;        /* in flight, counted as lost and not yet sent again */
	bool reordering;            /* was seen (RFC 8985 6.2 step 3) */
	uint32_t reo_mult;          /* quarters of rttmin_us that its window has, 1 = as at the start */
	uint32_t readable, ooo_bytes;
	uint32_t ooo;               /* segments out of order */
	uint32_t retransmits;       /* segments sent again, ever */
	uint32_t lost;              /* times that a loss was found, ever */
	uint32_t dup_acks, retries; /* in a row, now */
	uint32_t reordered;         /* segments that came out of order, ever (counts to 65,535) */
	uint64_t age_us, idle_us;   /* idle: since the last segment either way; to the millisecond */
	uint64_t zero_window_us;    /* the peer's window was too small for what waited, all told */
	uint64_t bytes_in, bytes_out; /* in order; acknowledged */
	uint64_t retx_due_us, delack_due_us, keep_due_us; /* on the core's clock; 0 = off */
};
void tcp_conn_info(const struct tcp_conn *c, struct tcp_conn_info *out);
/* The id of tcp_conn_info and of the trace. */
uint32_t tcp_conn_id(const struct tcp_conn *c);
/* Calls fn for the connections among n slots from slot `from` on; returns the slot to go on with, UINT32_MAX at the
 * end. fn changes nothing. A connection that lives through the whole walk is met exactly once. */
uint32_t tcp_walk(struct tcp_core *t, uint32_t from, uint32_t n, void (*fn)(void *arg, const struct tcp_conn *c),
		  void *arg);
/* "ESTABLISHED", "fast": constant text */
const char *tcp_state_name(enum tcp_state state);
const char *tcp_recovery_name(enum tcp_recovery recovery);
/* Live connections, half-open, TIME-WAIT entries, bytes of one connection object. */
struct tcp_counts {
	uint32_t conns, half_open, time_wait, conn_bytes;
};
void tcp_counts(const struct tcp_core *t, struct tcp_counts *out);

#endif
