/*
 * Several devices on one mailbox: three clients keep what untagged responses tell them, as a real one would, and do
 * random things. What each believes after a NOOP must be what the mailbox holds; and on the way no EXPUNGE may come
 * where RFC 3501 7.4.1 forbids it, no number may point past the end, no UID may change.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include "harness.h"
#include "imap_server.h"

#define CLIENTS 3
#define MAX     9000

static const char *const flag[] = {"\\Seen", "\\Flagged", "\\Deleted", "\\Answered", "Kw1", "$Kw2"};
#define FLAGS (sizeof(flag) / sizeof(flag[0]))

struct message {
	uint32_t uid; /* 0: not told */
	uint32_t flags;
	bool known; /* flags were told */
};

struct client {
	struct message m[MAX];
	unsigned n;
};

static struct harness h;
static struct client model[CLIENTS + 1];
static struct rnd rnd;
static char last[1 << 12];

static unsigned below(unsigned n)
{
	return rnd_below(&rnd, n);
}

static uint32_t flags_of(const char *s, size_t len)
{
	uint32_t f = 0;
	char text[512];

	cr_assert_lt(len, sizeof(text));
	memcpy(text, s, len);
	text[len] = '\0';
	for (unsigned i = 0; i < FLAGS; i++)
		f |= strstr(text, flag[i]) ? 1u << i : 0;
	return f;
}

/* "* n FETCH (...)" */
static void fetched(struct client *c, unsigned n, const char *line)
{
	struct message *m = &c->m[n - 1];
	const char *uid = strstr(line, "UID "), *fl = strstr(line, "FLAGS (");

	if (uid) {
		uint32_t u = (uint32_t)strtoul(uid + 4, NULL, 10);
		cr_assert(m->uid == 0 || m->uid == u, "UID %u became %u: %s", m->uid, u, last);
		m->uid = u;
	}
	if (fl) {
		m->flags = flags_of(fl, (size_t)(strchr(fl, ')') - fl));
		m->known = true;
	}
}

/* One untagged line; hold: an EXPUNGE must not come now. */
static void untagged(struct client *c, const char *line, bool hold)
{
	char word[32];
	unsigned n;

	if (sscanf(line, "* %u %31s", &n, word) != 2)
		return;
	if (!strcmp(word, "EXISTS")) {
		cr_assert(n >= c->n && n < MAX, "EXISTS %u after %u: %s", n, c->n, last);
		while (c->n < n)
			c->m[c->n++] = (struct message){0};
	} else if (!strcmp(word, "EXPUNGE")) {
		cr_assert(!hold, "EXPUNGE in %s", last);
		cr_assert(n >= 1 && n <= c->n, "EXPUNGE %u of %u: %s", n, c->n, last);
		memmove(&c->m[n - 1], &c->m[n], (c->n - n) * sizeof(c->m[0]));
		c->n--;
	} else if (!strcmp(word, "FETCH")) {
		cr_assert(n >= 1 && n <= c->n, "FETCH %u of %u: %s", n, c->n, last);
		fetched(c, n, line);
	}
}

/* Says a command and takes in the answers; they must end in the tagged line. */
static void command(unsigned i, const char *text, bool hold)
{
	struct buf *o = &h.client[i].out;
	struct client *c = &model[i];
	char line[2048];

	snprintf(last, sizeof(last), "client %u: %s", i, text);
	snprintf(line, sizeof(line), "t %s\r\n", text);
	harness_feed(&h, i, span_str(line));
	buf_add_u8(o, 0);
	bool ended = false;
	char *save, *p = strtok_r((char *)o->p, "\r\n", &save);
	for (; p; p = strtok_r(NULL, "\r\n", &save)) {
		if (p[0] == '*')
			untagged(c, p, hold);
		else if (p[0] == 't')
			ended = true;
	}
	o->len = 0;
	cr_assert(ended, "no answer: %s", last);
}

static void set_of(struct client *c, char *out)
{
	unsigned a = 1 + below(c->n), b = 1 + below(c->n);

	if (below(3) == 0)
		sprintf(out, "%u", a);
	else if (below(2))
		sprintf(out, "%u:%u", a, b);
	else
		sprintf(out, "%u,%u", a, b);
}

/* What .SILENT does not tell, the client knows itself. */
static void silent(struct client *c, const char *set, char mode, uint32_t f)
{
	unsigned a, b;
	bool range = sscanf(set, "%u:%u", &a, &b) == 2, two = !range && sscanf(set, "%u,%u", &a, &b) == 2;

	if (!range && !two)
		b = a = (unsigned)atoi(set);
	if (range && a > b) {
		unsigned x = a;
		a = b, b = x;
	}
	for (unsigned k = 1; k <= c->n; k++) {
		struct message *m = &c->m[k - 1];

		if (two ? k != a && k != b : k < a || k > b)
			continue;
		m->flags = mode == '+' ? m->flags | f : mode == '-' ? m->flags & ~f : f;
		m->known |= mode == ' ';
	}
}

static void store(unsigned i)
{
	struct client *c = &model[i];
	char set[32], names[128] = "", text[256];
	uint32_t f = 0;
	char mode = "+- "[below(3)];
	bool quiet = below(2);

	set_of(c, set);
	for (unsigned k = 0; k < FLAGS; k++) {
		if (below(3) == 0) {
			f |= 1u << k;
			sprintf(names + strlen(names), "%s%s", names[0] ? " " : "", flag[k]);
		}
	}
	snprintf(text, sizeof(text), "STORE %s %.*sFLAGS%s (%s)", set, mode != ' ', &mode, quiet ? ".SILENT" : "", names);
	if (quiet)
		silent(c, set, mode, f);
	command(i, text, true);
}

static void one(unsigned i)
{
	struct client *c = &model[i];
	char set[32], text[128];

	if (c->n == 0 || below(8) == 0) {
		command(i, "APPEND INBOX {16+}\r\nSubject: x\r\n\r\ny\r\n", false);
		return;
	}
	set_of(c, set);
	switch (below(9)) {
	case 0:
		snprintf(text, sizeof(text), "FETCH %s (UID FLAGS)", set);
		command(i, text, true);
		break;
	case 1:
		snprintf(text, sizeof(text), "FETCH %s BODY[TEXT]", set);
		command(i, text, true);
		break;
	case 2:
		command(i, "UID FETCH 1:* FLAGS", false);
		break;
	case 3:
		command(i, "EXPUNGE", false);
		break;
	case 4:
		if (c->n < 40) {
			snprintf(text, sizeof(text), "COPY %s INBOX", set);
			command(i, text, false);
		}
		break;
	case 5:
		snprintf(text, sizeof(text), "MOVE %s Other", set);
		command(i, text, false);
		break;
	case 6:
		command(i, "SEARCH DELETED", true);
		break;
	case 7:
		command(i, "NOOP", false);
		break;
	default:
		store(i);
		break;
	}
	if (below(10) == 0)
		harness_time(&h, 1500000);
}

/* What the mailbox holds, by a session that has just come. */
static void truth(void)
{
	struct client *c = &model[CLIENTS];

	c->n = 0;
	command(CLIENTS, "EXAMINE INBOX", false);
	command(CLIENTS, "FETCH 1:* (UID FLAGS)", true);
}

static void compare(uint64_t seed)
{
	const struct client *t = &model[CLIENTS];

	truth();
	for (unsigned i = 0; i < CLIENTS; i++) {
		command(i, "NOOP", false);
		cr_assert_eq(model[i].n, t->n, "seed %u client %u: %u messages, not %u", (unsigned)seed, i, model[i].n, t->n);
		for (unsigned k = 0; k < t->n; k++) {
			const struct message *m = &model[i].m[k], *w = &t->m[k];

			cr_assert(!m->uid || m->uid == w->uid, "seed %u client %u message %u: UID %u, not %u",
				  (unsigned)seed, i, k + 1, m->uid, w->uid);
			cr_assert(!m->known || m->flags == w->flags, "seed %u client %u message %u: flags %x, not %x",
				  (unsigned)seed, i, k + 1, m->flags, w->flags);
		}
	}
}

static void login(unsigned i, const char *select)
{
	harness_open(&h, i);
	h.client[i].out.len = 0;
	memset(&model[i], 0, sizeof(model[i]));
	command(i, "LOGIN bob@example.net builder", false);
	if (select)
		command(i, select, false);
}

static void run(uint64_t seed, unsigned rounds)
{
	harness_init(&h, &imap_proto);
	rnd_seed(&rnd, seed);
	login(CLIENTS, NULL);
	command(CLIENTS, "CREATE Other", false);
	for (unsigned i = 0; i < CLIENTS; i++)
		login(i, "SELECT INBOX");
	for (unsigned r = 0; r < rounds; r++) {
		for (unsigned k = 0; k < 12; k++)
			one(below(CLIENTS));
		compare(seed);
	}
	harness_fini(&h);
}

Test(imap_devices, agree, .timeout = 60)
{
	for (uint64_t seed = 1; seed <= 60; seed++)
		run(seed, 8);
}

/* IDLE: everything comes without being asked for. */
Test(imap_devices, idle)
{
	harness_init(&h, &imap_proto);
	rnd_seed(&rnd, 7);
	login(CLIENTS, NULL);
	for (unsigned i = 0; i < CLIENTS; i++)
		login(i, "SELECT INBOX");
	harness_feed(&h, 0, SPAN("i IDLE\r\n"));
	for (unsigned k = 0; k < 200; k++)
		one(1);
	struct buf *o = &h.client[0].out;
	buf_add_u8(o, 0);
	char *save;
	for (char *p = strtok_r((char *)o->p, "\r\n", &save); p; p = strtok_r(NULL, "\r\n", &save))
		untagged(&model[0], p, false);
	o->len = 0;
	harness_feed(&h, 0, SPAN("DONE\r\n"));
	cr_expect(memmem(o->p, o->len, "* ", 2) == NULL, "news after IDLE");
	o->len = 0;
	compare(7);
	harness_fini(&h);
}

/* In IDLE, with a reader that has stopped: what happens meanwhile, while half of the news has been written, must all
 * arrive in the end. */
Test(imap_devices, idle_slow_reader, .timeout = 60)
{
	harness_init(&h, &imap_proto);
	login(CLIENTS, NULL);
	for (unsigned i = 0; i < 2; i++)
		login(i, "SELECT INBOX");
	command(0, "APPEND INBOX {16+}\r\nSubject: x\r\n\r\ny\r\n", false);
	for (unsigned i = 0; i < 13; i++)
		command(0, "COPY 1:* INBOX", false);
	cr_assert_eq(model[0].n, 8192);
	command(0, "FETCH 1:* (UID FLAGS)", true);
	h.room = 0;
	harness_feed(&h, 0, SPAN("i IDLE\r\n"));
	harness_feed(&h, 1, SPAN("a NOOP\r\nb STORE 1:* +FLAGS.SILENT (\\Flagged)\r\n"));
	harness_feed(&h, 1, SPAN("c STORE 1:100 +FLAGS.SILENT (\\Seen Kw1)\r\n"));
	harness_feed(&h, 1, SPAN("d STORE 50:60,8000:8100 +FLAGS.SILENT (\\Deleted)\r\n"));
	harness_feed(&h, 1, SPAN("e UID EXPUNGE 1:8050\r\nf STORE 1:3 -FLAGS.SILENT (\\Flagged)\r\n"));
	h.room = UINT32_MAX;
	harness_run(&h);
	struct buf *o = &h.client[0].out;
	buf_add_u8(o, 0);
	char *save;
	for (char *p = strtok_r((char *)o->p, "\r\n", &save); p; p = strtok_r(NULL, "\r\n", &save))
		untagged(&model[0], p, false);
	o->len = 0;
	harness_feed(&h, 0, SPAN("DONE\r\n"));
	cr_expect(memmem(o->p, o->len, "* ", 2) == NULL, "news after IDLE");
	o->len = 0;
	truth();
	cr_assert_eq(model[0].n, model[CLIENTS].n);
	for (unsigned k = 0; k < model[0].n; k++) {
		cr_assert_eq(model[0].m[k].uid, model[CLIENTS].m[k].uid, "message %u", k + 1);
		cr_assert_eq(model[0].m[k].flags, model[CLIENTS].m[k].flags, "message %u", k + 1);
	}
	harness_fini(&h);
}
