/* test_eas_wbxml.c: documents as devices send them, both ways; limits; what is malformed. */
#include <criterion/criterion.h>
#include <stdio.h>
#include "eas_tag.h"

/* A document as text: <p:t> </p:t> and the text between. */
static void show(struct span doc, char *out, size_t size)
{
	struct wbxml_reader r;
	size_t n = 0;
	enum wbxml_event e;
	wbxml_read(&r, doc);
	out[0] = '\0';
	do {
		e = wbxml_next(&r);
		cr_assert(n < size - 64 - (e == WBXML_TEXT ? r.text.len : 0));
		if (e == WBXML_OPEN || e == WBXML_CLOSE)
			n += (size_t)snprintf(out + n, size - n, "<%s%u:%02x>", e == WBXML_OPEN ? "" : "/", r.tag >> 8,
					      r.tag & 0xffu);
		else if (e == WBXML_TEXT)
			n += (size_t)snprintf(out + n, size - n, "%.*s", (int)r.text.len, (const char *)r.text.p);
		else
			n += (size_t)snprintf(out + n, size - n, "%s", e == WBXML_END ? "." : "!");
	} while (e != WBXML_END && e != WBXML_BAD);
	cr_expect_eq(wbxml_next(&r), e, "the end is final");
}

#define DOC(...) {(const uint8_t[]){0x03, 0x01, 0x6a, 0x00, __VA_ARGS__}, sizeof((uint8_t[]){0, 0, 0, 0, __VA_ARGS__})}

Test(wbxml, reads)
{
	const struct {
		struct span doc;
		const char *want;
	} rows[] = {
		/* FolderSync, SyncKey 0: the first that a device asks */
		{DOC(0x00, 0x07, 0x56, 0x52, 0x03, '0', 0x00, 0x01, 0x01), "<7:16><7:12>0</7:12></7:16>."},
		/* Ping of one folder, empty elements, a page within */
		{DOC(0x00, 0x0d, 0x45, 0x48, 0x03, '9', '0', 0x00, 0x01, 0x0a, 0x01), "<13:05><13:08>90</13:08><13:0a></13:0a></13:05>."},
		{DOC(0x45, 0x00, 0x0e, 0x05, 0x00, 0x00, 0x0b, 0x01), "<0:05><14:05></14:05><0:0b></0:0b></0:05>."},
		{DOC(0x05), "<0:05></0:05>."},
		/* opaque, and its length in two bytes that need not be */
		{DOC(0x45, 0xc3, 0x02, 'h', 'i', 0x01), "<0:05>hi</0:05>."},
		{DOC(0x45, 0xc3, 0x80, 0x02, 'h', 'i', 0x01), "<0:05>hi</0:05>."},
		{DOC(0x45, 0x03, 0x00, 0x01), "<0:05></0:05>."},
		/* cut */
		{{(const uint8_t *)"\3\1\x6a", 3}, "!"},
		{{(const uint8_t *)"\3\1\x6a\0", 4}, "!"},
		{DOC(0x45), "<0:05>!"},
		{DOC(0x45, 0x03, 'a'), "<0:05>!"},
		{DOC(0x45, 0xc3, 0x05, 'a', 0x01), "<0:05>!"},
		{DOC(0x45, 0xc3, 0x8f, 0xff, 0xff, 0xff, 0x7f, 0x01), "<0:05>!"},
		{DOC(0x45, 0xc3, 0x9f, 0xff, 0xff, 0xff, 0x7f, 0x01), "<0:05>!"},
		{DOC(0x00), "!"},
		/* not of this profile: attributes, an entity, a literal, a string table, another character set or version */
		{DOC(0xc5, 0x01, 0x01), "!"},
		{DOC(0x45, 0x02, 0x41, 0x01), "<0:05>!"},
		{DOC(0x44, 0x00, 0x01), "!"},
		{{(const uint8_t *)"\3\1\x6a\1a\5", 6}, "!"},
		{{(const uint8_t *)"\3\1\4\0\5", 5}, "!"},
		{{(const uint8_t *)"\2\1\x6a\0\5", 5}, "!"},
		/* an unknown page, an end too many, two roots, text outside */
		{DOC(0x00, 26, 0x05), "!"},
		{DOC(0x01), "!"},
		{DOC(0x45, 0x01, 0x01), "<0:05></0:05>!"},
		{DOC(0x05, 0x05), "<0:05></0:05>!"},
		{DOC(0x03, 'a', 0x00, 0x05), "!"},
	};
	char got[512];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		show(rows[i].doc, got, sizeof(got));
		cr_expect_str_eq(got, rows[i].want, "row %zu: %s", i, got);
	}
}

Test(wbxml, depth_is_bounded)
{
	static const uint8_t first[] = {0x03, 0x01, 0x6a, 0x00};
	for (unsigned depth = WBXML_DEPTH_MAX - 1; depth <= WBXML_DEPTH_MAX + 1; depth++) {
		struct buf doc;
		char got[1024];
		buf_init(&doc);
		buf_add(&doc, first, sizeof(first));
		memset(buf_reserve(&doc, depth), 0x45, depth);
		doc.len += depth;
		memset(buf_reserve(&doc, depth), 0x01, depth);
		doc.len += depth;
		show(buf_span(&doc), got, sizeof(got));
		cr_expect_eq(got[strlen(got) - 1], depth <= WBXML_DEPTH_MAX ? '.' : '!', "%u", depth);
		buf_fini(&doc);
	}
}

Test(wbxml, writes)
{
	static const uint8_t want[] = {0x03, 0x01, 0x6a, 0x00, 0x00, 0x07, 0x56, 0x4c, 0x03, '1',  0x00, 0x01, 0x52,
				       0x03, '7',  0x00, 0x01, 0x4e, 0x4f, 0x07, 0x00, 0x00, 0x4e, 0xc3, 0x03, 'a',
				       0x00, 'b',  0x01, 0x01, 0x01, 0x01};
	struct buf out;
	struct wbxml_writer w;

	buf_init(&out);
	wbxml_write(&w, &out);
	wbxml_open(&w, EAS_FOLDER_SYNC);
	wbxml_leaf(&w, EAS_FOLDER_STATUS, SPAN("1"));
	wbxml_leaf(&w, EAS_FOLDER_SYNC_KEY, SPAN("7"));
	wbxml_open(&w, EAS_FOLDER_CHANGES);
	wbxml_open(&w, EAS_FOLDER_ADD);
	wbxml_leaf(&w, EAS_FOLDER_DISPLAY_NAME, SPAN("")); /* without content */
	wbxml_leaf(&w, EAS_STATUS, span_of("a\0b", 3));
	wbxml_close(&w);
	wbxml_close(&w);
	wbxml_close(&w);
	cr_assert_eq(out.len, sizeof(want), "%zu", out.len);
	cr_expect_arr_eq(out.p, want, sizeof(want));
	buf_fini(&out);
}
