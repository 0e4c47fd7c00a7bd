/* queue_state.c: queue items to bytes and back; see queue_state.h. */
#include "queue_state.h"

#define STATE_VERSION 1
#define FLAG_8BIT     0x01

bool queue_addr_ok(struct span addr)
{
	if (addr.len > QUEUE_ADDR_MAX)
		return false;
	for (size_t i = 0; i < addr.len; i++)
		if (addr.p[i] < ' ' || addr.p[i] == 0x7f)
			return false;
	return true;
}

static void add_text(struct buf *b, struct span s, size_t max)
{
	s = span_head(s, max);
	buf_add_u16(b, (uint16_t)s.len);
	buf_add_span(b, s);
}

static struct span get_text(struct reader *r, size_t max)
{
	struct span s = get_bytes(r, get_u16(r));
	if (s.len > max)
		r->ok = false;
	return s;
}

void queue_state_write(struct buf *b, const struct queue_state *s)
{
	buf_add_u8(b, STATE_VERSION);
	buf_add_u8(b, s->body_8bit ? FLAG_8BIT : 0);
	buf_add_u16(b, (uint16_t)(s->tries < UINT16_MAX ? s->tries : UINT16_MAX));
	buf_add_u64(b, s->accepted_us);
	buf_add_u64(b, s->expire_us);
	buf_add(b, s->site.host.b, sizeof(s->site.host.b));
	buf_add_u16(b, s->site.port);
	add_text(b, s->from, QUEUE_ADDR_MAX);
	add_text(b, s->last, QUEUE_TEXT_MAX);
	add_text(b, s->session, QUEUE_TEXT_MAX);
	uint16_t n = 0;
	for (unsigned i = 0; i < s->n_rcpt; i++)
		n = (uint16_t)(n + (s->rcpt[i].state != QUEUE_DONE));
	buf_add_u16(b, n);
	for (unsigned i = 0; i < s->n_rcpt; i++) {
		const struct queue_state_rcpt *rc = &s->rcpt[i];
		if (rc->state == QUEUE_DONE)
			continue;
		buf_add_u8(b, (uint8_t)rc->state);
		add_text(b, rc->addr, QUEUE_ADDR_MAX);
		add_text(b, rc->reply, QUEUE_TEXT_MAX);
	}
}

enum err queue_state_read(struct span bytes, struct queue_state *out)
{
	struct reader r = reader_of(bytes);
	if (get_u8(&r) != STATE_VERSION)
		return r.ok ? ERR_UNSUPPORTED : ERR_CORRUPT;
	uint8_t flags = get_u8(&r);
	out->body_8bit = flags & FLAG_8BIT;
	out->tries = get_u16(&r);
	out->accepted_us = get_u64(&r);
	out->expire_us = get_u64(&r);
	struct span host = get_bytes(&r, sizeof(out->site.host.b));
	if (host.len == sizeof(out->site.host.b))
		memcpy(out->site.host.b, host.p, host.len);
	out->site.port = get_u16(&r);
	out->from = get_text(&r, QUEUE_ADDR_MAX);
	out->last = get_text(&r, QUEUE_TEXT_MAX);
	out->session = get_text(&r, QUEUE_TEXT_MAX);
	out->n_rcpt = get_u16(&r);
	if (!r.ok || flags > FLAG_8BIT || out->n_rcpt == 0 || out->n_rcpt > QUEUE_ITEM_RCPT_MAX)
		return ERR_CORRUPT;
	bool ok = queue_addr_ok(out->from);
	for (unsigned i = 0; i < out->n_rcpt; i++) {
		struct queue_state_rcpt *rc = &out->rcpt[i];
		uint8_t state = get_u8(&r);
		ok = ok && state < QUEUE_DONE;
		rc->state = state == QUEUE_FAILED ? QUEUE_FAILED : QUEUE_PENDING;
		rc->addr = get_text(&r, QUEUE_ADDR_MAX);
		rc->reply = get_text(&r, QUEUE_TEXT_MAX);
		ok = ok && rc->addr.len > 0 && queue_addr_ok(rc->addr);
	}
	return ok && r.ok && r.s.len == 0 ? ERR_OK : ERR_CORRUPT;
}
