/*
 * frag.c: putting fragments together: IPv4 (RFC 791, 815, 1858, 3128) and IPv6 (RFC 8200 4.5, 5722,
 * 7112).
 *
 * Owns the table of unfinished packets. Fragments are copied into one packet buffer at their place,
 * with a bit for each 8 bytes, so the cost of a fragment depends neither on their order nor on how
 * many came before; what would not fit one buffer is not put together. An exact copy of what is
 * there is passed over; anything else that overlaps, or contradicts the length, ends the whole
 * packet, and the entry stays without a buffer to refuse the rest of it. Where several workers run
 * each gets all fragments; who owns the flow goes on with the result (input.c). Invariants: 1. at
 * most n_max entries, FRAG_SRC_MAX of sources with one hash, FRAG_US long; 2. entries are linked by
 * age, all live equally long; 3. nothing behind the first `high` bytes of a buffer was written.
 */
#include "net_int.h"
#include "hot.h"

#define FRAG_US	  60000000 /* RFC 1122 3.3.2, RFC 8200 4.5 */
#define QUOTE_MAX 64	   /* payload that an ICMP error about a lost fragment quotes */

void frag_init(struct net_core *n)
{
	struct frag_table *t = &n->frag;
	unsigned part = pkt_pool_size(n->pool) / 16;

	t->n_max = part < 4 ? 4 : part > FRAG_MAX ? FRAG_MAX : part;
	for (unsigned i = 0; i < t->n_max; i++)
		t->e[i].next = (uint16_t)(i + 1 < t->n_max ? i + 2 : 0);
	t->free = 1;
}

static unsigned key_of(const struct net_core *n, const struct ip_addr *src,
		       const struct ip_addr *dst, uint32_t id, uint8_t proto)
{
	uint64_t name[5] = {src->d[0], src->d[1], dst->d[0], dst->d[1], (uint64_t)proto << 32 | id};

	return (unsigned)siphash(n->rnd->key, name, sizeof(name)) % FRAG_MAX;
}

/* Sources share by /64. */
static unsigned src_slot(const struct net_core *n, const struct ip_addr *src)
{
	uint64_t part = ip_is4(src) ? src->d[1] : src->d[0];

	return (unsigned)siphash(n->rnd->key, &part, sizeof(part)) % FRAG_MAX;
}

static uint8_t key_proto(const struct frag *f)
{
	return ip_is4(&f->src) ? f->proto : 0;
}

static void entry_drop(struct net_core *n, struct frag *f)
{
	struct frag_table *t = &n->frag;
	uint16_t slot = (uint16_t)(f - t->e + 1);
	uint16_t *link = &t->hash[key_of(n, &f->src, &f->dst, f->id, key_proto(f))];

	while (*link != slot)
		link = &t->e[*link - 1].next;
	*link = f->next;
	*(f->older ? &t->e[f->older - 1].newer : &t->oldest) = f->newer;
	*(f->newer ? &t->e[f->newer - 1].older : &t->newest) = f->older;
	t->by_src[src_slot(n, &f->src)]--;
	if (f->pkt)
		pkt_free(f->pkt);
	f->pkt = NULL;
	f->next = t->free;
	t->free = slot;
	t->n--;
}

/* What cannot become whole any more holds no buffer, and keeps its place until its time is over. */
static void poison(struct net_core *n, struct frag *f)
{
	stat_inc(n->stat, STAT_net_fragment_overlap);
	pkt_free(f->pkt);
	f->pkt = NULL;
}

static struct frag *entry_find(struct net_core *n, const struct frag *name)
{
	struct frag_table *t = &n->frag;
	unsigned key = key_of(n, &name->src, &name->dst, name->id, key_proto(name));

	for (unsigned i = t->hash[key]; i; i = t->e[i - 1].next) {
		struct frag *f = &t->e[i - 1];
		if (f->id == name->id && key_proto(f) == key_proto(name) &&
		    ip_eq(&f->src, &name->src) && ip_eq(&f->dst, &name->dst))
			return f;
	}
	return NULL;
}

/* Room for one more of this source: its own oldest gives way, or everybody's. */
static void make_room(struct net_core *n, unsigned src)
{
	struct frag_table *t = &n->frag;
	unsigned i = t->oldest;

	if (t->by_src[src] >= FRAG_SRC_MAX) {
		while (src_slot(n, &t->e[i - 1].src) != src)
			i = t->e[i - 1].newer;
	} else if (t->n < t->n_max) {
		return;
	}
	stat_inc(n->stat, STAT_net_fragment_evicted);
	entry_drop(n, &t->e[i - 1]);
}

static uint32_t header_len(const struct frag *f)
{
	return ETH_LEN + (ip_is4(&f->src) ? IP4_LEN : IP6_LEN);
}

static struct frag *entry_new(struct net_core *n, const struct frag *name, uint64_t now_us)
{
	struct frag_table *t = &n->frag;
	unsigned src = src_slot(n, &name->src);
	struct pkt *p = pkt_alloc(n->pool);

	if (!p || pkt_room(p) < header_len(name) + FRAG_BYTES) {
		stat_inc(n->stat, STAT_pkt_alloc_fail);
		if (p)
			pkt_free(p);
		return NULL;
	}
	make_room(n, src);
	struct frag *f = &t->e[t->free - 1];
	uint16_t slot = t->free;
	unsigned key = key_of(n, &name->src, &name->dst, name->id, key_proto(name));
	t->free = f->next;
	*f = *name;
	f->pkt = p;
	f->deadline = now_us + FRAG_US;
	f->next = t->hash[key];
	t->hash[key] = slot;
	f->older = t->newest;
	*(t->newest ? &t->e[t->newest - 1].newer : &t->oldest) = slot;
	t->newest = slot;
	t->by_src[src]++;
	t->n++;
	memset(pkt_append(p, header_len(f)), 0, header_len(f));
	return f;
}

static bool bit(const uint64_t *map, uint32_t block)
{
	return map[block / 64] >> block % 64 & 1;
}

/* Was exactly this fragment here before? Anything else that overlaps is an attack (RFC 5722). */
static bool is_copy(const struct frag *f, uint32_t off, const uint8_t *data, uint32_t len,
		    bool last)
{
	uint32_t from = off / 8, end = (off + len + 7) / 8;

	if (off + len > f->high || last != (f->total == off + len) || !bit(f->starts, from))
		return false;
	for (uint32_t i = from; i < end; i++)
		if (!bit(f->have, i) || (i > from && bit(f->starts, i)))
			return false;
	if (end < FRAG_BLOCKS && bit(f->have, end) && !bit(f->starts, end))
		return false;
	return memcmp(pkt_data_inline(f->pkt) + header_len(f) + off, data, len) == 0;
}

/* Puts len bytes at off. False: it was there, or the packet is spoilt. */
static bool place(struct net_core *n, struct frag *f, uint32_t off, const uint8_t *data,
		  uint32_t len, bool last)
{
	uint8_t *to = pkt_data_inline(f->pkt) + header_len(f) + off;
	uint32_t from = off / 8, end = (off + len + 7) / 8, old = 0;

	for (uint32_t i = from; i < end; i++)
		old += bit(f->have, i);
	if (old && is_copy(f, off, data, len, last)) {
		stat_inc(n->stat, STAT_net_fragment_drop);
		return false;
	}
	bool contradicts = last ? (f->total && f->total != off + len) || f->high > off + len
				: f->total && off + len > f->total;
	if (old || contradicts) {
		poison(n, f);
		return false;
	}
	memcpy(to, data, len);
	for (uint32_t i = from; i < end; i++)
		f->have[i / 64] |= 1ull << i % 64;
	f->starts[from / 64] |= 1ull << from % 64;
	f->blocks += end - from;
	if (off + len > f->high)
		f->high = off + len;
	if (last)
		f->total = off + len;
	if (off == 0)
		f->first_len = len;
	return true;
}

/* RFC 3168 5.3: a mark on one fragment is one on the packet. */
static void merge_ecn(struct frag *f, uint8_t ecn)
{
	if (ecn == 3)
		f->ecn = 3;
}

static bool whole(const struct frag *f)
{
	return f->total && f->blocks == (f->total + 7) / 8;
}

/* The packet leaves the table. */
static uint8_t *finish(struct net_core *n, struct net_seg *seg, struct frag *f)
{
	uint32_t hdr = header_len(f);

	pkt_append(f->pkt, f->total);
	pkt_free(seg->pkt);
	seg->pkt = f->pkt;
	seg->l4 = pkt_data_inline(f->pkt) + hdr;
	seg->l4_len = f->total;
	seg->ecn = f->ecn;
	f->pkt = NULL;
	entry_drop(n, f);
	stat_inc(n->stat, STAT_net_reassembled);
	return pkt_data_inline(seg->pkt) + ETH_LEN;
}

/* RFC 7112, 1858: the first fragment says what the packet is, or it is an attempt to hide that. */
static bool tiny(uint8_t proto, uint32_t len)
{
	return len < (proto == PROTO_TCP ? TCP_LEN : 8u);
}

uint8_t *frag4_input(struct net_core *n, struct net_seg *seg, const uint8_t *l3, uint64_t now_us)
{
	uint32_t off = (get16(l3 + 6) & 0x1fffu) * 8, len = seg->l4_len;
	bool more = get16(l3 + 6) & 0x2000;
	struct frag name = {.src = seg->src,
			    .dst = seg->dst,
			    .id = get16(l3 + 4),
			    .proto = l3[9],
			    .port = seg->port,
			    .ecn = seg->ecn};

	stat_inc(n->stat, STAT_net_fragment_in);
	if (len == 0 || (more && len % 8) || off + len > FRAG_BYTES ||
	    (off == 0 && tiny(name.proto, len)) ||
	    (off == 8 && name.proto == PROTO_TCP)) /* RFC 3128 */
		goto drop;
	struct frag *f = entry_find(n, &name);
	if (!f)
		f = entry_new(n, &name, now_us);
	if (!f || !f->pkt)
		goto drop;
	if (!place(n, f, off, seg->l4, len, !more)) {
		pkt_free(seg->pkt);
		return NULL;
	}
	merge_ecn(f, seg->ecn);
	uint8_t *eth = pkt_data_inline(f->pkt), *h = eth + ETH_LEN;
	if (off == 0) {
		memcpy(eth, pkt_data_inline(seg->pkt), ETH_LEN);
		memcpy(h, l3, IP4_LEN);
		h[0] = 0x45;
	}
	if (!whole(f)) {
		pkt_free(seg->pkt);
		return NULL;
	}
	put16(h + 2, IP4_LEN + f->total);
	put16(h + 6, 0);
	h[10] = h[11] = 0;
	uint16_t c = csum_fold(csum_small(0, h, IP4_LEN));
	memcpy(h + 10, &c, 2);
	return finish(n, seg, f);
drop:
	net_drop(n, seg->pkt, STAT_net_fragment_drop);
	return NULL;
}

/* RFC 7112: the whole chain of headers must be in the first fragment. */
static bool chain_complete(const uint8_t *frame_l3, uint32_t off, uint32_t len, uint8_t proto)
{
	struct ip6_walk w = {.proto = proto, .off = off, .nh_at = 6};

	return ip6_walk(frame_l3, off + len, &w) && w.proto != IP6_FRAGMENT &&
	       !tiny(w.proto, off + len - w.off);
}

static void report6(struct net_core *n, const struct net_seg *seg, const uint8_t *l3, uint8_t code,
		    uint32_t at, uint64_t now_us)
{
	if (n->primary) /* every worker has a copy */
		icmp_error_send(n, seg, l3, ICMP6_PARAM, code, at, now_us);
}

uint8_t *frag6_input(struct net_core *n, struct net_seg *seg, const uint8_t *l3,
		     const struct ip6_walk *w, uint64_t now_us)
{
	const uint8_t *fh = l3 + w->off;
	uint32_t off = get16(fh + 2) & 0xfff8u, len = seg->l4_len - 8;
	bool more = fh[3] & 1;
	struct frag name = {.src = seg->src,
			    .dst = seg->dst,
			    .id = get32(fh + 4),
			    .proto = fh[0],
			    .port = seg->port,
			    .ecn = seg->ecn};

	stat_inc(n->stat, STAT_net_fragment_in);
	/* RFC 8200 4.5 */
	if (more && len % 8) {
		report6(n, seg, l3, 0, 4, now_us);
		goto drop;
	}
	if (off + len > UINT16_MAX) {
		report6(n, seg, l3, 0, w->off + 2, now_us);
		goto drop;
	}
	if (len == 0 || off + len > FRAG_BYTES)
		goto drop;
	if (off == 0 && !chain_complete(l3, w->off + 8, len, fh[0])) {
		report6(n, seg, l3, 3, 0, now_us);
		goto drop;
	}
	struct frag *f = entry_find(n, &name);
	if (!f)
		f = entry_new(n, &name, now_us);
	if (!f || !f->pkt)
		goto drop;
	if (!place(n, f, off, seg->l4 + 8, len, !more)) {
		pkt_free(seg->pkt);
		return NULL;
	}
	merge_ecn(f, seg->ecn);
	uint8_t *eth = pkt_data_inline(f->pkt), *h = eth + ETH_LEN;
	if (off == 0) {
		/* The unfragmentable part was looked at; what counts of it is the fixed header. */
		memcpy(eth, pkt_data_inline(seg->pkt), ETH_LEN);
		memcpy(h, l3, IP6_LEN);
		h[6] = fh[0];
	}
	if (!whole(f)) {
		pkt_free(seg->pkt);
		return NULL;
	}
	put16(h + 4, f->total);
	return finish(n, seg, f);
drop:
	net_drop(n, seg->pkt, STAT_net_fragment_drop);
	return NULL;
}

/* RFC 792, RFC 8200 4.5: who sent the first fragment hears that others did not come. */
static void time_exceeded(struct net_core *n, const struct frag *f, uint64_t now_us)
{
	struct net_seg seg = {.src = f->src, .dst = f->dst, .port = f->port};

	if (!f->pkt || !f->first_len || !n->primary)
		return;
	seg.l4 = pkt_data_inline(f->pkt) + header_len(f);
	seg.l4_len = f->first_len < QUOTE_MAX ? f->first_len : QUOTE_MAX;
	icmp_error_send(n, &seg, pkt_data_inline(f->pkt) + ETH_LEN,
			ip_is4(&f->src) ? ICMP4_TIME : ICMP6_TIME, 1, 0, now_us);
}

void frag_timers(struct net_core *n, uint64_t now_us)
{
	while (n->frag.oldest) {
		struct frag *f = &n->frag.e[n->frag.oldest - 1];
		if (now_us < f->deadline)
			return;
		stat_inc(n->stat, STAT_net_fragment_timeout);
		time_exceeded(n, f, now_us);
		entry_drop(n, f);
	}
}

void frag_fini(struct net_core *n)
{
	while (n->frag.oldest)
		entry_drop(n, &n->frag.e[n->frag.oldest - 1]);
}
