/*
 * tcp_conn.c: the calls that a connection's user makes. Hot path.
 *
 * They change queues and flags only; what must go out goes at the next tcp_flush, except a reset.
 */
#include <string.h>
#include "tcp_int.h"
#include "hot.h"

unsigned tcp_ready(struct tcp_core *t, struct tcp_conn **out, unsigned max)
{
	unsigned n = 0;
	struct list *node;

	while (n < max && (node = list_pop(&t->ready)) != NULL)
		out[n++] = LIST_ENTRY(node, struct tcp_conn, ready_node);
	return n;
}

uint32_t tcp_events(struct tcp_conn *c)
{
	uint32_t events = c->events;

	c->events = 0;
	return events;
}

void tcp_set_user(struct tcp_conn *c, void *user)
{
	c->user = user;
}

void *tcp_user(const struct tcp_conn *c)
{
	return c->user;
}

uint64_t tcp_tag(const struct tcp_conn *c)
{
	return c->tag;
}

enum err tcp_error(const struct tcp_conn *c)
{
	return (enum err)c->err;
}

enum tcp_state tcp_state(const struct tcp_conn *c)
{
	return (enum tcp_state)c->state;
}

void tcp_addrs(const struct tcp_conn *c, struct ip_addr *local, uint16_t *lport,
	       struct ip_addr *remote, uint16_t *rport)
{
	*local = c->dst.src;
	*remote = c->dst.dst;
	*lport = c->lport;
	*rport = c->rport;
}

/* ---- receiving ---- */

uint32_t tcp_readable(const struct tcp_conn *c)
{
	return c->rxq.len;
}

unsigned tcp_take(struct tcp_conn *c, struct slice *out, unsigned max)
{
	unsigned n = 0;

	while (n < max && c->rxq.len)
		out[n++] = tcpq_pop(&c->rxq, &c->core->chunks);
	if (!c->rxq.len && c->rx_copy) {
		pkt_free(c->rx_copy);
		c->rx_copy = NULL;
	}
	return n;
}

/* The window that was last told may have shut or nearly so: the peer must hear of it opening.
 * Otherwise the next ACK tells. */
static void window_opened(struct tcp_conn *c)
{
	uint32_t promised = seq_gt(c->rcv_adv, c->rcv_nxt) ? c->rcv_adv - c->rcv_nxt : 0;
	/* What the window field can tell is all that there is. */
	uint32_t buf = min32(c->core->conf.rcv_buf, (uint32_t)UINT16_MAX << c->rcv_wscale);
	uint32_t wnd = min32(tcp_rcv_window(c), buf);

	if (wnd <= promised || !tcp_synchronized(c))
		return;
	if (promised < buf / 4 || wnd - promised >= buf / 2) {
		c->flags |= TF_ACK_NOW;
		tcp_want_output(c);
	}
}

void tcp_consumed(struct tcp_conn *c, uint32_t len)
{
	c->rcv_held -= min32(len, c->rcv_held);
	if (1u << c->state & (1u << TCP_ESTABLISHED | 1u << TCP_FIN_WAIT_1 | 1u << TCP_FIN_WAIT_2))
		window_opened(c);
}

/* ---- sending ---- */

uint32_t tcp_send_room(const struct tcp_conn *c)
{
	uint32_t room = c->txq.len < c->core->conf.snd_buf ? c->core->conf.snd_buf - c->txq.len : 0;

	if (!tcp_can_send(c))
		return 0;
	if (c->txq.chunks >= TCP_TX_CHUNKS)
		room = 0;
	return room;
}

bool tcp_send(struct tcp_conn *c, struct slice s, bool push)
{
	if (!tcp_can_send(c)) {
		slice_drop(&s);
		return false;
	}
	if (s.len == 0) {
		slice_drop(&s);
		return true;
	}
	if (!tcpq_push(&c->txq, &c->core->chunks, s, push)) {
		/* Bytes would be missing in the stream: better none at all. */
		stat_inc(c->core->stat, STAT_tcp_no_memory);
		slice_drop(&s);
		c->err = ERR_NO_MEMORY;
		tcp_abort(c);
		return false;
	}
	if (tcp_synchronized(c))
		tcp_want_output(c);
	return true;
}

uint32_t tcp_unacked(const struct tcp_conn *c)
{
	return c->txq.len;
}

void tcp_shutdown(struct tcp_conn *c)
{
	if (!tcp_can_send(c))
		return;
	c->flags |= TF_FIN_WANTED;
	tcp_want_output(c);
}

static void stop_reading(struct tcp_conn *c)
{
	c->flags |= TF_NOREAD;
	tcpq_drop(&c->rxq, &c->core->chunks, c->rxq.len);
	if (c->rx_copy) {
		pkt_free(c->rx_copy);
		c->rx_copy = NULL;
	}
	c->rcv_held = 0;
	c->events &= (uint8_t) ~(TCP_EV_READABLE | TCP_EV_FIN);
}

void tcp_close(struct tcp_conn *c)
{
	if (c->flags & TF_NOREAD)
		return;
	stop_reading(c);
	if (c->state == TCP_CLOSED || c->state == TCP_TIME_WAIT)
		return;
	if (c->state == TCP_SYN_SENT) {
		tcp_finish(c, ERR_OK); /* RFC 9293 3.10.4: nothing was opened yet */
		return;
	}
	if (c->state == TCP_FIN_WAIT_2) {
		/* Half-closed long ago, and everything was acknowledged. */
		tcp_arm(c, TCP_T_LINGER, c->core->now_us + TCP_FIN2_US);
		c->flags |= TF_WAS_CLOSED;
		tcp_event(c, TCP_EV_CLOSED);
		return;
	}
	tcp_shutdown(c);
}

void tcp_abort(struct tcp_conn *c)
{
	if (c->state == TCP_CLOSED || c->state == TCP_TIME_WAIT)
		return;
	/* RFC 9293 3.10.5: a reset in the states that the peer knows of */
	if (c->state != TCP_SYN_SENT)
		tcp_send_reset(c);
	tcp_finish(c, ERR_RESET);
}

void tcp_release(struct tcp_conn *c)
{
	c->flags &= ~(uint32_t)TF_USER;
	list_del(&c->ready_node);
	c->events = 0;
	if (c->state == TCP_CLOSED || c->state == TCP_TIME_WAIT)
		tcp_conn_free(c);
	else
		tcp_close(c);
}
