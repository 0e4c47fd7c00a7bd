/*
 * tcp_table.c: finding connections: the flow table, and TIME-WAIT as its own small table. Hot path.
 *
 * Owns the buckets and the TIME-WAIT entries. The hash is keyed and private to the core, so a peer
 * cannot aim at one bucket. Invariants: every entry's home bucket counts it in `over` once for each
 * full bucket it was pushed past; TIME-WAIT entries are linked by the time they end.
 */
#include <sys/mman.h>
#include "tcp_int.h"
#include "hot.h"

void flow_init(struct flow_table *t, uint32_t n_max)
{
	uint32_t n = 2;

	while ((uint64_t)n * 7 < (uint64_t)n_max * 2) /* at most half full */
		n *= 2;
	t->b = mmap(NULL, n * sizeof(*t->b), PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(t->b != MAP_FAILED);
	t->mask = n - 1;
	t->n = 0;
}

void flow_fini(struct flow_table *t)
{
	munmap(t->b, (t->mask + (size_t)1) * sizeof(*t->b));
	t->b = NULL;
}

void flow_put(struct flow_table *t, uint32_t hash, uint32_t index)
{
	CHECK(t->n < t->mask * 7);
	for (uint32_t i = hash & t->mask;; i = (i + 1) & t->mask) {
		struct flow_bucket *b = &t->b[i];
		for (unsigned k = 0; k < ARRAY_LEN(b->e); k++) {
			if (b->e[k].index)
				continue;
			b->e[k].tag = hash;
			b->e[k].index = index + 1;
			t->n++;
			return;
		}
		b->over++;
	}
}

void flow_del(struct flow_table *t, uint32_t hash, uint32_t index)
{
	for (uint32_t i = hash & t->mask, tries = 0; tries <= t->mask;
	     i = (i + 1) & t->mask, tries++) {
		struct flow_bucket *b = &t->b[i];
		for (unsigned k = 0; k < ARRAY_LEN(b->e); k++) {
			if (b->e[k].index != index + 1)
				continue;
			b->e[k].index = 0;
			t->n--;
			for (uint32_t h = hash & t->mask; h != i; h = (h + 1) & t->mask)
				t->b[h].over--;
			return;
		}
	}
	CHECK(!"deleting a flow that is not there");
}

uint32_t flow_find(const struct flow_table *t, uint32_t hash, uint32_t *it)
{
	/* *it counts the entries looked at since the home bucket. */
	for (;; (*it)++) {
		uint32_t hop = *it / 7;
		const struct flow_bucket *b = &t->b[(hash + hop) & t->mask];
		unsigned k = *it % 7;
		if (k == 0 && hop) {
			const struct flow_bucket *before = &t->b[(hash + hop - 1) & t->mask];
			if (!before->over || hop > t->mask)
				return UINT32_MAX;
		}
		if (b->e[k].tag == hash && b->e[k].index) {
			(*it)++;
			return b->e[k].index - 1;
		}
	}
}

/* Multiply and fold: the product's halves xored. */
static uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 p = (unsigned __int128)a * b;
	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

uint32_t tcp_hash(const struct tcp_core *t, const struct ip_addr *local,
		  const struct ip_addr *remote, uint16_t lport, uint16_t rport)
{
	const uint64_t *k = t->hash_key;
	uint64_t h = mix(remote->d[0] ^ k[0], remote->d[1] ^ k[1]);

	h ^= mix(local->d[0] ^ k[2], local->d[1] ^ k[3]);
	h = mix(h ^ k[1], ((uint64_t)rport << 16 | lport) ^ k[2]);
	return (uint32_t)(h ^ h >> 32);
}

struct tcp_conn *tcp_find(struct tcp_core *t, uint32_t hash, const struct ip_addr *local,
			  const struct ip_addr *remote, uint16_t lport, uint16_t rport)
{
	uint32_t it = 0, i;

	while ((i = flow_find(&t->flows, hash, &it)) != UINT32_MAX) {
		struct tcp_conn *c = (struct tcp_conn *)(void *)(t->conns.mem + i * t->conns.size);
		if (c->lport == lport && c->rport == rport && ip_eq(&c->dst.dst, remote) &&
		    ip_eq(&c->dst.src, local))
			return c;
	}
	return NULL;
}

void tcp_table_add(struct tcp_conn *c)
{
	struct tcp_core *t = c->core;

	c->hash = tcp_hash(t, &c->dst.src, &c->dst.dst, c->lport, c->rport);
	flow_put(&t->flows, c->hash, pool_index(&t->conns, c));
	c->flags |= TF_IN_TABLE;
}

void tcp_table_remove(struct tcp_conn *c)
{
	if (!(c->flags & TF_IN_TABLE))
		return;
	flow_del(&c->core->flows, c->hash, pool_index(&c->core->conns, c));
	c->flags &= ~(uint32_t)TF_IN_TABLE;
}

/* ---- TIME-WAIT ---- */

static struct tcp_tw *tw_at(struct tcp_core *t, uint32_t index)
{
	return (struct tcp_tw *)(void *)(t->tws.mem + index * t->tws.size);
}

static void tw_unlink(struct tcp_core *t, struct tcp_tw *w)
{
	if (w->prev)
		tw_at(t, w->prev - 1)->next = w->next;
	else
		t->tw_oldest = w->next;
	if (w->next)
		tw_at(t, w->next - 1)->prev = w->prev;
	else
		t->tw_newest = w->prev;
}

static void tw_link(struct tcp_core *t, struct tcp_tw *w)
{
	uint32_t id = pool_index(&t->tws, w) + 1;

	w->due_ms = now_ms32(t) + t->conf.timewait_us / 1000;
	w->next = 0;
	w->prev = t->tw_newest;
	if (w->prev)
		tw_at(t, w->prev - 1)->next = id;
	else
		t->tw_oldest = id;
	t->tw_newest = id;
}

struct tcp_tw *tcp_tw_find(struct tcp_core *t, uint32_t hash, const struct ip_addr *local,
			   const struct ip_addr *remote, uint16_t lport, uint16_t rport)
{
	uint32_t it = 0, i;

	while ((i = flow_find(&t->tw_flows, hash, &it)) != UINT32_MAX) {
		struct tcp_tw *w = tw_at(t, i);
		if (w->lport == lport && w->rport == rport && ip_eq(&w->remote, remote) &&
		    ip_eq(&w->local, local))
			return w;
	}
	return NULL;
}

void tcp_tw_add(struct tcp_conn *c)
{
	struct tcp_core *t = c->core;
	struct tcp_tw *w = pool_take(&t->tws);

	if (!w) {
		/* The oldest has waited longest: it goes first. */
		stat_inc(t->stat, STAT_tcp_timewait_full);
		tcp_tw_remove(t, tw_at(t, t->tw_oldest - 1));
		w = pool_take(&t->tws);
		CHECK(w != NULL);
	}
	w->local = c->dst.src;
	w->remote = c->dst.dst;
	w->lport = c->lport;
	w->rport = c->rport;
	w->rcv_nxt = c->rcv_nxt;
	w->snd_nxt = c->snd_max;
	w->ts_recent = c->flags & TF_TS ? c->ts_recent : 0;
	w->ts_off = c->flags & TF_TS ? c->ts_off | 1 : 0; /* 0 = no timestamps */
	tw_link(t, w);
	flow_put(&t->tw_flows, c->hash, pool_index(&t->tws, w));
	t->n_tw++;
}

void tcp_tw_restart(struct tcp_core *t, struct tcp_tw *w)
{
	tw_unlink(t, w);
	tw_link(t, w);
}

void tcp_tw_remove(struct tcp_core *t, struct tcp_tw *w)
{
	uint32_t hash = tcp_hash(t, &w->local, &w->remote, w->lport, w->rport);

	tw_unlink(t, w);
	flow_del(&t->tw_flows, hash, pool_index(&t->tws, w));
	pool_give(&t->tws, w);
	t->n_tw--;
}

void tcp_tw_expire(struct tcp_core *t)
{
	while (t->tw_oldest) {
		struct tcp_tw *w = tw_at(t, t->tw_oldest - 1);
		if ((int32_t)(now_ms32(t) - w->due_ms) < 0)
			return;
		tcp_tw_remove(t, w);
	}
}

uint64_t tcp_tw_next_us(const struct tcp_core *t)
{
	if (!t->tw_oldest)
		return UINT64_MAX;
	const struct tcp_tw *w =
		(const struct tcp_tw *)(const void *)(t->tws.mem +
						      (t->tw_oldest - 1) * t->tws.size);
	int32_t left_ms = (int32_t)(w->due_ms - now_ms32(t));
	return left_ms <= 0 ? t->now_us : (t->now_us / 1000 + (uint32_t)left_ms) * 1000;
}
