/* tcp_load.c: options, latencies and the printed result of both ends (tcp_load.h). */
#include "tcp_load.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char usage_text[] =
	"usage: tcp-load-stack|tcp-load-kernel --work echo|close|bulk [options]\n"
	"  --server              serve until SIGTERM\n"
	"  --peer ADDRESS        client: the server\n"
	"  --connections N       client (1)\n"
	"  --seconds S           client: measured time (1)\n"
	"  --warm S              client: before that (0.2)\n"
	"  --cpu N               run there (0)\n"
	"  --device STRING       stack: the DPDK device\n"
	"  --counters            stack: print counters that are not 0 at the end\n"
	"  --address ADDR/LEN    stack: own address\n";

static volatile sig_atomic_t stopped;

static void on_signal(int signo)
{
	stopped = signo;
}

bool tl_stopped(void)
{
	return stopped != 0;
}

_Noreturn static void usage(void)
{
	(void)fputs(usage_text, stderr);
	exit(2);
}

static double number(const char *text, double min, double max)
{
	char *end;
	double v = strtod(text, &end);
	if (end == text || *end != '\0' || !(v >= min && v <= max))
		usage();
	return v;
}

struct tl_options tl_options_read(int argc, char **argv)
{
	static const struct option options[] = {
		{"work", required_argument, NULL, 'w'},    {"server", no_argument, NULL, 's'},
		{"counters", no_argument, NULL, 'n'},
		{"peer", required_argument, NULL, 'p'},    {"connections", required_argument, NULL, 'c'},
		{"seconds", required_argument, NULL, 't'}, {"warm", required_argument, NULL, 'W'},
		{"cpu", required_argument, NULL, 'C'},     {"device", required_argument, NULL, 'd'},
		{"address", required_argument, NULL, 'a'}, {NULL, 0, NULL, 0},
	};
	static const char *const works[] = {"echo", "close", "bulk"};
	struct tl_options o = {.conns = 1, .seconds = 1, .warm = 0.2};
	bool work = false;
	int c;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'w':
			for (unsigned i = 0; i < 3; i++) {
				if (strcmp(optarg, works[i]) == 0) {
					o.work = (enum tl_work)i;
					work = true;
				}
			}
			break;
		case 's': o.server = true; break;
		case 'n': o.counters = true; break;
		case 'p': o.peer = optarg; break;
		case 'c': o.conns = (unsigned)number(optarg, 1, TL_CONNS_MAX); break;
		case 't': o.seconds = number(optarg, 0.01, 3600); break;
		case 'W': o.warm = number(optarg, 0, 60); break;
		case 'C': o.cpu = (unsigned)number(optarg, 0, 1023); break;
		case 'd': o.device = optarg; break;
		case 'a': o.address = optarg; break;
		default: usage();
		}
	}
	if (optind != argc || !work || o.server == (o.peer != NULL))
		usage();
	(void)signal(SIGTERM, on_signal);
	(void)signal(SIGINT, on_signal);
	return o;
}

uint64_t tl_now_ns(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void tl_latency(struct tl_result *r, uint64_t ns)
{
	uint64_t i = ns / 100;
	uint64_t top = sizeof(r->latency) / sizeof(r->latency[0]) - 1;
	r->latency[i < top ? i : top]++;
	r->n_latency++;
}

static double quantile(const struct tl_result *r, double q)
{
	uint64_t want = (uint64_t)(q * (double)r->n_latency), seen = 0;
	size_t i = 0;
	while (i + 1 < sizeof(r->latency) / sizeof(r->latency[0]) && (seen += r->latency[i]) <= want)
		i++;
	return (double)i / 10;
}

void tl_print(const struct tl_options *o, const struct tl_result *r)
{
	(void)printf("{\"rate\": %.1f, \"done\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"seconds\": %.3f", (double)r->done / r->seconds,
		     r->done, r->failed, r->seconds);
	(void)printf(", \"retransmits\": %" PRIu64 ", \"timeouts\": %" PRIu64 ", \"dropped\": %" PRIu64, r->retransmits, r->timeouts,
		     r->dropped);
	if (r->n_latency > 0)
		(void)printf(", \"p50_us\": %.1f, \"p99_us\": %.1f", quantile(r, 0.5), quantile(r, 0.99));
	(void)printf("}\n");
}
