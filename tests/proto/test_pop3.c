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

/* ---- random walks against a model; another client of the mailbox adds and expunges meanwhile ---- */
#define BOX_MAX 64
struct model {
	unsigned n;               /* messages in the snapshot */
	unsigned id[BOX_MAX];     /* which they are */
	bool deleted[BOX_MAX];
	bool logged_in;
};

struct box { /* what is in the mailbox */
	unsigned n, next_id;
	unsigned id[BOX_MAX];
	uint32_t uid[BOX_MAX];
};

static void box_add(struct harness *h, struct box *b)
{
	char text[64];
	if (b->n == BOX_MAX)
		return;
	int len = snprintf(text, sizeof(text), "id: %u\r\n\r\nbody\r\n", b->next_id);
	b->uid[b->n] = fake_store_message(h->store, alice(h), "INBOX", span_of(text, (size_t)len), 0, 0, 1);
	b->id[b->n++] = b->next_id++;
}

static void box_remove(struct box *b, unsigned i)
{
	b->n--;
	memmove(&b->id[i], &b->id[i + 1], (b->n - i) * sizeof(b->id[0]));
	memmove(&b->uid[i], &b->uid[i + 1], (b->n - i) * sizeof(b->uid[0]));
}

static void box_expunge(struct harness *h, struct box *b, struct rnd *r)
{
	struct store_op *op, *done = NULL;
	if (b->n == 0)
		return;
	unsigned i = rnd_below(r, b->n);
	uint32_t range[2] = {b->uid[i], b->uid[i]};
	op = store_op_new(store_core(h->store, 1), STORE_COMMIT, UINT32_MAX, 0);
	store_tx_expunge(op, alice(h), STORE_INBOX, range, 1, false);
	store_submit(store_core(h->store, 1), op);
	harness_run(h);
	cr_assert_eq(store_poll(store_core(h->store, 1), &done, 1), 1);
	store_op_free(&done);
	box_remove(b, i);
}

static int box_find(const struct box *b, unsigned id)
{
	for (unsigned i = 0; i < b->n; i++)
		if (b->id[i] == id)
			return (int)i;
	return -1;
}

static const char *ask(struct harness *h, const char *fmt, unsigned n)
{
	static char reply[4096];
	char line[64];
	struct buf *out = &h->client[0].out;
	int len = snprintf(line, sizeof(line), fmt, n);
	harness_feed(h, 0, span_of(line, (size_t)len));
	cr_assert(span_cstr(buf_span(out), reply, sizeof(reply)));
	out->len = 0;
	return reply;
}

static void walk_login(struct harness *h, struct model *m, const struct box *b)
{
	harness_open(h, 0);
	harness_run(h);
	h->client[0].out.len = 0;
	ask(h, "USER alice\r\n", 0);
	cr_assert_eq(strncmp(ask(h, "PASS wonderland\r\n", 0), "+OK", 3), 0);
	memset(m, 0, sizeof(*m));
	m->logged_in = true;
	m->n = b->n;
	memcpy(m->id, b->id, sizeof(m->id));
}

/* What QUIT makes of the mailbox. */
static void walk_quit(struct harness *h, struct model *m, struct box *b, bool fault)
{
	unsigned n_deleted = 0;
	for (unsigned i = 0; i < m->n; i++)
		n_deleted += m->deleted[i];
	if (fault)
		fake_store_fail(h->store, STORE_COMMIT, ERR_IO, 1);
	const char *reply = ask(h, "QUIT\r\n", 0);
	cr_assert_eq(strncmp(reply, fault && n_deleted ? "-ERR" : "+OK ", 4), 0, "%s", reply);
	cr_assert(h->client[0].closed);
	for (unsigned i = 0; i < m->n && !fault; i++)
		if (m->deleted[i] && box_find(b, m->id[i]) >= 0)
			box_remove(b, (unsigned)box_find(b, m->id[i]));
	fake_store_fail(h->store, STORE_COMMIT, ERR_OK, 0);
	m->logged_in = false;
}

static void walk_message(struct harness *h, struct model *m, const struct box *b, unsigned n, const char *how)
{
	bool known = n >= 1 && n <= m->n && !m->deleted[n - 1];
	const char *reply = ask(h, how, n);
	char want[32];
	if (!known) {
		cr_assert_eq(strncmp(reply, "-ERR No such", 12), 0, "%s", reply);
	} else if (box_find(b, m->id[n - 1]) < 0) {
		cr_assert_eq(strncmp(reply, "-ERR [SYS/TEMP]", 15), 0, "%s", reply);
	} else {
		snprintf(want, sizeof(want), "id: %u\r\n", m->id[n - 1]);
		cr_assert_not_null(strstr(reply, want), "%u: %s", n, reply);
	}
}

Test(pop3, random_walks_agree_with_the_model, .timeout = 120)
{
	struct rnd r;
	rnd_seed(&r, 11);
	for (unsigned walk = 0; walk < 100; walk++) {
		struct harness h;
		struct model m = {0};
		struct box b = {.next_id = 1};
		harness_init(&h, &pop3_proto);
		h.conf.errors_max = 1000;
		for (unsigned step = 0; step < 100; step++) {
			unsigned what = rnd_below(&r, 10), n = rnd_below(&r, m.n + 2);
			const char *reply;
			if (!m.logged_in)
				walk_login(&h, &m, &b);
			switch (what) {
			case 0:
			case 1:
				box_add(&h, &b);
				break;
			case 2:
				box_expunge(&h, &b, &r);
				break;
			case 3:
			case 4:
				reply = ask(&h, "DELE %u\r\n", n);
				cr_assert_eq(reply[0] == '+', n >= 1 && n <= m.n && !m.deleted[n - 1], "%s", reply);
				if (reply[0] == '+')
					m.deleted[n - 1] = true;
				break;
			case 5:
				walk_message(&h, &m, &b, n, "RETR %u\r\n");
				break;
			case 6:
				walk_message(&h, &m, &b, n, "TOP %u 1\r\n");
				break;
			case 7:
				if (rnd_below(&r, 3) == 0) {
					ask(&h, "RSET\r\n", 0);
					memset(m.deleted, 0, sizeof(m.deleted));
				}
				break;
			case 8:
				walk_quit(&h, &m, &b, rnd_below(&r, 3) == 0);
				break;
			default: /* the connection is lost: nothing is deleted */
				harness_close(&h, 0);
				harness_run(&h);
				m.logged_in = false;
			}
		}
		for (unsigned i = 0; i < b.n; i++) {
			char want[32];
			snprintf(want, sizeof(want), "id: %u\r\n", b.id[i]);
			struct span got = fake_store_bytes(h.store, alice(&h), "INBOX", i);
			cr_assert(span_istarts(got, span_str(want)), "walk %u: message %u is " SPAN_FMT, walk, i,
				  SPAN_ARG(got));
		}
		cr_assert_eq(fake_store_bytes(h.store, alice(&h), "INBOX", b.n).len, 0);
		harness_fini(&h);
	}
}
