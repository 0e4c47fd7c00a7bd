/* fuzz_session.c: bytes and events into two sessions at once. */
#include "fuzz_session.h"
#include "fake_store.h"
#include "harness.h"

static void e_cut(struct harness *h, unsigned *client) /* a packet ends here */
{
}

static void e_other(struct harness *h, unsigned *client)
{
	*client ^= 1;
	if (!h->client[*client].s)
		harness_open(h, *client);
}

static void e_reopen(struct harness *h, unsigned *client)
{
	harness_open(h, *client);
	harness_run(h);
}

static void e_eof(struct harness *h, unsigned *client)
{
	harness_eof(h, *client);
}

static void e_time(struct harness *h, unsigned *client)
{
	harness_time(h, 100 * 1000000);
}

static void e_second(struct harness *h, unsigned *client)
{
	harness_time(h, 1000000);
}

static void e_fail(struct harness *h, unsigned *client)
{
	for (enum store_verb v = 0; v < STORE_VERB_N; v++)
		if (v != STORE_UNLOCK && v != STORE_WATCH)
			fake_store_fail(h->store, v, ERR_NO_SPACE, 1);
}

static void e_hold(struct harness *h, unsigned *client)
{
	fake_store_hold(h->store, true);
}

static void e_release(struct harness *h, unsigned *client)
{
	fake_store_hold(h->store, false);
	harness_run(h);
}

static void e_low_memory(struct harness *h, unsigned *client)
{
	h->env.low_memory = !h->env.low_memory;
}

static void e_no_packet(struct harness *h, unsigned *client)
{
	pkt_heap_fail_after(3);
}

static void e_slow_reader(struct harness *h, unsigned *client)
{
	h->room = h->room == 7 ? UINT32_MAX : 7;
}

static void e_shutdown(struct harness *h, unsigned *client)
{
	harness_shutdown(h);
}

static void (*const events[])(struct harness *, unsigned *) = {
	e_cut, e_other, e_reopen, e_eof, e_time, e_second, e_fail, e_hold, e_release, e_low_memory,
	e_no_packet, e_slow_reader, e_shutdown,
};

void fuzz_session(const struct proto *proto, const uint8_t *data, size_t size)
{
	struct harness h;
	unsigned client = 0;
	struct span in = span_of(data, size);
	struct store_account a;
	harness_init(&h, proto);
	h.conf.message_size_max = 3000;
	h.conf.recipients_max = 10;
	h.conf.errors_max = 30;
	CHECK(store_account_find(h.store, SPAN("alice@example.net"), &a));
	fake_store_message(h.store, a.id, "INBOX", SPAN("a: b\r\n\r\n.\r\ntext\r\n"), STORE_BLOB_DOTS, 0, 1);
	fake_store_message(h.store, a.id, "INBOX", SPAN("a: b\n\n.\nbare\rtext"), 0, 0, 2);
	if (size % 2) /* half of the time users may log in */
		h.listen.protocol = CONF_SUBMISSION;
	harness_open(&h, client);
	harness_run(&h);
	while (in.len) {
		ptrdiff_t mark = span_find(in, 0xff);
		struct span part = span_head(in, mark < 0 ? in.len : (size_t)mark);
		in = span_from(in, part.len);
		if (part.len)
			harness_feed(&h, client, part);
		if (in.len >= 2)
			events[in.p[1] % ARRAY_LEN(events)](&h, &client);
		in = span_from(in, 2);
		h.client[client].out.len = 0;
	}
	pkt_heap_fail_after(0);
	fake_store_hold(h.store, false);
	harness_fini(&h);
}
