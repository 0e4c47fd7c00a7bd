/*
 * control.h: the one door from control/ into the data plane. The control thread starts it, reads its
 * counters in place, and asks for changes; every call is made by the control thread, and those that
 * change something wait (bounded) until it is durable.
 *
 * Ownership: strings handed out in rows are valid during the callback only.
 */
#ifndef VEREDUS_CONTROL_H
#define VEREDUS_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "conf.h"
#include "err.h"
#include "ip.h"
#include "queue_row.h"
#include "span.h"
#include "stat.h"
#include "trace.h"

struct veredus;

/* EAL, ports, store recovery, workers, listeners. c lives until veredus_stop. On error: *why is one line for the operator and everything
 * begun is undone. */
enum err veredus_start(struct veredus **out, const struct conf *c, char *why, size_t why_size);
/* 421/BYE to sessions, at most grace_ms for them to leave, then the store is flushed and closed. */
void veredus_stop(struct veredus **v, unsigned grace_ms);
/* To be called about every 100 ms by the control thread: RCU reclaim, housekeeping. False when the data
 * plane cannot go on (a storage fault): *why says it once. */
bool veredus_tick(struct veredus *v);

/* Reads the certificates' files anew; connections that are open keep what they began with. On error nothing has
 * changed and *why is one line. ERR_NOT_FOUND: no certificate is configured. */
enum err veredus_tls_reload(struct veredus *v, char *why, size_t why_size);

/* Sum over all cores. */
uint64_t veredus_stat(const struct veredus *v, enum stat_id id);

struct veredus_gauge {
	const char *name, *help;
	uint64_t value;
};
/* Values that go up and down, and the storage thread's figures: "tcp_conns", "tcp_time_wait", "tcp_conn_bytes",
 * "sessions_smtp", "sessions_pop3", "sessions_imap", "sessions_http", "sessions_out", "session_bytes_smtp" ..., "packets_free", "packets_all", "queue_items",
 * "queue_recipients", "store_*" of struct store_stats, "uptime_s", "workers". Returns the count; at most max. */
unsigned veredus_gauges(const struct veredus *v, struct veredus_gauge *out, unsigned max);

/* ---- mailboxes (accounts). name: user@domain; the domain must be a local one. ---- */
/* ERR_EXISTS, ERR_NOT_FOUND, ERR_SYNTAX (bad address or password), ERR_DENIED (domain not local), ERR_NO_SPACE, ERR_IO, ERR_TIMEOUT. */
enum err veredus_mailbox_add(struct veredus *v, struct span name, struct span password);
enum err veredus_mailbox_passwd(struct veredus *v, struct span name, struct span password);
enum err veredus_mailbox_remove(struct veredus *v, struct span name);
struct veredus_mailbox_row {
	const char *name;
	uint64_t id, messages, bytes;
	unsigned folders;
};
enum err veredus_mailbox_list(struct veredus *v, void (*fn)(void *arg, const struct veredus_mailbox_row *), void *arg);

/* ---- the queue ---- */
enum err veredus_queue_list(struct veredus *v, const struct queue_filter *f, unsigned limit,
			    void (*fn)(void *arg, const struct queue_row *), void *arg);
/* Due now; *n: items concerned. */
enum err veredus_queue_retry(struct veredus *v, const struct queue_filter *f, uint64_t *n);
/* Removed without a bounce; items being delivered are let be. */
enum err veredus_queue_remove(struct veredus *v, const struct queue_filter *f, uint64_t *n);

/* ---- connections ---- */
/* By value; texts are constants or "". Times in microseconds. What each means: struct tcp_conn_info. */
struct veredus_conn_row {
	unsigned worker;
	uint32_t id;                  /* of this worker, as in its trace */
	uint64_t session;             /* 0: none */
	uint32_t session_index;       /* as in the trace */
	struct ip_addr local, peer;
	uint16_t local_port, peer_port;
	const char *state, *protocol, *recovery, *cc, *error;
	bool active, sack, timestamps, wscale, ecn, probing_window;
	uint64_t age_us, idle_us, srtt_us, rttvar_us, rttmin_us, rto_us, zero_window_us;
	uint64_t cwnd, ssthresh, mss, pmtu, snd_wnd, rcv_wnd, unacked, unsent, pipe, sacked, readable, ooo, ooo_bytes;
	uint64_t retransmits, lost, reordered, bytes_in, bytes_out;
};
/* Calls fn for every connection of every worker (not TIME-WAIT, which keeps none), a bounded number a turn of the
 * worker; one that lives through the whole call is met exactly once. */
void veredus_conn_list(struct veredus *v, void (*fn)(void *arg, const struct veredus_conn_row *), void *arg);

/* ---- the flight recorders, read in place ---- */
struct veredus_event {
	unsigned worker;
	uint64_t number;  /* in that worker's ring since its start */
	uint64_t wall_us; /* true for events of the last 71 minutes */
	struct trace_event e;
};
/* Calls fn for the events that are still there, of each worker oldest first, from number next[worker] on; next (one
 * number a worker, veredus_workers of them) is set to where the next call goes on. */
void veredus_trace(const struct veredus *v, uint64_t *next, void (*fn)(void *arg, const struct veredus_event *),
		   void *arg);
unsigned veredus_workers(const struct veredus *v);

#endif
