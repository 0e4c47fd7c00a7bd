/*
 * veredusctl.c: the operator's command line. Noun, verb, arguments; --json prints the reply as it came.
 * Exit status: 0 done, 1 refused or not found, 2 wrong usage or configuration, 3 veredus not reached.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "check.h"
#include "conf_file.h"
#include "conf_schema.h"
#include "ctl_socket.h"
#include "ctl_store.h"
#include "stat.h"

enum { EXIT_DONE, EXIT_REFUSED, EXIT_USAGE, EXIT_UNREACHED };

struct call {
	const char *socket;
	bool json, all, watch, follow;
	unsigned interval_s, count;
	const char *where, *from, *rcpt, *site, *conn, *session, *path;
	unsigned limit, last;
	const char *arg; /* the one positional argument, or NULL */
	const struct command *cmd;
};

struct command {
	const char *noun, *verb;
	const char *arg; /* name of its argument in help; NULL: none; "[X]": may be left out */
	int (*run)(const struct call *c);
	int (*print)(const json_t *reply);
	const char *help;
};

/* ---- asking ---- */

static int finish(const struct call *c, json_t *reply)
{
	int status = EXIT_DONE;
	if (!json_is_true(json_object_get(reply, "ok"))) {
		const char *text = json_string_value(json_object_get(reply, "text"));
		(void)fprintf(stderr, "veredusctl: %s\n", text != NULL ? text : "refused");
		status = EXIT_REFUSED;
	} else if (c->json) {
		/* stats --json is one object of named counters; the rest is the reply itself. */
		const json_t *stats = json_object_get(reply, "stats");
		(void)json_dumpf(stats != NULL ? stats : reply, stdout, JSON_COMPACT);
		(void)putchar('\n');
	} else if (c->cmd->print != NULL) {
		status = c->cmd->print(reply);
	}
	json_decref(reply);
	return status;
}

/* Sends the request (taken). */
static int ask(const struct call *c, json_t *request)
{
	char why[256], verb[64];
	(void)snprintf(verb, sizeof(verb), "%s%s%s", c->cmd->noun, c->cmd->verb[0] != '\0' ? " " : "",
		       c->cmd->verb);
	(void)json_object_set_new(request, "verb", json_string(verb));
	json_t *reply = ctl_request(c->socket, request, why, sizeof(why));
	json_decref(request);
	if (reply == NULL) {
		(void)fprintf(stderr, "veredusctl: %s\n", why);
		return EXIT_UNREACHED;
	}
	return finish(c, reply);
}

static int run_plain(const struct call *c)
{
	unsigned n = 0;
	int status;
	for (;;) {
		status = ask(c, json_object());
		if (!c->watch || status != EXIT_DONE || (c->count != 0 && ++n >= c->count))
			return status;
		(void)fflush(stdout);
		(void)sleep(c->interval_s);
		if (!c->json)
			(void)putchar('\n');
	}
}

/* Reads a password: typed twice without echo on a terminal, else one line of standard input. */
static bool read_password(char *dst, size_t size)
{
	struct termios old, quiet;
	bool tty = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &old) == 0;
	if (tty) {
		quiet = old;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		(void)fprintf(stderr, "Password: ");
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	}
	bool ok = fgets(dst, (int)size, stdin) != NULL;
	if (tty) {
		char again[256] = "";
		(void)fprintf(stderr, "\nAgain: ");
		ok = ok && fgets(again, sizeof(again), stdin) != NULL && strcmp(dst, again) == 0;
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
		(void)fprintf(stderr, "\n");
		explicit_bzero(again, sizeof(again));
	}
	dst[strcspn(dst, "\r\n")] = '\0';
	return ok && dst[0] != '\0';
}

static int run_with_password(const struct call *c)
{
	char password[256] = "";
	if (!read_password(password, sizeof(password))) {
		(void)fprintf(stderr, "veredusctl: no password, or the two were not the same\n");
		return EXIT_USAGE;
	}
	json_t *r = json_pack("{s:s, s:s%}", "name", c->arg, "password", password, strlen(password));
	explicit_bzero(password, sizeof(password));
	if (r == NULL) {
		(void)fprintf(stderr, "veredusctl: address and password must be UTF-8\n");
		return EXIT_USAGE;
	}
	return ask(c, r);
}

static int run_with_name(const struct call *c)
{
	return ask(c, json_pack("{s:s}", "name", c->arg));
}

/* Adds "NAME=value" to the expression, whatever bytes the value has. */
static void where_add(struct buf *where, const char *name, const char *value)
{
	buf_printf(where, "%s%s=\"", where->len > 0 ? " and " : "", name);
	for (const char *p = value; *p != '\0'; p++)
		buf_printf(where, *p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
	buf_add_str(where, "\"");
}

/* Verbs on rows: the argument is an id; the short options and --where are one expression. */
static int run_rows(const struct call *c)
{
	const struct {
		const char *name, *value;
	} text[] = {{"id", c->arg}, {"from", c->from}, {"rcpt", c->rcpt}, {"site", c->site}};
	json_t *r = json_object();
	struct buf where;
	buf_init(&where);
	if (c->where != NULL)
		buf_printf(&where, "(%s)", c->where);
	for (unsigned i = 0; i < ARRAY_LEN(text); i++)
		if (text[i].value != NULL)
			where_add(&where, text[i].name, text[i].value);
	if (where.len > 0)
		(void)json_object_set_new(r, "where", json_stringn((const char *)where.p, where.len));
	buf_fini(&where);
	if (c->all)
		(void)json_object_set_new(r, "all", json_true());
	if (c->limit != 0)
		(void)json_object_set_new(r, "limit", json_integer((json_int_t)c->limit));
	return ask(c, r);
}

/* ---- printing ---- */

static json_int_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s != NULL ? s : "";
}

static int print_status(const json_t *reply)
{
	const json_t *s = json_object_get(reply, "status");
	(void)printf("%s up %" JSON_INTEGER_FORMAT " s, configuration %s\n", text(s, "hostname"),
		     number(s, "uptime_s"), text(s, "config"));
	(void)printf("workers      %" JSON_INTEGER_FORMAT ", busy %.1f %% since the last status\n",
		     number(s, "workers"), 100 * json_real_value(json_object_get(s, "busy_share")));
	(void)printf("connections  %" JSON_INTEGER_FORMAT " (sessions: smtp %" JSON_INTEGER_FORMAT
		     ", pop3 %" JSON_INTEGER_FORMAT ", imap %" JSON_INTEGER_FORMAT ", http %" JSON_INTEGER_FORMAT
		     ", outbound %" JSON_INTEGER_FORMAT ")\n",
		     number(s, "tcp_conns"), number(s, "sessions_smtp"), number(s, "sessions_pop3"),
		     number(s, "sessions_imap"), number(s, "sessions_http"), number(s, "sessions_out"));
	(void)printf("mail         %" JSON_INTEGER_FORMAT " taken, %" JSON_INTEGER_FORMAT
		     " into mailboxes, %" JSON_INTEGER_FORMAT " sent on\n",
		     number(s, "messages_in"), number(s, "delivered_local"), number(s, "delivered_out"));
	(void)printf("queue        %" JSON_INTEGER_FORMAT " items, %" JSON_INTEGER_FORMAT " recipients\n",
		     number(s, "queue_items"), number(s, "queue_recipients"));
	(void)printf("store        %" JSON_INTEGER_FORMAT " mailboxes, %" JSON_INTEGER_FORMAT
		     " messages, %" JSON_INTEGER_FORMAT " MiB free%s%s\n",
		     number(s, "store_accounts"), number(s, "store_messages"), number(s, "store_disk_free") >> 20,
		     number(s, "store_full") != 0 ? ", FULL: new mail is refused" : "",
		     number(s, "store_failed") != 0 ? ", FAILED: restart needed" : "");
	(void)printf("packets      %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " free\n",
		     number(s, "packets_free"), number(s, "packets_all"));
	return EXIT_DONE;
}

static int print_stats(const json_t *reply)
{
	const char *key;
	json_t *value;
	json_object_foreach(json_object_get(reply, "stats"), key, value)
		(void)printf("%-26s %" JSON_INTEGER_FORMAT "\n", key, json_integer_value(value));
	return EXIT_DONE;
}

static int print_store(const json_t *reply)
{
	const json_t *s = json_object_get(reply, "stats");
	double live = (double)number(s, "store_live_bytes"), dead = (double)number(s, "store_dead_bytes");
	double groups = (double)number(s, "store_groups");
	(void)printf("segments  %" JSON_INTEGER_FORMAT ", %" JSON_INTEGER_FORMAT " of them free; %.1f %% of the used bytes alive\n",
		     number(s, "store_segments"), number(s, "store_segments_free"),
		     live + dead > 0 ? 100 * live / (live + dead) : 100.0);
	(void)printf("holds     %" JSON_INTEGER_FORMAT " messages, %" JSON_INTEGER_FORMAT " queue items, %" JSON_INTEGER_FORMAT
		     " bodies of %.0f bytes\n", number(s, "store_messages"), number(s, "store_queue_items"),
		     number(s, "store_blobs"), live);
	(void)printf("collected %" JSON_INTEGER_FORMAT " segments, %" JSON_INTEGER_FORMAT " bytes moved, %" JSON_INTEGER_FORMAT
		     " segments left for later\n", number(s, "store_gc_segments"), number(s, "store_gc_bytes"),
		     number(s, "store_gc_left"));
	(void)printf("groups    %.0f, %.1f records and %.0f bytes each\n", groups,
		     groups > 0 ? (double)number(s, "store_records") / groups : 0.0,
		     groups > 0 ? (double)number(s, "store_group_bytes") / groups : 0.0);
	(void)printf("flushes   half within %" JSON_INTEGER_FORMAT " us, 90 %% %" JSON_INTEGER_FORMAT ", 99 %% %" JSON_INTEGER_FORMAT
		     ", longest %" JSON_INTEGER_FORMAT " us\n", number(s, "store_flush_us_p50"),
		     number(s, "store_flush_us_p90"), number(s, "store_flush_us_p99"), number(s, "store_flush_us_max"));
	return EXIT_DONE;
}

static int print_mailboxes(const json_t *reply)
{
	size_t i;
	json_t *m;
	json_array_foreach(json_object_get(reply, "mailboxes"), i, m)
		(void)printf("%-40s %6" JSON_INTEGER_FORMAT " messages %10" JSON_INTEGER_FORMAT
			     " bytes in %" JSON_INTEGER_FORMAT " folders\n",
			     text(m, "name"), number(m, "messages"), number(m, "bytes"), number(m, "folders"));
	return EXIT_DONE;
}

static int print_routes(const json_t *reply)
{
	size_t i;
	json_t *r;
	json_array_foreach(json_object_get(reply, "domains"), i, r)
		(void)printf("domain %-32s %s\n", text(r, "name"), text(r, "deliver"));
	json_array_foreach(json_object_get(reply, "routes"), i, r)
		(void)printf("route  %-32s via %s\n", text(r, "pattern"), text(r, "via"));
	return EXIT_DONE;
}

static void print_time(const char *label, json_int_t us)
{
	char t[32];
	time_t s = (time_t)(us / 1000000);
	struct tm tm;
	(void)strftime(t, sizeof(t), "%Y-%m-%d %H:%M:%S", localtime_r(&s, &tm));
	(void)printf(" %s %s", label, t);
}

static int print_queue(const json_t *reply)
{
	size_t i, k;
	json_t *q, *rcpt;
	json_array_foreach(json_object_get(reply, "items"), i, q) {
		(void)printf("%s %8" JSON_INTEGER_FORMAT " <%s> to %s", text(q, "id"), number(q, "size"),
			     text(q, "from"), text(q, "site"));
		print_time("since", number(q, "accepted_us"));
		if (json_is_true(json_object_get(q, "active")))
			(void)printf(" being delivered");
		else
			print_time("next", number(q, "due_us"));
		(void)printf(", %" JSON_INTEGER_FORMAT " tries\n", number(q, "tries"));
		json_array_foreach(json_object_get(q, "recipients"), k, rcpt)
			(void)printf("    %s\n", json_string_value(rcpt));
		if (text(q, "last")[0] != '\0')
			(void)printf("    (%s)\n", text(q, "last"));
	}
	if (json_array_size(json_object_get(reply, "items")) == 0)
		(void)printf("nothing matches\n");
	return EXIT_DONE;
}

static int print_fields(const json_t *reply)
{
	size_t i;
	json_t *f;
	json_array_foreach(json_object_get(reply, "fields"), i, f)
		(void)printf("%-18s %-8s %s\n", text(f, "name"), text(f, "type"), text(f, "help"));
	return EXIT_DONE;
}

/* "[fd00::1]:25" */
static void print_end(char *dst, size_t size, const json_t *c, const char *which)
{
	char port[32];
	const char *addr = text(c, which);
	bool six = strchr(addr, ':') != NULL;
	(void)snprintf(port, sizeof(port), "%s_port", which);
	(void)snprintf(dst, size, "%s%s%s:%" JSON_INTEGER_FORMAT, six ? "[" : "", addr, six ? "]" : "", number(c, port));
}

static double seconds(const json_t *c, const char *key)
{
	return (double)number(c, key) / 1e6;
}

static int print_conns(const json_t *reply)
{
	const json_t *rows = json_object_get(reply, "connections");
	size_t i;
	json_t *c;
	(void)printf("%-8s %-12s %-8s %-24s %-24s %9s %9s %8s %8s %8s %6s %12s %12s\n", "id", "state", "protocol", "local",
		     "peer", "age s", "idle s", "rtt ms", "min ms", "cwnd", "retx", "in", "out");
	json_array_foreach(rows, i, c) {
		char local[80], peer[80];
		print_end(local, sizeof(local), c, "local");
		print_end(peer, sizeof(peer), c, "peer");
		(void)printf("%-8s %-12s %-8s %-24s %-24s %9.1f %9.1f %8.3f %8.3f %8" JSON_INTEGER_FORMAT
			     " %6" JSON_INTEGER_FORMAT " %12" JSON_INTEGER_FORMAT " %12" JSON_INTEGER_FORMAT "\n",
			     text(c, "id"), text(c, "state"), text(c, "protocol"), local, peer, seconds(c, "age_us"),
			     seconds(c, "idle_us"), seconds(c, "rtt_us") * 1e3, seconds(c, "rtt_min_us") * 1e3,
			     number(c, "cwnd"), number(c, "retransmits"), number(c, "bytes_in"), number(c, "bytes_out"));
	}
	json_int_t n = number(reply, "count");
	if ((size_t)n > json_array_size(rows))
		(void)printf("%zu of %" JSON_INTEGER_FORMAT " connections; --limit shows more\n", json_array_size(rows), n);
	else
		(void)printf("%" JSON_INTEGER_FORMAT " connections\n", n);
	return EXIT_DONE;
}

static int print_conn(const json_t *reply)
{
	json_t *c = json_array_get(json_object_get(reply, "connections"), 0), *value;
	const char *key;
	if (c == NULL) {
		(void)fprintf(stderr, "veredusctl: no such connection\n");
		return EXIT_REFUSED;
	}
	json_object_foreach(c, key, value) {
		if (json_is_integer(value))
			(void)printf("%-20s %" JSON_INTEGER_FORMAT "\n", key, json_integer_value(value));
		else if (json_is_boolean(value))
			(void)printf("%-20s %s\n", key, json_is_true(value) ? "yes" : "no");
		else
			(void)printf("%-20s %s\n", key, json_string_value(value));
	}
	return EXIT_DONE;
}

static int print_count(const json_t *reply)
{
	(void)printf("%" JSON_INTEGER_FORMAT " items\n", number(reply, "count"));
	return EXIT_DONE;
}

/* ---- the flight recorder ---- */

static void print_event(const json_t *e)
{
	char t[32], who[40];
	json_int_t us = number(e, "wall_us");
	time_t s = (time_t)(us / 1000000);
	struct tm tm;
	bool of_conn = json_object_get(e, "conn") != NULL;
	(void)strftime(t, sizeof(t), "%H:%M:%S", localtime_r(&s, &tm));
	if (of_conn)
		(void)snprintf(who, sizeof(who), "conn %d.%d", (int)number(e, "worker"), (int)number(e, "conn"));
	else
		(void)snprintf(who, sizeof(who), "session %d", (int)number(e, "session"));
	(void)printf("%s.%06d %-18s %s\n", t, (int)(us % 1000000), who, text(e, "text"));
}

static void print_events(const struct call *c, const json_t *reply)
{
	size_t i;
	json_t *e;
	json_array_foreach(json_object_get(reply, "events"), i, e) {
		if (c->json) {
			(void)json_dumpf(e, stdout, JSON_COMPACT);
			(void)putchar('\n');
		} else {
			print_event(e);
		}
	}
	(void)fflush(stdout);
}

/* With --follow: asks again from where the reply before ended, until it is interrupted. */
static int run_trace(const struct call *c)
{
	const struct timespec pause = {.tv_nsec = 200000000};
	json_t *request = json_pack("{s:s}", "verb", "trace");
	char why[256];
	uint64_t session;
	if (c->conn != NULL)
		(void)json_object_set_new(request, "conn", json_string(c->conn));
	if (c->session != NULL) {
		if (!span_u64(span_str(c->session), UINT32_MAX, &session)) {
			(void)fprintf(stderr, "veredusctl: --session wants the number that trace and conn show (session_index) give\n");
			json_decref(request);
			return EXIT_USAGE;
		}
		(void)json_object_set_new(request, "session", json_integer((json_int_t)session));
	}
	if (c->last != 0)
		(void)json_object_set_new(request, "last", json_integer((json_int_t)c->last));
	for (;;) {
		json_t *reply = ctl_request(c->socket, request, why, sizeof(why));
		if (reply == NULL || !json_is_true(json_object_get(reply, "ok"))) {
			const char *said = reply != NULL ? text(reply, "text") : why;
			(void)fprintf(stderr, "veredusctl: %s\n", said);
			json_decref(request);
			int status = reply != NULL ? EXIT_REFUSED : EXIT_UNREACHED;
			json_decref(reply);
			return status;
		}
		print_events(c, reply);
		(void)json_object_set(request, "from", json_object_get(reply, "next"));
		if (json_object_get(reply, "session") != NULL)
			(void)json_object_set(request, "session", json_object_get(reply, "session"));
		(void)json_object_set_new(request, "last", json_integer(INT32_MAX)); /* what is new is shown whole */
		json_decref(reply);
		if (!c->follow)
			break;
		(void)nanosleep(&pause, NULL);
	}
	json_decref(request);
	return EXIT_DONE;
}

/* ---- configuration, without a server ---- */

static int run_config_check(const struct call *c)
{
	char why[512];
	struct conf *conf;
	if (conf_read(c->arg, &conf, why, sizeof(why)) != ERR_OK) {
		(void)fprintf(stderr, "veredusctl: %s\n", why);
		return EXIT_USAGE;
	}
	(void)printf("%s: ok\n", c->arg);
	conf_destroy(&conf);
	return EXIT_DONE;
}

static int run_store_check(const struct call *c)
{
	if (c->path == NULL) {
		(void)fprintf(stderr, "veredusctl: store check needs --path DIR, the store's directory\n");
		return EXIT_USAGE;
	}
	int status = ctl_store_check(c->path, c->json);
	return status == 0 ? EXIT_DONE : status == 1 ? EXIT_REFUSED : EXIT_USAGE;
}

static void explain(const struct schema_row *r)
{
	(void)printf("%s%s%s = %s\n", r->section, r->section[0] != '\0' ? "." : "", r->key,
		     r->type == SCHEMA_CHOICE ? r->choices : schema_type_name(r->type));
	(void)printf("    %s\n", r->help);
	if (r->dflt == NULL)
		(void)printf("    must be given\n");
	else if (r->dflt[0] != '\0')
		(void)printf("    default: %s\n", r->dflt);
	if (r->max != 0)
		(void)printf("    from %" PRIu64 " to %" PRIu64 "\n", r->min, r->max);
}

static int run_config_explain(const struct call *c)
{
	if (c->arg != NULL) {
		const struct schema_row *r = schema_find(c->arg);
		if (r == NULL) {
			(void)fprintf(stderr, "veredusctl: no key %s\n", c->arg);
			return EXIT_REFUSED;
		}
		explain(r);
		return EXIT_DONE;
	}
	for (size_t s = 0; s < schema_section_n; s++) {
		const struct schema_section *sec = &schema_sections[s];
		(void)printf("%s%s# %s%s\n", s > 0 ? "\n" : "", sec->name[0] != '\0' ? sec->name : "",
			     sec->help, sec->many ? " (as often as needed)" : "");
		for (size_t i = 0; i < schema_n; i++)
			if (strcmp(schema_rows[i].section, sec->name) == 0)
				explain(&schema_rows[i]);
	}
	return EXIT_DONE;
}

/* ---- the table ---- */

static const struct command commands[] = {
	{"status", "", NULL, run_plain, print_status, "what the server is doing, on one page"},
	{"stats", "", NULL, run_plain, print_stats, "all counters and levels by name"},
	{"mailbox", "add", "ADDRESS", run_with_password, NULL,
	 "make a mailbox; the password is asked for, or read from standard input"},
	{"mailbox", "list", NULL, run_plain, print_mailboxes, "mailboxes with messages and bytes"},
	{"mailbox", "passwd", "ADDRESS", run_with_password, NULL, "set a new password"},
	{"mailbox", "remove", "ADDRESS", run_with_name, NULL, "remove a mailbox and all its mail"},
	{"route", "list", NULL, run_plain, print_routes, "domains and routes in the order they are tried"},
	{"queue", "list", "[ID]", run_rows, print_queue, "mail that waits; --where, --from, --rcpt, --site, --limit narrow it"},
	{"queue", "retry", "[ID]", run_rows, print_count, "try again now: an id, or --where, --from, --rcpt, --site, --all"},
	{"queue", "remove", "[ID]", run_rows, print_count, "remove without a bounce: an id, or --where, --from, --rcpt, --site, --all"},
	{"queue", "fields", NULL, run_plain, print_fields, "what --where may ask of queued mail"},
	{"conn", "list", NULL, run_rows, print_conns, "TCP connections; --where and --limit narrow it"},
	{"conn", "show", "ID", run_rows, print_conn, "all that is known of a connection"},
	{"conn", "fields", NULL, run_plain, print_fields, "what --where may ask of connections"},
	{"trace", "", NULL, run_trace, NULL, "the flight recorder: the last events; --follow, --last, --conn, --session"},
	{"store", "stats", NULL, run_plain, print_store, "segments, what is alive in them, groups, time of flushes"},
	{"store", "check", NULL, run_store_check, NULL, "read all of a stopped server's store, change nothing; --path DIR"},
	{"tls", "reload", NULL, run_plain, print_count, "load the certificates anew from their files; sessions go on"},
	{"config", "check", "FILE", run_config_check, NULL, "check a configuration without a server"},
	{"config", "explain", "[KEY]", run_config_explain, NULL, "what a key means; all keys without one"},
};

static int usage(FILE *to, int status)
{
	(void)fprintf(to, "usage: veredusctl [-s SOCKET] [--json] NOUN VERB [ARGUMENT]\n\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		const struct command *c = &commands[i];
		char name[64];
		(void)snprintf(name, sizeof(name), "%s %s %s", c->noun, c->verb, c->arg != NULL ? c->arg : "");
		(void)fprintf(to, "  %-24s %s\n", name, c->help);
	}
	(void)fprintf(to, "\n  -s SOCKET        the server's control socket (default /run/veredus.sock)\n"
			  "  --json           print the reply as JSON\n"
			  "  --watch [-n S]   status, stats: again every S seconds (default 1)\n"
			  "  --count N        with --watch: N times\n"
			  "  --where EXPR     rows to choose: 'rcpt=*@x.org and age>2h', 'peer=192.0.2.0/24 or not sack'\n"
			  "  --from A --rcpt A --site HOST:PORT   short for from=A and ...; A may be *@domain\n"
			  "  --last N         trace: the last N events that match (default 1000)\n"
			  "  --follow         trace: go on with new ones\n"
			  "  --conn W.N       trace: of this connection and the session on it\n"
			  "  --session N      trace: of this session\n"
			  "  --limit N        lists: at most N rows (default 1000)\n"
			  "  --path DIR       store check: the store's directory\n"
			  "  --all            queue retry, remove: everything\n");
	return status;
}

struct option_row {
	const char *name;
	bool *flag;
	const char **text;
	unsigned *number;
};

/* Takes the options out of argv; returns how many words are left, or -1. */
static int take_options(struct call *c, int argc, char **argv)
{
	const struct option_row rows[] = {
		{"-s", NULL, &c->socket, NULL},        {"--json", &c->json, NULL, NULL},
		{"--watch", &c->watch, NULL, NULL},    {"--all", &c->all, NULL, NULL},
		{"-n", NULL, NULL, &c->interval_s},    {"--count", NULL, NULL, &c->count},
		{"--follow", &c->follow, NULL, NULL},  {"--last", NULL, NULL, &c->last},
		{"--conn", NULL, &c->conn, NULL},      {"--session", NULL, &c->session, NULL},
		{"--where", NULL, &c->where, NULL},    {"--from", NULL, &c->from, NULL},      {"--rcpt", NULL, &c->rcpt, NULL},
		{"--site", NULL, &c->site, NULL},      {"--limit", NULL, NULL, &c->limit},
		{"--path", NULL, &c->path, NULL},
	};
	int left = 0;
	for (int i = 0; i < argc; i++) {
		const struct option_row *r = NULL;
		for (size_t k = 0; k < ARRAY_LEN(rows); k++)
			if (strcmp(argv[i], rows[k].name) == 0)
				r = &rows[k];
		if (r == NULL) {
			if (argv[i][0] == '-')
				return -1;
			argv[left++] = argv[i];
			continue;
		}
		if (r->flag != NULL) {
			*r->flag = true;
			continue;
		}
		if (++i == argc)
			return -1;
		uint64_t v;
		if (r->text != NULL)
			*r->text = argv[i];
		else if (span_u64(span_str(argv[i]), UINT32_MAX, &v) && v > 0)
			*r->number = (unsigned)v;
		else
			return -1;
	}
	return left;
}

int main(int argc, char **argv)
{
	struct call c = {.socket = "/run/veredus.sock", .interval_s = 1};
	if (argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0))
		return usage(stdout, EXIT_DONE);
	char **word = argv + 1;
	int n = take_options(&c, argc - 1, word);
	if (n < 1)
		return usage(stderr, EXIT_USAGE);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		const struct command *k = &commands[i];
		int verb_words = k->verb[0] != '\0' ? 2 : 1;
		if (strcmp(word[0], k->noun) != 0 ||
		    (verb_words == 2 && (n < 2 || strcmp(word[1], k->verb) != 0)))
			continue;
		int args = n - verb_words;
		bool needed = k->arg != NULL && k->arg[0] != '[';
		if (args > (k->arg != NULL) || (needed && args == 0))
			return usage(stderr, EXIT_USAGE);
		c.arg = args > 0 ? word[verb_words] : NULL;
		c.cmd = k;
		return k->run(&c);
	}
	return usage(stderr, EXIT_USAGE);
}
