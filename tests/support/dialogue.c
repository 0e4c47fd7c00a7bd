/*
 * dialogue.c: the player. One pass over the lines of a file: client bytes are gathered and given to the
 * harness when the next expectation or directive needs them; expectations are compared with what
 * came out, byte for byte but for the wildcard; at each change from server to client nothing may be left.
 */
#include "dialogue.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include "fake_store.h"
#include "harness.h"

struct play {
	struct harness h;
	enum dialogue_cut cut;
	struct buf *why;
	unsigned line;
	unsigned client;     /* who speaks */
	struct buf in;       /* gathered from C: lines */
	struct buf message;  /* gathered from M: lines */
	bool failed;
	bool skipped;        /* this file is not meant for this cut */
};

static void fail(struct play *p, const char *what, struct span want, struct span got)
{
	if (p->failed)
		return;
	p->failed = true;
	buf_printf(p->why, "line %u: %s\n  want: " SPAN_FMT "\n  got:  " SPAN_FMT "\n", p->line, what,
		   SPAN_ARG(span_head(want, 400)), SPAN_ARG(span_head(got, 400)));
}

/* ---- text forms ---- */
static int hex(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

#define WILD 0x01 /* stands for \* in an unescaped expectation */

/* Offset of the brace that closes the first one, or -1. */
static ptrdiff_t brace_end(struct span s)
{
	int depth = 0;
	for (size_t i = 0; i < s.len; i++) {
		depth += s.p[i] == '{';
		if (s.p[i] == '}' && --depth == 0)
			return (ptrdiff_t)i;
	}
	return -1;
}

/* Escapes: \r \n \t \0 \\ \xHH \* and \{N*text}. */
static void unescape(struct play *p, struct span s, struct buf *out)
{
	static const char from[] = "rnt0\\*", to[] = {'\r', '\n', '\t', '\0', '\\', WILD};
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] != '\\' || i + 1 == s.len) {
			buf_add_u8(out, s.p[i]);
			continue;
		}
		uint8_t c = s.p[++i];
		const char *at = c ? strchr(from, c) : NULL;
		if (at) {
			buf_add_u8(out, (uint8_t)to[at - from]);
		} else if (c == 'x' && i + 2 < s.len && hex(s.p[i + 1]) >= 0 && hex(s.p[i + 2]) >= 0) {
			buf_add_u8(out, (uint8_t)(hex(s.p[i + 1]) << 4 | hex(s.p[i + 2])));
			i += 2;
		} else if (c == '{') {
			ptrdiff_t end = brace_end(span_from(s, i));
			struct span in = span_head(span_from(s, i + 1), end > 0 ? (size_t)end - 1 : 0);
			ptrdiff_t star = span_find(in, '*');
			uint64_t n;
			if (end < 0 || star < 0 || !span_u64(span_head(in, (size_t)star), 1 << 24, &n)) {
				fail(p, "bad repetition", s, in);
				return;
			}
			struct buf once;
			buf_init(&once);
			unescape(p, span_from(in, (size_t)star + 1), &once);
			while (n-- > 0)
				buf_add_span(out, buf_span(&once));
			buf_fini(&once);
			i += (size_t)end;
		} else {
			fail(p, "bad escape", s, span_from(s, i));
			return;
		}
	}
}

/* Does text match, with WILD for any run of bytes? */
static bool matches(struct span want, struct span got)
{
	while (want.len && want.p[0] != WILD) {
		if (got.len == 0 || got.p[0] != want.p[0])
			return false;
		want = span_from(want, 1);
		got = span_from(got, 1);
	}
	if (want.len == 0)
		return got.len == 0;
	want = span_from(want, 1);
	for (size_t i = 0; i <= got.len; i++)
		if (matches(want, span_from(got, i)))
			return true;
	return false;
}

/* ---- both sides ---- */
static struct buf *output(struct play *p)
{
	return &p->h.client[p->client].out;
}

static void output_eat(struct play *p, size_t len)
{
	struct buf *b = output(p);
	memmove(b->p, b->p + len, b->len - len);
	b->len -= len;
}

/* What the client gathered goes in. */
static void say(struct play *p)
{
	struct span s = buf_span(&p->in);
	while (s.len) {
		size_t n = s.len;
		if (p->cut == DIALOGUE_BYTES)
			n = s.len > 65536 ? 997 : 1; /* huge bodies in odd pieces, or it takes for ever */
		else if (p->cut == DIALOGUE_RANDOM)
			n = 1 + rnd_below(&p->h.rnd, rnd_below(&p->h.rnd, 3) ? 20 : 3000);
		if (n > s.len)
			n = s.len;
		harness_feed(&p->h, p->client, span_head(s, n));
		s = span_from(s, n);
	}
	p->in.len = 0;
}

static void expect_line(struct play *p, struct span text, bool crlf)
{
	struct buf want;
	say(p);
	buf_init(&want);
	unescape(p, text, &want);
	if (crlf)
		buf_add(&want, "\r\n", 2);
	struct span got = buf_span(output(p)), w = buf_span(&want);
	size_t len = w.len < got.len ? w.len : got.len;
	if (crlf) { /* up to the end of the line; a line holds no CRLF but at its end */
		const uint8_t *lf = got.len ? memmem(got.p, got.len, "\r\n", 2) : NULL;
		len = lf ? (size_t)(lf - got.p) + 2 : got.len;
	}
	if (!matches(w, span_head(got, len)))
		fail(p, "wrong answer", w, got);
	else
		output_eat(p, len);
	buf_fini(&want);
}

static void expect_silence(struct play *p)
{
	for (unsigned i = 0; i < HARNESS_CLIENTS; i++)
		if (p->h.client[i].out.len && !p->failed)
			fail(p, "more was said than expected", SPAN(""), buf_span(&p->h.client[i].out));
}

/* ---- directives ---- */
struct word {
	struct span v[6];
	unsigned n;
};

static struct word words(struct span s)
{
	struct word w = {.n = 0};
	while (w.n < ARRAY_LEN(w.v)) {
		s = span_trim(s);
		if (s.len == 0)
			break;
		ptrdiff_t sp = span_find(s, ' ');
		w.v[w.n] = span_head(s, sp < 0 ? s.len : (size_t)sp);
		s = span_from(s, w.v[w.n++].len);
	}
	for (unsigned i = w.n; i < ARRAY_LEN(w.v); i++)
		w.v[i] = SPAN("");
	return w;
}

static uint64_t number(struct play *p, struct span s)
{
	uint64_t v = 0;
	if (!span_u64(s, UINT64_MAX, &v))
		fail(p, "not a number", SPAN(""), s);
	return v;
}

static const char *str(struct span s)
{
	static char ring[4][256];
	static unsigned at;
	char *c = ring[at++ % 4];
	CHECK(span_cstr(s, c, sizeof(ring[0])));
	return c;
}

static uint64_t account_id(struct play *p, struct span name)
{
	struct store_account a = {0};
	if (!store_account_find(p->h.store, name, &a))
		fail(p, "no such account", SPAN(""), name);
	return a.id;
}

static void d_time(struct play *p, struct word *w)
{
	harness_time(&p->h, number(p, w->v[0]) * 1000000 + number(p, w->n > 1 ? w->v[1] : SPAN("0")) * 1000);
}

static void d_conf(struct play *p, struct word *w)
{
	struct conf *c = &p->h.conf;
	static const struct {
		const char *name;
		size_t off, size;
	} keys[] = {
		{"message_size_max", offsetof(struct conf, message_size_max), 8},
		{"recipients_max", offsetof(struct conf, recipients_max), 4},
		{"hops_max", offsetof(struct conf, hops_max), 4},
		{"binarymime", offsetof(struct conf, binarymime), 1},
		{"errors_max", offsetof(struct conf, errors_max), 4},
		{"auth_in_clear", offsetof(struct conf, auth_in_clear), 1},
		{"smtp_timeout_s", offsetof(struct conf, smtp_timeout_s), 4},
		{"pop3_timeout_s", offsetof(struct conf, pop3_timeout_s), 4},
		{"imap_timeout_s", offsetof(struct conf, imap_timeout_s), 4},
		{"http_timeout_s", offsetof(struct conf, http_timeout_s), 4},
	};
	uint64_t v = number(p, w->v[1]);
	for (unsigned i = 0; i < ARRAY_LEN(keys); i++)
		if (span_eq(span_str(keys[i].name), w->v[0])) {
			memcpy((uint8_t *)c + keys[i].off, &v, keys[i].size); /* little-endian */
			return;
		}
	fail(p, "no such key", SPAN(""), w->v[0]);
}

static void d_peer(struct play *p, struct word *w)
{
	struct session *s = p->h.client[p->client].s;
	if (!s || !ip_parse(w->v[0], &s->peer))
		fail(p, "bad address", SPAN(""), w->v[0]);
}

/* @listen none|starttls|implicit [submission] */
static void d_listen(struct play *p, struct word *w)
{
	static const char *const words_of[] = {"none", "starttls", "implicit"};
	for (unsigned i = 0; i < ARRAY_LEN(words_of); i++)
		if (span_eq(span_str(words_of[i]), w->v[0]))
			harness_listen(&p->h, (enum conf_tls)i);
	p->h.listen.protocol = span_eq(w->v[1], SPAN("submission")) ? CONF_SUBMISSION : CONF_SMTP;
}

/* The client's handshake; what is said after it goes by TLS. */
static void d_handshake(struct play *p, struct word *w)
{
	harness_handshake(&p->h, p->client);
	if (!p->h.client[p->client].peer.open)
		fail(p, "handshake failed", SPAN(""), SPAN(""));
}

static void d_mailbox(struct play *p, struct word *w)
{
	fake_store_account(p->h.store, str(w->v[0]), str(w->v[1]));
}

/* Lines gathered by M: become a message; with "raw" its last CRLF is left away. */
static void d_message(struct play *p, struct word *w)
{
	struct span m = buf_span(&p->message);
	uint32_t flags = 0;
	if (span_eq(w->v[2], SPAN("raw")) && m.len >= 2)
		m.len -= 2;
	if (m.len < 2 || memcmp(m.p + m.len - 2, "\r\n", 2) != 0)
		flags |= STORE_BLOB_NO_CRLF_END;
	if (m.len && (m.p[0] == '.' || memmem(m.p, m.len, "\n.", 2)))
		flags |= STORE_BLOB_DOTS;
	fake_store_message(p->h.store, account_id(p, w->v[0]), w->n > 1 ? str(w->v[1]) : "INBOX", m, flags, 0,
			   (int64_t)(p->h.env.wall_us / 1000000));
	p->message.len = 0;
	harness_run(&p->h);
}

/* @stored ACCOUNT FOLDER N: the Nth message (from 1) is what the M: lines said before. */
static void d_stored(struct play *p, struct word *w)
{
	struct span got = fake_store_bytes(p->h.store, account_id(p, w->v[0]), str(w->v[1]),
					   (unsigned)number(p, w->v[2]) - 1);
	if (!matches(buf_span(&p->message), got))
		fail(p, "another message was stored", buf_span(&p->message), got);
	p->message.len = 0;
}

static void d_queued(struct play *p, struct word *w)
{
	const struct store_qitem *q = fake_store_qitem(p->h.store, (unsigned)number(p, w->v[0]) - 1);
	struct span m = buf_span(&p->message);
	struct span got = q ? q->state : SPAN("(none)");
	if (m.len >= 2)
		m.len -= 2;
	if (!matches(m, got))
		fail(p, "another item was queued", m, got);
	p->message.len = 0;
}

static void d_expunge(struct play *p, struct word *w)
{
	uint32_t uid = (uint32_t)number(p, w->v[1]), range[2] = {uid, uid};
	struct store_op *op = store_op_new(store_core(p->h.store, 1), STORE_COMMIT, UINT32_MAX, 0);
	store_tx_expunge(op, account_id(p, w->v[0]), STORE_INBOX, range, 1, false);
	store_submit(store_core(p->h.store, 1), op);
	harness_run(&p->h);
	struct store_op *done;
	if (store_poll(store_core(p->h.store, 1), &done, 1) == 1) {
		if (done->err != ERR_OK)
			fail(p, "expunge failed", SPAN(""), w->v[1]);
		store_op_free(&done);
	}
}

static void d_fail(struct play *p, struct word *w)
{
	static const char *const verbs[STORE_VERB_N] = {
		[STORE_BODY] = "body", [STORE_COMMIT] = "commit", [STORE_READ] = "read", [STORE_SYNC] = "sync",
		[STORE_FOLDERS] = "folders", [STORE_LOCK] = "lock", [STORE_UNLOCK] = "unlock",
	};
	for (unsigned v = 0; v < STORE_VERB_N; v++)
		for (unsigned e = 0; verbs[v] && e < ERR__N; e++)
			if (span_eq(span_str(verbs[v]), w->v[0]) && span_eq(span_str(err_name(e)), w->v[1])) {
				p->skipped = !fake_store_fail(p->h.store, v, e,
							      w->n > 2 ? (unsigned)number(p, w->v[2]) : 1);
				return;
			}
	fail(p, "no such verb or error", SPAN(""), w->v[0]);
}

static void d_hold(struct play *p, struct word *w)
{
	fake_store_hold(p->h.store, span_eq(w->v[0], SPAN("on")));
	harness_run(&p->h);
}

static void d_low_memory(struct play *p, struct word *w)
{
	p->h.env.low_memory = span_eq(w->v[0], SPAN("on"));
}

static void d_room(struct play *p, struct word *w)
{
	p->h.room = (uint32_t)number(p, w->v[0]);
}

static void d_open(struct play *p, struct word *w)
{
	harness_open(&p->h, p->client);
	harness_run(&p->h);
}

static void d_early(struct play *p, struct word *w)
{
	harness_open(&p->h, p->client);
}

static void d_drop(struct play *p, struct word *w)
{
	harness_close(&p->h, p->client);
	harness_run(&p->h);
}

static void d_eof(struct play *p, struct word *w)
{
	harness_eof(&p->h, p->client);
}

static void d_closed(struct play *p, struct word *w)
{
	if (!p->h.client[p->client].closed)
		fail(p, "connection is still open", SPAN("closed"), SPAN("open"));
}

static void d_alive(struct play *p, struct word *w)
{
	if (p->h.client[p->client].closed)
		fail(p, "connection is closed", SPAN("open"), SPAN("closed"));
}

/* @only whole: what is tested is that bytes come together. */
static void d_only(struct play *p, struct word *w)
{
	p->skipped = p->cut != DIALOGUE_WHOLE;
}

static void d_shutdown(struct play *p, struct word *w)
{
	harness_shutdown(&p->h);
}

static void d_stat(struct play *p, struct word *w)
{
	for (unsigned i = 0; i < STAT__N; i++)
		if (span_eq(span_str(stat_name(i)), w->v[0])) {
			uint64_t v = stat_get(p->h.stat, i);
			char got[32];
			int n = snprintf(got, sizeof(got), "%llu", (unsigned long long)v);
			if (v != number(p, w->v[1]))
				fail(p, "counter", w->v[1], span_of(got, (size_t)n));
			return;
		}
	fail(p, "no such counter", SPAN(""), w->v[0]);
}

static const struct directive {
	const char *name;
	bool before; /* may stand before the connection is opened, which any other line does */
	void (*run)(struct play *p, struct word *w);
} directives[] = {
	{"conf", true, d_conf},       {"mailbox", true, d_mailbox}, {"message", true, d_message},
	{"low_memory", true, d_low_memory}, {"room", true, d_room}, {"fail", true, d_fail},
	{"hold", true, d_hold},       {"open", true, d_open},       {"early", true, d_early},
	{"expunge", true, d_expunge}, {"stored", true, d_stored},   {"queued", true, d_queued},
	{"stat", true, d_stat},       {"time", false, d_time},      {"peer", false, d_peer},
	{"drop", true, d_drop},       {"eof", false, d_eof},        {"closed", true, d_closed},
	{"listen", true, d_listen},   {"handshake", false, d_handshake},
	{"alive", true, d_alive},     {"only", true, d_only},           {"shutdown", false, d_shutdown},
};

static void directive(struct play *p, struct span s)
{
	struct word w = words(s);
	for (unsigned i = 0; i < ARRAY_LEN(directives); i++) {
		const struct directive *d = &directives[i];
		if (!span_eq(span_str(d->name), w.v[0]))
			continue;
		memmove(w.v, w.v + 1, sizeof(w.v) - sizeof(w.v[0]));
		w.n--;
		if (!d->before && !p->h.client[p->client].s && !p->h.client[p->client].closed)
			d_open(p, &w);
		say(p);
		d->run(p, &w);
		return;
	}
	fail(p, "no such directive", SPAN(""), w.v[0]);
}

static void connect_if_new(struct play *p)
{
	struct harness_client *c = &p->h.client[p->client];
	if (!c->s && !c->closed && c->gen == 0) {
		harness_open(&p->h, p->client);
		harness_run(&p->h);
	}
}

/* "C: text", "C- text" (no line end), "S: ", "S- ", "M: "; a digit behind the letter names another client. */
static void play_line(struct play *p, struct span s)
{
	if (s.len == 0 || s.p[0] == '#')
		return;
	if (s.p[0] == '@') {
		directive(p, span_from(s, 1));
		return;
	}
	char kind = (char)s.p[0];
	s = span_from(s, 1);
	unsigned client = 0;
	if (s.len && s.p[0] >= '1' && s.p[0] <= '0' + HARNESS_CLIENTS) {
		client = (unsigned)(s.p[0] - '1');
		s = span_from(s, 1);
	}
	if (s.len == 0 || (s.p[0] != ':' && s.p[0] != '-') || !strchr("CSM", kind)) {
		fail(p, "bad line", SPAN("C: S: M: C- S- @ #"), s);
		return;
	}
	bool crlf = s.p[0] == ':';
	s = span_from(s, 1);
	if (s.len && s.p[0] == ' ')
		s = span_from(s, 1);
	if (kind == 'M') {
		unescape(p, s, &p->message);
		if (crlf)
			buf_add(&p->message, "\r\n", 2);
		return;
	}
	if (client != p->client)
		say(p);
	p->client = client;
	connect_if_new(p);
	if (kind == 'S') {
		expect_line(p, s, crlf);
		return;
	}
	if (p->in.len == 0)
		expect_silence(p);
	unescape(p, s, &p->in);
	if (crlf)
		buf_add(&p->in, "\r\n", 2);
}

bool dialogue_play(const struct proto *proto, struct span text, enum dialogue_cut cut, uint64_t seed, struct buf *why)
{
	struct play p = {.cut = cut, .why = why};
	harness_init(&p.h, proto);
	rnd_seed(&p.h.rnd, seed);
	buf_init(&p.in);
	buf_init(&p.message);
	while (text.len && !p.failed && !p.skipped) {
		ptrdiff_t lf = span_find(text, '\n');
		struct span line = span_head(text, lf < 0 ? text.len : (size_t)lf);
		text = span_from(text, line.len + 1);
		p.line++;
		play_line(&p, line);
	}
	if (!p.failed && !p.skipped) {
		say(&p);
		expect_silence(&p);
	}
	buf_fini(&p.in);
	buf_fini(&p.message);
	harness_fini(&p.h);
	return !p.failed;
}

static bool read_file(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "rb");
	if (!f)
		return false;
	size_t n;
	while ((n = fread(buf_reserve(out, 65536), 1, 65536, f)) > 0)
		out->len += n;
	fclose(f);
	return true;
}

static int play_file(const struct proto *proto, const char *path)
{
	static const char *const cuts[] = {"whole", "byte by byte", "random"};
	int bad = 0;
	struct buf text, why;
	buf_init(&text);
	buf_init(&why);
	CHECK(read_file(path, &text));
	for (unsigned i = 0; i < 6; i++) {
		enum dialogue_cut cut = i < 2 ? i : DIALOGUE_RANDOM;
		why.len = 0;
		if (dialogue_play(proto, buf_span(&text), cut, i, &why))
			continue;
		bad++;
		fprintf(stderr, "%s (%s, seed %u): " SPAN_FMT, path, cuts[cut], i, SPAN_ARG(buf_span(&why)));
	}
	buf_fini(&text);
	buf_fini(&why);
	return bad;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int dialogue_play_all(const struct proto *proto, const char *dir, const char *prefix)
{
	DIR *d = opendir(dir);
	char *name[512];
	unsigned n = 0;
	int bad = 0;
	if (!d)
		return -1;
	for (struct dirent *e; (e = readdir(d)) && n < ARRAY_LEN(name);) {
		size_t len = strlen(e->d_name);
		if (strncmp(e->d_name, prefix, strlen(prefix)) == 0 && len > 4 && !strcmp(e->d_name + len - 4, ".txt"))
			CHECK(asprintf(&name[n++], "%s/%s", dir, e->d_name) > 0);
	}
	closedir(d);
	qsort(name, n, sizeof(*name), by_name);
	for (unsigned i = 0; i < n; i++) {
		bad += play_file(proto, name[i]);
		free(name[i]);
	}
	return n ? bad : -1;
}
