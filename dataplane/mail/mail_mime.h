/*
 * mail_mime.h: the MIME tree of a message (RFC 2045, 2046) as a flat array of parts in an arena, in
 * the order of the text. Part 0 is the message itself. Nothing is rejected: bad MIME gives the best
 * tree that can be read from it. One pass over the lines; time is linear in the size of the
 * message.
 *
 * Invariants: parent < own index; a child lies within its parent's body; depth <= MAIL_DEPTH_MAX,
 * n <= MAIL_PART_MAX; what would go over a limit stays an undivided leaf.
 */
#ifndef VEREDUS_MAIL_MIME_H
#define VEREDUS_MAIL_MIME_H

#include <stdint.h>
#include "arena.h"
#include "err.h"
#include "span.h"

#define MAIL_DEPTH_MAX	  100
#define MAIL_PART_MAX	  10000
#define MAIL_PARAM_MAX	  64  /* per Content-Type or Content-Disposition; the rest is left out */
#define MAIL_BOUNDARY_MAX 200 /* RFC 2046 says 70; a longer one delimits nothing */
#define MAIL_PART_NONE	  UINT32_MAX

/* name=value; quotes, backslashes, folding and comments taken off. RFC 2231 names (x*0*) and values
 * stay raw. */
struct mail_mime_param {
	struct span name, value;
};

struct mail_params {
	struct mail_mime_param *v;
	uint32_t n;
};

enum mail_part_kind {
	MAIL_PART_LEAF,
	MAIL_PART_MULTI,   /* multipart/x: the children are its body parts */
	MAIL_PART_MESSAGE, /* message/rfc822: one child, the inner message */
};

struct mail_part {
	uint32_t parent, first_child, last_child, next; /* MAIL_PART_NONE: none */
	uint32_t lines;					/* line ends in the body */
	uint32_t header_lines;
	uint16_t depth; /* 0 for the message */
	uint8_t kind;	/* enum mail_part_kind */
	bool has_type;	/* a usable Content-Type stood there; else type is the default */
	size_t header_off, header_len; /* in the message; len includes the empty line */
	size_t body_off,
		body_len; /* the encoded body; without the line end that belongs to a delimiter */
	struct span type, subtype; /* as written, or the default */
	struct mail_params params;
	/* .p == NULL where the field is missing. Unfolded, comments taken off where the grammar has
	 * them. */
	struct span id, description, encoding, md5, language, location;
	struct span disposition;
	struct mail_params disposition_params;
};

struct mail_mime {
	struct span msg;
	struct mail_part *part;
	uint32_t n;
	bool limited; /* a limit (depth, parts, arena) left something undivided */
};

/*
 * The parts live in the arena, their texts in the arena or in msg. ERR_OK; ERR_NO_MEMORY only if
 * not even part 0 fitted.
 */
enum err mail_mime_parse(struct arena *a, struct span msg, struct mail_mime *out);

/* Value of a parameter by name (any case); .p == NULL: none. */
struct span mail_params_get(const struct mail_params *p, struct span name);

/*
 * A structured value "token *( ; name=value )" as in Content-Type and Content-Disposition: *head
 * gets the token (with '/' parts), *params the rest. False when there is no token. Bounded by
 * MAIL_PARAM_MAX.
 */
bool mail_params_parse(struct arena *a, struct span raw, struct span *head,
		       struct mail_params *params);

#endif
