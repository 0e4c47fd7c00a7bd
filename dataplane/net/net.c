/*
 * net.c: making and ending a net core, the addresses that are ours, and start-up announcements.
 *
 * A core belongs to one worker and shares nothing: each keeps its own neighbours, so a lookup takes no
 * lock. Only the primary worker's core speaks for the host (ARP and ND answers, echo, announcements).
 * Invariants: 1. addresses and routes are fixed from creation on, but for duplicates found on the link,
 * which stop being ours; 2. memory is taken at creation only.
 */
#include <stdlib.h>
#include "log.h"
#include "net_int.h"

#define DAD_WAIT_US 1000000 /* RFC 4862 5.1: RetransTimer */

bool bucket_take(struct bucket *b, uint64_t now_us)
{
	uint64_t gained = (now_us - b->filled_us) * b->per_s / 1000000;

	if (gained > 0) {
		b->tokens = gained >= b->burst - b->tokens ? b->burst : b->tokens + (uint32_t)gained;
		b->filled_us = now_us;
	}
	if (b->tokens == 0)
		return false;
	b->tokens--;
	return true;
}

bool net_drop(struct net_core *n, struct pkt *p, enum stat_id why)
{
	stat_inc(n->stat, why);
	pkt_free(p);
	return false;
}

static uint32_t addr_bucket(const struct net_core *n, const struct ip_addr *a)
{
	uint64_t h = (a->d[0] ^ a->d[1]) * 0x9e3779b97f4a7c15;
	return (uint32_t)(h >> 40) & n->addr_mask;
}

const struct net_addr *net_local(const struct net_core *n, const struct ip_addr *a)
{
	for (uint32_t i = n->addr_hash[addr_bucket(n, a)]; i; i = n->addr[i - 1].next) {
		const struct net_addr *na = &n->addr[i - 1];
		if (ip_eq(&na->addr, a))
			return na->dad == DAD_DUPLICATE ? NULL : na;
	}
	return NULL;
}

bool net_is_local(const struct net_core *n, const struct ip_addr *a, unsigned *port)
{
	const struct net_addr *na = net_local(n, a);

	if (na && port)
		*port = na->port;
	return na != NULL;
}

COLD void net_address_conflict(struct net_core *n, const struct ip_addr *a, const uint8_t *mac)
{
	char text[IP_STR_MAX];
	const struct net_addr *na = net_local(n, a);

	stat_inc(n->stat, STAT_net_address_conflict);
	if (!na)
		return;
	if (na->dad == DAD_TENTATIVE && !ip_is4(a))
		n->addr[na - n->addr].dad = DAD_DUPLICATE;
	log_warn("address %s is also claimed by %02x:%02x:%02x:%02x:%02x:%02x%s", ip_format(a, text),
		 mac[0], mac[1], mac[2], mac[3], mac[4], mac[5],
		 na->dad == DAD_DUPLICATE ? "; it is not used here" : "");
}

static void add_addr(struct net_core *n, unsigned port, const struct ip_prefix *p)
{
	uint32_t b = addr_bucket(n, &p->addr);

	for (uint32_t i = n->addr_hash[b]; i; i = n->addr[i - 1].next) {
		if (ip_eq(&n->addr[i - 1].addr, &p->addr))
			return;
	}
	n->addr[n->n_addr] = (struct net_addr){
		.addr = p->addr, .len = p->len, .port = (uint8_t)port, .next = n->addr_hash[b]};
	n->addr_hash[b] = (uint16_t)++n->n_addr;
}

static void add_onlink(struct net_core *n, unsigned port, const struct ip_prefix *p)
{
	unsigned at = 0;

	for (unsigned i = 0; i < n->n_onlink; i++) {
		if (n->onlink[i].len == p->len && n->onlink_port[i] == port &&
		    ip_in_prefix(&p->addr, &n->onlink[i]))
			return;
	}
	while (at < n->n_onlink && n->onlink[at].len >= p->len)
		at++;
	memmove(n->onlink + at + 1, n->onlink + at, (n->n_onlink - at) * sizeof(*n->onlink));
	memmove(n->onlink_port + at + 1, n->onlink_port + at, n->n_onlink - at);
	n->onlink[at] = *p;
	n->onlink_port[at] = (uint8_t)port;
	n->n_onlink++;
}

/* fe80::/64 with the interface identifier of RFC 4291 appendix A. */
static struct ip_prefix link_local(const uint8_t mac[6])
{
	return (struct ip_prefix){
		{.b = {0xfe, 0x80, [8] = mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]}},
		64};
}

static void add_port(struct net_core *n, unsigned i, const struct conf_port *c, struct port_core *pc,
		     struct port *shared)
{
	struct net_port *np = &n->port[i];
	bool any6 = false;

	np->pc = pc;
	np->shared = shared;
	np->info = *port_info(shared);
	for (unsigned k = 0; k < c->n_addr; k++) {
		add_addr(n, i, &c->addr[k]);
		add_onlink(n, i, &c->addr[k]);
		any6 |= !ip_is4(&c->addr[k].addr);
	}
	if (any6) {
		struct ip_prefix ll = link_local(np->info.mac);
		add_addr(n, i, &ll);
	}
	for (unsigned k = 0; k < c->n_gateway; k++)
		np->gateway[!ip_is4(&c->gateway[k])] = c->gateway[k];
}

static void *reserve(size_t n, size_t size)
{
	void *p = calloc(n, size);
	CHECK(p != NULL);
	return p;
}

struct net_core *net_create(const struct conf *c, struct port_core **ports, struct port **shared,
			    unsigned n_ports, struct pkt_pool *pool, struct stat *stat, struct rnd *rnd,
			    bool primary)
{
	struct net_core *n = aligned_alloc(64, (sizeof(*n) + 63) & ~(size_t)63);
	unsigned n_addr = 0, buckets = 8;

	CHECK(n != NULL && n_ports > 0 && n_ports <= PORT_MAX);
	memset(n, 0, sizeof(*n));
	n->pool = pool;
	n->stat = stat;
	n->rnd = rnd;
	n->primary = primary;
	n->ip_id = (uint16_t)rnd_u64(rnd);
	n->echo = (struct bucket){.per_s = 1000, .burst = 200, .tokens = 200};
	n->errors = (struct bucket){.per_s = 100, .burst = 50, .tokens = 50};
	for (unsigned i = 0; i < n_ports; i++)
		n_addr += c->port[i].n_addr + 1;
	CHECK(n_addr < UINT16_MAX);
	while (buckets < 2 * n_addr)
		buckets *= 2;
	n->addr = reserve(n_addr, sizeof(*n->addr));
	n->addr_hash = reserve(buckets, sizeof(*n->addr_hash));
	n->addr_mask = buckets - 1;
	n->onlink = reserve(n_addr, sizeof(*n->onlink));
	n->onlink_port = reserve(n_addr, 1);
	for (unsigned i = 0; i < NEIGH_MAX; i++)
		n->neigh[i].gen = 1;
	for (unsigned i = 0; i < PENDING_MAX; i++)
		n->pending[i].next = (uint16_t)(i + 1 < PENDING_MAX ? i + 2 : 0);
	n->pending_free = 1;
	n->worker = port_core_worker(ports[0]);
	frag_init(n);
	for (unsigned i = 0; i < n_ports; i++)
		add_port(n, i, &c->port[i], ports[i], shared[i]);
	n->n_port = n_ports;
	return n;
}

void net_destroy(struct net_core **pn)
{
	struct net_core *n = *pn;

	if (!n)
		return;
	neigh_fini(n);
	udp_fini(n);
	frag_fini(n);
	for (unsigned i = 0; i < n->n_port && n->own_ports; i++) {
		port_core_destroy(&n->port[i].pc);
		port_close(&n->port[i].shared);
	}
	free(n->onlink_port);
	free(n->onlink);
	free(n->addr_hash);
	free(n->addr);
	free(n);
	*pn = NULL;
}

const struct port_info *net_port_info(const struct net_core *n, unsigned port)
{
	CHECK(port < n->n_port);
	return &n->port[port].info;
}

unsigned net_flow_owner(const struct net_core *n, unsigned port, const struct ip_addr *remote,
			const struct ip_addr *local, uint16_t remote_port, uint16_t local_port)
{
	CHECK(port < n->n_port);
	return port_flow_owner(n->port[port].shared, remote, local, remote_port, local_port);
}

/* Says on each link that our addresses are in use: an ARP announcement (RFC 5227 2.3), or a solicitation
 * for ourselves (RFC 4862 5.4.2). The address is used at once meanwhile (RFC 4429): an answer within a
 * second takes it out of use. */
COLD static void announce(struct net_core *n, uint64_t now_us)
{
	static const struct ip_addr none;

	for (unsigned i = 0; i < n->n_addr; i++) {
		struct net_addr *na = &n->addr[i];
		na->dad = DAD_TENTATIVE;
		na->deadline = now_us + DAD_WAIT_US;
		if (!n->primary)
			continue;
		if (ip_is4(&na->addr))
			arp_request(n, na->port, &na->addr, &na->addr, NULL);
		else
			nd_solicit(n, na->port, &none, &na->addr, NULL);
	}
	n->announced = n->tentative = true;
}

COLD static void dad_done(struct net_core *n, uint64_t now_us)
{
	n->tentative = false;
	for (unsigned i = 0; i < n->n_addr; i++) {
		struct net_addr *na = &n->addr[i];
		if (na->dad == DAD_TENTATIVE && now_us >= na->deadline)
			na->dad = DAD_DONE;
		n->tentative |= na->dad == DAD_TENTATIVE;
	}
}

void net_timers(struct net_core *n, uint64_t now_us)
{
	if (UNLIKELY(!n->announced))
		announce(n, now_us);
	if (UNLIKELY(n->tentative))
		dad_done(n, now_us);
	if (n->frag.n)
		frag_timers(n, now_us);
	if (n->n_timed && now_us >= n->neigh_scan_us)
		neigh_timers(n, now_us);
}
