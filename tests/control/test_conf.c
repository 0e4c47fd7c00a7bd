/* test_conf.c: a good file gives the snapshot it says; each wrong file gives its file, line and reason. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "conf_file.h"
#include "conf_schema.h"

/* Lines of a good file; a case replaces one of them. */
static const char *const good[] = {
	"hostname = \"MX1.example.net\"",
	"workers = { 0, 1 }",
	"relay_from = { \"198.18.0.0/24\", \"fd00:198:18::/64\" }",
	"port wan { device = \"net_af_packet0,iface=vd0\" address = { \"198.18.0.2/24\" } gateway = { \"198.18.0.1\" } }",
	"listen { protocol = smtp port = 25 }",
	"listen { protocol = imap port = 143 address = \"198.18.0.2\" }",
	"store { path = \"/tmp/s\" size = 2G }",
	"domain Example.NET { deliver = local }",
	"domain example.org { }",
	"route \"*.example.org\" { via = \"[fd00::1]:2525\" }",
	"route \"*\" { via = \"198.18.0.1:25\" }",
	"limits { message_size = 1M smtp_timeout = 90s }",
	"queue { retry_min = 1s retry_max = 2m expire = 1h bounce = no }",
	"control { socket = \"/tmp/v.sock\" }",
};

static enum err read_with(size_t line, const char *text, struct conf **c, char *why, size_t why_size)
{
	char file[] = "/tmp/veredus-conf-XXXXXX";
	int fd = mkstemp(file);
	cr_assert(fd >= 0);
	FILE *f = fdopen(fd, "w");
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		(void)fprintf(f, "%s\n", i == line ? text : good[i]);
	(void)fclose(f);
	enum err e = conf_read(file, c, why, why_size);
	/* The name differs each time: what is compared begins behind it. */
	if (e != ERR_OK) {
		cr_expect(strncmp(why, file, strlen(file)) == 0, "%s", why);
		memmove(why, why + strlen(file), strlen(why + strlen(file)) + 1);
	}
	(void)unlink(file);
	return e;
}

Test(conf, good_file)
{
	char why[512];
	struct conf *c;
	cr_assert(read_with(SIZE_MAX, NULL, &c, why, sizeof(why)) == ERR_OK, "%s", why);
	cr_expect_str_eq(c->hostname, "mx1.example.net");
	cr_expect_eq(c->n_workers, 2);
	cr_expect_eq(c->worker_lcore[1], 1);
	cr_expect_eq(c->n_relay_from, 2);
	cr_expect_eq(c->n_port, 1);
	cr_expect_str_eq(c->port[0].device, "net_af_packet0,iface=vd0");
	cr_expect_eq(c->port[0].addr[0].len, 120);
	cr_expect_eq(c->n_listen, 2);
	cr_expect_eq(c->listen[1].protocol, CONF_IMAP);
	cr_expect_eq(c->store_size_max, 2ull << 30);
	cr_expect(c->domain[0].local && !c->domain[1].local);
	cr_expect_str_eq(c->domain[0].name, "example.net");
	cr_expect_eq(c->route[0].port, 2525);
	cr_expect_eq(c->message_size_max, 1 << 20);
	cr_expect_eq(c->smtp_timeout_s, 90);
	cr_expect_eq(c->recipients_max, 1000);
	cr_expect_eq(c->retry_max_s, 120);
	cr_expect(!c->bounce && !c->busy_poll && c->huge_pages);
	cr_expect_eq(c->storage_core, -1);
	conf_destroy(&c);
}

Test(conf, wrong_files)
{
	static const struct {
		size_t line;
		const char *text, *why;
	} cases[] = {
		{0, "hostnam = \"a\"", ":1: no such option 'hostnam'"},
		{0, "", ": hostname is missing"},
		{1, "workers = { 1, x }", ":2: workers = \"x\": expected list of numbers"},
		{1, "workers = { 1 }\nworkers = { 2 }", ":3: workers is set twice"},
		{1, "idle = lazy", ":2: idle = \"lazy\": expected adaptive|busy"},
		{1, "idle = busy\nidle = busy", ":3: idle is set twice"},
		{2, "relay_from = { \"198.18.0.0/33\" }", ":3: relay_from = \"198.18.0.0/33\": expected an address or network"},
		{3, "", ": no port"},
		{3, "port wan { address = { \"198.18.0.2/24\" } }", ":4: port without device"},
		{3, "port wan { device = \"net_null0\" }", ":4: port wan: no address"},
		{3, "port wan { device = \"net_null0\" address = { \"198.18.0.2/24\" } mtu = 9 }", ":4: port wan: mtu"},
		{4, "listen { protocol = smtp port = 143 }", ": listen: port 143 is taken"},
		{4, "listen { protocol = gopher port = 70 }", ":5: protocol = \"gopher\": expected smtp|submission|pop3|imap|http"},
		{4, "listen { protocol = smtp port = 65536 }", ":5: port = \"65536\": must be from 1 to 65535"},
		{4, "listen { protocol = smtp port = 25 tls = starttls }", ": listen: tls = starttls needs a tls section"},
		{4, "listen { protocol = http port = 80 tls = starttls }", ": listen: http has no starttls"},
		{4, "listen { protocol = smtp port = 25 tls = always }", ":5: tls = \"always\": expected none|starttls|implicit"},
		{4, "listen { protocol = smtp port = 25 tls = implicit }\ntls { certificate = \"/nonexistent/a.pem\" key = \"/b\" }",
		 ": tls: /nonexistent/a.pem: No such file"},
		{4, "listen { protocol = smtp port = 25 tls = implicit }\ntls { certificate = \"none.pem\" key = \"/b\" }",
		 ": tls: /tmp/none.pem: No such file"},
		{4, "listen { protocol = smtp port = 25 tls = implicit }\ntls { key = \"/b\" }", ": tls without certificate"},
		{5, "listen { protocol = imap port = 143 address = \"198.18.0.9\" }", ":6: listen: 198.18.0.9 is no address"},
		{6, "", ": store without path"},
		{6, "store { path = \"/tmp/s\" size = 128M }", ": store: size must be 256M or more"},
		{6, "store { path = \"/tmp/s\" size = 2X }", ":7: size = \"2X\": expected bytes"},
		{7, "domain example.org { deliver = local }", ":9: found duplicate title"},
		{7, "domain EXAMPLE.org { deliver = local }", ": domain example.org is there twice"},
		{7, "domain example.net { deliver = remote }", ":8: deliver = \"remote\": expected local|relay"},
		{9, "route \"*\" { via = \"198.18.0.1:25\" }", ": found duplicate title"},
		{9, "route \"example.org\" { via = mx }", ":10: via = \"mx\": expected an address and port"},
		{11, "limits { hops = 3 }", ":12: hops = \"3\": must be from 10 to 1000"},
		{12, "queue { retry_min = 2m retry_max = 1m }", ": queue: retry_max is below retry_min"},
		{13, "control { socket = \"\" }", ":14: socket = \"\": expected some text"},
		{13, "control { socket = \"/tmp/x\"", ":14: { without }"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char why[512] = "";
		struct conf *c;
		enum err e = read_with(cases[i].line, cases[i].text, &c, why, sizeof(why));
		cr_expect(e != ERR_OK && c == NULL, "%s: accepted", cases[i].text);
		cr_expect(strstr(why, cases[i].why) != NULL, "%s: said \"%s\"", cases[i].text, why);
		if (e == ERR_OK)
			conf_destroy(&c);
	}
	char why[512];
	struct conf *c;
	cr_expect(conf_read("/nonexistent/veredus.conf", &c, why, sizeof(why)) != ERR_OK);
	cr_expect_str_eq(why, "/nonexistent/veredus.conf: cannot be read");
}

Test(conf, schema_defaults_are_valid)
{
	for (size_t i = 0; i < schema_n; i++) {
		const struct schema_row *r = &schema_rows[i];
		char why[160], name[64];
		uint64_t v;
		(void)snprintf(name, sizeof(name), "%s%s%s", r->section, r->section[0] != '\0' ? "." : "", r->key);
		cr_expect(schema_find(name) == r, "%s is there twice", name);
		if (!r->list && r->dflt != NULL && r->dflt[0] != '\0')
			cr_expect(schema_value(r, r->dflt, &v, why, sizeof(why)), "%s: %s", name, why);
	}
	cr_expect(schema_find("nope") == NULL);
	cr_expect(schema_find("limits.nope") == NULL);
}
