/*
 * fuzz_session.h: runs a session of a protocol on hostile bytes. The input is what the client sends, but 0xff is
 * followed by a byte that says what else happens (see events in fuzz_session.c). Ends the process when an invariant
 * of the session, the store's stand-in or the packets is broken.
 */
#ifndef VEREDUS_FUZZ_SESSION_H
#define VEREDUS_FUZZ_SESSION_H

#include "proto.h"

void fuzz_session(const struct proto *proto, const uint8_t *data, size_t size);

#endif
