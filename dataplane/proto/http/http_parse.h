/*
 * http_parse.h: the lines of an HTTP/1.1 request (RFC 9112), without their CRLF: request line, fields, chunk sizes.
 * Pure functions. They return 0 or the status with which the request is refused. Strict wherever two readers of the same
 * bytes might disagree about where a message ends: no folding, no blank before a colon, no bare CR, no second opinion
 * about a length.
 */
#ifndef VEREDUS_HTTP_PARSE_H
#define VEREDUS_HTTP_PARSE_H

#include <stdbool.h>
#include <stdint.h>
#include "span.h"

enum http_method { /* RFC 9110 9.3; RFC 5789 */
	HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_DELETE, HTTP_OPTIONS, HTTP_TRACE, HTTP_PATCH,
	HTTP_METHOD_N /* all others, CONNECT among them: 501 */
};
#define HTTP_METHOD(m) (1u << (m))
extern const char http_method_name[HTTP_METHOD_N][8];

/* What is kept of a request's head. Zeroed, but for method, by http_head_init. */
struct http_head {
	uint64_t length;     /* Content-Length, if has_length; UINT64_MAX: more than fits */
	uint8_t method;      /* enum http_method */
	uint8_t minor;       /* of the version: 0 or 1 (what is above counts as 1) */
	uint8_t n_host;
	bool has_length, has_coding, chunked, other_coding;
	bool expect, expect_other;    /* Expect: 100-continue; anything else */
	bool close, keep_alive;       /* as the client asked */
};

void http_head_init(struct http_head *h);
/* RFC 9112 3. *path: of the target, without its query, as it was sent (nothing is decoded); empty where the method is
 * unknown. 400 or 505. */
unsigned http_request_line(struct span line, struct http_head *h, struct span *path);
/* A field of the head (RFC 9112 5, 6; RFC 9110 5.5, 7.2, 7.6.1, 8.6, 10.1.1). 400. */
unsigned http_field(struct span line, struct http_head *h);
/* A field of the trailer section (RFC 9112 7.1.2): its form is checked, nothing is taken from it. 400. */
unsigned http_trailer(struct span line);
/* All fields are there: do they go together (RFC 9112 3.2, 6.1, 6.3)? 400 or 501. */
unsigned http_head_end(const struct http_head *h);
/* RFC 9112 7.1: size, extensions thrown away. *size is UINT64_MAX where it does not fit. 400. */
unsigned http_chunk_size(struct span line, uint64_t *size);

#endif
