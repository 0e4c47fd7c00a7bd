/*
 * tcp_info.c: being seen: everything that operators and tests may know of a connection, and the counts of the
 * core. Reads only; changes nothing.
 */
#include "tcp_int.h"

const char *tcp_state_name(enum tcp_state state)
{
	static const char *const names[] = {
		[TCP_CLOSED] = "CLOSED",
		[TCP_SYN_SENT] = "SYN-SENT",
		[TCP_SYN_RECEIVED] = "SYN-RECEIVED",
		[TCP_ESTABLISHED] = "ESTABLISHED",
		[TCP_FIN_WAIT_1] = "FIN-WAIT-1",
		[TCP_FIN_WAIT_2] = "FIN-WAIT-2",
		[TCP_CLOSE_WAIT] = "CLOSE-WAIT",
		[TCP_CLOSING] = "CLOSING",
		[TCP_LAST_ACK] = "LAST-ACK",
		[TCP_TIME_WAIT] = "TIME-WAIT",
	};

	CHECK(state < ARRAY_LEN(names));
	return names[state];
}

const char *tcp_recovery_name(enum tcp_recovery recovery)
{
	static const char *const names[] = {
		[TCP_REC_OPEN] = "open",
		[TCP_REC_FAST] = "fast",
		[TCP_REC_LOSS] = "loss",
	};

	CHECK(recovery < ARRAY_LEN(names));
	return names[recovery];
}

uint32_t tcp_conn_id(const struct tcp_conn *c)
{
	return pool_index(&c->core->conns, c) + 1;
}

void tcp_conn_info(const struct tcp_conn *c, struct tcp_conn_info *out)
{
	bool open = tcp_synchronized(c);
	const struct tcp_core *t = c->core;
	uint32_t now_ms = now_ms32(t);
	uint32_t idle_ms = min32(now_ms - c->heard_ms, c->last_send_ms ? now_ms - c->last_send_ms : UINT32_MAX);
	uint64_t in = (uint64_t)c->in_wraps << 32 | (uint32_t)(c->rcv_nxt - c->irs);
	uint64_t acked = (uint64_t)c->out_wraps << 32 | (uint32_t)(c->snd_una - c->iss);
	uint32_t sent = open ? min32(c->snd_nxt - c->snd_una, c->txq.len) : 0;

	/* The SYN and the FIN took a sequence number each. */
	in -= in > 0;
	in -= in > 0 && (c->flags & TF_PEER_FIN) && seq_gt(c->rcv_nxt, c->peer_fin);
	acked -= acked > 0;
	acked -= acked > 0 && (c->flags & TF_FIN_SENT) && seq_gt(c->snd_una, c->fin_seq);
	*out = (struct tcp_conn_info){
		.id = tcp_conn_id(c),
		.state = (enum tcp_state)c->state,
		.recovery = (enum tcp_recovery)c->recovery,
		.error = (enum err)c->err,
		.active = (c->flags & TF_ACTIVE) != 0,
		.sack = (c->flags & TF_SACK) != 0,
		.timestamps = (c->flags & TF_TS) != 0,
		.wscale = (c->flags & TF_WSCALE) != 0,
		.ecn = open && (c->flags & TF_ECN) != 0,
		.probing_window = (c->flags & TF_PERSIST) != 0,
		.snd_wscale = c->snd_wscale,
		.rcv_wscale = c->rcv_wscale,
		.cc = t->cc->name,
		.srtt_us = c->srtt_us,
		.rttvar_us = c->rttvar_us,
		.rttmin_us = c->rttmin_us,
		.rto_us = c->rto_us,
		.cwnd = c->cwnd,
		.ssthresh = c->ssthresh,
		.mss = c->mss,
		.mss_peer = c->peer_mss,
		.mss_own = c->syn_mss,
		.pmtu = c->dst.mtu,
		.snd_una = c->snd_una,
		.snd_nxt = c->snd_nxt,
		.rcv_nxt = c->rcv_nxt,
		.iss = c->iss,
		.irs = c->irs,
		.snd_wnd = c->snd_wnd,
		.rcv_wnd = seq_gt(c->rcv_adv, c->rcv_nxt) ? c->rcv_adv - c->rcv_nxt : 0,
		.unacked = sent,
		.unsent = c->txq.len - sent,
		.pipe = open ? tcp_pipe(c) : 0,
		.sacked = c->board ? c->board->sacked : 0,
		.lost_bytes = c->board ? c->board->lost : 0,
		.reordering = (c->flags & TF_REORDER) != 0,
		.reo_mult = c->reo_mult + 1u,
		.readable = c->rxq.len,
		.ooo = c->reasm ? c->reasm->n : 0,
		.ooo_bytes = c->reasm ? c->reasm->bytes : 0,
		.retransmits = c->retransmits,
		.lost = c->lost,
		.dup_acks = c->dupacks,
		.retries = c->retries,
		.reordered = c->reordered,
		.age_us = (uint64_t)(now_ms - c->opened_ms) * 1000,
		.idle_us = (uint64_t)idle_ms * 1000,
		.zero_window_us = ((uint64_t)c->zero_ms + (c->flags & TF_PERSIST ? now_ms - c->zero_at_ms : 0)) * 1000,
		.bytes_in = in,
		.bytes_out = acked,
		.retx_due_us = c->due[TCP_T_RETX],
		.delack_due_us = c->due[TCP_T_DELACK],
		.keep_due_us = c->due[TCP_T_KEEP],
	};
}

uint32_t tcp_walk(struct tcp_core *t, uint32_t from, uint32_t n, void (*fn)(void *arg, const struct tcp_conn *c),
		  void *arg)
{
	uint32_t end = t->conns.high - min32(from, t->conns.high) > n ? from + n : t->conns.high;

	for (uint32_t i = from; i < end; i++)
		if (t->conns.gen[i] & 1) /* in use (pool.h) */
			fn(arg, (const struct tcp_conn *)(const void *)(t->conns.mem + i * t->conns.size));
	return end < t->conns.high ? end : UINT32_MAX;
}

void tcp_counts(const struct tcp_core *t, struct tcp_counts *out)
{
	*out = (struct tcp_counts){
		.conns = t->n_conn,
		.half_open = t->n_half_open,
		.time_wait = t->n_tw,
		.conn_bytes = sizeof(struct tcp_conn),
	};
}
