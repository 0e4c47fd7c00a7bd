/*
 * smtp_server.h: the receiving side of SMTP (RFC 5321, with 1870 SIZE, 2034 enhanced codes, 2920
 * PIPELINING, 3030 CHUNKING and BINARYMIME, 3461 DSN, 6152 8BITMIME). One session a connection; its replies leave in the order of the commands.
 *
 * The promise: 250 to the end of data is said only when the message is on stable storage. Copies of a
 * message's bytes on the clean path: none, but that runs shorter than SLICE_COPY_MAX are put together.
 *
 *   GREETING --(220 has left)--> START --HELO/EHLO--> READY --MAIL--> MAIL --RCPT--> RCPT --DATA--> DATA
 *                                                      ^                                             |
 *                                                      '--(250, 4xx, 5xx)-- COMMIT <--(CRLF.CRLF)----'
 *   RCPT --BDAT--> CHUNK --(octets)--> CHUNKS --BDAT--> CHUNK --(octets of BDAT LAST)--> COMMIT; a chunk refused: READY
 *   RSET, HELO and EHLO lead back to READY from MAIL, RCPT and CHUNKS; QUIT, too many errors, a timeout, shutdown
 *   and a client that does not speak SMTP lead to CLOSING from anywhere (from COMMIT when it is done).
 */
#ifndef VEREDUS_SMTP_SERVER_H
#define VEREDUS_SMTP_SERVER_H

#include "proto.h"

extern const struct proto smtp_proto;

#endif
