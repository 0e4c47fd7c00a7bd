/*
 * script_cmd.c: the commands of packet scripts: calls to the stack, what is asserted of it, how time passes. One row of the
 * table each.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "script.h"

#define WORDS	 48
#define OUR_PORT 25

bool script_time_parse(const char *w, uint64_t *us)
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

static void do_case(struct script *s, char **w, unsigned n)
{
	(void)w, (void)n;
	script_case_begin(s, s->text + 5);
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
	struct script_flow *f = script_flow_now(s);

	f->conn = -1;
	f->have_iss = f->use_ts = false;
	f->sent = f->read = 0;
	if (n == 2)
		f->irs = (uint32_t)strtoul(w[1], NULL, 10);
}

static void do_isn(struct script *s, char **w, unsigned n)
{
	if (n == 2)
		script_flow_now(s)->irs = (uint32_t)strtoul(w[1], NULL, 10);
}

static void do_listen(struct script *s, char **w, unsigned n)
{
	if (vtcp_listen(s->stack, NULL, n > 1 ? (uint16_t)atoi(w[1]) : OUR_PORT) != 0)
		script_fail(s, "%s", vtcp_error());
}

static void do_accept(struct script *s, char **w, unsigned n)
{
	int c = vtcp_accept(s->stack, script_flow_now(s)->our_port);

	if (n == 2 && strcmp(w[1], "none") == 0) {
		if (c >= 0)
			script_fail(s, "expected none, got a connection");
		return;
	}
	if (c < 0)
		script_fail(s, "expected a connection, got none");
	script_flow_now(s)->conn = c;
}

static void do_connect(struct script *s, char **w, unsigned n)
{
	struct script_flow *f = script_flow_now(s);

	f->peer_port = n == 2 ? (uint16_t)atoi(w[1]) : OUR_PORT;
	f->conn = vtcp_connect(s->stack, NULL, s->ip6 ? "fd00::2" : "198.18.0.2", f->peer_port);
	if (f->conn < 0)
		script_fail(s, "%s", vtcp_error());
}

static void do_send(struct script *s, char **w, unsigned n)
{
	struct script_flow *f = script_flow_now(s);
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
	struct script_flow *f = script_flow_now(s);
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
	if (f(s->stack, script_flow_now(s)->conn) != 0)
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
	int events = vtcp_events(s->stack, script_flow_now(s)->conn), want = 0;

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
	const char *text = vtcp_info_text(s->stack, script_flow_now(s)->conn, w[1]);
	if (text && !isdigit((unsigned char)w[2][0])) {
		if (strcmp(text, w[2]) != 0)
			script_fail(s, "%s: expected %s, got %s", w[1], w[2], text);
		return;
	}
	if (vtcp_info(s->stack, script_flow_now(s)->conn, w[1], &v) != 0 || !script_match_parse(w[2], &m))
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
	size_t len = n >= 3 ? script_icmp_build(s, script_flow_now(s), w[1], (uint32_t)strtol(w[2], NULL, 10),
						n >= 4 ? (uint32_t)atoi(w[3]) : 0, ip)
			    : 0;

	if (!len)
		script_fail(s, "icmp KIND SEQ [MTU]");
	script_nothing_waits(s);
	if (!s->failed)
		vtcp_inject(s->stack, vtcp_now(s->stack), ip, len);
}

static void do_drain(struct script *s, char **w, unsigned n)
{
	struct script_got g;
	unsigned count = 0;
	bool tcp;

	while (script_take(s, &g, &tcp))
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

	if (n != 2 || !script_time_parse(w[1], &us)) {
		script_fail(s, "quiet TIME");
		return;
	}
	script_nothing_waits(s);
	script_run_to_packet(s, s->base_us + us);
	script_nothing_waits(s);
	s->base_us = vtcp_now(s->stack);
}

/* open [WORD ...]: the words go into the peer's SYN; rtt TIME, noaccept, active stand apart. */
static void do_open(struct script *s, char **w, unsigned n)
{
	struct script_flow *f = script_flow_now(s);
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
		else if (strcmp(w[i], "rtt") == 0 && i + 1 < n && script_time_parse(w[i + 1], &rtt))
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
		if (s->failed || !script_take(s, &got, &tcp))
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
	script_inject(s, &g);
	if (!script_take(s, &got, &tcp) || !tcp || (got.flags & 16) == 0) {
		script_fail(s, "the handshake: expected an answer");
		return;
	}
	if (!active) {
		vtcp_advance(s->stack, s->base_us + rtt);
		struct script_seg ack = {.flags = 16, .repeat = 1, .n_sack = -1, .doff = -1, .cut = -1};
		ack.seq = ack.ack = (struct script_match){true, false, 1, 1};
		script_inject(s, &ack);
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

void script_command(struct script *s, uint64_t after_us, char **w, unsigned n)
{
	for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct command *c = &commands[i];
		if (strcmp(*w, c->name) != 0)
			continue;
		if (!c->before) {
			if (!script_stack_needed(s))
				return;
			if (after_us) {
				vtcp_advance(s->stack, s->base_us + after_us);
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
