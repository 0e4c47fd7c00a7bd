/*
 * net.h: Ethernet, ARP, ND, IPv4, IPv6, ICMP, UDP, routes: one struct net_core a worker, no sharing.
 *
 * Input: frames in, valid TCP segments out in a list; ARP, ND, ICMP echo are answered here; ICMP errors
 * that quote a TCP segment of ours come out in the same list, marked. Output: an L4 packet and a
 * destination in, a frame to port_send. Unresolved neighbours hold a bounded number of packets.
 */
#ifndef VEREDUS_NET_H
#define VEREDUS_NET_H

#include <stdbool.h>
#include <stdint.h>
#include "conf.h"
#include "err.h"
#include "ip.h"
#include "pkt.h"
#include "port.h"
#include "rand.h"
#include "stat.h"

struct net_core;

enum net_seg_kind { NET_SEG_TCP, NET_SEG_ICMP_ERROR };

/* One thing for tcp_input. The segment owns one reference to pkt. */
struct net_seg {
	struct pkt *pkt;
	uint8_t *l4;      /* TCP header; for an ICMP error: the quoted TCP header (at least 8 bytes) */
	uint32_t l4_len;  /* bytes from l4 on, exact by the IP header */
	struct ip_addr src, dst; /* of the packet; for an ICMP error: of the quoted packet (src = ours) */
	uint8_t kind;     /* enum net_seg_kind */
	uint8_t port;     /* index of the port it came in on */
	uint8_t ecn;      /* IP ECN bits */
	uint8_t icmp;     /* for an ICMP error: 1 unreachable (soft), 2 port/protocol unreachable (hard), 3 too big */
	uint16_t mtu;     /* for too big */
	bool csum_ok;     /* the L4 checksum was verified here or by a trusted device (always true in lists) */
};

/* A destination as a connection keeps it: 40-odd bytes, filled by net_route. */
struct net_dst {
	struct ip_addr src, dst;
	uint32_t neigh;     /* cached neighbour slot and its generation: private to net */
	uint32_t neigh_gen;
	uint16_t mtu;       /* IP bytes */
	uint8_t port;       /* port index */
	uint8_t tos;        /* DSCP and ECN bits to send */
};

/* Headers that net_output puts in front: the L4 packet must leave that much headroom. */
#define NET_HEADROOM (14 + 4 + 40)

/* ports[i]/infos: one per configured port. primary: this worker answers ARP, ND, echo. */
struct net_core *net_create(const struct conf *c, struct port_core **ports, struct port **shared,
			    unsigned n_ports, struct pkt_pool *pool, struct stat *stat, struct rnd *rnd,
			    bool primary);
/* For tests without devices: frames leave through out (takes the packet) instead of port_send. */
struct net_core *net_create_test(const struct conf_port *ports, unsigned n_ports,
				 const struct port_info *info, struct pkt_pool *pool, struct stat *stat,
				 struct rnd *rnd, void (*out)(void *arg, unsigned port, struct pkt *p),
				 void *arg);
void net_destroy(struct net_core **n);

/* Takes the n frames; writes at most n segments to out and returns the count. now_us: monotonic. */
unsigned net_input(struct net_core *n, unsigned port, struct pkt **frames, unsigned n_frames,
		   uint64_t now_us, struct net_seg *out);
/* Neighbour retries, DAD, NUD. Call about every 10 ms or more often. */
void net_timers(struct net_core *n, uint64_t now_us);

/* Chooses port, source (src "any": best address of the port) and next hop. ERR_UNREACHABLE without route. */
enum err net_route(struct net_core *n, const struct ip_addr *src, const struct ip_addr *dst,
		   struct net_dst *out);
/* Is it an address we answer for? *port: which port has it. */
bool net_is_local(const struct net_core *n, const struct ip_addr *a, unsigned *port);
const struct port_info *net_port_info(const struct net_core *n, unsigned port);
/* Worker that receives the flow (remote -> local); own id in tests. */
unsigned net_flow_owner(const struct net_core *n, unsigned port, const struct ip_addr *remote,
			const struct ip_addr *local, uint16_t remote_port, uint16_t local_port);

/* Sends an L4 packet (takes it, also on error). Data starts at the L4 header; a chain is fine; the L4
 * checksum field is filled on the way. tso_mss as in port.h; l4_hdr_len: header bytes with options. */
enum err net_output(struct net_core *n, struct net_dst *d, struct pkt *l4, uint8_t proto,
		    unsigned l4_hdr_len, unsigned tso_mss, uint64_t now_us);
/* TCP made progress with this destination: neighbour reachability is confirmed (RFC 4861 7.3.1). */
void net_confirm(struct net_core *n, struct net_dst *d, uint64_t now_us);

/* UDP: a bound port queues up to 256 datagrams. Each received one is a slice of the payload. */
struct net_udp {
	struct ip_addr src, dst;
	uint16_t src_port, dst_port;
	struct slice data;
};
enum err net_udp_bind(struct net_core *n, uint16_t port);
bool net_udp_receive(struct net_core *n, uint16_t port, struct net_udp *out);
enum err net_udp_send(struct net_core *n, const struct ip_addr *src, uint16_t src_port,
		      const struct ip_addr *dst, uint16_t dst_port, struct span data, uint64_t now_us);

#endif
