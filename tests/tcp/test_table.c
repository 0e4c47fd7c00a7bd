/* test_table.c: the flow table against a plain list, the queue of slices against plain bytes,
 * options there and back. */
#include <criterion/criterion.h>
#include <string.h>
#include "tcp_int.h"
#include "wire.h"

static bool has(const struct flow_table *t, uint32_t hash, uint32_t index)
{
	uint32_t it = 0, i;

	while ((i = flow_find(t, hash, &it)) != UINT32_MAX)
		if (i == index)
			return true;
	return false;
}

Test(table, flows_against_a_list)
{
	enum { N = 2000 };
	static uint32_t hash[N];
	static bool in[N];
	struct flow_table t;
	struct rnd x;

	for (uint32_t narrow = 0; narrow < 2; narrow++) {
		rnd_seed(&x, narrow + 1);
		memset(in, 0, sizeof(in));
		flow_init(&t, N);
		for (unsigned step = 0; step < 60000; step++) {
			uint32_t i = rnd_below(&x, N);
			if (in[i]) {
				flow_del(&t, hash[i], i);
			} else {
				/* narrow: all fall into few buckets, so that they overflow far */
				hash[i] =
					(uint32_t)rnd_u64(&x) & (narrow ? 0xffff0007 : UINT32_MAX);
				flow_put(&t, hash[i], i);
			}
			in[i] = !in[i];
			uint32_t k = rnd_below(&x, N);
			if (hash[k])
				cr_assert_eq(has(&t, hash[k], k), in[k]);
		}
		for (uint32_t i = 0; i < N; i++) {
			if (in[i])
				cr_assert(has(&t, hash[i], i));
			if (in[i])
				flow_del(&t, hash[i], i);
		}
		cr_assert_eq(t.n, 0);
		for (uint32_t b = 0; b <= t.mask; b++)
			cr_assert_eq(t.b[b].over, 0);
		flow_fini(&t);
	}
}

Test(table, queue_of_slices)
{
	struct pkt_pool *packets = pkt_pool_create("q", 1000, PKT_ROOM);
	struct pool chunks;
	struct tcpq q = {0};
	struct rnd x;
	uint64_t in = 0, out = 0;

	rnd_seed(&x, 3);
	pool_init(&chunks, 100, sizeof(struct tcpq_chunk));
	for (unsigned step = 0; step < 20000; step++) {
		uint32_t len = 1 + rnd_below(&x, 100);
		if (rnd_below(&x, 2) && q.len < 10000) {
			struct slice s = wire_pattern(packets, 9, in, len);
			bool push = rnd_below(&x, 2);
			if (rnd_below(&x, 4) == 0 && len > 1) {
				/* two halves of one packet become one slice again */
				struct slice a = slice_of(s.pkt, s.data, len / 2);
				struct slice b = slice_of(s.pkt, s.data + len / 2, len - len / 2);
				cr_assert(tcpq_push(&q, &chunks, a, false) &&
					  tcpq_push(&q, &chunks, b, push));
				slice_drop(&s);
			} else {
				cr_assert(tcpq_push(&q, &chunks, s, push));
			}
			in += len;
		} else if (q.len) {
			uint32_t off = rnd_below(&x, q.len), want = 1 + rnd_below(&x, q.len - off);
			struct tcpq_pos pos = tcpq_seek(&q, off);
			for (uint32_t got = 0; got < want;) {
				bool end;
				struct slice run = tcpq_next(&pos, want - got, &end);
				cr_assert(wire_pattern_ok(run.data, 9, out + off + got, run.len));
				got += run.len;
			}
			uint32_t drop = rnd_below(&x, q.len + 1);
			if (rnd_below(&x, 4)) {
				tcpq_drop(&q, &chunks, drop);
				out += drop;
			} else {
				struct slice s = tcpq_pop(&q, &chunks);
				out += s.len;
				slice_drop(&s);
			}
		}
		cr_assert_eq(q.len, in - out);
	}
	tcpq_drop(&q, &chunks, q.len);
	cr_assert_eq(chunks.n_free, 100);
	cr_assert(q.head == NULL && q.tail == NULL && q.chunks == 0);
	pool_fini(&chunks);
	pkt_pool_destroy(&packets);
	cr_assert_eq(pkt_heap_outstanding(), 0);
}

struct option_row {
	const char *name;
	uint8_t bytes[TCP_OPT_MAX];
	uint32_t len;
	bool syn, ok;
	struct tcp_opts want;
};

static const struct option_row option_rows[] = {
	{"none", {0}, 0, true, true, {0}},
	{"end stops", {0, 2, 4}, 3, true, true, {0}},
	{"mss", {2, 4, 5, 0xb4}, 4, true, true, {.has_mss = true, .mss = 1460}},
	{"mss outside a SYN is passed over", {2, 4, 5, 0xb4}, 4, false, true, {0}},
	{"mss too short", {2, 3, 5, 1}, 4, true, false, {0}},
	{"scale", {1, 3, 3, 7}, 4, true, true, {.has_wscale = true, .wscale = 7}},
	{"scale above 14 is 14", {1, 3, 3, 200}, 4, true, true, {.has_wscale = true, .wscale = 14}},
	{"sack ok", {4, 2}, 2, true, true, {.sack_ok = true}},
	{"timestamps, odd place",
	 {8, 10, 0, 0, 0, 5, 0, 0, 0, 6, 1, 1},
	 12,
	 false,
	 true,
	 {.has_ts = true, .tsval = 5, .tsecr = 6}},
	{"timestamps, usual place",
	 {1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 6},
	 12,
	 false,
	 true,
	 {.has_ts = true, .tsval = 5, .tsecr = 6}},
	{"timestamps cut", {8, 10, 0, 0, 0, 5}, 6, false, false, {0}},
	{"sack of 7 bytes", {5, 9, 0, 0, 0, 1, 0, 0, 0}, 9, false, false, {0}},
	{"length 0", {99, 0, 1, 1}, 4, false, false, {0}},
	{"length 1", {99, 1, 1, 1}, 4, false, false, {0}},
	{"length beyond the end", {99, 5, 1, 1}, 4, false, false, {0}},
	{"kind without length", {1, 1, 1, 99}, 4, false, false, {0}},
	{"unknown is passed over", {99, 4, 2, 2, 4, 2}, 6, true, true, {.sack_ok = true}},
	{"sack",
	 {1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2},
	 12,
	 false,
	 true,
	 {.n_sack = 1, .sack = {{1, 2}}}},
};

Test(table, options)
{
	for (unsigned i = 0; i < sizeof(option_rows) / sizeof(option_rows[0]); i++) {
		const struct option_row *r = &option_rows[i];
		struct tcp_opts got;
		bool ok = tcp_opts_parse(r->bytes, r->len, r->syn, &got);
		cr_expect_eq(ok, r->ok, "%s", r->name);
		if (!ok || !r->ok)
			continue;
		cr_expect(got.has_mss == r->want.has_mss && got.mss == r->want.mss, "%s", r->name);
		cr_expect(got.has_wscale == r->want.has_wscale && got.wscale == r->want.wscale,
			  "%s", r->name);
		cr_expect(got.has_ts == r->want.has_ts && got.tsval == r->want.tsval &&
				  got.tsecr == r->want.tsecr,
			  "%s", r->name);
		cr_expect(got.sack_ok == r->want.sack_ok && got.n_sack == r->want.n_sack, "%s",
			  r->name);
		for (unsigned k = 0; k < got.n_sack; k++)
			cr_expect_eq(memcmp(&got.sack[k], &r->want.sack[k], sizeof(got.sack[k])), 0,
				     "%s", r->name);
	}
}

Test(table, time_wait_and_connection_sizes)
{
	cr_expect_leq(sizeof(struct tcp_conn), 512);
	cr_expect_eq(sizeof(struct tcp_tw), 64);
}
