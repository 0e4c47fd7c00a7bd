/*
 * conf_schema.c: the table of configuration keys, and the check of one value against its row.
 * To add a key: one row here, one line in conf_file.c where it goes into struct conf.
 */
#include "conf_schema.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "ip.h"
#include "span.h"

#define KIB (1024ull)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define DAY 86400

const struct schema_section schema_sections[] = {
	{"", false, false, "the top of the file"},
	{"port", true, true, "a network device and the addresses veredus answers for on it"},
	{"listen", false, true, "a protocol served on a TCP port"},
	{"tls", false, true, "a certificate; the first one answers clients that name no host or an unknown one"},
	{"store", false, false, "where mail is kept"},
	{"domain", true, true, "a domain whose mail is taken from anyone"},
	{"route", true, true, "where mail for other domains goes; the first that matches wins"},
	{"limits", false, false, "what one client may ask for"},
	{"queue", false, false, "retry, expiry and outbound connections"},
	{"tcp", false, false, "the TCP stack"},
	{"control", false, false, "the operator's socket"},
};
const size_t schema_section_n = ARRAY_LEN(schema_sections);

const struct schema_row schema_rows[] = {
	{"", "hostname", SCHEMA_TEXT, false, NULL, 0, 0, NULL, "name used in the greeting, in Received headers and in bounces"},
	{"", "workers", SCHEMA_NUMBERS, true, "{ 0 }", 0, 1023, NULL, "CPU of each worker, one worker a number"},
	{"", "idle", SCHEMA_CHOICE, false, "adaptive", 0, 0, "adaptive|busy", "adaptive: a worker without work naps for 50-100 us; busy: it always polls"},
	{"", "storage_core", SCHEMA_NUMBER, false, "", 0, 1023, NULL, "CPU of the storage thread; left out: the scheduler chooses"},
	{"", "packets", SCHEMA_NUMBER, false, "32768", 1024, 16777216, NULL, "packet buffers (2.3 KiB each) shared by all workers"},
	{"", "connections", SCHEMA_NUMBER, false, "65536", 16, 16777216, NULL, "TCP connections a worker may hold"},
	{"", "sessions", SCHEMA_NUMBER, false, "65536", 16, 16777215, NULL, "sessions a worker may hold, for each protocol"},
	{"", "huge_pages", SCHEMA_BOOL, false, "true", 0, 0, NULL, "use huge pages if the system has enough free ones"},
	{"", "memory", SCHEMA_BYTES, false, "0", 0, 1024 * GIB, NULL, "memory for packets; 0: what the pools need"},
	{"", "relay_from", SCHEMA_PREFIX, true, "", 0, 0, NULL, "networks whose clients may send to any routed domain"},
	{"", "binarymime", SCHEMA_BOOL, false, "false", 0, 0, NULL, "SMTP takes binary content (BODY=BINARYMIME); it can go only to hosts that take it, too, not into mailboxes"},
	{"", "auth_in_clear", SCHEMA_BOOL, false, "false", 0, 0, NULL, "take passwords on connections without TLS"},
	{"", "log_level", SCHEMA_CHOICE, false, "info", 0, 0, "error|warn|info|debug", "least important lines that are written"},

	{"port", "device", SCHEMA_TEXT, false, NULL, 0, 0, NULL, "DPDK device: \"net_af_packet0,iface=vd0\", \"net_memif0,role=client\" or a PCI address"},
	{"port", "address", SCHEMA_PREFIX, true, NULL, 0, 0, NULL, "addresses with their prefix length, IPv4 and IPv6"},
	{"port", "gateway", SCHEMA_ADDRESS, true, "", 0, 0, NULL, "default gateways, at most one a family"},
	{"port", "mtu", SCHEMA_NUMBER, false, "0", 0, 9216, NULL, "largest IP packet; 0: the device's (576 or more otherwise)"},
	{"port", "trust_rx_checksum", SCHEMA_BOOL, false, "false", 0, 0, NULL, "take the device's word that a checksum is good"},

	{"listen", "protocol", SCHEMA_CHOICE, false, NULL, 0, 0, "smtp|submission|pop3|imap|http", "what is spoken; submission: SMTP for our own users, who log in first (RFC 6409), on 587 or 465; http: GET /health for load balancers"},
	{"listen", "port", SCHEMA_NUMBER, false, NULL, 1, 65535, NULL, "TCP port"},
	{"listen", "address", SCHEMA_ADDRESS, false, "", 0, 0, NULL, "one of the ports' addresses; left out: all of them"},
	{"listen", "tls", SCHEMA_CHOICE, false, "none", 0, 0, "none|starttls|implicit", "starttls: on the client's wish; implicit: from the first byte, as on 465, 993 and 995"},

	{"tls", "certificate", SCHEMA_TEXT, false, NULL, 0, 0, NULL, "PEM file: the server's certificate, then its chain; a path that does not begin with / starts at this file's directory"},
	{"tls", "key", SCHEMA_TEXT, false, NULL, 0, 0, NULL, "PEM file with its private key (ECDSA, RSA of 2048 bits or more, Ed25519), not encrypted"},
	{"tls", "name", SCHEMA_TEXT, true, "", 0, 0, NULL, "host names it answers to (SNI), \"*.example.net\" too; left out: those in the certificate; sections of one name and different key types stand beside each other"},

	{"store", "engine", SCHEMA_CHOICE, false, "local", 0, 0, "local", "local: the log on a local file system"},
	{"store", "path", SCHEMA_TEXT, false, NULL, 0, 0, NULL, "directory; made if it is not there"},
	{"store", "size", SCHEMA_BYTES, false, "0", 0, 1024 * 1024 * GIB, NULL, "most bytes of log segments, 256M or more; 0: until the disk is full"},
	{"store", "free_min", SCHEMA_BYTES, false, "256M", 0, 1024 * GIB, NULL, "new mail is answered 452 when the file system has less free"},

	{"domain", "deliver", SCHEMA_CHOICE, false, "relay", 0, 0, "local|relay", "local: into mailboxes here; relay: onward by its route"},

	{"route", "via", SCHEMA_HOSTPORT, false, NULL, 0, 0, NULL, "next hop: \"198.18.0.1:25\" or \"[fd00::1]:25\""},

	{"limits", "message_size", SCHEMA_BYTES, false, "50M", 1024, 2 * GIB - 1, NULL, "largest message (SIZE)"},
	{"limits", "recipients", SCHEMA_NUMBER, false, "1000", 100, 100000, NULL, "recipients of one message"},
	{"limits", "hops", SCHEMA_NUMBER, false, "50", 10, 1000, NULL, "Received headers before a message counts as looping"},
	{"limits", "errors", SCHEMA_NUMBER, false, "20", 1, 10000, NULL, "bad commands before the connection is ended"},
	{"limits", "connections_per_ip", SCHEMA_NUMBER, false, "0", 0, 1000000, NULL, "connections of one address to one worker; 0: no limit"},
	{"limits", "smtp_timeout", SCHEMA_TIME, false, "5m", 1, DAY, NULL, "silence before an SMTP session is ended"},
	{"limits", "pop3_timeout", SCHEMA_TIME, false, "10m", 1, DAY, NULL, "silence before a POP3 session is ended"},
	{"limits", "imap_timeout", SCHEMA_TIME, false, "30m", 1, DAY, NULL, "silence before an IMAP session is ended"},
	{"limits", "http_timeout", SCHEMA_TIME, false, "1m", 1, DAY, NULL, "silence between HTTP requests, and time for one to come, before the connection is ended"},

	{"queue", "retry_min", SCHEMA_TIME, false, "5m", 1, 7 * DAY, NULL, "wait after the first failed try; doubles each time"},
	{"queue", "retry_max", SCHEMA_TIME, false, "1h", 1, 7 * DAY, NULL, "longest wait between tries"},
	{"queue", "expire", SCHEMA_TIME, false, "5d", 1, 30 * DAY, NULL, "age at which a message is given up and bounced"},
	{"queue", "connections", SCHEMA_NUMBER, false, "20", 1, 10000, NULL, "outbound connections to one next hop"},
	{"queue", "messages_per_connection", SCHEMA_NUMBER, false, "1000", 1, 1000000, NULL, "messages sent on one outbound connection"},
	{"queue", "bounce", SCHEMA_BOOL, false, "true", 0, 0, NULL, "send a report (RFC 3464) to the sender of mail that cannot be delivered"},

	{"tcp", "mss", SCHEMA_NUMBER, false, "0", 0, 9176, NULL, "largest segment to ask for; 0: by the MTU"},
	{"tcp", "window", SCHEMA_BYTES, false, "256K", 4096, GIB, NULL, "most unread bytes a connection may hold"},
	{"tcp", "ecn", SCHEMA_CHOICE, false, "accept", 0, 0, "off|accept|offer", "congestion marks of routers (RFC 3168): accept: where the peer offers them; offer: also in our own connections"},
	{"tcp", "pacing", SCHEMA_BOOL, false, "true", 0, 0, NULL, "spread what the window allows over the round trip instead of sending it in bursts"},

	{"tcp", "syn_backlog", SCHEMA_NUMBER, false, "4096", 16, 1048576, NULL, "half-open connections of a worker, 128 bytes each"},
	{"tcp", "syn_cookies", SCHEMA_BOOL, false, "true", 0, 0, NULL, "past three quarters of syn_backlog, answer SYNs without keeping anything"},
	{"tcp", "syn_network_rate", SCHEMA_NUMBER, false, "1000", 0, 10000000, NULL, "SYNs a second of one /24 or /56 that a worker answers in a flood; 0: all"},

	{"control", "socket", SCHEMA_TEXT, false, "/run/veredus.sock", 0, 0, NULL, "Unix socket of veredusctl (mode 0660)"},
};
const size_t schema_n = ARRAY_LEN(schema_rows);

const struct schema_row *schema_find(const char *name)
{
	const char *dot = strchr(name, '.');
	size_t sec = dot != NULL ? (size_t)(dot - name) : 0;
	const char *key = dot != NULL ? dot + 1 : name;
	for (size_t i = 0; i < schema_n; i++) {
		const struct schema_row *r = &schema_rows[i];
		if (strlen(r->section) == sec && strncmp(r->section, name, sec) == 0 && strcmp(r->key, key) == 0)
			return r;
	}
	return NULL;
}

const char *schema_type_name(enum schema_type t)
{
	static const char *const names[] = {
		[SCHEMA_TEXT] = "text", [SCHEMA_NUMBER] = "number",
		[SCHEMA_BYTES] = "bytes (K, M, G, T)", [SCHEMA_TIME] = "time (s, m, h, d)",
		[SCHEMA_BOOL] = "true or false", [SCHEMA_CHOICE] = "word", [SCHEMA_NUMBERS] = "list of numbers",
		[SCHEMA_PREFIX] = "list of addresses or networks", [SCHEMA_ADDRESS] = "addresses",
		[SCHEMA_HOSTPORT] = "address:port",
	};
	return names[t];
}

struct unit {
	char letter;
	uint64_t factor;
};

static bool number_with_unit(struct span s, const struct unit *units, size_t n, uint64_t *out)
{
	uint64_t factor = 1;
	if (s.len > 0) {
		for (size_t i = 0; i < n; i++) {
			if (ascii_lower(s.p[s.len - 1]) == units[i].letter) {
				factor = units[i].factor;
				s.len--;
				break;
			}
		}
	}
	uint64_t v;
	if (!span_u64(s, UINT64_MAX / factor, &v))
		return false;
	*out = v * factor;
	return true;
}

static bool value_number(const struct schema_row *row, const char *text, uint64_t *number, char *why,
			 size_t why_size)
{
	static const struct unit bytes[] = {{'k', KIB}, {'m', MIB}, {'g', GIB}, {'t', 1024 * GIB}};
	static const struct unit times[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', DAY}};
	struct span s = span_str(text);
	bool ok = row->type == SCHEMA_BYTES  ? number_with_unit(s, bytes, ARRAY_LEN(bytes), number)
		  : row->type == SCHEMA_TIME ? number_with_unit(s, times, ARRAY_LEN(times), number)
					     : span_u64(s, UINT64_MAX, number);
	if (!ok) {
		(void)snprintf(why, why_size, "expected %s", schema_type_name(row->type));
		return false;
	}
	if (*number < row->min || *number > row->max) {
		(void)snprintf(why, why_size, "must be from %" PRIu64 " to %" PRIu64, row->min, row->max);
		return false;
	}
	return true;
}

static bool value_bool(const char *text, uint64_t *number)
{
	static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (strcmp(text, words[i]) == 0) {
			*number = i & 1;
			return true;
		}
	}
	return false;
}

/* *number: the index of the word. */
static bool value_choice(const char *choices, const char *text, uint64_t *number)
{
	size_t len = strlen(text), i = 0;
	for (const char *p = choices; *p != '\0'; i++) {
		size_t word = strcspn(p, "|");
		if (word == len && memcmp(p, text, len) == 0) {
			*number = i;
			return true;
		}
		p += word + (p[word] == '|');
	}
	return false;
}

static bool expected(char *why, size_t why_size, const char *what)
{
	(void)snprintf(why, why_size, "expected %s", what);
	return false;
}

bool schema_value(const struct schema_row *row, const char *text, uint64_t *number, char *why, size_t why_size)
{
	struct ip_prefix prefix;
	struct ip_addr addr;
	uint16_t port;
	*number = 0;
	switch (row->type) {
	case SCHEMA_NUMBER:
	case SCHEMA_NUMBERS:
	case SCHEMA_BYTES:
	case SCHEMA_TIME:
		return value_number(row, text, number, why, why_size);
	case SCHEMA_BOOL:
		return value_bool(text, number) || expected(why, why_size, "true or false");
	case SCHEMA_CHOICE:
		return value_choice(row->choices, text, number) || expected(why, why_size, row->choices);
	case SCHEMA_PREFIX:
		return ip_prefix_parse(span_str(text), &prefix) ||
		       expected(why, why_size, "an address or network like 198.18.0.0/24");
	case SCHEMA_ADDRESS:
		return ip_parse(span_str(text), &addr) || expected(why, why_size, "an IP address");
	case SCHEMA_HOSTPORT:
		return (ip_port_parse(span_str(text), &addr, &port) && port != 0) ||
		       expected(why, why_size, "an address and port like 198.18.0.1:25 or [fd00::1]:25");
	case SCHEMA_TEXT:
		return text[0] != '\0' || expected(why, why_size, "some text");
	}
	return false;
}
