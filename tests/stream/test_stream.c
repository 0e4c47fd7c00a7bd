/* test_stream.c: lines, takes and writes over every cut of the same bytes; the pool balanced at the end. */
#include <criterion/criterion.h>
#include "stream.h"

static struct pkt_pool *pool;

static void setup(void)
{
	pool = pkt_pool_create("t", 10000, PKT_ROOM);
}

static void teardown(void)
{
	pkt_pool_destroy(&pool); /* ends the process if a packet is out */
}

TestSuite(stream, .init = setup, .fini = teardown);

static void feed(struct stream *s, const void *bytes, size_t len)
{
	struct pkt *p = pkt_alloc(pool);
	uint8_t *to = pkt_append(p, (uint32_t)len);
	memcpy(to, bytes, len);
	stream_feed(s, (struct slice){p, to, (uint32_t)len});
}

Test(stream, lines_at_every_cut)
{
	static const char text[] = "EHLO a\r\nbare\n\r\n\rx\r\r\nlast\r\n";
	static const struct {
		const char *line;
		bool bare;
	} want[] = {{"EHLO a", false}, {"bare", true}, {"", false}, {"\rx\r", false}, {"last", false}};
	size_t len = sizeof(text) - 1;
	for (size_t a = 0; a <= len; a++)
		for (size_t b = a; b <= len; b++) {
			struct stream s;
			struct span line;
			bool bare;
			unsigned n = 0;
			size_t cut[] = {0, a, b, len};
			stream_init(&s, pool);
			for (unsigned i = 0; i < 3; i++) {
				feed(&s, text + cut[i], cut[i + 1] - cut[i]);
				while (stream_line(&s, 100, &line, &bare) == ERR_OK) {
					cr_assert(n < ARRAY_LEN(want));
					cr_expect(span_eq(line, span_str(want[n].line)), "%zu %zu: %u", a, b, n);
					cr_expect_eq(bare, want[n].bare);
					stream_line_done(&s);
					n++;
				}
			}
			cr_assert_eq(n, ARRAY_LEN(want), "%zu %zu: %u lines", a, b, n);
			cr_expect_eq(stream_taken(&s), len);
			stream_fini(&s);
		}
}

Test(stream, line_limit_counts_the_end)
{
	struct stream s;
	struct span line;
	stream_init(&s, pool);
	feed(&s, "12345678\r\n", 10);
	cr_expect_eq(stream_line(&s, 9, &line, NULL), ERR_TOO_LONG);
	cr_expect_eq(stream_line(&s, 10, &line, NULL), ERR_OK);
	stream_line_done(&s);
	feed(&s, "123456789", 9);
	cr_expect_eq(stream_line(&s, 9, &line, NULL), ERR_TOO_LONG);
	cr_expect_eq(stream_line(&s, 10, &line, NULL), ERR_MORE);
	feed(&s, "0", 1);
	cr_expect_eq(stream_line(&s, 10, &line, NULL), ERR_TOO_LONG);
	cr_expect_not(stream_skip_line(&s));
	feed(&s, "rest\nnext\r\n", 11);
	cr_expect(stream_skip_line(&s));
	cr_expect_eq(stream_line(&s, 10, &line, NULL), ERR_OK);
	cr_expect(span_eq(line, SPAN("next")));
	stream_fini(&s);
}

Test(stream, tiny_segments_do_not_pin_packets)
{
	struct stream s;
	stream_init(&s, pool);
	for (unsigned i = 0; i < 3000; i++)
		feed(&s, "x", 1);
	cr_expect_leq(pkt_heap_outstanding(), 3);
	cr_expect_eq(stream_readable(&s), 3000);
	stream_fini(&s);
}

Test(stream, take_shares_large_and_copies_small)
{
	struct stream s;
	struct slices out = {0};
	char big[1400], got[4000];
	memset(big, 'b', sizeof(big));
	stream_init(&s, pool);
	feed(&s, big, sizeof(big));
	const uint8_t *at = s.rx.v[0].data;
	feed(&s, big, sizeof(big));
	feed(&s, big, 100);
	stream_take(&s, 1000, &out);
	cr_expect_eq(out.v[0].data, at); /* the same bytes */
	stream_take(&s, 150, &out);      /* short: copied behind nothing of the peer's packet */
	stream_take(&s, 1700, &out);
	cr_expect_eq(out.len, 2850);
	cr_expect_eq(stream_readable(&s), 50);
	cr_expect_eq(stream_taken(&s), 2850);
	cr_expect_eq(slices_read(&out, 0, got, sizeof(got)), 2850);
	for (unsigned i = 0; i < 2850; i++)
		cr_assert_eq(got[i], 'b');
	slices_drop(&out);
	stream_fini(&s);
}

Test(stream, take_works_when_the_pool_is_empty)
{
	struct stream s;
	struct slices out = {0};
	stream_init(&s, pool);
	feed(&s, "0123456789", 10);
	pkt_heap_fail_after(1);
	stream_take(&s, 4, &out);
	pkt_heap_fail_after(0);
	char got[4];
	cr_expect_eq(slices_read(&out, 0, got, 4), 4);
	cr_expect_eq(memcmp(got, "0123", 4), 0);
	slices_drop(&out);
	stream_fini(&s);
}

Test(stream, output_in_order_and_bounded)
{
	struct stream s;
	struct slice out[4];
	stream_init(&s, pool);
	stream_str(&s, "220 hello\r\n");
	stream_printf(&s, "%d %s\r\n", 250, "there");
	cr_expect_eq(stream_pending(&s), 22);
	cr_expect_eq(stream_out(&s, 0, out, 4), 0);
	cr_expect_eq(stream_out(&s, 1, out, 4), 1); /* at least one slice if there is any room */
	cr_expect(span_eq(slice_span(&out[0]), SPAN("220 hello\r\n250 there\r\n")));
	slice_drop(&out[0]);
	char *long_text = malloc(5000);
	memset(long_text, 'x', 4999);
	long_text[4999] = 0;
	stream_printf(&s, "%s", long_text);
	free(long_text);
	cr_expect_eq(stream_out(&s, 100000, out, 4), 3);
	uint64_t n = 0;
	for (unsigned i = 0; i < 3; i++) {
		n += out[i].len;
		slice_drop(&out[i]);
	}
	cr_expect_eq(n, 4999);
	stream_fini(&s);
}

/* Big packets serve all who read from the store: a peer that is slow to take its bytes must not keep them. */
Test(stream, big_packets_are_kept_only_for_much_and_while_there_are_many)
{
	static const struct {
		uint32_t len;
		unsigned taken; /* of the pool of 8 */
		bool kept;
	} rows[] = {
		{100, 1, false}, {PKT_ROOM - 1, 1, false}, {PKT_ROOM, 1, true}, {32768, 4, true}, {32768, 5, false},
	};
	struct pkt_pool *big = pkt_pool_create("big", 8, PKT_BIG_ROOM);

	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		struct pkt *other[8], *p = pkt_alloc(big);
		uint8_t *data = pkt_append(p, rows[i].len), back[32768];
		struct stream s;

		for (unsigned k = 1; k < rows[i].taken; k++)
			other[k] = pkt_alloc(big);
		for (uint32_t k = 0; k < rows[i].len; k++)
			data[k] = (uint8_t)(k * 7);
		stream_init(&s, pool);
		stream_send(&s, (struct slice){p, data, rows[i].len});
		cr_expect_eq(pkt_pool_free_n(big), 8 - rows[i].taken + !rows[i].kept, "row %u", i);
		cr_assert_eq(slices_read(&s.tx, 0, back, sizeof(back)), rows[i].len);
		for (uint32_t k = 0; k < rows[i].len; k++)
			cr_assert_eq(back[k], (uint8_t)(k * 7), "row %u", i);
		stream_fini(&s);
		for (unsigned k = 1; k < rows[i].taken; k++)
			pkt_free(other[k]);
		cr_expect_eq(pkt_pool_free_n(big), 8);
	}
	pkt_pool_destroy(&big);
}

Test(stream, no_packet_fails_the_stream)
{
	struct stream s;
	stream_init(&s, pool);
	pkt_heap_fail_after(1);
	stream_str(&s, "220\r\n");
	cr_expect(s.failed);
	stream_fini(&s);
}

Test(stream, closed_stream_reads_and_writes_nothing)
{
	struct stream s;
	stream_init(&s, pool);
	feed(&s, "QUIT\r\nNOOP\r\n", 12);
	stream_str(&s, "221\r\n");
	stream_close(&s);
	cr_expect_eq(stream_readable(&s), 0);
	feed(&s, "more", 4);
	stream_str(&s, "250\r\n");
	cr_expect_eq(stream_readable(&s), 0);
	cr_expect_eq(stream_taken(&s), 16);
	cr_expect_eq(stream_pending(&s), 5);
	stream_abort(&s);
	cr_expect_eq(stream_pending(&s), 0);
	stream_fini(&s);
}
