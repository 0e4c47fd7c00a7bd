/*
 * script.c: plays packet scripts at one stack in virtual time, over stack.h only. A line is a time (or none), then an
 * action: `<` a segment comes, `>` one is expected, or a command of the table. The first thing that is not as
 * told ends the case; the next case begins with a new stack. See scripts/README.md.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "script.h"

#define WORDS	 48
#define LATE_US	 1999 /* timers are rounded up to a tick of 1 ms */
#define PEER_ISN 1000000u
#define OUR_PORT 25

struct span_us {
	uint64_t lo, hi;
};

static struct script_flow *flow(struct script *s)
{
	return &s->flow[s->at];
}

void script_fail(struct script *s, const char *fmt, ...)
{
	va_list ap;

	if (s->failed)
		return;
	s->failed = true;
	s->n_failed++;
	fprintf(s->out, "FAILED %s:%u: %s\n  line: %s\n  ", s->file, s->line, s->name, s->text);
	va_start(ap, fmt);
	vfprintf(s->out, fmt, ap);
	va_end(ap);
	if (s->stack)
		fprintf(s->out, "\n  at %.3f ms", (double)vtcp_now(s->stack) / 1000);
	fputc('\n', s->out);
}

/* ---- cases ---- */

static void case_end(struct script *s)
{
	static uint8_t ip[10000];

	if (!s->stack)
		return;
	if (!s->failed && vtcp_waiting(s->stack)) {
		struct script_got g;
		char text[400] = "not TCP";
		size_t n = vtcp_take(s->stack, ip, sizeof(ip), NULL);
		if (script_got_parse(ip, n, &g))
			script_got_print(flow(s), &g, text, sizeof(text));
		script_fail(s, "at the end of the case: expected nothing, got %s", text);
	}
	unsigned left = vtcp_destroy(s->stack);
	s->stack = NULL;
	if (left)
		script_fail(s, "%u packets leaked", left);
}

static void case_begin(struct script *s, const char *name)
{
	case_end(s);
	snprintf(s->name, sizeof(s->name), "%s", name);
	*s->options = 0;
	s->mtu = 1500;
	s->seed = 1;
	s->ip6 = false;
	s->failed = false;
	s->base_us = 0;
	s->at = 0;
	s->n_cases++;
	for (unsigned i = 0; i < SCRIPT_FLOWS; i++)
		s->flow[i] = (struct script_flow){.peer_port = (uint16_t)(40000 + i),
						  .our_port = OUR_PORT,
						  .irs = PEER_ISN,
						  .win = 60000,
						  .conn = -1};
}

static bool stack_needed(struct script *s)
{
	if (s->stack)
		return true;
	s->stack = vtcp_create("198.18.0.1 fd00::1", s->mtu, s->seed, s->options);
	if (!s->stack)
		script_fail(s, "%s", vtcp_error());
	return s->stack != NULL;
}

/* ---- segments in and out ---- */

static bool take(struct script *s, struct script_got *g, bool *tcp)
{
	static uint8_t ip[10000];
	uint64_t at;
	size_t n = vtcp_take(s->stack, ip, sizeof(ip), &at);

	if (!n)
		return false;
	*tcp = script_got_parse(ip, n, g);
	g->at_us = at;
	struct script_flow *f = flow(s);
	if (*tcp && g->dport == f->peer_port && (g->flags & 2)) {
		f->iss = g->seq;
		f->have_iss = true;
		f->our_port = g->sport;
	}
	if (*tcp && g->has_ts) {
		if (!f->have_ts)
			f->ts_first = g->tsval;
		f->have_ts = true;
		f->ts_last = g->tsval;
	}
	if (s->verbose) {
		char text[400] = "not TCP";
		if (*tcp)
			script_got_print(f, g, text, sizeof(text));
		fprintf(s->out, "  %10.3f > %s\n", (double)at / 1000, text);
	}
	return true;
}

static void nothing_waits(struct script *s)
{
	struct script_got g;
	bool tcp;

	if (s->failed || !take(s, &g, &tcp))
		return;
	char text[400] = "not TCP";
	if (tcp)
		script_got_print(flow(s), &g, text, sizeof(text));
	script_fail(s, "expected nothing before this, got (%.3f ms) %s", (double)g.at_us / 1000, text);
}

static void inject(struct script *s, const struct script_seg *g)
{
	uint8_t ip[65536];
	struct script_seg one = *g;

	for (uint32_t i = 0; i < g->repeat; i++) {
		size_t n = script_seg_build(s, flow(s), &one, ip);
		if (s->verbose)
			fprintf(s->out, "  %10.3f < %s\n", (double)vtcp_now(s->stack) / 1000, s->text);
		vtcp_inject(s->stack, vtcp_now(s->stack), ip, n);
		one.seq.lo += one.len;
	}
}

static void segment_in(struct script *s, struct span_us t, char **w, unsigned n)
{
	struct script_seg g;
	char err[160];

	if (!script_seg_parse(w, n, &g, err, sizeof(err))) {
		script_fail(s, "cannot be read: %s", err);
		return;
	}
	vtcp_advance(s->stack, s->base_us + t.lo);
	nothing_waits(s);
	if (s->failed)
		return;
	s->base_us = vtcp_now(s->stack);
	inject(s, &g);
}

/* Runs until a packet waits or the time is over. */
static void run_to_packet(struct script *s, uint64_t until)
{
	while (!vtcp_waiting(s->stack)) {
		int64_t next = vtcp_next(s->stack);
		if (next < 0 || (uint64_t)next > until)
			break;
		vtcp_advance(s->stack, (uint64_t)next > vtcp_now(s->stack) ? (uint64_t)next
									   : vtcp_now(s->stack) + 1);
	}
	if (!vtcp_waiting(s->stack) && vtcp_now(s->stack) < until)
		vtcp_advance(s->stack, until);
}

static void segment_out(struct script *s, struct span_us t, char **w, unsigned n)
{
	struct script_seg g;
	struct script_got got;
	char err[400];
	bool tcp;

	if (!script_seg_parse(w, n, &g, err, sizeof(err))) {
		script_fail(s, "cannot be read: %s", err);
		return;
	}
	for (uint32_t i = 0; i < g.repeat && !s->failed; i++) {
		uint64_t hi = s->base_us + t.hi + LATE_US;
		run_to_packet(s, hi);
		if (!take(s, &got, &tcp)) {
			script_fail(s, "number %u: expected until %.3f ms, got nothing", i + 1,
				    (double)hi / 1000);
			return;
		}
		char text[400] = "not TCP";
		if (tcp)
			script_got_print(flow(s), &got, text, sizeof(text));
		if (got.at_us < s->base_us + t.lo || got.at_us > hi)
			script_fail(s, "number %u: expected at %.3f..%.3f ms, got at %.3f: %s", i + 1,
				    (double)(s->base_us + t.lo) / 1000, (double)hi / 1000,
				    (double)got.at_us / 1000, text);
		else if (!tcp)
			script_fail(s, "expected a TCP segment");
		else if (got.dport != flow(s)->peer_port)
			script_fail(s, "expected to port %u, got to %u: %s", flow(s)->peer_port, got.dport, text);
		else if (!script_seg_compare(flow(s), &g, &got, err, sizeof(err)))
			script_fail(s, "number %u: %s\n  got: %s", i + 1, err, text);
		s->base_us = got.at_us;
		t = (struct span_us){0, 0};
		g.seq.lo += g.len;
		g.seq.hi += g.len;
	}
}

/* ---- commands ---- */

static bool parse_time(const char *w, uint64_t *us)
{
	static const struct {
		const char *unit;
		double us;
	} units[] = {{"us", 1}, {"ms", 1e3}, {"s", 1e6}, {"m", 60e6}, {"h", 3600e6}};
	char *end;
	double v = strtod(w, &end);

	if (end == w || v < 0)
		return false;
	for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(end, units[i].unit) == 0) {
			*us = (uint64_t)(v * units[i].us + 0.5);
			return true;
		}
	return false;
}

static bool parse_times(char *w, struct span_us *t)
{
	char *dots = strstr(w, "..");

	if (dots) {
		*dots = 0;
		return parse_time(w, &t->lo) && parse_time(dots + 2, &t->hi);
	}
	if (!parse_time(w, &t->lo))
		return false;
	t->hi = t->lo;
	return true;
}

static void do_case(struct script *s, char **w, unsigned n)
{
	(void)w, (void)n;
	case_begin(s, s->text + 5);
}

static void do_option(struct script *s, char **w, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		size_t len = strlen(s->options);
		if (s->stack && vtcp_set(s->stack, w[i]) != 0)
			script_fail(s, "%s", vtcp_error());
		if (!s->stack)
			snprintf(s->options + len, sizeof(s->options) - len, " %s", w[i]);
	}
}

static void do_mtu(struct script *s, char **w, unsigned n)
{
	if (n == 2)
		s->mtu = (unsigned)atoi(w[1]);
}

static void do_seed(struct script *s, char **w, unsigned n)
{
	if (n == 2)
		s->seed = strtoull(w[1], NULL, 10);
}

static void do_ipv6(struct script *s, char **w, unsigned n)
{
	(void)w, (void)n;
	s->ip6 = true;
}

static void do_flow(struct script *s, char **w, unsigned n)
{
	s->at = n == 2 ? (unsigned)atoi(w[1]) % SCRIPT_FLOWS : 0;
}

/* The same ports once more: a new connection after the last. */
static void do_again(struct script *s, char **w, unsigned n)
{
	struct script_flow *f = flow(s);

	f->conn = -1;
	f->have_iss = f->use_ts = false;
	f->sent = f->read = 0;
	if (n == 2)
		f->irs = (uint32_t)strtoul(w[1], NULL, 10);
}

static void do_isn(struct script *s, char **w, unsigned n)
{
	if (n == 2)
		flow(s)->irs = (uint32_t)strtoul(w[1], NULL, 10);
}

static void do_listen(struct script *s, char **w, unsigned n)
{
	if (vtcp_listen(s->stack, NULL, n > 1 ? (uint16_t)atoi(w[1]) : OUR_PORT) != 0)
		script_fail(s, "%s", vtcp_error());
}

static void do_accept(struct script *s, char **w, unsigned n)
{
	int c = vtcp_accept(s->stack, flow(s)->our_port);

	if (n == 2 && strcmp(w[1], "none") == 0) {
		if (c >= 0)
			script_fail(s, "expected none, got a connection");
		return;
	}
	if (c < 0)
		script_fail(s, "expected a connection, got none");
	flow(s)->conn = c;
}

static void do_connect(struct script *s, char **w, unsigned n)
{
	struct script_flow *f = flow(s);

	f->peer_port = n == 2 ? (uint16_t)atoi(w[1]) : OUR_PORT;
	f->conn = vtcp_connect(s->stack, NULL, s->ip6 ? "fd00::2" : "198.18.0.2", f->peer_port);
	if (f->conn < 0)
		script_fail(s, "%s", vtcp_error());
}

static void do_send(struct script *s, char **w, unsigned n)
{
	struct script_flow *f = flow(s);
	static uint8_t bytes[1 << 20];
	long len = n >= 2 ? atol(w[1]) : -1;

	if (len < 0 || len > (long)sizeof(bytes)) {
		script_fail(s, "how many bytes?");
		return;
	}
	for (long i = 0; i < len; i++)
		bytes[i] = script_byte(0, f->sent + (uint64_t)i);
	int64_t took = vtcp_send(s->stack, f->conn, bytes, (size_t)len);
	if (n == 3 && strcmp(w[2], "closed") == 0) {
		if (took != VTCP_CLOSED)
			script_fail(s, "expected a refusal, got %lld", (long long)took);
		return;
	}
	if (n == 4 ? took != atol(w[3]) : took != len)
		script_fail(s, "expected %s bytes to be taken, got %lld", n == 4 ? w[3] : w[1], (long long)took);
	if (took > 0)
		f->sent += (uint64_t)took;
}

static void do_recv(struct script *s, char **w, unsigned n)
{
	struct script_flow *f = flow(s);
	static uint8_t bytes[1 << 20];
	bool end = n == 2 && strcmp(w[1], "end") == 0, none = n == 2 && strcmp(w[1], "none") == 0;
	long len = n == 2 && !end && !none ? atol(w[1]) : 1;

	if (len <= 0 || len > (long)sizeof(bytes)) {
		script_fail(s, "how many bytes?");
		return;
	}
	int64_t got = vtcp_recv(s->stack, f->conn, bytes, (size_t)len);
	if (got != (end ? 0 : none ? VTCP_AGAIN : len)) {
		script_fail(s, "expected %s, got %lld", w[1], (long long)got);
		return;
	}
	for (int64_t i = 0; i < got; i++)
		if (bytes[i] != script_byte(1, f->read + (uint64_t)i)) {
			script_fail(s, "byte %llu is not what the peer sent",
				    (unsigned long long)(f->read + (uint64_t)i));
			return;
		}
	f->read += got > 0 ? (uint64_t)got : 0;
}

static void call(struct script *s, int (*f)(struct vtcp_stack *s, int conn))
{
	if (f(s->stack, flow(s)->conn) != 0)
		script_fail(s, "%s", vtcp_error());
}

static void do_shutdown(struct script *s, char **w, unsigned n)
{
	(void)w, (void)n;
	call(s, vtcp_shutdown);
}

static void do_close(struct script *s, char **w, unsigned n)
{
	(void)w, (void)n;
	call(s, vtcp_close);
}

static void do_abort(struct script *s, char **w, unsigned n)
{
	(void)w, (void)n;
	call(s, vtcp_abort);
}

static void do_release(struct script *s, char **w, unsigned n)
{
	(void)w, (void)n;
	call(s, vtcp_release);
}

static void do_event(struct script *s, char **w, unsigned n)
{
	static const char *const names[] = {"accepted", "connected", "readable", "writable", "fin", "closed"};
	int events = vtcp_events(s->stack, flow(s)->conn), want = 0;

	for (unsigned i = 1; i < n; i++)
		for (unsigned k = 0; k < 6; k++)
			if (strcmp(w[i], names[k]) == 0)
				want |= 1 << k;
	if (events != want)
		script_fail(s, "events: expected %#x, got %#x", (unsigned)want, (unsigned)events);
}

static void do_info(struct script *s, char **w, unsigned n)
{
	struct script_match m;
	int64_t v;

	if (n != 3) {
		script_fail(s, "info NAME VALUE");
		return;
	}
	const char *text = vtcp_info_text(s->stack, flow(s)->conn, w[1]);
	if (text && !isdigit((unsigned char)w[2][0])) {
		if (strcmp(text, w[2]) != 0)
			script_fail(s, "%s: expected %s, got %s", w[1], w[2], text);
		return;
	}
	if (vtcp_info(s->stack, flow(s)->conn, w[1], &v) != 0 || !script_match_parse(w[2], &m))
		script_fail(s, "%s", vtcp_error());
	else if (v < m.lo || v > m.hi)
		script_fail(s, "%s: expected %s, got %lld", w[1], w[2], (long long)v);
}

static void do_stat(struct script *s, char **w, unsigned n)
{
	struct script_match m;
	int64_t v;

	if (n != 3 || vtcp_stat(s->stack, w[1], &v) != 0 || !script_match_parse(w[2], &m))
		script_fail(s, "%s", n == 3 ? vtcp_error() : "stat NAME VALUE");
	else if (v < m.lo || v > m.hi)
		script_fail(s, "%s: expected %s, got %lld", w[1], w[2], (long long)v);
}

static void do_icmp(struct script *s, char **w, unsigned n)
{
	uint8_t ip[256];
	size_t len = n >= 3 ? script_icmp_build(s, flow(s), w[1], (uint32_t)strtol(w[2], NULL, 10),
						n >= 4 ? (uint32_t)atoi(w[3]) : 0, ip)
			    : 0;

	if (!len)
		script_fail(s, "icmp KIND SEQ [MTU]");
	nothing_waits(s);
	if (!s->failed)
		vtcp_inject(s->stack, vtcp_now(s->stack), ip, len);
}

static void do_drain(struct script *s, char **w, unsigned n)
{
	struct script_got g;
	unsigned count = 0;
	bool tcp;

	while (take(s, &g, &tcp))
		count++;
	if (n == 2 && count != (unsigned)atoi(w[1]))
		script_fail(s, "expected %s segments, got %u", w[1], count);
}

static void do_wait(struct script *s, char **w, unsigned n)
{
	(void)w, (void)n; /* the time in front of it has passed */
}

static void do_quiet(struct script *s, char **w, unsigned n)
{
	uint64_t us;

	if (n != 2 || !parse_time(w[1], &us)) {
		script_fail(s, "quiet TIME");
		return;
	}
	nothing_waits(s);
	run_to_packet(s, s->base_us + us);
	nothing_waits(s);
	s->base_us = vtcp_now(s->stack);
}

/* open [WORD ...]: the words go into the peer's SYN; rtt TIME, noaccept, active stand apart. */
static void do_open(struct script *s, char **w, unsigned n)
{
	struct script_flow *f = flow(s);
	char *seg[WORDS + 4], flags[] = "S", flags_sa[] = "SA", zero[] = "0", key[] = "mss", mss[] = "1000";
	char ack_key[] = "ack", one[] = "1", err[160];
	uint64_t rtt = 10000;
	unsigned k = 2;
	bool active = false, accept = true, have_mss = false, tcp;
	struct script_seg g;
	struct script_got got;

	seg[1] = zero;
	for (unsigned i = 1; i < n; i++) {
		if (strcmp(w[i], "active") == 0)
			active = true;
		else if (strcmp(w[i], "noaccept") == 0)
			accept = false;
		else if (strcmp(w[i], "rtt") == 0 && i + 1 < n && parse_time(w[i + 1], &rtt))
			i++;
		else if (strcmp(w[i], "ts") == 0)
			f->use_ts = true;
		else
			seg[k++] = w[i];
		have_mss = have_mss || strcmp(w[i], "mss") == 0;
	}
	if (!have_mss) {
		seg[k++] = key;
		seg[k++] = mss;
	}
	seg[0] = active ? flags_sa : flags;
	if (active) {
		seg[k++] = ack_key;
		seg[k++] = one;
		do_connect(s, w, 1);
		if (s->failed || !take(s, &got, &tcp))
			return;
		vtcp_advance(s->stack, s->base_us + rtt);
	} else {
		vtcp_listen(s->stack, NULL, OUR_PORT);
	}
	if (!script_seg_parse(seg, k, &g, err, sizeof(err))) {
		script_fail(s, "cannot be read: %s", err);
		return;
	}
	if (g.win.set)
		f->win = (uint16_t)g.win.lo;
	s->base_us = vtcp_now(s->stack);
	inject(s, &g);
	if (!take(s, &got, &tcp) || !tcp || (got.flags & 16) == 0) {
		script_fail(s, "the handshake: expected an answer");
		return;
	}
	if (!active) {
		vtcp_advance(s->stack, s->base_us + rtt);
		struct script_seg ack = {.flags = 16, .repeat = 1, .n_sack = -1, .doff = -1, .cut = -1};
		ack.seq = ack.ack = (struct script_match){true, false, 1, 1};
		inject(s, &ack);
		if (accept)
			do_accept(s, w, 1);
	}
	vtcp_events(s->stack, f->conn);
	s->base_us = vtcp_now(s->stack);
}

static const struct command {
	const char *name;
	void (*run)(struct script *s, char **w, unsigned n);
	bool before; /* the stack is not needed */
} commands[] = {
	{"case", do_case, true},       {"option", do_option, true},	{"mtu", do_mtu, true},
	{"seed", do_seed, true},       {"ipv6", do_ipv6, true},		{"flow", do_flow, true},
	{"again", do_again, true},     {"isn", do_isn, true},		{"listen", do_listen, false},
	{"accept", do_accept, false},  {"connect", do_connect, false},	{"send", do_send, false},
	{"recv", do_recv, false},      {"shutdown", do_shutdown, false}, {"close", do_close, false},
	{"abort", do_abort, false},    {"release", do_release, false},	{"event", do_event, false},
	{"info", do_info, false},      {"stat", do_stat, false},	{"icmp", do_icmp, false},
	{"drain", do_drain, false},    {"quiet", do_quiet, false},	{"open", do_open, false},
	{"wait", do_wait, false},
};

/* ---- lines ---- */

static unsigned split(char *text, char **w)
{
	unsigned n = 0;

	for (char *at = strtok(text, " \t"); at && n < WORDS; at = strtok(NULL, " \t"))
		w[n++] = at;
	return n;
}

static void line_play(struct script *s, char **w, unsigned n)
{
	struct span_us t = {0, 0};

	if (**w == '+') {
		if (n < 2 || !parse_times(*w + 1, &t)) {
			script_fail(s, "time \"%s\"", *w);
			return;
		}
		w++;
		n--;
	}
	if (strcmp(*w, "<") == 0 || strcmp(*w, ">") == 0) {
		if (stack_needed(s))
			(**w == '<' ? segment_in : segment_out)(s, t, w + 1, n - 1);
		return;
	}
	for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct command *c = &commands[i];
		if (strcmp(*w, c->name) != 0)
			continue;
		if (!c->before) {
			if (!stack_needed(s))
				return;
			if (t.lo) {
				vtcp_advance(s->stack, s->base_us + t.lo);
				s->base_us = vtcp_now(s->stack);
			}
		}
		c->run(s, w, n);
		if (s->verbose && !s->failed)
			fprintf(s->out, "  %10.3f   %s\n", s->stack ? (double)vtcp_now(s->stack) / 1000 : 0.0, s->text);
		return;
	}
	script_fail(s, "unknown command \"%s\"", *w);
}

bool script_play(struct script *s, const char *file)
{
	FILE *f = fopen(file, "r");
	char raw[400], words[400], *w[WORDS];
	const char *slash = strrchr(file, '/');
	unsigned failed = s->n_failed;

	s->file = slash ? slash + 1 : file;
	s->line = 0;
	s->text = "";
	s->name[0] = 0;
	s->failed = false;
	if (!f) {
		script_fail(s, "cannot be opened");
		return false;
	}
	s->failed = true; /* until the first case */
	while (fgets(raw, sizeof(raw), f)) {
		s->line++;
		raw[strcspn(raw, "\r\n")] = 0;
		char *hash = strstr(raw, "# ");
		if (hash)
			*hash = 0;
		s->text = raw + strspn(raw, " \t");
		strcpy(words, raw);
		unsigned n = split(words, w);
		if (!n || (s->failed && strcmp(w[0], "case") != 0))
			continue;
		line_play(s, w, n);
	}
	fclose(f);
	s->text = "(end of the file)";
	case_end(s);
	return s->n_failed == failed;
}
