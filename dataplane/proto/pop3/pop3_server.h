/*
 * pop3_server.h: POP3 (RFC 1939), with CAPA, response codes and PIPELINING (RFC 2449, 3206).
 *
 * A session sees the INBOX as it was at login: numbers never move. DELE marks; what is marked goes in one
 * commit at QUIT, before its +OK, and in no other way: a lost connection or a timeout deletes nothing.
 * One POP3 session at a time has an account (STORE_LOCK); IMAP may go on beside it, and a message that it
 * expunged is answered -ERR [SYS/TEMP]. UIDL is the entry's object id: the same for ever.
 *
 *   AUTH --PASS--> CHECK --(good)--> LOCK --> SYNC --> TRANS --RETR, TOP, LIST, UIDL--> SEND --> TRANS
 *     ^              |(bad)           |        |         |
 *     |            DELAY              |        |         '--QUIT--> UPDATE --> CLOSING
 *     '--------------'----------------'--------'
 */
#ifndef VEREDUS_POP3_SERVER_H
#define VEREDUS_POP3_SERVER_H

#include "proto.h"

extern const struct proto pop3_proto;

#endif
