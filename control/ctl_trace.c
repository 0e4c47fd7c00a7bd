/* ctl_trace.c: the flight recorders over the operator's socket (ctl_trace.h): collect, choose, put in order, decode. */
#include "ctl_trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "buf.h"
#include "check.h"
#include "ctl_socket.h"

#define WORKERS_MAX 64
#define LAST        1000

struct choice {
	bool conn_given;
	unsigned worker;
	uint32_t conn;
	uint64_t session; /* its index + 1; 0: any; with conn_given: the one that runs on it, once that is known */
	struct veredus_event *ev;
	size_t n, cap;
};

static bool chosen(struct choice *c, const struct veredus_event *ev)
{
	bool of_conn = trace_of_conn(ev->e.id);
	if (!c->conn_given)
		return c->session == 0 || (!of_conn && ev->e.conn + 1ull == c->session);
	if (ev->worker != c->worker)
		return false;
	if (of_conn)
		return ev->e.conn == c->conn;
	if (ev->e.id == TRACE_session_conn) {
		if (ev->e.b == c->conn)
			c->session = ev->e.conn + 1ull;
		else if (ev->e.conn + 1ull == c->session)
			c->session = 0; /* the session's place was taken by another */
	}
	return c->session != 0 && ev->e.conn + 1ull == c->session;
}

static void take(void *arg, const struct veredus_event *ev)
{
	struct choice *c = arg;
	if (!chosen(c, ev) || c->n == c->cap)
		return;
	c->ev[c->n++] = *ev;
}

static int by_time(const void *a, const void *b)
{
	const struct veredus_event *x = a, *y = b;
	if (x->worker == y->worker)
		return x->number < y->number ? -1 : 1;
	return x->wall_us != y->wall_us ? (x->wall_us < y->wall_us ? -1 : 1) : x->worker < y->worker ? -1 : 1;
}

static json_t *event_json(const struct veredus_event *ev)
{
	struct buf text;
	buf_init(&text);
	trace_event_text(&ev->e, &text);
	json_t *o = json_pack("{s:i, s:I, s:I, s:s, s:o}", "worker", (int)ev->worker, "number", (json_int_t)ev->number,
			      "wall_us", (json_int_t)ev->wall_us, "kind", trace_name(ev->e.id), "text",
			      json_stringn((const char *)text.p, text.len));
	buf_fini(&text);
	(void)json_object_set_new(o, trace_of_conn(ev->e.id) ? "conn" : "session", json_integer(ev->e.conn));
	return o;
}

/* "0.17" */
static bool conn_of(const json_t *j, struct choice *c)
{
	unsigned worker, conn;
	char end;
	if (j == NULL)
		return true;
	if (!json_is_string(j) || sscanf(json_string_value(j), "%u.%u%c", &worker, &conn, &end) != 2)
		return false;
	c->conn_given = true;
	c->worker = worker;
	c->conn = conn;
	return true;
}

json_t *ctl_trace(struct ctl *c, const json_t *request)
{
	const json_t *session = json_object_get(request, "session");
	struct choice ch = {.session = json_is_integer(session) ? (uint64_t)json_integer_value(session) + 1 : 0};
	if (!conn_of(json_object_get(request, "conn"), &ch))
		return ctl_error(ERR_SYNTAX, "a connection is WORKER.NUMBER, as conn list shows it");
	unsigned n_worker = veredus_workers(c->v);
	uint64_t next[WORKERS_MAX] = {0};
	CHECK(n_worker <= WORKERS_MAX);
	for (unsigned i = 0; i < n_worker; i++)
		next[i] = (uint64_t)json_integer_value(json_array_get(json_object_get(request, "from"), i));
	ch.cap = (size_t)n_worker * TRACE_RING;
	ch.ev = malloc(ch.cap * sizeof(*ch.ev));
	CHECK(ch.ev != NULL);
	veredus_trace(c->v, next, take, &ch);
	qsort(ch.ev, ch.n, sizeof(*ch.ev), by_time);
	json_int_t last = json_integer_value(json_object_get(request, "last"));
	size_t show = last > 0 ? (size_t)last : LAST;
	json_t *events = json_array(), *on = json_array();
	for (size_t i = ch.n > show ? ch.n - show : 0; i < ch.n; i++)
		(void)json_array_append_new(events, event_json(&ch.ev[i]));
	for (unsigned i = 0; i < n_worker; i++)
		(void)json_array_append_new(on, json_integer((json_int_t)next[i]));
	free(ch.ev);
	json_t *reply = json_pack("{s:b, s:o, s:o}", "ok", 1, "events", events, "next", on);
	if (ch.session != 0)
		(void)json_object_set_new(reply, "session", json_integer((json_int_t)ch.session - 1));
	return reply;
}
