/*
 * directory.c: what the configuration says of a domain, and where a recipient goes.
 *
 * Owns nothing: reads the immutable snapshot and the store's account table. Tables are short (a handful of
 * domains and routes), so they are walked in file order, which is also the order of precedence.
 */
#include "directory.h"

#include <string.h>

#include "mail_addr.h"

static const struct conf_domain *domain_find(const struct conf *c, struct span domain)
{
	for (unsigned i = 0; i < c->n_domain; i++)
		if (span_ieq(span_str(c->domain[i].name), domain))
			return &c->domain[i];
	return NULL;
}

static const char *first_local_domain(const struct conf *c)
{
	for (unsigned i = 0; i < c->n_domain; i++)
		if (c->domain[i].local)
			return c->domain[i].name;
	return NULL;
}

bool dir_is_local_domain(const struct conf *c, struct span domain)
{
	const struct conf_domain *d = domain_find(c, domain);
	return d != NULL && d->local;
}

bool dir_may_relay_from(const struct conf *c, const struct ip_addr *peer)
{
	for (unsigned i = 0; i < c->n_relay_from; i++)
		if (ip_in_prefix(peer, &c->relay_from[i]))
			return true;
	return false;
}

/* "*": all. "*.example.org": example.org's subdomains and itself. Else the very name. */
static bool pattern_matches(struct span pattern, struct span domain)
{
	if (span_eq(pattern, SPAN("*")))
		return true;
	if (pattern.len < 2 || pattern.p[0] != '*' || pattern.p[1] != '.')
		return span_ieq(pattern, domain);
	struct span below = span_from(pattern, 1), base = span_from(pattern, 2);
	if (span_ieq(base, domain))
		return true;
	return domain.len > below.len && span_ieq(span_from(domain, domain.len - below.len), below);
}

const struct conf_route *dir_route(const struct conf *c, struct span domain)
{
	for (unsigned i = 0; i < c->n_route; i++)
		if (pattern_matches(span_str(c->route[i].pattern), domain))
			return &c->route[i];
	return NULL;
}

static enum dir_verdict resolve_local(const struct store *s, const struct mail_addr *a, struct queue_rcpt *out)
{
	char name[MAIL_ADDR_MAX + 1];
	struct store_account acct;
	size_t n = mail_addr_canon(a, true, name);
	if (!store_account_find(s, span_of(name, n), &acct))
		return DIR_UNKNOWN_USER;
	out->local = true;
	out->acct = acct.id;
	return DIR_LOCAL;
}

enum dir_verdict dir_resolve(const struct conf *c, const struct store *s, const struct ip_addr *peer,
			     struct span local, struct span domain, struct queue_rcpt *out)
{
	struct mail_addr a = {.local = local, .domain = domain};
	if (local.len > 0 && local.p[0] == '"')
		a.flags = MAIL_ADDR_QUOTED;
	if (domain.len == 0) {
		const char *first = first_local_domain(c);
		if (first == NULL)
			return DIR_UNKNOWN_USER;
		a.domain = span_str(first);
	}
	const struct conf_domain *d = domain_find(c, a.domain);
	if (d != NULL && d->local)
		return resolve_local(s, &a, out);
	if (d == NULL && peer != NULL && !dir_may_relay_from(c, peer))
		return DIR_RELAY_DENIED;
	const struct conf_route *r = dir_route(c, a.domain);
	if (r == NULL)
		return DIR_NO_ROUTE;
	out->local = false;
	out->site = (struct queue_site_key){.host = r->host, .port = r->port};
	return DIR_RELAY;
}
