/*
 * store_account.c: accounts as workers see them: found by name without a lock.
 *
 * 1024 shards, each an immutable array sorted by name; a change makes a new array and replaces the pointer when
 * the op that made it is durable. Old arrays and records go through RCU. Only the storage thread writes.
 */
#include <stdlib.h>
#include <string.h>
#include "rcu.h"
#include "store_int.h"

struct pub_acct {
	uint64_t id;
	const char *pass; /* behind the name */
	char name[];
};

struct shard {
	uint32_t n;
	struct pub_acct *v[];
};

/* What an op will publish: the record as it is after it, NULL = none any more. */
struct pub_change {
	struct pub_change *next;
	struct pub_acct *acct;
	char name[sizeof(((struct store_account *)0)->name)];
};

static const uint8_t shard_key[16] = "veredus shards";

static uint32_t shard_of(struct span name)
{
	return (uint32_t)(siphash(shard_key, name.p, name.len) % ACCOUNT_SHARDS);
}

static struct pub_acct *pub_make(const struct account *a)
{
	size_t n = strlen(a->name) + 1, m = strlen(a->pass) + 1;
	struct pub_acct *p = malloc(sizeof(*p) + n + m);
	CHECK(p);
	p->id = a->id;
	memcpy(p->name, a->name, n);
	memcpy(p->name + n, a->pass, m);
	p->pass = p->name + n;
	return p;
}

static int name_cmp(const char *a, struct span b)
{
	size_t n = strlen(a), m = n < b.len ? n : b.len;
	int c = memcmp(a, b.p, m);
	return c ? c : n < b.len ? -1 : n > b.len;
}

/* Index of the first name that is not less. */
static uint32_t shard_lower(const struct shard *sh, struct span name)
{
	uint32_t lo = 0, hi = sh ? sh->n : 0;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (name_cmp(sh->v[mid]->name, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool store_account_find(const struct store *s, struct span name, struct store_account *out)
{
	union { const struct store *in; struct store *out; } u = {.in = s};
	struct shard *sh = atomic_load_explicit(&u.out->shard[shard_of(name)], memory_order_acquire);
	uint32_t i = shard_lower(sh, name);
	if (!sh || i == sh->n || name_cmp(sh->v[i]->name, name) != 0)
		return false;
	const struct pub_acct *p = sh->v[i];
	out->id = p->id;
	return span_cstr(span_str(p->name), out->name, sizeof(out->name)) &&
	       span_cstr(span_str(p->pass), out->pass, sizeof(out->pass));
}

static void defer_free(struct store *s, void *p)
{
	if (!p)
		return;
	if (s->conf.rcu) {
		rcu_defer(s->conf.rcu, free, p);
		s->rcu_pending = true;
	} else {
		free(p);
	}
}

static void shard_change(struct store *s, const struct pub_change *c)
{
	struct span name = span_str(c->name);
	_Atomic(struct shard *) *at = &s->shard[shard_of(name)];
	struct shard *old = atomic_load_explicit(at, memory_order_relaxed);
	uint32_t n = old ? old->n : 0, i = shard_lower(old, name);
	bool there = i < n && name_cmp(old->v[i]->name, name) == 0;
	uint32_t tail = n - i - there, add = c->acct ? 1 : 0;
	struct shard *sh = malloc(sizeof(*sh) + (i + add + tail) * sizeof(struct pub_acct *));
	CHECK(sh);
	sh->n = i + add + tail;
	if (i)
		memcpy(sh->v, old->v, i * sizeof(struct pub_acct *));
	if (add)
		sh->v[i] = c->acct;
	if (tail)
		memcpy(sh->v + i + add, old->v + i + there, tail * sizeof(struct pub_acct *));
	atomic_store_explicit(at, sh, memory_order_release);
	if (there)
		defer_free(s, old->v[i]);
	defer_free(s, old);
}

void account_publish(void *arg, const struct account *a, enum index_pub what)
{
	struct store *s = arg;
	struct pub_change *c = calloc(1, sizeof(*c));
	CHECK(c && s->current);
	CHECK(span_cstr(span_str(a->name), c->name, sizeof(c->name)));
	c->acct = what == INDEX_PUB_REMOVE ? NULL : pub_make(a);
	struct pub_change **at = &s->current->pub;
	while (*at)
		at = &(*at)->next;
	*at = c;
}

void account_published(struct store *s, struct op_int *o)
{
	while (o->pub) {
		struct pub_change *c = o->pub;
		o->pub = c->next;
		shard_change(s, c);
		free(c);
	}
}

void account_discard(struct op_int *o)
{
	while (o->pub) {
		struct pub_change *c = o->pub;
		o->pub = c->next;
		free(c->acct);
		free(c);
	}
}

static int acct_cmp(const void *a, const void *b)
{
	const struct pub_acct *const *x = a, *const *y = b;
	return strcmp((*x)->name, (*y)->name);
}

void account_init(struct store *s)
{
	uint32_t *n = calloc(ACCOUNT_SHARDS, sizeof(*n));
	CHECK(n);
	for (uint32_t i = 0; i < s->ix.n_acct; i++)
		n[shard_of(span_str(s->ix.acct[i]->name))]++;
	for (uint32_t i = 0; i < ACCOUNT_SHARDS; i++) {
		if (n[i] == 0)
			continue;
		struct shard *sh = calloc(1, sizeof(*sh) + n[i] * sizeof(struct pub_acct *));
		CHECK(sh);
		atomic_store_explicit(&s->shard[i], sh, memory_order_relaxed);
	}
	for (uint32_t i = 0; i < s->ix.n_acct; i++) {
		const struct account *a = s->ix.acct[i];
		struct shard *sh = atomic_load_explicit(&s->shard[shard_of(span_str(a->name))], memory_order_relaxed);
		sh->v[sh->n++] = pub_make(a);
	}
	for (uint32_t i = 0; i < ACCOUNT_SHARDS; i++) {
		struct shard *sh = atomic_load_explicit(&s->shard[i], memory_order_relaxed);
		if (sh)
			qsort(sh->v, sh->n, sizeof(struct pub_acct *), acct_cmp);
		atomic_store_explicit(&s->shard[i], sh, memory_order_release);
	}
	free(n);
}

void account_fini(struct store *s)
{
	for (uint32_t i = 0; i < ACCOUNT_SHARDS; i++) {
		struct shard *sh = atomic_load_explicit(&s->shard[i], memory_order_relaxed);
		for (uint32_t j = 0; sh && j < sh->n; j++)
			free(sh->v[j]);
		free(sh);
	}
}
