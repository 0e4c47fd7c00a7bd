/* queue_row.h: queued mail as operators see it and choose it: shared by queue/ and control/. */
#ifndef VEREDUS_QUEUE_ROW_H
#define VEREDUS_QUEUE_ROW_H

#include <stdbool.h>
#include <stdint.h>
#include "span.h"

struct queue_row {
	uint64_t id, size;
	const char *from, *site;
	const char *const *rcpt;   /* still to deliver */
	unsigned n_rcpt, tries;
	uint64_t accepted_us, due_us, expire_us; /* wall clock */
	const char *last;       /* last reply or error; "" */
	bool active;            /* being delivered now */
};
/* Which items: those that match says yes to, asked on the worker that owns them. */
struct queue_filter {
	bool (*match)(const void *arg, const struct queue_row *row); /* NULL: every one */
	const void *arg;
	bool all; /* must be set where match is NULL, for retry and remove */
};

#endif
