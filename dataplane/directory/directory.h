/*
 * directory.h: who exists and what they may do: domains, routes, relay permission from the configuration
 * snapshot; accounts from the store; passwords checked on helper threads.
 */
#ifndef VEREDUS_DIRECTORY_H
#define VEREDUS_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>
#include "conf.h"
#include "err.h"
#include "ip.h"
#include "queue.h"
#include "span.h"
#include "store.h"

enum dir_verdict {
	DIR_LOCAL,         /* rcpt->acct is set */
	DIR_RELAY,         /* rcpt->site is set */
	DIR_UNKNOWN_USER,  /* 550 5.1.1 */
	DIR_RELAY_DENIED,  /* 550 5.7.1 */
	DIR_NO_ROUTE       /* 550 5.4.4: the domain may be relayed but no route matches */
};
/* local, domain: as parsed from RCPT (domain empty: "postmaster" alone means postmaster at our hostname or first
 * local domain). Relay is allowed to configured domains (domain section without deliver = local) from anyone, and to any
 * routed domain from relay_from networks. postmaster@ of each local domain is a mailbox
 * that the start makes (RFC 5321 4.5.1). Fills out->local/acct/site; not out->addr. peer NULL: may relay anywhere there
 * is a route to (its user has logged in). */
enum dir_verdict dir_resolve(const struct conf *c, const struct store *s, const struct ip_addr *peer,
			     struct span local, struct span domain, struct queue_rcpt *out);
bool dir_is_local_domain(const struct conf *c, struct span domain);
bool dir_may_relay_from(const struct conf *c, const struct ip_addr *peer);
const struct conf_route *dir_route(const struct conf *c, struct span domain);

/* ---- passwords: crypt(3) on helper threads; the worker never waits ---- */
struct auth;      /* helper threads */
struct auth_core; /* a worker's door */
struct auth_op {
	uint32_t owner, owner_gen;
	struct auth_core *core;
	char name[256];     /* canonical account name */
	char password[256]; /* wiped by auth_op_free */
	char hash[160];     /* of the account; for an unknown user one of the same cost, so that time tells nothing */
	bool known;
	uint64_t acct;
	bool ok;            /* out */
};
struct auth *auth_create(unsigned n_threads, unsigned n_cores);
void auth_destroy(struct auth **a);
struct auth_core *auth_core(struct auth *a, unsigned core);
/* Looks the user up (a name without @ gets the first local domain) and starts the check; a mailbox that was
 * made without a password (hash "*") lets no one in. NULL when too many are in flight or a field is
 * too long: answer a temporary failure. */
struct auth_op *auth_submit(struct auth_core *ac, const struct conf *c, const struct store *s, struct span user,
			    struct span password, uint32_t owner, uint32_t owner_gen);
unsigned auth_poll(struct auth_core *ac, struct auth_op **out, unsigned max);
void auth_op_free(struct auth_op **op);
/* A new yescrypt hash with a random salt; blocking (control thread only). ERR_SYNTAX for an unusable password. */
enum err auth_hash(struct span password, char *out, size_t out_size);

#endif
