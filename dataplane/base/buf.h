/* buf.h: a growing byte buffer over malloc, for replies, records and reports. Not for the hot path. */
#ifndef VEREDUS_BUF_H
#define VEREDUS_BUF_H

#include <stddef.h>
#include <stdint.h>
#include "check.h"
#include "span.h"

struct buf {
	uint8_t *p;
	size_t len, cap;
};

void buf_init(struct buf *b);
void buf_fini(struct buf *b);
/* Room for len more bytes; returns where they go (len is not advanced). Aborts when malloc fails. */
uint8_t *buf_reserve(struct buf *b, size_t len);
void buf_add(struct buf *b, const void *p, size_t len);
void buf_add_span(struct buf *b, struct span s);
void buf_add_str(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
/* Little-endian integers and a span behind a u32 length: the encoding of log records. */
void buf_add_u8(struct buf *b, uint8_t v);
void buf_add_u16(struct buf *b, uint16_t v);
void buf_add_u32(struct buf *b, uint32_t v);
void buf_add_u64(struct buf *b, uint64_t v);
void buf_add_lspan(struct buf *b, struct span s);
static inline struct span buf_span(const struct buf *b)
{
	return span_of(b->p, b->len);
}

/* The reader for the same encoding. After any short read ok is false and all gets return 0 / empty. */
struct reader {
	struct span s;
	bool ok;
};
struct reader reader_of(struct span s);
uint8_t get_u8(struct reader *r);
uint16_t get_u16(struct reader *r);
uint32_t get_u32(struct reader *r);
uint64_t get_u64(struct reader *r);
struct span get_bytes(struct reader *r, size_t len);
struct span get_lspan(struct reader *r);

#endif
