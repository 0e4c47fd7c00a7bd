/*
 * fixture.h: a net core on a wire that the test holds in its hands. We are 198.18.0.2/24 and
 * fd00:198:18::2/64 on port 0; the peer is .1 and ::1, which is the gateway too. Frames that leave are
 * kept in order in fx.out.
 */
#ifndef NET_FIXTURE_H
#define NET_FIXTURE_H

#include <criterion/criterion.h>
#include "csum.h"
#include "net.h"

#define OUT_MAX 1024

extern struct fixture {
	struct pkt_pool *pool;
	struct stat stat;
	struct rnd rnd;
	struct net_core *net;
	struct pkt *out[OUT_MAX];
	unsigned n_out;
	uint64_t now_us;
} fx;

extern const uint8_t our_mac[6], peer_mac[6];
extern struct ip_addr our4, our6, our_ll, peer4, peer6, peer_ll, far4, far6;

void fx_setup(void);
void fx_teardown(void); /* asserts that no packet was lost */
/* With TCP segmentation, checksums done by the "device". */
void fx_setup_offload(void);

/* Forgets the frames that left. */
void fx_clear(void);
uint64_t fx_stat(enum stat_id id);
/* Moves time and runs the timers. */
void fx_wait(uint64_t us);

/* A frame under construction. */
struct frame {
	uint8_t b[4096];
	uint32_t len;
};
/* Each puts what it names into f, whole and right; l4 copied as it is but for its checksum. */
void frame_eth(struct frame *f, const uint8_t *dst, unsigned type);
void frame_ip(struct frame *f, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto,
	      const void *l4, uint32_t l4_len);
/* Computes header and L4 checksums again after edits; l4 at off. */
void frame_seal(struct frame *f, uint32_t l4_off, uint8_t proto);
void frame_arp(struct frame *f, const uint8_t *eth_dst, unsigned op, const uint8_t *smac,
	       const struct ip_addr *sip, const uint8_t *tmac, const struct ip_addr *tip);
void frame_udp(struct frame *f, const struct ip_addr *src, const struct ip_addr *dst, uint16_t sport,
	       uint16_t dport, struct span data);
void frame_tcp(struct frame *f, const struct ip_addr *src, const struct ip_addr *dst, uint16_t sport,
	       uint16_t dport, struct span data);
void frame_echo(struct frame *f, const struct ip_addr *src, const struct ip_addr *dst, struct span data);
/* na: advertisement with flags; else solicitation. mac NULL: no option. */
void frame_nd(struct frame *f, const struct ip_addr *src, const struct ip_addr *dst, bool na,
	      uint8_t flags, const struct ip_addr *target, const uint8_t *mac);
/* Feeds the frame; up to one segment comes back. The buffer ends with the frame. */
bool fx_feed(const struct frame *f, struct net_seg *seg);
/* The same when no segment may come out. */
void fx_feed_none(const struct frame *f);
/* Makes the peer known in both families. */
void fx_meet_peer(void);
/* Checks Ethernet, IP and L4 checksums of the nth frame that left; returns the L4 part. */
struct span fx_out_ip(unsigned i, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto);

#endif
