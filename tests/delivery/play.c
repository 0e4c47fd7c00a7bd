/*
 * play.c: dialogues of the client's side of SMTP: what a peer says (S:) and what delivery must say (C:), in the form
 * that tests/dialogues/README.md describes with the sides exchanged. Each file is played in one piece, byte by
 * byte, and at random cuts. usage: play DIRECTORY PREFIX
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "fake_store.h"
#include "rig.h"

enum cut { WHOLE, BYTES, RANDOM };
#define WILD 0x01

struct play {
	struct rig r;
	enum cut cut;
	struct rnd rnd;
	const char *file;
	unsigned line, conn;
	struct buf in;  /* what the peer is about to say */
	struct buf msg; /* M: lines */
	bool failed;
};

static void fail(struct play *p, const char *what, struct span want, struct span got)
{
	if (!p->failed)
		(void)fprintf(stderr, "%s:%u (cut %d): %s\n  want: " SPAN_FMT "\n  got:  " SPAN_FMT "\n", p->file, p->line,
			      (int)p->cut, what, SPAN_ARG(span_head(want, 1200)), SPAN_ARG(span_head(got, 1200)));
	p->failed = true;
}

static void fail_n(struct play *p, const char *what, uint64_t want, uint64_t got)
{
	char a[24], b[24];
	if (want == got)
		return;
	(void)snprintf(a, sizeof(a), "%llu", (unsigned long long)want);
	(void)snprintf(b, sizeof(b), "%llu", (unsigned long long)got);
	fail(p, what, span_str(a), span_str(b));
}

/* ---- text forms ---- */

static int hex(uint8_t c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c != 0 ? strchr(digits, ascii_lower(c)) : NULL;
	return at != NULL ? (int)(at - digits) : -1;
}

static void unescape(struct span s, struct buf *out)
{
	static const char from[] = "rn0\\*", to[] = {'\r', '\n', '\0', '\\', WILD};
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] != '\\' || i + 1 >= s.len) {
			buf_add_u8(out, s.p[i]);
			continue;
		}
		const char *at = strchr(from, s.p[++i]);
		if (at != NULL) {
			buf_add_u8(out, (uint8_t)to[at - from]);
		} else if (s.p[i] == 'x') {
			buf_add_u8(out, (uint8_t)(hex(s.p[i + 1]) << 4 | hex(s.p[i + 2])));
			i += 2;
		} else if (s.p[i] == '{') { /* \{N*text} */
			struct span rest = span_from(s, i + 1);
			ptrdiff_t star = span_find(rest, '*'), end = span_find(rest, '}');
			uint64_t n = 0;
			CHECK(star > 0 && end > star && span_u64(span_head(rest, (size_t)star), 1 << 24, &n));
			struct buf once;
			buf_init(&once);
			unescape(span_of(rest.p + star + 1, (size_t)(end - star - 1)), &once);
			while (n-- > 0)
				buf_add_span(out, buf_span(&once));
			buf_fini(&once);
			i += (size_t)end + 1;
		}
	}
}

static bool matches(struct span want, struct span got)
{
	while (want.len > 0 && want.p[0] != WILD) {
		if (got.len == 0 || got.p[0] != want.p[0])
			return false;
		want = span_from(want, 1);
		got = span_from(got, 1);
	}
	if (want.len == 0)
		return got.len == 0;
	for (size_t i = 0; i <= got.len; i++)
		if (matches(span_from(want, 1), span_from(got, i)))
			return true;
	return false;
}

/* ---- both sides ---- */

static void peer_says(struct play *p)
{
	struct span s = buf_span(&p->in);
	while (s.len > 0) {
		size_t n = p->cut == WHOLE ? s.len : p->cut == BYTES ? 1 : 1 + rnd_below(&p->rnd, 60);
		rig_feed(&p->r, p->conn, span_head(s, n));
		s = span_from(s, n);
	}
	p->in.len = 0;
}

static void expect(struct play *p, struct span text)
{
	struct buf want, *b = &p->r.conn[p->conn].said;
	buf_init(&want);
	unescape(text, &want);
	size_t n = want.len;
	if (memchr(want.p != NULL ? want.p : (uint8_t *)"", WILD, n) != NULL) { /* up to the end of the line */
		ptrdiff_t lf = span_find(buf_span(b), '\n');
		n = lf < 0 ? b->len : (size_t)lf + 1;
	}
	if (b->len < n || !matches(buf_span(&want), span_head(buf_span(b), n))) {
		fail(p, "delivery should have said", buf_span(&want), buf_span(b));
	} else {
		memmove(b->p, b->p + n, b->len - n);
		b->len -= n;
	}
	buf_fini(&want);
}

/* ---- directives ---- */

static struct span word(struct span *s)
{
	*s = span_trim(*s);
	ptrdiff_t sp = span_find(*s, ' ');
	struct span w = sp < 0 ? *s : span_head(*s, (size_t)sp);
	*s = span_from(*s, w.len);
	return w;
}

static uint64_t number(struct span *s)
{
	uint64_t n = 0;
	CHECK(span_u64(word(s), UINT64_MAX, &n));
	return n;
}

static void do_conf(struct play *p, struct span arg)
{
	struct conf *c = &p->r.conf;
	struct span key = word(&arg);
	unsigned n = (unsigned)number(&arg);
	if (span_eq(key, SPAN("route_connections")))
		c->route_connections = n;
	else if (span_eq(key, SPAN("route_messages")))
		c->route_messages = n;
	else if (span_eq(key, SPAN("bounce")))
		c->bounce = n != 0;
	else
		CHECK(span_eq(key, SPAN("expire")) && (c->expire_s = n) > 0);
	rig_run(&p->r);
}

static void do_submit(struct play *p, struct span arg)
{
	char words[8][128];
	unsigned n = 0;
	while (arg.len > 0 && n < ARRAY_LEN(words))
		CHECK(span_cstr(word(&arg), words[n++], sizeof(words[0])));
	const char *rcpt[8];
	for (unsigned i = 1; i < n; i++)
		rcpt[i - 1] = words[i];
	struct buf raw;
	buf_init(&raw);
	unescape(buf_span(&p->msg), &raw);
	struct span msg = raw.len > 0 ? buf_span(&raw) : SPAN("Subject: t\r\n\r\nhello\r\n");
	if (!rig_submit(&p->r, strcmp(words[0], "<>") == 0 ? "" : words[0], rcpt, n - 1, msg))
		fail(p, "not taken", span_str(""), span_str(""));
	p->msg.len = 0;
	buf_fini(&raw);
}

/* M: lines with their last CRLF taken off. */
static void do_cut(struct play *p, struct span arg)
{
	(void)arg;
	CHECK(p->msg.len >= 2);
	p->msg.len -= 2;
}

/* What the next submissions ask for: binary ret=full|hdrs envid=X notify=BITS orcpt=X. */
static void do_envelope(struct play *p, struct span arg)
{
	struct span w;
	p->r.ask = (struct queue_envelope){0};
	p->r.ask_rcpt = (struct queue_rcpt){0};
	while ((w = word(&arg)).len > 0) {
		ptrdiff_t eq = span_find(w, '=');
		struct span key = span_head(w, eq < 0 ? w.len : (size_t)eq), value = span_from(w, key.len + 1);
		if (span_eq(key, SPAN("binary")))
			p->r.ask.binary = true;
		else if (span_eq(key, SPAN("ret")))
			p->r.ask.ret = span_eq(value, SPAN("full")) ? QUEUE_RET_FULL : QUEUE_RET_HDRS;
		else if (span_eq(key, SPAN("envid")))
			p->r.ask.envid = value;
		else if (span_eq(key, SPAN("orcpt")))
			p->r.ask_rcpt.orcpt = value;
		else
			p->r.ask_rcpt.notify = (uint8_t)number(&value);
	}
}

struct row_text {
	struct play *p;
	struct buf b;
};

static void row_show(void *arg, const struct queue_row *r)
{
	struct row_text *t = arg;
	buf_printf(&t->b, "tries=%u from=<%s>", r->tries, r->from);
	for (unsigned i = 0; i < r->n_rcpt; i++)
		buf_printf(&t->b, " to=<%s>", r->rcpt[i]);
	buf_printf(&t->b, " last=<%s>%s\r\n", r->last, r->active ? " active" : "");
}

/* All items, one an M: line. */
static void do_items(struct play *p, struct span arg)
{
	(void)arg;
	struct row_text t = {.p = p};
	struct buf want;
	buf_init(&t.b);
	buf_init(&want);
	(void)queue_list(p->r.queue, &(struct queue_filter){.all = true}, 100, row_show, &t);
	unescape(buf_span(&p->msg), &want);
	if (!matches(buf_span(&want), buf_span(&t.b)))
		fail(p, "items", buf_span(&want), buf_span(&t.b));
	p->msg.len = 0;
	buf_fini(&t.b);
	buf_fini(&want);
}

static void do_stored(struct play *p, struct span arg)
{
	struct store_account a;
	CHECK(store_account_find(p->r.store, word(&arg), &a));
	struct span got = fake_store_bytes(p->r.store, a.id, "INBOX", (unsigned)number(&arg));
	struct buf want;
	buf_init(&want);
	unescape(buf_span(&p->msg), &want);
	if (!matches(buf_span(&want), got))
		fail(p, "stored", buf_span(&want), got);
	p->msg.len = 0;
	buf_fini(&want);
}

static void do_time(struct play *p, struct span arg)
{
	rig_time(&p->r, number(&arg) * 1000000);
}

static void do_eof(struct play *p, struct span arg)
{
	(void)arg;
	rig_eof(&p->r, p->conn);
}

static void do_drop(struct play *p, struct span arg)
{
	(void)arg;
	rig_drop(&p->r, p->conn, true);
}

static void do_refuse(struct play *p, struct span arg)
{
	struct span name = word(&arg);
	for (unsigned e = 0; e < ERR__N; e++)
		if (span_eq(name, span_str(err_name((enum err)e))))
			p->r.refuse = (enum err)e;
}

static void do_fail(struct play *p, struct span arg)
{
	static const char *const verbs[] = {[STORE_COMMIT] = "commit", [STORE_READ] = "read"};
	struct span verb = word(&arg), name = word(&arg);
	for (unsigned v = 0; v < ARRAY_LEN(verbs); v++)
		for (unsigned e = 0; e < ERR__N && verbs[v] != NULL; e++)
			if (span_eq(verb, span_str(verbs[v])) && span_eq(name, span_str(err_name((enum err)e))))
				fake_store_fail(p->r.store, (enum store_verb)v, (enum err)e, (unsigned)number(&arg));
}

static void do_stat(struct play *p, struct span arg)
{
	struct span name = word(&arg);
	uint64_t n = number(&arg);
	for (unsigned i = 0; i < STAT__N; i++)
		if (span_eq(name, span_str(stat_name((enum stat_id)i)))) {
			fail_n(p, stat_name((enum stat_id)i), n, stat_get(p->r.stat, (enum stat_id)i));
			return;
		}
	fail(p, "no such counter", name, name);
}

static void do_conns(struct play *p, struct span arg)
{
	fail_n(p, "connections opened", number(&arg), p->r.n_conn);
}

static void do_closed(struct play *p, struct span arg)
{
	(void)arg;
	if (p->r.conn[p->conn].s != NULL)
		fail(p, "connection should be closed", span_str(""), span_str(""));
}

static void do_alive(struct play *p, struct span arg)
{
	(void)arg;
	if (p->r.conn[p->conn].s == NULL)
		fail(p, "connection should stand", span_str(""), span_str(""));
}

static void do_restart(struct play *p, struct span arg)
{
	(void)arg;
	rig_restart(&p->r);
	rig_run(&p->r);
}

static void do_shutdown(struct play *p, struct span arg)
{
	(void)arg;
	p->r.env.shutting_down = true;
	for (unsigned i = 0; i < RIG_CONNS; i++)
		if (p->r.conn[i].s != NULL && p->r.conn[i].open)
			delivery_proto.shutdown(p->r.conn[i].s);
	rig_run(&p->r);
}

static void do_room(struct play *p, struct span arg)
{
	p->r.room = (uint32_t)number(&arg);
}

static void do_conn(struct play *p, struct span arg)
{
	p->conn = (unsigned)number(&arg) - 1;
}

static const struct {
	const char *name;
	void (*fn)(struct play *p, struct span arg);
} directives[] = {
	{"conf", do_conf}, {"submit", do_submit}, {"cut", do_cut}, {"envelope", do_envelope}, {"items", do_items}, {"stored", do_stored},
	{"time", do_time}, {"eof", do_eof}, {"drop", do_drop}, {"refuse", do_refuse}, {"fail", do_fail},
	{"stat", do_stat}, {"conns", do_conns}, {"closed", do_closed}, {"alive", do_alive}, {"restart", do_restart},
	{"shutdown", do_shutdown}, {"room", do_room}, {"conn", do_conn},
};

static void directive(struct play *p, struct span line)
{
	struct span name = word(&line);
	for (size_t i = 0; i < ARRAY_LEN(directives); i++)
		if (span_eq(name, span_str(directives[i].name))) {
			directives[i].fn(p, line);
			return;
		}
	fail(p, "no such directive", name, name);
}

/* ---- a file ---- */

static void play_line(struct play *p, struct span line)
{
	if (line.len == 0 || line.p[0] == '#')
		return;
	if (line.p[0] == '@') {
		peer_says(p);
		directive(p, span_from(line, 1));
		return;
	}
	size_t at = 1;
	unsigned conn = p->conn;
	if (line.len > 1 && line.p[1] >= '1' && line.p[1] <= '9')
		conn = (unsigned)(line.p[at++] - '1');
	bool crlf = line.len > at && line.p[at] == ':';
	struct span text = span_from(line, at + 1);
	if (text.len > 0 && text.p[0] == ' ')
		text = span_from(text, 1);
	if (line.p[0] == 'M') {
		buf_add_span(&p->msg, text);
		buf_add_str(&p->msg, crlf ? "\r\n" : "");
		return;
	}
	if (line.p[0] == 'C' || conn != p->conn)
		peer_says(p);
	p->conn = conn;
	struct buf b;
	buf_init(&b);
	buf_add_span(&b, text);
	buf_add_str(&b, crlf ? "\\r\\n" : "");
	if (line.p[0] == 'C')
		expect(p, buf_span(&b));
	else
		unescape(buf_span(&b), &p->in);
	buf_fini(&b);
}

static bool play(const char *file, struct span text, enum cut cut, uint64_t seed)
{
	struct play *p = calloc(1, sizeof(*p));
	CHECK(p != NULL);
	p->file = file;
	p->cut = cut;
	rnd_seed(&p->rnd, seed);
	rig_init(&p->r);
	buf_init(&p->in);
	buf_init(&p->msg);
	while (text.len > 0 && !p->failed) {
		ptrdiff_t lf = span_find(text, '\n');
		size_t n = lf < 0 ? text.len : (size_t)lf;
		p->line++;
		play_line(p, span_head(text, n));
		text = span_from(text, n + 1);
	}
	peer_says(p);
	for (unsigned i = 0; i < RIG_CONNS; i++)
		if (p->r.conn[i].said.len > 0)
			fail(p, "said but not expected", span_str(""), buf_span(&p->r.conn[i].said));
	rig_fini(&p->r);
	buf_fini(&p->in);
	buf_fini(&p->msg);
	bool ok = !p->failed;
	free(p);
	return ok;
}

int main(int argc, char **argv)
{
	CHECK(argc == 3);
	DIR *d = opendir(argv[1]);
	CHECK(d != NULL);
	unsigned n = 0, bad = 0;
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		char path[1024];
		if (strncmp(e->d_name, argv[2], strlen(argv[2])) != 0 || strstr(e->d_name, ".txt") == NULL)
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", argv[1], e->d_name);
		FILE *f = fopen(path, "r");
		CHECK(f != NULL);
		static char text[65536];
		size_t len = fread(text, 1, sizeof(text), f);
		(void)fclose(f);
		n++;
		bad += !play(e->d_name, span_of(text, len), WHOLE, 0);
		bad += !play(e->d_name, span_of(text, len), BYTES, 0);
		for (uint64_t seed = 1; seed <= 4; seed++)
			bad += !play(e->d_name, span_of(text, len), RANDOM, seed);
	}
	(void)closedir(d);
	(void)printf("%u dialogues, %u plays failed\n", n, bad);
	return n == 0 || bad > 0;
}
