/*
 * trace.h: the flight recorder: a per-core ring of 16-byte events, always on, overwritten when full.
 * Events are rows of trace.def; the reader decodes them to text. Written by its core only; a reader in
 * another thread may see a torn newest record and skips it by the sequence.
 */
#ifndef VEREDUS_TRACE_H
#define VEREDUS_TRACE_H

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

/* Text of the events of conn (0 = all), oldest first, one a line. */
void trace_dump(const struct trace *t, uint32_t conn, struct buf *out);

#endif
