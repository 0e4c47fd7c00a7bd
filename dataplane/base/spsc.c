/* spsc.c: making and ending the ring; all that runs per element is inline in the header. */
#include "spsc.h"
#include <stdlib.h>
#include <string.h>
#include "check.h"

void spsc_init(struct spsc *r, uint32_t size)
{
	CHECK(size > 0 && (size & (size - 1)) == 0);
	memset(r, 0, sizeof(*r));
	atomic_init(&r->head, 0);
	atomic_init(&r->tail, 0);
	r->mask = size - 1;
	r->slot = calloc(size, sizeof(*r->slot));
	CHECK(r->slot);
}

void spsc_fini(struct spsc *r)
{
	free(r->slot);
	r->slot = NULL;
}
