/*
 * Tests of mail_data: the scanner and the stuffer against versions written from the grammar, which
 * look at the whole text at once; every text over {CR,LF,NUL,'.','a'} up to length 7, cut
 * everywhere, at and across the blocks that the fast path works in.
 */
#include <stdio.h>
#include <criterion/criterion.h>
#include "mail_data.h"

#define TEXT_MAX 4096

struct text {
	uint8_t b[TEXT_MAX];
	size_t len;
};

struct result {
	struct text content;
	size_t consumed;
	bool end;
	uint32_t flags;
	uint64_t lines, size, line_len_max;
};

static void put(struct text *t, const void *p, size_t len)
{
	cr_assert(t->len + len <= TEXT_MAX);
	memcpy(t->b + t->len, p, len);
	t->len += len;
}

static bool at(struct span s, size_t i, const char *what)
{
	size_t n = strlen(what);

	return i <= s.len && s.len - i >= n && memcmp(s.p + i, what, n) == 0;
}

static bool behind_crlf(struct span s, size_t i)
{
	return i >= 2 && at(s, i - 2, "\r\n");
}

static void model(struct span in, struct result *r)
{
	size_t stop = in.len, begin = 0;

	*r = (struct result){.consumed = in.len};
	for (size_t i = 0; i < in.len; i++) {
		if (at(in, i, ".\r\n") && (i == 0 || behind_crlf(in, i))) {
			stop = i;
			r->consumed = i + 3;
			r->end = true;
			break;
		}
	}
	for (size_t i = 0; i < stop; i++) {
		if (in.p[i] == '.' && (i == 0 || behind_crlf(in, i)))
			continue;
		put(&r->content, in.p + i, 1);
	}
	struct span c = span_of(r->content.b, r->content.len);
	for (size_t i = 0; i < c.len; i++) {
		bool cr_before = i > 0 && c.p[i - 1] == '\r';
		uint8_t b = c.p[i];

		if (b == 0)
			r->flags |= MAIL_DATA_NUL;
		if (b >= 0x80)
			r->flags |= MAIL_DATA_8BIT;
		if (b == '\n' && !cr_before)
			r->flags |= MAIL_DATA_BARE_LF;
		if (b != '\n' && cr_before)
			r->flags |= MAIL_DATA_BARE_CR;
		if (b == '.' && (i == 0 || cr_before || c.p[i - 1] == '\n'))
			r->flags |= MAIL_DATA_HAS_DOT_LINE;
		if (b == '\n' && cr_before) {
			r->lines++;
			if (i + 1 - begin > r->line_len_max)
				r->line_len_max = i + 1 - begin;
			begin = i + 1;
		}
	}
	r->size = c.len;
}

/* Bit i of cuts: a new chunk begins at byte i + 1. Chunks are copies of exact size, so ASan sees an
 * overrun. */
static void scan(struct span in, uint64_t cuts, size_t runs_max, struct result *r)
{
	struct mail_data_scan s;
	size_t off = 0;

	*r = (struct result){0};
	mail_data_scan_init(&s);
	while (off < in.len && !r->end) {
		size_t len = 1;

		while (off + len < in.len && !(off + len - 1 < 64 && (cuts >> (off + len - 1) & 1)))
			len++;
		uint8_t *chunk = malloc(len);
		memcpy(chunk, in.p + off, len);
		size_t at_off = 0;
		while (at_off < len && !r->end) {
			struct mail_run runs[8];
			struct mail_data_step step =
				mail_data_scan(&s, chunk + at_off, len - at_off, runs, runs_max);

			cr_assert(step.consumed > 0 && step.n_runs <= runs_max);
			cr_assert(step.unkeep == 0 || (step.end && r->content.len > 0));
			r->content.len -= step.unkeep;
			for (size_t i = 0; i < step.n_runs; i++) {
				cr_assert(runs[i].len > 0 &&
					  runs[i].off + runs[i].len <= step.consumed);
				put(&r->content, chunk + at_off + runs[i].off, runs[i].len);
			}
			at_off += step.consumed;
			r->end = step.end;
		}
		free(chunk);
		off += at_off;
	}
	r->consumed = off;
	r->flags = s.flags;
	r->lines = s.lines;
	r->size = s.size;
	r->line_len_max = s.line_len_max;
}

static bool same(const struct result *a, const struct result *b)
{
	return a->consumed == b->consumed && a->end == b->end && a->flags == b->flags &&
	       a->lines == b->lines && a->size == b->size && a->line_len_max == b->line_len_max &&
	       span_eq(span_of(a->content.b, a->content.len),
		       span_of(b->content.b, b->content.len));
}

static void show(char *dst, struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		dst += sprintf(dst, s.p[i] > 32 && s.p[i] < 127 ? "%c" : "\\%02x", s.p[i]);
	*dst = 0;
}

static void compare(struct span in, uint64_t cuts, size_t runs_max, const struct result *want)
{
	static struct result got;

	scan(in, cuts, runs_max, &got);
	if (!same(&got, want)) {
		char text[3 * TEXT_MAX + 1];

		show(text, in);
		cr_assert_fail("%s cuts %llx: end %d/%d consumed %zu/%zu size %llu/%llu flags "
			       "%x/%x line %llu/%llu",
			       text, (unsigned long long)cuts, got.end, want->end, got.consumed,
			       want->consumed, (unsigned long long)got.size,
			       (unsigned long long)want->size, got.flags, want->flags,
			       (unsigned long long)got.line_len_max,
			       (unsigned long long)want->line_len_max);
	}
}

static const char letters[5] = {'\r', '\n', 0, '.', 'a'};

/* The k-th text of that length. */
static void make(uint8_t *dst, size_t len, uint32_t k)
{
	for (size_t i = 0; i < len; i++, k /= 5)
		dst[i] = (uint8_t)letters[k % 5];
}

static uint32_t power5(size_t n)
{
	return n ? 5 * power5(n - 1) : 1;
}

Test(mail_data, every_text_every_cut)
{
	static struct result want;

	for (size_t len = 0; len <= 7; len++) {
		for (uint32_t k = 0; k < power5(len); k++) {
			uint8_t in[7];

			make(in, len, k);
			model(span_of(in, len), &want);
			if (len == 7) {
				for (size_t cut = 0; cut < 7; cut++)
					compare(span_of(in, len), 1u << cut, 1 + cut % 2, &want);
				compare(span_of(in, len), 0x7f, 8, &want);
			} else {
				for (uint64_t cuts = 0; cuts < 1u << (len ? len - 1 : 0); cuts++)
					compare(span_of(in, len), cuts, 8, &want);
			}
		}
	}
}

/* The same texts within a line and behind one, lying across the edge of a 64-byte block. */
Test(mail_data, every_text_at_block_edges)
{
	static struct result want;

	for (size_t pad = 56; pad <= 66; pad++) {
		for (size_t len = 1; len <= 5; len++) {
			for (uint32_t k = 0; k < power5(len); k++) {
				uint8_t in[160];

				memset(in, 'x', sizeof(in));
				make(in + pad, len, k);
				if (k & 1)
					memcpy(in + pad - 2, "\r\n", 2);
				model(span_of(in, pad + len + 20), &want);
				compare(span_of(in, pad + len + 20), 0, 1 + k % 3, &want);
			}
		}
	}
}

Test(mail_data, random_long)
{
	static struct result want;
	uint64_t x = 88172645463325252u;

	for (int round = 0; round < 3000; round++) {
		uint8_t in[400];
		size_t len = 1 + round % 400;

		for (size_t i = 0; i < len; i++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			static const char set[] = "aaaaaaaaaaaaaaaaaaaaaa.\r\n\n\r\xc3";
			in[i] = (uint8_t)set[x % (sizeof(set) - 1)];
			if (i && in[i] == '\n' && x >> 60 > 2)
				in[i - 1] = '\r';
		}
		model(span_of(in, len), &want);
		compare(span_of(in, len), x & x >> 7 & x >> 9, 2, &want);
		compare(span_of(in, len), 0, 1, &want);
	}
}

/* Smuggling: none of these is an end of data (PROTOCOLS: only CRLF.CRLF is). */
Test(mail_data, no_other_end)
{
	static const char *const texts[] = {
		"a\n.\n",      "a\n.\r\n",   "a\r\n.\n",     "a\r.\r",	     "a\r.\r\n",
		"a\r\n.\r",    "a\n\n.\n\n", "a\r\n.\r\r\n", "a\r\n\r.\r\n", "a\r\n..\r\n",
		"a\r\n. \r\n", "\n.\r\n",    ".\n",	     ".\r\r\n",	     "a\r\r\n.\n\r\n",
	};
	static struct result got;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		scan(span_str(texts[i]), 0, 8, &got);
		cr_expect(!got.end, "%zu", i);
		scan(span_str(texts[i]), ~0ull, 8, &got);
		cr_expect(!got.end, "%zu, byte by byte", i);
	}
	scan(SPAN("a\r\n\0.\r\n"), 0, 8, &got);
	cr_expect(!got.end);
	scan(SPAN("a\r\n.\0\r\n"), 0, 8, &got);
	cr_expect(!got.end);
}

/* ---- out ---- */

static void stuff_model(struct span in, struct text *out)
{
	bool begin = true;

	out->len = 0;
	for (size_t i = 0; i < in.len; i++) {
		uint8_t c = in.p[i];

		if (c == '\r' || c == '\n') {
			put(out, "\r\n", 2);
			i += at(in, i, "\r\n");
			begin = true;
			continue;
		}
		if (begin && c == '.')
			put(out, ".", 1);
		put(out, &c, 1);
		begin = false;
	}
	if (!begin)
		put(out, "\r\n", 2);
	put(out, ".\r\n", 3);
}

static void stuff(struct span in, uint64_t cuts, size_t edits_max, struct text *out)
{
	struct mail_stuff s;
	size_t off = 0;

	out->len = 0;
	mail_stuff_init(&s);
	while (off < in.len) {
		struct mail_edit edits[8];
		size_t len = 1, n, done, from = 0;

		while (off + len < in.len && !(off + len - 1 < 64 && (cuts >> (off + len - 1) & 1)))
			len++;
		done = mail_stuff_chunk(&s, in.p + off, len, edits, edits_max, &n);
		cr_assert(done <= len && n <= edits_max && (done || n));
		for (size_t i = 0; i < n; i++) {
			cr_assert(edits[i].off >= from && edits[i].off < done + (done < len));
			put(out, in.p + off + from, edits[i].off - from);
			from = edits[i].off;
			put(out, mail_insert_text[edits[i].what].p,
			    mail_insert_text[edits[i].what].len);
		}
		put(out, in.p + off + from, done - from);
		off += done;
	}
	struct span end = mail_stuff_end(&s);
	put(out, end.p, end.len);
}

static void stuff_compare(struct span in, uint64_t cuts, size_t edits_max)
{
	static struct text want, got;
	static struct result back;

	stuff_model(in, &want);
	stuff(in, cuts, edits_max, &got);
	if (!span_eq(span_of(got.b, got.len), span_of(want.b, want.len))) {
		char text[3 * TEXT_MAX + 1];

		show(text, in);
		cr_assert_fail("%s cuts %llx", text, (unsigned long long)cuts);
	}
	/* What we send is read back as one message, with one end, at the end, and nothing bare in
	 * it. */
	scan(span_of(got.b, got.len), 0, 8, &back);
	cr_assert(back.end && back.consumed == got.len);
	cr_assert(!(back.flags & (MAIL_DATA_BARE_CR | MAIL_DATA_BARE_LF)));
}

Test(mail_data, stuff_every_text_every_cut)
{
	for (size_t len = 0; len <= 6; len++) {
		for (uint32_t k = 0; k < power5(len); k++) {
			uint8_t in[160];

			make(in, len, k);
			for (uint64_t cuts = 0; cuts < 1u << (len ? len - 1 : 0);
			     cuts += len < 6 ? 1 : 5)
				stuff_compare(span_of(in, len), cuts, 8);
			stuff_compare(span_of(in, len), 0, 1);
			memset(in, 'x', sizeof(in));
			make(in + 60, len, k);
			stuff_compare(span_of(in, 80), 0, 8);
		}
	}
}

/* Clean content (by the scanner's flags) needs no edits, and its end mark follows from its last two
 * bytes. */
Test(mail_data, clean_content_goes_as_it_is)
{
	static struct result r;

	for (size_t len = 0; len <= 6; len++) {
		for (uint32_t k = 0; k < power5(len); k++) {
			uint8_t in[6];
			struct mail_stuff s;
			struct mail_edit edits[8];
			size_t n;

			make(in, len, k);
			scan(span_of(in, len), 0, 8, &r);
			if (r.flags & MAIL_DATA_NEEDS_STUFF)
				continue;
			mail_stuff_init(&s);
			mail_stuff_chunk(&s, r.content.b, r.content.len, edits, 8, &n);
			cr_assert(n == 0);
			struct span tail = span_of(r.content.b, r.content.len);
			tail = span_from(tail, tail.len > 2 ? tail.len - 2 : 0);
			cr_assert(span_eq(mail_end_mark(tail), mail_stuff_end(&s)));
		}
	}
}
