/*
 * main.c: the veredus process. The main thread is the control thread: it reads the configuration, starts
 * the data plane, serves the operator's socket, loads certificates anew on SIGHUP, and takes everything down again on
 * SIGTERM or SIGINT.
 * Stays in the foreground and logs to stderr.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "conf_file.h"
#include "control.h"
#include "ctl_socket.h"
#include "ctl_verbs.h"
#include "log.h"

#define TICK_MS  100
#define GRACE_MS 2000 /* for sessions to take their goodbye; the whole stop is under 5 s */

static int usage(FILE *to, int status)
{
	(void)fprintf(to, "usage: veredus -c FILE        run in the foreground, log to stderr\n"
			  "       veredus -c FILE -t     check the configuration and exit\n");
	return status;
}

static void say_serving(const struct conf *c)
{
	static const char *const names[] = {[CONF_SMTP] = "smtp", [CONF_SUBMISSION] = "submission",
					    [CONF_POP3] = "pop3", [CONF_IMAP] = "imap",
					    [CONF_HTTP] = "http"};
	char text[512] = "";
	size_t n = 0;
	for (unsigned i = 0; i < c->n_listen && n < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, " %s:%u", names[c->listen[i].protocol],
				      c->listen[i].port);
	char addr[IP_STR_MAX];
	log_info("%s serves%s on %s with %u worker%s; store %s", c->hostname, text,
		 ip_format(&c->port[0].addr[0].addr, addr), c->n_workers, c->n_workers == 1 ? "" : "s",
		 c->store_path);
}

static void reload_certificates(struct veredus *v)
{
	char why[700];
	if (veredus_tls_reload(v, why, sizeof(why)) == ERR_OK)
		log_info("certificates loaded anew");
	else
		log_error("certificates stay as they were: %s", why);
}

/* Until a signal ends it. 0: asked to stop; 1: the data plane failed. */
static int serve(struct ctl *ctl, int signals, int sock)
{
	struct pollfd p[] = {{.fd = signals, .events = POLLIN}, {.fd = sock, .events = POLLIN}};
	for (;;) {
		int n = poll(p, 2, TICK_MS);
		if (n < 0 && errno != EINTR)
			return 1;
		(void)veredus_tick(ctl->v);
		if (n <= 0)
			continue;
		if (p[1].revents != 0)
			ctl_serve(sock, ctl_verb, ctl);
		if (p[0].revents != 0) {
			struct signalfd_siginfo si;
			if (read(signals, &si, sizeof(si)) != (ssize_t)sizeof(si))
				continue;
			if (si.ssi_signo == SIGHUP) {
				reload_certificates(ctl->v);
			} else {
				log_info("%s: stopping", strsignal((int)si.ssi_signo));
				return 0;
			}
		}
	}
}

static int run(const struct conf *c)
{
	char why[512];
	sigset_t set;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	/* Blocked before any thread exists, so that all of them inherit it. */
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	int signals = signalfd(-1, &set, SFD_CLOEXEC);
	int sock = ctl_listen(c->socket, why, sizeof(why));
	if (signals < 0 || sock < 0) {
		log_error("%s", sock < 0 ? why : strerror(errno));
		return 1;
	}
	struct ctl ctl = {.conf = c};
	int status = 1;
	if (veredus_start(&ctl.v, c, why, sizeof(why)) == ERR_OK) {
		say_serving(c);
		status = serve(&ctl, signals, sock);
		veredus_stop(&ctl.v, GRACE_MS);
		log_info("stopped");
	} else {
		log_error("%s", why);
	}
	ctl_unlisten(sock, c->socket);
	(void)close(signals);
	return status;
}

int main(int argc, char **argv)
{
	const char *file = NULL;
	bool check = false;
	int o;
	while ((o = getopt(argc, argv, "c:th")) != -1) {
		switch (o) {
		case 'c':
			file = optarg;
			break;
		case 't':
			check = true;
			break;
		case 'h':
			return usage(stdout, 0);
		default:
			return usage(stderr, 2);
		}
	}
	if (file == NULL || optind != argc)
		return usage(stderr, 2);
	char why[512];
	struct conf *c;
	if (conf_read(file, &c, why, sizeof(why)) != ERR_OK) {
		(void)fprintf(stderr, "veredus: %s\n", why);
		return 2;
	}
	int status = 0;
	if (check) {
		(void)printf("%s: ok\n", file);
	} else {
		log_set_level((enum log_level)c->log_level);
		status = run(c);
	}
	conf_destroy(&c);
	return status;
}
