/*
 * mail_envelope.h: what IMAP FETCH says about a message: ENVELOPE, BODY, BODYSTRUCTURE (RFC
 * 3501 7.4.2) and the bytes behind a section specification (6.4.5).
 *
 * Texts of the message go out as quoted strings when they are plain ASCII, else as literals {n};
 * never with a bare CR, LF or NUL in a quoted string, so no message can break the line it is
 * reported in.
 */
#ifndef VEREDUS_MAIL_ENVELOPE_H
#define VEREDUS_MAIL_ENVELOPE_H

#include <stdint.h>
#include "arena.h"
#include "buf.h"
#include "err.h"
#include "mail_mime.h"
#include "span.h"

/* NIL when s.p == NULL; else "quoted" or {n}CRLF literal. A NUL in s goes out as 0x80 (RFC 3501 4.3
 * has no NUL). */
void mail_nstring_write(struct buf *b, struct span s);
/* As an atom if it can be one, else as a string: mailbox names, header names. */
void mail_astring_write(struct buf *b, struct span s);

/* "(date subject from sender reply-to to cc bcc in-reply-to message-id)" of the header at the front
 * of msg. */
void mail_envelope_write(struct buf *b, struct arena *scratch, struct span msg);

/* The BODY (extended false) or BODYSTRUCTURE text of the whole message, with its parentheses. */
void mail_bodystructure_write(struct buf *b, struct arena *scratch, const struct mail_mime *m,
			      bool extended);

enum mail_section_kind {
	MAIL_SECTION_ALL, /* BODY[] or BODY[1.2] */
	MAIL_SECTION_HEADER,
	MAIL_SECTION_FIELDS,
	MAIL_SECTION_FIELDS_NOT,
	MAIL_SECTION_TEXT,
	MAIL_SECTION_MIME,
};

struct mail_section {
	uint32_t kind; /* enum mail_section_kind */
	uint32_t n_path;
	uint32_t path[MAIL_DEPTH_MAX]; /* part numbers from 1 */
	struct span *field;	       /* names for FIELDS and FIELDS_NOT */
	uint32_t n_field;
};
#define MAIL_SECTION_FIELD_MAX 256

/*
 * The text between the brackets: "", "1.2", "1.2.MIME", "HEADER.FIELDS (From To)". Names may be
 * atoms or quoted; a session that gets literals fills the struct itself. The field array is in the
 * arena. ERR_SYNTAX, ERR_TOO_MANY, ERR_NO_MEMORY.
 */
enum err mail_section_parse(struct arena *a, struct span text, struct mail_section *out);
/* The same text back, as FETCH responses echo it. */
void mail_section_write(struct buf *b, const struct mail_section *s);
/* May it be answered from the header alone (no body needed)? */
bool mail_section_is_header(const struct mail_section *s);

/*
 * The bytes of the section: a span of the message, or (FIELDS, FIELDS_NOT) one in the arena that
 * ends in an empty line. ERR_NOT_FOUND: there is no such part (answer NIL). ERR_NO_MEMORY.
 */
enum err mail_part_find(const struct mail_mime *m, const struct mail_section *s, struct arena *a,
			struct span *out);
/* FIELDS and FIELDS_NOT over a header that is at hand without a tree. */
enum err mail_header_filter(struct span header, const struct mail_section *s, struct arena *a,
			    struct span *out);

#endif
