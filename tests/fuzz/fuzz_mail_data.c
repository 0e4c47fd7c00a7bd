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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);
	struct result whole, cut, again;
	struct buf wire, wire2;

	if (size < 4)
		return 0;
	in = span_from(in, 4);
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
