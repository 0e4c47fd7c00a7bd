/*
 * fake_store.h: what the store's stand-in offers to tests beyond store.h. Link fake_store.c instead of
 * the store: the same calls, everything in memory, operations done when store_step is called.
 */
#ifndef VEREDUS_FAKE_STORE_H
#define VEREDUS_FAKE_STORE_H

#include <stdbool.h>
#include "store.h"

/* The next n operations of that verb end with err and change nothing. */
void fake_store_fail(struct store *s, enum store_verb verb, enum err err, unsigned n);
/* While held, store_step does nothing: operations stay under way. */
void fake_store_hold(struct store *s, bool hold);
/* Adds or replaces an account at once; returns its id. pass: stored as it is. */
uint64_t fake_store_account(struct store *s, const char *name, const char *pass);
/* Puts a message into a folder (by name) at once; returns its UID. */
uint32_t fake_store_message(struct store *s, uint64_t acct, const char *folder, struct span bytes,
			    uint32_t blob_flags, uint32_t flags, int64_t idate_s);
/* Bytes of the blob of the nth message (from 0) of a folder; empty if there is none. */
struct span fake_store_bytes(struct store *s, uint64_t acct, const char *folder, unsigned nth);
/* The nth queue item, or NULL. */
const struct store_qitem *fake_store_qitem(struct store *s, unsigned nth);
/* The bytes of any blob that is complete; its facts in *b (may be NULL). */
struct span fake_store_blob(struct store *s, store_id id, struct store_blob *b);

#endif
