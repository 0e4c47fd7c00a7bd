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
	cr_expect(span_eq(buf_span(&out), SPAN("1.500000 conn 7 tcp state 1 -> 2\n"
					       "1.500001 conn 8 tcp rx flags 0x12 len 1460\n"
					       "0.000005 conn 7 event 999 (3, 4)\n")),
		  SPAN_FMT, SPAN_ARG(buf_span(&out)));
	buf_fini(&out);
	trace_dump(&t, 8, &out);
	cr_expect(span_eq(buf_span(&out), SPAN("1.500001 conn 8 tcp rx flags 0x12 len 1460\n")));
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
