/*
 * smtp_accept.c: smtp-accept, the load generator's command line: how fast does an SMTP server accept mail, and how
 * long does a client wait for its 250? Works against any SMTP server. See loadgen.h for the parts.
 */
#include "loadgen.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char usage_text[] =
	"usage: smtp-accept [options]\n"
	"  --host ADDRESS         server (numeric; 198.18.0.2)\n"
	"  --port PORT            (25)\n"
	"  --connections N        at the same time (1)\n"
	"  --per-connection N     messages on a connection before QUIT; 0: all (0)\n"
	"  --messages N           all told; 0: until the time is over (1000)\n"
	"  --seconds N            hard end of the run (60)\n"
	"  --size BYTES           of a message, header included (4096)\n"
	"  --body-file FILE       send this body (lines end in LF or CRLF) instead of a made one\n"
	"  --recipients N         a message (1)\n"
	"  --from PATTERN         '%' becomes the message's number (load@example.org)\n"
	"  --to PATTERN           '%' becomes the recipient's number (alice@example.net)\n"
	"  --helo NAME            (load.example.org)\n"
	"  --no-pipelining        a command a round trip, even if the server offers PIPELINING\n"
	"  --verify-ledger FILE   append the X-Ledger-Id of every acknowledged message\n"
	"  --run-id TEXT          first part of every X-Ledger-Id (made from time and pid)\n"
	"  --stop-when-refused    end when the server takes no connection (for crash tests)\n"
	"  --stack DEVICE         over our own TCP on this DPDK device instead of the kernel's sockets\n"
	"  --address ADDR/LEN     own address with --stack (198.18.0.1/24)\n"
	"  --json                 print one JSON object\n";

enum opt {
	OPT_HOST = 256, OPT_PORT, OPT_CONNECTIONS, OPT_PER_CONNECTION, OPT_MESSAGES, OPT_SECONDS, OPT_SIZE,
	OPT_BODY_FILE, OPT_RECIPIENTS, OPT_FROM, OPT_TO, OPT_HELO, OPT_NO_PIPELINING, OPT_LEDGER, OPT_RUN_ID,
	OPT_STOP, OPT_STACK, OPT_ADDRESS, OPT_JSON, OPT_HELP
};

static const struct option long_options[] = {
	{"host", required_argument, NULL, OPT_HOST},
	{"port", required_argument, NULL, OPT_PORT},
	{"connections", required_argument, NULL, OPT_CONNECTIONS},
	{"per-connection", required_argument, NULL, OPT_PER_CONNECTION},
	{"messages", required_argument, NULL, OPT_MESSAGES},
	{"seconds", required_argument, NULL, OPT_SECONDS},
	{"size", required_argument, NULL, OPT_SIZE},
	{"body-file", required_argument, NULL, OPT_BODY_FILE},
	{"recipients", required_argument, NULL, OPT_RECIPIENTS},
	{"from", required_argument, NULL, OPT_FROM},
	{"to", required_argument, NULL, OPT_TO},
	{"helo", required_argument, NULL, OPT_HELO},
	{"no-pipelining", no_argument, NULL, OPT_NO_PIPELINING},
	{"verify-ledger", required_argument, NULL, OPT_LEDGER},
	{"run-id", required_argument, NULL, OPT_RUN_ID},
	{"stop-when-refused", no_argument, NULL, OPT_STOP},
	{"stack", required_argument, NULL, OPT_STACK},
	{"address", required_argument, NULL, OPT_ADDRESS},
	{"json", no_argument, NULL, OPT_JSON},
	{"help", no_argument, NULL, OPT_HELP},
	{NULL, 0, NULL, 0},
};

static uint64_t number(const char *text, uint64_t min, uint64_t max)
{
	char *end;
	unsigned long long v = strtoull(text, &end, 10);

	if (*end || end == text || v < min || v > max) {
		fprintf(stderr, "smtp-accept: %s is not a number from %" PRIu64 " to %" PRIu64 "\n", text, min, max);
		exit(2);
	}
	return v;
}

/* A growing buffer that the body is put together in. */
struct text {
	char *p;
	size_t len, cap;
};

static void text_put(struct text *t, const char *p, size_t len)
{
	if (t->len + len > t->cap) {
		t->cap = (t->len + len) * 2;
		t->p = realloc(t->p, t->cap);
		if (!t->p) {
			perror("realloc");
			exit(1);
		}
	}
	memcpy(t->p + t->len, p, len);
	t->len += len;
}

/* A body of exactly len bytes: lines of 76 characters and CRLF, the last one shorter. */
static void make_body(struct text *t, size_t len)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t x = 1;

	while (len) {
		size_t n = len < 78 ? len : 78;
		char line[80];

		if (len - n == 1)
			n--; /* what is left must hold a CRLF */
		for (size_t i = 0; i + 2 < n; i++) {
			x = x * 1664525u + 1013904223u;
			line[i] = alphabet[x >> 26];
		}
		if (n >= 2)
			memcpy(line + n - 2, "\r\n", 2);
		else
			line[0] = 'x';
		text_put(t, line, n);
		len -= n;
	}
	if (t->len < 2 || memcmp(t->p + t->len - 2, "\r\n", 2))
		text_put(t, "\r\n", 2);
}

/* The file as SMTP sends it: CRLF line ends, leading dots doubled. Returns how many dots were added. */
static size_t read_body(struct text *t, const char *path)
{
	FILE *f = fopen(path, "rb");
	char *line = NULL;
	size_t cap = 0, dots = 0;
	ssize_t len;

	if (!f) {
		perror(path);
		exit(1);
	}
	while ((len = getline(&line, &cap, f)) > 0) {
		while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
			len--;
		if (len && line[0] == '.') {
			text_put(t, ".", 1);
			dots++;
		}
		text_put(t, line, (size_t)len);
		text_put(t, "\r\n", 2);
	}
	free(line);
	fclose(f);
	return dots;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t quantile(const struct lg_result *r, double q)
{
	return r->n_latency ? r->latency_us[(size_t)(q * (double)(r->n_latency - 1) + 0.5)] : 0;
}

static void print_result(const struct lg_result *r, bool json)
{
	double s = (double)r->wall_ns / 1e9;
	double rate = s > 0 ? (double)r->sent / s : 0;
	double cpu_us = r->sent ? (double)r->cpu_ns / 1e3 / (double)r->sent : 0;
	const char *sep = "";

	if (r->n_latency)
		qsort(r->latency_us, r->n_latency, sizeof(*r->latency_us), by_value);
	if (!json) {
		printf("%" PRIu64 " messages acknowledged in %.3f s: %.0f messages/s\n", r->sent, s, rate);
		printf("latency us: p50 %u  p90 %u  p99 %u  max %u\n", quantile(r, 0.5), quantile(r, 0.9),
		       quantile(r, 0.99), quantile(r, 1));
		printf("connections: %" PRIu64 " opened, %" PRIu64 " failed, %" PRIu64 " lost, %" PRIu64 " timed out\n",
		       r->connects, r->connect_failed, r->resets, r->timeouts);
		printf("messages failed: %" PRIu64 "; generator's own CPU: %.1f us a message\n", r->failed, cpu_us);
		for (int i = 0; i < 1000; i++) {
			if (r->replies[i])
				printf("reply %d: %" PRIu64 "\n", i, r->replies[i]);
		}
		return;
	}
	printf("{\"sent\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"seconds\": %.6f, \"rate\": %.1f, "
	       "\"p50_us\": %u, \"p90_us\": %u, \"p99_us\": %u, \"max_us\": %u, \"connects\": %" PRIu64
	       ", \"connect_failed\": %" PRIu64 ", \"resets\": %" PRIu64 ", \"timeouts\": %" PRIu64
	       ", \"client_cpu_us\": %.2f, \"replies\": {",
	       r->sent, r->failed, s, rate, quantile(r, 0.5), quantile(r, 0.9), quantile(r, 0.99), quantile(r, 1),
	       r->connects, r->connect_failed, r->resets, r->timeouts, cpu_us);
	for (int i = 0; i < 1000; i++) {
		if (r->replies[i]) {
			printf("%s\"%d\": %" PRIu64, sep, i, r->replies[i]);
			sep = ", ";
		}
	}
	printf("}}\n");
}

int main(int argc, char **argv)
{
	struct lg_options o = {
		.host = "198.18.0.2", .port = "25", .helo = "load.example.org", .from = "load@example.org",
		.to = "alice@example.net", .connections = 1, .messages = 1000, .recipients = 1, .seconds = 60,
		.pipelining = true,
	};
	static struct lg_result r;
	const char *body_file = NULL, *ledger = NULL, *stack = NULL, *address = "198.18.0.1/24";
	char run_id[64], header[LG_HEADER_MAX];
	struct text body = {0};
	uint64_t size = 4096;
	size_t header_len, dots = 0;
	bool json = false;
	int c;

	snprintf(run_id, sizeof(run_id), "%llx-%x", (unsigned long long)time(NULL), (unsigned)getpid());
	o.run_id = run_id;
	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case OPT_HOST: o.host = optarg; break;
		case OPT_PORT: o.port = optarg; break;
		case OPT_CONNECTIONS: o.connections = (unsigned)number(optarg, 1, 60000); break;
		case OPT_PER_CONNECTION: o.per_connection = number(optarg, 0, UINT64_MAX); break;
		case OPT_MESSAGES: o.messages = number(optarg, 0, 9999999999u); break;
		case OPT_SECONDS: o.seconds = (unsigned)number(optarg, 1, 86400); break;
		case OPT_SIZE: size = number(optarg, 1, 1u << 30); break;
		case OPT_BODY_FILE: body_file = optarg; break;
		case OPT_RECIPIENTS: o.recipients = (unsigned)number(optarg, 1, 100000); break;
		case OPT_FROM: o.from = optarg; break;
		case OPT_TO: o.to = optarg; break;
		case OPT_HELO: o.helo = optarg; break;
		case OPT_NO_PIPELINING: o.pipelining = false; break;
		case OPT_LEDGER: ledger = optarg; break;
		case OPT_RUN_ID: o.run_id = optarg; break;
		case OPT_STOP: o.stop_when_refused = true; break;
		case OPT_STACK: stack = optarg; break;
		case OPT_ADDRESS: address = optarg; break;
		case OPT_JSON: json = true; break;
		case OPT_HELP: fputs(usage_text, stdout); return 0;
		default: fputs(usage_text, stderr); return 2;
		}
	}
	if (optind != argc || strlen(o.run_id) > 80 || strlen(o.helo) > 255) {
		fputs(usage_text, stderr);
		return 2;
	}
	header_len = lg_header(&o, 0, header, sizeof(header));
	if (body_file)
		dots = read_body(&body, body_file);
	else
		make_body(&body, size > header_len + 2 ? size - header_len : 2);
	o.body = body.p;
	o.body_len = body.len;
	o.size = header_len + body.len - dots;
	if (ledger && !(o.ledger = fopen(ledger, "a"))) {
		perror(ledger);
		return 1;
	}
	if (o.ledger)
		setvbuf(o.ledger, NULL, _IOLBF, 0); /* whole lines, also when this process is killed */
	if (stack)
		lg_stack_options(stack, address);
	if (!lg_run(&o, stack ? &lg_io_stack : &lg_io_kernel, &r))
		return 1;
	if (o.ledger && fclose(o.ledger)) {
		perror(ledger);
		return 1;
	}
	print_result(&r, json);
	free(body.p);
	free(r.latency_us);
	return r.sent ? 0 : 1;
}
