/*
 * fuzz_mail_codec.c: every decoder into memory of exactly the size it promises to need, and one
 * byte less; what is decoded is encoded again and must be the same. Also the text of a delivery
 * report made of the input.
 */
#include <stdlib.h>
#include "check.h"
#include "mail_codec.h"
#include "mail_dsn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void base64(struct span in)
{
	size_t room = MAIL_B64_DEC_MAX(in.len);
	uint8_t *out = malloc(room + 1), *tight;
	ptrdiff_t n = mail_b64_decode(in, out, room), m;
	char *enc;

	if (n >= 0) {
		tight = malloc((size_t)n);
		CHECK(mail_b64_decode(in, tight, (size_t)n) == n);
		CHECK(n == 0 || mail_b64_decode(in, tight, (size_t)n - 1) == -1);
		enc = malloc(in.len);
		CHECK(mail_b64_encode(span_of(out, (size_t)n), enc, in.len) == (ptrdiff_t)in.len);
		CHECK(in.len == 0 || memcmp(enc, in.p, in.len) == 0);
		free(enc);
		free(tight);
	}
	enc = malloc(MAIL_B64_ENC_LEN(in.len));
	m = mail_b64_encode(in, enc, MAIL_B64_ENC_LEN(in.len));
	CHECK(m == (ptrdiff_t)MAIL_B64_ENC_LEN(in.len));
	tight = malloc(in.len);
	CHECK(mail_b64_decode(span_of(enc, (size_t)m), tight, in.len) == (ptrdiff_t)in.len);
	free(tight);
	free(enc);
	free(out);
}

static void names(struct span in)
{
	uint8_t *u8 = malloc(3 * in.len);
	char *u7 = malloc(4 * in.len + 2);
	ptrdiff_t n = mail_utf7_to_utf8(in, u8, 3 * in.len), m;

	if (n >= 0) {
		CHECK(mail_utf8_valid(span_of(u8, (size_t)n)));
		m = mail_utf8_to_utf7(span_of(u8, (size_t)n), u7, in.len);
		CHECK(m == (ptrdiff_t)in.len && (m == 0 || memcmp(u7, in.p, in.len) == 0));
	}
	m = mail_utf8_to_utf7(in, u7, 4 * in.len + 2);
	CHECK((m >= 0) == (mail_utf8_valid(in) && span_find(in, 0) < 0));
	if (m >= 0) {
		n = mail_utf7_to_utf8(span_of(u7, (size_t)m), u8, in.len);
		CHECK(n == (ptrdiff_t)in.len && (n == 0 || memcmp(u8, in.p, in.len) == 0));
	}
	free(u7);
	free(u8);
}

static void texts(struct span in)
{
	static const char *const charset[] = {"utf-8", "iso-8859-1", "iso-8859-15", "windows-1252",
					      "other"};
	struct buf b, x;

	buf_init(&b);
	buf_init(&x);
	mail_body_decode(&b, MAIL_ENC_BASE64, in);
	CHECK(b.len <= in.len / 4 * 3 + 3);
	b.len = 0;
	mail_body_decode(&b, MAIL_ENC_QP, in);
	CHECK(b.len <= in.len);
	b.len = 0;
	mail_words_decode(&b, in);
	for (size_t i = 0; i < ARRAY_LEN(charset); i++) {
		b.len = 0;
		if (mail_charset_to_utf8(&b, span_str(charset[i]), in) == ERR_OK)
			CHECK(mail_utf8_valid(buf_span(&b)));
	}
	mail_xtext_encode(&x, in);
	b.len = 0;
	uint8_t *out = buf_reserve(&b, in.len);
	ptrdiff_t n = mail_xtext_decode(buf_span(&x), out, in.len);
	if (n >= 0)
		CHECK(span_eq(span_of(out, (size_t)n), in));
	n = mail_xtext_decode(in, out, in.len);
	for (ptrdiff_t i = 0; i < n; i++)
		CHECK(out[i] && out[i] != '\r' && out[i] != '\n');
	buf_fini(&b);
	buf_fini(&x);
}

static bool naive(struct span hay, struct span needle)
{
	for (size_t i = 0; i + needle.len <= hay.len; i++) {
		if (span_istarts(span_from(hay, i), needle))
			return true;
	}
	return false;
}

static void report(struct span in)
{
	struct span third[3] = {span_head(in, in.len / 3),
				span_head(span_from(in, in.len / 3), in.len / 3),
				span_from(in, in.len / 3 * 2)};
	struct mail_dsn_rcpt r = {.original = third[0],
				  .final = third[1],
				  .status = third[2],
				  .remote_mta = third[0],
				  .reply = third[1]};
	struct mail_dsn d = {
		.action = (enum mail_dsn_action)(in.len % 5),
		.host = third[1],
		.to = third[2],
		.id = third[0],
		.envid = third[1],
		.rcpt = &r,
		.n_rcpt = 1,
		.original = in,
	};
	size_t begin = 0;
	struct buf b;

	buf_init(&b);
	mail_dsn_write(&b, &d);
	for (size_t i = 0; i < b.len; i++) {
		CHECK(b.p[i] < 0x7f &&
		      (b.p[i] >= ' ' || b.p[i] == '\r' || b.p[i] == '\n' || b.p[i] == '\t'));
		CHECK(b.p[i] != '\r' || b.p[i + 1] == '\n');
		if (b.p[i] == '\n') {
			CHECK(b.p[i - 1] == '\r' && i + 1 - begin <= 1000);
			begin = i + 1;
		}
	}
	CHECK(begin == b.len);
	buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);
	size_t cut;

	base64(in);
	names(in);
	texts(in);
	report(in);
	if (size > 1) {
		cut = data[0] % size;
		struct span needle = span_head(span_from(in, 1), cut), hay = span_from(in, 1 + cut);
		if (size < 4096)
			CHECK(mail_text_contains(hay, needle) == naive(hay, needle));
	}
	return 0;
}
