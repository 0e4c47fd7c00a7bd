/*
 * delivery.h: mail on its way out. One struct delivery a worker, over the worker's queue.
 *
 * Each turn delivery_turn() claims due items, gives them to idle outbound sessions, and notes where a new
 * connection is wanted; the loop opens it and makes a session of delivery_proto (or says it failed).
 * A session speaks SMTP as a client: EHLO, pipelined MAIL/RCPT/DATA, the body as slices of the packets it
 * arrived in, RSET/QUIT, several messages a connection. What became of each recipient is one store
 * commit: done, again at a later time, or bounced (RFC 3464; the bounce and the end of the item in the
 * same commit).
 */
#ifndef VEREDUS_DELIVERY_H
#define VEREDUS_DELIVERY_H

#include "proto.h"
#include "queue.h"

struct delivery;

struct delivery *delivery_create(struct proto_env *env);
void delivery_destroy(struct delivery **d);
/* Claims, assigns, expires. Cheap when nothing is due. */
void delivery_turn(struct delivery *d);
/* Sessions that delivery_turn gave work to: after each turn the loop calls it until NULL, and proto->input for each
 * session it gets, as if bytes had come. */
struct session *delivery_woken(struct delivery *d);
/* Earliest time (monotonic us) at which delivery_turn has something to do; UINT64_MAX = never. */
uint64_t delivery_next_us(const struct delivery *d);

struct delivery_want {
	struct queue_site_key site;
	void *cookie;
};
/* The next connection to open, if any; the loop answers with delivery_attach or delivery_failed. */
bool delivery_want(struct delivery *d, struct delivery_want *out);
/* The loop has made a session of delivery_proto for the want and started tcp_connect; before proto->open,
 * which is called when the connection stands. If it never stands the loop calls delivery_failed and then
 * proto->close. */
extern const struct proto delivery_proto;
void delivery_attach(struct delivery *d, struct session *s, void *cookie);
/* No session or connection could be made (also: refused, unreachable, timed out before open). */
void delivery_failed(struct delivery *d, void *cookie, enum err why);

#endif
