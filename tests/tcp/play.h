/*
 * play.h: one stack, and a test that plays its peer, with timestamps, SACK blocks and ECN bits where
 * they are asked for. The stack is end 0 and has accepted the connection; the clock is the wire's.
 *
 * Sequence numbers are counted from the first byte of data: 0 is the first that the stack sends (or
 * the peer), whatever the initial numbers were.
 */
#ifndef VEREDUS_PLAY_H
#define VEREDUS_PLAY_H

#include "tcp_option.h"
#include "wire.h"

enum { PLAY_TS = 1, PLAY_SACK = 2, PLAY_ECN = 4 };

struct play {
	struct wire w;
	struct tcp_conn *c;
	uint32_t iss, irs;  /* first data byte of the stack, of the peer */
	uint32_t sent;      /* bytes that the stack was given to send */
	uint32_t got;       /* next byte of the peer's data */
	uint32_t ts;        /* the peer's timestamp clock: the next value it sends */
	uint32_t ts_echo;   /* last TSval of the stack */
	unsigned options;
	uint16_t window;
	bool closed;
};

/* A segment of the stack as the peer sees it. */
struct play_seg {
	uint32_t at, len, ack; /* relative */
	uint8_t flags, ecn;
	uint32_t tsval, tsecr;
	unsigned n_sack;
	struct tcp_range sack[TCP_SACK_BLOCKS]; /* relative */
};

/* conf NULL: the defaults. Handshake done, nothing captured. */
void play_open(struct play *p, const struct tcp_conf *conf, unsigned options);
/* Aborts what is open; checks that nothing is left. */
void play_end(struct play *p);
/* Gives the stack len more bytes to send, in slices of 1000, and lets it act. */
void play_queue(struct play *p, uint32_t len);
/* The peer acknowledges up to `ack`, with n SACK blocks; flags beside ACK. With timestamps it echoes `tsecr`. */
void play_ack_ts(struct play *p, uint32_t ack, const struct tcp_range *sack, unsigned n, uint8_t flags,
		 uint32_t tsecr);
/* The same, echoing what came last. */
void play_ack(struct play *p, uint32_t ack, const struct tcp_range *sack, unsigned n);
/* The peer sends len bytes from `at` on, with these IP ECN bits and flags beside ACK. */
void play_data(struct play *p, uint32_t at, uint32_t len, uint8_t flags, uint8_t ecn);
/* Time passes. */
void play_wait(struct play *p, uint64_t us);
bool play_take(struct play *p, struct play_seg *out);
/* Takes all; returns how many carried data. */
unsigned play_drain(struct play *p);
uint64_t play_count(const struct play *p, enum stat_id id);
struct tcp_conn_info play_info(const struct play *p);

#endif
