#include <criterion/criterion.h>

#include "queue_state.h"

static struct queue_state sample(void)
{
	struct queue_state s = {
		.body_8bit = true, .binary = true, .ret = QUEUE_RET_FULL, .envid = SPAN("id+2B1"), .tries = 3, .accepted_us = 1111, .expire_us = 2222, .from = SPAN("a@b"),
		.last = SPAN("451 x"), .session = SPAN("5e55"), .n_rcpt = 3,
		.rcpt = {{.addr = SPAN("c@d"), .notify = 6, .orcpt = SPAN("rfc822;c+2Bx@d")},
			 {.state = QUEUE_DONE, .addr = SPAN("e@f"), .reply = SPAN("250")},
			 {.state = QUEUE_FAILED, .addr = SPAN("\"q q\"@h"), .reply = SPAN("550 no")}},
	};
	s.site.port = 2525;
	s.site.host.b[15] = 9;
	return s;
}

Test(queue_state, there_and_back)
{
	static struct queue_state s, t;
	struct buf b;
	buf_init(&b);
	s = sample();
	queue_state_write(&b, &s);
	cr_assert_eq(queue_state_read(buf_span(&b), &t), ERR_OK);
	cr_assert(t.body_8bit && t.binary && t.ret == QUEUE_RET_FULL && span_eq(t.envid, SPAN("id+2B1")));
	cr_assert(t.rcpt[0].notify == 6 && span_eq(t.rcpt[0].orcpt, SPAN("rfc822;c+2Bx@d")));
	cr_assert_eq(t.tries, 3);
	cr_assert(t.accepted_us == 1111 && t.expire_us == 2222);
	cr_assert(t.site.port == 2525 && ip_eq(&t.site.host, &s.site.host));
	cr_assert(span_eq(t.from, s.from) && span_eq(t.last, s.last) && span_eq(t.session, s.session));
	cr_assert_eq(t.n_rcpt, 2, "who has it is left out");
	cr_assert(t.rcpt[0].state == QUEUE_PENDING && span_eq(t.rcpt[0].addr, SPAN("c@d")));
	cr_assert(t.rcpt[1].state == QUEUE_FAILED && span_eq(t.rcpt[1].reply, SPAN("550 no")));
	buf_fini(&b);
}

/* What the version before wrote is read, and written anew as version 2. */
Test(queue_state, version_1)
{
	static const uint8_t v1[] = {1, 1, 3, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 25, 0, 3, 0, 'a', '@', 'b', 0, 0, 0, 0,
		1, 0, 1, 3, 0, 'c', '@', 'd', 3, 0, '5', '5', '0'};
	static struct queue_state t, u;
	struct buf b;
	cr_assert_eq(queue_state_read(span_of(v1, sizeof(v1)), &t), ERR_OK);
	cr_assert(t.body_8bit && !t.binary && t.ret == QUEUE_RET_NONE && t.envid.len == 0 && t.tries == 3);
	cr_assert(t.n_rcpt == 1 && t.rcpt[0].state == QUEUE_FAILED && t.rcpt[0].notify == 0 && t.rcpt[0].orcpt.len == 0);
	cr_assert(span_eq(t.rcpt[0].addr, SPAN("c@d")) && span_eq(t.rcpt[0].reply, SPAN("550")));
	buf_init(&b);
	queue_state_write(&b, &t);
	cr_assert_eq(b.p[0], 2);
	cr_assert_eq(queue_state_read(buf_span(&b), &u), ERR_OK);
	cr_assert(span_eq(u.rcpt[0].addr, t.rcpt[0].addr) && u.accepted_us == 7 && u.expire_us == 9);
	buf_fini(&b);
}

/* Cut anywhere, one byte more, or any byte changed: never read beyond, and refused or a sane state. */
Test(queue_state, damaged)
{
	static struct queue_state s, t;
	struct buf b;
	buf_init(&b);
	s = sample();
	queue_state_write(&b, &s);
	for (size_t n = 0; n < b.len; n++) {
		uint8_t *exact = malloc(n > 0 ? n : 1);
		memcpy(exact, b.p, n);
		cr_assert_eq(queue_state_read(span_of(exact, n), &t), ERR_CORRUPT, "%zu", n);
		free(exact);
	}
	for (size_t i = 0; i < b.len; i++)
		for (unsigned v = 0; v < 256; v++) {
			uint8_t was = b.p[i];
			b.p[i] = (uint8_t)v;
			if (queue_state_read(buf_span(&b), &t) == ERR_OK) {
				cr_assert(t.n_rcpt > 0 && t.n_rcpt <= QUEUE_ITEM_RCPT_MAX);
				for (unsigned k = 0; k < t.n_rcpt; k++)
					cr_assert(queue_addr_ok(t.rcpt[k].addr) && t.rcpt[k].addr.len > 0);
			}
			b.p[i] = was;
		}
	buf_add_u8(&b, 0);
	cr_assert_eq(queue_state_read(buf_span(&b), &t), ERR_CORRUPT);
	b.p[0] = 3;
	cr_assert_eq(queue_state_read(buf_span(&b), &t), ERR_UNSUPPORTED);
	buf_fini(&b);
}

Test(queue_state, addresses_hold_no_line_ends)
{
	static const struct {
		struct span addr;
		bool ok;
	} row[] = {
		{SPAN("a@b"), true}, {SPAN("\"a b\"@c"), true}, {SPAN("a\r\nRCPT TO:<x>@b"), false},
		{SPAN("a\n@b"), false}, {SPAN("a\0b@c"), false}, {SPAN("a\x7f@b"), false}, {SPAN(""), true},
	};
	static struct queue_state s, t;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		cr_expect_eq(queue_addr_ok(row[i].addr), row[i].ok, "%zu", i);
		s = sample();
		s.rcpt[0].addr = row[i].addr;
		struct buf b;
		buf_init(&b);
		queue_state_write(&b, &s);
		cr_expect_eq(queue_state_read(buf_span(&b), &t) == ERR_OK, row[i].ok && row[i].addr.len > 0, "%zu", i);
		buf_fini(&b);
	}
}

Test(queue_state, long_texts_are_cut)
{
	static struct queue_state s, t;
	static char text[5000];
	memset(text, 'x', sizeof(text));
	s = sample();
	s.last = s.rcpt[2].reply = span_of(text, sizeof(text));
	struct buf b;
	buf_init(&b);
	queue_state_write(&b, &s);
	cr_assert_eq(queue_state_read(buf_span(&b), &t), ERR_OK);
	cr_assert_eq(t.last.len, QUEUE_TEXT_MAX);
	cr_assert_eq(t.rcpt[1].reply.len, QUEUE_TEXT_MAX);
	buf_fini(&b);
}
