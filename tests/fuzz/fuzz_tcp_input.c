/*
 * fuzz_tcp_input.c: a sequence of segments, calls and waits at one stack. The input steers;
 * sequence numbers are offsets from those that the stack last used, so that real conversations are
 * found. At the end everything must be given back: wire_fini aborts otherwise.
 */
#include <string.h>
#include "check.h"
#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CONNS 4

struct in {
	const uint8_t *p;
	size_t left;
};

struct fuzz {
	struct wire w;
	struct tcp_conn *c[CONNS];
	uint32_t snd[CONNS], rcv[CONNS]; /* by peer port */
	uint16_t port[CONNS], our[CONNS];
};

static uint32_t take(struct in *in, unsigned bytes)
{
	uint32_t v = 0;

	while (bytes--) {
		v <<= 8;
		if (in->left) {
			v |= *in->p++;
			in->left--;
		}
	}
	return v;
}

static void app(struct wire *w, unsigned end, struct tcp_conn *c, uint32_t events)
{
	struct fuzz *f = w->arg;

	if (events & TCP_EV_ACCEPTED) {
		for (unsigned i = 0; i < CONNS; i++)
			if (!f->c[i]) {
				f->c[i] = c;
				break;
			} else if (i == CONNS - 1) {
				tcp_release(c);
				return;
			}
	}
	if (events & TCP_EV_CLOSED) {
		for (unsigned i = 0; i < CONNS; i++)
			if (f->c[i] == c)
				f->c[i] = NULL;
		tcp_release(c);
	}
}

/* What the stack says teaches us its numbers. */
static void listen_to(struct fuzz *f)
{
	struct wire_seg s;

	while (wire_take(&f->w, &s))
		for (unsigned i = 0; i < CONNS; i++)
			if (f->port[i] == s.dport) {
				f->our[i] = s.sport;
				if (s.flags & W_ACK)
					f->snd[i] = s.ack;
				f->rcv[i] =
					s.seq + s.len + !!(s.flags & W_SYN) + !!(s.flags & W_FIN);
			}
}

static void segment(struct fuzz *f, struct in *in)
{
	uint8_t opt[40], bytes[300];
	uint32_t mode = take(in, 1), k = mode & 3;
	struct wire_seg s = {
		.sport = f->port[k], .dport = f->our[k], .flags = (uint8_t)take(in, 1)};

	s.seq = f->snd[k] + (uint32_t)(int16_t)take(in, 2);
	s.ack = f->rcv[k] + (uint32_t)(int16_t)take(in, 2);
	s.wnd = (uint16_t)take(in, 2);
	s.len = take(in, 1);
	memset(bytes, 'x', sizeof(bytes));
	s.data = bytes;
	s.opt = opt;
	switch (mode >> 2 & 3) {
	case 1: /* timestamps */
		s.opt_len = 12;
		memcpy(opt, ((const uint8_t[]){1, 1, 8, 10}), 4);
		for (unsigned i = 4; i < 12; i++)
			opt[i] = i < 6 ? 0 : (uint8_t)take(in, 1);
		break;
	case 2: { /* SACK blocks near what was sent */
		unsigned n = 1 + take(in, 1) % 3;
		s.opt_len = 4 + 8 * n;
		memcpy(opt, ((const uint8_t[]){1, 1, 5, (uint8_t)(2 + 8 * n)}), 4);
		for (unsigned i = 0; i < 2 * n; i++) {
			uint32_t v = f->rcv[k] - take(in, 2);
			for (unsigned b = 0; b < 4; b++)
				opt[4 + i * 4 + b] = (uint8_t)(v >> (24 - 8 * b));
		}
		break;
	}
	case 3: /* anything */
		s.opt_len = take(in, 1) % 11 * 4;
		for (unsigned i = 0; i < s.opt_len; i++)
			opt[i] = (uint8_t)take(in, 1);
		break;
	default:
		break;
	}
	wire_inject(&f->w, 0, &s);
}

static void icmp(struct fuzz *f, struct in *in)
{
	uint32_t k = take(in, 1) % CONNS;
	uint8_t kind = (uint8_t)(take(in, 1) % 4);

	wire_inject_icmp(&f->w, 0, f->our[k], f->port[k], f->rcv[k] - take(in, 2), kind,
			 (uint16_t)take(in, 2));
}

static void call(struct fuzz *f, struct in *in, uint8_t op)
{
	uint32_t k = take(in, 1) % CONNS;
	struct tcp_conn *c = f->c[k];
	struct slice v[2];
	enum err err;

	if (op == 0) {
		static const struct ip_addr any;
		if (!c) {
			f->c[k] = tcp_connect(f->w.end[0].tcp, &any, &f->w.end[1].net.addr4,
					      f->port[k], 0, f->w.now_us, &err);
			listen_to(f);
		}
		return;
	}
	if (!c)
		return;
	switch (op) {
	case 1: {
		struct slice s = wire_pattern(f->w.end[0].pool, 1, 0, 1 + take(in, 2) % PKT_ROOM);
		if (s.pkt)
			tcp_send(c, s, take(in, 1) & 1);
		break;
	}
	case 2:
		for (unsigned i = 0, n = tcp_take(c, v, 2); i < n; i++) {
			tcp_consumed(c, v[i].len);
			slice_drop(&v[i]);
		}
		break;
	case 3:
		tcp_shutdown(c);
		break;
	case 4:
		tcp_close(c);
		break;
	case 5:
		tcp_abort(c);
		break;
	default:
		f->c[k] = NULL;
		tcp_release(c);
		break;
	}
	wire_settle(&f->w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ip_addr any;
	static struct fuzz f;
	struct tcp_conf conf = tcp_conf_default();
	struct in in = {data, size};
	uint32_t how = take(&in, 2);

	if (size > 4096)
		return 0;
	conf.conns_max = 8;
	conf.timewait_max = 2;
	conf.syn_backlog = 3;
	conf.syn_cookies = !(how & 0x1000);
	conf.ooo_max = 8;
	conf.rcv_buf = how & 1 ? 3000 : 100000;
	conf.snd_buf = how & 2 ? 3000 : 100000;
	conf.timestamps = how & 4;
	conf.sack = how & 8;
	conf.wscale = how >> 8 & 15;
	conf.keepalive_us = how & 16 ? 5000000 : 0;
	conf.user_timeout_us = how & 32 ? 20000000 : 0;
	memset(&f, 0, sizeof(f));
	wire_init(&f.w, 1, &conf, NULL, NULL, 1500, how & 64 ? 24 : 512);
	f.w.end[0].net.info.tso = how & 128;
	f.w.app = app;
	f.w.arg = &f;
	CHECK(tcp_listen(f.w.end[0].tcp, &any, 25, 0) == ERR_OK);
	for (unsigned i = 0; i < CONNS; i++) {
		f.port[i] = (uint16_t)(40000 + i);
		f.our[i] = 25;
		f.snd[i] = 1000;
	}
	for (unsigned n = 0; in.left && n < 300; n++) {
		uint8_t op = (uint8_t)take(&in, 1);
		if (op < 192)
			segment(&f, &in);
		else if (op < 224)
			call(&f, &in, op & 7);
		else if (op < 232)
			icmp(&f, &in);
		else
			wire_run(&f.w, f.w.now_us + take(&in, 2) * 1000);
		listen_to(&f);
	}
	for (unsigned i = 0; i < CONNS; i++)
		if (f.c[i])
			tcp_release(f.c[i]);
	wire_fini(&f.w);
	CHECK(pkt_heap_outstanding() == 0);
	return 0;
}
