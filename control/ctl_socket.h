/*
 * ctl_socket.h: the operator's Unix socket, both ends. One request and one reply a connection, each one
 * JSON object on one line.
 * Request:  {"verb": "mailbox add", ...arguments}
 * Reply:    {"ok": true, ...} or {"ok": false, "error": "EXISTS", "text": "mailbox exists already"}
 */
#ifndef VEREDUS_CTL_SOCKET_H
#define VEREDUS_CTL_SOCKET_H

#include <jansson.h>
#include <stddef.h>
#include "err.h"

#define CTL_LINE_MAX (64 * 1024 * 1024) /* of a reply; a request is at most 64 KiB */

/* Listening socket, mode 0660; replaces the socket of a process that is gone, refuses one that lives.
 * -1: *why says what is wrong. */
int ctl_listen(const char *path, char *why, size_t why_size);
void ctl_unlisten(int fd, const char *path);
/* Takes one connection, runs verb(arg, request) and sends what it returns (taken). A peer that is slow
 * (2 s) or sends nonsense is cut with a reply that says so. */
void ctl_serve(int fd, json_t *(*verb)(void *arg, const json_t *request), void *arg);
/* The client's side: NULL: *why. */
json_t *ctl_request(const char *path, const json_t *request, char *why, size_t why_size);

json_t *ctl_error(enum err e, const char *text);

#endif
