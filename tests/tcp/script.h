/*
 * script.h: packet scripts: what script.c (the player), script_cmd.c (its commands), script_seg.c (segments
 * as text and as bytes) and script_main.c (the program) share. The language is described in scripts/README.md.
 */
#ifndef VEREDUS_SCRIPT_H
#define VEREDUS_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "stack.h"

#define SCRIPT_FLOWS 32
#define SCRIPT_SACKS 4

/* What a number may be. abs: as on the wire, not counted from the initial number. */
struct script_match {
	bool set, abs;
	int64_t lo, hi;
};

struct script_range {
	uint32_t start, end;
};

/* A segment as a line tells it, to be sent or to be expected. */
struct script_seg {
	uint8_t flags;
	bool psh_told; /* PSH is compared only where it is told */
	struct script_match seq, ack, win, mss, ws, tsval, tsecr, urg, ecn;
	uint32_t len, repeat;
	bool echo_last, no_ts, sackok, no_sackok, no_opts;
	int n_sack; /* -1: not told */
	struct script_range sack[SCRIPT_SACKS];
	char opts[80]; /* kinds in order, or "" */
	uint8_t raw_opt[40];
	unsigned n_raw_opt;
	bool bad_sum;
	int doff, cut; /* -1: as it is */
};

/* A segment that came out. Numbers as on the wire. */
struct script_got {
	uint16_t sport, dport;
	uint8_t flags, ecn;
	uint32_t seq, ack, len;
	uint16_t win, urg;
	bool has_mss, has_ws, has_ts, sackok;
	uint16_t mss;
	uint8_t ws;
	uint32_t tsval, tsecr;
	int n_sack;
	struct script_range sack[SCRIPT_SACKS];
	char opts[80];
	const uint8_t *data;
	uint64_t at_us;
};

struct script_flow {
	uint16_t peer_port, our_port;
	uint32_t irs; /* the peer's initial number */
	uint32_t iss; /* ours, once seen */
	bool have_iss, have_ts, use_ts;
	uint32_t ts_first, ts_last; /* the stack's timestamps */
	uint16_t win;
	int conn; /* handle, -1 none */
	uint64_t sent, read;
};

struct script {
	const char *file;
	unsigned line;
	const char *text; /* the line */
	char name[200];   /* of the case */
	struct vtcp_stack *stack;
	char options[400];
	unsigned mtu;
	uint64_t seed;
	bool ip6, verbose, failed;
	uint64_t base_us; /* of the line's time */
	struct script_flow flow[SCRIPT_FLOWS];
	unsigned at; /* flow */
	unsigned n_cases, n_failed;
	FILE *out;
};

/* Plays one file; false: a case failed (told on out). */
bool script_play(struct script *s, const char *file);
void script_fail(struct script *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The flow that lines are about. */
struct script_flow *script_flow_now(struct script *s);
void script_case_begin(struct script *s, const char *name);
/* Makes the stack with what was told before; false: it cannot be. */
bool script_stack_needed(struct script *s);
/* The oldest packet that was sent; false: none. *tcp: it is one of TCP and g holds it. */
bool script_take(struct script *s, struct script_got *g, bool *tcp);
/* Fails the case when a packet waits. */
void script_nothing_waits(struct script *s);
void script_inject(struct script *s, const struct script_seg *g);
/* Runs until a packet waits or the time is over. */
void script_run_to_packet(struct script *s, uint64_t until_us);

/* ---- script_cmd.c ---- */

/* "10ms", "1.5s" */
bool script_time_parse(const char *word, uint64_t *us);
/* A line that is no segment, after_us behind the last. */
void script_command(struct script *s, uint64_t after_us, char **w, unsigned n);

/* ---- script_seg.c ---- */

/* "N", "#N", "*", "A..B", ">=N", "<=N" */
bool script_match_parse(const char *word, struct script_match *out);
/* words[0..n): FLAGS SEQ[+LEN] key value ... False and a message in err. */
bool script_seg_parse(char **words, unsigned n, struct script_seg *out, char *err, size_t err_size);
/* The packet's bytes; returns the length. */
size_t script_seg_build(const struct script *s, const struct script_flow *f, const struct script_seg *g,
			uint8_t *ip);
/* An ICMP error that quotes a segment of ours. */
size_t script_icmp_build(const struct script *s, const struct script_flow *f, const char *kind, uint32_t seq,
			 uint32_t mtu, uint8_t *ip);
bool script_got_parse(const uint8_t *ip, size_t len, struct script_got *out);
/* False: they differ; why says in what. */
bool script_seg_compare(const struct script_flow *f, const struct script_seg *want,
			const struct script_got *got, char *why, size_t why_size);
void script_got_print(const struct script_flow *f, const struct script_got *g, char *out, size_t size);
/* Byte off of the stream that the stack (0) or the peer (1) sends. */
uint8_t script_byte(unsigned peer, uint64_t off);

#endif
