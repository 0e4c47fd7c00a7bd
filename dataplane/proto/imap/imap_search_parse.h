/*
 * imap_search_parse.h: the program of a SEARCH (RFC 3501 6.4.4, search-key) as a tree in an arena.
 */
#ifndef VEREDUS_IMAP_SEARCH_PARSE_H
#define VEREDUS_IMAP_SEARCH_PARSE_H

#include "err.h"
#include "imap_parse.h"
#include "imap_set.h"

#define IMAP_SEARCH_DEPTH 64   /* of parentheses, NOT and OR */
#define IMAP_SEARCH_NODES 1000
#define IMAP_SEARCH_TEXTS 32   /* BODY and TEXT keys */

enum imap_key {
	IMAP_KEY_AND, /* all of the list at a; true when it is empty: ALL */
	IMAP_KEY_OR,  /* a or its next */
	IMAP_KEY_NOT, /* not a */
	IMAP_KEY_FLAG, IMAP_KEY_UNFLAG, /* all, none of flags */
	IMAP_KEY_NEW, IMAP_KEY_OLD,
	IMAP_KEY_KEYWORD, IMAP_KEY_UNKEYWORD,
	IMAP_KEY_BEFORE, IMAP_KEY_ON, IMAP_KEY_SINCE,
	IMAP_KEY_LARGER, IMAP_KEY_SMALLER,
	IMAP_KEY_OLDER, IMAP_KEY_YOUNGER, /* RFC 5032: number of seconds */
	IMAP_KEY_SEQ, IMAP_KEY_UID,
	/* need the header */
	IMAP_KEY_HEADER,
	IMAP_KEY_SENTBEFORE, IMAP_KEY_SENTON, IMAP_KEY_SENTSINCE,
	/* need the message */
	IMAP_KEY_BODY, IMAP_KEY_TEXT,
	IMAP_KEY_N
};

struct imap_search_node {
	struct imap_search_node *next; /* in the list of the one above */
	struct imap_search_node *a;
	enum imap_key key;
	uint32_t flags, number;
	int64_t day;
	struct span name, text; /* field or keyword; UTF-8 to look for */
	struct imap_set set;    /* as written: whoever has the view resolves it */
	uint64_t kw;            /* KEYWORD: filled in with the view's bits */
};

/* RFC 4731: what is to be returned. */
enum { IMAP_RETURN_MIN = 1, IMAP_RETURN_MAX = 2, IMAP_RETURN_COUNT = 4, IMAP_RETURN_ALL = 8 };

struct imap_search {
	unsigned ret; /* 0: the SEARCH of RFC 3501 */
	struct imap_search_node *root;
	struct imap_search_node *sets[IMAP_SEARCH_NODES]; /* SEQ, UID, KEYWORD and UNKEYWORD, to be resolved */
	unsigned n_sets, n_nodes, n_texts;
	struct span charset;
};

/* Behind "SEARCH ", through the end. ERR_SYNTAX; ERR_TOO_MANY: a limit above; ERR_UNSUPPORTED: the charset. */
enum err imap_search_parse(struct imap_parser *p, struct imap_search *out);

#endif
