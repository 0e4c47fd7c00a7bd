/*
 * wbxml.h: WBXML 1.3 as ActiveSync uses it (MS-ASWBXML): elements by code page and token, inline strings, opaque data;
 * no attributes, no string table, no entities, no literals. A reader that walks a document where it lies, and a writer
 * that appends to a buffer. Pure; the reader trusts nothing.
 */
#ifndef VEREDUS_WBXML_H
#define VEREDUS_WBXML_H

#include <stdbool.h>
#include <stdint.h>
#include "buf.h"
#include "span.h"

#define WBXML_DEPTH_MAX 32
#define WBXML_PAGES     26 /* 0..25 are assigned */

/* An element: code page and token. */
#define WBXML_TAG(page, token) ((uint16_t)((page) << 8 | (token)))

enum wbxml_event {
	WBXML_OPEN,  /* tag */
	WBXML_TEXT,  /* text: an inline string or opaque data, where it lies */
	WBXML_CLOSE, /* tag, that of the OPEN */
	WBXML_END,   /* the document is over and whole */
	WBXML_BAD    /* it is no such document; nothing comes behind */
};

struct wbxml_reader {
	struct span rest;
	uint8_t page, depth;
	bool begun, empty, bad;
	uint16_t tag;
	struct span text;
	uint16_t open[WBXML_DEPTH_MAX];
};

void wbxml_read(struct wbxml_reader *r, struct span doc);
/* One root element, then the end; bytes behind it are BAD. */
enum wbxml_event wbxml_next(struct wbxml_reader *r);

struct wbxml_writer {
	struct buf *out;
	uint8_t page, depth;
	size_t at[WBXML_DEPTH_MAX]; /* of the open elements' tokens in out */
};

/* Begins a document at the end of out (UTF-8). */
void wbxml_write(struct wbxml_writer *w, struct buf *out);
/* At most WBXML_DEPTH_MAX open at a time. */
void wbxml_open(struct wbxml_writer *w, uint16_t tag);
/* UTF-8; what holds a NUL goes as opaque data, which readers take for the same. Empty: nothing. */
void wbxml_text(struct wbxml_writer *w, struct span text);
void wbxml_close(struct wbxml_writer *w);
/* All three. */
void wbxml_leaf(struct wbxml_writer *w, uint16_t tag, struct span text);

#endif
