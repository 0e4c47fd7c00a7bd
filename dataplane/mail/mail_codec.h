/*
 * mail_codec.h: encodings: base64 and quoted-printable (RFC 2045), xtext (RFC 3461 4), modified
 * UTF-7 (RFC 3501 5.1.3), encoded words (RFC 2047), charsets into UTF-8, and text search.
 *
 * Decoders to a caller's array never write past out_size and never need more than the bound named;
 * -1 is a refusal. Decoders into a struct buf are the lenient ones, for message content: they give
 * what can be read.
 */
#ifndef VEREDUS_MAIL_CODEC_H
#define VEREDUS_MAIL_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "buf.h"
#include "err.h"
#include "span.h"

/* ---- base64 ---- */
#define MAIL_B64_ENC_LEN(n) (((n) + 2) / 3 * 4)
#define MAIL_B64_DEC_MAX(n) ((n) / 4 * 3)

/* Strict (SASL): padded, no other bytes, unused bits zero. Length written, or -1. */
ptrdiff_t mail_b64_decode(struct span in, uint8_t *out, size_t out_size);
/* One line, padded, no closing NUL. Length written, or -1 if out is too small. */
ptrdiff_t mail_b64_encode(struct span in, char *out, size_t out_size);

/* ---- bodies ---- */
enum mail_encoding {
	MAIL_ENC_7BIT,
	MAIL_ENC_8BIT,
	MAIL_ENC_BINARY,
	MAIL_ENC_BASE64,
	MAIL_ENC_QP,
	MAIL_ENC_OTHER, /* unknown: as it is */
};
/* The value of Content-Transfer-Encoding; empty means 7bit. */
enum mail_encoding mail_encoding_of(struct span name);
/* Appends the decoded body. Bytes that are not of the encoding are skipped (base64) or kept (qp).
 */
void mail_body_decode(struct buf *out, enum mail_encoding enc, struct span in);

/* ---- xtext: values of ENVID=, ORCPT=, AUTH= ---- */
/* Length written, or -1: bad form, out too small, or a byte that decodes to NUL, CR or LF. */
ptrdiff_t mail_xtext_decode(struct span in, uint8_t *out, size_t out_size);
void mail_xtext_encode(struct buf *out, struct span in);

/* ---- mailbox names ---- */
/* Modified UTF-7 to UTF-8; -1 when it is not canonical (RFC 3501 5.1.3) or holds a NUL or half a
 * surrogate. out >= 3 * in is enough. */
ptrdiff_t mail_utf7_to_utf8(struct span in, uint8_t *out, size_t out_size);
/* UTF-8 to modified UTF-7; -1 when it is not UTF-8. out >= 4 * in + 2 is enough. */
ptrdiff_t mail_utf8_to_utf7(struct span in, char *out, size_t out_size);

/* ---- charsets ---- */
/* Well-formed UTF-8 (RFC 3629: shortest form, no surrogates, <= U+10FFFF). NUL counts as valid. */
bool mail_utf8_valid(struct span s);
/*
 * Appends in as UTF-8. Known: utf-8, us-ascii, iso-8859-1, iso-8859-15, windows-1252 and their
 * aliases (any case). Bytes that are not of the charset become U+FFFD. ERR_UNSUPPORTED: appended as
 * it is.
 */
enum err mail_charset_to_utf8(struct buf *out, struct span charset, struct span in);
bool mail_charset_known(struct span charset);
/* Appends a header value with its encoded words decoded to UTF-8 and folding taken out; bad words
 * stay as they are. */
void mail_words_decode(struct buf *out, struct span in);

/* ---- search ---- */
/* Does hay hold needle, ASCII case apart? The empty needle is everywhere. Linear time. */
bool mail_text_contains(struct span hay, struct span needle);

#endif
