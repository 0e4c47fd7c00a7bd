/*
 * mail_data.h: the text behind DATA (RFC 5321 4.1.1.4, 4.5.2): finding its end and taking dots out
 * on the way in, putting dots and the end mark in on the way out (also for POP3 multi-line replies,
 * RFC 1939 3). Hot path: runs for every byte of mail. Nothing is copied: both sides speak of
 * offsets in the caller's chunk.
 *
 * Invariants:
 * 1. Only CR LF '.' CR LF ends the data (or '.' CR LF at its very beginning). No bare CR, bare LF
 * or NUL in any place makes an end of it.
 * 2. The result does not depend on where chunks are cut.
 * 3. What mail_stuff lets out holds no bare CR, no bare LF, and one end mark, at its end.
 */
#ifndef VEREDUS_MAIL_DATA_H
#define VEREDUS_MAIL_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "span.h"

/* mail_data_scan.flags; all but HAS_DOT_LINE are about what was received, dots taken out */
#define MAIL_DATA_BARE_CR 0x01 /* a CR without LF behind it */
#define MAIL_DATA_BARE_LF 0x02 /* an LF without CR before it */
#define MAIL_DATA_NUL	  0x04
#define MAIL_DATA_8BIT	  0x08
#define MAIL_DATA_HAS_DOT_LINE 0x10 /* a line of the content begins with a dot */
#define MAIL_DATA_OPEN_END 0x20 /* the content does not end in CRLF (mail_chunk_end) */
/* If none of these is set (and the content ends in CRLF) the content can go out as it is. */
#define MAIL_DATA_NEEDS_STUFF (MAIL_DATA_BARE_CR | MAIL_DATA_BARE_LF | MAIL_DATA_HAS_DOT_LINE)

struct mail_run {
	uint32_t off, len; /* in the chunk */
};

struct mail_data_scan {
	uint32_t state;	       /* private */
	uint32_t flags;	       /* MAIL_DATA_* so far */
	uint64_t line_len;     /* private: of the line under way */
	uint64_t line_len_max; /* bytes of the longest line of the content, its CRLF included */
	uint64_t lines;	       /* CRLFs in the content */
	uint64_t size;	       /* bytes of the content */
};

struct mail_data_step {
	size_t consumed; /* bytes of the chunk dealt with; < len only at the end or when runs is
			    full */
	size_t n_runs;
	bool end; /* the end mark was seen; what follows `consumed` are the next commands */
	/*
	 * With end: that many bytes (0 or 1) at the end of what EARLIER calls said to keep are not
	 * content after all: the CR of an end mark that was cut between its CR and LF.
	 */
	uint32_t unkeep;
};

void mail_data_scan_init(struct mail_data_scan *s);
/*
 * Reads one chunk (len <= UINT32_MAX). runs[0..n_runs) are the parts of it that are content, in
 * order, none empty. Call again with the rest when consumed < len and !end. runs_max >= 1.
 */
struct mail_data_step mail_data_scan(struct mail_data_scan *s, const uint8_t *p, size_t len,
				     struct mail_run *runs, size_t runs_max);

/*
 * The same for content whose length was said (BDAT, RFC 3030 2): all of it is content, dots are only
 * looked at. mail_chunk_end when the last byte has come: a CR there is bare; sets OPEN_END.
 */
void mail_chunk_scan(struct mail_data_scan *s, const uint8_t *p, size_t len);
void mail_chunk_end(struct mail_data_scan *s);

/* ---- the way out ---- */

enum mail_insert {
	MAIL_INSERT_DOT,    /* "." */
	MAIL_INSERT_CR,	    /* "\r": before an LF that had none */
	MAIL_INSERT_LF,	    /* "\n": behind a CR that had none */
	MAIL_INSERT_LF_DOT, /* "\n.": the same, and the next line begins with a dot */
};
extern const struct span mail_insert_text[4];

struct mail_edit {
	uint32_t off;  /* insert before this byte of the chunk (0..len-1) */
	uint32_t what; /* enum mail_insert */
};

struct mail_stuff {
	uint32_t state; /* private */
};

void mail_stuff_init(struct mail_stuff *s);
/* Edits for one chunk, in order of off; returns the bytes dealt with (< len when edits is full:
 * call again with the rest). */
size_t mail_stuff_chunk(struct mail_stuff *s, const uint8_t *p, size_t len, struct mail_edit *edits,
			size_t edits_max, size_t *n_edits);
/* What goes out behind the last chunk: ".\r\n" after a line end, "\r\n.\r\n" or "\n.\r\n"
 * otherwise. */
struct span mail_stuff_end(const struct mail_stuff *s);
/* The same from the last two bytes of content that needs no stuffing (0..2 bytes; empty content is
 * at a line's beginning). */
struct span mail_end_mark(struct span tail);

#endif
