/*
 * worker_tls.c: the process's certificates: read at the start and at a reload, ticket keys made anew every hour. Control
 * thread. Workers read both by one pointer; what it pointed to before goes when no worker can be in the middle of using
 * it (RCU), certificates only when the last connection that began with them has ended.
 */
#include "worker_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "log.h"

#define WARN_S (14 * 86400ll)

/* Said, not refused: a sender of mail may not mind, a server that does not start helps nobody. */
static void warn_of_end(const struct tls_files *f)
{
	char why[700];
	struct tls_cert *c;
	if (tls_cert_read(&c, f, why, sizeof(why)) != ERR_OK)
		return;
	int64_t left = tls_cert_expires_s(c) - (int64_t)(clock_wall_us() / 1000000);
	if (left < 0)
		log_warn("%s: the certificate has ended %" PRId64 " days ago", f->certificate, -left / 86400);
	else if (left < WARN_S)
		log_warn("%s: the certificate ends in %" PRId64 " days", f->certificate, left / 86400);
	tls_cert_free(&c);
}

static enum err load(const struct conf *c, struct tls_server **out, char *why, size_t why_size)
{
	*out = NULL;
	if (c->n_cert == 0)
		return ERR_OK;
	struct tls_files *files = calloc(c->n_cert, sizeof(*files));
	CHECK(files != NULL);
	for (unsigned i = 0; i < c->n_cert; i++)
		files[i] = (struct tls_files){c->cert[i].certificate, c->cert[i].key, c->cert[i].n_name, c->cert[i].name};
	enum err e = tls_server_load(out, files, c->n_cert, why, why_size);
	for (unsigned i = 0; i < c->n_cert && e == ERR_OK; i++)
		warn_of_end(&files[i]);
	free(files);
	return e;
}

enum err worker_tls_start(struct veredus *v, char *why, size_t why_size)
{
	struct tls_server *server;
	enum err e = load(v->conf, &server, why, why_size);
	if (e != ERR_OK)
		return e;
	v->tls = tls_shared_create(server);
	v->tls_rotate_us = clock_us() + TLS_ROTATE_US;
	return ERR_OK;
}

void worker_tls_tick(struct veredus *v)
{
	uint64_t now = clock_us();
	if (now < v->tls_rotate_us)
		return;
	v->tls_rotate_us = now + TLS_ROTATE_US;
	rcu_defer(v->rcu, tls_keys_free, tls_shared_rotate(v->tls));
}

enum err veredus_tls_reload(struct veredus *v, char *why, size_t why_size)
{
	struct tls_server *server;
	if (v->conf->n_cert == 0) {
		(void)snprintf(why, why_size, "%s: no tls section", v->conf->file);
		return ERR_NOT_FOUND;
	}
	enum err e = load(v->conf, &server, why, why_size);
	if (e == ERR_OK)
		rcu_defer(v->rcu, tls_server_release, tls_shared_publish(v->tls, server));
	return e;
}
