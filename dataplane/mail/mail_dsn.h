/*
 * mail_dsn.h: the text of a delivery status notification (RFC 3461 6, RFC 3464; multipart/report of
 * RFC 6522).
 *
 * Invariant: nothing that came from a peer (addresses, ids, replies, host names) can begin a line
 * of the report: control bytes in any field become spaces, fields are cut at a bound, long ones are
 * folded; the copy of the original's header is taken only up to its end and is capped, and no line
 * of it can be the boundary. What is not ASCII becomes "?". The whole original is quoted only if it
 * is clean: ASCII, whole lines of at most 998 bytes, none that could be the boundary.
 */
#ifndef VEREDUS_MAIL_DSN_H
#define VEREDUS_MAIL_DSN_H

#include <stdbool.h>
#include <stdint.h>
#include "buf.h"
#include "mail_header.h"
#include "span.h"

enum mail_dsn_action {
	MAIL_DSN_FAILED,
	MAIL_DSN_DELAYED,
	MAIL_DSN_DELIVERED,
	MAIL_DSN_RELAYED,
	MAIL_DSN_EXPANDED,
};

struct mail_dsn_rcpt {
	struct span original;	/* ORCPT, decoded, "type;address"; empty: none */
	struct span final;	/* the address of RCPT TO */
	struct span status;	/* "5.1.1"; anything else becomes 5.0.0 or 4.0.0 by action */
	struct span remote_mta; /* host that answered; empty: none */
	struct span reply;  /* its reply, "550 5.1.1 No such user", lines joined by anything; empty:
			       none */
	struct span reason; /* one plain sentence for the human part; empty: from the reply */
	struct mail_date last_attempt; /* unix_s 0: none */
	struct mail_date retry_until;  /* for delayed; unix_s 0: none */
};

struct mail_dsn {
	enum mail_dsn_action action; /* one report speaks of one action */
	struct span host;	     /* our name: From MAILER-DAEMON@host, Reporting-MTA */
	struct span to;		     /* the sender: the report's own envelope goes <> -> to */
	struct span
		id; /* unique: Message-ID <id@host> and the boundary; letters, digits, '.', '-' */
	struct span envid; /* ENVID, decoded; empty: none */
	struct mail_date now, arrival;
	const struct mail_dsn_rcpt *rcpt;
	uint32_t n_rcpt;
	struct span original; /* the message (or its beginning); only the header is quoted */
	bool full;	      /* original is all of it: quote it whole if it is clean */
};
#define MAIL_DSN_HEADER_MAX 8192 /* of the original, in bytes */

/* Appends the whole message: CRLF lines of at most 998 bytes, ASCII only. */
void mail_dsn_write(struct buf *b, const struct mail_dsn *d);

#endif
