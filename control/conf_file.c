/*
 * conf_file.c: reads veredus.conf with libconfuse and makes the snapshot.
 *
 * libconfuse knows the grammar, sections, includes and line numbers; what a value may be is the schema's
 * business (conf_schema.c), asked once for every value while its line is known. All values come as text.
 * Checks that need several keys run after the parse and name the line of their section.
 */
#include "conf_file.h"

#include <confuse.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "check.h"
#include "conf_schema.h"
#include "span.h"
#include "tls_cert.h"

#define KEYS_MAX     24 /* keys of one section */
#define MEMORY_LIMIT (64 * 1024 * 1024)
#define STORE_SIZE_MIN (256ull << 20)

struct conf_box {
	struct conf c; /* first: conf_destroy gets its address */
	struct arena mem;
};

struct reading {
	struct conf_box *box;
	cfg_t *cfg;
	char *why;
	size_t why_size;
	struct seen {
		cfg_opt_t *opt;
		unsigned size, calls;
	} seen[4096]; /* keys that were set: setting one again is an error */
	unsigned n_seen;
	bool failed;
};

/* libconfuse's callbacks carry no argument of ours; a file is read by one thread at a time. */
static struct reading *reading_now;

static void problem(struct reading *r, const char *file, int line, const char *fmt, va_list ap)
{
	if (r->failed)
		return; /* the first is the one that matters */
	r->failed = true;
	int n = line > 0 ? snprintf(r->why, r->why_size, "%s:%d: ", file, line)
			 : snprintf(r->why, r->why_size, "%s: ", file);
	if (n > 0 && (size_t)n < r->why_size)
		(void)vsnprintf(r->why + n, r->why_size - (size_t)n, fmt, ap);
}

static void on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	problem(reading_now, cfg->filename != NULL ? cfg->filename : reading_now->box->c.file, cfg->line, fmt, ap);
}

static void bad(struct reading *r, cfg_t *sec, const char *fmt, ...) PRINTF(3, 4);
static void bad(struct reading *r, cfg_t *sec, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	const char *file = sec != NULL && sec->filename != NULL ? sec->filename : r->box->c.file;
	problem(r, file, sec != NULL ? sec->line : 0, fmt, ap);
	va_end(ap);
}

static const struct schema_row *row_of(const char *section, const char *key)
{
	char name[64];
	(void)snprintf(name, sizeof(name), "%s%s%s", section, section[0] != '\0' ? "." : "", key);
	return schema_find(name);
}

static const char *section_name(cfg_t *cfg)
{
	return cfg == reading_now->cfg ? "" : cfg_name(cfg);
}

/* A list is checked after each value and once more at its end, so its size never falls and a list of one
 * is seen twice, unless it is set again. */
static bool set_before(struct reading *r, cfg_opt_t *opt, bool list)
{
	unsigned size = cfg_opt_size(opt);
	for (unsigned i = 0; i < r->n_seen; i++) {
		struct seen *s = &r->seen[i];
		if (s->opt != opt)
			continue;
		bool again = !list || size < s->size || (size == 1 && s->calls == 2);
		s->size = size;
		s->calls++;
		return again;
	}
	if (r->n_seen < ARRAY_LEN(r->seen))
		r->seen[r->n_seen++] = (struct seen){opt, size, 1};
	return false;
}

static int on_value(cfg_t *cfg, cfg_opt_t *opt)
{
	struct reading *r = reading_now;
	const struct schema_row *row = row_of(section_name(cfg), opt->name);
	CHECK(row != NULL);
	if (set_before(r, opt, row->list)) {
		cfg_error(cfg, "%s is set twice", opt->name);
		return -1;
	}
	for (unsigned i = 0; i < cfg_opt_size(opt); i++) {
		char why[160];
		uint64_t number;
		const char *text = cfg_opt_getnstr(opt, i);
		if (!schema_value(row, text != NULL ? text : "", &number, why, sizeof(why))) {
			cfg_error(cfg, "%s = \"%s\": %s", opt->name, text != NULL ? text : "", why);
			return -1;
		}
	}
	return 0;
}

/* ---- from parsed text to struct conf ---- */

static char *keep(struct reading *r, const char *text)
{
	struct span s = arena_copy(&r->box->mem, span_str(text));
	CHECK(s.p != NULL);
	return (char *)(uintptr_t)s.p;
}

static char *keep_lower(struct reading *r, const char *text)
{
	char *s = keep(r, text);
	for (char *p = s; *p != '\0'; p++)
		*p = (char)ascii_lower((uint8_t)*p);
	return s;
}

static void *keep_array(struct reading *r, size_t n, size_t size)
{
	void *p = arena_zalloc(&r->box->mem, (n > 0 ? n : 1) * size);
	CHECK(p != NULL);
	return p;
}

/* The text of a scalar: as set, else the schema's default. NULL when it must be given and is not (reported),
 * "" when it may be left out. */
static const char *text_of(struct reading *r, cfg_t *sec, const char *section, const char *key)
{
	const struct schema_row *row = row_of(section, key);
	CHECK(row != NULL);
	const char *set = sec != NULL ? cfg_getstr(sec, key) : NULL;
	if (set != NULL)
		return set;
	if (row->dflt == NULL) {
		if (section[0] == '\0')
			bad(r, NULL, "%s is missing: %s", key, row->help);
		else if (sec == NULL)
			bad(r, NULL, "section %s with key %s is missing: %s", section, key, row->help);
		else
			bad(r, sec, "%s without %s: %s", section, key, row->help);
	}
	return row->dflt;
}

static uint64_t number_of(struct reading *r, cfg_t *sec, const char *section, const char *key)
{
	char why[160];
	uint64_t v = 0;
	const char *text = text_of(r, sec, section, key);
	if (text != NULL && text[0] != '\0')
		(void)schema_value(row_of(section, key), text, &v, why, sizeof(why));
	return v;
}

static void read_top(struct reading *r)
{
	struct conf *c = &r->box->c;
	cfg_t *cfg = r->cfg;
	const char *s = text_of(r, cfg, "", "hostname");
	c->hostname = s != NULL ? keep_lower(r, s) : "";
	c->busy_poll = number_of(r, cfg, "", "idle") == 1;
	c->packets = (unsigned)number_of(r, cfg, "", "packets");
	c->connections = (unsigned)number_of(r, cfg, "", "connections");
	c->sessions = (unsigned)number_of(r, cfg, "", "sessions");
	c->huge_pages = number_of(r, cfg, "", "huge_pages") != 0;
	c->memory_mib = (unsigned)(number_of(r, cfg, "", "memory") >> 20);
	c->log_level = (unsigned)number_of(r, cfg, "", "log_level");
	s = text_of(r, cfg, "", "storage_core");
	c->storage_core = s[0] != '\0' ? (int)number_of(r, cfg, "", "storage_core") : -1;
	c->n_workers = cfg_size(cfg, "workers");
	c->worker_lcore = keep_array(r, c->n_workers, sizeof(unsigned));
	for (unsigned i = 0; i < c->n_workers; i++)
		c->worker_lcore[i] = (unsigned)strtoul(cfg_getnstr(cfg, "workers", i), NULL, 10);
	if (c->n_workers == 0)
		c->n_workers = 1; /* on CPU 0 */
	c->n_relay_from = cfg_size(cfg, "relay_from");
	c->relay_from = keep_array(r, c->n_relay_from, sizeof(*c->relay_from));
	for (unsigned i = 0; i < c->n_relay_from; i++)
		(void)ip_prefix_parse(span_str(cfg_getnstr(cfg, "relay_from", i)), &c->relay_from[i]);
}

static void read_ports(struct reading *r)
{
	struct conf *c = &r->box->c;
	c->n_port = cfg_size(r->cfg, "port");
	c->port = keep_array(r, c->n_port, sizeof(*c->port));
	if (c->n_port == 0)
		bad(r, NULL, "no port: name at least one device, for example port wan { device = \"net_af_packet0,iface=vd0\" ... }");
	for (unsigned i = 0; i < c->n_port; i++) {
		cfg_t *sec = cfg_getnsec(r->cfg, "port", i);
		struct conf_port *p = &c->port[i];
		const char *device = text_of(r, sec, "port", "device");
		p->name = keep(r, cfg_title(sec));
		p->device = device != NULL ? keep(r, device) : "";
		p->mtu = (unsigned)number_of(r, sec, "port", "mtu");
		p->trust_rx_checksum = number_of(r, sec, "port", "trust_rx_checksum") != 0;
		if (p->mtu != 0 && p->mtu < 576)
			bad(r, sec, "port %s: mtu must be 576 or more", p->name);
		p->n_addr = cfg_size(sec, "address");
		p->addr = keep_array(r, p->n_addr, sizeof(*p->addr));
		if (p->n_addr == 0)
			bad(r, sec, "port %s: no address", p->name);
		for (unsigned k = 0; k < p->n_addr; k++)
			(void)ip_prefix_parse(span_str(cfg_getnstr(sec, "address", k)), &p->addr[k]);
		p->n_gateway = cfg_size(sec, "gateway");
		p->gateway = keep_array(r, p->n_gateway, sizeof(*p->gateway));
		for (unsigned k = 0; k < p->n_gateway; k++) {
			(void)ip_parse(span_str(cfg_getnstr(sec, "gateway", k)), &p->gateway[k]);
			for (unsigned m = 0; m < k; m++)
				if (ip_is4(&p->gateway[m]) == ip_is4(&p->gateway[k]))
					bad(r, sec, "port %s: two gateways of one family", p->name);
		}
		for (unsigned k = 0; k < i; k++)
			if (strcmp(c->port[k].device, p->device) == 0)
				bad(r, sec, "port %s: device \"%s\" is already port %s's", p->name, p->device,
				    c->port[k].name);
	}
}

static bool address_is_ours(const struct conf *c, const struct ip_addr *a)
{
	for (unsigned i = 0; i < c->n_port; i++)
		for (unsigned k = 0; k < c->port[i].n_addr; k++)
			if (ip_eq(&c->port[i].addr[k].addr, a))
				return true;
	return false;
}

static void read_listens(struct reading *r)
{
	struct conf *c = &r->box->c;
	c->n_listen = cfg_size(r->cfg, "listen");
	c->listen = keep_array(r, c->n_listen, sizeof(*c->listen));
	if (c->n_listen == 0)
		bad(r, NULL, "no listen section: nothing would be served");
	for (unsigned i = 0; i < c->n_listen; i++) {
		cfg_t *sec = cfg_getnsec(r->cfg, "listen", i);
		struct conf_listen *l = &c->listen[i];
		l->protocol = (enum conf_protocol)number_of(r, sec, "listen", "protocol");
		l->port = (uint16_t)number_of(r, sec, "listen", "port");
		l->tls = (enum conf_tls)number_of(r, sec, "listen", "tls");
		if (l->protocol == CONF_HTTP && l->tls == CONF_TLS_STARTTLS)
			bad(r, sec, "listen: http has no starttls: use implicit, or none");
		if (l->tls != CONF_TLS_NONE && c->n_cert == 0)
			bad(r, sec, "listen: tls = %s needs a tls section with a certificate",
			    l->tls == CONF_TLS_STARTTLS ? "starttls" : "implicit");
		const char *addr = text_of(r, sec, "listen", "address");
		if (addr != NULL && addr[0] != '\0') {
			(void)ip_parse(span_str(addr), &l->addr);
			if (!address_is_ours(c, &l->addr))
				bad(r, sec, "listen: %s is no address of any port", addr);
		}
		for (unsigned k = 0; k < i; k++)
			if (c->listen[k].port == l->port && (ip_is_any(&l->addr) || ip_is_any(&c->listen[k].addr) ||
							     ip_eq(&c->listen[k].addr, &l->addr)))
				bad(r, sec, "listen: port %u is taken by another listen section", l->port);
	}
}

/* A file named in the configuration: from the directory of the configuration if not from the root. */
static const char *keep_path(struct reading *r, const char *name)
{
	const char *file = r->box->c.file, *slash = strrchr(file, '/');
	if (name[0] == '/' || slash == NULL)
		return keep(r, name);
	size_t dir = (size_t)(slash - file) + 1, len = strlen(name);
	char *p = keep_array(r, dir + len + 1, 1);
	memcpy(p, file, dir);
	memcpy(p + dir, name, len + 1);
	return p;
}

static void read_cert(struct reading *r, cfg_t *sec, struct conf_cert *t)
{
	char why[700];
	const char *certificate = text_of(r, sec, "tls", "certificate"), *key = text_of(r, sec, "tls", "key");
	if (certificate == NULL || key == NULL)
		return;
	t->certificate = keep_path(r, certificate);
	t->key = keep_path(r, key);
	t->n_name = cfg_size(sec, "name");
	t->name = keep_array(r, t->n_name, sizeof(*t->name));
	for (unsigned i = 0; i < t->n_name; i++)
		t->name[i] = keep_lower(r, cfg_getnstr(sec, "name", i));
	struct tls_files files = {t->certificate, t->key, t->n_name, t->name};
	struct tls_cert *cert;
	if (tls_cert_read(&cert, &files, why, sizeof(why)) != ERR_OK)
		bad(r, sec, "tls: %s", why);
	tls_cert_free(&cert);
}

static void read_certs(struct reading *r)
{
	struct conf *c = &r->box->c;
	bool used = false;
	c->n_cert = cfg_size(r->cfg, "tls");
	c->cert = keep_array(r, c->n_cert, sizeof(*c->cert));
	c->auth_in_clear = number_of(r, r->cfg, "", "auth_in_clear") != 0;
	for (unsigned i = 0; i < cfg_size(r->cfg, "listen"); i++)
		used |= number_of(r, cfg_getnsec(r->cfg, "listen", i), "listen", "tls") != CONF_TLS_NONE;
	for (unsigned i = 0; i < c->n_cert; i++) {
		cfg_t *sec = cfg_getnsec(r->cfg, "tls", i);
		read_cert(r, sec, &c->cert[i]);
		if (!used)
			bad(r, sec, "tls: no listen section uses it (tls = starttls or implicit)");
	}
}

static void read_mail(struct reading *r)
{
	struct conf *c = &r->box->c;
	c->n_domain = cfg_size(r->cfg, "domain");
	c->domain = keep_array(r, c->n_domain, sizeof(*c->domain));
	for (unsigned i = 0; i < c->n_domain; i++) {
		cfg_t *sec = cfg_getnsec(r->cfg, "domain", i);
		c->domain[i].name = keep_lower(r, cfg_title(sec));
		c->domain[i].local = number_of(r, sec, "domain", "deliver") == 0;
		for (unsigned k = 0; k < i; k++)
			if (strcmp(c->domain[k].name, c->domain[i].name) == 0)
				bad(r, sec, "domain %s is there twice", c->domain[i].name);
	}
	c->n_route = cfg_size(r->cfg, "route");
	c->route = keep_array(r, c->n_route, sizeof(*c->route));
	for (unsigned i = 0; i < c->n_route; i++) {
		cfg_t *sec = cfg_getnsec(r->cfg, "route", i);
		struct conf_route *t = &c->route[i];
		const char *via = text_of(r, sec, "route", "via");
		t->pattern = keep_lower(r, cfg_title(sec));
		t->via = via != NULL ? keep(r, via) : "";
		if (via != NULL)
			(void)ip_port_parse(span_str(via), &t->host, &t->port);
		for (unsigned k = 0; k < i; k++)
			if (strcmp(c->route[k].pattern, t->pattern) == 0 || strcmp(c->route[k].pattern, "*") == 0)
				bad(r, sec, "route \"%s\" can never match: route \"%s\" stands before it",
				    t->pattern, c->route[k].pattern);
	}
}

static void read_rest(struct reading *r)
{
	struct conf *c = &r->box->c;
	cfg_t *sec = cfg_getsec(r->cfg, "limits");
	c->message_size_max = number_of(r, sec, "limits", "message_size");
	c->recipients_max = (unsigned)number_of(r, sec, "limits", "recipients");
	c->hops_max = (unsigned)number_of(r, sec, "limits", "hops");
	c->errors_max = (unsigned)number_of(r, sec, "limits", "errors");
	c->connections_per_ip = (unsigned)number_of(r, sec, "limits", "connections_per_ip");
	c->smtp_timeout_s = (uint32_t)number_of(r, sec, "limits", "smtp_timeout");
	c->pop3_timeout_s = (uint32_t)number_of(r, sec, "limits", "pop3_timeout");
	c->imap_timeout_s = (uint32_t)number_of(r, sec, "limits", "imap_timeout");
	c->http_timeout_s = (uint32_t)number_of(r, sec, "limits", "http_timeout");
	c->binarymime = number_of(r, r->cfg, "", "binarymime") != 0;
	sec = cfg_getsec(r->cfg, "queue");
	c->retry_min_s = (uint32_t)number_of(r, sec, "queue", "retry_min");
	c->retry_max_s = (uint32_t)number_of(r, sec, "queue", "retry_max");
	c->expire_s = (uint32_t)number_of(r, sec, "queue", "expire");
	c->route_connections = (unsigned)number_of(r, sec, "queue", "connections");
	c->route_messages = (unsigned)number_of(r, sec, "queue", "messages_per_connection");
	c->bounce = number_of(r, sec, "queue", "bounce") != 0;
	if (c->retry_max_s < c->retry_min_s)
		bad(r, sec, "queue: retry_max is below retry_min");
	sec = cfg_getsec(r->cfg, "store");
	const char *path = text_of(r, sec, "store", "path");
	c->store_path = path != NULL ? keep(r, path) : "";
	c->store_size_max = number_of(r, sec, "store", "size");
	if (c->store_size_max != 0 && c->store_size_max < STORE_SIZE_MIN)
		bad(r, sec, "store: size must be 256M or more: mail is freed by whole segments of 64M");
	c->store_free_min = number_of(r, sec, "store", "free_min");
	sec = cfg_getsec(r->cfg, "tcp");
	c->tcp_mss = (unsigned)number_of(r, sec, "tcp", "mss");
	c->tcp_window = (unsigned)number_of(r, sec, "tcp", "window");
	c->tcp_syn_backlog = (unsigned)number_of(r, sec, "tcp", "syn_backlog");
	c->tcp_syn_cookies = number_of(r, sec, "tcp", "syn_cookies") != 0;
	c->tcp_syn_network_rate = (unsigned)number_of(r, sec, "tcp", "syn_network_rate");
	c->tcp_ecn = (unsigned)number_of(r, sec, "tcp", "ecn");
	c->tcp_pacing = number_of(r, sec, "tcp", "pacing") != 0;
	if (c->tcp_mss != 0 && c->tcp_mss < 64)
		bad(r, sec, "tcp: mss must be 64 or more");
	sec = cfg_getsec(r->cfg, "control");
	c->socket = keep(r, text_of(r, sec, "control", "socket"));
}

/* ---- the grammar, made from the schema ---- */

static size_t add_keys(cfg_opt_t *opts, const char *section)
{
	static const cfg_opt_t end = CFG_END();
	size_t n = 0;
	for (size_t i = 0; i < schema_n; i++) {
		const struct schema_row *row = &schema_rows[i];
		if (strcmp(row->section, section) != 0)
			continue;
		CHECK(n + 1 < KEYS_MAX);
		if (row->list)
			opts[n] = (cfg_opt_t)CFG_STR_LIST(row->key, NULL, CFGF_NODEFAULT);
		else
			opts[n] = (cfg_opt_t)CFG_STR(row->key, NULL, CFGF_NODEFAULT);
		n++;
	}
	opts[n] = end;
	return n;
}

static cfg_t *make_grammar(void)
{
	static cfg_opt_t keys[16][KEYS_MAX], top[KEYS_MAX + 16];
	CHECK(schema_section_n <= ARRAY_LEN(keys));
	size_t n = add_keys(top, "");
	for (size_t i = 0; i < schema_section_n; i++) {
		const struct schema_section *s = &schema_sections[i];
		if (s->name[0] == '\0')
			continue;
		(void)add_keys(keys[i], s->name);
		cfg_flag_t flags = s->many ? CFGF_NODEFAULT : CFGF_NONE;
		if (s->many)
			flags |= CFGF_MULTI;
		if (s->titled)
			flags |= CFGF_TITLE | CFGF_NO_TITLE_DUPES;
		top[n++] = (cfg_opt_t)CFG_SEC(s->name, keys[i], flags);
	}
	top[n++] = (cfg_opt_t)CFG_FUNC("include", &cfg_include);
	top[n] = (cfg_opt_t)CFG_END();
	cfg_t *cfg = cfg_init(top, CFGF_NONE);
	CHECK(cfg != NULL);
	(void)cfg_set_error_function(cfg, on_error);
	for (size_t i = 0; i < schema_n; i++) {
		char name[64];
		const struct schema_row *row = &schema_rows[i];
		(void)snprintf(name, sizeof(name), "%s%s%s", row->section, row->section[0] != '\0' ? "|" : "",
			       row->key);
		(void)cfg_set_validate_func(cfg, name, on_value);
	}
	return cfg;
}

/* libconfuse takes the end of a file for the end of every open section; we do not. Line of the first brace
 * that is not closed, 0 if none or if the file cannot be read (reported elsewhere). */
static int unclosed_brace(const char *file)
{
	enum { PLAIN, STRING, QUOTED, LINE, BLOCK } in = PLAIN;
	int line = 1, depth = 0, opened[8] = {0}, c, last = 0;
	FILE *f = fopen(file, "re");
	if (f == NULL)
		return 0;
	for (; (c = getc(f)) != EOF; last = c) {
		line += c == '\n';
		bool escaped = last == '\\';
		if (in == LINE) {
			in = c == '\n' ? PLAIN : LINE;
		} else if (in == BLOCK) {
			in = last == '*' && c == '/' ? PLAIN : BLOCK;
		} else if (in == STRING || in == QUOTED) {
			if (!escaped && c == (in == STRING ? '"' : '\''))
				in = PLAIN;
		} else if (c == '#' || (last == '/' && c == '/')) {
			in = LINE;
		} else if (last == '/' && c == '*') {
			in = BLOCK;
		} else if (c == '"' || c == '\'') {
			in = c == '"' ? STRING : QUOTED;
		} else if (c == '{') {
			if (depth < (int)ARRAY_LEN(opened))
				opened[depth] = line;
			depth++;
		} else if (c == '}' && depth > 0) {
			depth--;
		}
	}
	(void)fclose(f);
	return depth > 0 ? opened[0] : 0;
}

enum err conf_read(const char *file, struct conf **out, char *why, size_t why_size)
{
	*out = NULL;
	struct conf_box *box = calloc(1, sizeof(*box));
	CHECK(box != NULL);
	arena_init(&box->mem, MEMORY_LIMIT);
	struct reading r = {.box = box, .why = why, .why_size = why_size};
	struct conf *c = &box->c;
	reading_now = &r;
	c->file = keep(&r, file);
	r.cfg = make_grammar();
	int result = cfg_parse(r.cfg, file);
	if (result == CFG_FILE_ERROR)
		bad(&r, NULL, "cannot be read");
	else if (result != CFG_SUCCESS)
		bad(&r, NULL, "is not valid");
	int brace = unclosed_brace(file);
	if (!r.failed && brace != 0) {
		r.failed = true;
		(void)snprintf(why, why_size, "%s:%d: { without }", file, brace);
	}
	if (!r.failed) {
		read_top(&r);
		read_ports(&r);
		read_certs(&r);
		read_listens(&r);
		read_mail(&r);
		read_rest(&r);
	}
	(void)cfg_free(r.cfg);
	reading_now = NULL;
	if (r.failed) {
		struct conf *dead = c;
		conf_destroy(&dead);
		return ERR_SYNTAX;
	}
	*out = c;
	return ERR_OK;
}

void conf_destroy(struct conf **c)
{
	struct conf_box *box = (struct conf_box *)*c;
	*c = NULL;
	if (box == NULL)
		return;
	arena_reset(&box->mem);
	free(box);
}
