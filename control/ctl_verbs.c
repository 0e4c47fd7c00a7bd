/*
 * ctl_verbs.c: the verbs of the operator's socket. Runs on the control thread; asks the data plane through
 * control.h only.
 */
#include "ctl_verbs.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "ctl_rows.h"
#include "ctl_socket.h"
#include "ctl_trace.h"

#define GAUGES_MAX 96

static struct span arg_span(const json_t *request, const char *key)
{
	const json_t *j = json_object_get(request, key);
	return json_is_string(j) ? span_of(json_string_value(j), json_string_length(j)) : span_of("", 0);
}

static json_t *reply_of(enum err e, const char *what)
{
	char text[256];
	if (e == ERR_OK)
		return json_pack("{s:b}", "ok", 1);
	(void)snprintf(text, sizeof(text), "%s: %s", what, err_text(e));
	return ctl_error(e, text);
}

/* ---- figures ---- */

static json_t *verb_stats(struct ctl *c, const json_t *request)
{
	struct veredus_gauge g[GAUGES_MAX];
	json_t *o = json_object();
	for (unsigned i = 0; i < STAT__N; i++)
		(void)json_object_set_new(o, stat_name((enum stat_id)i),
					  json_integer((json_int_t)veredus_stat(c->v, (enum stat_id)i)));
	unsigned n = veredus_gauges(c->v, g, GAUGES_MAX);
	for (unsigned i = 0; i < n; i++)
		(void)json_object_set_new(o, g[i].name, json_integer((json_int_t)g[i].value));
	return json_pack("{s:b, s:o}", "ok", 1, "stats", o);
}

static uint64_t gauge_of(const struct veredus_gauge *g, unsigned n, const char *name)
{
	for (unsigned i = 0; i < n; i++)
		if (strcmp(g[i].name, name) == 0)
			return g[i].value;
	return 0;
}

static json_t *verb_status(struct ctl *c, const json_t *request)
{
	static const char *const names[] = {"uptime_s", "workers", "tcp_conns", "sessions_smtp", "sessions_pop3",
					    "sessions_imap", "sessions_http", "sessions_out", "queue_items", "queue_recipients",
					    "store_accounts", "store_messages", "store_disk_free", "packets_free",
					    "packets_all", "store_full", "store_failed"};
	struct veredus_gauge g[GAUGES_MAX];
	unsigned n = veredus_gauges(c->v, g, GAUGES_MAX);
	uint64_t now = clock_us(), busy = veredus_stat(c->v, STAT_worker_busy_ns);
	uint64_t workers = gauge_of(g, n, "workers");
	uint64_t span_ns = (now - c->busy_at_us) * 1000 * (workers > 0 ? workers : 1);
	double share = span_ns > 0 ? (double)(busy - c->busy_ns) / (double)span_ns : 0;
	c->busy_ns = busy;
	c->busy_at_us = now;
	json_t *o = json_object();
	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		(void)json_object_set_new(o, names[i], json_integer((json_int_t)gauge_of(g, n, names[i])));
	(void)json_object_set_new(o, "messages_in", json_integer((json_int_t)veredus_stat(c->v, STAT_smtp_messages_in)));
	(void)json_object_set_new(o, "delivered_local", json_integer((json_int_t)veredus_stat(c->v, STAT_delivery_local)));
	(void)json_object_set_new(o, "delivered_out", json_integer((json_int_t)veredus_stat(c->v, STAT_delivery_out)));
	(void)json_object_set_new(o, "busy_share", json_real(share));
	(void)json_object_set_new(o, "hostname", json_string(c->conf->hostname));
	(void)json_object_set_new(o, "config", json_string(c->conf->file));
	return json_pack("{s:b, s:o}", "ok", 1, "status", o);
}

/* ---- mailboxes ---- */

static json_t *verb_mailbox_add(struct ctl *c, const json_t *request)
{
	return reply_of(veredus_mailbox_add(c->v, arg_span(request, "name"), arg_span(request, "password")),
			"mailbox");
}

static json_t *verb_mailbox_passwd(struct ctl *c, const json_t *request)
{
	return reply_of(veredus_mailbox_passwd(c->v, arg_span(request, "name"), arg_span(request, "password")),
			"mailbox");
}

static json_t *verb_mailbox_remove(struct ctl *c, const json_t *request)
{
	return reply_of(veredus_mailbox_remove(c->v, arg_span(request, "name")), "mailbox");
}

static void add_mailbox(void *arg, const struct veredus_mailbox_row *r)
{
	(void)json_array_append_new(arg, json_pack("{s:s, s:I, s:i, s:I, s:I}", "name", r->name, "id",
						   (json_int_t)r->id, "folders", (int)r->folders, "messages",
						   (json_int_t)r->messages, "bytes", (json_int_t)r->bytes));
}

static json_t *verb_mailbox_list(struct ctl *c, const json_t *request)
{
	json_t *rows = json_array();
	enum err e = veredus_mailbox_list(c->v, add_mailbox, rows);
	if (e != ERR_OK) {
		json_decref(rows);
		return reply_of(e, "mailboxes");
	}
	return json_pack("{s:b, s:o}", "ok", 1, "mailboxes", rows);
}

/* ---- routes ---- */

static json_t *verb_route_list(struct ctl *c, const json_t *request)
{
	json_t *routes = json_array(), *domains = json_array();
	for (unsigned i = 0; i < c->conf->n_route; i++)
		(void)json_array_append_new(routes, json_pack("{s:s, s:s}", "pattern", c->conf->route[i].pattern,
							      "via", c->conf->route[i].via));
	for (unsigned i = 0; i < c->conf->n_domain; i++)
		(void)json_array_append_new(domains, json_pack("{s:s, s:s}", "name", c->conf->domain[i].name,
							       "deliver", c->conf->domain[i].local ? "local" : "relay"));
	return json_pack("{s:b, s:o, s:o}", "ok", 1, "routes", routes, "domains", domains);
}

/* ---- certificates ---- */

static json_t *verb_tls_reload(struct ctl *c, const json_t *request)
{
	char why[700];
	enum err e = veredus_tls_reload(c->v, why, sizeof(why));
	if (e != ERR_OK)
		return ctl_error(e, why);
	return json_pack("{s:b, s:i}", "ok", 1, "count", (int)c->conf->n_cert);
}

struct verb_row {
	const char *name;
	json_t *(*run)(struct ctl *c, const json_t *request);
};

static const struct verb_row verbs[] = {
	{"status", verb_status},
	{"stats", verb_stats},
	{"store stats", verb_stats},
	{"mailbox add", verb_mailbox_add},
	{"mailbox passwd", verb_mailbox_passwd},
	{"mailbox remove", verb_mailbox_remove},
	{"mailbox list", verb_mailbox_list},
	{"route list", verb_route_list},
	{"queue list", ctl_queue_list},
	{"queue retry", ctl_queue_retry},
	{"queue remove", ctl_queue_remove},
	{"queue fields", ctl_queue_fields},
	{"conn list", ctl_conn_list},
	{"conn show", ctl_conn_list},
	{"conn fields", ctl_conn_fields},
	{"trace", ctl_trace},
	{"tls reload", verb_tls_reload},
};

json_t *ctl_verb(void *arg, const json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "verb"));
	for (unsigned i = 0; name != NULL && i < ARRAY_LEN(verbs); i++)
		if (strcmp(verbs[i].name, name) == 0)
			return verbs[i].run(arg, request);
	return ctl_error(ERR_UNSUPPORTED, "no such verb");
}
