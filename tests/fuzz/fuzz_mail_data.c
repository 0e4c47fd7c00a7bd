/*
 * fuzz_mail_data.c: the DATA scanner cut in chunks against itself on the whole text, then the
 * content stuffed and scanned again: the same content must come out. The first bytes say where the
 * cuts are.
 */
#include <stdlib.h>
#include "buf.h"
#include "check.h"
#include "mail_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
	struct buf content;
	size_t consumed;
	bool end;
	struct mail_data_scan s;
};

static void scan(struct span in, const uint8_t *cuts, size_t n_cuts, size_t runs_max,
		 struct result *r)
{
	size_t cut = 0;

	*r = (struct result){0};
	buf_init(&r->content);
	mail_data_scan_init(&r->s);
	while (r->consumed < in.len && !r->end) {
		size_t len = n_cuts ? 1u + cuts[cut++ % n_cuts] : in.len;
		struct span chunk = span_head(span_from(in, r->consumed), len);
		uint8_t *p = malloc(chunk.len);
		struct mail_run runs[8];
		struct mail_data_step step;

		memcpy(p, chunk.p, chunk.len);
		step = mail_data_scan(&r->s, p, chunk.len, runs, runs_max);
		CHECK(step.consumed > 0 && step.consumed <= chunk.len && step.n_runs <= runs_max);
		CHECK(step.unkeep <= r->content.len);
		r->content.len -= step.unkeep;
		for (size_t i = 0; i < step.n_runs; i++) {
			CHECK(runs[i].len && runs[i].off + runs[i].len <= step.consumed);
			buf_add(&r->content, p + runs[i].off, runs[i].len);
		}
		r->consumed += step.consumed;
		r->end = step.end;
		free(p);
	}
	CHECK(r->s.size == r->content.len);
}

static void stuff(struct span in, size_t chunk_len, struct buf *out)
{
	struct mail_stuff s;
	struct span end;

	buf_init(out);
	mail_stuff_init(&s);
	while (in.len) {
		struct mail_edit edits[4];
		size_t n, from = 0, done;

		done = mail_stuff_chunk(&s, in.p, in.len < chunk_len ? in.len : chunk_len, edits, 4,
					&n);
		for (size_t i = 0; i < n; i++) {
			CHECK(edits[i].off >= from);
			buf_add(out, in.p + from, edits[i].off - from);
			from = edits[i].off;
			buf_add_span(out, mail_insert_text[edits[i].what]);
		}
		buf_add(out, in.p + from, done - from);
		in = span_from(in, done);
	}
	end = mail_stuff_end(&s);
	buf_add_span(out, end);
}

/* What a chunk scanner says of text, byte by byte from the definition. */
static void check_chunk(struct span in, const uint8_t *cuts)
{
	struct mail_data_scan whole, cut;
	uint32_t flags = 0;
	size_t i = 0;

	for (size_t k = 0; k < in.len; k++) {
		uint8_t c = in.p[k], last = k ? in.p[k - 1] : '\n', next = k + 1 < in.len ? in.p[k + 1] : 0;
		bool bol = k == 0 || last == '\n' || last == '\r';

		flags |= c == 0 ? MAIL_DATA_NUL : c >= 0x80 ? MAIL_DATA_8BIT : 0u;
		flags |= c == '\r' && next != '\n' ? MAIL_DATA_BARE_CR : 0u;
		flags |= c == '\n' && (k == 0 || last != '\r') ? MAIL_DATA_BARE_LF : 0u;
		flags |= c == '.' && bol ? MAIL_DATA_HAS_DOT_LINE : 0u;
	}
	if (in.len && (in.len < 2 || memcmp(in.p + in.len - 2, "\r\n", 2) != 0))
		flags |= MAIL_DATA_OPEN_END;
	mail_data_scan_init(&whole);
	mail_data_scan_init(&cut);
	mail_chunk_scan(&whole, in.p, in.len);
	for (size_t at = 0; at < in.len;) {
		size_t n = 1u + cuts[i++ % 4];

		n = n < in.len - at ? n : in.len - at;
		mail_chunk_scan(&cut, in.p + at, n);
		at += n;
	}
	mail_chunk_end(&whole);
	mail_chunk_end(&cut);
	CHECK(whole.flags == flags && cut.flags == flags && whole.size == in.len && cut.size == in.len);
	CHECK(whole.lines == cut.lines && whole.line_len_max == cut.line_len_max);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);
	struct result whole, cut, again;
	struct buf wire, wire2;

	if (size < 4)
		return 0;
	in = span_from(in, 4);
	check_chunk(in, data);
	scan(in, NULL, 0, 8, &whole);
	scan(in, data, 4, 1 + data[0] % 8, &cut);
	CHECK(whole.end == cut.end && whole.consumed == cut.consumed &&
	      whole.s.flags == cut.s.flags);
	CHECK(whole.s.lines == cut.s.lines && whole.s.line_len_max == cut.s.line_len_max);
	CHECK(span_eq(buf_span(&whole.content), buf_span(&cut.content)));
	if (whole.end)
		CHECK(whole.consumed >= 3 && memcmp(in.p + whole.consumed - 3, ".\r\n", 3) == 0);

	stuff(buf_span(&whole.content), 1 + data[1], &wire);
	stuff(buf_span(&whole.content), SIZE_MAX, &wire2);
	CHECK(span_eq(buf_span(&wire), buf_span(&wire2)));
	scan(buf_span(&wire), data, 4, 8, &again);
	CHECK(again.end && again.consumed == wire.len);
	CHECK(!(again.s.flags & (MAIL_DATA_BARE_CR | MAIL_DATA_BARE_LF)));
	if (whole.end && !(whole.s.flags & (MAIL_DATA_BARE_CR | MAIL_DATA_BARE_LF)))
		CHECK(span_eq(buf_span(&again.content), buf_span(&whole.content)));
	buf_fini(&wire);
	buf_fini(&wire2);
	buf_fini(&whole.content);
	buf_fini(&cut.content);
	buf_fini(&again.content);
	return 0;
}
