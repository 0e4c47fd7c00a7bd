/*
 * pkt.h: packets and slices. The only folder that knows what a packet is made of (rte_mbuf).
 *
 * A packet is a reference-counted buffer. Received data stays in the packet it arrived in; a slice names
 * a run of bytes in it and holds one reference. Slices may cross cores: the count is atomic.
 * Invariants: 1. bytes that a slice covers never change once the slice was handed on;
 * 2. whoever is given a slice "to take" drops it with slice_drop; 3. a packet with more than one
 * reference is never edited.
 * Two implementations of pkt_pool/pkt_alloc/pkt_free stand behind this header: pkt_eal.c (mempool) and
 * pkt_heap.c (malloc, for unit tests: AddressSanitizer then sees a one-byte overrun, and
 * pkt_heap_outstanding() must be 0 at the end of a test).
 */
#ifndef VEREDUS_PKT_H
#define VEREDUS_PKT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "span.h"

#define PKT_HEADROOM 128 /* free bytes in front of a fresh packet's data: Ethernet + VLAN + IPv6 + TCP + options */
#define PKT_ROOM     2048 /* data bytes of a normal packet, without the headroom */
#define PKT_BIG_ROOM 36864 /* of a big packet: 32 KiB of data at 4 KiB alignment for direct disk I/O */
#define SLICE_COPY_MAX 256 /* shorter payload is copied together, so that tiny segments cannot pin buffers */

struct pkt;      /* a struct rte_mbuf; see pkt_inline.h */
struct pkt_pool; /* a struct rte_mempool, or a heap counter */

struct slice {
	struct pkt *pkt;
	uint8_t *data;
	uint32_t len;
};

/* A growing list of slices: a message body. Zeroed = empty. */
struct slices {
	struct slice *v;
	uint32_t n, cap;
	uint64_t len; /* bytes in all */
};

/* EAL implementation: needs rte_eal_init. room: data bytes without headroom. NULL when memory is out. */
struct pkt_pool *pkt_pool_create(const char *name, unsigned n, unsigned room);
void pkt_pool_destroy(struct pkt_pool **pool);
/* Free packets left (approximate while others allocate) and the size. */
unsigned pkt_pool_free_n(const struct pkt_pool *pool);
unsigned pkt_pool_size(const struct pkt_pool *pool);

/* True when whoever keeps len bytes of this packet until a peer takes them had better copy them into normal packets: it
 * is a big one, and the bytes are less than a normal packet holds or less than half of its pool is left. Big packets
 * are few, and each serves all who read from the store. */
bool pkt_dear(const struct pkt *p, uint32_t len);

/* An empty packet with PKT_HEADROOM in front, one reference; NULL when the pool is empty. */
struct pkt *pkt_alloc(struct pkt_pool *pool);
/* Drops one reference of every segment in the chain. */
void pkt_free(struct pkt *p);
/* One more reference on this segment. */
void pkt_ref(struct pkt *p);
/* A packet (one segment) that shows the slice's bytes without copying and holds its own reference to
 * them; NULL when the pool is empty. For chaining behind a header packet. */
struct pkt *pkt_attach(struct pkt_pool *pool, const struct slice *s);
/* Puts next (and its chain) behind the last segment of head. */
void pkt_chain(struct pkt *head, struct pkt *next);

uint8_t *pkt_data(struct pkt *p);
uint32_t pkt_len(const struct pkt *p);      /* of this segment */
uint32_t pkt_total(const struct pkt *p);    /* of the chain */
uint32_t pkt_room(const struct pkt *p);     /* bytes that pkt_append still takes */
uint8_t *pkt_append(struct pkt *p, uint32_t len);  /* where they go; NULL when there is no room */
uint8_t *pkt_prepend(struct pkt *p, uint32_t len); /* NULL when there is no headroom */
/* Takes len bytes off the front / the end of this segment; len <= pkt_len. */
void pkt_trim_head(struct pkt *p, uint32_t len);
void pkt_trim_tail(struct pkt *p, uint32_t len);
/* 4 KiB-aligned memory inside a big packet for direct I/O; its data then is the first len bytes there. */
uint8_t *pkt_aligned(struct pkt *p, uint32_t len);

/* A slice of p with a reference of its own. data must lie in p. */
struct slice slice_of(struct pkt *p, uint8_t *data, uint32_t len);
struct slice slice_ref(const struct slice *s);
/* Gives the reference back; s becomes empty. */
void slice_drop(struct slice *s);
static inline struct span slice_span(const struct slice *s)
{
	return span_of(s->data, s->len);
}

/* Appends and takes the slice; merges with the last one when it continues it in the same packet. */
void slices_push(struct slices *l, struct slice s);
/* Copies bytes to the end, filling up packets from the pool; false (nothing added) when it is empty. */
bool slices_copy(struct slices *l, struct pkt_pool *pool, struct span bytes);
/* Adds references to len bytes of src from off on. */
void slices_add_range(struct slices *l, const struct slices *src, uint64_t off, uint64_t len);
/* Copies up to len bytes from off into dst; returns how many. */
size_t slices_read(const struct slices *l, uint64_t off, void *dst, size_t len);
/* Drops len bytes from the front. */
void slices_consume(struct slices *l, uint64_t len);
void slices_drop(struct slices *l); /* all; frees the array */

#ifdef VEREDUS_PKT_HEAP
/* Heap implementation only: packets not yet freed; make the nth allocation from now fail (0 = never). */
unsigned pkt_heap_outstanding(void);
void pkt_heap_fail_after(unsigned n);
/* A packet of no pool whose buffer ends with its data: AddressSanitizer sees a read of one byte beyond. */
struct pkt *pkt_heap_exact(const void *bytes, uint32_t len);
#endif

#endif
