/*
 * mail_header.h: the header of a message (RFC 5322): walking its fields, the address lists and the
 * dates in them. Works on a contiguous span; results borrow from it or are copies in an arena.
 *
 * Invariants: nothing is rejected that can be walked; a line that is no field ends the header, and
 * then the body begins at that line; lines end in CRLF or in LF alone; header and body together are
 * the message.
 */
#ifndef VEREDUS_MAIL_HEADER_H
#define VEREDUS_MAIL_HEADER_H

#include <stdbool.h>
#include <stdint.h>
#include "arena.h"
#include "err.h"
#include "span.h"

struct mail_field {
	struct span name;  /* without spaces before the colon */
	struct span value; /* raw: behind the colon, folding included, without the last line end */
	size_t off, len;   /* of the whole field in the message, last line end included */
};

struct mail_header_iter {
	struct span msg;
	size_t off;	 /* of the next field */
	size_t body_off; /* valid once next said false: where the body begins */
};

void mail_header_begin(struct mail_header_iter *it, struct span msg);
/* False at the end of the header. */
bool mail_header_next(struct mail_header_iter *it, struct mail_field *out);

/* Where the body begins: behind the empty line; msg.len when there is no body. */
size_t mail_header_size(struct span msg);
/* The first field of that name (any case). */
bool mail_header_find(struct span msg, struct span name, struct mail_field *out);
/* Number of Received fields (RFC 5321 6.3: loop detection). */
uint32_t mail_header_hops(struct span msg);
/* Line ends taken out, NUL turned into spaces, trimmed at both ends. .p == NULL: no room in the
 * arena. */
struct span mail_header_unfold(struct arena *a, struct span raw);

/* ---- address lists (RFC 5322 3.4 and 4.4) ---- */

/*
 * One entry as IMAP shows it (RFC 3501 7.4.2): a group is an entry with host NIL and mailbox = its
 * name at its beginning, and one with both NIL at its end. NIL is .p == NULL.
 */
struct mail_address {
	struct span name;    /* display name or comment: quotes and backslashes taken off, encoded
				words as they are */
	struct span adl;     /* source route, "@a,@b" */
	struct span mailbox; /* local part (quotes off) or group name */
	struct span host;    /* "" when the address has no domain */
};
#define MAIL_ADDRESS_LIST_MAX 4096

/*
 * Parses the raw value of a From/To/Cc... field. At most max entries; *out is an array in the
 * arena. ERR_OK; ERR_TOO_MANY: the first max entries are there; ERR_NO_MEMORY: what fitted is
 * there. Junk between commas is skipped. Time is linear in raw.len.
 */
enum err mail_address_list(struct arena *a, struct span raw, size_t max, struct mail_address **out,
			   size_t *n);

/* ---- dates ---- */

struct mail_date {
	int64_t unix_s;
	int32_t zone_min; /* east of UTC */
};
#define MAIL_DATE_MAX 40

/* RFC 5322 3.3 with the obsolete forms of 4.3 (zone names, two-digit years, comments). */
enum err mail_date_parse(struct span s, struct mail_date *out);
/* "Thu, 01 Jan 2026 00:00:00 +0000". Returns the length; dst has MAIL_DATE_MAX bytes, NUL follows
 * (all three). */
size_t mail_date_rfc5322(struct mail_date d, char *dst);
/* " 1-Jan-2026 00:00:00 +0000", without quotes: IMAP date-time (RFC 3501 9). */
size_t mail_date_internal(struct mail_date d, char *dst);
/* "2026-01-01T00:00:00Z" or "...+01:00" (RFC 3339). */
size_t mail_date_iso8601(struct mail_date d, char *dst);
/* IMAP date-time with or without the quotes. */
enum err mail_date_internal_parse(struct span s, struct mail_date *out);
/* IMAP date ("1-Feb-1994", with or without quotes) as days since 1970-01-01. */
enum err mail_date_day_parse(struct span s, int64_t *day);
/* The calendar day of d in its own zone (SEARCH disregards time and zone), same count. */
int64_t mail_date_day(struct mail_date d);

#endif
