/* test_info.c: what operators see of a connection: bytes, age, idle time, shut windows, reordering; and the walk. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include "wire.h"

#define BYTES   200000u
#define SECOND  1000000u
#define WALKED  600u

struct run {
	struct wire w;
	struct tcp_conn *c[2];
	uint32_t sent, got;
	bool reads, both;
};

static void pump(struct run *r)
{
	struct tcp_conn *c = r->c[0];
	while (c && r->sent < BYTES && tcp_send_room(c) >= 1000) {
		cr_assert(tcp_send(c, wire_pattern(r->w.end[0].pool, 7, r->sent, 1000), true));
		r->sent += 1000;
	}
	struct slice s;
	while (r->reads && r->c[1] && tcp_take(r->c[1], &s, 1)) {
		r->got += s.len;
		tcp_consumed(r->c[1], s.len);
		slice_drop(&s);
	}
}

static void app(struct wire *w, unsigned end, struct tcp_conn *c, uint32_t events)
{
	struct run *r = w->arg;
	r->c[end] = c;
	pump(r);
}

static struct tcp_conn_info info_of(struct run *r, unsigned end)
{
	struct tcp_conn_info i;
	tcp_timers(r->w.end[end].tcp, r->w.now_us); /* a worker's turn brings the time */
	tcp_conn_info(r->c[end], &i);
	return i;
}

static void begin(struct run *r, uint32_t rcv_buf, const struct wire_link *link)
{
	static struct tcp_conf conf;
	conf = tcp_conf_default();
	conf.conns_max = 1024;
	conf.rcv_buf = rcv_buf;
	memset(r, 0, sizeof(*r));
	wire_init(&r->w, 1, &conf, &conf, link, 1500, 4096);
	r->w.app = app;
	r->w.arg = r;
	cr_assert_eq(tcp_listen(r->w.end[1].tcp, &(struct ip_addr){0}, 25, 0), ERR_OK);
}

static void connect_one(struct run *r)
{
	enum err e;
	r->c[0] = tcp_connect(r->w.end[0].tcp, &(struct ip_addr){0}, &r->w.end[1].net.addr4, 25, 0, r->w.now_us, &e);
	cr_assert_not_null(r->c[0]);
	wire_settle(&r->w);
}

Test(info, bytes_age_and_windows)
{
	static struct run r;
	static const struct wire_link link = {.delay_us = 1000};
	begin(&r, 65536, &link);
	uint64_t start = r.w.now_us;
	connect_one(&r);
	wire_run(&r.w, start + 10 * SECOND); /* nobody reads: the window shuts */
	struct tcp_conn_info a = info_of(&r, 0), b = info_of(&r, 1);
	cr_expect_eq(b.bytes_in, a.bytes_out);
	cr_expect_gt(b.bytes_in, 30000);
	cr_expect_lt(b.bytes_in, BYTES);
	cr_expect(a.probing_window && !b.probing_window);
	cr_expect(a.zero_window_us > 8 * SECOND && a.zero_window_us < 10 * SECOND, "%llu", (unsigned long long)a.zero_window_us);
	cr_expect(a.age_us >= 9 * SECOND && a.age_us <= 10 * SECOND);
	cr_expect_lt(a.idle_us, 10 * SECOND);
	cr_expect(a.active && !b.active);
	r.reads = true;
	pump(&r);
	wire_settle(&r.w);
	wire_run(&r.w, start + 20 * SECOND);
	cr_assert_eq(r.got, BYTES);
	uint64_t shut = a.zero_window_us;
	a = info_of(&r, 0);
	b = info_of(&r, 1);
	cr_expect(!a.probing_window && a.zero_window_us >= shut);
	shut = a.zero_window_us;
	tcp_shutdown(r.c[0]);
	wire_settle(&r.w);
	wire_run(&r.w, start + 100 * SECOND);
	a = info_of(&r, 0);
	b = info_of(&r, 1);
	cr_expect_eq(a.bytes_out, BYTES);
	cr_expect_eq(a.bytes_in, 0);
	cr_expect_eq(b.bytes_in, BYTES, "the FIN is no byte");
	cr_expect_eq(b.bytes_out, 0);
	cr_expect_eq(a.zero_window_us, shut, "it stands");
	cr_expect_eq(b.state, TCP_CLOSE_WAIT);
	cr_expect(a.idle_us > 70 * SECOND && a.idle_us <= a.age_us, "%llu", (unsigned long long)a.idle_us);
	cr_expect_eq(a.reordered + b.reordered, 0);
	tcp_abort(r.c[1]);
	tcp_release(r.c[1]);
	tcp_release(r.c[0]);
	wire_settle(&r.w);
	wire_run(&r.w, 400 * SECOND);
	wire_fini(&r.w);
}

Test(info, reordering_is_counted)
{
	static struct run r;
	static const struct wire_link link = {.delay_us = 1000, .reorder = 2000, .late_us = 500};
	begin(&r, 1u << 20, &link);
	r.reads = true;
	connect_one(&r);
	wire_run(&r.w, 60 * SECOND);
	cr_assert_eq(r.got, BYTES);
	cr_expect_gt(info_of(&r, 1).reordered, 0);
	cr_expect_eq(info_of(&r, 1).bytes_in, BYTES);
	tcp_abort(r.c[0]);
	tcp_release(r.c[0]);
	wire_settle(&r.w);
	wire_run(&r.w, 61 * SECOND);
	tcp_release(r.c[1]);
	wire_settle(&r.w);
	wire_run(&r.w, 200 * SECOND);
	wire_fini(&r.w);
}

struct seen {
	uint32_t n, id[2 * WALKED];
};

static void see(void *arg, const struct tcp_conn *c)
{
	struct seen *s = arg;
	struct tcp_conn_info i;
	tcp_conn_info(c, &i);
	cr_assert_lt(s->n, ARRAY_LEN(s->id));
	s->id[s->n++] = i.id;
}

/* Half of the connections end while the walk is on its way: those that stay are met once each. */
Test(info, walk)
{
	static struct run r;
	static struct seen seen;
	static struct tcp_conn *conn[WALKED];
	static const struct wire_link link = {.delay_us = 1000};
	begin(&r, 65536, &link);
	struct tcp_core *t = r.w.end[0].tcp;
	cr_assert_eq(tcp_walk(t, 0, 10, see, &seen), UINT32_MAX, "none at all");
	for (unsigned i = 0; i < WALKED; i++) {
		enum err e;
		conn[i] = tcp_connect(t, &(struct ip_addr){0}, &r.w.end[1].net.addr4, 99, 0, r.w.now_us, &e);
		cr_assert_not_null(conn[i]);
	}
	uint32_t stay[WALKED];
	for (unsigned i = 0; i < WALKED; i++) {
		struct tcp_conn_info info;
		tcp_conn_info(conn[i], &info);
		stay[i] = info.id;
	}
	uint32_t at = 0, turns = 0;
	while (at != UINT32_MAX) {
		at = tcp_walk(t, at, 64, see, &seen);
		cr_assert_leq(seen.n, 64 * ++turns);
		for (unsigned i = turns; turns < 5 && i < WALKED; i += 8) {
			if (conn[i] == NULL || i % 2 == 0)
				continue;
			tcp_abort(conn[i]);
			tcp_release(conn[i]);
			conn[i] = NULL;
		}
	}
	cr_expect_geq(turns, WALKED / 64);
	for (unsigned i = 0; i < WALKED; i++) {
		unsigned times = 0;
		for (unsigned k = 0; k < seen.n; k++)
			times += seen.id[k] == stay[i];
		cr_expect(times == 1 || (times == 0 && conn[i] == NULL), "connection %u was met %u times", i, times);
	}
	for (unsigned i = 0; i < WALKED; i++) {
		if (conn[i] == NULL)
			continue;
		tcp_abort(conn[i]);
		tcp_release(conn[i]);
	}
	wire_settle(&r.w);
	wire_run(&r.w, 200 * SECOND);
	wire_fini(&r.w);
}
