/*
 * delivery_reply.h: replies of an SMTP server (RFC 5321 4.2), line by line. Pure; everything is bounded.
 *
 * What is kept of a reply is one line of printable text: it goes into the queue, logs and bounces.
 */
#ifndef VEREDUS_DELIVERY_REPLY_H
#define VEREDUS_DELIVERY_REPLY_H

#include <stdbool.h>
#include <stdint.h>
#include "err.h"
#include "span.h"

#define REPLY_LINE_MAX 2048 /* RFC 5321 4.5.3.1.5 says 512; real servers say more */
#define REPLY_LINES_MAX 100
#define REPLY_TEXT_MAX 400

struct reply {
	uint16_t code;   /* 0: no line yet */
	uint16_t n_line;
	uint16_t len;
	char text[REPLY_TEXT_MAX]; /* "550 5.1.1 No such user", lines joined by a space */
};

void reply_init(struct reply *r);
/* One line without its end. OK: that was the last of the reply; MORE: others follow; SYNTAX: not a reply, or the
 * code changed in the middle; TOO_MANY: lines. *rest: what stands behind code and separator. */
enum err reply_line(struct reply *r, struct span line, struct span *rest);
static inline struct span reply_text(const struct reply *r)
{
	return span_of(r->text, r->len);
}
/* The enhanced status code (RFC 3463) in the text of a reply, or an empty span. */
struct span reply_status(struct span text);

/* What a server offered (RFC 5321 4.1.1.1). */
#define CAP_PIPELINING 0x01
#define CAP_SIZE       0x02
#define CAP_8BITMIME   0x04
#define CAP_ENHANCED   0x08
#define CAP_CHUNKING   0x10
#define CAP_BINARYMIME 0x20
#define CAP_DSN        0x40
struct reply_caps {
	uint32_t caps;
	uint64_t size_max; /* 0 = not told */
};
/* One line of the answer to EHLO, but the first; unknown ones are passed over. */
void reply_cap(struct reply_caps *c, struct span line);

#endif
