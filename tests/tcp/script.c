/*
 * script.c: plays packet scripts at one stack in virtual time, over stack.h only. A line is a time (or none), then an
 * action: `<` a segment comes, `>` one is expected, or a command (script_cmd.c). The first thing that is not as
 * told ends the case; the next case begins with a new stack. See scripts/README.md.
 */
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

struct script_flow *script_flow_now(struct script *s)
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
			script_got_print(script_flow_now(s), &g, text, sizeof(text));
		script_fail(s, "at the end of the case: expected nothing, got %s", text);
	}
	unsigned left = vtcp_destroy(s->stack);
	s->stack = NULL;
	if (left)
		script_fail(s, "%u packets leaked", left);
}

void script_case_begin(struct script *s, const char *name)
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

bool script_stack_needed(struct script *s)
{
	if (s->stack)
		return true;
	s->stack = vtcp_create("198.18.0.1 fd00::1", s->mtu, s->seed, s->options);
	if (!s->stack)
		script_fail(s, "%s", vtcp_error());
	return s->stack != NULL;
}

/* ---- segments in and out ---- */

bool script_take(struct script *s, struct script_got *g, bool *tcp)
{
	static uint8_t ip[10000];
	uint64_t at;
	size_t n = vtcp_take(s->stack, ip, sizeof(ip), &at);

	if (!n)
		return false;
	*tcp = script_got_parse(ip, n, g);
	g->at_us = at;
	struct script_flow *f = script_flow_now(s);
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

void script_nothing_waits(struct script *s)
{
	struct script_got g;
	bool tcp;

	if (s->failed || !script_take(s, &g, &tcp))
		return;
	char text[400] = "not TCP";
	if (tcp)
		script_got_print(script_flow_now(s), &g, text, sizeof(text));
	script_fail(s, "expected nothing before this, got (%.3f ms) %s", (double)g.at_us / 1000, text);
}

void script_inject(struct script *s, const struct script_seg *g)
{
	uint8_t ip[65536];
	struct script_seg one = *g;

	for (uint32_t i = 0; i < g->repeat; i++) {
		size_t n = script_seg_build(s, script_flow_now(s), &one, ip);
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
	script_nothing_waits(s);
	if (s->failed)
		return;
	s->base_us = vtcp_now(s->stack);
	script_inject(s, &g);
}

/* Runs until a packet waits or the time is over. */
void script_run_to_packet(struct script *s, uint64_t until)
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
		script_run_to_packet(s, hi);
		if (!script_take(s, &got, &tcp)) {
			script_fail(s, "number %u: expected until %.3f ms, got nothing", i + 1,
				    (double)hi / 1000);
			return;
		}
		char text[400] = "not TCP";
		if (tcp)
			script_got_print(script_flow_now(s), &got, text, sizeof(text));
		if (got.at_us < s->base_us + t.lo || got.at_us > hi)
			script_fail(s, "number %u: expected at %.3f..%.3f ms, got at %.3f: %s", i + 1,
				    (double)(s->base_us + t.lo) / 1000, (double)hi / 1000,
				    (double)got.at_us / 1000, text);
		else if (!tcp)
			script_fail(s, "expected a TCP segment");
		else if (got.dport != script_flow_now(s)->peer_port)
			script_fail(s, "expected to port %u, got to %u: %s", script_flow_now(s)->peer_port, got.dport, text);
		else if (!script_seg_compare(script_flow_now(s), &g, &got, err, sizeof(err)))
			script_fail(s, "number %u: %s\n  got: %s", i + 1, err, text);
		s->base_us = got.at_us;
		t = (struct span_us){0, 0};
		g.seq.lo += g.len;
		g.seq.hi += g.len;
	}
}

static bool parse_times(char *w, struct span_us *t)
{
	char *dots = strstr(w, "..");

	if (dots) {
		*dots = 0;
		return script_time_parse(w, &t->lo) && script_time_parse(dots + 2, &t->hi);
	}
	if (!script_time_parse(w, &t->lo))
		return false;
	t->hi = t->lo;
	return true;
}

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
		if (script_stack_needed(s))
			(**w == '<' ? segment_in : segment_out)(s, t, w + 1, n - 1);
		return;
	}
	script_command(s, t.lo, w, n);
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
