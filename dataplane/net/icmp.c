/*
 * icmp.c: ICMP (RFC 792, 1122 3.2.2) and ICMPv6 (RFC 4443): echo is answered, errors about our TCP
 * segments are passed on, unreachable ports and protocols are reported, within rates.
 *
 * Invariants: 1. an error is passed on only when the quoted packet came from us: its source is the address
 * the error was sent to and is ours, and at least 8 bytes of TCP header are quoted; TCP then checks the
 * sequence number (RFC 5927); 2. no error is sent about an error, a group address or a fragment;
 * 3. only the primary worker's core answers echo.
 */
#include "net_int.h"
#include "hot.h"

#define QUOTE4_MAX (576 - IP4_LEN - ICMP_LEN)  /* RFC 1812 4.3.2.3 */
#define QUOTE6_MAX (1280 - IP6_LEN - ICMP_LEN) /* RFC 4443 2.4 (c) */

enum { ICMP_SOFT = 1, ICMP_HARD = 2, ICMP_TOO_BIG = 3 };

/* Turns the request into its answer, in place; takes the packet. */
static bool echo_reply(struct net_core *n, struct net_seg *seg, bool ip6, uint64_t now_us)
{
	struct pkt *p = seg->pkt;
	struct net_dst d;

	if (!n->primary || addr_is_multicast(&seg->dst)) {
		pkt_free(p);
		return false;
	}
	if (!bucket_take(&n->echo, now_us))
		return net_drop(n, p, STAT_net_icmp_limited);
	if (net_route(n, &seg->dst, &seg->src, &d) != ERR_OK) {
		pkt_free(p);
		return false;
	}
	pkt_trim_head_inline(p, (uint32_t)(seg->l4 - pkt_data_inline(p)));
	pkt_trim_tail_inline(p, pkt_len_inline(p) - seg->l4_len);
	uint8_t *m = seg->l4;
	m[0] = ip6 ? ICMP6_ECHO_REPLY : ICMP4_ECHO_REPLY;
	m[2] = m[3] = 0;
	uint32_t sum = ip6 ? csum_pseudo(&d.src, &d.dst, PROTO_ICMP6, seg->l4_len) : 0;
	uint16_t c = csum_fold(csum_add(sum, m, seg->l4_len));
	memcpy(m + 2, &c, 2);
	stat_inc(n->stat, STAT_net_icmp_echo);
	net_output(n, &d, p, ip6 ? PROTO_ICMP6 : PROTO_ICMP, ICMP_LEN, 0, now_us);
	return false;
}

/* The MTU to try when a router says "too big" without saying how much (RFC 1191 section 7). */
static uint32_t plateau(uint32_t total)
{
	static const uint16_t table[] = {32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68};

	for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
		if (table[i] < total)
			return table[i];
	}
	return 68;
}

/* What TCP is told: the quoted segment as if it had just been sent. */
static bool error_segment(struct net_core *n, struct net_seg *seg, const struct ip_addr *src,
			  const struct ip_addr *dst, uint8_t *l4, uint32_t l4_len, uint8_t what,
			  uint32_t mtu)
{
	if (!ip_eq(src, &seg->dst) || l4_len < 8)
		return net_drop(n, seg->pkt, STAT_net_bad_icmp);
	if (what == ICMP_TOO_BIG && mtu >= n->port[seg->port].info.mtu)
		return net_drop(n, seg->pkt, STAT_net_bad_icmp);
	seg->src = *src;
	seg->dst = *dst;
	seg->l4 = l4;
	seg->l4_len = l4_len;
	seg->kind = NET_SEG_ICMP_ERROR;
	seg->icmp = what;
	seg->mtu = (uint16_t)mtu;
	seg->csum_ok = true;
	return true;
}

static bool icmp4_error(struct net_core *n, struct net_seg *seg)
{
	uint8_t *m = seg->l4, *q = m + ICMP_LEN;
	uint32_t len = seg->l4_len - ICMP_LEN, mtu = 0;
	uint8_t what = ICMP_SOFT;

	if (len < IP4_LEN || q[0] >> 4 != 4)
		return net_drop(n, seg->pkt, STAT_net_bad_icmp);
	uint32_t hdr = (q[0] & 15u) * 4, total = get16(q + 2);
	if (hdr < IP4_LEN || hdr > len || total < hdr || (get16(q + 6) & 0x1fff) != 0)
		return net_drop(n, seg->pkt, STAT_net_bad_icmp);
	stat_inc(n->stat, STAT_net_icmp_error_in);
	if (q[9] != PROTO_TCP) {
		pkt_free(seg->pkt);
		return false;
	}
	if (m[0] == ICMP4_UNREACHABLE && (m[1] == 2 || m[1] == 3)) {
		what = ICMP_HARD;
	} else if (m[0] == ICMP4_UNREACHABLE && m[1] == 4) {
		what = ICMP_TOO_BIG;
		mtu = get16(m + 6) ? get16(m + 6) : plateau(total);
		if (mtu < 68 || mtu >= total) /* a packet that fitted was not too big */
			return net_drop(n, seg->pkt, STAT_net_bad_icmp);
	}
	if (len > total)
		len = total;
	struct ip_addr src = addr4_at(q + 12), dst = addr4_at(q + 16);
	return error_segment(n, seg, &src, &dst, q + hdr, len - hdr, what, mtu);
}

static bool icmp6_error(struct net_core *n, struct net_seg *seg)
{
	uint8_t *m = seg->l4, *q = m + ICMP_LEN;
	uint32_t len = seg->l4_len - ICMP_LEN, mtu = 0;
	uint8_t what = ICMP_SOFT;

	if (len < IP6_LEN || q[0] >> 4 != 6)
		return net_drop(n, seg->pkt, STAT_net_bad_icmp);
	stat_inc(n->stat, STAT_net_icmp_error_in);
	uint32_t total = IP6_LEN + get16(q + 4);
	if (q[6] != PROTO_TCP) { /* we send no extension headers */
		pkt_free(seg->pkt);
		return false;
	}
	if (m[0] == ICMP6_UNREACHABLE && m[1] == 4) {
		what = ICMP_HARD;
	} else if (m[0] == ICMP6_PARAM && m[1] == 1) {
		what = ICMP_HARD; /* unrecognised next header: no TCP there */
	} else if (m[0] == ICMP6_TOO_BIG) {
		what = ICMP_TOO_BIG;
		mtu = get32(m + 4);
		if (mtu < 1280) /* RFC 8201 section 4: never below; fragments are not sent either */
			mtu = 1280;
		if (mtu >= total)
			return net_drop(n, seg->pkt, STAT_net_bad_icmp);
	}
	if (len > total)
		len = total;
	struct ip_addr src = addr6_at(q + 8), dst = addr6_at(q + 24);
	return error_segment(n, seg, &src, &dst, q + IP6_LEN, len - IP6_LEN, what, mtu);
}

bool icmp4_input(struct net_core *n, struct net_seg *seg, const uint8_t *l3, uint64_t now_us)
{
	const uint8_t *m = seg->l4;

	(void)l3;
	if (seg->l4_len < ICMP_LEN || csum_fold(csum_add(0, m, seg->l4_len)) != 0)
		return net_drop(n, seg->pkt, STAT_net_bad_icmp);
	switch (m[0]) {
	case ICMP4_ECHO:
		return echo_reply(n, seg, false, now_us);
	case ICMP4_UNREACHABLE:
	case ICMP4_TIME:
	case ICMP4_PARAM:
		return icmp4_error(n, seg);
	default:
		pkt_free(seg->pkt);
		return false;
	}
}

bool icmp6_input(struct net_core *n, struct net_seg *seg, const uint8_t *l3, uint64_t now_us)
{
	const uint8_t *m = seg->l4;

	if (seg->l4_len < ICMP_LEN ||
	    csum_fold(csum_add(csum_pseudo(&seg->src, &seg->dst, PROTO_ICMP6, seg->l4_len), m,
			       seg->l4_len)) != 0)
		return net_drop(n, seg->pkt, STAT_net_bad_icmp);
	if (m[0] >= ICMP6_ND_FIRST && m[0] <= ICMP6_ND_LAST) {
		nd_input(n, seg->port, seg->pkt, l3, m, seg->l4_len, now_us);
		pkt_free(seg->pkt);
		return false;
	}
	if (ip_is_any(&seg->src))
		return net_drop(n, seg->pkt, STAT_net_bad_src);
	if (m[0] == ICMP6_ECHO)
		return echo_reply(n, seg, true, now_us);
	if (m[0] >= ICMP6_UNREACHABLE && m[0] <= ICMP6_PARAM)
		return icmp6_error(n, seg);
	pkt_free(seg->pkt);
	return false;
}

COLD void icmp_error_send(struct net_core *n, const struct net_seg *seg, const uint8_t *l3, uint8_t type,
			  uint8_t code, uint32_t field, uint64_t now_us)
{
	bool ip6 = !ip_is4(&seg->dst);
	uint32_t quote = (uint32_t)(seg->l4 - l3) + seg->l4_len, max = ip6 ? QUOTE6_MAX : QUOTE4_MAX;
	struct net_dst d;

	if (addr_is_multicast(&seg->dst))
		return;
	if (!bucket_take(&n->errors, now_us)) {
		stat_inc(n->stat, STAT_net_icmp_limited);
		return;
	}
	if (net_route(n, &seg->dst, &seg->src, &d) != ERR_OK)
		return;
	struct pkt *p = pkt_alloc(n->pool);
	if (!p) {
		stat_inc(n->stat, STAT_pkt_alloc_fail);
		return;
	}
	if (quote > max)
		quote = max;
	if (quote > pkt_room(p) - ICMP_LEN)
		quote = pkt_room(p) - ICMP_LEN;
	uint8_t *m = pkt_append(p, ICMP_LEN + quote);
	m[0] = type;
	m[1] = code;
	m[2] = m[3] = 0;
	put32(m + 4, field);
	memcpy(m + ICMP_LEN, l3, quote);
	uint32_t sum = ip6 ? csum_pseudo(&d.src, &d.dst, PROTO_ICMP6, ICMP_LEN + quote) : 0;
	uint16_t c = csum_fold(csum_add(sum, m, ICMP_LEN + quote));
	memcpy(m + 2, &c, 2);
	stat_inc(n->stat, STAT_net_icmp_error_out);
	net_output(n, &d, p, ip6 ? PROTO_ICMP6 : PROTO_ICMP, ICMP_LEN, 0, now_us);
}
