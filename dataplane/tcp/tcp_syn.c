/*
 * tcp_syn.c: half-open connections as small records (RFC 4987 3.3, 3.4), from the SYN to its last
 * ACK. Hot path in a flood.
 *
 * At most syn_backlog of them. Past three quarters SYNs are answered with cookies and leave nothing
 * behind; without cookies the oldest gives way once it has had a second. Past half of the mark no
 * network (a /24, a /56) may hold more than an eighth of the backlog, and past the mark each is
 * answered syn_net_rate times a second: who floods from his own network spends his own budget.
 * Invariants: 1. a record is in syn_flows and in the queue of its retries; 2. in a queue the next
 * to be due is first, because all wait equally long; 3. a network's n counts its records.
 */
#include <string.h>
#include "tcp_int.h"
#include "hot.h"

#define RECYCLE_MS   1000
#define NET_SHARE    8 /* the part of the backlog that one network may hold in a flood */
#define PREFIX4_BITS 24
#define PREFIX6_BITS 56

static struct tcp_syn *record_at(const struct tcp_core *t, uint32_t index)
{
	return (struct tcp_syn *)(void *)(t->syns.mem + index * t->syns.size);
}

/* ---- queues ---- */

static void unlink_record(struct tcp_core *t, struct tcp_syn *r)
{
	struct tcp_syn_queue *q = &t->syn_queue[r->retries];

	if (r->prev)
		record_at(t, r->prev - 1)->next = r->next;
	else
		q->first = r->next;
	if (r->next)
		record_at(t, r->next - 1)->prev = r->prev;
	else
		q->last = r->prev;
}

static void link_record(struct tcp_core *t, struct tcp_syn *r)
{
	struct tcp_syn_queue *q = &t->syn_queue[r->retries];
	uint32_t id = pool_index(&t->syns, r) + 1;
	uint64_t rto_us = (uint64_t)t->conf.rto_init_us << r->retries;

	if (rto_us > t->conf.rto_max_us)
		rto_us = t->conf.rto_max_us;
	r->due_ms = now_ms32(t) + (uint32_t)(rto_us / 1000);
	r->next = 0;
	r->prev = q->last;
	if (r->prev)
		record_at(t, r->prev - 1)->next = id;
	else
		q->first = id;
	q->last = id;
}

static void record_drop(struct tcp_core *t, struct tcp_syn *r)
{
	unlink_record(t, r);
	flow_del(&t->syn_flows, r->hash, pool_index(&t->syns, r));
	t->syn_nets[r->net].n--;
	t->n_half_open--;
	pool_give(&t->syns, r);
}

/* ---- budgets ---- */

/* Which budget the network of a has. */
static uint16_t net_slot(const struct tcp_core *t, const struct ip_addr *a)
{
	struct ip_addr prefix = *a;

	if (ip_is4(a))
		memset(prefix.b + 12 + PREFIX4_BITS / 8, 0, 4 - PREFIX4_BITS / 8);
	else
		memset(prefix.b + PREFIX6_BITS / 8, 0, 16 - PREFIX6_BITS / 8);
	return (uint16_t)(siphash(t->isn_key, &prefix, sizeof(prefix)) % TCP_SYN_NETS);
}

/* Past the mark: may this network have one more answer? */
static bool net_may(struct tcp_core *t, uint16_t slot)
{
	struct tcp_syn_net *b = &t->syn_nets[slot];
	uint32_t rate = t->conf.syn_net_rate, now = now_ms32(t);

	if (!rate)
		return true;
	uint64_t gained = (uint64_t)(now - b->filled_ms) * rate / 1000;
	if (gained) {
		b->tokens = gained + b->tokens > rate ? rate : b->tokens + (uint32_t)gained;
		b->filled_ms = now;
	}
	if (!b->tokens)
		return false;
	b->tokens--;
	return true;
}

static uint32_t cookie_mark(const struct tcp_core *t)
{
	return t->conf.syn_backlog - t->conf.syn_backlog / 4;
}

/* The oldest gives way. */
static bool recycle(struct tcp_core *t)
{
	for (unsigned k = TCP_SYN_TRIES; k-- > 0;) {
		if (!t->syn_queue[k].first)
			continue;
		struct tcp_syn *oldest = record_at(t, t->syn_queue[k].first - 1);
		if ((uint32_t)t->now_us - oldest->sent_us < RECYCLE_MS * 1000u)
			return false;
		stat_inc(t->stat, STAT_tcp_syn_recycled);
		record_drop(t, oldest);
		return true;
	}
	return false;
}

enum room { ROOM, ROOM_COOKIE, ROOM_NONE };

static enum room room_for(struct tcp_core *t, uint16_t slot)
{
	uint32_t mark = cookie_mark(t), n = t->n_half_open;
	bool greedy =
		n >= mark / 2 && t->syn_nets[slot].n >= max32(t->conf.syn_backlog / NET_SHARE, 1);

	if (n >= mark && !net_may(t, slot)) {
		stat_inc(t->stat, STAT_tcp_syn_net_drop);
		return ROOM_NONE;
	}
	if (t->conf.syn_cookies)
		return n >= mark || greedy ? ROOM_COOKIE : ROOM;
	if (greedy || (n >= t->conf.syn_backlog && !recycle(t))) {
		stat_inc(t->stat, greedy ? STAT_tcp_syn_net_drop : STAT_tcp_syn_drop);
		return ROOM_NONE;
	}
	return ROOM;
}

/* ---- answers ---- */

/* RFC 9293 3.10.7.2, third: <SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK> */
static void send_syn_ack(struct tcp_core *t, const struct tcp_syn *r, uint32_t tsval)
{
	struct net_dst d;

	if (net_route(t->net, &r->local, &r->remote, &d) != ERR_OK)
		return;
	struct tcp_opts o = {
		.has_mss = true,
		.mss = tcp_mss_offer(t, d.mtu, ip_is4(&r->remote)),
		.sack_ok = (r->offers & TCP_OFFER_SACK) != 0,
		.has_ts = (r->offers & TCP_OFFER_TS) != 0,
		.tsval = tsval,
		.tsecr = r->ts_recent,
		.has_wscale = (r->offers & TCP_OFFER_WSCALE) != 0,
		.wscale = t->conf.wscale,
	};
	struct tcp_header h = {
		.sport = r->lport,
		.dport = r->rport,
		.seq = r->iss,
		.ack = r->irs + 1,
		.flags = TH_SYN | TH_ACK | (r->offers & TCP_OFFER_ECN ? TH_ECE : 0),
		.wnd = min32(t->conf.rcv_buf, UINT16_MAX),
	};
	tcp_answer(t, &r->local, &r->remote, &h, &o);
}

static uint32_t ts_now(struct tcp_core *t, const struct tcp_syn *r)
{
	return now_ms32(t) + tcp_ts_offset(t, &r->local, &r->remote);
}

/* RFC 5961: says where we are, to whoever seems not to know; a few times in five seconds. */
static void challenge(struct tcp_core *t, struct tcp_syn *r)
{
	struct tcp_opts o = {.has_ts = (r->offers & TCP_OFFER_TS) != 0,
			     .tsval = ts_now(t, r),
			     .tsecr = r->ts_recent};
	struct tcp_header h = {
		.sport = r->lport,
		.dport = r->rport,
		.seq = r->iss + 1,
		.ack = r->irs + 1,
		.flags = TH_ACK,
		.wnd = min32(t->conf.rcv_buf, UINT16_MAX) >>
		       (r->offers & TCP_OFFER_WSCALE ? t->conf.wscale : 0),
	};

	if (now_ms32(t) - r->challenge_ms >= 5000) {
		r->challenge_ms = now_ms32(t);
		r->challenges = 0;
	}
	if (r->challenges >= TCP_CHALLENGES)
		return;
	r->challenges++;
	stat_inc(t->stat, STAT_tcp_challenge_ack);
	tcp_answer(t, &r->local, &r->remote, &h, &o);
}

/* ---- a SYN ---- */

/* RFC 3168 6.1.1; a SYN that comes again without it takes it back. */
static uint8_t offers_ecn(const struct tcp_core *t, const struct tcp_seg *s)
{
	bool both = (s->flags & (TH_ECE | TH_CWR)) == (TH_ECE | TH_CWR);

	return both && t->conf.ecn != TCP_ECN_OFF ? TCP_OFFER_ECN : 0;
}

static void read_offers(const struct tcp_core *t, const struct tcp_seg *s, struct tcp_syn *r)
{
	const struct tcp_opts *o = &s->opt;

	r->offers = (uint8_t)((o->has_ts && t->conf.timestamps ? TCP_OFFER_TS : 0) |
			      (o->sack_ok && t->conf.sack ? TCP_OFFER_SACK : 0) |
			      (o->has_wscale ? TCP_OFFER_WSCALE : 0) | offers_ecn(t, s));
	r->wscale = o->has_wscale ? o->wscale : 0;
	r->peer_mss = o->has_mss ? o->mss : ip_is4(&s->ns->src) ? TCP_MSS_DEF4 : TCP_MSS_DEF6;
	r->ts_recent = r->offers & TCP_OFFER_TS ? o->tsval : 0;
	r->wnd = (uint16_t)s->wnd;
}

static bool answer_with_cookie(struct tcp_core *t, const struct tcp_seg *s, struct tcp_syn *r)
{
	struct tcp_agreed a = {
		.irs = r->irs, .mss = r->peer_mss, .offers = r->offers, .wscale = r->wscale};
	uint32_t tsval = 0;

	r->iss = tcp_cookie_make(t, s, &a, &tsval);
	r->offers = a.offers;
	stat_inc(t->stat, STAT_tcp_cookie_sent);
	send_syn_ack(t, r, tsval);
	return true;
}

bool tcp_syn_arrives(struct tcp_core *t, struct tcp_seg *s, uint32_t isn_min)
{
	const struct net_seg *ns = s->ns;
	struct tcp_syn made = {
		.local = ns->dst,
		.remote = ns->src,
		.lport = (uint16_t)(ns->l4[2] << 8 | ns->l4[3]),
		.rport = (uint16_t)(ns->l4[0] << 8 | ns->l4[1]),
		.hash = s->hash,
		.irs = s->seq,
		.sent_us = (uint32_t)t->now_us,
		.net = net_slot(t, &ns->src),
	};

	if (!tcp_listener_find(t, &ns->dst, made.lport)) {
		stat_inc(t->stat, STAT_tcp_no_listener);
		tcp_answer_reset(t, s);
		return false;
	}
	if (s->flags & TH_FIN) {
		stat_inc(t->stat, STAT_tcp_bad_flags);
		return false;
	}
	if (t->n_conn >= t->conf.conns_max) {
		stat_inc(t->stat, STAT_tcp_syn_drop);
		return false;
	}
	read_offers(t, s, &made);
	enum room room = room_for(t, made.net);
	if (room == ROOM_NONE)
		return false;
	if (room == ROOM_COOKIE)
		return answer_with_cookie(t, s, &made);
	struct tcp_syn *r = pool_take(&t->syns);
	if (!r) {
		stat_inc(t->stat, STAT_tcp_syn_drop);
		return false;
	}
	*r = made;
	r->iss = tcp_isn(t, &r->local, &r->remote, r->lport, r->rport);
	if (isn_min && seq_lt(r->iss, isn_min))
		r->iss = isn_min;
	link_record(t, r);
	flow_put(&t->syn_flows, r->hash, pool_index(&t->syns, r));
	t->syn_nets[r->net].n++;
	t->n_half_open++;
	send_syn_ack(t, r, ts_now(t, r));
	return true;
}

/* ---- what comes behind it ---- */

struct tcp_syn *tcp_syn_find(struct tcp_core *t, const struct tcp_seg *s)
{
	const struct net_seg *ns = s->ns;
	uint16_t lport = (uint16_t)(ns->l4[2] << 8 | ns->l4[3]);
	uint16_t rport = (uint16_t)(ns->l4[0] << 8 | ns->l4[1]);
	uint32_t it = 0, i;

	while ((i = flow_find(&t->syn_flows, s->hash, &it)) != UINT32_MAX) {
		struct tcp_syn *r = record_at(t, i);
		if (r->lport == lport && r->rport == rport && ip_eq(&r->remote, &ns->src) &&
		    ip_eq(&r->local, &ns->dst))
			return r;
	}
	return NULL;
}

/* RFC 9293 3.10.7.4 first, for a window of which nothing is used yet. */
static bool in_window(const struct tcp_core *t, const struct tcp_syn *r, const struct tcp_seg *s)
{
	return s->seq - (r->irs + 1) < min32(t->conf.rcv_buf, UINT16_MAX);
}

static struct tcp_conn *complete(struct tcp_core *t, struct tcp_syn *r, const struct tcp_seg *s)
{
	struct tcp_agreed a = {
		.irs = r->irs,
		.iss = r->iss,
		.ts_recent = r->ts_recent,
		.mss = r->peer_mss,
		.wnd = r->wnd,
		.offers = r->offers,
		.wscale = r->wscale,
		.retries = r->retries,
		.timed = r->retries == 0,
		.sent_us = r->sent_us,
	};
	struct tcp_conn *c = tcp_open_passive(t, s, &a);

	/* Without a connection for it, the record stays: the peer asks again. */
	if (c)
		record_drop(t, r);
	return c;
}

/* RFC 9293 3.10.7.4 for SYN-RECEIVED after a passive open, in its order. */
struct tcp_conn *tcp_syn_segment(struct tcp_core *t, struct tcp_syn *r, const struct tcp_seg *s)
{
	if ((s->flags & (TH_SYN | TH_ACK | TH_RST)) == TH_SYN && s->seq == r->irs) {
		/* It did not get our answer. The ISN stays. */
		r->ts_recent =
			r->offers & TCP_OFFER_TS && s->opt.has_ts ? s->opt.tsval : r->ts_recent;
		r->offers = (uint8_t)((r->offers & ~TCP_OFFER_ECN) | offers_ecn(t, s));
		send_syn_ack(t, r, ts_now(t, r));
		return NULL;
	}
	if (s->flags & TH_RST) {
		if (s->seq == r->irs + 1) {
			stat_inc(t->stat, STAT_tcp_reset_in);
			record_drop(t, r);
		} else if (in_window(t, r, s)) {
			challenge(t, r);
		}
		return NULL;
	}
	if (s->flags & TH_SYN) {
		stat_inc(t->stat, STAT_tcp_bad_flags);
		challenge(t, r);
		return NULL;
	}
	if (!in_window(t, r, s)) {
		stat_inc(t->stat, STAT_tcp_bad_seq);
		challenge(t, r);
		return NULL;
	}
	if (!(s->flags & TH_ACK)) {
		stat_inc(t->stat, STAT_tcp_bad_flags);
		return NULL;
	}
	if (s->ack != r->iss + 1) {
		stat_inc(t->stat, STAT_tcp_bad_ack);
		tcp_answer_reset(t, s);
		return NULL;
	}
	if ((r->offers & TCP_OFFER_TS) && !s->opt.has_ts) {
		stat_inc(t->stat, STAT_tcp_no_timestamp);
		return NULL;
	}
	if ((r->offers & TCP_OFFER_TS) && seq_lt(s->opt.tsval, r->ts_recent)) {
		stat_inc(t->stat, STAT_tcp_paws);
		challenge(t, r);
		return NULL;
	}
	return complete(t, r, s);
}

/* ---- time ---- */

void tcp_syn_timers(struct tcp_core *t)
{
	/* The last queue first, so that none is looked at twice. */
	for (unsigned k = TCP_SYN_TRIES; k-- > 0;) {
		while (t->syn_queue[k].first) {
			struct tcp_syn *r = record_at(t, t->syn_queue[k].first - 1);
			if ((int32_t)(now_ms32(t) - r->due_ms) < 0)
				break;
			if (k >= t->conf.syn_retries) {
				stat_inc(t->stat, STAT_tcp_timeout);
				record_drop(t, r);
				continue;
			}
			unlink_record(t, r);
			r->retries++;
			link_record(t, r);
			stat_inc(t->stat, STAT_tcp_retransmit);
			send_syn_ack(t, r, ts_now(t, r));
		}
	}
}

uint64_t tcp_syn_next_us(const struct tcp_core *t)
{
	int32_t least = INT32_MAX;

	for (unsigned k = 0; k < TCP_SYN_TRIES; k++) {
		if (!t->syn_queue[k].first)
			continue;
		int32_t left =
			(int32_t)(record_at(t, t->syn_queue[k].first - 1)->due_ms - now_ms32(t));
		least = left < least ? left : least;
	}
	if (least == INT32_MAX)
		return UINT64_MAX;
	return least <= 0 ? t->now_us : (t->now_us / 1000 + (uint32_t)least) * 1000;
}
