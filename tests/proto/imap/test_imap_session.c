#include <criterion/criterion.h>
#include <stdio.h>
#include "harness.h"
#include "imap_int.h"
#include "imap_server.h"

static struct harness h;

static void say(unsigned client, const char *text)
{
	harness_feed(&h, client, span_str(text));
}

/* Takes what was said. */
static bool said(unsigned client, const char *part)
{
	struct buf *o = &h.client[client].out;
	bool found = o->len && memmem(o->p, o->len, part, strlen(part)) != NULL;

	o->len = 0;
	return found;
}

/* Fixed cost of a connection: the struct; nothing else is held between commands. */
Test(imap_session, memory)
{
	cr_expect_leq(sizeof(struct imap), 1024);
	harness_init(&h, &imap_proto);
	harness_open(&h, 0);
	struct imap *im = (struct imap *)h.client[0].s;
	say(0, "a NOOP\r\nb LOGIN bob@example.net builder\r\nc LIST \"\" *\r\nd CREATE {3+}\r\nabc\r\n");
	cr_expect(im->cmd.cap == 0 && im->reply.cap == 0 && im->out.cap == 0 && im->s.arena.total == 0);
	cr_expect(im->msg == NULL && im->view == NULL);
	say(0, "e APPEND INBOX {3+}\r\nabc\r\nf SELECT INBOX\r\ng FETCH 1 (BODY[] ENVELOPE)\r\nh SEARCH BODY x\r\n");
	cr_expect(im->cmd.cap == 0 && im->out.cap == 0 && im->s.arena.total == 0 && im->msg == NULL);
	cr_expect(im->view && im->view->n == 1);
	harness_fini(&h);
}

/* A literal that has been announced takes no memory until its bytes come; 64 KiB is the end of it. */
Test(imap_session, literals_take_no_memory_ahead)
{
	harness_init(&h, &imap_proto);
	harness_open(&h, 0);
	struct imap *im = (struct imap *)h.client[0].s;
	say(0, "a LOGIN bob@example.net builder\r\nb CREATE {60000}\r\n");
	cr_expect(said(0, "+ Ready"));
	cr_expect_lt(im->cmd.cap, 4096);
	for (unsigned i = 0; i < 59; i++) {
		char part[1000];

		memset(part, 'x', sizeof(part));
		harness_feed(&h, 0, span_of(part, sizeof(part)));
	}
	cr_expect_leq(im->cmd.cap, 2 * IMAP_LINE_MAX);
	harness_fini(&h);
}

/* Thousands of literals, none of them too big, do not add up. */
Test(imap_session, many_literals, .timeout = 20)
{
	harness_init(&h, &imap_proto);
	harness_open(&h, 0);
	say(0, "a LOGIN bob@example.net builder\r\n0 SELECT INBOX\r\n");
	said(0, "");
	say(0, "b SEARCH FROM {3+}\r\nabc");
	for (unsigned i = 0; i < 10000 && !h.client[0].closed; i++)
		say(0, " FROM {3+}\r\nabc");
	say(0, "\r\n");
	cr_expect(said(0, "TOOBIG"));
	harness_fini(&h);
}

/* A flood of commands whose answers are not read waits in the stream, not in memory. */
Test(imap_session, unread_answers)
{
	harness_init(&h, &imap_proto);
	harness_open(&h, 0);
	say(0, "a LOGIN bob@example.net builder\r\n");
	h.room = 0;
	uint64_t most = 0;
	for (unsigned i = 0; i < 200; i++) {
		struct buf b;

		buf_init(&b);
		for (unsigned k = 0; k < 100; k++)
			buf_add_str(&b, "x CAPABILITY\r\n");
		harness_feed(&h, 0, buf_span(&b));
		buf_fini(&b);
		uint64_t pending = stream_pending(&h.client[0].s->st);
		most = pending > most ? pending : most;
	}
	cr_expect_leq(most, STREAM_TX_HIGH + 4096, "%llu", (unsigned long long)most);
	h.room = UINT32_MAX;
	harness_run(&h);
	cr_expect(said(0, "x OK CAPABILITY completed"));
	harness_fini(&h);
}

/* A large body is not taken from the store faster than the client reads. */
Test(imap_session, large_body_waits)
{
	harness_init(&h, &imap_proto);
	harness_open(&h, 0);
	say(0, "a LOGIN bob@example.net builder\r\nb APPEND INBOX {1000000+}\r\n");
	for (unsigned i = 0; i < 1000; i++) {
		char part[1000];

		memset(part, 'x', sizeof(part));
		harness_feed(&h, 0, span_of(part, sizeof(part)));
	}
	say(0, "\r\nc SELECT INBOX\r\n");
	cr_expect(said(0, "b OK [APPENDUID"));
	h.room = 0;
	say(0, "d FETCH 1 (BODY.PEEK[] BODYSTRUCTURE)\r\n");
	cr_expect_leq(stream_pending(&h.client[0].s->st), STREAM_TX_HIGH + IMAP_READ_MAX);
	h.room = UINT32_MAX;
	harness_run(&h);
	cr_expect_gt(h.client[0].out.len, 1000000);
	cr_expect(said(0, "d OK FETCH completed"));
	h.room = 0;
	say(0, "e FETCH 1 BODY.PEEK[]\r\n");
	cr_expect_leq(stream_pending(&h.client[0].s->st), STREAM_TX_HIGH + IMAP_READ_MAX);
	h.room = UINT32_MAX;
	harness_run(&h);
	cr_expect(said(0, "e OK FETCH completed"));
	harness_fini(&h);
}
