/*
 * buf.c: the growing buffer and the reader of its encoding. Growth doubles; memory that is out ends the
 * process, so buffers take only what a limit has bounded before. The reader trusts nothing.
 */
#include "buf.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CAP_MIN 64u

void buf_init(struct buf *b)
{
	*b = (struct buf){0};
}

void buf_fini(struct buf *b)
{
	free(b->p);
	buf_init(b);
}

uint8_t *buf_reserve(struct buf *b, size_t len)
{
	if (len > b->cap - b->len || !b->p) {
		size_t cap = b->cap ? b->cap : CAP_MIN;

		CHECK(len <= SIZE_MAX / 4 - b->len);
		while (cap - b->len < len)
			cap *= 2;
		b->p = realloc(b->p, cap);
		CHECK(b->p);
		b->cap = cap;
	}
	return b->p + b->len;
}

void buf_add(struct buf *b, const void *p, size_t len)
{
	if (len == 0)
		return;
	memcpy(buf_reserve(b, len), p, len);
	b->len += len;
}

void buf_add_span(struct buf *b, struct span s)
{
	buf_add(b, s.p, s.len);
}

void buf_add_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	CHECK(n >= 0);
	char *dst = (char *)buf_reserve(b, (size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf(dst, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

static void add_le(struct buf *b, uint64_t v, size_t n)
{
	uint8_t *dst = buf_reserve(b, n);

	for (size_t i = 0; i < n; i++)
		dst[i] = (uint8_t)(v >> (8 * i));
	b->len += n;
}

void buf_add_u8(struct buf *b, uint8_t v)
{
	add_le(b, v, 1);
}

void buf_add_u16(struct buf *b, uint16_t v)
{
	add_le(b, v, 2);
}

void buf_add_u32(struct buf *b, uint32_t v)
{
	add_le(b, v, 4);
}

void buf_add_u64(struct buf *b, uint64_t v)
{
	add_le(b, v, 8);
}

void buf_add_lspan(struct buf *b, struct span s)
{
	CHECK(s.len <= UINT32_MAX);
	buf_add_u32(b, (uint32_t)s.len);
	buf_add_span(b, s);
}

struct reader reader_of(struct span s)
{
	return (struct reader){s, true};
}

struct span get_bytes(struct reader *r, size_t len)
{
	if (!r->ok || len > r->s.len) {
		*r = (struct reader){0};
		return span_of(NULL, 0);
	}
	struct span got = span_head(r->s, len);
	r->s = span_from(r->s, len);
	return got;
}

static uint64_t get_le(struct reader *r, size_t n)
{
	struct span s = get_bytes(r, n);
	uint64_t v = 0;

	for (size_t i = 0; i < s.len; i++)
		v |= (uint64_t)s.p[i] << (8 * i);
	return v;
}

uint8_t get_u8(struct reader *r)
{
	return (uint8_t)get_le(r, 1);
}

uint16_t get_u16(struct reader *r)
{
	return (uint16_t)get_le(r, 2);
}

uint32_t get_u32(struct reader *r)
{
	return (uint32_t)get_le(r, 4);
}

uint64_t get_u64(struct reader *r)
{
	return get_le(r, 8);
}

struct span get_lspan(struct reader *r)
{
	return get_bytes(r, get_u32(r));
}
