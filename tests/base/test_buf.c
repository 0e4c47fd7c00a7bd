/* test_buf.c: the encoding and its reader: round trip, every cut, lengths that lie. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include "buf.h"

Test(buf, grows)
{
	struct buf b;
	buf_init(&b);
	cr_expect_eq(buf_span(&b).len, 0);
	buf_add(&b, NULL, 0);
	cr_expect_not_null(buf_reserve(&b, 0));
	for (int i = 0; i < 1000; i++)
		buf_printf(&b, "%d,", i);
	cr_expect_eq(b.len, 10 * 2 + 90 * 3 + 900 * 4);
	cr_expect(b.cap >= b.len);
	buf_fini(&b);
	cr_expect_null(b.p);
	buf_add_str(&b, "again");
	buf_add_span(&b, SPAN("!"));
	cr_expect(span_eq(buf_span(&b), SPAN("again!")));
	buf_reserve(&b, 100000)[99999] = 1;
	cr_expect_eq(b.len, 6);
	buf_fini(&b);
}

static void fill(struct buf *b)
{
	buf_add_u8(b, 0x81);
	buf_add_u16(b, 0x8182);
	buf_add_u32(b, 0x81828384);
	buf_add_u64(b, 0x8182838485868788);
	buf_add_lspan(b, SPAN("hello"));
	buf_add_lspan(b, span_of(NULL, 0));
}

Test(buf, round_trip)
{
	struct buf b;
	buf_init(&b);
	fill(&b);
	cr_expect(span_eq(span_head(buf_span(&b), 3), SPAN("\x81\x82\x81")), "little-endian");
	struct reader r = reader_of(buf_span(&b));
	cr_expect_eq(get_u8(&r), 0x81);
	cr_expect_eq(get_u16(&r), 0x8182);
	cr_expect_eq(get_u32(&r), 0x81828384);
	cr_expect_eq(get_u64(&r), 0x8182838485868788);
	cr_expect(span_eq(get_lspan(&r), SPAN("hello")));
	cr_expect(get_lspan(&r).len == 0 && r.ok);
	cr_expect_eq(r.s.len, 0);
	cr_expect(get_bytes(&r, 0).len == 0 && r.ok);
	cr_expect_eq(get_u8(&r), 0);
	cr_expect_not(r.ok);
	buf_fini(&b);
}

Test(buf, cut_at_every_byte)
{
	struct buf b;
	buf_init(&b);
	fill(&b);
	for (size_t len = 0; len < b.len; len++) {
		uint8_t *copy = malloc(len ? len : 1); /* exact, for the sanitizer */
		memcpy(copy, b.p, len);
		struct reader r = reader_of(span_of(copy, len));
		get_u8(&r), get_u16(&r), get_u32(&r), get_u64(&r), get_lspan(&r), get_lspan(&r);
		cr_expect_not(r.ok, "cut at %zu", len);
		cr_expect(get_u32(&r) == 0 && get_bytes(&r, 0).len == 0 && !r.ok);
		free(copy);
	}
	struct reader r = reader_of(SPAN("\xff\xff\xff\xff" "abc"));
	cr_expect_eq(get_lspan(&r).len, 0);
	cr_expect_not(r.ok, "a length that lies");
	r = reader_of(SPAN("abc"));
	cr_expect_eq(get_bytes(&r, SIZE_MAX).len, 0);
	cr_expect_not(r.ok);
	buf_fini(&b);
}
