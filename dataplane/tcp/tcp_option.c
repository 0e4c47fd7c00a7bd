/*
 * tcp_option.c: reading and writing TCP options. Pure: no state, no allocation. Hot path.
 */
#include "tcp_option.h"
#include <stddef.h>
#include <string.h>
#include "check.h"
#include "hot.h"

enum {
	OPT_END = 0,
	OPT_NOP = 1,
	OPT_MSS = 2,
	OPT_WSCALE = 3,
	OPT_SACK_OK = 4,
	OPT_SACK = 5,
	OPT_TS = 8,
};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint8_t *put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	return p + 2;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
	return p + 4;
}

static void parse_sack(const uint8_t *body, uint32_t len, struct tcp_opts *o)
{
	for (uint32_t i = 0; i + 8 <= len && o->n_sack < TCP_SACK_BLOCKS; i += 8) {
		o->sack[o->n_sack].start = get32(body + i);
		o->sack[o->n_sack].end = get32(body + i + 4);
		o->n_sack++;
	}
}

/* One option with its body of len bytes. A known kind with the wrong length is malformed. */
static bool parse_one(uint8_t kind, const uint8_t *body, uint32_t len, bool syn, struct tcp_opts *o)
{
	switch (kind) {
	case OPT_MSS:
		if (len != 2)
			return false;
		if (syn) {
			o->has_mss = true;
			o->mss = get16(body);
		}
		return true;
	case OPT_WSCALE:
		if (len != 1)
			return false;
		if (syn) {
			o->has_wscale = true;
			o->wscale = body[0] > TCP_WSCALE_MAX ? TCP_WSCALE_MAX : body[0];
		}
		return true;
	case OPT_SACK_OK:
		if (len != 0)
			return false;
		o->sack_ok = o->sack_ok || syn;
		return true;
	case OPT_SACK:
		if (len == 0 || len % 8 != 0)
			return false;
		parse_sack(body, len, o);
		return true;
	case OPT_TS:
		if (len != 8)
			return false;
		o->has_ts = true;
		o->tsval = get32(body);
		o->tsecr = get32(body + 4);
		return true;
	default:
		return true;
	}
}

bool tcp_opts_parse(const uint8_t *p, uint32_t len, bool syn, struct tcp_opts *out)
{
	memset(out, 0, offsetof(struct tcp_opts, sack));
	/* The one layout that nearly every data segment has: nop, nop, timestamps. */
	if (LIKELY(len == 12 && get32(p) == 0x0101080a)) {
		out->has_ts = true;
		out->tsval = get32(p + 4);
		out->tsecr = get32(p + 8);
		return true;
	}
	for (uint32_t i = 0; i < len;) {
		uint8_t kind = p[i];
		if (kind == OPT_END)
			return true;
		if (kind == OPT_NOP) {
			i++;
			continue;
		}
		if (len - i < 2 || p[i + 1] < 2 || p[i + 1] > len - i)
			return false;
		if (!parse_one(kind, p + i + 2, p[i + 1] - 2u, syn, out))
			return false;
		i += p[i + 1];
	}
	return true;
}

uint32_t tcp_opts_len(const struct tcp_opts *o)
{
	uint32_t len = 0;

	if (o->has_mss)
		len += 4;
	if (o->sack_ok && !o->has_ts)
		len += 4;
	if (o->has_ts)
		len += 12; /* sackOK takes the place of the two nops */
	if (o->has_wscale)
		len += 4;
	if (o->n_sack)
		len += 4 + 8u * o->n_sack;
	return len;
}

uint32_t tcp_opts_build(const struct tcp_opts *o, uint8_t *start)
{
	uint8_t *p = start;

	if (o->has_mss) {
		*p++ = OPT_MSS;
		*p++ = 4;
		p = put16(p, o->mss);
	}
	if (o->sack_ok || o->has_ts) {
		if (!(o->sack_ok && o->has_ts)) {
			*p++ = OPT_NOP;
			*p++ = OPT_NOP;
		}
		if (o->sack_ok) {
			*p++ = OPT_SACK_OK;
			*p++ = 2;
		}
		if (o->has_ts) {
			*p++ = OPT_TS;
			*p++ = 10;
			p = put32(p, o->tsval);
			p = put32(p, o->tsecr);
		}
	}
	if (o->has_wscale) {
		*p++ = OPT_NOP;
		*p++ = OPT_WSCALE;
		*p++ = 3;
		*p++ = o->wscale;
	}
	if (o->n_sack) {
		*p++ = OPT_NOP;
		*p++ = OPT_NOP;
		*p++ = OPT_SACK;
		*p++ = (uint8_t)(2 + 8 * o->n_sack);
		for (unsigned i = 0; i < o->n_sack; i++) {
			p = put32(p, o->sack[i].start);
			p = put32(p, o->sack[i].end);
		}
	}
	return (uint32_t)(p - start);
}
