/*
 * auth.c: passwords, checked by crypt(3) on helper threads, because one check takes milliseconds on purpose.
 *
 * A core pushes an op on its own ring to the helper that serves it and takes it back from another; a helper
 * sleeps on an eventfd. An unknown user is checked against a hash of the same kind, so neither the text nor
 * the time of the answer tells whether a mailbox exists.
 * Invariants: 1. an op is touched by one thread at a time (the rings hand it over); 2. passwords are wiped
 * when an op is given back; 3. at most OPS_MAX ops a core are in flight.
 */
#include "directory.h"

#include <crypt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "mail_addr.h"
#include "spsc.h"

#define OPS_MAX 256 /* a core; power of two */

struct auth_core {
	struct spsc to, from, idle; /* idle: free ops, this core's own */
	const char *decoy;
	struct auth_op *ops;
	struct auth_helper *helper;
};

struct auth_helper {
	pthread_t thread;
	struct auth *auth;
	unsigned index;
	int wake;
	atomic_bool stop;
};

struct auth {
	unsigned n_helper, n_core;
	struct auth_helper *helper;
	struct auth_core *core;
	char decoy[160]; /* hash of a random password */
};

/* Equal lengths are compared in full whatever they hold. */
static bool same_hash(const char *a, const char *b)
{
	size_t n = strlen(a);
	if (n != strlen(b))
		return false;
	unsigned diff = 0;
	for (size_t i = 0; i < n; i++)
		diff |= (unsigned)(a[i] ^ b[i]);
	return diff == 0;
}

static void op_check(struct auth_op *op, struct crypt_data *cd)
{
	const char *h = crypt_r(op->password, op->hash, cd);
	bool same = h != NULL && h[0] != '*' && same_hash(h, op->hash);
	op->ok = same && op->known;
	explicit_bzero(op->password, sizeof(op->password));
}

/* One op of each core, so that a flood of logins at one does not hold up the others. */
static bool helper_round(struct auth_helper *h, struct crypt_data *cd)
{
	bool any = false;
	for (unsigned c = h->index; c < h->auth->n_core; c += h->auth->n_helper) {
		struct auth_core *ac = &h->auth->core[c];
		struct auth_op *op = spsc_pop(&ac->to);
		if (op == NULL)
			continue;
		op_check(op, cd);
		CHECK(spsc_push(&ac->from, op));
		any = true;
	}
	return any;
}

static void *helper_run(void *arg)
{
	struct auth_helper *h = arg;
	struct crypt_data *cd = calloc(1, sizeof(*cd));
	CHECK(cd != NULL);
	while (!atomic_load(&h->stop)) {
		uint64_t n;
		ssize_t r = read(h->wake, &n, sizeof(n));
		(void)r; /* interrupted or not: the rings tell what there is */
		while (helper_round(h, cd) && !atomic_load(&h->stop))
			;
	}
	explicit_bzero(cd, sizeof(*cd));
	free(cd);
	return NULL;
}

static void helper_wake(struct auth_helper *h)
{
	uint64_t one = 1;
	CHECK(write(h->wake, &one, sizeof(one)) == (ssize_t)sizeof(one));
}

enum err auth_hash(struct span password, char *out, size_t out_size)
{
	char pass[256], salt[CRYPT_GENSALT_OUTPUT_SIZE];
	if (password.len == 0 || !span_cstr(password, pass, sizeof(pass)))
		return ERR_SYNTAX;
	struct crypt_data *cd = calloc(1, sizeof(*cd));
	CHECK(cd != NULL);
	enum err e = ERR_SYNTAX;
	if (crypt_gensalt_rn("$y$", 0, NULL, 0, salt, sizeof(salt)) != NULL) {
		const char *h = crypt_r(pass, salt, cd);
		if (h != NULL && h[0] != '*' && span_cstr(span_str(h), out, out_size))
			e = ERR_OK;
	}
	explicit_bzero(pass, sizeof(pass));
	explicit_bzero(cd, sizeof(*cd));
	free(cd);
	return e;
}

struct auth *auth_create(unsigned n_threads, unsigned n_cores)
{
	struct auth *a = calloc(1, sizeof(*a));
	CHECK(a != NULL && n_threads > 0);
	a->n_helper = n_threads;
	a->n_core = n_cores;
	a->helper = calloc(n_threads, sizeof(*a->helper));
	CHECK(a->helper != NULL);
	CHECK(posix_memalign((void **)&a->core, 64, n_cores * sizeof(*a->core)) == 0);
	memset(a->core, 0, n_cores * sizeof(*a->core));
	CHECK(auth_hash(SPAN("no such user has this password"), a->decoy, sizeof(a->decoy)) == ERR_OK);
	for (unsigned i = 0; i < n_cores; i++) {
		struct auth_core *ac = &a->core[i];
		spsc_init(&ac->to, OPS_MAX);
		spsc_init(&ac->from, OPS_MAX);
		spsc_init(&ac->idle, OPS_MAX);
		ac->helper = &a->helper[i % n_threads];
		ac->ops = calloc(OPS_MAX, sizeof(*ac->ops));
		CHECK(ac->ops != NULL);
		ac->decoy = a->decoy;
		for (unsigned k = 0; k < OPS_MAX; k++) {
			ac->ops[k].core = ac;
			CHECK(spsc_push(&ac->idle, &ac->ops[k]));
		}
	}
	for (unsigned i = 0; i < n_threads; i++) {
		struct auth_helper *h = &a->helper[i];
		h->auth = a;
		h->index = i;
		h->wake = eventfd(0, EFD_CLOEXEC);
		CHECK(h->wake >= 0);
		CHECK(pthread_create(&h->thread, NULL, helper_run, h) == 0);
	}
	return a;
}

void auth_destroy(struct auth **ap)
{
	struct auth *a = *ap;
	*ap = NULL;
	if (a == NULL)
		return;
	for (unsigned i = 0; i < a->n_helper; i++) {
		atomic_store(&a->helper[i].stop, true);
		helper_wake(&a->helper[i]);
		(void)pthread_join(a->helper[i].thread, NULL);
		(void)close(a->helper[i].wake);
	}
	for (unsigned i = 0; i < a->n_core; i++) {
		struct auth_core *ac = &a->core[i];
		explicit_bzero(ac->ops, OPS_MAX * sizeof(*ac->ops));
		free(ac->ops);
		spsc_fini(&ac->to);
		spsc_fini(&ac->from);
		spsc_fini(&ac->idle);
	}
	free(a->core);
	free(a->helper);
	free(a);
}

struct auth_core *auth_core(struct auth *a, unsigned core)
{
	CHECK(core < a->n_core);
	struct auth_core *ac = &a->core[core];
	return ac;
}

/* "user" or "user@domain" as typed, to the account's name. */
static bool account_name(const struct conf *c, struct span user, char *dst, size_t size)
{
	char full[MAIL_ADDR_MAX + 1];
	struct mail_addr a;
	if (span_find(user, '@') < 0) {
		const char *domain = NULL;
		for (unsigned i = 0; i < c->n_domain && domain == NULL; i++)
			if (c->domain[i].local)
				domain = c->domain[i].name;
		size_t n = domain != NULL ? strlen(domain) : 0;
		if (n == 0 || user.len + 1 + n > MAIL_ADDR_MAX)
			return false;
		memcpy(full, user.p, user.len);
		full[user.len] = '@';
		memcpy(full + user.len + 1, domain, n);
		user = span_of(full, user.len + 1 + n);
	}
	if (mail_addr_parse(user, MAIL_PATH_UTF8_OK, &a) != ERR_OK)
		return false;
	char canon[MAIL_ADDR_MAX + 1];
	return span_cstr(span_of(canon, mail_addr_canon(&a, true, canon)), dst, size);
}

struct auth_op *auth_submit(struct auth_core *ac, const struct conf *c, const struct store *s, struct span user,
			    struct span password, uint32_t owner, uint32_t owner_gen)
{
	struct auth_op *op = spsc_pop(&ac->idle);
	struct store_account acct = {0};
	if (op == NULL)
		return NULL;
	op->owner = owner;
	op->owner_gen = owner_gen;
	op->ok = false;
	op->acct = 0;
	op->name[0] = '\0';
	op->known = account_name(c, user, op->name, sizeof(op->name)) &&
		    store_account_find(s, span_str(op->name), &acct) && acct.pass[0] == '$';
	if (!span_cstr(password, op->password, sizeof(op->password))) {
		(void)spsc_push(&ac->idle, op);
		return NULL;
	}
	if (op->known)
		op->acct = acct.id;
	(void)span_cstr(span_str(op->known ? acct.pass : ac->decoy), op->hash, sizeof(op->hash));
	CHECK(spsc_push(&ac->to, op));
	helper_wake(ac->helper);
	return op;
}

unsigned auth_poll(struct auth_core *ac, struct auth_op **out, unsigned max)
{
	unsigned n = 0;
	while (n < max && (out[n] = spsc_pop(&ac->from)) != NULL)
		n++;
	return n;
}

void auth_op_free(struct auth_op **opp)
{
	struct auth_op *op = *opp;
	*opp = NULL;
	explicit_bzero(op->password, sizeof(op->password));
	CHECK(spsc_push(&op->core->idle, op));
}
