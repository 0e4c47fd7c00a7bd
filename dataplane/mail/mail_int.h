/* mail_int.h: small things that the files of this folder share. */
#ifndef VEREDUS_MAIL_INT_H
#define VEREDUS_MAIL_INT_H

#include <stddef.h>
#include <stdint.h>
#include "span.h"

/* Writes cp (<= U+10FFFF) as UTF-8 into dst[4]; returns 1..4. */
size_t mail_utf8_put(uint8_t *dst, uint32_t cp);
/* Length of the UTF-8 sequence at p (1..4) and its code point; 0 when it is not well-formed. len
 * >= 1. */
size_t mail_utf8_get(const uint8_t *p, size_t len, uint32_t *cp);

static inline int mail_hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = ascii_upper(c);
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static inline bool mail_is_lws(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

#endif
