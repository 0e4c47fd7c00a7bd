/*
 * imap_fetch_parse.h: what FETCH asks for (RFC 3501 6.4.5, fetch-att), as a list in an arena.
 */
#ifndef VEREDUS_IMAP_FETCH_PARSE_H
#define VEREDUS_IMAP_FETCH_PARSE_H

#include "err.h"
#include "imap_parse.h"
#include "mail_envelope.h"

#define IMAP_FETCH_ITEM_MAX 256

enum imap_att {
	IMAP_ATT_FLAGS,
	IMAP_ATT_UID,
	IMAP_ATT_INTERNALDATE,
	IMAP_ATT_SIZE,
	IMAP_ATT_ENVELOPE,
	IMAP_ATT_BODY,
	IMAP_ATT_BODYSTRUCTURE,
	IMAP_ATT_SECTION,
	IMAP_ATT_N
};

/* How much of the message an item needs. */
enum imap_need { IMAP_NEED_NONE, IMAP_NEED_HEAD, IMAP_NEED_ALL };

struct imap_fetch_item {
	struct imap_fetch_item *next;
	enum imap_att att;
	enum imap_need need;
	/* SECTION: */
	const char *name;         /* "RFC822" and its kin, or NULL: BODY[...] */
	struct mail_section *sec;
	bool whole;               /* BODY[]: can go out as it comes from the store */
	bool partial;
	uint32_t off, max;        /* <off.max> */
};

struct imap_fetch_list {
	struct imap_fetch_item *first, **last;
	struct imap_fetch_item *stream; /* the one item that is whole, if there is just one */
	enum imap_need need;            /* of all items but stream */
	uint32_t n;
	bool seen;  /* an item without PEEK: sets \Seen */
	uint32_t mask; /* of enum imap_att that were asked for */
};

/* ERR_SYNTAX, ERR_TOO_MANY, ERR_NO_MEMORY. *p is behind the items. With uid, UID is put in if it is not there. */
enum err imap_fetch_parse(struct imap_parser *p, bool uid, struct imap_fetch_list *out);

#endif
