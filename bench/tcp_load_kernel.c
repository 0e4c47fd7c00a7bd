/* tcp_load_kernel.c: tcp-load-kernel: one end of bench/tcp over the kernel's sockets, spinning (tcp_load.h). */
#include "tcp_load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BULK (256 * 1024)

struct end {
	struct tl_options o;
	int ep;
	unsigned open, next_port;
	uint64_t asked_ns;
	struct tl_result r;
};

static char buf[BULK];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void watch(struct end *e, int fd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.fd = fd};
	if (epoll_ctl(e->ep, EPOLL_CTL_ADD, fd, &ev) != 0)
		fail("epoll_ctl");
}

static void no_delay(int fd)
{
	int one = 1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static struct sockaddr_in address(const char *text, unsigned port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	if (text != NULL && inet_pton(AF_INET, text, &a.sin_addr) != 1)
		fail("address");
	return a;
}

/* ---- the server ---- */

static void listen_on(struct end *e, unsigned port)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_in a = address(NULL, port);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 4096) != 0)
		fail("listen");
	watch(e, fd, EPOLLIN);
}

/* Is it a listener? Those have the lowest numbers. */
static bool is_listener(const struct end *e, int fd)
{
	return fd > e->ep && fd <= e->ep + TL_PORTS;
}

static void accept_all(struct end *e, int listener)
{
	int fd;
	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		no_delay(fd);
		watch(e, fd, EPOLLIN);
	}
}

static void serve(struct end *e, int fd)
{
	ssize_t n = recv(fd, buf, sizeof(buf), 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		(void)close(fd);
		return;
	}
	if (e->o.work == TL_BULK)
		return;
	(void)send(fd, buf, (size_t)n, MSG_NOSIGNAL);
	if (e->o.work == TL_CLOSE)
		(void)close(fd);
}

static void run_server(struct end *e)
{
	struct epoll_event ev[256];
	for (unsigned i = 0; i < TL_PORTS; i++)
		listen_on(e, TL_PORT + i);
	(void)printf("ready\n");
	(void)fflush(stdout);
	while (!tl_stopped()) {
		int n = epoll_wait(e->ep, ev, 256, 0);
		for (int i = 0; i < n; i++) {
			if (is_listener(e, ev[i].data.fd))
				accept_all(e, ev[i].data.fd);
			else
				serve(e, ev[i].data.fd);
		}
	}
}

/* ---- the client ---- */

static void open_one(struct end *e)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_in a = address(e->o.peer, TL_PORT + e->next_port++ % TL_PORTS);
	if (fd < 0)
		fail("socket");
	no_delay(fd);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0 && errno != EINPROGRESS) {
		(void)close(fd); /* no port just now */
		e->r.failed++;
		return;
	}
	watch(e, fd, EPOLLIN | EPOLLOUT | EPOLLET);
	e->open++;
}

static void ask(struct end *e, int fd)
{
	if (e->o.conns == 1)
		e->asked_ns = tl_now_ns();
	(void)send(fd, buf, TL_SIZE, MSG_NOSIGNAL);
}

static void answer(struct end *e, int fd)
{
	for (;;) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			if (n == 0 && e->o.work == TL_CLOSE)
				e->r.done++;
			else
				e->r.failed++;
			(void)close(fd);
			e->open--;
			return;
		}
		if (e->o.work != TL_ECHO)
			continue;
		e->r.done++;
		if (e->o.conns == 1)
			tl_latency(&e->r, tl_now_ns() - e->asked_ns);
		ask(e, fd);
	}
}

/* Every connection asks once when it stands; the socket's edge says so. */
static void client(struct end *e, const struct epoll_event *ev, bool *asked)
{
	int fd = ev->data.fd;
	if (e->o.work == TL_BULK) {
		ssize_t n;
		while ((n = send(fd, buf, sizeof(buf), MSG_NOSIGNAL | MSG_DONTWAIT)) > 0)
			e->r.done += (uint64_t)n;
		return;
	}
	if ((ev->events & EPOLLOUT) && !asked[fd]) {
		asked[fd] = true;
		ask(e, fd);
	}
	if (ev->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		unsigned before = e->open;
		answer(e, fd);
		if (e->open < before)
			asked[fd] = false;
	}
}

static void run_client(struct end *e)
{
	static bool asked[TL_CONNS_MAX * 4];
	struct epoll_event ev[256];
	uint64_t begin = tl_now_ns(), from = 0, warm = (uint64_t)(e->o.warm * 1e9), until = (uint64_t)(e->o.seconds * 1e9);
	bool measuring = false;
	while (!tl_stopped()) {
		for (unsigned i = 0; e->open < e->o.conns && i < 64; i++)
			open_one(e);
		int n = epoll_wait(e->ep, ev, 256, 0);
		for (int i = 0; i < n; i++)
			client(e, &ev[i], asked);
		uint64_t now = tl_now_ns();
		if (!measuring) {
			if (e->r.done == 0 && now - begin > 20000000000u) {
				(void)fprintf(stderr, "tcp-load-kernel: no connection to the peer\n");
				exit(1);
			}
			if (from == 0 && e->r.done > 0)
				from = now;
			if (from != 0 && now - from >= warm) {
				memset(&e->r, 0, sizeof(e->r));
				measuring = true;
				from = now;
			}
		} else if (now - from >= until) {
			e->r.seconds = (double)(now - from) / 1e9;
			tl_print(&e->o, &e->r);
			return;
		}
	}
}

int main(int argc, char **argv)
{
	static struct end e;
	cpu_set_t set;
	e.o = tl_options_read(argc, argv);
	CPU_ZERO(&set);
	CPU_SET(e.o.cpu, &set);
	(void)sched_setaffinity(0, sizeof(set), &set); /* where there is no such CPU it runs where it may */
	e.ep = epoll_create1(0);
	if (e.ep < 0)
		fail("epoll_create1");
	if (e.o.server)
		run_server(&e);
	else
		run_client(&e);
	return 0;
}
