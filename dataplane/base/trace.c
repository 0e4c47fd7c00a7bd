/*
 * trace.c: the flight recorder as text. May run in another thread than the writer: each record is copied,
 * then the sequence is read again, and a record that may have been overwritten meanwhile is left out.
 */
#include "trace.h"

/* Expanded from the rows, so that the compiler checks each text against its two arguments. */
static void event_text(const struct trace_event *e, struct buf *out)
{
	unsigned a = e->a, b = e->b;

	switch ((enum trace_id)e->id) {
#define TRACE(name, text)                                                                          \
	case TRACE_##name:                                                                         \
		buf_printf(out, text, a, b);                                                       \
		break;
#include "trace.def"
#undef TRACE
	case TRACE__N:
	default:
		buf_printf(out, "event %u (%u, %u)", (unsigned)e->id, a, b);
		break;
	}
}

static uint64_t trace_seq(const struct trace *t)
{
	return __atomic_load_n(&t->n, __ATOMIC_ACQUIRE);
}

void trace_dump(const struct trace *t, uint32_t conn, struct buf *out)
{
	uint64_t n = trace_seq(t);

	for (uint64_t i = n > TRACE_RING ? n - TRACE_RING : 0; i < n; i++) {
		struct trace_event e = t->ev[i % TRACE_RING];
		/* Record i is gone once the writer fills number i + TRACE_RING, which it does before counting. */
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (trace_seq(t) - i >= TRACE_RING)
			continue;
		if (conn && e.conn != conn)
			continue;
		buf_printf(out, "%u.%06u conn %u ", e.t_us / 1000000, e.t_us % 1000000, e.conn);
		event_text(&e, out);
		buf_add_str(out, "\n");
	}
}
