/*
 * worker_see.c: connections and flight recorders as operators see them. The rings are read in place. The worker copies a bounded batch of rows a turn; choosing among
 * them is the control thread's work.
 */
#include "worker_int.h"

#include "clock.h"

#define CONN_BATCH 256 /* slots looked at in one turn: some ten microseconds */

struct batch {
	const struct worker *w;
	struct buf *out;
};

static void add_row(void *arg, const struct tcp_conn *c)
{
	const struct batch *b = arg;
	struct tcp_conn_info i;
	tcp_conn_info(c, &i);
	struct veredus_conn_row r = {
		.worker = b->w->id, .id = i.id, .state = tcp_state_name(i.state), .protocol = "",
		.recovery = tcp_recovery_name(i.recovery), .cc = i.cc, .error = i.error != ERR_OK ? err_name(i.error) : "",
		.active = i.active, .sack = i.sack, .timestamps = i.timestamps, .wscale = i.wscale, .ecn = i.ecn,
		.probing_window = i.probing_window, .age_us = i.age_us, .idle_us = i.idle_us, .srtt_us = i.srtt_us,
		.rttvar_us = i.rttvar_us, .rttmin_us = i.rttmin_us, .rto_us = i.rto_us,
		.zero_window_us = i.zero_window_us, .cwnd = i.cwnd, .ssthresh = i.ssthresh, .mss = i.mss, .pmtu = i.pmtu,
		.snd_wnd = i.snd_wnd, .rcv_wnd = i.rcv_wnd, .unacked = i.unacked, .unsent = i.unsent, .pipe = i.pipe,
		.sacked = i.sacked, .readable = i.readable, .ooo = i.ooo, .ooo_bytes = i.ooo_bytes,
		.retransmits = i.retransmits, .lost = i.lost, .reordered = i.reordered, .bytes_in = i.bytes_in,
		.bytes_out = i.bytes_out,
	};
	tcp_addrs(c, &r.local, &r.local_port, &r.peer, &r.peer_port);
	const struct link *l = tcp_user(c);
	if (l != NULL) {
		r.session = l->s.session_id;
		r.session_index = l->s.index;
		r.protocol = l->s.proto->name;
	}
	buf_add(b->out, &r, sizeof(r));
}

void worker_conn_batch(struct worker *w, struct worker_cmd *c)
{
	struct batch b = {w, &c->rows};
	c->from = tcp_walk(w->tcp, c->from, CONN_BATCH, add_row, &b);
}

/* ---- on the control thread ---- */

void veredus_conn_list(struct veredus *v, void (*fn)(void *arg, const struct veredus_conn_row *), void *arg)
{
	struct worker_cmd c = {.verb = WORKER_CONN_LIST};
	buf_init(&c.rows);
	for (unsigned i = 0; i < v->n_worker; i++) {
		for (c.from = 0; c.from != UINT32_MAX;) {
			c.rows.len = 0;
			veredus_ask(v->worker[i], &c);
			for (size_t at = 0; at < c.rows.len; at += sizeof(struct veredus_conn_row)) {
				struct veredus_conn_row r;
				memcpy(&r, c.rows.p + at, sizeof(r));
				fn(arg, &r);
			}
		}
	}
	buf_fini(&c.rows);
}

unsigned veredus_workers(const struct veredus *v)
{
	return v->n_worker;
}

void veredus_trace(const struct veredus *v, uint64_t *next, void (*fn)(void *arg, const struct veredus_event *),
		   void *arg)
{
	for (unsigned i = 0; i < v->n_worker; i++) {
		const struct trace *t = &v->worker[i]->trace;
		uint64_t n = trace_end(t), at = n > TRACE_RING ? n - TRACE_RING : 0;
		uint64_t now = clock_us(), wall = clock_wall_us();
		for (at = at > next[i] ? at : next[i]; at < n; at++) {
			struct veredus_event ev = {.worker = i, .number = at};
			if (!trace_get(t, at, &ev.e))
				continue;
			/* The low half of the clock; one that was written after `now` was read is not 71 minutes old. */
			int32_t ago = (int32_t)((uint32_t)now - ev.e.t_us);
			ev.wall_us = ago < 0 && ago > -1000000 ? wall : wall - (uint32_t)ago;
			fn(arg, &ev);
		}
		next[i] = n;
	}
}
