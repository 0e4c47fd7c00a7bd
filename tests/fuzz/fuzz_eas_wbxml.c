/* fuzz_eas_wbxml.c: a document is read and written again; what was written says the same. */
#include "check.h"
#include "wbxml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wbxml_reader a, b;
	struct wbxml_writer w;
	struct buf out;
	enum wbxml_event e;

	buf_init(&out);
	wbxml_write(&w, &out);
	wbxml_read(&a, span_of(data, size));
	while ((e = wbxml_next(&a)) < WBXML_END) {
		if (e == WBXML_OPEN)
			wbxml_open(&w, a.tag);
		else if (e == WBXML_TEXT)
			wbxml_text(&w, a.text);
		else
			wbxml_close(&w);
	}
	if (e == WBXML_END) {
		wbxml_read(&a, span_of(data, size));
		wbxml_read(&b, buf_span(&out));
		do {
			while ((e = wbxml_next(&a)) == WBXML_TEXT && a.text.len == 0)
				; /* says nothing */
			CHECK(wbxml_next(&b) == e);
			CHECK(e != WBXML_TEXT || span_eq(a.text, b.text));
			CHECK(e >= WBXML_END || e == WBXML_TEXT || a.tag == b.tag);
		} while (e < WBXML_END);
	}
	buf_fini(&out);
	return 0;
}
