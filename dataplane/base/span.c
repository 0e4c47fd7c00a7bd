/*
 * span.c: comparisons and conversions of borrowed bytes. Pure functions; nothing is kept or allocated.
 * An empty span may have p == NULL, so no library function is called with it.
 */
#include "span.h"

bool span_ieq(struct span a, struct span b)
{
	return a.len == b.len && span_istarts(a, b);
}

bool span_istarts(struct span s, struct span prefix)
{
	if (s.len < prefix.len)
		return false;
	for (size_t i = 0; i < prefix.len; i++) {
		if (ascii_lower(s.p[i]) != ascii_lower(prefix.p[i]))
			return false;
	}
	return true;
}

ptrdiff_t span_find(struct span s, uint8_t c)
{
	const uint8_t *hit = s.len ? memchr(s.p, c, s.len) : NULL;
	return hit ? hit - s.p : -1;
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

struct span span_trim(struct span s)
{
	while (s.len && is_blank(s.p[0]))
		s = span_from(s, 1);
	while (s.len && is_blank(s.p[s.len - 1]))
		s.len--;
	return s;
}

bool span_u64(struct span s, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		uint8_t digit = (uint8_t)(s.p[i] - '0');
		if (digit > 9 || digit > max || v > (max - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*out = v;
	return true;
}

bool span_cstr(struct span s, char *dst, size_t dst_size)
{
	if (dst_size == 0)
		return false;
	dst[0] = '\0';
	if (s.len >= dst_size || span_find(s, 0) >= 0)
		return false;
	if (s.len)
		memcpy(dst, s.p, s.len);
	dst[s.len] = '\0';
	return true;
}
