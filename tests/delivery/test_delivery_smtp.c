#include <criterion/criterion.h>

#include "fake_store.h"
#include "rig.h"

#define MSG "Subject: one\r\n\r\nhello\r\n"

static const char *const joe[] = {"joe@example.org"};

static uint64_t items(struct rig *r)
{
	uint64_t n, rcpts;
	queue_counts(r->queue, &n, &rcpts);
	return n;
}

static void feed(struct rig *r, unsigned c, const char *s)
{
	rig_feed(r, c, span_str(s));
}

Test(delivery_smtp, pipelined)
{
	static struct rig r;
	rig_init(&r);
	cr_assert(rig_submit(&r, "alice@example.net", joe, 1, SPAN(MSG)));
	cr_assert_eq(r.n_conn, 1);
	cr_assert(r.conn[0].s != NULL);
	feed(&r, 0, "220 hi\r\n");
	cr_assert(rig_said(&r, 0, "EHLO mx.example.net\r\n"));
	feed(&r, 0, "250-mx.example.org\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 100000\r\n");
	cr_assert(rig_said(&r, 0, "MAIL FROM:<alice@example.net> SIZE=23\r\nRCPT TO:<joe@example.org>\r\nDATA\r\n"));
	feed(&r, 0, "250 ok\r\n250 ok\r\n354 go\r\n");
	cr_assert(rig_said(&r, 0, MSG ".\r\n"));
	cr_assert_eq(items(&r), 1);
	feed(&r, 0, "250 2.0.0 taken\r\n");
	cr_assert_eq(items(&r), 0);
	cr_assert_null(fake_store_qitem(r.store, 0));
	cr_assert_eq(stat_get(r.stat, STAT_delivery_out), 1);
	rig_time(&r, 5100000);
	cr_assert(rig_said(&r, 0, "QUIT\r\n"));
	feed(&r, 0, "221 bye\r\n");
	cr_assert_null(r.conn[0].s);
	rig_fini(&r);
}
