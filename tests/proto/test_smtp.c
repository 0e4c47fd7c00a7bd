/*
 * test_smtp.c: what dialogues cannot say of the SMTP server: bounds on memory, that nothing is copied, every
 * short string at the end of data, and random walks against a second, independent state machine.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include "fake_store.h"
#include "harness.h"
#include "smtp_int.h"
#include "smtp_server.h"

static void feed_str(struct harness *h, const char *s)
{
	harness_feed(h, 0, span_str(s));
}

/* Everything that was said since the last call. */
static const char *said(struct harness *h)
{
	static char text[65536];
	struct span s = buf_span(&h->client[0].out);
	cr_assert(span_cstr(s, text, sizeof(text)));
	h->client[0].out.len = 0;
	return text;
}

static void begin(struct harness *h)
{
	harness_init(h, &smtp_proto);
	harness_open(h, 0);
	harness_run(h);
	feed_str(h, "HELO c.example\r\n");
	said(h);
}

static void begin_data(struct harness *h)
{
	feed_str(h, "MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@example.net>\r\nDATA\r\n");
	cr_assert_not_null(strstr(said(h), "354 "));
}

Test(smtp, clean_message_is_not_copied)
{
	struct harness h;
	char text[4096];
	begin(&h);
	begin_data(&h);
	memset(text, 'x', sizeof(text));
	for (unsigned i = 0; i < sizeof(text); i += 64)
		memcpy(text + i, "\r\n", 2);
	unsigned before = pkt_heap_outstanding();
	fake_store_hold(h.store, true);
	harness_feed(&h, 0, span_of(text, sizeof(text)));
	feed_str(&h, "\r\n.\r\n");
	/* Its three packets and no other: our header lines had theirs before, the end mark's is not kept. */
	cr_expect_leq(pkt_heap_outstanding() - before, 4, "%u packets", pkt_heap_outstanding() - before);
	fake_store_hold(h.store, false);
	harness_run(&h);
	cr_expect_not_null(strstr(said(&h), "250 2.0.0"));
	harness_fini(&h);
}

Test(smtp, slow_store_closes_the_window)
{
	struct harness h;
	struct buf big;
	begin(&h);
	h.conf.message_size_max = 16 << 20;
	begin_data(&h);
	buf_init(&big);
	while (big.len < 4 << 20)
		buf_add_str(&big, "0123456789012345678901234567890123456789012345678901234567890\r\n");
	fake_store_hold(h.store, true);
	harness_feed(&h, 0, buf_span(&big));
	struct session *s = h.client[0].s;
	uint64_t held = big.len - stream_readable(&s->st);
	cr_expect_leq(held, (SMTP_PARTS_MAX + 1) * SMTP_PART + 4096, "%llu bytes taken", (unsigned long long)held);
	cr_expect_eq(smtp_of(s)->parts, SMTP_PARTS_MAX);
	fake_store_hold(h.store, false);
	harness_run(&h);
	cr_expect_eq(stream_readable(&s->st), 0);
	feed_str(&h, ".\r\n");
	cr_expect_not_null(strstr(said(&h), "250 2.0.0"));
	struct store_account a;
	cr_assert(store_account_find(h.store, SPAN("alice@example.net"), &a));
	struct span got = fake_store_bytes(h.store, a.id, "INBOX", 0);
	cr_assert_gt(got.len, big.len);
	cr_expect_eq(memcmp(got.p + got.len - big.len, big.p, big.len), 0);
	buf_fini(&big);
	harness_fini(&h);
}

/* The store takes parts of at most SMTP_PART, the last one with the commit. */
Test(smtp, sizes_around_the_parts)
{
	struct harness h;
	struct store_account a;
	unsigned n = 0;
	char *text = malloc(5 * SMTP_PART);
	memset(text, 'x', 5 * SMTP_PART);
	begin(&h);
	h.conf.message_size_max = 16 << 20;
	cr_assert(store_account_find(h.store, SPAN("alice@example.net"), &a));
	begin_data(&h);
	size_t head = smtp_of(h.client[0].s)->txn->body.len;
	feed_str(&h, ".\r\n");
	said(&h);
	n++;
	for (unsigned parts = 1; parts <= 4; parts++)
		for (int d = -3; d <= 3; d++)
			for (unsigned hold = 0; hold < 2; hold++) {
				size_t len = (size_t)((int)(parts * SMTP_PART - head) + d);
				begin_data(&h);
				fake_store_hold(h.store, hold);
				harness_feed(&h, 0, span_of(text, len - 2));
				feed_str(&h, "\r\n.\r\n");
				fake_store_hold(h.store, false);
				harness_run(&h);
				cr_assert_not_null(strstr(said(&h), "250 2.0.0"), "%u parts %d", parts, d);
				struct span got = fake_store_bytes(h.store, a.id, "INBOX", n++);
				cr_assert_eq(got.len, head + len);
				cr_assert_eq(memcmp(got.p + head, text, len - 2), 0);
			}
	free(text);
	harness_fini(&h);
}

Test(smtp, idle_session_holds_nothing)
{
	struct harness h;
	begin(&h);
	begin_data(&h);
	feed_str(&h, "a: b\r\n\r\ntext\r\n.\r\n");
	struct session *s = h.client[0].s;
	cr_expect_eq(s->arena.total, 0);
	cr_expect_eq(stream_readable(&s->st), 0);
	size_t idle = sizeof(struct smtp_session) + s->st.rx.cap * sizeof(struct slice) +
		      s->st.tx.cap * sizeof(struct slice) + strlen(smtp_of(s)->helo) + 1;
	cr_expect_leq(idle, 1024, "%zu bytes", idle);
	harness_fini(&h);
}

Test(smtp, many_recipients_are_bounded)
{
	struct harness h;
	begin(&h);
	h.conf.recipients_max = UINT32_MAX;
	h.conf.errors_max = UINT32_MAX;
	feed_str(&h, "MAIL FROM:<>\r\n");
	unsigned ok = 0, full = 0;
	said(&h);
	for (unsigned i = 0; i < 20000; i++) {
		char line[64];
		snprintf(line, sizeof(line), "RCPT TO:<r%u@example.org>\r\n", i);
		feed_str(&h, line);
		const char *reply = said(&h);
		ok += strncmp(reply, "250 ", 4) == 0;
		full += strncmp(reply, "452 4.3.1", 9) == 0;
		cr_assert_eq(ok + full, i + 1, "%s", reply);
	}
	cr_expect_gt(ok, 5000);
	cr_expect_gt(full, 0);
	cr_expect_leq(h.client[0].s->arena.total, SMTP_ARENA_MAX);
	feed_str(&h, "DATA\r\n");
	said(&h);
	feed_str(&h, "x\r\n.\r\n");
	cr_expect_not_null(strstr(said(&h), "250 2.0.0"));
	harness_fini(&h);
}

Test(smtp, recipients_limit_at_its_edge)
{
	struct harness h;
	begin(&h);
	h.conf.recipients_max = 100;
	feed_str(&h, "MAIL FROM:<>\r\n");
	said(&h);
	for (unsigned i = 1; i <= 101; i++) {
		char line[64];
		snprintf(line, sizeof(line), "RCPT TO:<r%u@example.org>\r\n", i);
		feed_str(&h, line);
		cr_expect_eq(strncmp(said(&h), i <= 100 ? "250 " : "452 4.5.3", 4), 0, "%u", i);
	}
	harness_fini(&h);
}

/* ---- every short string at the end of data ---- */

/* What is to be stored of in, by the grammar, or false when in holds no end. */
static bool oracle(struct span in, struct buf *out)
{
	struct buf raw;
	bool bol = true, end = false;
	buf_init(&raw);
	for (size_t i = 0; i < in.len && !end; i++) {
		if (bol && in.len - i >= 3 && memcmp(in.p + i, ".\r\n", 3) == 0) {
			end = true;
			break;
		}
		if (bol && in.p[i] == '.') {
			bol = false;
			continue;
		}
		buf_add_u8(&raw, in.p[i]);
		bol = in.p[i] == '\n' && i > 0 && in.p[i - 1] == '\r';
	}
	for (size_t i = 0; end && i < raw.len; i++) {
		if (raw.p[i] == '\n') {
			buf_add(out, "\r\n", 2);
		} else if (raw.p[i] == '\r') {
			if (i + 1 == raw.len || raw.p[i + 1] != '\n')
				buf_add_u8(out, ' ');
		} else {
			buf_add_u8(out, raw.p[i]);
		}
	}
	buf_fini(&raw);
	return end;
}

static void try_string(struct span text, size_t cut)
{
	struct harness h;
	struct buf want;
	struct store_account a;
	begin(&h);
	h.conf.errors_max = 1000;
	begin_data(&h);
	cr_assert(store_account_find(h.store, SPAN("alice@example.net"), &a));
	harness_feed(&h, 0, span_head(text, cut));
	harness_feed(&h, 0, span_from(text, cut));
	struct span got = fake_store_bytes(h.store, a.id, "INBOX", 0);
	buf_init(&want);
	bool end = oracle(text, &want);
	cr_assert(end && got.len > want.len);
	if ((want.len && memcmp(got.p + got.len - want.len, want.p, want.len) != 0) || got.p[got.len - want.len - 1] != '\n') {
		char shown[256];
		size_t n = 0;
		for (size_t i = 0; i < text.len; i++)
			n += (size_t)snprintf(shown + n, sizeof(shown) - n, "%02x ", text.p[i]);
		cr_assert(false, "%scut at %zu: stored \"" SPAN_FMT "\"", shown, cut, SPAN_ARG(got));
	}
	cr_assert_eq(stat_get(h.stat, STAT_smtp_messages_in), 1);
	buf_fini(&want);
	harness_fini(&h);
}

Test(smtp, every_short_string_ends_where_the_grammar_says, .timeout = 120)
{
	static const uint8_t alphabet[] = {'\r', '\n', '.', 'x'};
	for (unsigned len = 0; len <= 5; len++)
		for (unsigned n = 0; n < 1u << (2 * len); n++) {
			uint8_t text[16];
			for (unsigned i = 0; i < len; i++)
				text[i] = alphabet[n >> (2 * i) & 3];
			memcpy(text + len, "\r\n.\r\n", 5);
			/* With what came before, ".CRLF" may end it sooner; what is left are bad commands. */
			for (size_t cut = 0; cut <= len + 5; cut++)
				try_string(span_of(text, len + 5), cut);
		}
}

/* ---- random walks against a model ---- */
enum { W_HELO, W_MAIL, W_MAIL_BIG, W_RCPT, W_RCPT_BAD, W_DATA, W_RSET, W_NOOP, W_JUNK, W_N };

static const char *const walk_line[W_N] = {
	[W_HELO] = "HELO x.example\r\n",
	[W_MAIL] = "MAIL FROM:<a@b.example>\r\n",
	[W_MAIL_BIG] = "MAIL FROM:<a@b.example> SIZE=99999999\r\n",
	[W_RCPT] = "RCPT TO:<alice@example.net>\r\n",
	[W_RCPT_BAD] = "RCPT TO:<nobody@example.net>\r\n",
	[W_DATA] = "DATA\r\n",
	[W_RSET] = "RSET\r\n",
	[W_NOOP] = "NOOP\r\n",
	[W_JUNK] = "JUNK\r\n",
};

struct model {
	bool helo, mail, rcpt;
};

/* The reply code that RFC 5321 asks for. 354 is followed by a message. */
static unsigned model_step(struct model *m, unsigned what)
{
	switch (what) {
	case W_HELO:
		*m = (struct model){.helo = true};
		return 250;
	case W_MAIL:
	case W_MAIL_BIG:
		if (!m->helo || m->mail)
			return 503;
		if (what == W_MAIL_BIG)
			return 552;
		m->mail = true;
		return 250;
	case W_RCPT:
	case W_RCPT_BAD:
		if (!m->mail)
			return 503;
		if (what == W_RCPT_BAD)
			return 550;
		m->rcpt = true;
		return 250;
	case W_DATA:
		if (!m->mail)
			return 503;
		return m->rcpt ? 354 : 554;
	case W_RSET:
		m->mail = m->rcpt = false;
		return 250;
	case W_NOOP:
		return 250;
	default:
		return 500;
	}
}

static unsigned code_of(const char *reply)
{
	unsigned code = 0;
	sscanf(reply, "%3u", &code);
	return code;
}

static unsigned walk_message(struct harness *h, unsigned fault)
{
	static const struct {
		const char *text;
		unsigned code;
	} kinds[] = {{"a: b\r\n.\r\n", 250}, {"a: b\r\n.\r\n", 452}, {"a: b\r\n.\r\n", 451}, {"\0", 550}, {"", 552}};
	if (fault == 1)
		fake_store_fail(h->store, STORE_COMMIT, ERR_NO_SPACE, 1);
	if (fault == 2)
		fake_store_fail(h->store, STORE_COMMIT, ERR_IO, 1);
	if (fault == 3)
		harness_feed(h, 0, span_of("\0\r\n.\r\n", 6));
	else if (fault == 4) {
		for (unsigned i = 0; i < 4; i++)
			feed_str(h, "0123456789012345678901234567890123456789\r\n");
		feed_str(h, ".\r\n");
	} else {
		feed_str(h, kinds[fault].text);
	}
	return kinds[fault].code;
}

Test(smtp, random_walks_agree_with_the_model, .timeout = 120)
{
	struct rnd r;
	rnd_seed(&r, 7);
	for (unsigned walk = 0; walk < 300; walk++) {
		struct harness h;
		struct model m = {0};
		uint64_t accepted = 0;
		harness_init(&h, &smtp_proto);
		h.conf.errors_max = 1000;
		h.conf.message_size_max = 100;
		harness_open(&h, 0);
		harness_run(&h);
		said(&h);
		for (unsigned step = 0; step < 50; step++) {
			unsigned what = rnd_below(&r, W_N);
			unsigned want = model_step(&m, what);
			feed_str(&h, walk_line[what]);
			/* Before HELO everything that needs it is 503; after, DATA has its own reasons. */
			if (what == W_DATA && !m.helo)
				want = 503;
			unsigned got = code_of(said(&h));
			cr_assert_eq(got, want, "walk %u step %u: %s %u, want %u", walk, step, walk_line[what], got, want);
			if (got == 354) {
				want = walk_message(&h, rnd_below(&r, 5));
				got = code_of(said(&h));
				cr_assert_eq(got, want, "walk %u step %u: end of data %u, want %u", walk, step, got, want);
				m.mail = m.rcpt = false;
				accepted += got == 250;
			}
		}
		cr_assert_eq(stat_get(h.stat, STAT_smtp_messages_in), accepted);
		harness_fini(&h);
	}
}

/* Each allocation of a packet fails once: the session answers or ends, and nothing is left. */
Test(smtp, every_packet_may_be_the_last)
{
	for (unsigned n = 1; n < 40; n++) {
		struct harness h;
		harness_init(&h, &smtp_proto);
		harness_open(&h, 0);
		harness_run(&h);
		pkt_heap_fail_after(n);
		feed_str(&h, "HELO c.example\r\n");
		feed_str(&h, "MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@example.net>\r\nDATA\r\n");
		feed_str(&h, "a: b\r\n\r\nbare\nline\r\n");
		feed_str(&h, "short\r\n");
		feed_str(&h, ".\r\n");
		feed_str(&h, "QUIT\r\n");
		pkt_heap_fail_after(0);
		cr_expect(h.client[0].closed);
		harness_fini(&h);
	}
}
