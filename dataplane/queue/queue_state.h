/*
 * queue_state.h: a queue item as the bytes that the store keeps for it.
 *
 * Little-endian: version (2), flags, tries u16, accepted u64, expire u64 (wall clock, us), host 16 bytes, port u16,
 * from, last, session, envid (each behind a u16 length), number of recipients u16, then for each: state u8, notify u8,
 * address, reply and orcpt behind u16 lengths. Version 1, which is still read, has no envid, notify and orcpt. A
 * recipient that has the message, and of whom no report is owed, is left out. Pure functions.
 * Invariant: what is read back holds no control byte in an address, envid or orcpt, so it may be written into a command.
 */
#ifndef VEREDUS_QUEUE_STATE_H
#define VEREDUS_QUEUE_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include "buf.h"
#include "queue.h"
#include "span.h"

#define QUEUE_ITEM_RCPT_MAX 100 /* recipients of an item and of one transaction (RFC 5321 4.5.3.1.8) */
#define QUEUE_ADDR_MAX      1000
#define QUEUE_TEXT_MAX      400 /* bytes kept of a reply */
#define QUEUE_ENVID_MAX     100 /* RFC 3461 4.4 */
#define QUEUE_ORCPT_MAX     500 /* RFC 3461 4.2 */

enum queue_rcpt_state {
	QUEUE_PENDING,
	QUEUE_FAILED,    /* for good; its sender has not been told yet */
	QUEUE_RELAYED,   /* passed on to a host without DSN; its sender asked for word of success and has none yet */
	QUEUE_DELIVERED, /* in a mailbox here; the same */
	QUEUE_DONE,      /* never written */
	QUEUE_RCPT_STATES
};

struct queue_state_rcpt {
	enum queue_rcpt_state state;
	uint8_t notify; /* QUEUE_NOTIFY_* */
	struct span addr, reply;
	struct span orcpt; /* as given: type;xtext */
};

struct queue_state {
	bool body_8bit, binary;
	uint8_t ret;         /* enum queue_ret */
	unsigned tries;
	uint64_t accepted_us, expire_us;
	struct queue_site_key site;
	struct span from;    /* empty: null reverse path */
	struct span last;    /* what the last try ended with */
	struct span session; /* that accepted it */
	struct span envid;   /* as given: xtext */
	unsigned n_rcpt;
	struct queue_state_rcpt rcpt[QUEUE_ITEM_RCPT_MAX];
};

/* Appends s; texts are cut at their bounds. */
void queue_state_write(struct buf *b, const struct queue_state *s);
/* Spans point into bytes. ERR_CORRUPT: not what queue_state_write makes; ERR_UNSUPPORTED: another version. */
enum err queue_state_read(struct span bytes, struct queue_state *out);
/* Can be written into a command: no control bytes, and not too long. */
bool queue_addr_ok(struct span addr);

#endif
