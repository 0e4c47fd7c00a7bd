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

/* Length of the strings that are tried all. */
#ifdef __SANITIZE_ADDRESS__
#define STRING_MAX 5
#else
#define STRING_MAX 7
#endif

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

/* ---- every short string, by DATA and by BDAT ---- */

/* What is to be stored of text: each LF a line end, a CR without LF a space. False: a NUL, nothing is stored. */
static bool normal(struct span raw, struct buf *out)
{
	for (size_t i = 0; i < raw.len; i++) {
		if (raw.p[i] == '\0')
			return false;
		if (raw.p[i] == '\n')
			buf_add(out, "\r\n", 2);
		else if (raw.p[i] != '\r')
			buf_add_u8(out, raw.p[i]);
		else if (i + 1 == raw.len || raw.p[i + 1] != '\n')
			buf_add_u8(out, ' ');
	}
	return true;
}

/* The content of DATA by the grammar: up to the first ".CRLF" at a line's beginning, first dots taken out. */
static void content(struct span in, struct buf *raw)
{
	bool bol = true;
	for (size_t i = 0; i < in.len; i++) {
		if (bol && in.len - i >= 3 && memcmp(in.p + i, ".\r\n", 3) == 0)
			return;
		if (bol && in.p[i] == '.') {
			bol = false;
			continue;
		}
		buf_add_u8(raw, in.p[i]);
		bol = in.p[i] == '\n' && i > 0 && in.p[i - 1] == '\r';
	}
	cr_assert(false, "no end");
}

struct strings {
	struct harness h;
	uint64_t acct;
	unsigned n; /* stored */
};

static void strings_begin(struct strings *t)
{
	struct store_account a;
	begin(&t->h);
	t->h.conf.errors_max = UINT16_MAX;
	cr_assert(store_account_find(t->h.store, SPAN("alice@example.net"), &a));
	t->acct = a.id;
	t->n = 0;
}

/* The last message (or its refusal) is what want says. */
static void strings_check(struct strings *t, struct span text, size_t cut, bool ok, struct span want)
{
	struct span out = buf_span(&t->h.client[0].out);
	uint64_t got_n = stat_get(t->h.stat, STAT_smtp_messages_in);
	bool good = got_n == t->n + ok;
	t->n += ok;
	struct span got = good && ok ? fake_store_bytes(t->h.store, t->acct, "INBOX", t->n - 1) : span_of(NULL, 0);
	if (good && ok)
		good = got.len > want.len && got.p[got.len - want.len - 1] == '\n' &&
		       (want.len == 0 || memcmp(got.p + got.len - want.len, want.p, want.len) == 0);
	if (!good) {
		char shown[256];
		size_t n = 0;
		for (size_t i = 0; i < text.len; i++)
			n += (size_t)snprintf(shown + n, sizeof(shown) - n, "%02x ", text.p[i]);
		cr_assert(false, "%scut at %zu: stored \"" SPAN_FMT "\", said " SPAN_FMT, shown, cut, SPAN_ARG(got),
			  SPAN_ARG(out));
	}
	t->h.client[0].out.len = 0;
}

static void by_data(struct strings *t, struct span text, size_t cut)
{
	struct buf raw, want;
	buf_init(&raw);
	buf_init(&want);
	feed_str(&t->h, "MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@example.net>\r\nDATA\r\n");
	harness_feed(&t->h, 0, span_head(text, cut));
	harness_feed(&t->h, 0, span_from(text, cut));
	content(text, &raw);
	bool ok = normal(buf_span(&raw), &want);
	strings_check(t, text, cut, ok, buf_span(&want));
	buf_fini(&raw);
	buf_fini(&want);
}

/* Two chunks that meet at cut, in one piece on the wire. */
static void by_bdat(struct strings *t, struct span text, size_t cut)
{
	struct buf wire, want;
	buf_init(&wire);
	buf_init(&want);
	buf_printf(&wire, "MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@example.net>\r\nBDAT %zu\r\n", cut);
	buf_add_span(&wire, span_head(text, cut));
	buf_printf(&wire, "BDAT %zu LAST\r\n", text.len - cut);
	buf_add_span(&wire, span_from(text, cut));
	harness_feed(&t->h, 0, buf_span(&wire));
	bool ok = normal(text, &want);
	strings_check(t, text, cut, ok, buf_span(&want));
	buf_fini(&wire);
	buf_fini(&want);
}

/* Calls fn for every string over the alphabet of len characters, with tail behind it, cut everywhere. */
static void every_string(unsigned len, const char *tail, void (*fn)(struct strings *t, struct span text, size_t cut))
{
	static const uint8_t alphabet[] = {'\r', '\n', '\0', '.', 'a'};
	struct strings t;
	size_t n_tail = strlen(tail);
	unsigned all = 1;
	for (unsigned i = 0; i < len; i++)
		all *= ARRAY_LEN(alphabet);
	strings_begin(&t);
	for (unsigned n = 0; n < all; n++) {
		uint8_t text[16];
		unsigned left = n;
		for (unsigned i = 0; i < len; i++, left /= ARRAY_LEN(alphabet))
			text[i] = alphabet[left % ARRAY_LEN(alphabet)];
		memcpy(text + len, tail, n_tail);
		if (t.n > 2000) {
			harness_fini(&t.h);
			strings_begin(&t);
		}
		for (size_t cut = 0; cut <= len + n_tail; cut++)
			fn(&t, span_of(text, len + n_tail), cut);
		smtp_of(t.h.client[0].s)->errors = 0; /* what followed an early end were bad commands */
	}
	harness_fini(&t.h);
}

Test(smtp, every_short_string_ends_where_the_grammar_says, .timeout = 120)
{
	for (unsigned len = 0; len <= STRING_MAX; len++)
		every_string(len, "\r\n.\r\n", by_data);
}

Test(smtp, every_short_string_in_two_chunks, .timeout = 120)
{
	for (unsigned len = 0; len <= STRING_MAX; len++)
		every_string(len, "", by_bdat);
}

/* What is declared binary is kept byte for byte; the dots and line ends of it are those of nobody. */
Test(smtp, binary_content_is_untouched)
{
	struct harness h;
	uint8_t all[256 * 3];
	begin(&h);
	h.conf.binarymime = true;
	for (unsigned i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)(i * 7 + i / 256);
	feed_str(&h, "MAIL FROM:<a@b.example> BODY=BINARYMIME\r\nRCPT TO:<joe@example.org>\r\nBDAT 700\r\n");
	harness_feed(&h, 0, span_head(span_of(all, sizeof(all)), 700));
	feed_str(&h, "BDAT 68 LAST\r\n");
	harness_feed(&h, 0, span_from(span_of(all, sizeof(all)), 700));
	cr_assert_not_null(strstr(said(&h), "250 2.0.0 Ok: queued"));
	const struct store_qitem *q = fake_store_qitem(h.store, 0);
	cr_assert_not_null(q);
	cr_expect(q->blob.flags & STORE_BLOB_8BIT);
	cr_expect(span_eq(q->state, SPAN("from=<a@b.example> binary to=<joe@example.org>")));
	cr_expect_eq(stat_get(h.stat, STAT_smtp_bare_newline), 0);
	cr_expect_gt(q->blob.size - q->blob.relay_off, sizeof(all)); /* behind our Received */
	harness_fini(&h);
}

/* A flood of one-byte chunks costs the bytes themselves: no packet, no slice a chunk. */
Test(smtp, one_byte_chunks_cost_nothing)
{
	struct harness h;
	struct buf some;
	begin(&h);
	buf_init(&some);
	for (unsigned i = 0; i < 1000; i++)
		buf_add_str(&some, "BDAT 1\r\nx");
	feed_str(&h, "MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@example.net>\r\n");
	said(&h);
	unsigned before = pkt_heap_outstanding();
	struct session *s = h.client[0].s;
	for (unsigned i = 0; i < 100; i++) {
		harness_feed(&h, 0, buf_span(&some));
		cr_assert_eq(h.client[0].out.len, 1000 * strlen("250 2.0.0 1 octets received\r\n"));
		h.client[0].out.len = 0;
	}
	struct smtp_txn *t = smtp_of(s)->txn;
	cr_expect_eq(t->scan.size, 100000);
	cr_expect_leq(pkt_heap_outstanding() - before, 100000 / 1024, "%u packets", pkt_heap_outstanding() - before);
	cr_expect_leq(t->body.n, 100000 / 1024, "%u slices", t->body.n);
	cr_expect_leq(s->arena.total, 8192);
	feed_str(&h, "BDAT 2 LAST\r\n\r\n");
	cr_expect_not_null(strstr(said(&h), "250 2.0.0 Ok"));
	buf_fini(&some);
	harness_fini(&h);
}

/* A message given up while parts of it are on their way to the store: the next one has nothing of it. */
Test(smtp, reset_between_chunks_with_parts_under_way)
{
	static const char *const end[] = {"RSET\r\n", "HELO again\r\n", "BDAT 99999999 LAST\r\n"};
	for (unsigned how = 0; how < ARRAY_LEN(end); how++) {
		struct harness h;
		struct store_account a;
		char *text = malloc(3 * SMTP_PART);
		memset(text, 'x', 3 * SMTP_PART);
		begin(&h);
		h.conf.message_size_max = 16 << 20;
		cr_assert(store_account_find(h.store, SPAN("alice@example.net"), &a));
		feed_str(&h, "MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@example.net>\r\nBDAT 524288\r\n");
		fake_store_hold(h.store, true);
		fake_store_fail(h.store, STORE_BODY, ERR_NO_SPACE, 2);
		harness_feed(&h, 0, span_of(text, 2 * SMTP_PART));
		cr_assert_gt(smtp_of(h.client[0].s)->parts, 0);
		feed_str(&h, end[how]);
		if (how == 2) { /* its octets are read over */
			for (unsigned i = 0; i < 99999999 / (3 * SMTP_PART); i++)
				harness_feed(&h, 0, span_of(text, 3 * SMTP_PART));
			harness_feed(&h, 0, span_of(text, 99999999 % (3 * SMTP_PART)));
		}
		feed_str(&h, "MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@example.net>\r\nBDAT 6 LAST\r\na: b\r\n");
		fake_store_hold(h.store, false);
		harness_run(&h);
		const char *all = said(&h);
		cr_expect_not_null(strstr(all, "250 2.0.0 Ok: queued"), "%u: %s", how, all);
		struct span got = fake_store_bytes(h.store, a.id, "INBOX", 0);
		cr_assert_lt(got.len, 500);
		cr_assert_eq(memcmp(got.p + got.len - 6, "a: b\r\n", 6), 0);
		free(text);
		harness_fini(&h);
	}
}

/* ---- random walks against a model ---- */
enum {
	W_HELO, W_MAIL, W_MAIL_BIG, W_RCPT, W_RCPT_BAD, W_DATA, W_BDAT, W_BDAT_NUL, W_BDAT_BIG, W_BDAT_LAST, W_RSET, W_NOOP,
	W_JUNK, W_N
};

static const struct span walk_line[W_N] = {
	[W_HELO] = SPAN("HELO x.example\r\n"),
	[W_MAIL] = SPAN("MAIL FROM:<a@b.example>\r\n"),
	[W_MAIL_BIG] = SPAN("MAIL FROM:<a@b.example> SIZE=99999999\r\n"),
	[W_RCPT] = SPAN("RCPT TO:<alice@example.net>\r\n"),
	[W_RCPT_BAD] = SPAN("RCPT TO:<nobody@example.net>\r\n"),
	[W_DATA] = SPAN("DATA\r\n"),
	[W_BDAT] = SPAN("BDAT 6\r\nQUIT\r\n"),
	[W_BDAT_NUL] = SPAN("BDAT 6\r\nNO\0P\r\n"),
	[W_BDAT_BIG] = SPAN("BDAT 101\r\n0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\n"),
	[W_BDAT_LAST] = SPAN("BDAT 6 LAST\r\nRSET\r\n"),
	[W_RSET] = SPAN("RSET\r\n"),
	[W_NOOP] = SPAN("NOOP\r\n"),
	[W_JUNK] = SPAN("JUNK\r\n"),
};

struct model {
	bool helo, mail, rcpt, chunks;
	unsigned size;
};

/* RFC 3030: the size so far decides, a refused chunk ends the transaction. */
static unsigned model_bdat(struct model *m, unsigned what)
{
	if (!m->mail)
		return 503;
	if (!m->rcpt)
		return 554;
	m->size += what == W_BDAT_BIG ? 101 : 6;
	bool over = m->size > 100;
	if (over || what == W_BDAT_NUL || what == W_BDAT_LAST)
		*m = (struct model){.helo = true};
	else
		m->chunks = true;
	return over ? 552 : what == W_BDAT_NUL ? 550 : 250;
}

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
		if (!m->mail || m->chunks)
			return 503;
		if (what == W_RCPT_BAD)
			return 550;
		m->rcpt = true;
		return 250;
	case W_DATA:
		if (!m->mail || m->chunks)
			return 503;
		return m->rcpt ? 354 : 554;
	case W_BDAT:
	case W_BDAT_NUL:
	case W_BDAT_BIG:
	case W_BDAT_LAST:
		return model_bdat(m, what);
	case W_RSET:
		*m = (struct model){.helo = m->helo};
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
			harness_feed(&h, 0, walk_line[what]);
			unsigned got = code_of(said(&h));
			cr_assert_eq(got, want, "walk %u step %u: " SPAN_FMT " %u, want %u", walk, step,
				     SPAN_ARG(walk_line[what]), got, want);
			accepted += what == W_BDAT_LAST && got == 250;
			if (got == 354) {
				want = walk_message(&h, rnd_below(&r, 5));
				got = code_of(said(&h));
				cr_assert_eq(got, want, "walk %u step %u: end of data %u, want %u", walk, step, got, want);
				m = (struct model){.helo = true};
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
