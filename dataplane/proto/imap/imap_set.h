/*
 * imap_set.h: sequence sets (RFC 3501 section 9, sequence-set) and what they name in a view.
 *
 * A set is parsed into pairs of numbers, then resolved against a view into pairs of indexes: sorted, apart,
 * merged. Everything that walks messages walks such index ranges, whether the client named numbers or UIDs.
 */
#ifndef VEREDUS_IMAP_SET_H
#define VEREDUS_IMAP_SET_H

#include <stdbool.h>
#include <stdint.h>
#include "arena.h"
#include "buf.h"
#include "err.h"
#include "span.h"
#include "store.h"

#define IMAP_SET_STAR UINT32_MAX

struct imap_range {
	uint32_t lo, hi; /* both included */
};
struct imap_set {
	struct imap_range *v;
	uint32_t n;
};

/* All of text. ERR_SYNTAX, ERR_NO_MEMORY. "*" is IMAP_SET_STAR; the order is as written. */
enum err imap_set_parse(struct span text, struct arena *a, struct imap_set *out);
/* Message numbers 1..count into indexes 0..count-1, in place. ERR_NOT_FOUND: a number above count stood there
 * (without a "*" in its range); with lenient it is left out instead. */
enum err imap_set_resolve_seq(struct imap_set *s, uint32_t count, bool lenient);
/* UIDs into indexes of ent[0..count), in place; unknown UIDs are left out (RFC 3501 6.4.8). */
void imap_set_resolve_uid(struct imap_set *s, const struct store_ent *ent, uint32_t count);
bool imap_set_has(const struct imap_set *s, uint32_t index);
/* First index of ent[from..count) with a UID >= uid, or count. */
uint32_t imap_uid_find(const struct store_ent *ent, uint32_t from, uint32_t count, uint32_t uid);

/* The pairs of UIDs behind index ranges, as the store's mutations take them (2 * s->n numbers, in the arena). */
uint32_t *imap_set_uids(const struct imap_set *s, const struct store_ent *ent, struct arena *a);

/* Writes rising numbers as "1:3,5": give each in turn, then the end. */
struct imap_set_writer {
	struct buf *out;
	struct imap_range run;
	bool open, some;
};
void imap_set_put(struct imap_set_writer *w, uint32_t number);
void imap_set_end(struct imap_set_writer *w);

#endif
