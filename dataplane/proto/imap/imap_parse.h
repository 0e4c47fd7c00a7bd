/*
 * imap_parse.h: the tokens of IMAP commands (RFC 3501 section 9). Bytes in, spans out.
 *
 * The text of a command is its lines and literals as they came, one behind the other: "A1 LOGIN {3}CRLFbob x".
 * Results are spans of that text, or copies in the arena where backslashes had to go. No function moves
 * forward when it says false.
 */
#ifndef VEREDUS_IMAP_PARSE_H
#define VEREDUS_IMAP_PARSE_H

#include <stdbool.h>
#include <stdint.h>
#include "arena.h"
#include "span.h"

struct imap_parser {
	struct span text;
	size_t off;
	struct arena *arena;
};

struct imap_parser imap_parser_of(struct span text, struct arena *arena);
static inline struct span imap_parse_rest(const struct imap_parser *p)
{
	return span_from(p->text, p->off);
}
static inline bool imap_parse_end(const struct imap_parser *p)
{
	return p->off == p->text.len;
}
bool imap_parse_char(struct imap_parser *p, uint8_t c);
static inline bool imap_parse_sp(struct imap_parser *p)
{
	return imap_parse_char(p, ' ');
}
bool imap_parse_peek(const struct imap_parser *p, uint8_t c);
/* The word, any case, followed by no further atom character. */
bool imap_parse_word(struct imap_parser *p, struct span word);

bool imap_parse_tag(struct imap_parser *p, struct span *out);
bool imap_parse_atom(struct imap_parser *p, struct span *out);
/* quoted / literal. A quoted string holds no CR, LF or NUL, a literal may. 8-bit bytes, which RFC 3501 has in literals
 * alone, are taken in both: passwords come so from many clients, and RFC 9051 allows them. */
bool imap_parse_string(struct imap_parser *p, struct span *out);
bool imap_parse_astring(struct imap_parser *p, struct span *out);
/* NIL gives .p == NULL. */
bool imap_parse_nstring(struct imap_parser *p, struct span *out);
/* list-mailbox: an atom that may hold % and *, or a string. */
bool imap_parse_pattern(struct imap_parser *p, struct span *out);
bool imap_parse_u32(struct imap_parser *p, uint32_t *out);
/* The characters of a sequence set, not yet understood: imap_set.h. */
bool imap_parse_set_text(struct imap_parser *p, struct span *out);

/* A list of flags, with or without parentheses (STORE allows both). */
struct imap_flags {
	uint32_t flags;   /* enum store_flag */
	struct span kws;  /* keywords with one space between */
	bool recent;      /* \Recent stood there: never to be stored */
};
/* False also for an unknown system flag. The keywords are in the arena. */
bool imap_parse_flags(struct imap_parser *p, bool need_parens, struct imap_flags *out);

/* Does a line end in the announcement of a literal? */
enum imap_literal {
	IMAP_LITERAL_NONE,
	IMAP_LITERAL_SYNC, /* {n} */
	IMAP_LITERAL_PLUS, /* {n+} */
	IMAP_LITERAL_BAD   /* no number64, or the ~{n} of BINARY, which is not offered */
};
enum imap_literal imap_literal_announced(struct span line, uint64_t *len);

#endif
