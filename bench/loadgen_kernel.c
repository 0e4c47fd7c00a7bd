/*
 * loadgen_kernel.c: the load generator's transport over the kernel's TCP: non-blocking sockets and one
 * edge-triggered epoll. A socket is registered once, so a message costs no epoll_ctl.
 */
#include "loadgen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct kernel_io {
	int epfd;
	unsigned n_conns;
	struct sockaddr_storage peer;
	socklen_t peer_len;
	struct {
		int fd;
		bool open;
	} conn[];
};

static void *kernel_create(const char *host, const char *port, unsigned n_conns)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	struct addrinfo *ai;
	struct kernel_io *io;
	int e = getaddrinfo(host, port, &hints, &ai);

	if (e) {
		fprintf(stderr, "%s port %s: %s\n", host, port, gai_strerror(e));
		return NULL;
	}
	io = calloc(1, sizeof(*io) + n_conns * sizeof(io->conn[0]));
	if (!io) {
		freeaddrinfo(ai);
		return NULL;
	}
	io->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (io->epfd < 0) {
		perror("epoll_create1");
		freeaddrinfo(ai);
		free(io);
		return NULL;
	}
	memcpy(&io->peer, ai->ai_addr, ai->ai_addrlen);
	io->peer_len = ai->ai_addrlen;
	io->n_conns = n_conns;
	for (unsigned i = 0; i < n_conns; i++)
		io->conn[i].fd = -1;
	freeaddrinfo(ai);
	return io;
}

static void kernel_close(void *arg, unsigned conn)
{
	struct kernel_io *io = arg;

	if (io->conn[conn].fd >= 0)
		close(io->conn[conn].fd);
	io->conn[conn].fd = -1;
}

static void kernel_destroy(void *arg)
{
	struct kernel_io *io = arg;

	for (unsigned i = 0; i < io->n_conns; i++)
		kernel_close(io, i);
	close(io->epfd);
	free(io);
}

static bool kernel_open(void *arg, unsigned conn)
{
	struct kernel_io *io = arg;
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.u32 = conn};
	int fd = socket(io->peer.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0)
		return false;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	io->conn[conn].fd = fd;
	io->conn[conn].open = false;
	if ((connect(fd, (struct sockaddr *)&io->peer, io->peer_len) < 0 && errno != EINPROGRESS) ||
	    epoll_ctl(io->epfd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		kernel_close(io, conn);
		return false;
	}
	return true;
}

static ssize_t kernel_send(void *arg, unsigned conn, const struct iovec *iov, int n)
{
	struct kernel_io *io = arg;
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n};
	ssize_t len = sendmsg(io->conn[conn].fd, &msg, MSG_NOSIGNAL);

	if (len < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	return len;
}

static ssize_t kernel_recv(void *arg, unsigned conn, void *buf, size_t cap)
{
	struct kernel_io *io = arg;
	ssize_t len = recv(io->conn[conn].fd, buf, cap, 0);

	if (len < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	return len == 0 ? -1 : len;
}

static int kernel_poll(void *arg, struct lg_event *out, int n, int timeout_ms)
{
	struct kernel_io *io = arg;
	struct epoll_event ev[256];
	int n_out = 0;
	int got = epoll_wait(io->epfd, ev, n < 256 ? n : 256, timeout_ms);

	for (int i = 0; i < got; i++) {
		unsigned conn = ev[i].data.u32;
		unsigned bits = 0;

		if (io->conn[conn].fd < 0)
			continue;
		if (!io->conn[conn].open && !(ev[i].events & (EPOLLERR | EPOLLHUP))) {
			io->conn[conn].open = true;
			bits |= LG_OPEN;
		}
		if (ev[i].events & EPOLLIN)
			bits |= LG_READABLE;
		if (ev[i].events & EPOLLOUT)
			bits |= LG_WRITABLE;
		if (ev[i].events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP))
			bits |= LG_CLOSED;
		out[n_out++] = (struct lg_event){conn, bits};
	}
	return n_out;
}

const struct lg_io_ops lg_io_kernel = {
	.name = "kernel",
	.create = kernel_create,
	.destroy = kernel_destroy,
	.open = kernel_open,
	.close = kernel_close,
	.send = kernel_send,
	.recv = kernel_recv,
	.poll = kernel_poll,
};
