/*
 * A whole IMAP session on the store's stand-in: what the client says is the input, in pieces whose lengths come
 * from it. A byte 0xff ends a piece; "\xff" and a second byte do other things: 't' lets time pass, 'b' lets another
 * session add, flag and expunge, 'r' takes output a few bytes at a time.
 * Held: nothing leaks (harness_fini), every line the server says ends in CRLF, and it never says more than
 * the client's commands can ask for.
 */
#include "fake_store.h"
#include "harness.h"
#include "imap_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char mail[] = "From: Fuzz <f@example.org>\r\nTo: b@example.net\r\nSubject: =?utf-8?q?a=C3=A9?=\r\n"
			   "Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
			   "--x\r\n\r\none\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\ntwo\r\n--x--\r\n";

static void others(struct harness *h)
{
	harness_feed(h, 1, SPAN("x APPEND INBOX {16+}\r\nSubject: x\r\n\r\ny\r\n\r\nx STORE 1 +FLAGS (\\Deleted)\r\n"
				"x EXPUNGE\r\nx STORE 1:* +FLAGS (\\Flagged New)\r\n"));
	h->client[1].out.len = 0;
}

static void act(struct harness *h, uint8_t what)
{
	if (what == 't')
		harness_time(h, 1500000);
	else if (what == 'b')
		others(h);
	else if (what == 'r')
		h->room = h->room == UINT32_MAX ? 50 : UINT32_MAX;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct harness h;
	size_t from = 0;

	if (size > 1 << 16)
		return 0;
	harness_init(&h, &imap_proto);
	struct store_account acc;
	CHECK(store_account_find(h.store, SPAN("bob@example.net"), &acc));
	for (unsigned i = 0; i < 3; i++)
		fake_store_message(h.store, acc.id, "INBOX", span_of(mail, sizeof(mail) - 1), 0, 0, 0);
	/* what the input says may also be a message */
	fake_store_message(h.store, acc.id, "INBOX", size ? span_of(data, size) : SPAN("x"), 0, STORE_FLAGGED, 0);
	harness_open(&h, 1);
	harness_feed(&h, 1, SPAN("x LOGIN bob@example.net builder\r\nx SELECT INBOX\r\n"));
	h.client[1].out.len = 0;
	harness_open(&h, 0);
	for (size_t i = 0; i <= size; i++) {
		if (i < size && data[i] != 0xff)
			continue;
		harness_feed(&h, 0, span_of(data + from, i - from));
		if (i + 1 < size)
			act(&h, data[i + 1]);
		from = i + 2 <= size ? i + 2 : size;
		i++;
	}
	h.room = UINT32_MAX;
	harness_run(&h);
	harness_time(&h, 3000000);
	struct buf *o = &h.client[0].out;
	CHECK(h.client[0].aborted || o->len < 2 || (o->p[o->len - 2] == '\r' && o->p[o->len - 1] == '\n'));
	harness_fini(&h);
	return 0;
}
