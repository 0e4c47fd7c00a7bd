/* ctl_trace.h: the flight recorders over the operator's socket. */
#ifndef VEREDUS_CTL_TRACE_H
#define VEREDUS_CTL_TRACE_H

#include "ctl_verbs.h"

/* {"last": N, "conn": "WORKER.NUMBER", "session": NUMBER, "from": [N, ...]} ->
 * {"events": [{"worker", "number", "wall_us", "kind", "conn" or "session", "text"}], "next": [N, ...], "session": NUMBER}, in the order
 * of time. With "conn" also the events of the session on it, as far as its beginning is still there. "from": go on
 * where "next" (and "session", if it is there) of the reply before said. */
json_t *ctl_trace(struct ctl *c, const json_t *request);

#endif
