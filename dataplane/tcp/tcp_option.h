/*
 * tcp_option.h: TCP options as pure functions: bytes in, values out, and back.
 *
 * Known: MSS (RFC 9293 3.2), window scale and timestamps (7323), SACK permitted and SACK (2018).
 * Unknown kinds are skipped by their length. A length below 2 or past the header makes the whole
 * list malformed.
 */
#ifndef VEREDUS_TCP_OPTION_H
#define VEREDUS_TCP_OPTION_H

#include <stdbool.h>
#include <stdint.h>

#define TCP_SACK_BLOCKS 4 /* as many as fit beside nothing else: (40 - 2) / 8 */
#define TCP_OPT_MAX	40
#define TCP_WSCALE_MAX	14 /* RFC 7323 2.3: more is taken as 14 */

/* A run of sequence numbers, end exclusive. */
struct tcp_range {
	uint32_t start, end;
};

struct tcp_opts {
	bool has_mss, has_wscale, sack_ok, has_ts;
	uint8_t wscale, n_sack;
	uint16_t mss;
	uint32_t tsval, tsecr;
	struct tcp_range sack[TCP_SACK_BLOCKS];
};

/* Reads the len bytes behind the fixed header. syn: options that belong to a SYN only are read when
 * it is one and skipped otherwise. False: malformed; out then holds nothing to rely on. */
bool tcp_opts_parse(const uint8_t *p, uint32_t len, bool syn, struct tcp_opts *out);

/* Bytes that tcp_opts_build writes for these options, a multiple of 4. At most TCP_OPT_MAX as long
 * as n_sack <= (has_ts ? 3 : 4) and SACK blocks do not go into a SYN. */
uint32_t tcp_opts_len(const struct tcp_opts *o);
/* Writes them in the order that middleboxes know (mss, sackOK, TS, nop, wscale); returns the
 * length. */
uint32_t tcp_opts_build(const struct tcp_opts *o, uint8_t *p);

#endif
