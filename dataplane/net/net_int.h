/*
 * net_int.h: what the files of net/ share: the core, wire formats as offsets, and the calls between files.
 *
 * Convention of input functions: they take the packet; true means it became a segment in *seg.
 */
#ifndef VEREDUS_NET_INT_H
#define VEREDUS_NET_INT_H

#include "check.h"
#include "csum.h"
#include "net.h"
#include "pkt_inline.h"

#define ETH_LEN   14
#define ETH_ARP   0x0806
#define ETH_IP4   0x0800
#define ETH_IP6   0x86dd
#define IP4_LEN   20
#define IP6_LEN   40
#define UDP_LEN   8
#define TCP_LEN   20
#define ICMP_LEN  8
#define TTL       64

enum { ICMP4_ECHO_REPLY = 0, ICMP4_UNREACHABLE = 3, ICMP4_ECHO = 8, ICMP4_TIME = 11, ICMP4_PARAM = 12 };
enum { ICMP6_UNREACHABLE = 1, ICMP6_TOO_BIG = 2, ICMP6_TIME = 3, ICMP6_PARAM = 4, ICMP6_ECHO = 128,
       ICMP6_ECHO_REPLY = 129, ICMP6_ND_FIRST = 133, ICMP6_ND_LAST = 137 };
enum { IP6_HOPOPT = 0, IP6_ROUTE = 43, IP6_FRAGMENT = 44, IP6_NONE = 59, IP6_DSTOPT = 60 };
enum { PROTO_ICMP = 1, PROTO_TCP = 6, PROTO_UDP = 17, PROTO_ICMP6 = 58 };

static inline uint16_t get16(const uint8_t *p)
{
	uint16_t v;
	memcpy(&v, p, 2);
	return __builtin_bswap16(v);
}

static inline void put16(uint8_t *p, uint32_t v)
{
	uint16_t be = __builtin_bswap16((uint16_t)v);
	memcpy(p, &be, 2);
}

static inline uint32_t get32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, 4);
	return __builtin_bswap32(v);
}

static inline void put32(uint8_t *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, 4);
}

/* The IPv4 address at p of a header. */
static inline struct ip_addr addr4_at(const uint8_t *p)
{
	struct ip_addr a = {.d = {0, 0}};
	a.b[10] = a.b[11] = 0xff;
	memcpy(&a.w[3], p, 4);
	return a;
}

static inline struct ip_addr addr6_at(const uint8_t *p)
{
	struct ip_addr a;
	memcpy(&a, p, 16);
	return a;
}

static inline bool addr_is_multicast(const struct ip_addr *a)
{
	return ip_is4(a) ? (a->b[12] & 0xf0) == 0xe0 : a->b[0] == 0xff;
}

static inline bool addr_is_link_local6(const struct ip_addr *a)
{
	return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

enum neigh_state {
	NEIGH_FREE,
	NEIGH_INCOMPLETE, /* asked, no answer yet */
	NEIGH_REACHABLE,  /* until deadline, then STALE at next use */
	NEIGH_STALE,
	NEIGH_DELAY,      /* used while stale: probed at deadline unless confirmed */
	NEIGH_PROBE,
	NEIGH_FAILED,     /* did not answer: packets are refused until deadline */
};

#define NEIGH_MAX     1024 /* a power of two */
#define NEIGH_QUEUE   8    /* packets that wait for one neighbour */
#define PENDING_MAX   512  /* and for all */

/* One cache line. */
struct neigh {
	struct ip_addr addr;
	uint64_t deadline, used_us;
	uint32_t gen;          /* changes when the slot is given to another address; never 0 */
	uint16_t next;         /* in the hash chain: slot + 1 */
	uint16_t pend_first, pend_last; /* slot + 1 */
	uint8_t n_pend, state, tries, port;
	uint8_t mac[6];
	bool pinned;           /* a gateway */
};
_Static_assert(sizeof(struct neigh) <= 64, "one cache line");

struct pending {
	struct pkt *pkt;
	struct port_tx_meta meta;
	uint16_t next;
};

enum dad { DAD_NEW, DAD_TENTATIVE, DAD_DONE, DAD_DUPLICATE };

/* An address of ours. */
struct net_addr {
	struct ip_addr addr;
	uint64_t deadline;
	uint16_t next; /* in the hash chain: index + 1 */
	uint8_t len;   /* prefix, mapped form */
	uint8_t port, dad;
};

struct net_port {
	struct port_core *pc;
	struct port *shared;
	struct port_info info;
	struct ip_addr gateway[2]; /* [0] IPv4, [1] IPv6; any = none */
};

/* Token bucket: per_s tokens a second, at most burst of them. */
struct bucket {
	uint64_t filled_us;
	uint32_t tokens, per_s, burst;
};

#define FRAG_MAX     256  /* packets being put together */
#define FRAG_SRC_MAX 16	  /* of one source */
#define FRAG_BYTES   1992 /* payload of one: it is put together in one packet buffer */
#define FRAG_BLOCKS  ((FRAG_BYTES + 7) / 8)

struct frag {
	struct ip_addr src, dst;
	uint32_t id;
	uint8_t proto; /* IPv4: part of the name; IPv6: as the first fragment says */
	uint8_t port, ecn;
	uint16_t next;	     /* in the hash chain: slot + 1 */
	uint16_t older, newer; /* slot + 1 */
	uint32_t total;	     /* payload bytes, once the last fragment came; else 0 */
	uint32_t high;	     /* where the fragment that reaches farthest ends */
	uint32_t first_len;  /* bytes of the fragment at offset 0 */
	uint32_t blocks;     /* how many bits of have are set */
	uint64_t deadline;
	struct pkt *pkt; /* NULL: fragments overlapped; what else comes is dropped */
	uint64_t have[(FRAG_BLOCKS + 63) / 64];
	uint64_t starts[(FRAG_BLOCKS + 63) / 64]; /* with which blocks fragments begin */
};

struct frag_table {
	struct frag e[FRAG_MAX];
	uint16_t hash[FRAG_MAX];
	uint8_t by_src[FRAG_MAX]; /* how many of sources with this hash */
	uint16_t oldest, newest, free; /* slot + 1 */
	unsigned n, n_max;
};

#define UDP_BIND_MAX 64
#define UDP_QUEUE    256
struct udp_bind {
	uint16_t port;
	uint16_t head, n;
	struct net_udp *queue;
};

struct net_core {
	struct pkt_pool *pool;
	struct stat *stat;
	struct rnd *rnd;
	struct net_port port[PORT_MAX];
	unsigned n_port;
	bool primary;
	unsigned worker;
	bool own_ports; /* made by net_create_test */
	uint16_t ip_id;
	struct net_addr *addr;
	unsigned n_addr;
	uint16_t *addr_hash;
	uint32_t addr_mask;
	struct ip_prefix *onlink; /* longest first */
	uint8_t *onlink_port;
	unsigned n_onlink;
	bool announced;           /* own addresses, at the first net_timers */
	bool tentative;           /* some address is still watched for duplicates */
	struct bucket echo, errors;
	struct udp_bind udp[UDP_BIND_MAX];
	unsigned n_udp;
	uint64_t neigh_scan_us;   /* when neighbours are looked at next */
	unsigned n_timed;         /* neighbours in a state with a timer */
	unsigned neigh_high, neigh_hand;
	uint16_t neigh_hash[NEIGH_MAX];
	struct neigh neigh[NEIGH_MAX];
	struct pending pending[PENDING_MAX];
	uint16_t pending_free;
	struct frag_table frag;
};

/* net.c */
bool bucket_take(struct bucket *b, uint64_t now_us);
/* Counts and frees; false, for input functions. */
bool net_drop(struct net_core *n, struct pkt *p, enum stat_id why);
/* Address of ours or NULL; those found to be duplicates are not ours. */
const struct net_addr *net_local(const struct net_core *n, const struct ip_addr *a);
void net_address_conflict(struct net_core *n, const struct ip_addr *a, const uint8_t *mac);

/* route.c */
/* Where to send a packet for dst that leaves by port: dst itself or the gateway; NULL: no route. */
const struct ip_addr *route_next_hop(const struct net_core *n, unsigned port, const struct ip_addr *dst);
/* The address of port to speak from to a target on its link; NULL: none of that family. */
const struct ip_addr *route_source(const struct net_core *n, unsigned port, const struct ip_addr *to);

/* neigh.c */
struct neigh *neigh_find(struct net_core *n, unsigned port, const struct ip_addr *a);
/* Finds or makes; NULL: the table is full of those in use. */
struct neigh *neigh_get(struct net_core *n, unsigned port, const struct ip_addr *a, uint64_t now_us);
enum neigh_use { NEIGH_SEND, NEIGH_WAIT, NEIGH_REFUSE };
/* Called when state is not REACHABLE or its time is over: what to do with a packet. */
enum neigh_use neigh_use(struct net_core *n, struct neigh *ne, uint64_t now_us);
/* Keeps the finished frame until the neighbour answers; takes it. */
void neigh_hold(struct net_core *n, struct neigh *ne, struct pkt *p, const struct port_tx_meta *m);
/* The address is known; state REACHABLE or STALE. Sends what waited. */
void neigh_learn(struct net_core *n, struct neigh *ne, const uint8_t mac[6], enum neigh_state state,
		 uint64_t now_us);
void neigh_timers(struct net_core *n, uint64_t now_us);
/* From what a neighbour said about itself to us: makes or changes an entry as STALE, keeps it if equal. */
void neigh_heard(struct net_core *n, unsigned port, const struct ip_addr *a, const uint8_t mac[6],
		 uint64_t now_us);
void neigh_fini(struct net_core *n);

/* arp.c, nd.c; mac NULL: broadcast, solicited-node multicast */
void arp_input(struct net_core *n, unsigned port, struct pkt *p, uint64_t now_us);
void arp_request(struct net_core *n, unsigned port, const struct ip_addr *sender,
		 const struct ip_addr *target, const uint8_t *mac);
/* An ICMPv6 message of type 133..137, its checksum right; borrows p. */
void nd_input(struct net_core *n, unsigned port, struct pkt *p, const uint8_t *ip6, const uint8_t *msg,
	      uint32_t len, uint64_t now_us);
void nd_solicit(struct net_core *n, unsigned port, const struct ip_addr *src,
		const struct ip_addr *target, const uint8_t *mac);

/* icmp.c; seg: src, dst, l4, l4_len, port, ecn are set. l3: the IP header */
bool icmp4_input(struct net_core *n, struct net_seg *seg, const uint8_t *l3, uint64_t now_us);
bool icmp6_input(struct net_core *n, struct net_seg *seg, const uint8_t *l3, uint64_t now_us);
/* An ICMP error of this type about the packet at l3, within the rate limit; field: the second word. seg as above,
 * l4 behind whatever part of the header is good. Nothing about packets to a group. */
void icmp_error_send(struct net_core *n, const struct net_seg *seg, const uint8_t *l3, uint8_t type, uint8_t code,
		     uint32_t field, uint64_t now_us);

/* ext6.c */
struct ip6_walk {
	uint32_t off;	  /* how far it came: an upper header, or a fragment header that matters */
	uint32_t nh_at;	  /* offset of the field that named proto */
	uint8_t proto;	  /* of what stands at off */
	uint8_t fragment; /* 1: a fragment header that is of no consequence was passed; 2: put together from fragments */
	bool report;	  /* false was returned, and the sender should hear: parameter problem */
	uint8_t code;
	uint32_t at; /* the offending byte */
	enum stat_id why;
};
/* Walks the extension headers from w->off on, of which w->nh_at named w->proto. Stops at an upper protocol, or at a
 * fragment header that is not that of a whole packet. False: cut, too many, or not for an end node. */
bool ip6_walk(const uint8_t *l3, uint32_t len, struct ip6_walk *w);

/* frag.c: take seg->pkt. When it completes a packet: its IP header, in a new packet in seg->pkt, with l4, l4_len and
 * ecn of seg set; else NULL. */
uint8_t *frag4_input(struct net_core *n, struct net_seg *seg, const uint8_t *l3, uint64_t now_us);
uint8_t *frag6_input(struct net_core *n, struct net_seg *seg, const uint8_t *l3, const struct ip6_walk *w,
		     uint64_t now_us);
void frag_init(struct net_core *n);
void frag_timers(struct net_core *n, uint64_t now_us);
void frag_fini(struct net_core *n);

/* udp.c */
void udp_input(struct net_core *n, struct net_seg *seg, const uint8_t *l3, bool trusted,
	       uint64_t now_us);
void udp_fini(struct net_core *n);

#endif
