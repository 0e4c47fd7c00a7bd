/*
 * fake_auth.c: the password half of directory.h without threads: passwords compared as they are, ready at the next
 * auth_poll. Users with a name that begins with "busy" find the helpers overloaded.
 */
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
