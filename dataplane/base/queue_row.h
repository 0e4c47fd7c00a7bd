/* queue_row.h: queued mail as operators see it and choose it: shared by queue/ and control/. */
#ifndef VEREDUS_QUEUE_ROW_H
#define VEREDUS_QUEUE_ROW_H

#include <stdbool.h>
#include <stdint.h>
#include "span.h"

struct queue_filter {
	uint64_t id;            /* 0 = any; the item's id */
	struct span from, rcpt; /* empty = any; exact, or "*@domain" */
	struct span site;       /* "host:port" or empty */
	bool all;               /* must be set when nothing else is, for retry and remove */
};
struct queue_row {
	uint64_t id, size;
	const char *from, *site;
	const char *const *rcpt;   /* still to deliver */
	unsigned n_rcpt, tries;
	uint64_t accepted_us, due_us, expire_us; /* wall clock */
	const char *last;       /* last reply or error; "" */
	bool active;            /* being delivered now */
};

#endif
