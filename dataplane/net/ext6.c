/*
 * ext6.c: IPv6 extension headers (RFC 8200 section 4), walked with limits (RFC 8504 5.3). Pure.
 *
 * Hop-by-hop options stand first or not at all; a routing header with segments left is refused, of
 * whatever type (we are no router, and RFC 5095 forbids type 0); unknown options do as their top
 * bits say. A fragment header of a packet that is whole (RFC 6946) is passed over. Invariants: 1.
 * at most EXT_MAX headers are looked at and OPTIONS_MAX options in each; 2. no byte behind len is
 * read.
 */
#include "net_int.h"
#include "hot.h"

#define EXT_MAX	    8
#define OPTIONS_MAX 8 /* without padding */
#define PAD_MAX	    7 /* bytes of padding in a row: enough to align anything */

static bool bad(struct ip6_walk *w)
{
	w->why = STAT_net_bad_ip6;
	return false;
}

static bool bad_reported(struct ip6_walk *w, uint8_t code, uint32_t at)
{
	w->report = true;
	w->code = code;
	w->at = at;
	return bad(w);
}

/* The options from `at` up to `end`. RFC 8200 4.2: 00 skip, 01 drop, 10 and 11 drop and report. */
static bool options(const uint8_t *l3, uint32_t at, uint32_t end, struct ip6_walk *w)
{
	unsigned n = 0, pad = 0;

	while (at < end) {
		const uint8_t *o = l3 + at;
		if (o[0] == 0) {
			at++;
			if (++pad > PAD_MAX)
				return bad(w);
			continue;
		}
		if (end - at < 2 || o[1] > end - at - 2)
			return bad(w);
		if (o[0] == 1) {
			pad += 2u + o[1];
			if (pad > PAD_MAX)
				return bad(w);
		} else {
			pad = 0;
			if (++n > OPTIONS_MAX)
				return bad(w);
			if ((o[0] & 0xc0) == 0x40)
				return bad(w);
			if ((o[0] & 0xc0) != 0)
				return bad_reported(w, 2, at);
		}
		at += 2u + o[1];
	}
	return true;
}

bool ip6_walk(const uint8_t *l3, uint32_t len, struct ip6_walk *w)
{
	for (unsigned k = 0; k < EXT_MAX; k++) {
		const uint8_t *h = l3 + w->off;
		uint32_t left = len - w->off, size;

		if (w->proto != IP6_HOPOPT && w->proto != IP6_DSTOPT && w->proto != IP6_ROUTE &&
		    w->proto != IP6_FRAGMENT)
			return true;
		if (left < 8)
			return bad(w);
		size = w->proto == IP6_FRAGMENT ? 8 : 8 + h[1] * 8u;
		if (size > left)
			return bad(w);
		switch (w->proto) {
		case IP6_HOPOPT:
		case IP6_DSTOPT:
			if (w->proto == IP6_HOPOPT && w->off != IP6_LEN)
				return bad_reported(w, 1, w->nh_at);
			if (!options(l3, w->off + 2, w->off + size, w))
				return false;
			break;
		case IP6_ROUTE:
			if (h[3] != 0)
				return bad_reported(w, 0, w->off + 2);
			break;
		default:
			if (get16(h + 2) & 0xfff9)
				return true;
			w->fragment = w->fragment ? w->fragment : 1;
			break;
		}
		w->proto = h[0];
		w->nh_at = w->off;
		w->off += size;
	}
	return bad(w);
}
