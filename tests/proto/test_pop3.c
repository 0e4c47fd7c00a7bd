/* test_pop3.c: what dialogues cannot say of the POP3 server: faults in the middle of a reply, bounds on memory. */
#include <criterion/criterion.h>
#include <stdio.h>
#include "fake_store.h"
#include "harness.h"
#include "pop3_int.h"
#include "pop3_server.h"

static uint64_t alice(struct harness *h)
{
	struct store_account a;
	cr_assert(store_account_find(h->store, SPAN("alice@example.net"), &a));
	return a.id;
}

static void add_big(struct harness *h, size_t size)
{
	struct buf b;
	buf_init(&b);
	buf_add_str(&b, "Subject: big\r\n\r\n");
	while (b.len < size)
		buf_add_str(&b, "0123456789012345678901234567890123456789012345678901234567890\r\n");
	fake_store_message(h->store, alice(h), "INBOX", buf_span(&b), 0, 0, 1);
	buf_fini(&b);
}

static void log_in(struct harness *h)
{
	harness_open(h, 0);
	harness_run(h);
	harness_feed(h, 0, SPAN("USER alice\r\nPASS wonderland\r\n"));
	cr_assert_not_null(memmem(h->client[0].out.p, h->client[0].out.len, " messages (", 11));
	h->client[0].out.len = 0;
}

Test(pop3, fault_in_the_middle_resets)
{
	struct harness h;
	harness_init(&h, &pop3_proto);
	add_big(&h, 1 << 20);
	log_in(&h);
	h.room = 0; /* the peer takes nothing for now */
	harness_feed(&h, 0, SPAN("RETR 1\r\n"));
	struct session *s = h.client[0].s;
	cr_expect_leq(stream_pending(&s->st), STREAM_TX_HIGH + POP3_READ + PKT_ROOM);
	fake_store_fail(h.store, STORE_READ, ERR_IO, 1);
	h.room = UINT32_MAX;
	harness_run(&h);
	cr_expect(h.client[0].closed && h.client[0].aborted);
	cr_expect_not(memmem(h.client[0].out.p, h.client[0].out.len, "\r\n.\r\n", 5));
	log_in(&h); /* the mailbox was let go */
	harness_fini(&h);
}

Test(pop3, slow_reader_holds_little)
{
	struct harness h;
	harness_init(&h, &pop3_proto);
	add_big(&h, 4 << 20);
	log_in(&h);
	h.room = 1;
	harness_feed(&h, 0, SPAN(""));
	uint64_t most = 0;
	h.room = 0;
	harness_feed(&h, 0, SPAN("RETR 1\r\nRETR 1\r\nNOOP\r\n"));
	struct session *s = h.client[0].s;
	h.room = 3000;
	while (h.client[0].out.len < 9 << 20) {
		uint64_t before = h.client[0].out.len;
		if (stream_pending(&s->st) > most)
			most = stream_pending(&s->st);
		harness_run(&h);
		if (h.client[0].out.len == before)
			break;
	}
	cr_expect_leq(most, STREAM_TX_HIGH + POP3_READ + PKT_ROOM, "%llu", (unsigned long long)most);
	cr_expect_gt(h.client[0].out.len, 8 << 20);
	struct span out = buf_span(&h.client[0].out);
	cr_expect(span_eq(span_from(out, out.len - 8), SPAN(".\r\n+OK\r\n")));
	cr_expect_eq(s->arena.total, 0);
	harness_fini(&h);
}

Test(pop3, idle_session_is_small)
{
	struct harness h;
	harness_init(&h, &pop3_proto);
	harness_open(&h, 0);
	harness_run(&h);
	struct session *s = h.client[0].s;
	size_t idle = sizeof(struct pop3_session) + s->st.rx.cap * sizeof(struct slice) +
		      s->st.tx.cap * sizeof(struct slice);
	cr_expect_eq(s->arena.total, 0);
	cr_expect_leq(idle, 1024, "%zu bytes", idle);
	harness_fini(&h);
}

Test(pop3, big_lists_wait_for_the_peer)
{
	struct harness h;
	harness_init(&h, &pop3_proto);
	for (unsigned i = 0; i < 2000; i++)
		fake_store_message(h.store, alice(&h), "INBOX", SPAN("a: b\r\n"), 0, 0, 1);
	log_in(&h);
	h.room = 0;
	for (unsigned i = 0; i < 20; i++)
		harness_feed(&h, 0, SPAN("UIDL\r\n"));
	cr_expect_leq(stream_pending(&h.client[0].s->st), STREAM_TX_HIGH + 1024);
	h.room = UINT32_MAX;
	harness_run(&h);
	unsigned ends = 0;
	struct span out = buf_span(&h.client[0].out);
	for (size_t i = 0; i + 5 <= out.len; i++)
		ends += memcmp(out.p + i, "\r\n.\r\n", 5) == 0;
	cr_expect_eq(ends, 20);
	harness_fini(&h);
}

Test(pop3, every_packet_may_be_the_last)
{
	for (unsigned n = 1; n < 30; n++) {
		struct harness h;
		harness_init(&h, &pop3_proto);
		add_big(&h, 10000);
		harness_open(&h, 0);
		harness_run(&h);
		pkt_heap_fail_after(n);
		harness_feed(&h, 0, SPAN("USER alice\r\n"));
		harness_feed(&h, 0, SPAN("PASS wonderland\r\nLIST\r\nRETR 1\r\n"));
		harness_feed(&h, 0, SPAN("TOP 1 1\r\nQUIT\r\n"));
		pkt_heap_fail_after(0);
		cr_expect(h.client[0].closed);
		harness_fini(&h);
	}
}
