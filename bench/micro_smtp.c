/*
 * micro_smtp.c: what a message costs in the SMTP session alone: commands, DATA, commit and replies over packets from
 * malloc, with a store that answers at once, no network and no disk. CPU nanoseconds a message, best of three,
 * for several sizes, with and without pipelining. Includes making and freeing the packets that the
 * network would bring.
 */
#include <stdio.h>
#include <stdlib.h>
#include "clock.h"
#include "directory.h"
#include "smtp_server.h"

#define OPS 8
#define SEGMENT 1448u /* an Ethernet segment with timestamps */

/* ---- a store that keeps nothing ---- */
struct store_core {
	struct store_op op[OPS], *unused[OPS], *done[OPS];
	unsigned n_unused, n_done;
	uint64_t seq;
};

struct store_op *store_op_new(struct store_core *c, enum store_verb verb, uint32_t owner, uint32_t owner_gen)
{
	struct store_op *op = c->n_unused ? c->unused[--c->n_unused] : NULL;
	if (op)
		*op = (struct store_op){.core = c, .verb = verb, .owner = owner, .owner_gen = owner_gen};
	return op;
}

void store_op_free(struct store_op **op)
{
	slices_drop(&(*op)->body);
	(*op)->core->unused[(*op)->core->n_unused++] = *op;
	*op = NULL;
}

void store_submit(struct store_core *c, struct store_op *op)
{
	c->done[c->n_done++] = op;
}

store_id store_id_new(struct store_core *c)
{
	return ++c->seq;
}

void queue_submit(struct queue *q, struct store_op *op, const struct queue_envelope *e, uint32_t relay_off,
		  uint32_t blob_flags, const struct slices *body)
{
	op->submit = true;
}

enum dir_verdict dir_resolve(const struct conf *c, const struct store *s, const struct ip_addr *peer,
			     struct span local, struct span domain, struct queue_rcpt *out)
{
	out->acct = 1;
	return DIR_LOCAL;
}

struct auth_op *auth_submit(struct auth_core *ac, const struct conf *c, const struct store *s, struct span user,
			    struct span password, uint32_t owner, uint32_t owner_gen)
{
	return NULL;
}

void auth_op_free(struct auth_op **op)
{
	*op = NULL;
}

/* ---- a client and the loop ---- */
static struct {
	struct session *s;
	struct store_core store;
	struct conf conf;
	struct proto_env env;
	struct stat stat;
	struct trace trace;
} b;

static void turn(struct span bytes)
{
	struct stream *st = &b.s->st;
	struct slice out[8];
	unsigned n;
	while (bytes.len) {
		struct span part = span_head(bytes, SEGMENT);
		struct pkt *p = pkt_alloc(b.env.pool);
		CHECK(p != NULL);
		uint8_t *to = pkt_append(p, (uint32_t)part.len);
		memcpy(to, part.p, part.len);
		stream_feed(st, (struct slice){p, to, (uint32_t)part.len});
		bytes = span_from(bytes, part.len);
	}
	b.env.now_us += 10;
	smtp_proto.input(b.s);
	while (b.store.n_done > 0) {
		struct store_op *op = b.store.done[0];
		memmove(b.store.done, b.store.done + 1, --b.store.n_done * sizeof(op));
		smtp_proto.store_done(b.s, op);
	}
	while ((n = stream_out(st, UINT32_MAX, out, ARRAY_LEN(out))) > 0)
		for (unsigned i = 0; i < n; i++)
			slice_drop(&out[i]);
	stream_taken(st);
}

static uint64_t run(struct span message, bool pipelined, unsigned n)
{
	static const char *const cmd[] = {"MAIL FROM:<sender@b.example> BODY=8BITMIME\r\n", "RCPT TO:<alice@example.net>\r\n",
					  "DATA\r\n"};
	char all[128];
	int len = snprintf(all, sizeof(all), "%s%s%s", cmd[0], cmd[1], cmd[2]);
	uint64_t before = stat_get(&b.stat, STAT_smtp_messages_in), start = clock_thread_cpu_ns();
	for (unsigned i = 0; i < n; i++) {
		if (pipelined)
			turn(span_of(all, (size_t)len));
		for (unsigned k = 0; k < ARRAY_LEN(cmd) && !pipelined; k++)
			turn(span_str(cmd[k]));
		turn(message);
	}
	CHECK(stat_get(&b.stat, STAT_smtp_messages_in) - before == n);
	return (clock_thread_cpu_ns() - start) / n;
}

static uint8_t *message_make(size_t size)
{
	static const char head[] = "Subject: a message\r\nFrom: <sender@b.example>\r\n\r\n";
	uint8_t *m = malloc(size + 5);
	CHECK(m != NULL && size > sizeof(head));
	for (size_t i = 0; i < size; i++)
		m[i] = (uint8_t)(i % 78 == 76 ? '\r' : i % 78 == 77 ? '\n' : 'a' + i % 26);
	memcpy(m, head, sizeof(head) - 1);
	m[size - 1] = 'z';
	memcpy(m + size, "\r\n.\r\n", 5);
	return m;
}

static void set_up(void)
{
	b.conf = (struct conf){.hostname = "mx.example.net", .message_size_max = 1 << 30, .recipients_max = 100,
			       .hops_max = 50, .errors_max = 10, .smtp_timeout_s = 300};
	b.env = (struct proto_env){.now_us = 1, .wall_us = 1767225600000000u, .conf = &b.conf, .store = &b.store,
				   .pool = pkt_pool_create("bench", 100000, PKT_ROOM), .stat = &b.stat,
				   .trace = &b.trace};
	for (unsigned i = 0; i < OPS; i++)
		b.store.unused[b.store.n_unused++] = &b.store.op[i];
	b.s = calloc(1, smtp_proto.size);
	CHECK(b.s != NULL && ip_parse(SPAN("198.51.100.7"), &b.s->peer));
	stream_init(&b.s->st, b.env.pool);
	b.s->env = &b.env;
	smtp_proto.open(b.s);
	turn(SPAN(""));
	turn(SPAN("EHLO client.example.org\r\n"));
}

int main(void)
{
	static const size_t sizes[] = {1024, 4096, 65536};
	set_up();
	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		uint8_t *m = message_make(sizes[i]);
		for (unsigned pipelined = 0; pipelined < 2; pipelined++) {
			uint64_t best = UINT64_MAX;
			for (unsigned k = 0; k < 3; k++) {
				uint64_t ns = run(span_of(m, sizes[i] + 5), pipelined, sizes[i] > 10000 ? 5000 : 50000);
				best = ns < best ? ns : best;
			}
			printf("%6zu bytes, %s: %6llu ns a message\n", sizes[i],
			       pipelined ? "pipelined   " : "step by step", (unsigned long long)best);
		}
		free(m);
	}
	smtp_proto.close(b.s);
	stream_fini(&b.s->st);
	free(b.s);
	pkt_pool_destroy(&b.env.pool);
	return 0;
}
