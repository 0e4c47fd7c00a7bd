/*
 * imap_server.h: the IMAP4rev1 server (RFC 3501) with LITERAL+ (7888), ID (2971), ENABLE (5161), IDLE (2177),
 * NAMESPACE (2342), UIDPLUS (4315), UNSELECT (3691), MOVE (6851), CHILDREN (3348), SASL-IR (4959), LIST-EXTENDED (5258),
 * LIST-STATUS (5819), SPECIAL-USE (6154), ESEARCH (4731), WITHIN (5032), STATUS=SIZE (8438), APPENDLIMIT (7889).
 *
 * Needs in the session's environment: conf (hostname, message_size_max, imap_timeout_s), store, auth, pool,
 * stat. All else is private to the folder.
 */
#ifndef VEREDUS_IMAP_SERVER_H
#define VEREDUS_IMAP_SERVER_H

#include "proto.h"

extern const struct proto imap_proto;

#endif
