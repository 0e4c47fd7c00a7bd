/*
 * ctl_socket.c: bytes of the operator's socket. Requests run on the control thread one after the other;
 * every read and write has a deadline, so a stuck client delays others by at most that.
 */
#include "ctl_socket.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "log.h"

#define REQUEST_MAX (64 * 1024)
#define SERVE_US    (2 * 1000000ull)
#define CLIENT_US   (60 * 1000000ull)

static bool address_of(const char *path, struct sockaddr_un *sa)
{
	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(sa->sun_path))
		return false;
	memcpy(sa->sun_path, path, strlen(path) + 1);
	return true;
}

int ctl_listen(const char *path, char *why, size_t why_size)
{
	struct sockaddr_un sa;
	if (!address_of(path, &sa)) {
		(void)snprintf(why, why_size, "socket path %s is too long", path);
		return -1;
	}
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		(void)snprintf(why, why_size, "socket: %s", strerror(errno));
		return -1;
	}
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0) {
		(void)snprintf(why, why_size, "%s: another veredus listens there", path);
		(void)close(fd);
		return -1;
	}
	if (errno == ECONNREFUSED)
		(void)unlink(path);
	mode_t old = umask(0117);
	int r = bind(fd, (struct sockaddr *)&sa, sizeof(sa));
	(void)umask(old);
	if (r != 0 || listen(fd, 16) != 0) {
		(void)snprintf(why, why_size, "%s: %s", path, strerror(errno));
		(void)close(fd);
		return -1;
	}
	return fd;
}

void ctl_unlisten(int fd, const char *path)
{
	(void)unlink(path);
	(void)close(fd);
}

/* Waits for the event until the deadline; false when it passed. */
static bool wait_for(int fd, short events, uint64_t until)
{
	uint64_t now = clock_us();
	if (now >= until)
		return false;
	struct pollfd p = {.fd = fd, .events = events};
	return poll(&p, 1, (int)((until - now) / 1000) + 1) > 0;
}

/* One line without its LF. TOO_LONG, TIMEOUT, CLOSED, IO. */
static enum err read_line(int fd, struct buf *b, size_t max, uint64_t until)
{
	for (;;) {
		if (!wait_for(fd, POLLIN, until))
			return ERR_TIMEOUT;
		uint8_t *p = buf_reserve(b, 16384);
		ssize_t n = recv(fd, p, 16384, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return ERR_IO;
		if (n == 0)
			return ERR_CLOSED;
		b->len += (size_t)n;
		if (b->p[b->len - 1] == '\n') {
			b->len--;
			return ERR_OK;
		}
		if (b->len > max)
			return ERR_TOO_LONG;
	}
}

static bool write_line(int fd, const json_t *j, uint64_t until)
{
	char *text = json_dumps(j, JSON_COMPACT);
	if (text == NULL)
		return false;
	size_t len = strlen(text), off = 0;
	text[len++] = '\n';
	while (off < len) {
		if (!wait_for(fd, POLLOUT, until))
			break;
		ssize_t n = send(fd, text + off, len - off, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			break;
		if (n > 0)
			off += (size_t)n;
	}
	free(text);
	return off == len;
}

json_t *ctl_error(enum err e, const char *text)
{
	return json_pack("{s:b, s:s, s:s}", "ok", 0, "error", err_name(e), "text",
			 text != NULL ? text : err_text(e));
}

void ctl_serve(int fd, json_t *(*verb)(void *arg, const json_t *request), void *arg)
{
	int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	if (c < 0)
		return;
	struct buf b;
	buf_init(&b);
	enum err e = read_line(c, &b, REQUEST_MAX, clock_us() + SERVE_US);
	json_t *reply = NULL;
	if (e == ERR_OK) {
		json_error_t je;
		json_t *request = json_loadb((const char *)b.p, b.len, JSON_REJECT_DUPLICATES, &je);
		if (json_is_object(request))
			reply = verb(arg, request);
		else
			reply = ctl_error(ERR_SYNTAX, "the request is no JSON object");
		json_decref(request);
	} else if (e != ERR_CLOSED) {
		reply = ctl_error(e, NULL);
	}
	if (reply != NULL && !write_line(c, reply, clock_us() + SERVE_US))
		log_warn("control: a client did not take its reply");
	json_decref(reply);
	explicit_bzero(b.p, b.p != NULL ? b.cap : 0); /* it may have held a password */
	buf_fini(&b);
	(void)close(c);
}

json_t *ctl_request(const char *path, const json_t *request, char *why, size_t why_size)
{
	struct sockaddr_un sa;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || !address_of(path, &sa) || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
		(void)snprintf(why, why_size, "cannot reach veredus at %s: %s", path, strerror(errno));
		if (fd >= 0)
			(void)close(fd);
		return NULL;
	}
	struct buf b;
	buf_init(&b);
	json_t *reply = NULL;
	uint64_t until = clock_us() + CLIENT_US;
	enum err e = write_line(fd, request, until) ? read_line(fd, &b, CTL_LINE_MAX, until) : ERR_IO;
	if (e == ERR_OK) {
		json_error_t je;
		reply = json_loadb((const char *)b.p, b.len, 0, &je);
	}
	if (reply == NULL)
		(void)snprintf(why, why_size, "no answer from veredus at %s: %s", path, err_text(e));
	buf_fini(&b);
	(void)close(fd);
	return reply;
}
