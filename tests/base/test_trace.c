/* test_trace.c: the ring as text: order, filter, overwriting, and an id that no row has. */
#include <criterion/criterion.h>
#include <stdio.h>
#include "trace.h"

static struct trace t;

Test(trace, dump)
{
	struct buf out;
	buf_init(&out);
	trace_dump(&t, 0, &out);
	cr_expect_eq(out.len, 0);
	trace_put(&t, 1500000, TRACE_tcp_state, 7, 1, 2);
	trace_put(&t, 1500001, TRACE_tcp_rx, 8, 0x12, 1460);
	trace_put(&t, (UINT64_C(1) << 32) + 5, (enum trace_id)999, 7, 3, 4);
	trace_dump(&t, 0, &out);
	cr_expect(span_eq(buf_span(&out), SPAN("1.500000 conn 7 tcp state SYN-SENT -> SYN-RECEIVED\n"
					       "1.500001 conn 8 tcp rx [S.] len 1460\n"
					       "0.000005 conn 7 event 999 (3, 4)\n")),
		  SPAN_FMT, SPAN_ARG(buf_span(&out)));
	buf_fini(&out);
	trace_dump(&t, 8, &out);
	cr_expect(span_eq(buf_span(&out), SPAN("1.500001 conn 8 tcp rx [S.] len 1460\n")));
	buf_fini(&out);
}

Test(trace, overwrites_the_oldest)
{
	struct buf out;
	unsigned lines = 0;
	buf_init(&out);
	for (uint32_t i = 0; i < TRACE_RING * 2 + 10; i++)
		trace_put(&t, i, TRACE_tcp_rto, 1, 0, i);
	trace_dump(&t, 0, &out);
	for (size_t i = 0; i < out.len; i++)
		lines += out.p[i] == '\n';
	cr_expect_eq(lines, TRACE_RING - 1, "the oldest may be in the writer's hands");
	char last[64];
	snprintf(last, sizeof(last), "rto %u us\n", TRACE_RING * 2 + 9);
	struct span end = span_from(buf_span(&out), out.len - strlen(last));
	cr_expect(span_eq(end, span_str(last)));
	buf_fini(&out);
}

/* Every row of trace.def, with its extremes. */
Test(trace, every_event)
{
	static const struct {
		enum trace_id id;
		uint16_t a;
		uint32_t b;
		const char *text;
	} rows[] = {
		{TRACE_tcp_state, 0, 9, "tcp state CLOSED -> TIME-WAIT"},
		{TRACE_tcp_state, 10, UINT32_MAX, "tcp state ? -> ?"},
		{TRACE_tcp_rx, 0xff, 1, "tcp rx [FSRP.UEW] len 1"},
		{TRACE_tcp_tx, 0x18, 0, "tcp tx [P.] len 0"},
		{TRACE_tcp_tx, 0, UINT32_MAX, "tcp tx [none] len 4294967295"},
		{TRACE_tcp_retransmit, 2, 1448, "tcp retransmit reason 2 len 1448"},
		{TRACE_tcp_rto, 3, 1600000, "tcp timeout n 3 rto 1600000 us"},
		{TRACE_session_open, 1, 65535, "session open protocol 1 peer port 65535"},
		{TRACE_session_conn, 2, 77, "session on worker 2 runs on tcp connection 77"},
		{TRACE_session_close, 18, 5, "session close why 18 bytes 5"},
		{TRACE_session_cmd, UINT16_MAX, 4, "session command 65535 state 4"},
		{TRACE_session_reply, 250, 1, "session reply 250 state 1"},
		{TRACE_store_op, 6, 0, "store op verb 6 result 0"},
		{TRACE_delivery_state, 1, 2, "outbound session state 1 -> 2"},
		{TRACE_delivery_reply, 451, 3, "outbound session got 451 in state 3"},
	};
	bool seen[TRACE__N] = {false};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out;
		buf_init(&out);
		trace_event_text(&(struct trace_event){.id = (uint16_t)rows[i].id, .a = rows[i].a, .b = rows[i].b}, &out);
		cr_expect(span_eq(buf_span(&out), span_str(rows[i].text)), "row %zu: " SPAN_FMT, i, SPAN_ARG(buf_span(&out)));
		buf_fini(&out);
		seen[rows[i].id] = true;
		cr_expect_eq(trace_of_conn(rows[i].id), strncmp(rows[i].text, "tcp ", 4) == 0);
	}
	for (unsigned i = 0; i < TRACE__N; i++)
		cr_expect(seen[i], "no case for %s", trace_name(i));
	cr_expect_str_eq(trace_name(TRACE_store_op), "store_op");
	cr_expect_str_eq(trace_name(TRACE__N), "unknown");
	cr_expect(!trace_of_conn(60000));
}
