/* wbxml.c: see wbxml.h. */
#include "wbxml.h"
#include "check.h"

enum { SWITCH_PAGE = 0x00, END = 0x01, STR_I = 0x03, OPAQUE = 0xc3, TOKEN_FIRST = 0x05 };
enum { WITH_CONTENT = 0x40, WITH_ATTRIBUTES = 0x80, TOKEN = 0x3f };

static const uint8_t head[] = {
	0x03, /* version 1.3 */
	0x01, /* public identifier: unknown */
	0x6a, /* UTF-8 */
	0x00, /* string table: none */
};

/* ---- reading ---- */

void wbxml_read(struct wbxml_reader *r, struct span doc)
{
	*r = (struct wbxml_reader){.rest = doc};
	r->bad = doc.len < sizeof(head) || memcmp(doc.p, head, sizeof(head)) != 0;
	if (!r->bad)
		r->rest = span_from(doc, sizeof(head));
}

static bool take(struct wbxml_reader *r, uint8_t *out)
{
	if (r->rest.len == 0)
		return false;
	*out = r->rest.p[0];
	r->rest = span_from(r->rest, 1);
	return true;
}

/* mb_u_int32: seven bits a byte, the highest first. */
static bool take_length(struct wbxml_reader *r, uint32_t *out)
{
	uint8_t b = 0x80;
	*out = 0;
	for (unsigned i = 0; i < 5 && b & 0x80; i++) {
		if (*out >> 25 || !take(r, &b))
			return false;
		*out = *out << 7 | (b & 0x7f);
	}
	return !(b & 0x80);
}

static enum wbxml_event bad(struct wbxml_reader *r)
{
	r->bad = true;
	return WBXML_BAD;
}

static enum wbxml_event close_one(struct wbxml_reader *r)
{
	r->empty = false;
	r->tag = r->open[--r->depth];
	return WBXML_CLOSE;
}

static enum wbxml_event text(struct wbxml_reader *r, bool opaque)
{
	uint32_t len = 0;
	if (opaque) {
		if (!take_length(r, &len) || len > r->rest.len)
			return bad(r);
	} else {
		ptrdiff_t nul = span_find(r->rest, 0);
		if (nul < 0)
			return bad(r);
		len = (uint32_t)nul;
	}
	r->text = span_head(r->rest, len);
	r->rest = span_from(r->rest, (size_t)len + !opaque);
	return WBXML_TEXT;
}

static enum wbxml_event element(struct wbxml_reader *r, uint8_t b)
{
	if (b & WITH_ATTRIBUTES || (b & TOKEN) < TOKEN_FIRST || r->depth == WBXML_DEPTH_MAX || (r->depth == 0 && r->begun))
		return bad(r);
	r->begun = true;
	r->empty = !(b & WITH_CONTENT);
	r->tag = WBXML_TAG(r->page, b & TOKEN);
	r->open[r->depth++] = r->tag;
	return WBXML_OPEN;
}

enum wbxml_event wbxml_next(struct wbxml_reader *r)
{
	uint8_t b;
	if (r->bad)
		return WBXML_BAD;
	if (r->empty)
		return close_one(r);
	if (r->begun && r->depth == 0)
		return r->rest.len > 0 ? bad(r) : WBXML_END;
	while (take(r, &b)) {
		if (b == SWITCH_PAGE) {
			if (!take(r, &r->page) || r->page >= WBXML_PAGES)
				return bad(r);
		} else if (b == END) {
			return r->depth > 0 ? close_one(r) : bad(r);
		} else if (b == STR_I || b == OPAQUE) {
			return r->depth > 0 ? text(r, b == OPAQUE) : bad(r);
		} else {
			return element(r, b);
		}
	}
	return bad(r);
}

/* ---- writing ---- */

static void put(struct wbxml_writer *w, uint8_t b)
{
	buf_add(w->out, &b, 1);
}

void wbxml_write(struct wbxml_writer *w, struct buf *out)
{
	*w = (struct wbxml_writer){.out = out};
	buf_add(out, head, sizeof(head));
}

/* The innermost open element is not empty. */
static void has_content(struct wbxml_writer *w)
{
	if (w->depth > 0)
		w->out->p[w->at[w->depth - 1]] |= WITH_CONTENT;
}

void wbxml_open(struct wbxml_writer *w, uint16_t tag)
{
	CHECK(w->depth < WBXML_DEPTH_MAX && (tag & 0xff) >= TOKEN_FIRST && (tag & 0xff) <= TOKEN);
	has_content(w);
	if (tag >> 8 != w->page) {
		w->page = (uint8_t)(tag >> 8);
		put(w, SWITCH_PAGE);
		put(w, w->page);
	}
	w->at[w->depth++] = w->out->len;
	put(w, tag & TOKEN);
}

static void put_length(struct wbxml_writer *w, uint32_t len)
{
	for (unsigned shift = 28; shift > 0; shift -= 7)
		if (len >> shift)
			put(w, (uint8_t)(0x80 | (len >> shift & 0x7f)));
	put(w, len & 0x7f);
}

void wbxml_text(struct wbxml_writer *w, struct span text)
{
	CHECK(w->depth > 0 && text.len <= UINT32_MAX);
	if (text.len == 0)
		return;
	has_content(w);
	if (span_find(text, 0) < 0) {
		put(w, STR_I);
		buf_add_span(w->out, text);
		put(w, 0);
	} else {
		put(w, OPAQUE);
		put_length(w, (uint32_t)text.len);
		buf_add_span(w->out, text);
	}
}

void wbxml_close(struct wbxml_writer *w)
{
	CHECK(w->depth > 0);
	if (w->out->p[w->at[--w->depth]] & WITH_CONTENT)
		put(w, END);
}

void wbxml_leaf(struct wbxml_writer *w, uint16_t tag, struct span text)
{
	wbxml_open(w, tag);
	wbxml_text(w, text);
	wbxml_close(w);
}
