/*
 * fake_store.h: what tests of sessions need of a store beyond store.h. Two things stand behind it: fake_store.c,
 * a stand-in for the whole store with faults on demand, and real_store.c, the store itself on a disk in memory.
 * Operations are done when fake_store_step is called.
 */
#ifndef VEREDUS_FAKE_STORE_H
#define VEREDUS_FAKE_STORE_H

#include <stdbool.h>
#include "store.h"

struct store *fake_store_open(struct pkt_pool *pool);
void fake_store_close(struct store **s);
/* True if it did something. */
bool fake_store_step(struct store *s);
/* The next n operations of that verb end with err and change nothing. False: cannot (real_store.c). */
bool fake_store_fail(struct store *s, enum store_verb verb, enum err err, unsigned n);
/* While held, fake_store_step does nothing: operations stay under way. */
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
/* The bytes of any blob that is complete, until the next call; its facts in *b (may be NULL; real_store.c: must). */
struct span fake_store_blob(struct store *s, store_id id, struct store_blob *b);

#endif
