/*
 * udp.c: UDP (RFC 768): a few bound ports with a bounded queue each; enough for a resolver.
 *
 * Invariants: 1. a queued datagram holds a reference to its packet until taken; 2. at most UDP_QUEUE wait
 * a port, later ones are dropped and counted; 3. a datagram to a port that nobody bound is answered with
 * ICMP port unreachable, within a rate.
 */
#include <stdlib.h>
#include "net_int.h"

static struct udp_bind *bind_find(struct net_core *n, uint16_t port)
{
	for (unsigned i = 0; i < n->n_udp; i++) {
		if (n->udp[i].port == port)
			return &n->udp[i];
	}
	return NULL;
}

enum err net_udp_bind(struct net_core *n, uint16_t port)
{
	if (bind_find(n, port))
		return ERR_EXISTS;
	if (n->n_udp == UDP_BIND_MAX)
		return ERR_TOO_MANY;
	struct net_udp *queue = malloc(UDP_QUEUE * sizeof(*queue));
	if (!queue)
		return ERR_NO_MEMORY;
	n->udp[n->n_udp++] = (struct udp_bind){.port = port, .queue = queue};
	return ERR_OK;
}

bool net_udp_receive(struct net_core *n, uint16_t port, struct net_udp *out)
{
	struct udp_bind *b = bind_find(n, port);

	if (!b || b->n == 0)
		return false;
	*out = b->queue[b->head];
	b->head = (b->head + 1) % UDP_QUEUE;
	b->n--;
	return true;
}

void udp_input(struct net_core *n, struct net_seg *seg, const uint8_t *l3, bool trusted, uint64_t now_us)
{
	uint8_t *h = seg->l4;
	uint32_t len;

	if (seg->l4_len < UDP_LEN || (len = get16(h + 4)) < UDP_LEN || len > seg->l4_len)
		goto bad;
	/* IPv6 has no datagrams without a checksum (RFC 8200 8.1). */
	bool none = get16(h + 6) == 0;
	if (none ? !ip_is4(&seg->src)
		 : !trusted && csum_fold(csum_add(csum_pseudo(&seg->src, &seg->dst, PROTO_UDP, len), h,
						  len)) != 0)
		goto bad;
	struct udp_bind *b = bind_find(n, get16(h + 2));
	if (!b) {
		stat_inc(n->stat, STAT_net_udp_no_port);
		if (ip_is4(&seg->dst))
			icmp_error_send(n, seg, l3, ICMP4_UNREACHABLE, 3, 0, now_us);
		else
			icmp_error_send(n, seg, l3, ICMP6_UNREACHABLE, 4, 0, now_us);
	} else if (b->n == UDP_QUEUE) {
		stat_inc(n->stat, STAT_net_udp_full);
	} else {
		stat_inc(n->stat, STAT_net_udp_in);
		b->queue[(b->head + b->n++) % UDP_QUEUE] =
			(struct net_udp){.src = seg->src,
					 .dst = seg->dst,
					 .src_port = get16(h),
					 .dst_port = b->port,
					 .data = slice_of(seg->pkt, h + UDP_LEN, len - UDP_LEN)};
	}
	pkt_free(seg->pkt);
	return;
bad:
	net_drop(n, seg->pkt, STAT_net_bad_udp);
}

enum err net_udp_send(struct net_core *n, const struct ip_addr *src, uint16_t src_port,
		      const struct ip_addr *dst, uint16_t dst_port, struct span data, uint64_t now_us)
{
	struct net_dst d;
	enum err e = net_route(n, src, dst, &d);

	if (e != ERR_OK)
		return e;
	struct pkt *p = pkt_alloc(n->pool);
	if (!p) {
		stat_inc(n->stat, STAT_pkt_alloc_fail);
		return ERR_NO_MEMORY;
	}
	if (data.len > PKT_ROOM || UDP_LEN + data.len > pkt_room(p)) {
		net_drop(n, p, STAT_net_too_long);
		return ERR_TOO_LONG;
	}
	uint8_t *h = pkt_append(p, (uint32_t)(UDP_LEN + data.len));
	put16(h, src_port);
	put16(h + 2, dst_port);
	put16(h + 4, (uint32_t)(UDP_LEN + data.len));
	put16(h + 6, 0);
	if (data.len)
		memcpy(h + UDP_LEN, data.p, data.len);
	return net_output(n, &d, p, PROTO_UDP, UDP_LEN, 0, now_us);
}

void udp_fini(struct net_core *n)
{
	for (unsigned i = 0; i < n->n_udp; i++) {
		struct net_udp u;
		while (net_udp_receive(n, n->udp[i].port, &u))
			slice_drop(&u.data);
		free(n->udp[i].queue);
	}
}
