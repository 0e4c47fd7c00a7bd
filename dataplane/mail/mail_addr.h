/*
 * mail_addr.h: the addresses of the envelope: what stands behind MAIL FROM: and RCPT TO: (RFC 5321
 * section 4.1.2), and the ESMTP parameters behind them. Addresses in header fields are another
 * grammar: mail_header.h.
 *
 * Results are spans into the argument; nothing is copied or decoded. What this accepts holds no CR,
 * LF or NUL and no other control byte, so it may be written into a header or a command as it is.
 */
#ifndef VEREDUS_MAIL_ADDR_H
#define VEREDUS_MAIL_ADDR_H

#include <stdbool.h>
#include <stdint.h>
#include "err.h"
#include "span.h"

#define MAIL_LOCAL_MAX	64  /* RFC 5321 4.5.3.1.1 */
#define MAIL_DOMAIN_MAX 255 /* 4.5.3.1.2 */
#define MAIL_PATH_MAX	256 /* 4.5.3.1.3, with the angle brackets; a source route is not counted */
#define MAIL_ADDR_MAX	(MAIL_LOCAL_MAX + 1 + MAIL_DOMAIN_MAX)

/* mail_addr.flags */
#define MAIL_ADDR_NULL	     0x01 /* <>: both spans are empty */
#define MAIL_ADDR_QUOTED     0x02 /* local is a quoted string, with its quotes and backslashes */
#define MAIL_ADDR_LITERAL    0x04 /* domain is an address literal, with its brackets */
#define MAIL_ADDR_ROUTE	     0x08 /* a source route was there and is ignored (RFC 5321 C) */
#define MAIL_ADDR_POSTMASTER 0x10 /* postmaster with no domain (4.1.1.3): domain is empty */
#define MAIL_ADDR_UTF8	     0x20 /* holds non-ASCII bytes (valid UTF-8; RFC 6531) */

struct mail_addr {
	struct span local, domain;
	uint32_t flags;
};

/* What the caller allows. */
#define MAIL_PATH_NULL_OK	0x01 /* <> (MAIL FROM) */
#define MAIL_PATH_POSTMASTER_OK 0x02 /* <postmaster> (RCPT TO) */
#define MAIL_PATH_UTF8_OK	0x04 /* SMTPUTF8 was offered */
#define MAIL_PATH_FROM		MAIL_PATH_NULL_OK
#define MAIL_PATH_RCPT		MAIL_PATH_POSTMASTER_OK

/*
 * Parses the bytes behind "FROM:" or "TO:" up to the end of the line (without CRLF). Leading spaces
 * are tolerated. Angle brackets are required. *tail gets what follows the path, for
 * mail_param_next. ERR_SYNTAX: not a path (501 5.1.7 or 5.1.3). ERR_TOO_LONG: over a limit above
 * (501/550 5.1.7).
 */
enum err mail_path_parse(struct span arg, uint32_t allow, struct mail_addr *out, struct span *tail);

/* The same for a bare "local@domain" that must fill all of s: configuration, commands of operators.
 */
enum err mail_addr_parse(struct span s, uint32_t allow, struct mail_addr *out);

struct mail_param {
	struct span key, value;
	bool has_value; /* tells KEY= (value is empty) from KEY; KEY= itself is refused */
};

/*
 * Takes the next ESMTP parameter off *tail (4.1.1.11). ERR_OK; ERR_NOT_FOUND at the end; ERR_SYNTAX
 * (501 5.5.4) for anything else, also when the space between path and parameter is missing.
 */
enum err mail_param_next(struct span *tail, struct mail_param *out);

/*
 * "local@domain" into dst (MAIL_ADDR_MAX + 1 bytes, a NUL follows); returns its length. The domain
 * is in lower case. With fold_local, the form accounts are looked up by: the local part in lower
 * case too, and unquoted where the quotes say nothing ("Joe"@x is joe@x). Without it the local part
 * stays as it is. The null path gives length 0; a missing domain gives no '@'.
 */
size_t mail_addr_canon(const struct mail_addr *a, bool fold_local, char *dst);

/* A host or domain name: labels of letters, digits, inner hyphens and underscores, <= 63 each, <=
 * 255, no closing dot. */
bool mail_domain_valid(struct span s);
/* "[192.0.2.1]" or "[IPv6:2001:db8::1]": *v6 tells which, ip gets 4 or 16 bytes in network order.
 */
bool mail_literal_parse(struct span s, bool *v6, uint8_t ip[16]);

#endif
