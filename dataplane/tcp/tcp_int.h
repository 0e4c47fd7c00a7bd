/*
 * tcp_int.h: what the files of tcp/ share: the connection, the core, sequence arithmetic.
 *
 * Sequence variables carry RFC 9293's names. Send side: snd_una <= snd_nxt <= snd_max; the send queue
 * holds the data from snd_una on (a SYN or FIN counts in sequence space, not in the queue).
 * Invariants: 1. only tcp_enter() writes state; 2. a connection is in the flow table exactly while
 * TF_IN_TABLE is set; 3. rcv_adv, the right edge that was promised, never moves left; 4. what hangs off
 * pointers (scoreboard, reassembly) exists only while it is used.
 */
#ifndef VEREDUS_TCP_INT_H
#define VEREDUS_TCP_INT_H

#include <assert.h>
#include "list.h"
#include "pool.h"
#include "tcp.h"
#include "tcp_option.h"
#include "wheel.h"

enum { TH_FIN = 0x01, TH_SYN = 0x02, TH_RST = 0x04, TH_PSH = 0x08, TH_ACK = 0x10, TH_URG = 0x20,
       TH_ECE = 0x40, TH_CWR = 0x80 };

#define TCP_HDR         20
#define TCP_MSS_MIN     48       /* smaller offers are taken as this: a tiny MSS multiplies our work */
#define TCP_MSS_DEF4    536      /* RFC 9293 3.7.1, when no MSS option came */
#define TCP_MSS_DEF6    1220
#define TCP_TX_COPY     512      /* payload up to this is copied behind its header */
#define TCP_TSO_MAX     61440    /* payload of one packet handed to a port that segments */
#define TCP_TSO_SEGS    44       /* slices of one such packet */
#define TCP_BURST_BYTES 262144   /* most that one connection sends in one flush */
#define TCP_TX_CHUNKS   64       /* chunks of slices after which the send queue counts as full */
#define TCP_DUP_THRESH  3
#define TCP_RUN_MAX     120      /* runs of a scoreboard */
#define TCP_KEEP_INTVL  75000000 /* us between keep-alive probes, and how many */
#define TCP_KEEP_PROBES 9
#define TCP_FIN2_US     60000000 /* FIN-WAIT-2 of a connection nobody reads any more */
#define TCP_ORPHAN_MAX  10       /* window probes for a connection that its user has closed: some two minutes */
#define TCP_RESETS      200      /* resets without a connection, each 100 ms */
#define TCP_CHALLENGES  10       /* challenge ACKs and answers to bare ACKs out of window, each 5 s */
#define TCP_PAWS_IDLE   ((uint32_t)24 * 24 * 3600 * 1000) /* ms; RFC 7323 5.5 */

static inline bool seq_lt(uint32_t a, uint32_t b) { return (int32_t)(a - b) < 0; }
static inline bool seq_le(uint32_t a, uint32_t b) { return (int32_t)(a - b) <= 0; }
static inline bool seq_gt(uint32_t a, uint32_t b) { return (int32_t)(a - b) > 0; }
static inline bool seq_ge(uint32_t a, uint32_t b) { return (int32_t)(a - b) >= 0; }
static inline uint32_t seq_max(uint32_t a, uint32_t b) { return seq_gt(a, b) ? a : b; }
static inline uint32_t seq_min(uint32_t a, uint32_t b) { return seq_lt(a, b) ? a : b; }
static inline uint32_t min32(uint32_t a, uint32_t b) { return a < b ? a : b; }
static inline uint32_t max32(uint32_t a, uint32_t b) { return a > b ? a : b; }

/* ---- queues of slices (tcp_queue.c) ---- */

#define TCPQ_CHUNK 9
struct tcpq_chunk {
	struct tcpq_chunk *next;
	uint16_t head, n; /* v[head .. n-1] are in use */
	uint16_t push;    /* bit i: v[i] ends an application write */
	uint16_t spare;
	uint32_t len;     /* bytes in use */
	uint32_t spare2;
	struct slice v[TCPQ_CHUNK];
};
static_assert(sizeof(struct tcpq_chunk) <= 256, "four cache lines a chunk");

struct tcpq {
	struct tcpq_chunk *head, *tail;
	uint32_t len;    /* bytes */
	uint32_t chunks;
};

struct tcpq_pos {
	struct tcpq_chunk *c;
	unsigned i;
	uint32_t off; /* in slice i */
};

/* Takes the slice unless it returns false (pool out). Merges with the last one where bytes adjoin. */
bool tcpq_push(struct tcpq *q, struct pool *chunks, struct slice s, bool push);
/* The last slice, to grow in place, or NULL. */
struct slice *tcpq_last(struct tcpq *q);
/* Takes the first slice out. The queue must not be empty. */
struct slice tcpq_pop(struct tcpq *q, struct pool *chunks);
void tcpq_drop(struct tcpq *q, struct pool *chunks, uint32_t len);
struct tcpq_pos tcpq_seek(const struct tcpq *q, uint32_t off);
/* The run of bytes at the position, at most len, borrowed; moves on. *push: an application write ends
 * with it. */
struct slice tcpq_next(struct tcpq_pos *pos, uint32_t len, bool *push);

/* ---- what hangs off a connection while it is needed ---- */

/* Bytes in flight that were sent last in the same flush and share a fate. */
struct tcp_run {
	uint32_t end;     /* begins where the one before it ends, the first at snd_una */
	uint32_t sent_us; /* last transmission, low 32 bits */
	uint32_t flags;
};
enum {
	RUN_SACKED = 1, RUN_LOST = 2,
	RUN_RETX = 4,  /* sent more than once */
	RUN_VAGUE = 8, /* sent_us is the last of several times: good to tell a loss, not to measure by */
};

/* The scoreboard: all that is in flight, and what recovery keeps. It exists while what is in flight was sent
 * at different times, or some of it was lost: a request and its reply need none. */
struct tcp_board {
	uint32_t n;
	uint32_t sacked, lost;   /* bytes */
	uint32_t fack;           /* highest sequence number that is known to have arrived */
	/* RACK (RFC 8985 5.3): the last sent of all that arrived */
	uint32_t rack_sent_us, rack_end, rack_rtt_us;
	uint32_t dsack_round;    /* no second widening for D-SACKs before this is acknowledged */
	bool rack_valid, dsack_seen;
	/* PRR (RFC 6937) */
	uint32_t prr_flight, prr_delivered, prr_out;
	uint32_t cut_us;         /* last reduction */
	/* undo: what was before the reduction, while it may prove to have been for nothing */
	bool undo;
	uint8_t frto;            /* step of RFC 5682 3.1, 0 = not in it */
	uint32_t undo_cwnd, undo_ssthresh, undo_una, undo_ts; /* undo_ts: of the first retransmission, 0 = none */
	uint32_t undo_retx;      /* segments retransmitted and not reported as duplicates */
	uint32_t undo_cc[8];
	struct tcp_run run[TCP_RUN_MAX];
};

/* What one acknowledgment brought. */
struct tcp_delivery {
	uint32_t bytes;  /* newly known to have arrived, cumulatively or selectively */
	uint32_t sacked; /* of these selectively */
	uint32_t rtt_us; /* shortest round trip among what was sent once; 0 = none */
	uint32_t tsecr;  /* 0 = none */
	bool orig;       /* some of it was sent once, below `recover` */
};

/* One out-of-order segment. */
struct tcp_ooo {
	struct list node;
	uint32_t seq, len;
	struct slice s;
};

struct tcp_reasm {
	struct list segs; /* struct tcp_ooo by seq; ranges never overlap */
	uint32_t n, bytes;
	uint32_t recent[TCP_SACK_BLOCKS]; /* sequence numbers last received, newest first */
	uint32_t n_recent;
};

/* ---- the connection ---- */

enum tcp_flag {
	TF_USER       = 1 << 0,  /* somebody holds the handle */
	TF_ACTIVE     = 1 << 1,  /* opened by us */
	TF_ACK_NOW    = 1 << 2,
	TF_TS         = 1 << 3,  /* negotiated */
	TF_SACK       = 1 << 4,
	TF_WSCALE     = 1 << 5,
	TF_FIN_WANTED = 1 << 6,  /* FIN when the queue is out */
	TF_FIN_SENT   = 1 << 7,  /* it holds the sequence number fin_seq */
	TF_PEER_FIN   = 1 << 8,  /* a FIN at peer_fin was seen, perhaps ahead of missing data */
	TF_NOREAD     = 1 << 9,  /* the user closed: what comes is thrown away */
	TF_ECN        = 1 << 10, /* agreed on (RFC 3168), or offered in our SYN */
	TF_PERSIST    = 1 << 11, /* TCP_T_RETX runs as the persist timer */
	TF_TIMING     = 1 << 12, /* rtt_seq is being timed */
	TF_CWND_FULL  = 1 << 13, /* the last output was held back by cwnd */
	TF_IN_TABLE   = 1 << 15,
	TF_RETX_HEAD  = 1 << 16, /* retransmit the segment at snd_una whatever cwnd says */
	TF_WAS_CLOSED = 1 << 17, /* TCP_EV_CLOSED was given */
	TF_REORDER    = 1 << 18, /* RACK.reordering_seen */
	TF_UNREACH    = 1 << 19, /* a soft ICMP error came: the reason, should it time out */
	TF_DSACK      = 1 << 20, /* tell of a duplicate: dsack */
	TF_PTO        = 1 << 21, /* TCP_T_RETX is a tail loss probe, not yet a timeout */
	TF_TLP        = 1 << 22, /* a probe is out: it ends at tlp_end */
	TF_TLP_RETX   = 1 << 23, /* and was old data */
	TF_ECE        = 1 << 24, /* a CE mark came: every ACK says so until the peer's CWR */
	TF_TLP_WAIT   = 1 << 26, /* no round trip was measured since the last probe */
	TF_CWR        = 1 << 25, /* the next new data tells that cwnd was reduced */
};

/* Deadlines, microseconds of the core's clock, 0 = off; one wheel node serves all (rounded up to 1 ms). */
enum tcp_deadline {
	TCP_T_RETX,   /* retransmission, persist, SYN */
	TCP_T_DELACK,
	TCP_T_KEEP,
	TCP_T_PACE,    /* more may be sent then */
	TCP_T_REORDER, /* RACK: what is missing counts as lost then */
	TCP_T_LINGER, /* user timeout; FIN-WAIT-2 of a closed connection */
	TCP_T__N
};

struct tcp_cc_ops;

struct tcp_conn {
	/* line 0: demultiplexing and the frame to build */
	struct net_dst dst;
	uint16_t lport, rport; /* host order */
	uint32_t hash;
	uint32_t flags;
	uint8_t state;
	uint8_t err;
	uint8_t events;
	uint8_t recovery;      /* enum tcp_recovery */

	/* line 1: sequence variables, every segment */
	uint32_t rcv_nxt, rcv_adv, rcv_acked; /* rcv_acked: Last.ACK.sent of RFC 7323 */
	uint32_t rcv_held;     /* bytes given or to be given to the user and not yet consumed */
	uint32_t snd_una, snd_nxt, snd_max, snd_wnd, snd_wl1, snd_wl2;
	uint32_t cwnd, ssthresh;
	uint32_t ts_recent, ts_recent_ms;
	uint16_t mss;          /* payload bytes of a segment, options of every segment taken off */
	uint8_t snd_wscale, rcv_wscale;
	uint8_t quickack, delack_segs, dupacks, dupacks_due;

	/* line 2: queues */
	struct tcpq txq, rxq;
	struct tcp_core *core;
	void *user;

	/* line 3: lists, what hangs off */
	struct list out_node;   /* core->out: has something to send */
	struct list ready_node; /* core->ready */
	struct tcp_board *board;
	struct tcp_reasm *reasm;
	struct pkt *rx_copy;    /* where small payload behind unread data is copied together */
	uint64_t tag;

	/* line 4: the timer */
	struct timer timer;
	uint64_t due[TCP_T__N];

	/* lines 5 to 7: round trip time, recovery */
	uint32_t srtt_us, rttvar_us, rttmin_us, rto_us;
	uint32_t rtt_seq, rtt_at; /* low 32 bits of us */
	uint32_t recover;
	uint32_t sent_us;       /* when all in flight was sent, low 32 bits, while there is no board */
	uint32_t reno_sacked;   /* bytes that duplicate ACKs say have left, without SACK */
	uint32_t fin_seq, peer_fin;
	uint32_t ts_off;
	uint32_t iss, irs;
	uint32_t snd_wnd_max;
	uint32_t last_send_ms;

	/* congestion control's own, counts */
	uint32_t cc[8];
	uint32_t retransmits, lost;
	uint32_t challenge_ms;
	uint16_t peer_mss;      /* as offered; options not taken off */
	uint16_t syn_mss;       /* what we offered */
	uint16_t rx_copy_used;  /* bytes of rx_copy that are taken */
	uint8_t retries, keep_probes;
	uint8_t challenges;
	uint8_t orphan_probes;
	uint8_t reo_mult, reo_persist; /* RACK.reo_wnd_mult - 1, reo_wnd_persist */
	uint32_t rcv_mss;       /* estimate of the peer's segment size, for delayed ACK */
	uint32_t heard_ms;      /* last segment from the peer */

	/* rare */
	struct tcp_range dsack; /* the duplicate that came last */
	uint32_t tlp_end;
	uint32_t rttmin_ms;     /* when rttmin_us was measured */
	uint32_t pace_us;       /* until when what was sent has used the pace up, low 32 bits */
	uint32_t ecn_end;       /* no second reduction by ECE before this is acknowledged */
	uint32_t opened_ms;
	uint32_t zero_at_ms, zero_ms; /* the peer's window is shut since (0: it is not), and was before that */
	uint16_t in_wraps, out_wraps; /* times that 2^32 bytes came and were acknowledged: tcp_info.c */
	uint16_t reordered;           /* segments that came out of order, up to 65,535 */
};
static_assert(offsetof(struct tcp_conn, rcv_nxt) == 64, "line 1");
static_assert(offsetof(struct tcp_conn, txq) == 128, "line 2");
static_assert(offsetof(struct tcp_conn, out_node) == 192, "line 3");
static_assert(offsetof(struct tcp_conn, timer) == 256, "line 4");
static_assert(sizeof(struct tcp_conn) <= 512, "an idle connection");

/* ---- tables (tcp_table.c) ---- */

/* 64 bytes: seven entries and how many were pushed past this bucket when it was full. A lookup reads on
 * only while that is not 0, so there are no tombstones to clean. */
struct flow_bucket {
	uint32_t over;
	uint32_t spare;
	struct {
		uint32_t tag, index; /* tag = hash; index 0 = free, else index + 1 */
	} e[7];
};
static_assert(sizeof(struct flow_bucket) == 64, "one cache line");

struct flow_table {
	struct flow_bucket *b;
	uint32_t mask, n;
};

void flow_init(struct flow_table *t, uint32_t n_max);
void flow_fini(struct flow_table *t);
void flow_put(struct flow_table *t, uint32_t hash, uint32_t index);
void flow_del(struct flow_table *t, uint32_t hash, uint32_t index);
/* Next index with this hash; *it = 0 at first. UINT32_MAX at the end. The caller compares the tuple. */
uint32_t flow_find(const struct flow_table *t, uint32_t hash, uint32_t *it);
static inline void flow_prefetch(const struct flow_table *t, uint32_t hash)
{
	__builtin_prefetch(&t->b[hash & t->mask]);
}

/* TIME-WAIT: all of a closed connection that RFC 9293 still needs, in one cache line. */
struct tcp_tw {
	struct ip_addr local, remote;
	uint16_t lport, rport;
	uint32_t rcv_nxt, snd_nxt;
	uint32_t ts_recent;
	uint32_t ts_off;
	uint32_t due_ms;
	uint32_t prev, next; /* oldest first; index + 1 */
};
static_assert(sizeof(struct tcp_tw) == 64, "one cache line");

/* A connection that a SYN asked for, until its last ACK comes: two cache lines (tcp_syn.c). */
struct tcp_syn {
	struct ip_addr local, remote;
	uint16_t lport, rport;
	uint32_t hash;
	uint32_t irs, iss;
	uint32_t ts_recent;
	uint32_t due_ms;
	uint32_t sent_us;    /* first SYN-ACK, low 32 bits */
	uint32_t prev, next; /* of those that were sent `retries` times again; index + 1 */
	uint32_t challenge_ms;
	uint16_t peer_mss, wnd;
	uint16_t net;	     /* slot of its network's budget */
	uint8_t offers;	     /* enum tcp_offer */
	uint8_t wscale, retries, challenges;
};
static_assert(sizeof(struct tcp_syn) <= 128, "two cache lines");

/* What a SYN offers and we agree to. */
enum tcp_offer { TCP_OFFER_TS = 1, TCP_OFFER_SACK = 2, TCP_OFFER_WSCALE = 4, TCP_OFFER_ECN = 8 };

#define TCP_SYN_TRIES 16   /* most values of syn_retries, plus one */
#define TCP_SYN_NETS  4096 /* budgets; a network has the one that its keyed hash names */

/* All that networks with this hash asked for lately. */
struct tcp_syn_net {
	uint32_t filled_ms, tokens; /* SYNs that are still answered past the mark */
	uint32_t n;		    /* half-open connections */
};

struct tcp_syn_queue {
	uint32_t first, last; /* index + 1 */
};

struct tcp_listener {
	struct ip_addr addr;
	uint16_t port;
	uint64_t tag;
};
#define TCP_LISTEN_MAX 256

struct tcp_core {
	struct tcp_conf conf;
	struct net_core *net;
	struct pkt_pool *pool;
	struct stat *stat;
	struct trace *trace;
	struct rnd *rnd;
	const struct tcp_cc_ops *cc;
	unsigned worker;
	uint8_t pool_low; /* enum tcp_pool */
	uint64_t pool_checked_us;
	uint64_t resets_from_us; /* the 100 ms in which `resets` were sent */
	uint32_t resets;
	uint64_t now_us;
	struct list out, ready;
	uint32_t n_conn, n_half_open, n_listen;
	struct wheel wheel;
	struct pool conns, chunks, boards, reasms, ooos, tws, syns;
	struct flow_table flows, tw_flows, syn_flows;
	struct tcp_syn_queue syn_queue[TCP_SYN_TRIES]; /* by retries; in each the oldest first */
	struct tcp_syn_net *syn_nets;
	uint64_t cookie_until_us; /* no cookie that was sent is good any more; 0 = none was */
	uint32_t tw_oldest, tw_newest, n_tw; /* index + 1 */
	uint64_t hash_key[4];
	uint8_t isn_key[16];
	/* small payload that finds its connection's queue empty is copied here, all connections together */
	struct pkt *copy_pkt;
	uint8_t *copy_at, *copy_end;
	struct tcp_listener listen[TCP_LISTEN_MAX];
};

/* How short packets are: LOW (an eighth left): windows stop growing, nothing is kept out of order. DIRE (a 32nd):
 * who has unread data gets no more; what was promised before could otherwise take the packets that everybody
 * needs to get rid of theirs. */
enum tcp_pool { TCP_POOL_FINE, TCP_POOL_LOW, TCP_POOL_DIRE };

/* A parsed segment. */
struct tcp_seg {
	struct net_seg *ns;
	uint32_t seq, ack, len, wnd; /* len: payload; wnd: as in the header */
	uint8_t flags;
	uint8_t *data;
	uint32_t hash;
	struct tcp_opts opt;
};

/* rcv_nxt or snd_una moves on by len from at; from: irs or iss. */
static inline void tcp_count_wrap(uint16_t *wraps, uint32_t at, uint32_t from, uint32_t len)
{
	*wraps = (uint16_t)(*wraps + (at - from + len < len));
}

/* Sequence numbers it takes. */
static inline uint32_t tcp_seg_len(const struct tcp_seg *s)
{
	return s->len + !!(s->flags & TH_SYN) + !!(s->flags & TH_FIN);
}

static inline uint32_t now_ms32(const struct tcp_core *t)
{
	return (uint32_t)(t->now_us / 1000);
}

static inline bool tcp_synchronized(const struct tcp_conn *c)
{
	return c->state >= TCP_ESTABLISHED;
}

/* May data still be sent (or queued before the handshake is done)? */
static inline bool tcp_can_send(const struct tcp_conn *c)
{
	return ((1u << c->state) & (1u << TCP_SYN_SENT | 1u << TCP_SYN_RECEIVED | 1u << TCP_ESTABLISHED |
				    1u << TCP_CLOSE_WAIT)) != 0 &&
	       !(c->flags & TF_FIN_WANTED);
}

/* tcp_table.c */
uint32_t tcp_hash(const struct tcp_core *t, const struct ip_addr *local, const struct ip_addr *remote,
		  uint16_t lport, uint16_t rport);
struct tcp_conn *tcp_find(struct tcp_core *t, uint32_t hash, const struct ip_addr *local,
			  const struct ip_addr *remote, uint16_t lport, uint16_t rport);
void tcp_table_add(struct tcp_conn *c);
void tcp_table_remove(struct tcp_conn *c);
struct tcp_tw *tcp_tw_find(struct tcp_core *t, uint32_t hash, const struct ip_addr *local,
			   const struct ip_addr *remote, uint16_t lport, uint16_t rport);
void tcp_tw_add(struct tcp_conn *c);
void tcp_tw_restart(struct tcp_core *t, struct tcp_tw *w);
void tcp_tw_remove(struct tcp_core *t, struct tcp_tw *w);
void tcp_tw_expire(struct tcp_core *t);
uint64_t tcp_tw_next_us(const struct tcp_core *t);

/* tcp_core.c */
struct tcp_conn *tcp_conn_new(struct tcp_core *t);
void tcp_enter(struct tcp_conn *c, enum tcp_state state);
void tcp_event(struct tcp_conn *c, uint32_t events);
/* Ends the connection: out of the table, queues to send dropped, TCP_EV_CLOSED; freed when nobody holds it. */
void tcp_finish(struct tcp_conn *c, enum err why);
void tcp_time_wait(struct tcp_conn *c);
void tcp_conn_free(struct tcp_conn *c);
void tcp_want_output(struct tcp_conn *c);

/* tcp_open.c */
const struct tcp_listener *tcp_listener_find(struct tcp_core *t, const struct ip_addr *addr, uint16_t port);
void tcp_syn_options(struct tcp_conn *c, const struct tcp_seg *s);
uint32_t tcp_isn(struct tcp_core *t, const struct ip_addr *local, const struct ip_addr *remote, uint16_t lport,
		 uint16_t rport);
/* What is added to milliseconds in timestamps to this peer. */
uint32_t tcp_ts_offset(struct tcp_core *t, const struct ip_addr *local, const struct ip_addr *remote);
void tcp_set_mss(struct tcp_conn *c);
/* The MSS that a SYN to or from a peer behind this path MTU offers. */
uint16_t tcp_mss_offer(const struct tcp_core *t, uint32_t mtu, bool ip4);
/* What is known of a peer whose SYN was answered. */
struct tcp_agreed {
	uint32_t irs, iss, ts_recent;
	uint16_t mss, wnd;
	uint8_t offers, wscale; /* enum tcp_offer */
	uint8_t retries;	/* SYN-ACKs sent again */
	bool timed;		/* sent_us is when the only SYN-ACK went, low 32 bits */
	uint32_t sent_us;
};
/* The connection for the ACK in s that ends a handshake, in SYN-RECEIVED. NULL: none to be had. */
struct tcp_conn *tcp_open_passive(struct tcp_core *t, const struct tcp_seg *s, const struct tcp_agreed *a);

/* tcp_syn.c */
/* A SYN for which there is neither connection nor record. isn_min: 0, or the ISN must be beyond it (a connection
 * that replaces one in TIME-WAIT). False: it was not taken. */
bool tcp_syn_arrives(struct tcp_core *t, struct tcp_seg *s, uint32_t isn_min);
struct tcp_syn *tcp_syn_find(struct tcp_core *t, const struct tcp_seg *s);
/* A segment for a half-open connection. The connection that it completes, to go on with, or NULL. */
struct tcp_conn *tcp_syn_segment(struct tcp_core *t, struct tcp_syn *r, const struct tcp_seg *s);
void tcp_syn_timers(struct tcp_core *t);
uint64_t tcp_syn_next_us(const struct tcp_core *t);

/* tcp_cookie.c */
/* What of the offers the cookie can carry: rounds mss and wscale down. Returns the ISN; *tsval: the timestamp to
 * send with it, when timestamps are offered. */
uint32_t tcp_cookie_make(struct tcp_core *t, const struct tcp_seg *s, struct tcp_agreed *a, uint32_t *tsval);
/* Is s the ACK (perhaps with data) of a cookie sent not long ago? Fills a. */
bool tcp_cookie_check(struct tcp_core *t, const struct tcp_seg *s, struct tcp_agreed *a);
static inline bool tcp_cookie_live(const struct tcp_core *t)
{
	return t->now_us < t->cookie_until_us;
}

/* tcp_ecn.c: RFC 3168 */
/* What the peer's SYN or SYN-ACK leaves of it. */
void tcp_ecn_syn(struct tcp_conn *c, const struct tcp_seg *s);
/* Header flags of our SYN or SYN-ACK. */
uint8_t tcp_ecn_syn_flags(const struct tcp_conn *c);
/* Marks the packet to come (dst.tos) and returns header flags for it. */
uint8_t tcp_ecn_mark(struct tcp_conn *c, uint32_t seq, uint32_t len, uint8_t flags);
/* An acceptable segment with text came. */
void tcp_ecn_data(struct tcp_conn *c, const struct tcp_seg *s);
/* An acceptable ACK came. */
void tcp_ecn_ack(struct tcp_conn *c, const struct tcp_seg *s);
/* cwnd was reduced: the peer must hear of it. */
static inline void tcp_ecn_reduced(struct tcp_conn *c)
{
	if (c->flags & TF_ECN)
		c->flags |= TF_CWR;
}

/* tcp_ack.c */
/* False: the connection is gone, or the segment's processing ends here. */
bool tcp_segment_ack(struct tcp_conn *c, struct tcp_seg *s);

/* tcp_reasm.c */
/* The in-order payload of s from data on goes to the user. Takes or drops the reference to pkt. */
bool tcp_receive(struct tcp_conn *c, struct pkt *pkt, uint8_t *data, uint32_t len);
void tcp_reasm_add(struct tcp_conn *c, struct pkt *pkt, uint32_t seq, uint8_t *data, uint32_t len);
/* Moves what has become in order to the receive queue. */
void tcp_reasm_pull(struct tcp_conn *c);
void tcp_reasm_drop(struct tcp_conn *c);
/* The next ACK tells that [start, end) came twice (RFC 2883). */
void tcp_tell_duplicate(struct tcp_conn *c, uint32_t start, uint32_t end);
unsigned tcp_reasm_blocks(const struct tcp_conn *c, struct tcp_range *out, unsigned max);

/* tcp_output.c */
void tcp_output(struct tcp_conn *c);
/* One segment: len bytes at seq, flags. False: no packet. */
bool tcp_xmit(struct tcp_conn *c, uint32_t seq, uint32_t len, uint8_t flags);
bool tcp_send_syn(struct tcp_conn *c);
/* Sends one segment to provoke an answer: new data, else the last one again. */
void tcp_probe_tail(struct tcp_conn *c);
void tcp_send_reset(struct tcp_conn *c);
/* Fields of a TCP header. */
struct tcp_header {
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint8_t flags;
	uint32_t wnd; /* the field */
};
/* A segment without data that belongs to no connection. */
void tcp_answer(struct tcp_core *t, const struct ip_addr *local, const struct ip_addr *remote,
		const struct tcp_header *h, const struct tcp_opts *o);
/* RST or ACK that belongs to no connection, in answer to s. */
void tcp_answer_reset(struct tcp_core *t, const struct tcp_seg *s);
void tcp_answer_time_wait(struct tcp_core *t, const struct tcp_tw *w);
void tcp_challenge(struct tcp_conn *c);
uint32_t tcp_rcv_window(const struct tcp_conn *c);

/* tcp_board.c */
/* [from, to) is sent now, before snd_max moves. */
void tcp_board_sent(struct tcp_conn *c, uint32_t from, uint32_t to);
/* snd_una has moved from `una`. */
void tcp_board_advance(struct tcp_conn *c, uint32_t una, struct tcp_delivery *d);
/* Takes the SACK blocks. */
void tcp_board_update(struct tcp_conn *c, const struct tcp_seg *s, struct tcp_delivery *d);
/* Everything in [from, to) that is not SACKed counts as lost. */
void tcp_board_lose(struct tcp_conn *c, uint32_t from, uint32_t to);
void tcp_board_lose_run(struct tcp_board *b, uint32_t una, uint32_t i);
/* Nothing counts as lost. */
void tcp_board_keep(struct tcp_conn *c);
/* Nothing counts as SACKed: the peer may have thrown it away (RFC 2018 section 8). */
void tcp_board_forget(struct tcp_conn *c);
/* The scoreboard, made when there is none; NULL: the pool is out. */
struct tcp_board *tcp_board_get(struct tcp_conn *c);
void tcp_board_drop(struct tcp_conn *c);
/* Bytes that are thought to be in the network. */
uint32_t tcp_pipe(const struct tcp_conn *c);
/* The first run that counts as lost, at most max bytes; false when there is none. */
bool tcp_next_lost(const struct tcp_conn *c, uint32_t max, struct tcp_range *out);

/* tcp_rack.c: RFC 8985 */
/* A run has arrived. */
void tcp_rack_delivered(struct tcp_conn *c, const struct tcp_run *r, const struct tcp_delivery *d);
/* An ACK came, with or without news of a duplicate. */
void tcp_rack_ack(struct tcp_conn *c, bool dsack);
/* Marks what is lost by now and arms the reordering timer for what may be. True: something was marked; *again:
 * some of it was a retransmission. */
bool tcp_rack_detect(struct tcp_conn *c, bool *again);
/* At a timeout: the head, and what was sent a round trip ago. */
void tcp_rack_timeout(struct tcp_conn *c);
void tcp_rack_recovered(struct tcp_conn *c);
/* How long until a tail loss probe is due; 0: none now. */
uint32_t tcp_probe_wait(const struct tcp_conn *c);
/* An ACK came while a probe is out. duplicate: it moved nothing and had no SACK. */
void tcp_probe_answered(struct tcp_conn *c, bool dsack, bool duplicate);
/* Did acknowledgment s tell of a duplicate? */
bool tcp_is_dsack(const struct tcp_conn *c, const struct tcp_seg *s);

/* tcp_pace.c */
/* Bytes of new data that may leave now; UINT32_MAX: not paced. */
uint32_t tcp_pace_budget(struct tcp_conn *c);
void tcp_pace_sent(struct tcp_conn *c, uint32_t len);
/* The budget is used up and there is more: wakes the connection when there is a new one. */
void tcp_pace_wait(struct tcp_conn *c);

/* tcp_recover.c */
void tcp_rtt_sample(struct tcp_conn *c, uint32_t rtt_us);
/* An acknowledgment of data in flight: acked bytes, 0 for one that moved nothing; dup: it is a duplicate by RFC
 * 5681. d: what the scoreboard made of it. */
void tcp_ack_news(struct tcp_conn *c, const struct tcp_seg *s, uint32_t acked, bool dup,
		  struct tcp_delivery *d);
void tcp_enter_loss(struct tcp_conn *c);
void tcp_resend_all(struct tcp_conn *c);
/* The reordering timer has fired. */
void tcp_reorder_over(struct tcp_conn *c);
/* len bytes are sent (again: not for the first time) in recovery. */
void tcp_recovery_sent(struct tcp_conn *c, uint32_t len, bool again);

/* tcp_cc.c */
struct tcp_cc_ops {
	const char *name;
	void (*init)(struct tcp_conn *c);
	/* acked bytes were acknowledged outside of fast recovery; rtt_us: round trip seen by it, or 0 */
	void (*acked)(struct tcp_conn *c, uint32_t acked, uint32_t rtt_us, uint64_t now_us);
	/* A loss: the new ssthresh. flight: bytes outstanding. */
	uint32_t (*loss)(struct tcp_conn *c, uint32_t flight, uint64_t now_us);
};
extern const struct tcp_cc_ops tcp_cc_newreno, tcp_cc_cubic;
uint32_t tcp_initial_cwnd(const struct tcp_conn *c);

/* tcp_timer.c */
void tcp_arm(struct tcp_conn *c, enum tcp_deadline d, uint64_t due_us);
static inline void tcp_disarm(struct tcp_conn *c, enum tcp_deadline d)
{
	c->due[d] = 0; /* the wheel finds the node too early and puts it back or forgets it */
}
void tcp_arm_retx(struct tcp_conn *c);

#endif
