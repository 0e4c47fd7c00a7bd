/*
 * wire.h: two TCP stacks, or one and a test that plays the other by hand, on a bad wire in virtual
 * time.
 *
 * Stands in for net/: net_output, net_route and the rest are defined in wire.c, so what links this
 * does not link net. One seed gives one run. Time jumps from event to event; nothing waits.
 * wire_fini checks that no packet and no connection is left over.
 */
#ifndef VEREDUS_WIRE_H
#define VEREDUS_WIRE_H

#include "list.h"
#include "tcp.h"

/* What happens to frames in one direction; chances in 1/10000. */
struct wire_link {
	uint32_t loss, dup, corrupt, reorder;
	uint32_t mark;        /* ECT frames that become CE */
	uint32_t delay_us;
	uint32_t late_us;     /* how much later a reordered frame comes, at most */
	uint64_t bits_per_s;  /* 0 = no limit */
	uint32_t queue_bytes; /* tail drop beyond, with a limited rate; 0 = no limit */
	uint16_t mtu;	      /* larger frames vanish and cause an ICMP too-big; 0 = no limit */
};

/* One TCP segment on its way: everything from the TCP header on. */
struct wire_frame {
	struct list node;
	uint64_t at_us;
	uint64_t id;
	unsigned to; /* end */
	struct ip_addr src, dst;
	uint32_t len;
	uint8_t ecn; /* IP ECN bits */
	uint8_t l4[];
};

struct net_core {
	struct wire *wire;
	unsigned end;
	struct ip_addr addr4, addr6;
	uint16_t mtu;
	struct port_info info;
	unsigned owner; /* net_flow_owner answers port % 4 when owners is set */
	bool owners;
};

struct wire_end {
	struct net_core net;
	struct tcp_core *tcp; /* NULL: played by the test */
	struct pkt_pool *pool;
	struct stat stat;
	struct trace trace;
	struct rnd rnd;
	uint64_t frames_out, bytes_out;
};

struct wire {
	struct wire_end end[2];
	struct wire_link link[2]; /* link[i]: from end i */
	uint64_t now_us, busy_us[2], n_frames, dropped;
	uint64_t seed;
	struct rnd rnd;
	struct list flying;   /* by time */
	struct list captured; /* for an end that the test plays */
	void (*app)(struct wire *w, unsigned end, struct tcp_conn *c, uint32_t events);
	/* Sees each frame as it is sent; false drops it. */
	bool (*filter)(struct wire *w, struct wire_frame *f);
	void *arg;
};

/* conf NULL: the test plays that end. packets: size of each pool. */
void wire_init(struct wire *w, uint64_t seed, const struct tcp_conf *a, const struct tcp_conf *b,
	       const struct wire_link *link, uint16_t mtu, unsigned packets);
void wire_fini(struct wire *w);
/* The next event, at most at until_us; false when there was none (time is until_us then). */
bool wire_step(struct wire *w, uint64_t until_us);
void wire_run(struct wire *w, uint64_t until_us);
/* Lets the stacks of both ends act now: timers, events, flush. */
void wire_settle(struct wire *w);

/* A segment as the test writes it. */
struct wire_seg {
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint8_t flags;
	uint16_t wnd;
	const uint8_t *opt;
	uint32_t opt_len; /* multiple of 4 */
	const void *data;
	uint32_t len;
	uint8_t ecn; /* IP ECN bits */
};
enum { W_FIN = 1, W_SYN = 2, W_RST = 4, W_PSH = 8, W_ACK = 16, W_URG = 32, W_ECE = 64, W_CWR = 128 };
/* Gives it to end `to` at once, as from the other end, and lets the stack act. */
void wire_inject(struct wire *w, unsigned to, const struct wire_seg *s);
/* The same from any source. */
void wire_inject_from(struct wire *w, unsigned to, const struct ip_addr *src, const struct wire_seg *s);
/* The same with bytes of any kind. */
void wire_inject_bytes(struct wire *w, unsigned to, const uint8_t *l4, uint32_t len);
/* An ICMP error quoting seq of the flow sport (ours) -> dport. kind, mtu as in net_seg. */
void wire_inject_icmp(struct wire *w, unsigned to, uint16_t sport, uint16_t dport, uint32_t seq,
		      uint8_t kind, uint16_t mtu);
/* The oldest frame sent to an end that the test plays, parsed; false when there is none. The
 * pointers in out stay good until the next call. */
bool wire_take(struct wire *w, struct wire_seg *out);
/* Drops all captured frames; returns how many there were. */
unsigned wire_drain(struct wire *w);

/* len bytes of the test stream `seed` from off on, as a slice of a new packet (len <= PKT_ROOM). */
struct slice wire_pattern(struct pkt_pool *pool, uint64_t seed, uint64_t off, uint32_t len);
/* Are these bytes that stream? */
bool wire_pattern_ok(const uint8_t *p, uint64_t seed, uint64_t off, uint32_t len);

#endif
