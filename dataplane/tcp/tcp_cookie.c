/*
 * tcp_cookie.c: SYN cookies (RFC 4987 section 3.6 and appendix A): all of a half-open connection in
 * the numbers of its SYN-ACK, sealed with a key of this core. Hot path in a flood.
 *
 * The ISN, low bits first: tick (1 bit), MSS (3); then with timestamps a seal of 28 bits; without,
 * SACK (1), window scale (3) and a seal of 24. The timestamp's low bits: SACK (1), ECN (1), window
 * scale (4, 15 = none). So little is lost of what was offered: the MSS, and without timestamps the
 * scale, are rounded down, and ECN goes. The bits below the seal are masked with a hash of the flow:
 * they say nothing to who does not know the key. A tick is 64 s; the one before is still good.
 *
 * Invariant: what a cookie says was sealed by us, for this flow, this peer's sequence number and
 * this time.
 */
#include "tcp_int.h"
#include "hot.h"

#define TICK_US	   64000000u
#define TS_BITS	   6u
#define TS_MASK	   ((1u << TS_BITS) - 1)
#define NO_WSCALE  15u
#define BITS_TS	   4u /* below the seal */
#define BITS_PLAIN 8u

/* What path MTUs leave, and the two defaults. */
static const uint16_t mss_steps[8] = {TCP_MSS_MIN, 536, 1220, 1360, 1400, 1440, 1460, 8940};
/* [0]: no window scaling */
static const uint8_t wscale_steps[8] = {0, 0, 2, 4, 6, 7, 8, 9};

struct sealed {
	struct ip_addr local, remote;
	uint16_t lport, rport;
	uint32_t irs, tick, data, ts_data;
	uint32_t kind; /* beside the other uses of the key */
};

static struct sealed name_of(const struct tcp_seg *s, uint32_t irs)
{
	const uint8_t *l4 = s->ns->l4;

	return (struct sealed){
		.local = s->ns->dst,
		.remote = s->ns->src,
		.lport = (uint16_t)(l4[2] << 8 | l4[3]),
		.rport = (uint16_t)(l4[0] << 8 | l4[1]),
		.irs = irs,
	};
}

static uint32_t seal(const struct tcp_core *t, struct sealed name)
{
	name.kind = 3;
	return (uint32_t)(siphash(t->isn_key, &name, sizeof(name)) >> 32);
}

/* Hides the bits below the seal. */
static uint32_t mask_of(const struct tcp_core *t, const struct sealed *name)
{
	struct sealed flow = {.local = name->local,
			      .remote = name->remote,
			      .lport = name->lport,
			      .rport = name->rport,
			      .irs = name->irs,
			      .kind = 4};

	return (uint32_t)siphash(t->isn_key, &flow, sizeof(flow));
}

static uint32_t mss_step(uint32_t mss)
{
	uint32_t i = ARRAY_LEN(mss_steps) - 1;

	while (i > 0 && mss_steps[i] > mss)
		i--;
	return i;
}

static uint32_t wscale_step(const struct tcp_agreed *a)
{
	uint32_t i = ARRAY_LEN(wscale_steps) - 1;

	if (!(a->offers & TCP_OFFER_WSCALE))
		return 0;
	while (i > 1 && wscale_steps[i] > a->wscale)
		i--;
	return i;
}

uint32_t tcp_cookie_make(struct tcp_core *t, const struct tcp_seg *s, struct tcp_agreed *a,
			 uint32_t *tsval)
{
	struct sealed name = name_of(s, a->irs);
	uint32_t sack = a->offers & TCP_OFFER_SACK ? 1 : 0, bits = BITS_PLAIN;

	name.tick = (uint32_t)(t->now_us / TICK_US);
	name.data = (name.tick & 1) | mss_step(a->mss) << 1;
	if (a->offers & TCP_OFFER_TS) {
		uint32_t now = now_ms32(t) + tcp_ts_offset(t, &name.local, &name.remote);
		name.ts_data = sack | (a->offers & TCP_OFFER_ECN ? 2u : 0) |
			       (a->offers & TCP_OFFER_WSCALE ? a->wscale : NO_WSCALE) << 2;
		*tsval = (now & ~TS_MASK) | name.ts_data;
		if (seq_gt(*tsval, now)) /* later segments must not seem older (PAWS) */
			*tsval -= 1u << TS_BITS;
		bits = BITS_TS;
	} else {
		name.data |= sack << 4 | wscale_step(a) << 5;
		a->offers &= (uint8_t)~TCP_OFFER_ECN;
	}
	uint32_t low = (1u << bits) - 1;
	t->cookie_until_us = t->now_us + 2ull * TICK_US;
	return (seal(t, name) & ~low) | ((name.data ^ mask_of(t, &name)) & low);
}

bool tcp_cookie_check(struct tcp_core *t, const struct tcp_seg *s, struct tcp_agreed *a)
{
	bool ts = s->opt.has_ts && t->conf.timestamps;
	struct sealed name = name_of(s, s->seq - 1);
	uint32_t iss = s->ack - 1, low = (1u << (ts ? BITS_TS : BITS_PLAIN)) - 1;
	uint32_t tick = (uint32_t)(t->now_us / TICK_US);

	name.data = (iss ^ mask_of(t, &name)) & low;
	if (ts)
		name.ts_data = s->opt.tsecr & TS_MASK;
	name.tick = ((tick ^ name.data) & 1) ? tick - 1 : tick;
	if ((seal(t, name) & ~low) != (iss & ~low))
		return false;
	*a = (struct tcp_agreed){
		.irs = s->seq - 1,
		.iss = iss,
		.mss = mss_steps[name.data >> 1 & 7],
		.wnd = (uint16_t)s->wnd,
	};
	if (ts) {
		uint32_t age_ms =
			now_ms32(t) + tcp_ts_offset(t, &name.local, &name.remote) - s->opt.tsecr;
		a->offers = TCP_OFFER_TS | (name.ts_data & 1 ? TCP_OFFER_SACK : 0) |
			    (name.ts_data & 2 ? TCP_OFFER_ECN : 0);
		a->wscale = (uint8_t)(name.ts_data >> 2);
		if (a->wscale != NO_WSCALE)
			a->offers |= TCP_OFFER_WSCALE;
		a->ts_recent = s->opt.tsval;
		/* A round trip, as fine as the timestamp's upper bits. */
		a->timed = age_ms < 2 * TICK_US / 1000;
		a->sent_us = (uint32_t)t->now_us - age_ms * 1000;
	} else {
		uint32_t step = name.data >> 5 & 7;
		a->offers =
			(name.data >> 4 & 1 ? TCP_OFFER_SACK : 0) | (step ? TCP_OFFER_WSCALE : 0);
		a->wscale = wscale_steps[step];
	}
	return true;
}
