/* ctl_rows.c: queued mail and connections by expression (ctl_rows.h). A new field is one row of a table. */
#include "ctl_rows.h"

#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "clock.h"
#include "ctl_socket.h"
#include "pred.h"

#define LIMIT 1000

/* Value 0 of a row is a number, or a text. */
#define GET_NUMBER(name, type, member)                                                             \
	static bool name(const void *row, unsigned i, union pred_value *v)                         \
	{                                                                                          \
		v->n = ((const struct type *)row)->member;                                         \
		return i == 0;                                                                     \
	}
#define GET_TEXT(name, type, member)                                                               \
	static bool name(const void *row, unsigned i, union pred_value *v)                         \
	{                                                                                          \
		v->s = span_str(((const struct type *)row)->member);                               \
		return i == 0;                                                                     \
	}

/* ---- queued mail ---- */

GET_NUMBER(queue_id, queue_row, id)
GET_NUMBER(queue_size, queue_row, size)
GET_NUMBER(queue_tries, queue_row, tries)
GET_NUMBER(queue_age, queue_row, accepted_us)
GET_NUMBER(queue_due, queue_row, due_us)
GET_NUMBER(queue_expires, queue_row, expire_us)
GET_NUMBER(queue_active, queue_row, active)
GET_TEXT(queue_from, queue_row, from)
GET_TEXT(queue_site, queue_row, site)
GET_TEXT(queue_last, queue_row, last)

static bool queue_rcpt(const void *row, unsigned i, union pred_value *v)
{
	const struct queue_row *r = row;
	if (i >= r->n_rcpt)
		return false;
	v->s = span_str(r->rcpt[i]);
	return true;
}

static const struct pred_field queue_fields[] = {
	{"id", PRED_HEX, queue_id, "the item's id"},
	{"from", PRED_TEXT, queue_from, "sender's address"},
	{"rcpt", PRED_TEXT, queue_rcpt, "address of a recipient still to deliver"},
	{"site", PRED_TEXT, queue_site, "HOST:PORT it goes to"},
	{"size", PRED_NUMBER, queue_size, "bytes"},
	{"tries", PRED_NUMBER, queue_tries, "deliveries tried"},
	{"age", PRED_AGE, queue_age, "since it was accepted"},
	{"due", PRED_UNTIL, queue_due, "until the next try"},
	{"expires", PRED_UNTIL, queue_expires, "until it is given up"},
	{"last", PRED_TEXT, queue_last, "last reply or error"},
	{"active", PRED_FLAG, queue_active, "being delivered now"},
};

/* ---- connections: one list for the fields, the JSON and the getters ---- */

#define CONN_TEXTS(X)                                                                              \
	X(state, "ESTABLISHED, SYN-SENT ... (RFC 9293)")                                           \
	X(protocol, "smtp, pop3, imap, http, delivery; empty: no session")                              \
	X(recovery, "open, fast (by SACK or duplicates), loss (after a timeout)")                  \
	X(cc, "congestion control")                                                                \
	X(error, "why it ended")
#define CONN_NUMBERS(X)                                                                            \
	X(local_port, local_port, PRED_NUMBER, "own port")                                         \
	X(peer_port, peer_port, PRED_NUMBER, "the peer's port")                                    \
	X(worker, worker, PRED_NUMBER, "worker that has it")                                       \
	X(session, session, PRED_HEX, "session id, 0: none")                                       \
	X(session_index, session_index, PRED_NUMBER, "its number in the trace")                    \
	X(active, active, PRED_FLAG, "opened from here")                                           \
	X(sack, sack, PRED_FLAG, "selective acknowledgments agreed")                               \
	X(timestamps, timestamps, PRED_FLAG, "timestamps agreed")                                  \
	X(wscale, wscale, PRED_FLAG, "window scaling agreed")                                      \
	X(ecn, ecn, PRED_FLAG, "explicit congestion notification agreed")                          \
	X(zero_window, probing_window, PRED_FLAG, "the peer's window is shut now")                 \
	X(age, age_us, PRED_TIME, "since it was opened")                                           \
	X(idle, idle_us, PRED_TIME, "since the last segment either way")                           \
	X(rtt, srtt_us, PRED_TIME, "smoothed round trip")                                          \
	X(rttvar, rttvar_us, PRED_TIME, "its variation")                                           \
	X(rtt_min, rttmin_us, PRED_TIME, "shortest round trip")                                    \
	X(rto, rto_us, PRED_TIME, "retransmission timeout")                                        \
	X(zero_window_time, zero_window_us, PRED_TIME, "the peer's window was shut, all told")     \
	X(cwnd, cwnd, PRED_NUMBER, "congestion window, bytes")                                     \
	X(ssthresh, ssthresh, PRED_NUMBER, "slow start threshold; 4294967295: no loss yet")        \
	X(mss, mss, PRED_NUMBER, "payload of a full segment")                                      \
	X(pmtu, pmtu, PRED_NUMBER, "path MTU")                                                     \
	X(snd_wnd, snd_wnd, PRED_NUMBER, "window the peer gives")                                  \
	X(rcv_wnd, rcv_wnd, PRED_NUMBER, "window we give")                                         \
	X(unacked, unacked, PRED_NUMBER, "bytes sent and not acknowledged")                        \
	X(unsent, unsent, PRED_NUMBER, "bytes that wait to be sent")                               \
	X(pipe, pipe, PRED_NUMBER, "bytes thought to be in the network")                           \
	X(sacked, sacked, PRED_NUMBER, "bytes the peer holds out of order")                        \
	X(readable, readable, PRED_NUMBER, "bytes the session has not read")                       \
	X(ooo, ooo, PRED_NUMBER, "segments held out of order")                                     \
	X(ooo_bytes, ooo_bytes, PRED_NUMBER, "bytes held out of order")                            \
	X(retransmits, retransmits, PRED_NUMBER, "segments sent again")                            \
	X(losses, lost, PRED_NUMBER, "times that a loss was found")                                \
	X(reordered, reordered, PRED_NUMBER, "segments that came out of order")                    \
	X(bytes_in, bytes_in, PRED_NUMBER, "bytes received in order")                              \
	X(bytes_out, bytes_out, PRED_NUMBER, "bytes acknowledged by the peer")

#define X(name, help) GET_TEXT(conn_##name, veredus_conn_row, name)
CONN_TEXTS(X)
#undef X
#define X(name, member, type, help) GET_NUMBER(conn_##name, veredus_conn_row, member)
CONN_NUMBERS(X)
#undef X

/* The row in a list, with the text of its id. */
struct conn_row {
	struct veredus_conn_row r; /* first: the getters above are given it */
	char id[24];
};

GET_TEXT(conn_id, conn_row, id)

static bool conn_local(const void *row, unsigned i, union pred_value *v)
{
	v->addr = ((const struct veredus_conn_row *)row)->local;
	return i == 0;
}

static bool conn_peer(const void *row, unsigned i, union pred_value *v)
{
	v->addr = ((const struct veredus_conn_row *)row)->peer;
	return i == 0;
}

static const struct pred_field conn_fields[] = {
	{"id", PRED_TEXT, conn_id, "WORKER.NUMBER"},
	{"local", PRED_ADDR, conn_local, "own address or network"},
	{"peer", PRED_ADDR, conn_peer, "the peer's address or network"},
#define X(name, help) {#name, PRED_TEXT, conn_##name, help},
	CONN_TEXTS(X)
#undef X
#define X(name, member, type, help) {#name, type, conn_##name, help},
	CONN_NUMBERS(X)
#undef X
};

/* ---- what the verbs share ---- */

/* The request's expression; NULL: *error is the reply. Free with free(). */
static struct pred *where_of(const json_t *request, const struct pred_field *fields, size_t n, json_t **error)
{
	const json_t *where = json_object_get(request, "where");
	struct span text = json_is_string(where) ? span_of(json_string_value(where), json_string_length(where)) :
						   span_of("", 0);
	struct pred *p = malloc(sizeof(*p));
	char why[256];
	CHECK(p != NULL);
	enum err e = pred_parse(p, text, fields, n, clock_wall_us(), why, sizeof(why));
	if (e == ERR_OK)
		return p;
	free(p);
	*error = ctl_error(e, why);
	return NULL;
}

static size_t limit_of(const json_t *request)
{
	json_int_t n = json_integer_value(json_object_get(request, "limit"));
	return n > 0 && n <= UINT32_MAX ? (size_t)n : LIMIT;
}

static json_t *fields_reply(const struct pred_field *f, size_t n)
{
	static const char *const types[] = {
		[PRED_TEXT] = "text",    [PRED_NUMBER] = "number", [PRED_HEX] = "hex",      [PRED_TIME] = "time",
		[PRED_AGE] = "time",     [PRED_UNTIL] = "time",    [PRED_ADDR] = "address", [PRED_FLAG] = "flag",
	};
	json_t *rows = json_array();
	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(rows, json_pack("{s:s, s:s, s:s}", "name", f[i].name, "type",
							    types[f[i].type], "help", f[i].help));
	return json_pack("{s:b, s:o}", "ok", 1, "fields", rows);
}

json_t *ctl_conn_fields(struct ctl *c, const json_t *request)
{
	return fields_reply(conn_fields, ARRAY_LEN(conn_fields));
}

json_t *ctl_queue_fields(struct ctl *c, const json_t *request)
{
	return fields_reply(queue_fields, ARRAY_LEN(queue_fields));
}

/* ---- the queue's verbs ---- */

static bool queue_match(const void *arg, const struct queue_row *row)
{
	return pred_match(arg, row);
}

static struct queue_filter filter_of(const struct pred *p, const json_t *request)
{
	return (struct queue_filter){
		.match = p->n > 0 ? queue_match : NULL,
		.arg = p,
		.all = json_is_true(json_object_get(request, "all")),
	};
}

static void add_item(void *arg, const struct queue_row *r)
{
	char id[32];
	json_t *rcpts = json_array();
	for (unsigned i = 0; i < r->n_rcpt; i++)
		(void)json_array_append_new(rcpts, json_string(r->rcpt[i]));
	(void)snprintf(id, sizeof(id), "%016llx", (unsigned long long)r->id);
	(void)json_array_append_new(
		arg, json_pack("{s:s, s:I, s:s, s:s, s:o, s:i, s:I, s:I, s:I, s:s, s:b}", "id", id, "size",
			       (json_int_t)r->size, "from", r->from, "site", r->site, "recipients", rcpts, "tries",
			       (int)r->tries, "accepted_us", (json_int_t)r->accepted_us, "due_us",
			       (json_int_t)r->due_us, "expire_us", (json_int_t)r->expire_us, "last", r->last,
			       "active", (int)r->active));
}

json_t *ctl_queue_list(struct ctl *c, const json_t *request)
{
	json_t *error, *rows;
	struct pred *p = where_of(request, queue_fields, ARRAY_LEN(queue_fields), &error);
	if (p == NULL)
		return error;
	struct queue_filter f = filter_of(p, request);
	rows = json_array();
	enum err e = veredus_queue_list(c->v, &f, (unsigned)limit_of(request), add_item, rows);
	free(p);
	if (e != ERR_OK) {
		json_decref(rows);
		return ctl_error(e, NULL);
	}
	return json_pack("{s:b, s:o}", "ok", 1, "items", rows);
}

typedef enum err queue_change(struct veredus *v, const struct queue_filter *f, uint64_t *n);

static json_t *change_queue(struct ctl *c, const json_t *request, queue_change *change)
{
	json_t *error;
	struct pred *p = where_of(request, queue_fields, ARRAY_LEN(queue_fields), &error);
	if (p == NULL)
		return error;
	struct queue_filter f = filter_of(p, request);
	uint64_t n = 0;
	enum err e = change(c->v, &f, &n);
	free(p);
	if (e == ERR_SYNTAX)
		return ctl_error(e, "say which: an id, --where, --from, --rcpt, --site or --all");
	if (e != ERR_OK)
		return ctl_error(e, NULL);
	return json_pack("{s:b, s:I}", "ok", 1, "count", (json_int_t)n);
}

json_t *ctl_queue_retry(struct ctl *c, const json_t *request)
{
	return change_queue(c, request, veredus_queue_retry);
}

json_t *ctl_queue_remove(struct ctl *c, const json_t *request)
{
	return change_queue(c, request, veredus_queue_remove);
}

/* ---- the verb of connections ---- */

struct conn_list {
	const struct pred *p;
	json_t *rows;
	size_t limit;
	uint64_t n;
};

static json_t *conn_json(const struct conn_row *row)
{
	char local[IP_STR_MAX], peer[IP_STR_MAX], session[24];
	const struct veredus_conn_row *r = &row->r;
	(void)snprintf(session, sizeof(session), "%016llx", (unsigned long long)r->session);
	json_t *o = json_pack("{s:s, s:s, s:s}", "id", row->id, "local", ip_format(&r->local, local), "peer",
			      ip_format(&r->peer, peer));
	for (size_t i = 0; i < ARRAY_LEN(conn_fields); i++) {
		const struct pred_field *f = &conn_fields[i];
		union pred_value v;
		char name[40];
		(void)f->get(row, 0, &v);
		(void)snprintf(name, sizeof(name), "%s%s", f->name, f->type == PRED_TIME ? "_us" : "");
		if (f->type == PRED_TEXT)
			(void)json_object_set_new(o, name, json_stringn((const char *)v.s.p, v.s.len));
		else if (f->type == PRED_FLAG)
			(void)json_object_set_new(o, name, json_boolean(v.n != 0));
		else if (f->type == PRED_HEX)
			(void)json_object_set_new(o, name, json_string(session));
		else if (f->type != PRED_ADDR)
			(void)json_object_set_new(o, name, json_integer((json_int_t)v.n));
	}
	return o;
}

static void add_conn(void *arg, const struct veredus_conn_row *r)
{
	struct conn_list *l = arg;
	struct conn_row row = {.r = *r};
	(void)snprintf(row.id, sizeof(row.id), "%u.%u", r->worker, (unsigned)r->id);
	if (!pred_match(l->p, &row))
		return;
	if (l->n++ < l->limit)
		(void)json_array_append_new(l->rows, conn_json(&row));
}

json_t *ctl_conn_list(struct ctl *c, const json_t *request)
{
	json_t *error;
	struct pred *p = where_of(request, conn_fields, ARRAY_LEN(conn_fields), &error);
	if (p == NULL)
		return error;
	struct conn_list l = {.p = p, .rows = json_array(), .limit = limit_of(request)};
	veredus_conn_list(c->v, add_conn, &l);
	free(p);
	return json_pack("{s:b, s:I, s:o}", "ok", 1, "count", (json_int_t)l.n, "connections", l.rows);
}
