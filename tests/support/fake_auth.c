/*
 * fake_auth.c: directory.h for session tests: the same answers, passwords compared as they are, ready at
 * the next auth_poll. Users with a name that begins with "busy" find the helpers overloaded.
 */
#include <stdio.h>
#include <stdlib.h>
#include "directory.h"

#define IN_FLIGHT 16

struct auth_core {
	struct auth_op *op[IN_FLIGHT];
	unsigned n;
};

struct auth {
	struct auth_core core[4];
};

bool dir_is_local_domain(const struct conf *c, struct span domain)
{
	for (unsigned i = 0; i < c->n_domain; i++)
		if (c->domain[i].local && span_ieq(span_str(c->domain[i].name), domain))
			return true;
	return false;
}

bool dir_may_relay_from(const struct conf *c, const struct ip_addr *peer)
{
	for (unsigned i = 0; i < c->n_relay_from; i++)
		if (ip_in_prefix(peer, &c->relay_from[i]))
			return true;
	return false;
}

const struct conf_route *dir_route(const struct conf *c, struct span domain)
{
	for (unsigned i = 0; i < c->n_route; i++) {
		struct span p = span_str(c->route[i].pattern);
		if (span_eq(p, SPAN("*")) || span_ieq(p, domain))
			return &c->route[i];
	}
	return NULL;
}

static bool account(const struct store *s, struct span local, struct span domain, uint64_t *acct)
{
	struct store_account a;
	char name[512];
	int n = snprintf(name, sizeof(name), SPAN_FMT "@" SPAN_FMT, SPAN_ARG(local), SPAN_ARG(domain));
	if (n < 0 || (size_t)n >= sizeof(name) || !store_account_find(s, span_of(name, (size_t)n), &a))
		return false;
	*acct = a.id;
	return true;
}

enum dir_verdict dir_resolve(const struct conf *c, const struct store *s, const struct ip_addr *peer,
			     struct span local, struct span domain, struct queue_rcpt *out)
{
	bool configured = false;
	if (domain.len == 0)
		domain = span_str(c->domain[0].name);
	out->local = dir_is_local_domain(c, domain);
	if (out->local)
		return account(s, local, domain, &out->acct) ? DIR_LOCAL : DIR_UNKNOWN_USER;
	for (unsigned i = 0; i < c->n_domain; i++)
		configured |= span_ieq(span_str(c->domain[i].name), domain);
	if (!configured && !dir_may_relay_from(c, peer))
		return DIR_RELAY_DENIED;
	const struct conf_route *r = dir_route(c, domain);
	if (!r)
		return DIR_NO_ROUTE;
	out->site.host = r->host;
	out->site.port = r->port;
	return DIR_RELAY;
}

struct auth *auth_create(unsigned n_threads, unsigned n_cores)
{
	struct auth *a = calloc(1, sizeof(*a));
	CHECK(a != NULL && n_cores <= ARRAY_LEN(a->core));
	(void)n_threads;
	return a;
}

void auth_destroy(struct auth **a)
{
	for (unsigned i = 0; i < ARRAY_LEN((*a)->core); i++)
		for (unsigned j = 0; j < (*a)->core[i].n; j++)
			auth_op_free(&(*a)->core[i].op[j]);
	free(*a);
	*a = NULL;
}

struct auth_core *auth_core(struct auth *a, unsigned core)
{
	return &a->core[core];
}

struct auth_op *auth_submit(struct auth_core *ac, const struct conf *c, const struct store *s, struct span user,
			    struct span password, uint32_t owner, uint32_t owner_gen)
{
	if (ac->n == IN_FLIGHT || span_istarts(user, SPAN("busy")))
		return NULL;
	struct auth_op *op = calloc(1, sizeof(*op));
	CHECK(op != NULL);
	op->owner = owner;
	op->owner_gen = owner_gen;
	op->core = ac;
	bool at = span_find(user, '@') >= 0;
	struct span domain = span_str(c->domain[0].name);
	if (user.len + domain.len + 1 >= sizeof(op->name) || !span_cstr(user, op->name, sizeof(op->name)) ||
	    !span_cstr(password, op->password, sizeof(op->password))) {
		free(op);
		return NULL;
	}
	if (!at) {
		op->name[user.len] = '@';
		memcpy(op->name + user.len + 1, domain.p, domain.len + 1);
	}
	struct store_account a;
	op->known = store_account_find(s, span_str(op->name), &a);
	if (op->known) {
		memcpy(op->hash, a.pass, sizeof(op->hash));
		op->acct = a.id;
	}
	op->ok = op->known && strcmp(op->hash, op->password) == 0;
	ac->op[ac->n++] = op;
	return op;
}

unsigned auth_poll(struct auth_core *ac, struct auth_op **out, unsigned max)
{
	unsigned n = ac->n < max ? ac->n : max;
	memcpy(out, ac->op, n * sizeof(*out));
	memmove(ac->op, ac->op + n, (ac->n - n) * sizeof(*out));
	ac->n -= n;
	return n;
}

void auth_op_free(struct auth_op **op)
{
	if (*op)
		explicit_bzero((*op)->password, sizeof((*op)->password));
	free(*op);
	*op = NULL;
}
