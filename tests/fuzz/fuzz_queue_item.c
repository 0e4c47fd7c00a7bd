/* What the store gives back as a queue item: read, written and read again it says the same; a queue takes or leaves it. */
#include <stdlib.h>

#include "check.h"
#include "queue_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void same(const struct queue_state *a, const struct queue_state *b)
{
	CHECK(a->body_8bit == b->body_8bit && a->binary == b->binary && a->ret == b->ret && a->tries == b->tries && a->accepted_us == b->accepted_us &&
	      a->expire_us == b->expire_us && a->site.port == b->site.port && ip_eq(&a->site.host, &b->site.host));
	CHECK(span_eq(a->from, b->from) && span_eq(a->last, b->last) && span_eq(a->session, b->session));
	CHECK(span_eq(a->envid, b->envid));
	CHECK(a->n_rcpt == b->n_rcpt);
	for (unsigned i = 0; i < a->n_rcpt; i++) {
		CHECK(a->rcpt[i].state == b->rcpt[i].state && span_eq(a->rcpt[i].addr, b->rcpt[i].addr) &&
		      span_eq(a->rcpt[i].reply, b->rcpt[i].reply) &&
		      a->rcpt[i].notify == b->rcpt[i].notify && span_eq(a->rcpt[i].orcpt, b->rcpt[i].orcpt));
		CHECK(queue_addr_ok(a->rcpt[i].addr) && a->rcpt[i].addr.len > 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct queue_state a, b;
	uint8_t *exact = malloc(len > 0 ? len : 1);
	CHECK(exact != NULL);
	if (len > 0)
		memcpy(exact, data, len);
	if (queue_state_read(span_of(exact, len), &a) == ERR_OK) {
		struct buf out;
		buf_init(&out);
		queue_state_write(&out, &a);
		CHECK(queue_state_read(buf_span(&out), &b) == ERR_OK);
		CHECK(out.len == len || data[0] == 1);
		same(&a, &b);
		buf_fini(&out);
	}
	free(exact);
	return 0;
}
