/*
 * trace.c: the flight recorder as text. May run in another thread than the writer: each record is copied,
 * then the sequence is read again, and a record that may have been overwritten meanwhile is left out.
 */
#include "trace.h"

#include <string.h>

#include "check.h"

static const char *const names[] = {
#define TRACE(name, text) #name,
#include "trace.def"
#undef TRACE
};

/* RFC 9293 3.3.2, in the order of enum tcp_state. */
static const char *const tcp_states[] = {"CLOSED",     "SYN-SENT",   "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1",
					 "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING",      "LAST-ACK",    "TIME-WAIT"};

static const char *tcp_state_text(unsigned state)
{
	return state < ARRAY_LEN(tcp_states) ? tcp_states[state] : "?";
}

/* As tcpdump writes them: S, F, P, R, U, E, W, and a dot for ACK. */
static void segment_text(const char *what, const struct trace_event *e, struct buf *out)
{
	static const char letters[] = "FSRP.UEW";
	char flags[9];
	unsigned n = 0;
	for (unsigned i = 0; i < 8; i++)
		if (e->a >> i & 1)
			flags[n++] = letters[i];
	flags[n] = '\0';
	buf_printf(out, "tcp %s [%s] len %u", what, n > 0 ? flags : "none", e->b);
}

/* Expanded from the rows, so that the compiler checks each text against its two arguments. */
void trace_event_text(const struct trace_event *e, struct buf *out)
{
	unsigned a = e->a, b = e->b;

	if (e->id == TRACE_tcp_state) {
		buf_printf(out, "tcp state %s -> %s", tcp_state_text(a), tcp_state_text(b));
		return;
	}
	if (e->id == TRACE_tcp_rx || e->id == TRACE_tcp_tx) {
		segment_text(e->id == TRACE_tcp_rx ? "rx" : "tx", e, out);
		return;
	}
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

const char *trace_name(unsigned id)
{
	return id < ARRAY_LEN(names) ? names[id] : "unknown";
}

bool trace_of_conn(unsigned id)
{
	return strncmp(trace_name(id), "tcp_", 4) == 0;
}

uint64_t trace_end(const struct trace *t)
{
	return __atomic_load_n(&t->n, __ATOMIC_ACQUIRE);
}

bool trace_get(const struct trace *t, uint64_t i, struct trace_event *out)
{
	*out = t->ev[i % TRACE_RING];
	/* Record i is gone once the writer fills number i + TRACE_RING, which it does before counting. */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return trace_end(t) - i < TRACE_RING;
}

void trace_dump(const struct trace *t, uint32_t conn, struct buf *out)
{
	uint64_t n = trace_end(t);

	for (uint64_t i = n > TRACE_RING ? n - TRACE_RING : 0; i < n; i++) {
		struct trace_event e;
		if (!trace_get(t, i, &e) || (conn && e.conn != conn))
			continue;
		buf_printf(out, "%u.%06u conn %u ", e.t_us / 1000000, e.t_us % 1000000, e.conn);
		trace_event_text(&e, out);
		buf_add_str(out, "\n");
	}
}
