/*
 * span.h: a borrowed run of bytes, and the small comparisons that parsers need.
 *
 * A span never owns. It is valid until the stream, packet or arena it points into moves on;
 * whoever keeps one longer copies it. The bytes may hold NUL.
 */
#ifndef VEREDUS_SPAN_H
#define VEREDUS_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
	const uint8_t *p;
	size_t len;
};

#define SPAN(lit) ((struct span){(const uint8_t *)("" lit), sizeof(lit) - 1})
#define SPAN_FMT  "%.*s"
#define SPAN_ARG(s) (int)(s).len, (const char *)(s).p

static inline struct span span_of(const void *p, size_t len)
{
	return (struct span){(const uint8_t *)p, len};
}

static inline struct span span_str(const char *s)
{
	return span_of(s, s ? strlen(s) : 0);
}

/* The bytes from off (clamped to the end) on. */
static inline struct span span_from(struct span s, size_t off)
{
	if (off > s.len)
		off = s.len;
	return off ? span_of(s.p + off, s.len - off) : s; /* NULL + 0 is undefined */
}

/* At most len bytes from the front. */
static inline struct span span_head(struct span s, size_t len)
{
	return span_of(s.p, len < s.len ? len : s.len);
}

static inline bool span_eq(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static inline uint8_t ascii_lower(uint8_t c)
{
	return (uint8_t)(c - 'A') < 26 ? (uint8_t)(c | 0x20) : c;
}

static inline uint8_t ascii_upper(uint8_t c)
{
	return (uint8_t)(c - 'a') < 26 ? (uint8_t)(c & 0xdf) : c;
}

/* Equal but for ASCII case. */
bool span_ieq(struct span a, struct span b);
/* Does s begin with prefix, but for ASCII case? */
bool span_istarts(struct span s, struct span prefix);
/* Index of the first byte c, or -1. */
ptrdiff_t span_find(struct span s, uint8_t c);
/* Without the given bytes (spaces and tabs) at both ends. */
struct span span_trim(struct span s);
/* Decimal digits only, the whole span, no sign; false if empty, other bytes, or above max. */
bool span_u64(struct span s, uint64_t max, uint64_t *out);
/* Copies into dst with a closing NUL; false (dst = "") if it does not fit or holds a NUL. */
bool span_cstr(struct span s, char *dst, size_t dst_size);

#endif
