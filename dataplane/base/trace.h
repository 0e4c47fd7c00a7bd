/*
 * trace.h: the flight recorder: a per-core ring of 16-byte events, always on, overwritten when full.
 * Events are rows of trace.def; the reader decodes them to text. Written by its core only; a reader in
 * another thread may see a torn newest record and skips it by the sequence.
 */
#ifndef VEREDUS_TRACE_H
#define VEREDUS_TRACE_H

#include <stdbool.h>
#include <stdint.h>
#include "buf.h"

enum trace_id {
#define TRACE(name, text) TRACE_##name,
#include "trace.def"
#undef TRACE
	TRACE__N
};

struct trace_event {
	uint32_t t_us; /* low 32 bits of the core's clock */
	uint32_t conn; /* connection or session id, 0 = none */
	uint16_t id;
	uint16_t a;
	uint32_t b;
};

#define TRACE_RING 4096
struct trace {
	uint64_t n; /* events written since start */
	struct trace_event ev[TRACE_RING];
};

static inline void trace_put(struct trace *t, uint64_t now_us, enum trace_id id, uint32_t conn,
			     uint16_t a, uint32_t b)
{
	struct trace_event *e = &t->ev[t->n % TRACE_RING];
	e->t_us = (uint32_t)now_us;
	e->conn = conn;
	e->id = (uint16_t)id;
	e->a = a;
	e->b = b;
	t->n++;
}

/* ---- for readers, in any thread ---- */

/* Events written so far: the number that the next one gets. */
uint64_t trace_end(const struct trace *t);
/* Event number i < trace_end; false: it is overwritten, or about to be. */
bool trace_get(const struct trace *t, uint64_t i, struct trace_event *out);
/* What happened, without time and subject. */
void trace_event_text(const struct trace_event *e, struct buf *out);
/* "tcp_state"; "unknown". */
const char *trace_name(unsigned id);
/* Does `conn` of such an event name a TCP connection (tcp_conn_info.id)? Else a session (struct session.index). */
bool trace_of_conn(unsigned id);
/* Text of the events of conn (0 = all), oldest first, one a line. */
void trace_dump(const struct trace *t, uint32_t conn, struct buf *out);

#endif
