/*
 * fuzz_base_reader.c: the record reader and the small parsers of spans. The first byte of each step says
 * what is read next; the results are held against simpler code.
 */
#include <stdlib.h>
#include "buf.h"
#include "span.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* span_u64 against strtoull, for texts that strtoull takes whole. */
static void number(struct span s, uint64_t max)
{
	char text[24];
	uint64_t v = 0;
	bool ok = span_u64(s, max, &v);

	CHECK(!ok || v <= max);
	if (!span_cstr(s, text, sizeof(text)) || s.len == 0 || strspn(text, "0123456789") != s.len)
		CHECK(!ok || s.len >= sizeof(text)); /* long runs of zeros are numbers too */
	else if (s.len < 20)
		CHECK(ok == (strtoull(text, NULL, 10) <= max) && (!ok || v == strtoull(text, NULL, 10)));
}

static void text(struct span s)
{
	struct span t = span_trim(s);
	ptrdiff_t at = span_find(s, ' ');

	CHECK(t.len <= s.len && (t.len == 0 || (t.p >= s.p && t.p + t.len <= s.p + s.len)));
	CHECK(at < (ptrdiff_t)s.len && (at < 0 || s.p[at] == ' '));
	CHECK(span_ieq(s, s) && span_istarts(s, span_head(s, s.len / 2)));
	CHECK(span_eq(span_from(s, s.len), span_head(s, 0)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_of(span_of(data, size));
	struct buf again;

	buf_init(&again);
	while (r.ok && r.s.len) {
		struct span before = r.s;
		uint8_t what = get_u8(&r);
		buf_add_u8(&again, what);
		switch (what % 8) {
		case 0:
			buf_add_u8(&again, get_u8(&r));
			break;
		case 1:
			buf_add_u16(&again, get_u16(&r));
			break;
		case 2:
			buf_add_u32(&again, get_u32(&r));
			break;
		case 3:
			buf_add_u64(&again, get_u64(&r));
			break;
		case 4: {
			struct span s = get_lspan(&r);
			buf_add_lspan(&again, s);
			text(s);
			break;
		}
		case 5: {
			uint8_t len = get_u8(&r);
			struct span s = get_bytes(&r, len);
			buf_add_u8(&again, len);
			buf_add_span(&again, s);
			number(s, UINT64_MAX >> (what / 8));
			text(s);
			break;
		}
		default:
			number(span_head(r.s, what / 8), (uint64_t)what << 32);
			break;
		}
		if (!r.ok)
			CHECK(r.s.len == 0 && get_u64(&r) == 0 && get_lspan(&r).len == 0);
		else
			CHECK(r.s.len < before.len);
	}
	/* What was read whole and written again is the same bytes. */
	if (r.ok)
		CHECK(span_eq(buf_span(&again), span_of(data, size)));
	buf_fini(&again);
	return 0;
}
