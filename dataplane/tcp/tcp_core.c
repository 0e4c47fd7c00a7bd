/*
 * tcp_core.c: life and death of the core and of connections, and the state machine's only door.
 *
 * Owns the pools. All of them are address space until used. A connection dies in two steps: it is
 * finished (out of the table, timers off, nothing more to send) when the protocol is done with it,
 * and freed when nobody holds the handle either. Invariant: after tcp_finish the pointer may be
 * dead.
 */
#include <stdlib.h>
#include <string.h>
#include "tcp_int.h"

struct tcp_conf tcp_conf_default(void)
{
	return (struct tcp_conf){
		.conns_max = 65536,
		.timewait_max = 262144,
		.wscale = 8,
		.timestamps = true,
		.sack = true,
		.ecn = TCP_ECN_ACCEPT,
		.pacing = true,
		.rcv_buf = 256 * 1024,
		.snd_buf = 256 * 1024,
		.ooo_max = 256,
		.initcwnd_segs = 10,
		.rto_init_us = 1000000,
		.rto_min_us = 200000,
		.rto_max_us = 60000000,
		.delack_us = 40000,
		.quickack_segs = 16,
		.syn_retries = 5,
		.data_retries = 12,
		.keepalive_us = 7200000000u,
		.timewait_us = 60000000,
		.syn_backlog = 4096,
		.syn_cookies = true,
		.syn_net_rate = 1000,
	};
}

static uint32_t clamp(uint64_t v, uint32_t lo, uint32_t hi)
{
	return v < lo ? lo : v > hi ? hi : (uint32_t)v;
}

struct tcp_core *tcp_create(const struct tcp_conf *c, struct net_core *net, struct pkt_pool *pool,
			    struct stat *stat, struct trace *trace, struct rnd *rnd,
			    unsigned worker)
{
	struct tcp_core *t = calloc(1, sizeof(*t));

	CHECK(t != NULL);
	t->conf = *c;
	t->conf.conns_max = clamp(c->conns_max, 1, 1u << 24);
	t->conf.timewait_max = clamp(c->timewait_max, 1, 1u << 24);
	t->conf.wscale = (uint8_t)clamp(c->wscale, 0, TCP_WSCALE_MAX);
	t->conf.rcv_buf = clamp(c->rcv_buf, 1024, 1u << 30);
	t->conf.snd_buf = clamp(c->snd_buf, 1024, 1u << 30);
	t->conf.initcwnd_segs = clamp(c->initcwnd_segs, 1, 1000);
	t->conf.syn_backlog = clamp(c->syn_backlog, 1, 1u << 20);
	t->conf.syn_retries = clamp(c->syn_retries, 0, TCP_SYN_TRIES - 1);
	t->net = net;
	t->pool = pool;
	t->stat = stat;
	t->trace = trace;
	t->rnd = rnd;
	t->worker = worker;
	t->cc = c->cc == TCP_CC_NEWRENO ? &tcp_cc_newreno : &tcp_cc_cubic;
	list_init(&t->out);
	list_init(&t->ready);
	wheel_init(&t->wheel, 0);
	pool_init(&t->conns, t->conf.conns_max, sizeof(struct tcp_conn));
	pool_init(&t->chunks, clamp((uint64_t)t->conf.conns_max * 16, 4096, 1u << 26),
		  sizeof(struct tcpq_chunk));
	pool_init(&t->boards, clamp(t->conf.conns_max / 4, 64, 65536), sizeof(struct tcp_board));
	pool_init(&t->reasms, clamp(t->conf.conns_max / 4, 64, 65536), sizeof(struct tcp_reasm));
	pool_init(&t->ooos, clamp(pkt_pool_size(pool) / 2, 256, 1u << 20), sizeof(struct tcp_ooo));
	pool_init(&t->tws, t->conf.timewait_max, sizeof(struct tcp_tw));
	flow_init(&t->flows, t->conf.conns_max);
	flow_init(&t->tw_flows, t->conf.timewait_max);
	pool_init(&t->syns, t->conf.syn_backlog, sizeof(struct tcp_syn));
	flow_init(&t->syn_flows, t->conf.syn_backlog);
	t->syn_nets = calloc(TCP_SYN_NETS, sizeof(*t->syn_nets));
	CHECK(t->syn_nets != NULL);
	for (unsigned i = 0; i < ARRAY_LEN(t->hash_key); i++)
		t->hash_key[i] = rnd_u64(rnd) | 1;
	for (unsigned i = 0; i < 2; i++) {
		uint64_t k = rnd_u64(rnd);
		memcpy(t->isn_key + 8 * i, &k, 8);
	}
	return t;
}

void tcp_destroy(struct tcp_core **tp)
{
	struct tcp_core *t = *tp;

	if (!t)
		return;
	for (uint32_t i = 0; i < t->conns.high; i++) {
		if (!(t->conns.gen[i] & 1)) /* free (pool.h) */
			continue;
		struct tcp_conn *c = (struct tcp_conn *)(void *)(t->conns.mem + i * t->conns.size);
		c->flags &= ~(uint32_t)TF_USER;
		if (c->state == TCP_CLOSED || c->state == TCP_TIME_WAIT)
			tcp_conn_free(c);
		else
			tcp_finish(c, ERR_SHUTDOWN);
	}
	if (t->copy_pkt)
		pkt_free(t->copy_pkt);
	flow_fini(&t->flows);
	flow_fini(&t->tw_flows);
	flow_fini(&t->syn_flows);
	free(t->syn_nets);
	pool_fini(&t->syns);
	pool_fini(&t->conns);
	pool_fini(&t->chunks);
	pool_fini(&t->boards);
	pool_fini(&t->reasms);
	pool_fini(&t->ooos);
	pool_fini(&t->tws);
	free(t);
	*tp = NULL;
}

/* RFC 9293 figure 5: to which states each leads. */
static const uint16_t next_states[] = {
	[TCP_CLOSED] = 1u << TCP_SYN_SENT | 1u << TCP_SYN_RECEIVED,
	[TCP_SYN_SENT] = 1u << TCP_SYN_RECEIVED | 1u << TCP_ESTABLISHED | 1u << TCP_CLOSED,
	[TCP_SYN_RECEIVED] = 1u << TCP_ESTABLISHED | 1u << TCP_CLOSED,
	[TCP_ESTABLISHED] = 1u << TCP_FIN_WAIT_1 | 1u << TCP_CLOSE_WAIT | 1u << TCP_CLOSED,
	[TCP_FIN_WAIT_1] =
		1u << TCP_FIN_WAIT_2 | 1u << TCP_CLOSING | 1u << TCP_TIME_WAIT | 1u << TCP_CLOSED,
	[TCP_FIN_WAIT_2] = 1u << TCP_TIME_WAIT | 1u << TCP_CLOSED,
	[TCP_CLOSE_WAIT] = 1u << TCP_LAST_ACK | 1u << TCP_CLOSED,
	[TCP_CLOSING] = 1u << TCP_TIME_WAIT | 1u << TCP_CLOSED,
	[TCP_LAST_ACK] = 1u << TCP_CLOSED,
	[TCP_TIME_WAIT] = 1u << TCP_CLOSED,
};

void tcp_enter(struct tcp_conn *c, enum tcp_state state)
{
	struct tcp_core *t = c->core;

	CHECK(next_states[c->state] >> state & 1);
	trace_put(t->trace, t->now_us, TRACE_tcp_state, pool_index(&t->conns, c) + 1, c->state,
		  state);
	c->state = (uint8_t)state;
}

struct tcp_conn *tcp_conn_new(struct tcp_core *t)
{
	struct tcp_conn *c = pool_take(&t->conns);

	if (!c)
		return NULL;
	memset(c, 0, sizeof(*c));
	c->core = t;
	list_init(&c->out_node);
	list_init(&c->ready_node);
	timer_init(&c->timer);
	c->rto_us = t->conf.rto_init_us;
	c->ssthresh = UINT32_MAX;
	c->quickack = (uint8_t)min32(t->conf.quickack_segs, UINT8_MAX);
	c->heard_ms = c->opened_ms = now_ms32(t);
	c->rcv_mss = TCP_MSS_DEF4;
	t->n_conn++;
	return c;
}

/* All that the protocol holds; what the user may still read stays. */
static void let_go(struct tcp_conn *c)
{
	struct tcp_core *t = c->core;

	tcp_table_remove(c);
	timer_stop(&t->wheel, &c->timer);
	memset(c->due, 0, sizeof(c->due));
	list_del(&c->out_node);
	tcpq_drop(&c->txq, &t->chunks, c->txq.len);
	tcp_reasm_drop(c);
	tcp_board_drop(c);
}

void tcp_conn_free(struct tcp_conn *c)
{
	struct tcp_core *t = c->core;

	let_go(c);
	list_del(&c->ready_node);
	tcpq_drop(&c->rxq, &t->chunks, c->rxq.len);
	if (c->rx_copy)
		pkt_free(c->rx_copy);
	pool_give(&t->conns, c);
	t->n_conn--;
}

static void gone(struct tcp_conn *c)
{
	if (!(c->flags & TF_USER)) {
		tcp_conn_free(c);
		return;
	}
	if (!(c->flags & TF_WAS_CLOSED)) {
		c->flags |= TF_WAS_CLOSED;
		tcp_event(c, TCP_EV_CLOSED);
	}
}

void tcp_finish(struct tcp_conn *c, enum err why)
{
	let_go(c);
	if (c->err == ERR_OK)
		c->err = (uint8_t)why;
	stat_inc(c->core->stat, STAT_tcp_closed);
	tcp_enter(c, TCP_CLOSED);
	gone(c);
}

void tcp_time_wait(struct tcp_conn *c)
{
	/* The ACK of the peer's FIN cannot wait for the flush: there is no connection then. If it
	 * fails, the FIN comes again and the TIME-WAIT entry answers. */
	if (c->flags & TF_ACK_NOW)
		tcp_xmit(c, c->snd_nxt, 0, TH_ACK);
	tcp_tw_add(c);
	let_go(c);
	stat_inc(c->core->stat, STAT_tcp_closed);
	tcp_enter(c, TCP_TIME_WAIT);
	gone(c);
}

void tcp_event(struct tcp_conn *c, uint32_t events)
{
	if (!(c->flags & TF_USER))
		return;
	c->events |= (uint8_t)events;
	if (list_empty(&c->ready_node))
		list_push(&c->core->ready, &c->ready_node);
}

void tcp_want_output(struct tcp_conn *c)
{
	if (list_empty(&c->out_node))
		list_push(&c->core->out, &c->out_node);
}
