/*
 * mail_header.c: walking the fields of a header; see mail_header.h. Address lists are in
 * mail_address.c, dates in mail_date.c.
 */
#include "mail_header.h"
#include "mail_int.h"

void mail_header_begin(struct mail_header_iter *it, struct span msg)
{
	*it = (struct mail_header_iter){.msg = msg};
}

/* Offset behind the LF of the line that begins at off; the end when there is none. */
static size_t line_end(struct span msg, size_t off)
{
	const uint8_t *lf = memchr(msg.p + off, '\n', msg.len - off);

	return lf ? (size_t)(lf - msg.p) + 1 : msg.len;
}

/* Field name and colon at off (spaces before the colon: RFC 5322 4.5). Returns the offset behind
 * the colon, 0: none. */
static size_t field_name(struct span msg, size_t off, size_t end, struct span *name)
{
	size_t i = off;

	while (i < end && msg.p[i] > ' ' && msg.p[i] < 0x7f && msg.p[i] != ':')
		i++;
	*name = span_of(msg.p + off, i - off);
	while (i < end && (msg.p[i] == ' ' || msg.p[i] == '\t'))
		i++;
	return name->len && i < end && msg.p[i] == ':' ? i + 1 : 0;
}

/* The line mbox files put before a message, which some deliver with it. */
static bool is_mbox_line(struct span msg)
{
	return msg.len >= 6 && (memcmp(msg.p, "From ", 5) == 0 || memcmp(msg.p, ">From ", 6) == 0);
}

bool mail_header_next(struct mail_header_iter *it, struct mail_field *out)
{
	struct span msg = it->msg;
	size_t off = it->off, end, value;

	it->body_off = off;
	if (off >= msg.len)
		return false;
	end = line_end(msg, off);
	value = field_name(msg, off, end, &out->name);
	if (!value && off == 0 && is_mbox_line(msg) && end < msg.len) {
		it->off = it->body_off = off = end;
		end = line_end(msg, off);
		value = field_name(msg, off, end, &out->name);
	}
	if (!value) {
		if (msg.p[off] == '\n' ||
		    (msg.p[off] == '\r' && end - off == 2 && msg.p[off + 1] == '\n'))
			it->body_off = end;
		return false;
	}
	while (end < msg.len && (msg.p[end] == ' ' || msg.p[end] == '\t'))
		end = line_end(msg, end);
	out->off = off;
	out->len = end - off;
	it->off = end;
	if (end > value && msg.p[end - 1] == '\n')
		end--;
	if (end > value && msg.p[end - 1] == '\r')
		end--;
	out->value = span_of(msg.p + value, end - value);
	return true;
}

size_t mail_header_size(struct span msg)
{
	struct mail_header_iter it;
	struct mail_field f;

	mail_header_begin(&it, msg);
	while (mail_header_next(&it, &f))
		;
	return it.body_off;
}

bool mail_header_find(struct span msg, struct span name, struct mail_field *out)
{
	struct mail_header_iter it;

	mail_header_begin(&it, msg);
	while (mail_header_next(&it, out)) {
		if (span_ieq(out->name, name))
			return true;
	}
	*out = (struct mail_field){0};
	return false;
}

uint32_t mail_header_hops(struct span msg)
{
	struct mail_header_iter it;
	struct mail_field f;
	uint32_t n = 0;

	mail_header_begin(&it, msg);
	while (mail_header_next(&it, &f))
		n += span_ieq(f.name, SPAN("Received"));
	return n;
}

struct span mail_header_unfold(struct arena *a, struct span raw)
{
	uint8_t *dst;
	size_t n = 0;

	dst = arena_alloc(a, raw.len + 1);
	if (!dst)
		return span_of(NULL, 0);
	for (size_t i = 0; i < raw.len; i++) {
		if (raw.p[i] != '\r' && raw.p[i] != '\n')
			dst[n++] = raw.p[i] ? raw.p[i] : ' ';
	}
	return span_trim(span_of(dst, n));
}
