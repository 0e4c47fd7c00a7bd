/*
 * http_int.h: what the files of the HTTP server share.
 *
 * A session holds its struct and nothing else: of a request only what struct http_head keeps, no body. Answers are
 * small and are written at once.
 */
#ifndef VEREDUS_HTTP_INT_H
#define VEREDUS_HTTP_INT_H

#include <assert.h>
#include "http_parse.h"
#include "proto.h"

enum http_state {
	HTTP_IDLE,     /* a request line is to come */
	HTTP_FIELDS,
	HTTP_BODY,     /* by Content-Length */
	HTTP_CHUNK,    /* a chunk's size is to come */
	HTTP_DATA,
	HTTP_DATA_END, /* the CRLF behind a chunk */
	HTTP_TRAILER,
	HTTP_CLOSING,
	HTTP_STATE_N
};
#define HTTP_IN(state) (1u << (state))

#define HTTP_LINE_MAX  8192u  /* a request line or field with its CRLF (RFC 9112 3 wants 8000 at least) */
#define HTTP_HEAD_MAX  16384u /* all of them, with the trailer section */
#define HTTP_FIELDS_MAX 100u
#define HTTP_CHUNK_LINE_MAX 256u
#define HTTP_BODY_MAX  65536u /* no resource takes a body: what comes is passed over up to here */

struct http_session;
struct http_resource {
	const char *path;
	uint32_t methods; /* HTTP_METHOD bits */
	void (*run)(struct http_session *hs); /* the request is complete: answers it */
};

struct http_session {
	struct session s; /* first */
	const struct http_resource *resource;
	struct http_head head;
	uint64_t left;       /* bytes to come of the body or chunk */
	uint32_t body_len;   /* so far, chunks only */
	uint32_t head_len;
	uint16_t n_field;
	uint16_t status;     /* with which the request will be refused when it is complete; 0: run */
	uint8_t state;       /* enum http_state */
	bool blank;          /* the empty line before a request that RFC 9112 2.2 allows has come */
};

static inline struct http_session *http_of(struct session *s)
{
	return (struct http_session *)s;
}

/* ---- http_answer.c ---- */
/* Writes a whole answer (RFC 9112 4, 6) of text; no body to HEAD. text "": the status itself, as text. Counts it. */
void http_answer(struct http_session *hs, unsigned status, const char *text);
/* Will the connection be closed after this answer (RFC 9112 9.3)? */
bool http_last(const struct http_session *hs);

/* ---- http_resource.c ---- */
/* NULL: no such resource. */
const struct http_resource *http_resource_find(struct span path);

#endif
