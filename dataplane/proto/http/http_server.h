/*
 * http_server.h: HTTP/1.1 (RFC 9110, 9112), the server's side: for load balancers now, for protocols that stand on it later.
 *
 * A session reads one request after the other, in the order they came (pipelining); each is answered when it has been
 * read with its body. What is wrong with a message's framing is answered and ends the connection (9112 11.2): nobody
 * can know where the next request begins. What is wrong with the request only (404, 405, 501, 417) leaves it open.
 * A request has http_timeout to come, an idle connection the same.
 *
 *   IDLE --request line--> HEAD --(no body)-----------------------------> answer --> IDLE or CLOSING
 *                            |--Content-Length--> BODY --------------------^
 *                            '--chunked--> CHUNK --> DATA --> DATA_END --> CHUNK
 *                                            '--(size 0)--> TRAILER -------^
 */
#ifndef VEREDUS_HTTP_SERVER_H
#define VEREDUS_HTTP_SERVER_H

#include "proto.h"

extern const struct proto http_proto;

#endif
