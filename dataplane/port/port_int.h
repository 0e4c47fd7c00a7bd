/* port_int.h: what the files of port/ share: software in place of offloads, and the flow hash. */
#ifndef VEREDUS_PORT_INT_H
#define VEREDUS_PORT_INT_H

#include "port.h"

/* Fills the IPv4 header checksum and/or the L4 checksum of a finished frame. Headers lie in the first
 * segment, which must not be shared. */
void soft_csum(struct pkt *p, const struct port_tx_meta *m, bool ip4, bool l4);

/* One segment with the same bytes; takes p. NULL (p is freed): pool empty or frame larger than a packet. */
struct pkt *soft_linear(struct pkt *p, struct pkt_pool *pool);

/* Cutting a frame into segments of meta.tso_mss payload bytes: copies, finished with all checksums. */
struct soft_cut {
	struct pkt *p, *at; /* whole frame; segment being read */
	struct pkt_pool *pool;
	const struct port_tx_meta *meta;
	uint32_t at_off;    /* in at */
	uint32_t hdr_len, off, left;
};
/* Borrows p and meta until the end; the caller frees p after. */
void soft_cut_init(struct soft_cut *c, struct pkt *p, const struct port_tx_meta *meta,
		   struct pkt_pool *pool);
/* Next segment; NULL at the end or when the pool is empty (then c->left is not 0). */
struct pkt *soft_cut_next(struct soft_cut *c);

/* Bytes of TCP payload in the frame. */
uint32_t soft_payload(const struct pkt *p, const struct port_tx_meta *m);

/* The RSS key: 16 bits repeated, so that both directions of a flow hash alike. */
#define FLOW_KEY_LEN 52
extern const uint8_t flow_key[FLOW_KEY_LEN];
/* Toeplitz hash under flow_key of addresses and ports (host order): equal to what a device computes. */
uint32_t flow_hash(const struct ip_addr *src, const struct ip_addr *dst, uint16_t src_port,
		   uint16_t dst_port);

/* What steering does with a received frame. */
enum flow_kind { FLOW_HASHED, FLOW_ALL, FLOW_HERE };
/* HASHED: *hash is set. ALL: every worker needs it (ARP, ND, ICMP). HERE: anything else. */
enum flow_kind flow_of_frame(const uint8_t *frame, uint32_t len, uint32_t *hash);

#endif
