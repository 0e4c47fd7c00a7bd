/*
 * play.c: see play.h.
 */
#include "play.h"
#include <criterion/criterion.h>
#include <string.h>

#define PEER_PORT 40000
#define OUR_PORT  25

static void app(struct wire *w, unsigned end, struct tcp_conn *c, uint32_t events)
{
	struct play *p = w->arg;

	if (events & TCP_EV_ACCEPTED)
		p->c = c;
	if (events & TCP_EV_CLOSED) {
		p->closed = true;
		p->c = NULL;
		tcp_release(c);
	}
}

static void inject(struct play *p, uint32_t seq, uint32_t ack, uint8_t flags, const struct tcp_opts *o,
		   const void *data, uint32_t len, uint8_t ecn)
{
	uint8_t opt[TCP_OPT_MAX];
	uint32_t opt_len = tcp_opts_build(o, opt);

	wire_inject(&p->w, 0,
		    &(struct wire_seg){.sport = PEER_PORT,
				       .dport = OUR_PORT,
				       .seq = seq,
				       .ack = ack,
				       .flags = flags,
				       .wnd = p->window,
				       .opt = opt,
				       .opt_len = opt_len,
				       .data = data,
				       .len = len,
				       .ecn = ecn});
}

void play_open(struct play *p, const struct tcp_conf *conf, unsigned options)
{
	static const struct ip_addr any;
	struct tcp_conf c = conf ? *conf : tcp_conf_default();
	struct tcp_opts o = {.has_mss = true,
			     .mss = 1460,
			     .sack_ok = (options & PLAY_SACK) != 0,
			     .has_ts = (options & PLAY_TS) != 0};
	uint8_t ecn = options & PLAY_ECN ? W_ECE | W_CWR : 0;
	struct wire_seg s;

	memset(p, 0, sizeof(*p));
	p->options = options;
	p->window = 60000;
	p->ts = 5000;
	wire_init(&p->w, 9, &c, NULL, NULL, 1500, 2048);
	p->w.app = app;
	p->w.arg = p;
	cr_assert_eq(tcp_listen(p->w.end[0].tcp, &any, OUR_PORT, 0), ERR_OK);
	p->irs = 7000001;
	o.tsval = p->ts;
	inject(p, p->irs - 1, 0, W_SYN | ecn, &o, NULL, 0, 0);
	cr_assert(wire_take(&p->w, &s));
	p->iss = s.seq + 1;
	struct tcp_opts got;
	cr_assert(tcp_opts_parse(s.opt, s.opt_len, true, &got));
	p->ts_echo = got.tsval;
	play_wait(p, 20000);
	play_ack(p, 0, NULL, 0);
	cr_assert(p->c != NULL);
	cr_assert_eq(wire_drain(&p->w), 0);
}

void play_end(struct play *p)
{
	if (p->c) {
		struct tcp_conn *c = p->c;
		tcp_abort(c);
		tcp_release(c);
	}
	wire_fini(&p->w);
	cr_assert_eq(pkt_heap_outstanding(), 0);
}

void play_queue(struct play *p, uint32_t len)
{
	while (len) {
		uint32_t n = len < 1000 ? len : 1000;
		cr_assert(tcp_send(p->c, wire_pattern(p->w.end[0].pool, 1, p->sent, n), len == n));
		p->sent += n;
		len -= n;
	}
	wire_settle(&p->w);
}

static struct tcp_opts options_of(struct play *p, uint32_t tsecr)
{
	return (struct tcp_opts){
		.has_ts = (p->options & PLAY_TS) != 0, .tsval = ++p->ts, .tsecr = tsecr};
}

void play_ack_ts(struct play *p, uint32_t ack, const struct tcp_range *sack, unsigned n, uint8_t flags,
		 uint32_t tsecr)
{
	struct tcp_opts o = options_of(p, tsecr);

	o.n_sack = (uint8_t)n;
	for (unsigned i = 0; i < n; i++)
		o.sack[i] = (struct tcp_range){p->iss + sack[i].start, p->iss + sack[i].end};
	inject(p, p->irs + p->got, p->iss + ack, W_ACK | flags, &o, NULL, 0, 0);
}

void play_ack(struct play *p, uint32_t ack, const struct tcp_range *sack, unsigned n)
{
	play_ack_ts(p, ack, sack, n, 0, p->ts_echo);
}

void play_data(struct play *p, uint32_t at, uint32_t len, uint8_t flags, uint8_t ecn)
{
	static const uint8_t bytes[1460];
	struct tcp_opts o = options_of(p, p->ts_echo);

	cr_assert(len <= sizeof(bytes));
	if (at == p->got)
		p->got += len;
	inject(p, p->irs + at, p->iss, W_ACK | flags, &o, bytes, len, ecn);
}

void play_wait(struct play *p, uint64_t us)
{
	wire_run(&p->w, p->w.now_us + us);
}

bool play_take(struct play *p, struct play_seg *out)
{
	struct wire_seg s;
	struct tcp_opts o;

	if (!wire_take(&p->w, &s))
		return false;
	cr_assert(tcp_opts_parse(s.opt, s.opt_len, false, &o));
	*out = (struct play_seg){.at = s.seq - p->iss,
				 .len = s.len,
				 .ack = s.ack - p->irs,
				 .flags = s.flags,
				 .ecn = s.ecn,
				 .tsval = o.tsval,
				 .tsecr = o.tsecr,
				 .n_sack = o.n_sack};
	for (unsigned i = 0; i < o.n_sack; i++)
		out->sack[i] =
			(struct tcp_range){o.sack[i].start - p->irs, o.sack[i].end - p->irs};
	if (o.has_ts)
		p->ts_echo = o.tsval;
	return true;
}

unsigned play_drain(struct play *p)
{
	struct play_seg s;
	unsigned n = 0;

	while (play_take(p, &s))
		n += s.len != 0;
	return n;
}

uint64_t play_count(const struct play *p, enum stat_id id)
{
	return stat_get(&p->w.end[0].stat, id);
}

struct tcp_conn_info play_info(const struct play *p)
{
	struct tcp_conn_info i;

	tcp_conn_info(p->c, &i);
	return i;
}
